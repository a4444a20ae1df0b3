"""PCA reconstruction: rows are odd when few principal components cannot rebuild them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models._answers import Threshold
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.detect import Residual

CARD = {
    "name": "pca_reconstruction",
    "title": "PCA reconstruction error",
    "summary": "Calls a row odd when the main directions of the other rows cannot rebuild it.",
    "choose": "Many correlated columns, where an oddity breaks the relations between them.",
    "avoid": "Columns that do not correlate, or oddities that are only extreme along a main direction.",
    "gives": ["scores"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 5e-9, "rows_power": 1.0, "columns_power": 2.0},
    "references": ["Shyu et al. (2003), A novel anomaly detection scheme based on principal component classifier."],
    "advice": ["correlated", "many_columns", "anomalies"],
    "priority": 20,
    "parameters": {
        "variance": {
            "type": "float",
            "default": 0.9,
            "low": 0.05,
            "high": 0.999,
            "text": "Share of the variance that the kept components hold.",
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
    "tiny": [{}, {"variance": 0.6}],
    "classes": {
        "detector": {
            "class": "everymodel.models.decomposition.pca_reconstruction:PCAReconstruction",
            "tasks": ["anomaly"],
        }
    },
}


class PCAReconstruction(Threshold, OutlierMixin, BaseEstimator):
    """Detect rows that lie far from the flat of the main principal components.

    The score of a row x is -||(x - mean) - V V' (x - mean)||^2, with V the fewest leading components that hold
    `variance` of all variance.

    Parameters
    ----------
    variance : share of the variance to keep, above 0 and below 1.
    contamination : expected share of odd rows, above 0 and at most 0.5.

    Attributes
    ----------
    mean_ : (p,) · components_ : (d, p) · offset_ : threshold on `score_samples`.
    """

    def __init__(self, variance: float = 0.9, contamination: float = 0.1):
        self.variance = variance
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> PCAReconstruction:
        """Learn the main directions of X (n, p); y is ignored."""
        if not 0 < self.variance < 1:
            raise ValueError(f"variance={self.variance!r} is not possible: expected a share above 0 and below 1.")
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination={self.contamination!r} is not possible: expected above 0, at most 0.5.")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self.mean_ = X.mean(axis=0)
        _, s, Vt = np.linalg.svd(X - self.mean_, full_matrices=False)
        shares = np.cumsum(s**2) / max(float((s**2).sum()), 1e-300)
        d = min(int(np.searchsorted(shares, self.variance)) + 1, max(X.shape[1] - 1, 1))
        self.components_ = Vt[:d]
        self.offset_ = float(np.quantile(self.score_samples(X), self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the squared reconstruction error (n,); lower is odder."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return -pack(self)(X)


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return Residual(np.asarray(model.mean_), np.ascontiguousarray(model.components_.T))
