"""Plumbing: the face of models that forecast series."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring import series
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.forecast import windows

ROWS = 100_000  # windows learnt from


class SeriesForecaster(BaseEstimator):
    """What every forecaster has. Subclasses learn in `_learn` and answer by the step of `_step`.

    Attributes
    ----------
    season_ : int, steps after which series repeat themselves; given or found out.
    series_ : list of (T,) arrays, what was learnt from: `predict()` goes on from its end.
    step_ : the step in numpy that answers, also in model files.
    """

    horizon: int
    season: int | None
    single_: bool
    series_: list[np.ndarray]
    step_: Step

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learn from one series (T,), or from several: a list of (T,) arrays, or a matrix (n, T).

        Holes (NaN) are filled along straight lines.

        Raises
        ------
        DataError
            when a series is empty, or holds no number.
        """
        self._check()
        self.single_, self.series_ = read(X)
        self.season_ = int(self.season or series.season_of(self.series_, ()))
        self._learn(self.series_)
        self.step_ = self._step()
        return self

    def predict(self, history: Any = None, horizon: int | None = None) -> np.ndarray:
        """The next values: (horizon,) after one series, (n, horizon) after several.

        Parameters
        ----------
        history : what to go on from; by default the series that were learnt from.
        horizon : how far; by default as given when the model was made. Farther goes on from its own answers.
        """
        single, cells = (self.single_, self.series_) if history is None else read(history)
        made = ahead(self.step_, cells, self.horizon, self.horizon if horizon is None else whole("horizon", horizon))
        return made[0] if single else made

    def _learn(self, cells: list[np.ndarray]) -> None:
        """Nothing to learn by default."""

    def _step(self) -> Step:
        raise NotImplementedError

    def _check(self) -> None:
        whole("horizon", self.horizon)
        if self.season is not None:
            whole("season", self.season)


def ahead(call: Any, cells: list[np.ndarray], reach: int, horizon: int) -> np.ndarray:
    """(n, horizon) answers of a step that gives `reach` values: cut, or made of several, each after the one before."""
    made = np.asarray(call(cells), dtype=np.float64).reshape(len(cells), reach)
    while made.shape[1] < horizon:
        longer = [np.concatenate([series.tidy(c), row]) for c, row in zip(cells, made, strict=True)]
        made = np.concatenate([made, np.asarray(call(longer)).reshape(len(cells), reach)], axis=1)
    return made[:, :horizon]


def whole(name: str, value: Any) -> int:
    """A whole number above 0; ParameterError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 < value <= 10_000:
        raise ParameterError(f"{name}={value!r} is not possible: expected a whole number from 1 to 10000.")
    return int(value)


def read(X: Any) -> tuple[bool, list[np.ndarray]]:
    """(whether it was one series, series (T,) without holes)."""
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    cells = list(X) if not isinstance(X, np.ndarray) or X.ndim != 1 or X.dtype == object else X
    flat = isinstance(cells, np.ndarray) or (len(cells) > 0 and all(np.ndim(c) == 0 for c in cells))
    made = [_one(cells)] if flat else [_one(c) for c in cells]
    if not made:
        raise DataError("There is no series to learn from. Give one (T,), or a list of them.")
    return bool(flat), made


def _one(cell: Any) -> np.ndarray:
    try:
        y = np.asarray(cell, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"A series holds what is no number: {error}. Give numbers, NaN for holes.") from error
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1:
        raise DataError(f"A series of shape {y.shape} came; expected one axis, the values in the order of time.")
    if not np.isfinite(y).any():
        raise DataError(f"A series of {len(y)} values holds no number. Leave it out, or give its values.")
    y = np.where(np.isfinite(y), y, np.nan)
    first, last = np.flatnonzero(~np.isnan(y))[[0, -1]]
    return series.tidy(y[first : last + 1])


def usual_length(cells: list[np.ndarray], horizon: int, season: int) -> int:
    """Values in a window: two seasons and one, at least as far as the horizon, half of a usual series at most."""
    usual = float(np.median([len(y) for y in cells]))
    wished = max(2 * season + 1 if season > 1 else 0, min(horizon, 48), 6)
    return int(max(1, min(wished, (usual - horizon) * 0.55, 1000)))


def learning_rows(
    cells: list[np.ndarray], length: int, horizon: int, log: bool, seed: int, most: int = ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, length) and what followed them (n, horizon), both in the window's units.

    Windows near the start of a series are filled with its first value on the left, where there are few whole ones.
    """
    ends: list[tuple[int, int]] = []
    whole_ones = sum(max(len(y) - length - horizon + 1, 0) for y in cells)
    least = length if whole_ones >= 30 else 2
    for i, y in enumerate(cells):
        ends += [(i, t) for t in range(min(least, max(len(y) - horizon, 2)), len(y) - horizon + 1)]
    if len(ends) < 2:
        longest = max(map(len, cells))
        raise DataError(
            f"The longest series has {longest} values, too few to learn {horizon} steps ahead from. Ask for at most "
            f"{max(longest - 3, 1)} steps, or give longer series."
        )
    if len(ends) > most:
        chosen = np.random.default_rng(seed).choice(len(ends), most, replace=False)
        ends = [ends[i] for i in np.sort(chosen)]
    x, level, size, low = windows([cells[i][max(0, t - length) : t] for i, t in ends], length, log)
    y = np.stack([cells[i][t : t + horizon] for i, t in ends])
    if log:
        y = np.log(np.maximum(y, low[:, None]))
    known = size > 0
    if known.sum() < 2:  # nothing ever moves
        return x[:2], np.zeros((len(x[:2]), horizon))
    z = (y - level[:, None])[known] / size[known, None]
    return x[known], np.clip(z, -20.0, 20.0)
