"""Forecasts of series: cells (T, 1) of any length in, the next `horizon` values of each out.

These steps learn nothing of a series beforehand or, as `lagged`, how windows of any series go on. So they answer
for series that were never seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring import series, steps
from everymodel.scoring.autoregression import regress
from everymodel.scoring.smoothing import smooth
from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.combine import _finite

MAX_HORIZON, MAX_SEASON, MAX_LENGTH = 10_000, 10_000, 100_000
STRATEGIES = ("direct", "recursive", "by step")


def _sizes(horizon: Any, season: Any) -> None:
    for value, most, what in ((horizon, MAX_HORIZON, "horizon"), (season, MAX_SEASON, "season")):
        need(type(value) is int and 1 <= value <= most, f"the {what} of a forecast is impossible")


@step("last_season", "value")
class LastSeason(Step):
    """The last season again (season 1: the last value), moved by the mean change per step where `drift`."""

    horizon: int
    season: int = 1
    drift: bool = False

    def check(self) -> None:
        _sizes(self.horizon, self.season)
        need(isinstance(self.drift, bool), "a forecast's drift is no truth value")

    def __call__(self, cells: Any) -> np.ndarray:
        out = np.empty((len(cells), self.horizon))
        ahead = np.arange(self.horizon)
        for row, cell in enumerate(cells):
            y = series.tidy(cell)
            season = self.season if len(y) >= self.season else 1
            out[row] = y[len(y) - season + ahead % season]
            if self.drift and len(y) > season:
                out[row] += (
                    float((y[season:] - y[:-season]).mean())
                    / season
                    * ((1 + ahead // season) * season if season > 1 else 1 + ahead)
                )
        return out


@step("smoothing", "value")
class Smoothing(Step):
    """Exponential smoothing: level, trend (none, straight, damped) and season (none, added, multiplied) of each series,
    with weights and form chosen on that series alone by the corrected Akaike criterion. See `scoring.smoothing`.
    """

    horizon: int
    season: int = 1
    trend: str = "auto"
    seasonality: str = "auto"

    def check(self) -> None:
        _sizes(self.horizon, self.season)
        need(self.trend in ("auto", "none", "straight", "damped"), "a trend has no known form")
        need(self.seasonality in ("auto", "none", "added", "multiplied"), "a season has no known form")

    def __call__(self, cells: Any) -> np.ndarray:
        tidy = [series.tidy(cell) for cell in cells]
        return smooth(tidy, self.season, self.horizon, self.trend, self.seasonality)


@step("autoregressive", "value")
class Autoregressive(Step):
    """A weighted sum of each series' own last values, with waves, differences and logarithms where they help;
    all chosen on that series alone by the corrected Akaike criterion. See `scoring.autoregression`.
    """

    horizon: int
    season: int = 1
    transform: str = "auto"

    def check(self) -> None:
        _sizes(self.horizon, self.season)
        need(self.transform in ("auto", "none", "log"), "a forecast knows no such transform")

    def __call__(self, cells: Any) -> np.ndarray:
        return regress([series.tidy(cell) for cell in cells], self.season, self.horizon, self.transform)


@step("lagged", "value")
class Lagged(Step):
    """What follows a window of the last `length` values, by a model `inner` of windows.

    A window is centred on its mean and divided by its spread (`log`: of logarithms), and the answer put back. `inner`
    gives the next `horizon` values ("direct"), only the next one, and is asked again and again ("recursive"), or, for
    features of window and step, how far that step lies from the same season's last value ("by step"). With `quantiles`
    (q,) it gives (n, horizon * q), the quantiles of a step side by side; the middle one is the answer.
    """

    inner: Step
    length: int
    horizon: int
    season: int = 1
    log: bool = False
    strategy: str = "direct"
    quantiles: np.ndarray | None = None

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 10.0 * self.inner.tolerance

    def check(self) -> None:
        _sizes(self.horizon, self.season)
        need(type(self.length) is int and 1 <= self.length <= MAX_LENGTH, "the window of a forecast is impossible")
        need(isinstance(self.inner, Step) and self.inner.output == "value", "a forecast has no model inside")
        need(isinstance(self.log, bool) and self.strategy in STRATEGIES, "a forecast is described wrongly")
        if self.quantiles is not None:
            _finite(self.quantiles, "quantiles")
            ordered = self.quantiles.ndim == 1 and 1 <= len(self.quantiles) <= 99
            need(ordered and self.strategy == "direct", "quantiles of a forecast are wrong")
            inside = self.quantiles.min() > 0 and self.quantiles.max() < 1 and (np.diff(self.quantiles) > 0).all()
            need(bool(inside), "quantiles of a forecast are out of order")

    def __call__(self, cells: Any) -> np.ndarray:
        answer = self.spread(cells)  # (n, horizon, q)
        return answer[:, :, answer.shape[2] // 2]

    def spread(self, cells: Any) -> np.ndarray:
        """(n, horizon, q) quantiles, or (n, horizon, 1)."""
        ends = [series.tidy(cell)[-self.length :] for cell in cells]
        x, level, size, low = windows(ends, self.length, self.log)
        # No forecast leaves the window's range by more than the window could have moved in that time, and half again.
        wide = 1.5 * np.ptp(x, axis=1) * max(1.0, self.horizon / self.length) + 1e-9
        floor, roof = x.min(axis=1) - wide, x.max(axis=1) + wide
        if self.strategy == "recursive":
            z = np.empty((len(x), self.horizon))
            for h in range(self.horizon):
                z[:, h] = np.clip(np.asarray(self.inner(x), float).reshape(len(x)), floor, roof)
                x = np.concatenate([x[:, 1:], z[:, h : h + 1]], axis=1)
        elif self.strategy == "by step":
            features = step_features(x, self.horizon, self.season)
            z = (np.asarray(self.inner(features), float).reshape(-1) + features[:, 1]).reshape(len(x), self.horizon)
        else:
            z = np.asarray(self.inner(x), float)
        z = np.sort(z.reshape(len(x), self.horizon, -1), axis=2)
        z = np.clip(z, floor[:, None, None], roof[:, None, None])
        return restored(z, level[:, None, None], size[:, None, None], low[:, None, None] if self.log else None)

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        own, arrays = self.inner.spec()
        names = ("length", "horizon", "season", "log", "strategy")
        settings = {name: getattr(self, name) for name in names}
        settings["inner"] = {"step": self.inner.word, "settings": own}
        arrays = {f"inner_{name}": value for name, value in arrays.items()}
        if self.quantiles is not None:
            arrays["quantiles"] = self.quantiles
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Lagged:
        settings, arrays = dict(settings), dict(arrays)
        told = settings.pop("inner", None)
        need(isinstance(told, dict) and isinstance(told.get("settings"), dict), "a forecast has no model inside")
        kind = steps.find(told.get("step"))
        need(kind is not None and kind is not cls, "a forecast's model inside is unknown")
        quantiles = arrays.pop("quantiles", None)
        need(all(name.startswith("inner_") for name in arrays), "a forecast has unknown arrays")
        known = {"length", "horizon", "season", "log", "strategy"}
        need(known >= set(settings) and {"length", "horizon"} <= set(settings), "a forecast is described wrongly")
        inner = kind.build(told["settings"], {n.removeprefix("inner_"): a for n, a in arrays.items()})
        made = cls(inner=inner, quantiles=quantiles, **settings)
        made.check()
        return made


@step("past", "matrix")
class Past(Step):
    """Where the known series ended: what a forecast without a given history goes on from. Nothing is computed with it.

    values : all series one after the other. lengths : (s,). starts : (s,) first places on the grid of times.
    """

    values: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    holds_rows = True

    def check(self) -> None:
        _finite(self.values, "past values")
        for array in (self.lengths, self.starts):
            need(array.ndim == 1 and array.dtype.kind == "i" and len(array) > 0, "past series are described wrongly")
        good = self.values.ndim == 1 and len(self.lengths) == len(self.starts) and self.lengths.min() > 0
        need(bool(good) and int(self.lengths.sum()) == len(self.values), "past series are cut wrongly")
        need(bool(np.abs(self.starts).max() <= series.MAX_PLACES), "past series start nowhere")

    def __call__(self, *inputs: Any) -> Any:
        return inputs[0]

    def cells(self) -> list[np.ndarray]:
        """The series, (T,) each."""
        return np.split(self.values, np.cumsum(self.lengths)[:-1])


def windows(ends: list[np.ndarray], length: int, log: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, length) centred and divided windows, (n,) levels, (n,) sizes, (n,) least values that logarithms are taken of.

    Shorter series are filled with their first value on the left.
    """
    x = np.empty((len(ends), length))
    for row, y in enumerate(ends):
        x[row, length - len(y) :] = y[-length:]
        x[row, : length - len(y)] = y[0]
    low = np.maximum(1e-3 * np.abs(x).mean(axis=1), 1e-300)
    if log:
        x = np.log(np.maximum(x, low[:, None]))
    level = x.mean(axis=1)
    x = x - level[:, None]
    size = np.sqrt((x * x).mean(axis=1))
    least = 1e-9 * np.maximum(np.abs(level), 1.0 if log else 1e-300)
    size = np.where(size > least, size, 0.0)
    return x / np.where(size > 0, size, 1.0)[:, None], level, size, low


def restored(z: np.ndarray, level: np.ndarray, size: np.ndarray, low: np.ndarray | None) -> np.ndarray:
    """Values of answers z in windows' own units."""
    y = z * size + level
    return y if low is None else np.exp(np.minimum(y, 300.0))


def step_features(x: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """(n * horizon, p) features of windows (n, L) and each step ahead: the step; the same season's last values and the
    slope of season on season; the last values; mean, slope, and spread of the last season.
    """
    n, length = x.shape
    cycle = season if season <= length else 1
    ahead = np.arange(1, horizon + 1)  # (h,)
    back = cycle - (ahead - 1) % cycle  # values before the end where that season last was
    parts = [np.broadcast_to(ahead.astype(float), (n, horizon))[:, :, None]]
    for turn in range(3):
        at = back + turn * cycle
        held = x[:, length - np.minimum(at, length)]
        parts.append(held[:, :, None])
    last = x[:, -min(length, 8) :]
    parts.append(np.broadcast_to(last[:, None, :], (n, horizon, last.shape[1])))
    recent = x[:, -cycle:] if cycle > 1 else x[:, -min(4, length) :]
    t = np.linspace(-1.0, 1.0, length)
    slope = (x * t).sum(axis=1) / max(float((t * t).sum()), 1e-12)
    sums = np.stack([recent.mean(axis=1), slope, recent.std(axis=1)], axis=1)  # (n, 3)
    parts.append(np.broadcast_to(sums[:, None, :], (n, horizon, 3)))
    return np.concatenate(parts, axis=2).reshape(n * horizon, -1)
