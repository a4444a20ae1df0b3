"""Many environments side by side, stepped as arrays.

    lanes = make("CartPole-v1", 64)
    seen = lanes.reset(seed=0)                                  # (64, 4)
    seen, reward, ended, cut, last = lanes.step(actions)        # actions (64,)

An environment whose episode is over begins the next one in the same step: `seen` is then what the new episode shows
first, and `last` what the old one showed last.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from everymodel.core.errors import CapabilityError, EverymodelError
from everymodel.core.seeds import derive
from everymodel.scoring.spaces import Space


class EnvironmentFault(EverymodelError):
    """An environment breaks its contract: it raises, shows what is no number, or changes its spaces."""


class Moved(NamedTuple):
    """What a step gives, for n environments.

    seen : (n, ...) observations to act on next. reward : (n,) float32. ended : (n,) bool, the task is over. cut : (n,)
    bool, the time is over though the task is not. last : (n, ...) as `seen`, but for episodes that are over what they
    showed last.
    """

    seen: np.ndarray
    reward: np.ndarray
    ended: np.ndarray
    cut: np.ndarray
    last: np.ndarray


class Lanes:
    """Base of all.

    Attributes
    ----------
    name : as it was asked for. n : environments. observation, action : their spaces.
    limit : steps after which an episode is cut, or None.
    threshold : mean return from which the task counts as solved, where there is such a figure.
    """

    name: str = ""
    n: int = 1
    observation: Space
    action: Space
    limit: int | None = None
    threshold: float | None = None

    def reset(self, seed: int) -> np.ndarray:
        """New episodes everywhere; (n, ...) what they show. Equal seeds give equal episodes."""
        raise NotImplementedError

    def step(self, actions: np.ndarray) -> Moved:
        """All environments one step on, by actions (n,) or (n, d)."""
        raise NotImplementedError

    def masks(self) -> np.ndarray | None:
        """(n, A) bool: choices that are allowed now; None where all are, always."""
        return None

    def picture(self, lane: int = 0) -> np.ndarray:
        """(h, w, 3) bytes of one environment as it is now."""
        raise CapabilityError(f"{self.name} has no picture.")

    def text(self, lane: int = 0) -> str | None:
        """The same for a terminal; None where there is none."""
        return None

    def state(self) -> dict[str, Any]:
        """All that the next step depends on: arrays, numbers, texts, lists."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back windows and processes."""


class ArrayLanes(Lanes):
    """Environments whose rules are written for arrays. Subclasses say how episodes begin and go on.

    Attributes
    ----------
    inner : (n, s) what an environment is; by default also what it shows. age : (n,) steps of the episode.
    """

    inner: np.ndarray
    options: dict[str, Any]

    def __init__(self, n: int, limit: int | None = None, **options: Any):
        self.n, self.options = int(n), options
        self.limit = type(self).limit if limit is None else limit
        self.age = np.zeros(self.n, dtype=np.int64)

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(n, s) how new episodes begin."""
        raise NotImplementedError

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(reward (n,), ended (n,)) after `inner` was moved, in place."""
        raise NotImplementedError

    def show(self, inner: np.ndarray) -> np.ndarray:
        """What environments show. Not a view of `inner`, which goes on changing."""
        return inner.copy()

    def reset(self, seed: int) -> np.ndarray:
        self.rng = np.random.default_rng(derive(seed, "lanes"))
        self.inner = self.begin(self.rng, self.n)
        self.age[:] = 0
        return self.show(self.inner)

    def step(self, actions: np.ndarray) -> Moved:
        reward, ended = self.advance(actions)
        self.age += 1
        seen = last = self.show(self.inner)
        if self.limit is None:
            cut = np.zeros(self.n, dtype=bool)
            over = ended
        else:
            over = ended | (self.age >= self.limit)
            cut = over & ~ended
        if over.any():
            rows = over.nonzero()[0]
            self.inner[rows] = fresh = self.begin(self.rng, len(rows))
            self.age[rows] = 0
            seen = last.copy()
            seen[rows] = self.show(fresh)
        return Moved(seen, reward, ended, cut, last)

    def state(self) -> dict[str, Any]:
        bits = self.rng.bit_generator.state  # PCG64: two large numbers, as texts
        told = [str(bits["state"]["state"]), str(bits["state"]["inc"]), bits["has_uint32"], bits["uinteger"]]
        return {"inner": self.inner.copy(), "age": self.age.copy(), "random": told}

    def restore(self, state: dict[str, Any]) -> None:
        self.inner, self.age = np.array(state["inner"]), np.array(state["age"])
        number, step, has, last = state["random"]
        self.rng = np.random.default_rng(0)
        self.rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": int(number), "inc": int(step)},
            "has_uint32": int(has),
            "uinteger": int(last),
        }
