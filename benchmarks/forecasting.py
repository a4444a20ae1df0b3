"""Forecasts in backtest: what `em.fit` chooses, and each model by itself, beside seasonal-naive and smoothing.

    python benchmarks/forecasting.py --folder DATA/series [--fast] [--origins 6] [--budget 20]

The folder holds Airline.csv, PBS_dataset.csv, ShampooSales.csv, Lynx.csv, Uschange.csv, solar.csv and
m1_yearly_dataset.tsf. For single series, up to six origins a horizon apart: at each, everything is chosen and learnt
from what lies before, and the horizon after it is the test. M1 yearly: the last six years of each series, as in the
competition. MASE divides by the seasonal-naive error before the origin (M1: the naive one).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import everymodel as em
from everymodel.scoring import series

MODELS = (
    ("seasonal-naive", em.SeasonalNaive),
    ("smoothing", em.ExponentialSmoothing),
    ("lagged", em.LaggedRegression),
    ("recurrent", em.RecurrentForecaster),
)


def tsf(path: Path) -> list[np.ndarray]:
    """Series of a .tsf file."""
    made, data = [], False
    for line in path.read_text(encoding="latin-1").splitlines():
        if data and line.strip():
            made.append(np.array([float(v) for v in line.rsplit(":", 1)[1].split(",")]))
        data = data or line.startswith("@data")
    return made


def chosen(values: list[np.ndarray], freq: str | None, horizon: int, budget: float) -> np.ndarray:
    """What em.fit answers after series of values; `freq` as pandas writes it, None for plain numbers."""
    parts = []
    for i, y in enumerate(values):
        when = np.arange(len(y)) if freq is None else pd.date_range("2000-01-03", periods=len(y), freq=freq)
        parts.append(pd.DataFrame({"id": f"s{i}", "t": when, "y": y}))
    table = pd.concat(parts) if len(parts) > 1 else parts[0].drop(columns="id")
    with tempfile.TemporaryDirectory() as folder:
        run = em.fit(table, target="y", time="t", horizon=horizon, budget=budget, out=folder, progress=False)
        return run.model.predict()["y"].to_numpy().reshape(len(values), horizon)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--fast", action="store_true", help="no recurrent network by itself")
    parser.add_argument("--origins", type=int, default=6, help="moments of each single series at most")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of each em.fit")
    given = parser.parse_args()
    models = MODELS[:3] if given.fast else MODELS
    f = given.folder
    us = pd.read_csv(f / "Uschange.csv")
    single = [
        ("AirPassengers", pd.read_csv(f / "Airline.csv").Passengers, "MS", 12, 12),
        ("PBS scripts", pd.read_csv(f / "PBS_dataset.csv").Scripts, "MS", 12, 12),
        ("Shampoo sales", pd.read_csv(f / "ShampooSales.csv").Sales, "MS", 12, 6),
        ("Lynx", pd.read_csv(f / "Lynx.csv").iloc[:, 1], None, 10, 10),
        ("Solar", pd.read_csv(f / "solar.csv").solar_gen, "30min", 48, 24),
        *((f"US {c}", us[c], "QS", 4, 8) for c in us.columns[2:]),
    ]
    names = [name for name, _ in models]
    print(f"{'MASE':20} {'origins':>7} " + " ".join(f"{n:>14}" for n in [*names, "em.fit"]) + "   CPU s")
    wins = np.zeros(2, dtype=int)
    for name, column, freq, season, horizon in single:
        y = column.to_numpy(dtype=float)
        errors, began = [], time.process_time()
        origins = range(len(y) - horizon, max(len(y) // 2, 2 * season), -horizon)
        for o in list(origins)[: given.origins]:
            known, came = y[:o], y[o : o + horizon]
            size = series.scale(known, season)
            said = [
                cls(horizon, season, **({"random_state": 0} if n == "recurrent" else {})).fit(known).predict()
                for n, cls in models
            ]
            said.append(chosen([known], freq, horizon, given.budget)[0])
            errors.append([np.abs(came - s).mean() / size for s in said])
        mean = np.mean(errors, axis=0)
        wins += mean[-1] < mean[:2]
        took = time.process_time() - began
        print(f"{name:20} {len(errors):7} " + " ".join(f"{v:14.3f}" for v in mean) + f" {took:7.1f}", flush=True)
    print(f"em.fit better than seasonal-naive in {wins[0]}, than smoothing in {wins[1]} of {len(single)}")
    Y, horizon = tsf(f / "m1_yearly_dataset.tsf"), 6
    known, came = [y[:-horizon] for y in Y], np.array([y[-horizon:] for y in Y])
    size = np.array([np.abs(np.diff(y)).mean() for y in known])
    began = time.process_time()
    said = [
        cls(horizon, 1, **({"random_state": 0} if n == "recurrent" else {})).fit(known).predict() for n, cls in models
    ]
    said.append(chosen(known, None, horizon, given.budget))
    mean = [(np.abs(came - s).mean(axis=1) / size).mean() for s in said]
    took = time.process_time() - began
    print(f"{'M1 yearly (181)':20} {1:7} " + " ".join(f"{v:14.3f}" for v in mean) + f" {took:7.1f}")


if __name__ == "__main__":
    main()
