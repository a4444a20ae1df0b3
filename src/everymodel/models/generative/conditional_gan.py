"""GAN that makes rows or images of the class that is asked for."""

from __future__ import annotations

from typing import Any

from torch import nn

from everymodel.models.generative._adversarial import Critic, Latent, Maker
from everymodel.models.generative._base import Data, fit
from everymodel.models.generative._gan import AdversarialEstimator, usual_rate
from everymodel.models.generative._strided import critic, dense, dense_critic, maker
from everymodel.models.generative._views import Seen
from everymodel.scoring.steps.base import Step

__all__ = ["CARD", "ConditionalGAN", "fit", "pack"]

CARD = {
    "name": "conditional_gan",
    "title": "Conditional GAN",
    "summary": "Makes images or rows of the class that is asked for, by a game of two networks that both know it.",
    "choose": "Images or numeric rows with classes: samples of one class on request, or more rows of a rare one.",
    "avoid": "Data without classes, for which there are the plain GANs, and mixed tables.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": ["image", "matrix"]},
    "cost": {"scale": 0.01, "rows_power": 0.2, "columns_power": 0.8},
    "references": [
        "Mirza and Osindero (2014), Conditional generative adversarial nets.",
        "Miyato and Koyama (2018), cGANs with projection discriminator.",
        "Huang, Gokaslan, Kuleshov and Tompkin (2024), The GAN is dead; long live the GAN! A modern GAN baseline.",
    ],
    "advice": ["slow"],
    "priority": 1,
    "parameters": {
        "latent_size": {},
        "width": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 8192,
            "log": True,
            "text": "Channels of the largest maps (images; none: 16) or units of a layer (rows; none: 128).",
        },
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Rows: hidden layers of each network."},
        "loss": {},
        "penalty": {},
        "augment": {},
        "averaging": {"default": 0.01},
        "steps": {"text": "Steps of training; none: 5,000, or as many as the budget allows."},
        "batch_size": {"default": None, "text": "Rows per step; none: 64 images or 256 rows."},
        "learning_rate": {
            "default": None,
            "text": "Length of the longest step; none: 0.004 for images, 0.002 for rows; 0.0005 for textbook losses.",
        },
        "device": {},
    },
    "tiny": [
        {"width": 16, "steps": 30, "random_state": 0},
        {"width": 8, "depth": 1, "steps": 20, "loss": "least_squares", "random_state": 1},
    ],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.conditional_gan:ConditionalGAN", "tasks": ["generate"]},
    },
}


class ConditionalGAN(AdversarialEstimator):
    """A GAN whose two networks are told the class: y = G(z, e_c), and D(x, c) = w · f(x) + b + v_c · f(x).

    The game is that of `VanillaGAN`, real and made rows of a pair being of one class. Images are made by the strided
    networks of `DCGAN`, rows by dense layers.

    Parameters
    ----------
    latent_size : numbers in z; None: by the size of the data.
    width, depth : of the networks; None: 16 channels for images, 128 units for rows.
    loss, penalty, averaging : as in `VanillaGAN`. augment : as in `DCGAN`.
    steps : steps of training; None: 5,000, or as many as the budget allows.
    batch_size, learning_rate : None: 64 images and 0.004, or 0.064 / width, 256 rows and 0.002.
    budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    classes_ : (c,) sorted classes. step_, generator_, critic_, history_, film_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["low", "high"], 400)
    >>> X = np.where(y == "low", -3.0, 3.0)[:, None] + rng.normal(0, 0.5, (800, 2))
    >>> model = ConditionalGAN(steps=600, width=32, random_state=0).fit(X, y)
    >>> bool(model.sample(200, condition="high", seed=0).mean() > 1.5)
    True
    """

    conditional = True
    default_steps = 5_000

    def __init__(
        self,
        latent_size: int | None = None,
        width: int | None = None,
        depth: int = 2,
        loss: str = "relativistic",
        penalty: float | None = None,
        augment: str = "auto",
        averaging: float = 0.01,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.latent_size = latent_size
        self.width = width
        self.depth = depth
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
        if data.shape:
            width = self.width or 16
            features, count = critic(data.shape, width)
            body = maker(latent.width, data.shape, width, width // 2, normalised=True)
            return Maker(latent, body), Critic(features, count, classes)
        width, p = self.width or 128, data.values.shape[1]
        body = dense(latent.width, width, self.depth, nn.Linear(width, p))
        return Maker(latent, body), Critic(dense_critic(p, width, self.depth), width, classes)

    def _augment(self, data: Data) -> Seen | None:
        return Seen.by(self.augment, len(data.values)) if data.shape else None

    def _usual(self, data: Data) -> tuple[int, float]:
        images = bool(data.shape)
        return self.batch_size or (64 if images else 256), self.learning_rate or usual_rate(
            self.loss, (self.width or 16) if images else None
        )


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes samples."""
    return model._step()
