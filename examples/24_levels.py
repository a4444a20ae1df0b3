"""Levels for a game

Caves made by a small program teach a model how caves look; it draws new ones of any size, with a start, a goal and
always a way between them. Levels are lists of texts, one for each row, or arrays of whole numbers.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import everymodel as em


def cave(seed: int, height: int = 16, width: int = 24) -> list[str]:
    """Rock that was dug at random and smoothed, with water in its lower part, a start at the left and a goal."""
    rng = np.random.default_rng(seed)
    rock = rng.random((height, width)) < 0.42
    for _ in range(4):
        around = np.pad(rock, 1, constant_values=True)
        near = sum(np.roll(np.roll(around, y, 0), x, 1) for y in (-1, 0, 1) for x in (-1, 0, 1))
        rock = near[1:-1, 1:-1] >= 5
    cells = np.where(rock, "#", ".")
    cells[-3:][~rock[-3:]] = "~"
    cells[[0, -1]], cells[:, [0, -1]] = "#", "#"
    free = np.argwhere(cells == ".")
    cells[tuple(free[free[:, 1].argmin()])], cells[tuple(free[free[:, 1].argmax()])] = "S", "G"
    return ["".join(row) for row in cells]


caves = [cave(seed) for seed in range(60)]
model = em.LevelGenerator(passable=".~", start="S", goal="G", steps=500, edge=3, random_state=0).fit(caves[:50])
print(model.history_.notes)
print(model.sample(1, {"width": 50, "height": 14}, seed=0)[0])

# %%
figure, axes = plt.subplots(2, 3, figsize=(9, 4.2))
for ax, level in zip(axes.ravel(), model.sample(6, seed=1)):
    ax.imshow(level.picture(8, {"~": "#30638e"}))
    ax.plot(*(8 * np.array(model.solution(level))[:, ::-1].T + 4), color="white", linewidth=1)
    ax.set_axis_off()
plt.show()

# %%
# Parts may be given: ? is free, all else stays. What samples share with caves that it has not seen, and what is new:
room = ["#" * 20, *["#" + "?" * 18 + "#"] * 3, "#S" + "?" * 6 + "####" + "?" * 6 + "G#", "#" + "?" * 18 + "#", "#" * 20]
print(model.sample(1, room, seed=2)[0])
for name, value in model.evaluate(caves[50:], train=caves[:50]).items():
    print(f"{name:<15} {value:.2f}")

# %%
# One file: `everymodel sample caves.em --set width=40 -o cave.png`, and POST /v1/sample.
em.wrap(model, caves).save("caves.em")
print(em.load("caves.em").sample(1, {"start": (8, 1), "goal": (2, 21)}, seed=3)[0])
