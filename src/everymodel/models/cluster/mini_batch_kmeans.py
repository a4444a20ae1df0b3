"""Mini-batch k-means: k-means that looks at a few rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.cluster as sk
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.models.cluster._rows import checked, distinct
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.groups import Centers

CARD = {
    "name": "mini_batch_kmeans",
    "title": "Mini-batch k-means",
    "summary": "K-means whose centres move a little with each batch of rows.",
    "choose": "Rows that arrive in parts (partial_fit), or millions of them and a rough answer at once.",
    "avoid": "Whenever the rows fit into memory and k-means has the time: its groups are tighter.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard"},
    "cost": {"scale": 6e-8, "rows_power": 1.0, "columns_power": 1.0},
    "references": ["Sculley (2010), Web-scale k-means clustering. WWW 2010."],
    "advice": ["big_data", "groups"],
    "priority": None,
    "parameters": {
        "n_clusters": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 10000,
            "tune": False,
            "text": "Number of groups.",
        },
        "batch_size": {
            "type": "int",
            "default": 1024,
            "low": 16,
            "high": 100000,
            "log": True,
            "tune": False,
            "text": "Rows per batch.",
        },
    },
    "fixed": {"n_init": 3},
    "tiny": [{"n_clusters": 3, "n_init": 2, "random_state": 0}],
    "waivers": {
        "check_sample_weight_equivalence_on_dense_data": "Batches are drawn by row, so weights draw others.",
    },
    "classes": {
        "clusterer": {"class": "everymodel.models.cluster.mini_batch_kmeans:MiniBatchKMeans", "tasks": ["cluster"]}
    },
}


class MiniBatchKMeans(sk.MiniBatchKMeans):
    """Scikit-learn's mini-batch k-means, with confidences, and an error where there are not enough different rows.

    Parameters and attributes are those of `sklearn.cluster.MiniBatchKMeans`.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Find the groups of X (n, p); y is ignored."""
        X = checked(self, X)
        if len(X) and not (X[0] != X).any():
            distinct(X, int(self.n_clusters))
        super().fit(X, y, sample_weight)
        if len(np.unique(self.labels_)) < self.n_clusters:
            distinct(X, int(self.n_clusters))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Number of the nearest centre (n,)."""
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Confidence in each group (n, k): what an equal mixture of round Gaussians of the groups' width says."""
        check_is_fitted(self)
        return pack(self)(validate_data(self, X, dtype=np.float64, reset=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    centers = np.asarray(model.cluster_centers_, dtype=np.float64)
    spread = float(getattr(model, "inertia_", 0.0)) / max(len(getattr(model, "labels_", ())) * centers.shape[1], 1)
    return Centers(centers, spread if spread > 1e-12 else 1.0)
