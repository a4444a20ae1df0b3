"""Message passing: each node hears from those that its row of the adjacency names. Shapes: (n, p) for n nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.graph import Rows, spread
from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

HOW = ("mean", "max")
POOLS = ("mean", "max", "attention")
MERGES = ("concat", "mean")


class Signal:
    """What a graph network takes: a row of numbers for each node, and who hears whom.

    x : (n, p) array or Rows; None for none, which makes each node a feature of its own.
    adjacency : Rows (n, n) without self-loops; None for nodes without edges.
    sizes : (g,) nodes of each graph, where several lie one after the other; None for one graph.
    """

    def __init__(self, x: Any, adjacency: Rows | None = None, sizes: np.ndarray | None = None):
        n = len(adjacency) if x is None and adjacency is not None else len(x)
        if adjacency is None:
            adjacency = Rows(np.zeros(0), np.zeros(0, np.int64), np.zeros(n + 1, np.int64), (n, n))
        if x is None:
            x = Rows(np.ones(n), np.arange(n), np.arange(n + 1), (n, n))
        self.x, self.adjacency, self.sizes = x, adjacency, sizes
        self._spreads: dict[str, Rows] = {}

    def __len__(self) -> int:
        return len(self.x)

    def by(self, how: str) -> Rows:
        """The adjacency as `core.graph.spread` turns it, made once."""
        if how not in self._spreads:
            self._spreads[how] = spread(self.adjacency, how)
        return self._spreads[how]


def times(x: Any, weight: np.ndarray) -> np.ndarray:
    """x (n, p) times weight (p, k)."""
    need(x.shape[1] == len(weight), f"a layer needs {len(weight)} inputs and got {x.shape[1]}")
    return x.dot(weight) if isinstance(x, Rows) else x @ weight


def _matrix(array: np.ndarray, what: str) -> None:
    need(array.ndim == 2 and array.dtype.kind == "f" and array.size > 0, f"the weights of {what} have a wrong shape")


class OverGraph(Layer):
    """Base of layers that look at neighbours."""

    def over(self, x: Any, signal: Signal) -> np.ndarray:
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        signal = x if isinstance(x, Signal) else Signal(x)
        return self.over(signal.x, signal)


@layer("graph_convolution")
class GraphConvolution(OverGraph):
    """D^-1/2 (A + I) D^-1/2 x W + b (Kipf and Welling 2017). weight (in, out), bias (out,)."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def over(self, x: Any, signal: Signal) -> np.ndarray:
        z = signal.by("symmetric").dot(times(x, self.weight))  # (n, out)
        return z if self.bias is None else z + self.bias

    def check(self) -> None:
        _matrix(self.weight, "a graph convolution")
        need(self.bias is None or self.bias.shape == self.weight.shape[1:], "the biases of a graph layer do not fit")


@layer("graph_sage")
class GraphSAGE(OverGraph):
    """x own + combine(neighbours) near + b (Hamilton et al. 2017); 0 for a node without neighbours.

    how : "mean" of the neighbours (weighted by the edges), or "max" of relu(x pool + pool_bias), number by number.
    own, near (in, out) or with "max" near (pooled, out); bias (out,); pool (in, pooled), pool_bias (pooled,).
    """

    own: np.ndarray
    near: np.ndarray
    bias: np.ndarray
    how: str = "mean"
    pool: np.ndarray | None = None
    pool_bias: np.ndarray | None = None

    def over(self, x: Any, signal: Signal) -> np.ndarray:
        if self.how == "mean":
            near = signal.by("mean").dot(times(x, self.near))
        else:
            assert self.pool is not None and self.pool_bias is not None
            heard = np.maximum(times(x, self.pool) + self.pool_bias, 0)  # (n, pooled)
            near = signal.adjacency.reduced(heard, np.maximum, None) @ self.near
        return times(x, self.own) + near + self.bias

    def check(self) -> None:
        need(self.how in HOW, f"unknown way to combine neighbours {self.how!r}")
        _matrix(self.own, "a graph layer")
        _matrix(self.near, "a graph layer")
        out = self.own.shape[1]
        need(self.near.shape[1] == out and self.bias.shape == (out,), "the weights of a graph layer do not fit")
        if self.how == "mean":
            need(self.near.shape == self.own.shape, "the weights of a graph layer do not fit")
            return
        need(self.pool is not None and self.pool_bias is not None, "a graph layer lacks the weights of its pool")
        assert self.pool is not None and self.pool_bias is not None
        _matrix(self.pool, "a graph layer")
        fits = self.pool.shape == (len(self.own), len(self.near)) and self.pool_bias.shape == (len(self.near),)
        need(fits, "the pool of a graph layer does not fit")


@layer("graph_attention")
class GraphAttention(OverGraph):
    """Each head sums neighbours and the node itself by learnt shares (Velickovic et al. 2018).

    z = x W; share of j at i: softmax over j of leaky_relu(z_i target + z_j source). weight (in, heads, out), source and
    target (heads, out), bias (heads * out,) with merge "concat" and (out,) with "mean". Weights of edges play no part.
    """

    weight: np.ndarray
    source: np.ndarray
    target: np.ndarray
    bias: np.ndarray
    merge: str = "concat"
    slope: float = 0.2

    def over(self, x: Any, signal: Signal) -> np.ndarray:
        heads, out = self.source.shape
        z = times(x, self.weight.reshape(len(self.weight), -1)).reshape(-1, heads, out)  # (n, heads, out)
        pattern = signal.by("self")
        row, column = pattern.row, pattern.columns
        told, heard = (z * self.source).sum(axis=2), (z * self.target).sum(axis=2)  # (n, heads)
        made = []
        for k in range(heads):
            e = heard[row, k] + told[column, k]
            e = np.where(e > 0, e, e * z.dtype.type(self.slope))
            e = np.exp(e - np.maximum.reduceat(e, pattern.starts[:-1])[row])  # every row holds the node itself
            e = e / np.add.reduceat(e, pattern.starts[:-1])[row]
            made.append(pattern.reduced(np.ascontiguousarray(z[:, k]), np.add, e))
        merged = np.concatenate(made, axis=1) if self.merge == "concat" else np.mean(made, axis=0)
        return merged + self.bias

    def check(self) -> None:
        need(self.weight.ndim == 3 and self.weight.dtype.kind == "f" and self.weight.size > 0, "attention is damaged")
        heads, out = self.weight.shape[1:]
        need(self.source.shape == self.target.shape == (heads, out), "the weights of attention do not fit")
        need(self.merge in MERGES and isinstance(self.slope, float | int), "attention is described wrongly")
        need(self.bias.shape == (heads * out if self.merge == "concat" else out,), "the biases of attention do not fit")


@layer("row_share")
class RowShare(Layer):
    """Each row divided by the sum of its absolute numbers; a row of zeros stays."""

    def __call__(self, x: Any) -> Any:
        if isinstance(x, Rows):
            total = np.bincount(x.row, np.abs(x.values), len(x))
            scale = 1.0 / np.where(total > 0, total, 1.0)
            return Rows(x.values * scale[x.row], x.columns, x.starts, x.shape)
        total = np.abs(x).sum(axis=1, keepdims=True)
        return x / np.where(total > 0, total, 1.0)


@layer("fill")
class Fill(Layer):
    """What is missing (NaN) in column j becomes values[j]; in compressed rows 0."""

    values: np.ndarray

    def __call__(self, x: Any) -> Any:
        if isinstance(x, Rows):
            return Rows(np.nan_to_num(x.values, nan=0.0), x.columns, x.starts, x.shape)
        need(x.shape[1] == len(self.values), f"a network needs {len(self.values)} inputs and got {x.shape[1]}")
        return np.where(np.isnan(x), self.values, x)

    def check(self) -> None:
        need(self.values.ndim == 1 and self.values.dtype.kind == "f", "what stands for missing numbers is damaged")


@layer("graph_pool")
class GraphPool(OverGraph):
    """One row for each graph: the mean or the largest of its nodes' numbers, or their sum by learnt shares.

    gate (p, 1) and gate_bias (1,): with "attention", shares are the softmax of x gate + gate_bias over a graph's nodes.
    """

    kind: str = "mean"
    gate: np.ndarray | None = None
    gate_bias: np.ndarray | None = None

    def over(self, x: Any, signal: Signal) -> np.ndarray:
        sizes = np.array([len(x)]) if signal.sizes is None else signal.sizes
        starts = np.cumsum(sizes) - sizes
        if self.kind == "max":
            return np.maximum.reduceat(x, starts, axis=0)
        if self.kind == "mean":
            return np.add.reduceat(x, starts, axis=0) / sizes[:, None]
        member = np.repeat(np.arange(len(sizes)), sizes)
        score = (x @ self.gate + self.gate_bias)[:, 0]
        share = np.exp(score - np.maximum.reduceat(score, starts)[member])
        share = share / np.add.reduceat(share, starts)[member]
        return np.add.reduceat(x * share[:, None], starts, axis=0)

    def check(self) -> None:
        need(self.kind in POOLS, f"unknown way to pool nodes {self.kind!r}")
        if self.kind == "attention":
            need(self.gate is not None and self.gate_bias is not None, "a pool lacks its gate")
            assert self.gate is not None and self.gate_bias is not None
            _matrix(self.gate, "a pool")
            need(self.gate.shape[1] == 1 and self.gate_bias.shape == (1,), "the gate of a pool does not fit")


@layer("graph_network")
class GraphNetwork(Layer):
    """Layers one after the other over one graph; those that do not look at neighbours treat every row by itself.

    Takes a Signal, or a matrix (n, p) of nodes without edges.
    """

    layers: list[Layer]

    def __call__(self, x: Any) -> np.ndarray:
        return self.run(x)

    def run(self, x: Any, watch: Any = None, path: str = "") -> np.ndarray:
        signal = x if isinstance(x, Signal) else Signal(x)
        h = signal.x
        for i, part in enumerate(self.layers):
            before = h
            h = part.over(h, signal) if isinstance(part, OverGraph) else part(h)
            if watch is not None:
                watch(f"{path}.{i}" if path else str(i), part, before, h)
        return h

    def parts(self) -> list[Layer]:
        return list(self.layers)

    def check(self) -> None:
        need(isinstance(self.layers, list | tuple) and len(self.layers) > 0, "a graph network holds no layers")
        self.layers = list(self.layers)
