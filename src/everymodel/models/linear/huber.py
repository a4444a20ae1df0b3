"""Huber regression: a straight line that outliers cannot drag away."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import value_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "huber",
    "title": "Huber regression",
    "summary": "A linear model that counts large errors linearly, so that outliers cannot drag the line away.",
    "choose": "A straight-line relation with outliers in the target.",
    "avoid": "Curved relations; outliers that are the very thing to be predicted.",
    "gives": ["coefficients"],
    "needs": {"scaling": "standard", "sparse": True, "max_rows": 500000, "max_columns": 3000},
    "cost": {"scale": 1.5e-07, "rows_power": 1, "columns_power": 1},
    "references": ["Huber (1964), Robust estimation of a location parameter. Ann. Math. Statist. 35(1)."],
    "advice": ["outliers", "interpretable", "robust"],
    "priority": 14,
    "classes": {
        "regressor": {
            "class": "sklearn.linear_model:HuberRegressor",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "The solver stops before the last digits agree.",
                "check_sample_weight_equivalence_on_sparse_data": "The solver stops before the last digits agree.",
            },
            "tasks": ["regression"],
            "parameters": {
                "epsilon": {
                    "type": "float",
                    "default": 1.35,
                    "low": 1.0,
                    "high": 5.0,
                    "text": "From how many standard errors on an error counts linearly.",
                },
                "alpha": {
                    "type": "float",
                    "default": 1e-4,
                    "low": 1e-6,
                    "high": 100.0,
                    "log": True,
                    "text": "How strongly coefficients are pulled towards zero.",
                },
                "max_iter": {
                    "type": "int",
                    "default": 500,
                    "low": 1,
                    "high": 10000,
                    "tune": False,
                    "text": "Most steps of the solver.",
                },
            },
            "tiny": [{"max_iter": 100}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return value_step(model)
