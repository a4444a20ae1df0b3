"""everymodel evaluate: how good a saved model is on labelled rows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import ACT_TASKS, MADE_TASKS, PIXEL_TASKS
from everymodel.interfaces.cli import draw, pixelwise, play
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working
from everymodel.interfaces.cli.source import Encoding, ModelFile, Query, Separator, Sheet, read

EXAMPLES = examples(
    "everymodel evaluate price.em sold_in_june.csv",
    "everymodel evaluate churn.em labelled.parquet --target left --json",
    "everymodel evaluate segments.em customers.csv --target plan     # do groups agree with a column?",
    "everymodel evaluate cells.em slides.csv --target mask     # columns: image, and mask (a file) or boxes (JSON)",
    "everymodel evaluate toxic.em atoms.csv --edges bonds.csv     # whole graphs",
    "everymodel evaluate cartpole.em --episodes 100     # an agent, where it has learnt",
)


@guarded
def command(
    model: ModelFile,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA", help="Labelled rows: a file, a database URL, or -. Agents: another environment, if any."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="The column with the truth; default the one it was fitted on.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="The headline metric; default the one it was chosen by.")] = None,
    edges: Annotated[
        str | None, typer.Option(help="Models of whole graphs: a table of edges between the rows.")
    ] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Agents: episodes to play. Default 100.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Agents: of the episodes. Default 0.")] = None,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure a saved model on rows that it has not seen, every metric with its interval."""
    with working("Evaluating", quiet or as_json):
        import everymodel as em

        loaded: Any = em.load(model)
        if loaded.task in ACT_TASKS:
            for name, value in (("target", target), ("metric", metric), ("edges", edges)):
                if value is not None:
                    raise ParameterError(f"--{name} is not for agents: they are held against their environment.")
            play.evaluate(loaded, data, episodes or 100, seed or 0, as_json, quiet)
            return
        if data is None or episodes is not None or seed is not None:
            told = "Name the rows to measure it on" if data is None else "--episodes and --seed are for agents"
            raise ParameterError(f"This model ({loaded.task}) is held against labelled rows. {told}.")
        if loaded.task in MADE_TASKS:
            _generator(loaded, data, target, metric, as_json, quiet)
            return
        table = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding)
        more: dict[str, Any] = {"metric": metric} if metric else {}
        if loaded.task in PIXEL_TASKS:
            if metric or edges:
                raise CapabilityError(f"A model of task {loaded.task!r} takes no --{'metric' if metric else 'edges'}.")
            pixelwise.evaluate(loaded, table, target, as_json, quiet)
            return
        if edges is not None:
            if "graphs" not in loaded.manifest:
                raise CapabilityError(f"{model} ({loaded.task}) does not answer whole graphs. Leave --edges out.")
            more["edges"] = read(edges, separator=separator, encoding=encoding).frame
        evaluation = loaded.evaluate(table.frame, target=target, **more)
    if as_json:
        emit(evaluation)
        return
    out = console()
    out.print(draw.text(evaluation.headline, "bold"))
    if quiet:
        return
    out.print()
    out.print(draw.metrics(evaluation.metrics, out.width))
    confusion = evaluation.curves.get("confusion")
    if confusion and len(confusion["labels"]) <= 12:
        out.print()
        _confusion(confusion)


def _generator(loaded: Any, data: str, target: str | None, metric: str | None, as_json: bool, quiet: bool) -> None:
    """Samples held against data that were not learnt from."""
    from everymodel.core.errors import CapabilityError
    from everymodel.interfaces.cli.sample import metrics

    if metric:
        raise CapabilityError("A generator has no headline metric to choose: all of its figures are shown.")
    evaluation = loaded.evaluate(data, target)
    if as_json:
        emit(evaluation)
        return
    console().print(draw.text(evaluation.headline, "bold"))
    if not quiet:
        metrics(evaluation)


def _confusion(confusion: dict[str, Any]) -> None:
    """Rows are the truth, columns what the model said."""
    labels = confusion["labels"]
    made = draw.table("truth \\ answer", *[draw.clean(c, 14) for c in labels], right=range(1, len(labels) + 1))
    for i, (label, row) in enumerate(zip(labels, confusion["counts"])):
        cells = [draw.text(draw.number(v), "green" if i == j else "red" if v else "dim") for j, v in enumerate(row)]
        made.add_row(draw.text(draw.clean(label, 20)), *cells)
    console().print(made)
