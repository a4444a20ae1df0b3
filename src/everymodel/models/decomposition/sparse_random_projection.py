"""Sparse random projection: random sums and differences of a few columns each."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "sparse_random_projection",
    "title": "Sparse random projection",
    "summary": "Replaces columns by random sums and differences of a few of them, which roughly keeps distances.",
    "choose": "Very many columns, sparse ones above all, before a method that works with distances.",
    "avoid": "Few columns, and components that are to mean something.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 1e-9, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Li, Hastie and Church (2006), Very sparse random projections. KDD."],
    "advice": ["many_columns", "big_data", "sparse"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 20,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Number of sums; distances err by about 1 / sqrt(number).",
        },
    },
    "fixed": {"dense_output": True},
    "tiny": [{"n_components": 3, "dense_output": True}],
    "classes": {"reducer": {"class": "sklearn.random_projection:SparseRandomProjection", "tasks": ["reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    mixture = model.components_
    axes = np.asarray(mixture.toarray() if hasattr(mixture, "toarray") else mixture, dtype=np.float64).T
    return Components(np.zeros(len(axes)), np.ascontiguousarray(axes), np.ones(axes.shape[1]))
