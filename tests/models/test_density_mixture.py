"""Density-based groups and Gaussian mixtures: as scikit-learn's where they should be, and the same for new rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.cluster
import sklearn.mixture
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.datasets import load_iris, load_wine, make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from everymodel import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureDetector,
    catalog,
)
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.models.cluster import dbscan
from everymodel.models.cluster._density import spanning_tree
from everymodel.scoring import tensors
from everymodel.scoring.steps import _nearest
from everymodel.scoring.steps.density import NearestGroup, Reachability
from everymodel.scoring.steps.mixture import Mixture, MixtureDensity

COVARIANCES = ("full", "tied", "diag", "spherical")
CLUSTERERS = [DBSCAN, HDBSCAN, OPTICS, GaussianMixture, BayesianGaussianMixture]


def blobs(n=600, p=3, centers=4, seed=0, noise=0, **more):
    X, y = make_blobs(n, p, centers=centers, random_state=seed, **more)
    if noise:
        random = np.random.default_rng(seed)
        X = np.r_[X, random.uniform(X.min(axis=0) - 1, X.max(axis=0) + 1, (noise, p))]
        y = np.r_[y, np.full(noise, -1)]
    return X, y


def packed(model):
    """The model's step after the way through a file."""
    made = catalog.module(catalog.find(type(model).__name__)).pack(model)
    settings, arrays = made.spec()
    return type(made).build(settings, tensors.read(tensors.write(arrays)))


def groups_of(answer):
    found = answer.argmax(axis=1)
    return np.where(found == answer.shape[1] - 1, -1, found)


SETS = {
    "blobs": blobs()[0],
    "noisy": blobs(noise=80, cluster_std=0.7)[0],
    "twenty columns": blobs(p=20, cluster_std=2.0)[0],
    "unequal": blobs(cluster_std=[0.2, 0.5, 1.0, 2.0])[0],
    "moons": make_moons(500, noise=0.06, random_state=0)[0],
    "circles": make_circles(500, noise=0.05, factor=0.5, random_state=0)[0],
    "iris": load_iris().data,
    "wine": StandardScaler().fit_transform(load_wine().data),
}


# --- finding the nearest rows


@pytest.mark.parametrize("few", [0, 100_000])  # boxes, where there are few columns, and products
def test_nearest_rows_are_those_of_a_full_sort(few, monkeypatch):
    monkeypatch.setattr(_nearest, "_BOX", 16 if few else 256)
    monkeypatch.setattr(_nearest, "_FEW_COLUMNS", few)
    monkeypatch.setattr(_nearest, "_CELLS", 3000)
    random = np.random.default_rng(3)
    for rows, asked in (
        (random.normal(size=(700, 4)), random.normal(size=(60, 4))),
        (random.integers(0, 3, size=(700, 3)) * 1.0, random.integers(0, 3, size=(60, 3)) * 1.0),
        (random.normal(size=(700, 2)) + 1e7, random.normal(size=(20, 2)) + 1e7),
        (random.normal(size=(700, 20)), random.normal(size=(60, 20)) * 1e5),
        (np.ones((300, 2)), np.ones((5, 2))),
    ):
        search = _nearest.Search(rows)
        assert (search._boxes is not None) == bool(few and len(rows) > 256)
        full = np.sqrt(((asked[:, None] - rows[None]) ** 2).sum(axis=2))
        for k in (1, 2, 4):
            distance, number = search.nearest(asked, k)
            order = np.lexsort((np.broadcast_to(np.arange(len(rows)), full.shape), full), axis=1)[:, :k]
            np.testing.assert_allclose(distance, np.take_along_axis(full, order, axis=1), rtol=1e-12)
            assert (number == order).mean() > 0.999
            tied = np.diff(distance, axis=1) == 0
            assert (np.diff(number, axis=1)[tied] > 0).all(), "of equally close rows the first one comes first"
            alone = [search.nearest(row[None], k) for row in asked[:9]]
            assert (np.concatenate([d for d, _ in alone]) == distance[:9]).all()
            assert (np.concatenate([i for _, i in alone]) == number[:9]).all()


def test_distances_of_enormous_rows_stay_numbers():
    distance, number = _nearest.Search(np.array([[0.0, 0.0], [1e300, 0.0]])).nearest(np.array([[1e300, -1e300]]), 1)
    assert number[0, 0] == 1 and np.isfinite(distance).all()


# --- DBSCAN


@pytest.mark.parametrize("name", SETS)
def test_dbscan_groups_are_scikit_learns_but_for_rows_between_groups(name, monkeypatch):
    monkeypatch.setattr(dbscan, "_CELLS", 5000)  # many small slices
    X = SETS[name]
    eps = DBSCAN().fit(X).eps_ * 1.0001
    ours, its = DBSCAN(eps).fit(X), sklearn.cluster.DBSCAN(eps=eps).fit(X)
    assert (ours.core_sample_indices_ == its.core_sample_indices_).all()
    core = ours.core_sample_indices_
    assert (ours.labels_[core] == its.labels_[core]).all()
    assert ((ours.labels_ < 0) == (its.labels_ < 0)).all()
    gap = np.sqrt(((X[:, None] - X[core][None]) ** 2).sum(axis=2))
    inside = ours.labels_ >= 0
    assert (ours.labels_[inside] == ours.labels_[core][gap.argmin(axis=1)][inside]).all()


def test_the_eps_found_bends_to_the_data_and_not_to_rows_far_off():
    X, y = blobs(1000, 20, 5)
    assert adjusted_rand_score(y, DBSCAN().fit(X).labels_) > 0.9
    near = DBSCAN().fit(X).eps_
    far = DBSCAN().fit(np.r_[X, [[1e5] * 20, [-1e4] * 20]]).eps_
    assert far == pytest.approx(near, rel=0.3)
    assert DBSCAN().fit(1000 * X).eps_ == pytest.approx(1000 * near)
    assert DBSCAN(eps="auto").fit(X).eps_ == near


def test_the_eps_found_separates_what_is_apart_and_tells_one_crowd_from_groups(monkeypatch):
    rows, labels = make_moons(800, noise=0.06, random_state=0)
    assert adjusted_rand_score(labels, DBSCAN().fit(rows).labels_) > 0.95
    X, y = blobs(1000, 3, 5, noise=100, cluster_std=0.7)
    assert adjusted_rand_score(y, DBSCAN().fit(X).labels_) > 0.9
    random = np.random.default_rng(0)
    for crowd in (random.normal(size=(800, 2)), random.uniform(size=(800, 3))):
        found = DBSCAN().fit(crowd).labels_
        assert np.bincount(found[found >= 0]).max() > 0.85 * len(crowd)  # not a dozen groups by chance
    X, y = blobs(1000, 20, 5)
    monkeypatch.setattr(dbscan, "_LOOKED_AT", 400)  # of many rows some are looked at
    assert adjusted_rand_score(y, DBSCAN().fit(X).labels_) > 0.9


def test_dbscan_says_how_near_a_row_is():
    model = DBSCAN(eps=1.0, min_samples=2).fit([[0.0], [0.5], [10.0], [10.5]])
    answer = model.predict_proba([[0.0], [1.0], [1.5], [1.6], [30.0], [10.75]])
    np.testing.assert_allclose(answer[:, 0], [1.0, 0.75, 0.5, 0.5 / 1.1, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(answer[4], [0.0, 0.5 / 19.5, 1 - 0.5 / 19.5])
    assert model.predict([[0.0], [1.0], [1.5], [1.6], [30.0], [10.75]]).tolist() == [0, 0, 0, -1, -1, 1]


# --- HDBSCAN


@pytest.mark.parametrize("neighbors", [1, 5])
@pytest.mark.parametrize("p", [2, 20])
def test_the_tree_is_as_short_as_can_be(p, neighbors):
    X, _ = blobs(500, p, 6, noise=30)
    X = np.r_[X, X[:40], np.round(X[:60])]  # with rows that are equal
    ends, length, reach, less = spanning_tree(X, neighbors)
    gap = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=2))
    np.testing.assert_allclose(reach, np.sort(gap, axis=1)[:, neighbors - 1], atol=1e-12)
    np.testing.assert_allclose(less, np.sort(gap, axis=1)[:, max(neighbors - 2, 0)], atol=1e-12)
    tie = np.maximum(np.maximum(gap, reach[:, None]), reach)
    np.testing.assert_allclose(length, tie[ends[:, 0], ends[:, 1]], atol=1e-12)
    np.fill_diagonal(tie, 0.0)
    shortest = minimum_spanning_tree(np.where(tie > 0, tie, 1e-6) * (1 - np.eye(len(X))))
    assert len(ends) == len(X) - 1 and length.sum() == pytest.approx(shortest.sum(), abs=1e-3)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "words", [{}, {"min_cluster_size": 20, "min_samples": 5}, {"min_cluster_size": 15, "allow_single_cluster": True}]
)
def test_hdbscan_groups_are_scikit_learns(name, words):
    X = SETS[name]
    ours, its = HDBSCAN(**words).fit(X), sklearn.cluster.HDBSCAN(copy=True, **words).fit(X)
    assert adjusted_rand_score(its.labels_, ours.labels_) > 0.97  # it cuts edges of equal length one after another
    assert ours.labels_.max() == its.labels_.max()
    same = (ours.labels_ >= 0) & (its.labels_ >= 0)
    assert np.median(np.abs(ours.probabilities_ - its.probabilities_)[same]) < 1e-9 if same.any() else True


def test_the_order_of_rows_does_not_matter():
    X = np.round(blobs(500, 2, noise=60)[0] * 4)  # whole numbers: edges of equal length everywhere
    order = np.random.default_rng(0).permutation(len(X))
    for method in ("eom", "leaf"):
        make = HDBSCAN(8, cluster_selection_method=method)
        first, again = make.fit(X).labels_, HDBSCAN(8, cluster_selection_method=method).fit(X[order]).labels_
        assert adjusted_rand_score(first[order], again) == 1.0 and ((first[order] < 0) == (again < 0)).all()


def test_hdbscan_answers_rows_of_the_fit_as_it_found_them():
    for X in SETS.values():
        model = HDBSCAN(min_cluster_size=12, min_samples=4).fit(X)
        answer = model.predict_proba(X)
        assert (groups_of(answer) == model.labels_).all()
        member = model.labels_ >= 0
        of_group = answer[np.flatnonzero(member), model.labels_[member]]
        np.testing.assert_allclose(2 * of_group - 1, model.probabilities_[member], atol=1e-12)
        assert (answer[~member, :-1] < 0.5).all()


def test_one_cloud_may_be_one_group_and_epsilon_joins_groups():
    X = np.random.default_rng(0).normal(size=(400, 2))
    for words in ({}, {"cluster_selection_epsilon": 0.8}):
        alone = HDBSCAN(30, allow_single_cluster=True, **words).fit(X)
        its = sklearn.cluster.HDBSCAN(30, allow_single_cluster=True, copy=True, **words).fit(X)
        assert set(alone.labels_) == {-1, 0} and (alone.labels_ == its.labels_).mean() > 0.99
        # a copy beside it makes the place of a row denser
        assert (alone.predict(X + 1e-9) == alone.labels_).mean() > 0.9 and alone.predict([[30.0, 0.0]]).tolist() == [-1]
    X, _ = blobs(600, 2, 5, cluster_std=0.5, seed=1)
    many = HDBSCAN(5, cluster_selection_method="leaf").fit(X).labels_.max()
    for method in ("eom", "leaf"):
        few = HDBSCAN(5, cluster_selection_method=method, cluster_selection_epsilon=0.6).fit(X).labels_.max()
        assert 0 < few < many
    share = HDBSCAN().fit(X).persistence_
    assert (share >= 0).all() and (share <= 1).all()


# --- OPTICS


@pytest.mark.parametrize("name", ["noisy", "unequal", "moons", "iris"])
def test_optics_walks_as_scikit_learn_does(name):
    X = SETS[name][::2]
    ours = OPTICS(8, xi=0.05, min_cluster_size=20).fit(X)
    its = sklearn.cluster.OPTICS(min_samples=8, min_cluster_size=20).fit(X)
    np.testing.assert_allclose(np.sort(ours.reachability_), np.sort(its.reachability_), atol=1e-9)
    np.testing.assert_allclose(ours.core_distances_, its.core_distances_, atol=1e-9)
    assert sorted(ours.ordering_) == list(range(len(X)))
    assert adjusted_rand_score(its.labels_, ours.labels_) > 0.97


def test_optics_by_default_finds_groups_and_not_every_little_valley():
    X, y = blobs(600, 5, 5, seed=5)
    assert adjusted_rand_score(y, OPTICS().fit(X).labels_) > 0.8


def test_optics_takes_new_rows_up_to_its_longest_step():
    rows = [40.0, 0.0, 0.1, 0.2, 0.3, 5.0, 5.1, 5.2, 5.3, 90.0]
    model = OPTICS(min_samples=3).fit(np.array(rows)[:, None])
    assert model.labels_.tolist() == [-1, 1, 1, 1, 1, 0, 0, 0, 0, -1]
    # the longest step around 0 is 0.2, around 5 it is 0.1
    told = model.predict([[0.45], [0.55], [5.25], [5.45], [40.0], [90.0], [39.0]])
    assert told.tolist() == [1, -1, 0, -1, -1, -1, -1]


# --- new rows


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda X: DBSCAN(DBSCAN(min_samples=8).fit(X).eps_, min_samples=8), ("noisy", "twenty columns", "circles")),
        (lambda X: HDBSCAN(25, min_samples=5), ("noisy", "twenty columns", "unequal", "moons")),
        (lambda X: OPTICS(8, min_cluster_size=60), ("noisy", "twenty columns", "iris")),
        (lambda X: GaussianMixture(4, random_state=0), ("blobs", "noisy", "twenty columns")),
    ],
    ids=["DBSCAN", "HDBSCAN", "OPTICS", "GaussianMixture"],
)
def test_a_new_row_gets_the_group_that_a_fit_with_it_would_give(make, names):
    right = total = 0
    for name in names:
        X = SETS[name]
        full = make(X).fit(X)
        core = getattr(full, "core_sample_indices_", np.flatnonzero(full.labels_ >= 0))
        for i in np.random.default_rng(1).choice(core, 10, replace=False):
            others = np.arange(len(X)) != i
            part = make(X).fit(X[others])
            if adjusted_rand_score(part.labels_, full.labels_[others]) < 0.98:
                continue  # the groups themselves have changed
            group = part.predict(X[i : i + 1])[0]
            right += int(group >= 0 and (full.labels_[others][part.labels_ == group] == full.labels_[i]).mean() > 0.9)
            total += 1
    assert total >= 20 and right >= 0.96 * total


@pytest.mark.parametrize("make", CLUSTERERS)
def test_a_row_alone_is_answered_as_among_others_and_after_a_file(make):
    for p in (3, 20):
        X, _ = blobs(400, p, noise=30)
        model = make().fit(X)
        new = np.r_[X[:50] + 0.1, X[:5], [[1e6] * p], [[-1e200] * p]]
        step = packed(model)
        with np.errstate(over="raise", invalid="raise"):
            answer = step(new)
        assert np.isfinite(answer).all() and np.allclose(answer.sum(axis=1), 1)
        for i in range(len(new)):
            assert (step(new[i : i + 1]) == answer[i]).all()
        assert (answer == model.predict_proba(new)).all()
        assert type(step).holds_rows == (make in (DBSCAN, HDBSCAN, OPTICS))


# --- mixtures


def _same_in_scikit_learn(model, X):
    its = sklearn.mixture.GaussianMixture(len(model.means_), covariance_type=model.covariance_type, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        its.fit(X)
    its.weights_, its.means_, its.covariances_ = model.weights_, model.means_, model.covariances_
    kind, covariance = model.covariance_type, np.asarray(model.covariances_)
    if kind in ("full", "tied"):
        its.precisions_cholesky_ = np.swapaxes(np.linalg.inv(np.linalg.cholesky(covariance)), -1, -2)
    else:
        its.precisions_cholesky_ = 1 / np.sqrt(covariance)
    return its


@pytest.mark.parametrize("kind", COVARIANCES)
def test_densities_are_scikit_learns(kind):
    X = blobs(p=5, cluster_std=2.0)[0] * np.array([1.0, 100.0, 1e-3, 1.0, 7.0])
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    its = _same_in_scikit_learn(model, X)
    rows = np.r_[X, 30 * X, X[:5] * 1e5]  # the last ones so far off that every density is zero
    np.testing.assert_allclose(model.predict_proba(rows), its.predict_proba(rows), atol=1e-9)
    np.testing.assert_allclose(model.score_samples(rows), its.score_samples(rows), rtol=1e-9)
    assert model.bic_ == pytest.approx(its.bic(X)) and model.aic_ == pytest.approx(its.aic(X))
    assert (model.labels_ == model.predict(X)).all()
    whole = GaussianMixtureDetector(3, covariance_type=kind, random_state=0).fit(X)
    np.testing.assert_allclose(whole.score_samples(rows), model.score_samples(rows), rtol=1e-12)


@pytest.mark.parametrize("kind", COVARIANCES)
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
def test_bayesian_responsibilities_are_scikit_learns(kind, prior):
    X = StandardScaler().fit_transform(blobs(p=4)[0])  # scaled already: both fit the same rows
    words = {"covariance_type": kind, "weight_concentration_prior_type": prior, "random_state": 0, "max_iter": 300}
    ours = BayesianGaussianMixture(8, **words).fit(X)
    its = sklearn.mixture.BayesianGaussianMixture(n_components=8, **words).fit(X)
    rows = np.r_[X, 30 * X]
    expected = its.predict_proba(rows)[:, ours.groups_]
    some = expected.sum(axis=1) > 1e-6  # clouds without rows are no groups, and their share goes to the others
    expected = expected[some] / expected[some].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(rows)[some], expected, atol=1e-7)
    np.testing.assert_allclose(ours.score_samples(rows), its.score_samples(rows), rtol=1e-7)
    assert set(ours.labels_) == set(range(len(ours.groups_)))


def test_the_number_of_clouds_is_found_whatever_the_units():
    X, y = blobs(800, 4, 5, seed=3)
    for factor in (1.0, np.array([1e-4, 1.0, 1e5, 10.0])):
        model = GaussianMixture(random_state=0).fit(X * factor)
        assert len(model.means_) == 5 and adjusted_rand_score(y, model.labels_) > 0.95
        assert min(model.bics_, key=model.bics_.get) == 5 and model.bics_[5] == pytest.approx(model.bic_)
    assert len(GaussianMixture(random_state=0).fit(np.random.default_rng(0).normal(size=(300, 3))).means_) == 1
    small = np.random.default_rng(0).uniform(size=(60, 20))  # clouds of fewer rows than columns fit anything
    assert len(GaussianMixture(random_state=0).fit(small).means_) <= 2


def test_starts_are_better_than_one_run_of_k_means():
    ours, its = [], []
    for seed in range(4):
        X, y = make_blobs(1500, 8, centers=10, cluster_std=3.0, random_state=seed)
        ours.append(adjusted_rand_score(y, GaussianMixture(10, random_state=0).fit(X).labels_))
        its.append(adjusted_rand_score(y, sklearn.mixture.GaussianMixture(10, random_state=0).fit(X).predict(X)))
    assert np.mean(ours) > np.mean(its)


def test_rows_beyond_all_numbers_belong_to_the_cloud_they_are_fewest_deviations_from():
    step = Mixture(np.array([[0.0], [1.0]]), np.array([[1.0], [0.1]]), np.zeros(2))
    with np.errstate(over="raise", invalid="raise"):
        assert step(np.array([[1e200], [-1e308], [0.0]])).argmax(axis=1).tolist() == [1, 1, 0]
        density = MixtureDensity(step.mean, step.axes, step.offset)(np.array([[1e200], [1e10], [0.0]]))
    assert np.isfinite(density).all() and density[0] > density[1] > density[2]


def test_thin_places_are_odd():
    X, _ = blobs(500, 4, 3)
    random = np.random.default_rng(1)
    rows = np.r_[X, random.uniform(X.min(axis=0), X.max(axis=0), (25, 4))]
    odd = np.r_[np.zeros(500), np.ones(25)]
    model = GaussianMixtureDetector(contamination=0.05, random_state=0).fit(rows)
    assert roc_auc_score(odd, -model.score_samples(rows)) > 0.95
    assert np.mean(model.predict(rows) == -1) == pytest.approx(0.05, abs=0.01)


# --- input that is bad or odd


@pytest.mark.parametrize("make", [DBSCAN, HDBSCAN, OPTICS])
def test_too_few_rows_are_noise_and_it_is_said(make):
    with pytest.warns(UserWarning, match="3 rows"):
        model = make(min_samples=5).fit(np.random.default_rng(0).normal(size=(3, 2)))
    assert (model.labels_ == -1).all()
    answer = packed(model)(np.zeros((4, 2)))
    assert answer.shape == (4, 1) and (answer == 1).all()


@pytest.mark.parametrize("make", CLUSTERERS)
@pytest.mark.parametrize(
    "rows",
    [
        np.ones((50, 3)),
        np.repeat([[0.0], [1.0]], 40, axis=0),
        np.random.default_rng(0).normal(size=(100, 1)),
        np.r_[np.zeros((90, 2)), np.random.default_rng(0).normal(size=(10, 2))],
        np.random.default_rng(0).normal(size=(30, 100)),
        np.random.default_rng(0).integers(0, 3, (200, 2)) * 1.0,
        np.random.default_rng(0).normal(size=(60, 2)) + 1e12,
        np.random.default_rng(0).normal(size=(60, 2)) * 1e-200,
    ],
    ids=["equal", "two values", "one column", "mostly equal", "wide", "whole numbers", "far from zero", "minute"],
)
def test_odd_rows_keep_their_groups(make, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make().fit(rows)
    step = packed(model)
    answer = step(rows)
    k = model.labels_.max() + 1
    assert np.isfinite(answer).all() and answer.shape[1] in (k, k + 1)
    found = answer.argmax(axis=1)
    assert (np.where(found == k, -1, found) == model.labels_).mean() >= 0.99


def test_two_values_are_two_groups():
    rows = np.repeat([[0.0], [1.0]], 40, axis=0)
    for model in (DBSCAN(), HDBSCAN(), OPTICS(), GaussianMixture(random_state=0)):
        assert adjusted_rand_score(rows[:, 0], model.fit(rows).labels_) == 1.0


@pytest.mark.parametrize("make", [*CLUSTERERS, GaussianMixtureDetector])
def test_rows_that_are_no_rows_are_refused(make):
    for bad, words in (([[np.nan]] * 9, "NaN"), ([[np.inf]] * 9, "infinity"), (np.ones(5), "2D"), ([[1e200]] * 9, "")):
        with pytest.raises(ValueError, match=words or "scale them"):
            make().fit(bad)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (DBSCAN(eps=0), "eps=0"),
        (DBSCAN(eps="big"), "big"),
        (DBSCAN(min_samples=0), "min_samples=0"),
        (HDBSCAN(min_cluster_size=1), "min_cluster_size=1"),
        (HDBSCAN(min_samples=2.5), "min_samples=2.5"),
        (HDBSCAN(cluster_selection_method="best"), "eom"),
        (HDBSCAN(cluster_selection_epsilon=-1), "-1"),
        (OPTICS(min_samples=1), "min_samples=1"),
        (OPTICS(xi=1.0), "xi=1.0"),
        (GaussianMixture(0), "n_components=0"),
        (GaussianMixture(covariance_type="round"), "round"),
        (GaussianMixture(reg_covar=-1), "reg_covar=-1"),
        (BayesianGaussianMixture(None), "None"),
        (GaussianMixtureDetector(contamination=0.7), "0.7"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(model, words):
    with pytest.raises(ParameterError, match=words):
        model.fit(np.random.default_rng(0).normal(size=(40, 2)))


def test_clouds_that_cannot_be_are_explained():
    with pytest.raises(DataError, match="3 rows for n_components=5"):
        GaussianMixture(5).fit(np.eye(3))
    with pytest.raises(DataError, match="reg_covar"):
        GaussianMixture(3, reg_covar=0).fit(np.random.default_rng(0).normal(size=(30, 20)))


def _steps():
    random = np.random.default_rng(0)
    rows, group = random.normal(size=(6, 3)), np.array([0, 0, 1, 1, -1, 0], dtype=np.int32)
    yield NearestGroup(rows, group, np.ones(2))
    yield Reachability(rows, np.ones(6), group, np.ones(6), np.ones(2), np.ones(2), 2)
    for step in (Mixture, MixtureDensity):
        for axes in (random.normal(size=(2, 3, 3)), random.normal(size=(1, 3, 3)), np.ones((2, 3)), np.ones((1, 3))):
            yield step(random.normal(size=(2, 3)), axes, np.zeros(2))


@pytest.mark.parametrize("step", _steps(), ids=lambda step: f"{step.word}")
def test_damaged_arrays_are_refused(step):
    settings, arrays = step.spec()
    assert len(type(step).build(settings, arrays)(np.zeros((4, 3)))) == 4
    for name, array in arrays.items():
        wrong = [array[..., :-1], array.astype(object), np.full_like(array, 99), array[None]]
        if array.dtype.kind == "f":
            wrong = [array[..., :-1], array.astype(object), np.full_like(array, np.nan), array[None]]
        for broken in wrong:
            try:
                made = type(step).build(settings, {**arrays, name: broken})
                assert name == "rows" and broken.shape == (6, 2)  # only what is asked tells that a column is missing
                made(np.zeros((4, 3)))
            except ModelFileError:
                continue
            raise AssertionError(f"{name} {broken.shape} {broken.dtype} was taken")
    for neighbors in (0, 7, "two", 1.5) if "neighbors" in settings else ():
        with pytest.raises(ModelFileError):
            type(step).build({**settings, "neighbors": neighbors}, arrays)
    with pytest.raises(ModelFileError):
        step(np.zeros((4, 5)))
