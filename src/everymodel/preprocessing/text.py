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
    beside,
    counted,
    grams,
    tidy,
    tokens,
    weighted,
)

_CHARACTERS = 5_000_000  # read to learn a vocabulary
_LONG = 300  # characters: longer texts say enough by their words, and their runs would take most of the time


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
    keys_ : ndarray of int
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
        self._learn(batch)
        return self

    def _learn(self, batch: Batch) -> TextCounts:
        """Choose the terms, and return the counts that they were chosen by."""
        cells = batch.columns[self.column]
        if len(cells) > self.sample:
            rng = np.random.default_rng(derive(self.seed, "vocabulary", self.column))
            cells = rng.choice(cells, self.sample, replace=False)
        size = np.array([len(cell) for cell in cells], dtype=np.int64)
        cells = cells[: int(np.searchsorted(np.cumsum(size), _CHARACTERS)) + 1]
        n = len(cells)
        counts = _REMEMBERED.get(self.column)
        rows = counts.rows(cells) if counts is not None else None
        if counts is None or rows is None:
            counts = TextCounts(cells)
            rows = counts.rows(cells)
        least = self.least if self.least is not None else 2 if n < 1000 else 3
        long = n == 0 or size[:n].mean() >= _LONG
        self._words, word_rows = _widespread(counts.word_counts, rows, least, self.words)
        self._runs, run_rows = _widespread(counts.run_counts, rows, least, 0 if long else self.runs)
        self.words_ = [counts.words[i] for i in self._words]
        self.keys_ = counts.keys[self._runs]
        self.letters_ = counts.letters
        self.weight_ = np.log((1.0 + n) / (1.0 + np.concatenate([word_rows, run_rows]))) + 1.0
        return counts

    def fit_transform(self, batch: Batch, y: np.ndarray | None = None) -> Sparse:
        """As `fit` and `transform`; the counting is not done twice."""
        counts = self._learn(batch)
        rows = counts.rows(batch.columns[self.column])
        if rows is None:
            return self.transform(batch)
        blocks = [counts.word_counts[rows][:, self._words], counts.run_counts[rows][:, self._runs]]
        for block in blocks:
            block.sort_indices()  # sums must run in the order in which the step takes them
        weights = np.split(self.weight_, [len(self._words)])
        return beside(
            [
                weighted(Sparse(b.data, b.indices.astype(np.int64), b.indptr.astype(np.int64), b.shape), w)
                for b, w in zip(blocks, weights)
                if b.shape[1]
            ]
            or [_nothing(batch.n)]
        )

    def step(self) -> TextTerms | None:
        """None where no term is left."""
        if not len(self.weight_):
            return None
        return TextTerms(self.column, tuple(self.words_), True, self.keys_, self.weight_)

    def transform(self, batch: Batch) -> Sparse:
        step = self.step()
        return _nothing(batch.n) if step is None else step(batch)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        runs = [f"{self.column}~{read_key(int(key), self.letters_)!r}" for key in self.keys_]
        return np.array([*(f"{self.column}:{word}" for word in self.words_), *runs], dtype=object)


def _nothing(n: int) -> Sparse:
    return Sparse(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(n + 1, dtype=np.int64), (n, 0))


def read_key(key: int, letters: dict[int, str]) -> str:
    """The run of characters behind a key; `letters` knows the letter behind 15 bits."""
    size = (key >> GRAM_MARK) + 2
    places = [(key >> (GRAM_BITS * i)) & (2**GRAM_BITS - 1) for i in range(size)]
    return "".join(letters.get(p, chr(p)) for p in reversed(places))


class TextCounts:
    """How often each word, pair of words and run of characters occurs in each of some texts.

    Terms in one text only are left out: no vocabulary would take them.

    Attributes
    ----------
    words : list of str, sorted
    keys : ndarray of int, sorted
        Of runs; empty where texts are long.
    word_counts, run_counts : csr_matrix (distinct texts, terms)
    letters : dict
        The most common letter behind the low bits of a code point, to read keys.
    """

    def __init__(self, cells: np.ndarray):
        self._place: dict[str, int] = {}
        for cell in cells:
            self._place.setdefault(cell, len(self._place))
        texts = list(self._place)
        self.words, self.word_counts = self._count_words(texts)
        short = 0 < sum(map(len, texts)) < _LONG * 2 * len(texts)  # folds may differ a little in their mean
        self.keys, self.run_counts = self._count_runs(texts if short else [], len(texts))
        letters: Counter[str] = Counter()
        for text in texts[:1000] if short else []:
            letters.update(tidy(text))
        self.letters = {ord(c) & (2**GRAM_BITS - 1): c for c, _ in reversed(letters.most_common())}

    def rows(self, cells: np.ndarray) -> np.ndarray | None:
        """The rows of these texts; None where one was not counted."""
        places = [self._place.get(cell, -1) for cell in cells]
        return None if -1 in places else np.array(places, dtype=np.int64)

    @staticmethod
    def _count_words(texts: list[str]) -> tuple[list[str], Any]:
        number: dict[str, int] = {}
        found: list[int] = []
        sizes = np.empty(len(texts), dtype=np.int64)
        for i, text in enumerate(texts):
            words = [number.setdefault(word, len(number)) for word in tokens(text, pairs=True)]
            found += words
            sizes[i] = len(words)
        row = np.repeat(np.arange(len(texts)), sizes)
        matrix = _csr(counted(row, np.array(found, dtype=np.int64), len(texts), max(len(number), 1)))
        rows = np.bincount(matrix.indices, minlength=matrix.shape[1])
        names = list(number)
        kept = sorted((i for i in range(len(names)) if rows[i] > 1), key=names.__getitem__)
        return [names[i] for i in kept], matrix[:, kept]

    @staticmethod
    def _count_runs(texts: list[str], n: int) -> tuple[np.ndarray, Any]:
        from scipy.sparse import csr_matrix

        rows, keys, often = [], [], []
        for _, _, row, key in grams(texts):
            order = np.lexsort((key, row))
            row, key = row[order], key[order]
            first = np.ones(len(row), dtype=bool)
            first[1:] = (row[1:] != row[:-1]) | (key[1:] != key[:-1])
            start = np.flatnonzero(first)
            rows.append(row[start])
            keys.append(key[start])
            often.append(np.diff(np.append(start, len(row))))
        if not rows:
            return np.empty(0, dtype=np.int64), csr_matrix((n, 0))
        row = np.concatenate(rows)
        known, place, spread = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
        kept = spread > 1
        column = np.where(kept, np.cumsum(kept) - 1, -1)[place]
        there = column >= 0
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row[there], minlength=n))])
        data = np.concatenate(often)[there].astype(np.float64)
        return known[kept], csr_matrix((data, column[there], indptr), shape=(n, int(kept.sum())))


# Counts of whole columns, by name: see `remember`.
_REMEMBERED: dict[str, TextCounts] = {}


def remember(column: str, cells: np.ndarray) -> bool:
    """Count a column once, so that every later fit on some of its rows in this process (or a fork of it) is quick.

    The results are the same, because a fit chooses its terms by its own rows only. Columns of more than four million
    characters are not kept.
    """
    if sum(map(len, cells)) > _CHARACTERS - 1_000_000:
        return False
    _REMEMBERED[column] = TextCounts(cells)
    return True


def forget() -> None:
    """Let go of what was remembered."""
    _REMEMBERED.clear()


def _widespread(counts: Any, rows: np.ndarray, least: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns in at least `least` of the rows but not in all, the `most` most widespread -> (columns, their rows).

    They must be in two distinct texts of these rows, whatever other texts were counted.
    """
    width = counts.shape[1]
    often = np.bincount(counts[rows].indices, minlength=width)[:width]
    spread = np.bincount(counts[np.unique(rows)].indices, minlength=width)[:width]
    worth = np.flatnonzero((often >= least) & (often < len(rows)) & (spread > 1))
    worth = np.sort(worth[np.argsort(-often[worth], kind="stable")[:most]])
    return worth, often[worth].astype(np.float64)


def _csr(terms: Sparse) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((terms.data, terms.indices, terms.indptr), shape=terms.shape)


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

    def __init__(self, size: int = 40, sample: int = 5000, seed: int = 0):
        self.size = size
        self.sample = sample
        self.seed = seed

    def fit(self, terms: Sparse, y: np.ndarray | None = None) -> TextTopics:
        from sklearn.utils.extmath import randomized_svd

        matrix: Any = _csr(terms)
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
        matrix: Any = _csr(terms)
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
