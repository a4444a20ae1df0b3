"""Free text to numbers: weighted terms, the main directions among them, and plain figures."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.core.seeds import derive
from everymodel.scoring.steps.base import Batch, Sparse
from everymodel.scoring.steps.prepare import (
    GRAM_BITS,
    GRAM_MARK,
    TEXT_STATS,
    Project,
    TextStats,
    TextTerms,
    grams,
    tidy,
    tokens,
)

_CHARACTERS = 5_000_000  # read to learn a vocabulary
_LONG = 300  # characters: longer texts say enough by their words, and their runs would take most of the time
_FORGET = 500_000  # distinct words held at once while counting; the ones met once go first


class TextVocabulary(BaseEstimator):
    """Learn which words, pairs of words and runs of 3 and 4 characters of a text column are worth a column.

    A term weighs its inverse document frequency, log((1 + n) / (1 + rows with the term)) + 1.

    Parameters
    ----------
    column : name of a text column
    words, runs : int
        At most so many words and pairs, and so many runs of characters. The most widespread are kept.
    least : int
        A term must occur in so many of the rows read; default 2 below a thousand rows, else 3.
    sample : int
        At most so many rows are read, and about five million characters.
    seed : int
        Of the choice of rows.

    Attributes
    ----------
    words_ : list of str
    alphabet_, keys_ : ndarray of int
        See `everymodel.scoring.steps.prepare.grams`.
    weight_ : ndarray (words + runs,)
    """

    def __init__(
        self,
        column: str,
        words: int = 20_000,
        runs: int = 20_000,
        least: int | None = None,
        sample: int = 20_000,
        seed: int = 0,
    ):
        self.column = column
        self.words = words
        self.runs = runs
        self.least = least
        self.sample = sample
        self.seed = seed

    def fit(self, batch: Batch, y: np.ndarray | None = None) -> TextVocabulary:
        cells = batch.columns[self.column]
        if len(cells) > self.sample:
            cells = np.random.default_rng(derive(self.seed, "vocabulary", self.column)).choice(
                cells, self.sample, replace=False
            )
        size = np.array([len(cell) for cell in cells], dtype=np.int64)
        cells = cells[: int(np.searchsorted(np.cumsum(size), _CHARACTERS)) + 1]
        n = len(cells)
        words, word_rows = self._learn_words(cells)
        self.words_ = words
        self.alphabet_, self.keys_, key_rows = self._learn_runs(cells)
        rows = np.concatenate([word_rows, key_rows])
        self.weight_ = np.log((1.0 + n) / (1.0 + rows)) + 1.0
        return self

    def _least(self, cells: np.ndarray) -> int:
        return self.least if self.least is not None else 2 if len(cells) < 1000 else 3

    def _learn_words(self, cells: np.ndarray) -> tuple[list[str], np.ndarray]:
        count: Counter[str] = Counter()
        for cell in cells:
            count.update(set(tokens(cell, pairs=True)))
            if len(count) > _FORGET:
                count = Counter({word: c for word, c in count.items() if c > 1})
        # A word in every row tells nothing; ties in alphabetical order, so that the result does not hang on hashing.
        kept = sorted(
            ((w, c) for w, c in count.items() if self._least(cells) <= c < len(cells)),
            key=lambda item: (-item[1], item[0]),
        )[: self.words]
        return [word for word, _ in kept], np.array([c for _, c in kept], dtype=np.float64)

    def _learn_runs(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        empty = np.empty(0, dtype=np.int64)
        if not self.runs or not 0 < np.mean([len(cell) for cell in cells]) < _LONG:
            return empty, empty, np.empty(0)
        letters: Counter[str] = Counter()
        for cell in cells:
            letters.update(tidy(cell))
        letters[" "] += 1
        common = sorted(letters, key=lambda letter: (-letters[letter], letter))[: 2**GRAM_BITS - 1]
        alphabet = np.array(sorted(map(ord, common)), dtype=np.int64)
        keys, counts = empty, empty
        for _, _, row, key in grams(cells, alphabet):
            order = np.lexsort((key, row))
            row, key = row[order], key[order]
            first = np.ones(len(row), dtype=bool)
            first[1:] = (row[1:] != row[:-1]) | (key[1:] != key[:-1])  # once per row
            new, often = np.unique(key[first], return_counts=True)
            both, place = np.unique(np.concatenate([keys, new]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([counts, often]), minlength=len(both)).astype(np.int64)
            keys = both
            if len(keys) > 4 * _FORGET:
                keys, counts = keys[counts > 1], counts[counts > 1]
        worth = np.flatnonzero((counts >= self._least(cells)) & (counts < len(cells)))
        worth = worth[np.argsort(-counts[worth], kind="stable")[: self.runs]]
        worth.sort()
        return alphabet, keys[worth], counts[worth].astype(np.float64)

    def step(self) -> TextTerms | None:
        """None where no term is left."""
        if not len(self.weight_):
            return None
        return TextTerms(self.column, tuple(self.words_), True, self.alphabet_, self.keys_, self.weight_)

    def transform(self, batch: Batch) -> Sparse:
        step = self.step()
        if step is None:
            none = np.zeros(0, dtype=np.int64)
            return Sparse(np.zeros(0), none, np.zeros(batch.n + 1, dtype=np.int64), (batch.n, 0))
        return step(batch)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        runs = [f"{self.column}~{read_key(int(key), self.alphabet_)!r}" for key in self.keys_]
        return np.array([*(f"{self.column}:{word}" for word in self.words_), *runs], dtype=object)


def read_key(key: int, alphabet: np.ndarray) -> str:
    """The run of characters behind a key; characters outside the alphabet as a middle dot."""
    size = (key >> GRAM_MARK) + 2
    places = [(key >> (GRAM_BITS * i)) & (2**GRAM_BITS - 1) for i in range(size)]
    return "".join(chr(alphabet[p - 1]) if p else "\u00b7" for p in reversed(places))


class TextTopics(BaseEstimator):
    """The main directions among terms (truncated SVD, also called latent semantic analysis).

    Parameters
    ----------
    size : int
        Directions; fewer where rows or terms are few.
    sample : int
        At most so many rows are read.
    seed : int

    Attributes
    ----------
    axes_ : ndarray (terms, size) float32

    References
    ----------
    S. Deerwester et al. (1990), Indexing by latent semantic analysis.
    """

    def __init__(self, size: int = 40, sample: int = 20_000, seed: int = 0):
        self.size = size
        self.sample = sample
        self.seed = seed

    def fit(self, terms: Sparse, y: np.ndarray | None = None) -> TextTopics:
        from scipy.sparse import csr_matrix
        from sklearn.utils.extmath import randomized_svd

        matrix: Any = csr_matrix((terms.data, terms.indices, terms.indptr), shape=terms.shape)
        state = derive(self.seed, "topics")
        if matrix.shape[0] > self.sample:
            rows = np.random.default_rng(state).choice(matrix.shape[0], self.sample, replace=False)
            matrix = matrix[np.sort(rows)]
        size = max(1, min(self.size, matrix.shape[0] // 10, matrix.shape[1] - 1))
        _, _, axes = randomized_svd(matrix, size, n_iter=3, random_state=state)
        self.axes_ = np.ascontiguousarray(axes.T, dtype=np.float32)
        return self

    def step(self) -> Project:
        return Project(self.axes_)

    def transform(self, terms: Sparse) -> np.ndarray:
        return self.step()(terms)


class TextProfile(BaseEstimator):
    """Lengths and shares of digits, capitals and marks of text columns, those that vary in the training rows."""

    def __init__(self, columns: list[str]):
        self.columns = columns

    def fit(self, batch: Batch, y: np.ndarray | None = None) -> TextProfile:
        pairs = [(name, part) for name in self.columns for part in TEXT_STATS]
        self.columns_, self.parts_ = [], []
        if pairs:
            values = TextStats(tuple(c for c, _ in pairs), tuple(p for _, p in pairs))(batch)
            varies = values.min(axis=0) < values.max(axis=0)
            self.columns_ = [name for (name, _), keep in zip(pairs, varies) if keep]
            self.parts_ = [part for (_, part), keep in zip(pairs, varies) if keep]
        return self

    def step(self) -> TextStats | None:
        return TextStats(tuple(self.columns_), tuple(self.parts_)) if self.columns_ else None

    def transform(self, batch: Batch) -> np.ndarray:
        step = self.step()
        return np.zeros((batch.n, 0)) if step is None else step(batch)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        return np.array([f"{c}:{p}" for c, p in zip(self.columns_, self.parts_)], dtype=object)


class TextScores(BaseEstimator):
    """What a ridge regression on the terms says of the target: the one feature of a text that matters most.

    `fit_transform` gives each training row a score learnt without the row's own fold.

    Parameters
    ----------
    strength : float
        Ridge penalty. Rows of terms have length about 1, so one serves all texts.
    folds : int
    sample : int
        At most so many rows are learnt from.
    seed : int

    Attributes
    ----------
    axes_ : ndarray (terms, w) float32
        w = columns of the target given to `fit`. Scores are about the target less its mean.
    """

    def __init__(self, strength: float = 1.0, folds: int = 5, sample: int = 30_000, seed: int = 0):
        self.strength = strength
        self.folds = folds
        self.sample = sample
        self.seed = seed

    def _solve(self, matrix: Any, y: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import Ridge

        ridge = Ridge(self.strength, fit_intercept=False, solver="sparse_cg", tol=1e-2)
        return ridge.fit(matrix, y - y.mean(axis=0)).coef_.reshape(y.shape[1], -1).T  # (terms, w)

    def fit(self, terms: Sparse, y: np.ndarray) -> TextScores:
        """y (n, w): numbers, or 0/1 per class."""
        self.fit_transform(terms, y)
        return self

    def fit_transform(self, terms: Sparse, y: np.ndarray) -> np.ndarray:
        """-> (n, w)."""
        from scipy.sparse import csr_matrix

        matrix: Any = csr_matrix((terms.data, terms.indices, terms.indptr), shape=terms.shape)
        rows = np.random.default_rng(derive(self.seed, "text scores")).permutation(len(y))[: self.sample]
        axes = self._solve(matrix[np.sort(rows)], y[np.sort(rows)])
        self.axes_ = np.ascontiguousarray(axes, dtype=np.float32)
        out = matrix @ axes  # rows that were not learnt from need no folds
        parts = min(self.folds, len(rows))
        for k in range(parts):
            inside = rows[k::parts]
            others = np.setdiff1d(rows, inside)
            out[inside] = matrix[inside] @ self._solve(matrix[others], y[others]) if len(others) else 0.0
        return out

    def step(self) -> Project:
        return Project(self.axes_)

    def transform(self, terms: Sparse) -> np.ndarray:
        return self.step()(terms)
