"""From the cells of one column to its field: words by their frequency, numbers by their distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring import cells
from everymodel.scoring.made_fields import Field

POOLED = 200  # words of a column that are told apart; rarer ones share a class
_FINE = 4  # pieces of a class of numbers, more at both ends
_DAY = (86_400, 3600, 60, 1)


def words_field(name: str, levels: list[str], counts: np.ndarray, lost: int, kind: str = "category") -> Field:
    """A column of words: `levels` and how often each comes, and `lost` missing cells."""
    counts = counts[counts > 0]
    total = counts.sum() + lost
    pieces = np.append(counts, lost) if lost or not len(counts) else counts
    ranks = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    code = np.arange(len(counts))
    if len(counts) > POOLED:  # the rarer ones come last and share a class, whatever order was wanted
        by = np.argsort(np.minimum(ranks, POOLED), kind="stable") if (np.diff(ranks) < 0).any() else code
        counts, levels = counts[by], [levels[i] for i in by]
        code = np.minimum(np.arange(len(counts)), POOLED)
        pieces = np.append(counts, lost) if lost else counts
    if len(pieces) > len(counts):
        code = np.append(code, code[-1] + 1 if len(code) else 0)
    m = len(pieces)
    return Field(name, kind, _edges(pieces, max(total, 1)), np.zeros(m), np.zeros(m), code.astype(np.int64),
                 tuple(levels), missing=bool(lost) or not len(counts))  # fmt: skip


def _edges(pieces: np.ndarray, total: float) -> np.ndarray:
    edges = np.concatenate([[0.0], np.cumsum(pieces / pieces.sum())])
    edges[-1] = 1.0
    return edges


def numbers_field(name: str, kind: str, series: Any, bins: int, whole: bool) -> Field:
    """A column of numbers, dates or truths (cells): few frequent values stay as they are, else ranges."""
    if kind == "boolean":
        x, _ = cells.to_booleans(series, ("false", "true"))
    elif kind == "date":
        x, _ = cells.to_dates(series)
    else:
        x = np.asarray(series, dtype=np.float64)
    seen = x[np.isfinite(x)]
    lost, levels = len(x) - len(seen), ("false", "true") if kind == "boolean" else ()
    if not len(seen):
        one = np.zeros(1)
        return Field(name, kind, np.array([0.0, 1.0]), one, one, np.zeros(1, dtype=np.int64), levels, 0.0, whole, True)
    values, counts = np.unique(seen, return_counts=True)
    few = len(values) <= bins and len(seen) >= 3 * len(values)
    if len(values) <= 2 or few or (len(values) <= 3 * bins and len(seen) >= 50 * len(values)):
        low = high = values
        mass, code = counts.astype(np.float64), np.arange(len(values))
    else:
        low, high, mass, code = _pieces(values, counts, max(min(bins, len(seen) // 10), 1))
    if lost:
        low, high = np.append(low, 0.0), np.append(high, 0.0)
        mass, code = np.append(mass, lost), np.append(code, code[-1] + 1)
    grain = _grain(values, kind)
    return Field(name, kind, _edges(mass, float(mass.sum())), low.astype(np.float64), high.astype(np.float64),
                 code.astype(np.int64), levels, grain, whole, bool(lost))  # fmt: skip


def _pieces(values: np.ndarray, counts: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(low, high, rows, class) of each piece: frequent values by themselves, ranges of about equal counts between."""
    total = int(counts.sum())
    heavy = counts >= max(total / bins, 3)
    light = max(int(counts[~heavy].sum()), 1)
    bins = max(min(bins, light // 20), 1)
    low: list[float] = []
    high: list[float] = []
    mass: list[float] = []
    code: list[int] = []
    at, k, m = 0, 0, len(values)
    while at < m:
        if heavy[at]:
            for into, value in ((low, values[at]), (high, values[at]), (mass, counts[at]), (code, k)):
                into.append(value)
            at, k = at + 1, k + 1
            continue
        end = at
        while end < m and not heavy[end]:
            end += 1
        own, rows = values[at:end], counts[at:end].astype(np.float64)
        classes = max(round(rows.sum() / light * bins), 1)
        fine = _FINE * classes
        grid = np.linspace(0, 1, fine + 1)
        edge = 1.0 / classes  # the outermost classes have longer tails, so more pieces
        grid = np.unique(np.concatenate([grid, edge * np.linspace(0, 1, 17), 1 - edge * np.linspace(0, 1, 17)]))
        reached = (np.cumsum(rows) - 0.5 * rows) / rows.sum()
        places = np.unique(np.concatenate([[0], np.searchsorted(reached, grid[1:-1]), [len(own) - 1]]))
        places = places[places < len(own)]
        if len(places) == 1:
            for into, value in ((low, own[0]), (high, own[0]), (mass, rows.sum()), (code, k)):
                into.append(value)
            at, k = end, k + 1
            continue
        cum = np.concatenate([[0.0], np.cumsum(rows)])
        inside = cum[places] + 0.5 * rows[places]  # half of the rows at a border lie on either side
        inside[0], inside[-1] = 0.0, cum[-1]
        share = np.diff(inside)
        which = np.minimum((((inside[1:] + inside[:-1]) / 2) / cum[-1] * classes).astype(int), classes - 1)
        which = np.unique(which, return_inverse=True)[1]
        low += own[places[:-1]].tolist()
        high += own[places[1:]].tolist()
        mass += share.tolist()
        code += (k + which).tolist()
        at, k = end, k + int(which[-1]) + 1
    return np.array(low), np.array(high), np.array(mass), np.array(code)


def _grain(values: np.ndarray, kind: str) -> float:
    """What all values are multiples of: whole days, hundreds, ones, hundredths; 0 for any number."""
    if np.abs(values).max() >= 1e15:
        return 0.0
    if (values == np.floor(values)).all():
        if kind == "date":
            return float(next(g for g in _DAY if (values % g == 0).all()))
        return float(max(int(np.gcd.reduce(values.astype(np.int64))), 1))
    for digits in range(1, 7):
        if (np.round(values, digits) == values).all():
            return 10.0**-digits
    return 0.0
