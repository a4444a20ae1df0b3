"""Forecasts over REST, farther than usual or with bounds.

{"row": {"history": [112, 118, 132]}, "horizon": 24, "interval": 0.8}     # goes on from a history
{"horizon": 24}                                                          # from the series that the model was made of
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import CapabilityError
from everymodel.core.schema import SERIES_TASKS
from everymodel.interfaces.server.errors import Problem
from everymodel.scoring import Model
from everymodel.scoring.forecast import HISTORY, Forecast, Forecaster
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.forecast import MAX_HORIZON

if TYPE_CHECKING:
    from everymodel.interfaces.server.answer import PredictRequest

STEPS = 1_000_000  # of all series of one request

# What the OpenAPI document says of it.
OPTIONS: dict[str, dict[str, Any]] = {
    "horizon": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": MAX_HORIZON,
        "default": None,
        "description": "Steps ahead; by default as at the fit. Without row and rows the series that the model was made "
        "of go on.",
        "examples": [24],
    },
    "interval": {
        "type": ["boolean", "number"],
        "default": False,
        "description": "Add bounds that hold each true value with this probability, at most 0.95; true means 0.9.",
        "examples": [0.8],
    },
}
INTERVAL: dict[str, Any] = {
    "type": "object",
    "description": "Bounds of each value, if interval was asked for.",
    "properties": {"level": {"type": "number"}, "low": {"type": "object"}, "high": {"type": "object"}},
}


def asked(model: Model, request: PredictRequest) -> bool:
    """Whether it is such a request: one with a horizon, or with bounds of a forecast."""
    return request.horizon is not None or (model.task in SERIES_TASKS and request.interval is not False)


def ahead(
    model: Model, request: PredictRequest, batch: Batch | None, level: float | None
) -> tuple[dict[str, Any] | list[dict[str, Any]], int]:
    """(one answer, or a list of them, how many series) to histories, or of the model's own series where there are none.

    Raises
    ------
    CapabilityError
        for models that forecast nothing, and for probabilities or explanations of a forecast.
    Problem
        413 for too many steps.
    ParameterError
        for horizons and levels that are not possible.
    """
    if not isinstance(model, Forecaster):
        raise CapabilityError(f"This model ({model.task}) answers rows, so there is no horizon. Leave it out.")
    if request.proba or request.explain is not False:
        raise CapabilityError("A forecast has neither probabilities nor explanations. Leave proba and explain out.")
    horizon = model.horizon if request.horizon is None else request.horizon
    n = len(model.past.lengths) if batch is None else batch.n
    if n * horizon > STEPS:
        raise Problem(
            413,
            "too_many_steps",
            f"{n:,} series and {horizon:,} steps make {n * horizon:,}; at most {STEPS:,} are told at once.",
            param="horizon",
        )
    made = model.forecast(None, horizon=horizon, level=level or 0.8) if batch is None else None
    if batch is not None:
        values, half = model.ahead([cell[:, 0] for cell in batch.columns[HISTORY]], horizon, level or 0.8)
        made = Forecast(None, np.zeros((n, 0)), values, *model.bounds(values, half))
    assert made is not None
    names = [f"{model.target}+{h}" for h in range(1, horizon + 1)]
    told = []
    for i in range(n):
        said: dict[str, Any] = {} if made.ids is None else {"series": made.ids[i]}
        said["prediction"] = dict(zip(names, made.values[i].tolist(), strict=True))
        if batch is None:
            said["times"] = [str(t) for t in made.times[i]] if made.times.dtype.kind == "M" else made.times[i].tolist()
        if level is not None:
            low, high = (dict(zip(names, a[i].tolist(), strict=True)) for a in (made.low, made.high))
            said["interval"] = {"level": level, "low": low, "high": high}
        told.append(said)
    alone = request.rows is None and made.ids is None
    return told[0] if alone else told, n
