"""Plumbing: trains a small feed-forward network in numpy, with batch normalisation that folds away at the end.

Linear -> batch norm -> ReLU -> dropout, repeated; AdamW; a one-cycle learning rate; the weights of the best epoch.
All parameters lie in one flat float32 array, so that a step of the optimiser is a handful of vector operations.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_EPS = np.float32(1e-5)
_SLOW = np.float32(0.9)  # of the running mean and variance that answering uses


@dataclass(frozen=True)
class Recipe:
    """How to train; see MultilayerPerceptronClassifier for the words."""

    hidden: tuple[int, ...]
    loss: str  # "softmax" (n, k) one-hot, "sigmoid" (n, k) 0/1, "square" (n, t)
    epochs: int
    batch: int
    rate: float
    decay: float
    dropout: float
    smoothing: float
    seed: int


class _Flat:
    """Named float32 arrays as views into one."""

    def __init__(self, shapes: list[tuple[int, ...]]):
        sizes = [math.prod(s) for s in shapes]
        self.all = np.zeros(sum(sizes), dtype=np.float32)
        ends = np.cumsum(sizes)
        self.views = [self.all[e - s : e].reshape(shape) for e, s, shape in zip(ends, sizes, shapes)]


class Network:
    """The network in training."""

    def __init__(self, p: int, out: int, recipe: Recipe, rng: np.random.Generator):
        self.recipe = recipe
        sizes = [p, *recipe.hidden, out]
        self.layers = len(sizes) - 1
        shapes: list[tuple[int, ...]] = list(itertools.pairwise(sizes))  # weights first: they alone decay
        for width in recipe.hidden:
            shapes += [(width,), (width,)]  # gain and shift of the batch norm
        shapes.append((out,))
        self.value, self.grad = _Flat(shapes), _Flat(shapes)
        self.weights = sum(p * q for p, q in itertools.pairwise(sizes))
        for W in self.value.views[: self.layers]:
            W[:] = rng.standard_normal(W.shape, dtype=np.float32) * np.float32(math.sqrt(2.0 / W.shape[0]))
        self.value.views[self.layers - 1][:] *= np.float32(0.1)  # first answers near the mean
        for i in range(len(recipe.hidden)):
            self.value.views[self.layers + 2 * i][:] = 1.0
        self.mean = [np.zeros(w, dtype=np.float32) for w in recipe.hidden]
        self.var = [np.ones(w, dtype=np.float32) for w in recipe.hidden]

    def step(self, X: np.ndarray, Y: np.ndarray, rng: np.random.Generator) -> None:
        """Forward and backward for a batch X (b, p), Y (b, out); gradients land in `grad`."""
        v, g, n = self.value.views, self.grad.views, np.float32(len(X))
        kept: list[Any] = []
        h = X
        keep = np.float32(1.0 - self.recipe.dropout)
        for i in range(self.layers - 1):
            z = h @ v[i]  # (b, width)
            mean = z.mean(axis=0)
            z -= mean
            var = np.einsum("ij,ij->j", z, z) / n
            inverse = np.float32(1.0) / np.sqrt(var + _EPS)
            z *= inverse
            self.mean[i] += (1 - _SLOW) * (mean - self.mean[i])
            self.var[i] += (1 - _SLOW) * (var * n / max(n - 1, 1) - self.var[i])
            a = z * v[self.layers + 2 * i]
            a += v[self.layers + 2 * i + 1]
            on = a > 0
            if keep < 1:
                on &= rng.random(a.shape, dtype=np.float32) < keep
                a *= np.float32(1.0) / keep
            a *= on
            kept.append((h, z, inverse, on))
            h = a
        out = h @ v[self.layers - 1]
        out += v[-1]
        d = self._slope(out, Y)  # (b, out)
        np.matmul(h.T, d, out=g[self.layers - 1])
        d.sum(axis=0, out=g[-1])
        d = d @ v[self.layers - 1].T
        for i in range(self.layers - 2, -1, -1):
            h, z, inverse, on = kept[i]
            d *= on
            if keep < 1:
                d *= np.float32(1.0) / keep
            gain, shift = self.layers + 2 * i, self.layers + 2 * i + 1
            np.einsum("ij,ij->j", d, z, out=g[gain])
            d.sum(axis=0, out=g[shift])
            # Through the batch norm: what the batch's own mean and spread take away.
            d -= g[shift] / n
            d -= z * (g[gain] / n)
            d *= inverse * v[gain]
            np.matmul(h.T, d, out=g[i])
            if i:
                d = d @ v[i].T

    def _slope(self, out: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """Derivative of the mean loss with respect to the outputs."""
        n = np.float32(len(out))
        if self.recipe.loss == "square":
            return (out - Y) * np.float32(2.0 / out.shape[1]) / n
        if self.recipe.loss == "sigmoid":
            return (np.float32(1.0) / (np.float32(1.0) + np.exp(-np.clip(out, -30, 30))) - Y) / n
        e = np.exp(out - out.max(axis=1, keepdims=True))
        e /= e.sum(axis=1, keepdims=True)
        if self.recipe.smoothing:
            s = np.float32(self.recipe.smoothing)
            Y = Y * (1 - s) + s / np.float32(Y.shape[1])
        return (e - Y) / n

    def folded(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Plain layers (W, b) in float32 that answer as the network does when it is not training."""
        v, layers = self.value.views, []
        for i in range(self.layers - 1):
            factor = v[self.layers + 2 * i] / np.sqrt(self.var[i] + _EPS)
            layers.append((v[i] * factor, v[self.layers + 2 * i + 1] - self.mean[i] * factor))
        layers.append((v[self.layers - 1].copy(), v[-1].copy()))
        return layers


def answers(layers: list[tuple[np.ndarray, np.ndarray]], X: np.ndarray) -> np.ndarray:
    """Outputs (n, out) before the link, in the dtype of X."""
    h = X
    for i, (W, b) in enumerate(layers):
        h = h @ W + b
        if i < len(layers) - 1:
            np.maximum(h, 0, out=h)
    return h


def loss_of(out: np.ndarray, Y: np.ndarray, loss: str) -> float:
    """Mean loss of outputs (n, k) against targets (n, k)."""
    out = out.astype(np.float64)
    if loss == "square":
        return float(((out - Y) ** 2).mean())
    if loss == "sigmoid":
        return float((np.logaddexp(0, out) - Y * out).mean())
    top = out.max(axis=1, keepdims=True)
    return float((np.log(np.exp(out - top).sum(axis=1)) + top[:, 0] - (Y * out).sum(axis=1)).mean())


def linked(out: np.ndarray, loss: str) -> np.ndarray:
    """Outputs (n, out) of a network as answers."""
    if loss == "square":
        return out
    out = out.astype(np.float64)
    if loss == "sigmoid":
        return 1.0 / (1.0 + np.exp(-np.clip(out, -500, 500)))
    e = np.exp(out - out.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# The epoch is chosen on the validation rows, so their loss there flatters. With at least this many of them, every other
# row chooses the epoch whose outputs the rest is judged by, and the other way round.
HALVES = 10


def train(
    X: np.ndarray,
    Y: np.ndarray,
    recipe: Recipe,
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int, float, np.ndarray | None]:
    """Layers (W, b) of the best epoch on `valid` (else of the last), how many epochs led to them, their loss there,
    and outputs (n_valid, out) for the validation rows that these rows had no part in choosing (see HALVES).

    X (n, p), Y (n, out) float32. The learning rate rises for a quarter of the steps, then falls to nothing (one cycle).
    Where `stop` has a `deadline` (time.monotonic), the cycle is made short enough to end before it, because one that
    is cut off while the rate is high has learnt little.
    """
    rng = np.random.default_rng(recipe.seed)
    network = Network(X.shape[1], Y.shape[1], recipe, rng)
    n = len(X)
    batch = min(recipe.batch, n)
    per_epoch = max(n // batch, 1)  # the last rows of a shuffle that do not fill a batch wait for the next epoch
    total = per_epoch * recipe.epochs
    deadline, started = getattr(stop, "deadline", None), time.monotonic()
    theta, grad = network.value.all, network.grad.all
    first, second, spare = np.zeros_like(theta), np.zeros_like(theta), np.empty_like(theta)
    best, best_layers, best_epoch, t = math.inf, None, 0, 0
    held = np.zeros_like(valid[1]) if valid is not None and len(valid[1]) >= HALVES else None
    half_best = [math.inf, math.inf]
    for epoch in range(recipe.epochs):
        order = rng.permutation(n)
        for s in range(per_epoch):
            rows = order[s * batch : (s + 1) * batch]
            network.step(X[rows], Y[rows], rng)
            t += 1
            if deadline is not None and t in (10, 40, 160):
                pace = (time.monotonic() - started) / t
                total = min(total, t + max(int(0.9 * (deadline - time.monotonic()) / pace), per_epoch))
            done = min(t / total, 1.0)
            rise = 0.25
            shape = done / rise if done < rise else 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))
            rate = recipe.rate * max(shape, 1e-3)
            # AdamW on the flat array, without temporaries.
            first *= np.float32(0.9)
            first += np.multiply(grad, np.float32(0.1), out=spare)
            second *= np.float32(0.98)
            np.multiply(grad, grad, out=spare)
            spare *= np.float32(0.02)
            second += spare
            np.sqrt(second, out=spare)
            spare *= np.float32(1.0 / math.sqrt(1 - 0.98**t))
            spare += np.float32(1e-8)
            np.divide(first, spare, out=spare)
            spare *= np.float32(rate / (1 - 0.9**t))
            theta[: network.weights] *= np.float32(1 - rate * recipe.decay)
            theta -= spare
            if t >= total or (stop is not None and t % 50 == 0 and stop()):
                break
        late = t >= total or (stop is not None and stop())
        if valid is not None:
            layers = network.folded()
            out = answers(layers, valid[0])
            for h in (0, 1):
                half = loss_of(out[h::2], valid[1][h::2], recipe.loss) if held is not None else math.inf
                if held is not None and half < half_best[h]:
                    half_best[h], held[1 - h :: 2] = half, out[1 - h :: 2]
            loss = loss_of(out, valid[1], recipe.loss)
            if loss < best:
                best, best_layers, best_epoch = loss, layers, epoch + 1
            if epoch - best_epoch > max(recipe.epochs // 3, 8):
                break
        if late:
            break
    if best_layers is None:
        best_layers, best_epoch = network.folded(), epoch + 1
    return best_layers, best_epoch, best, held if math.isfinite(max(half_best)) else None
