"""Whole graphs: tell rings from trees

Small graphs that look like molecules: two kinds of nodes, and a label for each graph. In half of them the edges close a
ring somewhere; the others are trees, which have branches alone.
"""

# %%
# Two tables, as such data usually come: a row for each node, with its graph and the graph's label, and one for each
# edge.
import numpy as np
import pandas as pd

import everymodel as em

rng = np.random.default_rng(0)
nodes, edges = [], []
for graph in range(120):
    n, ring = int(rng.integers(6, 13)), int(rng.integers(3, 6))
    closed = graph % 2 == 1
    for i in range(n):
        nodes.append((f"g{graph}", f"{graph}.{i}", rng.choice(["C", "N"]), "ring" if closed else "tree"))
        if i:
            before = i - 1 if i < ring else int(rng.integers(0, i))
            edges.append((f"{graph}.{i}", f"{graph}.{before}"))
    if closed:
        edges.append((f"{graph}.0", f"{graph}.{ring - 1}"))
nodes = pd.DataFrame(nodes, columns=["graph", "node", "kind", "shape"])
edges = pd.DataFrame(edges, columns=["from", "to"])
nodes.head(3)

# %%
# Models of each graph's shape in numbers (nodes, edges, parts, rings, triangles, shares of nodes by their edges, and
# what is known of its nodes) and networks that pass messages are compared on the same folds. Graphs are split, not
# nodes: the test graphs are new in every respect. Rings are counted among the numbers, so this one is easy for them.
run = em.fit(edges, nodes=nodes, graph="graph", target="shape", models=["logistic", "graph_convolution"],
             budget="30s", trials=1, seed=0, metric="accuracy")  # fmt: skip
print(run.headline)
run.leaderboard[["model", "score", "score_low", "score_high", "weight"]]

# %%
# The file answers graphs, given their nodes and edges: one answer for each.
model = em.load(run.folder / "model.em")
own = nodes[nodes["graph"].isin(["g0", "g1", "g2"])]
model.predict_proba(own, edges=edges[edges["from"].isin(own["node"])])[["ring", "tree"]]

# %%
# A network by itself learns from a list of graphs. This one knows the number of edges of each node and nothing else, so
# it has to find out by itself what the numbers above count.
graphs, labels = [], []
for _, rows in nodes.groupby("graph", sort=False):
    some = edges[edges["from"].isin(rows["node"])]
    degree = pd.concat([some["from"], some["to"]]).value_counts().reindex(rows["node"]).to_numpy()
    graphs.append(em.Graph(some, nodes=rows["node"], features=degree[:, None]))
    labels.append(rows["shape"].iloc[0])
network = em.GraphSAGEClassifier(hidden=(64, 64), dropout=0.0, epochs=40, random_state=0).fit(graphs[:90], labels[:90])
print(f"right for {network.score(graphs[90:], labels[90:]):.0%} of 30 graphs that it has not seen")
em.wrap(network, graphs[:90]).save("network.em")
em.load("network.em").predict(graphs[90:156])
