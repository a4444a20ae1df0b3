"""What agents with networks share: the engine's objective that looks at the agent, and the way into it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from everymodel.core.clock import seconds
from everymodel.core.errors import ParameterError
from everymodel.models.reinforcement._base import AgentEstimator, Curve, Trial
from everymodel.models.reinforcement._live import Live
from everymodel.models.reinforcement._signs import Diagnosed, shown
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.acting import Actor
from everymodel.training.estimator import NetworkEstimator
from everymodel.training.loop import History, Progress
from everymodel.training.objective import Objective
from everymodel.training.source import Source

ENDLESS = 10**9  # steps of a run that its budget or its goal ends


class Experience(Source):
    """Base of sources that act: their data are made by the policy that learns from them.

    Attributes
    ----------
    taken : steps of the environment so far. curve : returns of the episodes that ended.
    notes : sentences about what was done otherwise than asked for.
    """

    fixed = False
    taken: int = 0
    curve: Curve
    notes: Sequence[str] = ()

    def halve(self) -> bool:
        return False

    def signs(self) -> dict[str, float]:
        """Figures by which `diagnose` says why an agent does not learn; see there."""
        return {}

    def note(self, total: np.ndarray, length: np.ndarray, over: np.ndarray) -> None:
        """Episodes of lanes `over` (n,) have ended with these returns and lengths, which begin anew."""
        for i in over.nonzero()[0]:
            self.curve.episodes.append((self.taken, float(total[i]), int(length[i])))
        total[over], length[over] = 0.0, 0

    def state(self) -> dict[str, Any]:
        """All that the next batch depends on."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        raise NotImplementedError


class Looks(Source):
    """The validation source of agents: nothing, since they are looked at while they act."""

    def ordered(self) -> Iterator[Any]:
        return iter(())


class Learning(Objective):
    """Base of the objectives of agents.

    Parameters
    ----------
    experience : the source. trial : looks at the agent. every : epochs between two looks, at least.
    per_epoch : steps of the environment in an epoch, where looks are to take a tenth of all steps at most.
    """

    def __init__(
        self, experience: Experience, trial: Trial, every: int, per_epoch: int | None = None, **nets: nn.Module
    ):
        super().__init__(**nets)
        self.experience, self.trial, self.every, self.per_epoch = experience, trial, max(int(every), 1), per_epoch
        self.epochs, self.looked = 0, 0  # so far, and at the last look
        self.last = ENDLESS  # epoch that is looked at in any case, since it may be the best

    def actor(self) -> Actor:
        """The policy of the weights as they are."""
        raise NotImplementedError

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        """Minus the mean return of a look; infinite where nobody looks."""
        self.epochs += 1
        wait, waited = self.every, self.epochs - self.looked
        if self.per_epoch is not None:
            wait = max(wait, math.ceil(10 * self.trial.cost / self.per_epoch))
        if 1 < self.epochs < self.last and waited < wait and not (4 * waited >= wait and self.trial.promising()):
            return {"loss": math.inf}
        mean = self.trial.look(self.actor(), self.experience.taken)
        self.looked = self.epochs
        return {"loss": -mean, "return": mean}

    def reached(self) -> bool:
        return self.trial.reached

    def signs(self) -> dict[str, float]:
        """As those of the experience."""
        return {}

    def state(self) -> dict[str, Any]:
        told = {"experience": self.experience.state(), "curve": self.experience.curve.state()}
        return tensors({**told, "looks": [self.trial.count, self.trial.cost, self.epochs, self.looked]})

    def restore(self, state: dict[str, Any]) -> None:
        state = plain(state)
        self.experience.restore(state["experience"])
        self.experience.curve.restore(state["curve"])
        self.trial.count, self.trial.cost, self.epochs, self.looked = (int(v) for v in state["looks"])


class NetworkAgent(Diagnosed, AgentEstimator, NetworkEstimator):
    """Base of agents with networks."""

    def _learn(
        self,
        learning: Learning,
        *,
        steps: int | None,
        per_epoch: int,
        usual: int,
        **plan: Any,
    ) -> History:
        """Run the engine: `per_epoch` steps of the environment an epoch, `steps` in all, or `usual`, or a budget's."""
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1):
            raise ParameterError(f"steps={steps!r} came; expected a whole number from 1, or None.")
        stop = getattr(self, "_stop", None)
        limited = seconds(getattr(self, "budget", None)) is not None or getattr(stop, "deadline", None) is not None
        most = int(steps) if steps is not None else None if limited else usual
        learning.last = epochs = math.ceil((most or ENDLESS) / per_epoch)
        experience, began = learning.experience, time.monotonic()
        title = f"{type(self).__name__} {self.environment_}"
        given = getattr(self, "_listener", None)
        bar = shown(getattr(self, "verbose", 0), title, learning.trial.until) if given is None else nullcontext(given)
        with bar as own:

            def told(progress: Progress, objective: Any) -> None:
                taken = experience.taken
                pace = taken / max(time.monotonic() - began, 1e-9)
                assert own is not None
                own(Live.of(experience.curve, taken, most, pace, progress.done, progress.seconds_left))

            try:
                self._listener = None if own is None else told
                history = self._train(
                    learning, experience, valid=Looks(), stop=stop, threads=getattr(self, "_threads", None) or 1,
                    epochs=epochs, **{"device": "cpu", **plan},
                )  # fmt: skip
            finally:
                self._listener = given
                learning.trial.close()
        history.notes = [*experience.notes, *history.notes]
        self.curve_ = experience.curve
        self.steps_ = experience.taken
        self.looks_seconds_ = learning.trial.seconds
        self.signs_ = {**experience.signs(), **learning.signs()}
        self.stopped_ = {"reached": "until", "end": "steps"}.get(history.stopped, history.stopped)
        return history


def tensors(value: Any) -> Any:
    """Arrays as tensors, in nested dicts and lists, as checkpoints hold them."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {k: tensors(v) for k, v in value.items()}
    return [tensors(v) for v in value] if isinstance(value, list | tuple) else value


def plain(value: Any) -> Any:
    """The inverse of `tensors`."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


class Seen:
    """Observations as a network takes them: choices as ones among zeros, numbers of a running mean 0 and spread 1,
    images as the bytes that they are.

    Parameters
    ----------
    normalize : whether numbers are brought to scale; the scale is that of all observations so far.
    """

    def __init__(self, space: Space, normalize: bool = True):
        self.space = space
        self.normalize = normalize and not space.discrete and not space.image
        self.shift = np.zeros(space.width)
        self.spread = np.ones(space.width)
        self.count, self.mean, self.squares = 0.0, np.zeros(space.width), np.zeros(space.width)

    def learn(self, rows: np.ndarray) -> None:
        """Take these observations (m, ...) into the scale (Chan, Golub and LeVeque 1983)."""
        if not self.normalize:
            return
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        n, mean = len(flat), flat.mean(axis=0)
        gap, whole = mean - self.mean, self.count + n
        self.squares += ((flat - mean) ** 2).sum(axis=0) + gap**2 * self.count * n / whole
        self.mean += gap * n / whole
        self.count = whole
        self.shift = self.mean.copy()
        self.spread = np.maximum(np.sqrt(self.squares / whole), 1e-4)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(m, width) float32, or (m, h, w, c) bytes."""
        if self.space.image:
            return self.space.pixels(rows)
        if self.space.discrete:
            made = np.zeros((len(rows), self.space.n), dtype=np.float32)
            made[np.arange(len(rows)), rows] = 1.0
            return made
        flat = rows.reshape(len(rows), -1)
        return ((flat - self.shift) / self.spread).astype(np.float32) if self.normalize else flat.astype(np.float32)

    def state(self) -> list[Any]:
        return [self.count, self.mean, self.squares, self.shift, self.spread]

    def restore(self, told: Any) -> None:
        self.count, self.mean, self.squares, self.shift, self.spread = (
            float(told[0]), *(np.asarray(t, dtype=np.float64) for t in told[1:]),
        )  # fmt: skip
