"""Runs and files without a target from a shell and over HTTP: groups, oddities, components, maps."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("starlette")
pytest.importorskip("msgspec")

import everymodel as em
from everymodel import scoring
from everymodel.interfaces.cli.app import app
from everymodel.interfaces.server import Limits, make_app

TASKS = ("cluster", "anomaly", "reduce", "embed")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """customers.csv: 240 rows in three clear groups, one of the columns says which."""
    folder = tmp_path_factory.mktemp("discover")
    random = np.random.default_rng(0)
    g = np.arange(240) % 3
    frame = pd.DataFrame(
        {
            "age": np.array([30, 45, 70])[g] + random.normal(0, 3, 240).round(),
            "income": np.array([20, 90, 40])[g] + random.normal(0, 4, 240),
            "country": np.where(g == 0, "Germany", np.where(g == 1, "Italy", "Spain")),
            "kind": g,
        }
    )
    frame.drop(columns="kind").to_csv(folder / "customers.csv", index=False)
    frame.to_csv(folder / "labelled.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def files(place: Path) -> dict[str, Path]:
    """A model file of each task."""
    made = {}
    for task in TASKS:
        made[task] = place / f"{task}.em"
        clusters = {"clusters": 3} if task == "cluster" else {}
        em.fit(place / "customers.csv", task=task, trials=1, out=made[task], progress=False, **clusters)
    return made


def predicted(file: Path, place: Path, *words: str) -> pd.DataFrame:
    done = call("predict", str(file), str(place / "customers.csv"), "-o", str(place / "out.csv"), *words)
    assert done.exit_code == 0, done.output
    return pd.read_csv(place / "out.csv")


def test_fit_without_a_target_says_the_groups_in_words(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    done = call(
        "fit", "customers.csv", "--clusters", "3", "--trials", "1", "--run-folder", "run", "--report", "page.html"
    )
    assert done.exit_code == 0, done.output
    for word in ("No target was named", "old", "income", "everymodel predict", "page.html"):
        assert word in done.output
    page = (place / "page.html").read_text("utf-8")
    assert "What the groups are" in page and "income" in page
    again = call("report", "run", "-o", "again.html")
    assert again.exit_code == 0, again.output
    told = json.loads(
        call("fit", "customers.csv", "--clusters", "3", "--trials", "1", "--run-folder", "r2", "--json").stdout
    )
    assert told["task"] == "cluster" and [s["rows"] for s in told["segments"]] == [80, 80, 80]
    assert all(s["sentence"] and s["rule"]["f1"] > 0.9 for s in told["segments"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--clusters", "3", "-t", "income"], "clusters"),
        (["--clusters", "999"], "240"),
        (["--task", "anomaly", "--contamination", "0.9"], "contamination"),
        (["--task", "anomaly", "--clusters", "3"], "clusters"),
        (["--task", "sorting"], "cluster"),
    ],
)
def test_options_that_make_no_sense_are_refused(place: Path, tmp_path: Path, words: list[str], expected: str) -> None:
    done = call("fit", str(place / "customers.csv"), "-b", "10s", "--run-folder", str(tmp_path / "r"), *words)
    assert done.exit_code != 0 and expected in done.output


def test_predict_writes_what_each_task_gives(files: dict[str, Path], place: Path) -> None:
    groups = predicted(files["cluster"], place, "--proba")
    assert list(groups.columns[:3]) == ["prediction", "name", "confidence"] and len(groups) == 240
    assert groups.name.nunique() == 3 and groups.confidence.between(0.34, 1).all()
    assert np.allclose(groups.filter(like="probability_").sum(axis=1), 1)
    odd = predicted(files["anomaly"], place)
    assert set(odd.prediction) <= {"normal", "anomaly"} and odd.score.notna().all()
    for task in ("reduce", "embed"):
        made = predicted(files[task], place)
        assert list(made.columns) == scoring.load(files[task]).columns and made.notna().all().all()


@pytest.mark.parametrize("task", ["anomaly", "reduce", "embed"])
def test_what_a_task_cannot_give_is_said(files: dict[str, Path], place: Path, task: str) -> None:
    data = str(place / "customers.csv")
    for words in (["--proba"], ["--interval", "0.9"]):
        done = call("predict", str(files[task]), data, *words)
        assert done.exit_code != 0 and task in done.output


@pytest.mark.parametrize("task", TASKS)
def test_explanations_add_up_to_the_answer(files: dict[str, Path], place: Path, task: str) -> None:
    done = call("explain", str(files[task]), str(place / "customers.csv"), "--row", "0", "--json")
    (told,) = json.loads(done.stdout)
    parts = sum(p["contribution"] for p in told["contributions"])
    assert told["base"] + parts + told["rest"] == pytest.approx(told["answer"], abs=1e-6)
    assert (told["label"] is None) == (task == "anomaly")
    assert call("explain", str(files[task]), str(place / "customers.csv"), "--row", "0").exit_code == 0


def test_another_component_or_group_may_be_asked_for(files: dict[str, Path], place: Path) -> None:
    name = scoring.load(files["reduce"]).columns[-1]
    for file, of in ((files["reduce"], name), (files["cluster"], "2")):
        told = json.loads(
            call("explain", str(file), str(place / "customers.csv"), "--row", "0", "--of", of, "--json").stdout
        )
        assert str(told[0]["label"]) == of
    assert call("explain", str(files["anomaly"]), str(place / "customers.csv"), "--of", "anomaly").exit_code != 0


@pytest.mark.parametrize("task", TASKS)
def test_card_and_inspect_show_what_was_found(files: dict[str, Path], task: str) -> None:
    for command in ("card", "inspect"):
        done = call(command, str(files[task]))
        assert done.exit_code == 0, done.output
        if task == "cluster":
            assert scoring.load(files[task]).segments[0]["name"].split(",")[0] in done.output


def test_evaluate_holds_groups_against_labels(files: dict[str, Path], place: Path) -> None:
    done = call("evaluate", str(files["cluster"]), str(place / "labelled.csv"), "--target", "kind", "--json")
    told = json.loads(done.stdout)
    ari = next(m for m in told["metrics"] if m["name"] == "ari")
    assert ari["value"] > 0.9 and ari["low"] <= ari["value"] <= ari["high"]
    assert "no target" in call("evaluate", str(files["cluster"]), str(place / "labelled.csv")).output
    assert call("evaluate", str(files["reduce"]), str(place / "labelled.csv"), "--target", "kind").exit_code != 0


def test_known_oddities_are_counted(place: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(place / "customers.csv").assign(fraud="no")
    frame.loc[:4, "age"], frame.loc[:4, "income"] = [400.0, -90, 300, 500, -200], [-900.0, 800, -300, 600, 50]
    frame.loc[:4, "fraud"] = "yes"
    frame.to_csv(tmp_path / "odd.csv", index=False)
    run = em.fit(frame.drop(columns="fraud"), task="anomaly", budget="10s", out=tmp_path / "odd.em", progress=False)
    told = {m.name: m.value for m in run.model.evaluate(frame, target="fraud").metrics}
    assert told["roc_auc"] > 0.95 and told["recall"] > 0.5


def test_drift_says_what_moved(files: dict[str, Path], place: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(place / "customers.csv")
    still = call("drift", str(files["cluster"]), str(place / "customers.csv"))
    assert still.exit_code == 0 and "No drift in 240 rows" in still.output and "before" in still.output
    frame.loc[::3, "age"] += 12
    frame.to_csv(tmp_path / "new.csv", index=False)
    told = call("drift", str(files["cluster"]), str(tmp_path / "new.csv"))
    assert told.exit_code == 0 and "The centre of group" in told.output and "changed" in told.output
    answer = json.loads(call("drift", str(files["cluster"]), str(tmp_path / "new.csv"), "--json").stdout)
    assert answer["drifted"] is True and {s["what"] for s in answer["shifts"]} >= {"shares", "moved", "far"}
    refused = call("drift", str(files["reduce"]), str(place / "customers.csv"))
    assert refused.exit_code == 1 and "keeps no figures of groups" in refused.output
    few = tmp_path / "few.csv"
    frame.head(5).to_csv(few, index=False)
    assert "at least 20" in call("drift", str(files["cluster"]), str(few)).output


def _full(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The disk is full for files of these names."""
    from everymodel.core import files as places

    write = places.tempfile.mkstemp

    def refuse(*args: Any, prefix: str = "", **more: Any) -> Any:
        if any(prefix == f".{name}." for name in names):
            raise OSError(28, "No space left on device")
        return write(*args, prefix=prefix, **more)

    monkeypatch.setattr(places.tempfile, "mkstemp", refuse)


def test_a_full_disk_says_what_is_saved_and_what_is_not(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = str(place / "customers.csv")
    words = ("fit", table, "--task", "reduce", "-b", "8s", "--run-folder", str(tmp_path / "run"))
    _full(monkeypatch, "page.html", "story.json")
    done = call(*words, "--report", str(tmp_path / "page.html"))
    assert done.exit_code == 1
    told = " ".join(done.output.split())
    assert "The report could not be written to" in told and "page.html: No space left on device" in told
    assert f"The model is saved in {tmp_path / 'run' / 'model.em'}" in told
    assert (tmp_path / "run" / "model.em").is_file() and not (tmp_path / "page.html").exists()
    _full(monkeypatch, "model.em", "story.json")
    run = em.fit(table, task="reduce", budget="8s", out=tmp_path / "again", progress=False)
    lost = [f for f in run.findings if f.code == "not-saved"]
    assert [f.data["file"] for f in lost] == ["model.em", "story.json"]
    run.model.save(tmp_path / "elsewhere.em")
    assert scoring.load(tmp_path / "elsewhere.em").task == "reduce"


def test_advice_and_lists_without_a_target(place: Path) -> None:
    told = json.loads(call("advise", str(place / "customers.csv"), "--json").stdout)
    assert told[0]["model"] and all(em_card.task_ok for em_card in map(_Card, told))
    listed = json.loads(call("models", "--task", "anomaly", "--json").stdout)
    assert listed and all("anomaly" in m["tasks"] for m in listed)
    assert call("advise", str(place / "customers.csv"), "--task", "regression").exit_code != 0


class _Card:
    def __init__(self, told: dict[str, Any]):
        from everymodel import catalog

        self.task_ok = "cluster" in catalog.find(told["model"], "cluster").tasks


# -- over HTTP ----------------------------------------------------------------------------------------------------


def ask(file: Path, method: str, path: str, **body: Any) -> httpx.Response:
    server = make_app(scoring.load(file), Limits())

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(server)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **({"json": body} if body else {}))

    return asyncio.run(run())


@pytest.mark.parametrize("task", TASKS)
def test_the_server_answers_as_its_document_says(files: dict[str, Path], task: str) -> None:
    row = {"age": 33, "income": 22.5, "country": "Germany"}
    document = ask(files[task], "GET", "/openapi.json").json()
    promised = document["components"]["schemas"]["Prediction"]
    one = ask(files[task], "POST", "/v1/predict", row=row).json()
    many = ask(files[task], "POST", "/v1/predict", rows=[row] * 40, explain=False).json()["predictions"]
    assert len(many) == 40
    for told in (one, many[7]):
        assert set(promised["required"]) <= set(told)
        assert set(told) - {"request_id", "notes"} <= set(promised["properties"])
        if "prediction" in told:
            assert told["prediction"] in promised["properties"]["prediction"]["enum"]
        else:
            assert list(told["columns"]) == list(promised["properties"]["columns"]["properties"])
    page = ask(files[task], "GET", "/docs")
    assert page.status_code == 200 and "</html>" in page.text


def test_the_server_gives_memberships_and_reasons_and_refuses_the_rest(files: dict[str, Path]) -> None:
    row = {"age": 33, "income": 22.5, "country": "Germany"}
    told = ask(files["cluster"], "POST", "/v1/predict", row=row, proba=True, explain=True).json()
    assert told["confidence"] == pytest.approx(max(told["probabilities"].values()))
    assert sum(told["probabilities"].values()) == pytest.approx(1) and told["explanation"]["contributions"]
    for task in ("anomaly", "reduce", "embed"):
        assert ask(files[task], "POST", "/v1/predict", row=row, proba=True).status_code == 409
        assert ask(files[task], "POST", "/v1/predict", row=row, interval=0.9).status_code == 409


@pytest.mark.parametrize("task", TASKS)
def test_the_inference_protocol_gives_the_same(files: dict[str, Path], task: str) -> None:
    name = scoring.load(files[task]).manifest["name"]
    about = ask(files[task], "GET", f"/v2/models/{name}").json()
    cells = {"age": ("FP64", 33.0), "income": ("FP64", 22.5), "country": ("BYTES", "Germany")}
    inputs = [{"name": n, "datatype": kind, "shape": [1], "data": [cell]} for n, (kind, cell) in cells.items()]
    told = ask(files[task], "POST", f"/v2/models/{name}/infer", inputs=inputs)
    assert told.status_code == 200, told.text
    assert [o["name"] for o in told.json()["outputs"]] == [o["name"] for o in about["outputs"]]
