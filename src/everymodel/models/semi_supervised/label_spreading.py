"""Label spreading: labels spread to similar rows, and may be overruled by their surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from everymodel.models.semi_supervised import _spreads
from everymodel.models.semi_supervised._graph import normalised, solve
from everymodel.scoring.steps.propagation import Propagation

_CELLS = 8_000_000  # numbers held at once while labels are held out

CARD = {
    "name": "label_spreading",
    "title": "Label spreading",
    "summary": "Joins each row to the most similar ones and lets the few known labels spread over this net.",
    "choose": "Few labels and many rows without one, where rows of a class lie together: images, signals, sensors.",
    "avoid": "Classes that do not show in how rows lie, and wherever a model must not carry training rows.",
    "gives": ["probabilities"],
    "needs": {"unlabelled": True, "max_columns": 1000},
    "cost": {"scale": 1e-5, "rows_power": 1.3, "columns_power": 0.0},
    "references": [
        "Zhou et al. (2004), Learning with local and global consistency. NIPS 16.",
        "Zelnik-Manor and Perona (2004), Self-tuning spectral clustering. NIPS 17.",
    ],
    "advice": ["unlabelled", "irregular"],
    "priority": 15,
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
        "alpha": {
            "type": "float",
            "default": None,
            "low": 0.01,
            "high": 0.999,
            "tune": False,
            "text": "Share of its answer that a row takes from its neighbours; none: chosen on held-out labels.",
        },
    },
    "presets": [{"metric": "learnt"}, {"metric": "scaled"}],
    "tiny": [{"n_neighbors": 5, "metric": "given"}, {"metric": "learnt"}],
    "classes": {
        "classifier": {
            "class": "everymodel.models.semi_supervised.label_spreading:LabelSpreading",
            "tasks": ["binary", "multiclass"],
        },
    },
}


class LabelSpreading(_spreads.Spreads):
    """Spread labels over the graph of nearest rows: F = (1 - a) (I - a S)^-1 Y.

    Y (n, k) holds a 1 where a row's class is known; S are the graph's weights, normalised. Each row has its own scale
    of distances; the net is sparse, so memory grows with the rows and not with their square. Labels are held out
    in turn to choose `alpha` and how sure the answers are. New rows ask their nearest rows.

    Parameters
    ----------
    n_neighbors : rows to which each row is joined.
    alpha : share of its answer that a row takes from its neighbours, 0 to 1; None: chosen on held-out labels.
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
    Zhou et al. (2004); Zhu et al. (2003) for the balance of classes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> few = np.where(np.arange(len(y)) < 100, y, -1)
    >>> LabelSpreading(metric="given").fit(X, few).score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        n_neighbors: int = 7,
        *,
        alpha: float | None = None,
        metric: str = "even",
        balance: float = 0.5,
        random_state: Any = None,
    ):
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.metric = metric
        self.balance = balance
        self.random_state = random_state

    def _strengths(self) -> tuple[float, ...]:
        return (0.8, 0.95, 0.99) if self.alpha is None else (float(self.alpha),)

    def _spread(self, W: Any, Y: np.ndarray, labelled: np.ndarray, strength: float) -> np.ndarray:
        from scipy import sparse

        A = sparse.identity(len(Y), format="csr") - strength * normalised(W)
        return (1 - strength) * solve(A.tocsr(), Y)

    def _without(
        self, W: Any, Y: np.ndarray, labelled: np.ndarray, strength: float, parts: list[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Answers add up over labels, so those of each part by itself are worked out once, and then left out."""
        k = Y.shape[1]
        if len(Y) * k * len(parts) > _CELLS:
            yield from super()._without(W, Y, labelled, strength, parts)
            return
        alone = np.zeros((len(Y), len(parts) * k))
        for i, rows in enumerate(parts):
            alone[rows, i * k : (i + 1) * k] = Y[rows]
        F = self._spread(W, alone, labelled, strength).reshape(len(Y), len(parts), k)
        whole = F.sum(axis=1)
        for i in range(len(parts)):
            yield whole - F[:, i]


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
