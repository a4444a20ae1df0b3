"""Plumbing: fitted linear models of scikit-learn as scoring steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.linear import NEVER, Linear, LinearProbabilities, LinearScores

# A class that a model without probabilities never saw: far below any other, yet harmless to a calibration.
UNSEEN_SCORE = -30.0


def value_step(model: Any) -> Linear:
    """coef_ (p,) or (t, p) and intercept_ of a regressor -> Linear."""
    coef = np.asarray(dense(model.coef_), dtype=np.float64)
    intercept = np.asarray(model.intercept_, dtype=np.float64)
    if coef.ndim == 1:
        return Linear(coef, intercept.reshape(()))
    return Linear(np.ascontiguousarray(coef.T), np.broadcast_to(intercept, (coef.shape[0],)).copy())


def dense(matrix: Any) -> np.ndarray:
    """Coefficients that a model keeps sparse, as an array."""
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def spread(model: Any, n_classes: int | None, fill: float) -> tuple[np.ndarray, np.ndarray]:
    """(coef, intercept) of a classifier: (p,), () for two classes out of two, else (p, k), (k,)."""
    coef = np.atleast_2d(np.asarray(dense(model.coef_), dtype=np.float64))  # (1 or k, p)
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64), (len(coef),)).copy()
    codes, k = codes_of(model, n_classes)
    if len(coef) == 1:
        if k == 2:
            return coef[0].copy(), intercept[0].reshape(()).copy()
        coef = np.concatenate([np.zeros_like(coef), coef])  # log-odds of the second class over the first
        intercept = np.concatenate([[0.0], intercept])
    return np.ascontiguousarray(place(coef, codes, k, 0.0, axis=0).T), place(intercept, codes, k, fill)


def softmax_step(model: Any, n_classes: int | None) -> LinearProbabilities:
    """Multinomial or binary log-odds -> LinearProbabilities."""
    coef, intercept = spread(model, n_classes, NEVER)
    return LinearProbabilities(coef, intercept, "softmax" if coef.ndim == 2 else "sigmoid")


def scores_step(model: Any, n_classes: int | None) -> LinearScores:
    """Decision values of a classifier without probabilities -> LinearScores."""
    return LinearScores(*spread(model, n_classes, UNSEEN_SCORE))
