"""From a request's bytes to an answer, without HTTP: decode, read the rows by the schema, run the pack once."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec
import numpy as np

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import FREE_TASKS, PIXEL_TASKS, TASKS
from everymodel.interfaces.server import ahead
from everymodel.interfaces.server.errors import Problem
from everymodel.interfaces.server.openapi import gives_intervals, gives_probabilities
from everymodel.scoring import Model
from everymodel.scoring.explain import explain
from everymodel.scoring.graph_sets import GraphSetModel
from everymodel.scoring.steps.base import Batch

# An explanation asks the model for hundreds of answers.
EXPLAINED_ROWS = 100


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):  # pyright: ignore[reportGeneralTypeIssues]
    """One row or many, and what to say about each."""

    row: dict[str, Any] | None = None
    rows: list[dict[str, Any]] | None = None
    edges: list[Any] | None = None
    horizon: int | None = None
    proba: bool = False
    interval: bool | float = False
    explain: bool | int = False
    missing_columns: str = "error"
    unseen: str | None = None


_decode = msgspec.json.Decoder(PredictRequest).decode


def decode(body: bytes, max_rows: int) -> PredictRequest:
    """The request in `body`; raises Problem 400 for what is not JSON and 422 for JSON of the wrong form."""
    if not body.strip():
        raise Problem(400, "malformed_json", 'The body is empty; expected {"row": {...}} or {"rows": [{...}, ...]}.')
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        unknown = re.search(r"unknown field `(.*)`", message)
        param = unknown.group(1) if unknown else path.rstrip("`").removeprefix("$").removeprefix(".") or None
        raise Problem(
            422,
            "invalid_request_body",
            f'{message}. Expected {{"row": {{...}}}} or {{"rows": [{{...}}, ...]}}; /openapi.json has an example.',
            param=param,
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed_json", f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise Problem(400, "malformed_json", "The body is nested too deeply.") from None
    if (request.row is None) == (request.rows is None) and (request.horizon is None or request.row is not None):
        raise Problem(422, "invalid_request_body", 'Give either "row" (one) or "rows" (many).', param="row")
    if request.rows is not None and len(request.rows) > max_rows:
        raise Problem(
            413,
            "too_many_rows",
            f"The request has {len(request.rows)} rows; at most {max_rows} are taken at once. Send them in parts.",
            param="rows",
        )
    if request.missing_columns not in ("error", "impute"):
        raise Problem(
            422,
            "invalid_parameter",
            f'missing_columns={request.missing_columns!r}: expected "error" or "impute".',
            param="missing_columns",
        )
    if request.unseen not in (None, "warn", "error", "ignore"):
        raise Problem(
            422,
            "invalid_parameter",
            f'unseen={request.unseen!r}: expected "warn", "error" or "ignore".',
            param="unseen",
        )
    return request


class Answer(NamedTuple):
    """What goes back, and how much it was, for the counters."""

    body: dict[str, Any]
    rows: int
    notes: int


class Answerer:
    """A model and the words in which it answers."""

    def __init__(self, model: Model):
        self.model = model
        self.task = model.task
        self.classes = [c.item() if isinstance(c, np.generic) else c for c in (model.classes or ())]
        self.labels = [_word(c) for c in self.classes]

    def __call__(self, request: PredictRequest) -> Answer:
        """The answer to a decoded request."""
        if request.rows is not None and not request.rows:
            return Answer({"predictions": []}, 0, 0)
        if ahead.asked(self.model, request):
            return self._ahead(request)
        batch, notes = self.read(request)
        return self.say(request, batch, notes, self.model.answers(batch))

    def _ahead(self, request: PredictRequest) -> Answer:
        """A forecast as far as asked, with bounds where asked."""
        batch, notes = None, []
        if request.row is not None or request.rows is not None:
            batch, notes = self.read(request)
        told, n = ahead.ahead(self.model, request, batch, _level(request.interval))
        body = {"predictions": told} if isinstance(told, list) else told
        return Answer({**body, "notes": notes} if notes else body, n, len(notes))

    def read(self, request: PredictRequest) -> tuple[Batch, list[dict[str, Any]]]:
        """The rows of a request by the schema, and notes on what was taken in another way than it came."""
        # Always a list: a lone dict whose cells are all lists would be read as columns.
        rows = [request.row] if request.rows is None else request.rows
        told: dict[str, Any] = {"missing_columns": request.missing_columns, "unseen": request.unseen, "files": False}
        if request.edges is not None:
            if self.task not in TASKS:
                raise CapabilityError(f"This model ({self.task}) answers no nodes of a graph. Leave edges out.")
            if request.explain is not False:
                raise CapabilityError("Answers about new nodes are not explained: leave explain or edges out.")
            return self.model.read(rows, edges=request.edges, **told)
        if request.explain is not False and isinstance(self.model, GraphSetModel):
            raise CapabilityError("Answers about whole graphs are not explained: leave explain out.")
        return self.model.read(rows, **told)

    def say(self, request: PredictRequest, batch: Batch, notes: list[dict[str, Any]], answers: np.ndarray) -> Answer:
        """The raw answers of the pack, in the words that the request asked for."""
        told = self.tell(answers, request.proba, _level(request.interval))
        names = getattr(batch, "names", None)
        if names is not None:  # whole graphs: one answer for each, not for each row
            told = [{"graph": name, **one} for name, one in zip(names, told, strict=True)]
        top = _top(request.explain, batch.n)
        if top != 0:
            for said, why in zip(told, explain(self.model, batch, top=top)):
                said["explanation"] = why
        body = told[0] if request.rows is None else {"predictions": told}
        if notes:
            body["notes"] = notes
        return Answer(body, batch.n, len(notes))

    def tell(self, answers: np.ndarray, proba: bool, level: float | None) -> list[dict[str, Any]]:
        """One dict per row: prediction, and on request probabilities and interval; new columns where there are any."""
        if self.task in FREE_TASKS:
            return self._tell_free(answers, proba, level)
        if self.task in PIXEL_TASKS:
            if proba or level is not None:
                raise CapabilityError(
                    f"This model ({self.task}) has no probabilities and no intervals. Leave them out."
                )
            return [{"prediction": told} for told in self.model.told(answers)]  # type: ignore[attr-defined]
        decided = self.model.decide(answers)
        if decided.ndim == 2 and decided.shape[1] > 1:
            names = self.labels or self.model.targets
            told = [{"prediction": dict(zip(names, row))} for row in decided.tolist()]
        else:
            told = [{"prediction": value} for value in decided.reshape(-1).tolist()]
        if proba:
            if not gives_probabilities(self.model):
                raise CapabilityError(f"This model ({self.task}) has no probabilities. Leave proba out.")
            for said, row in zip(told, answers.tolist()):
                said["probabilities"] = dict(zip(self.labels, row))
        if level is not None:
            half = self._half_width(level)
            for said, value in zip(told, answers.reshape(-1).tolist()):
                said["interval"] = {"level": level, "low": value - half, "high": value + half}
        return told

    def _tell_free(self, answers: np.ndarray, proba: bool, level: float | None) -> list[dict[str, Any]]:
        """One dict per row: group, name and confidence; or normal or anomaly, with the score; or new columns."""
        if proba and not gives_probabilities(self.model):
            raise CapabilityError(f"This model ({self.task}) has no probabilities. Leave proba out.")
        if level is not None:
            self._half_width(level)
        details = {name: values.tolist() for name, values in self.model.details(answers).items()}
        rows = [dict(zip(details, row)) for row in zip(*details.values())]
        if self.task in ("reduce", "embed"):
            return [{"columns": row} for row in rows]
        decided = self.model.decide(answers).tolist()
        told = [{"prediction": value, **row} for value, row in zip(decided, rows)]
        if proba:
            for said, row in zip(told, answers.tolist()):
                said["probabilities"] = dict(zip(self.labels, row))
        return told

    def _half_width(self, level: float) -> float:
        if not gives_intervals(self.model):
            raise CapabilityError(f"This model ({self.task}) has no intervals. Leave interval out.")
        return self.model.half_width(level)


def _top(asked: bool | int, rows: int) -> int | None:
    """How many columns to name in an explanation: 0 none, None all."""
    if asked is False:
        return 0
    if asked is not True and asked < 1:
        raise ParameterError(f"explain={asked}: expected true, or how many columns to name (1 or more).")
    if rows > EXPLAINED_ROWS:
        raise ParameterError(f"explain: {rows} rows came; at most {EXPLAINED_ROWS} are explained in one request.")
    return None if asked is True else int(asked)


def _word(label: Any) -> str:
    """A class label as the name of a JSON field."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _level(asked: bool | float) -> float | None:
    if asked is False:
        return None
    level = 0.9 if asked is True else float(asked)
    if not 0 < level < 1:
        raise ParameterError(f"interval={asked!r}: expected true or a level between 0 and 1, such as 0.9.")
    return level
