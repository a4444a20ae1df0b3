"""Plumbing: the exact nearest rows, many at a time, in numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

_FEW_COLUMNS, _BOX = 8, 256  # with more columns nearly every box has to be looked into
_ALONE = 16  # for so few rows at once, products of all rows are quicker than a walk over the boxes
_SPARE = 8  # found beyond those asked for, because boxes round sums in another order
_CELLS = 400_000  # distances held in memory at once: they should stay near the processor
_LARGEST = 1e150  # values beyond it count as it: their squares would overflow


class Search:
    """Finds the rows (m, p) closest to others, by straight distance.

    Of rows at equal distance the one that comes first is taken, and distances are sums of squared differences: the
    answer for a row does not depend on the rows beside it.
    """

    def __init__(self, rows: np.ndarray):
        self.rows = _tame(rows)
        self._boxes = _Boxes(self.rows) if rows.shape[1] <= _FEW_COLUMNS and len(rows) > 16 * _BOX else None
        self._squares = np.einsum("ij,ij->i", self.rows, self.rows)
        self._table = np.ascontiguousarray(-2.0 * self.rows.T)

    def nearest(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and row numbers (n, k) of the k rows closest to each row of X (n, p), closest first."""
        X = _tame(X)
        if self._boxes is not None and k <= _BOX // 4 and len(X) > _ALONE:
            _, number = self._boxes.nearest(X, min(k + _SPARE, len(self.rows)))
            gap = X[:, None, :] - self.rows[number]  # (n, k, p); measured as below, so that both ways agree bit for bit
            distance = np.sqrt(np.einsum("ij,ij->i", gap.reshape(-1, X.shape[1]), gap.reshape(-1, X.shape[1])))
            distance = distance.reshape(number.shape)
            order = np.lexsort((number, distance), axis=1)[:, :k]
            return np.take_along_axis(distance, order, axis=1), np.take_along_axis(number, order, axis=1)
        n, size = len(X), max(1, _CELLS // max(len(self.rows), 1))
        distance, number = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
        for start in range(0, n, size):
            part = slice(start, start + size)
            distance[part], number[part] = self._by_products(X[part], k)
        return distance, number

    def _by_products(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """|r|^2 - 2 r.x, which rounds, finds the rows that may be among the closest; those are then measured."""
        rough = X @ self._table  # (n, m) squared distance less |x|^2
        rough += self._squares
        slack = 1e-10 * (self._squares.max() + np.einsum("ij,ij->i", X, X) + 1e-300)
        possible = ~(rough > (_enough(rough, k) + slack)[:, None])  # (n, m)
        row, number = np.nonzero(possible)
        distance = np.empty(len(row))
        step = max(1, 4_000_000 // X.shape[1])
        for at in range(0, len(row), step):
            gap = X[row[at : at + step]] - self.rows[number[at : at + step]]
            distance[at : at + step] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
        order = np.lexsort((number, distance, row))
        first = np.concatenate([[0], np.cumsum(np.count_nonzero(possible, axis=1))[:-1]])
        chosen = order[first[:, None] + np.arange(k)]  # (n, k)
        return distance[chosen], number[chosen]


def search_of(step: Any) -> Search:
    """A step's `rows` made ready; kept on the step. Two threads may both make it: they get equal ones."""
    found = step.__dict__.get("_search")
    if found is None:
        found = Search(step.rows)
        object.__setattr__(step, "_search", found)
    return found


def _tame(values: np.ndarray) -> np.ndarray:
    values = np.ascontiguousarray(values, dtype=np.float64)
    return np.clip(values, -_LARGEST, _LARGEST) if np.abs(values).max(initial=0.0) > _LARGEST else values


def _enough(values: np.ndarray, k: int) -> np.ndarray:
    """(n,) numbers that at least k of each row's values (n, m) do not exceed, and not many more."""
    if k == 1:
        return values.min(axis=1)
    width = values.shape[1] // 16
    if width < 2 * k:
        return np.partition(values, k - 1, axis=1)[:, k - 1]
    least = values[:, :width].copy()  # of 16 values each the least: k of them are k values
    for i in range(1, 16):
        np.minimum(least, values[:, i * width : (i + 1) * width], out=least)
    return np.partition(least, k - 1, axis=1)[:, k - 1]


class _Boxes:
    """Rows (m, p) in boxes of about `_BOX` neighbours, so that a search looks into few of them."""

    def __init__(self, rows: np.ndarray):
        parts, done = [np.arange(len(rows))], []
        while parts:  # halve along the widest side
            part = parts.pop()
            if len(part) <= _BOX:
                done.append(np.sort(part))
                continue
            side = rows[part, int(np.ptp(rows[part], axis=0).argmax())]
            order = np.argsort(side, kind="stable")
            parts += [part[order[: len(part) // 2]], part[order[len(part) // 2 :]]]
        self.numbers = done
        self.rows = [np.ascontiguousarray(rows[part].T) for part in done]  # (p, size) each
        self.low = np.stack([part.min(axis=1) for part in self.rows])  # (boxes, p)
        self.high = np.stack([part.max(axis=1) for part in self.rows])

    def nearest(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and numbers (n, k), closest first, of equal ones the first row first."""
        n, slices = len(X), max(1, 4_000_000 // (len(self.rows) * X.shape[1]))
        if n > slices:
            found = [self.nearest(X[i : i + slices], k) for i in range(0, n, slices)]
            return np.concatenate([d for d, _ in found]), np.concatenate([i for _, i in found])
        away = np.maximum(np.maximum(self.low - X[:, None], X[:, None] - self.high), 0.0)  # (n, boxes, p)
        away = np.einsum("ijk,ijk->ij", away, away) * (1 - 1e-12)
        best = np.full((n, k), np.inf)
        number = np.zeros((n, k), dtype=np.int64)
        home = away.argmin(axis=1)
        for nearby in (True, False):  # a row's own box first: what it finds there rules most others out
            for b, (box, numbers) in enumerate(zip(self.rows, self.numbers)):
                mine = home == b
                ask = np.flatnonzero(mine if nearby else ~mine & (away[:, b] <= best[:, -1]))
                if len(ask):
                    best[ask], number[ask] = _merge(best[ask], number[ask], X[ask], box, numbers)
        return np.sqrt(best), number


def _merge(
    best: np.ndarray, number: np.ndarray, X: np.ndarray, box: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest (n, k) so far and those of a box (p, size) that are nearer."""
    square = np.zeros((len(X), len(numbers)))
    for x, column in zip(X.T, box):
        gap = x[:, None] - column
        gap *= gap
        square += gap
    k = best.shape[1]
    if k == 1:
        at = square.argmin(axis=1)[:, None]  # the first of equal ones
        new, whose = np.take_along_axis(square, at, axis=1), numbers[at]
        win = (new < best) | ((new == best) & (whose < number))
        return np.where(win, new, best), np.where(win, whose, number)
    square = np.concatenate([best, square], axis=1)
    whose = np.concatenate([number, np.broadcast_to(numbers, (len(X), len(numbers)))], axis=1)
    edge = np.partition(square, k - 1, axis=1)[:, k - 1 : k]
    width = int((square <= edge).sum(axis=1).max())  # more than k where distances are equal
    at = np.argpartition(square, width - 1, axis=1)[:, :width] if width < square.shape[1] else None
    if at is not None:
        square, whose = np.take_along_axis(square, at, axis=1), np.take_along_axis(whose, at, axis=1)
    order = np.lexsort((whose, square), axis=1)[:, :k]
    return np.take_along_axis(square, order, axis=1), np.take_along_axis(whose, order, axis=1)
