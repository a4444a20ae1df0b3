"""Plumbing of the methods that follow density: exact neighbours, and the tree that ties the rows together."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import DataError

_LARGEST = 1e150  # squares of larger numbers overflow
_CELLS = 2_000_000  # distances held in memory at once
_FEW_COLUMNS = 8  # up to here a tree of boxes finds rows sooner than products of matrices do


def measurable(X: np.ndarray) -> np.ndarray:
    """X (n, p) as it is stored here; DataError where its values are too large for distances."""
    most = float(np.abs(X).max(initial=0.0))
    if most > _LARGEST:
        raise DataError(f"The rows hold numbers up to {most:.3g}, expected at most {_LARGEST:g}: scale them first.")
    return np.ascontiguousarray(X)


def neighbours(X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and numbers (n, k) of the k rows of X (n, p) closest to each row, itself first.

    Scikit-learn finds them, at times by products that round; they are measured again, so that rows that are equal have
    the distance 0 and steps find the same distances.
    """
    from sklearn.neighbors import NearestNeighbors

    n, p = X.shape
    number = NearestNeighbors(n_neighbors=k).fit(X).kneighbors(X, return_distance=False)  # (n, k)
    distance = np.empty(number.shape)
    size = max(1, _CELLS // max(k * p, 1))
    for start in range(0, n, size):
        gap = X[start : start + size, None, :] - X[number[start : start + size]]
        distance[start : start + size] = np.sqrt(np.einsum("ijk,ijk->ij", gap, gap))
    order = np.argsort(distance, axis=1, kind="stable")
    return np.take_along_axis(distance, order, axis=1), np.take_along_axis(number, order, axis=1)


def spanning_tree(X: np.ndarray, neighbors: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The minimum spanning tree of mutual reachability.

    Rows i and j are max(reach_i, reach_j, |x_i - x_j|) apart, where a row's reach is the distance to its `neighbors`-th
    nearest row, itself counted. Boruvka's method: every group of rows is joined to the one nearest to it until one is
    left. Lists of near neighbours settle most joins; for the others rows are searched outside of their group, the
    largest group excepted, as the others will come to it.

    Returns
    -------
    ends (n - 1, 2) row numbers, length (n - 1,), reach (n,), and the reach (n,) that one neighbour less would give: the
    most that is left of it when a row comes close.
    """
    n = len(X)
    distance, number = neighbours(X, min(max(neighbors, 16), n))
    reach = distance[:, neighbors - 1].copy()
    beyond = np.maximum(reach, distance[:, -1])  # rows that are not listed are at least this far away
    tie = np.maximum(np.maximum(distance, reach[:, None]), reach[number])
    order = np.argsort(tie, axis=1, kind="stable")
    tie, number = np.take_along_axis(tie, order, axis=1), np.take_along_axis(number, order, axis=1)
    group, k, every = np.arange(n), n, np.arange(n)
    ends: list[tuple[int, int]] = []
    lengths: list[float] = []
    while k > 1:
        outside = group[number] != group[:, None]
        place = outside.argmax(axis=1)
        known = outside[every, place]
        length = np.where(known, tie[every, place], np.inf)
        order = np.lexsort((length, group))
        first = order[np.searchsorted(group[order], np.arange(k))]  # of each group the row with the shortest way out
        start, end, best = first, number[first, place[first]], length[first]
        open_rows = beyond < best[group]  # rows that may have a shorter way out than the group's
        doubtful = np.bincount(group[open_rows], minlength=k) > 0
        settled = ~doubtful
        if settled.sum() < max(0.1 * k, 1):  # the lists are used up: search
            sizes = np.bincount(group, minlength=k)
            for g in np.flatnonzero(doubtful & (every[:k] != sizes.argmax())):
                found = _way_out(X, reach, group == g, np.flatnonzero((group == g) & open_rows), best[g])
                if found is not None:
                    start[g], end[g], best[g] = found
                settled[g] = True
        group, k = _join(group, k, start, end, best, np.flatnonzero(settled), ends, lengths)
    return np.array(ends, dtype=np.int64).reshape(-1, 2), np.array(lengths), reach, distance[:, max(neighbors - 2, 0)]


def _join(
    group: np.ndarray,
    k: int,
    start: np.ndarray,
    end: np.ndarray,
    length: np.ndarray,
    chosen: np.ndarray,
    ends: list[tuple[int, int]],
    lengths: list[float],
) -> tuple[np.ndarray, int]:
    """Add the chosen groups' ways out to the tree, shortest first, none that closes a circle; groups renumbered."""
    parent = list(range(k))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for g in chosen[np.argsort(length[chosen], kind="stable")].tolist():
        a, b = root(int(group[start[g]])), root(int(group[end[g]]))
        if a != b:
            parent[a] = b
            ends.append((int(start[g]), int(end[g])))
            lengths.append(float(length[g]))
    _, new = np.unique([root(i) for i in range(k)], return_inverse=True)
    return new[group], int(new.max()) + 1


def _way_out(
    X: np.ndarray, reach: np.ndarray, inside: np.ndarray, rows: np.ndarray, best: float
) -> tuple[int, int, float] | None:
    """The shortest tie below `best` between `rows` of a group and the rows that are not `inside` it (n,)."""
    out = np.flatnonzero(~inside)
    search = _by_boxes if X.shape[1] <= _FEW_COLUMNS else _by_products
    found = None
    for i, j in search(X, reach, rows, out, best):
        gap = X[i] - X[j]
        exact = max(float(np.sqrt(np.einsum("i,i->", gap, gap))), float(reach[i]), float(reach[j]))
        if exact < best:
            best, found = exact, (i, j, exact)
    return found


def _by_products(X: np.ndarray, reach: np.ndarray, rows: np.ndarray, out: np.ndarray, best: float) -> Any:
    """Candidates (i, j) for `_way_out`: of each slice of rows the best pair."""
    middle = X[out].mean(axis=0)  # products round less near zero
    other = X[out] - middle
    lengths = np.einsum("ij,ij->i", other, other)
    table = np.concatenate([-2.0 * other, lengths[:, None]], axis=1).T.copy()  # (p + 1, m)
    reach_out = reach[out] ** 2
    size = max(1, 500_000 // len(out))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        part = part[reach[part] < best]
        if not len(part):
            continue
        mine = X[part] - middle
        square = np.concatenate([mine, np.ones((len(part), 1))], axis=1) @ table  # (size, m)
        square += np.einsum("ij,ij->i", mine, mine)[:, None]
        np.maximum(square, reach_out, out=square)
        j = square.argmin(axis=1)
        tie = np.sqrt(np.maximum(square[np.arange(len(part)), j], reach[part] ** 2))
        i = int(tie.argmin())
        best = min(best, float(tie[i]) * (1 + 1e-9))
        yield int(part[i]), int(out[j[i]])


def _by_boxes(X: np.ndarray, reach: np.ndarray, rows: np.ndarray, out: np.ndarray, best: float) -> Any:
    """The same with a tree: a few rows first, whose best tie then bounds the search of the others."""
    from scipy.spatial import cKDTree

    tree, other, asked, ask = cKDTree(X[out]), len(out), rows[:: max(1, len(rows) // 32)], 1
    sampled = False
    while len(asked):
        ask = min(ask, other)
        d, j = tree.query(X[asked], k=ask, distance_upper_bound=best * (1 + 1e-9))
        d, j = d.reshape(len(asked), ask), j.reshape(len(asked), ask)
        row = out[np.minimum(j, other - 1)]
        tie = np.where(j < other, np.maximum(np.maximum(d, reach[asked][:, None]), reach[row]), np.inf)
        i, place = np.unravel_index(int(tie.argmin()), tie.shape)
        if tie[i, place] < best:
            best = float(tie[i, place])
            yield int(asked[i]), int(row[i, place])
        if not sampled:
            sampled, asked, ask = True, rows, 2
        elif ask == other:
            return
        else:  # rows not asked for are at least as far as the last one, and only nearer ones matter
            asked, ask = asked[np.maximum(d[:, -1], reach[asked]) < best], 4 * ask
