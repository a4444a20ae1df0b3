"""A pole on a cart, to be kept upright by pushing left or right (Barto, Sutton and Anderson 1983)."""

from __future__ import annotations

import math

import numpy as np

from everymodel.environments import drawing
from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring.spaces import Space, box

_GRAVITY, _CART, _POLE, _HALF, _FORCE, _TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
_MASS = _CART + _POLE
_FAR, _TILT = 2.4, 12 * 2 * math.pi / 360
_ENDS = np.array([2 * _FAR, np.inf, 2 * _TILT, np.inf], dtype=np.float32)
_BOTH = _POLE * _HALF / _MASS
_ROOT = math.sqrt(_BOTH / _GRAVITY)


class CartPole(ArrayLanes):
    """As Gymnasium's CartPole-v1: shows (x, dx, angle, dangle); 1 a step; ends where cart or pole is far off."""

    name = "CartPole-v1"
    observation = box(-_ENDS, _ENDS)
    action = Space(2)
    limit = 500
    threshold = 475.0

    def __init__(self, n: int = 1, limit: int | None = None):
        super().__init__(n, limit)
        self.moves = np.empty((4, self.n), dtype=np.float32)
        self.parts = np.empty((4, self.n), dtype=np.float32)
        self.ones = np.ones(self.n, dtype=np.float32)
        self.ones.flags.writeable = False
        self.bounds = np.repeat(np.array([[_FAR], [_TILT]], dtype=np.float32), self.n, axis=1)
        self.push = np.array([-_FORCE, _FORCE], dtype=np.float32) / np.float32(_MASS * _GRAVITY)
        scales = (_ROOT, _HALF * 4 / 3 / _GRAVITY, [[_TICK], [_TICK * _GRAVITY], [_TICK], [_TICK / _ROOT]])
        self.scales = tuple(np.array(v, dtype=np.float32) for v in scales)

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((4, n), dtype=np.float32) * np.float32(0.1) - np.float32(0.05)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # In place and with few operations, since at 64 lanes each costs more than the sums in it. With b = m h / M
        #   pull = push / M + b turn^2 sin,   spin = (g sin - cos pull) / (4/3 h - b cos^2),   speed = pull - b cos spin
        # are computed as pull / g, speed / g and r spin, where r^2 = b / g, from r sin and r cos.
        inner, moves, parts = self.inner, self.moves, self.parts
        root, whole, ticks = self.scales
        angle, turn = inner[2], inner[3]
        sin, cos, pull, part = parts[0], parts[1], parts[2], parts[3]
        np.sin(angle, sin)
        np.cos(angle, cos)
        np.multiply(parts[:2], root, parts[:2])
        np.multiply(turn, turn, pull)
        np.multiply(pull, sin, pull)
        np.multiply(pull, root, pull)
        np.add(pull, self.push.take(actions), pull)
        np.multiply(cos, pull, part)
        np.subtract(sin, part, sin)
        np.multiply(cos, cos, part)
        np.subtract(whole, part, part)
        np.divide(sin, part, moves[3])
        np.multiply(cos, moves[3], cos)
        np.subtract(pull, cos, moves[1])
        moves[::2] = inner[1::2]
        np.multiply(moves, ticks, moves)
        np.add(inner, moves, inner)
        far = np.abs(inner[::2], parts[:2]) > self.bounds
        return self.ones, np.logical_or(far[0], far[1])

    def picture(self, lane: int = 0) -> np.ndarray:
        x, _, angle, _ = (float(v) for v in self.inner[:, lane])
        made = drawing.Canvas(600, 400)
        ground, middle = 300, 300 + x * 600 / (2 * _FAR)
        made.line([(0, ground), (600, ground)], drawing.GREY, 2)
        made.box(middle - 32, ground - 18, middle + 32, ground + 12, drawing.DARK, 5)
        made.line(
            [(middle, ground - 18), (middle + 150 * math.sin(angle), ground - 18 - 150 * math.cos(angle))],
            drawing.WARM, 11,
        )  # fmt: skip
        made.disc(middle, ground - 18, 6, drawing.BLUE)
        return made.array()
