"""Steps that put few columns in the place of many."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Sparse, Step, dot, need, step


@step("components")
class Components(Step):
    """matrix (n, p) -> ((x - mean) times axes) * factor, (n, d). mean (p,), axes (p, d), factor (d,)."""

    mean: np.ndarray
    axes: np.ndarray
    factor: np.ndarray

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        need(X.shape[1] == len(self.mean), f"components need {len(self.mean)} features")
        if isinstance(X, Sparse):
            X = X.toarray()
        return dot(X - self.mean, self.axes) * self.factor

    def check(self) -> None:
        for array in (self.mean, self.axes, self.factor):
            need(array.dtype.kind == "f" and bool(np.isfinite(array).all()), "component arrays are not finite floats")
        need(self.axes.ndim == 2 and self.mean.shape == self.axes.shape[:1], "components do not fit the features")
        need(self.factor.shape == self.axes.shape[1:], "component factors do not fit")
