"""Steps that place new rows on a map that was drawn from other rows. All hold those rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.steps._field import Field
from everymodel.scoring.steps._nearest import Search
from everymodel.scoring.steps.base import Step, need, step

_CELLS = 2_000_000  # numbers held at once: 16 MB
SAME = 1e-9  # rows no farther apart, as a share of their size, are taken for the same row


def _finite(*arrays: Any) -> None:
    for array in arrays:
        good = isinstance(array, np.ndarray) and array.dtype.kind == "f" and bool(np.isfinite(array).all())
        need(good, "the arrays of a map are not finite floats")
        need(float(np.abs(array).max(initial=0.0)) < 1e150, "the arrays of a map are out of range")


def _drawn(rows: np.ndarray, places: np.ndarray, neighbors: object) -> None:
    _finite(rows, places)
    need(rows.ndim == 2 and len(rows) > 0 and rows.shape[1] > 0, "a map has no rows")
    need(places.ndim == 2 and len(places) == len(rows) and places.shape[1] > 0, "places do not fit the map's rows")
    whole = isinstance(neighbors, int) and not isinstance(neighbors, bool)
    need(whole and 1 <= neighbors <= len(rows), f"a map has {neighbors!r} neighbours")  # type: ignore[operator]


def _kept(step_: Any, name: str, make: Any) -> Any:
    """What a step finds out at its first call."""
    kept = step_.__dict__.get(name)
    if kept is None:
        kept = make()
        object.__setattr__(step_, name, kept)
    return kept


def _search(step_: Any) -> Search:
    return _kept(step_, "_tree", lambda: Search(step_.rows))


def _known(step_: Any, X: np.ndarray, distance: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of X (n, p) are rows of the map, and their places there."""
    size = np.sqrt(np.einsum("ij,ij->i", X, X))
    same = distance[:, 0] <= SAME * np.maximum(size, 1e-300)
    return same, step_.places[number[same, 0]]


@step("map_neighbors")
class MapNeighbors(Step):
    """matrix (n, p) -> places (n, d) on a t-SNE or UMAP map that stays as it is.

    rows (m, p) of the training data, places (m, d). A row is drawn to its `neighbors` nearest rows, each with weight
    1 / neighbors, by t-SNE's forces: its place has the least mean of log(1 + |y - place|^2) plus, with `repulsion`,
    log(sum over all places of 1 / (1 + |y - place|^2)). The search starts at that one of the nearest rows' places
    where this is least, and takes a fixed number of steps. A row of the training data gets its own place.
    """

    holds_rows: ClassVar[bool] = True
    STEPS: ClassVar[int] = 40
    STARTS: ClassVar[int] = 10

    rows: np.ndarray
    places: np.ndarray
    neighbors: int = 15
    repulsion: bool = True

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the map needs {self.rows.shape[1]} features")
        search = _search(self)
        out = np.empty((len(X), self.places.shape[1]))
        size = max(1, _CELLS // (self.neighbors * self.STARTS * self.places.shape[1]))
        for start in range(0, len(X), size):
            part = X[start : start + size]
            distance, number = search.nearest(part, self.neighbors)
            placed = self._settle(self.places[number].transpose(2, 1, 0))
            same, there = _known(self, part, distance, number)
            placed[same] = there
            out[start : start + size] = placed
        return out

    def _settle(self, near: np.ndarray) -> np.ndarray:
        """Places (n, d) among neighbours' places (d, k, n)."""
        near = np.ascontiguousarray(near)
        d, k, n = near.shape
        field = _kept(self, "_repulsion", self._field) if self.repulsion else None
        y, best = near[:, 0].copy(), np.full(n, np.inf)
        for i in range(min(k, self.STARTS)):
            cost = np.zeros(n)
            for j in range(k):
                cost += np.log1p(_squares(near[:, i], near[:, j]))
            cost /= k
            if field is not None:
                cost += np.log(np.maximum(field.values(near[:, i].T), 1e-3))
            better = cost < best
            best = np.where(better, cost, best)
            y = np.where(better, near[:, i], y)
        for _ in range(self.STEPS):
            total, pull = np.zeros(n), np.zeros((d, n))
            for j in range(k):
                weight = 1.0 / (1.0 + _squares(y, near[:, j]))
                total += weight
                pull += weight * near[:, j]
            move = pull / total - y  # to where attraction alone would be at rest
            if field is not None:
                phi, slope = field.slopes(y.T)
                move -= 0.5 * k * slope.T / (np.maximum(phi, 1e-3) * total)
            length = np.sqrt(_squares(move, 0.0))
            y = y + 0.7 * move / (1.0 + length / 2.0)
        return y.T

    def _field(self) -> Field:
        field = Field(0.5)
        field.set(np.asarray(self.places, dtype=np.float64), margin=3.0)
        return field

    def check(self) -> None:
        _drawn(self.rows, self.places, self.neighbors)
        need(self.places.shape[1] <= 3, "a map has more than three coordinates")
        need(isinstance(self.repulsion, bool), f"a map's repulsion is {self.repulsion!r}")


def _squares(a: np.ndarray, b: np.ndarray | float) -> np.ndarray:
    """Squared distances (n,) of points (d, n)."""
    gap = a - b
    total = gap[0] * gap[0]
    for part in gap[1:]:
        total = total + part * part
    return total


@step("map_geodesic")
class MapGeodesic(Step):
    """matrix (n, p) -> (-d^2 / 2) weights + offset, (n, d); d (n, m) are shortest ways to the map's rows (m, p).

    A new row's ways lead over its `neighbors` nearest rows; `ways` (m (m - 1) / 2,) are those between rows of the map,
    the upper triangle of their matrix row by row. weights (m, d), offset (d,): Isomap.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    ways: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    neighbors: int = 5

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the map needs {self.rows.shape[1]} features")
        full = _kept(self, "_full", self._matrix)
        distance, number = _search(self).nearest(X, self.neighbors)
        out = np.empty((len(X), len(self.offset)))
        for i in range(len(X)):  # one row after the other: m ways over each neighbour
            way = (full[number[i]] + distance[i][:, None]).min(axis=0)
            out[i] = np.einsum("i,ij->j", -0.5 * way * way, self.weights)
        return out + self.offset

    def _matrix(self) -> np.ndarray:
        m = len(self.rows)
        full = np.zeros((m, m))
        full[np.triu_indices(m, 1)] = self.ways
        return full + full.T

    def check(self) -> None:
        _drawn(self.rows, self.weights, self.neighbors)
        m = len(self.rows)
        _finite(self.ways, self.offset)
        need(self.ways.shape == (m * (m - 1) // 2,) and bool((self.ways >= 0).all()), "a map's ways do not fit")
        need(self.offset.shape == self.weights.shape[1:], "a map's offset does not fit")


@step("map_barycenter")
class MapBarycenter(Step):
    """matrix (n, p) -> the places of the nearest rows, weighted as the row is rebuilt from them (n, d).

    Weights w of sum 1 have the least |x - sum w_j row_j|^2 + ridge * (sum |x - row_j|^2) |w|^2 (locally linear
    embedding, Roweis and Saul 2000).
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    places: np.ndarray
    neighbors: int = 5
    ridge: float = 1e-3

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the map needs {self.rows.shape[1]} features")
        number = _search(self).nearest(X, self.neighbors)[1]
        out = np.empty((len(X), self.places.shape[1]))
        k, size = self.neighbors, max(1, _CELLS // (self.neighbors * max(X.shape[1], self.neighbors)))
        for start in range(0, len(X), size):
            near = number[start : start + size]
            gap = self.rows[near] - X[start : start + size, None]  # (b, k, p)
            gram = np.stack([[g @ g.T] for g in gap])[:, 0]  # one by one: a row must not depend on those beside it
            trace = np.trace(gram, axis1=1, axis2=2)
            gram[:, np.arange(k), np.arange(k)] += np.where(trace > 0, self.ridge * trace, self.ridge)[:, None]
            weight = np.linalg.solve(gram, np.ones((len(gram), k, 1)))[:, :, 0]
            weight /= weight.sum(axis=1, keepdims=True)
            out[start : start + size] = np.einsum("ij,ijk->ik", weight, self.places[near])
        return out

    def check(self) -> None:
        _drawn(self.rows, self.places, self.neighbors)
        need(isinstance(self.ridge, float) and 0 < self.ridge < 1e6, f"a map's ridge is {self.ridge!r}")


@step("map_average")
class MapAverage(Step):
    """matrix (n, p) -> weighted mean of places times factor, (n, d): Nystroem's formula for spectral maps.

    The weights are exp(-gamma distance^2) to all rows of the map where gamma is above 0, else equal ones of the
    `neighbors` nearest rows. factor (d,) is 1 over the eigenvalues of the random walk between rows. A row of the
    training data gets its own place.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    places: np.ndarray
    factor: np.ndarray
    neighbors: int = 10
    gamma: float = 0.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the map needs {self.rows.shape[1]} features")
        search = _search(self)
        distance, number = search.nearest(X, self.neighbors if self.gamma == 0 else 1)
        if self.gamma == 0:
            out = self.places[number].mean(axis=1)
        else:
            out = np.empty((len(X), self.places.shape[1]))
            for i, x in enumerate(X):
                gap = self.rows - x
                square = np.einsum("ij,ij->i", gap, gap)
                weight = np.exp(-self.gamma * (square - square.min()))
                out[i] = np.einsum("i,ij->j", weight, self.places) / weight.sum()
        out = out * self.factor
        same, there = _known(self, X, distance, number)
        out[same] = there
        return out

    def check(self) -> None:
        _drawn(self.rows, self.places, self.neighbors)
        _finite(self.factor)
        need(self.factor.shape == self.places.shape[1:], "a map's factors do not fit")
        good = isinstance(self.gamma, int | float) and not isinstance(self.gamma, bool) and 0 <= self.gamma < 1e150
        need(good, f"a map's gamma is {self.gamma!r}")


@step("map_distances")
class MapDistances(Step):
    """matrix (n, p) -> places (n, d) whose distances to the map's places are those to its rows as nearly as can be.

    rows (m, p), places (m, d). Gower's formula (1968) gives the start, (mean(d^2) - d^2) weights + middle; then, with
    `steps` above 0, stress sum_j (d_j - |y - place_j|)^2 falls in so many steps of majorisation with all other places
    held. A row of the training data gets its own place where `steps` is above 0.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    steps: int = 0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        need(X.ndim == 2 and X.shape[1] == self.rows.shape[1], f"the map needs {self.rows.shape[1]} features")
        d = self.places.shape[1]
        middle = self.places.mean(axis=0)
        out = np.empty((len(X), d))
        table = np.ascontiguousarray(self.places.T)
        for i, x in enumerate(X):
            gap = self.rows - x
            square = np.einsum("ij,ij->i", gap, gap)
            distance = np.sqrt(square)
            y = np.einsum("i,ij->j", self.mean - square, self.weights) + middle
            if self.steps and distance.min() <= SAME * max(np.sqrt(x @ x), 1e-300):
                out[i] = self.places[distance.argmin()]
                continue
            for _ in range(self.steps):
                way = y[:, None] - table
                length = np.sqrt(np.einsum("ij,ij->j", way, way))
                share = np.where(length > 0, distance / np.where(length > 0, length, 1.0), 0.0)
                y = middle + (way * share).mean(axis=1)
            out[i] = y
        return out

    def check(self) -> None:
        _drawn(self.rows, self.places, 1)
        _finite(self.weights, self.mean)
        need(self.weights.shape == self.places.shape, "a map's weights do not fit")
        need(self.mean.shape == (len(self.rows),), "a map's mean distances do not fit")
        whole = isinstance(self.steps, int) and not isinstance(self.steps, bool)
        need(whole and 0 <= self.steps <= 10_000, f"a map takes {self.steps!r} steps")
