"""Plumbing of networks for sequences: the network, its objective, the shared fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import DataError
from everymodel.models.neural._cells import cells_of, learn_tokens
from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.recurrence import Ragged as RaggedLayer
from everymodel.scoring.layers.tokens import (
    Signals,
    as_series,
    distinct,
    pair_of,
)
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks import written
from everymodel.training.blocks.recurrence import Pool, Recurrence, WordSums, WordVectors, same_dropout
from everymodel.training.estimator import NetworkEstimator, set_aside
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Ragged

_PAIRS = 1 << 16  # rows of the table for pairs of neighbours
_GRAMS = 1 << 15  # rows of the table for runs of characters
_FEW = 50  # rows below which none are held out


class SequenceNet(nn.Module):
    """Vectors of steps -> recurrent layers -> one row -> k numbers; where wanted, their mean with a sum over tokens.

    While learning both numbers come by themselves: each must be right alone, or the one would learn what the other
    lacks, and both would know the rows by heart.
    """

    def __init__(
        self,
        reader: Signals | WordVectors,
        recurrence: Recurrence,
        pooling: str,
        outputs: int,
        dropout: float,
        wide: WordSums | None = None,
    ):
        super().__init__()
        self.reader = reader
        self.vectors = reader if isinstance(reader, WordVectors) else None
        self.recurrence, self.wide, self.dropout = recurrence, wide, dropout
        self.pool = Pool(pooling, recurrence.width, recurrence.hidden)
        self.head = nn.Linear(self.pool.width, outputs)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor, pairs: torch.Tensor | None = None) -> Any:
        kinds = x
        if self.vectors is not None:
            x = same_dropout(self.vectors(x), self.dropout, self.training)
        x = self.recurrence(x, lengths)
        out = self.head(F.dropout(self.pool(x, lengths), self.dropout, self.training))
        if self.wide is None:
            return out
        sums = self.wide(kinds, lengths, pairs)
        return (out, sums) if self.training else (out + sums) / 2

    def layer(self) -> Layer:
        """Of raw cells."""
        reader = self.vectors.layer() if self.vectors is not None else self.reader
        assert isinstance(reader, Layer)
        body = feed.Sequential([*self.recurrence.layer().parts(), self.pool.layer(), written(self.head)])
        made = RaggedLayer(reader, body)
        if self.wide is None:
            return made
        return feed.Sequential([feed.Residual(made, self.wide.layer()), feed.Affine(np.array([0.5], dtype=np.float32))])


class Fit(Objective):
    """Supervised learning of rows: batches end with the targets. loss: "softmax", "sigmoid" or "square"."""

    falls = True

    def __init__(self, net: nn.Module, loss: str, smoothing: float = 0.0):
        super().__init__(net=net)
        self.loss, self.smoothing = loss, smoothing

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        out = nets["net"](*batch[:-1])
        smoothing = self.smoothing if nets.training else 0.0
        return {"net": sum(self._of(o, batch[-1], smoothing) for o in (out if isinstance(out, tuple) else (out,)))}

    def _of(self, out: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
        if self.loss == "softmax":
            return F.cross_entropy(out, y, label_smoothing=smoothing, ignore_index=-1)
        if self.loss == "sigmoid":
            return F.binary_cross_entropy_with_logits(out, y)
        return F.mse_loss(out, y)


# What an estimator does where a parameter is None: (for texts, for series).
_DEFAULTS: dict[str, tuple[Any, Any]] = {
    "hidden": (100, 64),
    "dropout": (0.5, 0.1),
    "learning_rate": (2e-3, 3e-3),
    "epochs": (8, 60),
    "validation_fraction": (0.1, 0.15),
    "ema": (0.99, None),
}


class Sequences(NetworkEstimator):
    """The parameters and the fit that classifier and regressor share."""

    _loss: str
    _outputs: int

    def __init__(
        self,
        cell: str = "lstm",
        hidden: int | None = None,
        layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "all",
        dropout: float | None = None,
        tokens: str = "words",
        embedding: int = 100,
        vocabulary: int = 30_000,
        min_count: int = 1,
        lower: bool = True,
        grams: bool = True,
        wide: bool = True,
        word_dropout: float = 0.1,
        label_smoothing: float = 0.0,
        max_steps: int = 2000,
        bptt: int | None = None,
        clip: float | None = 1.0,
        ema: float | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float | None = None,
        weight_decay: float = 0.0,
        optimizer: str = "adamw",
        schedule: str = "one_cycle",
        patience: int | None = None,
        validation_fraction: float | None = None,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.tokens = tokens
        self.embedding = embedding
        self.vocabulary = vocabulary
        self.min_count = min_count
        self.lower = lower
        self.grams = grams
        self.wide = wide
        self.word_dropout = word_dropout
        self.label_smoothing = label_smoothing
        self.max_steps = max_steps
        self.bptt = bptt
        self.clip = clip
        self.ema = ema
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

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from texts, lists of tokens, series or rows of numbers X, and y."""
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
        if y is None:
            raise ValueError("This model requires y to be passed, but the target y is None.")
        kind, cells = cells_of(self, X, reset=True)
        self.kind_ = kind
        if not len(cells):
            raise DataError("X has no rows; there is nothing to learn from.")
        self._seed()
        Y = self._targets(y)
        if len(Y) != len(cells):
            raise ValueError(f"X has {len(cells)} rows and y has {len(Y)}; expected as many.")
        if np.isnan(Y).any():
            raise ValueError("Input y contains NaN. Leave out rows without a target.")
        rows, aside = np.arange(len(cells)), np.zeros(0, dtype=np.int64)
        share = self._said("validation_fraction") if len(cells) >= _FEW else self.validation_fraction
        if valid is None and share and len(cells) > 1:
            generator = np.random.default_rng(self.seed_)
            rows, aside = set_aside(len(cells), share, generator, Y if Y.dtype == np.int64 else None)
        own = take(cells, rows)
        if valid is not None:
            checked, Z = cells_of(self, valid[0], reset=False)[1], self._targets(valid[1], learn=False)
        else:
            checked, Z = take(cells, aside), Y[aside]
        with self._initial():
            make = self._texts(own, checked) if kind == "text" else self._series(own)
        source = make(own, Y[rows], self.batch_size)
        goal = Fit(self.net_, self._loss, getattr(self, "label_smoothing", 0.0))
        plan = Optimizer(self.optimizer, self._said("learning_rate"), self.weight_decay)
        self._train(
            *(goal, source),
            valid=make(checked, Z, 256) if len(Z) else None,
            stop=stop,
            threads=threads,
            epochs=self._said("epochs"),
            optimizers=plan,
            clip=self.clip,
            ema=self._said("ema"),
        )
        cut = sum(self.reader_.length(c) > self.max_steps for c in own) if kind == "text" else _longer(own, self)
        if cut:
            told = f"{cut} of {len(own)} rows are longer than max_steps={self.max_steps}: their first steps were read."
            self.history_.notes.append(told)
        self.net_.cpu()
        best = self.history_.best_epoch
        self.epochs_ = int(best) if isinstance(best, int) and best else max(len(self.history_.epochs), 1)
        self.step_ = self.step()
        return self

    def _said(self, name: str) -> Any:
        value = getattr(self, name)
        return _DEFAULTS[name][self.kind_ != "text"] if value is None else value

    def _recurrence(self, inputs: int) -> Recurrence:
        dropout, hidden = self._said("dropout"), self._said("hidden")
        return Recurrence(self.cell, inputs, hidden, self.layers, self.bidirectional, dropout, self.bptt)

    def _texts(self, own: Sequence[Any], checked: Sequence[Any]) -> Callable[..., Ragged]:
        """Learn the vocabulary and build the net; gives how sources are made."""
        self.reader_ = reader = learn_tokens(
            own,
            self.tokens,
            vocabulary=self.vocabulary,
            min_count=self.min_count,
            lower=self.lower,
            most=self.max_steps,
        )
        split = {id(cells): [reader.split(cell) for cell in cells] for cells in (own, checked)}
        words, _ = distinct([tokens for part in split.values() for tokens in part])
        numbers = {word: i for i, word in enumerate(words)}
        grams = (_GRAMS, self.embedding // 2) if self.tokens == "words" and self.grams else (0, 0)
        vectors = WordVectors(reader, words, self.embedding, grams, drop=self.word_dropout)
        wide = WordSums(reader, words, self._outputs, _PAIRS) if self.wide else None
        recurrence = self._recurrence(vectors.width)
        self.net_ = SequenceNet(vectors, recurrence, self.pooling, self._outputs, self._said("dropout"), wide)

        def make(cells: Sequence[Any], Y: np.ndarray, batch: int) -> Ragged:
            tokens = split[id(cells)]
            kinds = torch.tensor([numbers[t] for row in tokens for t in row])
            lengths = torch.tensor([len(row) for row in tokens])
            rest: list[Any] = []
            if wide is not None:
                rows = ([t.lower() for t in row] if reader.lower else row for row in tokens)
                pairs = [[*(pair_of(a, b, _PAIRS) for a, b in itertools.pairwise(row)), 0] for row in rows]
                rest.append((torch.tensor([p for row in pairs for p in row]), "steps"))
            return Ragged(kinds, lengths, *rest, torch.as_tensor(Y), batch=batch, tokens=batch * 100, pad_rest=0)

        return make

    def _series(self, own: Any) -> Callable[..., Ragged]:
        flat = [as_series(cell) for cell in own]
        widths = {cell.shape[1] for cell in flat if cell.size > 1 or not np.isnan(cell).all()} or {1}
        if len(widths) > 1:
            raise DataError(f"The series have steps of {sorted(widths)} numbers; expected the same width in all.")
        values = np.concatenate([as_series(cell, *widths)[: self.max_steps] for cell in own])
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, values, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, values - centre, 0) ** 2).sum(axis=0) / count)
        scale = 1.0 / np.where(spread > 1e-12 * (1 + np.abs(centre)), spread, 1.0)
        self.reader_ = reader = Signals(centre, scale, bool((~known).any()), self.max_steps)
        recurrence = self._recurrence(len(centre) * (2 if reader.gaps else 1))
        self.net_ = SequenceNet(reader, recurrence, self.pooling, self._outputs, self._said("dropout"))

        def make(cells: Any, Y: np.ndarray, batch: int) -> Ragged:
            values, lengths = reader(cells)
            tensors = torch.as_tensor(values.astype(np.float32)), torch.as_tensor(lengths)
            return Ragged(*tensors, torch.as_tensor(Y), batch=batch, tokens=batch * 2000)

        return make

    def _answers(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        kind, cells = cells_of(self, X, reset=False)
        if kind != self.kind_:
            raise DataError(f"X holds {kind}, and the model has learnt from {self.kind_}.")
        return self.step_(cells)

    def step(self, places: np.ndarray | None = None, classes: int | None = None) -> Network:
        """The fitted network as a scoring step; see Network for `places` and `classes`."""
        root = written(self.net_)
        if self._loss == "square":
            scaling = feed.Affine(np.asarray(self.scale_), np.asarray(self.offset_))
            return Network(feed.Sequential([root, scaling]), gives="value", precision="float64")
        settings: dict[str, Any] = {"gives": "probabilities", "link": self._loss, "precision": "float64"}
        return Network(root, places=places, classes=classes, **settings)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = True
        else:
            tags.target_tags.multi_output = True
        return tags


def take(cells: Any, rows: np.ndarray) -> Any:
    """Some of the rows of an array or a list."""
    return cells[rows] if isinstance(cells, np.ndarray) else [cells[i] for i in rows]


def _longer(cells: Any, model: Any) -> int:
    return sum(len(cell) > model.max_steps for cell in cells)
