"""Multidimensional scaling: a map whose distances are those of the rows, as nearly as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models.manifold._rows import bounded
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.maps import MapDistances

CARD = {
    "name": "multidimensional_scaling",
    "title": "Multidimensional scaling",
    "summary": "Draws a map whose distances are as near as can be to the distances between rows.",
    "choose": "Some thousands of rows whose distances, near and far, are to be read off a map.",
    "avoid": "Many rows: time and memory grow with their square. To tell close groups apart.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "max_rows": 3000},
    "cost": {"scale": 2e-6, "rows_power": 2.0, "columns_power": 0.1},
    "references": [
        "Borg and Groenen (2005), Modern multidimensional scaling. Springer.",
        "Gower (1968), Adding a point to vector diagrams in multivariate analysis. Biometrika 55(3).",
    ],
    "advice": ["map", "small_data"],
    "priority": 25,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "Number of coordinates.",
        },
        "classical": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether to keep products of rows, in one stroke, in the place of distances.",
        },
        "max_iter": {
            "type": "int",
            "default": 300,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Most steps of the descent of stress.",
        },
    },
    "tiny": [{}, {"n_components": 3, "classical": True}],
    "classes": {
        "reducer": {"class": "everymodel.models.manifold.multidimensional_scaling:MDS", "tasks": ["embed", "reduce"]}
    },
}

PLACED = 100  # steps that a new row's place is given


class MDS(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Find places whose distances are those of the rows, as nearly as can be.

    Classical scaling (of straight distances it is PCA) gives the start; the stress, the sum of squared differences
    between the distances of places and rows, then falls step by step (SMACOF). There is no luck in it: the same rows
    give the same map. A new row is placed by Gower's formula, then by the same descent with the map held.

    Parameters
    ----------
    n_components : coordinates, at most min(n - 1, p) with `classical`.
    classical : stop at the start.
    max_iter, eps : the descent ends after so many steps, or when a step wins a smaller share of the stress.

    Attributes
    ----------
    embedding_ : (n, d) places · stress_ : sum of squared differences over all pairs · normalized_stress_ : its root as
    a share of the rows' distances (Kruskal's stress 1) · n_iter_ : steps.

    Raises
    ------
    ParameterError : `n_components` is not a whole number above 0.
    """

    def __init__(self, n_components: int = 2, *, classical: bool = False, max_iter: int = 300, eps: float = 1e-6):
        self.n_components = n_components
        self.classical = classical
        self.max_iter = max_iter
        self.eps = eps

    def fit(self, X: Any, y: Any = None) -> MDS:
        """Draw the map of X (n, p); y is ignored."""
        X = bounded(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        d = self.n_components
        if isinstance(d, bool) or not isinstance(d, int | np.integer) or d < 1:
            raise ParameterError(f"n_components={d!r} is not possible: expected a whole number above 0.")
        far = pdist(X)
        whole = squareform(far)
        Y, mean = _classical(whole, int(d))
        self.n_iter_ = 1
        if not self.classical:
            Y, self.n_iter_ = _descend(whole, Y, self.max_iter, self.eps)
            mean = np.einsum("ij,ij->i", Y - Y.mean(axis=0), Y - Y.mean(axis=0))
        gap = float(np.square(pdist(Y) - far).sum())
        self.stress_ = gap
        self.normalized_stress_ = float(np.sqrt(gap / max(float(np.square(far).sum()), 1e-300)))
        self.embedding_ = Y
        self._n_features_out = int(d)
        centred = Y - Y.mean(axis=0)
        back = np.linalg.pinv(centred.T @ centred, rcond=1e-10, hermitian=True)
        self._step = MapDistances(X.copy(), Y, 0.5 * centred @ back, mean, 0 if self.classical else PLACED)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Places (n, d) of rows (n, p) on the map."""
        check_is_fitted(self)
        return pack(self)(bounded(validate_data(self, X, dtype=np.float64, reset=False)))

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Draw the map of X (n, p) and give its places (n, d)."""
        return self.fit(X).embedding_.copy()


def _classical(far: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, d) from distances (n, n), and the rows' mean squared distances (n,)."""
    from scipy.linalg import eigh

    square = far**2
    mean = square.mean(axis=0)
    n, kept = len(far), min(d, len(far))
    product = -0.5 * (square - mean - mean[:, None] + mean.mean())
    values, vectors = eigh(product, subset_by_index=(n - kept, n - 1))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    values[values < 1e-12 * max(float(values[0]), 1e-300)] = 0.0
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(kept)] < 0, -1.0, 1.0)
    places = np.column_stack([vectors * np.sqrt(values), np.zeros((n, d - kept))])
    return places, mean


def _descend(far: np.ndarray, Y: np.ndarray, most: int, eps: float) -> tuple[np.ndarray, int]:
    """SMACOF: (places, steps)."""
    n = len(far)
    before = np.inf
    for i in range(most):
        length = cdist(Y, Y)
        stress = float(np.square(length - far).sum())
        if before - stress <= eps * stress:
            return Y, max(i, 1)
        before = stress
        share = np.divide(far, length, out=np.zeros_like(far), where=length > 0)
        Y = (share.sum(axis=1)[:, None] * Y - share @ Y) / n
    return Y, most


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return model._step
