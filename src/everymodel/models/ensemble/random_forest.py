"""Random forest: many deep trees, each on rows drawn at random, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models._trees import grow, sklearn_step
from everymodel.scoring.steps.trees import Trees

CARD = {
    "name": "random_forest",
    "title": "Random forest",
    "summary": "Averages hundreds of deep trees, each grown on rows and columns drawn at random.",
    "choose": "A strong model without tuning on small and middling tables; hard to get wrong.",
    "avoid": "Files must stay small or answers quick on big data; relations that go on beyond the values seen.",
    "gives": ["probabilities", "importances"],
    "needs": {"missing": True, "categories": "codes", "max_rows": 200000},
    "cost": {"scale": 0.0001, "rows_power": 1, "columns_power": 0.6},
    "references": ["Breiman (2001), Random forests. Machine Learning 45."],
    "advice": ["accurate", "interactions", "missing_values", "small_data", "medium_data", "robust"],
    "priority": 45,
    "parameters": {
        "n_estimators": {
            "type": "int",
            "default": 200,
            "low": 1,
            "high": 5000,
            "tune": False,
            "text": "Number of trees: more are never worse, but slower and larger.",
        },
        "max_features": {
            "type": "float",
            "default": 0.4,
            "low": 0.05,
            "high": 1.0,
            "text": "Share of the columns looked at for each split.",
        },
        "min_samples_leaf": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 200,
            "log": True,
            "text": "Fewest rows behind an answer: larger is smoother, and the file smaller.",
        },
        "max_leaf_nodes": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 100000,
            "tune": False,
            "text": "Most leaves of a tree, which bounds the file; none: no limit.",
        },
    },
    "tiny": [{"n_estimators": 6, "max_depth": 5, "random_state": 0}],
    "classes": {
        "classifier": {
            "class": "sklearn.ensemble:RandomForestClassifier",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{"n_estimators": 200, "min_samples_leaf": 2, "max_features": 0.3}],
        },
        "regressor": {
            "class": "sklearn.ensemble:RandomForestRegressor",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["regression"],
            "gives": ["importances", "multioutput"],
            "presets": [{"n_estimators": 150, "min_samples_leaf": 3, "max_features": 0.4}],
        },
    },
}


def fit(
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    *,
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
) -> Any:
    """Grow trees until all are there or `stop` says so; validation rows are not needed."""
    return grow(model, X, y, stop, threads)


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many trees as there was time for."""
    return {"n_estimators": len(model.estimators_)}


def pack(model: Any, n_classes: int | None = None) -> Trees:
    """The fitted model as a scoring step, equal bit for bit."""
    return sklearn_step(model, model.estimators_, n_classes, float(len(model.estimators_)))
