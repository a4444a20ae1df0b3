"""Polynomial regression: a ridge over powers and products of the columns, with sane defaults."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.linear import Polynomial, polynomial_terms

CARD = {
    "name": "polynomial",
    "title": "Polynomial regression",
    "summary": "Ridge over powers and products of the columns: smooth curves and pairwise interactions.",
    "choose": "Smooth curved relations between a few number columns.",
    "avoid": "Many columns (terms multiply), jumps and steps, answers far outside of the data seen.",
    "gives": ["coefficients"],
    "needs": {"scaling": "standard", "max_columns": 200},
    "cost": {"scale": 9.4e-06, "rows_power": 0.9, "columns_power": 0.9},
    "references": ["Gergonne (1815), Application de la methode des moindres quarres a l'interpolation des suites."],
    "advice": ["curved", "interactions", "small_data"],
    "priority": 18,
    "classes": {
        "regressor": {
            "class": "everymodel.models.linear.polynomial:PolynomialRegression",
            "tasks": ["regression"],
            "parameters": {
                "degree": {
                    "type": "int",
                    "default": 2,
                    "low": 1,
                    "high": 5,
                    "text": "Highest power of a column, and number of columns in a product (products stop at 3).",
                },
                "alpha": {
                    "type": "float",
                    "default": None,
                    "low": 1e-6,
                    "high": 1e6,
                    "log": True,
                    "tune": False,
                    "text": "How strongly coefficients are pulled towards zero; none: chosen by leaving one out.",
                },
                "max_terms": {
                    "type": "int",
                    "default": 1000,
                    "low": 1,
                    "high": 20000,
                    "tune": False,
                    "text": "Most terms; products of the columns that matter least are dropped first.",
                },
            },
            "presets": [{"degree": 2}, {"degree": 3}],
            "tiny": [{}, {"degree": 3, "alpha": 1.0, "max_terms": 30}],
        },
    },
}

_ALPHAS = np.logspace(-3, 5, 17)


class PolynomialRegression(RegressorMixin, BaseEstimator):
    """Ridge regression over powers and products of the standardised columns.

    Use it for smooth curves over a few number columns: y = b + sum_j w_j x_j + sum_jk w_jk x_j x_k + ...
    Columns are standardised and held within what was seen (with a margin) before they are multiplied, so that one
    outlier cannot send the answer to the moon. Columns of two values are not raised to powers.

    Parameters
    ----------
    degree : int, default 2
        Highest power of a column. Products of different columns have at most min(degree, 3) factors.
    alpha : float or None, default None
        Strength of the ridge; None chooses among 17 values by leave-one-out error.
    max_terms : int, default 1000
        Most terms. Beyond it, products go to the columns most correlated with the target.

    Attributes
    ----------
    terms_ : ndarray (m, d) of int
        Column numbers of each term, -1 where it has fewer factors.
    coef_ : ndarray (m,)
    intercept_ : float
    alpha_ : float
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(-2, 2, 50)[:, None]
    >>> model = PolynomialRegression(degree=2).fit(X, 3 * X[:, 0] ** 2)
    >>> bool(abs(model.predict([[1.0]])[0] - 3.0) < 0.01)
    True
    """

    def __init__(self, degree: int = 2, alpha: float | None = None, max_terms: int = 1000):
        self.degree = degree
        self.alpha = alpha
        self.max_terms = max_terms

    def fit(self, X: Any, y: Any) -> PolynomialRegression:
        """Learn from X (n, p) and y (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        y = np.asarray(y, dtype=np.float64)
        spread = X.std(axis=0)
        self.centre_ = X.mean(axis=0)
        self.scale_ = np.where(spread > 1e-12 * (1.0 + np.abs(self.centre_)), spread, 1.0)
        Z = (X - self.centre_) / self.scale_
        margin = 0.1 * (Z.max(axis=0) - Z.min(axis=0))
        self.low_, self.high_ = Z.min(axis=0) - margin, Z.max(axis=0) + margin
        self.terms_ = self._choose_terms(Z, y)
        T = polynomial_terms(X, self.centre_, self.scale_, self.low_, self.high_, self.terms_)  # (n, m)
        size = T.std(axis=0)
        size[size < 1e-12] = 1.0  # ridge should hold back every term alike, whatever its size
        ridge = RidgeCV(_ALPHAS) if self.alpha is None else Ridge(self.alpha)
        ridge.fit(T / size, y)
        self.alpha_ = float(ridge.alpha_) if self.alpha is None else float(self.alpha)
        self.coef_ = ridge.coef_ / size
        self.intercept_ = float(ridge.intercept_)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Answers (n,) for X (n, p)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return pack(self)(X)

    def _choose_terms(self, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Terms in the order: columns, powers, products of the most telling columns; (m, degree) ints."""
        p, degree = Z.shape[1], int(self.degree)
        terms = [(j,) for j in range(p)]
        with np.errstate(invalid="ignore", divide="ignore"):
            c = np.nan_to_num(np.abs((Z * (y - y.mean())[:, None]).mean(axis=0)))
        order = [int(j) for j in np.argsort(-c, kind="stable")]
        plain = {j for j in range(p) if len(np.unique(Z[:1000, j])) <= 2}
        for power in range(2, degree + 1):
            terms += [(j,) * power for j in order if j not in plain]
            if power > 3:
                continue
            # Telling columns come first: all products among the best i columns before any with the next.
            products = (
                t for i in range(len(order)) for t in _with_last(order, i, power) if len(set(t)) > 1 and _fits(t, plain)
            )
            for term in products:
                if len(terms) >= self.max_terms:
                    break
                terms.append(term)
        terms = terms[: max(int(self.max_terms), 1)]
        table = np.full((len(terms), max(map(len, terms))), -1, dtype=np.int32)
        for row, term in zip(table, terms):
            row[: len(term)] = term
        return table


def _with_last(order: list[int], i: int, power: int) -> Any:
    """Products of `power` columns out of order[: i + 1] that contain order[i]."""
    for others in combinations_with_replacement(range(i + 1), power - 1):
        yield (*(order[o] for o in others), order[i])


def _fits(term: tuple[int, ...], plain: set[int]) -> bool:
    """Whether no two-valued column is repeated in the term."""
    return all(term.count(j) == 1 for j in set(term) & plain)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return Polynomial(
        model.centre_,
        model.scale_,
        model.low_,
        model.high_,
        model.terms_,
        model.coef_,
        np.asarray(model.intercept_, dtype=np.float64),
    )
