"""From a trained torch module to a numpy layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.core.errors import PackError
from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer

_TABLE: dict[type, Callable[[Any], Layer | None]] = {}


def array(tensor: torch.Tensor | None) -> Any:
    """A copy in numpy, float32 where it is a narrower float; None stays None."""
    if tensor is None:
        return None
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).contiguous().numpy().copy()


def written(module: nn.Module) -> Layer:
    """The module as a numpy layer that answers as it does in evaluation mode; PackError where it cannot be written."""
    made = _written(module)
    return feed.Sequential([]) if made is None else made


def _written(module: nn.Module) -> Layer | None:
    own = getattr(module, "layer", None)
    if callable(own):
        return own()
    for kind in type(module).__mro__:
        if kind in _TABLE:
            return _TABLE[kind](module)
    raise PackError(f"A {type(module).__name__} cannot be written into a model file: it has no method `layer`.")


def writes(*kinds: type) -> Callable[[Callable[[Any], Layer | None]], Any]:
    """Decorator: how modules of these classes are written down. None stands for a module that does nothing then."""

    def register(function: Callable[[Any], Layer | None]) -> Any:
        for kind in kinds:
            _TABLE[kind] = function
        return function

    return register


@writes(nn.Sequential)
def _sequential(module: nn.Sequential) -> Layer:
    parts = [made for part in module if (made := _written(part)) is not None]
    return feed.Sequential(parts)


@writes(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
def _nothing(module: nn.Module) -> None:
    return None


@writes(nn.Linear)
def _linear(module: nn.Linear) -> Layer:
    return feed.Dense(np.ascontiguousarray(array(module.weight).T), array(module.bias))


@writes(nn.LayerNorm)
def _layer_norm(module: nn.LayerNorm) -> Layer:
    return feed.Normalize(array(module.weight), array(module.bias), module.eps)


@writes(nn.BatchNorm1d)
def _batch_norm(module: nn.BatchNorm1d) -> Layer:
    scale, shift = folded(module)
    return feed.Affine(scale, shift)


def folded(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """(scale, shift) by which a batch normalisation answers in evaluation mode."""
    scale = 1.0 / np.sqrt(array(module.running_var) + module.eps)
    scale = scale if module.weight is None else scale * array(module.weight)
    shift = -array(module.running_mean) * scale
    return scale, shift if module.bias is None else shift + array(module.bias)


_ACTIVATIONS = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Softplus: "softplus",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Mish: "mish",
}


@writes(*_ACTIVATIONS)
def _activation(module: nn.Module) -> Layer:
    return feed.Activation(_ACTIVATIONS[type(module)])


@writes(nn.LeakyReLU)
def _leaky(module: nn.LeakyReLU) -> Layer:
    return feed.Activation("leaky_relu", float(module.negative_slope))


@writes(nn.Softmax)
def _softmax(module: nn.Softmax) -> Layer:
    if module.dim not in (-1, 1):
        raise PackError("A softmax can only be written down for the last axis.")
    return feed.Activation("softmax")
