"""A GAN of mixed tables: a generator makes whole rows, a critic tells them from real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.core.errors import DataError
from everymodel.core.seeds import derive
from everymodel.models.generative._adversarial import Adversarial, Critic, Latent, Maker
from everymodel.models.generative._base import Generative
from everymodel.models.generative._table import LOOKS, TableModel, fit, learn
from everymodel.models.generative._table_quality import evaluate
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.made_fields import Field, outputs_of, rows_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.made_tables import LatentTable
from everymodel.training.blocks.written import written
from everymodel.training.estimator import set_aside
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Endless

__all__ = ["CARD", "TableGAN", "evaluate", "fit", "pack"]

CARD = {
    "name": "table_gan",
    "title": "Generative adversarial network of tables",
    "summary": "Makes rows of a mixed table by a game of two networks: one makes rows, one tells them from real ones.",
    "choose": "To compare with the other models of tables, or to walk between rows of a latent space.",
    "avoid": "When made rows shall be as good as real ones: the diffusion model is closer, and never unstable.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": "table"},
    "cost": {"scale": 0.004, "rows_power": 0.4, "columns_power": 0.5},
    "references": [
        "Xu, Skoularidou, Cuesta-Infante and Veeramachaneni (2019), Modeling tabular data using conditional GAN.",
        "Huang, Gokaslan, Kuleshov and Tompkin (2024), The GAN is dead; long live the GAN! A modern GAN baseline.",
    ],
    "advice": ["slow"],
    "priority": 14,
    "parameters": {
        "latent": {"text": "What rows are made of; a normal variable cannot leave gaps between groups of rows."},
        "components": {},
        "latent_size": {},
        "width": {"type": "int", "default": 256, "low": 2, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers of each network."},
        "temperature": {
            "type": "float",
            "default": 0.3,
            "low": 0.01,
            "high": 10.0,
            "log": True,
            "text": "How soft the choice of a word is while learning.",
        },
        "loss": {},
        "penalty": {},
        "averaging": {},
        "steps": {"text": "Steps of training; none: by the number of rows, or as many as the budget allows."},
        "batch_size": {"default": 256},
        "learning_rate": {"default": 0.001},
        "device": {},
    },
    "tiny": [
        {"width": 32, "steps": 200, "components": 16, "random_state": 0},
        {"width": 16, "depth": 1, "steps": 60, "latent": "normal", "loss": "hinge", "penalty": 0.1, "random_state": 1},
    ],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.table_gan:TableGAN", "tasks": ["generate"]}},
}
_HELD = (0.1, 1000)


class TableGAN(TableModel, Generative):
    """A generator makes rows of numbers (as normal scores) and words, a critic compares them in pairs with real ones.

    Words are drawn softly while learning, softmax((logits + Gumbel noise) / temperature), so that the critic's gradient
    reaches the generator; samples draw them from softmax(logits). The game is that of VanillaGAN. Asked cells: many
    latent variables are drawn, those that make such cells likely are kept in proportion, and the cells are put in.

    Parameters
    ----------
    latent, components, latent_size, width, depth, loss, penalty, averaging : as for VanillaGAN.
    temperature : of the soft choice.
    steps, batch_size, learning_rate, budget, device, checkpoint, random_state, verbose : as for TableDiffusion.

    Attributes
    ----------
    step_, form_, notes_, history_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> import pandas as pd
    >>> kind = np.random.default_rng(0).choice(["cat", "dog"], 400)
    >>> frame = pd.DataFrame({"kind": kind, "barks": kind == "dog"})
    >>> made = TableGAN(steps=200, width=32, random_state=0).fit(frame).sample(5, {"kind": "cat"}, seed=0)
    >>> made.kind.tolist()
    ['cat', 'cat', 'cat', 'cat', 'cat']
    """

    def __init__(
        self,
        latent: str = "mixture",
        components: int = 256,
        latent_size: int | None = None,
        width: int = 256,
        depth: int = 2,
        temperature: float = 0.3,
        loss: str = "relativistic",
        penalty: float | None = None,
        averaging: float = 0.006,
        steps: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
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
        self.temperature = temperature
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

    def fit(self, X: Any, y: Any = None) -> TableGAN:
        """Learn from a table X (a frame, or rows (n, p)); y (n,) is one more column of it."""
        seed = self._seed()
        self.form_ = learn(X, y, seed=seed)
        fields = self.form_.fields
        rows = torch.from_numpy(rows_of(fields, self.form_.u))
        n, p = rows.shape
        if bool((rows == rows[:1]).all()):
            raise DataError("All rows are equal, so there is nothing to learn: give rows that differ.")
        batch = int(min(self.batch_size, max(n // 2, 1)))
        epochs = self._length(int(np.clip(100 * n / batch, 2000, 10_000)), looks=LOOKS)
        rng = np.random.default_rng(derive(seed, "held"))
        kept, held = set_aside(n, min(_HELD[0], _HELD[1] / n), rng) if n > 20 else (np.arange(n), np.arange(n))
        size = self.latent_size or int(np.clip(len(fields), 2, 64))
        with self._initial():
            latent = Latent(size, self.components if self.latent == "mixture" else 0)
            maker = Maker(latent, Rows(fields, latent.width, self.width, self.depth, self.temperature))
            critic = Critic(dense(p, self.width, self.depth), self.width)
        objective = Adversarial(maker, critic, loss=self.loss, penalty=self.penalty, seed=derive(seed, "watch"))
        self._train(
            objective,
            Endless(rows[torch.from_numpy(kept)], batch=batch, count=self.epoch_),
            valid=Arrays(rows[torch.from_numpy(held)], batch=250, shuffle=False),
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            half_life=self.averaging or None,
            schedule="flat_cosine",
            optimizers=Optimizer("adam", self.learning_rate, betas=(0.0, 0.99)),
        )
        self.history_.notes[:0] = self.form_.notes
        self.notes_ = list(self.history_.notes)
        maker = maker.cpu()
        told = maker.latent.arrays()
        self.step_ = LatentTable(
            form=fields,
            network=written(maker),
            size=size,
            noise=np.zeros(sum(not f.discrete for f in fields)),
            codes=told["codes"],
        )
        return self


class Rows(nn.Module):
    """A latent variable (b, d) -> rows (b, p) as the critic sees them: numbers, and classes drawn softly."""

    def __init__(self, fields: tuple[Field, ...], inputs: int, width: int, depth: int, temperature: float):
        super().__init__()
        self.trunk = nn.Sequential(dense(inputs, width, depth), nn.Linear(width, outputs_of(fields)))
        self.temperature = temperature
        self.parts: list[tuple[str, int]] = []
        for f in fields:
            self.parts += [("words", f.size)] if f.discrete else [("number", 1), *([("lost", 1)] if f.missing else [])]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.trunk(x)
        noise = -torch.log(-torch.log(torch.rand_like(raw).clamp(1e-6, 1 - 1e-6)))  # Gumbel
        made, at = [], 0
        lost_noise = torch.logit(torch.rand(len(raw), 1, device=raw.device).clamp(1e-6, 1 - 1e-6))
        for kind, size in self.parts:
            own = raw[:, at : at + size]
            if kind == "words":
                own = torch.softmax((own + noise[:, at : at + size]) / self.temperature, dim=1)
            elif kind == "lost":
                own = torch.sigmoid((own + lost_noise) / self.temperature)
                made[-1] = made[-1] * (1 - own)
            made.append(own)
            at += size
        return torch.cat(made, dim=1)

    def layer(self) -> Layer:
        return written(self.trunk)


def dense(inputs: int, width: int, depth: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [nn.Linear(inputs if i == 0 else width, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes rows."""
    return model._step()
