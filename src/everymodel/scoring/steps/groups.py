"""Steps that say to which group a row belongs. Group columns come first; where there is noise, it is the last one."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.combine import softmax


def squared_distances(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, k) between rows (n, p) and centres (k, p), each pair by itself.

    Differences are squared and summed directly: no cancellation, and a row's answer does not depend on the others.
    """
    out = np.empty((len(X), len(centers)))
    for j, center in enumerate(centers):
        gap = X - center
        np.einsum("ij,ij->i", gap, gap, out=out[:, j])
    return out


@step("centers", output="probabilities")
class Centers(Step):
    """matrix (n, p) -> memberships (n, k) in the groups around `centers` (k, p).

    "gaussian": exp(-d^2 / (2 spread)), normalised: what an equal mixture of round Gaussians of variance `spread` says.
    "fuzzy": 1 / sum_l (d_j / d_l)^(2 / (m - 1)) with the fuzzifier m = `fuzzifier` (Bezdek 1981).
    The largest membership is always that of the nearest centre.
    """

    centers: np.ndarray
    spread: float = 1.0
    kind: str = "gaussian"
    fuzzifier: float = 2.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.centers.shape[1], f"centres need {self.centers.shape[1]} features")
        squares = squared_distances(X, self.centers)
        if self.kind == "gaussian":
            return softmax(-squares / (2.0 * self.spread))
        return softmax(-np.log(np.maximum(squares, 1e-300)) / (self.fuzzifier - 1.0))

    def check(self) -> None:
        need(self.centers.ndim == 2 and self.centers.dtype.kind == "f", "the centres are not a matrix of floats")
        need(len(self.centers) > 0 and bool(np.isfinite(self.centers).all()), "the centres are not finite")
        need(self.kind in ("gaussian", "fuzzy"), f"unknown kind of membership {self.kind!r}")
        need(isinstance(self.spread, int | float) and self.spread > 0, "the spread of the groups is not above zero")
        need(isinstance(self.fuzzifier, int | float) and self.fuzzifier > 1, "the fuzzifier is not above one")
