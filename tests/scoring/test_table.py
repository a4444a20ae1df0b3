"""Rows of every form give the same Batch; what does not fit is named, cell by cell."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from everymodel.core.errors import ParameterError, SchemaError, TargetError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import table

pd = pytest.importorskip("pandas")

SCHEMA = Schema(
    (
        Column("id", "identifier", "ignored"),
        Column("size", "number", low=1.0, high=9.0),
        Column("price", "number", decimal=",", thousands="."),
        Column("city", "category", levels=("Bonn", "Köln", "3")),
        Column("new", "boolean", levels=("no", "yes")),
        Column("sold", "date"),
        Column("note", "text"),
        Column("y", "category", "target", levels=("a", "b")),
    ),
    task="binary",
    classes=("a", "b"),
)
ROWS = [
    {"size": 3, "price": "1.234,5", "city": "Köln", "new": "yes", "sold": "2024-02-29", "note": "fine house"},
    {"size": "4.5", "price": None, "city": 3.0, "new": False, "sold": dt.date(1970, 1, 2), "note": None},
    {"size": float("nan"), "price": 7, "city": "", "new": "", "sold": "", "note": " x "},
]
SECONDS = dt.datetime(2024, 2, 29, tzinfo=dt.UTC).timestamp()
EXPECTED = {
    "size": [3.0, 4.5, np.nan],
    "price": [1234.5, np.nan, 7.0],
    "city": [1, 2, -1],
    "new": [1.0, 0.0, np.nan],
    "sold": [SECONDS, 86400.0, np.nan],
}


def same(batch, expected=EXPECTED, n=3):
    assert batch.n == n
    assert list(batch.columns) and set(batch.columns) == {"size", "price", "city", "new", "sold", "note"}
    for name, values in expected.items():
        np.testing.assert_array_equal(batch.columns[name], np.asarray(values)[:n])
    assert batch.columns["city"].dtype == np.int32
    assert batch.columns["note"].tolist() == ["fine house", "", "x"][:n]


def columns():
    return {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.mark.parametrize("form", ["rows", "columns", "pandas", "shuffled", "extra"])
def test_every_form_reads_alike(form):
    if form == "rows":
        data = ROWS
    elif form == "columns":
        data = columns()
    else:
        data = pd.DataFrame(columns(), index=[9, 3, 9])
        if form == "shuffled":
            data = data[data.columns[::-1]]
        if form == "extra":
            data.insert(0, "more", 1)
            data["y"] = "a"
    batch, notes = table.parse(SCHEMA, data)
    same(batch)
    assert notes == []


def test_one_row_the_short_way_equals_the_long_way():
    for row in ROWS:
        short, _ = table.parse(SCHEMA, row)
        long, _ = table.parse(SCHEMA, [row, row])
        for name in long.columns:
            np.testing.assert_array_equal(short.columns[name], long.columns[name][:1])
            assert short.columns[name].dtype == long.columns[name].dtype


def test_a_series_is_one_row():
    batch, _ = table.parse(SCHEMA, pd.DataFrame(columns()).iloc[0])
    same(batch, n=1)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_tables(library):
    module = pytest.importorskip(library)
    plain = {
        "size": [3.0, 4.5, None],
        "price": ["1.234,5", None, "7"],
        "city": ["Köln", "3", None],
        "new": [True, False, None],
        "sold": [dt.date(2024, 2, 29), dt.date(1970, 1, 2), None],
        "note": ["fine house", None, " x "],
        "more": [1, 2, 3],
    }
    data = module.DataFrame(plain) if library == "polars" else module.table(plain)
    batch, notes = table.parse(SCHEMA, data)
    same(batch)
    assert notes == []
    if library == "polars":
        with pytest.raises(SchemaError, match="collect"):
            table.parse(SCHEMA, data.lazy())


def test_integer_columns_with_gaps_from_arrow():
    arrow = pytest.importorskip("pyarrow")
    schema = Schema((Column("a", "number"), Column("b", "date")))
    moment = dt.datetime(2020, 1, 1, 12)
    batch, _ = table.parse(schema, arrow.table({"a": [1, None, 3], "b": [moment, None, moment]}))
    np.testing.assert_array_equal(batch.columns["a"], [1, np.nan, 3])
    np.testing.assert_array_equal(batch.columns["b"], [1577880000.0, np.nan, 1577880000.0])


def test_array_needs_the_right_width():
    schema = Schema((Column("a", "number"), Column("b", "number")))
    batch, _ = table.parse(schema, np.array([[1.0, 2.0], [3.0, np.nan]]))
    np.testing.assert_array_equal(batch.columns["b"], [2, np.nan])
    with pytest.raises(SchemaError, match=r"\(rows, 2\)"):
        table.parse(schema, np.zeros((2, 3)))


def test_missing_columns_are_named_with_a_guess():
    row = {k: v for k, v in ROWS[0].items() if k not in ("size", "city")}
    with pytest.raises(SchemaError, match=r"'size' \(did you mean 'Size'\?\), 'city'") as caught:
        table.parse(SCHEMA, {**row, "Size": 3})
    assert [f["field"] for f in caught.value.fields] == ["size", "city"]
    batch, notes = table.parse(SCHEMA, row, missing_columns="impute")
    assert np.isnan(batch.columns["size"][0]) and batch.columns["city"][0] == -1
    assert [n["field"] for n in notes] == ["size", "city"]


def test_a_key_left_out_in_some_rows_is_a_noted_missing_cell():
    batch, notes = table.parse(SCHEMA, [ROWS[0], {k: v for k, v in ROWS[1].items() if k != "size"}])
    assert np.isnan(batch.columns["size"][1])
    assert notes[0]["row"] == 1 and notes[0]["field"] == "size"


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        ("size", "abc"),
        ("size", float("inf")),
        ("size", "1e999"),
        ("price", "12.34.5"),
        ("new", "perhaps"),
        ("sold", "2024-13-01"),
        ("sold", True),
        ("size", [1, 2]),
        ("size", 10**400),
        ("size", {"a": 1}),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_bad_cells_are_named(field, cell, many):
    bad = {**ROWS[0], field: cell}
    with pytest.raises(SchemaError, match=field) as caught:
        table.parse(SCHEMA, [*ROWS, bad] if many else bad)
    (offence,) = caught.value.fields
    assert offence["row"] == (3 if many else 0)
    assert offence["field"] == field
    assert offence["allowed"]


def test_bad_cells_may_count_as_missing():
    batch, notes = table.parse(SCHEMA, [{**ROWS[0], "size": "abc"}, ROWS[1]], bad="missing")
    assert np.isnan(batch.columns["size"][0])
    assert notes[0]["came"] == "abc" and notes[0]["action"] == "treated as missing"


def test_unseen_levels_follow_the_policy():
    rows = [{**ROWS[0], "city": "Ulm"}, {**ROWS[0], "city": "Ulm"}, {**ROWS[0], "city": "Hof"}]
    batch, notes = table.parse(SCHEMA, rows)
    assert batch.columns["city"].tolist() == [-2, -2, -2]
    assert [(n["came"], n["count"]) for n in notes] == [("Ulm", 2), ("Hof", 1)]
    assert table.parse(SCHEMA, rows, unseen="ignore")[1] == []
    with pytest.raises(SchemaError, match="Ulm") as caught:
        table.parse(SCHEMA, rows[0], unseen="error")
    assert caught.value.fields[0]["allowed"] == ["Bonn", "Köln", "3"]
    with pytest.raises(ParameterError):
        table.parse(SCHEMA, rows, unseen="maybe")


def test_odd_data_is_refused_in_words():
    for data in (5, "text", None, [1, 2], [[1, 2]], np.zeros(3), object()):
        with pytest.raises(SchemaError):
            table.parse(SCHEMA, data)
    with pytest.raises(SchemaError, match="different lengths"):
        table.parse(SCHEMA, {**columns(), "size": [1]})
    with pytest.raises(SchemaError, match="several columns"):
        table.parse(SCHEMA, pd.concat([pd.DataFrame(columns()), pd.DataFrame(columns())[["size"]]], axis=1))


def test_no_rows():
    batch, _ = table.parse(SCHEMA, pd.DataFrame(columns()).iloc[:0])
    assert batch.n == 0 and all(len(v) == 0 for v in batch.columns.values())
    assert table.parse(SCHEMA, [])[0].n == 0


def test_a_giant_cell_does_not_make_a_giant_message():
    with pytest.raises(SchemaError) as caught:
        table.parse(SCHEMA, {**ROWS[0], "size": "x" * 5_000_000})
    assert len(str(caught.value)) < 1000


def test_targets():
    assert table.parse_target(SCHEMA, ["a", "b", " a "]).tolist() == [0, 1, 0]
    with pytest.raises(TargetError, match="'c'"):
        table.parse_target(SCHEMA, ["a", "c"])
    with pytest.raises(TargetError, match="missing"):
        table.parse_target(SCHEMA, pd.Series(["a", None]))
    numbers = Schema((Column("y", "number", "target", decimal=","),), task="regression")
    assert table.parse_target(numbers, ["1,5", 2]).tolist() == [1.5, 2.0]
    with pytest.raises(TargetError, match="row 1"):
        table.parse_target(numbers, [1, "x"])
    typed = Schema((Column("y", "category", "target"),), task="multiclass", classes=(1, 2, 10))
    assert table.parse_target(typed, pd.Series([10.0, 1.0])).tolist() == [2, 0]
    truth = Schema((Column("y", "boolean", "target"),), task="binary", classes=(False, True))
    assert table.parse_target(truth, np.array([True, False])).tolist() == [1, 0]


def test_several_targets():
    two = Schema((Column("u", "number", "target"), Column("v", "number", "target")), task="regression")
    frame = pd.DataFrame({"v": [1.0, 2.0], "u": [3.0, 4.0]})
    assert table.parse_target(two, frame).tolist() == [[3.0, 1.0], [4.0, 2.0]]
    labels = Schema(
        (Column("u", "boolean", "target"), Column("v", "boolean", "target")), task="multilabel", classes=("u", "v")
    )
    assert table.parse_target(labels, np.array([[0, 1], [1, 1]])).tolist() == [[0.0, 1.0], [1.0, 1.0]]
    marked = Schema(
        (Column("tags", "text", "target"),),
        task="multilabel",
        classes=("red", "round"),
        note={"multilabel": {"column": "tags", "separator": "|"}},
    )
    assert table.parse_target(marked, ["red|round", None, "round"]).tolist() == [[1, 1], [0, 0], [0, 1]]
    with pytest.raises(TargetError, match="blue"):
        table.parse_target(marked, ["blue"])


def test_columns_of_texts_are_not_one_row():
    schema = Schema((Column("a", "text"), Column("b", "text")), task="regression")
    for kind in (list, tuple, np.array, pd.Series):
        batch, _ = table.parse(schema, {"a": kind(["x", "y"]), "b": kind(["z", None])})
        assert batch.n == 2
        assert batch.columns["a"].tolist() == ["x", "y"]
    batch, _ = table.parse(schema, {"a": "x", "b": None})
    assert (batch.n, batch.columns["a"].tolist(), batch.columns["b"].tolist()) == (1, ["x"], [""])
