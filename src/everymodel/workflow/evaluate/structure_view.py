"""From the story of a run without a target to what its page shows: groups, oddities, components, maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate import plots, words
from everymodel.workflow.evaluate import structure_plots as draw
from everymodel.workflow.evaluate import view as common

SEGMENTS_SHOWN = 60
ROWS_SHOWN = 25
LOADINGS_SHOWN = 12

_DOES = {
    "cluster": "Says which group a row belongs to",
    "anomaly": "Says how odd a row is",
    "reduce": "Gives few columns for many",
    "embed": "Gives a row its place on a map",
}
_METRICS = {
    "silhouette": ("Silhouette", "How much closer rows are to their own group than to the next: 1 far apart, 0 not."),
    "calinski_harabasz": ("Calinski-Harabasz", "Spread between groups over spread inside them."),
    "davies_bouldin": ("Davies-Bouldin", "Width of groups over the distance to the nearest other; lower is better."),
    "gap": ("Gap", "How much tighter the groups are than groups of structureless rows."),
    "stability": ("Stability", "Agreement (ARI) with the groups found in resamples of the rows: 1 is the same."),
    "ari": ("Adjusted Rand index", "Agreement with the labels given: 1 is the same, 0 is chance."),
    "ami": ("Adjusted mutual information", "What groups and labels say about each other: 1 all, 0 chance."),
    "homogeneity": ("Homogeneity", "1 when each group holds one label only."),
    "completeness": ("Completeness", "1 when each label lies in one group only."),
    "trustworthiness": ("Trustworthiness", "1 when neighbours on the map are neighbours in the data."),
    "continuity": ("Continuity", "1 when neighbours in the data are neighbours on the map."),
}


def view(story: Mapping[str, Any]) -> dict[str, Any]:
    """Everything `structure.html` needs. What a story lacks is left out."""
    task, told = story.get("task") or "", story.get("structure") or {}
    figures = common._Figures()
    evaluation = story.get("evaluation") or {}
    findings = story.get("findings") or []
    part = {"cluster": _cluster, "anomaly": _anomaly, "reduce": _reduce, "embed": _embed}[task]
    return {
        "title": plots.short(story.get("title") or task, 160),
        "created": common._when(story.get("created")),
        "version": story.get("version") or "",
        "task": task,
        "headline": story.get("headline") or "",
        "facts": _facts(story, task, told),
        "labels": plots.short(story.get("labels") or "", 60),
        "metrics": _metrics(evaluation.get("metrics") or []),
        "findings": common._findings(findings),
        "lights": common._light_counts(findings),
        "columns": common._columns(story.get("columns") or []),
        "board": _board(story.get("leaderboard") or [], story.get("metric") or ""),
        "members": common._members(story.get("members") or []),
        "failures": (story.get("failures") or [])[:12],
        "more_failures": max(0, len(story.get("failures") or []) - 12),
        "how_to": {k: v for k, v in (story.get("how_to") or {}).items() if v},
        "model_file": story.get("model_file") or "",
        "card": _card(story, task),
        "provenance": common._provenance(story),
        **part(figures, told, story),
    }


def gain(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The part of a report about what unlabelled rows brought; None where there were none."""
    if not told or told.get("metric") is None:
        return None
    metric = str(told["metric"])
    title = m.METRICS[metric].title if metric in m.METRICS else metric
    row = {"value": told.get("difference"), "low": told.get("low"), "high": told.get("high")}
    difference = common._float(told.get("difference"))
    sign = "+" if difference > 0 else ""
    return {
        "title": title,
        "sentence": str(told.get("verdict") or ""),
        "labelled": _count(told.get("labelled")),
        "unlabelled": _count(told.get("unlabelled")),
        "without": words.number(told.get("labelled_only")),
        "with_them": words.number(told.get("with_unlabelled")),
        "difference": sign + common._three(row)[0],
        "span": common._span(row),
    }


def augmentation(story: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a report about what made rows brought; None where none were asked for."""
    told = story.get("augmentation")
    if not told:
        return None
    metric = str(story.get("metric") or "")
    rows = []
    for option in told.get("options") or []:
        row = {"value": option.get("difference"), "low": option.get("low"), "high": option.get("high")}
        sign = "+" if common._float(option.get("difference")) > 0 else ""
        rows.append(
            {
                "title": str(option.get("title") or ""),
                "without": words.number(option.get("without")),
                "with_them": words.number(option.get("with")),
                "difference": sign + common._three(row)[0],
                "span": common._span(row),
            }
        )
    title = m.METRICS[metric].title if metric in m.METRICS else metric
    verdict, model = str(told.get("verdict") or ""), str(told.get("model") or "")
    return {"sentence": verdict, "model": model, "title": title, "rows": rows}


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _facts(story: Mapping[str, Any], task: str, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [(name, value) for name, value in common._facts(story) if name not in ("models tried", "test rows")]
    tried = len(story.get("leaderboard") or [])
    if tried > 1:
        facts.insert(2, ("answers compared", f"{tried:,}"))
    if task == "cluster":
        facts.insert(0, ("group" if len(told.get("segments") or []) == 1 else "groups",
                         f"{len(told.get('segments') or []):,}"))  # fmt: skip
        if told.get("noise_share"):
            facts.insert(1, ("of no group", words.percent(told["noise_share"], 1)))
    return facts


def _metrics(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    made = []
    for row in rows:
        name = str(row.get("name"))
        known = m.METRICS[name].title if name in m.METRICS else name.replace("_", " ").capitalize()
        title, text = _METRICS.get(name, (known, ""))
        if not math.isfinite(common._float(row.get("value"))):
            continue
        made.append({"title": title, "text": row.get("text") or text, "value": common._three(row)[0],
                     "span": common._span(row)})  # fmt: skip
    return made


_HIDDEN = ("model", "title", "card", "status", "score", "score_low", "score_high", "parameters", "kind", "chosen",
           "row_ms", "size", "weight", "origin", "id")  # fmt: skip


def _board(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """What was tried: model, then whatever figures the rows hold, in the order in which they stand there."""
    columns: list[str] = []
    for row in rows:
        columns += [k for k, v in row.items() if k not in (*_HIDDEN, *columns) and common._is_number(v)]
    if metric not in columns and any(r.get("score") is not None for r in rows):
        columns.insert(1 if "clusters" in columns else 0, "score")
    columns = [c for c in columns if c != "fit_seconds"][:6] + (["fit_seconds"] if "fit_seconds" in columns else [])
    heads = [_METRICS[metric][0] if c == "score" and metric in _METRICS else
             "Seconds" if c == "fit_seconds" else _METRICS[c][0] if c in _METRICS else
             c.replace("_", " ").capitalize() for c in columns]  # fmt: skip
    made = []
    for row in rows[: common.MODELS_SHOWN]:
        status = "" if row.get("status") in (None, "done", "ok", "finished") else str(row["status"])
        cells = []
        for name in columns:
            value = row.get(name)
            share = name.endswith("share") and isinstance(value, int | float)
            cells.append("" if value is None else words.percent(value, 1) if share else
                         f"{value:,}" if isinstance(value, int) else words.number(value))  # fmt: skip
        made.append({"model": row.get("title") or row.get("model") or "", "cells": cells, "status": status,
                     "chosen": bool(row.get("chosen"))})  # fmt: skip
    return {"heads": heads, "rows": made, "more": max(0, len(rows) - common.MODELS_SHOWN)}


def _card(story: Mapping[str, Any], task: str) -> list[tuple[str, str]]:
    rows = dict(common._card(story))
    rows["What it does"] = f"{_DOES.get(task, task)}. Nothing was predicted, so nothing was tested against a truth."
    rows["Not fit for"] = (
        "Conclusions about causes, and decisions about people by their group alone: groups are a summary of the "
        "columns that happened to be in the table, each given the same weight."
        if task == "cluster"
        else "Conclusions about causes. What is odd is not thereby wrong."
        if task == "anomaly"
        else "Conclusions about causes."
    )
    return list(rows.items())


# -- groups -------------------------------------------------------------------------------------------------------


def _cluster(figures: Any, told: Mapping[str, Any], story: Mapping[str, Any]) -> dict[str, Any]:
    segments = told.get("segments") or []
    chosen = len(segments) or None
    names = [f"{s['number']}: {s['name']}" for s in segments]
    largest = max((s["share"] for s in segments), default=1.0) or 1.0
    cards = []
    for s in segments[:SEGMENTS_SHOWN]:
        rule = s.get("rule") or {}
        cards.append(
            {
                "number": s["number"],
                "name": plots.short(s["name"], 140),
                "sentence": s["sentence"],
                "rows": f"{s['rows']:,}",
                "share": words.percent(s["share"], 1 if s["share"] < 0.1 else 0),
                "width": round(100 * s["share"] / largest, 1),
                "colour": draw.colour(int(s["number"])),
                "confidence": words.percent(s.get("confidence")) if s.get("confidence") is not None else "",
                "stability": words.percent(s["stability"]) if s.get("stability") is not None else "",
                "shaky": s.get("stability") is not None and s["stability"] < 0.6,
                "typical": [{"spread": "", **t} for t in (s.get("typical") or [])[:24]],
                "rule": plots.short(rule.get("text", ""), 400),
                "rule_text": f"precision {words.percent(rule['precision'])}, recall {words.percent(rule['recall'])}, "
                f"F1 {rule['f1']:.2f}" if rule else "",
            }
        )  # fmt: skip
    real = told.get("choice") or []
    interval = told.get("interval") or {}
    map_ = told.get("map") or {}
    rules = told.get("rules") or {}
    tree = rules.get("tree") or {}
    # An older story holds rules as text only.
    agreement = rules.get("agreement") if isinstance(rules, Mapping) else None
    dendrogram = told.get("dendrogram") or {}
    return {
        "segments": cards,
        "more_segments": max(0, len(segments) - SEGMENTS_SHOWN),
        "noise": told.get("noise"),
        "sure": _sure(interval, chosen),
        "measured": rules.get("measured", ""),
        "heat": _heat(told.get("heat") or {}),
        "real": _drawn(
            figures.try_draw(
                "How many groups?",
                "Indices of how well each number of groups fits, each from its worst to its best. Dashed: the answer.",
                draw.choice if len(real) > 1 else None, real, chosen or 0,
            ),
            figures.try_draw(
                "Would other rows give the same groups?",
                "Groups were looked for again in resamples of the rows. Below about 0.6 do not rely on them.",
                draw.stability if len(told.get("stability") or []) > 1 else None, told.get("stability"), chosen or 0,
            ),
            figures.try_draw(
                "How clear the groups are",
                "One bar per row; bars left of zero belong to rows that are nearer to another group.",
                draw.silhouettes, told.get("silhouettes"),
            ),
            figures.try_draw(
                "How groups hang together",
                "The lower two parts join, the more alike they are.",
                draw.dendrogram if dendrogram.get("merges") else None, dendrogram,
            ),
        ),
        "maps": _drawn(
            figures.try_draw(
                "The rows on a map",
                "The two directions in which rows differ most; groups that overlap here may be apart in others.",
                draw.points if map_.get("points") else None,
                {**map_, "numbered": True}, map_.get("labels"), names, False,
                wide=True,
            ),
            figures.try_draw(
                "The groups in few questions",
                "A small tree for all groups."
                + (f" It says the same as the model for {words.percent(agreement)} of {rules.get('measured')}."
                   if agreement is not None else ""),
                plots.tree if tree.get("nodes") else None,
                tree,
                wide=True,
            ),
        ),
    }  # fmt: skip


def _drawn(*figures: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [f for f in figures if f]


def _sure(interval: Mapping[str, Any], chosen: int | None) -> str:
    low, high = interval.get("low"), interval.get("high")
    if low is None or high is None:
        return ""
    if low == high == chosen:
        return f"No other number of groups than {low} is plausible for these rows."
    if low == high:
        return f"Other figures than this method's speak for {low} groups."
    return f"From {low} to {high} groups are plausible for these rows."


def _heat(told: Mapping[str, Any]) -> dict[str, Any]:
    columns, z = told.get("columns") or [], told.get("z") or []
    groups = told.get("rows") or []
    rows = []
    for j, name in enumerate(columns):
        cells = []
        for line in z:
            value = common._float(line[j])
            cells.append({"share": round(min(abs(value), 1.0) * 100), "up": value >= 0,
                          "text": f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0"})  # fmt: skip
        rows.append({"name": plots.short(name, 40), "cells": cells})
    return {"groups": groups[:SEGMENTS_SHOWN], "rows": rows, "more": told.get("more") or 0}


# -- oddities -----------------------------------------------------------------------------------------------------


def _anomaly(figures: Any, told: Mapping[str, Any], story: Mapping[str, Any]) -> dict[str, Any]:
    scores, threshold = told.get("scores") or {}, told.get("threshold")
    histogram = scores.get("histogram") if isinstance(scores, Mapping) else None
    quantiles = scores.get("quantiles") if isinstance(scores, Mapping) else scores
    map_ = told.get("map") or {}
    rows = []
    for row in (told.get("top") or [])[:ROWS_SHOWN]:
        reasons = [str(r.get("text") or r.get("column") or "") for r in row.get("reasons") or []]
        tail = row.get("tail")
        rows.append({"row": f"{row['row']:,}" if isinstance(row.get("row"), int) else str(row.get("row", "")),
                     "score": words.number(row.get("score")),
                     "tail": "" if tail is None or tail >= 1 else f"1 in {1 / tail:,.0f}" if tail > 1e-9 else "none",
                     "reasons": [plots.short(r, 160) for r in reasons[:4]]})  # fmt: skip
    return {
        "rows": rows,
        "more_rows": max(0, len(told.get("top") or []) - ROWS_SHOWN),
        "tails": any(r["tail"] for r in rows),
        "threshold": words.number(threshold) if threshold is not None else "",
        "how": told.get("how") or "",
        "figures": _drawn(
            figures.try_draw(
                "How odd the rows are",
                "Most rows lie left. Orange: beyond the threshold.",
                draw.odd_scores, histogram or _from_quantiles(quantiles, story.get("rows") or 0), threshold or 0.0,
                wide=True,
            ),
            figures.try_draw(
                "Where the odd rows lie",
                "Two directions in which the rows differ most. What is odd in other directions may look usual here.",
                draw.points if map_.get("points") else None,
                map_, *_coded(map_, ("normal", "anomaly")),
                wide=True,
            ),
        ),
    }  # fmt: skip


def _coded(map_: Mapping[str, Any], first: Sequence[str] = ()) -> tuple[Any, tuple[str, ...], bool]:
    """(codes or numbers, names of the codes, whether they are numbers) that a map is coloured by."""
    labels, names = map_.get("labels") or map_.get("values"), tuple(str(n) for n in map_.get("names") or ())
    if labels and any(isinstance(v, str) for v in labels):
        found = {str(v) for v in labels}
        names = (*(n for n in first if n in found), *sorted(found.difference(first)))
        place = {name: i for i, name in enumerate(names)}
        return [place[str(v)] for v in labels], names, False
    numbers = bool(map_.get("numbers")) or any(isinstance(v, float) for v in labels or ())
    return labels, names or tuple(first), numbers


def _from_quantiles(quantiles: Any, rows: int) -> dict[str, Any] | None:
    """A histogram from evenly spaced quantiles."""
    if not quantiles or len(quantiles) < 3 or quantiles[-1] <= quantiles[0]:
        return None
    edges = np.linspace(quantiles[0], quantiles[-1], 41)
    below = np.interp(edges, quantiles, np.linspace(0, 1, len(quantiles)))
    below[-1] = 1.0
    return {"edges": edges.tolist(), "counts": (np.diff(below) * rows).tolist()}


# -- components and maps ------------------------------------------------------------------------------------------


def _reduce(figures: Any, told: Mapping[str, Any], story: Mapping[str, Any]) -> dict[str, Any]:
    map_ = dict(told.get("map") or {})
    loadings = []
    for row in (told.get("loadings") or [])[:LOADINGS_SHOWN]:
        parts = row.get("parts") or []
        top = max((abs(common._float(p.get("value"))) for p in parts), default=1.0) or 1.0
        bars = [{"name": plots.short(p["feature"], 40), "text": words.number(p["value"], 2),
                 "width": round(50 * abs(p["value"]) / top, 1), "up": p["value"] >= 0} for p in parts[:10]]  # fmt: skip
        again = row.get("again")
        loadings.append({"title": f"{row.get('component', len(loadings) + 1)}: {plots.short(row.get('name', ''), 120)}",
                         "sentence": row.get("sentence", ""), "bars": bars,
                         "again": "" if again is None else words.percent(again)})  # fmt: skip
    map_["axes"] = [row["title"] for row in loadings[:2]]
    held = told.get("held") or {}
    rebuilt = told.get("reconstruction") or {}
    kept = told.get("kept")
    return {
        "loadings": loadings,
        "more_loadings": max(0, len(told.get("loadings") or []) - LOADINGS_SHOWN),
        "why": plots.short(told.get("why") or "", 300),
        "enough": told.get("enough"),
        "kept": kept,
        "rebuilt": {"value": words.number(1 - rebuilt["error"], 2)} if rebuilt.get("error") is not None else None,
        "figures": _drawn(
            figures.try_draw(
                "How much each component holds",
                "Blue: kept. Orange: what components of columns without any tie would hold.",
                draw.scree if told.get("explained") else None,
                told.get("explained"), told.get("chance") or (), kept if kept is not None else len(told["explained"])
                if told.get("explained") else 0,
            ),
            figures.try_draw("How much of each column is kept", "", draw.shares if held else None, held),
            figures.try_draw(
                "Columns and the first two components",
                "Columns that point the same way rise together; near the rim a column is told almost whole.",
                draw.circle, told.get("circle"),
            ),
        ),
        "maps": _maps(figures, map_, "Rows by their first two components"),
    }  # fmt: skip


def _maps(figures: Any, map_: Mapping[str, Any], title: str) -> list[dict[str, Any]]:
    """One map per colouring: `colours` [{name, kind, values, names}], or `labels` with `names`, or none."""
    if not map_.get("points"):
        return []
    made = [
        figures.try_draw(
            f"{title}, by {plots.short(c.get('name', ''), 40)}",
            "",
            draw.points,
            map_,
            c["values"],
            tuple(str(n) for n in c.get("names") or ()),  # an empty list would mean: nothing to draw
            c.get("kind") == "number",
        )
        for c in (map_.get("colours") or [])[:6]
    ]
    if not made:
        labels, names, numbers = _coded(map_)
        if labels:
            made.append(figures.try_draw(title, "", draw.points, map_, labels, names, numbers, wide=True))
        else:
            made.append(figures.draw(title, "", draw.points(map_, None, [], False), True))
    return _drawn(*made)


def _embed(figures: Any, told: Mapping[str, Any], story: Mapping[str, Any]) -> dict[str, Any]:
    map_ = told.get("map") or {k: told[k] for k in ("points", "labels", "values", "names", "colours") if k in told}
    trusted = told.get("trust") or told.get("trustworthiness")
    shepard = told.get("shepard") or {}
    far = shepard.get("correlation")
    return {
        "maps": _maps(figures, map_, "The map"),
        "shown": f"{min(len(map_.get('points') or []), draw.POINTS):,}",
        "figures": _drawn(
            figures.try_draw(
                "Can neighbours be trusted?",
                "Trustworthiness: who is near on the map is near in the data. Continuity: the other way round.",
                draw.trust if isinstance(trusted, list) and len(trusted) > 1 else None, trusted,
            ),
            figures.try_draw(
                "Can distances be trusted?",
                "" if far is None else f"Rank correlation of distances: {words.number(far, 2)}. "
                + ("Far is far here too." if far >= 0.8 else "Distances between far parts of the map mean little."),
                draw.shepard if shepard.get("points") else None, shepard,
            ),
        ),
    }  # fmt: skip
