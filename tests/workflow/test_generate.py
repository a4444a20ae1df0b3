"""em.fit(task="generate"): what came is understood, a part is held out, the model answers alike from its file."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, EverymodelError, ParameterError, ReadError, TargetError
from everymodel.models.generative._text_quality import by_frequency
from everymodel.scoring.images import as_png, pixels
from everymodel.testing.enhancing import tiny_pictures
from everymodel.testing.generating import tiny_images, tiny_rows
from everymodel.workflow.evaluate.page import html
from everymodel.workflow.generate.choice import suitable
from everymodel.workflow.generate.material import divided, large_images, material
from everymodel.workflow.generate.shown import live
from everymodel.workflow.generate.story import _noticed, _watch, evaluation_of, headline, titles


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    X, y = tiny_rows(300)
    return pd.DataFrame(X, columns=["wide", "high", "count"]).assign(side=y)


@pytest.fixture(scope="module")
def run(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("made")
    return em.fit(rows.drop(columns="side"), task="generate", models="vanilla_gan", budget=1.5, out=folder / "run")


def test_rows_are_made_judged_and_saved(run, rows, tmp_path):
    assert run.story["task"] == "generate" and run.story["split"]["test"] == 60
    assert run.model.manifest["provenance"]["rows"] == 240 and len(run.model.manifest["metrics"]) > 6
    assert 0 <= run.metrics["coverage"] <= 1 and "held-out" in run.headline
    made = run.model.sample(5, seed=2)
    assert list(made.columns) == ["wide", "high", "count"]
    assert made["count"].dtype == np.int64
    opened = em.load(run.folder / "model.em")
    pd.testing.assert_frame_equal(opened.sample(5, seed=2), made)
    told = opened.evaluate(rows.sample(150, random_state=0))
    assert told.source == "data" and {"coverage", "c2st"} <= {m.name for m in told.metrics}
    with pytest.raises(DataError, match="lack the column"):
        opened.evaluate(rows[["wide", "high"]])
    for verb in ("predict", "explain"):
        with pytest.raises(EverymodelError, match="makes data"):
            getattr(opened, verb)(rows)
    json.dumps(run.story, allow_nan=False)
    page = run.report(tmp_path / "report.html").read_text()
    assert "Made beside real" in page and "How it learnt" in page and "<script" not in page
    assert page.count("<svg") >= 4


def test_equal_seeds_hold_out_the_same_rows(rows):
    few = rows.drop(columns="side")
    first, second = (material(few) for _ in range(2))
    a, b = (divided(len(m), 0.2, None, np.random.default_rng(1), False)[1] for m in (first, second))
    assert np.array_equal(a, b) and first.source.fingerprint == second.source.fingerprint
    kept, aside = divided(100, 0.2, np.repeat(["a", "b"], [90, 10]), np.random.default_rng(0), False)
    assert len(set(kept) | set(aside)) == 100 and 1 <= (aside >= 90).sum() <= 3
    kept, aside = divided(1000, 0.1, None, np.random.default_rng(0), True)
    assert aside[0] == 900 and aside[-1] == 999  # the end of a text


def test_a_folder_per_class_becomes_a_condition(tmp_path):
    X, y = tiny_images(60, side=8)
    for label in ("upright", "lying"):
        (tmp_path / "in" / label).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(X, y, strict=True)):
        (tmp_path / "in" / label / f"{i}.png").write_bytes(as_png(image))
    found = material(tmp_path / "in")
    assert found.kind == "image" and found.rows.shape == (60, 8, 8, 1) and found.target == "folder"
    assert sorted(set(found.labels)) == ["lying", "upright"]
    assert getattr(catalog.load(suitable(found, None)[0]), "conditional", False)
    (tmp_path / "in" / "lying" / "broken.png").write_bytes(b"no image")
    again = material(tmp_path / "in")
    assert len(again) == 60 and "images-left-out" in {f.code for f in again.findings}


def test_images_with_classes_are_made_as_asked(tmp_path):
    X, y = tiny_images(150, side=8)
    run = em.fit(X, target=y, task="generate", models="conditional_gan", budget=2, out=tmp_path / "run")
    assert run.model.step.classes == ("lying", "upright") and run.model.manifest["judge"]["sha256"]
    assert run.model.sample(3, "lying", seed=0).shape == (3, 8, 8, 1)
    assert {"agreement", "cas", "agreement_real"} <= set(run.evaluation.curves["figures"])
    told = run.story["structure"]
    assert told["grid"]["rows"] == ["lying", "upright"] and len(told["neighbours"]) == 8 and told["film"]
    assert html(run.story).count("data:image/png") >= 18
    assert run.model.evaluate({"image": list(X[:80]), "class": y[:80]}).metrics


def test_what_a_network_makes_meanwhile_is_drawn_whatever_its_axes():
    X = np.linspace(-1, 1, 16 * 8 * 4 * 3).reshape(16, 8, 4, 3)
    wanted = pixels(live(X, (8, 4, 3)))
    assert wanted.shape == (38, 22, 3)
    assert np.array_equal(pixels(live(X.transpose(0, 3, 1, 2), (8, 4, 3))), wanted)
    assert np.array_equal(pixels(live(X.reshape(16, -1), (8, 4, 3))), wanted)
    assert live(X[:, :4], (8, 4, 3)) is None


def test_watching_tells_how_far_it_is_and_keeps_a_picture(tmp_path):
    told: list = []
    train = material(np.random.default_rng(0).integers(0, 255, (5, 8, 8)).astype(np.uint8))
    watch = _watch(told.append, tmp_path, train)
    history = SimpleNamespace(epochs=[{"epoch": 1, "valid_coverage": 0.5, "valid_loss": 0.25}])
    progress = SimpleNamespace(history=history, done=0.4, seconds_left=3.0)
    game = SimpleNamespace(film=[(0.4, torch.zeros(16, 1, 8, 8))])
    watch(progress, game)
    assert told[0].message == "40 % of the steps, coverage 0.5, distance or loss 0.25" and told[0].seconds_left == 3
    assert pixels(str(tmp_path / "live.png")).shape == (38, 38, 1)
    (tmp_path / "live.png").unlink()
    watch(progress, game)  # nothing new
    assert not (tmp_path / "live.png").exists()


def test_what_came_is_understood(rows, tmp_path):
    assert material(rows).kind == "table" and material(rows.drop(columns="side")).kind == "matrix"
    asked = material(rows, "side")
    assert asked.kind == "matrix" and set(asked.labels) == {"left", "middle", "right"}
    assert material(rows, "side", ["table"]).rows.columns.tolist() == ["wide", "high", "count", "side"]
    gaps = rows.drop(columns="side").mask(rows.drop(columns="side") > 20)
    assert material(gaps).kind == "table"
    (tmp_path / "poem.txt").write_text("All that is gold does not glitter. " * 50)
    text = material(tmp_path / "poem.txt")
    assert text.kind == "text" and text.long and len(text.take(np.arange(10, 20)).rows) == 10
    assert material(["one text", "another", "a third"]).kind == "text"
    assert material(pd.DataFrame({"name": [f"name {i}" for i in range(9)]})).kind == "text"
    (tmp_path / "songs").mkdir()
    for i in range(3):
        (tmp_path / "songs" / f"{i}.mid").write_bytes(b"MThd")
    assert material(tmp_path / "songs").kind == "music"
    assert material(np.zeros((5, 8, 8), np.uint8)).rows.shape == (5, 8, 8, 1)
    assert material({"image": [np.zeros((8, 8), np.uint8)] * 5, "digit": [1, 2, 1, 2, 1]}, "digit").labels is None


@pytest.mark.parametrize(
    ("data", "target", "wrong", "told"),
    [
        (np.zeros((5, 8, 8, 2), np.uint8), None, DataError, "channels"),
        (np.zeros((5, 8, 8), np.uint8), [1, 2], TargetError, "a class for each"),
        (np.zeros((5, 8, 8), np.uint8), "digit", TargetError, "arrays have none"),
        (["a text", "another"], "side", TargetError, "no columns"),
        (pd.DataFrame({"a": [1.0, 2.0]}), "b", TargetError, "There is no column"),
        (pd.DataFrame({"a": [1.0, 2.0]}), "a", DataError, "nothing but"),
        (pd.DataFrame({"a": []}), None, DataError, "no rows"),
        (pd.DataFrame({"a": range(2000), "b": range(2000)}), "b", DataError, None),
    ],
)
def test_wrong_data_are_refused_or_taken_otherwise(data, target, wrong, told):
    if told is None:
        assert material(data, target).kind == "table"  # too many classes for a condition
        return
    with pytest.raises(wrong, match=told):
        material(data, target)


def test_files_that_hold_nothing_to_learn_are_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("  \n")
    with pytest.raises(DataError, match="no text"):
        material(tmp_path / "empty.txt")
    (tmp_path / "one.mid").write_bytes(b"MThd")
    with pytest.raises(ReadError, match="folder of pieces"):
        material(tmp_path / "one.mid")
    with open(tmp_path / "huge.txt", "wb") as stream:
        stream.truncate((2 << 30) + 1)
    with pytest.raises(ReadError, match="2 GB"):
        material(tmp_path / "huge.txt")


def test_options_that_mean_nothing_are_refused(rows, tmp_path):
    for option in ({"metric": "rmse"}, {"group": "side"}, {"trials": 3}, {"clusters": 2}, {"costs": {"a": 1}}):
        with pytest.raises(ParameterError, match="not there"):
            em.fit(rows, task="generate", out=tmp_path / "run", **option)
    with pytest.raises(ParameterError, match="cannot do"):
        em.fit(rows, task="generate", models="ridge", out=tmp_path / "run")
    with pytest.raises(ParameterError, match="learns from"):
        em.fit(["a text", "another"], task="generate", models="vanilla_gan", out=tmp_path / "run")
    with pytest.raises(ParameterError, match="name the column"):
        em.fit(rows.drop(columns="side"), task="generate", models="conditional_gan", out=tmp_path / "run")


def test_several_models_are_chosen_among_by_rows_of_their_own(rows, tmp_path):
    run = em.fit(
        rows.drop(columns="side"), task="generate", models=["vanilla_gan", "gaussian_copula"], budget=3,
        out=tmp_path / "run",
    )  # fmt: skip
    board = run.search.leaderboard
    assert len(board) == 2 and board[0]["weight"] == 1 and board[1]["weight"] == 0
    assert board[0]["score"] <= board[1]["score"]


def test_images_are_enlarged_judged_and_shown_beside_bicubic(tmp_path):
    for i, image in enumerate(tiny_pictures(6, side=64)):
        (tmp_path / f"{i}.png").write_bytes(as_png(image))
    (tmp_path / "small.png").write_bytes(as_png(tiny_pictures(1, side=20)[0]))
    (tmp_path / "broken.png").write_bytes(b"no image")
    run = em.fit(tmp_path, task="enhance", budget=2, out=tmp_path / "run")
    assert run.story["task"] == "enhance" and run.story["split"]["test"] == 1
    assert {"images-left-out", "images-too-small"} <= {f.code for f in run.findings}
    assert {"psnr", "psnr_vivid", "detail"} <= set(run.metrics) and "psnr_bicubic" not in run.metrics
    told = run.story["structure"]
    plain = {k: told["figures"][f"{k.partition('_')[0]}_bicubic"] for k in run.metrics}
    assert told["beside"] == {"title": "bicubic", "values": plain}
    assert told["enlarged"]["heads"][0] == "shrunk 4 times" and len(told["enlarged"]["rows"][0]) == 5
    page = html(run.story)
    assert page.count("data:image/png") == 5 and "Before and after" in page and "real data" not in page
    opened = em.load(run.folder / "model.em")
    image = tiny_pictures(1)[0][:10, :12]
    assert np.array_equal(opened.upscale(image), run.model.upscale(image))
    again = opened.evaluate(tiny_pictures(2, side=64))
    assert {m.name for m in again.metrics} == set(run.metrics) and "bicubic" in again.headline


def test_no_better_than_bicubic_is_said():
    assert [f.code for f in _noticed({"psnr": 28.0, "psnr_bicubic": 28.5})] == ["no-gain"]
    assert _noticed({"psnr": 28.6, "psnr_bicubic": 28.5}) == []


def test_large_images_keep_their_sizes(tmp_path):
    pictures = tiny_pictures(3, side=60)
    found = large_images(pictures)
    assert [i.shape for i in found.rows] == [i.shape for i in pictures] and found.kind == "image"
    assert large_images(np.stack([np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)] * 2)).rows[0].shape == (64, 64, 1)
    wide = np.random.default_rng(0).integers(0, 255, (50, 1300, 1)).astype(np.uint8)
    assert np.array_equal(large_images([wide, wide]).rows[0], wide[:, 138:1162])  # its middle, not made smaller
    frame = pd.DataFrame({"image": pictures, "what": ["a", "b", "c"]})
    assert len(large_images(frame)) == 3
    for data, target, wrong, told in (
        (pictures, "what", TargetError, "means nothing"),
        ([i[:20] for i in pictures], None, DataError, "48 pixels"),
        (frame[["what"]], None, DataError, "0 columns of images"),
        (tmp_path, None, DataError, "no image"),
    ):
        with pytest.raises(wrong, match=told):
            large_images(data, target)


def test_which_model_is_taken_is_decided(rows, monkeypatch, tmp_path):
    numbers, asked = rows.drop(columns="side"), material(rows, "side")
    for found, words in (
        (
            material(numbers),
            ["table_diffusion", "vae", "vanilla_gan", "table_vae", "table_gan", "gaussian_copula", "smote"],
        ),
        (material(rows), ["table_diffusion", "table_vae", "table_gan", "gaussian_copula", "smote"]),
        (asked, ["conditional_gan"]),
        (material(np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8)), ["dcgan", "vae", "lapgan", "vanilla_gan"]),
        (material(["a text", "another"]), ["text_generator"]),
    ):
        assert [c.name for c in suitable(found, None)] == words
    for found in (material(numbers), material(rows), asked):  # too short to load torch
        assert [c.name for c in suitable(found, None, light=True)] == ["gaussian_copula", "smote"]
    assert suitable(material(["a text", "another"]), None, light=True)[0].name == "text_generator"
    monkeypatch.delitem(sys.modules, "torch")
    run = em.fit(numbers, task="generate", budget=2, out=tmp_path / "run")
    assert "too-short-for-networks" in {f.code for f in run.findings}
    assert run.search.members[0]["name"] == "gaussian_copula"


def test_one_sentence_for_each_kind():
    texts = {"nats_per_character": 1.8, "nats_by_frequency": 3.3, "copied_usual": 19.5, "copied_usual_real": 18.0}
    assert headline(texts, "texts") == (
        "Held-out text costs 1.8 nats a character, where the frequency of characters alone costs 3.3; samples share "
        "runs of 19.5 characters with the texts, held-out text 18."
    )
    assert "5.3 nats a frame; samples repeat up to 9" in headline(
        {"nats_per_frame": 5.3, "copied": 9.0, "copied_real": 8.0}, "pieces"
    )
    assert "show 50% of their" in headline({"nats_per_tile": 0.4, "coverage": 0.5}, "levels")
    assert headline({}, "enhanced") == "Enlarges images; nothing was held out to judge them by."
    assert [f.code for f in _noticed({"nats_per_character": 3.2, "nats_by_frequency": 3.3})] == ["nothing-learnt"]
    assert titles("pieces")["copied"] != titles("rows")["copied"]
    runs = evaluation_of({"copied": 12.0, "copied_real": 9.0, "n": 20.0, "nats_per_frame": 5.0}, "pieces", "test")
    assert np.isnan(runs.metrics[0].low) and runs.curves["beside"]["values"] == {"copied": 9.0}


def test_what_frequency_alone_costs():
    a, b = "aab", "ab"  # with one more of each: a 3 of 5, b 2 of 5
    assert by_frequency([b], [a]) == pytest.approx(-(np.log(3 / 5) + np.log(2 / 5)) / 2)
    assert by_frequency(["c"], ["ab"]) == pytest.approx(np.log(5))  # never seen, still possible
    assert by_frequency(["a"], ["a", "a"]) == pytest.approx(np.log(2))  # and ends: 3 of 6 each
