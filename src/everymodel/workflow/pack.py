"""From a search result to a Model: intervals, background rows and provenance join the pack."""

from __future__ import annotations

import datetime
import platform
from importlib import metadata
from typing import Any

import numpy as np

from everymodel.core.schema import Column, Schema
from everymodel.core.seeds import derive
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.model import Model
from everymodel.workflow.types import SearchResult

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
BACKGROUND_ROWS, BACKGROUND_CELLS = 64, 100_000
BACKGROUND_SAMPLE = 5_000  # rows that they are drawn after


def conformal_intervals(y: np.ndarray, oof: np.ndarray) -> dict[str, list[float]]:
    """Half-widths of split-conformal prediction intervals from out-of-fold residuals.

    The ceil((n + 1) * level)-th smallest absolute residual covers a new row with probability >= level when rows are
    exchangeable (Vovk et al. 2005; Lei et al. 2018). Levels that need more rows than there are get the largest one.
    """
    residuals = np.sort(np.abs(np.asarray(y, float).ravel() - np.asarray(oof, float).ravel()))
    residuals = residuals[np.isfinite(residuals)]
    if not len(residuals):
        return {}
    ranks = [min(int(np.ceil((len(residuals) + 1) * level)), len(residuals)) for level in LEVELS]
    return {"levels": list(LEVELS), "half_widths": [float(residuals[rank - 1]) for rank in ranks]}


def background(batch: Batch, schema: Schema, seed: int) -> dict[str, list[Any]]:
    """Synthetic reference rows: each column drawn by itself from its distribution, so no training row is kept.

    Numbers are interpolated between neighbouring quantiles; levels are drawn by frequency; text is left empty.
    """
    random = np.random.default_rng(derive(seed, "background"))
    rows = int(np.clip(BACKGROUND_CELLS // max(len(schema.features), 1), 8, BACKGROUND_ROWS))
    if batch.n > BACKGROUND_SAMPLE:
        batch = batch.take(np.sort(random.choice(batch.n, BACKGROUND_SAMPLE, replace=False)))
    numbers = [c for c in schema.features if c.kind in ("number", "date")]
    drawn = dict(zip((c.name for c in numbers), _drawn(batch, numbers, rows, random)))
    made: dict[str, list[Any]] = {}
    for column in schema.features:
        if column.kind == "text":
            made[column.name] = [""] * rows
        elif column.kind in ("image", "sequence"):
            made[column.name] = [None] * rows
        elif column.name in drawn:
            made[column.name] = drawn[column.name]
        else:
            made[column.name] = random.choice(batch.columns[column.name], rows).tolist()
    return made


def _drawn(batch: Batch, columns: list[Column], rows: int, random: np.random.Generator) -> list[list[Any]]:
    """`rows` values of each number column, None for a gap; all columns at once, for there may be thousands."""
    if not columns:
        return []
    table = np.array([batch.columns[c.name] for c in columns], float)  # (p, n)
    table[~np.isfinite(table)] = np.nan
    table.sort(axis=1)  # gaps come last
    known = np.isfinite(table).sum(axis=1)
    place = random.uniform(size=(len(columns), rows)) * np.maximum(known - 1, 0)[:, None]
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(known - 1, 0)[:, None])
    left = np.take_along_axis(table, low, axis=1)
    part = place - low
    drawn = left * (1 - part) + np.take_along_axis(table, high, axis=1) * part
    whole = np.array([c.integer for c in columns])
    drawn[whole] = np.round(drawn[whole])
    gaps = (random.uniform(size=drawn.shape) >= (known / batch.n)[:, None]) | ~np.isfinite(drawn)
    # Eight digits do for reference rows, and more would be half of a small model's file.
    return [
        [None if gap else float(f"{v:.8g}") for gap, v in zip(*pair)] for pair in zip(gaps.tolist(), drawn.tolist())
    ]


def versions() -> dict[str, str]:
    """Versions of what trained the model. They are a record; none of them is needed to answer."""
    found = {"python": platform.python_version()}
    for package in ("everymodel", "numpy", "scikit-learn", "lightgbm", "catboost", "xgboost", "pandas"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def assemble(
    result: SearchResult,
    schema: Schema,
    batch: Batch,
    y: np.ndarray,
    *,
    name: str,
    metric: str,
    seed: int,
    fingerprint: str,
    findings: list[dict[str, Any]],
    suspect: bool,
) -> Model:
    """A Model that answers, described by a manifest without any training row."""
    manifest: dict[str, Any] = {
        "name": name,
        "title": f"{name}: {', '.join(m['model'] for m in result.members[:3])}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": schema.task,
        "metric": metric,
        "classes": list(schema.classes),
        "members": [{k: v for k, v in m.items() if k != "training"} for m in result.members],
        "findings": findings,
        "suspect": suspect,
        "contains_training_rows": any(node.step.holds_rows for node in result.pack.nodes),
        "background": background(batch, schema, seed),
        "provenance": {
            "data_fingerprint": fingerprint,
            "rows": len(y),
            "seed": seed,
            "versions": versions(),
            "parent": None,
        },
    }
    if schema.task == "regression" and np.ndim(y) == 1:
        manifest["intervals"] = conformal_intervals(y, result.oof)
    return Model(schema, result.pack, manifest)
