"""Image cells: paths, encoded bytes, arrays or Pillow images, read as one array of bytes (n, height, width, channels).

Arrays need numpy alone; encoded images (PNG, JPEG, ...) need Pillow. Resizing is done here for both, so that a model
sees the same pixels however an image comes.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from everymodel.core.errors import NotInstalledError
from everymodel.core.optional import pip_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000


class ImageCellError(ValueError):
    """A cell is no image that can be read; the text says why."""


def is_path(cell: Any) -> bool:
    """Whether a cell looks like the name of an image file."""
    return isinstance(cell, str | os.PathLike) and os.fspath(cell).lower().endswith(SUFFIXES)


def is_image(cell: Any) -> bool:
    """Whether a cell is an image itself: an array of two or three axes, or a Pillow image."""
    if isinstance(cell, np.ndarray):
        return (cell.ndim == 2 and min(cell.shape) > 1) or (cell.ndim == 3 and cell.shape[2] in (1, 2, 3, 4))
    return hasattr(cell, "getbands") and hasattr(cell, "size")


def pixels(cell: Any, near: tuple[int, int] | None = None, files: bool = True) -> np.ndarray:
    """One image as bytes (height, width, channels) with 1 or 3 channels; transparency is laid on white.

    Parameters
    ----------
    cell : path, encoded bytes, "data:image/png;base64,...", array (h, w) or (h, w, c) of bytes or of numbers (0 to 1,
        0 to 255, or 16 bits), nested lists of numbers, or Pillow image.
    near : (height, width) wanted in the end: decoders may then skip detail that is not needed.
    files : whether text may name a file; a server must not open what strangers name, so text is then base64.

    Raises
    ------
    ImageCellError
    """
    if isinstance(cell, list | tuple):
        try:
            cell = np.asarray(cell)
        except ValueError as error:
            raise ImageCellError("its rows differ in length") from error
    if isinstance(cell, np.ndarray) and cell.dtype.kind != "O":
        return _from_array(cell)
    if hasattr(cell, "getbands"):
        return _from_pillow(cell, near)
    if isinstance(cell, str) and (cell.startswith("data:") or not files):
        try:
            cell = base64.b64decode(cell.partition(",")[2] if cell.startswith("data:") else cell, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageCellError("its base64 text is damaged" if files else "it is no base64 text") from error
    if isinstance(cell, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(bytes(cell)), near)
    if isinstance(cell, str | os.PathLike):
        path = os.fspath(cell)
        if not os.path.isfile(path):
            raise ImageCellError("there is no such file")
        return _decoded(path, near)
    raise ImageCellError(f"it came as {type(cell).__name__}; expected a path, bytes, an array or a Pillow image")


def _decoded(source: Any, near: tuple[int, int] | None) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise NotInstalledError(
            f"Reading image files needs the package Pillow, which is not installed. Run: {pip_line('pillow')}"
        ) from error
    try:
        with Image.open(source) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageCellError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")
            if near is not None:
                image.draft(None, (2 * near[1], 2 * near[0]))
            return _from_pillow(image, near)
    except UnidentifiedImageError as error:
        raise ImageCellError("it is no image, or of an unknown format") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageCellError):
            raise
        raise ImageCellError(f"it is damaged ({str(error)[:80]})") from error


def _from_pillow(image: Any, near: tuple[int, int] | None) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return _from_array(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        array = np.asarray(image.convert("RGBA"), dtype=np.float32)
        share = array[:, :, 3:] / 255.0
        return np.rint(array[:, :, :3] * share + 255.0 * (1.0 - share)).astype(np.uint8)
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image.convert("RGB"))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not array.size:
        raise ImageCellError(f"it has shape {array.shape}; expected (height, width) or (height, width, channels)")
    if array.shape[2] not in (1, 2, 3, 4):
        raise ImageCellError(f"it has {array.shape[2]} channels; expected 1 to 4, after height and width")
    if max(array.shape) > MAX_SIDE:
        raise ImageCellError(f"it has shape {array.shape}; the longest side may be {MAX_SIDE}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype != np.uint8:
        if array.dtype.kind not in "iuf":
            raise ImageCellError(f"it holds {array.dtype}, not numbers")
        values = array.astype(np.float64)
        if not np.isfinite(values).all():
            raise ImageCellError("it holds missing or infinite numbers")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 65535:
            raise ImageCellError(f"its numbers run from {low:g} to {high:g}; expected 0 to 1, 0 to 255 or 16 bits")
        scale = 255.0 if array.dtype.kind == "f" and high <= 1.0 else 1.0 if high <= 255.0 else 255.0 / 65535.0
        array = np.rint(values * scale).astype(np.uint8)
    if array.shape[2] in (2, 4):  # the last channel is opacity
        share = array[:, :, -1:].astype(np.float32) / 255.0
        array = np.rint(array[:, :, :-1] * share + 255.0 * (1.0 - share)).astype(np.uint8)
    return array


def fit_to(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Bytes (h, w, c) as (height, width, channels): grey or colour as wanted, resized with antialiasing."""
    height, width, channels = (int(s) for s in shape)
    if image.shape[2] != channels:
        if channels == 1:  # ITU-R BT.601 luma
            grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
            image = np.rint(grey).astype(np.uint8)[:, :, None]
        else:
            image = np.repeat(image, 3, axis=2)
    if image.shape[:2] == (height, width):
        return image
    down, across = _weights(image.shape[0], height), _weights(image.shape[1], width)
    made = np.tensordot(down, image.astype(np.float32), axes=(1, 0))  # (height, w, c)
    made = np.einsum("hwc,vw->hvc", made, across, optimize=True)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


@lru_cache(maxsize=256)
def _weights(source: int, target: int) -> np.ndarray:
    """(target, source) weights of a triangle filter as wide as the step, at least one pixel (bilinear, antialiased)."""
    step = source / target
    reach = max(step, 1.0)
    centre = (np.arange(target) + 0.5) * step - 0.5
    made = np.maximum(0.0, 1.0 - np.abs(np.arange(source)[None, :] - centre[:, None]) / reach)
    return (made / made.sum(axis=1, keepdims=True)).astype(np.float32)


def stack(cells: Any, shape: Sequence[int], files: bool = True) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """All cells as bytes (n, height, width, channels), and (row, why) of those that cannot be read, which are zeros."""
    if isinstance(cells, np.ndarray) and cells.ndim in (3, 4) and cells.dtype != object:
        cells = list(cells)
    made = np.zeros((len(cells), *(int(s) for s in shape)), dtype=np.uint8)
    wrong: list[tuple[int, str]] = []
    near = (int(shape[0]), int(shape[1]))
    for row, cell in enumerate(cells):
        try:
            made[row] = fit_to(pixels(cell, near, files), shape)
        except ImageCellError as error:
            wrong.append((row, str(error)))
    return made, wrong


def as_png(image: np.ndarray) -> bytes:
    """Bytes (h, w, c) with 1 or 3 channels, or numbers of 16 bits, as a PNG file."""
    height, width, channels = image.shape
    deep = image.dtype == np.uint16
    body = np.ascontiguousarray(image, dtype=">u2" if deep else np.uint8).view(np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), body], axis=1)

    def chunk(word: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + word + body + zlib.crc32(word + body).to_bytes(4, "big")

    kind = [16 if deep else 8, 0 if channels == 1 else 2, 0, 0, 0]
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes(kind)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def data_url(image: np.ndarray) -> str:
    """Bytes (h, w, c) as text that browsers and `pixels` read."""
    return "data:image/png;base64," + base64.b64encode(as_png(image)).decode()


def grid(images: np.ndarray, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Images (n, h, w, c) side by side as one, row by row on white; by default about as many columns as rows."""
    n, height, width, channels = images.shape
    wide: int = min(columns or math.ceil(n**0.5), n)
    rows = -(-n // wide)
    made = np.full((rows * (height + gap) - gap, wide * (width + gap) - gap, channels), 255, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = i // wide * (height + gap), i % wide * (width + gap)
        made[top : top + height, left : left + width] = image
    return made


def common_shape(cells: Sequence[Any], longest: int | None = 64, keep: int = 96) -> tuple[tuple[int, int, int], bool]:
    """(height, width, channels) for a column of images, and whether they differ in size.

    Images of one size up to `keep` stay as they are; all others become `longest` on their longer side (None: as long as
    their median, up to `keep`), by their median proportions. One channel if no image has colour.
    """
    sizes, colour = [], False
    for cell in cells:
        try:
            image = pixels(cell)
        except ImageCellError:
            continue
        sizes.append(image.shape[:2])
        colour |= image.shape[2] == 3 and bool((image[:, :, :1] != image).any())
    if not sizes:
        return (longest or 64, longest or 64, 3), False
    mixed = len(set(sizes)) > 1
    height, width = (float(v) for v in np.median(np.array(sizes), axis=0))
    if mixed or max(height, width) > keep:
        scale = (longest or min(keep, max(height, width))) / max(height, width)
        height, width = height * scale, width * scale
    return (max(round(height), 1), max(round(width), 1), 3 if colour else 1), mixed
