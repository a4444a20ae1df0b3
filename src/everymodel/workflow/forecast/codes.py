"""Every finding that forecasting can make. A code never changes its meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from everymodel.core.finding import Finding

_NOTHING = "Nothing to do."
# code -> severity, message with the finding's figures in it, advice, what the code means
_SAID: dict[str, tuple[str, str, str, str]] = {
    "forecast-chosen": (
        "info",
        "The table holds nothing but {what} in even steps, so what comes next is forecast.",
        'To predict values from the time itself, pass task="regression".',
        "A table of series was found, so a forecast is made instead of a model of rows.",
    ),
    "time-found": (
        "info",
        "The column {name!r} holds the times of the series.",
        "Name another one with time= (--time).",
        "The column of times was found, not given.",
    ),
    "series-found": (
        "info",
        "The column {name!r} names the series: the same times come with each of its values.",
        "Name another one with group= (--group).",
        "The column that tells series apart was found, not given.",
    ),
    "even-steps": ("info", "{what} in equal steps ({step}).", _NOTHING, "How far apart the values of series are."),
    "time-missing": (
        "warning",
        "{rows:,} rows have no time that can be read; they are left out.",
        "Give every row a time.",
        "Rows of series lack a readable time and are left out.",
    ),
    "time-unsorted": ("info", "Rows do not stand in the order of time; they were sorted.", _NOTHING,
                      "Rows of a series did not stand in the order of time."),
    "time-twice": (
        "warning",
        "{rows:,} rows share their time with another one of their series; their values were averaged.",
        "If they belong to several series, name the column that tells them apart with group= (--group).",
        "Several rows of a series have the same time; their values were averaged.",
    ),
    "time-gaps": (
        "warning",
        "{times:,} times have no row; their values were filled along a straight line between neighbours.",
        "Give these rows, with 0 where nothing happened.",
        "Times of a series have no row; their values were filled.",
    ),
    "values-filled": (
        "warning",
        "{rows:,} rows have no value; they were filled along a straight line, or left out at the ends.",
        "Give the values.",
        "Rows of a series have no value; they were filled.",
    ),
    "time-beside": ("info", "{rows:,} times lie a little beside the even steps and count as the nearest.", _NOTHING,
                    "Times of a series lie a little beside its even steps."),
    "series-empty": (
        "warning",
        "{series:,} series hold no value and are left out: {some}.",
        "Give their values, or leave them out.",
        "Series without any value are left out.",
    ),
    "columns-not-used": (
        "warning",
        "A forecast uses time, series and {name!r} alone; not used: {some}.",
        "To predict rows from their columns, leave horizon and task away.",
        "Columns that a forecast does not use.",
    ),
    "season": ("info", "The series repeat themselves after {season} steps ({step}); models know of it.", _NOTHING,
               "After how many steps series repeat themselves."),
    "no-season": ("info", "No season was found; the seasonal-naive forecast is the last value.", _NOTHING,
                  "Series do not repeat themselves."),
    "series-constant": (
        "warning",
        "Series that never change: {series:,}. The forecast is their value.",
        "Leave them out if they mean nothing.",
        "Series whose values are all equal.",
    ),
    "series-short": (
        "info",
        "{series:,} of {all:,} series are too short to be tested; they are forecast all the same.",
        _NOTHING,
        "Series too short to set their last steps aside for the test.",
    ),
    "forecast-untested": (
        "warning",
        "The series are too short to set their last steps aside; the figures come from the backtest that also chose "
        "the model, and are too good.",
        "Give longer series or ask for fewer steps.",
        "There is no test part, so figures come from the backtest.",
    ),
    "backtest-shorter": (
        "warning",
        "The series are too short to look {asked} steps ahead more than once; the backtest looks {horizon} ahead.",
        "Give longer series or ask for fewer steps.",
        "The backtest looks less far ahead than the forecast.",
    ),
    "backtest-small": (
        "warning",
        "Looks ahead in the backtest: {tries}. Its choice and the bounds are rough.",
        "Give longer series or ask for fewer steps.",
        "The backtest rests on very few looks ahead.",
    ),
}  # fmt: skip
CODES = {code: entry[3] for code, entry in _SAID.items()}


def say(code: str, columns: Iterable[str | None] = (), **data: Any) -> Finding:
    """The finding of this code, with its figures in words and as data."""
    severity, message, advice, _ = _SAID[code]
    return Finding(code, severity, message.format(**data), advice, tuple(c for c in columns if c), data)
