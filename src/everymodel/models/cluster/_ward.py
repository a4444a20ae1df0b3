"""Plumbing: the tree of Ward's method in memory that grows with the rows, not with their square."""

from __future__ import annotations

import numpy as np

_CELLS = 1 << 18  # costs held at once


def ward_tree(X: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Merges of Ward's method on the rows X (n, p): children (n - 1, 2) and heights (n - 1,), in rising order.

    Node i < n is row i, node n + t the t-th merge; a height is sqrt(2 a b / (a + b)) times the distance of the two
    centroids of a and b rows, as scipy has it. All pairs that are each other's nearest are merged at once, which gives
    the same tree as one pair at a time, for a merge never comes closer to a third group than its parts were (Bruynooghe
    1978); so a group must only look again when its nearest was merged.
    """
    n = len(X)
    unique, inverse, counts = np.unique(X, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.ravel()
    left, right, heights = _equal_rows(inverse, n)
    # Node of each different row: the last merge of its copies, or the row.
    node = np.zeros(len(unique), dtype=np.int64)
    node[inverse] = np.arange(n)
    for t, i in enumerate(right):
        node[inverse[i]] = n + t
    true = unique - np.median(unique, axis=0)  # (m, p) centroids; far rows must not cost the others their digits
    # Equal distances (levels, grids) would leave one pair per round; a tiny push lets many pairs find each other.
    push = np.random.default_rng(seed).normal(size=true.shape) * (1e-9 * np.sqrt(np.mean(true**2)))
    pushed, size = true + push, counts.astype(np.float64)
    near, todo = np.zeros(len(true), dtype=np.int64), np.arange(len(true))
    made = n + len(left)
    while len(true) > 1:
        m = len(true)
        near[todo] = _nearest(pushed, size, todo)
        i = np.flatnonzero((near[near] == np.arange(m)) & (np.arange(m) < near))
        if not len(i):  # rounding has made a circle; the closest pair of it is as good as any
            gap = ((pushed - pushed[near]) ** 2).sum(axis=1) * size * size[near] / (size + size[near])
            i = gap.argmin()[None]
        j = near[i]
        total = size[i] + size[j]
        gap = true[i] - true[j]
        heights += np.sqrt(2 * size[i] * size[j] / total * np.einsum("ij,ij->i", gap, gap)).tolist()
        left += node[i].tolist()
        right += node[j].tolist()
        keep = np.ones(m, bool)
        keep[i] = keep[j] = False
        place = np.cumsum(keep) - 1
        place[~keep] = -1
        share = (size[i] / total)[:, None]
        true = np.concatenate([true[keep], share * true[i] + (1 - share) * true[j]])
        pushed = np.concatenate([pushed[keep], share * pushed[i] + (1 - share) * pushed[j]])
        size = np.concatenate([size[keep], total])
        node = np.concatenate([node[keep], made + np.arange(len(i))])
        made += len(i)
        near = np.concatenate([place[near[keep]], np.full(len(i), -1)])
        todo = np.flatnonzero(near < 0)
    return _ordered(np.array([left, right], dtype=np.int64).reshape(2, -1).T, np.array(heights), n)


def _equal_rows(inverse: np.ndarray, n: int) -> tuple[list[int], list[int], list[float]]:
    """Merges of equal rows, at height 0: each further copy joins those before it."""
    left: list[int] = []
    right: list[int] = []
    last: dict[int, int] = {}
    if len(inverse) == 0 or inverse.max() + 1 == n:
        return left, right, []
    for i, u in enumerate(inverse.tolist()):
        if u in last:
            left.append(last[u])
            right.append(i)
            last[u] = n + len(left) - 1
        else:
            last[u] = i
    return left, right, [0.0] * len(left)


def _nearest(centers: np.ndarray, size: np.ndarray, todo: np.ndarray) -> np.ndarray:
    """For each group in `todo`, the other group whose merge with it costs least."""
    lengths = np.einsum("ij,ij->i", centers, centers)
    alike = bool((size == size[0]).all())
    out = np.empty(len(todo), dtype=np.int64)
    step = max(_CELLS // len(centers), 1)
    for start in range(0, len(todo), step):
        at = todo[start : start + step]
        cost = centers[at] @ (-2.0 * centers.T)
        cost += lengths
        if not alike:  # times b / (a + b); the factor a is the same for all
            cost += lengths[at, None]
            cost *= size
            cost /= size[at, None] + size
        cost[np.arange(len(at)), at] = np.inf
        out[start : start + step] = cost.argmin(axis=1)
    return out


def _ordered(children: np.ndarray, heights: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Merges sorted by height; rounding must not put a merge below its parts."""
    tall = heights.tolist()
    for t, (a, b) in enumerate(children.tolist()):
        for part in (a, b):
            if part >= n and tall[part - n] > tall[t]:
                tall[t] = tall[part - n]
    heights = np.array(tall)
    order = np.argsort(heights, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    children = children[order]
    inner = children >= n
    children[inner] = n + place[children[inner] - n]
    children.sort(axis=1)
    return children, heights[order]
