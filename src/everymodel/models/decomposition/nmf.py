"""Non-negative matrix factorisation: rows as sums of parts, with nothing taken away."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.decomposition
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

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
    "references": ["Lee and Seung (1999), Learning the parts of objects by non-negative matrix factorization. Nature."],
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
            "default": None,
            "choices": [None, "random", "nndsvd", "nndsvda", "nndsvdar"],
            "tune": False,
            "text": "Where the search for parts starts; by default at the main directions.",
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
            "default": 1e-4,
            "low": 1e-12,
            "high": 0.1,
            "log": True,
            "tune": False,
            "text": "Change at which the search ends.",
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


class NMF(sklearn.decomposition.NMF):
    """Find parts H >= 0 and weights W >= 0 with the least |X - W H|^2.

    Parts are learnt by scikit-learn's coordinate descent and put in the order of how much of X they carry. The weights
    of any row, new or not, are the exact solution of its least squares problem: the same row always gets the same
    weights, and the error is never above that of weights that were learnt along with the parts.

    Parameters
    ----------
    n_components : number of parts d. init : where the search starts. max_iter, tol : when it ends.
    alpha, l1_ratio : pull towards zero, times the number of columns (of rows for parts), as in scikit-learn.

    Attributes
    ----------
    components_ : (d, p) · reconstruction_err_ : |X - W H| on the training rows · n_iter_

    Raises
    ------
    ValueError
        where X has negative cells.
    """

    def __init__(
        self,
        n_components: int = 5,
        *,
        init: str | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        random_state: int | None = None,
    ):
        super().__init__(
            n_components, init=init, max_iter=max_iter, tol=tol, alpha_W=alpha, l1_ratio=l1_ratio,
            random_state=random_state,
        )  # fmt: skip
        self.alpha = alpha

    def fit_transform(self, X: Any, y: Any = None, W: Any = None, H: Any = None) -> np.ndarray:
        """Learn the parts of X (n, p), dense or sparse; the weights (n, d) of its rows."""
        self.alpha_W = self.alpha
        learnt = super().fit_transform(X, y, W, H)
        parts = np.asarray(self.components_, dtype=np.float64)
        size = np.linalg.norm(learnt, axis=0) * np.linalg.norm(parts, axis=1)
        self.components_ = np.ascontiguousarray(parts[np.argsort(-size, kind="stable")])
        weights = self.transform(X)
        self.reconstruction_err_ = _error(X, weights, self.components_)
        return weights

    def transform(self, X: Any) -> np.ndarray:
        """Weights (n, d) of rows (n, p)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        check_non_negative(X, "NMF.transform")
        if issparse(X):
            X.sort_indices()
            X = Sparse(X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64), X.shape)
        return pack(self)(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags


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
