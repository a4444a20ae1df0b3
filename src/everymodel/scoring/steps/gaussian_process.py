"""Gaussian processes: similarities to all training rows, with the uncertainty that a class probability needs."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from everymodel.scoring.steps.base import Step, need, step

KERNELS = ("rbf", "matern")
_CELLS = 2_000_000
# A logistic curve as a sum of five error functions (Williams and Barber 1998), the constants of scikit-learn.
_LAMBDA = np.array([0.41, 0.4, 0.37, 0.44, 0.39])[:, None]
_SHARE = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])[:, None]
_erf = np.frompyfunc(math.erf, 1, 1)


def covariance(X: np.ndarray, rows: np.ndarray, kernel: str, length: np.ndarray, scale: float) -> np.ndarray:
    """Kernel values (n, m): scale * rbf, or scale * Matern of smoothness 3/2, over columns divided by length (p,)."""
    A, B = X / length, rows / length
    square = np.zeros((len(A), len(B)))
    for j in range(A.shape[1]):  # column by column: exact near zero, and no (n, m, p) array
        square += (A[:, j, None] - B[:, j]) ** 2
    if kernel == "rbf":
        return scale * np.exp(-0.5 * square)
    d = math.sqrt(3.0) * np.sqrt(square)
    return scale * ((1.0 + d) * np.exp(-d))


def _check(rows: np.ndarray, length: np.ndarray, kernel: str) -> None:
    need(rows.ndim == 2 and rows.dtype.kind == "f" and bool(np.isfinite(rows).all()), "the process's rows are damaged")
    need(kernel in KERNELS, f"unknown kernel {kernel!r}")
    good = length.shape[-1:] == (rows.shape[1],) and bool((length > 0).all() and np.isfinite(length).all())
    need(good, "the process's lengths do not fit")


@step("gaussian_process", output="value")
class GaussianProcess(Step):
    """matrix (n, p) -> covariance(X, rows) weights + mean (n,). rows (m, p), weights (m,), length (p,), mean ()."""

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    weights: np.ndarray
    length: np.ndarray
    mean: np.ndarray
    scale: float
    kernel: str = "matern"

    def __call__(self, X: np.ndarray) -> np.ndarray:
        size = max(1, _CELLS // max(len(self.rows), 1))
        parts = [
            covariance(X[s : s + size], self.rows, self.kernel, self.length, self.scale) @ self.weights
            for s in range(0, len(X), size)
        ]
        return np.concatenate([*parts, np.empty(0)]) + self.mean

    def check(self) -> None:
        _check(self.rows, self.length, self.kernel)
        need(self.length.ndim == 1 and self.mean.shape == (), "the process's mean or lengths do not fit")
        need(self.weights.shape == (len(self.rows),) and bool(np.isfinite(self.weights).all()), "weights do not fit")
        need(isinstance(self.scale, int | float) and 0 < self.scale < 1e300, "the process's scale is wrong")


@step("gaussian_process_probabilities", output="probabilities")
class GaussianProcessProbabilities(Step):
    """matrix (n, p) -> probabilities (n, classes): Laplace's approximation, one process per class against the rest.

    For each of the c processes (c = 1 for two classes): weights (c, m), length (c, p), scale (c,), and the matrix
    (c, m, m) whose product with the similarities v gives the variance scale - |matrix v|^2. rows (m, p).
    places (c,): the class of each process; with one process, places (1,) is the class that it speaks for and `other`
    the one that it speaks against.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    weights: np.ndarray
    length: np.ndarray
    scale: np.ndarray
    matrix: np.ndarray
    places: np.ndarray
    classes: int
    kernel: str = "matern"
    other: int | None = None

    def __call__(self, X: np.ndarray) -> np.ndarray:
        size = max(1, _CELLS // max(len(self.rows), 1))
        out = np.zeros((len(X), self.classes))
        for s in range(0, len(X), size):
            part = X[s : s + size]
            for c, place in enumerate(self.places):
                out[s : s + size, place] = self._chance(part, c)
        if self.other is not None:
            out[:, self.other] = 1.0 - out[:, self.places[0]]
            return out
        total = out.sum(axis=1, keepdims=True)
        return np.divide(out, total, out=out, where=total != 0)

    def _chance(self, X: np.ndarray, c: int) -> np.ndarray:
        K = covariance(X, self.rows, self.kernel, self.length[c], float(self.scale[c]))  # (n, m)
        mean = K @ self.weights[c]
        var = self.scale[c] - ((K @ self.matrix[c].T) ** 2).sum(axis=1)
        var = np.maximum(var, 1e-300)
        alpha = 1.0 / (2.0 * var)
        inner = _LAMBDA * mean * np.sqrt(alpha / (alpha + _LAMBDA**2))  # (5, n)
        parts = np.sqrt(np.pi / alpha) * _erf(inner).astype(np.float64) / (2.0 * np.sqrt(var * 2.0 * np.pi))
        return (_SHARE * parts).sum(axis=0) + 0.5 * _SHARE.sum()

    def check(self) -> None:
        _check(self.rows, self.length, self.kernel)
        c, m = len(self.places), len(self.rows)
        shapes = self.weights.shape == (c, m) and self.matrix.shape == (c, m, m) and self.scale.shape == (c,)
        need(shapes and self.length.ndim == 2 and len(self.length) == c, "the processes do not fit")
        for array in (self.weights, self.matrix, self.scale):
            need(bool(np.isfinite(array).all()), "the processes are not finite")
        need(bool((self.scale > 0).all()), "a process's scale is not positive")
        need(isinstance(self.classes, int) and 0 < self.classes <= 100_000, "the number of classes is wrong")
        places = self.places.tolist() + ([] if self.other is None else [self.other])
        need(self.places.dtype.kind in "iu" and len(set(places)) == len(places) > 0, "class places do not fit")
        need(all(isinstance(p, int) and 0 <= p < self.classes for p in places), "a class place is out of range")
        need((self.other is None) or c == 1, "one process speaks for two classes only")
