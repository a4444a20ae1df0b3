"""everymodel advise: which models suit the data, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working
from everymodel.interfaces.cli.source import Data, Encoding, Query, Separator, Sheet, read

EXAMPLES = examples(
    "everymodel advise houses.csv --target price",
    "everymodel advise churn.parquet -t churn --top 3 --json",
    "everymodel advise customers.csv",
    "everymodel advise payments.csv --task anomaly",
    "everymodel advise Pendulum-v1                              # agents for an environment",
)


@guarded
def command(
    data: Data,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", help="The column to be predicted; without one, methods that find groups are ranked."
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many models to show.")] = 6,
    task: Annotated[
        str | None,
        typer.Option(
            help="regression, binary, multiclass or multilabel; without a target cluster, anomaly, reduce or embed."
        ),
    ] = None,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Rank the models by how well they suit a table, with reasons, expected seconds and warnings."""
    with working(f"Reading {draw.clean(data)}", quiet or as_json):
        import everymodel as em
        from everymodel.workflow.reinforce import acts_in

        source: Any = data
        if not acts_in(data):
            source = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding)
        advice = em.advise(source, target, **({"task": task} if task else {}))
    if as_json:
        emit(advice[:top])
        return
    show(advice, top, quiet)


def _seconds(expected: float) -> str:
    return "under 1 s" if expected < 1 else f"about {expected:,.0f} s"


def show(advice: list[dict[str, Any]], top: int, quiet: bool = False) -> None:
    from rich.padding import Padding

    out = console()
    for i, item in enumerate(advice[:top], 1):
        head = draw.text(f"{i}. {item.get('title') or item['model']}", "bold")
        head.append(
            f"  {draw.bar(item['suits'], 10)} {item['suits']:.0%}", style="green" if item["suits"] > 0.5 else ""
        )
        if item.get("seconds") is not None:
            head.append(f"  {_seconds(item['seconds'])}", style="dim")
        if item.get("title"):
            head.append(f"  --model {draw.clean(item['model'])}", style="cyan")
        out.print(head)
        if quiet:
            continue
        for reason in item.get("reasons", []):
            out.print(Padding(draw.text(f"+ {reason}", "green"), (0, 0, 0, 3)))
        for warning in item.get("warnings", []):
            out.print(Padding(draw.text(f"- {warning}", "yellow"), (0, 0, 0, 3)))
    wrong = [item for item in advice[top:] if item.get("warnings") and item["suits"] < 0.3]
    if wrong and not quiet:
        out.print()
        out.print(draw.heading("Rather not"))
        for item in wrong[:5]:
            out.print(Padding(draw.text(f"{item['model']}: {item['warnings'][0]}", "dim"), (0, 0, 0, 3)))
