"""Gradients of numpy layers that have no backward pass of their own, by torch's automatic differentiation.

Used where a trace follows one row back through a recurrent network; training never comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.recurrence import turned

Call = Callable[[Any, Any, dict[str, torch.Tensor], str], Any]
_CALLS: dict[str, Call] = {}


def gradients(layer: Layer, x: Any, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(dLoss/dx, gradients of the arrays by name) where d = dLoss/dy.

    x is an array, or steps and how many of them count (values (b, T, d), lengths (b,)); the first is differentiated.
    Arrays of layers inside are called by their place, such as "0.weight".

    Raises
    ------
    NotImplementedError
        for layers that are not known here.
    """
    if layer.word not in _CALLS:
        raise NotImplementedError(f"the layer {layer.word!r} has no backward pass")
    held = {name: torch.tensor(array, requires_grad=True) for name, array in named(layer).items()}
    values, lengths = (x[0], torch.as_tensor(x[1])) if isinstance(x, tuple) else (x, None)
    into = torch.tensor(values, requires_grad=True)
    out = _call(layer, into if lengths is None else (into, lengths), held, "")
    out = out[0] if isinstance(out, tuple) else out
    found = torch.autograd.grad(out, [into, *held.values()], torch.tensor(d), allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip((into, *held.values()), found)]
    return zeros[0].numpy(), {name: g.numpy() for name, g in zip(held, zeros[1:])}


def named(layer: Layer, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays of floats of a layer and of those inside it."""
    own = {prefix + f.name: getattr(layer, f.name) for f in fields(layer)}  # type: ignore[arg-type]
    made = {name: a for name, a in own.items() if isinstance(a, np.ndarray) and a.dtype.kind == "f"}
    for i, part in enumerate(layer.parts()):
        made |= named(part, f"{prefix}{i}.")
    return made


def _call(layer: Any, x: Any, held: dict[str, torch.Tensor], prefix: str) -> Any:
    if layer.word not in _CALLS:
        raise NotImplementedError(f"the layer {layer.word!r} has no backward pass")
    return _CALLS[layer.word](layer, x, held, prefix)


def _calls(word: str) -> Callable[[Call], Call]:
    def register(function: Call) -> Call:
        _CALLS[word] = function
        return function

    return register


@_calls("recurrent")
def _recurrent(layer: Any, x: Any, held: dict[str, torch.Tensor], prefix: str) -> Any:
    values, lengths = x
    W, U, b, c = (held[prefix + name] for name in ("weight", "state", "bias", "state_bias"))
    back = None
    if layer.reverse:
        back = torch.as_tensor(turned(values.shape[1], lengths.numpy()))[..., None]
        values = values.gather(1, back.expand(-1, -1, values.shape[2]))
    z, h = values @ W + b, len(U)
    state = memory = torch.zeros(len(values), h, dtype=values.dtype)
    states = []
    for t in range(values.shape[1]):
        u = state @ U + c
        if layer.cell == "rnn":
            state = torch.tanh(z[:, t] + u)
        elif layer.cell == "lstm":
            i, f, g, o = (z[:, t] + u).split(h, dim=1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            state = o.sigmoid() * memory.tanh()
        else:
            (zr, zz, zn), (ur, uz, un) = z[:, t].split(h, dim=1), u.split(h, dim=1)
            keep, new = (zz + uz).sigmoid(), torch.tanh(zn + (zr + ur).sigmoid() * un)
            state = new + keep * (state - new)
        states.append(state)
    made = torch.stack(states, dim=1)
    return (made if back is None else made.gather(1, back.expand(-1, -1, h))), lengths


@_calls("side_by_side")
def _side_by_side(layer: Any, x: Any, held: dict[str, torch.Tensor], prefix: str) -> Any:
    parts = [_call(part, x, held, f"{prefix}{i}.")[0] for i, part in enumerate(layer.layers)]
    return torch.cat(parts, dim=-1), x[1]


@_calls("each_step")
def _each_step(layer: Any, x: Any, held: dict[str, torch.Tensor], prefix: str) -> Any:
    return _call(layer.inner, x[0], held, f"{prefix}0."), x[1]


@_calls("dense")
def _dense(layer: Any, x: torch.Tensor, held: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    z = x @ held[f"{prefix}weight"]
    return z if layer.bias is None else z + held[f"{prefix}bias"]


@_calls("activation")
def _activation(layer: Any, x: torch.Tensor, held: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    from everymodel.training.blocks.feed import ACTIVATIONS

    if layer.amount is not None or layer.kind not in ACTIVATIONS or layer.kind == "leaky_relu":
        raise NotImplementedError(f"the activation {layer.kind!r} inside steps has no backward pass")
    return ACTIVATIONS[layer.kind](x)


@_calls("sequential")
def _sequential(layer: Any, x: Any, held: dict[str, torch.Tensor], prefix: str) -> Any:
    for i, part in enumerate(layer.layers):
        x = _call(part, x, held, f"{prefix}{i}.")
    return x


@_calls("pool_steps")
def _pool_steps(layer: Any, x: Any, held: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    values, lengths = x
    mask = (torch.arange(values.shape[1]) < lengths[:, None])[..., None]
    parts = []
    if layer.how in ("last", "all"):
        ends = values[torch.arange(len(values)), lengths - 1, : layer.forward]
        parts.append(torch.cat([ends, values[:, 0, layer.forward :]], dim=1))
    if layer.how in ("mean", "all"):
        parts.append((values * mask).sum(1) / lengths[:, None])
    if layer.how in ("max", "all"):
        parts.append(values.masked_fill(~mask, -torch.inf).amax(1))
    if layer.how == "attention":
        logits = _call(layer.score, values, held, f"{prefix}0.").masked_fill(~mask, -torch.inf)
        parts.append((values * mask * logits.softmax(1)).sum(1))
    return torch.cat(parts, dim=1)
