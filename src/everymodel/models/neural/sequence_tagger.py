"""A tag for every word: bidirectional LSTM with a conditional random field (many-to-many, aligned)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from everymodel.models.neural._cells import learn_tokens
from everymodel.models.neural._hooks import fit, refit_parameters
from everymodel.models.neural._tagging import TagFit, TagNet, allowed, grouped, learnt, matched, sentences, sources
from everymodel.scoring.layers.tokens import distinct
from everymodel.scoring.spans import scheme_of, span_scores
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.recurrence import Recurrence, WordVectors
from everymodel.training.blocks.tagging import CRF
from everymodel.training.estimator import NetworkEstimator, set_aside

__all__ = ["SequenceTagger", "fit", "pack", "refit_parameters"]

CARD = {
    "name": "sequence_tagger",
    "title": "Tagger of words",
    "summary": "Reads a sentence from both ends and gives every word a tag, so that neighbouring tags fit together.",
    "choose": "Names, places and other spans in sentences; parts of speech; any label for every step of a sequence.",
    "avoid": "One label for a whole text, for which a classifier of texts is made; fewer than some hundred sentences.",
    "needs": {"package": "torch", "inputs": "text"},
    "cost": {"scale": 0.3, "rows_power": 1.0, "columns_power": 0.5},
    "references": [
        "Huang, Xu and Yu (2015), Bidirectional LSTM-CRF models for sequence tagging. arXiv:1508.01991.",
        "Lample et al. (2016), Neural architectures for named entity recognition. NAACL.",
        "Lafferty, McCallum and Pereira (2001), Conditional random fields. ICML.",
    ],
    "advice": ["text", "series", "slow"],
    "parameters": {
        "cell": {
            "type": "choice",
            "default": "lstm",
            "choices": ["lstm", "gru", "rnn"],
            "text": "What carries memory from word to word.",
        },
        "hidden": {
            "type": "int",
            "default": 128,
            "low": 1,
            "high": 4096,
            "log": True,
            "text": "Numbers of memory in each direction.",
        },
        "layers": {"type": "int", "default": 1, "low": 1, "high": 8, "text": "Recurrent layers, one above the other."},
        "embedding": {
            "type": "int",
            "default": 100,
            "low": 1,
            "high": 2048,
            "log": True,
            "tune": False,
            "text": "Numbers that stand for a word.",
        },
        "characters": {
            "type": "int",
            "default": 64,
            "low": 0,
            "high": 1024,
            "tune": False,
            "text": "Numbers that stand for the runs of characters of a word; 0: none.",
        },
        "marks": {
            "type": "int",
            "default": 12,
            "low": 0,
            "high": 256,
            "tune": False,
            "text": "Numbers for each beginning, ending and shape of a word; 0: none.",
        },
        "dropout": {"default": 0.5, "high": 0.9, "text": "Share of numbers left out while learning."},
        "word_dropout": {
            "type": "float",
            "default": 0.05,
            "low": 0.0,
            "high": 0.9,
            "text": "Share of words made unknown while learning; of words seen once it is half.",
        },
        "clip": {
            "type": "float",
            "default": 5.0,
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
            "text": "Decay of a moving average of the weights, which then answers; none: no average.",
        },
        "epochs": {"default": 15, "text": "Passes over the sentences."},
        "batch_size": {"default": 16, "text": "Sentences per step."},
        "learning_rate": {"default": 0.003},
        "weight_decay": {},
        "optimizer": {},
        "schedule": {"default": "one_cycle"},
        "patience": {},
        "validation_fraction": {"text": "Share of the sentences that choose the best epoch."},
        "device": {},
    },
    "classes": {
        "tagger": {
            "class": "everymodel.models.neural.sequence_tagger:SequenceTagger",
            "tasks": ["tag"],
            "presets": [{}],
            "tiny": [
                {
                    "hidden": 8,
                    "embedding": 16,
                    "characters": 8,
                    "marks": 2,
                    "epochs": 15,
                    "device": "cpu",
                    "dropout": 0.1,
                    "learning_rate": 0.02,
                    "random_state": 0,
                },
            ],
        },
    },
}


class SequenceTagger(NetworkEstimator):
    """A tag for every word: BiLSTM-CRF, p(y|x) ∝ exp(Σ_t h_t W_{y_t} + M[y_t-1, y_t]), decoded by Viterbi's way.

    X is a list of sentences, each a list of words; y a list of lists of tags. Tags of spans (B-PER, I-PER, O; written
    as IOB1, IOB2, IOBES or BILOU) are learnt as IOBES, in which impossible neighbours are ruled out, and answered in
    the way they came. A word is its vector, the mean of its runs of characters, and its beginnings, endings and shape.

    Parameters
    ----------
    cell, hidden, layers, embedding, characters, marks, dropout, word_dropout : the network; see the card.
    clip, ema, epochs, batch_size, learning_rate, weight_decay, optimizer, schedule, patience : the training.
    validation_fraction : share of the sentences that choose the best epoch, by F1 of spans or share of right tags.
    budget : seconds, or text like "30s"; device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    tags_ : tags that are learnt; scheme_ : how spans are written in y, None where tags are no spans.
    net_, reader_, history_, epochs_, step_

    Raises
    ------
    DataError, TargetError, ParameterError

    Examples
    --------
    >>> X = [["I", "met", "Ann"], ["Ann", "left"], ["he", "met", "Bob", "Lee"]] * 10
    >>> y = [["O", "O", "B-PER"], ["B-PER", "O"], ["O", "O", "B-PER", "I-PER"]] * 10
    >>> model = SequenceTagger(hidden=8, epochs=20, learning_rate=0.02, random_state=0).fit(X, y)
    >>> model.predict([["we", "met", "Bob", "Lee"]])
    [['O', 'O', 'B-PER', 'I-PER']]
    """

    def __init__(
        self,
        cell: str = "lstm",
        hidden: int = 128,
        layers: int = 1,
        embedding: int = 100,
        characters: int = 64,
        marks: int = 12,
        dropout: float = 0.5,
        word_dropout: float = 0.05,
        clip: float | None = 5.0,
        ema: float | None = None,
        epochs: int = 15,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        optimizer: str = "adamw",
        schedule: str = "one_cycle",
        patience: int | None = None,
        validation_fraction: float = 0.1,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.embedding = embedding
        self.characters = characters
        self.marks = marks
        self.dropout = dropout
        self.word_dropout = word_dropout
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

    def fit(self, X: Any, y: Any) -> SequenceTagger:
        """Learn from sentences X and their tags y."""
        return self.train(X, y)

    def train(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> SequenceTagger:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        own, tags = matched(X, y)
        self._seed()
        self.scheme_ = scheme_of(tags)
        checked, told = ([], []) if valid is None else matched(*valid)
        if valid is None and self.validation_fraction and len(own) > 1:
            kept, aside = set_aside(len(own), self.validation_fraction, np.random.default_rng(self.seed_))
            checked, told = [own[i] for i in aside], [tags[i] for i in aside]
            own, tags = [own[i] for i in kept], [tags[i] for i in kept]
        tags, told = learnt(tags, self.scheme_), learnt(told, self.scheme_)
        self.tags_ = sorted({tag for sentence in tags for tag in sentence})
        words, codes = distinct(own)
        counts = np.bincount(codes, minlength=len(words))
        words, _ = distinct([words, *checked])
        self.reader_ = learn_tokens(own, "words", digits=True, vocabulary=100_000, most=1 << 30)
        with self._initial():
            self.net_ = self._net(words, counts)
        make = sources(words, self.tags_)
        self._train(
            TagFit(self.net_, self.tags_, self.scheme_ is not None),
            make(own, tags, self.batch_size),
            valid=make(checked, told, 128) if checked else None,
            stop=stop,
            threads=threads,
            clip=self.clip,
            ema=self.ema,
        )
        self.net_.cpu()
        best = self.history_.best_epoch
        self.epochs_ = int(best) if isinstance(best, int) and best else max(len(self.history_.epochs), 1)
        self.step_ = self.net_.step(self.tags_, self.scheme_)
        return self

    def _net(self, words: Sequence[str], counts: np.ndarray) -> TagNet:
        drop = np.full(len(words), self.word_dropout)
        drop[: len(counts)][counts == 1] = 0.5 if self.word_dropout else 0.0
        vectors = WordVectors(
            self.reader_,
            words,
            self.embedding,
            (1 << 15, self.characters),
            (1 << 15, self.marks),
            (2, 4),
            cased=True,
            drop=drop,
        )
        body = Recurrence(self.cell, vectors.width, self.hidden, self.layers, True, self.dropout)
        field = CRF(len(self.tags_), allowed(self.tags_) if self.scheme_ else None)
        return TagNet(vectors, body, field, self.dropout)

    def predict(self, X: Any) -> list[list[str]]:
        """A list of tags for each sentence."""
        check_is_fitted(self)
        return self.step_(sentences(X))

    def evaluate(self, X: Any, y: Any) -> dict[str, Any]:
        """{"accuracy": share of right tags} and, where tags are spans, exact precision, recall, f1, and by type."""
        found, true = self.predict(X), matched(X, y)[1]
        right = [a == b for s, t in zip(true, found) for a, b in zip(s, t)]
        told = {"accuracy": float(np.mean(right)) if right else 0.0}
        return told if self.scheme_ is None else {**told, **span_scores(true, found)}

    def score(self, X: Any, y: Any) -> float:
        """F1 of exact spans, or the share of right tags where tags are no spans."""
        told = self.evaluate(X, y)
        return told["f1" if self.scheme_ else "accuracy"]

    @staticmethod
    def sentences(
        table: Any, sentence: str = "sentence", word: str = "word", tag: str | None = "tag"
    ) -> tuple[list[list[str]], list[list[str]] | None]:
        """(X, y) from a long table with a row for each word: the rows of a sentence share what stands in `sentence`.

        table : a DataFrame or a dict of columns. Sentences come in the order of their first row, words in theirs.
        """
        return grouped(table, sentence, word, tag)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted tagger as a scoring step: sentences to lists of tags."""
    check_is_fitted(model)
    return model.step_
