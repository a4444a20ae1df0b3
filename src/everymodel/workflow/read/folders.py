"""A folder of files as a table: a row per image or sound, and the name of its folder as the class."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import ReadError
from everymodel.core.finding import Finding
from everymodel.scoring.images import SUFFIXES, is_path

SOUNDS = (".wav",)
COLUMN = "folder"  # the name of the class column


def read_folder(path: Path, findings: list[Finding]) -> tuple[Any, str]:
    """(frame, "images" or "sounds"): columns image (path) or sound (samples), and folder, the first folder below.

    Files that lie in `path` itself have no class. Hidden files and empty folders are left out and said.

    Raises
    ------
    ReadError
        where there are no images or sounds.
    """
    import pandas as pd

    images: list[tuple[str, str | None]] = []
    sounds: list[tuple[str, str | None]] = []
    others, empty = 0, []
    for root, folders, files in os.walk(path, followlinks=False):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        inside = Path(root).relative_to(path).parts
        label = inside[0] if inside else None
        here = 0
        for name in sorted(files):
            if name.startswith("."):
                continue
            low = name.lower()
            if low.endswith(SUFFIXES) or low.endswith(SOUNDS):
                (images if low.endswith(SUFFIXES) else sounds).append((os.path.join(root, name), label))
                here += 1
            else:
                others += 1
        if len(inside) == 1 and not here and not folders:
            empty.append(inside[0])
    if not images and not sounds:
        inside = sorted(p.name for p in path.iterdir())[:5]
        shown = f" It holds {', '.join(inside)}." if inside else ""
        raise ReadError(
            f"{str(path)!r} is a folder without images or sounds; expected one file, or a folder of images "
            f"(a folder per class).{shown} Name the file."
        )
    kind, chosen = ("images", images) if len(images) >= len(sounds) else ("sounds", sounds)
    other = len(sounds) if kind == "images" else len(images)
    if empty:
        text = f"{len(empty)} folders hold no file that can be read: {', '.join(empty[:5])}."
        findings.append(Finding("empty-folders", "warning", text, "They are no class of the model."))
    if others + other:
        text = f"{others + other} other files in the folder were left out."
        findings.append(Finding("files-left-out", "info", text, ""))
    labels = [label for _, label in chosen]
    if kind == "images":
        frame = pd.DataFrame({"image": [p for p, _ in chosen]})
    else:
        read = [_sound(p) for p, _ in chosen]
        cells = np.empty(len(read), dtype=object)
        cells[:] = [samples for samples, _ in read]
        rates = sorted({rate for _, rate in read})
        if len(rates) > 1:
            text = f"The sounds have {len(rates)} sampling rates, from {rates[0]} to {rates[-1]} per second."
            findings.append(Finding("mixed-rates", "warning", text, "Bring them to one rate: speed changes pitch."))
        frame = pd.DataFrame({"sound": cells})
    if any(label is not None for label in labels):
        frame[COLUMN] = labels
    return frame, kind


def _sound(path: str) -> tuple[np.ndarray, int]:
    """(samples (T,) float32 in -1 to 1, rate) of a WAV file with whole-number samples; channels are averaged."""
    try:
        with wave.open(path, "rb") as stream:
            rate, channels, width = stream.getframerate(), stream.getnchannels(), stream.getsampwidth()
            raw = stream.readframes(stream.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise ReadError(
            f"{path!r} cannot be read as a WAV file ({error}). Remove it, or write it as 16-bit PCM."
        ) from error
    if width == 1:
        samples = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif width == 2:
        samples = np.frombuffer(raw, "<i2").astype(np.float32) / 32768.0
    elif width == 3:
        parts = np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = parts[:, 0] | (parts[:, 1] << 8) | (parts[:, 2] << 16)
        samples = np.where(whole >= 1 << 23, whole - (1 << 24), whole).astype(np.float32) / np.float32(1 << 23)
    else:
        samples = np.frombuffer(raw, "<i4").astype(np.float32) / np.float32(2.0**31)
    if not len(samples):
        raise ReadError(f"{path!r} holds no sound. Remove it.")
    return samples.reshape(-1, channels).mean(axis=1), rate


def beside(frame: Any, folder: str) -> Any:
    """The frame with columns of image files as they are found from the folder of the table."""
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        if getattr(column.dtype, "kind", "O") in "iufbMm" or not len(column):
            continue
        some = [cell for cell in column.head(50).tolist() if isinstance(cell, str)][:20]
        if not some or not all(is_path(cell) for cell in some):
            continue
        if any(os.path.isfile(os.path.join(folder, cell)) for cell in some):
            frame = frame.copy(deep=False)
            found = [os.path.join(folder, c) if isinstance(c, str) and c else c for c in column.tolist()]
            frame.isetitem(place, found)
    return frame
