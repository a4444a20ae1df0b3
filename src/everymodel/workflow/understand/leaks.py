"""The leak guard: columns that give the target away, found before anything is learned.

It must find copies in any disguise (renamed, rescaled, with errors) and must not accuse a column that is merely good.
Every test looks at one column and the target on at most SAMPLE rows, and scores 0 (says nothing) to 1 (says all):

- regression: the target's rank is predicted from the two neighbours in the order of the column (leaving the row itself
  out), or from the other rows of its level; the score is R2 of that. It does not care for units or monotone curves.
- classes: each level (or neighbourhood) is assigned to the class in which it is most usual; the score is the mean
  recall, corrected for chance. It does not care how frequent the classes are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.finding import Finding
from everymodel.core.seeds import derive
from everymodel.scoring import cells
from everymodel.workflow.understand import hints
from everymodel.workflow.understand.codes import finding, listed
from everymodel.workflow.understand.kinds import Seen, tokens
from everymodel.workflow.understand.target import Target

SAMPLE = 20_000
FEW = 20  # rows; with fewer, chance looks like a leak
COPY = 0.9995  # score from which a column is the target itself (regression, or any number of levels)
RENAMED = 0.93  # score from which as many levels as classes are the classes renamed, with a few errors
STRONG, OTHERS = 0.985, 0.8  # a score this high is suspect where every other column stays this low
ADVICE = "It is left out unless you pass keep_suspects=True (--keep-suspects): is it known before the outcome is?"


@dataclass
class _Verdict:
    name: str
    score: float
    code: str = ""  # finding code where the column is suspect
    words: str = ""
    hint: str = ""  # in words, where the column tells a part and stays
    able: bool = True  # to be the target in disguise; a row number or date beside a smooth series is not


def guard(
    seen: list[Seen], goal: Target, frame: Any, *, time: str | None = None, seed: int = 0
) -> tuple[tuple[str, ...], list[Finding]]:
    """Suspect features and the findings that name them.

    Parameters
    ----------
    seen : every column but the targets, examined over the rows of the frame; only those with role "feature" are judged,
        and the one called `time`, which others are compared with.
    frame : the rows themselves, for the words in text.
    """
    rows = np.flatnonzero(goal.keep)
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(derive(seed, "leaks")).choice(rows, SAMPLE, replace=False))
    findings: list[Finding] = []
    features = [one for one in seen if one.column.role == "feature" and one.column.kind not in ("image", "sequence")]
    future = _future(seen, features, time, rows)
    findings += future
    blamed = {name for f in future for name in f.columns}
    if len(rows) >= FEW:
        targets = goal.y[rows]
        classes = goal.task != "regression"
        columns = targets.T if targets.ndim == 2 else [targets]
        for y, place in zip(columns, range(len(columns))):
            name = goal.columns[place].name if len(goal.columns) == len(columns) else goal.columns[0].name
            labels = goal.classes if goal.task in ("binary", "multiclass") else (0, 1)
            verdicts = [_judge(one, one.values[rows], y, classes, seed, labels) for one in features]
            if goal.task in ("binary", "multiclass"):
                for verdict, one in zip(verdicts, features):
                    _read_words(verdict, one, frame, rows, y, labels, seed)
            if not classes:
                _tell_lags(verdicts, features, goal.y if goal.y.ndim == 1 else goal.y[:, place], seen, time)
            for verdict in _compare(verdicts):
                if verdict.code and verdict.name not in blamed:
                    blamed.add(verdict.name)
                    findings.append(_found(verdict, name, len(rows), int(goal.keep.sum())))
                elif verdict.hint and verdict.name not in blamed:
                    text = f"{verdict.name!r} {verdict.hint.format(target=_quoted(name))}."
                    findings.append(hints.ask(verdict.name, text, target=name))
            if not classes:
                parts = [part for part in _parts(features, rows, y) if part not in blamed]
                if parts:
                    blamed.update(parts)
                    text = f"{listed(parts)} add up to the target {name!r}."
                    findings.append(finding("leak-parts", "warning", text, ADVICE, parts, target=name))
    order = [one.column.name for one in features if one.column.name in blamed]
    return tuple(order), findings


def _found(verdict: _Verdict, target: str, sampled: int, rows: int) -> Finding:
    return finding(
        verdict.code,
        "warning",
        f"{verdict.name!r} {verdict.words.format(target=_quoted(target))}.",
        ADVICE,
        [verdict.name],
        target=target,
        score=round(verdict.score, 6),
        sampled=sampled < rows,
        sample_rows=sampled,
    )


def _quoted(target: str) -> str:
    return repr(target).replace("{", "").replace("}", "")


def _compare(verdicts: list[_Verdict]) -> list[_Verdict]:
    """Add what can only be said beside the other columns: one score near perfect, all others far below."""
    open_cases = sorted((v for v in verdicts if not v.code), key=lambda v: -v.score)
    best = open_cases[0] if open_cases else None
    if best is not None and best.able and len(open_cases) > 1 and best.score >= STRONG > OTHERS > open_cases[1].score:
        best.code = "leak-strong"
        best.words = f"alone predicts {{target}} almost perfectly (score {best.score:.4f} of 1; the next best column "
        best.words += f"{max(open_cases[1].score, 0.0):.2f})"
    return verdicts


def _judge(one: Seen, values: np.ndarray, y: np.ndarray, classes: bool, seed: int, labels: Sequence[Any]) -> _Verdict:
    name = one.column.name
    numeric = values.dtype.kind == "f"
    gone = np.isnan(values) if numeric else values < 0
    if classes:
        there, dense = np.unique(y, return_inverse=True)
        dense = dense.reshape(-1).astype(np.int64)
        verdict = _judge_classes(name, values, gone, numeric, dense)
        if not verdict.code and len(there) > 2:
            _, codes = np.unique(values, return_inverse=True)  # missing cells are one level
            part = hints.coarse(name, codes.reshape(-1), dense, [labels[int(c)] for c in there])
            if part is not None and part[1]:
                verdict.code, verdict.words = "leak-copy", part[0]
            elif part is not None:
                verdict.hint = part[0]
    else:
        verdict = _judge_numbers(name, values, gone, numeric, y, seed)
        if one.column.kind == "date" or _years(one, y):  # what grows with time is no disguise of it
            verdict.code, verdict.hint, verdict.able = "", "", False
    verdict.able &= one.column.kind != "date" and not (classes and numeric and _counts_rows(values[~gone]))
    return verdict


def _years(one: Seen, y: np.ndarray) -> bool:
    """Whether a column of numbers holds calendar years, and the target does not."""
    column = one.column
    if not column.integer or not {"year", "yr"} & set(tokens(column.name)):
        return False
    low, high = column.low or 0.0, column.high or 0.0
    return low >= 1700 and high <= 2200 and not (y.min() >= 1700 and y.max() <= 2200)


def _counts_rows(values: np.ndarray) -> bool:
    """Whether the column rises with the rows: it predicts whatever the file is sorted by."""
    return len(values) > 1 and bool((np.diff(values) > 0).all())


def _read_words(
    verdict: _Verdict, one: Seen, frame: Any, rows: np.ndarray, y: np.ndarray, labels: Sequence[Any], seed: int
) -> None:
    """Add what single words in a column of text tell of the class."""
    kind = one.column.kind
    if verdict.code or not (kind == "text" or (kind == "category" and any(" " in w for w in one.column.levels[:20]))):
        return
    some = np.arange(len(rows))
    if len(rows) > hints.TEXTS:
        rng = np.random.default_rng(derive(seed, "leaks", one.column.name))
        some = np.sort(rng.choice(len(rows), hints.TEXTS, replace=False))
    there, dense = np.unique(y[some], return_inverse=True)
    texts = cells.as_text(frame[one.column.name].iloc[rows[some]])
    found = hints.words_of_classes(texts, dense.reshape(-1), [labels[int(c)] for c in there])
    if found is None:
        return
    score, words, sure, _ = found
    verdict.score = max(verdict.score, score)
    if sure:
        verdict.code, verdict.words = "leak-word", words
    else:
        verdict.hint = words


# --- classes ---------------------------------------------------------------------------------------------------------


def _judge_classes(name: str, values: np.ndarray, gone: np.ndarray, numeric: bool, y: np.ndarray) -> _Verdict:
    k = int(y.max()) + 1
    if k < 2:
        return _Verdict(name, 0.0)
    share = gone.mean()
    if 0 < share < 1:
        emptiness = _recall(gone.astype(np.int64), y, k)
        if k == 2 and emptiness >= 0.95:
            return _Verdict(name, emptiness, "leak-missing", "is empty or filled according to {target}")
    _, codes = np.unique(values, return_inverse=True)  # NaN are one level
    codes = codes.reshape(-1)
    levels = int(codes.max()) + 1
    if 0.0 < share < 0.95 and len(y) - gone.sum() >= FEW:  # a copy that is not filled everywhere
        t = y[~gone]
        if np.bincount(t, minlength=k).min() >= 5:
            filled = _judge_classes(name, values[~gone], gone[~gone], numeric, t)
            if filled.code == "leak-copy":
                filled.words += f", where it is filled ({1.0 - share:.0%} of the rows)" if share > 0.05 else ""
                return filled
    score = 0.0
    if not numeric or levels <= max(20, 2 * k):
        score = _recall(codes, y, k)
        usual = np.bincount(codes)
        serious = int((usual >= max(5, 0.001 * len(y))).sum())
        if serious == k and score >= RENAMED and _one_to_one(codes, y, k):
            errors = "" if score > 1 - 1e-9 else f", with some errors (score {score:.3f})"
            return _Verdict(name, score, "leak-copy", "is {target} under other names" + errors)
        if score >= COPY or _pure(codes, y, k):
            return _Verdict(name, score, "leak-copy", "gives {target} away: each of its values goes with one class")
    if numeric and levels > k:
        order = np.argsort(values[~gone], kind="stable")
        x, t = values[~gone][order], y[~gone][order]
        if len(x) >= FEW and len(np.unique(t)) == k:
            if _clustered(x, t, k):
                return _Verdict(name, 1.0, "leak-copy", "is {target} in numbers with a little noise")
            score = max(score, _neighbour_recall(t, k) * (1.0 - share))
    return _Verdict(name, score)


def _recall(codes: np.ndarray, y: np.ndarray, k: int) -> float:
    """Mean recall over classes, 0 at chance, when every level stands for the class in which it is most usual.

    A row is counted as right only where its level has other rows to judge by, so that rare levels prove nothing.
    """
    levels = int(codes.max()) + 1
    if levels * k > 20_000_000:
        return 0.0
    table = np.bincount(codes * k + y, minlength=levels * k).reshape(levels, k).astype(float)
    sizes = table.sum(axis=0)
    table[table.sum(axis=1) < 5] = 0.0
    shares = table / np.maximum(sizes, 1.0)  # (levels, k): how usual a level is in a class
    right = np.where(shares.argmax(axis=1)[:, None] == np.arange(k), shares, 0.0).sum(axis=0)  # (k,) recall
    return float((right.mean() - 1.0 / k) / (1.0 - 1.0 / k))


def _pure(codes: np.ndarray, y: np.ndarray, k: int) -> bool:
    """Whether every level goes with one class, and often enough for that not to be chance."""
    levels = int(codes.max()) + 1
    if levels * k > 20_000_000:
        return False
    table = np.bincount(codes * k + y, minlength=levels * k).reshape(levels, k)
    rows = table.sum(axis=1)
    repeats = int((rows[rows > 0] - 1).sum())  # rows whose class another row of their level foretells
    shares = np.bincount(y, minlength=k) / len(y)
    chance = repeats * np.log(max(float((shares**2).sum()), 1e-12))  # log of the chance that all agree by accident
    return bool((table.max(axis=1) == rows).all() and repeats >= 0.7 * len(y) and chance < np.log(1e-9))


def _one_to_one(codes: np.ndarray, y: np.ndarray, k: int) -> bool:
    """Whether the frequent levels stand for different classes."""
    levels = int(codes.max()) + 1
    table = np.bincount(codes * k + y, minlength=levels * k).reshape(levels, k) / np.bincount(y, minlength=k)
    frequent = np.argsort(-np.bincount(codes, minlength=levels))[:k]
    return len(set(table[frequent].argmax(axis=1).tolist())) == k


def _neighbour_recall(t: np.ndarray, k: int) -> float:
    """Mean recall, 0 at chance, when the class of a row is guessed from its two neighbours in the order of a column."""
    left, right = t[:-2], t[2:]
    middle = t[1:-1]
    hit = 0.5 * ((left == middle).astype(float) + (right == middle))
    hit[(left == middle) | (right == middle)] = np.maximum(hit[(left == middle) | (right == middle)], 0.5)
    sizes = np.bincount(middle, minlength=k)
    recall = np.bincount(middle, hit, minlength=k) / np.maximum(sizes, 1)
    return float((recall.mean() - 1.0 / k) / (1.0 - 1.0 / k))


def _clustered(x: np.ndarray, t: np.ndarray, k: int) -> bool:
    """Whether the classes are narrow clusters of numbers far apart, as a copy with noise has them; x is sorted."""
    ends = np.flatnonzero(np.diff(t)) + 1
    if len(ends) != k - 1 or np.bincount(t, minlength=k).min() < 5:
        return False
    starts = np.concatenate([[0], ends])
    stops = np.concatenate([ends, [len(x)]]) - 1
    widths = x[stops] - x[starts]
    gaps = x[starts[1:]] - x[stops[:-1]]
    return bool(gaps.min() > 5.0 * widths.max())


# --- numbers ---------------------------------------------------------------------------------------------------------


def ranks(values: np.ndarray) -> np.ndarray:
    """(n,) average ranks from 0; equal values share theirs."""
    found, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    del found
    return (ends - (counts + 1) / 2.0)[place.reshape(-1)]


def _judge_numbers(
    name: str, values: np.ndarray, gone: np.ndarray, numeric: bool, y: np.ndarray, seed: int
) -> _Verdict:
    x, t = values[~gone], ranks(y[~gone])
    share = float(gone.mean())
    spread = float(((t - t.mean()) ** 2).sum()) if len(t) else 0.0
    if len(x) < FEW or spread == 0.0:
        return _Verdict(name, 0.0)
    found, codes, counts = np.unique(x, return_inverse=True, return_counts=True)
    codes = codes.reshape(-1)
    score, able = 0.0, True
    repeated = counts[codes] > 1
    if len(found) > 1 and repeated.mean() >= 0.8:  # levels: the mean of the other rows of the level
        sums = np.bincount(codes, t)
        guess = (sums[codes] - t)[repeated] / (counts[codes][repeated] - 1)
        score = 1.0 - float(((t[repeated] - guess) ** 2).sum()) / max(
            float(((t - t.mean())[repeated] ** 2).sum()), 1e-300
        )
    if numeric and len(found) > 10:
        along = t
        shuffled = np.random.default_rng(derive(seed, "leaks", name)).permutation(len(x))
        t = t[shuffled[np.argsort(x[shuffled], kind="stable")]]  # equal numbers in random order
        guess = 0.5 * (t[:-2] + t[2:])
        score = max(
            score, 1.0 - float(((t[1:-1] - guess) ** 2).sum()) / float(((t[1:-1] - t.mean()) ** 2).sum() or 1e-300)
        )
        if score >= STRONG:  # below, nobody asks
            # a disguise rises or falls with the target throughout; time beside a smooth series does neither
            able = abs(float(np.corrcoef(ranks(x), along)[0, 1])) >= 0.99
    hint = ""
    if not (numeric and hints.in_time(name, values)):
        steps, sure = hints.stepped(x if numeric else _by_target(codes, y[~gone]), y[~gone])
        if sure:
            how = f"rounded or cut into {steps} steps" if numeric else "cut into bands"
            return _Verdict(name, max(score, 0.0), "leak-copy", f"is {{target}} {how}")
        hint = f"tells exactly in which of {steps} ranges {{target}} lies" if steps else ""
    if score >= COPY and able and share < 0.9:
        how = "in another unit or on another scale" if numeric else "under other names"
        return _Verdict(name, score, "leak-copy", f"is {{target}} {how}: one follows from the other")
    return _Verdict(name, score * (1.0 - share), hint=hint, able=able)


def _by_target(codes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) place of each row's level when levels are ordered by their smallest target."""
    low = np.full(int(codes.max()) + 1, np.inf)
    np.minimum.at(low, codes, y)
    rank = np.empty(len(low))
    rank[np.argsort(low, kind="stable")] = np.arange(len(low))
    return rank[codes]


def _parts(features: list[Seen], rows: np.ndarray, y: np.ndarray) -> list[str]:
    """Columns of non-negative numbers that add up to the target, found by taking the best fitting one after another."""
    numbers = [
        one
        for one in features
        if one.column.kind == "number" and not one.missing and not one.bad and (one.column.low or 0.0) >= 0.0
    ]
    if len(numbers) < 2 or len(rows) < 2 * FEW or y.min() < 0:
        return []
    rows, y = rows[:2000], y[:2000]
    matrix = np.column_stack([one.values[rows] for one in numbers])  # (n, p)
    norms = np.sqrt(((matrix - matrix.mean(axis=0)) ** 2).sum(axis=0))
    scale = float(np.abs(y).max()) or 1.0
    chosen: list[int] = []
    rest = y - y.mean()
    for _ in range(min(6, len(numbers))):
        centred = rest - rest.mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.abs((matrix - matrix.mean(axis=0)).T @ centred) / norms
        score[[*chosen]] = -1.0
        score[~np.isfinite(score)] = -1.0
        chosen.append(int(score.argmax()))
        weights, *_ = np.linalg.lstsq(matrix[:, chosen], y, rcond=None)
        rest = y - matrix[:, chosen] @ weights
        if np.abs(rest).max() < 1e-7 * scale:
            whole = np.abs(weights - 1.0) < 1e-5
            return [numbers[i].column.name for i in chosen] if whole.all() and len(chosen) > 1 else []
    return []


def _tell_lags(
    verdicts: list[_Verdict], features: list[Seen], y: np.ndarray, seen: list[Seen], time: str | None
) -> None:
    """A slowly moving target is foretold by its own past, which is known; its own future is a leak."""
    clock = next((one for one in seen if one.column.name == time and one.values.dtype.kind == "f"), None)
    order = np.arange(len(y)) if clock is None else np.argsort(clock.values, kind="stable")
    for verdict, one in zip(verdicts, features):
        if verdict.score >= STRONG and one.values.dtype.kind == "f":
            lag = _lag(one.values[order], y[order])
            if lag > 0:
                verdict.code, verdict.score = "", 0.0
            elif lag < 0:
                verdict.code, verdict.words = "leak-future", f"is {{target}} as it will be {-lag} rows later"


def _lag(x: np.ndarray, y: np.ndarray) -> int:
    """By how many rows (at most 30) x repeats y later (positive) or sooner (negative); 0 where it does neither."""
    n = min(len(x), SAMPLE)
    x, y = x[:n], y[:n]
    for k in range(1, min(31, n // 4)):
        for sign, later, sooner in ((1, x[k:], y[:-k]), (-1, y[k:], x[:-k])):
            if np.isclose(later, sooner, rtol=1e-9, atol=0.0).mean() > 0.8:
                # a target that hardly changes equals its neighbours by itself
                return sign * k if np.isclose(x, y, rtol=1e-9, atol=0.0).mean() < 0.8 else 0
    return 0


# --- time ------------------------------------------------------------------------------------------------------------


def _future(seen: list[Seen], features: list[Seen], time: str | None, rows: np.ndarray) -> list[Finding]:
    """Date columns that are later than the time column: they were written after the outcome."""
    clock: Any = next((one for one in seen if one.column.name == time and one.column.kind == "date"), None)
    if clock is None:
        return []
    now, found = clock.values[rows], []
    for one in features:
        if one.column.kind == "date":
            then = one.values[rows]
            both = ~np.isnan(now) & ~np.isnan(then)
            late = float((then[both] > now[both]).mean()) if both.any() else 0.0
            if late > 0.01:
                name = one.column.name
                text = f"{name!r} is later than {time!r} in {late:.0%} of the rows: it is not known at the time."
                found.append(finding("leak-future", "warning", text, ADVICE, [name], later=late))
    return found
