"""k-means: groups around centres that are the means of their rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.groups import Centers

CARD = {
    "name": "kmeans",
    "title": "K-means",
    "summary": "Puts each row to the nearest of k centres, which are the means of their rows.",
    "choose": "Compact groups of similar size; the first method to try, and quick on any number of rows.",
    "avoid": "Long, nested or very unequal groups, and data with far-off rows, which pull centres away.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 2e-7, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Lloyd (1982), Least squares quantization in PCM. IEEE Transactions on Information Theory 28(2)."],
    "advice": ["basic", "big_data", "groups"],
    "priority": 10,
    "parameters": {
        "n_clusters": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of groups.",
        },
    },
    "tiny": [{"n_clusters": 3, "n_init": 2}],
    "waivers": {
        "check_sample_weight_equivalence_on_dense_data": "Starting centres are drawn by row, so weights draw others.",
        "check_sample_weight_equivalence_on_sparse_data": "Starting centres are drawn by row, so weights draw others.",
    },
    "classes": {"clusterer": {"class": "sklearn.cluster:KMeans", "tasks": ["cluster"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    n, p = len(model.labels_), model.cluster_centers_.shape[1]
    spread = float(model.inertia_) / max(n * p, 1)
    return Centers(np.asarray(model.cluster_centers_, dtype=np.float64), max(spread, 1e-12))
