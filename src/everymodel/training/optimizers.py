"""Optimisers, and which weights they treat in which way.

A parameter may carry a `role` (set by its block): "matrix", "bias", "scale" (gains and slopes), "embedding", "first"
and "last" (layers that face the data). Roles decide what decays, what Muon orthogonalises, and which factor of the
learning rate applies, so that a recipe is one table and no network is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._dynamo  # the first optimiser loads it, which takes a second: loaded here, forked processes share it
from torch import nn

from everymodel.core.errors import ParameterError
from everymodel.training.device import quick

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw", "muon")
_PLAIN = ("bias", "scale", "embedding")  # not pulled towards zero


@dataclass(frozen=True)
class Optimizer:
    """How one set of weights moves.

    Parameters
    ----------
    name : "sgd", "momentum" (Nesterov), "rmsprop", "adam", "adamw", "muon" (Jordan et al. 2024; matrices alone, all
        other weights by AdamW at `aside` times the rate).
    rate : learning rate at the top of the schedule.
    decay : pull towards zero (decoupled, except for sgd, momentum, rmsprop and adam, where it is an L2 penalty).
    momentum, betas, eps : as in the papers.
    factors : factor of the rate by role, such as {"bias": 0.1}.
    decays : factor of the decay by role; biases, gains and embeddings do not decay by default.
    aside : factor of the rate for what Muon does not move.
    """

    name: str = "adam"
    rate: float = 1e-3
    decay: float = 0.0
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    factors: Mapping[str, float] = field(default_factory=dict)
    decays: Mapping[str, float] = field(default_factory=dict)
    aside: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ParameterError(f"optimizer={self.name!r} is unknown: expected one of {', '.join(OPTIMIZERS)}.")


def role_of(parameter: nn.Parameter) -> str:
    """What the block said, else "matrix" for two or more axes and "bias" for one."""
    return getattr(parameter, "role", None) or ("matrix" if parameter.ndim > 1 else "bias")


class Group:
    """The optimisers that together move one set of weights, behind one step."""

    def __init__(self, plan: Optimizer, modules: Iterable[nn.Module], device: torch.device):
        self.plan = plan
        self.parameters = list(dict.fromkeys(p for m in modules for p in m.parameters() if p.requires_grad))
        sets: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
        for p in self.parameters:
            role = role_of(p)
            muon = plan.name == "muon" and role == "matrix" and p.ndim >= (3 if getattr(p, "members", False) else 2)
            rate = plan.rate * plan.factors.get(role, 1.0) * (plan.aside if plan.name == "muon" and not muon else 1.0)
            decay = plan.decay * plan.decays.get(role, 0.0 if role in _PLAIN else 1.0)
            sets.setdefault((muon, rate, decay), []).append(p)
        fused = device.type in ("cpu", "cuda", "mps")
        slow = [(ps, rate, decay) for (muon, rate, decay), ps in sets.items() if muon]
        rest = [{"params": ps, "lr": rate, "weight_decay": d} for (muon, rate, d), ps in sets.items() if not muon]
        self.optimizers: list[torch.optim.Optimizer] = []
        if rest:
            self.optimizers.append(_make(plan, rest, fused))
        if slow:
            groups = [{"params": ps, "lr": rate, "weight_decay": d} for ps, rate, d in slow]
            self.optimizers.append(Muon(groups, momentum=plan.momentum))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["top"] = group["lr"]
        self._ready()

    def _ready(self) -> None:
        kinds = (torch.optim.Adam, torch.optim.AdamW)
        self.steps = [_Direct(o) if isinstance(o, kinds) else o for o in self.optimizers]

    def set_rate(self, factor: float) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:  # asked anew: restoring a state makes new groups
                group["lr"] = group["top"] * factor

    def step(self) -> None:
        for steps in self.steps:
            steps.step()

    def divide(self, rows: int) -> None:
        """Gradients that were summed over rows become their mean."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if grads and rows > 1:
            torch._foreach_div_(grads, float(rows))  # pyright: ignore

    def clear(self) -> None:
        for p in self.parameters:
            p.grad = None

    def state(self) -> list[dict[str, Any]]:
        return [o.state_dict()["state"] for o in self.optimizers]

    def restore(self, states: list[dict[Any, Any]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": {int(k): v for k, v in state.items()}, "param_groups": groups})
            for p, own in optimizer.state.items():  # in the weights' memory order, which fused kernels take for granted
                for name, value in own.items():
                    if isinstance(value, torch.Tensor) and value.shape == p.shape and value.stride() != p.stride():
                        own[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)
        self._ready()  # the state holds other tensors now


def _make(plan: Optimizer, groups: list[dict[str, Any]], fused: bool) -> torch.optim.Optimizer:
    if plan.name in ("sgd", "momentum"):
        speed = plan.momentum if plan.name == "momentum" else 0.0
        return torch.optim.SGD(groups, momentum=speed, nesterov=speed > 0, fused=fused)
    if plan.name == "rmsprop":
        return torch.optim.RMSprop(groups, eps=plan.eps, foreach=True)
    kind = torch.optim.Adam if plan.name == "adam" else torch.optim.AdamW
    return kind(groups, betas=plan.betas, eps=plan.eps, fused=fused)


class _Direct:
    """Steps of a fused Adam by its kernel alone.

    What torch.optim does around the kernel (lists, groupings, hooks) costs more than the kernel where networks are
    small. Here lists are made once. A step for which a gradient is missing, as the first, goes the usual way.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        word = "_fused_adamw_" if isinstance(optimizer, torch.optim.AdamW) else "_fused_adam_"
        kinds = {(p.device, p.dtype) for group in optimizer.param_groups for p in group["params"]}
        self.kernel = getattr(torch, word, None) if optimizer.defaults.get("fused") and len(kinds) == 1 else None
        self.lists: list[tuple[list[torch.Tensor], ...]] | None = None

    @torch.no_grad()
    def step(self) -> None:
        groups = self.optimizer.param_groups
        grads = [[p.grad for p in group["params"]] for group in groups]
        if self.kernel is None or any(g is None for own in grads for g in own):
            self.optimizer.step()
            return
        if self.lists is None:
            self.optimizer.step()  # makes what the lists hold
            states = [[self.optimizer.state[p] for p in group["params"]] for group in groups]
            words = ("exp_avg", "exp_avg_sq", "step")
            self.lists = [tuple([state[word] for state in own] for word in words) for own in states]
            return
        for group, own, (first, second, steps) in zip(groups, grads, self.lists, strict=True):
            torch._foreach_add_(steps, 1)  # pyright: ignore
            self.kernel(
                *(group["params"], own, first, second, [], steps),
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal before each step.

    A weight of more than two axes counts as a matrix (first axis, all others); with a true attribute `members` it is
    (members, inputs, outputs), and each member's matrix is treated by itself. The orthogonal matrix is scaled by
    sqrt(max(1, rows / columns)), so that one rate suits all shapes.

    References
    ----------
    Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks.
    """

    def __init__(self, params: Any, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore
        for group in self.param_groups:
            speed = group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"]
                m.lerp_(p.grad, 1 - speed)
                push = p.grad.lerp(m, speed)
                if getattr(p, "members", False):
                    push = push.mT  # (k, rows, columns)
                    step = (orthogonal(push) * _scale(push)).mT
                else:
                    push = push.reshape(len(p), -1)  # (rows, columns)
                    step = (orthogonal(push) * _scale(push)).view_as(p)
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(step, alpha=-group["lr"])


def _scale(matrix: torch.Tensor) -> float:
    return max(1.0, matrix.shape[-2] / matrix.shape[-1]) ** 0.5


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearly orthogonal matrices (..., r, c) nearest to `matrix`, by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.to(getattr(torch, quick(matrix.device)))  # its few digits are enough: the iteration is rough itself
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)
