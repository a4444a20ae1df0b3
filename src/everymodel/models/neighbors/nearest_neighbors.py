"""k nearest neighbours: answer as the most similar rows did."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neighbors as sk
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models._place import codes_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.neighbors import Neighbors, nearest

CARD = {
    "name": "nearest_neighbors",
    "title": "Nearest neighbours",
    "summary": "Answers as the most similar training rows did; the rows themselves are the model.",
    "choose": "Few columns that are all on one scale and alike in importance; irregular boundaries; small data.",
    "avoid": "Many or useless columns, big data (slow answers), and wherever a model must not carry training rows.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_rows": 50000, "max_columns": 300},
    "cost": {"scale": 5e-10, "rows_power": 1.9, "columns_power": 0.8},
    "references": ["Cover and Hart (1967), Nearest neighbor pattern classification. IEEE Trans. Inf. Theory 13(1)."],
    "advice": ["small_data", "irregular", "few_columns"],
    "priority": 60,
    "parameters": {
        "n_neighbors": {
            "type": "int",
            "default": 15,
            "low": 1,
            "high": 200,
            "log": True,
            "text": "How many of the most similar rows are asked.",
        },
        "weights": {
            "type": "choice",
            "default": "distance",
            "choices": ["uniform", "distance"],
            "text": "'distance' listens more to closer rows.",
        },
        "p": {
            "type": "float",
            "default": 2,
            "low": 1,
            "high": 4,
            "tune": False,
            "text": "How distance is measured: 2 straight, 1 along the columns.",
        },
    },
    "presets": [{"n_neighbors": 15, "weights": "distance"}, {"n_neighbors": 40, "weights": "distance"}],
    "tiny": [{"n_neighbors": 3}, {"n_neighbors": 5, "weights": "distance"}],
    "classes": {
        "classifier": {
            "class": "everymodel.models.neighbors.nearest_neighbors:KNeighborsClassifier",
            "tasks": ["binary", "multiclass"],
        },
        "regressor": {
            "class": "everymodel.models.neighbors.nearest_neighbors:KNeighborsRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
        },
    },
}


class _InOrder:
    """Finds neighbours with our own search, in which of equally close rows the first one wins.

    Scikit-learn's choice among ties depends on how it searches, so an answer could not be repeated elsewhere.
    """

    def kneighbors(self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """(distances, row numbers), each (n, k), closest first; see scikit-learn."""
        check_is_fitted(self)
        plain = self.metric == "minkowski" and self.metric_params is None and isinstance(self._fit_X, np.ndarray)
        if not plain or X is None:
            return super().kneighbors(X, n_neighbors, return_distance)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 0 < k <= len(self._fit_X):
            return super().kneighbors(X, n_neighbors, return_distance)  # which says what is wrong
        distance, number = nearest(self._fit_X, X, int(k), float(self.p))
        return (distance, number) if return_distance else number

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class KNeighborsClassifier(_InOrder, sk.KNeighborsClassifier):
    """Scikit-learn's k-nearest-neighbours classifier, with ties between equally distant rows settled by their order.

    Parameters and attributes are those of `sklearn.neighbors.KNeighborsClassifier`.
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: Any = "uniform",
        algorithm: str = "kd_tree",
        leaf_size: int = 30,
        p: float = 2,
        metric: Any = "minkowski",
        metric_params: Any = None,
        n_jobs: int | None = None,
    ):
        # A tree, not brute force: only then does scikit-learn ask `kneighbors` for every answer.
        super().__init__(
            n_neighbors,
            weights=weights,
            algorithm=algorithm,
            leaf_size=leaf_size,
            p=p,
            metric=metric,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )


class KNeighborsRegressor(_InOrder, sk.KNeighborsRegressor):
    """Scikit-learn's k-nearest-neighbours regressor, with ties between equally distant rows settled by their order.

    Parameters and attributes are those of `sklearn.neighbors.KNeighborsRegressor`.
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: Any = "uniform",
        algorithm: str = "kd_tree",
        leaf_size: int = 30,
        p: float = 2,
        metric: Any = "minkowski",
        metric_params: Any = None,
        n_jobs: int | None = None,
    ):
        super().__init__(
            n_neighbors,
            weights=weights,
            algorithm=algorithm,
            leaf_size=leaf_size,
            p=p,
            metric=metric,
            metric_params=metric_params,
            n_jobs=n_jobs,
        )


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step; it holds the prepared training rows."""
    rows = model._fit_X.toarray() if hasattr(model._fit_X, "toarray") else np.asarray(model._fit_X)
    settings: dict[str, Any] = {"k": int(model.n_neighbors), "weights": model.weights, "power": float(model.p)}
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    if not hasattr(model, "classes_"):
        return Neighbors(rows, np.asarray(model._y, dtype=np.float64), **settings)
    codes, k = codes_of(model, n_classes)
    return Neighbors(rows, codes[model._y].astype(np.int32), gives="probabilities", classes=k, **settings)
