"""Gaussian process: smooth functions of all shapes, weighted by how well they fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import gaussian_process as sk
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models._place import codes_of
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.gaussian_process import GaussianProcess, GaussianProcessProbabilities

CARD = {
    "name": "gaussian_process",
    "title": "Gaussian process",
    "summary": "Weighs all smooth functions by how well they fit, and knows how unsure it is away from the data.",
    "choose": "A few hundred rows of an expensive experiment, when the uncertainty is wanted as well.",
    "avoid": "More than about two thousand rows: time grows with their cube. Mostly categorical columns.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_rows": 2000, "max_columns": 200},
    "cost": {"scale": 3e-08, "rows_power": 2.3, "columns_power": 0.4},
    "references": ["Rasmussen and Williams (2006), Gaussian processes for machine learning. MIT Press."],
    "advice": ["small_data", "uncertainty", "smooth"],
    "priority": 70,
    "parameters": {
        "kernel": {
            "type": "choice",
            "default": "matern",
            "choices": ["matern", "rbf"],
            "text": "'matern' allows for kinks, 'rbf' is perfectly smooth.",
        },
        "search_steps": {
            "type": "int",
            "default": 12,
            "low": 0,
            "high": 1000,
            "tune": False,
            "text": "Most steps in the search for the kernel's lengths.",
        },
        "tune_rows": {
            "type": "int",
            "default": 250,
            "low": 10,
            "high": 10000,
            "tune": False,
            "text": "Rows (drawn at random) on which the kernel's lengths are found.",
        },
    },
    "presets": [{"kernel": "matern"}],
    "tiny": [{"search_steps": 5, "random_state": 0}, {"kernel": "rbf", "search_steps": 3, "random_state": 0}],
    "classes": {
        "classifier": {
            "class": "everymodel.models.kernel.gaussian_process:GaussianProcessClassifier",
            "tasks": ["binary", "multiclass"],
            "needs": {"scaling": "standard", "max_rows": 1000, "max_columns": 200},
        },
        "regressor": {
            "class": "everymodel.models.kernel.gaussian_process:GaussianProcessRegressor",
            "tasks": ["regression"],
            "gives": ["intervals"],
        },
    },
}

_EACH = 20  # up to so many columns, each gets a length of its own


def _kernel(kind: str, p: int, noise: bool) -> Any:
    length = np.ones(p) if p <= _EACH else np.sqrt(p)
    shape = RBF(length, (1e-2, 1e4)) if kind == "rbf" else Matern(length, (1e-2, 1e4), nu=1.5)
    kernel = ConstantKernel(1.0, (1e-3, 1e4)) * shape
    return kernel + WhiteKernel(0.1, (1e-6, 1e2)) if noise else kernel


def _optimizer(steps: int) -> Any:
    """A bounded L-BFGS: scikit-learn's own may take thousands of steps."""

    def minimise(objective: Any, start: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
        from scipy.optimize import minimize

        found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": steps})
        return found.x, found.fun

    return minimise


class _Process(BaseEstimator):
    def __init__(self, kernel: str = "matern", search_steps: int = 12, tune_rows: int = 250, random_state: Any = None):
        self.kernel = kernel
        self.search_steps = search_steps
        self.tune_rows = tune_rows
        self.random_state = random_state

    def _learn(self, make: Any, kernel: Any, X: np.ndarray, y: np.ndarray, some: np.ndarray) -> Any:
        """Find the kernel on `some` rows, then fit on all of them."""
        if self.search_steps:
            kernel = make(kernel, _optimizer(self.search_steps)).fit(X[some], y[some]).kernel_
        return make(kernel, None).fit(X, y)

    def _some(self, y: np.ndarray, classes: bool) -> np.ndarray:
        """Row numbers for the search, at least some of each class."""
        n = len(y)
        if n <= self.tune_rows:
            return np.arange(n)
        order = check_random_state(self.random_state).permutation(n)
        if classes:
            order = np.concatenate([_first_of_each(y, order), order])
            order = order[np.sort(np.unique(order, return_index=True)[1])]
        return np.sort(order[: self.tune_rows])


def _first_of_each(y: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The first five row numbers of each class in the given order."""
    return np.concatenate([order[y[order] == c][:5] for c in np.unique(y)])


class GaussianProcessRegressor(RegressorMixin, _Process):
    """Gaussian process regression with a kernel that finds its own lengths and noise.

    f ~ GP(mean of y, c * k(|x - x'| / l) + noise), with k Matern of smoothness 3/2 or rbf. Lengths l (one per column
    up to 20 columns), c and the noise maximise the likelihood of up to `tune_rows` rows; then all rows are used.

    Parameters
    ----------
    kernel : "matern" or "rbf"
    search_steps : int, default 12
        Most steps of that search.
    tune_rows : int, default 250
    random_state : int or None
        Draws those rows.

    Attributes
    ----------
    process_ : sklearn.gaussian_process.GaussianProcessRegressor
    n_features_in_ : int

    Examples
    --------
    >>> X = np.linspace(0, 6, 30)[:, None]
    >>> model = GaussianProcessRegressor().fit(X, np.sin(X[:, 0]))
    >>> bool(abs(model.predict([[1.5]])[0] - np.sin(1.5)) < 0.05)
    True
    """

    def fit(self, X: Any, y: Any) -> GaussianProcessRegressor:
        """Learn from X (n, p), y (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)

        def make(kernel: Any, optimizer: Any) -> Any:
            return sk.GaussianProcessRegressor(clone(kernel), optimizer=optimizer, normalize_y=True)

        y = np.asarray(y, dtype=np.float64)
        self.process_ = self._learn(make, _kernel(self.kernel, X.shape[1], True), X, y, self._some(y, False))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Answers (n,), and with `return_std` their standard deviations (n,) (noise included)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.process_.predict(X, return_std=return_std)


class GaussianProcessClassifier(ClassifierMixin, _Process):
    """Gaussian process classification (Laplace's approximation; one process per class against the rest).

    Parameters, attributes: as GaussianProcessRegressor, and `classes_`.

    Examples
    --------
    >>> X = np.linspace(-2, 2, 40)[:, None]
    >>> model = GaussianProcessClassifier().fit(X, np.abs(X[:, 0]) > 1)
    >>> bool(model.predict([[0.0]])[0])
    False
    """

    def fit(self, X: Any, y: Any) -> GaussianProcessClassifier:
        """Learn from X (n, p) and classes y (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        k = len(self.classes_)
        if k < 2:
            raise ValueError(f"GaussianProcessClassifier needs two classes or more, but y has {k} class.")

        def make(kernel: Any, optimizer: Any) -> Any:
            return sk.GaussianProcessClassifier(clone(kernel), optimizer=optimizer)

        targets = [codes] if k == 2 else [(codes == c).astype(int) for c in range(k)]
        kernel = _kernel(self.kernel, X.shape[1], False)
        some = self._some(codes, True)
        self.processes_ = [self._learn(make, kernel, X, t, some) for t in targets]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        shares = np.column_stack([process.predict_proba(X)[:, 1] for process in self.processes_])  # (n, 1 or k)
        if shares.shape[1] == 1:
            return np.hstack([1.0 - shares, shares])
        total = shares.sum(axis=1, keepdims=True)
        return np.divide(shares, total, out=shares, where=total != 0)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]


def _shape(kernel: Any, p: int) -> tuple[float, np.ndarray]:
    """(scale, lengths (p,)) of constant * shape."""
    return float(kernel.k1.constant_value), np.broadcast_to(np.asarray(kernel.k2.length_scale, float), (p,)).copy()


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step; it holds the prepared training rows."""
    p = model.n_features_in_
    if not hasattr(model, "classes_"):
        inner = model.process_
        scale, length = _shape(inner.kernel_.k1, p)
        spread, mean = float(np.squeeze(inner._y_train_std)), float(np.squeeze(inner._y_train_mean))
        weights = np.asarray(inner.alpha_, dtype=np.float64).reshape(-1) * spread
        return GaussianProcess(inner.X_train_, weights, length, np.array(mean), scale, model.kernel)
    codes, k = codes_of(model, n_classes)
    inner = [process.base_estimator_ for process in model.processes_]
    scale, length = zip(*(_shape(one.kernel_, p) for one in inner))
    binary = len(inner) == 1
    return GaussianProcessProbabilities(
        rows=inner[0].X_train_,
        weights=np.array([one.y_train_ - one.pi_ for one in inner], dtype=np.float64),
        length=np.array(length),
        scale=np.array(scale),
        matrix=np.array([np.linalg.inv(one.L_) * one.W_sr_ for one in inner]),
        places=(codes[1:] if binary else codes).astype(np.int32),
        classes=k,
        kernel=model.kernel,
        other=int(codes[0]) if binary else None,
    )
