"""em.fit on a target with empty cells: rows without a label are learnt from too, where that helps."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, make_moons

import everymodel as em
from everymodel.core.errors import DataError, TargetError
from everymodel.workflow import partly
from everymodel.workflow.search import unlabelled


@pytest.fixture(scope="module", autouse=True)
def _one_repeat():
    """Fitting again on other folds costs time, and one time shows all that there is to see here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlabelled, "REPEATS", 1)
        yield


def codes(run):
    return {f.code for f in run.findings}


def partly_labelled(X, y, labels, seed=0):
    """(frame with few labels, frame with all of them)."""
    full = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    full["kind"] = pd.Series([f"k{v}" for v in y], dtype=object)
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.choice(np.flatnonzero(y == c), labels, replace=False) for c in np.unique(y)])
    few = full.copy()
    few.loc[np.setdiff1d(np.arange(len(y)), chosen), "kind"] = None
    return few, full


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    X, y = load_digits(return_X_y=True)
    few, _ = partly_labelled(X[:700], y[:700], 6)
    _, new = partly_labelled(X[700:], y[700:], 6)
    out = tmp_path_factory.mktemp("digits")
    run = em.fit(few, target="kind", trials=1, test_size=0, out=out, progress=False)
    return run, few, new


def test_rows_without_a_label_help_on_digits(digits):
    run, _, new = digits
    gain = run.story["structure"]["gain"]
    assert gain["chosen"] and gain["low"] > 0 and gain["with_unlabelled"] < gain["labelled_only"]
    assert run.story["structure"]["labelled"] == 60 and run.story["structure"]["unlabelled"] == 640
    assert "640 rows without a label as well helped" in run.headline
    assert (run.model.predict(new.drop(columns="kind")) == new["kind"]).mean() > 0.92
    assert any(m["card"] == "label_spreading" for m in run.search.members)


def test_what_is_said_and_kept_of_them(digits):
    run, _, new = digits
    found = next(f for f in run.findings if f.code == "target-missing")
    assert found.severity == "info" and found.data == {"rows": 640, "labelled": 60, "used": 640}
    assert "left out" not in found.message
    assert run.model.manifest["contains_training_rows"]
    assert len(run.search.oof) == 60, "rows without a label are never scored"
    json.dumps(run.story, allow_nan=False)
    loaded = em.load(run.folder / "model.em")
    rows = new.drop(columns="kind").iloc[:50]
    np.testing.assert_array_equal(loaded.predict_proba(rows), run.model.predict_proba(rows))


def test_without_a_gain_the_model_is_that_of_the_labelled_rows(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6))
    few, _ = partly_labelled(X, (X[:, 0] - X[:, 1] > 0).astype(int), 40)  # one cloud: how rows lie says nothing
    run = em.fit(few, target="kind", trials=1, test_size=0, out=tmp_path, progress=False)
    gain = run.story["structure"]["gain"]
    assert not gain["chosen"] and gain["low"] <= gain["difference"] <= gain["high"]
    assert "no-gain-from-unlabelled" in codes(run) and "learnt from labelled rows alone" in run.headline
    assert not run.model.manifest["contains_training_rows"]
    assert not any(m["card"] == "label_spreading" for m in run.search.members)
    assert any(row["card"] == "label_spreading" for row in run.leaderboard.to_dict("records")), "it was tried"


def test_the_test_part_holds_labelled_rows_only(tmp_path):
    few, _ = partly_labelled(*make_moons(400, noise=0.1, random_state=0), 30)
    run = em.fit(few, target="kind", models=["logistic", "label_spreading"], trials=2, out=tmp_path, progress=False)
    assert run.story["split"]["train"] + run.story["split"]["test"] == 60
    assert run.evaluation.curves["rows"]["evaluated"] == run.story["split"]["test"] == 12


def test_the_answer_repeats_and_every_row_counts_for_the_schema(tmp_path):
    X, y = make_moons(300, noise=0.1, random_state=0)
    few, _ = partly_labelled(X, y, 10)
    few["place"] = "common"
    empty = few["kind"].isna()
    few.loc[few.index[empty][:100], "place"] = "rare"  # a level that no labelled row has
    runs = [
        em.fit(
            few,
            target="kind",
            models=["logistic", "label_spreading"],
            trials=2,
            test_size=0,
            out=tmp_path / name,
            progress=False,
        )
        for name in "ab"
    ]
    np.testing.assert_array_equal(*[run.model.predict_proba(few) for run in runs])
    assert runs[0].model.schema.column("place").levels == ("common", "rare")


def test_few_gaps_are_left_out_as_ever(tmp_path):
    X, y = make_moons(300, noise=0.1, random_state=0)
    _, full = partly_labelled(X, y, 2)
    full.loc[:20, "kind"] = None
    run = em.fit(full, target="kind", models="logistic", trials=1, out=tmp_path, progress=False)
    assert run.search.gain is None and "structure" not in run.story
    assert "left out" in next(f.message for f in run.findings if f.code == "target-missing")


def test_numbers_that_are_missing_are_left_out_and_said(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=200), "z": rng.normal(size=200)})
    frame["y"] = 2 * frame.x + rng.normal(size=200)
    frame.loc[:119, "y"] = np.nan
    run = em.fit(frame, target="y", models="ridge", trials=1, out=tmp_path, progress=False)
    assert run.story["task"] == "regression" and run.search.gain is None
    assert "120 of 200 rows" in next(f.message for f in run.findings if f.code == "target-missing")


def test_no_label_at_all_and_one_class_only_are_explained(tmp_path):
    frame = pd.DataFrame({"x": np.arange(50.0), "kind": pd.Series([None] * 50, dtype=object)})
    with pytest.raises(TargetError, match="without a target"):
        em.fit(frame, target="kind", trials=1, out=tmp_path / "a", progress=False)
    frame.loc[:9, "kind"] = "only"
    with pytest.raises((TargetError, DataError), match=r"'only'.*another\s+class"):
        em.fit(frame, target="kind", trials=1, out=tmp_path / "b", progress=False)


def test_a_class_with_one_label_is_left_out_and_said(tmp_path):
    few, _ = partly_labelled(*make_moons(300, noise=0.1, random_state=0), 12)
    few.loc[few.index[few["kind"].isna()][0], "kind"] = "lonely"
    run = em.fit(few, target="kind", models=["logistic", "label_spreading"], trials=2, out=tmp_path, progress=False)
    assert "single-member-classes" in codes(run) and list(run.model.classes) == ["k0", "k1"]


def test_many_rows_without_a_label_are_sampled_and_said(monkeypatch, tmp_path):
    monkeypatch.setattr(partly, "MOST", 100)
    few, _ = partly_labelled(*make_moons(400, noise=0.1, random_state=0), 10)
    run = em.fit(few, target="kind", models=["logistic", "label_spreading"], trials=2, test_size=0, out=tmp_path,
                 progress=False)  # fmt: skip
    found = next(f for f in run.findings if f.code == "target-missing")
    assert found.data["used"] == 100 and "100 of them" in found.message


def judged(n, classes, few_right, more_right, sharp, seed):
    """What `_decide` says of made-up answers: shares of right ones, and how sure the second ones are."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)

    def answers(right, sure):
        said = np.where(rng.random(n) < right, y, (y + rng.integers(1, classes, n)) % classes)
        P = np.full((n, classes), (1 - sure) / (classes - 1))
        P[np.arange(n), said] = sure
        return P

    problem = SimpleNamespace(metric="log_loss", task="multiclass", y=y, seed=seed)
    return unlabelled._decide(problem, [answers(few_right, 0.7)], [answers(more_right, sharp)])


def test_what_is_far_more_often_right_answers_alone():
    best, gain = judged(60, 5, 0.6, 0.95, 0.9, 0)
    assert best == "alone" and gain["chosen"] and not gain["mean"]


def test_what_is_surer_but_hardly_more_often_right_answers_in_a_mean_at_most():
    kinds = [judged(50, 3, 0.93, 0.99, 0.99, seed) for seed in range(20)]
    assert all(best == "both" for best, gain in kinds if gain["chosen"] and gain["right"] < 0.04)
    assert any(gain["mean"] for _, gain in kinds)


def test_equal_answers_hardly_ever_take_the_place_of_the_others():
    kinds = [judged(20, 4, 0.7, 0.7, 0.7, seed) for seed in range(60)]
    assert sum(gain["chosen"] and best == "alone" for best, gain in kinds) <= 5
    worse = [judged(20, 4, 0.8, 0.4, 0.7, seed) for seed in range(40)]
    assert sum(gain["chosen"] for _, gain in worse) <= 2


def test_a_mean_of_both_kinds_is_what_answers_where_it_was_judged_better(tmp_path, monkeypatch):
    def decide(problem, few, more):
        gain = unlabelled._compare(problem, few, more) | {"chosen": True, "mean": True}
        gain.pop("clear")
        return "both", gain

    monkeypatch.setattr(unlabelled, "_decide", decide)
    few, _ = partly_labelled(*make_moons(200, noise=0.1, random_state=0), 10)
    run = em.fit(few, target="kind", models=["logistic", "label_spreading"], trials=2, test_size=0, out=tmp_path,
                 progress=False)  # fmt: skip
    assert {m["card"]: m["weight"] for m in run.search.members} == {"logistic": 0.5, "label_spreading": 0.5}
    assert "in a mean with what labelled rows alone teach" in run.headline and np.isfinite(run.search.oof).all()
