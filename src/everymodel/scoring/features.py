"""What the columns between the table and a model are called, found from the steps alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.scoring.steps.base import Sparse

if TYPE_CHECKING:
    from everymodel.core.schema import Schema
    from everymodel.scoring.graph import Node, Pack

_TITLES = {
    "numbers": "numbers as they are",
    "sparse_numbers": "numbers, scaled",
    "dates": "parts of dates",
    "spans": "days between dates",
    "lookup": "a number for each level",
    "onehot": "a column for each level",
    "impute": "gaps filled",
    "power": "long tails made short",
    "scale": "centred and scaled",
    "join": "side by side",
    "text_terms": "words counted",
    "text_stats": "figures of the text",
    "project": "topics of the text",
    "columns": "some of the columns",
}


def stages(pack: Pack, schema: Schema, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of preparation for one row: node, word, title, names and values (p,) of what comes out, in order.

    values : what each node gives for the row. Left out is what depends on a model's answer. Images and the like have
    neither names nor values here.
    """
    made: dict[str, dict[str, Any]] = {}
    for node in pack.nodes:
        own = values.get(node.name)
        before = [made.get(name) for name in node.inputs if name != "table"]
        if own is None or node.step.output != "matrix" or any(b is None for b in before):
            continue
        row = own.toarray()[0] if isinstance(own, Sparse) else np.asarray(own)[0]
        names: list[str] = []
        if isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind in "iuf":
            names = _names(node, schema, [b["names"] for b in before if b is not None], len(row))
        else:  # an image, a text: nothing that a table of columns could show
            row = np.empty(0)
        title = _TITLES.get(node.step.word, node.step.word)
        made[node.name] = {"node": node.name, "word": node.step.word, "title": title, "names": names, "values": row}
    return made


def _names(node: Node, schema: Schema, before: list[list[str]], width: int) -> list[str]:
    """The names of a node's columns; numbered ones where the rules here do not fit."""
    step: Any = node.step
    names: list[str] = []
    if callable(getattr(step, "names", None)):
        names = list(step.names())
    elif step.word in ("numbers", "sparse_numbers", "lookup"):
        names = list(step.columns)
    elif step.word in ("dates", "text_stats"):
        names = [f"{column} {part}" for column, part in zip(step.columns, step.parts)]
    elif step.word == "spans":
        names = [f"{one} - {other}" for one, other in zip(step.columns, step.others)]
    elif step.word == "onehot":
        names = _levels(step, schema, width)
    elif step.word == "impute" and before:
        names = [*before[0], *(f"{before[0][j]} missing" for j in step.indicators.tolist())]
    elif step.word == "join":
        names = [name for part in before for name in part]
    elif step.word == "columns" and before:
        names = [before[0][j] for j in step.index.tolist()]
    elif len(before) == 1 and len(before[0]) == width:
        names = before[0]
    if len(names) != width:
        return [f"{node.name}[{j}]" for j in range(width)]
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return unique


def _levels(step: Any, schema: Schema, width: int) -> list[str]:
    names: list[list[str]] = [[] for _ in range(width)]
    known = {c.name: c for c in schema.columns}
    ends = [*step.offsets[1:].tolist(), len(step.places)]
    for column, start, end in zip(step.columns, step.offsets.tolist(), ends):
        levels = known[column].levels if column in known else ()
        words = ["(unseen)", "(missing)", *levels]
        for code, place in enumerate(step.places[start:end].tolist()):
            if place >= 0:
                names[place].append(f"{column} = {words[code] if code < len(words) else code - 2}")
    return [" or ".join(n[:3]) + ("..." if len(n) > 3 else "") for n in names]
