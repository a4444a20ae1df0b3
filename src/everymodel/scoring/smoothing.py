"""Exponential smoothing in state-space form (Hyndman, Koehler, Snyder and Grose 2002), many series and many settings
at once.

    y_t = (l + phi b) [+ or *] s + e;  l, b and s move by shares alpha, beta, gamma of the error.

The recursion of the states is the same whether errors are added or grow with the level, so one pass judges both by
their likelihoods. Settings are looked for on a fixed net of points that shrinks around the best: no chance, no library.
"""

from __future__ import annotations

import numpy as np

from everymodel.scoring.series import _trend

_NET, _ROUNDS = 32, 4  # points of the net for each form; times that it shrinks
_DIMENSIONS = 6  # alpha beta gamma phi, first level, first slope
_TRENDS = ("none", "straight", "damped")
_CELLS = 1_500_000  # series times settings at once


def smooth(
    series: list[np.ndarray], season: int, horizon: int, trend: str = "auto", seasonality: str = "auto"
) -> np.ndarray:
    """Forecasts (n, horizon) of series (T,) without holes, each by the form that its Akaike criterion prefers.

    A season needs two whole turns; series of less than four values keep their last one.
    """
    out = np.empty((len(series), horizon))
    lengths = np.array([len(y) for y in series])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        most = max(1, _CELLS // (_NET * 6 * max(season, 1)))
        for low in range(0, len(rows), most):
            some = rows[low : low + most]
            Y = np.stack([series[r] for r in some])  # (n, T)
            if length < 4:
                out[some] = Y[:, -1:]
            else:
                out[some] = _alike(Y, season, horizon, trend, seasonality)
    return out


def _alike(Y: np.ndarray, season: int, horizon: int, trend: str, seasonality: str) -> np.ndarray:
    """Forecasts of series of one length."""
    n, length = Y.shape
    trends = [i for i, name in enumerate(_TRENDS) if trend in ("auto", name)]
    forms = [kind for kind in ("none", "added", "multiplied") if seasonality in ("auto", kind)]
    can = season > 1 and length >= 2 * season and length > season + 6
    forms = [kind for kind in forms if kind == "none" or can] or ["none"]
    centre = np.zeros(n)
    size = np.abs(Y).mean(axis=1) + np.ptp(Y, axis=1)
    size = np.where(size > 0, size, 1.0)
    Z = Y / size[:, None]  # so that the net's steps mean the same for all
    positive = Z.min(axis=1) > 0.01 * Z.mean(axis=1)
    best, told = np.full(n, np.inf), np.repeat(Z[:, -1:], horizon, axis=1)
    for kind in forms:
        if kind == "multiplied" and not positive.any():
            continue
        criterion, ahead = _best(Z, season if kind != "none" else 1, kind, trends, positive, horizon)
        if kind == "multiplied":
            criterion = np.where(positive, criterion, np.inf)
        better = criterion < best - 1e-9
        best[better], told[better] = criterion[better], ahead[better]
    still = np.ptp(Z, axis=1) <= 1e-12
    told[still] = Z[still, -1:]
    return told * size[:, None] + centre[:, None]


def _net(count: int) -> np.ndarray:
    """(count, 6) points spread evenly over the unit cube: multiples of powers of the generalised golden ratio."""
    g = 2.0
    for _ in range(60):
        g = (1.0 + g) ** (1.0 / (_DIMENSIONS + 1))
    alphas = np.array([(1.0 / g) ** (j + 1) for j in range(_DIMENSIONS)])
    return np.mod(0.5 + np.arange(1, count + 1)[:, None] * alphas, 1.0)


def _first(Z: np.ndarray, season: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First level (n,), slope (n,) and season (n, m) of each series, from its first values."""
    n, length = Z.shape
    if season > 1:
        turns = min(length // season, 4)
        part = Z[:, : turns * season] if turns * season >= season + 4 else Z
        trend = np.stack([_trend(z, season) for z in part])
        free = part - trend if kind == "added" else part / np.where(np.abs(trend) > 1e-9, trend, 1e-9)
        own = free[:, : turns * season].reshape(n, turns, season).mean(axis=1)  # (n, m)
        own = own - own.mean(axis=1, keepdims=True) if kind == "added" else own / own.mean(axis=1, keepdims=True)
        own = own if kind == "added" else np.clip(own, 0.01, 100.0)
        tiled = np.tile(own, (1, -(-length // season)))[:, :length]
        Z = Z - tiled if kind == "added" else Z / tiled
    else:
        own = np.zeros((n, 1))
    few = Z[:, : max(min(length, 10), min(length, season))]
    t = np.arange(1, few.shape[1] + 1) - (few.shape[1] + 1) / 2
    slope = (few * t).sum(axis=1) / (t * t).sum()
    level = few.mean(axis=1) - slope * (few.shape[1] + 1) / 2
    return level, slope, own


def _best(
    Z: np.ndarray, season: int, kind: str, trends: list[int], positive: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) criterion and (n, horizon) forecasts of the best setting of one kind of season."""
    n, length = Z.shape
    level, slope, own = _first(Z, season, kind)
    noise = np.abs(np.diff(Z, axis=1)).mean(axis=1) + 1e-12
    net = _net(_NET)
    errors = ("added", "grown") if kind != "multiplied" else ("grown",)
    errors = errors if positive.any() else ("added",)
    lanes = [(t, e) for t in trends for e in range(len(errors))]
    k = len(lanes)
    kinds = np.repeat([t for t, _ in lanes], _NET)  # (k * NET,) trend of each point
    middle = np.full((n, k, _DIMENSIONS), 0.5)
    radius = 0.5
    best = np.full((n, k), np.inf)
    reached = np.zeros((n, k, horizon))
    for turn in range(_ROUNDS + 1):
        points = middle[:, :, None, :] + 2 * radius * (net[None, None] - 0.5)  # (n, k, NET, 6)
        if turn:
            points[:, :, 0] = middle
        points = np.clip(points, 0.0, 1.0)
        flat = points.reshape(n, k * _NET, _DIMENSIONS)
        squares, logs, ahead = _run(Z, flat, kinds, level, slope, own, noise, season, kind, horizon)
        squares = squares.reshape(n, 2, k, _NET)
        for j, (t, e) in enumerate(lanes):
            grown = errors[e] == "grown"
            sums = squares[:, 1 if grown else 0, j]  # (n, NET)
            free = 2 + (t > 0) * 2 + (t == 2) + (season if kind != "none" else 0) + 1
            room = length - free - 1
            if room <= 0:
                continue
            value = length * np.log(np.maximum(sums, 1e-18 * length) / length) + 2 * free * length / room
            if grown:
                value = value + 2 * logs.reshape(n, k, _NET)[:, j]
                value = np.where(positive[:, None], value, np.inf)
            value = np.where(np.isfinite(value), value, np.inf)
            pick = value.argmin(axis=1)
            rows = np.arange(n)
            found = value[rows, pick]
            better = found < best[:, j] - 1e-9
            best[better, j] = found[better]
            middle[better, j] = points[rows, j, pick][better]
            reached[better, j] = ahead.reshape(n, k, _NET, horizon)[rows, j, pick][better]
        radius *= 0.45
    pick = best.argmin(axis=1)
    rows = np.arange(n)
    return best[rows, pick], reached[rows, pick]


def _run(
    Z: np.ndarray,
    points: np.ndarray,
    kinds: np.ndarray,
    level: np.ndarray,
    slope: np.ndarray,
    own: np.ndarray,
    noise: np.ndarray,
    season: int,
    kind: str,
    horizon: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pass over all series (n, T) with settings (n, p, 6): sums of squares (n, 2, p) of errors and of errors over
    forecasts, sums of logarithms of forecasts (n, p), and forecasts (n, p, horizon).
    """
    n, p, _ = points.shape
    length = Z.shape[1]
    alpha = 0.0001 + 0.9998 * points[..., 0] ** 1.5  # (n, p)
    moving = (kinds > 0)[None]
    beta = np.where(moving, alpha * points[..., 1] ** 3, 0.0)
    gamma = (1 - alpha) * points[..., 2] ** 2 if kind != "none" else np.zeros_like(alpha)
    phi = np.where((kinds == 2)[None], 0.8 + 0.18 * points[..., 3], 1.0)
    lev = level[:, None] + noise[:, None] * 4 * (points[..., 4] - 0.5)
    inc = np.where(moving, slope[:, None] + noise[:, None] * (points[..., 5] - 0.5), 0.0)
    states = [np.repeat(own[:, j : j + 1], p, axis=1) for j in range(season)]
    sums, shares, logs = np.zeros((n, p)), np.zeros((n, p)), np.zeros((n, p))
    with np.errstate(all="ignore"):
        for t in range(length):
            y = Z[:, t : t + 1]
            base = lev + phi * inc
            if kind == "none":
                guess = base
                error = y - guess
                step = error
            elif kind == "added":
                s = states[t % season]
                guess = base + s
                error = y - guess
                step = error
                states[t % season] = s + gamma * error
            else:
                s = states[t % season]
                guess = base * s
                error = y - guess
                step = error / s
                states[t % season] = s + gamma * error / base
            sums += error * error
            relative = error / guess
            shares += np.where(guess > 1e-9, relative * relative, np.inf)
            logs += np.log(guess)
            inc = phi * inc + beta * step
            lev = base + alpha * step
        ahead = np.empty((n, p, horizon))
        power, grown = phi.copy(), phi.copy()
        for h in range(horizon):
            base = lev + grown * inc
            s = states[(length + h) % season]
            ahead[..., h] = base if kind == "none" else base + s if kind == "added" else base * s
            power = power * phi
            grown = grown + power
    return np.stack([sums, shares], axis=1), logs, ahead
