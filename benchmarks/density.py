"""DBSCAN, HDBSCAN, OPTICS and Gaussian mixtures beside scikit-learn's, and their answers to rows never seen.

    OMP_NUM_THREADS=1 python benchmarks/density.py [--large] [--rows 20]

Speed: CPU seconds of scikit-learn's fit and the ratio of ours to it, both the median of three runs in turn (one run
where a fit takes over five seconds); the adjusted Rand index between the two, and of each against the groups that were
planted; CPU microseconds that our `predict` takes for a row.

New rows: a model is fitted on all rows but one, and the one is predicted; then the model is fitted again with it. How
often both give the row the same group (groups matched by the other rows), over `rows` rows of each set: of those that
the second fit puts into a group, for DBSCAN of its core rows, for mixtures of those it is 90 % sure of; of these where
the two fits agree on at least 99 % of the other rows, so that it is the answer that is judged and not whether a method
finds the same groups again; and of all.

Eps: mean and median Rand index of DBSCAN with the eps that it finds, and with the best of 26 quantiles of the
distances, which are looked up in the planted groups.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.mixture
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits, load_iris, load_wine, make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from everymodel import DBSCAN, HDBSCAN, OPTICS, BayesianGaussianMixture, GaussianMixture


def seconds(work: Callable[[np.ndarray], Any], X: np.ndarray) -> tuple[float, Any]:
    started = time.process_time()
    result = work(X)
    return time.process_time() - started, result


def speed(large: bool) -> None:
    print(
        "| method | rows x columns | scikit-learn s | ours / it | ARI ours : it | ARI it | ARI ours | predict us/row |"
    )
    print("|---|---|---|---|---|---|---|---|")
    sizes = [(2000, 2, 0.6), (10000, 20, 2.5), (20000, 3, 0.5)] + (
        [(50000, 20, 2.5), (100000, 2, 0.5)] if large else []
    )
    for n, p, spread in sizes:
        X, y = make_blobs(n, p, centers=10, cluster_std=spread, random_state=0)
        eps = DBSCAN(min_samples=10).fit(X[:: max(1, n // 5000)]).eps_
        pairs: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
            (
                "DBSCAN",
                lambda eps=eps: sklearn.cluster.DBSCAN(eps=eps, min_samples=10),
                lambda eps=eps: DBSCAN(eps=eps, min_samples=10),
            ),
            (
                "HDBSCAN",
                lambda: sklearn.cluster.HDBSCAN(min_cluster_size=50, min_samples=5, copy=True),
                lambda: HDBSCAN(min_cluster_size=50, min_samples=5),
            ),
            (
                "Gaussian mixture, 10 full",
                lambda: sklearn.mixture.GaussianMixture(10, random_state=0),
                lambda: GaussianMixture(10, random_state=0),
            ),
            (
                "Bayesian mixture, 15 diag",
                lambda: sklearn.mixture.BayesianGaussianMixture(
                    n_components=15,
                    covariance_type="diag",
                    weight_concentration_prior=None,
                    random_state=0,
                    max_iter=300,
                ),
                lambda: BayesianGaussianMixture(15, covariance_type="diag", random_state=0),
            ),
        ]
        if n <= 2000:
            pairs.append(
                (
                    "OPTICS",
                    lambda: sklearn.cluster.OPTICS(min_samples=10, min_cluster_size=50),
                    lambda: OPTICS(min_samples=10, min_cluster_size=50),
                )
            )
        for name, theirs, ours in pairs:
            theirs_took, ours_took = [], []
            old: Any = None
            new: Any = None
            for _ in range(3):
                took, old = seconds(theirs().fit, X)
                theirs_took.append(took)
                took, new = seconds(ours().fit, X)
                ours_took.append(took)
                if theirs_took[0] > 5:
                    break
            old_labels = old.labels_ if hasattr(old, "labels_") else old.predict(X)
            asked = X[: min(n, 10000)] + 1e-6
            answering, _ = seconds(new.predict, asked)
            took = statistics.median(theirs_took)
            print(
                f"| {name} | {n} x {p} | {took:.2f} | {statistics.median(ours_took) / took:.2f} "
                f"| {adjusted_rand_score(old_labels, new.labels_):.4f} | {adjusted_rand_score(y, old_labels):.3f} "
                f"| {adjusted_rand_score(y, new.labels_):.3f} | {1e6 * answering / len(asked):.0f} |",
                flush=True,
            )


def sets(seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    yield "moons", *make_moons(800, noise=0.06, random_state=seed)
    yield "circles", *make_circles(800, noise=0.05, factor=0.5, random_state=seed)
    for p in (2, 5, 20):
        X, y = make_blobs(1000, p, centers=5, cluster_std=1.0, random_state=seed)
        yield f"blobs in {p}", X, y
        noise = random.uniform(X.min(axis=0) - 1, X.max(axis=0) + 1, (100, p))
        yield f"blobs in {p} and noise", np.r_[X, noise], np.r_[y, np.full(100, -1)]
        yield (
            f"unequal in {p}",
            *make_blobs(1000, p, centers=5, cluster_std=[0.3, 0.5, 0.8, 1.2, 1.6], random_state=seed),
        )
    X, y = make_blobs(1000, 2, centers=5, random_state=seed)
    yield "two rows far off", np.r_[X, [[1e4, 1e4], [-1e4, 300.0]]], np.r_[y, -1, -1]
    if seed == 0:
        yield "iris", *load_iris(return_X_y=True)
        yield "wine", *load_wine(return_X_y=True)
        yield "digits", *load_digits(return_X_y=True)


def matched(known: np.ndarray, other: np.ndarray) -> dict[int, int]:
    """Which group of `known` each group of `other` is, by the rows they share; -1 stays -1."""
    table = np.zeros((max(int(known.max()), 0) + 1, max(int(other.max()), 0) + 1))
    both = (known >= 0) & (other >= 0)
    np.add.at(table, (known[both], other[both]), 1)
    mine, its = linear_sum_assignment(-table)
    return {-1: -1, **dict(zip(its.tolist(), mine.tolist()))}


def new_rows(rows: int) -> None:
    methods: dict[str, tuple[Callable[[float], Any], Callable[[Any, np.ndarray, int], bool]]] = {
        "DBSCAN": (lambda eps: DBSCAN(eps=eps), lambda m, X, i: i in m.core_sample_indices_),
        "HDBSCAN": (lambda eps: HDBSCAN(30, min_samples=5), lambda m, X, i: m.labels_[i] >= 0),
        "OPTICS": (lambda eps: OPTICS(10, min_cluster_size=50), lambda m, X, i: m.labels_[i] >= 0),
        "Gaussian mixture": (
            lambda eps: GaussianMixture(5, random_state=0),
            lambda m, X, i: m.predict_proba(X[i : i + 1]).max() > 0.9,
        ),
    }
    print("| method | sets | rows in a group | same | of these, fits agree | same | all rows | same | worst set |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (make, counts) in methods.items():
        same: list[bool] = []
        core: list[bool] = []
        agree: list[bool] = []
        by_set: dict[str, float] = {}
        for label, raw, _ in sets(0):
            X = StandardScaler().fit_transform(raw)
            random = np.random.default_rng(1)
            eps = DBSCAN().fit(X).eps_
            full = make(eps).fit(X)
            before = len(same)
            for i in random.choice(len(X), rows, replace=False).tolist():
                others = np.arange(len(X)) != i
                part = make(eps).fit(X[others])
                names = matched(part.labels_, full.labels_[others])
                told = int(part.predict(X[i : i + 1])[0])
                same.append(told == names.get(int(full.labels_[i]), -2))
                again = np.array([names.get(g, -2) for g in full.labels_[others].tolist()])
                agree.append(bool(np.mean(again == part.labels_) >= 0.99))
                core.append(bool(counts(full, X, i)))
            mine = [s for s, c in zip(same[before:], core[before:]) if c]
            by_set[label] = float(np.mean(mine)) if mine else 1.0
        worst = min(by_set, key=lambda s: by_set[s])
        inside = [s for s, c in zip(same, core) if c]
        judged = [s for s, c, a in zip(same, core, agree) if c and a]
        print(
            f"| {name} | {len(by_set)} | {len(inside)} | {np.mean(inside):.4f} | {len(judged)} "
            f"| {np.mean(judged):.4f} | {len(same)} | {np.mean(same):.4f} "
            f"| {worst} {by_set[worst]:.2f} |",
            flush=True,
        )


def found_eps() -> None:
    print("| min_samples | mean ARI, eps found | median | mean, best eps | median |\n|---|---|---|---|---|")
    for least in (5, 10):
        ours, best = [], []
        for seed in range(3):
            for _, raw, y in sets(seed):
                X = StandardScaler().fit_transform(raw)
                ours.append(adjusted_rand_score(y, DBSCAN(min_samples=least).fit(X).labels_))
                distance = NearestNeighbors(n_neighbors=least).fit(X).kneighbors(X)[0][:, -1]
                tries = np.maximum(np.quantile(distance, np.linspace(0.5, 1, 26)), 1e-12)
                best.append(
                    max(
                        adjusted_rand_score(y, sklearn.cluster.DBSCAN(eps=e, min_samples=least).fit_predict(X))
                        for e in tries
                    )
                )
        print(
            f"| {least} | {np.mean(ours):.3f} | {np.median(ours):.3f} | {np.mean(best):.3f} | {np.median(best):.3f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rows", type=int, default=20)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    speed(arguments.large)
    print()
    new_rows(arguments.rows)
    print()
    found_eps()
