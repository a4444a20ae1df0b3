"""SARSA: a table of what every action is worth where the agent goes on as it does."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models.reinforcement._base import fit
from everymodel.models.reinforcement._table import TableAgent
from everymodel.scoring.steps.base import Step

__all__ = ["CARD", "Sarsa", "fit", "pack"]

CARD = {
    "name": "sarsa",
    "title": "SARSA",
    "summary": "Learns a table of what every action is worth in every state, if the agent goes on as it does.",
    "choose": "States and actions that can be counted, where what exploring costs meanwhile matters: near cliffs.",
    "avoid": "More than a few real numbers, which bins cut into states, or so many states that most are never seen "
             "twice: DQN and PPO learn there.",
    "gives": ["actions"],
    "needs": {"inputs": "environment"},
    "cost": {"scale": 0.00001, "rows_power": 1.0, "columns_power": 0.1},
    "references": [
        "Rummery and Niranjan (1994), On-line Q-learning using connectionist systems.",
        "van Seijen et al. (2009), A theoretical and empirical analysis of Expected Sarsa.",
    ],
    "advice": ["interpretable"],
    "parameters": {
        "steps": {"default": None, "text": "Steps of the environment; none: 8,000 for each state and action, 300,000 "
                  "at least and 2,000,000 at most; with a budget, up to five times that."},
        "lanes": {"default": 64},
        "discount": {"default": 0.997},
        "learning_rate": {"default": None, "high": 1.0,
                          "text": "Share of what is new in a value; none: less the more often an action was tried."},
        "epsilon": {"type": "float", "default": 0.4, "low": 0.0, "high": 1.0,
                    "text": "Largest chance of an action by chance; lanes have less, and all have less in time."},
        "curious": {"type": "float", "default": 0.25, "low": 0.0, "high": 1.0,
                    "text": "Share of the lanes that go where little is known."},
        "bins": {"type": "int", "default": None, "low": 1, "high": 1000, "tune": False,
                 "text": "Parts into which each real number that is shown is cut, or one for each of them; none: only "
                 "states that are counted already."},
    },
    "tiny": [{"steps": 4000, "lanes": 8, "random_state": 0}],
    "presets": [{}],
    "priority": 9,
    "classes": {"agent": {"class": "everymodel.models.reinforcement.sarsa:Sarsa", "tasks": ["act"]}},
}  # fmt: skip


class Sarsa(TableAgent):
    """SARSA in many lanes, by the mean over the actions that may follow rather than one of them (Expected SARSA).

        Q(s, a) <- Q(s, a) + r (R + g ((1 - e) max_b Q(s', b) + e mean_b Q(s', b)) - Q(s, a))

    e is the chance of an action by chance at the time, so the agent keeps away from what is dangerous while it still
    explores; as e falls, so does its caution. Lanes, curious ones among them, are those of `QLearning`.

    Parameters
    ----------
    steps : of the environment; None: 8,000 for each state and action, 300,000 at least and 2,000,000 at most.
    lanes : copies of the environment. discount : g. learning_rate : r; None: less the more often an action was tried.
    epsilon, curious : e at first, the largest chance of any action, and share of the lanes that look for what is new.
    bins : equal parts into which each real number that is shown is cut, or one for each; between its bounds, or, where
        it has none, between the least and the largest of 1,000 steps by chance.
    budget, checkpoint, random_state, verbose : as for all agents.

    Attributes
    ----------
    values_, visits_, step_, environment_, curve_, steps_, stopped_

    Examples
    --------
    >>> agent = Sarsa(steps=20_000, random_state=0).fit("CliffWalking-v1")
    >>> agent.act(36)  # up, away from the cliff
    0
    """

    def _worth(self, values: np.ndarray, epsilon: float) -> np.ndarray:
        return (1 - epsilon) * values.max(axis=1) + epsilon * values.mean(axis=1)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that acts."""
    return model._step()
