"""How far a map can be trusted, and which columns of the table can be read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.seeds import derive
from everymodel.workflow.unsupervised.material import Material

NEIGHBOURS = (5, 10, 20, 50)  # how many are looked at
ROWS = 20_000  # rows among which neighbours are looked for, at most
RANKS = 3_000_000  # pairs that are ranked
PAIRS = 20_000  # pairs whose distances are compared
COLUMNS = 300  # columns looked at, whether they can be read off the map


@dataclass
class Quality:
    """Figures of one map, each with its 95 % interval."""

    near: float  # mean of trustworthiness and continuity over all numbers of neighbours
    trust: tuple[float, float, float]
    continuity: tuple[float, float, float]
    far: tuple[float, float, float]  # rank correlation of distances
    curve: list[dict[str, float]]  # neighbours, trustworthiness, continuity


class Judge:
    """Compares maps of the same rows X (n, p) with them: the same rows and pairs are asked of each.

    Trustworthiness and continuity (Venna and Kaski 2001) count, of the k rows nearest to a row on the map and in the
    data, those that are not among the k nearest on the other side, by how far they are off. They are found for as many
    rows as there is time for, each against up to 20,000 others.
    """

    def __init__(self, X: np.ndarray, seed: int):
        rng = np.random.default_rng(derive(seed, "judge"))
        n = len(X)
        self.rows = np.arange(n) if n <= ROWS else np.sort(rng.choice(n, ROWS, replace=False))
        m = len(self.rows)
        count = min(m, max(RANKS // m, 150), 1500)
        self.asked = np.arange(m) if count == m else np.sort(rng.choice(m, count, replace=False))
        X = X[self.rows]
        self.order = _orders(X, self.asked)
        self.left, self.right = _pairs(m, rng)
        self.data = _between(X, self.left, self.right)

    def __call__(self, T: np.ndarray) -> Quality:
        """Quality of places T (n, d)."""
        T = T[self.rows]
        m, asked = len(T), len(self.asked)
        there = _orders(T, self.asked)
        ranks, ranks_there = _ranks(self.order), _ranks(there)
        curve, trusts, conts = [], [], []
        for k in NEIGHBOURS:
            if 2 * m - 3 * k - 1 <= 0 or k >= m / 2:
                break
            worst = 2.0 / (k * (2 * m - 3 * k - 1))
            trust = 1.0 - worst * _beyond(ranks, there, k)
            continuity = 1.0 - worst * _beyond(ranks_there, self.order, k)
            trusts.append(trust)
            conts.append(continuity)
            curve.append(
                {"neighbours": k, "trustworthiness": float(trust.mean()), "continuity": float(continuity.mean())}
            )
        nothing = (float("nan"),) * 3
        at = min(1, len(trusts) - 1)  # ten neighbours, as is usual
        near = float(np.mean([np.mean(v) for v in (*trusts, *conts)])) if trusts else float("nan")
        trust = _interval(trusts[at], asked == m) if trusts else nothing
        continuity = _interval(conts[at], asked == m) if trusts else nothing
        return Quality(near, trust, continuity, self._far(T), curve)

    def _far(self, T: np.ndarray) -> tuple[float, float, float]:
        there = _between(T, self.left, self.right)
        if len(there) < 3 or not (np.ptp(there) > 0 and np.ptp(self.data) > 0):
            return (float("nan"),) * 3
        r = float(np.corrcoef(_rank(self.data), _rank(there))[0, 1])
        half = 1.96 * (1.0 - r * r) / np.sqrt(min(len(there), len(T)))  # pairs share rows
        return r, max(r - half, -1.0), min(r + half, 1.0)

    def pairs(self, T: np.ndarray, most: int = 600) -> list[list[float]]:
        """[distance in the data, distance on the map] of some pairs."""
        there = _between(T[self.rows], self.left, self.right)
        return np.column_stack([self.data, there])[:most].tolist()


def _orders(X: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Rows (a, m - 1) by distance from each row asked, nearest first, itself left out."""
    centred = X - X.mean(axis=0)
    squares = np.einsum("ij,ij->i", centred, centred)
    m = len(X)
    out = np.empty((len(asked), m - 1), dtype=np.int32)
    for start in range(0, len(asked), 256):
        rows = asked[start : start + 256]
        far = squares - 2.0 * (centred[rows] @ centred.T)
        far[np.arange(len(rows)), rows] = -np.inf
        out[start : start + 256] = np.argsort(far, axis=1, kind="stable")[:, 1:]
    return out


def _ranks(order: np.ndarray) -> np.ndarray:
    """Rank (a, m), from 1, of each row in an order (a, m - 1); 0 for the row itself."""
    a, m = order.shape
    ranks = np.zeros((a, m + 1), dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(1, m + 1, dtype=np.int32)[None], axis=1)
    return ranks


def _beyond(ranks: np.ndarray, order: np.ndarray, k: int) -> np.ndarray:
    """(a,) by how much the k first of `order` rank behind k."""
    found = np.take_along_axis(ranks, order[:, :k], axis=1).astype(np.float64)
    return np.maximum(found - k, 0.0).sum(axis=1)


def _interval(values: np.ndarray, all_rows: bool) -> tuple[float, float, float]:
    mean = float(values.mean())
    half = 1.96 * float(values.std()) / np.sqrt(len(values))
    return mean, mean - half, min(mean + half, 1.0)


def _pairs(m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if m * (m - 1) // 2 <= PAIRS:
        left, right = np.triu_indices(m, 1)
        order = rng.permutation(len(left))
        return left[order], right[order]
    left = rng.integers(0, m, PAIRS)
    return left, (left + rng.integers(1, m, PAIRS)) % m


def _between(X: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    out = np.empty(len(left))
    for start in range(0, len(left), 2000):
        gap = X[left[start : start + 2000]] - X[right[start : start + 2000]]
        out[start : start + 2000] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
    return out


def _rank(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


# ---------------------------------------------------------------------- what the map tells


def told(material: Material, T: np.ndarray, rows: np.ndarray, seed: int, most: int = 2000) -> list[dict[str, Any]]:
    """Columns that can be read off the map, best first: how much of a column its ten neighbours there tell.

    Parameters
    ----------
    T : (m, d) places of `rows` (m,) of the material.

    Returns
    -------
    [{"column", "share"}] : 1 where neighbours tell a row's value exactly, 0 where they tell nothing; those above 0.2.
    """
    from sklearn.neighbors import NearestNeighbors

    at = np.arange(len(T))
    if len(at) > most:
        at = np.sort(np.random.default_rng(derive(seed, "told")).choice(at, most, replace=False))
    k = min(10, len(at) // 3)
    if k < 1:
        return []
    near = NearestNeighbors(n_neighbors=k).fit(T[at]).kneighbors(return_distance=False)
    found = []
    columns = [c for c in material.schema.features if c.kind in ("number", "boolean", "date", "category")]
    for column in columns[:COLUMNS]:
        values = np.asarray(material.batch.columns[column.name])[rows[at]]
        if column.kind == "category":
            level = np.unique(values[values >= 0], return_counts=True)
            level = level[0][np.argsort(-level[1], kind="stable")[:20]]
            parts = [(values == one).astype(np.float64) for one in level]
        else:
            parts = [_rank_of(values.astype(np.float64))]
        usual = np.unique(values[np.isfinite(values)], return_counts=True)[1].max(initial=0) / len(values)
        if usual > 0.9:  # it says something of few rows only
            continue
        off = whole = 0.0
        for part in parts:
            known = np.isfinite(part)
            if known.sum() < 4:
                continue
            part = np.where(known, part, part[known].mean())
            gap = (part - part[near].mean(axis=1))[known]
            off += float(gap @ gap)
            whole += float(((part[known] - part[known].mean()) ** 2).sum())
        share = 1.0 - off / whole / (1.0 + 1.0 / k) if whole > 0 else 0.0
        if share > 0.2:
            found.append({"column": column.name, "share": float(min(share, 1.0))})
    return sorted(found, key=lambda one: -one["share"])


def _rank_of(values: np.ndarray) -> np.ndarray:
    """Ranks of the known values, so that a few large ones do not decide."""
    known = np.isfinite(values)
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = _rank(values[known]) / max(int(known.sum()), 1)
    return out


def colour(material: Material, name: str, rows: np.ndarray) -> dict[str, Any]:
    """A column's values in `rows`, as the report colours points with: missing ones are None."""
    column = next(c for c in material.schema.features if c.name == name)
    values = np.asarray(material.batch.columns[name])[rows]
    if column.kind == "category":
        kept = np.unique(values[values >= 0], return_counts=True)
        first = kept[0][np.argsort(-kept[1], kind="stable")]
        shown, rest = first[:8], first[8:]
        code = {int(v): i for i, v in enumerate(shown)} | {int(v): len(shown) for v in rest}
        names = [str(column.levels[int(v)]) for v in shown] + (["others"] if len(rest) else [])
        missing = len(names)
        codes = [code.get(int(v), missing) for v in values]
        return {
            "name": name,
            "kind": "category",
            "values": codes,
            "names": [*names, "missing"] if missing in codes else names,
        }
    if column.kind == "boolean":
        codes = [2 if not np.isfinite(v) else int(v) for v in values]
        return {"name": name, "kind": "category", "values": codes, "names": ["no", "yes", "missing"]}
    return {"name": name, "kind": "number", "values": [float(v) if np.isfinite(v) else None for v in values]}
