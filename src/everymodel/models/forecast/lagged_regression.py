"""Regression on lags: what follows a window of values is a weighted sum of it, or the answer of boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.core.seeds import derive
from everymodel.models._series import SeriesForecaster, learning_rows, usual_length, whole
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.forecast import Lagged, step_features
from everymodel.scoring.steps.linear import Linear
from everymodel.scoring.steps.trees import NAN_AS_ZERO, Trees

CARD = {
    "name": "lagged_regression",
    "title": "Lagged regression",
    "summary": "Predicts the next values from a window of the last ones, with weights that all series share.",
    "choose": "One long series or many short ones of a kind; cycles of no fixed length; several seasons at once.",
    "avoid": "A single series of two dozen values or less.",
    "gives": [],
    "needs": {"inputs": "sequence"},
    "cost": {"scale": 1e-5, "rows_power": 1.0, "columns_power": 1.0},
    "references": [
        "Montero-Manso and Hyndman (2021), Principles and algorithms for forecasting groups of time series: locality "
        "and globality. International Journal of Forecasting 37(4).",
    ],
    "advice": ["basic", "series", "big_data"],
    "priority": 3,
    "parameters": {
        "horizon": {},
        "season": {},
        "length": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 10000,
            "text": "Values in a window; by default two seasons and more, as far as the series are long enough.",
        },
        "regressor": {
            "type": "choice",
            "default": "ridge",
            "choices": ["ridge", "lightgbm"],
            "text": "Weighted sums with small weights, or boosted trees over the window and the step.",
        },
        "strategy": {
            "type": "choice",
            "default": "direct",
            "choices": ["direct", "recursive"],
            "text": "Ridge: weights for every step ahead, or for the next one alone, asked again and again.",
        },
        "transform": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "none", "log"],
            "text": "Learn from logarithms; auto does where all values are above zero.",
        },
        "alpha": {
            "type": "float",
            "default": None,
            "low": 1e-6,
            "high": 1e6,
            "log": True,
            "text": "How strongly ridge weights are pulled to the seasonal-naive ones; found by leaving rows out.",
        },
        "random_state": {
            "type": "int",
            "default": 0,
            "low": 0,
            "high": 2147483647,
            "tune": False,
            "text": "Seed of the trees.",
        },
    },
    "tiny": [
        {"horizon": 4, "length": 8},
        {"horizon": 4, "strategy": "recursive"},
        {"horizon": 3, "regressor": "lightgbm"},
    ],
    "presets": [{}, {"strategy": "recursive"}, {"transform": "none"}, {"regressor": "lightgbm"}],
    "classes": {
        "forecaster": {
            "class": "everymodel.models.forecast.lagged_regression:LaggedRegression",
            "tasks": ["forecast"],
        }
    },
}
_TREES = {"objective": "l2", "learning_rate": 0.06, "num_leaves": 12, "min_data_in_leaf": 10, "verbosity": -1,
          "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "deterministic": True,
          "force_row_wise": True, "lambda_l2": 1.0, "num_threads": 1}  # fmt: skip


class LaggedRegression(SeriesForecaster):
    """Windows of the last values, each centred and divided by its spread, and what followed them.

    Ridge: z = window W + b, where W starts from the seasonal-naive forecast and is pulled back to it. Trees: one row
    for each window and step ahead, with the same season's last values, the last values, slope and spread as columns.

    Parameters
    ----------
    horizon, season, length, regressor, strategy, transform, alpha, random_state : see the card.

    Attributes
    ----------
    length_ : values in a window. alpha_ : strength of the pull. log_ : whether logarithms were taken.
    season_, series_, step_

    Raises
    ------
    DataError
        when no series is longer than the horizon by two values.
    ParameterError

    Examples
    --------
    >>> wave = np.sin(np.arange(80) * np.pi / 6) + 3
    >>> model = LaggedRegression(horizon=3, season=12).fit(wave[:77])
    >>> bool(np.abs(model.predict() - wave[77:]).max() < 0.1)
    True
    """

    def __init__(
        self,
        horizon: int = 12,
        season: int | None = None,
        length: int | None = None,
        regressor: str = "ridge",
        strategy: str = "direct",
        transform: str = "auto",
        alpha: float | None = None,
        random_state: int = 0,
    ):
        self.horizon = horizon
        self.season = season
        self.length = length
        self.regressor = regressor
        self.strategy = strategy
        self.transform = transform
        self.alpha = alpha
        self.random_state = random_state

    def _check(self) -> None:
        super()._check()
        for name, words in (
            ("regressor", ("ridge", "lightgbm")),
            ("strategy", ("direct", "recursive")),
            ("transform", ("auto", "none", "log")),
        ):
            if getattr(self, name) not in words:
                raise ParameterError(f"{name}={getattr(self, name)!r} is not possible: expected {' or '.join(words)}.")
        if self.length is not None:
            whole("length", self.length)

    def _learn(self, cells: list[np.ndarray]) -> None:
        self.log_ = self.transform == "log" or (self.transform == "auto" and all(y.min() > 0 for y in cells))
        reach = 1 if self.strategy == "recursive" and self.regressor == "ridge" else int(self.horizon)
        self.length_ = self.length or usual_length(cells, reach, self.season_)
        x, z = learning_rows(cells, self.length_, reach, self.log_, derive(self.random_state, "windows"))
        cycle = self.season_ if self.season_ <= self.length_ else 1
        if self.regressor == "lightgbm":
            self._inner: Step = self._trees(x, z)
            return
        last = np.zeros((self.length_, reach))  # the seasonal-naive forecast as weights
        last[self.length_ - cycle + np.arange(reach) % cycle, np.arange(reach)] = 1.0
        weights, bias, self.alpha_ = ridge(x, z - x @ last, self.alpha)
        coef = weights + last
        self._inner = Linear(coef, bias) if reach > 1 or self.strategy == "direct" else Linear(coef[:, 0], bias[0])

    def _trees(self, x: np.ndarray, z: np.ndarray) -> Step:
        import lightgbm

        features = step_features(x, z.shape[1], self.season_)
        y = z.reshape(-1) - features[:, 1]
        settings = {**_TREES, "seed": derive(self.random_state, "trees")}
        rounds = 200
        made = lightgbm.train(settings, lightgbm.Dataset(features, y), rounds)
        return _as_step(made.dump_model(), features.shape[1])

    def _step(self) -> Step:
        trees = self.regressor == "lightgbm"
        strategy = "by step" if trees else self.strategy
        return Lagged(self._inner, self.length_, int(self.horizon), self.season_, self.log_, strategy)


def ridge(x: np.ndarray, z: np.ndarray, alpha: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (p, t), intercepts (t,) and the pull, by leaving one row out where it is not given."""
    mean, middle = x.mean(axis=0), z.mean(axis=0)
    u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    projected = u.T @ (z - middle)  # (r, t)
    tried = np.array([alpha]) if alpha is not None else np.geomspace(1e-2, 1e4, 19)
    best = (np.inf, float(tried[0]))
    for a in tried if len(tried) > 1 else ():
        shrunk = s * s / (s * s + a)
        left = (z - middle) - u @ (shrunk[:, None] * projected)
        leverage = 1.0 / len(x) + (u * u * shrunk).sum(axis=1)
        error = left / np.maximum(1.0 - leverage, 1e-3)[:, None]
        best = min(best, (float(np.abs(error).mean()), float(a)))
    a = best[1]
    weights = vt.T @ ((s / (s * s + a))[:, None] * projected)
    return weights, middle - mean @ weights, a


def _as_step(told: dict[str, Any], features: int) -> Trees:
    """LightGBM's own description of its trees as a step."""
    return Trees.of(
        [_tree(info["tree_structure"]) for info in told["tree_info"]],
        features,
        groups=np.zeros(len(told["tree_info"]), dtype=int),
    )


def _tree(root: dict[str, Any]) -> dict[str, Any]:
    left, right, feature, threshold, value = [], [], [], [], []

    def walk(node: dict[str, Any]) -> int:
        at = len(left)
        split = "split_feature" in node
        left.append(-1)
        right.append(-1)
        feature.append(node["split_feature"] if split else 0)
        threshold.append(node["threshold"] if split else 0.0)
        value.append(0.0 if split else node["leaf_value"])
        if split:
            left[at] = walk(node["left_child"])
            right[at] = walk(node["right_child"])
        return at

    walk(root)
    return {
        "left": np.array(left),
        "right": np.array(right),
        "feature": np.array(feature),
        "threshold": np.array(threshold, dtype=float),
        "missing": np.full(len(left), NAN_AS_ZERO),
        "value": np.array(value, dtype=float),
    }


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: cells (T, 1) to (n, horizon)."""
    return model.step_
