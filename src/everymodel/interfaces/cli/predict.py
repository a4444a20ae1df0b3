"""everymodel predict: answers of a saved model for the rows of a table."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import FREE_TASKS, PIXEL_TASKS, SERIES_TASKS, TASKS
from everymodel.interfaces.cli import draw, forecast, pixelwise
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import (
    WRITABLE,
    Encoding,
    ModelFile,
    Query,
    Separator,
    Sheet,
    check_writable,
    read,
    write_table,
)

EXAMPLES = examples(
    "everymodel predict price.em new.csv -o out.csv",
    "everymodel predict price.em new.csv --interval 0.9 --with-data -o out.parquet",
    "cat new.csv | everymodel predict churn.em - --proba > out.csv",
    "everymodel predict sales.em --horizon 24      # a forecast goes on from the end of its data",
    "everymodel predict cells.em slide.png -o mask.png     # or a folder of images, -o FOLDER",
    "everymodel predict papers.em new_papers.csv --edges new_citations.csv     # nodes of another graph",
    "everymodel predict toxic.em atoms.csv --edges bonds.csv     # one answer for each molecule",
    "everymodel predict segments.em new.csv --with-data -o named.csv     # group, name and confidence of each row",
)


@guarded
def command(
    model: ModelFile,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="A file (CSV, Parquet, JSON, Excel, HTML, ...), a database URL, or - for standard input. A forecast "
            "goes on from the end of what it was made of where there is none.",
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help=f"Where to write ({' '.join(WRITABLE)}; masks: .png or a folder); - is CSV on standard output.",
        ),
    ] = "-",
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
    interval: Annotated[
        float | None, typer.Option(help="Add bounds that hold the true value with this level, such as 0.9.")
    ] = None,
    edges: Annotated[
        str | None,
        typer.Option(help="Models of graphs or their nodes: a table of edges between the rows (or to nodes it knows)."),
    ] = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="Forecasts: steps ahead; default as at fit.")] = None,
    with_data: Annotated[bool, typer.Option("--with-data", help="Write the rows too, before the answers.")] = False,
    impute_missing: Annotated[
        bool, typer.Option("--impute-missing", help="Treat columns that are not there as missing cells.")
    ] = False,
    unseen: Annotated[
        str | None, typer.Option(help="Categories never seen at fit: warn, error or ignore; default as at fit.")
    ] = None,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Answer every row of a table, in its order: predictions, groups, scores of oddity or coordinates."""
    if not pixelwise.pictured(out):
        check_writable(out, "--out", WRITABLE)
    if unseen not in (None, "warn", "error", "ignore"):
        raise ParameterError(f"--unseen {unseen}: expected warn, error or ignore.")
    with working("Answering", quiet or as_json or out == "-"):
        from everymodel import scoring

        loaded = scoring.load(model)
        if edges is not None and loaded.task not in TASKS:
            raise CapabilityError(f"{model} ({loaded.task}) answers no nodes of a graph. Leave --edges out.")
        if loaded.task in SERIES_TASKS:
            table = (
                None if data is None else read(data, sheet=sheet, query=query, separator=separator, encoding=encoding)
            )
            answers = forecast.answers(loaded, table and table.frame, horizon, interval, proba, with_data)
            forecast.write(answers, out, as_json, quiet)
            return
        if loaded.task not in PIXEL_TASKS or out.lower().endswith(".png"):
            check_writable(out, "--out", (*WRITABLE, ".png") if loaded.task in PIXEL_TASKS else WRITABLE)
        if horizon is not None:
            raise ParameterError(f"{model} ({loaded.task}) answers rows, so there is no horizon. Leave --horizon out.")
        if data is None:
            raise ParameterError("Name the rows to answer: everymodel predict MODEL DATA (- is standard input).")
        if loaded.task in PIXEL_TASKS:
            given = {"probabilities": proba, "interval": interval is not None, "rows beside its answers": with_data}
            frame = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding).frame
            pixelwise.write(loaded, frame, out, [word for word, asked in given.items() if asked], as_json, quiet)
            return
        if proba and loaded.task in ("anomaly", "reduce", "embed"):
            raise CapabilityError(f"{model} ({loaded.task}) has no probabilities. Leave --proba out.")
        if proba and loaded.task == "regression":
            raise CapabilityError(f"{model} predicts a number, so it has no probabilities. Use --interval 0.9 instead.")
        if interval is not None:
            if loaded.task in FREE_TASKS:
                raise CapabilityError(f"{model} ({loaded.task}) predicts no numbers, so it has no interval.")
            if loaded.task != "regression":
                raise CapabilityError(f"{model} predicts classes, so it has no interval. Use --proba instead.")
            if not loaded.manifest.get("intervals") or len(loaded.targets) > 1:
                raise CapabilityError(f"{model} has no intervals in it. Leave --interval out.")
            loaded.half_width(interval)
        frame = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding).frame
        if with_data and "graphs" in loaded.manifest:
            raise CapabilityError(f"{model} gives one answer for each graph, not for each row. Leave --with-data out.")
        links = None if edges is None else read(edges, separator=separator, encoding=encoding).frame
        missing = "impute" if impute_missing else "error"
        answers, notes = answer(loaded, frame, proba, interval, missing, unseen, links)
    for line in summary(notes):
        say(line, quiet)
    if with_data:
        import pandas as pd

        clash = [c for c in answers.columns if c in frame.columns]
        renamed = answers.rename(columns={c: f"{c}_predicted" for c in clash})
        answers = pd.concat([frame.reset_index(drop=True), renamed], axis=1)
    if as_json and out == "-":
        emit(answers.to_dict("records"))
        return
    write_table(answers, out)
    if out != "-":
        if as_json:
            emit({"out": out, "rows": len(answers), "notes": notes[:100], "notes_in_all": len(notes)})
        else:
            say(f"{len(answers):,} answers are in {out}.", quiet)


def answer(
    model: Any,
    frame: Any,
    proba: bool,
    level: float | None,
    missing_columns: str,
    unseen: str | None,
    edges: Any = None,
) -> tuple[Any, list[dict[str, Any]]]:
    """(frame of answers in the order of the rows, notes on cells taken in another way than they came)."""
    import pandas as pd

    among = {} if edges is None else {"edges": edges}
    batch, notes = model.read(frame, missing_columns=missing_columns, unseen=unseen, **among)
    raw = model.answers(batch)
    graphs = getattr(batch, "names", None)  # one answer for each, not for each row
    if model.task in ("reduce", "embed"):
        return pd.DataFrame(model.details(raw)), notes
    decided = model.decide(raw)
    if decided.ndim == 2:
        names = [f"prediction_{c}" for c in model.classes or model.targets]
        made = pd.DataFrame(decided, columns=names)
    else:
        made = pd.DataFrame({"prediction": decided, **model.details(raw)})
    if proba:
        made = made.join(pd.DataFrame(raw, columns=[f"probability_{c}" for c in model.classes]))
    if level is not None:
        half = model.half_width(level)
        made["low"], made["high"] = decided - half, decided + half
    if graphs is not None:
        made.insert(0, model.told["graph"], graphs)
    return made, notes


def summary(notes: list[dict[str, Any]]) -> list[str]:
    """One line per column and action instead of one per cell."""
    absent = [str(note["field"]) for note in notes if note["came"] == "no such column"]
    lines = []
    if absent:
        are = "1 column is" if len(absent) == 1 else f"{len(absent):,} columns are"
        lines.append(f"Note: {are} not there and count as missing: {draw.several(absent, 5)}.")
    counts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for note in notes:
        if note["came"] != "no such column":
            counts.setdefault((str(note["field"]), str(note["action"])), []).append(note)
    for (field, action), same in list(counts.items())[:20]:
        shown = draw.several([note["came"] for note in same])
        cells = sum(note.get("count", 1) for note in same)
        lines.append(f"Note: {draw.clean(field)}: {cells:,} {'cell' if cells == 1 else 'cells'} ({shown}): {action}.")
    return lines
