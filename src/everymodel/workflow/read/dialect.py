"""How a delimited text is written: separator, header and decimal mark, found out from its first rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from everymodel.scoring import cells

SEPARATORS = (",", ";", "\t", "|", " ")
LOOK = 200  # rows
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_POINT = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)\.\d+")


@dataclass
class Dialect:
    """`names` are those of the header row, or None where there is none; `skip` counts physical lines above the data."""

    separator: str
    decimal: str
    names: list[str] | None
    width: int
    skip: int  # lines before the first row of data, header included
    preamble: int = 0  # of these, lines that are neither header nor data
    padded: bool = False  # blanks between separator and quotation mark
    texts: tuple[int, ...] = ()  # columns of digits that are no numbers: leading zeros at one length


@contextmanager
def long_cells() -> Iterator[None]:
    """Cells of any length within this block; the csv module allows 131,072 characters by default."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def sniff(sample: str, separator: str | None = None, decimal: str | None = None, header: bool | None = None) -> Dialect:
    """Find out how `sample`, whole lines from the top, is written; what is given is taken as it is."""
    with long_cells():
        if separator is None:
            scored = [(_score(sample, mark), -i, mark) for i, mark in enumerate(SEPARATORS)]
            best = max(scored)
            separator = best[2] if best[0] > 0 else ","
        rows = _rows(sample, separator)
    filled = [(row, line) for row, line in rows if any(cell.strip() for cell in row)]
    widths = Counter(len(row) for row, _ in filled)
    width = max(widths, key=lambda w: (widths[w], w)) if widths else 1
    # lines above the table: titles and comments, of one cell where the table has several
    first = 0
    if width > 1 and header is None:
        while first < min(len(filled) - 1, 20) and sum(1 for c in filled[first][0] if c.strip()) <= 1 < width - 1:
            first += 1
    elif width > 1:
        while first < min(len(filled) - 1, 20) and len(filled[first][0]) == 1:
            first += 1
    table = [row for row, _ in filled[first:]]
    named = has_header(table) if header is None else header
    head = filled[first] if filled else ([], 0)
    names = None
    if named and table:
        names = [cell.strip().lstrip("\ufeff") for cell in head[0]]
        body = Counter(len(row) for row in table[1:])
        if body and len(body) == 1 and next(iter(body)) == len(names) + 1:
            # a separator at the end of every row but the header, or row names as R writes them
            ended = all(not row[-1].strip() for row in table[1:])
            names = [*names, ""] if ended else ["row", *names]
        width = len(names)
    before = filled[first - 1][1] if first else 0
    if not first and filled and names is None:
        before = 0
    skip = head[1] if names is not None else before
    if decimal is None:
        decimal = _decimal(table[1:] if names is not None else table, separator)
    body = table[1:] if names is not None else table
    texts = tuple(j for j in range(width) if _padded_with_zeros([row[j].strip() for row in body if j < len(row)]))
    padded = bool(re.search(rf'(?m)(?:^|{re.escape(separator)}) +"', sample)) and separator != " "
    return Dialect(separator, decimal, names, width, skip, before, padded, texts)


_DECIMAL_COMMA = re.compile(r"[-+]?\d+(?:\.\d{3})*,\d+ ?%?")


def _rows(sample: str, separator: str) -> list[tuple[list[str], int]]:
    """(cells, number of physical lines read until then) of the first rows."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=True)
    out, seen = [], 0
    try:
        for row in reader:
            out.append((row, reader.line_num))
            seen += len(row)
            if len(out) >= LOOK or (seen > 50_000 and len(out) >= 5):
                break
    except csv.Error:
        pass
    return out


def _score(sample: str, mark: str) -> float:
    """0 where `mark` splits nothing, up to about 1 where it splits all rows into equally many clean cells."""
    rows = [row for row, _ in _rows(sample, mark) if any(cell.strip() for cell in row)]
    widths = Counter(map(len, rows))
    wide = {w: count for w, count in widths.items() if w > 1}
    if not wide:
        return 0.0
    width = max(wide, key=lambda w: (wide[w], w))
    even = wide[width] / len(rows)
    some = [cell for row in rows if len(row) == width for cell in row]
    others = [m for m in SEPARATORS[:4] if m != mark]
    # A decimal comma is no sign of another separator.
    unclean = sum(any(o in cell for o in others) and not _DECIMAL_COMMA.fullmatch(cell.strip()) for cell in some)
    unclean /= len(some)
    score = even * (1.0 - 0.5 * unclean)
    top = next((len(row) for row in rows if len(row) > 1), 1)
    if len(rows[0]) == 1:  # the header is not split by it
        score *= 0.9
    if top != width and top + 1 != width:
        score *= 0.7
    if mark == " ":  # words are full of blanks: only numbers in columns count
        numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in some) / len(some)
        score *= 0.6 if even == 1.0 and numbers > 0.5 else 0.0
    return score + 0.02 * min(width, 5)


def _type(cell: str) -> str:
    body = cell.strip()
    if not body or body.lower() in cells.NULL_WORDS:
        return ""
    if _NUMBER.fullmatch(body):
        return "number"
    for style in ((",", "."), (".", ",")):
        try:
            cells.number(body, *style, percent=True)
            return "number"
        except ValueError:
            pass
    try:
        cells.date(body, "%d.%m.%Y|%d/%m/%Y|%m/%d/%Y|%Y/%m/%d")
        return "date"
    except ValueError:
        return "text"


def has_header(table: list[list[str]]) -> bool:
    """Whether the first row names the columns: its cells are of another type than those below, or not among them."""
    if not table:
        return False
    head, body = table[0], table[1:LOOK]
    types = [_type(cell) for cell in head[:500]]
    if not body:
        return "number" not in types and "date" not in types
    votes = 0.0
    for j, cell in enumerate(head[:500]):
        column = [row[j] for row in body if j < len(row)]
        below = Counter(kind for kind in map(_type, column) if kind)
        if not below:
            continue
        usual, count = below.most_common(1)[0]
        if usual != "text" and count > 0.5 * len(column):
            if types[j] == "text":
                votes += 1.0
            elif types[j] == usual:
                numbers = [c.strip() for c in column]
                year = re.fullmatch(r"(19|20)\d\d", cell.strip())
                votes += 0.5 if year and not any(re.fullmatch(r"(19|20)\d\d", c) for c in numbers[:20]) else -1.0
        elif usual == "text" and types[j] == "text":
            if cell in column:
                votes -= 0.7  # a word that comes again is a value
            else:
                votes += 0.1 if len(set(column)) < 0.5 * len(column) else 0.02
        elif usual == "text" and types[j] in ("number", "date"):
            votes -= 0.3
    names = [cell.strip() for cell in head]
    if len(set(names)) < len(names) and "" not in names:
        votes -= 0.2
    return votes >= 0.0


def _padded_with_zeros(column: list[str]) -> bool:
    """Whether cells are codes such as 00123: numbers would lose the zeros."""
    filled = [cell for cell in column if cell]
    if len(filled) < 2 or not any(cell[0] == "0" for cell in filled):
        return False
    return len(filled[0]) > 2 and len({len(cell) for cell in filled}) == 1 and all(cell.isdigit() for cell in filled)


def _decimal(body: list[list[str]], separator: str) -> str:
    """ "," where numbers with a decimal comma are frequent and none has a point."""
    if separator == ",":
        return "."
    commas = points = 0
    for row in body:
        for cell in row[:500]:
            commas += bool(_COMMA.fullmatch(cell.strip()))
            points += bool(_POINT.fullmatch(cell.strip()))
    return "," if commas > points else "."
