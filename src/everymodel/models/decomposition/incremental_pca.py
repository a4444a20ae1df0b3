"""Incremental principal components: the main directions of a table that is read piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "incremental_pca",
    "title": "Incremental PCA",
    "summary": "Principal components that are learnt batch by batch, so that rows need not fit into memory at once.",
    "choose": "Tables too large for memory, or rows that keep arriving (partial_fit).",
    "avoid": "Tables that fit into memory, where plain PCA is exact and faster.",
    "gives": ["components"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 2e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Ross et al. (2008), Incremental learning for robust visual tracking. IJCV 77."],
    "advice": ["big_data", "correlated", "many_columns"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Number of components; by default as many as one batch allows.",
        },
        "batch_size": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 1000000,
            "tune": False,
            "text": "Rows learnt from at once; by default five times as many as there are columns.",
        },
        "whiten": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether every component gets variance 1.",
        },
    },
    "tiny": [{"n_components": 2, "batch_size": 30}, {"n_components": 1, "whiten": True}],
    "classes": {"reducer": {"class": "sklearn.decomposition:IncrementalPCA", "tasks": ["reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    axes = np.ascontiguousarray(model.components_.T, dtype=np.float64)
    factor = np.ones(axes.shape[1])
    if model.whiten:
        factor = 1.0 / np.sqrt(np.maximum(model.explained_variance_, np.finfo(float).eps))
    return Components(np.asarray(model.mean_, dtype=np.float64), axes, factor)
