"""Factor analysis: few hidden factors behind many columns, each of which has noise of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "factor_analysis",
    "title": "Factor analysis",
    "summary": "Explains what columns share by few hidden factors, and leaves each column a noise of its own.",
    "choose": "Questionnaires and test scores, where columns measure the same hidden traits with unequal noise.",
    "avoid": "To keep as much variance as possible, where PCA is made for it.",
    "gives": ["components"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 1e-6, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Barber (2012), Bayesian Reasoning and Machine Learning, chapter 21."],
    "advice": ["correlated", "interpretable"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of factors; at most as many as there are columns.",
        },
        "rotation": {
            "type": "choice",
            "default": None,
            "choices": [None, "varimax", "quartimax"],
            "text": "Turns factors so that each column belongs to few of them.",
        },
        "max_iter": {
            "type": "int",
            "default": 1000,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Rounds at most.",
        },
    },
    "tiny": [{"n_components": 2}, {"n_components": 2, "rotation": "varimax"}],
    "classes": {"reducer": {"class": "sklearn.decomposition:FactorAnalysis", "tasks": ["reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step: the factors' means given a row, (I + L P L')^-1 L P (x - mean).

    L (d, p) are the loadings and P the diagonal of one over each column's noise.
    """
    loadings = np.asarray(model.components_, dtype=np.float64)
    weighted = loadings / model.noise_variance_
    inverse = np.linalg.inv(np.eye(len(loadings)) + weighted @ loadings.T)
    axes = np.ascontiguousarray((inverse @ weighted).T)
    return Components(np.asarray(model.mean_, dtype=np.float64), axes, np.ones(axes.shape[1]))
