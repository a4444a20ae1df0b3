"""Lasso: a linear model that sets the coefficients of useless columns to exactly zero."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import value_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "lasso",
    "title": "Lasso",
    "summary": "A linear model that drops useless columns by setting their coefficients to exactly zero.",
    "choose": "Feature selection: many columns of which few matter.",
    "avoid": "Groups of correlated columns of which all should stay (take elastic net), curved relations.",
    "gives": ["coefficients", "multioutput"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 1e-8, "rows_power": 1.0, "columns_power": 1.5},
    "references": ["Tibshirani (1996), Regression shrinkage and selection via the lasso. JRSS B 58(1)."],
    "advice": ["feature_selection", "interpretable", "many_columns", "sparse"],
    "priority": 13,
    "classes": {
        "regressor": {
            "class": "sklearn.linear_model:Lasso",
            "tasks": ["regression"],
            "parameters": {
                "alpha": {
                    "type": "float",
                    "default": 0.01,
                    "low": 1e-5,
                    "high": 10.0,
                    "log": True,
                    "text": "How readily columns are dropped, for a target of unit variance.",
                },
                "max_iter": {
                    "type": "int",
                    "default": 2000,
                    "low": 1,
                    "high": 100000,
                    "tune": False,
                    "text": "Most passes over the columns.",
                },
            },
            "presets": [{"alpha": 0.003}, {"alpha": 0.03}],
            "tiny": [{"alpha": 0.1}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return value_step(model)
