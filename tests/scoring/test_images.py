"""Image and sequence cells: every form gives the same pixels, damaged ones are told, files only where allowed."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from everymodel.core.errors import ModelFileError, SchemaError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import images, probe, sequences, table
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.cells import ImageFeatures, SequenceFeatures

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, kind)
    return stream.getvalue()


def test_all_forms_of_an_image_give_the_same_pixels(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(COLOUR))
    url = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    for cell in (str(path), path, path.read_bytes(), url, COLOUR, COLOUR / 255.0, COLOUR.tolist(), Image.open(path)):
        assert (images.pixels(cell) == COLOUR).all()
    plain = base64.b64encode(path.read_bytes()).decode()
    assert (images.pixels(plain, files=False) == COLOUR).all()


def test_our_png_is_read_by_others():
    for array in (COLOUR, COLOUR[:, :, :1]):
        assert (np.asarray(Image.open(io.BytesIO(images.as_png(array)))).reshape(array.shape) == array).all()


def test_transparency_lies_on_white_and_grey_stays_one_channel():
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    assert (images.pixels(encoded(clear)) == 255).all() and (images.pixels(clear) == 255).all()
    grey = RANDOM.integers(0, 256, (6, 5), dtype=np.uint8)
    assert (images.pixels(encoded(grey))[:, :, 0] == grey).all()
    deep = (grey.astype(np.uint16) * 257).astype(np.uint16)
    assert np.abs(images.pixels(encoded(deep))[:, :, 0].astype(int) - grey).max() <= 1
    palette = images.pixels(encoded(COLOUR, mode="P"))
    assert palette.shape == COLOUR.shape


def test_resizing_agrees_with_pillow():
    photo = np.asarray(Image.fromarray(COLOUR).resize((120, 80), Image.Resampling.BICUBIC))
    for height, width in ((40, 60), (23, 31), (200, 300)):
        ours = images.fit_to(photo, (height, width, 3)).astype(int)
        theirs = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize(
    "cell",
    [b"no image", b"\x89PNG\r\n\x1a\n", "missing.png", np.zeros((3, 3, 7)), np.full((3, 3), np.nan), 7, [[1], [1, 2]]],
)
def test_what_is_no_image_is_told(cell):
    made, wrong = images.stack([COLOUR, cell], (8, 8, 3))
    assert [row for row, _ in wrong] == [1] and wrong[0][1] and (made[1] == 0).all() and made[0].any()


def test_truncated_files_are_told(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(COLOUR, "JPEG")[:200])
    assert images.stack([str(path)], (8, 8, 3))[1]


def schema() -> Schema:
    return Schema((Column("photo", "image", shape=(8, 8, 3)), Column("wave", "sequence", shape=(10, 2))), "regression")


def test_rows_with_images_and_sequences_are_parsed(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(COLOUR))
    rows = [{"photo": str(path), "wave": [[1, 2], [3, 4]]}, {"photo": COLOUR, "wave": np.ones((5, 2))}]
    batch, notes = table.parse(schema(), rows)
    assert batch.columns["photo"].shape == (2, 8, 8, 3) and not notes
    assert (batch.columns["photo"][0] == batch.columns["photo"][1]).all()
    assert [len(w) for w in batch.columns["wave"]] == [2, 5]
    one, _ = table.parse(schema(), rows[0])
    assert (one.columns["photo"] == batch.columns["photo"][:1]).all()
    with pytest.raises(SchemaError, match="base64"):
        table.parse(schema(), rows, files=False)
    with pytest.raises(SchemaError, match="steps hold 3 numbers; expected 2"):
        table.parse(schema(), [{"photo": COLOUR, "wave": [[1, 2, 3]]}])
    many, _ = table.parse(schema(), {"photo": np.stack([COLOUR] * 3), "wave": [np.ones((2, 2))] * 3})
    assert many.n == 3


def test_probe_rows_hold_images_and_sequences():
    made = probe.batch(schema(), 10)
    again = probe.batch(Schema.from_dict(schema().to_dict()), 10)
    assert made.columns["photo"].dtype == np.uint8 and made.columns["photo"].std() > 50
    assert (made.columns["photo"] == again.columns["photo"]).all()
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(made.columns["wave"], again.columns["wave"]))


def test_a_schema_with_impossible_shapes_is_refused():
    told = schema().to_dict()
    for shape in ([8, 8], [8, 8, 5], [0, 8, 3], [10**9, 8, 3], ["8", 8, 3]):
        told["columns"][0]["shape"] = shape
        with pytest.raises(ModelFileError, match="shape"):
            Schema.from_dict(told)


def test_features_of_images_tell_direction_and_place():
    stripes = np.zeros((2, 16, 16, 1), dtype=np.uint8)
    stripes[0, ::2], stripes[1, :, ::2] = 255, 255
    stripes[:, :, 8:] = 0
    step = ImageFeatures("i", 16, 16, 1)
    found = step(Batch({"i": stripes}, 2))
    assert found.shape == (2, len(step.names()))
    wide = ImageFeatures("i", 16, 16, 1)(Batch({"i": stripes[1:]}, 1))
    assert np.array_equal(wide[0], found[1]) and np.abs(found[0] - found[1]).max() > 0.3
    assert ImageFeatures("i", 1, 1, 3)(Batch({"i": np.zeros((1, 1, 1, 3), np.uint8)}, 1)).shape[0] == 1


def test_features_of_sequences_are_finite_for_any_length():
    cells, wrong = sequences.stack([[1.0], [1, 2, 3], "4 5;6", np.zeros(1000), [[np.nan]], "x"], 1)
    assert [row for row, _ in wrong] == [5]
    step = SequenceFeatures("s", 1)
    found = step(Batch({"s": cells}, 6))
    assert found.shape == (6, len(step.names())) and np.isfinite(found).all()
    slow, fast = np.sin(np.arange(200) / 20), np.sin(np.arange(200) / 2)
    two = step(Batch({"s": sequences.stack([slow, fast], 1)[0]}, 2))
    place = step.names().index("crossings")
    assert two[1, place] > 5 * two[0, place]
