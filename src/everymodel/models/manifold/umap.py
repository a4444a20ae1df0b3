"""UMAP: maps by the package umap-learn, that answer new rows with numpy alone."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.core.optional import require
from everymodel.models.manifold._rows import bounded
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.maps import MapNeighbors

CARD = {
    "name": "umap",
    "title": "UMAP",
    "summary": "Draws a map on which near rows are near, with groups packed tighter than t-SNE's.",
    "choose": "Maps of tens of thousands of rows, where umap-learn is installed.",
    "avoid": "A first look at little data: compiling takes ten seconds. To measure distances between far groups.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "package": "umap", "max_rows": 100000},
    "cost": {"scale": 2e-4, "rows_power": 1.1, "columns_power": 0.1},
    "references": ["McInnes, Healy and Melville (2018), UMAP. arXiv 1802.03426."],
    "advice": ["map", "big_data", "curved"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 3,
            "tune": False,
            "text": "Number of coordinates.",
        },
        "n_neighbors": {
            "type": "int",
            "default": 15,
            "low": 2,
            "high": 1000,
            "log": True,
            "text": "Number of near rows that each row is drawn to.",
        },
        "min_dist": {
            "type": "float",
            "default": 0.1,
            "low": 0.0,
            "high": 1.0,
            "text": "How close rows may lie on the map.",
        },
    },
    "tiny": [{"random_state": 0}],
    "classes": {"reducer": {"class": "everymodel.models.manifold.umap:UMAP", "tasks": ["embed"]}},
}


class UMAP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """umap-learn's map, with t-SNE's rule for new rows: where the pull of their nearest rows' places is at rest.

    Parameters
    ----------
    n_components : 1 to 3 coordinates.
    n_neighbors : near rows that a row is drawn to; at most n - 1.
    min_dist : how close rows may lie on the map.
    random_state : seed; the same seed gives the same map.

    Attributes
    ----------
    embedding_ : (n, d) places · neighbors_ : nearest rows that were used.

    Raises
    ------
    NotInstalledError : umap-learn is not installed.
    """

    def __init__(
        self, n_components: int = 2, *, n_neighbors: int = 15, min_dist: float = 0.1, random_state: Any = None
    ):
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.min_dist = min_dist
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> UMAP:
        """Draw the map of X (n, p); y is ignored."""
        X = bounded(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        if self.n_components not in (1, 2, 3):
            raise ParameterError(f"n_components={self.n_components!r} is not possible: expected 1, 2 or 3.")
        k = min(int(self.n_neighbors), len(X) - 1)
        if k < self.n_neighbors:
            warnings.warn(f"n_neighbors={self.n_neighbors} is more than the {k} other rows; {k} is used.", stacklevel=2)
        if len(X) < 5:
            raise ParameterError(f"UMAP needs at least 5 rows; n_samples={len(X)} came. Use PCA for so few.")
        package = require("umap", "UMAP")
        seed = None if self.random_state is None else int(check_random_state(self.random_state).randint(2**31))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="n_jobs value")
            source = package.UMAP(
                n_components=int(self.n_components),
                n_neighbors=max(k, 2),
                min_dist=float(self.min_dist),
                random_state=seed,
                init="spectral" if len(X) > self.n_components + 10 else "random",
            )
            Y = np.asarray(source.fit_transform(X), dtype=np.float64)
        self.neighbors_ = k
        lost = ~np.isfinite(Y).all(axis=1)
        if lost.any():
            warnings.warn(f"UMAP left {int(lost.sum())} rows without a place; they lie at the middle.", stacklevel=2)
            Y[lost] = Y[~lost].mean(axis=0) if (~lost).any() else 0.0
        self.embedding_ = Y
        self._n_features_out = Y.shape[1]
        self._step = MapNeighbors(X.copy(), Y, k, False)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Places (n, d) of rows (n, p) on the map."""
        check_is_fitted(self)
        return pack(self)(bounded(validate_data(self, X, dtype=np.float64, reset=False)))

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Draw the map of X (n, p) and give its places (n, d)."""
        return self.fit(X).embedding_.copy()


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return model._step
