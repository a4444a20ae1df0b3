"""The safetensors format in NumPy: eight bytes of header length, a JSON header, raw little-endian arrays.

The format is simple enough to be checked completely before any array is made, which is why files use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError

_WORDS = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: word for word, dtype in _WORDS.items()}
MAX_HEADER = 64 << 20
MAX_TENSORS = 1_000_000


def write(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Serialise arrays, widest items first so that each stays aligned; equal arrays give equal bytes."""
    entries: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):
        array = arrays[name]
        dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        if dtype not in _NAMES:
            raise ModelFileError(f"The array {name!r} has dtype {array.dtype}, which a model file cannot hold.")
        raw = np.ascontiguousarray(array, dtype=dtype).tobytes()
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(8, "little"), header, *parts])


def read(raw: bytes | memoryview) -> dict[str, np.ndarray]:
    """The inverse of `write`; the arrays are read-only views of `raw`.

    Raises
    ------
    ModelFileError
        unless offsets are contiguous and complete, dtypes known and shapes equal to the bytes given.
    """
    raw = memoryview(raw)
    if len(raw) < 8:
        raise ModelFileError("The arrays of the file are cut short.")
    length = int.from_bytes(raw[:8], "little")
    if length > MAX_HEADER or 8 + length > len(raw):
        raise ModelFileError("The array header of the file is longer than the file allows.")
    entries = load_json(bytes(raw[8 : 8 + length]), "array header")
    body = raw[8 + length :]
    if not isinstance(entries, dict) or len(entries) > MAX_TENSORS:
        raise ModelFileError("The array header of the file is not a table of arrays.")
    spans: list[tuple[int, int]] = []
    arrays: dict[str, np.ndarray] = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ModelFileError(f"The array {name[:80]!r} is described wrongly.")
        word, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        dtype = _WORDS.get(word) if isinstance(word, str) else None
        if dtype is None or not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or len(shape) > 8:
            raise ModelFileError(f"The array {name[:80]!r} has an unknown dtype, shape or place.")
        size = dtype.itemsize
        for side in shape:  # Python numbers: no overflow
            size *= side
        start, end = offsets
        if end - start != size or end > len(body):
            raise ModelFileError(f"The array {name[:80]!r} does not fit its place in the file.")
        spans.append((start, end))
        if dtype.kind == "b" and size and bytes(body[start:end]).strip(b"\0\1"):
            raise ModelFileError(f"The array {name[:80]!r} holds truth values other than 0 and 1.")
        if any(side > 2**40 for side in shape):
            raise ModelFileError(f"The array {name[:80]!r} has an impossible shape.")
        arrays[name] = np.frombuffer(body[start:end], dtype=dtype).reshape(shape)
    at = 0
    for start, end in sorted(spans):
        if start != at:
            raise ModelFileError("The arrays of the file overlap or leave gaps.")
        at = end
    if at != len(body):
        raise ModelFileError("There are bytes after the last array of the file.")
    return arrays


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)


def load_json(raw: bytes, what: str, depth: int = 64) -> Any:
    """JSON that may come from anyone: no NaN, no repeated keys, no more than `depth` levels."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise ValueError("a key stands twice")
        return made

    try:
        value = json.loads(raw, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"The {what} of the file is not valid JSON: {error}.") from error
    front = [value]
    for _ in range(depth):
        deeper: list[Any] = []
        for outer in front:
            inner = outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ()
            deeper.extend(i for i in inner if isinstance(i, dict | list))
        if not deeper:
            return value
        front = deeper
    raise ModelFileError(f"The {what} of the file is nested too deeply.")
