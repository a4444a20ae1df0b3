"""Fits run in processes that can hang, crash, eat memory or lie, and the search goes on."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from everymodel import catalog
from everymodel.core.clock import Clock
from everymodel.core.schema import Column, Schema
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.automl import search
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.split import stratified_folds
from everymodel.workflow.train import Job
from everymodel.workflow.types import Problem

# A plug-in with models that misbehave, each in its own way; it also proves that plug-ins work in the fitting process.
STRANGE = """
import os, time
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from everymodel.scoring.steps.constant import ConstantProbabilities

CARD = {"name": "NAME", "title": "NAME", "summary": "Misbehaves.", "needs": {},
        "classes": {"classifier": {"class": "strange_models.odd.NAME:Odd", "tasks": ["binary", "multiclass"]}}}

class Odd(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.share_ = np.full(len(self.classes_), 1 / len(self.classes_))
        WORK
        return self
    def predict_proba(self, X):
        return np.tile(self.share_, (X.shape[0], 1))

def pack(model, n_classes=None):
    return ConstantProbabilities(PACKED)
"""
ODD = {
    "hang": ("time.sleep(600)", "model.share_"),
    "crash": ("os.abort()", "model.share_"),
    "raise": ("raise RuntimeError('no such luck')", "model.share_"),
    "hog": ("self.held_ = np.ones(400_000_000)", "model.share_"),
    "liar": ("pass", "np.array([0.25, 0.75])"),
    "nan": ("self.share_ = np.array([np.nan, 1.0])", "np.array([0.5, 0.5])"),
    "honest": ("pass", "model.share_"),
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("plugin")
    odd = tmp_path / "strange_models" / "odd"
    odd.mkdir(parents=True)
    (tmp_path / "strange_models" / "__init__.py").write_text("")
    (odd / "__init__.py").write_text("")
    for name, (work, packed) in ODD.items():
        (odd / f"odd_{name}.py").write_text(
            STRANGE.replace("NAME", f"odd_{name}").replace("WORK", work).replace("PACKED", packed)
        )
    info = tmp_path / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[everymodel.models]\nodd = strange_models\n")
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    catalog.cards.cache_clear()
    yield tmp_path
    sys.path.remove(str(tmp_path))
    catalog.cards.cache_clear()


def binary(n=240, seed=0):
    rng = np.random.default_rng(seed)
    columns = {f"x{i}": rng.normal(size=n) for i in range(4)}
    y = (columns["x0"] + columns["x1"] + 0.5 * rng.normal(size=n) > 0).astype(int)
    schema = Schema((*(Column(c, "number") for c in columns), Column("y", "number", role="target")), "binary", (0, 1))
    return Problem(schema, "binary", Batch(columns, n), y, stratified_folds(y, 3, 0), "log_loss")


def job(card, problem, kind="classifier", **more):
    fit, valid = problem.folds[0]
    return Job(card, kind, {}, fit, valid, 0, **more)


def outcome(crew, number, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for done, what in crew.wait(1):
            if done == number:
                return what
    raise AssertionError("no outcome")


def test_the_process_serves_one_search_after_the_other(strange):
    first, second = binary(seed=1), binary(n=90, seed=2)
    with Crew(first, 1) as crew:
        crew.submit(job("odd_hang", first))  # still running as the crew closes
        pid = crew.pid
    with Crew(second, 1) as crew:
        status, member = outcome(crew, crew.submit(job("logistic", second)))
        assert crew.pid == pid and status == "done" and len(member.answers) == 30


@pytest.mark.parametrize("fork", [True, False])
def test_a_fit_comes_back_as_plain_data(fork):
    problem = binary()
    with Crew(problem, 2, fork=fork) as crew:
        status, member = outcome(crew, crew.submit(job("logistic", problem)))
    assert status == "done"
    valid = problem.folds[0][1]
    assert member.answers.shape == (len(valid), 2)
    assert np.abs(member.pack()(problem.batch.take(valid)) - member.answers).max() < 1e-9


@pytest.mark.parametrize(
    "name, words",
    [("crash", "signal 6"), ("raise", "no such luck"), ("liar", "differ"), ("nan", "not finite")],
)
def test_a_bad_fit_is_a_reason_in_words(strange, name, words):
    problem = binary()
    with Crew(problem, 1) as crew:
        status, reason = outcome(crew, crew.submit(job(f"odd_{name}", problem)))
        assert status == "failed" and words in reason
        assert outcome(crew, crew.submit(job("odd_honest", problem)))[0] == "done"  # and the next one is fine


def test_a_hanging_fit_is_killed(strange):
    problem = binary()
    for fork in (True, False):
        with Crew(problem, 1, fork=fork) as crew:
            status, reason = outcome(crew, crew.submit(job("odd_hang", problem), kill_at=time.monotonic() + 4))
        assert status == "failed" and "out of time" in reason


def test_a_fit_that_eats_the_memory_is_killed(strange):
    problem = binary()
    with Crew(problem, 1, memory=600e6) as crew:
        status, reason = outcome(crew, crew.submit(job("odd_hog", problem)))
    assert status == "failed" and "memory" in reason


def test_the_fitting_process_itself_may_die(strange):
    problem = binary()
    with Crew(problem, 2) as crew:
        number = crew.submit(job("odd_hang", problem))
        time.sleep(0.5)
        os.kill(crew.pid, signal.SIGKILL)
        assert outcome(crew, number) == ("failed", "the fitting process died")
        assert outcome(crew, crew.submit(job("logistic", problem)))[0] == "done"


def test_the_search_survives_all_of_them(strange):
    names = [f"odd_{n}" for n in ("crash", "raise", "liar", "nan", "honest")] + ["logistic"]
    result = search(binary(), models=names, trials=6)
    assert [m["card"] for m in result.members] == ["logistic"]
    reasons = {f["model"]: f["reason"] for f in result.failures}
    assert {"odd_crash", "odd_raise", "odd_liar", "odd_nan"} <= set(reasons)


def test_a_hanging_model_does_not_hold_up_the_budget(strange):
    started = time.monotonic()
    result = search(binary(), models=["odd_hang"], clock=Clock(6))
    assert time.monotonic() - started < 60  # the model would sleep for ten minutes
    assert result.members[0]["card"] == "dummy"
    assert any(f["model"] == "odd_hang" for f in result.failures)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
print("started", flush=True)
from test_worker import binary
from everymodel.core.clock import Clock
from everymodel.workflow import automl
from everymodel.workflow.search import crew
made = crew.Crew._start
def start(self):
    made(self)
    print("worker", self.pid, flush=True)
crew.Crew._start = start
result = automl.search(binary({rows}), models=["logistic", "decision_tree", "lightgbm"], {limit}, folder={folder!r})
print("stopped", result.stopped, flush=True)
print("members", len(result.members), flush=True)
"""


def script(tmp_path, limit, rows=240):
    """A user's script without `if __name__ == "__main__"`, running."""
    path = tmp_path / "user.py"
    tests = os.path.dirname(__file__)
    path.write_text(textwrap.dedent(SCRIPT.format(tests=tests, limit=limit, folder=str(tmp_path / "run"), rows=rows)))
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True, cwd=tmp_path)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0] != "Z"


def test_a_script_without_a_guard_runs_once(tmp_path):
    process = script(tmp_path, "trials=1")
    out, _ = process.communicate(timeout=120)
    assert out.count("started") == 1 and "stopped trials" in out and process.returncode == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_killing_the_parent_ends_the_children(tmp_path):
    process = script(tmp_path, "clock=Clock(60)")
    worker = 0
    for line in process.stdout:
        if line.startswith("worker"):
            worker = int(line.split()[1])
            break
    time.sleep(2)
    process.kill()
    process.wait()
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    assert worker and not alive(worker)


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    process = script(tmp_path, "clock=Clock(120)", rows=4000)
    for line in process.stdout:
        if line.startswith("worker"):
            break
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    process.wait(timeout=60)
    assert "stopped interrupted" in rest and "members 0" not in rest and process.returncode == 0
