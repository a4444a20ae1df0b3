"""New rows: what `predict` says against a refit that had them, for every clusterer of the catalogue.

    OMP_NUM_THREADS=1 python benchmarks/cluster_predict.py [--rounds 3] [--models kmeans hdbscan]

Each method is fitted on 80 % of planted sets that it can get right (round groups, far apart and touching; moons and
rings for methods that follow shapes) and asks `predict` for the rest. These answers are compared with the labels of a
fit on all rows, groups matched one to one (Hungarian). Settings that the first fit found by itself (DBSCAN's eps) are
kept for the second; each method runs with the first preset of its card. Core rows are those that the refit is sure of:
confidence above 0.9 and no noise. "fits" is the share of the rows of both fits on which these agree: where they found
other groups, no answer for new rows could agree. "..alike" looks at the rounds in which the fits agree on 98 % of their
rows; there the bar is 99 % of core rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

from everymodel import catalog
from everymodel.core.card import Card

SHAPES = {"dbscan", "hdbscan", "optics", "spectral"}  # follow groups of any shape
FEW = 1500


def sets(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    rng = np.random.default_rng(seed)

    def blobs(n: int, d: int, k: int, spread: float, apart: float = 7.0) -> tuple[np.ndarray, np.ndarray, int]:
        centers = np.zeros((0, d))
        while len(centers) < k:  # 7: apart enough for every method to be right
            c = rng.uniform(-10, 10, d)
            if not len(centers) or np.sqrt(((centers - c) ** 2).sum(axis=1)).min() > apart * spread:
                centers = np.concatenate([centers, c[None]])
        at = rng.integers(k, size=n)
        return centers[at] + spread * rng.normal(size=(n, d)), at, k

    return {
        "blobs 2-d": blobs(FEW, 2, 5, 0.8),
        "blobs 8-d": blobs(FEW, 8, 6, 1.0),
        "touching": blobs(FEW, 3, 4, 1.0, 4.5),
        "moons": (*make_moons(FEW, noise=0.05, random_state=seed), 2),
        "rings": (*make_circles(FEW, noise=0.03, factor=0.5, random_state=seed), 2),
    }


def fitted(card: Card, X: np.ndarray, k: int, tiny: dict[str, Any]) -> tuple[np.ndarray, Any, dict[str, Any]]:
    """(labels of the fit, packed step, settings that the fit found by itself)."""
    declared = {p.name for p in card.parameters}
    words = {w: k for w in ("n_clusters", "n_components") if w in declared}
    model = catalog.make(card, **{**card.presets[0], **words, **tiny})
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    module = catalog.module(card)
    hook = getattr(module, "fit", None)
    model = hook(model, X, None) if hook else model.fit(X)
    own = {p: getattr(model, f"{p}_") for p in declared if getattr(model, p) is None and hasattr(model, f"{p}_")}
    return np.asarray(model.labels_), module.pack(model), own


def told(step: Any, X: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """(label, -1 for noise; confidence)."""
    p = step(X)
    label = p.argmax(axis=1)
    label[label >= groups] = -1
    return label, p.max(axis=1)


def matched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Labels a in the numbers of b: the one-to-one matching that agrees on most rows; noise stays noise."""
    k = max(int(a.max()), int(b.max())) + 1
    both = (a >= 0) & (b >= 0)
    table = np.zeros((k, k))
    np.add.at(table, (a[both], b[both]), 1)
    rows, columns = linear_sum_assignment(-table)
    to = np.empty(k, dtype=int)
    to[rows] = columns
    return np.where(a >= 0, to[np.maximum(a, 0)], -1)


def main(rounds: int, names: list[str]) -> None:
    print(f"{'method':34s} {'set':10s} {'ARI':>6s} {'rows of the fit':>16s} {'new rows':>9s} {'new core':>9s} "
          f"{'..alike':>9s} {'fits':>9s} {'core share':>10s} {'fit s':>7s}")  # fmt: skip
    worst: dict[str, float] = {}
    for card in catalog.cards():
        if card.kind != "clusterer" or (names and card.name not in names) or not catalog.available(card):
            continue
        variants: list[tuple[str, dict[str, Any]]] = [(card.name, {})]
        if card.name == "agglomerative":
            variants = [(f"{card.name}, {w}", {"linkage": w}) for w in ("ward", "complete", "average", "single")]
        for title, tiny in variants:
            shapes = card.name in SHAPES or tiny.get("linkage") == "single"
            for which in ["blobs 2-d", "blobs 8-d", "touching", *(["moons", "rings"] if shapes else [])]:
                found = []
                for seed in range(rounds):
                    X, truth, k = sets(seed)[which]
                    held = np.random.default_rng([seed, 1]).random(len(X)) < 0.2
                    start = time.process_time()
                    try:
                        labels, step, own = fitted(card, X, k, tiny)
                        took = time.process_time() - start
                        some, part, _ = fitted(card, X[~held], k, {**tiny, **own})
                    except Exception as error:
                        print(f"{title:34s} {which:10s} {type(error).__name__}: {str(error)[:80]}")
                        break
                    groups = int(labels.max()) + 1
                    again, sure = told(step, X, groups)
                    new, _ = told(part, X[held], int(some.max()) + 1)
                    kept, _ = told(part, X[~held], int(some.max()) + 1)
                    # The matching is learnt on the rows that both fits had.
                    same = matched(
                        np.concatenate([some, new]), labels[np.r_[np.flatnonzero(~held), np.flatnonzero(held)]]
                    )
                    agree = same[len(some) :] == labels[held]
                    fits = np.mean(same[: len(some)] == labels[~held])
                    core = (sure[held] > 0.9) & (labels[held] >= 0)
                    sure_of = agree[core].mean() if core.any() else np.nan
                    ari = adjusted_rand_score(truth, labels)
                    row = [
                        fits,
                        ari,
                        np.mean(again == labels),
                        np.mean(kept == some),
                        agree.mean(),
                        sure_of,
                        core.mean(),
                        took,
                    ]
                    found.append(row)
                if not found:
                    continue
                fits, ari, again, kept, every, core, share, took = np.mean(found, axis=0)
                like = [row[5] for row in found if row[0] >= 0.98]
                if like:
                    worst[title] = min(worst.get(title, 1.0), float(np.mean(like)))
                print(f"{title:34s} {which:10s} {ari:6.3f} {min(again, kept):16.4f} {every:9.4f} {core:9.4f} "
                      f"{np.mean(like) if like else np.nan:9.4f} {fits:9.4f} {share:10.2f} "
                      f"{took:7.3f}", flush=True)  # fmt: skip
    bad = {t: round(float(w), 4) for t, w in worst.items() if not w >= 0.99}
    print(
        f"{len(worst) - len(bad)} of {len(worst)} methods agree on 99 % of core rows or more; others: {bad or 'none'}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=[])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    main(options.rounds, options.models)
