"""Blocks of convolutional networks, and how torch's own are written down. Torch puts channels first, answers last."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import PackError
from everymodel.scoring.layers import convolution, feed
from everymodel.scoring.layers.base import Layer
from everymodel.training.blocks.feed import Activation, Residual, role
from everymodel.training.blocks.written import array, folded, writes, written

CONV = {1: nn.Conv1d, 2: nn.Conv2d}


# --- how torch's modules are written down ---


def _axes(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * axes


def _around(padding: Any, axes: int) -> tuple[int, ...]:
    """(before, after) of each axis."""
    return tuple(p for side in _axes(padding, axes) for p in (side, side))


@writes(nn.Conv1d, nn.Conv2d)
def _convolution(module: Any) -> Layer:
    axes = module.weight.ndim - 2
    if module.padding_mode != "zeros":
        raise PackError(f"A convolution that pads by {module.padding_mode!r} cannot be written down; pad with zeros.")
    weight = np.ascontiguousarray(np.moveaxis(array(module.weight), (0, 1), (-1, -2)))
    stride, dilation = _axes(module.stride, axes), _axes(module.dilation, axes)
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape, strict=False)]
        padding = tuple(p for t in total for p in (t // 2, t - t // 2))
    else:
        padding = _around(0 if module.padding == "valid" else module.padding, axes)
    return convolution.Convolution(weight, array(module.bias), stride, padding, dilation, module.groups)


@writes(nn.ConvTranspose1d, nn.ConvTranspose2d)
def _transposed(module: Any) -> Layer:
    axes = module.weight.ndim - 2
    if module.groups != 1 or set(_axes(module.dilation, axes)) != {1}:
        raise PackError("A transposed convolution with groups or dilation cannot be written down.")
    weight = np.ascontiguousarray(np.moveaxis(array(module.weight), (0, 1), (-2, -1)))
    before, more = _axes(module.padding, axes), _axes(module.output_padding, axes)
    padding = tuple(p for b, m in zip(before, more, strict=True) for p in (b, b - m))
    return convolution.TransposedConvolution(weight, array(module.bias), _axes(module.stride, axes), padding)


@writes(nn.BatchNorm2d)
def _batch_norm(module: Any) -> Layer:
    scale, shift = folded(module)
    return feed.Affine(scale, shift)


@writes(nn.GroupNorm)
def _group_norm(module: nn.GroupNorm) -> Layer:
    return convolution.GroupNormalize(module.num_groups, array(module.weight), array(module.bias), module.eps)


@writes(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
def _pool(module: Any) -> Layer:
    kind = "max" if isinstance(module, nn.MaxPool1d | nn.MaxPool2d) else "average"
    axes = 1 if isinstance(module, nn.MaxPool1d | nn.AvgPool1d) else 2
    odd = module.ceil_mode or set(_axes(getattr(module, "dilation", 1), axes)) != {1}
    if odd or not getattr(module, "count_include_pad", True):
        raise PackError("A pooling with ceil_mode, dilation or without counted padding cannot be written down.")
    size = _axes(module.kernel_size, axes)
    return convolution.Pool(kind, size, _axes(module.stride or size, axes), _around(module.padding, axes))


@writes(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
def _grid_pool(module: Any) -> Layer:
    axes = 1 if isinstance(module, nn.AdaptiveAvgPool1d) else 2
    sides = _axes(module.output_size, axes)
    if any(side is None for side in sides):
        raise PackError("A pooling that leaves one axis as it is cannot be written down.")
    return convolution.GridPool(sides)


@writes(nn.Upsample)
def _upsample(module: nn.Upsample) -> Layer:
    kinds = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}
    factors = module.scale_factor
    axes = len(factors) if isinstance(factors, tuple) else 1 if module.mode == "linear" else 2
    factors = () if factors is None else tuple(factors) if isinstance(factors, tuple) else (factors,) * axes
    if not factors or any(f != int(f) for f in factors) or module.mode not in kinds or module.align_corners:
        raise PackError("Only nearest and linear resizing by whole factors, corners not aligned, can be written down.")
    return convolution.Upsample(tuple(int(f) for f in factors), kinds[module.mode])


@writes(nn.PixelShuffle)
def _shuffle(module: nn.PixelShuffle) -> Layer:
    return convolution.Shuffle(module.upscale_factor)


@writes(nn.Flatten)
def _flatten(module: nn.Flatten) -> Layer:
    return convolution.Flatten()


@writes(nn.Unflatten)
def _unflatten(module: nn.Unflatten) -> Layer:
    return convolution.Unflatten(tuple(int(s) for s in module.unflattened_size))  # type: ignore[union-attr]


# --- blocks of ours ---


class Norm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of any number of axes, which a batch of one number per channel does not stop."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)

    def layer(self) -> Layer:
        scale, shift = folded(self)
        return feed.Affine(scale, shift)


class Stack(nn.Sequential):
    """Modules in turn. A normalisation right after a convolution is folded into its weights when written down."""

    def layer(self) -> Layer:
        parts: list[Layer] = []
        for module in self:
            made = written(module)
            last = parts[-1] if parts else None
            if isinstance(module, Norm) and isinstance(last, convolution.Convolution) and isinstance(made, feed.Affine):
                bias = made.shift if last.bias is None else last.bias * made.scale + made.shift
                last.weight, last.bias = last.weight * made.scale, bias
            elif isinstance(made, feed.Sequential):
                parts += made.layers
            else:
                parts.append(made)
        return feed.Sequential(parts)


class Largest(nn.Module):
    """The largest number of each window of `size` places an axis; axes shorter than that stay as they are."""

    def __init__(self, size: int, axes: int, sides: tuple[int, ...]):
        super().__init__()
        self.size = tuple(min(size, side) for side in sides)
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool1d(x, self.size) if self.axes == 1 else F.max_pool2d(x, self.size)

    def layer(self) -> Layer:
        return convolution.Pool("max", self.size, self.size, (0,) * (2 * len(self.size)))


class GlobalPool(nn.Module):
    """Mean or largest number over all of space."""

    def __init__(self, kind: str = "average"):
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(2, x.ndim))
        return x.amax(dim=axes) if self.kind == "max" else x.mean(dim=axes)

    def layer(self) -> Layer:
        return convolution.GlobalPool(self.kind)


class Pixels(nn.Module):
    """Bytes or numbers with channels last, centred and scaled, to float with channels first.

    The memory stays in the order of the input, which is the one that convolutions of images are fastest in.
    """

    def __init__(self, mean: np.ndarray, spread: np.ndarray, sides: tuple[int, ...] | None, axes: int = 2):
        super().__init__()
        scale = 1.0 / np.asarray(spread, dtype=np.float64)
        self.sides, self.axes = sides, axes
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("shift", torch.tensor(-np.asarray(mean) * scale, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, x.float(), self.scale).movedim(-1, 1)

    def layer(self) -> Layer:
        return convolution.Pixels(array(self.scale), array(self.shift), self.axes, self.sides)


class Skip(nn.Module):
    """x and body(x) side by side, as channels."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.body(x)], dim=1)

    def layer(self) -> Layer:
        return feed.Concat([feed.Sequential([]), written(self.body)])


class Padded(nn.Module):
    """body(x), where x is first continued by its edge to sides that `multiple` divides; the answer is cut back."""

    def __init__(self, body: nn.Module, multiple: int, shrinks: int = 1):
        super().__init__()
        self.body, self.multiple, self.shrinks = body, multiple, shrinks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sides = x.shape[2:]
        more = [-side % self.multiple for side in sides]
        if any(more):
            x = F.pad(x, [p for m in reversed(more) for p in (0, m)], mode="replicate")
        y = self.body(x)
        for axis, side in enumerate(sides, 2):
            y = y.narrow(axis, 0, -(-side // self.shrinks))
        return y

    def layer(self) -> Layer:
        return convolution.Padded(written(self.body), self.multiple, self.shrinks)


class Views(nn.Module):
    """In evaluation mode the mean over mirror images; `mirrors` are axes of the input with channels last."""

    def __init__(self, body: nn.Module, mirrors: tuple[int, ...]):
        super().__init__()
        self.body, self.mirrors = body, mirrors

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training or not self.mirrors:
            return self.body(x)
        seen = [x]
        for axis in self.mirrors:
            seen += [v.flip(axis) for v in seen]
        return sum(self.body(v) for v in seen) / len(seen)  # type: ignore[return-value]

    def layer(self) -> Layer:
        body = written(self.body)
        return convolution.Views(body, self.mirrors) if self.mirrors else body


def convolve(inputs: int, outputs: int, size: int, axes: int = 2, bias: bool = False, stride: int = 1) -> nn.Module:
    """A convolution that keeps the sides (for odd `size`), started by He's rule as most of a unit map."""
    made = CONV[axes](inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    return made


def whitening(patches: torch.Tensor, most: int = 64, eps: float = 1e-2) -> torch.Tensor:
    """Filters (2 k, c, size, size) that make patches (m, c, size, size) uncorrelated: each direction and its negative.

    The directions are the eigenvectors of the patches' covariance, the strongest k <= `most` / 2, divided by the root
    of their variance.

    References
    ----------
    Page (2019), How to train your ResNet 8: bag of tricks. Jordan (2024), 94% on CIFAR-10 in 3.29 seconds on a GPU.
    """
    flat = patches.double().flatten(1)
    flat = flat - flat.mean(dim=0)
    values, vectors = torch.linalg.eigh(flat.T @ flat / max(len(flat), 1))
    keep = min(len(values), most // 2)
    values, vectors = values[-keep:].flip(0).clamp(min=0), vectors[:, -keep:].flip(1)
    vectors = vectors * torch.sign(vectors.sum(dim=0) + 1e-12)  # the sign of an eigenvector means nothing: fix it
    filters = (vectors / torch.sqrt(values + eps)).T.reshape(keep, *patches.shape[1:])
    return torch.cat([filters, -filters]).float()


class Whiten(nn.Module):
    """A first convolution whose filters are `whitening` of the data and stay; only its biases learn."""

    weight: torch.Tensor

    def __init__(self, filters: torch.Tensor):
        super().__init__()
        self.register_buffer("weight", filters)
        self.bias = role(torch.zeros(len(filters)), "bias")
        self.padding = filters.shape[-1] // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv = F.conv2d if self.weight.ndim == 4 else F.conv1d
        return conv(x, self.weight, self.bias, padding=self.padding)

    def layer(self) -> Layer:
        axes = self.weight.ndim - 2
        weight = np.ascontiguousarray(np.moveaxis(array(self.weight), (0, 1), (-1, -2)))
        once = (1,) * axes
        return convolution.Convolution(weight, array(self.bias), once, (self.padding,) * (2 * axes), once)


class ConvNet(nn.Module):
    """Pixels -> whitening -> stages -> answer: a residual network for images and signals.

    A stage is a convolution to its width, a pooling that halves the sides, then `depth` - 1 residual convolutions.
    Every convolution is followed by a normalisation and an activation.

    Parameters
    ----------
    front : module from inputs to float with channels first.
    filters : of the first layer, see `whitening`; its outputs are the inputs of the first stage.
    sides : of the input. widths : channels of the stages. outputs : numbers in the answer.
    size : of the windows. factor : by which a stage shrinks each side.
    head : "max", "average" (over all of space) or "flat" (where in the image a thing is matters).
    shrink : factor by which the input shrinks right after the first layer (for large inputs).
    """

    def __init__(
        self,
        front: nn.Module,
        filters: torch.Tensor,
        sides: tuple[int, ...],
        widths: tuple[int, ...],
        outputs: int,
        *,
        depth: int = 2,
        size: int = 3,
        factor: int = 2,
        head: str = "max",
        activation: str = "relu",
        dropout: float = 0.0,
        shrink: int = 1,
        mirrors: tuple[int, ...] = (),
    ):
        super().__init__()
        axes = len(sides)
        sides = tuple(s + 2 * (filters.shape[-1] // 2) - filters.shape[-1] + 1 for s in sides)
        body: list[nn.Module] = [Whiten(filters), Activation(activation)]
        if shrink > 1:
            body.append(Largest(shrink, axes, sides))
            sides = tuple(max(s // shrink, 1) for s in sides)
        inputs = len(filters)
        for width in widths:
            body += [convolve(inputs, width, size, axes), Largest(factor, axes, sides), Norm(width, momentum=0.3)]
            body.append(Activation(activation))
            sides = tuple(max(s // factor, 1) for s in sides)
            for _ in range(depth - 1):
                inner = Stack(convolve(width, width, size, axes), Norm(width, momentum=0.3), Activation(activation))
                body.append(Residual(inner))
            inputs = width
        if head == "flat":
            body += [nn.Flatten()]
            inputs *= int(np.prod(sides))
        else:
            body += [GlobalPool(head)]
        if dropout:
            body.append(nn.Dropout(dropout))
        last = nn.Linear(inputs, outputs)
        role(last.weight, "last")
        body.append(last)
        self.sides, self.front = sides, front
        self.views = Views(Stack(front, *body), mirrors)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.views(x)

    def layer(self) -> Layer:
        return written(self.views)


class UNet(nn.Module):
    """Pixels -> an answer for each place: down to small maps and up again, with each size handed across.

    Parameters
    ----------
    front : module from inputs to float with channels first. channels : of the input.
    widths : channels of each size; each is half as large as the one before.
    outputs : numbers for each place of the answer. stride : by which the answer is smaller than the input (1, 2 or 4).

    References
    ----------
    Ronneberger, Fischer and Brox (2015), U-Net: convolutional networks for biomedical image segmentation.
    """

    def __init__(self, front: nn.Module, channels: int, widths: tuple[int, ...], outputs: int, *, stride: int = 1):
        super().__init__()
        parts: list[nn.Module] = []
        inputs, left = channels, stride
        while left > 1:
            parts += [*_block(inputs, widths[0]), nn.MaxPool2d(2)]
            inputs, left = widths[0], left // 2
        parts += [*self._level(inputs, widths), nn.Conv2d(widths[0], outputs, 1)]
        self.last: Any = parts[-1]
        role(self.last.weight, "last")
        self.front = front
        self.body = Padded(Stack(*parts), stride * 2 ** (len(widths) - 1), stride)

    def _level(self, inputs: int, widths: tuple[int, ...]) -> list[nn.Module]:
        own, *rest = widths
        parts = [*_block(inputs, own), *_block(own, own)]
        if rest:
            below = Stack(nn.MaxPool2d(2), *self._level(own, tuple(rest)), nn.Upsample(scale_factor=2))
            parts += [Skip(below), *_block(own + rest[0], own)]
        return parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.front(x))  # (b, outputs, h, w)

    def layer(self) -> Layer:
        return feed.Sequential([written(self.front), written(self.body)])


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [Stack(convolve(inputs, outputs, 3), Norm(outputs, momentum=0.3)), Activation("relu")]
