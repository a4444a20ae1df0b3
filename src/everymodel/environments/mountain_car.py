"""A car in a valley that is too weak to drive straight up its hill (Moore 1990)."""

from __future__ import annotations

import math

import numpy as np

from everymodel.environments import drawing
from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring.spaces import Space, box

_LEFT, _RIGHT, _FAST, _PULL = -1.2, 0.6, 0.07, 0.0025
_three, _pull, _fast, _left, _right = (np.float32(v) for v in (3, _PULL, _FAST, _LEFT, _RIGHT))
_one, _power, _cost = (np.float32(v) for v in (1, 0.0015, -0.1))


class MountainCar(ArrayLanes):
    """As Gymnasium's MountainCar-v0: shows (position, velocity); -1 a step; ends at the flag, at position 0.5."""

    name = "MountainCar-v0"
    observation = box([_left, -_fast], [_right, _fast])
    action = Space(3)
    limit = 200
    threshold = -110.0
    flag = 0.5

    def __init__(self, n: int = 1, limit: int | None = None):
        super().__init__(n, limit)
        self.rewards = np.full(self.n, -1.0, dtype=np.float32)
        self.rewards.flags.writeable = False
        self.force = np.array([-0.001, 0.0, 0.001], dtype=np.float32)
        self.part = np.empty(self.n, dtype=np.float32)

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        made = np.zeros((2, n), dtype=np.float32)
        made[0] = rng.random(n, dtype=np.float32) * np.float32(0.2) - np.float32(0.6)
        return made

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.drive(self.force.take(actions))
        return self.rewards, self.inner[0] >= np.float32(self.flag)

    def drive(self, force: np.ndarray) -> None:
        """All cars one step on, each with its force (n,)."""
        position, velocity, part = self.inner[0], self.inner[1], self.part
        np.multiply(position, _three, part)
        np.cos(part, part)
        np.multiply(part, _pull, part)
        np.subtract(force, part, part)
        np.add(velocity, part, velocity)
        np.minimum(velocity, _fast, velocity)
        np.maximum(velocity, -_fast, velocity)
        np.add(position, velocity, position)
        np.minimum(position, _right, position)
        np.maximum(position, _left, position)
        np.multiply(velocity, (position > _left) | (velocity > 0), velocity)  # the wall at the left stops a car

    def picture(self, lane: int = 0) -> np.ndarray:
        wide, high = 600, 400
        scale = wide / (_RIGHT - _LEFT)

        def at(x: float, above: float = 0.0) -> tuple[float, float]:
            return (x - _LEFT) * scale, high - (0.45 * math.sin(3 * x) + 0.55) * scale * 0.8 - above

        made = drawing.Canvas(wide, high)
        hill = [at(_LEFT + (_RIGHT - _LEFT) * i / 100) for i in range(101)]
        made.polygon([(0, high), *hill, (wide, high)], drawing.SAND)
        made.line(hill, drawing.DARK, 2)
        foot = at(self.flag)
        top = (foot[0], foot[1] - 50)
        made.line([foot, top], drawing.DARK, 2)
        made.polygon([top, (top[0] + 26, top[1] + 9), (top[0], top[1] + 18)], drawing.GREEN)
        x = float(self.inner[0, lane])
        slope = -math.atan2(0.45 * 3 * math.cos(3 * x) * 0.8, 1.0)
        middle = at(x, 8)

        def turned(dx: float, dy: float) -> tuple[float, float]:
            cos, sin = math.cos(slope), math.sin(slope)
            return middle[0] + dx * cos - dy * sin, middle[1] + dx * sin + dy * cos

        made.polygon(
            [turned(*p) for p in ((-21, 0), (-21, -13), (-12, -22), (10, -22), (21, -12), (21, 0))], drawing.BLUE
        )
        for side in (-12, 12):
            made.disc(*turned(side, 1), 7, drawing.DARK)
        return made.array()


class MountainCarContinuous(MountainCar):
    """As Gymnasium's MountainCarContinuous-v0: the force is chosen; 100 at the flag, less what the engine takes."""

    name = "MountainCarContinuous-v0"
    action = box(-1.0, 1.0, (1,))
    limit = 999
    threshold = 90.0
    flag = 0.45

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked = np.asarray(actions, dtype=np.float32)[:, 0]
        force = np.minimum(asked, _one)
        np.maximum(force, -_one, force)
        np.multiply(force, _power, force)
        self.drive(force)
        ended = self.inner[0] >= np.float32(self.flag)
        reward = asked * asked
        np.multiply(reward, _cost, reward)
        if np.count_nonzero(ended):
            reward += np.float32(100) * ended
        return reward, ended
