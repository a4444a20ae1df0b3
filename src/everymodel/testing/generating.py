"""The contract of models that make data: samples, in a file as in Python."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import EverymodelError

# By task or input: the checks of what neither reads rows nor makes images.
_CHECKS = {
    "enhance": "enhancing:check_enhancer",
    "table": "tables:check_table",
    "text": "texts:check_writer",
    "music": "music:check_music",
    "level": "levels:check_levels",
}


def tiny_rows(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three groups of rows (n, 3), the last column whole numbers, and their classes."""
    rng = np.random.default_rng([seed, n])
    y = rng.integers(0, 3, n)
    centres = np.array([[-4.0, 0.0, 10.0], [0.0, 4.0, 20.0], [4.0, 0.0, 30.0]])
    X = centres[y] + rng.normal(0, 0.3, (n, 3))
    X[:, 2] = np.rint(X[:, 2])
    return X, np.array(["left", "middle", "right"])[y]


def tiny_images(n: int = 200, seed: int = 0, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Grey images (n, side, side, 1) of a bright bar, upright or lying, at some place, and which it is."""
    rng = np.random.default_rng([seed, n])
    X = rng.integers(0, 20, (n, side, side, 1)).astype(np.uint8)
    y = rng.integers(0, 2, n)
    for i in range(n):
        at = rng.integers(2, side - 4)
        bar = (slice(at, at + 2), slice(2, -2)) if y[i] else (slice(2, -2), slice(at, at + 2))
        X[i, *bar] = 230
    return X, np.array(["upright", "lying"])[y]


def check_generator(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself; `sample` gives as many as asked, finite and within what was seen; equal seeds give
    equal samples, others differ; equal random states give equal models; the packed step and the model file sample
    alike; what a model cannot do is refused in one sentence, and so are wrong counts, seeds and classes.
    """
    special = next((v for k, v in _CHECKS.items() if k in (*card.tasks, *card.inputs)), None)
    if special is not None:
        module, _, function = special.partition(":")
        getattr(importlib.import_module(f"everymodel.testing.{module}"), function)(card, model)
        return
    from sklearn.base import clone

    from everymodel.scoring.model import open_bytes
    from everymodel.workflow.wrap import wrap

    where = card.class_name
    X, y = tiny_rows() if "matrix" in card.inputs else tiny_images()
    asks = bool(getattr(type(model), "conditional", False))
    given = (X, y) if asks else (X,)
    source = clone(model)
    assert source.fit(*given) is source, f"{where}: fit does not give the model"
    made = source.sample(7, seed=3)
    assert len(made) == 7 and made.shape[1:] == X.shape[1:], f"{where}: samples have shape {made.shape}"
    assert made.dtype == (np.uint8 if X.dtype == np.uint8 else np.float64), f"{where}: samples are {made.dtype}"
    inside = X.dtype == np.uint8 or ((made >= X.min(axis=0)) & (made <= X.max(axis=0))).all()
    assert np.isfinite(made).all() and inside, f"{where}: beyond what was seen"
    assert np.array_equal(made, source.sample(7, seed=3)), f"{where}: equal seeds give different samples"
    assert not np.array_equal(made, source.sample(7, seed=4)), f"{where}: other seeds give the same samples"
    assert np.array_equal(clone(model).fit(*given).sample(7, seed=3), made), f"{where}: equal random states differ"
    if X.dtype != np.uint8:
        assert np.array_equal(made[:, 2], np.rint(made[:, 2])), f"{where}: whole numbers do not stay whole"
    step = catalog.module(card).pack(source)
    again = type(step).build(*step.spec())
    assert np.array_equal(again.sample(7, seed=3), made), f"{where}: the step samples differently after a round trip"
    opened = open_bytes(wrap(source, X).to_bytes())
    told = opened.sample(7, seed=3)
    flat = np.column_stack(list(told.values())) if isinstance(told, dict) else told
    assert np.array_equal(flat, made), f"{where}: the file samples differently"
    if asks:
        label = source.classes_[0]
        source.sample(3, condition=label, seed=0)
        refused(lambda: source.sample(3, condition="no such class"), where, "an unknown class")
        refused(lambda: source.sample(3, condition=[label] * 2), where, "fewer classes than samples")
        refused(lambda: clone(model).fit(X), where, "no y")
        refused(lambda: clone(model).fit(X, y[:-1]), where, "y of another length")
    else:
        refused(lambda: source.sample(3, condition="anything"), where, "a condition that was not learnt")
    for wrong in ({"n": 0}, {"n": 1.5}, {"n": 3, "seed": -1}, {"n": 3, "truncation": -1.0}, {"n": 3, "colour": 1}):
        refused(lambda wrong=wrong: source.sample(**wrong), where, f"sample({wrong})")
    equal = np.repeat(X[:1], 30, axis=0)
    refused(lambda: clone(model).fit(equal, y[:30]) if asks else clone(model).fit(equal), where, "rows that are equal")
    if X.dtype != np.uint8:
        broken = X.copy()
        broken[3, 1] = np.nan
        refused(lambda: clone(model).fit(broken, y) if asks else clone(model).fit(broken), where, "NaN")


def refused(call: Any, where: str, what: str) -> None:
    """AssertionError unless the call raises one of our own errors."""
    try:
        call()
    except EverymodelError:
        return
    raise AssertionError(f"{where}: {what} is taken")
