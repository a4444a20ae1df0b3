"""Images beside what the model says of them: the mistakes it is surest of, and typical right answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.images import data_url
from everymodel.scoring.steps.base import Batch

WRONG, RIGHT = 18, 12


def pictures(model: Any, batch: Batch, y: np.ndarray) -> list[dict[str, Any]]:
    """Up to 30 dicts of image (text that browsers show), truth, answer, sure (probability or None) and right.

    Only for one column of images; for regression the largest and the smallest errors.
    """
    columns = [c for c in model.schema.features if c.kind == "image"]
    if len(columns) != 1 or y.ndim != 1 or not batch.n:
        return []
    images = batch.columns[columns[0].name]
    answers = np.asarray(model.answers(batch), dtype=np.float64)
    if model.task == "regression":
        error = np.abs(answers.reshape(-1) - y)
        order = np.argsort(-error, kind="stable")
        told = [(row, f"{y[row]:.4g}", f"{answers.reshape(-1)[row]:.4g}", None, False) for row in order[:WRONG]]
        told += [(row, f"{y[row]:.4g}", f"{answers.reshape(-1)[row]:.4g}", None, True) for row in order[::-1][:RIGHT]]
    elif model.task in ("binary", "multiclass") and answers.ndim == 2:
        best, sure = answers.argmax(axis=1), answers.max(axis=1)
        names = [str(c) for c in model.classes]
        wrong = np.flatnonzero(best != y)
        wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:WRONG]
        right = np.flatnonzero(best == y)
        right = right[np.argsort(-sure[right], kind="stable")]
        turn = {row: int((y[right[:i]] == y[row]).sum()) for i, row in enumerate(right[:2000])}
        right = sorted(turn, key=lambda row: (turn[row], int(y[row])))[:RIGHT]  # classes in turn
        told = [(row, names[y[row]], names[best[row]], float(sure[row]), False) for row in wrong]
        told += [(row, names[y[row]], names[best[row]], float(sure[row]), True) for row in right]
    else:
        return []
    keys = ("truth", "answer", "sure", "right")
    return [{"image": data_url(_small(images[row])), **dict(zip(keys, rest))} for row, *rest in told]


def _small(image: np.ndarray) -> np.ndarray:
    """Every second, third, ... pixel of images wider than a report shows them."""
    step = max(1, -(-max(image.shape[:2]) // 128))
    return np.ascontiguousarray(image[::step, ::step])
