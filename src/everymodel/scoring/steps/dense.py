"""Feed-forward networks: layers of weighted sums with a bend in between."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Sparse, need, step
from everymodel.scoring.steps.combine import _Gives
from everymodel.scoring.steps.linear import softmax

ACTIVATIONS = ("relu", "tanh", "logistic", "identity")
LINKS = ("identity", "softmax", "sigmoid")


def bend(z: np.ndarray, activation: str) -> np.ndarray:
    """The activation of z, which may be overwritten."""
    if activation == "relu":
        return np.maximum(z, 0, out=z)
    if activation == "tanh":
        return np.tanh(z, out=z)
    if activation == "logistic":
        return 1.0 / (1.0 + np.exp(-z))
    return z


def encoded(
    X: np.ndarray,
    low: np.ndarray | None,
    high: np.ndarray | None,
    column: np.ndarray | None,
    start: np.ndarray | None,
    width: np.ndarray | None,
) -> np.ndarray:
    """X (n, p) held within low and high, with its piecewise linear encoding (n, s) beside it; see Dense."""
    if low is not None:
        X = np.clip(X, low, high)
    if column is None:
        return X
    return np.concatenate([X, np.clip((X[:, column] - start) / width, 0.0, 1.0)], axis=1)


@step("dense", output="value")
class Dense(_Gives):
    """matrix (n, p) -> the mean over `members` networks of link(W_L ... bend(W_1 x + b_1) ... + b_L).

    sizes (inputs, hidden..., out); weights: all matrices (in, out) of all members one after the other, flattened row by
    row; biases likewise. They may be kept in float32; sums are made in float64.
    low, high (p,): inputs are held within what was seen, or None.
    column, start, width (s,): inputs of piecewise linear encoding, or None. Input p + i is how far column[i] has come
    from start[i] on to start[i] + width[i], from 0 to 1. Then sizes[0] is p + s.
    scale, offset (out,): the output is times scale plus offset (values of a standardised target), or None.
    link: "identity" (value), "softmax" (probabilities), "sigmoid": one output becomes [1 - p, p], several one p each.
    gives: "value" or "probabilities". places, classes: where the columns belong among all classes.
    """

    sizes: tuple[int, ...]
    weights: np.ndarray
    biases: np.ndarray
    activation: str = "relu"
    members: int = 1
    link: str = "identity"
    gives: str = "value"
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    column: np.ndarray | None = None
    start: np.ndarray | None = None
    width: np.ndarray | None = None
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    places: np.ndarray | None = None
    classes: int | None = None

    def __call__(self, X: np.ndarray | Sparse) -> np.ndarray:
        if isinstance(X, Sparse):
            X = X.toarray()
        X = encoded(X, self.low, self.high, self.column, self.start, self.width)
        need(X.ndim == 2 and X.shape[1] == self.sizes[0], f"the network needs {self.sizes[0]} inputs")
        total: Any = 0.0
        for layers in self._layers():
            h = X
            for i, (W, b) in enumerate(layers):
                h = h @ W
                h += b
                if i < len(layers) - 1:
                    h = bend(h, self.activation)
            total = total + self._linked(h)
        if self.members > 1:
            total = total / self.members
        if self.scale is not None:
            total = total * self.scale + self.offset
        if self.gives == "value" and total.shape[1] == 1:
            return total[:, 0]
        if self.places is None:
            return total
        wide = np.zeros((len(total), self.classes))
        wide[:, self.places] = total
        return wide

    def _linked(self, out: np.ndarray) -> np.ndarray:
        if self.link == "softmax":
            return softmax(out)
        if self.link == "sigmoid":
            with np.errstate(over="ignore"):
                p = 1.0 / (1.0 + np.exp(-out))
            return np.hstack([1.0 - p, p]) if p.shape[1] == 1 else p
        return out

    def _layers(self) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        made = self.__dict__.get("_made")
        if made is None:
            made, w, b = [], 0, 0
            weights, biases = self.weights.astype(np.float64), self.biases.astype(np.float64)
            for _ in range(self.members):
                layers = []
                for p, q in zip(self.sizes, self.sizes[1:]):
                    layers.append((weights[w : w + p * q].reshape(p, q), biases[b : b + q]))
                    w, b = w + p * q, b + q
                made.append(layers)
            object.__setattr__(self, "_made", made)
        return made

    def check(self) -> None:
        sizes = self.sizes
        whole = isinstance(sizes, tuple | list) and all(isinstance(s, int) and 0 < s <= 10_000_000 for s in sizes)
        need(whole and 2 <= len(sizes) <= 100, "the network's sizes are wrong")
        need(isinstance(self.members, int) and 1 <= self.members <= 1000, "the number of networks is wrong")
        count = self.members * sum(p * q for p, q in itertools.pairwise(sizes))
        need(self.weights.shape == (count,) and self.weights.dtype.kind == "f", "the network's weights do not fit")
        need(self.biases.shape == (self.members * sum(sizes[1:]),), "the network's biases do not fit")
        need(self.biases.dtype == self.weights.dtype, "weights and biases differ in kind")
        need(self.activation in ACTIVATIONS and self.link in LINKS, "unknown activation or link")
        need(self.gives in ("value", "probabilities"), f"unknown answer {self.gives!r}")
        for array in (self.weights, self.biases):
            need(bool(np.isfinite(array).all()), "the network's weights are not finite")
        segments = 0 if self.column is None else len(self.column)
        p = sizes[0] - segments
        if self.column is not None:
            need(self.start is not None and self.width is not None, "the network's encoding is incomplete")
            assert self.width is not None  # for the type checker: `need` has just raised otherwise
            need(self.column.ndim == 1 and self.column.dtype.kind in "iu", "the encoding's columns are no numbers")
            need(self.start.shape == self.width.shape == self.column.shape, "the encoding does not fit")
            need(bool(((self.column >= 0) & (self.column < p)).all()), "the encoding names unknown columns")
            need(bool(np.isfinite(self.start).all() and (self.width > 0).all()), "the encoding is damaged")
        for one, other, width in ((self.low, self.high, p), (self.scale, self.offset, sizes[-1])):
            need((one is None) == (other is None), "half of the network's range is missing")
            if one is not None and other is not None:
                need(one.shape == (width,) and other.shape == (width,), "the network's range does not fit")
                need(bool(np.isfinite(one).all() and np.isfinite(other).all()), "the network's range is not finite")
        if self.places is not None:
            columns = 2 if self.link == "sigmoid" and sizes[-1] == 1 else sizes[-1]
            places = self.places
            need(isinstance(self.classes, int) and 0 < self.classes <= 1_000_000, "the number of classes is missing")
            need(places.shape == (columns,) and places.dtype.kind in "iu", "class places do not fit")
            need(len(set(places.tolist())) == columns, "class places are repeated")
            need(bool(((places >= 0) & (places < self.classes)).all()), "a class place is out of range")
