"""Balancing two sides that are not alike

A knight must come near, an archer shoots from afar. How good may the archer's aim be for the duel to be fair? Both
learn by playing against each other, again for every aim that is tried, and the aim is moved until each wins half.
"""

# %%
import numpy as np

import everymodel as em
from everymodel.environments.grid import Table

# A state: distance 0 to 4, lives of both 0 to 3, whether the shield is up.
SIZE = (5, 4, 4, 2)
distance, knight, archer, shield = (v.ravel() for v in np.indices(SIZE))
STATES = distance.size


def state(d: np.ndarray, k: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
    return np.ravel_multi_index((np.clip(d, 0, 4), np.clip(k, 0, 3), np.clip(a, 0, 3), s), SIZE)


def moves(aim: float) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """For knight and archer: (what follows (states, 3, 2), chance of the first of the two (states, 3))."""
    near, same, none = distance == 0, state(distance, knight, archer, shield), np.zeros_like(shield)
    always, down = np.ones(STATES), state(distance, knight, archer, none)
    come = state(distance - 1, knight, archer, none)
    hit = state(distance, knight, archer - 1, none)
    slow = state(distance - 1, knight, archer, none + 1)
    ours = np.stack([[come, come], [hit, down], [slow, down]])  # run, strike, walk behind the shield
    chances = np.stack([always, 0.7 * near, 0.6 * always])
    hurt, strong = state(distance, knight - 1, archer, shield), state(distance, knight - 2, archer, shield)
    push = state(distance + 2, knight, archer, shield)
    theirs = np.stack([[hurt, same], [strong, same], [push, same]])  # shoot, shoot for more and with less luck, push
    shots = aim * np.where(shield == 1, 0.4, 1.0) * np.where(near, 0.6, 1.0)
    luck = np.stack([shots, 0.45 * shots, 0.5 * near])
    return (ours.transpose(2, 0, 1), chances.T), (theirs.transpose(2, 0, 1), luck.T)


def duel(own: tuple, other: tuple, habit: np.ndarray, first: bool, own_lives: np.ndarray, lives: np.ndarray) -> Table:
    """The game as one side sees it: a move of its own, then one of the other by its habit (states, 3)."""
    after, chance = own
    answers, luck = other[0].reshape(STATES, 6), other[1]
    weights = (np.stack([luck, 1 - luck], axis=2) * habit[:, :, None]).reshape(STATES, 6)
    over = (lives[after] == 0) | (own_lives[after] == 0)
    then = np.where(over[..., None], after[..., None], answers[after])  # (states, 3, 2, 6)
    p = np.stack([chance, 1 - chance], axis=2)[..., None] * weights[after]
    then, p = then.reshape(STATES, 3, 12), p.reshape(STATES, 3, 12)
    begin = np.zeros(STATES)
    opening = state(*(np.array([v]) for v in (4, 3, 3, 0)))[0]
    np.add.at(begin, opening if first else answers[opening], 1.0 if first else weights[opening])
    won, lost = lives[then] == 0, own_lives[then] == 0
    return Table(after=then, chance=p, reward=won, ended=won | lost, starts=begin, limit=100, name="Duel")


# %%
# Self-play: each side in turn learns the best answer to what the other has done on average so far. When neither finds a
# better answer than its own average, nobody can do better: what the two answers win then lies close together.
def played(aim: float, rounds: int = 3, steps: int = 100_000) -> tuple[dict, dict]:
    """What the knight wins against the archer's answer to it, and by its own answer to the archer."""
    ours, theirs = moves(aim)
    habits, row = [np.full((STATES, 3), 1 / 3) for _ in range(2)], np.eye(3)
    for turn in range(rounds):
        share = 1 / (turn + 1) ** 0.7
        for side in (0, 1):
            sides = (ours, theirs, habits[1], True, knight, archer) if side == 0 else (
                theirs, ours, habits[0], False, archer, knight)  # fmt: skip
            agent = em.QLearning(steps=steps, lanes=128, discount=0.97, random_state=turn).fit(duel(*sides))
            answer = row[agent.values_.argmax(axis=1)]
            if turn + 1 < rounds:
                habits[side] += share * (0.95 * answer + 0.05 / 3 - habits[side])  # all is tried now and then
            elif side == 0:
                most = agent.evaluate(1000, seed=8)
            else:
                told = agent.evaluate(1000, seed=9)
    return {"mean": 1 - told["mean"], "low": 1 - told["high"], "high": 1 - told["low"]}, most


low, high = 0.3, 0.5
for _ in range(4):
    aim = (low + high) / 2
    least, most = played(aim)
    share = (least["mean"] + most["mean"]) / 2
    print(f"aim {aim:.3f}: the knight wins {share:.1%} ({least['mean']:.1%} to {most['mean']:.1%})")
    low, high = (aim, high) if share > 0.5 else (low, aim)

# %%
# At the aim that was found, longer, and in games that no choice has seen.
aim = (low + high) / 2
least, most = played(aim, rounds=6)
print(f"aim {aim:.3f}; the archer answers last: {least['mean']:.1%} ({least['low']:.1%} to {least['high']:.1%})")
print(f"the knight answers last: {most['mean']:.1%} ({most['low']:.1%} to {most['high']:.1%})")
