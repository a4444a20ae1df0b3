"""What makes levels for games: maps of tiles, drawn row by row, with a way from the start to the goal where asked."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Sequential
from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.generating import PROOF, Sampler
from everymodel.scoring.steps.writing import Draw

SIDE = 512  # tiles along a side
TILES = 250  # kinds
_TOGETHER = 1 << 18  # tiles that are drawn side by side
_JUDGED = 8192
_TURNS, _TRIES = 2, 8  # times, and levels at a time, that are drawn again before one is put right
_COLOURS = (
    *("#1d2430", "#e8e2d0", "#4f9d69", "#d1495b", "#edae49", "#30638e", "#8d6a9f", "#66a182", "#7d8597", "#f4845f"),
    *("#2ec4b6", "#c9ada7"),
)
_LIGHT, _DARK = " .-_", "#XW%@"  # tiles that mostly are floor and wall


@dataclass(frozen=True, eq=False)
class Level:
    """A map of tiles.

    cells : (h, w) places of the tiles in `tiles`, which are characters or whole numbers.
    """

    cells: np.ndarray
    tiles: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Level) and self.tolist() == other.tolist()

    __hash__ = None  # type: ignore[assignment]

    @property
    def shape(self) -> tuple[int, int]:
        return self.cells.shape  # type: ignore[return-value]

    def tolist(self) -> list[Any]:
        """Rows as texts, or as lists of numbers where tiles are numbers."""
        rows = [[self.tiles[c] for c in row] for row in self.cells.tolist()]
        return ["".join(row) for row in rows] if self._words else rows

    def toarray(self) -> np.ndarray:
        """(h, w) array of the tiles."""
        return np.array(self.tiles)[self.cells]

    @property
    def _words(self) -> bool:
        return all(isinstance(tile, str) for tile in self.tiles)

    def __str__(self) -> str:
        return "\n".join(row if isinstance(row, str) else " ".join(map(str, row)) for row in self.tolist())

    def picture(self, scale: int = 8, colours: Mapping[Any, str] | None = None) -> np.ndarray:
        """(h * scale, w * scale, 3) uint8. colours : tile -> "#rrggbb", for those that shall not get the usual one."""
        own = self._palette() | dict(colours or {})
        try:
            table = np.array([[int(own[t][i : i + 2], 16) for i in (1, 3, 5)] for t in self.tiles], dtype=np.uint8)
        except (ValueError, TypeError, IndexError) as error:
            raise ParameterError(f"colours={colours!r:.80} came; expected tiles with such as '#30638e'.") from error
        return np.repeat(np.repeat(table[self.cells], scale, axis=0), scale, axis=1)

    def ansi(self) -> str:
        """The level in colours for a terminal, two columns for each tile."""
        table = self.picture(1)
        rows = ["".join(f"\x1b[48;2;{r};{g};{b}m  " for r, g, b in row) + "\x1b[0m" for row in table.tolist()]
        return "\n".join(rows)

    def _palette(self) -> dict[Any, str]:
        rest = iter(_COLOURS[2:] * (len(self.tiles) // (len(_COLOURS) - 2) + 1))
        usual = {t: _COLOURS[1] for t in self.tiles if isinstance(t, str) and t in _LIGHT}
        usual |= {t: _COLOURS[0] for t in self.tiles if isinstance(t, str) and t in _DARK}
        return {t: usual.get(t) or next(rest) for t in self.tiles}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an image (.png), or the rows as text."""
        from everymodel.scoring.images import as_png

        image = Path(path).suffix.lower() == ".png"
        with atomic_write(Path(path)) as stream:
            stream.write(as_png(self.picture()) if image else f"{self}\n".encode())


def rows_of(level: Any) -> list[list[Any]]:
    """Rows of tiles of a text with lines, a list of texts, a 2-D array of whole numbers, or a Level.

    Raises
    ------
    DataError
        for what is none of these, rows of different lengths, and sides that are too long.
    """
    if isinstance(level, Level):
        return [list(row) for row in level.tolist()]
    if isinstance(level, str):
        lines = level.replace("\r\n", "\n").split("\n")
        while lines and not lines[-1]:
            lines.pop()
        level = lines
    if isinstance(level, np.ndarray):
        if level.ndim != 2 or level.dtype.kind not in "biuU":
            raise DataError(f"A level of shape {level.shape} and kind {level.dtype} came; expected 2-D whole numbers.")
        level = level.tolist()
    if not isinstance(level, Sequence):
        raise DataError(f"{level!r:.60} is no level: give a list of texts, one for each row, or a 2-D array.")
    rows = [list(row) if isinstance(row, str | list | tuple) else None for row in level]
    if any(row is None for row in rows):
        raise DataError(f"{level!r:.60} is no level: give a list of texts, one for each row, or a 2-D array.")
    made: list[list[Any]] = [row for row in rows if row is not None]
    sides = {len(row) for row in made}
    if len(sides) != 1 or not min(sides):
        raise DataError(f"A level has rows of {sorted(sides)[:4]} tiles; they must be of one length, 1 or more.")
    if len(made) > SIDE or len(made[0]) > SIDE:
        raise DataError(f"A level of {len(made)} x {len(made[0])} tiles came; sides have at most {SIDE}.")
    for row in made:
        for tile in row:
            if isinstance(tile, bool) or not isinstance(tile, str | int) or (isinstance(tile, str) and len(tile) != 1):
                raise DataError(f"The tile {tile!r:.40} came; expected characters or whole numbers.")
    return made


def coded(level: Any, tiles: Sequence[Any]) -> np.ndarray:
    """(h, w) places of the tiles of a level; DataError for those that are not among `tiles`."""
    places = {tile: i for i, tile in enumerate(tiles)}
    rows = rows_of(level)
    strange = {tile for row in rows for tile in row} - set(places)
    if strange:
        raise DataError(f"The tile {min(map(repr, strange))} was never seen; known are {_named(tiles)}.")
    return np.array([[places[tile] for tile in row] for row in rows], dtype=np.int64)


def _named(tiles: Iterable[Any]) -> str:
    return " ".join(map(repr, list(tiles)[:30]))


def neighbours(radius: int) -> list[tuple[int, int]]:
    """(rows down, columns right) of the tiles that stand before a tile and are seen from it."""
    above = [(-y, x) for y in range(1, radius + 1) for x in range(-radius, radius + 1)]
    return [*((0, -x) for x in range(1, radius + 1)), *above]


def feature_sizes(tiles: int, radius: int, edge: int, single: int) -> tuple[int, ...]:
    """Values of each feature: tiles before, distances to the four edges, tiles that come once and stood already."""
    return (*[tiles + 1] * len(neighbours(radius)), *[edge + 1] * 4, *[2] * single)


def edges(y: int, x: np.ndarray, height: int, width: int, most: int) -> np.ndarray:
    """(4, len(x)) distances to the upper, lower, left and right edge, up to `most`."""
    far = (np.full_like(x, y), np.full_like(x, height - 1 - y), x, width - 1 - x)
    return np.minimum(np.stack(far), most)


def views(cells: np.ndarray, tiles: int, radius: int, edge: int, single: Sequence[int]) -> np.ndarray:
    """(h * w, features) uint8 of all tiles of a level (h, w), row by row."""
    h, w = cells.shape
    around = np.full((h + radius, w + 2 * radius), tiles)
    around[radius:, radius : radius + w] = cells
    columns = [
        around[radius + dy : radius + dy + h, radius + dx : radius + dx + w].reshape(-1)
        for dy, dx in neighbours(radius)
    ]
    columns += list(np.concatenate([edges(y, np.arange(w), h, w, edge) for y in range(h)], axis=1))
    flat = cells.reshape(-1)
    columns += [np.concatenate([[False], np.cumsum(flat == tile)[:-1] > 0]) for tile in single]
    return np.stack(columns, axis=1).astype(np.uint8)


def way(passable: np.ndarray, start: tuple[int, int], goals: np.ndarray, cost: np.ndarray | None = None) -> Any:
    """Cells of the cheapest way from start to one of the goals (h, w) in four directions, or None.

    passable (h, w). cost : of walking over a tile that is not passable, infinite where that cannot be; None: never.
    """
    h, w = passable.shape
    price = np.where(passable, 0.0, np.inf if cost is None else cost)
    best, came = {start: (0.0, 0)}, {start: start}
    heap = [(0.0, 0, start)]
    while heap:
        paid, steps, at = heapq.heappop(heap)
        if (paid, steps) > best[at]:
            continue
        if goals[at]:
            path = [at]
            while path[-1] != start:
                path.append(came[path[-1]])
            return path[::-1]
        y, x = at
        for to in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= to[0] < h and 0 <= to[1] < w:
                told = (paid + float(price[to]), steps + 1)
                if told[0] < np.inf and told < best.get(to, (np.inf, 0)):
                    best[to], came[to] = told, at
                    heapq.heappush(heap, (*told, to))
    return None


@step("level_generator", output="samples")
class LevelMaker(Sampler):
    """p(level) = Π p(tile | tiles above and to the left, distances to the edges, what stood already), row by row.

    network : from sums of vectors (n, d) to scores (n, tiles). table : (features, d) vectors; see `feature_sizes`.
    sizes (m, 2) : heights and widths of the data; counts (m,) : how often. shares (tiles,) : of the data.
    tiles : characters or numbers. radius : of what is seen. edge : distances to the edges that are told apart.
    single : places of tiles that come once in each level.
    passable, start, goal : places of tiles that one may walk on, begins at and ends at; () and -1 where not said.
    """

    network: Layer
    table: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    shares: np.ndarray
    tiles: tuple[Any, ...]
    radius: int = 3
    edge: int = 4
    single: tuple[int, ...] = ()
    passable: tuple[int, ...] = ()
    start: int = -1
    goal: int = -1
    makes: ClassVar[str] = "levels"

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-3

    @property
    def _offsets(self) -> np.ndarray:
        sizes = feature_sizes(len(self.tiles), self.radius, self.edge, len(self.single))
        return np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _scores(self, seen: np.ndarray) -> np.ndarray:
        """(n, tiles) log-probabilities by features (n, f)."""
        z = self.table[seen + self._offsets].sum(axis=1)
        scores = self.network(z).astype(np.float64)
        top = scores.max(axis=1, keepdims=True)
        return scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))

    # --- drawing ---

    def draw(
        self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any
    ) -> list[Level]:
        """`n` levels.

        Parameters
        ----------
        condition : {"width": ..., "height": ..., "start": (row, column), "goal": (row, column), "map": ...}, each as
            one likes; or a map by itself. In a map "?" (or -1) leaves a tile free, all others are kept.

        Options
        -------
        solvable : True: each has a way from the start to the goal. By default so where start and goal are known.
        temperature, top_k, top_p : as of texts.
        """
        if truncation is not None:
            raise CapabilityError("Levels have no truncation: give temperature, top_k or top_p.")
        options = dict(options)
        solvable = options.pop("solvable", None)
        if solvable not in (None, True, False):
            raise ParameterError(f"solvable={solvable!r:.40} came; expected True or False.")
        if {"length", "stop"} & set(options):
            raise ParameterError(
                "length and stop are no options of levels: expected solvable, temperature, top_k, top_p."
            )
        how = Draw.of(options, 1)
        known = self.start >= 0 and self.goal >= 0
        if solvable and not known:
            raise CapabilityError(
                "Start and goal are not known, so no way between them can be promised: fit it with start=, goal= and "
                "passable=."
            )
        wish = Wish.of(condition, self)
        if wish.size is not None:
            sizes = np.repeat(np.array([wish.size]), n, axis=0)
        else:
            sizes = self.sizes[rng.choice(len(self.sizes), n, p=self.counts / self.counts.sum())]
        made: list[Level | None] = [None] * n
        for h, w in sorted(set(map(tuple, sizes.tolist()))):
            rows = np.flatnonzero((sizes == (h, w)).all(axis=1))
            fixed = wish.fixed(h, w, self)
            most = max(_TOGETHER // (h * w), 1)
            for low in range(0, len(rows), most):
                some = rows[low : low + most]
                cells = self._solved(len(some), fixed, rng, how) if solvable or (solvable is None and known) else (
                    self._cells(len(some), fixed, rng, how))  # fmt: skip
                for row, level in zip(some, cells):
                    made[row] = Level(level, self.tiles)
        return made  # type: ignore[return-value]

    def area(self, condition: Any = None) -> int:
        """Tiles of the largest level that is made where this is asked for."""
        size = Wish.of(condition, self).size
        return int((self.sizes.astype(np.int64) if size is None else np.array([size])).prod(axis=1).max())

    def _cells(self, n: int, fixed: np.ndarray, rng: np.random.Generator, how: Draw) -> np.ndarray:
        """(n, h, w) tiles; those of `fixed` (h, w) are kept where they are not -1."""
        (h, w), r, k = fixed.shape, self.radius, len(self.tiles)
        around = np.full((n, h + r, w + 2 * r), k)
        inside = around[:, r:, r : r + w]
        once = list(self.single)
        stood = np.zeros((n, len(once)), dtype=bool)
        later = np.array([(fixed == tile).any() for tile in once], dtype=bool)  # its place is fixed
        chance = np.zeros((len(once), n, h, w))
        places = neighbours(r)
        for y in range(h):
            far = edges(y, np.arange(w), h, w, self.edge)
            for x in range(w):
                seen = [around[:, y + r + dy, x + r + dx] for dy, dx in places]
                seen += [np.full(n, d) for d in far[:, x]]
                scores = self._scores(np.stack([*seen, *stood.T], axis=1))
                for i, tile in enumerate(once):
                    chance[i, :, y, x] = scores[:, tile]
                    scores[stood[:, i] | later[i], tile] = -np.inf
                if fixed[y, x] >= 0:
                    tile = np.full(n, fixed[y, x])
                    rng.random(n)
                else:
                    full = np.isneginf(scores).all(axis=1)
                    scores[full, int(np.argmax(self.shares))] = 0.0
                    tile = how.choose(scores, rng.random(n))
                inside[:, y, x] = tile
                for i, one in enumerate(once):
                    stood[:, i] |= tile == one
        made = inside.copy()
        for i in range(n):
            for j in np.flatnonzero(~stood[i]):
                self._placed(made[i], once[j], chance[j, i], fixed, rng)
        return made

    def _placed(
        self, level: np.ndarray, tile: int, chance: np.ndarray, fixed: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Puts a tile that must stand somewhere where it is likeliest, by chance."""
        free = (fixed < 0) & ~np.isin(level, self.single)
        walk = free & np.isin(level, self.passable)
        where = walk if walk.any() else free
        noise = rng.gumbel(size=level.shape)
        if where.any():
            level[np.unravel_index(int(np.where(where, chance + noise, -np.inf).argmax()), level.shape)] = tile

    def solution(self, level: Any) -> list[tuple[int, int]] | None:
        """The shortest way (row, column), ... from the start to the goal of a level, or None where there is none."""
        if self.start < 0 or self.goal < 0:
            raise CapabilityError("Start and goal are not known: fit the model with start=, goal= and passable=.")
        cells = coded(level, self.tiles)
        starts = np.argwhere(cells == self.start)
        free = np.isin(cells, (*self.passable, self.start, self.goal))
        return way(free, tuple(starts[0].tolist()), cells == self.goal) if len(starts) else None

    def _solved(self, n: int, fixed: np.ndarray, rng: np.random.Generator, how: Draw) -> np.ndarray:
        """(n, h, w) tiles with a way from start to goal: drawn again while there is none, and then put right."""
        made = self._cells(n, fixed, rng, how)
        bad = [i for i in range(n) if self.solution(Level(made[i], self.tiles)) is None]
        for _ in range(_TURNS if how.temperature else 0):
            several = max(min(_TRIES, _TOGETHER // (fixed.size * max(len(bad), 1))), 1)
            if not bad:
                break
            others = self._cells(several * len(bad), fixed, rng, how).reshape(len(bad), several, *fixed.shape)
            for i, drawn in zip(list(bad), others):
                for cells in drawn:
                    if self.solution(Level(cells, self.tiles)) is not None:
                        made[i] = cells
                        bad.remove(i)
                        break
        for i in bad:
            self._opened(made[i], fixed, rng)
        return made

    def _opened(self, level: np.ndarray, fixed: np.ndarray, rng: np.random.Generator) -> None:
        """Makes a way through as few walls as can be."""
        for tile in (self.start, self.goal):
            if not (level == tile).any():
                self._placed(level, tile, np.zeros(level.shape), fixed, rng)
        starts = np.argwhere(level == self.start)
        free = np.isin(level, (*self.passable, self.start, self.goal))
        cost = np.where(fixed >= 0, np.inf, 1.0 + 0.5 * rng.random(level.shape))
        cost[np.isin(level, self.single)] = np.inf
        path = way(free, tuple(starts[0].tolist()), level == self.goal, cost) if len(starts) else None
        if path is None:
            raise ParameterError("The tiles that were asked for leave no way from the start to the goal: free some.")
        floor = max(self.passable, key=lambda tile: self.shares[tile])
        for at in path:
            if not free[at]:
                level[at] = floor

    # --- likelihood ---

    def score_samples(self, levels: Any) -> np.ndarray:
        """(n,) log-likelihood of each level per tile, in nats."""
        return np.array([self.likelihood(level) / max(coded(level, self.tiles).size, 1) for level in levels])

    def likelihood(self, level: Any) -> float:
        """Log-likelihood of a level of its size, in nats."""
        cells = coded(level, self.tiles)
        seen = views(cells, len(self.tiles), self.radius, self.edge, self.single)
        flat, total = cells.reshape(-1), 0.0
        for low in range(0, len(flat), _JUDGED):
            scores = self._scores(seen[low : low + _JUDGED].astype(np.int64))
            total += float(scores[np.arange(len(scores)), flat[low : low + _JUDGED]].sum())
        return total

    def proof(self, seed: int) -> np.ndarray:
        sizes = feature_sizes(len(self.tiles), self.radius, self.edge, len(self.single))
        seen = np.random.default_rng(seed).integers(0, sizes, (4, len(sizes)))
        told = self._scores(seen).reshape(-1)
        return np.resize(told[:: max(len(told) // PROOF, 1)], PROOF)

    # --- the file ---

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, network=None))  # type: ignore[arg-type]
        settings["network"], own = base.write(self.network)
        return settings, arrays | {f"network:{key}": array for key, array in own.items()}

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith("network:")}
        settings["network"] = base.read(settings.get("network"), own)
        return super().build(settings, {k: a for k, a in arrays.items() if not k.startswith("network:")})

    def check(self) -> None:
        tiles = self.tiles
        need(isinstance(tiles, tuple) and 1 < len(tiles) <= TILES and len(set(map(repr, tiles))) == len(tiles),
             "the tiles of a level are wrong")  # fmt: skip
        words = all(isinstance(t, str) and len(t) == 1 for t in tiles)
        need(words or all(type(t) is int for t in tiles), "the tiles of a level are wrong")
        need(type(self.radius) is int and 1 <= self.radius <= 8, "a level maker's radius is wrong")
        need(type(self.edge) is int and 0 <= self.edge <= 250, "a level maker's edge is wrong")
        k = range(len(tiles))
        for name in ("single", "passable"):
            some = getattr(self, name)
            need(isinstance(some, tuple) and all(type(t) is int and t in k for t in some), f"{name} tiles are wrong")
        need(all(type(t) is int and (t in k or t == -1) for t in (self.start, self.goal)), "start or goal is wrong")
        need((self.start < 0) == (self.goal < 0), "start or goal is wrong")
        if self.start >= 0:
            good = self.start in self.single and self.start != self.goal and len(self.passable) > 0
            need(good and not set(self.passable) & {self.start, self.goal}, "start or goal is wrong")
        arrays = (self.table, self.sizes, self.counts, self.shares)
        need(all(isinstance(a, np.ndarray) and a.dtype.kind in "fiu" for a in arrays), "a level maker has no numbers")
        need(all(bool(np.isfinite(a).all()) for a in arrays), "a level maker is not finite")
        need(self.sizes.ndim == 2 and self.sizes.shape[1:] == (2,) and len(self.sizes) > 0, "sizes are wrong")
        need(self.sizes.dtype.kind in "iu" and 1 <= self.sizes.min() <= self.sizes.max() <= SIDE, "sizes are wrong")
        need(self.counts.shape == (len(self.sizes),) and bool((self.counts > 0).all()), "sizes are wrong")
        need(self.shares.shape == (len(tiles),), "the shares of tiles are wrong")
        rows = sum(feature_sizes(len(tiles), self.radius, self.edge, len(self.single)))
        need(self.table.ndim == 2 and self.table.dtype.kind == "f" and len(self.table) == rows, "vectors do not fit")
        need(isinstance(self.network, Sequential), "a level maker has no network")
        try:
            made = self.network(np.zeros((1, self.table.shape[1]), dtype=self.table.dtype))
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            need(False, f"a level maker's network does not fit ({error})")
        else:
            need(made.shape == (1, len(tiles)), "a level maker's network does not fit")


@dataclass
class Wish:
    """What a level shall be. size : (height, width) or None. at : tiles by their places. map : (h, w), -1 free."""

    size: tuple[int, int] | None
    at: dict[tuple[int, int], int]
    map: np.ndarray | None

    @classmethod
    def of(cls, condition: Any, maker: LevelMaker) -> Wish:
        if condition is None:
            return cls(None, {}, None)
        if not isinstance(condition, Mapping):
            condition = {"map": condition}
        strange = sorted(set(map(str, condition)) - {"width", "height", "start", "goal", "map"})
        if strange:
            raise ParameterError(f"{strange[0]!r} cannot be asked of levels: expected width, height, start, goal, map.")
        given, size = None, None
        if condition.get("map") is not None:
            given = cls._map(condition["map"], maker)
            size = given.shape
        sides = [condition.get("height"), condition.get("width")]
        for name, side in zip(("height", "width"), sides):
            whole = isinstance(side, int | np.integer) and not isinstance(side, bool)
            if side is not None and not (whole and 1 <= side <= SIDE):
                raise ParameterError(f"{name}={side!r:.40} came; expected a whole number from 1 to {SIDE}.")
        if any(side is not None for side in sides):
            usual = maker.sizes[int(np.argmax(maker.counts))].tolist() if size is None else size
            asked = (int(usual[0] if sides[0] is None else sides[0]), int(usual[1] if sides[1] is None else sides[1]))
            if size is not None and asked != size:
                raise ParameterError(
                    f"The map has {size[0]} x {size[1]} tiles, and {asked[0]} x {asked[1]} are asked for."
                )
            size = asked
        at: dict[tuple[int, int], int] = {}
        for name in ("start", "goal"):
            place = condition.get(name)
            if place is None:
                continue
            if getattr(maker, name) < 0:
                raise CapabilityError(f"The {name} is not known: fit the model with start=, goal= and passable=.")
            good = isinstance(place, list | tuple) and len(place) == 2
            if not good or not all(
                isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= 0 for v in place
            ):
                raise ParameterError(f"{name}={place!r:.40} came; expected (row, column), from 0.")
            key = (int(place[0]), int(place[1]))
            if key in at:
                raise ParameterError(f"Start and goal are both asked for at {key}.")
            at[key] = getattr(maker, name)
        return cls(size, at, given)

    @staticmethod
    def _map(given: Any, maker: LevelMaker) -> np.ndarray:
        rows = rows_of(given)
        places = {tile: i for i, tile in enumerate(maker.tiles)}
        free = {tile for tile in ("?", -1) if tile not in places}
        strange = {tile for row in rows for tile in row if tile not in places and tile not in free}
        if strange:
            raise ParameterError(
                f"The map holds {min(map(repr, strange))}; known are {_named(maker.tiles)}, ? is free."
            )
        made = np.array([[places.get(tile, -1) for tile in row] for row in rows], dtype=np.int64)
        for tile in maker.single:
            if (made == tile).sum() > 1:
                raise ParameterError(f"The map holds {maker.tiles[tile]!r} more than once; it stands once in a level.")
        return made

    def fixed(self, h: int, w: int, maker: LevelMaker) -> np.ndarray:
        """(h, w) tiles that are given, -1 elsewhere."""
        made = np.full((h, w), -1, dtype=np.int64) if self.map is None else self.map.copy()
        for (y, x), tile in self.at.items():
            if y >= h or x >= w:
                raise ParameterError(f"({y}, {x}) lies beyond a level of {h} x {w} tiles.")
            if (made == tile).any() and made[y, x] != tile:
                raise ParameterError(f"The map has {maker.tiles[tile]!r} elsewhere than at ({y}, {x}).")
            made[y, x] = tile
        return made
