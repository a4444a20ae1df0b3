"""Sequence to sequence: reads a text or a series, and writes another one, looking back at what it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from everymodel.core.errors import DataError, ParameterError, TargetError
from everymodel.core.seeds import derive
from everymodel.models.neural._cells import learn_tokens
from everymodel.models.neural._hooks import fit
from everymodel.models.neural._writing import Write, WritingNet, cells_of
from everymodel.scoring.layers.tokens import PAD, Signals, Tokens, TokenVectors, as_series
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.translating import Translating
from everymodel.training.blocks.attention import Reader, Writer
from everymodel.training.blocks.written import array
from everymodel.training.estimator import NetworkEstimator, set_aside
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Ragged

__all__ = ["SequenceToSequence", "fit", "pack"]

CARD = {
    "name": "sequence_to_sequence",
    "title": "Sequence to sequence",
    "summary": "Reads a text or a series and writes a text, word by word, looking back at what it reads.",
    "choose": "Pairs of texts: translations, spellings, dates in other forms; captions for rows of numbers.",
    "avoid": "A few hundred pairs; open questions; texts of hundreds of words.",
    "gives": [],
    "needs": {"package": "torch", "inputs": "text"},
    "cost": {"scale": 0.02, "rows_power": 1.0, "columns_power": 0.0},
    "references": [
        "Bahdanau, Cho and Bengio (2015), Neural machine translation by jointly learning to align and translate. ICLR.",
        "Luong, Pham and Manning (2015), Effective approaches to attention-based neural machine translation. EMNLP.",
        "Mihaylova and Martins (2019), Scheduled sampling for transformers. ACL student research workshop.",
        "Wu et al. (2016), Google's neural machine translation system (length penalty).",
    ],
    "advice": ["text", "slow", "big_data"],
    "parameters": {
        "cell": {
            "type": "choice",
            "default": "gru",
            "choices": ["gru", "lstm"],
            "text": "What carries memory from step to step.",
        },
        "hidden": {"type": "int", "default": 256, "low": 1, "high": 4096, "log": True, "text": "Numbers of memory."},
        "embedding": {"type": "int", "default": 192, "low": 1, "high": 4096, "log": True, "text": "Numbers of a word."},
        "layers": {"type": "int", "default": 1, "low": 1, "high": 8, "text": "Recurrent layers that read."},
        "attention": {
            "type": "choice",
            "default": "dot",
            "choices": ["dot", "additive"],
            "text": "How the writer compares itself with what was read.",
        },
        "tokens": {
            "type": "choice",
            "default": "words",
            "choices": ["words", "characters", "subwords"],
            "tune": False,
            "text": "What texts are cut into, on both sides.",
        },
        "vocabulary": {
            "type": "int",
            "default": 10000,
            "low": 1,
            "high": 1000000,
            "tune": False,
            "text": "Most different tokens of each side.",
        },
        "min_count": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "Rarer words are unknown ones (words only).",
        },
        "lower": {"type": "bool", "default": True, "tune": False, "text": "Capitals and small letters are the same."},
        "dropout": {"default": 0.3},
        "label_smoothing": {
            "type": "float",
            "default": 0.1,
            "low": 0.0,
            "high": 0.9,
            "text": "Share of the truth that is spread over all words.",
        },
        "sampling": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 1.0,
            "text": "Share of its own words that the writer gets to go on from at the end of training.",
        },
        "beams": {
            "type": "int",
            "default": 5,
            "low": 1,
            "high": 100,
            "tune": False,
            "text": "Sentences that are kept while writing.",
        },
        "length_penalty": {
            "type": "float",
            "default": 0.6,
            "low": 0.0,
            "high": 10.0,
            "tune": False,
            "text": "How far longer sentences are preferred.",
        },
        "copy_unknown": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Write the word that was looked at in place of an unknown one.",
        },
        "epochs": {"default": 10},
        "batch_size": {"default": 64},
        "learning_rate": {"default": 0.003},
        "weight_decay": {},
        "optimizer": {},
        "schedule": {"default": "warm_cosine"},
        "patience": {"default": None},
        "validation_fraction": {"default": 0.05},
        "device": {},
    },
    "presets": [{}],
    "classes": {
        "translator": {
            "class": "everymodel.models.neural.sequence_to_sequence:SequenceToSequence",
            "tasks": ["translate"],
            "tiny": [
                {"hidden": 24, "embedding": 16, "epochs": 8, "min_count": 1, "dropout": 0.0, "beams": 2,
                 "learning_rate": 0.01, "device": "cpu", "random_state": 0},
                {"hidden": 16, "embedding": 12, "cell": "lstm", "attention": "additive", "tokens": "characters",
                 "epochs": 3, "sampling": 0.3, "beams": 1, "device": "cpu", "random_state": 1},
            ],
        }
    },
}  # fmt: skip
MOST = 200  # tokens of a row that are read


class SequenceToSequence(NetworkEstimator):
    """A reader in both directions, a writer with attention, and beam search.

        h = BiGRU(x),  s_u = GRU(y_{u-1}, s_{u-1}),  c_u = sum_t softmax(a(s_u, h_t)) h_t,
        p(y_u) = softmax(E tanh(R [s_u; c_u]))

    X : texts, lists of tokens (many-to-many), series (T, p) of numbers, or a matrix (n, p) of which each row is one
    step (one-to-many, as for captions). y : texts, or lists of tokens; `predict` gives what y was.

    Parameters
    ----------
    cell, hidden, embedding, layers, attention, tokens, vocabulary, min_count, lower, dropout, label_smoothing,
    sampling, beams, length_penalty, copy_unknown : see the card.
    epochs, batch_size, learning_rate, weight_decay, optimizer, schedule, patience, validation_fraction, budget, device,
    checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    net_, history_, step_ (answers in numpy), tokens_ (of what is written)

    Raises
    ------
    DataError, TargetError, ParameterError

    Examples
    --------
    >>> X = ["one two", "two one", "one one", "two two"] * 8
    >>> y = ["a b", "b a", "a a", "b b"] * 8
    >>> model = SequenceToSequence(hidden=24, embedding=16, epochs=40, learning_rate=0.01, dropout=0.0, random_state=0)
    >>> model.fit(X, y).predict(["two one"])
    ['b a']
    """

    def __init__(
        self,
        cell: str = "gru",
        hidden: int = 256,
        embedding: int = 192,
        layers: int = 1,
        attention: str = "dot",
        tokens: str = "words",
        vocabulary: int = 10000,
        min_count: int = 2,
        lower: bool = True,
        dropout: float = 0.3,
        label_smoothing: float = 0.1,
        sampling: float = 0.0,
        beams: int = 5,
        length_penalty: float = 0.6,
        copy_unknown: bool = True,
        epochs: int = 10,
        batch_size: int = 64,
        learning_rate: float = 0.003,
        weight_decay: float = 0.0,
        optimizer: str = "adamw",
        schedule: str = "warm_cosine",
        patience: int | None = None,
        validation_fraction: float = 0.05,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: Any = None,
        verbose: int | bool = 0,
    ):
        self.cell = cell
        self.hidden = hidden
        self.embedding = embedding
        self.layers = layers
        self.attention = attention
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.min_count = min_count
        self.lower = lower
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.sampling = sampling
        self.beams = beams
        self.length_penalty = length_penalty
        self.copy_unknown = copy_unknown
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

    def fit(self, X: Any, y: Any) -> SequenceToSequence:
        """Learn to write y (n,) for X (n,)."""
        return self.train(X, y)

    def train(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> SequenceToSequence:
        """As `fit`; `valid` are other pairs that choose the best epoch."""
        self._check()
        seed = self._seed()
        cells, targets = cells_of(X), list(y)
        if len(cells) != len(targets) or not targets:
            raise TargetError(f"{len(cells)} rows came with {len(targets)} targets; expected as many, and one or more.")
        for row, cell in enumerate(targets):
            if not isinstance(cell, str | list | tuple | np.ndarray):
                raise TargetError(f"y[{row}] is {cell!r}; expected a text, or a list of tokens.")
        if valid is None and self.validation_fraction and len(targets) >= 20:
            own, aside = set_aside(len(targets), self.validation_fraction, np.random.default_rng(derive(seed, "aside")))
            valid = [cells[i] for i in aside], [targets[i] for i in aside]
            cells, targets = [cells[i] for i in own], [targets[i] for i in own]
        self._joined = isinstance(targets[0], str)
        least = self.min_count if self.tokens == "words" else 1
        settings = {"vocabulary": self.vocabulary, "min_count": least, "lower": self.lower, "most": MOST}
        self.tokens_ = learn_tokens(targets, self.tokens, **settings)
        if not self.tokens_.words:
            raise TargetError("y holds no token often enough to be learnt. Give more rows, or a smaller min_count.")
        self.source_ = self._source(cells, settings)
        with self._initial():
            width = self.embedding if isinstance(self.source_, Tokens) else 2 * len(self.source_.centre)
            vectors = torch.nn.Embedding(self.source_.size, width) if isinstance(self.source_, Tokens) else None
            if vectors is not None:
                vectors.weight.data.mul_(0.1)
                vectors.weight.role = "embedding"  # type: ignore[assignment]
            reader = Reader(self.cell, width, self.hidden, self.layers, self.dropout)
            writer = Writer(self.cell, self.tokens_.size + 2, self.embedding, reader.width, self.hidden, self.attention,
                            self.dropout)  # fmt: skip
            net = WritingNet(vectors, reader, writer)
        source = self._pairs(cells, targets, shuffle=True)
        checked = None if valid is None else self._pairs(cells_of(valid[0]), list(valid[1]), shuffle=False)
        objective = Write(net, self.label_smoothing, self.sampling, source.steps() * self.epochs)
        optimizer = Optimizer(self.optimizer, self.learning_rate, self.weight_decay)
        self._train(objective, source, valid=checked, stop=stop, threads=threads, clip=1.0, optimizers=optimizer)
        self.net_ = net.cpu().eval()
        self.step_ = self._made()
        return self

    def predict(self, X: Any) -> list[Any]:
        """What is written for each row: texts, or lists of tokens where y were such."""
        return self.step_(cells_of(X))

    def _check(self) -> None:
        for name, words in (
            ("cell", ("gru", "lstm")),
            ("attention", ("dot", "additive")),
            ("tokens", ("words", "characters", "subwords")),
        ):
            if getattr(self, name) not in words:
                raise ParameterError(f"{name}={getattr(self, name)!r} is not possible: expected {', '.join(words)}.")
        for name in ("hidden", "embedding", "layers", "beams", "epochs", "batch_size", "vocabulary", "min_count"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ParameterError(f"{name}={value!r} is not possible: expected a whole number above 0.")

    def _source(self, cells: list[Any], settings: dict[str, Any]) -> Any:
        """How cells are read: tokens, or numbers brought to mean 0 and spread 1."""
        if isinstance(cells[0], str) or (len(cells[0]) and isinstance(cells[0][0], str)):
            return learn_tokens(cells, self.tokens, **settings)
        try:
            steps = np.concatenate([as_series(cell) for cell in cells]).astype(np.float64)
        except (ValueError, TypeError) as error:
            raise DataError(f"X holds neither texts nor rows of numbers of one width: {error}.") from error
        if not np.isfinite(steps).any():
            raise DataError("X holds no number.")
        steps = np.where(np.isfinite(steps), steps, np.nan)
        empty = np.isnan(steps).all(axis=0)
        mean, spread = np.nanmean(np.where(empty, 0.0, steps), axis=0), np.nanstd(np.where(empty, 0.0, steps), axis=0)
        scale = 1.0 / np.where(spread > 1e-12, spread, 1.0)
        return Signals(mean.astype(np.float32), scale.astype(np.float32), True, 10_000)

    def _pairs(self, cells: list[Any], targets: list[Any], shuffle: bool) -> Ragged:
        values, lengths = self.source_(cells)
        begin, end = self.tokens_.size, self.tokens_.size + 1
        ids, sizes = self.tokens_(targets)
        rows = [[begin, *row.tolist(), end] for row in np.split(ids, np.cumsum(sizes)[:-1])]
        longest = max(map(len, rows))
        padded = np.full((len(rows), longest), PAD, dtype=np.int64)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row
        own = torch.from_numpy(np.ascontiguousarray(values))
        told = torch.tensor([len(r) for r in rows])
        return Ragged(own, torch.from_numpy(lengths), torch.from_numpy(padded), told, batch=self.batch_size,
                      shuffle=shuffle)  # fmt: skip

    def _made(self) -> Translating:
        tokens = isinstance(self.source_, Tokens)
        reader = TokenVectors(self.source_, array(self.net_.vectors.weight)) if tokens else self.source_
        writer = self.net_.writer.layer(int(self.beams), float(self.length_penalty), MOST)
        return Translating(
            reader, self.net_.reader.layer(), writer, self.tokens_, self._joined, bool(self.copy_unknown)
        )


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step that takes raw cells and gives what is written."""
    return model.step_
