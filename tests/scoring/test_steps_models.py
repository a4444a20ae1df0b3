"""Steps of models refuse damaged arrays, and meet worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.errors import ModelFileError
from everymodel.scoring.steps.base import STEPS
from everymodel.scoring.steps.bayes import BernoulliBayes, CategoricalBayes, GaussianBayes
from everymodel.scoring.steps.constant import Constant, ConstantProbabilities
from everymodel.scoring.steps.dense import Dense
from everymodel.scoring.steps.discriminant import QuadraticDiscriminant
from everymodel.scoring.steps.gaussian_process import GaussianProcess, GaussianProcessProbabilities
from everymodel.scoring.steps.kernel import SupportVectors, SupportVectorScores
from everymodel.scoring.steps.linear import (
    NEVER,
    Linear,
    LinearLog,
    LinearProbabilities,
    LinearScores,
    Polynomial,
)
from everymodel.scoring.steps.neighbors import Neighbors, nearest

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3))


def _examples():
    """One good step of every kind for 3 features."""
    f = RNG.normal
    whole = np.array
    yield Linear(f(size=3), np.array(0.5))
    yield Linear(f(size=(3, 2)), f(size=2))
    yield LinearLog(f(size=3), np.array(0.5))
    yield LinearScores(f(size=(3, 4)), f(size=4))
    yield LinearProbabilities(f(size=(3, 4)), f(size=4))
    yield LinearProbabilities(f(size=3), np.array(0.1), "sigmoid")
    yield Polynomial(
        np.zeros(3), np.ones(3), np.full(3, -2.0), np.full(3, 2.0), whole([[0, -1], [1, 2]]), f(size=2), np.array(1.0)
    )
    yield Constant(np.array(3.0))
    yield ConstantProbabilities(np.array([0.2, 0.8]))
    yield Neighbors(f(size=(9, 3)), f(size=9), 2)
    yield Neighbors(f(size=(9, 3)), np.arange(9) % 3, 4, "distance", gives="probabilities", classes=3)
    yield GaussianBayes(f(size=(2, 3)), np.ones((2, 3)), np.log([0.5, 0.5]))
    yield BernoulliBayes(f(size=(3, 2)), f(size=2), 0.0)
    yield CategoricalBayes(
        whole([0.0, 1.0]), whole([2, -1, 0]), whole([3, 4, 1]), f(size=(3 + 4 + 1 + 3, 2)), np.log([0.3, 0.7])
    )
    yield QuadraticDiscriminant(f(size=(2, 3)), f(size=(3, 5)), whole([3, 2]), f(size=2))
    yield SupportVectors(f(size=(5, 3)), f(size=5), np.array(0.0))
    yield SupportVectorScores(f(size=(5, 3)), whole([2, 1, 2]), f(size=(2, 5)), f(size=3), whole([0, 1, 2]), 3)
    yield GaussianProcess(f(size=(5, 3)), f(size=5), np.ones(3), np.array(0.0), 1.0)
    yield GaussianProcessProbabilities(
        f(size=(5, 3)), f(size=(2, 5)), np.ones((2, 3)), np.ones(2), 0.1 * f(size=(2, 5, 5)), whole([0, 1]), 2
    )
    yield Dense((3, 4, 2), f(size=20), f(size=6))
    yield Dense((5, 4, 2), f(size=28), f(size=6), column=whole([0, 0]), start=whole([0.0, 1.0]), width=np.ones(2))


EXAMPLES = list(_examples())


@pytest.mark.parametrize("step", EXAMPLES, ids=lambda s: type(s).__name__)
def test_spec_and_back(step):
    again = STEPS[step.word].build(*step.spec())
    assert np.array_equal(again(X), step(X))
    assert len(step(X)) == 7 and np.isfinite(step(X)).all()
    assert np.allclose(step(X[:1]), step(X)[:1], rtol=1e-12)
    assert len(step(X[:0])) == 0
    if step.output == "probabilities":
        assert np.allclose(step(X).sum(axis=1), 1) and (step(X) >= 0).all()


@pytest.mark.parametrize("step", EXAMPLES, ids=lambda s: type(s).__name__)
def test_damage_is_refused_or_harmless(step):
    """Arrays cut short, of wrong kind, not finite or with wild numbers: ModelFileError, or one answer per row."""
    settings, arrays = step.spec()
    rng = np.random.default_rng(7)
    refused = 0
    for name, array in arrays.items():
        wild = array.astype(float).reshape(-1).copy()
        if wild.size:
            wild[rng.integers(wild.size)] = np.nan
        for broken in (
            array.reshape(-1)[:-1],
            np.concatenate([array.reshape(-1), array.reshape(-1)[:1]]),
            array.astype(bool),
            array.astype(np.int64),
            wild.reshape(array.shape),
            (array * 0 + 10**9).astype(array.dtype),
            (array * 0 - 7).astype(array.dtype),
        ):
            try:
                made = STEPS[step.word].build(settings, {**arrays, name: broken})
            except ModelFileError:
                refused += 1
                continue
            except (TypeError, AttributeError, np.exceptions.DTypePromotionError) as error:
                pytest.fail(f"{name}: {error!r} instead of ModelFileError")
            try:
                with np.errstate(all="ignore"):
                    assert len(made(X)) == len(X)
            except ModelFileError:  # only the rows tell that a coefficient too few is there
                refused += 1
    assert refused >= len(arrays)


def test_unknown_words_are_refused():
    with pytest.raises(ModelFileError, match="does not know"):
        STEPS["linear"].build({"code": "import os"}, {"coef": np.ones(3), "intercept": np.array(0.0)})


def test_a_class_never_seen_has_no_chance():
    coef, intercept = np.zeros((3, 3)), np.array([0.0, NEVER, 1.0])
    for link in ("softmax", "sigmoid", "huber"):
        p = LinearProbabilities(coef, intercept, link)(X)
        assert (p[:, 1] == 0).all() and np.allclose(p.sum(axis=1), 1)


def test_links_do_not_overflow():
    coef = np.array([[1e200, -1e200]] * 3)
    with np.errstate(over="raise"):
        for link in ("softmax", "sigmoid", "huber", "each"):
            assert np.isfinite(LinearProbabilities(coef, np.zeros(2), link)(np.ones((2, 3)))).all()


def test_the_neuron_of_the_text_books():
    """x = [2, 3], W = [[0.5, -1.2], [0.8, 0.7]], b = [0.1, -0.3]: z = [-2.5, 3.4], a = [0.0759, 0.9677]."""
    weights = np.array([[0.5, 0.8], [-1.2, 0.7]])  # (in, out)
    step = Dense((2, 2), weights.ravel(), np.array([0.1, -0.3]), link="sigmoid", gives="probabilities")
    assert np.round(step(np.array([[2.0, 3.0]])), 4).tolist() == [[0.0759, 0.9677]]


def test_nearest_agrees_with_a_full_sort():
    rng = np.random.default_rng(3)
    for rows, asked in (
        (rng.normal(size=(500, 4)), rng.normal(size=(50, 4))),
        (rng.integers(0, 2, size=(500, 4)) * 1.0, rng.integers(0, 2, size=(50, 4)) * 1.0),
        (rng.normal(size=(500, 2)) + 1e7, rng.normal(size=(20, 2)) + 1e7),
        (rng.normal(size=(12, 2)), rng.normal(size=(5, 2))),
    ):
        for power in (2.0, 1.0, 3.0):
            gap = np.abs(asked[:, None] - rows[None])
            full = (gap**2).sum(axis=2) if power == 2.0 else (gap**power).sum(axis=2)
            expected = np.lexsort((np.broadcast_to(np.arange(len(rows)), full.shape), full), axis=1)[:, :7]
            distance, number = nearest(rows, asked, 7, power)
            assert np.allclose(distance, np.take_along_axis(full, expected, axis=1) ** (1 / power), rtol=1e-9)
            if power == 2.0:
                assert (np.diff(distance, axis=1) >= 0).all()
                same = np.diff(distance, axis=1) == 0
                assert (np.diff(number, axis=1)[same] > 0).all()
