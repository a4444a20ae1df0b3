"""Label propagation: known labels stay as they are, and all other rows take the mean of their surroundings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models.semi_supervised import _spreads
from everymodel.models.semi_supervised._graph import reached, solve
from everymodel.scoring.steps.propagation import Propagation

CARD = {
    "name": "label_propagation",
    "title": "Label propagation",
    "summary": "Gives each row without a label the mean answer of the most similar rows; known labels stay fixed.",
    "choose": "Few labels that are surely right, and many rows without one, where rows of a class lie together.",
    "avoid": "Labels that may be wrong (label spreading overrules them), and wherever a file must not carry rows.",
    "gives": ["probabilities"],
    "needs": {"unlabelled": True, "max_columns": 1000},
    "cost": {"scale": 8e-6, "rows_power": 1.3, "columns_power": 0.0},
    "references": [
        "Zhu et al. (2003), Semi-supervised learning using Gaussian fields and harmonic functions. ICML.",
        "Zelnik-Manor and Perona (2004), Self-tuning spectral clustering. NIPS 17.",
    ],
    "advice": ["unlabelled"],
    "priority": None,
    "parameters": {
        "n_neighbors": {
            "type": "int",
            "default": 7,
            "low": 2,
            "high": 100,
            "log": True,
            "text": "Most similar rows to which each row is joined.",
        },
        "metric": {
            "type": "choice",
            "default": "even",
            "choices": ["given", "scaled", "even", "learnt"],
            "text": "How rows are compared: as given, scaled, with main directions evened out, or as classes suggest.",
        },
        "balance": {
            "type": "float",
            "default": 0.5,
            "low": 0.0,
            "high": 1.0,
            "text": "How far classes are pulled towards their shares among the labelled rows.",
        },
    },
    "presets": [{"metric": "learnt"}],
    "tiny": [{"n_neighbors": 5, "metric": "given"}, {"metric": "learnt"}],
    "classes": {
        "classifier": {
            "class": "everymodel.models.semi_supervised.label_propagation:LabelPropagation",
            "tasks": ["binary", "multiclass"],
        },
    },
}


class LabelPropagation(_spreads.Spreads):
    """Find answers that are harmonic on the graph of nearest rows: each unlabelled row has the mean of its neighbours.

    (D_uu - W_uu) F_u = W_ul Y_l, with the labelled rows held at their labels (Zhu et al. 2003). Each row has its own
    scale of distances; the net is sparse, so memory grows with the rows and not with their square. How sure the answers
    are is judged on labels held out in turn. New rows ask their nearest rows.

    Parameters
    ----------
    n_neighbors : rows to which each row is joined.
    metric : "given" (X as it is), "scaled" (each column, but where all share a unit), "even" (main directions of these,
        each by the root of its width) or "learnt" (also the directions in which the classes lie apart, found with the
        classes that rows were first taken for).
    balance : 0 to 1, how far the classes are pulled towards their shares among the labelled rows.
    random_state : seed of the search for neighbours among very many rows.

    Attributes
    ----------
    classes_ : (k,) · label_distributions_ : (n, k) probabilities of the rows of the fit · transduction_ : (n,) their
    classes · reached_ : (n,) whether some label reaches a row; those that none reaches are answered as their nearest
    row that one does, with little confidence.

    Raises
    ------
    DataError : no row has a label, or there is but one row.
    ParameterError : a parameter is out of its range.

    References
    ----------
    Zhu et al. (2003).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> few = np.where(np.arange(len(y)) < 100, y, -1)
    >>> LabelPropagation(metric="given").fit(X, few).score(X, y) > 0.9
    True
    """

    def __init__(self, n_neighbors: int = 7, *, metric: str = "even", balance: float = 0.5, random_state: Any = None):
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.balance = balance
        self.random_state = random_state

    def _spread(self, W: Any, Y: np.ndarray, labelled: np.ndarray, strength: float) -> np.ndarray:
        from scipy import sparse

        F = Y.copy()
        free = np.flatnonzero(reached(W, labelled) & ~labelled)
        if len(free):
            degree = np.asarray(W.sum(axis=1)).ravel()[free]
            root = 1.0 / np.sqrt(degree)
            scale = sparse.diags(root)  # symmetric scaling keeps the system positive definite and well conditioned
            inside = sparse.identity(len(free), format="csr") - scale @ W[free][:, free] @ scale
            pull = W[free][:, np.flatnonzero(labelled)] @ Y[labelled]
            F[free] = root[:, None] * solve(inside.tocsr(), root[:, None] * pull)
        return F


def fit(
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    *,
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
    unlabelled: np.ndarray | None = None,
) -> Any:
    """Fit on labelled and unlabelled rows; validation rows are not needed."""
    return _spreads.fit(model, X, y, unlabelled=unlabelled, stop=stop, threads=threads)


def pack(model: Any, n_classes: int | None = None) -> Propagation:
    """The fitted model as a scoring step; it holds rows of the fit."""
    return _spreads.pack(model, n_classes)
