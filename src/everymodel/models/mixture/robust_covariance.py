"""Robust covariance: rows far from the centre of an ellipse that the odd rows could not bend."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.detect import Mahalanobis

CARD = {
    "name": "robust_covariance",
    "title": "Robust covariance",
    "summary": "Fits an ellipse to the most concentrated half of the rows and calls those far outside odd.",
    "choose": "One cloud of correlated numbers, not too many columns, some far-off rows.",
    "avoid": "Several groups, curved shapes, or more columns than a fifth of the rows.",
    "gives": ["scores"],
    "needs": {"scaling": "standard", "max_columns": 100},
    "cost": {"scale": 3e-7, "rows_power": 1.0, "columns_power": 1.5},
    "references": ["Rousseeuw and Van Driessen (1999), A fast algorithm for the minimum covariance determinant."],
    "advice": ["correlated", "small_data", "anomalies"],
    "priority": 40,
    "parameters": {
        "support_fraction": {
            "type": "float",
            "default": None,
            "low": 0.5,
            "high": 1.0,
            "text": "Share of the rows that the ellipse is fitted to; by default just more than half.",
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
    "tiny": [{"random_state": 0}],
    "classes": {"detector": {"class": "sklearn.covariance:EllipticEnvelope", "tasks": ["anomaly"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return Mahalanobis(
        np.asarray(model.location_, dtype=np.float64), np.ascontiguousarray(model.precision_, dtype=np.float64)
    )
