"""Models whose answer is words: a tag for every word of a sentence, or another sentence.

    model = load("names.em")
    model.predict(["Ada Lovelace lived in London ."])     # [["B-PER", "I-PER", "O", "O", "B-LOC", "O"]]

Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError
from everymodel.scoring import table
from everymodel.scoring.model import Model
from everymodel.scoring.spans import span_scores
from everymodel.scoring.steps.base import Batch


class WordsModel(Model):
    """Answers sentences with tags (task "tag") or with sentences (task "translate").

    A sentence is a text or a list of words. Made by `em.wrap` or `load`.
    """

    @property
    def column(self) -> str:
        """The column that holds the sentences."""
        return self.schema.features[0].name

    def read(  # type: ignore[override]
        self, data: Any, *, missing_columns: str = "error", unseen: str | None = None, files: bool = True
    ) -> tuple[Batch, list[dict[str, Any]]]:
        """Sentences as one column; nothing is repaired."""
        cells = _column(self._sentences(data)[0])
        return Batch({self.column: cells}, len(cells)), []

    def _sentences(self, data: Any) -> tuple[list[Any], bool]:
        """(sentences, whether one alone came) of a text, words, sentences, rows or a table."""
        if isinstance(data, str):
            return [data], True
        if isinstance(data, Mapping):
            if self.column not in data:
                raise DataError(f"The data lacks the column {self.column!r}, which holds the sentences.")
            cell = data[self.column]
            one = isinstance(cell, str) or table.form(data) == "row"
            return ([cell], True) if one else (list(cell), False)
        if hasattr(data, "columns") and hasattr(data, "iloc"):
            if self.column not in data.columns:
                raise DataError(f"The table lacks the column {self.column!r}, which holds the sentences.")
            return data[self.column].tolist(), False
        cells = data.tolist() if hasattr(data, "tolist") else list(data)
        if cells and all(isinstance(cell, Mapping) for cell in cells):
            return [self._sentences(cell)[0][0] for cell in cells], False
        return cells, False

    def answers(self, batch: Batch) -> Any:  # type: ignore[override]
        """A list of tags, or a text, for each sentence."""
        return self.pack(batch)

    def decide(self, answers: Any) -> np.ndarray:
        """(n,) objects: a list of tags, or a text."""
        return _column(answers)

    def predict(self, data: Any, **ignored: Any) -> Any:  # type: ignore[override]
        """A list of tags (a text) for one sentence that comes as text or as a row, else one for each.

        Parameters
        ----------
        data : a text; a list of texts or of lists of words; rows or a table with the column of sentences.
        """
        sentences, alone = self._sentences(data)
        made = list(self.answers(Batch({self.column: _column(sentences)}, len(sentences))))
        return made[0] if alone else made

    def evaluate(self, data: Any, truth: Sequence[Any] | None = None, **ignored: Any) -> dict[str, Any]:
        """Precision, recall and F1 of entities (exact spans), and the share of words whose tag is right.

        Parameters
        ----------
        data : sentences. truth : a list of tags for each.
        """
        if self.task != "tag":
            raise CapabilityError(f"This model ({self.task}) has no evaluate. Compare texts by a measure of your own.")
        if truth is None:
            raise DataError("To evaluate, give the tags of the sentences: model.evaluate(sentences, tags).")
        found = self.predict(list(self._sentences(data)[0]))
        told = [list(map(str, tags)) for tags in truth]
        for row, (one, other) in enumerate(zip(told, found, strict=True)):
            if len(one) != len(other):
                raise DataError(f"Sentence {row} has {len(other)} words and {len(one)} tags; expected as many.")
        words = [(a, b) for one, other in zip(told, found) for a, b in zip(one, other)]
        return {**span_scores(told, found), "accuracy": float(np.mean([a == b for a, b in words])) if words else 0.0}


def _column(cells: Sequence[Any]) -> np.ndarray:
    made = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        made[i] = "" if cell is None or (isinstance(cell, float) and cell != cell) else cell
    return made
