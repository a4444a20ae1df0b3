"""Texts as ids of characters, bytes or pairs of bytes, and back; in the standard library and numpy."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any, ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

UNKNOWN, END = 0, 1  # ids of characters that were never seen, and of the end of a text
_CACHE = 50_000  # words whose ids are remembered
# How a text is cut into words before pairs are joined: by kinds of characters (see `_kinds`), as the vocabularies that
# are in use do it. Apostrophes are looked at first, in the text itself.
_SHORT = re.compile(r"'(?:[sdmt]|ll|ve|re)")
_SHORT_ANY = re.compile(r"'(?:[sdmt]|ll|ve|re)", re.IGNORECASE)
CUTS: dict[str, tuple[re.Pattern[str] | None, re.Pattern[str] | None]] = {
    "none": (None, None),
    "gpt2": (_SHORT, re.compile(r" ?l+| ?n+| ?o+|[ sr]+(?![lno])|[ sr]+")),
    "llama3": (_SHORT_ANY, re.compile(r"[ so]?l+|n{1,3}| ?o+r*|[ sr]*r+|[ sr]+(?![lno])|[ sr]+")),
    "qwen2": (_SHORT_ANY, re.compile(r"[ so]?l+|n| ?o+r*|[ sr]*r+|[ sr]+(?![lno])|[ sr]+")),
}


class Alphabet(Layer):
    """Base: `read` gives ids, `piece` the bytes of an id, `end` is the id of the end of a text (-1: none).

    `silent` are ids that are never written.
    """

    end: int

    @property
    def size(self) -> int:
        raise NotImplementedError

    @property
    def silent(self) -> tuple[int, ...]:
        return ()

    def read(self, text: str) -> np.ndarray:
        """(t,) int64 ids of a text."""
        raise NotImplementedError

    def piece(self, number: int) -> bytes:
        """What an id stands for; the end for nothing."""
        raise NotImplementedError

    def strange(self, text: str) -> list[str]:
        """Characters that were never seen."""
        return []

    def text(self, ids: Any) -> str:
        """The text of these ids; bytes that are no text become a sign of their own."""
        return b"".join(self.piece(int(i)) for i in ids).decode("utf-8", "replace")


@layer("characters")
class Characters(Alphabet):
    """Each of the characters in `symbols` has an id of its own, from 2 on; all others share 0, 1 is the end."""

    formula: ClassVar[str] = "ids = places of the characters"

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        points = [ord(s) for s in self.symbols if isinstance(s, str) and len(s) == 1]
        self._ids = np.zeros(max(points, default=0) + 2, dtype=np.int64)
        self._ids[points] = np.arange(len(points)) + 2
        self._pieces = [b"", b"", *(s.encode("utf-8", "replace") for s in self.symbols if isinstance(s, str))]

    @property
    def end(self) -> int:  # type: ignore[override]
        return END

    @property
    def silent(self) -> tuple[int, ...]:
        return (UNKNOWN,)

    @property
    def size(self) -> int:
        return len(self.symbols) + 2

    def read(self, text: str) -> np.ndarray:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        return self._ids[np.minimum(points, len(self._ids) - 1)]

    def strange(self, text: str) -> list[str]:
        return sorted({c for c in set(text) if not self.read(c)[0]})

    def piece(self, number: int) -> bytes:
        return self._pieces[number]

    def __call__(self, cells: Any) -> tuple[np.ndarray, np.ndarray]:
        return _together([self.read(cell) for cell in cells])

    def check(self) -> None:
        good = isinstance(self.symbols, tuple) and all(isinstance(s, str) and len(s) == 1 for s in self.symbols)
        need(good and 0 < len(set(self.symbols)) == len(self.symbols), "an alphabet is no list of characters")


@layer("byte_pairs")
class BytePairs(Alphabet):
    """Bytes, of which pairs that are often neighbours are joined (Gage 1994; Sennrich et al. 2016). Without merges:
    bytes.

    pieces (total,) uint8, lengths (v,) : the bytes of all ids, one after the other. merges (m, 3) : ids of two parts
    and of what they make, the most important first. cut : how texts are cut into words (see CUTS). end : id of the end.
    whole : texts that stand for one id wherever they are, such as an end that is written out: (text, id), ...
    prefix : whether a space is put before a text.
    """

    formula: ClassVar[str] = "ids = bytes, with pairs joined by rank"

    pieces: np.ndarray
    lengths: np.ndarray
    merges: np.ndarray
    cut: str = "none"
    end: int = -1
    whole: tuple[Any, ...] = ()
    prefix: bool = False

    def __post_init__(self) -> None:
        self._known: dict[str, list[int]] = {}
        self._ready = False

    def _prepare(self) -> None:
        starts = np.cumsum(self.lengths) - self.lengths
        raw = self.pieces.tobytes()
        self._pieces = [raw[s : s + n] for s, n in zip(starts.tolist(), self.lengths.tolist())]
        special = {int(number) for _, number in self.whole}
        self._bytes = np.full(256, -1, dtype=np.int64)
        for number, piece in enumerate(self._pieces):
            if len(piece) == 1 and number not in special and self._bytes[piece[0]] < 0:
                self._bytes[piece[0]] = number
        self._ranks = {(a, b): (rank, c) for rank, (a, b, c) in reversed(list(enumerate(self.merges.tolist())))}
        texts = sorted((text for text, _ in self.whole), key=len, reverse=True)
        self._whole = re.compile("(" + "|".join(re.escape(t) for t in texts) + ")") if texts else None
        self._numbers = dict(self.whole)
        self._ready = True

    @property
    def size(self) -> int:
        return len(self.lengths)

    def read(self, text: str) -> np.ndarray:
        return self.ids(text)

    def ids(self, text: str) -> np.ndarray:
        if not self._ready:
            self._prepare()
        text = " " + text if self.prefix and text[:1] != " " else text
        parts = self._whole.split(text) if self._whole is not None else [text]
        if not len(self.merges) and len(parts) == 1:
            return self._bytes[np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)]
        made: list[int] = []
        for part in parts:
            if part in self._numbers:
                made.append(self._numbers[part])
            elif part:
                for word in words(part, self.cut):
                    made += self._word(word)
        return np.array(made, dtype=np.int64)

    def _word(self, word: str) -> list[int]:
        known = self._known.get(word)
        if known is not None:
            return known
        parts = self._bytes[np.frombuffer(word.encode("utf-8", "replace"), dtype=np.uint8)].tolist()
        ranks = self._ranks
        while len(parts) > 1:
            best, at = None, -1
            for i in range(len(parts) - 1):
                found = ranks.get((parts[i], parts[i + 1]))
                if found is not None and (best is None or found < best):
                    best, at = found, i
            if best is None:
                break
            parts[at : at + 2] = [best[1]]
        if len(self._known) < _CACHE and len(word) < 100:
            self._known[word] = parts
        return parts

    def piece(self, number: int) -> bytes:
        if not self._ready:
            self._prepare()
        return b"" if number == self.end else self._pieces[number]

    def __call__(self, cells: Any) -> tuple[np.ndarray, np.ndarray]:
        return _together([self.read(cell) for cell in cells])

    def check(self) -> None:
        whole = all(a.dtype.kind in "iu" for a in (self.pieces, self.lengths, self.merges))
        need(whole and self.pieces.dtype == np.uint8 and self.pieces.ndim == 1, "a vocabulary of bytes is wrong")
        need(self.lengths.ndim == 1 and len(self.lengths) > 0 and int(self.lengths.min()) >= 0, "its ids are wrong")
        need(int(self.lengths.astype(np.int64).sum()) == len(self.pieces), "its ids are wrong")
        need(self.merges.ndim == 2 and self.merges.shape[1] == 3, "its merges are wrong")
        v = len(self.lengths)
        if len(self.merges):
            need(int(self.merges.min()) >= 0 and int(self.merges.max()) < v, "its merges name ids that do not exist")
        need(self.cut in CUTS and type(self.prefix) is bool, "a vocabulary of bytes is described wrongly")
        need(type(self.end) is int and -1 <= self.end < v, "a vocabulary has no such end")
        for pair in self.whole:
            good = isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]
            need(good and type(pair[1]) is int and 0 <= pair[1] < v, "a vocabulary's special texts are wrong")
        self._prepare()
        need(bool((self._bytes >= 0).all()), "a vocabulary has no id for some byte")
        for a, b, c in self.merges.tolist():
            need(self._pieces[c] == self._pieces[a] + self._pieces[b], "a merge does not make what it joins")


def plain_bytes() -> BytePairs:
    """256 bytes and an end."""
    lengths = np.ones(257, dtype=np.int32)
    lengths[256] = 0
    return BytePairs(np.arange(256, dtype=np.uint8), lengths, np.zeros((0, 3), dtype=np.int32), end=256)


def words(text: str, cut: str) -> list[str]:
    """The words in which pairs may be joined."""
    short, pattern = CUTS[cut]
    if pattern is None:
        return [text]
    assert short is not None
    kinds = _kinds(text)
    made, at = [], 0
    while at < len(text):
        found = short.match(text, at) if text[at] == "'" else None
        stop = found.end() if found else pattern.match(kinds, at).end()  # type: ignore[union-attr]
        made.append(text[at:stop])
        at = stop
    return made


def _kinds(text: str) -> str:
    """A letter for each character: l letters, n numbers, a space itself, r line ends, s other spaces, o all else."""
    return "".join(map(_kind, text))


@functools.lru_cache(maxsize=65_536)
def _kind(character: str) -> str:
    if character == " ":
        return " "
    if character in "\r\n":
        return "r"
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":
        return "s"
    first = unicodedata.category(character)[0]
    return "l" if first == "L" else "n" if first == "N" else "o"


def _together(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    values = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    return values, np.array([len(p) for p in parts], dtype=np.int64)
