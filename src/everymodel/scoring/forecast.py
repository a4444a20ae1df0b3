"""A model that forecasts series: it goes on from where its training data ended, or from any history that it is given.

    model = load("sales.em")
    model.predict(horizon=6)            # times, values, bounds
    model.predict([112.0, 118.0, ...])  # the next values of another series
    model.predict(table)                # of the series in a table with the same columns of time, target (and id)

Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError, SchemaError
from everymodel.scoring import cells, series, table
from everymodel.scoring.model import Model
from everymodel.scoring.series import Frequency
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.forecast import MAX_HORIZON, Past

HISTORY = "history"  # the column of the schema: each cell a series


@dataclass
class Forecast:
    """What comes next for one or more series, in equal steps.

    ids : (n,) names of the series; None for one without a name.
    times : (n, h) numbers or datetime64; without known times 1, 2, ... steps ahead.
    values, low, high : (n, h).
    """

    ids: list[Any] | None
    times: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def columns(self, id: str, time: str, target: str) -> dict[str, np.ndarray]:
        """One row for each series and time, as columns."""
        n, h = self.values.shape
        made: dict[str, np.ndarray] = {}
        if self.ids is not None:
            names = np.empty(n, dtype=object)
            names[:] = self.ids
            made[id] = np.repeat(names, h)
        made[time] = self.times.reshape(-1)
        made[target] = self.values.reshape(-1)
        made["low"], made["high"] = self.low.reshape(-1), self.high.reshape(-1)
        return made


class Forecaster(Model):
    """Answers with the next values of a series. Made by `em.fit(..., task="forecast")` or `load`."""

    @cached_property
    def told(self) -> dict[str, Any]:
        """What is known of time: horizon, season, frequency, names of columns and of series, half widths."""
        told = self.manifest.get("forecast")
        try:
            if not isinstance(told, dict) or not 1 <= int(told["horizon"]) <= MAX_HORIZON or int(told["season"]) < 1:
                raise ModelFileError("The model file is damaged: it does not say how far it forecasts.")
            width = np.asarray(told["widths"], dtype=np.float64)
            if width.shape != (len(told["levels"]), told["horizon"]) or not np.isfinite(width).all():
                raise ModelFileError("The model file is damaged: the intervals of its forecasts have a wrong shape.")
            if not 0 <= float(told.get("swell", 0.0)) <= 1:
                raise ModelFileError("The model file is damaged: how its bounds grow with the level is impossible.")
            Frequency(**told["frequency"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"The model file is damaged: what it says of time cannot be read ({error}).") from None
        return told

    @property
    def horizon(self) -> int:
        """Steps that one answer of the pack holds."""
        return int(self.told["horizon"])

    @property
    def target(self) -> str:
        """The column that is forecast."""
        return next((c.name for c in self.schema.columns if c.role == "target"), "value")

    @property
    def targets(self) -> list[str]:
        """Names of the steps ahead."""
        return [f"{self.target}+{h}" for h in range(1, self.horizon + 1)]

    @cached_property
    def past(self) -> Past:
        """The series that were learnt from."""
        for node in self.pack.nodes:
            if isinstance(node.step, Past):
                return node.step
        raise ModelFileError("The model file is damaged: it does not hold the series that it goes on from.")

    @property
    def ids(self) -> list[Any] | None:
        """Names of the series that were learnt from; None for one without a name."""
        return self.told.get("ids")

    def decide(self, answers: np.ndarray) -> np.ndarray:
        """The values themselves."""
        return answers

    def predict(  # type: ignore[override]
        self, data: Any = None, *, horizon: int | None = None, level: float = 0.8, **ignored: Any
    ) -> Any:
        """The next values, with the bounds that hold each true value with probability `level`.

        Parameters
        ----------
        data : None: the series that were learnt from go on. Numbers (T,): one other series, its values in the order of
            time at the same steps. A table, dict or list of dicts: with the columns of time, target and id.
        horizon : steps ahead; by default as at the fit. Farther goes on from its own answers.

        Returns
        -------
        dict of columns: id (where there are several), time, target, low, high.
        """
        return self.forecast(data, horizon=horizon, level=level).columns(*self._names())

    def _names(self) -> tuple[str, str, str]:
        return self.told.get("id") or "series", self.told.get("time") or "step", self.target

    def forecast(self, data: Any = None, *, horizon: int | None = None, level: float = 0.8) -> Forecast:
        """As `predict`, as arrays."""
        h = self.horizon if horizon is None else _whole(horizon)
        ids, known, ends = self._history(data)
        values, half = self.ahead(known, h, level)
        grid = Frequency(**self.told["frequency"])
        steps = np.arange(1, h + 1)
        if ends is None:
            times = np.broadcast_to(steps, (len(known), h)).copy()
        else:
            times = np.stack([grid.times(end + steps) for end in ends])
        return Forecast(ids, times, values, *self.bounds(values, half))

    def bounds(self, values: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, h) lower and upper bounds; where no value was ever below zero, neither is a bound."""
        low, floor = values - half, self.told.get("floor")
        return low if floor is None else np.maximum(low, np.minimum(float(floor), values)), values + half

    def ahead(self, known: list[np.ndarray], horizon: int, level: float) -> tuple[np.ndarray, np.ndarray]:
        """(n, horizon) values and half widths of their bounds, after series (T,)."""
        if not known:
            raise DataError("There is no series to go on from.")
        own, season, horizon = self.horizon, int(self.told["season"]), _whole(horizon)
        made = np.empty((len(known), 0))
        longer = [series.tidy(y) for y in known]
        while made.shape[1] < horizon:
            column = np.empty(len(longer), dtype=object)
            for i, y in enumerate(longer):
                column[i] = y[:, None]
            with np.errstate(all="ignore"):
                part = np.asarray(self.answers(Batch({HISTORY: column}, len(longer))), float).reshape(len(longer), own)
            made = np.concatenate([made, part], axis=1)
            longer = [np.concatenate([y, row]) for y, row in zip(longer, part, strict=True)]
        made = made[:, :horizon]
        power = float(self.told.get("swell", 0.0))
        tidy = [series.tidy(y) for y in known]
        size = np.array([series.scale(y, season) * series.swell(y, season, power) for y in tidy])
        return made, size[:, None] * self.widths(level, horizon)[None]

    def widths(self, level: float, horizon: int) -> np.ndarray:
        """(horizon,) half widths in units of the series' own steps (see `series.scale`), of probability `level`.

        Between the levels that were measured by straight lines; beyond the horizon they grow with its root.
        """
        levels, widths = np.asarray(self.told["levels"], float), np.asarray(self.told["widths"], float)
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= levels.max():
            raise ParameterError(
                f"level={level!r} is not possible: expected a share up to {levels.max():g}, such as 0.8."
            )
        order = np.argsort(levels)
        levels = np.concatenate([[0.0], levels[order]])
        widths = np.concatenate([np.zeros((1, widths.shape[1])), widths[order]])
        own = np.array([np.interp(level, levels, column) for column in widths.T])
        steps = np.arange(1, horizon + 1)
        return own[np.minimum(steps, len(own)) - 1] * np.sqrt(np.maximum(steps / len(own), 1.0))

    # --- what to go on from ---

    def _history(self, data: Any) -> tuple[list[Any] | None, list[np.ndarray], list[int] | None]:
        """(ids, series, last places on the grid or None) of whatever is given."""
        if data is None:
            past = self.past
            ends = (past.starts + past.lengths - 1).tolist() if self.told.get("time") else None
            return self.ids, past.cells(), ends
        if _numbers(data):
            values = np.asarray(data, dtype=np.float64)
            if not np.isfinite(values).any():
                raise DataError(f"The history of {len(values)} values holds no number.")
            return None, [series.tidy(values)], None
        rows = [data] if isinstance(data, Mapping) and table.form(data) == "row" else data
        if isinstance(rows, Mapping) and set(rows) == {HISTORY} and _numbers(rows[HISTORY]):
            return self._history(rows[HISTORY])
        return self._from_table(rows)

    def _from_table(self, data: Any) -> tuple[list[Any] | None, list[np.ndarray], list[int] | None]:
        id, time, target = self.told.get("id"), self.told.get("time"), self.target
        needed = [name for name in (id, time, target) if name]
        held = _columns(data, needed)
        told = self.schema.column(target)
        y, bad = cells.to_numbers(held[target], told.decimal, told.thousands, told.percent)
        _refuse(bad, target, held[target], "a number")
        grid = Frequency(**self.told["frequency"])
        if time:
            column = self.schema.column(time)
            when, wrong = series.read_times(held[time], grid.dates, column.date_format)
            _refuse(wrong | ~np.isfinite(when), time, held[time], "a time")
            at, _ = grid.positions(when)
        else:
            at = np.arange(len(y))
        if not len(y):
            raise DataError("The history has no rows.")
        if id:
            words = cells.as_text(held[id]).astype(str)
            names, which = np.unique(words, return_inverse=True)
            order = np.argsort([np.flatnonzero(which == k)[0] for k in range(len(names))])
            groups = [(names[k], which == k) for k in order]
        else:
            groups = [(None, np.ones(len(y), dtype=bool))]
        known, ends = [], []
        for name, rows in groups:
            first, values, _ = series.fill(at[rows], y[rows])
            if not len(values):
                raise DataError(f"The history of {name!r} holds no number." if id else "The history holds no number.")
            known.append(values)
            ends.append(first + len(values) - 1)
        return [name for name, _ in groups] if id else None, known, ends if time else None

    @property
    def predict_interval(self) -> Any:
        """Bounds stand beside the values that `predict` gives; see its `level`."""
        raise CapabilityError("A forecast has its bounds beside it: predict(level=0.9) gives low and high.")

    def explain(self, *given: Any, **options: Any) -> Any:
        raise CapabilityError("A forecast has no columns to explain it by. See the report: how each step was tested.")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= MAX_HORIZON:
        raise ParameterError(f"horizon={value!r} is not possible: expected a whole number from 1 to {MAX_HORIZON}.")
    return int(value)


def _numbers(data: Any) -> bool:
    """Whether it is a plain list or array of numbers."""
    if isinstance(data, np.ndarray):
        return data.ndim == 1 and data.dtype.kind in "iuf" and len(data) > 0
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(
            (isinstance(v, int | float | np.number) and not isinstance(v, bool)) or v is None for v in data
        )
    return getattr(data, "ndim", 0) == 1 and getattr(getattr(data, "dtype", None), "kind", "") in tuple("iuf")


def _columns(data: Any, needed: list[str]) -> dict[str, Any]:
    """Columns by name of a frame, a dict of columns or a list of dicts; SchemaError where one is missing."""
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        data = {name: [row.get(name) for row in data] for name in needed if any(name in row for row in data)}
    names = list(map(str, data.keys())) if isinstance(data, Mapping) else list(map(str, getattr(data, "columns", [])))
    for name in needed:
        if name not in names:
            shown = ", ".join(names[:12]) or "none that can be read"
            raise SchemaError(
                f"The history must have the column {name!r}; it has {shown}. Give these columns, or a plain list of "
                "values.",
                [{"row": None, "field": name, "came": "no such column", "allowed": "a column"}],
            )
    return {name: data[name] for name in needed}


def _refuse(bad: np.ndarray, name: str, values: Any, what: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        came = list(values)[row]
        raise SchemaError(
            f"{name}: row {row} holds {came!r}, which is not {what}.",
            [{"row": row, "field": name, "came": str(came), "allowed": what}],
        )
