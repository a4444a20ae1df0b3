"""How many ordinary rows are as odd as a row: what an anomaly model's file knows of its scores."""

from __future__ import annotations

from typing import Any

import numpy as np

LEAST = 1e-12  # shares below are not told apart


def beyond(told: dict[str, Any], scores: np.ndarray) -> np.ndarray:
    """Share of ordinary rows (n,), 0 to 1, whose score exceeds each of `scores` (n,).

    Parameters
    ----------
    told : the manifest's "tail". "scores" and "shares" are points of the curve, ascending and descending; above
        "start", where a share "share" of rows lies, scores follow a generalised Pareto law of "shape" and "scale".
        "least": shares below are more than the rows of the fit can tell.
    """
    scores = np.asarray(scores, dtype=np.float64)
    out = np.interp(scores, told["scores"], told["shares"])
    if told.get("scale"):
        far = scores > told["start"]
        out = np.where(far, pareto(scores - told["start"], told["shape"], told["scale"]) * told["share"], out)
    return np.clip(out, told.get("least", LEAST), 1.0)


def pareto(excess: Any, shape: float, scale: float) -> np.ndarray:
    """Share of a generalised Pareto law beyond `excess` >= 0 (any shape)."""
    z = np.maximum(np.asarray(excess, dtype=np.float64), 0.0) / scale
    if abs(shape) < 1e-9:
        return np.exp(-z)
    with np.errstate(divide="ignore"):
        return np.maximum(1.0 + shape * z, 0.0) ** (-1.0 / shape)
