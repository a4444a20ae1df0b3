"""Linear support vector machine: the straight boundary with the widest margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.linear import Linear, LinearScores

CARD = {
    "name": "linear_svm",
    "title": "Linear support vector machine",
    "summary": "Finds the straight boundary with the widest margin; for numbers, the line with the narrowest tube.",
    "choose": "Wide sparse text and other data of many columns, where a straight boundary is enough.",
    "avoid": "When probabilities are wanted first (take logistic regression), curved boundaries.",
    "gives": ["scores", "coefficients"],
    "needs": {"scaling": "standard", "sparse": True, "max_rows": 500000},
    "cost": {"scale": 3e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Cortes and Vapnik (1995), Support-vector networks. Machine Learning 20."],
    "advice": ["text", "sparse", "many_columns"],
    "priority": 61,
    "classes": {
        "classifier": {
            "class": "sklearn.svm:LinearSVC",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "C": {
                    "type": "float",
                    "default": 0.1,
                    "low": 1e-5,
                    "high": 1e3,
                    "log": True,
                    "text": "Price of rows on the wrong side: small values widen the margin.",
                },
                "class_weight": {
                    "type": "choice",
                    "default": None,
                    "choices": [None, "balanced"],
                    "tune": False,
                    "text": "'balanced' weighs rare classes up.",
                },
            },
            "presets": [{"C": 0.1}, {"C": 0.005}],
            "tiny": [{"C": 0.5, "random_state": 0}],
        },
        "regressor": {
            "class": "sklearn.svm:LinearSVR",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["regression"],
            "gives": ["coefficients"],
            "parameters": {
                "C": {
                    "type": "float",
                    "default": 1.0,
                    "low": 1e-4,
                    "high": 1e3,
                    "log": True,
                    "text": "Price of rows outside of the tube.",
                },
                "epsilon": {
                    "type": "float",
                    "default": 0.05,
                    "low": 0.0,
                    "high": 1.0,
                    "text": "Half the width of the tube, for a target of unit variance.",
                },
            },
            "presets": [{"C": 1.0}],
            "tiny": [{"C": 0.5, "random_state": 0}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))  # (1 or k, p)
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), (len(coef),)).copy()
    if not hasattr(model, "classes_"):
        return Linear(coef[0].copy(), intercept[0].reshape(()))
    codes, k = codes_of(model, n_classes)
    if len(coef) == 1:
        if k == 2:
            return LinearScores(coef[0].copy(), intercept[0].reshape(()))
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    coef = np.ascontiguousarray(place(coef, codes, k, 0.0, axis=0).T)
    return LinearScores(coef, place(intercept, codes, k, -30.0))  # far below any, yet harmless to a calibration
