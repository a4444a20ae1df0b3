"""Straighten and scale a regression target for models that want it around zero, and undo it in the answer."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.scoring.steps.combine import Transform


class TargetTransform(BaseEstimator):
    """Take the logarithm of a skewed target that is never negative, then centre and scale it.

    Parameters
    ----------
    kind : {"auto", "identity", "log1p"}
        "auto" takes log1p where no value is negative, the values spread over more than a factor of ten or so
        (skewness above `limit`), and the logarithm is less skewed.
    limit : float
        Skewness from which "auto" takes the logarithm.

    Attributes
    ----------
    kind_ : {"identity", "log1p"}
    offset_, scale_ : float, or ndarray (t,) for t targets
        z = (forward(y) - offset) / scale.
    """

    def __init__(self, kind: str = "auto", limit: float = 1.0):
        self.kind = kind
        self.limit = limit

    def fit(self, y: np.ndarray) -> TargetTransform:
        """Learn from y (n,) or (n, t), finite."""
        y = np.asarray(y, dtype=np.float64)
        self.kind_ = self._choose(y) if self.kind == "auto" else self.kind
        u = self._forward(y)
        with np.errstate(over="ignore", invalid="ignore"):
            offset, scale = u.mean(axis=0), u.std(axis=0)
        # A constant or absurdly wide target is left as wide as it is.
        scale = np.where((scale > 1e-300) & np.isfinite(scale), scale, 1.0)
        offset = np.where(np.isfinite(offset), offset, 0.0)
        self.offset_ = float(offset) if y.ndim == 1 else offset
        self.scale_ = float(scale) if y.ndim == 1 else scale
        return self

    def _choose(self, y: np.ndarray) -> str:
        columns = y.reshape(len(y), -1)
        if columns.min() < 0:
            return "identity"
        return "log1p" if all(self._skewed(column) for column in columns.T) else "identity"

    def _skewed(self, y: np.ndarray) -> bool:
        from everymodel.preprocessing.skew import _skewness

        before = _skewness(y)
        return before > self.limit and abs(_skewness(np.log1p(y))) < 0.7 * before

    def _forward(self, y: np.ndarray) -> np.ndarray:
        return np.log1p(y) if self.kind_ == "log1p" else y

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Same shape as y."""
        return (self._forward(np.asarray(y, dtype=np.float64)) - self.offset_) / self.scale_

    def fit_transform(self, y: np.ndarray) -> np.ndarray:
        return self.fit(y).transform(y)

    def inverse_transform(self, z: np.ndarray) -> np.ndarray:
        """The steps' own inverse, so that training and answering agree."""
        return self.step()(np.asarray(z, dtype=np.float64))

    def step(self) -> Transform:
        return Transform(self.kind_, self.offset_, self.scale_)
