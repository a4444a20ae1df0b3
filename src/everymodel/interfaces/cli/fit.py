"""everymodel fit: from a table to a chosen, honestly tested and saved model."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, emit, examples, guarded, say

EXAMPLES = examples(
    "everymodel fit houses.csv --target price --budget 60s --out price.em",
    "everymodel fit churn.csv -t churn --model logistic --model random_forest --report churn.html",
)


@guarded
def command(
    data: Annotated[str, typer.Argument(help="The table.")],
    target: Annotated[str | None, typer.Option("--target", "-t", help="The column to be predicted.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="Wall time for everything: 60s, 5m, 1h30m.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Only these models; may be repeated.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Where to save the model (.em).")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the best model for a table within a time budget, and test it once on rows that no choice has seen."""
    import everymodel as em

    run = em.fit(data, target=target, budget=budget, models=model or None)
    if out:
        run.model.save(out)
    if as_json:
        emit({"headline": run.headline, "leaderboard": run.leaderboard.to_dict("records"), "model": out})
        return
    say(run.headline)
