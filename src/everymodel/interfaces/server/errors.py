"""One shape for everything that goes wrong, whatever the route:

{"error": {"type": "invalid_request", "code": "schema_mismatch", "message": "...", "param": "row.age",
           "fields": [{"row": 0, "field": "age", "came": "old", "allowed": "a number"}], "request_id": "..."}}

`type` is "invalid_request" (the caller can put it right) or "server_error"; `code` is a stable word for programs.
"""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import EverymodelError, SchemaError


class Problem(Exception):
    """An answer that is an error: HTTP status, stable code, message, and what it is about."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        fields: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param, self.fields, self.headers = param, fields or [], headers or {}

    def body(self, request_id: str) -> dict[str, Any]:
        return {
            "error": {
                "type": "server_error" if self.status >= 500 else "invalid_request",
                "code": self.code,
                "message": self.message,
                "param": self.param,
                "fields": self.fields,
                "request_id": request_id,
            }
        }


def problem(error: Exception, place: str = "row") -> Problem:
    """Any exception as a Problem; what we did not raise on purpose is not shown to the caller."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, SchemaError):
        return Problem(422, error.code, str(error), param=_param(error.fields, place), fields=error.fields)
    if isinstance(error, EverymodelError) and error.status < 500:
        status = 422 if error.status == 400 else error.status
        return Problem(status, error.code, str(error))
    return Problem(
        500, "internal_error", "The server failed on this request. Its log has the reason under the request id."
    )


def _param(fields: list[dict[str, Any]], place: str) -> str | None:
    """Where in the request the first offence is: row.age, rows[3].age."""
    if not fields or fields[0].get("field") is None:
        return place
    row = fields[0].get("row")
    where = f"{place}[{row}]" if place == "rows" and row is not None else place
    return f"{where}.{fields[0]['field']}"
