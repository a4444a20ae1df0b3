"""Maps of digits against scikit-learn's t-SNE called directly, and umap-learn and openTSNE where they are installed.

    OMP_NUM_THREADS=1 python benchmarks/maps.py

One process, CPU seconds. Trustworthiness looks at 10 neighbours on the rows as they are (1797 x 64). "vote" is the
share of 597 rows left out of the fit whose 10 nearest places on the map, among the 1,200 drawn, have their digit.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.manifold
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

import everymodel as em
from everymodel import catalog

DRAWN = 1200


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came out."""
    start = time.process_time()
    out = function()
    return time.process_time() - start, out


def others() -> dict[str, Callable[[], Any]]:
    """Makers of maps to compare with: each has fit_transform."""
    found: dict[str, Callable[[], Any]] = {"scikit-learn t-SNE": lambda: sklearn.manifold.TSNE(random_state=0)}
    if importlib.util.find_spec("umap"):
        found["umap-learn"] = lambda: importlib.import_module("umap").UMAP(random_state=0, n_jobs=1)
    if importlib.util.find_spec("openTSNE"):
        found["openTSNE"] = lambda: _Fits(importlib.import_module("openTSNE").TSNE(random_state=0, n_jobs=1))
    return found


class _Fits:
    def __init__(self, source: Any):
        self.source = source

    def fit_transform(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.source.fit(X))


def fits(X: np.ndarray) -> None:
    print(f"{'fit of 1797 x 64':36} {'CPU-s':>8} {'trust':>8}")
    em.TSNE(max_iter=50).fit(X[:100])
    rows: dict[str, Callable[[], Any]] = {"everymodel t-SNE": lambda: em.TSNE(random_state=0)}
    if importlib.util.find_spec("umap"):
        rows["everymodel UMAP"] = lambda: em.UMAP(random_state=0)
    for name, make in {**rows, **others()}.items():
        taken, places = zip(*(seconds(lambda make=make: make().fit_transform(X)) for _ in range(3)))
        trust = np.mean([trustworthiness(X, Y, n_neighbors=10) for Y in places])
        first = f"   (first call {taken[0]:.2f})" if taken[0] > 1.5 * np.median(taken) else ""
        print(f"{name:36} {np.median(taken):8.2f} {trust:8.4f}{first}")


def places(X: np.ndarray, y: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(len(X))
    learn, new = order[:DRAWN], order[DRAWN:]
    print(f"\n{'places for new rows':36} {'vote':>8} {'first, s':>8} {'ms/row':>8}")
    for card in catalog.cards():
        if card.kind != "reducer" or card.family != "manifold" or not catalog.available(card):
            continue
        model = catalog.make(card).fit(X[learn])
        step = catalog.module(card).pack(model)
        first, _ = seconds(lambda step=step: step(X[new[:1]]))
        taken, T = seconds(lambda step=step: step(X[new]))
        vote = KNeighborsClassifier(10).fit(model.embedding_, y[learn]).score(T, y[new])
        print(f"{card.title:36} {vote:8.3f} {first:8.3f} {1000 * taken / len(new):8.3f}")
    vote = KNeighborsClassifier(10).fit(X[learn], y[learn]).score(X[new], y[new])
    print(f"{'in all 64 columns':36} {vote:8.3f}")


def sizes() -> None:
    print(f"\n{'t-SNE of 20 groups, 20 columns':36} {'CPU-s':>8}")
    rng = np.random.default_rng(0)
    for n in (2000, 5000, 10_000, 20_000):
        centres = 2.0 * rng.normal(size=(20, 20))
        X = centres[rng.integers(0, 20, n)] + rng.normal(size=(n, 20)) * rng.uniform(0.3, 1.0, 20)
        print(f"{n:36,} {seconds(lambda X=X: em.TSNE(random_state=0).fit(X))[0]:8.2f}")


def main() -> None:
    warnings.simplefilter("ignore")
    X, y = load_digits(return_X_y=True)
    fits(X)
    places(X, y)
    sizes()


if __name__ == "__main__":
    main()
