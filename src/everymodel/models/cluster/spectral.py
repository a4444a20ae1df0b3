"""Spectral clustering: cuts the graph of nearest neighbours where it is thinnest."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, eigsh
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.neighbors import kneighbors_graph
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import DataError, ParameterError
from everymodel.models.cluster._lloyd import solve
from everymodel.models.cluster._rows import checked, distinct
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.neighbors import Neighbors

MOST = 30_000  # rows: beyond, the eigenvectors of the graph take minutes

CARD = {
    "name": "spectral",
    "title": "Spectral clustering",
    "summary": "Cuts the graph that joins each row to its nearest neighbours where the fewest links are lost.",
    "choose": "Groups of any shape (rings, moons, bands) when their number is known; up to some thousand rows.",
    "avoid": "Many rows, noise between the groups, and groups of very different density.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_rows": 10000},
    "cost": {"scale": 3e-7, "rows_power": 1.6, "columns_power": 0.2},
    "references": [
        "Ng, Jordan and Weiss (2001), On spectral clustering: analysis and an algorithm. NIPS 14.",
        "von Luxburg (2007), A tutorial on spectral clustering. Statistics and Computing 17(4).",
    ],
    "advice": ["groups", "irregular", "small_data"],
    "priority": 50,
    "parameters": {
        "n_clusters": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 200,
            "tune": False,
            "text": "Number of groups.",
        },
        "n_neighbors": {
            "type": "int",
            "default": 10,
            "low": 2,
            "high": 100,
            "log": True,
            "text": "Neighbours that each row is joined to; more are taken where the graph would fall apart.",
        },
    },
    "tiny": [{"n_clusters": 3, "random_state": 0}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.spectral:SpectralClustering", "tasks": ["cluster"]}},
}


class SpectralClustering(ClusterMixin, BaseEstimator):
    """Group rows by the leading eigenvectors of D^-1/2 W D^-1/2, W the symmetric graph of nearest neighbours.

    Rows of the k leading eigenvectors, brought to length 1, are grouped by k-means (Ng, Jordan and Weiss 2001). A new
    row gets the group that most of its nearest rows of the fit are in, the closer the more weight.

    Parameters
    ----------
    n_clusters : number of groups, from 1 to the number of different rows.
    n_neighbors : neighbours that each row is joined to; doubled while the graph has more parts than groups.
    random_state : seed.

    Attributes
    ----------
    labels_ : (n,) · n_neighbors_ : neighbours used · n_parts_ : unconnected parts of the graph.

    Raises
    ------
    ParameterError : `n_clusters` or `n_neighbors` cannot be.
    DataError : fewer (different) rows than groups, or more rows than the eigenvectors can be found for in minutes.

    Examples
    --------
    >>> from sklearn.datasets import make_circles
    >>> X, ring = make_circles(200, factor=0.4, noise=0.03, random_state=0)
    >>> labels = SpectralClustering(2, random_state=0).fit_predict(X)
    >>> len(set(zip(labels.tolist(), ring.tolist())))
    2
    """

    def __init__(self, n_clusters: int = 8, *, n_neighbors: int = 10, random_state: Any = None):
        self.n_clusters = n_clusters
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> SpectralClustering:
        """Find the groups of X (n, p); y is ignored."""
        if not isinstance(self.n_neighbors, int | np.integer) or self.n_neighbors < 1:
            raise ParameterError(f"n_neighbors={self.n_neighbors!r} is not possible: expected a whole number from 1.")
        X, k = checked(self, X, least=2), int(self.n_clusters)
        n = len(X)
        if n > MOST:
            raise DataError(
                f"Spectral clustering of {n} rows needs the eigenvectors of a graph of that size: fit a sample of at "
                f"most {MOST} rows and predict the others, or use HDBSCAN or KMeans."
            )
        distinct(X, k)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        reach = min(int(self.n_neighbors), n - 1)
        while True:
            graph = kneighbors_graph(X, reach, include_self=False)
            graph = 0.5 * (graph + graph.T)
            self.n_parts_, part = connected_components(graph, directed=False)
            if self.n_parts_ <= k or reach == n - 1:
                break
            reach = min(2 * reach, n - 1)
        self.n_neighbors_ = reach
        if self.n_parts_ == k:
            self.labels_ = part.astype(np.int64)
        else:
            place = _leading(graph, part, k, rng)
            place /= np.maximum(np.sqrt(np.einsum("ij,ij->i", place, place)), 1e-300)[:, None]
            place -= place.mean(axis=0)
            _, self.labels_, _ = solve(place, k, rng, 300, 1e-6 * float(place.var(axis=0).mean()))
        self.labels_ = np.unique(self.labels_, return_inverse=True)[1]
        self.n_clusters_ = int(self.labels_.max()) + 1
        self._fit_X = X
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The group of most of the nearest rows (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Shares (n, k) of the groups among the nearest rows, each weighing 1 / distance."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))


def _leading(graph: Any, part: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Eigenvectors (n, k) of the k largest eigenvalues of D^-1/2 W D^-1/2.

    part : (n,) the unconnected part of the graph that each row is in. Every part has the eigenvalue 1 once, and solvers
    that start from one vector lose their way among equal eigenvalues, so each part is solved by itself.
    """
    root = 1.0 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-300))
    walk = (diags(root) @ graph @ diags(root)).tocsr()
    parts = int(part.max()) + 1
    values, vectors = [], []
    for i in range(parts):
        at = np.flatnonzero(part == i)
        found, places = _largest(walk[at][:, at], min(k - parts + 1, len(at)), rng)
        whole = np.zeros((len(part), len(found)))
        whole[at] = places
        values.append(found)
        vectors.append(whole)
    order = np.argsort(-np.concatenate(values), kind="stable")[:k]
    return np.concatenate(vectors, axis=1)[:, order]


def _largest(walk: Any, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n = walk.shape[0]
    if n <= 400 or k >= n - 1:
        values, vectors = np.linalg.eigh(walk.toarray())
        return values[-k:], vectors[:, -k:]
    start = rng.uniform(-1, 1, n)
    try:
        return eigsh(walk, k, which="LA", v0=start, ncv=min(n, max(4 * k + 1, 40)), tol=1e-7, maxiter=100)
    except ArpackError:  # eigenvalues close to 1 lie far apart for the inverse of 1.0001 - W, which costs more memory
        return eigsh(walk.tocsc(), k, sigma=1.0001, which="LM", v0=start)


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds the prepared rows."""
    nearest = min(5, len(model._fit_X))
    classes = int(model.labels_.max()) + 1
    return Neighbors(
        np.ascontiguousarray(model._fit_X), model.labels_.astype(np.int32), k=nearest, weights="distance",
        gives="probabilities", classes=classes,
    )  # fmt: skip
