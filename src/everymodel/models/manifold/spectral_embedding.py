"""Spectral embedding: a map of how a random walk from row to row spreads."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import sklearn.manifold
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models.manifold._rows import bounded
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.maps import MapAverage

CARD = {
    "name": "spectral_embedding",
    "title": "Spectral embedding",
    "summary": "Draws a map from the slowest directions of a random walk between near rows (Laplacian eigenmaps).",
    "choose": "Bent sheets and chains of groups; as a first step before clustering.",
    "avoid": "Groups without any row between them: the coordinates then only say which group a row is in.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "max_rows": 10000},
    "cost": {"scale": 4e-6, "rows_power": 1.5, "columns_power": 0.3},
    "references": [
        "Belkin and Niyogi (2003), Laplacian eigenmaps for dimensionality reduction. Neural Computation 15."
    ],
    "advice": ["map", "curved", "groups"],
    "priority": 30,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "Number of coordinates.",
        },
        "affinity": {
            "type": "choice",
            "default": "nearest_neighbors",
            "choices": ["nearest_neighbors", "rbf"],
            "tune": False,
            "text": "Whether the walk goes to near rows alone, or to all with a chance that falls with distance.",
        },
        "n_neighbors": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 1000,
            "log": True,
            "text": "Number of near rows, itself among them; by default a tenth of the rows, at least 10, at most 50.",
        },
        "gamma": {
            "type": "float",
            "default": None,
            "low": 1e-6,
            "high": 1e3,
            "log": True,
            "text": "How fast the chance falls with squared distance; by default 1 over the number of columns.",
        },
    },
    "tiny": [{}, {"affinity": "rbf", "n_components": 3, "gamma": 0.05}],
    "classes": {
        "reducer": {
            "class": "everymodel.models.manifold.spectral_embedding:SpectralEmbedding",
            "tasks": ["embed", "reduce"],
        }
    },
}


class SpectralEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, sklearn.manifold.SpectralEmbedding):
    """Scikit-learn's spectral embedding, with places for new rows.

    The coordinates are eigenvectors of the random walk between rows, so that each row lies at the mean of the rows
    it walks to, times 1 / eigenvalue; a new row's place is found by the same rule (Nystroem, Bengio et al. 2003).

    Parameters
    ----------
    n_components : coordinates.
    affinity : "nearest_neighbors" or "rbf".
    gamma : of "rbf"; by default 1 / p.
    n_neighbors : of "nearest_neighbors", the row itself among them; by default n / 10, at least 10 and at most 50.
    random_state, eigen_solver, eigen_tol, n_jobs : as in scikit-learn.

    Attributes
    ----------
    embedding_ : (n, d) places · affinity_matrix_ : (n, n) · eigenvalues_ : (d,) of the random walk, at most 1.
    """

    def fit(self, X: Any, y: Any = None) -> SpectralEmbedding:
        """Draw the map of X (n, p); y is ignored."""
        X = bounded(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        if self.affinity not in ("nearest_neighbors", "rbf"):
            raise ValueError(f"affinity={self.affinity!r} is not possible: expected 'nearest_neighbors' or 'rbf'.")
        asked = self.n_neighbors
        n = len(X)
        self.n_neighbors = min(asked or min(max(n // 10, 10), 50), n)
        try:
            if self.random_state is None:  # the solver's start alone: no reason to differ from run to run
                self.random_state = 0
                try:
                    super().fit(X)
                finally:
                    self.random_state = None
            else:
                super().fit(X)
        finally:
            self.n_neighbors = asked
        A = self.affinity_matrix_
        A = np.asarray(A.toarray() if hasattr(A, "toarray") else A, dtype=np.float64).copy()
        np.fill_diagonal(A, 0.0)
        places = np.asarray(self.embedding_, dtype=np.float64)
        walked = A @ places
        weight = A.sum(axis=1)
        values = np.einsum("ij,ij->j", places, walked) / np.maximum(np.einsum("ij,i->j", places**2, weight), 1e-300)
        if (np.abs(values) < 1e-6).any():
            warnings.warn("New rows cannot be placed along directions in which a walk dies out at once.", stacklevel=2)
        self.eigenvalues_ = values
        factor = np.where(np.abs(values) < 1e-6, 0.0, 1.0 / np.where(np.abs(values) < 1e-6, 1.0, values))
        gamma = 0.0
        if self.affinity == "rbf":
            gamma = float(self.gamma_)
        near = max(min(self.n_neighbors_ - 1, n), 1) if self.affinity == "nearest_neighbors" else 1
        self._n_features_out = places.shape[1]
        self._step = MapAverage(X.copy(), places, factor, int(near), gamma)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags

    def transform(self, X: Any) -> np.ndarray:
        """Places (n, d) of rows (n, p) on the map."""
        check_is_fitted(self)
        return pack(self)(bounded(validate_data(self, X, dtype=np.float64, reset=False)))

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Draw the map of X (n, p) and give its places (n, d)."""
        return self.fit(X).embedding_


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return model._step
