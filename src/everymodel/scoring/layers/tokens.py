"""From texts, lists of words and series of numbers to vectors that recurrent layers read.

A reader takes raw cells (n,) and gives (vectors (total, e), lengths (n,)): the steps of all cells one after the other.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

HOWS = ("words", "characters", "subwords")
PAD, UNKNOWN, SPECIAL = 0, 1, 2  # ids of padding and of what is not in the vocabulary; the vocabulary follows
SPACE = "▁"  # begins a word in subwords
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_DIGIT = re.compile(r"\d")
_CACHE = 100_000  # words whose parts are remembered


def as_text(cell: Any) -> str:
    """A cell as text; missing ones ("", None, NaN) are empty."""
    if isinstance(cell, str):
        return cell
    if cell is None or (isinstance(cell, float | np.floating) and cell != cell):
        return ""
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def split_words(text: str) -> list[str]:
    """Words with their apostrophes, and each other sign by itself."""
    return _WORD.findall(text)


@layer("tokens")
class Tokens(Layer):
    """Texts, or lists of tokens, (n,) -> (ids (total,) int64, lengths (n,)); an empty cell is one unknown token.

    how : "words", "characters" or "subwords"; cells that are lists are taken as the tokens themselves.
    words : the vocabulary; words[i] has the id i + 2. lower : capitals and small letters are the same.
    digits : all digits are the same when a token is looked up.
    merges (m, 2) : of subwords, places in `words` of two parts that are joined, the most important first.
    most : tokens of a cell that are read; what follows is left out.
    """

    formula: ClassVar[str] = "ids = places of the tokens in the vocabulary"

    how: str = "words"
    words: tuple[str, ...] = ()
    lower: bool = True
    digits: bool = False
    merges: np.ndarray | None = None
    most: int = 1000

    def __post_init__(self) -> None:
        self._places = {word: i + SPECIAL for i, word in enumerate(self.words)}
        self._known: dict[str, list[str]] = {}
        self._ranks: dict[tuple[str, str], int] = {}
        if self.merges is not None and self.merges.ndim == 2:
            n = len(self.words)
            for rank, (a, b) in enumerate(self.merges.tolist()):
                if 0 <= a < n and 0 <= b < n:
                    self._ranks.setdefault((self.words[a], self.words[b]), rank)

    def __call__(self, cells: Any) -> tuple[np.ndarray, np.ndarray]:
        split = [self.split(cell) for cell in cells]
        find = self.number
        ids = [find(token) for tokens in split for token in tokens]
        return np.array(ids, dtype=np.int64), np.array([len(t) for t in split], dtype=np.int64)

    @property
    def size(self) -> int:
        """Ids in all."""
        return len(self.words) + SPECIAL

    def split(self, cell: Any) -> list[str]:
        """The tokens of a cell as they stand there; at least one, "" for an empty cell."""
        if isinstance(cell, list | tuple | np.ndarray):
            made = [as_text(part) for part in cell[: self.most]]
        elif self.how == "words":
            made = split_words(as_text(cell))[: self.most]
        else:
            text = as_text(cell)
            text = text.lower() if self.lower else text
            if self.how == "characters":
                made = list(text[: self.most])
            else:
                made = []
                for word in split_words(text):
                    made += self._parts(word)
                    if len(made) >= self.most:
                        break
                made = made[: self.most]
        return made or [""]

    def number(self, token: str) -> int:
        """The id of a token."""
        return self._places.get(self.key(token), UNKNOWN)

    def key(self, token: str) -> str:
        """A token as it stands in the vocabulary."""
        token = token.lower() if self.lower else token
        return _DIGIT.sub("0", token) if self.digits else token

    def length(self, cell: Any) -> int:
        """Tokens of a cell, those beyond `most` too."""
        if isinstance(cell, list | tuple | np.ndarray):
            return len(cell)
        most, self.most = self.most, 1 << 60
        try:
            return len(self.split(cell))
        finally:
            self.most = most

    def _parts(self, word: str) -> list[str]:
        """A word in subwords: pairs of neighbours are joined in the order of `merges`."""
        known = self._known.get(word)
        if known is not None:
            return known
        parts = [SPACE, *word][:200]
        while len(parts) > 1:
            ranks = [self._ranks.get(pair, 1 << 60) for pair in itertools.pairwise(parts)]
            best = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[best] == 1 << 60:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(self._known) < _CACHE:
            self._known[word] = parts
        return parts

    def check(self) -> None:
        need(
            self.how in HOWS and type(self.lower) is bool and type(self.digits) is bool, "tokens are described wrongly"
        )
        need(isinstance(self.words, tuple) and all(isinstance(w, str) for w in self.words), "a vocabulary is no text")
        need(type(self.most) is int and self.most > 0, "a text has no length")
        if self.merges is not None:
            need(self.merges.ndim == 2 and self.merges.shape[1] == 2 and self.merges.dtype.kind in "iu", "merges")
            inside = not self.merges.size or (self.merges.min() >= 0 and self.merges.max() < len(self.words))
            need(bool(inside), "merges name words that do not exist")


def grams_of(word: str, low: int, high: int, buckets: int) -> list[int]:
    """Places of the runs of `low` to `high` characters of <word>, in a table of `buckets` rows."""
    text = f"<{word}>"
    runs = {text[i : i + n] for n in range(low, high + 1) for i in range(len(text) - n + 1)}
    return sorted(zlib.crc32(run.encode("utf-8", "surrogatepass")) % buckets for run in runs) or [0]


SLOTS = 10


def shape_of(word: str) -> tuple[str, str]:
    """(kinds of the characters, runs of the same kind once): "McDonald's" -> ("XxXxxxxx'x", "XxXx'x")."""
    kinds = "".join("X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in word)
    return kinds[:12], re.sub(r"(.)\1+", r"\1", kinds)


def slots_of(word: str, buckets: int) -> list[int]:
    """Places of SLOTS marks of a word: how it begins, how it ends, and the kinds of its characters."""
    low, (long, short) = word.lower(), shape_of(word)
    marks = (*(low[:n] for n in (1, 2, 3, 4)), *(low[-n:] for n in (1, 2, 3, 4)), long, short)
    codes = (f"{i}{mark}".encode("utf-8", "surrogatepass") for i, mark in enumerate(marks))
    return [zlib.crc32(code) % buckets for code in codes]


def pair_of(first: str, second: str, buckets: int) -> int:
    """The place of two neighbouring tokens in a table of `buckets` rows."""
    return zlib.crc32(f"{first} {second}".encode("utf-8", "surrogatepass")) % buckets


def distinct(split: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """(tokens that differ, in the order of their first place; the number (total,) of each token among them)."""
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(token, len(numbers)) for tokens in split for token in tokens]
    return list(numbers), np.array(codes, dtype=np.int64)


@layer("token_vectors")
class TokenVectors(Layer):
    """Texts or lists of tokens (n,) -> (vectors (total, e), lengths (n,)): vectors of the token, of its runs of
    characters and of its marks (see `slots_of`), side by side.

    table (v, e1) : a row for each id of `tokens`.
    grams (g, e2) : rows of runs of `sizes` characters; a token gets their mean.
    slots (s, e3) : rows of marks; a token gets SLOTS of them side by side.
    cased : whether runs see capitals.
    """

    formula: ClassVar[str] = "a = table[id] ‖ mean(grams[runs]) ‖ slots[marks]"

    tokens: Layer
    table: np.ndarray
    grams: np.ndarray | None = None
    slots: np.ndarray | None = None
    sizes: tuple[int, int] = (3, 5)
    cased: bool = False

    def __call__(self, cells: Any) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self.tokens, Tokens)
        split = [self.tokens.split(cell) for cell in cells]
        words, codes = distinct(split)
        return self.of(words)[codes], np.array([len(t) for t in split], dtype=np.int64)

    def of(self, words: Sequence[str]) -> np.ndarray:
        """Vectors (v, e) of these tokens."""
        assert isinstance(self.tokens, Tokens)
        parts = [self.table[[self.tokens.number(word) for word in words]]]
        if self.grams is not None:
            runs = [grams_of(word if self.cased else word.lower(), *self.sizes, len(self.grams)) for word in words]
            counts = np.array([len(r) for r in runs])
            starts = np.cumsum(counts) - counts
            sums = np.add.reduceat(self.grams[np.concatenate(runs)], starts, axis=0) if len(words) else self.grams[:0]
            parts.append(sums / counts[:, None].astype(sums.dtype))
        if self.slots is not None:
            marks = np.array([slots_of(word, len(self.slots)) for word in words], dtype=np.int64).reshape(-1, SLOTS)
            parts.append(self.slots[marks].reshape(len(words), -1))
        return np.concatenate(parts, axis=1)

    def parts(self) -> list[Layer]:
        return [self.tokens]

    def check(self) -> None:
        need(isinstance(self.tokens, Tokens), "vectors of tokens have no tokens")
        tables = [t for t in (self.table, self.grams, self.slots) if t is not None]
        need(all(t.ndim == 2 and t.dtype.kind == "f" and len(t) for t in tables), "vectors of tokens are no table")
        need(len(self.table) == self.tokens.size, "vectors do not fit the vocabulary")
        low, high = self.sizes
        need(type(low) is int and type(high) is int and 0 < low <= high <= 20, "runs of characters have no length")
        need(type(self.cased) is bool, "vectors of tokens are described wrongly")


@layer("token_sums")
class TokenSums(Layer):
    """Texts or lists of tokens (n,) -> (n, k): sums of weights of their tokens and pairs of neighbours, over √count.

    table (v, k) : weights by id. pairs (b, k) : weights of pairs (see `pair_of`), or None.
    """

    formula: ClassVar[str] = "a = Σ (table[id] + pairs[id, next]) / √count"

    tokens: Layer
    table: np.ndarray
    pairs: np.ndarray | None = None

    def __call__(self, cells: Any) -> np.ndarray:
        assert isinstance(self.tokens, Tokens)
        out = np.zeros((len(cells), self.table.shape[1]), dtype=self.table.dtype)
        for row, cell in enumerate(cells):
            split = self.tokens.split(cell)
            weights = self.table[[self.tokens.number(token) for token in split]].sum(axis=0)
            if self.pairs is not None and len(split) > 1:
                lower = [token.lower() for token in split] if self.tokens.lower else split
                places = [pair_of(a, b, len(self.pairs)) for a, b in itertools.pairwise(lower)]
                weights = weights + self.pairs[places].sum(axis=0)
            out[row] = weights / np.sqrt(len(split)).astype(out.dtype)
        return out

    def parts(self) -> list[Layer]:
        return [self.tokens]

    def check(self) -> None:
        need(isinstance(self.tokens, Tokens), "sums of tokens have no tokens")
        need(self.table.ndim == 2 and len(self.table) == self.tokens.size, "sums do not fit the vocabulary")
        if self.pairs is not None:
            need(self.pairs.ndim == 2 and len(self.pairs) > 0, "weights of pairs are no table")
            need(self.pairs.shape[1] == self.table.shape[1], "weights of pairs do not fit")


@layer("steps")
class Signals(Layer):
    """Series of numbers -> (values (total, p or 2 p), lengths (n,)): (x - centre) * scale by signal, 0 where missing.

    Cells: objects (T, p) or (T,); or one array (n, T) or (n, T, p). gaps : p columns follow, 1 where a value was
    missing. most : steps of a series that are read; what follows is left out.
    """

    formula: ClassVar[str] = "a = (x - centre) · scale"

    centre: np.ndarray
    scale: np.ndarray
    gaps: bool = False
    most: int = 10_000

    def __call__(self, cells: Any) -> tuple[np.ndarray, np.ndarray]:
        p = len(self.centre)
        made = [as_series(cell, p)[: self.most] for cell in cells]
        lengths = np.array([len(cell) for cell in made], dtype=np.int64)
        values = np.concatenate(made) if made else np.zeros((0, p))
        missing = np.isnan(values)
        scaled = (values.astype(np.float64) - self.centre) * self.scale
        scaled = np.clip(np.where(missing, 0.0, scaled), -1e6, 1e6)
        scaled = np.concatenate([scaled, missing], axis=1) if self.gaps else scaled
        return scaled.astype(self.centre.dtype), lengths

    def check(self) -> None:
        shape = self.centre.shape
        need(len(shape) == 1 and shape[0] > 0 and self.scale.shape == shape, "scales of series do not fit")
        need(self.centre.dtype.kind == "f" and self.scale.dtype.kind == "f", "scales of series are no numbers")
        need(type(self.gaps) is bool and type(self.most) is int and self.most > 0, "series are described wrongly")


def as_series(cell: Any, width: int | None = None) -> np.ndarray:
    """One series as (T, p) of floats, one NaN step where it is empty; ValueError where it is none."""
    array = np.asarray(cell)
    if array.dtype.kind not in "fiub":
        array = np.asarray(cell, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.size == 0:
        return np.full((1, width or 1), np.nan)
    if array.ndim != 2 or (width is not None and array.shape[1] != width):
        told = f"steps of {array.shape[-1]} numbers" if array.ndim == 2 else f"an array of shape {array.shape}"
        raise ValueError(f"A series of {told} came; expected (steps, {width or 'width'}).")
    return array
