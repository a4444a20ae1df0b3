"""Support vector machine with a kernel: boundaries of any shape from similarities to a few telling rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.kernel import SupportVectors, SupportVectorScores

CARD = {
    "name": "svm",
    "title": "Support vector machine",
    "summary": "Compares a row with a few telling training rows; boundaries may have any shape.",
    "choose": "Small and middling data of scaled number columns with smooth boundaries.",
    "avoid": "More than some ten thousand rows (the time grows with their square), mostly categorical columns.",
    "gives": ["scores"],
    "needs": {"scaling": "standard", "max_rows": 15000, "max_columns": 2000},
    "cost": {"scale": 1.4e-08, "rows_power": 2, "columns_power": 0.3},
    "references": [
        "Cortes and Vapnik (1995), Support-vector networks. Machine Learning 20.",
        "Chang and Lin (2011), LIBSVM: a library for support vector machines. ACM TIST 2(3).",
    ],
    "advice": ["small_data", "curved", "accurate"],
    "priority": 62,
    "parameters": {
        "kernel": {
            "type": "choice",
            "default": "rbf",
            "choices": ["rbf", "poly", "sigmoid", "linear"],
            "tune": False,
            "text": "How similarity is measured.",
        },
        "gamma": {
            "type": "choice",
            "default": "scale",
            "choices": ["scale", "auto"],
            "tune": False,
            "text": "How quickly similarity falls with distance.",
        },
    },
    "fixed": {"cache_size": 500},
    "presets": [{"C": 3.0}, {"C": 30.0}],
    "classes": {
        "classifier": {
            "class": "sklearn.svm:SVC",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "C": {
                    "type": "float",
                    "default": 3.0,
                    "low": 1e-2,
                    "high": 1e3,
                    "log": True,
                    "text": "Price of rows on the wrong side: small values make a smoother boundary.",
                },
            },
            "tiny": [{}, {"kernel": "poly", "degree": 2, "coef0": 1.0}, {"kernel": "linear"}],
        },
        "regressor": {
            "class": "sklearn.svm:SVR",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["regression"],
            "gives": [],
            "parameters": {
                "C": {
                    "type": "float",
                    "default": 3.0,
                    "low": 1e-2,
                    "high": 1e3,
                    "log": True,
                    "text": "Price of rows outside of the tube, for a target of unit variance.",
                },
                "epsilon": {
                    "type": "float",
                    "default": 0.05,
                    "low": 0.0,
                    "high": 1.0,
                    "text": "Half the width of the tube, for a target of unit variance.",
                },
            },
            "tiny": [{}, {"kernel": "poly", "degree": 2, "coef0": 1.0}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step; it holds prepared training rows (the support vectors)."""
    rows = model.support_vectors_
    rows = np.ascontiguousarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)
    dual = model._dual_coef_
    dual = np.asarray(dual.toarray() if hasattr(dual, "toarray") else dual, dtype=np.float64)
    kernel: dict[str, Any] = {
        "kernel": model.kernel,
        "gamma": float(model._gamma),
        "degree": float(model.degree),
        "coef0": float(model.coef0),
    }
    intercept = np.asarray(model._intercept_, dtype=np.float64)
    if not hasattr(model, "classes_"):
        return SupportVectors(rows, dual[0].copy(), intercept.reshape(-1)[0].reshape(()), **kernel)
    codes, k = codes_of(model, n_classes)
    counts = np.asarray(model.n_support_, dtype=np.int32)
    return SupportVectorScores(rows, counts, dual, intercept, codes.astype(np.int32), k, **kernel)
