"""Self-training: a classifier answers rows without a label, and learns again from the answers it is sure of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import ParameterError
from everymodel.models._any import module_of, named
from everymodel.models.semi_supervised._spreads import to_fit
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "self_training",
    "title": "Self-training",
    "summary": "Lets a classifier answer rows without a label, and learn again from the answers it is sure of.",
    "choose": "Few labels, many rows without one, and a classifier that is already right about most rows.",
    "avoid": "A base that is often wrong and sure of it: it then teaches itself its own mistakes.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "unlabelled": True},
    "cost": {"scale": 2.3e-3, "rows_power": 0.8, "columns_power": 0.4},
    "references": ["Yarowsky (1995), Unsupervised word sense disambiguation rivaling supervised methods. ACL."],
    "advice": ["unlabelled"],
    "priority": 48,
    "parameters": {
        "base": {
            "type": "choice",
            "default": "logistic",
            "choices": [
                "logistic",
                "svm",
                "random_forest",
                "extra_trees",
                "nearest_neighbors",
                "gaussian_nb",
                "multilayer_perceptron",
                "discriminant",
                "lightgbm",
                "gradient_boosting",
            ],
            "tune": False,
            "text": "The classifier that teaches itself.",
        },
        "threshold": {
            "type": "float",
            "default": 0.75,
            "low": 0.4,
            "high": 0.999,
            "text": "Probability from which on an answer is learnt from.",
        },
        "rounds": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 50,
            "tune": False,
            "text": "Most times that it learns again; it ends sooner when its answers stay the same.",
        },
    },
    "presets": [{"base": "extra_trees"}],
    "tiny": [{}, {"base": "gaussian_nb", "threshold": 0.6, "rounds": 3}],
    "classes": {
        "classifier": {
            "class": "everymodel.models.semi_supervised.self_training:SelfTrainingClassifier",
            "tasks": ["binary", "multiclass"],
        },
    },
}


class SelfTrainingClassifier(ClassifierMixin, BaseEstimator):
    """Fit a base, add the rows that it answers with at least `threshold`, fit again, until the answers stay.

    Answers are taken anew in every round, so what was learnt from once may be taken back. A class gets at most its
    share of the labelled rows among those that are added, so that the largest does not swallow the others.

    Parameters
    ----------
    base : name of a classifier of the catalogue, or an unfitted estimator with `predict_proba`.
    threshold : probability from which on an answer is learnt from, above 1 / number of classes.
    rounds : most times that the base learns again.
    random_state : seed of a base that is named.

    Attributes
    ----------
    classes_ : (k,) · estimator_ : the fitted base · transduction_ : (n,) class that each row of the fit was last learnt
    as, -1 as code in `codes_` where it was not · n_iter_ : rounds done · added_ : rows without label learnt from.

    Raises
    ------
    DataError : no row has a label.
    ParameterError : the base gives no probabilities, or a parameter is out of its range.

    References
    ----------
    Yarowsky (1995).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> few = np.where(np.arange(len(y)) < 100, y, -1)
    >>> SelfTrainingClassifier("extra_trees", random_state=0).fit(X, few).score(X, y) > 0.8
    True
    """

    def __init__(self, base: Any = "logistic", *, threshold: float = 0.75, rounds: int = 8, random_state: Any = None):
        self.base = base
        self.threshold = threshold
        self.rounds = rounds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, stop: Callable[[], bool] | None = None, threads: int = 1) -> Any:
        """Learn from X (n, p) and y (n,), in which -1 means that a row has no label."""
        if not 0 < self.threshold <= 1:
            raise ParameterError(f"threshold={self.threshold!r} is not possible: expected a number from 0 to 1.")
        if not (isinstance(self.rounds, int | np.integer) and self.rounds >= 0):
            raise ParameterError(f"rounds={self.rounds!r} is not possible: expected a whole number from 0 on.")
        X, codes, labelled, self.classes_ = to_fit(X, y, self)
        k, asked = len(self.classes_), stop or (lambda: False)
        seed = self.random_state if not hasattr(self.random_state, "randint") else None
        base = named(self.base, "classifier", seed) if isinstance(self.base, str) else self.base
        self.n_iter_, self.added_ = 0, 0
        if k == 1:
            base = named("dummy", "classifier")
        self.estimator_ = _fitted(base, X[labelled], self.classes_[codes[labelled]], asked, threads)
        if not hasattr(self.estimator_, "predict_proba"):
            raise ParameterError(f"{self.base!r} gives no probabilities, which self-training needs. Take another base.")
        free = np.flatnonzero(~labelled)
        self.codes_ = codes.copy()
        share = np.bincount(codes[labelled], minlength=k) / labelled.sum()
        while len(free) and k > 1 and self.n_iter_ < self.rounds and not asked():
            P = np.zeros((len(free), k))
            P[:, np.searchsorted(self.classes_, self.estimator_.classes_)] = self.estimator_.predict_proba(X[free])
            taken = _taken(P, self.threshold, share)
            new = self.codes_.copy()
            new[free] = taken
            if (new == self.codes_).all():
                break
            self.codes_ = new
            rows = new >= 0
            self.estimator_ = _fitted(base, X[rows], self.classes_[new[rows]], asked, threads)
            self.n_iter_, self.added_ = self.n_iter_ + 1, int((taken >= 0).sum())
        return self

    @property
    def transduction_(self) -> np.ndarray:
        """Class of each row that was learnt from; where `codes_` is -1 the entry means nothing."""
        return self.classes_[self.codes_]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class (n, k), as the base says."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.estimator_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]


def _fitted(base: Any, X: np.ndarray, y: np.ndarray, asked: Callable[[], bool], threads: int) -> Any:
    """A fitted copy of the base, through its model file's own way where the catalogue has it."""
    try:
        module = module_of(base, "classifier")
    except ParameterError:  # another library's estimator: it fits as it does
        module = None
    if module is not None and hasattr(module, "fit"):
        return module.fit(clone(base), X, y, stop=asked, threads=threads)
    return clone(base).fit(X, y)


def _taken(P: np.ndarray, threshold: float, share: np.ndarray) -> np.ndarray:
    """Class of each row that is learnt from (n,), -1 for the others: sure ones, and of each class no more than fits."""
    best, sure = P.argmax(axis=1), P.max(axis=1)
    out = np.full(len(P), -1)
    for c in range(P.shape[1]):
        mine = np.flatnonzero((best == c) & (sure >= threshold))
        most = int(np.ceil(1.5 * share[c] * len(P)))
        out[mine[np.argsort(-sure[mine], kind="stable")][:most]] = c
    return out


def fit(
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    *,
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
    unlabelled: np.ndarray | None = None,
) -> Any:
    """Fit on labelled and unlabelled rows; validation rows are not needed."""
    if stop is not None:
        stop()
    if unlabelled is None or not len(unlabelled):
        return model.fit(X, y, stop=stop, threads=threads)
    y = np.concatenate([np.asarray(y), np.full(len(unlabelled), -1)])
    return model.fit(np.concatenate([X, unlabelled]), y, stop=stop, threads=threads)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted base as a scoring step."""
    return module_of(model.estimator_, "classifier").pack(model.estimator_, n_classes=n_classes)
