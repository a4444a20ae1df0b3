"""Tags of words as spans (entities), in the ways they are written down, and how well spans were found.

IOB1    B- only where an entity follows another one of its type     I-PER I-PER O
IOB2    every entity begins with B-                                 B-PER I-PER O
IOBES   entities end with E-, single words are S-                   B-PER E-PER O S-LOC
BILOU   the same with L- and U-                                     B-PER L-PER O U-LOC
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

SCHEMES = ("IOB1", "IOB2", "IOBES", "BILOU")
_TAG = re.compile(r"([BIESLU])-(.+)", re.DOTALL)

Span = tuple[int, int, str]


def spans_of(tags: Sequence[str]) -> list[Span]:
    """(first word, word after the last, type) of every entity, whichever scheme the tags are in.

    A part that fits nothing before it begins an entity, as in the scorer of the CoNLL tasks.
    """
    spans: list[Span] = []
    start, kind = -1, ""
    for i, tag in enumerate([*tags, "O"]):
        found = _TAG.fullmatch(tag)
        part, now = found.groups() if found else ("O", "")
        goes_on = start >= 0 and now == kind and part in "IEL"
        if start >= 0 and not goes_on:
            spans.append((start, i, kind))
            start = -1
        if now and start < 0:
            start, kind = i, now
        if start >= 0 and part in "ESLU":
            spans.append((start, i + 1, kind))
            start = -1
    return spans


def tags_of(spans: Iterable[Span], length: int, scheme: str = "IOBES") -> list[str]:
    """The inverse of `spans_of`, in one of SCHEMES."""
    tags = ["O"] * length
    last, single = ("E", "S") if scheme == "IOBES" else ("L", "U") if scheme == "BILOU" else ("I", "B")
    before = (-1, "")  # where the entity before ends, and its type
    for start, end, kind in sorted(spans):
        tags[start:end] = [f"I-{kind}"] * (end - start)
        if scheme == "IOB1":
            tags[start] = f"B-{kind}" if before == (start, kind) else f"I-{kind}"
        elif end - start == 1:
            tags[start] = f"{single}-{kind}"
        else:
            tags[start], tags[end - 1] = f"B-{kind}", f"{last}-{kind}"
        before = (end, kind)
    return tags


def scheme_of(sentences: Iterable[Sequence[str]]) -> str | None:
    """The scheme that these tags are written in; None where they are no spans (parts of speech, say)."""
    letters: set[str] = set()
    early = False  # an entity begins with I-
    for tags in sentences:
        before = "O"
        for tag in tags:
            if tag != "O":
                found = _TAG.fullmatch(tag)
                if found is None:
                    return None
                letters.add(found.group(1))
                early |= found.group(1) == "I" and before[2:] != found.group(2)
            before = tag
    if not letters:
        return None
    if letters & set("LU"):
        return "BILOU"
    if letters & set("ES"):
        return "IOBES"
    return "IOB1" if early else "IOB2"


def may_follow(first: str, second: str) -> bool:
    """Whether an IOBES tag may stand after another one; "" stands for the ends of a sentence."""
    inside = first[:1] in ("B", "I") and first not in ("B", "I")
    if inside:
        return second[:1] in ("I", "E") and second[1:] == first[1:]
    return second[:2] not in ("I-", "E-")


def span_scores(true: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Exact spans: {"precision", "recall", "f1", "types": {type: the same three and "count"}}.

    A span counts where both its ends and its type are right. Shares of nothing are 0.
    """
    right: Counter[str] = Counter()
    told: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for a, b in zip(true, found, strict=True):
        if len(a) != len(b):
            raise ValueError(f"A sentence has {len(a)} tags and {len(b)} came; expected as many.")
        want, got = set(spans_of(a)), set(spans_of(b))
        right.update(kind for _, _, kind in want & got)
        told.update(kind for _, _, kind in got)
        there.update(kind for _, _, kind in want)

    def shares(r: int, t: int, n: int) -> dict[str, float]:
        precision, recall = r / t if t else 0.0, r / n if n else 0.0
        both = precision + recall
        return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both if both else 0.0}

    kinds = {k: {**shares(right[k], told[k], there[k]), "count": there[k]} for k in sorted({*told, *there})}
    return {**shares(right.total(), told.total(), there.total()), "types": kinds}
