"""Models that forecast series keep their contract, and beat the naive forecast where there is something to learn."""

from __future__ import annotations

import numpy as np
import pytest

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.scoring.steps.forecast import Lagged, LastSeason, Past, Smoothing
from everymodel.testing.series import check_forecaster, tiny_series

_CARDS = [c for c in catalog.cards() if c.kind == "forecaster" and catalog.available(c)]
_TINY = [pytest.param(card, i, id=f"{card.name}-{i}") for card in _CARDS for i in range(len(card.tiny))]


@pytest.mark.parametrize(("card", "i"), _TINY)
def test_contract(card, i):
    check_forecaster(card, catalog.tiny(card)[i])


def test_there_are_forecasters_of_each_kind():
    names = {card.name for card in _CARDS}
    assert {"seasonal_naive", "exponential_smoothing", "autoregression", "lagged_regression"} <= names


def _monthly(n: int = 120, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return np.exp(4 + 0.01 * t + 0.3 * np.sin(2 * np.pi * t / 12) + 0.03 * rng.normal(size=n))


@pytest.mark.parametrize(
    "model",
    [
        em.ExponentialSmoothing(12),
        em.Autoregression(12),
        em.LaggedRegression(12),
        em.LaggedRegression(12, strategy="recursive"),
    ],
)
def test_a_growing_season_is_forecast_better_than_by_the_naive(model):
    y = _monthly()
    error = np.abs(model.fit(y[:-12]).predict() - y[-12:]).mean()
    naive = np.abs(em.SeasonalNaive(12).fit(y[:-12]).predict() - y[-12:]).mean()
    assert model.season_ == 12
    assert error < 0.6 * naive


def test_smoothing_finds_lines_levels_and_seasons_exactly():
    t = np.arange(30.0)
    assert em.ExponentialSmoothing(3, season=1).fit(5 + 2 * t).predict() == pytest.approx([65, 67, 69], rel=1e-3)
    assert em.ExponentialSmoothing(3).fit(np.full(20, 7.0)).predict() == pytest.approx([7, 7, 7])
    season = np.tile([1.0, 4.0, 2.0, 9.0], 8)
    made = em.ExponentialSmoothing(5, season=4).fit(season + 100).predict()
    assert made == pytest.approx([101, 104, 102, 109, 101], abs=0.1)


def test_autoregression_finds_what_it_is_made_for():
    rng = np.random.default_rng(0)
    e = rng.normal(size=400)
    y = e.copy()
    for t in range(2, 400):
        y[t] += 1.2 * y[t - 1] - 0.8 * y[t - 2]
    made = em.Autoregression(2, season=1).fit(y + 100).predict() - 100
    first = 1.2 * y[-1] - 0.8 * y[-2]
    assert made == pytest.approx([first, 1.2 * first - 0.8 * y[-1]], abs=0.3)
    t = np.arange(60)
    assert em.Autoregression(3, season=1).fit(5.0 + 2 * t).predict() == pytest.approx([125, 127, 129])
    grown = em.Autoregression(3, season=1).fit(np.exp(0.1 * t)).predict()
    assert grown == pytest.approx(np.exp(0.1 * np.arange(60, 63)), rel=1e-6)  # in logarithms it is a line
    season = 10 + np.sin(2 * np.pi * np.arange(96) / 24) + 0.1 * rng.normal(size=96)
    made = em.Autoregression(24, season=24).fit(season).predict()
    assert np.abs(made - 10 - np.sin(2 * np.pi * np.arange(96, 120) / 24)).max() < 0.25
    assert em.Autoregression(4).fit([3.0, 4.0, 2.0]).predict().tolist() == [2.0] * 4
    assert em.Autoregression(2).fit(np.full(30, 7.0)).predict().tolist() == [7.0, 7.0]


def test_autoregression_stays_near_where_the_series_was():
    for y in (np.exp(np.arange(40) ** 1.5 / 10), np.r_[np.zeros(30), 1e6], -(np.arange(30.0) ** 3)):
        made = em.Autoregression(50, season=1).fit(y).predict()
        assert np.isfinite(made).all() and np.abs(np.log1p(np.abs(made))).max() < 3 * np.log1p(np.abs(y)).max() + 1


def test_smoothing_of_noise_is_its_mean_and_not_its_last_value():
    rng = np.random.default_rng(3)
    y = 50 + rng.normal(size=200)
    made = em.ExponentialSmoothing(4, season=1).fit(y).predict()
    assert np.abs(made - 50).max() < 0.5


def test_series_at_once_are_answered_as_each_alone():
    cells = tiny_series(5)
    step = Smoothing(4, 4)
    together = step(cells)
    for cell, row in zip(cells, together, strict=True):
        assert np.array_equal(step([cell])[0], row)


def test_drift_goes_on_with_the_mean_change():
    line = np.arange(10.0)
    assert LastSeason(3, 1, True)([line])[0].tolist() == [10, 11, 12]
    assert LastSeason(4, 2, True)([np.array([0.0, 5, 2, 7, 4, 9])])[0].tolist() == [6, 11, 8, 13]


def test_a_window_never_runs_away():
    y = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.8, 80)))
    for strategy in ("direct", "recursive"):
        made = em.LaggedRegression(30, season=1, strategy=strategy).fit(y).predict()
        assert np.isfinite(made).all() and made.max() < 1e6 * y.max()


@pytest.mark.parametrize("cls", [em.SeasonalNaive, em.ExponentialSmoothing, em.Autoregression, em.LaggedRegression])
def test_bad_series_are_refused_in_words(cls):
    with pytest.raises(DataError, match="no number"):
        cls(horizon=2).fit([np.nan, np.nan])
    with pytest.raises(DataError, match="no series"):
        cls(horizon=2).fit([])
    with pytest.raises(DataError, match="holds what is no number"):
        cls(horizon=2).fit(["a", "b"])
    with pytest.raises(ParameterError, match="horizon=0"):
        cls(horizon=0).fit([1.0, 2.0, 3.0])
    with pytest.raises(ParameterError, match="season"):
        cls(horizon=2, season=-3).fit([1.0, 2.0, 3.0])


def test_too_short_for_the_horizon_says_what_is_possible():
    with pytest.raises(DataError, match="at most 2 steps"):
        em.LaggedRegression(horizon=12).fit([1.0, 2.0, 4.0, 3.0, 5.0])


def test_damaged_steps_are_refused():
    lagged = em.LaggedRegression(3, length=5).fit(tiny_series(2)).step_
    settings, arrays = lagged.spec()
    assert isinstance(Lagged.build(settings, arrays), Lagged)
    for wrong in (
        {**settings, "horizon": 0},
        {**settings, "length": "5"},
        {**settings, "strategy": "guess"},
        {**settings, "inner": {"step": "lagged", "settings": {}}},
        {**settings, "inner": {"step": "os.system", "settings": {}}},
        {**settings, "more": 1},
        {k: v for k, v in settings.items() if k != "inner"},
    ):
        with pytest.raises(ModelFileError):
            Lagged.build(wrong, arrays)
    with pytest.raises(ModelFileError):
        Lagged.build(settings, {**arrays, "other": np.zeros(2)})
    with pytest.raises(ModelFileError):
        Smoothing.build({"horizon": 3, "season": 2**40}, {})
    with pytest.raises(ModelFileError):
        LastSeason.build({"horizon": 3, "drift": "yes"}, {})
    with pytest.raises(ModelFileError):
        Past.build({}, {"values": np.zeros(3), "lengths": np.array([1, 1]), "starts": np.array([0, 0])})
