"""Whole graphs: the nodes of several of them, a network that answers each, and each as one row of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from everymodel.core.graph import Rows
from everymodel.scoring.layers.graph import Signal
from everymodel.scoring.steps.base import Batch, Sparse, Step, need, step
from everymodel.scoring.steps.network import Network

SHAPE = ("nodes", "edges", "edges of a node", "parts", "rings", "triangles", "most edges of a node")
SHARES = (0, 1, 2, 3, 4)  # edges of a node, whose share of all nodes is told; and of more
_BLOCK = 1 << 22  # pairs of neighbours that are looked at together


class GraphSet(Batch):
    """Nodes of graphs that lie one after the other: `columns` has a cell for each node.

    adjacency : Rows (n, n) without self-loops, and without edges from one graph to another.
    sizes : (g,) nodes of each graph. names : what the graphs are called, (g,).
    """

    __slots__ = ("adjacency", "names", "sizes")

    def __init__(self, columns: dict[str, np.ndarray], adjacency: Rows, sizes: np.ndarray, names: Sequence[Any]):
        super().__init__(columns, int(sizes.sum()))
        self.adjacency, self.sizes, self.names = adjacency, sizes, list(names)


def signal_of(batch: Batch, x: Any = None, degrees: bool = False) -> Signal:
    """The nodes of a batch with their numbers x (n, p) and, where asked, the logarithm of their number of edges.

    Rows that come without edges (as those do by which a file is checked) are graphs of their own: each is a pair of
    nodes that are alike and hear each other.
    """
    x = np.zeros((batch.n, 0)) if x is None else x.toarray() if isinstance(x, Sparse) else np.asarray(x, dtype=float)
    if isinstance(batch, GraphSet):
        adjacency, sizes = batch.adjacency, batch.sizes
    else:
        x, both = np.repeat(x, 2, axis=0), np.arange(2 * batch.n)
        adjacency = Rows(np.ones(2 * batch.n), both ^ 1, np.append(both, 2 * batch.n), (2 * batch.n, 2 * batch.n))
        sizes = np.full(batch.n, 2)
    if degrees:
        x = np.column_stack([x, np.log1p(np.diff(adjacency.starts))])
    return Signal(x, adjacency, sizes)


@step("graph_set_network", output="value")
class GraphSetNetwork(Network):
    """Graphs, and numbers (n, p) of their nodes -> an answer for each graph.

    degrees : whether the network also gets how many edges each node has.
    """

    degrees: bool = False

    def __call__(self, batch: Any, x: Any = None) -> np.ndarray:
        return super().__call__(batch if isinstance(batch, Signal) else signal_of(batch, x, self.degrees))

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = super().spec()
        return settings | {"degrees": self.degrees}, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> GraphSetNetwork:
        settings = dict(settings)
        degrees = settings.pop("degrees", False)
        plain = Network.build(settings, arrays)
        made = cls(**{f.name: getattr(plain, f.name) for f in fields(plain)}, degrees=degrees)  # type: ignore[arg-type]
        made.check()
        return made

    def check(self) -> None:
        Network.check(self)
        need(isinstance(self.degrees, bool), "a network of graphs is described wrongly")


@step("graph_set_table")
class GraphSetTable(Step):
    """Graphs, and numbers (n, p) of their nodes -> a Batch with a row for each graph.

    columns : names of what is told: first SHAPE and the shares of nodes by their edges, then for each number of the
        nodes its mean, sum and spread, then (with `pairs`) for each two numbers the mean of their product over edges.
    """

    columns: tuple[str, ...]
    width: int = 0
    pairs: bool = False

    def __call__(self, batch: Batch, x: Any = None) -> Batch:
        signal = signal_of(batch, x)
        need(signal.x.shape[1] == self.width, "numbers of nodes do not fit the table of graphs")
        told = described(signal, self.pairs)
        return Batch(dict(zip(self.columns, told.T, strict=True)), len(told))

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        columns = settings.get("columns")
        return super().build({**settings, "columns": tuple(columns) if isinstance(columns, list) else ()}, arrays)

    def check(self) -> None:
        whole = type(self.width) is int and self.width >= 0 and isinstance(self.pairs, bool)
        words = isinstance(self.columns, tuple) and all(isinstance(c, str) for c in self.columns)
        need(whole and words and len(set(self.columns)) == len(self.columns), "a table of graphs is described wrongly")
        need(len(self.columns) == _count(self.width, self.pairs), "a table of graphs has a wrong number of columns")


def _count(width: int, pairs: bool) -> int:
    return len(SHAPE) + len(SHARES) + 1 + 3 * width + (width * (width + 1) // 2 if pairs else 0)


def titles(names: Sequence[str], pairs: bool) -> tuple[str, ...]:
    """What the columns of `described` are called, for numbers of nodes with these names."""
    made = [*SHAPE, *(f"share of nodes with {k} edges" for k in SHARES), f"share of nodes with over {SHARES[-1]} edges"]
    for word in ("mean", "sum", "spread"):
        made += [f"{word} of {name}" for name in names]
    if pairs:
        made += [f"{a} beside {b}" for i, a in enumerate(names) for b in names[i:]]
    return tuple(made)


def described(signal: Signal, pairs: bool = False) -> np.ndarray:
    """Each graph in numbers (g, ...), in the order of `titles`."""
    adjacency, x = signal.adjacency, signal.x
    sizes = np.array([len(signal)]) if signal.sizes is None else signal.sizes
    g, n = len(sizes), len(signal)
    member, starts = np.repeat(np.arange(g), sizes), np.cumsum(sizes) - sizes
    row, column = adjacency.row, adjacency.columns
    low, high = np.minimum(row, column), np.maximum(row, column)
    key = np.unique(low * np.int64(n) + high)  # of a directed graph too, two nodes are joined once
    low, high = key // n, key % n
    degree = np.bincount(low, minlength=n) + np.bincount(high, minlength=n)
    edges = np.bincount(member[low], minlength=g).astype(float)
    parts = np.bincount(member[np.unique(_parts(low, high, n))], minlength=g)
    corners = np.bincount(member[_triangles(low, high, degree, n)], minlength=g)
    made = [
        *(sizes, edges, 2 * edges / sizes, parts, edges - sizes + parts, corners),
        np.maximum.reduceat(degree, starts),
    ]
    kinds = np.minimum(degree, SHARES[-1] + 1)
    made += [np.bincount(member[kinds == k], minlength=g) / sizes for k in range(SHARES[-1] + 2)]
    total = np.add.reduceat(x, starts, axis=0)
    mean = total / sizes[:, None]
    spread = np.sqrt(np.add.reduceat((x - mean[member]) ** 2, starts, axis=0) / sizes[:, None])
    blocks = [np.column_stack(made), mean, total, spread]
    if pairs:
        first, second = np.triu_indices(x.shape[1])
        beside = (x[low][:, first] * x[high][:, second] + x[low][:, second] * x[high][:, first]) / 2
        both = np.zeros((g, len(first)))
        np.add.at(both, member[low], beside)
        blocks.append(both / np.maximum(edges, 1)[:, None])
    return np.concatenate(blocks, axis=1)


def _parts(low: np.ndarray, high: np.ndarray, n: int) -> np.ndarray:
    """(n,) the smallest node that each node is joined to, over any number of edges."""
    part = np.arange(n)
    while True:
        least = np.minimum(part[low], part[high])
        before = part.copy()
        np.minimum.at(part, part[low], least)
        np.minimum.at(part, part[high], least)
        part = part[part]
        if np.array_equal(part, before):
            return part


def _triangles(low: np.ndarray, high: np.ndarray, degree: np.ndarray, n: int) -> np.ndarray:
    """One corner of each triangle (t,), of edges low < high (m,) that come once each."""
    if not len(low):
        return np.zeros(0, dtype=np.int64)
    # Edges lead to the node with more edges, so that no node has many that start there: m ** 1.5 pairs at most.
    up = (degree[low] < degree[high]) | ((degree[low] == degree[high]) & (low < high))
    row, column = np.where(up, low, high), np.where(up, high, low)
    order = np.argsort(row * np.int64(n) + column)
    row, column = row[order], column[order]
    key, ends = row * np.int64(n) + column, np.searchsorted(row, np.arange(n + 1))
    more = ends[column + 1] - ends[column]  # for each edge (i, j): edges (j, k)
    found, at = [], 0
    reach = np.cumsum(more)
    while at < len(row):
        to = max(int(np.searchsorted(reach, (reach[at - 1] if at else 0) + _BLOCK)), at + 1)
        some = more[at:to]
        edge = np.repeat(np.arange(at, to), some)
        inner = np.arange(len(edge)) - np.repeat(np.cumsum(some) - some, some) + ends[column[edge]]
        closing = row[edge] * np.int64(n) + column[inner]
        place = np.minimum(np.searchsorted(key, closing), len(key) - 1)
        found.append(row[edge[key[place] == closing]])
        at = to
    return np.concatenate(found)
