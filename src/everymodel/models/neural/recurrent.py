"""Recurrent networks for texts and series: one answer for each row (many-to-one, and one-to-one)."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models.neural._hooks import fit, pack, refit_parameters
from everymodel.models.neural._sequences import Sequences
from everymodel.training.estimator import NetworkClassifier, NetworkRegressor

__all__ = ["RecurrentClassifier", "RecurrentRegressor", "fit", "pack", "refit_parameters"]

CARD = {
    "name": "recurrent",
    "title": "Recurrent network",
    "summary": "Reads a text or a series step by step, keeps what matters in memory, and answers at the end.",
    "choose": "A column of short texts, or series in which order matters, with a thousand rows or more.",
    "avoid": "Tables whose columns have no order; a few dozen rows; very long series, which it reads step by step.",
    "gives": ["probabilities"],
    "needs": {"missing": True, "package": "torch", "inputs": ["text", "sequence"]},
    "priority": 34,
    "cost": {"scale": 0.05, "rows_power": 0.9, "columns_power": 0.5},
    "references": [
        "Hochreiter and Schmidhuber (1997), Long short-term memory. Neural Computation 9.",
        "Cho et al. (2014), Learning phrase representations using RNN encoder-decoder. EMNLP.",
        "Gal and Ghahramani (2016), A theoretically grounded application of dropout in recurrent networks. NeurIPS 29.",
        "Bojanowski et al. (2017), Enriching word vectors with subword information. TACL 5.",
        "Wang and Manning (2012), Baselines and bigrams: simple, good sentiment and topic classification. ACL.",
    ],
    "advice": ["text", "series", "accurate", "slow"],
    "parameters": {
        "cell": {
            "type": "choice",
            "default": "lstm",
            "choices": ["lstm", "gru", "rnn"],
            "text": "What carries memory from step to step.",
        },
        "hidden": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 4096,
            "log": True,
            "text": "Numbers of memory in each direction; none: 100 for texts, 64 for series.",
        },
        "layers": {"type": "int", "default": 1, "low": 1, "high": 8, "text": "Recurrent layers, one above the other."},
        "bidirectional": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Whether a second network reads from the end.",
        },
        "pooling": {
            "default": "all",
            "choices": ["all", "last", "mean", "max", "attention"],
            "text": "How steps become one row; all: last, mean and largest side by side.",
        },
        "dropout": {
            "default": None,
            "high": 0.9,
            "text": "Share of numbers left out while learning; none: 0.5 for texts, 0.1 for series.",
        },
        "tokens": {
            "type": "choice",
            "default": "words",
            "choices": ["words", "characters", "subwords"],
            "tune": False,
            "text": "What texts are cut into.",
        },
        "embedding": {
            "type": "int",
            "default": 100,
            "low": 1,
            "high": 2048,
            "log": True,
            "tune": False,
            "text": "Numbers that stand for a token.",
        },
        "vocabulary": {
            "type": "int",
            "default": 30000,
            "low": 1,
            "high": 1000000,
            "tune": False,
            "text": "Most tokens that are known; the most frequent stay.",
        },
        "min_count": {
            "type": "int",
            "default": 1,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "How often a token must occur to be known.",
        },
        "lower": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Whether capitals and small letters are the same.",
        },
        "grams": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Whether words are also known by their runs of characters.",
        },
        "wide": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Whether weights of words and of pairs of words are summed beside the network.",
        },
        "word_dropout": {
            "type": "float",
            "default": 0.1,
            "low": 0.0,
            "high": 0.9,
            "tune": False,
            "text": "Share of tokens made unknown while learning.",
        },
        "label_smoothing": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 0.5,
            "tune": False,
            "text": "Share of each label that is spread over all classes; regressors have no use for it.",
        },
        "max_steps": {
            "type": "int",
            "default": 2000,
            "low": 1,
            "high": 10000000,
            "tune": False,
            "text": "Steps of a row that are read; what follows is left out, and said.",
        },
        "bptt": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 1000000,
            "tune": False,
            "text": "Steps after which gradients stop (truncated backpropagation through time); none: never.",
        },
        "clip": {
            "type": "float",
            "default": 1.0,
            "low": 1e-06,
            "high": 1000000.0,
            "log": True,
            "tune": False,
            "text": "Largest length of a gradient; none: any.",
        },
        "ema": {
            "type": "float",
            "default": None,
            "low": 0.5,
            "high": 0.99999,
            "tune": False,
            "text": "Decay of a moving average of weights, which answers; none: 0.99 for texts, off for series.",
        },
        "epochs": {"default": None, "text": "Passes over the rows; none: 8 for texts, 60 for series."},
        "batch_size": {"default": 32},
        "learning_rate": {
            "default": None,
            "text": "Length of the longest step; none: 0.002 for texts, 0.003 for series.",
        },
        "weight_decay": {},
        "optimizer": {},
        "schedule": {"default": "one_cycle"},
        "patience": {},
        "validation_fraction": {
            "default": None,
            "text": "Share of the rows that choose the best epoch; none: a tenth of texts, 0.15 of series.",
        },
        "device": {},
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.recurrent:RecurrentClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{}],
            "tiny": [
                {"cell": "gru", "hidden": 8, "epochs": 12, "learning_rate": 0.05, "device": "cpu", "random_state": 0},
            ],
        },
        "regressor": {
            "class": "everymodel.models.neural.recurrent:RecurrentRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "presets": [{}],
            "tiny": [
                {"cell": "gru", "hidden": 8, "epochs": 12, "learning_rate": 0.05, "device": "cpu", "random_state": 0},
            ],
            "waivers": {
                "check_regressors_train": "Ten columns without an order are read as one series: it takes more epochs.",
            },
        },
    },
}


class RecurrentClassifier(NetworkClassifier, Sequences):
    """A recurrent network for classes of texts or series (LSTM, GRU or vanilla; one- or bidirectional).

    X is a list of texts, a list of lists of tokens, a list of series (T_i, p) of any lengths, an array (n, T, p), or a
    matrix (n, T) whose rows are univariate series. Forwards h_t = cell(x_t, h_{t-1}) and backwards alike; the last
    states, their mean and their largest values side by side give the scores, p = softmax(pool(h) W + b).

    Texts: vectors of words beside the mean vector of their runs of characters, so that unknown words are not lost;
    weights of words and of pairs of neighbours are summed beside the network (`wide`). Series are standardised by
    signal; missing values become the mean, with a column that says so.

    Parameters
    ----------
    cell, hidden, layers, bidirectional, pooling, dropout : the network; see the card.
    tokens, embedding, vocabulary, min_count, lower, grams, wide, word_dropout : how texts are read.
    max_steps : steps of a row that are read. bptt : steps after which gradients stop.
    label_smoothing, clip, ema, epochs, batch_size, learning_rate, weight_decay, optimizer, schedule,
    patience : the training.
    validation_fraction : share of the rows that choose the best epoch.
    budget : seconds, or text like "30s"; device : "auto", "cpu", "cuda"; checkpoint : file to go on from.

    Attributes
    ----------
    classes_ : (k,). net_ : torch.nn.Module. reader_ : how cells become steps. history_ : History. step_ : the numpy
    network that answers. epochs_ : of the kept weights.

    Raises
    ------
    DataError, ParameterError, ValueError

    Examples
    --------
    >>> X = ["good film", "bad film", "so good", "so bad"] * 10
    >>> model = RecurrentClassifier(hidden=8, epochs=20, random_state=0).fit(X, ["yes", "no", "yes", "no"] * 10)
    >>> model.predict(["a good one", "a bad one"]).tolist()
    ['yes', 'no']
    """

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        return self._answers(X)


class RecurrentRegressor(NetworkRegressor, Sequences):
    """A recurrent network for numbers: see RecurrentClassifier for X and the parameters.

    The target is standardised, the loss is squared error.

    Examples
    --------
    >>> X = [np.linspace(0, i % 7, 10 + i % 5) for i in range(200)]
    >>> model = RecurrentRegressor(hidden=8, epochs=20, random_state=0).fit(X, [x[-1] for x in X])
    >>> bool(abs(model.predict([np.linspace(0, 4, 12)])[0] - 4) < 1)
    True
    """

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        y = np.asarray(y)
        return super()._targets(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y, learn)

    def predict(self, X: Any) -> np.ndarray:
        """Answers (n,), or (n, t) for a target of several columns."""
        return self._answers(X)
