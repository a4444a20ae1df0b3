"""LightGBM: gradient boosting with leaf-wise trees, the fastest booster on tables."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models._place import codes_of
from everymodel.models._trees import by_other_half, finite, halves
from everymodel.scoring.steps.trees import NAN_AS_ZERO, ZERO_IS_MISSING, Trees

CARD = {
    "name": "lightgbm",
    "title": "LightGBM",
    "summary": "Adds up hundreds of small decision trees, each correcting the ones before; grows the worst leaf first.",
    "choose": "Tables of any size with mixed columns: usually among the best two, and the quickest of the boosters.",
    "avoid": "A few dozen rows; relations that must go on beyond the values seen; when one formula must be read.",
    "gives": ["probabilities", "importances"],
    "needs": {"missing": True, "categories": "native", "sparse": True, "package": "lightgbm"},
    "cost": {"scale": 0.0003, "rows_power": 0.65, "columns_power": 0.8},
    "references": ["Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree. NeurIPS 30."],
    "advice": ["accurate", "interactions", "missing_values", "categories", "big_data", "medium_data"],
    "priority": 20,
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
            "default": 0.06,
            "low": 0.005,
            "high": 0.5,
            "log": True,
            "text": "Weight of each new tree: smaller is more accurate and slower.",
        },
        "num_leaves": {
            "type": "int",
            "default": 31,
            "low": 2,
            "high": 512,
            "log": True,
            "text": "Most leaves of a tree: how many columns may act together.",
        },
        "min_child_samples": {
            "type": "int",
            "default": 20,
            "low": 1,
            "high": 500,
            "log": True,
            "text": "Fewest rows in a leaf.",
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
            "default": 0.9,
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
        "extra_trees": {
            "type": "bool",
            "default": False,
            "text": "Draw thresholds at random: more different trees, less overfitting.",
        },
    },
    "fixed": {"verbosity": -1, "deterministic": True, "force_row_wise": True, "subsample_freq": 1},
    "tiny": [
        {
            "n_estimators": 12,
            "num_leaves": 7,
            "min_child_samples": 5,
            "verbosity": -1,
            "random_state": 0,
            "n_jobs": 1,
        }
    ],
    "presets": [
        {
            "n_estimators": 3000,
            "learning_rate": 0.05,
            "num_leaves": 16,
            "min_child_samples": 5,
            "colsample_bytree": 0.5,
            "subsample": 0.7,
        },
        {
            "n_estimators": 3000,
            "learning_rate": 0.03,
            "num_leaves": 96,
            "min_child_samples": 5,
            "colsample_bytree": 0.6,
            "subsample": 0.8,
        },
        {
            "n_estimators": 4000,
            "learning_rate": 0.06,
            "extra_trees": True,
            "min_child_samples": 5,
            "colsample_bytree": 0.7,
        },
    ],
    "classes": {
        "classifier": {
            "class": "lightgbm:LGBMClassifier",
            "waivers": {
                "check_all_zero_sample_weights_error": "The library does not look at the weights' sum.",
                "check_no_attributes_set_in_init": "The library keeps its extra arguments as attributes.",
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["binary", "multiclass"],
        },
        "regressor": {
            "class": "lightgbm:LGBMRegressor",
            "waivers": {
                "check_all_zero_sample_weights_error": "The library does not look at the weights' sum.",
                "check_no_attributes_set_in_init": "The library keeps its extra arguments as attributes.",
                "check_sample_weight_equivalence_on_dense_data": "Weighted rows are not treated like repeated ones.",
                "check_sample_weight_equivalence_on_sparse_data": "Weighted rows are not treated like repeated ones.",
            },
            "tasks": ["regression"],
            "gives": ["importances"],
            "parameters": {
                "objective": {
                    "type": "choice",
                    "default": "regression",
                    "choices": ["regression", "regression_l1", "huber", "poisson", "gamma", "tweedie"],
                    "tune": False,
                    "text": "What is made small: squared error, absolute error, or the loss of a count or amount.",
                },
            },
        },
    },
}

# Objectives whose answers are the exponential of the sum.
_EXPONENTIAL = ("poisson", "gamma", "tweedie")


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
    sets: list[tuple[Any, np.ndarray]] = []
    if valid is not None:
        known = np.ones(len(valid[1]), dtype=bool)
        if hasattr(model, "predict_proba"):  # the library refuses classes that it was not fitted on
            known = np.isin(valid[1], np.unique(y))
        parts = halves(len(known), known) or ([np.flatnonzero(known)] if known.any() else [])
        sets = [(valid[0][rows], valid[1][rows]) for rows in parts]
    model.set_params(n_jobs=threads)
    # Small steps need more patience.
    patience = int(min(250, max(30, round(3.0 / model.learning_rate))))
    model.fit(
        X,
        y,
        **_validation(model, sets),
        categorical_feature=[int(i) for i in native] if len(native) else "auto",
        callbacks=[watch := _Watch(patience, stop, [len(own) for _, own in sets])],
    )
    model.rounds_of_halves_ = watch.best_of_halves()
    if sets:
        model.booster_.best_iteration = model._best_iteration = watch.best_at + 1
    return model


def held_out(model: Any, X: Any) -> np.ndarray | None:
    """Answers for the validation rows X, each with as many trees as the other half of the rows asked for."""
    rounds = getattr(model, "rounds_of_halves_", None)
    if rounds is None:
        return None
    answer = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    return by_other_half(X, rounds, lambda rows, n: answer(rows, num_iteration=n))


def _validation(model: Any, sets: list[tuple[Any, np.ndarray]]) -> dict[str, Any]:
    """Validation rows by the name that this version of the library wants."""
    if not sets:
        return {}
    if "eval_X" in inspect.signature(model.fit).parameters:
        return {"eval_X": tuple(x for x, _ in sets), "eval_y": tuple(y for _, y in sets)}
    return {"eval_set": sets}


class _Watch:
    """LightGBM callback: ends the fit when patience or time is out, and keeps the best number of trees.

    Losses of the halves of the validation rows are means, so their weighted mean is the loss of all.
    """

    order = 30
    before_iteration = False

    def __init__(self, patience: int, stop: Callable[[], bool] | None, rows: list[int]):
        self.patience, self.stop = patience, stop
        self.shares = [count / sum(rows) for count in rows]
        self.best, self.best_at, self.best_list = math.inf, 0, []
        self.halves = [(math.inf, 0), (math.inf, 0)]

    def __call__(self, env: Any) -> None:
        from lightgbm.callback import EarlyStopException

        results = env.evaluation_result_list or []
        if results:
            metric = results[0][1]
            losses = [-r[2] if r[3] else r[2] for r in results if r[1] == metric]
            value = sum(share * loss for share, loss in zip(self.shares, losses))
            if value < self.best:
                self.best, self.best_at, self.best_list = value, env.iteration, results
            for h, loss in enumerate(losses[:2]):
                if loss < self.halves[h][0]:
                    self.halves[h] = (loss, env.iteration)
            over = env.iteration - self.best_at >= self.patience or env.iteration == env.end_iteration - 1
        else:
            self.best_at, over = env.iteration, False
        if over or (self.stop is not None and self.stop()):
            # The library drops trees after the one named here, and half of the rows may ask for more than the whole.
            raise EarlyStopException(env.iteration, self.best_list)

    def best_of_halves(self) -> tuple[int, int] | None:
        """Trees that each half of the validation rows asks for."""
        if len(self.shares) < 2 or not math.isfinite(max(loss for loss, _ in self.halves)):
            return None
        return self.halves[0][1] + 1, self.halves[1][1] + 1


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many trees as the validation rows asked for."""
    return {"n_estimators": int(model.best_iteration_ or model.n_estimators_)}


def pack(model: Any, n_classes: int | None = None) -> Trees:
    """The fitted model as a scoring step, equal bit for bit in its sums."""
    best = model.best_iteration_ or -1
    header, trees = read_text(model.booster_.model_to_string(num_iteration=best))
    outputs = int(header["num_tree_per_iteration"])
    objective, *options = header.get("objective", "regression").split()
    sigma = next((float(o[8:]) for o in options if o.startswith("sigmoid:")), 1.0)
    settings: dict[str, Any] = {"gives": "value"}
    if hasattr(model, "classes_"):
        codes, k = codes_of(model, n_classes)
        settings = {"gives": "probabilities", "link": "softmax" if objective == "multiclass" else "sigmoid"}
        settings["sigma"] = 1.0 if objective == "multiclass" else sigma
        if len(codes) != k:
            settings |= {"places": codes.astype(np.int32), "classes": k}
    elif objective in _EXPONENTIAL:
        settings["link"] = "exp"
    return Trees.of(
        trees,
        int(header["max_feature_idx"]) + 1,
        outputs=outputs,
        groups=np.arange(len(trees)) % outputs if outputs > 1 else np.zeros(len(trees), dtype=int),
        divide=len(trees) // outputs if "average_output" in header else None,
        **settings,
    )


def read_text(text: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """LightGBM's own text -> (header, trees for Trees.of). The text comes from a booster in memory, not from a file."""
    head, *blocks = text.split("\nTree=")
    header = dict(line.partition("=")[::2] for line in head.splitlines())
    trees = []
    for block in blocks:
        lines = dict(line.partition("=")[::2] for line in block.split("\n\n")[0].splitlines()[1:])
        trees.append(_tree(lines))
    return header, trees


def _numbers(text: str, kind: type = np.float64) -> np.ndarray:
    return np.array(text.split(), dtype=kind)


def _tree(lines: dict[str, str]) -> dict[str, Any]:
    """One tree: splits come first (0..s-1), then leaves (s..2s); children -1-i are leaves i."""
    value = _numbers(lines["leaf_value"])
    leaves = len(value)
    if leaves == 1:
        end, zero = np.array([-1]), np.zeros(1)
        return {"left": end, "right": end, "feature": np.zeros(1, dtype=int), "threshold": zero, "value": value}
    s = leaves - 1
    kinds = _numbers(lines["decision_type"], np.int64)
    threshold = _numbers(lines["threshold"])
    by_set = (kinds & 1) == 1
    missing = np.where((kinds >> 2 & 3) == 0, NAN_AS_ZERO, (kinds >> 1) & 1)  # no missing seen: NaN counts as 0.0
    missing = np.where((kinds >> 2 & 3) == 1, ((kinds >> 1) & 1) | ZERO_IS_MISSING, missing)
    missing[by_set] = 0
    categories = {}
    if by_set.any():
        bounds, words = _numbers(lines["cat_boundaries"], np.int64), _numbers(lines["cat_threshold"], np.uint32)
        for node in np.flatnonzero(by_set):
            which = int(threshold[node])
            bits = np.unpackbits(
                words[bounds[which] : bounds[which + 1]].astype("<u4").view(np.uint8), bitorder="little"
            )
            categories[int(node)] = np.flatnonzero(bits)
    child = {side: _numbers(lines[f"{side}_child"], np.int64) for side in ("left", "right")}
    ends = np.full(leaves, -1)
    return {
        **{side: np.concatenate([np.where(c < 0, s - 1 - c, c), ends]) for side, c in child.items()},
        "feature": np.concatenate([_numbers(lines["split_feature"], np.int64), np.zeros(leaves, dtype=np.int64)]),
        "threshold": np.concatenate([finite(threshold), np.zeros(leaves)]),
        "missing": np.concatenate([missing, np.zeros(leaves, dtype=np.int64)]),
        "value": np.concatenate([np.zeros(s), value]),
        "categories": categories,
    }
