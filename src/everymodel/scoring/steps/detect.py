"""Steps that say how odd a row is: scores (n,), higher is odder."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.steps._nearest import Search, search_of
from everymodel.scoring.steps.base import Step, dot, need, step
from everymodel.scoring.steps.kernel import _Machine


def _wide(X: np.ndarray, p: int) -> None:
    need(X.ndim == 2 and X.shape[1] == p, f"the detector needs {p} features")


def _finite(*arrays: np.ndarray) -> None:
    for array in arrays:
        need(array.dtype.kind == "f" and bool(np.isfinite(array).all()), "the detector's arrays are not finite floats")


@step("residual", output="scores")
class Residual(Step):
    """matrix (n, p) -> squared distance (n,) of each row from the flat that `axes` (p, d) span through `mean` (p,).

    The columns of `axes` are orthonormal.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        _wide(X, len(self.mean))
        centred = X - self.mean
        left = centred - dot(dot(centred, self.axes), np.ascontiguousarray(self.axes.T))
        return np.einsum("ij,ij->i", left, left)

    def check(self) -> None:
        _finite(self.mean, self.axes)
        need(self.axes.ndim == 2 and self.mean.shape == self.axes.shape[:1], "the detector's axes do not fit")


@step("mahalanobis", output="scores")
class Mahalanobis(Step):
    """matrix (n, p) -> (x - location)' precision (x - location), (n,). location (p,), precision (p, p)."""

    location: np.ndarray
    precision: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        _wide(X, len(self.location))
        centred = X - self.location
        return np.einsum("ij,ij->i", dot(centred, self.precision), centred)

    def check(self) -> None:
        _finite(self.location, self.precision)
        need(self.location.ndim == 1 and self.precision.shape == (len(self.location),) * 2, "precision does not fit")


@step("one_class", output="scores")
class OneClass(_Machine):
    """matrix (n, p) -> minus the kernel's weighted similarity to the support vectors, (n,); higher is odder.

    rows (m, p), dual (m,), intercept () that is added to the sum before its sign is turned.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    dual: np.ndarray
    intercept: np.ndarray
    kernel: str = "rbf"
    gamma: float = 1.0
    degree: float = 3
    coef0: float = 0.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        _wide(X, self.rows.shape[1])
        parts = [self._kernel(part) @ self.dual for part in self._parts(X)]
        return -(np.concatenate([*parts, np.empty(0)]) + self.intercept)

    def check(self) -> None:
        self._check_kernel()
        need(self.dual.shape == (len(self.rows),) and self.intercept.shape == (), "support vectors do not fit")


@step("excess", output="scores")
class Excess(Step):
    """scores (n,) of any detector -> how far above the usual they are (n,), alike for all detectors.

    With v = (score - center) / scale, at least -1: sign(v) log(1 + |v|), so that no detector outshouts the others, and
    none can veto: a crowd of odd rows is to one of them the most ordinary of all.
    """

    center: float
    scale: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            v = np.clip((scores - self.center) / self.scale, -1.0, 1e300)
        return np.sign(v) * np.log1p(np.abs(v))

    def check(self) -> None:
        numbers = [self.center, self.scale]
        good = all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < float("inf") for v in numbers)
        need(good and self.scale > 0, "the usual scores are not finite numbers, or have no spread")


def others(search: Search, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers, (n, k) each, of the k closest rows that are not the row of X itself.

    A row that is found at distance zero is taken for itself, once, so that rows of the fit are judged by their
    neighbours as new rows are.
    """
    distance, number = search.nearest(X, min(k + 1, len(search.rows)))
    if distance.shape[1] <= k:  # there are no more rows than neighbours asked for
        return distance, number
    itself = (distance[:, :1] == 0.0).astype(np.int64)  # (n, 1)
    at = np.arange(k) + itself
    return np.take_along_axis(distance, at, axis=1), np.take_along_axis(number, at, axis=1)


@step("neighbor_distance", output="scores")
class NeighborDistance(Step):
    """matrix (n, p) -> the distance (n,) to the k nearest of `rows` (m, p): their mean, or the largest of them."""

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    k: int
    how: str = "mean"

    def __call__(self, X: np.ndarray) -> np.ndarray:
        _wide(X, self.rows.shape[1])
        distance, _ = others(search_of(self), X, self.k)
        return distance.mean(axis=1) if self.how == "mean" else distance[:, -1].copy()

    def check(self) -> None:
        _finite(self.rows)
        need(self.rows.ndim == 2, "the neighbours' rows are not a matrix")
        need(isinstance(self.k, int) and 1 <= self.k <= len(self.rows), f"there are no {self.k!r} neighbours")
        need(self.how in ("mean", "largest"), f"unknown distance {self.how!r}")


@step("local_outlier_factor", output="scores")
class LocalOutlierFactor(Step):
    """matrix (n, p) -> how much thinner the neighbourhood of a row is than its neighbours' (n,); 1 is as thin.

    rows (m, p) of the fit, their distance `reach` (m,) to the k-th neighbour and reachability density (m,)
    (Breunig et al. 2000).
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    reach: np.ndarray
    density: np.ndarray
    k: int

    def __call__(self, X: np.ndarray) -> np.ndarray:
        _wide(X, self.rows.shape[1])
        distance, number = others(search_of(self), X, self.k)
        own = 1.0 / (np.maximum(distance, self.reach[number]).mean(axis=1) + 1e-10)
        return (self.density[number] / own[:, None]).mean(axis=1)

    def check(self) -> None:
        _finite(self.rows, self.reach, self.density)
        need(self.rows.ndim == 2, "the neighbours' rows are not a matrix")
        need(self.reach.shape == self.density.shape == (len(self.rows),), "densities do not fit the rows")
        need(isinstance(self.k, int) and 1 <= self.k <= len(self.rows), f"there are no {self.k!r} neighbours")
