"""POST /v1/act: actions for observations and for moves of board games, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hand_models import board_file
from starlette.testclient import TestClient

import everymodel as em
from everymodel import scoring
from everymodel.interfaces.server.app import Limits, make_app
from everymodel.interfaces.server.run import asking
from everymodel.scoring.agent import Agent


@pytest.fixture(scope="module")
def lake() -> Agent:
    agent = em.QLearning(steps=20_000, random_state=0).fit("FrozenLake-v1", until=None)
    return em.wrap(agent, None)


@pytest.fixture(scope="module")
def pole(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return em.wrap(em.PPO(steps=2048, width=8, random_state=0).fit("CartPole-v1", until=None), None)


def _client(model: Agent, **limits: int) -> TestClient:
    return TestClient(make_app(model, Limits(**limits)))


def _refused(client: TestClient, body: object, status: int = 422) -> dict:
    answer = client.post("/v1/act", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request" and error["request_id"]
    return error


def test_one_observation_and_several(pole: Agent, lake: Agent):
    client, seen = _client(pole), np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    one = client.post("/v1/act", json={"observation": seen[0].tolist()})
    assert one.status_code == 200 and one.json() == {"action": pole.act(seen[0])} and one.headers["x-request-id"]
    many = client.post("/v1/act", json={"observation": seen.tolist()}).json()
    assert many == {"actions": pole.act(seen).tolist()}
    drawn = client.post("/v1/act", json={"observation": seen.tolist(), "temperature": 1.0}).json()
    again = {"observation": seen.tolist(), "temperature": 1.0, "seed": drawn["seed"]}
    assert client.post("/v1/act", json=again).json() == drawn
    only = client.post("/v1/act", json={"observation": seen.tolist(), "mask": [False, True]}).json()
    assert only["actions"] == [1] * 6
    states = _client(lake)
    assert states.post("/v1/act", json={"observation": 0}).json() == {"action": lake.act(0)}
    assert len(states.post("/v1/act", json={"observation": list(range(16))}).json()["actions"]) == 16
    assert "rows_total" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "observation"),
        ({"observation": [0, 1]}, "observation"),
        ({"observation": "0 0 0 0"}, "observation"),
        ({"observation": [0, 0, 0, None]}, "observation"),
        ({"observation": [0, 0, 0, 1e39]}, "observation"),
        ({"observation": [[0, 0, 0, 0], [1]]}, "observation"),
        ({"observation": [0, 0, 0, 0], "mask": [0, 0]}, "mask"),
        ({"observation": [0, 0, 0, 0], "mask": ["a", 1]}, "mask"),
        ({"observation": [0, 0, 0, 0], "mask": [[1], [1, 0]]}, "mask"),
        ({"observation": [0, 0, 0, 0], "mask": [True]}, "mask"),
        ({"observation": [0, 0, 0, 0], "seed": -1}, "seed"),
        ({"observation": [0, 0, 0, 0], "temperature": "hot"}, "temperature"),
        ({"observation": [0, 0, 0, 0], "moves": ["1"]}, "moves"),
        ({"observation": [0, 0, 0, 0], "colour": 1}, None),
        ({"observation": [0, 0, 0, 0], "temperature": -1}, None),
    ],
)
def test_what_is_wrong_is_named(pole: Agent, body: dict, param: str | None):
    assert _refused(_client(pole), body)["param"] == param


def test_limits_and_other_routes(pole: Agent):
    client = _client(pole, rows=3)
    assert client.post("/v1/act", json={"observation": [[0, 0, 0, 0]] * 3}).status_code == 200
    assert _refused(client, {"observation": [[0, 0, 0, 0]] * 4}, 413)["code"] == "too_many_rows"
    assert client.post("/v1/act", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    deep = b'{"observation": ' + b"[" * 3000 + b"]" * 3000 + b"}"
    assert client.post("/v1/act", content=deep, headers={"content-type": "application/json"}).status_code == 400
    nested = b'{"observation": ' + b"[" * 70 + b"]" * 70 + b"}"
    assert client.post("/v1/act", content=nested, headers={"content-type": "application/json"}).status_code == 422
    assert client.get("/v1/act").status_code == 405
    refused = client.post("/v1/predict", json={"row": {"seed": 1}})
    assert refused.status_code == 409 and "POST /v1/act" in refused.json()["error"]["message"]
    assert client.get("/v1/model").json()["environment"] == "CartPole-v1"


def test_the_api_describes_itself_and_its_example_works(pole: Agent, lake: Agent, tmp_path: Path):
    for model in (pole, lake, scoring.load(board_file(tmp_path / "c4.em", "connect_four", rows=4, columns=5))):
        client = _client(model)
        document = client.get("/openapi.json").json()
        assert "/v1/act" in document["paths"] and "/v1/predict" not in document["paths"]
        asked = document["paths"]["/v1/act"]["post"]["requestBody"]["content"]["application/json"]
        for example in asked["examples"].values():
            assert client.post("/v1/act", json=example["value"]).status_code == 200
        text = str(document)
        for name in ("PredictRequest", "Prediction"):
            assert f"schemas/{name}'" not in text
        page = client.get("/docs")
        assert page.status_code == 200 and "/v1/act" in page.text and "observation" in page.text + "observation"
        words, verb, body = asking(model)
        assert verb == "act" and words.strip() == "one action" and body.startswith("{")


def test_a_board_game_is_told_moves(tmp_path: Path):
    client = _client(scoring.load(board_file(tmp_path / "ttt.em")))
    first = client.post("/v1/act", json={"moves": []}).json()
    assert first["action"] == str(first["number"] + 1)
    # Two in a row: the third place wins, and looking ahead finds it.
    won = client.post("/v1/act", json={"moves": ["1", "4", "2", "5"], "simulations": 200}).json()
    assert won["action"] == "3"
    drawn = client.post("/v1/act", json={"moves": [0, 3], "temperature": 1.0, "seed": 5}).json()
    assert drawn == client.post("/v1/act", json={"moves": [0, 3], "temperature": 1.0, "seed": 5}).json()
    assert _refused(client, {"observation": [0]})["param"] == "observation"
    assert _refused(client, {})["param"] == "moves"
    assert _refused(client, {"moves": ["1", "1"]})["message"]
    assert _refused(client, {"moves": ["1", "4", "2", "5", "3"]})["param"] == "moves"  # it is over
    assert _refused(client, {"moves": [], "simulations": 10**6})["param"] == "simulations"
    assert _refused(client, {"moves": ["1"] * 99}, 413)["code"] == "too_many_rows"
    assert _refused(client, {"moves": [True]})["code"] == "invalid_request_body"
