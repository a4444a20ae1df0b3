"""Bayesian Gaussian mixture: clouds that the rows do not call for are left without weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import mixture as sk
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models.mixture import _clouds
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "bayesian_gaussian_mixture",
    "title": "Bayesian Gaussian mixture",
    "summary": "A Gaussian mixture that begins with more clouds than needed and empties those it can do without.",
    "choose": "Overlapping groups of unknown number, and few rows, where plain mixtures follow chance.",
    "avoid": "Groups of odd shapes, and more columns than some dozens with full covariances.",
    "gives": ["probabilities", "scores"],
    "needs": {"scaling": "standard", "max_columns": 300},
    "cost": {"scale": 2e-6, "rows_power": 1.47, "columns_power": 0.1},
    "references": [
        "Attias (1999), A variational Bayesian framework for graphical models. NeurIPS 12.",
        "Blei and Jordan (2006), Variational inference for Dirichlet process mixtures. Bayesian Analysis 1(1).",
    ],
    "advice": ["groups", "overlap", "small_data"],
    "priority": 50,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 10,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Most clouds there may be.",
        },
        "covariance_type": {
            "type": "choice",
            "default": "full",
            "choices": ["full", "tied", "diag", "spherical"],
            "text": "Shape of the clouds: each its own, all one, along the columns, or round.",
        },
        "weight_concentration_prior_type": {
            "type": "choice",
            "default": "dirichlet_process",
            "choices": ["dirichlet_process", "dirichlet_distribution"],
            "tune": False,
            "text": "What is believed of the weights: a few large ones, or all alike.",
        },
        "weight_concentration_prior": {
            "type": "float",
            "default": None,
            "low": 1e-6,
            "high": 1e6,
            "log": True,
            "text": "Small values leave fewer clouds with weight; by default one over the number of clouds.",
        },
        "reg_covar": {
            "type": "float",
            "default": 1e-6,
            "low": 0.0,
            "high": 1.0,
            "tune": False,
            "text": "Added to the variances, as a share of each column's, so that no cloud becomes flat.",
        },
        "n_init": {
            "type": "int",
            "default": 1,
            "low": 1,
            "high": 100,
            "tune": False,
            "text": "Number of starts, of which the best is kept.",
        },
    },
    "tiny": [{"n_components": 4}, {"n_components": 3, "covariance_type": "diag"}],
    "presets": [{}, {"covariance_type": "diag"}],
    "classes": {
        "clusterer": {
            "class": "everymodel.models.mixture.bayesian_gaussian_mixture:BayesianGaussianMixture",
            "tasks": ["cluster"],
        },
    },
}


class BayesianGaussianMixture(ClusterMixin, BaseEstimator):
    """Fit a Gaussian mixture by variational Bayes, whose prior empties clouds without need (Attias 1999).

    The fit is scikit-learn's, on scaled columns. Groups are the clouds that hold rows; the confidence in one is its
    responsibility among those, at the expected parameters.

    Parameters
    ----------
    n_components : most clouds there may be.
    covariance_type : "full", "tied", "diag" or "spherical".
    weight_concentration_prior_type : "dirichlet_process" or "dirichlet_distribution".
    weight_concentration_prior : small values leave fewer clouds; None for 1 / n_components.
    reg_covar : added to the variances, as a share of each column's variance.
    n_init, max_iter, tol, random_state : of the fit.

    Attributes
    ----------
    labels_ (n,) · groups_ : clouds that hold rows; label j is cloud groups_[j] · weights_ (k,) · means_ (k, p) ·
    covariances_ · converged_, n_iter_, lower_bound_.

    Raises
    ------
    DataError : for fewer rows than clouds.
    """

    def __init__(
        self,
        n_components: int = 10,
        covariance_type: str = "full",
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        reg_covar: float = 1e-6,
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-3,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.reg_covar = reg_covar
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> BayesianGaussianMixture:
        """Fit the clouds to X (n, p); y is ignored."""
        _clouds.check(self)
        if self.n_components is None:
            raise ParameterError("n_components=None is not possible here: expected the most clouds there may be.")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        _clouds.adopt(
            self,
            *_clouds.fit_scaled(
                self,
                X,
                lambda _: sk.BayesianGaussianMixture(
                    n_components=int(self.n_components),
                    covariance_type=self.covariance_type,
                    weight_concentration_prior_type=self.weight_concentration_prior_type,
                    weight_concentration_prior=self.weight_concentration_prior,
                    reg_covar=self.reg_covar,
                    n_init=self.n_init,
                    max_iter=self.max_iter,
                    tol=self.tol,
                    random_state=self.random_state,
                ),
            ),
        )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Responsibility (n, groups) of each group for each row."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))

    def predict(self, X: Any) -> np.ndarray:
        """The group of each row (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def score_samples(self, X: Any) -> np.ndarray:
        """Expected log-density (n,) of each row, up to what the unknown parameters leave open."""
        check_is_fitted(self)
        return -_clouds.density(self)(validate_data(self, X, dtype=np.float64, reset=False))


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return _clouds.membership(model)
