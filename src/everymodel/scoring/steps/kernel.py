"""Support vector machines: weighted similarities to the training rows that matter."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.steps.base import Step, need, step

KERNELS = ("linear", "rbf", "poly", "sigmoid")
_CELLS = 4_000_000  # similarities held in memory at once: 32 MB


def similarity(X: np.ndarray, rows: np.ndarray, kernel: str, gamma: float, degree: float, coef0: float) -> np.ndarray:
    """Kernel values (n, m) between X (n, p) and rows (m, p)."""
    product = X @ rows.T
    if kernel == "linear":
        return product
    if kernel == "rbf":
        # |x - r|^2 from products; what rounding makes slightly negative is zero.
        square = np.einsum("ij,ij->i", X, X)[:, None] - 2.0 * product + np.einsum("ij,ij->i", rows, rows)
        return np.exp(-gamma * np.maximum(square, 0.0))
    if kernel == "poly":
        return (gamma * product + coef0) ** degree
    return np.tanh(gamma * product + coef0)


class _Machine(Step):
    """What support vector regression and classification share."""

    def _kernel(self, X: np.ndarray) -> np.ndarray:
        # Centred on the mean row: differences of squares lose fewer digits near zero. The rbf kernel does not care.
        if self.kernel == "rbf":
            centre = self.rows.mean(axis=0)
            return similarity(X - centre, self.rows - centre, "rbf", self.gamma, self.degree, self.coef0)
        return similarity(X, self.rows, self.kernel, self.gamma, self.degree, self.coef0)

    def _parts(self, X: np.ndarray):
        size = max(1, _CELLS // max(len(self.rows), 1))
        return [X[start : start + size] for start in range(0, len(X), size)]

    def _check_kernel(self) -> None:
        need(self.rows.ndim == 2 and self.rows.dtype.kind == "f", "the support vectors are not a matrix")
        need(self.kernel in KERNELS, f"unknown kernel {self.kernel!r}")
        for name in ("gamma", "degree", "coef0"):
            value = getattr(self, name)
            good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
            need(good, f"the kernel's {name} is {value!r}")
        finite = np.isfinite(self.rows).all() and np.isfinite(self.dual).all() and np.isfinite(self.intercept).all()
        need(bool(finite), "the support vectors are not finite")


@step("support_vectors", output="value")
class SupportVectors(_Machine):
    """matrix (n, p) -> kernel(X, rows) dual + intercept (n,). rows (m, p); dual (m,); intercept ()."""

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    dual: np.ndarray
    intercept: np.ndarray
    kernel: str = "rbf"
    gamma: float = 1.0
    degree: float = 3
    coef0: float = 0.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        parts = [self._kernel(part) @ self.dual for part in self._parts(X)]
        return np.concatenate([*parts, np.empty(0)]) + self.intercept

    def check(self) -> None:
        self._check_kernel()
        need(self.dual.shape == (len(self.rows),) and self.intercept.shape == (), "support vectors do not fit")


@step("support_vector_scores", output="scores")
class SupportVectorScores(_Machine):
    """matrix (n, p) -> scores (n,) for two classes, else (n, classes).

    rows (m, p) ordered by class, counts (k,) of them in each; dual (k - 1, m) and intercept (k (k - 1) / 2,) of all
    pairs of classes, as libsvm keeps them. Scores are votes of the pairs plus a tie-break below one vote.
    places (k,): the class that each belongs to, of `classes`; those without rows score -30.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    counts: np.ndarray
    dual: np.ndarray
    intercept: np.ndarray
    places: np.ndarray
    classes: int
    kernel: str = "rbf"
    gamma: float = 1.0
    degree: float = 3
    coef0: float = 0.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        parts = [self._scores(self._kernel(part)) for part in self._parts(X)]
        if not parts:
            return np.empty(0) if self.classes == 2 else np.empty((0, self.classes))
        return np.concatenate(parts)

    def _scores(self, K: np.ndarray) -> np.ndarray:
        k = len(self.counts)
        ends = np.cumsum(self.counts)
        block = [slice(e - c, e) for e, c in zip(ends, self.counts)]
        votes, lean = np.zeros((len(K), k)), np.zeros((len(K), k))
        pair = 0
        for i in range(k):
            for j in range(i + 1, k):
                # Positive: class i. Row vectors of class i carry their weights against j in row j - 1, j's in row i.
                d = K[:, block[i]] @ self.dual[j - 1, block[i]] + K[:, block[j]] @ self.dual[i, block[j]]
                d = d + self.intercept[pair]
                if k == 2 == self.classes:
                    return -d
                lean[:, i] += d
                lean[:, j] -= d
                wins = d >= 0
                votes[:, i] += wins
                votes[:, j] += ~wins
                pair += 1
        out = np.full((len(K), self.classes), -30.0)
        out[:, self.places] = votes + lean / (3.0 * (np.abs(lean) + 1.0))
        return out

    def check(self) -> None:
        self._check_kernel()
        k, m = len(self.counts), len(self.rows)
        whole = self.counts.dtype.kind in "iu" and self.places.dtype.kind in "iu"
        need(whole and self.counts.ndim == 1 and k >= 2 and bool((self.counts >= 0).all()), "support counts are wrong")
        need(int(self.counts.sum()) == m and self.dual.shape == (k - 1, m), "support vectors do not fit")
        need(self.intercept.shape == (k * (k - 1) // 2,), "support vector intercepts do not fit")
        need(isinstance(self.classes, int) and k <= self.classes <= 100_000, "the number of classes is wrong")
        places = self.places
        need(places.shape == (k,) and len(set(places.tolist())) == k, "class places do not fit")
        need(bool(((places >= 0) & (places < self.classes)).all()), "a class place is out of range")
