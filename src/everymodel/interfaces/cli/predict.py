"""everymodel predict: answers of a saved model for the rows of a table."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, emit, examples, guarded

EXAMPLES = examples(
    "everymodel predict price.em new.csv -o out.csv", "everymodel predict churn.em new.csv --proba --json"
)


@guarded
def command(
    model: Annotated[str, typer.Argument(help="The model file (.em).")],
    data: Annotated[str, typer.Argument(help="The rows; - for standard input.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write; - for standard output.")] = "-",
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Answer every row of a table."""
    import everymodel as em

    loaded = em.load(model)
    frame = em.read(data).frame
    answers = loaded.predict(frame).to_frame("prediction")
    if proba:
        answers = answers.join(loaded.predict_proba(frame).add_prefix("probability_"))
    if as_json:
        emit(answers.to_dict("records"))
        return
    answers.to_csv("/dev/stdout" if out == "-" else out, index=False)
