"""A variational autoencoder of mixed tables: rows as points of a small space, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.seeds import derive
from everymodel.models.generative._base import Generative
from everymodel.models.generative._table import LOOKS, TableModel, fit, learn
from everymodel.models.generative._table_quality import evaluate
from everymodel.scoring.made_fields import Field, rows_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.made_tables import LatentTable
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.written import array, written
from everymodel.training.estimator import set_aside
from everymodel.training.objective import Losses, Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Endless

__all__ = ["CARD", "TableVAE", "evaluate", "fit", "pack"]

CARD = {
    "name": "table_vae",
    "title": "Variational autoencoder of tables",
    "summary": "Makes rows of a mixed table from points of a small space, into which rows can also be brought.",
    "choose": "Rows as points: compress, compare and walk between them; synthetic rows within a minute.",
    "avoid": "When made rows shall be as good as real ones: the diffusion model of tables is closer.",
    "gives": ["samples", "encode"],
    "needs": {"package": "torch", "inputs": "table"},
    "cost": {"scale": 0.002, "rows_power": 0.5, "columns_power": 0.5},
    "references": [
        "Kingma and Welling (2014), Auto-encoding variational Bayes.",
        "Xu, Skoularidou, Cuesta-Infante and Veeramachaneni (2019), Modeling tabular data using conditional GAN.",
    ],
    "advice": ["slow"],
    "priority": 12,
    "parameters": {
        "latent_size": {},
        "width": {"type": "int", "default": 256, "low": 4, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Hidden layers of each network."},
        "beta": {
            "type": "float",
            "default": 0.5,
            "low": 0.0,
            "high": 100.0,
            "text": "Weight of the distance between what rows become and the normal distribution.",
        },
        "components": {
            "type": "int",
            "default": 20,
            "low": 0,
            "high": 1000,
            "text": "Parts of the mixture that new points are drawn from; 0: the normal distribution.",
        },
        "averaging": {"default": 0.01},
        "steps": {
            "text": "Steps of training; none: 100 passes over the rows, 1,000 to 8,000; a budget ends it sooner."
        },
        "batch_size": {"default": 512},
        "learning_rate": {"default": 0.002},
        "device": {},
    },
    "tiny": [
        {"width": 32, "depth": 1, "steps": 250, "random_state": 0},
        {"width": 16, "depth": 1, "latent_size": 2, "components": 0, "steps": 100, "random_state": 1},
    ],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.table_vae:TableVAE", "tasks": ["generate"]}},
}
_HELD = (0.1, 2000)
_WARM = 0.3  # share of the run over which beta grows
_NARROW = -3.0  # least logarithm of a number's spread
_MIXED = 20_000  # rows that the mixture is fitted on


class TableVAE(TableModel, Generative):
    """An encoder gives each row a normal distribution over a small space, a decoder says the row from a point of it.

        min  E_q -log p(x | z) + beta KL(q(z | x) || N(0, I)),    z = mu(x) + sigma(x) e

    Numbers are normal scores with a learnt spread each, words and missing cells classes. New rows come from points of
    a Gaussian mixture fitted to where the rows lie. Asked cells: many points are drawn, those that make such cells
    likely are kept in proportion, and the cells are put in.

    Parameters
    ----------
    latent_size : numbers of a point; None: as many as columns, 2 to 64.
    width, depth : of both networks. beta : weight of the divergence. components : of the mixture.
    averaging, steps, batch_size, learning_rate, budget, device, checkpoint, random_state, verbose : as for
        TableDiffusion.

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
    >>> frame = pd.DataFrame({"kind": kind, "legs": 4, "barks": kind == "dog"})
    >>> model = TableVAE(steps=300, width=32, random_state=0).fit(frame)
    >>> model.encode(frame.head(3)).shape
    (3, 3)
    >>> made = model.sample(200, seed=1)
    >>> bool(((made.kind == "dog") == made.barks).mean() > 0.9)
    True
    """

    def __init__(
        self,
        latent_size: int | None = None,
        width: int = 256,
        depth: int = 2,
        beta: float = 0.5,
        components: int = 20,
        averaging: float = 0.01,
        steps: int | None = None,
        batch_size: int = 512,
        learning_rate: float = 2e-3,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.latent_size = latent_size
        self.width = width
        self.depth = depth
        self.beta = beta
        self.components = components
        self.averaging = averaging
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> TableVAE:
        """Learn from a table X (a frame, or rows (n, p)); y (n,) is one more column of it."""
        seed = self._seed()
        self.form_ = learn(X, y, seed=seed)
        fields = self.form_.fields
        rows = torch.from_numpy(rows_of(fields, self.form_.u))
        n, p = rows.shape
        batch = int(min(self.batch_size, max(n // 2, 1)))
        epochs = self._length(int(np.clip(100 * n / batch, 1000, 8000)), endless=False, looks=LOOKS)
        rng = np.random.default_rng(derive(seed, "held"))
        kept, held = set_aside(n, min(_HELD[0], _HELD[1] / n), rng) if n > 20 else (np.arange(n), np.arange(n))
        d = self.latent_size or int(np.clip(len(fields), 2, 64))
        with self._initial():
            net = Autoencoder(fields, p, d, self.width, self.depth)
        self._train(
            Bound(net, float(self.beta), derive(seed, "judge")),
            Endless(rows[torch.from_numpy(kept)], batch=batch, count=self.epoch_),
            valid=Arrays(rows[torch.from_numpy(held)], batch=1000, shuffle=False),
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            half_life=self.averaging or None,
            schedule="flat_cosine",
            clip=5.0,
            optimizers=Optimizer("adam", self.learning_rate),
        )
        self.history_.notes[:0] = self.form_.notes
        self.notes_ = list(self.history_.notes)
        net = net.cpu().eval()
        self.step_ = LatentTable(
            form=fields,
            network=written(net.decoder),
            size=d,
            noise=np.exp(array(net.spread).clip(_NARROW)),
            encoder=written(net.encoder),
            **self._mixture(net, rows, seed),
        )
        return self

    def _mixture(self, net: Autoencoder, rows: torch.Tensor, seed: int) -> dict[str, np.ndarray]:
        """Where rows lie in the space, as a mixture of normal distributions."""
        count = min(self.components, len(rows) // 20)
        if count < 1:
            return {}
        from sklearn.mixture import GaussianMixture

        rng = np.random.default_rng(derive(seed, "points"))
        few = rows[torch.from_numpy(np.sort(rng.permutation(len(rows))[:_MIXED]))]
        with torch.no_grad():
            told = net.encoder(few)
        middle, log = (part.double().numpy() for part in told.chunk(2, dim=1))
        points = middle + np.exp(0.5 * log) * rng.standard_normal(middle.shape)
        made = GaussianMixture(count, reg_covar=1e-4, max_iter=50, random_state=seed % 2**31, init_params="k-means++")
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mixture that still moved a little serves as well
            made.fit(points)
        roots = np.linalg.cholesky(made.covariances_)
        return {"middles": made.means_, "roots": roots, "shares": made.weights_}


class Autoencoder(nn.Module):
    def __init__(self, fields: tuple[Field, ...], inputs: int, size: int, width: int, depth: int):
        super().__init__()
        self.fields = fields
        self.encoder, self.decoder = dense(inputs, width, depth, 2 * size), dense(size, width, depth, inputs)
        self.spread = role(torch.zeros(sum(not f.discrete for f in fields)), "bias")  # logarithms

    def unsaid(self, rows: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(b,) -log p(row | what the decoder says), both (b, p)."""
        total = torch.zeros(len(rows), device=rows.device)
        at, number = 0, 0
        for f in self.fields:
            if f.discrete:
                own = slice(at, at + f.size)
                total = total - (rows[:, own] * F.log_softmax(told[:, own], dim=1)).sum(dim=1)
                at += f.size
                continue
            log = self.spread[number].clamp(min=_NARROW)
            gap = 0.5 * ((rows[:, at] - told[:, at]) / log.exp()) ** 2 + log
            if f.missing:
                lost = rows[:, at + 1]
                gap = gap * (1 - lost)
                total = total + F.binary_cross_entropy_with_logits(told[:, at + 1], lost, reduction="none")
            total = total + gap
            at, number = at + 1 + int(f.missing), number + 1
        return total


def dense(inputs: int, width: int, depth: int, outputs: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [nn.Linear(inputs if i == 0 else width, width), nn.SiLU()]
    return nn.Sequential(*parts, nn.Linear(width, outputs))


class Bound(Objective):
    """The variational bound, with beta growing over the first part of the run."""

    def __init__(self, net: Autoencoder, beta: float, seed: int):
        super().__init__(net=net)
        self.beta, self.seed = beta, seed

    def step(self, nets: Any, batch: Any) -> Losses:
        unsaid, far = self._terms(nets["net"], batch[0], torch.randn)
        return {"net": (unsaid + self.beta * min(self.done / _WARM, 1.0) * far).mean()}

    def _terms(self, net: Any, rows: torch.Tensor, draw: Any) -> tuple[torch.Tensor, torch.Tensor]:
        middle, log = net.encoder(rows).chunk(2, dim=1)
        log = log.clamp(-12, 6)
        z = middle + (0.5 * log).exp() * draw(middle.shape, device=rows.device)
        far = 0.5 * (middle**2 + log.exp() - 1 - log).sum(dim=1)
        return net.unsaid(rows, net.decoder(z)), far

    def judge(self, nets: Any, batches: Any) -> dict[str, Any]:
        """The bound at full beta, with equal draws each time."""
        total, away, rows = 0.0, 0.0, 0
        for i, batch in enumerate(batches):
            generator = torch.Generator(device=batch[0].device)
            generator.manual_seed(derive(self.seed, i))
            unsaid, far = self._terms(
                nets["net"], batch[0], lambda s, device, g=generator: torch.randn(s, generator=g, device=device)
            )
            total, away, rows = total + float(unsaid.sum()), away + float(far.sum()), rows + len(batch[0])
        return {"loss": (total + self.beta * away) / rows, "divergence": away / rows}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes rows."""
    return model._step()
