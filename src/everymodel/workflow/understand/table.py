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
from everymodel.workflow.types import Understanding
from everymodel.workflow.understand import leaks
from everymodel.workflow.understand.codes import finding, listed
from everymodel.workflow.understand.kinds import Seen, examine_all
from everymodel.workflow.understand.notes import column_findings, row_findings
from everymodel.workflow.understand.target import did_you_mean, read_target


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
    seen = examine_all(frame, [name for name in names if roles.get(name) != "target"], kinds or {})
    findings = list(goal.findings) if goal else []
    for one in seen:
        role, reason = roles.get(one.column.name, "feature"), ""
        if role == "ignored":
            reason = "left out on request"
        one.column = _settle(one, len(frame))
        if role != "feature":
            one.column = replace(one.column, role=role, reason=reason)
        if role == "feature" and one.column.kind in ("constant", "identifier"):
            why = "every cell is missing" if one.distinct == 0 else "one value throughout"
            if one.column.kind == "identifier":
                why = "names rows instead of describing them"
            one.column = replace(one.column, role="ignored", reason=why)
    findings += column_findings(seen, len(frame))
    suspects: tuple[str, ...] = ()
    if goal is not None:
        _keep_something(seen)
        suspects, found = leaks.guard(seen, goal, frame, time=time, seed=seed)
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
        for i, found in enumerate(findings):  # their advice says that they are left out
            if found.code.startswith("leak-") and set(found.columns) & set(kept):
                findings[i] = replace(found, advice="Is it known before the outcome is?")
    reasons = {name: f.message for f in findings if f.code.startswith("leak-") for name in f.columns}
    for one in seen:
        if one.column.name in suspects and one.column.name not in kept:
            reason = reasons.get(one.column.name, "gives the target away")
            one.column = replace(one.column, role="ignored", reason=f"suspected leak: {reason}")
    return said
