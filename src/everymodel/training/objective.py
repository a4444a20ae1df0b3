"""What is learnt: the networks, which optimiser owns which weights, and the losses of one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

Losses = dict[str, torch.Tensor] | Iterator[tuple[str, torch.Tensor]]


class Objective:
    """Base of all objectives.

    `step` gives a loss for each optimiser, in one of two forms. A dict: all gradients are taken at the same weights,
    then all optimisers move (a classifier, a policy with its value). A generator of (optimiser, loss): each optimiser
    moves before the next loss is computed (a discriminator, then the generator against what it has become; a critic,
    then the actor).

    Parameters
    ----------
    nets : networks by name; they are trained, checkpointed and restored together.

    Attributes
    ----------
    members : k where every weight has a leading axis of k independent members (folds, seeds) whose best weights are
        then kept each by itself; None for one model.
    falls : whether the loss of a run that goes well stays near or below that of the first step, as in supervised
        learning. An epoch far above it then counts as diverged, though its loss is a number; losses of games between
        networks, or of values that an agent learns to expect, may grow.
    """

    members: int | None = None
    falls: bool = False
    ties: bool = False  # of equally good validated weights the later ones are kept
    done: float = 0.0  # share of the run that is over, set by the loop before each step

    def __init__(self, **nets: nn.Module):
        self.nets = nn.ModuleDict(nets)

    def weights(self) -> dict[str, Iterable[nn.Module]]:
        """Which networks each optimiser moves; by default one optimiser called "net" moves all."""
        return {"net": self.nets.values()}

    def step(self, nets: Any, batch: Any) -> Losses:
        """Losses of one batch, each a scalar tensor with a graph."""
        raise NotImplementedError

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        """Validation figures; "loss" (lower is better) decides early stopping, (k,) where there are members.

        Runs without gradients and in evaluation mode. By default the mean over batches of the first loss of `step`.
        """
        total, rows = torch.zeros(()), 0
        for batch in batches:
            losses = self.step(nets, batch)
            loss = next(iter(losses.values())) if isinstance(losses, dict) else next(losses)[1]
            size = size_of(batch)
            total, rows = total + loss.detach().float().cpu() * size, rows + size
        return {"loss": total / max(rows, 1)}

    def after_step(self, step: int) -> None:
        """Called after every update (target networks, counters); must not read values from the device."""

    def trouble(self) -> str | None:
        """After a validation: a sentence where the run must go back to its best weights, such as a collapse; or None.

        The loop goes back at most `TURNS` times, then it ends with the best weights.
        """
        return None

    def reached(self) -> bool:
        """After a validation: whether what was asked for is reached, so that the run may end."""
        return False

    def state(self) -> dict[str, Any]:
        """What besides weights and optimisers a checkpoint must hold: tensors, numbers, texts, lists."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


def size_of(batch: Any) -> int:
    """Rows of a batch: the length of its first tensor, or what it says itself."""
    if isinstance(batch, torch.Tensor):
        return len(batch)
    if isinstance(batch, dict):
        return size_of(next(iter(batch.values())))
    if isinstance(batch, tuple | list):
        return size_of(batch[0])
    return len(batch)
