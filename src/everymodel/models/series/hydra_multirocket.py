"""Series by their shapes: thousands of small fixed kernels, thresholds and contests between them, and a ridge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import DataError
from everymodel.models._place import codes_of
from everymodel.models.series import _kernels, _ridge
from everymodel.scoring.steps import series
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.series import KERNELS, TAPS, Hydra, Rocket, Series

CARD = {
    "name": "hydra_multirocket",
    "title": "Hydra and MultiRocket",
    "summary": "Describes a series by the answers of thousands of small fixed kernels, and weighs them with a ridge.",
    "choose": "Classes or values that show in the shape of a series: movements, sensors, outlines, sounds, heartbeats.",
    "avoid": "Series whose order says nothing; fewer than about ten series per class; tables of unlike columns.",
    "gives": ["probabilities"],
    "needs": {"missing": True, "categories": "codes", "inputs": ["sequence", "matrix"], "max_rows": 20000},
    "cost": {"scale": 4e-4, "rows_power": 1.0, "columns_power": 1.0},
    "references": [
        "Tan, Dempster, Bergmeir and Webb (2022), MultiRocket: multiple pooling operators and transformations for fast "
        "and effective time series classification. Data Mining and Knowledge Discovery 36.",
        "Dempster, Schmidt and Webb (2023), Hydra: competing convolutional kernels for fast and accurate time series "
        "classification. Data Mining and Knowledge Discovery 37.",
    ],
    "advice": ["series", "accurate", "small_data", "medium_data"],
    "priority": 10,
    "parameters": {
        "features": {
            "type": "int",
            "default": 50000,
            "low": 672,
            "high": 500000,
            "log": True,
            "tune": False,
            "text": "Answers of MultiRocket's kernels; fewer are made where rows are so many that memory would not do.",
        },
        "groups": {
            "type": "int",
            "default": 64,
            "low": 0,
            "high": 512,
            "tune": False,
            "text": "Groups of 8 competing kernels per dilation, for Hydra; 0: MultiRocket alone.",
        },
        "own_scale": {
            "type": "bool",
            "default": False,
            "text": "Whether each series is standardised by itself, so that only its shape counts, not its size.",
        },
        "length": {
            "type": "int",
            "default": None,
            "low": 10,
            "high": 100000,
            "tune": False,
            "text": "Steps that the longest series becomes; none: as many as it has, at most 4096.",
        },
        "stretch": {
            "type": "bool",
            "default": False,
            "tune": False,
            "text": "Whether shorter series are stretched to the length of the longest, rather than followed by zeros.",
        },
        "alpha": {
            "type": "float",
            "default": None,
            "low": 0.0,
            "high": 1000000000.0,
            "tune": False,
            "text": "Penalty of the ridge; none: chosen by leaving out each row in turn.",
        },
        "random_state": {
            "type": "int",
            "default": None,
            "low": 0,
            "high": 2147483647,
            "tune": False,
            "text": "Seed of the kernels and thresholds.",
        },
    },
    "presets": [{}],
    "tiny": [
        {"features": 672, "groups": 2, "random_state": 0},
        {"features": 672, "groups": 0, "own_scale": True, "alpha": 1.0, "random_state": 0},
    ],
    "classes": {
        "classifier": {
            "class": "everymodel.models.series.hydra_multirocket:HydraMultiRocketClassifier",
            "tasks": ["binary", "multiclass"],
        },
        "regressor": {
            "class": "everymodel.models.series.hydra_multirocket:HydraMultiRocketRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
        },
    },
}

_CELLS = 250_000_000  # features of all rows together: 1 GB


class _ShapesAndRidge(BaseEstimator):
    """What the classifier and the regressor share."""

    def __init__(
        self,
        *,
        features: int = 50_000,
        groups: int = 64,
        own_scale: bool = False,
        length: int | None = None,
        stretch: bool = False,
        alpha: float | None = None,
        random_state: Any = None,
    ):
        self.features = features
        self.groups = groups
        self.own_scale = own_scale
        self.length = length
        self.stretch = stretch
        self.alpha = alpha
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags

    def _read(self, X: Any, y: Any = None, *, reset: bool) -> tuple[Sequence[np.ndarray], Any]:
        """Series as a list or object array of (T, p); y as it is checked."""
        numbers = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "reset": reset}
        if getattr(X, "ndim", 0) == 1 and hasattr(X, "to_numpy"):
            X = X.to_numpy()  # a column of cells
        if _kernels.is_cells(X):
            found: Any = series.unequal(X)
            if not len(found):
                raise DataError("Found 0 series; expected at least 2.")
            if not reset:
                return found, None
            self.__dict__.pop("n_features_in_", None)  # steps of a table; cells may have any number
            if y is None or len(y) != len(found):
                came = "none" if y is None else f"{len(y):,}"
                raise DataError(f"There are {len(found):,} series and {came} targets; expected as many of each.")
            return found, np.asarray(y)
        if getattr(X, "ndim", 0) == 3 or isinstance(X, list | tuple):  # a table has two axes, series may have three
            numbers |= {"allow_nd": True}
        if not reset:
            return series.unequal(validate_data(self, X, **numbers)), None
        multi = isinstance(self, RegressorMixin)
        X, y = validate_data(self, X, y, multi_output=multi, y_numeric=multi, ensure_min_samples=2, **numbers)
        return series.unequal(X), y

    def _fit(
        self, X: Sequence[np.ndarray], Y: np.ndarray, stop: Callable[[], bool] | None, threads: int
    ) -> _ridge.Fitted:
        rng = np.random.default_rng(check_random_state(self.random_state).randint(0, 2**31 - 1))
        sizes = np.array([len(x) for x in X])
        length, longest = _kernels.length_of(sizes, self.length, bool(self.stretch))
        rows = [np.clip(np.where(np.isfinite(x), x, np.nan), -1e30, 1e30) for x in X]
        centre, scale = _kernels.spread(rows)
        x, lengths = series.prepared(rows, length, longest, centre, scale, bool(self.own_scale), bool(self.stretch))
        room = _CELLS // len(x)
        parts = [
            *_kernels.hydras(rng, x, min(self.groups, room // 256)),
            *_kernels.rockets(rng, x, min(self.features, room)),
        ]
        F, parts = _kernels.described(parts, x, rng, stop, threads)
        F = np.concatenate([F, series.plain(x, lengths)], axis=1)
        hydras = [(part, d) for part, d in parts if isinstance(part, Hydra)]
        rockets = [(part, d) for part, d in parts if isinstance(part, Rocket)]
        sparse = sum(part.columns for part, _ in hydras)
        mean, spread = _kernels.scaling(F, sparse)
        found = _ridge.fit(series.standard(F, mean, spread, sparse), Y, self.alpha, rng)
        p = x.shape[1]
        none = np.zeros((0, 1, _kernels.RIVALS, TAPS), dtype=np.int16)
        self.step_ = Series(
            length=length,
            longest=longest,
            centre=centre,
            scale=scale,
            counts=np.array([(len(r.biases), r.dilation, d, r.phase) for r, d in rockets], np.int32).reshape(-1, 4),
            biases=np.concatenate([np.zeros((0, KERNELS), np.float32), *(r.biases for r, _ in rockets)]),
            fights=np.array([(h.dilation, d) for h, d in hydras], np.int32).reshape(-1, 2),
            kernels=np.stack([h.kernels for h, _ in hydras]) if hydras else none,
            mean=mean,
            spread=spread,
            weights=found.weights.astype(np.float32),
            intercept=found.intercept,
            channels=None if p == 1 else np.array([r.channels for r, _ in rockets], bool).reshape(-1, KERNELS, p),
            teams=None if p == 1 else np.array([h.channels for h, _ in hydras], bool).reshape(len(hydras), -1, p),
            own=bool(self.own_scale),
            stretch=bool(self.stretch),
        )
        self.length_, self.alpha_, self.n_parts_ = length, found.alpha, len(parts)
        return found


class HydraMultiRocketClassifier(ClassifierMixin, _ShapesAndRidge):
    """Classes of series by their shapes.

    Each of 84 kernels of length 9 slides over the series and over its differences at up to 32 dilations. MultiRocket
    takes from it, for several thresholds, the share of steps above the threshold, how far above they are, where they
    are, and their longest stretch; in Hydra eight random kernels compete at every step, and what counts is who wins
    and by how much. A ridge weighs the features, scaled to unit spread; its penalty has the least error on rows left
    out one by one, and these rows' scores also set the heat of the softmax that gives probabilities.

    Shorter series are followed by zeros, which stand for the mean (or stretched, if asked), and their length is a
    feature; gaps (NaN) are filled on straight lines; where no series has 10 steps, steps are put in between.

    Parameters
    ----------
    features : int, default=50000
        Features of MultiRocket, about.
    groups : int, default=64
        Groups of eight kernels per dilation in Hydra; 0 leaves Hydra out.
    own_scale : bool, default=False
        Standardise each series by itself. By default a signal is standardised over all series, so that size counts.
    length : int or None, default=None
        Steps that the longest series becomes; None: as many as it has, at most 4096, which is said.
    stretch : bool, default=False
        Stretch shorter series to the length of the longest.
    alpha : float or None, default=None
        Penalty of the ridge; None: chosen.
    random_state : int, RandomState instance or None, default=None
        Seed of kernels and thresholds. The same seed gives the same model.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    step_ : Series
        Everything that answers need.
    length_, alpha_, n_parts_ : int, float, int
        Steps of a series, penalty, and how many sets of kernels were made (all, unless the fit was stopped).

    References
    ----------
    Tan, Dempster, Bergmeir and Webb (2022), MultiRocket. Data Mining and Knowledge Discovery 36.
    Dempster, Schmidt and Webb (2023), Hydra. Data Mining and Knowledge Discovery 37.

    Examples
    --------
    >>> import numpy as np
    >>> from everymodel import HydraMultiRocketClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = np.sin(np.linspace(0, 9, 60) * np.repeat([1, 2], 20)[:, None]) + 0.3 * rng.normal(size=(40, 60))
    >>> y = np.repeat(["slow", "fast"], 20)
    >>> HydraMultiRocketClassifier(features=2000, random_state=0).fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    1.0
    """

    def fit(self, X: Any, y: Any) -> HydraMultiRocketClassifier:
        """Learn from series and their classes.

        Parameters
        ----------
        X : array of shape (n, steps) or (n, steps, signals), or n arrays (steps,) or (steps, signals) of any lengths
        y : array of shape (n,)

        Raises
        ------
        DataError
            if series are empty or differ in their number of signals.
        """
        return self.train(X, y)

    def train(self, X: Any, y: Any, stop: Callable[[], bool] | None = None, threads: int = 1) -> Any:
        """Like `fit`; once `stop()` is true, the features made so far have to do."""
        found, y = self._read(X, y, reset=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(np.asarray(y).ravel(), return_inverse=True)
        Y = np.where(codes[:, None] == np.arange(len(self.classes_)), 1.0, -1.0)
        fitted = self._fit(found, Y, stop, threads)
        self.heat_ = _ridge.heat(fitted.without, codes[fitted.rows])
        return self

    def step(self, places: np.ndarray | None = None, classes: int | None = None) -> Series:
        """The fitted model as a scoring step, its columns at `places` of `classes`."""
        settings, arrays = self.step_.spec()
        if places is not None:
            arrays["places"], settings["classes"] = places, classes
        return Series(**{**settings, **arrays, "gives": "probabilities", "heat": self.heat_})

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, n_classes)."""
        check_is_fitted(self)
        return self.step()(self._read(X, reset=False)[0])

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores of the ridge: (n,) for two classes, else (n, n_classes)."""
        check_is_fitted(self)
        scores = self.step_.scores(self._read(X, reset=False)[0])
        return scores[:, 1] if scores.shape[1] == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each series (n,)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class HydraMultiRocketRegressor(RegressorMixin, _ShapesAndRidge):
    """Values of series by their shapes; see HydraMultiRocketClassifier for features, parameters and attributes.

    Examples
    --------
    >>> import numpy as np
    >>> from everymodel import HydraMultiRocketRegressor
    >>> rng = np.random.default_rng(0)
    >>> speed = rng.uniform(1, 3, 60)
    >>> X = np.sin(np.linspace(0, 9, 60) * speed[:, None]) + 0.1 * rng.normal(size=(60, 60))
    >>> HydraMultiRocketRegressor(features=2000, random_state=0).fit(X[:40], speed[:40]).score(X[40:], speed[40:]) > 0.9
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> HydraMultiRocketRegressor:
        """Learn from series and their values y (n,) or (n, t); X as for the classifier."""
        return self.train(X, y)

    def train(self, X: Any, y: Any, stop: Callable[[], bool] | None = None, threads: int = 1) -> Any:
        """Like `fit`; once `stop()` is true, the features made so far have to do."""
        found, y = self._read(X, y, reset=True)
        Y = np.asarray(y, dtype=np.float64)
        self.many_ = Y.ndim == 2
        Y = Y.reshape(len(Y), -1)
        middle, spread = Y.mean(axis=0), Y.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        self._fit(found, (Y - middle) / spread, stop, threads)
        settings, arrays = self.step_.spec()
        arrays["weights"] = arrays["weights"] * spread
        arrays["intercept"] = arrays["intercept"] * spread + middle
        self.step_ = Series(**{**settings, **arrays, "squeeze": not self.many_})
        return self

    def step(self) -> Series:
        """The fitted model as a scoring step."""
        return self.step_

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,) or (n, t)."""
        check_is_fitted(self)
        return self.step_(self._read(X, reset=False)[0])


def fit(
    model: Any,
    X: Any,
    y: np.ndarray,
    *,
    valid: tuple[Any, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
) -> Any:
    """Fit with the kernels for which there is time; no setting is chosen on `valid`."""
    return model.train(X, y, stop, threads)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    if not hasattr(model, "classes_"):
        return model.step()
    codes, k = codes_of(model, n_classes)
    return model.step(codes.astype(np.int32), k)
