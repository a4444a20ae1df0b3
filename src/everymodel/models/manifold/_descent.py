"""Plumbing: t-SNE's descent, with repulsion from a grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.neighbors import NearestNeighbors

from everymodel.scoring.steps._field import MOST, Field

SPACING = 0.7  # of the grid, in units of the kernel's width
START = 1e-4  # deviation of the first coordinate at the start
JITTER = 1e-6  # parts rows that start at one place


def start(X: np.ndarray, d: int, rng: np.random.Generator) -> np.ndarray:
    """The first principal components (n, d) of X (n, p), small, so that the large shape of the map is theirs."""
    centred = X - X.mean(axis=0)
    n, p = X.shape
    if p <= n:
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :d]
        axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
        places = centred @ axes
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        places = vectors[:, ::-1][:, :d] * np.sqrt(np.maximum(values[::-1][:d], 0.0))
        places *= np.where(places[np.abs(places).argmax(axis=0), np.arange(places.shape[1])] < 0, -1.0, 1.0)
    places = np.column_stack([places, np.zeros((n, d - places.shape[1]))])
    spread = float(places[:, 0].std())
    return places * (START / spread if spread > 0 else 0.0) + JITTER * rng.normal(size=(n, d))


def affinities(X: np.ndarray, k: int) -> csr_matrix:
    """Symmetric (n, n), of sum 1: each row to its k nearest with equal weight, and the other way round."""
    number = NearestNeighbors(n_neighbors=k).fit(X).kneighbors(return_distance=False)
    n = len(X)
    one = csr_matrix((np.full(n * k, 0.5 / (n * k)), number.ravel(), np.arange(0, n * k + 1, k)), (n, n))
    both = csr_matrix(one + one.T)
    both.sort_indices()
    return both


def descend(
    P: csr_matrix, Y: np.ndarray, exaggeration: float, early: int, late: int, stop: Callable[[], bool] | None = None
) -> tuple[np.ndarray, int]:
    """Gradient descent with momentum and gains (van der Maaten and Hinton 2008) from Y (n, d); (places, iterations)."""
    n, d = Y.shape
    rate = n / exaggeration
    Y = Y.astype(np.float32)
    p, column = P.data.astype(np.float32), P.indices
    row = np.repeat(np.arange(n), np.diff(P.indptr))
    pull = csr_matrix((p.copy(), column, P.indptr), (n, n))
    velocity, gain = np.zeros_like(Y), np.ones_like(Y)
    field = Field(SPACING)
    for i in range(early + late):
        if stop is not None and i % 20 == 0 and stop():
            return Y.astype(np.float64), i
        strength, momentum = (exaggeration, 0.5) if i < early else (1.0, 0.8)
        phi, slope = repulsion(Y, field)
        square = np.ones_like(p)
        for axis in range(d):
            y = np.ascontiguousarray(Y[:, axis])
            gap = y[row] - y[column]
            gap *= gap
            square += gap
        pull.data = p / square
        attraction = np.asarray(pull.sum(axis=1)).reshape(-1, 1) * Y - pull @ Y
        total = max(float(phi.sum(dtype=np.float64)) - n, 1.0)
        gradient = (4.0 * strength) * attraction + (2.0 / total) * slope
        turned = gradient * velocity > 0
        gain = np.maximum(np.where(turned, gain * 0.8, gain + 0.2), 0.01).astype(np.float32)
        velocity = (momentum * velocity - rate * gain * gradient).astype(np.float32)
        Y = Y + velocity
        Y -= Y.mean(axis=0)
    return Y.astype(np.float64), early + late


def repulsion(Y: np.ndarray, field: Field) -> tuple[np.ndarray, np.ndarray]:
    """phi (n,), the sum of 1 / (1 + distance^2) to all places (n, d), and its slope (n, d)."""
    n, d = Y.shape
    nodes = min(2.0 * float(np.ptp(Y, axis=0).max()) / field.spacing + 20.0, 2.0 * MOST[d])
    if n * n > 4 * nodes**d:
        field.set(Y)
        return field.slopes(Y)
    phi, slope = np.empty(n, dtype=Y.dtype), np.empty_like(Y)
    size = max(1, 1_000_000 // n)
    for i in range(0, n, size):  # few places, or far apart: all pairs are fewer than the grid's nodes
        gaps = [Y[i : i + size, axis, None] - Y[None, :, axis] for axis in range(d)]
        near = 1.0 / (1.0 + sum(gap * gap for gap in gaps))
        phi[i : i + size] = near.sum(axis=1)
        near *= near
        for axis in range(d):
            slope[i : i + size, axis] = -2.0 * (near * gaps[axis]).sum(axis=1)
    return phi, slope


def divergence(P: csr_matrix, Y: np.ndarray) -> float:
    """Kullback-Leibler divergence of the map's similarities from the data's."""
    row = np.repeat(np.arange(len(Y)), np.diff(P.indptr))
    square = np.square(Y[row] - Y[P.indices]).sum(axis=1)
    total = max(float(repulsion(Y, Field(SPACING))[0].sum()) - len(Y), 1e-12)
    return float((P.data * (np.log(P.data) + np.log1p(square) + np.log(total))).sum())
