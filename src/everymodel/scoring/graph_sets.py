"""Models that answer whole graphs: a table of nodes, which says the graph of each, and one of edges.

    model = load("molecules.em")
    model.predict(atoms, edges=bonds)      # one answer for each molecule

Needs numpy alone.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ModelFileError
from everymodel.core.finding import Finding
from everymodel.core.graph import Graph, Rows, dense, joined
from everymodel.scoring import cells, table
from everymodel.scoring.graphs import _column, _ends, _named, _names
from everymodel.scoring.model import Model, _like, _like_frame
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.graph_sets import GraphSet, GraphSetNetwork, GraphSetTable

_BETWEEN = "\x1f"  # a graph and a node of it, where ids of nodes are their own in each graph


def answers_graphs(pack: Any) -> bool:
    """Whether a pack answers whole graphs."""
    return any(isinstance(node.step, GraphSetNetwork | GraphSetTable) for node in pack.nodes)


class GraphSetModel(Model):
    """Gives one answer for each graph; made by `em.fit` with `graph=`, by `em.wrap`, or `load`."""

    @property
    def told(self) -> dict[str, Any]:
        """How tables of graphs look: "graph" and "node" (columns of the nodes), "ends" and "weight" (of the edges),
        "within" (ids of nodes are their own in each graph), "directed"."""
        return self.manifest["graphs"]

    def check(self) -> None:
        """Raise ModelFileError unless the file says how tables of graphs look."""
        told = self.manifest.get("graphs")
        if not isinstance(told, dict) or not all(isinstance(told.get(k), str) for k in ("graph", "node")):
            raise ModelFileError("The file is damaged: it does not say how tables of graphs look.")

    def read(
        self,
        data: Any,
        *,
        edges: Any = None,
        missing_columns: str = "error",
        unseen: str | None = None,
        files: bool = True,
    ) -> tuple[Batch, list[dict[str, Any]]]:
        """Graphs, in the order in which they first come, and notes on what was repaired.

        Parameters
        ----------
        data : a row for each node, with its graph and its id; or a Graph, or a list of these.
        edges : a table with a row for each edge, or pairs of ids; [] for graphs without any.

        Raises
        ------
        CapabilityError
            where no edges came; SchemaError and DataError for tables that do not fit.
        """
        graphs = [data] if isinstance(data, Graph) else data
        if isinstance(graphs, list | tuple) and graphs and all(isinstance(g, Graph) for g in graphs):
            return self._given(list(graphs)), []
        told = self.told
        if edges is None:
            raise CapabilityError(
                f"This model answers whole graphs: rows are nodes ({told['graph']!r} says of which graph), so give "
                "their edges too, edges=... (--edges), or [] where there are none."
            )
        if isinstance(data, np.ndarray):
            raise DataError("Nodes came as an array; give a table, with their ids and their graphs.")
        if isinstance(data, Mapping) and table.form(data) == "row":
            data = [data]
        batch, notes = table.parse(self.schema, data, missing_columns=missing_columns, unseen=unseen, files=files)
        order, adjacency, sizes, names, found = gathered(told, data, edges)
        notes += [
            {"row": None, "field": "edges", "came": f.message, "allowed": "edges between nodes of one graph",
             "action": "left out"}
            for f in found if f.severity == "warning"
        ]  # fmt: skip
        return GraphSet({k: v[order] for k, v in batch.columns.items()}, adjacency, sizes, names), notes

    def _given(self, graphs: list[Graph]) -> GraphSet:
        """Graphs with numbers of nodes."""
        features = self.schema.features
        if any(c.kind != "number" for c in features):
            raise DataError("This model learnt from columns that are no numbers; give tables of nodes and edges.")
        if any(g.directed != bool(self.told.get("directed")) for g in graphs):
            raise DataError(
                f"Graphs came that are{'' if graphs[0].directed else ' not'} directed, unlike those learnt."
            )
        adjacency, x, sizes = joined(graphs)
        width = 0 if x is None else x.shape[1]
        if width != len(features):
            raise DataError(f"Nodes have {width} features, and {len(features)} were learnt from.")
        columns = {} if x is None else {c.name: v for c, v in zip(features, dense(x).T, strict=True)}
        return GraphSet(columns, adjacency, sizes, range(len(graphs)))

    def answers(self, batch: Batch) -> np.ndarray:
        """The raw answer for each graph: (g,) or (g, t) values, or (g, k) probabilities."""
        return self.pack(batch)

    def predict(
        self, data: Any, *, edges: Any = None, missing_columns: str = "error", unseen: str | None = None
    ) -> Any:
        """One answer for each graph, in the order in which they first come.

        Parameters are those of `read`. A frame gives a Series whose index are the graphs, a list a list, a single Graph
        one answer, all else an array.
        """
        batch = self._batch(data, missing_columns, unseen, edges)
        return self._like(data, batch, self.decide(self.answers(batch)), self.targets)

    def _predict_proba(
        self, data: Any, *, edges: Any = None, missing_columns: str = "error", unseen: str | None = None
    ) -> Any:
        batch = self._batch(data, missing_columns, unseen, edges)
        return self._like(data, batch, self.answers(batch), list(self.classes) or self.targets, True)

    def _predict_interval(
        self,
        data: Any,
        level: float = 0.9,
        *,
        edges: Any = None,
        missing_columns: str = "error",
        unseen: str | None = None,
    ) -> Any:
        batch = self._batch(data, missing_columns, unseen, edges)
        low, high = self.interval(self.answers(batch), level)
        return self._like(data, batch, np.column_stack([low, high]), ["low", "high"], True)

    def _like(self, data: Any, batch: GraphSet, values: np.ndarray, names: list[Any], wide: bool = False) -> Any:
        if hasattr(data, "iloc"):
            pandas = sys.modules["pandas"]
            index = pandas.Index(batch.names, name=self.told["graph"])
            if wide or values.ndim == 2:
                return pandas.DataFrame(values, index=index, columns=names)
            return pandas.Series(values, index=index, name=names[0])
        if isinstance(data, Graph):
            return dict(zip(names, values[0].tolist(), strict=True)) if wide else values[0]
        form: Any = [{}] * len(values) if isinstance(data, list | tuple) else data
        if isinstance(data, Mapping):
            form = values  # columns of nodes say nothing of the form of graphs
        return _like_frame(form, values, names) if wide else _like(form, values, names)

    def explain(self, data: Any, top: int | None = None, **ignored: Any) -> list[dict[str, Any]]:
        raise CapabilityError("Answers about whole graphs are not explained.")

    def _batch(self, data: Any, missing_columns: str, unseen: str | None, edges: Any = None) -> GraphSet:
        batch, notes = self.read(data, edges=edges, missing_columns=missing_columns, unseen=unseen)
        if notes:
            more = f" (and {len(notes) - 1} more such notes)" if len(notes) > 1 else ""
            told = f"{notes[0]['field']}: {notes[0]['came']!r} {notes[0]['action']}{more}. Use model.read to see all."
            warnings.warn(told, table.SchemaWarning, stacklevel=3)
        assert isinstance(batch, GraphSet)
        return batch


def gathered(
    told: Mapping[str, Any], nodes: Any, edges: Any
) -> tuple[np.ndarray, Rows, np.ndarray, list[str], list[Finding]]:
    """(order of the nodes in which each graph's are together, adjacency in that order, nodes of each graph, names of
    the graphs, findings) of two tables. `told` says which columns hold what, see `GraphSetModel.told`.

    Raises
    ------
    DataError
        for nodes without a graph or an id, or with the same one; SchemaError for columns that are not there.
    """
    groups = cells.as_text(_column(nodes, told["graph"]))
    ids = cells.as_text(_column(nodes, told["node"]))
    if (groups == "").any() or (ids == "").any():
        raise DataError(
            f"{int(((groups == '') | (ids == '')).sum())} nodes have no graph ({told['graph']!r}) or no id "
            f"({told['node']!r}). Each needs both."
        )
    names = list(dict.fromkeys(groups.tolist()))
    code = {name: i for i, name in enumerate(names)}
    member = np.array([code[name] for name in groups.tolist()], dtype=np.int64)
    source, target, weights = _ends(edges, told)
    if told.get("within"):
        ids = within(groups, ids)
        where = _where(edges, told, names, len(source))
        source, target = (np.where(side == "", "", within(where, side)) for side in (source, target))
    if len(set(ids.tolist())) < len(ids):
        raise DataError(f"Nodes with the same id came in {told['node']!r}. Each needs one of its own.")
    graph = Graph((_named(source), _named(target)), nodes=ids, weights=weights, directed=bool(told.get("directed")))
    found, adjacency = list(graph.findings), graph.adjacency
    row = adjacency.row
    between = member[row] != member[adjacency.columns]
    if between.any():
        lost = int(between.sum()) // (1 if graph.directed else 2)
        found.append(
            Finding(
                "edges-between-graphs",
                "warning",
                f"{lost:,} edges lead from one graph to another.",
                f"They are left out. Graphs are told apart by {told['graph']!r}.",
                data={"count": lost},
            )
        )
    order = np.argsort(member, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    keep = ~between
    made = Rows.of(place[row[keep]], place[adjacency.columns[keep]], adjacency.values[keep], adjacency.shape)
    return order, made, np.bincount(member, minlength=len(names)), names, found


def within(groups: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Ids that are unique among all graphs, from those that are in their own."""
    return np.array([g + _BETWEEN + i for g, i in zip(groups.tolist(), ids.tolist(), strict=True)], dtype=object)


def _where(edges: Any, told: Mapping[str, Any], names: list[str], n: int) -> np.ndarray:
    """The graph of each edge, where ids of nodes do not say it."""
    paired = isinstance(edges, list | tuple | np.ndarray) and not (len(edges) and isinstance(edges[0], Mapping))
    if not paired and told["graph"] in _names(edges):
        where = cells.as_text(_column(edges, told["graph"]))
        if told.get("weight") in _names(edges):  # edges without a weight are left out, as among the ends
            numbers, _ = cells.to_numbers(_column(edges, told["weight"]))
            where = where[np.isfinite(numbers) & (numbers > 0)]
        return where
    if len(names) > 1 and n:
        raise DataError(
            f"Ids of nodes are their own in each graph, so edges of several graphs need the column {told['graph']!r}."
        )
    return np.full(n, names[0], dtype=object)
