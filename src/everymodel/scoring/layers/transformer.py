"""Networks that say what comes next, in numpy: blocks of causal attention or recurrent cells over vectors of tokens.

They read token by token and remember (`advance`), so that each new token costs one step and not the whole text again.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError
from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.layers.recurrence import Recurrent
from everymodel.scoring.steps.base import need

KINDS = ("relu2", "gelu_tanh", "gelu", "silu", "relu")
# By which ids are mixed into the place of a run.
PRIMES = (1, 40_503, 2_654_435, 97_755_397, 805_459_861, 999_983, 15_485_863, 32_452_843)
_ROWS = 1 << 22  # numbers of scores at once


def bend(z: np.ndarray, kind: str) -> np.ndarray:
    """The activations of transformers: relu2 is max(z, 0)²; gelu_tanh the approximation that GPT-2 learnt with."""
    if kind == "relu2":
        return np.square(np.maximum(z, 0))
    if kind == "gelu_tanh":
        c = z.dtype.type(math.sqrt(2.0 / math.pi))
        return z * (z.dtype.type(0.5) * (1 + np.tanh(c * (z + z.dtype.type(0.044715) * z * z * z))))
    return feed.activate(z, kind)


@layer("rms_normalize")
class RmsNormalize(Layer):
    """x / sqrt(mean(x²) + eps) * scale, over the last axis (Zhang and Sennrich 2019)."""

    formula: ClassVar[str] = "a = scale · x / √(mean(x²) + ε)"

    scale: np.ndarray | None = None
    eps: float = 1e-6

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + x.dtype.type(self.eps))
        return y if self.scale is None else y * self.scale

    def check(self) -> None:
        good = isinstance(self.eps, float | int) and 0 <= self.eps < 1
        need(good and (self.scale is None or self.scale.ndim == 1), "a normalisation is described wrongly")


def turns(start: int, steps: int, size: int, base: float, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """(cos, sin), each (steps, size / 2), by which pairs of numbers at these places are turned (Su et al. 2021)."""
    pace = base ** (-np.arange(0, size, 2) / size)
    angle = np.arange(start, start + steps)[:, None] * pace
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def turn(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Turn (..., steps, size) by place; the first half of the numbers is paired with the second."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class Past:
    """Keys and values (b, groups, places, size) of what was read, in room that doubles."""

    __slots__ = ("keys", "used", "values")

    def __init__(self) -> None:
        self.keys: np.ndarray | None = None
        self.values: np.ndarray | None = None
        self.used = 0

    def add(self, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All keys and values, these the last."""
        more = keys.shape[2]
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            if self.used + more > self.keys.shape[2]:
                room = max(2 * self.keys.shape[2], self.used + more)
                self.keys, self.values = (_wider(a, self.used, room) for a in (self.keys, self.values))
            self.keys[:, :, self.used : self.used + more] = keys
            self.values[:, :, self.used : self.used + more] = values
        self.used += more
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def repeat(self, rows: int) -> Past:
        """The same for so many texts that begin alike."""
        made = Past()
        if self.keys is not None and self.values is not None:
            made.keys, made.values = (np.repeat(a[:, :, : self.used], rows, axis=0) for a in (self.keys, self.values))
        made.used = self.used
        return made


def _wider(array: np.ndarray, used: int, room: int) -> np.ndarray:
    made = np.empty((*array.shape[:2], room, array.shape[3]), dtype=array.dtype)
    made[:, :, :used] = array[:, :, :used]
    return made


@layer("transformer_block")
class TransformerBlock(Layer):
    """x + attention(before(x)), then x + mlp(after(x)); each place sees itself and what is before it.

    mix : to queries, keys and values side by side, (d, (heads + 2 groups) · size). groups : heads of keys and values,
        each for heads / groups queries. out : back to d. up, down, gate : of the mlp, down(phi(gate(x)) · up(x)) or
        down(phi(up(x))). turned : base of rotary places, 0 for none. even : whether queries and keys are normalised.
    """

    formula: ClassVar[str] = "x + out · softmax(q kᵀ / √e) v, then x + down · φ(up x)"

    heads: int
    groups: int
    before: Layer
    mix: Layer
    out: Layer
    after: Layer
    up: Layer
    down: Layer
    gate: Layer | None = None
    kind: str = "relu2"
    turned: float = 10_000.0
    even: bool = True

    def start(self) -> Past:
        return Past()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.advance(x, Past())

    def advance(self, x: np.ndarray, past: Past) -> np.ndarray:
        """From (b, t, d) at the next t places to the same shape; `past` remembers."""
        b, t, _ = x.shape
        h, g = self.heads, self.groups
        mixed = self.mix(self.before(x))  # (b, t, (h + 2 g) e)
        e = mixed.shape[-1] // (h + 2 * g)
        mixed = mixed.reshape(b, t, h + 2 * g, e).transpose(0, 2, 1, 3)  # (b, h + 2 g, t, e)
        q, k, v = mixed[:, :h], mixed[:, h : h + g], mixed[:, h + g :]
        if self.even:
            q, k = (a / np.sqrt(np.square(a).mean(axis=-1, keepdims=True) + a.dtype.type(1e-6)) for a in (q, k))
        if self.turned:
            cos, sin = turns(past.used, t, e, self.turned, x.dtype)
            q, k = turn(q, cos, sin), turn(k, cos, sin)
        keys, values = past.add(np.ascontiguousarray(k), np.ascontiguousarray(v))
        x = x + self.out(self._look(q, keys, values).transpose(0, 2, 1, 3).reshape(b, t, h * e))
        z = self.after(x)
        wide = self.up(z)
        inner = bend(wide, self.kind) if self.gate is None else bend(self.gate(z), self.kind) * wide
        return x + self.down(inner)

    def _look(self, q: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(b, h, t, e): means of the values by softmax of how queries and keys agree."""
        b, h, t, e = q.shape
        g, total = keys.shape[1], keys.shape[2]
        q = q.reshape(b, g, h // g, t, e) * q.dtype.type(1 / math.sqrt(e))
        made = np.empty((b, g, h // g, t, e), dtype=q.dtype)
        size = max(_ROWS // max(b * h * total, 1), 1)
        for low in range(0, t, size):  # places at once, so that long texts need little memory
            part = q[:, :, :, low : low + size]
            scores = part @ keys[:, :, None].swapaxes(-1, -2)  # (b, g, h / g, size, total)
            rows = part.shape[3]
            if rows > 1 or total > total - t + low + rows:
                late = np.arange(total) > np.arange(total - t + low, total - t + low + rows)[:, None]
                scores = np.where(late, q.dtype.type(-1e30), scores)
            made[:, :, :, low : low + size] = feed.activate(scores, "softmax") @ values[:, :, None]
        return made.reshape(b, h, t, e)

    def parts(self) -> list[Layer]:
        inside = (self.before, self.mix, self.out, self.after, self.gate, self.up, self.down)
        return [part for part in inside if part is not None]

    def check(self) -> None:
        whole = type(self.heads) is int and type(self.groups) is int and 0 < self.groups <= self.heads <= 4096
        need(whole and self.heads % self.groups == 0, "the heads of a block do not fit")
        need(self.kind in KINDS and type(self.even) is bool, "a block is described wrongly")
        need(isinstance(self.turned, float | int) and 0 <= self.turned < 1e12, "a block is described wrongly")
        dense = [p for p in (self.mix, self.out, self.up, self.down, self.gate) if p is not None]
        need(all(isinstance(p, feed.Dense) and p.weight.ndim == 2 for p in dense), "a block has no weights")
        d, wide = self.mix.weight.shape  # type: ignore[attr-defined]
        size, rest = divmod(wide, self.heads + 2 * self.groups)
        need(not rest and size > 0 and (not self.turned or size % 2 == 0), "the heads of a block do not fit")
        need(self.out.weight.shape == (self.heads * size, d), "the heads of a block do not fit")  # type: ignore[attr-defined]
        inner = self.up.weight.shape[1]  # type: ignore[attr-defined]
        need(self.up.weight.shape == (d, inner) and self.down.weight.shape == (inner, d), "a block's mlp does not fit")  # type: ignore[attr-defined]
        need(self.gate is None or self.gate.weight.shape == (d, inner), "a block's mlp does not fit")  # type: ignore[attr-defined]
        for norm in (self.before, self.after):
            need(isinstance(norm, RmsNormalize | feed.Normalize), "a block has no normalisation")
            need(norm.scale is None or norm.scale.shape == (d,), "a block's normalisation does not fit")  # type: ignore[attr-defined]


@layer("recurrent_block")
class RecurrentBlock(Layer):
    """A recurrent layer that goes on from where it was: (b, t, d) -> (b, t, h)."""

    formula: ClassVar[str] = "h_t = cell(x_t, h_{t-1})"

    cell: Layer

    class Held:
        """State and memory (b, h), None before the first step."""

        __slots__ = ("state",)

        def __init__(self, state: Any = None):
            self.state = state

        def repeat(self, rows: int) -> RecurrentBlock.Held:
            held = None if self.state is None else tuple(np.repeat(a, rows, axis=0) for a in self.state)
            return RecurrentBlock.Held(held)

    def start(self) -> Held:
        return RecurrentBlock.Held()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.advance(x, self.start())

    def advance(self, x: np.ndarray, held: Held) -> np.ndarray:
        assert isinstance(self.cell, Recurrent)
        made, held.state = self.cell.advance(x, held.state)
        return made

    def parts(self) -> list[Layer]:
        return [self.cell]

    def check(self) -> None:
        need(isinstance(self.cell, Recurrent) and not self.cell.reverse, "a recurrent block has no cell")


class Reading:
    """Where a network is in some texts that it reads side by side."""

    __slots__ = ("held", "places", "tail")

    def __init__(self, held: list[Any], tail: np.ndarray | None = None, places: int = 0):
        self.held, self.tail, self.places = held, tail, places

    def repeat(self, rows: int) -> Reading:
        """The same for so many texts that begin alike."""
        tail = None if self.tail is None else np.repeat(self.tail, rows, axis=0)
        return Reading([held.repeat(rows) for held in self.held], tail, self.places)


@layer("language_model")
class LanguageModel(Layer):
    """Scores (b, t, v) of what comes next at each place, from ids (b, t) of tokens.

    table (v, d) : vectors of tokens. blocks : TransformerBlock or RecurrentBlock, one after the other. norm : before
        the scores. head : to the scores; None: by the table. positions (limit, d) : added by place, or None.
    grams (buckets, d) : vectors of runs of the last `orders` tokens, by their mixed ids. border : id at which runs and
        texts begin, or -1. limit : places that are read at once, 0 for as many as one likes.
    """

    formula: ClassVar[str] = "p(next) = softmax(head · norm(blocks(table[id] + …)))"

    table: np.ndarray
    blocks: list[Layer]
    norm: Layer | None = None
    head: Layer | None = None
    positions: np.ndarray | None = None
    grams: np.ndarray | None = None
    orders: tuple[int, ...] = ()
    border: int = -1
    limit: int = 0

    @property
    def size(self) -> int:
        """Tokens in the vocabulary."""
        return len(self.table)

    def start(self) -> Reading:
        return Reading([block.start() for block in self.blocks])  # type: ignore[attr-defined]

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        return self.advance(ids, self.start(), last=False)

    def advance(self, ids: np.ndarray, reading: Reading, last: bool = True) -> np.ndarray:
        """Scores after the next ids (b, t): (b, v) of the last place, or (b, t, v) with last=False."""
        if self.limit and reading.places + ids.shape[1] > self.limit:
            raise DataError(f"{reading.places + ids.shape[1]} tokens are more than the {self.limit} that can be read.")
        x = self.table[ids]  # (b, t, d)
        if self.positions is not None:
            x = x + self.positions[reading.places : reading.places + ids.shape[1]]
        if self.grams is not None:
            longest = max(self.orders) - 1
            before = reading.tail if reading.tail is not None else np.full((len(ids), longest), max(self.border, 0))
            whole = np.concatenate([before, ids], axis=1)
            x = x + self.runs(whole, longest)
            reading.tail = whole[:, -longest:]
        for block, held in zip(self.blocks, reading.held, strict=True):
            x = block.advance(x, held)  # type: ignore[attr-defined]
        reading.places += ids.shape[1]
        x = x[:, -1] if last else x
        x = x if self.norm is None else self.norm(x)
        return x @ self.table.T if self.head is None else self.head(x)

    def runs(self, whole: np.ndarray, skip: int) -> np.ndarray:
        """(b, t, d): sums of the vectors of the runs that end at each place after the first `skip`."""
        assert self.grams is not None
        made: Any = 0.0
        for places in run_places(whole, self.orders, len(self.grams), self.border):
            made = made + self.grams[places[:, skip:]]
        return made

    def parts(self) -> list[Layer]:
        return [*self.blocks, *(p for p in (self.norm, self.head) if p is not None)]

    def check(self) -> None:
        need(self.table.ndim == 2 and self.table.dtype.kind == "f" and len(self.table) > 1, "a model has no tokens")
        v, d = self.table.shape
        need(isinstance(self.blocks, list) and len(self.blocks) <= 1000, "a model has no blocks")
        wide = d
        for block in self.blocks:
            need(isinstance(block, TransformerBlock | RecurrentBlock), "a model has a block of another kind")
            if isinstance(block, TransformerBlock):
                need(block.mix.weight.shape[0] == wide, "the blocks of a model do not fit")  # type: ignore[attr-defined]
            else:
                need(block.cell.weight.shape[0] == wide, "the blocks of a model do not fit")  # type: ignore[attr-defined]
                wide = len(block.cell.state)  # type: ignore[attr-defined]
        if self.norm is not None:
            need(isinstance(self.norm, RmsNormalize | feed.Normalize), "a model's normalisation is of another kind")
            scale = self.norm.scale  # type: ignore[attr-defined]
            need(scale is None or scale.shape == (wide,), "a model's normalisation does not fit")
        if self.head is None:
            need(wide == d, "a model's scores do not fit")
        else:
            good = isinstance(self.head, feed.Dense) and self.head.weight.shape == (wide, v)
            need(good, "a model's scores do not fit")
        need(type(self.limit) is int and 0 <= self.limit <= 1 << 24, "a model's length is wrong")
        need(type(self.border) is int and -1 <= self.border < v, "a model's first token is wrong")
        if self.positions is not None:
            need(self.positions.ndim == 2 and self.positions.shape[1] == d, "a model's places do not fit")
            need(0 < self.limit <= len(self.positions), "a model's places do not fit")
        if self.grams is not None:
            need(self.grams.ndim == 2 and self.grams.shape[1] == d and len(self.grams) > 0, "runs do not fit")
            need(isinstance(self.orders, tuple) and 0 < len(self.orders) <= 8, "runs are described wrongly")
            need(all(type(o) is int and 2 <= o <= len(PRIMES) for o in self.orders), "runs are described wrongly")


def run_places(ids: Any, orders: tuple[int, ...], buckets: int, border: int) -> list[Any]:
    """Places (b, t) in a table of `buckets` rows of the runs of each order that end at each id; numpy or torch.

    Before a border, and before the first id, everything counts as the border.
    """
    empty = max(border, 0)
    made, mixed, before = [], ids * PRIMES[0], ids
    for back in range(1, max(orders)):
        moved = before * 0 + empty
        moved[:, 1:] = before[:, :-1]
        if border >= 0:
            moved[ids == border] = border
        # One step back of what was one step back: a border on the way stays in sight.
        before = moved
        mixed = mixed + before * PRIMES[back]
        if back + 1 in orders:
            made.append((mixed + (back + 1) * 7919) % buckets)
    return made
