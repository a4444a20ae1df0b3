"""Rolling origins: what a model says from many moments of the past, held against what came then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymodel.core.seeds import derive
from everymodel.scoring import series

MOST_ORIGINS, MOST_TRIES = 8, 600  # origins of one series; origins of all series together
POWERS = (0.0, 0.5, 1.0)  # of the level, with which moves may grow


@dataclass
class Plan:
    """From where to look ahead, and how far."""

    horizon: int
    origins: np.ndarray  # (k, n) values known of each series at each origin; 0 where a series is too short

    @property
    def k(self) -> int:
        return len(self.origins)

    def pairs(self) -> list[tuple[int, int, int]]:
        """(origin number, series, values known), the latest origin first."""
        return [(j, i, int(o)) for j, row in enumerate(self.origins) for i, o in enumerate(row) if o > 0]


def least(season: int) -> int:
    """Values that must be known before a look ahead says anything."""
    return max(6, min(season + 2, 60))


def plan(lengths: np.ndarray, horizon: int, season: int) -> Plan | None:
    """Origins in series of `lengths` values; None where none has room for a single one."""
    floor = least(season)
    room = lengths - horizon - floor  # (n,)
    while room.max() < 0 and horizon > 1:  # a shorter look ahead is better than none
        horizon = max(1, horizon // 2)
        room = lengths - horizon - floor
    if room.max() < 0:
        floor = 3
        room = lengths - horizon - floor
        if room.max() < 0:
            return None
    k = int(np.clip(MOST_TRIES // len(lengths), 2, MOST_ORIGINS))
    longest = int(np.quantile(room[room >= 0], 0.75))
    stride = max(1, min(horizon, longest // k if k > 1 else horizon))
    wanted = min(k, longest // stride + 1)
    origins = np.zeros((wanted, len(lengths)), dtype=np.int64)
    for j in range(wanted):
        o = lengths - horizon - j * stride
        # The first half of a series is for learning, where there is one to spare.
        enough = np.maximum(floor, np.minimum(lengths * 0.4, 3 * season + horizon) if j else floor)
        origins[j] = np.where(o >= enough, o, 0)
    origins = origins[origins.max(axis=1) > 0]
    return Plan(horizon, origins)


@dataclass
class Tried:
    """What was said at each pair of origin and series, and what came."""

    said: np.ndarray  # (m, h)
    came: np.ndarray  # (m, h)
    size: np.ndarray  # (m,) what MASE divides by: one figure for each series, from all its values that may be seen
    which: np.ndarray  # (m,) series
    look: np.ndarray  # (m,) number of the origin
    unit: np.ndarray  # (m,) in what errors are counted for bounds

    def groups(self) -> np.ndarray:
        """(m,) what is left out together when a choice is judged by what it has not seen: a look, or else a series."""
        return self.look if len(np.unique(self.look)) > 1 else self.which


def units(values: list[np.ndarray], season: int, power: float) -> np.ndarray:
    """(n,) in what errors after series are counted for bounds."""
    return np.array([series.scale(y, season) * series.swell(y, season, power) for y in values])


def swelling(values: list[np.ndarray], season: int) -> float:
    """The power of the level with which the moves of series grow: 0, 1/2 or 1, by the likelihood of all their moves."""
    least = np.zeros(len(POWERS))
    for y in values[:500]:
        lag, turn = season if len(y) > 2 * season else 1, max(season, 4)
        level, moves = series.levels(y, season)[turn - 1 : -lag], np.abs(y[lag:] - y[:-lag])[turn - 1 :]
        if len(moves) < 8 or moves.mean() == 0:
            continue
        for k, power in enumerate(POWERS):
            size = (level / level.mean()) ** power
            least[k] += len(moves) * (np.log((moves / size).mean() / moves.mean()) + np.log(size).mean())
    least[1:] += 2.0  # more than chance makes
    return POWERS[int(least.argmin())]


def truth(values: list[np.ndarray], made: Plan, season: int, power: float = 0.0) -> Tried:
    """Everything but the answers. power : see `swelling`."""
    pairs = made.pairs()
    came = np.stack([values[i][o : o + made.horizon] for _, i, o in pairs])
    # Of values before the origin alone it would be a matter of luck where they hold hardly one season.
    sizes = {i: series.scale(values[i], season) for _, i, _ in pairs}
    which = np.array([i for _, i, _ in pairs])
    look = np.array([j for j, _, _ in pairs])
    size = np.array([sizes[i] for i in which])
    # Errors of several series are comparable in units that were known before; those of one are in any unit that stays,
    # and stays sharper so.
    if len(sizes) == 1:
        unit = size * np.array([series.swell(values[i], season, power, o) for _, i, o in pairs])
    else:
        unit = np.array([units([values[i][:o]], season, power)[0] for _, i, o in pairs])
    return Tried(np.full_like(came, np.nan), came, size, which, look, unit)


def mean_interval(values: np.ndarray, which: np.ndarray, seed: int, draws: int = 400) -> tuple[float, float]:
    """95 % interval of the mean of (m,) figures, drawing whole series, or figures where there are few series."""
    if not len(values):
        return float("nan"), float("nan")
    random = np.random.default_rng(derive(seed, "interval"))
    names = np.unique(which)
    if len(names) >= 5:
        sums = np.array([values[which == k].sum() for k in names])
        counts = np.array([(which == k).sum() for k in names])
        rows = random.integers(0, len(names), (draws, len(names)))
        means = sums[rows].sum(axis=1) / counts[rows].sum(axis=1)
    else:
        rows = random.integers(0, len(values), (draws, len(values)))
        means = values[rows].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def blocks_interval(errors: np.ndarray, seed: int, draws: int = 400) -> tuple[float, float]:
    """95 % interval of the mean of (n, h) absolute errors: whole series are drawn, or for few series runs of steps."""
    n, h = errors.shape
    if n >= 5:
        return mean_interval(errors.mean(axis=1), np.arange(n), seed, draws)
    random = np.random.default_rng(derive(seed, "blocks"))
    size = max(1, round(np.sqrt(h)))
    starts = random.integers(0, h, (draws, n, -(-h // size)))
    at = (starts[..., None] + np.arange(size)) % h
    at = at.reshape(draws, n, -1)[:, :, :h]
    means = np.take_along_axis(np.broadcast_to(errors, (draws, n, h)), at, axis=2).mean(axis=(1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


LEVELS = (0.5, 0.8, 0.9, 0.95)


def widths(errors: np.ndarray, horizon: int) -> np.ndarray:
    """(levels, horizon) half widths that held so many of the errors (m, h), in units of the series' own steps.

    Split conformal: the ceil((m + 1) level)-th smallest. Steps are pooled after division by their usual size, which may
    only grow with the step, so that a few origins are enough.
    """
    h = errors.shape[1]
    usual = np.sqrt(np.mean(np.minimum(np.abs(errors), 10 * np.median(np.abs(errors)) + 1e-12) ** 2, axis=0)) + 1e-12
    usual = _growing(usual)
    pooled = np.sort((np.abs(errors) / usual).reshape(-1))
    ranks = [min(int(np.ceil((len(pooled) + 1) * level)), len(pooled)) - 1 for level in LEVELS]
    steps = np.arange(horizon)
    curve = usual[np.minimum(steps, h - 1)] * np.sqrt(np.maximum((steps + 1) / h, 1.0))
    return pooled[ranks][:, None] * curve[None]


def _growing(y: np.ndarray) -> np.ndarray:
    """The nearest curve that never falls (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value in y:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            b, a = blocks.pop(), blocks.pop()
            blocks.append([(a[0] * a[1] + b[0] * b[1]) / (a[1] + b[1]), a[1] + b[1]])
    return np.concatenate([np.full(int(n), v) for v, n in blocks])


def smape(said: np.ndarray, came: np.ndarray) -> np.ndarray:
    """(n, h) symmetric percentage errors as shares: 0 is right, 2 the worst."""
    size = np.abs(said) + np.abs(came)
    return np.where(size > 0, 2 * np.abs(said - came) / np.where(size > 0, size, 1.0), 0.0)


def pinball(said: np.ndarray, came: np.ndarray, share: float) -> np.ndarray:
    """(n, h) loss of a quantile."""
    d = came - said
    return np.maximum(share * d, (share - 1) * d)
