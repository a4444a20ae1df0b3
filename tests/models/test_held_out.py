"""Models that stop early on the validation rows must be judged by answers that those rows did not choose."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel import catalog
from everymodel.scoring import metrics


@pytest.mark.parametrize("name", ["multilayer_perceptron", "lightgbm"])
def test_noise_does_not_look_learnable(name):
    """Labels drawn at random: choosing when to stop on 60 rows finds luck, held-out answers must not show it."""
    card = catalog.find(name, task="binary")
    module = catalog.module(card)
    flattering, honest = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(180, 6)), rng.integers(0, 2, 180)
        model = catalog.make(card, **{**card.presets[0], "random_state": seed})
        model = module.fit(model, X[:120], y[:120], valid=(X[120:], y[120:]), threads=1)
        flattering.append(metrics.score("log_loss", "binary", y[120:], model.predict_proba(X[120:])))
        honest.append(metrics.score("log_loss", "binary", y[120:], module.held_out(model, X[120:])))
    assert np.mean(honest) > np.mean(flattering)
    assert np.mean(honest) > np.log(2) - 0.005  # no better than saying one half


def test_held_out_answers_are_in_the_units_of_the_target():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = 1000.0 + 50.0 * X[:, 0]
    for name in ("multilayer_perceptron", "lightgbm"):
        card = catalog.find(name, task="regression")
        module = catalog.module(card)
        model = catalog.make(card, **{**card.presets[0], "random_state": 0})
        model = module.fit(model, X[:300], y[:300], valid=(X[300:], y[300:]), threads=1)
        answers = module.held_out(model, X[300:])
        assert answers.shape == (100,)
        assert np.sqrt(np.mean((answers - y[300:]) ** 2)) < 25
