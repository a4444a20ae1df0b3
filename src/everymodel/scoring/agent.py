"""Agents that were trained: what they see comes in, what they do goes out.

    agent = load("cartpole.em")
    agent.act([0.0, 0.1, -0.02, 0.3])        # 1

Needs numpy alone.
"""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import CapabilityError, ModelFileError
from everymodel.scoring.model import Model
from everymodel.scoring.spaces import Space
from everymodel.scoring.steps.acting import Actor


class Agent(Model):
    """Acts in an environment. Made by `em.fit("CartPole-v1")`, `em.wrap` or `load`."""

    @property
    def step(self) -> Actor:
        """The step that acts."""
        step = self.pack.nodes[-1].step
        if not isinstance(step, Actor):
            raise ModelFileError("The model file is damaged: it is to act and holds nothing that does.")
        return step

    @property
    def environment(self) -> str:
        """Where it has learnt, such as "CartPole-v1"."""
        return str(self.manifest.get("environment", ""))

    @property
    def observation_space(self) -> Space:
        return self.step.sees

    @property
    def action_space(self) -> Space:
        return self.step.does

    def act(
        self, observation: Any, *, seed: int | None = None, temperature: float = 0.0, mask: Any = None, **options: Any
    ) -> Any:
        """The action for an observation, or several for several; see `Actor.act`."""
        return self.step.act(observation, seed=seed, temperature=temperature, mask=mask, **options)

    def decide(self, answers: Any) -> Any:
        raise CapabilityError("This model is an agent: it answers observations. Use act.")

    def predict(self, data: Any = None, **ignored: Any) -> Any:  # type: ignore[override]
        raise CapabilityError("This model is an agent: it answers observations. Use act.")

    def explain(self, data: Any = None, **ignored: Any) -> Any:  # type: ignore[override]
        raise CapabilityError("This model is an agent: it answers observations, and no row can be explained.")
