"""Decision tree: a flow chart of yes/no questions."""

from __future__ import annotations

from typing import Any

from everymodel.models._trees import sklearn_step
from everymodel.scoring.steps.trees import Trees

CARD = {
    "name": "decision_tree",
    "title": "Decision tree",
    "summary": "Asks one yes/no question of a column after the other, like a flow chart, until it can answer.",
    "choose": "When the whole model must be drawn on one page and followed by hand.",
    "avoid": "When the score counts: forests and boosters of the same trees are far more accurate.",
    "gives": ["probabilities", "importances"],
    "needs": {"missing": True, "categories": "codes"},
    "cost": {"scale": 2e-07, "rows_power": 1.1, "columns_power": 1},
    "references": ["Breiman, Friedman, Olshen and Stone (1984), Classification and regression trees. Wadsworth."],
    "advice": ["interpretable", "missing_values", "interactions", "rules"],
    "priority": 17,
    "parameters": {
        "max_depth": {
            "type": "int",
            "default": 6,
            "low": 1,
            "high": 40,
            "text": "Most questions in a row; none: no limit.",
        },
        "min_samples_leaf": {
            "type": "int",
            "default": 10,
            "low": 1,
            "high": 1000,
            "log": True,
            "text": "Fewest rows behind an answer.",
        },
        "ccp_alpha": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 1.0,
            "tune": False,
            "text": "How much a split must gain to survive pruning.",
        },
    },
    "presets": [{"max_depth": 6, "min_samples_leaf": 20}, {"max_depth": 10, "min_samples_leaf": 50}],
    "tiny": [{"max_depth": 4, "random_state": 0}],
    "classes": {
        "classifier": {
            "class": "sklearn.tree:DecisionTreeClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
        },
        "regressor": {
            "class": "sklearn.tree:DecisionTreeRegressor",
            "tasks": ["regression"],
            "gives": ["importances", "multioutput"],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Trees:
    """The fitted model as a scoring step, equal bit for bit."""
    return sklearn_step(model, [model], n_classes, None)
