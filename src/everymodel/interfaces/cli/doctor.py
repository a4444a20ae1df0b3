"""everymodel doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, emit, examples, guarded

EXAMPLES = examples("everymodel doctor price.em")


@guarded
def command(
    model: Annotated[str, typer.Argument(help="The model file (.em).")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """doctor."""
    emit({})
