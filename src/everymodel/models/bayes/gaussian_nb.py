"""Gaussian naive Bayes: a bell curve for every column and class."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.bayes import GaussianBayes
from everymodel.scoring.steps.linear import NEVER

CARD = {
    "name": "gaussian_nb",
    "title": "Gaussian naive Bayes",
    "summary": "Draws a bell curve for every column and class, and multiplies them as if columns were independent.",
    "choose": "A first answer within milliseconds; few rows, many roughly bell-shaped columns.",
    "avoid": "Correlated columns, when probabilities must be trusted: they come out too sure.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_columns": 5000},
    "cost": {"scale": 5e-08, "rows_power": 1, "columns_power": 1},
    "references": ["Hand and Yu (2001), Idiot's Bayes: not so stupid after all? Int. Stat. Rev. 69(3)."],
    "advice": ["basic", "small_data", "fast"],
    "priority": 64,
    "classes": {
        "classifier": {
            "class": "sklearn.naive_bayes:GaussianNB",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "var_smoothing": {
                    "type": "float",
                    "default": 0.02,
                    "low": 1e-12,
                    "high": 1.0,
                    "log": True,
                    "text": "How much all bell curves are widened, as a share of the widest.",
                },
            },
            "presets": [{"var_smoothing": 0.02}, {"var_smoothing": 0.2}],
            "tiny": [{}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    codes, k = codes_of(model, n_classes)
    prior = np.log(np.maximum(np.asarray(model.class_prior_, dtype=np.float64), 1e-300))
    return GaussianBayes(
        place(np.asarray(model.theta_, dtype=np.float64), codes, k, 0.0, axis=0),
        place(np.asarray(model.var_, dtype=np.float64), codes, k, 1.0, axis=0),
        place(prior, codes, k, NEVER),
    )
