"""The stage as a whole: every column, the target, the guard, and what is worth saying about the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.finding import SEVERITIES, Finding
from everymodel.core.schema import Column, Schema
from everymodel.scoring import cells
from everymodel.workflow.types import Understanding
from everymodel.workflow.understand import leaks
from everymodel.workflow.understand.codes import REMEDY_KEEP, finding, listed
from everymodel.workflow.understand.kinds import Seen, examine
from everymodel.workflow.understand.target import Target, did_you_mean, read_target, repaired

SAMPLE = 100_000  # rows on which shares of outliers are counted


def understand(
    frame: Any,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    *,
    group: str | None = None,
    time: str | None = None,
    split: str | None = None,
    ignore: Sequence[str] = (),
    kinds: dict[str, str] | None = None,
    keep_suspects: bool | Sequence[str] = False,
    unseen: str = "warn",
    need_features: bool = True,
    seed: int = 0,
) -> Understanding:
    """Find out what each column is, what the task is, and what is wrong with the data.

    Parameters
    ----------
    frame : pandas.DataFrame with distinct text names (as `read` gives it).
    target : column to predict, or several; None only describes the table.
    task : "regression" "binary" "multiclass" "multilabel"; None infers it from the target.
    group, time, split : columns that say how rows belong together; they are not features.
    ignore : columns to leave out.
    kinds : column name -> kind, where the user knows better.
    keep_suspects : keep columns that give the target away as features, all of them or those named; the findings name
        them all the same.
    unseen : what to do with categories that were never seen: "warn" "error" "ignore".
    need_features : whether a table without a usable feature is an error; splitting needs the target alone.

    Returns
    -------
    Understanding
        whose `stats` hold figures of each column, and whose `suspects` name what the leak guard found.

    Raises
    ------
    DataError
        where there is no row or no usable column; TargetError where the target is missing, constant, empty, ...
    """
    if len(frame.columns) == 0 or len(frame) == 0:
        raise DataError(
            f"The table has {len(frame)} rows and {len(frame.columns)} columns, so there is nothing to learn from. "
            "Give a table with rows."
        )
    if unseen not in ("warn", "error", "ignore"):
        raise ParameterError(f"unseen={unseen!r} is not a policy: expected warn, error or ignore.")
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise DataError(
            f"Columns {listed(twice)} occur twice. Read the table with everymodel.read, which renames them."
        )
    targets = [str(target)] if isinstance(target, str | int) else [str(name) for name in target or ()]
    roles = _roles(names, targets, group=group, time=time, split=split, ignore=ignore, kinds=kinds or {})
    goal = read_target(frame, targets, task) if targets else None
    seen = [examine(name, frame[name], (kinds or {}).get(name)) for name in names if roles.get(name) != "target"]
    findings = list(goal.findings) if goal else []
    for one in seen:
        role, reason = roles.get(one.column.name, "feature"), ""
        if role == "ignored":
            reason = "left out on request"
        one.column = replace(_settle(one, len(frame)), role=role, reason=reason)
        if role == "feature" and one.column.kind in ("constant", "identifier"):
            why = "every cell is missing" if one.distinct == 0 else "one value throughout"
            if one.column.kind == "identifier":
                why = "names rows instead of describing them"
            one.column = replace(one.column, role="ignored", reason=why)
    findings += column_findings(seen, len(frame))
    suspects: tuple[str, ...] = ()
    if goal is not None:
        _keep_something(seen)
        suspects, found = leaks.guard(seen, goal, time=time, seed=seed)
        findings += found
        findings += _leave_out(seen, suspects, findings, keep_suspects)
    findings += row_findings(seen, goal, len(frame))
    by_name = {one.column.name: one.column for one in seen}
    if goal is not None:
        by_name.update({column.name: column for column in goal.columns})
    if need_features and goal is not None and not any(column.role == "feature" for column in by_name.values()):
        out = "; ".join(f"{c.name!r}: {c.reason or c.role}" for c in by_name.values() if c.role != "target")
        raise DataError(
            f"No column is left to predict {listed(targets)} from{f' ({out})' if out else ''}. Add columns, or name "
            "another target."
        )
    schema = Schema(
        tuple(by_name[name] for name in names),
        goal.task if goal else None,
        goal.classes if goal else (),
        unseen,
        note=goal.note if goal else {},
    )
    keep = goal.keep if goal else np.ones(len(frame), dtype=bool)
    findings.sort(key=lambda f: -SEVERITIES.index(f.severity))
    stats = {one.column.name: {"distinct": one.distinct, "missing": one.missing, **one.stats} for one in seen}
    return Understanding(schema, findings, int(keep.sum()), keep, suspects, stats)


def _roles(names: list[str], targets: list[str], **given: Any) -> dict[str, str]:
    """Column name -> role, checked."""
    roles = dict.fromkeys(map(str, given["ignore"]), "ignored")
    for role in ("group", "time", "split"):
        if given[role] is not None:
            roles[str(given[role])] = role
    for name in [*roles, *given["kinds"]]:
        if name not in names:
            what = roles.get(name, "kinds")
            raise ParameterError(f"{what}={name!r}: there is no such column. {did_you_mean(name, names)}")
    for name in targets:
        if name in roles:
            raise ParameterError(f"{name!r} cannot be both the target and the {roles[name]} column. Name another.")
    return roles | dict.fromkeys(targets, "target")


def _settle(one: Seen, n: int) -> Column:
    """The kind, once it is known how many values there are."""
    column = one.column
    if column.kind in ("identifier", "constant"):
        return column
    if one.distinct == 0 or (one.distinct == 1 and one.missing + one.bad + one.infinite == 0):
        return replace(column, kind="constant")
    return column


def _keep_something(seen: list[Seen]) -> None:
    """Where identifiers are all there is (a first example with x = 1, 2, 3, ...), they are features after all."""
    if any(one.column.role == "feature" for one in seen):
        return
    for one in seen:
        if one.column.kind == "identifier" and one.column.role == "ignored" and one.column.reason.startswith("names"):
            again = "number" if one.numbers is not None else "text"
            if one.numbers is not None:
                one.values, one.column = one.numbers
            one.column = replace(one.column, kind=again, role="feature", reason="")


def _leave_out(
    seen: list[Seen], suspects: tuple[str, ...], findings: list[Finding], keep_suspects: bool | Sequence[str]
) -> list[Finding]:
    """Ignore the suspects, unless they are to be kept or nothing else would be left."""
    if not suspects:
        return []
    others = [one for one in seen if one.column.role == "feature" and one.column.name not in suspects]
    wanted = suspects if isinstance(keep_suspects, bool) else [str(name) for name in keep_suspects]
    kept = [name for name in suspects if not others or (keep_suspects and name in wanted)]
    said = []
    if kept:
        why = "on request" if keep_suspects else "because no other column is left"
        text = f"Suspect columns were kept {why}: {listed(kept)}. The score is suspect."
        advice = "Do not trust the score unless these columns are known before the outcome is."
        said = [finding("leak-kept", "error", text, advice, kept)]
    reasons = {name: f.message for f in findings if f.code.startswith("leak-") for name in f.columns}
    for one in seen:
        if one.column.name in suspects and one.column.name not in kept:
            reason = reasons.get(one.column.name, "gives the target away")
            one.column = replace(one.column, role="ignored", reason=f"suspected leak: {reason}")
    return said


# --- what is worth saying --------------------------------------------------------------------------------------------


def column_findings(seen: list[Seen], n: int) -> list[Finding]:
    """Findings about columns by themselves, one for each code."""
    found: list[Finding] = []

    def add(code: str, severity: str, chosen: list[Seen], message: str, advice: str = "", **data: Any) -> None:
        if chosen:
            names = [one.column.name for one in chosen]
            found.append(
                finding(code, severity, message.format(columns=listed(names), k=len(names)), advice, names, **data)
            )

    used = [one for one in seen if one.column.role != "ignored"]
    gaps = sorted((one for one in used if one.missing), key=lambda one: -one.missing)
    shares = {one.column.name: round(one.missing / n, 4) for one in gaps}
    most = f" (most: {gaps[0].column.name!r}, {gaps[0].missing / n:.1%})" if gaps else ""
    worst = gaps and gaps[0].missing / n > 0.5
    advice = "Columns that are mostly empty seldom help; find out why cells are missing." if worst else ""
    text = "{k} columns have missing cells" + _safe(most) + "."
    add("missing-values", "warning" if worst else "info", gaps, text, advice, shares=shares)
    add("empty-columns", "warning", [one for one in seen if one.distinct == 0], "Every cell of {columns} is missing.",
        "Drop the columns, or find out why they are empty.")  # fmt: skip
    constant = [one for one in seen if one.column.kind == "constant" and one.distinct]
    add("constant-columns", "info", constant, "{columns} have the same value in every row; left out.")
    near = [one for one in used if one.top_share > 0.99 and one.column.kind != "constant" and n >= 100]
    add("near-constant-columns", "info", near, "{columns} are the same in more than 99 % of the rows.")
    ids = [one for one in seen if one.column.kind == "identifier"]
    repeated = [one.column.name for one in ids if one.distinct < 0.95 * (n - one.missing)]
    advice = (
        f"Rows with the same {repeated[0]!r} may belong together: then pass group={repeated[0]!r}." if repeated else ""
    )
    add("identifiers", "info", ids, "{columns} name rows rather than describe them; left out.", advice)
    wide = [one for one in used if one.column.kind == "category" and one.distinct > max(50, 0.05 * n)]
    add("high-cardinality", "info", wide, "{columns} have very many levels.",
        "Group the levels if you can.", levels={one.column.name: one.distinct for one in wide})  # fmt: skip
    prose = [one for one in used if one.column.kind == "text"]
    add("free-text", "info", prose, "{columns} hold free text; it is read as words.",
        "Pass kinds={{name: 'category'}} if whole cells are meant.".replace("{{", "{").replace("}}", "}"))  # fmt: skip
    endless = [one for one in used if one.infinite]
    add("infinite-values", "warning", endless, "{columns} hold infinite numbers; they are treated as missing.",
        "Repair them at the source (a division by zero?).",
        cells={one.column.name: one.infinite for one in endless})  # fmt: skip
    mended = [one for one in used if one.repairs]
    if mended:
        found.append(repaired(mended))
    words: Counter[str] = Counter()
    nulls = [one for one in used if one.null_words]
    for one in nulls:
        words.update(one.null_words)
    shown = ", ".join(f"{word!r} {count}" for word, count in words.most_common(4))
    add("null-words", "info", nulls, "Words for nothing in {columns} were read as missing: " + _safe(shown) + ".",
        "Rename the level if it means something (such as 'no garage').",
        words=dict(words), by_column={one.column.name: dict(one.null_words) for one in nulls})  # fmt: skip
    misfits = [one for one in used if one.bad]
    for one in misfits:
        add("mixed-types", "warning", [one], f"{one.bad} cells of {{columns}} are not of the kind {one.column.kind} "
            f"({_safe(listed(one.bad_examples, 3))}); they are treated as missing.",
            f"Repair them, or pass kinds={{{one.column.name!r}: 'category'}}.", cells=one.bad)  # fmt: skip
    for one in used:
        if one.mixed:
            text = f"{{columns}} mixes types: {one.mixed}. It is read as {one.column.kind}."
            add("mixed-types", "warning", [one], text, "Split it into two columns, or repair it.")
        if one.dates:
            text = f"Dates in {{columns}}: {_safe(one.dates)}."
            add(
                "date-formats",
                "warning",
                [one],
                text,
                "Write dates as 2024-12-31 to be sure.",
                format=one.column.date_format,
            )
    far = {}
    for one in used:
        if one.column.kind == "number" and one.distinct > 10:
            share = _outlier_share(one.values)
            if share > 0.0:
                far[one.column.name] = share
    heavy = [one for one in used if far.get(one.column.name, 0.0) > 0.001]
    add("outliers", "info", heavy, "{columns} have values more than three quartile ranges outside their middle half.",
        "Check that they are real; huber and trees bear them.",
        shares=far, sampled=n > SAMPLE, sample_rows=min(n, SAMPLE))  # fmt: skip
    return found


def _safe(text: str) -> str:
    """Text that may pass through str.format."""
    return text.replace("{", "{{").replace("}", "}}")


def _outlier_share(values: np.ndarray) -> float:
    """Share of numbers more than three quartile ranges outside the middle half, on at most SAMPLE rows."""
    step = max(1, len(values) // SAMPLE)
    present = values[::step]
    present = present[~np.isnan(present)]
    if len(present) < 20:
        return 0.0
    low, high = np.quantile(present, [0.25, 0.75])
    reach = 3.0 * (high - low)
    if reach <= 0:
        return 0.0
    return float(((present < low - reach) | (present > high + reach)).mean())


def row_hashes(columns: list[np.ndarray]) -> np.ndarray:
    """(n,) uint64: equal for equal rows; unequal rows collide with a chance of about n^2 / 2^65."""
    state = np.zeros(len(columns[0]), dtype=np.uint64)
    for i, values in enumerate(columns):
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), np.nan, values) + 0.0  # one NaN, one zero
        bits = np.ascontiguousarray(values, dtype=values.dtype).view(np.uint64).copy()
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
        text = f"Only {rows} rows: every figure has a wide interval."
        found.append(finding("few-rows", "warning", text, "Prefer simple models, and collect more rows.", rows=rows))
    p = sum(one.column.role == "feature" for one in seen)
    if p > rows:
        text = f"{p} columns but {rows} rows."
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
        text = f"{copies} rows ({share:.1%}) repeat another row in every column."
        advice = "Drop them if they are copies; if the same thing was measured again, pass group= so that train and "
        advice += "test do not share it."
        found.append(finding("duplicate-rows", "warning" if share > 0.05 else "info", text, advice, rows=copies))
    if goal is not None and goal.task in ("binary", "multiclass"):
        _, place = np.unique(inputs, return_inverse=True)
        y = goal.y[goal.keep]
        first = np.full(place.max() + 1, -1, dtype=np.int64)
        first[place[::-1]] = y[::-1]
        clashing = np.zeros(len(first), dtype=bool)
        clashing[place[first[place] != y]] = True
        k = int(clashing[place].sum())
        if k:
            text = f"{k} rows are equal in every feature but have different targets."
            found.append(finding("conflicting-rows", "info", text, "No model can be right on all of them.", rows=k))
    return found


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
        f"{shared} of {len(test)} test rows ({share:.1%}) occur in the training part as well; the score flatters.",
        "Drop the copies, or pass group= to keep them together.",
        rows=shared,
    )


__all__ = ["REMEDY_KEEP", "row_hashes", "shared_rows", "understand"]
