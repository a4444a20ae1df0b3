"""Augmentation of images and signals on the device, a batch at a time, and the objective of networks that answer them.

Inputs keep the form they come in, channels last: (b, h, w, c) or (b, t, c), bytes or floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from everymodel.training.objective import Objective


@dataclass(frozen=True)
class Augment:
    """Moved, mirrored, partly hidden and mixed copies of a batch.

    Parameters
    ----------
    axes : of space. shift : most places that each axis moves by; the edge is continued.
    mirrors : axes of the input that are turned round in half of the rows each (1: upside down, 2: left-right).
    cutout : side of a box that is hidden, as a share of each axis; it becomes `fill` (c,).
    mixup : strength a of the Beta(a, a) by which pairs of rows are blended; the batch is then (x, y, other y, share).
    """

    axes: int = 2
    shift: tuple[int, ...] = (0, 0)
    mirrors: tuple[int, ...] = ()
    cutout: float = 0.0
    mixup: float = 0.0
    fill: torch.Tensor | None = None

    def __call__(self, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        x, y = batch
        b, device = len(x), x.device

        def draw(high: int, *shape: int) -> torch.Tensor:
            return torch.randint(high, shape, generator=generator, device=device)

        if any(self.shift) or self.mirrors:
            places = []
            for axis in range(1, self.axes + 1):
                side, reach = x.shape[axis], min(self.shift[axis - 1], x.shape[axis] - 1)
                line = torch.arange(side, device=device).expand(b, side)
                if reach:
                    line = (line + draw(2 * reach + 1, b, 1) - reach).clamp(0, side - 1)
                if axis in self.mirrors:
                    line = torch.where(draw(2, b, 1) > 0, side - 1 - line, line)
                places.append(line)
            row = torch.arange(b, device=device)
            if self.axes == 2:
                x = x[row[:, None, None], places[0][:, :, None], places[1][:, None, :]]
            else:
                x = x[row[:, None], places[0]]
        if self.cutout:
            hidden = torch.ones((b, *(1,) * self.axes), dtype=torch.bool, device=device)
            for axis in range(1, self.axes + 1):
                side = x.shape[axis]
                centre = draw(side, b, 1)
                away = (torch.arange(side, device=device) - centre).abs() * 2 < max(1, round(self.cutout * side))
                hidden = hidden & away.view(b, *(side if i == axis else 1 for i in range(1, self.axes + 1)))
            fill = torch.zeros((), device=device) if self.fill is None else self.fill.to(device)
            x = torch.where(hidden[..., None], fill.to(x.dtype), x)
        if not self.mixup:
            return x, y
        # A Beta(a, a) draw by two Gamma draws; torch's own samplers take no generator, so it is looked up in quantiles.
        share = _beta(self.mixup, torch.rand(b, generator=generator, device=device))
        order = torch.randperm(b, generator=generator, device=device)
        wide = share.view(b, *(1,) * (x.ndim - 1))
        return x.float() * wide + x[order].float() * (1 - wide), y, y[order], share


def _beta(a: float, u: torch.Tensor) -> torch.Tensor:
    """Quantiles u of Beta(a, a), by the sum of its density over a grid in the middle of 1024 cells."""
    grid = (torch.arange(1024, device=u.device, dtype=torch.float64) + 0.5) / 1024
    mass = torch.cumsum((grid * (1 - grid)) ** (a - 1), 0)
    found = torch.searchsorted(mass / mass[-1], u.double()).clamp(max=1023)
    return grid[found].float()


class Judged(Objective):
    """A network that answers rows: cross-entropy of classes, of labels each by itself, or squared error.

    loss : "softmax" (y int64), "sigmoid" (y (n, k) of 0 and 1) or "square" (y (n, t)).
    smoothing : share of each label that is spread over all classes while learning.
    """

    falls = True

    def __init__(self, net: nn.Module, loss: str, smoothing: float = 0.0):
        super().__init__(net=net)
        self.loss, self.smoothing = loss, smoothing

    def _cost(self, out: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
        """(b,) of each row."""
        if self.loss == "softmax":
            return F.cross_entropy(out, y, label_smoothing=smoothing, reduction="none")
        if self.loss == "sigmoid":
            y = y * (1 - smoothing) + smoothing / 2
            return F.binary_cross_entropy_with_logits(out, y, reduction="none").mean(dim=1)
        return (out - y).square().mean(dim=1)

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        out = nets["net"](batch[0])
        cost = self._cost(out, batch[1], self.smoothing)
        if len(batch) == 4:
            cost = cost * batch[3] + self._cost(out, batch[2], self.smoothing) * (1 - batch[3])
        return {"net": cost.mean()}

    def judge(self, nets: Any, batches: Any) -> dict[str, torch.Tensor | float]:
        total, right, rows = 0.0, 0.0, 0
        for x, y in batches:
            known = y >= 0 if self.loss == "softmax" else torch.ones(len(y), dtype=torch.bool, device=y.device)
            x, y = x[known], y[known]  # a class that was not learnt says nothing of an epoch
            if not len(y):
                continue
            out = nets["net"](x)
            total += float(self._cost(out, y, 0.0).sum())
            right += float((out.argmax(dim=1) == y).sum()) if self.loss == "softmax" else 0.0
            rows += len(y)
        told: dict[str, torch.Tensor | float] = {"loss": total / max(rows, 1)}
        return {**told, "accuracy": right / max(rows, 1)} if self.loss == "softmax" else told
