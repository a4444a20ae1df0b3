"""A tag for every word of a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.recurrence import CRF, batches
from everymodel.scoring.spans import SCHEMES, spans_of, tags_of
from everymodel.scoring.steps.base import Step, need, step


@step("tagging", output="tags")
class Tagging(Step):
    """Sentences (n,), as lists of words or as texts, -> a list of tags for each.

    reader : words to vectors (total, d) and lengths. body : (values (b, T, d), lengths) -> (scores (b, T, k), lengths).
    field : scores to codes. tags : the words of the codes. scheme : how spans are written down in the answer; None: the
    tags are given as they were learnt, else they were learnt as IOBES.
    """

    reader: Layer
    body: Layer
    field: Layer
    tags: tuple[str, ...]
    scheme: str | None = None

    def __call__(self, cells: Any) -> list[list[str]]:
        values, lengths = self.reader(cells)
        made: list[list[str]] = [[] for _ in range(len(lengths))]
        for rows, (padded, own) in batches(values, lengths):
            paths = self.field(self.body((padded, own)))
            for row, length, path in zip(rows.tolist(), own.tolist(), paths.tolist()):
                tags = [self.tags[code] for code in path[:length]]
                made[row] = tags if self.scheme is None else tags_of(spans_of(tags), length, self.scheme)
        # An empty sentence is read as one unknown word, which nobody asked about.
        return [tags if _words(cell) else [] for cell, tags in zip(cells, made)]

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays: dict[str, np.ndarray] = {}
        settings: dict[str, Any] = {"tags": list(self.tags)}
        for name in ("reader", "body", "field"):
            told, own = base.write(getattr(self, name))
            settings[name] = told
            arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings if self.scheme is None else {**settings, "scheme": self.scheme}, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Tagging:
        need(set(settings) - {"scheme"} == {"tags", "reader", "body", "field"}, "a tagger is described wrongly")
        roots = {}
        used: set[str] = set()
        for name in ("reader", "body", "field"):
            own = {key.partition(":")[2]: a for key, a in arrays.items() if key.startswith(f"{name}:")}
            used |= {f"{name}:{key}" for key in own}
            roots[name] = base.read(settings[name], own)
        need(used == set(arrays) and isinstance(settings["tags"], list), "a tagger is described wrongly")
        made = cls(**roots, tags=tuple(settings["tags"]), scheme=settings.get("scheme"))
        made.check()
        return made

    def check(self) -> None:
        need(isinstance(self.field, CRF) and len(self.tags) == len(self.field.start), "tags do not fit their scores")
        need(all(isinstance(tag, str) for tag in self.tags), "tags are no text")
        need(self.scheme is None or self.scheme in SCHEMES, "tags are written in an unknown way")


def _words(cell: Any) -> bool:
    return len(cell) > 0 if isinstance(cell, list | tuple | np.ndarray) else bool(cell and str(cell).strip())
