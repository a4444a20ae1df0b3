"""From columns of a table to what a network reads: scaled numbers, levels, embeddings of both, members side by side."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

FAR = 1e6  # scaled numbers are held within +-FAR, so that float32 has room for their squares
CLIP = 3.0


@layer("tabular")
class Tabular(Layer):
    """Columns (n, p), NaN for missing, -> (n, m + h + o + c): numbers, their gaps, single levels, codes.

    numbers (m,) columns that are scaled: (x - centre) * scale, 0 where missing, then bent softly towards +-3 where
        `smooth` (z / sqrt(1 + (z / 3)^2)).
    gaps (h,) columns whose missing values become a column of 0 and 1.
    hot (o,) columns and hot_level (o,) values: 1 where the column has the value.
    coded (c,) columns that become the place of their value among `levels` (those of all coded columns one after the
        other, each sorted; starts (c + 1,) says where they begin); a value that is not there: their number.
    """

    formula: ClassVar[str] = "z = (x - centre) · scale, a = z / √(1 + (z/3)²)"

    columns: int
    numbers: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    gaps: np.ndarray
    hot: np.ndarray
    hot_level: np.ndarray
    coded: np.ndarray
    starts: np.ndarray
    levels: np.ndarray
    smooth: bool = True

    @property
    def kept(self) -> int:
        """Columns of the answer that are not codes."""
        return len(self.numbers) + len(self.gaps) + len(self.hot)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == 2 and x.shape[1] == self.columns, f"a network needs {self.columns} columns and got {x.shape}")
        wide = x.astype(np.float64, copy=False)
        m, h, o = len(self.numbers), len(self.gaps), len(self.hot)
        made = np.empty((len(x), self.kept + len(self.coded)), dtype=x.dtype)
        if m:
            made[:, :m] = self.scaled(wide)
        if h:
            made[:, m : m + h] = np.isnan(wide[:, self.gaps])
        if o:
            made[:, m + h : m + h + o] = wide[:, self.hot] == self.hot_level
        for i, column in enumerate(self.coded):
            made[:, self.kept + i] = self.places(wide[:, column], i)
        return made

    def scaled(self, wide: np.ndarray) -> np.ndarray:
        """The number columns (n, m) float64 as the network reads them."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = (wide[:, self.numbers] - self.centre) * self.scale
        np.clip(z, -FAR, FAR, out=z)
        z[np.isnan(z)] = 0.0
        return z / np.sqrt(1.0 + (z / CLIP) ** 2) if self.smooth else z

    def places(self, values: np.ndarray, i: int) -> np.ndarray:
        """Codes (n,) of the i-th coded column."""
        known = self.levels[int(self.starts[i]) : int(self.starts[i + 1])]
        if not len(known):
            return np.zeros(len(values), dtype=np.int64)
        at = np.minimum(np.searchsorted(known, values), len(known) - 1)
        return np.where(known[at] == values, at, len(known))

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        dx = np.zeros(x.shape, dtype=d.dtype)
        m = len(self.numbers)
        bend = self.scale * np.where(np.isnan(x[:, self.numbers]), 0.0, 1.0)
        if self.smooth:
            bend = bend * (1.0 - (y[:, :m] / CLIP) ** 2) ** 1.5
        dx[:, self.numbers] = d[:, :m] * bend
        return dx, {}

    def check(self) -> None:
        p = self.columns
        need(isinstance(p, int) and p >= 0, "a network's columns are no number")
        for places in (self.numbers, self.gaps, self.hot, self.coded):
            need(places.ndim == 1 and places.dtype.kind in "iu", "a network's columns are no numbers")
            need(not len(places) or (int(places.min()) >= 0 and int(places.max()) < p), "columns do not exist")
        m, c = len(self.numbers), len(self.coded)
        need(self.centre.shape == (m,) and self.scale.shape == (m,), "a network's scales do not fit its columns")
        need(self.hot_level.shape == self.hot.shape and self.levels.ndim == 1, "a network's levels do not fit")
        need(all(a.dtype.kind == "f" for a in (self.centre, self.scale, self.hot_level, self.levels)), "scales")
        need(self.starts.shape == (c + 1,) and self.starts.dtype.kind in "iu", "levels do not fit their columns")
        steps = self.starts.astype(np.int64)
        need(steps[0] == 0 and steps[-1] == len(self.levels) and bool((np.diff(steps) >= 0).all()), "levels do not fit")
        need(isinstance(self.smooth, bool), "a network's scaling is described wrongly")


@layer("levels")
class Levels(Layer):
    """Codes (n, c) -> the rows of a table for them, side by side (n, c * e); column i's rows begin at starts[i]."""

    formula: ClassVar[str] = "a = table[starts + x]"

    table: np.ndarray
    starts: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == 2 and x.shape[1] == len(self.starts), "levels come for another number of columns")
        return self.table[self.rows(x)].reshape(len(x), -1)

    def rows(self, x: np.ndarray) -> np.ndarray:
        """Row numbers (n, c) of the table."""
        with np.errstate(invalid="ignore"):
            rows = np.nan_to_num(x).astype(np.int64) + self.starts
        return np.clip(rows, 0, len(self.table) - 1)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        grad = np.zeros_like(self.table)
        np.add.at(grad, self.rows(x), d.reshape(len(x), len(self.starts), -1))
        return np.zeros(x.shape, dtype=d.dtype), {"table": grad}

    def check(self) -> None:
        need(self.table.ndim == 2 and self.table.dtype.kind == "f" and len(self.table) > 0, "embeddings are no table")
        need(self.starts.ndim == 1 and self.starts.dtype.kind in "iu", "embeddings have no starts")
        steps = self.starts.astype(np.int64)
        need(not len(steps) or (steps.min() >= 0 and steps.max() < len(self.table)), "embeddings start outside")


@layer("periodic")
class Periodic(Layer):
    """Waves of numbers: x (n, m) -> (n, m * (1 + e)), each number beside a weighted sum of cosines of it.

    cos(x * frequency + phase) weight, with frequency and phase (m, w), weight (m, w, e), bias (m, e).
    """

    formula: ClassVar[str] = "a = [x, cos(x · frequency + phase) W + b]"

    frequency: np.ndarray
    phase: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == 2 and x.shape[1] == len(self.frequency), "waves come for another number of columns")
        sums = self._sums(np.cos(x[:, :, None] * self.frequency + self.phase))
        return np.concatenate([x[:, :, None], sums], axis=2).reshape(len(x), -1)

    def _sums(self, waves: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.matmul(np.moveaxis(waves, 1, 0), self.weight), 0, 1) + self.bias  # (n, m, e)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        d = d.reshape(*x.shape, -1)
        z = x[:, :, None] * self.frequency + self.phase  # (n, m, w)
        down = np.moveaxis(d[:, :, 1:], 1, 0)  # (m, n, e)
        into = np.moveaxis(np.matmul(down, np.swapaxes(self.weight, 1, 2)), 0, 1) * -np.sin(z)  # (n, m, w)
        grads = {
            "weight": np.matmul(np.transpose(np.cos(z), (1, 2, 0)), down),
            "bias": d[:, :, 1:].sum(axis=0),
            "frequency": (into * x[:, :, None]).sum(axis=0),
            "phase": into.sum(axis=0),
        }
        return d[:, :, 0] + (into * self.frequency).sum(axis=2), grads

    def check(self) -> None:
        need(self.weight.ndim == 3, "waves have a wrong shape")
        m, w, e = self.weight.shape
        shapes = ((self.frequency, (m, w)), (self.phase, (m, w)), (self.bias, (m, e)), (self.weight, (m, w, e)))
        need(all(a.shape == shape and a.dtype.kind == "f" for a, shape in shapes), "waves do not fit together")


@layer("piecewise")
class Piecewise(Layer):
    """Pieces of numbers: x (n, m) -> (n, q), how far column[i] is from start[i] to start[i] + width[i], 0 to 1."""

    formula: ClassVar[str] = "a = min(max((x - start) / width, 0), 1)"

    column: np.ndarray
    start: np.ndarray
    width: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(not len(self.column) or int(self.column.max()) < x.shape[1], "pieces are of columns that do not exist")
        return np.clip((x[:, self.column] - self.start) / self.width, 0, 1)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        dx = np.zeros(x.shape, dtype=d.dtype)
        np.add.at(dx, (slice(None), self.column), d * ((y > 0) & (y < 1)) / self.width)
        return dx, {}

    def check(self) -> None:
        need(self.column.ndim == 1 and self.column.dtype.kind in "iu", "pieces have no columns")
        need(not len(self.column) or int(self.column.min()) >= 0, "pieces are of columns below zero")
        need(self.start.shape == self.column.shape == self.width.shape, "pieces do not fit together")
        need(self.start.dtype.kind == self.width.dtype.kind == "f", "pieces are no numbers")
        need(bool((self.width > 0).all()), "pieces have no width")


@layer("clip")
class Clip(Layer):
    """Each column (the last axis) held between low and high, both (p,)."""

    formula: ClassVar[str] = "a = min(max(x, low), high)"

    low: np.ndarray
    high: np.ndarray

    def __call__(self, x: Any) -> Any:
        return np.clip(x, self.low, self.high)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return d * ((x > self.low) & (x < self.high)), {}

    def check(self) -> None:
        need(self.low.shape == self.high.shape and self.low.ndim == 1, "bounds do not fit together")
        need(self.low.dtype.kind == self.high.dtype.kind == "f", "bounds are no numbers")
        need(bool((self.low <= self.high).all()), "bounds are the wrong way round")
