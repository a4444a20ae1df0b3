"""Plumbing: the face of models that forecast series."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring import series
from everymodel.scoring.steps.base import Step


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
