"""Quadratic discriminant analysis: one Gaussian cloud per class, each of its own shape."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.linear import softmax


@step("quadratic_discriminant", output="probabilities")
class QuadraticDiscriminant(Step):
    """matrix (n, p) -> probabilities (n, k).

    mean (k, p); axes (p, r): the clouds' axes, each divided by its length, class after class; ranks (k,) how many of
    them each class has; offset (k,): log-prior less half the log-volume of the cloud.
    """

    mean: np.ndarray
    axes: np.ndarray
    ranks: np.ndarray
    offset: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        scores = np.empty((len(X), len(self.mean)))
        start = 0
        for c in range(len(self.mean)):
            end = start + int(self.ranks[c])
            scores[:, c] = self.offset[c] - 0.5 * (((X - self.mean[c]) @ self.axes[:, start:end]) ** 2).sum(axis=1)
            start = end
        return softmax(scores)

    def check(self) -> None:
        k = len(self.mean)
        need(
            self.mean.ndim == 2 and self.axes.ndim == 2 and self.axes.shape[0] == self.mean.shape[1], "axes do not fit"
        )
        need(self.ranks.shape == (k,) and self.ranks.dtype.kind in "iu" and bool((self.ranks >= 0).all()), "bad ranks")
        need(int(self.ranks.sum()) == self.axes.shape[1] and self.offset.shape == (k,), "the clouds do not fit")
        finite = np.isfinite(self.mean).all() and np.isfinite(self.axes).all() and np.isfinite(self.offset).all()
        need(bool(finite), "the clouds are not finite")
