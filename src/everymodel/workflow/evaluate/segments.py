"""How well a model does on parts of the rows, and whether it treats the parts alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from everymodel.core.seeds import derive
from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate.curves import plain
from everymodel.workflow.evaluate.intervals import Resamples, interval, wilson

LEVELS = 20  # of a column; rarer ones are taken together
FEW = 30  # rows (or rows of the rarer class) below which a segment's score is not judged


def cells(values: Any) -> np.ndarray:
    """The segment of each row as text: numbers with many values are cut at their quartiles. (n,) object."""
    array = np.asarray(values)
    missing = np.array([v is None or v != v or str(v) in ("NaT", "<NA>") for v in array.tolist()], dtype=bool)
    if array.dtype == object and not missing.all():
        known = [v for v, gone in zip(array.tolist(), missing) if not gone]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
            array = np.array([float("nan") if gone else float(v) for v, gone in zip(array.tolist(), missing)])
    if array.dtype.kind in "iuf" and len(np.unique(array[~missing])) > 10:
        known = array[~missing].astype(np.float64)
        edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
        inside = np.searchsorted(edges[1:-1], array.astype(np.float64), "left")
        names = [f"{_edge(a)} to {_edge(b)}" for a, b in itertools.pairwise(edges)] or [_edge(edges[0])]
        text = np.array(names, dtype=object)[np.clip(inside, 0, len(names) - 1)]
    else:
        text = np.array([_text(v) for v in array.tolist()], dtype=object)
    text[missing] = "(missing)"
    found, counts = np.unique(text.astype(str), return_counts=True)
    if len(found) > LEVELS:
        keep = set(found[np.argsort(-counts, kind="stable")[: LEVELS - 1]])
        text = np.array([t if t in keep else "(other)" for t in text], dtype=object)
    return text


def _edge(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[:80]


def _parts(values: Any) -> list[tuple[str, np.ndarray]]:
    text = cells(values)
    names, inverse = np.unique(text.astype(str), return_inverse=True)
    return [(str(name), np.flatnonzero(inverse == i)) for i, name in enumerate(names)]


def by_segment(
    task: str,
    metric: str,
    y: np.ndarray,
    answers: np.ndarray,
    columns: Mapping[str, Any],
    threshold: float = 0.5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The metric on each part of the rows, worst first.

    `verdict` compares a segment with all other rows by their bootstrap spreads, and asks for more evidence the more
    segments there are (Bonferroni), so that with 50 segments one does not look bad by chance. Segments of fewer than 30
    rows (or rows of the rarer class) get "too few rows".
    """
    info = m.resolve(metric, task)
    sign = 1.0 if info.better == "higher" else -1.0
    parts = [(column, name, rows) for column, values in columns.items() for name, rows in _parts(values)]
    strict = abs(float(special.ndtri(0.025 / max(len(parts), 1))))
    _, low, high = interval(info.name, task, y, answers, Resamples(len(y), derive(seed, "all"), draws=400), threshold)
    spread = (high - low) * math.sqrt(len(y))  # of one row, so to speak: what a segment like the rest would show
    made = []
    for column, name, rows in parts:
        rest = np.setdiff1d(np.arange(len(y)), rows, assume_unique=True)
        resamples = Resamples(len(rows), derive(seed, "segment", column, name), draws=400)
        value, low, high = interval(info.name, task, y[rows], answers[rows], resamples, threshold)
        verdict, gap = "too few rows", float("nan")
        if _enough(task, y[rows]) and len(rest) and _enough(task, y[rest]):
            other = Resamples(len(rest), derive(seed, "rest", column, name), draws=400)
            v2, l2, h2 = interval(info.name, task, y[rest], answers[rest], other, threshold)
            gap = sign * (value - v2)
            # In a small segment the bootstrap can take a streak of luck for certainty; all rows together know better.
            expected = spread * math.sqrt(1 / len(rows) + 1 / len(rest))
            error = max(math.hypot(high - low, h2 - l2), expected) / 2 / 1.96
            if math.isfinite(gap) and math.isfinite(error):
                strong = abs(gap) > strict * error
                verdict = "like the rest" if not strong else "better" if gap > 0 else "worse"
        made.append(
            {
                "column": column,
                "segment": name,
                "rows": len(rows),
                "metric": info.name,
                "value": plain(value),
                "low": plain(low),
                "high": plain(high),
                "gap": plain(gap),
                "verdict": verdict,
            }
        )
    order = {"worse": 0, "like the rest": 1, "better": 2, "too few rows": 3}
    return sorted(made, key=lambda s: (order[s["verdict"]], s["gap"] if s["gap"] is not None else 0.0))


def _enough(task: str, y: np.ndarray) -> bool:
    if len(y) < FEW:
        return False
    if task in ("binary", "multiclass"):
        sizes = np.bincount(y)
        return task == "multiclass" or (len(sizes) == 2 and sizes.min() >= 5)
    return True


def _difference(hits: float, n: float, hits2: float, n2: float) -> tuple[float, float, float]:
    """Newcombe's interval for the difference of two shares."""
    if n == 0 or n2 == 0:
        return float("nan"), float("nan"), float("nan")
    a, b = hits / n, hits2 / n2
    (l1, u1), (l2, u2) = wilson(hits, n), wilson(hits2, n2)
    return a - b, a - b - math.hypot(a - l1, u2 - b), a - b + math.hypot(u1 - a, b - l2)


def fairness_gaps(
    task: str,
    y: np.ndarray,
    answers: np.ndarray,
    columns: Mapping[str, Any],
    classes: Sequence[Any] = (),
    threshold: float = 0.5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """For each group of a column: selection rate, true and false positive rate, and their gaps to the best-off group.

    Binary tasks speak of the second class; multiclass tasks of the share answered right; regression of the mean error
    (answers too high or too low) and the mean absolute error. `gap` has an interval; `verdict` is "gap" where it
    excludes 0. `ratio` is the selection rate over the highest one (below 0.8 many jurisdictions ask for a reason).
    """
    made: list[dict[str, Any]] = []
    for column, values in columns.items():
        parts = _parts(values)
        for measure, shares in _measures(task, y, answers, threshold).items():
            made += _gaps(column, measure, parts, shares, seed)
    return made


def _measures(
    task: str, y: np.ndarray, answers: np.ndarray, threshold: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Measure -> (per-row value (n,), rows that count (n,) bool)."""
    every = np.ones(len(y), dtype=bool)
    if task == "regression":
        error = (answers - y) if y.ndim == 1 else (answers - y).mean(axis=1)
        size = np.abs(answers - y) if y.ndim == 1 else np.abs(answers - y).mean(axis=1)
        return {"mean error": (error, every), "mean absolute error": (size, every)}
    chosen = m.labels(task, answers, threshold)
    if task == "binary":
        yes = chosen.astype(np.float64)
        return {
            "selection rate": (yes, every),
            "true positive rate": (yes, y == 1),
            "false positive rate": (yes, y == 0),
            "accuracy": ((chosen == y).astype(np.float64), every),
        }
    right = (chosen == y).all(axis=1) if task == "multilabel" else chosen == y
    return {"accuracy": (right.astype(np.float64), every)}


def _gaps(
    column: str,
    measure: str,
    parts: Sequence[tuple[str, np.ndarray]],
    shares: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> list[dict[str, Any]]:
    values, counted = shares
    rows = []
    for name, where in parts:
        inside = where[counted[where]]
        own = values[inside]
        rows.append((name, own, len(inside)))
    able = [(name, own) for name, own, n in rows if n >= FEW]
    if not able:
        return []
    share = measure not in ("mean error", "mean absolute error")
    # Gaps are measured from the largest group: the extreme one would make every other group look worse by chance.
    reference, theirs = max(able, key=lambda pair: len(pair[1]))
    top = max(float(own.mean()) for _, own in able)
    made = []
    for name, own, n in rows:
        value = float(own.mean()) if n else float("nan")
        if share:
            low, high = wilson(float(own.sum()), n)
            gap, gap_low, gap_high = _difference(float(own.sum()), n, float(theirs.sum()), len(theirs))
        else:
            spread = float(own.std(ddof=1) / math.sqrt(n)) if n > 1 else float("nan")
            other = float(theirs.std(ddof=1) / math.sqrt(len(theirs)))
            low, high = value - 1.96 * spread, value + 1.96 * spread
            gap = value - float(theirs.mean())
            half = 1.96 * math.hypot(spread, other)
            gap_low, gap_high = gap - half, gap + half
        if name == reference:
            verdict = "reference"
        elif n < FEW:
            verdict = "too few rows"
        else:
            verdict = "gap" if gap_low > 0 or gap_high < 0 else "no gap found"
        made.append(
            {
                "column": column,
                "group": name,
                "measure": measure,
                "rows": n,
                "value": plain(value),
                "low": plain(low),
                "high": plain(high),
                "reference": reference,
                "gap": plain(gap),
                "gap_low": plain(gap_low),
                "gap_high": plain(gap_high),
                "ratio": plain(value / top) if measure == "selection rate" and top > 0 else None,
                "verdict": verdict,
            }
        )
    return made
