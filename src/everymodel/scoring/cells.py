"""From cells to values: the one reading of dirty cells, used when understanding, training and answering.

Whole columns go through `as_text`, `to_numbers`, `to_dates`, `to_booleans` and `encode_levels`; one cell goes through
`text`, `number`, `date` and `boolean`, which raise ValueError for a cell that cannot be read. The column functions call
the cell functions once per distinct value, so both always agree. Nothing here imports pandas: its objects (and those of
polars and Arrow) are recognised by their attributes.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

# Spellings of "nothing is known here", lower case. "" is among them.
# fmt: off
NULL_WORDS: frozenset[str] = frozenset((
    "", "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "#null!", "nil", "none", "-",
    "--", "---", "–", "—", "?", "??", "missing", "(missing)", "(null)", "(none)", "1.#ind", "-1.#ind", "1.#qnan",
    "-1.#qnan", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#n/a n/a", "not available",
))
# fmt: on

# Words for (false, true) that make a column boolean without being told.
BOOLEAN_WORDS: tuple[tuple[str, str], ...] = (
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("off", "on"),
)
_FALSE = frozenset(pair[0] for pair in BOOLEAN_WORDS)
_TRUE = frozenset(pair[1] for pair in BOOLEAN_WORDS)

_SPACES = " \u00a0\u2007\u2009\u202f"
_CURRENCY = (
    r"(?:[$€£¥₹₽₩₺₴₫฿₪₿¢]|(?:US|A|C|CA|AU|NZ|HK|R)\$|USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|kr\.?|zł|Rs\.?)"
)
BLOCK = 1 << 22  # cells that are held twice at a time

_EPOCH = dt.datetime(1970, 1, 1)
_SECOND = dt.timedelta(seconds=1)
_NAN = float("nan")


# --- one cell -------------------------------------------------------------------------------------------------------


def blank(cell: Any) -> bool:
    """Whether a cell of images or sequences, where words are names of files, is empty: None, NaN or no text."""
    return cell is None or (isinstance(cell, float | str) and (cell != cell or cell == ""))


def missing(cell: Any) -> bool:
    """Whether a cell says nothing: None, NaN, NaT, NA or a null word."""
    if isinstance(cell, str):
        return len(cell) < 32 and cell.strip().lower() in NULL_WORDS
    if cell is None:
        return True
    if isinstance(cell, float):
        return cell != cell
    return _odd_missing(cell)


def _odd_missing(cell: Any) -> bool:
    """NaT, NA and NaN of types other than float: they differ from themselves, or refuse to say so."""
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):  # pandas.NA has no truth value; neither have arrays, which are not missing
        return type(cell).__name__ == "NAType"


def text(cell: Any) -> str:
    """The canonical text of a cell, "" for a missing one.

    Text is stripped; whole floats lose their ".0"; truth values are "true" and "false"; dates are ISO 8601; the
    parts of a list are joined by "|".
    """
    if isinstance(cell, str):
        cell = cell.strip()
        if len(cell) < 32:
            low = cell.lower()
            if low in NULL_WORDS:
                return ""
            if low == "true" or low == "false":
                return low
            if low.endswith(".0") and _WHOLE.fullmatch(low):
                return low[:-2]
        return cell
    if cell is None:
        return ""
    if cell.__class__ is float:
        return _text_of_float(cell)
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        return _text_of_float(cell)
    if isinstance(cell, bytes):
        return text(cell.decode("utf-8", "replace"))
    if _odd_missing(cell):
        return ""
    if isinstance(cell, dt.date | dt.time):  # datetime and pandas.Timestamp are dates too
        return _text_of_date(cell)
    if isinstance(cell, np.datetime64):
        return _text_of_date(cell.astype("datetime64[us]").item())
    if isinstance(cell, set | frozenset):
        cell = sorted(cell, key=str)
    if isinstance(cell, list | tuple | np.ndarray):  # labels or words: "red|round", as they are written in one cell
        return "|".join(filter(None, map(text, cell)))
    return text(str(cell))


_WHOLE = re.compile(r"[+-]?\d+\.0")


def _text_of_float(cell: float | np.floating) -> str:
    if cell != cell:
        return ""
    if cell.is_integer() and abs(cell) < 1e16:
        return str(int(cell))
    return str(cell) if isinstance(cell, np.floating) else repr(cell)  # a float32 is written as short as it is


def _text_of_date(cell: dt.date | dt.time) -> str:
    if isinstance(cell, dt.datetime) and not cell.tzinfo and (cell.hour, cell.minute, cell.second) == (0, 0, 0):
        return cell.date().isoformat()
    return cell.isoformat()


def _is_decimal(cell: Any) -> bool:
    """Whether a cell is a Decimal, without loading that module for tables that hold none."""
    made = sys.modules.get("decimal")
    return made is not None and isinstance(cell, made.Decimal)


def number(cell: Any, decimal: str = ".", thousands: str = "", percent: bool = False) -> float:
    """The number in a cell, NaN for a missing one.

    Parameters
    ----------
    decimal : the decimal mark of cells that are text.
    thousands : the mark between groups of digits in cells that are text, "" for none.
    percent : whether cells may carry a percent sign, which divides them by 100.

    Raises
    ------
    ValueError
        where the cell is neither a finite number nor missing.
    """
    if cell.__class__ is float and cell - cell == 0.0:  # finite, the common case
        return cell
    if isinstance(cell, str):
        if decimal == "." and not thousands:
            try:
                value = float(cell)
            except ValueError:
                return _number_of_text(cell, decimal, thousands, percent)
            if value - value == 0.0 and "_" not in cell:  # finite
                return value
        return _number_of_text(cell, decimal, thousands, percent)
    if isinstance(cell, float | int | np.floating | np.integer | np.bool_) or _is_decimal(cell):
        try:
            value = float(cell)
        except OverflowError:
            value = math.inf
        if value - value == 0.0 or value != value:
            return value
        raise ValueError("not a finite number")
    if cell is None or _odd_missing(cell):
        return _NAN
    if isinstance(cell, bytes):
        return number(cell.decode("utf-8", "replace"), decimal, thousands, percent)
    if isinstance(cell, dt.timedelta):
        return cell / _SECOND
    raise ValueError("not a number")


@lru_cache(maxsize=64)
def _body(decimal: str, thousands: str) -> re.Pattern[str]:
    """Pattern of an unsigned number, with sign and currency around it."""
    d = re.escape(decimal)
    tail = rf"(?:{d}\d*)?(?:[eE][+-]?\d+)?"
    forms = [rf"\d+{tail}", rf"{d}\d+(?:[eE][+-]?\d+)?"]
    if thousands:
        # groups of three, or of two before the last (India); a mark in the wrong place is not a number
        forms.insert(0, rf"\d{{1,3}}(?:{re.escape(thousands)}\d{{2,3}})*{re.escape(thousands)}\d{{3}}{tail}")
    return re.compile(rf"([+-]?)\s*(?:{_CURRENCY})?\s*([+-]?)\s*({'|'.join(forms)})\s*(?:{_CURRENCY})?", re.ASCII)


def _number_of_text(cell: str, decimal: str, thousands: str, percent: bool) -> float:
    """`number` for text that float() cannot or must not read."""
    if len(cell) > 64:
        raise ValueError("not a number")
    body = cell.strip()
    if body.lower() in NULL_WORDS:
        return _NAN
    body = body.replace("\u2212", "-").replace("\u2013", "-")
    for space in _SPACES[1:]:
        body = body.replace(space, " ")
    negative = False
    if body.startswith("(") and body.endswith(")"):  # as accountants write it
        negative, body = True, body[1:-1].strip()
    elif body.endswith("-"):
        negative, body = True, body[:-1].strip()
    if body.endswith("%"):
        if not percent:
            raise ValueError("a percentage where plain numbers are expected")
        body = body[:-1].rstrip()
    else:
        percent = False
    match = _body(decimal, " " if thousands in tuple(_SPACES) else thousands).fullmatch(body)
    if not match or (match[1] and match[2]) or (negative and (match[1] or match[2])):
        raise ValueError("not a number")
    digits = match[3]
    if thousands:
        digits = digits.replace(" " if thousands in tuple(_SPACES) else thousands, "")
    value = float(digits.replace(decimal, ".") if decimal != "." else digits)
    if value - value != 0.0:
        raise ValueError("not a finite number")
    if percent:
        value /= 100.0
    return -value if negative or match[1] == "-" or match[2] == "-" else value


def date(cell: Any, format: str | None = None) -> float:
    """Seconds since 1970 UTC of a date cell, NaN for a missing one; times without a zone count as UTC.

    Parameters
    ----------
    format : strptime format of cells that are text; several are joined by "|" and tried in turn. ISO 8601 is always
        read. None: ISO 8601 only.

    Raises
    ------
    ValueError
        where the cell is neither a date nor missing.
    """
    if isinstance(cell, str):
        body = cell.strip()
        if len(body) < 32 and body.lower() in NULL_WORDS:
            return _NAN
        if len(body) > 64:
            raise ValueError("not a date")
        if format:
            for parser in _date_parsers(format):
                value = parser(body)
                if value is not None:
                    return value
        if len(body) < 8 or not body[:4].isdigit():
            raise ValueError("not a date")
        return _seconds(dt.datetime.fromisoformat(body))
    if cell is None or (isinstance(cell, float | np.floating) and cell != cell):
        return _NAN
    if isinstance(cell, dt.datetime):
        return _NAN if cell != cell else _seconds(cell)
    if isinstance(cell, dt.date):
        return (cell - _EPOCH.date()).days * 86400.0
    if isinstance(cell, np.datetime64):
        return _NAN if np.isnat(cell) else cell.astype("datetime64[us]").astype(np.int64) / 1e6
    if isinstance(cell, int | float | np.integer | np.floating) and not isinstance(cell, bool) and format:
        return date(text(cell), format)  # 20240131 or 2024, read as the text it would be
    if _odd_missing(cell):
        return _NAN
    raise ValueError("not a date")


def _seconds(moment: dt.datetime) -> float:
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return (moment - _EPOCH) / _SECOND


_MONTHS = ["january", "february", "march", "april", "may", "june", "july"]
_MONTHS += ["august", "september", "october", "november", "december"]
_MONTH = {name: i for i, name in enumerate(_MONTHS, 1)} | {name[:3]: i for i, name in enumerate(_MONTHS, 1)}
_MONTH["sept"] = 9
_PARTS = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>0?[1-9]|1[0-2])",
    "d": r"(?P<d>0?[1-9]|[12]\d|3[01])",
    "H": r"(?P<H>[01]?\d|2[0-3])",
    "I": r"(?P<I>0?[1-9]|1[0-2])",
    "M": r"(?P<M>[0-5]?\d)",
    "S": r"(?P<S>[0-5]?\d)",
    "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>[AaPp]\.?[Mm]\.?)",
    "b": r"(?P<b>[A-Za-z]{3,4}\.?)",
    "B": r"(?P<b>[A-Za-z]{3,9})",
    "z": r"(?P<z>Z|[+-]\d{2}:?\d{2})",
    "a": r"[A-Za-z]{2,4}\.?",
    "A": r"[A-Za-z]{6,9}",
    "%": "%",
}


@lru_cache(maxsize=64)
def _date_parsers(format: str) -> tuple[Callable[[str], float | None], ...]:
    return tuple(_date_parser(one) for one in format.split("|"))


def _date_parser(format: str) -> Callable[[str], float | None]:
    """A reader of one strptime format. Not strptime itself: that obeys the machine's locale and takes 6 us."""
    pattern, i = "", 0
    while i < len(format):
        if format[i] == "%" and i + 1 < len(format):
            if format[i + 1] not in _PARTS:
                raise ValueError(f"the date format {format!r} has the unknown part %{format[i + 1]}")
            pattern, i = pattern + _PARTS[format[i + 1]], i + 2
        else:
            pattern, i = pattern + (r"\s+" if format[i] == " " else re.escape(format[i])), i + 1
    match_whole = re.compile(pattern, re.ASCII).fullmatch

    def parse(body: str) -> float | None:
        match = match_whole(body)
        if match is None:
            return None
        got = match.groupdict()
        year = int(got["Y"]) if got.get("Y") else 1970
        if got.get("y"):  # two digits: 1969 to 2068, as POSIX has it
            year = int(got["y"]) + (1900 if int(got["y"]) > 68 else 2000)
        month = int(got.get("m") or 1)
        if got.get("b"):
            month = _MONTH.get(got["b"].lower().rstrip("."), 0)
        hour = int(got.get("H") or 0)
        if got.get("I"):
            hour = int(got["I"]) % 12 + (12 if (got.get("p") or "a")[0] in "pP" else 0)
        micro = int((got.get("f") or "0").ljust(6, "0")[:6])
        try:
            moment = dt.datetime(year, month, int(got.get("d") or 1), hour, int(got.get("M") or 0), 0, micro)
        except ValueError:
            return None
        value = (moment - _EPOCH) / _SECOND + int(got.get("S") or 0)
        zone = got.get("z")
        if zone and zone != "Z":
            offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
            value -= offset if zone[0] == "+" else -offset
        return value

    return parse


def boolean(cell: Any, words: Sequence[str] = ("false", "true")) -> float:
    """0.0 or 1.0 for a truth value, NaN for a missing cell.

    Parameters
    ----------
    words : (false word, true word) of the column; they win over the common words, which are read as well.

    Raises
    ------
    ValueError
        where the cell is none of these.
    """
    if cell is True or cell is False:
        return float(cell)
    word = text(cell)
    if not word:
        return _NAN
    if word == words[1]:
        return 1.0
    if word == words[0]:
        return 0.0
    low = word.lower()
    if low == words[1].lower():
        return 1.0
    if low == words[0].lower():
        return 0.0
    if low in _TRUE or low == "1":
        return 1.0
    if low in _FALSE or low == "0":
        return 0.0
    raise ValueError(f"neither {words[0]!r} nor {words[1]!r}")


# --- whole columns --------------------------------------------------------------------------------------------------


def _dtype_kind(values: Any) -> str:
    """NumPy's letter for the kind of values; "O" where it has none. Works for arrays and pandas columns."""
    kind = getattr(getattr(values, "dtype", None), "kind", None)
    return kind if isinstance(kind, str) else "O"


def _objects(values: Any) -> np.ndarray:
    """(n,) object array of the cells, whatever holds them."""
    if isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1:
        return values
    if hasattr(values, "to_pylist"):  # Arrow
        values = values.to_pylist()
    elif hasattr(values, "to_list"):  # pandas, polars
        values = values.to_list()
    elif isinstance(values, np.ndarray):
        values = values.tolist() if values.dtype.kind not in "Mm" else list(values)
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):  # np.array(values) would turn equal-length lists into a matrix
        out[i] = value
    return out


def number_blocks(frame: Any, places: Sequence[int]) -> Iterator[tuple[list[int], np.ndarray]]:
    """Those of a pandas frame's columns that hold plain NumPy numbers, many at a time, as one call each takes long.

    Yields
    ------
    (k of the `places`, their cells (k, n) in the columns' own type); other columns do not come.
    """
    types = list(frame.dtypes)
    groups: dict[Any, list[int]] = {}
    for place in places:
        if isinstance(types[place], np.dtype) and types[place].kind in "iuf":
            groups.setdefault(types[place], []).append(place)
    most = max(1, BLOCK // max(len(frame), 1))
    for group in groups.values():
        for start in range(0, len(group), most):
            some = group[start : start + most]
            if len(some) < 4:
                for place in some:
                    yield [place], frame.iloc[:, place].to_numpy()[None]
            else:
                yield some, np.ascontiguousarray(frame.iloc[:, some].to_numpy().T)


def distinct(values: Any) -> tuple[np.ndarray, list[Any]]:
    """Codes (n,) int64 and the list of distinct cells, so that cells[codes] are the values; -1 marks a missing cell.

    Cells that are equal but are written differently (True, 1 and 1.0) stay apart.
    """
    kind = _dtype_kind(values)
    factorize = getattr(values, "factorize", None)
    if factorize is not None and (kind in "iufbMm" or str(values.dtype) in ("str", "string", "category")):
        codes, found = factorize()
        return np.asarray(codes, dtype=np.int64), list(found)
    if isinstance(values, np.ndarray) and kind in "iufbUS":
        found, codes = np.unique(values, return_inverse=True)
        return codes.reshape(-1).astype(np.int64), found.tolist()
    cells = _objects(values)
    places: dict[Any, int] = {}
    codes = np.empty(len(cells), dtype=np.int64)
    types = set(map(type, cells))
    if types <= {str, type(None)}:
        for i, cell in enumerate(cells):
            codes[i] = -1 if cell is None else places.setdefault(cell, len(places))
        return codes, list(places)
    found_cells: list[Any] = []
    for i, cell in enumerate(cells):
        if cell is None or cell != cell if isinstance(cell, float | str | int | type(None)) else _odd_missing(cell):
            codes[i] = -1
            continue
        try:
            key = (cell.__class__, cell)
            place = places.get(key, -1)
        except TypeError:  # lists, dicts, arrays
            key = (cell.__class__, repr(cell))
            place = places.get(key, -1)
        if place < 0:
            place = places[key] = len(found_cells)
            found_cells.append(cell)
        codes[i] = place
    return codes, found_cells


def as_text(values: Any) -> np.ndarray:
    """(n,) object array: the canonical text of each cell (see `text`), "" for missing ones."""
    codes, cells = distinct(values)
    words = np.empty(len(cells) + 1, dtype=object)
    for i, cell in enumerate(cells):
        words[i] = text(cell)
    words[-1] = ""  # code -1
    return words[codes]


def _each(values: Any, convert: Callable[[Any], float]) -> tuple[np.ndarray, np.ndarray]:
    """(values, bad), both (n,): `convert` applied once per distinct cell."""
    codes, cells = distinct(values)
    table = np.full(len(cells) + 1, np.nan)
    wrong = np.zeros(len(cells) + 1, dtype=bool)
    for i, cell in enumerate(cells):
        try:
            table[i] = convert(cell)
        except ValueError:
            wrong[i] = True
    return table[codes], wrong[codes]


def to_numbers(
    values: Any, decimal: str = ".", thousands: str = "", percent: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a column.

    Returns
    -------
    values : (n,) float64, NaN where missing or bad.
    bad : (n,) bool, cells that are neither finite numbers nor missing. Infinite cells are bad: no model can use them.
    """
    kind = _dtype_kind(values)
    if kind in "iufb":
        out = _floats(values)
    elif kind == "m":
        seconds = np.asarray(values).astype("timedelta64[us]")
        out = np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64) / 1e6)
    else:
        return _each(values, lambda cell: number(cell, decimal, thousands, percent))
    bad = np.isinf(out)
    if bad.any():
        out = np.where(bad, np.nan, out)
    return out, bad


def _floats(values: Any) -> np.ndarray:
    """(n,) float64 of a numeric column; missing values of pandas' nullable types become NaN."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    if hasattr(values, "to_numpy"):
        try:
            return np.array(values.to_numpy(dtype=np.float64, na_value=np.nan))
        except TypeError:  # not pandas
            return np.array(values.to_numpy(), dtype=np.float64)
    return np.array(values, dtype=np.float64)


def to_dates(values: Any, format: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Dates of a column: (seconds since 1970 UTC (n,) float64 with NaN, bad (n,) bool). See `date`."""
    if _dtype_kind(values) == "M":
        if not isinstance(values, np.ndarray):  # zoned pandas columns become UTC by this, others stay as they are
            values = values.to_numpy(dtype="datetime64[us]")
        stamps = values.astype("datetime64[us]")
        out = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)
        return out, np.zeros(len(out), dtype=bool)
    return _each(values, lambda cell: date(cell, format))


def to_booleans(values: Any, words: Sequence[str] = ("false", "true")) -> tuple[np.ndarray, np.ndarray]:
    """Truth values of a column: (0/1/NaN (n,) float64, bad (n,) bool). See `boolean`."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "b":
        return values.astype(np.float64), np.zeros(len(values), dtype=bool)
    return _each(values, lambda cell: boolean(cell, words))


def encode_levels(values: Any, levels: Sequence[str] | dict[str, int]) -> np.ndarray:
    """(n,) int32 codes of a column's cells: the place in `levels`, -1 for a missing cell, -2 for an unseen level.

    Parameters
    ----------
    levels : canonical texts in order, or the dict from text to code where the caller keeps one.
    """
    table = levels if isinstance(levels, dict) else {level: i for i, level in enumerate(levels)}
    codes, cells = distinct(values)
    places = np.full(len(cells) + 1, -1, dtype=np.int32)
    for i, cell in enumerate(cells):
        word = text(cell)
        places[i] = table.get(word, -2) if word else -1
    return places[codes]
