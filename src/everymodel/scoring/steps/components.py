"""Steps that put few columns in the place of many."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.steps.base import Sparse, Step, dot, need, step
from everymodel.scoring.steps.kernel import similarity


def _finite(*arrays: Any) -> None:
    for array in arrays:
        good = isinstance(array, np.ndarray) and array.dtype.kind == "f" and bool(np.isfinite(array).all())
        need(good, "component arrays are not finite floats")


@step("components")
class Components(Step):
    """matrix (n, p) -> ((x - mean) times axes) * factor, (n, d). mean (p,), axes (p, d), factor (d,)."""

    mean: np.ndarray
    axes: np.ndarray
    factor: np.ndarray

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        need(X.shape[1] == len(self.mean), f"components need {len(self.mean)} features")
        if isinstance(X, Sparse):  # taking the mean off would fill the matrix
            return (X.dot(self.axes) - dot(self.mean[None, :], self.axes)) * self.factor
        return dot(X - self.mean, self.axes) * self.factor

    def check(self) -> None:
        _finite(self.mean, self.axes, self.factor)
        need(self.axes.ndim == 2 and self.mean.shape == self.axes.shape[:1], "components do not fit the features")
        need(self.factor.shape == self.axes.shape[1:], "component factors do not fit")


KERNELS = ("rbf", "poly", "sigmoid", "linear", "cosine")
_CELLS = 4_000_000  # similarities held in memory at once: 32 MB


@step("kernel_components")
class KernelComponents(Step):
    """matrix (n, p) -> kernel(X, rows) times weights, plus offset: (n, d).

    rows (m, p) of the training data; weights (m, d); offset (d,). "cosine" is the product of rows of length 1.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    kernel: str = "rbf"
    gamma: float = 1.0
    degree: float = 3.0
    coef0: float = 1.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"components need {self.rows.shape[1]} features")
        rows, kernel = self.rows, self.kernel
        if kernel == "rbf":  # near zero, squares lose fewer digits
            centre = rows.mean(axis=0)
            X, rows = X - centre, rows - centre
        elif kernel == "cosine":
            X, rows, kernel = _unit(X), _unit(rows), "linear"
        out = np.empty((len(X), len(self.offset)))
        size = max(1, _CELLS // len(rows))
        for start in range(0, len(X), size):
            near = similarity(X[start : start + size], rows, kernel, self.gamma, self.degree, self.coef0)
            out[start : start + size] = near @ self.weights
        return out + self.offset

    def check(self) -> None:
        _finite(self.rows, self.weights, self.offset)
        need(self.rows.ndim == 2 and self.weights.ndim == 2 and len(self.rows) > 0, "kernel components have no rows")
        need(len(self.weights) == len(self.rows), "kernel components do not fit their rows")
        need(self.offset.shape == self.weights.shape[1:], "the offset of kernel components does not fit")
        need(self.kernel in KERNELS, f"unknown kernel {self.kernel!r}")
        for name in ("gamma", "degree", "coef0"):
            value = getattr(self, name)
            good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
            need(good, f"the kernel's {name} is {value!r}")


def _unit(X: np.ndarray) -> np.ndarray:
    """Rows of length 1; rows of zeros stay."""
    length = np.sqrt(np.einsum("ij,ij->i", X, X))[:, None]
    return X / np.where(length == 0.0, 1.0, length)


_RIDGE = 1e-10  # makes the answer unique where parts repeat each other


@step("nonnegative_parts")
class NonnegativeParts(Step):
    """matrix (n, p) -> weights w >= 0 (n, d) with the least |x - w parts|^2 / 2 + l1 sum(w) + l2 |w|^2 / 2.

    parts (d, p), none negative. Solved exactly, row by row, by exchanging which weights are zero until every
    weight and every slope has the right sign (block principal pivoting, Kim and Park 2011).
    """

    parts: np.ndarray
    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        need(X.shape[1] == self.parts.shape[1], f"parts need {self.parts.shape[1]} features")
        length, gram = self._gram()
        goal = np.ascontiguousarray((dot(X, self.parts.T) - self.l1) / length)
        d = len(length)
        size = max(1, 2_000_000 // (d * d))  # matrices of so many rows at once
        parts = [nonnegative(gram, goal[start : start + size]) for start in range(0, len(goal), size)]
        return np.concatenate([*parts, np.empty((0, d))]) / length

    def _gram(self) -> tuple[np.ndarray, np.ndarray]:
        """Lengths (d,) of the parts, and the products (d, d) of parts of length 1; kept, because p may be large."""
        kept = self.__dict__.get("_products")
        if kept is None:
            gram = self.parts @ self.parts.T
            gram[np.diag_indices_from(gram)] += self.l2
            length = np.sqrt(np.diag(gram))
            length[length == 0.0] = 1.0  # a part of zeros: its weight is zero
            gram = gram / length / length[:, None]
            gram[np.diag_indices_from(gram)] = 1.0 + _RIDGE
            kept = length, gram
            object.__setattr__(self, "_products", kept)
        return kept

    def check(self) -> None:
        _finite(self.parts)
        need(self.parts.ndim == 2 and len(self.parts) > 0, "parts are not a matrix")
        need(bool((self.parts >= 0).all()) and float(self.parts.max(initial=0.0)) < 1e100, "parts are out of range")
        for value in (self.l1, self.l2):
            good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e100
            need(good, f"a penalty of parts is {value!r}")


def nonnegative(gram: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """w >= 0 (n, d) with the least w G w' / 2 - w b' for each row b of `goal` (n, d); gram G (d, d), 1 on its diagonal.

    Each row is solved by itself, so that its answer does not depend on the rows beside it.
    """
    n, d = goal.shape
    out = np.zeros((n, d))
    scale = np.maximum(np.abs(goal).max(axis=1), 1e-300)
    goal = goal / scale[:, None]
    rows = np.arange(n)
    free = np.ones((n, d), dtype=bool)
    best, chances = np.full(n, d + 1), np.full(n, 3)
    for _ in range(20 * d + 50):
        active, b = free[rows], goal[rows]
        matrix = np.where(active[:, :, None] & active[:, None, :], gram, 0.0)
        matrix[:, np.arange(d), np.arange(d)] = np.where(active, gram[0, 0], 1.0)
        w = np.linalg.solve(matrix, np.where(active, b, 0.0)[:, :, None])[:, :, 0]
        slope = np.einsum("ij,kj->ik", w, gram) - b
        wrong = (active & (w < -1e-12)) | (~active & (slope < -1e-12))
        count = wrong.sum(axis=1)
        out[rows] = np.maximum(w, 0.0)
        left = count > 0
        if not left.any():
            break
        rows, wrong, count = rows[left], wrong[left], count[left]
        better = count < best[rows]
        best[rows] = np.where(better, count, best[rows])
        chances[rows] = np.where(better, 3, chances[rows] - 1)
        # Exchanging all at once may go round in circles; the last one alone never does (Murty 1974).
        alone = chances[rows] < 0
        last = d - 1 - wrong[:, ::-1].argmax(axis=1)
        wrong[alone] = np.arange(d) == last[alone, None]
        free[rows] ^= wrong
    return out * scale[:, None]
