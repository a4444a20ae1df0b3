"""CatBoost: gradient boosting with symmetric trees, the strongest booster without tuning."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.models._place import codes_of
from everymodel.models._trees import by_other_half, halves
from everymodel.scoring.steps.trees import Oblivious

CARD = {
    "name": "catboost",
    "title": "CatBoost",
    "summary": "Adds up hundreds of symmetric trees, in which every level asks one question of all rows.",
    "choose": "Tables of any size when the best score without tuning counts; answers fastest of all boosters.",
    "avoid": "A very short time budget on wide data; relations that must go on beyond the values seen.",
    "gives": ["probabilities", "importances"],
    "needs": {"missing": True, "categories": "codes", "package": "catboost"},
    "cost": {"scale": 0.027, "rows_power": 0.45, "columns_power": 0.4},
    "references": ["Prokhorenkova et al. (2018), CatBoost: unbiased boosting with categorical features. NeurIPS 31."],
    "advice": ["accurate", "interactions", "missing_values", "categories", "medium_data", "small_data"],
    "priority": 25,
    "fixed": {"verbose": 0, "allow_writing_files": False},
    "parameters": {
        "iterations": {
            "type": "int",
            "default": 1000,
            "low": 1,
            "high": 20000,
            "tune": False,
            "text": "Most trees; fewer where validation rows stop the fit early.",
        },
        "learning_rate": {
            "type": "float",
            "default": None,
            "low": 0.005,
            "high": 0.5,
            "log": True,
            "text": "Weight of each new tree; none: chosen from the number of rows and trees.",
        },
        "depth": {
            "type": "int",
            "default": 6,
            "low": 1,
            "high": 12,
            "text": "Questions per tree: how many columns may act together.",
        },
        "l2_leaf_reg": {
            "type": "float",
            "default": None,
            "low": 0.1,
            "high": 100.0,
            "log": True,
            "text": "How strongly leaf values are pulled towards zero; none: the library's 3.",
        },
        "random_strength": {
            "type": "float",
            "default": 1.0,
            "low": 0.0,
            "high": 20.0,
            "text": "How much chance there is in the choice of questions.",
        },
        "rsm": {
            "type": "float",
            "default": 1.0,
            "low": 0.1,
            "high": 1.0,
            "tune": False,
            "text": "Share of the columns looked at for each question.",
        },
    },
    "presets": [
        {"iterations": 1000, "depth": 6},
        {"iterations": 2000, "depth": 8, "learning_rate": 0.05, "l2_leaf_reg": 2.5},
        {"iterations": 3000, "depth": 4, "learning_rate": 0.05},
    ],
    "tiny": [
        {
            "iterations": 10,
            "depth": 3,
            "verbose": 0,
            "allow_writing_files": False,
            "thread_count": 1,
            "random_seed": 0,
        }
    ],
    "classes": {
        "classifier": {
            "class": "catboost:CatBoostClassifier",
            "waivers": {
                "check_all_zero_sample_weights_error": "The library has rules of its own here.",
                "check_classifier_data_not_an_array": "The library has rules of its own here.",
                "check_classifiers_one_label": "The library has rules of its own here.",
                "check_classifiers_regression_target": "The library has rules of its own here.",
                "check_classifiers_train": "The library has rules of its own here.",
                "check_complex_data": "The library has rules of its own here.",
                "check_do_not_raise_errors_in_init_or_set_params": "The library has rules of its own here.",
                "check_dtype_object": "The library has rules of its own here.",
                "check_estimator_sparse_array": "The library has rules of its own here.",
                "check_estimator_sparse_matrix": "The library has rules of its own here.",
                "check_estimator_sparse_tag": "The library has rules of its own here.",
                "check_estimators_empty_data_messages": "The library has rules of its own here.",
                "check_estimators_unfitted": "The library has rules of its own here.",
                "check_fit1d": "The library has rules of its own here.",
                "check_fit2d_1sample": "The library has rules of its own here.",
                "check_fit2d_predict1d": "The library has rules of its own here.",
                "check_n_features_in": "The library has rules of its own here.",
                "check_n_features_in_after_fitting": "The library has rules of its own here.",
                "check_requires_y_none": "The library has rules of its own here.",
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are binned unlike repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "The library has rules of its own here.",
                "check_sample_weights_not_an_array": "The library has rules of its own here.",
                "check_sample_weights_shape": "The library has rules of its own here.",
                "check_supervised_y_2d": "The library has rules of its own here.",
                "check_supervised_y_no_nan": "The library has rules of its own here.",
            },
            "tasks": ["binary", "multiclass"],
        },
        "regressor": {
            "class": "catboost:CatBoostRegressor",
            "waivers": {
                "check_all_zero_sample_weights_error": "The library has rules of its own here.",
                "check_complex_data": "The library has rules of its own here.",
                "check_do_not_raise_errors_in_init_or_set_params": "The library has rules of its own here.",
                "check_dtype_object": "The library has rules of its own here.",
                "check_estimator_sparse_array": "The library has rules of its own here.",
                "check_estimator_sparse_matrix": "The library has rules of its own here.",
                "check_estimator_sparse_tag": "The library has rules of its own here.",
                "check_estimators_empty_data_messages": "The library has rules of its own here.",
                "check_estimators_unfitted": "The library has rules of its own here.",
                "check_fit1d": "The library has rules of its own here.",
                "check_fit2d_1sample": "The library has rules of its own here.",
                "check_fit2d_predict1d": "The library has rules of its own here.",
                "check_n_features_in": "The library has rules of its own here.",
                "check_n_features_in_after_fitting": "The library has rules of its own here.",
                "check_regressor_data_not_an_array": "The library has rules of its own here.",
                "check_regressors_train": "The library has rules of its own here.",
                "check_requires_y_none": "The library has rules of its own here.",
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are binned unlike repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "The library has rules of its own here.",
                "check_sample_weights_not_an_array": "The library has rules of its own here.",
                "check_sample_weights_shape": "The library has rules of its own here.",
                "check_supervised_y_2d": "The library has rules of its own here.",
                "check_supervised_y_no_nan": "The library has rules of its own here.",
            },
            "tasks": ["regression"],
            "gives": ["importances"],
        },
    },
}

# Losses whose answers are the exponential of the sum.
_EXPONENTIAL = ("Poisson", "Tweedie")


class _Stop:
    """CatBoost callback: the fit ends after the tree during which `stop` has become true."""

    def __init__(self, stop: Callable[[], bool]):
        self.stop = stop

    def after_iteration(self, info: Any) -> bool:
        return not self.stop()


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
    """Add trees until the loss on `valid` has not fallen for a while, `stop` says so, or all iterations are done.

    `native` columns are taken as numbers: the library's own tables for categories could not be packed.
    """
    rate = model.get_params().get("learning_rate")
    if rate is None and model.get_params().get("l2_leaf_reg") is not None:
        # The library chooses a rate only where the regularisation is its own, and else falls back to a slow 0.03.
        rate = 0.06
        model.set_params(learning_rate=rate)
    patience = int(min(200, max(30, round(3.0 / rate)))) if rate else 50
    settings: dict[str, Any] = {}
    parts: list[np.ndarray] = []
    if valid is not None:
        known = np.ones(len(valid[1]), dtype=bool)
        if "Classifier" in type(model).__name__:
            known = np.isin(valid[1], np.unique(y))
        if known.any():  # the last set is the one that ends the fit
            parts = halves(len(known), known)
            sets = [(valid[0][rows], valid[1][rows]) for rows in [*parts, np.flatnonzero(known)]]
            settings = {"eval_set": sets, "early_stopping_rounds": patience, "use_best_model": True}
            # A half may ask for more trees than the whole: all are kept, and cut below. (The rate that the library
            # chooses depends on use_best_model, so it stays on.)
            model.set_params(best_model_min_trees=int(model.get_params().get("iterations") or 1000))
    if stop is not None:
        settings["callbacks"] = [_Stop(stop)]
    model.set_params(thread_count=threads)
    model.fit(X, y, **settings)
    if valid is not None and settings.get("eval_set"):
        losses = [next(iter(told.values())) for name, told in model.get_evals_result().items() if name != "learn"]
        rounds = [int(np.argmin(own)) + 1 for own in losses]
        model.held_out_ = _held_out(model, valid[0], rounds) if parts else None
        if rounds[-1] < model.tree_count_:
            model.shrink(rounds[-1])
    return model


def _held_out(model: Any, X: np.ndarray, rounds: Sequence[int]) -> np.ndarray:
    answer = model.predict_proba if "Classifier" in type(model).__name__ else model.predict
    return by_other_half(X, rounds, lambda rows, n: answer(rows, ntree_end=n, thread_count=1))


def held_out(model: Any, X: np.ndarray) -> np.ndarray | None:
    """Answers for the validation rows X, each with as many trees as the other half of the rows asked for."""
    return getattr(model, "held_out_", None)


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many trees as the validation rows asked for, with the learning rate that was used."""
    return {"iterations": max(int(model.tree_count_), 1), "learning_rate": float(model.learning_rate_)}


def pack(model: Any, n_classes: int | None = None) -> Oblivious:
    """The fitted model as a scoring step, equal bit for bit in its sums."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        told = json.loads(path.read_text(encoding="utf-8"))
    columns = told["features_info"]["float_features"]
    depths, feature, border = [], [], []
    for tree in told["oblivious_trees"]:
        splits = tree["splits"] or []
        depths.append(len(splits))
        feature += [columns[s["float_feature_index"]]["flat_feature_index"] for s in splits]
        border += [s["border"] for s in splits]
    scale, bias = model.get_scale_and_bias()
    bias = np.atleast_1d(np.asarray(bias, dtype=np.float64))
    outputs = len(bias)
    values = np.asarray(model.get_leaf_values(), dtype=np.float64).reshape(-1, outputs)
    width = model.n_features_in_
    nan_true = np.zeros(width, dtype=np.int8)
    for column in columns:
        nan_true[column["flat_feature_index"]] = column["nan_value_treatment"] == "AsTrue"
    settings: dict[str, Any] = {"gives": "value"}
    if "Classifier" in type(model).__name__:
        codes, k = codes_of(model, n_classes)
        settings = {"gives": "probabilities", "link": "softmax" if outputs > 1 else "sigmoid"}
        if len(codes) != k:
            settings |= {"places": codes.astype(np.int32), "classes": k}
    elif str(model.get_all_params().get("loss_function", "")).startswith(_EXPONENTIAL):
        settings["link"] = "exp"
    step = Oblivious(
        depths=np.array(depths, dtype=np.int32),
        feature=np.array(feature, dtype=np.int32),
        border=np.array(border, dtype=np.float32),
        value=values,
        n_features=width,
        outputs=outputs,
        scale=float(scale),
        bias=bias,
        nan_true=nan_true if nan_true.any() else None,
        **settings,
    )
    step.check()
    return step
