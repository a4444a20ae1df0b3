"""Thin: kinds by dtype, task by target."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import TargetError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import cells
from everymodel.workflow.types import Understanding


def understand(
    frame: Any,
    target: str | list[str] | None = None,
    task: str | None = None,
    *,
    group: str | None = None,
    time: str | None = None,
    split: str | None = None,
    segments: list[str] | None = None,
    kinds: dict[str, str] | None = None,
    keep_suspects: bool = False,
    unseen: str = "warn",
    seed: int = 0,
) -> Understanding:
    """Find out what each column is."""
    targets = [target] if isinstance(target, str) else list(target or [])
    for name in targets:
        if name not in frame.columns:
            raise TargetError(f"There is no column {name!r}.")
    keep = np.ones(len(frame), dtype=bool)
    columns = []
    classes: tuple[Any, ...] = ()
    roles = {group: "group", time: "time", split: "split", **{t: "target" for t in targets}}
    for name in frame.columns:
        series = frame[name]
        role = roles.get(name, "feature")
        missing = float(series.isna().mean())
        if series.dtype.kind in "iufb":
            values, _ = cells.to_numbers(series)
            found = values[~np.isnan(values)]
            column = Column(
                name,
                "number",
                role,
                low=float(found.min()) if len(found) else None,
                high=float(found.max()) if len(found) else None,
                integer=bool((found == np.floor(found)).all()),
                missing=missing,
            )
            few = len(np.unique(found)) <= 20
        else:
            words = cells.as_text(series)
            levels, counts = np.unique(words[words != ""], return_counts=True)
            order = np.argsort(-counts, kind="stable")
            column = Column(name, "category", role, tuple(levels[order]), missing=missing)
            few = True
        if role == "target":
            gone = series.isna().to_numpy()
            keep &= ~gone
            if task in (None, "binary", "multiclass") and few and (column.integer or column.kind == "category"):
                labels = sorted(series[~gone].unique().tolist())
                classes = tuple(labels)
                task = "binary" if len(labels) == 2 else "multiclass"
            elif task is None:
                task = "regression"
        columns.append(column)
    return Understanding(Schema(tuple(columns), task, classes, unseen), [], int(keep.sum()), keep)
