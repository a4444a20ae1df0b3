"""From a story to what the report shows: figures drawn, numbers rounded, long lists cut. No markup here."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate import plots, words

COLUMNS_SHOWN = 40
MODELS_SHOWN = 25
FINDINGS_SHOWN = 40
SEGMENTS_SHOWN = 16

_LIGHTS = {"error": ("red", "Act"), "warning": ("amber", "Check"), "info": ("green", "Note")}
_KINDS = {"number": "number", "boolean": "yes / no", "category": "category", "date": "date", "text": "free text",
          "identifier": "identifier", "constant": "constant"}  # fmt: skip
_TASKS = {
    "regression": "predicts a number",
    "binary": "decides between two classes",
    "multiclass": "chooses one of several classes",
    "multilabel": "gives any number of labels",
}


def view(story: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template needs, as text, numbers and SVG."""
    evaluation = story.get("evaluation") or {}
    task, metric = story.get("task") or evaluation.get("task") or "", story.get("metric") or ""
    title = m.METRICS[metric].title if metric in m.METRICS else metric
    figures = _Figures()
    return {
        "title": plots.short(story.get("title") or f"Predicting {story.get('target', '')}", 160),
        "created": _when(story.get("created")),
        "version": story.get("version") or "",
        "target": story.get("target") or "",
        "task": task,
        "task_words": _TASKS.get(task, task),
        "metric_title": title,
        "headline": story.get("headline") or evaluation.get("headline") or "",
        "suspect": bool(story.get("suspect")),
        "from_test": evaluation.get("source") != "cross-validation",
        "hero": _hero(evaluation, metric),
        "facts": _facts(story),
        "findings": _findings(story.get("findings") or []),
        "lights": _light_counts(story.get("findings") or []),
        "columns": _columns(story.get("columns") or []),
        "leaderboard": _leaderboard(story, metric),
        "members": _members(story.get("members") or []),
        "failures": (story.get("failures") or [])[:12],
        "more_failures": max(0, len(story.get("failures") or []) - 12),
        "history": figures.try_draw(
            "Best score while searching",
            "The line steps to each better score as soon as it was found.",
            plots.history if len(story.get("history") or []) > 1 else None,
            story.get("history"),
            title,
        ),
        "training": [
            figure
            for member in (story.get("members") or [])[:4]
            if (
                figure := figures.try_draw(
                    f"How {member.get('model')} learnt",
                    _LEARNT,
                    plots.training if member.get("training") else None,
                    member.get("training"),
                )
            )
        ],
        "metrics": _metrics(evaluation, metric),
        "comparisons": _comparisons(evaluation, metric),
        "comparison_figure": _comparison_figure(figures, evaluation, metric, title),
        "per_class": _per_class(evaluation.get("curves") or {}),
        "pictures": (story.get("explanations") or {}).get("pictures") or [],
        "confusion": _confusion((evaluation.get("curves") or {}).get("confusion")),
        "quality": _quality(
            figures, task, evaluation.get("curves") or {}, title, (story.get("split") or {}).get("train") or 0
        ),
        "within": _within(evaluation.get("curves") or {}),
        "threshold": _threshold(evaluation.get("curves") or {}, story.get("classes") or []),
        "segments": _segments(evaluation.get("segments") or []),
        "fairness": _fairness(evaluation.get("fairness") or []),
        "why": _why(figures, story.get("explanations") or {}, task, title),
        "split": _split(story),
        "how_to": {k: v for k, v in (story.get("how_to") or {}).items() if v},
        "model_file": story.get("model_file") or "",
        "card": _card(story),
        "provenance": _provenance(story),
    }


_LEARNT = "Loss by epoch in one fold. Where the blue line rises again it learns by heart; the dot is the epoch kept."


class _Figures:
    """Draws with ids kept apart; a plot that cannot be drawn leaves a gap in the page, not a traceback."""

    def __init__(self) -> None:
        self.count = 0

    def draw(self, title: str, text: str, figure: Any, wide: bool = False) -> dict[str, Any]:
        self.count += 1
        return {"title": title, "text": text, "svg": plots.svg(figure, f"f{self.count}-"), "wide": wide}

    def try_draw(
        self, title: str, text: str, function: Callable[..., Any] | None, *given: Any, wide: bool = False
    ) -> dict[str, Any] | None:
        if function is None or any(g is None or (isinstance(g, list) and not g) for g in given):
            return None
        try:
            return self.draw(title, text, function(*given), wide)
        except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError):
            return None


def _when(text: Any) -> str:
    try:
        return datetime.datetime.fromisoformat(str(text)).strftime("%-d %B %Y, %H:%M UTC")
    except ValueError:
        return str(text or "")


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _three(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return words.like(_float(row.get("value")), _float(row.get("low")), _float(row.get("high")))


def _span(row: Mapping[str, Any]) -> str:
    _, low, high = _three(row)
    return f"{low} – {high}" if math.isfinite(_float(row.get("low")) + _float(row.get("high"))) else ""


def _capped(rows: Sequence[Any], limit: int) -> dict[str, Any]:
    return {"rows": list(rows[:limit]), "more": max(0, len(rows) - limit)}


# -- top ----------------------------------------------------------------------------------------------------------


def _hero(evaluation: Mapping[str, Any], metric: str) -> dict[str, Any] | None:
    """The big number, and bars that set it beside guessing and the simple model."""
    row = next((r for r in evaluation.get("metrics") or [] if r["name"] == metric), None)
    if row is None:
        return None
    info = m.METRICS.get(metric)
    value, _, _ = _three(row)
    bars = [{"name": "this model", "value": _float(row["value"]), "text": words.number(row["value"]), "own": True}]
    for other in evaluation.get("comparisons") or []:
        if other["metric"] == metric and other["verdict"] != "identical":
            theirs = _float(other["theirs"])
            bars.append({"name": other["name"], "value": theirs, "text": words.number(theirs), "own": False})
    sizes = [abs(b["value"]) for b in bars if math.isfinite(b["value"])]
    top = max([*sizes, 1.0 if info and info.better == "higher" and info.best == 1.0 and max(sizes) <= 1 else 0.0])
    for bar in bars:
        bar["width"] = round(100 * max(bar["value"], 0) / top, 1) if top and math.isfinite(bar["value"]) else 0
    return {
        "value": value,
        "span": _span(row),
        "title": info.title if info else metric,
        "text": row.get("text") or (info.text if info else ""),
        "bars": bars if len(bars) > 1 else [],
        "better": "longer is better" if info and info.better == "higher" else "shorter is better",
    }


def _facts(story: Mapping[str, Any]) -> list[tuple[str, str]]:
    split = story.get("split") or {}
    columns = [c for c in story.get("columns") or [] if c.get("role", "feature") == "feature"]
    seconds = sum(v for v in (story.get("timing") or {}).values() if isinstance(v, int | float))
    facts = [("rows", f"{story.get('rows', 0):,}"), ("columns used", f"{len(columns):,}")]
    if split.get("test"):
        facts.append(("test rows", f"{split['test']:,}"))
    tried = [r for r in story.get("leaderboard") or [] if r.get("origin") != "blend"]
    facts.append(("models tried", f"{len(tried):,}"))
    if seconds:
        facts.append(("wall time", _duration(seconds)))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"


# -- data ---------------------------------------------------------------------------------------------------------


def _findings(findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    order = {"error": 0, "warning": 1, "info": 2}
    rows = []
    for f in sorted(findings, key=lambda f: order.get(f.get("severity", "info"), 2)):
        colour, word = _LIGHTS.get(f.get("severity", "info"), _LIGHTS["info"])
        rows.append(
            {
                "colour": colour,
                "word": word,
                "message": f.get("message", ""),
                "advice": f.get("advice", ""),
                "code": f.get("code", ""),
                "columns": words.capped([str(c) for c in f.get("columns") or []]),
            }
        )
    return _capped(rows, FINDINGS_SHOWN)


def _light_counts(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    counts = dict.fromkeys(("red", "amber", "green"), 0)
    for f in findings:
        counts[_LIGHTS.get(f.get("severity", "info"), _LIGHTS["info"])[0]] += 1
    names = {"red": "to act on", "amber": "to check", "green": "to note"}
    return [(colour, names[colour], count) for colour, count in counts.items() if count]


def _columns(columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    order = {"target": 0, "group": 1, "time": 1, "split": 1, "segment": 1, "feature": 2, "ignored": 3}
    rows = []
    for c in sorted(columns, key=lambda c: order.get(c.get("role", "feature"), 2)):
        kind, role = c.get("kind", ""), c.get("role", "feature")
        holds = ""
        if c.get("levels"):
            holds = words.capped([str(level)[:24] for level in c["levels"]], 4)
        elif kind == "date" and c.get("low") is not None and c.get("high") is not None:
            holds = f"{_day(c['low'])} to {_day(c['high'])}"
        elif c.get("low") is not None and c.get("high") is not None:
            holds = f"{_bound(c['low'])} to {_bound(c['high'])}"
        rows.append(
            {
                "name": str(c.get("name", ""))[:80],
                "kind": _KINDS.get(kind, kind),
                "role": role,
                "missing": _float(c.get("missing", 0.0)),
                "missing_text": _share_text(_float(c.get("missing", 0.0))),
                "holds": c.get("reason") or holds,
            }
        )
    return _capped(rows, COLUMNS_SHOWN)


def _bound(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e12 else words.number(value, 4)


def _share_text(share: float) -> str:
    if not share or not math.isfinite(share):
        return "–"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _day(seconds: float) -> str:
    try:
        return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=float(seconds))).date().isoformat()
    except (OverflowError, ValueError):
        return str(seconds)


# -- search -------------------------------------------------------------------------------------------------------


def _leaderboard(story: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Models best first, with a bar from the worst shown (or guessing) to the best."""
    higher = metric in m.METRICS and m.METRICS[metric].better == "higher"
    rows = [r for r in story.get("leaderboard") or [] if r.get("score") is not None]
    rows = sorted(rows, key=lambda r: -_float(r["score"]) if higher else _float(r["score"]))
    shown = rows[:MODELS_SHOWN]
    values = [_float(r["score"]) for r in shown if math.isfinite(_float(r["score"]))]
    best, worst = (max(values), min(values)) if higher and values else (min(values), max(values)) if values else (0, 0)
    made = []
    for r in shown:
        score = _float(r["score"])
        part = (score - worst) / (best - worst) if best != worst and math.isfinite(score) else 1.0
        row = {"value": score, "low": r.get("score_low"), "high": r.get("score_high")}
        made.append(
            {
                "model": r.get("title") or r.get("model") or "",
                "score": _three(row)[0],
                "span": _span(row),
                "width": round(6 + 94 * part, 1),
                "weight": f"{100 * r['weight']:.0f} %" if r.get("weight") else "",
                "fit": _duration(r["fit_seconds"]) if isinstance(r.get("fit_seconds"), int | float) else "",
                "row_ms": f"{r['row_ms']:.2g} ms" if isinstance(r.get("row_ms"), int | float) else "",
                "size": _bytes(r["size"]) if isinstance(r.get("size"), int | float) else "",
                "status": "" if r.get("status") in (None, "done", "ok", "finished") else str(r["status"]),
            }
        )
    return {"rows": made, "more": max(0, len(rows) - MODELS_SHOWN), "size": any(r["size"] for r in made)}


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _members(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for member in members:
        settings = [f"{k} = {_setting(v)}" for k, v in (member.get("parameters") or {}).items() if v is not None]
        rows.append(
            {
                "model": member.get("title") or member.get("model") or member.get("name") or member.get("card") or "",
                "weight": f"{100 * member['weight']:.0f} %" if isinstance(member.get("weight"), int | float) else "",
                "width": round(100 * _float(member.get("weight") or 0), 1),
                "settings": words.capped(settings, 12),
            }
        )
    return _capped(rows, 12)


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:60]


# -- quality ------------------------------------------------------------------------------------------------------


# The same figure under another name, or of little use beside the others: not shown unless it was asked for.
_TWINS = {("binary", "f1_micro"), ("binary", "f1_weighted"), ("multiclass", "f1_micro"), ("multiclass", "f1_macro")}


def _metrics(evaluation: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    rows = []
    for r in evaluation.get("metrics") or []:
        if (evaluation.get("task"), r["name"]) in _TWINS and r["name"] != metric:
            continue
        info = m.METRICS.get(r["name"])
        rows.append(
            {
                "title": info.title if info else r["name"].replace("_", " ").capitalize(),
                "value": _three(r)[0],
                "span": _span(r),
                "better": r.get("better", ""),
                "text": r.get("text") or (info.text if info else ""),
                "main": r["name"] == metric,
            }
        )
    return rows


_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not distinguishable": "not distinguishable",
    "identical": "the same model",
}


def _comparisons(evaluation: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    rows = []
    for r in evaluation.get("comparisons") or []:
        gain = {"value": r["gain"], "low": r["low"], "high": r["high"]}
        rows.append(
            {
                "name": r["name"],
                "title": r.get("title") or r["metric"],
                "ours": words.number(r["ours"]),
                "theirs": words.number(r["theirs"]),
                "gain": _three(gain)[0],
                "span": _span(gain),
                "verdict": _VERDICTS.get(r["verdict"], r["verdict"]),
                "class": r["verdict"].replace(" ", "-"),
            }
        )
    return rows


def _comparison_figure(
    figures: _Figures, evaluation: Mapping[str, Any], metric: str, title: str
) -> dict[str, Any] | None:
    # Guessing is left out: it is so far away that the others would shrink to a point.
    rows = [
        r
        for r in evaluation.get("comparisons") or []
        if r["metric"] == metric and r["verdict"] != "identical" and r["against"] != "dummy"
    ]
    if len(rows) < 2:
        return None
    text = "; ".join(f"{_VERDICTS[r['verdict']]} against {r['name']}" for r in rows)
    return figures.try_draw(
        f"Gain in {title} over other answers",
        f"Dots are gains on the same rows, lines their 95 % intervals: {text}.",
        plots.comparison,
        rows,
        title,
        wide=True,
    )


def _per_class(curves: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "class": str(r["class"])[:60],
            "rows": f"{r['rows']:,}",
            "precision": _pc_span(r, "precision"),
            "recall": _pc_span(r, "recall"),
            "f1": words.number(r["f1"]),
            "roc_auc": words.number(r["roc_auc"]),
        }
        for r in sorted(curves.get("per_class") or [], key=lambda r: -r["rows"])
    ]
    return _capped(rows, 26)


def _pc_span(row: Mapping[str, Any], key: str) -> str:
    span = "" if row[key] is None else f" ({_pc(row[key + '_low'])}–{_pc(row[key + '_high'])})"
    return _pc(row[key]) + span


def _pc(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.0f}"


def _confusion(table: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not table:
        return None
    rows = []
    for i, (label, counts) in enumerate(zip(table["labels"], table["counts"])):
        total = max(sum(counts), 1)
        cells = [
            {"count": f"{c:,}", "share": round(100 * c / total), "right": i == j, "strong": c / total > 0.55}
            for j, c in enumerate(counts)
        ]
        rows.append({"label": str(label)[:24], "cells": cells})
    return {"labels": [str(label)[:24] for label in table["labels"]], "rows": rows}


def _quality(figures: _Figures, task: str, curves: Mapping[str, Any], title: str, rows: int) -> list[dict[str, Any]]:
    drawn: list[dict[str, Any] | None] = []
    draw = figures.try_draw
    if task == "regression":
        for output in (curves.get("outputs") or [curves])[:4]:
            name = f" of {output['name']}" if output.get("name") else ""
            if not output.get("scatter"):
                continue
            drawn += [
                draw(f"Answers{name} against actual values", "On the dashed line an answer is exactly right.",
                     plots.predicted_actual, output),
                draw(f"Spread of errors{name}", "Errors left of zero are answers that were too low.",
                     plots.residuals, output),
                draw(f"Errors{name} by answer", "A tilt of the orange line is bias; a funnel is uneven certainty.",
                     plots.residuals_by_answer, output),
                draw(f"Actual values{name} by tenth of answers", "Dots near the line: the answer is right on average.",
                     plots.tenths, output),
            ]  # fmt: skip
    else:
        threshold = curves.get("threshold")
        if curves.get("roc"):
            areas = words.capped([f"{r['name']}: {words.number(r['area'])}" for r in curves["roc"]], 4)
            areas = words.number(curves["roc"][0]["area"]) if len(curves["roc"]) == 1 else areas
            drawn.append(draw("ROC curve", f"Area under the curve: {areas}. The diagonal is guessing.", plots.roc,
                              curves["roc"]))  # fmt: skip
        if curves.get("pr"):
            drawn.append(draw("Precision and recall", "How many found are right, as more of the positives are found.",
                              plots.pr, curves["pr"]))  # fmt: skip
        drawn.append(draw("Can the probabilities be believed?",
                          "On the dashed line, of rows given 70 % seventy in a hundred come true.",
                          plots.calibration, curves.get("calibration")))  # fmt: skip
        if task == "binary":
            drawn += [
                draw("Scores of both classes", "The less the two overlap, the easier the decision. Dashed: threshold.",
                     plots.scores, curves.get("scores"), threshold),
                draw("What a threshold does", "Raising it makes fewer false alarms and more misses.", plots.decisions,
                     curves.get("decisions"), threshold),
                draw("Gain", "How many positives are found when the best-scored rows are looked at first.", plots.gain,
                     curves.get("gain")),
                draw("Lift", "How many times more positives than by chance.", plots.lift, curves.get("gain")),
                draw("Cost by threshold", "Mean cost of a decision on out-of-fold answers; the dot is the one chosen.",
                     plots.threshold_cost, curves.get("threshold_choice")),
            ]  # fmt: skip
    learning = curves.get("learning")
    if learning:
        said = "If the line still rises at its end, more rows will help."
        if learning[-1]["rows"] < 0.5 * rows:
            said += f" The time ended before more than {learning[-1]['rows']:,} of {rows:,} rows were tried."
        drawn.append(draw("Would more rows help?", said, plots.learning, learning, title))
    return [figure for figure in drawn if figure]


def _within(curves: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(f"{100 * r['share']:.0f} %", words.number(r["error"])) for r in curves.get("within") or []]


def _threshold(curves: Mapping[str, Any], classes: Sequence[Any]) -> dict[str, str] | None:
    choice = curves.get("threshold_choice")
    if not choice:
        return None
    costs = choice.get("costs") or {}
    return {
        "threshold": f"{choice['threshold']:.3g}",
        "answer": str(classes[1]) if len(classes) == 2 else "yes",
        "by": "cost" if choice["by"] == "cost" else choice["by"].replace("_", " "),
        "value": words.number(choice["value"]),
        "at_half": words.number(choice["at_half"]),
        "range": f"{choice['low']:.2g} – {choice['high']:.2g}",
        "costs": ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in costs.items()),
    }


# -- parts of the rows --------------------------------------------------------------------------------------------


def _segments(segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        {
            "column": s["column"],
            "segment": str(s["segment"])[:60],
            "rows": f"{s['rows']:,}",
            "value": _three(s)[0],
            "span": _span(s),
            "verdict": s["verdict"],
            "class": s["verdict"].replace(" ", "-"),
        }
        for s in segments
    ]
    return {**_capped(rows, SEGMENTS_SHOWN), "worse": sum(s["verdict"] == "worse" for s in segments)}


def _fairness(gaps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for g in gaps:
        own, gap = dict(g), {"value": g["gap"], "low": g["gap_low"], "high": g["gap_high"]}
        rows.append(
            {
                "column": g["column"],
                "group": str(g["group"])[:60],
                "measure": g["measure"],
                "rows": f"{g['rows']:,}",
                "value": _three(own)[0],
                "span": _span(own),
                "gap": "" if g["verdict"] == "reference" else f"{_three(gap)[0]} ({_span(gap)})",
                "ratio": "" if g.get("ratio") is None else f"{g['ratio']:.2f}",
                "verdict": g["verdict"],
                "class": g["verdict"].replace(" ", "-"),
            }
        )
    return {**_capped(rows, 60), "gaps": sum(g["verdict"] == "gap" for g in gaps)}


# -- why ----------------------------------------------------------------------------------------------------------


def _why_shown(example: Mapping[str, Any], task: str) -> str:
    """'The surest "yes"', 'The worst mistake, probability of "yes"', 'The highest answer for "height"'."""
    why, output = str(example["why"]).capitalize(), example.get("output")
    if not output:
        return why
    sure = {"The surest yes": "The surest", "The surest no": "The surest not"}.get(why)
    if sure:
        return f'{sure} "{output}", probability'
    return f'{why} for "{output}"' if task == "regression" else f'{why}, probability of "{output}"'


def _why(figures: _Figures, told: Mapping[str, Any], task: str, title: str) -> dict[str, Any]:
    answer = "mean probability" if task != "regression" else "mean answer"
    rows = told.get("importance") or []
    top = words.capped([str(r["column"]) for r in rows[:3]], 3)
    name = told.get("summary_of") or ""
    what = f'the probability of "{name}"' if name and task != "regression" else f'"{name}"' if name else "the answer"
    many = told.get("outputs") or 1
    mean = f", in the mean of {many} {'labels' if task == 'multilabel' else 'targets'}," if many > 1 else ""
    summary = told.get("summary") or []
    dependence = []
    for item in told.get("dependence") or []:
        figure = figures.try_draw(
            plots.short(item["column"], 40) + (f" and {plots.short(item['target'], 30)}" if item.get("target") else ""),
            "",
            plots.dependence,
            item,
            answer,
        )
        if figure:
            dependence.append(figure)
    examples = []
    for example in told.get("examples") or []:
        truth = example.get("truth")
        figure = figures.try_draw(
            f"{_why_shown(example, task)}: {words.number(example['answer'])}",
            "" if truth is None else f"True value: {words.number(truth) if isinstance(truth, float) else truth}.",
            plots.waterfall,
            example,
        )
        if figure:
            examples.append(figure)
    tree = told.get("surrogate") or {}
    tested = told.get("columns_tested") or len(rows)
    return {
        "importance": figures.try_draw(
            "What the answers depend on",
            f"How much worse {title} gets{mean} when one column is shuffled. Most important: {top}."
            + (
                f" {tested} of {told['columns']:,} columns were tested in the time given."
                if told.get("columns", 0) > tested
                else ""
            ),
            plots.importance if rows else None,
            rows,
            wide=True,
        ),
        "summary": figures.try_draw(
            f"How columns push {what}",
            "Each dot is one row. Right: the column raised the answer; orange: its value is high, blue: low, "
            "grey: no order.",
            plots.summary if summary else None,
            summary,
            what,
            wide=True,
        ),
        "dependence": dependence,
        "examples": examples,
        "tree": figures.try_draw(
            tree.get("title") or "The model in three questions",
            _tree_text(tree),
            plots.tree if tree.get("nodes") else None,
            tree,
            wide=True,
        ),
        "coefficients": _coefficients(told.get("coefficients") or []),
        "any": bool(rows),
        "constant": bool(told.get("constant")),
    }


def _tree_text(tree: Mapping[str, Any]) -> str:
    if tree.get("exact"):
        return "This is the model itself, not a picture of it" + (
            ", down to its third question." if tree.get("cut") else "."
        )
    fidelity = tree.get("fidelity")
    if fidelity is None:
        return ""
    if tree.get("measure") == "agreement":
        faith = f"It says what the model says for {100 * fidelity:.0f} of 100 rows that it was not fitted on"
    else:
        faith = f"It reproduces {max(0.0, 100 * fidelity):.0f} % of the variance of the model's answers (R²)"
    close = "a fair summary" if fidelity >= 0.85 else "a rough sketch, not the model"
    return f"A small tree fitted to the model's answers. {faith}: {close}."


def _coefficients(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    made = []
    for group in groups[:4]:
        rows = sorted(group.get("rows") or [], key=lambda r: -abs(r["value"]))
        top = max((abs(r["value"]) for r in rows), default=1.0) or 1.0
        shown = [
            {
                "name": str(r["name"])[:60],
                "text": words.number(r["value"]),
                "width": round(50 * abs(r["value"]) / top, 1),
                "up": r["value"] >= 0,
            }
            for r in rows
        ]
        made.append({"title": group.get("title", ""), "note": group.get("note", ""), **_capped(shown, 20)})
    return made


# -- honesty, card, provenance ------------------------------------------------------------------------------------


def _split(story: Mapping[str, Any]) -> dict[str, Any]:
    split = story.get("split") or {}
    test, train = split.get("test") or 0, split.get("train") or 0
    return {
        "kind": split.get("kind", ""),
        "note": split.get("note", ""),
        "train": f"{train:,}",
        "test": f"{test:,}",
        "folds": split.get("folds") or 0,
        "train_width": round(100 * train / max(train + test, 1), 1),
        "has_test": bool(test),
    }


def _card(story: Mapping[str, Any]) -> list[tuple[str, str]]:
    members = [str(x.get("title") or x.get("model") or x.get("name") or "") for x in story.get("members") or []]
    features = [c for c in story.get("columns") or [] if c.get("role", "feature") == "feature"]
    ignored = [str(c.get("name")) for c in story.get("columns") or [] if c.get("role") == "ignored"]
    task = story.get("task") or ""
    rows = [
        ("What it does", f"{_TASKS.get(task, task).capitalize()}: {story.get('target', '')}"
         + (f" ({words.capped([str(c) for c in story['classes']], 8)})" if story.get("classes") else "")),
        ("Made of", words.capped(members, 8) or "one model"),
        ("Needs", f"{len(features):,} columns: " + words.capped([str(c.get("name"))[:40] for c in features], 12)),
    ]  # fmt: skip
    if ignored:
        rows.append(("Left out", words.capped(ignored, 12)))
    rows += [
        ("Fit for", "Rows that come from the same source and time as the training rows. Ranges and categories seen are "
         "kept in the file, and anything else is reported when it answers."),
        ("Not fit for", "Conclusions about causes: the explanations say what the model uses, not what would happen if "
         "a column were changed. Decisions about people need a look at fairness, below or in a run with fairness=."),
        ("Inside the file", "Plain arrays and settings, checked on loading; no code is run."),
    ]  # fmt: skip
    return rows


def _provenance(story: Mapping[str, Any]) -> list[tuple[str, str]]:
    source = story.get("source") or {}
    rows = [
        ("Data", f"{source.get('path', '')} ({source.get('format', '')})"),
        ("Data fingerprint", str(source.get("fingerprint", ""))),
        ("Read as", _details(source.get("details") or {})),
        ("everymodel", str(story.get("version", ""))),
        ("Seed", str(story.get("seed", ""))),
        ("Budget", _duration(story["budget"]) if story.get("budget") else "none"),
        ("Search ended by", str(story.get("stopped") or "")),
        ("Time", ", ".join(f"{k} {_duration(v)}" for k, v in (story.get("timing") or {}).items() if _is_number(v))),
        ("Model file", str(story.get("model_file", ""))),
    ]  # fmt: skip
    return [(name, text) for name, text in rows if text]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _details(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in details.items() if value not in (None, ""))[:400]
