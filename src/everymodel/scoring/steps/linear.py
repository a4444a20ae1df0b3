"""Linear answers: a weighted sum of the features, as a value, as scores or through a link as probabilities."""

from __future__ import annotations

import numpy as np

from everymodel.scoring.steps.base import Sparse, Step, dot, need, step

# A class that a model never saw gets this log-score: its probability comes out as exactly zero.
NEVER = -1e300


def softmax(scores: np.ndarray) -> np.ndarray:
    """Rows of (n, k) log-scores to probabilities (n, k)."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    return e


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-s) without overflow, any shape."""
    e = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, e) / (1.0 + e)


def two_columns(positive: np.ndarray) -> np.ndarray:
    """(n,) probability of class 1 -> (n, 2)."""
    return np.stack([1.0 - positive, positive], axis=1)


def linked(scores: np.ndarray, link: str) -> np.ndarray:
    """Scores (n,) or (n, k) to probabilities (n, k); see LinearProbabilities for the links."""
    if link == "softmax":
        return softmax(scores)
    # Scikit-learn's modified Huber loss: the score itself, clipped.
    shares = (np.clip(scores, -1.0, 1.0) + 1.0) / 2.0 if link == "huber" else sigmoid(scores)
    if link == "each":
        return shares
    if shares.ndim == 1:
        return two_columns(shares)
    total = shares.sum(axis=1, keepdims=True)
    empty = total == 0.0
    if empty.any():  # no class claims the row: all of them equally
        shares = np.where(empty, 1.0, shares)
        total = np.where(empty, float(shares.shape[1]), total)
    return shares / total


def product(X: np.ndarray | Sparse, coef: np.ndarray) -> np.ndarray:
    """X (n, p) times coef (p,) or (p, k); ModelFileError where the widths differ."""
    need(X.shape[1] == coef.shape[0], f"a step for {coef.shape[0]} features is given {X.shape[1]}")
    return dot(X, coef)


LINKS = ("softmax", "sigmoid", "huber", "each")


def check_linear(coef: np.ndarray, intercept: np.ndarray) -> None:
    """Raise ModelFileError unless coef (p,) goes with intercept (), or coef (p, k) with intercept (k,)."""
    need(coef.ndim in (1, 2) and intercept.shape == coef.shape[1:], "linear coefficients and intercept do not fit")
    need(bool(np.isfinite(coef).all() and np.isfinite(intercept).all()), "linear coefficients are not finite")


@step("linear", output="value")
class Linear(Step):
    """matrix (n, p) -> X coef + intercept: (n,) for coef (p,), (n, t) for coef (p, t)."""

    coef: np.ndarray
    intercept: np.ndarray

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        return product(X, self.coef) + self.intercept

    def check(self) -> None:
        check_linear(self.coef, self.intercept)


@step("linear_log", output="value")
class LinearLog(Step):
    """matrix (n, p) -> exp(X coef + intercept) (n,): linear models of counts and amounts."""

    coef: np.ndarray
    intercept: np.ndarray

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        return np.exp(product(X, self.coef) + self.intercept)

    def check(self) -> None:
        check_linear(self.coef, self.intercept)


@step("linear_scores", output="scores")
class LinearScores(Step):
    """matrix (n, p) -> decision values: (n,) positive for class 1, or (n, k)."""

    coef: np.ndarray
    intercept: np.ndarray

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        return product(X, self.coef) + self.intercept

    def check(self) -> None:
        check_linear(self.coef, self.intercept)


@step("linear_probabilities", output="probabilities")
class LinearProbabilities(Step):
    """matrix (n, p) -> probabilities (n, k).

    link: "softmax" over coef (p, k); "sigmoid" binary for coef (p,), one against the rest and normalised for (p, k);
    "huber" the same with clipped scores; "each" a sigmoid per label (multilabel).
    """

    coef: np.ndarray
    intercept: np.ndarray
    link: str = "softmax"

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        return linked(product(X, self.coef) + self.intercept, self.link)

    def check(self) -> None:
        check_linear(self.coef, self.intercept)
        need(self.link in LINKS, f"unknown link {self.link!r}")
        need(self.coef.ndim == 2 or self.link in ("sigmoid", "huber"), f"the link {self.link!r} needs several columns")


@step("polynomial", output="value")
class Polynomial(Step):
    """matrix (n, p) -> sum over terms of coef * product of the term's standardised features, + intercept (n,).

    centre, scale (p,); low, high (p,) clip the standardised features, so that a far outlier is not raised to a power;
    terms (m, d) feature numbers, -1 where a term has fewer factors; coef (m,), intercept ().
    """

    centre: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    terms: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return (
            polynomial_terms(X, self.centre, self.scale, self.low, self.high, self.terms) @ self.coef + self.intercept
        )

    def check(self) -> None:
        p = len(self.centre)
        same = self.centre.shape == self.scale.shape == self.low.shape == self.high.shape == (p,)
        need(same, "polynomial scaling does not fit")
        need(self.terms.ndim == 2 and self.terms.dtype.kind == "i", "polynomial terms are not whole numbers")
        need(bool(((self.terms >= -1) & (self.terms < p)).all()), "polynomial terms name unknown features")
        need(self.coef.shape == (len(self.terms),) and self.intercept.shape == (), "polynomial coefficients do not fit")
        need(bool((self.scale != 0).all()), "polynomial scale is zero")


def polynomial_terms(
    X: np.ndarray, centre: np.ndarray, scale: np.ndarray, low: np.ndarray, high: np.ndarray, terms: np.ndarray
) -> np.ndarray:
    """The terms (m, d) of the rows X (n, p) as a matrix (n, m); see Polynomial."""
    Z = np.clip((X - centre) / scale, low, high)
    Z = np.concatenate([Z, np.ones((len(Z), 1))], axis=1)  # (n, p + 1): -1 picks the one at the end
    out = Z[:, terms[:, 0]]
    for place in range(1, terms.shape[1]):
        out = out * Z[:, terms[:, place]]
    return out  # (n, m)
