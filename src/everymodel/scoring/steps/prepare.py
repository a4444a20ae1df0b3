"""Steps that turn a Batch into the matrix that models read: picked, filled, encoded, straightened and scaled.

They are written by `everymodel.preprocessing`, which learns what they hold and runs these very steps on the training
rows, so that training and answering cannot differ. A single row takes short cuts (one gather instead of a loop over
columns) that do the same arithmetic.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from everymodel.scoring.steps.base import Batch, Sparse, Step, need, step

DAY = 86400.0
LARGEST = 3e38
FAR = 1e14  # seconds from 1970 beyond which there is no calendar; also not a number
# What `Dates` can say of a moment; "days" counts days since 1970 with the time of day as a fraction.
DATE_PARTS = (
    "days", "year", "month", "day", "weekday", "yearday", "hour", "minute",
    "month_sin", "month_cos", "weekday_sin", "weekday_cos", "yearday_sin", "yearday_cos", "hour_sin", "hour_cos",
)  # fmt: skip
TEXT_STATS = ("characters", "words", "digits", "capitals", "marks")
TEXT_LIMIT = 20_000  # characters of one cell that are read: a cell of five megabytes must not stop a server
GRAM_BITS = 15  # per character in the key of a run of characters
GRAM_SIZES = (3, 4)  # four characters fill the key up to its mark
GRAM_MARK = 60  # from this bit on, a key holds the size of its run, less two
_TEXT = 500_000  # characters broken into n-grams at once
_ROWS = 4096  # rows copied at once, so that a stripe of the matrix stays in the processor's cache


def gather(batch: Batch, columns: tuple[str, ...]) -> np.ndarray:
    """The named number columns side by side -> (n, p) float64."""
    found = [batch.columns[name] for name in columns]
    if batch.n == 1:
        return np.concatenate(found).reshape(1, -1).astype(np.float64, copy=False)
    matrix = np.empty((batch.n, len(found)))
    for start in range(0, batch.n, _ROWS):
        stripe = matrix[start : start + _ROWS]
        for j, values in enumerate(found):
            stripe[:, j] = values[start : start + _ROWS]
    return matrix


def _whole(values: np.ndarray, low: int, high: int, what: str) -> None:
    need(values.ndim == 1 and values.dtype.kind in "iu", f"{what} are not whole numbers")
    need(values.size == 0 or (int(values.min()) >= low and int(values.max()) < high), f"{what} are out of range")


def _names(columns: Any) -> None:
    need(isinstance(columns, list | tuple) and len(columns) > 0, "a step names no column")
    need(all(isinstance(name, str) for name in columns), "column names are not text")


@step("numbers")
class Numbers(Step):
    """Number, boolean or date columns; infinite cells become missing. -> (n, p).

    Numbers beyond 3e38 are held there: forests read short floats, which end at 3.4e38, and squares must stay finite.
    """

    columns: tuple[str, ...]

    def check(self) -> None:
        _names(self.columns)

    def __call__(self, batch: Batch) -> np.ndarray:
        matrix = gather(batch, self.columns)  # (n, p)
        wide = np.abs(matrix) > LARGEST
        if wide.any():
            matrix = np.where(wide, np.where(np.isinf(matrix), np.nan, np.copysign(LARGEST, matrix)), matrix)
        return matrix


@step("blank")
class Blank(Step):
    """One column of zeros, for a model that looks at no column. -> (n, 1)."""

    def __call__(self, batch: Batch) -> np.ndarray:
        return np.zeros((batch.n, 1))


@step("sparse_numbers")
class SparseNumbers(Step):
    """Number columns that are mostly zero, times a factor each, kept sparse; missing and infinite cells count as zero.

    factor (p,). -> Sparse (n, p).
    """

    columns: tuple[str, ...]
    factor: np.ndarray

    def check(self) -> None:
        _names(self.columns)
        need(self.factor.shape == (len(self.columns),) and np.isfinite(self.factor).all(), "factors do not fit")

    def __call__(self, batch: Batch) -> Sparse:
        rows, places, data = [], [], []
        for j, name in enumerate(self.columns):
            values = batch.columns[name]
            row = np.flatnonzero((values != 0) & np.isfinite(values))
            rows.append(row)
            places.append(np.full(len(row), j))
            data.append(values[row] * self.factor[j])
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")  # columns were visited in order, so they stay sorted within a row
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=batch.n))])
        shape = (batch.n, len(self.columns))
        return Sparse(np.concatenate(data)[order], np.concatenate(places)[order], indptr, shape)


def civil(days: Any) -> tuple[Any, Any, Any, Any]:
    """(year, month 1-12, day 1-31, day of the year 0-365) of days since 1970, for one whole number or an array.

    Counts in eras of 400 years that begin on 1 March, so that leap days come last (H. Hinnant, chrono-compatible
    low-level date algorithms).
    """
    shifted = days + 719468
    era = shifted // 146097
    of_era = shifted - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    late = month >= 10  # January and February belong to the next civil year
    full = year + era * 400 + late
    leap = ((full % 4 == 0) & (full % 100 != 0)) | (full % 400 == 0)
    yearday = of_year - 306 * late + (59 + leap) * (1 - late)
    return full, month + 3 - 12 * late, day, yearday


def _part(word: str, seconds: Any, known: dict[str, Any], sin: Callable, cos: Callable) -> Any:
    """One part of a moment, for a number or an array; `known` keeps what the parts share."""
    if not known:
        days = seconds // DAY
        days = int(days) if isinstance(seconds, float) else days.astype(np.int64)
        known["seconds"] = seconds - days * DAY
        known["date"] = days
        known["days"] = seconds / DAY
        known["year"], known["month"], known["day"], known["yearday"] = civil(days)
    if word in known:
        return known[word]
    base, _, wave = word.partition("_")
    if base == "weekday":
        value, period, first = (known["date"] + 3) % 7, 7.0, 0
    elif base == "hour":
        # A cycle turns all day long; the plain part is a whole hour.
        value = known["seconds"] / 3600.0 if wave else known["seconds"] // 3600.0
        period, first = 24.0, 0
    elif base == "minute":
        value, period, first = known["seconds"] // 60.0 % 60.0, 60.0, 0
    else:
        value = known[base]
        period, first = (12.0, 1) if base == "month" else (365.25, 0)
    if not wave:
        return value
    angle = (value - first) * (2 * np.pi / period)
    return sin(angle) if wave == "sin" else cos(angle)


@step("dates")
class Dates(Step):
    """Parts of moments: output j is `parts[j]` of column `columns[j]`; missing or absurd is NaN. -> (n, p)."""

    columns: tuple[str, ...]
    parts: tuple[str, ...]

    def check(self) -> None:
        _names(self.columns)
        need(len(self.parts) == len(self.columns), "date parts do not match their columns")
        need(set(self.parts) <= set(DATE_PARTS), "a date part is unknown")

    def __call__(self, batch: Batch) -> np.ndarray:
        known: dict[str, dict[str, Any]] = {name: {} for name in self.columns}
        if batch.n == 1:  # plain numbers are ten times faster here than arrays of one
            row = []
            for name, word in zip(self.columns, self.parts):
                seconds = float(batch.columns[name][0])
                there = -FAR < seconds < FAR
                row.append(_part(word, seconds, known[name], math.sin, math.cos) if there else math.nan)
            return np.array([row], dtype=np.float64)
        matrix = np.empty((batch.n, len(self.columns)))
        lost = {name: ~(np.abs(batch.columns[name]) < FAR) for name in known}
        safe = {name: np.where(gone, 0.0, batch.columns[name]) for name, gone in lost.items()}
        for j, (name, word) in enumerate(zip(self.columns, self.parts)):
            matrix[:, j] = _part(word, safe[name], known[name], np.sin, np.cos)
            matrix[lost[name], j] = np.nan
        return matrix


@step("spans")
class Spans(Step):
    """Days between moments: column `columns[j]` less column `others[j]`. -> (n, p)."""

    columns: tuple[str, ...]
    others: tuple[str, ...]

    def check(self) -> None:
        _names(self.columns)
        _names(self.others)
        need(len(self.others) == len(self.columns), "spans do not match their columns")

    def __call__(self, batch: Batch) -> np.ndarray:
        days = (gather(batch, self.columns) - gather(batch, self.others)) / DAY
        return np.where(np.abs(days) < FAR / DAY, days, np.nan)


@step("lookup")
class Lookup(Step):
    """Level codes to numbers: output j is `table[offsets[j] + 2 + code]` of column `columns[j]`. -> (n, p).

    A column has one stretch of the table per output: unseen (code -2), missing (-1), then its levels. A column may be
    named several times, for several encodings of it. offsets (p,) int, table (total,) float64, NaN allowed.
    """

    columns: tuple[str, ...]
    offsets: np.ndarray
    table: np.ndarray

    def check(self) -> None:
        _names(self.columns)
        need(self.table.ndim == 1 and self.table.dtype == np.float64, "a lookup table is not a list of numbers")
        need(not np.isinf(self.table).any(), "a lookup table is not finite")
        need(self.offsets.shape == (len(self.columns),), "a lookup table does not match its columns")
        _whole(self.offsets, 0, len(self.table) - 1, "offsets")
        need(bool((np.diff(self.offsets) >= 2).all()), "stretches of a lookup table overlap")

    def __call__(self, batch: Batch) -> np.ndarray:
        if batch.n == 1:
            codes = np.concatenate([batch.columns[name] for name in self.columns])  # (p,)
            return self.table.take(codes + (self.offsets + 2), mode="clip").reshape(1, -1)
        matrix = np.empty((batch.n, len(self.columns)))
        ends = np.append(self.offsets[1:], len(self.table))
        for j, name in enumerate(self.columns):
            stretch = self.table[self.offsets[j] : ends[j]]
            # Clipped: a code beyond the table can only come from a damaged file, and must not crash.
            matrix[:, j] = stretch.take(batch.columns[name] + 2, mode="clip")
        return matrix


@step("onehot")
class OneHot(Step):
    """Level codes to columns of 0 and 1: code c of column j puts a 1 at `places[offsets[j] + 2 + c]` (-1: nowhere).

    offsets (q,) int, places (total,) int, width = number of output columns. -> (n, width), Sparse where `sparse`.
    """

    columns: tuple[str, ...]
    offsets: np.ndarray
    places: np.ndarray
    width: int
    sparse: bool = False

    def check(self) -> None:
        _names(self.columns)
        # A width beyond what the places can fill would let a small file ask for any amount of memory.
        sensible = isinstance(self.width, int) and 0 < self.width <= len(self.places)
        need(sensible, "a one-hot width does not fit its places")
        _whole(self.places, -1, self.width, "one-hot places")
        need(self.offsets.shape == (len(self.columns),), "one-hot places do not match their columns")
        _whole(self.offsets, 0, max(len(self.places) - 1, 0), "offsets")
        need(bool((np.diff(self.offsets) >= 2).all()), "stretches of one-hot places overlap")

    def __call__(self, batch: Batch) -> np.ndarray | Sparse:
        if batch.n == 1:
            codes = np.concatenate([batch.columns[name] for name in self.columns])  # (q,)
            hot = self.places.take(codes + (self.offsets + 2), mode="clip")
            hot = hot[hot >= 0]
            if self.sparse:
                return Sparse(np.ones(len(hot)), hot, np.array([0, len(hot)]), (1, self.width))
            row = np.zeros((1, self.width))
            row[0, hot] = 1.0
            return row
        ends = np.append(self.offsets[1:], len(self.places))
        stretches = [self.places[a:b] for a, b in zip(self.offsets, ends)]
        if self.sparse:
            hot = np.empty((batch.n, len(self.columns)), dtype=np.int64)
            for j, name in enumerate(self.columns):
                hot[:, j] = stretches[j].take(batch.columns[name] + 2, mode="clip")
            there = hot >= 0
            indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
            return Sparse(np.ones(int(indptr[-1])), hot[there], indptr, (batch.n, self.width))
        matrix = np.zeros((batch.n, self.width))
        flat, starts = matrix.reshape(-1), np.arange(batch.n) * self.width
        for j, name in enumerate(self.columns):
            hot = stretches[j].take(batch.columns[name] + 2, mode="clip")
            there = hot >= 0
            flat[starts[there] + hot[there]] = 1.0
        return matrix


@step("impute")
class Impute(Step):
    """Missing cells become `fill` (p,); for each of `indicators` (m,) a column at the end says 1 where it was missing.

    (n, p) -> (n, p + m).
    """

    fill: np.ndarray
    indicators: np.ndarray

    def check(self) -> None:
        need(self.fill.ndim == 1 and np.isfinite(self.fill).all(), "fill values are not finite")
        _whole(self.indicators, 0, len(self.fill), "indicators")

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        lost = np.isnan(matrix)
        if lost.any():
            matrix = np.where(lost, self.fill, matrix)
        if len(self.indicators):
            matrix = np.concatenate([matrix, lost[:, self.indicators]], axis=1, dtype=np.float64)
        return matrix


@step("power")
class Power(Step):
    """The Yeo-Johnson transform of some columns, which makes long tails short. (n, p) -> (n, p).

    places (m,) column numbers; x is first clipped to low..high (m,) and divided by unit (m,), then
    sign(x) * ((1 + |x|)^e - 1) / e, with e = power (m,) where x >= 0, else 2 - power. A logarithm is an e of 1e-9.
    """

    places: np.ndarray
    power: np.ndarray
    unit: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def check(self) -> None:
        _whole(self.places, 0, 2**31, "columns to straighten")
        for values in (self.power, self.unit, self.low, self.high):
            need(values.shape == self.places.shape and np.isfinite(values).all(), "powers do not fit")
        need(bool((self.unit > 0).all()), "a unit is not positive")
        need(bool((np.minimum(np.abs(self.power), np.abs(self.power - 2.0)) > 1e-12).all()), "a power is 0 or 2")

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        out = matrix.copy()
        x = np.minimum(np.maximum(matrix[:, self.places], self.low), self.high) / self.unit  # (n, m)
        out[:, self.places] = yeo_johnson(x, self.power)
        return out


def yeo_johnson(x: np.ndarray, power: np.ndarray) -> np.ndarray:
    """(n, m) with powers (m,), neither 0 nor 2, -> (n, m)."""
    e = np.where(x >= 0, power, 2.0 - power)
    return np.copysign(np.expm1(e * np.log1p(np.abs(x))) / e, x)


@step("scale")
class Scale(Step):
    """(x - center) * factor by column, then nothing ("linear"), clipped to 0..1 ("unit") or
    softly to -3..3 ("soft": x / sqrt(1 + (x/3)^2)). center, factor (p,). (n, p) -> (n, p).
    """

    center: np.ndarray
    factor: np.ndarray
    kind: str = "linear"

    def check(self) -> None:
        need(self.kind in ("linear", "unit", "soft"), f"scaling {self.kind!r} is unknown")
        need(self.center.ndim == 1 and self.center.shape == self.factor.shape, "scaling does not fit")
        need(bool(np.isfinite(self.center).all() and np.isfinite(self.factor).all()), "scaling is not finite")

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        out = matrix - self.center
        out *= self.factor
        if self.kind == "unit":
            np.minimum(np.maximum(out, 0.0, out=out), 1.0, out=out)
        elif self.kind == "soft":
            out /= np.sqrt(1.0 + (out / 3.0) ** 2)
        return out


@step("join")
class Join(Step):
    """All inputs side by side; sparse as soon as one of them is."""

    def __call__(self, *blocks: np.ndarray | Sparse) -> np.ndarray | Sparse:
        if not any(isinstance(block, Sparse) for block in blocks):
            return np.concatenate(blocks, axis=1)
        return beside([block if isinstance(block, Sparse) else thin(block) for block in blocks])


def thin(matrix: np.ndarray) -> Sparse:
    """A dense matrix without its zeros; NaN stays."""
    if len(matrix) == 1:
        places = np.flatnonzero(matrix[0])
        return Sparse(matrix[0, places], places, np.array([0, len(places)]), matrix.shape)
    there = matrix != 0
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return Sparse(matrix[there], np.nonzero(there)[1], indptr, matrix.shape)


def beside(blocks: list[Sparse]) -> Sparse:
    """Sparse matrices side by side, without sorting: each block's share of a row has its place."""
    n = blocks[0].shape[0]
    if n == 1:
        starts = [0]
        for block in blocks:
            starts.append(starts[-1] + block.shape[1])
        indices = np.concatenate([block.indices + start for block, start in zip(blocks, starts)])
        data = np.concatenate([block.data for block in blocks])
        return Sparse(data, indices, np.array([0, len(data)]), (1, starts[-1]))
    counts = [np.diff(block.indptr) for block in blocks]
    indptr = np.concatenate([[0], np.cumsum(sum(counts))]).astype(np.int64)
    data, indices = np.empty(indptr[-1]), np.empty(indptr[-1], dtype=np.int64)
    start, width = indptr[:-1].copy(), 0
    for block, count in zip(blocks, counts):
        places = np.arange(len(block.data)) + np.repeat(start - block.indptr[:-1], count)  # (nnz,)
        data[places] = block.data
        indices[places] = block.indices + width
        start += count
        width += block.shape[1]
    return Sparse(data, indices, indptr, (n, width))


# ---------------------------------------------------------------------- text

_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
_CAPITAL = re.compile("[A-Z\u00c0-\u00de\u0391-\u03a9\u0410-\u042f]")  # Latin, Greek, Cyrillic
_MARK = re.compile(r"[^\w\s]")


def tidy(cell: str) -> str:
    """The form in which text is broken up: lower case, the first TEXT_LIMIT characters."""
    return cell[:TEXT_LIMIT].lower()


def tokens(cell: str, pairs: bool) -> list[str]:
    """Words of a cell, and with `pairs` every two words in a row joined by a space."""
    words = _WORD.findall(tidy(cell))
    return words + [f"{a} {b}" for a, b in pairwise(words)] if pairs else words


def grams(cells: Sequence[str]) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """(first row, row after the last, row, key) of every run of 3 and 4 characters, in chunks of rows.

    Each cell is read with a space before and behind. A run's key packs the low 15 bits of its characters' code points,
    and above them the size of the run: most scripts keep their letters apart, and where two letters share their bits
    whole runs hardly ever do. All runs of all cells are made by shifts of one long array.
    """
    start = 0
    while start < len(cells):
        stop, size = start, 0
        texts: list[str] = []
        while stop < len(cells) and (size < _TEXT or stop == start):
            texts.append(" " + tidy(cells[stop]) + " ")
            size += len(texts[-1])
            stop += 1
        joined = "".join(texts).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(joined, dtype="<u4").astype(np.int64) & (2**GRAM_BITS - 1)  # (characters,)
        alone = len(texts) == 1
        row = np.repeat(np.arange(start, stop), [len(text) for text in texts])
        rows, keys = [], []
        key = codes
        for run in range(2, max(GRAM_SIZES) + 1):
            key = (key[:-1] << GRAM_BITS) | codes[run - 1 :]
            if run in GRAM_SIZES:
                # Runs must not reach into the next cell.
                whole = slice(None) if alone else row[: len(key)] == row[run - 1 :]
                rows.append(row[: len(key)][whole])
                keys.append(key[whole] | ((run - 2) << GRAM_MARK))
        yield start, stop, np.concatenate(rows), np.concatenate(keys)
        start = stop


def counted(row: np.ndarray, column: np.ndarray, n: int, width: int) -> Sparse:
    """How often each (row, column) occurs, as a sparse matrix (n, width)."""
    if n == 1:
        column, count = np.unique(column, return_counts=True)
        return Sparse(count.astype(np.float64), column, np.array([0, len(column)]), (1, width))
    key, count = np.unique(row * width + column, return_counts=True)
    row, column = np.divmod(key, width)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    return Sparse(count.astype(np.float64), column, indptr, (n, width))


@step("text_terms")
class TextTerms(Step):
    """A text column to weighted terms: words (and pairs of words), then runs of 3 and 4 characters. -> Sparse (n, v).

    A term that occurs t times weighs (1 + log t) * weight[term]; the words of a row have length 1 together, and so have
    its runs. words: vocabulary in the order of columns; keys: sorted keys of runs (see `grams`), their columns follow;
    weight (words + keys,) float64: inverse document frequencies.
    """

    column: str
    words: tuple[str, ...]
    pairs: bool
    keys: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {word: i for i, word in enumerate(self.words)})

    def check(self) -> None:
        need(isinstance(self.column, str), "a text step names no column")
        need(isinstance(self.words, list | tuple), "words are not a list")
        need(all(isinstance(word, str) for word in self.words), "words are not text")
        need(self.keys.ndim == 1 and self.keys.dtype == np.int64, "runs of characters are not whole numbers")
        need(bool((np.diff(self.keys) > 0).all()), "runs of characters are not sorted")
        need(self.weight.shape == (len(self.words) + len(self.keys),), "weights do not match the terms")
        need(bool(np.isfinite(self.weight).all()), "weights are not finite")

    def __call__(self, batch: Batch) -> Sparse:
        cells = batch.columns[self.column]
        if not len(cells):
            return Sparse(np.empty(0), np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64), (0, len(self.weight)))
        blocks = []
        if len(self.words):
            blocks.append(self._words(cells))
        if len(self.keys):
            blocks.append(self._grams(cells))
        return beside(blocks) if len(blocks) > 1 else blocks[0]

    def _words(self, cells: np.ndarray) -> Sparse:
        find = self._places.get  # type: ignore[attr-defined]
        found: list[int] = []
        counts = np.empty(len(cells), dtype=np.int64)
        for i, cell in enumerate(cells):
            known = [place for place in map(find, tokens(cell, self.pairs)) if place is not None]
            found += known
            counts[i] = len(known)
        row = np.repeat(np.arange(len(cells)), counts) if len(cells) > 1 else counts
        column = np.array(found, dtype=np.int64)
        return weighted(counted(row, column, len(cells), len(self.words)), self.weight[: len(self.words)])

    def _grams(self, cells: np.ndarray) -> Sparse:
        parts = []
        for start, stop, row, key in grams(cells):
            place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
            known = self.keys[place] == key
            parts.append(counted(row[known] - start, place[known], stop - start, len(self.keys)))
        return weighted(_under(parts, len(self.keys)), self.weight[len(self.words) :])


def weighted(terms: Sparse, weight: np.ndarray) -> Sparse:
    """Counts (n, v) to (1 + log count) * weight (v,), each row of length 1; the input is used up."""
    data = (1.0 + np.log(terms.data)) * weight[terms.indices]
    if terms.shape[0] == 1:
        # Summed one after another as for many rows: BLAS sums in another order, and the last bit would differ.
        square = np.bincount(np.zeros(len(data), dtype=np.int64), data**2, minlength=1)[0]
        terms.data = data / (math.sqrt(square) or 1.0)
        return terms
    counts = np.diff(terms.indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    length = np.sqrt(np.bincount(row, data**2, minlength=len(counts)))
    length[length == 0] = 1.0
    terms.data = data / length[row]
    return terms


def _under(parts: Sequence[Sparse], width: int) -> Sparse:
    """Sparse matrices one below the other."""
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([0, *(len(part.data) for part in parts)])
    indptr = np.concatenate([[0], *(part.indptr[1:] + end for part, end in zip(parts, ends))])
    data, indices = (np.concatenate([getattr(part, f) for part in parts]) for f in ("data", "indices"))
    return Sparse(data, indices, indptr, (len(indptr) - 1, width))


@step("project")
class Project(Step):
    """A sparse matrix times `axes` (v, d) float32 -> (n, d) float64."""

    axes: np.ndarray

    def check(self) -> None:
        need(self.axes.ndim == 2 and self.axes.dtype == np.float32, "axes are not a matrix of short floats")
        need(bool(np.isfinite(self.axes).all()), "axes are not finite")

    def __call__(self, terms: Sparse) -> np.ndarray:
        n, d = terms.shape[0], self.axes.shape[1]
        if n == 1:
            return np.add.reduce(terms.data[:, None] * self.axes[terms.indices], axis=0, keepdims=True)
        out = np.zeros((n, d))
        filled = np.flatnonzero(np.diff(terms.indptr))
        # A stripe of about a million products at a time; reduceat wants rows that are not empty.
        start = 0
        while start < len(filled):
            limit = terms.indptr[filled[start]] + max(1_000_000 // d, 1)
            stop = max(start + 1, int(np.searchsorted(terms.indptr[filled + 1], limit, side="right")))
            rows = filled[start:stop]
            low, high = terms.indptr[rows[0]], terms.indptr[rows[-1] + 1]
            products = terms.data[low:high, None] * self.axes[terms.indices[low:high]]  # (stripe, d)
            out[rows] = np.add.reduceat(products, terms.indptr[rows] - low, axis=0)
            start = stop
        return out


@step("text_stats")
class TextStats(Step):
    """Plain figures of a text: log(1 + characters), log(1 + words), and shares of digits, capitals and marks.

    Output j is `parts[j]` of column `columns[j]`. -> (n, p).
    """

    columns: tuple[str, ...]
    parts: tuple[str, ...]

    def check(self) -> None:
        _names(self.columns)
        need(len(self.parts) == len(self.columns), "text figures do not match their columns")
        need(set(self.parts) <= set(TEXT_STATS), "a text figure is unknown")

    def __call__(self, batch: Batch) -> np.ndarray:
        out = np.empty((batch.n, len(self.columns)))
        for j, (name, part) in enumerate(zip(self.columns, self.parts)):
            out[:, j] = [_figure(part, cell) for cell in batch.columns[name]]
        return out


def _figure(part: str, cell: str) -> float:
    if part == "characters":
        return float(np.log1p(len(cell)))
    read = cell[:TEXT_LIMIT]
    if part == "words":
        return float(np.log1p(len(_WORD.findall(read))))
    pattern = {"digits": _DIGIT, "capitals": _CAPITAL, "marks": _MARK}[part]
    return len(pattern.findall(read)) / max(len(read), 1)
