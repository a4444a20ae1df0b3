"""Features of nodes as the first layer of a graph network takes them: filled and scaled, by layers that are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from everymodel.core.graph import Rows, dense
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Affine
from everymodel.scoring.layers.graph import Fill, RowShare

SCALINGS = ("auto", "rows", "standard", "none")


def prepared(x: Any, n: int, scaling: str) -> tuple[Any, list[Layer]]:
    """(features of n nodes as the first layer takes them, the numpy layers that make them so).

    x : (n, p) array or Rows, NaN for what is missing; None where each node is a feature of its own.
    scaling : one of SCALINGS.
    """
    before: list[Layer] = []
    if x is None:
        return Rows(np.ones(n), np.arange(n), np.arange(n + 1), (n, n)), before
    sparse = isinstance(x, Rows)
    numbers = x.values if sparse else x
    if np.isnan(numbers).any():
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(numbers)
            mean = np.zeros(x.shape[1])
            if not sparse:
                mean = np.where(known, numbers, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        before.append(Fill(mean))
        x = before[-1](x)
        numbers = x.values if sparse else x
    if scaling == "auto":  # counts of words and the like: shares of the whole; else each column by itself
        scaling = "rows" if sparse and (numbers >= 0).all() else "none" if sparse else "standard"
    if scaling == "rows":
        before.append(RowShare())
    elif scaling == "standard":
        x = dense(x)
        scale = x.std(axis=0)
        scale = 1.0 / np.where(scale > 1e-12 * (1 + np.abs(x.mean(axis=0))), scale, 1.0)
        before.append(Affine(scale, -x.mean(axis=0) * scale))
    return turned(x, before), before


def turned(x: Any, before: Sequence[Layer]) -> Any:
    """Features after these layers."""
    for part in before:
        x = part(dense(x) if isinstance(part, Affine) else x)
    return x
