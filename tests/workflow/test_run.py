"""The whole path on real tables: honest split, leak guard, file, story, bad input."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import everymodel as em
from everymodel.core.errors import DataError, EverymodelError, ParameterError, TargetError, UserError

REGRESS = {"models": ["ridge"], "trials": 1, "progress": False}
CLASSIFY = {"models": ["logistic"], "trials": 1, "progress": False}


def iris() -> pd.DataFrame:
    frame = load_iris(as_frame=True).frame
    frame["species"] = frame.pop("target").map(dict(enumerate(["setosa", "versicolor", "virginica"])))
    return frame


def diabetes() -> pd.DataFrame:
    return load_diabetes(as_frame=True).frame.rename(columns={"target": "progression"})


@pytest.fixture(scope="module")
def iris_run(tmp_path_factory):
    return em.fit(iris(), "species", models=["logistic"], trials=1, out=tmp_path_factory.mktemp("iris"), progress=False)


def test_names_that_others_build_on(iris_run):
    assert isinstance(iris_run.leaderboard, pd.DataFrame) and len(iris_run.leaderboard) >= 2
    assert iris_run.metrics["accuracy"] > 0.85
    assert iris_run.metrics["accuracy"].low <= iris_run.metrics["accuracy"] <= iris_run.metrics["accuracy"].high
    assert iris_run.findings is not None and iris_run.headline
    assert (iris_run.folder / "model.em").exists()
    assert json.loads((iris_run.folder / "story.json").read_text())["target"] == "species"


def test_answers_keep_index_order_and_labels(iris_run):
    rows = iris().drop(columns="species").sample(20, random_state=0)
    answers = iris_run.model.predict(rows[rows.columns[::-1]])
    assert list(answers.index) == list(rows.index)
    assert set(answers) <= {"setosa", "versicolor", "virginica"}
    shares = iris_run.model.predict_proba(rows)
    assert list(shares.columns) == ["setosa", "versicolor", "virginica"]
    assert np.allclose(shares.sum(axis=1), 1)


def test_saved_file_answers_the_same(iris_run, tmp_path):
    iris_run.model.save(tmp_path / "iris.em")
    model = em.load(tmp_path / "iris.em")
    rows = iris().drop(columns="species")
    assert (model.predict_proba(rows).to_numpy() == iris_run.model.predict_proba(rows).to_numpy()).all()
    assert model.task == "multiclass"
    evaluation = model.evaluate(iris())
    assert {m.name: m.value for m in evaluation.metrics}["accuracy"] > 0.9


def test_report_is_one_offline_page(iris_run, tmp_path):
    page = iris_run.report(tmp_path / "report.html").read_text()
    assert "species" in page and len(page) < 5_000_000
    assert "<script src=" not in page and '<link rel="stylesheet" href="http' not in page


def test_nothing_before_evaluate_reads_the_test_rows(tmp_path):
    """Turn every feature of the test rows into nonsense: what was chosen, and its validation score, must not move."""
    frame = diabetes()
    clean = em.fit(frame, "progression", out=tmp_path / "a", **REGRESS)
    from everymodel.workflow.split import split
    from everymodel.workflow.understand import understand

    parts = split(understand(frame[["progression"]], "progression", need_features=False), frame, test_size=0.2, seed=0)
    poisoned = frame.copy()
    features = [c for c in frame.columns if c != "progression"]
    poisoned.loc[poisoned.index[parts.test], features] = 1e9
    spoilt = em.fit(poisoned, "progression", out=tmp_path / "b", **REGRESS)
    pd.testing.assert_series_equal(clean.leaderboard["score"], spoilt.leaderboard["score"])
    new = frame.iloc[parts.train[:50]]
    assert (clean.model.predict(new) == spoilt.model.predict(new)).all()
    assert spoilt.metrics["rmse"] > clean.metrics["rmse"]  # and the test part really is read in the end


def test_same_seed_same_result_when_limited_by_work(tmp_path):
    frame = diabetes()
    runs = [em.fit(frame, "progression", out=tmp_path / str(i), seed=3, **REGRESS) for i in range(2)]
    assert (runs[0].model.predict(frame) == runs[1].model.predict(frame)).all()
    assert runs[0].metrics == runs[1].metrics


def test_test_size_0_uses_all_rows_and_says_so(tmp_path):
    run = em.fit(iris(), "species", test_size=0, out=tmp_path, **CLASSIFY)
    assert run.evaluation.source == "cross-validation"
    assert run.story["split"] | {"test": 0, "train": 150} == run.story["split"]


@pytest.mark.parametrize(
    "leak",
    [
        lambda y: y,
        lambda y: np.where(y == 1, "yes", "no"),
        lambda y: np.where(y == 1, "group_a", "group_b"),
        lambda y: y * 100.0 + np.random.default_rng(0).normal(0, 1e-3, len(y)),
    ],
    ids=["copy", "yes/no", "renamed", "rescaled"],
)
def test_leaks_are_left_out_and_named(leak, tmp_path):
    frame = load_breast_cancer(as_frame=True).frame
    frame["oops"] = leak(frame["target"].to_numpy())
    run = em.fit(frame, "target", out=tmp_path, **CLASSIFY)
    assert "oops" not in [c.name for c in run.model.schema.features]
    assert any("oops" in f.columns and "leak" in f.code for f in run.findings)
    assert run.metrics["accuracy"] < 1.0


def test_kept_leaks_mark_the_score_suspect(tmp_path):
    frame = load_breast_cancer(as_frame=True).frame
    frame["oops"] = np.where(frame["target"] == 1, "yes", "no")
    run = em.fit(frame, "target", keep_suspects=True, out=tmp_path, **CLASSIFY)
    assert "oops" in [c.name for c in run.model.schema.features]
    assert run.story["suspect"] and run.model.manifest["suspect"]


def test_groups_do_not_cross_the_split(tmp_path):
    frame = diabetes().iloc[:300].copy()
    frame["patient"] = np.repeat(np.arange(60), 5)
    run = em.fit(frame, "progression", group="patient", out=tmp_path, **REGRESS)
    assert run.story["split"]["kind"].startswith("group")
    assert "patient" not in [c.name for c in run.model.schema.features]


def test_conformal_intervals_cover(tmp_path):
    frame = diabetes()
    run = em.fit(frame.iloc[:340], "progression", test_size=0, out=tmp_path, **REGRESS)
    new = frame.iloc[340:]
    answer = run.model.predict_interval(new, level=0.9)
    low, high = answer.iloc[:, -2], answer.iloc[:, -1]
    inside = ((new["progression"] >= low) & (new["progression"] <= high)).mean()
    assert 0.8 <= inside <= 0.98


def test_costs_move_the_threshold_on_out_of_fold_answers(tmp_path):
    frame = load_breast_cancer(as_frame=True).frame
    run = em.fit(frame, "target", costs={"false_positive": 1, "false_negative": 20}, out=tmp_path, **CLASSIFY)
    assert run.model.manifest["threshold"] < 0.5


def test_multilabel_works_end_to_end(tmp_path):
    frame = iris()
    frame["big"] = (frame["petal length (cm)"] > 4).astype(int)
    frame["wide"] = (frame["sepal width (cm)"] > 3).astype(int)
    run = em.fit(
        frame.drop(columns="species"), ["big", "wide"], trials=2, models=["logistic"], out=tmp_path, progress=False
    )
    assert run.model.task == "multilabel"
    assert np.asarray(run.model.predict(frame.iloc[:5])).shape == (5, 2)


BAD = {
    "misspelt target": (lambda: (iris(), "specis"), TargetError, "species"),
    "constant target": (lambda: (iris().assign(species="a"), "species"), TargetError, "species"),
    "empty target": (lambda: (iris().assign(species=np.nan), "species"), TargetError, "species"),
    "header only": (lambda: (iris().iloc[:0], "species"), UserError, ""),
    "one row": (lambda: (iris().iloc[:1], "species"), UserError, ""),
    "one column": (lambda: (iris()[["species"]], "species"), DataError, ""),
    "no usable feature": (lambda: (iris()[["species"]].assign(a=1, b=np.nan), "species"), DataError, ""),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_give_one_clear_error(case, tmp_path):
    make, kind, word = BAD[case]
    frame, target = make()
    with pytest.raises(kind) as caught:
        em.fit(frame, target, out=tmp_path, **CLASSIFY)
    assert word in str(caught.value) and len(str(caught.value)) > 20


@pytest.mark.parametrize(
    "options",
    [
        {"budget": "soon"},
        {"budget": -3},
        {"metric": "goodness"},
        {"task": "guess"},
        {"test_size": 1.5},
        {"trials": 0},
        {"models": ["no_such_model"]},
        {"group": "nobody"},
        {"prefer": "cheap"},
        {"unseen": "whatever"},
    ],
    ids=str,
)
def test_bad_options_give_one_clear_error(options, tmp_path):
    with pytest.raises(ParameterError) as caught:
        em.fit(iris(), "species", **{"out": tmp_path, "trials": 1, "progress": False, **options})
    assert str(next(iter(options.values()))).strip("[]'") in str(caught.value)


def test_read_only_folder_is_refused_before_any_work(tmp_path):
    place = tmp_path / "file"
    place.write_text("not a folder")
    with pytest.raises(ParameterError, match="file"):
        em.fit(iris(), "species", out=place, **CLASSIFY)
    with pytest.raises(ParameterError, match="does not exist"):
        em.fit(iris(), "species", out=tmp_path / "no" / "where.em", **CLASSIFY)


def test_messy_columns_are_learnt_from(tmp_path):
    random = np.random.default_rng(0)
    n = 400
    x = random.normal(size=n)
    frame = pd.DataFrame(
        {
            "money": [f"${1000 * v + 5000:,.2f}" if i % 11 else "n/a" for i, v in enumerate(x)],
            "share": [f"{v * 10 + 50:.1f} %".replace(".", ",") for v in random.normal(size=n)],
            "colour": random.choice(["red", "green", None], n),
            "day": pd.date_range("2020-01-01", periods=n).strftime("%d.%m.%Y"),
            "inf": np.where(random.uniform(size=n) < 0.01, np.inf, random.normal(size=n)),
            "y": x * 3 + random.normal(size=n) * 0.5,
        }
    )
    run = em.fit(frame, "y", out=tmp_path, **REGRESS)
    assert run.metrics["r2"] > 0.8
    assert any("money" in f.columns for f in run.findings)


def test_every_error_of_fit_is_ours():
    assert issubclass(TargetError, EverymodelError) and issubclass(ParameterError, UserError)
