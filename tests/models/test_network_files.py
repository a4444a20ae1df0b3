"""Networks as files: each answers again after a way through a file, and damaged ones raise one kind of error."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest

import everymodel as em
from everymodel import catalog, testing
from everymodel.core.card import NEEDS
from everymodel.core.errors import EverymodelError
from everymodel.scoring import probe
from everymodel.scoring.graph import Pack
from everymodel.testing.pixelwise import shapes

KINDS = ("classifier", "regressor", "segmenter", "locator")
CARDS = [c for c in catalog.cards() if c.package == "torch" and c.kind in KINDS]
ODD = [None, -1, 0, 1, 3, 10**9, -(10**9), 1e308, 0.5, "x", "relu", [], {}, [1, 2], True, [10**6, 10**6], "float64"]


def rows(card):
    """(X, y) as the card wants them."""
    inputs = card.inputs[0]
    if inputs == "matrix":
        return testing.tiny_data(card.tasks[0], needs={**NEEDS, **card.needs})
    random_ = np.random.default_rng(0)
    if card.kind in ("segmenter", "locator"):
        X, masks, things = shapes(8, 16)
        return X, masks if card.kind == "segmenter" else things
    n = 24
    y = np.arange(n) % 2 if card.kind == "classifier" else random_.normal(size=n)
    if inputs == "image":
        return random_.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8), y
    if inputs == "sequence":
        return [random_.normal(size=(12, 1)).astype(np.float32) for _ in range(n)], y
    return np.array([" ".join(random_.choice(["good", "bad", "film", "plot"], 5)) for _ in range(n)], dtype=object), y


def damaged(value, chance: random.Random):
    """The nested value with one part replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        return {**value, key: damaged(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        return [*value[:place], damaged(value[place], chance), *value[place + 1 :]]
    return chance.choice(ODD)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("card", CARDS, ids=lambda c: f"{c.name}-{c.kind}")
def test_files_of_networks(card, tmp_path):
    X, y = rows(card)
    estimator = catalog.tiny(card)[0]
    if card.kind in KINDS[2:]:
        estimator.set_params(epochs=1)
    fitted = testing.fitted(card, estimator, X, y)
    model = em.wrap(fitted, X)
    model.save(tmp_path / "m.em")
    asked = probe.batch(model.schema, 6)
    for one, other in zip(em.load(tmp_path / "m.em").answers(asked), model.answers(asked), strict=True):
        one, other = (a[0] if isinstance(a, tuple) else a for a in (one, other))  # maps, and the size of the image
        assert np.array_equal(one, other)
    spec, arrays = model.pack.spec()
    spec = json.loads(json.dumps(spec, default=lambda value: value.tolist()))
    chance = random.Random(card.name)
    refused = 0
    for _ in range(60):
        told, own = copy.deepcopy(spec), dict(arrays)
        if chance.random() < 0.7:
            told["nodes"][-1]["settings"] = damaged(told["nodes"][-1]["settings"], chance)
        else:
            key = chance.choice(list(own))
            array = own[key]
            own[key] = chance.choice(
                [array.reshape(-1), array[:-1] if array.ndim else array, array * np.nan, array - 10**6]
            )
        try:
            pack = Pack.build(told, own)  # anything but an error of ours fails the test
        except EverymodelError:
            refused += 1
            continue
        try:
            pack(asked)
        except (EverymodelError, ValueError, IndexError):  # opening a file replays probe rows, where this is told
            refused += 1
    assert refused > 15
