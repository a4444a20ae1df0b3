"""The commands, in the order in which one works."""

from __future__ import annotations

from typing import Annotated

import typer

from everymodel.interfaces.cli import (
    advise,
    card,
    chat,
    doctor,
    drift,
    enhance,
    evaluate,
    explain,
    fit,
    inspect,
    layers,
    look,
    models,
    play,
    predict,
    report,
    sample,
    serve,
    trace,
)
from everymodel.interfaces.cli.shell import examples

app = typer.Typer(
    name="everymodel",
    help="Every model behind one interface: from a table to a chosen, honestly tested, saved and served model.",
    epilog=examples(
        "everymodel look houses.csv --target price",
        "everymodel fit houses.csv --target price --budget 60s --out price.em",
        "everymodel predict price.em new.csv -o out.csv",
        "everymodel serve price.em",
        title="The way through",
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_DATA, _MODEL, _HELP = "Your data", "A saved model", "What there is"
for module, panel in (
    (look, _DATA),
    (advise, _DATA),
    (fit, _DATA),
    (predict, _MODEL),
    (sample, _MODEL),
    (chat, _MODEL),
    (enhance, _MODEL),
    (play, _MODEL),
    (evaluate, _MODEL),
    (drift, _MODEL),
    (explain, _MODEL),
    (trace, _MODEL),
    (layers, _MODEL),
    (report, _MODEL),
    (card, _MODEL),
    (inspect, _MODEL),
    (serve, _MODEL),
    (models, _HELP),
    (doctor, _HELP),
):
    name = module.__name__.rpartition(".")[2]
    app.command(name, epilog=module.EXAMPLES, rich_help_panel=panel)(module.command)


def _version(asked: bool) -> None:
    if asked:
        from everymodel import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def everymodel(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass
