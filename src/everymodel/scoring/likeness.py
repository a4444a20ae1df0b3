"""How like made data are to real ones: distances between two sets of rows of numbers. Needs numpy alone.

Both sets are given in the same features (n, d) and (m, d); see `everymodel.training.judge` for those of images.
"""

from __future__ import annotations

import numpy as np

from everymodel.core.errors import DataError

_BLOCK = 1 << 24  # distances at once


def _pair(a: np.ndarray, b: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"Sets of shapes {a.shape} and {b.shape} came; expected (n, d) and (m, d).")
    if min(len(a), len(b)) < least:
        raise DataError(f"Sets of {len(a)} and {len(b)} rows came; expected {least} or more of each.")
    return a, b


def frechet(real: np.ndarray, fake: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the normal distributions of both sets (Heusel et al. 2017).

    It falls with the number of rows, so compare only figures of equal counts.
    """
    a, b = _pair(real, fake)
    s1, s2 = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    w, v = np.linalg.eigh(s1)
    root = (v * np.sqrt(np.clip(w, 0, None))) @ v.T
    middle = np.linalg.eigvalsh(root @ s2 @ root)
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(np.clip(middle, 0, None)).sum())


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy under (x · y / d + 1)^3 (Binkowski et al. 2018); about 0 for equals."""
    a, b = _pair(real, fake)
    d, n, m = a.shape[1], len(a), len(b)

    def inside(x: np.ndarray) -> float:
        k = (x @ x.T / d + 1.0) ** 3
        return float(k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    total = 0.0
    for low in range(0, n, max(_BLOCK // m, 1)):
        total += float(((a[low : low + max(_BLOCK // m, 1)] @ b.T / d + 1.0) ** 3).sum())
    return inside(a) + inside(b) - 2 * total / (n * m)


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) squared distances."""
    made = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.maximum(made, 0.0)


def radii(x: np.ndarray, k: int = 5) -> np.ndarray:
    """(n,) squared distance of each row to its k-th nearest other row."""
    k = min(k, len(x) - 1)
    size = max(_BLOCK // len(x), 1)
    parts = [np.partition(squared(x[i : i + size], x), k, axis=1)[:, k] for i in range(0, len(x), size)]
    return np.concatenate(parts)


def coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> float:
    """Share of real rows that have a made one nearer than their k-th neighbour (Naeem et al. 2020)."""
    return neighborhoods(real, fake, k)["coverage"]


def neighborhoods(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) by balls of k neighbours.

    precision: made rows inside a ball of a real one; recall: the other way round; density: balls of real rows around a
    made one, over k; coverage: real rows whose ball holds a made one.
    """
    a, b = _pair(real, fake)
    ra, rb = radii(a, k), radii(b, k)
    inside = np.zeros(len(b))  # balls of real rows around each made one
    covered, recalled = np.zeros(len(a), dtype=bool), np.zeros(len(a), dtype=bool)
    size = max(_BLOCK // len(b), 1)
    for low in range(0, len(a), size):
        part = squared(a[low : low + size], b)
        near = part <= ra[low : low + size, None]
        inside += near.sum(axis=0)
        covered[low : low + size] = near.any(axis=1)
        recalled[low : low + size] = (part <= rb).any(axis=1)
    k = min(k, len(a) - 1)
    return {
        "precision": float((inside > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(inside.mean() / k),
        "coverage": float(covered.mean()),
    }


def nearest(rows: np.ndarray, among: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(distances, places), each (n, count): for each row those among the others nearest to it, nearest first."""
    rows, among = _pair(rows, among, least=1)
    count = min(count, len(among))
    size = max(_BLOCK // len(among), 1)
    near, places = [], []
    for low in range(0, len(rows), size):
        part = squared(rows[low : low + size], among)
        own = np.argpartition(part, count - 1, axis=1)[:, :count]
        own = np.take_along_axis(own, np.argsort(np.take_along_axis(part, own, axis=1), axis=1), axis=1)
        places.append(own)
        near.append(np.sqrt(np.take_along_axis(part, own, axis=1)))
    return np.concatenate(near), np.concatenate(places)


def copied(fake: np.ndarray, train: np.ndarray, held: np.ndarray) -> float:
    """Share of made rows that are nearer to a training row than to one held out of the fit, both sets of equal size.

    0.5 where nothing was copied, 1 where training rows are given back.
    """
    n = min(len(train), len(held))
    own, other = nearest(fake, np.asarray(train)[:n])[0][:, 0], nearest(fake, np.asarray(held)[:n])[0][:, 0]
    return float((own < other).mean() + 0.5 * (own == other).mean())
