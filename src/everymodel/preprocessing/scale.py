"""Bring columns to a common scale."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.scoring.steps.prepare import Scale

KINDS = ("standard", "range", "robust")


class ColumnScaler(TransformerMixin, BaseEstimator):
    """Centre and scale each column.

    Parameters
    ----------
    kind : {"standard", "range", "robust"}
        "standard": mean 0, variance 1. "range": 0 at the smallest, 1 at the largest value, clipped beyond.
        "robust": median 0, quartiles 1 apart, then softly clipped to -3..3 (for networks; Holzmueller et al. 2024,
        "Better by default").

    Attributes
    ----------
    center_, factor_ : ndarray (p,)
        A column that never varies has factor 0, so it answers 0.
    """

    def __init__(self, kind: str = "standard"):
        self.kind = kind

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> ColumnScaler:
        """Learn from X (n, p) without missing values."""
        X = validate_data(self, X, dtype=np.float64)
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} is not allowed: expected one of {list(KINDS)}.")
        # Halved, so that neither a sum nor a difference of huge numbers overflows.
        low, high = X.min(axis=0), X.max(axis=0)
        span = high / 2 - low / 2
        with np.errstate(over="ignore", invalid="ignore"):
            if self.kind == "range":
                center, spread = low, 2 * span
            elif self.kind == "standard":
                center, spread = X.mean(axis=0), X.std(axis=0)
            else:
                # Quartiles of a spread sample: exact enough, and a million rows stay quick.
                sample = X if len(X) <= 100_000 else X[:: len(X) // 100_000 + 1]
                first, center, third = np.quantile(sample, [0.25, 0.5, 0.75], axis=0)
                spread = third - first
                # Most values equal: the quartiles coincide, and the range has to serve.
                spread = np.where(spread > 0, spread, span)
        usable = np.isfinite(center) & np.isfinite(spread)
        center = np.where(usable, center, low / 2 + high / 2)
        spread = np.where(usable, spread, np.where(np.isfinite(span), span, 1.0))
        # Rounding leaves a constant column a spread of about one part in 1e15 of its size.
        size = np.maximum(np.abs(low), np.abs(high))
        # Spreads below 1e-100 count as none, so that no number a row may bring overflows.
        varies = (span > 1e-100) & (spread > np.maximum(1e-100, 10 * np.finfo(float).eps * size))
        self.center_ = center
        self.factor_ = np.zeros_like(center)
        if self.kind == "range":
            self.center_ = low
            np.divide(0.5, span, out=self.factor_, where=varies)
        else:
            np.divide(1.0, spread, out=self.factor_, where=varies)
        return self

    def step(self) -> Scale:
        check_is_fitted(self)
        return Scale(self.center_, self.factor_, {"range": "unit", "robust": "soft"}.get(self.kind, "linear"))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """(n, p) -> (n, p)."""
        check_is_fitted(self)
        return self.step()(validate_data(self, X, dtype=np.float64, reset=False))

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        from everymodel.preprocessing.impute import _names_in

        return np.array(_names_in(self, input_features), dtype=object)
