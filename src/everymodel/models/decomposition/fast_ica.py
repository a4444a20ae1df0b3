"""Independent components: the separate sources behind mixed signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "fast_ica",
    "title": "Independent component analysis",
    "summary": "Finds the independent sources that columns are mixtures of, as different from a bell curve as can be.",
    "choose": "Signals that were mixed: sensors, brain waves, sound, returns of shares.",
    "avoid": "Bell-shaped data, which have no such sources; and to compress, where PCA keeps more.",
    "gives": ["components"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 1e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Hyvärinen and Oja (2000), Independent component analysis. Neural Networks 13(4-5)."],
    "advice": ["signals", "many_columns"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of sources; by default as many as there can be.",
        },
        "fun": {
            "type": "choice",
            "default": "logcosh",
            "choices": ["logcosh", "exp", "cube"],
            "text": "How far from a bell curve is measured.",
        },
        "max_iter": {
            "type": "int",
            "default": 500,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Rounds at most.",
        },
        "tol": {
            "type": "float",
            "default": 1e-4,
            "low": 1e-12,
            "high": 0.1,
            "log": True,
            "tune": False,
            "text": "Change of directions at which the search ends.",
        },
    },
    "fixed": {"whiten": "unit-variance"},
    "tiny": [{"n_components": 2, "whiten": "unit-variance"}, {"n_components": 3, "fun": "exp"}],
    "classes": {"reducer": {"class": "sklearn.decomposition:FastICA", "tasks": ["reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    axes = np.ascontiguousarray(model.components_.T, dtype=np.float64)
    mean = np.asarray(model.mean_, dtype=np.float64) if model.whiten else np.zeros(len(axes))
    return Components(mean, axes, np.ones(axes.shape[1]))
