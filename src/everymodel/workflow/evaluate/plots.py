"""Every plot of the report, also for notebooks: each function takes plain data and returns a matplotlib Figure.

    from everymodel.workflow.evaluate import plots
    plots.roc(run.evaluation.curves["roc"])

No pyplot, no global state. Colours are distinguishable without colour vision and carry meaning: blue is the model,
grey is guessing or a reference, orange is what asks for attention.
"""

from __future__ import annotations

import functools
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from everymodel.workflow.evaluate.words import number

INK, MUTED, GRID, PAPER = "#1c2530", "#5b6672", "#e2e6eb", "#fefefe"
BLUE, ORANGE, GREEN, PINK, GREY, GOLD = "#1f6fb4", "#d5762a", "#25926e", "#b0467d", "#8a939d", "#b8941f"
TINT = "#cfe1f2"  # the model's blue, light
CYCLE = (BLUE, ORANGE, GREEN, PINK, GOLD, GREY, "#5a4fcf", "#8c5a2b", "#3aa6b9", "#6b8e23", "#c0392b", "#44546a")
# In a page the colours follow the reader's light or dark setting.
_VARIABLES = {
    INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper", BLUE: "--blue", ORANGE: "--orange",
    GREEN: "--green", PINK: "--pink", GREY: "--grey", GOLD: "--gold", TINT: "--tint",
}  # fmt: skip
_STYLE = {
    "text.parse_math": False,  # a column called "$price$" is not a formula
    "svg.fonttype": "none",
    "svg.hashsalt": "everymodel",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}
_SCALE = LinearSegmentedColormap.from_list("everymodel", [BLUE, "#9aa7b5", ORANGE])

Plot = Callable[..., Figure]


def _styled(function: Plot) -> Plot:
    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return function(*arguments, **options)

    return wrapped


def svg(figure: Figure, prefix: str = "") -> str:
    """The figure as an SVG element that takes its colours and font from the page around it.

    `prefix` keeps the ids of several figures in one page apart.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the measuring font lacks; the reader's browser has them
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    text = re.sub(r"<[^>]+>", lambda found: _tag(found.group(0), prefix), text)
    return re.sub(r"\n\s*", "\n", text)


def _tag(tag: str, prefix: str) -> str:
    """One tag, lighter and in the page's colours; what stands between tags (the reader's data) is left alone."""
    tag = re.sub(r"(\d+\.\d\d)\d+", r"\1", tag)  # a hundredth of a point is finer than any printer
    tag = re.sub(r"font: ?([\d.]+)px[^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r"font: ?(?:bold|700) ([\d.]+)px[^;\"]*", r"font-size: \1px; font-weight: 650", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var({variable})")
    for mark in ('id="', 'href="#', "url(#"):
        tag = tag.replace(mark, mark + prefix)
    return tag


def short(text: Any, length: int = 28) -> str:
    """A label that fits; control characters would break the drawing."""
    clean = "".join(c if c.isprintable() else " " for c in str(text))
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def _axes(width: float = 4.4, height: float = 3.1) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _floats(values: Sequence[Any]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f}%"))


def _number_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda v, _: _tick(v)))
    axis.set_major_locator(MaxNLocator(6))


def _tick(value: float) -> str:
    size = abs(value)
    for limit, unit in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if size >= limit * (10 if unit == "k" else 1):
            return f"{value / limit:g}{unit}"
    return f"{value:,.6g}"


def _unit_square(ax: Axes, x: str, y: str) -> None:
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x, ylabel=y)
    _percent_axis(ax.xaxis)
    _percent_axis(ax.yaxis)


def _legend(ax: Axes, **options: Any) -> None:
    if ax.get_legend_handles_labels()[1]:
        ax.legend(labelcolor=INK, handlelength=1.4, **options)


# -- classification -----------------------------------------------------------------------------------------------


@_styled
def roc(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """True against false positive rate; one line per class. `rows`: name, fpr, tpr, area."""
    figure, ax = _axes()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for i, row in enumerate(rows):
        label = f"{short(row['name'], 18)}: {number(row['area'])}" if len(rows) > 1 else f"area {number(row['area'])}"
        ax.plot(row["fpr"], row["tpr"], color=CYCLE[i % len(CYCLE)], label=label)
        if len(rows) == 1:
            ax.fill_between(row["fpr"], row["tpr"], color=BLUE, alpha=0.08, linewidth=0)
    _unit_square(ax, "false alarms among the others", "found among the positives")
    _legend(ax, loc="lower right", title="area under the curve" if len(rows) > 1 else None)
    return figure


@_styled
def pr(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Precision against recall; one line per class. `rows`: name, recall, precision, area, base."""
    figure, ax = _axes()
    if len(rows) == 1:
        ax.axhline(rows[0]["base"], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        ax.annotate("guessing", (0.01, rows[0]["base"]), color=MUTED, fontsize=7.5, va="bottom")
    for i, row in enumerate(rows):
        label = f"{short(row['name'], 18)}: {number(row['area'])}" if len(rows) > 1 else f"area {number(row['area'])}"
        ax.plot(row["recall"], row["precision"], color=CYCLE[i % len(CYCLE)], label=label)
    _unit_square(ax, "found among the positives (recall)", "right among the found (precision)")
    _legend(ax, loc="lower left")
    return figure


@_styled
def calibration(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Observed share against stated probability, with intervals. `rows`: stated, observed, low, high, rows."""
    figure, ax = _axes()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    x, y = _floats([r["stated"] for r in rows]), _floats([r["observed"] for r in rows])
    low, high = _floats([r["low"] for r in rows]), _floats([r["high"] for r in rows])
    ax.vlines(x, low, high, color=BLUE, alpha=0.45, linewidth=1.5)
    ax.plot(x, y, color=BLUE, marker="o", markersize=4.5, linewidth=1.2)
    _unit_square(ax, "stated probability", "came true")
    return figure


@_styled
def gain(curve: Mapping[str, Any]) -> Figure:
    """Share of positives found among the best-scored rows."""
    figure, ax = _axes()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    if 0 < curve["base"] < 1:
        ax.plot([0, curve["base"], 1], [0, 1, 1], color=GREEN, linewidth=1, label="a perfect model")
    ax.plot(curve["share"], curve["found"], color=BLUE, label="this model")
    _unit_square(ax, "rows looked at, best scored first", "positives found")
    _legend(ax, loc="lower right")
    return figure


@_styled
def lift(curve: Mapping[str, Any]) -> Figure:
    """How many times more positives than by chance among the best-scored tenth, fifth, ..."""
    figure, ax = _axes()
    share = [100 * row["share"] for row in curve["deciles"]]
    values = [row["lift"] for row in curve["deciles"]]
    ax.bar(share, values, width=7, color=BLUE)
    ax.axhline(1, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for x, y in list(zip(share, values))[:4]:
        ax.annotate(f"{y:.2g}×", (x, y), ha="center", va="bottom", fontsize=7.5, color=INK)
    ax.set(xlabel="best-scored % of rows", ylabel="times as many as by chance", xticks=share)
    ax.grid(axis="x", visible=False)
    return figure


@_styled
def scores(histogram: Mapping[str, Any], threshold: float | None = None) -> Figure:
    """How the probability is spread among rows of each class."""
    figure, ax = _axes()
    edges = np.array(histogram["edges"])
    for row, colour in zip(histogram["counts"], (ORANGE, BLUE)):
        counts = np.array(row["counts"], dtype=float)
        share = counts / max(counts.sum(), 1)
        ax.stairs(share, edges, fill=True, color=colour, alpha=0.28)
        ax.stairs(share, edges, color=colour, linewidth=1.4, label=short(row["name"], 18))
    if threshold is not None:
        ax.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    ax.set(xlabel="probability given by the model", ylabel="share of the class's rows", xlim=(0, 1))
    _percent_axis(ax.yaxis)
    _percent_axis(ax.xaxis)
    _legend(ax, loc="upper center")
    return figure


@_styled
def decisions(curve: Mapping[str, Any], threshold: float | None = None) -> Figure:
    """Precision, recall and F1 at every threshold."""
    figure, ax = _axes()
    x = curve["threshold"]
    for key, colour in (("precision", BLUE), ("recall", ORANGE), ("f1", GREEN)):
        ax.plot(x, _floats(curve[key]), color=colour, label="F1" if key == "f1" else key)
    if threshold is not None:
        ax.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        side = "left" if threshold < 0.6 else "right"
        ax.annotate(f" {threshold:.3g} ", (threshold, 0.02), fontsize=8, ha=side, color=INK)
    _unit_square(ax, "threshold", "")
    _legend(ax, loc="lower center")
    return figure


@_styled
def threshold_cost(choice: Mapping[str, Any]) -> Figure:
    """Mean cost (or the chosen score) of decisions at every threshold, on out-of-fold answers."""
    figure, ax = _axes()
    ax.plot(choice["curve"]["threshold"], _floats(choice["curve"]["value"]), color=BLUE)
    ax.axvspan(choice["low"], choice["high"], color=BLUE, alpha=0.1, linewidth=0)
    ax.plot([choice["threshold"]], [choice["value"]], "o", color=ORANGE, markersize=6)
    ax.annotate(f"  {choice['threshold']:.3g}", (choice["threshold"], choice["value"]), color=INK, va="bottom")
    name = "mean cost of a decision" if choice["by"] == "cost" else choice["by"].replace("_", " ")
    ax.set(xlim=(0, 1), xlabel="threshold", ylabel=name)
    return figure


@_styled
def confusion(table: Mapping[str, Any]) -> Figure:
    """Counts of truth (rows) and answers (columns); shade is the share of the row."""
    counts, labels = np.array(table["counts"], dtype=float), [short(t, 16) for t in table["labels"]]
    k = len(labels)
    figure, ax = _axes(max(3.4, 0.62 * k + 1.6), max(2.8, 0.5 * k + 1.2))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for i in range(k):
        for j in range(k):
            colour = BLUE if i == j else ORANGE
            ax.add_patch(
                matplotlib.patches.Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, alpha=0.85 * share[i, j], lw=0)
            )
            ink = PAPER if share[i, j] > 0.6 else INK
            ax.text(j, i, f"{counts[i, j]:,.0f}", ha="center", va="center", color=ink)
    ax.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), xlabel="answer", ylabel="truth")
    ax.set_xticks(range(k), labels, rotation=40 if k > 4 else 0, ha="right" if k > 4 else "center")
    ax.set_yticks(range(k), labels)
    ax.grid(visible=False)
    return figure


# -- regression ---------------------------------------------------------------------------------------------------


@_styled
def predicted_actual(curve: Mapping[str, Any]) -> Figure:
    """Actual value against answer; on the dashed line the answer is right."""
    figure, ax = _axes()
    actual, answer = _floats(curve["scatter"]["actual"]), _floats(curve["scatter"]["answer"])
    low, high = float(min(actual.min(), answer.min())), float(max(actual.max(), answer.max()))
    alpha = float(np.clip(60 / len(actual) ** 0.6, 0.12, 0.7))
    ax.scatter(answer, actual, s=9, color=BLUE, alpha=alpha, linewidths=0)
    ax.plot([low, high], [low, high], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    ax.set(xlabel="answer", ylabel="actual value")
    _number_axis(ax.xaxis)
    _number_axis(ax.yaxis)
    return figure


@_styled
def residuals(curve: Mapping[str, Any]) -> Figure:
    """How the errors are spread."""
    figure, ax = _axes()
    edges = _floats(curve["residuals"]["edges"])
    ax.stairs(curve["residuals"]["counts"], edges, fill=True, color=BLUE, alpha=0.75)
    ax.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    ax.set(xlabel="answer minus actual value", ylabel="rows")
    _number_axis(ax.xaxis)
    return figure


@_styled
def residuals_by_answer(curve: Mapping[str, Any]) -> Figure:
    """Error against answer: a tilt or a funnel shows where the model is biased or unsure."""
    figure, ax = _axes()
    actual, answer = _floats(curve["scatter"]["actual"]), _floats(curve["scatter"]["answer"])
    alpha = float(np.clip(60 / len(actual) ** 0.6, 0.12, 0.7))
    ax.scatter(answer, answer - actual, s=9, color=BLUE, alpha=alpha, linewidths=0)
    ax.axhline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    ax.plot([t["answer"] for t in curve["tenths"]], [t["bias"] for t in curve["tenths"]], color=ORANGE, marker="o",
            markersize=4, label="mean error of a tenth")  # fmt: skip
    ax.set(xlabel="answer", ylabel="answer minus actual value")
    _number_axis(ax.xaxis)
    _number_axis(ax.yaxis)
    _legend(ax, loc="best")
    return figure


@_styled
def tenths(curve: Mapping[str, Any]) -> Figure:
    """Mean actual value and the middle 80 % of each tenth of the answers."""
    figure, ax = _axes()
    rows = curve["tenths"]
    x = [t["answer"] for t in rows]
    ax.vlines(x, [t["low"] for t in rows], [t["high"] for t in rows], color=BLUE, alpha=0.35, linewidth=5)
    ax.plot(x, [t["actual"] for t in rows], "o", color=BLUE, markersize=5)
    ax.plot([min(x), max(x)], [min(x), max(x)], color=INK, linewidth=1, linestyle=(0, (4, 3)))
    ax.set(xlabel="mean answer of a tenth of the rows", ylabel="actual: mean and middle 80 %")
    _number_axis(ax.xaxis)
    _number_axis(ax.yaxis)
    return figure


# -- search -------------------------------------------------------------------------------------------------------


@_styled
def learning(rows: Sequence[Mapping[str, Any]], metric: str = "score") -> Figure:
    """Score against the number of training rows. `rows`: rows, score, optionally low, high, train_score."""
    figure, ax = _axes()
    x, y = _floats([r["rows"] for r in rows]), _floats([r["score"] for r in rows])
    if all(r.get("low") is not None and r.get("high") is not None for r in rows):
        ax.fill_between(x, _floats([r["low"] for r in rows]), _floats([r["high"] for r in rows]), color=BLUE,
                        alpha=0.15, linewidth=0)  # fmt: skip
    if all(r.get("train_score") is not None for r in rows):
        ax.plot(
            x,
            _floats([r["train_score"] for r in rows]),
            color=GREY,
            marker="o",
            markersize=3.5,
            label="on its own rows",
        )
    ax.plot(x, y, color=BLUE, marker="o", markersize=4, label="on unseen rows")
    ax.set(xlabel="training rows", ylabel=metric)
    _number_axis(ax.xaxis)
    _legend(ax, loc="best")
    return figure


@_styled
def history(rows: Sequence[Mapping[str, Any]], metric: str = "score") -> Figure:
    """Best score so far against seconds. `rows`: seconds and best (or score)."""
    figure, ax = _axes()
    points = [(r["seconds"], r.get("best", r.get("score"))) for r in rows]
    x, y = _floats([p[0] for p in points]), _floats([p[1] for p in points])
    ax.step(x, y, where="post", color=BLUE)
    ax.plot(x, y, "o", color=BLUE, markersize=3.5)
    ax.set(xlabel="seconds", ylabel=f"best {metric} so far")
    return figure


@_styled
def training(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss of a network against epochs. `rows`: epoch and loss, where known valid."""
    figure, ax = _axes()
    for key, colour, label in (("loss", GREY, "rows it learns from"), ("valid", BLUE, "rows it does not")):
        points = [(r["epoch"], r[key]) for r in rows if r.get(key) is not None]
        if points:
            ax.plot(_floats([x for x, _ in points]), _floats([y for _, y in points]), color=colour, label=label)
    valid = [(r["valid"], r["epoch"]) for r in rows if r.get("valid") is not None]
    if valid:
        least, epoch = min(valid)
        ax.plot([epoch], [least], "o", color=BLUE, markersize=4)
    values = [r[k] for r in rows for k in ("loss", "valid") if r.get(k) is not None]
    if values and min(values) > 0 and max(values) > 20 * min(values):
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set(xlabel="epoch", ylabel="loss")
    _legend(ax, loc="upper right")
    return figure


# -- explanations -------------------------------------------------------------------------------------------------


@_styled
def importance(rows: Sequence[Mapping[str, Any]], most: int = 15) -> Figure:
    """How much worse the score gets when a column is shuffled, with intervals."""
    rows = list(rows)[:most][::-1]
    figure, ax = _axes(6.0, max(1.4, 0.27 * len(rows) + 0.7))
    value = _floats([r["value"] for r in rows])
    ax.barh(range(len(rows)), value, color=BLUE, height=0.62)
    ax.hlines(
        range(len(rows)), _floats([r["low"] for r in rows]), _floats([r["high"] for r in rows]), color=INK, linewidth=1
    )
    ax.axvline(0, color=GRID, linewidth=1)
    ax.set_yticks(range(len(rows)), [short(r["column"]) for r in rows])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("how much worse without it")
    return figure


@_styled
def dependence(item: Mapping[str, Any], answer: str = "mean answer") -> Figure:
    """The mean answer as one column is set to each value; thin lines are single rows."""
    figure, ax = _axes(3.9, 2.7)
    words = item["kind"] in ("category", "boolean", "date")
    x = np.arange(len(item["grid"])) if words else _floats(item["grid"])
    outputs = item["outputs"]
    if item["kind"] in ("category", "boolean") and len(outputs) == 1:
        mean = _floats(outputs[0]["mean"])
        ax.hlines(x, _floats(item["low"]), _floats(item["high"]), color=BLUE, alpha=0.35, linewidth=5)
        ax.plot(mean, x, "o", color=BLUE, markersize=5.5)
        ax.set_yticks(x, [short(g, 18) for g in item["grid"]])
        ax.invert_yaxis()
        ax.set_xlabel(answer)
        ax.grid(axis="y", visible=False)
        return figure
    for line in item["ice"]:
        ax.plot(x, line, color=GREY, linewidth=0.5, alpha=0.35)
    for i, output in enumerate(outputs):
        label = short(output["name"], 16) if len(outputs) > 1 else None
        ax.plot(
            x, output["mean"], color=CYCLE[i], linewidth=2.2, label=label, marker="o" if words else None, markersize=4
        )
    if words:
        step = max(1, len(x) // 6)
        ax.set_xticks(x[::step], [short(g, 12) for g in item["grid"][::step]], rotation=25, ha="right")
    else:
        _number_axis(ax.xaxis)
        ticks = [t for t in item.get("deciles") or [] if t is not None and x[0] <= t <= x[-1]]
        ax.vlines(ticks, 0, 0.035, color=MUTED, linewidth=1, transform=ax.get_xaxis_transform())
    ax.set(xlabel=short(item["column"], 40), ylabel=answer)
    _legend(ax, loc="best")
    return figure


@_styled
def summary(rows: Sequence[Mapping[str, Any]], answer: str = "the answer") -> Figure:
    """Contributions of the columns to many answers, coloured from low (blue) to high (orange) cells."""
    rows = list(rows)[::-1]
    figure, ax = _axes(6.6, max(1.8, 0.34 * len(rows) + 0.9))
    for place, row in enumerate(rows):
        values, level = _floats(row["values"]), _floats(row["level"])
        y = place + _swarm(values) * 0.38
        known = np.isfinite(level)
        colours = np.where(known[:, None], _SCALE(np.nan_to_num(level)), matplotlib.colors.to_rgba(GREY))
        ax.scatter(values, y, s=8, c=colours, linewidths=0)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.set_yticks(range(len(rows)), [short(r["column"]) for r in rows])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(f"pushes {answer} down  ·  up")
    return figure


def _swarm(values: np.ndarray) -> np.ndarray:
    """Vertical places in -1 .. 1 so that crowded points spread."""
    if len(values) == 0 or np.ptp(values) == 0:
        return np.zeros(len(values))
    bins = np.clip(((values - values.min()) / np.ptp(values) * 60).astype(int), 0, 60)
    place, crowd = np.zeros(len(values)), np.bincount(bins).max()
    for b in np.unique(bins):
        inside = np.flatnonzero(bins == b)
        spread = np.arange(len(inside)) - (len(inside) - 1) / 2
        place[inside] = spread / max(crowd, 8) * 2
    return place


@_styled
def waterfall(example: Mapping[str, Any]) -> Figure:
    """How one answer comes about: from what the model says on average to what it says for this row."""
    parts = [p for p in example["contributions"] if p["value"]][:8]
    rest = example["answer"] - example["base"] - sum(p["value"] for p in parts)
    rows = [
        (f"{short(p['column'], 20)} = {short(p['cell'], 12)}" if p["cell"] else p["column"], p["value"]) for p in parts
    ]
    if abs(rest) > 1e-9 * max(1.0, abs(example["answer"])):
        rows.append(("everything else", rest))
    figure, ax = _axes(4.8, 0.3 * len(rows) + 1.1)
    at = example["base"]
    path = np.cumsum([at, *(v for _, v in rows)])
    low, high = float(path.min()), float(path.max())
    span = (high - low) or 1.0
    for i, (_, value) in enumerate(rows):
        up = value >= 0
        ax.barh(i, value, left=at, height=0.62, color=BLUE if up else ORANGE)
        at += value
        ax.annotate(f"{'+' if up else '−'}{number(abs(value), 2)}", (at + (0.015 if up else -0.015) * span, i),
                    va="center", ha="left" if up else "right", fontsize=7.5, color=INK)  # fmt: skip
    ax.axvline(example["base"], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    ax.axvline(example["answer"], color=INK, linewidth=1)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.invert_yaxis()
    ax.set_xlim(low - 0.17 * span, high + 0.17 * span)
    ax.grid(axis="y", visible=False)
    _number_axis(ax.xaxis)
    ax.set_xlabel(f"average {number(example['base'])}  →  this row {number(example['answer'])}")
    return figure


@_styled
def tree(drawn: Mapping[str, Any]) -> Figure:
    """A small tree: questions in boxes, yes to the left, answers at the ends."""
    nodes = {node["id"]: node for node in drawn["nodes"]}
    places: dict[int, tuple[float, int]] = {}

    def place(i: int, depth: int, at: int) -> int:
        node = nodes[i]
        if "question" not in node:
            places[i] = (at, depth)
            return at + 1
        middle = place(node["yes"], depth + 1, at)
        end = place(node["no"], depth + 1, middle)
        places[i] = ((places[node["yes"]][0] + places[node["no"]][0]) / 2, depth)
        return end

    width, deep = place(0, 0, 0), max(d for _, d in places.values())
    figure, ax = _axes(max(5.0, 1.5 * width), 1.15 * (deep + 1))
    for i, node in nodes.items():
        x, y = places[i][0], -places[i][1]
        for side, word in (("yes", "yes"), ("no", "no")):
            if side in node:
                x2, y2 = places[node[side]][0], -places[node[side]][1]
                ax.plot([x, x2], [y - 0.2, y2 + 0.24], color=GREY, linewidth=0.8 + 5 * nodes[node[side]]["share"],
                        alpha=0.6, zorder=1)  # fmt: skip
                ax.text((x + x2) / 2, (y + y2) / 2, word, ha="center", va="center", fontsize=7.5, color=MUTED, zorder=3,
                        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})  # fmt: skip
        leaf = "question" not in node
        box = FancyBboxPatch(
            (x - 0.46, y - 0.24),
            0.92,
            0.48,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=TINT if leaf else PAPER,
            edgecolor=BLUE if leaf else GREY,
            linewidth=1,
            zorder=2,
        )
        ax.add_patch(box)
        if leaf:
            answer = node["answer"] if isinstance(node["answer"], str) else number(node["answer"])
            first = short(answer, 16)
            notes = [f"{100 * node['share']:.0f}% of rows"] if node["share"] else []
            if node.get("sure") is not None and node["sure"] < 0.995:
                notes.append(f"{100 * node['sure']:.0f}% sure")
            second = " · ".join(notes)
            ax.text(x, y + 0.06, first, ha="center", va="center", color=INK, fontweight="bold", fontsize=8.5, zorder=4)
            ax.text(x, y - 0.11, second, ha="center", va="center", color=MUTED, fontsize=6.2, zorder=4)
        else:
            ax.text(x, y, _wrapped(node["question"]), ha="center", va="center", color=INK, fontsize=7.4, zorder=4)
    ax.set(xlim=(-0.55, width - 0.45), ylim=(-deep - 0.32, 0.32))
    ax.axis("off")
    return figure


def _wrapped(text: str, width: int = 20) -> str:
    """Two lines at most."""
    text = short(text, 2 * width)
    if len(text) <= width:
        return text
    if " ≤ " in text:
        name, limit = text.rsplit(" ≤ ", 1)
        return f"{short(name, width + 2)}\n≤ {limit}"
    breaks = [i for i, c in enumerate(text) if c == " " and i <= width]
    cut = breaks[-1] if breaks and breaks[-1] >= 6 else width
    return f"{text[:cut].rstrip()}\n{short(text[cut:].strip(), width)}"


@_styled
def comparison(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Our gain over each baseline with its interval; right of zero is better."""
    rows = list(rows)[::-1]
    figure, ax = _axes(6.0, 0.36 * len(rows) + 0.8)
    for i, row in enumerate(rows):
        colour = {"better": GREEN, "worse": ORANGE}.get(row["verdict"], GREY)
        if row["low"] is not None and row["high"] is not None and math.isfinite(row["high"] - row["low"]):
            ax.hlines(i, row["low"], row["high"], color=colour, linewidth=3, alpha=0.6)
        ax.plot([row["gain"]], [i], "o", color=colour, markersize=6)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(range(len(rows)), [f"against {short(r['name'])}" for r in rows])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set(xlabel=f"worse  ←  {title or 'gain'}  →  better", ylim=(-0.6, len(rows) - 0.4))
    ax.grid(axis="y", visible=False)
    return figure
