"""What the search calls on networks that train on raw cells or rows: fit, refit and pack. Their files name these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from everymodel.models._place import codes_of
from everymodel.scoring.steps.base import Step


def fit(
    model: Any,
    X: Any,
    y: Any,
    *,
    valid: tuple[Any, Any] | None = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
) -> Any:
    """Train; keep the best epoch on `valid` = (X, y), end early when `stop` says so."""
    return model.train(X, y, valid, stop, threads)


def refit_parameters(model: Any) -> dict[str, Any]:
    """As many passes as led to the kept weights, over all rows."""
    return {"epochs": model.epochs_, "validation_fraction": 0.0}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step, its classes where the codes 0..n_classes - 1 want them."""
    if model._loss != "softmax":
        return model.step()
    codes, k = codes_of(model, n_classes)
    return model.step(codes.astype(np.int32), k) if len(codes) != k else model.step()
