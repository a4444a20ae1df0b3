"""Segmentation and detection: their contract, a photograph, pasted digits, and targets that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from everymodel import catalog, testing
from everymodel.core.errors import TargetError
from everymodel.scoring.pixelwise import average_precision, overlaps, peaks
from everymodel.testing.pixelwise import check_pixelwise, shapes


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_contract(name):
    card = catalog.find(name)
    testing.check_card(card)
    check_pixelwise(card, catalog.tiny(card)[0])


def test_sky_of_a_photograph():
    """Tiles of one half of a photograph teach what the other half is."""
    from sklearn.datasets import load_sample_image

    image = load_sample_image("china.jpg")[::4, ::4]  # (107, 160, 3)
    light = image.astype(int).sum(axis=2)
    mask = (light > 480).astype(int)  # bright: sky and walls
    left, right = image[:96, :80], image[:96, 80:160]
    X = np.stack([left[i : i + 32, j : j + 32] for i in range(0, 65, 16) for j in range(0, 49, 16)])
    y = np.stack([mask[i : i + 32, j : j + 32] for i in range(0, 65, 16) for j in range(0, 49, 16)])
    model = catalog.load(catalog.find("segmentation"))(width=8, levels=2, epochs=15, random_state=0).fit(X, y)
    assert model.score(right[None], mask[None, :96, 80:160]) > 0.8  # of another size than the tiles
    assert model.predict_proba(right[None]).shape == (1, 96, 80, 2)


def test_digits_pasted_into_a_photograph_are_found():
    from sklearn.datasets import load_digits, load_sample_image

    photo = load_sample_image("flower.jpg")[::4, ::4].mean(axis=2)  # (107, 160)
    images, labels = load_digits(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8)[np.isin(labels, (0, 1))], labels[np.isin(labels, (0, 1))]
    rng = np.random.default_rng(0)

    def drawn(n: int, low: int, high: int):
        X, y = [], []
        for _ in range(n):
            top, left = rng.integers(0, 75), rng.integers(0, 128)
            tile = photo[top : top + 32, left : left + 32] * 0.5
            boxes, own = [], []
            for half in range(rng.integers(1, 3)):
                k = rng.integers(low, high)
                big = np.kron(images[k], np.ones((2, 2))) * 15.9  # 16 x 16
                i, j = rng.integers(0, 16), 16 * half
                tile[i : i + 16, j : j + 16] = np.maximum(tile[i : i + 16, j : j + 16], big)
                boxes.append((j, i, j + 16, i + 16))
                own.append(str(labels[k]))
            X.append(tile.astype(np.uint8))
            y.append({"boxes": boxes, "labels": own})
        return np.stack(X), y

    X, y = drawn(100, 0, 200)
    new, true = drawn(40, 200, len(images))  # digits that it has not seen
    model = catalog.load(catalog.find("detection"))(width=12, levels=2, epochs=16, random_state=0).fit(X, y)
    assert model.score(new, true) > 0.8
    found = model.predict(new[:1])[0]
    assert set(found) == {"boxes", "labels", "scores"} and (np.diff(found["scores"]) <= 0).all()


def test_images_of_different_sizes_give_answers_in_their_own():
    X, masks, boxes = shapes(16)
    cells = [X[0][:, :16], *X[1:]]
    model = catalog.tiny(catalog.find("segmentation"))[0].set_params(epochs=1)
    model.fit(cells, [masks[0][:, :16], *masks[1:]])
    assert [m.shape for m in model.predict(cells[:2])] == [(24, 16), (24, 24)]
    assert any(f.code == "images-resized" for f in model.findings_)
    own = [{"boxes": b["boxes"], "labels": b["labels"]} for b in boxes]
    own[0] = {"boxes": np.zeros((0, 4)), "labels": []}
    finder = catalog.tiny(catalog.find("detection"))[0].set_params(epochs=1).fit(cells, own)
    assert len(finder.predict(cells)) == 16


def test_pixels_without_a_label_teach_nothing():
    X, masks, _ = shapes(16)
    hidden = masks.copy()
    hidden[:, :, 12:] = -1
    model = catalog.tiny(catalog.find("segmentation"))[0].fit(X, hidden)
    assert -1 not in model.classes_ and set(np.unique(model.predict(X))) <= set(model.classes_)
    with pytest.raises(TargetError, match="No pixel"):
        model.fit(X, np.full_like(masks, -1))


def test_peaks_and_average_precision_by_hand():
    maps = np.full((1, 8, 8, 5), -9.0)
    maps[0, 2, 3] = [3.0, np.log(4), np.log(2), 0.0, 0.0]  # centre (3.5, 2.5) * 2, 8 wide and 4 high
    maps[0, 2, 4, 0] = 2.0  # a neighbour that is lower
    ((boxes, codes, scores),) = peaks(maps, 2, 0.3)
    assert (
        np.allclose(boxes, [[3, 3, 11, 7]]) and codes.tolist() == [0] and scores[0] == pytest.approx(0.9526, abs=1e-4)
    )
    assert overlaps(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]]))[0, 0] == pytest.approx(1 / 3)
    true = [{"boxes": [[0, 0, 4, 4], [10, 10, 14, 14]], "labels": ["a", "a"]}]
    found = [{"boxes": np.array([[0, 0, 4, 4.0], [0, 0, 4, 4.0], [10, 10, 14, 13.0]]), "labels": ["a"] * 3,
              "scores": [0.9, 0.8, 0.7]}]  # fmt: skip
    assert average_precision(found, true) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # the second is a double


@pytest.mark.parametrize(
    "bad",
    [
        {"boxes": [[0, 0, 5]], "labels": ["a"]},
        {"boxes": [[5, 0, 0, 5]], "labels": ["a"]},
        {"boxes": [[30, 30, 40, 40]], "labels": ["a"]},
        {"boxes": [[0, 0, 5, 5]], "labels": []},
        ["square"],
    ],
)
def test_boxes_that_cannot_be_are_refused(bad):
    X, _, boxes = shapes(4)
    with pytest.raises(TargetError, match=r"y\[1\]"):
        catalog.tiny(catalog.find("detection"))[0].fit(X, [boxes[0], bad, *boxes[2:]])
