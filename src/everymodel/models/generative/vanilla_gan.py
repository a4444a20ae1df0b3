"""The first GAN: two plain networks, for rows of numbers and small images."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from everymodel.models.generative._adversarial import Critic, Latent, Maker
from everymodel.models.generative._base import Data, fit
from everymodel.models.generative._gan import AdversarialEstimator
from everymodel.models.generative._strided import dense, dense_critic
from everymodel.scoring.steps.base import Step

__all__ = ["CARD", "VanillaGAN", "fit", "pack"]

CARD = {
    "name": "vanilla_gan",
    "title": "Generative adversarial network",
    "summary": "Makes new rows or small images by a game of two plain networks: one makes, one tells apart.",
    "choose": "Numeric rows or small images with separate groups, all of which must come back in the samples.",
    "avoid": "Mixed tables, for which there are models of tables, and larger images, for which there is DCGAN.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": ["matrix", "image"]},
    "cost": {"scale": 0.001, "rows_power": 0.2, "columns_power": 0.5},
    "references": [
        "Goodfellow et al. (2014), Generative adversarial nets.",
        "Huang, Gokaslan, Kuleshov and Tompkin (2024), The GAN is dead; long live the GAN! A modern GAN baseline.",
    ],
    "advice": ["slow"],
    "priority": 5,
    "parameters": {
        "latent": {},
        "components": {},
        "latent_size": {},
        "width": {"type": "int", "default": 128, "low": 2, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers of each network."},
        "loss": {},
        "penalty": {},
        "averaging": {},
        "steps": {"text": "Steps of training; none: 10,000, or as many as the budget allows."},
        "batch_size": {"default": 256},
        "learning_rate": {
            "default": None,
            "text": "Length of the longest step; none: 0.002, or 0.0005 for the textbooks' losses.",
        },
        "device": {},
    },
    "tiny": [
        {"width": 16, "steps": 60, "components": 8, "random_state": 0},
        {"width": 8, "depth": 1, "steps": 30, "latent": "normal", "loss": "hinge", "random_state": 1},
        {"width": 8, "steps": 30, "loss": "wasserstein", "averaging": 0.0, "random_state": 2},
    ],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.vanilla_gan:VanillaGAN", "tasks": ["generate"]},
    },
}


class VanillaGAN(AdversarialEstimator):
    """A generator G and a critic D of dense layers, each against the other.

        min_D  E s(D(y) - D(x)) + gamma/2 (E |grad D(x)|^2 + E |grad D(y)|^2)
        min_G  E s(D(x) - D(y)),    y = G(z, e_k),  s(t) = log(1 + exp t)

    Scores are compared in pairs of a real row x and a made row y, so no group of real rows can be given up without
    loss; both gradient penalties keep the game stable; e_k is one of many learnt vectors, so groups of the data need no
    bridges between them; of up to 8 columns D sees sines too, so it can tell where in a narrow group a row lies;
    samples come from a moving average of the generator.

    Parameters
    ----------
    latent : "mixture" or "normal". components : vectors of the mixture. latent_size : numbers in z; None: as many as
        the data have columns, 12 to 64.
    width, depth : of both networks.
    loss : "relativistic", or by name one of the textbook losses (see `_adversarial.critic_loss`).
    penalty : strength gamma of the gradient penalties on standardised data; about the square of the finest structure's
        size. None: usual for the loss. It falls over the run.
    averaging : half-life of the moving average as a share of the run; 0: the last weights answer.
    steps : steps of training; None: 10,000, or as many as the budget allows.
    learning_rate : None: 0.002, or 0.0005 for the textbooks' losses, which the penalties do not hold.
    batch_size, budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, generator_, critic_, history_, film_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-3, 0.3, (500, 2)), rng.normal(3, 0.3, (500, 2))])
    >>> model = VanillaGAN(steps=800, width=32, random_state=0).fit(X)
    >>> made = model.sample(400, seed=1)
    >>> bool(0.25 < (made[:, 0] > 0).mean() < 0.75)
    True
    """

    def __init__(
        self,
        latent: str = "mixture",
        components: int = 256,
        latent_size: int | None = None,
        width: int = 128,
        depth: int = 2,
        loss: str = "relativistic",
        penalty: float | None = None,
        averaging: float = 0.006,
        steps: int | None = None,
        batch_size: int = 256,
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
        self.depth = depth
        self.loss = loss
        self.penalty = penalty
        self.averaging = averaging
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def _values(self, data: Data) -> torch.Tensor:
        return data.flat

    def _build(self, data: Data, latent: Latent, classes: int) -> tuple[Maker, nn.Module]:
        p = math.prod(data.shape) if data.shape else data.values.shape[1]
        body = dense(latent.width, self.width, self.depth, nn.Linear(self.width, p))
        return Maker(latent, body), Critic(dense_critic(p, self.width, self.depth), self.width, classes)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes samples."""
    return model._step()
