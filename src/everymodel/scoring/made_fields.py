"""Columns of tables that models make: from uniform numbers to cells and back.

Every column is a map from a uniform number u in (0, 1) to cells, so that one way back serves all models: pieces of the
unit interval, each a range of numbers, a word, or "missing", as wide as its share of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.core.schema import Column
from everymodel.scoring import cells
from everymodel.scoring.layers.feed import erf
from everymodel.scoring.steps.base import need

KINDS = ("number", "boolean", "category", "date", "identifier")
MOST = 20_000  # columns of a file
_FAR = 5.0  # normal scores are kept within


@lru_cache(maxsize=1)
def _curve() -> tuple[np.ndarray, np.ndarray]:
    z = np.linspace(-_FAR, _FAR, 20_001)
    return z, 0.5 * (1.0 + erf(z / np.sqrt(2.0)))


def score_of(u: np.ndarray) -> np.ndarray:
    """The normal score z of u in (0, 1), within +-5."""
    z, p = _curve()
    return np.interp(u, p, z)


def share_of(z: np.ndarray) -> np.ndarray:
    """P(Z <= z) of a standard normal variable; the inverse of `score_of`."""
    grid, p = _curve()
    return np.interp(z, grid, p)


@dataclass(frozen=True, eq=False)
class Field:
    """One column.

    edges (m + 1,) : from 0 to 1, borders of the m pieces. low, high (m,) : numbers and dates (seconds since 1970) that
    a piece runs over. code (m,) : the class of each piece, ascending from 0 in steps of 1; a class is what networks
    choose, a piece is what it is made of. levels : words of the pieces of categories; (false, true) of booleans.
    grain : numbers are multiples of it; 0: any. whole : cells are given as whole numbers. missing : the last piece
    stands for missing cells.
    """

    name: str
    kind: str
    edges: np.ndarray
    low: np.ndarray
    high: np.ndarray
    code: np.ndarray
    levels: tuple[str, ...] = ()
    grain: float = 0.0
    whole: bool = False
    missing: bool = False

    @property
    def size(self) -> int:
        """Classes."""
        return int(self.code[-1]) + 1

    @property
    def filled(self) -> int:
        """Pieces that are not the missing one."""
        return len(self.code) - int(self.missing)

    @property
    def top(self) -> float:
        """Where missing cells begin."""
        return float(self.edges[self.filled])

    @property
    def discrete(self) -> bool:
        """Whether a class says it all."""
        return self.kind not in ("number", "date") or bool((self.low == self.high).all())

    @property
    def bounds(self) -> np.ndarray:
        """(classes + 1,) borders of the classes."""
        first = np.flatnonzero(np.diff(self.code, prepend=-1))
        return np.append(self.edges[first], 1.0)

    def uniforms(self, values: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """(n,) u of cells as a Batch holds them; NaN for cells that were never seen.

        A value that takes up a piece lies anywhere in it: drawn by `rng`, else in its middle.
        """
        n, m = len(values), self.filled
        draw = np.full(n, 0.5) if rng is None else rng.random(n)
        made = np.full(n, np.nan)
        if self.kind == "category":
            piece, empty = np.asarray(values, dtype=np.int64), np.asarray(values) == -1
            good = (piece >= 0) & (piece < m)
        elif self.kind == "identifier":
            empty = np.array([not str(v) for v in values], dtype=bool)
            piece, good = np.zeros(n, dtype=np.int64), ~empty & (m > 0)
        else:
            x = np.asarray(values, dtype=np.float64)
            empty, good = np.isnan(x), np.isfinite(x) & (m > 0)
            piece = np.clip(np.searchsorted(self.high[:m], x, side="left"), 0, max(m - 1, 0))
            if m and rng is not None:  # a border belongs to both pieces beside it
                after = np.minimum(piece + 1, m - 1)
                both = (x == self.high[piece]) & (x == self.low[after]) & (after > piece)
                piece = np.where(both & (rng.random(n) < 0.5), after, piece)
            if m:
                width = self.high[piece] - self.low[piece]
                at = np.clip((x - self.low[piece]) / np.where(width > 0, width, 1.0), 0.0, 1.0)
                draw = np.where(width > 0, at, draw)
        left, right = self.edges[piece[good]], self.edges[piece[good] + 1]
        made[good] = left + (right - left) * np.clip(draw[good], 1e-6, 1 - 1e-6)
        if self.missing:
            lost = np.full(int(empty.sum()), 0.5) if rng is None else rng.random(int(empty.sum()))
            made[empty] = self.top + (1.0 - self.top) * np.clip(lost, 1e-6, 1 - 1e-6)
        return made

    def pieces(self, u: np.ndarray) -> np.ndarray:
        """(n,) the piece in which each u lies."""
        return np.clip(np.searchsorted(self.edges, u, side="right") - 1, 0, len(self.code) - 1)

    def codes(self, u: np.ndarray) -> np.ndarray:
        """(n,) classes; -1 where u is NaN."""
        return np.where(np.isnan(u), -1, self.code[self.pieces(np.nan_to_num(u, nan=0.5))])

    def within(self, codes: np.ndarray, draw: np.ndarray) -> np.ndarray:
        """(n,) u somewhere in each class, by `draw` in (0, 1)."""
        bounds = self.bounds
        return bounds[codes] + (bounds[codes + 1] - bounds[codes]) * draw

    def numbers(self, u: np.ndarray) -> np.ndarray:
        """(n,) float64: numbers, dates in seconds, 0 and 1, pieces of categories; NaN where missing."""
        piece = self.pieces(u)
        if self.kind == "category":
            made = piece.astype(np.float64)
        elif self.kind == "boolean":
            made = self.low[piece]
        else:
            left, right = self.edges[piece], self.edges[piece + 1]
            made = self.low[piece] + (self.high[piece] - self.low[piece]) * np.clip((u - left) / (right - left), 0, 1)
            made = np.where(self.low[piece] == self.high[piece], made, self.rounded(made))
        if self.missing:
            made = np.where(piece == self.filled, np.nan, made)
        return made

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """Numbers as multiples of the grain, within what was seen."""
        m = self.filled
        if not m:
            return x
        if self.grain >= 1:
            x = np.rint(x / self.grain) * self.grain
        elif self.grain > 0:
            x = np.round(x, round(-np.log10(self.grain)))
        return np.clip(x, self.low[0], self.high[m - 1])

    def told(self, x: np.ndarray) -> np.ndarray:
        """Cells for `numbers`: float64 or int64, bool, datetime64, or words with None where missing."""
        empty = np.isnan(x)
        if self.kind == "date":
            return np.where(empty, np.datetime64("NaT"), np.rint(np.nan_to_num(x) * 1e6).astype("datetime64[us]"))
        if self.kind == "number":
            return x.astype(np.int64) if self.whole and not empty.any() else x
        if self.kind == "boolean" and not empty.any():
            return x > 0.5
        made = np.full(len(x), None, dtype=object)
        good = ~empty
        if self.kind == "boolean":
            made[good] = [bool(v) for v in x[good] > 0.5]
        elif self.kind == "category":
            made[good] = np.array(self.levels, dtype=object)[x[good].astype(np.int64)]
        else:  # names that nobody bears
            made[good] = [f"{self.name} {i + 1}" for i in np.flatnonzero(good)]
        return made

    def wanted(self, cell: Any) -> float:
        """A cell that is asked for, as `numbers` holds it; ParameterError where it was not in the data."""
        if self.kind == "identifier":
            raise ParameterError(f"{self.name!r} names rows, so it cannot be asked for: made rows get new names.")
        cell = cell.item() if isinstance(cell, np.generic) and cell.dtype.kind in "iufbU" else cell
        if cells.missing(cell) or cell is None:
            if not self.missing:
                raise ParameterError(f"A missing {self.name!r} was asked for, and no cell of it was missing.")
            return np.nan
        m = self.filled
        if self.kind == "category":
            word = cells.text(cell)
            if word not in self.levels:
                known = ", ".join(map(repr, self.levels[:12])) + (" ..." if len(self.levels) > 12 else "")
                raise ParameterError(f"{self.name}={cell!r} was not in the data: expected one of {known}.")
            return float(self.levels.index(word))
        try:
            read = {"number": cells.number, "date": cells.date}.get(self.kind)
            value = float(read(cell) if read else cells.boolean(cell, self.levels or ("false", "true")))
        except (ValueError, TypeError, OverflowError):
            value = np.nan
        if not np.isfinite(value) or not m:
            raise ParameterError(f"{self.name}={cell!r} came; expected a {self.kind}.")
        if not self.low[0] <= value <= self.high[m - 1]:
            span = f"{self.low[0]:g} to {self.high[m - 1]:g}"
            if self.kind == "date":
                span = " to ".join(str(np.datetime64(int(s), "s")) for s in (self.low[0], self.high[m - 1]))
            raise ParameterError(f"{self.name}={cell!r} is beyond what was seen: expected {span}.")
        if self.kind == "number" and self.whole and value != np.floor(value):
            raise ParameterError(f"{self.name}={cell!r} came; this column holds whole numbers.")
        return value

    def column(self) -> Column:
        """For the schema of a file."""
        if self.kind == "category":
            return Column(self.name, "category", levels=self.levels)
        if self.kind == "boolean":
            return Column(self.name, "boolean", levels=self.levels)
        m = self.filled
        low, high = (float(self.low[0]), float(self.high[m - 1])) if m else (0.0, 0.0)
        return Column(self.name, self.kind, low=low, high=high, integer=self.whole)

    def check(self) -> None:
        m = len(self.code)
        need(isinstance(self.name, str) and self.kind in KINDS, "a column of a table is described wrongly")
        need(
            m > 0 and self.edges.shape == (m + 1,) and self.low.shape == self.high.shape == (m,),
            "a column's pieces are wrong",
        )
        for array in (self.edges, self.low, self.high):
            need(array.dtype.kind == "f" and bool(np.isfinite(array).all()), "a column's pieces are wrong")
        need(
            bool((np.diff(self.edges) > 0).all()) and self.edges[0] == 0 and self.edges[-1] == 1,
            "a column's pieces are wrong",
        )
        steps = np.diff(self.code, prepend=0)
        need(
            self.code.dtype.kind == "i" and self.code[0] == 0 and bool(np.isin(steps, (0, 1)).all()),
            "a column's classes are wrong",
        )
        k = self.filled
        if self.kind in ("number", "date"):
            order = bool((self.low <= self.high).all()) and bool((self.high[: max(k - 1, 0)] <= self.low[1:k]).all())
            need(order, "a column's pieces are not in order")
        if self.kind == "category":
            good = len(self.levels) == k and all(isinstance(w, str) for w in self.levels)
            need(good and len(set(self.levels)) == k, "a column's words are wrong")
        if self.kind == "boolean":
            need(
                len(self.levels) in (0, 2) and all(isinstance(w, str) for w in self.levels),
                "a column's words are wrong",
            )
        need(isinstance(self.grain, int | float) and 0 <= self.grain <= 1e9, "a column's grain is wrong")
        need(type(self.whole) is bool and type(self.missing) is bool, "a column is described wrongly")


def read_form(told: Any, arrays: dict[str, np.ndarray]) -> tuple[Field, ...]:
    names = ("edges", "low", "high", "code")
    need(isinstance(told, list) and 0 < len(told) <= MOST, "a table has no columns")
    need(all(n in arrays for n in ("pieces", *(f"form_{n}" for n in names))), "a table's columns lack their pieces")
    pieces = arrays.pop("pieces")
    flat = {n: arrays.pop(f"form_{n}") for n in names}
    good = (
        pieces.shape == (len(told),)
        and pieces.dtype.kind == "i"
        and bool((pieces > 0).all())
        and bool((pieces < 1 << 24).all())
    )
    need(good, "a table's columns lack their pieces")
    total = int(pieces.sum())
    for name, array in flat.items():
        need(array.shape == (total + len(told) * (name == "edges"),), "a table's columns lack their pieces")
    made, at = [], 0
    plain = {"name", "kind", "levels", "grain", "whole", "missing"}
    for i, entry in enumerate(told):
        need(isinstance(entry, dict) and {"name", "kind"} <= set(entry) <= plain, "a column is described wrongly")
        m = int(pieces[i])
        levels = entry.get("levels", [])
        need(isinstance(levels, list), "a column's words are wrong")
        parts = {n: flat[n][at : at + m] for n in names[1:]} | {"edges": flat["edges"][at + i : at + i + m + 1]}
        made.append(Field(**{**entry, "levels": tuple(levels)}, **parts))
        at += m
    return tuple(made)


def outputs_of(form: tuple[Field, ...]) -> int:
    """Numbers that stand for a row in a network: see `rows_of`."""
    return sum(f.size if f.discrete else 1 + int(f.missing) for f in form)


def rows_of(form: tuple[Field, ...], u: np.ndarray) -> np.ndarray:
    """(n, outputs) float32 of rows: a one for the class of discrete columns; normal scores, and a one where missing."""
    made = np.zeros((len(u), outputs_of(form)), dtype=np.float32)
    at = 0
    for i, f in enumerate(form):
        if f.discrete:
            codes = f.codes(u[:, i])
            rows = np.flatnonzero(codes >= 0)
            made[rows, at + codes[rows]] = 1.0
            at += f.size
            continue
        lost = ~(u[:, i] <= f.top)
        made[:, at] = np.where(lost, 0.0, score_of(np.where(lost, 0.5, u[:, i] / f.top)))
        if f.missing:
            made[:, at + 1] = lost
        at += 1 + int(f.missing)
    return made
