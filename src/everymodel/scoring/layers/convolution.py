"""Convolutions and what goes with them. Channels come last: images (n, h, w, c), signals (n, t, c).

One class serves one and two axes of space: settings of an axis each are tuples of one or two numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError
from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

MOST = 1 << 22  # numbers in one block of patches: 16 MB
SIDE = 1 << 14
Slopes = tuple[np.ndarray, dict[str, np.ndarray]]


def _whole(values: Any, count: int, low: int, what: str) -> tuple[int, ...]:
    """Settings of `count` axes as whole numbers, or ModelFileError."""
    values = tuple(values) if isinstance(values, list | tuple) else (values,) * count
    good = len(values) == count and all(type(v) is int and low <= v <= SIDE for v in values)
    need(good, f"the {what} of a layer is {values!r}")
    return values


def _padded(x: np.ndarray, padding: tuple[int, ...], value: float = 0.0) -> np.ndarray:
    """x with `padding` = (before, after) of each axis of space."""
    if not any(padding):
        return x
    pairs = [(padding[2 * i], padding[2 * i + 1]) for i in range(len(padding) // 2)]
    return np.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=value)


def _unpadded(x: np.ndarray, padding: tuple[int, ...]) -> np.ndarray:
    ends = [slice(padding[2 * i], x.shape[i + 1] - padding[2 * i + 1]) for i in range(len(padding) // 2)]
    return x[(slice(None), *ends)]


def _taps(
    shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Iterator[tuple[slice, ...]]:
    """For each place in the window: the slices of an input whose elements meet it, for an output of `shape`."""
    for place in itertools.product(*(range(k) for k in size)):
        yield (
            slice(None),
            *(
                slice(p * d, p * d + (o - 1) * s + 1, s)
                for p, o, s, d in zip(place, shape, stride, dilation, strict=True)
            ),
        )


def _sides(x: np.ndarray, size: Any, stride: Any, dilation: Any) -> tuple[int, ...]:
    """Sides of the output for a padded input; ModelFileError where the input is too small for the window."""
    sides = x.shape[1:-1]
    need(len(sides) == len(size), f"a layer for {len(size)} axes of space got an input of shape {x.shape}")
    out = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(sides, size, stride, dilation, strict=True))
    need(all(o > 0 for o in out), f"the input of {' x '.join(map(str, sides))} is smaller than a layer's window")
    return out


@layer("convolution")
class Convolution(Layer):
    """z[i, j] = sum over the window of x[i s + u d, j s + v d] W[u, v] + b (a correlation, as everybody calls it).

    weight (k, in / groups, out) or (kh, kw, in / groups, out); bias (out,).
    stride, dilation : one number per axis. padding : zeros (before, after) per axis.
    """

    formula: ClassVar[str] = "z[i,j] = Σ x[i+u, j+v] W[u,v] + b"

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    def check(self) -> None:
        W = self.weight
        need(W.ndim in (3, 4) and W.dtype.kind == "f" and W.size > 0, "a convolution's weights have a wrong shape")
        axes = W.ndim - 2
        self.stride = _whole(self.stride, axes, 1, "stride")
        self.dilation = _whole(self.dilation, axes, 1, "dilation")
        self.padding = _whole(self.padding, 2 * axes, 0, "padding")
        need(type(self.groups) is int and 0 < self.groups <= W.shape[-1], "a convolution's groups are wrong")
        need(W.shape[-1] % self.groups == 0, "a convolution's groups do not divide its channels")
        if self.bias is not None:
            need(self.bias.shape == W.shape[-1:] and self.bias.dtype.kind == "f", "a convolution's biases do not fit")

    @property
    def size(self) -> tuple[int, ...]:
        """Of the window, one number per axis."""
        return self.weight.shape[:-2]

    def _patches(self, x: np.ndarray) -> np.ndarray:
        """(n, out sides..., window * in) of a padded input, copied; with groups (groups, n * sides, window * in)."""
        view = np.lib.stride_tricks.sliding_window_view(
            x,
            tuple(d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True)),
            axis=tuple(range(1, x.ndim - 1)),  # type: ignore[arg-type]
        )  # (n, sides..., c, window...)
        axes = len(self.size)
        view = view[(slice(None), *(slice(None, None, s) for s in self.stride))]
        view = view[(..., *(slice(None, None, d) for d in self.dilation))]
        view = np.moveaxis(view, axes + 1, -1)  # (n, sides..., window..., c)
        if self.groups == 1:
            return view.reshape(*view.shape[: axes + 1], -1)
        rows = math.prod(view.shape[: axes + 1])
        parts = view.reshape(rows, math.prod(self.size), self.groups, -1)
        return np.moveaxis(parts, 2, 0).reshape(self.groups, rows, -1)

    def _matrix(self) -> np.ndarray:
        """(window * in, out), or (groups, window * in, out / groups)."""
        W = self.weight.reshape(-1, self.weight.shape[-1])
        return W if self.groups == 1 else np.moveaxis(W.reshape(len(W), self.groups, -1), 1, 0)

    def _blocks(self, x: np.ndarray, sides: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
        """(rows, output lines, input lines) of blocks whose patches are not too many."""
        one = math.prod(sides) * math.prod(self.size) * x.shape[-1]  # numbers for one row
        rows = max(1, MOST // max(one, 1))
        lines = sides[0] if one <= MOST else max(1, MOST * sides[0] // one)
        reach = self.dilation[0] * (self.size[0] - 1) + 1
        for low in range(0, len(x), rows):
            for top in range(0, sides[0], lines):
                end = min(top + lines, sides[0])
                yield (
                    slice(low, low + rows),
                    slice(top, end),
                    slice(top * self.stride[0], (end - 1) * self.stride[0] + reach),
                )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == self.weight.ndim, f"a convolution got an input of shape {x.shape}")
        inputs = self.weight.shape[-2] * self.groups
        need(x.shape[-1] == inputs, f"a convolution needs {inputs} channels and got {x.shape[-1]}")
        x = _padded(x, self.padding)
        sides = _sides(x, self.size, self.stride, self.dilation)
        matrix, outputs = self._matrix(), self.weight.shape[-1]
        out = np.empty((len(x), *sides, outputs), dtype=np.result_type(x, self.weight))
        for rows, lines, taken in self._blocks(x, sides):
            made = self._patches(x[rows, taken]) @ matrix
            if self.groups > 1:
                made = np.moveaxis(made, 0, 1)  # (n * sides, groups, out / groups)
            out[rows, lines] = made.reshape(out[rows, lines].shape)
        if self.bias is not None:
            out += self.bias
        return out

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Slopes:
        wide = _padded(x, self.padding)
        sides, W = d.shape[1:-1], self.weight
        dx = np.zeros(wide.shape, dtype=d.dtype)
        gradient = np.zeros_like(W)
        groups, own = self.groups, W.shape[-2]
        taps = _taps(sides, self.size, self.stride, self.dilation)
        slopes = d.reshape(-1, groups, W.shape[-1] // groups)
        for place, taken in zip(np.ndindex(*self.size), taps, strict=True):
            part = wide[taken].reshape(-1, groups, own)
            gradient[place] = np.einsum("rgi,rgo->igo", part, slopes).reshape(own, -1)
            back = np.einsum("rgo,igo->rgi", slopes, W[place].reshape(own, groups, -1))
            dx[taken] += back.reshape(*d.shape[:-1], -1)
        grads = {"weight": gradient}
        if self.bias is not None:
            grads["bias"] = d.sum(axis=tuple(range(d.ndim - 1)))
        return _unpadded(dx, self.padding), grads


@layer("transposed_convolution")
class TransposedConvolution(Layer):
    """Each element of x paints its window, W times itself, into the output; windows lie `stride` apart and add up.

    weight (k, in, out) or (kh, kw, in, out); padding : lines (before, after) per axis cut off the output (below zero:
    lines of zeros added).
    """

    formula: ClassVar[str] = "z[i s + u, j s + v] = Σ x[i, j] W[u,v] + b"

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)

    def check(self) -> None:
        W = self.weight
        need(W.ndim in (3, 4) and W.dtype.kind == "f" and W.size > 0, "a convolution's weights have a wrong shape")
        self.stride = _whole(self.stride, W.ndim - 2, 1, "stride")
        self.padding = _whole(self.padding, 2 * (W.ndim - 2), -SIDE, "padding")
        if self.bias is not None:
            need(self.bias.shape == W.shape[-1:] and self.bias.dtype.kind == "f", "a convolution's biases do not fit")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        W = self.weight
        need(x.ndim == W.ndim and x.shape[-1] == W.shape[-2], f"a convolution got an input of shape {x.shape}")
        sides, size = x.shape[1:-1], W.shape[:-2]
        whole = tuple((n - 1) * s + k for n, s, k in zip(sides, self.stride, size, strict=True))
        out = np.zeros((len(x), *whole, W.shape[-1]), dtype=np.result_type(x, W))
        for place, taken in zip(np.ndindex(*size), _taps(sides, size, self.stride, (1,) * len(size)), strict=True):
            out[taken] += x @ W[place]
        out = _unpadded(_padded(out, tuple(max(-p, 0) for p in self.padding)), tuple(max(p, 0) for p in self.padding))
        return out if self.bias is None else out + self.bias


@layer("pool")
class Pool(Layer):
    """The largest number, or the mean, of windows. Mean: zeros of the padding count; largest: they do not."""

    formula: ClassVar[str] = "a[i,j] = max or mean of x in its window"

    kind: str = "max"
    size: tuple[int, ...] = (2, 2)
    stride: tuple[int, ...] = (2, 2)
    padding: tuple[int, ...] = (0, 0, 0, 0)

    def check(self) -> None:
        need(self.kind in ("max", "average"), f"unknown pooling {self.kind!r}")
        axes = len(self.size) if isinstance(self.size, list | tuple) else 0
        need(axes in (1, 2), "a pooling has a wrong window")
        self.size = _whole(self.size, axes, 1, "window")
        self.stride = _whole(self.stride, axes, 1, "stride")
        self.padding = _whole(self.padding, 2 * axes, 0, "padding")
        need(math.prod(self.size) <= SIDE, "a pooling has a wrong window")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        wide = _padded(x, self.padding, -np.inf if self.kind == "max" else 0.0)
        once = (1,) * len(self.size)
        sides = _sides(wide, self.size, self.stride, once)
        out: np.ndarray | None = None
        for taken in _taps(sides, self.size, self.stride, once):
            if out is None:
                out = wide[taken].copy()
            elif self.kind == "max":
                np.maximum(out, wide[taken], out=out)
            else:
                out += wide[taken]
        assert out is not None
        return out if self.kind == "max" else out / out.dtype.type(math.prod(self.size))

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Slopes:
        wide = _padded(x, self.padding, -np.inf if self.kind == "max" else 0.0)
        dx = np.zeros(wide.shape, dtype=d.dtype)
        free = np.ones(d.shape, dtype=bool)  # of equal largest numbers the first gets the slope
        for taken in _taps(d.shape[1:-1], self.size, self.stride, (1,) * len(self.size)):
            if self.kind == "average":
                dx[taken] += d / math.prod(self.size)
                continue
            hit = free & (wide[taken] == y)
            dx[taken] += d * hit
            free &= ~hit
        return _unpadded(dx, self.padding), {}


@layer("global_pool")
class GlobalPool(Layer):
    """Mean or largest number over all of space: (n, h, w, c) or (n, t, c) -> (n, c)."""

    formula: ClassVar[str] = "a = mean or max of x over all places"

    kind: str = "average"

    def check(self) -> None:
        need(self.kind in ("max", "average"), f"unknown pooling {self.kind!r}")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim > 2, f"a pooling got an input of shape {x.shape}")
        axes = tuple(range(1, x.ndim - 1))
        return x.max(axis=axes) if self.kind == "max" else x.mean(axis=axes)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Slopes:
        flat = x.reshape(len(x), -1, x.shape[-1])  # (n, places, c)
        if self.kind == "average":
            return np.broadcast_to(d[:, None] / flat.shape[1], flat.shape).reshape(x.shape), {}
        dx = np.zeros(flat.shape, dtype=d.dtype)
        np.put_along_axis(dx, flat.argmax(axis=1)[:, None], d[:, None], axis=1)
        return dx.reshape(x.shape), {}


@layer("grid_pool")
class GridPool(Layer):
    """Means over a grid of `sides` about equal cells, whatever the size of the input."""

    formula: ClassVar[str] = "a[i,j] = mean of x in its cell"

    sides: tuple[int, ...] = (1, 1)

    def check(self) -> None:
        axes = len(self.sides) if isinstance(self.sides, list | tuple) else 0
        need(axes in (1, 2), "a pooling has a wrong grid")
        self.sides = _whole(self.sides, axes, 1, "grid")

    def _shares(self, sides: tuple[int, ...], dtype: Any) -> list[np.ndarray]:
        """(cells, side) of each axis: the share of each line in the mean of each cell."""
        made = []
        for side, cells in zip(sides, self.sides, strict=True):
            low = (np.arange(cells) * side) // cells
            high = -((-(np.arange(cells) + 1) * side) // cells)
            line = np.arange(side)
            inside = (line >= low[:, None]) & (line < high[:, None])
            made.append((inside / inside.sum(axis=1, keepdims=True)).astype(dtype))
        return made

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == len(self.sides) + 2, f"a pooling got an input of shape {x.shape}")
        for axis, share in enumerate(self._shares(x.shape[1:-1], x.dtype), 1):
            x = np.moveaxis(np.tensordot(share, x, (1, axis)), 0, axis)
        return x

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Slopes:
        for axis, share in enumerate(self._shares(x.shape[1:-1], d.dtype), 1):
            d = np.moveaxis(np.tensordot(share.T, d, (1, axis)), 0, axis)
        return d, {}


@layer("upsample")
class Upsample(Layer):
    """Larger by whole factors: each element repeated ("nearest"), or straight lines between them ("linear")."""

    formula: ClassVar[str] = "a = x, larger"

    factors: tuple[int, ...] = (2, 2)
    kind: str = "nearest"

    def check(self) -> None:
        need(self.kind in ("nearest", "linear"), f"unknown resizing {self.kind!r}")
        axes = len(self.factors) if isinstance(self.factors, list | tuple) else 0
        need(axes in (1, 2), "a resizing has wrong factors")
        self.factors = _whole(self.factors, axes, 1, "factor")
        need(max(self.factors) <= 64, "a resizing has wrong factors")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.ndim == len(self.factors) + 2, f"a resizing got an input of shape {x.shape}")
        for axis, factor in enumerate(self.factors, 1):
            if factor == 1:
                continue
            if self.kind == "nearest":
                x = np.repeat(x, factor, axis=axis)
                continue
            side = x.shape[axis]
            at = np.clip((np.arange(side * factor) + 0.5) / factor - 0.5, 0, side - 1)
            low = np.minimum(at.astype(np.int64), side - 1)
            share = (at - low).astype(x.dtype).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
            x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, side - 1), axis) * share
        return x


@layer("shuffle")
class Shuffle(Layer):
    """Channels become space: (n, h, w, c f f) -> (n, h f, w f, c)."""

    formula: ClassVar[str] = "a[i f + u, j f + v, c] = x[i, j, c f f + u f + v]"

    factor: int = 2

    def check(self) -> None:
        need(type(self.factor) is int and 0 < self.factor <= 64, "a layer has a wrong factor")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        n, h, w, c = x.shape
        f = self.factor
        need(c % (f * f) == 0, f"a layer needs channels in multiples of {f * f} and got {c}")
        x = x.reshape(n, h, w, c // (f * f), f, f).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(n, h * f, w * f, -1)


@layer("flatten")
class Flatten(Layer):
    """(n, h, w, c) -> (n, c h w): one channel after the other, as torch does."""

    formula: ClassVar[str] = "a = x in one line"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(x, -1, 1)).reshape(len(x), -1)

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Slopes:
        return np.moveaxis(d.reshape(len(x), x.shape[-1], *x.shape[1:-1]), 1, -1), {}


@layer("unflatten")
class Unflatten(Layer):
    """The inverse of `Flatten`: (n, c h w) -> (n, h, w, c), with shape = (c, h, w) or (c, t)."""

    formula: ClassVar[str] = "a = x as a map"

    shape: tuple[int, ...] = (1, 1, 1)

    def check(self) -> None:
        axes = len(self.shape) if isinstance(self.shape, list | tuple) else 0
        need(axes in (2, 3), "a layer has a wrong shape")
        self.shape = _whole(self.shape, axes, 1, "shape")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.shape[-1] == math.prod(self.shape), f"a layer needs {math.prod(self.shape)} numbers, got {x.shape[-1]}")
        return np.moveaxis(x.reshape(-1, *self.shape), 1, -1)


@layer("pixels")
class Pixels(Layer):
    """Bytes or numbers (n, h, w, c), (n, t, c), or without their last axis where c = 1, times scale (c,) + shift (c,).

    axes : of space. sides : what they must be; None: any.
    """

    formula: ClassVar[str] = "a = scale · x + shift"

    scale: np.ndarray
    shift: np.ndarray
    axes: int = 2
    sides: tuple[int, ...] | None = None

    def check(self) -> None:
        scale, shift = self.scale, self.shift
        need(scale.ndim == 1 and scale.shape == shift.shape, "the scale of the channels has a wrong shape")
        need(scale.dtype.kind == "f" and shift.dtype.kind == "f", "the scale of the channels is no number")
        need(self.axes in (1, 2), "a layer has wrong axes")
        if self.sides is not None:
            self.sides = _whole(self.sides, self.axes, 1, "side")

    def __call__(self, x: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.dtype == object and len({np.shape(cell) for cell in x}) == 1:  # a column of arrays of one shape
            x = np.stack([np.asarray(cell) for cell in x])
        if x.ndim == self.axes + 1 and len(self.scale) == 1:
            x = x[..., None]
        fits = x.ndim == self.axes + 2 and x.shape[-1] == len(self.scale)
        if self.sides is not None:
            fits = fits and x.shape[1:-1] == self.sides
        wanted = (*(self.sides or ("any",) * self.axes), len(self.scale))
        if not fits:
            raise DataError(f"The network needs inputs of shape {wanted}; these have shape {x.shape[1:]}. Resize them.")
        return x.astype(self.scale.dtype) * self.scale + self.shift

    def backward(self, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Slopes:
        return d * self.scale, {}


@layer("views")
class Views(Layer):
    """The mean of what the body says of the input and its mirror images (axis 2: left-right, axis 1: upside down)."""

    formula: ClassVar[str] = "a = mean of body(x) over mirror images"

    body: Layer
    mirrors: tuple[int, ...] = (2,)

    def check(self) -> None:
        axes = len(self.mirrors) if isinstance(self.mirrors, list | tuple) else 0
        need(axes in (1, 2), "mirrors are wrong")
        self.mirrors = _whole(self.mirrors, axes, 1, "mirror")
        need(set(self.mirrors) <= {1, 2}, "mirrors are wrong")

    def _seen(self, x: np.ndarray) -> list[np.ndarray]:
        seen = [x]
        for axis in self.mirrors:
            need(x.ndim > axis, f"mirror images need an axis {axis}; the input has shape {x.shape}")
            seen += [np.flip(v, axis) for v in seen]
        return seen

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        seen = self._seen(x)
        total = self.body(x)
        for view in seen[1:]:
            total = total + self.body(view)
        return total / total.dtype.type(len(seen))

    def run(self, x: np.ndarray, watch: Any = None, path: str = "") -> np.ndarray:
        self.body.run(x, watch, f"{path}.body" if path else "body")  # the image itself is what is watched
        y = self(x)
        if watch is not None:
            watch(path, self, x, y)
        return y

    def pull(self, x: Any, d: np.ndarray, watch: Any = None, path: str = "", otherwise: Any = None) -> Any:
        share = 1.0 / 2 ** len(self.mirrors)
        return self.body.pull(x, d * d.dtype.type(share), watch, f"{path}.body" if path else "body", otherwise)

    def parts(self) -> list[Layer]:
        return [self.body]


@layer("padded")
class Padded(Layer):
    """body(x), where x is first continued by its edge to sides that `multiple` divides; the answer is cut back."""

    formula: ClassVar[str] = "a = body(x)"

    body: Layer
    multiple: int = 1
    shrinks: int = 1

    def check(self) -> None:
        need(type(self.multiple) is int and 0 < self.multiple <= 1024, "a layer has a wrong multiple")
        need(type(self.shrinks) is int and 0 < self.shrinks <= self.multiple, "a layer has a wrong factor")

    def _wide(self, x: np.ndarray) -> np.ndarray:
        more = [(0, -side % self.multiple) for side in x.shape[1:-1]]
        return np.pad(x, [(0, 0), *more, (0, 0)], mode="edge")

    def _cut(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return y[(slice(None), *(slice(0, -(-side // self.shrinks)) for side in x.shape[1:-1]))]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._cut(x, self.body(self._wide(x)))

    def run(self, x: np.ndarray, watch: Any = None, path: str = "") -> np.ndarray:
        y = self._cut(x, self.body.run(self._wide(x), watch, f"{path}.body" if path else "body"))
        if watch is not None:
            watch(path, self, x, y)
        return y

    def parts(self) -> list[Layer]:
        return [self.body]


@layer("group_normalize")
class GroupNormalize(Layer):
    """Each group of channels of each row: (x - mean) / sqrt(variance + eps) * scale + shift, over all places."""

    formula: ClassVar[str] = "a = scale · (x - mean) / √(var + ε) + shift"

    groups: int = 1
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    eps: float = 1e-5

    def check(self) -> None:
        need(type(self.groups) is int and self.groups > 0, "a normalisation has wrong groups")
        need(isinstance(self.eps, float) and self.eps > 0, "a normalisation has a wrong epsilon")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        need(x.shape[-1] % self.groups == 0, f"{self.groups} groups do not divide {x.shape[-1]} channels")
        z = x.reshape(len(x), -1, self.groups, x.shape[-1] // self.groups)
        z = z - z.mean(axis=(1, 3), keepdims=True)
        z = z / np.sqrt((z * z).mean(axis=(1, 3), keepdims=True) + x.dtype.type(self.eps))
        y = z.reshape(x.shape)
        y = y if self.scale is None else y * self.scale
        return y if self.shift is None else y + self.shift
