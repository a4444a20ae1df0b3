"""Plumbing: centres that make the sum of squared distances small, found with few passes over the rows.

Instead of starting again and again, one solution is improved by split-merge moves, which leave poor local optima:
centres are added where a group split in two gains most, and as many are taken away where that costs least (cf.
breathing k-means, Fritzke 2020). What splits gain and merges cost is estimated first, so that little time is spent
where nothing can be won. Most of it happens on samples; all rows then only polish. benchmarks/kmeans.py holds the
settings to account.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

_CELLS = 1 << 16  # distances held at once: what fits the cache
_FIRST, _PER_GROUP = 600, 30  # rows of the first sample: at least, and per group
_SECOND, _PER_GROUP_2 = 2000, 150  # of the second
_ALL = 4  # a sample that is not smaller than this part of all rows is not worth drawing
_WORTH = 1e-5  # of the error: iterations that win less are not worth their time; all of them win about 3e-4
_FEW = 15_000  # distances up to which rows are moved one by one in the end


class Rows:
    """Rows (n, p) that are to be grouped, with a column of ones, so that one product gives all distances."""

    __slots__ = ("X", "n", "p", "squares", "wide")

    def __init__(self, X: np.ndarray):
        self.n, self.p = X.shape
        self.wide = np.ones((self.n, self.p + 1), X.dtype)
        self.wide[:, :-1] = X
        self.X = np.ascontiguousarray(X)
        self.squares = np.einsum("ij,ij->i", X, X)

    def some(self, rows: int, rng: np.random.Generator) -> Rows:
        """A sample of the rows."""
        return self if rows >= self.n else Rows(self.X[rng.choice(self.n, rows, replace=False)])

    def gaps(self, centers: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices, and squared distances less the rows' squared lengths."""
        factor = np.empty((self.p + 1, len(centers)), self.X.dtype)
        factor[:-1] = -2.0 * centers.T
        factor[-1] = np.einsum("ij,ij->i", centers, centers)
        size = max(_CELLS // len(centers), 64)
        for start in range(0, self.n, size):
            here = slice(start, start + size)
            yield here, self.wide[here] @ factor

    def labels(self, centers: np.ndarray) -> np.ndarray:
        """Number of the nearest centre (n,)."""
        label = np.empty(self.n, dtype=np.intp)
        for here, gap in self.gaps(centers):
            gap.argmin(axis=1, out=label[here])
        return label

    def nearest(self, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(label, squared distance to the nearest centre, to the second), (n,) each."""
        k = len(centers)
        label = np.empty(self.n, dtype=np.intp)
        first, second = np.empty(self.n, self.X.dtype), np.full(self.n, np.inf, self.X.dtype)
        for here, gap in self.gaps(centers):
            start = np.arange(len(gap)) * k
            label[here] = best = gap.argmin(axis=1)
            flat, values = start + best, gap.ravel()
            first[here] = values[flat]
            if k > 1:
                values[flat] = np.inf
                second[here] = values[start + gap.argmin(axis=1)]
        first += self.squares
        second += self.squares
        return label, np.maximum(first, 0, out=first), np.maximum(second, 0, out=second)

    def sums(self, label: np.ndarray, k: int) -> np.ndarray:
        """Sum of the rows of each group (k, p). Which way is quickest was measured."""
        if self.p <= 4:
            return np.array([np.bincount(label, x, k) for x in self.X.T], self.X.dtype).T
        if self.n * k <= 30_000:
            return (np.arange(k)[:, None] == label).astype(self.X.dtype) @ self.X
        ones = csr_matrix((np.ones(self.n, self.X.dtype), label, np.arange(self.n + 1)), (self.n, k))
        return ones.T @ self.X

    def means(self, label: np.ndarray, centers: np.ndarray) -> np.ndarray:
        """The means of the groups (k, p); an empty group gets a row that is far from its own centre."""
        k = len(centers)
        sizes = np.bincount(label, minlength=k)
        total = self.sums(label, k)
        empty = np.flatnonzero(sizes == 0)
        if len(empty):
            first = self.nearest(centers)[1]
            total[empty] = self.X[np.argpartition(first, -len(empty))[-len(empty) :]]
            sizes[empty] = 1
        return total / sizes[:, None].astype(self.X.dtype)


def spread_out(rows: Rows, k: int, rng: np.random.Generator) -> np.ndarray:
    """k rows far from each other, each drawn by its squared distance to those drawn before (Arthur 2007)."""
    X, squares = rows.X, rows.squares
    at = int(rng.integers(rows.n))
    chosen, left = [at], np.full(rows.n, np.inf, X.dtype)
    for draw in rng.random(k - 1):
        gap = X @ X[at]
        gap *= -2.0
        gap += squares
        gap += squares[at]
        np.minimum(left, gap, out=left)
        np.maximum(left, 0, out=left)
        total = np.cumsum(left, dtype=np.float64)
        at = min(int(np.searchsorted(total, draw * total[-1], side="right")), rows.n - 1)
        chosen.append(at)
    return X[chosen]


def lloyd(rows: Rows, centers: np.ndarray, iterations: int, tol: float, least: float = 0.0) -> tuple[np.ndarray, int]:
    """Lloyd's iterations until all centres together move by no more than `tol` (squared); (centers, how many).

    Moving centres to the means wins the sum of squares of the moves, each times its rows: below `least` it ends, too.
    """
    for i in range(iterations):
        label = rows.labels(centers)
        fresh = rows.means(label, centers)
        moved = ((fresh - centers) ** 2).sum(axis=1)
        centers = fresh
        if moved.sum() <= tol or (least > 0 and moved @ np.bincount(label, minlength=len(moved)) < least):
            return centers, i + 1
    return centers, iterations


def halves(
    rows: Rows, label: np.ndarray, centers: np.ndarray, each: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every group split in two among its own rows: centres a and b (k, p), and by how much that lowers the error (k,).

    `each` (k,) is the error of each group. Its rows are compared with its own two centres alone, so that this takes as
    long for many groups as for few.
    """
    k = len(centers)
    sizes = np.bincount(label, minlength=k)
    push = rng.normal(size=centers.shape)
    lengths = np.sqrt(np.maximum(np.einsum("ij,ij->i", push, push), 1e-30))
    push *= (np.sqrt(each / np.maximum(sizes, 1)) / lengths)[:, None]
    a, b = (centers + push).astype(centers.dtype), (centers - push).astype(centers.dtype)
    whole = rows.sums(label, k)
    count = rest = sizes
    for _ in range(3):
        away, middle = b - a, (np.einsum("ij,ij->i", b, b) - np.einsum("ij,ij->i", a, a)) / 2
        side = np.einsum("ij,ij->i", rows.X, away[label]) > middle[label]  # (n,) nearer to b
        part = rows.sums(label + k * side, 2 * k)[k:]
        count = np.bincount(label, side, k)
        rest = sizes - count
        b = np.where(count[:, None] > 0, part / np.maximum(count, 1)[:, None], b).astype(centers.dtype)
        a = np.where(rest[:, None] > 0, (whole - part) / np.maximum(rest, 1)[:, None], a).astype(centers.dtype)
    apart = ((a - b) ** 2).sum(axis=1)
    return a, b, np.where((count > 0) & (rest > 0), count * rest / np.maximum(sizes, 1) * apart, 0.0)


def improve(
    rows: Rows, centers: np.ndarray, rng: np.random.Generator, *, tol: float, rounds: int, hope: float, first_all: bool
) -> np.ndarray:
    """Better centres by split-merge moves, while the estimates or the last move promise something.

    A move splits the groups that gain most by it and takes as many centres away: in turn by joining groups as Ward
    does, and by dropping the centres that are missed least. It is tried for as many groups as win more than `hope`
    times what the merges cost; both estimates hold all other groups still, so they are too careful, and even below 1
    there may be something to be had. `first_all`: the first move splits every group.
    """
    k = len(centers)
    label, first, second = rows.nearest(centers)
    error, most, failed = float(first.sum(dtype=np.float64)), 12, 0
    tired = np.zeros(k, bool)  # splitting these by themselves has won nothing since the last success
    for _ in range(rounds if k > 1 else 0):
        missed = np.bincount(label, second - first, k)  # what taking a centre away costs
        a, b, gain = halves(rows, label, centers, np.bincount(label, first, k), rng)
        gain[tired] = 0
        split = np.argsort(-gain)
        width = min(int((gain[split] > hope * np.sort(missed)).sum()), most)
        if first_all and not failed:
            width = k
        if width == 0:
            break
        wide = centers.copy()
        wide[split[:width]] = a[split[:width]]
        wide, _ = lloyd(rows, np.concatenate([wide, b[split[:width]]]), 4, tol)
        l2, f2, s2 = rows.nearest(wide)
        if failed % 2 == 0:
            trial, cost = _join(wide, np.bincount(l2, minlength=len(wide)), k)
        else:
            trial, cost = _drop(wide, np.bincount(l2, s2 - f2, len(wide)), k)
        if float(f2.sum(dtype=np.float64)) + 0.5 * cost < error:  # about half of the cost comes back
            trial, _ = lloyd(rows, trial, 7, tol)
            l2, f2, s2 = rows.nearest(trial)
            found = float(f2.sum(dtype=np.float64))
            if found < error * (1 - 1e-5):
                centers, label, first, second, error = trial, l2, f2, s2, found
                tired[:] = False
                continue
        failed += 1
        if failed == (3 if first_all else 2):
            break
        if width == 1:
            tired[split[0]] = True
        most = max(width // 2, 1)
    return centers


def _join(centers: np.ndarray, sizes: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """(k centres, by how much the error grows): those pairs become one that cost least, one after the other (Ward)."""
    c, s = centers.astype(np.float64), np.maximum(sizes, 1e-9).astype(np.float64)
    lengths = np.einsum("ij,ij->i", c, c)
    cost = (lengths[:, None] + lengths - 2 * c @ c.T) * (s[:, None] * s / (s[:, None] + s))
    np.fill_diagonal(cost, np.inf)
    alive, total = np.ones(len(c), bool), 0.0
    for _ in range(len(c) - k):
        i, j = divmod(int(cost.argmin()), len(c))
        total += max(float(cost[i, j]), 0.0)
        c[i] = (c[i] * s[i] + c[j] * s[j]) / (s[i] + s[j])
        s[i] += s[j]
        alive[j] = False
        cost[j], cost[:, j] = np.inf, np.inf
        gap = c - c[i]
        row = np.einsum("ij,ij->i", gap, gap) * (s * s[i] / (s + s[i]))
        row[~alive] = row[i] = np.inf
        cost[i], cost[:, i] = row, row
    return c[alive].astype(centers.dtype), total


def _drop(centers: np.ndarray, missed: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """(k centres, by how much the error grows at most) after taking away those that are missed least.

    None goes next to one that has just gone, for it is needed now.
    """
    more = len(centers) - k
    order = np.argsort(missed)
    gone: list[int] = []
    frozen: set[int] = set()
    for j in order.tolist():
        if len(gone) == more:
            break
        if j not in frozen:
            gone.append(j)
            gap = ((centers - centers[j]) ** 2).sum(axis=1)
            gap[gone] = np.inf
            frozen.add(int(gap.argmin()))
    gone += [j for j in order.tolist() if j not in gone][: more - len(gone)]
    keep = np.ones(len(centers), bool)
    keep[gone] = False
    return centers[keep], float(missed[gone].sum())


def exchange(rows: Rows, centers: np.ndarray, label: np.ndarray, rounds: int) -> np.ndarray:
    """Centres after moving rows one by one where that lowers the inertia (Hartigan and Wong 1979).

    Taking a row out of a group of s rows wins s / (s - 1) of its squared distance, and adding it costs s / (s + 1) of
    it: with few rows this finds better optima than Lloyd, which compares plain distances. Moves that share no group are
    made together.
    """
    k, every = len(centers), np.arange(rows.n)
    for _ in range(rounds):
        sizes = np.bincount(label, minlength=k).astype(rows.X.dtype)
        cost = np.concatenate([g for _, g in rows.gaps(centers)])
        cost += rows.squares[:, None]
        own = cost[every, label] * (sizes / np.maximum(sizes - 1, 1e-6))[label]
        own[sizes[label] <= 1] = 0
        cost *= sizes / (sizes + 1)
        cost[every, label] = np.inf
        to = cost.argmin(axis=1)
        gain = own - cost[every, to]
        movers = np.flatnonzero(gain > 1e-5 * own)
        if not len(movers):
            break
        touched: set[int] = set()
        label = label.copy()
        centers = centers.copy()
        for i in movers[np.argsort(-gain[movers])]:
            source, target = int(label[i]), int(to[i])
            if source not in touched and target not in touched:
                touched |= {source, target}
                label[i] = target
                x, s, t = rows.X[i], sizes[source], sizes[target]
                centers[source] = (centers[source] * s - x) / (s - 1)
                centers[target] = (centers[target] * t + x) / (t + 1)
    return centers


def solve(
    X: np.ndarray, k: int, rng: np.random.Generator, max_iter: int, tol: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """k centres for the rows X (n, p), which are centred: (centers (k, p), label (n,), iterations on all rows).

    tol : squared distance that all centres together may still move in the last iteration.
    """
    rows = Rows(X)
    size = max(_FIRST, _PER_GROUP * k)
    first = rows.some(size, rng)
    centers, _ = lloyd(first, spread_out(first, k, rng), 8, tol)
    if rows.n > _ALL * size:
        centers = improve(first, centers, rng, tol=tol, rounds=12, hope=0.25, first_all=True)
        more = max(_SECOND, _PER_GROUP_2 * k)
        if rows.n > more:
            second = rows.some(more, rng)
            centers, _ = lloyd(second, centers, 7, tol)
            centers = improve(second, centers, rng, tol=tol, rounds=6, hope=0.5, first_all=False)
        centers, _ = lloyd(rows, centers, 7, tol)
        centers = improve(rows, centers, rng, tol=tol, rounds=2, hope=0.7, first_all=False)
    else:
        centers, _ = lloyd(rows, centers, 7, tol)
        centers = improve(rows, centers, rng, tol=tol, rounds=12, hope=0.25, first_all=True)
    least = _WORTH * float(rows.nearest(centers)[1].sum(dtype=np.float64)) if tol > 0 else 0.0
    centers, done = lloyd(rows, centers, max_iter, tol, least)
    label = rows.labels(centers)
    if rows.n * k <= _FEW:
        label = rows.labels(exchange(rows, centers, label, 25))
    return centers, label, done
