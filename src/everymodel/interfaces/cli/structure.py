"""What a run or a file without a target looks like in a terminal: groups, oddities, components, maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everymodel.core.schema import FREE_TASKS
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import console

_GROUPS = 20  # shown
_TRIED = 6
_FOUND = {
    "cluster": "groups were looked for",
    "anomaly": "odd rows were looked for",
    "reduce": "components were looked for",
    "embed": "a map was drawn",
}


def told(run: Any) -> dict[str, Any]:
    """What programs are told beside what every run tells."""
    if run.story["task"] not in FREE_TASKS:
        return {}
    kept = ("segments", "noise", "noise_share", "interval", "threshold", "how", "loadings", "explained", "kept", "top")
    structure = run.story.get("structure") or {}
    return {"compared_with": run.story.get("labels"), **{k: structure[k] for k in kept if k in structure}}


def show(run: Any, files: dict[str, Any], took: float, data: str, target: list[str] | None, task: str | None) -> None:
    """What was found, how sure that is, what to look at, where it is, what to do next."""
    from rich.panel import Panel

    from everymodel.interfaces.cli.fit import close

    out, story = console(), run.story
    structure, kind = story.get("structure") or {}, story["task"]
    title = f"{kind} · {story['rows']:,} rows"
    out.print(Panel(draw.text(run.headline, "bold"), title=title, title_align="left", border_style="green"))
    if target is None and task is None:
        out.print(
            draw.text(f"No target was named, so {_FOUND[kind]}. To predict a column, name it: --target COLUMN.", "dim")
        )
    elif story.get("labels"):
        out.print(draw.text(f"{story['labels']} was only compared with what was found, never learnt from.", "dim"))
    if kind == "cluster":
        groups(structure.get("segments") or [], structure.get("noise"))
        interval = structure.get("interval") or {}
        if interval.get("low") is not None and interval.get("high") is not None:
            low, high = interval["low"], interval["high"]
            found = len(structure.get("segments") or [])
            words = f"{low} to {high} are plausible"
            if low == high:
                words = f"no other number than {low} is plausible" if low == found else f"other figures speak for {low}"
            out.print(draw.text(f"Number of groups: {words}."))
    elif kind == "anomaly":
        _odd(structure.get("top") or [])
    elif kind == "reduce":
        components(structure.get("loadings") or [])
    if run.evaluation.metrics:
        out.print()
        out.print(draw.heading("How sure"))
        out.print(draw.metrics(run.evaluation.metrics, out.width))
    board = run.search.leaderboard
    if len(board) > 1:
        out.print()
        mixed = story["metric"] in board[0] or not story["metric"]  # the score then weighs several figures
        out.print(draw.heading(f"Tried {len(board)}, best first" + ("" if mixed else f" ({story['metric']})")))
        _board(board)
    close(run, files, took, data)


def groups(segments: Sequence[dict[str, Any]], noise: dict[str, Any] | None = None) -> None:
    """One line per group: number, name, rows, share; then its sentence."""
    out = console()
    made = draw.table("group", "name", "rows", "share", right=[0, 2, 3], wrap=[1])
    for s in segments[:_GROUPS]:
        body = draw.text(draw.clean(s.get("name", ""), 160), "bold")
        body.append(f"\n{draw.clean(s.get('sentence', ''), 400)}", style="dim")
        shaky = s.get("stability") is not None and s["stability"] < 0.6
        if shaky:
            body.append(f"\nfound again in only {s['stability']:.0%} of resamples: do not rely on it", style="yellow")
        made.add_row(draw.text(s.get("number", "")), body, draw.text(draw.number(s.get("rows"))),
                     draw.text(f"{s.get('share', 0):.1%}"))  # fmt: skip
    if noise:
        body = draw.text("no group", "dim")
        body.append(f"\n{draw.clean(noise['sentence'], 400)}", style="dim")
        made.add_row("-", body, draw.text(draw.number(noise["rows"])), draw.text(f"{noise['share']:.1%}"))
    out.print(made)
    if len(segments) > _GROUPS:
        out.print(draw.text(f"and {len(segments) - _GROUPS} more groups in the report", "dim"))


def _odd(top: Sequence[dict[str, Any]]) -> None:
    if not top:
        return
    made = draw.table("row", "score", "why", right=[0, 1], wrap=[2])
    for row in top[:10]:
        why = "; ".join(draw.clean(r.get("text") or r.get("column") or "", 160) for r in (row.get("reasons") or [])[:3])
        made.add_row(draw.text(row.get("row", "")), draw.text(draw.number(row.get("score"))), draw.text(why))
    console().print(made)


def components(loadings: Sequence[dict[str, Any]]) -> None:
    """One line per component: share of the variance, and what it is made of."""
    if not loadings:
        return
    made = draw.table("component", "variance", "made of", right=[0, 1], wrap=[2])
    for i, row in enumerate(loadings[:_GROUPS], 1):
        share = row.get("explained")
        made.add_row(draw.text(row.get("component", i)), draw.text("" if share is None else f"{share:.0%}"),
                     draw.text(draw.clean(row.get("name") or row.get("made_of") or "", 160)))  # fmt: skip
    console().print(made)


def _board(rows: Sequence[dict[str, Any]]) -> None:
    """Models with whatever figures their rows hold."""
    names: list[str] = []
    for row in rows:
        names += [k for k in ("clusters", "score", "silhouette", "stability", "noise_share", "fit_seconds")
                  if k not in names and isinstance(row.get(k), int | float)]  # fmt: skip
    made = draw.table("method", *[n.replace("_", " ") for n in names], "", right=range(1, len(names) + 1))
    for row in rows[:_TRIED]:
        status = row.get("status")
        cells = [draw.text(draw.number(row.get(n)) if n != "fit_seconds" else f"{row.get(n) or 0:.2g}") for n in names]
        made.add_row(draw.text(draw.middle(row.get("model", "?"), 34)), *cells,
                     draw.text("" if status in (None, "ok") else draw.clean(status, 40), "dim"))  # fmt: skip
    console().print(made)
    if len(rows) > _TRIED:
        console().print(draw.text(f"and {len(rows) - _TRIED} more in the report", "dim"))
