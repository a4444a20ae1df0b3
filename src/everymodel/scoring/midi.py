"""Pieces of music on a grid of frames, and MIDI files: read with every byte checked, written so that any player plays.

piece = from_midi(Path("tune.mid").read_bytes())
piece.frames                   # pitches that sound, frame by frame: ((48, 60, 64), (48, 60, 64), (50,), ...)
piece.save("again.mid")
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.core.files import atomic_write

GRID = 4  # frames of a quarter note, where nothing else is said
LARGEST = 64 << 20  # bytes of a file
FRAMES = 200_000  # of a piece
_NOTES = 2_000_000  # of a file
_DRUMS = 9  # the channel whose pitches are instruments
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_TICKS = 480  # of a quarter note in files that are written
_LENGTHS = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}  # data bytes by kind of event


@dataclass(frozen=True)
class Piece:
    """Music as frames of equal length.

    frames : for each frame the pitches that sound, ascending (MIDI numbers: 60 is the middle C).
    held : for each frame those of its pitches that go on from the frame before instead of being struck; None: each
        frame is struck anew. grid : frames of a quarter note. tempo : quarter notes a minute.
    """

    frames: tuple[tuple[int, ...], ...]
    held: tuple[tuple[int, ...], ...] | None = None
    grid: int = GRID
    tempo: float = 120.0

    def __len__(self) -> int:
        return len(self.frames)

    def __bytes__(self) -> bytes:
        """The piece as a MIDI file."""
        return to_midi(self)

    def __str__(self) -> str:
        """One line for each frame, such as "C3 E4 G4"; what is held stands in brackets."""
        return "\n".join(" ".join(self._told(t, p) for p in frame) or "-" for t, frame in enumerate(self.frames))

    def _told(self, t: int, pitch: int) -> str:
        name = f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"
        return f"({name})" if self.held is not None and pitch in self.held[t] else name

    def tolist(self) -> list[list[int]]:
        """The frames as lists of pitches."""
        return [list(frame) for frame in self.frames]

    def roll(self, low: int = 21, high: int = 108) -> np.ndarray:
        """(T, high - low + 1) uint8: 0 silent, 1 struck, 2 held. Pitches beyond are left out."""
        made = np.zeros((len(self), high - low + 1), dtype=np.uint8)
        for t, frame in enumerate(self.frames):
            for pitch in frame:
                if low <= pitch <= high:
                    made[t, pitch - low] = 2 if self.held is not None and pitch in self.held[t] else 1
        return made

    def picture(self, scale: int = 4) -> np.ndarray:
        """(h, w, 1) uint8: the roll as an image, time from left to right, high notes above, struck ones brighter."""
        grey = np.array([24, 255, 160], dtype=np.uint8)[self.roll().T[::-1]]
        return np.repeat(np.repeat(grey, scale, axis=0), scale, axis=1)[..., None]

    def notes(self) -> np.ndarray:
        """(n, 3): first frame, frame after the last, and pitch of each note."""
        made, sounding = [], {}
        for t, frame in enumerate([*self.frames, ()]):
            on = set(() if self.held is None or t == len(self) else self.held[t])
            made += [(sounding.pop(pitch), t, pitch) for pitch in [p for p in sounding if p not in on]]
            sounding |= {p: t for p in frame if p not in sounding}
        return np.array(sorted(made), dtype=np.int64).reshape(-1, 3)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a MIDI file."""
        with atomic_write(Path(path)) as stream:
            stream.write(bytes(self))


def from_notes(notes: np.ndarray, grid: int, tempo: float) -> Piece:
    """Notes (n, 3) of first frame, frame after the last and pitch as a piece."""
    end = int(notes[:, 1].max()) if len(notes) else 0
    if end > FRAMES:
        raise DataError(f"The piece has {end:,} frames; at most {FRAMES:,} are read. Cut it, or give a coarser grid.")
    states = np.zeros((end, 128), dtype=np.uint8)
    struck = np.zeros((end, 128), dtype=bool)
    for first, last, pitch in notes.tolist():
        states[first:last, pitch] = 1
        struck[first, pitch] = True
    frames = tuple(tuple(np.flatnonzero(row).tolist()) for row in states)
    held = tuple(tuple(np.flatnonzero(row).tolist()) for row in states.astype(bool) & ~struck)
    return Piece(frames, held, grid, tempo)


# --- reading ---


class _Bytes:
    """A place in the bytes of a file; whatever is missing is said with the place."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def take(self, count: int) -> bytes:
        if self.at + count > self.end:
            raise DataError(f"The MIDI file breaks off: {count} bytes are missing at byte {self.at:,}.")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        """A number of 7 bits a byte, up to four bytes."""
        value = 0
        for _ in range(4):
            byte = self.take(1)[0]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise DataError(f"The MIDI file is broken at byte {self.at - 1:,}: a number has more than four bytes.")


def from_midi(data: bytes, grid: int = GRID) -> Piece:
    """The notes of a MIDI file (format 0 or 1) brought to a grid. Drums and the pedal are left out.

    grid : frames of a quarter note.

    Raises
    ------
    DataError
        for what is no MIDI file, breaks off, or is too large; it names the byte.
    """
    if len(data) > LARGEST:
        raise DataError(f"A MIDI file of {len(data):,} bytes came; at most {LARGEST:,} are read.")
    source = _Bytes(data)
    if len(data) < 14 or source.take(4) != b"MThd":
        raise DataError("These bytes are no MIDI file: it would begin with MThd at byte 0.")
    size = struct.unpack(">I", source.take(4))[0]
    if size < 6:
        raise DataError(f"The MIDI file is broken at byte 4: its head has {size} bytes, expected 6.")
    kind, _, division = struct.unpack(">HHH", source.take(6))
    source.take(size - 6)
    if kind > 1:
        raise DataError(f"The MIDI file is of format {kind} at byte 8; formats 0 and 1 are read.")
    # Frames a second may stand there instead of ticks a beat: 120 beats a minute are assumed then.
    ticks = (256 - (division >> 8)) * (division & 0xFF) / 2 if division & 0x8000 else float(division)
    if ticks <= 0:
        raise DataError("The MIDI file is broken at byte 12: a quarter note has no ticks.")
    notes: list[tuple[int, int, int]] = []
    tempos: list[tuple[int, int]] = []
    while source.at < len(data):
        if len(data) - source.at < 8:
            break  # bytes behind the last chunk
        word, size = source.take(4), struct.unpack(">I", source.take(4))[0]
        if word != b"MTrk":
            if not notes and not word.isalnum():
                raise DataError(f"The MIDI file is broken at byte {source.at - 8:,}: expected a track.")
            source.take(min(size, len(data) - source.at))
            continue
        if size > len(data) - source.at:
            raise DataError(
                f"The MIDI file breaks off: the track at byte {source.at - 8:,} says {size:,} bytes, and "
                f"{len(data) - source.at:,} are left."
            )
        _track(_Bytes(data, source.at, source.at + size), notes, tempos)
        source.at += size
    if not notes:
        raise DataError("The MIDI file holds no notes but drums: there is nothing to learn from it.")
    beat = sorted(tempos)[0][1] if tempos else 500_000  # the first tempo
    tempo = min(max(60e6 / max(beat, 1), 10.0), 1000.0)
    array = np.array(notes, dtype=np.float64)
    first = np.floor(array[:, 0] * grid / ticks + 0.5)
    last = np.maximum(np.floor(array[:, 1] * grid / ticks + 0.5), first + 1)
    silent = math.floor(first.min() / (4 * grid)) * 4 * grid  # whole bars before the first note
    told = np.column_stack([first - silent, last - silent, array[:, 2]])
    return from_notes(told.astype(np.int64), grid, tempo)


def _track(source: _Bytes, notes: list[tuple[int, int, int]], tempos: list[tuple[int, int]]) -> None:
    """Adds (first tick, last tick, pitch) of the notes of one track, and its tempos (tick, microseconds a beat)."""
    now, status = 0, 0
    on: dict[tuple[int, int], int] = {}

    def end(channel: int, pitch: int) -> None:
        start = on.pop((channel, pitch), None)
        if start is not None and channel != _DRUMS:
            notes.append((start, now, pitch))
            if len(notes) > _NOTES:
                raise DataError(f"The MIDI file holds more than {_NOTES:,} notes at byte {source.at:,}.")

    while source.at < source.end:
        now += source.number()
        byte = source.take(1)[0]
        if byte == 0xFF:
            kind = source.take(1)[0]
            told = source.take(source.number())
            if kind == 0x51 and len(told) == 3:
                tempos.append((now, int.from_bytes(told, "big")))
            if kind == 0x2F:
                break
            continue
        if byte in (0xF0, 0xF7):
            source.take(source.number())
            continue
        if byte >= 0xF0:
            raise DataError(f"The MIDI file is broken at byte {source.at - 1:,}: {byte:#04x} cannot stand in a track.")
        if byte >= 0x80:
            status = byte
            first = source.take(1)[0]
        elif status:
            first = byte  # the event is of the same kind as the one before
        else:
            raise DataError(f"The MIDI file is broken at byte {source.at - 1:,}: a track begins within an event.")
        second = source.take(1)[0] if _LENGTHS[status >> 4] == 2 else 0
        if first > 127 or second > 127:
            raise DataError(f"The MIDI file is broken at byte {source.at - 1:,}: a value is above 127.")
        channel = status & 0x0F
        if status >> 4 == 9 and second:
            end(channel, first)
            on[channel, first] = now
        elif status >> 4 in (8, 9):
            end(channel, first)
    for channel, pitch in list(on):
        end(channel, pitch)


# --- writing ---


def to_midi(piece: Piece, program: int = 0, velocity: int = 80) -> bytes:
    """A MIDI file (format 0) of a piece. program : number of the instrument, 0 to 127; 0 is a piano."""
    scale = _TICKS / piece.grid
    events = []
    for first, last, pitch in piece.notes().tolist():
        events.append((round(first * scale), 1, bytes([0x90, pitch, velocity])))
        events.append((round(last * scale), 0, bytes([0x80, pitch, 0])))
    beat = min(max(round(60e6 / piece.tempo), 1), (1 << 24) - 1)
    body = bytearray(b"\x00\xff\x51\x03" + beat.to_bytes(3, "big") + bytes([0, 0xC0, program & 0x7F]))
    now = 0
    for tick, _, event in sorted(events):
        body += _number(tick - now) + event
        now = tick
    body += _number(max(round(len(piece) * scale) - now, 0)) + b"\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS) + b"MTrk" + struct.pack(">I", len(body)) + bytes(body)


def _number(value: int) -> bytes:
    parts = [value & 0x7F]
    while value > 0x7F:
        value >>= 7
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


# --- what users hold ---


def as_piece(cell: Any, grid: int = GRID) -> Piece:
    """A piece from what one may hold: a Piece, the bytes or the path (pathlib.Path) of a MIDI file, a roll, or frames.

    A roll is (T, 88), from the lowest key of a piano on, or (T, 128): 0 silent, 1 struck, 2 held. Frames are lists of
    pitches.

    Raises
    ------
    DataError
    """
    if isinstance(cell, Piece):
        return cell
    if isinstance(cell, bytes | bytearray | memoryview):
        return from_midi(bytes(cell), grid)
    if isinstance(cell, os.PathLike):
        path = Path(cell)
        if not path.is_file():
            raise DataError(f"There is no file {path}.")
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} has {path.stat().st_size:,} bytes; MIDI files of at most {LARGEST:,} are read.")
        return from_midi(path.read_bytes(), grid)
    if isinstance(cell, np.ndarray) and cell.ndim == 2:
        return _from_roll(cell, grid)
    if isinstance(cell, str) or not isinstance(cell, Iterable):
        raise DataError(f"{cell!r:.60} is no piece: give frames (lists of pitches), a roll, or a path (pathlib.Path).")
    frames = list(cell)
    if len(frames) > FRAMES:
        raise DataError(f"A piece of {len(frames):,} frames came; at most {FRAMES:,} are read.")
    made = []
    for t, frame in enumerate(frames):
        if isinstance(frame, str) or not isinstance(frame, Iterable):
            raise DataError(f"Frame {t} is {frame!r:.60}; expected a list of pitches, such as [48, 60, 64] or [].")
        made.append(tuple(sorted({_pitch(p, t) for p in frame})))
    return Piece(tuple(made), None, grid)


def _pitch(value: Any, t: int) -> int:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or value != value or value != int(value) or not 0 <= value <= 127:
        raise DataError(f"Frame {t} holds {value!r:.40}; expected pitches, whole numbers from 0 to 127.")
    return int(value)


def _from_roll(roll: np.ndarray, grid: int) -> Piece:
    if roll.shape[1] not in (88, 128) or roll.dtype.kind not in "biuf":
        raise DataError(f"A roll of shape {roll.shape} came; expected (T, 88) or (T, 128) of numbers.")
    if not np.isin(roll, (0, 1, 2)).all():
        raise DataError("A roll holds other values than 0 (silent), 1 (struck) and 2 (held).")
    low = 21 if roll.shape[1] == 88 else 0

    def told(rows: np.ndarray) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple((np.flatnonzero(row) + low).tolist()) for row in rows)

    if not (roll == 2).any():
        return Piece(told(roll != 0), None, grid)
    before = np.concatenate([np.zeros((1, roll.shape[1]), dtype=bool), roll[:-1] != 0])
    return Piece(told(roll != 0), told((roll == 2) & before), grid)


def as_pieces(data: Any, grid: int = GRID) -> tuple[list[Piece], list[str]]:
    """(pieces, sentences about what was left out) of a folder, a path, a list of paths, or what `as_piece` takes.

    Raises
    ------
    DataError
        when nothing of it is a piece.
    """
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        if path.is_dir():
            data = sorted(p for p in path.rglob("*") if p.suffix.lower() in (".mid", ".midi") and p.is_file())
            if not data:
                raise DataError(f"The folder {path} holds no MIDI file (.mid, .midi).")
        else:
            data = [path]
    elif isinstance(data, Piece | bytes) or (isinstance(data, np.ndarray) and data.ndim == 2 and data.dtype != object):
        data = [data]
    elif not isinstance(data, Iterable):
        raise DataError(f"A {type(data).__name__} came; expected pieces: a folder of MIDI files, rolls, or frames.")
    cells: Sequence[Any] = list(data)
    first = cells[0] if cells else None
    numbers = isinstance(first, list | tuple) and all(isinstance(p, int | float | np.number) for p in first)
    if numbers and any(isinstance(c, list | tuple) and c for c in cells):
        cells = [cells]  # one piece by itself
    made, wrong = [], []
    for i, cell in enumerate(cells):
        place = isinstance(cell, str | os.PathLike)
        try:
            piece = as_piece(Path(cell) if isinstance(cell, str) else cell, grid)
        except DataError as error:
            if not place and not isinstance(cell, bytes):
                raise DataError(f"Piece {i}: {error}") from error
            wrong.append(f"{cell if place else f'piece {i}'}: {error}")
            continue
        if any(piece.frames):
            made.append(piece)
        else:
            wrong.append(f"piece {i} is silent")
    if not made:
        raise DataError(
            f"None of {len(cells)} pieces can be read; the first: {wrong[0]}" if wrong else "No piece came."
        )
    notes = [f"{len(wrong)} of {len(cells)} pieces were left out; the first: {wrong[0]}"] if wrong else []
    return made, notes
