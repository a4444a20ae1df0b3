"""Fuzzy c-means: everymodel's default and m=2 beside scikit-fuzzy, on 50,000 x 20 with 10 groups.

    OMP_NUM_THREADS=1 python benchmarks/fuzzy_c_means.py [--rounds 3]

CPU seconds (median, run in turn in this process), iterations, adjusted Rand index against the planted groups, partition
coefficient, smallest distance between two centres. Where scikit-fuzzy is not installed, its loop is run as its
documentation describes it, in numpy alone: random memberships, distances, update, until they change by less than 0.005.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from everymodel import FuzzyCMeans


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centers = rng.uniform(-10, 10, (10, 20))
    at = rng.integers(10, size=50_000)
    return centers[at] + 4 * rng.normal(size=(50_000, 20)), at


def peer(X: np.ndarray, c: int, m: float) -> tuple[str, np.ndarray, np.ndarray, int]:
    """(name, centres (c, p), memberships (n, c), iterations) of scikit-fuzzy, or of its loop."""
    try:
        from skfuzzy.cluster import cmeans  # pyright: ignore[reportMissingImports]
    except ImportError:
        pass
    else:
        centers, u, _, _, _, done, _ = cmeans(X.T, c, m, error=0.005, maxiter=1000, seed=0)
        return "scikit-fuzzy", centers, u.T, done
    u = np.random.default_rng(0).random((c, len(X)))
    centers, done = u, 0
    while done < 1000:
        done += 1
        before = u = u / u.sum(axis=0)
        w = np.fmax(u, np.finfo(float).eps) ** m
        centers = (w @ X) / w.sum(axis=1, keepdims=True)
        d = np.fmax(np.sqrt(np.maximum(((X**2).sum(axis=1) - 2 * centers @ X.T
                    + (centers**2).sum(axis=1)[:, None]), 0)), 1e-15)  # fmt: skip
        u = d ** (-2.0 / (m - 1))
        u /= u.sum(axis=0)
        if np.linalg.norm(u - before) < 0.005:
            break
    return "scikit-fuzzy's loop", centers, u.T, done


def main(rounds: int) -> None:
    X, truth = data()
    runs: dict[str, list[Any]] = {}
    for _ in range(rounds):
        start = time.process_time()
        name, centers, u, done = peer(X, 10, 2.0)
        took = time.process_time() - start
        runs.setdefault(f"{name}, m=2 (default)", []).append((took, centers, u, done, ""))
        for title, m in (("everymodel, default", "auto"), ("everymodel, m=2", 2.0)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                start = time.process_time()
                f = FuzzyCMeans(10, m=m, random_state=0).fit(X)
                took = time.process_time() - start
            note = f"m={f.m_:.3f}" + ("; warned of coinciding centres" if caught and f.coincident_ else "")
            runs.setdefault(title, []).append((took, f.cluster_centers_, f.memberships_, f.n_iter_, note))
    print(f"{'':36s} {'CPU s':>7s} {'iter':>5s} {'ARI':>6s} {'fpc':>6s} {'closest':>8s}")
    first = None
    for title, several in runs.items():
        took = float(np.median([r[0] for r in several]))
        first = first or took
        _, centers, u, done, note = several[-1]
        gap = np.sqrt(((centers[:, None] - centers[None]) ** 2).sum(axis=2))[np.triu_indices(10, 1)].min()
        ari = adjusted_rand_score(truth, u.argmax(axis=1))
        print(f"{title:36s} {took:7.3f} {done:5d} {ari:6.3f} {(u**2).sum() / len(X):6.3f} {gap:8.3f}  "
              f"{took / first:.2f} of the first's time  {note}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
