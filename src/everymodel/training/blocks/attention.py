"""Blocks of networks that forecast and that write sequences."""

from __future__ import annotations

import torch
from torch import nn

from everymodel.scoring.layers import attention, feed, recurrence
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.recurrence import Recurrence
from everymodel.training.blocks.written import written


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
