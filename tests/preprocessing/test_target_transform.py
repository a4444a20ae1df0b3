from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.errors import ParameterError
from everymodel.preprocessing.target import TargetTransform


def test_takes_the_logarithm_of_prices_only():
    rng = np.random.default_rng(0)
    prices = rng.lognormal(12, 1, 1000)
    assert TargetTransform().fit(prices).kind_ == "log"
    assert TargetTransform().fit(prices * 1e-9).kind_ == "log"
    assert TargetTransform().fit(np.floor(prices / 1e5)).kind_ == "log1p"
    assert TargetTransform().fit(prices - prices.mean()).kind_ == "identity"
    assert TargetTransform().fit(rng.normal(50, 5, 1000)).kind_ == "identity"
    shares = (rng.random(1000) < 0.02).astype(float)  # skewed, but the logarithm is no less so
    assert TargetTransform().fit(shares).kind_ == "identity"


@pytest.mark.parametrize("shape", [(400,), (400, 3)])
def test_comes_back_and_is_scaled(shape):
    y = np.random.default_rng(1).lognormal(5, 1, shape)
    transform = TargetTransform()
    z = transform.fit_transform(y)
    assert z.shape == shape
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-9)
    np.testing.assert_allclose(transform.inverse_transform(z), y, rtol=1e-9)
    transform.step().check()


@pytest.mark.parametrize("y", [np.full(10, 3.0), np.array([0.0]), np.array([-1e308, 1e308]), np.zeros(5)])
def test_survives_constant_and_absurd_targets(y):
    transform = TargetTransform().fit(y)
    assert np.isfinite(transform.transform(y)).all()
    np.testing.assert_allclose(transform.inverse_transform(transform.transform(y)), y, rtol=1e-6)


def test_answers_are_limited_after_a_logarithm():
    y = np.random.default_rng(2).lognormal(5, 1, 300)
    transform = TargetTransform("log").fit(y)
    z = np.array([-50.0, 0.0, 50.0])
    for step in transform.steps():
        step.check()
        z = step(z)
    assert 0 <= z[0] < y.min() and z[2] == y.max() + 0.25 * (y.max() - y.min())
    assert len(TargetTransform("identity").fit(y).steps()) == 1
    assert np.isfinite(transform.transform(np.array([-3.0, 0.0]))).all()


def test_wrong_words_are_refused():
    with pytest.raises(ParameterError, match="expected auto"):
        TargetTransform("sqrt").fit(np.ones(3))
    with pytest.raises(ParameterError, match="at least 0"):
        TargetTransform("log").fit(np.array([-1.0, 2.0]))
