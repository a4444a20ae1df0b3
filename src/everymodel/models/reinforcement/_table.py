"""Learning by tables: what every action is worth in every state that can be counted; many lanes fill one table."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from everymodel import environments
from everymodel.core.clock import seconds
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.seeds import derive
from everymodel.environments.lanes import Lanes, generator, numbers_of
from everymodel.models.reinforcement._base import AgentEstimator, Curve, Trial
from everymodel.models.reinforcement._live import Live
from everymodel.models.reinforcement._signs import Diagnosed, shown
from everymodel.models.reinforcement._table_file import lifted, lowered, read, write
from everymodel.scoring.steps.acting import TablePolicy, cells

_PAIRS = 1 << 26  # states times actions that a table may hold
_KEEP = 30.0  # seconds between two checkpoints
_CLOCK = 0.1  # seconds between two looks at the clock
_LOOKS, _APART = 12, 20_000  # looks at the agent in a fit, and steps between two at least
_LONG = 5  # times the usual steps, where there is a budget
_CURIOUS = 0.99  # discount of what is new
_BLIND, _ASIDE = 1000, 8  # steps of random play that show where numbers lie, and lanes for these
_TIE = 1e-9  # of actions that are worth the same, the one that leads to more that is new is taken


class TableAgent(Diagnosed, AgentEstimator):
    """Base of agents that learn a table.

    Attributes
    ----------
    values_ : (S, A) what actions are worth. visits_ : (S, A) how often each was tried.
    """

    kinds = ("discrete",)
    counted = True  # needs states that can be counted, unless `bins` says how numbers are cut

    def __init__(
        self,
        steps: int | None = None,
        lanes: int = 64,
        discount: float = 0.997,
        learning_rate: float | None = None,
        epsilon: float = 0.4,
        curious: float = 0.25,
        bins: int | Sequence[int] | None = None,
        budget: float | str | None = None,
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.steps = steps
        self.lanes = lanes
        self.discount = discount
        self.learning_rate = learning_rate
        self.epsilon = epsilon
        self.curious = curious
        self.bins = bins
        self.budget = budget
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def _worth(self, values: np.ndarray, epsilon: float) -> np.ndarray:
        """(n,) what states are worth by the values (n, A) of their actions."""
        raise NotImplementedError

    def fit(self, env: Any, until: float | str | None = "auto") -> Any:
        """Learn in an environment until its mean return is `until`, or the steps or the budget end.

        Parameters
        ----------
        env : see `everymodel.environments.make`.
        until : mean return over 100 episodes. "auto" and None: the steps are taken to their end, since a table that is
            good enough is seldom the best one, and the rest takes seconds.
        """
        self._check()
        learner = _Learner(self, env, None if until == "auto" else until)
        try:
            with shown(self.verbose, type(self).__name__, learner.trial.until) as bar:
                learner.run(getattr(self, "_stop", None), [t for t in (getattr(self, "_listener", None), bar) if t])
        finally:
            learner.close()
        self.values_, self.visits_ = learner.tables[0].copy(), learner.visits.reshape(learner.tables[0].shape).copy()
        self.curve_, self.steps_, self.stopped_ = learner.curve, learner.taken, learner.stopped
        self.looks_seconds_ = learner.trial.seconds
        self.signs_ = learner.signs()
        self.step_ = learner.actor()
        return self

    def _check(self) -> None:
        for name, low, high in (("discount", 0, 1), ("epsilon", 0, 1), ("curious", 0, 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ParameterError(f"{name}={value!r} came; expected a number from {low} to {high}.")
        rate = self.learning_rate
        if rate is not None and (isinstance(rate, bool | str) or not 0 < rate <= 1):
            raise ParameterError(f"learning_rate={rate!r} came; expected a number above 0 and up to 1, or None.")
        for name in ("steps", "lanes"):
            value = getattr(self, name)
            if value is None and name == "steps":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ParameterError(f"{name}={value!r} came; expected a whole number from 1.")


class _Learner:
    """One fit: the lanes, the tables, and all that the next step depends on."""

    def __init__(self, agent: TableAgent, env: Any, until: float | str | None):
        self.agent = agent
        # Looking at the spaces of one first: a wrong environment is told before many of it are made.
        first = environments.make(env, 1)
        try:
            self.bins = _suits(agent, first)
        finally:
            first.close()
        self.lanes = agent._enter(env, agent.lanes)
        self.states = self.lanes.observation.n if self.bins is None else math.prod(self.bins)
        self.actions = self.lanes.action.n
        kept = agent.checkpoint is not None and Path(agent.checkpoint).is_file()
        told = read(Path(str(agent.checkpoint)), self._plan()) if kept else None
        self.seed = agent.seed_ = told["seed"] if told else agent.seed_
        n, shape = self.lanes.n, (self.states, self.actions)
        self.tables = np.zeros((2, *shape))  # what actions are worth, and how much of the new they lead to
        self.tables[1] = 1 / (1 - _CURIOUS)
        self.flat = self.tables.reshape(2, -1)
        self.visits = np.zeros(self.states * self.actions)
        self.curve = Curve()
        self.trial = Trial(env, until, self.seed, self.curve)
        self.taken, self.cuts, self.stopped = 0, 0, "steps"
        self.ends = None if self.bins is None else self._ends(env)
        # Some lanes go where little is known, all others where most is paid, each with chance of its own to do any.
        curious = round(agent.curious * n) if n > 1 else 0
        self.kind = (np.arange(n) < curious).astype(np.int64)
        rest = max(n - curious, 1)
        spread = 1 + 6 * (np.arange(n) - curious).clip(0) / max(rest - 1, 1)
        falls = 1.0 if agent.epsilon == 0 else agent.epsilon**spread / agent.epsilon
        # Curious lanes that began alike would all do the same, so each has its own chance, which does not fall.
        self.strays = np.where(self.kind == 1, 0.5 * (np.arange(n) + 1) / max(curious, 1), 0.0)
        self.share = np.where(self.kind == 1, 0.0, falls)
        self.weigh = np.stack([1.0 - self.kind, np.where(self.kind == 1, 1.0, _TIE)])[:, :, None]
        self.total, self.length = np.zeros(n), np.zeros(n, dtype=np.int64)
        if told:
            self._restore(told)
        else:
            self.rng = np.random.default_rng(derive(self.seed, "actions"))
            self.now = self._counted(self.lanes.reset(derive(self.seed, "training")))

    def _ends(self, env: Any) -> np.ndarray:
        """(2, p) between which numbers are cut: their bounds, or where random play leads, which counts as steps."""
        ends = np.stack([side.reshape(-1) for side in self.lanes.observation.bounds()])
        if not np.isfinite(ends).all():
            rng, lanes = np.random.default_rng(derive(self.seed, "blind")), environments.make(env, _ASIDE)
            try:
                seen = [lanes.reset(derive(self.seed, "blind"))]
                for _ in range(_BLIND // lanes.n):
                    allowed = lanes.masks()
                    chance = rng.random((lanes.n, self.actions))
                    moved = lanes.step((chance if allowed is None else np.where(allowed, chance, -1)).argmax(axis=1))
                    seen.append(moved.last)
                    self.taken += lanes.n
            finally:
                lanes.close()
            flat = np.concatenate(seen).reshape(-1, ends.shape[1]).astype(np.float64)
            ends = np.where(np.isfinite(ends), ends, [flat.min(axis=0), flat.max(axis=0)])
        same = ends[0] >= ends[1]  # a number that never changes
        return ends + np.array([[-0.5], [0.5]]) * same

    def _counted(self, seen: np.ndarray) -> np.ndarray:
        """(n,) states by observations."""
        return seen if self.ends is None or self.bins is None else cells(seen, self.ends, self.bins)

    def run(self, stop: Any, listeners: list[Any]) -> None:
        agent, n = self.agent, self.lanes.n
        budget, deadline = seconds(agent.budget), getattr(stop, "deadline", None)
        usual = int(np.clip(8000 * self.states * self.actions, 300_000, 2_000_000))
        limited = budget is not None or deadline is not None
        most = int(agent.steps) if agent.steps is not None else _LONG * usual if limited else usual
        every = max(min(most, usual) // _LOOKS, _APART) // n + 1  # moves of all lanes between two looks
        began = seen = kept = time.monotonic()
        start, moves = self.taken, self.taken // n
        while self.taken < most:
            self._move()
            moves += 1
            if moves % every == 0:
                self.trial.look(self.actor(), self.taken)
                if self.trial.reached:
                    self.stopped = "until"
                    break
            if moves % 16:
                continue
            now = time.monotonic()
            if (stop is not None and stop()) or (budget is not None and now - began >= budget):
                self.stopped = "stop" if budget is None or now - began < budget else "budget"
                break
            if now - seen >= _CLOCK:
                seen = now
                for listener in listeners:
                    listener(self._live(most, now - began, start, budget))
                if agent.checkpoint is not None and now - kept >= _KEEP:
                    kept = now
                    self._keep()
        if agent.checkpoint is not None:
            self._keep()
        for listener in listeners:
            listener(self._live(most, time.monotonic() - began, start, budget, ended=True))

    def _move(self) -> None:
        """All lanes one step on, and the table with them."""
        agent, lanes, n, rng = self.agent, self.lanes, self.lanes.n, self.rng
        state, allowed, epsilon = self.now, lanes.masks(), self._epsilon()
        scores = self.tables[:, state]
        scores *= self.weigh
        scores = scores[0] + scores[1]
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        actions = scores.argmax(axis=1)
        chance = rng.random((2, n))
        some = (chance[0] < self.share * epsilon + self.strays).nonzero()[0]
        if len(some):
            if allowed is None:
                actions[some] = (chance[1, some] * self.actions).astype(np.int64)
            else:
                actions[some] = np.where(allowed[some], rng.random((len(some), self.actions)), -1).argmax(axis=1)
        moved = lanes.step(actions)
        self.taken += n
        # An episode that is cut goes on in the table: its last state is worth what it is worth.
        goes = ~moved.ended
        last = self._counted(moved.last)
        then = self.tables[:, last]
        place = state * self.actions + actions
        visits = self.visits[place] + 1
        self.visits[place] = visits  # lanes that do the same in the same state count once
        values, news = self.flat
        wanted = moved.reward + agent.discount * (goes * self._worth(then[0], epsilon))
        rate = self._rate(visits)
        held = values[place]
        held += rate * (wanted - held)
        values[place] = held
        news[place] = 1 / np.sqrt(visits) + _CURIOUS * (goes * then[1].max(axis=1))
        self.total += moved.reward
        self.length += 1
        over = moved.ended | moved.cut
        if np.count_nonzero(over):
            rows = over.nonzero()[0]
            self.cuts += int(np.count_nonzero(moved.cut))
            self.curve.episodes.extend(
                zip([self.taken] * len(rows), self.total[rows].tolist(), self.length[rows].tolist(), strict=True)
            )
            self.total[rows], self.length[rows] = 0.0, 0
        self.now = last if moved.seen is moved.last else self._counted(moved.seen)

    def _worth(self, values: np.ndarray, epsilon: float) -> np.ndarray:
        return self.agent._worth(values, epsilon)

    def _epsilon(self) -> float:
        """The largest chance of an action by chance: falls as states have been seen often."""
        return self.agent.epsilon * min(1.0, 10.0 * self.states * self.actions / max(self.taken, 1))

    def _rate(self, visits: np.ndarray) -> np.ndarray | float:
        """Long steps first, then shorter ones, so that chance averages out (Jin et al. 2018)."""
        if self.agent.learning_rate is not None:
            return self.agent.learning_rate
        reach = min(1 / max(1 - self.agent.discount, 1e-3), 60.0)
        return (reach + 1) / (reach + visits)

    def actor(self) -> TablePolicy:
        lanes = self.lanes
        sees, does = lanes.observation.to_dict(), lanes.action.to_dict()
        return TablePolicy(sees, does, self.tables[0].copy(), self.ends, self.bins)

    def signs(self) -> dict[str, float]:
        """Figures by which `diagnose` tells what hinders; see `_signs.diagnosed`."""
        returns = [e[1] for e in self.curve.episodes] or [0.0]
        ends = len(self.curve.episodes)
        return {"paid": max(returns) - min(returns), "ends": float(ends), "cut": self.cuts / max(ends, 1)}

    def close(self) -> None:
        self.trial.close()
        self.lanes.close()

    def _live(self, most: int, spent: float, start: int, budget: float | None, *, ended: bool = False) -> Live:
        pace = (self.taken - start) / max(spent, 1e-9)
        done, left = self.taken / most, (most - self.taken) / max(pace, 1e-9)
        if budget is not None and budget - spent < left:
            done, left = spent / budget, budget - spent
        done, left = (1.0, 0.0) if ended else (min(done, 1.0), max(left, 0.0))
        return Live.of(self.curve, self.taken, most, pace, done, left)

    # --- the checkpoint ---

    def _plan(self) -> dict[str, Any]:
        """What must be the same for a fit to go on."""
        agent = self.agent
        names = ("lanes", "discount", "learning_rate", "epsilon", "curious", "random_state")
        plan = {name: getattr(agent, name) for name in names}
        return {
            "agent": type(agent).__name__,
            "environment": self.lanes.name,
            **plan,
            **({} if self.bins is None else {"bins": list(self.bins)}),
            "size": [self.states, self.actions],
        }

    def _keep(self) -> None:
        episodes = np.array(self.curve.episodes, dtype=np.float64).reshape(-1, 3)
        arrays = {"tables": self.tables, "visits": self.visits, "now": self.now, "total": self.total,
                  "length": self.length, "episodes": episodes}  # fmt: skip
        told = {
            "plan": self._plan(), "seed": self.seed, "taken": self.taken, "cuts": self.cuts,
            "random": numbers_of(self.rng),
            "looks": [[s, float(r).hex()] for s, r in self.curve.looks], "count": self.trial.count,
            "lanes": lifted(self.lanes.state(), "lanes", arrays),
        }  # fmt: skip
        write(Path(str(self.agent.checkpoint)), told, arrays)

    def _restore(self, told: dict[str, Any]) -> None:
        arrays = told["arrays"]
        self.tables[:], self.visits[:] = arrays["tables"], arrays["visits"]
        self.now, self.total, self.length = (arrays[k].copy() for k in ("now", "total", "length"))
        self.taken, self.cuts, self.rng = int(told["taken"]), int(told["cuts"]), generator(told["random"])
        self.curve.episodes = [(int(a), float(b), int(c)) for a, b, c in arrays["episodes"]]
        self.curve.looks = [(int(s), float.fromhex(r)) for s, r in told["looks"]]
        self.trial.count = int(told["count"])
        self.lanes.restore(lowered(told["lanes"], arrays))


def _suits(agent: TableAgent, lanes: Lanes) -> tuple[int, ...] | None:
    """Parts of each number that is shown, None where states are counted already.

    Raises
    ------
    CapabilityError
        where there are no states to count, or too many. ParameterError for bins that do not fit.
    """
    name, sees = type(agent).__name__, lanes.observation
    bins = None if sees.discrete else _parts(agent.bins, sees.width)
    if bins is None and not sees.discrete:
        raise CapabilityError(
            f"{name} needs states that can be counted; {lanes.name} shows {sees}. bins=10 cuts each of its numbers "
            "into 10 equal parts, which will do for a few numbers; PPO and DQN learn from any."
        )
    states = sees.n if bins is None else math.prod(bins)
    if lanes.action.discrete and states * lanes.action.n > _PAIRS:
        raise CapabilityError(
            f"{name} would need a table of {states:,} states by {lanes.action.n} actions; {_PAIRS:,} numbers is the "
            "most. PPO and DQN learn there."
        )
    return bins


def _parts(bins: Any, numbers: int) -> tuple[int, ...] | None:
    if bins is None:
        return None
    told = [bins] * numbers if np.ndim(bins) == 0 else list(bins)
    whole = all(isinstance(b, int | np.integer) and not isinstance(b, bool) and b >= 1 for b in told)
    if not whole or len(told) != numbers:
        raise ParameterError(f"bins={bins!r} came; expected a whole number from 1, or one for each of the {numbers} "
                             "numbers that are shown.")  # fmt: skip
    return tuple(int(b) for b in told)
