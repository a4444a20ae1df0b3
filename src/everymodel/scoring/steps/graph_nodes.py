"""Nodes of a graph by their ids: the graph lies in the file, and what is known of a node is looked up or computed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from everymodel.core.graph import Rows, dense
from everymodel.core.schema import Schema
from everymodel.scoring.graph import Pack
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.graph import Signal
from everymodel.scoring.steps.base import Batch, Sparse, need, step
from everymodel.scoring.steps.combine import _Gives
from everymodel.scoring.steps.network import Network

COLUMN = "node"


def places(batch: Any, column: str, n: int) -> np.ndarray:
    """Numbers of nodes, n for those that are not there; of a batch, from the codes of its column of ids."""
    at = np.asarray(batch.columns[column] if isinstance(batch, Batch) else batch).astype(np.int64)
    return np.where((at >= 0) & (at < n), at, n)


class NewNodes(Batch):
    """Nodes `rows` (n,) of a graph that is not the one in the file; `columns` hold nothing."""

    __slots__ = ("rows", "signal")

    def __init__(self, signal: Signal, rows: np.ndarray):
        super().__init__({}, len(rows))
        self.signal, self.rows = signal, rows


def rows_of(prefix: str, arrays: dict[str, np.ndarray | None], shape: tuple[int, int]) -> Rows:
    """A matrix in compressed rows from three arrays of a file, with validation."""
    values, columns, starts = (arrays[f"{prefix}_{part}"] for part in ("values", "columns", "starts"))
    whole = all(isinstance(a, np.ndarray) and a.ndim == 1 for a in (values, columns, starts))
    need(whole, "a matrix in compressed rows is damaged")
    assert values is not None and columns is not None and starts is not None
    need(columns.dtype.kind in "iu" and starts.dtype.kind in "iu", "a matrix in compressed rows is damaged")
    fits = len(starts) == shape[0] + 1 and starts[0] == 0 and starts[-1] == len(columns) == len(values)
    need(bool(fits) and bool((np.diff(starts.astype(np.int64)) >= 0).all()), "compressed rows overlap")
    inside = not len(columns) or (int(columns.min()) >= 0 and int(columns.max()) < shape[1])
    need(inside, "compressed rows lead outside of their matrix")
    need(values.dtype.kind == "f" and bool(np.isfinite(values).all()), "compressed rows hold no finite numbers")
    return Rows(values, columns, starts, shape)


@step("node_answers", output="value")
class NodeAnswers(_Gives):
    """Answers (n + 1, ...) for each node, found once and for all; the last is for nodes that are not there.

    gives : "probabilities" or "value". column : of the batch, holds the ids.
    """

    rows: np.ndarray
    gives: str = "value"
    column: str = COLUMN

    def __call__(self, batch: Any) -> np.ndarray:
        return self.rows[places(batch, self.column, len(self.rows) - 1)].astype(np.float64)

    def check(self) -> None:
        kind = {"probabilities": (2,), "value": (1, 2)}.get(self.gives, ())
        need(self.rows.ndim in kind and len(self.rows) > 1, "answers of nodes have a wrong shape")
        need(self.rows.dtype.kind == "f" and bool(np.isfinite(self.rows).all()), "answers of nodes are damaged")
        if self.gives == "probabilities":
            need(bool(np.allclose(self.rows.sum(axis=1), 1, atol=1e-6)), "answers of nodes are no probabilities")
        need(isinstance(self.column, str), "the column of nodes has no name")


@step("graph_nodes", output="value")
class GraphNodes(Network):
    """A graph network and its graph: the answer for nodes by number; a node that is not there counts as one without
    edges, whose features are those of the mean node.

    edges_values, edges_columns, edges_starts : the adjacency (n, n) without self-loops.
    features : (n, p), or in compressed rows features_values, features_columns, features_starts with `width` columns;
        none of these where each node is a feature of its own.
    asked, prepare : what is asked of a node that is not in the file's graph, and how it becomes features; None for
        graphs whose nodes have no features, or where nobody kept that.
    """

    holds_rows = True
    column: str = COLUMN
    nodes: int = 0
    width: int = 0
    edges_values: np.ndarray | None = None
    edges_columns: np.ndarray | None = None
    edges_starts: np.ndarray | None = None
    features: np.ndarray | None = None
    features_values: np.ndarray | None = None
    features_columns: np.ndarray | None = None
    features_starts: np.ndarray | None = None
    asked: Schema | None = None
    prepare: Pack | None = None

    @classmethod
    def of(cls, network: Layer, features: Any, adjacency: Rows, column: str = COLUMN, **settings: Any) -> GraphNodes:
        arrays: dict[str, Any] = _arrays("edges", adjacency)
        width = 0
        if isinstance(features, Rows):
            arrays |= _arrays("features", Rows(np.nan_to_num(features.values), features.columns, features.starts,
                                               features.shape))  # fmt: skip
            width = features.shape[1]
        elif features is not None:
            filled = features
            if np.isnan(features).any():  # a file holds finite numbers: the network's own filling is done before
                filled = network.layers[0](features)  # type: ignore[attr-defined]
            arrays["features"], width = np.ascontiguousarray(filled), features.shape[1]
        return cls(network, precision="float64", column=column, nodes=len(adjacency), width=width, **arrays, **settings)

    def __call__(self, x: Any) -> np.ndarray:
        if isinstance(x, Signal):  # another graph
            return super().__call__(x)
        if isinstance(x, NewNodes):
            return super().__call__(x.signal)[x.rows]
        return self.known()[places(x, self.column, self.nodes)]

    def known(self) -> np.ndarray:
        """(n + 1, ...) answers for every node, and for one that is not there; made once."""
        made = self.__dict__.get("_known")
        if made is None:
            x, adjacency = self._matrices()
            made = self.answered(np.asarray(self.root()(Signal(x, adjacency)), dtype=np.float64))
            object.__setattr__(self, "_known", made)
        return made

    def _matrices(self) -> tuple[Any, Rows]:
        """Features and adjacency with one more node, which has no edges."""
        n, held = self.nodes, self.__dict__
        edges = rows_of("edges", held, (n, n))
        adjacency = Rows(edges.values, edges.columns, np.append(edges.starts, edges.starts[-1]), (n + 1, n + 1))
        if self.features is not None:
            x: Any = np.vstack([self.features, self.features.mean(axis=0)])
        elif self.features_values is not None:
            known = rows_of("features", held, (n, self.width))
            x = Rows(known.values, known.columns, np.append(known.starts, known.starts[-1]), (n + 1, self.width))
        else:
            x = Rows(np.ones(n), np.arange(n), np.append(np.arange(n + 1), n), (n + 1, n))
        return x, adjacency

    def reading(self, asked: Schema, prepare: Pack) -> GraphNodes:
        """This step, able to read nodes that are not in its graph."""
        made = replace(self, asked=replace(asked, task=None, classes=()), prepare=prepare)
        made.check()
        return made

    def described(self, batch: Batch) -> Any:
        """Features (n, width) of nodes that `asked` has read, as an array or Rows."""
        need(self.prepare is not None, "nothing says how nodes become features")
        assert self.prepare is not None
        x = self.prepare(batch)
        return Rows(x.data, x.indices, x.indptr, x.shape) if isinstance(x, Sparse) else x

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = super().spec()
        settings |= {"column": self.column, "nodes": self.nodes, "width": self.width}
        if self.asked is not None and self.prepare is not None:
            told, own = self.prepare.spec()
            settings |= {"asked": self.asked.to_dict(), "prepare": told}
            # Names of nodes may hold dots, names of a step's arrays may not: nodes go by their numbers.
            number = {node.name: i for i, node in enumerate(self.prepare.nodes)}
            split = {key: key.rpartition(".") for key in own}
            arrays |= {f"{_PREPARE}{number[split[k][0]]}:{split[k][2]}": array for k, array in own.items()}
        return settings, arrays | {k: v for k, v in self.__dict__.items() if k in _ARRAYS and v is not None}

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> GraphNodes:
        settings, arrays = dict(settings), dict(arrays)
        own: dict[str, Any] = {k: settings.pop(k) for k in ("column", "nodes", "width") if k in settings}
        own |= {k: arrays.pop(k) for k in _ARRAYS if k in arrays}
        if "prepare" in settings:
            told = settings.pop("prepare")
            inner = {k.removeprefix(_PREPARE): arrays.pop(k) for k in list(arrays) if k.startswith(_PREPARE)}
            split = {k: k.partition(":") for k in inner}
            named = {f"{told['nodes'][int(split[k][0])]['name']}.{split[k][2]}": array for k, array in inner.items()}
            own |= {"asked": Schema.from_dict(settings.pop("asked", None)), "prepare": Pack.build(told, named)}
        plain = Network.build(settings, arrays)
        made = cls(**{f.name: getattr(plain, f.name) for f in fields(plain)}, **own)  # type: ignore[arg-type]
        made.check()
        return made

    def check(self) -> None:
        Network.check(self)
        counts = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in (self.nodes, self.width))
        need(counts and self.nodes > 0 and isinstance(self.column, str), "the nodes of a graph are described wrongly")
        rows_of("edges", self.__dict__, (self.nodes, self.nodes))
        if self.features is not None:
            good = self.features.shape == (self.nodes, self.width) and self.features.dtype.kind == "f"
            need(good and bool(np.isfinite(self.features).all()), "features of nodes are damaged")
        if self.features_values is not None:
            rows_of("features", self.__dict__, (self.nodes, self.width))
        if self.prepare is not None:
            from everymodel.scoring.probe import batch

            need(self.asked is not None and self.width > 0, "new nodes are described wrongly")
            assert self.asked is not None
            few = self.described(batch(self.asked, 3))
            good = isinstance(few, np.ndarray | Rows) and few.shape == (3, self.width)
            need(good and bool(np.isfinite(dense(few)).all()), "features of new nodes do not fit the network")


_PREPARE = "prepare:"
_PARTS = ("values", "columns", "starts")
_ARRAYS = ("features", *(f"{prefix}_{part}" for prefix in ("edges", "features") for part in _PARTS))


def _arrays(prefix: str, rows: Rows) -> dict[str, np.ndarray]:
    kind = np.int32 if max(len(rows.columns), rows.shape[1]) < 2**31 else np.int64
    return {
        f"{prefix}_values": rows.values,
        f"{prefix}_columns": rows.columns.astype(kind),
        f"{prefix}_starts": rows.starts.astype(kind),
    }
