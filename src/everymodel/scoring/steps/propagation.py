"""Classes that spread from few labelled rows over a graph of similar ones; a new row asks its nearest rows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.steps._nearest import Search
from everymodel.scoring.steps.base import Step, dot, need, step


@step("propagation", output="probabilities")
class Propagation(Step):
    """matrix (n, p) -> probabilities (n, classes): the weighted mean of what the k nearest rows ended with.

    rows (m, d) and their `answers` (m, classes). The weight of a row at distance r is exp(-(r / r_k)^2), with r_k the
    distance to the last of the k. Where there are `axes` (p, d), distances are measured in (x - middle) @ axes.
    """

    holds_rows: ClassVar[bool] = True

    rows: np.ndarray
    answers: np.ndarray
    k: int
    middle: np.ndarray | None = None
    axes: np.ndarray | None = None

    def __call__(self, X: np.ndarray) -> np.ndarray:
        width = self.rows.shape[1] if self.axes is None else len(self.axes)
        need(X.ndim == 2 and X.shape[1] == width, f"the rows asked need {width} features, but came with {X.shape}")
        search = self.__dict__.get("_search")
        if search is None:  # two threads may both make it: they make the same
            search = Search(self.rows)
            object.__setattr__(self, "_search", search)
        if self.axes is not None and self.middle is not None:
            X = dot(np.asarray(X, dtype=np.float64) - self.middle, self.axes)
        distance, number = search.nearest(X, self.k)
        reach = np.maximum(distance[:, -1:], 1e-300)
        weight = np.exp(-((distance / reach) ** 2))  # (n, k), from exp(-1) to 1
        out = np.zeros((len(X), self.answers.shape[1]))
        for j in range(self.k):
            out += weight[:, j : j + 1] * self.answers[number[:, j]]
        return out / out.sum(axis=1, keepdims=True)

    def check(self) -> None:
        for what in (self.rows, self.answers):
            need(what.ndim == 2 and what.dtype.kind == "f", "rows or answers are not a matrix of floats")
            need(bool(np.isfinite(what).all()), "rows or answers are not finite")
        need(len(self.rows) == len(self.answers) > 0, "rows and answers differ in number")
        need(self.rows.shape[1] > 0 and self.answers.shape[1] > 0, "rows or answers have no column")
        need(isinstance(self.k, int) and 1 <= self.k <= len(self.rows), f"there are no {self.k!r} nearest rows")
        need(bool((self.answers >= 0).all()), "an answer is below zero")
        need(bool((np.abs(self.answers.sum(axis=1) - 1) < 1e-6).all()), "answers do not sum to one")
        need((self.axes is None) == (self.middle is None), "axes come with a middle")
        if self.axes is not None and self.middle is not None:
            need(self.axes.ndim == 2 and self.axes.dtype.kind == "f", "the axes are not a matrix of floats")
            need(bool(np.isfinite(self.axes).all()), "the axes are not finite")
            need(self.axes.shape[1] == self.rows.shape[1], "axes and rows differ in width")
            need(self.middle.shape == self.axes.shape[:1] and self.middle.dtype.kind == "f", "middle and axes differ")
            need(bool(np.isfinite(self.middle).all()), "the middle is not finite")
