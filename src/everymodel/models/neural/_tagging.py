"""Plumbing of taggers: sentences and their tags, the network, its objective."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.core.errors import DataError, TargetError
from everymodel.scoring.layers import feed, recurrence
from everymodel.scoring.layers.tokens import as_text, split_words
from everymodel.scoring.spans import may_follow, span_scores, spans_of, tags_of
from everymodel.scoring.steps.tagging import Tagging
from everymodel.training.blocks import written
from everymodel.training.blocks.recurrence import Recurrence, WordVectors, same_dropout
from everymodel.training.blocks.tagging import CRF
from everymodel.training.objective import Objective
from everymodel.training.source import Ragged


def sentences(X: Any) -> list[list[str]]:
    """Sentences as lists of words; a text is cut into words, a missing one has none."""
    if isinstance(X, str | bytes):
        raise DataError("A single text came as X; expected a list of sentences, each a list of words.")
    if not hasattr(X, "__len__"):
        raise DataError(f"X is a {type(X).__name__}; expected a list of sentences, each a list of words.")
    made = []
    for row, cell in enumerate(X):
        if cell is None or isinstance(cell, str | bytes) or (isinstance(cell, float) and cell != cell):
            made.append(split_words(as_text(cell)))
        elif isinstance(cell, list | tuple | np.ndarray):
            made.append([as_text(word) for word in cell])
        else:
            raise DataError(f"Row {row} of X is a {type(cell).__name__}; expected a list of words, or a text.")
    return made


def matched(X: Any, y: Any) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences and their tags; sentences without words are left out."""
    if y is None:
        raise TargetError("y is missing; a tagger learns from a list of tags for each sentence.")
    own, tags = sentences(X), list(y)
    if len(own) != len(tags):
        raise DataError(f"X has {len(own)} sentences and y has {len(tags)}; expected as many.")
    for row, (words, told) in enumerate(zip(own, tags)):
        if isinstance(told, str) or not hasattr(told, "__len__"):
            raise TargetError(f"Row {row} of y is {told!r}; expected a list of {len(words)} tags.")
        if len(words) != len(told):
            raise TargetError(f"Sentence {row} has {len(words)} words and {len(told)} tags; expected as many.")
    pairs = [(w, [str(tag) for tag in t]) for w, t in zip(own, tags) if len(w)]
    if not pairs:
        raise DataError("There is no sentence with a word to learn from.")
    return [w for w, _ in pairs], [t for _, t in pairs]


def learnt(tags: Sequence[Sequence[str]], scheme: str | None) -> list[list[str]]:
    """Tags as they are learnt: spans as IOBES."""
    return [tags_of(spans_of(t), len(t)) if scheme else list(t) for t in tags]


def allowed(tags: Sequence[str]) -> torch.Tensor:
    """Which IOBES tag may stand after which (k + 1, k + 1); the last of each is the end of a sentence."""
    every = [*tags, ""]
    return torch.tensor([[may_follow(a, b) for b in every] for a in every])


def grouped(table: Any, sentence: str, word: str, tag: str | None) -> tuple[list[list[str]], list[list[str]] | None]:
    """Rows of a long table as sentences; see SequenceTagger.sentences."""
    names = [sentence, word] + ([tag] if tag else [])
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(f"The table has no column {missing[0]!r}; it has {', '.join(map(str, table))}.")
    rows = zip(*(list(table[name]) for name in names), strict=True)
    X: dict[Any, list[str]] = {}
    y: dict[Any, list[str]] = {}
    for key, token, *told in rows:
        X.setdefault(key, []).append(as_text(token))
        y.setdefault(key, []).extend(str(t) for t in told)
    return list(X.values()), list(y.values()) if tag else None


def sources(words: Sequence[str], tags: Sequence[str]) -> Callable[..., Ragged]:
    """How sentences become batches of kinds of words and codes of tags; a tag that was not learnt is -100."""
    kinds, codes = {w: i for i, w in enumerate(words)}, {t: i for i, t in enumerate(tags)}

    def make(own: Sequence[Sequence[str]], told: Sequence[Sequence[str]], batch: int) -> Ragged:
        values = torch.tensor([kinds[w] for words in own for w in words])
        lengths = torch.tensor([len(words) for words in own])
        targets = torch.tensor([codes.get(t, -100) for tags in told for t in tags])
        return Ragged(values, lengths, (targets, "steps"), batch=batch, tokens=batch * 60)

    return make


class TagNet(nn.Module):
    """Kinds of words (b, T), lengths -> scores of tags (b, T, k); holds the field that ties them."""

    def __init__(self, vectors: WordVectors, body: Recurrence, field: CRF, dropout: float):
        super().__init__()
        self.vectors, self.body, self.field, self.dropout = vectors, body, field, dropout
        self.head = nn.Linear(body.width, len(field.start))

    def forward(self, kinds: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = same_dropout(self.vectors(kinds), self.dropout, self.training)
        return self.head(same_dropout(self.body(x, lengths), self.dropout, self.training))

    def step(self, tags: Sequence[str], scheme: str | None) -> Tagging:
        """What answers in numpy, from raw sentences."""
        layers = [*self.body.layer().parts(), recurrence.EachStep(written(self.head))]
        return Tagging(self.vectors.layer(), feed.Sequential(layers), self.field.layer(), tuple(tags), scheme)


class TagFit(Objective):
    """Minus the mean log-probability of sentences' tags; validation: 1 - F1 of spans, or 1 - share of right tags."""

    falls = True

    def __init__(self, net: TagNet, tags: Sequence[str], spans: bool):
        super().__init__(net=net)
        self.tags, self.spans = tags, spans

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        kinds, lengths, tags = batch
        scores = nets["net"](kinds, lengths)
        return {"net": -self.nets["net"].field(scores, tags, lengths).mean()}

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        field = self.nets["net"].field
        best, true, found, total = field.layer(), [], [], 0.0
        for kinds, lengths, tags in batches:
            scores = nets["net"](kinds, lengths)
            total -= float(field(scores, tags, lengths).sum())
            paths = best((scores.cpu().numpy(), lengths.cpu().numpy()))
            for length, codes, path in zip(lengths.tolist(), tags.tolist(), paths.tolist()):
                true.append([self.tags[c] for c in codes[:length]])
                found.append([self.tags[c] for c in path[:length]])
        if self.spans:
            good = span_scores(true, found)["f1"]
        else:
            good = np.mean([a == b for s, t in zip(true, found) for a, b in zip(s, t)])
        # Of epochs that are equally good the likelier one is better.
        nll = total / max(len(true), 1)
        return {"loss": 1.0 - float(good) + 1e-6 * nll, ("f1" if self.spans else "accuracy"): float(good), "nll": nll}
