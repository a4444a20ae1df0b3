"""Batches of graphs: all that some nodes hear, a sample of it, or several whole graphs side by side.

What a network of L layers says of a node depends on nodes at most L edges away and on nothing else. `field` cuts that
part out, so a step over the few nodes that have a label costs what they hear and not what the graph holds; the loss is
the same sum. Where that is still too much, `Neighbors` draws some neighbours of each node anew in every step (Hamilton
et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from everymodel.core.graph import Rows
from everymodel.core.seeds import derive
from everymodel.training.blocks.graph import Hop, Matrix, Nodes, features
from everymodel.training.source import Source


class Edges:
    """The matrix that messages are summed by, as tensors: starts (n + 1,), columns (m,) int64, values (m,)."""

    def __init__(self, rows: Rows, holds_self: bool):
        self.starts, self.columns = torch.as_tensor(rows.starts), torch.as_tensor(rows.columns)
        self.values = torch.as_tensor(rows.values, dtype=torch.float32)
        self.holds_self = holds_self  # every row has an entry for the node itself
        self.local = torch.full((len(rows),), -1, dtype=torch.int64)

    def move(self, device: torch.device) -> None:
        for name in ("starts", "columns", "values", "local"):
            setattr(self, name, getattr(self, name).to(device))

    def hop(
        self, listeners: torch.Tensor, most: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[Hop, torch.Tensor]:
        """The rows of `listeners` (b,), and their speakers (k,): the listeners first, then whom else they hear.

        most : neighbours of a node at most, drawn without replacement and weighed up, so that the expected sum is that
            of all of them.
        """
        entry, row, sizes = _entries(self.starts, listeners)
        values = self.values.index_select(0, entry)
        if most is not None:
            own = self.columns[entry] == listeners[row]
            draw = torch.rand(len(entry), generator=generator, device=entry.device)
            order = torch.argsort(draw.masked_fill_(own, -1.0))
            order = order[torch.argsort(row[order], stable=True)]  # rows in turn, the node itself first, then by chance
            first = sizes.cumsum(0) - sizes
            itself = int(self.holds_self)
            place = torch.arange(len(entry), device=entry.device) - first[row]
            kept = order[place < most + itself]
            entry, row, values, own = entry[kept], row[kept], values[kept], own[kept]
            there = (sizes - itself).clamp(min=1)
            values = torch.where(own, values, values * (there / there.clamp(max=most))[row])
            sizes = sizes.clamp(max=most + itself)
        columns = self.columns.index_select(0, entry)
        self.local[listeners] = torch.arange(len(listeners), device=entry.device)
        more = torch.unique(columns[self.local[columns] < 0])
        self.local[more] = torch.arange(len(listeners), len(listeners) + len(more), device=entry.device)
        speakers = torch.cat([listeners, more])
        columns = self.local[columns]
        self.local[speakers] = -1
        matrix = Matrix(_starts(sizes).int(), columns.int(), values, (len(listeners), len(speakers)))
        return Hop(matrix, len(listeners)), speakers


def _starts(sizes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(sizes.cumsum(0), (1, 0))


def _entries(starts: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(numbers of the entries, the place in `rows` of each, entries in each row)."""
    begin = starts[rows]
    sizes = starts[rows + 1] - begin
    row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), sizes)
    shift = begin - (sizes.cumsum(0) - sizes)
    return torch.arange(len(row), device=rows.device) + shift[row], row, sizes


def taken(x: torch.Tensor | Matrix, rows: torch.Tensor) -> torch.Tensor | Matrix:
    """These rows of features."""
    if not isinstance(x, Matrix):
        return x.index_select(0, rows)
    entry, _, sizes = _entries(x.starts.long(), rows)
    starts = _starts(sizes).to(x.starts.dtype)
    return Matrix(starts, x.columns[entry], x.values[entry], (len(rows), x.shape[1]))


def field(edges: Edges, x: torch.Tensor | Matrix, y: torch.Tensor, rows: torch.Tensor, layers: int) -> Nodes:
    """All that a network of so many layers needs to judge the nodes `rows` (b,) with goals y (b, ...)."""
    hops: list[Hop] = []
    speakers = rows
    for _ in range(layers):
        hop, speakers = edges.hop(speakers)
        hops.insert(0, hop)
    return Nodes(taken(x, speakers), hops, y)


class Neighbors(Source):
    """Batches of labelled nodes, each with a sample of what it hears.

    Parameters
    ----------
    x : features of all nodes. rows : (k,) nodes with goals y (k, ...).
    most : neighbours drawn of a node, for each layer, that nearest to the answer last.
    batch : nodes per step.
    """

    def __init__(
        self,
        edges: Edges,
        x: torch.Tensor | Matrix,
        y: torch.Tensor,
        rows: torch.Tensor,
        most: Sequence[int],
        batch: int = 512,
    ):
        self.edges, self.x, self.y, self.rows, self.most, self.batch = edges, x, y, rows, tuple(most), int(batch)

    def move(self, device: torch.device) -> None:
        self.edges.move(device)
        self.x, self.y, self.rows = self.x.to(device), self.y.to(device), self.rows.to(device)

    def steps(self) -> int:
        return -(-len(self.rows) // self.batch)

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Nodes]:
        device = self.rows.device
        generator = torch.Generator(device=device)
        generator.manual_seed(derive(seed, "epoch", number))
        order = torch.randperm(len(self.rows), generator=generator, device=device)
        for i in range(start, self.steps()):
            generator.manual_seed(derive(seed, "epoch", number, i))  # a run that goes on draws what it would have drawn
            chosen = order[i * self.batch : (i + 1) * self.batch]
            hops: list[Hop] = []
            speakers = self.rows[chosen]
            for most in reversed(self.most):
                hop, speakers = self.edges.hop(speakers, most, generator)
                hops.insert(0, hop)
            yield Nodes(taken(self.x, speakers), hops, self.y[chosen])

    def ordered(self) -> Iterator[Nodes]:
        for low in range(0, len(self.rows), self.batch):
            rows = self.rows[low : low + self.batch]
            yield field(self.edges, self.x, self.y[low : low + self.batch], rows, len(self.most))


class Graphs(Source):
    """Batches of whole graphs, side by side in one matrix without edges between them.

    Parameters
    ----------
    rows : the matrix by which messages are summed, of all graphs one after the other. x : (n, p) features of all nodes.
    sizes : (g,) nodes of each graph. y : (g, ...) goals. layers : of the network. batch : graphs per step.
    """

    def __init__(self, rows: Rows, x: Any, sizes: Any, y: torch.Tensor, layers: int, batch: int = 32):
        self.edges, self.x, self.y = Edges(rows, False), features(x), y
        self.sizes = torch.as_tensor(sizes)
        self.starts = self.sizes.cumsum(0) - self.sizes
        self.layers, self.batch = layers, int(batch)

    def move(self, device: torch.device) -> None:
        self.edges.move(device)
        self.x, self.y, self.sizes, self.starts = (t.to(device) for t in (self.x, self.y, self.sizes, self.starts))

    def steps(self) -> int:
        return -(-len(self.sizes) // self.batch)

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Nodes]:
        generator = torch.Generator(device=self.sizes.device)
        generator.manual_seed(derive(seed, "epoch", number))
        order = torch.randperm(len(self.sizes), generator=generator, device=self.sizes.device)
        for i in range(start, self.steps()):
            yield self._take(order[i * self.batch : (i + 1) * self.batch])

    def ordered(self) -> Iterator[Nodes]:
        every = torch.arange(len(self.sizes), device=self.sizes.device)
        for low in range(0, len(every), self.batch):
            yield self._take(every[low : low + self.batch])

    def _take(self, graphs: torch.Tensor) -> Nodes:
        sizes = self.sizes[graphs]
        member = torch.repeat_interleave(torch.arange(len(graphs), device=graphs.device), sizes)
        first = sizes.cumsum(0) - sizes  # of each graph in the batch
        shift = (self.starts[graphs] - first)[member]  # (n,) from places in the batch to places among all nodes
        nodes = torch.arange(len(member), device=graphs.device) + shift
        entry, row, counts = _entries(self.edges.starts, nodes)
        columns = self.edges.columns[entry] - shift[row]
        n = len(nodes)
        matrix = Matrix(_starts(counts).int(), columns.int(), self.edges.values[entry], (n, n))
        hop = Hop(matrix, n)
        return Nodes(taken(self.x, nodes), [hop] * self.layers, self.y[graphs], None, sizes)
