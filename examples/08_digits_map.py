"""A map of handwritten digits

1,797 pictures of 8 x 8 pixels become points on a map, without a look at what they show. Pictures that look alike lie
close together, and pictures that the map has not seen are placed on it.
"""

# %%
# The digit is named as the target, but a map learns nothing from it: it is kept to colour and to judge the map.
import everymodel as em
from everymodel.workflow.read import read

table = read("sample:digits").frame
known, new = table.iloc[:1500], table.iloc[1500:]
run = em.fit(known, target="digit", task="embed", budget="40s", progress=False)
print(run.headline)

# %%
# Coordinates of all rows, and of rows that were not there when the map was drawn.
print(run.tables["map"].head(3))
placed = run.model.transform(new)
print(placed.head(3))

# %%
# Is a new picture placed among its like? Ten nearest neighbours on the map vote.
import numpy as np

points, digits = run.tables["map"][["x", "y"]].to_numpy(), known["digit"].to_numpy()
distance = ((placed.to_numpy()[:, None] - points) ** 2).sum(axis=2)
nearest = digits[np.argsort(distance, axis=1)[:, :10]]
vote = np.array([np.bincount(row, minlength=10).argmax() for row in nearest])
print(f"{np.mean(vote == new['digit'].to_numpy()):.1%} of {len(new)} new pictures lie among their own digit")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 6))
for digit in range(10):
    at = digits == digit
    axes.scatter(*points[at].T, s=6, label=str(digit))
axes.legend(title="digit", markerscale=2, bbox_to_anchor=(1, 1))
axes.set_axis_off()
plt.show()
