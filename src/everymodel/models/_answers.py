"""Plumbing: what our own clusterers and detectors answer follows from their packed step, so it is written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.scoring.steps.base import Step


class GroupsAndNoise:
    """`predict` and `predict_proba` of a clusterer whose step has a column for each group and a last one for noise."""

    def _step(self) -> Step:
        """The packed step of the fitted model."""
        raise NotImplementedError

    def predict_proba(self, X: Any) -> np.ndarray:
        """Confidence (n, groups + 1) in each group, and in noise last."""
        check_is_fitted(self)
        return self._step()(validate_data(self, X, dtype=np.float64, reset=False))

    def predict(self, X: Any) -> np.ndarray:
        """The group of each row, -1 for noise (n,)."""
        answer = self.predict_proba(X)
        found = answer.argmax(axis=1)
        return np.where(found == answer.shape[1] - 1, -1, found)


class Threshold:
    """`decision_function` and `predict` of a detector that has `score_samples` and `offset_`."""

    offset_: float
    score_samples: Callable[[Any], np.ndarray]  # how normal each row is (n,); lower is odder

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less the threshold (n,); below zero is odd."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for odd rows, 1 for the others (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)
