"""A number for a whole table: equal for equal cells, however they were stored.

It tells tables apart that differ by accident; it is no seal against forgers, because of long columns only the ends go
through SHA-256, and the rest through two sums that notice any changed or exchanged cell (8 times as fast).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from everymodel.core.optional import installed
from everymodel.core.settings import Settings
from everymodel.scoring.cells import number_blocks

EDGE = 50_000  # cells at either end of a long column
CHUNK = 1 << 15  # cells that stay in the cache


def fingerprint(frame: Any) -> str:
    """SHA-256 over column names and cells, in order; the index does not count."""
    total = hashlib.sha256(f"{len(frame)}\x1f{len(frame.columns)}".encode())
    width = len(frame.columns)
    if len(frame) > 100_000:  # hashing lets other threads run
        with ThreadPoolExecutor(Settings.load().cores()) as pool:
            digests = dict(enumerate(pool.map(_column, (frame.iloc[:, i] for i in range(width)))))
    else:
        digests = {}
        for places, block in number_blocks(frame, range(width)):
            wide = np.float64 if block.dtype.kind == "f" else np.int64
            digests.update((place, digest(values, wide)) for place, values in zip(places, block))
        digests.update({i: _column(frame.iloc[:, i]) for i in range(width) if i not in digests})
    for i, name in enumerate(frame.columns):
        total.update(f"\x1e{name}\x1f".encode("utf-8", "surrogatepass"))
        total.update(digests[i])
    return total.hexdigest()


def _column(series: Any) -> bytes:
    """Digest of one column."""
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series.dtype, np.dtype) and kind in "iufb":
        wide = np.float64 if kind == "f" else np.int64  # the width does not count, whole or not does
        return digest(series.to_numpy(), wide)
    if isinstance(series.dtype, np.dtype) and kind == "M":
        return b"date" + digest(series.to_numpy(), "datetime64[us]")
    if str(series.dtype) in ("str", "string") and installed("pyarrow"):
        made = _arrow_text(series)
        if made is not None:
            return made
    lengths = np.empty(len(series), dtype=np.int64)
    parts = []
    for j, cell in enumerate(series.tolist()):
        missing = cell is None or cell != cell if isinstance(cell, float | str | type(None)) else _missing(cell)
        part = b"" if missing else _bytes_of(cell)
        lengths[j] = -1 if missing else len(part)
        parts.append(part)
    body = b"".join(parts)
    return digest(lengths, np.int64) + _pieced(len(body), [np.frombuffer(body, dtype=np.uint8)])


def _bytes_of(cell: Any) -> bytes:
    if isinstance(cell, np.ndarray) and cell.dtype != object:  # an image or a sequence: its text would be cut short
        return f"{cell.shape}{cell.dtype.str}".encode() + np.ascontiguousarray(cell).tobytes()
    return str(cell).encode("utf-8", "surrogatepass")


def digest(values: np.ndarray, wide: Any) -> bytes:
    """Digest of an array as 8-byte values of type `wide`; widened a stretch at a time, never as a whole."""
    n = len(values)
    stretches = (values[start : start + CHUNK] for start in range(0, n, CHUNK))
    return _summed(n, (np.ascontiguousarray(part, dtype=wide).view(np.uint64) for part in stretches))


def _pieced(size: int, pieces: Iterable[np.ndarray]) -> bytes:
    """Digest of `size` bytes that lie in several places, filled up with zeros to whole words."""
    return _summed(-(-size // 8), _stretches(pieces))


def _stretches(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The bytes of all pieces as words, CHUNK at a time. A stretch lives until the fourth after it is asked for."""
    ring = np.empty((4, CHUNK), dtype=np.uint64)
    room = ring.view(np.uint8)
    turn = filled = 0
    for piece in pieces:
        start = 0
        while start < len(piece):
            taken = min(len(piece) - start, room.shape[1] - filled)
            room[turn, filled : filled + taken] = piece[start : start + taken]
            start, filled = start + taken, filled + taken
            if filled == room.shape[1]:
                yield ring[turn]
                turn, filled = (turn + 1) % 4, 0
    if filled:
        whole = -(-filled // 8)
        room[turn, filled : 8 * whole] = 0
        yield ring[turn, :whole]


def _summed(n: int, stretches: Iterable[np.ndarray]) -> bytes:
    """Digest of `n` words that come in stretches of CHUNK; temporary memory stays in the cache."""
    if n <= 2 * EDGE:
        small = hashlib.sha256()
        for part in stretches:
            small.update(part)
        return small.digest()
    plain = placed = start = 0
    weights = 2 * np.arange(CHUNK, dtype=np.uint64) + np.uint64(1)  # odd, so that every bit of a cell counts
    weighted = np.empty(CHUNK, dtype=np.uint64)
    head: list[np.ndarray] = []
    tail: deque[np.ndarray] = deque(maxlen=3)  # two whole stretches and the last one hold EDGE words
    for part in stretches:
        here = len(part)
        total = int(part.sum())
        plain += total
        placed += int(np.multiply(part, weights[:here], out=weighted[:here]).sum()) + 2 * start * total
        if start < EDGE:
            head.append(part.copy())
        tail.append(part)
        start += here
    whole = hashlib.sha256(f"{n} {plain % 2**64} {placed % 2**64}".encode())
    whole.update(np.concatenate(head)[:EDGE])
    whole.update(np.concatenate(list(tail))[-EDGE:])
    return whole.digest()


def _missing(cell: Any) -> bool:
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):
        return type(cell).__name__ == "NAType"


def _arrow_text(series: Any) -> bytes | None:
    """The same digest straight from Arrow's buffers, without making Python strings or joining them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.array(series)
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    chunks = [c if pa.types.is_large_string(c.type) else c.cast(pa.large_string()) for c in chunks]
    spans = [_span(chunk) for chunk in chunks]
    size = sum(stop - start for start, stop in spans)
    seen = 0

    def lengths() -> Iterator[np.ndarray]:
        nonlocal seen
        for chunk in chunks:
            found = np.asarray(pc.fill_null(pc.binary_length(chunk), -1)).astype(np.int64, copy=False)
            seen += int(found.sum()) + chunk.null_count
            yield found.view(np.uint8)

    first = _pieced(8 * len(series), lengths())
    if seen != size:
        return None  # bytes behind missing cells: rare, take the slow way
    blocks = (
        np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[start:stop]
        for chunk, (start, stop) in zip(chunks, spans)
        if stop > start
    )
    return first + _pieced(size, blocks)


def _span(chunk: Any) -> tuple[int, int]:
    """(first, last) byte of a large_string array's text."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int64)
    return int(offsets[chunk.offset]), int(offsets[chunk.offset + len(chunk)])
