"""MIDI files: what is written reads back alike, every kind of event is understood, broken files say where."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from everymodel.core.errors import DataError
from everymodel.scoring import midi
from everymodel.scoring.midi import Piece, as_piece, as_pieces, from_midi, to_midi


def file(*tracks: bytes, kind: int = 0, division: int = 96) -> bytes:
    """A MIDI file of these tracks."""
    head = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), division)
    return head + b"".join(b"MTrk" + struct.pack(">I", len(t)) + t for t in tracks)


END = b"\x00\xff\x2f\x00"


def test_pieces_survive_the_way_into_a_file_and_back():
    rng = np.random.default_rng(0)
    for grid, tempo in ((1, 60.0), (4, 120.0), (6, 93.5)):
        roll = np.zeros((40, 88), dtype=np.uint8)
        for t in range(40):
            roll[t, rng.choice(88, rng.integers(0, 5), replace=False)] = 1
            again = (roll[t - 1] > 0) & (rng.random(88) < 0.8) if t else roll[t] < 0
            roll[t, again] = 2
        roll[0, 30] = roll[-1, 40] = 1
        piece = Piece(*_parts(roll), grid, tempo)
        read = from_midi(bytes(piece), grid)
        assert np.array_equal(read.roll(), roll)
        assert read.tempo == pytest.approx(tempo, rel=1e-4)
        assert np.array_equal(as_piece(roll, grid).roll(), roll)


def _parts(roll: np.ndarray) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    def rows(mask: np.ndarray) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple((np.flatnonzero(row) + 21).tolist()) for row in mask)

    return rows(roll > 0), rows(roll == 2)


def test_every_kind_of_event_is_read():
    track = (
        b"\x00\xff\x03\x04name"  # words
        b"\x00\xff\x51\x03\x07\xa1\x20"  # 120 beats a minute
        b"\x00\xf0\x03\x01\x02\xf7"  # a message of a device
        b"\x00\xc0\x05\x00\xb0\x07\x64\x00\xe0\x00\x40\x00\xd0\x10\x00\xa0\x3c\x10"
        b"\x00\x90\x3c\x40"  # C4 on
        b"\x00\x40\x40"  # E4 on, of the same kind as the event before
        b"\x81\x40\x3c\x00"  # C4 off after two beats, as a note without strength
        b"\x00\x99\x24\x7f"  # a drum
        b"\x60\x80\x40\x00" + END
    )
    piece = from_midi(file(track), grid=1)
    assert piece.frames == ((60, 64), (60, 64), (64,))
    assert piece.held == ((), (60, 64), (64,))
    assert piece.tempo == 120


def test_several_tracks_strange_chunks_and_frames_a_second():
    one = b"\x00\x90\x3c\x40\x60\x80\x3c\x00" + END
    two = b"\x60\x90\x43\x40" + END  # a note that nothing ends, without length
    strange = b"XFIH" + struct.pack(">I", 3) + b"abc"
    data = file(one, two, kind=1)
    data = data[:14] + strange + data[14:] + b"\x00\x00"  # and bytes behind the end
    assert from_midi(data, 1).frames == ((60,), (67,))
    smpte = file(b"\x00\x90\x3c\x40\x19\x80\x3c\x00" + END, division=((256 - 25) << 8) | 2)  # 25 ticks: one beat
    assert from_midi(smpte, 2).frames == ((60,), (60,))


def test_silence_before_the_first_bar_is_cut_and_the_place_in_the_bar_stays():
    late = file(b"\x86\x60\x90\x3c\x40\x60\x80\x3c\x00" + END)  # 864 ticks: nine beats
    assert from_midi(late, 1).frames == ((), (60,))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no MIDI"),
        (b"RIFF" + bytes(40), "no MIDI"),
        (b"MThd" + struct.pack(">IHHH", 6, 2, 1, 96), "format 2 at byte 8"),
        (b"MThd" + struct.pack(">IHHH", 6, 0, 1, 0), "byte 12"),
        (b"MThd" + struct.pack(">IHHH", 1 << 31, 0, 1, 96), "breaks off"),
        (file(b"\x00\x3c\x40" + END), "begins within an event"),
        (file(b"\x00\x90\x3c\xff" + END), "above 127"),
        (file(b"\xff\xff\xff\xff\x00" + END), "more than four bytes"),
        (file(b"\x00\x90\x3c"), "1 bytes are missing at byte 25"),
        (file(b"\x00\xf8" + END), "cannot stand in a track"),
        (file(END), "no notes"),
        (file(END)[:-2], "4 bytes, and 2 are left"),
    ],
)
def test_broken_files_say_where(data: bytes, told: str):
    with pytest.raises(DataError, match=told):
        from_midi(data)


def test_hostile_files_are_refused_or_read_and_nothing_else():
    rng = np.random.default_rng(1)
    good = to_midi(Piece(((60, 64), (60,), (), (67,)), None, 4, 100.0))
    for _ in range(400):
        data = bytearray(good)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        try:
            from_midi(bytes(data[: rng.integers(8, len(data) + 1)]))
        except DataError:
            pass


def test_sizes_are_capped(monkeypatch: pytest.MonkeyPatch):
    far = file(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00" + END, division=1)
    with pytest.raises(DataError, match="frames"):
        from_midi(far)
    monkeypatch.setattr(midi, "LARGEST", 10)
    with pytest.raises(DataError, match="at most 10"):
        from_midi(bytes(11))
    monkeypatch.setattr(midi, "_NOTES", 1)
    monkeypatch.setattr(midi, "LARGEST", 1000)
    with pytest.raises(DataError, match="more than 1 notes"):
        from_midi(to_midi(Piece(((60, 64),))))


def test_what_users_hold(tmp_path: Path):
    piece = as_piece([[64, 60, 60], [], (np.int64(67),), [72.0]], 2)
    assert piece.frames == ((60, 64), (), (67,), (72,)) and piece.grid == 2
    assert str(piece).splitlines() == ["C4 E4", "-", "G4", "C5"]
    path = tmp_path / "a.mid"
    piece.save(path)
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    (tmp_path / "note.txt").write_text("no music")
    pieces, notes = as_pieces(tmp_path, 2)
    assert [p.frames for p in pieces] == [piece.frames]
    assert "1 of 2 pieces were left out" in notes[0] and "bad.mid" in notes[0]
    assert as_pieces([str(path), path.read_bytes()], 2)[0] == pieces * 2
    assert [len(p) for p in as_pieces([[60], [62, 64]])[0]] == [2]  # one piece by itself
    assert piece.picture(2).shape == (176, 8, 1)
    for wrong in ([[60.5]], [[128]], [[True]], [["C4"]], [60], "tune", 7, np.zeros((3, 5)), np.full((3, 88), 3.0)):
        with pytest.raises(DataError):
            as_piece(wrong)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no MIDI file"):
        as_pieces(empty)
