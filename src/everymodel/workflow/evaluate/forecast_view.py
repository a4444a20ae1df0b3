"""From the story of a forecast to what `forecast.html` shows. No markup here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from everymodel.workflow.evaluate import forecast_plots, plots, words
from everymodel.workflow.evaluate import view as common

_TITLES = {"mase": "MASE", "smape": "sMAPE", "mae": "Mean absolute error", "rmse": "Root mean squared error",
           "pinball": "Pinball loss", "coverage": "Coverage"}  # fmt: skip
_SHARES = ("smape", "coverage")


def view(story: Mapping[str, Any]) -> dict[str, Any]:
    """Everything `forecast.html` needs. What a story lacks is left out."""
    told = story.get("structure") or {}
    figures = common._Figures()
    evaluation = story.get("evaluation") or {}
    findings = story.get("findings") or []
    target = plots.short(story.get("target") or "", 30)
    dates = bool(told.get("dates"))
    series = told.get("series") or []
    first = series[0] if series else None
    tested = [s for s in series if s.get("test")]
    several = len(series) > 1
    return {
        "title": plots.short(story.get("title") or "What comes next", 160),
        "created": common._when(story.get("created")),
        "version": story.get("version") or "",
        "headline": story.get("headline") or "",
        "facts": _facts(story, told),
        "metrics": [_metric(row) for row in evaluation.get("metrics") or []],
        "from_test": evaluation.get("source") == "test",
        "comparisons": [_compared(row) for row in evaluation.get("comparisons") or []],
        "note": (story.get("split") or {}).get("note") or "",
        "fans": [
            f
            for s in series
            if (f := figures.try_draw(plots.short(s.get("name"), 60), "The line goes on where the data end; the bands "
                                      "hold the truth 80 and 95 times of 100." if s is first else "",
                                      forecast_plots.fan, s, target, dates, not several, wide=not several))
        ],
        "more_series": max(0, (told.get("n") or 0) - len(series)),
        "held_back": [
            f
            for s in tested
            if (f := figures.try_draw(plots.short(s.get("name"), 60), "Said before these steps were known, by a model "
                                      "that had not seen them." if s is tested[0] else "",
                                      forecast_plots.held_back, s, target, dates, not several, wide=not several))
        ],
        "by_step": figures.try_draw(
            "Error by how far ahead", "In the backtest; below the grey line is better than seasonal-naive.",
            forecast_plots.by_step, told.get("by_step"),
        ),
        "looks": figures.try_draw(
            f"Looks ahead from the past: {plots.short(first.get('name'), 40)}" if first else "",
            "What the chosen models said from earlier moments, each having seen nothing later.",
            forecast_plots.looks, first, told.get("looks"), target, dates, wide=True,
        ),
        "tries": told.get("tries") or 0,
        "horizon": told.get("horizon") or 0,
        "season": told.get("season") or 1,
        "step": told.get("step") or "step",
        "findings": common._findings(findings),
        "lights": common._light_counts(findings),
        "columns": common._columns(story.get("columns") or []),
        "board": _board(story),
        "members": common._members(story.get("members") or []),
        "failures": (story.get("failures") or [])[:12],
        "more_failures": max(0, len(story.get("failures") or []) - 12),
        "how_to": {k: v for k, v in (story.get("how_to") or {}).items() if v},
        "model_file": story.get("model_file") or "",
        "card": _card(story, told),
        "provenance": common._provenance(story),
    }  # fmt: skip


def _facts(story: Mapping[str, Any], told: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [(name, value) for name, value in common._facts(story) if name in ("rows", "wall time", "models tried")]
    n = told.get("n") or 1
    return [("series", f"{n:,}"), ("steps ahead", f"{told.get('horizon', 0):,}"), ("a step", str(told.get("step", ""))),
            ("season", f"{told['season']:,} steps" if (told.get("season") or 1) > 1 else "none"), *facts]  # fmt: skip


def _metric(row: Mapping[str, Any]) -> dict[str, str]:
    name = str(row.get("name"))
    if name in _SHARES:
        value = words.percent(row.get("value") or 0.0, 1)
        span = f"{words.percent(row.get('low') or 0.0, 1)} – {words.percent(row.get('high') or 0.0, 1)}"
    else:
        value, span = common._three(row)[0], common._span(row)
    return {"title": _TITLES.get(name, name), "value": value, "span": span, "text": row.get("text") or ""}


def _compared(row: Mapping[str, Any]) -> dict[str, str]:
    gain = {"value": row["gain"], "low": row["low"], "high": row["high"]}
    return {"name": str(row["name"]), "theirs": words.number(row["theirs"]), "ours": words.number(row["ours"]),
            "gain": common._three(gain)[0], "span": common._span(gain)}  # fmt: skip


def _board(story: Mapping[str, Any]) -> dict[str, Any]:
    metric = str(story.get("metric") or "mase")
    rows = story.get("leaderboard") or []
    extra = [k for k in ("mase", "smape") if any(k in r for r in rows)]
    heads = [_TITLES.get(metric, metric), "95 % interval", *(_TITLES[k] for k in extra), "Seconds"]
    made = []
    for row in rows[: common.MODELS_SHOWN]:
        good = row.get("score") is not None
        cells = [words.number(row["score"]) if good else ""]
        cells.append(common._span({"value": row["score"], "low": row.get("score_low"), "high": row.get("score_high")})
                     if good else "")  # fmt: skip
        for k in extra:
            value = row.get(k)
            cells.append("" if value is None else words.percent(value, 1) if k in _SHARES else words.number(value))
        cells.append("" if row.get("fit_seconds") is None else words.number(row["fit_seconds"]))
        status = "" if row.get("status") in (None, "ok") else str(row["status"])
        made.append({"model": row.get("model") or "", "cells": cells, "status": status,
                     "chosen": bool(row.get("weight"))})  # fmt: skip
    return {"heads": heads, "rows": made, "more": max(0, len(rows) - common.MODELS_SHOWN)}


def _card(story: Mapping[str, Any], told: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = dict(common._card(story))
    rows["What it does"] = f"Says the next {told.get('horizon')} steps ({told.get('step')}) of {story.get('target')}."
    rows["Needs"] = "Nothing, to go on from the end of its data; or other series at the same steps."
    rows["Not fit for"] = (
        "Times after a break with the past (a new law, a new price): it only knows what has happened before. Bounds "
        "hold as often as promised only while errors stay as large as they were."
    )
    return list(rows.items())
