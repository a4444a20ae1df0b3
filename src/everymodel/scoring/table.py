"""Rows of any form, read by a schema into a Batch: the one door to every model.

Frames (pandas, polars, Arrow) are recognised by their attributes, never imported. One row given as a dict takes a short
way that makes no column-wise arrays, because a server answers one row at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError, SchemaError, TargetError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import cells, images, sequences
from everymodel.scoring.steps.base import Batch

MAX_FIELDS = 100  # offences listed in an error; a million-row file with a wrong column must not make a giant message
_POLICIES = ("warn", "error", "ignore")


class SchemaWarning(UserWarning):
    """Cells were read in a way that the caller should know of: an unseen category, a missing column imputed."""


# --- what a column allows --------------------------------------------------------------------------------------------


def allowed(column: Column) -> Any:
    """What a cell of the column may be, in words or as a list of levels."""
    if column.kind == "category":
        return list(column.levels[:20]) + (["..."] if len(column.levels) > 20 else [])
    if column.kind == "boolean":
        return list(column.levels) or ["false", "true"]
    if column.kind == "date":
        return f"a date written as {column.date_format}" if column.date_format else "a date (ISO 8601)"
    if column.kind == "number":
        seen = "" if column.low is None else f" (seen: {column.low:g} to {column.high:g})"
        return f"a {'whole ' if column.integer else ''}number{seen}"
    if column.kind == "image":
        height, width, channels = column.shape
        return f"an image (file, bytes, base64 text or array; read as {height} x {width} x {channels})"
    if column.kind == "sequence":
        wide = f" steps of {column.shape[1]} numbers" if column.shape[1] > 1 else " numbers"
        return f"a list of{wide}"
    return "text"


class _Reader:
    """A schema made ready for reading: one function per column and kind."""

    def __init__(self, schema: Schema):
        self.columns = schema.features
        self.names = [c.name for c in self.columns]
        self.codes = {c.name: {level: i for i, level in enumerate(c.levels)} for c in self.columns}
        self.numeric: list[tuple[str, Callable[[Any], float]]] = []
        self.levels: list[tuple[str, dict[str, int]]] = []
        self.texts: list[str] = []
        self.arrays = False  # images or sequences, which are read the long way
        for c in self.columns:
            if c.kind == "category":
                self.levels.append((c.name, self.codes[c.name]))
            elif c.kind in ("number", "boolean", "date"):
                self.numeric.append((c.name, _cell_reader(c)))
            elif c.kind in ("image", "sequence"):
                self.arrays = True
            else:
                self.texts.append(c.name)
        self.by_name = {c.name: c for c in self.columns}

    def row(self, row: Mapping[str, Any], policy: str) -> tuple[Batch, list[dict[str, Any]]] | None:
        """One complete row of good cells; None when anything is odd, and the long way must judge it."""
        out: dict[str, np.ndarray] = {}
        try:
            numbers = np.array([read(row[name]) for name, read in self.numeric])
            for i, (name, _) in enumerate(self.numeric):
                out[name] = numbers[i : i + 1]
            codes = []
            for name, table in self.levels:
                word = cells.text(row[name])
                codes.append(table[word] if word else -1)
            places = np.array(codes, dtype=np.int32)
            for i, (name, _) in enumerate(self.levels):
                out[name] = places[i : i + 1]
            for name in self.texts:
                value = row[name]
                if hasattr(value, "__len__") and value.__class__ is not str:
                    return None  # a column of cells, not one cell
                cell = np.empty(1, dtype=object)
                cell[0] = cells.text(value)
                out[name] = cell
        except (KeyError, ValueError, TypeError, OverflowError):
            return None
        return Batch(out, 1), []


def _cell_reader(column: Column) -> Callable[[Any], float]:
    if column.kind == "number":
        decimal, thousands, percent = column.decimal, column.thousands, column.percent

        def number(cell: Any) -> float:
            if cell.__class__ is float:
                if cell - cell == 0.0 or cell != cell:
                    return cell
            elif cell.__class__ is int:
                return float(cell)
            return cells.number(cell, decimal, thousands, percent)

        return number
    if column.kind == "date":
        return lambda cell: cells.date(cell, column.date_format)
    words = column.levels if len(column.levels) == 2 else ("false", "true")
    return lambda cell: cells.boolean(cell, words)


def _reader(schema: Schema) -> _Reader:
    made = schema.__dict__.get("_reader")
    if made is None:
        made = _Reader(schema)
        object.__setattr__(schema, "_reader", made)
    return made


# --- reading rows ----------------------------------------------------------------------------------------------------


def parse(
    schema: Schema,
    data: Any,
    *,
    missing_columns: str = "error",
    unseen: str | None = None,
    bad: str = "error",
    files: bool = True,
) -> tuple[Batch, list[dict[str, Any]]]:
    """Read rows by the schema.

    Parameters
    ----------
    data : pandas, polars or Arrow table; dict of single cells (one row) or of sequences (columns); list of dicts; 2-D
        array with the feature columns in the schema's order; list of cells where there is one column. Columns may come
        in any order; extra ones are ignored.
    missing_columns : "error", or "impute": a missing column counts as a column of missing cells, and is noted.
    unseen : what to do with categories never seen: "warn" (noted), "ignore", "error". Default: the schema's policy.
    bad : "error", or "missing": cells that cannot be read count as missing, and are noted (used at fit).
    files : whether cells of image columns may name files; a server says no.

    Returns
    -------
    batch : Batch of the feature columns.
    notes : list of dict with row (first one), field, came, allowed, action and count (of equal cells).

    Raises
    ------
    SchemaError
        with `fields` naming row, field, what came and what is allowed.
    """
    if isinstance(data, Batch):
        return data, []
    if isinstance(data, list | tuple) and len(schema.features) == 1 and all(isinstance(v, str | int) for v in data):
        data = {schema.features[0].name: list(data)}  # cells of the one column, such as ids of nodes
    policy = unseen or schema.unseen
    for name, value, choices in (
        ("missing_columns", missing_columns, ("error", "impute")),
        ("unseen", policy, _POLICIES),
        ("bad", bad, ("error", "missing")),
    ):
        if value not in choices:
            raise ParameterError(f"{name}={value!r} is not possible: expected one of {', '.join(choices)}.")
    reader = _reader(schema)
    row = data[0] if data.__class__ is list and len(data) == 1 else data
    if hasattr(row, "iloc") and hasattr(row, "columns") and len(row) == 1:  # pandas: one cut across, not one a column
        across = dict(zip(map(str, row.columns), row.iloc[0].tolist()))
        row = across if len(across) == len(row.columns) else row  # columns of one name must be told apart below
    if row.__class__ is dict and not reader.arrays:
        found = reader.row(row, policy)
        if found is not None:
            return found
    notes: list[dict[str, Any]] = []
    if reader.arrays and isinstance(data, Mapping) and _is_row(reader, data):
        data = [data]
    columns, n, absent = _columns(reader, data, notes)
    offences: list[dict[str, Any]] = []
    if absent:
        if missing_columns == "error":
            _raise_absent(reader, absent, columns, n)
        for name in absent:
            action = "every cell counts as missing"
            notes.append(_note(None, name, "no such column", allowed(reader.by_name[name]), action, n))
    out: dict[str, np.ndarray] = {}
    for column in reader.columns:
        values = columns.get(column.name)
        if values is None or column.name in absent:
            out[column.name] = _nothing(column, n)
            continue
        out[column.name] = _read_column(column, reader, values, policy, bad, notes, offences, files)
    if offences:
        raise SchemaError(_offence_text(offences), offences[:MAX_FIELDS])
    return Batch(out, n), notes


def _is_row(reader: _Reader, data: Mapping[str, Any]) -> bool:
    """Whether a dict whose cells may be arrays is one row: told by the first image or sequence in it."""
    for column in reader.columns:
        value = data.get(column.name)
        if value is None:
            continue
        if column.kind == "image":
            if isinstance(value, np.ndarray):
                return value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4))
            deep = isinstance(value, list | tuple) and len(value) and isinstance(value[0], list | tuple)
            return not isinstance(value, list | tuple) or bool(deep and not is_column(value[0][0]))
        if column.kind == "sequence":
            if isinstance(value, np.ndarray) and value.dtype != object:
                return value.ndim == 1 or (value.ndim == 2 and value.shape[1] == column.shape[1])
            first = value[0] if isinstance(value, list | tuple) and len(value) else None
            if isinstance(first, list | tuple | np.ndarray):
                return not isinstance(first, np.ndarray) and len(first) == column.shape[1] and not is_column(first[0])
            return isinstance(first, int | float)
    return False


def _note(row: int | None, field: str, came: Any, allowed: Any, action: str, count: int = 1) -> dict[str, Any]:
    return {"row": row, "field": field, "came": came, "allowed": allowed, "action": action, "count": count}


def _nothing(column: Column, n: int) -> np.ndarray:
    if column.kind == "category":
        return np.full(n, -1, dtype=np.int32)
    if column.kind in ("number", "boolean", "date"):
        return np.full(n, np.nan)
    if column.kind == "image":
        return np.zeros((n, *column.shape), dtype=np.uint8)
    if column.kind == "sequence":
        return sequences.stack([[[np.nan] * column.shape[1]]] * n, column.shape[1])[0]
    out = np.empty(n, dtype=object)
    out[:] = ""
    return out


def _read_column(
    column: Column,
    reader: _Reader,
    values: Any,
    policy: str,
    bad: str,
    notes: list[dict[str, Any]],
    offences: list[dict[str, Any]],
    files: bool,
) -> np.ndarray:
    values = _plain(values)
    if column.kind in ("image", "sequence"):
        return _read_arrays(column, values, bad, notes, offences, files)
    if column.kind == "category":
        codes = cells.encode_levels(values, reader.codes[column.name])
        if policy != "ignore":
            strange = np.flatnonzero(codes == -2)
            if len(strange):
                into = offences if policy == "error" else notes
                action = "refused" if policy == "error" else "treated as an unseen category"
                into.extend(_count(column, values, strange, action, cells.text))
        return codes
    if column.kind == "text":
        return cells.as_text(values)
    if column.kind == "number":
        read, wrong = cells.to_numbers(values, column.decimal, column.thousands, column.percent)
    elif column.kind == "date":
        read, wrong = cells.to_dates(values, column.date_format)
    else:
        words = column.levels if len(column.levels) == 2 else ("false", "true")
        read, wrong = cells.to_booleans(values, words)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        if bad == "error":
            offences.extend(_count(column, values, rows, "refused", None))
        else:
            notes.extend(_count(column, values, rows, "treated as missing", None))
            read = np.where(wrong, np.nan, read)
    return read


def _read_arrays(
    column: Column,
    values: Any,
    bad: str,
    notes: list[dict[str, Any]],
    offences: list[dict[str, Any]],
    files: bool,
) -> np.ndarray:
    """Images (n, h, w, c) or sequences (n,); cells that cannot be read are refused, or black (a NaN step) and noted."""
    listed = values.tolist() if hasattr(values, "iloc") else values
    if column.kind == "image":
        made, wrong = images.stack(listed, column.shape, files)
    else:
        made, wrong = sequences.stack(listed, column.shape[1])
    for row, why in wrong[:MAX_FIELDS]:
        if cells.blank(listed[row]):
            notes.append(_note(row, column.name, None, allowed(column), "treated as missing"))
            continue
        told = f"{_short(listed[row])} ({why})"
        into, action = (offences, "refused") if bad == "error" else (notes, "treated as missing")
        into.append(_note(row, column.name, told, allowed(column), action))
    return made


def _count(
    column: Column, values: Any, rows: np.ndarray, action: str, key: Callable[[Any], str] | None
) -> list[dict[str, Any]]:
    """One note per distinct offending cell, with its first row and how often it came."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows.tolist():
        cell = _cell(values, row)
        word = key(cell) if key else repr(cell)
        if word in found:
            found[word]["count"] += 1
        elif len(found) < MAX_FIELDS:
            found[word] = _note(row, column.name, _short(cell), allowed(column), action)
    return list(found.values())


def _cell(values: Any, row: int) -> Any:
    cell = values.iloc[row] if hasattr(values, "iloc") else values[row]
    return cell.item() if isinstance(cell, np.generic) and cell.dtype.kind in "iufbU" else cell


def _short(cell: Any) -> Any:
    """A cell as JSON can carry it, cut to a readable length."""
    if isinstance(cell, bool | int | None.__class__):
        return cell
    if isinstance(cell, float):
        return cell if cell - cell == 0.0 else str(cell)
    text = str(cell)
    return text if len(text) <= 80 else text[:77] + "..."


def _offence_text(offences: list[dict[str, Any]]) -> str:
    lines = []
    for o in offences[:3]:
        options = o["allowed"]
        options = f"one of {options}" if isinstance(options, list) else options
        times = f" ({o['count']} cells)" if o["count"] > 1 else ""
        lines.append(f"row {o['row']}, {o['field']}: came {o['came']!r}{times}, expected {options}")
    more = f" and {len(offences) - 3} more" if len(offences) > 3 else ""
    return f"The data does not fit the model: {'; '.join(lines)}{more}. Correct these cells, or leave them empty."


def _raise_absent(reader: _Reader, absent: list[str], columns: Mapping[str, Any], n: int) -> None:
    import difflib

    extra = [name for name in columns if name not in reader.by_name]
    hints = []
    for name in absent[:5]:
        near = [other for other in extra if other.lower() == name.lower()]
        near = near or difflib.get_close_matches(name, extra, n=1, cutoff=0.6)
        hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    fields = [
        {"row": None, "field": name, "came": None, "allowed": allowed(reader.by_name[name])}
        for name in absent[:MAX_FIELDS]
    ]
    raise SchemaError(
        f"The data lacks {'the column' if len(absent) == 1 else 'the columns'} {', '.join(hints)}{more}. "
        f'Add {"it" if len(absent) == 1 else "them"}, or pass missing_columns="impute" to treat every cell as missing.',
        fields,
    )


# --- forms of data ---------------------------------------------------------------------------------------------------


def form(data: Any) -> str:
    """What came in: "row", "columns", "rows", "pandas", "series", "polars", "arrow", "array" or "batch".

    Raises SchemaError for anything else.
    """
    if isinstance(data, Mapping):
        many = [is_column(v) for v in data.values()]
        return "columns" if many and all(many) else "row"
    if isinstance(data, list | tuple):
        return "rows"
    if isinstance(data, np.ndarray):
        return "array"
    if isinstance(data, Batch):
        return "batch"
    module = type(data).__module__.partition(".")[0]
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return "pandas"
    if hasattr(data, "iloc") and hasattr(data, "index"):
        return "series"
    if hasattr(data, "column_names") and hasattr(data, "column"):
        return "arrow"
    if module == "polars" and hasattr(data, "collect_schema") and not hasattr(data, "get_column"):
        raise SchemaError("A polars LazyFrame came; expected rows. Call .collect() first.")
    if hasattr(data, "get_column") and hasattr(data, "columns"):
        return "polars"
    raise SchemaError(
        f"Rows came as {type(data).__name__}; expected a pandas, polars or Arrow table, a dict (one row, or columns), "
        "a list of dicts, or a 2-D array."
    )


def is_column(value: Any) -> bool:
    """Whether a dict's value is a column of cells, not one cell."""
    if isinstance(value, str | bytes | Mapping):
        return False
    if isinstance(value, np.ndarray):
        return value.ndim in (1, 3, 4)  # many numbers, or many images
    if hasattr(value, "getbands"):  # a Pillow image
        return False
    return isinstance(value, list | tuple) or (hasattr(value, "__len__") and hasattr(value, "__getitem__"))


def _columns(reader: _Reader, data: Any, notes: list[dict[str, Any]]) -> tuple[dict[str, Any], int, list[str]]:
    """(column by name, number of rows, feature columns that are not there)."""
    kind = form(data)
    if kind == "row":
        columns: dict[str, Any] = {str(k): [v] for k, v in data.items()}
        n = 1
    elif kind == "series":
        columns = {str(k): [v] for k, v in data.items()}
        n = 1
    elif kind == "columns":
        columns = {str(k): v for k, v in data.items()}
        lengths = {len(v) for v in columns.values()}
        if len(lengths) > 1:
            raise SchemaError(f"The columns have different lengths: {sorted(lengths)}. Give each the same number.")
        n = lengths.pop()
    elif kind == "rows":
        return _from_rows(reader, data, notes)
    elif kind == "pandas":
        names = [str(c) for c in data.columns]
        _refuse_twins(names, reader)
        columns = dict.fromkeys(names)
        wanted = [i for i, name in enumerate(names) if name in reader.by_name]
        numbers = [i for i in wanted if reader.by_name[names[i]].kind == "number"]
        for places, block in cells.number_blocks(data, numbers):
            columns.update(zip([names[i] for i in places], block))
        columns.update({names[i]: data.iloc[:, i] for i in wanted if columns[names[i]] is None})
        n = len(data)
    elif kind == "polars":
        columns = {str(c): data.get_column(c) for c in data.columns}
        n = data.height
    elif kind == "arrow":
        names = [str(c) for c in data.column_names]
        _refuse_twins(names, reader)
        columns = {name: data.column(i) for i, name in enumerate(names)}
        n = data.num_rows
    else:
        if data.ndim != 2 or data.shape[1] != len(reader.names):
            raise SchemaError(
                f"An array of shape {data.shape} came; expected (rows, {len(reader.names)}) with the columns "
                f"{', '.join(reader.names[:8])}{', ...' if len(reader.names) > 8 else ''} in this order."
            )
        columns = {name: data[:, i] for i, name in enumerate(reader.names)}
        n = len(data)
    absent = [name for name in reader.names if name not in columns]
    if absent:
        stripped = {name.strip(): name for name in columns}
        for name in list(absent):
            if name in stripped:  # "age " instead of "age"
                columns[name] = columns[stripped[name]] if kind != "pandas" else data[_raw(data, stripped[name])]
                absent.remove(name)
    return columns, n, absent


def _raw(data: Any, name: str) -> Any:
    return next(c for c in data.columns if str(c) == name)


def _refuse_twins(names: Sequence[str], reader: _Reader) -> None:
    if len(set(names)) == len(names):
        return
    twins = sorted({name for name in names if names.count(name) > 1 and name in reader.by_name})
    if twins:
        raise SchemaError(f"The data has several columns called {twins[0]!r}. Rename or drop all but one.")


def _from_rows(
    reader: _Reader, rows: Sequence[Any], notes: list[dict[str, Any]]
) -> tuple[dict[str, Any], int, list[str]]:
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise SchemaError(
                f"Row {i} came as {type(row).__name__}; expected a dict of column name to cell.",
                [{"row": i, "field": None, "came": _short(row), "allowed": "a dict of column name to cell"}],
            )
    n = len(rows)
    empty = object()
    columns: dict[str, Any] = {str(k): None for row in rows[:1] for k in row}
    absent: list[str] = []
    for name in reader.names:
        values = [row.get(name, empty) for row in rows]
        gaps = [i for i, v in enumerate(values) if v is empty]
        if n and len(gaps) == n:
            absent.append(name)
            columns.pop(name, None)
            continue
        if gaps:  # JSON lines leave keys out where there is nothing to say, so this is a missing cell, not an error
            came, action = "no such key", "the cell counts as missing"
            notes.append(_note(gaps[0], name, came, allowed(reader.by_name[name]), action, len(gaps)))
            values = [None if v is empty else v for v in values]
        columns[name] = values
    return columns, n, absent


def _plain(values: Any) -> Any:
    """Arrow and polars columns of numbers or dates as NumPy arrays; the rest as it is."""
    if hasattr(values, "to_pylist") and hasattr(values, "type"):
        kind = str(values.type)
        if kind.startswith(("int", "uint", "float", "double", "halffloat", "timestamp", "date")):
            return np.asarray(values)  # a record batch's `to_numpy` refuses empty cells
        return values.to_pylist()
    if type(values).__module__.partition(".")[0] == "polars":
        kind = str(values.dtype)
        if kind.startswith(("Int", "UInt", "Float")):
            return np.asarray(values.to_numpy())
        if kind.startswith(("Datetime", "Date")):
            return np.asarray(values.to_numpy()).astype("datetime64[us]")
        return values.to_list()
    return values


# --- the target ------------------------------------------------------------------------------------------------------


def parse_target(schema: Schema, values: Any) -> np.ndarray:
    """Target cells as models learn them.

    Parameters
    ----------
    values : a column, or for several targets a frame, dict of columns or 2-D array.

    Returns
    -------
    y : classification (n,) int64 codes into schema.classes; regression (n,) or (n, t) float64; multilabel (n, k) 0/1.

    Raises
    ------
    TargetError
        for missing cells, labels that are not among the classes, and cells that are not numbers.
    """
    targets = [c for c in schema.columns if c.role == "target"]
    if schema.task == "multilabel" and "multilabel" in schema.note:
        return _marked(schema, values)
    if schema.task == "multilabel" or len(targets) > 1:
        several = _several(values, [c.name for c in targets])
        return np.column_stack([_target_column(schema, c, v) for c, v in zip(targets, several, strict=True)])
    if form_of_one(values) is not None:
        values = form_of_one(values)
    return _target_column(schema, targets[0] if targets else Column("target", "number", "target"), values)


def _marked(schema: Schema, values: Any) -> np.ndarray:
    """(n, k) 0/1 from one text column that lists a row's labels, such as "red|round"; no label is no mark."""
    separator = str(schema.note["multilabel"].get("separator", "|"))
    if form_of_one(values) is not None:
        values = form_of_one(values)
    places = {cells.text(label): i for i, label in enumerate(schema.classes)}
    lines = cells.as_text(_plain(values))
    y = np.zeros((len(lines), len(places)))
    for row, line in enumerate(lines.tolist()):
        for word in line.split(separator) if line else ():
            word = cells.text(word)
            if word and word not in places:
                raise TargetError(
                    f"The label {_short(word)!r} in row {row} is not one of "
                    f"{', '.join(map(str, schema.classes[:10]))}. The model can only be judged on labels that it knows."
                )
            if word:
                y[row, places[word]] = 1.0
    return y


def form_of_one(values: Any) -> Any:
    """The only column of a frame with one, else None."""
    if hasattr(values, "iloc") and hasattr(values, "columns") and len(values.columns) == 1:
        return values.iloc[:, 0]
    return None


def _several(values: Any, names: list[str]) -> list[Any]:
    if isinstance(values, Mapping):
        return [values[name] for name in names]
    if hasattr(values, "iloc") and hasattr(values, "columns"):
        found = [str(c) for c in values.columns]
        if set(names) <= set(found):
            return [values.iloc[:, found.index(name)] for name in names]
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise TargetError(f"Targets of shape {array.shape} came; expected (rows, {len(names)}): {', '.join(names)}.")
    return [array[:, i] for i in range(len(names))]


def _target_column(schema: Schema, column: Column, values: Any) -> np.ndarray:
    values = _plain(values)
    if schema.task in ("binary", "multiclass"):
        places = {cells.text(label): i for i, label in enumerate(schema.classes)}
        codes = cells.encode_levels(values, places).astype(np.int64)
        if (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            known = ", ".join(map(str, schema.classes[:10])) + (" ..." if len(schema.classes) > 10 else "")
            came = "is missing" if codes[row] == -1 else f"came as {_short(_cell(values, row))!r}"
            raise TargetError(
                f"The target {column.name!r} {came} in row {row} (and {int((codes < 0).sum()) - 1} more rows); "
                f"expected one of the classes {known}."
            )
        return codes
    if schema.task == "multilabel":
        words = column.levels if len(column.levels) == 2 else ("false", "true")
        read, wrong = cells.to_booleans(values, words)
    else:
        read, wrong = cells.to_numbers(values, column.decimal, column.thousands, column.percent)
    wrong = wrong | np.isnan(read)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        expected = "0 or 1" if schema.task == "multilabel" else "a number"
        raise TargetError(
            f"The target {column.name!r} came as {_short(_cell(values, row))!r} in row {row} "
            f"(and {int(wrong.sum()) - 1} more rows); expected {expected}. Drop or correct these rows."
        )
    return read
