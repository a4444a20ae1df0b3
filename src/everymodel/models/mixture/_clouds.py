"""Plumbing of the Gaussian mixtures: scaling before and after the fit, the number of clouds, and the scoring step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring.steps.mixture import Mixture, MixtureDensity

_SAMPLE = 5000  # rows that starts are looked for on
COVARIANCES = ("full", "tied", "diag", "spherical")


def check(model: Any) -> None:
    """Raise ParameterError unless the parameters that all mixtures share are possible."""
    most = model.n_components
    if most is not None and (isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1):
        raise ParameterError(f"n_components={most!r} is not possible: expected a whole number of at least 1, or None.")
    if model.covariance_type not in COVARIANCES:
        raise ParameterError(f"covariance_type={model.covariance_type!r} is unknown: expected one of {COVARIANCES}.")
    if not model.reg_covar >= 0:
        raise ParameterError(f"reg_covar={model.reg_covar!r} is not possible: expected 0 or more.")


def fit_scaled(model: Any, X: np.ndarray, make: Callable[[], Any]) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Fit what `make` gives for the scaled rows, a mixture of scikit-learn, on them.

    Columns are centred and divided by their standard deviation (all by one number where clouds are to be round), so
    that `reg_covar` means the same share of every column's variance, whatever its unit. A mixture does not depend on
    the scale otherwise.
    """
    most = float(np.abs(X).max(initial=0.0))
    if most > 1e150:
        raise DataError(f"The rows hold numbers up to {most:.3g}, expected at most 1e150: scale them first.")
    center = X.mean(axis=0)
    spread = X.std(axis=0)
    if model.covariance_type == "spherical":
        spread = np.full(len(spread), np.sqrt(np.mean(spread**2)))
    spread = np.where(spread > 1e-12 * np.maximum(np.abs(center), 1e-300), spread, 1.0)
    Z = (X - center) / spread
    if model.n_components is not None and len(X) < model.n_components:
        raise DataError(
            f"There are {len(X)} rows for n_components={model.n_components}: give more rows or ask for fewer."
        )
    inner = make(Z)
    with warnings.catch_warnings():
        # Fewer different rows than clouds: k-means, which finds the start, says so in words about itself.
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        try:
            inner.fit(Z)
        except ValueError as error:
            if not any(word in str(error) for word in ("covariance", "positive", "precision")):
                raise
            raise DataError(
                f"With n_components={inner.n_components} some clouds became flat, so their density is infinite: raise "
                f"reg_covar (it is {model.reg_covar:g}), ask for fewer, or take covariance_type='diag'."
            ) from error
    return inner, center, spread, Z


def adopt(model: Any, inner: Any, center: np.ndarray, spread: np.ndarray, Z: np.ndarray) -> None:
    """Give the model the fitted attributes, in the units of the rows it was given."""
    kind, k = model.covariance_type, inner.n_components
    model.weights_, model.converged_ = inner.weights_, inner.converged_
    model.n_iter_, model.lower_bound_ = inner.n_iter_, inner.lower_bound_
    model.means_ = inner.means_ * spread + center
    if kind in ("full", "tied"):
        model.covariances_ = inner.covariances_ * np.outer(spread, spread)
        model._axes = np.asarray(inner.precisions_cholesky_ / spread[:, None]).reshape(-1, len(spread), len(spread))
    elif kind == "diag":
        model.covariances_ = inner.covariances_ * spread**2
        model._axes = inner.precisions_cholesky_ / spread
    else:
        model.covariances_ = inner.covariances_ * spread[0] ** 2
        model._axes = np.repeat(inner.precisions_cholesky_[:, None], len(spread), axis=1) / spread
    # At its own centre a cloud's weighted log-density is what does not depend on the row.
    at_center = inner._estimate_weighted_log_prob(inner.means_)
    model._offset = at_center[np.arange(k), np.arange(k)] - np.log(spread).sum()
    logs = inner._estimate_weighted_log_prob(Z)
    found = logs.argmax(axis=1)
    model.groups_, model.labels_ = np.unique(found, return_inverse=True)  # clouds that no row belongs to are no groups


def start(Z: np.ndarray, k: int, kind: str, reg: float, tries: int, seed: Any) -> dict[str, Any]:
    """Where expectation maximisation begins: clouds around the groups of the best of `tries` runs of k-means.

    Runs are on at most `_SAMPLE` rows, the best of them goes on with all. A single run, which is what scikit-learn
    starts from, often puts two clouds into one group.
    """
    from sklearn.cluster import KMeans

    random = np.random.default_rng(seed)
    few = Z if len(Z) <= _SAMPLE else Z[random.choice(len(Z), _SAMPLE, replace=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different rows than groups: some clouds will be empty or alike
        number = int(random.integers(2**31 - 1))
        centers = KMeans(k, n_init=tries, random_state=number).fit(few).cluster_centers_
        group = KMeans(k, init=centers, n_init=1).fit(Z).labels_
    p, reg = Z.shape[1], max(reg, 1e-6)
    share = np.zeros((k, 1)) + 10 * np.finfo(float).eps
    mean, covariance = np.zeros((k, p)), np.zeros((k, p, p) if kind in ("full", "tied") else (k, p))
    for c in range(k):
        rows = Z[group == c]
        share[c] += len(rows)
        mean[c] = rows.mean(axis=0) if len(rows) else Z[int(random.integers(len(Z)))]
        gap = rows - mean[c]
        size = max(len(rows), 1)
        covariance[c] = gap.T @ gap / size if kind in ("full", "tied") else np.einsum("ij,ij->j", gap, gap) / size
    if kind in ("full", "tied"):
        if kind == "tied":
            covariance = (covariance * share[:, :, None]).sum(axis=0)[None] / share.sum()
        covariance = covariance + reg * np.eye(p)
        precision = np.linalg.pinv(covariance, hermitian=True)
        precision = precision[0] if kind == "tied" else precision
    elif kind == "diag":
        precision = 1.0 / np.maximum(covariance + reg, 1e-12)
    else:
        precision = 1.0 / np.maximum(covariance.mean(axis=1) + reg, 1e-12)
    return {"weights_init": (share / share.sum()).ravel(), "means_init": mean, "precisions_init": precision}


def best_by_bic(
    model: Any, X: np.ndarray, make: Callable[[np.ndarray, int], Any], most: int
) -> tuple[Any, dict[int, float]]:
    """The fit whose Bayesian information criterion is least, and the criteria by number of clouds.

    Ends when three fits in a row were no better. A fit does not count if one of its clouds holds too few rows to have a
    shape: it is then as thin as `reg_covar` allows, and its density, which the criterion believes, means nothing.
    """
    n, p = X.shape
    fewest = {"full": p + 2, "tied": 1, "diag": 3, "spherical": 2}[model.covariance_type]
    values: dict[int, float] = {}
    best: Any = None
    for k in range(1, max(min(most, n // max(fewest, 2)), 1) + 1):
        fitted = fit_scaled(model, X, lambda Z, k=k: make(Z, k))
        if best is None or fitted[0].weights_.min() * n >= fewest:
            values[k] = float(fitted[0].bic(fitted[3]) + 2 * n * np.log(fitted[2]).sum())
            if best is None or values[k] < values[best[0].n_components]:
                best = fitted
        if k - best[0].n_components >= 3:
            break
    return best, values


def membership(model: Any) -> Mixture:
    """The fitted model as a step that tells groups."""
    which = model.groups_
    axes = model._axes if len(model._axes) == 1 else model._axes[which]
    return Mixture(np.ascontiguousarray(model.means_[which]), np.ascontiguousarray(axes), model._offset[which])


def density(model: Any) -> MixtureDensity:
    """The fitted model as a step that tells how odd rows are."""
    return MixtureDensity(np.ascontiguousarray(model.means_), np.ascontiguousarray(model._axes), model._offset)
