"""Truncated SVD: main directions without centring, for sparse tables such as counts of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components

CARD = {
    "name": "truncated_svd",
    "title": "Truncated SVD",
    "summary": "The main directions of a table as it stands, not centred, so that sparse tables stay sparse.",
    "choose": "Sparse tables with very many columns, such as counts of words (latent semantic analysis).",
    "avoid": "Dense numbers, where PCA takes the means off first; topics to be read, where NMF is plainer.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 1e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Deerwester et al. (1990), Indexing by latent semantic analysis. JASIS 41(6)."],
    "advice": ["sparse", "many_columns", "text"],
    "priority": 30,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Number of components; at most as many as there are columns.",
        },
        "n_iter": {
            "type": "int",
            "default": 7,
            "low": 0,
            "high": 100,
            "tune": False,
            "text": "Rounds of the randomised solver: more are more exact.",
        },
    },
    "tiny": [{"n_components": 2}, {"n_components": 1, "n_iter": 3}],
    "classes": {"reducer": {"class": "sklearn.decomposition:TruncatedSVD", "tasks": ["reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    axes = np.ascontiguousarray(model.components_.T, dtype=np.float64)
    return Components(np.zeros(len(axes)), axes, np.ones(axes.shape[1]))
