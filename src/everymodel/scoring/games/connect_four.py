"""Connect Four: pieces fall into columns, four in a row win."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from everymodel.core.errors import ParameterError
from everymodel.scoring.games.base import Bools, Floats, Ints, Positions, Rules

Words = NDArray[np.uint64]


@dataclass(slots=True)
class ConnectFourPositions(Positions):
    pieces: Words  # (n, 2) a bit per place: column * (rows + 1) + height, the topmost bit of a column stays empty
    plies: NDArray[np.int64]  # (n,)
    ended: Bools  # (n,) full, or four in a row


class ConnectFour(Rules):
    """Four in a row, a column or a diagonal win; scores are 1, 0 and -1. Columns are numbered from 1.

    Parameters
    ----------
    rows, columns : 4 or more each, columns * (rows + 1) at most 63; usually 6 and 7.
    """

    word: ClassVar[str] = "connect_four"

    def __init__(self, rows: int = 6, columns: int = 7) -> None:
        for what, came in (("rows", rows), ("columns", columns)):
            if not isinstance(came, int | np.integer) or came < 4:
                raise ParameterError(f"{what} {came!r} came; expected a whole number from 4")
        if columns * (rows + 1) > 63:
            raise ParameterError(f"{rows} rows and {columns} columns came; columns * (rows + 1) must be 63 at most")
        self.rows, self.columns = int(rows), int(columns)
        self.board = (self.rows, self.columns)
        self.actions = self.columns
        self.planes = 2
        self.worth = 1.0
        self.longest = self.rows * self.columns
        self.settings = {"rows": self.rows, "columns": self.columns}
        tall = self.rows + 1
        one = np.uint64(1)
        self._bottom = np.array([1 << c * tall for c in range(columns)], dtype=np.uint64)  # (A,) lowest places
        self._column = self._bottom * np.uint64((1 << rows) - 1)  # (A,) all places of each column
        r, c = np.mgrid[: self.rows, : self.columns]
        self._places = one << (c * tall + (self.rows - 1 - r)).astype(np.uint64)  # (h, w), the top row first
        self._ways = [np.uint64(d) for d in (1, tall - 1, tall, tall + 1)]

    def start(self, n: int) -> ConnectFourPositions:
        return ConnectFourPositions(
            np.zeros((n, 2), dtype=np.uint64), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
        )

    def over(self, p: ConnectFourPositions) -> Bools:
        return p.ended

    def turn(self, p: ConnectFourPositions) -> NDArray[np.uint8]:
        return (p.plies & 1).astype(np.uint8)

    def legal(self, p: ConnectFourPositions) -> Bools:
        taken = p.pieces[:, 0] | p.pieces[:, 1]
        return ((taken[:, None] & self._column) != self._column) & ~p.ended[:, None]

    def play(self, p: ConnectFourPositions, actions: Any) -> ConnectFourPositions:
        live = ~p.ended
        n = np.arange(len(p))
        mover = p.plies & 1
        taken = p.pieces[:, 0] | p.pieces[:, 1]
        fallen = (taken + self._bottom[actions]) & self._column[actions] & ~taken  # carries to the first free place
        pieces = p.pieces.copy()
        pieces[n, mover] |= np.where(live, fallen, np.uint64(0))
        plies = p.plies + live
        ended = p.ended | self._four(pieces[n, mover]) | (plies == self.longest)
        return ConnectFourPositions(pieces, plies, ended)

    def _four(self, pieces: Words) -> Bools:
        found = np.zeros(pieces.shape, dtype=np.bool_)
        for d in self._ways:
            two = pieces & (pieces >> d)
            found |= (two & (two >> (d + d))) != 0
        return found

    def score(self, p: ConnectFourPositions) -> Floats:
        won = self._four(p.pieces).astype(np.float32)  # (n, 2)
        return won[:, 0] - won[:, 1]

    def observe(self, p: ConnectFourPositions) -> Floats:
        mover = (p.plies & 1)[:, None]
        sides = np.take_along_axis(p.pieces, np.concatenate([mover, 1 - mover], axis=1), axis=1)  # (n, 2)
        return ((sides[:, None, None, :] & self._places[:, :, None]) != 0).astype(np.float32)

    def symmetries(self) -> tuple[Ints, Ints]:
        points = np.arange(self.longest, dtype=np.intp).reshape(self.board)
        columns = np.arange(self.columns, dtype=np.intp)
        return np.stack([points.ravel(), points[:, ::-1].ravel()]), np.stack([columns, columns[::-1]])

    def text(self, p: ConnectFourPositions, i: int = 0) -> str:
        first, second = ((self._places & side) != 0 for side in p.pieces[i])
        rows = [" ".join("X" if x else "O" if o else "." for x, o in zip(*row)) for row in zip(first, second)]
        return "\n".join([*rows, " ".join(self.name(a) for a in range(self.columns))])

    def name(self, action: int) -> str:
        return str(action + 1)

    def single(self, *moves: int) -> ConnectFourPosition:
        return ConnectFourPosition(self.rows, self.columns).play(*moves)


class ConnectFourPosition:
    """A game of Connect Four that moves are played in, in Python's whole numbers."""

    __slots__ = ("_bottom", "_full", "_top", "columns", "moves", "pieces", "rows", "won")

    def __init__(self, rows: int = 6, columns: int = 7) -> None:
        tall = rows + 1
        self.rows, self.columns = rows, columns
        self._bottom = [1 << c * tall for c in range(columns)]
        self._top = [1 << c * tall + rows - 1 for c in range(columns)]
        self._full = sum(self._bottom) * ((1 << rows) - 1)
        self.pieces = [0, 0]
        self.moves: list[int] = []
        self.won = False  # whether the last move made four in a row

    def copy(self) -> ConnectFourPosition:
        other = ConnectFourPosition.__new__(ConnectFourPosition)
        other.rows, other.columns, other.won = self.rows, self.columns, self.won
        other._bottom, other._top, other._full = self._bottom, self._top, self._full
        other.pieces, other.moves = self.pieces.copy(), self.moves.copy()
        return other

    @property
    def turn(self) -> int:
        return len(self.moves) & 1

    @property
    def over(self) -> bool:
        return self.won or self.pieces[0] | self.pieces[1] == self._full

    def legal(self) -> list[int]:
        taken = self.pieces[0] | self.pieces[1]
        return [] if self.won else [a for a, top in enumerate(self._top) if not taken & top]

    sensible = legal

    def push(self, action: int) -> bool:
        """Play it if the rules allow it, and say whether they do."""
        taken = self.pieces[0] | self.pieces[1]
        if self.won or not 0 <= action < self.columns or taken & self._top[action]:
            return False
        # Adding the column's lowest bit carries to its first free place.
        fallen = (taken + self._bottom[action]) & ~taken & self._full
        side = self.turn
        self.pieces[side] |= fallen
        self.moves.append(action)
        self.won = self._four(self.pieces[side])
        return True

    def play(self, *actions: int) -> ConnectFourPosition:
        """Play them one after the other, in place; ParameterError at the first that the rules forbid."""
        for action in actions:
            if not self.push(action):
                why = "the game is over" if self.over else "there is no such column or it is full"
                raise ParameterError(f"column {action + 1} came as move {len(self.moves) + 1}, but {why}; play another")
        return self

    def _four(self, pieces: int) -> bool:
        tall = self.rows + 1
        for d in (tall, 1, tall - 1, tall + 1):
            two = pieces & pieces >> d
            if two & two >> 2 * d:
                return True
        return False

    def score(self) -> float:
        return 0.0 if not self.won else 1.0 if len(self.moves) & 1 else -1.0

    def random_game(self, random: Random) -> float:
        """Play on by chance to the end and give the score; this position is left as it is."""
        if self.over:
            return self.score()
        draw, bottom, top, full, four = random.random, self._bottom, self._top, self._full, self._four
        turn = self.turn
        mine, others = self.pieces[turn], self.pieces[1 - turn]
        sign = 1.0 if turn == 0 else -1.0
        free = self.legal()
        while free:
            i = int(draw() * len(free))
            a = free[i]
            taken = mine | others
            fallen = (taken + bottom[a]) & ~taken & full
            mine |= fallen
            if four(mine):
                return sign
            if fallen & top[a]:
                free[i] = free[-1]
                free.pop()
            mine, others, sign = others, mine, -sign
        return 0.0
