"""Logistic regression: log-odds of each class as a weighted sum of the columns."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import softmax_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "logistic",
    "title": "Logistic regression",
    "summary": "Adds up weighted columns into log-odds, which gives honest probabilities for each class.",
    "choose": "Yes/no questions, and wherever every coefficient must be explained; strong on wide sparse text.",
    "avoid": "Boundaries that bend, or effects that depend on several columns at once.",
    "gives": ["probabilities", "scores", "coefficients"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 1.5e-7, "rows_power": 1.0, "columns_power": 1.1},
    "references": ["Cox (1958), The regression analysis of binary sequences. JRSS B 20(2)."],
    "advice": ["basic", "binary", "interpretable", "probabilities", "sparse", "text", "small_data"],
    "priority": 10,
    "classes": {
        "classifier": {
            "class": "sklearn.linear_model:LogisticRegression",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "C": {
                    "type": "float",
                    "default": 1.0,
                    "low": 1e-4,
                    "high": 1e4,
                    "log": True,
                    "text": "Freedom of the coefficients: small values pull them towards zero.",
                },
                "class_weight": {
                    "type": "choice",
                    "default": None,
                    "choices": [None, "balanced"],
                    "tune": False,
                    "text": "'balanced' weighs rare classes up; probabilities are then no longer frequencies.",
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
            "presets": [{"C": 1.0}, {"C": 0.05}],
            "tiny": [{"C": 0.5, "max_iter": 200}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return softmax_step(model, n_classes)
