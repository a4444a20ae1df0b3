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
_KNOWN = 64  # rows with a class that the guess learns from in a step
_WORTH = 5.0  # nats of the bound that a nat of a wrong guess weighs
NOISE = (-7.0, 2.0)  # log variances of standardised data


class Coder(nn.Module):
    """The encoder's body, its head, the decoder, the noise of a Gaussian likelihood, and, where classes of some rows
    are not known, what guesses them."""

    def __init__(
        self,
        body: nn.Module,
        features: int,
        decoder: nn.Module,
        size: int,
        classes: int,
        noise: int,
        guesses: bool = False,
    ):
        super().__init__()
        self.body, self.decoder, self.size = body, decoder, size
        self.head = nn.Linear(features + classes, 2 * size)
        with torch.no_grad():
            self.head.weight.mul_(0.5)
        self.noise = role(torch.full((noise,), -1.0), "bias") if noise else None
        self.guess = nn.Linear(features, classes) if guesses else None

    def posterior(
        self, x: torch.Tensor, y: torch.Tensor, seen: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(mu, log variance); `seen` are the body's features of x where they are at hand."""
        out = self.head(torch.cat([self.body(x) if seen is None else seen, y], dim=1))
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

    def _bounds(
        self, nets: Any, batch: Any, draws: int, features: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(log likelihood (k, b), KL of each hidden number (b, d), log weights (k, b))."""
        x, y = batch
        coder = nets["coder"]
        mu, log = coder.posterior(x, y, features)
        sigma = torch.exp(0.5 * log)
        eps = torch.randn(draws, *mu.shape, device=mu.device)
        z = mu + sigma * eps  # (k, b, d)
        flat = torch.cat([z, y.expand(draws, *y.shape)], dim=2).flatten(0, 1)
        many = x.expand(draws, *x.shape).flatten(0, 1)
        seen = self.log_likelihood(coder, many, coder.decoder(flat)).view(draws, len(x))
        divergence = 0.5 * (mu**2 + torch.exp(log) - log - 1)
        return seen, divergence, seen + 0.5 * (eps**2 + log - z**2).sum(dim=2)

    def step(self, nets: Any, batch: Any) -> Losses:
        return {"net": self._cost(*self._bounds(nets, batch, self.given["importance"]))}

    def _cost(
        self,
        seen: torch.Tensor,
        divergence: torch.Tensor,
        weights: torch.Tensor,
        share: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The mean over rows of the negative bound; share (b,): how much each row counts, 1 in the mean."""
        g = self.given
        beta = g["beta"] * (min(self.done / g["warm_up"], 1.0) if g["warm_up"] else 1.0)
        if share is not None:
            seen, divergence = seen * share, divergence * share[:, None]
        if g["importance"] > 1 and beta == 1.0:
            bound = torch.logsumexp(weights, dim=0) - math.log(len(weights))
            return -(bound if share is None else bound * share).mean()
        cost = (
            divergence.mean(dim=0).clamp(min=g["free_bits"]).sum() if g["free_bits"] else divergence.sum(dim=1).mean()
        )
        return -seen.mean() + beta * cost

    def _judged(self, nets: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(bound (b,), KL (b, d), means of the hidden numbers (b, d)), with as many draws as are learnt with."""
        seen, divergence, weights = self._bounds(nets, batch, self.given["importance"])
        bound = (
            torch.logsumexp(weights, dim=0) - math.log(len(weights))
            if len(weights) > 1
            else seen[0] - self.given["beta"] * divergence.sum(dim=1)
        )
        return bound, divergence, nets["coder"].posterior(*batch)[0]

    def judge(self, nets: Any, batches: Any) -> dict[str, Any]:
        """The bound on rows that were not learnt from, with as many draws, and hidden numbers that are in use."""
        total, divergences, means, rows = 0.0, 0.0, [], 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for batch in batches:
                bound, divergence, mean = self._judged(nets, batch)
                total, rows = total + float(-bound.sum()), rows + len(bound)
                divergences = divergences + float(divergence.sum())
                means.append(mean)
        active = int((torch.cat(means).var(dim=0) > 0.01).sum()) if rows > 1 else 0
        return {"loss": total / rows, "divergence": divergences / rows, "active": active}


class Partly(Evidence):
    """The bound where the classes of some rows are not known (Kingma et al. 2014, M2): for these the mean of the bounds
    with each class, by what the network guesses, and the entropy of that guess.

    Rows without a class have a zero vector in place of it.
    """

    def __init__(self, known: tuple[torch.Tensor, torch.Tensor], *given: Any):
        super().__init__(*given)
        self.known = known  # rows as the networks are given them, and their classes (one at its place, else zero)

    def _every(self, nets: Any, batch: Any) -> tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor]:
        """(bounds of each row with each class, one row of b after the other; chances (b, c); entropies (b,))."""
        x, y = batch
        coder, (b, c) = nets["coder"], y.shape
        features = coder.body(x)
        told = y.sum(dim=1, keepdim=True)
        logs = F.log_softmax(coder.guess(features), dim=1)
        chances = torch.where(told > 0, y, logs.exp())
        entropies = -(chances * logs).sum(dim=1) * (1 - told[:, 0])
        every = torch.eye(c, device=x.device, dtype=y.dtype).repeat(b, 1)
        wide = x.repeat_interleave(c, dim=0), every
        bounds = self._bounds(nets, wide, self.given["importance"], features.repeat_interleave(c, dim=0))
        return bounds, chances, entropies

    def step(self, nets: Any, batch: Any) -> Losses:
        bounds, chances, entropies = self._every(nets, batch)
        c = chances.shape[1]
        loss = c * self._cost(*bounds, share=chances.flatten()) - entropies.mean()
        rows = torch.randint(len(self.known[0]), (_KNOWN,))
        x, y = (t[rows].to(batch[0].device) for t in self.known)
        if self.likelihood == "bernoulli":
            x = (torch.rand_like(x) < x).to(x.dtype)
        wrong = -(y * F.log_softmax(nets["coder"].guess(nets["coder"].body(x)), dim=1)).sum(dim=1).mean()
        return {"net": loss + _WORTH * wrong}

    def _judged(self, nets: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        (seen, divergence, weights), chances, entropies = self._every(nets, batch)
        b, c = chances.shape
        single = seen.mean(dim=0) - self.given["beta"] * divergence.sum(dim=1)
        each = torch.logsumexp(weights, dim=0) - math.log(len(weights)) if len(weights) > 1 else single
        bound = (chances * each.view(b, c)).sum(dim=1) + entropies
        mean = nets["coder"].posterior(batch[0], chances)[0]
        return bound, (chances[:, :, None] * divergence.view(b, c, -1)).sum(dim=1), mean


def drawn(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Grey values as chances of white, drawn anew for every batch (dynamic binarisation)."""
    x, y = batch
    return (torch.rand(x.shape, generator=generator, device=x.device) < x).to(x.dtype), y
