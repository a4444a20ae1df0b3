"""Talking with a model that writes texts: on the command line, and over the routes that OpenAI's clients speak."""

from __future__ import annotations

import io
import json

import pytest
import torch

pytest.importorskip("starlette")

import msgspec
from starlette.testclient import TestClient

import everymodel as em
from everymodel.interfaces.cli import main
from everymodel.interfaces.server.app import make_app
from everymodel.scoring.steps.writing import Stream
from everymodel.testing.texts import tiny_text

_HELLO = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 12, "seed": 3}


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    text = tiny_text(800)
    fitted = em.TextGenerator(width=16, depth=1, context=32, steps=60, random_state=0).fit(text)
    return em.wrap(fitted, text, name="talker")


@pytest.fixture(scope="module")
def client(model):
    with TestClient(make_app(model), raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("talk") / "talker.em"
    model.save(file)
    return str(file)


def test_a_chat_is_answered_and_counted(client, model):
    said = client.post("/v1/chat/completions", json=_HELLO)
    assert said.status_code == 200
    body = said.json()
    choice = body["choices"][0]
    prompt = "User: the cat\nAssistant:"
    with pytest.warns(UserWarning, match="never seen"):
        whole = "".join(model.step.stream(prompt, seed=3, length=12, stop="\nUser:"))
    assert choice["message"] == {"role": "assistant", "content": whole.strip()}
    assert choice["finish_reason"] == "length" and body["object"] == "chat.completion" and body["model"] == "talker"
    counted = {"prompt_tokens": 24, "completion_tokens": 12, "total_tokens": 36}
    assert body["usage"] == {**counted, "unknown_prompt_characters": ":AUi"}
    again = client.post("/v1/chat/completions", json={**_HELLO, "model": "talker", "user": "me"}).json()
    assert again["choices"] == body["choices"]
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "cat"}]
    same = client.post("/v1/chat/completions", json={**_HELLO, "messages": [{"role": "user", "content": parts}]}).json()
    assert same["choices"] == body["choices"]
    long = {**_HELLO, "messages": [{"role": "user", "content": "the cat " * 20}]}
    assert client.post("/v1/chat/completions", json=long).json()["usage"]["unseen_prompt_tokens"] > 100


def test_a_stream_says_what_an_answer_says(client):
    plain = client.post("/v1/chat/completions", json=_HELLO).json()
    told = client.post(
        "/v1/chat/completions", json={**_HELLO, "stream": True, "stream_options": {"include_usage": True}}
    )
    assert told.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in told.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert {e["object"] for e in events} == {"chat.completion.chunk"} and len({e["id"] for e in events}) == 1
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    pieces = [e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"]]
    assert "".join(pieces).strip() == plain["choices"][0]["message"]["content"] and len(pieces) > 5
    assert events[-2]["choices"][0]["finish_reason"] == "length" and events[-1]["usage"] == plain["usage"]


def test_a_text_goes_on(client, model):
    asked = {"prompt": "the dog", "max_tokens": 20, "seed": 1, "temperature": 0.5, "top_p": 0.9}
    body = client.post("/v1/completions", json=asked).json()
    options = {"temperature": 0.5, "top_p": 0.9, "length": 20}
    assert body["choices"][0]["text"] == "".join(model.step.stream("the dog", seed=1, **options))
    assert body["object"] == "text_completion" and body["usage"]["completion_tokens"] == 20
    several = client.post("/v1/completions", json={**asked, "n": 2, "prompt": ["a cat", "a"], "echo": True}).json()
    assert [c["text"][:2] for c in several["choices"]] == ["a "] * 2 + [
        "a" + c["text"][1] for c in several["choices"][2:]
    ]
    assert len({c["text"] for c in several["choices"]}) >= 3
    stop = body["choices"][0]["text"][5:8]
    cut = client.post("/v1/completions", json={**asked, "stop": [stop]}).json()["choices"][0]
    assert cut["finish_reason"] == "stop" and stop not in cut["text"] and len(cut["text"]) <= 5
    events = client.post("/v1/completions", json={**asked, "stream": True}).text
    pieces = [json.loads(e[6:])["choices"][0]["text"] for e in events.split("\n\n") if e and "[DONE]" not in e]
    assert "".join(pieces) == body["choices"][0]["text"]


def test_models_are_listed(client):
    listed = client.get("/v1/models").json()
    assert [m["id"] for m in listed["data"]] == ["talker"] and client.get("/v1/models/talker").json()["id"] == "talker"
    assert client.get("/v1/models/other").status_code == 404
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/v1/completions"} <= set(paths)


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"role": "judge", "content": "x"}]}, 422, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, 422, "messages"),
        ({"max_tokens": 0}, 422, "max_tokens"),
        ({"max_tokens": 10**9}, 422, "max_tokens"),
        ({"temperature": -1}, 422, "temperature"),
        ({"top_p": 2}, 422, "top_p"),
        ({"top_k": 0}, 422, "top_k"),
        ({"seed": -5}, 422, "seed"),
        ({"n": 99}, 422, "n"),
        ({"stop": [""]}, 422, "stop"),
        ({"tools": [{"type": "function"}]}, 422, "tools"),
        ({"logprobs": True}, 422, "logprobs"),
        ({"frequency_penalty": 0.5}, 422, "frequency_penalty"),
        ({"temperature": "warm"}, 422, "temperature"),
        ({"stream": True, "max_tokens": -1}, 422, "max_tokens"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(client, change, status, param):
    told = client.post("/v1/chat/completions", json={**_HELLO, **change})
    error = told.json()["error"]
    assert (told.status_code, error["param"]) == (status, param), error
    assert error["type"] == "invalid_request" and error["message"] and error["request_id"]


def test_other_bodies_and_models_have_their_errors(client):
    assert (
        client.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"}).status_code
        == 400
    )
    assert client.get("/v1/chat/completions").status_code == 405
    free = {"tools": [], "logprobs": False, "response_format": {"type": "text"}, "presence_penalty": 0}
    assert client.post("/v1/chat/completions", json={**_HELLO, **free}).status_code == 200
    assert msgspec.json.decode(client.post("/v1/sample", json={"n": 2, "condition": "the"}).content)["n"] == 2


def _run(capsys, monkeypatch, words, typed):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    with pytest.raises(SystemExit) as left:
        main(["chat", *words])
    told = capsys.readouterr()
    return left.value.code, told.out, told.err


def test_lines_are_piped_in_and_answered(capsys, monkeypatch, path, model):
    code, out, err = _run(capsys, monkeypatch, [path, "--seed", "3", "--length", "12"], "the cat\n")
    assert "never saw ':' 'A' 'U' 'i'" in err
    wanted = "".join(Stream(model.step, "User: the cat\nAssistant:", 3, {"length": 12, "stop": "\nUser:"})).lstrip()
    assert (code, out) == (0, wanted + "\n")
    code, out, _ = _run(
        capsys, monkeypatch, [path, "--seed", "3", "--length", "9", "--plain"], "the cat\n\n/reset\nthe cat\n"
    )
    lines = out.rstrip("\n")
    assert code == 0 and lines.startswith("the cat") and lines.count("the cat") >= 2


def test_orders_in_a_chat(capsys, monkeypatch, path):
    orders = ["/help", "/temperature 0", "/seed 1", "/length 5", "the", "/reset", "/seed 1", "the"]
    typed = "\n".join([*orders, "/nonsense", "/temperature -1", "/length x", "/quit", "more"])
    code, out, err = _run(capsys, monkeypatch, [path], typed)
    assert code == 0
    half = len(out) // 2
    assert out[:half] == out[half:]  # the same after a reset
    for told in (
        "/reset",
        "temperature 0.0.",
        "Seed 1.",
        "no /nonsense",
        "/temperature -1",
        "expected a number",
        "Forgotten",
    ):
        assert told in err, told


def test_what_steers_a_terminal_is_not_passed_on():
    from everymodel.interfaces.cli.chat import _safe

    assert _safe("a\x1b[31mb\tc\n\x07é\r") == "a\ufffd[31mb\tc\n\ufffdé\ufffd"


def test_other_models_do_not_talk(capsys, monkeypatch, price_file):
    code, _, err = _run(capsys, monkeypatch, [str(price_file)], "hello\n")
    assert code == 1 and "writes no texts" in err
