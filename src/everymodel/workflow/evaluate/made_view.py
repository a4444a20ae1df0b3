"""From the story of a run that makes data to what `made.html` shows. No markup here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from everymodel.workflow.evaluate import made_plots, plots, words
from everymodel.workflow.evaluate import view as common

_WORDS = {"images": "images", "rows": "rows", "table": "rows", "texts": "texts", "pieces": "pieces", "levels": "levels"}


_COMPARED = {"texts": "held-out texts", "pieces": "held-out pieces", "levels": "training or held-out levels"}


def view(story: Mapping[str, Any]) -> dict[str, Any]:
    """Everything `made.html` needs. What a story lacks is left out."""
    told = story.get("structure") or {}
    evaluation = story.get("evaluation") or {}
    findings = story.get("findings") or []
    figures, history = common._Figures(), told.get("history") or []
    draw = figures.try_draw
    curves = [
        draw("Losses", "What each network made small. In a game of two, no loss need fall.", made_plots.losses, history)
        if made_plots.names_of_losses(history) and len(history) > 1
        else None,
        *(
            draw(title, text, made_plots.course, history, name, label, wide=False)
            for name, title, label, text in (
                ("valid_coverage", "Coverage while it learnt", "coverage",
                 "Share of rows that only watched which have a sample nearby. A fall is a collapse."),
                ("valid_loss", "Distance while it learnt", "distance or loss",
                 "On rows that only watched; lower is nearer. The best weights were kept."),
            )
            if sum(r.get(name) is not None for r in history) > 1
        ),
    ]  # fmt: skip
    shapes = [draw(plots.short(s["name"], 40), "", made_plots.shape, s) for s in told.get("shapes") or []]
    makes = _WORDS.get(str(told.get("makes")), "data")
    against = told.get("beside") or {"title": "real data", "values": {}}
    metrics = [_metric(row, against["values"], told) for row in evaluation.get("metrics") or []]
    return {
        "title": plots.short(story.get("title") or "Made data", 160),
        "created": common._when(story.get("created")),
        "version": story.get("version") or "",
        "headline": story.get("headline") or "",
        "makes": makes,
        "facts": _facts(story, told),
        "grid": told.get("grid"),
        "film": [{**f, "at": words.percent(f["at"])} for f in told.get("film") or []],
        "neighbours": told.get("neighbours") or [],
        "texts": told.get("texts") or [],
        "pictures": told.get("pictures") or [],
        "table": told.get("table"),
        "tiled": makes == "levels",
        "enlarged": told.get("enlarged") or {},
        "metrics": metrics,
        "spans": any(m["span"] for m in metrics),
        "beside": against["title"].capitalize() if against["values"] else "",
        "compared": _COMPARED.get(makes, "training data") if against["title"] == "real data" else "",
        "judge": _judge(told.get("judge") or {}),
        "note": (story.get("split") or {}).get("note") or "",
        "curves": [c for c in curves if c],
        "shapes": [s for s in shapes if s],
        "pair": draw("Two columns together", "", made_plots.pair, told.get("pair")) if told.get("pair") else None,
        "notes": told.get("notes") or [],
        "findings": common._findings(findings),
        "lights": common._light_counts(findings),
        "columns": common._columns([c for c in story.get("columns") or [] if c.get("name") != "seed"]),
        "board": [_tried(row) for row in story.get("leaderboard") or []],
        "members": common._members(story.get("members") or []),
        "how_to": {k: v for k, v in (story.get("how_to") or {}).items() if v},
        "model_file": story.get("model_file") or "",
        "card": _card(story, told, makes),
        "provenance": common._provenance(story),
    }


def _facts(story: Mapping[str, Any], told: Mapping[str, Any]) -> list[tuple[str, str]]:
    split = story.get("split") or {}
    count, _, what = str(told.get("words") or "").partition(" ")
    facts = [(what or "rows", count)] if count else []
    if told.get("classes"):
        facts.append(("classes", f"{len(told['classes']):,}"))
    if split.get("test"):
        facts.append(("held out", f"{split['test']:,}"))
    seconds = sum(v for v in (story.get("timing") or {}).values() if isinstance(v, int | float))
    return [*facts, ("wall time", common._duration(seconds))] if seconds else facts


def _metric(row: Mapping[str, Any], beside: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, str]:
    name = str(row.get("name"))
    titles, shares = told.get("titles") or {}, told.get("shares") or []
    low, high = row.get("low"), row.get("high")

    def said(value: Any) -> str:
        if value is None or not math.isfinite(value):
            return ""
        return words.percent(value, 1) if name in shares else words.number(value)

    return {
        "title": titles.get(name, name.replace("_", " ").capitalize()),
        "value": said(row.get("value")),
        "span": f"{said(low)} – {said(high)}" if low is not None and high is not None and said(low) else "",
        "real": said(beside.get(name)),
        "text": row.get("text") or "",
    }


def _judge(told: Mapping[str, Any]) -> str:
    if not told:
        return ""
    return (
        f"Images were compared in the features of a small network ({told.get('network')}; {told.get('trained_on')}, "
        f"{told.get('steps')} steps, seed {told.get('seed')}), weights SHA-256 {str(told.get('sha256'))[:16]}…"
    )


def _tried(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": row.get("model") or "",
        "chosen": bool(row.get("weight")),
        "seconds": words.number(row.get("fit_seconds")),
        "steps": f"{row['steps']:,}" if row.get("steps") else "",
        "score": words.number(row["score"]) if row.get("score") is not None else "",
        "status": "" if row.get("status") in (None, "ok") else str(row["status"]),
    }


def _card(story: Mapping[str, Any], told: Mapping[str, Any], makes: str) -> list[tuple[str, str]]:
    summary = told.get("summary") or {}
    if told.get("enlarged"):
        does, private = "Makes small images larger, with detail like that of the images it has learnt from.", ""
    else:
        does = f"Makes {makes} like those it has learnt from."
        private = "Samples can resemble single training rows: see how many are nearer to training data above before "
        private += "samples of private data are given away."
    asks = words.capped([str(c) for c in told.get("classes") or []], 12)
    rows = [
        ("What it does", does + (f" On request: {asks}." if asks else "")),
        ("Made of", f"{summary.get('title', '')}. {summary.get('sentence', '')}"),
        ("Fit for", str(summary.get("choose", ""))),
        ("Not fit for", "Facts: what it makes is likely, not true. " + str(summary.get("avoid", ""))),
        ("Private data", private),
        ("Inside the file", "Plain arrays and settings, checked on loading; no code is run."),
    ]  # fmt: skip
    return [(name, text) for name, text in rows if text.strip()]
