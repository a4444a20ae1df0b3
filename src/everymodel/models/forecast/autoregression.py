"""Autoregression (ARIMA's relatives): the next value is a weighted sum of the last ones, with waves over the season."""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import ParameterError
from everymodel.models._series import SeriesForecaster
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.forecast import Autoregressive

CARD = {
    "name": "autoregression",
    "title": "Autoregression",
    "summary": "Weighs the last values of each series, with waves over its season, differences and logarithms.",
    "choose": "Single series of some dozens of values; cycles of no fixed length; long seasons; growth in per cent.",
    "avoid": "A dozen values or less; seasons that change their shape quickly.",
    "gives": [],
    "needs": {"inputs": "sequence"},
    "cost": {"scale": 2e-4, "rows_power": 1.0, "columns_power": 0.0},
    "references": [
        "Box, Jenkins, Reinsel and Ljung (2015), Time Series Analysis: Forecasting and Control.",
        "Hyndman and Athanasopoulos (2021), Forecasting: Principles and Practice, chapter 10 (harmonic regression).",
    ],
    "advice": ["basic", "interpretable", "series", "small_data"],
    "priority": 2,
    "parameters": {
        "horizon": {},
        "season": {},
        "transform": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "none", "log"],
            "text": "Logarithms of series above zero, or none; auto chooses by the corrected Akaike criterion.",
        },
    },
    "tiny": [{"horizon": 4}, {"horizon": 4, "season": 3, "transform": "none"}],
    "presets": [{}],
    "classes": {
        "forecaster": {"class": "everymodel.models.forecast.autoregression:Autoregression", "tasks": ["forecast"]}
    },
}


class Autoregression(SeriesForecaster):
    """The next value as a weighted sum of the last ones, by least squares.

        w_t = c + sum_j (b_j cos + d_j sin)(2 pi j t / m) + sum_k a_k w_{t-k} + e_t

    where w is the series or its logarithm, as it is or its differences over one step, a season m, or both. How many
    lags and waves, a lag of one season, differences, logarithm: one corrected Akaike criterion chooses for each
    series by its own past, comparing all on the same values. So `predict(history)` chooses them on that history.

    Parameters
    ----------
    horizon : steps ahead.
    season : m; 1 for none, None to find it out.
    transform : "auto", "none" or "log" (of series above zero).

    Raises
    ------
    ParameterError, DataError

    Examples
    --------
    >>> import numpy as np
    >>> wave = np.sin(np.arange(80) * 0.7)
    >>> model = Autoregression(horizon=3, season=1).fit(wave[:77])
    >>> bool(np.abs(model.predict() - wave[77:]).max() < 1e-3)
    True
    """

    def __init__(self, horizon: int = 12, season: int | None = None, transform: str = "auto"):
        self.horizon = horizon
        self.season = season
        self.transform = transform

    def _check(self) -> None:
        super()._check()
        if self.transform not in ("auto", "none", "log"):
            raise ParameterError(f"transform={self.transform!r} is not possible: expected auto, none or log.")

    def _step(self) -> Step:
        return Autoregressive(int(self.horizon), self.season_, self.transform)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: cells (T, 1) to (n, horizon)."""
    return model.step_
