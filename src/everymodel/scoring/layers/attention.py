"""Windows of series as steps, attention, and decoders that write sequences, in numpy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.layers.feed import sigmoid
from everymodel.scoring.layers.recurrence import Padded, Recurrent
from everymodel.scoring.steps.base import need


@layer("window_steps")
class WindowSteps(Layer):
    """Windows (b, T) as padded steps ((b, T, 1), lengths), all of one length."""

    formula: ClassVar[str] = "a_t = x_t"

    def __call__(self, x: np.ndarray) -> Padded:
        return x[:, :, None], np.full(len(x), x.shape[1], dtype=np.int64)


HOWS = ("dot", "additive")
MAX_WRITTEN, MAX_BEAMS = 10_000, 100


@layer("writer")
class Writer(Layer):
    """Writes a sequence of tokens for each row, one after the other, looking back at the steps that were read.

    (values (b, T, d), lengths) -> (ids (b, U), places (b, U)): ids of the tokens, 0 after the end, and the step
    that each looked at most.

        s_u = cell(E[y_{u-1}], s_{u-1}),  c_u = sum_t softmax(a(s_u, key_t)) h_t,
        p(y_u) = softmax(O tanh(R [s_u; c_u]))

    table (v, e) : vectors of tokens; the last two ids are the start and the end. cell : a `recurrent` layer. start :
    mean of the steps to the first state. keys : steps to keys (k). query : states to keys. how : "dot" or "additive",
    with `score` (k,). readout, outputs : state and context to scores of all tokens.
    beams : sentences that are kept while writing. penalty : how far longer ones are preferred (Wu et al. 2016). most :
    tokens written at most.
    """

    formula: ClassVar[str] = "y_u = argmax O tanh(R [s_u ; Σ softmax(a(s_u, k_t)) h_t])"

    table: np.ndarray
    cell: Layer
    start: Layer
    keys: Layer
    query: Layer
    readout: Layer
    outputs: Layer
    how: str = "dot"
    score: np.ndarray | None = None
    beams: int = 5
    penalty: float = 0.6
    most: int = 60

    def __call__(self, x: Padded) -> tuple[np.ndarray, np.ndarray]:
        values, lengths = x
        b, steps, _ = values.shape
        k, v = self.beams, len(self.table)
        begin, end = v - 2, v - 1
        mask = np.arange(steps) < lengths[:, None]  # (b, T)
        mean = np.where(mask[..., None], values, 0).sum(axis=1) / lengths[:, None].astype(values.dtype)
        state = np.repeat(np.asarray(self.start(mean)), k, axis=0)  # (b k, h or 2 h)
        rows = np.repeat(np.arange(b), k)
        keys = np.asarray(self.keys(values))
        total = np.full((b, k), -np.inf)
        total[:, 0] = 0.0
        last = np.full(b * k, begin)
        done = np.zeros((b, k), dtype=bool)
        ids, places = np.zeros((b, k, 0), dtype=np.int64), np.zeros((b, k, 0), dtype=np.int64)
        most = min(self.most, int(3 * lengths.max() + 20)) if steps > 1 else self.most
        for _ in range(most):
            state, scores, looked = self._next(state, last, values, keys, mask, rows)
            scores[:, begin] = -np.inf
            scores[:, 0] = -np.inf
            top = scores.max(axis=1, keepdims=True)
            logs = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
            logs = logs.reshape(b, k, v)
            logs[done] = -np.inf
            logs[done, end] = 0.0  # a finished sentence stays as it is
            flat = (total[:, :, None] + logs).reshape(b, k * v)
            pick = np.argpartition(-flat, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(flat, pick, axis=1), axis=1, kind="stable")
            pick = np.take_along_axis(pick, order, axis=1)  # (b, k)
            total = np.take_along_axis(flat, pick, axis=1)
            came, token = pick // v, pick % v
            over = (np.arange(b)[:, None] * k + came).reshape(-1)
            state, looked = state[over], looked[over].reshape(b, k)
            was = np.take_along_axis(done, came, axis=1)
            shown = np.where(was | (token == end), 0, token)
            ids = np.concatenate([np.take_along_axis(ids, came[..., None], axis=1), shown[..., None]], axis=2)
            places = np.concatenate([np.take_along_axis(places, came[..., None], axis=1), looked[..., None]], axis=2)
            done = was | (token == end)
            last = token.reshape(-1)
            if done[:, 0].all() and (k == 1 or done.all()):
                break
        size = np.maximum((ids > 0).sum(axis=2), 1)
        worth = total / ((5.0 + size) / 6.0) ** self.penalty
        worth = np.where(done, worth, worth - 1e3)  # one that ended is preferred to one that was cut
        best = worth.argmax(axis=1)
        pick = np.arange(b)
        return ids[pick, best], places[pick, best]

    def _next(
        self, state: np.ndarray, last: np.ndarray, values: np.ndarray, keys: np.ndarray, mask: np.ndarray,
        rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
        """(states, scores (n, v), step looked at most (n,)) after the tokens `last` (n,)."""
        state, s = _cell(self.cell, self.table[last], state)
        q = np.asarray(self.query(s))  # (n, k)
        own = keys[rows]  # (n, T, k)
        if self.how == "dot":
            a = np.einsum("ntk,nk->nt", own, q) / np.sqrt(q.shape[1]).astype(q.dtype)
        else:
            a = np.tanh(own + q[:, None]) @ self.score
        a = np.where(mask[rows], a, -np.inf)
        share = np.exp(a - a.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        context = np.einsum("nt,ntd->nd", share, values[rows])
        hidden = np.tanh(np.asarray(self.readout(np.concatenate([s, context], axis=1))))
        return state, np.asarray(self.outputs(hidden), dtype=np.float64), share.argmax(axis=1)

    def parts(self) -> list[Layer]:
        return [self.cell, self.start, self.keys, self.query, self.readout, self.outputs]

    def check(self) -> None:
        need(isinstance(self.cell, Recurrent) and self.cell.cell in ("gru", "lstm"), "a writer has no memory")
        need(self.table.ndim == 2 and len(self.table) > 3 and self.table.dtype.kind == "f", "a writer has no words")
        need(self.table.shape[1] == len(self.cell.weight), "a writer's words do not fit its memory")
        need(self.how in HOWS and (self.score is None) == (self.how == "dot"), "a writer looks back in no known way")
        need(
            self.score is None or (self.score.ndim == 1 and self.score.dtype.kind == "f"), "a writer's scores are wrong"
        )
        need(all(isinstance(p, Layer) for p in self.parts()), "a writer is incomplete")
        for value, most in ((self.beams, MAX_BEAMS), (self.most, MAX_WRITTEN)):
            need(type(value) is int and 1 <= value <= most, "a writer's limits are impossible")
        need(isinstance(self.penalty, int | float) and 0 <= self.penalty <= 10, "a writer's penalty is impossible")


def _cell(cell: Layer, x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of a recurrent layer: (n, e) and the state (n, h), or (n, 2 h) for an LSTM -> (new state, output)."""
    assert isinstance(cell, Recurrent)
    h = len(cell.state)
    before = state[:, :h]
    z, u = x @ cell.weight + cell.bias, before @ cell.state + cell.state_bias
    if cell.cell == "lstm":
        gates = z + u
        share = sigmoid(gates)
        memory = share[:, h : 2 * h] * state[:, h:] + share[:, :h] * np.tanh(gates[:, 2 * h : 3 * h])
        out = share[:, 3 * h :] * np.tanh(memory)
        return np.concatenate([out, memory], axis=1), out
    gates = sigmoid(z[:, : 2 * h] + u[:, : 2 * h])
    new = np.tanh(z[:, 2 * h :] + gates[:, :h] * u[:, 2 * h :])
    out = new + gates[:, h:] * (before - new)
    return out, out
