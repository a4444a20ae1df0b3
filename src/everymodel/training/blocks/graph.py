"""Message passing in torch: products with a matrix in compressed rows, and the layers of graph networks.

A layer goes from the nodes that speak to those that listen; the listeners are the first of the speakers. With the whole
graph both are all nodes. See training/graphs.py for parts of a graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.graph import Rows
from everymodel.scoring.layers import graph as numpy_graph
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.feed import ACTIVATIONS, Activation, role
from everymodel.training.blocks.written import array, written

with warnings.catch_warnings():  # said once, at the first matrix: asked for here, so that no user need read it
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1), check_invariants=False)


class Matrix:
    """A sparse matrix (n, p) ready for products in both directions.

    starts (n + 1,), columns (m,), values (m,); `back` holds the transposed matrix and `order` (m,) says which of the
    values stands where in it. A symmetric matrix is its own transposed one.
    """

    def __init__(
        self,
        starts: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        shape: tuple[int, int],
        symmetric: bool = False,
    ):
        self.starts, self.columns, self.values, self.shape, self.symmetric = starts, columns, values, shape, symmetric
        self._row: torch.Tensor | None = None
        self._back: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, rows: Rows, symmetric: bool = False) -> Matrix:
        # Products with 32-bit numbers of rows and columns are the quicker ones.
        kind = torch.int32 if len(rows.columns) < 2**31 else torch.int64
        starts, columns = torch.as_tensor(rows.starts).to(kind), torch.as_tensor(rows.columns).to(kind)
        return cls(starts, columns, torch.as_tensor(rows.values, dtype=torch.float32), rows.shape, symmetric)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row(self) -> torch.Tensor:
        """(m,) int64 row of each entry."""
        if self._row is None:
            here = torch.arange(self.shape[0], device=self.starts.device)
            self._row = torch.repeat_interleave(here, self.starts.diff().long())
        return self._row

    @property
    def back(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(starts, columns, order) of the transposed matrix."""
        if self._back is None:
            order = torch.argsort(self.columns, stable=True)
            counts = torch.bincount(self.columns, minlength=self.shape[1])
            starts = F.pad(counts.cumsum(0), (1, 0)).to(self.starts.dtype)
            self._back = starts, self.row[order].to(self.columns.dtype), order
        return self._back

    def to(self, device: torch.device) -> Matrix:
        made = Matrix(*(t.to(device) for t in (self.starts, self.columns, self.values)), self.shape, self.symmetric)
        made._back = None if self._back is None else tuple(t.to(device) for t in self._back)  # type: ignore[assignment]
        return made

    def with_values(self, values: torch.Tensor) -> Matrix:
        """The same pattern with other values (m,)."""
        made = Matrix(self.starts, self.columns, values, self.shape)
        made._row, made._back = self._row, self.back
        return made

    def times(self, dense: torch.Tensor) -> torch.Tensor:
        """This (n, p) times dense (p, k) -> (n, k), with gradients for `dense`."""
        return _Times.apply(dense, self)  # type: ignore[return-value]

    def sums(self, dense: torch.Tensor) -> torch.Tensor:
        return _product(self.starts, self.columns, self.values, self.shape, dense)

    def back_sums(self, dense: torch.Tensor) -> torch.Tensor:
        if self.symmetric:
            return self.sums(dense)
        starts, columns, order = self.back
        values = self.values.index_select(0, order)
        return _product(starts, columns, values, (self.shape[1], self.shape[0]), dense)


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: torch.Tensor, matrix: Matrix) -> torch.Tensor:  # type: ignore[override]
        ctx.matrix = matrix
        return matrix.sums(dense)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return ctx.matrix.back_sums(slope.contiguous()), None


def _product(
    starts: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, shape: tuple[int, int], dense: torch.Tensor
) -> torch.Tensor:
    if dense.device.type == "mps":  # has no products with compressed rows
        row = torch.repeat_interleave(torch.arange(shape[0], device=dense.device), starts.diff().long())
        taken = dense.index_select(0, columns.long()) * values[:, None]
        return dense.new_zeros(shape[0], dense.shape[1]).index_add_(0, row, taken)
    return torch.sparse_csr_tensor(starts, columns, values.to(dense.dtype), shape, check_invariants=False) @ dense


@dataclass
class Hop:
    """One layer's way from n speakers to the first `listeners` of them; `matrix` (listeners, n)."""

    matrix: Matrix
    listeners: int

    def to(self, device: torch.device) -> Hop:
        return Hop(self.matrix.to(device), self.listeners)


@dataclass
class Nodes:
    """A batch: numbers of nodes, a hop for each layer, and the goals of some of the last listeners.

    x : (n, p) tensor or Matrix. rows : (b,) which of the last listeners are judged, None for all. y : (b, ...).
    sizes : (g,) nodes of each graph where graphs are judged.
    """

    x: torch.Tensor | Matrix
    hops: Sequence[Hop]
    y: torch.Tensor
    rows: torch.Tensor | None = None
    sizes: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device) -> Nodes:
        kept: dict[int, Hop] = {}  # one hop is often that of every layer
        hops = [kept.setdefault(id(hop), hop.to(device)) for hop in self.hops]
        rest = [None if t is None else t.to(device) for t in (self.rows, self.sizes)]
        return Nodes(self.x.to(device), hops, self.y.to(device), *rest)


def dropped(values: torch.Tensor, p: float) -> torch.Tensor:
    """Dropout, on CPU by 16 random bits a number, which takes a quarter of the time of torch's own."""
    if p <= 0:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, p)
    n = values.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n]
    keep = bits >= round(65536 * p) - 32768  # (n,)
    return values * (keep.view(values.shape) * (1.0 / (1.0 - p)))


def times(x: torch.Tensor | Matrix, weight: torch.Tensor) -> torch.Tensor:
    """x (n, p) times weight (p, k)."""
    return x.times(weight) if isinstance(x, Matrix) else x @ weight


def first(x: torch.Tensor | Matrix, n: int) -> torch.Tensor | Matrix:
    """The first n rows."""
    if not isinstance(x, Matrix):
        return x[:n]
    if n == len(x):
        return x
    end = int(x.starts[n])
    return Matrix(x.starts[: n + 1], x.columns[:end], x.values[:end], (n, x.shape[1]))


def _glorot(*shape: int, fan_in: int, fan_out: int) -> torch.Tensor:
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return torch.empty(*shape).uniform_(-bound, bound)


class GraphConvolution(nn.Module):
    """H' = D^-1/2 (A + I) D^-1/2 H W + b (Kipf and Welling 2017), Glorot's start."""

    how = "symmetric"

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(_glorot(inputs, outputs, fan_in=inputs, fan_out=outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor | Matrix, hop: Hop) -> torch.Tensor:
        if not isinstance(x, Matrix) and x.shape[1] < self.weight.shape[1]:
            return hop.matrix.times(x) @ self.weight + self.bias  # the same sums, fewer of them
        return hop.matrix.times(times(x, self.weight)) + self.bias

    def layer(self) -> Layer:
        return numpy_graph.GraphConvolution(array(self.weight), array(self.bias))


class GraphSAGE(nn.Module):
    """H' = H own + combine(neighbours) near + b (Hamilton et al. 2017)."""

    how = "mean"

    def __init__(self, inputs: int, outputs: int, combine: str = "mean"):
        super().__init__()
        pooled = outputs if combine == "max" else inputs
        self.combine = combine
        self.own = nn.Parameter(_glorot(inputs, outputs, fan_in=inputs, fan_out=outputs))
        self.near = nn.Parameter(_glorot(pooled, outputs, fan_in=pooled, fan_out=outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if combine == "max":
            self.pool = nn.Parameter(_glorot(inputs, pooled, fan_in=inputs, fan_out=pooled))
            self.pool_bias = nn.Parameter(torch.zeros(pooled))

    def forward(self, x: torch.Tensor | Matrix, hop: Hop) -> torch.Tensor:
        if self.combine == "max":
            heard = F.relu(times(x, self.pool) + self.pool_bias)  # (n, pooled)
            near = largest(heard, hop) @ self.near
        elif not isinstance(x, Matrix) and x.shape[1] <= self.near.shape[1]:
            near = hop.matrix.times(x) @ self.near
        else:
            near = hop.matrix.times(times(x, self.near))
        return times(first(x, hop.listeners), self.own) + near + self.bias

    def layer(self) -> Layer:
        own, near, bias = array(self.own), array(self.near), array(self.bias)
        if self.combine == "mean":
            return numpy_graph.GraphSAGE(own, near, bias)
        return numpy_graph.GraphSAGE(own, near, bias, "max", array(self.pool), array(self.pool_bias))


def largest(x: torch.Tensor, hop: Hop) -> torch.Tensor:
    """(listeners, p) the largest number among neighbours; 0 where there is none."""
    told = x.index_select(0, hop.matrix.columns)
    place = hop.matrix.row[:, None].expand_as(told)
    return x.new_zeros(hop.listeners, x.shape[1]).scatter_reduce(0, place, told, "amax", include_self=False)


class GraphAttention(nn.Module):
    """Neighbours and the node itself summed by learnt shares, several heads (Velickovic et al. 2018).

    dropout : of the shares.
    """

    how = "self"

    def __init__(self, inputs: int, outputs: int, heads: int, merge: str = "concat", dropout: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(_glorot(inputs, heads, outputs, fan_in=inputs, fan_out=heads * outputs))
        self.source = role(_glorot(heads, outputs, fan_in=outputs, fan_out=1), "matrix")
        self.target = role(_glorot(heads, outputs, fan_in=outputs, fan_out=1), "matrix")
        self.bias = nn.Parameter(torch.zeros(heads * outputs if merge == "concat" else outputs))
        self.merge, self.dropout = merge, dropout

    def forward(self, x: torch.Tensor | Matrix, hop: Hop) -> torch.Tensor:
        heads, out = self.source.shape
        z = times(x, self.weight.flatten(1)).view(-1, heads, out)  # (n, heads, out)
        row, column, n = hop.matrix.row, hop.matrix.columns, hop.listeners
        told, heard = (z * self.source).sum(2), (z[:n] * self.target).sum(2)
        e = F.leaky_relu(heard.index_select(0, row) + told.index_select(0, column), 0.2)  # (m, heads)
        place = row[:, None].expand_as(e)
        with torch.no_grad():  # only keeps the exponentials small
            top = e.new_full((n, heads), -torch.inf).scatter_reduce(0, place, e, "amax")
        e = (e - top.index_select(0, row)).exp()
        share = e / e.new_zeros(n, heads).index_add(0, row, e).index_select(0, row)
        if self.training:
            share = dropped(share, self.dropout)
        told = z.index_select(0, column) * share[:, :, None]  # (m, heads, out)
        made = z.new_zeros(n, heads, out).index_add(0, row, told)
        return (made.flatten(1) if self.merge == "concat" else made.mean(1)) + self.bias

    def layer(self) -> Layer:
        arrays = (array(p) for p in (self.weight, self.source, self.target, self.bias))
        return numpy_graph.GraphAttention(*arrays, self.merge)


class GraphPool(nn.Module):
    """One row for each graph: mean, max, or a sum by learnt shares of the nodes."""

    def __init__(self, kind: str, inputs: int):
        super().__init__()
        self.kind = kind
        self.gate = nn.Linear(inputs, 1) if kind == "attention" else None

    def forward(self, x: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        g = len(sizes)
        member = torch.repeat_interleave(torch.arange(g, device=x.device), sizes)  # (n,)
        if self.kind == "max":
            place = member[:, None].expand_as(x)
            return x.new_zeros(g, x.shape[1]).scatter_reduce(0, place, x, "amax", include_self=False)
        if self.gate is not None:
            score = self.gate(x)[:, 0]
            with torch.no_grad():
                top = score.new_full((g,), -torch.inf).scatter_reduce(0, member, score, "amax")
            share = (score - top[member]).exp()
            share = share / share.new_zeros(g).index_add(0, member, share)[member]
            return x.new_zeros(g, x.shape[1]).index_add(0, member, x * share[:, None])
        return x.new_zeros(g, x.shape[1]).index_add(0, member, x) / sizes[:, None]

    def layer(self) -> Layer:
        if self.gate is None:
            return numpy_graph.GraphPool(self.kind)
        return numpy_graph.GraphPool(self.kind, array(self.gate.weight).T.copy(), array(self.gate.bias))


class GraphNet(nn.Module):
    """Dropout, message passing and a bend in turn; for graphs a pool and a weighted sum at the end."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        activation: str,
        dropout: float,
        pool: GraphPool | None = None,
        head: nn.Module | None = None,
    ):
        super().__init__()
        self.layers, self.pool, self.head = nn.ModuleList(layers), pool, head
        self.activation, self.bend, self.dropout = activation, ACTIVATIONS[activation], dropout

    def forward(self, x: torch.Tensor | Matrix, hops: Sequence[Hop], sizes: torch.Tensor | None = None) -> torch.Tensor:
        last = len(self.layers) - 1
        for i, (part, hop) in enumerate(zip(self.layers, hops, strict=True)):
            if self.training and self.dropout:
                some = isinstance(x, Matrix)
                x = x.with_values(dropped(x.values, self.dropout)) if some else dropped(x, self.dropout)
            x = part(x, hop)
            if i < last or self.pool is not None:
                x = self.bend(x)
        if self.pool is None or self.head is None:
            return x
        return self.head(self.pool(x, sizes))

    def layer(self, before: Sequence[Layer] = (), after: Sequence[Layer] = ()) -> Layer:
        """In numpy, with layers that prepare the features and such as turn the answer."""
        made: list[Layer] = list(before)
        for i, part in enumerate(self.layers):
            made.append(part.layer())
            if i < len(self.layers) - 1 or self.pool is not None:
                made.append(Activation(self.activation).layer())
        if self.pool is not None and self.head is not None:
            made += [self.pool.layer(), written(self.head)]
        return numpy_graph.GraphNetwork([*made, *after])


def features(x: Any) -> torch.Tensor | Matrix:
    """Features as torch has them; Rows stay in compressed rows."""
    return Matrix.of(x) if isinstance(x, Rows) else torch.as_tensor(np.ascontiguousarray(x), dtype=torch.float32)
