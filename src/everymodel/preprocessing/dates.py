"""Moments to parts that models can use: year, month, weekday, hour, and cycles for models that add things up."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.prepare import Dates, Spans

PLAIN = ("days", "year", "month", "day", "weekday", "hour")
# December is next to January only on a circle; trees need no circle, sums and distances do.
CYCLES = (
    "days", "year", "month_sin", "month_cos", "yearday_sin", "yearday_cos", "weekday_sin", "weekday_cos",
    "hour_sin", "hour_cos",
)  # fmt: skip


class DateParts(BaseEstimator):
    """Parts of date columns; parts that never vary in the training rows are left out.

    Parameters
    ----------
    columns : names of date columns
    cycles : True for sines and cosines instead of plain parts
    """

    def __init__(self, columns: list[str], cycles: bool = False):
        self.columns = columns
        self.cycles = cycles

    def fit(self, batch: Batch, y: np.ndarray | None = None) -> DateParts:
        words = CYCLES if self.cycles else PLAIN
        pairs = [(name, word) for name in self.columns for word in words]
        self.columns_, self.parts_ = [], []
        if not pairs:
            return self
        values = Dates(tuple(c for c, _ in pairs), tuple(w for _, w in pairs))(batch)
        for j, (name, word) in enumerate(pairs):
            seen = values[~np.isnan(values[:, j]), j]
            # Daily data have no time of day but rounding in the cycles.
            if len(seen) and seen.max() - seen.min() > 1e-9 * max(1.0, abs(seen[0])):
                self.columns_.append(name)
                self.parts_.append(word)
        return self

    def step(self) -> Dates | None:
        return Dates(tuple(self.columns_), tuple(self.parts_)) if self.columns_ else None

    def transform(self, batch: Batch) -> np.ndarray:
        """-> (n, p)."""
        step = self.step()
        return np.zeros((batch.n, 0)) if step is None else step(batch)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        return np.array([f"{c}:{w}" for c, w in zip(self.columns_, self.parts_)], dtype=object)


class DateSpans(BaseEstimator):
    """Days between every two date columns (the first `most` pairs that vary): how long something took.

    Trees cannot subtract, and the time from order to delivery often says more than either date.
    """

    def __init__(self, columns: list[str], most: int = 10):
        self.columns = columns
        self.most = most

    def fit(self, batch: Batch, y: np.ndarray | None = None) -> DateSpans:
        self.pairs_: list[tuple[str, str]] = []
        for first, second in combinations(self.columns, 2):
            days = Spans((second,), (first,))(batch)
            seen = days[~np.isnan(days)]
            if len(self.pairs_) < self.most and len(seen) and seen.min() < seen.max():
                self.pairs_.append((second, first))
        return self

    def step(self) -> Spans | None:
        return Spans(tuple(a for a, _ in self.pairs_), tuple(b for _, b in self.pairs_)) if self.pairs_ else None

    def transform(self, batch: Batch) -> np.ndarray:
        """-> (n, p)."""
        step = self.step()
        return np.zeros((batch.n, 0)) if step is None else step(batch)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        return np.array([f"{a}:since {b}" for a, b in self.pairs_], dtype=object)
