"""Poisson regression: counts and other targets that are never negative."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.linear import LinearLog

CARD = {
    "name": "poisson",
    "title": "Poisson regression",
    "summary": "A linear model of the logarithm of a count: columns multiply the answer instead of adding to it.",
    "choose": "Counts (claims, visits, sales) and amounts of zero or more, when every factor must be explained.",
    "avoid": "Targets below zero (it refuses them), interactions between columns.",
    "gives": ["coefficients"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 2e-7, "rows_power": 1.0, "columns_power": 1.1},
    "references": ["Nelder and Wedderburn (1972), Generalized linear models. JRSS A 135(3)."],
    "advice": ["counts", "interpretable"],
    "classes": {
        "regressor": {
            "class": "sklearn.linear_model:PoissonRegressor",
            "tasks": ["regression"],
            "parameters": {
                "alpha": {
                    "type": "float",
                    "default": 1.0,
                    "low": 1e-6,
                    "high": 100.0,
                    "log": True,
                    "text": "How strongly coefficients are pulled towards zero.",
                },
                "max_iter": {
                    "type": "int",
                    "default": 300,
                    "low": 1,
                    "high": 10000,
                    "tune": False,
                    "text": "Most steps of the solver.",
                },
            },
            "presets": [{"alpha": 0.01}],
            "tiny": [{"alpha": 0.1}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return LinearLog(
        np.asarray(model.coef_, dtype=np.float64), np.asarray(model.intercept_, dtype=np.float64).reshape(())
    )
