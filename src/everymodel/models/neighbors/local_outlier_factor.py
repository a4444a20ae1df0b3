"""Local outlier factor: rows whose surroundings are thinner than their neighbours' are odd."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.neighbors as sk
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.scoring.steps import detect
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "local_outlier_factor",
    "title": "Local outlier factor",
    "summary": "Calls a row odd when its surroundings are thinner than those of its neighbours.",
    "choose": "Groups of different density, with oddities that stand out only within their surroundings.",
    "avoid": "Odd rows that come in groups larger than the number of neighbours asked; very many rows.",
    "gives": ["scores"],
    "needs": {"scaling": "standard", "max_rows": 20000},
    "cost": {"scale": 6e-9, "rows_power": 2.0, "columns_power": 0.5},
    "references": ["Breunig et al. (2000), LOF: identifying density-based local outliers. SIGMOD."],
    "advice": ["small_data", "anomalies", "groups"],
    "priority": 20,
    "parameters": {
        "n_neighbors": {
            "type": "int",
            "default": 20,
            "low": 1,
            "high": 1000,
            "log": True,
            "text": "How many neighbours make the surroundings.",
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
    "tiny": [{"n_neighbors": 5}],
    "classes": {
        "detector": {
            "class": "everymodel.models.neighbors.local_outlier_factor:LocalOutlierFactor",
            "tasks": ["anomaly"],
        }
    },
}


class LocalOutlierFactor(sk.LocalOutlierFactor):
    """Scikit-learn's local outlier factor that scores new rows, and rows of the fit as `negative_outlier_factor_` does.

    Parameters and attributes are those of `sklearn.neighbors.LocalOutlierFactor`, with `novelty` set; distances are
    Euclidean. A training row at distance zero is taken for the row itself, once.
    """

    def __init__(self, n_neighbors: int = 20, *, contamination: Any = "auto", n_jobs: int | None = None):
        super().__init__(n_neighbors, contamination=contamination, novelty=True, n_jobs=n_jobs)

    def fit(self, X: Any, y: Any = None) -> LocalOutlierFactor:
        """Learn the density around the rows X (n, p); y is ignored."""
        super().fit(validate_data(self, X, dtype=np.float64))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the local outlier factor (n,); lower is odder."""
        check_is_fitted(self)
        return -pack(self)(validate_data(self, X, dtype=np.float64, reset=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds the prepared training rows."""
    reach = np.asarray(model._distances_fit_X_[:, model.n_neighbors_ - 1], dtype=np.float64)
    rows = np.ascontiguousarray(model._fit_X, dtype=np.float64)
    return detect.LocalOutlierFactor(rows, reach, np.asarray(model._lrd, dtype=np.float64), int(model.n_neighbors_))
