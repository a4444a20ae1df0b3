"""Are groups real: would they be found again in other rows of the same kind."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.seeds import derive
from everymodel.workflow.train import make

ROWS = 800  # rows that resamples are drawn from
DRAWS = 20
SAME = 0.6  # overlap (Jaccard) from which on a group counts as found again (Hennig 2007: below, it is dissolved)


@dataclass
class Stability:
    """`ari` (draws,): agreement of each resample's groups with the model's; `found` (k,): share of draws by group."""

    ari: np.ndarray
    found: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.ari.mean()) if len(self.ari) else float("nan")

    def interval(self) -> tuple[float, float]:
        if not len(self.ari):
            return float("nan"), float("nan")
        low, high = np.quantile(self.ari, (0.025, 0.975))
        return float(low), float(high)


@dataclass
class Resample:
    """Refit on halves of the rows, drawn anew each time, answer all of them, compare; a job for the fitting process.

    Drawing without putting back keeps density methods from taking copies of a row for a dense place.
    """

    card: str
    parameters: dict[str, Any]
    rows: np.ndarray  # (m,) row numbers
    labels: np.ndarray  # (m,) the model's own groups, -1 for noise
    seed: int = 0
    draws: int = DRAWS
    kind: str = "clusterer"
    threads: int = 1
    fit: Any = None  # not used here; the crew looks at them
    valid: Any = None

    def run(self, material: Any, stop: Callable[[], bool] | None = None) -> Stability:
        card = catalog.find(self.card, kind=self.kind)
        module = catalog.module(card)
        X = material.matrix(card).X[self.rows]
        random = np.random.default_rng(derive(self.seed, "resample", self.card))
        agreed, found = [], []
        for draw in range(self.draws):
            if agreed and stop and stop():
                break
            at = np.sort(random.choice(len(X), max(len(X) // 2, min(len(X), 4)), replace=False))
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    model = make(card, self.parameters, derive(self.seed, "draw", draw), self.threads)
                    answers = module.pack(model.fit(X[at]))(X)
                except (ValueError, ArithmeticError):
                    continue  # such as more groups than different rows in this half
            again = named(answers, int(model.labels_.max(initial=-1)) + 1)
            agreed.append(_ari(self.labels, again))
            found.append(overlaps(self.labels, again) >= SAME)
        groups = int(self.labels.max(initial=-1)) + 1
        return Stability(np.array(agreed), np.mean(found, axis=0) if found else np.full(groups, np.nan))


def named(answers: np.ndarray, groups: int) -> np.ndarray:
    """(n,) group numbers from memberships; a column beyond `groups` is noise, -1."""
    best = answers.argmax(axis=1)
    return np.where(best >= groups, -1, best)


def overlaps(labels: np.ndarray, again: np.ndarray) -> np.ndarray:
    """(k,) for each group the largest Jaccard overlap with any group of `again`."""
    groups, others = int(labels.max(initial=-1)) + 1, int(again.max(initial=-1)) + 1
    table = np.zeros((groups, max(others, 1)))
    both = (labels >= 0) & (again >= 0)
    np.add.at(table, (labels[both], again[both]), 1)
    one = np.bincount(labels[labels >= 0], minlength=groups)[:, None]
    two = np.bincount(again[again >= 0], minlength=max(others, 1))[None]
    return (table / np.maximum(one + two - table, 1)).max(axis=1)


def _ari(one: np.ndarray, two: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, two))
