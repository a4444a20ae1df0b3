"""Curves and tables of an evaluation as plain data (lists, numbers, words), small enough to keep in a story."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate.intervals import Resamples, wilson

POINTS = 200  # of a curve
SCATTER = 1200  # points of a scatter plot
SHOWN_CLASSES = 12  # curves and confusion cells; others are counted together


def plain(values: Any) -> Any:
    """Lists of Python numbers; what is not finite becomes None, because JSON has no other word for it."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [plain(v) for v in values]
    if isinstance(values, np.generic):
        values = values.item()
    return None if isinstance(values, float) and not math.isfinite(values) else values


def curves(
    task: str,
    y: np.ndarray,
    answers: np.ndarray,
    classes: Sequence[Any],
    threshold: float,
    resamples: Resamples,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the plots of a task draw, from aligned arrays (see `everymodel.scoring.metrics`)."""
    if task == "regression":
        if y.ndim == 2:
            names = (
                [str(c) for c in classes]
                if len(classes) == y.shape[1]
                else [f"output {j + 1}" for j in range(y.shape[1])]
            )
            return {"outputs": [{"name": n, **_regression(y[:, j], answers[:, j], seed)} for j, n in enumerate(names)]}
        return _regression(y, answers, seed)
    k = 2 if task == "binary" else answers.shape[1]
    names = [str(c) for c in classes] if len(classes) == k else [str(j) for j in range(k)]
    chosen = m.labels(task, answers, threshold)
    made: dict[str, Any] = {
        "threshold": float(threshold),
        "calibration": _calibration(*m.calibration_pairs(task, y, answers)),
        "per_class": _per_class(task, y, answers, chosen, names),
    }
    if task == "binary":
        made["confusion"] = _confusion(y, chosen, names)
        made["roc"] = [{"name": names[1], **roc_curve(y == 1, answers)}]
        made["pr"] = [{"name": names[1], **pr_curve(y == 1, answers)}]
        made["gain"] = gain_curve(y == 1, answers)
        made["scores"] = _score_histogram(y, answers, names)
        made["decisions"] = _decisions(y, answers)
        return made
    if task == "multiclass":
        made["confusion"] = _confusion(y, chosen, names)
    positives = [(y[:, j] == 1) if task == "multilabel" else (y == j) for j in range(k)]
    frequent = np.argsort([-int(p.sum()) for p in positives], kind="stable")[:SHOWN_CLASSES]
    shown = [j for j in sorted(frequent) if 0 < positives[j].sum() < len(y)]
    made["roc"] = [{"name": names[j], **roc_curve(positives[j], answers[:, j])} for j in shown]
    made["pr"] = [{"name": names[j], **pr_curve(positives[j], answers[:, j])} for j in shown]
    return made


def _thin(count: int, points: int = POINTS) -> np.ndarray:
    """Positions that keep the ends of a curve of `count` points."""
    return np.unique(np.linspace(0, count - 1, min(points, count)).round().astype(int))


def _steps(positive: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, true positives, false positives) at the end of each tie, from the highest value down."""
    order = np.argsort(-values, kind="stable")
    hit, ranked = positive[order], values[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(values) - 1)
    tp = np.cumsum(hit)[last]
    return ranked[last], tp, last + 1 - tp


def roc_curve(positive: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """False and true positive rates; `area` is exact, the points are thinned."""
    _, tp, fp = _steps(positive, values)
    x = np.concatenate([[0], fp]) / max(int((~positive).sum()), 1)
    y = np.concatenate([[0], tp]) / max(int(positive.sum()), 1)
    keep = _thin_curve(x, y)
    return {"fpr": plain(x[keep].round(5)), "tpr": plain(y[keep].round(5)), "area": plain(m.auc(positive, values))}


def pr_curve(positive: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Recall and precision; `base` is the share of positives, what guessing reaches."""
    _, tp, fp = _steps(positive, values)
    recall, precision = tp / max(int(positive.sum()), 1), tp / (tp + fp)
    keep = _thin_curve(recall, precision)
    return {
        "recall": plain(recall[keep].round(5)),
        "precision": plain(precision[keep].round(5)),
        "area": plain(m.average_precision(positive, values)),
        "base": float(positive.mean()),
    }


def _thin_curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """At most POINTS positions, evenly along the curve's length, so that steep parts keep their shape."""
    if len(x) <= POINTS:
        return np.arange(len(x))
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    return np.unique(
        np.append(np.searchsorted(length, np.linspace(0, length[-1], POINTS)), len(x) - 1).clip(0, len(x) - 1)
    )


def gain_curve(positive: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Share of positives found among the best-scored rows, and the lift over picking at random."""
    order = np.argsort(-values, kind="stable")
    found = np.concatenate([[0], np.cumsum(positive[order])]) / max(int(positive.sum()), 1)
    share = np.arange(len(values) + 1) / len(values)
    keep = _thin(len(share))
    deciles = []
    for tenth in range(1, 11):
        at = round(len(values) * tenth / 10)
        if at:
            deciles.append(
                {"share": tenth / 10, "found": float(found[at]), "lift": float(found[at] / (at / len(values)))}
            )
    return {"share": plain(share[keep].round(5)), "found": plain(found[keep].round(5)), "deciles": deciles,
            "base": float(positive.mean())}  # fmt: skip


def _calibration(stated: np.ndarray, came: np.ndarray) -> list[dict[str, float]]:
    """Stated probability against observed share in bins of equal counts, with Wilson's interval."""
    bins = m.calibration_bins(stated, 10)
    rows = []
    for b in np.unique(bins):
        inside = bins == b
        n, hits = int(inside.sum()), float(came[inside].sum())
        low, high = wilson(hits, n)
        rows.append({"stated": float(stated[inside].mean()), "observed": hits / n, "low": low, "high": high, "rows": n})
    return rows


def _per_class(
    task: str, y: np.ndarray, answers: np.ndarray, chosen: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows, precision and recall (Wilson) and F1 of each class or label."""
    hit, alarm, miss = m.counts(task, y, chosen, len(names))
    rows = []
    for j, name in enumerate(names):
        if task == "multilabel":
            positive, values = y[:, j] == 1, answers[:, j]
        else:
            positive, values = y == j, (answers if j else 1 - answers) if task == "binary" else answers[:, j]
        precision, recall = wilson(hit[j], hit[j] + alarm[j]), wilson(hit[j], hit[j] + miss[j])
        rows.append(
            {
                "class": name,
                "rows": int(hit[j] + miss[j]),
                "precision": plain(float(hit[j] / (hit[j] + alarm[j])) if hit[j] + alarm[j] else float("nan")),
                "precision_low": plain(precision[0]),
                "precision_high": plain(precision[1]),
                "recall": plain(float(hit[j] / (hit[j] + miss[j])) if hit[j] + miss[j] else float("nan")),
                "recall_low": plain(recall[0]),
                "recall_high": plain(recall[1]),
                "f1": plain(float(m.per_class("f1", hit, alarm, miss)[j])),
                "roc_auc": plain(m.auc(positive, values)),
            }
        )
    return rows


def _confusion(y: np.ndarray, chosen: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Counts, row = truth; with many classes the frequent ones and "other"."""
    table = m.confusion(y, chosen, len(names))
    names = list(names)
    if len(names) > SHOWN_CLASSES:
        keep = np.sort(np.argsort(-(table.sum(0) + table.sum(1)), kind="stable")[: SHOWN_CLASSES - 1])
        rest = np.setdiff1d(np.arange(len(names)), keep)
        order = [*[[int(i)] for i in keep], rest.tolist()]
        table = np.array([[table[np.ix_(a, b)].sum() for b in order] for a in order])
        names = [*[names[i] for i in keep], f"{len(rest)} others"]
    return {"labels": names, "counts": plain(table)}


def _score_histogram(y: np.ndarray, answers: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    edges = np.linspace(0, 1, 31)
    return {
        "edges": plain(edges.round(4)),
        "counts": [{"name": names[j], "counts": plain(np.histogram(answers[y == j], edges)[0])} for j in (0, 1)],
    }


def _decisions(y: np.ndarray, answers: np.ndarray) -> dict[str, Any]:
    """Precision, recall and F1 of the second class, and the share called so, over 101 thresholds."""
    cuts = np.linspace(0, 1, 101)
    high, low = np.sort(answers[y == 1]), np.sort(answers[y == 0])
    tp = len(high) - np.searchsorted(high, cuts, "left")
    fp = len(low) - np.searchsorted(low, cuts, "left")
    with np.errstate(all="ignore"):
        precision, recall = tp / (tp + fp), tp / max(len(high), 1)
        f1 = 2 * tp / (tp + fp + len(high))
    return {
        "threshold": plain(cuts.round(3)),
        "precision": plain(precision.round(5)),
        "recall": plain(recall.round(5)),
        "f1": plain(f1.round(5)),
        "share": plain(((tp + fp) / len(y)).round(5)),
    }


def _regression(y: np.ndarray, answers: np.ndarray, seed: int) -> dict[str, Any]:
    """Predicted against actual, residuals, and the size of errors at each level of the answer."""
    error = answers - y
    rows = np.arange(len(y))
    if len(rows) > SCATTER:
        rows = np.sort(np.random.default_rng(seed).choice(len(y), SCATTER, replace=False))
    low, high = np.quantile(error, [0.005, 0.995])
    bars = int(np.clip(2 * len(y) ** 0.4, 10, 40))
    edges = np.linspace(low, high, bars + 1) if high > low else np.linspace(low - 0.5, low + 0.5, bars + 1)
    bins = np.searchsorted(np.unique(np.quantile(answers, np.linspace(0, 1, 11)[1:-1])), answers, "right")
    tenths = []
    for b in np.unique(bins):
        inside = bins == b
        tenths.append(
            {
                "answer": float(answers[inside].mean()),
                "actual": float(y[inside].mean()),
                "low": float(np.quantile(y[inside], 0.1)),
                "high": float(np.quantile(y[inside], 0.9)),
                "bias": float(error[inside].mean()),
                "mae": float(np.abs(error[inside]).mean()),
                "rows": int(inside.sum()),
            }
        )
    sizes = np.sort(np.abs(error))
    return {
        "scatter": {"actual": plain(y[rows]), "answer": plain(answers[rows]), "of": len(y)},
        "residuals": {
            "edges": plain(edges),
            "counts": plain(np.histogram(np.clip(error, edges[0], edges[-1]), edges)[0]),
            "mean": float(error.mean()),
        },
        "tenths": tenths,
        "within": [{"share": s, "error": float(np.quantile(sizes, s))} for s in (0.5, 0.8, 0.9, 0.95, 0.99)],
    }
