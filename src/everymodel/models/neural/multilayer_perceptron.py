"""Multilayer perceptron: a small feed-forward network for tables, trained in numpy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from everymodel.models._place import codes_of
from everymodel.models.neural._train import Recipe, linked, train
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.dense import Dense, encoded

CARD = {
    "name": "multilayer_perceptron",
    "title": "Multilayer perceptron",
    "summary": "A small feed-forward network: layers of weighted sums with a bend in between.",
    "choose": "Smooth relations between many number columns (signals, pixels, measurements); a good partner of trees.",
    "avoid": "A few dozen rows; when the model must be read; columns of wildly different kinds.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_columns": 5000},
    "cost": {"scale": 0.01, "rows_power": 0.7, "columns_power": 0.15},
    "references": [
        "Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors. Nature 323.",
        "Ioffe and Szegedy (2015), Batch normalization. ICML.",
        "Smith and Topin (2018), Super-convergence: very fast training using large learning rates.",
        "Gorishniy et al. (2022), On embeddings for numerical features in tabular deep learning. NeurIPS 35.",
    ],
    "advice": ["accurate", "smooth", "many_columns", "medium_data", "interactions"],
    "priority": 30,
    "parameters": {
        "width": {
            "type": "int",
            "default": 256,
            "low": 1,
            "high": 4096,
            "log": True,
            "text": "Neurons of the first hidden layer; each further layer has half as many.",
        },
        "layers": {"type": "int", "default": 2, "low": 1, "high": 6, "text": "Hidden layers."},
        "bins": {
            "type": "int",
            "default": 0,
            "low": 0,
            "high": 128,
            "text": "Most pieces into which number columns are cut, so that the network can follow steps.",
        },
        "dropout": {
            "type": "float",
            "default": 0.15,
            "low": 0.0,
            "high": 0.6,
            "text": "Share of the neurons that are left out at random while learning.",
        },
        "learning_rate": {
            "type": "float",
            "default": 0.01,
            "low": 1e-4,
            "high": 0.1,
            "log": True,
            "text": "Length of the longest step.",
        },
        "weight_decay": {
            "type": "float",
            "default": 0.05,
            "low": 1e-5,
            "high": 1.0,
            "log": True,
            "text": "How strongly weights are pulled towards zero.",
        },
        "epochs": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Passes over the rows; none: 5 to 60, fewer the more rows there are.",
        },
        "batch_size": {
            "type": "int",
            "default": None,
            "low": 2,
            "high": 65536,
            "tune": False,
            "text": "Rows per step; none: 32 to 1024, more the more rows there are.",
        },
        "members": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 100,
            "tune": False,
            "text": "Networks whose answers are averaged.",
        },
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.multilayer_perceptron:MultilayerPerceptronClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [
                {"width": 256, "dropout": 0.15, "members": 3},
                {"width": 256, "dropout": 0.4, "bins": 16, "weight_decay": 0.3, "members": 2},
            ],
            "tiny": [
                {"width": 16, "layers": 1, "epochs": 60, "members": 1, "dropout": 0.0, "random_state": 0},
                {"width": 12, "bins": 4, "epochs": 60, "members": 2, "dropout": 0.1, "random_state": 0},
            ],
        },
        "regressor": {
            "class": "everymodel.models.neural.multilayer_perceptron:MultilayerPerceptronRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "presets": [
                {"width": 384, "dropout": 0.25, "bins": 48, "weight_decay": 0.1, "members": 2},
                {"width": 256, "dropout": 0.1, "members": 3},
            ],
            "tiny": [
                {"width": 16, "layers": 1, "epochs": 60, "members": 1, "dropout": 0.0, "random_state": 0},
                {"width": 12, "bins": 4, "epochs": 60, "members": 2, "dropout": 0.1, "random_state": 0},
            ],
        },
    },
}

# Up to so many rows: (epochs, batch size).
_PLAN = ((1_000, 60, 32), (5_000, 50, 64), (20_000, 40, 128), (100_000, 20, 256), (500_000, 10, 512))

# All columns together are cut into no more pieces than this, give or take four for each.
_MOST_PIECES = 2000


class _Perceptron(BaseEstimator):
    def __init__(
        self,
        width: int = 256,
        layers: int = 2,
        bins: int = 0,
        dropout: float = 0.15,
        learning_rate: float = 0.01,
        weight_decay: float = 0.05,
        epochs: int | None = None,
        batch_size: int | None = None,
        members: int = 2,
        random_state: Any = None,
    ):
        self.width = width
        self.layers = layers
        self.bins = bins
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.members = members
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from X (n, p) and y."""
        return self.train(X, y)

    def train(self, X: Any, y: Any, valid: Any = None, stop: Callable[[], bool] | None = None) -> Any:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        Y = self._targets(y)  # (n, out) float32
        self._measure(X)
        n = len(X)
        epochs, batch = next(((e, b) for limit, e, b in _PLAN if n <= limit), (5, 1024))
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=self.members)
        inputs = self._inputs(X)
        checked = None
        if valid is not None:
            checked = (self._inputs(np.asarray(valid[0], dtype=np.float64)), self._targets(valid[1], learn=False))
        self.networks_, found, held = [], [], []
        for seed in seeds:
            recipe = Recipe(
                hidden=tuple(max(int(self.width) >> i, 2) for i in range(self.layers)),
                loss=self._loss,
                epochs=int(self.epochs or epochs),
                batch=int(self.batch_size or batch),
                rate=self.learning_rate,
                decay=self.weight_decay,
                dropout=self.dropout,
                smoothing=0.0,
                seed=int(seed),
            )
            began = time.monotonic()
            network, best, loss, judged = train(inputs, Y, recipe, checked, stop)
            took = time.monotonic() - began
            left = getattr(stop, "deadline", None)
            left = math.inf if left is None else left - time.monotonic()
            ended = stop is not None and stop()
            if left > 0.7 * took and 2 * best <= recipe.epochs and checked is not None and not ended:
                # It was best long before its steps grew small: a cycle of that length lets it settle.
                shorter = replace(recipe, epochs=best + 2)
                other, epoch, other_loss, other_judged = train(inputs, Y, shorter, checked, stop)
                if other_loss < loss:
                    network, best, judged = other, epoch, other_judged
            self.networks_.append(network)
            held.append(judged)
            found.append(best)
            if (stop is not None and stop()) or left < 0.7 * took:  # half a network is none
                break
        self.epochs_ = round(float(np.mean(found)))
        self.held_ = None if any(h is None for h in held) else np.mean([linked(h, self._loss) for h in held], axis=0)
        return self

    def _measure(self, X: np.ndarray) -> None:
        """What the inputs look like: their range, and the pieces of the encoding."""
        self.low_, self.high_ = X.min(axis=0), X.max(axis=0)
        self.column_, self.start_, self.width_ = None, None, None
        if not self.bins:
            return
        columns, edges = [], []
        bins = min(int(self.bins), max(4, _MOST_PIECES // X.shape[1]))
        for j in range(X.shape[1]):
            levels = np.unique(X[:, j])
            if len(levels) <= 3:
                continue
            own = levels if len(levels) <= bins else np.unique(np.quantile(X[:, j], np.linspace(0, 1, bins + 1)))
            columns.append(np.full(len(own) - 1, j, dtype=np.int32))
            edges.append(np.stack([own[:-1], np.diff(own)]))
        if columns:
            self.column_ = np.concatenate(columns)
            self.start_, self.width_ = np.concatenate(edges, axis=1)
            if not (self.width_ > 0).all():  # neighbours so close that their difference is lost
                keep = self.width_ > 0
                self.column_, self.start_, self.width_ = self.column_[keep], self.start_[keep], self.width_[keep]

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        made = encoded(X, self.low_, self.high_, self.column_, self.start_, self.width_)
        return np.ascontiguousarray(made, dtype=np.float32)


class MultilayerPerceptronRegressor(RegressorMixin, _Perceptron):
    """A feed-forward network for numbers: layers of ReLU neurons, averaged over a few networks.

    Trained with AdamW under a one-cycle learning rate, with batch normalisation (folded into the weights afterwards)
    and dropout, on a standardised target. Inputs are held within the range seen.

    Parameters
    ----------
    width, layers : int
        Neurons of the first hidden layer, and number of hidden layers (each half as wide as the one before).
    bins : int, default 0
        Pieces of a piecewise linear encoding of number columns (Gorishniy et al. 2022); 0 for none.
    dropout, learning_rate, weight_decay : float
    epochs, batch_size : int or None
        None: chosen from the number of rows.
    members : int, default 2
        Networks whose answers are averaged.
    random_state : int or None

    Attributes
    ----------
    networks_ : list of lists of (W (in, out), b (out,)) in float32
    epochs_ : int, passes that led to the kept weights
    n_features_in_ : int

    Examples
    --------
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MultilayerPerceptronRegressor(width=32, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(abs(model.predict([[0.5]])[0] - 0.25) < 0.1)
    True
    """

    _loss = "square"

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        if learn:
            self.many_ = y.ndim == 2
        y = y.reshape(len(y), -1)
        if learn:
            self.offset_, spread = y.mean(axis=0), y.std(axis=0)
            self.scale_ = np.where(spread > 1e-12 * (1 + np.abs(self.offset_)), spread, 1.0)
        return ((y - self.offset_) / self.scale_).astype(np.float32)

    def predict(self, X: Any) -> np.ndarray:
        """Answers (n,), or (n, t) for a target of several columns."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        answer = pack(self)(X)
        return answer.reshape(len(X), -1) if self.many_ else answer

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class MultilayerPerceptronClassifier(ClassifierMixin, _Perceptron):
    """A feed-forward network for classes (softmax) or for several labels at once (a sigmoid each).

    Parameters, attributes: as MultilayerPerceptronRegressor, and `classes_`. With y (n, k) of zeros and ones it learns
    k labels that do not exclude each other.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MultilayerPerceptronClassifier(width=32, random_state=0).fit(X, np.abs(X[:, 0]) > 0.5)
    >>> model.predict([[0.0], [0.9]]).tolist()
    [False, True]
    """

    @property
    def _loss(self) -> str:
        return "sigmoid" if self.multilabel_ else "softmax"

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        y = np.asarray(y)
        if learn:
            check_classification_targets(y)
            self.multilabel_ = type_of_target(y) == "multilabel-indicator"
            if not self.multilabel_:
                y = column_or_1d(y, warn=True)
            self.classes_ = np.arange(y.shape[1]) if self.multilabel_ else np.unique(y)
        if self.multilabel_:
            return y.astype(np.float32)
        y = np.ravel(y)
        place = np.clip(np.searchsorted(self.classes_, y), 0, len(self.classes_) - 1)
        # A class that is not among those learnt gets a row of zeros, which adds nothing to a validation loss.
        known = (self.classes_[place] == y).astype(np.float32)
        return np.eye(len(self.classes_), dtype=np.float32)[place] * known[:, None]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return pack(self)(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row (n,), or 0/1 for each label (n, k)."""
        shares = self.predict_proba(X)
        return (shares > 0.5).astype(int) if self.multilabel_ else self.classes_[shares.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def fit(
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    *,
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
) -> Any:
    """Train; keep the best epoch on `valid`, end early when `stop` says so."""
    return model.train(X, y, valid, stop)


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many passes as led to the kept weights."""
    return {"epochs": max(int(model.epochs_), 1), "members": len(model.networks_)}


def held_out(model: Any, X: np.ndarray) -> np.ndarray | None:
    """Answers for the validation rows X that those rows had no part in (see HALVES); None where they are too few."""
    if model.held_ is None or hasattr(model, "classes_"):
        return model.held_
    return (model.held_ * model.scale_ + model.offset_)[:, slice(None) if model.many_ else 0]


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    settings: dict[str, Any] = {"gives": "value"}
    if hasattr(model, "classes_"):
        settings = {"gives": "probabilities", "link": model._loss}
        if not model.multilabel_:
            codes, k = codes_of(model, n_classes)
            if len(codes) != k:
                settings |= {"places": codes.astype(np.int32), "classes": k}
    else:
        settings |= {"scale": model.scale_, "offset": model.offset_}
    network = model.networks_[0]
    return Dense(
        sizes=(network[0][0].shape[0], *(W.shape[1] for W, _ in network)),
        weights=np.concatenate([W.ravel() for layers in model.networks_ for W, _ in layers]),
        biases=np.concatenate([b for layers in model.networks_ for _, b in layers]),
        members=len(model.networks_),
        low=model.low_,
        high=model.high_,
        column=model.column_,
        start=model.start_,
        width=model.width_,
        **settings,
    )
