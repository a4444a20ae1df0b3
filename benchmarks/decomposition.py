"""Reducers against scikit-learn called directly: CPU seconds, errors, and one row through the pack.

    OMP_NUM_THREADS=1 python benchmarks/decomposition.py

Both sides run in turn in one process, the median of several runs each. The error of PCA is |X - rebuilt| / |X| of the
centred rows; that of NMF is |X - W H|. "till as good" is the time our NMF takes to scikit-learn's final error.
"""

from __future__ import annotations

import time
import warnings
from functools import partial

import numpy as np
import sklearn.cross_decomposition as cross
import sklearn.decomposition as theirs
from sklearn.datasets import load_digits

import everymodel as em
from everymodel import catalog

RUNS = 5


def seconds(function, runs: int = RUNS) -> float:
    """Median CPU seconds."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def in_turn(first, second) -> tuple[float, float]:
    """Median CPU seconds of two functions that take turns."""
    pairs = [(seconds(first, 1), seconds(second, 1)) for _ in range(RUNS)]
    return float(np.median([a for a, _ in pairs])), float(np.median([b for _, b in pairs]))


def line(what: str, ours: float, other: float, note: str) -> None:
    print(f"{what:34} {ours:8.3f} {other:8.3f} {ours / other:7.2f}   {note}")


def lost(model, X: np.ndarray) -> float:
    centred = X - X.mean(axis=0)
    back = model.inverse_transform(model.transform(X)) - X.mean(axis=0)
    return float(np.linalg.norm(centred - back) / np.linalg.norm(centred))


def pca() -> None:
    rng = np.random.default_rng(0)
    for n, p, k in ((20_000, 500, 20), (500, 5000, 20), (100_000, 20, 5)):
        X = rng.normal(size=(n, 10)) @ rng.normal(size=(10, p)) + 3 * rng.normal(size=(n, p))
        ours, other = in_turn(partial(em.PCA(k).fit, X), partial(theirs.PCA(k).fit, X))
        a, b = lost(em.PCA(k).fit(X), X), lost(theirs.PCA(k).fit(X), X)
        line(f"PCA({k}) of {n} x {p}", ours, other, f"error {a:.6f} against {b:.6f}")
        if n == 20_000:
            c = theirs.PCA(k, svd_solver="randomized", random_state=0)
            slow = seconds(partial(c.fit, X), 3)
            line("  against its randomized solver", ours, slow, f"error {a:.6f} against {lost(c.fit(X), X):.6f}")


def nmf() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.random((2000, 20)) ** 3 @ rng.random((20, 500)) ** 3 + 0.05 * rng.random((2000, 500))
    noise = np.abs(rng.normal(size=(2000, 500)))
    for what, X in (("20 planted parts", mixed), ("noise", noise), ("digits", load_digits().data / 16.0)):
        mine, other = em.NMF(20, random_state=0), theirs.NMF(20, max_iter=200, random_state=0)
        fast, slow = in_turn(partial(mine.fit, X), partial(other.fit, X))
        a, b = mine.reconstruction_err_, other.reconstruction_err_
        rounds = next((i for i in range(5, 301, 5) if _error(X, i) <= b), None)
        note = f"error {a:.3f} against {b:.3f}"
        if rounds:
            soon = seconds(partial(em.NMF(20, random_state=0, max_iter=rounds).fit, X), 3)
            note += f"; till as good {soon:.3f} s"
        else:
            note += "; not as good in 300 rounds"
        line(f"NMF(20) of {len(X)} x {X.shape[1]}, {what}", fast, slow, note)
        fast, slow = in_turn(partial(mine.transform, X), partial(other.transform, X))
        gap = [np.linalg.norm(X - m.transform(X) @ m.components_) for m in (mine, other)]
        line("  transform of all rows", fast, slow, f"error {gap[0]:.3f} against {gap[1]:.3f}")


def _error(X: np.ndarray, rounds: int) -> float:
    return em.NMF(20, random_state=0, max_iter=rounds).fit(X).reconstruction_err_


def pls() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 200))
    for targets in (1, 5):
        Y = X @ rng.normal(size=(200, targets)) + rng.normal(size=(5000, targets))
        y = Y[:, 0] if targets == 1 else Y
        ours, other = in_turn(partial(em.PLSRegression(10).fit, X, y), partial(cross.PLSRegression(10).fit, X, y))
        a, b = em.PLSRegression(10).fit(X, y).score(X, y), cross.PLSRegression(10).fit(X, y).score(X, y)
        line(f"PLS(10) of 5000 x 200, {targets} target(s)", ours, other, f"R2 {a:.6f} against {b:.6f}")


def rows() -> None:
    """One row: the step of the pack against the library's transform, microseconds of wall time."""
    X = load_digits().data / 16.0
    print(f"\n{'one row of digits':34} {'us':>8} {'sklearn':>8} {'ratio':>7}")
    for card in catalog.cards():
        if card.kind != "reducer" or card.family != "decomposition" or card.name == "partial_least_squares":
            continue
        model = catalog.make(card, **({"n_components": 10}))
        model.fit(X[:1000])
        step = catalog.module(card).pack(model)
        other = getattr(theirs, card.class_name, None)
        other = other(10).fit(X[:1000]) if other else model
        row = X[1000:1001]
        times = []
        for call in (step, other.transform):
            call(row)
            taken = []
            for _ in range(300):
                start = time.perf_counter()
                call(row)
                taken.append(time.perf_counter() - start)
            times.append(float(np.median(taken)) * 1e6)
        print(f"{card.title:34} {times[0]:8.0f} {times[1]:8.0f} {times[0] / times[1]:7.2f}")


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"{'CPU seconds':34} {'ours':>8} {'sklearn':>8} {'ratio':>7}")
    pca()
    nmf()
    pls()
    rows()


if __name__ == "__main__":
    main()
