"""Linear regression: ordinary least squares, with one column (simple) or many (multiple)."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import value_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "linear_regression",
    "title": "Linear regression",
    "summary": "Draws the straight line (or plane) with the smallest squared error through the data.",
    "choose": "A basic prediction whose every coefficient can be read; one column or a few that are not correlated.",
    "avoid": "Correlated or very many columns (take ridge), outliers (take Huber), curved relations.",
    "gives": ["coefficients", "multioutput"],
    "needs": {"scaling": "standard", "sparse": True, "max_columns": 5000},
    "cost": {"scale": 2e-9, "rows_power": 1.0, "columns_power": 1.8},
    "references": ["Legendre (1805), Nouvelles methodes pour la determination des orbites des cometes."],
    "advice": ["basic", "interpretable", "small_data"],
    "priority": 11,
    "classes": {
        "regressor": {
            "class": "sklearn.linear_model:LinearRegression",
            "tasks": ["regression"],
            "parameters": {
                "fit_intercept": {
                    "type": "bool",
                    "default": True,
                    "tune": False,
                    "text": "Whether the line may miss the origin.",
                },
                "positive": {
                    "type": "bool",
                    "default": False,
                    "tune": False,
                    "text": "Only coefficients of zero or more (dense data only).",
                },
            },
            "tiny": [{}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return value_step(model)
