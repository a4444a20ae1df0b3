"""everymodel models: what there is to choose from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.core.errors import ParameterError
from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, model_names, working

EXAMPLES = examples(
    "everymodel models",
    "everymodel models --task regression",
    "everymodel models --task cluster",
    "everymodel models ridge",
    "everymodel models --why houses.csv --target price",
)

_DOES = {"regression": {"regression"}, "classification": {"binary", "multiclass"}, "multilabel": {"multilabel"},
         "groups": {"cluster"}, "anomalies": {"anomaly"}, "components": {"reduce"}, "maps": {"embed"},
         "series": {"forecast"}, "data": {"generate"}, "larger images": {"enhance"}, "acting": {"act"}}  # fmt: skip


@guarded
def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Tell all about this model.", autocompletion=model_names)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Only models for regression, binary, multiclass, multilabel, cluster, anomaly, reduce or embed."
        ),
    ] = None,
    why: Annotated[str | None, typer.Option(metavar="DATA", help="Say which suit this table, and why.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="With --why: the column to predict, if any.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the models, tell all about one, or say which suit a table and why."""
    from everymodel import catalog

    if task is not None:
        known = dict.fromkeys(t for c in catalog.cards() for t in c.tasks)
        if task not in known:
            raise ParameterError(f"--task {task}: expected one of {', '.join(known)}.")
    named = [catalog.find(name, task)] if name else []
    if why is not None:
        _why(why, target, task, named[0].name if named else None, as_json, quiet)
        return
    if named:
        same = [c for c in catalog.cards() if c.name == named[0].name and (task is None or task in c.tasks)]
        emit([described(c) for c in same]) if as_json else _tell(same)
        return
    cards = [c for c in catalog.cards() if task is None or task in c.tasks]
    if as_json:
        emit([described(c) for c in cards])
        return
    _list(cards, quiet, verbose)


def described(card: Any) -> dict[str, Any]:
    """A card for programs."""
    from dataclasses import asdict

    from everymodel import catalog

    return {**asdict(card), "class_name": card.class_name, "available": catalog.available(card)}


def _why(data: str, target: str | None, task: str | None, name: str | None, as_json: bool, quiet: bool) -> None:
    with working(f"Reading {draw.clean(data)}", quiet or as_json):
        import everymodel as em

        advice = em.advise(data, target, **({"task": task} if task else {}))
    if name:
        advice = [item for item in advice if item["model"] == name]
        if not advice:
            raise ParameterError(f"The model {name} cannot do the task of this table.")
    if as_json:
        emit(advice)
        return
    from everymodel.interfaces.cli.advise import show

    show(advice, len(advice), quiet)


def _list(cards: list[Any], quiet: bool, verbose: bool) -> None:
    from everymodel import catalog

    out = console()
    merged: dict[str, list[Any]] = {}
    for card in cards:
        merged.setdefault(card.name, []).append(card)
    made = draw.table("model", "", "does", wrap=[1])
    family = ""
    for name, same in sorted(merged.items(), key=lambda item: (item[1][0].family, item[0])):
        if same[0].family != family:
            family = same[0].family
            made.add_section()
            made.add_row(draw.text(family.replace("_", " "), "bold cyan"), "", "")
        tasks = {t for c in same for t in c.tasks}
        words = [word for word, kinds in _DOES.items() if tasks & kinds]
        summary = draw.text(same[0].title)
        if verbose:
            summary.append(f"\n{draw.clean(same[0].summary, 200)}", style="dim")
        if not all(map(catalog.available, same)):
            summary.append(f"  (needs {same[0].package}, not installed)", style="yellow")
        made.add_row(draw.text(f"  {name}"), summary, draw.text(", ".join(words), "dim"))
    out.print(made)
    if not quiet:
        more = "everymodel models NAME tells all about one, --verbose a sentence about each."
        out.print(draw.text(f"{len(merged)} models. {more}", "dim"))


def _tell(same: list[Any]) -> None:
    from everymodel import catalog
    from everymodel.core.optional import pip_line

    out = console()
    first = same[0]
    out.print(draw.heading(f"{first.title} ({first.name})"))
    out.print(draw.text(first.summary))
    out.print()
    needs = [f"{c.package}, not installed: {pip_line(c.package or '')}" for c in same if not catalog.available(c)]
    out.print(
        draw.pairs(
            [
                ("choose it", first.choose),
                ("avoid it", first.avoid),
                ("does", ", ".join(sorted({t for c in same for t in c.tasks}))),
                ("classes", ", ".join(f"everymodel.{c.class_name}" for c in same)),
                ("gives", ", ".join(sorted({g for c in same for g in c.gives}))),
                ("needs", ", ".join(dict.fromkeys(needs))),
                ("references", "\n".join(first.references)),
            ]
        )
    )
    for card in same:
        if not card.parameters:
            continue
        out.print()
        made = draw.table(f"{card.kind} parameter", "default", "range", "", wrap=[2, 3])
        for p in card.parameters:
            if p.choices:
                allowed = " ".join(map(str, p.choices))
            elif p.type == "bool":
                allowed = "true false"
            else:
                allowed = f"{p.low} to {p.high}" + (" (log)" if p.log else "")
            made.add_row(draw.text(p.name), draw.text(p.default), draw.text(allowed, "dim"), draw.text(p.text))
        out.print(made)
