"""Two networks that learn from one another: a generator makes data, a critic tells them from real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import ParameterError
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.likeness import coverage, kernel_distance
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.written import array, written
from everymodel.training.objective import Losses, Objective

LOSSES = ("relativistic", "non_saturating", "minimax", "least_squares", "hinge", "wasserstein")
PENALTIES = {"relativistic": 0.1, "wasserstein": 10.0}  # usual strengths; none for the other losses
_AHEAD = 5  # moves of a Wasserstein critic to one of the generator
_END = 0.01  # share of the first penalty that is left at the end
_JUDGED = 1000  # samples that are held against as many real rows
_FRAMES = 32  # of a film, at most
_FILM = 16  # samples in a frame
_SETTLED, _ROWS = 16, 250  # batches that the figures of normalisation are measured on, and their samples


def critic_loss(kind: str, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """What the critic makes small, from its scores of real and made rows (b,).

    relativistic: E s(-(D(x) - D(y))) (Jolicoeur-Martineau 2018; Huang et al. 2024), s = log(1 + exp);
    non_saturating, minimax: E s(-D(x)) + E s(D(y)) (Goodfellow et al. 2014); least_squares (Mao et al. 2017);
    hinge (Lim and Ye 2017); wasserstein: E D(y) - E D(x) (Arjovsky et al. 2017).
    """
    if kind == "relativistic":
        return F.softplus(fake - real).mean()
    if kind in ("non_saturating", "minimax"):
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "least_squares":
        return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "wasserstein":
        return fake.mean() - real.mean()
    raise ParameterError(f"loss={kind!r} is not known: expected one of {', '.join(LOSSES)}.")


def generator_loss(
    kind: str, real: torch.Tensor, fake: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """What the generator makes small; see `critic_loss`. weight : (b,) ones that know how likely each draw was."""
    if kind == "relativistic":
        each = F.softplus(real - fake)
    elif kind == "non_saturating":
        each = F.softplus(-fake)
    elif kind == "minimax":
        each = -F.softplus(fake)
    elif kind == "least_squares":
        each = 0.5 * (fake - 1) ** 2
    else:
        each = -fake
    if weight is None:
        return each.mean()
    told = each.detach()
    return each.mean() + ((weight - 1) * (told - told.mean())).mean()  # the second part is 0, its gradient is not


class Latent(nn.Module):
    """(z, code, class) -> (b, d): the latent variable with learnt vectors of its component and its class behind it.

    A normal variable is connected, so a network must lay bridges between separate groups of the data; a component of
    a mixture can belong to one group. With `learn_shares` components are drawn as often as the generator's loss wants:
    once groups are apart no component can move to a group that is made too seldom, since no gradient leads there.
    """

    def __init__(
        self,
        size: int,
        components: int = 0,
        code_size: int = 8,
        classes: int = 0,
        label_size: int = 16,
        learn_shares: bool = False,
    ):
        super().__init__()
        self.size = size
        self.codes = nn.Parameter(torch.randn(components, code_size)) if components else None
        self.labels = nn.Parameter(torch.randn(classes, label_size)) if classes else None
        learnt = components > 1 and learn_shares
        self.lean = nn.Parameter(torch.zeros(components)) if learnt else None  # logarithms of the shares
        for vectors in (self.codes, self.labels, self.lean):
            if vectors is not None:
                role(vectors, "embedding")

    @property
    def width(self) -> int:
        return self.size + sum(v.shape[1] for v in (self.codes, self.labels) if v is not None)

    def draw(self, n: int, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(z (n, size), code (n,) or None)."""
        device = next(iter(self.parameters()), torch.zeros(0)).device
        z = torch.randn(n, self.size, generator=generator, device=device)
        if self.codes is None:
            return z, None
        if self.lean is None:
            return z, torch.randint(len(self.codes), (n,), generator=generator, device=device)
        shares = self.lean.detach().float().softmax(dim=0)
        return z, torch.multinomial(shares, n, replacement=True, generator=generator)

    def weight(self, code: torch.Tensor | None) -> torch.Tensor | None:
        """(n,) of ones whose gradients are those of the logarithms of the shares of `code`; None without a mixture."""
        if code is None or self.lean is None:
            return None
        told = self.lean.log_softmax(dim=0)[code]
        return (told - told.detach()).exp()

    def forward(self, z: torch.Tensor, code: torch.Tensor | None, y: torch.Tensor | None) -> torch.Tensor:
        parts = [z]
        if self.codes is not None:
            parts.append(self.codes[code])
        if self.labels is not None:
            parts.append(self.labels[y])
        return torch.cat(parts, dim=1) if len(parts) > 1 else z  # (b, d)

    def arrays(self) -> dict[str, Any]:
        """What `LatentGenerator` needs to draw alike."""
        shares = None if self.lean is None else array(self.lean.softmax(dim=0))
        made = {"size": self.size, "codes": array(self.codes), "labels": array(self.labels)}
        return made if shares is None else {**made, "code_shares": shares}


class Maker(nn.Module):
    """Generator: a latent variable and a body that makes data of it."""

    def __init__(self, latent: Latent, body: nn.Module):
        super().__init__()
        self.latent, self.body = latent, body

    def forward(self, z: torch.Tensor, code: torch.Tensor | None, y: torch.Tensor | None) -> torch.Tensor:
        return self.body(self.latent(z, code, y))

    def layer(self) -> Layer:
        return written(self.body)


class Critic(nn.Module):
    """Scores rows: features f(x), then a weighted sum; for classes by the vector of the class (projection,
    Miyato and Koyama 2018): D(x, y) = w · f(x) + b + e_y · f(x).
    """

    def __init__(self, features: nn.Module, width: int, classes: int = 0):
        super().__init__()
        self.features, self.last = features, nn.Linear(width, 1)
        self.labels = role(torch.randn(classes, width) / width**0.5, "embedding") if classes else None

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        f = self.features(x).float()  # (b, width)
        with torch.autocast(f.device.type, enabled=False):  # scores are held against one another: all digits count
            score = self.last(f)[:, 0]
        return score if self.labels is None or y is None else score + (f * self.labels[y]).sum(dim=1)  # (b,)


class Adversarial(Objective):
    """The game of a generator and a critic, with a watch over it.

    Parameters
    ----------
    loss : one of LOSSES. penalty : strength of the gradient penalties: zero-centred on real and made rows
        (R1 + R2), for "wasserstein" one-centred between them (Gulrajani et al. 2017); it falls to `end` of itself.
    part : share of the rows of a batch that the penalties are taken on; they cost more than all the rest.
    augment : called with rows before the critic sees them, real and made alike.
    features : rows to (n, d) numbers in which real and made rows are compared; by default the rows themselves.
    conditional : whether batches hold classes, (x, y).

    Attributes
    ----------
    film : list of (share of the run, samples (16, ...)) made from the same draws.
    """

    ties = True

    def __init__(
        self,
        generator: Maker,
        critic: nn.Module,
        *,
        loss: str = "relativistic",
        penalty: float | None = None,
        end: float = _END,
        part: float = 1.0,
        augment: Callable[[torch.Tensor], torch.Tensor] | None = None,
        features: Callable[[torch.Tensor], torch.Tensor] | None = None,
        conditional: bool = False,
        seed: int = 0,
    ):
        super().__init__(generator=generator, critic=critic)
        if loss not in LOSSES:
            raise ParameterError(f"loss={loss!r} is not known: expected one of {', '.join(LOSSES)}.")
        self.loss, self.end, self.part, self.conditional, self.seed = loss, end, part, conditional, seed
        self.penalty = PENALTIES.get(loss, 0.0) if penalty is None else float(penalty)
        self.augment = augment or (lambda x: x)
        self.features = features or (lambda x: x.flatten(1))
        self.film: list[tuple[float, torch.Tensor]] = []
        self.best, self.low, self.told = 0.0, 0, None
        self.floor: float | None = None  # distance of as many real rows by chance
        self.at = 0  # steps so far
        self.scored: torch.Tensor | Any = None  # of the real rows of this step, by the critic

    def weights(self) -> dict[str, Iterable[nn.Module]]:
        return {"critic": [self.nets["critic"]], "generator": [self.nets["generator"]]}

    def step(self, nets: Any, batch: Any) -> Losses:
        real, y = (batch[0], batch[1]) if self.conditional else (batch[0], None)
        latent = nets["generator"].latent
        z, code = latent.draw(len(real))
        fake = nets["generator"](z, code, y)
        yield from self.play(nets, [("critic", real, fake)], y, latent.weight(code))

    def play(
        self,
        nets: Any,
        games: Sequence[tuple[str, torch.Tensor, torch.Tensor]],
        y: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        more: Callable[[], torch.Tensor] | None = None,
    ) -> Losses:
        """Losses of the critics, and then of all that made what they were shown.

        games : (name of the critic, real rows, made rows); a shorter game is of the first rows. y, weight : (n,) of the
        longest. more : what the generators make small besides.
        """
        known = []  # scores of real rows, of before the critic's move
        for name, real, fake in games:
            yield name, self._critic(nets[name], real, fake.detach(), None if y is None else y[: len(real)])
            known.append(self.scored)
        if self.loss == "wasserstein" and self.at % _AHEAD:
            return
        told = torch.zeros((), device=games[0][1].device)
        for (name, _, fake), right in zip(games, known, strict=True):
            n = len(fake)
            scores = nets[name](self.augment(fake), None if y is None else y[:n])
            told = told + generator_loss(self.loss, right, scores, None if weight is None else weight[:n])
        yield "generator", told if more is None else told + more()

    def _critic(self, critic: Any, real: torch.Tensor, fake: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        gamma = self.penalty * self.end**self.done
        if self.loss == "wasserstein":
            share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
            mid = (share * real + (1 - share) * fake).requires_grad_(True)
            slope = torch.autograd.grad(critic(mid, y).sum(), mid, create_graph=True)[0]
            penalty = self.penalty * ((slope.flatten(1).float().norm(dim=1) - 1) ** 2).mean()
            return critic_loss(self.loss, critic(real, y), critic(fake, y)) + penalty
        n = len(real)
        k = math.ceil(n * self.part) if gamma > 0 else 0  # pairs of rows that the penalties are taken on
        scores, penalty = [], 0.0
        for low, high in ((0, k), (k, n)):
            if low == high:
                continue
            both = torch.cat([real[low:high], fake[low:high]])
            if high == k:
                both.requires_grad_(True)
            scores.append(critic(self.augment(both), None if y is None else torch.cat([y[low:high]] * 2)))
            if high == k:  # (gamma / 2) (E |grad D(x)|^2 + E |grad D(y)|^2)
                slope = torch.autograd.grad(scores[0].sum(), both, create_graph=True)[0]
                penalty = gamma * slope.float().square().flatten(1).sum(dim=1).mean()
        right = torch.cat([s[: len(s) // 2] for s in scores])
        self.scored = right.detach()
        return critic_loss(self.loss, right, torch.cat([s[len(s) // 2 :] for s in scores])) + penalty

    def after_step(self, step: int) -> None:
        self.at = step

    def settle(self, y: torch.Tensor | None = None) -> None:
        """Measure what normalisation by the batch divides by anew, with the weights that answer: those of the run were
        of weights that moved. y : (n,) classes to draw from.
        """
        norms = [m for m in self.nets.modules() if isinstance(m, nn.BatchNorm2d)]
        if not norms:
            return
        generator = torch.Generator()
        generator.manual_seed(self.seed)
        self.nets.cpu()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all that follow
            norm.train()
        with torch.no_grad():
            for _ in range(_SETTLED):
                codes = None if y is None else y.cpu()[torch.randint(len(y), (_ROWS,), generator=generator)]
                self.made(self.nets, _ROWS, codes, generator)
        self.nets.eval()

    # --- the watch ---

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, Any]:
        """Distance and coverage of samples against real rows that were not learnt from.

        "loss" is the distance, or what it is by chance where it is below that: among weights that chance alone tells
        apart the last ones are the best, since what is finest in the data is learnt last.
        """
        seen = list(batches)
        real = torch.cat([b[0] for b in seen])[:_JUDGED]
        y = torch.cat([b[1] for b in seen])[:_JUDGED] if self.conditional else None
        generator = torch.Generator(device=real.device)
        generator.manual_seed(self.seed)
        parts = [slice(low, low + 250) for low in range(0, len(real), 250)]
        fake = torch.cat([self.made(nets, len(real[p]), None if y is None else y[p], generator) for p in parts])
        right = torch.cat([self.right(nets, real[p], fake[p], None if y is None else y[p]) for p in parts])
        self._film(fake[:_FILM])
        a, b = (self.features(x.float()).float().cpu().numpy().astype(np.float64) for x in (real, fake))
        self.told = None  # an earlier sentence is not said again
        if not np.isfinite(b).all():
            return {"loss": float("inf")}
        covered = coverage(a, b, max(5, len(a) // 50))  # wide balls: whether groups are missing, not how they look
        told = float(right.float().mean())
        self._watch(covered, told)
        if self.floor is None:
            self.floor = _chance(a, self.seed)
        return {"loss": max(kernel_distance(a, b), self.floor), "coverage": covered, "critic": told}

    def made(self, nets: Any, n: int, y: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        """`n` samples, of these classes where there are any."""
        maker = nets["generator"]
        return maker(*maker.latent.draw(n, generator), y)

    def right(self, nets: Any, real: torch.Tensor, fake: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        """(b,) whether the critic scores a real row above a made one."""
        return nets["critic"](real, y) > nets["critic"](fake, y)

    def _watch(self, covered: float, right: float) -> None:
        self.best = max(self.best, covered)
        self.low = self.low + 1 if covered < 0.5 * self.best and self.best > 0.2 else 0
        if self.low >= 3:
            why = "the critic was always right" if right > 0.99 else "samples became alike"
            fell = f"coverage fell from {self.best:.2f} to {covered:.2f}"
            self.told = f"Collapse: {fell}; {why}. The penalty is now 3 times as strong."
            self.low = 0
            self.penalty = max(3 * self.penalty, 0.1)

    def trouble(self) -> str | None:
        return self.told

    def _film(self, samples: torch.Tensor) -> None:
        if not self.film or self.done - self.film[-1][0] >= 1 / _FRAMES or self.done == 1:
            self.film.append((round(self.done, 4), samples.detach().float().cpu().clone()))

    def state(self) -> dict[str, Any]:
        return {"film": [[at, x] for at, x in self.film], "watch": [self.best, self.low, self.penalty, self.at]}

    def restore(self, state: dict[str, Any]) -> None:
        self.film = [(at, x) for at, x in state["film"]]
        self.best, self.low, self.penalty, self.at = state["watch"]


def _chance(rows: np.ndarray, seed: int) -> float:
    """How large the distance of two sets of real rows becomes by chance: twice that of halves of half the size."""
    rng = np.random.default_rng(seed)
    halves = [np.array_split(rows[rng.permutation(len(rows))], 2) for _ in range(4)]
    return 2 * float(np.mean([abs(kernel_distance(a, b)) for a, b in halves])) if len(rows) > 3 else 0.0
