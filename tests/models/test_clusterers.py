"""Methods that are told how many groups there are, mean shift, and the steps that they become."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.cluster as sk
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits, load_iris, load_wine, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

import everymodel as em
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.models.cluster._ward import ward_tree
from everymodel.models.cluster.fuzzy_c_means import fuzzifier
from everymodel.models.cluster.fuzzy_c_means import pack as fuzzy_pack
from everymodel.scoring.steps.groups import Centers, Linkage, nearest_center, squared_distances

TOLD = {  # methods that are told the number of groups
    "kmeans": em.KMeans,
    "mini_batch": em.MiniBatchKMeans,
    "fuzzy": em.FuzzyCMeans,
    "agglomerative": em.AgglomerativeClustering,
    "spectral": em.SpectralClustering,
}


def blobs(n: int, p: int, k: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, n, p, k])
    at = rng.integers(k, size=n)
    return rng.uniform(-10, 10, (k, p))[at] + spread * rng.normal(size=(n, p)), at


# --- all of them


@pytest.mark.parametrize("model", TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("clusters", [0, -1, 2.5, "three", True, None])
def test_impossible_numbers_of_groups_are_refused(model, clusters):
    with pytest.raises((ParameterError, ValueError), match="n_clusters"):
        model(n_clusters=clusters).fit(load_iris().data)


@pytest.mark.parametrize("model", TOLD.values(), ids=TOLD)
def test_fewer_rows_than_groups_are_refused(model):
    with pytest.raises(DataError, match=r"4 rows.*5 groups.*at most 4"):
        model(n_clusters=5).fit(load_iris().data[:4])


@pytest.mark.parametrize("model", TOLD.values(), ids=TOLD)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fewer_different_rows_than_groups_are_refused(model):
    with pytest.raises(DataError, match="equal"):
        model(n_clusters=2).fit(np.ones((50, 3)))
    with pytest.raises(DataError, match="2 different rows"):
        model(n_clusters=3).fit(np.repeat([[0.0, 1.0], [5.0, 5.0]], 30, axis=0))


@pytest.mark.parametrize("model", [*TOLD.values(), em.MeanShift], ids=[*TOLD, "mean_shift"])
@pytest.mark.parametrize("cell", [np.nan, np.inf, 1e200])
def test_cells_that_are_no_numbers_are_refused(model, cell):
    X = load_iris().data.copy()
    X[3, 1] = cell
    with pytest.raises(ValueError, match=r"NaN|infinity|too large"):
        model().fit(X)


@pytest.mark.parametrize("model", [*TOLD.values(), em.MeanShift], ids=[*TOLD, "mean_shift"])
def test_one_column_is_enough(model):
    at = np.random.default_rng(0).integers(3, size=300)
    X = (5.0 * at + 0.1 * np.random.default_rng(1).normal(size=300))[:, None]
    fitted = model(**({} if model is em.MeanShift else {"n_clusters": 3})).fit(X)
    assert adjusted_rand_score(at, fitted.labels_) > 0.98


@pytest.mark.parametrize("model", TOLD.values(), ids=TOLD)
def test_the_same_seed_gives_the_same_groups_and_one_group_is_possible(model):
    X = load_iris().data
    words = {"random_state": 5} if "random_state" in model().get_params() else {}
    a, b = model(n_clusters=4, **words).fit(X), model(n_clusters=4, **words).fit(X)
    np.testing.assert_array_equal(a.labels_, b.labels_)
    one = model(n_clusters=1, **words).fit(X)
    assert set(one.labels_) == {0} and (one.predict_proba(X) == 1).all()


@pytest.mark.parametrize("model", [*TOLD.values(), em.MeanShift], ids=[*TOLD, "mean_shift"])
def test_scale_and_place_of_the_columns_do_not_matter(model):
    X, at = blobs(400, 3, 3, 0.5, seed=2)
    for factor, shift in ((1e-8, 0.0), (1e6, 0.0), (1.0, 1e7)):
        words = {} if model is em.MeanShift else {"n_clusters": 3}
        fitted = model(**words).fit(X * factor + shift)
        assert adjusted_rand_score(at, fitted.labels_) == 1.0, (factor, shift)
        assert (fitted.predict(X * factor + shift) == fitted.labels_).all()
        assert np.isfinite(fitted.predict_proba(X * factor + shift)).all()


# --- k-means


@pytest.mark.parametrize(
    ("X", "k"),
    [
        (blobs(600, 5, 12, 1.5)[0], 12),
        (blobs(1000, 2, 15, 0.6)[0], 15),
        (blobs(4000, 10, 30, 1.0)[0], 30),
        (load_digits().data, 10),
        (StandardScaler().fit_transform(load_wine().data), 3),
    ],
    ids=["600x5", "1000x2", "4000x10", "digits", "wine"],
)
def test_one_fit_is_as_good_as_the_best_of_many(X, k):
    best = min(sk.KMeans(k, n_init=1, random_state=s).fit(X).inertia_ for s in range(20))
    found = [em.KMeans(k, random_state=s).fit(X) for s in range(3)]
    assert np.median([f.inertia_ for f in found]) <= best * 1.001
    assert max(f.inertia_ for f in found) <= best * 1.01
    exact = ((X - found[0].cluster_centers_[found[0].labels_]) ** 2).sum()
    assert found[0].inertia_ == pytest.approx(exact, rel=1e-9)
    assert (found[0].labels_ == found[0].predict(X)).all()
    assert found[0].score(X) == pytest.approx(-found[0].inertia_)


def test_kmeans_centres_are_the_means_of_their_rows():
    X = load_iris().data
    fitted = em.KMeans(3, random_state=0).fit(X)
    for j in range(3):
        np.testing.assert_allclose(fitted.cluster_centers_[j], X[fitted.labels_ == j].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.transform(X), cdist(X, fitted.cluster_centers_), atol=1e-12)


def test_kmeans_sees_groups_that_are_tiny_beside_the_whole():
    """Four tight groups at each of two places a million widths apart: float32 could not tell them apart."""
    rng = np.random.default_rng(0)
    inner = np.array([[0.0, 0], [6, 0], [0, 6], [6, 6]])
    at = rng.integers(8, size=4000)
    X = np.where(at[:, None] < 4, 0.0, 1e6) + inner[at % 4] + 0.5 * rng.normal(size=(4000, 2))
    assert adjusted_rand_score(at, em.KMeans(8, random_state=0).fit(X).labels_) > 0.999


def test_kmeans_with_as_many_groups_as_rows():
    X = load_iris().data[:20] + np.arange(20)[:, None]
    fitted = em.KMeans(20, random_state=0).fit(X)
    assert sorted(fitted.labels_) == list(range(20)) and fitted.inertia_ == pytest.approx(0, abs=1e-12)


def test_a_far_row_does_not_spoil_kmeans():
    X, at = blobs(500, 2, 3, 0.3, seed=4)  # two of the groups touch
    fitted = em.KMeans(4, random_state=0).fit(np.concatenate([X, [[1e9, 1e9]]]))
    assert adjusted_rand_score(at, fitted.labels_[:-1]) > 0.98


# --- fuzzy c-means


def test_memberships_and_centres_belong_together():
    X = load_iris().data
    fitted = em.FuzzyCMeans(3, m=2.0, random_state=0, tol=1e-5).fit(X)
    d = cdist(X, fitted.cluster_centers_)
    expected = 1 / ((d[:, :, None] / d[:, None, :]) ** 2).sum(axis=2)
    np.testing.assert_allclose(fitted.memberships_, expected, rtol=1e-9)
    w = fitted.memberships_**2
    np.testing.assert_allclose(fitted.cluster_centers_, (w.T @ X) / w.sum(axis=0)[:, None], rtol=1e-3)
    assert fitted.fpc_ == pytest.approx((fitted.memberships_**2).sum() / len(X))
    assert fitted.coincident_ == []


def test_the_fuzzifier_follows_from_the_size_of_the_data():
    assert fuzzifier(50_000, 20) == pytest.approx(1.10, abs=0.005)  # Schwaemmle and Jensen (2010)
    assert fuzzifier(1000, 2) == 2.0
    assert 1 < fuzzifier(10, 500) < fuzzifier(10, 20)


def test_many_columns_do_not_make_centres_coincide():
    X, at = blobs(5000, 20, 10, 4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = em.FuzzyCMeans(10, random_state=0).fit(X)
    assert adjusted_rand_score(at, fitted.labels_) > 0.99 and fitted.fpc_ > 0.9


def test_coinciding_centres_are_said():
    X, _ = blobs(5000, 20, 10, 4.0)
    with pytest.warns(ConvergenceWarning, match=r"coincide with m=2.*Lower m"):
        fitted = em.FuzzyCMeans(10, m=2.0, random_state=0).fit(X)
    assert len(fitted.coincident_) > 10 and fitted.fpc_ < 0.15


def test_automatic_fuzzifier_is_lowered_until_centres_part():
    """With the rule's m, groups so wide run into one another."""
    X, _ = blobs(2000, 8, 8, 8.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = em.FuzzyCMeans(8, random_state=0).fit(X)
    assert fitted.coincident_ == [] and fitted.m_ < fuzzifier(*X.shape)


@pytest.mark.parametrize("m", [1.0, 0.5, np.nan, np.inf, "soft", True])
def test_impossible_fuzzifiers_are_refused(m):
    with pytest.raises(ParameterError, match="m="):
        em.FuzzyCMeans(3, m=m).fit(load_iris().data)


def test_an_end_before_convergence_is_said():
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        em.FuzzyCMeans(3, m=2.0, max_iter=2, tol=1e-9, random_state=0).fit(load_iris().data)


def test_a_row_on_a_centre_belongs_to_it():
    fitted = em.FuzzyCMeans(3, random_state=0).fit(load_iris().data)
    np.testing.assert_allclose(fuzzy_pack(fitted)(fitted.cluster_centers_), np.eye(3), atol=1e-12)


# --- agglomerative


@pytest.mark.parametrize("how", ["ward", "complete", "average", "single"])
def test_the_tree_is_that_of_scikit_learn(how):
    X = StandardScaler().fit_transform(load_wine().data)
    for k in (2, 3, 7):
        ours = em.AgglomerativeClustering(k, linkage=how).fit(X)
        theirs = sk.AgglomerativeClustering(k, linkage=how).fit(X)
        assert adjusted_rand_score(theirs.labels_, ours.labels_) == 1.0
    np.testing.assert_allclose(ours.distances_, linkage(X, how)[:, 2], rtol=1e-9)


@pytest.mark.parametrize(
    "X",
    [
        np.random.default_rng(0).normal(size=(700, 4)),
        np.random.default_rng(1).integers(0, 3, (800, 3)).astype(float),  # few different rows, many ties
        np.eye(120),  # all distances equal
        np.stack(np.meshgrid(np.arange(15.0), np.arange(15.0)), -1).reshape(-1, 2),
        2.0 ** np.arange(20)[:, None],  # one pair after the other
        np.ones((60, 2)),
        np.array([[0.0], [1.0]]),
    ],
    ids=["normal", "levels", "unit", "grid", "chain", "equal", "two"],
)
def test_wards_tree_is_a_tree_and_as_good_as_scipys(X):
    children, heights = ward_tree(X)
    n = len(X)
    assert children.shape == (n - 1, 2) and sorted(children.ravel()) == list(range(2 * n - 2))
    assert (children.max(axis=1) < n + np.arange(n - 1)).all() and (np.diff(heights) >= 0).all()
    theirs = linkage(X, "ward")
    # Half the squares of the heights sum up to the total variance, whatever was done about ties.
    assert (heights**2).sum() / 2 == pytest.approx(((X - X.mean(axis=0)) ** 2).sum(), rel=1e-9, abs=1e-9)
    if len(np.unique(theirs[:, 2])) == n - 1:  # no ties
        np.testing.assert_allclose(heights, theirs[:, 2], rtol=1e-8, atol=1e-8 * theirs[-1, 2])
        ours = np.column_stack([children, heights, _sizes(children)])
        for k in (2, 5):
            assert adjusted_rand_score(fcluster(theirs, k, "maxclust"), fcluster(ours, k, "maxclust")) == 1.0


def _sizes(children: np.ndarray) -> np.ndarray:
    n = len(children) + 1
    size = np.ones(2 * n - 1)
    for t, (a, b) in enumerate(children):
        size[n + t] = size[a] + size[b]
    return size[n:]


def test_new_rows_go_where_the_linkage_says():
    X, _ = blobs(200, 3, 4, 2.0, seed=3)
    new = np.random.default_rng(9).uniform(-12, 12, (80, 3))
    for how in ("ward", "complete", "average", "single"):
        fitted = em.AgglomerativeClustering(4, linkage=how).fit(X)
        groups = [X[fitted.labels_ == j] for j in range(4)]
        if how == "ward":  # what joining adds to the sum of squares

            def squares(rows):
                return ((rows - rows.mean(axis=0)) ** 2).sum()

            cost = np.array([[squares(np.vstack([g, x])) - squares(g) for g in groups] for x in new])
        else:
            reduce = {"complete": np.max, "average": np.mean, "single": np.min}[how]
            cost = np.array([[reduce(np.sqrt(((g - x) ** 2).sum(axis=1))) for g in groups] for x in new])
        np.testing.assert_array_equal(fitted.predict(new), cost.argmin(axis=1))
        if how != "ward":
            assert (fitted.predict(X) == fitted.labels_).all()


def test_the_largest_group_is_the_first():
    X = np.concatenate([np.full((n, 2), float(i)) + 1e-3 * np.arange(n)[:, None] for i, n in enumerate((5, 40, 12))])
    assert np.bincount(em.AgglomerativeClustering(3).fit(X).labels_).tolist() == [40, 12, 5]


@pytest.mark.parametrize("how", ["ward", "average"])
def test_the_dendrogram_is_plain_and_adds_up(how):
    X, _ = blobs(300, 2, 5, 0.5)
    fitted = em.AgglomerativeClustering(5, linkage=how).fit(X)
    drawn = fitted.dendrogram(12)
    leaves, merges = drawn["leaves"], drawn["merges"]
    assert len(merges) == 12 and len(leaves) == 13 and sum(leaf["rows"] for leaf in leaves) == 300
    rows = [leaf["rows"] for leaf in leaves]
    for a, b, height, size in merges:
        assert size == rows[a] + rows[b] and height > 0
        rows.append(size)
    assert merges[-1][3] == 300 and [m[2] for m in merges] == sorted(m[2] for m in merges)
    for group in range(5):
        of = sum(leaf["rows"] for leaf in leaves if leaf["group"] == group)
        assert of == (fitted.labels_ == group).sum()  # more leaves than groups: none is split
    small = em.AgglomerativeClustering(2).fit(X[:4]).dendrogram()
    assert len(small["merges"]) == 3 and all(leaf["rows"] == 1 for leaf in small["leaves"])


def test_pairs_that_do_not_fit_into_memory_are_refused():
    with pytest.raises(DataError, match=r"pairs.*ward"):
        em.AgglomerativeClustering(2, linkage="average").fit(np.arange(15_001.0)[:, None])
    with pytest.raises(ParameterError, match="centroid"):
        em.AgglomerativeClustering(2, linkage="centroid").fit(load_iris().data)


# --- spectral and mean shift


@pytest.mark.parametrize(
    ("X", "y"),
    [make_moons(800, noise=0.05, random_state=0), make_circles(800, noise=0.04, factor=0.5, random_state=0)],
    ids=["moons", "rings"],
)
def test_spectral_clustering_follows_shapes_also_for_new_rows(X, y):
    fitted = em.SpectralClustering(2, random_state=0).fit(X[:600])
    assert adjusted_rand_score(y[:600], fitted.labels_) == 1.0
    assert adjusted_rand_score(y[600:], fitted.predict(X[600:])) > 0.98
    assert (fitted.predict(X[:600]) == fitted.labels_).all()


def test_spectral_clustering_of_parts_without_links():
    """Fewer parts than groups, more parts than groups, and as many: each is its own case."""
    X, at = blobs(900, 3, 6, 0.2, seed=1)
    for k in (6, 8, 3):
        fitted = em.SpectralClustering(k, random_state=0).fit(X)
        assert len(np.unique(fitted.labels_)) == k
        if k >= 6:  # groups are within planted ones
            assert all(len(set(at[fitted.labels_ == j])) == 1 for j in range(k))
    assert fitted.n_neighbors_ > 10 and fitted.n_parts_ <= 3


def test_spectral_clustering_refuses_what_takes_too_long():
    with pytest.raises(DataError, match=r"30001 rows.*sample"):
        em.SpectralClustering(2).fit(np.arange(30_001.0)[:, None])


def test_mean_shift_finds_the_number_of_groups():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        at = rng.integers(5, size=600)
        X = 8 * np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2]])[at] + rng.normal(size=(600, 2))
        fitted = em.MeanShift().fit(X)
        assert adjusted_rand_score(at, fitted.labels_) > 0.99 and len(fitted.cluster_centers_) == 5
    one = em.MeanShift().fit(np.ones((30, 2)))
    assert set(one.labels_) == {0} and (one.predict(np.ones((2, 2))) == 0).all()
    with pytest.raises(ParameterError, match="bandwidth"):
        em.MeanShift(bandwidth=0).fit(X)


def test_mini_batches_can_arrive_one_by_one():
    X, at = blobs(3000, 4, 5, 0.5)
    model = em.MiniBatchKMeans(5, random_state=0, n_init=3)
    for start in range(0, 3000, 500):
        model.partial_fit(X[start : start + 500])
    assert adjusted_rand_score(at, model.predict(X)) > 0.7


# --- steps


def test_distances_are_exact_and_the_same_for_a_row_alone():
    rng = np.random.default_rng(0)
    for p, k in ((1, 1), (3, 40), (30, 7)):
        X, centers = rng.normal(size=(900, p)) + 1e6, rng.normal(size=(k, p)) + 1e6
        got = squared_distances(X, centers)
        np.testing.assert_allclose(got, cdist(X, centers, "sqeuclidean"), rtol=1e-12)
        for i in (0, 899):
            assert (squared_distances(X[i : i + 1], centers)[0] == got[i]).all()
        label, square = nearest_center(X, centers)
        assert (label == got.argmin(axis=1)).all()
        np.testing.assert_allclose(square, got.min(axis=1), rtol=1e-12)
    assert squared_distances(np.zeros((0, 3)), np.zeros((2, 3))).shape == (0, 2)


def test_ties_between_centres_go_to_the_first():
    centers = np.array([[0.0, 1], [0, -1], [0, 1], [5, 5]])
    rows = np.array([[3.0, 0], [0, 1], [0.1, -0.0]])
    label, _ = nearest_center(rows, centers)
    assert label.tolist() == squared_distances(rows, centers).argmin(axis=1).tolist() == [0, 0, 0]


def test_damaged_steps_are_refused():
    good = Centers(np.eye(2), 1.0, weights=np.ones(2))
    rows = Linkage(np.eye(3), np.array([0, 1, 3]), "average")
    for step in (good, rows):
        same = type(step).build(*step.spec())
        X = np.random.default_rng(0).normal(size=(5, step.rows.shape[1] if step is rows else 2))
        assert (same(X) == step(X)).all()
    broken = [
        (Centers, {"centers": np.eye(2), "weights": np.ones(3)}),
        (Centers, {"centers": np.eye(2), "weights": np.array([1.0, -1.0])}),
        (Centers, {"centers": np.full((2, 2), np.nan)}),
        (Linkage, {"rows": np.eye(3), "ends": np.array([0, 1, 4])}),
        (Linkage, {"rows": np.eye(3), "ends": np.array([0, 2, 1, 3])}),
        (Linkage, {"rows": np.eye(3), "ends": np.array([0.0, 3.0])}),
        (Linkage, {"rows": np.eye(3), "ends": np.array([0, 0, 3])}),
        (Linkage, {"rows": np.full((3, 2), np.inf), "ends": np.array([0, 3])}),
    ]
    for step, arrays in broken:
        settings = {"kind": "single"} if step is Linkage else {}
        with pytest.raises(ModelFileError):
            step.build(settings, arrays)
    for settings in ({"kind": "median"}, {"kind": "single", "spread": 0}):
        with pytest.raises(ModelFileError):
            Linkage.build(settings, {"rows": np.eye(3), "ends": np.array([0, 3])})
    assert Linkage.holds_rows and not Centers.holds_rows
