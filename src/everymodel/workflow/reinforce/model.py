"""The agent as users hold it: it acts, shows itself, and is held against its environment again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymodel import environments
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.seeds import derive
from everymodel.environments import episodes as playing
from everymodel.environments.lanes import Lanes
from everymodel.scoring.agent import Agent
from everymodel.scoring.games.base import Rules
from everymodel.scoring.matches import match, opponent, policy_player

Watch = Callable[[Lanes, Any, float, float, int], None]  # (lanes, action, its reward, return so far, steps so far)


@dataclass(frozen=True)
class Episode:
    """One episode: its return, its steps, and whether the task ended it rather than the time limit."""

    total: float
    steps: int
    ended: bool


class AgentModel(Agent):
    """A `scoring.agent.Agent` that can be evaluated, watched and recorded where its environment can be made."""

    def evaluate(
        self, episodes: int = 100, *, env: Any = None, seed: int = 0, temperature: float = 0.0
    ) -> dict[str, float]:
        """Returns of whole episodes: mean, low and high (95 % interval), iqm, std, worst, best, length, episodes.

        Parameters
        ----------
        env : an environment with the spaces of the agent's own, which it is by default. seed : of the episodes.
        """
        lanes = self._lanes(env, episodes)
        try:
            return playing.summary(*playing.play(lanes, self.step, episodes, seed=seed, temperature=temperature))
        finally:
            lanes.close()

    def play(self, *, env: Any = None, seed: int = 0, temperature: float = 0.0, watch: Watch | None = None) -> Episode:
        """One episode, which `watch` sees step by step but for the last, after which the next one begins.

        Parameters
        ----------
        env, seed, temperature : as for `evaluate`.
        """
        lanes = self._lanes(env, 1)
        rng = np.random.default_rng(derive(seed, "actions"))
        try:
            seen = lanes.reset(derive(seed, "episodes"))
            total, steps = 0.0, 0
            if watch is not None:
                watch(lanes, None, 0.0, 0.0, 0)
            while True:
                actions = self.step.choose(seen, rng, temperature, lanes.masks())
                seen, reward, ended, cut, _ = lanes.step(actions)
                total, steps = total + float(reward[0]), steps + 1
                if ended[0] or cut[0]:
                    return Episode(total, steps, bool(ended[0]))
                if watch is not None:
                    watch(lanes, actions[0], float(reward[0]), total, steps)
        finally:
            lanes.close()

    def record(self, path: str | Path, *, env: Any = None, seed: int = 0, temperature: float = 0.0) -> Path:
        """One episode as a GIF or MP4: the one that `play` plays with the same seed."""
        from everymodel.models.reinforcement._base import record

        self._lanes(env, 1).close()
        return record(self.step, self._place(env), path, seed=seed, temperature=temperature)

    @classmethod
    def opened(cls, plain: Agent) -> AgentModel:
        """The agent of a file, with the verbs of its kind."""
        kind = BoardModel if hasattr(plain.step, "rules") else AgentModel
        return kind(plain.schema, plain.pack, plain.manifest)

    def _place(self, env: Any) -> Any:
        if env is not None:
            return env
        if not self.environment:
            raise ParameterError("The file does not say where the agent has learnt: give the environment (env=...).")
        return self.environment

    def _lanes(self, env: Any, count: int) -> Lanes:
        place = self._place(env)
        try:
            first = environments.make(place, 1)
        except ParameterError as error:
            if env is not None:
                raise
            raise ParameterError(
                f"{error} Where it stands in a file or class of yours, give that: env=, --env."
            ) from error
        return playing.enough(place, first, self.observation_space, self.action_space, count)


class BoardModel(AgentModel):
    """A player of a board game: it is told the moves so far, and held against other players."""

    @property
    def rules(self) -> Rules:
        """Of the game."""
        return self.step.rules  # type: ignore[attr-defined]

    def evaluate(  # type: ignore[override]
        self,
        episodes: int = 100,
        *,
        env: Any = None,
        seed: int = 0,
        temperature: float = 0.0,
        simulations: int | None = None,
        begins: bool | None = None,
    ) -> dict[str, float]:
        """Games: mean score with its 95 % interval, won, drawn, lost, and these by who began.

        Parameters
        ----------
        env : the opponent: "uct:200" (the default; so many random games before a move), "random", or for tic-tac-toe
            "perfect".
        simulations : positions looked at before a move. begins : True: the agent always begins; None: every other game.
        """
        own = policy_player(self.step, simulations, temperature, seed)  # type: ignore[arg-type]
        other = opponent(self.rules, str(env or "uct:200"), seed)
        return match(self.rules, own, other, episodes, begins=begins).summary()

    def play(self, **ignored: Any) -> Episode:
        raise CapabilityError(f"This agent plays {self.rules.word}: act(moves), or everymodel play.")

    def record(self, path: str | Path, **ignored: Any) -> Path:
        raise CapabilityError(f"This agent plays {self.rules.word}, of which there is no film.")
