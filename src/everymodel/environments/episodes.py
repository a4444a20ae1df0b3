"""Whole episodes by a policy: their returns, and what these say with how much certainty."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from everymodel import environments
from everymodel.core.errors import ParameterError
from everymodel.core.seeds import derive
from everymodel.environments.lanes import ArrayLanes, Lanes
from everymodel.scoring.spaces import Space

_SIDE = {True: 100, False: 16}  # lanes at once: of arrays, and of objects that are stepped one by one
_MOST_EPISODES = 100_000
_RESAMPLES = 2000


class Policy(Protocol):
    """What acts: `scoring.steps.acting.Actor` is one."""

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray: ...


def side(lanes_are_arrays: bool, episodes: int) -> int:
    """Lanes that suit so many episodes."""
    return max(1, min(episodes, _SIDE[lanes_are_arrays]))


def enough(env: Any, first: Lanes, sees: Space, does: Space, episodes: int) -> Lanes:
    """Lanes for so many episodes of an agent with these spaces; `first` is one lane of `env`.

    Raises
    ------
    ParameterError
        when the environment has others.
    """
    if not (first.observation.suits(sees) and first.action.suits(does, bounds=True)):
        raise ParameterError(
            f"{first.name} shows {first.observation} and takes {first.action}; this agent learnt to see {sees} and "
            f"to do {does}."
        )
    wide = side(arrays(first), episodes)
    return first if wide == 1 or first is env else environments.make(env, wide)


def play(
    lanes: Lanes,
    policy: Policy,
    episodes: int,
    *,
    seed: int = 0,
    temperature: float = 0.0,
    stop: Callable[[], bool] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(returns, lengths), each (episodes,), of episodes by a policy.

    Every lane plays its share of the episodes to their end, so short episodes count no more than long ones.
    """
    if isinstance(episodes, bool) or not isinstance(episodes, int) or not 1 <= episodes <= _MOST_EPISODES:
        raise ParameterError(f"episodes={episodes!r} came; expected a whole number from 1 to {_MOST_EPISODES:,}.")
    rng = np.random.default_rng(derive(seed, "actions"))
    left = np.full(lanes.n, episodes // lanes.n) + (np.arange(lanes.n) < episodes % lanes.n)  # episodes of each lane
    total, length = np.zeros(lanes.n), np.zeros(lanes.n, dtype=np.int64)
    returns: list[float] = []
    lengths: list[int] = []
    seen = lanes.reset(derive(seed, "episodes"))
    while left.any() and not (stop is not None and stop()):
        actions = policy.choose(seen, rng, temperature, lanes.masks())
        seen, reward, ended, cut, _ = lanes.step(actions)
        total += reward
        length += 1
        over = ended | cut
        if over.any():
            for i in over.nonzero()[0]:
                if left[i]:
                    returns.append(float(total[i]))
                    lengths.append(int(length[i]))
                    left[i] -= 1
            total[over], length[over] = 0.0, 0
    return np.array(returns), np.array(lengths, dtype=np.int64)


def summary(returns: np.ndarray, lengths: np.ndarray, seed: int = 0) -> dict[str, float]:
    """What returns say: their mean with its 95 % interval (percentile bootstrap), middle half, spread and range.

    iqm is the mean of the middle half of the returns (Agarwal et al. 2021).
    """
    if not len(returns):
        return {"episodes": 0}
    n = len(returns)
    rng = np.random.default_rng(derive(seed, "bootstrap"))
    means = returns[rng.integers(0, n, (_RESAMPLES, n))].mean(axis=1) if n > 1 else np.array([math.nan])
    low, high = np.percentile(means, (2.5, 97.5)) if n > 1 else (math.nan, math.nan)
    ordered = np.sort(returns)
    middle = ordered[n // 4 : n - n // 4]
    return {
        "mean": float(returns.mean()),
        "low": float(low),
        "high": float(high),
        "iqm": float(middle.mean()),
        "std": float(returns.std()),
        "worst": float(ordered[0]),
        "best": float(ordered[-1]),
        "length": float(lengths.mean()),
        "episodes": n,
    }


def frames(
    lanes: Lanes, policy: Policy, *, seed: int = 0, temperature: float = 0.0, most: int = 2000
) -> tuple[list[np.ndarray], float, int]:
    """(pictures of one episode, its return, its length); at most `most` pictures."""
    rng = np.random.default_rng(derive(seed, "actions"))
    seen = lanes.reset(derive(seed, "episodes"))
    made, total, length = [lanes.picture()], 0.0, 0
    while True:
        actions = policy.choose(seen, rng, temperature, lanes.masks())
        seen, reward, ended, cut, _ = lanes.step(actions)
        total, length = total + float(reward[0]), length + 1
        if ended[0] or cut[0] or len(made) >= most:
            return made, total, length
        made.append(lanes.picture())


def arrays(env: Any) -> bool:
    """Whether these lanes are stepped as arrays, so that many cost little more than one."""
    return isinstance(env, ArrayLanes)
