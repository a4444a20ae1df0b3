"""Whole episodes by a finished agent, with all that the report shows of them; and by chance, to hold it against."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import environments
from everymodel.core.seeds import derive
from everymodel.environments import episodes as playing
from everymodel.environments.lanes import Lanes
from everymodel.scoring.spaces import Space

_KEPT, _BYTES = 20_000, 1 << 26  # observations and actions that are kept of a test, and bytes of these


@dataclass
class Outcome:
    """What episodes gave.

    Attributes
    ----------
    returns, lengths : (episodes,). asked : how many episodes were to be played. limit : of an episode's steps.
    actions, seen : (m,) or (m, d) actions, and (m, ...) observations that they answered, spread over the test.
    counts : (A,) how often each choice was taken; None for real numbers.
    """

    returns: np.ndarray
    lengths: np.ndarray
    asked: int
    limit: int | None
    actions: np.ndarray
    seen: np.ndarray
    counts: np.ndarray | None
    summary: dict[str, float] = field(default_factory=dict)


class Chance:
    """Acts by chance alone: choices alike, numbers alike between their bounds (normal where there are none)."""

    def __init__(self, space: Space):
        self.space = space

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        n = len(rows)
        if self.space.discrete:
            if allowed is None:
                return rng.integers(0, self.space.n, n)
            return np.where(allowed, rng.random(allowed.shape), -1.0).argmax(axis=1)
        low, high = self.space.bounds()
        bounded = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(bounded, low, 0.0), np.where(bounded, high, 1.0)
        even = low + (high - low) * rng.random((n, *self.space.shape))
        return np.where(bounded, even, rng.standard_normal((n, *self.space.shape))).astype(np.float32)


class _Watched:
    """A policy whose choices are counted, and some of them kept."""

    def __init__(self, policy: Any, does: Space):
        self.policy = policy
        self.counts = np.zeros(does.n, dtype=np.int64) if does.discrete else None
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []
        self.size, self.every, self.turn = 0, 1, 0

    def choose(
        self, rows: np.ndarray, rng: np.random.Generator, temperature: float, allowed: np.ndarray | None = None
    ) -> np.ndarray:
        actions = self.policy.choose(rows, rng, temperature, allowed)
        if self.counts is not None:
            self.counts += np.bincount(actions, minlength=len(self.counts))
        if self.turn % self.every == 0:
            self.kept.append((rows.copy(), actions.copy()))
            self.size += len(rows)
            most = min(_KEPT, _BYTES // rows[0].nbytes)  # images are large
            if self.size > most and len(self.kept) > 1:  # every second goes, and from now on only every second comes
                self.kept, self.every = self.kept[::2], 2 * self.every
                self.size = sum(len(a) for _, a in self.kept)
        self.turn += 1
        return actions


def outcome_of(
    policy: Any,
    env: Any,
    episodes: int,
    *,
    seed: int,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Play whole episodes by the best actions of a policy."""
    first = environments.make(env, 1)
    try:
        wide = playing.side(playing.arrays(first), episodes)
        lanes = first if wide == 1 or first is env else environments.make(env, wide)
        try:
            watched = _Watched(policy, lanes.action)
            returns, lengths = playing.play(lanes, watched, episodes, seed=seed, stop=stop)
            return _gathered(watched, lanes, returns, lengths, episodes, seed)
        finally:
            if lanes is not env:
                lanes.close()
    finally:
        if first is not env:
            first.close()


def _gathered(
    watched: _Watched, lanes: Lanes, returns: np.ndarray, lengths: np.ndarray, asked: int, seed: int
) -> Outcome:
    none = np.zeros(0)
    seen = np.concatenate([s for s, _ in watched.kept]) if watched.kept else none
    actions = np.concatenate([a for _, a in watched.kept]) if watched.kept else none
    summary = playing.summary(returns, lengths, derive(seed, "summary"))
    return Outcome(returns, lengths, asked, lanes.limit, actions, seen, watched.counts, summary)


def episodes_in(seconds: float, pace: float, length: float, most: int, least: int = 5) -> int:
    """Episodes of about `length` steps that fit into so many seconds at `pace` steps per second."""
    if not (math.isfinite(seconds) and pace > 0 and length > 0):
        return most
    return int(min(max(seconds * pace / length, least), most))
