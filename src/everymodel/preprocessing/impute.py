"""Fill missing cells, and say where they were if that tells something of the target."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.scoring.steps.prepare import Impute

STRIPE = 1_000_000  # cells worked on at once


class Imputer(TransformerMixin, BaseEstimator):
    """Replace missing numbers by the column's median or most frequent value.

    Parameters
    ----------
    strategy : {"median", "most_frequent", "mean"}
    indicators : {"informative", "all", "none"}
        Which columns get a further column that is 1 where the cell was missing. "informative": those whose gaps go
        with the target beyond chance (all columns with gaps, where no target is given).

    Attributes
    ----------
    fill_ : ndarray (p,)
    indicators_ : ndarray (m,) of int
        Columns with an indicator.
    """

    def __init__(self, strategy: str = "median", indicators: str = "informative"):
        self.strategy = strategy
        self.indicators = indicators

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> Imputer:
        """Learn from X (n, p), NaN = missing, and optionally y (n,) or (n, t) of numbers or codes."""
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        lost = np.isnan(X)
        # Column by column through a row-wise matrix is slow where there are many columns.
        by_column, there = np.ascontiguousarray(X.T), np.ascontiguousarray(~lost.T)
        self.fill_ = np.empty(len(by_column))
        whole = there.all(axis=1) if self.strategy == "median" and len(X) else np.zeros(len(by_column), bool)
        if whole.any():  # most columns have no gaps: all at once, in stripes that fit into memory
            with np.errstate(over="ignore"):
                for part in np.array_split(np.flatnonzero(whole), -(-whole.sum() * len(X) // STRIPE)):
                    self.fill_[part] = np.median(by_column[part], axis=1)
            whole &= np.isfinite(self.fill_)
        for j in np.flatnonzero(~whole):
            self.fill_[j] = self._centre(by_column[j][there[j]])
        gaps = np.flatnonzero(lost.any(axis=0) & ~lost.all(axis=0))
        if self.indicators == "none":
            gaps = gaps[:0]
        elif self.indicators == "informative" and y is not None and len(gaps):
            gaps = gaps[informative(lost[:, gaps], y)]
        self.indicators_ = gaps.astype(np.int64)
        return self

    def _centre(self, values: np.ndarray) -> float:
        if not len(values):
            return 0.0
        if self.strategy == "most_frequent":
            found, counts = np.unique(values, return_counts=True)
            return float(found[counts.argmax()])
        with np.errstate(over="ignore"):
            centre = float(np.mean(values) if self.strategy == "mean" else np.median(values))
        return centre if np.isfinite(centre) else float(values[0])

    def step(self) -> Impute:
        check_is_fitted(self)
        return Impute(self.fill_, self.indicators_)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """(n, p) -> (n, p + m)."""
        check_is_fitted(self)
        return self.step()(validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False))

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        names = _names_in(self, input_features)
        return np.array([*names, *(f"{names[j]}:missing" for j in self.indicators_)], dtype=object)


def _names_in(estimator: BaseEstimator, given) -> list[str]:
    """The names of input columns: given, remembered from a frame, or x0, x1, ..."""
    from sklearn.utils.validation import _check_feature_names_in

    return list(_check_feature_names_in(estimator, given))


def informative(lost: np.ndarray, y: np.ndarray, limit: float = 3.0) -> np.ndarray:
    """Which columns of gaps (n, m) go with y beyond chance -> (m,) bool.

    Whole numbers in y are taken as class codes if there are few of them. A correlation r over n rows is beyond chance
    when r * sqrt(n) exceeds `limit`; a column needs five gaps and five values to count.
    """
    targets = np.asarray(y)
    if targets.ndim == 1:
        codes = np.unique(targets)
        classes = targets.dtype.kind in "iub" and len(codes) <= 20
        targets = (targets[:, None] == codes).astype(float) if classes else targets[:, None].astype(float)
    n = len(lost)
    share = lost.mean(axis=0)  # (m,)
    enough = (share * n >= 5) & ((1 - share) * n >= 5)
    targets = targets - targets.mean(axis=0)
    spread = targets.std(axis=0)
    with np.errstate(all="ignore"):
        r = (targets.T @ lost) / n / np.maximum(spread, 1e-300)[:, None] / np.sqrt(share * (1 - share))  # (t, m)
        beyond = np.abs(np.nan_to_num(r)) * np.sqrt(n) > limit
    return enough & beyond.any(axis=0)
