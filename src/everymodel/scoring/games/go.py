"""Go on small boards: area scoring, positional superko, no suicide (Tromp-Taylor), for many positions at once.

A board lies in a row of bytes with one guard column and one guard row, (h + 1) * (w + 1) cells in all, so that the
neighbours of every cell of every position are four shifts of one flat array. Each byte is seen from the side of the
mover: bit 0 its stone, bit 1 the other's stone, bit 2 it has had a stone here, bit 3 the other has; bits 6 and 7 are
the guards'.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, count
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from everymodel.core.errors import ParameterError
from everymodel.scoring.games.base import Bools, Floats, Ints, Positions, Rules, square_symmetries
from everymodel.scoring.games.go_position import GoPosition
from everymodel.scoring.games.go_text import board_text, point_name

SMALLEST, LARGEST = 2, 9
MINE, OTHERS, STONE, MINE_BEEN = 1, 2, 3, 4
BOTH_MINE = 5  # a stone of the mover, now and ever
GUARD = 0xC0
TAKEN = STONE | GUARD
NOWHERE = 255  # no liberty has this code
NEVER = np.uint64(2**64 - 1)  # the key of no position

Bytes = NDArray[np.uint8]
Marks = NDArray[np.unsignedinteger[Any]]


@dataclass(slots=True)
class GoPositions(Positions):
    cells: Bytes  # (n, P) stones from the side of the mover, see above
    only: Marks  # (n, P) for stones of chains with one liberty its code, else 0
    plies: NDArray[np.int64]  # (n,) moves and passes
    passes: Bytes  # (n,) passes in a row, 2 at the end
    last: NDArray[np.int64]  # (n,) cell of the last stone if its colour had never been there, else -1
    keys: NDArray[np.uint64]  # (n,) a number per whole-board position
    earlier: NDArray[np.uint64]  # (n, longest + 1) keys of all positions of the game, this one too; then NEVER
    boards: NDArray[np.int64]  # (n,) how many those are


class Go(Rules):
    """Go on a square board of 2 to 9 lines.

    A point is empty, Black's (the first player's) or White's. A stone is put on an empty point; then the other's
    chains without liberty leave the board. Not allowed: a move after which its own chain has no liberty, and a move
    that makes a whole-board position which the game has had before, whoever moved then. Two passes in a row end the
    game; so does `longest`, 3 plies a point. Score: Black's points less White's less `komi`; a player's points are
    its stones and the empty points from which only its stones are reached.

    Parameters
    ----------
    size : 2 to 9.
    komi : points given to White.
    """

    word: ClassVar[str] = "go"

    def __init__(self, size: int = 5, komi: float = 0.0) -> None:
        if not isinstance(size, int | np.integer) or not SMALLEST <= size <= LARGEST:
            raise ParameterError(f"size {size!r} came; expected a whole number from {SMALLEST} to {LARGEST}")
        if not isinstance(komi, int | float) or not abs(komi) <= size * size:
            raise ParameterError(f"komi {komi!r} came; expected a number from {-size * size} to {size * size}")
        self.size = int(size)
        self.komi = float(komi)
        self.area = self.size**2
        self.board = (self.size, self.size)
        self.actions = self.area + 1
        self.planes = 7
        self.worth = float(self.area + abs(self.komi))
        self.longest = 3 * self.area
        self.settings = {"size": self.size, "komi": self.komi}
        stride = self.size + 1
        self._stride = stride
        self._width = stride * stride  # P
        points = np.arange(self.area)
        self._cell = points // self.size * stride + points % self.size  # (area,)
        self._place = np.append(self._cell, self._width - 1)  # (A,) a pass is put on a guard, and puts nothing there
        self._put = np.full(self.actions, BOTH_MINE, dtype=np.uint8)
        self._put[-1] = 0
        self._empty = np.full(self._width, GUARD, dtype=np.uint8)  # (P,)
        self._empty[self._cell] = 0
        # Each point's code has the same number of bits, so that a chain whose liberties' codes together have no more
        # has but one liberty. 8 bits hold 70 codes of 4; 16 bits hold 120 of 2.
        room, self._weight = (8, 4) if self.area <= 70 else (16, 2)
        bits = [sum(1 << b for b in chosen) for chosen in combinations(range(room), self._weight)]
        codes = np.zeros(self._width, dtype=np.uint8 if room == 8 else np.uint16)
        codes[self._cell] = bits[: self.area]
        self._codes = codes  # (P,), 0 for guards
        self._code_of = np.append(codes[self._cell], codes.dtype.type(NOWHERE))  # (A,)
        # A position's key: the digits of its points in base 3, which is exact up to 40 points; past that 64 bits by
        # chance for each point and colour, which two different positions share with chance 2 ** -64.
        code = np.zeros((2, self._width), dtype=np.uint64)
        if self.area <= 40:
            code[0, self._cell] = np.array([3**k for k in range(self.area)], dtype=np.uint64)
            code[1] = 2 * code[0]
        else:
            code[:, self._cell] = np.random.default_rng(9).integers(0, 2**64, (2, self.area), dtype=np.uint64)
        self._code = code  # (2, P) by colour
        corners = np.zeros((stride, stride), dtype=np.uint8)
        corners[1 : self.size - 1, 1 : self.size - 1] = 1
        self._corners = corners.ravel()  # (P,) how many corners of an eye the other may hold

    def start(self, n: int) -> GoPositions:
        earlier = np.full((n, self.longest + 1), NEVER)
        earlier[:, 0] = 0
        return GoPositions(
            cells=np.tile(self._empty, (n, 1)),
            only=np.zeros((n, self._width), dtype=self._codes.dtype),
            plies=np.zeros(n, dtype=np.int64),
            passes=np.zeros(n, dtype=np.uint8),
            last=np.full(n, -1),
            keys=np.zeros(n, dtype=np.uint64),
            earlier=earlier,
            boards=np.ones(n, dtype=np.int64),
        )

    def over(self, p: GoPositions) -> Bools:
        return (p.passes >= 2) | (p.plies >= self.longest)

    def turn(self, p: GoPositions) -> Bytes:
        return (p.plies & 1).astype(np.uint8)

    # -- moves ---------------------------------------------------------------------------------------------------

    def play(self, p: GoPositions, actions: Any) -> GoPositions:
        n, width = len(p), self._width
        over = self.over(p)
        ended = bool(over.any())
        actions = np.where(over, self.area, actions) if ended else np.asarray(actions)  # a pass changes no cell
        stone = actions < self.area
        place = self._place[actions]  # (n,)
        row = np.arange(n)
        at = row * width + place
        captured = (p.only == self._code_of[actions][:, None]) & ((p.cells & OTHERS) != 0)  # their only liberty goes
        cells = p.cells ^ (captured.view(np.uint8) << 1)
        flat = cells.reshape(-1)
        before = flat[at]
        flat[at] = before | self._put[actions]
        turn = p.plies & 1
        keys = p.keys + self._code[turn, place]
        gone = np.flatnonzero(captured)
        if len(gone):
            rows, places = np.divmod(gone, width)
            np.subtract.at(keys, rows, self._code[1 - turn[rows], places])
        cells = ((cells & 0x55) << 1) | ((cells & 0xAA) >> 1)  # now from the other side
        plies, passes = p.plies + 1, (p.passes + 1) * ~stone
        if ended:
            cells[over], plies[over], passes[over] = p.cells[over], p.plies[over], p.passes[over]
        boards = p.boards + stone
        earlier = p.earlier.copy()
        earlier[row, boards - 1] = keys
        return GoPositions(
            cells=cells,
            only=self._only_liberties(cells),
            plies=plies,
            passes=passes,
            last=np.where(stone & ((before & MINE_BEEN) == 0), place, -1),
            keys=keys,
            earlier=earlier,
            boards=boards,
        )

    def legal(self, p: GoPositions) -> Bools:
        n = len(p)
        cells, only = p.cells, p.only
        empty = ((cells & TAKEN) == 0).view(np.uint8)  # (n, P) 0 or 1
        # A point may be played on beside an empty point, an own chain with another liberty, or a chain it captures.
        ways = (((cells & MINE) != 0) & (only == 0)) | (((cells & OTHERS) != 0) & (only != 0))
        allowed = self._beside(ways.view(np.uint8) | empty) & empty
        self._forbid_repeats(p, allowed)
        legal = np.empty((n, self.actions), dtype=np.bool_)
        legal[:, : self.area] = allowed[:, self._cell]
        legal[:, self.area] = True
        over = self.over(p)
        if over.any():
            legal[over] = False
        return legal

    def sensible(self, p: GoPositions) -> Bools:
        """Legal moves that do not fill an eye of the mover; pass only where no other is left -> (n, A).

        An eye is an empty point all of whose neighbours are stones of the mover, and of whose corners the other
        holds at most one (none at the edge of the board).
        """
        legal = self.legal(p)
        eyes = self._eyes(p)[:, self._cell]
        legal[:, : self.area] &= ~eyes
        legal[:, self.area] &= ~legal[:, : self.area].any(axis=1)
        return legal

    def _forbid_repeats(self, p: GoPositions, allowed: Bytes) -> None:
        """Take those moves out of `allowed` (n, P) that make a position which the game has had.

        Few can: the mover must have had a stone there before (else the earlier position lacks it), and the other's
        last stone must stand where it had stood before (else the earlier position lacks that), or be captured now.
        """
        width = self._width
        tried = np.flatnonzero(((p.cells >> 2) & allowed).view(np.bool_).ravel())
        if not len(tried):
            return
        rows, places = np.divmod(tried, width)
        last = p.last[rows]
        codes = self._codes[places]
        kept = np.flatnonzero((last < 0) | (p.only.ravel()[rows * width + last] == codes))
        if not len(kept):
            return
        rows, places, codes = rows[kept], places[kept], codes[kept]
        turn = p.plies[rows] & 1
        keys = p.keys[rows] + self._code[turn, places]
        captured = (p.only[rows] == codes[:, None]) & ((p.cells[rows] & OTHERS) != 0)  # (m, P)
        which, gone = np.nonzero(captured)
        np.subtract.at(keys, which, self._code[1 - turn[which], gone])
        boards = int(p.boards.max())
        seen = np.flatnonzero(p.earlier[rows, :boards] == keys[:, None]) // boards
        allowed[rows[seen], places[seen]] = 0

    def _eyes(self, p: GoPositions) -> Bools:
        """Empty points that are eyes of the mover -> (n, P)."""
        empty = ((p.cells & TAKEN) == 0).view(np.uint8)
        eyes = empty & ~self._beside(((p.cells & (MINE | GUARD)) == 0).view(np.uint8))
        at = np.flatnonzero(eyes.view(np.bool_).ravel())
        others = (p.cells & OTHERS).ravel() >> 1
        s = self._stride  # before the first cell, negative indices lead to the guards at the end
        corners = others[at - s - 1] + others[at - s + 1] + others[at + s - 1] + others[at + s + 1]
        eyes.ravel()[at[corners > self._corners[at % self._width]]] = 0
        return eyes.view(np.bool_)

    # -- the neighbours of all cells at once ---------------------------------------------------------------------

    def _beside(self, marks: Any) -> Any:
        """The cells beside a marked one (guards too) -> (..., P) like `marks`; the marks must be off the guards."""
        s = self._stride
        flat = marks.reshape(-1)
        out = np.zeros_like(flat)
        out[1:] = flat[:-1]
        out[:-1] |= flat[1:]
        out[s:] |= flat[:-s]
        out[:-s] |= flat[s:]
        return out.reshape(marks.shape)

    def _spread(self, marks: Marks, joined: Bytes) -> None:
        """Give each cell all the marks of its region, in place.

        Parameters
        ----------
        marks : (k,) bits per cell, k = n * P.
        joined : (k,) two neighbouring cells are of one region where they have a bit in common.
        """
        s = self._stride
        # All bits of a mark where a cell is of one region with the next, or with the one below.
        right = np.negative((joined[1:] & joined[:-1]) != 0, dtype=marks.dtype)
        down = np.negative((joined[s:] & joined[:-s]) != 0, dtype=marks.dtype)
        room = np.empty_like(marks)
        near, far = room[1:], room[s:]
        low, high, top, bottom = marks[:-1], marks[1:], marks[:-s], marks[s:]
        before = np.empty_like(marks)
        for sweep in count():
            if sweep > 1:
                before[:] = marks
            np.bitwise_and(low, right, out=near)
            np.bitwise_or(high, near, out=high)
            np.bitwise_and(top, down, out=far)
            np.bitwise_or(bottom, far, out=bottom)
            np.bitwise_and(high, right, out=near)
            np.bitwise_or(low, near, out=low)
            np.bitwise_and(bottom, down, out=far)
            np.bitwise_or(top, far, out=top)
            if sweep > 1 and np.array_equal(before, marks):
                return

    def _only_liberties(self, cells: Bytes) -> Marks:
        """The code of its one liberty for each stone of a chain that has but one, else 0 -> (n, P)."""
        stones = cells & STONE
        marks = self._beside((stones == 0).view(np.uint8) * self._codes).reshape(-1)
        stones = stones.reshape(-1)
        marks *= stones != 0
        self._spread(marks, stones)
        marks *= np.bitwise_count(marks) == self._weight
        return marks.reshape(cells.shape)

    def stones(self, p: GoPositions) -> Bytes:
        """The stone on each point -> (n, area): 0 none, 1 the first player's, 2 the second's."""
        cells = p.cells[:, self._cell] & STONE
        swapped = ((cells & MINE) << 1) | (cells >> 1)
        return np.where((p.plies & 1)[:, None] != 0, swapped, cells)

    # -- the end -------------------------------------------------------------------------------------------------

    def owners(self, p: GoPositions) -> NDArray[np.int8]:
        """Whose each point is -> (n, area): 1 the first player's, -1 the second's, 0 nobody's."""
        n, area = len(p), self.area
        cells = p.cells
        empty = ((cells & TAKEN) == 0).view(np.uint8)
        reached = self._beside(cells & STONE) * empty  # (n, P): whose stones are beside an empty point, a bit each
        marks = reached.reshape(-1)
        self._spread(marks, empty.reshape(-1))
        held = (reached | (cells & STONE))[:, self._cell]  # (n, area)
        mover = (held == MINE).view(np.int8) - (held == OTHERS).view(np.int8)
        return (mover * (1 - 2 * (p.plies & 1)).astype(np.int8)[:, None]).reshape(n, area)

    def score(self, p: GoPositions) -> Floats:
        return self.owners(p).sum(axis=1, dtype=np.float32) - np.float32(self.komi)

    # -- for learners and people ---------------------------------------------------------------------------------

    def observe(self, p: GoPositions) -> Floats:
        """Own stones, the other's, ones, forbidden empty points, stones with one liberty, last was a pass, komi."""
        n, size = len(p), self.size
        planes = np.empty((n, self.area, self.planes), dtype=np.float32)
        cells = p.cells[:, self._cell]
        planes[:, :, 0] = cells & MINE
        planes[:, :, 1] = (cells & OTHERS) != 0
        planes[:, :, 2] = 1
        planes[:, :, 3] = ((cells & STONE) == 0) & ~self.legal(p)[:, : self.area]
        planes[:, :, 4] = p.only[:, self._cell] != 0
        planes[:, :, 5] = (p.passes > 0)[:, None]
        planes[:, :, 6] = ((2 * (p.plies & 1) - 1) * (self.komi / self.area))[:, None]
        return planes.reshape(n, size, size, self.planes)

    def symmetries(self) -> tuple[Ints, Ints]:
        points = square_symmetries(self.size)
        return points, np.column_stack([points, np.full(8, self.area)])

    def text(self, p: GoPositions, i: int = 0) -> str:
        return board_text(self.stones(p.take([i]))[0].tolist(), self.size)

    def name(self, action: int) -> str:
        return point_name(action, self.size)

    def single(self, *moves: int) -> GoPosition:
        return GoPosition(self.size, self.komi).play(*moves)
