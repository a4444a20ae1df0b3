"""What bytes are, whatever their name says: compression undone within limits, and the kind of content."""

from __future__ import annotations

import bz2
import io
import lzma
import mmap
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from everymodel.core.errors import ReadError
from everymodel.core.optional import require

Buffer = bytes | mmap.mmap

# A table packs 3 to 30 times smaller. Far beyond that, it is a bomb (or a table that says nothing).
RATIO, ALWAYS = 250, 256 * 2**20  # refused where unpacked bytes exceed both RATIO * packed bytes and ALWAYS
CHUNK = 1 << 20


def content_of(path: str) -> Buffer:
    """The bytes of a file, mapped rather than copied where they can be."""
    if os.path.getsize(path) == 0:
        return b""
    with open(path, "rb") as stream:
        try:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # pipes and odd file systems
            return stream.read()


def packed_as(head: bytes) -> str | None:
    """The compression of bytes that start with `head`: "gzip" "bz2" "xz" "zip" "zstd", or None."""
    for word, mark in (("gzip", b"\x1f\x8b"), ("bz2", b"BZh"), ("xz", b"\xfd7zXZ\x00"), ("zip", b"PK\x03\x04")):
        if head.startswith(mark):
            return word
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else None


def kind_of(head: bytes) -> str:
    """What unpacked bytes that start with `head` hold; "text" where nothing else is recognised."""
    start = head[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for word, marks in (
        ("parquet", (b"PAR1",)),
        ("arrow", (b"ARROW1", b"\xff\xff\xff\xff")),
        ("feather 1", (b"FEA1",)),
        ("sqlite", (b"SQLite format 3\x00",)),
        ("excel 97", (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",)),
        ("pdf", (b"%PDF-",)),
        ("image", (b"\x89PNG", b"GIF8", b"\xff\xd8\xff")),
        ("hdf5", (b"\x89HDF",)),
        ("numpy", (b"\x93NUMPY",)),
        ("pickle", (b"\x80\x04\x95", b"\x80\x05\x95", b"\x80\x03c")),
        ("executable", (b"\x7fELF", b"MZ\x90")),
    ):
        if head.startswith(marks):
            return word
    if start.startswith((b"<!doctype html", b"<html", b"<table")) or (start[:1] == b"<" and b"<table" in start):
        return "html"
    if start.startswith(b"<?xml"):
        return "html" if b"<html" in start else "xml"
    if start.startswith((b'{"', b"{'", b"[{", b"[[", b"[ {", b"[\n", b"[\r", b"{\n", b"{\r")):
        return "json"
    return "text"


def unpack(data: Buffer, word: str, name: str, member: str | None = None) -> tuple[bytes, str]:
    """(unpacked bytes, name of the file inside). A zip must hold one table, unless `member` names one.

    Raises
    ------
    ReadError
        where the bytes are damaged, encrypted, hold several files, or grow beyond all reason.
    """
    if word == "zip":
        return _unzip(data, name, member)
    try:
        return _capped(_stream(data, word), len(data), name), name
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(f"{name} looks like {word}, but cannot be unpacked: {error}. Is it cut off?") from error


def _stream(data: Buffer, word: str) -> Iterator[bytes]:
    """Unpacked pieces of at most a few MB, whatever the bytes claim."""
    if word == "gzip":
        yield from _pieces(data, lambda: zlib.decompressobj(wbits=31), lambda d, block: d.decompress(block, CHUNK))
    elif word == "bz2":
        yield from _pieces(data, bz2.BZ2Decompressor, lambda d, block: d.decompress(block, CHUNK))
    elif word == "xz":
        yield from _pieces(data, lzma.LZMADecompressor, lambda d, block: d.decompress(block, CHUNK))
    else:
        arrow = require("pyarrow", "Reading .zst files")
        with arrow.CompressedInputStream(arrow.BufferReader(arrow.py_buffer(data)), "zstd") as stream:
            while block := stream.read(CHUNK):
                yield block


def _pieces(data: Buffer, make: Callable[[], Any], take: Callable[[Any, bytes], bytes]) -> Iterator[bytes]:
    """Feed packed blocks to a decompressor; streams that follow one another are read on."""
    at, machine = 0, make()
    rest = b""
    while True:
        if machine.eof:
            rest = machine.unused_data
            if not rest.strip(b"\0") and at >= len(data):
                return
            machine = make()
        if not rest and getattr(machine, "needs_input", True):
            rest, at = data[at : at + CHUNK], at + CHUNK
            if not rest:
                raise EOFError("the packed data ends too early")
        block = take(machine, rest)
        rest = getattr(machine, "unconsumed_tail", b"")
        if block:
            yield block


def _capped(pieces: Iterator[bytes], packed: int, name: str) -> bytes:
    limit = max(ALWAYS, RATIO * packed)
    parts, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise ReadError(
                f"{name} grows from {packed} bytes to more than {limit}: refused as a decompression bomb. If it is a "
                "real table, unpack it yourself and read the result."
            )
        parts.append(piece)
    return b"".join(parts)


def _unzip(data: Buffer, name: str, member: str | None) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith(("__MACOSX", "."))]
            names = [i.filename for i in files]
            if member is None and {"manifest.json", "spec.json"} <= set(names):
                raise ReadError(
                    f"{name} is a saved model; expected a table. Use it with: everymodel predict {name} DATA."
                )
            if member is not None:
                files = [i for i in files if i.filename == member]
            if len(files) != 1:
                what = f"no file called {member!r}" if member is not None else f"{len(names)} files"
                shown = ", ".join(names[:8])
                raise ReadError(f"{name} holds {what}; expected one table. Name one by sheet=: {shown}.")
            if files[0].flag_bits & 1:
                raise ReadError(f"{name} is encrypted with a password. Unpack it first.")
            with archive.open(files[0]) as stream:
                body = _capped(iter(lambda: stream.read(CHUNK), b""), max(files[0].compress_size, 1), name)
            return body, files[0].filename
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as error:
        raise ReadError(
            f"{name} starts like a zip file (a workbook is one too), but the rest of it is damaged or missing. Get it "
            "again from where it came."
        ) from error


def is_excel(data: Buffer) -> bool:
    """Whether a zip is a workbook of Excel 2007 or later."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile:
        return False
    return "xl/workbook.xml" in names
