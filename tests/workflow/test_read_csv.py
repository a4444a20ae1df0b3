"""Delimited text in every state it arrives in: found out, repaired and counted, or refused with words."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import sys
import zipfile
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from everymodel.core.errors import ReadError
from everymodel.workflow.read import CODES, content, delimited, read


@pytest.fixture(params=["arrow", "pandas"])
def engine(request, monkeypatch):
    """Both readers: Arrow's, and pandas' for an install without it."""
    if request.param == "pandas":
        monkeypatch.setattr(delimited, "installed", lambda package: False)
    else:
        pytest.importorskip("pyarrow")
    return request.param


@pytest.fixture
def put(tmp_path):
    def write(body: str | bytes, name: str = "table.csv") -> str:
        path = tmp_path / name
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return str(path)

    return write


def codes(table) -> set[str]:
    found = {f.code for f in table.findings}
    assert found <= set(CODES)
    return found


def rows(table) -> list[list]:
    return [[None if pd.isna(v) else v for v in row] for row in table.frame.astype(object).values.tolist()]


GOOD = {
    "plain": ("a,b,c\n1,x,2.5\n2,y,\n3,z,4\n", ["a", "b", "c"], [[1, "x", 2.5], [2, "y", None], [3, "z", 4.0]]),
    "semicolons, decimal comma": ("a;b;c\n1,5;x;2\n2,25;y;3\n", ["a", "b", "c"], [[1.5, "x", 2], [2.25, "y", 3]]),
    "tabs": ("a\tb\n1\tx, y\n2\ty, z\n", ["a", "b"], [[1, "x, y"], [2, "y, z"]]),
    "pipes": ("a|b\n1|x\n2|y\n", ["a", "b"], [[1, "x"], [2, "y"]]),
    "blanks": ("1.0 2.0  3.5\n4.0 5.1 6\n7 8 9\n", ["column_1", "column_2", "column_3"],
               [[1.0, 2.0, 3.5], [4.0, 5.1, 6.0], [7.0, 8.0, 9.0]]),
    "no header": ("1,2,x\n3,4,y\n", ["column_1", "column_2", "column_3"], [[1, 2, "x"], [3, 4, "y"]]),
    "no header, words come again": ("red,s\nblue,m\nred,l\nblue,s\nred,m\n", ["column_1", "column_2"],
                                    [["red", "s"], ["blue", "m"], ["red", "l"], ["blue", "s"], ["red", "m"]]),
    "words only": ("name,city\nann,rome\nbob,paris\n", ["name", "city"], [["ann", "rome"], ["bob", "paris"]]),
    "years as names": ("q,2001,2002\nfr,1.5,2\nde,3,4\n", ["q", "2001", "2002"], [["fr", 1.5, 2], ["de", 3.0, 4]]),
    "quotes": ('a,b\n1,"x\ny"\n2,"z ""q"", w"\n', ["a", "b"], [[1, "x\ny"], [2, 'z "q", w']]),
    "blanks after separators": ('a, b\n1, "x, y"\n2, "z"\n', ["a", "b"], [[1, "x, y"], [2, "z"]]),
    "title above": ("Report of May\n\na,b,c\n1,2,3\n4,5,6\n", ["a", "b", "c"], [[1, 2, 3], [4, 5, 6]]),
    "row names": ("a,b\nr1,1,2\nr2,3,4\n", ["row", "a", "b"], [["r1", 1, 2], ["r2", 3, 4]]),
    "separator at the end": ("a,b\n1,2,\n3,4,\n", ["a", "b"], [[1, 2], [3, 4]]),
    "one column": ("a\n1\n2\n", ["a"], [[1], [2]]),
    "one row": ("a,b\n1,2\n", ["a", "b"], [[1, 2]]),
    "one row of numbers": ("1,2\n", ["column_1", "column_2"], [[1, 2]]),
    "Windows lines": ("a,b\r\n1,2\r\n3,4\r\n", ["a", "b"], [[1, 2], [3, 4]]),
    "old Mac lines": ("a,b\r1,2\r3,4\r", ["a", "b"], [[1, 2], [3, 4]]),
    "no line end": ("a,b\n1,2", ["a", "b"], [[1, 2]]),
    "header only": ("a,b\n", ["a", "b"], []),
    "codes with leading zeros": ("zip,b\n00123,01\n04560,0\n", ["zip", "b"], [["00123", 1], ["04560", 0]]),
    "null words": ("a,b\nNA,x\n1,null\n", ["a", "b"], [[None, "x"], [1.0, None]]),
    "other null words stay": ("a,b\n?,x\n1,-\n", ["a", "b"], [["?", "x"], ["1", "-"]]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_is_found_out(case, put, engine):
    body, names, expected = GOOD[case]
    table = read(put(body))
    assert list(table.frame.columns) == names
    assert rows(table) == expected
    assert ("no-header" in codes(table)) == (names[0] == "column_1")


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16-le"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32-le"),
        ("latin-1", "cp1252"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings(encoding, said, put, engine):
    table = read(put("naïve,b\n1,é\n2,ü\n".encode(encoding)))
    assert table.details["encoding"] == said and list(table.frame.columns) == ["naïve", "b"]
    assert rows(table) == [[1, "é"], [2, "ü"]] and not table.findings
    told = read(put("é,b\n1,я\n".encode("koi8-r", "replace")), encoding="koi8-r")
    assert told.frame.iloc[0, 1] == "я"


def test_wrong_encoding_is_refused(put):
    with pytest.raises(ReadError, match="not known"):
        read(put("a,b\n1,2\n"), encoding="klingon")
    with pytest.raises(ReadError, match="is not utf-16"):
        read(put("a,b\n1,é\n"), encoding="utf-16")
    with pytest.raises(ReadError, match="is not ascii"):
        read(put("a,b\n1,é\n"), encoding="ascii")


@pytest.mark.parametrize("before", [1, 300_000])
def test_mixed_encodings_are_repaired_and_counted(before, put, engine):
    body = b"a,b\n" + b"1,x\n" * before + "2,ü\n".encode("latin-1") + "3,é\n".encode()
    table = read(put(body))
    assert table.frame["b"].iloc[-2:].tolist() == ["ü", "é"] and len(table.frame) == before + 2
    note = next(f for f in table.findings if f.code == "mixed-encodings")
    assert note.data["lines"] == 1


def test_nul_bytes_are_removed_and_counted(put, engine):
    table = read(put(b"a,b\n1,x\x00y\n2,\x00z\n"))
    assert rows(table) == [[1, "xy"], [2, "z"]]
    assert next(f for f in table.findings if f.code == "nul-bytes").data["count"] == 2


def test_ragged_rows_are_evened_and_nothing_is_lost(put, engine):
    table = read(put("a,b,c\n1,2\n1,2,3,lost,too\n1,2,3\n1,2,3,\n4,5,6\n"))
    assert rows(table) == [[1, 2, None], [1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, 6]]
    note = next(f for f in table.findings if f.code == "ragged-rows")
    assert (note.data["short"], note.data["long"]) == (1, 1)
    assert note.data["surplus"] == [[3, ["lost", "too"]]]


def test_hopelessly_ragged_text_is_refused(put, engine):
    with pytest.raises(ReadError, match="not a table as it stands"):
        read(put("a,b,c\n1\n1,2,3,4\n1,2,3,4,5\n1,2\n4,5,6,7,8\n"))


@pytest.mark.parametrize("stray", ['1,5" pipe\n2,"y\n3,z\n4,w\n', '1,x\n2,"y\n3,z\n4,w\n'])
def test_stray_quotes_swallow_no_rows(stray, put):
    pytest.importorskip("pyarrow")
    table = read(put("a,b\n" + stray))
    assert table.frame["a"].tolist() == [1, 2, 3, 4] and "unbalanced-quotes" in codes(table)


def test_names_are_all_there_and_all_different(put, engine):
    table = read(put("a,a,,a_2\n1,2,3,4\n5,6,7,8\n"))
    assert list(table.frame.columns) == ["a", "a_3", "column_3", "a_2"]
    assert "renamed-columns" in codes(table) and rows(table)[0] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("late", "kind"), [("x,2", "O"), ("3.5,2", "f"), ("?,2", "O"), ("99999999999999999999,2", "f"), (",2", "f")]
)
def test_types_that_change_late_are_widened(late, kind, put, engine):
    table = read(put("a,b\n" + "1,2\n" * 400_000 + late + "\n"))
    assert len(table.frame) == 400_001
    assert table.frame["a"].dtype.kind == kind
    assert table.frame["b"].dtype.kind == "i"
    first = table.frame["a"].iloc[0]
    assert float(first) == 1


def test_a_column_empty_at_first(put, engine):
    table = read(put("a,b\n" + ",2\n" * 400_000 + "x,2\n"))
    assert table.frame["a"].iloc[-1] == "x" and table.frame["a"].isna().sum() == 400_000


@pytest.mark.parametrize("cell", ["x" * 5_000_000, '"' + "x,\n" * 1_700_000 + '"'], ids=["plain", "quoted"])
def test_a_cell_of_five_million_characters(cell, put, engine):
    before = csv.field_size_limit()
    table = read(put(f"a,b\n1,{cell}\n2,y\n"))
    assert len(table.frame) == 2 and len(table.frame["b"].iloc[0]) >= 5_000_000
    assert csv.field_size_limit() == before


def test_ten_thousand_columns(put, engine):
    names = [f"c{i}" for i in range(10_000)]
    body = "\n".join(",".join(str((i * j) % 7) for j in range(10_000)) for i in range(20))
    table = read(put(",".join(names) + "\n" + body + "\n"))
    assert table.frame.shape == (20, 10_000) and list(table.frame.columns) == names


def test_types(put):
    pytest.importorskip("pyarrow")
    body = "day,moment,time,flag,word\n2020-01-31,2020-01-31 10:00:00,10:00:00,true,x\n"
    body += "2020-02-01,2020-02-01 11:30:00,11:00:00,false,y\n"
    frame = read(put(body)).frame
    assert [frame[c].dtype.kind for c in frame] == ["M", "M", "O", "b", "O"]
    assert frame["time"].tolist() == ["10:00:00", "11:00:00"]


@pytest.mark.parametrize("pack", ["gz", "bz2", "xz", "zip", "zst"])
def test_compressed(pack, put):
    body = b"a,b\n1,x\n2,y\n"
    if pack == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("__MACOSX/._t.csv", b"junk")
            archive.writestr("t.csv", body)
        data = packed.getvalue()
    elif pack == "zst":
        arrow = pytest.importorskip("pyarrow")
        data = arrow.compress(body, "zstd", asbytes=True)
    else:
        data = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[pack](body)
    for name in (f"t.csv.{pack}", "t.csv"):  # the content decides, not the name
        table = read(put(data, name))
        assert rows(table) == [[1, "x"], [2, "y"]]
        assert table.details["compression"] in ("gzip", "bz2", "xz", "zip", "zstd")


def test_compressed_in_two_parts(put):
    table = read(put(gzip.compress(b"a,b\n1,x\n") + gzip.compress(b"2,y\n"), "t.csv.gz"))
    assert rows(table) == [[1, "x"], [2, "y"]]


def test_zip_with_several_files(put):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.csv", "a\n1\n")
        archive.writestr("two.csv", "a\n2\n")
    path = put(packed.getvalue(), "t.zip")
    with pytest.raises(ReadError, match=r"one\.csv, two\.csv"):
        read(path)
    assert rows(read(path, sheet="two.csv")) == [[2]]


@pytest.mark.parametrize("pack", ["gz", "bz2", "zip"])
def test_bombs_are_refused(pack, put, monkeypatch):
    monkeypatch.setattr(content, "ALWAYS", 8 << 20)
    zeros = b"0," * (6 << 20)
    if pack == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", zeros)
        data = packed.getvalue()
    else:
        data = gzip.compress(zeros) if pack == "gz" else bz2.compress(zeros)
    with pytest.raises(ReadError, match="bomb"):
        read(put(data, f"t.csv.{pack}"))


def test_one_endless_line_is_refused(put):
    with pytest.raises(ReadError, match="line of more than"):
        read(put(gzip.compress(b"0," * (20 << 20), 1)))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_cut_off_files_are_refused(pack, put):
    data = pack(np.random.default_rng(0).bytes(20_000).hex().encode())
    with pytest.raises(ReadError, match="cannot be unpacked"):
        read(put(data[: len(data) // 2]))


@pytest.mark.parametrize("body", [b"", b"\n \n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", gzip.compress(b"", mtime=0)])
def test_empty_files_are_refused(body, put):
    with pytest.raises(ReadError, match="empty"):
        read(put(body))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"%PDF-1.7 xxxx", "PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "Excel 97"),
        (b"\x80\x04\x95\x10\x00", "pickle"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"<html><body><h1>404</h1></body></html>", "without a table"),
        (b"<?xml version='1.0'?><rows/>", "XML"),
        (bytes(range(1, 32)) * 40, "not text"),
        (b"PAR1" + bytes(100), "cut off"),
        (b"PK\x03\x04" + bytes(100), "damaged or missing"),
    ],
    ids=lambda v: str(v)[:12],
)
def test_other_files_called_csv_are_refused_by_name(body, words, put):
    with pytest.raises(ReadError, match=words):
        read(put(body))


def test_places_that_hold_no_file(tmp_path):
    (tmp_path / "houses.csv").write_text("a\n1\n")
    with pytest.raises(ReadError, match=r"Did you mean houses\.csv"):
        read(tmp_path / "house.csv")
    with pytest.raises(ReadError, match=r"folder.*houses\.csv"):
        read(tmp_path)
    with pytest.raises(ReadError, match="web address"):
        read("https://example.org/t.csv")
    with pytest.raises(ReadError, match="at least 1"):
        read(tmp_path / "houses.csv", rows=0)


def test_options_win(put):
    path = put("1;2\n3;4\n")
    assert list(read(path, header=True).frame.columns) == ["1", "2"]
    assert read(path, separator=",").frame.shape[1] == 1
    assert read(put("a;b\n1,5;2\n"), decimal=".").frame["a"].tolist() == ["1,5"]
    assert rows(read(put("a,b\n1,2\n3,4\n5,6\n"), rows=2)) == [[1, 2], [3, 4]]


def test_standard_input_and_open_files(monkeypatch, put):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
    table = read("-")
    assert table.source == "<stdin>" and rows(table) == [[1, 2]]
    assert rows(read(io.BytesIO(b"a,b\n1,2\n"))) == [[1, 2]]
    assert rows(read(io.StringIO("a,b\n1,2\n"))) == [[1, 2]]
    with open(put("a,b\n1,2\n"), "rb") as stream:
        assert rows(read(stream)) == [[1, 2]]


def test_both_readers_agree(put, monkeypatch):
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    n = 2000
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "b": rng.integers(0, 9, n),
            "c": rng.choice(["x", "y,z", 'q"r', "ä"], n),
            "d": np.where(rng.random(n) < 0.1, np.nan, rng.random(n)),
        }
    )
    path = put(frame.to_csv(index=False))
    one = read(path)
    monkeypatch.setattr(delimited, "installed", lambda package: False)
    two = read(path)
    pd.testing.assert_frame_equal(one.frame, two.frame)
    assert one.fingerprint == two.fingerprint
    pd.testing.assert_frame_equal(one.frame, frame, check_dtype=False)


@pytest.mark.parametrize(
    "late", ["x,2,w\n", "3.5,2,w\n", ",2,\n", '1,2,"a\nb, c"\n', "1,2,ü\n", b"1,2,\xfc\n", "1,2\n", '1,2,"w\n']
)
def test_long_files_read_as_short_ones_do(late, put, monkeypatch):
    """A long file's first block is looked at for columns of words; nothing else may differ."""
    pytest.importorskip("pyarrow")
    tail = late if isinstance(late, bytes) else late.encode()
    path = put(b"a,b,c\n" + b"1,2,word\n" * 500_000 + tail + b"7,8,last\n")
    short = read(path)
    monkeypatch.setattr(delimited, "LONG", 1000)
    long = read(path)
    pd.testing.assert_frame_equal(long.frame, short.frame)
    assert long.fingerprint == short.fingerprint and long.frame["c"].iloc[-1] == "last"
    assert [f.to_dict() for f in long.findings] == [f.to_dict() for f in short.findings]


LONG_COLUMNS = {
    "float": lambda i: repr(i / 7),
    "gaps": lambda i: "NA" if i % 7 == 0 else str(i),
    "flag": lambda i: ("True", "False", "")[i % 3],
    "word": lambda i: ("ä", "bb", "", " ccc ")[i % 4],
    "day": lambda i: "" if i % 4 == 0 else f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}",
    "no day": lambda i: "2024-02-31" if i == 60_000 else f"2024-01-{1 + i % 28:02d}",
    "moment": lambda i: f"2024-01-{1 + i % 28:02d} 10:{i % 60:02d}:00.25",
    "zone": lambda i: f"2024-01-{1 + i % 28:02d}T10:{i % 60:02d}:00+02:00",
    "clock": lambda i: f"10:{i % 60:02d}",
    "nothing": lambda i: "",
    "huge": lambda i: str(2**70) if i == 60_000 else str(i),
    "code": lambda i: f"{i % 1000:05d}",
    "late word": lambda i: "x" if i == 60_000 else str(i),
    "late flag": lambda i: "false" if i == 60_000 else "1",
    "hex": lambda i: hex(i),
}


def test_every_kind_of_column_is_read_from_a_long_file_as_from_a_short_one(put, monkeypatch):
    """Long files go through another parser, which guesses types by pieces."""
    pytest.importorskip("pyarrow")
    for name, cell in LONG_COLUMNS.items():
        path = put("row,b\n" + "".join(f"{i},{cell(i)}\n" for i in range(70_000)))
        monkeypatch.setattr(delimited, "LONG", 1 << 40)
        short = read(path)
        monkeypatch.setattr(delimited, "LONG", 1000)
        long = read(path)
        pd.testing.assert_frame_equal(long.frame, short.frame, obj=name)
        assert long.fingerprint == short.fingerprint, name
    path = put("b,c\n" + " x,1\n" * 400_000)  # large enough for several pieces
    assert set(read(path).frame["b"]) == {" x"}


def test_short_rows_of_a_long_file_are_counted(put, monkeypatch):
    monkeypatch.setattr(delimited, "LONG", 1000)
    body = "a,b,c\n" + "1,2,x\n" * 200_000
    path = put(body + "1,2\n" + "1,2,x\n" * 200_000)
    table = read(path)
    (found,) = [f for f in table.findings if f.code == "ragged-rows"]
    assert found.data["short"] == 1 and len(table.frame) == 400_001
    assert not read(put(body)).findings


def test_fingerprint_does_not_depend_on_how_cells_are_stored():
    pa = pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    n = 250_001
    words = rng.choice(np.array(["", "x", "yé", "a longer one", None], dtype=object), n)
    days = np.datetime64("2000-01-01", "s") + rng.integers(0, 10**6, n)
    plain = pd.DataFrame({"a": words, "b": rng.integers(-9, 9, n), "c": np.round(rng.normal(size=n)), "d": days})
    plain.loc[::5, "d"] = pd.NaT
    print_of = read(plain).fingerprint
    cuts = [0, 1, 3, 32_769, 100_000, 200_003, n]
    text = pa.chunked_array([pa.array(words[i:j], pa.large_string()) for i, j in pairwise(cuts)])
    other = plain.astype({"b": "int8", "c": "float32", "d": "datetime64[ns]"})
    other["a"] = text.to_pandas()
    assert str(other["a"].dtype) == "str" and read(other).fingerprint == print_of
    twice = pd.DataFrame(np.repeat(plain[["b", "c"]].to_numpy(), 2, axis=0))[::2].reset_index(drop=True)
    assert read(twice.set_axis(["b", "c"], axis=1)).fingerprint == read(plain[["b", "c"]].astype(float)).fingerprint
    other.loc[100_001, "a"] = "changed"
    assert read(other).fingerprint != print_of
