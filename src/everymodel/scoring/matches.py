"""Games between two players, many at a time.

    played = match(rules, policy_player(step), opponent(rules, "uct:1000"), games=100)
    played.scores                              # (100,) for the first of the two

A player is a function from positions (n) and the same games as whole numbers to actions (n,). Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.core.seeds import derive
from everymodel.scoring.games.base import Positions, Rules, Single, choose

if TYPE_CHECKING:
    from everymodel.scoring.steps.searching import SearchPolicy

Player = Callable[[Positions, Sequence[Single]], Any]


@dataclass
class Played:
    """How games went.

    Attributes
    ----------
    scores : (n,) for the first player that `match` was given, in the units of the rules.
    began : (n,) bool, whether it had the first move. moves : the actions of each game.
    """

    scores: np.ndarray
    began: np.ndarray
    moves: list[list[int]]

    def summary(self) -> dict[str, float]:
        """Mean score with its 95 % interval, and how many were won, drawn and lost, by who began."""
        n = len(self.scores)
        half = 1.96 * float(self.scores.std(ddof=1)) / n**0.5 if n > 1 else 0.0
        mean = float(self.scores.mean())
        told = {"mean": mean, "low": mean - half, "high": mean + half, "games": n}
        for name, rows in (("", np.ones(n, dtype=bool)), ("_first", self.began), ("_second", ~self.began)):
            own = self.scores[rows]
            told |= {f"won{name}": int((own > 0).sum()), f"drawn{name}": int((own == 0).sum())}
            told |= {f"lost{name}": int((own < 0).sum())}
        return told


def match(rules: Rules, player: Player, other: Player, games: int = 100, *, begins: bool | None = None) -> Played:
    """Play to the end.

    Parameters
    ----------
    begins : whether `player` has the first move; None: in every other game.
    """
    if isinstance(games, bool) or not isinstance(games, int | np.integer) or games < 1:
        raise ParameterError(f"games={games!r} came; expected a whole number from 1.")
    first = np.arange(games) % 2 == 0 if begins is None else np.full(games, begins)
    positions, singles = rules.start(games), [rules.single() for _ in range(games)]
    while True:
        open_ = np.flatnonzero(~rules.over(positions))
        if not len(open_):
            break
        now = rules.take(positions, open_)
        own = (rules.turn(now) == 0) == first[open_]
        actions = np.zeros(len(open_), dtype=np.intp)
        for who, rows in ((player, np.flatnonzero(own)), (other, np.flatnonzero(~own))):
            if len(rows):
                actions[rows] = who(rules.take(now, rows), [singles[open_[i]] for i in rows])
        for i, action in zip(open_.tolist(), rules.require_legal(now, actions).tolist(), strict=True):
            singles[i].push(action)
        rules.put(positions, open_, rules.play(now, actions))
    scores = rules.score(positions) * np.where(first, 1, -1) + 0.0  # and no -0
    return Played(scores.astype(np.float64), first, [list(game.moves) for game in singles])


def policy_player(
    step: SearchPolicy, simulations: int | None = None, temperature: float = 0.0, seed: int = 0
) -> Player:
    """A player that looks ahead with a network."""
    rng = np.random.default_rng(derive(seed, "policy"))
    return lambda positions, singles: step.act(positions, simulations=simulations, temperature=temperature, seed=rng)


def opponent(rules: Rules, word: str, seed: int = 0) -> Player:
    """An opponent that has learnt nothing.

    word : "random" (among sensible moves), "uct:200" (tree search with that many random games a move), "perfect"
    (tic-tac-toe: any move that keeps the value, by chance).
    """
    kind, _, number = str(word).partition(":")
    if kind == "random" and not number:
        rng = np.random.default_rng(derive(seed, "random"))
        return lambda positions, singles: choose(rules.sensible(positions), rng)
    if kind == "uct" and number.isdigit() and int(number) >= 1:
        from everymodel.scoring.games.uct import uct_move

        dice = Random(derive(seed, "uct"))
        return lambda positions, singles: [uct_move(game, int(number), dice, width=rules.worth) for game in singles]
    if kind == "perfect" and not number and rules.word == "tic_tac_toe":
        from everymodel.scoring.games.tic_tac_toe import perfect

        rng = np.random.default_rng(derive(seed, "perfect"))
        return lambda positions, singles: choose(perfect(positions), rng)
    raise ParameterError(f'opponent={word!r} came; expected "random", "uct:1000", or for tic-tac-toe "perfect".')
