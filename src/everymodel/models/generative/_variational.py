"""Networks and objective of variational autoencoders."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from everymodel.training.blocks.feed import role
from everymodel.training.objective import Losses, Objective

_CLAMP = 10.0  # largest log variance, either way
NOISE = (-7.0, 2.0)  # log variances of standardised data


class Coder(nn.Module):
    """The encoder's body, its head, the decoder, and the noise of a Gaussian likelihood."""

    def __init__(self, body: nn.Module, features: int, decoder: nn.Module, size: int, classes: int, noise: int):
        super().__init__()
        self.body, self.decoder, self.size = body, decoder, size
        self.head = nn.Linear(features + classes, 2 * size)
        with torch.no_grad():
            self.head.weight.mul_(0.5)
        self.noise = role(torch.full((noise,), -1.0), "bias") if noise else None

    def posterior(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.head(torch.cat([self.body(x), y], dim=1))
        return out[:, : self.size], out[:, self.size :].clamp(-_CLAMP, _CLAMP)


class Evidence(Objective):
    """The negative evidence lower bound, -E_q log p(x | z) + beta KL(q(z | x) || p(z)), or the weighted bound."""

    falls = True

    def __init__(self, coder: Coder, likelihood: str, counts: tuple[int, ...], settings: dict[str, Any]):
        super().__init__(coder=coder)
        self.likelihood, self.counts, self.given = likelihood, counts, settings

    def log_likelihood(self, coder: Any, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """(b,) log p(x | z)."""
        if self.likelihood == "bernoulli":
            return -F.binary_cross_entropy_with_logits(out, x, reduction="none").flatten(1).sum(dim=1)
        if self.likelihood == "categorical":
            pairs = zip(x.split(self.counts, dim=1), out.split(self.counts, dim=1), strict=True)
            return torch.stack([(a * F.log_softmax(o, dim=1)).sum(dim=1) for a, o in pairs]).sum(dim=0)
        noise = coder.noise.clamp(*NOISE)
        gap = (x - out).flatten(1)
        return -0.5 * (gap * gap * torch.exp(-noise) + noise + math.log(2 * math.pi)).sum(dim=1)

    def _bounds(self, nets: Any, batch: Any, draws: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(log likelihood (k, b), KL of each hidden number (b, d), log weights (k, b))."""
        x, y = batch
        coder = nets["coder"]
        mu, log = coder.posterior(x, y)
        sigma = torch.exp(0.5 * log)
        eps = torch.randn(draws, *mu.shape, device=mu.device)
        z = mu + sigma * eps  # (k, b, d)
        flat = torch.cat([z, y.expand(draws, *y.shape)], dim=2).flatten(0, 1)
        many = x.expand(draws, *x.shape).flatten(0, 1)
        seen = self.log_likelihood(coder, many, coder.decoder(flat)).view(draws, len(x))
        divergence = 0.5 * (mu**2 + torch.exp(log) - log - 1)
        return seen, divergence, seen + 0.5 * (eps**2 + log - z**2).sum(dim=2)

    def step(self, nets: Any, batch: Any) -> Losses:
        g = self.given
        seen, divergence, weights = self._bounds(nets, batch, g["importance"])
        beta = g["beta"] * (min(self.done / g["warm_up"], 1.0) if g["warm_up"] else 1.0)
        if g["importance"] > 1 and beta == 1.0:
            return {"net": -(torch.logsumexp(weights, dim=0) - math.log(len(weights))).mean()}
        cost = (
            divergence.mean(dim=0).clamp(min=g["free_bits"]).sum() if g["free_bits"] else divergence.sum(dim=1).mean()
        )
        return {"net": -seen.mean() + beta * cost}

    def judge(self, nets: Any, batches: Any) -> dict[str, Any]:
        """The bound on rows that were not learnt from, with as many draws, and hidden numbers that are in use."""
        total, divergences, means, rows = 0.0, 0.0, [], 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for batch in batches:
                seen, divergence, weights = self._bounds(nets, batch, self.given["importance"])
                bound = (
                    torch.logsumexp(weights, dim=0) - math.log(len(weights))
                    if len(weights) > 1
                    else seen[0] - self.given["beta"] * divergence.sum(dim=1)
                )
                total, rows = total + float(-bound.sum()), rows + len(bound)
                divergences = divergences + float(divergence.sum())
                means.append(nets["coder"].posterior(*batch)[0])
        active = int((torch.cat(means).var(dim=0) > 0.01).sum()) if rows > 1 else 0
        return {"loss": total / rows, "divergence": divergences / rows, "active": active}


def drawn(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Grey values as chances of white, drawn anew for every batch (dynamic binarisation)."""
    x, y = batch
    return (torch.rand(x.shape, generator=generator, device=x.device) < x).to(x.dtype), y
