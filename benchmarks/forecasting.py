"""Forecasts in backtest: what `em.fit` chooses and its bounds, and each model by itself.

    python benchmarks/forecasting.py [--folder DATA/series] [--simulated 4] [--fast] [--origins 6] [--budget 20]

The folder holds Airline.csv, PBS_dataset.csv, ShampooSales.csv, Lynx.csv, Uschange.csv, solar.csv and
m1_yearly_dataset.tsf. For single series, up to six origins a horizon apart: at each, everything is chosen and learnt
from what lies before, and the horizon after it is the test. M1 yearly: the last six years of each series, as in the
competition. `--simulated` makes so many series of each kind (`SIMULATED`). MASE divides by the seasonal-naive error
before the origin (M1: the naive one). "inside" is the share of true values between bounds that promise 80 %, "width"
how far apart these are, in the units of MASE. Processor seconds are those of the whole line.
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
    ("autoregr.", em.Autoregression),
    ("lagged", em.LaggedRegression),
    ("recurrent", em.RecurrentForecaster),
)
QUICK = ["seasonal_naive", "exponential_smoothing", "autoregression", "lagged_regression"]
SIMULATED = ("autoregressive", "seasonal", "trend", "heavy tails", "random walk", "growth", "cycle", "short", "many")


def tsf(path: Path) -> list[np.ndarray]:
    """Series of a .tsf file."""
    made, data = [], False
    for line in path.read_text(encoding="latin-1").splitlines():
        if data and line.strip():
            made.append(np.array([float(v) for v in line.rsplit(":", 1)[1].split(",")]))
        data = data or line.startswith("@data")
    return made


def simulated(kind: str, seed: int) -> tuple[list[np.ndarray], int, str | None]:
    """(series, season, frequency) of a kind; the last twelve values (short: six) are the test."""
    random = np.random.default_rng([seed, SIMULATED.index(kind)])
    n = int(random.integers(72, 160)) if kind != "short" else int(random.integers(24, 40))
    t, e = np.arange(n), random.normal(size=n)
    wave = np.sin(2 * np.pi * (t / 12 + random.random()))
    freq: str | None = "MS"
    if kind == "autoregressive":
        y = e.copy()
        for k in range(1, n):
            y[k] += 0.8 * y[k - 1]
        y = y + 20
    elif kind == "seasonal":
        y = 50 + 8 * wave + 4 * np.cos(4 * np.pi * t / 12) + 2 * e
    elif kind == "trend":
        y = 100 + random.normal() * 0.5 * t + 0.5 * np.cumsum(random.normal(size=n)) + 2 * e
    elif kind == "heavy tails":
        y = 30 + 4 * wave + 2 * random.standard_t(3, size=n)
    elif kind == "random walk":
        y = 100 + np.cumsum(e)
    elif kind == "growth":
        y = np.exp(3 + 0.01 * t + 0.2 * wave + 0.06 * e + 0.02 * np.cumsum(random.normal(size=n)))
    elif kind == "cycle":  # of about 9.5 steps, that swings up farther than down
        y = 0.4 * e
        for k in range(2, n):
            y[k] += 1.8 * np.cos(2 * np.pi / 9.5) * y[k - 1] - 0.81 * y[k - 2]
        y, freq = np.exp(5 + 0.7 * y), None
    elif kind == "short":
        y = 40 + 0.3 * t + 2 * e
    else:
        level = random.lognormal(3, 1, size=(20, 1))
        return list(level * (1 + 0.2 * wave + 0.1 * random.normal(size=(20, n)).cumsum(axis=1) / 3)), 12, freq
    return [y], 12 if freq and kind != "short" else 1, freq


def chosen(
    values: list[np.ndarray], freq: str | None, horizon: int, budget: float, models: list[str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What em.fit answers after series of values, and its bounds; `freq` as pandas writes it, None for numbers."""
    parts = []
    for i, y in enumerate(values):
        when = np.arange(len(y)) if freq is None else pd.date_range("2000-01-03", periods=len(y), freq=freq)
        parts.append(pd.DataFrame({"id": f"s{i}", "t": when, "y": y}))
    table = pd.concat(parts) if len(parts) > 1 else parts[0].drop(columns="id")
    with tempfile.TemporaryDirectory() as folder:
        run = em.fit(
            table, target="y", time="t", horizon=horizon, budget=budget, models=models, out=folder, progress=False
        )
        made = run.model.predict(level=0.8)
    said, low, high = (made[name].to_numpy().reshape(len(values), horizon) for name in ("y", "low", "high"))
    return said, low, high


class Table:
    """Lines of figures, and how often em.fit was better."""

    def __init__(self, models: tuple, budget: float, quick: list[str] | None):
        self.models, self.budget, self.quick = models, budget, quick
        self.lines: list[np.ndarray] = []
        names = " ".join(f"{n:>14}" for n in [*(n for n, _ in models), "em.fit"])
        print(f"{'MASE':22} {'origins':>7} {names} {'inside':>7} {'width':>6} {'CPU s':>7}")

    def line(self, name: str, cases: list[tuple], freq: str | None, season: int, counted: bool = True) -> None:
        """One line: the mean over cases (series before, (n, h) what came)."""
        rows, began = [], time.process_time()
        for known, came in cases:
            h = came.shape[1]
            size = np.array([series.scale(y, season) for y in known])[:, None]
            more = {"recurrent": {"random_state": 0}}
            said = [cls(h, season, **more.get(n, {})).fit(known).predict() for n, cls in self.models]
            own, low, high = chosen(known, freq, h, self.budget, self.quick)
            errors = [(np.abs(came - s) / size).mean() for s in (*said, own)]
            rows.append([*errors, ((came >= low) & (came <= high)).mean(), ((high - low) / size).mean()])
        mean = np.mean(rows, axis=0)
        if counted:
            self.lines.append(mean)
        figures = " ".join(f"{v:14.3f}" for v in mean[:-2])
        took = time.process_time() - began
        print(f"{name:22} {len(cases):7} {figures} {mean[-2]:7.1%} {mean[-1]:6.2f} {took:7.1f}", flush=True)

    def close(self) -> None:
        lines = np.array(self.lines)
        if not len(lines):
            return
        own = lines[:, -3:-2]
        wins = (own < lines[:, :-3]).sum(axis=0)
        told = ", ".join(f"{n} in {w}" for (n, _), w in zip(self.models, wins, strict=True))
        ratio = np.exp(np.log(own[:, 0] / lines[:, 0]).mean())
        print(f"em.fit better than {told} of {len(lines)} lines; MASE {ratio:.3f} of seasonal-naive's (geometric); "
              f"inside {lines[:, -2].mean():.1%}, width {lines[:, -1].mean():.2f}", flush=True)  # fmt: skip
        self.lines = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--simulated", type=int, default=0, help="series of each kind")
    parser.add_argument("--fast", action="store_true", help="no recurrent network")
    parser.add_argument("--origins", type=int, default=6, help="moments of each single series at most")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of each em.fit")
    given = parser.parse_args()
    table = Table(MODELS[:-1] if given.fast else MODELS, given.budget, QUICK if given.fast else None)
    if given.folder:
        of_folder(table, given.folder, given.origins)
    for kind in SIMULATED if given.simulated else ():
        cases, h = [], 6 if kind == "short" else 12
        for seed in range(given.simulated):
            made, season, freq = simulated(kind, seed)
            cases.append(([y[:-h] for y in made], np.array([y[-h:] for y in made])))
        table.line(kind, cases, freq, season)
    table.close()


def of_folder(table: Table, f: Path, origins: int) -> None:
    """The real series."""
    us = pd.read_csv(f / "Uschange.csv")
    single = [
        ("AirPassengers", pd.read_csv(f / "Airline.csv").Passengers, "MS", 12, 12),
        ("PBS scripts", pd.read_csv(f / "PBS_dataset.csv").Scripts, "MS", 12, 12),
        ("Shampoo sales", pd.read_csv(f / "ShampooSales.csv").Sales, "MS", 12, 6),
        ("Lynx", pd.read_csv(f / "Lynx.csv").iloc[:, 1], None, 10, 10),
        ("Solar", pd.read_csv(f / "solar.csv").solar_gen, "30min", 48, 24),
        *((f"US {c}", us[c], "QS", 4, 8) for c in us.columns[2:]),
    ]
    for name, column, freq, season, horizon in single:
        y = column.to_numpy(dtype=float)
        moments = range(len(y) - horizon, max(len(y) // 2, 2 * season), -horizon)
        cases = [([y[:o]], y[None, o : o + horizon]) for o in list(moments)[:origins]]
        table.line(name, cases, freq, season)
    table.close()
    made = tsf(f / "m1_yearly_dataset.tsf")
    table.line("M1 yearly (181)", [([y[:-6] for y in made], np.array([y[-6:] for y in made]))], None, 1, False)


if __name__ == "__main__":
    main()
