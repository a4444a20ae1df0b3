"""The judge of images: what it learnt, what it says of itself, and that its figures know good from bad samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everymodel.core.errors import DataError
from everymodel.models.generative._evaluate import examine, quality
from everymodel.scoring.steps.generating import Sampler
from everymodel.testing.generating import tiny_images
from everymodel.training.judge import Judge


class Given(Sampler):
    """Gives rows or images that lie there; classes as asked."""

    def __init__(self, made, labels=None):
        self.made, self.labels = made, labels
        self.classes = () if labels is None else tuple(np.unique(labels).tolist())

    def draw(self, n, rng, condition, truncation, **options):
        if self.labels is None or condition is None:
            return self.made[rng.integers(len(self.made), size=n)]
        return np.stack([self.made[rng.choice(np.flatnonzero(self.labels == c))] for c in condition])


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return tiny_images(500, seed=1, side=8), tiny_images(120, seed=2, side=8)


def test_it_learns_the_classes_and_says_what_it_is(data):
    (X, y), (others, truth) = data
    state = torch.random.get_rng_state()
    judge = Judge(X, y, steps=40, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (judge.classify(others) == truth).mean() > 0.95
    again, other = Judge(X, y, steps=40, seed=3), Judge(X, y, steps=40, seed=4)
    assert judge.record == again.record and len(judge.record["sha256"]) == 64
    assert judge.record["sha256"] != other.record["sha256"]
    seen = judge.features(X)
    assert seen.shape == (500, 64) and np.allclose(seen.mean(axis=0), 0, atol=1e-6)
    blind = Judge(X, seed=3)
    assert blind.record["trained_on"] == "random weights" and blind.features(others).shape == (120, 64)
    with pytest.raises(DataError, match="knows no classes"):
        blind.classify(others)
    with pytest.raises(DataError, match="expected bytes"):
        Judge(X[:, :, :, 0])
    with pytest.raises(DataError, match="labels came"):
        Judge(X, y[:-1])


def test_images_of_any_size_and_colour_are_judged():
    rng = np.random.default_rng(0)
    for shape in ((8, 8, 1), (40, 64, 3), (4, 4, 3)):
        assert Judge(rng.integers(0, 255, (30, *shape)).astype(np.uint8)).features(
            rng.integers(0, 255, (5, *shape)).astype(np.uint8)
        ).shape == (5, 64)


def test_real_images_are_near_collapsed_and_copied_ones_are_seen(data):
    (X, y), (held, truth) = data
    good = Given(*tiny_images(400, seed=5, side=8))
    told = examine(good, held, truth, train=X, train_labels=y, steps=40)
    figures = told.figures
    assert figures["frechet_ratio"] < 3 and figures["coverage"] > 0.7 and abs(figures["c2st"] - 0.5) < 0.2
    assert figures["agreement"] > 0.9 and figures["cas"] > 0.8 and figures["cas_real"] > 0.8
    assert 0.3 < figures["copied"] < 0.7 and told.judge["trained_on"] == "2 classes"
    assert {"coverage_real", "frechet_real", "c2st_real"} <= set(figures) and figures["n"] == 120
    lost = examine(Given(np.repeat(X[:1], 50, axis=0)), held, train=X).figures
    assert lost["coverage"] < 0.2 and lost["frechet_ratio"] > 3 and lost["c2st"] > 0.9
    copies = examine(Given(X[:120]), held, train=X[:120])
    assert copies.figures["copied"] > 0.95
    assert all(np.array_equal(copies.made[i], X[j]) for i, j in enumerate(copies.neighbours))
    swapped = Given(X, np.where(y == "lying", "upright", "lying"))  # makes the other class than asked
    assert examine(swapped, held, truth, train=X, train_labels=y, steps=40).figures["agreement"] < 0.1


def test_rows_are_judged_without_a_network_and_few_are_refused():
    rng = np.random.default_rng(0)
    X, held, made = (rng.normal(size=(n, 3)) * [1, 100, 0.01] for n in (300, 200, 400))
    good = examine(Given(made), held, train=X).figures
    assert good["frechet_ratio"] < 4 and good["coverage"] > 0.85 and abs(good["c2st"] - 0.5) < 0.15
    alone = examine(Given(made), held).figures
    assert "copied" not in alone and alone["n"] == 100
    with pytest.raises(DataError, match="too few"):
        examine(Given(made), held[:19], train=X)
    with pytest.raises(DataError, match="too few"):
        quality(held[:5], made, X)
    labels = np.where(held[:, 0] > 0, "high", "low")
    asks = Given(made, np.where(made[:, 0] > 0, "high", "low"))
    told = examine(asks, held, labels, train=X, train_labels=np.where(X[:, 0] > 0, "high", "low")).figures
    assert told["agreement"] > 0.9 and told["cas"] > 0.9
    with pytest.raises(DataError, match="was not learnt"):
        examine(asks, held, np.full(200, "middle"), train=X)
