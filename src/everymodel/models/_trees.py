"""Plumbing: trees of scikit-learn in the form that scoring's Trees.of reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.trees import Trees

_HUGE = np.finfo(np.float64).max
HALVES = 10  # fewest validation rows of which every other one is judged by the rounds that the rest asks for


def halves(n: int, known: np.ndarray | None = None) -> list[np.ndarray]:
    """Numbers of every other one of n validation rows, and of the rest; [] where they are too few to be told apart.

    A booster that stops early on its validation rows would be flattered if they judged it too. So each half is judged
    by as many rounds as the other half asks for. known (n,): rows whose class the model has seen; the others say
    nothing on rounds.
    """
    known = np.ones(n, dtype=bool) if known is None else known
    parts = [rows[known[rows]] for rows in (np.arange(0, n, 2), np.arange(1, n, 2))]
    return parts if min(len(rows) for rows in parts) >= HALVES // 2 else []


def by_other_half(X: Any, rounds: Sequence[int], answer: Callable[[Any, int], np.ndarray]) -> np.ndarray:
    """Answers for all validation rows X: `answer(rows of a half, rounds that the other half asks for)`, joined."""
    parts = [np.asarray(answer(X[h::2], rounds[1 - h])) for h in (0, 1)]
    whole = np.empty((X.shape[0], *parts[0].shape[1:]))
    whole[0::2], whole[1::2] = parts
    return whole


def finite(thresholds: np.ndarray) -> np.ndarray:
    """Infinite thresholds (splits of missing from present) as the largest floats."""
    return np.clip(thresholds, -_HUGE, _HUGE)


def sklearn_tree(tree: Any, codes: np.ndarray | None, k: int) -> dict[str, Any]:
    """One fitted `tree_`; leaf values (nodes, targets), or (nodes, k) with class shares where `codes` says."""
    value = tree.value[:, :, 0] if codes is None else place(tree.value[:, 0, :], codes, k, 0.0)
    return {
        "left": tree.children_left,
        "right": tree.children_right,
        "feature": np.maximum(tree.feature, 0),
        "threshold": finite(tree.threshold),
        "missing": np.asarray(tree.missing_go_to_left, dtype=np.int8),
        "value": value,
    }


def sklearn_step(model: Any, trees: Iterable[Any], n_classes: int | None, divide: float | None) -> Trees:
    """Trees of scikit-learn as one step: a sum of leaf values, divided by `divide`."""
    settings: dict[str, Any] = {"x_type": "float32", "divide": divide}
    if not hasattr(model, "classes_"):
        made = [sklearn_tree(t.tree_, None, 0) for t in trees]
        return Trees.of(made, model.n_features_in_, outputs=model.n_outputs_, gives="value", **settings)
    if isinstance(model.classes_, list):  # one array of classes per label: multilabel, 0/1 each
        made = []
        for t in trees:
            entry = sklearn_tree(t.tree_, None, 0)
            entry["value"] = np.column_stack(
                [_second(t.tree_.value[:, j, :], classes) for j, classes in enumerate(model.classes_)]
            )
            made.append(entry)
        return Trees.of(made, model.n_features_in_, outputs=model.n_outputs_, gives="probabilities", **settings)
    codes, k = codes_of(model, n_classes)
    made = [sklearn_tree(t.tree_, codes, k) for t in trees]
    return Trees.of(made, model.n_features_in_, outputs=k, gives="probabilities", **settings)


def _second(shares: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Share of label 1 at each node (nodes,), where the label may have had one value only."""
    found = np.flatnonzero(np.asarray(classes) == 1)
    return shares[:, found[0]] if len(found) else np.zeros(len(shares))


def grow(model: Any, X: Any, y: np.ndarray, stop: Callable[[], bool] | None, threads: int, first: int = 10) -> Any:
    """Fit a forest in ever larger parts, looking at `stop` in between; the same forest as in one go."""
    total = model.n_estimators
    model.set_params(n_jobs=threads, warm_start=True)
    size = total if stop is None else min(first, total)
    while True:
        model.set_params(n_estimators=size)
        model.fit(X, y)
        if size >= total or (stop is not None and stop()):
            break
        size = min(total, size + max(first, size // 2))
    # One thread from now on: several add up their trees in whichever order they finish, which moves the last digits.
    return model.set_params(n_jobs=1, warm_start=False, n_estimators=len(model.estimators_))
