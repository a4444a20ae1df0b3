"""Exponential smoothing (ETS): level, trend and season that follow the series, each at its own pace."""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import ParameterError
from everymodel.models._series import SeriesForecaster
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.forecast import Smoothing

CARD = {
    "name": "exponential_smoothing",
    "title": "Exponential smoothing",
    "summary": "Follows level, trend and season of each series, near values counting more than far ones.",
    "choose": "Single series of some dozens to some thousands of values, with or without trend and one season.",
    "avoid": "Cycles of no fixed length, several seasons at once, seasons of hundreds of steps.",
    "gives": [],
    "needs": {"inputs": "sequence"},
    "cost": {"scale": 2e-4, "rows_power": 1.0, "columns_power": 0.0},
    "references": [
        "Hyndman, Koehler, Snyder and Grose (2002), A state space framework for automatic forecasting using "
        "exponential smoothing methods. International Journal of Forecasting 18(3).",
    ],
    "advice": ["basic", "interpretable", "series", "small_data"],
    "priority": 2,
    "parameters": {
        "horizon": {},
        "season": {},
        "trend": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "none", "straight", "damped"],
            "text": "Whether the level moves on its own; auto chooses by the corrected Akaike criterion.",
        },
        "seasonality": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "none", "added", "multiplied"],
            "text": "Whether seasons add to the level or multiply it; auto chooses by the same criterion.",
        },
    },
    "tiny": [{"horizon": 4}, {"horizon": 4, "season": 3, "trend": "damped", "seasonality": "added"}],
    "presets": [{}, {"trend": "damped"}],
    "classes": {
        "forecaster": {
            "class": "everymodel.models.forecast.exponential_smoothing:ExponentialSmoothing",
            "tasks": ["forecast"],
        }
    },
}


class ExponentialSmoothing(SeriesForecaster):
    """Level l, trend b and season s that move by a share of each error e: the ETS family.

        y_t = (l + phi b) + s + e    or    (l + phi b) * s + e
        l <- l + phi b + alpha e,  b <- phi b + beta e,  s <- s + gamma e

    Form and shares are chosen for each series by its own past, by likelihood and the corrected Akaike criterion. So
    `predict(history)` fits them to that history.

    Parameters
    ----------
    horizon : steps ahead.
    season : m; 1 for none, None to find it out.
    trend : "auto", "none", "straight" or "damped" (fades out).
    seasonality : "auto", "none", "added" or "multiplied" (of series above zero).

    Raises
    ------
    ParameterError, DataError

    Examples
    --------
    >>> line = [float(t) for t in range(20)]
    >>> ExponentialSmoothing(horizon=2, season=1).fit(line).predict().round(1).tolist()
    [20.0, 21.0]
    """

    def __init__(self, horizon: int = 12, season: int | None = None, trend: str = "auto", seasonality: str = "auto"):
        self.horizon = horizon
        self.season = season
        self.trend = trend
        self.seasonality = seasonality

    def _check(self) -> None:
        super()._check()
        for name, words in (("trend", ("straight", "damped")), ("seasonality", ("added", "multiplied"))):
            value = getattr(self, name)
            if value not in ("auto", "none", *words):
                raise ParameterError(f"{name}={value!r} is not possible: expected auto, none, {' or '.join(words)}.")

    def _step(self) -> Step:
        return Smoothing(int(self.horizon), self.season_, self.trend, self.seasonality)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: cells (T, 1) to (n, horizon)."""
    return model.step_
