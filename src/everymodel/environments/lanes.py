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

from everymodel.core.errors import CapabilityError, EverymodelError, ParameterError
from everymodel.core.seeds import derive
from everymodel.scoring.spaces import Space

MOST = 10_000  # steps of an episode where the environment sets no limit


class EnvironmentFault(EverymodelError):
    """An environment breaks its contract: it raises, shows what is no number, or changes its spaces."""


class Moved(NamedTuple):
    """What a step gives, for n environments.

    seen : (n, ...) observations to act on next. reward : (n,) float32. ended : (n,) bool, the task is over. cut : (n,)
    bool, the time is over though the task is not. last : (n, ...) as `seen`, but for episodes that are over what they
    showed last. The arrays are read only: some are the same in every step.
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

    def alike(self, lanes: int) -> Lanes:
        """`lanes` environments of this kind, so that one object serves as the plan of many."""
        raise ParameterError(f"{type(self).__name__} cannot be made several times: it has no method alike(lanes).")

    def close(self) -> None:
        """Give back windows and processes."""


class ArrayLanes(Lanes):
    """Environments whose rules are written for arrays. Subclasses say how episodes begin and go on.

    An option of a subclass is an argument of its `__init__` that is handed on to this one by name.

    Attributes
    ----------
    inner : (s, n) what the environments are, a row for each quantity; by default also what they show.
    ahead : beginnings that are drawn at a time, since one by one they are dear.
    """

    inner: np.ndarray
    ahead: int = 256

    def __init__(self, n: int = 1, limit: int | None = None, **options: Any):
        self.n, self.options = _count("lanes", n), options
        self.limit: int = type(self).limit or MOST if limit is None else _count("limit", limit)
        self.never = np.zeros(self.n, dtype=bool)
        self.never.flags.writeable = False

    @property
    def age(self) -> np.ndarray:
        """(n,) steps of the episodes so far."""
        return self.clock - self.born

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(s, n) how new episodes begin; drawn before they are needed, so by `rng` and the options alone."""
        raise NotImplementedError

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(reward (n,) float32, ended (n,) bool), neither written to again, after `inner` was moved, in place."""
        raise NotImplementedError

    def show(self, inner: np.ndarray) -> np.ndarray:
        """(m, ...) what environments (s, m) show. Not a view of `inner`, which goes on changing."""
        return inner.copy().T

    def reset(self, seed: int) -> np.ndarray:
        self.rng = np.random.default_rng(derive(seed, "lanes"))
        self.inner = self.begin(self.rng, self.n)
        self.pool, self.at = self.begin(self.rng, self.ahead), 0
        self.clock, self.born = 0, np.zeros(self.n, dtype=np.int64)
        self.due = self.limit
        return self.show(self.inner)

    def step(self, actions: np.ndarray) -> Moved:
        reward, ended = self.advance(actions)
        self.clock += 1
        seen = last = self.show(self.inner)
        late = self.clock >= self.due  # before that, no episode can have come to its limit
        over, cut = ended, self.never
        if late:
            over = ended | (self.clock - self.born >= self.limit)
            cut = over & ~ended
        if np.count_nonzero(over):
            rows = over.nonzero()[0]
            self.inner[:, rows] = self._fresh(len(rows))
            self.born[rows] = self.clock
            seen = self.show(self.inner)
        if late:
            self.due = int(self.born.min()) + self.limit
        return Moved(seen, reward, ended, cut, last)

    def _fresh(self, count: int) -> np.ndarray:
        """(s, count) how episodes begin."""
        if self.at + count > self.pool.shape[1]:
            self.pool, self.at = self.begin(self.rng, max(self.ahead, count)), 0
        self.at += count
        return self.pool[:, self.at - count : self.at]

    def alike(self, lanes: int) -> ArrayLanes:
        return type(self)(lanes, self.limit, **self.options)

    def state(self) -> dict[str, Any]:
        arrays = {"inner": self.inner.copy(), "pool": self.pool.copy(), "born": self.born.copy()}
        return {**arrays, "counts": [self.at, self.clock, self.due], "random": numbers_of(self.rng)}

    def restore(self, state: dict[str, Any]) -> None:
        self.inner, self.pool, self.born = (np.array(state[k]) for k in ("inner", "pool", "born"))
        self.at, self.clock, self.due = (int(v) for v in state["counts"])
        self.rng = generator(state["random"])


def numbers_of(rng: np.random.Generator) -> list[Any]:
    """Where a generator is, as numbers and texts that a file can hold."""
    bits = rng.bit_generator.state  # PCG64: two large numbers, as texts
    return [str(bits["state"]["state"]), str(bits["state"]["inc"]), bits["has_uint32"], bits["uinteger"]]


def generator(told: list[Any]) -> np.random.Generator:
    """The inverse of `numbers_of`."""
    number, step, has, last = told
    made = np.random.default_rng(0)
    made.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(number), "inc": int(step)},
        "has_uint32": int(has),
        "uinteger": int(last),
    }
    return made


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ParameterError(f"{name}={value!r} came; expected a whole number from 1.")
    return int(value)
