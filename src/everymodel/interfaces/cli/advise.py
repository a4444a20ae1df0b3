"""everymodel advise: which models suit the data, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working

EXAMPLES = examples(
    "everymodel advise houses.csv --target price", "everymodel advise churn.parquet -t churn --top 3 --json"
)


@guarded
def command(
    data: Annotated[str, typer.Argument(help="The table.")],
    target: Annotated[str, typer.Option("--target", "-t", help="The column to be predicted.")],
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many models to show.")] = 8,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Rank the models by how well they suit a table, with reasons, seconds and warnings."""
    import everymodel as em

    with working(f"Reading {data}", quiet or as_json):
        advice = em.advise(data, target)
    if as_json:
        emit(advice[:top])
        return
    for item in advice[:top]:
        console().print(item["model"], item["suits"], "; ".join(item["reasons"]))
