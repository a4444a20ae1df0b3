"""A pendulum to be swung up and held, by a motor that is too weak to lift it at once."""

from __future__ import annotations

import math

import numpy as np

from everymodel.environments import drawing
from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring.spaces import box

_FAST, _STRONG, _TICK = 8.0, 2.0, 0.05
_turn = np.float32(2 * math.pi)


class Pendulum(ArrayLanes):
    """As Gymnasium's Pendulum-v1: shows (cos, sin, speed); -(angle^2 + 0.1 speed^2 + 0.001 torque^2) a step."""

    name = "Pendulum-v1"
    observation = box([-1.0, -1.0, -_FAST], [1.0, 1.0, _FAST])
    action = box(-_STRONG, _STRONG, (1,))
    limit = 200

    def __init__(self, n: int = 1, limit: int | None = None, g: float = 10.0):
        super().__init__(n, limit, g=g)
        self.pull = np.float32(1.5 * g * _TICK)

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        made = rng.random((2, n), dtype=np.float32) * np.float32(2) - np.float32(1)
        made[0] *= np.float32(math.pi)
        return made

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle, speed = self.inner[0], self.inner[1]
        torque = np.asarray(actions, dtype=np.float32)[:, 0]
        torque = np.minimum(np.maximum(torque, np.float32(-_STRONG)), np.float32(_STRONG))
        off = angle - _turn * np.rint(angle / _turn)  # from upright, -pi to pi
        cost = off * off
        cost += np.float32(0.1) * speed * speed
        cost += np.float32(0.001) * torque * torque
        speed += self.pull * np.sin(angle)
        speed += np.float32(3.0 * _TICK) * torque
        np.minimum(speed, np.float32(_FAST), speed)
        np.maximum(speed, np.float32(-_FAST), speed)
        angle += np.float32(_TICK) * speed
        return -cost, self.never

    def show(self, inner: np.ndarray) -> np.ndarray:
        made = np.empty((3, inner.shape[1]), dtype=np.float32)
        np.cos(inner[0], made[0])
        np.sin(inner[0], made[1])
        made[2] = inner[1]
        return made.T

    def picture(self, lane: int = 0) -> np.ndarray:
        angle = float(self.inner[0, lane])
        made = drawing.Canvas(400, 400)
        made.line([(200, 200), (200 + 130 * math.sin(angle), 200 - 130 * math.cos(angle))], drawing.WARM, 26)
        made.disc(200, 200, 7, drawing.DARK)
        return made.array()
