"""The best of the models of mixed tables: hidden cells are revealed one by one, each given all that are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.seeds import derive
from everymodel.models.generative._base import Generative
from everymodel.models.generative._table import LOOKS, Form, TableModel, fit, learn
from everymodel.models.generative._table_quality import evaluate
from everymodel.scoring.made_fields import score_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.made_tables import MaskedTable
from everymodel.training.blocks.feed import Residual, role
from everymodel.training.blocks.written import array, written
from everymodel.training.estimator import set_aside
from everymodel.training.objective import Losses, Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Endless

__all__ = ["CARD", "TableDiffusion", "evaluate", "fit", "pack"]

CARD = {
    "name": "table_diffusion",
    "title": "Diffusion model of tables",
    "summary": "Makes rows of a mixed table by revealing hidden cells one by one, each given those already known.",
    "choose": "Synthetic tables to learn from as from real ones; rows under conditions on any columns.",
    "avoid": "A few dozen rows, for which the Gaussian copula is enough and faster.",
    "gives": ["samples", "scores"],
    "needs": {"package": "torch", "inputs": "table"},
    "cost": {"scale": 0.003, "rows_power": 0.6, "columns_power": 0.6},
    "references": [
        "Austin, Johnson, Ho, Tarlow and van den Berg (2021), Structured denoising diffusion models in discrete "
        "state-spaces.",
        "Uria, Murray and Larochelle (2014), A deep and tractable density estimator.",
        "Kotelnikov, Baranchuk, Rubachev and Babenko (2023), TabDDPM: modelling tabular data with diffusion models.",
    ],
    "advice": ["slow"],
    "priority": 2,
    "parameters": {
        "width": {"type": "int", "default": 256, "low": 8, "high": 8192, "log": True, "text": "Units of a layer."},
        "depth": {"type": "int", "default": 3, "low": 1, "high": 32, "text": "Blocks of two layers."},
        "bins": {
            "type": "int",
            "default": 100,
            "low": 2,
            "high": 1000,
            "text": "Classes that the numbers of a column fall into, at most; numbers are drawn within a class.",
        },
        "dropout": {"default": 0.0},
        "averaging": {"default": 0.01},
        "steps": {"text": "Steps of training; none: 30 passes over the rows, 400 at least; a budget ends it sooner."},
        "batch_size": {"default": 512},
        "learning_rate": {"default": 0.002},
        "device": {},
    },
    "tiny": [
        {"width": 32, "depth": 1, "steps": 150, "random_state": 0},
        {"width": 16, "depth": 1, "bins": 10, "steps": 60, "dropout": 0.1, "averaging": 0.0, "random_state": 1},
    ],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.table_diffusion:TableDiffusion", "tasks": ["generate"]},
    },
}
_HELD = (0.1, 2000)  # share of the rows, and most of them, that choose the best weights
_WAVES = 8
_PASSES = 30  # over the rows; after some more the rows held back become less likely again


class TableDiffusion(TableModel, Generative):
    """Absorbing diffusion: cells are hidden until nothing is left, and a network learns the way back.

        min  E_m E_S  (1/m) sum_{i in S} -log p(x_i | x outside S),    |S| = m, m uniform in 1..columns

    Each cell is a class: a word, a frequent number, a range of numbers as frequent as the others, or "missing". A row
    is made in an order of its own; since the network has learnt every set of known cells, any columns may be asked
    for: they are known from the beginning, so the rest follows their true conditional distribution. Within a range
    numbers are drawn by the distribution of the data.

    Parameters
    ----------
    width, depth : of the network. bins : most classes of a column of numbers. dropout : share of units left out.
    averaging : half-life of the moving average as a share of the run; 0: the last weights answer.
    steps : steps of training; None: 30 passes over the rows, 400 at least. A budget ends it sooner, in good order.
    batch_size, learning_rate, budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, form_, notes_, history_, net_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> kind = rng.choice(["cat", "dog"], 500)
    >>> frame = pd.DataFrame({"kind": kind, "kg": np.where(kind == "cat", 4.0, 20.0) + rng.normal(0, 1, 500).round(1)})
    >>> model = TableDiffusion(steps=200, width=32, random_state=0).fit(frame)
    >>> made = model.sample(100, {"kind": "dog"}, seed=1)
    >>> bool((made.kind == "dog").all() and made.kg.min() > 10)
    True
    """

    def __init__(
        self,
        width: int = 256,
        depth: int = 3,
        bins: int = 100,
        dropout: float = 0.0,
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
        self.width = width
        self.depth = depth
        self.bins = bins
        self.dropout = dropout
        self.averaging = averaging
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> TableDiffusion:
        """Learn from a table X (a frame, or rows (n, p)); y (n,) is one more column of it."""
        seed = self._seed()
        self.form_ = learn(X, y, seed=seed, bins=self.bins)
        form = self.form_
        codes = np.column_stack([f.codes(form.u[:, i]) for i, f in enumerate(form.fields)])
        n = len(codes)
        batch = int(min(self.batch_size, max(n // 2, 1)))
        epochs = self._length(int(np.clip(_PASSES * n / batch, 400, 20_000)), endless=False, looks=LOOKS)
        rng = np.random.default_rng(derive(seed, "held"))
        kept, held = set_aside(n, min(_HELD[0], _HELD[1] / n), rng) if n > 20 else (np.arange(n), np.arange(n))
        with self._initial():
            net = Reader(form, self.width, self.depth, self.dropout)
        values = torch.from_numpy(codes)
        self._train(
            Revealing(net, derive(seed, "judge")),
            Endless(values[torch.from_numpy(kept)], batch=batch, count=self.epoch_),
            valid=Arrays(values[torch.from_numpy(held)], batch=1000, shuffle=False),
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            half_life=self.averaging or None,
            schedule="flat_cosine",
            clip=1.0,
            optimizers=Optimizer("adam", self.learning_rate, betas=(0.9, 0.99)),
        )
        self.history_.notes[:0] = form.notes
        self.notes_ = list(self.history_.notes)
        self.net_ = net.cpu()
        self.step_ = net.step(form)
        return self


class Reader(nn.Module):
    """Codes (b, columns), -1 where hidden, -> what is known of every class (b, width)."""

    def __init__(self, form: Form, width: int, depth: int, dropout: float = 0.0):
        super().__init__()
        self.sizes = [f.size for f in form.fields]
        total, columns = sum(self.sizes), len(self.sizes)
        self.vectors = role(torch.randn(total + columns, width) * 0.5 / columns**0.5, "embedding")
        self.heads = nn.Parameter(torch.randn(total, width) / width**0.5)
        shares = np.concatenate([np.diff(f.bounds) for f in form.fields])
        self.bias = role(torch.from_numpy(np.log(shares)).float(), "bias")
        # Ranges of numbers that lie close together say much the same: what they share is learnt by these waves.
        waves, rows, places = _waves(form)
        self.waves: torch.Tensor
        self.rows: torch.Tensor
        self.places: torch.Tensor
        for name, values in (("waves", waves), ("rows", rows), ("places", places)):
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self.slopes = role(torch.zeros(len(waves), _WAVES + 1, width), "embedding")
        self.tilts = role(torch.zeros(len(waves), _WAVES + 1, width), "embedding")
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.starts: torch.Tensor
        self.register_buffer("starts", torch.from_numpy(starts), persistent=False)
        parts: list[nn.Module] = []
        for _ in range(depth):
            body = [nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)]
            nn.init.zeros_(body[-1].weight)
            if dropout > 0:
                body.insert(3, nn.Dropout(dropout))
            parts.append(Residual(nn.Sequential(*body)))
        self.trunk = nn.Sequential(*parts, nn.LayerNorm(width))

    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(vectors (classes + columns, width), heads (classes, width)), with what the waves say."""
        if not len(self.rows):
            return self.vectors, self.heads
        both = zip((self.vectors, self.heads), (self.slopes, self.tilts), strict=True)
        made = [own.index_add(0, self.rows, (self.waves @ s).flatten(0, 1)[self.places]) for own, s in both]
        return made[0], made[1]

    def forward(self, codes: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (b, classes) of codes (b, columns) of which some are hidden (b, columns)."""
        vectors, heads = self.tables()
        total = len(self.heads)
        own = torch.where(hidden, total + torch.arange(len(self.sizes), device=codes.device), self.starts[:-1] + codes)
        h = F.embedding_bag(own, vectors, mode="sum")  # (b, width)
        return F.linear(self.trunk(h), heads, self.bias)

    def step(self, form: Form) -> MaskedTable:
        vectors, heads = self.tables()
        return MaskedTable(
            form=form.fields,
            vectors=array(vectors),
            trunk=written(self.trunk),
            heads=array(heads.T),
            bias=array(self.bias),
        )


def _waves(form: Form) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(columns of numbers, most classes, waves): smooth functions of where their classes lie; (classes,) which classes
    these are of all, and where they stand among the first two axes.
    """
    starts = np.cumsum([0, *(f.size for f in form.fields)])
    counts = [f.size - int(f.missing) if f.kind in ("number", "date") else 0 for f in form.fields]
    wide = [i for i, k in enumerate(counts) if k > 3]
    most = max((counts[i] for i in wide), default=1)
    made = np.zeros((len(wide), most, _WAVES + 1), dtype=np.float32)
    rows, places = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for j, i in enumerate(wide):
        f, k = form.fields[i], counts[i]
        middle = (f.bounds[:k] + f.bounds[1 : k + 1]) / 2 / f.top
        made[j, :k, 0] = score_of(middle)
        made[j, :k, 1:] = np.cos(np.pi * np.arange(1, _WAVES + 1) * middle[:, None])
        rows.append(starts[i] + np.arange(k))
        places.append(j * most + np.arange(k))
    return made, np.concatenate(rows), np.concatenate(places)


class Revealing(Objective):
    """Hide some cells, say them from the rest."""

    falls = True

    def __init__(self, net: Reader, seed: int):
        super().__init__(net=net)
        self.seed = seed

    def step(self, nets: Any, batch: Any) -> Losses:
        return {"net": self._loss(nets["net"], batch[0], None)}

    def _loss(self, net: Any, codes: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        n, columns = codes.shape
        order = torch.rand(n, columns, generator=generator, device=codes.device).argsort(dim=1)
        count = torch.randint(1, columns + 1, (n, 1), generator=generator, device=codes.device)
        hidden = order < count
        logits = net(codes, hidden)
        weight = hidden / count
        sizes = self.nets["net"].sizes
        losses = [
            F.cross_entropy(part, codes[:, i], reduction="none") for i, part in enumerate(logits.split(sizes, dim=1))
        ]
        return (torch.stack(losses, dim=1) * weight).sum(dim=1).mean()

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, Any]:
        """Mean loss of a cell, on the same hidden cells each time."""
        total, rows = 0.0, 0
        for i, batch in enumerate(batches):
            codes = batch[0]
            generator = torch.Generator(device=codes.device)
            for again in range(4 if len(codes) >= 200 else 16):
                generator.manual_seed(derive(self.seed, i, again))
                total += float(self._loss(nets["net"], codes, generator)) * len(codes)
                rows += len(codes)
        return {"loss": total / max(rows, 1)}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes rows."""
    return model._step()
