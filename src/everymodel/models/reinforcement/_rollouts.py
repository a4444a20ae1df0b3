"""Rollouts: what a policy sees, does and gets in many lanes for some steps, as batches to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from everymodel.core.seeds import derive
from everymodel.environments.lanes import Lanes
from everymodel.models.reinforcement._base import Curve
from everymodel.models.reinforcement._network import Experience, Seen

_LARGE = 10.0  # scaled rewards beyond this are cut
Acting = Callable[[np.ndarray, np.random.Generator, "np.ndarray | None"], tuple[np.ndarray, np.ndarray, np.ndarray]]


class Rollouts(Experience):
    """`horizon` steps of all lanes, then `passes` passes over them in batches.

    A batch is (seen (b, p) or images (b, h, w, c), actions (b,) or (b, d), log probability (b,), advantage (b,), return
    (b,)), and (b, A) what was allowed where an environment forbids choices. Advantages have mean 0 and spread 1 over
    the rollout.

    Parameters
    ----------
    policy : () -> the policy of the weights as they are, which is a function of (rows (n, p), generator, allowed) that
        gives (actions, log probabilities (n,), actions for the environment).
    value : rows (m, p) -> (m,).
    discount, trace : gamma and lambda of the advantages (Schulman et al. 2016).
    scale_rewards : divide rewards by the running spread of the discounted return.
    """

    def __init__(
        self,
        lanes: Lanes,
        seen: Seen,
        policy: Callable[[], Acting],
        value: Callable[[np.ndarray], np.ndarray],
        *,
        horizon: int,
        passes: int,
        batch: int,
        discount: float,
        trace: float,
        scale_rewards: bool,
        seed: int,
    ):
        self.lanes, self.seen, self.policy, self.value = lanes, seen, policy, value
        self.horizon, self.passes, self.batch = horizon, passes, min(batch, horizon * lanes.n)
        self.discount, self.trace, self.scale_rewards = discount, trace, scale_rewards
        self.curve, self.seed = Curve(), seed
        n = lanes.n
        self.now = lanes.reset(derive(seed, "training"))
        self.total, self.length, self.owed = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n)
        self.spread = [0.0, 0.0, 0.0]  # count, mean, squares of the discounted return
        self.explained = 0.0  # share of the returns' variance that the values of the last rollout explain
        self.paid = 0.0  # largest difference between two rewards of a rollout
        self.ends = [0, 0]  # episodes that were over, and how many of these were cut
        self.rollout: list[np.ndarray] = []

    def steps(self) -> int:
        return self.passes * max(self.horizon * self.lanes.n // self.batch, 1)

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        if number == 0 and start == 0:  # what is seen has a scale before anything is learnt from it
            self.collect(np.random.default_rng(derive(seed, "scale")))
        if start == 0 or not self.rollout:
            self.collect(np.random.default_rng(derive(seed, "actions", number)))
        held = [torch.from_numpy(a) for a in self.rollout]
        size = self.horizon * self.lanes.n
        count, generator = max(size // self.batch, 1), torch.Generator()
        for turn in range(start // count, self.passes):
            generator.manual_seed(derive(seed, "order", number, turn))
            order = torch.randperm(size, generator=generator)
            batches = zip(*(t.index_select(0, order).split(self.batch) for t in held), strict=True)
            for i, batch in enumerate(batches):
                if i < count and turn * count + i >= start:
                    yield batch

    def collect(self, rng: np.random.Generator) -> None:
        """Act for `horizon` steps."""
        # Now, rather than when it was made: the scale is to stay while the networks learn from it.
        if self.rollout and self.seen.normalize:
            self.seen.learn(self.rollout[0] * self.seen.spread + self.seen.shift)
        horizon, n, act = self.horizon, self.lanes.n, self.policy()
        seen, chosen, logs, allowed = ([] for _ in range(4))
        reward, over = np.empty((horizon, n)), np.empty((horizon, n), dtype=bool)
        lasts: list[tuple[int, np.ndarray, np.ndarray]] = []
        for t in range(horizon):
            rows, mask = self.seen(self.now), self.lanes.masks()
            mask = None if mask is None else mask.copy()
            action, log, native = act(rows, rng, mask)
            moved = self.lanes.step(native)
            self.taken += n
            self.total += moved.reward
            self.length += 1
            seen.append(rows)
            chosen.append(action)
            logs.append(log)
            allowed.append(mask)
            reward[t] = moved.reward
            np.logical_or(moved.ended, moved.cut, out=over[t])
            if over[t].any():
                self.ends = [self.ends[0] + int(over[t].sum()), self.ends[1] + int(moved.cut.sum())]
                if moved.cut.any():
                    lasts.append((t, moved.cut.nonzero()[0], moved.last[moved.cut]))
                self.note(self.total, self.length, over[t])
            self.now = moved.seen
        x = np.stack(seen)  # (T, n, p) or (T, n, h, w, c)
        self.paid = max(self.paid, float(np.ptp(reward)))
        if self.scale_rewards:
            reward = self._scaled(reward, over)
        size = horizon * n
        x = x.reshape(size, *x.shape[2:])
        values = self.value(np.concatenate([x, self.seen(self.now)])).astype(np.float64)
        values = values.reshape(horizon + 1, n)
        if lasts:  # what a cut episode would still have brought is added to its last reward
            worth, at = self.value(self.seen(np.concatenate([last for _, _, last in lasts]))), 0
            for t, rows, last in lasts:
                reward[t, rows] += self.discount * worth[at : at + len(last)]
                at += len(last)
        advantage, run = np.empty((horizon, n)), np.zeros(n)
        for t in reversed(range(horizon)):
            goes = self.discount * ~over[t]
            run = reward[t] + goes * values[t + 1] - values[t] + self.trace * goes * run
            advantage[t] = run
        wanted = advantage + values[:-1]
        self.explained = float(1 - advantage.var() / max(wanted.var(), 1e-12))
        gain = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        told = (np.stack(logs), gain, wanted)
        self.rollout = [
            x,
            np.concatenate(chosen),
            *(a.reshape(size).astype(np.float32) for a in told),
        ]
        if any(mask is not None for mask in allowed):
            every = np.ones((n, self.lanes.action.n), dtype=bool)
            self.rollout.append(np.concatenate([every if mask is None else mask for mask in allowed]))

    def _scaled(self, reward: np.ndarray, over: np.ndarray) -> np.ndarray:
        """Rewards (T, n) over the running spread of the discounted return (Engstrom et al. 2020)."""
        owed = np.empty_like(reward)
        for t in range(len(reward)):
            self.owed = self.owed * self.discount + reward[t]
            owed[t] = self.owed
            self.owed = self.owed * ~over[t]
        n, mean = owed.size, owed.mean()
        count, before, squares = self.spread
        whole, gap = count + n, mean - before
        squares += ((owed - mean) ** 2).sum() + gap**2 * count * n / whole
        self.spread = [whole, before + gap * n / whole, squares]
        return np.clip(reward / max((squares / whole) ** 0.5, 1e-8), -_LARGE, _LARGE)

    def signs(self) -> dict[str, float]:
        ended = {"cut": self.ends[1] / self.ends[0]} if self.ends[0] else {}
        return {"explained": self.explained, "paid": self.paid, "ends": float(self.ends[0]), **ended}

    def state(self) -> dict[str, Any]:
        return {
            "lanes": self.lanes.state(),
            "seen": self.seen.state(),
            "now": self.now,
            "counts": [self.total, self.length, self.owed, self.taken],
            "spread": self.spread,
            "figures": [self.explained, self.paid, *self.ends],
            "rollout": self.rollout,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.lanes.restore(state["lanes"])
        self.seen.restore(state["seen"])
        self.now = state["now"]
        self.total, self.length, self.owed = state["counts"][:3]
        self.taken = int(state["counts"][3])
        self.explained, self.paid = (float(v) for v in state["figures"][:2])
        self.ends = [int(v) for v in state["figures"][2:]]
        self.spread, self.rollout = [float(v) for v in state["spread"]], list(state["rollout"])
