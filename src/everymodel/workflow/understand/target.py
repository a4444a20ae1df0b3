"""What is to be predicted: the task, the classes, and the rows that have a usable target."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError, TargetError
from everymodel.core.finding import Finding
from everymodel.core.schema import TASKS, Column
from everymodel.scoring import cells
from everymodel.workflow.understand.codes import finding, listed, many
from everymodel.workflow.understand.kinds import Seen, examine

MOST_CLASSES = 1000  # more labels than this are names, not classes
SEPARATORS = ("|", ";", ",")  # between the labels of a multilabel cell


@dataclass
class Target:
    """The target as it was understood. `y` has one entry per row of the frame.

    y : (n,) float64 with NaN for regression; (n,) int64 codes with -1 for classes; (n, k) float64 for several columns.
    """

    columns: list[Column]
    task: str
    classes: tuple[Any, ...]
    keep: np.ndarray
    y: np.ndarray
    note: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def did_you_mean(name: Any, names: list[str]) -> str:
    """A hint for a name that is not among `names`."""
    near = difflib.get_close_matches(str(name), names, n=2, cutoff=0.5)
    near = near or [n for n in names if str(name).strip().lower() == n.strip().lower()]
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    return f"The columns are {listed(names, 12)}."


def read_target(frame: Any, names: list[str], task: str | None) -> Target:
    """Understand the target columns `names` of `frame`; `task` is inferred where it is None.

    Raises
    ------
    TargetError
        where there is no such column, or nothing can be learned from it.
    ParameterError
        where `task` is not a task.
    """
    if task is not None and task not in TASKS:
        raise ParameterError(f"task={task!r} is not a task: expected one of {', '.join(TASKS)}.")
    for name in names:
        if name not in frame.columns:
            raise TargetError(f"There is no column {name!r} to predict. {did_you_mean(name, list(frame.columns))}")
    if len(set(names)) < len(names):
        raise TargetError(f"The targets {listed(names)} name a column twice. Name each once.")
    if len(frame) < 2:
        raise TargetError(
            f"The table has {len(frame)} row{'s' * (len(frame) != 1)}; a model needs at least 2, and some dozens to be "
            "tested. Give more rows."
        )
    made = _several(frame, names, task) if len(names) > 1 else _single(frame, names[0], task)
    lost = len(frame) - int(made.keep.sum())
    single = sum(f.data.get("rows", 0) for f in made.findings if f.code == "single-member-classes")
    if lost - single:
        share = (lost - single) / len(frame)
        made.findings.append(
            finding(
                "target-missing",
                "warning" if share > 0.05 else "info",
                f"No usable target in {listed(names)} in {lost - single} of {len(frame)} rows ({share:.1%}); left out.",
                "Fill in the target where it is known." if share > 0.05 else "",
                names,
                rows=lost - single,
            )
        )
    if made.keep.sum() < 2:
        raise TargetError(
            f"Only {int(made.keep.sum())} of {len(frame)} rows have a usable target in {listed(names)}; at least 2 are "
            "needed. Give more rows."
        )
    return made


def _empty(name: str, frame: Any) -> TargetError:
    return TargetError(
        f"The target {name!r} has no value in any of the {len(frame)} rows. Name another column, fill it in for some "
        "rows, or look for groups without a target (leave target= out)."
    )


def _single(frame: Any, name: str, task: str | None) -> Target:
    series = frame[name]
    lists = any(isinstance(cell, list | tuple | set | frozenset | np.ndarray) for cell in series.iloc[:1000])
    if task == "multilabel" or (task is None and lists):
        words = cells.as_text(series)
        if task is not None or any("|" in word for word in words):
            return _delimited(name, words, forced=True)
    seen = examine(name, series)
    if seen.distinct == 0:
        raise _empty(name, frame)
    if seen.column.kind == "number" and task in (None, "regression"):
        if task == "regression" or not _few_numbers(seen):
            made = _numbers(name, seen)
            if task is None and seen.column.integer and seen.distinct <= 20:
                text = (
                    f"{name!r} holds {seen.distinct} different whole numbers, which are taken for amounts (regression)."
                )
                advice = "If they are classes, pass task='multiclass' (--task multiclass)."
                made.findings.append(finding("task-assumed", "info", text, advice, [name], task="regression"))
            return made
    elif task == "regression":
        seen = examine(name, series, "number")
        readable = 1.0 - seen.bad / max(len(series) - seen.missing, 1)
        if seen.distinct == 0 or readable < 0.5:
            raise TargetError(
                f"task='regression' needs numbers, but the target {name!r} holds cells such as "
                f"{cells.text(seen.bad_examples[0]) if seen.bad_examples else ''!r}. Name another column, or use "
                "task='multiclass' if these are classes."
            )
        return _numbers(name, seen)
    elif seen.column.kind == "date" and task is None:
        raise TargetError(
            f"The target {name!r} holds dates, which cannot be predicted as they are. Make a number of it (days until "
            "then) or a class."
        )
    elif task is None and seen.column.kind in ("category", "text", "identifier"):
        labels = _delimited(name, cells.as_text(series), forced=False)
        if labels is not None:
            return labels
    return _classes(name, series, seen, task)


def _few_numbers(seen: Seen) -> bool:
    """Whether a target of numbers names classes: few whole numbers that count from 0 or 1, or at most five of them."""
    column, rows = seen.column, len(seen.values) - seen.missing
    if not column.integer or seen.distinct > 20 or seen.column.percent:
        return False
    if seen.distinct <= 2:
        return True
    low, high = column.low or 0.0, column.high or 0.0
    counts_up = low in (0.0, 1.0) and high - low + 1 <= seen.distinct + 1
    return (counts_up or seen.distinct <= 5) and seen.distinct <= max(rows / 5, 2)


def _numbers(name: str, seen: Seen) -> Target:
    if seen.distinct == 0:
        raise TargetError(f"The target {name!r} has no finite number. Name another column, or repair it.")
    if seen.distinct == 1:
        raise _constant(name, seen.column.low)
    findings = []
    y, present = seen.values, seen.values[~np.isnan(seen.values)]
    if seen.infinite:
        text = f"The target {name!r} is infinite in {many(seen.infinite, 'row')}, which count as missing."
        findings.append(finding("infinite-values", "warning", text, "Repair them at the source.", [name]))
    if seen.bad:
        text = f"The target {name!r} is no number in {many(seen.bad, 'row')}, such as {listed(seen.bad_examples, 3)}."
        findings.append(finding("mixed-types", "warning", text, "Repair them at the source.", [name], cells=seen.bad))
    if seen.repairs:
        findings.append(repaired([seen]))
    spread = float(present.std())
    if len(present) >= 50 and spread > 0:
        skewness = float((((present - present.mean()) / spread) ** 3).mean())
        if skewness > 2 and present.min() > -1:
            text = f"The target {name!r} is skewed ({skewness:.1f}): a few rows are far larger than the rest."
            advice = "A logarithm is tried; judge errors in per cent (mape) where that is what matters."
            findings.append(finding("skewed-target", "info", text, advice, [name], skewness=skewness))
        low, high = np.quantile(present, [0.25, 0.75])
        far = int(((present < low - 5 * (high - low)) | (present > high + 5 * (high - low))).sum()) if high > low else 0
        if far:
            text = f"The target lies more than five quartile ranges outside its middle half in {many(far, 'row')}."
            advice = "Check them; huber or metric='mae' give them less weight."
            findings.append(finding("target-outliers", "info", text, advice, [name], rows=far))
    column = replace(seen.column, kind="number", role="target")
    return Target([column], "regression", (), ~np.isnan(y), y, findings=findings)


def _constant(name: str, value: Any) -> TargetError:
    return TargetError(
        f"The target {name!r} is {value!r} in every row that has one, so there is nothing to predict. Name another "
        "column, or add rows where it differs (of another class, if these are classes)."
    )


def repaired(columns: list[Seen]) -> Finding:
    """One finding for all columns of numbers that were written as text."""
    total: Counter[str] = Counter()
    for seen in columns:
        total.update(seen.repairs)
    parts = ", ".join(f"{word} {count}" for word, count in total.most_common())
    names = [seen.column.name for seen in columns]
    return finding(
        "repaired-numbers",
        "info",
        f"Cells in {listed(names)} were read as numbers after repair: {parts}.",
        "Nothing to do; rows to predict are read the same way.",
        names,
        cells=sum(total.values()),
        repairs=dict(total),
        by_column={seen.column.name: dict(seen.repairs) for seen in columns},
    )


def _label(cell: Any) -> Any:
    """A class label as the user wrote it, in a type that JSON has."""
    if isinstance(cell, bool | np.bool_):
        return bool(cell)
    if isinstance(cell, int | np.integer):
        return int(cell)
    if isinstance(cell, float | np.floating):
        return int(cell) if float(cell).is_integer() else float(cell)
    return cell.strip() if isinstance(cell, str) else cells.text(cell)


def _classes(name: str, series: Any, seen: Seen, task: str | None) -> Target:
    raw, found = cells.distinct(series)
    counts = np.bincount(raw[raw >= 0], minlength=len(found))
    labels: dict[str, Any] = {}
    for i in np.argsort(-counts, kind="stable"):  # the most frequent spelling of a label wins
        word = cells.text(found[i])
        if word:
            labels.setdefault(word, _label(found[i]))
    if len(labels) > MOST_CLASSES or (len(labels) > 20 and len(labels) > 0.5 * (raw >= 0).sum()):
        many = f"The target {name!r} has {len(labels)} different values in {int((raw >= 0).sum())} rows"
        if seen.column.kind == "number":
            raise TargetError(f"{many}; they are numbers, not classes. Use task='regression', or name another column.")
        raise TargetError(f"{many}; that is a name or free text, not a class. Name another column.")
    findings = []
    place = {word: i for i, word in enumerate(labels)}
    table = np.array([*(place.get(cells.text(cell), -1) for cell in found), -1], dtype=np.int64)
    codes = table[raw]
    sizes = np.bincount(codes[codes >= 0], minlength=len(labels))
    words = list(labels)
    if len(labels) < 2:
        raise _constant(name, next(iter(labels.values()), None))
    alone = [word for word, size in zip(words, sizes) if size < 2]
    if alone:
        kept = [word for word in words if word not in set(alone)]
        if len(kept) < 2:
            raise TargetError(
                f"{len(alone)} of the {len(words)} classes of the target {name!r} have a single row (such as "
                f"{labels[alone[0]]!r}), and fewer than two others remain. Add rows, merge classes, or name another "
                "column."
            )
        text = f"A single row in {len(alone)} of the classes of {name!r} ({listed(map(str, alone))}); left out."
        advice = "Add rows of these classes, or merge them into others."
        findings.append(
            finding("single-member-classes", "warning", text, advice, [name], classes=alone, rows=len(alone))
        )
        words = kept
    ordered = _in_order(words, labels)
    rank = {word: i for i, word in enumerate(ordered)}
    final = np.array([*(rank.get(word, -1) for word in labels), -1], dtype=np.int64)[codes]
    classes = tuple(labels[word] for word in ordered)
    wanted = "binary" if len(classes) == 2 else "multiclass"
    if task == "binary" and wanted != "binary":
        raise TargetError(
            f"task='binary' needs two classes, but the target {name!r} has {len(classes)}: "
            f"{listed(map(str, classes), 6)}. Use task='multiclass'."
        )
    if task is None and seen.column.kind == "number" and len(classes) > 2:
        text = f"{name!r} holds {len(classes)} different whole numbers, so they are taken for classes (multiclass)."
        advice = "If they are amounts, pass task='regression' (--task regression)."
        findings.append(finding("task-assumed", "info", text, advice, [name], task=wanted))
    spellings: dict[str, list[str]] = {}
    for word in ordered:
        spellings.setdefault(" ".join(word.casefold().split()), []).append(word)
    alike = [group for group in spellings.values() if len(group) > 1]
    if alike:
        text = f"Classes of {name!r} differ only in how they are written: {listed(' / '.join(g) for g in alike)}."
        advice = "They are different classes to a model: write them one way if they mean the same."
        findings.append(finding("spelling-variants", "warning", text, advice, [name], classes=alike))
    findings += class_findings(name, classes, np.bincount(final[final >= 0], minlength=len(classes)))
    column = Column(
        name, "category", "target", tuple(ordered), missing=seen.column.missing, integer=seen.column.integer
    )
    return Target([column], task or wanted, classes, final >= 0, final, findings=findings)


def _in_order(words: list[str], labels: dict[str, Any]) -> list[str]:
    """Class labels in the order that scikit-learn would give them: sorted, numbers by size."""
    if all(isinstance(labels[word], int | float) for word in words):
        return sorted(words, key=lambda word: labels[word])
    return sorted(words)


def class_findings(name: str, classes: tuple[Any, ...], sizes: np.ndarray) -> list[Finding]:
    """Rare classes and imbalance."""
    found, total = [], int(sizes.sum())
    rare = [str(label) for label, size in zip(classes, sizes) if size < 10]
    by_class = {str(label): int(size) for label, size in zip(classes, sizes)}
    if rare:
        text = f"Fewer than 10 rows in {len(rare)} of {len(classes)} classes of {name!r}: {listed(rare)}."
        advice = "Add rows of these classes, or merge them."
        found.append(finding("rare-classes", "warning", text, advice, [name], classes=rare, rows=by_class))
    share = float(sizes.min()) / max(total, 1)
    if share < 0.1 / max(len(classes) - 1, 1) or float(sizes.max()) / total > 0.9:
        label, most = classes[int(sizes.argmin())], float(sizes.max()) / total
        text = f"Class {label!r} makes up {share:.2%} of the rows; always guessing the largest is right in {most:.1%}."
        advice = "Judge by roc_auc, average_precision or balanced_accuracy, and choose the threshold by cost."
        found.append(finding("imbalance", "warning", text, advice, [name], rows=by_class))
    return found


# --- several labels per row ------------------------------------------------------------------------------------------


def _delimited(name: str, words: np.ndarray, forced: bool) -> Target | None:
    """Multilabel from one column whose cells list labels, such as "drama|comedy"; None where it is not that."""
    filled = [word for word in words if word]
    if not filled:
        raise TargetError(f"The target {name!r} has no value in any row. Name another column, or fill it in.")
    for separator in SEPARATORS:
        share = sum(separator in word for word in filled) / len(filled)
        if share < (0.0001 if forced else 0.1):
            continue
        sets = {word: sorted({part.strip() for part in word.split(separator)} - {""}) for word in set(filled)}
        sizes = Counter(label for word in filled for label in sets[word])
        short = all(len(label) <= 40 and len(label.split()) <= 3 for label in sizes)
        repeated = np.median(list(sizes.values())) >= 5 and len(sizes) < len(sets)
        if forced or (short and repeated and 2 <= len(sizes) <= 100):
            break
    else:
        if forced:
            raise TargetError(
                f"task='multilabel' needs several target columns, or one whose cells list labels separated by "
                f"{', '.join(SEPARATORS)}; {name!r} has cells such as {filled[0][:40]!r}. Pass target=[...]."
            )
        return None
    labels = sorted(label for label, size in sizes.items() if size > 1)
    if len(labels) < 2:
        raise TargetError(f"The target {name!r} has fewer than two labels that occur twice. Add rows, or use another.")
    findings = []
    if not forced:
        text = f"The cells of {name!r} list labels separated by {separator!r}, so each of {len(labels)} is predicted."
        advice = "If whole cells are the classes, pass task='multiclass'."
        findings.append(finding("task-assumed", "info", text, advice, [name], task="multilabel", separator=separator))
    alone = [label for label, size in sizes.items() if size == 1]
    if alone:
        text = f"{len(alone)} labels of {name!r} occur once ({listed(alone)}); they are not learned."
        findings.append(finding("rare-classes", "warning", text, "Add rows, or merge labels.", [name], classes=alone))
    place = {label: i for i, label in enumerate(labels)}
    y = np.zeros((len(words), len(labels)))
    for i, word in enumerate(words):
        for label in sets.get(word, ()):
            if label in place:
                y[i, place[label]] = 1.0
    keep = words != ""
    y[~keep] = np.nan
    column = Column(name, "text", "target", tuple(labels), missing=float((~keep).mean()))
    note = {"multilabel": {"column": name, "separator": separator}}
    return Target([column], "multilabel", tuple(labels), keep, y, note, findings)


def _several(frame: Any, names: list[str], task: str | None) -> Target:
    seen = [examine(name, frame[name]) for name in names]
    for one in seen:
        if one.distinct == 0:
            raise _empty(one.column.name, frame)
        if one.distinct == 1:
            raise _constant(one.column.name, one.column.levels[0] if one.column.levels else one.column.low)
    switches = all(
        one.column.kind == "boolean" or (one.column.kind == "number" and one.distinct == 2 and one.column.high == 1.0)
        for one in seen
    )
    numbers = all(one.column.kind in ("number", "boolean") for one in seen)
    if task in (None, "multilabel") and switches:
        columns = []
        for one in seen:
            words = one.column.levels if one.column.kind == "boolean" else ("0", "1")
            columns.append(replace(one.column, kind="boolean", role="target", levels=words))
        y = np.column_stack([one.values for one in seen])  # (n, k)
        return Target(columns, "multilabel", tuple(names), ~np.isnan(y).any(axis=1), y)
    if task in (None, "regression") and numbers:
        columns = [replace(one.column, kind="number", role="target") for one in seen]
        y = np.column_stack([one.values for one in seen])  # (n, t)
        return Target(columns, "regression", (), ~np.isnan(y).any(axis=1), y)
    odd = next(one for one in seen if one.column.kind not in ("number", "boolean")) if not numbers else seen[0]
    raise TargetError(
        f"Several targets must all be numbers (regression) or all two-valued (multilabel); {odd.column.name!r} is a "
        f"{odd.column.kind} with {odd.distinct} values{f' and task={task!r}' if task else ''}. Fit one model for each."
    )
