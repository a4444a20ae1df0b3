"""Segmentation and detection as model files: in Python, from the command line and over REST."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("torch")

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import CapabilityError, DataError, ModelFileError, PackError, SchemaError
from everymodel.interfaces.cli.app import app
from everymodel.interfaces.server import make_app
from everymodel.scoring.model import open_bytes
from everymodel.scoring.pixelwise import PixelwiseModel
from everymodel.testing.pixelwise import shapes

X, MASKS, THINGS = shapes(24)
NEW, _, _ = shapes(4, seed=1)


@pytest.fixture(scope="module")
def fitted():
    made = {}
    for name, y in (("segmentation", MASKS), ("detection", THINGS)):
        made[name] = catalog.tiny(catalog.find(name))[0].set_params(epochs=6).fit(X, y)
    made["detection"].threshold = 0.1
    return made


@pytest.fixture(scope="module")
def files(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, estimator in fitted.items():
        em.wrap(estimator, X).save(folder / f"{name}.em")
    for row, image in enumerate(NEW[:2]):
        Image.fromarray(image).save(folder / f"image{row}.png")
    return folder


def test_masks_of_a_file_are_those_of_the_network(fitted, files):
    model = em.load(files / "segmentation.em")
    expected = fitted["segmentation"].predict(NEW)
    assert isinstance(model, PixelwiseModel) and model.sides is None
    assert np.mean(np.stack(model.predict(NEW)) == expected) > 0.999
    assert np.allclose(model.predict_proba(NEW[0]), fitted["segmentation"].predict_proba(NEW[:1])[0], atol=1e-4)
    wide = np.concatenate([NEW[0], NEW[1, :, :7]], axis=1)
    for data in (wide, {"image": wide}, Image.fromarray(wide)):
        assert model.predict(data).shape == (24, 31)
    for data in ([NEW[0], wide], pd.DataFrame({"image": [NEW[0], wide]}), [{"image": NEW[0]}, {"image": wide}]):
        assert [mask.shape for mask in model.predict(data)] == [(24, 24), (24, 31)]
    told = model.evaluate(X, MASKS)
    assert told["iou"] == pytest.approx(fitted["segmentation"].score(X, MASKS), abs=1e-3) and told["accuracy"] > 0.5
    with pytest.raises(DataError, match="to compare with"):
        model.evaluate(X, MASKS[:3])
    with pytest.raises(CapabilityError):
        model.explain(NEW)


def test_things_of_a_file_are_those_of_the_network(fitted, files):
    model = em.load(files / "detection.em")
    found, expected = model.predict(NEW), fitted["detection"].predict(NEW)
    assert sum(len(e["scores"]) for e in expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one["labels"].tolist() == other["labels"].tolist()
        assert np.allclose(one["boxes"], other["boxes"], atol=0.01)
        assert np.allclose(one["scores"], other["scores"], atol=1e-3)
    truth = model.evaluate(X, THINGS)["average_precision"]
    assert truth == pytest.approx(fitted["detection"].score(X, THINGS), abs=0.02)
    with pytest.raises(CapabilityError, match="score for each thing"):
        model.predict_proba(NEW)


def test_images_that_were_resized_are_answered_in_their_own_size(tmp_path):
    cells = [X[0][:, :16], *X[1:]]
    things = [{"boxes": np.zeros((0, 4)), "labels": []}, *THINGS[1:]]
    fitted = catalog.tiny(catalog.find("detection"))[0].set_params(epochs=2, threshold=0.02).fit(cells, things)
    model = em.wrap(fitted, cells)
    model.save(tmp_path / "m.em")
    model = em.load(tmp_path / "m.em")
    assert model.sides == fitted.sides_ == (64, 64)
    large = np.kron(X[1], np.ones((6, 3, 1), dtype=np.uint8))  # (144, 72)
    (one, *_), (other, *_) = model.predict([large]), fitted.predict([large])
    assert len(one["boxes"]) and np.allclose(one["boxes"], other["boxes"], atol=0.1)
    assert (one["boxes"][:, 2:].max(axis=0) <= (72, 144)).all() and one["boxes"][:, 3].max() > 64


def test_numbers_from_0_to_1_and_bytes_are_the_same_images():
    network = catalog.tiny(catalog.find("segmentation"))[0].set_params(epochs=2).fit(X / 255.0, MASKS)
    model = em.wrap(network, X / 255.0)
    expected = network.maps(NEW / 255.0)
    for images in (NEW, NEW / 255.0):
        for (maps, _), (other, _) in zip(model.answers(model.read(images)[0]), expected, strict=True):
            assert np.allclose(maps, other, atol=1e-3)
    with pytest.raises(PackError, match="no image file holds"):
        em.wrap(network.fit(X / 100.0 - 1, MASKS), X)


def test_masks_of_large_numbers_go_into_files_of_16_bits(tmp_path):
    masks = MASKS * 400
    model = em.wrap(catalog.tiny(catalog.find("segmentation"))[0].set_params(epochs=1).fit(X, masks), X)
    told = model.told(model.answers(model.read(NEW[:1])[0]))[0]
    png = Image.open(io.BytesIO(base64.b64decode(told["mask"].partition(",")[2])))
    assert (np.asarray(png) == model.predict(NEW[0])).all() and set(told["shares"]) == {"0", "400", "800"}
    with pytest.raises(PackError, match="65,536"):
        em.wrap(catalog.tiny(catalog.find("segmentation"))[0].set_params(epochs=1).fit(X, MASKS * 70_000), X)


def test_damaged_files_are_refused(files):
    model = em.load(files / "detection.em")
    for damage in (
        {"task": "segment"},
        {"classes": ("round",)},
        {"classes": ()},
    ):
        schema = type(model.schema)(**{**model.schema.__dict__, **damage})
        with pytest.raises((ModelFileError, PackError)):
            open_bytes(PixelwiseModel(schema, model.pack, {**model.manifest, "task": schema.task}).to_bytes())
    with pytest.raises((ModelFileError, PackError)):
        open_bytes(PixelwiseModel(model.schema, model.pack, {**model.manifest, "threshold": "x"}).to_bytes())


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_from_the_command_line(files, tmp_path):
    images = [files / "image0.png", files / "image1.png"]
    model, finder = em.load(files / "segmentation.em"), em.load(files / "detection.em")
    run("predict", files / "segmentation.em", images[0], "-o", tmp_path / "mask.png")
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == model.predict(NEW[0])).all()
    pd.DataFrame({"image": list(map(str, images))}).to_csv(tmp_path / "images.csv", index=False)
    (tmp_path / "masks").mkdir()
    run("predict", files / "segmentation.em", tmp_path / "images.csv", "-o", tmp_path / "masks")
    assert (np.asarray(Image.open(tmp_path / "masks" / "image1.png")) == model.predict(NEW[1])).all()
    shares = json.loads(run("predict", files / "segmentation.em", images[0]))["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    things = json.loads(run("predict", files / "detection.em", images[0]))["things"]
    assert [t["label"] for t in things] == finder.predict(images[0])["labels"].tolist()
    run("predict", files / "detection.em", tmp_path / "images.csv", "-o", tmp_path / "found.csv")
    rows = pd.read_csv(tmp_path / "found.csv")
    assert len(rows) == sum(len(f["labels"]) for f in finder.predict(images)) and bool(
        np.all(rows["right"] > rows["left"])
    )
    run("predict", files / "detection.em", images[0], "-o", tmp_path / "drawn.png")
    assert np.asarray(Image.open(tmp_path / "drawn.png")).shape == (24, 24, 3)
    assert "every pixel" in run("card", files / "segmentation.em")
    for words in (["--proba"], ["-o", str(tmp_path / "one.png")], ["-o", str(tmp_path / "no" / "mask.png")]):
        done = CliRunner().invoke(
            app, ["predict", str(files / "segmentation.em"), str(tmp_path / "images.csv"), *words]
        )
        assert done.exit_code and "Error" in done.output and "Traceback" not in done.output


def test_masks_and_boxes_are_evaluated_from_tables(files, tmp_path):
    model, finder = em.load(files / "segmentation.em"), em.load(files / "detection.em")
    new, masks, things = shapes(4, seed=1)
    expected, precision = model.evaluate(new, masks), finder.evaluate(new, things)
    (tmp_path / "own").mkdir()
    rows = []
    for row, image in enumerate(new):
        Image.fromarray(image).save(tmp_path / "own" / f"{row}.png")
        mask = Image.fromarray(masks[row].astype(np.uint8))
        if row % 2:
            mask = mask.convert("P")  # numbers of a palette are the classes, whatever its colours
            mask.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0])
        mask.save(tmp_path / "own" / f"mask{row}.png")
        told = [{"label": str(w), "box": b.tolist()} for b, w in zip(things[row]["boxes"], things[row]["labels"])]
        rows.append({"image": f"own/{row}.png", "mask": f"own/mask{row}.png", "boxes": json.dumps(told)})
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "truth.csv", index=False)
    told = json.loads(run("evaluate", files / "segmentation.em", tmp_path / "truth.csv", "--json"))
    assert told["metrics"] == pytest.approx(expected) and told["images"] == 4
    told = json.loads(run("evaluate", files / "detection.em", tmp_path / "truth.csv", "-t", "boxes", "--json"))
    assert told["metrics"] == pytest.approx(precision)
    assert "IoU" in run("evaluate", files / "segmentation.em", tmp_path / "truth.csv")
    again = finder.evaluate(list(new), [json.loads(r["boxes"]) for r in rows])
    assert again == pytest.approx(precision)
    Image.fromarray(new[0]).save(tmp_path / "colour.png")
    Image.fromarray(np.full((24, 24), 9, np.uint8)).save(tmp_path / "strange.png")
    for wrong, words in (
        ({"mask": "nowhere.png"}, "row 0 cannot be read"),
        ({"mask": str(tmp_path / "colour.png")}, "coloured"),
        ({"mask": str(tmp_path / "strange.png")}, "holds 9"),
    ):
        with pytest.raises(DataError, match=words):
            model.evaluate(table.assign(**wrong), folder=tmp_path)
    for wrong in ("no JSON", "[]]", '[{"box": [1, 2]}]', '{"boxes": [[0, 0, 1, 1]], "labels": []}', "3"):
        with pytest.raises(DataError, match="boxes in row 0"):
            finder.evaluate(table.assign(boxes=wrong), folder=tmp_path)
    with pytest.raises(DataError, match="No column 'other'"):
        model.evaluate(table, target="other", folder=tmp_path)
    with pytest.raises(DataError, match="No image"):
        model.evaluate([], [])
    done = CliRunner().invoke(
        app, ["evaluate", str(files / "detection.em"), str(tmp_path / "truth.csv"), "--metric", "f1"]
    )
    assert done.exit_code and "takes no --metric" in done.output


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_over_rest(files, name):
    model = em.load(files / f"{name}.em")
    text = base64.b64encode((files / "image0.png").read_bytes()).decode()

    async def ask(path, body):
        transport = httpx.ASGITransport(make_app(model))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await (client.post(path, json=body) if body else client.get(path))

    told = asyncio.run(ask("/v1/predict", {"row": {"image": text}})).json()["prediction"]
    many = asyncio.run(ask("/v1/predict", {"rows": [{"image": text}, {"image": NEW[1].tolist()}]})).json()
    assert many["predictions"][0]["prediction"] == told and len(many["predictions"]) == 2
    one = model.predict(NEW[0])
    if name == "segmentation":
        mask = Image.open(io.BytesIO(base64.b64decode(told["mask"].partition(",")[2])))
        assert (np.asarray(mask) == one).all()
    else:
        assert [t["label"] for t in told] == one["labels"].tolist()
    refused = asyncio.run(ask("/v1/predict", {"row": {"image": str(files / "image0.png")}}))
    assert refused.status_code == 422 and refused.json()["error"]["fields"][0]["field"] == "image"
    assert asyncio.run(ask("/v1/predict", {"row": {"image": text}, "explain": True})).status_code == 409
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    metadata = make_app(model).server.metrics.model
    answered = asyncio.run(ask(f"/v2/models/{metadata}/infer", {"inputs": [tensor]})).json()
    assert json.loads(answered["outputs"][0]["data"][0]) == told
    document = asyncio.run(ask("/openapi.json", None)).json()
    kind = document["components"]["schemas"]["Prediction"]["properties"]["prediction"]["type"]
    assert kind == ("object" if name == "segmentation" else "array")


def test_what_is_no_image_is_told(files):
    model = em.load(files / "segmentation.em")
    with pytest.raises(SchemaError, match="row 1"):
        model.predict([NEW[0], b"no image"])
    with pytest.raises(SchemaError, match="lacks the column"):
        model.predict({"picture": NEW[0]})
    with pytest.raises(DataError, match="shape"):
        model.predict(np.zeros(5))
