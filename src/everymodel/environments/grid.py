"""Environments whose states can be counted, as tables of what follows: lakes, cliffs, taxis, mazes, and your own.

maze = Maze(lines=["S..#", ".#..", "...G"])
agent = em.QLearning().fit(maze)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.environments import drawing
from everymodel.environments.lanes import MOST, ArrayLanes
from everymodel.scoring.spaces import Space

_LARGE = 1 << 26  # outcomes that a table may hold


class Table(ArrayLanes):
    """An environment of `S` states and `A` actions, given by what follows on each with what chance.

    Parameters
    ----------
    after : (S, A) or (S, A, K) whole numbers, the states that may follow.
    reward, ended : of the same shape, or numbers.
    chance : of the same shape, sums to 1 over K; only where K is above 1.
    starts : (S,) chances of the states in which episodes begin, or one state.
    name : what it is called.

    Raises
    ------
    ParameterError
        for tables that do not fit together.
    """

    limit = 1000

    def __init__(
        self,
        n: int = 1,
        limit: int | None = None,
        *,
        after: Any,
        reward: Any,
        ended: Any = False,
        chance: Any = None,
        starts: Any = 0,
        name: str = "Table",
    ):
        given = {"after": after, "reward": reward, "ended": ended, "chance": chance, "starts": starts, "name": name}
        super().__init__(n, limit, **given)
        self._fill(**given)

    def _fill(self, after: Any, reward: Any, ended: Any, chance: Any, starts: Any, name: str) -> None:
        after = np.asarray(after)
        if after.ndim == 2:
            after = after[:, :, None]
        if after.ndim != 3 or not 0 < after.size <= _LARGE or after.dtype.kind not in "iu":
            raise ParameterError(
                f"after of shape {after.shape} came; expected whole numbers (states, actions, outcomes)."
            )
        states, actions, self.outcomes = after.shape
        if after.min() < 0 or after.max() >= states:
            raise ParameterError(f"after holds {after.min()} to {after.max()}; expected states from 0 to {states - 1}.")
        self.after = after.astype(np.int64)
        self.reward, self.ended = (self._like(v, w, t) for v, w, t in ((reward, "reward", "f4"), (ended, "ended", "?")))
        self.chance = np.full(after.shape, 1.0) if chance is None else self._like(chance, "chance", "f8")
        if (self.chance < 0).any() or not np.allclose(self.chance.sum(axis=2), 1.0, atol=1e-6):
            raise ParameterError(
                "chance holds rows that do not sum to 1. Give one for each outcome of state and action."
            )
        if np.ndim(starts) == 0:
            starts = np.arange(states) == int(starts)
        self.starts = np.asarray(starts, dtype=np.float64)
        if self.starts.shape != (states,) or (self.starts < 0).any() or not self.starts.sum() > 0:
            raise ParameterError(f"starts came as {self.starts.shape}; expected a state, or {states} chances.")
        self.starts = self.starts / self.starts.sum()
        self.name, self.observation, self.action = name, Space(states), Space(actions)
        # Flat, by state, action and outcome.
        self._after, self._reward, self._ended = (v.reshape(-1) for v in (self.after, self.reward, self.ended))
        self._bounds = self.chance.cumsum(axis=2)[:, :, :-1].reshape(states * actions, -1).T.astype(np.float32).copy()
        self._first = self.starts.cumsum()
        self._first[-1] = 1.0

    def _like(self, value: Any, what: str, dtype: str) -> np.ndarray:
        made = np.asarray(value, dtype=dtype)
        made = made[:, :, None] if made.ndim == 2 else made
        try:
            made = np.broadcast_to(made, self.after.shape).copy()
        except ValueError:
            raise ParameterError(f"{what} of shape {made.shape} came; expected {self.after.shape}, as after.") from None
        if dtype != "?" and not np.isfinite(made).all():
            raise ParameterError(f"{what} holds NaN or infinite numbers.")
        return made

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self._first.searchsorted(rng.random(n), side="right")[None]

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        state = self.inner[0]
        place = state * self.action.n
        place += actions
        if self.outcomes > 1:
            drawn = self.rng.random(self.n, dtype=np.float32)
            sides = [drawn >= bound.take(place) for bound in self._bounds]
            place *= self.outcomes
            for side in sides:
                place += side
        self._after.take(place, out=state, mode="clip")
        return self._reward.take(place), self._ended.take(place)

    def show(self, inner: np.ndarray) -> np.ndarray:
        return inner[0].copy()

    def best(self, discount: float = 0.99, steps: int = 100_000) -> np.ndarray:
        """(S, A) what actions are worth where the best ones follow, by value iteration (Bellman 1957)."""
        goes = discount * self.chance * ~self.ended
        paid = (self.chance * self.reward).sum(axis=2)
        worth = np.zeros(len(self.after))
        for _ in range(steps):
            values = paid + (goes * worth[self.after]).sum(axis=2)
            fresh = values.max(axis=1)
            if np.abs(fresh - worth).max() < 1e-10:
                break
            worth = fresh
        return values

    def expected(self, policy: np.ndarray, limit: int | None = None) -> float:
        """Mean return of episodes of `limit` steps at most by actions (S,), exactly."""
        rows = np.arange(len(policy))
        chance, after = self.chance[rows, policy], self.after[rows, policy]
        paid, goes = (chance * self.reward[rows, policy]).sum(axis=1), chance * ~self.ended[rows, policy]
        worth = np.zeros(len(policy))
        for _ in range(limit or self.limit):
            worth = paid + (goes * worth[after]).sum(axis=1)
        return float(self.starts @ worth)


class Grid(Table):
    """Base of tables over the fields of a map: moves, pictures and a text for the terminal.

    Attributes
    ----------
    fields : (h, w) single letters. A state is a field, counted by rows.
    """

    fields: np.ndarray
    colors: ClassVar[dict[str, drawing.Color]] = {
        "#": drawing.DARK,
        "H": drawing.WATER,
        "C": drawing.RED,
        "G": drawing.GREEN,
        "S": drawing.SAND,
    }
    ground: drawing.Color = drawing.ICE

    def place(self, state: int) -> tuple[int, int]:
        """(row, column) of the field in which the agent is."""
        return divmod(state, self.fields.shape[1])

    def text(self, lane: int = 0) -> str:
        row, column = self.place(int(self.inner[0, lane]))
        shown = self.fields.copy()
        shown[row, column] = "@"
        return "\n".join("".join(line) for line in shown)

    def picture(self, lane: int = 0) -> np.ndarray:
        return self.drawn(int(self.inner[0, lane])).array()

    def drawn(self, state: int) -> drawing.Canvas:
        """The map with the agent in it."""
        h, w = self.fields.shape
        size = max(min(64, 640 // max(h, w)), 4)
        made, gap = drawing.Canvas(w * size, h * size, self.ground), 1 if size > 8 else 0
        for row in range(h):
            for column in range(w):
                color = self.colors.get(str(self.fields[row, column]))
                if color is not None:
                    x, y = column * size, row * size
                    made.box(x + gap, y + gap, x + size - gap, y + size - gap, color, size / 8)
        row, column = self.place(state)
        made.disc((column + 0.5) * size, (row + 0.5) * size, size * 0.3, drawing.WARM)
        return made


def fields_of(lines: Sequence[str] | str, letters: str) -> np.ndarray:
    """(h, w) letters of a map; ParameterError for lines of several lengths and for other letters."""
    told = lines.split("\n") if isinstance(lines, str) else [str(line) for line in lines]
    if not told or not told[0] or len({len(line) for line in told}) > 1:
        raise ParameterError("The lines of a map have several lengths, or there are none.")
    made = np.array([list(line) for line in told])
    strange = sorted(set(made.ravel()) - set(letters))
    if strange:
        raise ParameterError(f"The map holds {strange[0]!r}; expected {' '.join(letters)!r}.")
    return made


def moved(shape: tuple[int, int], steps: Sequence[tuple[int, int]], walls: np.ndarray | None = None) -> np.ndarray:
    """(fields, len(steps)) the field in which each step ends; walls (h, w) and the rim hold it back."""
    h, w = shape
    rows, columns = np.divmod(np.arange(h * w), w)
    made = np.empty((h * w, len(steps)), dtype=np.int64)
    for i, (down, right) in enumerate(steps):
        made[:, i] = np.clip(rows + down, 0, h - 1) * w + np.clip(columns + right, 0, w - 1)
    if walls is not None:
        made = np.where(walls.reshape(-1)[made], np.arange(h * w)[:, None], made)
    return made


def slipped(table: np.ndarray) -> np.ndarray:
    """(S, A, 3) what follows (S, A) where a step may go to either side: actions are in the order of a turn."""
    return np.stack([np.roll(table, 1, axis=1), table, np.roll(table, -1, axis=1)], axis=2)


class FrozenLake(Grid):
    """As Gymnasium's FrozenLake-v1: over ice to the goal, 1 there; holes end the episode; ice is slippery."""

    threshold = 0.7
    MAPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
        "8x8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
    }
    known = "4x4"
    limit = 100

    def __init__(
        self,
        n: int = 1,
        limit: int | None = None,
        *,
        desc: Sequence[str] | None = None,
        map_name: str | None = None,
        is_slippery: bool = True,
    ):
        ArrayLanes.__init__(self, n, limit, desc=desc, map_name=map_name, is_slippery=is_slippery)
        word = map_name or self.known
        if desc is None and word not in self.MAPS:
            raise ParameterError(f"map_name={word!r} came; expected one of {', '.join(self.MAPS)}.")
        self.fields = fields_of(self.MAPS[word] if desc is None else desc, "SFHG")
        letters = self.fields.reshape(-1)
        over = (letters == "H") | (letters == "G")
        if not (letters == "S").any():
            raise ParameterError("The map has no start (S).")
        after = moved(self.fields.shape, [(0, -1), (1, 0), (0, 1), (-1, 0)])
        after = slipped(after) if is_slippery else after[:, :, None]
        after = np.where(over[:, None, None], np.arange(len(letters))[:, None, None], after)
        pays = (letters[after] == "G") & ~over[:, None, None]
        name = "FrozenLake-v1" if word == "4x4" else "FrozenLake8x8-v1"
        if desc is not None or not is_slippery:
            name = "FrozenLake"
        chance = np.full(after.shape, 1 / after.shape[2])
        starts = (letters == "S").astype(float)
        self._fill(after, pays.astype(np.float32), over[after], chance, starts, name)


class FrozenLake8x8(FrozenLake):
    """The larger lake."""

    threshold = 0.85
    known = "8x8"
    limit = 200


class CliffWalking(Grid):
    """As Gymnasium's CliffWalking-v1: along a cliff to the goal; -1 a step, -100 and back to the start for a fall."""

    limit = MOST

    def __init__(self, n: int = 1, limit: int | None = None, *, is_slippery: bool = False):
        ArrayLanes.__init__(self, n, limit, is_slippery=is_slippery)
        self.fields = fields_of(["." * 12] * 3 + ["S" + "C" * 10 + "G"], ".SCG")
        letters, begin = self.fields.reshape(-1), 36
        after = moved((4, 12), [(-1, 0), (0, 1), (1, 0), (0, -1)])
        after = slipped(after) if is_slippery else after[:, :, None]
        falls, there = letters[after] == "C", letters[after] == "G"
        chance = np.full(after.shape, 1 / after.shape[2])
        name = "CliffWalkingSlippery-v1" if is_slippery else "CliffWalking-v1"
        self._fill(np.where(falls, begin, after), np.where(falls, -100.0, -1.0), there, chance, begin, name)


class CliffWalkingSlippery(CliffWalking):
    """The same on slippery ground."""

    def __init__(self, n: int = 1, limit: int | None = None):
        CliffWalking.__init__(self, n, limit, is_slippery=True)
        self.options = {}


class Maze(Grid):
    """A map of walls (#), free fields (.), starts (S; where there is none, all free fields) and goals (G).

    Actions are up, right, down, left; -1 a step; an episode ends at a goal.

    Parameters
    ----------
    lines : the map. slip : chance that a step goes to either side instead.
    """

    ground = drawing.WHITE

    def __init__(self, n: int = 1, limit: int | None = None, *, lines: Sequence[str] | str, slip: float = 0.0):
        ArrayLanes.__init__(self, n, limit, lines=lines, slip=slip)
        if not 0 <= slip <= 1:
            raise ParameterError(f"slip={slip!r} came; expected a chance from 0 to 1.")
        self.fields = fields_of(lines, "#.SG")
        letters = self.fields.reshape(-1)
        if not (letters == "G").any():
            raise ParameterError("The maze has no goal (G).")
        after = moved(self.fields.shape, [(-1, 0), (0, 1), (1, 0), (0, -1)], self.fields == "#")
        chance = None
        if slip:
            after, chance = slipped(after), np.broadcast_to([slip / 2, 1 - slip, slip / 2], (len(letters), 4, 3))
        starts = letters == ("S" if (letters == "S").any() else ".")
        self._fill(after, -1.0, letters[after] == "G", chance, starts.astype(float), "Maze")


class Taxi(Grid):
    """As Gymnasium's Taxi-v4: to the passenger, in, to where they want, out; 20 there, -1 a step, -10 for errors."""

    threshold = 8.0
    limit = 200
    MAP = ("+---------+", "|R: | : :G|", "| : | : : |", "| : : : : |", "| | : | : |", "|Y| : |B: |", "+---------+")
    STOPS = ((0, 0), (0, 4), (4, 0), (4, 3))
    COLORS = (drawing.RED, drawing.GREEN, (222, 184, 60), drawing.BLUE)

    def __init__(self, n: int = 1, limit: int | None = None):
        ArrayLanes.__init__(self, n, limit)
        self.fields = np.array([list(line) for line in self.MAP])
        states = np.arange(500)
        row, column, rider, goal = states // 100, states // 20 % 5, states // 4 % 5, states % 4
        stops = np.array(self.STOPS)
        here = (row[:, None] == stops[:, 0]) & (column[:, None] == stops[:, 1])  # (500, 4)
        after, reward = np.repeat(states[:, None], 6, axis=1), np.full((500, 6), -1.0)
        after[:, 0] += 100 * (row < 4)
        after[:, 1] -= 100 * (row > 0)
        after[:, 2] += 20 * (self.fields[1 + row, 2 * column + 2] == ":")
        after[:, 3] -= 20 * (self.fields[1 + row, 2 * column] == ":")
        inside, waits = rider == 4, np.append(here, np.zeros((500, 1), bool), axis=1)[states, rider]
        after[waits, 4] += 4 * (4 - rider[waits])
        reward[~waits, 4] = -10.0
        out = inside & here.any(axis=1)
        after[out, 5] += 4 * (here[out].argmax(axis=1) - 4)
        there = inside & here[states, goal]
        reward[there, 5] = 20.0
        reward[~out, 5] = -10.0
        ended = np.zeros((500, 6), dtype=bool)
        ended[there, 5] = True
        starts = (rider < 4) & (rider != goal)
        self._fill(after, reward, ended, None, starts.astype(float), "Taxi-v4")

    def place(self, state: int) -> tuple[int, int]:
        return 1 + state // 100, 1 + 2 * (state // 20 % 5)

    def text(self, lane: int = 0) -> str:
        state = int(self.inner[0, lane])
        rider, goal = "RGYB*"[state // 4 % 5], "RGYB"[state % 4]
        return f"{super().text(lane)}\npassenger: {'in the taxi' if rider == '*' else rider}, wants to: {goal}"

    def drawn(self, state: int) -> drawing.Canvas:
        size, made = 80, drawing.Canvas(400, 400, drawing.SAND)
        rider, goal = state // 4 % 5, state % 4
        for (row, column), color in zip(self.STOPS, self.COLORS, strict=True):
            made.box(column * size + 5, row * size + 5, (column + 1) * size - 5, (row + 1) * size - 5, color, 10)
        row, column = self.STOPS[goal]
        made.box(column * size + 20, row * size + 20, (column + 1) * size - 20, (row + 1) * size - 20, drawing.WHITE, 6)
        for row in range(5):
            for column in range(4):
                if self.fields[1 + row, 2 * column + 2] == "|":
                    made.line(
                        [((column + 1) * size, row * size), ((column + 1) * size, (row + 1) * size)], drawing.DARK, 5
                    )
        if rider < 4:
            row, column = self.STOPS[rider]
            made.disc((column + 0.5) * size, (row + 0.5) * size, 13, drawing.DARK)
        y, x = (state // 100 + 0.5) * size, (state // 20 % 5 + 0.5) * size
        made.box(x - 27, y - 17, x + 27, y + 17, drawing.DARK, 8)
        made.box(x - 14, y - 11, x + 14, y + 11, drawing.WARM if rider == 4 else drawing.GREY, 4)
        return made
