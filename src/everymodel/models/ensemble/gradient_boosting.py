"""Gradient boosting on histograms: scikit-learn's own booster, always there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models._place import codes_of
from everymodel.models._trees import finite, halves
from everymodel.scoring.steps.trees import Trees

CARD = {
    "name": "gradient_boosting",
    "title": "Gradient boosting (histograms)",
    "summary": "Adds up shallow decision trees, each correcting the ones before, on columns cut into 255 bins.",
    "choose": "Tables of more than a few hundred rows with mixed columns and missing values; needs no other package.",
    "avoid": "A few dozen rows; relations that must go on beyond the values seen.",
    "gives": ["probabilities"],
    "needs": {"missing": True, "categories": "native"},
    "cost": {"scale": 0.0005, "rows_power": 0.65, "columns_power": 0.5},
    "references": [
        "Friedman (2001), Greedy function approximation: a gradient boosting machine. Ann. Statist. 29(5).",
        "Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30.",
    ],
    "advice": ["accurate", "interactions", "missing_values", "categories", "big_data", "medium_data"],
    "priority": 50,
    "parameters": {
        "max_iter": {
            "type": "int",
            "default": 200,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Most rounds (one tree per class); fewer where validation rows stop the fit early.",
        },
        "learning_rate": {
            "type": "float",
            "default": 0.1,
            "low": 0.01,
            "high": 0.5,
            "log": True,
            "text": "Weight of each new tree: smaller is more accurate and slower.",
        },
        "max_leaf_nodes": {
            "type": "int",
            "default": 31,
            "low": 2,
            "high": 255,
            "log": True,
            "text": "Most leaves of a tree: how many columns may act together.",
        },
        "min_samples_leaf": {
            "type": "int",
            "default": 20,
            "low": 1,
            "high": 300,
            "log": True,
            "text": "Fewest rows in a leaf.",
        },
        "l2_regularization": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 100.0,
            "text": "How strongly leaf values are pulled towards zero.",
        },
        "max_features": {
            "type": "float",
            "default": 1.0,
            "low": 0.1,
            "high": 1.0,
            "text": "Share of the columns looked at for each split.",
        },
    },
    "tiny": [{"max_iter": 8, "max_leaf_nodes": 7, "min_samples_leaf": 5, "random_state": 0}],
    "presets": [
        {"max_iter": 1000, "learning_rate": 0.08},
        {"max_iter": 1000, "learning_rate": 0.05, "max_features": 0.5, "min_samples_leaf": 8},
    ],
    "classes": {
        "classifier": {
            "class": "sklearn.ensemble:HistGradientBoostingClassifier",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["binary", "multiclass"],
        },
        "regressor": {
            "class": "sklearn.ensemble:HistGradientBoostingRegressor",
            "waivers": {
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["regression"],
            "gives": [],
            "parameters": {
                "loss": {
                    "type": "choice",
                    "default": "squared_error",
                    "choices": ["squared_error", "absolute_error", "poisson", "gamma"],
                    "tune": False,
                    "text": "What is made small: squared error, absolute error, or the loss of a count or amount.",
                },
            },
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
    """Add trees until the loss on `valid` has not fallen for a while, `stop` says so, or max_iter rounds are made.

    Threads are OpenMP's: the caller limits them. The library has no callback, so rounds are made in growing parts.
    """
    few = [int(i) for i in native if np.nanmax(X[:, i], initial=0) < model.max_bins]  # its bins hold no more levels
    few = [i for i in few if not np.isnan(X[:, i]).all()]
    model.set_params(categorical_features=few or None)
    given = {}
    known = np.zeros(0, dtype=bool)
    if valid is not None:
        known = np.ones(len(valid[1]), dtype=bool)
        if hasattr(model, "predict_proba"):
            known = np.isin(valid[1], np.unique(y))
    if valid is not None and known.any():
        given = {"X_val": valid[0][known], "y_val": valid[1][known]}
        patience = int(min(100, max(10, round(2.0 / model.learning_rate))))
        model.set_params(early_stopping=True, n_iter_no_change=patience)
    else:
        model.set_params(early_stopping=False)
    _grow(model, X, y, stop, given)
    if valid is not None and given:
        model.held_out_ = _held_out(model, valid[0], valid[1], halves(len(known), known))
        del model._predictors[_best(model) :]  # rounds that did not help the validation rows
    return model


def _grow(
    model: Any, X: np.ndarray, y: np.ndarray, stop: Callable[[], bool] | None, given: dict[str, np.ndarray]
) -> None:
    """Fit in ever larger parts, looking at `stop` in between."""
    total = model.max_iter
    if stop is None:
        model.fit(X, y, **given)
        return
    model.set_params(warm_start=True)
    size = min(20, total)
    while True:
        model.set_params(max_iter=size)
        model.fit(X, y, **given)
        if size >= total or model.n_iter_ < size or stop():
            break
        size = min(total, size + max(20, size // 2))
    model.set_params(warm_start=False, max_iter=total)


def held_out(model: Any, X: np.ndarray) -> np.ndarray | None:
    """Answers for the validation rows X, each with as many trees as the other half of the rows asked for."""
    return getattr(model, "held_out_", None)


def _held_out(model: Any, X: np.ndarray, y: np.ndarray, parts: list[np.ndarray]) -> np.ndarray | None:
    """See `held_out`; taken from the model before it is cut, because a half may ask for more rounds than the whole."""
    if not parts:
        return None
    least, kept = [np.inf, np.inf], None
    if hasattr(model, "classes_"):
        y = np.searchsorted(model.classes_, y)
    y = np.ascontiguousarray(y, dtype=np.float64)
    for raw in model._staged_raw_predict(X):  # (n, outputs) after each round
        kept = raw.copy() if kept is None else kept
        for h, rows in enumerate(parts):
            found = raw[rows] if raw.shape[1] > 1 else raw[rows, 0]
            loss = float(model._loss(y_true=y[rows], raw_prediction=np.ascontiguousarray(found)))
            if loss < least[h]:
                least[h] = loss
                kept[1 - h :: 2] = raw[1 - h :: 2]
    assert kept is not None
    if hasattr(model, "classes_"):
        return model._loss.predict_proba(kept if kept.shape[1] > 1 else kept[:, 0])
    return model._loss.link.inverse(kept[:, 0])


def _best(model: Any) -> int:
    """Rounds that the validation rows ask for."""
    scores = np.asarray(model.validation_score_)
    return max(int(np.argmax(scores)) if len(scores) else model.n_iter_, 1)  # entry 0 is before the first round


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many rounds as the validation rows asked for."""
    return {"max_iter": _best(model)}


def pack(model: Any, n_classes: int | None = None) -> Trees:
    """The fitted model as a scoring step, equal bit for bit in its sums."""
    p = model.n_features_in_
    order, known = np.arange(p), {}
    if model.is_categorical_ is not None:
        # The library puts the categorical columns first and numbers the levels it has seen.
        order = np.concatenate([np.flatnonzero(model.is_categorical_), np.flatnonzero(~model.is_categorical_)])
        for j, levels in enumerate(model._preprocessor.named_transformers_["encoder"].categories_):
            levels = np.asarray(levels, dtype=np.float64)
            known[j] = levels[~np.isnan(levels)].astype(np.int64)
    trees = [_tree(predictor, order, known) for round_ in model._predictors for predictor in round_]
    outputs = model.n_trees_per_iteration_
    base = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
    settings: dict[str, Any] = {"gives": "value"}
    if hasattr(model, "classes_"):
        codes, k = codes_of(model, n_classes)
        settings = {"gives": "probabilities", "link": "softmax" if outputs > 1 else "sigmoid"}
        if len(codes) != k:
            settings |= {"places": codes.astype(np.int32), "classes": k}
    elif model.loss in ("poisson", "gamma"):
        settings["link"] = "exp"
    return Trees.of(trees, p, outputs=outputs, groups=np.arange(len(trees)) % outputs, base=base, **settings)


def _tree(predictor: Any, order: np.ndarray, known: dict[int, np.ndarray]) -> dict[str, Any]:
    """One TreePredictor for Trees.of."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    left = np.where(leaf, -1, nodes["left"].astype(np.int64))
    right = np.where(leaf, -1, nodes["right"].astype(np.int64))
    missing = nodes["missing_go_to_left"].astype(np.int8)
    categories = {}
    for i in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][i]]
        bits = np.unpackbits(np.asarray(words).astype("<u4").view(np.uint8), bitorder="little")
        levels = known[int(nodes["feature_idx"][i])]
        goes_left = bits[: len(levels)].astype(bool)
        if missing[i]:
            # Levels never seen go where NaN goes. Turned round, that is to the right, as our step has it.
            left[i], right[i], missing[i], goes_left = right[i], left[i], 0, ~goes_left
        categories[int(i)] = levels[goes_left]
    return {
        "left": left,
        "right": right,
        "feature": order[np.where(leaf, 0, nodes["feature_idx"])],
        "threshold": finite(nodes["num_threshold"]),
        "missing": missing,
        "value": nodes["value"],
        "categories": categories,
    }
