"""Blocks of networks for tables. All weights have a leading axis f of independent networks (folds, seeds), often 1.

x is (f, b, p) here and (n, p) in `everymodel.scoring.layers.embeddings`; `layer()` writes the network down that is
number `chosen`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.scoring.layers import embeddings, feed
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.written import array


class Block(nn.Module):
    """A block that can be written down for one of its networks."""

    def layer(self, chosen: Any = 0) -> Layer:
        raise NotImplementedError


class Periodic(Block):
    """Each number beside a few weighted sums of its cosines, (f, b, m) -> (f, b, m * (1 + e)).

    References
    ----------
    Gorishniy et al. (2022), On embeddings for numerical features in tabular deep learning; Holzmüller et al. (2024),
    Better by default.
    """

    def __init__(self, nets: int, inputs: int, waves: int = 16, outputs: int = 3, spread: float = 0.1):
        super().__init__()
        self.frequency = role(torch.randn(nets, 1, inputs, waves) * (2 * math.pi * spread), "embedding")
        self.phase = role((torch.rand(nets, 1, inputs, waves) * 2 - 1) * math.pi, "embedding")
        bound = 1.0 / math.sqrt(waves)
        self.weight = role(torch.empty(nets, inputs, waves, outputs).uniform_(-bound, bound), "embedding")
        self.bias = role(torch.empty(nets, inputs, 1, outputs).uniform_(-bound, bound), "embedding")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f, b, m = x.shape
        waves = torch.cos(x[..., None] * self.frequency + self.phase)  # (f, b, m, w)
        waves = waves.transpose(1, 2).reshape(f * m, b, -1)
        sums = torch.baddbmm(self.bias.flatten(0, 1), waves, self.weight.flatten(0, 1))  # (f * m, b, e)
        sums = sums.view(f, m, b, -1).transpose(1, 2)
        return torch.cat([x[..., None], sums], dim=-1).reshape(f, b, -1)

    def layer(self, chosen: int = 0) -> Layer:
        i = chosen
        parts = (self.frequency[i, 0], self.phase[i, 0], self.weight[i], self.bias[i, :, 0])
        return embeddings.Periodic(*(array(p) for p in parts))


class Piecewise(Block):
    """Numbers as how far they have come through pieces that lie between quantiles, (f, b, m) -> (f, b, q).

    column, start, width (q,) : see `pieces`; the same for all networks, and not learnt.
    """

    column: torch.Tensor
    start: torch.Tensor
    width: torch.Tensor

    def __init__(self, column: torch.Tensor, start: torch.Tensor, width: torch.Tensor):
        super().__init__()
        self.register_buffer("column", column)
        self.register_buffer("start", start)
        self.register_buffer("width", width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x.index_select(-1, self.column) - self.start) / self.width).clamp_(0, 1)

    def layer(self, chosen: int = 0) -> Layer:
        return embeddings.Piecewise(array(self.column), array(self.start), array(self.width))


class Levels(Block):
    """Codes of levels as rows of one table, (f, b, c) -> (f, b, c * e). The last row of each column, for levels that
    were not seen, starts at zero and is used in training by rows that lack the value.
    """

    starts: torch.Tensor

    def __init__(self, nets: int, sizes: list[int], outputs: int):
        super().__init__()
        starts = torch.cumsum(torch.tensor([0, *[s + 1 for s in sizes]]), 0)
        table = torch.randn(nets, int(starts[-1]), outputs)
        table[:, starts[1:] - 1] = 0.0
        self.table = role(table, "embedding")
        self.register_buffer("starts", starts[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f, b, _ = x.shape
        rows = x.long() + self.starts  # (f, b, c)
        rows = rows + torch.arange(f, device=x.device)[:, None, None] * self.table.shape[1]
        return F.embedding(rows, self.table.flatten(0, 1)).view(f, b, -1)

    def layer(self, chosen: int = 0) -> Layer:
        return embeddings.Levels(array(self.table[chosen]), array(self.starts))


class Normed(Block):
    """Weighted sums, normalised by the batch (Ioffe and Szegedy 2015): (f, b, in) -> (f, b, out), each network by its
    own rows in training, else by their running mean and spread. A batch of one row has no spread and is answered so.
    """

    mean: torch.Tensor
    var: torch.Tensor

    def __init__(self, nets: int, inputs: int, outputs: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.weight = role(torch.randn(nets, inputs, outputs) * math.sqrt(2.0 / max(inputs, 1)), "matrix")
        self.weight.members = True  # type: ignore[attr-defined]  # Muon makes each orthogonal by itself
        self.scale = role(torch.ones(nets, outputs), "scale")
        self.shift = role(torch.zeros(nets, outputs), "scale")
        self.register_buffer("mean", torch.zeros(nets, outputs))
        self.register_buffer("var", torch.ones(nets, outputs))
        self.momentum, self.eps = momentum, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.bmm(x, self.weight)
        f, b, d = z.shape
        z = z.transpose(0, 1).reshape(b, f * d)
        told = (self.mean.view(-1), self.var.view(-1), self.scale.view(-1), self.shift.view(-1))
        z = F.batch_norm(z, *told, self.training and b > 1, self.momentum, self.eps)
        return z.view(b, f, d).transpose(0, 1)

    def layer(self, chosen: int | slice = 0) -> Layer:
        """One weighted sum, the normalisation folded in; a slice of networks becomes members side by side."""
        scale = array(self.scale[chosen]) / np.sqrt(array(self.var[chosen]) + np.float32(self.eps))
        shift = array(self.shift[chosen]) - array(self.mean[chosen]) * scale
        return feed.Dense(array(self.weight[chosen]) * scale[..., None, :], shift)
