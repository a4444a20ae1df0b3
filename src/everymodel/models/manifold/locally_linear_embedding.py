"""Locally linear embedding: a map that rebuilds each row from its neighbours as the data do."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.maps import MapBarycenter

CARD = {
    "name": "locally_linear_embedding",
    "title": "Locally linear embedding",
    "summary": "Draws a map on which each row is the same mixture of its neighbours as in the data.",
    "choose": "Rows that fill one bent sheet densely and evenly.",
    "avoid": "Separate groups, noise and repeated rows: the map collapses to lines or points.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "max_rows": 5000},
    "cost": {"scale": 3e-7, "rows_power": 1.8, "columns_power": 0.2},
    "references": ["Roweis and Saul (2000), Nonlinear dimensionality reduction by locally linear embedding."],
    "advice": ["map", "curved", "small_data"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "Number of coordinates.",
        },
        "n_neighbors": {
            "type": "int",
            "default": 5,
            "low": 2,
            "high": 1000,
            "log": True,
            "text": "Number of near rows that each row is rebuilt from.",
        },
        "reg": {
            "type": "float",
            "default": 1e-3,
            "low": 1e-6,
            "high": 1.0,
            "log": True,
            "text": "Ridge of the weights, as a share of the neighbours' squared distances.",
        },
        "method": {
            "type": "choice",
            "default": "standard",
            "choices": ["standard", "modified", "hessian", "ltsa"],
            "tune": False,
            "text": "How places are found; new rows are placed alike by all.",
        },
    },
    "tiny": [
        {"n_neighbors": 5, "eigen_solver": "dense"},
        {"n_neighbors": 6, "method": "modified", "n_components": 1, "eigen_solver": "dense"},
    ],
    "classes": {"reducer": {"class": "sklearn.manifold:LocallyLinearEmbedding", "tasks": ["embed", "reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    rows = np.array(model.nbrs_._fit_X, dtype=np.float64)
    places = np.asarray(model.embedding_, dtype=np.float64)
    return MapBarycenter(rows, places, int(model.n_neighbors), float(model.reg))
