"""Plumbing: draws the kernels and thresholds of Hydra and MultiRocket, and scales what they say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.scoring.steps import series
from everymodel.scoring.steps.series import KERNELS, POOLS, SHORTEST, TAPS, WEIGHT, Hydra, Rocket

RIVALS = 8  # kernels of a group of Hydra
USUAL = 4096  # steps that longer series are brought to unless `length` says otherwise
DILATIONS = 32  # of MultiRocket, at most
_GOLDEN = (5**0.5 + 1) / 2
_TOGETHER = 9  # signals that a kernel of MultiRocket sums at most, of Hydra 8

Part = tuple[Rocket | Hydra, bool]  # and whether it looks at differences


def is_cells(X: Any) -> bool:
    """Whether X is a list or array of objects, one series each, rather than an array of numbers or a table."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and len(X) > 0 and isinstance(X[0], np.ndarray | list | tuple)
    if not isinstance(X, list | tuple) or not X or not all(isinstance(x, np.ndarray | list | tuple) for x in X):
        return False
    return len({x.shape if isinstance(x, np.ndarray) else (len(x),) for x in X}) > 1


def spread(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (p,) of each signal over all steps of all series (T, p), gaps left out."""
    together = np.concatenate(rows)
    good = np.isfinite(together)
    count = np.maximum(good.sum(axis=0), 1)
    centre = np.where(good, together, 0.0).sum(axis=0) / count
    rest = np.where(good, together - centre, 0.0)
    scale = np.sqrt((rest * rest).sum(axis=0) / count)
    return centre, np.where(scale > 1e-12 * np.maximum(np.abs(centre), 1e-12), scale, 1.0)


def length_of(sizes: np.ndarray, length: int | None, stretch: bool) -> tuple[int, int]:
    """(steps of every series in the features, how many steps of a series they are); said where that is less."""
    longest = min(int(sizes.max()), max(4 * int(np.median(sizes)), SHORTEST))
    cut = int((sizes > longest).sum())
    if cut and not stretch:
        warnings.warn(
            f"{cut:,} of {len(sizes):,} series are more than 4 times longer than half of them: only their first "
            f"{longest:,} steps are looked at.",
            UserWarning,
            stacklevel=5,
        )
    if length is not None:
        return int(length), longest
    if longest > USUAL:
        warnings.warn(
            f"The longest series has {longest:,} steps; means over equal stretches bring it to {USUAL:,}, and the "
            f"others likewise. Set length={longest} to keep all steps.",
            UserWarning,
            stacklevel=5,
        )
    if longest >= SHORTEST:
        return min(longest, USUAL), longest
    return SHORTEST if longest < 2 else (longest - 1) * -(-(SHORTEST - 1) // (longest - 1)) + 1, longest


def hydras(rng: np.random.Generator, x: np.ndarray, groups: int) -> list[Part]:
    """Half of the groups of each dilation 1, 2, 4, ... look at the series x (n, p, T), half at their differences."""
    half, p = groups // 2, x.shape[1]
    if not half:
        return []
    made: list[Part] = []
    for power in range(int(np.log2((x.shape[2] - 1) / (TAPS - 1))) + 1):
        for differs in (False, True):
            if (TAPS - 1) * 2**power > x.shape[2] - int(differs) - 1:
                continue
            W = rng.normal(size=(half, RIVALS, TAPS))
            W -= W.mean(axis=2, keepdims=True)
            W *= (WEIGHT - TAPS) / np.abs(W).sum(axis=2, keepdims=True)
            teams = None
            if p > 1:
                size = min(max(p // 2, 1), 8)
                teams = np.zeros((half, p), dtype=bool)
                teams[np.arange(half)[:, None], rng.integers(0, p, (half, size))] = True
            made.append((Hydra(2**power, np.rint(W).astype(np.int16), teams), differs))
    return made


def dilations(length: int, thresholds: int) -> list[tuple[int, int]]:
    """(dilation, how many of the `thresholds` of every kernel) from 1 to what the series hold, closer when small."""
    many = min(thresholds, DILATIONS)
    reach = np.log2((length - 1) / (TAPS - 1))
    found, counts = np.unique(np.logspace(0, reach, many, base=2).astype(np.int64), return_counts=True)
    shares = (counts * (thresholds / many)).astype(np.int64)
    for i in range(thresholds - int(shares.sum())):
        shares[i % len(shares)] += 1
    return [(int(d), int(share)) for d, share in zip(found, shares)]


def rockets(rng: np.random.Generator, x: np.ndarray, features: int) -> list[Part]:
    """Kernels of every dilation, half of the features for the series x (n, p, T) and half for their differences."""
    thresholds, made, p = max(1, features // (2 * POOLS * KERNELS)), [], x.shape[1]
    for differs in (False, True):
        now, drawn = np.diff(x, axis=2) if differs else x, 0
        for phase, (dilation, share) in enumerate(dilations(now.shape[2], thresholds)):
            channels = _together(rng, p) if p > 1 else None
            # Thresholds are quantiles of what a kernel gives on one series drawn for it, at even distances that never
            # repeat: multiples of the golden ratio.
            z = now[rng.integers(0, len(now), KERNELS)]  # (84, p, T)
            seen = np.ones((KERNELS, 1), dtype=bool) if channels is None else channels
            z = np.stack([own[row].sum(axis=0) for own, row in zip(z, seen)])
            C = series.convolved(z[:, None], dilation)[:, 0]  # (84, T)
            at = (np.arange(drawn + 1, drawn + KERNELS * share + 1) * _GOLDEN) % 1.0
            drawn += KERNELS * share
            biases = np.stack([np.quantile(c, q) for c, q in zip(C, at.reshape(KERNELS, share))], axis=1)
            made.append((Rocket(dilation, phase % 2, biases.astype(np.float32), channels), differs))
    return made


def _together(rng: np.random.Generator, p: int) -> np.ndarray:
    """Which of p signals each kernel sums (84, p): one to nine of them, few more often than many."""
    most = min(p, _TOGETHER)
    sizes = np.floor(2 ** rng.uniform(0, np.log2(most + 1), KERNELS)).astype(np.int64)
    return np.argsort(np.argsort(rng.random((KERNELS, p)), axis=1), axis=1) < np.minimum(sizes, most)[:, None]


def described(
    parts: list[Part], x: np.ndarray, rng: np.random.Generator, stop: Callable[[], bool] | None, threads: int
) -> tuple[np.ndarray, list[Part]]:
    """(features (n, q), the parts that made them): all, or those for which there was time before `stop()` was true."""
    differences, made = np.diff(x, axis=2), {}
    for i in rng.permutation(len(parts)):
        if made and stop is not None and stop():
            break
        part, differs = parts[i]
        made[int(i)] = series.features(part, differences if differs else x, threads)
    return np.concatenate([made[i] for i in sorted(made)], axis=1), [parts[i] for i in sorted(made)]


def scaling(F: np.ndarray, sparse: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread (q,) float32 of features (n, q). Of the first `sparse` columns (Hydra's) the spread grows where
    most are zero, so that a feature that hardly ever differs from zero weighs little.
    """
    mean, var = np.empty(F.shape[1], dtype=np.float32), np.empty(F.shape[1], dtype=np.float32)
    for i in range(0, F.shape[1], 4096):
        block = F[:, i : i + 4096].astype(np.float64)
        mean[i : i + 4096], var[i : i + 4096] = block.mean(axis=0), block.std(axis=0)
    flat = var < 1e-6 * np.maximum(np.abs(mean), 1e-3)
    var[:sparse] += (F[:, :sparse] == 0).mean(axis=0, dtype=np.float64).astype(np.float32) ** 4 + np.float32(1e-8)
    return mean, np.where(flat, np.float32(1.0), var)
