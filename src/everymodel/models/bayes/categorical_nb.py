"""Categorical naive Bayes: how often each level of each column occurs in each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.bayes import CategoricalBayes, bins
from everymodel.scoring.steps.linear import NEVER

CARD = {
    "name": "categorical_nb",
    "title": "Categorical naive Bayes",
    "summary": "Counts how often each level of each column occurs in each class; numbers are cut into bins first.",
    "choose": "Tables of mostly categories with few rows; every count can be read.",
    "avoid": "Columns that matter only together, when probabilities must be trusted.",
    "gives": ["probabilities"],
    "needs": {"missing": True, "categories": "native"},
    "cost": {"scale": 1e-07, "rows_power": 1, "columns_power": 1},
    "references": [
        "Domingos and Pazzani (1997), On the optimality of the simple Bayesian classifier. Mach. Learn. 29."
    ],
    "advice": ["categories", "small_data", "interpretable", "fast", "missing_values"],
    "priority": 63,
    "classes": {
        "classifier": {
            "class": "everymodel.models.bayes.categorical_nb:CategoricalNB",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "alpha": {
                    "type": "float",
                    "default": 1.0,
                    "low": 1e-3,
                    "high": 100.0,
                    "log": True,
                    "text": "Imagined counts added to all, so that nothing is impossible.",
                },
                "n_bins": {
                    "type": "int",
                    "default": 10,
                    "low": 2,
                    "high": 100,
                    "text": "Bins of about equal size into which number columns are cut.",
                },
            },
            "presets": [{"alpha": 1.0, "n_bins": 10}],
            "tiny": [{}],
        },
    },
}


class CategoricalNB(ClassifierMixin, BaseEstimator):
    """Naive Bayes over levels: P(class) times the product of P(level of column j | class), counted and smoothed.

    Unlike scikit-learn's class of that name it takes number columns (cut at quantiles), missing values (a level of
    their own) and levels that it has never seen.

    Parameters
    ----------
    alpha : float, default 1.0
        Imagined counts added to every level.
    n_bins : int, default 10
        Most bins of a number column.
    categorical_features : sequence of int or None
        Columns that hold level codes 0, 1, 2, ...; all others are numbers.

    Attributes
    ----------
    classes_ : ndarray (k,)
    edges_ : list of ndarray, the cuts of every number column (None for level codes)
    table_ : ndarray (sum of levels + p, k), log-frequencies: see scoring's CategoricalBayes
    n_features_in_ : int

    Examples
    --------
    >>> X = [[0.0], [0.0], [1.0], [1.0]]
    >>> CategoricalNB(categorical_features=[0]).fit(X, ["a", "a", "b", "b"]).predict([[1.0]]).tolist()
    ['b']
    """

    def __init__(self, alpha: float = 1.0, n_bins: int = 10, categorical_features: Sequence[int] | None = None):
        self.alpha = alpha
        self.n_bins = n_bins
        self.categorical_features = categorical_features

    def fit(self, X: Any, y: Any) -> CategoricalNB:
        """Count levels of X (n, p) in the classes y (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        k, p = len(self.classes_), X.shape[1]
        native = set(self.categorical_features or ())
        self.edges_: list[np.ndarray | None] = [None if j in native else self._cuts(X[:, j]) for j in range(p)]
        self.edge_counts_ = np.array([-1 if e is None else len(e) for e in self.edges_], dtype=np.int64)
        self.level_counts_ = np.array(
            [int(np.nanmax(X[:, j], initial=-1)) + 1 if e is None else len(e) + 1 for j, e in enumerate(self.edges_)],
            dtype=np.int64,
        )
        found = bins(X, self._flat(), self.edge_counts_, self.level_counts_)
        blocks = []
        for j in range(p):
            counts = np.zeros((self.level_counts_[j] + 1, k))
            np.add.at(counts, (found[:, j], codes), 1.0)
            blocks.append(np.log(counts + self.alpha) - np.log(counts.sum(axis=0) + self.alpha * len(counts)))
        self.table_ = np.concatenate(blocks)
        self.class_log_prior_ = np.log(np.bincount(codes, minlength=k) / len(codes))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return pack(self)(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _cuts(self, x: np.ndarray) -> np.ndarray:
        x = x[~np.isnan(x)]
        if not len(x):
            return np.empty(0)
        cuts = np.unique(np.quantile(x, np.linspace(0, 1, self.n_bins + 1)[1:-1]))
        return cuts[(cuts > x.min()) & (cuts <= x.max())]

    def _flat(self) -> np.ndarray:
        return np.concatenate([np.empty(0), *(e for e in self.edges_ if e is not None)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


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
    """Fit with the `native` columns as level codes."""
    return model.set_params(categorical_features=[int(i) for i in native] or None).fit(X, y)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    codes, k = codes_of(model, n_classes)
    return CategoricalBayes(
        model._flat(),
        model.edge_counts_,
        model.level_counts_,
        place(model.table_, codes, k, 0.0),
        place(model.class_log_prior_, codes, k, NEVER),
    )
