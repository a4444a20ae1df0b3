"""Columns, tasks and findings on tables as people have them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris

from everymodel.core.errors import DataError, ParameterError, TargetError
from everymodel.core.schema import Schema
from everymodel.workflow.understand import CODES, shared_rows, understand


@pytest.fixture(scope="module")
def messy() -> pd.DataFrame:
    """300 rows with one column of every kind, written as people write."""
    rng = np.random.default_rng(0)
    n = 300
    days = pd.date_range("2020-01-01", periods=n)
    prices = rng.gamma(2, 900, n).round(2)
    return pd.DataFrame(
        {
            "customer_id": [f"C{i:05d}" for i in rng.permutation(n)],
            "row": np.arange(1, n + 1),
            "price": [f"${p:,.2f}" if i % 7 else "n/a" for i, p in enumerate(prices)],
            "rate": [f"{r:.1f}%" for r in rng.uniform(0, 20, n)],
            "profit": [f"({abs(v):.1f})" if v < 0 else f"{v:.1f}" for v in rng.normal(size=n)],
            "menge": [f"{v:.2f}".replace(".", ",") for v in rng.normal(10, 3, n)],
            "day": days.strftime("%d.%m.%Y"),
            "when": [d.strftime(("%Y-%m-%d", "%d/%m/%Y", "%b %d, %Y")[i % 3]) for i, d in enumerate(days)],
            "member": rng.choice(["Yes", "No"], n),
            "city": rng.choice(["Rome", "Paris", "Oslo", "?"], n, p=[0.5, 0.3, 0.15, 0.05]),
            "zip": [f"{z:05d}" for z in rng.integers(0, 60, n) * 137],
            "review": [" ".join(rng.choice(["good", "bad", "fast", "slow", "nice", "poor"], 9)) for _ in range(n)],
            "always": "x",
            "never": None,
            "size": rng.normal(size=n),
            "target": rng.choice(["yes", "no"], n),
        }
    )


def kinds(found) -> dict[str, str]:
    return {c.name: c.kind for c in found.schema.columns}


def codes(found) -> set[str]:
    return {f.code for f in found.findings}


def test_kinds_of_messy_columns(messy):
    found = understand(messy, "target")
    assert kinds(found) == {
        "customer_id": "identifier",
        "row": "identifier",
        "price": "number",
        "rate": "number",
        "profit": "number",
        "menge": "number",
        "day": "date",
        "when": "date",
        "member": "boolean",
        "city": "category",
        "zip": "category",
        "review": "text",
        "always": "constant",
        "never": "constant",
        "size": "number",
        "target": "category",
    }
    column = found.schema.column
    assert (column("price").decimal, column("price").thousands) == (".", ",")
    assert column("menge").decimal == ","
    assert column("rate").percent and column("rate").high <= 0.2
    assert column("profit").low < 0
    assert column("day").date_format == "%d.%m.%Y"
    assert column("member").levels == ("No", "Yes")
    assert column("city").levels == ("Rome", "Paris", "Oslo")  # most frequent first, ? is missing
    assert column("day").low == pd.Timestamp("2020-01-01").timestamp()
    assert {c.name for c in found.schema.columns if c.role == "ignored"} == {"customer_id", "row", "always", "never"}
    assert all(c.reason for c in found.schema.columns if c.role == "ignored")
    assert found.suspects == ()
    assert Schema.from_dict(found.schema.to_dict()) == found.schema


def test_every_repair_is_counted(messy):
    found = understand(messy, "target")
    by_code = {f.code: f for f in found.findings}
    repairs = by_code["repaired-numbers"].data["by_column"]
    written = messy["price"] != "n/a"
    assert repairs["price"]["currency"] == written.sum()
    assert repairs["price"]["thousands"] == messy.loc[written, "price"].str.contains(",").sum()
    assert repairs["rate"] == {"percent": 300}
    assert repairs["menge"] == {"decimal comma": 300}
    assert repairs["profit"]["parentheses"] == messy["profit"].str.startswith("(").sum()
    words = by_code["null-words"].data["by_column"]
    assert words == {"price": {"n/a": (~written).sum()}, "city": {"?": (messy["city"] == "?").sum()}}
    assert by_code["missing-values"].data["shares"]["price"] == pytest.approx((~written).mean(), abs=1e-4)
    assert "3 formats" in by_code["date-formats"].message
    assert {"constant-columns", "empty-columns", "identifiers", "free-text"} <= codes(found)
    assert codes(found) <= set(CODES)
    json.dumps([[f.to_dict() for f in found.findings], found.stats, found.schema.to_dict()])


def test_three_date_formats_in_one_column_are_all_read(messy):
    from everymodel.scoring import cells

    found = understand(messy, "target").schema.column("when")
    values, bad = cells.to_dates(messy["when"], found.date_format)
    assert not bad.any()
    np.testing.assert_array_equal(np.diff(values), 86400.0)


def test_day_and_month_order_is_found_or_doubted():
    sure = pd.DataFrame({"d": ["13/01/2024", "02/03/2024", "25/12/2024"] * 10, "y": range(30)})
    assert understand(sure, "y").schema.column("d").date_format == "%d/%m/%Y"
    assert "date-formats" not in codes(understand(sure, "y"))
    american = pd.DataFrame({"d": ["01/13/2024", "02/03/2024", "12/25/2024"] * 10, "y": range(30)})
    assert understand(american, "y").schema.column("d").date_format == "%m/%d/%Y"
    doubtful = pd.DataFrame({"d": ["01/02/2024", "02/03/2024", "05/06/2024"] * 10, "y": range(30)})
    assert "date-formats" in codes(understand(doubtful, "y"))


def test_mixed_types_are_said():
    n = 200
    few = pd.DataFrame(
        {"a": [str(i % 50) for i in range(n - 6)] + ["broken", "many", "x"] * 2, "y": np.arange(n) * 1.5}
    )
    found = understand(few, "y")
    assert kinds(found)["a"] == "number"
    note = next(f for f in found.findings if f.code == "mixed-types")
    assert note.data["cells"] == 6 and "broken" in note.message
    half = pd.DataFrame({"a": [1, "one", 2, "two"] * 50, "y": np.arange(n) * 1.5})
    found = understand(half, "y")
    assert kinds(found)["a"] == "category"
    assert any(f.code == "mixed-types" and "50%" in f.message for f in found.findings)
    # braces in cells must not break messages
    odd = pd.DataFrame({"{a}": [str(i % 50) for i in range(n - 6)] + ["{0}", "{}", "x"] * 2, "y": np.arange(n) * 1.5})
    assert "mixed-types" in codes(understand(odd, "y"))


def test_infinite_values_are_counted():
    frame = pd.DataFrame({"a": [1.0, np.inf, -np.inf, 2.5] * 25, "y": np.arange(100) * 1.5})
    found = understand(frame, "y")
    note = next(f for f in found.findings if f.code == "infinite-values")
    assert note.data["cells"] == {"a": 50}
    assert found.schema.column("a").high == 2.5


def test_low_cardinality_integers_stay_numbers_unless_codes():
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "rooms": rng.integers(1, 6, n),
            "flag": rng.integers(0, 2, n),
            "region_code": rng.choice([110, 120, 305, 999], n),
            "level_type": rng.integers(0, 4, n),
            "store_id": rng.choice([17, 99, 104], n),
            "user_id": rng.integers(0, 10**6, n),
            "y": rng.normal(size=n),
        }
    )
    assert kinds(understand(frame, "y")) == {
        "rooms": "number",
        "flag": "number",
        "region_code": "category",
        "level_type": "number",  # 0, 1, 2, 3: may be ordered
        "store_id": "category",
        "user_id": "identifier",
        "y": "number",
    }


def test_kinds_can_be_said():
    frame = pd.DataFrame({"a": [1, 2, 3] * 20, "b": ["x", "y", "z"] * 20, "y": np.arange(60) * 1.5})
    found = understand(frame, "y", kinds={"a": "category", "b": "text"}, ignore=["b"])
    assert found.schema.column("a").levels == ("1", "2", "3")
    assert found.schema.column("b").role == "ignored"
    with pytest.raises(ParameterError, match="not a kind"):
        understand(frame, "y", kinds={"a": "colour"})
    with pytest.raises(ParameterError, match="no such column"):
        understand(frame, "y", kinds={"c": "text"})


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([0, 1] * 50, "binary", (0, 1)),
        ([0.0, 1.0, np.nan, 1.0] * 25, "binary", (0, 1)),
        ([True, False] * 50, "binary", (False, True)),
        (["b", "a", " a"] * 30, "binary", ("a", "b")),
        (["1", "0"] * 50, "binary", ("0", "1")),
        ([1, 2, 3] * 30, "multiclass", (1, 2, 3)),
        (["low", "mid", "high"] * 30, "multiclass", ("high", "low", "mid")),
        ([10, 2, 7] * 30, "multiclass", (2, 7, 10)),
        (list(range(25)) * 4, "regression", ()),
        ([1.5, 2.5] * 50, "regression", ()),
        ([f"${v},000" for v in range(1, 100)], "regression", ()),
    ],
    ids=lambda v: str(v)[:24],
)
def test_task_is_inferred(values, task, classes):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=len(values)), "y": values})
    found = understand(frame, "y")
    assert found.schema.task == task
    assert found.schema.classes == classes
    assert [type(c) for c in found.schema.classes] == [type(c) for c in classes]


def test_task_can_be_said():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=90), "y": [1, 2, 3] * 30})
    assert "task-assumed" in codes(understand(frame, "y"))
    told = understand(frame, "y", "regression")
    assert told.schema.task == "regression" and "task-assumed" not in codes(told)
    with pytest.raises(TargetError, match="two classes"):
        understand(frame, "y", "binary")
    with pytest.raises(ParameterError, match="not a task"):
        understand(frame, "y", "guess")
    with pytest.raises(TargetError, match="needs numbers"):
        understand(frame.assign(y=["a", "b", "c"] * 30), "y", "regression")


def test_multilabel():
    rng = np.random.default_rng(0)
    n = 200
    several = pd.DataFrame({"x": rng.normal(size=n), "a": rng.integers(0, 2, n), "b": rng.choice(["yes", "no"], n)})
    found = understand(several, ["a", "b"])
    assert found.schema.task == "multilabel" and found.schema.classes == ("a", "b")
    labels = ["drama", "comedy", "war", "crime"]
    joined = ["|".join(rng.choice(labels, rng.integers(1, 4), replace=False)) for _ in range(n)]
    listed = pd.DataFrame({"x": rng.normal(size=n), "genres": joined})
    found = understand(listed, "genres")
    assert found.schema.task == "multilabel" and found.schema.classes == tuple(sorted(labels))
    assert found.schema.note["multilabel"] == {"column": "genres", "separator": "|"}
    assert understand(listed, "genres", "multiclass").schema.task == "multiclass"
    numbers = pd.DataFrame({"x": rng.normal(size=n), "a": rng.normal(size=n), "b": rng.normal(size=n)})
    assert understand(numbers, ["a", "b"]).schema.task == "regression"
    with pytest.raises(TargetError, match="one model for each"):
        understand(several.assign(c="abc" * 5, d=list("uvwx") * 50), ["a", "d"])


def bad_targets():
    n = 60
    x = np.random.default_rng(0).normal(size=n)
    yield "missing", pd.DataFrame({"x": x, "Price": x}), "price ", "Did you mean 'Price'"
    yield "constant", pd.DataFrame({"x": x, "y": 1}), "y", "nothing to predict"
    yield "constant text", pd.DataFrame({"x": x, "y": "a"}), "y", "nothing to predict"
    yield "empty", pd.DataFrame({"x": x, "y": np.nan}), "y", "no value in any"
    yield "null words", pd.DataFrame({"x": x, "y": "?"}), "y", "no value in any"
    yield "all infinite", pd.DataFrame({"x": x, "y": np.inf}), "y", "no "
    yield "one row", pd.DataFrame({"x": [1.0], "y": [2.0]}), "y", "1 row"
    yield "names", pd.DataFrame({"x": x, "y": [f"n{i}" for i in range(n)]}), "y", "not a class"
    yield "dates", pd.DataFrame({"x": x, "y": pd.date_range("2020", periods=n)}), "y", "dates"
    yield "one-member", pd.DataFrame({"x": x[:5], "y": list("aaabc")}), "y", "single row"
    yield "twice", pd.DataFrame({"x": x, "y": x}), ["y", "y"], "twice"


@pytest.mark.parametrize(
    ("frame", "target", "words"), [c[1:] for c in bad_targets()], ids=[c[0] for c in bad_targets()]
)
def test_unusable_targets_are_explained(frame, target, words):
    with pytest.raises(TargetError, match=words):
        understand(frame, target)


def test_rows_without_a_target_are_left_out():
    rng = np.random.default_rng(0)
    y = rng.normal(size=100)
    y[:7], y[7] = np.nan, np.inf
    found = understand(pd.DataFrame({"x": rng.normal(size=100), "y": y}), "y")
    assert found.rows == 92 and found.keep.tolist() == [False] * 8 + [True] * 92
    assert {"target-missing", "infinite-values"} <= codes(found)


def test_single_member_classes_are_left_out_and_rare_ones_named():
    y = ["a"] * 50 + ["b"] * 40 + ["c"] * 4 + ["d"]
    found = understand(pd.DataFrame({"x": np.random.default_rng(0).normal(size=95), "y": y}), "y")
    assert found.schema.classes == ("a", "b", "c") and found.rows == 94
    assert next(f for f in found.findings if f.code == "single-member-classes").data["classes"] == ["d"]
    assert next(f for f in found.findings if f.code == "rare-classes").data["classes"] == ["c"]


def test_imbalance_and_skew():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000)
    assert "imbalance" in codes(understand(pd.DataFrame({"x": x, "y": [1] * 20 + [0] * 980}), "y"))
    assert "imbalance" not in codes(understand(pd.DataFrame({"x": x, "y": [1] * 400 + [0] * 600}), "y"))
    assert "skewed-target" in codes(understand(pd.DataFrame({"x": x, "y": np.exp(2 * rng.normal(size=1000))}), "y"))
    assert "skewed-target" not in codes(understand(pd.DataFrame({"x": x, "y": rng.normal(size=1000)}), "y"))


def test_duplicate_and_conflicting_rows():
    iris = load_iris(as_frame=True).frame
    assert next(f for f in understand(iris, "target").findings if f.code == "duplicate-rows").data["rows"] == 1
    doubled = pd.concat([iris, iris.iloc[:40]], ignore_index=True)
    doubled["row_id"] = np.arange(len(doubled)) + 1000  # an identifier must not hide copies
    assert next(f for f in understand(doubled, "target").findings if f.code == "duplicate-rows").data["rows"] == 41
    clash = pd.DataFrame({"a": [1.5, 1.5, 2.5] * 20, "b": ["u", "u", "v"] * 20, "y": [0, 1, 1] * 20})
    assert next(f for f in understand(clash, "y").findings if f.code == "conflicting-rows").data["rows"] == 40


def test_rows_shared_by_train_and_test():
    iris = load_iris(as_frame=True).frame
    schema = understand(iris, "target").schema
    doubled = pd.concat([iris, iris.iloc[:10]], ignore_index=True)
    found = shared_rows(doubled, schema, np.arange(150), np.arange(150, 160))
    assert found.code == "shared-rows" and found.data["rows"] == 10
    assert shared_rows(iris, schema, np.arange(0, 75), np.arange(75, 100)) is None


def test_identifiers_are_features_where_nothing_else_is():
    found = understand(pd.DataFrame({"n": np.arange(100), "y": np.random.default_rng(0).normal(size=100)}), "y")
    assert [(c.name, c.kind) for c in found.schema.features] == [("n", "number")]
    with pytest.raises(DataError, match="No column is left"):
        understand(pd.DataFrame({"x": 1, "y": [1.5, 2.5] * 10}), "y")


def test_roles():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=50), "g": ["a", "b"] * 25, "t": range(50), "y": rng.normal(size=50)})
    found = understand(frame, "y", group="g", time="t")
    assert {c.name: c.role for c in found.schema.columns} == {"x": "feature", "g": "group", "t": "time", "y": "target"}
    with pytest.raises(ParameterError, match="Did you mean 'g'"):
        understand(frame, "y", group="gg")
    with pytest.raises(ParameterError, match="both"):
        understand(frame, "y", group="y")


def test_no_target_describes_only():
    found = understand(load_iris(as_frame=True).frame)
    assert found.schema.task is None and found.rows == 150 and len(found.schema.features) == 5
    assert found.stats["sepal length (cm)"]["quantiles"][3] == pytest.approx(5.8)


def test_empty_tables():
    for frame in (pd.DataFrame(), pd.DataFrame({"a": []}), pd.DataFrame(index=range(3))):
        with pytest.raises(DataError, match="nothing to learn"):
            understand(frame, "a")


def test_wide_tables_and_many_levels_are_quick_enough():
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(60, 3000)), columns=[f"c{i}" for i in range(3000)])
    wide["y"] = rng.integers(0, 2, 60)
    found = understand(wide, "y")
    assert len(found.schema.features) == 3000 and "more-columns-than-rows" in codes(found) and not found.suspects
    levels = pd.DataFrame({"tag": [f"v{i % 100_000}" for i in range(200_000)], "y": rng.integers(0, 2, 200_000)})
    found = understand(levels, "y")
    assert len(found.schema.column("tag").levels) == 100_000 and "high-cardinality" in codes(found)


@pytest.mark.parametrize(
    ("load", "task", "features"),
    [(load_breast_cancer, "binary", 30), (load_diabetes, "regression", 10), (load_digits, "multiclass", 61)],
)
def test_known_tables(load, task, features):
    found = understand(load(as_frame=True).frame, "target")
    assert found.schema.task == task and len(found.schema.features) == features and found.suspects == ()


def test_same_seed_same_findings(messy):
    one, two = understand(messy, "target", seed=3), understand(messy, "target", seed=3)
    assert one.schema == two.schema and one.findings == two.findings


@pytest.mark.parametrize("make", [list, tuple, np.array, set])
def test_cells_that_are_lists_of_labels_are_multilabel(make):
    rng = np.random.default_rng(0)
    rows = [["red", "blue"] if value > 0 else ["green"] for value in rng.normal(size=60)]
    frame = pd.DataFrame({"x": rng.normal(size=60), "t": pd.Series([make(row) for row in rows], dtype=object)})
    found = understand(frame, "t")
    assert (found.schema.task, found.schema.classes) == ("multilabel", ("blue", "green", "red"))


def test_classes_that_differ_in_capitals_only_are_named():
    frame = pd.DataFrame({"x": np.arange(90) % 7, "t": ["Yes", "YES", "no"] * 30})
    found = understand(frame, "t")
    assert [f.data["classes"] for f in found.findings if f.code == "spelling-variants"] == [[["YES", "Yes"]]]


def test_few_whole_numbers_taken_for_amounts_are_said_to_be():
    frame = pd.DataFrame({"x": np.arange(200) % 7, "t": np.arange(200) % 9 + 3})
    found = understand(frame, "t")
    assert found.schema.task == "regression" and "task-assumed" in {f.code for f in found.findings}


def test_cells_beyond_repair_are_not_counted_as_repaired():
    frame = pd.DataFrame({"x": [f"{i * 1.5}" for i in range(99)] + ["Total"], "t": np.arange(100) % 2})
    assert "repaired-numbers" not in {f.code for f in understand(frame, "t").findings}
