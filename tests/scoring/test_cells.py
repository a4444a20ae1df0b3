"""Cells become the same values whether they come one by one or as a column, and nothing doubtful passes silently."""

from __future__ import annotations

import datetime as dt
import math
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from everymodel.scoring import cells

NUMBERS = [
    ("12.5", {}, 12.5),
    (" 7 ", {}, 7.0),
    ("1e3", {}, 1000.0),
    ("-.5", {}, -0.5),
    ("$1,200", {"thousands": ","}, 1200.0),
    ("US$ 1,200.50", {"thousands": ","}, 1200.5),
    ("-$5", {}, -5.0),
    ("$-5", {}, -5.0),
    ("€ 12,5", {"decimal": ","}, 12.5),
    ("1.234.567,8 €", {"decimal": ",", "thousands": "."}, 1234567.8),
    ("1\u202f234,5", {"decimal": ",", "thousands": " "}, 1234.5),
    ("1\u00a0234", {"thousands": " "}, 1234.0),
    ("1'234.5", {"thousands": "'"}, 1234.5),
    ("1,00,000", {"thousands": ","}, 100000.0),
    ("(3)", {}, -3.0),
    ("($1,200.00)", {"thousands": ","}, -1200.0),
    ("3-", {}, -3.0),
    ("\u22124", {}, -4.0),
    ("45%", {"percent": True}, 0.45),
    ("45,5 %", {"percent": True, "decimal": ","}, 0.455),
    ("0.45", {"percent": True}, 0.45),
    (True, {}, 1.0),
    (np.float32(0.5), {}, 0.5),
    (np.int8(-3), {}, -3.0),
    (dt.timedelta(minutes=1), {}, 60.0),
]
BAD_NUMBERS = [
    ("abc", {}),
    ("1,234", {}),  # thousands or decimal comma: not guessed
    ("12,34", {"thousands": ","}),
    ("1,2345", {"thousands": ","}),
    ("45%", {}),
    ("1_000", {}),
    ("inf", {}),
    ("-Infinity", {}),
    ("1e999", {}),
    ("--5", {}),
    ("(-5)", {}),
    ("5 kg", {}),
    ("1 2", {}),
    ("0x10", {}),
    ("9" * 500, {}),
    (float("inf"), {}),
    (10**400, {}),
    ([1], {}),
    ({"a": 1}, {}),
    (1 + 2j, {}),
]


@pytest.mark.parametrize(("cell", "style", "value"), NUMBERS, ids=repr)
def test_number(cell, style, value):
    assert cells.number(cell, **style) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(("cell", "style"), BAD_NUMBERS, ids=lambda x: repr(x)[:20])
def test_bad_numbers_are_refused(cell, style):
    with pytest.raises(ValueError):
        cells.number(cell, **style)


@pytest.mark.parametrize(
    "cell", [None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), "", " ", "NA", "n/a", "?", "-"]
)
def test_every_reader_takes_nothing_for_nothing(cell):
    assert cells.missing(cell)
    assert cells.text(cell) == ""
    assert math.isnan(cells.number(cell))
    assert math.isnan(cells.date(cell))
    assert math.isnan(cells.boolean(cell))
    assert cells.encode_levels([cell, "a"], ["a"]).tolist() == [-1, 0]


def test_text_is_canonical():
    given = [" a ", 3, 3.0, "3.0", "-2.0", 2.5, True, "True", np.float32(0.1), dt.date(2024, 1, 31), b"x", "007", 1e300]
    expected = ["a", "3", "3", "3", "-2", "2.5", "true", "true", "0.1", "2024-01-31", "x", "007", "1e+300"]
    assert [cells.text(cell) for cell in given] == expected
    assert cells.text(pd.Timestamp("2024-01-31 10:00")) == "2024-01-31T10:00:00"
    assert cells.as_text(pd.Series(given, dtype=object)).tolist() == expected


def test_equal_cells_of_different_types_stay_apart():
    # True == 1 == 1.0 as dict keys: a plain dict would give all three the text of the first
    assert cells.as_text(np.array([1, True, 1.0, "1"], dtype=object)).tolist() == ["1", "true", "1", "1"]
    assert cells.as_text(np.array([True, 1], dtype=object)).tolist() == ["true", "1"]


DATES = [
    ("2024-01-31", None, "2024-01-31"),
    ("2024-01-31T10:00:00Z", None, "2024-01-31T10:00:00"),
    ("2024-01-31 10:00:00+02:00", None, "2024-01-31T08:00:00"),
    ("31/01/2024", "%d/%m/%Y", "2024-01-31"),
    ("1/2/24 3:05 PM", "%m/%d/%y %I:%M %p", "2024-01-02T15:05:00"),
    ("12:30 AM", "%I:%M %p", "1970-01-01T00:30:00"),
    ("Jan 5, 2024", "%d/%m/%Y|%b %d, %Y", "2024-01-05"),
    ("5 Sept 2024", "%d %b %Y", "2024-09-05"),
    ("10/Oct/2000:13:55:36 -0700", "%d/%b/%Y:%H:%M:%S %z", "2000-10-10T20:55:36"),
    (20240131, "%Y%m%d", "2024-01-31"),
    (dt.date(1900, 3, 1), None, "1900-03-01"),
    (pd.Timestamp("2024-01-31", tz="Europe/Berlin"), None, "2024-01-30T23:00:00"),
    (np.datetime64("2024-01-31T01:00"), None, "2024-01-31T01:00:00"),
]


@pytest.mark.parametrize(("cell", "format", "expected"), DATES, ids=repr)
def test_date(cell, format, expected):
    assert cells.date(cell, format) == np.datetime64(expected, "s").astype(int)
    values, bad = cells.to_dates(pd.Series([cell, None], dtype=object), format)
    assert values[0] == cells.date(cell, format) and np.isnan(values[1]) and not bad.any()


@pytest.mark.parametrize(
    ("cell", "format"),
    [
        ("31/13/2024", "%d/%m/%Y"),
        ("30/02/2024", "%d/%m/%Y"),
        ("soon", None),
        ("2024", None),
        (20240131, None),
        (3.5, None),
    ],
)
def test_bad_dates_are_refused(cell, format):
    with pytest.raises(ValueError):
        cells.date(cell, format)


def test_dates_agree_with_strptime():
    rng = random.Random(0)
    formats = [
        "%d/%m/%Y",
        "%m-%d-%Y %H:%M",
        "%b %d, %Y",
        "%d %B %Y",
        "%Y.%m.%d %H:%M:%S",
        "%y-%m-%d",
        "%d-%b-%y %I:%M %p",
    ]
    for _ in range(500):
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(minutes=rng.randrange(0, 60 * 24 * 365 * 60))
        for format in formats:
            written = moment.strftime(format)
            read = dt.datetime.strptime(written, format)
            assert cells.date(written, format) == (read - dt.datetime(1970, 1, 1)).total_seconds()


def test_date_columns():
    zoned = pd.Series(pd.to_datetime(["2024-01-31", None])).dt.tz_localize("US/Eastern")
    values, bad = cells.to_dates(zoned)
    assert values[0] == np.datetime64("2024-01-31T05:00", "s").astype(int)
    assert np.isnan(values[1]) and not bad.any()
    old = np.array(["1800-01-01", "NaT"], dtype="datetime64[D]")
    assert cells.to_dates(old)[0][0] == old[0].astype("datetime64[s]").astype(int)


def test_boolean_words_of_the_column_win():
    assert [cells.boolean(c, ("no", "yes")) for c in ("No", "YES", True, "false", "1", 0)] == [0, 1, 1, 0, 1, 0]
    assert [cells.boolean(c, ("1", "2")) for c in ("1", "2", 2.0)] == [0, 1, 1]  # not 1 = true here
    with pytest.raises(ValueError):
        cells.boolean("maybe", ("no", "yes"))
    with pytest.raises(ValueError):
        cells.boolean(2, ("no", "yes"))
    values, bad = cells.to_booleans(pd.Series(["yes", None, "x"]), ("no", "yes"))
    assert values[0] == 1 and np.isnan(values[1:]).all() and bad.tolist() == [False, False, True]
    assert cells.to_booleans(np.array([True, False]))[0].tolist() == [1, 0]
    assert np.isnan(cells.to_booleans(pd.Series([True, None], dtype="boolean"))[0][1])


@pytest.mark.parametrize("dtype", ["int8", "Int64", "float32", "Float64", "boolean", "uint64"])
def test_numeric_columns_of_every_type(dtype):
    values, bad = cells.to_numbers(pd.Series([1, 0, 1], dtype=dtype))
    assert values.tolist() == [1, 0, 1] and values.dtype == np.float64 and not bad.any()


def test_infinite_numbers_are_bad_not_values():
    values, bad = cells.to_numbers(np.array([1.0, np.inf, -np.inf, np.nan]))
    assert values[0] == 1 and np.isnan(values[1:]).all()
    assert bad.tolist() == [False, True, True, False]


def test_input_arrays_are_not_changed():
    given = np.array([1.0, np.inf])
    cells.to_numbers(given)[0][0] = 9
    assert given.tolist() == [1.0, np.inf]
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    cells.to_numbers(frame["a"])[0][0] = 9
    assert frame["a"].tolist() == [1.0, 2.0]


def test_levels():
    levels = ["a", "3", "true"]
    given = pd.Series(["a", " a", 3, "3.0", True, "b", None], dtype=object)
    assert cells.encode_levels(given, levels).tolist() == [0, 0, 1, 1, 2, -2, -1]
    assert cells.encode_levels(pd.Series(["x", "a", None]).astype("category"), levels).tolist() == [-2, 0, -1]
    assert cells.encode_levels(["a"], {"a": 7}).dtype == np.int32


def test_columns_agree_with_single_cells_on_anything():
    pool = [
        "1",
        "2.5",
        "",
        "NA",
        "x",
        " 7",
        "(3)",
        "$4",
        "5%",
        "1,5",
        None,
        True,
        3,
        2.0,
        np.nan,
        pd.NaT,
        b"9",
        "1e400",
        "٣",
    ]
    rng = random.Random(1)
    given = [rng.choice(pool) for _ in range(300)]
    as_series = pd.Series(given, dtype=object)
    for style in ({}, {"percent": True}, {"decimal": ","}):
        values, bad = cells.to_numbers(as_series, **style)
        for cell, value, wrong in zip(given, values, bad):
            try:
                alone = cells.number(cell, **style)
                assert not wrong and (alone == value or (math.isnan(alone) and math.isnan(value)))
            except ValueError:
                assert wrong and math.isnan(value)


@pytest.mark.parametrize("kind", ["series", "string", "category", "numpy", "list", "polars", "arrow"])
def test_every_container_gives_the_same(kind):
    given = ["1,5", None, "x", "2", "1,5"]
    made = {
        "series": lambda: pd.Series(given, dtype=object),
        "string": lambda: pd.Series(given),
        "category": lambda: pd.Series(given).astype("category"),
        "numpy": lambda: np.array(given, dtype=object),
        "list": lambda: given,
        "polars": lambda: pytest.importorskip("polars").Series(given),
        "arrow": lambda: pytest.importorskip("pyarrow").array(given),
    }[kind]()
    values, bad = cells.to_numbers(made, decimal=",")
    np.testing.assert_array_equal(values, [1.5, np.nan, np.nan, 2, 1.5])
    assert bad.tolist() == [False, False, True, False, False]
    assert cells.encode_levels(made, ["2"]).tolist() == [-2, -1, -2, 0, -2]


def test_needs_numpy_alone():
    code = (
        "import sys; from everymodel.scoring import cells; assert not {'pandas', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
