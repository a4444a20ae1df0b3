"""Variational autoencoder, for rows of numbers and images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import CapabilityError, DataError, ParameterError
from everymodel.core.seeds import derive
from everymodel.models.generative import _strided
from everymodel.models.generative._base import Data, Generative, fit, labelled, labels_of, read
from everymodel.models.generative._variational import NOISE, Coder, Evidence, Partly, drawn
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.variational import Variational
from everymodel.training.blocks.written import array, written
from everymodel.training.estimator import set_aside
from everymodel.training.source import Arrays, Endless

__all__ = ["CARD", "VAE", "fit", "pack"]

CARD = {
    "name": "vae",
    "title": "Variational autoencoder",
    "summary": "Learns a few hidden numbers behind each row or image: to compress, to make new ones, to find odd ones.",
    "choose": "Numeric rows or small images: a latent space to look at, smooth ways between data, or scores of oddity.",
    "avoid": "Sharp images, for which there are the GANs, and mixed tables, for which there are models of tables.",
    "gives": ["samples", "scores"],
    "needs": {"package": "torch", "inputs": ["matrix", "image"]},
    "cost": {"scale": 0.001, "rows_power": 0.3, "columns_power": 0.5},
    "references": [
        "Kingma and Welling (2014), Auto-encoding variational Bayes.",
        "Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders.",
        "Kingma, Rezende, Mohamed and Welling (2014), Semi-supervised learning with deep generative models.",
        "Higgins et al. (2017), beta-VAE. Kingma et al. (2016), Improved variational inference (free bits).",
    ],
    "advice": ["slow"],
    "priority": 3,
    "parameters": {
        "latent_size": {
            "text": "Hidden numbers of a row; none: as many as columns, 16 of rows or 50 of images at most."
        },
        "likelihood": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "gaussian", "bernoulli", "categorical"],
            "text": "What cells are: numbers, yes or no (black or white), or levels.",
        },
        "architecture": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "dense", "convolutional"],
            "text": "Networks; auto takes convolutions for images of more than 1,024 numbers.",
        },
        "conditional": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether samples are made of a class that is asked for, learnt from y, of which some may lack.",
        },
        "width": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 8192,
            "log": True,
            "text": "Units of a layer; none: 128 for rows, 512 for images; channels of the largest maps: none: 32.",
        },
        "depth": {"type": "int", "default": 2, "low": 1, "high": 16, "text": "Dense hidden layers of each network."},
        "beta": {
            "type": "float",
            "default": 1.0,
            "low": 0.0,
            "high": 1000.0,
            "text": "Weight of the distance from the prior; above 1 each hidden number means more by itself.",
        },
        "warm_up": {
            "type": "float",
            "default": 0.1,
            "low": 0.0,
            "high": 1.0,
            "tune": False,
            "text": "Share of the run over which that weight grows from 0.",
        },
        "free_bits": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 100.0,
            "text": "Nats of each hidden number that cost nothing, so that none of them is given up.",
        },
        "importance": {
            "type": "int",
            "default": 1,
            "low": 1,
            "high": 1000,
            "text": "Draws of an importance-weighted bound; 1: the plain bound.",
        },
        "prior": {
            "type": "choice",
            "default": "normal",
            "choices": ["normal", "mixture"],
            "text": "What samples are drawn from: the normal prior, or a mixture fitted to what the data have.",
        },
        "epochs": {"default": None, "text": "Passes over the rows; none: about 5,000 steps, or as the budget allows."},
        "batch_size": {},
        "learning_rate": {"default": 0.001},
        "schedule": {"default": "flat_cosine"},
        "device": {},
    },
    "tiny": [
        {"latent_size": 2, "width": 16, "epochs": 20, "batch_size": 32, "random_state": 0},
        {
            "latent_size": 3,
            "width": 8,
            "depth": 1,
            "epochs": 5,
            "importance": 3,
            "prior": "mixture",
            "batch_size": 32,
            "free_bits": 0.05,
            "random_state": 1,
        },
    ],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.vae:VAE", "tasks": ["generate"]}},
}
_STEPS = 5_000
_HELD = (0.1, 2000)
_LEVELS = 64  # most levels of a column of a categorical likelihood
_COMPONENTS = 20


class VAE(Generative):
    """An encoder q(z | x) = N(mu(x), sigma(x)^2) and a decoder p(x | z), by the evidence lower bound

        log p(x) >= E_q log p(x | z) - beta KL(q(z | x) || N(0, I)),   z = mu + sigma eps

    Numbers have a Gaussian likelihood whose noise is learnt for each column, so that scores are fair between columns;
    black-and-white images a Bernoulli likelihood, grey values being chances that are drawn anew at each step.

    Parameters
    ----------
    latent_size : hidden numbers d. likelihood : "auto", "gaussian", "bernoulli" or "categorical" (rows of levels).
    architecture : "auto", "dense" or "convolutional". conditional : learn from y to make rows of a class. Where the
        classes of some rows lack (None or NaN), all rows are learnt from, those classes are guessed on the way, and
        `predict` says what the guess is; a step then takes as many passes of the decoder as there are classes.
    width, depth : of the networks. beta, warm_up, free_bits : weight of the KL term, share of the run over which it
        grows, and nats of each hidden number that are free. importance : draws of the weighted bound.
    prior : "normal", or "mixture": samples come from a Gaussian mixture fitted to the hidden numbers of the data.
    epochs, batch_size, learning_rate, schedule, budget, device, checkpoint, random_state, verbose : as for all
        networks.

    Attributes
    ----------
    step_, coder_, history_, likelihood_; classes_ where conditional.

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-2, 2, (800, 1))
    >>> X = np.hstack([t, t**2]) + rng.normal(0, 0.05, (800, 2))
    >>> model = VAE(latent_size=1, width=32, epochs=60, random_state=0).fit(X)
    >>> bool(model.score_samples([[1.0, 1.0]])[0] > model.score_samples([[1.0, 3.0]])[0])
    True
    """

    def __init__(
        self,
        latent_size: int | None = None,
        likelihood: str = "auto",
        architecture: str = "auto",
        conditional: bool = False,
        width: int | None = None,
        depth: int = 2,
        beta: float = 1.0,
        warm_up: float = 0.1,
        free_bits: float = 0.0,
        importance: int = 1,
        prior: str = "normal",
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        schedule: str = "flat_cosine",
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.latent_size = latent_size
        self.likelihood = likelihood
        self.architecture = architecture
        self.conditional = conditional
        self.width = width
        self.depth = depth
        self.beta = beta
        self.warm_up = warm_up
        self.free_bits = free_bits
        self.importance = importance
        self.prior = prior
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> VAE:
        """Learn from rows (n, p) or images (n, h, w[, c]); with y (n,) where conditional, None or NaN where not known.

        Raises
        ------
        DataError
            for data that are no numbers, all equal, or do not fit the likelihood; y of another length.
        """
        for name in ("likelihood", "architecture", "prior"):
            choices = CARD["parameters"][name]["choices"]
            if getattr(self, name) not in choices:
                raise ParameterError(
                    f"{name}={getattr(self, name)!r} is not known: expected one of {', '.join(choices)}."
                )
        seed = self._seed()
        data = read(X)
        n = len(data.values)
        codes, known = None, np.ones(n, dtype=bool)
        if self.conditional:
            y, known = labelled(y, n)
            self.classes_, codes = labels_of(y, int(known.sum()))
        classes = 0 if codes is None else len(self.classes_)
        values, units = self._values(data)
        label = torch.zeros(n, classes)
        if codes is not None:
            label[torch.from_numpy(known)] = F.one_hot(torch.from_numpy(codes), classes).float()
        rng = np.random.default_rng(derive(seed, "held"))
        kept, aside = set_aside(n, max(min(int(n * _HELD[0]), _HELD[1]), min(n - 1, 2)) / n, rng)
        with self._initial():
            coder = self._build(data, values, classes, not known.all())
        settings = {name: getattr(self, name) for name in ("beta", "warm_up", "free_bits", "importance")}
        given = (coder, self.likelihood_, units.get("counts", ()), settings)
        kept, aside = torch.from_numpy(kept), torch.from_numpy(aside)
        told = label.sum(dim=1) > 0  # few as they are, rows with a class that only watch still teach the guess
        objective = Evidence(*given) if known.all() else Partly((values[told], label[told]), *given)
        grey = self.likelihood_ == "bernoulli" and bool(((values > 0) & (values < 1)).any())
        batch = min(self.batch_size, len(kept))
        steps = None if self.epochs is None else self.epochs * -(-len(kept) // batch)
        epochs = self._length(_STEPS, steps)
        watched = values[aside]
        if grey:
            watched = drawn((watched, watched), torch.Generator().manual_seed(0))[0]
        self._train(
            objective,
            Endless(values[kept], label[kept], batch=batch, count=self.epoch_, augment=drawn if grey else None),
            valid=Arrays(watched, label[aside], batch=500, shuffle=False),
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
        )
        self.history_.notes[:0] = data.notes
        self.coder_ = coder.cpu()
        asked: dict[str, Any] = {}
        if codes is not None:
            shares = np.bincount(codes, minlength=classes).astype(np.float64)
            asked = {
                "labels": np.eye(classes, dtype=np.float32),
                "shares": shares,
                "classes": tuple(self.classes_.tolist()),
            }
        self.step_ = Variational(
            network=written(coder.decoder),
            encoder=written(coder.body),
            head=written(coder.head),
            size=coder.size,
            likelihood=self.likelihood_,
            noise=None if coder.noise is None else array(coder.noise.clamp(*NOISE)).astype(np.float64),
            **units,
            **asked,
            **self._mixture(coder, values[kept], label[kept]),
        )
        return self

    def score_samples(self, X: Any, **given: Any) -> np.ndarray:
        """(n,) evidence lower bounds in nats, higher for more usual rows; see `Variational.score_samples`."""
        return self._step().score_samples(self._cells(X), **given)  # type: ignore[attr-defined]

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, c) chances of the classes, where the fit had rows without one."""
        step: Any = self._step()
        if self.coder_.guess is None:
            raise CapabilityError(
                "All rows had a class (or none was asked for), so none was guessed: use a classifier."
            )
        scores = step.encoder(step.given(self._cells(X))) @ array(self.coder_.guess.weight).T
        scores = scores + array(self.coder_.guess.bias)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """(n,) the likeliest class of each row, where the fit had rows without one."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _values(self, data: Data) -> tuple[torch.Tensor, dict[str, Any]]:
        """(data as the networks take them, units and form for the step)."""
        size = math.prod(data.shape) if data.shape else data.values.shape[1]
        dense = self.architecture == "dense" or (self.architecture == "auto" and (not data.shape or size <= 1024))
        if not dense and not data.shape:
            raise ParameterError("architecture='convolutional' is for images: rows take dense layers.")
        x = data.flat if dense else data.values
        units = data.units() | {"flat": dense}
        kind = self.likelihood
        if data.shape:
            grey = (data.values + 1) / 2
            if kind == "auto":  # black and white, and what lies between them at edges
                kind = "bernoulli" if float(((grey < 0.1) | (grey > 0.9)).float().mean()) > 0.75 else "gaussian"
            if kind == "categorical":
                raise ParameterError("likelihood='categorical' is for rows of levels, not for images.")
            if kind == "bernoulli":
                x = (x + 1) / 2
                units |= {"shift": np.zeros(1), "spread": np.full(1, 255.0)}
        else:
            raw = data.values.double().numpy() * data.spread + data.shift
            raw = np.where(data.whole.astype(bool), np.rint(raw), raw)  # type: ignore[union-attr]
            binary = bool(np.isin(raw, (0, 1)).all())
            kind = ("bernoulli" if binary else "gaussian") if kind == "auto" else kind
            if kind == "bernoulli":
                if raw.min() < 0 or raw.max() > 1:
                    raise DataError(f"A Bernoulli likelihood needs cells from 0 to 1; these run to {raw.max():g}.")
                x = torch.from_numpy(raw.astype(np.float32))
                units |= {"shift": np.zeros(raw.shape[1]), "spread": np.ones(raw.shape[1])}
            if kind == "categorical":
                own = [np.unique(column) for column in raw.T]
                if max(map(len, own)) > _LEVELS:
                    raise DataError(
                        f"A column has {max(map(len, own))} levels; a categorical likelihood takes {_LEVELS}."
                    )
                parts = [raw[:, i : i + 1] == levels for i, levels in enumerate(own)]
                x = torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))
                units |= {"counts": tuple(map(len, own)), "levels": np.concatenate(own)}
        self.likelihood_ = kind
        return x, units

    def _build(self, data: Data, values: torch.Tensor, classes: int, guesses: bool) -> Coder:
        p = values[0].numel()
        size = self.latent_size or max(1, min(p, 50 if data.shape else 16))
        gaussian = self.likelihood_ == "gaussian"
        if values.ndim > 2:
            width = self.width or 32
            body, features = _strided.critic(data.shape, width)
            decoder: nn.Module = _strided.maker(size + classes, data.shape, width)
            return Coder(body, features, decoder, size, classes, 1 if gaussian else 0, guesses)
        width = self.width or (512 if data.shape else 128)
        body = _strided.dense(p, width, self.depth)
        decoder = _strided.dense(size + classes, width, self.depth, nn.Linear(width, p))
        return Coder(body, width, decoder, size, classes, (1 if data.shape else p) if gaussian else 0, guesses)

    def _mixture(self, coder: Coder, values: torch.Tensor, label: torch.Tensor) -> dict[str, Any]:
        """A Gaussian mixture over draws of the hidden numbers of the data."""
        if self.prior == "normal":
            return {}
        from sklearn.mixture import GaussianMixture

        with torch.no_grad():
            mu, log = coder.posterior(values[:10_000], label[:10_000])
            z = mu + torch.exp(0.5 * log) * torch.randn(mu.shape, generator=self._generator("mixture"))
        count = max(1, min(_COMPONENTS, len(z) // 20))
        found = GaussianMixture(count, covariance_type="diag", reg_covar=1e-4, random_state=self.seed_ % 2**32).fit(
            z.numpy()
        )
        return {"means": found.means_, "spreads": np.sqrt(found.covariances_), "weights": found.weights_}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes samples."""
    return model._step()
