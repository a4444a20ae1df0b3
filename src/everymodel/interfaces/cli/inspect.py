"""everymodel inspect: what a model file holds, without loading it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.card import members
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded
from everymodel.interfaces.cli.source import size

EXAMPLES = examples("everymodel inspect price.em", "everymodel inspect price.em --json")


@guarded
def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A model file (.em).")],
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show all that a model file says about itself. Nothing in it is loaded or run."""
    from everymodel import scoring

    told = scoring.inspect(file)
    if as_json:
        emit(told)
        return
    out = console()
    out.print(draw.heading(f"{draw.clean(file)} ({size(file)})"))
    rows = []
    for name, value in told.items():
        if name == "members":
            value = members(value)
        rows.append((draw.clean(name, 40), _words(name, value)))
    out.print(draw.pairs(rows))


def _words(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "schema" and isinstance(value, dict):
        columns = value.get("columns", [])
        features = [c.get("name") for c in columns if c.get("role", "feature") == "feature"]
        return f"{len(features)} feature columns: {draw.several(features, 8)}"
    if name == "metrics" and isinstance(value, list):
        return "; ".join(
            f"{m.get('name')} {draw.number(m.get('value'))} {draw.between(m.get('low'), m.get('high'))}" for m in value
        )
    if name == "segments" and isinstance(value, list):
        return "; ".join(f"{s.get('number')} {s.get('name')} ({draw.number(s.get('rows'))} rows)"
                         for s in value if isinstance(s, dict))  # fmt: skip
    if name == "background" and isinstance(value, dict):
        return f"{len(next(iter(value.values()), []))} made-up rows, against which explanations are measured"
    if name == "findings" and isinstance(value, list):
        return ", ".join(str(f.get("code")) for f in value)
    if isinstance(value, dict):
        parts = [f"{k} {_short(v)}" for k, v in list(value.items())[:30] if v is not None]
        return ", ".join(parts) + (f" and {len(value) - 30} more" if len(value) > 30 else "")
    if isinstance(value, list):
        return draw.several([_short(v) for v in value], 8)
    return draw.clean(value, 400) if not isinstance(value, float) else draw.number(value)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"[{len(value)}]" if len(value) > 6 else "[" + ", ".join(_short(v) for v in value) + "]"
    if isinstance(value, dict):
        return f"{{{len(value)}}}"
    return draw.number(value) if isinstance(value, float) else draw.clean(value, 80)
