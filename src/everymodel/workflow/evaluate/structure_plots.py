"""Plots of what was found without a target: groups, maps, oddities, components. Plain data in, a Figure out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from everymodel.workflow.evaluate.plots import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    TINT,
    _axes,
    _floats,
    _legend,
    _number_axis,
    _percent_axis,
    _styled,
    short,
)

POINTS = 2000  # drawn on a map: each is an element of the page
COLOURS = 10  # groups or categories told apart by colour
_INDICES = {
    "silhouette": ("silhouette", True),
    "calinski_harabasz": ("Calinski-Harabasz", True),
    "davies_bouldin": ("Davies-Bouldin", False),
    "gap": ("gap", True),
    "bic": ("BIC", False),
    "criterion": ("BIC", False),
    "prediction_strength": ("prediction strength", True),
    "stability": ("stability", True),
}
_DASHED = (0, (4, 3))


def _few(values: Sequence[Any], most: int = POINTS) -> np.ndarray:
    """Row numbers: all, or evenly spread ones."""
    return np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).astype(int))


def colour(group: int) -> str:
    """The colour of a group, in all figures alike; rows of none are grey."""
    return GREY if group < 0 else (*CYCLE[:5], *CYCLE[6:])[group % (len(CYCLE) - 1)]


@_styled
def points(map_: Mapping[str, Any], colours: Sequence[Any] | None, names: Sequence[str], numbers: bool) -> Figure:
    """A map: points (n, 2+), coloured by group numbers, categories or numbers; `colours` None: all alike.

    names : of the axes, or of the categories when `colours` holds their codes.
    numbers : whether `colours` are numbers on a scale.
    """
    xy = np.array([p[:2] for p in map_["points"]], dtype=np.float64)
    at = _few(xy)
    figure, ax = _axes(5.6, 4.6)
    size = 3.4 if len(at) < 600 else 2.4
    if colours is None:
        ax.plot(*xy[at].T, "o", color=BLUE, markersize=size, alpha=0.55, markeredgewidth=0)
    elif numbers:
        values = _floats(colours)[at]
        low, high = np.nanquantile(values, [0.02, 0.98])
        part = np.clip((values - low) / max(high - low, 1e-300), 0, 1)
        for step in range(5):  # few colours, so that the page can restyle and compress them
            some = at[(part >= step / 5) & (part <= (step + 1) / 5 if step == 4 else part < (step + 1) / 5)]
            label = f"{low + (high - low) * step / 5:.3g} to {low + (high - low) * (step + 1) / 5:.3g}"
            shade = (BLUE, "#5d90bd", "#9aa7b5", "#b98e68", ORANGE)[step]
            ax.plot(*xy[some].T, "o", color=shade, markersize=size, alpha=0.75, markeredgewidth=0, label=label)
        _legend(ax, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=3, markerscale=2)
    else:
        codes = np.array([-1 if c is None else int(c) for c in colours])
        told = list(np.unique(codes))
        for code in told:
            some = at[codes[at] == code]
            label = "no group" if code < 0 else short(names[code], 26) if code < len(names) else f"{code}"
            ax.plot(*xy[some].T, "o", color=colour(code), markersize=size, alpha=0.7, markeredgewidth=0,
                    label=label if len(told) <= COLOURS else None)  # fmt: skip
            if code >= 0 and len(some) and map_.get("numbered"):
                x, y = np.median(xy[some], axis=0)
                box = {"boxstyle": "circle,pad=0.18", "facecolor": PAPER, "edgecolor": colour(code)}
                ax.annotate(f"{code}", (x, y), ha="center", va="center", fontsize=8.5, color=INK, bbox=box)
        _legend(ax, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2, markerscale=2)
    axes = [short(n, 40) for n in map_.get("axes") or []]
    explained = map_.get("explained") or []
    for i, part in enumerate(("x", "y")):
        words = axes[i] if i < len(axes) else ""
        share = f"{100 * explained[i]:.0f}% of the variance" if i < len(explained) else ""
        getattr(ax, f"set_{part}label")(" · ".join(w for w in (words, share) if w))
    ax.set_xticklabels([])
    ax.set_yticklabels([])
    return figure


@_styled
def choice(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> Figure:
    """How each index rates each number of groups, from its worst (0) to its best (1), and how many indices vote for it.

    rows : clusters, any of the known indices, votes.
    """
    figure, ax = _axes(5.6, 3.2)
    x = [r["clusters"] for r in rows]
    votes = [r.get("votes") or 0 for r in rows]
    if any(votes):
        ax.bar(x, np.array(votes) / max(votes), width=0.55, color=TINT, label="votes (tallest: " + f"{max(votes)})")
    place = 0
    for name, (title, higher) in _INDICES.items():
        values = _floats([r.get(name) for r in rows])
        if np.isfinite(values).sum() < 2 or np.nanmax(values) == np.nanmin(values):
            continue
        part = (values - np.nanmin(values)) / (np.nanmax(values) - np.nanmin(values))
        ax.plot(x, part if higher else 1 - part, marker="o", markersize=3, linewidth=1.3, label=title,
                color=(BLUE, ORANGE, GREEN, *CYCLE[3:])[place % len(CYCLE)])  # fmt: skip
        place += 1
    if chosen is not None:
        ax.axvline(chosen, color=INK, linewidth=1, linestyle=_DASHED)
    ax.set(xlabel="number of groups", ylabel="from worst to best", ylim=(-0.04, 1.08))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(ax, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=3)
    return figure


@_styled
def stability(rows: Sequence[Mapping[str, Any]], chosen: int | None) -> Figure:
    """Agreement (ARI) of the groups found in resamples of the rows, by number of groups."""
    figure, ax = _axes()
    x, y = [r["clusters"] for r in rows], _floats([r["ari"] for r in rows])
    low, high = _floats([r.get("low") for r in rows]), _floats([r.get("high") for r in rows])
    ax.fill_between(x, low, high, color=BLUE, alpha=0.15, linewidth=0)
    ax.plot(x, y, color=BLUE, marker="o", markersize=4)
    if chosen is not None:
        ax.axvline(chosen, color=INK, linewidth=1, linestyle=_DASHED)
    ax.set(
        xlabel="number of groups", ylabel="agreement of resamples (1: the same)", ylim=(min(0.0, np.nanmin(y)), 1.04)
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@_styled
def silhouettes(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Sorted silhouette widths of each group: right of zero, a row is nearer to its own group than to the next."""
    figure, ax = _axes(5.0, float(np.clip(0.5 * len(rows) + 1.2, 2.6, 9)))
    start, ticks = 0.0, []
    for row in rows:
        widths = np.sort(_floats(row["widths"]))[::-1]
        # groups take room by their share where it is known, and never vanish
        height = max(len(widths), 4)
        y = start + np.linspace(0, height, len(widths) + 1)
        ax.stairs(widths, y, orientation="horizontal", fill=True, color=colour(int(row["segment"])), alpha=0.75)
        ticks.append((start + height / 2, str(row["segment"])))
        start += height + max(2.0, 0.02 * sum(len(r["widths"]) for r in rows))
    mean = float(np.mean(np.concatenate([_floats(r["widths"]) for r in rows])))
    ax.axvline(mean, color=INK, linewidth=1, linestyle=_DASHED)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.set_yticks([t for t, _ in ticks], [f"group {n}" if len(ticks) < 20 else n for _, n in ticks])
    ax.invert_yaxis()
    ax.set(xlabel=f"silhouette width (dashed: mean {mean:.2f})")
    ax.grid(axis="y", visible=False)
    return figure


@_styled
def dendrogram(tree: Mapping[str, Any], cut: float | None = None) -> Figure:
    """The last joins of a hierarchy. `merges`: [a, b, height, size] in order; leaves are numbered before joins."""
    merges = tree["merges"]
    leaves = len(merges) + 1
    order: list[int] = []
    waiting = [leaves + len(merges) - 1]
    while waiting:
        node = int(waiting.pop())
        if node < leaves:
            order.append(node)
        else:
            waiting += [int(merges[node - leaves][1]), int(merges[node - leaves][0])]
    places = {leaf: (float(i), 0.0) for i, leaf in enumerate(order)}
    figure, ax = _axes(6.4, 3.2)
    for i, (a, b, height, _) in enumerate(merges):
        (xa, ya), (xb, yb) = places[int(a)], places[int(b)]
        ax.plot([xa, xa, xb, xb], [ya, height, height, yb], color=BLUE, linewidth=1.2)
        places[leaves + i] = ((xa + xb) / 2, float(height))
    if cut is not None:
        ax.axhline(cut, color=ORANGE, linewidth=1, linestyle=_DASHED)
    ax.set(xticks=[], ylabel="distance at which parts join", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    return figure


@_styled
def odd_scores(histogram: Mapping[str, Any], threshold: float | None) -> Figure:
    """How the scores spread; right of the threshold rows are called anomalies. Counts on a root scale."""
    figure, ax = _axes(5.6, 3.0)
    edges, counts = _floats(histogram["edges"]), _floats(histogram["counts"])
    ax.stairs(counts, edges, fill=True, color=BLUE, alpha=0.35)
    ax.stairs(counts, edges, color=BLUE, linewidth=1.2)
    if threshold is not None:
        beyond = edges[:-1] >= threshold
        ax.stairs(np.where(beyond, counts, 0), edges, fill=True, color=ORANGE, alpha=0.9)
        ax.axvline(threshold, color=INK, linewidth=1, linestyle=_DASHED)
    ax.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    ax.set(xlabel="score (right: odder)", ylabel="rows (root scale)", ylim=(0, None))
    _number_axis(ax.xaxis)
    return figure


@_styled
def scree(explained: Sequence[float], chance: Sequence[float] | None, kept: int | None) -> Figure:
    """Share of the variance in each component, beside what chance alone would give."""
    shown = min(len(explained), 30)
    figure, ax = _axes(5.6, 3.1)
    x = np.arange(1, shown + 1)
    values = _floats(explained)[:shown]
    colours = [BLUE if kept is None or i < kept else GREY for i in range(shown)]
    ax.bar(x, values, color=colours, width=0.7)
    if chance:
        expected = _floats(chance)[:shown]
        ax.plot(x[: len(expected)], expected, color=ORANGE, linewidth=1.3, marker="o", markersize=3, label="by chance")
    ax.set(xlabel="component", ylabel="share of the variance")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _percent_axis(ax.yaxis)
    _legend(ax, loc="upper right")
    ax.grid(axis="x", visible=False)
    return figure


@_styled
def circle(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """How columns go with the first two components: near the rim a column is told by them almost whole."""
    figure, ax = _axes(4.6, 3.7)
    turn = np.linspace(0, 2 * np.pi, 121)
    ax.plot(np.cos(turn), np.sin(turn), color=GREY, linewidth=0.9)
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.axvline(0, color=GREY, linewidth=0.6)
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda r: -math.hypot(r["x"], r["y"]))[:20]:
        x, y = row["x"], row["y"]
        ax.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": BLUE, "linewidth": 1, "alpha": 0.8})
        if len(taken) < 12 and all(abs(y - b) > 0.09 or abs(x - a) > 0.7 for a, b in taken):
            taken.append((x, y))
            ax.annotate(short(row["feature"], 18), (x * 1.04, y * 1.04), fontsize=7.2, color=INK, va="center",
                        ha="left" if x >= 0 else "right")  # fmt: skip
    ax.set(xlim=(-1.45, 1.45), ylim=(-1.12, 1.12), xlabel="component 1", ylabel="component 2", aspect="equal")
    return figure


@_styled
def shares(held: Mapping[str, float]) -> Figure:
    """Share of each column that the components keep."""
    rows = sorted(held.items(), key=lambda item: item[1])
    rows = rows if len(rows) <= 24 else [*rows[:12], *rows[-12:]]
    figure, ax = _axes(5.0, 0.24 * len(rows) + 0.8)
    ax.barh(range(len(rows)), [v for _, v in rows], color=[BLUE if v >= 0.5 else ORANGE for _, v in rows], height=0.7)
    ax.set_yticks(range(len(rows)), [short(k, 26) for k, _ in rows])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set(xlim=(0, 1), xlabel="share kept")
    _percent_axis(ax.xaxis)
    ax.grid(axis="y", visible=False)
    return figure


@_styled
def trust(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Whether neighbours on the map are neighbours in the data (trustworthiness), and the other way (continuity)."""
    figure, ax = _axes()
    x = [r["neighbours"] for r in rows]
    for name, shade in (("trustworthiness", BLUE), ("continuity", ORANGE)):
        if any(r.get(name) is not None for r in rows):
            ax.plot(x, _floats([r.get(name) for r in rows]), color=shade, marker="o", markersize=4, label=name)
    ax.set(xlabel="neighbours looked at", ylabel="kept (1: all)")
    _legend(ax, loc="best")
    return figure


@_styled
def shepard(told: Mapping[str, Any]) -> Figure:
    """Distances on the map against distances in the data, for pairs of rows."""
    pairs = np.array(told["points"], dtype=np.float64)
    at = _few(pairs, 1200)
    figure, ax = _axes()
    ax.plot(*pairs[at].T, "o", color=BLUE, markersize=2.2, alpha=0.35, markeredgewidth=0)
    ax.set(xlabel="distance in the data", ylabel="distance on the map", xlim=(0, None), ylim=(0, None))
    return figure


__all__ = ["POINTS", "choice", "circle", "colour", "dendrogram", "odd_scores", "points", "scree", "shares", "shepard",
           "silhouettes", "stability", "trust"]  # fmt: skip
