"""The schema: what a table must look like for a model. It is read at fit, kept in the file and checked at predict."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from everymodel.core.errors import ModelFileError

# What a column holds. "constant" and "identifier" columns are described but never features.
# An "image" is bytes (height, width, channels), a "sequence" (steps, width) numbers.
COLUMN_KINDS = ("number", "boolean", "category", "date", "text", "image", "sequence", "identifier", "constant")
# What a column is for.
ROLES = ("feature", "target", "group", "time", "split", "segment", "ignored")
TASKS = ("regression", "binary", "multiclass", "multilabel")
# Without a target: find groups, oddities, few columns that stand for many, a map to look at.
FREE_TASKS = ("cluster", "anomaly", "reduce", "embed")
# With series instead of rows: what comes next.
SERIES_TASKS = ("forecast",)
# An answer for every step of a row: a tag for each word of a sentence.
STEP_TASKS = ("tag",)
# A sequence for every row, of another length than what was read.
WRITTEN_TASKS = ("translate",)
# An answer for every pixel of an image, or for every thing in it.
PIXEL_TASKS = ("segment", "locate")
# New data like those that were learnt from; a better image for an image.
MADE_TASKS = ("generate", "enhance")
# What to do next in an environment.
ACT_TASKS = ("act",)


@dataclass(frozen=True)
class Column:
    """One column of the raw table, as the user has it."""

    name: str
    kind: str
    role: str = "feature"
    levels: tuple[str, ...] = ()  # categories as text, most frequent first; boolean: (false word, true word)
    low: float | None = None  # numbers: smallest and largest seen; dates: in seconds since 1970
    high: float | None = None
    integer: bool = False  # every number seen was whole
    missing: float = 0.0  # share of missing cells seen at fit, 0 to 1
    decimal: str = "."  # how numbers are written where cells are text
    thousands: str = ""
    percent: bool = False  # cells carry a percent sign and were divided by 100
    date_format: str | None = None  # strptime format; None: ISO 8601 or a real date type
    reason: str = ""  # why the role is "ignored"
    shape: tuple[int, ...] = ()  # images: (height, width, channels); sequences: (usual steps, width)

    def to_dict(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, default in _DEFAULTS
            if (value := getattr(self, name)) != default
        }


# Only what differs from the default is written. (name and kind have no default, so they always are.)
_DEFAULTS = tuple((f.name, f.default) for f in fields(Column))


@dataclass(frozen=True)
class Schema:
    """Columns in the order of the table, the task, and what to do with what was never seen."""

    columns: tuple[Column, ...]
    task: str | None = None
    classes: tuple[Any, ...] = ()  # class labels in the order of probability columns (str, int, float or bool)
    unseen: str = "warn"  # policy for unseen categories: "warn" (treat as missing-like level), "error", "ignore"
    positive: Any = None  # binary: the class whose probability is reported first in words; None = classes[1]
    note: dict[str, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        # Readers made from a schema are kept on it (names with _); they hold functions and are made anew elsewhere.
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def features(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.role == "feature")

    @property
    def target(self) -> Column | None:
        return next((c for c in self.columns if c.role == "target"), None)

    def with_column(self, column: Column) -> Schema:
        """A copy in which the column of the same name is replaced."""
        return replace(self, columns=tuple(column if c.name == column.name else c for c in self.columns))

    def to_dict(self) -> dict[str, Any]:
        return {
            "columns": [c.to_dict() for c in self.columns],
            "task": self.task,
            "classes": list(self.classes),
            "unseen": self.unseen,
            "positive": self.positive,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Schema:
        """Rebuild from JSON; raises ModelFileError when it is not a schema."""
        try:
            columns = tuple(
                Column(**{k: tuple(v) if k in ("levels", "shape") else v for k, v in c.items()})
                for c in data["columns"]
            )
            schema = cls(
                columns,
                data.get("task"),
                tuple(data.get("classes", ())),
                data.get("unseen", "warn"),
                data.get("positive"),
                data.get("note", {}),
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ModelFileError(
                f"The file's schema cannot be read: {error}. It was not written by everymodel."
            ) from error
        for c in schema.columns:
            if c.kind not in COLUMN_KINDS or c.role not in ROLES or not isinstance(c.name, str):
                raise ModelFileError(f"The file's schema has a column {c.name!r} of kind {c.kind!r}, role {c.role!r}.")
            if c.kind in ("image", "sequence"):
                sides = 3 if c.kind == "image" else 2
                whole = all(type(s) is int and 0 < s <= 16_384 for s in c.shape)
                if len(c.shape) != sides or not whole or (c.kind == "image" and c.shape[2] not in (1, 3)):
                    raise ModelFileError(f"The file's schema gives the {c.kind} column {c.name!r} no possible shape.")
        return schema
