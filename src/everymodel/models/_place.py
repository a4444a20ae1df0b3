"""Plumbing: puts the columns of a fitted classifier where the codes 0..k-1 of the whole problem want them.

In a fold a classifier may have seen only some of the classes; an answer always has all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def codes_of(model: Any, n_classes: int | None) -> tuple[np.ndarray, int]:
    """The codes of the model's classes, and how many classes the answer has.

    Classes that are not whole numbers from 0 on (the model was fitted outside of a search) keep their own order.
    """
    classes = np.asarray(model.classes_)
    if n_classes is None:
        return np.arange(len(classes)), len(classes)
    return classes.astype(np.int64), int(n_classes)


def place(columns: np.ndarray, codes: np.ndarray, k: int, fill: float, axis: int = -1) -> np.ndarray:
    """`columns` spread along `axis` to k places, those of no code filled with `fill`."""
    if len(codes) == k and (codes == np.arange(k)).all():
        return columns
    shape = list(columns.shape)
    shape[axis] = k
    out = np.full(shape, fill, dtype=columns.dtype)
    index: list[Any] = [slice(None)] * columns.ndim
    index[axis] = codes
    out[tuple(index)] = columns
    return out
