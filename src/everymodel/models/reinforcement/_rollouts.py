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

_LARGE = 10.0  # scaled rewards and observations beyond this are cut


class Rollouts(Experience):
    """`horizon` steps of all lanes, then `passes` passes over them in batches.

    A batch is (seen (b, p), actions (b,) or (b, d), log probability (b,), advantage (b,), return (b,)).

    Parameters
    ----------
    act : (rows (n, p)) -> (actions, log probabilities (n,), actions for the environment), with a generator.
    value : rows (m, p) -> (m,).
    discount, trace : gamma and lambda of the advantages (Schulman et al. 2016).
    scale_rewards : divide rewards by the running spread of the discounted return.
    """

    def __init__(
        self,
        lanes: Lanes,
        seen: Seen,
        act: Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]],
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
        self.lanes, self.seen, self.act, self.value = lanes, seen, act, value
        self.horizon, self.passes, self.batch = horizon, passes, min(batch, horizon * lanes.n)
        self.discount, self.trace, self.scale_rewards = discount, trace, scale_rewards
        self.curve, self.seed = Curve(), seed
        n = lanes.n
        self.now = lanes.reset(derive(seed, "training"))
        self.total, self.length, self.owed = np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n)
        self.spread = [0.0, 0.0, 0.0]  # count, mean, squares of the discounted return
        self.rollout: list[np.ndarray] = []

    def steps(self) -> int:
        return self.passes * max(self.horizon * self.lanes.n // self.batch, 1)

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        if start == 0 or not self.rollout:
            self.collect(np.random.default_rng(derive(seed, "actions", number)))
        held = [torch.from_numpy(a) for a in self.rollout]
        size = self.horizon * self.lanes.n
        count, generator = max(size // self.batch, 1), torch.Generator()
        for turn in range(self.passes):
            generator.manual_seed(derive(seed, "order", number, turn))
            order = torch.randperm(size, generator=generator)
            for i in range(count):
                if turn * count + i >= start:
                    rows = order[i * self.batch : (i + 1) * self.batch]
                    yield tuple(t.index_select(0, rows) for t in held)

    def collect(self, rng: np.random.Generator) -> None:
        """Act for `horizon` steps."""
        n, horizon = self.lanes.n, self.horizon
        rows, actions, logs, rewards, ended, cut, lasts = [], [], [], [], [], [], []
        for _ in range(horizon):
            flat = self.seen(self.now)
            chosen, log, native = self.act(flat, rng)
            moved = self.lanes.step(native)
            self.taken += n
            self.total += moved.reward
            self.length += 1
            over = moved.ended | moved.cut
            rows.append(flat)
            actions.append(chosen)
            logs.append(log)
            rewards.append(moved.reward)
            ended.append(moved.ended)
            cut.append(over)
            # What a cut episode would still have brought is added to its last reward.
            lasts.append((len(rows) - 1, moved.cut.nonzero()[0], moved.last[moved.cut]) if moved.cut.any() else None)
            if over.any():
                self.note(self.total, self.length, over)
            self.now = moved.seen
        x = np.stack(rows)  # (T, n, p)
        reward = np.stack(rewards).astype(np.float64)
        if self.scale_rewards:
            reward = self._scaled(reward, np.stack(cut))
        after = self.seen(self.now)
        values = self.value(np.concatenate([x.reshape(horizon * n, -1), after])).astype(np.float64)
        values = values.reshape(horizon + 1, n)
        tails = [t for t in lasts if t is not None]
        if tails:
            worth = self.value(self.seen(np.concatenate([t[2] for t in tails])))
            at = 0
            for step, lanes, last in tails:
                reward[step, lanes] += self.discount * worth[at : at + len(last)]
                at += len(last)
        advantage, run = np.empty((horizon, n)), np.zeros(n)
        for t in reversed(range(horizon)):
            goes = 1.0 - cut[t]
            delta = reward[t] + self.discount * values[t + 1] * goes - values[t]
            run = delta + self.discount * self.trace * goes * run
            advantage[t] = run
        wanted = advantage + values[:-1]
        size = horizon * n
        chosen = np.stack(actions).reshape(size, *actions[0].shape[1:])
        told = (np.stack(logs), advantage, wanted)
        self.rollout = [x.reshape(size, -1), chosen, *(a.reshape(size).astype(np.float32) for a in told)]
        if self.seen.normalize:
            self.seen.learn(x.reshape(size, -1) * self.seen.spread + self.seen.shift)

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

    def state(self) -> dict[str, Any]:
        return {
            "lanes": self.lanes.state(),
            "seen": self.seen.state(),
            "now": self.now,
            "counts": [self.total, self.length, self.owed, self.taken],
            "spread": self.spread,
            "rollout": self.rollout,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.lanes.restore(state["lanes"])
        self.seen.restore(state["seen"])
        self.now = state["now"]
        self.total, self.length, self.owed = state["counts"][:3]
        self.taken = int(state["counts"][3])
        self.spread, self.rollout = [float(v) for v in state["spread"]], list(state["rollout"])
