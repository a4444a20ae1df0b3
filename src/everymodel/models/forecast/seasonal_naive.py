"""Seasonal-naive: the last season again."""

from __future__ import annotations

from typing import Any

from everymodel.models._series import SeriesForecaster
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.forecast import LastSeason

CARD = {
    "name": "seasonal_naive",
    "title": "Seasonal-naive",
    "summary": "Says that the last season comes again; without a season, that the last value stays.",
    "choose": "The forecast that every other one must beat, and hard to beat for prices and other random walks.",
    "avoid": "Series with a trend (see drift), and noisy ones, whose last value says little.",
    "gives": [],
    "needs": {"inputs": "sequence"},
    "cost": {"scale": 1e-8, "rows_power": 1.0, "columns_power": 0.0},
    "references": ["Hyndman and Athanasopoulos (2021), Forecasting: Principles and Practice, chapter 5.2."],
    "advice": ["basic", "interpretable", "series"],
    "priority": 1,
    "parameters": {
        "horizon": {},
        "season": {},
        "drift": {
            "type": "bool",
            "default": False,
            "text": "Move the season by the mean change per step seen so far.",
        },
    },
    "tiny": [{"horizon": 4}, {"horizon": 4, "season": 3, "drift": True}],
    "presets": [{}, {"drift": True}],
    "classes": {
        "forecaster": {"class": "everymodel.models.forecast.seasonal_naive:SeasonalNaive", "tasks": ["forecast"]}
    },
}


class SeasonalNaive(SeriesForecaster):
    """The last season again: y(T + h) = y(T + h - m), the nearest such that is known.

    Parameters
    ----------
    horizon : steps ahead.
    season : m; 1 for none, None to find it out (autocorrelation).
    drift : add the mean change per step.

    Examples
    --------
    >>> SeasonalNaive(horizon=3, season=2).fit([1.0, 5.0, 1.0, 6.0]).predict().tolist()
    [1.0, 6.0, 1.0]
    """

    def __init__(self, horizon: int = 12, season: int | None = None, drift: bool = False):
        self.horizon = horizon
        self.season = season
        self.drift = drift

    def _step(self) -> Step:
        return LastSeason(int(self.horizon), self.season_, bool(self.drift))


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: cells (T, 1) to (n, horizon)."""
    return model.step_
