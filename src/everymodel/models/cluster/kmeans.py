"""K-means: groups around centres that are the means of their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models.cluster._lloyd import solve
from everymodel.models.cluster._rows import checked, distinct
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.groups import Centers, nearest_center, squared_distances

CARD = {
    "name": "kmeans",
    "title": "K-means",
    "summary": "Puts each row to the nearest of k centres, which are the means of their rows.",
    "choose": "Compact groups of similar size; the first method to try, and quick on any number of rows.",
    "avoid": "Long, nested or very unequal groups, and data with far-off rows, which pull centres away.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 1e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": [
        "Lloyd (1982), Least squares quantization in PCM. IEEE Transactions on Information Theory 28(2).",
        "Fritzke (2020), The breathing k-means algorithm. arXiv 2006.15666.",
    ],
    "advice": ["basic", "big_data", "groups"],
    "priority": 10,
    "parameters": {
        "n_clusters": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of groups.",
        },
    },
    "tiny": [{"n_clusters": 3, "random_state": 0}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.kmeans:KMeans", "tasks": ["cluster"]}},
}


class KMeans(ClusterMixin, TransformerMixin, BaseEstimator):
    """Find k centres with the smallest sum of squared distances from rows to their nearest centre.

    Poor local optima, which a single run of Lloyd's algorithm often ends in, are left by split-merge moves: a group
    is split where that wins more than joining two others costs. There is nothing to set but the number of groups.
    The work is done in float32 where the groups are wide enough for it, and in float64 otherwise; centres, labels and
    inertia are exact in any case.

    Parameters
    ----------
    n_clusters : number of groups, from 1 to the number of different rows.
    max_iter : most of Lloyd's iterations on all rows at the end.
    tol : how far all centres together may still move, squared, as a share of the mean variance of the columns; above 0,
        iterations that win less than 1e-5 of the inertia are spared, too.
    random_state : seed, or numpy RandomState; the same seed gives the same groups.

    Attributes
    ----------
    cluster_centers_ : (k, p) · labels_ : (n,) from 0 to k - 1 · inertia_ : sum of squared distances to the centres ·
    n_iter_ : iterations on all rows at the end.

    Raises
    ------
    ParameterError : `n_clusters` is not a whole number above 0.
    DataError : there are fewer (different) rows than groups.

    References
    ----------
    Lloyd (1982); Fritzke (2020), The breathing k-means algorithm. arXiv 2006.15666.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> round(KMeans(3, random_state=0).fit(load_iris().data).inertia_, 2)
    78.85
    """

    def __init__(self, n_clusters: int = 8, *, max_iter: int = 300, tol: float = 1e-4, random_state: Any = None):
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> KMeans:
        """Find the groups of X (n, p); y is ignored."""
        X, k = checked(self, X), int(self.n_clusters)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        middle = X.mean(axis=0)
        Z = X - middle
        size = float(np.abs(Z).max())
        if size == 0 and k > 1:
            distinct(X, k)
        Z /= size or 1.0
        tol = self.tol * float(Z.var(axis=0).mean())
        for dtype in (np.float32, np.float64):
            part = Z.astype(dtype, copy=False)
            _, label, self.n_iter_ = solve(part, k, rng, self.max_iter, tol)
            centers = np.zeros((k, X.shape[1]))
            sizes = np.bincount(label, minlength=k)
            for j, column in enumerate(Z.T):
                centers[:, j] = np.bincount(label, column, k)
            centers /= np.maximum(sizes, 1)[:, None]
            self.labels_, squares = nearest_center(Z, centers)
            error = float(squares.sum())
            # float32 knows a squared distance to about 3 eps |z|^2: groups must be a hundred times as wide.
            if error > 300 * np.finfo(np.float32).eps * float(np.einsum("ij,ij->", Z, Z)):
                break
            tol = self.tol * error / Z.size  # far rows make the variance of the columns too coarse a measure
        if len(np.unique(self.labels_)) < k:
            distinct(X, k)
        self.cluster_centers_ = centers * size + middle
        self.inertia_ = error * size**2
        self._n_features_out = k
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Number of the nearest centre (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Confidence in each group (n, k): what an equal mixture of round Gaussians of the groups' width says."""
        X = self._read(X)
        return pack(self)(X)

    def transform(self, X: Any) -> np.ndarray:
        """Distance to each centre (n, k)."""
        X = self._read(X)
        return np.sqrt(squared_distances(X, self.cluster_centers_))

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the sum of squared distances of X (n, p) to the nearest centres."""
        X = self._read(X)
        return -float(nearest_center(X, self.cluster_centers_)[1].sum())

    def _read(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    n, p = len(model.labels_), model.cluster_centers_.shape[1]
    spread = float(model.inertia_) / max(n * p, 1)
    return Centers(np.asarray(model.cluster_centers_, dtype=np.float64), max(spread, 1e-12))
