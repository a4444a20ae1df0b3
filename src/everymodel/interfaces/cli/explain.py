"""everymodel explain: what moves the answers of a saved model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import MADE_TASKS
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working
from everymodel.interfaces.cli.source import Data, Encoding, ModelFile, Query, Separator, Sheet, read

EXAMPLES = examples(
    "everymodel explain price.em new.csv --row 0",
    "everymodel explain price.em new.csv --top 5",
    "everymodel explain churn.em new.csv --row 0 --of yes",
    "everymodel explain price.em new.csv --row 0 --row 7 --json",
    "everymodel explain segments.em new.csv --row 0 --of 2     # why it is (not) in group 2",
)
_ROWS = 50


@guarded
def command(
    model: ModelFile,
    data: Data,
    row: Annotated[
        list[int] | None, typer.Option("--row", "-r", min=0, help="This row (0 is the first); may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many columns to show.")] = 10,
    of: Annotated[
        str | None, typer.Option("--of", help="Explain this class, label or target; default the one answered.")
    ] = None,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what each column adds to an answer (Shapley values): of given rows, or on average over the first 50."""
    with working("Explaining", quiet or as_json):
        from everymodel import scoring

        loaded = scoring.load(model)
        if loaded.task in MADE_TASKS:
            raise CapabilityError("This model makes data instead of answering rows, so no answer can be explained.")
        frame = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding).frame
        if not len(frame):
            raise ParameterError(f"{data} has no rows to explain.")
        wrong = [r for r in row or [] if r >= len(frame)]
        if wrong:
            raise ParameterError(f"--row {wrong[0]}: the table has rows 0 to {len(frame) - 1}.")
        rows = row or list(range(min(len(frame), _ROWS)))
        import warnings

        with warnings.catch_warnings():  # unseen categories show in the explanation itself
            warnings.simplefilter("ignore")
            explained = loaded.explain(frame.iloc[rows], of=of, top=top if row else None)
    if as_json:
        emit([{"row": r, **e, "contributions": e["contributions"][:top]} for r, e in zip(rows, explained)])
    elif row:
        for r, e in zip(rows, explained):
            _one(r, e, loaded.task)
    else:
        _average(explained, top)


def _one(row: int, explained: dict[str, Any], task: str) -> None:
    out = console()
    label = explained["label"]
    name = draw.clean(label, 40)
    what = (
        "answer" if label is None else name if task in ("regression", "reduce", "embed") else f"probability of {name}"
    )
    if task == "anomaly":
        what = "score"
    elif task == "cluster":
        what = f"membership in group {name}"
    usual = f"usual {draw.number(explained['base'])}"
    out.print(draw.heading(f"Row {row}: {what} {draw.number(explained['answer'])} ({usual})"))
    parts = explained["contributions"]
    out.print(_bars([(f"{p['column']} = {_cell(p['cell'])}", p["contribution"]) for p in parts]))
    if explained["rest"]:
        out.print(draw.text(f"all other columns together {draw.number(explained['rest'])}", "dim"))
    out.print()


def _cell(cell: Any) -> str:
    return "missing" if cell is None else draw.number(cell) if isinstance(cell, float) else draw.clean(cell, 24)


def _average(explained: list[dict[str, Any]], top: int) -> None:
    out = console()
    mean: dict[str, float] = {}
    for e in explained:
        for p in e["contributions"]:
            mean[p["column"]] = mean.get(p["column"], 0.0) + abs(p["contribution"]) / len(explained)
    out.print(draw.heading(f"How much each column moves the answer, on average over {len(explained)} rows"))
    strongest = sorted(mean.items(), key=lambda item: -item[1])
    out.print(_bars(strongest[:top], signed=False))
    if strongest[top:]:
        out.print(draw.text(f"{len(strongest) - top} other columns move it less", "dim"))


def _bars(parts: list[tuple[str, float]], signed: bool = True) -> Any:
    most = max((abs(value) for _, value in parts), default=0.0) or 1.0
    made = draw.table("column", "adds" if signed else "moves by", "", right=[1], wrap=[0])
    for name, value in parts:
        style = ("green" if value >= 0 else "red") if signed else "cyan"
        figure = f"{'+' if value >= 0 and signed else ''}{draw.number(value)}"
        made.add_row(draw.text(name), draw.text(figure, style), draw.text(draw.bar(abs(value) / most, 24), style))
    return made
