"""Replay: what an agent saw, did and got long ago, in preallocated arrays, drawn again and again to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from everymodel.core.seeds import derive
from everymodel.environments.lanes import Lanes, generator, numbers_of
from everymodel.models.reinforcement._base import Curve, Trial
from everymodel.models.reinforcement._network import Experience, Learning, Seen
from everymodel.models.reinforcement._picture import Picture
from everymodel.scoring.layers import feed
from everymodel.scoring.spaces import Space
from everymodel.training.blocks.written import array

_BLOCK = 256  # priorities that are summed up together
_LEAST = 1e-3  # priority of what was predicted exactly
_BYTES = 1 << 31  # of observations that are remembered, at most
_EVERY, _NEAR = 6, 0.15  # epochs between looks; share of the goal from which on every epoch is looked at


class Acting(Protocol):
    """What acts while it learns, and explores.

    strayed : (n,) bool, which lanes have just done what is not thought best; None where that is no matter.
    """

    strayed: np.ndarray | None

    def act(
        self, rows: np.ndarray, rng: np.random.Generator, allowed: np.ndarray | None, blind: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """(actions to remember, actions for the environment) for rows (n, p); `blind`: nothing is learnt yet."""
        ...

    def state(self) -> Any: ...

    def restore(self, told: Any) -> None: ...


class Drawn(NamedTuple):
    """A batch. seen (b, p), or images (b, h, w, c). reward (b,): of up to `ahead` steps, discounted. after: as seen, at
    their end. keep (b,): what the value there counts, 0 where the task ended. may (b, A): choices allowed there, or
    None. weight (b,): of the loss, or None."""

    seen: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    after: torch.Tensor
    keep: torch.Tensor
    may: torch.Tensor | None
    weight: torch.Tensor | None


class Replay(Experience):
    """Steps all lanes once, then gives `updates` batches of steps drawn from the last `size` ones; and so on.

    An epoch is `turns` steps of all lanes. Before `first` steps of the environment there are no batches. Images are
    remembered as bytes; where the last `size` steps would take too much memory, fewer are, and a note says so.

    Parameters
    ----------
    ahead : n of the n-step returns.
    priority : exponent of the priorities (Schaul et al. 2016); 0 draws evenly.
    scale_rewards : bring rewards to a mean size of 1 - discount, as the first epoch in which there are some shows it,
        so that values are of size 1.
    """

    def __init__(
        self,
        lanes: Lanes,
        seen: Seen,
        acting: Acting,
        *,
        size: int,
        batch: int,
        ahead: int,
        discount: float,
        first: int,
        turns: int,
        updates: int,
        priority: float = 0.0,
        seed: int = 0,
    ):
        self.lanes, self.seen, self.acting, self.batch = lanes, seen, acting, batch
        self.plain = Seen(seen.space, normalize=False)
        self.ahead, self.discount, self.turns, self.updates, self.priority = ahead, discount, turns, updates, priority
        self.curve, n = Curve(), lanes.n
        self.rows = max(-(-size // n), ahead + 1)  # steps of all lanes that are remembered
        self.blind = -(-max(first, batch) // n)  # steps of all lanes before the first batch
        self.now = np.array(lanes.reset(derive(seed, "training")))
        fits = max(_BYTES // (2 * self.now.nbytes), ahead + 1)
        if self.rows > fits:
            self.notes = [
                f"{self.rows * n:,} steps would take {2 * self.rows * self.now.nbytes / 1e9:.1f} GB: the last "
                f"{fits * n:,} are remembered. Smaller images, or a smaller memory=, leave room."
            ]
            self.rows = fits
        self.total, self.length = np.zeros(n), np.zeros(n, dtype=np.int64)
        self.rng, self.seed = np.random.default_rng(derive(seed, "replay")), -1
        self.at, self.scaled = 0, 0  # steps of all lanes so far, and at the last look at the scale
        does = lanes.action
        done, kind = ((), np.int64) if does.discrete else ((does.width,), np.float32)
        self.held = {
            "seen": np.zeros((self.rows, *self.now.shape), dtype=self.now.dtype),
            "action": np.zeros((self.rows, n, *done), dtype=kind),
            "reward": np.zeros((self.rows, n), dtype=np.float32),
            "after": np.zeros((self.rows, *self.now.shape), dtype=self.now.dtype),
            "keep": np.zeros((self.rows, n), dtype=np.float32),
        }
        if lanes.masks() is not None:
            self.held["may"] = np.ones((self.rows, n, does.n), dtype=bool)
        if priority:
            self.held["priority"] = np.zeros((self.rows, n), dtype=np.float64)
        self.flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in self.held.items()}
        self.open = np.ones((ahead, n), dtype=bool)  # whether the episode of k steps ago still goes on
        self.unit, self.sizes = 0.0, 0.0  # factor of rewards, once known; sum of their sizes so far
        self.blocks = np.zeros(-(-self.rows * n // _BLOCK))
        self.largest = 1.0
        self.drawn = np.zeros(0, dtype=np.int64)

    def steps(self) -> int:
        return self.turns * self.updates

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Drawn]:
        if seed != self.seed:  # a new run, or one that was rescued and must not draw the same again
            self.rng, self.seed = np.random.default_rng(derive(seed, "replay", number)), seed
        blind = min(max(self.blind - number * self.turns, 0), self.turns)
        for turn in range(start // self.updates + blind if start else 0, self.turns):
            if turn < blind:
                self.collect(True)
                if turn + 1 == blind:
                    self.learn_scale()
                continue
            for i in range(self.updates):
                if (turn - blind) * self.updates + i < start:
                    continue
                if i == 0:
                    self.collect(False)
                yield self.draw()
        self.learn_scale()

    # --- acting ---

    def collect(self, blind: bool) -> None:
        """One step of all lanes."""
        lanes, held, row = self.lanes, self.held, self.at % self.rows
        held["seen"][row] = self.now
        chosen, native = self.acting.act(self.plain(self.now), self.rng, lanes.masks(), blind)
        held["action"][row] = chosen
        strayed = self.acting.strayed
        if strayed is not None:  # returns of earlier steps end before a choice that was not the best
            self.open[1:] &= ~strayed
        moved = lanes.step(native)
        self.taken += lanes.n
        self.total += moved.reward
        self.length += 1
        self.sizes += float(np.abs(moved.reward).sum())
        over = moved.ended | moved.cut
        factor, may = 1.0, lanes.masks() if "may" in held else None
        for k in range(min(self.ahead, self.at + 1)):  # this step is the k-th after those of k steps ago
            past, live = (row - k) % self.rows, self.open[k]
            if k == 0:
                held["reward"][row], held["after"][row] = moved.reward, moved.last
            else:
                held["reward"][past] += factor * (live * moved.reward)
                np.copyto(held["after"][past], moved.last, where=live.reshape(-1, *[1] * (moved.last.ndim - 1)))
            factor *= self.discount
            np.copyto(held["keep"][past], factor * ~moved.ended, where=live)
            if may is not None:
                held["may"][past][live] = np.where(over[live, None], True, may[live])
        self.open[1:] = self.open[:-1] & ~over
        if self.priority:
            self._rank(np.arange(row * lanes.n, (row + 1) * lanes.n), np.full(lanes.n, self.largest))
        self.at += 1
        if over.any():
            self.note(self.total, self.length, over)
        self.now = np.array(moved.seen)

    def learn_scale(self) -> None:
        """The scale of what was seen since the last time, and of rewards where it is not known yet."""
        rows = np.arange(max(self.scaled, self.at - self.rows), self.at) % self.rows
        if len(rows) and self.seen.normalize:
            self.seen.learn(self.held["seen"][rows].reshape(-1, *self.now.shape[1:]))
        self.scaled = self.at
        if not self.unit and self.sizes:
            self.unit = (1.0 - min(self.discount, 0.999)) * self.taken / self.sizes

    # --- drawing ---

    def draw(self) -> Drawn:
        n = min(self.at, self.rows) * self.lanes.n
        weight = None
        if self.priority:
            rows, weight = self._by_priority(n)
        else:
            rows = self.rng.integers(0, n, self.batch)
        self.drawn, take = rows, {k: v[rows] for k, v in self.flat.items() if k != "priority"}
        return Drawn(
            torch.from_numpy(self.plain(take["seen"])),
            torch.from_numpy(take["action"]),
            torch.from_numpy(take["reward"] * np.float32(self.unit or 1.0)),
            torch.from_numpy(self.plain(take["after"])),
            torch.from_numpy(take["keep"]),
            torch.from_numpy(take["may"]) if "may" in take else None,
            None if weight is None else torch.from_numpy(weight),
        )

    def _by_priority(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows (b,), weights of their losses (b,)) by priority: first a block by the sums, then a row in it."""
        sums = self.blocks.cumsum()
        spots = (np.arange(self.batch) + self.rng.random(self.batch)) * (sums[-1] / self.batch)
        block = np.minimum(sums.searchsorted(spots, side="right"), len(sums) - 1)
        flat = self.flat["priority"]
        inside = np.minimum(block[:, None] * _BLOCK + np.arange(_BLOCK), len(flat) - 1)
        parts = flat[inside]
        parts[block[:, None] * _BLOCK + np.arange(_BLOCK) >= len(flat)] = 0.0
        parts = parts.cumsum(axis=1)
        left = spots - (sums[block] - self.blocks[block])
        rows = np.minimum(block * _BLOCK + (parts <= left[:, None]).sum(axis=1), n - 1)
        weight = (np.maximum(flat[rows], 1e-12) / sums[-1] * n) ** -0.5
        return rows, (weight / weight.max()).astype(np.float32)

    def rank(self, gaps: np.ndarray) -> None:
        """Errors (b,) of the predictions for the batch drawn last."""
        if self.priority:
            self._rank(self.drawn, (np.abs(gaps) + _LEAST) ** self.priority)

    def _rank(self, rows: np.ndarray, values: np.ndarray) -> None:
        flat = self.flat["priority"]
        flat[rows] = values
        self.largest = max(self.largest * 0.9999, float(values.max()))
        for block in np.unique(rows // _BLOCK):
            self.blocks[block] = flat[block * _BLOCK : (block + 1) * _BLOCK].sum()

    # --- the state of a run ---

    def state(self) -> dict[str, Any]:
        n = min(self.at, self.rows)
        return {
            "lanes": self.lanes.state(),
            "seen": self.seen.state(),
            "acting": self.acting.state(),
            "held": {k: v[:n] for k, v in self.held.items()},
            "now": self.now,
            "counts": [self.total, self.length, self.open, self.drawn, self.blocks],
            "places": [self.taken, self.at, self.scaled, self.seed, self.unit, self.sizes, self.largest],
            "random": numbers_of(self.rng),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.lanes.restore(state["lanes"])
        self.seen.restore(state["seen"])
        self.acting.restore(state["acting"])
        for name, kept in state["held"].items():
            self.held[name][: len(kept)] = kept
        self.now = state["now"]
        self.total, self.length, self.open, self.drawn, self.blocks = state["counts"]
        self.taken, self.at, self.scaled, self.seed = (int(v) for v in state["places"][:4])
        self.unit, self.sizes, self.largest = (float(v) for v in state["places"][4:])
        self.rng = generator(state["random"])


class Replaying(Learning):
    """Base of the objectives that learn from a replay.

    Their agents explore while they learn, so training episodes do not say how good they are: it is looked every
    `_EVERY` epochs, and every epoch once a look came near to what is asked for.
    """

    experience: Replay

    def __init__(self, replay: Replay, trial: Trial, **nets: nn.Module):
        super().__init__(replay, trial, _EVERY, **nets)

    def scale(self, seen: Seen) -> None:
        """Bring the networks to the scale of what was seen."""
        raise NotImplementedError

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        looks, until = self.experience.curve.looks, self.trial.until
        near = until is not None and bool(looks) and looks[-1][1] >= until - _NEAR * abs(until)
        self.every = 1 if near else _EVERY
        self.scale(self.experience.seen)
        if until is None:  # the best look decides: all see the same episodes, so that luck does not
            self.trial.count = 0
        return super().judge(nets, batches)


def follower(slow: nn.Module, quick: nn.Module) -> Callable[[float], None]:
    """A function that moves the weights of the slow network a share of the way to those of the quick one."""
    pairs = list(slow.parameters()), list(quick.parameters())

    def follow(rate: float) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(*pairs, rate)  # pyright: ignore

    return follow


class Scaled(nn.Module):
    """Brings what is seen to scale, x * factor + shift, before the first layer of a network.

    The scale follows what has been seen, and the first layer is changed with it so that the network answers as before.
    As part of the network it is kept with the weights that it belongs to.
    """

    factor: torch.Tensor
    shift: torch.Tensor

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.register_buffer("factor", torch.ones(width))
        self.register_buffer("shift", torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, x, self.factor)

    def layer(self) -> feed.Affine:
        return feed.Affine(array(self.factor), array(self.shift))

    def follow(self, seen: Seen, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Take the scale of what was seen; the first layer's `weight` (..., in, out) and `bias` go along."""
        if not seen.normalize or not seen.count:
            return
        p = len(self.factor)
        with torch.no_grad():
            factor = torch.from_numpy(1.0 / seen.spread).float()
            shift = torch.from_numpy(-seen.shift / seen.spread).float()
            ratio = self.factor / factor
            bias += ((self.shift - ratio * shift) @ weight[..., :p, :]).view_as(bias)
            weight[..., :p, :] *= ratio[:, None]
            self.factor.copy_(factor)
            self.shift.copy_(shift)


def entrance(sees: Space, filters: int) -> Scaled | Picture:
    """What comes before the first layer of a network: convolutions of images, or a scale; `width` numbers come out."""
    return Picture(sees, filters) if sees.image else Scaled(sees.width)
