"""Several models of one shape trained as one: the folds of a cross-validation, or the seeds of an ensemble.

Every weight has a leading axis of members (blocks.feed.MemberLinear and its like). A step then is one product for all
instead of one after the other, and what PyTorch spends around a product is spent once. The sums themselves stay: where
they are most of the time (wide layers, one core), k members cost nearly k times one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from everymodel.core.errors import DataError
from everymodel.training.objective import Objective


def folds(n: int, k: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to fit (k, m) and rows held out (k, v) of n rows in k folds; each row is held out in one fold.

    Where k does not divide n, the smaller folds hold one of their rows twice and leave one row out of fitting, so that
    all have one shape.
    """
    if not 2 <= k <= n:
        raise DataError(f"{k} folds of {n} rows came: expected at least 2 folds and a row for each.")
    order = torch.randperm(n, generator=generator)
    v = -(-n // k)
    fit, held = [], []
    for part in torch.tensor_split(order, k):
        rest = torch.ones(n, dtype=torch.bool)
        rest[part] = False
        fit.append(order[rest[order]][: n - v])
        held.append(torch.cat([part, part[: v - len(part)]]))
    return torch.stack(fit), torch.stack(held)


class Members(Objective):
    """k networks as one; each fits its own rows, and keeps its own best epoch.

    Batches are those of Arrays(..., members=k, rows=...): (x (k, b, ...), y (k, b, ...)).

    Parameters
    ----------
    net : x (k, b, ...) to answers (k, b, ...).
    loss : answers (k * b, ...) and targets (k * b, ...) to losses (k * b,), such as F.cross_entropy(reduction="none").
    """

    falls = True

    def __init__(self, net: nn.Module, members: int, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        super().__init__(net=net)
        self.members, self.loss = members, loss

    def _losses(self, nets: Any, batch: Any) -> torch.Tensor:
        x, y = batch
        return self.loss(nets["net"](x).flatten(0, 1), y.flatten(0, 1)).view(len(x), -1)  # (k, b)

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        return {"net": self._losses(nets, batch).mean(dim=1).sum()}  # a sum: each member moves as if it were alone

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        losses = torch.cat([self._losses(nets, batch) for batch in batches], dim=1)
        return {"loss": losses.mean(dim=1)}
