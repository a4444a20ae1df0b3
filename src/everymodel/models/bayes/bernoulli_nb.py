"""Bernoulli naive Bayes: whether words or marks are present."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.bayes import BernoulliBayes
from everymodel.scoring.steps.linear import NEVER

CARD = {
    "name": "bernoulli_nb",
    "title": "Bernoulli naive Bayes",
    "summary": "Counts how often each mark or word is present or absent in each class.",
    "choose": "Short texts and yes/no columns, where absence tells something too.",
    "avoid": "Number columns whose size matters: all above zero counts as present.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 5e-08, "rows_power": 1, "columns_power": 1},
    "references": [
        "McCallum and Nigam (1998), A comparison of event models for naive Bayes text classification. AAAI."
    ],
    "advice": ["text", "binary_columns", "fast", "sparse"],
    "priority": 66,
    "classes": {
        "classifier": {
            "class": "sklearn.naive_bayes:BernoulliNB",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "alpha": {
                    "type": "float",
                    "default": 1.0,
                    "low": 1e-3,
                    "high": 100.0,
                    "log": True,
                    "text": "Imagined counts added to all, so that nothing is impossible.",
                },
            },
            "tiny": [{}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    codes, k = codes_of(model, n_classes)
    absent = np.log(1.0 - np.exp(model.feature_log_prob_))  # (classes, p)
    coef = place(np.asarray(model.feature_log_prob_ - absent, dtype=np.float64), codes, k, 0.0, axis=0)
    offset = np.asarray(model.class_log_prior_ + absent.sum(axis=1), dtype=np.float64)
    threshold = None if model.binarize is None else float(model.binarize)
    return BernoulliBayes(np.ascontiguousarray(coef.T), place(offset, codes, k, NEVER), threshold)
