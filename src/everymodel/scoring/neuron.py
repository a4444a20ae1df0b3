"""One layer of neurons with every number in the open: forward pass, loss, backward pass, update.

import everymodel as em
em.neuron([2, 3], [[0.5, -1.2], [0.8, 0.7]], [0.1, -0.3], "sigmoid", target=[0, 1], lr=0.1)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.scoring.layers.feed import ACTIVATIONS, LEAK, activate, slope_of, softplus

# (phi(z), phi'(z)) as people write them.
FORMULAS: dict[str, tuple[str, str]] = {
    "identity": ("z", "1"),
    "relu": ("max(0, z)", "1 if z > 0, else 0"),
    "leaky_relu": (f"z if z > 0, else {LEAK:g} z", f"1 if z > 0, else {LEAK:g}"),
    "tanh": ("tanh(z)", "1 - a²"),
    "sigmoid": ("1 / (1 + e⁻ᶻ)", "a (1 - a)"),
    "softmax": ("e^z_j / Σ_i e^z_i", "a_j (1 if i = j, else 0) - a_j a_i"),
    "softplus": ("ln(1 + eᶻ)", "sigmoid(z)"),
    "elu": ("z if z > 0, else eᶻ - 1", "1 if z > 0, else a + 1"),
    "selu": ("1.0507 (z if z > 0, else 1.6733 (eᶻ - 1))", "1.0507 if z > 0, else a + 1.7581"),
    "silu": ("z sigmoid(z)", "s (1 + z (1 - s)) with s = sigmoid(z)"),
    "gelu": ("z Φ(z)", "Φ(z) + z e^(-z²/2) / √(2π)"),
    "mish": ("z tanh(softplus(z))", "t + z sigmoid(z) (1 - t²) with t = tanh(softplus(z))"),
}
LOSSES = ("mse", "half_squared_error", "cross_entropy")
# (loss, dL/da or delta) over k outputs, by loss and, for cross-entropy, activation.
LOSS_FORMULAS: dict[str, tuple[str, str]] = {
    "mse": ("L = 1/k Σ (a - t)²", "∂L/∂a = 2/k (a - t)"),
    "half_squared_error": ("L = ½ Σ (a - t)²", "∂L/∂a = a - t"),
    "cross_entropy, sigmoid": ("L = -1/k Σ [t ln a + (1 - t) ln(1 - a)]", "δ = 1/k (a - t)"),
    "cross_entropy, softmax": ("L = -Σ t ln a", "δ = a - t"),
}


def neuron(
    x: Any,
    W: Any,
    b: Any,
    activation: str,
    target: Any = None,
    loss: str | None = None,
    lr: float | None = None,
) -> dict[str, Any]:
    """Every number of one layer: z = W x + b, a = phi(z), the loss, its gradients and the weights after one step.

    Parameters
    ----------
    x : (in,), or (n, in) for a batch, whose loss is the mean over its n rows.
    W : (out, in), a row per neuron; or (in,), one neuron.
    b : (out,); or a number, for one neuron.
    activation : "identity", "relu", "leaky_relu" (slope 0.01), "tanh", "sigmoid", "softmax", "softplus", "elu", "selu",
        "silu", "gelu" or "mish".
    target : (out,) or (n, out), a number for one neuron; with softmax also the number of the class, or (n,) of them.
    loss : over k outputs, "mse": 1/k sum (a - t)^2; "half_squared_error": 1/2 sum (a - t)^2; "cross_entropy": after
        a sigmoid -1/k sum [t ln a + (1 - t) ln(1 - a)], after a softmax -sum t ln a. None: "cross_entropy" after
        these two, else "mse".
    lr : the length of the step, new_W = W - lr grad_W. None for no step.

    Returns
    -------
    A dict: "z" and "a" (out,) or (n, out); "loss", a number; "delta" = dLoss/dz, shaped as z; "grad_W", "grad_b" and
    "new_W", "new_b", shaped as W and b; "grad_x" = dLoss/dx, shaped as x, which the layer before starts from. What
    needs a target or lr that was not given is None.

    Raises
    ------
    ParameterError
        when shapes do not fit, numbers are not finite, or a word is unknown.

    Examples
    --------
    >>> made = neuron([2, 3], [[0.5, -1.2], [0.8, 0.7]], [0.1, -0.3], "sigmoid")
    >>> made["z"].round(4).tolist(), made["a"].round(4).tolist()
    ([-2.5, 3.4], [0.0759, 0.9677])
    """
    if activation not in ACTIVATIONS:
        raise ParameterError(f"activation={activation!r} is unknown: expected one of {', '.join(ACTIVATIONS)}.")
    if loss is not None and target is None:
        raise ParameterError(f"loss={loss!r} needs a target to compare with. Give target=.")
    if lr is not None and target is None:
        raise ParameterError("lr is given, but without a target there is no gradient to step along. Give target=.")
    if lr is not None and not (isinstance(lr, int | float | np.number) and np.isfinite(lr)):
        raise ParameterError(f"lr={lr!r}: expected a number such as 0.1.")
    given_x, given_W, given_b = _numbers(x, "x"), _numbers(W, "W"), _numbers(b, "b")
    if given_W.ndim not in (1, 2) or 0 in given_W.shape:
        raise ParameterError(f"W has the shape {given_W.shape}: expected (out, in), or (in,) for one neuron.")
    weights = np.atleast_2d(given_W)  # (out, in)
    outputs, inputs = weights.shape
    if given_x.ndim not in (1, 2) or given_x.shape[-1] != inputs or not len(given_x):
        raise ParameterError(
            f"x has the shape {given_x.shape}, but W {given_W.shape} takes {inputs} inputs: expected ({inputs},), or "
            f"(n, {inputs}) for a batch."
        )
    if given_b.shape != (outputs,) and not (outputs == 1 and given_b.shape == ()):
        raise ParameterError(f"b has the shape {given_b.shape}, but W {given_W.shape} needs ({outputs},): one each.")
    rows = np.atleast_2d(given_x)  # (n, in)
    with np.errstate(over="ignore", under="ignore"):
        z = rows @ weights.T + given_b.reshape(outputs)  # (n, out)
        a = activate(z, activation)
        made: dict[str, Any] = {"z": z, "a": a, "loss": None, "delta": None, "grad_W": None, "grad_b": None}
        made |= {"new_W": None, "new_b": None, "grad_x": None}
        if target is not None:
            kind = loss or default_loss(activation)
            wanted = _targets(target, len(rows), outputs, activation, kind)
            each, delta = loss_and_delta(kind, activation, z, a, wanted)
            delta = delta / len(rows)  # the mean over rows
            made |= {"loss": float(each.mean()), "delta": delta, "grad_W": delta.T @ rows, "grad_b": delta.sum(axis=0)}
            made["grad_x"] = delta @ weights
            if lr is not None:
                made |= {"new_W": weights - lr * made["grad_W"], "new_b": given_b.ravel() - lr * made["grad_b"]}
    shapes = {"grad_W": given_W.shape, "new_W": given_W.shape, "grad_b": given_b.shape, "new_b": given_b.shape}
    one = given_x.ndim == 1
    for name in ("z", "a", "delta"):
        shapes[name] = (() if given_W.ndim == 1 else (outputs,)) if one else (len(rows), outputs)[: given_W.ndim]
    shapes["grad_x"] = given_x.shape
    return {k: v if v is None or k == "loss" else v.reshape(shapes[k]) for k, v in made.items()}


def default_loss(activation: str) -> str:
    """The loss that goes with an activation of the last layer."""
    return "cross_entropy" if activation in ("sigmoid", "softmax") else "mse"


def loss_formulas(loss: str, activation: str) -> tuple[str, str]:
    """(the loss, its derivative) as people write them."""
    return LOSS_FORMULAS[f"{loss}, {activation}" if loss == "cross_entropy" else loss]


def loss_and_delta(
    loss: str, activation: str, z: np.ndarray, a: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(loss of each row (n,), delta = dLoss/dz (n, out)) where a = phi(z); z, a, t (n, out)."""
    k = z.shape[-1]
    if loss == "cross_entropy" and activation == "sigmoid":
        return (softplus(z) - t * z).mean(axis=-1), (a - t) / k  # the same as the formula, without a logarithm of 0
    if loss == "cross_entropy":
        top = z.max(axis=-1, keepdims=True)
        logs = z - top - np.log(np.exp(z - top).sum(axis=-1, keepdims=True))
        return -(t * logs).sum(axis=-1), a * t.sum(axis=-1, keepdims=True) - t
    error = a - t
    if loss == "mse":
        each, slope = (error * error).mean(axis=-1), 2.0 / k * error
    else:
        each, slope = 0.5 * (error * error).sum(axis=-1), error
    if activation == "softmax":
        return each, a * (slope - (slope * a).sum(axis=-1, keepdims=True))
    return each, slope * slope_of(z, a, activation)


def _numbers(value: Any, name: str) -> np.ndarray:
    try:
        made = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} cannot be read as numbers in rows of equal length: {error}.") from error
    if not np.isfinite(made).all():
        raise ParameterError(f"{name} holds numbers that are missing or infinite. Fill or remove them first.")
    return made


def _targets(target: Any, n: int, outputs: int, activation: str, loss: str) -> np.ndarray:
    """The target as (n, out)."""
    if loss not in LOSSES:
        raise ParameterError(f"loss={loss!r} is unknown: expected one of {', '.join(LOSSES)}.")
    if loss == "cross_entropy" and activation not in ("sigmoid", "softmax"):
        raise ParameterError(f"cross_entropy compares probabilities, which {activation} does not give: use sigmoid or "
                             'softmax, or loss="mse".')  # fmt: skip
    t = _numbers(target, "target")
    if activation == "softmax" and t.shape in ((), (n,)) and t.size != n * outputs:
        codes = np.broadcast_to(t, (n,))
        if not np.array_equal(codes, codes.astype(np.int64)) or codes.min() < 0 or codes.max() >= outputs:
            raise ParameterError(f"target={target!r}: expected the number of a class, 0 to {outputs - 1}.")
        return np.eye(outputs)[codes.astype(np.int64)]
    fits = [(n, outputs)] + [(outputs,)] * (n == 1) + [(n,)] * (outputs == 1) + [()] * (n == outputs == 1)
    if t.shape not in fits:
        more = f", or the number of a class, 0 to {outputs - 1}" if activation == "softmax" else ""
        expected = f"({outputs},)" if n == 1 else f"({n}, {outputs})"
        raise ParameterError(f"target has the shape {t.shape}: expected {expected}{more}.")
    t = t.reshape(n, outputs)
    if loss == "cross_entropy" and (t.min() < 0 or t.max() > 1):
        raise ParameterError(f"target={target!r}: cross_entropy expects shares from 0 to 1.")
    if loss == "cross_entropy" and activation == "softmax" and np.abs(t.sum(axis=1) - 1).max() > 1e-6:
        raise ParameterError(f"target={target!r}: the shares of the classes must add up to 1.")
    return t
