"""everymodel fit from a shell: one real run, its files, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from everymodel.interfaces.cli.app import app

FIT = [sys.executable, "-m", "everymodel", "fit"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one table of 300 rows."""
    from sklearn.datasets import load_breast_cancer

    folder = tmp_path_factory.mktemp("fit")
    cells = load_breast_cancer(as_frame=True).frame.head(300)
    cells[[*cells.columns[:8], "target"]].to_csv(folder / "cells.csv", index=False)
    return folder


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FIT, *words], cwd=place, capture_output=True, text=True, timeout=200)


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in the folder, in this process: nothing is loaded anew."""
    monkeypatch.chdir(place)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture(scope="module")
def fitted(place: Path) -> dict:
    """What one run by work (two linear candidates) says as JSON."""
    words = ["cells.csv", "-t", "target", "--trials", "1", "-m", "logistic", "--run-folder", "run1"]
    done = run(place, *words, "-o", "cells.em", "--report", "cells.html", "--json")
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def test_fit_leaves_model_report_and_run_folder(place: Path, fitted: dict) -> None:
    assert fitted["task"] == "binary" and fitted["target"] == "target" and fitted["headline"]
    assert fitted["files"] == {"model": "cells.em", "report": "cells.html", "run_folder": "run1"}
    assert "<html" in (place / "cells.html").read_text("utf-8")
    assert (place / "run1" / "story.json").is_file()
    auc = next(m for m in fitted["metrics"] if m["name"] == "roc_auc")
    assert auc["value"] > 0.9 and auc["low"] <= auc["value"] <= auc["high"]
    assert any(row["card"] == "logistic" for row in fitted["leaderboard"])


def test_progress_goes_to_standard_error_in_plain_lines(fitted: dict) -> None:
    assert "Reading the data" in fitted["stderr"] and "Testing once" in fitted["stderr"]
    assert "\x1b" not in fitted["stderr"] and "\r" not in fitted["stderr"]


def test_the_saved_model_answers_from_the_shell(place: Path, fitted: dict) -> None:
    words = [sys.executable, "-m", "everymodel", "predict", "cells.em", "cells.csv", "--proba", "-o", "out.csv"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = (place / "out.csv").read_text().splitlines()
    assert lines[0] == "prediction,probability_0,probability_1" and len(lines) == 301


def test_report_is_written_anew_from_the_run_folder(place: Path, fitted: dict, call: Callable[..., Result]) -> None:
    done = call("report", "run1", "-o", "again.html", "--quiet")
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert "<html" in (place / "again.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-t", "targget"], "target"),
        (["-t", "target", "-m", "logistik"], "logistic"),
        (["-t", "target", "--budget", "soon"], "60s"),
        (["-t", "target", "--cost", "fp=-1"], "fp=1,fn=5"),
        (["-t", "target", "--test-size", "2"], "test_size"),
        (["-t", "target", "--group", "patient"], "patient"),
    ],
)
def test_mistakes_are_said_in_one_line(call: Callable[..., Result], words: list[str], expected: str) -> None:
    done = call("fit", "cells.csv", *words, "--quiet")
    assert done.exit_code == 1, done.stderr
    assert done.stderr.startswith("Error: ") and expected in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_best_so_far(place: Path, how: signal.Signals) -> None:
    out = f"stopped{how.value}.em"
    words = [*FIT, "cells.csv", "-t", "target", "--budget", "10m", "-o", out, "--run-folder", f"stop{how.value}"]
    process = subprocess.Popen(words, cwd=place, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        started = time.monotonic()
        for line in process.stderr:
            if "best so far" in line:
                break
            assert time.monotonic() - started < 90, line
        process.send_signal(how)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "Stopped on request" in stderr and "Traceback" not in stderr
    assert (place / out).is_file()
    assert "predict" in stdout


def test_ctrl_c_while_the_model_is_tested_finishes_the_file(place: Path) -> None:
    words = [*FIT, "cells.csv", "-t", "target", "--trials", "1", "-m", "logistic", "-o", "late.em"]
    process = subprocess.Popen(
        [*words, "--run-folder", "late"], cwd=place, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "Testing once" in line:
                break
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "once more to stop at once" in stderr and "kept in late.em" in stderr
    assert (place / "late.em").is_file() and (place / "late" / "story.json").is_file()


def test_a_database_url_is_not_printed(place: Path, call: Callable[..., Result]) -> None:
    import sqlite3

    import pandas as pd

    with sqlite3.connect(place / "cells.db") as link:
        pd.read_csv(place / "cells.csv").to_sql("cells", link, index=False)
    url = "sqlite:///cells.db?timeout=54321"  # stands for a password
    words = ["--query", "select * from cells", "-t", "target", "--trials", "1", "-m", "logistic", "-o", "sql.em"]
    done = call("fit", url, *words, "--run-folder", "sql")
    assert done.exit_code == 0, done.stderr
    assert "everymodel explain sql.em new.csv" in done.stdout
    assert "54321" not in done.stdout + done.stderr


def test_columns_to_evaluate_by_are_checked_before_the_search(call: Callable[..., Result]) -> None:
    for option in ("--segments", "--fairness"):
        done = call("fit", "cells.csv", "-t", "target", option, "regoin", "--budget", "60s")
        assert done.exit_code == 1 and "'regoin'" in done.stderr
        assert "Searching" not in done.stderr
