"""A graph: who will side with whom in a club"""

# %%
# Zachary's karate club (1977): 34 members and who met whom outside of the club. After a quarrel it split in two. The
# side of two members of each is known; the edges say the rest.
import numpy as np

import everymodel as em

text = """1-2 1-3 1-4 1-5 1-6 1-7 1-8 1-9 1-11 1-12 1-13 1-14 1-18 1-20 1-22 1-32 2-3 2-4 2-8 2-14 2-18 2-20 2-22 2-31
3-4 3-8 3-9 3-10 3-14 3-28 3-29 3-33 4-8 4-13 4-14 5-7 5-11 6-7 6-11 6-17 7-17 9-31 9-33 9-34 10-34 14-34 15-33 15-34
16-33 16-34 19-33 19-34 20-34 21-33 21-34 23-33 23-34 24-26 24-28 24-30 24-33 24-34 25-26 25-28 25-32 26-32 27-30
27-34 28-34 29-32 29-34 30-33 30-34 31-33 31-34 32-33 32-34 33-34"""
edges = [tuple(map(int, pair.split("-"))) for pair in text.split()]
graph = em.Graph(edges)
graph

# %%
# A graph convolutional network of two layers: every member hears those at most two meetings away.
known = {1: "instructor", 8: "instructor", 34: "officer", 29: "officer"}
model = em.GraphConvolutionClassifier(random_state=0).fit(graph, known)

instructors = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 17, 18, 20, 22}
truth = np.array(["instructor" if member in instructors else "officer" for member in graph.ids])
rest = [member not in known for member in graph.ids]
print(f"right for {np.mean((model.predict() == truth)[rest]):.0%} of the {sum(rest)} others")

# %%
# The same from tables, with every kind of model for nodes compared, and a file at the end. Ids are refused if they are
# not in the graph.
import pandas as pd

met = pd.DataFrame(edges, columns=["one", "other"])
members = pd.DataFrame({"member": graph.ids, "side": truth})
run = em.fit(met, nodes=members, target="side", models=["label_propagation", "graph_convolution"], budget="30s", seed=0)
run.leaderboard[["model", "score", "score_low", "score_high"]]

# %%
# Members by how sure the model is of them: those in doubt stand between the sides.
run.tables["nodes"].sort_values("confidence").head(5)
