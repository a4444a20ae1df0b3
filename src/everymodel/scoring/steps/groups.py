"""Steps that say to which group a row belongs. Group columns come first; where there is noise, it is the last one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.combine import softmax

_CELLS = 8192  # distances held at once: what fits the cache
_PAIRS = 4_000_000  # distances to rows held at once: 32 MB


def squared_distances(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, k) between rows (n, p) and centres (k, p), each pair by itself.

    Differences are squared and added column by column: no cancellation, and every number in the answer is the outcome
    of the same operations in the same order whatever rows stand beside it.
    """
    X, n, k = np.asarray(X, dtype=np.float64), len(X), len(centers)
    out = np.empty((n, k))
    columns = np.ascontiguousarray(centers.T, dtype=np.float64)[:, :, None]  # (p, k, 1)
    size = max(_CELLS // max(k, 1), 1)
    for start in range(0, n, size):
        rows = np.ascontiguousarray(X[start : start + size].T)  # (p, m)
        total, gap = np.zeros((k, rows.shape[1])), np.empty((k, rows.shape[1]))
        for x, c in zip(rows, columns):
            np.subtract(x, c, out=gap)
            np.multiply(gap, gap, out=gap)
            total += gap
        out[start : start + size] = total.T
    return out


def nearest_center(X: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number of the nearest centre, squared distance to it), (n,) each, just as `squared_distances` says, but sooner.

    Products find the nearest centre; rows for which rounding might have decided are looked at again one by one.
    """
    X, k = np.asarray(X, dtype=np.float64), len(centers)
    middle = centers.mean(axis=0)
    shifted = centers - middle
    lengths = np.einsum("ij,ij->i", shifted, shifted)
    label, square = np.empty(len(X), dtype=np.intp), np.empty(len(X))
    size = max(8 * _CELLS // k, 64)
    for start in range(0, len(X), size):
        here = slice(start, start + size)
        rows = X[here] - middle
        rough = rows @ (-2.0 * shifted.T) + lengths
        best = rough.argmin(axis=1)
        limit = rough[np.arange(len(rows)), best]
        limit += 1e-13 * (np.einsum("ij,ij->i", rows, rows) + lengths.max()) * (X.shape[1] + 4)
        again = np.flatnonzero(np.count_nonzero(rough <= limit[:, None], axis=1) != 1)
        if len(again):
            best[again] = squared_distances(X[here][again], centers).argmin(axis=1)
        label[here] = best
        gap = X[here] - centers[best]
        square[here] = np.einsum("ij,ij->i", gap, gap)
    return label, square


@step("centers", output="probabilities")
class Centers(Step):
    """matrix (n, p) -> memberships (n, k) in the groups around `centers` (k, p).

    "gaussian": exp(-d^2 / (2 spread)), normalised: what an equal mixture of round Gaussians of variance `spread` says.
    "fuzzy": 1 / sum_l (d_j / d_l)^(2 / (m - 1)) with the fuzzifier m = `fuzzifier` (Bezdek 1981).
    `weights` (k,), if there are any, multiply the squared distances. The largest membership is always that of the
    smallest of these.
    """

    centers: np.ndarray
    spread: float = 1.0
    kind: str = "gaussian"
    fuzzifier: float = 2.0
    weights: np.ndarray | None = None

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.centers.shape[1], f"centres need {self.centers.shape[1]} features")
        squares = squared_distances(X, self.centers)
        if self.weights is not None:
            squares *= self.weights
        if self.kind == "gaussian":
            return softmax(-squares / (2.0 * self.spread))
        return softmax(-np.log(np.maximum(squares, 1e-300)) / (self.fuzzifier - 1.0))

    def check(self) -> None:
        need(self.centers.ndim == 2 and self.centers.dtype.kind == "f", "the centres are not a matrix of floats")
        need(len(self.centers) > 0 and bool(np.isfinite(self.centers).all()), "the centres are not finite")
        need(self.kind in ("gaussian", "fuzzy"), f"unknown kind of membership {self.kind!r}")
        need(isinstance(self.spread, int | float) and self.spread > 0, "the spread of the groups is not above zero")
        need(isinstance(self.fuzzifier, int | float) and self.fuzzifier > 1, "the fuzzifier is not above one")
        if self.weights is not None:
            need(self.weights.shape == self.centers.shape[:1] and self.weights.dtype.kind == "f", "weights do not fit")
            need(bool((self.weights > 0).all() and np.isfinite(self.weights).all()), "a weight is not above zero")


@step("linkage", output="probabilities")
class Linkage(Step):
    """matrix (n, p) -> memberships (n, k): exp(-d^2 / (2 spread)), normalised, with d the distance to a group of rows.

    rows (m, p) in the order of their groups, group j being rows ends[j] to ends[j + 1]; ends (k + 1,). d is the
    smallest ("single"), mean ("average") or largest ("complete") distance to the group's rows, and 0 to a group that
    the row itself is in.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    ends: np.ndarray
    kind: str
    spread: float = 1.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"groups of rows need {self.rows.shape[1]} features")
        out = np.empty((len(X), len(self.ends) - 1))
        size = max(_PAIRS // len(self.rows), 1)
        for start in range(0, len(X), size):
            squares = squared_distances(X[start : start + size], self.rows)
            nearest = np.minimum.reduceat(squares, self.ends[:-1], axis=1)
            if self.kind == "single":
                out[start : start + size] = nearest
                continue
            if self.kind == "complete":
                found = np.maximum.reduceat(squares, self.ends[:-1], axis=1)
            else:
                found = (np.add.reduceat(np.sqrt(squares), self.ends[:-1], axis=1) / np.diff(self.ends)) ** 2
            found[nearest == 0] = 0
            out[start : start + size] = found
        return softmax(-out / (2.0 * self.spread))

    def check(self) -> None:
        need(self.rows.ndim == 2 and self.rows.dtype.kind == "f", "the groups' rows are not a matrix of floats")
        need(len(self.rows) > 0 and bool(np.isfinite(self.rows).all()), "the groups' rows are not finite")
        need(self.ends.ndim == 1 and self.ends.dtype.kind in "iu" and len(self.ends) > 1, "groups have no ends")
        need(self.ends[0] == 0 and self.ends[-1] == len(self.rows), "the groups' ends do not fit their rows")
        need(bool((np.diff(self.ends.astype(np.int64)) > 0).all()), "a group of rows is empty")
        need(self.kind in ("single", "average", "complete"), f"unknown linkage {self.kind!r}")
        need(isinstance(self.spread, int | float) and self.spread > 0, "the spread of the groups is not above zero")
