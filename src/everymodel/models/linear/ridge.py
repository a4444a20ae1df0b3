"""Ridge: linear models whose squared coefficients are kept small."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import scores_step, value_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "ridge",
    "title": "Ridge",
    "summary": "A linear model that keeps its coefficients small, so that correlated columns share their weight.",
    "choose": "A quick, stable straight-line model when columns are many or correlated; the first thing to beat.",
    "avoid": "Curved relations and interactions between columns, unless you add them as columns yourself.",
    "gives": ["coefficients", "multioutput"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 2e-9, "rows_power": 1.0, "columns_power": 1.6},
    "references": ["Hoerl and Kennard (1970), Ridge regression. Technometrics 12(1)."],
    "advice": ["basic", "interpretable", "correlated", "small_data", "sparse", "many_columns"],
    "priority": 10,
    "parameters": {
        "alpha": {
            "type": "float",
            "default": 1.0,
            "low": 1e-6,
            "high": 1e6,
            "log": True,
            "text": "How strongly coefficients are pulled towards zero.",
        },
    },
    "tiny": [{"alpha": 0.5}],
    "classes": {
        "regressor": {
            "class": "sklearn.linear_model:Ridge",
            "waivers": {
                "check_non_transformer_estimators_n_iter": "The direct solver makes no iterations to count.",
            },
            "tasks": ["regression"],
            "parameters": {
                "fit_intercept": {
                    "type": "bool",
                    "default": True,
                    "tune": False,
                    "text": "Whether the line may miss the origin.",
                },
            },
            "presets": [{"alpha": 1.0}, {"alpha": 30.0}],
        },
        "classifier": {
            "class": "sklearn.linear_model:RidgeClassifier",
            "waivers": {
                "check_non_transformer_estimators_n_iter": "The direct solver makes no iterations to count.",
            },
            "tasks": ["binary", "multiclass"],
            "gives": ["coefficients", "scores"],
            "priority": None,
            "parameters": {
                "class_weight": {
                    "type": "choice",
                    "default": None,
                    "choices": [None, "balanced"],
                    "tune": False,
                    "text": "'balanced' weighs rare classes up.",
                },
            },
            "presets": [{"alpha": 1.0}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return scores_step(model, n_classes) if hasattr(model, "classes_") else value_step(model)
