"""Partial least squares: few mixtures of the columns that say most about the target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.components import Components
from everymodel.scoring.steps.linear import Linear

CARD = {
    "name": "partial_least_squares",
    "title": "Partial least squares",
    "summary": "Finds the few mixtures of correlated columns that say most about one or several targets.",
    "choose": "More columns than rows, or columns that nearly repeat each other, such as spectra and sensors.",
    "avoid": "Few unrelated columns, where ridge is as good and plainer, and curved relations.",
    "needs": {"scaling": "standard"},
    "cost": {"scale": 2e-8, "rows_power": 1.0, "columns_power": 1.0},
    "references": [
        "Wold, Sjöström and Eriksson (2001), PLS-regression: a basic tool of chemometrics.",
        "Dayal and MacGregor (1997), Improved PLS algorithms. Journal of Chemometrics 11.",
    ],
    "advice": ["correlated", "many_columns", "small_data"],
    "priority": None,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 100,
            "log": True,
            "text": "Number of mixtures; fewer are made where rows or columns do not allow more.",
        },
        "scale": {
            "type": "bool",
            "default": True,
            "tune": False,
            "text": "Whether columns are brought to variance 1 first.",
        },
    },
    "tiny": [{"n_components": 2}, {"n_components": 1, "scale": False}],
    "classes": {
        "regressor": {
            "class": "everymodel.models.decomposition.partial_least_squares:PLSRegression",
            "tasks": ["regression"],
            "gives": ["coefficients", "multioutput"],
            "presets": [{"n_components": 2}, {"n_components": 5}, {"n_components": 10}, {"n_components": 20}],
        },
        "reducer": {
            "class": "everymodel.models.decomposition.partial_least_squares:PLSCanonical",
            "tasks": ["reduce"],
            "gives": ["components"],
        },
    },
}

TINY = 1e-12  # of the squares at the start: what is left then is rounding


class _PLS(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What both share: centring, the check of what came, and `transform`."""

    def __init__(self, n_components: int = 2, *, scale: bool = True):
        self.n_components = n_components
        self.scale = scale

    def _start(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Centred and scaled X (n, p) and y (n, q); keeps the means and scales."""
        whole = isinstance(self.n_components, int | np.integer) and not isinstance(self.n_components, bool)
        if not whole or self.n_components < 1:
            raise ValueError(f"n_components={self.n_components!r} is not possible: expected a whole number from 1.")
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True, ensure_min_samples=2)
        y = np.asarray(y, dtype=np.float64)
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        self.x_mean_, self.y_mean_ = X.mean(axis=0), y.mean(axis=0)
        X, y = X - self.x_mean_, y - self.y_mean_
        self.x_scale_, self.y_scale_ = self._spread(X), self._spread(y)
        return X / self.x_scale_, y / self.y_scale_

    def _spread(self, centred: np.ndarray) -> np.ndarray:
        if not self.scale:
            return np.ones(centred.shape[1])
        spread = centred.std(axis=0, ddof=1)
        spread[spread < 1e-150] = 1.0
        return spread

    def _end(self, rotations: list[np.ndarray], most: int) -> None:
        """Keep the mixtures (p, d) of X, and say where fewer were made than asked for."""
        p = len(self.x_mean_)
        self.x_rotations_ = np.column_stack(rotations) if rotations else np.zeros((p, 1))
        self.n_components_ = self.x_rotations_.shape[1]
        if len(rotations) < self.n_components:
            warnings.warn(
                f"n_components={self.n_components}: only {len(rotations)} could be made, because rows, columns and "
                f"targets allow {most} at most and what is left then varies no more.",
                stacklevel=3,
            )

    def transform(self, X: Any, y: Any = None) -> Any:
        """Mixtures (n, d) of the columns of rows (n, p); with targets y, the pair of theirs too."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        mixtures = _mixtures(self)(X)
        if y is None:
            return mixtures
        y = check_array(y, input_name="y", dtype=np.float64, ensure_2d=False)
        y = y.reshape(len(y), -1)
        if y.shape[1] != len(self.y_mean_):
            raise ValueError(f"y has {y.shape[1]} columns; expected {len(self.y_mean_)} as in fit.")
        return mixtures, ((y - self.y_mean_) / self.y_scale_) @ self.y_rotations_

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """`fit` and `transform` of both."""
        return self.fit(X, y).transform(X, y)  # type: ignore[attr-defined]

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class PLSRegression(MultiOutputMixin, RegressorMixin, _PLS):
    """Regress one or several targets on few mixtures of the columns, chosen for their covariance with the targets.

    Each mixture t = X r has the largest covariance with a mixture of the targets of all that are uncorrelated with
    those before (PLS2, as NIPALS finds it); found from X'Y by the kernel algorithm, which never deflates X. With as
    many mixtures as independent columns the result is ordinary least squares.

    Parameters
    ----------
    n_components : number of mixtures; fewer, with a warning, where rows or columns do not allow more.
    scale : whether columns and targets are brought to variance 1 first.

    Attributes
    ----------
    coef_ : (p,), or (t, p) for several targets · intercept_ : number or (t,)
    x_rotations_ : (p, d), of centred and scaled columns · n_components_ : d
    x_weights_, x_loadings_ : (p, d) · y_loadings_, y_rotations_ : (t, d)

    References
    ----------
    Dayal and MacGregor (1997), Improved PLS algorithms. Journal of Chemometrics 11.
    """

    def fit(self, X: Any, y: Any) -> PLSRegression:
        """Learn from X (n, p) and y (n,) or (n, t)."""
        X, y = self._start(X, y)
        n, p = X.shape
        cross = X.T @ y  # (p, t)
        start = float(np.abs(cross).max(initial=0.0))
        weights, rotations, loadings, answers = [], [], [], []
        most = min(n - 1, p)
        whole = float(np.einsum("ij,ij->", X, X))
        for _ in range(min(self.n_components, most)):
            if not np.abs(cross).max(initial=0.0) > TINY * start:
                break
            w = _leading(cross)
            r = w.copy()
            for loading, rotation in zip(loadings, rotations):
                r -= (loading @ w) * rotation
            t = X @ r  # (n,)
            square = float(t @ t)
            if not square > TINY * whole:
                break
            loading = (t @ X) / square
            answer = (cross.T @ r) / square
            cross = cross - np.outer(loading, answer) * square
            weights.append(w)
            rotations.append(r)
            loadings.append(loading)
            answers.append(answer)
        self._end(rotations, most)
        self.x_weights_ = np.column_stack(weights) if weights else np.zeros((p, 1))
        self.x_loadings_ = np.column_stack(loadings) if loadings else np.zeros((p, 1))
        self.y_loadings_ = np.column_stack(answers) if answers else np.zeros((y.shape[1], 1))
        self.y_rotations_ = self.y_loadings_ @ np.linalg.pinv(self.y_loadings_.T @ self.y_loadings_)
        coef = (self.x_rotations_ @ self.y_loadings_.T) * self.y_scale_ / self.x_scale_[:, None]  # (p, t)
        intercept = self.y_mean_ - self.x_mean_ @ coef
        self.coef_ = coef[:, 0].copy() if self._flat else coef.T.copy()
        self.intercept_ = float(intercept[0]) if self._flat else intercept
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,) or (n, t) for rows (n, p)."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.regressor_tags.poor_score = True
        return tags


class PLSCanonical(_PLS):
    """Find pairs of mixtures, one of the columns X and one of the columns Y, that vary together as much as can be.

    Symmetric, unlike `PLSRegression`: both sides lose what a pair holds before the next is looked for. It needs a
    second set of columns, so it is used by itself, `PLSCanonical(2).fit(X, Y)`, and never tried by a search.

    Parameters
    ----------
    n_components : number of pairs, at most the smallest of rows, columns of X and columns of Y.
    scale : whether all columns are brought to variance 1 first.

    Attributes
    ----------
    x_rotations_ : (p, d) · y_rotations_ : (q, d) · x_weights_ : (p, d) · y_weights_ : (q, d)
    correlations_ : (d,) of each pair in the rows learnt from · n_components_ : d

    References
    ----------
    Wegelin (2000), A survey of partial least squares methods, with emphasis on the two-block case.
    """

    def fit(self, X: Any, y: Any) -> PLSCanonical:
        """Learn from X (n, p) and the second set of columns y, (n,) or (n, q)."""
        X, y = self._start(X, y)
        most = min(len(X) - 1, X.shape[1], y.shape[1])
        square = float(np.einsum("ij,ij->", X, X)), float(np.einsum("ij,ij->", y, y))
        start, us, vs, ps, qs, self.correlations_ = None, [], [], [], [], np.zeros(0)
        for _ in range(min(self.n_components, most)):
            cross = X.T @ y
            size = float(np.abs(cross).max(initial=0.0))
            start = size if start is None else start
            if not size > TINY * start:
                break
            u = _leading(cross)
            v = cross.T @ u
            v /= np.linalg.norm(v)
            t, s = X @ u, y @ v
            if not (t @ t > TINY * square[0] and s @ s > TINY * square[1]):
                break
            p, q = (t @ X) / (t @ t), (s @ y) / (s @ s)
            self.correlations_ = np.append(self.correlations_, float(t @ s / np.sqrt((t @ t) * (s @ s))))
            X, y = X - np.outer(t, p), y - np.outer(s, q)
            for kept, new in zip((us, vs, ps, qs), (u, v, p, q)):
                kept.append(new)
        self.x_weights_ = np.column_stack(us) if us else np.zeros((X.shape[1], 1))
        self.y_weights_ = np.column_stack(vs) if vs else np.zeros((y.shape[1], 1))
        rotations = self.x_weights_ @ np.linalg.pinv(np.column_stack(ps).T @ self.x_weights_) if us else None
        self.y_rotations_ = (
            self.y_weights_ @ np.linalg.pinv(np.column_stack(qs).T @ self.y_weights_) if us else self.y_weights_
        )
        self._end(list(rotations.T) if rotations is not None else [], most)
        return self


def _leading(cross: np.ndarray) -> np.ndarray:
    """The first left singular vector (p,) of (p, q), its largest entry positive."""
    if cross.shape[1] == 1:
        w = cross[:, 0] / np.linalg.norm(cross[:, 0])
    elif cross.shape[1] <= cross.shape[0]:
        w = cross @ np.linalg.eigh(cross.T @ cross)[1][:, -1]
        w /= np.linalg.norm(w)
    else:
        w = np.linalg.eigh(cross @ cross.T)[1][:, -1]
    return w if w[np.abs(w).argmax()] > 0 else -w


def _mixtures(model: Any) -> Components:
    axes = np.ascontiguousarray(model.x_rotations_ / model.x_scale_[:, None])
    return Components(np.asarray(model.x_mean_), axes, np.ones(axes.shape[1]))


def pack(model: Any) -> Step:
    """The fitted model as a scoring step: a line for regression, mixtures of columns for the canonical form."""
    if not isinstance(model, PLSRegression):
        return _mixtures(model)
    if model.coef_.ndim == 1:
        return Linear(np.asarray(model.coef_), np.asarray(model.intercept_))
    return Linear(np.ascontiguousarray(model.coef_.T), np.asarray(model.intercept_))
