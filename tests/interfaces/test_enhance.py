"""Larger images on the command line and over REST."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

import everymodel as em
from everymodel.interfaces.cli.app import app
from everymodel.interfaces.server.app import make_app
from everymodel.testing.enhancing import tiny_pictures

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    X = tiny_pictures()
    model = em.SRGAN(factor=2, width=4, blocks=1, patch=8, steps=6, batch_size=2, random_state=0).fit(X)
    path = tmp_path_factory.mktemp("models") / "sr.em"
    em.wrap(model, X).save(path)
    return path


def test_one_image_and_a_folder(larger, tmp_path):
    for i, image in enumerate(tiny_pictures(3)):
        Image.fromarray(image[:10, :12]).save(tmp_path / f"s{i}.png")
    run = CliRunner().invoke(app, ["enhance", str(larger), str(tmp_path / "s0.png"), "-o", str(tmp_path / "big.png")])
    assert run.exit_code == 0, run.output
    assert Image.open(tmp_path / "big.png").size == (24, 20)
    (tmp_path / "out").mkdir()
    files = [str(tmp_path / f"s{i}.png") for i in range(3)]
    run = CliRunner().invoke(app, ["enhance", str(larger), *files, "-o", str(tmp_path / "out"), "--json"])
    assert run.exit_code == 0 and '"width"' in run.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["s0.png", "s1.png", "s2.png"]
    again = em.load(larger).upscale(files[0])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "s0.png")), again)


def test_what_cannot_be_is_said(larger, tmp_path):
    Image.fromarray(tiny_pictures(1)[0]).save(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("no image")
    for arguments, told in (
        ([str(tmp_path / "text.png"), "-o", str(tmp_path / "b.png")], "cannot be read"),
        ([str(tmp_path / "a.png"), "-o", str(tmp_path / "b.gif")], "must end in"),
        ([str(tmp_path / "a.png")] * 2 + ["-o", str(tmp_path / "b.png")], "folder that exists"),
        ([str(tmp_path / "a.png")] * 2 + ["-o", str(tmp_path)], "same name"),
    ):
        run = CliRunner().invoke(app, ["enhance", str(larger), *arguments])
        assert run.exit_code != 0 and told in " ".join(run.output.split()), run.output
    assert not (tmp_path / "b.png").exists()


def test_over_rest(larger):
    client = TestClient(make_app(em.load(larger)), raise_server_exceptions=False)
    image = tiny_pictures(1)[0][:9, :7]
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    text = base64.b64encode(stream.getvalue()).decode()
    found = client.post("/v1/enhance", json={"image": text, "fidelity": 1})
    assert found.status_code == 200 and (found.json()["width"], found.json()["height"]) == (14, 18)
    made = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.json()["image"].partition(",")[2]))))
    assert np.array_equal(made, em.load(larger).upscale(image, fidelity=1.0))
    for body, status in (
        ({}, 422),
        ({"image": "%%%"}, 422),
        ({"image": "/etc/hostname"}, 422),
        ({"image": text, "fidelity": 3}, 422),
        ({"image": text, "more": 1}, 422),
    ):
        assert client.post("/v1/enhance", json=body).status_code == status, body
    assert client.post("/v1/enhance", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    huge = io.BytesIO()
    Image.new("L", (2000, 2000)).save(huge, "PNG")
    told = client.post("/v1/enhance", json={"image": base64.b64encode(huge.getvalue()).decode()})
    assert told.status_code == 413 and "in parts" in told.text
    assert client.post("/v1/predict", json={"row": {}}).status_code == 409
    paths = client.get("/openapi.json").json()["paths"]
    assert "/v1/enhance" in paths and "/v1/predict" not in paths


def test_a_folder_is_learnt_from_and_an_image_enlarged(tmp_path):
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(tiny_pictures(5, side=52)):
        Image.fromarray(image).save(tmp_path / "photos" / f"{i}.png")
    arguments = ["fit", str(tmp_path / "photos"), "--task", "enhance", "-b", "1.5", "-o", str(tmp_path / "larger.em")]
    run = CliRunner().invoke(
        app, [*arguments, "--run-folder", str(tmp_path / "run"), "--report", str(tmp_path / "r.html")]
    )
    assert run.exit_code == 0, run.output
    assert "bicubic" in run.output and "everymodel enhance" in run.output
    assert "Before and after" in (tmp_path / "r.html").read_text()
    Image.fromarray(tiny_pictures(1)[0][:10, :12]).save(tmp_path / "s.png")
    larger = ["enhance", str(tmp_path / "larger.em"), str(tmp_path / "s.png"), "-o", str(tmp_path / "big.png")]
    assert CliRunner().invoke(app, larger).exit_code == 0
    assert Image.open(tmp_path / "big.png").size == (48, 40)
    told = CliRunner().invoke(app, ["evaluate", str(tmp_path / "larger.em"), str(tmp_path / "photos")])
    assert told.exit_code == 0 and "dB" in told.output, told.output
    card = CliRunner().invoke(app, ["card", str(tmp_path / "larger.em")])
    assert card.exit_code == 0 and "4 times as large" in card.output
