"""Probe rows: made up from the schema alone, answered when a model is packed, and asked again whenever it is opened.

A file holds the answers and the number of rows; the rows are made again from the schema. So `batch` may never change
(a later way to make rows gets the next number of MADE), and it uses nothing but whole numbers and plain arithmetic,
which are the same on every machine and in every version of NumPy. Files that hold their probe rows open too.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import table
from everymodel.scoring.steps.base import Batch

MADE = 1  # how `batch` makes rows
ROWS = 24
MAX_ROWS = 10_000
MAX_CELLS = 16_000_000  # that are made
RELATIVE = 1e-9  # allowed difference when a file is opened on another machine
_UNSEEN = "never seen before"
_TEXT = ("a", "the", "good", "bad", "42", "überall", "x-y", _UNSEEN)
_HUGE = 1e300
_PLACES = 48  # of maps that are compared


def batch(schema: Schema, n: int = ROWS, seed: int = 0) -> Batch:
    """`n` synthetic rows; the first are edges: all missing, all unseen (numbers: zero), lowest, highest, beyond.

    Only kinds, ranges and levels of the schema are used, never a training row.
    """
    features = schema.features
    chance, draw = _uniform(2 * seed, n, len(features)), _uniform(2 * seed + 1, n, len(features))  # (n, columns)
    row = np.arange(n)[:, None]
    missing = (row == 0) | ((row >= 6) & (chance < 0.08))  # (n, columns)
    made: dict[str, np.ndarray] = {}
    ranged = [i for i, c in enumerate(features) if c.kind in ("number", "date")]
    numbers = _numbers([features[i] for i in ranged], draw[:, ranged])  # (n, ranged)
    numbers[missing[:, ranged]] = np.nan
    for values, i in zip(np.ascontiguousarray(numbers.T), ranged):
        made[features[i].name] = values
    for i, column in enumerate(features):
        if column.kind == "category":
            codes = (draw[:, i] * len(column.levels)).astype(np.int32)
            codes[chance[:, i] > 0.96] = -2
            codes[1:2] = -2
            if not column.levels:
                codes[:] = -2
            codes[missing[:, i]] = -1
            made[column.name] = codes
        elif column.kind == "boolean":
            made[column.name] = np.where(missing[:, i], np.nan, (draw[:, i] >= 0.5).astype(np.float64))
        elif column.kind == "image":
            values = _uniform(2 * seed + 2 * i + 3, n, *column.shape) * 256.0
            values[missing[:, i]] = 0.0
            made[column.name] = values.astype(np.uint8)
        elif column.kind == "sequence":
            made[column.name] = _series(column, missing[:, i], draw[:, i], 2 * seed + 2 * i + 3)
        elif column.kind == "text":
            made[column.name] = _texts(missing[:, i], draw[:, i], _uniform(2 * seed + 2 * i + 3, n, 12))
    return Batch({c.name: made[c.name] for c in features}, n)


def _uniform(stream: int, *shape: int) -> np.ndarray:
    """Numbers in [0, 1) that look random: splitmix64 (Steele, Lea and Flood 2014) of a counter, 53 bits of each."""
    size = int(np.prod(shape))
    z = np.arange(1, size + 1, dtype=np.uint64) + np.array([(stream % 2**24) << 40], dtype=np.uint64)
    z = z * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def _numbers(columns: list[Column], draw: np.ndarray) -> np.ndarray:
    """Values (n, columns) inside each column's range, at its edges and beyond; dates in seconds since 1970."""
    low = np.array([0.0 if c.low is None else float(c.low) for c in columns])
    high = np.array([1.0 if c.high is None else float(c.high) for c in columns])
    with np.errstate(over="ignore"):
        span = np.where(high == low, 1.0, high - low)
        values = low + span * draw
        edges = [np.zeros(len(columns)), low, high, low - span, high + span]
    for row, edge in enumerate(edges[: max(len(values) - 1, 0)], start=1):
        values[row] = edge
    values = np.clip(values, -_HUGE, _HUGE)
    whole = np.array([c.integer or c.kind == "date" for c in columns], dtype=bool)
    values[:, whole] = np.rint(values[:, whole])
    dates = np.array([c.kind == "date" for c in columns], dtype=bool)
    values[:, dates] = np.clip(values[:, dates], -62_000_000_000.0, 250_000_000_000.0)
    return values


def _texts(missing: np.ndarray, draw: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Texts (n,) of one to eleven words."""
    out = np.empty(len(missing), dtype=object)
    for row, (gone, length) in enumerate(zip(missing.tolist(), (1 + draw * 11).astype(int).tolist())):
        out[row] = "" if gone else " ".join(_TEXT[int(w * len(_TEXT))] for w in words[row, :length])
    return out


def _series(column: Column, missing: np.ndarray, draw: np.ndarray, stream: int) -> np.ndarray:
    """Sequences (n,) of one to the usual number of steps, within the column's range; missing ones are one NaN step."""
    low, high = (0.0 if column.low is None else column.low), (1.0 if column.high is None else column.high)
    most, width = min(column.shape[0], 64), column.shape[1]
    values = low + (high - low) * _uniform(stream, len(missing), most, width)
    out = np.empty(len(missing), dtype=object)
    for row, length in enumerate((1 + draw * most).astype(int).tolist()):
        own = values[row, : min(length, most)].astype(np.float32)
        out[row] = np.full((1, width), np.nan, dtype=np.float32) if missing[row] else own
    return out


def rows(schema: Schema, n: int = ROWS, seed: int = 0) -> dict[str, list[Any]]:
    """The rows of `batch` as columns of cells, as a user would write them."""
    made = batch(schema, n, seed).columns
    return {c.name: [_cell(c, value) for value in made[c.name].tolist()] for c in schema.features}


def _cell(column: Column, value: Any) -> Any:
    if column.kind in ("image", "sequence"):
        return np.asarray(value).tolist()
    if column.kind == "text":
        return value or None
    if column.kind == "category":
        return None if value == -1 else _UNSEEN if value < 0 else column.levels[value]
    if value != value:
        return None
    if column.kind == "boolean":
        words = column.levels if len(column.levels) == 2 else ("false", "true")
        return words[int(value)]
    return str(np.datetime64(int(value), "s")) if column.kind == "date" else value


def make(schema: Schema, pack: Any) -> dict[str, Any]:
    """What a file holds: how many rows were made, by which MADE, and what the pack says to them."""
    n = min(ROWS, max(1, MAX_CELLS // max(_cells(schema), 1)))
    answers = _answers(pack, batch(schema, n))
    return {"made": MADE, "n": n, "answers": [[_plain(v) for v in row] for row in answers.tolist()]}


def _cells(schema: Schema) -> int:
    """Numbers in one row."""
    return sum(
        int(np.prod(c.shape)) if c.kind == "image" else 64 * c.shape[1] if c.shape else 1 for c in schema.features
    )


def _answers(pack: Any, asked: Batch) -> np.ndarray:
    with np.errstate(all="ignore"):
        answers = pack(asked)
    if pack.output in ("tags", "texts"):
        return _worded(answers)
    if pack.output == "maps":
        return _sampled(answers)
    answers = np.asarray(answers, dtype=np.float64)
    return answers.reshape(len(answers), -1)


def _worded(answers: list[Any]) -> np.ndarray:
    """Lists of words, or texts, as numbers: a checksum of each word, -1 behind the last."""
    lists = [[answer] if isinstance(answer, str) else answer for answer in answers]
    made = np.full((len(lists), max(map(len, lists), default=0)), -1.0)
    for row, words in enumerate(lists):
        made[row, : len(words)] = [zlib.crc32(str(word).encode("utf-8", "surrogatepass")) % 65_521 for word in words]
    return made


def _sampled(answers: list[Any]) -> np.ndarray:
    """Maps as few numbers: their values at places spread over each, their means and spreads by channel."""
    made = []
    for maps, _ in answers:
        flat = np.asarray(maps, dtype=np.float64).reshape(-1, maps.shape[-1])  # (places, k)
        some = flat.ravel()[np.arange(_PLACES) * (flat.size - 1) // (_PLACES - 1)]
        made.append(np.concatenate([some, flat.mean(axis=0), flat.std(axis=0)]))
    return np.array(made)


def replay(schema: Schema, pack: Any, probe: dict[str, Any]) -> None:
    """Ask the probe rows again.

    Raises
    ------
    ModelFileError
        when an answer differs by more than RELATIVE, or cannot be given.
    """
    try:
        expected = probe["answers"]
        if not isinstance(expected, list) or len(expected) > MAX_ROWS:
            raise ModelFileError("The probe rows of the file are described wrongly.")
        if "rows" in probe:  # as files had them at first
            if not isinstance(probe["rows"], dict):
                raise ModelFileError("The probe rows of the file are described wrongly.")
            asked, _ = table.parse(schema, probe["rows"], unseen="ignore")
        else:
            n = len(expected)
            if probe["made"] != MADE or probe["n"] != n or not 0 < n * max(_cells(schema), 1) <= MAX_CELLS:
                raise ModelFileError("The probe rows of the file are made in a way that this version does not know.")
            asked = batch(schema, n)
        wanted = np.array([[np.nan if v is None else v for v in row] for row in expected], dtype=np.float64)
        answers = _answers(pack, asked)
    except ModelFileError:
        raise
    except Exception as error:
        raise ModelFileError(f"The model in the file cannot answer its own probe rows: {error!r}.") from error
    if answers.shape != wanted.shape:
        raise ModelFileError("The model in the file answers its own probe rows in another shape.")
    both = np.isnan(wanted) == ~np.isfinite(answers)
    size = np.maximum(1e-3, np.nanmax(np.abs(np.where(np.isnan(wanted), 0.0, wanted)), axis=1, initial=0.0))[:, None]
    with np.errstate(invalid="ignore"):
        off = ~both | (np.abs(answers - wanted) > max(RELATIVE, pack.tolerance) * size)
    if off.any():
        row, column = np.argwhere(off)[0].tolist()
        raise ModelFileError(
            f"The model answers probe row {row} with {answers[row, column]!r} here, but gave {wanted[row, column]!r} "
            "when it was saved: the file was changed, or this machine calculates differently."
        )


def _plain(value: float) -> float | None:
    return float(f"{value:.12g}") if value - value == 0.0 else None  # closer than RELATIVE, and shorter
