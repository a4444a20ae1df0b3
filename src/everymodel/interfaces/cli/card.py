"""everymodel card: what a saved model is, how good it is and where it comes from."""

from __future__ import annotations

from typing import Any

from everymodel.core.schema import ACT_TASKS, FREE_TASKS, MADE_TASKS
from everymodel.interfaces.cli import draw, play, structure
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded
from everymodel.interfaces.cli.source import ModelFile

EXAMPLES = examples("everymodel card price.em", "everymodel card price.em --json")


@guarded
def command(model: ModelFile, as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show a model's card: what it predicts, from what, how well, and where it comes from."""
    from everymodel import scoring

    loaded = scoring.load(model)
    card = loaded.card()
    if as_json:
        emit(card)
        return
    out = console()
    out.print(draw.heading(draw.clean(card.get("title") or card.get("name") or model)))
    if card.get("headline"):
        out.print(draw.text(card["headline"]))
    if card.get("suspect"):
        out.print(draw.text("Its score is suspect: columns that seem to give the target away were kept.", "bold red"))
    if quiet:
        return
    out.print()
    provenance = card.get("provenance") or {}
    out.print(
        draw.pairs(
            [
                (_gives(loaded), target(loaded)),
                ("made of", members(card.get("members"))),
                ("trained on", f"{provenance['rows']:,} rows" if isinstance(provenance.get("rows"), int) else ""),
                *(play.spaces(loaded) if loaded.task in ACT_TASKS else []),
                ("created", card.get("created")),
                ("written by", f"everymodel {card.get('everymodel')}" if card.get("everymodel") else ""),
                ("seed", provenance.get("seed")),
                ("data fingerprint", provenance.get("data_fingerprint")),
                (
                    "training rows inside",
                    "yes: this kind of model is made of them" if card.get("contains_training_rows") else "none",
                ),
            ]
        )
    )
    if card.get("metrics"):
        out.print()
        out.print(draw.metrics(card["metrics"], out.width))
    if loaded.segments:
        out.print()
        structure.groups(loaded.segments, card.get("noise"))
    if card.get("components"):
        out.print()
        structure.components(card["components"])
    if loaded.task in ACT_TASKS:
        return
    out.print()
    out.print(draw.heading("What it has learnt from" if loaded.task in MADE_TASKS else "What a row must hold"))
    for part in draw.columns(loaded.schema, width=out.width):
        out.print(part)


def _gives(model: Any) -> str:
    if model.task in ACT_TASKS:
        return "acts in"
    return "makes" if model.task in MADE_TASKS else "gives" if model.task in FREE_TASKS else "predicts"


def target(model: Any) -> str:
    if model.task in ACT_TASKS:
        return draw.clean(model.environment, 60) or "an environment that the file does not name"
    if model.task == "enhance":
        return f"images {model.step.factor} times as large"
    if model.task == "generate":
        classes = [str(c) for c in model.step.classes]
        return model.makes + (f", on request {draw.several(classes, 12)}" if classes else "")
    if model.task in FREE_TASKS:
        found = f"{len(model.segments)} groups" if model.task == "cluster" else ", ".join(model.columns[:12])
        return found or "a score for how odd a row is"
    from everymodel.interfaces.cli.look import task_in_words

    return task_in_words(model.schema).removeprefix("To predict: ")


def members(told: Any) -> str:
    """ "lightgbm 60 %, ridge 40 %"."""
    return ", ".join(
        draw.clean(m.get("model") or m.get("name") or "?", 40)
        + (f" {m['weight']:.0%}" if isinstance(m.get("weight"), float) else "")
        for m in told or []
        if isinstance(m, dict)
    )
