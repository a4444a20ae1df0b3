"""everymodel trace: every number of one row's way through a network."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.core.errors import ParameterError
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, able, console, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import (
    Data,
    Encoding,
    ModelFile,
    Query,
    Separator,
    Sheet,
    check_writable,
    read,
    size,
    write_table,
)

EXAMPLES = examples(
    "everymodel trace digits.em rows.csv --row 3",
    "everymodel trace digits.em rows.csv --row 3 --target 7 --lr 0.1 --html row3.html",
    "everymodel trace price.em rows.csv --row 0 --csv > numbers.csv     # layer, neuron, name, input, quantity, value",
    "everymodel trace price.em rows.csv --landscape landscape.png",
)


@guarded
def command(
    model: ModelFile,
    data: Data,
    row: Annotated[
        int | None, typer.Option("--row", "-r", min=0, help="Which row; 0 is the first, and default.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Its true value or class; by default the target column's.")
    ] = None,
    lr: Annotated[float, typer.Option("--lr", help="Length of the step of gradient descent that is shown.")] = 0.01,
    member: Annotated[
        int, typer.Option("--member", "-m", min=0, help="Which network, where the model averages several.")
    ] = 0,
    neurons: Annotated[int, typer.Option("--neurons", "-n", min=1, help="How many of each layer to print.")] = 8,
    html: Annotated[str | None, typer.Option("--html", help="Write a page to this file.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print every number as CSV, one per line.")] = False,
    landscape: Annotated[
        str | None,
        typer.Option("--landscape", help="Draw the loss around the weights into this file (.png, .svg, .pdf)."),
    ] = None,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show every number of a network's answer for one row: z, a, loss, delta, gradients, new weights, with formulas."""
    check_writable(html, "--html", (".html", ".htm"))
    check_writable(landscape, "--landscape", (".png", ".svg", ".pdf"))
    if csv and as_json:
        raise ParameterError("--csv and --json: choose one of them.")
    with working("Tracing", quiet or as_json or csv):
        import everymodel as em

        loaded = able(em.load(model), "trace", "weighted sums that could be traced")
        frame = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding).frame
        if not len(frame):
            raise ParameterError(f"{data} has no rows to trace.")
        if row is not None and row >= len(frame):
            raise ParameterError(f"--row {row}: the table has rows 0 to {len(frame) - 1}.")
        if landscape is not None:
            from everymodel.workflow.evaluate.landscape import draw, surface

            found = surface(loaded, frame, member=member)
            draw(found).savefig(landscape, dpi=150)
            say(f"The landscape is in {landscape} ({size(landscape)}): loss ({found.name}) of {found.rows:,} rows, "
                f"{found.centre:.4g} at the model.", quiet)  # fmt: skip
            if row is None and target is None and html is None and not csv and not as_json:
                return
        if target is not None and loaded.task != "multilabel" and len(loaded.targets) > 1:
            count = len(loaded.targets)
            raise ParameterError(f"--target takes one value; this model has {count} targets. Put them into {data}.")
        made = loaded.trace(frame.iloc[[row or 0]], target, lr=lr, member=member)
        if html is not None:
            made.html(html)
            say(f"The page is in {html} ({size(html)}).", quiet)
    if csv:
        write_table(made.frame(), "-")
    elif as_json:
        emit(made.to_dict())
    elif html is None:
        from everymodel.workflow.evaluate.trace_page import blocks

        out = console()
        for block in blocks(made, neurons):
            out.print(block)
