"""The rules of a game for two, on many positions at once: the contract that search, learning and play build on.

    rules = games.build("go", size=5, komi=0.0)
    p = rules.start(256)                                  # 256 games at their beginning
    while not rules.over(p).all():
        p = rules.play(p, games.choose(rules.legal(p), rng))
    rules.score(p)                                        # (256,) for the first player

Every method takes a whole batch and has no Python loop over positions. The first player is 0, the second 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from everymodel.core.errors import ParameterError

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(slots=True)
class Positions:
    """n positions of one game: arrays whose leading axis is the position. What they hold is the game's own affair.

    A search keeps the positions of its tree in one of these: `rules.start(nodes)` makes room, `put` writes the new
    nodes, `take` reads those that are needed.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, rows: Any) -> Self:
        """Copies of the positions `rows`: indices (m,), or a mask (n,)."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def put(self, rows: Any, other: Self) -> None:
        """Write the m positions `other` into the places `rows` (m,), in place."""
        for f in fields(self):
            getattr(self, f.name)[rows] = getattr(other, f.name)

    def join(self, *others: Self) -> Self:
        """These positions and then the others', as one batch."""
        parts = (self, *others)
        return type(self)(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(self)})

    def copy(self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name).copy() for f in fields(self)})


class Single(Protocol):
    """One game in Python's whole numbers, that moves are played in: quick for one, where `Rules` is quick for many.

    `turn`: 0 or 1; `over`; `moves`: the actions so far; `legal()` and `sensible()`: what the mover may do, in lists;
    `push(action)`: play it if it is legal, and say so; `play(*actions)`: play them or raise; `score()`: for the first
    player; `random_game(random)`: the score after a game by chance from here on, which leaves this one as it is.
    """

    moves: list[int]

    @property
    def turn(self) -> int: ...
    @property
    def over(self) -> bool: ...
    def copy(self) -> Self: ...
    def legal(self) -> list[int]: ...
    def sensible(self) -> list[int]: ...
    def push(self, action: int) -> bool: ...
    def play(self, *actions: int) -> Self: ...
    def score(self) -> float: ...
    def random_game(self, random: Random) -> float: ...


class Rules:
    """Rules of a game for two with perfect information whose scores add up to zero.

    Attributes
    ----------
    word : the game's name in files and on the command line.
    board : (h, w).
    actions : A, the number of different actions; they are 0 ... A - 1.
    planes : c, the planes of an observation.
    worth : the largest score that a game can end with.
    longest : no game has more plies; one that gets there is over and scored as it stands.
    settings : what `build(word, **settings)` needs to make the same rules again (plain numbers).
    """

    word: ClassVar[str]
    board: tuple[int, int]
    actions: int
    planes: int
    worth: float
    longest: int
    settings: dict[str, int | float]

    def start(self, n: int) -> Any:
        """n games at their beginning: Positions."""
        raise NotImplementedError

    def legal(self, p: Any) -> Bools:
        """What the mover may do -> (n, A); all False where the game is over."""
        raise NotImplementedError

    def sensible(self, p: Any) -> Bools:
        """The legal actions that are worth a thought -> (n, A); at least one wherever one is legal."""
        return self.legal(p)

    def play(self, p: Any, actions: Any) -> Any:
        """The positions after `actions` (n,), as new Positions; games that are over stay as they are.

        The actions must be legal: that is not checked here (see `require_legal`).
        """
        raise NotImplementedError

    def take(self, p: Any, rows: Any) -> Any:
        """Copies of some of the positions: `rows` are indices (m,) or a mask (n,)."""
        return p.take(rows)

    def put(self, p: Any, rows: Any, q: Any) -> None:
        """Write the positions q into the places `rows` of p, in place."""
        p.put(rows, q)

    def over(self, p: Any) -> Bools:
        """Whether each game has ended -> (n,)."""
        raise NotImplementedError

    def turn(self, p: Any) -> NDArray[np.uint8]:
        """Who is to move -> (n,) of 0 (the first player) or 1."""
        raise NotImplementedError

    def score(self, p: Any) -> Floats:
        """What the first player has won if it ended now -> (n,), from -worth to worth."""
        raise NotImplementedError

    def observe(self, p: Any) -> Floats:
        """What the mover sees, from its own side -> (n, h, w, c); plane 0 its own pieces, plane 1 the other's."""
        raise NotImplementedError

    def symmetries(self) -> tuple[Ints, Ints]:
        """The s ways to turn and mirror the board that change nothing: (points (s, h * w), actions (s, A)).

        With `o` the observation of a position and `q` numbers per action, `o.reshape(h * w, c)[points[k]]` is the
        observation of the turned position and `q[actions[k]]` are its numbers. The first of them changes nothing.
        """
        raise NotImplementedError

    def single(self, *moves: int) -> Any:
        """One game by these rules after these moves, in whole numbers (see `Single`)."""
        raise NotImplementedError

    def after(self, moves: Iterable[int]) -> Any:
        """One game after these moves -> Positions of length 1; ParameterError at the first that is not legal."""
        p = self.start(1)
        for action in moves:
            p = self.play(p, self.require_legal(p, np.array([action])))
        return p

    def text(self, p: Any, i: int = 0) -> str:
        """Position i drawn for a terminal."""
        raise NotImplementedError

    def name(self, action: int) -> str:
        """An action as people write it."""
        raise NotImplementedError

    def action(self, name: str) -> int:
        """The action that people write so; upper or lower case."""
        word = name.strip().lower()
        for a in range(self.actions):
            if self.name(a).lower() == word:
                return a
        raise ParameterError(
            f"{name!r} is no action of {self.word}; expected one such as {self.name(0)!r} or "
            f"{self.name(self.actions - 1)!r}: write one of them"
        )

    def require_legal(self, p: Any, actions: Any) -> Ints:
        """The actions (n,) as numbers, or ParameterError where one is not allowed: for moves from outside."""
        chosen = np.asarray(actions)
        if chosen.shape != (len(p),) or chosen.dtype.kind not in "iu":
            raise ParameterError(
                f"the actions came as {chosen.dtype} {chosen.shape}, expected {len(p)} whole numbers, one a position"
            )
        outside = (chosen < 0) | (chosen >= self.actions)
        bad = outside | ~self.legal(p)[np.arange(len(p)), np.where(outside, 0, chosen)]
        if bad.any():
            i = int(np.flatnonzero(bad)[0])
            what = f"{int(chosen[i])}" if outside[i] else self.name(int(chosen[i]))
            why = "the game is over" if self.over(p)[i] else "the rules forbid it there"
            raise ParameterError(f"action {what} came for position {i}, but {why}; choose one that `legal` allows")
        return chosen.astype(np.intp)


def choose(mask: Bools, rng: np.random.Generator) -> Ints:
    """One of the allowed actions by chance, each as likely -> (n,); 0 where nothing is allowed."""
    counts = mask.sum(axis=1)
    wanted = (rng.random(len(mask)) * counts).astype(np.intp)  # the wanted-th True of each row
    flat = np.flatnonzero(mask.ravel())
    first = np.cumsum(counts) - counts
    if len(flat) == 0:
        return np.zeros(len(mask), dtype=np.intp)
    chosen = flat[np.minimum(first + wanted, len(flat) - 1)] % mask.shape[1]
    return np.where(counts > 0, chosen, 0)


def square_symmetries(size: int) -> Ints:
    """The eight ways to turn and mirror a square board -> (8, size * size): the point that comes to each place."""
    points = np.arange(size * size).reshape(size, size)
    turned = [np.rot90(side, k) for side in (points, points[:, ::-1]) for k in range(4)]
    return np.array([t.ravel() for t in turned], dtype=np.intp)
