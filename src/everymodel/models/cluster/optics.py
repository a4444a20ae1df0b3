"""OPTICS: orders rows by reachability, so that dense groups of any density show as valleys."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import cluster_optics_xi
from sklearn.utils.validation import validate_data

from everymodel.core.errors import ParameterError
from everymodel.models._answers import GroupsAndNoise
from everymodel.models.cluster._density import measurable, neighbours
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.density import Reachability

CARD = {
    "name": "optics",
    "title": "OPTICS",
    "summary": "Walks from row to nearest row; groups are the stretches of the walk with short steps.",
    "choose": "Groups of unequal density among noise, and to draw how dense the data are (the reachability plot).",
    "avoid": "More than some ten thousand rows, and overlapping groups; HDBSCAN is quicker and mostly better.",
    "gives": ["probabilities", "noise"],
    "needs": {"scaling": "standard", "max_rows": 20000},
    "cost": {"scale": 1.5e-7, "rows_power": 1.58, "columns_power": 0.46},
    "references": [
        "Ankerst, Breunig, Kriegel and Sander (1999), OPTICS: ordering points to identify the clustering structure. "
        "ACM SIGMOD Record 28(2).",
    ],
    "advice": ["groups", "irregular", "outliers", "small_data"],
    "priority": 80,
    "parameters": {
        "min_samples": {
            "type": "int",
            "default": 10,
            "low": 2,
            "high": 1000,
            "log": True,
            "text": "Neighbours, itself counted, that density is measured by.",
        },
        "xi": {
            "type": "float",
            "default": 0.1,
            "low": 0.0001,
            "high": 0.9,
            "log": True,
            "text": "Fall in reachability, as a share, at which a group begins.",
        },
        "min_cluster_size": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 100000,
            "log": True,
            "text": "Fewest rows that count as a group; by default 5 % of all, and at least `min_samples`.",
        },
    },
    "presets": [{"min_samples": 10}, {"min_samples": 20}],
    "tiny": [{"min_samples": 5, "min_cluster_size": 12}, {"min_samples": 8, "xi": 0.1}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.optics:OPTICS", "tasks": ["cluster"]}},
}

_LEAST = 0.05  # share of the rows that counts as a group


class OPTICS(GroupsAndNoise, ClusterMixin, BaseEstimator):
    """Order rows so that neighbours follow one another, and cut groups out of the order (Ankerst et al. 1999).

    The walk begins at the first row and goes on, each time, to the row with the least reachability from the rows
    visited: max(core distance of the visited row, distance), a row's core distance being that to its `min_samples`-th
    nearest row, itself counted. Groups are the valleys of reachability along the walk whose walls fall and rise by a
    share of at least xi (scikit-learn's `cluster_optics_xi`); of nested valleys the innermost ones are the groups.

    A new row belongs to the group of the row from which it is reached first, j of that group with the least
    r = max(core distance of j, distance), the new row counted among j's neighbours, if r is at most the largest
    reachability within the group, where the walk would still have gone on; else it is noise. Rows of the fit keep their
    label. Confidence: (1 + c / r) / 2, with c the least core distance in the group, and core distances in the place of
    r for rows of the fit.

    Parameters
    ----------
    min_samples : at least 2. xi : between 0 and 1. min_cluster_size : fewest rows of a group; None for 5 % of the rows,
        and at least `min_samples`: of smaller valleys there are many in any walk.

    Attributes
    ----------
    labels_ (n,) : -1 is noise. ordering_ (n,) : row numbers in the order of the walk. reachability_ (n,),
    core_distances_ (n,), predecessor_ (n,) : by row number. cluster_hierarchy_ (c, 2) : first and last place in the
    order of every valley, nested ones included.

    Examples
    --------
    >>> from everymodel import OPTICS
    >>> X = [[40.0], [0.0], [0.1], [0.2], [0.3], [5.0], [5.1], [5.2], [5.3], [90.0]]
    >>> OPTICS(min_samples=3).fit(X).labels_.tolist()
    [-1, 1, 1, 1, 1, 0, 0, 0, 0, -1]
    """

    def __init__(self, min_samples: int = 10, xi: float = 0.1, min_cluster_size: int | None = None):
        self.min_samples = min_samples
        self.xi = xi
        self.min_cluster_size = min_cluster_size

    def fit(self, X: Any, y: Any = None) -> OPTICS:
        """Find the groups of X (n, p); y is ignored.

        Raises
        ------
        ParameterError : for parameters outside of their range.
        """
        for name, value in (("min_samples", self.min_samples), ("min_cluster_size", self.min_cluster_size)):
            if name == "min_cluster_size" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 2:
                raise ParameterError(f"{name}={value!r} is not possible: expected a whole number of at least 2.")
        if not 0 < self.xi < 1:
            raise ParameterError(f"xi={self.xi!r} is not possible: expected a share between 0 and 1.")
        X = measurable(validate_data(self, X, dtype=np.float64))
        n = len(X)
        size = max(self.min_samples, int(_LEAST * n)) if self.min_cluster_size is None else self.min_cluster_size
        self._rows, self.labels_, self._limit = X, np.full(n, -1), np.zeros(0)
        self.ordering_, self.predecessor_ = np.arange(n), np.full(n, -1)
        self.reachability_, self.core_distances_, self._reach = (np.full(n, np.inf) for _ in range(3))
        self.cluster_hierarchy_ = np.zeros((0, 2), dtype=np.int64)
        if n < max(size, self.min_samples):
            what = f"min_cluster_size={size}" if n < size else f"min_samples={self.min_samples}"
            warnings.warn(f"There are {n} rows, too few for {what}: all of them are noise.", stacklevel=2)
            return self
        distance = neighbours(X, self.min_samples)[0]
        self.core_distances_, self._reach = distance[:, -1].copy(), distance[:, -2].copy()
        self.ordering_, self.reachability_, self.predecessor_ = walk(X, self.core_distances_)
        if np.nanmax(self.reachability_[self.ordering_[1:]], initial=0.0) > 0:
            with np.errstate(divide="ignore", invalid="ignore"):  # equal rows are 0 apart
                self.labels_, self.cluster_hierarchy_ = cluster_optics_xi(
                    reachability=self.reachability_,
                    predecessor=self.predecessor_,
                    ordering=self.ordering_,
                    min_samples=int(self.min_samples),
                    min_cluster_size=int(size),
                    xi=float(self.xi),
                )
        else:  # all rows are equal: one group
            self.labels_, self.cluster_hierarchy_ = np.zeros(n, dtype=np.int64), np.array([[0, n - 1]])
        ordered = self.labels_[self.ordering_]
        self._limit = np.zeros(int(self.labels_.max(initial=-1)) + 1)
        inner = (ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)  # steps that begin and end in a group
        np.maximum.at(self._limit, ordered[1:][inner], self.reachability_[self.ordering_[1:]][inner])
        return self

    def _step(self) -> Step:
        return pack(self)


def walk(X: np.ndarray, core: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The order in which rows X (n, p) with core distances (n,) are visited; of equal ones the first row goes first.

    Returns
    -------
    ordering (n,) row numbers; reachability (n,) and predecessor (n,) of each row, infinite and -1 for the first.
    """
    n = len(X)
    ordering, reach, predecessor = np.empty(n, dtype=np.int64), np.full(n, np.inf), np.full(n, -1)
    number = np.arange(n)  # of the rows to come, which `columns` (p, m), `least` (m,) and `source` (m,) describe
    columns, least, source = np.ascontiguousarray(X.T), np.full(n, np.inf), np.full(n, -1)
    gone = np.zeros(n, dtype=bool)
    for place in range(n):
        # Rows visited stay in the arrays until a quarter of them has been: moving them costs more than to look at them.
        if place and gone.sum() * 4 > len(gone):
            stay = ~gone
            number, least, source, gone = number[stay], least[stay], source[stay], gone[stay]
            columns = np.ascontiguousarray(columns[:, stay])
        at = int(np.where(gone, np.inf, least).argmin()) if place else 0
        if gone[at]:
            at = int(np.flatnonzero(~gone)[0])  # only infinite ones are left
        row = int(number[at])
        ordering[place], reach[row], predecessor[row], gone[at] = row, least[at], source[at], True
        gap = columns - columns[:, at, None]
        away = np.maximum(np.sqrt(np.einsum("ij,ij->j", gap, gap)), core[row])
        nearer = (away < least) & ~gone
        least[nearer], source[nearer] = away[nearer], row
    return ordering, reach, predecessor


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds the prepared training rows."""
    core, member = model.core_distances_, model.labels_ >= 0
    full = np.full(len(model._limit), np.inf)
    np.minimum.at(full, model.labels_[member], core[member])
    # `neighbors` is 1: how dense it is around the row itself does not matter for reaching it.
    return Reachability(
        model._rows, model._reach, model.labels_.astype(np.int32), core, model._limit * (1 + 1e-9), full, neighbors=1
    )
