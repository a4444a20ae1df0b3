"""Kernel PCA: main directions after a bend, found from similarities between rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import KernelComponents

CARD = {
    "name": "kernel_pca",
    "title": "Kernel PCA",
    "summary": "Principal components of similarities between rows, which follow curved relations too.",
    "choose": "Curved relations between columns, on some thousands of rows.",
    "avoid": "Many rows: memory grows with their square. Components that must be read column by column.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "max_rows": 4000},
    "cost": {"scale": 1.5e-8, "rows_power": 2.0, "columns_power": 0.3},
    "references": ["Schölkopf, Smola and Müller (1998), Nonlinear component analysis as a kernel eigenvalue problem."],
    "advice": ["curved", "small_data"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of components.",
        },
        "kernel": {
            "type": "choice",
            "default": "rbf",
            "choices": ["rbf", "poly", "cosine", "sigmoid", "linear"],
            "text": "How the similarity of two rows is measured.",
        },
        "gamma": {
            "type": "float",
            "default": None,
            "low": 1e-6,
            "high": 1e3,
            "log": True,
            "text": "Width of rbf, poly and sigmoid similarities; by default 1 over the number of columns.",
        },
        "degree": {
            "type": "int",
            "default": 3,
            "low": 1,
            "high": 10,
            "text": "Power of poly similarities.",
        },
        "coef0": {
            "type": "float",
            "default": 1.0,
            "low": -10.0,
            "high": 10.0,
            "tune": False,
            "text": "Constant in poly and sigmoid similarities.",
        },
    },
    "tiny": [
        {"n_components": 2, "kernel": "rbf"},
        {"n_components": 2, "kernel": "poly", "degree": 2},
        {"n_components": 3, "kernel": "cosine"},
        {"n_components": 1, "kernel": "sigmoid", "gamma": 0.01},
        {"n_components": 2, "kernel": "linear"},
    ],
    "classes": {"reducer": {"class": "sklearn.decomposition:KernelPCA", "tasks": ["reduce", "embed"]}},
}


def pack(model: Any) -> Step:
    """The fitted model as a scoring step.

    With the training rows' similarities centred, a new row's coordinates are (k - mean(k) - c + a) W for its
    similarities k, the column means c and grand mean a of the training rows', and W = U / sqrt(values). Taking the
    means of W's columns off W and the rest into an offset leaves k W' + offset.
    """
    values = np.asarray(model.eigenvalues_, dtype=np.float64)
    alive = values > 0
    weights = np.zeros_like(model.eigenvectors_, dtype=np.float64)  # (m, d)
    weights[:, alive] = model.eigenvectors_[:, alive] / np.sqrt(values[alive])
    columns, grand = _means(model)
    offset = grand * weights.sum(axis=0) - columns @ weights
    weights = weights - weights.mean(axis=0)
    rows = np.asarray(model.X_fit_, dtype=np.float64)
    gamma = model.gamma_ if model.kernel in ("rbf", "poly", "sigmoid") else 1.0
    return KernelComponents(rows, weights, offset, model.kernel, float(gamma), float(model.degree), float(model.coef0))


def _means(model: Any) -> tuple[np.ndarray, float]:
    """Means (m,) of the columns of the training rows' similarities, and of all of them."""
    centring = model._centerer  # a fitted sklearn.preprocessing.KernelCenterer; there is no public way to it
    return np.asarray(centring.K_fit_rows_, dtype=np.float64), float(centring.K_fit_all_)
