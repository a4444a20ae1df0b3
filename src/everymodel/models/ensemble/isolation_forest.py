"""Isolation forest: odd rows are parted from the rest by few random cuts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from everymodel.models._trees import finite
from everymodel.scoring.steps.trees import Trees

CARD = {
    "name": "isolation_forest",
    "title": "Isolation forest",
    "summary": "Calls a row odd when few random cuts part it from the others.",
    "choose": "A first, quick detector for any number of rows and columns, without distances or scaling.",
    "avoid": "Oddities between dense groups, which need many cuts; there neighbours tell more.",
    "gives": ["scores"],
    "needs": {"scaling": "none"},
    "cost": {"scale": 3e-7, "rows_power": 1.0, "columns_power": 0.3},
    "references": ["Liu, Ting and Zhou (2008), Isolation forest. IEEE International Conference on Data Mining."],
    "advice": ["basic", "big_data", "many_columns", "anomalies"],
    "priority": 10,
    "parameters": {
        "n_estimators": {
            "type": "int",
            "default": 200,
            "low": 1,
            "high": 5000,
            "log": True,
            "tune": False,
            "text": "Number of trees.",
        },
        "contamination": {
            "type": "float",
            "default": 0.1,
            "low": 0.0001,
            "high": 0.5,
            "tune": False,
            "text": "Expected share of odd rows, which sets the threshold of predict.",
        },
    },
    "tiny": [{"n_estimators": 20, "random_state": 0}, {"n_estimators": 20, "max_features": 0.5, "random_state": 0}],
    "waivers": {
        "check_sample_weight_equivalence_on_dense_data": "Trees draw rows by weight, and need enough of them.",
        "check_sample_weight_equivalence_on_sparse_data": "Trees draw rows by weight, and need enough of them.",
    },
    "classes": {"detector": {"class": "sklearn.ensemble:IsolationForest", "tasks": ["anomaly"]}},
}


def mean_path(rows: np.ndarray) -> np.ndarray:
    """Mean number of cuts (any shape) that part one of `rows` rows from the others: 2 H(n - 1) - 2 (n - 1) / n."""
    n = np.asarray(rows, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        long = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, long))


def pack(model: Any) -> Trees:
    """The fitted model as a scoring step: 2 ** (-mean depth / expected depth)."""
    some = model._max_features != model.n_features_in_
    made = []
    for estimator, columns in zip(model.estimators_, model.estimators_features_):
        tree = estimator.tree_
        depth = np.zeros(tree.node_count)
        for node in range(tree.node_count):  # parents come before their children
            for child in (tree.children_left[node], tree.children_right[node]):
                if child >= 0:
                    depth[child] = depth[node] + 1.0
        feature = np.maximum(tree.feature, 0)
        made.append(
            {
                "left": tree.children_left,
                "right": tree.children_right,
                "feature": np.asarray(columns)[feature] if some else feature,
                "threshold": finite(tree.threshold),
                "value": depth + mean_path(tree.n_node_samples),
            }
        )
    expected = float(mean_path(np.asarray(model._max_samples))) or 1.0
    return Trees.of(
        made,
        model.n_features_in_,
        x_type="float32",
        divide=len(made) * expected,
        sigma=-math.log(2.0),
        link="exp",
        gives="scores",
    )
