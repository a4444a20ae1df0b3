"""Tic-tac-toe, and its perfect player."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from everymodel.core.errors import ParameterError
from everymodel.scoring.games.base import Bools, Floats, Ints, Positions, Rules, square_symmetries

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
BITS = (1 << np.arange(9)).astype(np.uint16)  # (9,)
# WINS[pieces]: whether these places of one player hold a line.
WINS = np.array([any(all(pieces >> i & 1 for i in line) for line in LINES) for pieces in range(512)])


@dataclass(slots=True)
class TicTacToePositions(Positions):
    pieces: NDArray[np.uint16]  # (n, 2), a bit per place
    plies: NDArray[np.int64]  # (n,)


class TicTacToe(Rules):
    """Three in a row on nine places, numbered from the top left; scores are 1, 0 and -1."""

    word: ClassVar[str] = "tic_tac_toe"

    def __init__(self) -> None:
        self.board = (3, 3)
        self.actions = 9
        self.planes = 2
        self.worth = 1.0
        self.longest = 9
        self.settings = {}

    def start(self, n: int) -> TicTacToePositions:
        return TicTacToePositions(np.zeros((n, 2), dtype=np.uint16), np.zeros(n, dtype=np.int64))

    def over(self, p: TicTacToePositions) -> Bools:
        return WINS[p.pieces].any(axis=1) | (p.plies == 9)

    def turn(self, p: TicTacToePositions) -> NDArray[np.uint8]:
        return (p.plies & 1).astype(np.uint8)

    def legal(self, p: TicTacToePositions) -> Bools:
        taken = p.pieces[:, 0] | p.pieces[:, 1]
        return ((taken[:, None] & BITS) == 0) & ~self.over(p)[:, None]

    def play(self, p: TicTacToePositions, actions: Any) -> TicTacToePositions:
        live = ~self.over(p)
        pieces = p.pieces.copy()
        pieces[np.arange(len(p)), p.plies & 1] |= np.where(live, BITS[actions], 0).astype(np.uint16)
        return TicTacToePositions(pieces, p.plies + live)

    def score(self, p: TicTacToePositions) -> Floats:
        won = WINS[p.pieces].astype(np.float32)
        return won[:, 0] - won[:, 1]

    def observe(self, p: TicTacToePositions) -> Floats:
        mover = (p.plies & 1)[:, None]
        sides = np.take_along_axis(p.pieces, np.concatenate([mover, 1 - mover], axis=1), axis=1)  # (n, 2)
        planes = (sides[:, None, :] & BITS[:, None]) != 0  # (n, 9, 2)
        return planes.astype(np.float32).reshape(len(p), 3, 3, 2)

    def symmetries(self) -> tuple[Ints, Ints]:
        points = square_symmetries(3)
        return points, points

    def text(self, p: TicTacToePositions, i: int = 0) -> str:
        first, second = (int(side) for side in p.pieces[i])
        cells = ["X" if first >> a & 1 else "O" if second >> a & 1 else str(a + 1) for a in range(9)]
        return "\n".join(" ".join(cells[r : r + 3]) for r in (0, 3, 6))

    def name(self, action: int) -> str:
        return str(action + 1)

    def single(self, *moves: int) -> TicTacToePosition:
        return TicTacToePosition().play(*moves)


class TicTacToePosition:
    """A game of tic-tac-toe that moves are played in, in Python's whole numbers."""

    __slots__ = ("moves", "pieces")

    def __init__(self) -> None:
        self.pieces = [0, 0]
        self.moves: list[int] = []

    def copy(self) -> TicTacToePosition:
        other = TicTacToePosition()
        other.pieces, other.moves = self.pieces.copy(), self.moves.copy()
        return other

    @property
    def turn(self) -> int:
        return len(self.moves) & 1

    @property
    def over(self) -> bool:
        return len(self.moves) == 9 or self.score() != 0

    def legal(self) -> list[int]:
        taken = self.pieces[0] | self.pieces[1]
        return [] if self.over else [a for a in range(9) if not taken >> a & 1]

    sensible = legal

    def push(self, action: int) -> bool:
        """Play it if the rules allow it, and say whether they do."""
        if action not in self.legal():
            return False
        self.pieces[self.turn] |= 1 << action
        self.moves.append(action)
        return True

    def play(self, *actions: int) -> TicTacToePosition:
        """Play them one after the other, in place; ParameterError at the first that the rules forbid."""
        for action in actions:
            if not self.push(action):
                why = "the game is over" if self.over else "there is no such place or it is taken"
                raise ParameterError(f"place {action + 1} came as move {len(self.moves) + 1}, but {why}; play another")
        return self

    def score(self) -> float:
        return float(WINS[self.pieces[0]]) - float(WINS[self.pieces[1]])

    def random_game(self, random: Random) -> float:
        """Play on by chance to the end and give the score; this position is left as it is."""
        game = self.copy()
        while free := game.legal():
            game.push(random.choice(free))
        return game.score()


@cache
def value(mine: int, others: int) -> int:
    """What perfect play brings the mover (1, 0, -1), who holds the places `mine`; by search to the end."""
    if WINS[others]:
        return -1
    free = 511 & ~(mine | others)
    return max((-value(others, mine | 1 << a) for a in range(9) if free >> a & 1), default=0)


def perfect(p: TicTacToePositions) -> Bools:
    """The actions that keep the value of each position -> (n, 9); none where the game is over.

    Chances are not weighed: of two moves that draw, one may leave a weak opponent more ways to go wrong.
    """
    best = TicTacToe().legal(p)
    for i, (pieces, ply) in enumerate(zip(p.pieces.tolist(), p.plies.tolist())):
        mine, others = pieces[ply & 1], pieces[1 - (ply & 1)]
        for a in np.flatnonzero(best[i]).tolist():
            best[i, a] = -value(others, mine | 1 << a) == value(mine, others)
    return best
