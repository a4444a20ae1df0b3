"""One-class support vector machine: a smooth border around the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.detect import OneClass

CARD = {
    "name": "one_class_svm",
    "title": "One-class support vector machine",
    "summary": "Draws a smooth border around most rows and calls those outside odd.",
    "choose": "Some thousand rows without many oddities among them, with a border of any shape.",
    "avoid": "Many rows (the cost grows with their square), and training rows of which many are odd.",
    "gives": ["scores"],
    "needs": {"scaling": "standard", "max_rows": 20000},
    "cost": {"scale": 2e-8, "rows_power": 2.0, "columns_power": 0.5},
    "references": ["Scholkopf et al. (2001), Estimating the support of a high-dimensional distribution."],
    "advice": ["small_data", "anomalies"],
    "priority": 50,
    "parameters": {
        "nu": {
            "type": "float",
            "default": 0.1,
            "low": 0.001,
            "high": 0.999,
            "text": "Bound on the share of rows outside of the border.",
        },
        "kernel": {
            "type": "choice",
            "default": "rbf",
            "choices": ["linear", "rbf", "poly", "sigmoid"],
            "text": "How alike two rows are.",
        },
    },
    "tiny": [{}, {"kernel": "poly", "degree": 2, "coef0": 1.0}],
    "waivers": {
        "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
        "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
    },
    "classes": {"detector": {"class": "sklearn.svm:OneClassSVM", "tasks": ["anomaly"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step; it holds prepared training rows (the support vectors)."""
    rows, dual = model.support_vectors_, model._dual_coef_
    rows = np.ascontiguousarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
    dual = np.asarray(dual.toarray() if hasattr(dual, "toarray") else dual, dtype=np.float64)[0].copy()
    return OneClass(
        rows,
        dual,
        np.zeros(()),
        kernel=model.kernel,
        gamma=float(model._gamma),
        degree=float(model.degree),
        coef0=float(model.coef0),
    )
