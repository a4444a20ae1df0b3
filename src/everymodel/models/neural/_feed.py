"""Plumbing of feed-forward networks: parameters, recipes, and the fit that classifier and regressor share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models.neural._tabular import RARE, Fit, PlainNet, Shape, TableNet, flat, learn_front, seen
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.embeddings import Clip
from everymodel.scoring.layers.feed import Affine, Dense, Members, Sequential
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks import written
from everymodel.training.estimator import NetworkEstimator, set_aside
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays

# What a recipe says where the caller says nothing.
_PLAIN = {
    "width": 128,
    "layers": 1,
    "members": 1,
    "embedding": "none",
    "activation": "relu",
    "epochs": 5,
    "batch_size": 32,
    "learning_rate": 0.001,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "optimizer": "adam",
    "schedule": "linear",
    "validation_fraction": 0.0,
}
_TABLE = {
    "width": 256,
    "layers": 2,
    "members": 3,
    "embedding": "none",
    "activation": "relu",
    "learning_rate": 0.014,
    "label_smoothing": 0.0,
    "dropout": 0.15,
    "weight_decay": 0.05,
    "optimizer": "adamw",
    "schedule": "one_cycle",
}
# Pieces of numbers make amounts more exact and many classes less (benchmarks/feed_forward.py).
_NUMBERS = {"embedding": "piecewise", "weight_decay": 0.1}
# Two classes, and labels, are mostly noisy, and a network learns the noise of levels within a few epochs.
_NOISY = {"embedding": "piecewise", "dropout": 0.4, "learning_rate": 0.004}
_TWO = {**_NOISY, "label_smoothing": 0.1}
# Many classes want more and longer steps: half as many rows each, in two thirds of the passes.
_CLASSES = {"learning_rate": 0.02}
# Up to so many rows: (epochs, rows per step); then the last.
_STEPS = ((1_000, 60, 64), (5_000, 50, 128), (20_000, 40, 256), (100_000, 20, 512), (500_000, 10, 1024))
_LAST = (5, 2048)
_PATIENCE = 0.34  # of the epochs: the rate falls to nothing, so a run that gets worse for long has learnt its noise
_WAVES = 500  # most number columns that become waves: each becomes four inputs
_FEW = 50  # rows below which none are held out


class FeedForward(NetworkEstimator):
    def __init__(
        self,
        recipe: str = "table",
        hidden: Sequence[int] | None = None,
        width: int | None = None,
        layers: int | None = None,
        members: int | None = None,
        embedding: str | None = None,
        activation: str | None = None,
        dropout: float | None = None,
        label_smoothing: float | None = None,
        temperature: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        optimizer: str | None = None,
        schedule: str | None = None,
        patience: int | None = None,
        validation_fraction: float | None = None,
        categorical_features: Sequence[int] | None = None,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.recipe = recipe
        self.hidden = hidden
        self.width = width
        self.layers = layers
        self.members = members
        self.embedding = embedding
        self.activation = activation
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.categorical_features = categorical_features
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from X (n, p), NaN for missing values, or (n, ...) which is laid flat, and y."""
        return self.train(X, y)

    def train(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> Any:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        X, one_scale = flat(X)
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, ensure_all_finite="allow-nan"
        )
        self._seed()
        Y = self._targets(y)
        if np.isnan(Y).any():
            raise ValueError("Input y contains NaN. Leave out rows without a target.")
        rows, aside = np.arange(len(X)), np.zeros(0, dtype=np.int64)
        share = self._said("validation_fraction")
        share = (0.2 if len(X) >= _FEW else 0.0) if share is None else share
        if valid is None and share and len(X) > 1:
            generator = np.random.default_rng(self.seed_)
            rows, aside = set_aside(len(X), share, generator, Y if Y.dtype == np.int64 else None)
        self.front_ = learn_front(
            X[rows],
            self.categorical_features or (),
            scaling="range" if self.recipe == "plain" else "robust",
            one_scale=one_scale and self.recipe == "plain",
            rare=1 if self.recipe == "plain" else RARE,
        )
        Z = seen(self.front_, X[rows])
        usual = next((plan for most, *plan in _STEPS if len(rows) <= most), _LAST)
        if self._loss == "softmax" and self._outputs > 2:
            usual = [math.ceil(usual[0] * 2 / 3), usual[1] // 2]
        epochs, batch = self._said("epochs") or usual[0], self._said("batch_size") or usual[1]
        if valid is not None:
            checked = self._source(self._given(valid[0]), self._targets(valid[1], learn=False), 1024)
        else:
            checked = self._source(X[aside], Y[aside], 1024) if len(aside) else None
        with self._initial():
            self.net_ = self._net(Z)
        self._limits(Y[rows])
        table = self.recipe != "plain"
        source = Arrays(torch.as_tensor(Z), torch.as_tensor(Y[rows]), batch=batch, drop_last=table)
        # The tutorials' network says what its softmax says.
        heat = self.temperature if table or self.temperature is not None else 1.0
        goal = Fit(self.net_, self._loss, self._said("label_smoothing"), heat)
        plan = Optimizer(self._said("optimizer"), self._said("learning_rate"), self._said("weight_decay"))
        plan = replace(plan, betas=(0.9, 0.98)) if table else plan
        self._train(
            *(goal, source),
            valid=checked,
            stop=stop,
            threads=threads,
            epochs=epochs,
            optimizers=plan,
            schedule=self._said("schedule"),
            patience=self.patience or (max(math.ceil(_PATIENCE * epochs), 8) if table else None),
        )
        self.temperature_ = goal.heat
        self.net_.cpu()
        best = self.history_.best_epoch
        self.epochs_ = int(best) if isinstance(best, int) and best else max(len(self.history_.epochs), 1)
        self.held_ = None if goal.held is None else goal.held.cpu().double().numpy()
        return self

    def _said(self, name: str) -> Any:
        """The parameter, or what the recipe says where it is None."""
        if self.recipe not in ("table", "plain"):
            raise ParameterError(f"recipe={self.recipe!r} is unknown: expected table or plain.")
        value = getattr(self, name)
        if value is not None:
            return value
        if self.recipe == "plain":
            return _PLAIN.get(name)
        classes = _TWO if self._outputs <= 2 else _CLASSES
        own = {"square": _NUMBERS, "sigmoid": _NOISY, "softmax": classes}[self._loss]
        return {**_TABLE, **own}.get(name)

    def _net(self, Z: np.ndarray) -> Any:
        width, layers = self._said("width"), self._said("layers")
        hidden = tuple(max(width >> i, 1) for i in range(layers)) if self.hidden is None else tuple(self.hidden)
        if any(int(size) < 1 for size in hidden):
            raise ParameterError(f"hidden={self.hidden!r}: every hidden layer needs a neuron or more.")
        if self.recipe == "plain":
            if len(self.front_.coded):
                many = [int(j) for j in self.front_.coded]
                raise ParameterError(f"The columns {many} have many levels: recipe='plain' has no embeddings for them.")
            return PlainNet(Z.shape[1], self._outputs, hidden, self._said("activation"), self._said("dropout"))
        embedding = self._said("embedding")
        if embedding == "periodic" and len(self.front_.numbers) > _WAVES:
            embedding = "none"
        shape = Shape(
            hidden=hidden,
            members=self._said("members"),
            activation=self._said("activation"),
            embedding=embedding,
            dropout=self._said("dropout"),
        )
        return TableNet(self.front_, Z, self._outputs, shape)

    def _source(self, X: np.ndarray, Y: np.ndarray, batch: int) -> Arrays:
        return Arrays(torch.as_tensor(seen(self.front_, X)), torch.as_tensor(Y), batch=batch)

    def _limits(self, Y: np.ndarray) -> None:
        pass

    def _given(self, X: Any) -> np.ndarray:
        """X as a matrix of what was learnt."""
        return validate_data(
            self, flat(X)[0], dtype=[np.float64, np.float32], reset=False, ensure_all_finite="allow-nan"
        )

    def _answers(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X, step = self._given(X), self.step()
        return np.concatenate([step(X[low : low + 4096]) for low in range(0, len(X), 4096)])

    def step(self, places: np.ndarray | None = None, classes: int | None = None) -> Network:
        """The fitted network with its preparation, as a scoring step; see Network for `places` and `classes`."""
        net = self.net_
        parts: list[Layer] = [self.front_]
        plain = isinstance(net, PlainNet)
        parts += written(net.body if plain else net).parts()
        several = not plain and net.shape.members > 1
        if self._loss == "square":
            parts += [Members("identity")] if several else []
            parts += [] if plain else [Clip(self.low_, self.high_)]
            parts += [Affine(np.asarray(self.scale_, dtype=np.float64), np.asarray(self.offset_, dtype=np.float64))]
            return Network(Sequential(parts), gives="value", precision="float64")
        link = self._loss
        if self.temperature_ != 1.0:
            last: Any = parts[-1]  # the layer of the outputs
            parts[-1] = Dense(last.weight / self.temperature_, last.bias / self.temperature_)
        if several:
            parts, link = [*parts, Members(link)], "identity"
        settings: dict[str, Any] = {"gives": "probabilities", "precision": "float64", "link": link}
        return Network(Sequential(parts), places=places, classes=classes, **settings)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = True
        else:
            tags.target_tags.multi_output = True
        return tags
