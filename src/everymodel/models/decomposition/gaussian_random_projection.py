"""Random projection: few random mixtures of the columns, which keep distances roughly as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "gaussian_random_projection",
    "title": "Random projection",
    "summary": "Mixes the columns at random into fewer, which keeps distances between rows roughly as they are.",
    "choose": "Thousands of columns before a method that works with distances, when PCA takes too long.",
    "avoid": "Few columns, and components that are to mean something.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 2e-9, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Johnson and Lindenstrauss (1984), Extensions of Lipschitz mappings into a Hilbert space."],
    "advice": ["many_columns", "big_data"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 20,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Number of mixtures; distances err by about 1 / sqrt(number).",
        },
    },
    "tiny": [{"n_components": 3}],
    "classes": {"reducer": {"class": "sklearn.random_projection:GaussianRandomProjection", "tasks": ["reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    axes = np.ascontiguousarray(model.components_.T, dtype=np.float64)
    return Components(np.zeros(len(axes)), axes, np.ones(axes.shape[1]))
