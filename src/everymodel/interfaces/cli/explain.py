"""everymodel explain: what moves the answers of a saved model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.core.errors import ParameterError
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working
from everymodel.interfaces.cli.source import Data, Encoding, ModelFile, Query, Separator, Sheet, read

EXAMPLES = examples(
    "everymodel explain price.em new.csv --row 0",
    "everymodel explain price.em new.csv --top 5",
    "everymodel explain price.em new.csv --row 0 --row 7 --json",
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
        frame = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding).frame
        if not len(frame):
            raise ParameterError(f"{data} has no rows to explain.")
        wrong = [r for r in row or [] if r >= len(frame)]
        if wrong:
            raise ParameterError(f"--row {wrong[0]}: the table has rows 0 to {len(frame) - 1}.")
        rows = row or list(range(min(len(frame), _ROWS)))
        names = [c.name for c in loaded.schema.features]
        cells = frame.iloc[rows].to_dict("records")
        explained = [loaded.explain(cell) for cell in cells]
    if as_json:
        emit([{"row": r, **_short(e, top)} for r, e in zip(rows, explained)])
        return
    if row:
        for r, cell, e in zip(rows, cells, explained):
            _one(r, cell, e, top)
    else:
        _average(explained, names, top)


def _contributions(explained: dict[str, Any]) -> dict[str, float]:
    return dict(explained["contributions"])


def _short(explained: dict[str, Any], top: int) -> dict[str, Any]:
    strongest = sorted(_contributions(explained).items(), key=lambda item: -abs(item[1]))[:top]
    return {**explained, "contributions": dict(strongest)}


def _one(row: int, cell: dict[str, Any], explained: dict[str, Any], top: int) -> None:
    out = console()
    parts = sorted(_contributions(explained).items(), key=lambda item: -abs(item[1]))
    what = f" of {draw.clean(explained['output'])}" if explained.get("output") else ""
    out.print(
        draw.heading(
            f"Row {row}: answer{what} {draw.number(explained['answer'])}, usual {draw.number(explained['base'])}"
        )
    )
    out.print(_bars([(f"{name} = {draw.clean(cell.get(name, 'missing'), 24)}", value) for name, value in parts[:top]]))
    rest = sum(value for _, value in parts[top:])
    if parts[top:]:
        out.print(draw.text(f"{len(parts) - top} other columns together: {draw.number(rest)}", "dim"))
    out.print()


def _average(explained: list[dict[str, Any]], names: list[str], top: int) -> None:
    out = console()
    mean = {name: sum(abs(_contributions(e).get(name, 0.0)) for e in explained) / len(explained) for name in names}
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
