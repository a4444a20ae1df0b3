"""Every exception that everymodel raises on purpose.

    EverymodelError                   500
    ├── UserError                     400  something the caller can put right; safe to show
    │   ├── ReadError                 400  the data source cannot be read as a table
    │   ├── DataError                 422  the table was read, but cannot be learned from
    │   │   └── TargetError           422  the target column is missing, constant, empty, ...
    │   ├── SchemaError               422  rows do not fit the schema a model was fitted with
    │   ├── ParameterError            422  an option has a value it cannot have
    │   ├── ModelFileError            400  a .em file is damaged, hostile or from the future
    │   ├── NotInstalledError         501  an optional package is needed
    │   └── CapabilityError           409  this model cannot do that (no probabilities, ...)
    ├── PackError                     500  the packed model does not answer like its source
    ├── BudgetError                   503  no usable model within the time or memory given
    └── Interrupted                   503  stopped on request; what was done is kept

A message says what came, what was expected and what to do, in that order. `status` is the HTTP status that
a server answers with, `code` a stable word for programs, and `fields` (SchemaError) names the offending cells.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EverymodelError(Exception):
    """Root of the tree; catch this to catch all of ours."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"


class UserError(EverymodelError, ValueError):
    """The caller can put it right."""

    status = 400
    code = "invalid_request"


class ReadError(UserError):
    status = 400
    code = "unreadable_data"


class DataError(UserError):
    status = 422
    code = "unusable_data"


class TargetError(DataError):
    code = "unusable_target"


class SchemaError(UserError):
    """Rows do not fit the schema.

    `fields`: one dict per offence with `row` (0-based or None), `field`, `came`, `allowed`.
    """

    status = 422
    code = "schema_mismatch"

    def __init__(self, message: str, fields: list[dict[str, Any]] | None = None):
        super().__init__(message)
        self.fields = fields or []


class ParameterError(UserError):
    status = 422
    code = "invalid_parameter"


class ModelFileError(UserError):
    status = 400
    code = "invalid_model_file"


class NotInstalledError(UserError, ImportError):
    status = 501
    code = "not_installed"


class CapabilityError(UserError, AttributeError):
    # An AttributeError too, so that hasattr(model, "predict_proba") tells the truth.
    status = 409
    code = "not_supported"


class PackError(EverymodelError):
    code = "pack_mismatch"


class BudgetError(EverymodelError):
    status = 503
    code = "budget_exhausted"


class Interrupted(EverymodelError):
    status = 503
    code = "interrupted"
