"""An opponent that plays as well as it should

A guard learns to catch a thief on a small map. One number, the temperature, then makes it play worse: three levels of
difficulty are three temperatures, looked for until the guard wins as often as each level asks for.
"""

# %%
import numpy as np

import everymodel as em
from everymodel.environments import make
from everymodel.environments.grid import Table, fields_of, moved

MAP = ["......", ".##.#.", ".#....", "...##.", ".#....", "......"]
STEPS = [(-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)]
fields = fields_of(MAP, ".#")
after, count = moved(fields.shape, STEPS, fields == "#"), fields.size
place = np.stack(np.divmod(np.arange(count), fields.shape[1]), axis=1)
far = np.abs(place[:, None] - place[None]).sum(axis=2)

# %%
# A state is where both are: guard * fields + thief. The guard moves, then the thief, who runs where the guard is
# farthest in 2 of 3 moves and anywhere in the third. 1 for a catch; the thief is away after 15 moves.
guard, thief = np.divmod(np.arange(count * count), count)
here = after[guard]  # (states, moves of the guard)
caught = here == thief[:, None]
there = after[thief]  # (states, moves of the thief)
flees = far[here[:, :, None], there[:, None, :]].argmax(axis=2)
chance = np.full((*here.shape, 5), (1 / 3) / 5)
np.put_along_axis(chance, flees[:, :, None], 2 / 3 + (1 / 3) / 5, axis=2)
met = caught[:, :, None] | (here[:, :, None] == there[:, None, :])
free = (fields.ravel() != "#").nonzero()[0]
starts = (far[guard, thief] >= 4) & np.isin(guard, free) & np.isin(thief, free)
chase = Table(
    after=here[:, :, None] * count + there[:, None, :], chance=chance, reward=met, ended=met,
    starts=starts.astype(float), limit=15, name="Chase",
)  # fmt: skip
agent = em.QLearning(steps=600_000, discount=0.95, random_state=0).fit(chase)
print(f"{chase.observation.n:,} states; the guard at its best wins {agent.evaluate(1000)['mean']:.0%} of its games")

# %%
# The higher the temperature, the more often the guard does what is not best.
levels = {}
for name, wanted in (("hard", 0.75), ("usual", 0.5), ("easy", 0.25)):
    low, high = 0.001, 3.0
    for _ in range(9):
        levels[name] = float(np.sqrt(low * high))
        wins = agent.evaluate(400, temperature=levels[name], seed=1)["mean"]
        low, high = (levels[name], high) if wins > wanted else (low, levels[name])
    fresh = agent.evaluate(1000, temperature=levels[name], seed=2)  # games that the search has not seen
    print(f"{name:<6} asked for {wanted:.0%}, wins {fresh['mean']:.1%} ({fresh['low']:.1%} to {fresh['high']:.1%})"
          f" at temperature {levels[name]:.3f}")  # fmt: skip

# %%
# In a game: one file, and a call for each move.
em.wrap(agent, None).save("guard.em")
opponent, game = em.load("guard.em"), make(chase, 1)
state = game.reset(seed=3)
for turn in range(6):
    shown = fields.copy()
    both = divmod(int(state[0]), count)
    shown.ravel()[both[1]], shown.ravel()[both[0]] = "T", "G"
    print(f"move {turn}:", " ".join("".join(row) for row in shown))
    moves = game.step(np.array([opponent.act(int(state[0]), temperature=levels["hard"], seed=turn)]))
    if moves.ended[0]:
        print("caught")
        break
    state = moves.seen
