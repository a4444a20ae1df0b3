"""Stochastic gradient descent: linear models learnt row by row, for data too large for anything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from everymodel.models.linear._pack import scores_step, spread, value_step
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.linear import NEVER, LinearProbabilities

CARD = {
    "name": "sgd",
    "title": "Stochastic gradient descent",
    "summary": "A linear model that learns from one row at a time, so that its cost grows only with the rows read.",
    "choose": "Big data: millions of rows, or wide sparse text, where a straight boundary is enough.",
    "avoid": "Small data (ridge or logistic regression are exact and as quick), curved relations.",
    "gives": ["probabilities", "scores", "coefficients"],
    "needs": {"scaling": "standard", "sparse": True},
    "cost": {"scale": 3e-07, "rows_power": 1, "columns_power": 1},
    "references": [
        "Robbins and Monro (1951), A stochastic approximation method. Ann. Math. Statist. 22(3).",
        "Bottou (2010), Large-scale machine learning with stochastic gradient descent. COMPSTAT.",
    ],
    "advice": ["big_data", "sparse", "text", "many_columns"],
    "priority": 16,
    "parameters": {
        "alpha": {
            "type": "float",
            "default": 1e-4,
            "low": 1e-7,
            "high": 1.0,
            "log": True,
            "text": "How strongly coefficients are pulled towards zero.",
        },
        "average": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Answers with the average of the coefficients on the way, which is steadier.",
        },
        "max_iter": {
            "type": "int",
            "default": 50,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Most passes over the rows.",
        },
    },
    "tiny": [{"max_iter": 60, "random_state": 0}],
    "classes": {
        "classifier": {
            "class": "sklearn.linear_model:SGDClassifier",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "loss": {
                    "type": "choice",
                    "default": "log_loss",
                    "choices": ["log_loss", "modified_huber", "hinge"],
                    "tune": False,
                    "text": "What is made small; 'hinge' (a support vector machine) gives scores, no probabilities.",
                },
            },
            "presets": [{"alpha": 1e-3}, {"alpha": 1e-2}],
        },
        "regressor": {
            "class": "sklearn.linear_model:SGDRegressor",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["regression"],
            "gives": ["coefficients"],
            "parameters": {
                "loss": {
                    "type": "choice",
                    "default": "squared_error",
                    "choices": ["squared_error", "huber", "epsilon_insensitive"],
                    "tune": False,
                    "text": "What is made small; 'huber' is steady against outliers.",
                },
            },
            "presets": [{"alpha": 1e-4}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step; classifiers of other losses than the two below give scores."""
    if not hasattr(model, "classes_"):
        return value_step(model)
    if model.loss not in ("log_loss", "modified_huber"):
        return scores_step(model, n_classes)
    coef, intercept = spread(model, n_classes, NEVER)
    if coef.ndim == 2 and len(model.classes_) == 2:
        # Two of several classes: the odds of the one over the other, which a softmax turns into the same shares.
        if model.loss == "log_loss":
            return LinearProbabilities(coef, intercept, "softmax")
        coef, intercept = coef.copy(), intercept.copy()
        low, high = (int(c) for c in model.classes_)
        coef[:, low], intercept[low] = -coef[:, high], -intercept[high]
    return LinearProbabilities(coef, intercept, "sigmoid" if model.loss == "log_loss" else "huber")


def fit(
    model: Any,
    X: Any,
    y: np.ndarray,
    *,
    valid: tuple[Any, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Any = (),
) -> Any:
    """Pass over the rows until `valid` no longer improves for 5 passes, `stop` says so, or max_iter passes are done."""
    classifier = hasattr(model, "predict_proba") or model.__class__.__name__.endswith("Classifier")
    if not classifier:
        # Steps longer than 1 / |x|^2 overshoot: wide rows need smaller ones than the library's fixed 0.01.
        length = float(
            np.mean(np.asarray(X.multiply(X).sum(axis=1) if hasattr(X, "multiply") else (X * X).sum(axis=1)))
        )
        model.set_params(eta0=min(0.01, 0.5 / max(length, 1e-12)))
    rng = np.random.default_rng(model.random_state)
    classes = np.unique(y) if classifier else None
    best, since, kept = math.inf, 0, None
    for epoch in range(model.max_iter):
        order = rng.permutation(len(y))
        if classifier:
            model.partial_fit(X[order], y[order], classes=classes if epoch == 0 else None)
        else:
            model.partial_fit(X[order], y[order])
        if valid is not None:
            loss = _loss(model, *valid)
            if loss < best - 1e-6 * max(1.0, abs(loss)):
                best, since, kept = loss, 0, (model.coef_.copy(), model.intercept_.copy())
            else:
                since += 1
        if since >= 5 or (stop is not None and stop()):
            break
    if kept is not None:
        model.coef_, model.intercept_ = kept
    model.n_iter_ = epoch + 1
    return model


def _loss(model: Any, X: Any, y: np.ndarray) -> float:
    """Log-loss where there are probabilities, else the share of errors; for numbers the squared error."""
    if not hasattr(model, "classes_"):
        return float(np.mean((model.predict(X) - y) ** 2))
    if model.loss not in ("log_loss", "modified_huber"):
        return 1.0 - float(model.score(X, y))
    known = np.isin(y, model.classes_)
    chance = model.predict_proba(X)[known, np.searchsorted(model.classes_, y[known])]
    return float(-np.log(np.maximum(chance, 1e-15)).mean()) if known.any() else 0.0


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many passes as the validation rows asked for."""
    return {"max_iter": int(model.n_iter_)}
