"""Ways through mazes

The same mazes, solved three ways: A* searches each, value iteration computes what every field is worth, and Q-learning
finds out by walking, without being told the map. All three find ways of the same length.
"""

# %%
import heapq

import matplotlib.pyplot as plt
import numpy as np

import everymodel as em
from everymodel.environments.grid import Maze


def maze(seed: int, size: int = 16) -> Maze:
    """Walls at random, with a way from the upper left to the lower right."""
    rng = np.random.default_rng(seed)
    while True:
        fields = np.where(rng.random((size, size)) < 0.32, "#", ".")
        fields[0, 0], fields[-1, -1] = "S", "G"
        made = Maze(lines=["".join(row) for row in fields], limit=400)
        if searched(made)[0]:
            return made


def searched(made: Maze) -> tuple[int, int]:
    """(length of the shortest way, 0 where there is none; fields that A* has looked at)."""
    height, width = made.fields.shape
    goal, best, looked = height * width - 1, {0: 0}, set()
    line = [(height + width - 2, 0)]
    while line:
        _, field = heapq.heappop(line)
        if field == goal:
            return best[field], len(looked)
        if field in looked:
            continue
        looked.add(field)
        for after in map(int, made.after[field, :, 0]):
            if best[field] + 1 < best.get(after, 10**9):
                best[after] = best[field] + 1
                left = sum(abs(np.subtract(made.place(after), made.place(goal))))
                heapq.heappush(line, (best[after] + int(left), after))
    return 0, len(looked)


# %%
# Value iteration against A* on 30 mazes.
mazes = [maze(seed) for seed in range(30)]
lengths = [searched(m)[0] for m in mazes]
values = [m.best(discount=1.0, steps=400) for m in mazes]
equal = sum(round(-v[0].max()) == length for v, length in zip(values, lengths))
print(f"A* and value iteration find the same length in {equal} of {len(mazes)} mazes")

# %%
# Q-learning on three of them: it sees the number of a field and nothing else.
agents = [em.QLearning(steps=200_000, random_state=0).fit(m) for m in mazes[:3]]
for agent, length in zip(agents, lengths):
    told, first = agent.evaluate(5), -np.mean([e[1] for e in agent.curve_.episodes[:20]])
    print(f"A* {length}   Q-learning {-told['mean']:.0f}   its first 20 episodes {first:.0f}")

# %%
# What it learnt: the darker, the nearer to the goal, and the way that it takes.
figure, axes = plt.subplots(1, 3, figsize=(9, 3))
for ax, m, agent in zip(axes, mazes, agents):
    worth = np.where(m.fields == "#", np.nan, agent.values_.max(axis=1).reshape(m.fields.shape))
    worth[-1, -1] = 0
    ax.imshow(worth, cmap="YlGn")
    field, way = 0, [m.place(0)]
    while m.fields[m.place(field)] != "G" and len(way) < 400:
        field = int(m.after[field, agent.act(field), 0])
        way.append(m.place(field))
    ax.plot(*np.array(way)[:, ::-1].T, color="black", linewidth=1.5)
    ax.set_axis_off()
plt.show()
