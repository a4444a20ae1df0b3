"""Blocks of recurrent networks: vectors of tokens, recurrent layers over padded batches, pooling.

Padding stands behind the steps, so that a layer that runs forwards never sees it before it answers, and one that runs
backwards gets each row turned round within its length: fused cells run over whole batches, and nothing is packed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.scoring.layers import feed, recurrence, tokens
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.written import array, written

_CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class OneWay(nn.Module):
    """One direction of one recurrent layer: (b, T, d), lengths (b,) -> (b, T, h).

    The forget gate starts open (bias 1), the recurrent weights orthogonal.
    chunk : steps after which gradients stop (truncated backpropagation through time).
    """

    def __init__(self, cell: str, inputs: int, outputs: int, reverse: bool = False, chunk: int | None = None):
        super().__init__()
        self.kind, self.reverse, self.chunk = cell, reverse, chunk
        self.cell = _CELLS[cell](inputs, outputs, batch_first=True)
        weight, state = self.cell.weight_ih_l0, self.cell.weight_hh_l0
        for gate in state.detach().split(outputs):
            nn.init.orthogonal_(gate)
        for gate in weight.detach().split(outputs):
            nn.init.xavier_uniform_(gate)
        for bias in (self.cell.bias_ih_l0, self.cell.bias_hh_l0):
            nn.init.zeros_(bias)
            role(bias, "bias")
        if cell == "lstm":
            with torch.no_grad():
                self.cell.bias_ih_l0[outputs : 2 * outputs] = 1.0

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        back = turned(x.shape[1], lengths)[..., None] if self.reverse else None
        if back is not None:
            x = x.gather(1, back.expand(-1, -1, x.shape[2]))
        made = self._over(x)
        return made if back is None else made.gather(1, back.expand(-1, -1, made.shape[2]))

    def _over(self, x: torch.Tensor) -> torch.Tensor:
        if self.chunk is None or x.shape[1] <= self.chunk:
            return self.cell(x)[0]
        state, parts = None, []
        for piece in x.split(self.chunk, dim=1):
            made, state = self.cell(piece.contiguous(), state)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
            parts.append(made)
        return torch.cat(parts, dim=1)

    def layer(self) -> Layer:
        c = self.cell
        weights = [np.ascontiguousarray(array(w).T) for w in (c.weight_ih_l0, c.weight_hh_l0)]
        return recurrence.Recurrent(self.kind, *weights, array(c.bias_ih_l0), array(c.bias_hh_l0), self.reverse)


def turned(steps: int, lengths: torch.Tensor) -> torch.Tensor:
    """Places (b, T) that turn each row round within its length."""
    place = torch.arange(steps, device=lengths.device)
    return torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)


class Recurrence(nn.Module):
    """Recurrent layers, one above the other: (b, T, d), lengths -> (b, T, width).

    Dropout between layers leaves out the same numbers at all steps of a row (Gal and Ghahramani 2016).
    """

    def __init__(
        self,
        cell: str,
        inputs: int,
        hidden: int,
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        chunk: int | None = None,
    ):
        super().__init__()
        self.ways = 2 if bidirectional else 1
        self.hidden, self.width = hidden, hidden * self.ways
        self.dropout = dropout
        self.layers = nn.ModuleList()
        for i in range(layers):
            below = self.width if i else inputs
            ways = (OneWay(cell, below, hidden, way > 0, chunk) for way in range(self.ways))
            self.layers.append(nn.ModuleList(ways))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        for i, ways in enumerate(self.layers):
            if i:
                x = same_dropout(x, self.dropout, self.training)
            made = [way(x, lengths) for way in ways]  # type: ignore[attr-defined]
            x = made[0] if len(made) == 1 else torch.cat(made, dim=-1)
        return x

    def layer(self) -> Layer:
        """Of pairs (values, lengths)."""
        parts: list[Layer] = []
        for ways in self.layers:
            made = [way.layer() for way in ways]  # type: ignore[attr-defined]
            parts.append(made[0] if len(made) == 1 else recurrence.SideBySide(made))
        return feed.Sequential(parts)


def same_dropout(x: torch.Tensor, share: float, training: bool) -> torch.Tensor:
    """Leaves out the same numbers at all steps (b, T, d)."""
    if not training or not share:
        return x
    return x * F.dropout(torch.ones_like(x[:, :1]), share, True)


class Pool(nn.Module):
    """Steps to one row: (b, T, d), lengths -> (b, width); see `everymodel.scoring.layers.recurrence.PoolSteps`."""

    def __init__(self, how: str, inputs: int, forward: int):
        super().__init__()
        self.how, self.ahead = how, forward
        self.width = inputs * (3 if how == "all" else 1)
        self.score = None
        if how == "attention":
            self.score = nn.Sequential(nn.Linear(inputs, inputs), nn.Tanh(), nn.Linear(inputs, 1))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        mask = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        parts = []
        if self.how in ("last", "all"):
            ends = x[torch.arange(len(x), device=x.device), lengths - 1, : self.ahead]
            parts.append(torch.cat([ends, x[:, 0, self.ahead :]], dim=1))
        if self.how in ("mean", "all"):
            parts.append((x * mask).sum(dim=1) / lengths[:, None])
        if self.how in ("max", "all"):
            parts.append(x.masked_fill(~mask, -torch.inf).amax(dim=1))
        if self.score is not None:
            share = self.score(x).masked_fill(~mask, -torch.inf).softmax(dim=1)
            parts.append((x * mask * share).sum(dim=1))
        return torch.cat(parts, dim=1)

    def layer(self) -> Layer:
        score = None if self.score is None else written(self.score)
        return recurrence.PoolSteps(self.how, self.ahead, score)


class WordVectors(nn.Module):
    """Vectors of tokens: kinds of tokens (b, T) -> (b, T, width).

    A kind is a token that differs from all others; what it looks up (its id, its runs of characters, its marks) lies in
    tables made once from `words`, so that nothing is computed per token.

    words : all kinds, those of the validation rows too. Sizes of 0 leave a part out.
    drop : share of the tokens (by kind, or one) whose id becomes the unknown one, so that its vector is learnt.
    """

    def __init__(
        self,
        reader: tokens.Tokens,
        words: Sequence[str],
        size: int,
        grams: tuple[int, int] = (0, 0),  # rows, size
        slots: tuple[int, int] = (0, 0),
        sizes: tuple[int, int] = (3, 5),
        cased: bool = False,
        drop: float | np.ndarray = 0.0,
    ):
        super().__init__()
        self.reader, self.sizes, self.cased = reader, sizes, cased
        share = np.broadcast_to(np.asarray(drop, dtype=np.float32), (len(words),))
        self.drops = bool(share.max(initial=0.0) > 0)
        self.register_buffer("drop", torch.tensor(share), persistent=False)
        self.table = role(torch.randn(reader.size, size) * 0.1, "embedding")
        self.register_buffer("ids", torch.tensor([reader.number(w) for w in words]), persistent=False)
        self.grams = self.slots = None
        self.width = size
        if grams[1]:
            self.grams = role(torch.randn(grams[0], grams[1]) * 0.1, "embedding")
            runs = [tokens.grams_of(w if cased else w.lower(), *sizes, grams[0]) for w in words]
            counts = torch.tensor([len(r) for r in runs])
            self.register_buffer("counts", counts, persistent=False)
            self.register_buffer("starts", counts.cumsum(0) - counts, persistent=False)
            self.register_buffer("runs", torch.tensor([i for r in runs for i in r]), persistent=False)
            self.width += grams[1]
        if slots[1]:
            self.slots = role(torch.randn(slots[0], slots[1]) * 0.1, "embedding")
            marks = torch.tensor([tokens.slots_of(w, slots[0]) for w in words])
            self.register_buffer("marks", marks, persistent=False)
            self.width += slots[1] * tokens.SLOTS

    def forward(self, kinds: torch.Tensor) -> torch.Tensor:
        flat = kinds.reshape(-1)
        ids = self.ids[flat]
        if self.training and self.drops:
            ids = ids.masked_fill(torch.rand(ids.shape, device=ids.device) < self.drop[flat], tokens.UNKNOWN)
        parts = [F.embedding(ids, self.table)]
        if self.grams is not None or self.slots is not None:
            some, back = flat.unique(return_inverse=True)
            if self.grams is not None:
                parts.append(F.embedding(back, self._of(some)))
            if self.slots is not None:
                parts.append(F.embedding(back, F.embedding(self.marks[some], self.slots).flatten(1)))
        return torch.cat(parts, dim=-1).view(*kinds.shape, -1)

    def _of(self, some: torch.Tensor) -> torch.Tensor:
        """Means of the runs of these kinds."""
        counts = self.counts[some]
        starts = counts.cumsum(0) - counts
        places = torch.arange(int(counts.sum()), device=some.device)
        places = places + torch.repeat_interleave(self.starts[some] - starts, counts)
        return F.embedding_bag(self.runs[places], self.grams, starts, mode="mean")

    def layer(self) -> Layer:
        return tokens.TokenVectors(
            self.reader, array(self.table), array(self.grams), array(self.slots), self.sizes, self.cased
        )


class WordSums(nn.Module):
    """Sums of weights of tokens and of pairs of neighbours: kinds (b, T), lengths, pairs (b, T) -> (b, k).

    pairs[:, t] is the place of the pair of tokens t and t + 1 (see `tokens.pair_of`); the last of a row is not used.
    """

    def __init__(self, reader: tokens.Tokens, words: Sequence[str], outputs: int, pairs: int):
        super().__init__()
        self.reader = reader
        self.register_buffer("ids", torch.tensor([reader.number(w) for w in words]), persistent=False)
        self.table = role(torch.zeros(reader.size, outputs), "embedding")
        self.pairs = role(torch.zeros(pairs, outputs), "embedding") if pairs else None

    def forward(self, kinds: torch.Tensor, lengths: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        step = torch.arange(kinds.shape[1], device=kinds.device)
        sums = (F.embedding(self.ids[kinds], self.table) * (step < lengths[:, None])[..., None]).sum(dim=1)
        if self.pairs is not None:
            sums = sums + (F.embedding(pairs, self.pairs) * (step + 1 < lengths[:, None])[..., None]).sum(dim=1)
        return sums / lengths[:, None].sqrt()

    def layer(self) -> Layer:
        return tokens.TokenSums(self.reader, array(self.table), array(self.pairs))
