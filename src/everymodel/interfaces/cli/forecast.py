"""What the commands say of forecasts."""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import CapabilityError
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import console, emit, say
from everymodel.interfaces.cli.source import write_table

_SHOWN = 8  # rows of the leaderboard, and steps of the forecast


def show(run: Any, files: dict[str, Any], took: float, data: str) -> None:
    """What comes next, how good that is, what was tried, where it is, what to do next."""
    from rich.panel import Panel
    from rich.table import Table

    from everymodel.interfaces.cli.fit import close

    out, story = console(), run.story
    told = story["structure"]
    title = f"{draw.clean(story['target'], 40)} · forecast · {told['n']:,} series · {told['horizon']} steps"
    title += f" ({draw.clean(told['step'], 30)})"
    out.print(Panel(draw.text(run.headline, "bold"), title=title, title_align="left", border_style="green"))
    if story["split"].get("note"):
        out.print(draw.text(story["split"]["note"], "dim"))
    board = run.search.leaderboard
    out.print(draw.heading(f"Tried {len(board)}, best first (backtest {story['metric']})"))
    shown = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("", story["metric"], "95 % interval", "seconds"):
        shown.add_column(name, justify="left" if not name else "right")
    for line in board[:_SHOWN]:
        if line["status"] != "ok":
            shown.add_row(draw.text(f"  {line['model']}", "dim"), draw.text(line["status"], "dim"), "", "")
            continue
        mark = "*" if line["weight"] else " "
        span = draw.between(line["score_low"], line["score_high"])
        shown.add_row(draw.text(f"{mark} {line['model']}"), draw.number(line["score"]), span,
                      draw.number(line["fit_seconds"]))  # fmt: skip
    out.print(shown)
    if len(board) > _SHOWN:
        out.print(draw.text(f"and {len(board) - _SHOWN} more in the report", "dim"))
    frame = run.tables["forecast"]
    out.print()
    out.print(draw.heading("What comes next"))
    rows = Table(box=None, header_style="dim", pad_edge=False)
    for name in frame.columns:
        rows.add_column(draw.clean(name, 30), justify="right")
    for row in frame.head(_SHOWN).itertuples(index=False):
        rows.add_row(*(draw.number(v) if isinstance(v, float) else draw.clean(_short(v), 30) for v in row))
    out.print(rows)
    if len(frame) > _SHOWN:
        out.print(
            draw.text(f"and {len(frame) - _SHOWN:,} more: everymodel predict {draw.clean(files['model'], 200)}", "dim")
        )
    close(run, files, took, data)


def _short(value: Any) -> str:
    """A time without the hours of midnight."""
    text = str(value)
    return text.removesuffix(" 00:00:00")


def answers(model: Any, history: Any, horizon: int | None, level: float | None, proba: bool, with_data: bool) -> Any:
    """A frame of what comes next.

    Raises
    ------
    CapabilityError
        for options that a forecast does not have.
    """
    import pandas as pd

    if proba or with_data:
        raise CapabilityError(
            "A forecast has no probabilities and no rows to stand beside. Use --interval and --horizon."
        )
    return pd.DataFrame(model.predict(history, horizon=horizon, level=0.8 if level is None else level))


def write(made: Any, out: str, as_json: bool, quiet: bool) -> None:
    """The frame where it was asked for."""
    if as_json and out == "-":
        times = {c: made[c].astype(str) for c in made.columns if made[c].dtype.kind == "M"}
        emit(made.assign(**times).to_dict("records"))
        return
    write_table(made, out)
    if out != "-":
        if as_json:
            emit({"out": out, "rows": len(made), "notes": [], "notes_in_all": 0})
        else:
            say(f"{len(made):,} steps are in {out}.", quiet)
