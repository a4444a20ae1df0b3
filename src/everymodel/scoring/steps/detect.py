"""Steps that say how odd a row is: scores (n,), higher is odder."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Step, dot, need, step


@step("residual", output="scores")
class Residual(Step):
    """matrix (n, p) -> squared distance (n,) of each row from the flat that `axes` (p, d) span through `mean` (p,).

    The columns of `axes` are orthonormal.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == len(self.mean), f"the detector needs {len(self.mean)} features")
        centred = X - self.mean
        left = centred - dot(dot(centred, self.axes), np.ascontiguousarray(self.axes.T))
        return np.einsum("ij,ij->i", left, left)

    def check(self) -> None:
        for array in (self.mean, self.axes):
            need(array.dtype.kind == "f" and bool(np.isfinite(array).all()), "the detector's arrays are not finite")
        need(self.axes.ndim == 2 and self.mean.shape == self.axes.shape[:1], "the detector's axes do not fit")
