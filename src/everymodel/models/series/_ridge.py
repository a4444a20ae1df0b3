"""Plumbing: a ridge on far more features than rows, with the answers that each row would get without itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

ALPHAS = np.logspace(-3, 5, 17)
EXACT = 4000  # rows or features up to which eigenvectors are computed, for all penalties at once
_DOUBLE = 1500  # rows up to which products are summed in float64
_BLOCK = 4096


class Fitted(NamedTuple):
    """weights (q, k), intercept (k,), alpha, the rows (m,) that were left out one by one, and their answers (m, k)."""

    weights: np.ndarray
    intercept: np.ndarray
    alpha: float
    rows: np.ndarray
    without: np.ndarray


def fit(Z: np.ndarray, Y: np.ndarray, alpha: float | None, rng: np.random.Generator) -> Fitted:
    """Ridge of Y (n, k) on Z (n, q) float32. `alpha` is the one with the least squared error of rows left out one by
    one, in closed form; where both sides are long, it is found on a sample of the rows.
    """
    n, q = Z.shape
    rows = np.arange(n) if min(n, q) <= EXACT else np.sort(rng.choice(n, EXACT, replace=False))
    alphas = ALPHAS if alpha is None else np.array([max(alpha, 1e-12)])
    centre, middle = Z.mean(axis=0, dtype=np.float64), Y.mean(axis=0)
    part = Z[rows] if len(rows) < n else Z
    found = (_by_rows if len(rows) <= q else _by_features)(part, Y[rows], alphas)
    weights = found.weights
    if len(rows) < n:
        weights = _solved(Z, Y - middle, centre, found.alpha)
    return Fitted(weights, middle - centre @ weights, found.alpha, rows, found.without)


def _by_rows(Z: np.ndarray, Y: np.ndarray, alphas: np.ndarray) -> Fitted:
    n, middle = len(Y), Y.mean(axis=0)
    values, V = linalg.eigh(_products(Z), overwrite_a=True, check_finite=False)
    values, aside = np.maximum(values, 0.0), V.T @ (Y - middle)
    best = None
    for alpha in alphas:
        # With G = (K + alpha)^-1 the residual of a row left out is (G y)_i / (G_ii - 1 / (n alpha)): the mean is
        # computed without it as well.
        inverse = 1.0 / (values + alpha)
        dual = V @ (inverse[:, None] * aside)
        diagonal = (V * V) @ inverse - 1.0 / (n * alpha)
        residual = dual / np.maximum(diagonal, 1e-300)[:, None]
        error = float((residual**2).mean())
        if best is None or error < best[0]:
            best = (error, alpha, dual, Y - residual)
    assert best is not None
    _, alpha, dual, without = best
    return Fitted(_back(Z, dual), middle, float(alpha), np.arange(n), without)


def _by_features(Z: np.ndarray, Y: np.ndarray, alphas: np.ndarray) -> Fitted:
    n, middle, centre = len(Y), Y.mean(axis=0), Z.mean(axis=0, dtype=np.float64)
    values, V = linalg.eigh(_spread(Z, centre), overwrite_a=True, check_finite=False)
    values, y = np.maximum(values, 0.0), Y - middle
    turned = np.concatenate([(Z[i : i + _BLOCK] - centre) @ V for i in range(0, n, _BLOCK)])  # (n, q)
    aside, best = turned.T @ y, None
    for alpha in alphas:
        inverse = 1.0 / (values + alpha)
        coef = inverse[:, None] * aside
        own = 1.0 - 1.0 / n - (turned * turned) @ inverse
        residual = (y - turned @ coef) / np.maximum(own, 1e-10)[:, None]
        error = float((residual**2).mean())
        if best is None or error < best[0]:
            best = (error, alpha, coef, Y - residual)
    assert best is not None
    _, alpha, coef, without = best
    return Fitted(V @ coef, middle, float(alpha), np.arange(n), without)


def _solved(Z: np.ndarray, y: np.ndarray, centre: np.ndarray, alpha: float) -> np.ndarray:
    """Weights (q, k) for one penalty, along the shorter side."""
    if len(Z) <= Z.shape[1]:
        K = _products(Z)
        K.flat[:: len(K) + 1] += alpha
        return _back(Z, linalg.solve(K, y, assume_a="pos", overwrite_a=True, check_finite=False))
    S = _spread(Z, centre)
    S.flat[:: len(S) + 1] += alpha
    aside = sum((Z[i : i + _BLOCK] - centre).T @ y[i : i + _BLOCK] for i in range(0, len(Z), _BLOCK))
    return linalg.solve(S, aside, assume_a="pos", overwrite_a=True, check_finite=False)


def _products(Z: np.ndarray) -> np.ndarray:
    """Products (n, n) of the centred rows."""
    K = np.zeros((len(Z), len(Z)))
    for i in range(0, Z.shape[1], _BLOCK):
        block = Z[:, i : i + _BLOCK]
        block = block.astype(np.float64) if len(Z) <= _DOUBLE else block
        K += block @ block.T
    mean = K.mean(axis=0)
    K -= mean
    K -= mean[:, None]
    K += mean.mean()
    return K


def _spread(Z: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Products (q, q) of the centred columns."""
    S = np.zeros((Z.shape[1], Z.shape[1]))
    for i in range(0, len(Z), _BLOCK):
        block = Z[i : i + _BLOCK] - centre
        S += block.T @ block
    return S


def _back(Z: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """Z^T dual (q, k) in float64, block by block."""
    blocks = range(0, Z.shape[1], _BLOCK)
    return np.concatenate([Z[:, i : i + _BLOCK].T.astype(np.float64) @ dual for i in blocks])


def heat(scores: np.ndarray, codes: np.ndarray) -> float:
    """What scores (n, k) are multiplied with before the softmax: the least logarithmic loss, after Platt (1999) with
    targets a little below 1, so that a sure answer for every row does not mean infinite heat.
    """
    n, k = scores.shape
    if k < 2:
        return 1.0
    target = np.full((n, k), 1.0 / (n + 2.0) / (k - 1.0))
    target[np.arange(n), codes] = (n + 1.0) / (n + 2.0)

    def loss(power: float) -> float:
        z = np.exp(power) * scores
        z -= z.max(axis=1, keepdims=True)
        return float((target * (np.log(np.exp(z).sum(axis=1, keepdims=True)) - z)).sum())

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded").x))
