"""Distance to the nearest neighbours: rows that lie far from all others are odd."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models._answers import Threshold
from everymodel.scoring.steps import detect
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "neighbor_distance",
    "title": "Distance to neighbours",
    "summary": "Calls a row odd when even its nearest neighbours are far away.",
    "choose": "Oddities of any shape among up to some ten thousand rows; simple and strong.",
    "avoid": "Groups of very different density, where the local outlier factor is fairer; very many rows.",
    "gives": ["scores"],
    "needs": {"scaling": "standard", "max_rows": 20000},
    "cost": {"scale": 4e-9, "rows_power": 2.0, "columns_power": 0.5},
    "references": [
        "Ramaswamy, Rastogi and Shim (2000), Efficient algorithms for mining outliers from large data sets."
    ],
    "advice": ["basic", "small_data", "anomalies"],
    "priority": 15,
    "parameters": {
        "n_neighbors": {
            "type": "int",
            "default": 10,
            "low": 1,
            "high": 1000,
            "log": True,
            "text": "How many neighbours are asked.",
        },
        "how": {
            "type": "choice",
            "default": "mean",
            "choices": ["mean", "largest"],
            "text": "Whether the mean distance counts, or that of the farthest of them.",
        },
        "contamination": {
            "type": "float",
            "default": 0.1,
            "low": 0.0001,
            "high": 0.5,
            "tune": False,
            "text": "Expected share of odd rows, which sets the threshold of predict.",
        },
    },
    "tiny": [{"n_neighbors": 4}, {"n_neighbors": 4, "how": "largest"}],
    "classes": {
        "detector": {
            "class": "everymodel.models.neighbors.neighbor_distance:NeighborDistance",
            "tasks": ["anomaly"],
        }
    },
}


class NeighborDistance(Threshold, OutlierMixin, BaseEstimator):
    """Detect rows whose nearest neighbours are far away.

    The score of a row is minus the mean (or largest) distance to its `n_neighbors` nearest training rows. A training
    row at distance zero is taken for the row itself, once, so that rows of the fit are judged like new ones.

    Parameters
    ----------
    n_neighbors : neighbours asked, at least 1; no more than there are are used.
    how : "mean" or "largest".
    contamination : expected share of odd rows, above 0 and at most 0.5.

    Attributes
    ----------
    rows_ : (n, p) the training rows · offset_ : threshold on `score_samples`.
    """

    def __init__(self, n_neighbors: int = 10, how: str = "mean", contamination: float = 0.1):
        self.n_neighbors = n_neighbors
        self.how = how
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> NeighborDistance:
        """Keep the rows X (n, p) and learn the threshold; y is ignored."""
        if isinstance(self.n_neighbors, bool) or int(self.n_neighbors) != self.n_neighbors or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors={self.n_neighbors!r} is not possible: expected a whole number from 1 on.")
        if self.how not in ("mean", "largest"):
            raise ValueError(f"how={self.how!r} is not possible: expected 'mean' or 'largest'.")
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination={self.contamination!r} is not possible: expected above 0, at most 0.5.")
        self.rows_ = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.offset_ = float(np.quantile(self.score_samples(self.rows_), self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the distance to the neighbours (n,); lower is odder."""
        check_is_fitted(self)
        return -pack(self)(validate_data(self, X, dtype=np.float64, reset=False))


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds the prepared training rows."""
    return detect.NeighborDistance(model.rows_, int(min(model.n_neighbors, len(model.rows_) - 1)), model.how)
