"""Plumbing of networks for sequences: what comes as X, and tokenisers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.optional import require
from everymodel.scoring.layers.tokens import HOWS, SPACE, Tokens, as_series, distinct, split_words

# --- what comes as X ---


def _words(cell: Any) -> bool:
    """Whether a cell is a list of tokens."""
    return isinstance(cell, list | tuple | np.ndarray) and any(isinstance(part, str) for part in cell)


def _ragged(X: Any) -> bool:
    """Whether X is a list of series whose lengths differ."""
    inner = all(isinstance(cell, list | tuple | np.ndarray) for cell in X)
    return inner and len({np.shape(cell) if isinstance(cell, np.ndarray) else len(cell) for cell in X}) > 1


def cells_of(model: Any, X: Any, reset: bool) -> tuple[str, Any]:
    """("text", texts or lists of tokens) or ("series", series): an object array or list (n,), or an array (n, T[, p]).

    A matrix of numbers is a univariate series in each row.

    Raises
    ------
    DataError, ValueError, TypeError : X is none of these.
    """
    if isinstance(X, str | bytes):
        raise DataError("A single text came as X; expected a list of texts, one for each row.")
    if hasattr(X, "columns") and X.shape[1] == 1 and not np.issubdtype(np.asarray(X).dtype, np.number):
        X = X.iloc[:, 0]
    if hasattr(X, "to_numpy") and getattr(X, "ndim", 1) == 1:
        X = X.to_numpy()
    if isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype.kind in "OUST"):
        known = next((cell for cell in X if cell is not None and not isinstance(cell, float)), None)
        if isinstance(known, str | bytes) or _words(known):
            return "text", list(X)
        if _ragged(X) or (isinstance(X, np.ndarray) and X.ndim == 1 and isinstance(known, np.ndarray | list)):
            made = [as_series(cell) for cell in X]
            if any(np.isinf(cell).any() for cell in made):
                raise DataError("A series contains infinity. Leave it out, or give its value as missing (NaN).")
            return "series", made
    if getattr(X, "ndim", 0) == 3 or (isinstance(X, list) and len(X) and getattr(X[0], "ndim", 0) == 2):
        X = np.asarray(X, dtype=np.float64)
        if not X.size:
            raise DataError(f"X has shape {X.shape}; there is nothing to learn from.")
        if np.isinf(X).any():
            raise DataError("X contains infinity. Leave those rows out, or give the values as missing (NaN).")
        return "series", X
    return "series", validate_data(model, X, dtype=np.float64, reset=reset, ensure_all_finite="allow-nan")


# --- tokenisers ---


def learn_tokens(
    cells: Iterable[Any],
    how: str = "words",
    *,
    vocabulary: int = 50_000,
    min_count: int = 1,
    lower: bool = True,
    digits: bool = False,
    most: int = 1000,
) -> Tokens:
    """A tokeniser for these texts (or lists of tokens): the most frequent words, characters or subwords.

    Raises
    ------
    ParameterError, NotInstalledError : subwords are learnt by the package `tokenizers`; what is learnt needs none.
    """
    if how not in HOWS:
        raise ParameterError(f"tokens={how!r} is unknown: expected one of {', '.join(HOWS)}.")
    cells = list(cells)
    if how == "subwords" and any(isinstance(cell, str) for cell in cells):
        return _learn_subwords(cells, vocabulary, lower, most)
    plain = Tokens(how, (), lower=lower, digits=digits, most=most)
    raw, codes = distinct([plain.split(cell) for cell in cells])
    counts: Counter[str] = Counter()
    for word, count in zip(raw, np.bincount(codes, minlength=len(raw)).tolist(), strict=True):
        counts[plain.key(word)] += count
    counts.pop("", None)
    often = sorted((w for w, c in counts.items() if c >= min_count), key=lambda w: (-counts[w], w))
    return Tokens(how, tuple(often[:vocabulary]), lower=lower, digits=digits, most=most)


def _learn_subwords(cells: list[Any], vocabulary: int, lower: bool, most: int) -> Tokens:
    """Byte-pair merges (Sennrich et al. 2016) over words that begin with a mark."""
    tokenizers = require("tokenizers", "Learning subwords (tokens='subwords')")
    words = Counter(w for cell in cells if isinstance(cell, str) for w in split_words(cell.lower() if lower else cell))
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocabulary, show_progress=False)
    # Every word stands as often as it occurs; nothing splits it further.
    lines = (SPACE + word for word, count in sorted(words.items()) for _ in range(min(count, 1000)))
    learner.train_from_iterator(lines, trainer)
    made = json.loads(learner.to_str())["model"]
    known = sorted(made["vocab"], key=made["vocab"].__getitem__)
    places = {word: i for i, word in enumerate(known)}
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in made["merges"]]
    merges = np.array([[places[a], places[b]] for a, b in pairs], dtype=np.int32).reshape(-1, 2)
    return Tokens("subwords", tuple(known), lower=lower, merges=merges, most=most)
