"""The forecasting model as users hold it: frames in, frames out, and held against what came."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.scoring import series
from everymodel.scoring.forecast import Forecaster
from everymodel.workflow.types import Evaluation, Metric

LEVEL = 0.8


class ForecastModel(Forecaster):
    """A `scoring.forecast.Forecaster` that answers with frames and can evaluate itself."""

    def predict(  # type: ignore[override]
        self, data: Any = None, *, horizon: int | None = None, level: float = LEVEL, **ignored: Any
    ) -> Any:
        """The next values, with bounds, as a DataFrame: id (where there are several series), time, target, low, high.

        Parameters
        ----------
        data : None: the series that were learnt from go on. Numbers (T,): one other series. A table with the columns of
            time, target and id (or a file name): the series in it go on.
        horizon : steps ahead; by default as at the fit. Farther goes on from its own answers.
        level : probability with which the bounds hold each true value.
        """
        import pandas as pd

        if isinstance(data, str):
            from everymodel.workflow.read import read

            data = read(data).frame
        made = super().predict(data, horizon=horizon, level=level)
        return pd.DataFrame(made)

    def evaluate(self, data: Any, target: str | None = None, metric: str | None = None) -> Evaluation:
        """The last steps of each series in `data` held against the forecast from what is before them.

        Raises
        ------
        DataError
            when no series is longer than the horizon.
        """
        from everymodel.workflow.read import read

        _ids, known, _ = self._from_table(read(data).frame)
        h = self.horizon
        whole = [(i, y) for i, y in enumerate(known) if len(y) > h + 1]
        if not whole:
            raise DataError(f"No series is longer than the horizon ({h} steps) and what it goes on from.")
        histories = [y[:-h] for _, y in whole]
        came = np.stack([y[-h:] for _, y in whole])
        said, half = self.ahead(histories, h, LEVEL)
        size = np.array([series.scale(y, int(self.told["season"])) for y in histories])
        made = metrics(said, came, size, half, histories, LEVEL, 0)
        return Evaluation("forecast", "data", made, headline(made, len(whole), h, None), [])


def metrics(
    said: np.ndarray,
    came: np.ndarray,
    size: np.ndarray,
    half: np.ndarray,
    histories: list[np.ndarray],
    level: float,
    seed: int,
) -> list[Metric]:
    """Every figure of forecasts (n, h) with its interval. size (n,): what MASE divides by. half (n, h): half widths."""
    from everymodel.workflow.forecast.backtest import blocks_interval, pinball, smape

    error = np.abs(came - said)
    inside = (error <= half).astype(float)
    tail = (1 - level) / 2
    quantiles = (pinball(said - half, came, tail) + pinball(said, came, 0.5) + pinball(said + half, came, 1 - tail)) / 3
    rows = (
        ("mase", error / size[:, None], "Mean error over that of the seasonal-naive forecast in the past."),
        ("smape", smape(said, came), "Mean error over the mean of forecast and truth; 0 is right, 2 the worst."),
        ("mae", error, "Mean error in the units of the series."),
        ("pinball", quantiles / size[:, None], "Loss of the lower, middle and upper forecasts, in the units of MASE."),
        ("coverage", inside, f"Share of true values between the bounds, which promise {level:.0%}."),
    )
    made = []
    for name, values, text in rows:
        low, high = blocks_interval(values, seed)
        better = "higher" if name == "coverage" else "lower"
        made.append(Metric(name, float(values.mean()), low, high, better, text))
    squares = error * error
    low, high = blocks_interval(squares, seed)
    made.insert(3, Metric("rmse", float(np.sqrt(squares.mean())), float(np.sqrt(low)), float(np.sqrt(high)), "lower",
                          "Root of the mean squared error in the units of the series."))  # fmt: skip
    return made


def headline(made: list[Metric], n: int, horizon: int, naive: float | None) -> str:
    """One sentence."""
    first = made[0]
    series_ = f"{n:,} series" if n > 1 else "the series"
    told = f"MASE {first.value:.3f} ({first.low:.3f} to {first.high:.3f}) on the last {horizon} steps of {series_}"
    if naive is None:
        return told + "."
    if naive <= 1e-12:
        return f"{told}; seasonal-naive {naive:.3f}."
    gain = 1 - first.value / naive
    if abs(gain) < 0.005:
        return f"{told}: as good as seasonal-naive ({naive:.3f})."
    if gain > 0:
        return f"{told}: {gain:.0%} less error than seasonal-naive ({naive:.3f})."
    return f"{told}: {-gain:.0%} more error than seasonal-naive ({naive:.3f})."
