"""A pole that is kept upright

An agent learns by doing: it acts in many copies of an environment at once, and moves towards what paid. It stops by
itself when its mean return is in the range asked for, here the environment's own threshold, 475 of 500 steps.
"""

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import everymodel as em

agent = em.PPO(random_state=0).fit("CartPole-v1")
told = agent.evaluate(100)
print(f"{agent.steps_:,} steps, ended by: {agent.stopped_}")
print(f"mean return of 100 fresh episodes {told['mean']:.1f} ({told['low']:.1f} to {told['high']:.1f})")

# %%
# Each dot is an episode of the training, in which actions are drawn; the line holds looks at the best actions.
steps, returns, _ = np.array(agent.curve_.episodes).T
plt.figure(figsize=(6, 3))
plt.plot(steps, returns, ".", color="0.6", label="while it learnt")
plt.plot(*np.array(agent.curve_.looks).T, "o-", label="looks, best actions")
plt.axhline(475, linestyle="--", color="tab:orange", label="asked for")
plt.xlabel("steps of the environment")
plt.ylabel("return of an episode")
plt.legend()
plt.show()

# %%
# The file holds arrays alone and acts with numpy. Less than the best: a temperature, for an opponent that errs.
folder = Path(tempfile.mkdtemp())
em.wrap(agent, None).save(folder / "balance.em")
model = em.load(folder / "balance.em")
print("what to do when the pole leans to the right:", model.act([0.0, 0.0, 0.1, 0.3]))
for temperature in (0.0, 1.0, 10.0):
    said = model.evaluate(30, temperature=temperature)
    print(f"temperature {temperature:4.1f}: mean return {said['mean']:.0f}")

# %%
# The same by one call, on ice: states can be counted, so a table of values is learnt, in a moment and without PyTorch.
run = em.fit("FrozenLake-v1", budget="20s", out=folder / "lake")
print(run.headline)
grid = run.story["structure"]["grid"]
worth = np.array([np.nan if v is None else v for v in grid["values"]]).reshape(4, 4)
plt.figure(figsize=(3.4, 3))
plt.imshow(worth, cmap="Blues")
for state, action in enumerate(grid["actions"]):
    row, column = divmod(state, 4)
    plt.text(column, row, "←↓→↑"[action] if np.isfinite(worth[row, column]) else grid["fields"][row][column],
             ha="center", va="center")  # fmt: skip
plt.axis("off")
plt.show()
