"""Recurrent layers in numpy: vanilla, LSTM and GRU, over padded batches of rows of similar length.

What flows between them is a pair (values (b, T, d), lengths (b,)); steps beyond a row's length may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.layers.feed import sigmoid
from everymodel.scoring.steps.base import need

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
POOLS = ("last", "mean", "max", "attention", "all")
_ROOM = 20_000  # padded steps of a batch

Padded = tuple[np.ndarray, np.ndarray]


def batches(values: np.ndarray, lengths: np.ndarray, room: int = _ROOM) -> Iterator[tuple[np.ndarray, Padded]]:
    """(row numbers (b,), (padded (b, T, d), lengths (b,))) of all rows, those of similar length together."""
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        longest = max(int(lengths[order[at]]), 1)
        rows = order[at : at + max(room // longest, 1)]
        at += len(rows)
        own = lengths[rows]
        steps = np.arange(longest)
        mask = steps < own[:, None]
        places = np.where(mask, starts[rows][:, None] + steps, 0)
        yield rows, (values[places] * mask[..., None].astype(values.dtype), own)


@layer("ragged")
class Ragged(Layer):
    """Rows of different length: `reader` gives (values (total, d), lengths (n,)), `body` answers (b, k) for padded
    batches of rows of similar length; the answers (n, k) come back in the order of the rows.
    """

    formula: ClassVar[str] = "a = body(reader(x)), by batches of similar length"

    reader: Layer
    body: Layer

    def __call__(self, x: Any) -> np.ndarray:
        values, lengths = self.reader(x)
        if not len(lengths):
            width = (values.shape[1],) if values.ndim > 1 else ()
            empty = np.zeros((1, 1, *width), dtype=values.dtype)
            return np.asarray(self.body((empty, np.ones(1, dtype=np.int64))))[:0]
        made = None
        for rows, batch in batches(values, lengths):
            answer = self.body(batch)
            made = np.empty((len(lengths), *answer.shape[1:]), dtype=answer.dtype) if made is None else made
            made[rows] = answer
        assert made is not None
        return made

    def parts(self) -> list[Layer]:
        return [self.reader, self.body]


@layer("recurrent")
class Recurrent(Layer):
    """One direction of one recurrent layer, (values (b, T, d), lengths) -> (states (b, T, h), lengths).

    rnn: h' = tanh(x W + b + h U + c). lstm: gates i, f, g, o side by side in W; c' = σ(f) c + σ(i) tanh(g),
    h' = σ(o) tanh(c'). gru: gates r, z, n; n = tanh(x W + b + r (h U + c)), h' = (1 - z) n + z h.

    weight (d, g * h), state (h, g * h), bias and state_bias (g * h,). reverse : from the last step to the first.
    """

    formula: ClassVar[str] = "h_t = cell(x_t, h_{t-1})"

    cell: str
    weight: np.ndarray
    state: np.ndarray
    bias: np.ndarray
    state_bias: np.ndarray
    reverse: bool = False

    def __call__(self, x: Padded) -> Padded:
        values, lengths = x
        need(values.shape[-1] == len(self.weight), "a recurrent layer got steps of another width")
        back = turned(values.shape[1], lengths) if self.reverse else None
        if back is not None:
            values = np.take_along_axis(values, back[..., None], axis=1)
        made = self._over(values)
        return (made if back is None else np.take_along_axis(made, back[..., None], axis=1)), lengths

    def _over(self, values: np.ndarray) -> np.ndarray:
        return self.advance(values)[0]

    def advance(self, values: np.ndarray, held: tuple[np.ndarray, ...] | None = None) -> tuple[np.ndarray, Any]:
        """(states (b, T, h), what the next steps go on from) of steps (b, T, d) that follow those that gave `held`."""
        b, T, d = values.shape
        h = len(self.state)
        kind, U, c0 = self.cell, self.state, self.state_bias
        z = (values.reshape(-1, d) @ self.weight + self.bias).reshape(b, T, -1)
        out = np.empty((T, b, h), dtype=z.dtype)
        zeros = np.zeros((b, h), dtype=z.dtype)
        state, memory = (zeros, zeros) if held is None else held
        for t in range(T):
            u = state @ U + c0
            if kind == "rnn":
                state = np.tanh(z[:, t] + u)
            elif kind == "lstm":
                u += z[:, t]
                gates = sigmoid(u)
                memory = gates[:, h : 2 * h] * memory + gates[:, :h] * np.tanh(u[:, 2 * h : 3 * h])
                state = gates[:, 3 * h :] * np.tanh(memory)
            else:
                gates = sigmoid(z[:, t, : 2 * h] + u[:, : 2 * h])
                new = np.tanh(z[:, t, 2 * h :] + gates[:, :h] * u[:, 2 * h :])
                state = new + gates[:, h:] * (state - new)
            out[t] = state
        return np.swapaxes(out, 0, 1), (state, memory)

    def check(self) -> None:
        need(self.cell in GATES and type(self.reverse) is bool, f"a recurrent layer has the cell {self.cell!r}")
        arrays = (self.weight, self.state, self.bias, self.state_bias)
        need(all(a.dtype.kind == "f" for a in arrays), "a recurrent layer's weights are no numbers")
        need(self.weight.ndim == 2 and self.state.ndim == 2 and len(self.state) > 0, "a recurrent layer has no state")
        wide = (len(self.state) * GATES[self.cell],)
        need(self.weight.shape[1:] == wide and self.state.shape[1:] == wide, "a recurrent layer's weights do not fit")
        need(self.bias.shape == wide and self.state_bias.shape == wide, "a recurrent layer's biases do not fit")


def turned(steps: int, lengths: np.ndarray) -> np.ndarray:
    """Places (b, T) that turn each row round within its length; applied twice they do nothing."""
    place = np.arange(steps)
    return np.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)


@layer("side_by_side")
class SideBySide(Layer):
    """Layers of steps at the same input, their answers side by side, such as both directions of a recurrent layer."""

    formula: ClassVar[str] = "a = →h ‖ ←h"

    layers: list[Layer]

    def __call__(self, x: Padded) -> Padded:
        return np.concatenate([part(x)[0] for part in self.layers], axis=-1), x[1]

    def parts(self) -> list[Layer]:
        return list(self.layers)

    def check(self) -> None:
        need(isinstance(self.layers, list | tuple) and len(self.layers) > 0, "a join holds no layers")
        self.layers = list(self.layers)


@layer("each_step")
class EachStep(Layer):
    """A layer at every step by itself, (values (b, T, d), lengths) -> (values (b, T, k), lengths)."""

    formula: ClassVar[str] = "a_t = f(x_t)"

    inner: Layer

    def __call__(self, x: Padded) -> Padded:
        return self.inner(x[0]), x[1]

    def parts(self) -> list[Layer]:
        return [self.inner]


@layer("pool_steps")
class PoolSteps(Layer):
    """Steps to one row, (values (b, T, d), lengths) -> (b, d), or (b, 3 d) for "all": last, mean and max side by side.

    "last": the last step of the first `forward` numbers and the first step of the others, which have run backwards.
    "attention": Σ softmax(score(x)) x with the layer `score`, (b, T, d) -> (b, T, 1).
    """

    formula: ClassVar[str] = "a = last, mean, max or Σ softmax(score(h_t)) h_t over the steps"

    how: str = "last"
    forward: int = 0
    score: Layer | None = None

    def __call__(self, x: Padded) -> np.ndarray:
        values, lengths = x
        mask = (np.arange(values.shape[1]) < lengths[:, None])[..., None]
        parts = []
        if self.how in ("last", "all"):
            ends = values[np.arange(len(values)), lengths - 1, : self.forward]
            parts.append(np.concatenate([ends, values[:, 0, self.forward :]], axis=1))
        if self.how in ("mean", "all"):
            parts.append(np.where(mask, values, 0).sum(axis=1) / lengths[:, None].astype(values.dtype))
        if self.how in ("max", "all"):
            parts.append(np.where(mask, values, -np.inf).max(axis=1))
        if self.how == "attention":
            assert self.score is not None
            logits = np.where(mask, self.score(values), -np.inf)  # (b, T, 1)
            share = np.exp(logits - logits.max(axis=1, keepdims=True))
            parts.append((np.where(mask, values, 0) * share).sum(axis=1) / share.sum(axis=1))
        return np.concatenate(parts, axis=1)

    def parts(self) -> list[Layer]:
        return [] if self.score is None else [self.score]

    def check(self) -> None:
        need(self.how in POOLS and type(self.forward) is int and self.forward >= 0, "a pool is described wrongly")
        need((self.how == "attention") == (self.score is not None), "attention needs a score, and nothing else does")


@layer("crf")
class CRF(Layer):
    """The best tags of sentences by Viterbi's way, (scores (b, T, k), lengths) -> codes (b, T), 0 beyond the length.

    move (k, k) : weight of a tag (column) after a tag (row). start, end (k,).
    """

    formula: ClassVar[str] = "argmax_y Σ_t score_t[y_t] + move[y_{t-1}, y_t]"

    move: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __call__(self, x: Padded) -> np.ndarray:
        scores, lengths = x
        b, T, k = scores.shape
        need(k == len(self.start), "a field of tags got scores of another width")
        best = scores[:, 0] + self.start  # (b, k)
        came = np.zeros((T, b, k), dtype=np.int64)
        for t in range(1, T):
            sums = best[:, :, None] + self.move  # (b, k, k)
            came[t] = sums.argmax(axis=1)
            new = np.take_along_axis(sums, came[t][:, None], axis=1)[:, 0] + scores[:, t]
            best = np.where((t < lengths)[:, None], new, best)
        tag = (best + self.end).argmax(axis=1)  # (b,)
        path = np.zeros((b, T), dtype=np.int64)
        rows = np.arange(b)
        for t in range(T - 1, -1, -1):
            inside = t < lengths
            path[:, t] = np.where(inside, tag, 0)
            tag = np.where(inside & (t > 0), came[t, rows, tag], tag)
        return path

    def check(self) -> None:
        k = (len(self.start),)
        need(self.start.shape == k and self.end.shape == k and k[0] > 0, "a field of tags does not fit")
        need(self.move.shape == k + k, "a field of tags does not fit")
        need(all(a.dtype.kind == "f" for a in (self.move, self.start, self.end)), "a field of tags is no number")
