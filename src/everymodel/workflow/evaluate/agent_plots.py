"""Plots of agents: how they learnt, what they returned, what they do where. Plain data in, a Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from everymodel.workflow.evaluate.plots import (
    BLUE,
    CYCLE,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    _axes,
    _floats,
    _legend,
    _number_axis,
    _percent_axis,
    _styled,
    short,
)

_WORTH = LinearSegmentedColormap.from_list("worth", ["#eef3f8", "#7fb0dc", "#174f82"])
_TURN = LinearSegmentedColormap.from_list("turn", [BLUE, "#e8ebee", ORANGE])
_DASHED, _DOTTED = (0, (5, 3)), (0, (1.5, 2.5))


@_styled
def learning(
    curves: Sequence[Mapping[str, Any]],
    goal: float | None,
    chance: float | None,
    labels: tuple[str, str] = ("steps of the environment", "return of an episode"),
) -> Figure:
    """Returns over steps: training episodes (mean and middle half), looks by the best actions, what was asked for."""
    figure, ax = _axes(8.4, 3.3)
    for i, one in enumerate(curves):
        colour = CYCLE[i % len(CYCLE)]
        name = f"{short(one['model'])}, " if len(curves) > 1 else ""
        training, looks = _floats_2d(one["training"], 4), _floats_2d(one["looks"], 2)
        if len(training):
            x, mean, low, high = training.T
            ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            ax.plot(x, mean, color=colour, linewidth=1.3, label=f"{name}while it learnt")
        if len(looks):
            few = len(looks) < 40
            ax.plot(*looks.T, color=INK if len(curves) == 1 else colour, linewidth=1.0, marker="o", markersize=4 if few
                    else 2.2, linestyle="-" if few else "none", label=f"{name}looks, best actions")  # fmt: skip
    if goal is not None:
        ax.axhline(goal, color=ORANGE, linewidth=1.2, linestyle=_DASHED, label="asked for")
    if chance is not None:
        ax.axhline(chance, color=GREY, linewidth=1.2, linestyle=_DOTTED, label="by chance")
    ax.set(xlabel=labels[0], ylabel=labels[1])
    _number_axis(ax.xaxis)
    _number_axis(ax.yaxis)
    _legend(ax, loc="best")
    return figure


def _floats_2d(rows: Sequence[Any], width: int) -> np.ndarray:
    return np.array([_floats(r) for r in rows]).reshape(-1, width)


@_styled
def returns(agent: Sequence[float], chance: Sequence[float], goal: float | None) -> Figure:
    """How often each return came, beside acting by chance."""
    figure, ax = _axes()
    a, b = _floats(agent), _floats(chance)
    both = np.concatenate([a, b])
    edges = _edges(both)
    if len(b):
        ax.hist(b, edges, weights=np.full(len(b), 1 / len(b)), color=GREY, alpha=0.5, label="by chance")
    ax.hist(a, edges, weights=np.full(len(a), 1 / len(a)), color=BLUE, alpha=0.85, label="agent")
    if goal is not None and both.min() - np.ptp(both) <= goal <= both.max() + np.ptp(both):
        ax.axvline(goal, color=ORANGE, linewidth=1.2, linestyle=_DASHED, label="asked for")
    if len(edges) == 2:
        ax.set_xlim(edges[0] - 2, edges[1] + 2)
    ax.set(xlabel="return of an episode", ylabel="share of episodes")
    _number_axis(ax.xaxis)
    _percent_axis(ax.yaxis)
    _legend(ax, loc="best")
    return figure


def _edges(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        return np.array([low - 0.5, low + 0.5])
    few = np.unique(values)
    if len(few) <= 12:  # a bar for each value
        gap = np.diff(few).min() / 2
        return np.linspace(low - gap, high + gap, min(round((high - low) / (2 * gap)) + 2, 80))
    return np.linspace(low, high, 31)


@_styled
def lengths(steps: Sequence[int], limit: int | None) -> Figure:
    """How long episodes were."""
    figure, ax = _axes(3.8, 2.6)
    values = _floats(steps)
    ax.hist(values, _edges(values), weights=np.full(len(values), 1 / len(values)), color=BLUE)
    if np.ptp(values) == 0:
        ax.set_xlim(values[0] - 2.5, values[0] + 2.5)
    if limit is not None and limit <= 3 * values.max():
        ax.axvline(limit, color=ORANGE, linewidth=1.2, linestyle=_DASHED, label="time limit")
    ax.set(xlabel="steps of an episode", ylabel="share of episodes")
    _number_axis(ax.xaxis)
    _percent_axis(ax.yaxis)
    _legend(ax, loc="best")
    return figure


@_styled
def choices(counts: Sequence[float], names: Sequence[str] | None = None) -> Figure:
    """How often each action was taken."""
    figure, ax = _axes(3.8, 2.6)
    shares = _floats(counts) / max(float(np.sum(counts)), 1e-9)
    places = np.arange(len(shares))
    if len(shares) <= 12:
        ax.barh(places, shares, 0.7, color=BLUE)
        ax.set_yticks(places, names or [str(i) for i in places])
        ax.invert_yaxis()
        ax.set(xlabel="share of steps", ylabel="action")
        _percent_axis(ax.xaxis)
        ax.grid(axis="y", visible=False)
    else:
        ax.bar(places, shares, 0.9, color=BLUE)
        ax.set(xlabel="action", ylabel="share of steps")
        _percent_axis(ax.yaxis)
    return figure


@_styled
def numbers(spread: Sequence[Mapping[str, Any]]) -> Figure:
    """How actions that are numbers were spread, each in a row of its own."""
    figure = Figure(figsize=(3.8, 0.9 + 1.1 * len(spread)), layout="constrained")
    for i, one in enumerate(spread):
        ax = figure.add_subplot(len(spread), 1, i + 1)
        edges, shares = _floats(one["edges"]), _floats(one["shares"])
        ax.stairs(shares, edges, fill=True, color=BLUE)
        ax.set(ylabel=f"number {i + 1}" if len(spread) > 1 else "share of steps")
        _number_axis(ax.xaxis)
        _percent_axis(ax.yaxis)
    figure.supxlabel("action", fontsize=8.5, color=MUTED)
    return figure


@_styled
def policy(told: Mapping[str, Any]) -> Figure:
    """What is done over one or two numbers that are seen, and where the test went."""
    axes, values = [_floats(a) for a in told["axes"]], np.array(told["actions"], dtype=float)
    path, count = np.array(told["path"], dtype=float), int(told["choices"])
    figure, ax = _axes(4.6, 3.4)
    if len(axes) == 1:
        ax.plot(axes[0], values, color=BLUE, drawstyle="steps-mid" if count else "default")
        ax.plot(path[:, 0], np.full(len(path), values.min()), "|", color=GREY, alpha=0.4, markersize=6)
        ax.set(xlabel="what it sees", ylabel="action")
        _number_axis(ax.xaxis)
        return figure
    span = [axes[0][0], axes[0][-1], axes[1][0], axes[1][-1]]
    if count:
        colours = ListedColormap([CYCLE[i % len(CYCLE)] for i in range(count)])
        ax.imshow(values.T, origin="lower", extent=span, aspect="auto", cmap=colours, vmin=-0.5, vmax=count - 0.5,
                  alpha=0.55, interpolation="nearest")  # fmt: skip
        for i in np.unique(values).astype(int)[:12]:
            ax.plot([], [], "s", color=colours(i), alpha=0.55, label=f"action {i}")
    else:
        shown = ax.imshow(values.T, origin="lower", extent=span, aspect="auto", cmap=_TURN)
        bar = figure.colorbar(shown, ax=ax, label="action")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    ax.plot(*path.T, ".", color=INK, markersize=2, alpha=0.45, label="seen while tested")
    ax.set(xlabel="first number that it sees", ylabel="second number", xlim=span[:2], ylim=span[2:])
    ax.grid(visible=False)
    _number_axis(ax.xaxis)
    _number_axis(ax.yaxis)
    figure.legend(loc="outside upper center", ncols=4, labelcolor=INK, handlelength=1.2, frameon=False, fontsize=8)
    return figure


@_styled
def opening(told: Mapping[str, Any]) -> Figure:
    """Share of each first move: on the board where actions are its points, else as bars."""
    shares, names, (h, w) = _floats(told["shares"]), told["names"], told["board"]
    if len(shares) < h * w:
        return choices(shares, [str(n) for n in names])
    figure, ax = _axes(0.52 * w + 1.5, 0.52 * h + 0.5)
    shown = ax.imshow(shares[: h * w].reshape(h, w), cmap=_WORTH, vmin=0.0)
    for place in np.flatnonzero(shares[: h * w] >= 0.005):
        dark = shares[place] > 0.55 * shares.max()
        ax.text(place % w, place // w, f"{100 * shares[place]:.0f}", ha="center", va="center", fontsize=8,
                color=PAPER if dark else INK)  # fmt: skip
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    bar = figure.colorbar(shown, ax=ax, label="share of the first move")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    _percent_axis(bar.ax.yaxis)
    return figure


@_styled
def fields(told: Mapping[str, Any]) -> Figure:
    """A map: what each field is worth, and the best step there."""
    letters = [list(row) for row in told["fields"]]
    h, w = len(letters), len(letters[0])
    values = _floats(told["values"]).reshape(h, w)
    actions = np.array(told["actions"]).reshape(h, w)
    steps = np.array(told["steps"], dtype=float)
    scale = min(7.6 / w, 4.4 / h, 0.75)
    figure, ax = _axes(max(w * scale + 1.3, 3.0), h * scale + 0.5)
    shown = ax.imshow(np.ma.masked_invalid(values), cmap=_WORTH)
    low, high = np.nanmin(values), np.nanmax(values)
    many = h * w > 400
    for r in range(h):
        for c in range(w):
            if not np.isfinite(values[r, c]):
                if letters[r][c] not in ".F":
                    ax.text(c, r, letters[r][c], ha="center", va="center", color=MUTED, fontsize=9)
                continue
            down, right = steps[actions[r, c]]
            if min(abs(down), abs(right)) < 0.6 * max(abs(down), abs(right)):  # what slips aside is not meant
                down, right = (down, 0.0) if abs(down) > abs(right) else (0.0, right)
            size = np.hypot(down, right)
            if size > 1e-9 and not many:
                dark = (values[r, c] - low) / max(high - low, 1e-12) > 0.55
                colour = PAPER if dark else INK
                y, x = 0.3 * down / size, 0.3 * right / size
                ax.annotate("", (c + x, r + y), (c - x, r - y),
                            arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.1})  # fmt: skip
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    bar = figure.colorbar(shown, ax=ax, label="worth")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure
