"""Plumbing: what the packs of the naive Bayes family share."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.linear import NEVER, LinearProbabilities


def log_linear(model: Any, n_classes: int | None, table: np.ndarray, offset: np.ndarray) -> LinearProbabilities:
    """Log-scores X @ table.T + offset, with table (classes, p), as a softmax over all classes."""
    codes, k = codes_of(model, n_classes)
    coef = np.ascontiguousarray(place(np.asarray(table, dtype=np.float64), codes, k, 0.0, axis=0).T)
    return LinearProbabilities(coef, place(np.asarray(offset, dtype=np.float64), codes, k, NEVER), "softmax")
