"""Samples on the command line and over REST: what is made, where it goes, what is refused."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from starlette.testclient import TestClient
from typer.testing import CliRunner

import everymodel as em
from everymodel import catalog, scoring
from everymodel.interfaces.cli.app import app
from everymodel.interfaces.server.app import Limits, make_app
from everymodel.scoring.images import as_png, pixels
from everymodel.scoring.midi import Piece, from_midi
from everymodel.testing.generating import tiny_images, tiny_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows.em and bars.em, which makes images of two classes."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("generators")
    X, _ = tiny_rows(200)
    frame = pd.DataFrame(X, columns=["wide", "high", "count"])
    em.wrap(em.VanillaGAN(steps=40, width=8, random_state=0).fit(X), frame).save(folder / "rows.em")
    frame.to_csv(folder / "rows.csv", index=False)
    X, y = tiny_images(80, side=8)
    bars = em.ConditionalGAN(steps=20, width=8, depth=1, random_state=0).fit(X, y)
    em.wrap(bars, X).save(folder / "bars.em")
    return folder


def _call(*words: object):
    return CliRunner().invoke(app, list(map(str, words)))


def _refused(*words: object) -> str:
    made = _call(*words)
    assert made.exit_code == 1, made.output
    assert "Traceback" not in made.output and "Unexpected" not in made.output, made.output
    return made.stderr


def test_rows_go_to_tables(files: Path, tmp_path: Path):
    made = _call("sample", files / "rows.em", "-n", 7, "--seed", 3)
    assert made.exit_code == 0, made.output
    frame = pd.read_csv(io.StringIO(made.stdout))
    assert list(frame.columns) == ["wide", "high", "count"] and len(frame) == 7 and frame["count"].dtype == np.int64
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        place = tmp_path / f"made{ending}"
        assert _call("sample", files / "rows.em", "-n", 7, "--seed", 3, "-o", place).exit_code == 0
        assert np.allclose(read(place), frame)
    told = json.loads(_call("sample", files / "rows.em", "-n", 7, "--json", "--seed", 3).stdout)
    assert np.isclose(told[1]["wide"], frame["wide"][1])
    near = pd.read_csv(io.StringIO(_call("sample", files / "rows.em", "-n", 50, "--truncation", 0).stdout))
    assert len(near) == 50


def test_images_go_to_a_grid_a_folder_or_an_archive(files: Path, tmp_path: Path):
    ask = ("sample", files / "bars.em", "-n", 5, "--seed", 1)
    assert _call(*ask, "-o", tmp_path / "all.png").exit_code == 0
    assert pixels(str(tmp_path / "all.png")).shape == (18, 28, 1)  # two rows of three, two pixels between
    assert _call(*ask, "-o", tmp_path / "all.npz").exit_code == 0
    whole = np.load(tmp_path / "all.npz")["samples"]
    assert whole.shape == (5, 8, 8, 1) and whole.dtype == np.uint8
    assert _call(*ask, "-o", f"{tmp_path}/each/").exit_code == 0
    names = sorted(p.name for p in (tmp_path / "each").iterdir())
    assert names == [f"sample_00{i}.png" for i in range(5)]
    assert np.array_equal(pixels(str(tmp_path / "each" / names[2])), whole[2])
    told = json.loads(_call(*ask, "--json").stdout)
    assert np.array_equal(pixels(told[2]), whole[2])
    said = _call(*ask, "-o", tmp_path / "all.png", "--json")
    assert json.loads(said.stdout) == {"out": str(tmp_path / "all.png"), "samples": 5}


def test_conditions_and_ways(files: Path, tmp_path: Path):
    bars, out = files / "bars.em", tmp_path / "made.npz"
    model = scoring.load(bars)
    assert _call("sample", bars, "-c", "lying", "-n", 3, "--seed", 0, "-o", out).exit_code == 0
    assert np.array_equal(np.load(out)["samples"], model.sample(3, "lying", seed=0))
    assert _call("sample", bars, "-c", "lying", "-c", "upright", "--seed", 0, "-o", out).exit_code == 0
    assert np.array_equal(np.load(out)["samples"], model.sample(2, ["lying", "upright"], seed=0))
    assert "not known" in _refused("sample", bars, "-c", "diagonal", "-o", out)
    way = ("sample", bars, "--interpolate", 3, 8, "--steps", 4, "-c", "lying", "-o", out)
    assert _call(*way).exit_code == 0
    made = np.load(out)["samples"]
    assert made.shape == (4, 8, 8, 1) and np.array_equal(made[0], model.sample(1, "lying", seed=3)[0])
    assert np.array_equal(made, model.interpolate(3, 8, 4, condition="lying"))
    (tmp_path / "end.png").write_bytes(as_png(made[0]))
    assert "cannot encode" in _refused("sample", bars, "--interpolate", tmp_path / "end.png", 8, "-o", out)
    assert "expected a seed" in _refused("sample", bars, "--interpolate", "x", 8, "-o", out)


def test_what_cannot_be_made_is_said_before_anything_is(files: Path, tmp_path: Path, price_file: Path):
    bars, rows = files / "bars.em", files / "rows.em"
    assert "need a file" in _refused("sample", bars)
    assert ".png .npz" in _refused("sample", bars, "-o", tmp_path / "made.csv")
    assert "into one file" in _refused("sample", rows, "-o", f"{tmp_path}/folder/")
    assert "does not exist" in _refused("sample", bars, "-o", tmp_path / "no" / "made.png")
    assert "no condition" in _refused("sample", rows, "--set", "wide=3")
    assert "Give one of them" in _refused("sample", rows, "--set", "wide=3", "-c", "left")
    assert "name and a value" in _refused("sample", rows, "--option", "length")
    assert "no option" in _refused("sample", rows, "--option", "length=3")
    assert "answers rows" in _refused("sample", price_file)
    assert _call("sample", rows, "-n", 0).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_other_commands_answer_for_generators_or_refuse(files: Path, tmp_path: Path):
    rows, bars, data = files / "rows.em", files / "bars.em", files / "rows.csv"
    card = _call("card", bars)
    assert card.exit_code == 0 and "on request lying, upright" in card.stdout and "predicts" not in card.stdout
    assert json.loads(_call("inspect", bars, "--json").stdout)["conditions"] == ["lying", "upright"]
    told = _call("evaluate", rows, data)
    assert told.exit_code == 0 and "coverage" in told.stdout and "real data" in told.stdout
    figures = json.loads(_call("evaluate", rows, data, "--json").stdout)["curves"]["figures"]
    assert {"frechet", "frechet_real", "c2st"} <= set(figures)
    assert "no headline metric" in _refused("evaluate", rows, data, "--metric", "rmse")
    assert "images" in _refused("evaluate", bars, data)
    for verb, words in (("predict", "Use sample"), ("explain", "makes data"), ("trace", "no weighted sums"),
                        ("drift", "no groups")):  # fmt: skip
        assert words in _refused(verb, rows, data), verb
    (tmp_path / "one.png").write_bytes(as_png(np.zeros((8, 8, 1), np.uint8)))
    assert "no convolutions" in _refused("layers", bars, tmp_path / "one.png", "-o", tmp_path / "maps.png")


def test_fit_tells_how_near_samples_come(files: Path, tmp_path: Path):
    words = ("fit", files / "rows.csv", "--task", "generate", "-m", "gaussian_copula", "-b", "5s")
    made = _call(
        *words, "-o", tmp_path / "made.em", "--run-folder", tmp_path / "run", "--report", tmp_path / "made.html"
    )
    assert made.exit_code == 0, made.output
    assert "generate · 200 rows" in made.stdout and "everymodel sample" in made.stdout
    assert "everymodel explain" not in made.stdout and "Samples" in (tmp_path / "made.html").read_text()
    assert len(em.load(tmp_path / "made.em").sample(3, seed=0)) == 3


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with words.em, songs.em and begin.mid."""
    folder = tmp_path_factory.mktemp("words")
    texts = ["abc abd abe", "abd abe abc", "abe abc abd"] * 4
    for name, data in (("text_generator", texts), ("music_generator", [[[60], [62, 64], [60], [67]]] * 6)):
        card = catalog.find(name)
        em.wrap(catalog.tiny(card)[0].fit(data), data).save(folder / f"{name}.em")
    Piece(((60,), (62, 64)), None, scoring.load(folder / "music_generator.em").step.grid).save(folder / "begin.mid")
    return folder


def test_texts_and_music_go_where_they_can(words: Path, tmp_path: Path):
    text, song = words / "text_generator.em", words / "music_generator.em"
    made = _call("sample", text, "-n", 2, "--seed", 1, "-c", "ab", "--option", "length=6")
    assert made.exit_code == 0, made.output
    wanted = scoring.load(text).sample(2, "ab", seed=1, length=6)
    assert made.stdout == f"{wanted[0]}\n\n\n{wanted[1]}\n"
    assert _call("sample", text, "-n", 2, "--seed", 1, "-c", "ab", "--option", "length=6", "-o",
                 tmp_path / "made.jsonl").exit_code == 0  # fmt: skip
    assert [json.loads(line)["text"] for line in (tmp_path / "made.jsonl").read_text().splitlines()] == wanted
    assert "need a file" in _refused("sample", song)
    ask = ("sample", song, "--seed", 1, "-c", words / "begin.mid", "--option", "length=5")
    assert _call(*ask, "-o", tmp_path / "made.mid").exit_code == 0
    piece = from_midi((tmp_path / "made.mid").read_bytes(), scoring.load(song).step.grid)
    assert piece.frames[:2] == ((60,), (62, 64))
    assert _call(*ask, "-n", 2, "-o", f"{tmp_path}/songs/").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "songs").iterdir()) == ["sample_000.mid", "sample_001.mid"]
    assert "folder" in _refused(*ask, "-n", 2, "-o", tmp_path / "made.mid")
    assert "no such file" in _refused("sample", song, "-c", "nothing.mid", "-o", tmp_path / "made.mid")


def test_rest_makes_texts_and_music(words: Path):
    text = TestClient(make_app(scoring.load(words / "text_generator.em")))
    told = text.post("/v1/sample", json={"n": 2, "seed": 1, "condition": "ab", "options": {"length": 6}}).json()
    assert told["samples"] == scoring.load(words / "text_generator.em").sample(2, "ab", seed=1, length=6)
    for body in ({"n": 65}, {"n": 10, "options": {"length": 10_000}}):
        assert text.post("/v1/sample", json=body).status_code == 413
    model = scoring.load(words / "music_generator.em")
    song = TestClient(make_app(model))
    told = song.post("/v1/sample", json={"condition": [[60], [62, 64]], "options": {"length": 4}, "seed": 0}).json()
    data = told["samples"][0].removeprefix("data:audio/midi;base64,")
    assert from_midi(base64.b64decode(data), model.step.grid).frames[:2] == ((60,), (62, 64))
    for wrong in (str(words / "begin.mid"), [[["a"]]], {"a": 1}, "data:audio/midi;base64,!!"):  # no file is opened
        assert song.post("/v1/sample", json={"condition": wrong}).status_code == 422


@pytest.fixture(scope="module")
def client(files: Path):
    def of(name: str, **limits) -> TestClient:
        return TestClient(make_app(scoring.load(files / name), Limits(**limits)), raise_server_exceptions=True)

    return of


def test_rest_makes_images(client, files: Path):
    server, model = client("bars.em"), scoring.load(files / "bars.em")
    told = server.post("/v1/sample", json={"n": 3, "seed": 5, "condition": "lying"}).json()
    assert told["makes"] == "images" and told["n"] == 3 and told["seed"] == 5
    wanted = model.sample(3, "lying", seed=5)
    assert all(np.array_equal(pixels(a), b) for a, b in zip(told["samples"], wanted, strict=True))
    grid = server.post("/v1/sample", json={"n": 4, "format": "grid"}).json()
    assert pixels(grid["image"]).shape == (18, 18, 1) and "samples" not in grid
    again = server.post("/v1/sample", json={"n": 4, "format": "grid", "seed": grid["seed"]}).json()
    assert again["image"] == grid["image"]  # a seed that was drawn is told
    way = server.post("/v1/sample", json={"n": 3, "interpolate": [1, 2], "condition": ["lying", "upright"]}).json()
    assert len(way["samples"]) == 3
    assert server.post("/v1/sample", json={}).json()["n"] == 1
    page = server.get("/docs")
    assert "Another seed" in page.text and "img-src data:" in page.headers["content-security-policy"]


def test_rest_makes_rows(client, files: Path):
    server = client("rows.em", rows=50)
    told = server.post("/v1/sample", json={"n": 2, "seed": 5}).json()["samples"]
    wanted = scoring.load(files / "rows.em").sample(2, seed=5)
    assert list(told[0]) == ["wide", "high", "count"] and isinstance(told[0]["count"], int)
    assert np.isclose(told[1]["wide"], wanted["wide"][1])
    assert server.post("/v1/sample", json={"n": 51}).status_code == 413


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"n": 0}, 422, None),
        ({"n": -1}, 422, None),
        ({"n": 10**7}, 413, "n"),
        ({"n": "many"}, 422, "n"),
        ({"colour": 1}, 422, None),
        ({"condition": "diagonal"}, 422, None),
        ({"condition": {"a": 1}}, 422, "condition"),
        ({"condition": [["lying"]]}, 422, "condition"),
        ({"n": 2, "condition": ["lying"] * 3}, 422, None),
        ({"seed": -1}, 422, None),
        ({"truncation": -1}, 422, None),
        ({"options": {"n": 3}}, 422, "options"),
        ({"options": {"length": 3}}, 422, None),
        ({"format": "gif"}, 422, "format"),
        ({"interpolate": [1]}, 422, "interpolate"),
        ({"interpolate": [1, -2]}, 422, "interpolate"),
    ],
)
def test_rest_refuses_in_the_one_shape(client, body, status, param):
    came = client("bars.em").post("/v1/sample", json=body)
    told = came.json()["error"]
    assert came.status_code == status, came.text
    assert told["type"] == "invalid_request" and told["message"] and told["request_id"]
    assert param is None or told["param"] == param


def test_rest_says_where_to_ask(client, price_file: Path):
    server = client("bars.em")
    came = server.post("/v1/predict", json={"row": {"image": ""}})
    assert came.status_code == 409 and "/v1/sample" in came.json()["error"]["message"]
    paths = server.get("/openapi.json").json()
    assert "/v1/predict" not in paths["paths"] and "/v1/sample" in paths["paths"]
    asked = paths["components"]["schemas"]["SampleRequest"]["properties"]
    assert asked["condition"]["x-classes"] == ["lying", "upright"] and "interpolate" in asked
    assert server.post("/v1/sample", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert server.get("/v1/sample").status_code == 405
    other = TestClient(make_app(scoring.load(price_file)))
    assert other.post("/v1/sample", json={}).status_code == 404
