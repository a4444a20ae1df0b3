"""What one column holds: its kind, how its cells are written, and what had to be repaired."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from everymodel.core.errors import ParameterError
from everymodel.core.schema import COLUMN_KINDS, Column
from everymodel.scoring import cells

SAMPLE = 5_000  # distinct cells that are looked at to find out how numbers and dates are written
ENOUGH = 0.9  # share of cells that must be readable as numbers (dates) for the column to hold numbers (dates)
MANY_LEVELS = 100_000  # beyond this, levels that occur once are not listed

# How numbers are written: (decimal mark, thousands mark), the usual first; the first of equally good ones wins.
_STYLES = ((".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S", " %H:%M:%S.%f")
_DAYS = (
    *("%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y", "%d/%m/%y"),
    *("%d.%m.%y", "%d-%m-%y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%d-%b-%y", "%d %B %Y", "%B %d, %Y"),
    *("%B %d %Y", "%a %d %b %Y", "%a, %d %b %Y"),
)
_FORMATS = (
    *(day + time for day in _DAYS for time in _TIMES),
    *("%Y-%m", "%b %Y", "%B %Y", "%Y%m%d", "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S"),
    *("%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y"),
)
_ID_WORDS = frozenset("id ids uuid guid key rowid index idx rownum rownumber identifier serial nr no".split())  # noqa: SIM905
_CODE_WORDS = frozenset(
    ("code", "zip", "zipcode", "postcode", "postal", "cd", "class", "type", "category", "cat", "kind")
)
_TIME_WORDS = frozenset(("t", "time", "year", "yr", "month", "week", "day", "hour", "date", "timestamp", "x", "step"))
_QUANTILES = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.I)
_MONEY = re.compile(r"[^\d\s.,'()+\-−–%eE]")


@dataclass
class Seen:
    """A column and what was counted in it. `values` has one entry per row of the frame:

    number, boolean, date: float64 with NaN; every other kind: int64 codes with -1 for missing.
    """

    column: Column
    values: np.ndarray
    distinct: int = 0  # distinct values that are not missing
    top_share: float = 0.0  # share of the most frequent value among all cells
    missing: int = 0
    null_words: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    bad: int = 0  # cells that do not fit the kind, treated as missing
    bad_examples: tuple[str, ...] = ()
    infinite: int = 0
    mixed: str = ""  # in words, where a column of one type holds another
    dates: str = ""  # in words, where dates were hard to read
    words: float = 0.0  # mean words of a text cell
    from_category: bool = False
    stats: dict[str, Any] = field(default_factory=dict)
    numbers: tuple[np.ndarray, Column] | None = None  # identifiers made of numbers: what they were as numbers


def tokens(name: str) -> list[str]:
    """Lower-case words of a column name: "CustomerID" and "customer_id" give customer, id."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[a-z]+|\d+", parted.lower())


def examine_all(frame: Any, names: Sequence[str], kinds: dict[str, str]) -> list[Seen]:
    """`examine` for the columns `names` of a frame; those of plain numbers are looked at many at a time."""
    known = list(map(str, frame.columns))
    wanted = set(names)
    chosen = [i for i, name in enumerate(known) if name in wanted]
    found: dict[str, Seen] = {}
    for places, block in cells.number_blocks(frame, [i for i in chosen if kinds.get(known[i]) in (None, "number")]):
        values, bad = cells.to_numbers(block)
        several = _finish_many("number", values, bad, [Column(known[i], "number") for i in places])
        for i, seen in zip(places, several):
            found[known[i]] = _number_or_code(seen, lambda place=i: frame.iloc[:, place], kinds.get(known[i]))
    from everymodel.workflow.understand.arrays import arrays

    for name in names:
        if name not in found:
            found[name] = arrays(name, frame[name], kinds.get(name)) or examine(name, frame[name], kinds.get(name))
    return [found[name] for name in names]


def examine(name: str, series: Any, kind: str | None = None) -> Seen:
    """Find out what the pandas column `series` holds; `kind` decides where the user has said so.

    Raises
    ------
    ParameterError
        where `kind` is not a kind of column.
    """
    if kind is not None and kind not in COLUMN_KINDS:
        raise ParameterError(f"kinds[{name!r}]={kind!r} is not a kind of column: expected one of {list(COLUMN_KINDS)}.")
    letter = series.dtype.kind if isinstance(getattr(series.dtype, "kind", None), str) else "O"
    if hasattr(series.dtype, "categories"):
        return _category_dtype(name, series, kind)
    if letter == "b" and kind in (None, "boolean"):
        return _numeric(name, series, "boolean", ("false", "true"))
    if letter in "iufm" and kind in (None, "number"):
        return _plain_number(name, series, kind)
    if letter == "M" and kind in (None, "date"):
        values, bad = cells.to_dates(series)
        return _finish(name, "date", values, bad, Column(name, "date"))
    return _text(name, series, kind)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _plain_number(name: str, series: Any, kind: str | None) -> Seen:
    """A column whose type is already a number."""
    values, bad = cells.to_numbers(series)
    seen = _finish(name, "number", values, bad, Column(name, "number"))
    return _number_or_code(seen, lambda: series, kind)


def _number_or_code(seen: Seen, whole: Callable[[], Any], kind: str | None) -> Seen:
    """The column as it is, or seen as dates, identifiers or categories; `whole` gives it as pandas has it."""
    seen.infinite, seen.bad = seen.bad, 0
    column, n = seen.column, len(seen.values) - seen.missing - seen.infinite
    if kind is not None or seen.distinct < 2 or not column.integer:
        return seen
    name, words = column.name, tokens(column.name)
    last = words[-1] if words else ""
    low, high = column.low or 0.0, column.high or 0.0
    if "date" in words and low >= 19000101 and high < 21010101:
        stamps, wrong = cells.to_dates(whole(), "%Y%m%d")
        if not wrong.any():
            return _finish(name, "date", stamps, wrong, Column(name, "date", date_format="%Y%m%d"))
    if n >= 20 and seen.distinct == n and not set(words) & _TIME_WORDS:  # every number once
        counts = n >= 50 and high - low + 1 == n  # 1, 2, 3, ... in any order: row numbers
        if last in _ID_WORDS or not name.strip() or counts:
            return _as_codes(seen, whole(), "identifier")
    if last in _ID_WORDS and seen.distinct > max(50, 0.05 * n):
        return _as_codes(seen, whole(), "identifier")
    coded = (last in _CODE_WORDS or last in ("id", "ids")) and 3 <= seen.distinct <= min(50, n / 5)
    return _as_codes(seen, whole(), "category") if coded and not _counts_up(seen.values) else seen


def _counts_up(values: np.ndarray) -> bool:
    """Whether the numbers are 0 or 1, 2, 3, ...: then their order may mean something, so they stay numbers."""
    found = np.unique(values[~np.isnan(values)])
    return bool(found[0] in (0.0, 1.0) and found[-1] - found[0] + 1 == len(found))


def _as_codes(seen: Seen, series: Any, kind: str) -> Seen:
    """The same column seen as a category or identifier."""
    seen.numbers = (seen.values, seen.column)
    seen.values, seen.column = _levels(seen.column.name, series, kind)
    return seen


def _numeric(name: str, series: Any, kind: str, words: tuple[str, str]) -> Seen:
    values, bad = cells.to_booleans(series, words)
    return _finish(name, kind, values, bad, Column(name, "boolean", levels=words))


def _finish(name: str, kind: str, values: np.ndarray, bad: np.ndarray, column: Column) -> Seen:
    """Count what is in a column of floats, and complete its Column."""
    return _finish_many(kind, values[None], bad[None], [column])[0]


def _finish_many(kind: str, block: np.ndarray, bad: np.ndarray, columns: Sequence[Column]) -> list[Seen]:
    """`_finish` for columns of one kind; `block` and `bad` are (k, n)."""
    n = block.shape[1]
    wrong = bad.sum(axis=1).tolist()
    out = [Seen(column, values, bad=w) for column, values, w in zip(columns, block, wrong)]
    for places, present in by_gaps(block):
        m = present.shape[1]
        lost = (n - m) / max(n, 1)
        for place in places:
            out[place].missing = n - m - out[place].bad
        if m == 0:
            for place in places:
                out[place].column = replace(columns[place], missing=lost)
            continue
        ordered = np.sort(present, axis=1)  # (k', m)
        first = np.ones(ordered.shape, dtype=bool)
        np.not_equal(ordered[:, 1:], ordered[:, :-1], out=first[:, 1:])
        distinct = first.sum(axis=1)
        runs = np.diff(np.append(np.flatnonzero(first), first.size))
        tops = np.maximum.reduceat(runs, np.append(0, distinct[:-1].cumsum()))
        whole = (ordered == np.floor(ordered)).all(axis=1) & (kind == "number")
        quantiles = ordered[:, (_QUANTILES * (m - 1)).round().astype(int)].tolist()
        means, spreads = present.mean(axis=1).tolist(), present.std(axis=1).tolist()
        lows, highs = ordered[:, 0].tolist(), ordered[:, -1].tolist()
        for i, place in enumerate(places):
            one = out[place]
            one.distinct, one.top_share = int(distinct[i]), float(tops[i]) / max(n, 1)
            one.column = replace(columns[place], low=lows[i], high=highs[i], integer=bool(whole[i]), missing=lost)
            one.stats = {"quantiles": quantiles[i], "mean": means[i], "std": spreads[i]}
    return out


def by_gaps(block: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """(places (k',), numbers (k', m) that are there) of rows of `block` (k, n) that have equally many NaN."""
    there = ~np.isnan(block)
    counts = there.sum(axis=1)
    for m in np.unique(counts).tolist():
        places = np.flatnonzero(counts == m)
        rows = block if len(places) == len(block) else block[places]
        if m < block.shape[1]:
            rows = rows[there[places]].reshape(len(places), m)
        yield places.tolist(), rows


# --- text ------------------------------------------------------------------------------------------------------------


def _category_dtype(name: str, series: Any, kind: str | None) -> Seen:
    """pandas' category type: the user has said category, so only free text and booleans are told apart."""
    if kind not in (None, "category"):
        return examine(name, series.astype(series.cat.categories.dtype), kind)
    seen = _text(name, series, "category")
    seen.from_category = True
    if kind is None:
        words = list(seen.column.levels[:SAMPLE])
        if words and _is_free_text(words, seen.distinct, len(series) - seen.missing):
            seen.values, seen.column = _levels(name, series, "text")
    return seen


def _text(name: str, series: Any, kind: str | None) -> Seen:
    """A column of text or of mixed objects."""
    codes, found = cells.distinct(series)
    counts = np.bincount(codes[codes >= 0], minlength=len(found)) if len(found) else np.zeros(0, dtype=int)
    nulls = np.array([cells.missing(cell) for cell in found], dtype=bool)
    null_words = Counter()
    for i in np.flatnonzero(nulls):
        if str(found[i]).strip():
            null_words[str(found[i]).strip()] += int(counts[i])
    real = np.flatnonzero(~nulls)
    n = int(counts[real].sum())
    if n == 0:
        values = np.full(len(codes), np.nan)
        seen = _finish(name, "constant", values, np.zeros(len(codes), dtype=bool), Column(name, "constant"))
        seen.null_words = null_words
        return seen
    order = real[np.argsort(-counts[real], kind="stable")]
    sample = order if len(order) <= SAMPLE else order[np.linspace(0, len(order) - 1, SAMPLE).astype(int)]
    picked, weight = [found[i] for i in sample], counts[sample].astype(float)
    seen = None
    if kind in (None, "boolean"):
        seen = _try_boolean(name, series, picked, forced=kind == "boolean")
    if seen is None and kind in (None, "number"):
        seen = _try_number(name, series, picked, weight, found, counts, forced=kind == "number")
    if seen is None and kind in (None, "date"):
        seen = _try_date(name, series, picked, weight, forced=kind == "date")
    if seen is None:
        seen = _words(name, series, kind, picked, weight, n)
        if kind is None:
            seen.mixed = seen.mixed or _mixture(picked, weight)
    if seen.bad:
        seen.bad_examples = _misfits(seen, codes, found)
    seen.null_words = null_words
    return seen


def _misfits(seen: Seen, codes: np.ndarray, found: list[Any]) -> tuple[str, ...]:
    """The most frequent cells that do not fit, for the message."""
    lost = codes[np.isnan(seen.values) & (codes >= 0)]
    where, times = np.unique(lost, return_counts=True)
    ranked = [found[i] for i in where[np.argsort(-times, kind="stable")]]
    return tuple(str(cell)[:40] for cell in ranked if not cells.missing(cell))[:3]


def _try_boolean(name: str, series: Any, picked: list[Any], forced: bool) -> Seen | None:
    words = {cells.text(cell) for cell in picked}
    low = {word.lower() for word in words}
    pairs = [pair for pair in cells.BOOLEAN_WORDS if low == set(pair)]
    if pairs:
        spelled = {word.lower(): word for word in sorted(words)}
        return _numeric(name, series, "boolean", (spelled[pairs[0][0]], spelled[pairs[0][1]]))
    if not forced:
        return None
    if len(words) != 2:
        raise ParameterError(f"kinds[{name!r}]='boolean': the column has {len(words)} values, expected two.")
    first, second = sorted(words)
    return _numeric(name, series, "boolean", (first, second))


def _readable(convert: Any, picked: list[Any], weight: np.ndarray) -> np.ndarray:
    good = np.zeros(len(picked), dtype=bool)
    for i, cell in enumerate(picked):
        try:
            convert(cell)
            good[i] = True
        except ValueError:
            pass
    return good


def number_style(picked: list[Any], weight: np.ndarray) -> tuple[float, str, str, bool]:
    """(share of cells readable, decimal, thousands, percent) of the best way to read cells as numbers."""
    percent = any(isinstance(cell, str) and cell.rstrip().endswith("%") for cell in picked)
    best = (0.0, ".", "", percent)
    for decimal, thousands in _STYLES:
        good = _readable(lambda c, d=decimal, t=thousands: cells.number(c, d, t, percent), picked, weight)
        share = float(weight[good].sum() / weight.sum())
        if share > best[0] + 1e-12:
            best = (share, decimal, thousands, percent)
        if share == 1.0 or (share == 0.0 and thousands == "," and not _has_digits(picked)):
            break
    return best


def _has_digits(picked: list[Any]) -> bool:
    return any(any(c.isdigit() for c in str(cell)[:64]) for cell in picked[:50])


def _try_number(
    name: str, series: Any, picked: list[Any], weight: np.ndarray, found: list[Any], counts: np.ndarray, forced: bool
) -> Seen | None:
    if not forced and (not _has_digits(picked) or _is_code(picked)):
        return None
    share, decimal, thousands, percent = number_style(picked, weight)
    if not forced and share < ENOUGH:
        return None
    values, bad = cells.to_numbers(series, decimal, thousands, percent)
    column = Column(name, "number", decimal=decimal, thousands=thousands, percent=percent)
    seen = _finish(name, "number", values, bad, column)
    for cell, count in zip(found, counts):
        if isinstance(cell, str):
            for repair in _repairs(cell, decimal, thousands):
                seen.repairs[repair] += int(count)
    words = tokens(name)
    n = len(values) - seen.missing - seen.bad
    if not forced and seen.column.integer and words and words[-1] in _ID_WORDS and seen.distinct == n >= 20:
        seen.values, seen.column = _levels(name, series, "identifier")
    return seen


def _repairs(cell: str, decimal: str, thousands: str) -> list[str]:
    """What had to be done to a cell before float() could read it."""
    try:
        float(cell)
        return []
    except ValueError:
        if cells.missing(cell):
            return []
    found: list[str] = []
    try:
        cells.number(cell, decimal, thousands, "%" in cell)
    except ValueError:  # beyond repair
        return found
    if _MONEY.search(cell):
        found.append("currency")
    if thousands and thousands in cell.replace("\u00a0", " ").strip(" $€£"):
        found.append("thousands")
    if decimal == "," and "," in cell:
        found.append("decimal comma")
    if "%" in cell:
        found.append("percent")
    if cell.strip().startswith("(") or cell.strip().endswith("-"):
        found.append("parentheses")
    return found


def _is_code(picked: list[Any]) -> bool:
    """Digits that are not numbers: leading zeros at one length (postcodes), or more digits than a number keeps."""
    words = [cell.strip() for cell in picked if isinstance(cell, str)]
    digits = [word for word in words if word.isdigit()]
    if len(digits) < 0.95 * len(picked):
        return False
    lengths = Counter(map(len, digits))
    padded = any(word[0] == "0" and len(word) > 2 for word in digits)  # 01 to 12 are months, hours: numbers
    return (padded and len(lengths) == 1) or min(lengths) > 15


def _try_date(name: str, series: Any, picked: list[Any], weight: np.ndarray, forced: bool) -> Seen | None:
    formats, share, note = date_formats(picked, weight)
    if share < ENOUGH and not forced:
        return None
    joined = "|".join(formats) or None
    values, bad = cells.to_dates(series, joined)
    seen = _finish(name, "date", values, bad, Column(name, "date", date_format=joined))
    seen.dates = note
    return seen


def date_formats(picked: list[Any], weight: np.ndarray) -> tuple[list[str], float, str]:
    """(strptime formats, share of cells they read together with ISO 8601, what is doubtful about them)."""
    looks = [not isinstance(c, str) or (6 <= len(c.strip()) <= 40 and sum(map(str.isdigit, c)) >= 3) for c in picked]
    if not any(isinstance(c, str) for c in picked):
        looks = [hasattr(c, "year") for c in picked]
    if weight[np.array(looks)].sum() < ENOUGH * weight.sum():
        return [], 0.0, ""
    left = ~_readable(lambda c: cells.date(c, None), picked, weight)
    iso = not left.all()
    chosen: list[str] = []
    doubtful = ""
    while left.any() and len(chosen) < 6:
        rest = [picked[i] for i in np.flatnonzero(left)]
        some = rest[:200]
        scores = []
        for format in _FORMATS:
            parse = cells._date_parser(format)
            hits = sum(isinstance(c, str) and parse(c.strip()) is not None for c in some)
            if hits:
                scores.append((hits, format))
        scores = [s for s in scores if not _rival(s[1], chosen)]
        if not scores:
            break
        most = max(hits for hits, _ in scores)
        equal = [format for hits, format in scores if hits == most]
        # day or month first is undecided where both read everything: points and dashes mean day first, as in Europe
        best = next((f for f in equal if f.startswith(("%d-", "%d."))), equal[0])
        if any(_rival(other, [best]) for other in equal):
            order = "day first" if best.startswith("%d") else "month first"
            doubtful = f"could be day or month first; read {order} ({best})"
        parse = cells._date_parser(best)
        read = np.array([left[i] and isinstance(c, str) and parse(c.strip()) is not None for i, c in enumerate(picked)])
        if weight[read].sum() < 0.001 * weight.sum():
            break
        chosen.append(best)
        left &= ~read
    share = float(weight[~left].sum() / weight.sum())
    if len(chosen) + iso > 1 and share >= ENOUGH:
        several = f"written in {len(chosen) + iso} formats ({', '.join((['ISO 8601'] if iso else []) + chosen)})"
        doubtful = f"{several}; {doubtful}" if doubtful else several
    return chosen, share, doubtful


def _rival(format: str, others: list[str]) -> bool:
    """Whether `format` is one of `others` with day and month exchanged: one column is written in one order."""
    if not re.match(r"%[dm](.)%[dm]", format):
        return False
    swapped = format.translate(str.maketrans("dm", "md"))
    return any(other[:7] == swapped[:7] for other in others)


def _is_free_text(picked: list[str], distinct: int, n: int) -> bool:
    words = float(np.mean([len(word.split()) for word in picked]))
    length = float(np.mean([len(word) for word in picked]))
    share = distinct / max(n, 1)
    if length > 200:
        return True
    if distinct < 20:
        return False
    return (
        ((words >= 4 or length >= 50) and words > 1.5 and share >= 0.3)
        or (words >= 2.5 and share >= 0.9 and n >= 50)
        or (words >= 6 and distinct > 100 and share >= 0.05)
    )


def _words(name: str, series: Any, kind: str | None, picked: list[Any], weight: np.ndarray, n: int) -> Seen:
    """Category, identifier or free text."""
    texts = [cells.text(cell) for cell in picked]
    codes, column = _levels(name, series, kind or "category")
    distinct = int(codes.max()) + 1 if len(codes) else 0
    if kind is None:
        new = "category"
        mean_words = float(np.mean([len(word.split()) for word in texts]))
        last = (tokens(name) or [""])[-1]
        unique = distinct / max(n, 1)
        if _is_free_text(texts, distinct, n):
            new = "text"
        elif mean_words <= 1.5 and n >= 20:
            named = last in _ID_WORDS and unique > 0.5 and distinct > 50
            uuids = all(_UUID.fullmatch(word) for word in texts[:20])
            if named or (uuids and unique > 0.5) or unique >= 0.98:
                new = "identifier"
        if new != "category":
            codes, column = _levels(name, series, new)
    counts = np.bincount(codes[codes >= 0]) if distinct else np.zeros(1)
    missing = int((codes < 0).sum())
    seen = Seen(column, codes, distinct, float(counts.max()) / max(len(codes), 1), missing)
    seen.words = float(np.mean([len(word.split()) for word in texts])) if texts else 0.0
    shown = list(column.levels[:20]) if kind == "category" or column.kind == "category" else []
    seen.stats = {"top": [[level, int(count)] for level, count in zip(shown, counts)], "levels": distinct}
    return seen


def _levels(name: str, series: Any, kind: str) -> tuple[np.ndarray, Column]:
    """(codes by falling frequency, Column with levels where it is a category)."""
    raw, found = cells.distinct(series)
    places: dict[str, int] = {}
    mapped = np.full(len(found) + 1, -1, dtype=np.int64)
    for i, cell in enumerate(found):
        word = cells.text(cell)
        if word:
            mapped[i] = places.setdefault(word, len(places))
    codes = mapped[raw]
    counts = np.bincount(codes[codes >= 0], minlength=len(places))
    names = list(places)
    order = np.array(sorted(range(len(names)), key=lambda i: (-counts[i], names[i])), dtype=np.int64)
    rank = np.full(len(names) + 1, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    missing = float((codes < 0).mean()) if len(codes) else 0.0
    levels: tuple[str, ...] = ()
    if kind == "category":
        kept = order if len(order) <= MANY_LEVELS else [i for i in order if counts[i] > 1][:MANY_LEVELS]
        levels = tuple(names[i] for i in kept)
    return rank[codes], Column(name, kind, levels=levels, missing=missing)


def _mixture(picked: list[Any], weight: np.ndarray) -> str:
    """In words, where a column of text holds many numbers."""
    good = _readable(cells.number, picked, weight)
    share = float(weight[good].sum() / weight.sum())
    if 0.05 <= share < ENOUGH and not good.all():
        return f"{share:.0%} of its cells are numbers, the others text"
    return ""
