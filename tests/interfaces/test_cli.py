"""The command line on saved models and plain tables: words, exit codes, JSON, files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hand_models import ROW, churn_model, two_values_model
from typer.testing import CliRunner, Result

from everymodel.interfaces.cli.app import app

Call = Callable[..., Result]
COMMANDS = [
    "look",
    "advise",
    "fit",
    "predict",
    "evaluate",
    "explain",
    "trace",
    "report",
    "card",
    "inspect",
    "serve",
    "models",
    "doctor",
]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *words, **more: CliRunner().invoke(app, list(map(str, words)), **more)


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    pd.DataFrame([ROW, {**ROW, "rooms": 5, "area": "1,200"}, {**ROW, "city": None}]).to_csv(path, index=False)
    return path


def shell(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "everymodel", *words], capture_output=True, text=True, timeout=120, **more
    )


def fails(result: Result, *expected: str) -> None:
    """One message that names what was wrong, exit code 1, no traceback, nothing on standard output."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ") and "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    for word in expected:
        assert word in result.stderr, result.stderr
    assert result.stdout == ""


# ---- help, codes and start ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(call: Call, command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"everymodel {command}" in result.output and "$" in result.output
    assert "--verbose" in result.output and "--quiet" in result.output


def test_top_help_lists_every_command(call: Call) -> None:
    result = call("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", result.output)
    assert "--install-completion" in result.output


@pytest.mark.parametrize(
    "words", [["fitt"], ["fit"], ["fit", "x.csv", "--bogus"], ["predict"], ["fit", "x", "--seed", "a"]]
)
def test_a_wrongly_written_command_is_code_2(call: Call, words: list[str]) -> None:
    assert call(*words).exit_code == 2


def test_nothing_heavy_is_loaded_for_help_and_models() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from everymodel.interfaces.cli import main\n"
        "for words in (['--help'], ['models'], ['models', 'ridge'], ['fit', '--help']):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(words)\n"
        "heavy = ('numpy', 'pandas', 'sklearn', 'scipy', 'torch', 'lightgbm', 'starlette')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_version_and_module_entry() -> None:
    import everymodel

    done = shell("--version")
    assert (done.returncode, done.stdout.strip()) == (0, everymodel.__version__)


def test_verbose_shows_where_an_error_happened(call: Call) -> None:
    assert "Traceback" in call("look", "nothing.csv", "--verbose").stderr
    assert "Traceback" not in call("look", "nothing.csv").stderr


def test_an_error_is_json_too_when_json_was_asked_for(call: Call) -> None:
    result = call("inspect", "nothing.em", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] and result.stderr.startswith("Error: ")


# ---- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["nope"], ["fit"], ["fit", "x.csv", "--nope"], ["fit", "x.csv", "--seed", "one"]])
def test_a_wrongly_written_command_is_json_too(words: list[str]) -> None:
    done = shell(*words, "--json")
    assert done.returncode == 2
    told = json.loads(done.stdout)["error"]
    assert told["type"] == "usage_error" and told["message"] in done.stderr


def test_a_rightly_written_command_is_no_usage_error_with_json() -> None:
    assert shell("models", "--json", "ridge").returncode == 0
    assert shell("models", "--json", "rigde").returncode == 1


def test_without_its_packages_the_command_line_says_what_it_needs() -> None:
    code = "import sys; sys.modules['typer'] = None; from everymodel.interfaces.cli import main; main(['models'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and "typer" in done.stderr and "pip install" in done.stderr


def test_models_lists_what_the_catalogue_has(call: Call) -> None:
    from everymodel import catalog

    output = call("models").output
    assert all(card.name in output for card in catalog.cards())
    told = json.loads(call("models", "--task", "regression", "--json").output)
    assert {t["name"] for t in told} == {c.name for c in catalog.for_task("regression")}


def test_models_tells_about_one_and_guesses_misspellings(call: Call) -> None:
    output = call("models", "ridge").output
    assert "alpha" in output and "everymodel.Ridge" in output
    fails(call("models", "rigde"), "rigde", "ridge")
    fails(call("models", "--task", "sorting"), "sorting", "regression")
    fails(call("models", "--why", "x.csv"), "x.csv")


def test_the_shell_completes_commands_and_names_of_models() -> None:
    def complete(line: str) -> str:
        words = line.split(" ")
        told = {"_EVERYMODEL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        code = "from everymodel.interfaces.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **told}, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    assert "predict" in complete("everymodel pre").split()
    assert "ridge" in complete("everymodel fit data.csv --model ri").split()
    assert "lasso" in complete("everymodel models la").split()


# ---- predict --------------------------------------------------------------------------------------------------------


def test_predict_writes_answers_in_the_order_of_the_rows(call: Call, price_file: Path, rows_file: Path) -> None:
    result = call("predict", price_file, rows_file)
    assert result.exit_code == 0, result.output
    answers = list(csv.DictReader(result.stdout.splitlines()))
    assert [float(a["prediction"]) for a in answers] == [4405.0, 5000 + 12000 + 500 + 100.0, 4305.0]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".jsonl", ".json"])
def test_predict_writes_each_format(call: Call, price_file: Path, rows_file: Path, tmp_path: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"out{ending}"
    result = call("predict", price_file, rows_file, "-o", out, "--with-data", "--interval", "0.9")
    assert result.exit_code == 0 and result.stdout == "", result.output
    read = {".csv": pd.read_csv, ".tsv": lambda p: pd.read_csv(p, sep="\t"), ".parquet": pd.read_parquet}
    frame = read.get(ending, lambda p: pd.read_json(p, lines=ending == ".jsonl"))(out)
    assert list(frame.columns) == [*ROW, "prediction", "low", "high"]
    assert (frame["high"] - frame["low"] == 800).all() and len(frame) == 3


def test_predict_probabilities_and_json(call: Call, churn_file: Path, rows_file: Path) -> None:
    told = json.loads(call("predict", churn_file, rows_file, "--proba", "--json").stdout)
    assert [set(t) for t in told] == [{"prediction", "probability_no", "probability_yes"}] * 3
    assert told[1]["prediction"] == "yes" and told[1]["probability_yes"] > 0.5


def test_predict_from_standard_input_to_standard_output(price_file: Path, rows_file: Path) -> None:
    done = shell("predict", str(price_file), "-", input=rows_file.read_text())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["prediction", "4405.0"]


def test_predict_says_what_it_took_in_another_way(call: Call, price_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    pd.DataFrame([{**ROW, "city": "Ulm"}] * 3 + [ROW]).to_csv(path, index=False)
    noted = call("predict", price_file, path)
    assert noted.exit_code == 0 and "city" in noted.stderr and "3 cells" in noted.stderr and "Ulm" in noted.stderr
    assert call("predict", price_file, path, "--unseen", "ignore").stderr == ""
    fails(call("predict", price_file, path, "--unseen", "error"), "city", "Ulm", "Bonn")


def test_predict_missing_columns(call: Call, price_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    pd.DataFrame([{k: v for k, v in ROW.items() if k != "area"}]).to_csv(path, index=False)
    fails(call("predict", price_file, path), "area", "--impute-missing")
    imputed = call("predict", price_file, path, "--impute-missing")
    assert imputed.exit_code == 0 and "area" in imputed.stderr
    assert imputed.stdout.splitlines()[1] == str(3000 + 1000 + 500 + 100.0)


def test_predict_refuses_what_the_model_cannot_do(
    call: Call, price_file: Path, churn_file: Path, rows_file: Path
) -> None:
    fails(call("predict", price_file, rows_file, "--proba"), "--interval")
    fails(call("predict", churn_file, rows_file, "--interval", "0.9"), "--proba")
    fails(call("predict", price_file, rows_file, "--interval", "2"), "2")
    fails(call("predict", price_file, "nothing.csv"), "nothing.csv")
    fails(call("predict", rows_file, rows_file), "model file")


def test_outputs_are_checked_before_any_work(call: Call, price_file: Path, rows_file: Path, tmp_path: Path) -> None:
    fails(call("predict", price_file, rows_file, "-o", tmp_path / "no" / "out.csv"), "does not exist", "mkdir")
    fails(call("predict", price_file, rows_file, "-o", tmp_path), "folder")
    fails(call("predict", price_file, rows_file, "-o", tmp_path / "out.docx"), ".csv")
    # The table does not exist either; the output is what is complained of, so it was looked at first.
    fails(call("fit", "nothing.csv", "-t", "x", "-o", tmp_path / "no" / "m.em"), "--out", "does not exist")
    fails(call("fit", "nothing.csv", "-t", "x", "--report", tmp_path / "no" / "r.html"), "--report")
    fails(call("fit", "nothing.csv", "-t", "x", "--resume", tmp_path / "no"), "--resume")


def test_a_read_only_folder_is_said_before_any_work(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dir: Path) -> None:  # the superuser, who runs some test machines, may write everywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    fails(call("fit", "nothing.csv", "-t", "x", "-o", tmp_path / "m.em"), "cannot be written", "Permission denied")


# ---- evaluate, explain, card, inspect, report -----------------------------------------------------------------------


def test_evaluate(call: Call, price_file: Path, churn_file: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame([{**ROW, "rooms": r % 9 + 1} for r in range(60)])
    frame["price"] = [1405.0 + 1000 * (r % 9 + 1) + (r % 7 - 3) * 100 for r in range(60)]
    frame["churn"] = ["yes" if (r % 9 + 1 > 4) != (r % 10 == 0) else "no" for r in range(60)]
    path = tmp_path / "labelled.csv"
    frame.to_csv(path, index=False)
    told = json.loads(call("evaluate", price_file, path, "--json").stdout)
    rmse = next(m for m in told["metrics"] if m["name"] == "rmse")
    assert rmse["value"] == pytest.approx(((pd.Series(range(60)) % 7 - 3) ** 2).mean() ** 0.5 * 100)
    assert rmse["low"] <= rmse["value"] <= rmse["high"]
    output = call("evaluate", churn_file, path).output
    assert "roc_auc" in output and "truth" in output
    fails(call("evaluate", price_file, path, "--target", "prize"), "prize")


def test_explain(call: Call, price_file: Path, churn_file: Path, rows_file: Path) -> None:
    told = json.loads(call("explain", price_file, rows_file, "--row", "0", "--row", "1", "--json").stdout)
    assert [t["row"] for t in told] == [0, 1] and told[0]["answer"] == 4405.0
    output = call("explain", churn_file, rows_file, "--row", "0", "--top", "2").output
    assert "probability of yes" in output and "rooms = 3" in output
    assert "on average over 3 rows" in call("explain", price_file, rows_file).output
    fails(call("explain", price_file, rows_file, "--row", "3"), "0 to 2")


def test_explain_one_of_several(call: Call, churn_file: Path, rows_file: Path, tmp_path: Path) -> None:
    two_values_model().save(tmp_path / "two.em")
    for words, expected in ((), "Row 0: height "), (("--of", "weight"), "Row 0: weight "):
        assert expected in call("explain", "two.em", rows_file, "--row", "0", *words).stdout
    answers = [
        json.loads(call("explain", churn_file, rows_file, "-r", "0", "--of", c, "--json").stdout)[0]["answer"]
        for c in ("no", "yes")
    ]
    assert sum(answers) == pytest.approx(1)
    fails(call("explain", churn_file, rows_file, "--of", "perhaps"), "perhaps", "no, yes")


def test_card_and_inspect(call: Call, price_file: Path) -> None:
    output = call("card", price_file).output
    assert "Price of a house" in output and "rmse" in output and "rooms" in output
    assert json.loads(call("card", price_file, "--json").stdout)["task"] == "regression"
    told = json.loads(call("inspect", price_file, "--json").stdout)
    assert told["format"] >= 1 and told["name"] == "price"
    assert "feature columns" in call("inspect", price_file).output


def test_report_needs_the_folder_of_a_run(call: Call, tmp_path: Path) -> None:
    fails(call("report", tmp_path), "story.json")
    (tmp_path / "story.json").write_text("{}")
    fails(call("report", tmp_path), "leaderboard")
    (tmp_path / "story.json").write_text("no json")
    fails(call("report", tmp_path), "story")


def test_words_from_a_file_cannot_command_the_terminal(call: Call, tmp_path: Path) -> None:
    model = churn_model()
    model.manifest.update(
        title="evil\x1b]0;owned\x07\x1b[31m", headline="[bold]not markup[/bold] [link=http://x]y[/link]"
    )
    model.save(tmp_path / "evil.em")
    output = call("card", tmp_path / "evil.em").output + call("inspect", tmp_path / "evil.em").output
    assert "\x1b" not in output and "\x07" not in output
    assert "[bold]not markup[/bold]" in output


# ---- look and serve -------------------------------------------------------------------------------------------------


def test_look(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "houses.csv"
    frame = pd.DataFrame({"rooms": [1, 2, 3, 4] * 10, "city": ["Bonn", "Köln"] * 20, "same": 1})
    frame["price"] = [100.5 + 10.25 * i for i in range(40)]
    frame.loc[:9, "rooms"] = None
    frame.to_csv(path, index=False)
    output = call("look", path, "--target", "price").output
    assert "40 rows, 4 columns" in output and "25.0%" in output and "target" in output and "Bonn" in output
    told = json.loads(call("look", path, "-t", "price", "--json").stdout)
    assert told["rows"] == 40 and told["task"] == "regression"
    assert {f["severity"] for f in told["findings"]} <= {"info", "warning", "error"}
    fails(call("look", path, "-t", "prise"), "prise", "price")
    fails(call("look", tmp_path / "none.csv"), "none.csv")


def test_in_a_narrow_terminal_tables_keep_what_matters(
    call: Call, price_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    frame = pd.DataFrame(
        {"a_rather_long_name_of_a_column": range(40), "y": [f"a long level {i % 7}" for i in range(40)]}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    shown = call("look", "t.csv", "--target", "y").output
    assert max(map(len, shown.splitlines())) <= 60
    for word in ("kind", "missing", "role", "category", "target", "olumn"):
        assert word in shown
    shown = call("card", price_file).output
    assert "category" in shown and max(map(len, shown.splitlines())) <= 60


def test_the_leaderboard_is_as_wide_as_the_terminal_and_its_numbers_are_alike() -> None:
    from rich.console import Console

    from everymodel.interfaces.cli import draw

    rows = [
        {"model": "Stochastic gradient descent, regularised, tuned 1", "score": 1.05, "status": "ok", "weight": 1.0},
        {"model": "Stochastic gradient descent, regularised, tuned 2", "score": 1.0587, "status": "ok"},
        {"model": "Ridge", "score": 12.5, "status": "1 of 5 folds"},
        {"model": "SVM", "score": None, "status": "gives no probabilities, which several labels need: " * 9},
    ]
    for width in (60, 100):
        out = Console(width=width, file=io.StringIO())
        with out.capture() as seen:
            out.print(draw.leaderboard(rows, "rmse", width))
        lines = seen.get().splitlines()
        assert max(map(len, lines)) <= width
        assert "tuned 1" in lines[2] and "tuned 2" in lines[3]
        assert "1.050" in lines[2] and "1.059" in lines[3] and "12.500" in lines[4]
        assert "did not work" in lines[5] and "probabilities" not in lines[5]


def test_serve_says_what_is_wrong(price_file: Path, rows_file: Path) -> None:
    done = shell("serve", str(rows_file), "--port", "0")
    assert done.returncode == 1 and "model file" in done.stderr and "Traceback" not in done.stderr
    assert shell("serve", str(price_file), "--port", "70000").returncode == 2


def test_doctor_without_a_run(call: Call) -> None:
    told = json.loads(call("doctor", "--no-run", "--json").stdout)
    assert told["ok"] and told["base"]["numpy"] and told["machine"]["cores_used"] >= 1
    for extra in told["extras"].values():
        assert extra["complete"] or "pip install" in extra["install"]


def test_serve_becomes_the_server_and_takes_no_module_from_the_working_folder(price_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    (tmp_path / "click.py").write_text("raise SystemExit('a stranger was imported')")
    words = [sys.executable, "-P", "-m", "everymodel", "serve", str(price_file), "--port", "0"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(f"Serving {price_file} on http://127.0.0.1:")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_serve_without_its_packages_prints_the_pip_line(
    call: Call, price_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everymodel.core.optional.installed", lambda package: package != "uvicorn")
    fails(call("serve", price_file), "uvicorn", 'pip install "everymodel[serve]"')


def test_doctor_finds_packages_that_are_installed_but_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from everymodel.interfaces.cli import doctor

    (tmp_path / "half_installed.py").write_text("import a_library_that_is_gone")
    (tmp_path / "crashes.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = doctor.broken(doctor.try_imports(["json", "half_installed", "crashes", "csv"]))
    assert set(found) == {"half_installed", "crashes"}
    assert "a_library_that_is_gone" in found["half_installed"]


def test_a_terminal_that_knows_only_ascii(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "größe,t\n" + "".join(f"{i % 7},{'é' if i % 2 else 'b'}\n" for i in range(40)), "utf-8"
    )
    words = [sys.executable, "-m", "everymodel", "look", "t.csv", "--target", "t"]
    run = {"cwd": tmp_path, "env": {**os.environ, "PYTHONIOENCODING": "ascii"}, "capture_output": True, "timeout": 60}
    assert subprocess.run(words, **run).returncode == 0
    told = subprocess.run([*words, "--json"], **run)
    assert told.returncode == 0 and "größe" in json.dumps(json.loads(told.stdout), ensure_ascii=False)
