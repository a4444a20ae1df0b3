"""Models that stop early on the validation rows must be judged by answers that those rows did not choose."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from everymodel import catalog
from everymodel.scoring import metrics

BOOSTERS = ["lightgbm", "gradient_boosting", "catboost", "xgboost"]
STOPPING = ["multilayer_perceptron", "feed_forward", *BOOSTERS]


def fitted(name: str, task: str, X, y, valid, seed: int = 0):
    card = catalog.find(name, task=task)
    if card.package and importlib.util.find_spec(card.package) is None:
        pytest.skip(f"{card.package} is not installed")
    module = catalog.module(card)
    seeds = {"random_seed" if name == "catboost" else "random_state": seed}
    quick = {"width": 48, "members": 1, "epochs": 12} if name == "feed_forward" else {}
    model = catalog.make(card, **{**card.presets[0], **seeds, **quick})
    return module, module.fit(model, X, y, valid=valid, threads=1)


@pytest.mark.parametrize("name", STOPPING)
def test_noise_does_not_look_learnable(name):
    """Labels drawn at random: choosing when to stop on 60 rows finds luck, held-out answers must not show it."""
    flattering, honest = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(180, 6)), rng.integers(0, 2, 180)
        module, model = fitted(name, "binary", X[:120], y[:120], (X[120:], y[120:]), seed)
        flattering.append(metrics.score("log_loss", "binary", y[120:], model.predict_proba(X[120:])))
        honest.append(metrics.score("log_loss", "binary", y[120:], module.held_out(model, X[120:])))
    assert np.mean(honest) > np.mean(flattering)
    assert np.mean(honest) > np.log(2) - 0.005  # no better than saying one half


@pytest.mark.parametrize("name", STOPPING)
def test_held_out_answers_are_in_the_units_of_the_target(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = 1000.0 + 50.0 * X[:, 0]
    module, model = fitted(name, "regression", X[:300], y[:300], (X[300:], y[300:]))
    answers = module.held_out(model, X[300:])
    assert answers.shape == (100,)
    assert np.sqrt(np.mean((answers - y[300:]) ** 2)) < 25


@pytest.mark.parametrize("name", BOOSTERS)
def test_classes_never_fitted_and_few_rows(name):
    """A class that only the validation rows have says nothing on rounds, and is answered like any other row."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 4))
    y = np.digitize(X[:, 0] + 0.3 * rng.normal(size=300), [-0.4, 0.4])
    y[250:256] = 3
    module, model = fitted(name, "multiclass", X[:200], y[:200], (X[200:], y[200:]))
    answers = module.held_out(model, X[200:])
    assert answers.shape == (100, 3) and np.allclose(answers.sum(axis=1), 1.0)
    assert np.mean(answers.argmax(axis=1) == y[200:]) > 0.6
    module, model = fitted(name, "multiclass", X[:200], y[:200], (X[200:206], y[200:206]))
    assert module.held_out(model, X[200:206]) is None  # too few rows to be told apart
    module, model = fitted(name, "multiclass", X[:200], y[:200], None)
    assert module.held_out(model, X[200:]) is None


@pytest.mark.parametrize("name", BOOSTERS)
def test_each_half_is_judged_by_the_rounds_that_the_other_asks_for(name):
    """Rows of one half must get the rounds of the other, also where those are more than the whole asks for."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(600, 3))
    y = (X[:, 0] > 0).astype(int)
    goal = y[400:].copy()
    goal[0::2] = 1 - goal[0::2]  # what was learnt is wrong for every other row: these ask for no rounds at all
    module, model = fitted(name, "binary", X[:400], y[:400], (X[400:], goal))
    sure = np.abs(module.held_out(model, X[400:])[:, 1] - 0.5)
    assert sure[1::2].mean() < 0.15  # one round, as the wrong rows want it
    assert sure[0::2].mean() > 2 * sure[1::2].mean()  # many, as the right rows want them
