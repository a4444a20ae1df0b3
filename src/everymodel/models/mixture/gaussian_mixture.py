"""Gaussian mixture: rows come from several clouds, each with its own centre, shape and weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import mixture as sk
from sklearn.base import BaseEstimator, ClusterMixin, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models._answers import Threshold
from everymodel.models.mixture import _clouds
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "gaussian_mixture",
    "title": "Gaussian mixture",
    "summary": "Describes the rows as a sum of Gaussian clouds, and says how much each row belongs to which.",
    "choose": "Groups that overlap, or are longer in one direction; where shares of membership are wanted.",
    "avoid": "Groups of odd shapes, far-off rows, and more columns than some dozens with full covariances.",
    "gives": ["probabilities", "scores"],
    "needs": {"scaling": "standard", "max_columns": 300},
    "cost": {"scale": 1.4e-4, "rows_power": 0.86, "columns_power": 0.3},
    "references": [
        "Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm. JRSS B 39(1).",
        "Schwarz (1978), Estimating the dimension of a model. Annals of Statistics 6(2).",
    ],
    "advice": ["groups", "overlap", "basic"],
    "priority": 20,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of clouds; by default the one with the least Bayesian information criterion.",
        },
        "covariance_type": {
            "type": "choice",
            "default": "full",
            "choices": ["full", "tied", "diag", "spherical"],
            "text": "Shape of the clouds: each its own, all one, along the columns, or round.",
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
            "default": 5,
            "low": 1,
            "high": 100,
            "tune": False,
            "text": "Runs of k-means, of which the best is where the fit starts.",
        },
        "max_components": {
            "type": "int",
            "default": 10,
            "low": 1,
            "high": 1000,
            "tune": False,
            "text": "Most clouds that are tried where their number is looked for.",
        },
    },
    "tiny": [{"n_components": 3}, {"n_components": 2, "covariance_type": "tied"}],
    "presets": [{}, {"covariance_type": "diag"}],
    "classes": {
        "clusterer": {"class": "everymodel.models.mixture.gaussian_mixture:GaussianMixture", "tasks": ["cluster"]},
        "detector": {
            "class": "everymodel.models.mixture.gaussian_mixture:GaussianMixtureDetector",
            "tasks": ["anomaly"],
            "title": "Gaussian mixture density",
            "summary": "Calls a row odd where a sum of Gaussian clouds, fitted to all rows, is thin.",
            "choose": "Normal rows that form one or several clouds, in up to some dozens of columns.",
            "avoid": "Many odd rows that form a cloud themselves, and columns with few values.",
            "gives": ["scores"],
            "advice": ["anomalies", "groups"],
            "priority": 50,
            "parameters": {
                "contamination": {
                    "type": "float",
                    "default": 0.1,
                    "low": 0.0001,
                    "high": 0.5,
                    "tune": False,
                    "text": "Expected share of odd rows, which sets the threshold of predict.",
                },
            },
            "tiny": [{"n_components": 2}, {"covariance_type": "diag", "max_components": 3}],
        },
    },
}


class _Clouds(BaseEstimator):
    """What the clusterer and the detector share."""

    n_components: int | None
    covariance_type: str
    reg_covar: float
    n_init: int
    max_components: int
    max_iter: int
    tol: float
    random_state: Any

    def _fit_clouds(self, X: Any) -> np.ndarray:
        _clouds.check(self)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))  # every number of clouds begins alike

        def make(Z: np.ndarray, k: int) -> sk.GaussianMixture:
            return sk.GaussianMixture(
                k,
                covariance_type=self.covariance_type,
                reg_covar=self.reg_covar,
                max_iter=self.max_iter,
                tol=self.tol,
                init_params="random_from_data",  # replaced by the start
                random_state=seed,
                **_clouds.start(Z, k, self.covariance_type, self.reg_covar, self.n_init, seed),
            )

        if self.n_components is None:
            fitted, self.bics_ = _clouds.best_by_bic(self, X, make, self.max_components)
        else:
            fitted = _clouds.fit_scaled(self, X, lambda Z: make(Z, int(self.n_components)))
            self.bics_ = {}
        _clouds.adopt(self, *fitted)
        inner, _, spread, Z = fitted
        shift = 2 * len(X) * float(np.log(spread).sum())
        self.bic_, self.aic_ = float(inner.bic(Z)) + shift, float(inner.aic(Z)) + shift
        self.bics_.setdefault(int(inner.n_components), self.bic_)
        return X

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-density (n,) of each row."""
        check_is_fitted(self)
        return -_clouds.density(self)(validate_data(self, X, dtype=np.float64, reset=False))


class GaussianMixture(ClusterMixin, _Clouds):
    """Fit a sum of Gaussian clouds by expectation maximisation, and give each row to the likeliest (Dempster 1977).

    The density is sum_k w_k N(x; m_k, S_k); the confidence in group k is w_k N(x; m_k, S_k) / density. The fit is
    scikit-learn's, on scaled columns, from a better start.

    Parameters
    ----------
    n_components : number of clouds; None tries 1, 2, ... up to `max_components` and keeps the one with the least
        Bayesian information criterion, until three in a row were no better.
    covariance_type : "full" (each cloud its own shape), "tied" (one shape), "diag" (axes along the columns),
        "spherical" (round).
    reg_covar : added to the variances, as a share of each column's variance.
    n_init : runs of k-means, of which the best is where the fit starts. max_iter, tol : of expectation maximisation.
    max_components : see `n_components`. random_state : of the starts.

    Attributes
    ----------
    labels_ (n,) · weights_ (k,) · means_ (k, p) · covariances_ : shape by type, as scikit-learn's · bic_, aic_ : of the
    fit · bics_ : number of clouds -> BIC, of all that were tried · groups_ : clouds that hold rows; label j is cloud
    groups_[j] · converged_, n_iter_, lower_bound_.

    Raises
    ------
    DataError : for fewer rows than clouds, or clouds that become flat (with reg_covar=0).

    Examples
    --------
    >>> import numpy as np
    >>> from everymodel import GaussianMixture
    >>> X = np.r_[np.zeros(50), np.full(50, 9.0)][:, None] + np.random.default_rng(0).normal(size=(100, 1))
    >>> len(GaussianMixture(random_state=0).fit(X).means_)
    2
    """

    def __init__(
        self,
        n_components: int | None = None,
        covariance_type: str = "full",
        reg_covar: float = 1e-6,
        n_init: int = 5,
        max_iter: int = 100,
        tol: float = 1e-3,
        max_components: int = 10,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.max_components = max_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> GaussianMixture:
        """Fit the clouds to X (n, p); y is ignored."""
        self._fit_clouds(X)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Responsibility (n, groups) of each group for each row."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))

    def predict(self, X: Any) -> np.ndarray:
        """The group of each row (n,)."""
        return self.predict_proba(X).argmax(axis=1)


class GaussianMixtureDetector(Threshold, OutlierMixin, _Clouds):
    """Call rows odd where the density of a Gaussian mixture is low.

    Parameters
    ----------
    contamination : expected share of odd rows, above 0 and at most 0.5.
    The others are those of `GaussianMixture`.

    Attributes
    ----------
    offset_ : threshold on `score_samples`, the log-density · weights_, means_, covariances_, bic_, bics_ : see
    `GaussianMixture`.
    """

    def __init__(
        self,
        n_components: int | None = None,
        covariance_type: str = "full",
        contamination: float = 0.1,
        reg_covar: float = 1e-6,
        n_init: int = 5,
        max_iter: int = 100,
        tol: float = 1e-3,
        max_components: int = 10,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.contamination = contamination
        self.reg_covar = reg_covar
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.max_components = max_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> GaussianMixtureDetector:
        """Fit the clouds to X (n, p); y is ignored."""
        if not 0 < self.contamination <= 0.5:
            raise ParameterError(
                f"contamination={self.contamination!r} is not possible: expected above 0, at most 0.5."
            )
        X = self._fit_clouds(X)
        del self.labels_
        self.offset_ = float(np.quantile(self.score_samples(X), self.contamination))
        return self


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return _clouds.density(model) if isinstance(model, GaussianMixtureDetector) else _clouds.membership(model)
