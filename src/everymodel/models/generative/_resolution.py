"""Networks, games and patches of super-resolution."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import everymodel.training.blocks.convolution  # noqa: F401 - how convolutions are written down
from everymodel.core.seeds import derive
from everymodel.models.generative._adversarial import Adversarial, Critic, generator_loss
from everymodel.models.generative._strided import critic, started
from everymodel.scoring.steps.enhancing import bicubic, resized
from everymodel.training.blocks.feed import Residual
from everymodel.training.objective import Losses, Objective
from everymodel.training.source import Source

_EPS = 1e-3  # of the pixel loss
_PART = 0.25  # of the pairs of a batch on which the critic's slopes are held
_OCTAVES = 2  # of detail whose strength is held to that of real patches
_WINDOW = 12  # pixels of the large image, the side of the windows in which strengths are compared
_STRENGTH = 0.5  # weight of their difference beside that of the pixels
_AIM = 0.75  # of the energy of real patches; with more the error becomes larger than that of bicubic enlargement
_FAINT = 0.01  # strength that is not told from none: noise is not learnt
_COST, _MOST = 2.0, 20.0  # times as much as strength too much, strength that lacks costs at the start, and at most
_TURN = 8.0  # by which the logarithm of a cost would move over a run where most detail was missing: slowly, since the
# network follows slowly
TURNS = 4  # quarter turns that the judge tells apart


class Patches(Source):
    """Pairs of patches cut at random, turned and mirrored: (small (b, 1, s, s), large (b, 1, f s, f s), which).

    small, large : luminance (h, w) of bytes, the large ones `factor` times as high and wide. which : the image's number
    times 4 plus its quarter turns.
    """

    def __init__(
        self, small: list[np.ndarray], large: list[np.ndarray], factor: int, side: int, batch: int, count: int
    ):
        self.small, self.large, self.factor, self.batch, self.count = small, large, factor, batch, count
        self.side = min(side, *(min(x.shape) for x in small))
        area = np.array([x.size for x in small], dtype=np.float64)
        self.chance = area / area.sum()
        self.device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        self.device = device

    def steps(self) -> int:
        return self.count

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        for i in range(start, self.count):
            rng = np.random.default_rng(derive(seed, "patches", number, i))
            yield self._batch(rng)

    def ordered(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for i in range(8):
            yield self._batch(np.random.default_rng(i))

    def _batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        s, f = self.side, self.factor
        small = np.empty((self.batch, 1, s, s), dtype=np.float32)
        large = np.empty((self.batch, 1, f * s, f * s), dtype=np.float32)
        chosen = rng.choice(len(self.small), self.batch, p=self.chance)
        turns, mirrors = rng.integers(0, TURNS, self.batch), rng.integers(0, 2, self.batch)
        for i, (k, turn, mirror) in enumerate(zip(chosen, turns, mirrors, strict=True)):
            image = self.small[k]
            y, x = rng.integers(0, image.shape[0] - s + 1), rng.integers(0, image.shape[1] - s + 1)
            pair = image[y : y + s, x : x + s], self.large[k][f * y : f * (y + s), f * x : f * (x + s)]
            a, b = (np.rot90(p[:, ::-1] if mirror else p, turn) for p in pair)
            small[i, 0], large[i, 0] = a, b
        made = (
            torch.from_numpy(small).div_(255),
            torch.from_numpy(large).div_(255),
            torch.from_numpy(chosen * TURNS + turns),
        )
        return tuple(t.to(self.device) for t in made)


class Detail(nn.Module):
    """Small luminance (b, 1, h, w) -> what bicubic enlargement lacks (b, 1, f h, f w).

    All convolutions work on the small image; the last one gives f^2 channels that become pixels (Shi et al. 2016).
    There is no normalisation.
    """

    def __init__(self, factor: int, width: int, blocks: int):
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(1, width, 5, padding=2), nn.ReLU()]
        for _ in range(blocks):
            body = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            started(body)
            with torch.no_grad():
                body[2].weight.mul_(0.1)  # type: ignore[operator]
            parts.append(Residual(body))
        last = nn.Conv2d(width, factor * factor, 3, padding=1)
        started(nn.Sequential(parts[0]))
        nn.init.normal_(last.weight, 0.0, 1e-3)
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(*parts, last, nn.PixelShuffle(factor))
        self.factor = factor

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        with torch.autocast(small.device.type, enabled=False):  # 16 bits do not hold the levels of a pixel
            large = enlarged(small, self.factor)
        return large + self.body(small).float()


def enlarged(small: torch.Tensor, factor: int) -> torch.Tensor:
    """Bicubic enlargement."""
    h, w = small.shape[-2:]
    rows, columns = (torch.from_numpy(bicubic(n, n * factor)).to(small) for n in (h, w))
    return rows @ small @ columns.T


class Pixels(Objective):
    """Charbonnier loss, mean of sqrt((x - y)^2 + eps^2) (Lai et al. 2017): near the absolute error."""

    falls = True

    def __init__(self, net: Detail, held: list[tuple[np.ndarray, np.ndarray]]):
        super().__init__(net=net)
        self.held = held

    def step(self, nets: Any, batch: Any) -> Losses:
        return {"net": charbonnier(nets["net"](batch[0]), batch[1])}

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, Any]:
        """Peak signal-to-noise ratio on whole images that were held out, "loss" being its negative."""
        found = []
        for small, large in self.held:
            device = next(nets["net"].parameters()).device
            x = torch.from_numpy(small.astype(np.float32) / 255)[None, None].to(device)
            gap = nets["net"](x)[0, 0].clamp(0, 1).cpu().numpy() * 255.0 - large
            found.append(10 * np.log10(255.0**2 / max(float((gap[4:-4, 4:-4] ** 2).mean()), 1e-9)))
        return {"loss": -float(np.mean(found)), "psnr": float(np.mean(found))}


def charbonnier(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return torch.sqrt((made - real) ** 2 + _EPS**2).mean()


class Judge(nn.Module):
    """Large patches -> which image they are from and how they are turned; its maps say what they show."""

    def __init__(self, side: int, width: int, classes: int):
        super().__init__()
        body, count = critic((side, side, 1), width)
        self.body, self.last = body, nn.Linear(count, classes)
        self.cut = 6  # modules whose output is compared: three strided convolutions

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body[: self.cut](2 * x - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(2 * x - 1))


class Recognition(Objective):
    """Cross-entropy of the judge, on large patches."""

    falls = True

    def __init__(self, judge: Judge):
        super().__init__(net=judge)

    def step(self, nets: Any, batch: Any) -> Losses:
        return {"net": F.cross_entropy(nets["net"](batch[1]), batch[2])}


class Texture(nn.Module):
    """Scores large patches (b, 1, f s, f s) by their texture.

    The pixels that the maker makes of one small pixel become channels again: patterns on that grid, which a critic of
    strided convolutions learns to see late, are plain to it. No map is padded, so borders give no cue.
    """

    def __init__(self, factor: int, side: int, width: int):
        super().__init__()
        parts: list[nn.Module] = [nn.PixelUnshuffle(factor), nn.Conv2d(factor**2, width, 3), nn.LeakyReLU(0.2)]
        side -= 2
        for before in (width, 2 * width):
            if side < 4:
                break
            parts += [nn.Conv2d(before, 2 * width, 4, stride=2), nn.LeakyReLU(0.2)]
            side = side // 2 - 1
        count = parts[-2].out_channels * side * side  # type: ignore[operator]
        self.critic = Critic(started(nn.Sequential(*parts, nn.Flatten())), count)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.critic(x)


class Vivid(Adversarial):
    """Pixels, features of the judge, the strength of detail, and the game of a relativistic critic on large patches.

    The image is moved along p + w (|p| / |g|) g, g the gradient of the game with regard to its pixels and p that of

        charbonnier + w_f |phi(G(x)) - phi(y)| + w_s sum_k E (c_k max(d, 0) + max(-d, 0) + |m_k(G(x)) - m_k(y)|)

    where d = s_k(y) - s_k(G(x)), and s_k and m_k are strength and mean of the detail of an octave in windows, for each
    place in the grid of pixels that come of one small pixel: else patterns on that grid would do. Strength that lacks
    costs c_k times as much as strength too much, and c_k is turned until the energies of made patches are a given share
    of those of real ones, by the mean of their logarithms: patches count alike, however much is in them. So s_k becomes
    a quantile of what it could be: where it is known, as at edges, no more than it is, else the higher the more is
    missing.
    """

    def __init__(self, net: Detail, critic: nn.Module, judge: Judge, weights: tuple[float, float], **given: Any):
        super().__init__(net, critic, part=_PART, **given)  # type: ignore[arg-type]
        self.judged, (self.feature, self.pull) = judge.eval().requires_grad_(False), weights
        self.factor = net.factor
        self.costs, self.since = torch.full((_OCTAVES,), _COST), 0.0

    def step(self, nets: Any, batch: Any) -> Losses:
        small, real = batch[0], batch[1]
        self.judged.to(small.device)
        made = nets["generator"](small)
        yield "critic", self._critic(nets["critic"], 2 * real - 1, 2 * made.detach() - 1, None)
        seen = made.detach().requires_grad_(True)
        game = generator_loss(self.loss, self.scored, nets["critic"](2 * seen - 1))
        near = charbonnier(seen, real) + _STRENGTH * self._lack(seen, real)
        if self.feature:
            with torch.no_grad():
                wanted = self.judged.features(real).float()
            shown = (self.judged.features(seen).float() - wanted).abs().mean() / wanted.abs().mean().clamp(min=1e-6)
            near = near + self.feature * shown
        towards, vivid = (torch.autograd.grad(loss, seen)[0] for loss in (near, game))
        weight = self.pull * towards.norm() / vivid.norm().clamp(min=1e-12)
        moved = (made * (towards + weight * vivid)).sum()
        yield "generator", (near + weight * game).detach() + moved - moved.detach()

    def _lack(self, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """What the strengths of detail cost; turns these costs."""
        self.costs = self.costs.to(made.device)
        total, logs = torch.zeros((), device=made.device), torch.zeros_like(self.costs)
        told = zip(strengths(made, self.factor), strengths(real, self.factor), strict=True)
        for k, ((own, mean), (wanted, other)) in enumerate(told):
            gap = wanted - own
            total = total + (self.costs[k] * F.relu(gap) + F.relu(-gap)).mean() + (mean - other).abs().mean()
            energies = (s.detach().square().flatten(1).mean(dim=1) for s in (own, wanted))  # (b,) each
            logs[k] = torch.log(next(energies) / next(energies)).mean() - math.log(_AIM)
        share, self.since = max(self.done - self.since, 0.0), self.done
        self.costs = (self.costs * torch.exp(-_TURN * share * logs.clamp(-1, 1))).clamp(1 / _MOST, _MOST)
        return total

    def state(self) -> dict[str, Any]:
        return {**super().state(), "costs": [self.costs, self.since]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.costs, self.since = state["costs"]

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, Any]:
        """Energy of fine detail against that of real images; 1 is as much."""
        energies = []
        for small, real, _ in batches:
            made = nets["generator"](small)
            energies.append([fine(x).item() for x in (made, real)])
        made, real = np.sum(energies, axis=0)
        ratio = float(made / max(real, 1e-12))
        return {"loss": abs(np.log(max(ratio, 1e-6))), "detail": ratio}


def octave(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(what is lost when images (b, 1, h, w) are halved and enlarged again, the halves); of odd sides but the last."""
    h, w = (side - side % 2 for side in x.shape[-2:])
    x = x[..., :h, :w]
    small = F.avg_pool2d(x, 2)
    return x - F.interpolate(small, scale_factor=2, mode="bilinear"), small


def fine(x: torch.Tensor) -> torch.Tensor:
    """Energy of the finest octave of images (b, 1, h, w)."""
    return octave(x)[0].square().mean()


def strengths(x: torch.Tensor, factor: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(roots of the mean energies, means) in windows (b, places, m, n) of the finest octaves of images (b, 1, h, w),
    each place in the grid of `factor` pixels by itself.
    """
    found = []
    for k in range(_OCTAVES):
        if min(x.shape[-2:]) < 4:
            break
        lost, x = octave(x)
        period = factor // math.gcd(factor, 1 << k)  # of the grid, in pixels of this octave
        h, w = (n - n % period for n in lost.shape[-2:])
        places = F.pixel_unshuffle(lost[..., :h, :w], period)
        side = min(max((_WINDOW >> k) // period, 2), *places.shape[-2:])
        mean, power = (F.avg_pool2d(v, side, max(side // 2, 1)) for v in (places, places.square()))
        found.append(((power + _FAINT**2).sqrt(), mean))
    return found


def halved(image: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """(small, large) luminance of bytes: the image cut to sides that the factor divides, and shrunk by bicubic."""
    h, w = (s - s % factor for s in image.shape)
    large = image[:h, :w]
    small = resized(large.astype(np.float64), h // factor, w // factor)
    return np.clip(np.rint(small), 0, 255).astype(np.uint8), large
