"""Non-negative matrix factorisation: rows as sums of parts, with nothing taken away."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_array, check_is_fitted, check_non_negative, check_random_state, validate_data

from everymodel.scoring.steps.base import Sparse
from everymodel.scoring.steps.components import NonnegativeParts

CARD = {
    "name": "nmf",
    "title": "Non-negative matrix factorisation",
    "summary": "Writes every row as a sum of few parts, such as topics of texts, with no part ever taken away.",
    "choose": "Counts, amounts and words, where parts add up and are to be read: topics, baskets, spectra.",
    "avoid": "Columns that can be negative, and to keep the most variance with the fewest columns.",
    "gives": ["components"],
    "needs": {"scaling": "range", "non_negative": True, "sparse": True},
    "cost": {"scale": 5e-7, "rows_power": 1.0, "columns_power": 0.8},
    "references": [
        "Lee and Seung (1999), Learning the parts of objects by non-negative matrix factorization. Nature.",
        "Gillis and Glineur (2012), Accelerated multiplicative updates and hierarchical ALS algorithms for NMF.",
    ],
    "advice": ["text", "sparse", "interpretable"],
    "priority": 20,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 5,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of parts.",
        },
        "init": {
            "type": "choice",
            "default": "svd",
            "choices": ["svd", "random"],
            "tune": False,
            "text": "Whether the search for parts starts at the main directions or at random.",
        },
        "max_iter": {
            "type": "int",
            "default": 300,
            "low": 1,
            "high": 100000,
            "tune": False,
            "text": "Rounds at most.",
        },
        "tol": {
            "type": "float",
            "default": 3e-5,
            "low": 1e-12,
            "high": 0.1,
            "log": True,
            "tune": False,
            "text": "Share by which the error must fall in a round for the search to go on.",
        },
        "alpha": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 100.0,
            "text": "How strongly weights and parts are pulled towards zero.",
        },
        "l1_ratio": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 1.0,
            "text": "Share of the pull that makes weights exactly zero.",
        },
    },
    "tiny": [{"n_components": 3}, {"n_components": 2, "alpha": 0.01, "l1_ratio": 0.5}],
    "classes": {"reducer": {"class": "everymodel.models.decomposition.nmf:NMF", "tasks": ["reduce"]}},
}


SWEEPS = 3  # updates of all weights between two products with X, which cost far more


class NMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Find parts H >= 0 and weights W >= 0 with the least |X - W H|^2.

    Parts and weights take turns: each part, and each weight, is set to its best value with all others held
    (hierarchical alternating least squares), several times between two products with X. Parts come in the order of how
    much of X they carry. The weights of any row, new or not, are the exact solution of its least squares problem, so
    the same row always gets the same weights, and the error is never above that of weights learnt along with the parts.

    Parameters
    ----------
    n_components : number of parts d.
    init : "svd" starts at the main directions (Boutsidis and Gallopoulos 2008), "random" anywhere.
    max_iter, tol : rounds at most, and the share by which |X - W H| must fall in a round to go on.
    alpha, l1_ratio : pull towards zero of alpha times p (for weights) or n (for parts), as in scikit-learn.
    random_state : of a random start, and of the main directions of large tables.

    Attributes
    ----------
    components_ : (d, p) · reconstruction_err_ : |X - W H| on the training rows · n_iter_ : rounds

    Raises
    ------
    ValueError
        where X has negative cells, or `n_components` is not a whole number from 1.
    """

    def __init__(
        self,
        n_components: int = 5,
        *,
        init: str = "svd",
        max_iter: int = 300,
        tol: float = 3e-5,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        random_state: int | None = None,
    ):
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> NMF:
        """Learn the parts of X (n, p), dense or sparse; y is ignored."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Learn the parts of X (n, p); the weights (n, d) of its rows."""
        whole = isinstance(self.n_components, int | np.integer) and not isinstance(self.n_components, bool)
        if not whole or self.n_components < 1:
            raise ValueError(f"n_components={self.n_components!r} is not possible: expected a whole number from 1.")
        if self.init not in ("svd", "random"):
            raise ValueError(f"init={self.init!r} is not known: expected 'svd' or 'random'.")
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64)
        check_non_negative(X, "NMF.fit")
        W, H = self._learn(X)
        size = np.linalg.norm(W, axis=1) * np.linalg.norm(H, axis=1)
        self.components_ = np.ascontiguousarray(H[np.argsort(-size, kind="stable")])
        weights = self.transform(X)
        self.reconstruction_err_ = _error(X, weights, self.components_)
        return weights

    def _learn(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Weights (d, n) and parts (d, p)."""
        n, p = X.shape
        W, H = self._start(X)
        whole = float(X.multiply(X).sum()) if issparse(X) else float(np.einsum("ij,ij->", X, X))
        pull = np.array([self.alpha * p, self.alpha * n])
        l1, l2 = pull * self.l1_ratio, pull * (1.0 - self.l1_ratio)
        last = np.inf
        for i in range(self.max_iter):
            self.n_iter_ = i + 1
            _sweep(W, H @ H.T, np.asarray((X @ H.T).T) - l1[0], l2[0])
            gram, cross = W @ W.T, np.asarray((X.T @ W.T).T)  # (d, d), (d, p)
            _sweep(H, gram, cross - l1[1], l2[1])
            # The products at hand give the error without W H itself.
            square = whole - 2.0 * float(np.vdot(H, cross)) + float(np.vdot(gram, H @ H.T))
            square += 2.0 * float(l1[0] * W.sum() + l1[1] * H.sum())
            square += float(l2[0] * np.vdot(W, W) + l2[1] * np.vdot(H, H))
            error = float(np.sqrt(max(square, 0.0)))
            if not last - error > self.tol * error or error <= 1e-7 * np.sqrt(whole):
                return W, H
            last = error
        warnings.warn(
            f"The parts still change after max_iter={self.max_iter} rounds. Give more, or a larger tol.",
            ConvergenceWarning,
            stacklevel=4,
        )
        return W, H

    def _start(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Weights (d, n) and parts (d, p) to start from."""
        n, p = X.shape
        d = int(self.n_components)
        rng = check_random_state(self.random_state)
        mean = max(float(X.mean()), 1e-300)
        W, H = np.empty((d, n)), np.empty((d, p))
        known = min(d, n, p) if self.init == "svd" else 0
        if known:
            U, s, V = randomized_svd(X, known, n_iter=4, random_state=rng)
            for j in range(known):
                u, v = U[:, j], V[j]
                # A direction and its opposite are the same: the side that is mostly positive is taken.
                sides = [(np.maximum(sign * u, 0.0), np.maximum(sign * v, 0.0)) for sign in (1.0, -1.0)]
                sizes = [np.linalg.norm(a) * np.linalg.norm(b) for a, b in sides]
                a, b = sides[int(sizes[1] > sizes[0])]
                size = max(sizes) or 1.0
                W[j] = np.sqrt(s[j] * size) * a / (np.linalg.norm(a) or 1.0)
                H[j] = np.sqrt(s[j] * size) * b / (np.linalg.norm(b) or 1.0)
            W[:known][W[:known] < 1e-6] = mean  # what starts at zero might stay there
            H[:known][H[:known] < 1e-6] = mean
        level = np.sqrt(mean / d)
        W[known:] = level * np.abs(rng.normal(size=(d - known, n)))
        H[known:] = level * np.abs(rng.normal(size=(d - known, p)))
        return W, H

    def transform(self, X: Any) -> np.ndarray:
        """Weights (n, d) of rows (n, p)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        check_non_negative(X, "NMF.transform")
        if issparse(X):
            X = X.sorted_indices()
            X = Sparse(X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64), X.shape)
        return pack(self)(X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows (n, p) made of weights (n, d)."""
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)
        if X.shape[1] != len(self.components_):
            raise ValueError(f"Weights with {X.shape[1]} columns came; expected {len(self.components_)}.")
        return X @ self.components_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        return tags


def _sweep(W: np.ndarray, gram: np.ndarray, goal: np.ndarray, l2: float) -> None:
    """Set each row of W (d, n) to its best non-negative value given the others, `SWEEPS` times, in place.

    gram (d, d) and goal (d, n): products of the other side with itself and with X.
    """
    diagonal = np.diag(gram) + l2
    alive = np.flatnonzero(diagonal > 1e-300)
    for _ in range(SWEEPS):
        for k in alive:
            step = goal[k] - gram[k] @ W
            step -= l2 * W[k]
            step /= diagonal[k]
            np.maximum(W[k] + step, 0.0, out=W[k])


def _error(X: Any, W: np.ndarray, H: np.ndarray) -> float:
    """|X - W H|, without making a sparse X dense."""
    if issparse(X):
        square = float(X.multiply(X).sum()) - 2.0 * float(np.vdot(W, X @ H.T)) + float(np.vdot(W.T @ W, H @ H.T))
        return float(np.sqrt(max(square, 0.0)))
    return float(np.linalg.norm(np.asarray(X) - W @ H))


def pack(model: Any) -> NonnegativeParts:
    """The fitted model as a scoring step."""
    parts = np.ascontiguousarray(model.components_, dtype=np.float64)
    pull = float(model.alpha) * parts.shape[1]
    return NonnegativeParts(parts, pull * float(model.l1_ratio), pull * (1.0 - float(model.l1_ratio)))
