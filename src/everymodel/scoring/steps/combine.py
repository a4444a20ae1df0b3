"""Steps that join, calibrate, invert or place answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Sparse, Step, need, step

LINKS = ("identity", "sigmoid", "softmax", "exp", "normalize")
GIVES = ("value", "probabilities", "scores", "matrix")


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) without overflow, any shape."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    """Rows of (n, k) to probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def link(raw: np.ndarray, kind: str, places: np.ndarray | None = None, classes: int | None = None) -> np.ndarray:
    """Turn raw sums into the answer.

    "identity" as is · "exp" e^raw · "sigmoid" (n,) -> (n, 2) with [1 - p, p], or (n, k) -> (n, k) each by itself
    (multilabel) · "softmax" (n, k) rows · "normalize" rows divided by their sum.

    `places` puts column j of the answer into column places[j] of `classes` columns; the others are 0. That is for a
    model that has seen only some of the classes.
    """
    if kind == "identity":
        answer = raw
    elif kind == "exp":
        answer = np.exp(raw)
    elif kind == "sigmoid":
        p = sigmoid(raw)
        if p.ndim == 1:
            answer = np.empty((len(p), 2))
            answer[:, 1] = p
            np.subtract(1.0, p, out=answer[:, 0])
        else:
            answer = p
    elif kind == "softmax":
        answer = softmax(raw)
    else:
        answer = raw / raw.sum(axis=1, keepdims=True)
    if places is None:
        return answer
    wide = np.zeros((len(answer), classes or int(places.max()) + 1))
    wide[:, places] = answer
    return wide


def check_link(kind: str, gives: str, places: np.ndarray | None, classes: int | None, outputs: int) -> None:
    """For `check` of steps that end in `link`."""
    need(kind in LINKS, f"unknown link {kind!r}")
    need(gives in GIVES, f"unknown kind of answer {gives!r}")
    if places is None:
        return
    columns = 2 if kind == "sigmoid" and outputs == 1 else outputs
    need(isinstance(classes, int) and 0 < classes <= 100_000, "the number of classes is missing")
    need(
        places.shape == (columns,) and places.dtype.kind in "iu" and len(set(places.tolist())) == columns,
        "class places do not fit the answer's columns",
    )
    need(columns > 0 and places.min() >= 0 and places.max() < classes, "class places are out of range")


class _Gives(Step):
    """A step whose kind of answer is a setting called `gives`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", self.gives)  # type: ignore[attr-defined]


def _finite(array: Any, what: str) -> None:
    need(isinstance(array, np.ndarray) and array.dtype.kind in "iuf", f"{what} are not numbers")
    need(bool(np.isfinite(array).all()), f"{what} are not finite")


def _number(value: Any, what: str) -> None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    need(good, f"{what} is not a finite number")


@step("blend", "value")
class Blend(_Gives):
    """Weighted sum of k answers of equal shape: sum of weights[i] * input i, added in order.

    weights: (k,) the same for all columns, or (k, columns). gives: what the answer is.
    """

    weights: np.ndarray
    gives: str = "value"

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        total = inputs[0] * self.weights[0]
        for weight, answer in zip(self.weights[1:], inputs[1:], strict=True):
            total += answer * weight
        return total

    def check(self) -> None:
        _finite(self.weights, "blend weights")
        need(self.weights.ndim in (1, 2) and len(self.weights) > 0, "blend weights have a wrong shape")
        need(self.gives in GIVES, f"unknown kind of answer {self.gives!r}")


@step("mean", "value")
class Mean(_Gives):
    """Plain mean of the inputs, added in order, then divided by their number."""

    gives: str = "value"

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        total = inputs[0].astype(np.float64)
        for answer in inputs[1:]:
            total += answer
        total /= len(inputs)
        return total

    def check(self) -> None:
        need(self.gives in GIVES, f"unknown kind of answer {self.gives!r}")


@step("calibrate", "probabilities")
class Calibrate(Step):
    """Scores to probabilities (Platt; with k classes its multinomial form).

    Scores (n,): p = sigmoid(a[0] * s + b[0]) -> (n, 2) as [1 - p, p].
    Scores (n, k): softmax(a * s + b) with a (k,) or (1,), b (k,). `each`: every column is a sigmoid of its own
    (multilabel). `log`: the inputs are probabilities and their logarithm is taken first (clipped at 1e-15), which makes
    this temperature and vector scaling; binary probabilities (n, 2) then give s = log(p1 / p0).
    """

    a: np.ndarray
    b: np.ndarray
    each: bool = False
    log: bool = False

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        if self.log:
            scores = np.log(np.clip(scores, 1e-15, 1.0 if not self.each else 1.0 - 1e-15))
            if self.each:
                scores = scores - np.log1p(-np.exp(scores))
            elif scores.ndim == 2 and scores.shape[1] == 2 and len(self.b) == 1:
                scores = scores[:, 1] - scores[:, 0]
        if scores.ndim == 2 and scores.shape[1] == 1 and len(self.b) == 1 and not self.each:
            scores = scores[:, 0]
        z = scores * (self.a if scores.ndim == 2 else self.a[0]) + (self.b if scores.ndim == 2 else self.b[0])
        if self.each:
            return sigmoid(z)
        return link(z, "sigmoid" if z.ndim == 1 else "softmax")

    def check(self) -> None:
        _finite(self.a, "calibration slopes")
        _finite(self.b, "calibration offsets")
        need(self.a.ndim == self.b.ndim == 1 and len(self.b) > 0, "calibration arrays have a wrong shape")
        need(len(self.a) in (1, len(self.b)), "calibration arrays have different lengths")


@step("transform", "value")
class Transform(Step):
    """Undo a change of a regression target: y = inverse(z * scale + offset).

    kind "identity": y = u · "log1p": y = expm1(u) · "log": y = exp(u) · "signed_log": y = sign(u) * expm1(|u|), with
    u = z * scale + offset. Training used z = (forward(y) - offset) / scale. Shapes (n,) and (n, t); scale and offset
    are numbers, or arrays (t,). u is clipped to +-700 before an exponential, so that the answer stays finite.
    """

    kind: str = "identity"
    offset: float | np.ndarray = 0.0
    scale: float | np.ndarray = 1.0

    def __call__(self, z: np.ndarray) -> np.ndarray:
        u = z * self.scale + self.offset
        if self.kind == "identity":
            return u
        u = np.clip(u, -700.0, 700.0)
        if self.kind == "log1p":
            return np.expm1(u)
        if self.kind == "log":
            return np.exp(u)
        return np.sign(u) * np.expm1(np.abs(u))

    def check(self) -> None:
        need(self.kind in ("identity", "log1p", "log", "signed_log"), f"unknown transform {self.kind!r}")
        for value, what in ((self.offset, "transform offsets"), (self.scale, "transform scales")):
            if isinstance(value, np.ndarray):
                _finite(value, what)
                need(value.ndim <= 1, f"{what} have a wrong shape")
            else:
                _number(value, what)


@step("clip", "value")
class Clip(_Gives):
    """Answers limited to [low, high]; None leaves a side open."""

    low: float | None = None
    high: float | None = None
    gives: str = "value"

    def __call__(self, answer: np.ndarray) -> np.ndarray:
        if self.low is None and self.high is None:
            return answer
        return np.clip(answer, self.low, self.high)

    def check(self) -> None:
        for value in (self.low, self.high):
            if value is not None:
                _number(value, "a clip limit")
        need(self.gives in GIVES, f"unknown kind of answer {self.gives!r}")


@step("columns")
class Columns(_Gives):
    """Some columns of a matrix, in the order of `index` (m,)."""

    index: np.ndarray
    gives: str = "matrix"

    def __call__(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        if isinstance(matrix, Sparse):
            matrix = matrix.toarray()
        return matrix[:, self.index]

    def check(self) -> None:
        need(self.index.ndim == 1 and self.index.dtype.kind in "iu", "column numbers are not whole")
        need(len(self.index) == 0 or int(self.index.min()) >= 0, "column numbers are negative")
        need(self.gives in GIVES, f"unknown kind of answer {self.gives!r}")


@step("stack")
class Stack(Step):
    """Inputs side by side: (n,) and (n, k) answers or matrices become one matrix (n, sum of columns)."""

    def __call__(self, *inputs: np.ndarray | Sparse) -> np.ndarray | Sparse:
        if any(isinstance(i, Sparse) for i in inputs):
            return Sparse.hstack([i if isinstance(i, Sparse) or i.ndim == 2 else i[:, None] for i in inputs])
        return np.column_stack(inputs)


@step("place", "probabilities")
class Place(_Gives):
    """Column j of the input becomes column places[j] of `classes` columns; the others are `fill`."""

    places: np.ndarray
    classes: int
    fill: float = 0.0
    gives: str = "probabilities"

    def __call__(self, answer: np.ndarray) -> np.ndarray:
        wide = np.full((len(answer), self.classes), float(self.fill))
        wide[:, self.places] = answer
        return wide

    def check(self) -> None:
        check_link("identity", self.gives, self.places, self.classes, len(self.places))
        _number(self.fill, "the fill value")


@step("bands", "value")
class Bands(Step):
    """Piecewise linear map of an answer (n,): np.interp(x, xs, ys). Isotonic calibration and the like."""

    xs: np.ndarray
    ys: np.ndarray

    def __call__(self, answer: np.ndarray) -> np.ndarray:
        return np.interp(answer, self.xs, self.ys)

    def check(self) -> None:
        _finite(self.xs, "band positions")
        _finite(self.ys, "band values")
        need(self.xs.ndim == 1 and self.xs.shape == self.ys.shape and len(self.xs) > 0, "bands have a wrong shape")
        need(bool((np.diff(self.xs) >= 0).all()), "band positions are not sorted")
