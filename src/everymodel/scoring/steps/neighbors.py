"""Nearest neighbours: the training rows themselves are the model."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.steps._nearest import Search, search_of
from everymodel.scoring.steps.base import need, step
from everymodel.scoring.steps.combine import _Gives

_CELLS = 4_000_000  # distances held in memory at once: 32 MB


def nearest(
    rows: np.ndarray, X: np.ndarray, k: int, power: float = 2.0, search: Search | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows (m, p) closest to each row of X (n, p): distances and row numbers, (n, k) each, closest first.

    Distances are Minkowski's of the given power. Of rows at equal distance the one that comes first is taken, so the
    answer never depends on how the search was done. `search`: the rows made ready, if they are (power 2).
    """
    if power == 2.0:
        return (search or Search(rows)).nearest(X, k)
    rows, X = np.asarray(rows, dtype=np.float64), np.asarray(X, dtype=np.float64)
    m, n = len(rows), len(X)
    distance, number = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    size = max(1, _CELLS // max(m * max(rows.shape[1], 1), 1))
    for start in range(0, n, size):
        part = X[start : start + size]
        d, i = _exact(rows[None], part, power, np.broadcast_to(np.arange(m), (len(part), m)), k)
        distance[start : start + size], number[start : start + size] = d, i
    return distance, number


def _exact(rows: np.ndarray, X: np.ndarray, power: float, numbers: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances from X (n, p) to rows (n or 1, c, p), which have the ascending `numbers` (n, c); the k smallest."""
    gap = np.abs(X[:, None, :] - rows)  # (n, c, p)
    if power == 1.0:
        d = gap.sum(axis=2)
    elif np.isinf(power):
        d = gap.max(axis=2, initial=0.0)
    else:
        d = (gap**power).sum(axis=2) ** (1.0 / power)
    order = np.argsort(d, axis=1, kind="stable")[:, :k]  # stable: equal distances keep the order of row numbers
    return np.take_along_axis(d, order, axis=1), np.take_along_axis(numbers, order, axis=1)


def votes(distance: np.ndarray, weights: str) -> np.ndarray:
    """Weight of each neighbour (n, k): all equal, or 1 / distance (a neighbour at distance 0 then decides alone)."""
    if weights == "uniform":
        return np.ones_like(distance)
    with np.errstate(divide="ignore"):
        w = 1.0 / distance
    at = np.isinf(w)
    hit = at.any(axis=1)
    w[hit] = at[hit]
    return w


@step("neighbors", output="value")
class Neighbors(_Gives):
    """matrix (n, p) -> the weighted mean of the targets of the k nearest training rows.

    rows (m, p) the training rows; target (m,) or (m, t) values, or (m,) class codes where gives is "probabilities":
    then the answer is (n, classes), the shares of the votes. weights "uniform" or "distance"; power: Minkowski's, 2 is
    Euclid's and 1 Manhattan's.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    target: np.ndarray
    k: int
    weights: str = "uniform"
    power: float = 2.0
    gives: str = "value"
    classes: int | None = None

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"neighbours need {self.rows.shape[1]} features")
        search = search_of(self) if self.power == 2.0 else None
        distance, number = nearest(self.rows, X, self.k, self.power, search)
        w = votes(distance, self.weights)
        found = self.target[number]  # (n, k) or (n, k, t)
        if self.gives == "value":
            if self.weights == "uniform":
                return found.mean(axis=1)
            total = w.sum(axis=1)
            if found.ndim == 2:
                return (found * w).sum(axis=1) / total
            return (found * w[:, :, None]).sum(axis=1) / total[:, None]
        shares = np.zeros((len(X), self.classes))
        every = np.arange(len(X))
        for place in range(self.k):
            shares[every, found[:, place]] += w[:, place]
        return shares / shares.sum(axis=1, keepdims=True)

    def check(self) -> None:
        need(self.rows.ndim == 2 and self.rows.dtype.kind == "f", "the neighbours' rows are not a matrix of floats")
        need(bool(np.isfinite(self.rows).all()), "the neighbours' rows are not finite")
        need(self.target.ndim in (1, 2) and len(self.target) == len(self.rows), "neighbours and targets differ")
        need(isinstance(self.k, int) and 1 <= self.k <= len(self.rows), f"there are no {self.k!r} neighbours")
        need(self.weights in ("uniform", "distance"), f"unknown weights {self.weights!r}")
        need(isinstance(self.power, int | float) and self.power >= 1, f"unknown power {self.power!r}")
        need(self.gives in ("value", "probabilities"), f"unknown answer {self.gives!r}")
        if self.gives == "probabilities":
            need(isinstance(self.classes, int) and 0 < self.classes <= 1_000_000, "the number of classes is missing")
            need(self.target.ndim == 1 and self.target.dtype.kind in "iu", "class codes are not whole numbers")
            need(bool(((self.target >= 0) & (self.target < self.classes)).all()), "a class code is out of range")
