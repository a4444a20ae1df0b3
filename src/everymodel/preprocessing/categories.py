"""Turn level codes into numbers: one column per level, means of the target, frequencies, or plain codes.

Codes come from the schema: 0, 1, ... most frequent first, -1 missing, -2 never seen. A table (levels + 2,) has its
entry for unseen at 0, for missing at 1, and for level c at c + 2.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.core.seeds import derive
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.prepare import Lookup, OneHot


def level_counts(codes: np.ndarray, levels: int) -> np.ndarray:
    """How often each entry of a table occurs -> (levels + 2,)."""
    return np.bincount(codes + 2, minlength=levels + 2).astype(np.float64)


def lookup(columns: list[str], tables: list[np.ndarray]) -> Lookup:
    """One step from a table per output column."""
    offsets = np.cumsum([0, *(len(t) for t in tables[:-1])]).astype(np.int64)
    return Lookup(tuple(columns), offsets, np.concatenate(tables))


class LevelColumns(BaseEstimator):
    """One column of 0 and 1 per frequent level; rare levels share one, missing has its own.

    A level that was never seen lands among the rare ones where there are such, else nowhere (all zeros).

    Parameters
    ----------
    columns, levels : names of category columns and their numbers of levels, in step
    limit : at most so many levels of a column get their own
    least : a level must occur so often; default 2 in a thousand rows, but 2 to 10 rows
    """

    def __init__(self, columns: list[str], levels: list[int], limit: int = 50, least: int | None = None):
        self.columns = columns
        self.levels = levels
        self.limit = limit
        self.least = least

    def fit(self, batch: Batch, y: np.ndarray | None = None) -> LevelColumns:
        least = self.least if self.least is not None else int(min(10, max(2, 0.002 * batch.n)))
        self.places_: list[np.ndarray] = []
        self.words_: list[tuple[str, int | str]] = []  # (column, level number or "missing" or "rare") per output
        for name, size in zip(self.columns, self.levels):
            counts = level_counts(batch.columns[name], size)
            places = np.full(size + 2, -1, dtype=np.int64)
            own = counts[2:]
            kept = np.argsort(-own, kind="stable")[: self.limit]
            kept = np.sort(kept[own[kept] >= least])
            rest = own.sum() - own[kept].sum() + counts[0]
            width = len(kept) + (counts[1] > 0) + (rest >= least)
            if width < 2:
                self.places_.append(places)  # constant in these rows: no column
                continue
            start = len(self.words_)
            places[kept + 2] = start + np.arange(len(kept))
            self.words_ += [(name, int(c)) for c in kept]
            if counts[1] > 0:
                places[1] = len(self.words_)
                self.words_.append((name, "missing"))
            if rest >= least:
                rare = np.ones(size + 2, dtype=bool)
                rare[kept + 2] = False
                rare[1] = False
                places[rare] = len(self.words_)
                self.words_.append((name, "rare"))
            self.places_.append(places)
        return self

    def step(self, sparse: bool = False) -> OneHot | None:
        """None where no column varies."""
        if not self.words_:
            return None
        used = [i for i, places in enumerate(self.places_) if (places >= 0).any()]
        offsets = np.cumsum([0, *(len(self.places_[i]) for i in used[:-1])]).astype(np.int64)
        places = np.concatenate([self.places_[i] for i in used])
        return OneHot(tuple(self.columns[i] for i in used), offsets, places, len(self.words_), sparse)

    def transform(self, batch: Batch) -> np.ndarray:
        """-> (n, width) float64."""
        step = self.step()
        return np.zeros((batch.n, 0)) if step is None else step(batch)  # type: ignore[return-value]


class TargetMeans(BaseEstimator):
    """Replace a level by the mean of the target among its rows, drawn towards the overall mean where rows are few.

    The draw is empirical Bayes: with within-level variance s2 and between-level variance t2, a level of n rows keeps
    n / (n + s2 / t2) of its distance from the overall mean. Where levels differ by no more than chance, t2 is 0 and
    nothing is kept. `fit_transform` gives each training row a value learnt without the row's own fold, so that a column
    of noise cannot look good on the rows it was learnt from.

    Parameters
    ----------
    columns, levels : names of category columns and their numbers of levels, in step
    folds : parts for cross-fitting; default 10 below 50,000 rows, else 5
    seed : int

    Attributes
    ----------
    tables_ : list of ndarray (levels + 2, w), one per column
        w = columns of the target given to `fit`.

    References
    ----------
    D. Micci-Barreca (2001), A preprocessing scheme for high-cardinality categorical attributes.
    """

    def __init__(self, columns: list[str], levels: list[int], folds: int | None = None, seed: int = 0):
        self.columns = columns
        self.levels = levels
        self.folds = folds
        self.seed = seed

    def fit(self, batch: Batch, y: np.ndarray) -> TargetMeans:
        """y (n, w): numbers, or 0/1 per class."""
        self.tables_ = []
        for name, size in zip(self.columns, self.levels):
            codes = batch.columns[name] + 2
            self.tables_.append(shrunk_means(*_moments(codes, y - y.mean(axis=0), size + 2)) + y.mean(axis=0))
        return self

    def fit_transform(self, batch: Batch, y: np.ndarray) -> np.ndarray:
        """The cross-fitted values of the training rows -> (n, q * w), column by column of the table."""
        self.fit(batch, y)
        n, w = y.shape
        parts = min(self.folds or (10 if n < 50_000 else 5), n)
        fold = np.random.default_rng(derive(self.seed, "target means")).permutation(n) % parts
        out = np.empty((n, len(self.columns) * w))
        for i, (name, size) in enumerate(zip(self.columns, self.levels)):
            codes, length = batch.columns[name] + 2, size + 2
            for k in range(parts):
                inside = fold == k
                others = ~inside
                if not others.any():
                    out[inside, i * w : (i + 1) * w] = y.mean(axis=0)
                    continue
                mean = y[others].mean(axis=0)
                table = shrunk_means(*_moments(codes[others], y[others] - mean, length)) + mean  # (length, w)
                out[inside, i * w : (i + 1) * w] = table[codes[inside]]
        return out

    def step(self) -> Lookup:
        names = [name for name, table in zip(self.columns, self.tables_) for _ in range(table.shape[1])]
        return lookup(names, [np.ascontiguousarray(t[:, j]) for t in self.tables_ for j in range(t.shape[1])])

    def transform(self, batch: Batch) -> np.ndarray:
        """-> (n, q * w)."""
        return self.step()(batch)


def _moments(codes: np.ndarray, y: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (length,), sums (length, w) of y by code, and the total squares (w,)."""
    sums = np.column_stack([np.bincount(codes, y[:, j], minlength=length) for j in range(y.shape[1])])
    return np.bincount(codes, minlength=length).astype(np.float64), sums, (y**2).sum(axis=0)


def shrunk_means(counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Means by level, drawn to 0 (the overall mean of a centred target). (l,), (l, w), (w,) -> (l, w)."""
    n, seen = counts.sum(), counts > 0
    groups = int(seen.sum())
    safe = np.where(seen, counts, 1.0)[:, None]
    means = sums / safe
    between = (counts[:, None] * means**2).sum(axis=0)  # (w,)
    inner = n - groups  # degrees of freedom within levels
    if inner < 10 or groups < 2:
        # Almost every level is met once: nothing tells a level's effect from the noise of its row.
        return np.zeros_like(means)
    within = np.maximum(squares - between, 0.0) / inner
    typical = (n - (counts**2).sum() / n) / (groups - 1)  # rows per level, for the moment estimate of t2
    effect = (between / (groups - 1) - within) / max(typical, 1e-12)
    keep = np.where(effect > 0, 1.0, 0.0)
    # At least half a row of doubt: a level whose few rows agree by luck is not certain.
    doubt = np.maximum(within / np.where(effect > 0, effect, 1.0), 0.5)
    return means * keep * counts[:, None] / (counts[:, None] + doubt)
