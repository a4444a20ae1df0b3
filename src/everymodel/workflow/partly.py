"""Partly labelled targets: which rows without a label are learnt from too, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core import seeds
from everymodel.core.finding import Finding
from everymodel.scoring import cells
from everymodel.workflow.types import Understanding

if TYPE_CHECKING:
    import pandas as pd

LEAST, SHARE = 30, 0.2  # fewest rows without a label, and their least share, that make a run a semi-supervised one
MOST = 20_000  # rows without a label that are learnt from


def loose_rows(
    first: Understanding, frame: pd.DataFrame, targets: list[str], seed: int
) -> tuple[pd.DataFrame | None, int]:
    """(rows without a label to learn from too or None, how many there are before a sample is drawn).

    Only the cells of the target that are empty count, and only where it names classes: a number that is missing is
    not a choice among a few.
    """
    if len(targets) != 1 or first.schema.task not in ("binary", "multiclass"):
        return None, 0
    empty = np.flatnonzero(~first.keep & (cells.as_text(frame[targets[0]]) == ""))
    if len(empty) < LEAST or len(empty) < SHARE * len(frame):
        return None, 0
    chosen = empty
    if len(empty) > MOST:
        rng = np.random.default_rng(seeds.derive(seed, "unlabelled"))
        chosen = np.sort(rng.choice(empty, MOST, replace=False))
    return frame.iloc[chosen], len(empty)


def said(findings: list[Finding], target: str, labelled: int, count: int, used: int) -> list[Finding]:
    """The findings, with what is done about rows without a label in the place of what used to be."""
    kept = [f for f in findings if f.code != "target-missing"]
    text = (
        f"{count:,} of {labelled + count:,} rows have no label in {target!r}. Models that learn from such rows too are "
        "tried beside the usual ones, and used only where they are better; rows without a label are never scored."
    )
    if used < count:
        text += f" {used:,} of them, drawn at random, are learnt from."
    figures: dict[str, Any] = {"rows": count, "labelled": labelled, "used": used}
    advice = (
        "They should be rows like the others: if labels are missing for a reason, say by group=, or leave them out."
    )
    return [Finding("target-missing", "info", text, advice, (target,), figures), *kept]


def sentence(gain: dict[str, Any] | None) -> str:
    """What the rows without a label were good for, in one sentence for the headline."""
    if not gain:
        return ""
    return str(gain["verdict"])


def verdict(gain: dict[str, Any] | None, target: str) -> list[Finding]:
    """A finding where the rows without a label did not help."""
    if not gain or gain["chosen"]:
        return []
    return [
        Finding(
            "no-gain-from-unlabelled",
            "info",
            str(gain["verdict"]),
            "More labels help more than more rows without one.",
            (target,),
            {k: v for k, v in gain.items() if isinstance(v, int | float | bool) or v is None},
        )
    ]
