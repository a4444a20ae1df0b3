"""everymodel report: the HTML page of a run, written anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from everymodel.core.errors import ParameterError
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, emit, examples, guarded, say, working
from everymodel.interfaces.cli.source import check_writable, size

EXAMPLES = examples("everymodel report everymodel_runs/20260101-120000-price -o report.html")


@guarded
def command(
    run: Annotated[str, typer.Argument(metavar="RUNFOLDER", help="The run folder, or its story.json.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write the page.")] = "report.html",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write the report of a run: one HTML page that needs nothing else."""
    check_writable(out, "--out", (".html", ".htm"))
    place = Path(run)
    place = place / "story.json" if place.is_dir() else place
    if not place.is_file():
        raise ParameterError(f"{run}: there is no story.json, so this is not the folder of a finished run.")
    try:
        story = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ParameterError(f"{place} is not the story of a run: {error}.") from error
    if not isinstance(story, dict) or "leaderboard" not in story:
        raise ParameterError(f"{place} is not the story of a run: it has no leaderboard.")
    with working("Drawing the report", quiet or as_json):
        from everymodel.workflow.evaluate import report

        report(story, out)
    if as_json:
        emit({"out": out})
    else:
        say(f"The report is in {out} ({size(out)}).", quiet)
