"""Elastic net: between ridge and lasso."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import value_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "elastic_net",
    "title": "Elastic net",
    "summary": "A linear model between ridge and lasso: drops useless columns, keeps correlated ones together.",
    "choose": "Many columns in correlated groups of which few matter.",
    "avoid": "Curved relations and interactions between columns.",
    "gives": ["coefficients", "multioutput"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 1e-8, "rows_power": 1.0, "columns_power": 1.5},
    "references": ["Zou and Hastie (2005), Regularization and variable selection via the elastic net. JRSS B 67(2)."],
    "advice": ["feature_selection", "correlated", "interpretable", "many_columns", "sparse"],
    "priority": 12,
    "classes": {
        "regressor": {
            "class": "sklearn.linear_model:ElasticNet",
            "tasks": ["regression"],
            "parameters": {
                "alpha": {
                    "type": "float",
                    "default": 0.01,
                    "low": 1e-5,
                    "high": 10.0,
                    "log": True,
                    "text": "How strongly coefficients are held back, for a target of unit variance.",
                },
                "l1_ratio": {
                    "type": "float",
                    "default": 0.5,
                    "low": 0.0,
                    "high": 1.0,
                    "text": "0 acts like ridge, 1 like lasso.",
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
            "presets": [{"alpha": 0.003, "l1_ratio": 0.5}, {"alpha": 0.05, "l1_ratio": 0.2}],
            "tiny": [{"alpha": 0.1}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return value_step(model)
