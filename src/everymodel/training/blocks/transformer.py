"""Blocks of networks that say what comes next; see `everymodel.scoring.layers.transformer`, which answers alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.scoring.layers import feed, transformer
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.transformer import run_places, turns
from everymodel.training.blocks.feed import Dropout, role
from everymodel.training.blocks.recurrence import OneWay
from everymodel.training.blocks.written import array, written


class RmsNorm(nn.Module):
    """x / sqrt(mean(x²) + eps), times a learnt scale where `scaled`."""

    def __init__(self, size: int, eps: float = 1e-6, scaled: bool = False):
        super().__init__()
        self.size, self.eps = size, eps
        self.weight = role(torch.ones(size), "scale") if scaled else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (self.size,), self.weight, self.eps)

    def layer(self) -> Layer:
        return transformer.RmsNormalize(array(self.weight), self.eps)


def bend(z: torch.Tensor, kind: str) -> torch.Tensor:
    """The activation called `kind`; see `everymodel.scoring.layers.transformer.bend`."""
    if kind == "relu2":
        return F.relu(z).square()
    return F.gelu(z, approximate="tanh") if kind == "gelu_tanh" else getattr(F, kind)(z)


def norm(size: int, kind: str, eps: float) -> nn.Module:
    """ "rms" without scale, "scaled" with one, or "layer"."""
    if kind == "layer":
        made = nn.LayerNorm(size, eps=eps)
        role(made.weight, "scale")
        return made
    return RmsNorm(size, eps, kind == "scaled")


class Block(nn.Module):
    """Causal attention and an mlp, each added to what came in: (b, T, d) -> (b, T, d).

    Parameters
    ----------
    heads, groups : of queries, and of keys and values. inner : width of the mlp. gated : whether it has a gate.
    kind : its activation. turned : base of rotary places, 0 for none. even : normalised queries and keys.
    norms : see `norm`. bias : of the weighted sums, all of them ("all"), of queries, keys and values ("mix"), or none.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        inner: int,
        *,
        groups: int | None = None,
        head_size: int | None = None,
        gated: bool = False,
        kind: str = "relu2",
        turned: float = 10_000.0,
        even: bool = True,
        norms: str = "rms",
        eps: float = 1e-6,
        bias: str = "none",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.heads, self.groups, self.kind, self.turned, self.even = heads, groups or heads, kind, turned, even
        self.size = head_size or size // heads
        every, mixed = bias == "all", bias in ("all", "mix")
        self.before, self.after = norm(size, norms, eps), norm(size, norms, eps)
        self.mix = nn.Linear(size, (heads + 2 * self.groups) * self.size, bias=mixed)
        self.out = nn.Linear(heads * self.size, size, bias=every)
        self.up, self.down = nn.Linear(size, inner, bias=every), nn.Linear(inner, size, bias=every)
        self.gate = nn.Linear(size, inner, bias=every) if gated else None
        self.dropout = Dropout(dropout)
        for linear in (self.out, self.down):  # each block begins as if it were not there
            nn.init.zeros_(linear.weight)
        for linear in (self.mix, self.up, self.gate):
            if linear is not None:
                nn.init.uniform_(linear.weight, -((3 / size) ** 0.5) / 2, (3 / size) ** 0.5 / 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        b, t, _ = x.shape
        h, g = self.heads, self.groups
        mixed = self.mix(self.before(x)).view(b, t, h + 2 * g, self.size).transpose(1, 2)  # (b, h + 2 g, t, e)
        q, k, v = mixed[:, :h], mixed[:, h : h + g], mixed[:, h + g :]
        if self.even:
            q, k = F.rms_norm(q, (self.size,), eps=1e-6), F.rms_norm(k, (self.size,), eps=1e-6)
        if self.turned:
            cos, sin = self._turns(t, q)
            q, k = _turn(q, cos, sin), _turn(k, cos, sin)
        if g != h:
            k, v = (a.repeat_interleave(h // g, dim=1) for a in (k, v))
        seen = _attend(q, k, v, mask)
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(b, t, h * self.size)))
        z = self.after(x)
        wide = self.up(z)
        inner = bend(wide, self.kind) if self.gate is None else bend(self.gate(z), self.kind) * wide
        return x + self.dropout(self.down(inner))

    def _turns(self, steps: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Made once for each length and kept, as they are the same at every step."""
        held = self.__dict__.get("_held")
        if held is None or held[0].shape[0] < steps or held[0].device != like.device or held[0].dtype != like.dtype:
            held = tuple(torch.from_numpy(a).to(like) for a in turns(0, steps, self.size, self.turned, np.float32))
            self.__dict__["_held"] = held
        return held[0][:steps], held[1][:steps]

    def layer(self) -> Layer:
        return transformer.TransformerBlock(
            *(self.heads, self.groups, written(self.before), written(self.mix), written(self.out)),
            *(written(self.after), written(self.up), written(self.down)),
            None if self.gate is None else written(self.gate),
            *(self.kind, float(self.turned), self.even),
        )


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Means of the values by how queries and keys agree; in float32 on a CPU, where narrower ones take longer."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v.to(q.dtype), attn_mask=mask, is_causal=mask is None)
    with torch.autocast("cpu", enabled=False):
        q, k, v = q.float(), k.float(), v.float()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class RecurrentBlock(nn.Module):
    """A recurrent layer: (b, T, d) -> (b, T, h)."""

    def __init__(self, cell: str, inputs: int, outputs: int, dropout: float = 0.0):
        super().__init__()
        self.inside, self.dropout = OneWay(cell, inputs, outputs), Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.dropout(self.inside.cell(x)[0])

    def layer(self) -> Layer:
        return transformer.RecurrentBlock(self.inside.layer())


class LanguageNet(nn.Module):
    """Scores (b, T, v) of what comes next at each place of ids (b, T).

    Parameters
    ----------
    last : module before the scores, or None. tied : scores by the table of the tokens.
    places : how many learnt positions; 0: none. orders, buckets : runs of the last tokens that have vectors. unheard :
        share of these vectors that are left out while learning: each is rare, and is learnt by heart otherwise.
    border : id at which texts begin, -1 for one long text. apart : whether texts see nothing of those before them.
    limit : places that are read at once; 0: as many as one likes.
    """

    def __init__(
        self,
        tokens: int,
        size: int,
        blocks: Sequence[nn.Module],
        last: nn.Module | None,
        width: int,
        *,
        tied: bool = False,
        places: int = 0,
        orders: tuple[int, ...] = (),
        buckets: int = 0,
        border: int = -1,
        apart: bool = False,
        limit: int = 0,
        dropout: float = 0.0,
        unheard: float = 0.0,
    ):
        super().__init__()
        self.table = role(torch.randn(tokens, size) * 0.3, "embedding")
        self.positions = role(torch.randn(places, size) * 0.02, "embedding") if places else None
        self.grams = role(torch.randn(buckets, size) * 0.1, "embedding") if orders else None
        self.blocks, self.last = nn.ModuleList(blocks), last
        self.head = None if tied else nn.Linear(width, tokens, bias=False)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)
            role(self.head.weight, "last")
        self.orders, self.border, self.apart, self.limit = orders, border, apart, limit
        self.dropout, self.unheard = Dropout(dropout), unheard

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        ids = ids.long()
        x = F.embedding(ids, self.table)
        if self.positions is not None:
            x = x + self.positions[: ids.shape[1]]
        if self.grams is not None:
            for at in run_places(ids, self.orders, len(self.grams), self.border):
                x = x + F.dropout1d(F.embedding(at, self.grams), self.unheard, self.training)  # whole vectors
        x = self.dropout(x)
        mask = None
        if self.apart:
            text = (ids == self.border).cumsum(dim=1)  # (b, T): which text a place is in
            before = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
            mask = ((text[:, :, None] == text[:, None]) & before)[:, None]  # (b, 1, T, T)
        for block in self.blocks:
            x = block(x, mask)
        x = x if self.last is None else self.last(x)
        return F.linear(x, self.table) if self.head is None else self.head(x)

    def layer(self) -> Layer:
        return transformer.LanguageModel(
            array(self.table),
            [written(block) for block in self.blocks],
            None if self.last is None else written(self.last),
            None if self.head is None else written(self.head),
            *(array(self.positions), array(self.grams), tuple(self.orders), self.border, self.limit),
        )


class Adapted(nn.Module):
    """x W + scale · x A B, where W does not move (Hu et al. 2021); it is written down as one weighted sum."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float = 2.0):
        super().__init__()
        self.linear, self.scale = linear, scale
        for p in linear.parameters():
            p.requires_grad_(False)
        self.a = role(torch.randn(rank, linear.in_features) / math.sqrt(linear.in_features), "first")
        self.b = role(torch.zeros(linear.out_features, rank), "last")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.a), self.b)

    def merged(self) -> nn.Linear:
        """The weighted sum alone that answers alike."""
        made = nn.Linear(self.linear.in_features, self.linear.out_features, bias=self.linear.bias is not None)
        with torch.no_grad():
            made.weight.copy_(self.linear.weight + self.scale * self.b @ self.a)
            if self.linear.bias is not None:
                made.bias.copy_(self.linear.bias)
        return made

    def layer(self) -> Layer:
        return feed.Dense(*_dense(self.merged()))


def _dense(linear: nn.Linear) -> tuple[Any, Any]:
    return np.ascontiguousarray(array(linear.weight).T), array(linear.bias)


def adapt(net: nn.Module, rank: int) -> int:
    """Freeze all weights and put small ones beside the weighted sums of the blocks; gives how many numbers move."""
    for p in net.parameters():
        p.requires_grad_(False)
    for block in net.blocks:  # type: ignore[union-attr]
        for name in ("mix", "out", "up", "down", "gate"):
            inside = getattr(block, name, None)
            if isinstance(inside, nn.Linear):
                setattr(block, name, Adapted(inside, rank))
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def merge(net: nn.Module) -> None:
    """Put the small weights into those beside which they stand."""
    for block in net.blocks:  # type: ignore[union-attr]
        for name, inside in list(block.named_children()):
            if isinstance(inside, Adapted):
                setattr(block, name, inside.merged())
