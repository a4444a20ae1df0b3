"""Dummy: the baseline that never looks at the columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.constant import Constant, ConstantProbabilities

CARD = {
    "name": "dummy",
    "title": "Dummy baseline",
    "summary": "Answers the same for every row: the class frequencies, or the mean.",
    "choose": "Always fit it once: a model that does not beat it has learnt nothing.",
    "avoid": "Using it for anything but comparison.",
    "gives": ["probabilities"],
    "needs": {"missing": True, "categories": "none", "sparse": True},
    "cost": {"scale": 1e-8, "rows_power": 1.0, "columns_power": 0.0},
    "references": ["scikit-learn user guide, Metrics and scoring: dummy estimators."],
    "advice": ["baseline"],
    "priority": 0,
    "classes": {
        "classifier": {
            "class": "sklearn.dummy:DummyClassifier",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "strategy": {
                    "type": "choice",
                    "default": "prior",
                    "choices": ["prior", "most_frequent", "uniform"],
                    "tune": False,
                    "text": "'prior' answers with the class frequencies, 'most_frequent' with the commonest class.",
                },
            },
            "tiny": [{"strategy": "prior"}, {"strategy": "most_frequent"}],
        },
        "regressor": {
            "class": "sklearn.dummy:DummyRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "parameters": {
                "strategy": {
                    "type": "choice",
                    "default": "mean",
                    "choices": ["mean", "median"],
                    "tune": False,
                    "text": "What is answered: the mean (best for squared error) or the median (for absolute error).",
                },
            },
            "tiny": [{"strategy": "mean"}, {"strategy": "median"}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    if not hasattr(model, "classes_"):
        return Constant(np.asarray(model.constant_, dtype=np.float64).reshape(-1).squeeze())
    row = model.predict_proba(np.zeros((1, 1)))[0]  # the answer does not depend on the columns
    codes, k = codes_of(model, n_classes)
    return ConstantProbabilities(place(np.asarray(row, dtype=np.float64), codes, k, 0.0))
