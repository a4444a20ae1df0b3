"""Small crowds of rows so far from all others that they are odd, however well they vouch for each other."""

from __future__ import annotations

import numpy as np

LOOKED_AT = 1500  # rows whose distances to each other are looked at
LARGEST = 0.1  # share of the rows that may be in such crowds together
FAR = 3.0  # times the reach of all other rows that lie between
REACH = 0.95  # share of the other rows that the reach holds
FEWEST = 3  # single rows are left to the detectors


def far(X: np.ndarray, measures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n,) bool: rows of X (n, p) in crowds far away.

    Columns are put to one scale by their middle half, which a crowd of a tenth of the rows does not bend. The rows'
    single-linkage tree is then walked down from its root along the larger branch: as long as the smaller one is small
    and the gap to it is `FAR` times the distance that most of the other rows keep from their middle, it is far away.

    measures : (p,) bool, columns that are numbers: between the levels of a category there is no far.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import cdist

    n = len(X)
    out = np.zeros(n, dtype=bool)
    X = X[:, measures]
    low, middle, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0) if n >= 20 else np.zeros((3, X.shape[1]))
    wide = high - low > 1e-9 * np.maximum(np.abs(high), np.abs(low))
    if not wide.any():
        return out
    X = (X - middle)[:, wide] / (high - low)[wide]
    rows = np.arange(n) if n <= LOOKED_AT else np.sort(random.choice(n, LOOKED_AT, replace=False))
    some = X[rows]
    m = len(rows)
    merges = linkage(some, method="single")
    size = np.concatenate([np.ones(m), merges[:, 3]])
    here, away = 2 * m - 2, np.zeros(m, dtype=bool)
    while here >= m:
        gap = merges[here - m, 2]
        small, here = sorted(merges[here - m, :2].astype(int).tolist(), key=lambda node: size[node])
        less, rest = _under(merges, small, m), some[_under(merges, here, m)]
        reach = float(np.quantile(np.linalg.norm(rest - np.median(rest, axis=0), axis=1), REACH))
        if away.sum() + len(less) > LARGEST * m or gap < FAR * reach:
            break
        away[less] = True
    if not away.any():
        return out
    # Rows that were not looked at go with the nearest one that was.
    for start in range(0, n, 4096):
        out[start : start + 4096] = away[cdist(X[start : start + 4096], some).argmin(axis=1)]
    return out if out.sum() >= FEWEST else np.zeros(n, dtype=bool)


def _under(merges: np.ndarray, node: int, m: int) -> np.ndarray:
    """Numbers of the rows under a node of the tree of m rows."""
    found, ahead = [], [node]
    while ahead:
        one = ahead.pop()
        if one < m:
            found.append(one)
        else:
            ahead += [int(merges[one - m, 0]), int(merges[one - m, 1])]
    return np.array(found)
