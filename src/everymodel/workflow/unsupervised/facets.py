"""The columns of a table in few steps each, so that groups can be compared column by column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from everymodel.core.schema import Column
from everymodel.core.seeds import derive
from everymodel.workflow.unsupervised.material import Material

ROWS = 20_000  # rows that names and rules are made from
OF_EACH = 300  # of every group, where it has so many
BINS = 48
LEVELS = 60  # most frequent ones; the others count together
TERMS = 40  # words of a text column that are looked at
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass
class Facet:
    """One column, or one word of a text column, as `codes` (m,): 0 .. steps - 1 in order, -1 for missing."""

    column: str
    kind: str  # number, date, category, boolean or term
    codes: np.ndarray
    steps: int
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (m,) of numbers and dates
    labels: tuple[str, ...] = ()  # of the steps of a category
    term: str = ""
    whole: bool = False

    def counts(self, labels: np.ndarray, groups: int) -> np.ndarray:
        """(groups, steps + 1) rows by step, the last column those without a value; rows with label -1 are left out."""
        at = labels >= 0
        codes = np.where(self.codes < 0, self.steps, self.codes)[at]
        flat = np.bincount(labels[at] * (self.steps + 1) + codes, minlength=groups * (self.steps + 1))
        return flat.reshape(groups, self.steps + 1).astype(np.float64)


def sample(labels: np.ndarray, seed: int) -> np.ndarray:
    """Row numbers, in order: all, or `ROWS` by chance and some of every group."""
    if len(labels) <= ROWS:
        return np.arange(len(labels))
    random = np.random.default_rng(derive(seed, "profile"))
    parts = [random.choice(len(labels), ROWS, replace=False)]
    for group in range(int(labels.max()) + 1):
        at = np.flatnonzero(labels == group)
        parts.append(at if len(at) <= OF_EACH else random.choice(at, OF_EACH, replace=False))
    return np.unique(np.concatenate(parts))


def facets(material: Material, rows: np.ndarray) -> list[Facet]:
    """The facets of all feature columns for the rows (m,)."""
    made: list[Facet] = []
    for column in material.schema.features:
        values = material.batch.columns[column.name][rows]
        if column.kind in ("number", "date"):
            made.append(_number(column, values.astype(np.float64)))
        elif column.kind == "boolean":
            codes = np.where(np.isnan(values), -1, values > 0).astype(np.int64)
            made.append(Facet(column.name, "boolean", codes, 2, labels=("no", "yes")))
        elif column.kind == "category":
            made.append(_category(column, values))
        elif column.kind == "text":
            made += _terms(column, values)
    return made


def _number(column: Column, values: np.ndarray) -> Facet:
    known = values[np.isfinite(values)]
    if len(np.unique(known[:2000])) <= BINS and len(np.unique(known)) <= BINS:
        edges = np.unique(known)[1:]
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    codes = np.searchsorted(edges, values, side="right")
    codes[~np.isfinite(values)] = -1
    whole = bool((known == np.round(known)).all())
    return Facet(column.name, column.kind, codes, len(edges) + 1, values, whole=whole)


def _category(column: Column, codes: np.ndarray) -> Facet:
    steps = min(len(column.levels), LEVELS) + 1
    placed = np.where((codes == -2) | (codes >= steps - 1), steps - 1, codes).astype(np.int64)
    return Facet(column.name, "category", placed, steps, labels=(*column.levels[: steps - 1], "another"))


def _terms(column: Column, texts: np.ndarray) -> list[Facet]:
    """Presence of the words that stand in some, but not in most of the texts."""
    words = [set(_WORD.findall(t.lower())) for t in texts.tolist()]
    counts: dict[str, int] = {}
    for found in words[:2000]:
        for word in found:
            counts[word] = counts.get(word, 0) + 1
    least, most = max(3, 0.02 * min(len(words), 2000)), 0.8 * min(len(words), 2000)
    kept = sorted((w for w, c in counts.items() if least <= c <= most), key=lambda w: (-counts[w], w))[:TERMS]
    empty = np.array([not t for t in texts.tolist()])
    return [
        Facet(column.name, "term", np.where(empty, -1, [w in found for found in words]).astype(np.int64), 2, term=w)
        for w in kept
    ]
