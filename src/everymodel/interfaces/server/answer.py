"""From a request's bytes to an answer, without HTTP: decode, read the rows by the schema, run the pack once."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.interfaces.server.errors import Problem
from everymodel.scoring import Model, table


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):  # pyright: ignore[reportGeneralTypeIssues]
    """One row or many, and what to say about each."""

    row: dict[str, Any] | None = None
    rows: list[dict[str, Any]] | None = None
    proba: bool = False
    interval: bool | float = False
    explain: bool | int = False
    missing_columns: str = "error"
    unseen: str | None = None


_decode = msgspec.json.Decoder(PredictRequest).decode


def decode(body: bytes, max_rows: int) -> PredictRequest:
    """The request in `body`; raises Problem 400 for what is not JSON and 422 for JSON of the wrong form."""
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        param = path.rstrip("`").removeprefix("$").removeprefix(".") or None
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
    if (request.row is None) == (request.rows is None):
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


class Answerer:
    """A model and the words in which it answers."""

    def __init__(self, model: Model):
        self.model = model
        self.task = model.task
        self.classes = [c.item() if isinstance(c, np.generic) else c for c in (model.classes or ())]
        self.labels = [_word(c) for c in self.classes]

    def __call__(self, request: PredictRequest) -> tuple[dict[str, Any], int, int]:
        """(answer, rows, notes) for a decoded request."""
        one = request.row is not None
        rows = [request.row] if one else request.rows or []
        if not rows:
            return {"predictions": []}, 0, 0
        batch, notes = table.parse(
            self.model.schema,
            request.row if one else rows,
            missing_columns=request.missing_columns,
            unseen=request.unseen,
        )
        answers = self.model.answers(batch)
        told = self.tell(answers, request.proba, _level(request.interval))
        if request.explain is not False:
            top = None if request.explain is True else int(request.explain)
            for row, said in zip(rows, told):
                said["explanation"] = self.model.explain(row, top=top)
        if one:
            return ({**told[0], "notes": notes} if notes else told[0]), 1, len(notes)
        return ({"predictions": told, "notes": notes} if notes else {"predictions": told}), len(rows), len(notes)

    def tell(self, answers: np.ndarray, proba: bool, level: float | None) -> list[dict[str, Any]]:
        """One dict per row: prediction, and on request probabilities and interval."""
        decided = self.model.decide(answers)
        if self.task == "multilabel":
            names = self.labels
            told = [{"prediction": dict(zip(names, row))} for row in decided.tolist()]
        else:
            told = [{"prediction": value} for value in decided.tolist()]
        if proba:
            if self.task == "regression":
                raise CapabilityError("A regression model has no probabilities. Ask for an interval instead.")
            for said, row in zip(told, answers.tolist()):
                said["probabilities"] = dict(zip(self.labels, row))
        if level is not None:
            low, high = self.model.interval(answers, level)
            for said, a, b in zip(told, low.tolist(), high.tolist()):
                said["interval"] = {"level": level, "low": a, "high": b}
        return told


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
