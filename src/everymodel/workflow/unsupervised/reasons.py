"""Why rows are odd, in words: which cells, put to what similar rows have, would make them ordinary."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.core.schema import Column
from everymodel.core.seeds import derive
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.unsupervised import words
from everymodel.workflow.unsupervised.material import Material

ORDINARY = 3000  # rows that odd ones are compared with
SIMILAR = 40  # of them: those nearest in all other columns
TRIED = 8  # of whose cells each is tried in the odd row's place
COLUMNS = 60  # looked at for each row
MOST = 3  # reasons for a row
LEAST = 0.1  # of the way to an ordinary score, below which a column is no reason


class Reasons:
    """Finds out why rows of the material are odd.

    A column counts by how far the score falls when its cell gives way to the cells of rows that are similar in all
    other columns. The strongest column is set to what suits the row best, then the next is looked for, until the row
    would be ordinary.
    """

    def __init__(
        self,
        material: Material,
        answer: Callable[[Batch], np.ndarray],
        scores: np.ndarray,
        threshold: float,
        seed: int = 0,
    ):
        assert material.balanced is not None
        self.material, self.answer, self.scores, self.threshold = material, answer, scores, threshold
        self.columns = list(material.schema.features)
        self.usual = float(np.median(scores))
        calm = np.flatnonzero(scores <= min(float(np.quantile(scores, 0.8)), threshold))
        if len(calm) > ORDINARY:
            calm = np.random.default_rng(derive(seed, "reasons")).choice(calm, ORDINARY, replace=False)
        self.calm = calm
        self.X = material.balanced.X[calm]
        place = {c.name: j for j, c in enumerate(self.columns)}
        self.group = np.zeros((self.X.shape[1], len(self.columns)))  # matrix column -> column of the table
        for i, origin in enumerate(material.balanced.origins):
            if origin in place:
                self.group[i, place[origin]] = 1.0

    def of(self, row: int) -> list[dict[str, Any]]:
        """[{"column", "cell", "text", "part"}], the strongest first; part: of the way to an ordinary score."""
        if not len(self.calm):
            return []
        assert self.material.balanced is not None
        gap_to = np.clip(self.X - self.material.balanced.X[row], -1e100, 1e100)
        apart = np.square(gap_to) @ self.group  # (m, columns)
        total = apart.sum(axis=1)
        batch = self.material.batch.take(np.array([row]))
        order = np.argsort(-np.median(apart, axis=0), kind="stable")[:COLUMNS].tolist()
        near = {j: self._near(total - apart[:, j]) for j in order}
        score, gap = float(self.scores[row]), float(self.scores[row]) - self.usual
        found: list[dict[str, Any]] = []
        while order and len(found) < MOST and gap > 0:
            tried = self._tried(batch, order, near)  # (columns, TRIED)
            drop = score - tried.mean(axis=1)
            best = int(np.argmax(drop))
            if drop[best] < LEAST * gap:
                break
            j = order.pop(best)
            column = self.columns[j]
            text = self._text(column, row, near[j])
            found.append(
                {"column": column.name, "cell": self._cell(column, row), "text": text, "part": float(drop[best] / gap)}
            )
            suits = int(np.argmin(tried[best]))
            source = self.calm[near[j][suits % len(near[j])]]
            batch = Batch({**batch.columns, column.name: self.material.batch.columns[column.name][[source]]}, 1)
            score = float(tried[best, suits])
            if score <= self.threshold:
                break
        return found or [{"column": None, "cell": None, "text": self._together(apart), "part": 1.0}]

    def _near(self, distance: np.ndarray) -> np.ndarray:
        k = min(SIMILAR, len(distance))
        at = np.argpartition(distance, k - 1)[:k]
        return at[np.argsort(distance[at], kind="stable")]

    def _tried(self, batch: Batch, order: Sequence[int], near: dict[int, np.ndarray]) -> np.ndarray:
        """Scores (columns, TRIED) of the row with one cell replaced by those of similar rows."""
        n = len(order) * TRIED
        columns = {name: np.repeat(values, n) for name, values in batch.columns.items()}
        for i, j in enumerate(order):
            name = self.columns[j].name
            at = near[j][np.arange(TRIED) % len(near[j])]
            columns[name][i * TRIED : (i + 1) * TRIED] = self.material.batch.columns[name][self.calm[at]]
        return self.answer(Batch(columns, n)).reshape(len(order), TRIED)

    def _together(self, apart: np.ndarray) -> str:
        far = np.argsort(-np.median(apart, axis=0), kind="stable")[:3]
        names = [words.spoken(self.columns[j].name) for j in far]
        if len(names) == 1:
            return f"{names[0]} is unusual"
        return f"no single column: {words.listed(names)} are unusual together"

    # --- words ---

    def _cell(self, column: Column, row: int) -> Any:
        from everymodel.scoring.explain import _cell

        return _cell(self.material, self.material.batch, column.name, row)  # type: ignore[arg-type]

    def _text(self, column: Column, row: int, near: np.ndarray) -> str:
        name, cell = words.spoken(column.name), self._cell(column, row)
        values = self.material.batch.columns[column.name]
        similar = values[self.calm[near]]
        if column.kind in ("number", "date"):
            known = similar[~np.isnan(similar)]
            if cell is None:
                empty = float(np.isnan(values).mean())
                return f"{name} is empty, as in {words.percent(empty)} of all rows"
            return self._range(column, name, float(values[row]), known)
        if column.kind == "text":
            return f"{name} reads unlike that of similar rows"
        if cell is None:
            return f"{name} is empty, as in {words.percent(float(np.mean(values == values[row])))} of all rows"
        same = int(np.sum(values == values[row]))
        kinds, counts = np.unique(similar, return_counts=True)
        first = int(np.argmax(counts))
        said = f"{name} {words.short(cell)!r}" if isinstance(cell, str) else f"{name} {cell}"
        if kinds[first] == values[row]:
            return f"{said}, seldom with its other cells"
        if same <= max(3, 0.01 * len(values)):
            return f"{said}, in {same:,} of {len(values):,} rows"
        at = int(self.calm[near[np.flatnonzero(similar == kinds[first])[0]]])
        usual = self._cell(column, at)
        usual = repr(words.short(usual)) if isinstance(usual, str) else usual
        return f"{said}, where {words.percent(counts[first] / len(similar))} of similar rows have {usual}"

    def _range(self, column: Column, name: str, value: float, known: np.ndarray) -> str:
        def say(v: float) -> str:
            return words.date(v) if column.kind == "date" else words.figure(v, column.integer)

        if not len(known):
            return f"{name} {say(value)}, where similar rows have no value"
        low, high = float(np.quantile(known, 0.05)), float(np.quantile(known, 0.95))
        told, ends = say(value), (say(low), say(high))
        if told in ends or math.isclose(low, high):
            ends = (say(float(known.min())), say(float(known.max())))
        have = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        if value < low or value > high:
            return f"{name} {told}, where similar rows have {have}"
        return f"{name} {told}, seldom with its other cells (similar rows: {have})"
