"""A number for a whole table: equal for equal cells, however they were stored.

It tells tables apart that differ by accident; it is no seal against forgers, because of long columns only the ends go
through SHA-256, and the rest through two sums that notice any changed or exchanged cell (8 times as fast).
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from everymodel.core.optional import installed
from everymodel.core.settings import Settings

EDGE = 50_000  # cells at either end of a long column
CHUNK = 1 << 15  # cells that stay in the cache


def fingerprint(frame: Any) -> str:
    """SHA-256 over column names and cells, in order; the index does not count."""
    total = hashlib.sha256(f"{len(frame)}\x1f{len(frame.columns)}".encode())
    columns = [frame.iloc[:, i] for i in range(len(frame.columns))]
    if len(frame) > 100_000:  # hashing lets other threads run
        with ThreadPoolExecutor(Settings.load().cores()) as pool:
            digests = list(pool.map(_column, columns))
    else:
        digests = [_column(series) for series in columns]
    for name, digest in zip(frame.columns, digests):
        total.update(f"\x1e{name}\x1f".encode("utf-8", "surrogatepass"))
        total.update(digest)
    return total.hexdigest()


def _column(series: Any) -> bytes:
    """Digest of one column."""
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series.dtype, np.dtype) and kind in "iufb":
        wide = np.float64 if kind == "f" else np.int64  # the width does not count, whole or not does
        return digest(np.ascontiguousarray(series.to_numpy(), dtype=wide))
    if isinstance(series.dtype, np.dtype) and kind == "M":
        stamps = series.to_numpy().astype("datetime64[us]").astype(np.int64)
        return b"date" + digest(stamps)
    if str(series.dtype) in ("str", "string") and installed("pyarrow"):
        made = _arrow_text(series)
        if made is not None:
            return made
    lengths = np.empty(len(series), dtype=np.int64)
    parts = []
    for j, cell in enumerate(series.tolist()):
        missing = cell is None or cell != cell if isinstance(cell, float | str | type(None)) else _missing(cell)
        part = b"" if missing else str(cell).encode("utf-8", "surrogatepass")
        lengths[j] = -1 if missing else len(part)
        parts.append(part)
    return _text_digest(lengths, [b"".join(parts)])


def digest(values: np.ndarray) -> bytes:
    """Digest of an array of 8-byte values."""
    words = values.view(np.uint64)
    n = len(words)
    if n <= 2 * EDGE:
        return hashlib.sha256(words).digest()
    plain = placed = 0
    weights = 2 * np.arange(CHUNK, dtype=np.uint64) + np.uint64(1)  # odd, so that every bit of a cell counts
    for start in range(0, n, CHUNK):
        part = words[start : start + CHUNK]
        total = int(part.sum())
        plain += total
        placed += int((part * weights[: len(part)]).sum()) + 2 * start * total
    sums = f"{n} {plain % 2**64} {placed % 2**64}".encode()
    return hashlib.sha256(sums + words[:EDGE].tobytes() + words[-EDGE:].tobytes()).digest()


def _missing(cell: Any) -> bool:
    try:
        return bool(cell != cell)
    except (TypeError, ValueError):
        return type(cell).__name__ == "NAType"


def _text_digest(lengths: np.ndarray, blocks: list[Any]) -> bytes:
    body = b"".join(blocks)
    words = np.frombuffer(body + bytes(-len(body) % 8), dtype=np.int64)
    return digest(np.ascontiguousarray(lengths, dtype=np.int64)) + digest(words)


def _arrow_text(series: Any) -> bytes | None:
    """The same digest straight from Arrow's buffers, without making Python strings."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.array(series)
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    lengths, blocks = [], []
    for chunk in chunks:
        if not pa.types.is_large_string(chunk.type):
            chunk = chunk.cast(pa.large_string())
        size = np.asarray(pc.fill_null(pc.binary_length(chunk), -1))
        lengths.append(size.astype(np.int64))
        if chunk.null_count and size[size > 0].sum() != _span(chunk)[1] - _span(chunk)[0]:
            return None  # bytes behind missing cells: rare, take the slow way
        start, stop = _span(chunk)
        data = chunk.buffers()[2]
        if data is not None and stop > start:
            blocks.append(memoryview(data)[start:stop])
    return _text_digest(np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64), blocks)


def _span(chunk: Any) -> tuple[int, int]:
    """(first, last) byte of a large_string array's text."""
    offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int64)
    return int(offsets[chunk.offset]), int(offsets[chunk.offset + len(chunk)])
