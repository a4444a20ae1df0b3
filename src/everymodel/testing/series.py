"""The contract of forecasters: learn from series, go on from any history, answer in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card


def tiny_series(n: int = 6, length: int = 40, seed: int = 0) -> list[np.ndarray]:
    """Series above zero with a season of four, a trend and some noise, of different lengths."""
    rng = np.random.default_rng([seed, n])
    made = []
    for i in range(n):
        t = np.arange(length + 3 * (i % 3))
        wave = (2.0 + i) * np.sin(t * np.pi / 2 + i)
        made.append(20.0 + 10 * i + 0.2 * i * t + wave + 0.3 * rng.normal(size=len(t)))
    return made


def check_forecaster(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself; `predict()` goes on from the end of what was learnt, `predict(history)` from any
    history, farther than the horizon too; equal seeds give equal answers; the step that is packed answers alike, and
    survives the way into a file; short and constant histories and those with holes get finite answers.
    """
    from sklearn.base import clone

    where, known = card.class_name, tiny_series()
    source = clone(model)
    assert source.fit(known) is source, f"{where}: fit does not give the model"
    horizon = int(source.horizon)
    first = np.asarray(source.predict())
    assert first.shape == (len(known), horizon), f"{where}: predict() has shape {first.shape}"
    assert np.isfinite(first).all(), f"{where}: answers are not finite"
    again = clone(model).fit(known).predict()
    assert np.array_equal(first, again), f"{where}: equal seeds give different answers"
    assert np.allclose(source.predict(known), first), f"{where}: the series themselves as history change the answer"
    assert np.asarray(source.predict(horizon=2 * horizon + 1)).shape == (len(known), 2 * horizon + 1), where
    assert np.asarray(source.predict(known[0])).shape == (horizon,), f"{where}: one series gives more than one forecast"
    alone = clone(model).fit(known[0])
    assert np.asarray(alone.predict()).shape == (horizon,), f"{where}: one series gives more than one forecast"
    made = catalog.module(card).pack(source)
    step = type(made).build(*made.spec())
    hard = [known[1][:1], known[2][:3], np.full(9, 7.0), np.array([1.0, np.nan, 3.0, 4.0]), -known[3]]
    cells = [*known, *tiny_series(3, 25, seed=1), *hard]
    got, own = step([c[:, None] for c in cells]), np.asarray(source.predict(cells))
    assert got.shape == (len(cells), horizon), f"{where}: the pack answers {got.shape}"
    assert np.isfinite(got).all(), f"{where}: the pack's answers are not finite"
    allowed = max(10 * step.tolerance, 1e-9)
    gap = (np.abs(got - own) / (1 + np.abs(own))).max()
    assert gap <= allowed, f"{where}: the pack is off by {gap:.3g}"
    one = step([cells[2][:, None]])
    assert np.allclose(one, got[2:3], rtol=allowed), f"{where}: a series by itself is answered differently"
