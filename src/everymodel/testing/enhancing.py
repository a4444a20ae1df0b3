"""The contract of models that make a better image of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.testing.generating import refused


def tiny_pictures(n: int = 6, side: int = 48, seed: int = 0) -> list[np.ndarray]:
    """Colour images of sharp shapes, of sides that differ a little."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        h, w = side + i, side + 2 * i
        y, x = np.mgrid[:h, :w]
        image = np.full((h, w, 3), 40.0)
        for _ in range(6):
            cy, cx, r = rng.uniform(0, h), rng.uniform(0, w), rng.uniform(4, 12)
            image[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.uniform(0, 255, 3)
        made.append(image.astype(np.uint8))
    return made


def check_enhancer(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken: sizes, bytes, seeds, the step and the file answer alike, bad input."""
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where, X = card.class_name, tiny_pictures()
    source = clone(model)
    assert source.fit(X) is source, f"{where}: fit does not give the model"
    f = source.factor
    small = [X[0][:9, :14], X[1][:10, :7, :1], X[2][:5, :5]]
    made = source.upscale(small)
    for image, large in zip(small, made, strict=True):
        h, w, c = image.shape
        assert large.shape == (f * h, f * w, c) and large.dtype == np.uint8, (
            f"{where}: {image.shape} became {large.shape}"
        )
    one = source.upscale(X[0][:9, :14])
    assert np.array_equal(one, made[0]), f"{where}: one image alone is enlarged differently"
    again = clone(model).fit(X).upscale(small)
    assert all(np.array_equal(a, b) for a, b in zip(again, made, strict=True)), f"{where}: equal random states differ"
    step = catalog.module(card).pack(source)
    rebuilt = type(step).build(*step.spec()).upscale(small)
    assert all(np.array_equal(a, b) for a, b in zip(rebuilt, made, strict=True)), (
        f"{where}: the step answers differently"
    )
    opened = open_bytes(wrap(source, X).to_bytes()).upscale(small)  # type: ignore[attr-defined]
    assert all(np.array_equal(a, b) for a, b in zip(opened, made, strict=True)), (
        f"{where}: the file answers differently"
    )
    figures = source.evaluate(X[:2])
    assert all(np.isfinite(v) for v in figures.values()), f"{where}: evaluate gives {figures}"
    refused(lambda: source.sample(1), where, "sample without an image")
    refused(lambda: source.upscale(small, fidelity=2.0), where, "a fidelity of 2")
    refused(lambda: source.upscale(["no such file.png"]), where, "an image that is not there")
    for wrong in (X[:1], [np.full((40, 40), 9, np.uint8)] * 4, [x[:6, :6] for x in X], ["nothing.png"] * 3):
        refused(lambda wrong=wrong: clone(model).fit(wrong), where, "images that cannot be learnt from")
