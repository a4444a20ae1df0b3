"""From the story of a run of agents to what `agent.html` shows. No markup here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from everymodel.workflow.evaluate import agent_plots, plots, words
from everymodel.workflow.evaluate import view as common

_ENDS = {
    "until": "the return that was asked for was reached",
    "budget": "the time was over",
    "stop": "stopped",
    "still": "it got no better any more",
    "steps": "all of its steps were taken",
}


def view(story: Mapping[str, Any]) -> dict[str, Any]:
    """Everything `agent.html` needs. What a story lacks is left out."""
    told = story.get("structure") or {}
    figures, findings = common._Figures(), story.get("findings") or []
    draw = figures.try_draw
    curves = [c for c in told.get("curves") or [] if c.get("training") or len(c.get("looks") or []) > 1]
    goal, chance = told.get("goal"), told.get("chance")
    learning = None
    if curves and told.get("matches"):
        learning = draw(
            "Worth of the first position while it learnt", "As the player sees it; 1 is the most that can be won.",
            lambda rows: agent_plots.learning(rows, None, None, ("positions played", "worth for who begins")), curves,
            wide=True,
        )  # fmt: skip
    elif curves:
        learning = draw(
            "Return while it learnt",
            "Each point of the line is a group of neighbouring training episodes, the band their middle half; looks "
            "are episodes by the best actions, on which nothing is learnt.",
            lambda rows: agent_plots.learning(rows, goal, chance), curves, wide=True,
        )  # fmt: skip
    actions = told.get("actions") or {}
    tested = [
        draw("Returns", "Of fresh episodes, and of as many by chance.",
             lambda a: agent_plots.returns(a, told.get("chance_returns") or [], goal), told.get("returns") or None),
        draw("Lengths", "Steps of each tested episode.", lambda a: agent_plots.lengths(a, told.get("limit")),
             told.get("lengths") or None),
        draw("Actions", "How often each was taken while tested.", agent_plots.choices, actions.get("counts")),
        draw("Actions", "How they were spread while tested.", agent_plots.numbers, actions.get("numbers")),
    ]  # fmt: skip
    maps = [
        draw("What it does where", "Over the numbers that it sees; dots are what it saw while tested.",
             agent_plots.policy, told.get("map")),
        draw("The map", "What each field is worth, and the best step from there.", agent_plots.fields,
             told.get("grid"), wide=True),
        draw("The first move", "Shares of the moves that its search would play on the empty board.",
             agent_plots.opening, told.get("opening")),
    ]  # fmt: skip
    return {
        "title": plots.short(story.get("title") or "An agent", 160),
        "created": common._when(story.get("created")),
        "version": story.get("version") or "",
        "headline": story.get("headline") or "",
        "reached": _reached(told),
        "facts": _facts(story, told),
        "world": [(str(name), str(text)) for name, text in told.get("facts") or []],
        "film": _film(told.get("film")),
        "metrics": _metrics(told),
        "matches": [_match(row) for row in told.get("matches") or []],
        "game": told.get("game"),
        "note": (story.get("split") or {}).get("note") or "",
        "learning": learning,
        "tested": [t for t in tested if t],
        "maps": [m for m in maps if m],
        "reasons": told.get("reasons") or [],
        "findings": common._findings(findings),
        "lights": common._light_counts(findings),
        "columns": common._columns([]),
        "board": [_tried(row) for row in story.get("leaderboard") or []],
        "settings": [(name, "none" if v is None else str(v)) for name, v in (told.get("settings") or {}).items()],
        "how_to": {k: v for k, v in (story.get("how_to") or {}).items() if v},
        "model_file": story.get("model_file") or "",
        "card": _card(told),
        "provenance": common._provenance(story),
    }


def _reached(told: Mapping[str, Any]) -> dict[str, str] | None:
    """Whether the return is in the range asked for, as a light; None where nothing was asked for."""
    goal, mean = told.get("goal"), (told.get("test") or {}).get("mean")
    if goal is None or mean is None:
        return None
    low = (told.get("test") or {}).get("low")
    if mean < goal:
        return {"colour": "amber", "word": f"below {goal:g}"}
    sure = low is not None and low >= goal
    return {"colour": "green", "word": f"{goal:g} reached" + ("" if sure else ", within the interval")}


def _facts(story: Mapping[str, Any], told: Mapping[str, Any]) -> list[tuple[str, str]]:
    step, episode = ("positions", "games") if told.get("matches") else ("steps", "episodes")
    facts = [(f"{step} learnt in", f"{told['steps']:,}")] if told.get("steps") else []
    if told.get("episodes"):
        facts.append((episode, f"{told['episodes']:,}"))
    split = story.get("split") or {}
    if split.get("test"):
        facts.append((f"fresh {episode} tested", f"{split['test']:,}"))
    seconds = sum(v for v in (story.get("timing") or {}).values() if isinstance(v, int | float))
    return [*facts, ("wall time", common._duration(seconds))] if seconds else facts


def _film(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not told or not told.get("gif"):
        return None
    every = f", {told['shown']:,} of its pictures" if told.get("shown", 0) < told.get("steps", 0) else ""
    text = f"One fresh episode: return {words.number(told.get('total'))} in {told.get('steps', 0):,} steps{every}."
    return {"gif": told["gif"], "stills": told.get("stills") or [], "text": text}


def _metrics(told: Mapping[str, Any]) -> list[dict[str, str]]:
    test, chance = told.get("test") or {}, told.get("by_chance") or {}
    rows = []
    for key, title in (told.get("titles") or {}).items():
        if test.get(key) is None:
            continue
        low, high = (test.get("low"), test.get("high")) if key == "mean" else (None, None)
        span = f"{words.number(low)} – {words.number(high)}" if low is not None and high is not None else ""
        rows.append({"title": str(title), "value": words.number(test[key]), "span": span,
                     "chance": "" if chance.get(key) is None else words.number(chance[key])})  # fmt: skip
    return rows


def _match(row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row.get("low"), row.get("high")
    span = f"{words.number(low)} – {words.number(high)}" if low is not None and high is not None else ""
    counts = {key: f"{row.get(key) or 0:.0f}" for key in ("games", "won", "drawn", "lost")}
    return {"opponent": str(row.get("opponent")), "mean": words.number(row.get("mean")), "span": span, **counts}


def _tried(row: Mapping[str, Any]) -> dict[str, Any]:
    score = row.get("score")
    low, high = row.get("score_low"), row.get("score_high")
    span = f" ({words.number(low)} – {words.number(high)})" if low is not None and high is not None else ""
    return {
        "model": row.get("model") or "",
        "chosen": bool(row.get("weight")),
        "seconds": words.number(row.get("fit_seconds")),
        "steps": f"{row['steps']:,}" if row.get("steps") else "",
        "episodes": f"{row['episodes']:,}" if row.get("episodes") else "",
        "score": "" if score is None or not math.isfinite(score) else words.number(score) + span,
        "ended": _ENDS.get(str(row.get("ended_by")), ""),
        "status": "" if row.get("status") in (None, "ok") else str(row["status"]),
    }


def _card(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    summary = told.get("summary") or {}
    plays = bool(told.get("matches"))
    does = f"Plays {told.get('environment')}: it is told the moves so far and says the next one."
    if not plays:
        does = f"Acts in {told.get('environment')}: it is shown an observation and says what to do next."
    rows = [
        ("What it does", does),
        ("Made of", f"{summary.get('title', '')}. {summary.get('sentence', '')}"),
        ("Fit for", str(summary.get("choose", ""))),
        ("Not fit for", ("Other games and boards. " if plays else "Worlds that differ from the one it has learnt in. ")
         + str(summary.get("avoid", ""))),
        ("Inside the file", "Plain arrays and settings, checked on loading; no code is run."
         + ("" if plays else " The environment is not in it: the file holds its name.")),
    ]  # fmt: skip
    return [(name, text) for name, text in rows if text.strip(" .")]
