"""Why a row got its answer: Shapley values of the raw columns, by permutation sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import PIXEL_TASKS, SERIES_TASKS, STEP_TASKS, WRITTEN_TASKS
from everymodel.core.seeds import derive
from everymodel.scoring import probe, table
from everymodel.scoring.steps.base import Batch

if TYPE_CHECKING:
    from everymodel.scoring.model import Model

PERMUTATIONS = 16  # each is also walked backwards
BACKGROUND = 16  # background rows that stand for "column not known"


def explain(
    model: Model,
    batch: Batch,
    *,
    of: Any = None,
    top: int | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Contributions of the raw columns to each row's answer.

    A contribution is the average change of the answer when the column's cell takes the place of a background row's
    cell, over orders in which columns become known (Shapley values, sampled; Štrumbelj & Kononenko 2014). Each order
    is walked forwards and backwards. Base and contributions add up to the answer exactly.

    The answer explained is that of the class, label or target `of`; by default the value (regression; the first of
    several targets), the probability of the positive class (binary), of the predicted class (more classes) or of the
    likeliest label (several labels).

    Returns
    -------
    One dict per row: {"answer", "label" (what is explained; None for one number), "base",
    "contributions": [{"column", "cell", "contribution"}, ...] largest first, at most `top`, "rest": the sum of the
    others}.
    """
    if model.task in SERIES_TASKS:
        raise CapabilityError("A forecast has no columns to explain it by. Its report shows how each step was tested.")
    if model.task in (*PIXEL_TASKS, *STEP_TASKS, *WRITTEN_TASKS):
        raise CapabilityError(f"This model ({model.task}) answers one image or sentence, so no column explains it.")
    if not batch.n:
        return []
    background = _background(model)
    answers = _matrix(model.answers(batch))
    names = [c.name for c in model.schema.features]
    labels: list[Any] = list(model.classes) or (model.targets if answers.shape[1] > 1 else [])
    if model.task in ("reduce", "embed"):
        labels = model.columns
    elif model.task == "anomaly":
        labels = []  # one number, the score
    known = {str(label): i for i, label in enumerate(labels)}
    if of is not None and str(of) not in known:
        shown = ", ".join(list(known)[:12]) or "one number only, so leave it out"
        raise ParameterError(f"of={of!r}: expected something that this model answers: {shown}.")
    out = []
    for row in range(batch.n):
        column = _explained(model, answers[row]) if of is None else known[str(of)]
        parts = _row(model, batch.take(np.array([row])), background, column, permutations, seed)
        answer = float(answers[row, column])
        # What rounding leaves over goes into the base, so that the sum is exact.
        base = answer - sum(parts)
        order = sorted(range(len(names)), key=lambda i: -abs(parts[i]))
        shown = order if top is None else order[:top]
        out.append(
            {
                "answer": answer,
                "label": labels[column] if column < len(labels) else None,
                "base": base,
                "contributions": [
                    {"column": names[i], "cell": _cell(model, batch, names[i], row), "contribution": parts[i]}
                    for i in shown
                ],
                "rest": float(sum(parts[i] for i in order[len(shown) :])),
            }
        )
    return out


def _matrix(answers: np.ndarray) -> np.ndarray:
    return answers.reshape(len(answers), -1)


def _explained(model: Model, answers: np.ndarray) -> int:
    if model.task in ("reduce", "embed", "anomaly"):
        return 0
    if model.task == "binary" and len(answers) == 2:
        positive = model.schema.positive
        return list(model.classes).index(positive) if positive in model.classes else 1
    return int(np.argmax(answers)) if len(answers) > 1 and model.task != "regression" else 0


def _background(model: Model) -> Batch:
    """Synthetic rows: from the manifest where em.fit has put them, else from the schema's ranges and levels.

    The manifest has columns of values as a Batch holds them (codes of levels, seconds of dates) or of cells as text.
    """
    told = model.manifest.get("background")
    if not isinstance(told, dict) or not told:
        cells = probe.rows(model.schema, BACKGROUND + 6, seed=1)
        told = {name: values[6:] for name, values in cells.items()}  # the first probe rows are extremes
    n = max((len(v) for v in told.values()), default=1)
    columns: dict[str, np.ndarray] = {}
    rest: dict[str, list[Any]] = {}
    for column in model.schema.features:
        values = told.get(column.name) or [None] * n
        if column.kind != "text" and all(v is None or isinstance(v, int | float) for v in values):
            numbers = np.array([np.nan if v is None else float(v) for v in values])
            if column.kind == "category":
                codes = np.where(np.isnan(numbers), -1, numbers).astype(np.int32)
                columns[column.name] = np.where(codes < len(column.levels), codes, -1).astype(np.int32)
            else:
                columns[column.name] = numbers
        else:
            rest[column.name] = values
    if rest:
        read, _ = table.parse(model.schema, rest, missing_columns="impute", unseen="ignore", bad="missing")
        columns.update({name: read.columns[name] for name in rest})
    return Batch(columns, n)


def _row(model: Model, row: Batch, background: Batch, column: int, permutations: int, seed: int) -> list[float]:
    names = [c.name for c in model.schema.features]
    p, m = len(names), background.n
    rng = np.random.default_rng(derive(seed, "explain"))
    orders, picks = [], []
    for _ in range(permutations):
        order = rng.permutation(p)
        pick = int(rng.integers(m))
        orders += [order, order[::-1]]
        picks += [pick, pick]
    # Rows of the walk: for each order the background row, then with 1, 2, ... p cells of the row in place.
    known = np.zeros((len(orders), p + 1, p), dtype=bool)
    for i, order in enumerate(orders):
        rank = np.empty(p, dtype=np.int64)
        rank[order] = np.arange(p)
        known[i] = rank[None, :] < np.arange(p + 1)[:, None]
    flat = known.reshape(-1, p)
    source = np.repeat(np.array(picks), p + 1)
    columns = {}
    for j, name in enumerate(names):
        there = background.columns[name][source]
        columns[name] = np.where(flat[:, j], row.columns[name][0], there).astype(there.dtype)
    walk = _matrix(model.answers(Batch(columns, len(flat))))[:, column].reshape(len(orders), p + 1)
    steps = np.diff(walk, axis=1)  # (orders, p): change when the i-th column of the order becomes known
    parts = np.zeros(p)
    for order, change in zip(orders, steps, strict=True):
        parts[order] += change
    parts /= len(orders)
    return parts.tolist()


def _cell(model: Model, batch: Batch, name: str, row: int) -> Any:
    """The cell as the model read it."""
    value = batch.columns[name][row]
    column = model.schema.column(name)
    if column.kind == "category":
        return {-1: None, -2: "(unseen)"}.get(int(value), column.levels[int(value)] if value >= 0 else None)
    if column.kind == "text":
        return str(value) or None
    value = float(value)
    if value != value:
        return None
    if column.kind == "boolean":
        return (column.levels if len(column.levels) == 2 else ("false", "true"))[int(value)]
    if column.kind == "date":
        return str(np.datetime64(int(value), "s"))
    return value
