"""Little time, full disks, shared folders: a fit still ends with a model, or with a clear sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import everymodel as em
from everymodel.core.clock import Clock
from everymodel.core.errors import ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.scoring.metrics import score
from everymodel.scoring.steps.base import Batch
from everymodel.workflow import run as story_of_fit
from everymodel.workflow.automl import search
from everymodel.workflow.model import Model
from everymodel.workflow.search import plan
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.search.ensemble import Judge
from everymodel.workflow.search.final import Final
from everymodel.workflow.search.ledger import claim
from everymodel.workflow.search.plain import plain_member
from everymodel.workflow.split import stratified_folds
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem


def problem(columns, y, task, metric, folds=3, classes=None, kinds=None):
    kinds = kinds or {}
    made = [kinds.get(name, Column(name, "number")) for name in columns]
    classes = () if task == "regression" else classes or tuple(range(int(np.max(y)) + 1))
    schema = Schema((*made, Column("y", "number", role="target")), task, classes)
    strata = y.astype(int) if task in ("binary", "multiclass") else np.zeros(len(y), int)
    return Problem(schema, task, Batch(columns, len(y)), y, stratified_folds(strata, folds, 0), metric, 0)


def numbers(X):
    return {f"x{i}": np.ascontiguousarray(X[:, i], dtype=float) for i in range(X.shape[1])}


@pytest.mark.parametrize(
    "load, task, metric",
    [
        (load_wine, "multiclass", "log_loss"),
        (load_breast_cancer, "binary", "roc_auc"),
        (load_diabetes, "regression", "rmse"),
    ],
)
def test_the_plain_model_is_what_its_name_says(load, task, metric):
    X, y = load(return_X_y=True)
    made = problem(numbers(X), y if task == "regression" else y.astype(int), task, metric)
    fit, valid = made.folds[0]
    member = plain_member(made, 0)
    scaler = StandardScaler().fit(X[fit])
    theirs = Ridge() if task == "regression" else LogisticRegression(max_iter=10_000, tol=1e-8)
    theirs.fit(scaler.transform(X[fit]), y[fit])
    ask = theirs.predict if task == "regression" else theirs.predict_proba
    assert np.abs(member.answers - ask(scaler.transform(X[valid]))).max() < (1e-8 if task == "regression" else 2e-3)
    assert np.abs(member.pack()(made.batch.take(valid)) - member.answers).max() < 1e-12


def test_the_plain_model_takes_gaps_levels_and_several_answers_and_leaves_texts():
    rng = np.random.default_rng(0)
    n = 400
    town = rng.integers(-2, 3, n).astype(np.int32)
    size = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))
    columns = {"town": town, "size": size, "note": np.array(["a b"] * n, object)}
    kinds = {"town": Column("town", "category", levels=("a", "b", "c")), "note": Column("note", "text")}
    high = (np.nan_to_num(size) + (town == 1) > 0.5).astype(int)
    labels = np.column_stack([high, town == 2]).astype(int)
    made = problem(columns, labels, "multilabel", "roc_auc", classes=("high", "c"), kinds=kinds)
    assert score("roc_auc", "multilabel", labels[made.folds[0][1]], plain_member(made, 0).answers) > 0.9
    values = np.column_stack([np.nan_to_num(size), 3.0 * (town == 2)])
    made = problem(columns, values, "regression", "r2", kinds=kinds)
    assert score("r2", "regression", values[made.folds[0][1]], plain_member(made, 0).answers) > 0.7
    made = problem({"note": columns["note"]}, high, "binary", "roc_auc", kinds=kinds)
    assert plain_member(made, 0) is None


def test_when_no_fit_ends_in_time_a_linear_model_answers_and_it_is_said(monkeypatch):
    monkeypatch.setattr(Crew, "wait", lambda self, timeout=None: [])  # a machine too busy to load any library
    X, y = load_iris(return_X_y=True)
    found = search(problem(numbers(X), y, "multiclass", "log_loss"), clock=Clock(1.0))
    assert [m["card"] for m in found.members] == ["logistic"]
    assert score("log_loss", "multiclass", y, found.pack(Batch(numbers(X), len(y)))) < 0.3
    assert [r["model"] for r in found.leaderboard].count("Dummy baseline") == 1
    said = next(f for f in found.findings if f.code == "little-time")
    assert "too short" in said.message and "Logistic regression" in said.message


def test_a_table_too_large_for_the_time_is_searched_on_a_sample():
    from everymodel.workflow.automl import _Search

    rng = np.random.default_rng(0)
    X = rng.normal(size=(30_000, 10))
    made = problem(numbers(X), (X[:, 0] > 0).astype(int), "binary", "roc_auc", folds=5)
    fitted = {}
    for limit in (2.0, 100.0):
        made_search = _Search(made, None, Clock(limit), None, None, False, None, 2, None, {})
        try:
            candidate = plan.baselines(made, None)[1]
            fitted[limit] = len(made_search._rows(candidate, 0)[0])
        finally:
            made_search.close(True)
    assert fitted[100.0] == len(made.folds[0][0]) and 1_000 <= fitted[2.0] < 12_000


def test_a_blend_of_noise_is_not_praised():
    """Weights fitted to the rows that judge them find something even in noise; chosen on other folds they do not."""
    rng = np.random.default_rng(0)
    gaps, flattered = [], []
    card = plan.catalog.find("logistic", kind="classifier")
    for _ in range(25):
        n = 150
        y = rng.integers(0, 2, n)
        made = problem({"x": rng.normal(size=n)}, y, "binary", "roc_auc", folds=5)
        first = Judge("roc_auc", "binary", y[made.folds[0][1]], 0)
        final = Final(made, made.folds, first, "accurate", False)
        noise = []
        for j in range(8):
            c = plan.Candidate(f"noise {j}", card, {"C": float(j + 1)})
            for f, (_, valid) in enumerate(made.folds):
                p = rng.random(len(valid))
                c.members[f] = Member({}, {}, "probabilities", np.column_stack([1 - p, p]), 0.1, 0.01, 100)
            noise.append(c)
        rows = np.arange(n)
        judge = Judge("roc_auc", "binary", y, 0)
        answers = [final.oof(c) for c in noise]
        losses = [judge.loss(a) for a in answers]
        weights = final.choose(judge, noise, answers, losses)
        blend, single, whole = final.nested(rows, noise, answers, losses, weights, lambda: False)
        assert whole and blend.shape == single.shape == (n, 2)
        plain = sum(w * a for w, a in zip(weights, answers))
        flattered.append(score("roc_auc", "binary", y, plain) - 0.5)
        gaps.append(score("roc_auc", "binary", y, blend) - 0.5)
    assert np.mean(flattered) > 0.05  # what the figure was before
    assert abs(np.mean(gaps)) < 0.03


def test_nesting_stops_with_the_clock():
    X, y = load_breast_cancer(return_X_y=True)
    made = problem(numbers(X[:, :4]), y, "binary", "roc_auc")
    first = Judge("roc_auc", "binary", y[made.folds[0][1]], 0)
    final = Final(made, made.folds, first, "accurate", False)
    answers = [np.column_stack([1 - p, p]) for p in np.random.default_rng(0).random((2, len(y)))]
    card = plan.catalog.find("logistic", kind="classifier")
    both = [plan.Candidate(str(i), card, {}) for i in range(2)]
    blend, _, whole = final.nested(np.arange(len(y)), both, answers, [0.4, 0.5], np.array([0.5, 0.5]), lambda: True)
    assert not whole and np.allclose(blend, (answers[0] + answers[1]) / 2)


# ---- folders and disks ----

QUICK = {"models": ["logistic"], "trials": 1, "progress": False}


def iris():
    return load_iris(as_frame=True).frame


def test_one_search_at_a_time_in_a_folder(tmp_path):
    held = claim(tmp_path)
    with pytest.raises(ParameterError, match="Another search is running"):
        em.fit(iris(), "target", out=tmp_path, **QUICK)
    held.close()
    em.fit(iris(), "target", out=tmp_path, **QUICK)
    em.fit(iris(), "target", out=tmp_path, resume=True, **QUICK)  # nothing of ours still holds it


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_a_killed_search_holds_nothing(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from everymodel.workflow.search.ledger import claim; "
        "held = claim(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60).returncode == -9
    claim(tmp_path).close()


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    class Still(story_of_fit.datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 1, 2, tzinfo=tz)

    monkeypatch.setenv("EVERYMODEL_RUNS_FOLDER", str(tmp_path))
    monkeypatch.setattr(story_of_fit.datetime, "datetime", Still)
    made = [story_of_fit._places(None, "y", False)[0] for _ in range(3)]
    assert len(set(made)) == 3


def test_a_resume_names_what_differs(tmp_path):
    em.fit(iris(), "target", out=tmp_path, **QUICK)
    with pytest.raises(ParameterError, match=r"test_size=0.2 \(now 0.3\)"):
        em.fit(iris(), "target", out=tmp_path, resume=True, test_size=0.3, **QUICK)
    with pytest.raises(ParameterError, match=r"seed=0 \(now 5\)"):
        em.fit(iris(), "target", out=tmp_path, resume=True, seed=5, **QUICK)
    with pytest.raises(ParameterError, match="other data"):
        em.fit(iris().iloc[:140], "target", out=tmp_path, resume=True, **QUICK)


def test_a_full_disk_does_not_cost_the_model(tmp_path, monkeypatch):
    save = Model.save

    def full(self, path):
        if str(path).startswith(str(tmp_path / "run")):
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(Model, "save", full)
    monkeypatch.setenv("EVERYMODEL_RUNS_FOLDER", str(tmp_path / "run"))
    run = em.fit(iris(), "target", out=tmp_path / "kept.em", **QUICK)
    said = next(f for f in run.findings if f.code == "not-saved")
    assert said.severity == "error" and "No space left" in said.message
    assert em.load(tmp_path / "kept.em").task == "multiclass"
    run = em.fit(iris(), "target", out=tmp_path / "run" / "other", **QUICK)
    assert len(run.model.predict(iris().drop(columns="target"))) == 150


def test_a_model_needs_its_room_more_than_finished_fits(tmp_path, monkeypatch):
    save, tries = Model.save, []

    def first_time_full(self, path):
        tries.append((tmp_path / "search" / "fits").exists())
        if len(tries) == 1:
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(Model, "save", first_time_full)
    run = em.fit(iris(), "target", out=tmp_path, **QUICK)
    assert tries == [True, False] and (tmp_path / "model.em").exists()
    assert "not-saved" not in [f.code for f in run.findings]
    assert json.loads((tmp_path / "story.json").read_text())["target"] == "target"


def test_a_test_share_that_leaves_nothing_to_learn_from(tmp_path):
    with pytest.raises(ParameterError, match=r"test_size=0.99 keeps 147 of 150 rows .* leaves 3"):
        em.fit(iris(), "target", out=tmp_path, test_size=0.99, **QUICK)
