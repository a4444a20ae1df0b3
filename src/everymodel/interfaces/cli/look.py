"""everymodel look: what is in a table, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working

EXAMPLES = examples(
    "everymodel look houses.csv",
    "everymodel look houses.csv --target price",
    "cat houses.csv | everymodel look - --json",
)


@guarded
def command(
    data: Annotated[
        str, typer.Argument(help="A file (CSV, Parquet, Excel, JSON, ...), an SQL URL, or - for standard input.")
    ],
    target: Annotated[str | None, typer.Option("--target", "-t", help="The column to be predicted.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the columns of a table, their kinds, and everything worth knowing before a model is fitted."""
    import everymodel as em

    with working(f"Reading {data}", quiet or as_json):
        seen = em.look(data, target=target)
    if as_json:
        emit({"rows": seen.rows, "schema": seen.schema, "findings": seen.findings, "suspects": seen.suspects})
        return
    for column in seen.schema.columns:
        console().print(column.name, column.kind, column.role)
    for finding in seen.findings:
        console().print(finding.severity, finding.code, finding.message)
