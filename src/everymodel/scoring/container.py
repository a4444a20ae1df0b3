"""The .em file: one zip of members in a fixed order, so that it can be checked completely before it is read.

    manifest.json       what the model is: format, schema, metrics, provenance (all of it readable by `inspect`)
    spec.json           steps by our own ids, and how arrays are packed; no Python names
    arrays.safetensors  the arrays, packed (see `shrink`)
    probe.json          how synthetic rows are made, and the answers they must give
    checksums.json      SHA-256 of each member above

Members are stored or, where that makes them smaller, deflated (at most MEMBER_RATIO times). They have fixed dates and
no attributes; headers, offsets and lengths must be the bytes that `encode` would write, so nothing can hide before,
between or after them. A signature would be a sixth member over checksums.json; there is none yet, because the standard
library cannot make one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import ModelFileError
from everymodel.scoring import tensors

FORMAT = 1  # raised when older programs could not read new files; every older number is read forever
MEMBERS = ("manifest.json", "spec.json", "arrays.safetensors", "probe.json", "checksums.json")
CAPS = {
    "manifest.json": 64 << 20,
    "spec.json": 64 << 20,
    "arrays.safetensors": 2**31 - 1,
    "probe.json": 64 << 20,
    "checksums.json": 4096,
}
MAX_FILE = 2**31 - 1
MAX_ARRAYS = 4 << 30  # bytes of all arrays after unpacking
MAX_RATIO = 1000  # of one array's bytes, unpacked to packed; zlib's own limit is 1032
MEMBER_RATIO = 200  # of a member's bytes, unpacked to packed
_SMALL = 1 << 18  # bytes; the arrays of larger members are packed one by one, and once more would be in vain
_LEVEL = 6
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Contents:
    """A file's members, checked and decoded, but not yet made into steps."""

    manifest: dict[str, Any]
    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]
    probe: dict[str, Any]


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(
    manifest: dict[str, Any], spec: dict[str, Any], arrays: Mapping[str, np.ndarray], probe: dict[str, Any]
) -> bytes:
    """The bytes of a file; equal contents give equal bytes."""
    packed, how = shrink(arrays)
    members = {
        "manifest.json": _json({**manifest, "format": FORMAT}),
        "spec.json": _json({**spec, "arrays": how}),
        "arrays.safetensors": tensors.write(packed),
        "probe.json": _json(probe),
    }
    return pack_members(members)


def pack_members(members: Mapping[str, bytes]) -> bytes:
    """The zip of the members, with new checksums."""
    members = {name: members[name] for name in MEMBERS[:-1]}
    members["checksums.json"] = _json({name: hashlib.sha256(raw).hexdigest() for name, raw in members.items()})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=False) as file:
        for name in MEMBERS:
            if len(members[name]) > CAPS[name]:
                raise ModelFileError(f"The model is too large for a file: {name} has {len(members[name])} bytes.")
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3
            info.external_attr = 0o600 << 16
            if _deflates(name, members[name]):
                info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, members[name], compresslevel=_LEVEL)
    return stream.getvalue()


def _deflates(name: str, raw: bytes) -> bool:
    """Whether a member becomes smaller, but not so small that `members` would take it for an attack."""
    if name == "arrays.safetensors" and len(raw) > _SMALL:
        return False
    return len(raw) / MEMBER_RATIO <= len(zlib.compress(raw, _LEVEL)) < 0.95 * len(raw)


def write(path: str | os.PathLike[str], raw: bytes) -> None:
    """Put the bytes where `path` says, all or nothing."""
    from everymodel.core.files import atomic_write  # reading does without the modules behind it

    with atomic_write(path) as stream:
        stream.write(raw)


def clean(value: Any) -> Any:
    """A value as JSON can hold it: NumPy numbers become Python's, NaN and infinity None, tuples lists."""
    kind = value.__class__
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if value - value == 0.0 else None
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(v) for v in value]
    if isinstance(value, np.ndarray):
        return clean(value.tolist())
    if isinstance(value, np.generic):
        return clean(value.item())
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    return value if isinstance(value, str | int) else str(value)


def _json(value: Any) -> bytes:
    return json.dumps(clean(value), allow_nan=False, separators=(",", ":")).encode()


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> Contents:
    """Open and check a file.

    Raises
    ------
    ModelFileError
        for anything that `encode` could not have written, and for files of a later format.
    """
    return decode(_bytes(path))


def decode(raw: bytes) -> Contents:
    """The inverse of `encode`, with every check."""
    found = members(raw)
    sums = tensors.load_json(found["checksums.json"], "checksums.json")
    if not isinstance(sums, dict) or set(sums) != set(MEMBERS[:-1]):
        raise ModelFileError("The checksums of the file are not those of its members.")
    manifest = _manifest(found["manifest.json"])  # before the sums: a later format may count them otherwise
    for name in MEMBERS[:-1]:
        if hashlib.sha256(found[name]).hexdigest() != sums[name]:
            raise ModelFileError(f"The member {name} does not have the checksum it was written with: it was changed.")
    spec = tensors.load_json(found["spec.json"], "spec.json")
    probe = tensors.load_json(found["probe.json"], "probe.json")
    if not isinstance(spec, dict) or not isinstance(probe, dict):
        raise ModelFileError("The spec or the probe of the file is not a JSON object.")
    arrays = expand(tensors.read(found["arrays.safetensors"]), spec.pop("arrays", {}))
    return Contents(manifest, spec, arrays, probe)


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest alone; no array is read and no step is made."""
    return _manifest(members(_bytes(path), only=("manifest.json",))["manifest.json"])


def _manifest(raw: bytes) -> dict[str, Any]:
    manifest = tensors.load_json(raw, "manifest.json")
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise ModelFileError("The file has no manifest that names its format: it is not a model of everymodel.")
    if manifest["format"] > FORMAT:
        raise ModelFileError(
            f"The file has format {manifest['format']}, written by everymodel {manifest.get('everymodel', '?')}; "
            f"this version reads up to format {FORMAT}. Upgrade with: pip install -U everymodel"
        )
    if manifest["format"] < 1:
        raise ModelFileError(f"The file claims the format {manifest['format']}, which never was.")
    return manifest


def _bytes(path: str | os.PathLike[str]) -> bytes:
    place = Path(path)
    try:
        size = place.stat().st_size
        if not place.is_file():
            raise ModelFileError(f"{place} is not a file.")
        if size > MAX_FILE:
            raise ModelFileError(f"{place} has {size} bytes; a model file has at most {MAX_FILE}.")
        return place.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{place} cannot be opened: {error.strerror}. Check the path.") from error


def members(raw: bytes, only: tuple[str, ...] = MEMBERS) -> dict[str, bytes]:
    """The members, after proving that the zip is laid out exactly as `encode` lays it out."""
    if not raw.startswith(b"PK\x03\x04"):
        raise ModelFileError("This is not a model file of everymodel (no zip). Models end in .em; fit makes them.")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            infos = file.infolist()
            if [i.filename for i in infos] != list(MEMBERS):
                names = ", ".join(i.filename[:40] for i in infos[:6])
                raise ModelFileError(f"The file holds {names}; a model file holds {', '.join(MEMBERS)} in this order.")
            at = directory = 0
            found: dict[str, bytes] = {}
            for info in infos:
                head, size = info.FileHeader(zip64=False), info.compress_size
                whole = info.file_size
                ways = {zipfile.ZIP_STORED: whole == size, zipfile.ZIP_DEFLATED: whole <= MEMBER_RATIO * size}
                plain = (
                    ways.get(info.compress_type, False)
                    and info.flag_bits == 0
                    and not info.extra
                    and not info.comment
                    and info.external_attr == 0o600 << 16
                    and info.header_offset == at
                    and raw[at : at + len(head)] == head
                )
                if not plain:
                    raise ModelFileError(
                        f"The member {info.filename} is encrypted, a link, out of place or packed in another way."
                    )
                if whole > CAPS[info.filename]:
                    raise ModelFileError(f"The member {info.filename} is larger than a model file allows.")
                if info.filename in only:
                    found[info.filename] = _member(raw[at + len(head) : at + len(head) + size], info)
                at += len(head) + size
                directory += 46 + len(info.filename)
            if file.comment or at + directory + 22 != len(raw):
                raise ModelFileError("There is something before, between or after the members of the file.")
            return found
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        ValueError,
        RuntimeError,
        OSError,
        struct.error,
    ) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"The file is damaged: {error}.") from error


def _member(raw: bytes, info: zipfile.ZipInfo) -> bytes:
    packed = info.compress_type == zipfile.ZIP_DEFLATED
    content = _inflate(raw, info.file_size, f"member {info.filename}", -zlib.MAX_WBITS) if packed else raw
    if zlib.crc32(content) != info.CRC:
        raise ModelFileError(f"The member {info.filename} does not have the sum it was written with: it was changed.")
    return content


def _inflate(raw: bytes, size: int, what: str, bits: int = zlib.MAX_WBITS) -> bytes:
    """The `size` bytes that were deflated; no more are ever made."""
    machine = zlib.decompressobj(bits)
    try:
        content = machine.decompress(raw, size)
        # Some versions of zlib hold the end of the stream back until asked once more.
        rest = machine.decompress(machine.unconsumed_tail, 1) if not machine.eof else b""
    except zlib.error as error:
        raise ModelFileError(f"The {what} is damaged: {error}.") from error
    if len(content) != size or rest or not machine.eof or machine.unused_data:
        raise ModelFileError(f"The {what} does not have the length it should.")
    return content


# --- arrays, packed --------------------------------------------------------------------------------------------------


def shrink(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Pack arrays without loss: narrow numbers, tables of repeated values, no zeros, bytes regrouped and deflated.

    Returns what to store, and for each array {"dtype", "shape", "stored", ...}, from which `expand` makes the very
    same array again: with "zip" the items are deflated; with "table" they are codes, with "zeros" bits that say which
    items are not zero, and the values (the rest) are stored as "<name>#" and described by "values".
    """
    stored: dict[str, np.ndarray] = {}
    how: dict[str, Any] = {}
    for name, array in arrays.items():
        array = np.ascontiguousarray(array).reshape(array.shape)  # which would make () into (1,)
        note: dict[str, Any] = {"dtype": array.dtype.newbyteorder("<").str, "shape": list(array.shape)}
        ways = [{}, *(way for way in (_table(array), _zeros(array)) if way is not None)]
        made: list[tuple[dict[str, np.ndarray], dict[str, Any]]] = []
        for way in ways:
            kept: dict[str, np.ndarray] = {}
            word, first, values = way or ("", array, None)
            said = _store(kept, name, first if way else _narrow(array))
            if values is not None:
                said |= {word: True, "values": _store(kept, name + "#", _narrow(values))}
            made.append((kept, said))
        kept, said = min(
            made, key=lambda one: sum(a.nbytes for a in one[0].values()) + (64 if "values" in one[1] else 0)
        )
        stored |= kept
        how[name] = note | said
    return stored, how


def _narrow(array: np.ndarray) -> np.ndarray:
    """The smallest dtype that holds the same values."""
    if array.size == 0:
        return array
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        for word in ("u1", "i1", "<u2", "<i2", "<u4", "<i4"):
            limits = np.iinfo(word)
            if limits.min <= low and high <= limits.max and np.dtype(word).itemsize < array.dtype.itemsize:
                return array.astype(word)
    if array.dtype == np.float64:
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        if np.array_equal(single.astype(np.float64).view(np.int64), array.view(np.int64)):
            return single
    return array


def _zeros(array: np.ndarray) -> tuple[str, np.ndarray, np.ndarray] | None:
    """("zeros", bits, the other values) where many floats are zero: leaves that no row has reached, dropped columns."""
    if array.dtype.kind != "f" or array.size < 64:
        return None
    kept = array.reshape(-1).view(f"<u{array.itemsize}") != 0  # bits, so that -0.0 is kept
    if np.count_nonzero(kept) > 0.95 * array.size:
        return None
    return "zeros", np.packbits(kept), array.reshape(-1)[kept]


def _table(array: np.ndarray) -> tuple[str, np.ndarray, np.ndarray] | None:
    """("table", codes, distinct values) where few floats, or few rows of leaves, repeat."""
    if array.dtype.kind != "f" or array.size < 64 or array.ndim > 2:
        return None
    rows = array.view(f"V{array.itemsize * array.shape[1]}").ravel() if array.ndim == 2 else array
    if array.ndim == 2 and array.shape[1] == 0:
        return None
    keys = rows if array.ndim == 2 else array.view(f"<u{array.itemsize}")  # bits, so that -0.0 and NaN survive
    if array.ndim == 2 and array.shape[1] == 1:
        keys = array.ravel().view(f"<u{array.itemsize}")
    found, codes = np.unique(keys, return_inverse=True)
    width = 1 if len(found) <= 256 else 2 if len(found) <= 65536 else 4
    row_bytes = array.nbytes // len(array)
    if len(found) * row_bytes + width * len(array) > 0.95 * array.nbytes:
        return None
    values = found.view(array.dtype).reshape(len(found), *array.shape[1:])
    return "table", codes.reshape(-1).astype(f"<u{width}"), values


def _store(stored: dict[str, np.ndarray], name: str, array: np.ndarray) -> dict[str, Any]:
    """Put the array, deflated where that helps, into `stored`, and say how."""
    note: dict[str, Any] = {"stored": array.dtype.newbyteorder("<").str}
    if array.nbytes >= 512:
        # Equal bytes of neighbouring numbers lie together, which is what deflate sees best.
        planes = np.ascontiguousarray(array.reshape(-1)).view(np.uint8).reshape(-1, array.itemsize).T
        raw = zlib.compress(np.ascontiguousarray(planes).tobytes(), _LEVEL)
        if len(raw) < 0.95 * array.nbytes and array.nbytes <= MAX_RATIO * len(raw):
            stored[name] = np.frombuffer(raw, dtype=np.uint8)
            return note | {"zip": array.size}
    stored[name] = array
    return note


_DTYPES = {"<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1", "<i1", "<u1"}


def expand(stored: Mapping[str, np.ndarray], how: Any) -> dict[str, np.ndarray]:
    """The inverse of `shrink`; sizes are checked before anything is unpacked."""
    if not isinstance(how, dict):
        raise ModelFileError("The file does not say how its arrays are packed.")
    used: set[str] = set()
    arrays: dict[str, np.ndarray] = {}
    total = 0
    for name, note in how.items():
        try:
            dtype, shape = _dtype(note["dtype"]), tuple(note["shape"])
            if len(shape) > 8 or not all(type(side) is int and 0 <= side < 2**40 for side in shape):
                raise ModelFileError(f"The array {name[:80]!r} has an impossible shape.")
            size = 1
            for side in shape:
                size *= side
            total += size * dtype.itemsize
            if total > MAX_ARRAYS:
                raise ModelFileError("The arrays of the file are larger than a model file allows.")
            if "table" in note:
                first = _unpack(stored, name, note, used, shape[0] if shape else size)
                array = _from_table(stored, name, note, used, first, shape)
            elif "zeros" in note:
                array = _with_zeros(stored, name, note, used, _unpack(stored, name, note, used, -(-size // 8)), size)
            else:
                array = _unpack(stored, name, note, used, size)
            if array.size != size:
                raise ModelFileError(f"The array {name[:80]!r} does not have the size it should.")
            array = array.reshape(shape)
            if array.dtype != dtype:
                if (array.dtype.kind == "f" and dtype.kind not in "f") or array.dtype.kind == "b":
                    raise ModelFileError(f"The array {name[:80]!r} changes its kind.")
                array = array.astype(dtype)
            arrays[name] = array
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"The array {name[:80]!r} cannot be unpacked: {error!r}.") from error
    if used != set(stored):
        raise ModelFileError("The file holds arrays that no step uses.")
    return arrays


def _from_table(
    stored: Mapping[str, np.ndarray],
    name: str,
    note: dict[str, Any],
    used: set[str],
    codes: np.ndarray,
    shape: tuple[int, ...],
) -> np.ndarray:
    width = 1
    for side in shape[1:]:
        width *= side
    values = _unpack(stored, name + "#", note["values"], used, None)
    if codes.dtype.kind != "u" or width == 0 or values.size % width or len(shape) == 0:
        raise ModelFileError(f"The array {name[:80]!r} has a wrong table.")
    values = values.reshape(-1, width)
    if codes.size and int(codes.max()) >= len(values):
        raise ModelFileError(f"The array {name[:80]!r} points outside its table.")
    return values[codes]


def _with_zeros(
    stored: Mapping[str, np.ndarray], name: str, note: dict[str, Any], used: set[str], bits: np.ndarray, size: int
) -> np.ndarray:
    if bits.dtype != np.uint8:
        raise ModelFileError(f"The array {name[:80]!r} has wrong marks of zeros.")
    kept = np.unpackbits(bits).astype(bool)
    values = _unpack(stored, name + "#", note["values"], used, int(kept.sum()))
    if kept[size:].any():
        raise ModelFileError(f"The array {name[:80]!r} has wrong marks of zeros.")
    array = np.zeros(size, dtype=values.dtype)
    array[kept[:size]] = values
    return array


def _dtype(word: Any) -> np.dtype:
    if not isinstance(word, str) or word not in _DTYPES:
        raise ModelFileError(f"The file uses an unknown dtype {word!r}.")
    return np.dtype(word)


def _unpack(
    stored: Mapping[str, np.ndarray], name: str, note: dict[str, Any], used: set[str], size: int | None
) -> np.ndarray:
    """One stored array, inflated; `size` is the number of items it must have where that is known."""
    if name not in stored:
        raise ModelFileError(f"The array {name[:80]!r} is not in the file.")
    used.add(name)
    dtype = _dtype(note["stored"])
    array = stored[name]
    items = note.get("zip")
    if items is None:
        if array.dtype != dtype or (size is not None and array.size != size):
            raise ModelFileError(f"The array {name[:80]!r} is not what the file says.")
        return array.reshape(-1)
    if type(items) is not int or items <= 0 or (size is not None and items != size) or array.dtype != np.uint8:
        raise ModelFileError(f"The packed array {name[:80]!r} is described wrongly.")
    wanted = items * dtype.itemsize
    if wanted > MAX_RATIO * array.size or wanted > MAX_ARRAYS:
        raise ModelFileError(f"The packed array {name[:80]!r} would grow more than {MAX_RATIO} times.")
    raw = _inflate(array.tobytes(), wanted, f"packed array {name[:80]!r}")
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(dtype.itemsize, items)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(-1)
