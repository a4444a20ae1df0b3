"""Columns whose cells are images or sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.core.schema import Column
from everymodel.scoring import images, sequences
from everymodel.scoring.cells import blank
from everymodel.workflow.understand.kinds import Seen

LOOKED = 200  # cells by which the size of images is chosen
ENOUGH = 0.9  # share of cells that must be images (sequences)


def arrays(name: str, series: Any, kind: str | None) -> Seen | None:
    """The column as images or sequences, if that is what its cells are (or what the user says they are)."""
    if kind not in (None, "image", "sequence") or getattr(series.dtype, "kind", "O") in "iufbMm":
        return None
    cells = series.tolist()
    there = np.array([not blank(c) for c in cells])
    if not there.any():
        return None
    rows = np.flatnonzero(there)
    some = [cells[i] for i in rows[np.linspace(0, len(rows) - 1, min(LOOKED, len(rows))).astype(int)]]
    if kind is None:
        if np.mean([images.is_path(c) or images.is_image(c) for c in some]) >= ENOUGH:
            kind = "image"
        elif np.mean([sequences.is_sequence(c) for c in some]) >= ENOUGH:
            kind = "sequence"
        else:
            return None
    seen = _images(name, some) if kind == "image" else _sequences(name, some)
    if seen is None:
        return None
    seen.values = np.where(there, np.arange(len(cells)), -1)
    seen.missing = int((~there).sum())
    seen.distinct = int(there.sum())
    return seen


def _images(name: str, some: list[Any]) -> Seen | None:
    readable = 0
    why = ""
    for cell in some[:20]:
        try:
            images.pixels(cell)
            readable += 1
        except images.ImageCellError as error:
            why = why or str(error)
    if not readable:
        if all(images.is_path(c) for c in some[:20]):
            raise DataError(
                f"The column {name!r} names image files, but none of the first {len(some[:20])} can be read: {why} "
                f"(such as {str(some[0])[:80]!r}). Give paths from the folder of the table, or absolute ones."
            )
        return None
    shape, mixed = images.common_shape(some)
    seen = Seen(Column(name, "image", shape=shape), np.zeros(0))
    if mixed:
        seen.mixed = f"images of different sizes, all brought to {shape[0]} x {shape[1]} pixels"
    return seen


def _sequences(name: str, some: list[Any]) -> Seen | None:
    found = []
    for cell in some:
        try:
            found.append(sequences.steps(cell))
        except sequences.SequenceCellError:
            continue
    if not found:
        return None
    shape, low, high = sequences.common_shape(found)
    return Seen(Column(name, "sequence", shape=shape, low=low, high=high), np.zeros(0))
