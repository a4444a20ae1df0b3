"""Weighted sums, activations, and layers that hold layers. Shapes: (n, p) or (n, k, p) with k members side by side."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

ACTIVATIONS = (
    *("identity", "relu", "leaky_relu", "tanh", "sigmoid", "softmax", "softplus", "elu", "selu", "silu", "gelu"),
    "mish",
)
_SELU = (1.6732632423543772, 1.0507009873554805)  # alpha, scale (Klambauer et al. 2017)
LEAK = 0.01
_ERF = np.frompyfunc(math.erf, 1, 1)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-z) without overflow, any shape."""
    return 0.5 * (1.0 + np.tanh(0.5 * z))


def softplus(z: np.ndarray) -> np.ndarray:
    """log(1 + e^z) without overflow."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def erf(z: np.ndarray) -> np.ndarray:
    """The error function, element by element."""
    return np.asarray(_ERF(z), dtype=z.dtype)


def activate(z: np.ndarray, kind: str, slope: float = LEAK) -> np.ndarray:
    """phi(z), any shape; softmax is over the last axis."""
    if kind == "identity":
        return z
    if kind == "relu":
        return np.maximum(z, 0)
    if kind == "leaky_relu":
        return np.where(z > 0, z, z * z.dtype.type(slope))
    if kind == "tanh":
        return np.tanh(z)
    if kind == "sigmoid":
        return sigmoid(z)
    if kind == "softmax":
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
    if kind == "softplus":
        return softplus(z)
    if kind == "elu":
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))
    if kind == "selu":
        alpha, scale = (z.dtype.type(v) for v in _SELU)
        return scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))
    if kind == "silu":
        return z * sigmoid(z)
    if kind == "gelu":
        return 0.5 * z * (1.0 + erf(z / z.dtype.type(np.sqrt(2.0))))
    return z * np.tanh(softplus(z))  # mish


def slope_of(z: np.ndarray, a: np.ndarray, kind: str, slope: float = LEAK) -> np.ndarray:
    """dphi/dz where phi(z) = a, elementwise (softmax has no such thing: see `Activation.backward`)."""
    if kind == "identity":
        return np.ones_like(z)
    if kind == "relu":
        return (z > 0).astype(z.dtype)
    if kind == "leaky_relu":
        return np.where(z > 0, 1.0, slope).astype(z.dtype)
    if kind == "tanh":
        return 1.0 - a * a
    if kind == "sigmoid":
        return a * (1.0 - a)
    if kind == "softplus":
        return sigmoid(z)
    if kind == "elu":
        return np.where(z > 0, 1.0, a + 1.0).astype(z.dtype)
    if kind == "selu":
        alpha, scale = _SELU
        return np.where(z > 0, scale, a + scale * alpha).astype(z.dtype)
    if kind == "silu":
        s = sigmoid(z)
        return s * (1.0 + z * (1.0 - s))
    if kind == "gelu":
        return 0.5 * (1.0 + erf(z / np.sqrt(2.0))) + z * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    t, s = np.tanh(softplus(z)), sigmoid(z)  # mish
    return t + z * s * (1.0 - t * t)


@layer("dense")
class Dense(Layer):
    """z = x W + b.

    weight (in, out) for x (..., in); or (k, in, out), a matrix per member, for x (n, in) or (n, k, in) -> (n, k, out).
    bias (out,) or (k, out), or None.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        W = self.weight
        need(x.shape[-1] == W.shape[-2], f"a layer needs {W.shape[-2]} inputs and got {x.shape[-1]}")
        if W.ndim == 2:
            z = x @ W
        elif x.ndim == 2:
            z = np.moveaxis(np.matmul(x, W), 0, 1)  # (n, k, out)
        else:
            z = np.moveaxis(np.matmul(np.moveaxis(x, 1, 0), W), 0, 1)
        if self.bias is not None:
            z = z + self.bias
        return z

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if self.weight.ndim == 2:
            rows, slopes = x.reshape(-1, x.shape[-1]), d.reshape(-1, d.shape[-1])
            grads = {"weight": rows.T @ slopes}
            if self.bias is not None:
                grads["bias"] = slopes.sum(axis=0)
            return d @ self.weight.T, grads
        slopes = np.moveaxis(d, 1, 0)  # (k, n, out)
        rows = np.broadcast_to(x, (len(self.weight), *x.shape)) if x.ndim == 2 else np.moveaxis(x, 1, 0)
        grads = {"weight": np.matmul(np.swapaxes(rows, 1, 2), slopes)}
        if self.bias is not None:
            grads["bias"] = d.sum(axis=0).reshape(self.bias.shape)
        dx = np.moveaxis(np.matmul(slopes, np.swapaxes(self.weight, 1, 2)), 0, 1)
        return (dx.sum(axis=1) if x.ndim == 2 else dx), grads

    def check(self) -> None:
        need(self.weight.ndim in (2, 3) and self.weight.dtype.kind == "f", "a layer's weights have a wrong shape")
        if self.bias is not None:
            shape = self.weight.shape[-1:] if self.weight.ndim == 2 else (self.weight.shape[0], self.weight.shape[2])
            need(self.bias.shape == shape and self.bias.dtype.kind == "f", "a layer's biases do not fit")


@layer("activation")
class Activation(Layer):
    """a = phi(z), elementwise (softmax: over the last axis).

    slope : of leaky_relu below zero. amount (p,) or (k, p): a parametric activation, z + amount (phi(z) - z).
    """

    formula: ClassVar[str] = "a = φ(x)"

    kind: str = "relu"
    slope: float = LEAK
    amount: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        a = activate(x, self.kind, self.slope)
        return a if self.amount is None else x + self.amount * (a - x)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if self.kind == "softmax":
            return y * (d - (d * y).sum(axis=-1, keepdims=True)), {}
        a = activate(x, self.kind, self.slope)
        bend = slope_of(x, a, self.kind, self.slope)
        if self.amount is None:
            return d * bend, {}
        grad = _summed(d * (a - x), self.amount.shape)
        return d * (1.0 + self.amount * (bend - 1.0)), {"amount": grad}

    def check(self) -> None:
        need(self.kind in ACTIVATIONS and isinstance(self.slope, float | int), f"unknown activation {self.kind!r}")


@layer("affine")
class Affine(Layer):
    """x * scale + shift, by the last axis (or whatever axes the arrays have): scalings, folded batch normalisation."""

    formula: ClassVar[str] = "a = scale · x + shift"

    scale: np.ndarray | None = None
    shift: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x if self.scale is None else x * self.scale
        return y if self.shift is None else y + self.shift

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        grads = {}
        if self.scale is not None:
            grads["scale"] = _summed(d * x, self.scale.shape)
        if self.shift is not None:
            grads["shift"] = _summed(d, self.shift.shape)
        return (d if self.scale is None else _summed(d * self.scale, x.shape)), grads

    def check(self) -> None:
        for array in (self.scale, self.shift):
            need(array is None or array.dtype.kind == "f", "a scaling has a wrong kind of number")


def _summed(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of broadcasting: sums of `grad` that have `shape`."""
    extra = grad.ndim - len(shape)
    grad = grad.sum(axis=tuple(range(extra))) if extra > 0 else grad
    wide = tuple(i for i, side in enumerate(shape) if side == 1 and grad.shape[i] != 1)
    return grad.sum(axis=wide, keepdims=True).reshape(shape) if wide else grad.reshape(shape)


@layer("normalize")
class Normalize(Layer):
    """Layer normalisation over the last axis: (x - mean) / sqrt(variance + eps) * scale + shift."""

    formula: ClassVar[str] = "a = scale · (x - mean(x)) / √(var(x) + ε) + shift"

    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    eps: float = 1e-5

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x - x.mean(axis=-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(axis=-1, keepdims=True) + x.dtype.type(self.eps))
        y = y if self.scale is None else y * self.scale
        return y if self.shift is None else y + self.shift

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        even = x - x.mean(axis=-1, keepdims=True)
        root = np.sqrt((even * even).mean(axis=-1, keepdims=True) + x.dtype.type(self.eps))
        even = even / root
        grads = {}
        if self.scale is not None:
            grads["scale"] = _summed(d * even, self.scale.shape)
        if self.shift is not None:
            grads["shift"] = _summed(d, self.shift.shape)
        d = d if self.scale is None else d * self.scale
        pulled = d - d.mean(axis=-1, keepdims=True) - even * (d * even).mean(axis=-1, keepdims=True)
        return pulled / root, grads


@layer("sequential")
class Sequential(Layer):
    """One layer after the other."""

    layers: list[Layer]

    def __call__(self, x: Any) -> Any:
        for part in self.layers:
            x = part(x)
        return x

    def run(self, x: Any, watch: Any = None, path: str = "") -> Any:
        for i, part in enumerate(self.layers):
            x = part.run(x, watch, f"{path}.{i}" if path else str(i))
        return x

    def pull(self, x: Any, d: np.ndarray, watch: Any = None, path: str = "", otherwise: Any = None) -> Any:
        inputs = [x]
        for part in self.layers[:-1]:
            inputs.append(part(inputs[-1]))
        for i in reversed(range(len(self.layers))):
            d = self.layers[i].pull(inputs[i], d, watch, f"{path}.{i}" if path else str(i), otherwise)
        return d

    def parts(self) -> list[Layer]:
        return list(self.layers)

    def check(self) -> None:
        need(isinstance(self.layers, list | tuple), "a sequence holds no layers")
        self.layers = list(self.layers)


@layer("residual")
class Residual(Layer):
    """body(x) + shortcut(x); the shortcut is x itself by default."""

    formula: ClassVar[str] = "a = body(x) + shortcut(x)"

    body: Layer
    shortcut: Layer | None = None

    def __call__(self, x: Any) -> Any:
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))

    def run(self, x: Any, watch: Any = None, path: str = "") -> Any:
        y = self.body.run(x, watch, f"{path}.body") + (
            x if self.shortcut is None else self.shortcut.run(x, watch, f"{path}.shortcut")
        )
        if watch is not None:
            watch(path, self, x, y)
        return y

    def pull(self, x: Any, d: np.ndarray, watch: Any = None, path: str = "", otherwise: Any = None) -> Any:
        dx = d if self.shortcut is None else self.shortcut.pull(x, d, watch, f"{path}.shortcut", otherwise)
        dx = dx + self.body.pull(x, d, watch, f"{path}.body", otherwise)
        if watch is not None:
            watch(path, self, d, dx, {})
        return dx

    def parts(self) -> list[Layer]:
        return [self.body] if self.shortcut is None else [self.body, self.shortcut]


@layer("concat")
class Concat(Layer):
    """All layers at the same input, their answers side by side along the last axis."""

    layers: list[Layer]

    def __call__(self, x: Any) -> Any:
        return np.concatenate([part(x) for part in self.layers], axis=-1)

    def run(self, x: Any, watch: Any = None, path: str = "") -> Any:
        made = [part.run(x, watch, f"{path}.{i}" if path else str(i)) for i, part in enumerate(self.layers)]
        return np.concatenate(made, axis=-1)

    def pull(self, x: Any, d: np.ndarray, watch: Any = None, path: str = "", otherwise: Any = None) -> Any:
        ends = np.cumsum([part(x).shape[-1] for part in self.layers])[:-1]
        slopes = np.split(d, ends, axis=-1)
        return sum(
            part.pull(x, slope, watch, f"{path}.{i}" if path else str(i), otherwise)
            for i, (part, slope) in enumerate(zip(self.layers, slopes, strict=True))
        )

    def parts(self) -> list[Layer]:
        return list(self.layers)

    def check(self) -> None:
        need(isinstance(self.layers, list | tuple) and len(self.layers) > 0, "a join holds no layers")
        self.layers = list(self.layers)


@layer("columns")
class Columns(Layer):
    """Some of the columns of the last axis, in the given order."""

    formula: ClassVar[str] = "a = x[take]"

    take: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(not len(self.take) or int(self.take.max()) < x.shape[-1], "a layer takes columns that do not exist")
        return x[..., self.take]

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        dx = np.zeros(x.shape, dtype=d.dtype)
        np.add.at(dx, (..., self.take), d)  # a column may be taken twice
        return dx, {}

    def check(self) -> None:
        need(self.take.ndim == 1 and self.take.dtype.kind in "iu", "columns are no numbers")
        need(not len(self.take) or int(self.take.min()) >= 0, "columns are below zero")


@layer("members")
class Members(Layer):
    """The mean over members: (n, k, p) -> (n, p), of x or of an activation of x."""

    formula: ClassVar[str] = "a = 1/k Σ φ(x_m)"

    kind: str = "identity"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == 3, "there are no members to average")
        return activate(x, self.kind).mean(axis=1)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        spread = np.repeat(d[:, None] / x.shape[1], x.shape[1], axis=1)
        return Activation(self.kind).backward(x, activate(x, self.kind), spread)

    def check(self) -> None:
        need(self.kind in ACTIVATIONS, f"unknown activation {self.kind!r}")
