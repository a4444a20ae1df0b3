"""The plain statistical model of a mixed table: the shape of each column, and one number for each pair of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from everymodel.models.generative._table import TableModel, fit, learn, with_target
from everymodel.models.generative._table_quality import evaluate
from everymodel.scoring import cells
from everymodel.scoring.made_fields import Field, score_of, share_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.made_tables import CopulaTable

__all__ = ["CARD", "GaussianCopula", "evaluate", "fit", "pack"]

CARD = {
    "name": "gaussian_copula",
    "title": "Gaussian copula",
    "summary": "Makes rows of a table from the shape of each column and the correlation of each pair.",
    "choose": "A first, fast synthetic table; few rows; a baseline that the other models of tables must beat.",
    "avoid": "Tables whose columns depend on each other in ways that one number for a pair cannot say.",
    "gives": ["samples"],
    "needs": {"inputs": "table"},
    "cost": {"scale": 1e-6, "rows_power": 1.0, "columns_power": 1.2},
    "references": [
        "Nelsen (2006), An introduction to copulas.",
        "Patki, Wedge and Veeramachaneni (2016), The synthetic data vault.",
    ],
    "advice": ["basic", "interpretable"],
    "priority": 20,
    "parameters": {
        "shrinkage": {
            "type": "float",
            "default": 0.001,
            "low": 0.0,
            "high": 1.0,
            "log": False,
            "text": "How far correlations are drawn towards none.",
        },
    },
    "tiny": [{"random_state": 0}, {"shrinkage": 0.2, "random_state": 1}],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.gaussian_copula:GaussianCopula", "tasks": ["generate"]},
    },
}
_TERMS = 7  # Hermite polynomials
_LEAST = 1e-6  # shrinkage, so that columns that say the same leave a proper distribution


class GaussianCopula(TableModel, BaseEstimator):
    """Every cell becomes a normal score z = Phi^-1(F(x)), and rows of scores are drawn from N(0, R).

        R = (1 - s) C + s I,    x = F^-1(Phi(z))

    C holds the correlations of the scores behind each pair of columns (polychoric where they hold words). F is the
    distribution of its column, with words and missing cells as intervals as wide as they are frequent; words
    are put in an order along which the other columns change most, so that a correlation can say something of them.
    What is asked for is obeyed by the conditional normal distribution: z_f | z_g ~ N(R_fg R_gg^-1 z_g, ...).

    Parameters
    ----------
    shrinkage : s. random_state : of the places of cells within ties.

    Attributes
    ----------
    step_, form_, notes_, correlation_ (columns, columns)

    Raises
    ------
    DataError

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> age = rng.integers(20, 60, 400)
    >>> frame = pd.DataFrame({"age": age, "pay": age * 100.0 + rng.normal(0, 50, 400), "old": age > 40})
    >>> made = GaussianCopula(random_state=0).fit(frame).sample(300, {"old": True}, seed=1)
    >>> bool(made.old.all()), bool((made.age > 38).mean() > 0.9), made.age.dtype == frame.age.dtype
    (True, True, True)
    """

    def __init__(self, shrinkage: float = 0.001, random_state: int | None = None):
        self.shrinkage = shrinkage
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> GaussianCopula:
        """Learn from a table X (a frame, or rows (n, p)); y (n,) is one more column of it."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        frame = with_target(X, y)
        first = learn(frame, seed=seed)
        direction = _direction(score_of(first.u))
        self.form_ = learn(frame, seed=seed, order=lambda texts, words: _along(texts, words, direction))
        shrink = max(float(self.shrinkage), _LEAST)
        ties = _ties(self.form_.fields, self.form_.u)
        self.correlation_ = (1 - shrink) * ties + shrink * np.eye(len(ties))
        self.step_ = CopulaTable(form=self.form_.fields, ties=self.correlation_)
        self.notes_ = list(self.form_.notes)
        return self


def _ties(fields: tuple[Field, ...], u: np.ndarray) -> np.ndarray:
    """(columns, columns) correlations of the scores behind the cells.

    A word tells of its score only that it lies in an interval, so correlations of scores drawn in these would be too
    small. With m = E[z | cell] and its coefficients c_k of the Hermite polynomials, E m m' = sum_k c_k c'_k r^k, which
    is solved for r (polychoric correlation).
    """
    grid = score_of((np.arange(4000) + 0.5) / 4000)
    basis = np.stack(
        [hermeval(grid, np.eye(_TERMS + 1)[k]) / math.sqrt(math.factorial(k)) for k in range(1, _TERMS + 1)]
    )
    told, shape = np.empty_like(u), np.empty((len(fields), _TERMS))
    for i, f in enumerate(fields):
        told[:, i] = _middle(f, u[:, i])
        shape[i] = basis @ _middle(f, share_of(grid)) / len(grid)
    told -= told.mean(axis=0)
    seen = told.T @ told / len(told)
    best, ties = np.full(seen.shape, np.inf), np.zeros_like(seen)
    for r in np.linspace(-0.995, 0.995, 200 if len(fields) <= 300 else 30):
        gap = np.abs((shape * r ** np.arange(1, _TERMS + 1)) @ shape.T - seen)
        nearer = gap < best - 1e-12
        best, ties = np.where(nearer, gap, best), np.where(nearer, r, ties)
    ties[(seen == 0) | (np.diag(seen) < 1e-9)[:, None] | (np.diag(seen) < 1e-9)] = 0.0
    np.fill_diagonal(ties, 1.0)
    w, v = np.linalg.eigh(0.5 * (ties + ties.T))
    ties = (v * np.maximum(w, 1e-4)) @ v.T
    scale = np.sqrt(np.diag(ties))
    ties = ties / scale / scale[:, None]
    return 0.5 * (ties + ties.T)


def _middle(field: Field, u: np.ndarray) -> np.ndarray:
    """(n,) E[z | cell]: the score itself, or the mean score of the piece where one cell is all of it."""
    ends = score_of(field.edges)
    density = np.exp(-0.5 * ends**2) / math.sqrt(2 * math.pi)
    density[[0, -1]] = 0.0
    mean = -np.diff(density) / np.diff(field.edges)
    single = field.low == field.high
    piece = field.pieces(u)
    return np.where(single[piece], mean[piece], score_of(u))


def _direction(z: np.ndarray) -> np.ndarray:
    """(n,) place of each row along the direction in which scores vary most together."""
    z = z - z.mean(axis=0)
    _, vectors = np.linalg.eigh(z.T @ z)
    return z @ vectors[:, -1]


def _along(texts: np.ndarray, words: list[str], direction: np.ndarray) -> np.ndarray:
    place = {w: i for i, w in enumerate(words)}
    codes = np.array([place.get(t, -1) for t in cells.as_text(texts)])
    good = codes >= 0
    total = np.bincount(codes[good], direction[good], minlength=len(words))
    return np.argsort(total / np.maximum(np.bincount(codes[good], minlength=len(words)), 1), kind="stable")


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes rows."""
    return model._step()
