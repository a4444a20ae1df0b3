"""Delimited text (CSV, TSV and kin) to a frame: Arrow's reader where it is installed, pandas' C reader otherwise.

Both are fast and strict. What they refuse is repaired here, counted and said, and given to them again.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from typing import Any

from everymodel.core.errors import ReadError
from everymodel.core.finding import Finding
from everymodel.core.optional import installed
from everymodel.workflow.read.codes import finding
from everymodel.workflow.read.content import Buffer
from everymodel.workflow.read.dialect import Dialect, long_cells, sniff
from everymodel.workflow.read.parallel import read_long

SAMPLE = 1 << 18
LONG = 1 << 26  # bytes from which it pays to look at the first block before the rest is read
WIDE = 1000  # columns
MOST_COLUMNS = 1_000_000
# Spellings that both readers take for a missing value. Others (?, -, none) stay text and are counted by understanding.
NULLS = [
    "",
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "NULL",
    "null",
    "<NA>",
    "#N/A",
    "#NA",
    "1.#IND",
    "-1.#IND",
]
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_delimited(
    data: Buffer,
    name: str,
    *,
    separator: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    rows: int | None = None,
    path: str = "",
) -> tuple[Any, dict[str, Any], list[Finding]]:
    """(frame, details, findings) of delimited text.

    Parameters
    ----------
    path : file that holds just these bytes, "" where there is none; long files are read from it.

    Raises
    ------
    ReadError
        where it is empty, no text, or so uneven that no separator can be meant.
    """
    findings: list[Finding] = []
    raw = data
    data, found = to_utf8(data, name, encoding, findings)
    sample = _sample(data, name)
    if not sample.strip():
        raise ReadError(f"{name} is empty: expected a header row and rows of data. Check how it was written.")
    dialect = sniff(sample, separator, decimal, header)
    details = {"separator": dialect.separator, "decimal": dialect.decimal, "encoding": found}
    details["header"] = dialect.names is not None
    if dialect.preamble:
        text = f"{dialect.preamble} lines above the table were skipped."
        findings.append(finding("skipped-lines", "info", text, lines=dialect.preamble))
    if dialect.names is None and header is None:
        text = "The first row looks like data, so columns are called column_1, column_2, ..."
        findings.append(finding("no-header", "warning", text, "Pass header=True if it names the columns."))
    reader = _by_arrow if installed("pyarrow") else _by_pandas
    quote = b'"' in data if isinstance(data, bytes) else data.find(b'"') >= 0
    try:
        if dialect.padded or dialect.separator == " ":
            raise _Uneven("blanks beside separators")
        frame = None
        if path and data is raw and rows is None and not quote and len(data) > LONG:
            frame, words = read_long(path, data, dialect, list(range(len(_names(dialect)))), NULLS)
            dialect.texts = tuple(sorted({*dialect.texts, *words}))
        if frame is None:
            frame = reader(data, dialect, quote, rows)
        if quote and rows is None and _swallowed(data, dialect, frame):
            raise _Uneven("lines within quotation marks")
    except _NotText:
        data, details["encoding"] = _mixed(data, findings)
        frame = _repaired(reader, data, dialect, name, findings, rows)
    except _Uneven:
        frame = _repaired(reader, data, dialect, name, findings, rows)
    names = _names(dialect)
    if names[-1] == "" and len(names) > 1 and frame.iloc[:, -1].isna().all():  # a separator at the end of each row
        frame, names = frame.iloc[:, :-1], names[:-1]
    frame.columns = unique_names(names, findings)
    return frame, details, findings


def _swallowed(data: Buffer, dialect: Dialect, frame: Any) -> bool:
    """Whether stray quotation marks may have made one cell of many rows.

    That is so where there are more lines than rows, and the marks are odd in number or every line by itself is a row.
    """
    texts = [
        frame.iloc[:, i] for i in range(frame.shape[1]) if str(frame.dtypes.iloc[i]) in ("str", "string", "object")
    ]
    if not any(column.str.contains(r"[\r\n]", na=False).any() for column in texts if len(column)):
        return False
    n, whole = len(frame), bytes(data)
    if whole.count(b'"') % 2 == 1:
        return True
    marks = len(_names(dialect)) - 1
    mark = dialect.separator.encode()
    body = whole.splitlines()[dialect.skip :]
    return len(whole) < 1 << 26 and len(body) > n and all(line.count(mark) == marks for line in body if line.strip())


class _Uneven(Exception):
    """Rows have different numbers of cells, or quotation marks do not match."""


class _NotText(Exception):
    """Bytes that are not UTF-8 after all."""


# --- bytes to UTF-8 --------------------------------------------------------------------------------------------------


def to_utf8(data: Buffer, name: str, encoding: str | None, findings: list[Finding]) -> tuple[Buffer, str]:
    """(UTF-8 bytes without marks and NULs, the encoding found)."""
    head = bytes(data[: 1 << 20])
    if encoding is None:
        for mark, word in _BOMS:
            if head.startswith(mark):
                if word == "utf-8":
                    data = data[len(mark) :]
                    encoding = "utf-8"
                else:
                    data, encoding = _decoded(data[len(mark) :], word, name), word
                break
    elif codecs_name(encoding, name) != "utf-8":
        data = _decoded(data[:], encoding, name)
        data = data.removeprefix(codecs.BOM_UTF8)
    elif head.startswith(codecs.BOM_UTF8):
        data = data[3:]
    if encoding is None:
        even, odd = head[0:4096:2].count(0), head[1:4096:2].count(0)
        half = max(len(head[:4096]) // 2, 1)
        if odd > 0.3 * half and even < 0.05 * half:
            data, encoding = _decoded(data[:], "utf-16-le", name), "utf-16-le"
        elif even > 0.3 * half and odd < 0.05 * half:
            data, encoding = _decoded(data[:], "utf-16-be", name), "utf-16-be"
    if data.find(b"\0") >= 0:
        whole = bytes(data)
        count = whole.count(0)
        if count > max(0.1 * len(whole), 16):
            raise ReadError(f"{name} is not text: {count} of its {len(whole)} bytes are zero. Expected a table.")
        data = whole.replace(b"\0", b"")
        text = f"{count} NUL bytes were removed."
        findings.append(finding("nul-bytes", "warning", text, "Check that the file was copied whole.", count=count))
    head = bytes(data[:8192])
    strange = sum(b < 9 or 13 < b < 32 for b in head)
    if strange > 0.05 * max(len(head), 1):
        raise ReadError(f"{name} is not text: it starts with {head[:8]!r}. Expected a table such as CSV or Parquet.")
    if encoding is None:
        if not _is_utf8(bytes(data[: 1 << 20]), len(data) > 1 << 20):
            return _mixed(data, findings)
        encoding = "utf-8"
    return data, encoding


def codecs_name(encoding: str, name: str) -> str:
    """Python's name of an encoding."""
    try:
        return codecs.lookup(encoding).name.replace("utf-8-sig", "utf-8")
    except LookupError as error:
        raise ReadError(
            f"encoding={encoding!r} for {name} is not known. Expected utf-8, latin-1, cp1252, utf-16, ..."
        ) from error


def _decoded(data: bytes, encoding: str, name: str) -> bytes:
    try:
        return data.decode(encoding).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        raise ReadError(f"{name} is not {encoding}: {error}. Leave encoding out to have it found.") from error


def _is_utf8(head: bytes, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, not cut)
    except UnicodeDecodeError:
        return False
    return True


def _mixed(data: Buffer, findings: list[Finding]) -> tuple[bytes, str]:
    """Lines that are not UTF-8 are read as Windows-1252; where no line beyond ASCII is UTF-8, the file is all that."""
    out, strange, good = [], 0, 0
    for line in bytes(data).split(b"\n"):
        if line.isascii():
            out.append(line)
            continue
        try:
            line.decode("utf-8")
            out.append(line)
            good += 1
        except UnicodeDecodeError:
            strange += 1
            try:
                out.append(line.decode("cp1252").encode())
            except UnicodeDecodeError:
                out.append(line.decode("latin-1").encode())
    if good:
        text = f"{strange} lines are not UTF-8, unlike {good} others; they were read as Windows-1252."
        advice = "Check accented letters in them."
        findings.append(finding("mixed-encodings", "warning", text, advice, lines=strange))
        return b"\n".join(out), "utf-8 and cp1252"
    return b"\n".join(out), "cp1252"


def _sample(data: Buffer, name: str) -> str:
    """Whole lines from the top: as many as fit, at least two where there are two."""
    size = SAMPLE
    while True:
        head = bytes(data[:size])
        line = max(map(len, head[: 1 << 25].splitlines()[:2]), default=0)
        if line > 1 << 23 and max(head.count(mark) for mark in b",;\t|") > MOST_COLUMNS:
            raise ReadError(
                f"{name} starts with a line of more than {MOST_COLUMNS} cells: no table. Does it lack line ends?"
            )
        if size >= len(data) or size >= 1 << 26:
            break
        if head.count(b"\n") >= 2 or (head.count(b"\r") >= 2 and b"\n" not in head):
            head = head[: max(head.rfind(b"\n"), head.rfind(b"\r") if b"\n" not in head else -1) + 1]
            break
        size *= 8
    return head.decode("utf-8", "replace")


# --- the two readers -------------------------------------------------------------------------------------------------


def unique_names(names: list[str], findings: list[Finding]) -> list[str]:
    """Names that are all there and all different; what was changed is said."""
    taken: set[str] = set()
    out, changed = [], {}
    wanted = set(names)
    for i, name in enumerate(names, 1):
        new = name if name.strip() else f"column_{i}"
        k = 2
        while new in taken or (new != name and new in wanted):
            new, k = f"{name or f'column_{i}'}_{k}", k + 1
        if new != name:
            changed[f"{i}:{name}"] = new
        taken.add(new)
        out.append(new)
    if changed:
        shown = ", ".join(f"{old.partition(':')[2]!r} -> {new!r}" for old, new in list(changed.items())[:5])
        text = f"{len(changed)} columns without a name, or with one that occurs twice, were renamed: {shown}."
        findings.append(finding("renamed-columns", "warning", text, "Give each column its own name.", changed.values()))
    return out


def _names(dialect: Dialect) -> list[str]:
    return dialect.names if dialect.names is not None else [f"column_{i + 1}" for i in range(dialect.width)]


def _by_arrow(data: Buffer, dialect: Dialect, quote: bool, rows: int | None) -> Any:
    """Arrow's reader: all cores, a type guessed from the first block and widened where later blocks need it."""
    import pyarrow as pa
    import pyarrow.csv as pc

    places = [f"c{i}" for i in range(len(_names(dialect)))]  # names may repeat; they are set at the end
    words = pa.large_string()  # what a frame holds, so that nothing is copied into it
    types: dict[str, Any] = {places[j]: words for j in dialect.texts}
    long = rows is None and len(data) > LONG
    early: set[str] | None = None  # columns that are words in the first block already
    wide = len(places) > WIDE  # each column of each block costs, and so does each column that a frame holds by itself
    block = 1 << 24 if wide else 1 << 22 if long else 1 << 20
    for _ in range(60):
        reading = pc.ReadOptions(
            column_names=places, skip_rows=dialect.skip, block_size=block, use_threads=long or not wide
        )
        parsing = pc.ParseOptions(
            delimiter=dialect.separator, quote_char='"' if quote else False, newlines_in_values=quote
        )
        converting = pc.ConvertOptions(
            column_types={**dict.fromkeys(early or (), words), **types},
            null_values=NULLS,
            strings_can_be_null=True,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
            decimal_point=dialect.decimal,
        )
        try:
            source = pa.BufferReader(pa.py_buffer(data))
            if long and early is None:
                early = set()
                with pc.open_csv(pa.BufferReader(pa.py_buffer(data)), reading, parsing, converting) as stream:
                    early = {field.name for field in stream.schema if pa.types.is_string(field.type)}
                continue
            if rows is None:
                table = pc.read_csv(source, reading, parsing, converting)
            else:
                batches, n = [], 0
                with pc.open_csv(source, reading, parsing, converting) as stream:
                    for batch in stream:
                        batches.append(batch)
                        n += len(batch)
                        if n >= rows:
                            break
                    table = pa.Table.from_batches(batches, stream.schema).slice(0, rows)
            times = [field.name for field in table.schema if pa.types.is_time(field.type)]
            if not times:
                break
            types.update(dict.fromkeys(times, words))  # no type in pandas: they stay as they are written
        except pa.ArrowInvalid as error:
            message = str(error)
            wrong = re.search(r"In CSV column #(\d+): CSV conversion error to ([\w\[\]]+)", message)
            if "invalid UTF8" in message:
                raise _NotText from error
            if wrong:
                place = places[int(wrong[1])]
                numeric = wrong[2] in ("int64", "null") and place not in types
                types[place] = pa.float64() if numeric else words
                if len(types) > 40 + len(
                    dialect.texts
                ):  # many late surprises: all as text, understanding reads the cells
                    types = dict.fromkeys(places, words)
            elif "straddling" in message and block < 1 << 30:
                block = min(block * 16, 1 << 30)
            elif "Empty CSV" in message:
                table = pa.table({place: pa.nulls(0, pa.string()) for place in places})
                break
            else:
                raise _Uneven(message) from error
    else:
        raise ReadError(
            "The columns change their type so often that they cannot be read. Pass rows= to look at the top."
        )
    if any(pa.types.is_binary(field.type) for field in table.schema):
        raise _NotText("bytes that are not UTF-8")
    frame = table.to_pandas(date_as_object=False, split_blocks=not wide, self_destruct=True)
    return frame


def _by_pandas(data: Buffer, dialect: Dialect, quote: bool, rows: int | None) -> Any:
    """pandas' C reader, for an install without Arrow."""
    import pandas as pd

    width = len(_names(dialect))
    if len(data) < 1 << 26:  # this reader fills short rows up without a word, so they are looked for first
        with long_cells():
            text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")
            reader = csv.reader(text, delimiter=dialect.separator)
            for row in reader:
                if reader.line_num > dialect.skip and row and len(row) != width:
                    raise _Uneven(f"line {reader.line_num} has {len(row)} cells")
    try:
        frame = pd.read_csv(
            io.BytesIO(data),
            sep=dialect.separator,
            header=None,
            names=list(range(width)),
            index_col=False,
            skiprows=dialect.skip,
            decimal=dialect.decimal,
            dtype=dict.fromkeys(dialect.texts, "str"),
            na_values=NULLS,
            keep_default_na=False,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            engine="c",
            low_memory=False,
            encoding="utf-8",
            nrows=rows,
        )
        for place in range(width):  # whole numbers beyond 64 bits come as objects
            if frame[place].dtype == object:
                with contextlib.suppress(ValueError, TypeError, OverflowError):
                    frame[place] = frame[place].astype("float64")
        return frame
    except UnicodeDecodeError as error:
        raise _NotText from error
    except pd.errors.ParserError as error:
        raise _Uneven(str(error)) from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(range(width)))


# --- repair ----------------------------------------------------------------------------------------------------------


def _repaired(reader: Any, data: Buffer, dialect: Dialect, name: str, findings: list[Finding], rows: int | None) -> Any:
    """Even out rows in Python, write them clean, and give them to the fast reader again."""
    width = len(_names(dialect))
    body = bytes(data).decode("utf-8", "replace")
    clean, short, surplus, total = _even(body, dialect, width, csv.QUOTE_MINIMAL, rows)
    if '"' in body:
        # a stray quotation mark swallows all lines up to the next: take the marks as they are if that is as even
        other = _even(body, dialect, width, csv.QUOTE_NONE, rows)
        if other[1] + len(other[2]) <= short + len(surplus) and other[3] > total:
            clean, short, surplus, total = other
            text = "Quotation marks do not come in pairs; they were read as ordinary characters."
            findings.append(finding("unbalanced-quotes", "warning", text, "Repair the marks at the source."))
    uneven = short + len(surplus)
    if total and uneven > 0.5 * total and total > 3:
        raise ReadError(
            f"{name} is not a table as it stands: {uneven} of {total} rows do not have the {width} cells of the "
            f"header, split at {dialect.separator!r}. Pass separator= and header=, or repair the rows."
        )
    if uneven:
        where = [line for line, _ in surplus[:5]]
        text = f"{uneven} of {total} rows do not have {width} cells: {short} were filled up"
        text += f", {len(surplus)} had surplus cells, which were set aside (lines {where})." if surplus else "."
        advice = "Check these rows; a separator inside a cell needs quotation marks around the cell."
        data_found = {"short": short, "long": len(surplus), "surplus": [[n, c] for n, c in surplus[:1000]]}
        findings.append(finding("ragged-rows", "warning", text, advice, **data_found))
    tidy = Dialect(",", dialect.decimal, _names(dialect), width, 0, texts=dialect.texts)
    return reader(clean.encode("utf-8", "surrogatepass"), tidy, True, rows)


def _even(
    body: str, dialect: Dialect, width: int, quoting: int, rows: int | None
) -> tuple[str, int, list[tuple[int, list[str]]], int]:
    """(clean CSV, rows filled up, (line, surplus cells) of long rows, rows)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    short, total, surplus = 0, 0, []
    with long_cells():
        reader = csv.reader(
            io.StringIO(body, newline=""), delimiter=dialect.separator, skipinitialspace=True, quoting=quoting
        )
        for row in reader:
            if reader.line_num <= dialect.skip or not any(cell.strip() for cell in row):
                continue
            if dialect.separator == " ":  # any number of blanks
                row = [cell for cell in row if cell]
            total += 1
            if len(row) < width:
                short += 1
                row = row + [""] * (width - len(row))
            elif len(row) > width:
                extra = [cell for cell in row[width:] if cell.strip()]
                if extra:
                    surplus.append((reader.line_num, extra))
                row = row[:width]
            writer.writerow(row)
            if rows is not None and total >= rows:
                break
    return out.getvalue(), short, surplus, total
