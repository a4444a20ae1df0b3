"""One position of Go in Python's whole numbers: quick single moves, for GTP, for UCT and to check the batched rules.

A board is two numbers, a bit per point and one guard bit after each row, so that the neighbours of all points of a
set are four shifts.
"""

from __future__ import annotations

from functools import cache
from random import Random

from everymodel.core.errors import ParameterError
from everymodel.scoring.games.go_text import board_text, point_name


class Grid:
    """What a board of `size` lines needs for its bits; the same object for equal sizes (see `grid`)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.area = size * size
        self.stride = s = size + 1
        self.bits = [1 << (a // size * s + a % size) for a in range(self.area)]
        self.full = sum(self.bits)
        self.near = [(b << 1 | b >> 1 | b << s | b >> s) & self.full for b in self.bits]
        self.corners = [(b << s + 1 | b << s - 1 | b >> s + 1 | b >> s - 1) & self.full for b in self.bits]
        self.spare = [1 if c.bit_count() == 4 else 0 for c in self.corners]  # corners of an eye the other may hold
        self.point = {b: a for a, b in enumerate(self.bits)}

    def points(self, stones: int) -> list[int]:
        """The points of a set of bits, ascending."""
        found = []
        while stones:
            b = stones & -stones
            found.append(self.point[b])
            stones ^= b
        return found

    def fill(self, seed: int, inside: int) -> int:
        """The points of `inside` that hang together with `seed` (a part of it)."""
        s = self.stride
        while True:
            grown = seed | (seed << 1 | seed >> 1 | seed << s | seed >> s) & inside
            if grown == seed:
                return seed
            seed = grown

    def around(self, stones: int) -> int:
        """The points of the board beside a set, those of the set among them where they touch."""
        s = self.stride
        return (stones << 1 | stones >> 1 | stones << s | stones >> s) & self.full

    def result(self, mine: int, others: int, a: int) -> tuple[int, int] | None:
        """The stones (mine, others) after a stone of mine on the empty point a; None if it had no liberty."""
        s, b, near = self.stride, self.bits[a], self.near[a]
        free = self.full & ~(mine | others | b)
        rest = near & others
        captured = 0
        while rest:
            chain = rest & -rest
            while True:
                beside = chain << 1 | chain >> 1 | chain << s | chain >> s
                if beside & free:
                    break
                grown = chain | beside & others
                if grown == chain:
                    captured |= chain
                    break
                chain = grown
            rest &= ~chain
        mine |= b
        if captured:
            return mine, others ^ captured
        if not near & free and not self.around(self.fill(b, mine)) & free:
            return None
        return mine, others

    def all_have_liberties(self, first: int, second: int) -> bool:
        """Whether each chain of either colour has a liberty, as in any position of a game."""
        free = self.full & ~(first | second)
        beside = self.around(free)
        return all(self.fill(side & beside, side) == side for side in (first, second))

    def points_of(self, first: int, second: int) -> tuple[int, int]:
        """The areas (first, second) of both: stones, and empty points from which no stone of the other is reached."""
        free = self.full & ~(first | second)
        reach = [self.fill(self.around(side) & free, free) for side in (first, second)]
        return first | reach[0] & ~reach[1], second | reach[1] & ~reach[0]


grid = cache(Grid)


class GoPosition:
    """A game of Go that moves are played in; the rules are those of `go.Go`.

    Parameters
    ----------
    size : lines of the board, 1 to 9.
    komi : points given to White.
    longest : plies after which the game is over; None for 3 a point, 0 for no end but two passes.

    Attributes
    ----------
    stones : [Black's, White's] bits; turn : 0 or 1; passes : in a row; moves : the actions so far.
    """

    __slots__ = ("_grid", "_seen", "komi", "longest", "moves", "passes", "size", "stones", "turn")

    def __init__(self, size: int = 5, komi: float = 0.0, longest: int | None = None) -> None:
        if not isinstance(size, int) or not 1 <= size <= 9:
            raise ParameterError(f"size {size!r} came; expected a whole number from 1 to 9")
        self.size = size
        self.komi = komi
        self.longest = 3 * size * size if longest is None else longest
        self._grid = grid(size)
        self.stones = [0, 0]
        self.turn = 0
        self.passes = 0
        self.moves: list[int] = []
        self._seen = {(0, 0)}

    def copy(self) -> GoPosition:
        other = GoPosition.__new__(GoPosition)
        other.size, other.komi, other.longest, other._grid = self.size, self.komi, self.longest, self._grid
        other.stones, other.turn, other.passes = self.stones.copy(), self.turn, self.passes
        other.moves, other._seen = self.moves.copy(), self._seen.copy()
        return other

    @property
    def area(self) -> int:
        return self._grid.area

    @property
    def over(self) -> bool:
        return self.passes >= 2 or 0 < self.longest <= len(self.moves)

    def _after(self, action: int) -> tuple[int, int] | None:
        """The stones (first, second) after the mover's stone there; None where the rules forbid it."""
        mine, others = self.stones[self.turn], self.stones[1 - self.turn]
        if (mine | others) & self._grid.bits[action]:
            return None
        after = self._grid.result(mine, others, action)
        if after is None:
            return None
        stones = after if self.turn == 0 else (after[1], after[0])
        return None if stones in self._seen else stones

    def allowed(self, action: int) -> bool:
        """Whether the mover may do that."""
        if self.over or not 0 <= action <= self.area:
            return False
        return action == self.area or self._after(action) is not None

    def legal(self) -> list[int]:
        """All that the mover may do, pass last; nothing when the game is over."""
        return [] if self.over else [a for a in range(self.area + 1) if self.allowed(a)]

    def sensible(self) -> list[int]:
        """Legal moves that fill no eye of the mover; pass only where no other is left."""
        if self.over:
            return []
        g, mine, others = self._grid, self.stones[self.turn], self.stones[1 - self.turn]
        found = []
        for a in g.points(g.full & ~(mine | others)):
            eye = not g.near[a] & ~mine and (g.corners[a] & others).bit_count() <= g.spare[a]
            if not eye and self._after(a) is not None:
                found.append(a)
        return found or [self.area]

    def push(self, action: int) -> bool:
        """Play it if the rules allow it, and say whether they do."""
        if self.over or not 0 <= action <= self.area:
            return False
        if action == self.area:
            self.passes += 1
        else:
            after = self._after(action)
            if after is None:
                return False
            self.stones[:] = after
            self._seen.add(after)
            self.passes = 0
        self.turn = 1 - self.turn
        self.moves.append(action)
        return True

    def skip(self) -> None:
        """Let the other side move, as handicaps do; among the moves it is a pass, but it does not end the game."""
        self.turn = 1 - self.turn
        self.moves.append(self.area)

    def play(self, *actions: int) -> GoPosition:
        """Play them one after the other, in place; ParameterError at the first that the rules forbid."""
        for action in actions:
            if not self.push(action):
                what = self.name(action) if 0 <= action <= self.area else str(action)
                why = "the game is over" if self.over else "the rules forbid it there"
                raise ParameterError(f"move {what} came as number {len(self.moves) + 1}, but {why}; play another")
        return self

    def score(self) -> float:
        """Black's points less White's and komi, as the board stands."""
        first, second = self._grid.points_of(*self.stones)
        return first.bit_count() - second.bit_count() - self.komi

    def text(self) -> str:
        first, second = self.stones
        return board_text([1 if first & b else 2 if second & b else 0 for b in self._grid.bits], self.size)

    def name(self, action: int) -> str:
        return point_name(action, self.size)

    # -- chance --------------------------------------------------------------------------------------------------

    def random_game(self, random: Random) -> float:
        """Play on by chance to the end and give the score; this position is left as it is.

        Light: eyes are not filled, passes come only when nothing else is left, and of repetitions only the retaking
        of a single stone is forbidden, with 3 plies a point as the end.
        """
        g = self._grid
        s, full, bits, nears, corners, spare, point = (
            g.stride,
            g.full,
            g.bits,
            g.near,
            g.corners,
            g.spare,
            g.point,
        )
        draw = random.random
        mine, others = self.stones[self.turn], self.stones[1 - self.turn]
        free = full & ~(mine | others)
        left = g.points(free)  # the empty points; those tried in vain this turn stand behind the first `k`
        passes, fresh, ko = self.passes, 0, 0  # ko: the stone that took one stone; fresh: what it may not take back
        turn = self.turn
        for _ in range(3 * g.area):
            k = len(left)
            while k:
                i = int(draw() * k)
                a = left[i]
                k -= 1
                left[i] = left[k]
                left[k] = a
                near = nears[a]
                open_ = near & free
                if not open_ and not near & ~mine and (corners[a] & others).bit_count() <= spare[a]:
                    continue
                b = bits[a]
                free ^= b
                rest = near & others
                captured = 0
                while rest:
                    chain = rest & -rest
                    while True:
                        beside = chain << 1 | chain >> 1 | chain << s | chain >> s
                        if beside & free:
                            break
                        grown = chain | beside & others
                        if grown == chain:
                            captured |= chain
                            break
                        chain = grown
                    rest &= ~chain
                if captured:
                    if captured == ko and b == fresh:
                        free ^= b
                        continue
                    if captured & (captured - 1) == 0:
                        fresh, ko = captured, b
                    else:
                        ko = 0
                    others ^= captured
                    free |= captured
                    left[k] = left[-1]
                    left.pop()
                    while captured:
                        c = captured & -captured
                        left.append(point[c])
                        captured ^= c
                else:
                    if not open_:
                        chain = b
                        region = mine | b
                        while True:
                            beside = chain << 1 | chain >> 1 | chain << s | chain >> s
                            if beside & free:
                                break
                            grown = chain | beside & region
                            if grown == chain:
                                chain = 0
                                break
                            chain = grown
                        if not chain:
                            free ^= b
                            continue
                    ko = 0
                    left[k] = left[-1]
                    left.pop()
                mine |= b
                passes = 0
                break
            else:
                passes += 1
                ko = 0
                if passes >= 2:
                    break
            mine, others = others, mine
            turn ^= 1
        first, second = (others, mine) if turn else (mine, others)
        one, two = g.points_of(first, second)
        return one.bit_count() - two.bit_count() - self.komi
