"""Principal components: the directions in which rows differ most."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy.linalg import eigh, qr, svd
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from everymodel.scoring.steps.components import Components

CARD = {
    "name": "pca",
    "title": "Principal component analysis",
    "summary": "Replaces correlated columns by few uncorrelated ones that keep most of the variance.",
    "choose": "Many correlated numbers: to compress, to see, or to prepare for another method.",
    "avoid": "Curved relations, and columns whose small differences matter most.",
    "gives": ["components"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 1.6e-8, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Pearson (1901), On lines and planes of closest fit to systems of points in space."],
    "advice": ["basic", "correlated", "many_columns"],
    "priority": 10,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Number of components; by default as many as there can be.",
        },
        "whiten": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether every component gets variance 1.",
        },
    },
    "tiny": [{"n_components": 2}, {"n_components": 1, "whiten": True}],
    "classes": {"reducer": {"class": "everymodel.models.decomposition.pca:PCA", "tasks": ["reduce", "embed"]}},
}

EXACT = 1e11  # multiplications above which the main directions of a large matrix are found by random projections
BLOCK = 4096  # rows centred at once, so that they stay in the processor's cache


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Replace columns by the few orthogonal directions that hold most of the variance.

    With C = (X - mean)' (X - mean) / (n - 1) = V L V', a row x becomes V' (x - mean), over sqrt(L) where `whiten`.
    Found exactly, by the covariance matrix where rows are more than columns and by the matrix of products of rows where
    they are fewer; only above `EXACT` multiplications by a randomised projection (Halko et al. 2011). The largest
    loading of each component is positive.

    Parameters
    ----------
    n_components : how many, at most min(n, p); None: as many as there can be; below 1: the share of variance to hold.
    whiten : whether every component gets variance 1.
    random_state : of the randomised projection.

    Attributes
    ----------
    components_ : (d, p) · mean_ : (p,) · explained_variance_, explained_variance_ratio_, singular_values_ : (d,)
    n_components_ : d · noise_variance_ : mean variance of the directions left out.
    solver_ : "covariance", "products", "svd" or "randomized": how they were found.

    Raises
    ------
    ValueError
        where `n_components` is neither a share nor a whole number from 1 to min(n, p).
    """

    def __init__(
        self, n_components: int | float | None = None, *, whiten: bool = False, random_state: int | None = None
    ):
        self.n_components = n_components
        self.whiten = whiten
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> PCA:
        """Find the main directions of X (n, p); y is ignored."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        n, p = X.shape
        most = min(n, p)
        count = self._count(most)
        self.mean_ = X.mean(axis=0)
        total = 0.0
        if p <= n and not self._large(n, p, count):
            self.solver_ = "covariance"
            product = np.zeros((p, p))
            for start in range(0, n, BLOCK):
                block = X[start : start + BLOCK] - self.mean_
                product += block.T @ block
            total = float(np.trace(product))
            values, vectors = eigh(product, subset_by_index=(p - count, p - 1), overwrite_a=True, check_finite=False)
            values, axes = values[::-1], vectors[:, ::-1].T
        else:
            centred = X - self.mean_
            total = float(np.einsum("ij,ij->", centred, centred))
            values, axes = self._wide(centred, count, self._large(n, p, count))
        values = np.maximum(values, 0.0)
        if self.n_components is not None and not isinstance(self.n_components, Integral) and self.n_components < 1:
            held = np.cumsum(values) / (total or 1.0)
            count = min(int(np.searchsorted(held, self.n_components)) + 1, count)
            values, axes = values[:count], axes[:count]
        largest = np.abs(axes).argmax(axis=1)
        axes = axes * np.where(axes[np.arange(count), largest] < 0, -1.0, 1.0)[:, None]
        self.components_ = np.ascontiguousarray(axes)
        self.explained_variance_ = values / (n - 1)
        self.explained_variance_ratio_ = values / total if total > 0 else np.zeros(count)
        self.singular_values_ = np.sqrt(values)
        self.n_components_ = count
        left = max(total - float(values.sum()), 0.0) / (n - 1)
        self.noise_variance_ = left / (most - count) if count < most else 0.0
        return self

    def _count(self, most: int) -> int:
        wanted = self.n_components
        if wanted is None:
            return most
        if isinstance(wanted, Integral) and not isinstance(wanted, bool) and 1 <= wanted <= most:
            return int(wanted)
        if not isinstance(wanted, Integral) and 0 < wanted < 1:
            return most
        raise ValueError(
            f"n_components={wanted!r} is not possible: expected a whole number from 1 to {most} "
            "(the smaller of rows and columns), or the share of variance to hold, between 0 and 1."
        )

    def _large(self, n: int, p: int, count: int) -> bool:
        least = min(n, p)
        return float(n) * p * least + 2.0 * least**3 > EXACT and count + 20 < least // 5

    def _wide(self, centred: np.ndarray, count: int, large: bool) -> tuple[np.ndarray, np.ndarray]:
        """(squared singular values (d,), axes (d, p)) of a centred matrix (n, p)."""
        if large:
            self.solver_ = "randomized"
            _, s, axes = randomized_svd(centred, count, n_oversamples=20, n_iter=7, random_state=self.random_state)
            return s**2, axes
        n = len(centred)
        values, vectors = eigh(centred @ centred.T, subset_by_index=(n - count, n - 1), check_finite=False)
        values, vectors = values[::-1], vectors[:, ::-1]
        if values[-1] > 1e-7 * values[0]:
            self.solver_ = "products"
            axes, _ = qr(centred.T @ vectors, mode="economic", check_finite=False)  # orthonormal to the last digits
            return values, axes.T
        self.solver_ = "svd"  # squares would lose the smallest directions
        _, s, axes = svd(centred, full_matrices=False, check_finite=False)
        return s[:count] ** 2, axes[:count]

    def transform(self, X: Any) -> np.ndarray:
        """Coordinates (n, d) of rows (n, p)."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows (n, p) rebuilt from coordinates (n, d)."""
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)
        if X.shape[1] != self.n_components_:
            raise ValueError(f"Coordinates with {X.shape[1]} columns came; expected {self.n_components_}.")
        return (X / pack(self).factor) @ self.components_ + self.mean_

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


def pack(model: Any) -> Components:
    """The fitted model as a scoring step."""
    axes = np.ascontiguousarray(model.components_.T, dtype=np.float64)
    factor = np.ones(axes.shape[1])
    if model.whiten:
        factor = 1.0 / np.sqrt(np.maximum(model.explained_variance_, np.finfo(float).eps))
    return Components(np.asarray(model.mean_, dtype=np.float64), axes, factor)
