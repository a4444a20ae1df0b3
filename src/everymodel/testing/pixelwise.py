"""The contract of networks that answer places of images: masks, or boxes around things."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import EverymodelError


def shapes(n: int = 48, side: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[dict[str, np.ndarray]]]:
    """Images (n, side, side, 3) of bytes with one or two shapes on noise, their masks, and boxes with labels.

    Squares are 1 and round things 2 in the masks, "square" and "round" among the labels.
    """
    rng = np.random.default_rng([seed, n, side])
    X = rng.integers(0, 90, (n, side, side, 3)).astype(np.uint8)
    masks = np.zeros((n, side, side), dtype=np.int64)
    found: list[dict[str, np.ndarray]] = []
    y, x = np.mgrid[:side, :side]
    for row in range(n):
        boxes, labels = [], []
        for half in range(int(rng.integers(1, 3))):
            size = int(rng.integers(6, side // 2 - 1))
            top = int(rng.integers(0, side - size))
            left = int(rng.integers(0, side // 2 - size)) + half * (side // 2)
            round_ = bool(rng.integers(2))
            middle = (size - 1) / 2
            inside = (y >= top) & (y < top + size) & (x >= left) & (x < left + size)
            if round_:
                inside &= (y - top - middle) ** 2 + (x - left - middle) ** 2 <= (size / 2) ** 2
            X[row][inside] = np.clip(
                rng.normal((90, 190, 200) if round_ else (200, 170, 90), 20, (inside.sum(), 3)), 0, 255
            )
            masks[row][inside] = 2 if round_ else 1
            boxes.append((left, top, left + size, top + size))
            labels.append("round" if round_ else "square")
        found.append({"boxes": np.array(boxes, dtype=np.float64), "labels": np.array(labels)})
    return X, masks, found


def check_pixelwise(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself and learns; equal seeds give equal answers; images of other sizes than at the fit are
    answered; the step that is packed gives the network's maps and survives the way into a file; targets that do not fit
    are refused.
    """
    from sklearn.base import clone

    where = card.class_name
    X, masks, boxes = shapes()
    new, new_masks, new_boxes = shapes(24, seed=1)
    y, true = (masks, new_masks) if card.kind == "segmenter" else (boxes, new_boxes)
    source = clone(model)
    assert source.fit(X, y) is source, f"{where}: fit does not give the model"
    reached = source.score(new, true)
    assert reached > 0.6, f"{where}: it does not learn simple shapes ({reached:.2f})"
    first, second = (clone(model).set_params(epochs=1).fit(X, y).maps(new[:4]) for _ in range(2))
    alike = all(np.array_equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))
    assert alike, f"{where}: equal seeds give different answers"
    odd = np.zeros((2, 17, 29, 3), dtype=np.uint8)
    assert len(source.predict(odd)) == 2, f"{where}: images of another size are not answered"
    step = catalog.module(card).pack(source)
    step = type(step).build(*step.spec())
    for images in (new[:3], odd):
        for (expected, sides), (got, own) in zip(source.maps(images), step(images), strict=True):
            gap = np.abs(got - expected).max() / (1 + np.abs(expected).max())
            good = sides == own and got.shape == expected.shape and gap <= 1e-4
            assert good, f"{where}: the pack answers differently ({gap:.2g})"
    for bad in ((X, y[:-1]), (X[:, :, :, 0], None), (X[..., :0], y), ([b"no image"] * len(X), y)):
        try:
            clone(model).fit(*bad)
        except (EverymodelError, ValueError, TypeError):
            continue
        raise AssertionError(f"{where}: targets or images that do not fit are taken")
