"""Plumbing: the graph of nearest rows, and labels that spread over it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse

EXACT_CELLS = 4e10  # rows^2 * columns up to which neighbours are found exactly; beyond, nearly all of them
_EXACT_COLUMNS = 8  # with so few columns a tree finds them exactly and quickly on any number of rows
_LEAF, _TREES = 200, 8  # of random projections that look for neighbours among many rows


def unlabelled(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """(y as an array, which entries (n,) say that a row has no label).

    -1 in numbers, as in scikit-learn; among objects -1, None and NaN.
    """
    y = np.asarray(y)
    if y.dtype.kind in "US":
        return y, np.zeros(len(y), bool)
    if y.dtype.kind == "O":
        return y, np.array([v is None or (isinstance(v, float) and v != v) or (_whole(v) and v == -1) for v in y], bool)
    return y, y == -1


def _whole(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def neighbors(X: np.ndarray, k: int, seed: int = 0, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers (n, k) of the nearest other rows of X (n, p), closest first.

    Many rows with many columns are looked through by trees of random projections, which find nearly all.
    """
    n, p = X.shape
    if p <= _EXACT_COLUMNS or float(n) ** 2 * p <= EXACT_CELLS:
        from sklearn.neighbors import NearestNeighbors

        distance, number = NearestNeighbors(n_neighbors=k, n_jobs=threads).fit(X).kneighbors()
        return distance, number
    return _nearly(X, k, seed)


def _nearly(X: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows are halved along random directions until few are left; the nearest of several such trees are joined, and
    then looked for among the neighbours of neighbours."""
    rng = np.random.default_rng(seed)
    n, p = X.shape
    Z = np.ascontiguousarray(X, dtype=np.float32)
    square = np.full((n, k), np.inf, np.float32)
    number = np.zeros((n, k), np.int32)
    for _ in range(_TREES):
        leaves = [np.arange(n, dtype=np.int32)]
        while len(leaves[0]) > _LEAF:  # all leaves of a level have the same size, but for one row
            direction = rng.normal(size=(p, 1)).astype(np.float32)
            place = (Z @ direction)[:, 0]
            halves = []
            for leaf in leaves:
                half = len(leaf) // 2
                order = np.argpartition(place[leaf], half)
                halves += [leaf[order[half:]], leaf[order[:half]]]
            leaves = halves
        for leaf in leaves:
            part = Z[leaf]
            length = np.einsum("ij,ij->i", part, part)
            found = length[:, None] + length - 2.0 * (part @ part.T)
            np.fill_diagonal(found, np.inf)
            at = np.argpartition(found, k - 1, axis=1)[:, :k]
            _join(square, number, leaf, np.take_along_axis(found, at, axis=1), leaf[at])
    size = max(2_000_000 // (k * k * max(p // 8, 1)), 64)
    known = number.copy()
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n), dtype=np.int32)
        candidates = known[known[rows]].reshape(len(rows), -1)  # (m, k * k)
        gap = Z[candidates] - Z[rows, None]
        found = np.einsum("ijk,ijk->ij", gap, gap)
        found[candidates == rows[:, None]] = np.inf
        _join(square, number, rows, found, candidates)
    gap = np.empty((n, k))
    for j in range(k):
        gap[:, j] = np.sqrt(((X - X[number[:, j]]) ** 2).sum(axis=1))
    order = np.argsort(gap, axis=1, kind="stable")
    return np.take_along_axis(gap, order, axis=1), np.take_along_axis(number, order, axis=1).astype(np.int64)


def _join(square: np.ndarray, number: np.ndarray, rows: np.ndarray, new: np.ndarray, whose: np.ndarray) -> None:
    """Keep for each of `rows` the k nearest of those known and the new ones (m, c), each once."""
    k = square.shape[1]
    both = np.concatenate([square[rows], new.astype(np.float32)], axis=1)
    names = np.concatenate([number[rows], whose], axis=1)
    order = np.lexsort((both, names), axis=1)
    names, both = np.take_along_axis(names, order, axis=1), np.take_along_axis(both, order, axis=1)
    both[:, 1:][names[:, 1:] == names[:, :-1]] = np.inf
    best = np.argpartition(both, k - 1, axis=1)[:, :k]
    square[rows], number[rows] = np.take_along_axis(both, best, axis=1), np.take_along_axis(names, best, axis=1)


def graph(X: np.ndarray, k: int, seed: int = 0, threads: int | None = None) -> Any:
    """Symmetric CSR weights (n, n): exp(-r^2 / (s_i s_j)) between neighbours, s the distance to the k-th of a row.

    Each row thus has its own scale (Zelnik-Manor and Perona 2004), and rows in thin and in dense places are alike.
    """
    n = len(X)
    k = min(k, n - 1)
    if k < 1:
        return sparse.csr_matrix((n, n))
    distance, number = neighbors(X, k, seed, threads)
    reach = distance[:, -1]
    least = 1e-6 * float(np.median(reach)) or 1e-12  # rows that stand on each other have a scale all the same
    reach = np.maximum(reach, least)
    with np.errstate(under="ignore"):
        weight = np.exp(-(distance**2) / (reach[:, None] * reach[number]))
    start = np.arange(0, n * k + 1, k)
    W = sparse.csr_matrix((np.maximum(weight, 1e-12).ravel(), number.ravel(), start), shape=(n, n))
    return W.maximum(W.T).tocsr()


def solve(A: Any, B: np.ndarray, tol: float = 1e-5, most: int = 1000) -> np.ndarray:
    """X (n, k) with A X = B by conjugate gradients, all columns at once; A symmetric and positive definite."""
    X, R = np.zeros_like(B), B.copy()
    P, size = R.copy(), np.einsum("ij,ij->j", R, R)
    goal = np.maximum(size, 1e-300) * tol**2
    for _ in range(most):
        if (size <= goal).all():
            return X
        AP = A @ P
        step = size / np.maximum(np.einsum("ij,ij->j", P, AP), 1e-300)
        X += step * P
        R -= step * AP
        new = np.einsum("ij,ij->j", R, R)
        P *= new / np.maximum(size, 1e-300)
        P += R
        size = new
    warnings.warn(f"The labels have not settled after {most} steps.", stacklevel=2)
    return X


def normalised(W: Any) -> Any:
    """D^-1/2 W D^-1/2 of the weights W."""
    root = 1.0 / np.sqrt(np.maximum(np.asarray(W.sum(axis=1)).ravel(), 1e-300))
    scale = sparse.diags(root)
    return (scale @ W @ scale).tocsr()


def reached(W: Any, labelled: np.ndarray) -> np.ndarray:
    """(n,) bool: rows that some path joins to a labelled one."""
    from scipy.sparse.csgraph import connected_components

    count, part = connected_components(W, directed=False)
    known = np.zeros(count, bool)
    known[part[labelled]] = True
    return known[part]


def balanced(F: np.ndarray, share: np.ndarray, power: float, rounds: int = 20) -> np.ndarray:
    """Rows of F (n, k) summing to 1, with column masses pulled towards the `share` (k,) of the classes.

    power 0 leaves the masses as they are, 1 makes them equal to the shares (class mass normalisation; Zhu et al. 2003).
    """
    F = np.maximum(F, 0.0) + 1e-12
    F /= F.sum(axis=1, keepdims=True)
    for _ in range(rounds if power > 0 else 0):
        mass = F.mean(axis=0)
        F *= (share / np.maximum(mass, 1e-12)) ** power
        F /= F.sum(axis=1, keepdims=True)
    return F
