"""A model gives back what came in, explains itself exactly and may be shared by threads."""

from __future__ import annotations

import threading
import warnings

import model_parts
import numpy as np
import pytest

from everymodel.core.errors import CapabilityError, ParameterError, SchemaError
from everymodel.scoring.table import SchemaWarning

pd = pytest.importorskip("pandas")


@pytest.fixture
def frame():
    return pd.DataFrame(model_parts.rows(6), index=[5, 3, 9, 9, 0, 1])


def test_predict_gives_back_what_came_in(frame):
    model = model_parts.multiclass()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    series = model.predict(frame)
    assert isinstance(series, pd.Series) and series.index.equals(frame.index) and series.name == "y"
    labels = series.tolist()
    assert set(labels) <= {1, 2, 3} and all(type(label) is int for label in labels)
    assert model.predict(rows) == labels
    one = model.predict(rows[0])
    assert one == labels[0] and type(one) is int
    assert model.predict(frame.iloc[0]) == labels[0]
    columns = model.predict({name: frame[name].tolist() for name in frame})
    assert isinstance(columns, np.ndarray) and columns.tolist() == labels
    assert model.predict(frame.iloc[:0]).empty and model.predict([]) == []


def test_predict_proba_names_its_columns(frame):
    model = model_parts.multiclass(("x", "y", "z"))
    table = model.predict_proba(frame)
    assert table.columns.tolist() == ["x", "y", "z"] and table.index.equals(frame.index)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)
    batch, _ = model.read(frame)
    assert np.array_equal(table.to_numpy(), model.answers(batch))
    rows = model.predict_proba(model_parts.rows(2))
    assert rows == [model.predict_proba(row) for row in model_parts.rows(2)]
    assert list(rows[0]) == ["x", "y", "z"]
    assert model.predict(frame).tolist() == [table.columns[i] for i in table.to_numpy().argmax(axis=1)]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_tables_get_their_own_kind(library):
    module = pytest.importorskip(library)
    plain = {name: [row[name] for row in model_parts.rows(5)] for name in model_parts.rows(1)[0]}
    data = module.DataFrame(plain) if library == "polars" else module.table(plain)
    model = model_parts.binary()
    answer, shares = model.predict(data), model.predict_proba(data)
    expected = model.predict(model_parts.rows(5))
    assert (answer.to_list() if library == "polars" else answer.to_pylist()) == expected
    assert isinstance(answer, module.Series if library == "polars" else module.Array)
    assert isinstance(shares, module.DataFrame if library == "polars" else module.Table)
    assert (shares.columns if library == "polars" else shares.column_names) == ["no", "yes"]


def test_the_threshold_decides():
    rows = model_parts.rows(200)
    shares = np.array([p["yes"] for p in model_parts.binary().predict_proba(rows)])
    for threshold in (None, 0.2, 0.9):
        labels = model_parts.binary(threshold=threshold).predict(rows)
        limit = 0.5 if threshold is None else threshold
        assert labels == np.where(shares >= limit, "yes", "no").tolist()


def test_several_labels(frame):
    model = model_parts.multilabel()
    shares, marks = model.predict_proba(frame), model.predict(frame)
    assert shares.columns.tolist() == marks.columns.tolist() == ["red", "round", "old"]
    assert marks.index.equals(frame.index)
    np.testing.assert_array_equal(marks.to_numpy(), (shares.to_numpy() >= 0.5).astype(int))
    assert (shares.sum(axis=1) - 1).abs().max() > 0.1  # each label by itself
    row = model_parts.rows(1)[0]
    assert model.predict(row) == dict(zip(marks.columns, marks.iloc[0].tolist(), strict=True))
    assert model.predict([row]) == [model.predict(row)]
    model.manifest["threshold"] = [0.0, 1.1, 0.5]
    strict = model.predict(frame)
    assert (strict["red"] == 1).all() and (strict["round"] == 0).all()


def test_several_targets(frame, tmp_path):
    from everymodel import scoring

    model = model_parts.two_targets()
    values = model.predict(frame)
    assert values.columns.tolist() == ["u", "v"] and values.index.equals(frame.index)
    batch, _ = model.read(frame)
    assert np.array_equal(values.to_numpy(), model.answers(batch))
    assert set(model.predict(model_parts.rows(1)[0])) == {"u", "v"}
    model.manifest["intervals"] = {"levels": [0.9], "half_widths": [1.0]}
    with pytest.raises(CapabilityError, match="several"):
        model.predict_interval(frame)
    model.save(tmp_path / "m.em")
    assert scoring.load(tmp_path / "m.em").predict(frame).equals(values)


def test_labels_keep_their_type(tmp_path):
    from everymodel import scoring

    rows = model_parts.rows(30)
    for classes, kind in (((False, True), bool), ((0, 1), int), ((0.5, 1.5), float), (("a", "b"), str)):
        model = model_parts.binary(classes)
        model.save(tmp_path / "m.em")
        labels = scoring.load(tmp_path / "m.em").predict(rows)
        assert {type(label) for label in labels} == {kind} and set(labels) <= set(classes)


def test_capabilities_tell_the_truth():
    regression, classes = model_parts.regression(), model_parts.binary()
    assert not hasattr(regression, "predict_proba") and hasattr(classes, "predict_proba")
    assert hasattr(regression, "predict_interval") and not hasattr(classes, "predict_interval")
    with pytest.raises(CapabilityError, match="no probabilities"):
        regression.predict_proba([])


def test_intervals(frame):
    model = model_parts.regression()
    middle = model.predict(frame)
    table = model.predict_interval(frame, level=0.9)
    np.testing.assert_allclose(table["low"], middle - 2.0)
    np.testing.assert_allclose(table["high"], middle + 2.0)
    assert model.half_width(0.7) == pytest.approx(1.5)  # a straight line between the levels kept
    row = model_parts.rows(1)[0]
    assert set(model.predict_interval(row)) == {"low", "high"}
    for level in (0, 1, 0.95, True, "0.9"):
        with pytest.raises(ParameterError):
            model.predict_interval(row, level=level)


def test_nothing_is_silent():
    model = model_parts.binary()
    row = model_parts.rows(1)[0]
    with pytest.warns(SchemaWarning, match="Ulm"):
        model.predict({**row, "city": "Ulm"})
    with pytest.warns(SchemaWarning, match="note"):
        model.predict({k: v for k, v in row.items() if k != "note"}, missing_columns="impute")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict({**row, "city": "Ulm"}, unseen="ignore")
        model.predict({**row, "more": 1})
    with pytest.raises(SchemaError):
        model.predict({**row, "city": "Ulm"}, unseen="error")


@pytest.mark.parametrize("make", [model_parts.regression, model_parts.binary, model_parts.multiclass])
def test_explanations_add_up_exactly_and_are_the_same_each_time(make):
    model = make()
    rows = model_parts.rows(4)
    told = model.explain(rows)
    assert told == model.explain(rows)
    batch, _ = model.read(rows)
    answers = model.answers(batch).reshape(4, -1)
    for i, one in enumerate(told):
        total = one["base"] + sum(c["contribution"] for c in one["contributions"])
        assert total == pytest.approx(one["answer"], abs=1e-12)
        assert one["answer"] in answers[i]
        by_column = {c["column"]: c for c in one["contributions"]}
        assert by_column["note"]["contribution"] == 0.0 and by_column["built"]["contribution"] == 0.0
        assert by_column["city"]["cell"] == rows[i]["city"] and by_column["built"]["cell"].startswith("2001-02-03")
        few = model.explain(rows[i], top=1)[0]
        assert few["contributions"] == one["contributions"][:1]
        rest = sum(c["contribution"] for c in one["contributions"][1:])
        assert few["rest"] == pytest.approx(rest, abs=1e-12)


@pytest.mark.parametrize("coded", [False, True])
def test_explanations_use_the_background_of_the_manifest(coded):
    """With one background row, the base is the answer to that row, and equal cells contribute nothing."""
    model = model_parts.regression()
    row = {"size": 0.7, "city": "Bonn", "built": "2001-02-03", "note": "x"}
    model.manifest["background"] = {name: [cell] for name, cell in {**row, "city": "Köln"}.items()}
    if coded:
        model.manifest["background"].update(city=[1], built=[981158400.0])
    one = model.explain(row)[0]
    assert one["base"] == pytest.approx(model.predict({**row, "city": "Köln"}))
    parts = {c["column"]: c["contribution"] for c in one["contributions"]}
    assert parts["size"] == 0.0
    assert parts["city"] == pytest.approx(model.predict(row) - model.predict({**row, "city": "Köln"}))


def test_the_card_is_plain_data_without_background():
    import json

    model = model_parts.regression()
    model.manifest["background"] = {"size": [1.0]}
    model.manifest["metrics"] = [{"name": "rmse", "value": np.float64(1.5), "low": float("nan")}]
    card = json.loads(json.dumps(model.card(), allow_nan=False))
    assert card["task"] == "regression" and "background" not in card
    assert card["metrics"] == [{"name": "rmse", "value": 1.5, "low": None}]


def test_threads_share_a_model(tmp_path):
    from everymodel import scoring

    model_parts.multiclass().save(tmp_path / "m.em")
    model = scoring.load(tmp_path / "m.em")
    rows = model_parts.rows(40)
    expected = model.predict(rows)
    wrong = []

    def work():
        for _ in range(20):
            if model.predict(rows) != expected or [model.predict(row) for row in rows[:5]] != expected[:5]:
                wrong.append(1)  # noqa: PERF401

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_row_alone_is_answered_bit_for_bit_as_among_others(order):
    from everymodel.scoring.steps.base import dot

    rng = np.random.default_rng(0)
    for width in (3, 11, 100, 253):
        X = np.asarray(rng.normal(size=(37, width)), order=order)
        for coef in (rng.normal(size=width), rng.normal(size=(width, 4))):
            alone = np.concatenate([dot(X[i : i + 1], coef) for i in range(37)])
            assert (dot(X, coef) == alone).all()
            np.testing.assert_allclose(alone, X @ coef, atol=1e-12)


def test_no_rows_are_explained_by_no_explanations(frame):
    assert model_parts.regression().explain(frame.head(0)) == []


def test_the_terms_of_a_text_weigh_the_same_alone_and_among_others():
    from everymodel.scoring.steps.base import Sparse
    from everymodel.scoring.steps.prepare import weighted

    rng = np.random.default_rng(0)
    counts, weight = rng.integers(1, 5, size=40 * 50).astype(float), rng.random(50)
    place = np.arange(50)
    many = weighted(Sparse(counts.copy(), np.tile(place, 40), np.arange(41) * 50, (40, 50)), weight)
    for i in range(40):
        alone = weighted(Sparse(counts[i * 50 : i * 50 + 50].copy(), place, np.array([0, 50]), (1, 50)), weight)
        assert (alone.data == many.data[i * 50 : i * 50 + 50]).all()


def test_record_batches_with_empty_cells_are_read():
    pa = pytest.importorskip("pyarrow")
    model = model_parts.regression()
    rows = model_parts.rows(30)
    table = pa.Table.from_pylist(rows)
    assert any(column.null_count for column in table.columns)
    assert model.predict(table.to_batches()[0]).to_pylist() == model.predict(table).to_pylist()
