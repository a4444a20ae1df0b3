"""GAN of images with strided convolutions."""

from __future__ import annotations

from typing import Any

from torch import nn

from everymodel.models.generative._adversarial import Critic, Latent, Maker
from everymodel.models.generative._base import Data, fit
from everymodel.models.generative._gan import AdversarialEstimator
from everymodel.models.generative._strided import critic, maker
from everymodel.models.generative._views import Seen
from everymodel.scoring.steps.base import Step

__all__ = ["CARD", "DCGAN", "fit", "pack"]

CARD = {
    "name": "dcgan",
    "title": "Convolutional GAN",
    "summary": "Makes images by a game of two strided convolutional networks.",
    "choose": "Images of up to 64 x 64 pixels and a few hundred of them or more; the first choice without classes.",
    "avoid": "A handful of images, or when each class must be made on request, for which there is the conditional GAN.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": "image"},
    "cost": {"scale": 0.01, "rows_power": 0.2, "columns_power": 0.8},
    "references": [
        "Radford, Metz and Chintala (2016), Unsupervised representation learning with DCGANs.",
        "Huang, Gokaslan, Kuleshov and Tompkin (2024), The GAN is dead; long live the GAN! A modern GAN baseline.",
        "Liu, Wang, Bau, Zhu and Torralba (2020), Diverse image generation via self-conditioned GANs.",
        "Zhao, Liu, Lin, Zhu and Han (2020), Differentiable augmentation for data-efficient GAN training.",
    ],
    "advice": ["slow"],
    "priority": 2,
    "parameters": {
        "latent": {
            "default": "groups",
            "choices": ["groups", "mixture", "normal"],
            "text": "What samples are made of; groups are of images alike, found before the fit.",
        },
        "components": {},
        "latent_size": {},
        "width": {
            "type": "int",
            "default": 16,
            "low": 2,
            "high": 1024,
            "log": True,
            "text": "Channels of the largest maps; each smaller map has twice as many.",
        },
        "loss": {},
        "penalty": {},
        "augment": {},
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
        {"width": 4, "steps": 12, "latent_size": 8, "batch_size": 32, "random_state": 0},
        {
            "width": 4,
            "steps": 8,
            "latent": "mixture",
            "components": 8,
            "loss": "non_saturating",
            "augment": "none",
            "batch_size": 32,
            "random_state": 1,
        },
    ],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.dcgan:DCGAN", "tasks": ["generate"]}},
}


class DCGAN(AdversarialEstimator):
    """A GAN of images: strided transposed convolutions make them, strided convolutions judge them.

    The game is that of `VanillaGAN`. The generator is normalised by the batch, which makes it learn several times as
    fast; the critic is not, since gradient penalties keep it stable. Where images are few, the critic sees all of them,
    real and made, shifted and partly hidden, so that it cannot learn them by heart.

    Parameters
    ----------
    latent : "groups": images that look alike are grouped first, and both networks are told the group, so that no kind
        of image is given up (Liu et al. 2020); "normal", or "mixture" as in `VanillaGAN`.
    components : groups, at most, or vectors of the mixture. latent_size : numbers beside these; None: 64 at most.
    width : channels of the largest maps.
    loss, penalty, averaging : as in `VanillaGAN`.
    augment : "auto", "none", "shift" or "shift_cut".
    steps : steps of training; None: 5,000, or as many as the budget allows.
    learning_rate : None: 0.004 (0.064 / width for wider networks), or 0.0005 for the textbooks' losses.
    batch_size, budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, generator_, critic_, history_, film_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> images = (load_digits().images * 16).clip(0, 255).astype(np.uint8)
    >>> model = DCGAN(width=8, steps=60, random_state=0).fit(images)
    >>> model.sample(3, seed=0).shape
    (3, 8, 8, 1)
    """

    default_steps = 5_000
    images = True

    def __init__(
        self,
        latent: str = "groups",
        components: int = 256,
        latent_size: int | None = None,
        width: int = 16,
        loss: str = "relativistic",
        penalty: float | None = None,
        augment: str = "auto",
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
        self.latent_size = latent_size
        self.width = width
        self.loss = loss
        self.penalty = penalty
        self.augment = augment
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
        features, count = critic(data.shape, self.width)
        body = maker(latent.width, data.shape, self.width, self.width // 2, normalised=True)
        return Maker(latent, body), Critic(features, count, classes)

    def _augment(self, data: Data) -> Seen | None:
        return Seen.by(self.augment, len(data.values))


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes samples."""
    return model._step()
