"""Agglomerative clustering: rows join to groups, and groups to larger ones, as a tree."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.cluster.hierarchy import linkage as tree_of
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import DataError, ParameterError
from everymodel.models.cluster._rows import checked, distinct
from everymodel.models.cluster._ward import ward_tree
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.groups import Centers, Linkage

LINKAGES = ("ward", "complete", "average", "single")
MOST = 15_000  # rows whose pairs fit into memory (0.9 GB)

CARD = {
    "name": "agglomerative",
    "title": "Agglomerative clustering",
    "summary": "Joins the two closest groups again and again, which gives a tree of groups of every size.",
    "choose": "When groups within groups matter, or the tree itself; moderate numbers of rows.",
    "avoid": "Very many rows, for time grows with their square; noise, with single linkage.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_rows": 20000},
    "cost": {"scale": 1.1e-9, "rows_power": 2.0, "columns_power": 0.7},
    "references": [
        "Ward (1963), Hierarchical grouping to optimize an objective function. JASA 58(301).",
        "Muellner (2011), Modern hierarchical, agglomerative clustering algorithms. arXiv 1109.2378.",
    ],
    "advice": ["groups", "hierarchy", "small_data"],
    "priority": 30,
    "parameters": {
        "n_clusters": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of groups.",
        },
        "linkage": {
            "type": "choice",
            "default": "ward",
            "choices": ["ward", "complete", "average", "single"],
            "text": "What makes groups close: 'ward' the variance that joining adds, the others a distance of rows.",
        },
    },
    "tiny": [
        {"n_clusters": 3},
        {"n_clusters": 3, "linkage": "average"},
        {"n_clusters": 2, "linkage": "complete"},
        {"n_clusters": 2, "linkage": "single"},
    ],
    "classes": {
        "clusterer": {
            "class": "everymodel.models.cluster.agglomerative:AgglomerativeClustering",
            "tasks": ["cluster"],
        }
    },
}


class AgglomerativeClustering(ClusterMixin, BaseEstimator):
    """Join the closest groups until `n_clusters` are left; new rows go to the group they would join first.

    The cost of joining a new row x to a group of s rows with the mean c is, squared, s / (s + 1) ||x - c||^2 for
    "ward", and the largest, mean or smallest distance from x to the group's rows for "complete", "average" and
    "single"; it is 0 for a row that is already among them. Where groups overlap, "ward" may put a row of the
    fit elsewhere than the tree did: `labels_` says what the tree did, `predict` what the criterion says.

    Ward's tree needs memory for the rows only; the others hold the distances of all pairs, and all rows to answer.

    Parameters
    ----------
    n_clusters : number of groups, from 1 to the number of different rows.
    linkage : "ward", "complete", "average" or "single"; distances are Euclidean.

    Attributes
    ----------
    labels_ : (n,), groups numbered by size, the largest first · children_ : (n - 1, 2) nodes joined, row i is node i
    and merge t is node n + t · distances_ : (n - 1,) heights, rising · n_clusters_ · n_leaves_.

    Raises
    ------
    ParameterError : `n_clusters` or `linkage` cannot be.
    DataError : fewer (different) rows than groups; too many rows for the pairs to fit into memory.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> AgglomerativeClustering(3).fit(load_iris().data).predict([[5.1, 3.5, 1.4, 0.2]])
    array([1])
    """

    def __init__(self, n_clusters: int = 8, *, linkage: str = "ward"):
        self.n_clusters = n_clusters
        self.linkage = linkage

    def fit(self, X: Any, y: Any = None) -> AgglomerativeClustering:
        """Build the tree of X (n, p) and cut it; y is ignored."""
        if self.linkage not in LINKAGES:
            raise ParameterError(f"linkage={self.linkage!r} is not possible: expected one of {', '.join(LINKAGES)}.")
        X = checked(self, X, least=2)
        n, k = len(X), int(self.n_clusters)
        if self.linkage == "ward":
            self.children_, self.distances_ = ward_tree(X)
        else:
            if n > MOST:
                raise DataError(
                    f"{n} rows have {n * (n - 1) // 2:,} pairs, which {self.linkage} linkage holds in memory "
                    f"({n * n * 4 / 1e9:.1f} GB). Use linkage='ward', fit a sample of {MOST} rows, or use KMeans."
                )
            merges = tree_of(X, self.linkage)
            self.children_, self.distances_ = merges[:, :2].astype(np.int64), merges[:, 2]
        if k > 1 and self.distances_[n - k] <= 0:
            distinct(X, k)
        self.n_leaves_, self.n_clusters_ = n, k
        self.labels_ = cut(self.children_, n, k)
        sizes = np.bincount(self.labels_, minlength=k)
        means = np.stack([np.bincount(self.labels_, x, k) for x in X.T], axis=1) / sizes[:, None]
        spread = max(float(((X - means[self.labels_]) ** 2).mean()), 1e-12)
        if self.linkage == "ward":
            self._step: Step = Centers(means, spread, weights=sizes / (sizes + 1.0))
        else:
            order = np.argsort(self.labels_, kind="stable")
            ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            if self.linkage == "single":  # groups may be long: what counts is how far apart neighbours in them are
                spread = max(float((self.distances_[: n - k] ** 2).mean()) if n > k else 0.0, 1e-12)
            self._step = Linkage(X[order], ends, self.linkage, spread)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The group that each row would join first (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Confidence in each group (n, k): exp(-cost^2 / (2 v)), normalised.

        v is the variance within groups, for "single" the mean squared height of the merges within them.
        """
        check_is_fitted(self)
        return self._step(validate_data(self, X, dtype=np.float64, reset=False))

    def dendrogram(self, most: int = 60) -> dict[str, Any]:
        """The last merges as plain data: see `dendrogram`."""
        check_is_fitted(self)
        return dendrogram(self.children_, self.distances_, self.labels_, most)


def cut(children: np.ndarray, n: int, k: int) -> np.ndarray:
    """Labels (n,) of the k groups that are left after n - k merges, the largest group first."""
    nodes = _members(children, n, k)
    sizes = np.bincount(nodes, minlength=k)
    place = np.empty(k, dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(k)
    return place[nodes]


def _members(children: np.ndarray, n: int, k: int) -> np.ndarray:
    """(n,) which of the k nodes that are left after n - k merges each row is below; nodes in their own order."""
    top = np.full(2 * n - 1, -1, dtype=np.int64)
    done = n - k
    inner = children[:done].ravel()
    left = np.setdiff1d(np.arange(n + done), inner)
    top[left] = np.arange(k)
    for t in range(done - 1, -1, -1):
        top[children[t]] = top[n + t]
    return top[:n]


def dendrogram(children: np.ndarray, heights: np.ndarray, labels: np.ndarray, most: int = 60) -> dict[str, Any]:
    """The last `most` merges of a tree as plain data, for drawing.

    Returns a dict with `leaves`, the nodes below which nothing is drawn, [{"rows", "group"}] (group: that of most of
    its rows), and `merges`, [[a, b, height, rows]]: a and b are leaves 0 to L - 1, or L + t for the t-th merge listed.
    """
    n = len(children) + 1
    m = min(most, n - 1)
    at = _members(children, n, m + 1)
    left = np.setdiff1d(np.arange(2 * n - 1 - m), children[: n - 1 - m].ravel())  # nodes of the leaves
    number = {int(node): i for i, node in enumerate(left)}
    sizes = np.bincount(at, minlength=m + 1)
    votes = np.zeros((m + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(votes, (at, labels), 1)
    rows = sizes.tolist()
    merges = []
    for t in range(m):
        a, b = (number[int(c)] for c in children[n - 1 - m + t])
        number[2 * n - 1 - m + t] = m + 1 + t
        rows.append(rows[a] + rows[b])
        merges.append([a, b, float(heights[n - 1 - m + t]), rows[-1]])
    leaves = [{"rows": int(r), "group": int(g)} for r, g in zip(sizes, votes.argmax(axis=1))]
    return {"leaves": leaves, "merges": merges}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; all linkages but Ward's hold the prepared rows."""
    return model._step
