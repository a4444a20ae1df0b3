"""Intervals by one paired bootstrap that costs the same for a thousand rows and for a million.

Every metric is written as a function of sums over rows (`Parts`): a mean is one sum, a confusion count is one sum,
and ROC AUC, average precision and the median are their value plus the mean of their influence function (for ROC AUC
that is DeLong's variance). Rows are then summed into at most 2,000 blocks (groups, where rows belong together;
single rows, where there are fewer; else blocks drawn at random) and blocks are resampled. Since every metric and every
model uses the same resamples, differences between models are paired.

Plain shares (accuracy, and precision and recall of a binary task) have Wilson's interval instead, and a perfect score
gets the bound that Wilson's formula gives for no failure in as many rows as the rarest class has: a bootstrap would
call 10 of 10 right "100 to 100 %". Below 50 blocks intervals are widened as Student's t is. The
calibration error of a finite sample is above zero even for perfect probabilities; its lower bound allows for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special  # not scipy.stats: loading it takes longer than all intervals of a table

from everymodel.core.errors import ParameterError
from everymodel.scoring import metrics as m

BLOCKS = 2000
DRAWS = 1000
LEVEL = 0.95

Finish = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Parts:
    """A metric as sums: `value` on all rows, `sums` (blocks, q), and `finish(sums (B, q), rows (B,)) -> (B,)`."""

    value: float
    sums: np.ndarray
    finish: Finish


class Resamples:
    """The blocks of one set of rows and how often each is drawn.

    Parameters
    ----------
    n : int
        Rows.
    seed : int
        Equal seeds give equal intervals.
    groups : (n,) array, optional
        Rows of one group stay together: without this, intervals of repeated measurements are too narrow.
    """

    def __init__(self, n: int, seed: int = 0, groups: np.ndarray | None = None, draws: int = DRAWS):
        rng = np.random.default_rng(seed)
        self.n, self.grouped = n, groups is not None
        if groups is not None:
            _, self.block = np.unique(np.asarray(groups).astype(str), return_inverse=True)
            size = int(self.block.max()) + 1 if n else 0
            if size > BLOCKS:
                self.block = rng.permutation(size)[self.block] % BLOCKS
        elif n > BLOCKS:
            self.block = rng.permutation(n) % BLOCKS
        else:
            self.block = np.arange(n)
        self.blocks = int(self.block.max()) + 1 if n else 0
        drawn = rng.integers(self.blocks, size=(draws, self.blocks)) if self.blocks else np.zeros((draws, 0), int)
        flat = (drawn + np.arange(draws)[:, None] * self.blocks).ravel()
        self.weights = np.bincount(flat, minlength=draws * self.blocks).reshape(draws, self.blocks).astype(np.float64)
        self.rows = self.weights @ np.bincount(self.block, minlength=self.blocks)  # (B,)

    def sum(self, columns: np.ndarray) -> np.ndarray:
        """Per-row columns (n,) or (n, q) -> sums of each block (blocks, q)."""
        columns = columns[:, None] if columns.ndim == 1 else columns
        return np.column_stack([np.bincount(self.block, column, self.blocks) for column in columns.T])

    def count(self, cells: np.ndarray, kinds: int) -> np.ndarray:
        """Per-row codes (n,), -1 = none -> how often each occurs in each block (blocks, kinds)."""
        known = cells >= 0
        flat = np.bincount(self.block[known] * kinds + cells[known], minlength=self.blocks * kinds)
        return flat.reshape(self.blocks, kinds).astype(np.float64)

    def distribution(self, parts: Parts) -> np.ndarray:
        """The metric in every resample: (B,), without those in which it is undefined."""
        with np.errstate(all="ignore"):
            return parts.finish(self.weights @ parts.sums, self.rows)

    def widen(self) -> float:
        """Student's t over the normal, for few blocks."""
        if self.blocks < 2:
            return float("inf")
        if self.blocks >= 50:
            return 1.0
        factor = special.stdtrit(self.blocks - 1, 0.5 + LEVEL / 2) / special.ndtri(0.5 + LEVEL / 2)
        return float(factor * np.sqrt(self.blocks / (self.blocks - 1)))

    def quantiles(self, values: np.ndarray, centre: float) -> tuple[float, float]:
        """The middle 95 % of a bootstrap distribution around `centre`."""
        values = values[np.isfinite(values)]
        if len(values) == 0 or not np.isfinite(centre):
            return float("nan"), float("nan")
        low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        widen = self.widen()
        if widen == float("inf"):
            return float("nan"), float("nan")
        return centre + (low - centre) * widen, centre + (high - centre) * widen


def middle_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks 1..n of (n,) values; ties share their middle rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)]


def wilson(hits: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval for a share: sensible for 0 of n and n of n."""
    if n <= 0:
        return float("nan"), float("nan")
    z = float(special.ndtri(0.5 + level / 2))
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


# -- influence functions ------------------------------------------------------------------------------------------


def auc_influence(positive: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """(ROC AUC, what each row pulls it up or down by, (n,), mean 0); NaN and zeros when a class is absent."""
    n, p = len(values), int(positive.sum())
    pull = np.zeros(n)
    if p == 0 or p == n:
        return float("nan"), pull
    ranks = middle_ranks(values)  # (n,) ties share their middle rank
    inside = np.empty(n)
    inside[positive] = middle_ranks(values[positive])
    inside[~positive] = middle_ranks(values[~positive])
    below = ranks - inside  # rows of the other class below, ties half
    won = np.where(positive, below / (n - p), 1 - below / p)  # DeLong's components
    area = float(won[positive].mean())
    pull = (won - area) * np.where(positive, n / p, n / (n - p))
    return area, pull


def precision_influence(positive: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """(average precision, what each row pulls it up or down by, (n,))."""
    n, total = len(values), int(positive.sum())
    if total == 0:
        return float("nan"), np.zeros(n)
    order = np.argsort(-values, kind="stable")
    hit, sorted_values = positive[order].astype(np.float64), values[order]
    last = np.searchsorted(-sorted_values, -sorted_values, "right") - 1  # end of each tie
    above = last + 1.0  # rows scored at least as high
    precision = np.cumsum(hit)[last] / above
    area = float((hit * precision).sum() / total)
    # d AP / d weight of row j: its own term, and its part in the precision of every positive scored no higher.
    first = np.searchsorted(-sorted_values, -sorted_values, "left")
    ones = np.concatenate([np.cumsum((hit / above)[::-1])[::-1], [0.0]])[first]
    shares = np.concatenate([np.cumsum((hit * precision / above)[::-1])[::-1], [0.0]])[first]
    pull = np.empty(n)
    pull[order] = n / total * (hit * (precision - area) + hit * ones - shares)
    return area, pull


def median_influence(errors: np.ndarray) -> tuple[float, np.ndarray]:
    """(median, what each row pulls it by, (n,)), with the density at the median from its neighbourhood."""
    n = len(errors)
    middle = float(np.median(errors))
    width = max(n ** (-0.2) / 2, 1.0 / max(n, 1))
    low, high = np.quantile(errors, [max(0.0, 0.5 - width / 2), min(1.0, 0.5 + width / 2)])
    density = width / (high - low) if high > low else np.inf
    return middle, (0.5 - (errors <= middle)) / density


# -- metrics as sums ----------------------------------------------------------------------------------------------


def _mean(value: float, s: np.ndarray, root: bool = False) -> Parts:
    return Parts(value, s, lambda t, n: np.sqrt(t[:, 0] / n) if root else t[:, 0] / n)


def _pulled(value: float, s: np.ndarray) -> Parts:
    return Parts(value, s, lambda t, n: value + t[:, 0] / n)


def parts(
    name: str, task: str, y: np.ndarray, answers: np.ndarray, resamples: Resamples, threshold: float = 0.5
) -> Parts:
    """The metric `name` of aligned arrays (see `everymodel.scoring.metrics`) as sums over blocks."""
    value = m.score(name, task, y, answers, threshold=threshold)
    r = resamples
    if task == "regression":
        if y.ndim == 2:
            each = [parts(name, task, y[:, j], answers[:, j], r) for j in range(y.shape[1])]
            edges = np.cumsum([0, *(p.sums.shape[1] for p in each)])
            return Parts(
                value,
                np.hstack([p.sums for p in each]),
                lambda t, n: np.mean([p.finish(t[:, a:b], n) for p, a, b in zip(each, edges[:-1], edges[1:])], axis=0),
            )
        if name == "median_absolute_error":
            _, pull = median_influence(np.abs(answers - y))
            return _pulled(value, r.sum(pull))
        if name == "r2":
            centred = y - y.mean()
            return Parts(
                value,
                r.sum(np.column_stack([(answers - y) ** 2, centred, centred**2])),
                lambda t, n: 1 - t[:, 0] / (t[:, 2] - t[:, 1] ** 2 / n),
            )
        delta = m.huber_delta(y) if name == "huber" else 1.0
        return _mean(value, r.sum(m.row_losses(name, y, answers, delta)), root=name in ("rmse", "rmsle"))
    if name in ("roc_auc", "average_precision"):
        function = auc_influence if name == "roc_auc" else precision_influence
        if task == "binary":
            columns = [(y == 1, answers)]
        else:
            columns = [
                ((y[:, j] == 1) if task == "multilabel" else (y == j), answers[:, j]) for j in range(answers.shape[1])
            ]
        found = [function(*column) for column in columns]
        known = [pull for area, pull in found if area == area]
        return _pulled(value, r.sum(np.mean(known, axis=0) if known else np.zeros(len(y))))
    if name == "log_loss":
        return _mean(value, r.sum(m.row_log_loss(task, y, answers)))
    if name == "brier":
        return _mean(value, r.sum(m.row_brier(task, y, answers)))
    if name == "calibration_error":
        stated, came = m.calibration_pairs(task, y, answers)
        bins = m.calibration_bins(stated)
        width = answers.shape[1] if task == "multilabel" else 1
        block = np.repeat(r.block, width)
        size = int(bins.max()) + 1
        gap = np.bincount(block * size + bins, stated - came, r.blocks * size).reshape(r.blocks, size)
        return Parts(value, gap, lambda t, n: np.abs(t).sum(axis=1) / (n * width))
    chosen = m.labels(task, answers, threshold)
    if task == "multilabel":
        if name == "accuracy":
            return _mean(value, r.sum((chosen == y).all(axis=1).astype(np.float64)))
        if name == "hamming_loss":
            return _mean(value, r.sum((chosen != y).mean(axis=1)))
        k = y.shape[1]
        flags = [(y == 1) & (chosen == 1), (y == 0) & (chosen == 1), (y == 1) & (chosen == 0)]
        sums = np.hstack([r.sum(flag.astype(np.float64)) for flag in flags])
    else:
        k = 2 if task == "binary" else answers.shape[1]
        right = y == chosen
        sums = np.hstack(
            [
                r.count(np.where(right, y, -1), k),
                r.count(np.where(right, -1, chosen), k),
                r.count(np.where(right, -1, y), k),
            ]
        )
    return Parts(value, sums, lambda t, n: m.from_counts(name, task, t[:, :k], t[:, k : 2 * k], t[:, 2 * k :]))


def interval(
    name: str, task: str, y: np.ndarray, answers: np.ndarray, resamples: Resamples, threshold: float = 0.5
) -> tuple[float, float, float]:
    """(value, low, high) of one metric at 95 %; low and high are NaN where the rows cannot say.

    Raises
    ------
    ParameterError
        Unknown metric, or shapes that do not fit.
    """
    if resamples.n != len(y):
        raise ParameterError(f"The resamples were drawn for {resamples.n} rows, but {len(y)} came.")
    info = m.resolve(name, task)
    y, answers = m.align(task, y, answers)
    if len(y) == 0:
        return float("nan"), float("nan"), float("nan")
    found = parts(info.name, task, y, answers, resamples, threshold)
    value = found.value
    if not np.isfinite(value):
        return value, float("nan"), float("nan")
    share = _share(info.name, task, y, answers, threshold)
    if share is not None and not resamples.grouped:
        low, high = wilson(*share)
        return value, low, high
    values = resamples.distribution(found)
    if info.name == "calibration_error":  # absolute gaps only grow when resampled: move the cloud back onto the value
        values = np.maximum(values - np.nanmean(values) + value, 0.0)
    low, high = resamples.quantiles(values, value)
    if info.name == "calibration_error":  # even perfect probabilities show this much by chance
        low -= _chance_gap(m.calibration_pairs(task, y, answers)[0])
    if info.name in ("roc_auc", "average_precision") and 0 < value < 1 and np.isfinite(high - low):
        # On the logit scale the interval cannot leave 0 .. 1 and is skewed as it should be.
        half = (high - low) / 2 / (value * (1 - value))
        low, high = special.expit(special.logit(value) + np.array([-half, half]))
    if value == info.best and high - low < 1e-12 and info.tasks != ("regression",):
        rows = _rarest(task, y)
        bound = wilson(rows, rows)[0]
        low, high = (bound, value) if info.better == "higher" else (value, 1 - bound)
    if info.better == "lower":
        low = max(low, 0.0)
    else:
        high = min(high, 1.0)
        low = low if info.worst is None else max(low, info.worst)
    return value, float(min(low, value)), float(max(high, value))


def _chance_gap(stated: np.ndarray) -> float:
    """The calibration error expected of perfectly calibrated probabilities on as many rows: mean of half-normals."""
    spread = np.bincount(m.calibration_bins(stated), np.clip(stated * (1 - stated), 0, None))
    return float(np.sqrt(2 / np.pi * spread).sum() / len(stated))


def _share(name: str, task: str, y: np.ndarray, answers: np.ndarray, threshold: float) -> tuple[float, float] | None:
    """(hits, of how many) where the metric is a plain share of independent rows."""
    if task == "regression" or name not in ("accuracy", "precision", "recall"):
        return None
    chosen = m.labels(task, answers, threshold)
    if name == "accuracy":
        right = (chosen == y).all(axis=1) if task == "multilabel" else chosen == y
        return float(right.sum()), float(len(y))
    if task != "binary":
        return None
    whole = (chosen == 1) if name == "precision" else (y == 1)
    return (float((whole & (chosen == y)).sum()), float(whole.sum())) if whole.any() else None


def _rarest(task: str, y: np.ndarray) -> int:
    if task == "multilabel":
        return int(max(1, min(y.sum(axis=0).min(), (1 - y).sum(axis=0).min())))
    sizes = np.bincount(y)
    return int(sizes[sizes > 0].min())


def difference(
    name: str,
    task: str,
    y: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    resamples: Resamples,
    threshold: float = 0.5,
) -> tuple[float, float, float]:
    """How much better `ours` is than `theirs`: (gain, low, high) at 95 %, paired; positive is always better."""
    info = m.resolve(name, task)
    y_aligned, ours = m.align(task, y, ours)
    _, theirs = m.align(task, y, theirs)
    a = parts(info.name, task, y_aligned, ours, resamples, threshold)
    b = parts(info.name, task, y_aligned, theirs, resamples, threshold)
    sign = 1.0 if info.better == "higher" else -1.0
    gain = sign * (a.value - b.value)
    values = sign * (resamples.distribution(a) - resamples.distribution(b))
    if info.name == "calibration_error":
        values = values - np.nanmean(values) + gain
    low, high = resamples.quantiles(values, gain)
    return gain, float(low), float(high)
