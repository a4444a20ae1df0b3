"""What all agents share: where they act, when they have learnt enough, and the verbs, answered by the file's step."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from everymodel import environments
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.seeds import derive
from everymodel.environments import episodes as playing
from everymodel.environments.lanes import Lanes
from everymodel.scoring.steps.acting import Actor

SCREEN = 20  # episodes of a look during the fit
SURELY = 1.645  # standard errors below a mean that the true one is above with 95 %
SURE = 100  # episodes by which it is decided that the task is learnt


class AgentEstimator(BaseEstimator):
    """Base of all agents. Subclasses implement `fit(env, until=None)`, which ends with `step_`.

    Attributes
    ----------
    step_ : the numpy step that acts, here as in the model file.
    environment_ : what the environment is called.
    curve_ : `Curve`, the returns of training episodes and of the looks in between.
    stopped_ : "until", "steps", "budget" or "stop".
    """

    kinds: tuple[str, ...] = ()  # of actions that it takes: "discrete", "continuous"
    step_: Actor

    def act(self, observation: Any, *, seed: int | None = None, temperature: float = 0.0, mask: Any = None) -> Any:
        """The action for an observation, or several for several; see `everymodel.scoring.steps.acting.Actor.act`."""
        return self._step().act(observation, seed=seed, temperature=temperature, mask=mask)

    def evaluate(
        self, episodes: int = 100, *, env: Any = None, seed: int = 0, temperature: float = 0.0
    ) -> dict[str, float]:
        """Returns of whole episodes that the training has not seen.

        Parameters
        ----------
        episodes : how many. env : another environment with the same spaces. seed : of the episodes.

        Returns
        -------
        mean, low, high (its 95 % interval), iqm, std, worst, best, length, episodes.
        """
        lanes = self._lanes(env, episodes)
        try:
            return playing.summary(*playing.play(lanes, self._step(), episodes, seed=seed, temperature=temperature))
        finally:
            lanes.close()

    def record(self, path: str | Path, *, env: Any = None, seed: int = 0, temperature: float = 0.0) -> Path:
        """One episode as a film: a GIF, or an MP4 where imageio and its ffmpeg are installed. Gives the path."""
        return record(self._step(), self._env if env is None else env, path, seed=seed, temperature=temperature)

    def _lanes(self, env: Any, count: int) -> Lanes:
        env, step = self._env if env is None else env, self._step()
        return playing.enough(env, environments.make(env, 1), step.sees, step.does, count)

    def _step(self) -> Actor:
        check_is_fitted(self, "step_")
        return self.step_

    def _enter(self, env: Any, lanes: int) -> Lanes:
        """The lanes to learn in, checked; the seed of this fit in `seed_`."""
        made = environments.make(env, lanes)
        self._env = env
        self.environment_ = made.name
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))  # type: ignore[attr-defined]
        kind = "discrete" if made.action.discrete else "continuous"
        if kind not in self.kinds:
            raise CapabilityError(
                f"{type(self).__name__} takes {' or '.join(self.kinds)} actions; {made.name} wants {made.action}."
            )
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_stop", "_listener")}


class Curve:
    """Returns over the steps of a fit.

    Attributes
    ----------
    episodes : (step, return, length) of every training episode, in the order in which they ended.
    looks : (step, mean return of episodes by the best actions).
    """

    def __init__(self) -> None:
        self.episodes: list[tuple[int, float, int]] = []
        self.looks: list[tuple[int, float]] = []

    def recent(self, count: int = SURE) -> float:
        """Mean return of the last episodes; nan before the first."""
        last = self.episodes[-count:]
        return sum(e[1] for e in last) / len(last) if last else math.nan

    def state(self) -> list[Any]:
        return [[list(e) for e in self.episodes], [list(e) for e in self.looks]]

    def restore(self, told: Any) -> None:
        self.episodes = [(int(a), float(b), int(c)) for a, b, c in told[0]]
        self.looks = [(int(a), float(b)) for a, b in told[1]]


class Trial:
    """Looks at an agent during its fit: is the return in the range asked for?

    Parameters
    ----------
    env : as for `environments.make`. until : mean return that is asked for; "auto": the environment's own threshold;
        None: none, the fit runs to its end.
    """

    def __init__(self, env: Any, until: float | str | None, seed: int, curve: Curve):
        self.first = environments.make(env, 1)
        wide = playing.side(playing.arrays(self.first), SCREEN)
        self.lanes = environments.make(env, wide) if wide > 1 else self.first
        self.env, self.seed, self.curve = env, seed, curve
        if until == "auto":
            until = self.first.threshold
        if until is not None and (isinstance(until, bool | str) or not math.isfinite(until)):
            raise ParameterError(f"until={until!r} came; expected a mean return, such as 475, or None.")
        self.until = None if until is None else float(until)
        self.count, self.reached, self.seconds = 0, False, 0.0
        self.cost = 0  # steps of the last look, by the first episodes

    def look(self, policy: Actor, step: int, *, temperature: float = 0.0) -> float:
        """Mean return of a few episodes; where it is what is asked for, of many more too, which decide.

        The lower end of their one-sided 95 % interval must be above it: looks are many, and a lucky one would end the
        fit.
        """
        began = time.process_time()
        self.count += 1
        seed = derive(self.seed, "look", self.count)
        returns, lengths = playing.play(self.lanes, policy, SCREEN, seed=seed, temperature=temperature)
        self.cost = int(lengths.sum())
        if self.until is not None and returns.mean() >= self.until:
            # Those that were looked at first are not asked again: they were chosen for being good.
            more, _ = playing.play(self.lanes, policy, SURE, seed=derive(seed, "sure"), temperature=temperature)
            self.reached = bool(more.mean() - SURELY * more.std() / SURE**0.5 >= self.until)
            returns = np.concatenate([returns, more])
        self.curve.looks.append((step, float(returns.mean())))
        self.seconds += time.process_time() - began
        return float(returns.mean())

    def promising(self) -> bool:
        """Whether training episodes say that a look may show what is asked for."""
        if self.until is None:
            return False
        recent = self.curve.recent(SCREEN)
        return recent == recent and recent >= self.until - 0.15 * abs(self.until)

    def close(self) -> None:
        self.first.close()
        self.lanes.close()


def record(policy: Actor, env: Any, path: str | Path, *, seed: int = 0, temperature: float = 0.0) -> Path:
    """One episode as a GIF or MP4."""
    from PIL import Image

    from everymodel.core.files import atomic_write

    path = Path(path)
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise ParameterError(f"{path.name} came; expected a name that ends in .gif or .mp4.")
    lanes = environments.make(env, 1)
    try:
        pictures, _, _ = playing.frames(lanes, policy, seed=seed, temperature=temperature)
    finally:
        lanes.close()
    if path.suffix.lower() == ".mp4":
        try:
            import imageio.v3 as film
        except ImportError as error:
            raise CapabilityError("MP4 needs the package imageio[ffmpeg]; GIF needs nothing.") from error
        fresh = path.with_name(f".{path.stem}-{os.getpid()}.mp4")
        try:
            film.imwrite(fresh, np.stack(pictures), fps=30)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        return path
    frames = [Image.fromarray(p) for p in pictures]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=33, loop=0, optimize=False)
    with atomic_write(path) as stream:
        stream.write(buffer.getvalue())
    return path


def fit(
    model: Any,
    env: Any,
    until: Any = None,
    *,
    stop: Callable[[], bool] | None = None,
    threads: int | None = None,
    listener: Callable[..., None] | None = None,
) -> Any:
    """Fit under a stop and on some threads; an agent's file imports this as its own `fit`."""
    model._stop, model._threads, model._listener = stop, threads, listener
    try:
        return model.fit(env, until=until)
    finally:
        del model._stop, model._threads, model._listener
