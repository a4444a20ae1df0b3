"""Probe rows: made up from the schema alone, answered when a model is packed, and asked again whenever it is opened."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError
from everymodel.core.schema import Column, Schema
from everymodel.core.seeds import derive
from everymodel.scoring import table

ROWS = 24
RELATIVE = 1e-9  # allowed difference when a file is opened on another machine


def rows(schema: Schema, n: int = ROWS, seed: int = 0) -> dict[str, list[Any]]:
    """`n` synthetic rows as columns of cells; the first are edges: all missing, all unseen, lowest, highest, beyond.

    Only names, kinds, ranges and levels of the schema are used, never a training row.
    """
    made: dict[str, list[Any]] = {}
    for column in schema.features:
        rng = np.random.default_rng(derive(seed, "probe", column.name))
        made[column.name] = [_cell(column, i, rng) for i in range(n)]
    return made


def _cell(column: Column, row: int, rng: np.random.Generator) -> Any:
    chance = rng.random()
    if row == 0 or (row >= 6 and chance < 0.08):
        return None
    if column.kind == "category":
        if row == 1 or chance > 0.96 or not column.levels:
            return "never seen before"
        return column.levels[int(rng.integers(len(column.levels)))]
    if column.kind == "boolean":
        words = column.levels if len(column.levels) == 2 else ("false", "true")
        return words[int(rng.integers(2))]
    if column.kind == "text":
        words = ["a", "the", "good", "bad", "42", "überall", "x-y", "never seen before"]
        return " ".join(words[int(i)] for i in rng.integers(len(words), size=int(rng.integers(1, 12))))
    low = 0.0 if column.low is None else float(column.low)
    high = 1.0 if column.high is None else float(column.high)
    span = (high - low) or 1.0
    edges = {2: low, 3: high, 4: low - span, 5: high + span, 1: 0.0}
    value = edges.get(row, low + span * float(rng.random()))
    value = float(round(value)) if column.integer else float(f"{value:.6g}")  # short numbers keep the file small
    if column.kind == "date":
        return _date(value)
    return value


def _date(seconds: float) -> str:
    inside = min(max(seconds, -62_000_000_000.0), 250_000_000_000.0)
    return str(np.datetime64(int(inside), "s"))


def make(schema: Schema, pack: Any) -> dict[str, Any]:
    """{"rows": columns of cells, "answers": what the pack says to them}."""
    cells = rows(schema)
    batch, _ = table.parse(schema, _columns(schema, cells), unseen="ignore")
    with np.errstate(all="ignore"):
        answers = np.asarray(pack(batch), dtype=np.float64)
    return {"rows": cells, "answers": [[_plain(v) for v in row] for row in answers.reshape(len(answers), -1)]}


def replay(schema: Schema, pack: Any, probe: dict[str, Any]) -> None:
    """Ask the probe rows again.

    Raises
    ------
    ModelFileError
        when an answer differs by more than RELATIVE, or cannot be given.
    """
    try:
        cells, expected = probe["rows"], probe["answers"]
        if not isinstance(cells, dict) or not isinstance(expected, list) or len(expected) > 10_000:
            raise ModelFileError("The probe rows of the file are described wrongly.")
        batch, _ = table.parse(schema, _columns(schema, cells), unseen="ignore")
        wanted = np.array([[np.nan if v is None else v for v in row] for row in expected], dtype=np.float64)
        with np.errstate(all="ignore"):
            answers = np.asarray(pack(batch), dtype=np.float64)
        answers = answers.reshape(len(answers), -1)
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(f"The model in the file cannot answer its own probe rows: {error!r}.") from error
    if answers.shape != wanted.shape:
        raise ModelFileError("The model in the file answers its own probe rows in another shape.")
    both = np.isnan(wanted) == ~np.isfinite(answers)
    size = np.maximum(1e-3, np.nanmax(np.abs(np.where(np.isnan(wanted), 0.0, wanted)), axis=1, initial=0.0))[:, None]
    with np.errstate(invalid="ignore"):
        off = ~both | (np.abs(answers - wanted) > RELATIVE * size)
    if off.any():
        row, column = np.argwhere(off)[0].tolist()
        raise ModelFileError(
            f"The model answers probe row {row} with {answers[row, column]!r} here, but gave {wanted[row, column]!r} "
            "when it was saved: the file was changed, or this machine calculates differently."
        )


def _columns(schema: Schema, cells: dict[str, list[Any]]) -> dict[str, list[Any]]:
    # Dates are written as ISO text in probes, which every date column reads.
    return cells or {name: [] for name in [c.name for c in schema.features]}


def _plain(value: float) -> float | None:
    value = float(value)
    return value if value - value == 0.0 else None
