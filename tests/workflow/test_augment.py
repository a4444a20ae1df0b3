"""Made rows among those that a model learns from: only of the rows it may see, only where they clearly help."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import everymodel as em
from everymodel.core.errors import ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.scoring.steps.base import Batch
from everymodel.workflow import augment
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem, SearchResult


def rare(n: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.12
    frame = pd.DataFrame({f"x{i}": rng.normal(ill * 1.0, 1) for i in range(5)})
    frame["k"] = np.where(rng.random(n) < 0.4 + 0.3 * ill, "a", None)
    frame["visits"] = rng.integers(0, 5, n)
    return frame.assign(state=np.where(ill, "ill", "well"))


def problem_of(n: int = 200, task: str = "binary") -> Problem:
    rng = np.random.default_rng(0)
    y = (rng.random(n) < 0.2).astype(np.int64) if task == "binary" else rng.normal(size=n)
    columns = (Column("x", "number"), Column("c", "category", levels=("u", "v", "w")), Column("b", "boolean"))
    kinds = Schema((*columns, Column("target", "category", "target")), task, (0, 1) if task == "binary" else ())
    batch = Batch(
        {
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 9, n).astype(float)),
            "c": rng.integers(-1, 3, n).astype(np.int32),
            "b": rng.integers(0, 2, n).astype(float),
        },
        n,
    )
    rows = np.arange(n)
    folds = [(rows[rows % 4 != k], rows[rows % 4 == k]) for k in range(4)]
    return Problem(kinds, task, batch, y, folds, "roc_auc" if task == "binary" else "rmse")


@pytest.mark.parametrize("maker", ["smote", "gaussian_copula"])
def test_made_rows_are_of_the_rows_seen_and_rarer_classes_come_first(maker, monkeypatch):
    problem = problem_of()
    rows = np.flatnonzero(np.nan_to_num(problem.batch.columns["x"]) < 6)
    more, y = augment.made_rows(problem, rows, maker, 3)
    seen = problem.y[rows]
    assert (y == 1).all() and len(y) == more.n == (seen == 0).sum() - (seen == 1).sum()
    assert np.nanmax(more.columns["x"]) <= 5  # nothing beyond the rows that it was given
    assert set(more.columns["c"].tolist()) <= {-1, 0, 1, 2} and more.columns["c"].dtype == np.int32
    assert set(more.columns["b"].tolist()) <= {0.0, 1.0}
    again, _ = augment.made_rows(problem, rows, maker, 3)
    assert all(np.array_equal(more.columns[k], again.columns[k], equal_nan=True) for k in more.columns)
    numbers = problem_of(task="regression")
    more, y = augment.made_rows(numbers, np.arange(100), maker, 3)
    assert len(y) == 50 and y.dtype == numbers.y.dtype and y.max() <= numbers.y[:100].max()


def members(problem: Problem, skill: dict[str, float]) -> dict[tuple[str, int], Member]:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(problem.y))
    found = {}
    for maker, good in skill.items():
        p = 1 / (1 + np.exp(-(good * (2 * problem.y - 1) + noise)))
        for fold, (_, valid) in enumerate(problem.folds):
            told = np.column_stack([1 - p[valid], p[valid]])
            found[maker, fold] = Member({}, {}, "probabilities", told, 0.1, 0.1, 10)
    return found


def decided(problem: Problem, skill: dict[str, float], blend: float) -> dict:
    oof = np.full((len(problem.y), 2), np.nan)
    for (_, fold), member in members(problem, {"": blend}).items():
        oof[problem.folds[fold][1]] = member.answers
    result = SearchResult(None, [], oof, {}, {}, [], [], "finished")
    best = {"model": "Tree", "card": "decision_tree", "parameters": {}}
    told, answers = augment._decide(problem, result, best, [m for m in skill if m], members(problem, skill))
    assert answers is None or answers.shape == oof.shape
    told["verdict"] = augment._verdict(told, problem)
    return told


def test_only_a_clear_gain_over_the_same_model_and_over_what_answers_is_kept():
    problem = problem_of(600)
    better = decided(problem, {"": 0.5, "smote": 1.5, "table_diffusion": 1.2}, 0.5)
    assert better["chosen"] and better["maker"] == "smote" and better["low"] > 0 and "helped Tree" in better["verdict"]
    assert [o["maker"] for o in better["options"]] == ["smote", "table_diffusion"]
    same = decided(problem, {"": 0.5, "smote": 0.5}, 0.5)
    assert not same["chosen"] and "there is no gain" in same["verdict"] and same["low"] <= 0 <= same["high"]
    worse = decided(problem, {"": 1.0, "smote": 0.2}, 1.0)
    assert not worse["chosen"] and worse["high"] < 0
    behind = decided(problem, {"": 0.5, "smote": 1.2}, 3.0)
    assert not behind["chosen"] and "found without is better" in behind["verdict"]
    late = decided(problem, {"": 0.5}, 0.5)
    assert not late["chosen"] and "No time" in late["verdict"]


def test_a_run_says_whether_made_rows_helped(tmp_path, monkeypatch):
    monkeypatch.setattr(augment, "MAKERS", ("smote",))
    frame = rare()
    given = {"trials": 2, "models": ["decision_tree"], "metric": "balanced_accuracy", "progress": False}
    run = em.fit(frame, "state", augment=True, out=tmp_path / "run", **given)
    told = run.story["augmentation"]
    (option,) = told["options"]
    assert (
        option["maker"] == "smote" and option["rows"] == 240 and option["low"] <= option["difference"] <= option["high"]
    )
    codes = {f.code for f in run.findings}
    assert told["verdict"] in run.headline and ("augmentation-helped" in codes) == told["chosen"]
    assert ("no-gain-from-augmentation" in codes) != told["chosen"]
    assert ("made rows" in run.leaderboard.model.iloc[0]) == told["chosen"]
    page = run.report(tmp_path / "report.html").read_text()
    assert "What made rows were good for" in page and "SMOTE" in page
    again = em.load(tmp_path / "run" / "model.em")
    assert (again.predict(frame) == run.model.predict(frame)).all()


def test_what_cannot_be_made_is_said_and_the_plain_model_stays(tmp_path):
    frame = rare().assign(text=[f"the patient number {i} said {i * i} things about it today" for i in range(300)])
    run = em.fit(frame, "state", augment=True, trials=1, models=["gaussian_nb"], progress=False, out=tmp_path)
    (told,) = [f for f in run.findings if f.code == "augmentation-not-possible"]
    assert "'text'" in told.message and not run.story["augmentation"]["chosen"]
    for wrong in ({"target": None}, {"task": "anomaly"}, {"target": "x0", "time": "visits", "horizon": 3}):
        with pytest.raises(ParameterError, match="augment"):
            em.fit(frame, **{"target": "state", **wrong}, augment=True, trials=1)
