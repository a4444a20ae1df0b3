"""From a table to series on an even grid: which column is time, which names the series, what was repaired."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from everymodel.core.errors import DataError, ParameterError, TargetError
from everymodel.core.finding import Finding
from everymodel.core.schema import Column
from everymodel.scoring import cells, series
from everymodel.scoring.series import Frequency
from everymodel.workflow.forecast.codes import say
from everymodel.workflow.types import Table

if TYPE_CHECKING:
    import pandas as pd

LEAST = 8  # values that a series needs to be taken for one without being asked


@dataclass
class Known:
    """The series of a table: equal steps, no holes."""

    target: Column
    time: Column | None
    id: Column | None
    frequency: Frequency
    ids: list[str] | None
    starts: np.ndarray  # (n,) first places on the grid
    values: list[np.ndarray]  # (T,) each
    findings: list[Finding] = field(default_factory=list)
    ignored: tuple[str, ...] = ()  # columns that are not used

    @property
    def n(self) -> int:
        return len(self.values)

    def name(self, i: int) -> str:
        return self.ids[i] if self.ids else self.target.name

    def part(self, rows: np.ndarray) -> Known:
        """Some of the series."""
        ids = None if self.ids is None else [self.ids[i] for i in rows]
        some = [self.values[i] for i in rows]
        return Known(self.target, self.time, self.id, self.frequency, ids, self.starts[rows], some, self.findings)


def known(source: Table, target: str, time: str | None, group: str | None, asked: bool) -> Known | None:
    """The series in a table; None where it is no table of series and nobody has asked for one.

    Parameters
    ----------
    target : the column to forecast. time: column of times. group: column that names the series.
    asked : whether a forecast was asked for; what stands in its way is then an error.

    Raises
    ------
    DataError, TargetError, ParameterError
    """
    frame = source.frame
    names = [str(c) for c in frame.columns]
    for word, name in (("time", time), ("group", group)):
        if name is not None and name not in names:
            raise ParameterError(f"{word}={name!r}: there is no such column. The columns are {', '.join(names[:12])}.")
    others = [n for n in names if n not in (target, time, group)]
    if not asked and (time is None or len(others) > (0 if group else 1) or len(frame) < LEAST):
        return None
    findings: list[Finding] = []
    if time is None:
        time = _time_column(frame, others)
        if time is not None:
            others.remove(time)
            findings.append(say("time-found", (time,), name=time))
    when, clock = _times(frame, time) if time else (np.arange(len(frame), dtype=np.float64), None)
    if clock is None and time:
        if asked:
            raise DataError(f"The column {time!r} holds neither dates nor numbers, so it is no time. Name another one.")
        return None
    y, column = _target(frame, target, asked)
    if column is None:
        return None
    if group is None:
        group = _id_column(frame, others, when)
        if not asked and others and group is None:
            return None
        if group:
            findings.append(say("series-found", (group,), name=group))
    dates = clock is not None and clock.kind == "date"
    lost = ~np.isfinite(when)
    which, ids = _groups(frame, group)
    grid = series.find([when[(which == k) & ~lost] for k in range(max(len(ids), 1))], dates)
    turned = _turned(clock, frame[time]) if clock is not None and time else None
    if turned is not None and clock is not None and (grid is None or grid.unit != "month"):  # 01/02 may be either
        other, form = turned
        found = series.find([other[which == k] for k in range(max(len(ids), 1))], True)
        if found is not None and (grid is None or found.unit == "month"):
            grid, when, clock = found, other, replace(clock, date_format=form)
            lost = ~np.isfinite(when)
    if grid is None:
        if not asked:
            return None
        raise DataError(_uneven(time or "the order of rows", when[~lost], dates))
    made = _laid(when, y, which, len(ids) or 1, grid, lost)
    if clock is not None and lost.any():
        findings.append(say("time-missing", (time,), rows=int(lost.sum())))
    starts, values, repairs, empty, beside = made
    if empty:
        some = ", ".join(repr(ids[k]) for k in empty[:3]) if ids else "the series"
        if len(empty) == max(len(ids), 1):
            raise TargetError(f"The column {target!r} holds no number. Name the column of the values to forecast.")
        findings.append(say("series-empty", (target,), series=len(empty), some=some))
    findings += _told(repairs, beside, grid, time, target)
    kept = [k for k in range(max(len(ids), 1)) if k not in set(empty)]
    if group is None and clock is not None and bool((np.diff(when[~lost]) < 0).any()):
        findings.append(say("time-unsorted", (time,)))
    left = tuple(n for n in others if n not in (group,))
    if left:
        findings.append(say("columns-not-used", left, name=target, some=", ".join(left[:5])))
    schema_time = None if clock is None else clock
    id_column = None if group is None else Column(group, "category", role="group")
    return Known(column, schema_time, id_column, grid, [ids[k] for k in kept] if ids else None,
                 np.array(starts, dtype=np.int64), values, findings, left)  # fmt: skip


def _time_column(frame: pd.DataFrame, names: list[str]) -> str | None:
    """The one column of dates; None where there is none, or more than one."""
    found = [n for n in names if (made := _times(frame, n))[1] is not None and made[1].kind == "date"]
    return found[0] if len(found) == 1 else None


def _times(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, Column | None]:
    """(n,) times with NaN, and how they are written; None where the column holds neither dates nor numbers."""
    import pandas as pd

    from everymodel.workflow.understand.kinds import examine

    column = frame[name]
    tidy = series.plain_times(column)
    seen = examine(name, column if tidy is column else pd.Series(tidy, index=column.index))
    if seen.column.kind == "date":
        return seen.values, replace(seen.column, role="time", low=None, high=None)
    told = seen.numbers or ((seen.values, seen.column) if seen.column.kind in ("number", "boolean") else None)
    if told is None:
        return seen.values.astype(np.float64), None
    values = np.asarray(told[0], dtype=np.float64)
    return values, replace(told[1], name=name, kind="number", role="time", low=None, high=None, levels=())


def _turned(clock: Column, column: pd.Series) -> tuple[np.ndarray, str] | None:
    """The times with day and month the other way round, and their format; None where they cannot be read so."""
    form = clock.date_format
    if not form or "|" in form or "%d" not in form or "%m" not in form:
        return None
    form = form.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m")
    other, bad = series.read_times(column, True, form)
    return None if bad.any() or not np.isfinite(other).all() else (other, form)


def _target(frame: pd.DataFrame, name: str, asked: bool) -> tuple[np.ndarray, Column | None]:
    from everymodel.workflow.understand.kinds import examine

    seen = examine(name, frame[name])
    if seen.column.kind in ("category", "text", "date", "image", "sequence", "identifier") and not seen.numbers:
        if asked:
            raise TargetError(f"The column {name!r} holds {seen.column.kind} values; a forecast needs numbers.")
        return np.zeros(0), None
    seen = examine(name, frame[name], "number")
    values = np.where(np.isfinite(seen.values), seen.values, np.nan)
    if seen.column.kind != "number" and not np.isfinite(values).any():
        raise TargetError(f"The column {name!r} holds no number. Name the column of the values to forecast.")
    return values, replace(seen.column, kind="number", role="target", levels=())


def _id_column(frame: pd.DataFrame, names: list[str], when: np.ndarray) -> str | None:
    """A column whose values tell rows of the same time apart; None where times are all different, or none does."""
    import pandas as pd

    if len(np.unique(when)) >= 0.9 * len(when):
        return None
    for name in names:
        pairs = pd.DataFrame({"id": frame[name].astype(str).to_numpy(), "when": when})
        few = int(pairs["id"].nunique()) <= len(frame) / 4
        if few and float(pairs.duplicated().mean()) <= 0.1:
            return name
    return None


def _groups(frame: pd.DataFrame, group: str | None) -> tuple[np.ndarray, list[str]]:
    """(n,) numbers of series in the order of their first rows, and their names."""
    if group is None:
        return np.zeros(len(frame), dtype=np.int64), []
    words = cells.as_text(frame[group]).astype(str)
    names, first, codes = np.unique(words, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[codes], names[order].tolist()


def _laid(
    when: np.ndarray, y: np.ndarray, which: np.ndarray, n: int, grid: Frequency, lost: np.ndarray
) -> tuple[list[int], list[np.ndarray], list[series.Repairs], list[int], int]:
    starts, values, repairs, empty, beside = [], [], [], [], 0
    for k in range(n):
        rows = (which == k) & ~lost
        at, off = grid.positions(when[rows])
        beside += int(off.sum())
        first, own, told = series.fill(at, y[rows])
        if not len(own):
            empty.append(k)
            continue
        starts.append(first)
        values.append(own)
        repairs.append(told)
    return starts, values, repairs, empty, beside


def _told(repairs: list[series.Repairs], beside: int, grid: Frequency, time: str | None, target: str) -> list[Finding]:
    made = []
    doubles, gaps, blanks = (sum(getattr(r, k) for r in repairs) for k in ("doubles", "gaps", "blanks"))
    where = (time,) if time else ()
    many = f"{len(repairs):,} series" if len(repairs) > 1 else "One series"
    made.append(say("even-steps", where, what=many, step=grid.words, frequency=grid.to_dict()))
    if doubles:
        made.append(say("time-twice", where, rows=doubles))
    if gaps:
        made.append(say("time-gaps", where, times=gaps))
    if blanks:
        made.append(say("values-filled", (target,), rows=blanks))
    if beside:
        made.append(say("time-beside", where, rows=beside))
    return made


def _uneven(time: str, when: np.ndarray, dates: bool) -> str:
    distinct = np.unique(when)
    if len(distinct) < 3:
        return f"{time!r} holds {len(distinct)} different times; a forecast needs at least 3."
    gaps = np.diff(distinct)
    low, high = (f"{g / 86400:.3g} days" if dates else f"{g:.3g}" for g in np.quantile(gaps, [0.1, 0.9]))
    return (
        f"The times in {time!r} are not evenly spaced (from one to the next {low} to {high}). Add them up by day, "
        "week or month first, or name the column that tells series apart with group=."
    )
