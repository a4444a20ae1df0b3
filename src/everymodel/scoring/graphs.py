"""Nodes that a model's graph did not have: a table of them and one of edges become a graph that it answers.

Edges may lead to nodes of the model's own graph, named by their ids; the new nodes then join it. Else the tables are a
graph by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, SchemaError
from everymodel.core.graph import Graph, Rows, dense
from everymodel.core.schema import PIXEL_TASKS
from everymodel.scoring import cells, table
from everymodel.scoring.layers.graph import Signal
from everymodel.scoring.steps.graph_nodes import GraphNodes, NewNodes, rows_of

if TYPE_CHECKING:
    from everymodel.scoring.model import Model


def reader(model: Model) -> GraphNodes | None:
    """The step that reads new nodes; None where the model does not."""
    last = None if model.task in PIXEL_TASKS else model.pack.nodes[-1].step
    return last if isinstance(last, GraphNodes) and last.prepare is not None else None


def new_nodes(
    model: Model,
    nodes: Any,
    edges: Any,
    *,
    missing_columns: str = "error",
    unseen: str | None = None,
    files: bool = True,
) -> tuple[NewNodes, list[dict[str, Any]]]:
    """Nodes and their edges as something that the model's pack answers, and notes on what was repaired.

    Parameters
    ----------
    nodes : a row for each node: the column of ids, and those that the model learnt from; as in `Model.predict`.
    edges : a table with a row for each edge, or pairs of ids. Its columns are called as at the fit, or come first.

    Raises
    ------
    CapabilityError
        for a model that knows the nodes of its own graph alone; SchemaError for tables that do not fit.
    """
    step = reader(model)
    if step is None:
        raise CapabilityError(
            "This model knows the nodes of its own graph alone, so it takes no edges. Models of new nodes are graph "
            'networks of nodes with features: em.fit(edges, nodes=..., models=["graph_sage"]).'
        )
    assert step.asked is not None
    known = model.schema.features[0]
    if isinstance(nodes, np.ndarray):
        raise DataError(
            "New nodes came as an array; give a table, a list of dicts or a dict of columns, with their ids."
        )
    ids = cells.as_text(_column(nodes, known.name))
    if len(set(ids.tolist())) < len(ids) or "" in ids.tolist():
        raise DataError(
            f"Nodes without an id, or with the same one, came in {known.name!r}. Each needs one of its own."
        )
    batch, notes = table.parse(step.asked, nodes, missing_columns=missing_columns, unseen=unseen, files=files)
    x = step.described(batch)
    source, target, weights = _ends(edges, model.manifest.get("graph"))
    own = {word: i for i, word in enumerate(known.levels)}
    there = set(ids.tolist())
    if any(word in own and word not in there for word in {*source.tolist(), *target.tolist()}):
        graph, x = _joined(step, own, ids, x, source, target, weights)
    else:
        graph = Graph((_named(source), _named(target)), nodes=ids, weights=weights)
    notes += [
        {"row": None, "field": "edges", "came": f.message, "allowed": "edges between nodes that are there",
         "action": "left out"}
        for f in graph.findings if f.severity == "warning"
    ]  # fmt: skip
    return NewNodes(Signal(x, graph.adjacency), graph.places(ids)), notes


def _joined(
    step: GraphNodes, own: dict[str, int], ids: np.ndarray, x: Any, source: Any, target: Any, weights: Any
) -> tuple[Graph, Any]:
    """The model's graph with these nodes and edges, and the features of all; what it had already is taken anew."""
    n, held = step.nodes, step.__dict__
    adjacency = rows_of("edges", held, (n, n))
    given = [np.array([own.get(word, -1) for word in side.tolist()], dtype=np.int64) for side in (source, target)]
    again = np.minimum(*given) * n + np.maximum(*given)
    half = (adjacency.row < adjacency.columns) & ~np.isin(adjacency.row * n + adjacency.columns, again)
    words = np.array([*own, *(word for word in ids.tolist() if word not in own)], dtype=object)
    ends = [np.concatenate([words[side[half]], some]) for side, some in
            ((adjacency.row, _named(source)), (adjacency.columns, _named(target)))]  # fmt: skip
    heavy = np.ones(len(source)) if weights is None else weights
    graph = Graph((ends[0], ends[1]), nodes=words, weights=np.concatenate([adjacency.values[half], heavy]))
    place = np.arange(len(words))
    place[graph.places(ids)] = n + np.arange(len(ids))
    if step.features is not None:
        return graph, np.vstack([step.features, dense(x)])[place]
    known, more = rows_of("features", held, (n, step.width)), x if isinstance(x, Rows) else _compressed(x)
    both = Rows(
        np.concatenate([known.values, more.values]),
        np.concatenate([known.columns, more.columns]),
        np.concatenate([known.starts, known.starts[-1] + more.starts[1:]]),
        (n + len(ids), step.width),
    )
    return graph, both.take(place)


def _compressed(x: np.ndarray) -> Rows:
    row, column = np.nonzero(x)
    return Rows.of(row, column, x[row, column], (x.shape[0], x.shape[1]))


def _named(words: np.ndarray) -> np.ndarray:
    """Ids with None where there is none."""
    return np.where(words == "", None, words)


def _ends(edges: Any, told: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Sources and targets of edges as text, and their weights."""
    told = told if isinstance(told, dict) else {}
    if isinstance(edges, list | tuple | np.ndarray) and not (len(edges) and isinstance(edges[0], Mapping)):
        pairs = [list(edge) if isinstance(edge, list | tuple | np.ndarray) else [] for edge in edges]
        if any(len(pair) not in (2, 3) for pair in pairs) or len({len(pair) for pair in pairs}) > 1:
            raise DataError("Edges came that are no pairs; expected [source, target] of each (or with a weight).")
        source, target = (cells.as_text([pair[i] for pair in pairs]) for i in (0, 1))
        return _kept(source, target, [pair[2] for pair in pairs] if pairs and len(pairs[0]) == 3 else None)
    names = _names(edges)
    ends = [name for name in told.get("ends") or [] if name in names]
    ends = ends if len(ends) == 2 else names[:2]
    if len(ends) < 2:
        raise DataError(f"The table of edges has the columns {names}; two are needed, source and target of each.")
    source, target = (cells.as_text(_column(edges, name)) for name in ends)
    weight = told.get("weight")
    return _kept(source, target, _column(edges, weight) if weight in names else None)


def _kept(source: np.ndarray, target: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Edges with a weight above zero, as at the fit."""
    if weights is None:
        return source, target, None
    numbers, _ = cells.to_numbers(weights)
    keep = np.isfinite(numbers) & (numbers > 0)
    return source[keep], target[keep], numbers[keep]


def _names(data: Any) -> list[str]:
    kind = table.form(data)
    if kind == "rows":
        return [str(name) for name in data[0]] if data else []
    names = data.column_names if kind == "arrow" else data if kind in ("row", "columns") else data.columns
    return [str(name) for name in names]


def _column(data: Any, name: Any) -> Any:
    """One column's cells of a table in any form."""
    kind = table.form(data)
    if kind == "rows" and all(isinstance(row, Mapping) and name in row for row in data):
        return [row[name] for row in data]
    if kind in ("row", "series") and name in data:
        return [data[name]]
    if kind in ("columns", "pandas") and name in data:
        return data[name]
    if kind == "polars" and name in data.columns:
        return data.get_column(name).to_list()
    if kind == "arrow" and name in data.column_names:
        return data.column(name).to_pylist()
    wrong = {"row": None, "field": str(name), "came": "no such column", "allowed": "an id"}
    raise SchemaError(f"The rows lack the column {name!r}, which names the nodes.", [wrong])
