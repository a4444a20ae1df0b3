"""Sources other than delimited text, and the fingerprint of what was read."""

from __future__ import annotations

import io
import json
import re
import sqlite3

import numpy as np
import pandas as pd
import pytest

import everymodel as em
from everymodel.core.errors import NotInstalledError, ParameterError, ReadError
from everymodel.workflow.read import CODES, read


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0.5, np.nan, 2.5], "d": pd.to_datetime(["2020-01-01"] * 3)}
    )


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.reset_index(drop=True), two.reset_index(drop=True), check_dtype=False)


def test_parquet_and_arrow(frame, tmp_path):
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    assert read(tmp_path / "t.parquet").format == "parquet"
    same(read(tmp_path / "t.parquet").frame, frame)
    same(read(tmp_path / "t.feather").frame, frame)
    assert len(read(tmp_path / "t.parquet", rows=2).frame) == 2
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.parquet").read_bytes())
    table = read(tmp_path / "t.csv")
    same(table.frame, frame)
    assert [f.code for f in table.findings] == ["read-as"]
    body = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(body[: len(body) // 2])
    with pytest.raises(ReadError, match="cut off"):
        read(tmp_path / "cut.parquet")


def test_arrow_stream_and_decimals(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from decimal import Decimal

    table = pa.table({"a": pa.array([Decimal("1.5"), None]), "t": pa.array([1, 2], pa.time32("s")), "b": ["x", "y"]})
    with pa.ipc.new_stream(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    found = read(tmp_path / "t.arrow").frame
    assert found["a"].dtype == np.float64 and found["t"].tolist() == ["00:00:01", "00:00:02"]
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert list(read(twice).frame.columns) == ["a", "a_2"]


JSON = {
    "lines": ('{"a":1,"b":"x"}\n{"a":2}\n\n', [[1, "x"], [2, None]]),
    "array": ('[{"a":1,"b":"x"},{"b":"y"}]', [[1, "x"], [None, "y"]]),
    "pretty array": ('[\n  {"a": 1, "b": "x"},\n  {"a": 2, "b": "y"}\n]', [[1, "x"], [2, "y"]]),
    "columns": ('{"a":[1,2],"b":["x","y"]}', [[1, "x"], [2, "y"]]),
    "pretty columns": ('{\n"a":[1,2],\n"b":["x","y"]\n}', [[1, "x"], [2, "y"]]),
    "rows under a key": ('{"n":2,"data":[{"a":1,"b":"x"},{"a":2,"b":"y"}]}', [[1, "x"], [2, "y"]]),
    "split": ('{"columns":["a","b"],"data":[[1,"x"],[2,"y"]]}', [[1, "x"], [2, "y"]]),
    "lists with a header": ('[["a","b"],[1,"x"],[2,"y"]]', [[1, "x"], [2, "y"]]),
    "one object": ('{"a":1,"b":"x"}', [[1, "x"]]),
}


@pytest.mark.parametrize("case", JSON)
def test_json(case, tmp_path):
    body, expected = JSON[case]
    for name in ("t.json", "t.jsonl", "t.txt"):
        (tmp_path / name).write_text(body)
        found = read(tmp_path / name).frame
        assert list(found.columns) == ["a", "b"]
        cells = [[None if pd.isna(v) else v for v in row] for row in found.astype(object).values.tolist()]
        assert cells == expected


def test_nested_json_becomes_columns(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a":{"b":1,"c":{"d":"x"}},"e":[1,2]}\n{"a":{"b":2},"e":[]}\n')
    table = read(tmp_path / "t.jsonl")
    assert list(table.frame.columns) == ["a.b", "a.c.d", "e"] and table.frame["e"].iloc[0] == [1, 2]
    assert "nested-values" in {f.code for f in table.findings}


@pytest.mark.parametrize("body", ['{"a":1,', '[{"a":1},', "[{}", '[["a"],' + "[" * 100_000, '{"a":1}\nx\ny\nz\n'])
def test_broken_json_is_refused(body, tmp_path):
    (tmp_path / "t.json").write_text(body)
    with pytest.raises(ReadError, match="JSON"):
        read(tmp_path / "t.json")


def test_a_broken_line_is_counted(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a":1}\n' * 30 + '{"a"\n')
    table = read(tmp_path / "t.jsonl")
    assert len(table.frame) == 30
    assert next(f for f in table.findings if f.code == "unreadable-lines").data["lines"] == [31]


def test_excel(frame, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        pd.DataFrame({"q": [1]}).to_excel(writer, sheet_name="small", index=False)
        frame.to_excel(writer, sheet_name="big", index=False)
    table = read(tmp_path / "t.xlsx")
    same(table.frame, frame)
    assert table.format == "excel" and [f.code for f in table.findings] == ["one-of-several"]
    assert read(tmp_path / "t.xlsx", sheet="small").frame["q"].tolist() == [1]
    assert read(tmp_path / "t.xlsx", sheet=0).frame["q"].tolist() == [1]
    with pytest.raises(ReadError, match="'small', 'big'"):
        read(tmp_path / "t.xlsx", sheet="none")
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.xlsx").read_bytes())
    same(read(tmp_path / "t.csv").frame, frame)
    book = openpyxl.Workbook()
    for row in (["Sales of May"], [], ["a", "b", "c"], [1, 2.5, "x"], [2, None, "y"]):
        book.active.append(row)
    book.save(tmp_path / "title.xlsx")
    table = read(tmp_path / "title.xlsx")
    assert list(table.frame.columns) == ["a", "b", "c"] and "skipped-lines" in {f.code for f in table.findings}
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    with pytest.raises(ReadError, match="empty"):
        read(tmp_path / "empty.xlsx")


def test_html_page(tmp_path):
    pytest.importorskip("lxml")
    page = "<html><head><meta charset='latin-1'></head><body><table><tr><td>menu</td></tr></table><table>"
    page += (
        "<tr><th>a</th><th>b</th></tr><tr><td>1</td><td>é</td></tr><tr><td>2</td><td>NA</td></tr></table></body></html>"
    )
    (tmp_path / "page.html").write_bytes(page.encode("latin-1"))
    table = read(tmp_path / "page.html")
    assert table.frame["b"].tolist() == ["é", "NA"] and table.format == "html"
    (tmp_path / "t.csv").write_bytes(page.encode("latin-1"))
    table = read(tmp_path / "t.csv")
    assert table.frame["a"].tolist() == [1, 2] and "read-as" in {f.code for f in table.findings}


def test_sqlite_file(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as link:
        link.execute("create table small (q int)")
        link.execute('create table "odd ""name" (a int, b text)')
        link.executemany('insert into "odd ""name" values (?, ?)', [(i, f"w{i}") for i in range(10)])
        link.execute("insert into small values (1)")
    link.close()
    table = read(path)
    assert len(table.frame) == 10 and [f.code for f in table.findings] == ["one-of-several"]
    assert read(path, sheet="small").frame["q"].tolist() == [1]
    assert read(path, query='select a from "odd ""name" where a > 7').frame["a"].tolist() == [8, 9]
    with pytest.raises(ReadError, match="no such table"):
        read(path, query="select * from absent")
    with pytest.raises(ReadError, match="readonly"):
        read(path, query="insert into small values (2)")


def test_database_by_url(tmp_path):
    pytest.importorskip("sqlalchemy")
    with sqlite3.connect(tmp_path / "shop.db") as link:
        link.execute("create table t (a int, b text)")
        link.executemany("insert into t values (?, ?)", [(1, "x"), (2, None)])
    link.close()
    url = f"sqlite:///{tmp_path}/shop.db"
    table = read(url, query="select a, b, b from t order by a")
    assert list(table.frame.columns) == ["a", "b", "b_2"] and table.format == "sql" and len(table.frame) == 2
    assert len(read(url, query="t", rows=1).frame) == 1
    with pytest.raises(ReadError, match="query is needed"):
        read(url)
    with pytest.raises(ReadError, match="no such table"):
        read(url, query="select * from absent")
    with pytest.raises(ReadError, match="cannot be read"):
        read("sqlite://u:secret@@@host:port:x/", query="t")


def test_passwords_never_show(monkeypatch):
    sqlalchemy = pytest.importorskip("sqlalchemy")

    def refuse(address):
        raise RuntimeError(
            f"could not connect to {address.render_as_string(hide_password=False)} with p%40ss/word p@ss/word"
        )

    url = "postgresql://me:p%40ss%2Fword@host/shop"
    with pytest.raises(ReadError) as caught:
        read(url)
    assert "p%40ss" not in str(caught.value) and "me:***@host" in str(caught.value)
    monkeypatch.setattr(sqlalchemy, "create_engine", refuse)
    with pytest.raises(ReadError) as caught:
        read(url, query="t")
    shown = str(caught.value) + repr(caught.value.__cause__)
    assert "p@ss" not in shown and "p%40ss%2Fword" not in shown
    monkeypatch.undo()
    try:
        import psycopg  # noqa: F401
    except ImportError:
        with pytest.raises((NotInstalledError, ReadError)) as caught:
            read(url, query="t")
        assert "p@ss" not in str(caught.value)


def objects(frame):
    yield "pandas", frame, "pandas"
    yield "dict of columns", {"a": [1, 2, 3], "b": ["x", None, "z"]}, "pandas"
    yield "list of dicts", [{"a": 1, "b": "x"}, {"a": 2}, {"a": 3, "b": "z"}], "pandas"
    pl = pytest.importorskip("polars")
    yield "polars", pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}), "polars"
    yield "lazy polars", pl.LazyFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}), "polars"
    pa = pytest.importorskip("pyarrow")
    yield "arrow", pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}), "arrow-table"
    yield "batch", pa.record_batch({"a": [1, 2, 3], "b": ["x", None, "z"]}), "arrow-table"


def test_objects(frame):
    for what, source, format in objects(frame):
        table = read(source)
        assert table.format == format, what
        same(table.frame[["a", "b"]], frame[["a", "b"]])
    assert read({"a": 1, "b": "x"}).frame.shape == (1, 2)
    assert list(read(np.ones((2, 3))).frame.columns) == ["column_1", "column_2", "column_3"]
    assert list(read([[1, "x"], [2, "y"]]).frame.columns) == ["column_1", "column_2"]
    assert read(read(frame)).frame is not None
    assert read(pd.Series([1, 2], name="s")).frame.columns.tolist() == ["s"]
    assert read("sample:iris").frame.shape == (150, 5)


@pytest.mark.parametrize(
    "source", [3, None, [], {}, [1, 2], np.ones(3), {"a": [1, 2], "b": [1]}, object()], ids=lambda s: str(s)[:12]
)
def test_no_tables(source):
    with pytest.raises(ReadError, match=r"table|expected"):
        read(source)


def test_frames_are_not_changed_and_names_become_text():
    given = pd.DataFrame([[1, 2, 3]], columns=[0, "x", "x"], index=[7])
    table = read(given)
    assert list(table.frame.columns) == ["0", "x", "x_2"] and table.frame.index.tolist() == [7]
    assert list(given.columns) == [0, "x", "x"]
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    assert list(read(levels).frame.columns) == ["a_b", "a_c"]


def test_fingerprint_names_the_cells(frame, tmp_path):
    print_of = read(frame).fingerprint
    assert len(print_of) == 64
    assert read(frame.set_index(pd.Index([9, 8, 7]))).fingerprint == print_of
    assert read(frame.astype({"b": object})).fingerprint == print_of
    for other in (
        frame.rename(columns={"a": "q"}),
        frame[["b", "a", "c", "d"]],
        frame.iloc[::-1],
        frame.assign(a=[1, 2, 4]),
        frame.assign(b=["x", "", "z"]),
        frame.assign(b=["x", None, "y"]),
        frame.assign(c=[0.5, 0.0, 2.5]),
        frame.iloc[:2],
    ):
        assert read(other).fingerprint != print_of
    glued = pd.DataFrame({"a": ["xy", "z"]}), pd.DataFrame({"a": ["x", "yz"]})
    assert read(glued[0]).fingerprint != read(glued[1]).fingerprint
    sliced = pd.concat([frame, frame]).iloc[3:]
    assert read(sliced).fingerprint == print_of
    pa = pytest.importorskip("pyarrow")
    chunked = pa.concat_tables([pa.Table.from_pandas(frame.iloc[:1]), pa.Table.from_pandas(frame.iloc[1:])])
    assert read(chunked).fingerprint == print_of
    frame.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").fingerprint == print_of


def test_fingerprint_of_long_columns_notices_every_cell():
    rng = np.random.default_rng(0)
    n = 300_000
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 9, n), "c": rng.choice(["x", "yy", "zé"], n)})
    print_of = read(frame).fingerprint
    assert read(frame.copy()).fingerprint == print_of
    assert read(frame.astype({"c": object})).fingerprint == print_of
    for column in "abc":
        for i, j in ((0, 1), (n // 2, n // 2 + 77), (n - 2, n - 1), (7, 150_000)):
            values = frame[column].tolist()
            if values[i] == values[j]:
                continue
            exchanged = values.copy()
            exchanged[i], exchanged[j] = values[j], values[i]
            changed = values.copy()
            changed[i] = values[j]
            assert read(frame.assign(**{column: exchanged})).fingerprint != print_of
            assert read(frame.assign(**{column: changed})).fingerprint != print_of


def test_codes_are_documented():
    assert all(text.endswith(".") and key == key.lower() for key, text in CODES.items())
    assert json.dumps(CODES) and io.StringIO


def test_json_of_columns_as_pandas_writes_it(tmp_path):
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    frame.to_json(tmp_path / "t.json")
    assert read(tmp_path / "t.json").frame.to_dict("list") == frame.to_dict("list")


def test_json_lists_of_labels_stay_lists(tmp_path):
    (tmp_path / "t.json").write_text('[{"a": 1, "t": ["red", "blue"]}, {"a": 2, "t": ["red"]}]')
    assert read(tmp_path / "t.json").frame["t"].tolist() == [["red", "blue"], ["red"]]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"sheet": "x"}, "just one table"),
        ({"query": "SELECT 1"}, "just one table"),
        ({"separator": "ab"}, "one character"),
        ({"separator": 3}, "one character"),
        ({"decimal": ";"}, "'.' or ','"),
        ({"decimal": ",", "separator": ","}, "other than the separator"),
        ({"rows": 0}, "at least 1"),
        ({"rows": "x"}, "whole number"),
        ({"encoding": 3}, "expected text"),
    ],
)
def test_options_that_mean_nothing_are_refused(option, words, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(ReadError, match=re.escape(words)):
        em.look(path, **option)
    assert len(em.look(path, sheet=0).schema.columns) == 2  # the first and only table


def test_options_of_other_sources_are_refused():
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    with pytest.raises(ReadError, match="a table in memory"):
        read(frame, separator=";")
    with pytest.raises(ReadError, match="a table in memory"):
        read(read(frame), rows=1)
    with pytest.raises(ReadError, match="a sample"):
        read("sample:iris", sheet="x")
    with pytest.raises(ParameterError, match="sheets= is not an option"):
        em.look(frame, sheets="x")
    with pytest.raises(ReadError, match="'a' 2, 'b' 1"):
        read({"a": [1, 2], "b": [1]})


def test_a_page_without_a_table_says_so_in_plain_words(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("<!DOCTYPE html><html><body>Please sign in</body></html>")
    with pytest.raises(ReadError, match="web page without a table") as caught:
        read(path)
    assert "regex" not in str(caught.value)


def test_passwords_in_the_options_of_a_url_never_show(monkeypatch):
    sqlalchemy = pytest.importorskip("sqlalchemy")

    def refuse(address, **more):
        raise RuntimeError(f"no connection with {address.query['password']} or p%40ss")

    monkeypatch.setattr(sqlalchemy, "create_engine", refuse)
    with pytest.raises(ReadError) as caught:
        read("postgresql://host/shop?user=me&password=p%40ss&sslkey=k3y", query="select 1")
    assert not any(word in str(caught.value) for word in ("p@ss", "p%40ss", "k3y"))
    assert "user=me" in str(caught.value)


def test_a_missing_driver_is_named_as_pip_knows_it(monkeypatch):
    sqlalchemy = pytest.importorskip("sqlalchemy")

    def absent(address, **more):
        raise ModuleNotFoundError("No module named 'MySQLdb'", name="MySQLdb")

    monkeypatch.setattr(sqlalchemy, "create_engine", absent)
    with pytest.raises(NotInstalledError, match="pip install mysqlclient"):
        read("mysql://me:secret@host/shop", query="select 1")


def test_a_saved_model_is_not_a_table(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.em", "w") as archive:
        for member in ("manifest.json", "spec.json", "probe.json"):
            archive.writestr(member, "{}")
    with pytest.raises(ReadError, match="saved model"):
        read(tmp_path / "m.em")


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_samples_from_their_files_are_what_the_loader_gives(name, monkeypatch):
    from everymodel.workflow import samples

    ours = samples.load(f"sample:{name}")
    assert samples._from_file(name) is not None
    monkeypatch.setattr(samples, "_FILES", {})
    pd.testing.assert_frame_equal(ours, samples.load(name))
