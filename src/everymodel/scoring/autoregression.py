"""Autoregressions of single series, chosen by one criterion: lags, a seasonal one, waves, differences, logarithms.

    w_t = c + sum_j (b_j cos + d_j sin)(2 pi j t / m) + sum_k a_k w_{t-k} + e_t

where w is y or log y, as it is or its differences over one step, a season m, or both.

Given its past, the density of y_t is the same whether differences were taken or not, and that of its logarithm differs
by a factor y_t alone. So the corrected Akaike criterion compares them all on the same values (Hannan and Rissanen 1982
and Box and Cox 1964 judge so each by itself).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MOST = 25  # lags tried
_WAVES = (0, 1, 2, 3, 4, 6)  # pairs of cosine and sine tried
_ROWS = 3000  # last values that are looked at


@dataclass
class _Form:
    """What was chosen for one series."""

    log: bool
    difference: bool
    turn: bool  # difference over a season
    lags: list[int]
    waves: int  # pairs of cosine and sine over a season
    weights: np.ndarray  # intercept, then one for each cosine and sine, then one for each lag


def regress(series: list[np.ndarray], season: int, horizon: int, transform: str = "auto") -> np.ndarray:
    """Forecasts (n, horizon) of series (T,) without holes, each by its own form.

    transform : "auto", "none" or "log" (where all values are above zero).
    Series of less than six values, or that never move, keep their last one.
    """
    out = np.empty((len(series), horizon))
    for row, y in enumerate(series):
        out[row] = _one(y[-_ROWS:], season, horizon, transform)
    return out


def _one(y: np.ndarray, season: int, horizon: int, transform: str) -> np.ndarray:
    still = np.ptp(y) <= 1e-12 * max(float(np.abs(y).max()), 1e-300)
    if len(y) < 6 or still:
        return np.full(horizon, y[-1])
    size = float(np.abs(y).mean())
    z = y / size
    positive = bool(z.min() > 0)
    logs = [True] if transform == "log" and positive else [False, True] if transform == "auto" and positive else [False]
    form = _choose(z, season, logs)
    if form is None:
        return np.full(horizon, y[-1])
    return _go_on(z, season, horizon, form) * size


def _choose(z: np.ndarray, season: int, logs: list[bool]) -> _Form | None:
    """The form with the least criterion; None where nothing can be learnt."""
    n = len(z)
    season = season if season > 1 and n >= 2 * season + 6 else 1
    most = int(min(_MOST, max(1, 10 * np.log10(n)), n // 4))
    most = max(1, min(most, n - 6 - (season + 1 if season > 1 else 1)))
    start = most + 1 if season == 1 else min(max(most + 1 + season, season + 2), n - max(season, n // 3))
    most = max(0, min(most, start - 1 - (season if season > 1 else 0)))
    rows = n - start
    shape = _shape(np.arange(n), season)
    best, chosen = np.inf, None
    for log in logs:
        g = np.log(z) if log else z
        extra = 2.0 * float(np.log(z[start:]).sum()) if log else 0.0
        for turn in (False, True) if season > 1 else (False,):
            for difference in (False, True):
                w, first = _differences(g, season if turn else 0, difference)
                for seasonal, waves in _seasons(season, start - first, turn):
                    ahead = [season] if seasonal else []
                    lags = [*ahead, *(k for k in range(1, min(most, start - first) + 1) if k not in ahead)]
                    fixed = 1 + 2 * waves + len(ahead)
                    if rows - fixed - turn - difference <= 3:
                        continue
                    x = np.concatenate([shape[start:n, : 1 + 2 * waves],
                                        np.stack([w[start - k : n - k] for k in lags], axis=1)], axis=1)  # fmt: skip
                    target = w[start:]
                    q, r = np.linalg.qr(x)
                    parts = q.T @ target
                    total = float(target @ target)
                    left = np.maximum(
                        total - np.cumsum(parts**2), 1e-16 * max(total, 1e-300)
                    )  # after 1, 2, ... columns
                    floor = 1e-10 * float(((g[start:] - g[start:].mean()) ** 2).sum()) + 1e-20
                    sizes = np.abs(np.diag(r))
                    for p in range(fixed, x.shape[1] + 1):
                        free = p + 1 + turn + difference
                        room = rows - free - 1
                        if room <= 1 or sizes[:p].min() < 1e-8 * max(sizes[:p].max(), 1e-300):
                            break
                        value = rows * np.log(max(left[p - 1], floor) / rows) + extra + 2 * free * rows / room
                        if value < best - 1e-9:
                            best = value
                            solved = np.linalg.solve(r[:p, :p], parts[:p])
                            chosen = _Form(log, difference, turn, lags[: p - 1 - 2 * waves], waves, solved)
    return chosen


def _seasons(season: int, reach: int, turn: bool) -> list[tuple[bool, int]]:
    """(whether with a lag of a season, how many waves) to try."""
    if season <= 1:
        return [(False, 0)]
    made = [(False, 0)] + ([(True, 0)] if reach >= season else [])
    return made if turn else [*made, *((False, k) for k in _WAVES if 0 < k <= (season - 1) // 2)]


def _shape(t: np.ndarray, season: int) -> np.ndarray:
    """(T, 1 + 2 waves) ones, and cosines and sines over a season, the slow ones first."""
    turns = np.array([k for k in range(1, _WAVES[-1] + 1) if k <= (season - 1) // 2], dtype=float)
    angle = 2 * np.pi * (t[:, None] % season) * turns / season
    pairs = np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(len(t), -1)
    return np.concatenate([np.ones((len(t), 1)), pairs], axis=1)


def _differences(g: np.ndarray, season: int, difference: bool) -> tuple[np.ndarray, int]:
    """(T,) differences, zero before the first, and how many places those are."""
    w, first = g, 0
    if season:
        w = np.concatenate([np.zeros(season), w[season:] - w[:-season]])
        first = season
    if difference:
        w = np.concatenate([np.zeros(first + 1), np.diff(w[first:])])
        first += 1
    return w, first


def _go_on(z: np.ndarray, season: int, horizon: int, form: _Form) -> np.ndarray:
    """(horizon,) values after z, none of them farther off than the series could have moved in that time."""
    n = len(z)
    g = np.empty(n + horizon)
    g[:n] = np.log(z) if form.log else z
    w = np.empty(n + horizon)
    w[:n] = _differences(g[:n], season if form.turn else 0, form.difference)[0]
    wide = np.ptp(g[:n]) * max(1.0, 1.5 * horizon / n)
    low, high = g[:n].min() - wide, g[:n].max() + wide
    still = 1 + 2 * form.waves
    drawn = _shape(np.arange(n, n + horizon), season)[:, :still] @ form.weights[:still]
    moving = form.weights[still:]
    for t in range(n, n + horizon):
        w[t] = drawn[t - n] + sum(a * w[t - k] for a, k in zip(moving, form.lags, strict=True))
        step = w[t]
        if form.difference:
            step += g[t - 1] - (g[t - 1 - season] if form.turn else 0.0)
        if form.turn:
            step += g[t - season]
        g[t] = min(max(step, low), high)
        if g[t] != step:  # what follows goes on from the bound
            w[t] += g[t] - step
    return np.exp(np.minimum(g[n:], 300.0)) if form.log else g[n:]
