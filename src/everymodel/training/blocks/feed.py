"""Blocks of feed-forward networks, with a leading axis of members where wanted."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.written import array, written

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "silu": F.silu,
    "gelu": F.gelu,
    "mish": F.mish,
}


def role(parameter: torch.Tensor, word: str) -> nn.Parameter:
    """A parameter that optimisers treat as `word` says (see training/optimizers.py)."""
    made = parameter if isinstance(parameter, nn.Parameter) else nn.Parameter(parameter)
    made.role = word  # type: ignore[attr-defined]
    return made


class Activation(nn.Module):
    """a = phi(z) by name."""

    def __init__(self, kind: str = "relu"):
        super().__init__()
        self.kind, self.function = kind, ACTIVATIONS[kind]

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.function(z)

    def layer(self) -> Layer:
        return feed.Activation(self.kind)


class Dropout(nn.Dropout):
    """Leaves out a share of the numbers, in steps of 1/256: a random byte for each takes half of the time of a draw."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = min(round(256 * self.p), 255)
        if not self.training or not out:
            return x
        n = x.numel()
        draws = torch.empty((n + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        stay = draws.view(torch.uint8)[:n].view(x.shape) >= out
        return x * (stay.to(x.dtype) * (256 / (256 - out)))


class Thinned(nn.Module):
    """Leaves out a share of the numbers (..., width) of each row, by one of 1024 patterns that the row draws.

    Drawing a pattern costs a fifth of drawing every number of it. The patterns follow from the random state in which
    the block was made.
    """

    def __init__(self, width: int, share: float, patterns: int = 1024):
        super().__init__()
        # No buffer: they never change, so that no copy of the state needs them.
        self.patterns = (torch.rand(patterns, width) >= share).float() / (1 - share)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        if self.patterns.device != x.device:
            self.patterns = self.patterns.to(x.device)
        rows = torch.randint(len(self.patterns), (x.numel() // x.shape[-1],), device=x.device)
        return x * self.patterns.index_select(0, rows).view(x.shape)


class MemberLinear(nn.Module):
    """k weighted sums side by side: x (k, b, in) -> (k, b, out); each member starts as nn.Linear does.

    The leading axis is first in training, so that members are one batched product; answers put rows first.
    """

    def __init__(self, members: int, inputs: int, outputs: int, bias: bool = True):
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = role(torch.empty(members, inputs, outputs).uniform_(-bound, bound), "matrix")
        self.weight.members = True  # type: ignore[attr-defined]  # Muon makes each orthogonal by itself
        self.bias = role(torch.empty(members, 1, outputs).uniform_(-bound, bound), "bias") if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)

    def layer(self) -> Layer:
        return feed.Dense(array(self.weight), None if self.bias is None else array(self.bias)[:, 0])


class Residual(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Any) -> Any:
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))

    def layer(self) -> Layer:
        return feed.Residual(written(self.body), None if self.shortcut is None else written(self.shortcut))
