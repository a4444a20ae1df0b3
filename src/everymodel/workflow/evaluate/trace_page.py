"""A trace as people read it: a long table, text for a terminal, a page."""

from __future__ import annotations

import math
import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.files import atomic_write
from everymodel.scoring import trace as scoring_trace
from everymodel.scoring.trace import Part

if TYPE_CHECKING:
    import pandas as pd

NEURONS, INPUTS = 24, 8  # of a layer, in the page
LISTED = 60  # cells and prepared columns, in the page
DRAWN = 9  # neurons of a layer in the drawing
TERMS = 5  # of a sum that is written out
_COLUMNS = (("z", "z"), ("a", "a"), ("δ", "delta"), ("b", "b"), ("∂L/∂b", "grad_b"), ("new b", "new_b"))


class Trace(scoring_trace.Trace):
    """Every number of one row's way through a network; see `Model.trace`. Printed, it is a text."""

    def frame(self) -> pd.DataFrame:
        """The long form: layer (0 is the input), neuron, name, input, quantity, value; see `columns`."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The page, one file that needs nothing else; also written to `path` where one is given."""
        from everymodel.workflow.evaluate.page import _environment

        text = _environment().get_template("trace.html").render(**view(self))
        if path is not None:
            with atomic_write(path) as stream:
                stream.write(text.encode("utf-8", "replace"))
        return text

    def text(self, width: int = 100, neurons: int = 8) -> str:
        """The trace as plain text; at most so many `neurons` of each layer."""
        import io

        from rich.console import Console

        out = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)
        for block in blocks(self, neurons):
            out.print(block)
        return out.file.getvalue()  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        loss = "no target" if self.loss is None else f"loss {number(self.loss)}"
        return f"<everymodel.Trace of {self.title!r}: {len(self.parts)} layers, {loss}>"

    @classmethod
    def of(cls, made: scoring_trace.Trace) -> Trace:
        return cls(**{f.name: getattr(made, f.name) for f in fields(made)})


def number(value: Any) -> str:
    """Six significant digits, so that every step can be done again by hand."""
    if value is None or not math.isfinite(value):
        return "-"
    value = float(value)
    text = f"{value:.5e}" if value and not 1e-4 <= abs(value) < 1e7 else f"{value:.6g}"
    return "0" if text == "-0" else text


def _or_missing(value: float) -> str:
    return "missing" if value != value else number(value)


def cell(value: Any) -> str:
    if value is None:
        return "missing"
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else _short(value, 40)


def _short(value: Any, most: int = 28) -> str:
    text = "".join(c if c.isprintable() else "�" for c in str(value))
    return text if len(text) <= most else text[: most - 1] + "…"


def chosen(part: Part, most: int) -> np.ndarray:
    """Numbers of the neurons to show, in order: those whose delta is largest, or whose activation is."""
    if part.width <= most:
        return np.arange(part.width)
    size = np.abs(part.values["delta"]) if "delta" in part.values else np.zeros(part.width)
    order = np.lexsort((-np.abs(part.values["a"]), -size))
    return np.sort(order[:most])


def written_out(part: Part, j: int, terms: int = TERMS) -> str:
    """The sum of one neuron with its numbers: the largest terms, the rest in one, the bias, z, a."""
    W, x = part.values["W"][j], part.x
    order = np.argsort(-np.abs(W * x), kind="stable")
    few = np.sort(order[:terms])
    told = [_product(W[i], x[i]) for i in few]
    rest = len(x) - len(few)
    if rest > 0:
        told.append(f"{number(float(np.sum(W * x) - np.sum((W * x)[few])))} ({rest:,} more terms)")
    if "b" in part.values:
        told.append(number(part.values["b"][j]))
    z, a = part.values["z"][j], part.values["a"][j]
    sums = " + ".join(told).replace("+ -", "- ")
    return f"z{_low(j + 1)} = {sums} = {number(z)}" + (f" → a{_low(j + 1)} = {number(a)}" if a != z else "")


def _product(one: float, other: float) -> str:
    return f"{number(one)} · " + (f"({number(other)})" if other < 0 else number(other))


def _low(value: int) -> str:
    return str(value).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _wanted(part: Part, made: scoring_trace.Trace) -> np.ndarray:
    """The target of each neuron, for the last layer; else nothing."""
    last = made.wanted is not None and part is made.parts[-1] and len(made.wanted) == part.width
    return made.wanted if last and made.wanted is not None else np.empty(0)


def _in_words(made: scoring_trace.Trace) -> list[tuple[str, str]]:
    """What came out, in pairs of name and value."""
    rows = [("Model", _short(made.title, 80)), ("Prediction", cell(made.decision))]
    if made.task != "regression":
        shares = [f"{_short(n)} {number(v)}" for n, v in zip(made.labels, made.answer)]
        rows.append(("Probabilities", ", ".join(shares[:8]) + (" …" if len(shares) > 8 else "")))
    if made.target is not None:
        rows.append(("Target", cell(made.target)))
    if made.loss is not None:
        after = f", {number(made.after)} after one step of lr = {made.lr:g}" if made.after is not None else ""
        rows.append((f"Loss ({made.loss_name})", number(made.loss) + after))
    return rows


# --- text ------------------------------------------------------------------------------------------------------------


def blocks(made: scoring_trace.Trace, neurons: int = 8) -> list[Any]:
    """What a terminal shows, as rich renderables. Words from data are never read as markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def table(*heads: str, left: int = 1) -> Any:
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
        for i, head in enumerate(heads):
            grid.add_column(head, justify="left" if i < left else "right", no_wrap=True, overflow="ellipsis")
        return grid

    out: list[Any] = []
    pairs = Table.grid(padding=(0, 2))
    pairs.add_column(style="dim", no_wrap=True)
    pairs.add_column(overflow="fold")
    for name, value in _in_words(made):
        pairs.add_row(name, Text(value))
    out += [pairs, Text("")]
    out.append(Text("The row, and what the first layer gets (steps that change nothing are left out)", style="bold"))
    prepared = _prepared(made, 2 * neurons)
    grid = table("column", *prepared["heads"])
    for row in prepared["rows"]:
        grid.add_row(*[Text(c) for c in row])
    out += [grid, *_more(prepared["more"], "columns"), Text("")]
    for part in made.parts:
        out.append(Text(f"Layer {part.number}: {part.title}", style="bold"))
        out += [Text(f"  {formula}", style="cyan") for formula in part.formulas]
        shown = chosen(part, neurons)
        heads = [(head, key) for head, key in _COLUMNS if key in part.values and len(part.values[key]) == part.width]
        wanted = _wanted(part, made)
        grid = table("neuron", *[h for h, _ in heads], *["t"] * bool(len(wanted)))
        for j in shown.tolist():
            name = f"{j + 1} {_short(part.names[j], 18)}" if j < len(part.names) else str(j + 1)
            cells = [number(part.values[key][j]) for _, key in heads]
            grid.add_row(Text(name), *cells, *[number(v) for v in wanted[j : j + 1]])
        out += [grid, *_more(part.width - len(shown), "neurons", "δ" if "delta" in part.values else "a")]
        if "W" in part.values:
            j = int(shown[np.argmax(np.abs(part.values["a"][shown]))])
            out.append(Text(f"  {written_out(part, j)}", style="dim"))
            i = int(np.argmax(np.abs(part.values["W"][j] * part.x)))
            if "grad_W" in part.values:
                line = f"  ∂L/∂W{_low(j + 1)}.{_low(i + 1)} = δ{_low(j + 1)} · x{_low(i + 1)} = "
                line += f"{_product(part.values['delta'][j], part.x[i])} = {number(part.values['grad_W'][j, i])}"
                if "new_W" in part.values:
                    line += f"; W {number(part.values['W'][j, i])} → {number(part.values['new_W'][j, i])}"
                out.append(Text(line, style="dim"))
        out.append(Text(""))
    if made.loss is not None:
        out.append(Text(f"Loss: {made.loss_formula} = {number(made.loss)}", style="bold"))
    if len(made.networks) > 1:
        out += [Text(""), Text("All networks of the model", style="bold")]
        grid = table("network", "weight", "answer")
        for i, one in enumerate(made.networks[:16]):
            weight = "-" if one["weight"] is None else f"{one['weight']:.1%}"
            answers = " ".join(number(v) for v in one["answer"][:4]) + (" …" if len(one["answer"]) > 4 else "")
            grid.add_row(f"{i}{' (shown)' if i == made.network else ''}", weight, answers)
        out += [grid, *_more(len(made.networks) - 16, "networks")]
    for note in made.notes:
        out.append(Text(f"· {note}", style="dim"))
    return out


def _more(count: int, what: str, by: str = "") -> list[Any]:
    from rich.text import Text

    largest = f"; shown are those with the largest |{by}|" if by else ""
    return [Text(f"and {count:,} more {what}{largest}", style="dim")] if count > 0 else []


def _prepared(made: scoring_trace.Trace, most: int) -> dict[str, Any]:
    """A line per input of the network: the raw cell, and its number after every stage that has such a column."""
    stages = [s for s in made.stages if s["word"] != "join"]
    places = [{name: i for i, name in enumerate(s["names"])} for s in stages]
    raw = dict(made.cells)
    heads = ["cell", *dict.fromkeys(s["title"] for s in stages)]
    if not made.inputs:  # an image, a text
        return {"heads": ["cell"], "rows": [[_short(n, 30), cell(v)] for n, v in made.cells[:most]],
                "more": max(0, len(made.cells) - most)}  # fmt: skip
    order = np.arange(len(made.inputs))
    if len(order) > most:
        order = np.sort(np.argsort(-np.abs(made.x), kind="stable")[:most])
    rows = []
    for j in order.tolist():
        name = made.inputs[j]
        cells = dict.fromkeys(heads[1:], "")
        for stage, place in zip(stages, places):
            if name in place:
                cells[stage["title"]] = _or_missing(stage["values"][place[name]])
        origin = name if name in raw else next((c for c in raw if name.startswith(f"{c} ")), None)
        rows.append([_short(name, 30), cell(raw[origin]) if origin is not None else "", *cells.values(),
                     _or_missing(made.x[j])])  # fmt: skip
    heads.append("x")
    keep = [0]  # places in `heads`: the cell, x, and between them the stages that change a number
    last = [row[1] for row in rows]
    for i in range(1, len(heads)):
        now = [row[i + 1] or before for row, before in zip(rows, last)]
        if now != last or i == len(heads) - 1:
            keep.append(i)
        last = now
    if len(keep) > 2 and all(row[keep[-1] + 1] == row[keep[-2] + 1] for row in rows):
        heads[keep[-2]] += " = x"
        keep.pop()
    heads, rows = [heads[i] for i in keep], [[row[0], *(row[i + 1] for i in keep)] for row in rows]
    return {"heads": heads, "rows": rows, "more": len(made.inputs) - len(order)}


# --- the page --------------------------------------------------------------------------------------------------------


def view(made: scoring_trace.Trace) -> dict[str, Any]:
    """Everything `trace.html` needs."""
    from everymodel.core.version import __version__

    return {
        "title": f"One row through {_short(made.title, 80)}",
        "version": __version__,
        "facts": _in_words(made),
        "decision": cell(made.decision),
        "prepared": _prepared(made, LISTED),
        "drawing": _drawing(made),
        "layers": [_layer(part, made) for part in made.parts],
        "loss": None if made.loss is None else {"formula": made.loss_formula, "value": number(made.loss),
                 "after": None if made.after is None else number(made.after), "lr": f"{made.lr or 0:g}",
                 "better": made.after is not None and made.after <= made.loss},
        "networks": [{"number": i, "weight": "-" if n["weight"] is None else f"{n['weight']:.1%}",
                      "shown": i == made.network, "answer": ", ".join(number(v) for v in n["answer"][:6])}
                     for i, n in enumerate(made.networks[:LISTED])] if len(made.networks) > 1 else [],
        "more_networks": max(0, len(made.networks) - LISTED),
        "notes": made.notes,
        "how_to": {},
    }  # fmt: skip


def _layer(part: Part, made: scoring_trace.Trace) -> dict[str, Any]:
    shown = chosen(part, NEURONS)
    heads = [(head, key) for head, key in _COLUMNS if key in part.values and len(part.values[key]) == part.width]
    wanted = _wanted(part, made)
    largest = max(float(np.abs(part.values["a"]).max(initial=0.0)), 1e-300)
    rows = []
    for j in shown.tolist():
        a = float(part.values["a"][j])
        rows.append(
            {
                "name": f"{j + 1}" + (f" · {_short(part.names[j])}" if j < len(part.names) else ""),
                "cells": [number(part.values[key][j]) for _, key in heads] + [number(v) for v in wanted[j : j + 1]],
                "width": round(100 * min(abs(a) / largest, 1.0), 1),
                "up": a >= 0,
            }
        )  # fmt: skip
    previous = made.parts[part.number - 2] if part.number > 1 else None
    return {
        "number": part.number,
        "title": part.title,
        "formulas": part.formulas,
        "heads": [head for head, _ in heads] + ["t"] * bool(len(wanted)),
        "rows": rows,
        "more": part.width - len(shown),
        "by": "δ" if "delta" in part.values else "a",
        "sums": [written_out(part, j) for j in shown[:6].tolist()] if "W" in part.values else [],
        "weights": _weights(part, shown[:INPUTS], previous, made) if "W" in part.values else None,
        "others": [(name, f"{part.values[name].size:,}", ", ".join(number(v) for v in np.ravel(part.values[name])[:6]))
                   for name in part.values if name not in ("z", "a", "delta") and "W" not in part.values],
    }  # fmt: skip


def _weights(part: Part, shown: np.ndarray, previous: Part | None, made: scoring_trace.Trace) -> dict[str, Any]:
    """Weights, gradients and new weights of a few neurons for the inputs that move them most."""
    W = part.values["W"]
    pull = np.abs(part.values.get("grad_W", W * part.x))[shown].sum(axis=0)
    inputs = np.sort(np.argsort(-pull, kind="stable")[:INPUTS])
    names = made.inputs if previous is None else previous.names
    heads = [_short(names[i], 16) if i < len(names) else f"x{_low(i + 1)}" for i in inputs.tolist()]
    tables = []
    for key, title in (("W", "W"), ("grad_W", "∂L/∂W = δ xᵀ"), ("new_W", "new W")):
        if key not in part.values:
            continue
        some = part.values[key][np.ix_(shown, inputs)]
        most = max(float(np.abs(some).max(initial=0.0)), 1e-300)
        rows = [
            (str(j + 1), [{"text": number(v), "share": round(100 * abs(v) / most), "up": v >= 0} for v in row])
            for j, row in zip(shown.tolist(), some.tolist())
        ]
        tables.append({"title": title, "rows": rows})
    return {
        "heads": heads,
        "x": [number(part.x[i]) for i in inputs.tolist()],
        "tables": tables,
        "sizes": f"{len(shown)} of {W.shape[0]:,} neurons, {len(inputs)} of {W.shape[1]:,} inputs",
    }


def _drawing(made: scoring_trace.Trace) -> dict[str, Any]:
    """Places of neurons and of the strongest weights between them; `up` tells the sign."""
    dense = [p for p in made.parts if "W" in p.values]
    if not dense or len(dense) > 8:
        return {}
    columns: list[dict[str, Any]] = []
    first = dense[0]
    order = np.argsort(-np.abs(first.x), kind="stable")[:DRAWN]
    names = made.inputs if first.number == 1 else []
    columns.append({"values": first.x, "shown": np.sort(order), "names": names, "title": "input"})
    for part in dense:
        title = part.title.rpartition(", ")[2]
        columns.append({"values": part.values["a"], "shown": chosen(part, DRAWN), "names": part.names, "title": title})
    height, gap = 34, 190
    rows = max(len(c["shown"]) for c in columns)
    nodes, lines = [], []
    at: list[dict[int, tuple[float, float]]] = []
    for k, column in enumerate(columns):
        shown, values = column["shown"].tolist(), column["values"]
        top = (rows - len(shown)) * height / 2
        most = max(float(np.abs(values).max(initial=0.0)), 1e-300)
        at.append({})
        for i, j in enumerate(shown):
            x, y = 150 + k * gap, 46 + top + i * height
            at[-1][j] = (x, y)
            label = _short(column["names"][j], 20) if j < len(column["names"]) else ""
            nodes.append({"x": x, "y": y, "share": round(100 * abs(float(values[j])) / most), "up": values[j] >= 0,
                          "label": label, "value": number(values[j]), "end": k == len(columns) - 1,
                          "start": k == 0})  # fmt: skip
    for k, part in enumerate(dense, start=1):
        if part.x.size != columns[k - 1]["values"].size:  # other layers lie between
            continue
        flow = part.values["W"] * part.x
        pairs = [(abs(flow[j, i]), j, i) for j in at[k] for i in at[k - 1]]
        most = max((p[0] for p in pairs), default=0.0) or 1.0
        for size, j, i in sorted(pairs, reverse=True)[:48]:
            (x1, y1), (x2, y2) = at[k - 1][i], at[k][j]
            lines.append({"x1": x1 + 9, "y1": y1, "x2": x2 - 9, "y2": y2, "up": flow[j, i] >= 0,
                          "opacity": round(0.08 + 0.72 * float(size / most), 3),
                          "width": round(0.6 + 2.4 * float(size / most), 2)})  # fmt: skip
    heads = []
    for k, column in enumerate(columns):
        some, all_ = len(column["shown"]), len(column["values"])
        text = f"{some} of {all_:,}" if some < all_ else str(all_)
        heads.append({"x": 150 + k * gap, "title": column["title"], "text": text})
    return {"nodes": nodes, "lines": lines, "heads": heads, "width": 150 + gap * (len(columns) - 1) + 170,
            "height": 46 + rows * height + 14}  # fmt: skip
