"""Feed-forward networks for tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.nn import functional as F

from everymodel.models._place import codes_of
from everymodel.scoring.layers.feed import Affine, Sequential
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks import written
from everymodel.training.blocks.feed import Activation
from everymodel.training.estimator import Classes, NetworkEstimator, set_aside
from everymodel.training.objective import Objective
from everymodel.training.source import Arrays

CARD = {
    "name": "feed_forward",
    "title": "Feed-forward network",
    "summary": "Layers of weighted sums with a bend in between, trained by gradients.",
    "choose": "Smooth relations between many number columns (signals, pixels, measurements); a good partner of trees.",
    "avoid": "A few dozen rows; when the model must be read.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "package": "torch"},
    "cost": {"scale": 0.02, "rows_power": 0.7, "columns_power": 0.15},
    "references": [
        "Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors. Nature 323.",
    ],
    "advice": ["accurate", "smooth", "many_columns", "medium_data", "interactions"],
    "parameters": {
        "epochs": {
            "type": "int",
            "default": 30,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Passes over the rows.",
        },
        "learning_rate": {
            "type": "float",
            "default": 0.003,
            "low": 1e-5,
            "high": 1.0,
            "log": True,
            "text": "Length of the longest step.",
        },
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.feed_forward:FeedForwardClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "tiny": [{"hidden": [16], "epochs": 60, "learning_rate": 0.02, "random_state": 0}],
        },
        "regressor": {
            "class": "everymodel.models.neural.feed_forward:FeedForwardRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "tiny": [{"hidden": [16], "epochs": 60, "learning_rate": 0.02, "random_state": 0}],
        },
    },
}


class _Fit(Objective):
    """Cross-entropy, logistic loss of several labels, or squared error."""

    def __init__(self, net: nn.Module, loss: str):
        super().__init__(net=net)
        self.loss = {"softmax": F.cross_entropy, "sigmoid": F.binary_cross_entropy_with_logits, "square": F.mse_loss}[
            loss
        ]

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        X, y = batch
        return {"net": self.loss(nets["net"](X), y)}


class _FeedForward(NetworkEstimator):
    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        activation: str = "relu",
        epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 0.003,
        weight_decay: float = 0.0,
        optimizer: str = "adam",
        schedule: str = "constant",
        patience: int | None = None,
        validation_fraction: float = 0.0,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.hidden = hidden
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from X (n, p) and y."""
        return self.train(X, y)

    def train(
        self, X: Any, y: Any, valid: Any = None, stop: Callable[[], bool] | None = None, threads: Any = None
    ) -> Any:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        self._seed()
        Y = self._targets(y)
        rows, aside = np.arange(len(X)), None
        if valid is None and self.validation_fraction:
            generator = np.random.default_rng(self.seed_)
            rows, aside = set_aside(len(X), self.validation_fraction, generator, Y if Y.dtype == np.int64 else None)
            valid_source = self._source(X[aside], Y[aside])
        elif valid is not None:
            valid_source = self._source(np.asarray(valid[0], dtype=np.float64), self._targets(valid[1], learn=False))
        else:
            valid_source = None
        with self._initial():
            sizes = [X.shape[1], *self.hidden]
            parts: list[nn.Module] = []
            for a, b in itertools.pairwise(sizes):
                parts += [nn.Linear(a, b), Activation(self.activation)]
            self.net_ = nn.Sequential(*parts, nn.Linear(sizes[-1], self._outputs))
        source = self._source(X[rows], Y[rows])
        self._train(_Fit(self.net_, self._loss), source, valid=valid_source, stop=stop, threads=threads)
        self.net_.cpu()
        return self

    def _source(self, X: np.ndarray, Y: np.ndarray) -> Arrays:
        return Arrays(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y), batch=self.batch_size)


class FeedForwardRegressor(RegressorMixin, _FeedForward):
    """A feed-forward network for numbers."""

    _loss = "square"

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        if learn:
            self.many_ = y.ndim == 2
        y = y.reshape(len(y), -1)
        if learn:
            self.offset_, spread = y.mean(axis=0), y.std(axis=0)
            self.scale_ = np.where(spread > 1e-12 * (1 + np.abs(self.offset_)), spread, 1.0)
            self._outputs = y.shape[1]
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


class FeedForwardClassifier(ClassifierMixin, _FeedForward):
    """A feed-forward network for classes (softmax) or for several labels at once (a sigmoid each)."""

    @property
    def _loss(self) -> str:
        return "sigmoid" if self.coding_.several else "softmax"

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        if learn:
            self.coding_ = Classes(y)
            self.classes_ = self.coding_.labels
            self._outputs = len(self.classes_)
        return self.coding_.codes(y)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return pack(self)(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row (n,), or 0/1 for each label (n, k)."""
        shares = self.predict_proba(X)
        return (shares > 0.5).astype(int) if self.coding_.several else self.classes_[shares.argmax(axis=1)]

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
    return model.train(X, y, valid, stop, threads)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    root = written(model.net_)
    if not hasattr(model, "classes_"):
        tail = Affine(np.asarray(model.scale_, dtype=np.float64), np.asarray(model.offset_, dtype=np.float64))
        return Network(Sequential([root, tail]), gives="value", precision="float64")
    several = model.coding_.several
    places, k = None, None
    if not several:
        codes, k = codes_of(model, n_classes)
        places, k = (codes.astype(np.int32), k) if len(codes) != k else (None, None)
    link = "sigmoid" if several else "softmax"
    return Network(root, gives="probabilities", link=link, places=places, classes=k, precision="float64")
