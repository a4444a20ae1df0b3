"""Forecasts on the command line and over REST."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from everymodel import scoring
from everymodel.interfaces.cli.app import app
from everymodel.interfaces.server.app import make_app


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sales.csv, and sales.em and sales.html made of it by the command."""
    folder = tmp_path_factory.mktemp("sales")
    t = np.arange(48)
    y = np.round(100 + t + 15 * np.sin(2 * np.pi * t / 12), 2)
    pd.DataFrame({"month": pd.date_range("2020-01-01", periods=48, freq="MS"), "sales": y}).to_csv(
        folder / "sales.csv", index=False
    )
    return folder


def _call(*words: object):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def fitted(place: Path):
    made = _call(
        *("fit", place / "sales.csv", "--time", "month", "-t", "sales", "--horizon", 6, "--trials", 2),
        *("-m", "seasonal_naive", "-m", "exponential_smoothing", "-o", place / "sales.em"),
        *("--report", place / "sales.html", "--run-folder", place / "run"),
    )
    assert made.exit_code == 0, made.output
    return made


def test_fit_shows_what_comes_next(place: Path, fitted):
    assert "2024-01-01" in fitted.output and "forecast" in fitted.output and "explain" not in fitted.output
    page = (place / "sales.html").read_text()
    assert "What comes next" in page and page.count("<svg") >= 3 and "<script" not in page


def test_predict_goes_on_from_the_data_or_from_a_table(place: Path, fitted):
    made = _call("predict", place / "sales.em", "--horizon", 3)
    assert made.exit_code == 0, made.output
    frame = pd.read_csv(io.StringIO(made.stdout))
    assert frame["month"].tolist() == ["2024-01-01", "2024-02-01", "2024-03-01"]
    again = _call("predict", place / "sales.em", place / "sales.csv", "--horizon", 3, "--json")
    assert [row["month"] for row in json.loads(again.stdout)] == frame["month"].tolist()
    assert np.allclose([row["sales"] for row in json.loads(again.stdout)], frame["sales"])
    assert _call("predict", place / "sales.em", "-o", place / "next.csv").exit_code == 0
    assert len(pd.read_csv(place / "next.csv")) == 6


def test_wrong_options_are_refused(place: Path, fitted, price_file: Path):
    for words in (("--proba",), ("--with-data",)):
        refused = _call("predict", place / "sales.em", *words)
        assert refused.exit_code != 0 and "forecast" in refused.output
    refused = _call("predict", price_file, "--horizon", 3)
    assert refused.exit_code != 0 and "horizon" in refused.output
    refused = _call("predict", price_file)
    assert refused.exit_code != 0 and "Name the rows" in refused.output


def test_the_server_takes_histories(place: Path, fitted):
    model = scoring.load(place / "sales.em")
    history = model.past.cells()[0].tolist()  # type: ignore[attr-defined]
    with TestClient(make_app(model)) as client:
        made = client.post("/v1/predict", json={"row": {"history": history}})
        assert made.status_code == 200
        said = list(made.json()["prediction"].values())
        assert np.allclose(said, model.predict()["sales"])
        assert client.get("/openapi.json").status_code == 200
        for row, status in (({"history": "x"}, 422), ({"history": []}, 422), ({}, 422)):
            assert client.post("/v1/predict", json={"row": row}).status_code == status
        for more in ({"explain": True}, {"proba": True}, {"horizon": 3, "proba": True}):
            assert client.post("/v1/predict", json={"row": {"history": history}, **more}).status_code == 409


def test_the_server_forecasts_as_far_as_asked(place: Path, fitted, price_file: Path):
    model = scoring.load(place / "sales.em")
    history = model.past.cells()[0].tolist()  # type: ignore[attr-defined]
    far = model.predict(horizon=24, level=0.9)  # type: ignore[call-arg]
    with TestClient(make_app(model)) as client:

        def ask(**body):
            return client.post("/v1/predict", json=body)

        made = ask(row={"history": history}, horizon=24, interval=0.9).json()
        assert list(made["prediction"]) == [f"sales+{h}" for h in range(1, 25)]
        assert np.allclose(list(made["prediction"].values()), far["sales"])
        assert np.allclose(list(made["interval"]["low"].values()), far["low"])
        assert np.allclose(list(made["interval"]["high"].values()), far["high"]) and made["interval"]["level"] == 0.9
        many = ask(rows=[{"history": history}, {"history": history[:30]}], horizon=2).json()["predictions"]
        assert len(many) == 2 and [len(one["prediction"]) for one in many] == [2, 2]
        assert many[0]["prediction"] == {k: made["prediction"][k] for k in ("sales+1", "sales+2")}
        usual = ask(row={"history": history}, interval=True).json()  # bounds alone, as far as at the fit
        assert len(usual["prediction"]) == 6 and usual["interval"]["level"] == 0.9
        own = ask(horizon=3).json()
        assert own["times"][0].startswith("2024-01-01") and np.allclose(
            list(own["prediction"].values()), far["sales"][:3]
        )
        document = client.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]["properties"]
        assert document["horizon"]["maximum"] == 10_000 and "interval" in document
        for horizon in (0, -1, 10_001):
            assert ask(row={"history": history}, horizon=horizon).status_code == 422
        assert ask(row={"history": history}, horizon="far").status_code == 422
        assert ask(row={"history": history}, interval=0.99).status_code == 422
        assert ask(row={"history": history}, rows=[], horizon=2).status_code == 422
        assert ask().status_code == 422
        assert ask(rows=[{"history": [1.0, 2.0]}] * 200, horizon=10_000).status_code == 413
    with TestClient(make_app(scoring.load(price_file))) as client:
        refused = client.post("/v1/predict", json={"horizon": 3})
        assert refused.status_code == 409 and "no horizon" in refused.json()["error"]["message"]


def test_the_server_tells_several_series_apart(tmp_path: Path):
    t = np.arange(30)
    parts = [pd.DataFrame({"shop": f"s{i}", "t": t, "y": 10.0 * i + t + (t % 3)}) for i in range(2)]
    pd.concat(parts).to_csv(tmp_path / "shops.csv", index=False)
    made = _call("fit", tmp_path / "shops.csv", "--time", "t", "-t", "y", "--group", "shop", "--horizon", 2, "--trials",
                 1, "-o", tmp_path / "m.em", "--run-folder", tmp_path / "run")  # fmt: skip
    assert made.exit_code == 0, made.output
    with TestClient(make_app(scoring.load(tmp_path / "m.em"))) as client:
        told = client.post("/v1/predict", json={"horizon": 3}).json()["predictions"]
    assert [one["series"] for one in told] == ["s0", "s1"] and told[0]["times"] == [30, 31, 32]
