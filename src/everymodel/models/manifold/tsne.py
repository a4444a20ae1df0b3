"""t-SNE: maps on which near rows are near, and places for new rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models.manifold import _descent
from everymodel.models.manifold._rows import bounded
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.maps import MapNeighbors

CARD = {
    "name": "tsne",
    "title": "Stochastic neighbour map (t-SNE)",
    "summary": "Draws a map on which each row lies among the rows most like it.",
    "choose": "To see groups and outliers in many columns at a glance.",
    "avoid": "To measure: distances between far groups, their sizes and empty space mean nothing on it.",
    "gives": ["components"],
    "needs": {"scaling": "standard", "max_rows": 20000},
    "cost": {"scale": 1.2e-4, "rows_power": 1.1, "columns_power": 0.1},
    "references": [
        "van der Maaten and Hinton (2008), Visualizing data using t-SNE. JMLR 9.",
        "Linderman et al. (2019), Fast interpolation-based t-SNE. Nature Methods 16.",
        "Böhm, Berens and Kobak (2022), Attraction-repulsion spectrum in neighbor embeddings. JMLR 23.",
    ],
    "advice": ["basic", "map", "curved"],
    "priority": 10,
    "parameters": {
        "n_components": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 3,
            "tune": False,
            "text": "Number of coordinates.",
        },
        "perplexity": {
            "type": "int",
            "default": 15,
            "low": 2,
            "high": 1000,
            "log": True,
            "text": "Number of nearest rows that each row is drawn to.",
        },
        "early_exaggeration": {
            "type": "float",
            "default": 12.0,
            "low": 1.0,
            "high": 100.0,
            "tune": False,
            "text": "How much stronger attraction is at the start, while groups gather.",
        },
        "max_iter": {
            "type": "int",
            "default": 400,
            "low": 50,
            "high": 100000,
            "tune": False,
            "text": "Number of steps; the first quarter with early exaggeration.",
        },
    },
    "tiny": [{"max_iter": 100}, {"n_components": 3, "max_iter": 60}, {"n_components": 1, "max_iter": 60}],
    "classes": {"reducer": {"class": "everymodel.models.manifold.tsne:TSNE", "tasks": ["embed"]}},
}


class TSNE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Draw rows in the plane (or a line, or space) so that near rows are near, and place new rows among them.

    Each row is drawn to its `perplexity` nearest rows with equal weight and pushed away by all, the push falling with
    distance as 1 / (1 + d^2)^2. Equal weights keep neighbours as well as those of a Gaussian of that perplexity, at a
    third of the cost (Böhm et al. 2022); pushes come from a grid by fast Fourier transform (Linderman et al. 2019).
    The map starts from the principal components, so that it is the same at every run and its large shape is theirs.

    `transform` finds the place where the forces on a new row are at rest while the map stays as it is; a row of the
    fit gets its own place, `embedding_`.

    Parameters
    ----------
    n_components : 1 to 3 coordinates.
    perplexity : nearest rows that a row is drawn to; at most n - 1.
    early_exaggeration : attraction's factor in the first quarter of the steps.
    max_iter : steps.
    random_state : parts rows that start at one place.

    Attributes
    ----------
    embedding_ : (n, d) places · neighbors_ : nearest rows that were used · kl_divergence_ : of the map's similarities
    from the data's · n_iter_ : steps taken.

    Raises
    ------
    ParameterError : a parameter is out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> TSNE(max_iter=100).fit(load_iris().data).transform(load_iris().data[:3]).shape
    (3, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 15,
        early_exaggeration: float = 12.0,
        max_iter: int = 400,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> TSNE:
        """Draw the map of X (n, p); y is ignored."""
        return self._fit(X)

    def _fit(self, X: Any, stop: Callable[[], bool] | None = None) -> TSNE:
        X = bounded(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        self._check()
        n = len(X)
        k = round(self.perplexity)
        if k > n - 1:
            warnings.warn(f"perplexity={k} is more than the {n - 1} other rows; {n - 1} is used.", stacklevel=3)
            k = n - 1
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        P = _descent.affinities(X, k)
        first = _descent.start(X, int(self.n_components), rng)
        early = self.max_iter // 4
        Y, self.n_iter_ = _descent.descend(P, first, float(self.early_exaggeration), early, self.max_iter - early, stop)
        self.embedding_ = Y
        self.neighbors_ = k
        self.kl_divergence_ = _descent.divergence(P, Y)
        self._n_features_out = Y.shape[1]
        self._step = MapNeighbors(X.copy(), Y, k)
        return self

    def _check(self) -> None:
        for name, low, high, whole in (
            ("n_components", 1, 3, True),
            ("perplexity", 1, 1e9, False),
            ("early_exaggeration", 1, 1e6, False),
            ("max_iter", 4, 1e9, True),
        ):
            value = getattr(self, name)
            kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                kind = "a whole number" if whole else "a number"
                raise ParameterError(f"{name}={value!r} is not possible: expected {kind} from {low} to {high:.0f}.")

    def transform(self, X: Any) -> np.ndarray:
        """Places (n, d) of rows (n, p) on the map."""
        check_is_fitted(self)
        return pack(self)(bounded(validate_data(self, X, dtype=np.float64, reset=False)))

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Draw the map of X (n, p) and give its places (n, d)."""
        return self.fit(X).embedding_.copy()


def fit(
    model: TSNE, X: Any, y: Any = None, *, stop: Callable[[], bool] | None = None, threads: int = 1, **more: Any
) -> TSNE:
    """Fit with a question every twenty steps whether to end."""
    return model._fit(X, stop)


def pack(model: Any) -> Step:
    """The fitted model as a scoring step."""
    return model._step
