"""What is worth saying about columns and rows, one finding for each code where many columns share it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from everymodel.core.finding import Finding
from everymodel.core.schema import Schema
from everymodel.scoring import cells
from everymodel.workflow.understand.codes import finding, listed, many
from everymodel.workflow.understand.kinds import Seen, by_gaps
from everymodel.workflow.understand.target import Target, repaired

SAMPLE = 100_000  # rows on which shares of outliers are counted


def column_findings(seen: list[Seen], n: int) -> list[Finding]:
    """Findings about columns by themselves; `n` rows."""
    used = [one for one in seen if one.column.role != "ignored"]
    return [*_empty_or_constant(seen, used, n), *_special(seen, used, n), *_repairs(used), *_outliers(used, n)]


def _names(chosen: list[Seen]) -> list[str]:
    return [one.column.name for one in chosen]


def _empty_or_constant(seen: list[Seen], used: list[Seen], n: int) -> list[Finding]:
    found = []
    gaps = sorted((one for one in used if one.missing), key=lambda one: -one.missing)
    if gaps:
        names, shares = _names(gaps), {one.column.name: round(one.missing / n, 4) for one in gaps}
        worst = gaps[0].missing / n
        text = f"Cells are missing in {many(len(gaps), 'column')}, most in {names[0]!r} ({worst:.1%})."
        advice = "Columns that are mostly empty seldom help; find out why cells are missing." if worst > 0.5 else ""
        found.append(
            finding("missing-values", "warning" if worst > 0.5 else "info", text, advice, names, shares=shares)
        )
    empty = _names([one for one in seen if one.distinct == 0])
    if empty:
        text = f"Every cell of {listed(empty)} is missing; left out."
        found.append(finding("empty-columns", "warning", text, "Find out why nothing is there.", empty))
    constant = _names([one for one in seen if one.column.kind == "constant" and one.distinct])
    if constant:
        text = f"Every row has the same value in {listed(constant)}; left out."
        found.append(finding("constant-columns", "info", text, "", constant))
    near = _names([one for one in used if one.top_share > 0.99 and one.column.kind != "constant" and n >= 100])
    if near:
        text = f"More than 99 % of the rows have the same value in {listed(near)}."
        found.append(finding("near-constant-columns", "info", text, "", near))
    return found


def _special(seen: list[Seen], used: list[Seen], n: int) -> list[Finding]:
    found = []
    ids = [one for one in seen if one.column.kind == "identifier"]
    if ids:
        repeated = [one.column.name for one in ids if one.distinct < 0.95 * (n - one.missing)]
        text = f"{listed(_names(ids))}: names for rows rather than properties of them; left out."
        advice = ""
        if repeated:
            advice = f"Rows with the same {repeated[0]!r} may belong together: then pass group={repeated[0]!r}."
        found.append(finding("identifiers", "info", text, advice, _names(ids)))
    wide = [one for one in used if one.column.kind == "category" and one.distinct > max(50, 0.05 * n)]
    if wide:
        levels = {one.column.name: one.distinct for one in wide}
        text = f"Very many levels in {listed(levels)}, most in {max(levels, key=levels.__getitem__)!r} "
        text += f"({max(levels.values())})."
        found.append(finding("high-cardinality", "info", text, "Group levels if you can.", levels, levels=levels))
    prose = _names([one for one in used if one.column.kind == "text"])
    if prose:
        text = f"Free text in {listed(prose)}; it is read as words."
        advice = f"If whole cells are meant, pass kinds={{{prose[0]!r}: 'category'}}."
        found.append(finding("free-text", "info", text, advice, prose))
    return found


def cell_findings(notes: list[dict[str, Any]], rows: int) -> list[Finding]:
    """What reading images and sequences could not make out of the training rows."""
    found = []
    for name in dict.fromkeys(n["field"] for n in notes if n["action"] == "treated as missing"):
        own = [n for n in notes if n["field"] == name and n["action"] == "treated as missing" and n["row"] is not None]
        shown = next((str(n["came"])[:120] for n in own if n["came"] is not None), "an empty cell")
        text = f"{many(sum(n['count'] for n in own), 'cell')} of {rows} in {name!r} cannot be read, such as {shown}."
        advice = "These rows are learnt from as if they were blank: remove or repair them."
        found.append(finding("cells-unreadable", "warning", text, advice, [name]))
    return found


def _repairs(used: list[Seen]) -> list[Finding]:
    found = []
    endless = {one.column.name: one.infinite for one in used if one.infinite}
    if endless:
        text = f"{many(sum(endless.values()), 'infinite number')} in {listed(endless)}; treated as missing."
        advice = "Repair them at the source (a division by zero?)."
        found.append(finding("infinite-values", "warning", text, advice, endless, cells=endless))
    mended = [one for one in used if one.repairs]
    if mended:
        found.append(repaired(mended))
    nulls = [one for one in used if one.null_words]
    if nulls:
        words: Counter[str] = Counter()
        for one in nulls:
            words.update(one.null_words)
        shown = ", ".join(f"{word!r} {count}" for word, count in words.most_common(4))
        text = f"Words for nothing in {listed(_names(nulls))} were read as missing: {shown}."
        advice = "Rename the word if it means something (such as 'no garage')."
        by_column = {one.column.name: dict(one.null_words) for one in nulls}
        data = {"words": dict(words), "by_column": by_column}
        found.append(finding("null-words", "info", text, advice, _names(nulls), **data))
    for one in used:
        name, kind = one.column.name, one.column.kind
        if one.bad:
            text = f"In {name!r}, {many(one.bad, 'cell')} cannot be read as a {kind}, such as "
            text += f"{listed(one.bad_examples, 3)}; treated as missing."
            advice = f"Repair them, or pass kinds={{{name!r}: 'category'}}."
            found.append(finding("mixed-types", "warning", text, advice, [name], cells=one.bad))
        if one.mixed and kind == "image":
            text = f"{name!r} holds {one.mixed}."
            found.append(finding("images-resized", "info", text, "Crop them first if shapes must not change.", [name]))
        elif one.mixed:
            text = f"{name!r} mixes types: {one.mixed}. It is read as {kind}."
            found.append(finding("mixed-types", "warning", text, "Split it into two columns, or repair it.", [name]))
        if one.dates:
            text = f"Dates in {name!r}: {one.dates}."
            advice = "Write dates as 2024-12-31 to be sure."
            data = {"format": one.column.date_format}
            found.append(finding("date-formats", "warning", text, advice, [name], **data))
    return found


def _outliers(used: list[Seen], n: int) -> list[Finding]:
    numbers = [one for one in used if one.column.kind == "number" and one.distinct > 10]
    step = max(1, n // SAMPLE)
    most = max(1, cells.BLOCK // max(n // step, 1))
    far = {}
    for start in range(0, len(numbers), most):
        some = numbers[start : start + most]
        shares = _outlier_shares(np.stack([one.values[::step] for one in some]))
        far.update({one.column.name: round(share, 5) for one, share in zip(some, shares.tolist()) if share > 0.001})
    if not far:
        return []
    text = f"Numbers far outside the rest (three quartile ranges from the middle half) in {listed(far)}."
    advice = "Check that they are real; huber and trees bear them."
    data = {"shares": far, "sampled": n > SAMPLE, "sample_rows": min(n, SAMPLE)}
    return [finding("outliers", "info", text, advice, far, **data)]


def _outlier_shares(block: np.ndarray) -> np.ndarray:
    """(k,) share of the numbers in each row of `block` (k, n) more than three quartile ranges outside the middle."""
    out = np.zeros(len(block))
    for places, present in by_gaps(block):
        if present.shape[1] < 20:
            continue
        low, high = np.quantile(present, [0.25, 0.75], axis=1)
        reach = 3.0 * (high - low)
        beyond = (present < (low - reach)[:, None]) | (present > (high + reach)[:, None])
        out[places] = np.where(reach > 0, beyond.mean(axis=1), 0.0)
    return out


# --- rows ------------------------------------------------------------------------------------------------------------


def row_hashes(columns: list[np.ndarray]) -> np.ndarray:
    """(n,) uint64: equal for equal rows; unequal rows collide with a chance of about n^2 / 2^65."""
    state = np.zeros(len(columns[0]), dtype=np.uint64)
    for i, values in enumerate(columns):
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.nan, values) + 0.0  # one NaN, one zero
        bits = np.ascontiguousarray(values).view(np.uint64).copy()
        bits += np.uint64((0x9E3779B97F4A7C15 * (i + 1)) & 0xFFFFFFFFFFFFFFFF)  # splitmix64
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = (state ^ bits ^ (bits >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
        state ^= state >> np.uint64(29)
    return state


def row_findings(seen: list[Seen], goal: Target | None, n: int) -> list[Finding]:
    """Findings about rows: too few, repeated, contradicting one another."""
    found = []
    rows = int(goal.keep.sum()) if goal else n
    features = [one for one in seen if one.column.kind not in ("identifier", "constant")]
    if rows < 100:
        text = f"Only {many(rows, 'row')}: every figure has a wide interval."
        found.append(finding("few-rows", "warning", text, "Prefer simple models, and collect more rows.", rows=rows))
    p = sum(one.column.role == "feature" for one in seen)
    if p > rows:
        text = f"{many(p, 'column')}, but {many(rows, 'row')}."
        advice = "Regularised linear models (ridge, lasso) suit; beware of columns that fit by chance."
        found.append(finding("more-columns-than-rows", "warning", text, advice, rows=rows, columns_count=p))
    if not features:
        return found
    inputs = row_hashes([one.values for one in features])
    whole = inputs
    if goal is not None:
        y = goal.y if goal.y.ndim == 1 else row_hashes(list(goal.y.T))
        whole = row_hashes([inputs, y])[goal.keep]
        inputs = inputs[goal.keep]
    copies = len(whole) - len(np.unique(whole))
    if copies:
        share = copies / len(whole)
        text = f"{many(copies, 'row')} ({share:.1%}) equal to another in every column."
        advice = "Drop them if they are copies; if the same thing was measured again, pass group= so that train and "
        advice += "test do not share it."
        found.append(finding("duplicate-rows", "warning" if share > 0.05 else "info", text, advice, rows=copies))
    if goal is not None and goal.task in ("binary", "multiclass"):
        k = _conflicts(inputs, goal.y[goal.keep])
        if k:
            text = f"{many(k, 'row')} equal to another in every feature, but not in the target."
            found.append(finding("conflicting-rows", "info", text, "No model can be right on all of them.", rows=k))
    return found


def _conflicts(inputs: np.ndarray, y: np.ndarray) -> int:
    """Rows whose features occur with another class as well."""
    _, place = np.unique(inputs, return_inverse=True)
    place = place.reshape(-1)
    first = np.full(place.max() + 1, -1, dtype=np.int64)
    first[place[::-1]] = y[::-1]
    clashing = np.zeros(len(first), dtype=bool)
    clashing[place[first[place] != y]] = True
    return int(clashing[place].sum())


def shared_rows(frame: Any, schema: Schema, train: np.ndarray, test: np.ndarray) -> Finding | None:
    """A finding where rows of the test part occur, equal in every feature and the target, in the training part.

    Parameters
    ----------
    train, test : row numbers of `frame`.
    """
    columns = [c for c in schema.columns if c.role in ("feature", "target")]
    if not columns or not len(test):
        return None
    codes = []
    for column in columns:
        series = frame[column.name]
        kind = getattr(series.dtype, "kind", "O")
        codes.append(cells.to_numbers(series)[0] if kind in "iufb" else cells.distinct(series)[0])
    marks = row_hashes(codes)
    shared = int(np.isin(marks[test], marks[train]).sum())
    if not shared:
        return None
    share = shared / len(test)
    return finding(
        "shared-rows",
        "warning" if share > 0.05 else "info",
        f"{shared} of {many(len(test), 'test row')} ({share:.1%}) occur in the training part too; the score flatters.",
        "Drop the copies, or pass group= to keep them together.",
        rows=shared,
    )
