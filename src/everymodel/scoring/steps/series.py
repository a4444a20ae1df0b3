"""Series by their shapes: what thousands of small fixed kernels say about them (MultiRocket, Hydra), and a ridge.

Everything that decides between two outcomes (is the sum above the threshold, which kernel fits best here) is computed
so that no rounding is left to the machine: sums element by element in one order, or of whole numbers below 2^24.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError
from everymodel.scoring.steps.base import Sparse, dot, need, step
from everymodel.scoring.steps.combine import _Gives, check_link, link

TAPS = 9  # of every kernel
KERNELS = 84  # ways to choose three of nine taps
SHORTEST = 10  # steps: the differences of shorter series do not fill a kernel
LONGEST = 100_000
POOLS = 4  # answers of a kernel and a threshold
TRIPLES = list(itertools.combinations(range(TAPS), 3))  # 84: taps of weight 2, the others weigh -1
HALF = 4095  # whole numbers that the values of a series become in Hydra
WEIGHT = 4096  # at most, the sum of a kernel's whole weights without their signs: 4095 * 4096 < 2^24
_CELLS = 1 << 18  # numbers of MultiRocket held at once: 1 MB, so that they stay in the cache; of Hydra half of them
_LIMIT = 1e30


# Reading series


def unequal(X: Any) -> list[np.ndarray]:
    """Series of any kind as a list of (T, p) float64.

    X : (n, T), (n, T, p), or a list or array of n objects, each (T,) or (T, p).

    Raises
    ------
    DataError
        if there is none, one is empty, or they differ in width.
    """
    if isinstance(X, Sparse):
        X = X.toarray()
    if isinstance(X, np.ndarray) and X.dtype.kind in "iufb":
        if X.ndim not in (2, 3) or 0 in X.shape[1:]:
            raise DataError(f"Series came as an array of shape {X.shape}; expected (n, steps) or (n, steps, signals).")
        X = X.astype(np.float64, copy=False)
        return list(X[:, :, None] if X.ndim == 2 else X)
    made = []
    for row, cell in enumerate(X):
        try:
            array = np.asarray(cell, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"Series {row} is no list of numbers: {error}.") from error
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or not array.size:
            raise DataError(f"Series {row} has shape {np.shape(cell)}; expected (steps,) or (steps, signals).")
        if made and array.shape[1] != made[0].shape[1]:
            raise DataError(
                f"Series {row} has {array.shape[1]} signals and series 0 has {made[0].shape[1]}; they must be the same."
            )
        made.append(array)
    return made


def filled(x: np.ndarray, usual: float) -> np.ndarray:
    """x (T,) with gaps (NaN, infinite) filled on a straight line between their neighbours; all gaps: `usual`."""
    good = np.isfinite(x)
    if good.all():
        return x
    if not good.any():
        return np.full_like(x, usual)
    at = np.arange(len(x))
    return np.interp(at, at[good], x[good])


def resampled(x: np.ndarray, length: int) -> np.ndarray:
    """x (T,) at `length` steps: on straight lines where that is more, means over equal stretches where it is less."""
    if len(x) == length:
        return x
    if len(x) < length:
        return np.interp(np.linspace(0.0, len(x) - 1.0, length), np.arange(len(x)), x)
    edges = np.linspace(0.0, len(x), length + 1)
    total = np.interp(edges, np.arange(len(x) + 1), np.concatenate([[0.0], np.cumsum(x)]))
    return np.diff(total) * (length / len(x))


# MultiRocket


@dataclass(frozen=True)
class Rocket:
    """Kernels of one dilation with thresholds (f, 84), for the series or their differences.

    phase : kernels whose number plus phase is even see zeros around the series, the others only what is inside.
    channels (84, p) : the signals that are summed for each kernel; None where there is one.
    """

    dilation: int
    phase: int
    biases: np.ndarray
    channels: np.ndarray | None

    @property
    def columns(self) -> int:
        return POOLS * self.biases.size

    def cells(self, length: int) -> int:
        return KERNELS * length


def summed(x: np.ndarray, channels: np.ndarray | None) -> np.ndarray:
    """x (r, p, T) -> (1, r, T), or with channels (m, p) their sums (m, r, T), added in order."""
    if channels is None:
        return np.ascontiguousarray(x[:, 0])[None]
    out = np.zeros((len(channels), len(x), x.shape[2]), dtype=np.float32)
    for kernel, row in enumerate(channels):
        for channel in np.flatnonzero(row):
            out[kernel] += x[:, channel]
    return out


def convolved(z: np.ndarray, dilation: int) -> np.ndarray:
    """z (1 or 84, r, T) -> what each of the 84 kernels gives at every step (84, r, T), zeros around."""
    reach, length = 4 * dilation, z.shape[2]
    wide = np.zeros((len(z), z.shape[1], length + 2 * reach), dtype=np.float32)
    wide[:, :, reach : reach + length] = z
    taps = [wide[:, :, i * dilation : i * dilation + length] for i in range(TAPS)]
    base = taps[0] + taps[1]
    for tap in taps[2:]:
        base += tap
    np.negative(base, out=base)
    taps = [np.float32(3.0) * tap for tap in taps]
    out = np.empty((KERNELS, z.shape[1], length), dtype=np.float32)
    pair = np.empty(z.shape[1:], dtype=np.float32)
    last = (-1, -1)
    for kernel, (a, b, c) in enumerate(TRIPLES):
        here = kernel if len(z) > 1 else 0
        if len(z) > 1 or last != (a, b):  # kernels of one signal share what their first two taps give
            np.add(taps[a][here], taps[b][here], out=pair)
            pair += base[here]
            last = (a, b)
        np.add(pair, taps[c][here], out=out[kernel])
    return out


def inside(dilation: int, phase: int, length: int) -> list[tuple[np.ndarray, slice]]:
    """(kernels, steps) twice: those that see zeros around the series, and those that do not."""
    number = np.arange(KERNELS)
    even = (number + phase) % 2 == 0
    return [(number[even], slice(0, length)), (number[~even], slice(4 * dilation, length - 4 * dilation))]


def rocket(part: Rocket, x: np.ndarray) -> np.ndarray:
    """Features of x (r, p, T) float32 -> (r, 4 * f * 84): share of steps above the threshold, how far above it they are
    on average, where they are on average, and the longest stretch of them.
    """
    r, length = len(x), x.shape[2]
    C = convolved(summed(x, part.channels), part.dilation)
    out = np.empty((POOLS, len(part.biases), KERNELS, r), dtype=np.float32)
    for kernels, steps in inside(part.dilation, part.phase, length):
        own = np.ascontiguousarray(C[kernels, :, steps])  # (m, r, t)
        m, t = len(kernels), own.shape[2]
        size = max(1, _CELLS // own.size)  # thresholds at once
        for f in range(0, len(part.biases), size):
            rest = own - part.biases[f : f + size, kernels, None, None]  # (b, m, r, t)
            n = len(rest) * m * r
            below = np.ones((n, t + 1), dtype=bool)  # a step below the threshold after each series keeps them apart
            np.less_equal(rest.reshape(n, t), np.float32(0.0), out=below[:, :t])
            total = rest.sum(axis=3).ravel()
            np.abs(rest, out=rest)
            excess = (total + rest.sum(axis=3).ravel()) / 2.0  # of all that is above the threshold
            starts = np.arange(n, dtype=np.int32) * np.int32(t + 1)
            found = np.flatnonzero(below).astype(np.int32)
            first = np.searchsorted(found, starts)
            count = np.diff(first, append=len(found)) - 1  # below
            above = t - count
            gap = np.empty_like(found)
            gap[0] = found[0] + 1
            np.subtract(found[1:], found[:-1], out=gap[1:])
            where = np.add.reduceat(found, first, dtype=np.int64) - starts.astype(np.int64) * (count + 1) - t
            positive = np.maximum(above, 1)
            pools = (
                above / t,
                np.where(above > 0, excess / positive, 0.0),
                np.where(above > 0, (t * (t - 1) // 2 - where) / positive / t, -1.0),
                (np.maximum.reduceat(gap, first) - 1) / t,
            )
            for pool, values in enumerate(pools):
                out[pool, f : f + size, kernels] = values.reshape(-1, m, r).swapaxes(0, 1)
    return np.ascontiguousarray(np.moveaxis(out, 3, 0)).reshape(r, -1)


# Hydra


@dataclass(frozen=True)
class Hydra:
    """Groups of competing kernels of one dilation: kernels (g, k, 9) of whole numbers; channels (g, p) or None."""

    dilation: int
    kernels: np.ndarray
    channels: np.ndarray | None

    @property
    def columns(self) -> int:
        return 2 * self.kernels.shape[0] * self.kernels.shape[1]

    def cells(self, length: int) -> int:
        return 2 * self.kernels.shape[0] * self.kernels.shape[1] * length


def hydra(part: Hydra, x: np.ndarray) -> np.ndarray:
    """Features of x (r, p, T) float32 -> (r, 2 * g * k), roots of: the sum of what each kernel gave at the steps at
    which it gave most of its group, and at how many steps it gave least.
    """
    g, k, _ = part.kernels.shape
    z = summed(x, part.channels)  # (1 or g, r, T)
    most = np.abs(z).max(axis=2)  # (1 or g, r)
    whole = np.rint(z / np.where(most > 0, most, 1.0)[:, :, None] * np.float32(HALF))
    r, length, reach = z.shape[1], z.shape[2], 4 * part.dilation
    wide = np.zeros((len(z), r, length + 2 * reach), dtype=np.float32)
    wide[:, :, reach : reach + length] = whole
    windows = np.stack([wide[:, :, i * part.dilation : i * part.dilation + length] for i in range(TAPS)], axis=2)
    W = part.kernels.astype(np.float32).reshape(len(z), 1, -1, TAPS)
    Z = np.matmul(W, windows)  # (1 or g, r, g * k or k, T): sums of whole numbers below 2^24 are exact in any order
    Z = Z[0].reshape(r, g, k, length) if len(z) == 1 else Z.transpose(1, 0, 2, 3)
    top, low = Z.max(axis=2, keepdims=True), Z.min(axis=2, keepdims=True)
    unit = (most.T / np.float32(HALF * WEIGHT))[:, :, None]  # (r, 1 or g, 1): back to the values of the series
    wins = np.matmul((top == Z).astype(np.float32), top.swapaxes(2, 3))[..., 0] * unit  # (r, g, k)
    least = np.matmul((low == Z).astype(np.float32), np.ones((length, 1), dtype=np.float32))[..., 0]
    out = np.concatenate([wins.reshape(r, -1), least.reshape(r, -1)], axis=1)
    return np.sqrt(np.maximum(out, 0.0))


def features(part: Rocket | Hydra, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """What a part says of x (n, p, T) float32 -> (n, part.columns), some rows at a time."""
    size = max(1, _CELLS // part.cells(x.shape[2]))
    made: Any = hydra if isinstance(part, Hydra) else rocket
    blocks = [x[i : i + size] for i in range(0, len(x), size)]
    if threads > 1 and len(blocks) > 1:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(lambda block: made(part, block), blocks))
    else:
        parts = [made(part, block) for block in blocks]
    return np.concatenate(parts) if parts else np.zeros((0, part.columns), dtype=np.float32)


def plain(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Level and spread of each signal, and the length of the series: (n, 2 p + 1)."""
    return np.concatenate([x.mean(axis=2), x.std(axis=2), np.log1p(lengths)[:, None]], axis=1).astype(np.float32)


@step("series", output="value")
class Series(_Gives):
    """Series -> link(features weights + intercept): (n,) or (n, t) values, or probabilities (n, k).

    length, longest, stretch : how series of other lengths are brought to one; see `prepared`.
    centre, scale (p,) : what standardises the p signals. own : each series is then standardised by itself as well.
    counts (m, 4) : for each part of rockets how many thresholds, its dilation, 1 where it looks at differences, and its
    phase; thresholds stand one after the other in biases (sum of counts, 84), signals in channels (m, 84, p) or None.
    fights (h, 2) : for each part of hydras its dilation and 1 where it looks at differences; kernels (h, g, k, 9);
    teams (h, g, p) or None.
    mean, spread (q,) : of the features, in the order hydras, rockets, plain. Of the first, zeros stay zeros.
    weights (q, k), intercept (k,). heat : scores are multiplied with it before the softmax.
    """

    tolerance: ClassVar[float] = 1e-6

    length: int
    longest: int
    centre: np.ndarray
    scale: np.ndarray
    counts: np.ndarray
    biases: np.ndarray
    fights: np.ndarray
    kernels: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    channels: np.ndarray | None = None
    teams: np.ndarray | None = None
    own: bool = False
    stretch: bool = False
    gives: str = "value"
    heat: float = 1.0
    squeeze: bool = True
    places: np.ndarray | None = None
    classes: int | None = None

    def __call__(self, X: Any) -> np.ndarray:
        scores = self.scores(X)
        if self.gives == "probabilities":
            return link(self.heat * scores, "softmax", self.places, self.classes)
        return scores[:, 0] if self.squeeze and scores.shape[1] == 1 else scores

    def scores(self, X: Any) -> np.ndarray:
        """The weighted sums (n, k)."""
        found = unequal(X)
        parts = [self._scored(found[i : i + 256]) for i in range(0, len(found), 256)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.intercept)))

    def _scored(self, X: Any) -> np.ndarray:
        x, lengths = prepared(X, self.length, self.longest, self.centre, self.scale, self.own, self.stretch)
        steps = np.diff(x, axis=2)
        made = [features(part, steps if differs else x) for part, differs in self.parts()]
        F = np.concatenate([*made, plain(x, lengths)], axis=1)
        return dot(standard(F, self.mean, self.spread, self.sparse).astype(np.float64), self.weights) + self.intercept

    @property
    def sparse(self) -> int:
        """How many of the first features keep their zeros."""
        return 2 * int(np.prod(self.kernels.shape[:3]))

    def parts(self) -> list[tuple[Rocket | Hydra, bool]]:
        """(part, whether it looks at differences), in the order of the features."""
        made: list[tuple[Rocket | Hydra, bool]] = []
        for i, (dilation, differs) in enumerate(self.fights):
            team = None if self.teams is None else self.teams[i]
            made.append((Hydra(int(dilation), self.kernels[i], team), bool(differs)))
        at = 0
        for i, (count, dilation, differs, phase) in enumerate(self.counts):
            own = None if self.channels is None else self.channels[i]
            made.append((Rocket(int(dilation), int(phase), self.biases[at : at + count], own), bool(differs)))
            at += count
        return made

    def check(self) -> None:
        whole = isinstance(self.length, int) and SHORTEST <= self.length <= LONGEST
        whole = whole and isinstance(self.longest, int) and 0 < self.longest < 1 << 40
        need(
            whole and all(isinstance(f, bool) for f in (self.own, self.stretch, self.squeeze)),
            "series are described wrongly",
        )
        p = len(self.centre)
        need(self.centre.shape == self.scale.shape == (p,) and p > 0, "what standardises series does not fit")
        for name in ("centre", "scale", "biases", "mean", "spread", "weights", "intercept"):
            array = getattr(self, name)
            good = isinstance(array, np.ndarray) and array.dtype.kind == "f" and bool(np.isfinite(array).all())
            need(good, f"{name} of series are no numbers")
        need(bool((self.scale > 0).all() and (self.spread > 0).all()), "a spread of series is not above zero")
        need(_table(self.counts, 4) and _table(self.fights, 2), "the kernels of series are described wrongly")
        need(bool((self.counts[:, 0] > 0).all()), "a part of the series' kernels has no threshold")
        need(self.biases.shape == (int(self.counts[:, 0].sum()), KERNELS), "thresholds of series do not fit")
        h = len(self.fights)
        good = self.kernels.ndim == 4 and self.kernels.shape[0] == h and self.kernels.shape[3] == TAPS
        need(good and self.kernels.dtype.kind == "i" and self.kernels.size <= 1 << 24, "kernels of series do not fit")
        need(
            bool((np.abs(self.kernels.astype(np.int64)).sum(axis=3) <= WEIGHT).all()), "kernels of series are too heavy"
        )
        for dilation, differs in [*self.counts[:, 1:3], *self.fights]:
            steps = self.length - int(differs)
            need(differs in (0, 1) and 1 <= dilation <= (steps - 1) // (TAPS - 1), "a dilation of series is too long")
        shapes = ((self.channels, (len(self.counts), KERNELS, p)), (self.teams, (h, self.kernels.shape[1], p)))
        for chosen, shape in shapes:
            good = p == 1 if chosen is None else chosen.shape == shape and chosen.dtype.kind == "b"
            need(good, "the signals of the kernels do not fit")
        q = self.sparse + POOLS * self.biases.size + 2 * p + 1
        need(self.mean.shape == self.spread.shape == (q,), "the features of series do not fit")
        need(self.weights.ndim == 2 and self.weights.shape[0] == q, "the weights of series do not fit")
        need(self.intercept.shape == self.weights.shape[1:], "the intercept of series does not fit")
        need(isinstance(self.heat, int | float) and 0 < self.heat < 1e6, "the heat of series is wrong")
        need(self.gives in ("value", "probabilities"), f"series give {self.gives!r}")
        kind = "softmax" if self.gives == "probabilities" else "identity"
        check_link(kind, self.gives, self.places, self.classes, len(self.intercept))


def _table(array: Any, columns: int) -> bool:
    """Whether it is (m, columns) of whole numbers from 0 on, m at most 10,000."""
    good = isinstance(array, np.ndarray) and array.ndim == 2 and array.shape[1] == columns and len(array) <= 10_000
    return good and array.dtype.kind in "iu" and bool((array >= 0).all() and (array < 1 << 30).all())


def standard(F: np.ndarray, mean: np.ndarray, spread: np.ndarray, sparse: int) -> np.ndarray:
    """F (n, q) float32, overwritten by (F - mean) / spread; zeros of the first `sparse` columns stay zeros."""
    blank = F[:, :sparse] == 0
    F -= mean
    F /= spread
    F[:, :sparse][blank] = 0.0
    return F


def prepared(
    X: Sequence[np.ndarray],
    length: int,
    longest: int,
    centre: np.ndarray,
    scale: np.ndarray,
    own: bool = False,
    stretch: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Series (n of (T, p)) standardised, without gaps and at one length -> ((n, p, length) float32, (n,) their T).

    `longest` steps become `length`, fewer steps become as many less and zeros follow; more are cut at the end. With
    `stretch` every series fills the length.

    Raises
    ------
    DataError
        if a series has not p signals.
    """
    p = len(centre)
    lengths = np.array([len(cell) for cell in X], dtype=np.float64)
    if len(X) and not own and length == longest and all(np.shape(cell) == (length, p) for cell in X):
        x = np.stack(X).astype(np.float64, copy=False)  # (n, T, p)
        if np.isfinite(x).all():
            z = (np.clip(x, -_LIMIT, _LIMIT) - centre) / scale
            return np.ascontiguousarray(np.clip(z, -1e6, 1e6).swapaxes(1, 2), dtype=np.float32), lengths
    out = np.zeros((len(X), p, length), dtype=np.float32)
    for row, cell in enumerate(X):
        x = np.asarray(cell, dtype=np.float64)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or x.shape[1] != p or not len(x):
            raise DataError(f"A series has shape {x.shape}; expected (steps, {p}) as in the fit.")
        x = x if stretch else x[:longest]
        steps = length if stretch else max(1, round(len(x) * length / longest))
        for j in range(p):
            z = (np.clip(filled(x[:, j], centre[j]), -_LIMIT, _LIMIT) - centre[j]) / scale[j]
            z = resampled(z, steps)
            if own:
                spread = z.std()
                z = (z - z.mean()) / (spread if spread > 1e-8 else 1.0)
            out[row, j, :steps] = np.clip(z, -1e6, 1e6)
    return out, lengths
