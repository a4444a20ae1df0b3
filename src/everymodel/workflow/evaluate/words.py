"""Figures and verdicts in words, for headlines, tables and the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from everymodel.scoring import metrics as m
from everymodel.workflow.types import Metric

_NAMES = {"dummy": "guessing", "best": "the best single model", "best_single": "the best single model"}
_SIMPLE = ("simple", "linear")
_DASH = "–"


def baseline_name(key: str, task: str = "") -> str:
    """How a baseline is called in a sentence."""
    if key.lower() in _SIMPLE:
        return "linear regression" if task == "regression" else "logistic regression"
    return _NAMES.get(key.lower(), key)


def number(value: float | None, digits: int = 3) -> str:
    """A figure as people write it: 46,100 · 0.938 · 1.2e-07; "n/a" where there is none."""
    if value is None or not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size >= 12:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - size)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded)) if rounded else 0))
    return _minus(f"{rounded:,.{decimals}f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def like(value: float, low: float, high: float) -> tuple[str, str, str]:
    """The three figures with as many decimals as the width of the interval deserves."""
    width = high - low
    if not math.isfinite(width) or width <= 0 or max(abs(low), abs(high)) < 1e-4 or max(abs(low), abs(high)) >= 1e12:
        return number(value), number(low), number(high)
    size = math.floor(math.log10(width))
    decimals = min(max(0, 1 - size), 6)
    # Never fewer than two significant digits of the value itself, nor more than five.
    if value and abs(value) >= width:
        top = math.floor(math.log10(abs(value)))
        decimals = min(max(decimals, 1 - top), max(0, 4 - top))
    if size >= 3 and decimals == 0:  # 46,123 with an interval of thousands: 46,100
        step = 10 ** (size - 1)
        value, low, high = (round(v / step) * step for v in (value, low, high))
    return tuple(_minus(f"{round(v, decimals) + 0.0:,.{decimals}f}") for v in (value, low, high))  # type: ignore[return-value]


def percent(value: float | None, digits: int = 0) -> str:
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{100 * value:.{digits}f} %"


def with_interval(metric: Metric) -> str:
    """ "0.938 (0.931–0.944)"."""
    value, low, high = like(metric.value, metric.low, metric.high)
    return f"{value} ({low}{_DASH}{high})" if math.isfinite(metric.high - metric.low) else value


_SHARES = ("accuracy", "roc_auc", "recall", "precision")


def share_digits(value: float, low: float, high: float, others: Sequence[float] = ()) -> int:
    """Decimals for shares out of 100: as few as the interval deserves, one more where figures would look alike."""
    digits = 0 if (high - low) >= 0.015 else 1

    def shown(share: float) -> str:
        return f"{100 * share:.{digits}f}"

    def alike() -> bool:
        edge = value not in (0.0, 1.0) and float(shown(value)) in (0.0, 100.0)
        return edge or any(other != value and shown(other) == shown(value) for other in others)

    if alike():
        digits += 1
    return digits


def of_hundred(value: float, low: float, high: float, digits: int | None = None) -> tuple[str, str, str]:
    """Shares as counts out of 100: ("94", "93", "95")."""
    digits = share_digits(value, low, high) if digits is None else digits
    return tuple(f"{100 * v:.{0 if v in (0.0, 1.0) else digits}f}" for v in (value, low, high))  # type: ignore[return-value]


def headline_metric(metric: str, task: str) -> str:
    """The figure the headline speaks of: the metric itself, but accuracy where the metric says little to a reader."""
    if metric in ("log_loss", "brier", "calibration_error") and task in ("binary", "multiclass"):
        return "accuracy"
    return metric


def sentence(metric: Metric, task: str, label: str = "", digits: int | None = None) -> str:
    """One metric as a sentence without its full stop. `label` names the positive class."""
    known = math.isfinite(metric.high - metric.low)
    kinds = _SHARES if task == "binary" else _SHARES[:2]
    if metric.name in kinds and math.isfinite(metric.value):
        low, high = (metric.low, metric.high) if known else (metric.value - 0.1, metric.value + 0.1)
        v, low, high = of_hundred(metric.value, low, high, digits)
        span = f" ({low}{_DASH}{high})" if known else ""
        whose = f'"{label}"' if label else "positive"
        return {
            "accuracy": f"Right for {v} of 100 rows{span}",
            "roc_auc": f"Ranks a {whose} row above another in {v} of 100 pairs{span}"
            if task == "binary"
            else f"Ranks a row of a class above another in {v} of 100 pairs{span}",
            "recall": f"Finds {v} of 100 {whose} rows{span}",
            "precision": f"{v} of 100 rows called {whose} are{span}",
        }[metric.name]
    v, low, high = like(metric.value, metric.low, metric.high)
    span = f" ({low}{_DASH}{high})" if known else ""
    title = m.METRICS[metric.name].title if metric.name in m.METRICS else metric.name
    if metric.name in ("rmse", "mae", "median_absolute_error"):
        way = {"rmse": "root mean square", "mae": "mean", "median_absolute_error": "median"}[metric.name]
        return f"Off by {v}{span}, {way} error"
    if metric.name == "r2":
        return f"Explains {percent(metric.value)} of the variance" + (
            f" ({percent(metric.low)[:-2]}{_DASH}{percent(metric.high)[:-2]})" if known else ""
        )
    return f"{title} {v}{span}"


def _theirs(name: str, value: float, digits: int = 0) -> str:
    if name in _SHARES:
        return f"{100 * value:.{digits if 0.5 < value < 1 else 0}f}"
    return percent(value) if name == "r2" else number(value)


def verdicts(comparisons: Sequence[Mapping[str, Any]], name: str, digits: int = 0) -> str:
    """The comparisons on one metric as the tail of a sentence; shares have `digits` decimals."""
    groups: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in comparisons:
        if row["metric"] == name and row["verdict"] in ("better", "worse", "not distinguishable"):
            key = row["verdict"] if row["verdict"] != "not distinguishable" else "same"
            groups[key].append(f"{row['name']} ({_theirs(name, row['theirs'], digits)})")
    pieces = []
    for key, words in (("better", "better than"), ("same", "not distinguishable from"), ("worse", "worse than")):
        if groups[key]:
            pieces.append(f"{words} {_listed(groups[key])}")
    if not pieces:
        return ""
    return "; " + (", and ".join(pieces) if len(pieces) < 3 else "; ".join(pieces))


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def headline(
    task: str,
    metric: str,
    metrics: Mapping[str, Metric],
    comparisons: Sequence[Mapping[str, Any]],
    source: str,
    label: str = "",
) -> str:
    """The one sentence for somebody who reads only one."""
    name = headline_metric(metric, task)
    if name != metric:
        lost = [r for r in comparisons if r["metric"] == name and r["against"] == "dummy" and r["verdict"] != "better"]
        if lost or name not in metrics:  # accuracy would hide what the model can do: speak of the metric itself
            name = metric
    if name not in metrics:
        return "No score could be computed."
    chosen = metrics[name]
    others = [r["theirs"] for r in comparisons if r["metric"] == name and r["verdict"] != "identical"]
    digits = share_digits(chosen.value, chosen.low, chosen.high, others) if name in _SHARES else 0
    text = sentence(chosen, task, label, digits) + verdicts(comparisons, name, digits)
    if source == "cross-validation":
        text += "; estimated by cross-validation on the training rows"
    return text + "."


def capped(items: Sequence[str], limit: int = 8) -> str:
    """ "a, b, c and 9,997 more"."""
    if len(items) <= limit:
        return ", ".join(items)
    return ", ".join(items[:limit]) + f" and {len(items) - limit:,} more"
