"""GAN of images from coarse to fine: a Laplacian pyramid of games."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import ParameterError
from everymodel.models.generative._adversarial import Adversarial, Critic, Latent, Maker
from everymodel.models.generative._base import Data, fit
from everymodel.models.generative._gan import AdversarialEstimator
from everymodel.models.generative._strided import critic, maker, started
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.generating import PyramidGenerator
from everymodel.training.blocks.written import written
from everymodel.training.objective import Losses

__all__ = ["CARD", "LAPGAN", "fit", "pack"]

CARD = {
    "name": "lapgan",
    "title": "Laplacian pyramid of GANs",
    "summary": "Makes a small image first and then adds finer and finer detail, each level by a game of its own.",
    "choose": "Images whose sides can be halved once or more, when the coarse shape should be learnt before detail.",
    "avoid": "Images of odd sides, or a few hundred images of 8 pixels, for which DCGAN is enough.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": "image"},
    "cost": {"scale": 0.015, "rows_power": 0.2, "columns_power": 0.8},
    "references": [
        "Denton, Chintala, Szlam and Fergus (2015), Deep generative image models using a Laplacian pyramid.",
        "Burt and Adelson (1983), The Laplacian pyramid as a compact image code.",
        "Isola, Zhu, Zhou and Efros (2017), Image-to-image translation with conditional adversarial networks.",
        "Karnewar and Wang (2020), MSG-GAN: multi-scale gradients for generative adversarial networks.",
    ],
    "advice": ["slow"],
    "priority": 4,
    "parameters": {
        "latent": {
            "default": "groups",
            "choices": ["groups", "mixture", "normal"],
            "text": "What the coarsest images are made of; groups are of images alike, found before the fit.",
        },
        "components": {},
        "levels": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 6,
            "text": "Times that sides are doubled, as far as the image can be halved; none: from 16 pixels or fewer.",
        },
        "latent_size": {},
        "width": {
            "type": "int",
            "default": 16,
            "low": 2,
            "high": 1024,
            "log": True,
            "text": "Channels of the largest maps.",
        },
        "loss": {},
        "penalty": {},
        "reconstruction": {
            "type": "float",
            "default": 100.0,
            "low": 0.0,
            "high": 10_000.0,
            "text": "How strongly detail is held to the image that was halved; 0: not at all.",
        },
        "averaging": {"default": 0.01},
        "steps": {"text": "Steps of training; none: 5,000, or as many as the budget allows."},
        "batch_size": {"default": 64},
        "learning_rate": {
            "default": None,
            "text": "Length of the longest step; none: 0.004, or 0.0005 for the textbooks' losses.",
        },
        "device": {},
    },
    "tiny": [
        {"width": 4, "steps": 8, "latent_size": 8, "levels": 1, "batch_size": 32, "random_state": 0},
        {
            "width": 4,
            "steps": 4,
            "latent": "normal",
            "latent_size": 4,
            "loss": "hinge",
            "batch_size": 16,
            "random_state": 1,
        },
    ],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.lapgan:LAPGAN", "tasks": ["generate"]}},
}

_COARSE = 16  # pixels of the coarsest image, at most, where levels are not given: one game learns such a one quickly
_PART, _FEWEST = 8, 4  # an eighth of the rows, or so many, are enough for all but the finest critic


def down(images: torch.Tensor) -> torch.Tensor:
    """(b, c, h, w) -> (b, c, h / 2, w / 2): means of two by two."""
    return F.avg_pool2d(images, 2)


def up(images: torch.Tensor) -> torch.Tensor:
    """(b, c, h, w) -> (b, c, 2 h, 2 w): straight lines between the pixels."""
    return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


def pyramid(images: torch.Tensor, levels: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(coarsest image, details from coarse to fine): h_k = I_k - up(down(I_k))."""
    details = []
    for _ in range(levels):
        small = down(images)
        details.append(images - up(small))
        images = small
    return images, details[::-1]


def whole(coarse: torch.Tensor, details: Iterable[torch.Tensor]) -> torch.Tensor:
    """The inverse of `pyramid`."""
    for detail in details:
        coarse = up(coarse) + detail
    return coarse


class Finer(nn.Module):
    """Latent map and enlarged image -> that image with detail: up + body([up, z]), at half the size, which is the real
    size of what was enlarged and costs half as much as the whole.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.body = started(
            nn.Sequential(
                *(nn.Conv2d(channels + 1, width, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(width)),
                *(nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)),
                *(nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)),
                *(nn.LeakyReLU(0.2), nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)),
            )
        )
        with torch.no_grad():
            self.body[-1].weight.mul_(0.1)  # detail is small

    def forward(self, z: torch.Tensor, larger: torch.Tensor) -> torch.Tensor:
        return larger + self.body(torch.cat([larger, z], dim=1))


class Pyramid(Adversarial):
    """A game on each level: a finer generator enlarges what the level below has made, and a critic judges the images of
    its own size.

    The finest critic sees all samples and teaches all generators: taught level by level from real images alone (as in
    the paper), a finer generator never sees the faults of what it is given. The smaller critics see a part of the rows.
    Detail made for a real image is held against its own, which says at once what critics say after long.
    """

    def __init__(
        self,
        maker: Maker,
        critics: list[Critic],
        finer: list[Finer],
        reconstruction: float,
        **given: Any,
    ):
        super().__init__(maker, critics[-1], **given)
        self.reconstruction, self.levels = reconstruction, len(finer)
        for k, (one, other) in enumerate(zip(finer, critics, strict=False), 1):
            self.nets[f"generator_{k}"], self.nets[f"critic_{k}"] = one, other

    def weights(self) -> dict[str, Iterable[nn.Module]]:
        critics = {name: [net] for name, net in self.nets.items() if name.startswith("critic")}
        return {**critics, "generator": [net for name, net in self.nets.items() if name.startswith("generator")]}

    def step(self, nets: Any, batch: Any) -> Losses:
        real, y = [batch[0]], batch[1] if self.conditional else None
        for _ in range(self.levels):
            real.insert(0, down(real[0]))
        latent, n = nets["generator"].latent, len(batch[0])
        z, code = latent.draw(n)
        fake, few = self._levels(nets, z, code, y), max(n // _PART, min(_FEWEST, n))
        names = [*(f"critic_{k}" for k in range(1, self.levels + 1)), "critic"]
        counts = [*[few] * self.levels, n]
        games = [(name, a[:m], b[:m]) for name, a, b, m in zip(names, real, fake, counts, strict=True)]
        parts = [images[:few] for images in real]
        more = (lambda: self._off(nets, parts)) if self.levels and self.reconstruction else None
        yield from self.play(nets, games, y, latent.weight(code), more)

    def _off(self, nets: Any, real: list[torch.Tensor]) -> torch.Tensor:
        """How far detail made for real images, from coarse to fine, is from their own."""
        found = torch.zeros((), device=real[0].device)
        for k in range(1, self.levels + 1):
            larger = up(real[k - 1])
            found = found + (nets[f"generator_{k}"](noise(larger), larger) - real[k]).square().mean()
        return self.reconstruction * found

    def _levels(
        self,
        nets: Any,
        z: torch.Tensor,
        code: torch.Tensor | None,
        y: torch.Tensor | None,
        generator: torch.Generator | None = None,
    ) -> list[torch.Tensor]:
        """Images from coarse to fine."""
        made = [nets["generator"](z, code, y)]
        for k in range(1, self.levels + 1):
            larger = up(made[-1])
            made.append(nets[f"generator_{k}"](noise(larger, generator), larger))
        return made

    def made(self, nets: Any, n: int, y: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        return self._levels(nets, *nets["generator"].latent.draw(n, generator), y, generator)[-1]


def noise(images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """A latent map (b, 1, h, w) for images (b, c, h, w)."""
    b, _, h, w = images.shape
    return torch.randn(b, 1, h, w, generator=generator, device=images.device)


class LAPGAN(AdversarialEstimator):
    """A pyramid of GANs: the coarsest makes a small image, each finer one the detail that the enlarged image lacks.

        I_K = G_K(z_K),   I_k = up(I_k+1) + G_k(z_k, up(I_k+1))

    Each level has a critic of its own and the game of `VanillaGAN`. Levels are taught together, by gradients that go
    from the finest critic through all of them (Karnewar and Wang 2020); the paper teaches each by itself.

    Parameters
    ----------
    latent, components : of the coarsest images, as in `DCGAN`.
    levels : doublings, as far as the sides can be halved and stay 4 or more; None: one, and more until the coarsest
        image has 16 pixels a side or fewer.
    latent_size : numbers in z_K; None: by the size of the coarsest image. Finer levels have a map each.
    width : channels of the largest maps.
    loss, penalty, averaging : as in `VanillaGAN`.
    reconstruction : weight of the mean squared distance of a finer image to the real one whose half it was made from
        (pixels in -1 to 1), as images are translated (Isola et al. 2017); 0: the critics alone.
    steps : steps of training; None: 5,000, or as many as the budget allows.
    learning_rate : None: 0.004 (0.064 / width for wider networks), or 0.0005 for the textbooks' losses.
    batch_size, budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    levels_ : doublings that there are. step_, generator_, critic_, history_, film_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 16).clip(0, 255).astype(np.uint8)
    >>> model = LAPGAN(width=8, steps=40, random_state=0).fit(images)
    >>> model.sample(3, seed=0).shape, model.levels_
    ((3, 8, 8, 1), 1)
    """

    default_steps = 5_000
    images = True

    def __init__(
        self,
        latent: str = "groups",
        components: int = 256,
        levels: int | None = None,
        latent_size: int | None = None,
        width: int = 16,
        loss: str = "relativistic",
        penalty: float | None = None,
        reconstruction: float = 100.0,
        averaging: float = 0.01,
        steps: int | None = None,
        batch_size: int = 64,
        learning_rate: float | None = None,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.latent = latent
        self.components = components
        self.levels = levels
        self.latent_size = latent_size
        self.width = width
        self.loss = loss
        self.penalty = penalty
        self.reconstruction = reconstruction
        self.averaging = averaging
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def _build(self, data: Data, latent: Latent, classes: int) -> tuple[Maker, nn.Module]:
        if self.levels is not None and (not isinstance(self.levels, Integral) or self.levels < 1):
            raise ParameterError(f"levels={self.levels!r} came; expected a whole number from 1, or None.")
        if not isinstance(self.reconstruction, Real) or not 0 <= self.reconstruction < float("inf"):
            raise ParameterError(f"reconstruction={self.reconstruction!r} came; expected a number from 0.")
        h, w, c = data.shape
        self.levels_ = 0
        while h % 2 == w % 2 == 0 and min(h, w) >= 8 and self._more(max(h, w)):
            h, w, self.levels_ = h // 2, w // 2, self.levels_ + 1
        if not self.levels_:
            data.notes.append(f"Sides of {h} x {w} cannot be halved: there is one level, as in DCGAN.")
        coarse = (h, w, c)
        # Small maps are cheap, and what they lack is the most: the smaller, the wider.
        width, *finer = (self.width << min(self.levels_ - k, 3) for k in range(self.levels_ + 1))
        self._finer = [Finer(c, wide) for wide in finer]
        self._critics = [Critic(*critic((h << k, w << k, c), wide), classes) for k, wide in enumerate((width, *finer))]
        body = maker(latent.width, coarse, width, width // 2, normalised=True)
        return Maker(latent, body), self._critics[-1]

    def _more(self, side: int) -> bool:
        """Whether an image of this longer side is to be halved again."""
        if self.levels is None:
            return not self.levels_ or side > _COARSE
        return self.levels_ < self.levels

    def _game(self, maker: Maker, critic: nn.Module, **given: Any) -> Adversarial:
        return Pyramid(maker, self._critics, self._finer, self.reconstruction, **given)

    def _written(self, maker: Maker, latent: Latent, data: Data, classes: dict[str, Any]) -> PyramidGenerator:
        finer = tuple(written(one.cpu().body) for one in self._finer)
        h, w, _ = data.shape
        size = latent.size + sum((h >> i) * (w >> i) for i in range(self.levels_))
        del self._finer, self._critics
        told = {**latent.arrays(), **data.units(), **classes, "size": size}
        return PyramidGenerator(network=written(maker), finer=finer, **told)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes samples."""
    return model._step()
