"""The search: deterministic by trials, resumable, honest on noise, complete for every task."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from everymodel import catalog
from everymodel.core.clock import Clock
from everymodel.core.errors import DataError, NotInstalledError, ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.metrics import score
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.constant import ConstantProbabilities
from everymodel.workflow import tune
from everymodel.workflow.automl import learning_curve, search
from everymodel.workflow.search import plan
from everymodel.workflow.search.ensemble import Judge, calibration, greedy, join, mix
from everymodel.workflow.search.final import Final
from everymodel.workflow.search.ledger import Ledger
from everymodel.workflow.split import stratified_folds
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem

QUICK = ["logistic", "decision_tree", "gaussian_nb"]
QUICK_R = ["ridge", "decision_tree"]


def problem(X, y, task, metric, folds=3, seed=0):
    columns = {f"x{i}": np.ascontiguousarray(X[:, i], dtype=float) for i in range(X.shape[1])}
    classes = (
        () if task == "regression" else tuple(range(int(y.max()) + 1)) if y.ndim == 1 else tuple("abc"[: y.shape[1]])
    )
    schema = Schema((*(Column(c, "number") for c in columns), Column("y", "number", role="target")), task, classes)
    strata = y.astype(int) if task in ("binary", "multiclass") else np.zeros(len(y), int)
    y = y.astype(float) if task == "regression" else y.astype(int)
    return Problem(schema, task, Batch(columns, len(y)), y, stratified_folds(strata, folds, seed), metric, seed)


def wine():
    return problem(*load_wine(return_X_y=True), "multiclass", "log_loss")


def cancer():
    return problem(*load_breast_cancer(return_X_y=True), "binary", "roc_auc")


def diabetes():
    return problem(*load_diabetes(return_X_y=True), "regression", "rmse")


def told(result):
    """What must be equal between equal runs: everything but times."""
    timeless = ("fit_seconds", "row_ms")
    board = [{k: v for k, v in row.items() if k not in timeless} for row in result.leaderboard]
    return json.dumps([board, result.members, result.stopped], default=str, sort_keys=True)


def test_a_blend_answers_what_its_out_of_fold_answers_promise():
    made = wine()
    result = search(made, models=QUICK, trials=3)
    assert result.stopped == "trials"
    assert result.oof.shape == (178, 3) and np.isfinite(result.oof).all()
    assert np.allclose(result.oof.sum(1), 1)
    assert result.pack.output == "probabilities"
    names = [r["model"] for r in result.leaderboard]
    assert "Dummy baseline" in names and result.leaderboard[0]["score"] < 0.2
    assert score("log_loss", "multiclass", made.y, result.oof) < 0.2
    assert score("log_loss", "multiclass", made.y, result.pack(made.batch)) < 0.2
    assert set(result.oof_by_model) == set(result.packs_by_model) >= {"dummy", "best_single"}
    assert abs(sum(m["weight"] for m in result.members) - 1) < 1e-5


def test_same_seed_same_result_whatever_runs_at_once():
    made = wine()
    one, two = (search(made, models=QUICK, trials=6, cores=c) for c in (1, 3))
    assert told(one) == told(two)
    assert np.array_equal(one.pack(made.batch), two.pack(made.batch))


def test_a_longer_run_goes_on_where_a_shorter_ended(tmp_path):
    made = diabetes()
    whole = search(made, models=QUICK_R, trials=6, folder=tmp_path / "whole")
    search(made, models=QUICK_R, trials=3, folder=tmp_path / "parts")
    before = (tmp_path / "parts" / "search" / "ledger.jsonl").read_bytes()
    extended = search(made, models=QUICK_R, trials=6, folder=tmp_path / "parts", resume=True)
    after = (tmp_path / "parts" / "search" / "ledger.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == len((tmp_path / "whole" / "search" / "ledger.jsonl").read_bytes().splitlines())
    assert told(whole) == told(extended)
    assert np.array_equal(whole.pack(made.batch), extended.pack(made.batch))


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import os, signal
from test_automl import cancer
from everymodel.workflow.automl import search
from everymodel.workflow.search.ledger import Ledger
put, count = Ledger.put, [0]
def counted(self, *given):
    put(self, *given)
    count[0] += 1
    if count[0] == 8:
        os.kill(os.getpid(), signal.SIGKILL)
Ledger.put = counted
search(cancer(), models=["logistic", "decision_tree"], trials=4, folder={folder!r})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kill_minus_nine_then_resume_equals_an_uninterrupted_run(tmp_path):
    folder = tmp_path / "killed"
    code = KILLED.format(tests=os.path.dirname(__file__), folder=str(folder))
    ended = subprocess.run([sys.executable, "-c", code], timeout=120)
    assert ended.returncode == -9
    ledger = folder / "search" / "ledger.jsonl"
    assert len(ledger.read_bytes().splitlines()) == 8
    with open(ledger, "ab") as stream:  # as if the kill had come in the middle of a line
        stream.write(b'{"key": "half')
    made = cancer()
    resumed = search(made, models=["logistic", "decision_tree"], trials=4, folder=folder, resume=True)
    whole = search(made, models=["logistic", "decision_tree"], trials=4)
    assert told(resumed) == told(whole)
    assert np.array_equal(resumed.pack(made.batch), whole.pack(made.batch))


def test_a_run_on_other_data_is_not_resumed(tmp_path):
    search(wine(), models=["logistic"], trials=1, folder=tmp_path)
    other = wine()
    other.batch.columns["x0"][3] += 1e-9
    with pytest.raises(ParameterError, match="other data"):
        search(other, models=["logistic"], trials=1, folder=tmp_path, resume=True)
    with pytest.raises(ParameterError, match="models"):
        search(wine(), models=["decision_tree"], trials=1, folder=tmp_path, resume=True)


def test_noise_is_not_better_than_guessing():
    rng = np.random.default_rng(0)
    made = problem(rng.normal(size=(300, 6)), rng.integers(0, 2, 300), "binary", "log_loss")
    result = search(made, models=QUICK, trials=3)
    assert score("log_loss", "binary", made.y, result.oof) > 0.67  # ln 2 = 0.693


def test_only_what_was_asked_for():
    result = search(wine(), models=["decision_tree"], trials=2)
    assert {m["card"] for m in result.members} == {"decision_tree"}
    assert {r["card"] for r in result.leaderboard} <= {"decision_tree", "dummy", "blend"}
    with pytest.raises(ParameterError, match="No model is called"):
        search(wine(), models=["oracle"], trials=1)
    with pytest.raises(ParameterError, match="cannot do"):
        search(wine(), models=["lasso"], trials=1)


def test_a_package_that_is_missing_is_named_at_once(monkeypatch):
    monkeypatch.setattr("everymodel.catalog.installed", lambda name: name != "catboost")
    with pytest.raises(NotInstalledError, match="pip install"):
        search(wine(), models=["catboost"], trials=1)


def test_scores_become_probabilities():
    made = cancer()
    result = search(made, models=["ridge"], trials=1)  # the ridge classifier gives scores only
    assert result.members[0]["card"] == "ridge"
    answers = result.pack(made.batch)
    assert answers.shape == (569, 2) and np.allclose(answers.sum(1), 1)
    assert score("log_loss", "binary", made.y, answers) < 0.25
    assert np.isfinite(result.oof).all()


def test_several_labels_at_once():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    y = np.column_stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0, X[:, 3] > 1]).astype(int)
    made = problem(X, y, "multilabel", "roc_auc")
    result = search(made, models=["logistic", "decision_tree"], trials=2)
    answers = result.pack(made.batch)
    assert answers.shape == (200, 3) and result.pack.output == "probabilities"
    assert score("roc_auc", "multilabel", y, result.oof) > 0.9


def test_several_targets_at_once():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = np.column_stack([X[:, 0] * 3 + 1, X[:, 1] - X[:, 2]])
    made = problem(X, y, "regression", "rmse")
    result = search(made, models=["ridge", "decision_tree"], trials=2)
    assert result.pack(made.batch).shape == (200, 2)
    assert score("rmse", "regression", y, result.oof) < 0.5


@pytest.mark.parametrize("name", ["lightgbm", "gradient_boosting", "linear_svm"])
def test_models_of_one_target_do_several_one_by_one(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 3))
    made = problem(X, np.column_stack([X[:, 0] * 3 + 1, X[:, 1] - X[:, 2]]), "regression", "rmse")
    result = search(made, models=[name], trials=1)
    assert any(member["card"] == name for member in result.members), result.failures
    assert result.pack(made.batch).shape == (240, 2)


def test_folds_that_go_forward_end_in_a_refit_on_everything():
    made = diabetes()
    n = made.batch.n
    edges = [n // 4, n // 2, 3 * n // 4, n]
    made.folds = [(np.arange(a), np.arange(a, b)) for a, b in itertools.pairwise(edges)]
    result = search(made, models=["ridge"], trials=1)
    assert result.members[0]["models"] == 1
    assert np.isnan(result.oof[: n // 4]).all() and np.isfinite(result.oof[n // 4 :]).all()
    assert np.isfinite(result.pack(made.batch)).all()


def test_simple_and_fast_are_single_models():
    for prefer in ("simple", "fast"):
        result = search(wine(), prefer=prefer, models=QUICK, trials=3)
        assert len(result.members) == 1


def test_a_clock_is_kept_and_events_are_told():
    events = []
    made = cancer()
    result = search(made, models=QUICK, clock=Clock(5), listener=events.append)
    assert result.stopped in ("budget", "finished")
    assert events[0].message and "GiB" in events[0].message  # the estimate comes before any fit
    assert any(e.candidate == "Logistic regression" and e.score > 0.95 for e in events)
    assert result.history and result.history[-1]["best"] >= result.history[0]["best"]


def test_no_time_at_all_still_gives_a_model():
    made = diabetes()
    result = search(made, clock=Clock(0.05))
    assert len(result.members) == 1
    assert np.isfinite(result.pack(made.batch)).all() and np.isfinite(result.oof).any()


def test_one_class_is_refused():
    made = wine()
    made.y[:] = 1
    with pytest.raises(DataError, match="same class"):
        search(made, trials=1)


def test_nothing_to_learn_from_is_said():
    made = wine()
    for name in made.batch.columns:
        made.batch.columns[name][:] = 1.0
    with pytest.raises(DataError, match="nothing to learn from"):
        search(made, models=["logistic"], trials=1)


def test_a_skewed_target_is_also_learnt_as_a_logarithm():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    made = problem(X, np.exp(X[:, 0] + 0.1 * rng.normal(size=300)), "regression", "rmse")
    result = search(made, models=["ridge"], trials=2)
    logged = next(r for r in result.leaderboard if r["target"] == "log")
    plain = next(r for r in result.leaderboard if r["target"] == "plain" and r["card"] == "ridge")
    assert logged["score"] < 0.5 * plain["score"]


def test_a_class_that_a_fold_has_not_seen_keeps_its_column():
    made = wine()
    made.y[made.y == 2] = 1
    made.y[0] = 2  # one row of its class: one fold learns without it
    result = search(made, models=["logistic", "gaussian_nb"], trials=2)
    assert result.pack(made.batch).shape == (178, 3)


def test_learning_curve_grows():
    made = cancer()
    result = search(made, models=["logistic"], trials=1)
    curve = learning_curve(made, result)
    assert len(curve) >= 3 and curve[0]["rows"] < curve[-1]["rows"]
    assert curve[-1]["score"] > 0.9


# ---- parts ----


def test_the_search_never_sees_more_rows_than_it_is_given():
    import inspect

    assert "frame" not in inspect.signature(search).parameters  # training rows only, as arrays


def test_greedy_finds_members_that_complete_each_other():
    rng = np.random.default_rng(0)
    y = rng.normal(size=2000)
    noise = rng.normal(size=(3, 2000))
    answers = [y + noise[0], y + noise[1], y + 5 * noise[2]]
    weights = greedy(Judge("rmse", "regression", y, 0), answers)
    assert abs(weights[0] - 0.5) < 0.1 and abs(weights[1] - 0.5) < 0.1 and weights[2] < 0.05
    assert np.allclose(mix(answers[:2], [0.5, 0.5]), (answers[0] + answers[1]) / 2)
    alone = greedy(Judge("rmse", "regression", y, 0), answers, allowed=lambda members: len(members) == 1)
    assert (alone > 0).sum() == 1


def test_answers_that_are_not_finite_are_never_chosen():
    y = np.arange(100.0)
    weights = greedy(Judge("rmse", "regression", y, 0), [np.full(100, np.nan), y + 1])
    assert weights.tolist() == [0.0, 1.0]


def test_equal_nodes_are_kept_once():
    half = Pack([Node("a", ConstantProbabilities(np.array([0.5, 0.5])))])
    other = Pack([Node("b", ConstantProbabilities(np.array([0.1, 0.9])))])
    joined = join([(half, None, 0.25), (half, None, 0.25), (other, None, 0.5)], "probabilities")
    assert len(joined.nodes) == 3
    batch = Batch({"x": np.zeros(2)}, 2)
    assert np.allclose(joined(batch), [[0.3, 0.7]] * 2)


@pytest.mark.parametrize("classes", [2, 4])
def test_calibration_recovers_probabilities(classes):
    rng = np.random.default_rng(0)
    n = 5000
    if classes == 2:
        z = rng.normal(size=n) * 2
        y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
        step = calibration(z / 7 + 3, y, "binary")
        assert np.abs(step(z / 7 + 3)[:, 1] - 1 / (1 + np.exp(-z))).max() < 0.05
    else:
        z = rng.normal(size=(n, classes)) * 2
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        y = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
        step = calibration(z / 7, y, "multiclass")
        assert np.abs(step(z / 7) - p).mean() < 0.02


def test_proposals_stay_in_bounds_repeat_and_differ():
    from everymodel import catalog

    card = catalog.find("lightgbm", kind="regressor")
    history = [(dict(p), 1.0 + i) for i, p in enumerate(card.presets)]
    seen = []
    for i in range(14):  # past the point where the sampler takes over
        found = tune.propose(card, history, seed=3)
        assert found == tune.propose(card, history, seed=3)
        declared = {p.name: p for p in card.parameters}
        for name, value in found.items():
            declared[name].check(value)
        assert found not in seen
        seen.append(found)
        history.append((found, 2.0 - 0.01 * i))


def test_tuning_works_without_optuna(monkeypatch):
    from everymodel import catalog

    monkeypatch.setattr(tune, "installed", lambda name: False)
    card = catalog.find("ridge", kind="regressor")
    history = [({"alpha": float(10**i)}, 1.0) for i in range(-6, 6)]
    assert tune.propose(card, history, 0)["alpha"] > 0


def test_a_full_disk_ends_the_ledger_not_the_search(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    ledger = Ledger(tmp_path, {"data": "x"}, resume=False)
    monkeypatch.setattr("everymodel.workflow.search.ledger.os.fsync", full)
    ledger.put("k|0|3", "name", "failed", "because")
    assert ledger.problems and "No space left" in ledger.problems[0]
    ledger.put("k|1|3", "name", "failed", "because")  # quietly nothing


def test_strong_models_come_first():
    cards = plan.choose_cards(wine(), None, None)
    assert [c.name for c in cards][:1] == ["lightgbm"]
    assert "linear" not in {c.family for c in cards[:2]}


def test_a_short_search_compares_models_on_the_same_few_folds():
    X, y = load_breast_cancer(return_X_y=True)
    made = problem(X[:, :6], y, "binary", "roc_auc", folds=5)
    found = search(made, models=["logistic", "gaussian_nb"], clock=Clock(6))
    tried = {r["model"]: r["folds"] for r in found.leaderboard if r["origin"] == "preset"}
    assert tried and set(tried.values()) == {3}
    answered = np.isfinite(found.oof).reshape(len(y), -1).all(1)
    assert answered.sum() == sum(len(valid) for _, valid in made.folds[:3])


def test_a_candidate_that_lacks_folds_does_not_take_rows_from_a_small_comparison():
    X, y = load_breast_cancer(return_X_y=True)
    made = problem(X[:, :6], y, "binary", "roc_auc", folds=5)
    first = Judge("roc_auc", "binary", y[made.folds[0][1]], 0)
    final = Final(made, made.folds, first, "accurate", False)
    card = catalog.find("logistic", kind="classifier")

    def candidate(name, folds):
        c = plan.Candidate(name, card, {"C": float(folds)})
        for f, (_, valid) in enumerate(made.folds[:folds]):
            p = np.where(np.random.default_rng(f).random(len(valid)) < 0.9, y[valid], 1 - y[valid]) * 0.8 + 0.1
            c.members[f] = Member({}, {}, "probabilities", np.column_stack([1 - p, p]), 0.1, 0.01, 100)
        c.loss = 0.1
        return c

    kept, rows = final.finalists([candidate("whole", 5), candidate("four", 4), candidate("three", 3)])
    assert [c.name for c in kept] == ["whole"] and len(rows) == len(y)


def test_one_tiny_fold_does_not_beat_the_plain_model():
    X, y = load_iris(return_X_y=True)
    made = problem(X[::5], y[::5], "multiclass", "log_loss", folds=5)
    first = Judge("log_loss", "multiclass", made.y[made.folds[0][1]], 0)
    final = Final(made, made.folds, first, "accurate", False)
    card = catalog.find("logistic", kind="classifier")
    plain = plan.Candidate("plain", card, {}, origin="baseline")
    lucky = plan.Candidate("lucky", card, {"C": 2.0})
    for f, (_, valid) in enumerate(made.folds):
        for c, sure in ((plain, 0.8), (lucky, 0.99)):
            p = np.full((len(valid), 3), (1 - sure) / 2)
            p[np.arange(len(valid)), made.y[valid]] = sure
            if c is plain or f == 0:
                c.members[f] = Member({}, {}, "probabilities", p, 0.1, 0.01, 100)
    kept, rows = final.finalists([plain, lucky])
    assert [c.name for c in kept] == ["plain"] and len(rows) == 30


def test_a_search_with_nothing_more_to_try_ends():
    X, y = load_iris(return_X_y=True)
    made = problem(X[::5], y[::5], "multiclass", "log_loss", folds=5)
    found = search(made, models=["gaussian_process"], clock=Clock(2.5))
    assert found.pack is not None


def test_a_repeat_without_time_ends_the_search(monkeypatch):
    """Refining is a pure function of the results: what cannot be afforded must not be asked for again and again."""
    from everymodel.workflow.automl import _Search

    class Repeat:
        origin = "repeat"

    search = object.__new__(_Search)
    search.clock, search.reserve, search.started, search.total = Clock(1000.0), 0.0, 0.0, 1000.0
    search.candidates, search.queue, search.jobs, search.trials = [], [], {}, None
    search.big = search.quick = False
    search.k, search.folds = 5, [(np.arange(4000), np.arange(1000))]
    asked = []
    monkeypatch.setattr(_Search, "_promote", lambda self: False)
    monkeypatch.setattr(_Search, "_affordable", lambda self, candidate, folds: False)
    monkeypatch.setattr(_Search, "_new", lambda self: asked.append(1) or Repeat() if len(asked) < 50 else None)
    assert search._next_by_clock() is False
    assert len(asked) < 5
