"""Isomap: a map of shortest ways along the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.maps import MapGeodesic

CARD = {
    "name": "isomap",
    "title": "Isomap",
    "summary": "Draws a map whose distances are the shortest ways from row to row over near rows.",
    "choose": "Rows along one bent sheet or curve, whose large shape matters.",
    "avoid": "Many rows (the file grows with their square), separate groups, and noise that bridges gaps.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "max_rows": 2000},
    "cost": {"scale": 2e-7, "rows_power": 2.0, "columns_power": 0.1},
    "references": ["Tenenbaum, de Silva and Langford (2000), A global geometric framework. Science 290."],
    "advice": ["map", "curved", "small_data"],
    "priority": 20,
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
            "text": "Number of near rows that ways lead over.",
        },
    },
    "tiny": [{"n_neighbors": 5}, {"n_components": 3, "n_neighbors": 6}],
    "classes": {"reducer": {"class": "sklearn.manifold:Isomap", "tasks": ["embed", "reduce"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step.

    A new row's coordinates are (k - mean(k) - c + a) W for k = -d^2 / 2, the column means c and grand mean a of the
    training rows', and W = U / sqrt(values); see kernel PCA.
    """
    if model.n_neighbors is None or model.nbrs_.effective_metric_ != "euclidean":
        raise ParameterError(
            f"Isomap with radius={model.radius!r} and metric={model.metric!r} cannot be packed: a packed map uses "
            "n_neighbors and Euclidean distances. Set radius=None, n_neighbors and metric='euclidean'."
        )
    kernel = model.kernel_pca_
    values = np.asarray(kernel.eigenvalues_, dtype=np.float64)
    alive = values > 0
    weights = np.zeros_like(kernel.eigenvectors_, dtype=np.float64)
    weights[:, alive] = kernel.eigenvectors_[:, alive] / np.sqrt(values[alive])
    centring = kernel._centerer  # a fitted sklearn.preprocessing.KernelCenterer; there is no public way to it
    columns, grand = np.asarray(centring.K_fit_rows_, dtype=np.float64), float(centring.K_fit_all_)
    offset = grand * weights.sum(axis=0) - columns @ weights
    ways = np.asarray(model.dist_matrix_, dtype=np.float64)
    ways = ways[np.triu_indices(len(ways), 1)]
    rows = np.array(model.nbrs_._fit_X, dtype=np.float64)
    return MapGeodesic(rows, ways, weights - weights.mean(axis=0), offset, int(model.n_neighbors))
