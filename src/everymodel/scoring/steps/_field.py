"""Plumbing: the sum of 1 / (1 + distance^2) to many points in the plane or in space, found on a grid."""

from __future__ import annotations

import numpy as np

MARGIN = 2  # nodes beyond the outermost point
MOST = {1: 4096, 2: 512, 3: 64}  # nodes per side


class Field:
    """phi(y) = sum over points of 1 / (1 + |y - point|^2), and its slope, anywhere near the points.

    Points are spread to a grid by cubic B-splines, the grid is convolved with the kernel by fast Fourier transform,
    and the values are read by B-splines again; dividing the kernel's transform by the splines' makes up for both
    (particle-mesh, Essmann et al. 1995; interpolation in t-SNE: Linderman et al. 2019). The cost is that of the
    points plus that of the grid, in the place of all pairs.

    Parameters
    ----------
    spacing : of the grid's nodes; wider where the points lie so far apart that there would be too many nodes.
    """

    def __init__(self, spacing: float):
        self.spacing = spacing
        self._kernels: dict[tuple[int, int, float, str], np.ndarray] = {}

    def set(self, points: np.ndarray, margin: float = 0.0) -> None:
        """Take these points (n, d), d from 1 to 3; `margin`: how far beyond them the field is wanted."""
        d = points.shape[1]
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        reach = float((high - low).max())
        most = MOST[d] - 2 * MARGIN - 2
        self.step = self.spacing if reach <= most * self.spacing else reach / most
        self.size = _smooth(int(reach / self.step) + 2 * MARGIN + 2)
        self.low = low
        place, near = self._near(points)
        charge = np.zeros(self.size**d)
        for cell, weight in _cells(place, near, self.size):
            charge += np.bincount(cell, weight, minlength=len(charge))
        shape, double, axes = (self.size,) * d, (2 * self.size,) * d, tuple(range(d))
        waves = np.fft.rfftn(charge.reshape(shape).astype(points.dtype), double, axes)
        waves *= self._kernel(d, waves.dtype)
        grid = np.fft.irfftn(waves, double, axes)[(slice(self.size),) * d]
        self.grid = np.ascontiguousarray(grid).ravel()

    def _kernel(self, d: int, dtype: np.dtype) -> np.ndarray:
        key = (d, self.size, self.step, dtype.str)
        if key not in self._kernels:
            self._kernels.clear()
            length = 2 * self.size
            away = np.minimum(np.arange(length), length - np.arange(length)) * self.step
            spline = (2.0 / 3.0 + np.cos(2.0 * np.pi * np.arange(length) / length) / 3.0) ** 2
            square = np.zeros((length,) * d)
            for axis in range(d):
                square += (away**2).reshape([-1 if i == axis else 1 for i in range(d)])
            waves = np.fft.rfftn(1.0 / (1.0 + square))
            for axis in range(d):
                part = spline[: waves.shape[axis]]
                waves /= part.reshape([-1 if i == axis else 1 for i in range(d)])
            self._kernels[key] = waves.real.astype(np.float32 if dtype == np.complex64 else np.float64)
        return self._kernels[key]

    def _near(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First of the four nodes (d, n) around each point on each axis, and the way (d, n) from the second."""
        at = (points.T - self.low[:, None]) / self.step + MARGIN
        at = np.clip(at, 1.0, self.size - 2.001)
        node = at.astype(np.int64)
        return node - 1, at - node

    def values(self, points: np.ndarray) -> np.ndarray:
        """phi (n,) at points (n, d)."""
        place, near = self._near(points)
        total = np.zeros(len(points), dtype=points.dtype)
        for cell, weight in _cells(place, near, self.size):
            total += self.grid[cell] * weight
        return total

    def slopes(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """phi (n,) and its gradient (n, d) at points (n, d)."""
        place, near = self._near(points)
        d, n = place.shape
        w = [_spline(near[i]) for i in range(d)]
        dw = [_spline_slope(near[i]) for i in range(d)]
        phi, slope = np.zeros(n, dtype=points.dtype), np.zeros((n, d), dtype=points.dtype)
        if d == 1:
            for a in range(4):
                v = self.grid[place[0] + a]
                phi += v * w[0][a]
                slope[:, 0] += v * dw[0][a]
        elif d == 2:
            for a in range(4):
                row = (place[0] + a) * self.size + place[1]
                v = [self.grid[row + b] for b in range(4)]
                line = v[0] * w[1][0] + v[1] * w[1][1] + v[2] * w[1][2] + v[3] * w[1][3]
                phi += line * w[0][a]
                slope[:, 0] += line * dw[0][a]
                slope[:, 1] += (v[0] * dw[1][0] + v[1] * dw[1][1] + v[2] * dw[1][2] + v[3] * dw[1][3]) * w[0][a]
        else:
            for a in range(4):
                for b in range(4):
                    row = ((place[0] + a) * self.size + place[1] + b) * self.size + place[2]
                    v = [self.grid[row + c] for c in range(4)]
                    line = v[0] * w[2][0] + v[1] * w[2][1] + v[2] * w[2][2] + v[3] * w[2][3]
                    last = v[0] * dw[2][0] + v[1] * dw[2][1] + v[2] * dw[2][2] + v[3] * dw[2][3]
                    both = w[0][a] * w[1][b]
                    phi += line * both
                    slope[:, 0] += line * dw[0][a] * w[1][b]
                    slope[:, 1] += line * w[0][a] * dw[1][b]
                    slope[:, 2] += last * both
        return phi, slope / self.step


def _spline(f: np.ndarray) -> list[np.ndarray]:
    """Weights of the four nodes around a point, f (n,) from the second."""
    g = 1.0 - f
    return [g * g * g / 6.0, 2.0 / 3.0 - f * f * (1.0 - f / 2.0), 2.0 / 3.0 - g * g * (1.0 - g / 2.0), f * f * f / 6.0]


def _spline_slope(f: np.ndarray) -> list[np.ndarray]:
    g = 1.0 - f
    return [-g * g / 2.0, f * (1.5 * f - 2.0), -g * (1.5 * g - 2.0), f * f / 2.0]


def _cells(place: np.ndarray, near: np.ndarray, size: int):
    """(cell (n,), weight (n,)) for each of the 4^d nodes around points."""
    d, n = place.shape
    parts = [(np.zeros(n, dtype=np.int64), np.ones(n, dtype=near.dtype))]
    for i in range(d):
        weights = _spline(near[i])
        parts = [(cell * size + place[i] + a, w * weights[a]) for cell, w in parts for a in range(4)]
    return parts


def _smooth(size: int) -> int:
    """A number of nodes of at least `size` for which transforms are quick; few different ones, so kernels are kept."""
    for number in (16, 20, 24, 27, 32, 36, 40, 45, 48, 54, 60, 64, 72, 80, 90, 96, 108, 120, 128, 144, 160, 180, 192,
                   216, 240, 256, 288, 320, 360, 384, 432, 480, 512, 4096):  # fmt: skip
        if number >= size:
            return number
    return size
