"""Plumbing: what label propagation and label spreading share, which is all but how labels move along the edges."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.core.errors import DataError, ParameterError
from everymodel.models._place import codes_of, place
from everymodel.models.semi_supervised._graph import balanced, graph, reached, unlabelled
from everymodel.scoring.steps.propagation import Propagation

KEPT = 20_000  # rows that answer new ones; of more, all labelled ones and some of the others
METRICS = ("given", "scaled", "even", "learnt")
_HELD, _MANY = 12, 20_000  # parts in which labels are held out to see how sure answers are; fewer on many rows
_SHARPNESS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5, 7.0)
_ONE_UNIT = 1.5  # no column reaches farther than so many times the middle one: they share a unit
_SURE = 0.8  # of the rows, those whose classes teach the metric
_SHRINK = 0.1  # of the covariances that it is made of


def to_fit(X: Any, y: Any, model: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(X, code of each row's class (n,) with -1 where it has no label, which rows are labelled (n,), classes)."""
    y, none = unlabelled(y) if y is not None else (y, np.zeros(0, bool))
    if y is not None and y.dtype.kind == "O" and none.any():
        y = y.copy()
        y[none] = -1
    X, y = validate_data(model, X, y, dtype=np.float64)
    y, none = unlabelled(y)
    if none.all():
        raise DataError(
            f"None of the {len(y)} rows has a label (-1 means that there is none), so no class can be learnt. "
            "Label some rows, or look for groups without a target."
        )
    check_classification_targets(y[~none])
    classes, found = np.unique(y[~none], return_inverse=True)
    codes = np.full(len(y), -1)
    codes[~none] = found
    return X, codes, ~none, classes


class Spreads(ClassifierMixin, BaseEstimator):
    """Base: builds the graph, spreads, judges its own sureness on held-out labels, answers by the nearest rows."""

    def _check(self) -> None:
        if self.metric not in METRICS:
            raise ParameterError(f"metric={self.metric!r} is not known: expected one of {', '.join(METRICS)}.")
        if not (isinstance(self.n_neighbors, int | np.integer) and self.n_neighbors >= 1):
            raise ParameterError(f"n_neighbors={self.n_neighbors!r} is not possible: expected a whole number above 0.")
        if not 0 <= self.balance <= 1:
            raise ParameterError(f"balance={self.balance!r} is not possible: expected a number from 0 to 1.")

    def _spread(self, W: Any, Y: np.ndarray, labelled: np.ndarray, strength: float) -> np.ndarray:
        raise NotImplementedError

    def _without(
        self, W: Any, Y: np.ndarray, labelled: np.ndarray, strength: float, parts: list[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """What spreads when the labels of the rows of one part after the other are not known."""
        for out in parts:
            kept, known = Y.copy(), labelled.copy()
            kept[out], known[out] = 0.0, False
            yield self._spread(W, kept, known, strength) if known.any() else kept

    def _strengths(self) -> tuple[float, ...]:
        return (1.0,)

    def fit(self, X: Any, y: Any, *, stop: Callable[[], bool] | None = None, threads: int | None = None) -> Any:
        """Learn from X (n, p) and y (n,), in which -1 means that a row has no label."""
        self._check()
        X, codes, labelled, self.classes_ = to_fit(X, y, self)
        if len(X) < 2:
            raise DataError("One sample cannot be joined to any other: n_samples=1, at least 2 are needed.")
        asked = stop or (lambda: False)
        k = len(self.classes_)
        Y = (codes[:, None] == np.arange(k)).astype(np.float64)  # (n, k), zeros where there is no label
        self._seed = int(self.random_state or 0) if not hasattr(self.random_state, "randint") else 0
        self._threads = threads
        middle, axes = None, None
        if self.metric != "given":
            factor = _scale(X)
            middle, axes = (X.mean(axis=0), np.diag(factor)) if self.metric == "scaled" else _even(X, factor)
        Z = X if axes is None else (X - middle) @ axes
        W = graph(Z, self.n_neighbors, self._seed, threads)
        self.strength_, self.sharpness_ = self._judge(W, Y, labelled, asked)
        P, linked = self._answers(W, Z, Y, labelled)
        if self.metric == "learnt" and k > 1 and not asked():
            learnt = _learnt(Z, P, Y, labelled)
            if learnt is not None:
                axes = axes @ learnt
                Z = (X - middle) @ axes
                P, linked = self._answers(graph(Z, self.n_neighbors, self._seed, threads), Z, Y, labelled)
        self.reached_, self.label_distributions_ = linked, P
        self.transduction_ = self.classes_[P.argmax(axis=1)]
        if not linked.all():
            warnings.warn(
                f"No label reaches {int((~linked).sum())} of {len(X)} rows: they are answered with little confidence, "
                "as the nearest row that one reaches (reached_ says which they are).",
                UserWarning,
                stacklevel=2,
            )
        rows = _some(labelled, KEPT, self._seed)
        self._rows, self._given = np.ascontiguousarray(Z[rows]), P[rows]
        self._middle, self._axes = middle, axes
        self._step = pack(self)
        return self

    def _judge(self, W: Any, Y: np.ndarray, labelled: np.ndarray, asked: Callable[[], bool]) -> tuple[float, float]:
        """(strength, sharpness) that answer best for labels that were held out one part after the other."""
        strengths, rows = self._strengths(), np.flatnonzero(labelled)
        codes = Y[rows].argmax(axis=1)
        rows = rows[np.argsort(codes, kind="stable")]  # dealt out class by class
        codes = Y[rows].argmax(axis=1)
        often = np.bincount(codes, minlength=Y.shape[1])[codes] > 1  # a class without its only label is not judged
        parts = min(_HELD if len(W.indptr) <= _MANY else 3, len(rows))
        if len(W.indptr) > 3 * _MANY:
            strengths = strengths[len(strengths) // 2 :][:1]
        if parts < 2 or not often.any() or len(self.classes_) < 2:
            return strengths[len(strengths) // 2], 1.0
        best = (np.inf, strengths[len(strengths) // 2], 1.0)
        turn = np.arange(len(rows)) % parts
        for strength in strengths:
            held = np.zeros((len(rows), Y.shape[1]))
            for part, F in enumerate(self._without(W, Y, labelled, strength, [rows[turn == p] for p in range(parts)])):
                kept = Y[rows[turn != part]]
                held[turn == part] = balanced(F, _share(kept), self.balance)[rows[turn == part]]
            for sharpness in _SHARPNESS:
                loss = -np.log(_sharpened(held[often], sharpness)[np.arange(often.sum()), codes[often]]).mean()
                if loss < best[0] - 1e-9:
                    best = (loss, strength, sharpness)
            if asked():
                break
        return best[1], best[2]

    def _answers(self, W: Any, Z: np.ndarray, Y: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities (n, k), which rows a label reaches (n,))."""
        linked = reached(W, labelled)
        F = self._spread(W, Y, labelled, self.strength_)
        P = np.full(F.shape, 1.0 / F.shape[1])
        P[linked] = _sharpened(balanced(F[linked], _share(Y), self.balance), self.sharpness_)
        lost = np.flatnonzero(~linked)
        if len(lost):
            from sklearn.neighbors import NearestNeighbors

            near = NearestNeighbors(n_neighbors=1).fit(Z[linked]).kneighbors(Z[lost], return_distance=False)[:, 0]
            P[lost] = 0.5 * P[lost] + 0.5 * P[linked][near]
        return P, linked

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class (n, k), by the nearest rows that the model keeps."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._step(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = True
        return tags


def _share(Y: np.ndarray) -> np.ndarray:
    """Shares (k,) of the classes among the labelled rows, drawn a little towards equal ones."""
    count = Y.sum(axis=0) + 1.0
    return count / count.sum()


def _sharpened(P: np.ndarray, power: float) -> np.ndarray:
    """Probabilities to a power; never quite 0."""
    logs = power * np.log(np.maximum(P, 1e-12))
    logs -= logs.max(axis=1, keepdims=True)
    P = np.maximum(np.exp(logs), 1e-4 / P.shape[1])
    return P / P.sum(axis=1, keepdims=True)


def _scale(X: np.ndarray) -> np.ndarray:
    """(p,) factors of the columns. Those that share a unit, as pixels do, keep their widths; others get the same."""
    reach = np.ptp(X, axis=0)
    reach = reach[reach > 0]
    if len(reach) and reach.max() <= _ONE_UNIT * np.median(reach):
        return np.full(X.shape[1], 1.0 / np.median(reach))
    width = X.std(axis=0)
    least = 1e-9 * np.maximum(np.abs(X).max(axis=0), 1e-300)
    return np.where(width > least, 1.0 / np.maximum(width, least), 0.0)


def _even(X: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(middle (p,), axes (p, d)): main directions of the columns times `factor`, each divided by the root of its width.

    Wide directions thus count less and narrow ones more than in plain distances, halfway to whitening.
    """
    middle = X.mean(axis=0)
    C = (X - middle) * factor
    width, axes = np.linalg.eigh(C.T @ C / len(X))
    kept = width > max(width[-1] * 1e-6, 1e-300)
    if not kept.any():
        return middle, np.diag(factor)
    width, axes = width[kept][::-1], axes[:, kept][:, ::-1]
    enough = int(np.searchsorted(np.cumsum(width) / width.sum(), 0.99)) + 1
    return middle, np.ascontiguousarray(factor[:, None] * axes[:, :enough] / width[:enough] ** 0.25)


def _learnt(Z: np.ndarray, P: np.ndarray, Y: np.ndarray, labelled: np.ndarray) -> np.ndarray | None:
    """Axes (d, e) in which the classes, as the rows are now taken for, lie apart; half of the old axes stay in."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    top = np.sort(P, axis=1)
    sure = top[:, -1] - top[:, -2]
    chosen = (sure >= np.quantile(sure, 1 - _SURE)) | labelled
    code = P.argmax(axis=1)
    code[labelled] = Y[labelled].argmax(axis=1)
    if len(np.unique(code[chosen])) < 2:
        return None
    try:
        found = LinearDiscriminantAnalysis(solver="eigen", shrinkage=_SHRINK).fit(Z[chosen], code[chosen])
    except (np.linalg.LinAlgError, ValueError):
        return None
    new = found.scalings_[:, : found._max_components]
    spread = np.sqrt(((Z @ new).var(axis=0)).mean())
    if not np.isfinite(new).all() or not spread > 0:
        return None
    old = np.sqrt(Z.var(axis=0).mean())
    return np.hstack([new / spread, np.eye(Z.shape[1]) / old * np.sqrt(new.shape[1] / Z.shape[1])])


def _some(labelled: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Row numbers to keep, at most `most`: labelled ones first."""
    n = len(labelled)
    if n <= most:
        return np.arange(n)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[np.argsort(~labelled[order], kind="stable")][:most])


def fit(
    model: Any,
    X: np.ndarray,
    y: np.ndarray,
    *,
    unlabelled: np.ndarray | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
) -> Any:
    """Fit on labelled rows and, where there are any, on unlabelled ones beside them."""
    if unlabelled is None or not len(unlabelled):
        return model.fit(X, y, stop=stop, threads=threads)
    y = np.concatenate([np.asarray(y), np.full(len(unlabelled), -1)])
    return model.fit(np.concatenate([X, unlabelled]), y, stop=stop, threads=threads)


def pack(model: Any, n_classes: int | None = None) -> Propagation:
    """The fitted model as a scoring step; it holds rows of the fit."""
    codes, k = codes_of(model, n_classes)
    k_near = int(min(model.n_neighbors, len(model._rows)))
    return Propagation(model._rows, place(model._given, codes, k, 0.0), k_near, model._middle, model._axes)
