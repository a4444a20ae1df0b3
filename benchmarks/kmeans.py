"""K-means: everymodel's default beside one scikit-learn run and the best of 50, on 30 sets.

    OMP_NUM_THREADS=1 python benchmarks/kmeans.py [--starts 50] [--seeds 3]

For every set: rows, columns, groups; excess of the inertia over the best of `starts` scikit-learn runs, in per cent,
for one scikit-learn run and for ours (mean over the seeds, and our worst); CPU seconds of one scikit-learn run
(n_init=1, as it comes) and the ratio of ours to it, both the median over the seeds, run in turn in this process. Then
50,000 x 20 with 100 groups beside scikit-learn in float32, and faiss where it is installed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sklearn.cluster
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from everymodel import KMeans

# rows, columns, groups planted, groups asked for, spread of a group, whether sizes are unequal, whether spreads differ
BLOBS = [
    (500, 2, 3, 3, 1.0, False, False),
    (500, 2, 8, 8, 1.0, True, False),
    (600, 5, 12, 12, 1.5, False, True),
    (800, 10, 5, 5, 3.0, True, True),
    (1000, 2, 15, 15, 0.6, False, False),
    (1000, 3, 20, 20, 1.0, True, True),
    (1500, 20, 10, 10, 4.0, False, False),
    (2000, 2, 30, 30, 0.5, False, False),
    (2000, 8, 6, 12, 2.0, False, False),
    (2500, 50, 25, 25, 2.0, True, False),
    (3000, 4, 50, 50, 0.7, False, True),
    (4000, 16, 9, 9, 4.0, True, True),
    (5000, 2, 35, 35, 0.4, False, False),
    (5000, 10, 20, 10, 1.0, False, False),
    (5000, 30, 40, 40, 3.0, True, False),
    (8000, 6, 25, 25, 1.5, False, True),
    (10000, 2, 50, 50, 0.3, True, False),
    (10000, 20, 10, 10, 4.0, False, False),
    (10000, 50, 50, 50, 3.0, False, False),
    (15000, 12, 30, 30, 2.0, True, True),
    (20000, 3, 18, 18, 1.2, False, False),
    (20000, 25, 12, 24, 2.0, False, False),
    (30000, 10, 40, 40, 1.0, True, False),
    (40000, 5, 7, 7, 2.0, True, True),
    (50000, 20, 10, 10, 4.0, False, False),
    (50000, 50, 50, 50, 2.0, False, False),
]


def blobs(
    rng: np.random.Generator, n: int, d: int, groups: int, spread: float, unequal: bool, differ: bool
) -> np.ndarray:
    """Round groups with centres in a box of side 20."""
    centers = rng.uniform(-10, 10, (groups, d))
    weights = rng.dirichlet(np.full(groups, 2.0)) if unequal else np.full(groups, 1 / groups)
    widths = spread * (rng.uniform(0.4, 2.0, groups) if differ else np.ones(groups))
    at = rng.choice(groups, n, p=weights)
    return centers[at] + rng.normal(size=(n, d)) * widths[at, None]


def sets() -> Iterator[tuple[str, np.ndarray, int]]:
    for i, (n, d, groups, k, spread, unequal, differ) in enumerate(BLOBS):
        rng = np.random.default_rng([7, i])
        yield f"blobs {i + 1}", blobs(rng, n, d, groups, spread, unequal, differ), k
    yield "digits", load_digits().data, 10
    yield "wine", StandardScaler().fit_transform(load_wine().data), 3
    yield "cancer", StandardScaler().fit_transform(load_breast_cancer().data), 4
    yield "iris", load_iris().data, 3


def timed(fit: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = fit()
    return time.process_time() - start, made


def inertia(X: np.ndarray, centers: np.ndarray) -> float:
    """Exact, by direct differences, from the centres alone."""
    from everymodel.scoring.steps.groups import squared_distances

    return float(squared_distances(X, np.asarray(centers, dtype=np.float64)).min(axis=1).sum())


def suite(starts: int, seeds: int) -> None:
    print(f"{'set':10s} {'rows':>6s} {'cols':>4s} {'k':>3s} {'one run %':>10s} {'ours %':>8s} {'worst %':>8s} "
          f"{'one run s':>10s} {'ours s':>8s} {'ratio':>6s}")  # fmt: skip
    good, totals = [], []
    for name, X, k in sets():
        theirs, ours = [], []
        for seed in range(seeds):
            theirs.append(timed(lambda: sklearn.cluster.KMeans(k, n_init=1, random_state=seed).fit(X)))  # noqa: B023
            ours.append(timed(lambda: KMeans(k, random_state=seed).fit(X)))  # noqa: B023
        many = [sklearn.cluster.KMeans(k, n_init=1, random_state=1000 + s).fit(X) for s in range(starts)]
        best = min(inertia(X, m.cluster_centers_) for m in sorted(many, key=lambda m: m.inertia_)[:3])
        excess = np.array(
            [[100 * (inertia(X, m.cluster_centers_) / best - 1) for _, m in runs] for runs in (theirs, ours)]
        )
        seconds = [float(np.median([s for s, _ in runs])) for runs in (theirs, ours)]
        good.append((excess <= 0.1).mean(axis=1))
        totals.append(seconds)
        print(f"{name:10s} {len(X):6d} {X.shape[1]:4d} {k:3d} {excess[0].mean():10.3f} {excess[1].mean():8.3f} "
              f"{excess[1].max():8.3f} {seconds[0]:10.4f} {seconds[1]:8.4f} {seconds[1] / seconds[0]:6.2f}",
              flush=True)  # fmt: skip
    share, sums = np.mean(good, axis=0), np.sum(totals, axis=0)
    ratios = np.array([ours / theirs for theirs, ours in totals])
    print(f"fits within 0.1 % of the best of {starts}: ours {share[1]:.1%}, one scikit-learn run {share[0]:.1%}; "
          f"sets where all {seeds} are: ours {sum(g[1] == 1 for g in good)}, "
          f"scikit-learn {sum(g[0] == 1 for g in good)} of {len(good)}")  # fmt: skip
    print(f"CPU seconds, ours / one scikit-learn run: all sets together {sums[1] / sums[0]:.2f}, median "
          f"{np.median(ratios):.2f}, largest {ratios.max():.2f}, at most 2 on {(ratios <= 2).sum()} sets")  # fmt: skip


def large() -> None:
    rng = np.random.default_rng(0)
    X = blobs(rng, 50000, 20, 10, 4.0, False, False)
    X32 = X.astype(np.float32)
    print("\n50,000 x 20, 100 groups: CPU seconds, inertia")
    runs: list[tuple[str, Callable[[], Any]]] = [
        ("scikit-learn float64", lambda: sklearn.cluster.KMeans(100, n_init=1, random_state=0).fit(X).cluster_centers_),
        (
            "scikit-learn float32",
            lambda: sklearn.cluster.KMeans(100, n_init=1, random_state=0).fit(X32).cluster_centers_,
        ),
        ("everymodel", lambda: KMeans(100, random_state=0).fit(X).cluster_centers_),
    ]
    try:
        import faiss  # pyright: ignore[reportMissingImports]

        def by_faiss() -> np.ndarray:
            made = faiss.Kmeans(20, 100, niter=25, max_points_per_centroid=10**6, seed=1)
            made.train(X32)
            return made.centroids

        runs.append(("faiss, 25 iterations", by_faiss))
    except ImportError:
        print("(faiss is not installed)")
    for name, fit in runs:
        fit()
        seconds, centers = timed(fit)
        print(f"{name:22s} {seconds:8.3f} {inertia(X, centers):12.5g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="only the large set")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if not options.large:
        suite(options.starts, options.seeds)
    large()
