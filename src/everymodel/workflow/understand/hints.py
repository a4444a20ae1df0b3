"""Leaks in part: a word inside longer text, a mark for one class of several, a coarse copy of a number.

Some of these look just like an honest strong column (that an animal gives milk marks the mammals). Where nothing tells
them apart, the column stays and a finding asks the user.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from everymodel.core.finding import Finding
from everymodel.workflow.understand.codes import finding
from everymodel.workflow.understand.kinds import _TIME_WORDS, tokens

TEXTS = 5_000  # cells whose words are counted
EDGE = 1_000  # characters at either end of a cell that are looked at
NAMED = 0.93  # recall beyond false alarms from which a word like the class's name gives it away
EXACT, NEARLY = 0.9995, 0.985  # the same for any word: the target by another word, and worth asking
ASK = "It is kept, as an honest column can look like this. Is it known before the outcome is? If not, pass ignore="
MANY_STEPS = 8  # levels that do not overlap: no group effect is that clean
_WORD = re.compile(r"[^\W_]+")


def ask(name: str, text: str, **data: Any) -> Finding:
    """A finding about a column that stays."""
    return finding("leak-partial", "warning", text, f"{ASK}[{name!r}].", [name], **data)


def alike(word: str, label: str) -> bool:
    """Whether a word names a class: equal, or one the beginning of the other ("churn", "churned")."""
    short, long = sorted((word, label), key=len)
    return short == long or (len(short) >= 4 and long.startswith(short))


def label_words(label: Any) -> list[str]:
    """The words of a class label that can stand for it."""
    words = _WORD.findall(str(label).lower())
    return [word for word in words if len(word) > 2] or words


def coarse(name: str, codes: np.ndarray, y: np.ndarray, labels: Sequence[Any]) -> tuple[str, bool] | None:
    """(in words, whether the column's name says so too) of a column whose value follows from the class.

    Parameters
    ----------
    codes, y : (n,) levels from 0, fewer than there are classes; classes from 0, at least three.
    """
    k, levels = len(labels), int(codes.max()) + 1
    if k < 3 or not 2 <= levels < k:
        return None
    table = np.bincount(codes * k + y, minlength=levels * k).reshape(levels, k)  # (levels, k)
    sizes = table.sum(axis=0)
    if sizes.min() < 5 or (table.max(axis=0) < 0.995 * sizes).any():
        return None
    place = table.argmax(axis=0)  # (k,) level of each class
    if len(set(place.tolist())) < levels:
        return None
    single = [c for c in range(k) if (place == place[c]).sum() == 1]
    if levels == 2 and single:
        parts = tokens(name)
        named = [
            c for c in single if all(any(alike(t, w) for t in parts) for w in _WORD.findall(str(labels[c]).lower()))
        ]
        return f"marks the class {labels[(named or single)[0]]!r} of {{target}} and no other", bool(named)
    return "follows from {target}: each class has one value of it", False


def stepped(x: np.ndarray, y: np.ndarray) -> tuple[int, bool]:
    """(levels of x, whether x must be made from y) where x rises in steps with y, or falls, with no exception.

    (0, False) where it does not, or where it may do so by accident. Few groups whose targets differ much do not overlap
    either, but leave gaps between them; a number that was cut leaves none.
    """
    found, counts = np.unique(x, return_counts=True)
    if not 2 <= len(found) <= len(x) / 5 or len(np.unique(y)) <= len(found):
        return 0, False
    chance = sum(math.lgamma(c + 1) for c in counts.tolist()) - math.lgamma(len(x) + 1)
    if chance > math.log(1e-12):
        return 0, False
    for sign in (1.0, -1.0):
        order = np.lexsort((sign * x, y))
        bands = sign * x[order]
        if (np.diff(bands) < 0).any():
            continue
        along = y[order]
        starts = np.append(np.flatnonzero(np.diff(bands, prepend=bands[0] - 1)), len(y))
        if (np.diff(along[starts[:-1]]) <= 0).any() or (np.diff(along[starts[1:] - 1]) <= 0).any():
            return 0, False  # levels all within one value of y show nothing
        return len(found), len(found) >= MANY_STEPS or (len(found) > 2 and not _gaps(along, starts))
    return 0, False


def _gaps(along: np.ndarray, starts: np.ndarray) -> bool:
    """Whether sorted numbers are sparser where bands meet than in their middle; True where too few could show it."""
    middles = (starts[:-1] + starts[1:]) // 2
    ratios = []
    for i in range(1, len(starts) - 1):
        if min(starts[i] - starts[i - 1], starts[i + 1] - starts[i]) >= 30:
            at, inner = starts[i], [along[m + 4] - along[m - 5] for m in (middles[i - 1], middles[i])]
            usual = math.sqrt(max(inner[0], 0.0) * max(inner[1], 0.0))
            ratios.append((along[at + 4] - along[at - 5]) / usual if usual > 0 else math.inf)
    return not ratios or float(np.median(ratios)) > 1.7


def in_time(name: str, values: np.ndarray) -> bool:
    """Whether a column counts the rows or the time: what grows with time follows it in steps."""
    steps = np.diff(values[~np.isnan(values)])
    return bool(set(tokens(name)) & _TIME_WORDS) or bool((steps >= 0).all() or (steps <= 0).all())


def words_of_classes(texts: np.ndarray, y: np.ndarray, labels: Sequence[Any]) -> tuple[float, str, bool, bool] | None:
    """(score, in words, whether the target is given away, whether only one class of several is) of a text column.

    Parameters
    ----------
    texts, y : (n,) cells, "" where missing; classes from 0.
    """
    n, k = len(texts), len(labels)
    sizes = np.bincount(y, minlength=k)
    if n < 40 or k < 2 or k > 50 or sizes.min() < 5:
        return None
    places: dict[str, int] = {}
    rows, held = [], []
    for row, cell in enumerate(texts):
        part = cell if len(cell) <= 2 * EDGE else f"{cell[:EDGE]} {cell[-EDGE:]}"
        for word in set(_WORD.findall(part.lower())):
            rows.append(row)
            held.append(places.setdefault(word, len(places)))
    if not held:
        return None
    table = np.bincount(np.array(held) * k + y[rows], minlength=len(places) * k).reshape(-1, k)  # (words, k)
    recall = table / sizes
    false = (table.sum(axis=1)[:, None] - table) / (n - sizes)
    gain = recall - false  # (words, k): 1 where the word stands in every text of the class and in no other
    words = list(places)
    best = gain.argmax(axis=0)
    own = np.zeros(k)  # the best word like the class's name
    named = list(best)
    for c, label in enumerate(labels):
        wanted = label_words(label)
        fit = [i for i in np.flatnonzero(gain[:, c] >= NAMED).tolist() if any(alike(words[i], w) for w in wanted)]
        if fit:
            named[c] = max(fit, key=lambda i, c=c: gain[i, c])
            own[c] = gain[named[c], c]
    accident = math.log(len(words)) + math.lgamma(sizes.min() + 1) + math.lgamma(n - sizes.min() + 1)
    if accident - math.lgamma(n + 1) > math.log(1e-9):
        return None
    if k == 2 or (own > 0).sum() >= k - 1:
        c = int(own.argmax())
        if own[c] > 0:
            return float(own[c]), _holds(words[named[c]], labels[c]), True, False
    top = gain[best, np.arange(k)]
    c = int(top.argmax())
    score = float(top[c]) if k == 2 else float(top.mean())
    if score >= NEARLY:
        return score, _holds(words[best[c]], labels[c]), score >= EXACT, False
    c = int(own.argmax())
    if own[c] > 0:
        return float(own[c]), _holds(words[named[c]], labels[c]), False, True
    return None


def _holds(word: str, label: Any) -> str:
    return f"holds the word {word!r} in nearly every row where {{target}} is {label!r}, and hardly elsewhere"
