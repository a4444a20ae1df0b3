"""Two links that hang, of which the joint between them is driven, to be swung up (Sutton 1996)."""

from __future__ import annotations

import math

import numpy as np

from everymodel.environments import drawing
from everymodel.environments.lanes import ArrayLanes
from everymodel.scoring.spaces import Space, box

_TICK, _G = 0.2, 9.8
_FAST = np.array([[4 * math.pi], [9 * math.pi]], dtype=np.float32)
_turn = np.float32(2 * math.pi)


class Acrobot(ArrayLanes):
    """As Gymnasium's Acrobot-v1: shows cos and sin of both angles and both speeds; -1 a step; ends above the line."""

    name = "Acrobot-v1"
    observation = box([-1, -1, -1, -1, *-_FAST[:, 0]], [1, 1, 1, 1, *_FAST[:, 0]])
    action = Space(3)
    limit = 500
    threshold = -100.0

    def begin(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.random((4, n), dtype=np.float32) * np.float32(0.2) - np.float32(0.1)

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        torque = (actions - 1).astype(np.float32)
        state, tick = self.inner, np.float32(_TICK)
        # One step of the classic method of Runge and Kutta.
        first = _changes(state, torque)
        second = _changes(state + tick / 2 * first, torque)
        third = _changes(state + tick / 2 * second, torque)
        last = _changes(state + tick * third, torque)
        second += third
        second *= 2
        state += tick / 6 * (first + second + last)
        state[:2] -= _turn * np.rint(state[:2] / _turn)
        np.clip(state[2:], -_FAST, _FAST, out=state[2:])
        ended = -np.cos(state[0]) - np.cos(state[0] + state[1]) > 1
        return ended.astype(np.float32) - np.float32(1), ended

    def show(self, inner: np.ndarray) -> np.ndarray:
        made = np.empty((6, inner.shape[1]), dtype=np.float32)
        np.cos(inner[:2], made[:4:2])
        np.sin(inner[:2], made[1:4:2])
        made[4:] = inner[2:]
        return made.T

    def picture(self, lane: int = 0) -> np.ndarray:
        a, b = float(self.inner[0, lane]), float(self.inner[0, lane] + self.inner[1, lane])
        made, scale = drawing.Canvas(400, 400), 90
        made.line([(0, 200 - scale), (400, 200 - scale)], drawing.GREEN, 2)
        joint = (200 + scale * math.sin(a), 200 + scale * math.cos(a))
        end = (joint[0] + scale * math.sin(b), joint[1] + scale * math.cos(b))
        made.line([(200, 200), joint], drawing.BLUE, 16)
        made.line([joint, end], drawing.WARM, 16)
        for place in ((200, 200), joint):
            made.disc(*place, 5, drawing.WHITE)
        return made.array()


def _changes(state: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """(4, n) how angles and speeds change, for links of length, mass and inertia 1 with their mass in the middle."""
    a, b, va, vb = state
    cos, sin = np.cos(b), np.sin(b)
    d1 = np.float32(3.5) + cos
    d2 = np.float32(1.25) + np.float32(0.5) * cos
    phi2 = np.float32(0.5 * _G) * np.sin(a + b)
    phi1 = np.float32(1.5 * _G) * np.sin(a) + phi2 - np.float32(0.5) * vb * sin * (vb + 2 * va)
    made = np.empty_like(state)
    made[0], made[1] = va, vb
    share = d2 / d1
    made[3] = (torque + share * phi1 - np.float32(0.5) * va * va * sin - phi2) / (np.float32(1.25) - d2 * share)
    made[2] = -(d2 * made[3] + phi1) / d1
    return made
