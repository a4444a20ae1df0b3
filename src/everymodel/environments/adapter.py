"""Environments of Gymnasium, side by side, checked at every step.

Each episode of each lane is begun with a seed of its own, so a lane is restored by playing its episode again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, EverymodelError
from everymodel.core.seeds import derive
from everymodel.environments.lanes import MOST, EnvironmentFault, Lanes, Moved
from everymodel.scoring.spaces import Space, box, bytes_of, pictured

_PRODUCTS = 4096  # choices that several whole numbers may be joined to


class GymLanes(Lanes):
    """`n` environments of Gymnasium's kind, made by `build(render)`."""

    def __init__(self, build: Callable[[str | None], Any], name: str, n: int, limit: int | None = None):
        self.build, self.name, self.n = build, name, n
        self.envs = [self._call("be made", build, None) for _ in range(n)]
        first = self.envs[0]
        spec = getattr(first, "spec", None)
        self.observation, self._sees = seen_space(first.observation_space, name)
        self.action, self._does = done_space(first.action_space, name)
        self.limit: int = limit or getattr(spec, "max_episode_steps", None) or MOST
        self.threshold = getattr(spec, "reward_threshold", None)
        self._drawn: Any = None
        self.allowed: np.ndarray | None = None

    def reset(self, seed: int) -> np.ndarray:
        self.seed = int(seed)
        self.episode = [0] * self.n
        self.done: list[list[Any]] = [[] for _ in range(self.n)]
        return np.stack([self._begin(i) for i in range(self.n)])

    def step(self, actions: np.ndarray) -> Moved:
        told = [self._move(i, action) for i, action in enumerate(actions)]
        last = np.stack([t[0] for t in told])
        reward = np.array([t[1] for t in told], dtype=np.float32)
        ended = np.array([t[2] for t in told], dtype=bool)
        cut = np.array([t[3] for t in told], dtype=bool) & ~ended
        seen, over = last, ended | cut
        if over.any():
            seen = last.copy()
            for i in over.nonzero()[0]:
                self.episode[i] += 1
                seen[i] = self._begin(i)
        return Moved(seen, reward, ended, cut, last)

    def masks(self) -> np.ndarray | None:
        return self.allowed

    def picture(self, lane: int = 0) -> np.ndarray:
        """The first lane drawn by the environment itself; it is played again there up to where it is."""
        if self._drawn is None:
            self._drawn = [self._call("be made with pictures", self.build, "rgb_array"), -1, 0]
        env, episode, at = self._drawn
        done = self.done[lane]
        if episode != self.episode[lane] or at > len(done):
            self._call("begin", lambda: env.reset(seed=self._seed(lane)))
            at = 0
        for action in done[at:]:
            self._call("go on", lambda action=action: env.step(action))
        self._drawn = [env, self.episode[lane], len(done)]
        made = self._call("be drawn", env.render)
        if made is None or np.ndim(made) != 3:
            raise CapabilityError(f'{self.name} draws no pictures (its render mode "rgb_array" gave {type(made)}).')
        return np.asarray(made, dtype=np.uint8)

    def state(self) -> dict[str, Any]:
        done = [[np.asarray(a).tolist() for a in own] for own in self.done]
        return {"seed": self.seed, "episode": list(self.episode), "done": done}

    def restore(self, state: dict[str, Any]) -> None:
        self.seed, self.episode = int(state["seed"]), [int(e) for e in state["episode"]]
        self.done = [[] for _ in range(self.n)]
        for i, own in enumerate(state["done"]):
            self._begin(i)
            for action in own:
                self._turn(i, self._replayed(action))

    def alike(self, lanes: int) -> GymLanes:
        return GymLanes(self.build, self.name, lanes, self.limit)

    def close(self) -> None:
        for env in [*self.envs, *([self._drawn[0]] if self._drawn else [])]:
            with contextlib.suppress(Exception):
                env.close()

    # --- one lane ---

    def _seed(self, lane: int) -> int:
        return derive(self.seed, "lane", lane, self.episode[lane])

    def _begin(self, lane: int) -> np.ndarray:
        self.done[lane] = []
        told = self._call("begin", lambda: self.envs[lane].reset(seed=self._seed(lane)))
        if not (isinstance(told, tuple) and len(told) == 2):
            raise EnvironmentFault(f"{self.name}: reset gave {type(told).__name__}; expected (observation, info).")
        self._mask(lane, told[1])
        return self._seen(told[0])

    def _move(self, lane: int, action: Any) -> tuple[np.ndarray, float, bool, bool]:
        return self._turn(lane, self._does(action))

    def _replayed(self, action: Any) -> Any:
        space = self.envs[0].action_space
        return int(action) if np.ndim(action) == 0 else np.asarray(action, dtype=space.dtype)

    def _turn(self, lane: int, native: Any) -> tuple[np.ndarray, float, bool, bool]:
        told = self._call("go on", lambda: self.envs[lane].step(native))
        if not (isinstance(told, tuple) and len(told) == 5):
            raise EnvironmentFault(
                f"{self.name}: step gave {len(told) if isinstance(told, tuple) else type(told).__name__}; expected "
                "(observation, reward, terminated, truncated, info)."
            )
        seen, reward, ended, cut, info = told
        self.done[lane].append(native)
        try:
            reward = float(reward)
        except (TypeError, ValueError) as error:
            raise EnvironmentFault(f"{self.name}: the reward {reward!r} is no number.") from error
        if not np.isfinite(reward):
            raise EnvironmentFault(f"{self.name}: the reward was {reward} in step {len(self.done[lane])}.")
        self._mask(lane, info)
        return self._seen(seen), reward, bool(ended), bool(cut) or len(self.done[lane]) >= self.limit

    def _seen(self, observation: Any) -> np.ndarray:
        try:
            made = self._sees(observation)
        except Exception as error:
            raise EnvironmentFault(f"{self.name}: an observation cannot be read ({error}).") from error
        if made.shape != self.observation.shape:
            raise EnvironmentFault(
                f"{self.name}: an observation of shape {made.shape} came; its space says {self.observation.shape}."
            )
        if made.dtype.kind == "f" and not np.isfinite(made).all():
            raise EnvironmentFault(f"{self.name}: an observation holds NaN or infinite numbers.")
        if self.observation.discrete and not 0 <= made < self.observation.n:
            raise EnvironmentFault(f"{self.name}: the observation {made} came; expected {self.observation}.")
        return made

    def _mask(self, lane: int, info: Any) -> None:
        told = info.get("action_mask") if isinstance(info, dict) else None
        if told is not None and self.action.discrete and np.shape(told) == (self.action.n,):
            if self.allowed is None:
                self.allowed = np.ones((self.n, self.action.n), dtype=bool)
            self.allowed[lane] = np.asarray(told, dtype=bool)

    def _call(self, what: str, function: Callable[..., Any], *given: Any) -> Any:
        try:
            return function(*given)
        except (EverymodelError, MemoryError):
            raise
        except Exception as error:
            raise EnvironmentFault(f"{self.name} could not {what}: {type(error).__name__}: {error}") from error


def seen_space(space: Any, name: str) -> tuple[Space, Callable[[Any], np.ndarray]]:
    """Our space of observations, and the way to it."""
    import gymnasium as gym

    if isinstance(space, gym.spaces.Discrete):
        start = int(space.start)
        return Space(int(space.n)), lambda o: np.asarray(int(o) - start, dtype=np.int64)
    if isinstance(space, gym.spaces.Box):
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        if space.dtype == np.uint8 and pictured(space.shape):
            return box(low, high, space.shape, image=True), lambda o: bytes_of(np.asarray(o), "it")
        return box(low, high, space.shape), lambda o: np.asarray(o, dtype=np.float32)
    try:  # dicts, tuples and the like as one row of numbers
        flat = gym.spaces.flatten_space(space)
        assert isinstance(flat, gym.spaces.Box)
    except (NotImplementedError, AssertionError) as error:
        raise CapabilityError(f"{name} shows {space}; expected numbers, or dicts and tuples of them.") from error
    low, high = flat.low.astype(np.float64), flat.high.astype(np.float64)
    return box(low, high, flat.shape), lambda o: np.asarray(gym.spaces.flatten(space, o), dtype=np.float32)


def done_space(space: Any, name: str) -> tuple[Space, Callable[[Any], Any]]:
    """Our space of actions, and the way from it."""
    import gymnasium as gym

    if isinstance(space, gym.spaces.Discrete):
        start = int(space.start)
        return Space(int(space.n)), lambda a: int(a) + start
    if isinstance(space, gym.spaces.Box) and space.dtype is not None and np.dtype(space.dtype).kind == "f":
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        return box(low, high, space.shape), lambda a: np.asarray(a, dtype=space.dtype).reshape(space.shape)
    if isinstance(space, gym.spaces.MultiBinary | gym.spaces.MultiDiscrete):
        sizes = np.full(space.shape, 2) if isinstance(space, gym.spaces.MultiBinary) else np.asarray(space.nvec)
        total = int(np.prod(sizes.astype(float)))
        if total <= _PRODUCTS:
            flat = sizes.reshape(-1)
            return Space(total), lambda a: np.array(np.unravel_index(int(a), flat), space.dtype).reshape(space.shape)
    raise CapabilityError(f"{name} wants actions from {space}; expected choices, or boxes of real numbers.")
