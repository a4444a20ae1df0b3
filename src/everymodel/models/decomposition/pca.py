"""Principal components: the directions in which rows differ most."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "pca",
    "title": "Principal component analysis",
    "summary": "Replaces correlated columns by few uncorrelated ones that keep most of the variance.",
    "choose": "Many correlated numbers: to compress, to see, or to prepare for another method.",
    "avoid": "Curved relations, and columns whose small differences matter most.",
    "gives": ["components"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 5e-9, "rows_power": 1.0, "columns_power": 2.0},
    "references": ["Pearson (1901), On lines and planes of closest fit to systems of points in space."],
    "advice": ["basic", "correlated", "many_columns"],
    "priority": 10,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Number of components; by default as many as there can be.",
        },
        "whiten": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether every component gets variance 1.",
        },
    },
    "tiny": [{"n_components": 2}, {"n_components": 1, "whiten": True}],
    "classes": {"reducer": {"class": "sklearn.decomposition:PCA", "tasks": ["reduce", "embed"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    axes = np.ascontiguousarray(model.components_.T, dtype=np.float64)
    factor = np.ones(axes.shape[1])
    if model.whiten:
        factor = 1.0 / np.sqrt(np.maximum(model.explained_variance_, np.finfo(float).eps))
    return Components(np.asarray(model.mean_, dtype=np.float64), axes, factor)
