"""Complement naive Bayes: how often words occur in all the other classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models.bayes._pack import log_linear
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "complement_nb",
    "title": "Complement naive Bayes",
    "summary": "Counts how often each word occurs outside of each class, which is steadier when classes are unequal.",
    "choose": "Texts whose classes are of very different size.",
    "avoid": "Columns below zero, when probabilities must be trusted.",
    "gives": ["probabilities"],
    "needs": {"scaling": "range", "sparse": True, "non_negative": True},
    "cost": {"scale": 3e-08, "rows_power": 1, "columns_power": 1},
    "references": ["Rennie et al. (2003), Tackling the poor assumptions of naive Bayes text classifiers. ICML."],
    "advice": ["text", "counts", "imbalance", "fast", "sparse"],
    "priority": 67,
    "classes": {
        "classifier": {
            "class": "sklearn.naive_bayes:ComplementNB",
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
                "norm": {
                    "type": "bool",
                    "default": False,
                    "text": "Whether the weights of each class are brought to one length.",
                },
            },
            "presets": [{"alpha": 1.0}],
            "tiny": [{}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    one = len(model.classes_) == 1
    offset = model.class_log_prior_ if one else np.zeros(len(model.classes_))
    return log_linear(model, n_classes, model.feature_log_prob_, offset)
