"""Plots of runs that make data: how the fit went, and made beside real values. Plain data in, a Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from everymodel.workflow.evaluate.plots import (
    BLUE,
    CYCLE,
    GREY,
    _axes,
    _floats,
    _legend,
    _number_axis,
    _percent_axis,
    _styled,
    short,
)

_NOT_LOSSES = ("epoch", "rate", "seconds", "rows", "steps")


def names_of_losses(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was made small, by the names in the history."""
    last = history[-1] if history else {}
    return [k for k in last if k not in _NOT_LOSSES and not k.startswith("valid_")][:6]


@_styled
def losses(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Each loss by epoch."""
    figure, ax = _axes()
    for i, name in enumerate(names_of_losses(history)):
        points = [(r["epoch"], r[name]) for r in history if r.get(name) is not None]
        ax.plot(*_floats(points).T, color=CYCLE[i % len(CYCLE)], label=short(name), marker=_mark(points), markersize=3)
    ax.set(xlabel="looks", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _number_axis(ax.yaxis)
    _legend(ax, loc="upper right")
    return figure


@_styled
def course(history: Sequence[Mapping[str, Any]], name: str, label: str, real: float | None = None) -> Figure:
    """One figure of the validation by epoch, and what real data reach."""
    figure, ax = _axes()
    points = [(r["epoch"], r[name]) for r in history if r.get(name) is not None]
    values = [v for _, v in points]
    if real is not None:
        ax.axhline(real, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="real data")
    ax.plot(*_floats(points).T, color=BLUE, label="samples", marker=_mark(points), markersize=3)
    if min(values) > 0 and max(values) > 20 * min(values):
        ax.set_yscale("log")
    elif name.endswith("coverage"):
        ax.set_ylim(0, 1.02)
        _percent_axis(ax.yaxis)
    ax.set(xlabel="looks", ylabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(ax, loc="best")
    return figure


def _mark(points: Sequence[Any]) -> str | None:
    return "o" if len(points) < 30 else None


@_styled
def shape(one: Mapping[str, Any]) -> Figure:
    """How often each value comes: grey real, blue made."""
    figure, ax = _axes(3.8, 2.4)
    real, made = _floats(one["real"]), _floats(one["made"])
    if "edges" in one:
        edges = _floats(one["edges"])
        ax.stairs(real, edges, fill=True, color=GREY, alpha=0.45, label="real")
        ax.stairs(made, edges, color=BLUE, linewidth=1.6, label="made")
        _number_axis(ax.xaxis)
    else:
        places = np.arange(len(real))
        ax.barh(places - 0.2, real, 0.38, color=GREY, alpha=0.7, label="real")
        ax.barh(places + 0.2, made, 0.38, color=BLUE, label="made")
        ax.set_yticks(places, [short(level, 18) for level in one["levels"]])
        ax.invert_yaxis()
        _percent_axis(ax.xaxis)
        ax.grid(axis="y", visible=False)
    if "edges" in one:
        _percent_axis(ax.yaxis)
    _legend(ax, loc="best")
    return figure


@_styled
def pair(told: Mapping[str, Any]) -> Figure:
    """Two columns against one another."""
    figure, ax = _axes(4.4, 3.6)
    ax.scatter(*_floats(told["real"]).T, s=14, color=GREY, alpha=0.6, linewidths=0, label="real")
    ax.scatter(*_floats(told["made"]).T, s=14, color=BLUE, alpha=0.6, linewidths=0, label="made")
    ax.set(xlabel=short(told["names"][0]), ylabel=short(told["names"][1]))
    _number_axis(ax.xaxis)
    _number_axis(ax.yaxis)
    _legend(ax, loc="best")
    return figure
