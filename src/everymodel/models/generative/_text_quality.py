"""How written texts are judged: their variety, and what of them was copied."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np


def quality(made: list[str], held: list[str], train: list[str] | None) -> dict[str, float]:
    """Variety of samples beside that of as many held-out words; with the training texts also what was copied.

    Returns
    -------
    distinct_1..3 : share of runs of so many words that differ; distinct_1_real.. : the same of held-out texts.
    novelty : share of samples that are none of the training texts (or stand nowhere in the one).
    copied : characters of the longest run of a sample that stands in the training texts; copied_usual : its median over
    samples; copied_usual_real : that of held-out texts of the same length.
    """
    told: dict[str, float] = {}
    words = [text.split() for text in made]
    count = sum(map(len, words))
    real: list[list[str]] = []
    for text in held:
        real.append(text.split()[: max(count - sum(map(len, real)), 0)])
    for n in (1, 2, 3):
        told[f"distinct_{n}"] = _distinct(words, n)
        told[f"distinct_{n}_real"] = _distinct(real, n)
    if train is not None:
        known = set(train)
        whole = "\0".join(train)
        old = known if len(train) > 1 else whole
        told["novelty"] = float(np.mean([text not in old for text in made]))
        runs = longest_runs(made, whole)
        told["copied"], told["copied_usual"] = float(max(runs)), float(np.median(runs))
        alike = _alike(made, held)
        if alike:
            told["copied_usual_real"] = float(np.median(longest_runs(alike, whole)))
    return told


def by_frequency(held: list[str], train: list[str]) -> float:
    """Nats of a character of the held texts by how often it comes in others; the end of a text counts as one."""
    counts, wanted = Counter("".join(train)), Counter("".join(held))
    if len(train) > 1:
        counts["\0end"], wanted["\0end"] = len(train), len(held)
    total = counts.total() + len(counts | wanted)  # each is counted once more than it came
    return sum(n * math.log(total / (counts[c] + 1)) for c, n in wanted.items()) / max(wanted.total(), 1)


def _alike(made: list[str], held: list[str]) -> list[str]:
    """Held-out texts of the lengths of the samples."""
    if len(held) > 1:
        return held[: len(made)]
    text, size = held[0], int(np.median([len(m) for m in made]))
    starts = np.linspace(0, max(len(text) - size, 0), min(len(made), max(len(text) // max(size, 1), 1))).astype(int)
    return [text[s : s + size] for s in starts]


def _distinct(texts: list[list[str]], n: int) -> float:
    runs = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def longest_runs(texts: Sequence[str], whole: str, most: int = 20_000_000) -> list[int]:
    """Characters of the longest part of each text that stands somewhere in `whole` (of which `most` are looked at)."""
    codes = _codes(whole[:most])
    low = [0] * len(texts)
    high = [len(text) for text in texts]
    known: dict[int, np.ndarray] = {}
    own = [_codes(text) for text in texts]
    while any(a < b for a, b in zip(low, high, strict=True)):
        for i, (a, b) in enumerate(zip(low, high, strict=True)):
            if a < b:  # in steps that double first, so that all texts ask for the same few lengths
                n = min(2 * a or 1, b) if b == len(texts[i]) else (a + b + 1) // 2
                if n not in known:
                    known[n] = np.sort(_hashes(codes, n))
                found = _any(_hashes(own[i], n), known[n])
                low[i], high[i] = (n, b) if found else (a, n - 1)
    return low


def _any(some: np.ndarray, ordered: np.ndarray) -> bool:
    """Whether one of these stands among the others, which are in order."""
    if not len(ordered):
        return False
    places = np.minimum(np.searchsorted(ordered, some), len(ordered) - 1)
    return bool((ordered[places] == some).any())


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)


def _hashes(codes: np.ndarray, n: int) -> np.ndarray:
    """Hashes of all runs of n codes, by doubling: that of 2 k codes is made of two of k."""
    if len(codes) < n:
        return np.zeros(0, dtype=np.uint64)
    made, done, unit, power = np.zeros(len(codes) + 1, dtype=np.uint64), 0, codes + np.uint64(1), 1
    factor = 1_000_003
    while n:
        if n & 1:
            left = made[: len(codes) - done - power + 1]
            right = unit[done : done + len(left)]
            made, done = left * np.uint64(factor) + right, done + power
        n >>= 1
        if n:
            unit = unit[: len(unit) - power] * np.uint64(factor) + unit[power:]
            factor, power = factor * factor % (1 << 64), power * 2
    return made
