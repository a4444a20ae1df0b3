"""Where the training of an agent is, for progress bars; without torch, since tables learn without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everymodel.models.reinforcement._base import Curve


@dataclass(frozen=True)
class Live:
    """Where the training of an agent is; sent a few times per second at most.

    steps : of the environment, of `most` (None: until the budget or the goal ends it). mean : return of the last
    training episodes; look : mean return by the best actions, at the last look; pace : steps per second.
    """

    steps: int
    most: int | None
    episodes: int
    mean: float
    look: float
    pace: float
    done: float
    seconds_left: float

    @classmethod
    def of(cls, curve: Curve, steps: int, most: int | None, pace: float, done: float, left: float) -> Live:
        """By the returns so far."""
        look = curve.looks[-1][1] if curve.looks else math.nan
        return cls(steps, most, len(curve.episodes), curve.recent(), look, pace, done, left)
