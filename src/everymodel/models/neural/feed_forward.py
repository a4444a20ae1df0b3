"""Feed-forward networks for tables: a recipe that competes with boosted trees, and the plain network of tutorials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models.neural._feed import FeedForward
from everymodel.models.neural._hooks import pack
from everymodel.training.estimator import NetworkClassifier, NetworkRegressor

__all__ = ["FeedForwardClassifier", "FeedForwardRegressor", "fit", "held_out", "pack", "refit_parameters"]

CARD = {
    "name": "feed_forward",
    "title": "Feed-forward network",
    "summary": "Layers of weighted sums with a bend in between, trained by gradients; a few networks are averaged.",
    "choose": "Smooth relations between number columns (signals, pixels, measurements); a good partner of trees.",
    "avoid": "A few dozen rows; when the model must be read; no time to train.",
    "gives": ["probabilities"],
    "needs": {"missing": True, "categories": "native", "package": "torch", "max_columns": 20000},
    "cost": {"scale": 0.012, "rows_power": 0.7, "columns_power": 0.15},
    "references": [
        "Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors. Nature 323.",
        "Holzmüller, Grinsztajn and Steinwart (2024), Better by default: strong pre-tuned MLPs and boosted trees on "
        "tabular data. NeurIPS 37.",
        "Ioffe and Szegedy (2015), Batch normalization. ICML.",
        "Smith and Topin (2018), Super-convergence: very fast training using large learning rates.",
        "Gorishniy et al. (2022), On embeddings for numerical features in tabular deep learning. NeurIPS 35.",
    ],
    "advice": ["accurate", "smooth", "many_columns", "medium_data", "interactions", "missing_values"],
    "priority": 32,
    "parameters": {
        "recipe": {
            "type": "choice",
            "default": "table",
            "choices": ["table", "plain"],
            "tune": False,
            "text": "table: what is known to work on tables; plain: one layer of 128, ReLU, Adam, 5 epochs.",
        },
        "width": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 8192,
            "log": True,
            "text": "Neurons of the first hidden layer, each further one has half as many; none: 256, 128 when plain.",
        },
        "layers": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 12,
            "tune": False,
            "text": "Hidden layers; none: 2, or 1 when plain.",
        },
        "members": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 128,
            "tune": False,
            "text": "Networks that are trained side by side and averaged; none: 3, or 1 when plain.",
        },
        "embedding": {
            "type": "choice",
            "default": None,
            "choices": ["periodic", "piecewise", "none"],
            "text": "Beside numbers: waves or pieces of themselves; none: pieces, but for three classes or more.",
        },
        "activation": {
            "type": "choice",
            "default": None,
            "choices": [None, "relu", "mish", "selu", "silu", "gelu", "tanh", "leaky_relu", "elu", "sigmoid"],
            "tune": False,
            "text": "The bend after each layer; none: ReLU.",
        },
        "dropout": {
            "default": None,
            "high": 0.6,
            "text": "Share of neurons left out at random; none: 0.15, 0.4 for two classes.",
        },
        "label_smoothing": {
            "type": "float",
            "default": None,
            "low": 0.0,
            "high": 0.5,
            "tune": False,
            "text": "Share of each label that is spread over all; none: 0, 0.1 for two classes.",
        },
        "temperature": {
            "type": "float",
            "default": None,
            "low": 0.01,
            "high": 100.0,
            "tune": False,
            "text": "What the sums of classes are divided by; none: what suits the rows held out.",
        },
        "epochs": {
            "default": None,
            "text": "Passes over the rows; none: 60 to 5 by the rows, two thirds for many classes; 5 when plain.",
        },
        "batch_size": {
            "default": None,
            "text": "Rows per step; none: 64 to 2048 by the rows, half for three classes or more, 32 when plain.",
        },
        "learning_rate": {
            "default": None,
            "low": 1e-4,
            "high": 0.1,
            "text": "Length of the longest step; none: 0.014, for classes 0.02, for two 0.004, 0.001 when plain.",
        },
        "weight_decay": {
            "default": None,
            "text": "How strongly weights are pulled towards zero; none: 0.05, 0.1 for numbers, 0 when plain.",
        },
        "optimizer": {
            "type": "choice",
            "default": None,
            "choices": [None, "sgd", "momentum", "rmsprop", "adam", "adamw", "muon"],
            "tune": False,
            "text": "How gradients become steps; none: AdamW, Adam when plain.",
        },
        "schedule": {
            "type": "choice",
            "default": None,
            "choices": [
                None,
                "constant",
                "linear",
                "cosine",
                "one_cycle",
                "triangle",
                "warm_cosine",
                "coslog4",
                "flat_cosine",
            ],
            "tune": False,
            "text": "How the length of steps runs over the fit; none: one cycle, falling when plain.",
        },
        "patience": {"default": None, "text": "Epochs without a better validation loss, then it ends; none: a third."},
        "validation_fraction": {
            "default": None,
            "text": "Share of the rows that choose the best epoch; none: a fifth of 50 rows or more, 0 when plain.",
        },
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.feed_forward:FeedForwardClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{}, {"embedding": "none", "dropout": 0.15, "learning_rate": 0.014}],
            "tiny": [
                {"hidden": [16], "epochs": 60, "members": 2, "random_state": 0},
                {"recipe": "plain", "hidden": [16], "epochs": 60, "learning_rate": 0.02, "random_state": 0},
            ],
        },
        "regressor": {
            "class": "everymodel.models.neural.feed_forward:FeedForwardRegressor",
            "tasks": ["regression"],
            "presets": [{}, {"embedding": "none"}],
            "gives": ["multioutput"],
            "tiny": [
                {"hidden": [16], "epochs": 60, "members": 2, "random_state": 0},
                {"recipe": "plain", "hidden": [16], "epochs": 60, "learning_rate": 0.02, "random_state": 0},
            ],
        },
    },
}


class FeedForwardRegressor(NetworkRegressor, FeedForward):
    """A feed-forward network for numbers: see FeedForwardClassifier for recipes and parameters.

    The target is standardised, the loss is squared error, and answers stay within the targets seen.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 300)[:, None]
    >>> model = FeedForwardRegressor(epochs=60, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(abs(model.predict([[0.5]])[0] - 0.25) < 0.1)
    True
    """

    def _limits(self, Y: np.ndarray) -> None:
        self.low_, self.high_ = Y.min(axis=0).astype(np.float64), Y.max(axis=0).astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """Answers (n,), or (n, t) for a target of several columns."""
        answer = self._answers(X)
        return answer.reshape(len(answer), -1) if self.many_ else answer


class FeedForwardClassifier(NetworkClassifier, FeedForward):
    """A feed-forward network for classes (softmax) or for several labels at once (a sigmoid each).

    recipe="table": numbers centred at their median, scaled by their quartiles and bent softly towards +-3, each beside
    pieces of itself between its quantiles, but for three classes or more; categories as columns or embeddings (of many
    levels, those of fewer than five rows count as not seen); missing values inside; a few networks side by side,
    averaged, whose sums are normalised by the batch (which folds away);
    AdamW under one cycle of the rate; the best epoch, and a temperature for its probabilities, by rows held out.
    recipe="plain": columns scaled to 0..1, one layer of 128 ReLU, Adam, five epochs: the network of tutorials,
    a = phi(x W + b). Every parameter left at None is the recipe's.

    Parameters
    ----------
    recipe : "table" or "plain"
    hidden : neurons of each hidden layer; None: `layers` layers of `width`.
    members, embedding, activation, dropout, label_smoothing, temperature : see the card.
    epochs, batch_size, learning_rate, weight_decay, optimizer, schedule, patience : the training.
    validation_fraction : share of the rows that choose the best epoch.
    categorical_features : numbers of the columns that hold levels (any numbers), not amounts.
    budget : seconds, or text like "30s"; device : "auto", "cpu", "cuda"; checkpoint : file to go on from.

    Attributes
    ----------
    net_ : torch.nn.Module; front_ : what columns look like to it; history_ : History; epochs_ : of the kept weights;
    temperature_ : what the sums of classes are divided by.
    classes_ : (k,)

    Errors
    ------
    ValueError for infinite numbers; ParameterError for parameters outside of their range.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 300)[:, None]
    >>> model = FeedForwardClassifier(epochs=60, random_state=0).fit(X, np.abs(X[:, 0]) > 0.5)
    >>> model.predict([[0.0], [0.9]]).tolist()
    [False, True]
    """

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        return self._answers(X)


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
    """Train with the `native` columns as levels; keep the best epoch on `valid`, end early when `stop` says so."""
    if len(native):
        model.set_params(categorical_features=[int(i) for i in native])
    return model.train(X, y, valid, stop, threads)


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many passes as led to the kept weights, over all rows."""
    return {"epochs": model.epochs_, "validation_fraction": 0.0, "temperature": float(model.temperature_)}


def held_out(model: Any, X: np.ndarray) -> np.ndarray | None:
    """Answers for the validation rows X that those rows had no part in (see HALVES); None where they are too few."""
    if model.held_ is None or hasattr(model, "classes_"):
        return model.held_
    held = np.clip(model.held_, model.low_, model.high_)
    return (held * model.scale_ + model.offset_)[:, slice(None) if model.many_ else 0]
