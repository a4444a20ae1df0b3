"""everymodel models: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded

EXAMPLES = examples("everymodel models", "everymodel models --task regression", "everymodel models ridge")


@guarded
def command(
    name: Annotated[str | None, typer.Argument(help="Show all about one model.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only models for this task.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the models, or tell all about one."""
    from everymodel import catalog

    chosen = [c for c in catalog.cards() if (not task or task in c.tasks) and (not name or c.name == name)]
    if as_json:
        emit(
            [{"name": c.name, "title": c.title, "kind": c.kind, "tasks": c.tasks, "summary": c.summary} for c in chosen]
        )
        return
    for card in chosen:
        console().print(card.name, card.title, card.summary)
