"""Mixtures of Gaussian clouds: to which cloud a row belongs, and how odd it is among all of them."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Step, dot, need, step
from everymodel.scoring.steps.combine import softmax

_MOST = 1e300  # what a density that is too small for a number counts as


class _Mixture(Step):
    """Clouds with centres `mean` (k, p).

    axes (k or 1, p, p): (x - mean) times axes are independent with variance 1 (a Cholesky factor of the precision);
    one for all clouds if there is one. Or (k or 1, p), where the columns are independent. offset (k,): log-weight plus
    the logarithm of the density at the centre.
    """

    mean: np.ndarray
    axes: np.ndarray
    offset: np.ndarray

    def _away(self, X: np.ndarray, c: int) -> np.ndarray:
        """Rows seen from cloud c, in its own units (n, p)."""
        axes = self.axes[c if len(self.axes) > 1 else 0]
        gap = X - self.mean[c]
        return gap * axes if axes.ndim == 1 else dot(gap, axes)

    def _logs(self, X: np.ndarray) -> np.ndarray:
        """Weighted log-densities (n, k); at least -1e300."""
        need(X.ndim == 2 and X.shape[1] == self.mean.shape[1], f"the clouds need {self.mean.shape[1]} features")
        X = np.asarray(X, dtype=np.float64)
        logs = np.empty((len(X), len(self.mean)))
        with np.errstate(over="ignore"):
            for c in range(len(self.mean)):
                away = self._away(X, c)
                logs[:, c] = self.offset[c] - 0.5 * np.minimum(np.einsum("ij,ij->i", away, away), _MOST)
        return logs

    def check(self) -> None:
        need(self.mean.ndim == 2 and len(self.mean) > 0, "the clouds' centres are not a matrix")
        k, p = self.mean.shape
        need(self.axes.shape in {(k, p, p), (1, p, p), (k, p), (1, p)}, "the clouds' axes do not fit")
        need(self.offset.shape == (k,), "the clouds' offsets do not fit")
        for array in (self.mean, self.axes, self.offset):
            need(array.dtype.kind == "f" and bool(np.isfinite(array).all()), "the clouds are not finite floats")


@step("mixture", output="probabilities")
class Mixture(_Mixture):
    """matrix (n, p) -> responsibilities (n, k) of the clouds.

    A row so far off that every density is too small for a number belongs to the cloud from which it is the fewest
    standard deviations away.
    """

    mean: np.ndarray
    axes: np.ndarray
    offset: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        logs = self._logs(X)
        lost = np.flatnonzero(logs.max(axis=1) <= -0.4 * _MOST)
        for row in lost:  # squares overflow: compare lengths, which do not
            size = [float(np.abs(self._away(X[row : row + 1], c)).max()) for c in range(len(self.mean))]
            scale = max(max(size), 1e-300)
            lengths = [np.linalg.norm(self._away(X[row : row + 1], c) / scale) for c in range(len(self.mean))]
            logs[row] = np.where(np.arange(len(lengths)) == int(np.argmin(lengths)), 0.0, -_MOST)
        return softmax(logs)


@step("mixture_density", output="scores")
class MixtureDensity(_Mixture):
    """matrix (n, p) -> minus the log-density (n,) of the whole mixture; at most about 1e300."""

    mean: np.ndarray
    axes: np.ndarray
    offset: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        logs = self._logs(X)
        top = logs.max(axis=1)
        return -(top + np.log(np.exp(logs - top[:, None]).sum(axis=1)))
