"""Folders of images and sounds, tables of paths, arrays in memory: one way through the whole story."""

from __future__ import annotations

import io
import wave

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, ReadError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """300 digits in a folder per class."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    for i in range(300):
        place = folder / str(labels[i])
        place.mkdir(exist_ok=True)
        Image.fromarray((images[i].reshape(8, 8) * 255 / 16).astype(np.uint8)).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return em.fit(digits, target="folder", models=["logistic"], trials=1, out=out, progress=False)


def test_a_folder_of_images_is_learnt(run, digits):
    assert run.metrics["accuracy"] > 0.85
    column = run.model.schema.features[0]
    assert (column.name, column.kind, column.shape) == ("image", "image", (8, 8, 1))


def test_the_file_answers_paths_arrays_and_bytes(run, digits, tmp_path):
    path = tmp_path / "digits.em"
    run.model.save(path)
    model = em.load(path)
    file = sorted((digits / "3").iterdir())[0]
    cells = [str(file), np.asarray(Image.open(file)), file.read_bytes()]
    answers = [model.predict_proba([{"image": cell}])[0] for cell in cells]
    assert answers[0] == answers[1] == answers[2] and model.predict({"image": str(file)}) == "3"


def test_empty_folders_and_other_files_are_said(digits, tmp_path):
    import shutil

    place = tmp_path / "copy"
    shutil.copytree(digits, place)
    (place / "nothing").mkdir()
    (place / "3" / "notes.txt").write_text("no image")
    found = {f.code for f in em.read(place).findings}
    assert {"empty-folders", "files-left-out"} <= found


def test_damaged_images_are_named_and_left_black(digits, tmp_path):
    import shutil

    place = tmp_path / "copy"
    shutil.copytree(digits, place)
    (place / "3" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    made = em.fit(place, target="folder", models=["logistic"], trials=1, out=tmp_path / "run", progress=False)
    assert made.metrics["accuracy"] > 0.8
    (bad,) = [f for f in made.findings if f.code == "cells-unreadable"]
    assert "image" in bad.columns


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ReadError, match="without images or sounds"):
        em.read(tmp_path)


def test_paths_in_a_table_are_found_from_its_folder(digits, tmp_path):
    files = [(p, p.parent.name) for p in sorted(digits.rglob("*.png"))[:80]]
    table = digits.parent / "table.csv"
    pd.DataFrame({"photo": [str(p.relative_to(digits.parent)) for p, _ in files], "y": [c for _, c in files]}).to_csv(
        table
    )
    found = em.look(table, "y")
    assert found.schema.column("photo").kind == "image"
    moved = tmp_path / "table.csv"
    moved.write_bytes(table.read_bytes())
    with pytest.raises(DataError, match="none of the first"):
        em.look(moved, "y")


def test_sounds_become_sequences(tmp_path):
    random = np.random.default_rng(0)
    for label, tone in (("high", 0.9), ("low", 0.05)):
        (tmp_path / label).mkdir()
        for i in range(30):
            n = int(random.integers(200, 400))
            samples = (np.sin(np.arange(n) * tone) * 20_000 + random.normal(0, 500, n)).astype("<i2")
            with wave.open(str(tmp_path / label / f"{i}.wav"), "wb") as stream:
                stream.setparams((1, 2, 8000, 0, "NONE", ""))
                stream.writeframes(samples.tobytes())
    run = em.fit(tmp_path, target="folder", models=["logistic"], trials=1, out=tmp_path.parent / "r", progress=False)
    assert run.metrics["accuracy"] > 0.9 and run.model.schema.features[0].kind == "sequence"
    (tmp_path / "low" / "bad.wav").write_bytes(b"RIFF no sound")
    with pytest.raises(ReadError, match=r"bad\.wav"):
        em.read(tmp_path)


def test_arrays_in_a_dict_are_columns_of_images():
    images, labels = load_digits(return_X_y=True)
    found = em.look({"image": images.reshape(-1, 8, 8)[:100], "y": labels[:100]}, "y")
    assert found.schema.column("image").shape == (8, 8, 1)


def test_models_of_images_need_a_column_of_images():
    stream = io.StringIO("a,b,y\n" + "\n".join(f"{i},{i % 7},{i % 2}" for i in range(60)))
    from everymodel.workflow.search import plan

    table = em.look(pd.read_csv(stream), "y")
    card = next(c for c in catalog.cards() if c.name == "convolutional")
    assert not plan.reads(card, table)  # type: ignore[arg-type]
    assert card.reads(["image"]) == "image" and card.reads(["image", "image"]) is None


def test_the_report_shows_mistakes_and_right_answers(run, tmp_path):
    shown = run.story["explanations"]["pictures"]
    assert all(p["image"].startswith("data:image/png;base64,") for p in shown)
    assert all(p["right"] == (p["truth"] == p["answer"]) for p in shown) and any(p["right"] for p in shown)
    sure = [p["sure"] for p in shown if not p["right"]]
    assert sure == sorted(sure, reverse=True)
    assert "Right answers" in run.report(tmp_path / "r.html").read_text()
