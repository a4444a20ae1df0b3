"""Figures of groups without a target, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import make_blobs

from everymodel.workflow.unsupervised import choice, measures


def test_the_interval_covers_the_value_of_the_population():
    random = np.random.default_rng(0)
    hits = 0
    for draw in range(40):
        x = random.standard_normal(200) + 1.0
        low, high = measures.interval(lambda v: float(v.mean()), x, draws=100, seed=draw)
        hits += low <= 1.0 <= high
    assert 33 <= hits <= 40


def test_what_cannot_be_computed_is_nan():
    X = np.random.default_rng(0).standard_normal((20, 2))
    one = np.zeros(20, int)
    assert np.isnan(measures.silhouette(X, one)[0])
    assert np.isnan(measures.calinski_harabasz(X, one)) and np.isnan(measures.davies_bouldin(X, one))
    assert np.isnan(measures.interval(measures.davies_bouldin, X, one)[0])


def test_noise_is_left_out_of_the_silhouette():
    X, y = make_blobs(200, centers=2, cluster_std=0.5, random_state=0)
    far = np.vstack([X, [[1e3, 1e3]]])
    assert measures.silhouette(far, np.append(y, -1))[0] == pytest.approx(measures.silhouette(X, y)[0])


@pytest.mark.parametrize("d", [1, 3])
def test_gaps_see_space_between_groups_and_not_within_one(d):
    random = np.random.default_rng(2)
    one = random.uniform(size=(500, d))
    assert choice.gaps(one)[1] < choice.EMPTY
    labels, width = choice.gaps(np.vstack([one, one + 2.0]))
    assert width > choice.EMPTY and labels.max() == 1
    assert len(set(labels[:500])) == 1


def test_mixtures_recover_planted_components():
    X, _ = make_blobs([200, 100, 300], n_features=3, cluster_std=1.0, random_state=1)
    best = min(choice.mixtures(choice.reduced(X)), key=lambda m: m.bic)
    assert len(best.weights) == 3
    np.testing.assert_allclose(np.sort(best.weights), [1 / 6, 1 / 3, 1 / 2], atol=0.02)
    np.testing.assert_allclose(best.memberships.sum(axis=1), 1.0)


def test_a_skewed_crowd_is_one_mode():
    random = np.random.default_rng(0)
    X = choice.reduced(random.gamma(4.0, size=(800, 2)))
    assert choice.choose(X).groups == 1


def groups_of(kind: str, seed: int) -> np.ndarray:
    """Three groups of 300 rows; "near" ones are Gaussians, two of which have no valley between them."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal((900, 2))
    made = {
        "near": lambda: normal,
        "tails": lambda: normal / np.sqrt(random.chisquare(4, (900, 1)) / 4),
        "boxes": lambda: random.uniform(-1.7, 1.7, (900, 2)),
    }
    X = made[kind]() + np.repeat([(0, 0), (2.5 if kind == "near" else 9, 0), (8, 6)], 300, axis=0)
    return choice.reduced((X - X.mean(axis=0)) / X.std(axis=0))


def test_gaussians_are_counted_without_a_valley():
    X = groups_of("near", 0)
    best = min(choice.mixtures(X), key=lambda m: m.cost)
    assert choice.joined(best).max() + 1 == 2 and choice.faithful(best, X)
    found = choice.choose(X)
    assert found.groups == 3 and found.low == 2
    np.testing.assert_allclose(np.bincount(found.labels), 300, atol=40)


@pytest.mark.parametrize("kind", ["tails", "boxes"])
def test_groups_that_are_no_gaussians_are_not_taken_for_them(kind):
    X = groups_of(kind, 1)
    best = min(choice.mixtures(X, 8, shapes=("equal", "sized"), starts=2), key=lambda m: m.cost)
    assert len(best.weights) > 3
    assert not choice.faithful(best, X)


def test_one_gaussian_within_another_is_not_taken_for_a_group():
    random = np.random.default_rng(5)
    X = choice.reduced(np.vstack([random.normal(c, s, (300, 2)) for c in (0.0, 12.0) for s in (1.0, 2.5)]))
    members = np.repeat(np.eye(4), 300, axis=0)
    within = choice.expect(X, members, "sized")
    assert within is not None and len(within.weights) == 4 and not choice.faithful(within, X)
    beside = members[:, 0] + members[:, 2] > 0
    alone = choice.expect(X[beside], members[beside][:, [0, 2]], "sized")
    assert alone is not None and choice.faithful(alone, X[beside])
