"""Mean shift: groups are the hills of the rows' density."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.cluster as sk
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models.cluster._rows import checked
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.groups import Centers, nearest_center

LEAST = 30  # rows in a window: fewer make hills out of chance

CARD = {
    "name": "mean_shift",
    "title": "Mean shift",
    "summary": "Moves windows uphill to where rows are dense; every hilltop is the centre of a group.",
    "choose": "Few columns and an unknown number of roundish groups.",
    "avoid": "Many columns or rows (it is slow), and groups of different width, for one window fits all.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "max_rows": 10000},
    "cost": {"scale": 4e-6, "rows_power": 1.4, "columns_power": 0.6},
    "references": [
        "Comaniciu and Meer (2002), Mean shift: a robust approach toward feature space analysis. PAMI 24(5)."
    ],
    "advice": ["groups", "few_columns"],
    "priority": 80,
    "parameters": {
        "bandwidth": {
            "type": "float",
            "default": None,
            "low": 1e-6,
            "high": 1e6,
            "log": True,
            "tune": False,
            "text": "Radius of the window; by default from the distances between rows.",
        },
        "quantile": {
            "type": "float",
            "default": 0.15,
            "low": 0.01,
            "high": 1.0,
            "text": "Share of the rows that a window of the default radius holds: less gives more groups.",
        },
    },
    "tiny": [{}, {"quantile": 0.2}],
    "classes": {"clusterer": {"class": "everymodel.models.cluster.mean_shift:MeanShift", "tasks": ["cluster"]}},
}


class MeanShift(ClusterMixin, BaseEstimator):
    """Move windows to the mean of the rows within them until they rest; rows go to the nearest resting place.

    Windows start on a grid, and scikit-learn moves them. The number of groups follows from the radius.

    Parameters
    ----------
    bandwidth : radius of the window, above 0; by default the mean distance to the row at the `quantile` of nearness,
        over at most 1000 rows, or at the 30th if that is farther.
    quantile : above 0 and at most 1.

    Attributes
    ----------
    cluster_centers_ : (k, p), the densest first · labels_ : (n,) · bandwidth_ · n_iter_.

    Raises
    ------
    ParameterError : bandwidth or quantile cannot be.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> len(MeanShift().fit(load_iris().data).cluster_centers_)
    2
    """

    def __init__(self, bandwidth: float | None = None, *, quantile: float = 0.15):
        self.bandwidth = bandwidth
        self.quantile = quantile

    def fit(self, X: Any, y: Any = None) -> MeanShift:
        """Find the groups of X (n, p); y is ignored."""
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise ParameterError(f"bandwidth={self.bandwidth!r} is not possible: expected a radius above 0, or None.")
        if not 0 < self.quantile <= 1:
            raise ParameterError(f"quantile={self.quantile!r} is not possible: expected above 0, at most 1.")
        X = checked(self, X, told=False)
        middle = X.mean(axis=0)
        Z = X - middle
        width = self.bandwidth
        if width is None:
            some = min(len(Z), 1000)
            share = min(max(self.quantile, LEAST / some), 1.0)
            width = float(sk.estimate_bandwidth(Z, quantile=share, n_samples=some, random_state=0))
            if width <= 0:  # so many rows are equal that a window of half of them has no width
                width = float(np.sqrt(Z.var(axis=0).sum())) or 1.0
        seeds = sk.get_bin_seeds(Z, width)
        inner = sk.MeanShift(bandwidth=width, seeds=seeds, cluster_all=True).fit(Z)
        self.bandwidth_, self.n_iter_ = width, int(inner.n_iter_)
        self.cluster_centers_ = inner.cluster_centers_ + middle
        self.labels_, squares = nearest_center(X, self.cluster_centers_)
        self._spread = max(float(squares.mean()) / X.shape[1], 1e-12)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Number of the nearest centre (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Confidence in each group (n, k): what an equal mixture of round Gaussians of the groups' width says."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return Centers(np.asarray(model.cluster_centers_, dtype=np.float64), model._spread)
