"""Long, plain CSV files: pandas' own parser, which reads a file in pieces on all cores since 3.1.

It is faster than Arrow's reader and needs less memory, as it fills the frame itself. But it guesses types piece by
piece and fills short rows up without a word, so what it made is checked here. Whatever is odd goes to the ordinary
readers.
"""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from everymodel.core.optional import installed
from everymodel.core.settings import Settings
from everymodel.workflow.read.content import Buffer
from everymodel.workflow.read.dialect import Dialect

CHUNK = 1 << 18  # bytes that stay in the cache
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def read_long(
    path: str, data: Buffer, dialect: Dialect, names: list[Any], nulls: list[str]
) -> tuple[Any, tuple[int, ...]]:
    """(frame as the ordinary readers would make it, or None where they must; columns that can only be text).

    Parameters
    ----------
    path, data : a file, and the same bytes mapped; they hold no quotation mark.
    """
    import pandas as pd

    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        return None, ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a first row that is too long
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # pieces of several types: looked at below
            frame: Any = pd.read_csv(
                path,
                sep=dialect.separator,
                header=None,
                names=names,
                index_col=False,
                skiprows=dialect.skip,
                decimal=dialect.decimal,
                dtype=dict.fromkeys(dialect.texts, "str"),
                na_values=nulls,
                keep_default_na=False,
                quoting=3,
                engine="c",
                encoding="utf-8",
                compression=None,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError, OSError):
        return None, ()
    # long rows are errors to this parser, so that a wrong number of separators means short ones
    if _count(data, dialect) != len(frame) * (len(names) - 1):
        return None, ()
    words = []
    for place in range(len(names)):
        column = frame[place]
        kind = column.dtype.kind
        if str(column.dtype) == "str":
            if place == 0 and column.str.startswith(" ", na=False).any():
                return None, ()  # the parser may lose a blank that a line starts with
            if place not in dialect.texts and installed("pyarrow"):
                first = column.first_valid_index()
                cell = "" if first is None else str(column[first])
                if cell.lower().startswith("0x"):  # whole numbers to Arrow
                    return None, ()
                made = _moments(column) if _DAY.match(cell) else None
                if made is not None:
                    frame[place] = made
        elif kind == "f" and column.isna().iloc[:100].all() and column.isna().all():
            frame[place] = np.full(len(frame), None, dtype=object)
        elif kind == "u":
            frame[place] = column.astype("float64")  # beyond 63 bits
        elif kind == "O":
            held = pd.api.types.infer_dtype(column, skipna=True)
            if held == "boolean":
                frame[place] = column.where(column.notna(), None)
            elif held in ("integer", "mixed-integer-float"):  # beyond 64 bits
                frame[place] = column.astype("float64")
            else:
                words.append(place)
    # a column that is numbers in one piece and text in another has lost how its numbers were written
    return (None, tuple(words)) if words else (frame, ())


def _count(data: Buffer, dialect: Dialect) -> int:
    """Separators below the header."""
    cells = np.frombuffer(data, dtype=np.uint8)
    mark, start = ord(dialect.separator), 0
    for _ in range(dialect.skip):
        start = data.find(b"\n", start) + 1

    def stretch(bounds: tuple[int, int]) -> int:
        found, same = 0, np.empty(CHUNK, dtype=bool)
        for at in range(*bounds, CHUNK):
            part = cells[at : min(at + CHUNK, bounds[1])]
            found += int(np.count_nonzero(np.equal(part, mark, out=same[: len(part)])))
        return found

    cores = Settings.load().cores()
    edges = np.linspace(start, len(cells), cores + 1).astype(int).tolist()
    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(stretch, pairwise(edges)))


def _moments(column: Any) -> Any:
    """A column of text as dates where Arrow's CSV reader would see dates in it, else None."""
    import pyarrow as pa

    array = pa.array(column)
    for one in (pa.date32(), *(pa.timestamp(unit, zone) for unit in ("s", "ns") for zone in (None, "UTC"))):
        try:
            return array.cast(one).to_pandas(date_as_object=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return None
