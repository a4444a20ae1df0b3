"""Where to cut a probability into yes and no, given what mistakes cost.

Chosen on out-of-fold answers of the training rows, never on the test rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate.intervals import Parts, Resamples
from everymodel.workflow.types import Metric

_KEYS = ("false_positive", "false_negative", "true_positive", "true_negative")


def check_costs(costs: Mapping[str, float]) -> dict[str, float]:
    """The four costs, 0 where not given (a gain is a negative cost).

    Raises
    ------
    ParameterError
        Unknown words, no finite number, or costs under which no mistake costs anything.
    """
    strange = [key for key in costs if key not in _KEYS]
    if strange:
        raise ParameterError(f"costs has {strange}; expected some of {', '.join(_KEYS)}.")
    full = {key: costs.get(key, 0.0) for key in _KEYS}
    bad = [k for k, v in full.items() if not isinstance(v, int | float) or isinstance(v, bool) or not np.isfinite(v)]
    if bad:
        raise ParameterError(f"costs[{bad[0]!r}]={full[bad[0]]!r} is not a finite number.")
    full = {key: float(value) for key, value in full.items()}
    wrong_no, wrong_yes = (
        full["false_negative"] - full["true_positive"],
        full["false_positive"] - full["true_negative"],
    )
    if wrong_no <= 0 or wrong_yes <= 0:
        raise ParameterError(
            "With these costs one answer is never worse than the other, so no threshold is needed: a false positive "
            "must cost more than a true negative, and a false negative more than a true positive. "
            'Example: {"false_positive": 1, "false_negative": 5}.'
        )
    return full


def choose_threshold(
    y: np.ndarray, answers: np.ndarray, costs: Mapping[str, float] | None = None, *, metric: str | None = None
) -> float:
    """The threshold alone; see `threshold_choice`."""
    return threshold_choice(y, answers, costs, metric=metric)["threshold"]


def threshold_choice(
    y: np.ndarray, answers: np.ndarray, costs: Mapping[str, float] | None = None, *, metric: str | None = None
) -> dict[str, Any]:
    """The threshold with the least mean cost (or the best `metric`, e.g. "f1") on out-of-fold answers.

    Parameters
    ----------
    y : (n,) codes 0 / 1; answers : (n,) or (n, 2) probabilities; rows without an answer (NaN) are left out.
    costs : dict, optional
        See `check_costs`.
    metric : str, optional
        Used where no costs are given: "f1" (default), "balanced_accuracy", "accuracy" or "matthews_corrcoef".

    Returns
    -------
    dict with threshold, value and at_half (cost or metric there and at 0.5), low and high (range of thresholds that do
    about as well, within 1 standard error), by, curve {threshold, value}.
    """
    y, p = m.align("binary", y, answers)
    known = np.isfinite(p)
    y, p = y[known], p[known]
    if len(y) == 0 or y.min() == y.max():
        raise ParameterError("A threshold needs out-of-fold answers for rows of both classes.")
    order = np.argsort(p, kind="stable")
    sorted_p, sorted_y = p[order], y[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_p)) + 1, len(p))
    starts = np.concatenate([[0], ends])  # answering "yes" from this row on
    below = np.concatenate([[0], np.cumsum(sorted_y)])[starts]  # positives called "no"
    positives = int(sorted_y.sum())
    fn, tp = below.astype(np.float64), positives - below.astype(np.float64)
    tn = starts - fn
    fp = len(p) - starts - tp
    if costs is not None:
        c = check_costs(costs)
        values = (
            fp * c["false_positive"] + fn * c["false_negative"] + tp * c["true_positive"] + tn * c["true_negative"]
        ) / len(p)
        by, score = "cost", -values
    else:
        by = m.resolve(metric or "f1", "binary").name
        if by not in ("f1", "balanced_accuracy", "accuracy", "matthews_corrcoef"):
            raise ParameterError(
                f"A threshold cannot be chosen by {by!r}: choose f1, balanced_accuracy, accuracy, mcc."
            )
        hit, alarm, miss = np.stack([tn, tp], -1), np.stack([fn, fp], -1), np.stack([fp, fn], -1)
        values = score = m.from_counts(by, "binary", hit, alarm, miss)
    # Between two neighbouring probabilities every cut decides alike; the middle is the least surprising.
    between = (sorted_p[starts[1:-1] - 1] + sorted_p[starts[1:-1]]) / 2
    grid = np.concatenate([[max(sorted_p[0], 0.0) / 2], between, [np.nextafter(1, 2)]])
    best = int(np.argmax(score))
    half = int(np.searchsorted(grid, 0.5, "right") - 1) if grid[0] <= 0.5 else 0
    error = _standard_error(values, best, len(p), costs)
    fine = np.flatnonzero(score >= score[best] - error)
    keep = np.unique(np.linspace(0, len(grid) - 1, 200).astype(int))
    return {
        "threshold": float(min(grid[best], 1.0)),
        "by": by,
        "value": float(values[best]),
        "at_half": float(values[half]),
        "low": float(grid[fine[0]]),
        "high": float(min(grid[fine[-1]], 1.0)),
        "costs": dict(costs) if costs is not None else None,
        "curve": {"threshold": grid[keep].clip(0, 1).tolist(), "value": values[keep].tolist()},
    }


def _standard_error(values: np.ndarray, best: int, n: int, costs: Mapping[str, float] | None) -> float:
    """A rough standard error of the best value: of a mean of two-valued costs, or of a share."""
    scale = 1.0 if costs is None else max(abs(float(v)) for v in costs.values())
    share = min(max(abs(float(values[best])) / scale, 1.0 / n), 1 - 1.0 / n) if scale else 0.5
    return scale * float(np.sqrt(share * (1 - share) / n))


def row_costs(y: np.ndarray, p: np.ndarray, costs: Mapping[str, float], threshold: float) -> np.ndarray:
    """What each decision costs: (n,)."""
    c = check_costs(costs)
    yes = m.labels("binary", p, threshold) == 1
    return np.where(
        yes,
        np.where(y == 1, c["true_positive"], c["false_positive"]),
        np.where(y == 1, c["false_negative"], c["true_negative"]),
    )


def cost_metric(
    y: np.ndarray, p: np.ndarray, costs: Mapping[str, float], threshold: float, resamples: Resamples
) -> Metric:
    """Mean cost of a decision, with its interval."""
    each = row_costs(y, p, costs, threshold)
    value = float(each.mean())
    values = resamples.distribution(Parts(value, resamples.sum(each), lambda t, n: t[:, 0] / n))
    low, high = resamples.quantiles(values, value)
    return Metric("cost", value, low, high, "lower", f"mean cost of a decision at threshold {threshold:.3g}")
