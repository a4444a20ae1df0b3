"""XGBoost: gradient boosting with second-order steps and level-wise trees."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models._place import codes_of
from everymodel.models._trees import by_other_half, halves
from everymodel.scoring.steps.trees import Trees

CARD = {
    "name": "xgboost",
    "title": "XGBoost",
    "summary": "Adds up hundreds of small decision trees, each correcting the ones before; grows them level by level.",
    "choose": "Tables of any size with mixed columns, or to compare with published results.",
    "avoid": "When LightGBM or CatBoost are there: they are as accurate, and quicker to install and to fit.",
    "gives": ["probabilities", "importances"],
    "needs": {"missing": True, "categories": "codes", "package": "xgboost"},
    "cost": {"scale": 0.0004, "rows_power": 0.65, "columns_power": 0.8},
    "references": ["Chen and Guestrin (2016), XGBoost: a scalable tree boosting system. KDD."],
    "advice": ["accurate", "interactions", "missing_values", "big_data", "medium_data"],
    "priority": 35,
    "fixed": {"tree_method": "hist", "verbosity": 0},
    "parameters": {
        "n_estimators": {
            "type": "int",
            "default": 300,
            "low": 1,
            "high": 20000,
            "tune": False,
            "text": "Most rounds (one tree per class); fewer where validation rows stop the fit early.",
        },
        "learning_rate": {
            "type": "float",
            "default": 0.08,
            "low": 0.005,
            "high": 0.5,
            "log": True,
            "text": "Weight of each new tree: smaller is more accurate and slower.",
        },
        "max_depth": {
            "type": "int",
            "default": 6,
            "low": 1,
            "high": 14,
            "text": "Most questions in a row: how many columns may act together.",
        },
        "min_child_weight": {
            "type": "float",
            "default": 1.0,
            "low": 0.01,
            "high": 100.0,
            "log": True,
            "text": "Least weight of the rows in a leaf.",
        },
        "subsample": {
            "type": "float",
            "default": 0.9,
            "low": 0.2,
            "high": 1.0,
            "text": "Share of the rows that each tree sees.",
        },
        "colsample_bytree": {
            "type": "float",
            "default": 0.8,
            "low": 0.1,
            "high": 1.0,
            "text": "Share of the columns that each tree sees.",
        },
        "reg_lambda": {
            "type": "float",
            "default": 1.0,
            "low": 1e-3,
            "high": 100.0,
            "log": True,
            "text": "How strongly leaf values are pulled towards zero.",
        },
    },
    "presets": [
        {"n_estimators": 3000, "learning_rate": 0.06},
        {"n_estimators": 3000, "learning_rate": 0.04, "max_depth": 9, "min_child_weight": 3.0, "colsample_bytree": 0.6},
    ],
    "tiny": [{"n_estimators": 8, "max_depth": 3, "tree_method": "hist", "n_jobs": 1, "random_state": 0}],
    "classes": {
        "classifier": {
            "class": "xgboost:XGBClassifier",
            "tasks": ["binary", "multiclass"],
            "waivers": {
                "check_all_zero_sample_weights_error": "The library has rules of its own here.",
                "check_classifier_data_not_an_array": "The library has rules of its own here.",
                "check_classifiers_classes": "The library has rules of its own here.",
                "check_classifiers_multilabel_output_format_predict": "The library has rules of its own here.",
                "check_dont_overwrite_parameters": "The library sets its objective from the classes seen.",
                "check_estimators_dtypes": "The library has rules of its own here.",
                "check_estimators_overwrite_params": "The library sets its objective from the classes seen.",
                "check_fit2d_1feature": "The library has rules of its own here.",
                "check_fit2d_1sample": "The library has rules of its own here.",
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weights_not_an_array": "The library has rules of its own here.",
                "check_sample_weights_not_overwritten": "The library has rules of its own here.",
                "check_sample_weights_pandas_series": "The library has rules of its own here.",
                "check_sample_weights_shape": "The library has rules of its own here.",
            },
        },
        "regressor": {
            "class": "xgboost:XGBRegressor",
            "tasks": ["regression"],
            "gives": ["importances"],
            "waivers": {
                "check_all_zero_sample_weights_error": "The library has rules of its own here.",
                "check_regressor_multioutput": "The library has rules of its own here.",
            },
        },
    },
}


def _stopper(stop: Callable[[], bool]) -> Any:
    from xgboost.callback import TrainingCallback

    class Stop(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return stop()

    return Stop()


def fit(
    model: Any,
    X: Any,
    y: np.ndarray,
    *,
    valid: tuple[Any, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
) -> Any:
    """Add trees until the loss on `valid` has not fallen for a while, `stop` says so, or n_estimators are made."""
    classes = "Classifier" in type(model).__name__
    if classes:
        model.codes_, y = np.unique(y, return_inverse=True)  # the library wants 0..k-1 without gaps
    sets, parts = [], []
    if valid is not None:
        known = np.isin(valid[1], model.codes_) if classes else np.ones(len(valid[1]), dtype=bool)
        goal = np.searchsorted(model.codes_, valid[1]) if classes else valid[1]
        if known.any():  # the last set is the one that ends the fit
            parts = halves(len(known), known)
            sets = [(valid[0][rows], goal[rows]) for rows in [*parts, np.flatnonzero(known)]]
    patience = int(min(200, max(30, round(3.0 / (model.learning_rate or 0.3)))))
    model.set_params(
        n_jobs=threads,
        early_stopping_rounds=patience if sets else None,
        callbacks=None if stop is None else [_stopper(stop)],
    )
    model.fit(X, y, eval_set=sets or None, verbose=False)
    model.rounds_of_halves_ = None
    if parts:
        losses = [next(reversed(told.values())) for told in model.evals_result().values()]
        model.rounds_of_halves_ = tuple(int(np.argmin(own)) + 1 for own in losses[:2])
    return model.set_params(callbacks=None)  # the callback holds on to the caller's clock


def held_out(model: Any, X: Any) -> np.ndarray | None:
    """Answers for the validation rows X, each with as many rounds as the other half of the rows asked for."""
    rounds = getattr(model, "rounds_of_halves_", None)
    if rounds is None:
        return None
    answer = model.predict_proba if hasattr(model, "codes_") else model.predict
    return by_other_half(X, rounds, lambda rows, n: answer(rows, iteration_range=(0, n)))


def _rounds(model: Any) -> int:
    """Rounds that answering uses."""
    best = getattr(model, "best_iteration", None) if model.early_stopping_rounds else None
    return int(model.get_booster().num_boosted_rounds() if best is None else best + 1)


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many rounds as the validation rows asked for."""
    return {"n_estimators": _rounds(model)}


def pack(model: Any, n_classes: int | None = None) -> Trees:
    """The fitted model as a scoring step; sums are made in float32 as the library does, equal bit for bit.

    The library's link rounds to float32 too, ours does not: probabilities differ by up to 1e-7.
    """
    told = json.loads(bytes(model.get_booster().save_raw("json")))["learner"]
    forest = told["gradient_booster"]["model"]
    objective = told["objective"]["name"]
    outputs = max(int(told["learner_model_param"]["num_class"]), 1)
    rounds = _rounds(model)
    bounds = forest["iteration_indptr"]
    groups = forest["tree_info"][: bounds[rounds]]
    trees = [_tree(t) for t in forest["trees"][: bounds[rounds]]]
    # One base for all, or from version 3.1 on a list of them; kept on the scale of the answer.
    base = np.array(json.loads(told["learner_model_param"]["base_score"]), dtype=np.float32).reshape(-1)
    settings: dict[str, Any] = {"gives": "value"}
    if hasattr(model, "classes_"):
        codes, k = codes_of(model, n_classes)
        codes = model.codes_.astype(np.int64) if n_classes is not None and hasattr(model, "codes_") else codes
        settings = {"gives": "probabilities", "link": "softmax" if outputs > 1 else "sigmoid"}
        if objective == "binary:logistic":
            base = -np.log(np.float32(1.0) / base - np.float32(1.0))
        if len(codes) != k:
            settings |= {"places": codes.astype(np.int32), "classes": k}
    elif objective in ("count:poisson", "reg:gamma", "reg:tweedie"):
        base = np.log(base)
        settings["link"] = "exp"
    return Trees.of(
        trees,
        model.n_features_in_,
        outputs=outputs,
        groups=np.asarray(groups),
        base=np.broadcast_to(base, (outputs,)).astype(np.float32),
        value_type="float32",
        x_type="float32",
        comparison="<",
        **settings,
    )


def _tree(told: dict[str, Any]) -> dict[str, Any]:
    left = np.asarray(told["left_children"], dtype=np.int64)
    conditions = np.asarray(told["split_conditions"], dtype=np.float32)  # the answer, at a leaf
    return {
        "left": left,
        "right": np.asarray(told["right_children"], dtype=np.int64),
        "feature": np.where(left < 0, 0, np.asarray(told["split_indices"], dtype=np.int64)),
        "threshold": conditions,
        "missing": np.asarray(told["default_left"], dtype=np.int8),
        "value": conditions,
    }
