"""A pendulum to be swung up and held, by a motor that is too weak to lift it at once."""

from __future__ import annotations

import math

import numpy as np

from everymodel.environments import drawing
from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring.spaces import box

_FAST, _STRONG, _TICK = 8.0, 2.0, 0.05
_turn, _share, _strong, _fast, _tick, _push, _moves, _costs = (
    np.float32(v) for v in (2 * math.pi, 0.5 / math.pi, _STRONG, _FAST, _TICK, 3.0 * _TICK, 0.1, 0.001)
)


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
        torque = np.minimum(np.asarray(actions, dtype=np.float32)[:, 0], _strong)
        np.maximum(torque, -_strong, torque)
        off = angle * _share
        np.rint(off, off)
        np.multiply(off, -_turn, off)
        off += angle  # from upright, -pi to pi
        np.multiply(off, off, off)
        part = speed * speed
        np.multiply(part, _moves, part)
        off += part
        np.multiply(torque, torque, part)
        np.multiply(part, _costs, part)
        off += part
        np.negative(off, off)
        np.sin(angle, part)
        np.multiply(part, self.pull, part)
        speed += part
        np.multiply(torque, _push, torque)
        speed += torque
        np.minimum(speed, _fast, speed)
        np.maximum(speed, -_fast, speed)
        np.multiply(speed, _tick, part)
        angle += part
        return off, self.never

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
