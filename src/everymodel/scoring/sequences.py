"""Sequence cells: lists or arrays of numbers, as arrays (T, p) of float32; lengths may differ from row to row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_STEPS = 10_000_000
MAX_SHAPE = 16_384  # that a schema may name


class SequenceCellError(ValueError):
    """A cell is no sequence of numbers; the text says why."""


def is_sequence(cell: Any) -> bool:
    """Whether a cell is a sequence itself: a list of numbers, or an array of one or two axes."""
    if isinstance(cell, np.ndarray):
        return cell.ndim in (1, 2) and cell.dtype.kind in "iufb"
    return isinstance(cell, list | tuple) and len(cell) > 0 and isinstance(cell[0], int | float | list | tuple)


def steps(cell: Any, width: int | None = None) -> np.ndarray:
    """One sequence as (T, p) float32; text such as "1.5 2 3" is read too (numbers with blanks or semicolons between).

    Raises
    ------
    SequenceCellError
    """
    if isinstance(cell, str):
        cell = cell.replace(";", " ").replace(",", " ").split()
    try:
        array = np.asarray(cell, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise SequenceCellError("it is no list of numbers, or its steps differ in width") from error
    if array.ndim == 1:
        array = array[:, None]  # (T, 1)
    if array.ndim != 2 or not len(array):
        raise SequenceCellError(
            "it is empty" if not array.size else f"it has shape {array.shape}; expected (steps, width)"
        )
    if len(array) > MAX_STEPS:
        raise SequenceCellError(f"it has {len(array):,} steps, more than {MAX_STEPS:,}")
    if width is not None and array.shape[1] != width:
        raise SequenceCellError(f"its steps hold {array.shape[1]} numbers; expected {width}")
    return array


def common_shape(cells: Sequence[np.ndarray]) -> tuple[tuple[int, int], float | None, float | None]:
    """((usual steps, most frequent width), lowest, highest number) of sequences (T, p); None without any number."""
    width = int(np.bincount([c.shape[1] for c in cells]).argmax())
    usual = max(int(np.median([len(c) for c in cells])), 1)
    flat = np.concatenate([c.ravel() for c in cells])
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if len(flat) else (None, None)
    return (min(usual, MAX_SHAPE), min(width, MAX_SHAPE)), low, high


def stack(cells: Any, width: int) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """All cells as (n,) objects, arrays (T, p), and (row, why) of those that cannot be read (they are one NaN step)."""
    made = np.empty(len(cells), dtype=object)
    wrong: list[tuple[int, str]] = []
    for row, cell in enumerate(cells):
        try:
            made[row] = steps(cell, width)
        except SequenceCellError as error:
            made[row] = np.full((1, width), np.nan, dtype=np.float32)
            wrong.append((row, str(error)))
    return made, wrong
