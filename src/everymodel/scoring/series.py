"""Time series on an even grid: how far apart points are, where they stand, and what is repaired on the way.

grid = find(times, dates=True)          # Frequency: months, days, ... or steps of a number; None where uneven
at, off = grid.positions(times)         # whole places on it
values, told = fill(at, y)              # one value for every place; doubles averaged, gaps filled, both counted
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ModelFileError
from everymodel.scoring import cells

UNITS = ("number", "second", "day", "business day", "month")
_NEAR = 0.02  # of a step that a time may lie beside its place
_LEAST = 0.9  # share of times that must lie on the grid
_EMPTIEST = 5.0  # places for each time beyond which it is no series of even steps
_QUARTER = re.compile(r"\s*(\d{4})[\s\-_/]*[Qq]([1-4])\s*")
_MONTH = re.compile(
    r"\s*(\d{4})[\s\-_/.]*(?:[Mm](\d{1,2})|([A-Za-z]{3,9}))\.?\s*|\s*([A-Za-z]{3,9})[\s\-_/.]*(\d{4})\s*"
)
_DAY = 86_400.0
MAX_PLACES = 20_000_000


@dataclass(frozen=True)
class Frequency:
    """Even steps: `step` units from one place to the next, the first at `origin` (a number, or seconds since 1970).

    "month" counts calendar months (12: years), by the day of the month of `origin`, or its last day where `end`.
    """

    unit: str
    step: float
    origin: float
    end: bool = False

    def __post_init__(self) -> None:
        good = self.unit in UNITS and np.isfinite(self.step) and self.step > 0 and np.isfinite(self.origin)
        if not good or abs(self.origin) > 1e15:
            raise ModelFileError(f"The frequency {self.unit!r} by {self.step!r} from {self.origin!r} is impossible.")

    @property
    def dates(self) -> bool:
        return self.unit != "number"

    @property
    def words(self) -> str:
        """ "month", "7 days", ..."""
        named = {("month", 12): "year", ("month", 3): "quarter", ("day", 7): "week", ("second", 3600): "hour",
                 ("second", 60): "minute", ("day", 1): "day", ("month", 1): "month"}  # fmt: skip
        if (self.unit, self.step) in named:
            return named[(self.unit, self.step)]
        if self.unit == "second" and self.step % 60 == 0:
            return f"{self.step / 60:g} minutes"
        if self.step == 1:
            return {"number": "step of 1"}.get(self.unit, self.unit)
        return f"step of {self.step:g}" if self.unit == "number" else f"{self.step:g} {self.unit}s"

    def positions(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int64 places, and (n,) bool of times that lie beside the grid."""
        times = np.asarray(times, dtype=np.float64)
        if self.unit == "month":
            month, _ = _months(times)
            first, _ = _months(np.array([self.origin]))
            exact = (month - first[0]) / self.step
            rough = np.rint(exact)
            beside = np.abs(exact - rough) > 1e-9
        elif self.unit == "business day":
            day = np.floor(times / _DAY).astype(np.int64).astype("datetime64[D]")
            first = np.int64(np.floor(self.origin / _DAY)).astype("datetime64[D]")
            rough = np.busday_count(first, day).astype(np.float64)
            beside = ~np.is_busday(day)
        else:
            size = self.step * (_DAY if self.unit == "day" else 1.0)
            exact = (times - self.origin) / size
            rough = np.rint(exact)
            beside = np.abs(exact - rough) > _NEAR
        if len(rough) and (np.abs(rough).max() > MAX_PLACES or not np.isfinite(rough).all()):
            raise DataError(
                f"The times lie {np.abs(rough).max():.3g} steps ({self.words}) apart, too far for a series."
            )
        return rough.astype(np.int64), beside

    def times(self, positions: np.ndarray) -> np.ndarray:
        """Numbers (whole ones as int64), or datetime64[s], of places."""
        at = np.asarray(positions, dtype=np.int64)
        if self.unit == "number":
            made = self.origin + at * self.step
            whole = float(self.origin).is_integer() and float(self.step).is_integer()
            return made.astype(np.int64) if whole else made
        origin = np.datetime64(int(np.floor(self.origin)), "s")
        if self.unit == "month":
            month = origin.astype("datetime64[M]") + (at * int(self.step)).astype("timedelta64[M]")
            days = (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")  # in that month
            place = (origin.astype("datetime64[D]") - origin.astype("datetime64[M]").astype("datetime64[D]")).astype(
                int
            )
            day = days.astype(int) - 1 if self.end else np.minimum(place, days.astype(int) - 1)
            rest = origin - origin.astype("datetime64[D]").astype("datetime64[s]")
            return (month.astype("datetime64[D]") + day).astype("datetime64[s]") + rest
        if self.unit == "business day":
            first = origin.astype("datetime64[D]")
            return np.busday_offset(first, at, roll="forward").astype("datetime64[s]")
        size = self.step * (_DAY if self.unit == "day" else 1.0)
        return np.datetime64(0, "s") + np.rint(self.origin + at * size).astype("timedelta64[s]")

    def seasons(self) -> tuple[int, ...]:
        """Steps of the cycles that such series often have, the shortest first; () where nobody can know."""
        if self.unit == "month":
            return (int(12 // self.step),) if self.step < 12 and 12 % self.step == 0 else ()
        if self.unit == "business day":
            return (5,)
        if self.unit == "number":
            return ()
        size = self.step * (_DAY if self.unit == "day" else 1.0)
        cycles = (*((3600.0,) if size <= 300 else ()), _DAY, 7 * _DAY, 365.25 * _DAY)
        found = [round(c / size) for c in cycles if 2 <= c / size <= 400 and abs(c / size - round(c / size)) < 0.2]
        return tuple(s for s in found if s <= 366)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _months(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(months since 1970, seconds since the month began) of times in seconds."""
    stamps = np.floor(times).astype(np.int64).astype("datetime64[s]")
    month = stamps.astype("datetime64[M]")
    return month.astype(np.int64), (stamps - month.astype("datetime64[s]")).astype(np.int64)


def read_times(values: Any, dates: bool, format: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(n,) numbers or seconds since 1970 with NaN where there is none, and (n,) bool of cells that are no time."""
    if not dates:
        return cells.to_numbers(values)
    if getattr(getattr(values, "dtype", None), "kind", "O") == "M":
        return cells.to_dates(values)
    return cells.to_dates(plain_times(values), format)


def plain_times(values: Any) -> Any:
    """ "1970 Q3", "1970M07" and "1970 Jul" as "1970-07-01"; a column of other cells as it is."""
    held = values.tolist() if hasattr(values, "tolist") else list(values)
    some = [v for v in held[:50] if isinstance(v, str) and v.strip()][:3]
    if not some or any(_period(v) is None for v in some):
        return values
    out = np.empty(len(held), dtype=object)
    for i, cell in enumerate(held):
        out[i] = (_period(cell) or cell) if isinstance(cell, str) else cell
    return out


def _period(cell: str) -> str | None:
    """The first day of a quarter or month, None where the text is neither."""
    match = _QUARTER.fullmatch(cell)
    if match:
        return f"{match[1]}-{3 * int(match[2]) - 2:02d}-01"
    match = _MONTH.fullmatch(cell)
    if not match:
        return None
    word = match[3] or match[4]
    month = int(match[2]) if match[2] else cells._MONTH.get(word.lower(), 0)
    return f"{match[1] or match[5]}-{month:02d}-01" if 1 <= month <= 12 else None


def find(series: list[np.ndarray], dates: bool) -> Frequency | None:
    """The even steps that the times of one or more series share; None where there are none.

    series : for each its times, numbers or seconds since 1970, in any order, doubles allowed.
    """
    tidy = [np.unique(t[np.isfinite(t)]) for t in series]
    tidy = [t for t in tidy if len(t) > 1]
    if not tidy:
        return None
    every = np.unique(np.concatenate(tidy))
    if np.abs(every).max() > 1e14:
        return None
    origin = float(every[0])
    for guess in _guesses(tidy, every, origin, dates):
        places = [guess.positions(t) for t in tidy]
        beside = np.concatenate([off for _, off in places])
        spans = sum(int(at[-1] - at[0]) + 1 for at, _ in places)
        apart = sum(len(np.unique(at)) for at, _ in places)
        known = sum(map(len, tidy))
        if beside.mean() <= 1 - _LEAST and spans <= _EMPTIEST * known and apart >= _LEAST * known:
            return guess
    return None


def _guesses(tidy: list[np.ndarray], every: np.ndarray, origin: float, dates: bool) -> list[Frequency]:
    gaps = np.concatenate([np.diff(t) for t in tidy])
    alike = np.round(gaps / max(np.median(gaps), 1e-300), 4)
    sizes, counts = np.unique(alike, return_counts=True)
    usual = float(f"{np.median(gaps[alike == sizes[counts.argmax()]]):.9g}")
    if not dates:
        whole = np.all(every == np.round(every))
        steps = [usual, float(np.gcd.reduce(np.unique(gaps).astype(np.int64)))] if whole else [usual]
        return [Frequency("number", s, origin) for s in steps if s > 0]
    made: list[Frequency] = []
    month, inside = _months(every)
    last = (np.floor(every + _DAY).astype(np.int64).astype("datetime64[s]").astype("datetime64[M]")
            .astype(np.int64)) != month  # fmt: skip
    jumps = np.concatenate([np.diff(_months(t)[0]) for t in tidy])
    if len(every) > 1 and jumps.min() >= 1 and (np.ptp(inside) < 60 or last.all()):
        step = int(np.gcd.reduce(jumps))
        made.append(Frequency("month", step, origin, end=bool(last.all() and np.ptp(inside) >= 60)))
    seconds = np.mod(every, _DAY)
    if np.ptp(seconds) < 60 and usual >= _DAY * 0.99:
        weekday = (np.floor(every / _DAY).astype(np.int64) + 3) % 7  # Monday is 0; 1970 began on a Thursday
        days = max(round(usual / _DAY), 1)
        if days == 1 and len(every) >= 8 and weekday.max() < 5:
            made.append(Frequency("business day", 1, origin))
        made.append(Frequency("day", days, origin))
    elif usual >= 1:
        made.append(Frequency("second", round(usual), origin))
    return made


@dataclass(frozen=True)
class Repairs:
    """What was put right in one series."""

    doubles: int = 0  # rows at a time that had a row already; averaged
    gaps: int = 0  # times without a row; filled along a straight line
    blanks: int = 0  # rows without a value; filled likewise


def fill(positions: np.ndarray, y: np.ndarray) -> tuple[int, np.ndarray, Repairs]:
    """(first place, (T,) values without holes, what was repaired) of rows in any order."""
    known = np.isfinite(y)
    if not known.any():
        return int(positions.min(initial=0)), np.zeros(0), Repairs(0, 0, len(y))
    order = np.argsort(positions, kind="stable")
    at, values, known = positions[order], np.asarray(y, dtype=np.float64)[order], known[order]
    rows = len(np.unique(at))
    kept, value = at[known], values[known]
    places, start = np.unique(kept, return_index=True)
    count = np.diff(np.append(start, len(kept)))
    mean = np.add.reduceat(value, start) / count
    first, last = int(places[0]), int(places[-1])
    grid = np.arange(first, last + 1)
    gaps = len(grid) - int(((np.unique(at) >= first) & (np.unique(at) <= last)).sum())
    return first, np.interp(grid, places, mean), Repairs(len(at) - rows, gaps, int((~known).sum()))


def tidy(cell: Any) -> np.ndarray:
    """One series (T,) float64 of a cell (T,) or (T, p): its first column, holes filled; zeros where nothing is known.

    Beyond 1e150 there is no room for squares, so that is where values end.
    """
    y = np.asarray(cell, dtype=np.float64)
    y = y[:, 0] if y.ndim > 1 else y
    known = np.isfinite(y)
    if not known.any():
        return np.zeros(max(len(y), 1))
    if not known.all():
        at = np.arange(len(y))
        y = np.interp(at, at[known], y[known])
    return np.clip(y, -1e150, 1e150)


def scale(y: np.ndarray, season: int) -> float:
    """Mean absolute error of the seasonal-naive forecast one step ahead within the series: what MASE divides by."""
    lag = season if len(y) > season else 1
    if len(y) > lag:
        size = float(np.abs(y[lag:] - y[:-lag]).mean())
        if size > 1e-12 * max(float(np.abs(y).max()), 1e-300):
            return size
    size = float(np.abs(y - y.mean()).mean()) if len(y) else 0.0
    return size if size > 0 else max(abs(float(y.mean())) if len(y) else 0.0, 1e-9) * 1e-3


def levels(y: np.ndarray, season: int) -> np.ndarray:
    """(T,) mean size of the values of the last season (at least four) up to each place; half the usual one at least."""
    turn = max(season, 4)
    sums = np.concatenate([[0.0], np.cumsum(np.abs(y))])
    ends = np.arange(1, len(y) + 1)
    starts = np.maximum(ends - turn, 0)
    made = (sums[ends] - sums[starts]) / (ends - starts)
    return np.maximum(made, 0.5 * made.mean() + 1e-300)


def swell(y: np.ndarray, season: int, power: float, known: int | None = None) -> float:
    """How much farther than usual the series moves after its first `known` values (all), as its level has changed:
    1 where `power` is 0, as far as the level where it is 1.
    """
    if power == 0 or not len(y):
        return 1.0
    level = levels(y, season)
    return float((level[(known or len(y)) - 1] / level.mean()) ** power)


def seasonal(y: np.ndarray, season: int) -> float:
    """How surely a series repeats itself after `season` steps: its autocorrelation there over what chance makes.

    Above 1 it does (at 90 %, the test of the M4 competition, after trend and level are taken out).
    """
    if season < 2 or len(y) < 2 * season + 1:
        return 0.0
    flat = y - _trend(y, season)
    # Each is a sum of fewer and fewer products; left so, no season would be found where the series holds few of them.
    r = correlations(flat, season) * len(y) / (len(y) - np.arange(1, season + 1))
    limit = 1.645 * np.sqrt((1 + 2 * float((r[:-1] ** 2).sum())) / len(y))
    return float(r[-1] / limit) if limit > 0 else 0.0


def _trend(y: np.ndarray, season: int) -> np.ndarray:
    """A moving mean over a season, its ends prolonged straight."""
    kernel = np.ones(season) / season
    if season % 2 == 0:
        kernel = np.convolve(kernel, [0.5, 0.5])
    inner = np.convolve(y, kernel, mode="valid")
    left = (len(y) - len(inner)) // 2
    at = np.arange(len(inner)) + left
    if len(inner) < 2:
        return np.full(len(y), y.mean())
    edge = min(len(inner), season) - 1
    slope = ((inner[edge] - inner[0]) / edge, (inner[-1] - inner[-1 - edge]) / edge) if edge else (0.0, 0.0)
    out = np.interp(np.arange(len(y)), at, inner)
    out[:left] = inner[0] - slope[0] * np.arange(left, 0, -1)
    right = len(y) - left - len(inner)
    out[len(y) - right :] = inner[-1] + slope[1] * np.arange(1, right + 1)
    return out


def correlations(y: np.ndarray, lags: int) -> np.ndarray:
    """(lags,) autocorrelations at 1, 2, ..., lags."""
    z = y - y.mean()
    total = float((z * z).sum())
    if total <= 0:
        return np.zeros(lags)
    return np.array([float((z[k:] * z[:-k]).sum()) / total if k < len(z) else 0.0 for k in range(1, lags + 1)])


def season_of(series: list[np.ndarray], usual: tuple[int, ...]) -> int:
    """The cycle that most series show: one of the `usual`, or one that stands out by itself; 1 where there is none."""
    some = [y for y in series if len(y) >= 8 and np.ptp(y) > 0][:200]
    if not some:
        return 1
    best = (1.0, 1)
    for season in usual:
        strengths = [seasonal(y, season) for y in some if len(y) > 2 * season]
        if len(strengths) * 2 >= len(some):
            strength = float(np.median(strengths))
            best = max(best, (strength, season)) if strength > 1.0 else best
    if best[1] > 1 or usual:
        return best[1]
    found = []
    for y in some[:50]:
        most = min(len(y) // 3, 200)
        if most < 3:
            continue
        t = np.linspace(-1, 1, len(y))
        y = np.log(y) if y.min() > 0 else y  # cycles that swing up farther than down
        flat = y - y.mean() - t * float((t * y).sum() / (t * t).sum())
        r = correlations(flat, most) * len(y) / (len(y) - np.arange(1, most + 1))
        peaks = [k for k in range(1, most - 1) if r[k] > r[k - 1] and r[k] >= r[k + 1]]
        good = [k for k in peaks if r[k] > 0.5]
        if good:
            best = max(r[k] for k in good)
            found.append(next(k for k in good if r[k] > 0.9 * best) + 1)  # two turns look as alike as one
    if len(found) * 2 < min(len(some), 50):
        return 1
    seasons, counts = np.unique(found, return_counts=True)
    return int(seasons[counts.argmax()]) if counts.max() * 2 >= len(found) else 1
