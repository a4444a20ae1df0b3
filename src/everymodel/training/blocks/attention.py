"""Blocks of networks that forecast and that write sequences."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from everymodel.scoring.layers import attention, feed, recurrence
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.recurrence import OneWay, Recurrence
from everymodel.training.blocks.written import array, written


class WindowReader(nn.Module):
    """Windows (b, L) to what comes next (b, k): a straight line over the window, and what a recurrent network adds.

    The line starts where `start` (L, k) says, the network at nothing, so that learning begins at that forecast.
    """

    def __init__(
        self, cell: str, length: int, outputs: int, hidden: int, layers: int, dropout: float, start: torch.Tensor
    ):
        super().__init__()
        self.line = nn.Linear(length, outputs)
        self.recurrence = Recurrence(cell, 1, hidden, layers, bidirectional=False, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, outputs)
        with torch.no_grad():
            self.line.weight.copy_(start.T)
            self.line.bias.zero_()
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = torch.full((len(x),), x.shape[1], device=x.device)
        states = self.recurrence(x[..., None], lengths)  # (b, L, h)
        return self.line(x) + self.head(self.dropout(states[:, -1]))

    def layer(self) -> Layer:
        parts = [
            attention.WindowSteps(),
            self.recurrence.layer(),
            recurrence.PoolSteps("last", self.recurrence.hidden),
            written(self.head),
        ]
        return feed.Residual(feed.Sequential(parts), written(self.line))


class Reader(nn.Module):
    """What is read: vectors of tokens or numbers (b, T, e) through recurrent layers both ways, (b, T, 2 h)."""

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.recurrence = Recurrence(cell, inputs, hidden, layers, bidirectional=True, dropout=dropout)
        self.width = self.recurrence.width
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.recurrence(self.dropout(x), lengths))

    def layer(self) -> Layer:
        return self.recurrence.layer()


class Writer(nn.Module):
    """Scores of all next tokens, given what was read and the tokens before (teacher forcing): all steps at once.

    See `everymodel.scoring.layers.attention.Writer`, which writes one step after the other.
    """

    def __init__(self, cell: str, words: int, embedding: int, inputs: int, hidden: int, how: str, dropout: float):
        super().__init__()
        self.kind, self.how, self.hidden = cell, how, hidden
        self.table = role(torch.randn(words, embedding) * 0.1, "embedding")
        self.cell = OneWay(cell, embedding, hidden)
        self.start = nn.Sequential(nn.Linear(inputs, hidden * (2 if cell == "lstm" else 1)), nn.Tanh())
        self.keys = nn.Linear(inputs, hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.score = nn.Parameter(torch.randn(hidden) / hidden**0.5) if how == "additive" else None
        self.readout = nn.Linear(hidden + inputs, embedding)
        self.outputs = nn.Linear(embedding, words)
        self.outputs.weight = self.table  # the same vectors read and write
        nn.init.zeros_(self.outputs.bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """(b, T, d), (b,), tokens before each step (b, U) -> what the tokens are scored by, (b, U, e)."""
        mask = torch.arange(values.shape[1], device=values.device) < lengths[:, None]  # (b, T)
        mean = (values * mask[..., None]).sum(dim=1) / lengths[:, None]
        state = self.start(mean)
        if self.kind == "lstm":
            first: Any = tuple(s.contiguous()[None] for s in state.split(self.hidden, dim=1))
        else:
            first = state[None]
        s = self.cell.cell(self.dropout(F.embedding(before, self.table)), first)[0]  # (b, U, h)
        keys, query = self.keys(values), self.query(s)
        if self.score is None:
            a = query @ keys.transpose(1, 2) / self.hidden**0.5  # (b, U, T)
        else:
            a = torch.tanh(keys[:, None] + query[:, :, None]) @ self.score
        share = a.masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)
        return self.dropout(torch.tanh(self.readout(torch.cat([s, share @ values], dim=-1))))

    def layer(self, beams: int, penalty: float, most: int) -> Layer:
        """As a numpy layer that keeps so many sentences while it writes."""
        return attention.Writer(
            array(self.table), self.cell.layer(), written(self.start), written(self.keys), written(self.query),
            written(self.readout), written(self.outputs), self.how, array(self.score), beams, penalty, most,
        )  # fmt: skip
