"""A pole on a cart, to be kept upright by pushing left or right (Barto, Sutton and Anderson 1983)."""

from __future__ import annotations

import math

import numpy as np

from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring.spaces import Space, box

_GRAVITY, _CART, _POLE, _HALF, _FORCE, _TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
_MASS = _CART + _POLE
_FAR, _TILT = 2.4, 12 * 2 * math.pi / 360


class CartPole(ArrayLanes):
    """As Gymnasium's CartPole-v1: shows (x, dx, angle, dangle); 1 a step; ends where cart or pole is far off."""

    name = "CartPole-v1"
    observation = box([-2 * _FAR, -np.inf, -2 * _TILT, -np.inf], [2 * _FAR, np.inf, 2 * _TILT, np.inf])
    action = Space(2)
    limit = 500
    threshold = 475.0

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((n, 4), dtype=np.float32) * np.float32(0.1) - np.float32(0.05)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, dx, angle, turn = self.inner.T  # views: written to below
        cos, sin = np.cos(angle), np.sin(angle)
        push = actions * np.float32(2 * _FORCE) - np.float32(_FORCE)
        pull = (push + np.float32(_POLE * _HALF) * turn * turn * sin) * np.float32(1 / _MASS)
        spin = (np.float32(_GRAVITY) * sin - cos * pull) / (
            np.float32(_HALF * 4 / 3) - np.float32(_HALF * _POLE / _MASS) * cos * cos
        )
        speed = pull - np.float32(_POLE * _HALF / _MASS) * spin * cos
        tick = np.float32(_TICK)
        x += tick * dx
        dx += tick * speed
        angle += tick * turn
        turn += tick * spin
        ended = (np.abs(x) > _FAR) | (np.abs(angle) > np.float32(_TILT))
        return np.ones(self.n, dtype=np.float32), ended
