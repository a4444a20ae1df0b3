"""Every source that holds a table, told apart by what it is rather than by what it is called."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from everymodel.core.errors import NotInstalledError, ReadError
from everymodel.core.finding import Finding
from everymodel.core.optional import installed, require
from everymodel.scoring.images import is_path
from everymodel.workflow import samples
from everymodel.workflow.read.codes import finding
from everymodel.workflow.read.content import Buffer, content_of, is_excel, kind_of, packed_as, unpack
from everymodel.workflow.read.delimited import read_delimited, to_utf8, unique_names
from everymodel.workflow.read.fingerprint import fingerprint
from everymodel.workflow.read.folders import beside, read_folder
from everymodel.workflow.types import Table

# What a file's name promises; where the content is something else, it is read as what it is, and that is said.
_SUFFIXES = {
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".tab": "text",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".html": "html",
    ".htm": "html",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
OPTIONS = ("sheet", "query", "separator", "encoding", "decimal", "header", "rows")
# What each kind of source is called, and which of these options (beside `rows`) mean something for it.
_MEANT: dict[str, tuple[str, tuple[str, ...]]] = {
    "text": ("delimited text", ("separator", "encoding", "decimal", "header")),
    "parquet": ("a Parquet file", ()),
    "arrow": ("an Arrow file", ()),
    "json": ("JSON", ("encoding",)),
    "excel": ("a workbook", ("sheet", "header")),
    "html": ("a web page", ("sheet", "encoding")),
    "sqlite": ("an SQLite database", ("sheet", "query")),
    "sql": ("a database", ("query",)),
    "sample": ("a sample", ()),
    "object": ("a table in memory", ()),
    "folder": ("a folder", ()),
}
_HOPELESS = {
    "excel 97": "a workbook of Excel 97. Save it as .xlsx or CSV",
    "pdf": "a PDF document. Export its table as CSV",
    "image": "an image. Expected a table",
    "hdf5": "an HDF5 file. Write its table as Parquet",
    "numpy": "a NumPy file. Load it with numpy.load and pass the array",
    "pickle": "a pickle, which can run any code when it is opened. Write the table as Parquet",
    "executable": "a program. Expected a table",
    "feather 1": "a Feather file of version 1. Write it as Parquet",
    "xml": "XML. Write its table as CSV or JSON lines",
}


def read(
    source: Any,
    *,
    sheet: str | int | None = None,
    query: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    rows: int | None = None,
) -> Table:
    """Read anything that holds a table.

    Parameters
    ----------
    source : "sample:iris" and the like (tables that ship with scikit-learn); path of a CSV, TSV, Parquet, Arrow, JSON,
        Excel, HTML or SQLite file, compressed or not; "-" for standard
        input; an SQLAlchemy URL (with `query`); a pandas, polars or Arrow table; a dict of columns, a list of dicts or
        of rows, a two-dimensional array; an open file; a Table, which is returned as it is.
    sheet : sheet of a workbook, table of a page or database, or member of a zip file: its name, or number from 0.
    query : SQL for a database.
    separator, encoding, decimal, header : how delimited text is written; None finds out.
    rows : read at most so many rows.

    Returns
    -------
    Table
        whose `frame` has distinct text names and a fresh index unless the source is a pandas frame.

    Raises
    ------
    ReadError
        where the source does not exist, or cannot be read as a table, or an option means nothing for it;
        NotInstalledError where a package is missing.
    """
    given = {"sheet": sheet, "query": query, "separator": separator, "encoding": encoding, "decimal": decimal}
    _check(given | {"header": header}, rows)
    given = {name: value for name, value in (given | {"header": header}).items() if value is not None}
    if isinstance(source, Table):
        _refuse(given | ({} if rows is None else {"rows": rows}), "object", source.source)
        return source
    options = {"separator": separator, "encoding": encoding, "decimal": decimal, "header": header, "rows": rows}
    findings: list[Finding] = []
    if isinstance(source, str | os.PathLike):
        frame, name, kind, details = _named(os.fspath(source), sheet, query, options, findings)
        frame = beside(frame, os.path.dirname(os.path.abspath(os.fspath(source))))
    elif hasattr(source, "read"):
        data = source.read()
        data = data.encode() if isinstance(data, str) else bytes(data)
        name = str(getattr(source, "name", "<file>"))
        frame, kind, details = _bytes(data, name, "", sheet, query, options, findings)
    else:
        frame, name, kind = _object(source)
        _refuse(given, "object", name)
        details = {}
    if rows is not None and len(frame) > rows:
        frame = frame.iloc[:rows]
    frame = _tidy(frame, findings)
    return Table(frame, name, kind, details, findings, fingerprint(frame))


def _check(given: dict[str, Any], rows: Any) -> None:
    """Raise ReadError for options that no source could use."""
    if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < 1):
        raise ReadError(f"rows={rows!r} is not possible: expected a whole number of at least 1.")
    mark, point = given["separator"], given["decimal"]
    if mark is not None and not (isinstance(mark, str) and len(mark) == 1 and mark.isascii() and mark not in '"\r\n'):
        raise ReadError(f"separator={mark!r} is not possible: expected one character such as ',' ';' or '\\t'.")
    if point is not None and (point not in (".", ",") or point == mark):
        also = " other than the separator" if point == mark else ""
        raise ReadError(f"decimal={point!r} is not possible: expected '.' or ','{also}.")
    for name in ("query", "encoding"):
        if given[name] is not None and not isinstance(given[name], str):
            raise ReadError(f"{name}={given[name]!r} is not possible: expected text.")


def _refuse(given: dict[str, Any], kind: str, name: str) -> None:
    """Raise ReadError where an option means nothing for what the source turned out to be."""
    what, meant = _MEANT[kind]
    for option, value in given.items():
        if value is None or option in meant or (option, value) == ("sheet", 0):
            continue
        more = f"only {', '.join(f'{word}=' for word in meant)} can be given" if meant else "none is needed"
        if option in ("sheet", "query") and kind not in ("sql", "sqlite", "excel", "html"):
            more = "it holds just one table"
        raise ReadError(f"{name} is {what}, so {option}={value!r} means nothing for it: {more}. Leave it out.")


def _tidy(frame: Any, findings: list[Finding]) -> Any:
    """Text names, all different. Levels of a column index are joined."""
    names = [
        "_".join(str(part) for part in name if str(part)) if isinstance(name, tuple) else str(name)
        for name in frame.columns
    ]
    names = unique_names([name.replace("\x00", "") for name in names], findings)
    if list(frame.columns) != names:
        frame = frame.copy(deep=False)
        frame.columns = names
    return frame


# --- files -----------------------------------------------------------------------------------------------------------


def _named(
    source: str, sheet: Any, query: str | None, options: dict[str, Any], findings: list[Finding]
) -> tuple[Any, str, str, dict[str, Any]]:
    given = {"sheet": sheet, "query": query, **options, "rows": None}  # every source can be read in part
    if source.startswith("sample:"):
        _refuse(given, "sample", source)
        return samples.load(source), source, "sample", {}
    if source == "-":
        data = sys.stdin.buffer.read()
        return _order("<stdin>", _bytes(data, "<stdin>", "", sheet, query, options, findings))
    if re.match(r"[A-Za-z][\w+.-]*://", source):
        if source.split(":", 1)[0].lower() in ("http", "https", "ftp", "s3", "gs"):
            raise ReadError("A web address was given; expected a file or a database. Download it first, then read it.")
        _refuse(given, "sql", source.partition("://")[0] + "://...")
        frame, shown = _database(source, query, options["rows"])
        return frame, shown, "sql", {}
    path = Path(source).expanduser()
    if path.is_dir():
        _refuse(given, "folder", source)
        frame, kind = read_folder(path, findings)
        return frame, source, kind, {"folder": True}
    if not path.exists():
        near = []
        if path.parent.is_dir():
            import difflib

            near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=2, cutoff=0.6)
        hint = f" Did you mean {' or '.join(near)}?" if near else f" The current folder is {os.getcwd()}."
        raise ReadError(f"There is no file {source!r}.{hint}")
    if is_path(path) and path.is_file():
        _refuse(given, "folder", source)
        return _frame({"image": [str(path)]}), source, "images", {}
    try:
        data = content_of(str(path)) if path.is_file() else path.read_bytes()
    except OSError as error:
        raise ReadError(f"{source!r} cannot be opened: {error.strerror}. Check its permissions.") from error
    return _order(source, _bytes(data, source, str(path), sheet, query, options, findings))


def _order(name: str, found: tuple[Any, str, dict[str, Any]]) -> tuple[Any, str, str, dict[str, Any]]:
    return found[0], name, found[1], found[2]


def _bytes(
    data: Buffer,
    name: str,
    path: str,
    sheet: Any,
    query: str | None,
    options: dict[str, Any],
    findings: list[Finding],
) -> tuple[Any, str, dict[str, Any]]:
    """(frame, format, details) of bytes, by what they are."""
    details: dict[str, Any] = {}
    inner = name
    for _ in range(2):  # a packed file may hold another, but not endlessly
        word = packed_as(bytes(data[:16]))
        if word is None or (word == "zip" and is_excel(data)):
            break
        if details:
            raise ReadError(f"{name} is packed several times over. Unpack it first.")
        member = sheet if word == "zip" and isinstance(sheet, str) else None
        data, inner = unpack(data, word, name, member)
        sheet = None if member else sheet
        details["compression"] = word
    if not bytes(data[:4096]).strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise ReadError(f"{name} is empty: expected a table with a header and rows. Check how it was written.")
    head = bytes(data[:4096])
    kind = "excel" if head.startswith(b"PK\x03\x04") else kind_of(head)
    if kind in _HOPELESS:
        raise ReadError(f"{name} is {_HOPELESS[kind]}.")
    suffix = re.sub(r"\.(gz|bz2|xz|zip|zst|zstd)$", "", inner.lower())
    promised = _SUFFIXES.get(os.path.splitext(suffix)[1])
    if kind == "json" and promised == "text" and _first_json(data) is None:
        kind = "text"
    if promised and promised != kind:
        text = (
            f"{name} is called {os.path.splitext(suffix)[1]}, but holds {'delimited text' if kind == 'text' else kind}."
        )
        findings.append(finding("read-as", "warning", text, "Check that it is the file you mean.", kind=kind))
    _refuse({"sheet": sheet, "query": query, **options, "rows": None}, kind, name)
    if kind == "text":
        if os.path.splitext(suffix)[1] in (".tsv", ".tab") and options["separator"] is None and b"\t" in head:
            options = {**options, "separator": "\t"}
        frame, more, found = read_delimited(data, name, **options, path="" if "compression" in details else path)
        findings += found
        return frame, "tsv" if more["separator"] == "\t" else "csv", {**details, **more}
    if kind == "parquet":
        return _parquet(data, name, options["rows"]), "parquet", details
    if kind == "arrow":
        return _arrow_file(data, name), "arrow", details
    if kind == "json":
        return _json(data, name, options, findings), "jsonl" if suffix.endswith("l") else "json", details
    if kind == "html":
        return _html(data, name, sheet, options, findings), "html", details
    if kind == "sqlite":
        if not path or "compression" in details:
            raise ReadError(f"{name} is an SQLite database; give its path, unpacked.")
        return _sqlite(path, sheet, query, options["rows"], findings), "sql", details
    return _excel(data, name, sheet, options["header"], findings), "excel", details


def _why(error: Exception) -> str:
    """A library's message as a part of a sentence."""
    return str(error).strip().split("\n", 1)[0].rstrip(". ") or type(error).__name__


def _parquet(data: Buffer, name: str, rows: int | None) -> Any:
    require("pyarrow", "Reading Parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pa.BufferReader(pa.py_buffer(data))
        file = pq.ParquetFile(source)
        if rows is None:
            return _from_arrow(file.read())
        batches, n = [], 0
        for batch in file.iter_batches(batch_size=min(rows, 65536)):
            batches.append(batch)
            n += len(batch)
            if n >= rows:
                break
        return _from_arrow(pa.Table.from_batches(batches, file.schema_arrow))
    except (pa.ArrowException, OSError) as error:
        raise ReadError(f"{name} starts like Parquet, but cannot be read: {_why(error)}. Is it cut off?") from error


def _arrow_file(data: Buffer, name: str) -> Any:
    require("pyarrow", "Reading Arrow files")
    import pyarrow as pa

    source = pa.py_buffer(data)
    try:
        try:
            return _from_arrow(pa.ipc.open_file(pa.BufferReader(source)).read_all())
        except pa.ArrowInvalid:
            return _from_arrow(pa.ipc.open_stream(pa.BufferReader(source)).read_all())
    except (pa.ArrowException, OSError) as error:
        raise ReadError(
            f"{name} starts like an Arrow file, but cannot be read: {_why(error)}. Is it cut off?"
        ) from error


def _from_arrow(table: Any) -> Any:
    """A frame of an Arrow table; columns that pandas has no type for become text."""
    import pyarrow as pa

    if len(set(table.column_names)) < len(table.column_names):
        table = table.rename_columns(unique_names(table.column_names, []))
    for i, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.float64()))
        elif pa.types.is_time(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.string()))
    return table.to_pandas(date_as_object=False)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _first_json(data: Buffer) -> Any:
    """The value on the first line, None where it is not JSON by itself."""
    try:
        line = bytes(data[: 1 << 20]).split(b"\n", 1)[0]
        return json.loads(line) if line.strip() not in (b"[", b"{") else {}
    except ValueError:
        return {} if bytes(data[:1]) in (b"[", b"{") and len(data) > 1 << 20 else None


def _json(data: Buffer, name: str, options: dict[str, Any], findings: list[Finding]) -> Any:
    """JSON lines, an array of objects or of rows, or an object of columns: {"a": [1, ...]} or {"a": {"0": 1, ...}}."""
    data, _ = to_utf8(data, name, options["encoding"], findings)
    text = bytes(data).decode("utf-8", "replace").lstrip("\ufeff").strip()
    limit = options["rows"]
    whole: Any = None
    if text.startswith("[") or "\n" not in text:
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            if "\n" not in text or not text.startswith(("{", "[{")):
                raise ReadError(f"{name} starts like JSON, but cannot be read: {error}. Is it cut off?") from error
    if whole is None:
        first = text.split("\n", 1)[0].strip()
        try:
            json.loads(first)
        except ValueError:
            try:
                whole = json.loads(text)  # one object over several lines
            except (ValueError, RecursionError) as error:
                raise ReadError(f"{name} starts like JSON, but cannot be read: {error}. Is it cut off?") from error
    if whole is None:
        whole, bad = [], []
        for i, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                whole.append(json.loads(line))
            except (ValueError, RecursionError):
                bad.append(i)
            if limit is not None and len(whole) >= limit:
                break
        if len(bad) > 0.1 * max(len(whole), 1):
            raise ReadError(f"{name}: {len(bad)} of {len(bad) + len(whole)} lines are not JSON, first line {bad[0]}.")
        if bad:
            words = f"{len(bad)} lines are not JSON and were left out: lines {bad[:5]}."
            findings.append(finding("unreadable-lines", "warning", words, "Repair them.", lines=bad[:1000]))
    if isinstance(whole, dict):
        lists = [key for key, value in whole.items() if isinstance(value, list)]
        if len(lists) == 1 and whole[lists[0]] and isinstance(whole[lists[0]][0], dict):
            whole = whole[lists[0]]  # {"data": [{...}, ...]}
        elif set(whole) >= {"columns", "data"}:
            return _frame(whole["data"], [str(c) for c in whole["columns"]])
        elif whole and all(isinstance(column, dict) and "".join(column).isdigit() for column in whole.values()):
            rows = list(dict.fromkeys(row for column in whole.values() for row in column))
            return _frame({key: [column.get(row) for row in rows] for key, column in whole.items()})
        elif lists and len({len(whole[key]) for key in lists}) == 1 and len(lists) == len(whole):
            return _frame(whole)
        else:
            whole = [whole]
    if not isinstance(whole, list) or not whole:
        raise ReadError(f"{name} is JSON without rows: expected a list of objects. Check how it was written.")
    if all(isinstance(row, list) for row in whole):
        return (
            _frame(whole[1:], [str(c) for c in whole[0]])
            if all(isinstance(c, str) for c in whole[0])
            else _frame(whole)
        )
    if not all(isinstance(row, dict) for row in whole):
        return _frame({"value": whole})
    nested = any(isinstance(value, dict | list) for row in whole[:1000] for value in row.values())
    if nested:
        whole = [dict(_flat(row)) for row in whole]
        words = "Values within values became columns of their own (a.b); lists of lists became text."
        findings.append(finding("nested-values", "info", words))
    return _frame(whole)


def _flat(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, dict) and value and depth < 8:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, list) and value and not any(isinstance(part, dict | list) for part in value):
            yield f"{prefix}{key}", value  # labels of a row
        elif isinstance(value, dict | list):
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False) if value else None
        else:
            yield f"{prefix}{key}", value


# --- pages, workbooks, databases -------------------------------------------------------------------------------------


def _choose(names: Sequence[str], sizes: Sequence[int], sheet: Any, what: str, findings: list[Finding]) -> int:
    """Which of several tables: the one asked for, or the largest, and then it is said."""
    if sheet is not None:
        wanted = str(sheet)
        if wanted in names:
            return list(names).index(wanted)
        if re.fullmatch(r"\d+", wanted) and int(wanted) < len(names):
            return int(wanted)
        raise ReadError(f"There is no {what} {sheet!r}: expected one of {', '.join(map(repr, names[:20]))}.")
    best = max(range(len(names)), key=lambda i: (sizes[i], -i))
    if sum(size > 0 for size in sizes) > 1:
        text = f"{len(names)} {what}s ({', '.join(map(repr, names[:8]))}): {names[best]!r}, the largest, is read."
        findings.append(
            finding("one-of-several", "info", text, "Choose another by sheet= (--sheet).", tables=list(names))
        )
    return best


def _html(data: Buffer, name: str, sheet: Any, options: dict[str, Any], findings: list[Finding]) -> Any:
    require("lxml", "Reading tables of a web page")
    import pandas as pd

    declared = re.search(rb"charset=[\"']?([\w-]+)", bytes(data[:4096]))
    encoding = options["encoding"] or (declared[1].decode() if declared else None)
    data, _ = to_utf8(data, name, encoding, findings)
    page = re.sub(r"(?i)charset=[\"']?[\w-]+", "charset=utf-8", bytes(data).decode("utf-8", "replace"), count=1)
    try:
        tables = pd.read_html(io.StringIO(page), flavor="lxml", keep_default_na=False, na_values=[""])
    except ValueError as error:
        raise ReadError(
            f"{name} is a web page without a table; expected one that shows the table itself. Open it in a browser: "
            "where a download asks for a sign-in, such a page is saved instead of the data."
        ) from error
    tables = [table for table in tables if table.shape[1] > 0]
    sizes = [table.shape[0] * table.shape[1] for table in tables]
    return tables[_choose([str(i) for i in range(len(tables))], sizes, sheet, "table", findings)]


def _excel(data: Buffer, name: str, sheet: Any, header: bool | None, findings: list[Finding]) -> Any:
    """A sheet of a workbook; titles above the table are skipped as in delimited text."""
    openpyxl = require("openpyxl", "Reading Excel workbooks")
    from everymodel.workflow.read.dialect import has_header

    try:
        book = openpyxl.load_workbook(io.BytesIO(bytes(data)), read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises what its parsers raise
        raise ReadError(f"{name} looks like a workbook, but cannot be read: {_why(error)}. Is it damaged?") from error
    with closing(book):
        sheets = list(book.worksheets)
        if not sheets:
            raise ReadError(f"{name} is a workbook without sheets of cells.")
        sizes = [(s.max_row or 0) * (s.max_column or 0) for s in sheets]
        chosen = sheets[_choose([s.title for s in sheets], sizes, sheet, "sheet", findings)]
        cells_ = [list(row) for row in chosen.iter_rows(values_only=True)]
    cells_ = [row for row in cells_ if any(cell is not None for cell in row)]
    width = max((max(i for i, cell in enumerate(row) if cell is not None) + 1 for row in cells_), default=0)
    if not cells_:
        raise ReadError(f"The sheet {chosen.title!r} of {name} is empty. Name another by sheet=.")
    cells_ = [row[:width] + [None] * (width - len(row)) for row in cells_]
    above = 0
    while above < min(len(cells_) - 1, 20) and width > 2 and sum(cell is not None for cell in cells_[above]) <= 1:
        above += 1
    if above:
        findings.append(finding("skipped-lines", "info", f"{above} rows above the table were skipped.", lines=above))
    cells_ = cells_[above:]
    texts = [["" if cell is None else str(cell) for cell in row] for row in cells_[:200]]
    if header if header is not None else has_header(texts):
        return _frame(cells_[1:], ["" if cell is None else str(cell).strip() for cell in cells_[0]])
    if header is None:
        text = "The first row looks like data, so columns are called column_1, column_2, ..."
        findings.append(finding("no-header", "warning", text, "Pass header=True if it names the columns."))
    return _frame(cells_, [f"column_{i + 1}" for i in range(width)])


def _sqlite(path: str, sheet: Any, query: str | None, rows: int | None, findings: list[Finding]) -> Any:
    """A table of an SQLite file, opened read-only."""
    import sqlite3
    from urllib.parse import quote

    try:
        with closing(sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True)) as link:
            if query is None:
                found = link.execute(
                    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
                )
                names = [name for (name,) in found]
                if not names:
                    raise ReadError(f"The database {path} has no table.")
                quoted = ['"' + name.replace('"', '""') + '"' for name in names]
                sizes = [link.execute(f"SELECT count(*) FROM {word}").fetchone()[0] for word in quoted]
                query = f"SELECT * FROM {quoted[_choose(names, sizes, sheet, 'table', findings)]}"
            cursor = link.execute(query)
            if cursor.description is None:
                raise ReadError("The query returns no table: expected a SELECT.")
            names = [column[0] for column in cursor.description]
            return _frame(cursor.fetchall() if rows is None else cursor.fetchmany(rows), names)
    except sqlite3.Error as error:
        raise ReadError(f"The database {path} refused: {error}. Check the query and the table's name.") from error


# What pip calls a driver, where it is not the name of its module.
_DRIVERS = {
    "MySQLdb": "mysqlclient",
    "psycopg2": "psycopg2-binary",
    "psycopg": '"psycopg[binary]"',
    "cx_Oracle": "cx-oracle",
}


def _database(url: str, query: str | None, rows: int | None) -> tuple[Any, str]:
    """(frame, URL without its password) of a query."""
    sqlalchemy = require("sqlalchemy", "Reading a database")
    try:
        address = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # their messages show the password
        raise ReadError(
            "The database URL cannot be read: expected something like postgresql://user:password@host/name."
        ) from None
    hidden = {k: v for k, v in address.query.items() if re.search("pass|pwd|secret|token|key", k, re.IGNORECASE)}
    shown = address.set(query={**address.query, **dict.fromkeys(hidden, "***")}).render_as_string(hide_password=True)
    if query is None:
        raise ReadError(f"A query is needed to read {shown}: pass query= (--query) with a SELECT, or a table's name.")
    if re.fullmatch(r"[\w.]+", query.strip()):
        query = f"SELECT * FROM {query.strip()}"
    try:
        engine = sqlalchemy.create_engine(address)
        try:
            with engine.connect() as link:
                result = link.execute(sqlalchemy.text(query))
                if not result.returns_rows:
                    raise ReadError("The query returns no table: expected a SELECT.")
                names = list(result.keys())
                found = result.fetchall() if rows is None else result.fetchmany(rows)
        finally:
            engine.dispose()
    except ReadError:
        raise
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            f"Reading {shown} needs the driver {error.name}, which is not installed. "
            f"Run: pip install {_DRIVERS.get(error.name or '', error.name)}"
        ) from None
    except Exception as error:  # drivers raise what they like, and some print the URL with it
        reason = str(getattr(error, "orig", None) or error)
        for secret in (address.password, *(v for v in hidden.values() if isinstance(v, str))):
            for form in {str(secret), _quoted(secret)} if secret else ():
                reason = reason.replace(str(form), "***")
        # the chain is cut: the driver's own message may show the password
        raise ReadError(f"The database {shown} refused: {reason}. Check the URL and the query.") from None
    return _frame([tuple(row) for row in found], names), shown


def _quoted(word: Any) -> str:
    from urllib.parse import quote

    return quote(str(word), safe="") if word else ""


# --- objects ---------------------------------------------------------------------------------------------------------


def _frame(rows: Any, names: list[str] | None = None) -> Any:
    """A frame of plain Python values."""
    import pandas as pd

    try:
        if names is None:
            return pd.DataFrame(rows)
        found = unique_names(names, [])
        if not len(rows):
            return (
                pd.DataFrame({name: [] for name in names})
                if len(set(names)) == len(names)
                else pd.DataFrame(columns=names)
            )
        frame = pd.DataFrame(rows, columns=found).infer_objects()
        frame.columns = names
        return frame
    except (ValueError, TypeError) as error:
        if isinstance(rows, Mapping):
            sizes = {name: len(column) for name, column in rows.items() if hasattr(column, "__len__")}
            shown = ", ".join(f"{name!r} {size}" for name, size in list(sizes.items())[:5])
            raise ReadError(
                f"No table: the columns differ in length ({shown}). Give each the same number of cells."
            ) from error
        raise ReadError(f"The values do not make a table: {_why(error)}. Give rows of one length.") from error


def _listed(value: Any) -> Any:
    """An array of more axes as a column whose cells are arrays."""
    import numpy as np

    if not isinstance(value, np.ndarray) or value.ndim < 2:
        return value
    cells = np.empty(len(value), dtype=object)
    for i, part in enumerate(value):
        cells[i] = part
    return cells


def _object(source: Any) -> tuple[Any, str, str]:
    """(frame, name, format) of something in memory."""
    import numpy as np
    import pandas as pd

    package = type(source).__module__.partition(".")[0]
    if isinstance(source, pd.DataFrame):
        return source, "<DataFrame>", "pandas"
    if isinstance(source, pd.Series):
        return source.to_frame(source.name if source.name is not None else "value"), "<Series>", "pandas"
    if package == "polars":
        if hasattr(source, "collect"):
            source = source.collect()
        if hasattr(source, "to_frame"):
            source = source.to_frame()
        frame = source.to_pandas() if installed("pyarrow") else pd.DataFrame(source.to_dict(as_series=False))
        return frame, "<polars>", "polars"
    if package == "pyarrow":
        if hasattr(source, "read_all"):
            source = source.read_all()
        import pyarrow as pa

        table = source if isinstance(source, pa.Table) else pa.Table.from_batches([source])
        return _from_arrow(table), "<Arrow>", "arrow-table"
    if isinstance(source, Mapping):
        if any(isinstance(value, np.ndarray) and value.ndim > 1 for value in source.values()):  # images, sequences
            source = {name: _listed(value) for name, value in source.items()}
        if not source:
            raise ReadError("An empty dict is no table: expected columns such as {'age': [30, 40]}.")
        single = all(isinstance(value, str | bytes) or not hasattr(value, "__len__") for value in source.values())
        return _frame([dict(source)] if single else dict(source)), "<dict>", "pandas"
    if isinstance(source, np.ndarray):
        if source.dtype.names:
            return pd.DataFrame(source), "<array>", "pandas"
        if source.ndim != 2:
            raise ReadError(f"The array has shape {source.shape}: expected two dimensions, rows and columns.")
        names = [f"column_{i + 1}" for i in range(source.shape[1])]
        return pd.DataFrame(source, columns=names).infer_objects(), "<array>", "pandas"
    if isinstance(source, list | tuple):
        if not source:
            raise ReadError("An empty list is no table: expected a list of dicts, one for each row.")
        if not isinstance(source[0], Mapping | list | tuple):
            raise ReadError(
                f"A list of {type(source[0]).__name__} values is no table: expected a list of dicts or of rows."
            )
        if isinstance(source[0], Mapping):
            return _frame(list(source)), "<list>", "pandas"
        return _frame(source, [f"column_{i + 1}" for i in range(len(source[0]))]), "<list>", "pandas"
    for word in ("toPandas", "to_pandas"):  # Spark, cuDF, modin and others
        if hasattr(source, word):
            return getattr(source, word)(), f"<{package}>", "pandas"
    if hasattr(source, "__arrow_c_stream__") and installed("pyarrow"):
        import pyarrow as pa

        return _from_arrow(pa.table(source)), f"<{package}>", "arrow-table"
    raise ReadError(
        f"An object of type {type(source).__name__} is no table: expected a path, a pandas, polars or Arrow table, "
        "a dict of columns or a list of dicts."
    )
