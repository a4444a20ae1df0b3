"""Naive Bayes: columns are taken as independent within a class."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Sparse, Step, need, step
from everymodel.scoring.steps.linear import product, softmax


@step("gaussian_bayes", output="probabilities")
class GaussianBayes(Step):
    """matrix (n, p) -> probabilities (n, k) from a Gaussian for every column and class.

    mean, var (k, p); log_prior (k,).
    """

    mean: np.ndarray
    var: np.ndarray
    log_prior: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        fixed = self.log_prior - 0.5 * np.log(2.0 * np.pi * self.var).sum(axis=1)  # (k,)
        scores = np.empty((len(X), len(fixed)))
        for c in range(len(fixed)):
            scores[:, c] = fixed[c] - 0.5 * ((X - self.mean[c]) ** 2 / self.var[c]).sum(axis=1)
        return softmax(scores)

    def check(self) -> None:
        need(self.mean.ndim == 2 and self.mean.shape == self.var.shape, "the Gaussians do not fit")
        need(self.log_prior.shape == (len(self.mean),), "the classes' priors do not fit")
        need(bool(np.isfinite(self.mean).all() and np.isfinite(self.log_prior).all()), "the Gaussians are not finite")
        need(bool((self.var > 0).all() and np.isfinite(self.var).all()), "a Gaussian's variance is not positive")


@step("bernoulli_bayes", output="probabilities")
class BernoulliBayes(Step):
    """matrix (n, p) -> probabilities (n, k); a column counts as present where it is above `threshold`.

    coef (p, k) log-odds of presence, intercept (k,). No threshold: columns are 0 or 1 already.
    """

    coef: np.ndarray
    intercept: np.ndarray
    threshold: float | None = None

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        if self.threshold is not None:
            if isinstance(X, Sparse) and self.threshold >= 0:
                X = Sparse((X.data > self.threshold).astype(np.float64), X.indices, X.indptr, X.shape)
            else:
                X = X.toarray() if isinstance(X, Sparse) else X
                X = (self.threshold < X).astype(np.float64)
        return softmax(product(X, self.coef) + self.intercept)

    def check(self) -> None:
        need(self.coef.ndim == 2 and self.intercept.shape == self.coef.shape[1:], "the log-odds do not fit")
        need(bool(np.isfinite(self.coef).all() and np.isfinite(self.intercept).all()), "the log-odds are not finite")
        need(self.threshold is None or isinstance(self.threshold, int | float), "the threshold is not a number")


def bins(X: np.ndarray, edges: np.ndarray, edge_counts: np.ndarray, level_counts: np.ndarray) -> np.ndarray:
    """Codes (n, p) of the rows X: 0 for NaN or unheard of, else 1 + the bin or level.

    Column j with edge_counts[j] >= 0 is a number, cut at that many of the `edges`; with -1 it holds level codes, of
    which those below level_counts[j] are known.
    """
    codes = np.zeros(X.shape, dtype=np.int64)
    start = 0
    for j in range(X.shape[1]):
        x = X[:, j]
        there = ~np.isnan(x)
        if edge_counts[j] >= 0:
            own = edges[start : start + edge_counts[j]]
            start += edge_counts[j]
            codes[there, j] = 1 + np.searchsorted(own, x[there], side="right")
        else:
            level = np.full(len(x), -1, dtype=np.int64)
            level[there] = np.clip(x[there], -1, 2**31)
            codes[:, j] = np.where((level >= 0) & (level < level_counts[j]), level + 1, 0)
    return codes


@step("categorical_bayes", output="probabilities")
class CategoricalBayes(Step):
    """matrix (n, p) of numbers and level codes -> probabilities (n, k) from the frequency of levels in classes.

    edges, edge_counts, level_counts: see `bins`. table (sum of level_counts + p, k): log-frequencies, column after
    column, code 0 (missing or unheard of) first; level_counts holds the number of bins for number columns.
    log_prior (k,).
    """

    edges: np.ndarray
    edge_counts: np.ndarray
    level_counts: np.ndarray
    table: np.ndarray
    log_prior: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == len(self.level_counts), f"this step needs {len(self.level_counts)} features")
        codes = bins(X, self.edges, self.edge_counts, self.level_counts)
        starts = np.concatenate([[0], np.cumsum(self.level_counts.astype(np.int64) + 1)[:-1]])
        scores = np.tile(self.log_prior, (len(X), 1))
        for j in range(codes.shape[1]):
            scores += self.table[starts[j] + codes[:, j]]
        return softmax(scores)

    def check(self) -> None:
        counts, cuts = self.level_counts, self.edge_counts
        need(
            counts.ndim == 1 and counts.dtype.kind in "iu" and cuts.dtype.kind == "i",
            "the levels are not whole numbers",
        )
        need(cuts.shape == counts.shape and bool((cuts >= -1).all() and (counts >= 0).all()), "the levels do not fit")
        need(bool(((cuts < 0) | (cuts + 1 == counts)).all()), "bins and edges differ in number")
        need(self.edges.shape == (int(np.maximum(cuts, 0).sum()),), "the edges do not fit")
        floats = self.log_prior.dtype.kind == self.table.dtype.kind == "f"
        need(floats and self.log_prior.ndim == 1, "the classes' priors do not fit")
        total = int(counts.astype(np.int64).sum()) + len(counts)
        need(self.table.shape == (total, len(self.log_prior)), "the frequencies do not fit")
        finite = np.isfinite(self.edges).all() and np.isfinite(self.table).all() and np.isfinite(self.log_prior).all()
        need(bool(finite), "the frequencies are not finite")
