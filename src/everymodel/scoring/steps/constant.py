"""The same answer for every row: what the dummy baseline learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Step, need, step


@step("constant", output="value")
class Constant(Step):
    """Any matrix of n rows -> value () repeated as (n,), or value (t,) as (n, t)."""

    value: np.ndarray

    def __call__(self, X: Any) -> np.ndarray:
        return np.tile(self.value, (len(X), *([1] * self.value.ndim)))

    def check(self) -> None:
        need(self.value.ndim <= 1 and bool(np.isfinite(self.value).all()), "the constant is not finite")


@step("constant_probabilities", output="probabilities")
class ConstantProbabilities(Step):
    """Any matrix of n rows -> value (k,) as (n, k)."""

    value: np.ndarray

    def __call__(self, X: Any) -> np.ndarray:
        return np.tile(self.value, (len(X), 1))

    def check(self) -> None:
        need(self.value.ndim == 1, "constant probabilities are not a row")
        need(bool(((self.value >= 0) & (self.value <= 1)).all()), "constant probabilities are not in [0, 1]")
