"""DBSCAN: groups are regions where rows lie close together; rows outside of them are noise."""

from __future__ import annotations

import warnings
from math import log
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from everymodel.core.errors import ParameterError
from everymodel.models._answers import GroupsAndNoise
from everymodel.models.cluster._density import measurable, neighbours, spanning_tree
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.density import NearestGroup

CARD = {
    "name": "dbscan",
    "title": "DBSCAN",
    "summary": "Joins rows that lie densely together to groups of any shape, and calls the others noise.",
    "choose": "Groups of odd shapes among scattered noise, when the number of groups is not known.",
    "avoid": "Groups of very unequal density (HDBSCAN does those), and many columns, where all distances become alike.",
    "gives": ["probabilities", "noise"],
    "needs": {"scaling": "standard", "max_rows": 100000},
    "cost": {"scale": 3.6e-8, "rows_power": 1.7, "columns_power": 0.43},
    "references": [
        "Ester, Kriegel, Sander and Xu (1996), A density-based algorithm for discovering clusters in large spatial "
        "databases with noise. KDD.",
        "Schubert, Sander, Ester, Kriegel and Xu (2017), DBSCAN revisited, revisited. ACM TODS 42(3).",
    ],
    "advice": ["groups", "irregular", "outliers", "few_columns"],
    "priority": 40,
    "parameters": {
        "eps": {
            "type": "float",
            "default": None,
            "low": 1e-12,
            "high": 1e12,
            "log": True,
            "text": "Distance up to which rows are neighbours; by default where groups stay the same longest.",
        },
        "min_samples": {
            "type": "int",
            "default": 5,
            "low": 1,
            "high": 1000,
            "log": True,
            "text": "Neighbours, itself counted, that make a row part of a core; more of them find denser groups.",
        },
    },
    "presets": [{"min_samples": 10}, {"min_samples": 5}],
    "tiny": [{}, {"eps": 2.0, "min_samples": 4}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.dbscan:DBSCAN", "tasks": ["cluster"]}},
}

_CELLS = 4_000_000  # neighbours that may be held in memory at once
_LOOKED_AT = 10_000  # rows among which eps is looked for
_LARGE = 0.02  # share of the rows from which on a group counts when eps is looked for
_LASTING = 1.08  # how much farther rows must reach for groups to change: chance makes groups that stay for less


class DBSCAN(GroupsAndNoise, ClusterMixin, BaseEstimator):
    """Find groups as regions of high density (Ester et al. 1996).

    A row is a core row if at least `min_samples` rows, itself counted, lie within `eps`. Core rows within eps of one
    another share a group. Any other row, be it of the fit or new, belongs to the group of the nearest core row if that
    is within eps, and else is noise (-1). Scikit-learn gives a row between two groups to the group found first; apart
    from that the groups are the same. Memory grows with the number of rows, not with its square.

    Confidence: at distance d of its nearest core row a row has 1 - d / 2 eps of that group, and beyond eps, where it is
    noise, eps / 2d.

    Parameters
    ----------
    eps : distance up to which rows are neighbours, above zero. None or "auto": as eps grows, groups form, swallow noise
        and merge. Over each stretch of eps in which the number of large groups (2 % of the rows or more) stays the
        same, the share of rows in them times the entropy of their sizes is summed up over 1 / eps, as HDBSCAN measures
        how long a group persists; eps is the end of the stretch with the largest sum. Where half of the rows are never
        in two such groups for long, the sorted distances of the rows to their `min_samples`-th nearest row form a curve
        that bends where noise begins; eps is the distance at the bend, where the curve of the logarithms is furthest
        below its chord.
    min_samples : at least 1.

    Attributes
    ----------
    eps_ : the distance used. labels_ (n,) : -1 is noise. core_sample_indices_ (c,), components_ (c, p) : core rows.

    Raises
    ------
    ParameterError : for an eps that is not above zero or a min_samples below 1.

    Examples
    --------
    >>> from everymodel import DBSCAN
    >>> DBSCAN(min_samples=2).fit([[0.0], [0.1], [5.0], [5.1], [40.0]]).labels_.tolist()
    [0, 0, 1, 1, -1]
    """

    def __init__(self, eps: float | str | None = None, min_samples: int = 5):
        self.eps = eps
        self.min_samples = min_samples

    def fit(self, X: Any, y: Any = None) -> DBSCAN:
        """Find the groups of X (n, p); y is ignored."""
        auto = self.eps is None or self.eps == "auto"
        if not auto and not (isinstance(self.eps, int | float | np.number) and 0 < self.eps < np.inf):
            raise ParameterError(f"eps={self.eps!r} is not possible: expected a distance above zero, or None.")
        k = self.min_samples
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ParameterError(f"min_samples={k!r} is not possible: expected a whole number of at least 1.")
        X = measurable(validate_data(self, X, dtype=np.float64))
        n = len(X)
        if k > n:
            warnings.warn(f"There are {n} rows, fewer than min_samples={k}: all of them are noise.", stacklevel=2)
            self.eps_ = 1.0 if auto else float(self.eps)
            core = np.zeros(n, dtype=bool)
        else:
            # of rows alone the nearest other one tells the scale
            distance = neighbours(X, max(k, min(2, n)))[0]
            self.eps_ = _radius(X, distance[:, max(k - 1, min(1, n - 1))], int(k)) if auto else float(self.eps)
            core = distance[:, k - 1] <= self.eps_
        self.core_sample_indices_ = np.flatnonzero(core)
        self.components_ = X[core]
        self.labels_ = np.full(n, -1)
        self._groups = _connect(self.components_, self.eps_)
        self.labels_[core] = self._groups
        if core.any() and not core.all():
            answer = pack(self)(X[~core])
            found = answer.argmax(axis=1)
            self.labels_[~core] = np.where(found == answer.shape[1] - 1, -1, found)
        return self

    def _step(self) -> Step:
        return pack(self)


def _radius(X: np.ndarray, distance: np.ndarray, k: int) -> float:
    """The eps for rows X (n, p) whose k-th nearest rows are at `distance` (n,): see `DBSCAN`.

    Of many rows some are looked at. They lie less densely, so what they tell is not a distance, but the share of rows
    that are core rows.
    """
    n = len(X)
    rows = np.linspace(0, n - 1, min(n, _LOOKED_AT)).astype(np.int64)
    if n > 2:
        ends, length, reach, _ = spanning_tree(X[rows], max(min(k, len(rows)), 2))
        eps = _longest_plateau(ends, length, max(k, int(_LARGE * len(rows)), 2))
        if eps is not None:
            return eps if len(rows) == n else float(np.quantile(distance, (reach <= eps).mean()))
    return _bend(X, distance)


def _longest_plateau(ends: np.ndarray, length: np.ndarray, large: int) -> float | None:
    """The end of the stretch over which groups of `large` rows persist longest; None where none is worth the name.

    That is: half of the rows are in two or more such groups, while eps grows by 8 %. Data without groups fall apart
    as well, but not for long, or into a few crumbs.

    ends (n - 1, 2), length (n - 1,) : the spanning tree, whose ties up to eps connect the core rows of each group.
    """
    order = np.argsort(length, kind="stable")
    steps = np.maximum(length[order], np.min(length, where=length > 0, initial=np.inf))
    if not np.isfinite(steps[-1]):
        return None
    n = len(length) + 1
    parent, size = list(range(n)), [1] * n
    groups, rows, logs = 0, 0, 0.0  # large ones, the rows in them, the sum of their sizes' s log s
    best, found, total, before, start = 0.0, None, 0.0, 0, 0.0

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for (a, b), step, after in zip(ends[order].tolist(), steps.tolist(), [*steps[1:].tolist(), float(steps[-1])]):
        a, b = root(a), root(b)
        parent[a] = b
        for s, sign in ((size[a], -1), (size[b], -1), (size[a] + size[b], 1)):
            if s >= large:
                groups, rows, logs = groups + sign, rows + sign * s, logs + sign * s * log(s)
        size[b] += size[a]
        if after == step:  # ties of one length come at once
            continue
        if groups != before:
            total, before, start = 0.0, groups, step
        if groups > 1:
            total += (1.0 / step - 1.0 / after) * (rows * log(rows) - logs)  # rows times entropy
            if total > best and 2 * rows >= n and after >= _LASTING * start:
                best, found = total, step
    return found


def _bend(X: np.ndarray, distance: np.ndarray) -> float:
    """Where the sorted distances (n,) begin to rise: their logarithms are furthest below the chord there.

    Logarithms, because a single row far off would otherwise pull the chord so steep that every other row is below it.
    """
    d = np.sort(distance[distance > 0])
    if not len(d):  # every row has its equals: half of the least distance between different rows
        different = np.unique(X, axis=0)
        return float(neighbours(different, 2)[0][:, 1].min()) / 2 if len(different) > 1 else 1.0
    level = np.log(d)
    rise = (level - level[0]) / max(level[-1] - level[0], 1e-300)
    return float(d[int(np.argmax(np.linspace(0.0, 1.0, len(d)) - rise))]) if level[-1] > level[0] else float(d[-1])


def _connect(core: np.ndarray, eps: float) -> np.ndarray:
    """Group (c,) of each core row (c, p): those that steps of at most eps connect, numbered as they come."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import NearestNeighbors

    n = len(core)
    group, k = np.arange(n), n
    if not n:
        return group
    search = NearestNeighbors(radius=eps).fit(core)
    size = max(1, _CELLS // n)
    for start in range(0, n, size):
        if k == 1:
            break
        near = search.radius_neighbors(core[start : start + size], return_distance=False)
        row = np.repeat(group[start : start + size], [len(found) for found in near])
        other = group[np.concatenate(near)]
        new = row != other  # few, as soon as the groups have formed
        if new.any():
            graph = coo_matrix((np.ones(int(new.sum()), dtype=bool), (row[new], other[new])), shape=(k, k))
            k, joined = connected_components(graph, directed=False)
            group = joined[group]
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds the core rows."""
    groups = np.asarray(model._groups, dtype=np.int32)
    return NearestGroup(model.components_, groups, np.full(int(groups.max(initial=-1)) + 1, float(model.eps_)))
