"""Plots of series and their forecasts. Plain data in, a Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from everymodel.workflow.evaluate.plots import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    TINT,
    _axes,
    _floats,
    _legend,
    _number_axis,
    _styled,
)


def _times(values: Sequence[Any]) -> np.ndarray:
    if values and isinstance(values[0], str):
        return np.array(values, dtype="datetime64[s]")
    return _floats(values)


def _time_axis(ax: Any, dates: bool) -> None:
    if dates:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    _number_axis(ax.yaxis)


def _above(ax: Any, wide: bool) -> None:
    """The legend, where no line is."""
    _legend(ax, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4 if wide else 2)


@_styled
def fan(one: Mapping[str, Any], target: str = "", dates: bool = False, wide: bool = True) -> Figure:
    """A series, what comes next, and the bounds around it. `one`: times, values, ahead (values, low, high, ...)."""
    figure, ax = _axes(*((7.6, 3.0) if wide else (3.8, 2.7)))
    ahead = one["ahead"]
    past, then = _times(one["times"]), _times(ahead["times"])
    shown = slice(-min(len(past), max(60, 6 * len(then))), None)
    values = _floats(one["values"])
    join = np.concatenate([past[-1:], then])
    last = values[-1:]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([last, _floats(ahead[name])])

    ax.fill_between(join, joined("lowest"), joined("highest"), color=TINT, alpha=0.45, linewidth=0, label="95 of 100")
    ax.fill_between(join, joined("low"), joined("high"), color=TINT, linewidth=0, label="80 of 100")
    ax.plot(past[shown], values[shown], color=INK, linewidth=1.2, label="known")
    ax.plot(join, joined("values"), color=BLUE, label="forecast")
    ax.set(ylabel=target)
    _time_axis(ax, dates)
    _above(ax, wide)
    return figure


@_styled
def held_back(one: Mapping[str, Any], target: str = "", dates: bool = False, wide: bool = True) -> Figure:
    """The steps that were set aside, what was said of them before, and what seasonal-naive said."""
    figure, ax = _axes(*((7.6, 2.8) if wide else (3.8, 2.7)))
    test = one["test"]
    past, then = _times(one["times"]), _times(test["times"])
    shown = slice(-min(len(past), max(36, 4 * len(then))), None)
    ax.fill_between(then, _floats(test["low"]), _floats(test["high"]), color=TINT, linewidth=0, label="80 of 100")
    ax.plot(past[shown], _floats(one["values"])[shown], color=INK, linewidth=1.2, label="what came")
    ax.plot(then, _floats(test["naive"]), color=GREY, linestyle=(0, (4, 3)), linewidth=1.2, label="seasonal-naive")
    ax.plot(then, _floats(test["values"]), color=BLUE, label="said before")
    ax.set(ylabel=target)
    _time_axis(ax, dates)
    _above(ax, wide)
    return figure


@_styled
def looks(one: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], target: str = "", dates: bool = False) -> Figure:
    """Looks ahead from earlier moments, each beside what came."""
    figure, ax = _axes(7.6, 2.8)
    past = _times(one["times"])
    ax.plot(past, _floats(one["values"]), color=INK, linewidth=1.1, label="what came")
    for i, row in enumerate(rows):
        when = _times(row["times"])
        if when[-1] < past[0]:
            continue
        ax.plot(
            when, _floats(row["values"]), color=ORANGE, linewidth=1.2, alpha=0.8, label="looks ahead" if not i else None
        )
    ax.set(ylabel=target)
    _time_axis(ax, dates)
    _above(ax, True)
    return figure


@_styled
def by_step(told: Mapping[str, Any]) -> Figure:
    """Error by how far ahead, in the backtest."""
    figure, ax = _axes()
    own, naive = _floats(told["own"]), _floats(told["naive"])
    steps = np.arange(1, len(own) + 1)
    mark = "o" if len(own) < 30 else None
    ax.plot(steps, naive, color=GREY, marker=mark, markersize=3, label="seasonal-naive")
    ax.plot(steps, own, color=BLUE, marker=mark, markersize=3, label="this model")
    ax.set(xlabel="steps ahead", ylabel="MASE", ylim=(0, None))
    _legend(ax, loc="upper left")
    return figure
