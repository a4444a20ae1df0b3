"""A sequence written for every row that is read: translations, captions, answers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from everymodel.scoring.layers import base
from everymodel.scoring.layers.attention import Writer
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.recurrence import batches
from everymodel.scoring.layers.tokens import SPACE, UNKNOWN, Signals, Tokens, TokenVectors
from everymodel.scoring.steps.base import Step, need, step

_BEFORE = re.compile(r"\s+([.,!?;:%)\]}…»])")
_AFTER = re.compile(r"([(\[{«¿¡])\s+")


@step("translating", output="texts")
class Translating(Step):
    """Texts, lists of tokens or series of numbers (n,) -> a text, or a list of tokens, for each.

    reader : cells to vectors (total, d) and lengths. body : (values (b, T, d), lengths) -> the same of another width.
    writer : writes ids. tokens : what the ids are. joined : texts are given, not lists. copies : where an unknown word
    is written, the word that was looked at is taken over.
    """

    reader: Layer
    body: Layer
    writer: Layer
    tokens: Layer
    joined: bool = True
    copies: bool = True

    def __call__(self, cells: Any) -> list[Any]:
        assert isinstance(self.tokens, Tokens)
        values, lengths = self.reader(cells)
        own = self.reader.tokens if isinstance(self.reader, TokenVectors) else None
        made: list[Any] = [None] * len(lengths)
        words = ["", "", *self.tokens.words]
        for rows, padded in batches(values, lengths):
            ids, places = self.writer(self.body(padded))
            for row, some, at in zip(rows.tolist(), ids.tolist(), places.tolist(), strict=True):
                said = [(i, p) for i, p in zip(some, at, strict=True) if i]
                if self.copies and isinstance(own, Tokens) and any(i == UNKNOWN for i, _ in said):
                    source = own.split(cells[row])
                    tokens = [source[min(p, len(source) - 1)] if i == UNKNOWN else words[i] for i, p in said]
                else:
                    tokens = [words[i] for i, _ in said if i != UNKNOWN]
                made[row] = written(tokens, self.tokens.how) if self.joined else tokens
        return made

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays: dict[str, np.ndarray] = {}
        settings: dict[str, Any] = {"joined": self.joined, "copies": self.copies}
        for name in _LAYERS:
            told, own = base.write(getattr(self, name))
            settings[name] = told
            arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Translating:
        need(set(settings) == {*_LAYERS, "joined", "copies"}, "a translator is described wrongly")
        roots, used = {}, set()
        for name in _LAYERS:
            own = {key.partition(":")[2]: a for key, a in arrays.items() if key.startswith(f"{name}:")}
            used |= {f"{name}:{key}" for key in own}
            roots[name] = base.read(settings[name], own)
        need(used == set(arrays), "a translator has unknown arrays")
        made = cls(**roots, joined=settings["joined"], copies=settings["copies"])
        made.check()
        return made

    def check(self) -> None:
        need(isinstance(self.reader, TokenVectors | Signals), "a translator does not read")
        need(isinstance(self.tokens, Tokens) and isinstance(self.writer, Writer), "a translator does not write")
        assert isinstance(self.tokens, Tokens) and isinstance(self.writer, Writer)
        need(len(self.writer.table) == self.tokens.size + 2, "a translator's words do not fit")
        need(isinstance(self.joined, bool) and isinstance(self.copies, bool), "a translator is described wrongly")


_LAYERS = ("reader", "body", "writer", "tokens")


def written(tokens: list[str], how: str) -> str:
    """Tokens as a text."""
    if how == "characters":
        return "".join(tokens)
    text = "".join(tokens).replace(SPACE, " ").strip() if how == "subwords" else " ".join(tokens)
    return _AFTER.sub(r"\1", _BEFORE.sub(r"\1", text))
