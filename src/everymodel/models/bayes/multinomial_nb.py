"""Multinomial naive Bayes: how often words occur."""

from __future__ import annotations

from typing import Any

from everymodel.models.bayes._pack import log_linear
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "multinomial_nb",
    "title": "Multinomial naive Bayes",
    "summary": "Counts how often each word occurs in each class.",
    "choose": "Texts and other counts: spam, topics, sentiment, within milliseconds.",
    "avoid": "Columns below zero, correlated columns, when probabilities must be trusted.",
    "gives": ["probabilities"],
    "needs": {"scaling": "range", "sparse": True, "non_negative": True},
    "cost": {"scale": 3e-08, "rows_power": 1, "columns_power": 1},
    "references": [
        "McCallum and Nigam (1998), A comparison of event models for naive Bayes text classification. AAAI."
    ],
    "advice": ["text", "counts", "fast", "sparse"],
    "priority": 65,
    "classes": {
        "classifier": {
            "class": "sklearn.naive_bayes:MultinomialNB",
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
            "presets": [{"alpha": 1.0}, {"alpha": 0.1}],
            "tiny": [{}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return log_linear(model, n_classes, model.feature_log_prob_, model.class_log_prior_)
