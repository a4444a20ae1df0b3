"""everymodel look: what is in a table, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.interfaces.cli import draw, play
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working
from everymodel.interfaces.cli.source import Data, Encoding, Query, Separator, Sheet, read

EXAMPLES = examples(
    "everymodel look houses.csv",
    "everymodel look houses.csv --target price",
    "cat houses.csv.gz | everymodel look - --json",
    "everymodel look CartPole-v1",
    'everymodel look sqlite:///shop.db --query "select * from orders"',
)


@guarded
def command(
    data: Data,
    target: Annotated[str | None, typer.Option("--target", "-t", help="The column to be predicted.")] = None,
    task: Annotated[
        str | None, typer.Option(help="regression, binary, multiclass or multilabel; found out by default.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Column that says which rows belong together.")] = None,
    time: Annotated[str | None, typer.Option(help="Column that says when a row happened.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show all columns and findings.")] = False,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the columns of a table, their kinds, and everything worth knowing before a model is fitted."""
    from everymodel.workflow.reinforce import acts_in

    if acts_in(data):
        play.look(data, as_json)
        return
    with working(f"Reading {draw.clean(data)}", quiet or as_json):
        import everymodel as em

        source = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding)
        options = {k: v for k, v in {"task": task, "group": group, "time": time}.items() if v is not None}
        seen = em.look(source, target=target, **options)
    if as_json:
        emit(
            {
                "source": {"path": source.source, "format": source.format, "details": source.details},
                "rows": len(source.frame),
                "usable_rows": seen.rows,
                **seen.schema.to_dict(),
                "findings": draw.ranked(seen.findings),
                "suspects": seen.suspects,
            }
        )
        return
    show(source, seen, everything, quiet)


def show(source: Any, seen: Any, everything: bool, quiet: bool) -> None:
    out = console()
    rows, schema = len(source.frame), seen.schema
    told = draw.ranked(seen.findings)
    if not quiet:
        out.print(draw.heading(f"{draw.clean(source.source)}: {rows:,} rows, {len(schema.columns):,} columns"))
        details = [source.format, *(_detail(k, v) for k, v in _plain(source.details))]
        out.print(draw.text(", ".join(details), "dim"))
        if schema.target is not None:
            out.print(draw.text(task_in_words(schema)))
        out.print()
        for part in draw.columns(schema, 10**9 if everything else 40, out.width):
            out.print(part)
        out.print()
    if not told:
        out.print(draw.text("Nothing conspicuous was found.", "green"))
        return
    counts = {s: sum(f["severity"] == s for f in told) for s in ("error", "warning", "info")}
    words = {"error": "serious", "warning": "to look at", "info": "to know"}
    out.print(draw.heading("Findings: " + ", ".join(f"{n} {words[s]}" for s, n in counts.items() if n)))
    for part in draw.findings(told, None if everything else 20):
        out.print(part)


def _plain(details: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(k, v) for k, v in details.items() if isinstance(v, str | int | float) and v not in ("", None)][:6]


def _detail(name: str, value: Any) -> str:
    """ "decimal '.'" and "no header" rather than "decimal ." and "header False"."""
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {value!r}" if isinstance(value, str) and not any(map(str.isalnum, value)) else f"{name} {value}"


_ANSWERS = {
    "segment": "the class of every pixel",
    "locate": "things in images, and where they are",
    "tag": "a tag for every word",
    "translate": "a text",
}


def task_in_words(schema: Any) -> str:
    target = schema.target.name if schema.target is not None else "?"
    if schema.task in ("binary", "multiclass"):
        return f"To predict: {draw.clean(target)}, {len(schema.classes)} classes ({draw.several(schema.classes, 4)})"
    if schema.task == "multilabel":
        return f"To predict: {len(schema.classes)} labels ({draw.several(schema.classes, 4)})"
    if schema.task in _ANSWERS:
        return f"To predict: {_ANSWERS[schema.task]} ({draw.several(schema.classes, 4)})".removesuffix(" ()")
    return f"To predict: {draw.clean(target)}, a number" if schema.task else f"To predict: {draw.clean(target)}"
