"""Maps: neighbours stay neighbours, new rows find their place, and files answer as the models do."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.manifold
from sklearn.datasets import load_digits, make_swiss_roll
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.models.manifold import _descent
from everymodel.scoring.steps._field import Field
from everymodel.scoring.steps.maps import MapAverage, MapBarycenter, MapDistances, MapGeodesic, MapNeighbors


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


@pytest.fixture(scope="module")
def drawn(digits):
    X, _ = digits
    return em.TSNE(random_state=0).fit(X[:1200])


@pytest.fixture(scope="module")
def roll():
    return make_swiss_roll(500, random_state=0)


def step_of(name: str, model):
    made = catalog.module(catalog.find(name, kind="reducer")).pack(model)
    return type(made).build(*made.spec())


# ---------------------------------------------------------------------- t-SNE


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_grid_sums_like_all_pairs(d):
    rng = np.random.default_rng(d)
    Y = rng.normal(size=(400, d)) * 6.0
    gap = Y[:, None] - Y
    near = 1.0 / (1.0 + np.square(gap).sum(axis=2))
    slope = -2.0 * (near**2)[:, :, None] * gap
    field = Field(0.25)
    field.set(Y)
    phi, found = field.slopes(Y)
    assert np.abs(phi - near.sum(axis=1)).max() < 0.01 * near.sum(axis=1).max()
    assert (
        np.abs(found - slope.sum(axis=1)).max() < (0.2 if d == 3 else 0.05) * np.abs(slope.sum(axis=1)).max()
    )  # space has a coarser grid
    np.testing.assert_allclose(field.values(Y), phi, rtol=1e-9)


def test_pairs_and_the_grid_push_alike():
    Y = np.random.default_rng(0).normal(size=(600, 2)) * 5.0
    exact = _descent.repulsion(Y[:40] / 50.0, Field(0.5))[0]
    np.testing.assert_allclose(exact, [np.sum(1 / (1 + np.square(y - Y[:40] / 50).sum(axis=1))) for y in Y[:40] / 50])
    field = Field(0.25)
    field.set(Y)
    far = Y * 100.0  # so few places so far apart that all pairs are looked at
    assert np.abs(_descent.repulsion(far, Field(0.5))[0] - 1.0).mean() < 0.05


def test_tsne_keeps_neighbours(digits, drawn):
    X, _ = digits
    assert trustworthiness(X[:1200], drawn.embedding_, n_neighbors=10) >= 0.985
    assert drawn.kl_divergence_ < 2.0 and drawn.n_iter_ == 400


def test_tsne_places_new_rows_among_their_like(digits, drawn):
    X, y = digits
    vote = KNeighborsClassifier(10).fit(drawn.embedding_, y[:1200])
    assert vote.score(drawn.transform(X[1200:]), y[1200:]) >= 0.95


def test_tsne_gives_rows_of_the_fit_their_place_and_others_one_nearby(digits, drawn):
    X = digits[0][:1200]
    np.testing.assert_array_equal(drawn.transform(X), drawn.embedding_)
    moved = np.linalg.norm(drawn.transform(X + 1e-4) - drawn.embedding_, axis=1)
    across = np.ptp(drawn.embedding_, axis=0).max()
    assert np.quantile(moved, 0.95) < 0.03 * across


def test_a_row_is_placed_alike_among_many_and_alone(digits, drawn):
    rows = digits[0][1200:1240]
    together = drawn.transform(rows)
    alone = np.vstack([drawn.transform(row[None]) for row in rows])
    np.testing.assert_array_equal(together, alone)


def test_tsne_is_the_same_at_every_run(digits):
    X = digits[0][:200]
    a, b = (em.TSNE(max_iter=60, random_state=3).fit(X) for _ in range(2))
    np.testing.assert_array_equal(a.embedding_, b.embedding_)


def test_tsne_survives_repeated_and_equal_rows():
    rng = np.random.default_rng(0)
    repeated = np.repeat(rng.normal(size=(4, 3)), 40, axis=0)
    for X in (repeated, np.ones((30, 3)), rng.normal(size=(30, 1)), rng.normal(size=(5, 400))):
        with np.errstate(all="raise", under="ignore"):
            model = em.TSNE(max_iter=80, perplexity=4, random_state=0).fit(X)
        assert np.isfinite(model.embedding_).all() and np.isfinite(model.transform(X + 0.1)).all()


def test_tsne_says_what_cannot_be(digits):
    X = digits[0][:50]
    with pytest.warns(UserWarning, match="perplexity=80"):
        assert em.TSNE(perplexity=80, max_iter=50).fit(X).neighbors_ == 49
    with pytest.raises(ParameterError, match="n_components=4"):
        em.TSNE(4).fit(X)
    with pytest.raises(DataError, match="1e150"):
        em.TSNE().fit(X * 1e200)


def test_tsne_ends_when_it_is_asked_to(digits):
    X = digits[0][:300]
    asked = []
    module = catalog.module(catalog.find("tsne", kind="reducer"))
    model = module.fit(em.TSNE(), X, stop=lambda: bool(asked.append(1)) or len(asked) > 2)
    assert model.n_iter_ == 40
    assert model.transform(X[:2]).shape == (2, 2)


# ---------------------------------------------------------------------- the others


def test_isomap_and_lle_answer_as_scikit_learn(roll):
    X, _ = roll
    new = X[:100] + 0.05
    for name, model in (
        ("isomap", em.Isomap(n_neighbors=8)),
        ("locally_linear_embedding", em.LocallyLinearEmbedding(n_neighbors=10, random_state=0)),
        ("locally_linear_embedding", em.LocallyLinearEmbedding(n_neighbors=10, method="modified", random_state=0)),
    ):
        model.fit(X)
        expected = model.transform(new)
        step = step_of(name, model)
        assert step.holds_rows
        assert np.abs(step(new) - expected).max() <= 1e-9 * np.abs(expected).max()


def test_isomap_unrolls_the_roll(roll):
    X, along = make_swiss_roll(900, random_state=0)
    model = em.Isomap(n_neighbors=7).fit(X[:800])
    place = step_of("isomap", model)(X[800:])
    assert abs(np.corrcoef(place[:, 0], along[800:])[0, 1]) > 0.98


def test_an_isomap_by_radius_is_refused(roll):
    model = em.Isomap(n_neighbors=None, radius=5.0).fit(roll[0])
    with pytest.raises(ParameterError, match="radius"):
        step_of("isomap", model)


@pytest.mark.parametrize("affinity", ["nearest_neighbors", "rbf"])
def test_spectral_embedding_places_rows_by_its_own_equation(affinity):
    """New rows close to rows of the fit land close to them: the formula is exact for those."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) * (6.0, 1.0, 0.5)
    model = em.SpectralEmbedding(affinity=affinity, gamma=0.3).fit(X)
    theirs = sklearn.manifold.SpectralEmbedding(affinity=affinity, gamma=0.3, n_neighbors=30, random_state=0).fit(X)
    np.testing.assert_allclose(model.embedding_, theirs.embedding_, atol=1e-8)
    assert ((model.eigenvalues_ > 0) & (model.eigenvalues_ <= 1 + 1e-9)).all()
    np.testing.assert_array_equal(model.transform(X), model.embedding_)
    moved = np.abs(model.transform(X + 1e-3) - model.embedding_)
    assert (
        np.median(np.abs(model.transform(X + 1e-3) - model.embedding_), axis=0)
        < 0.05 * np.ptp(model.embedding_, axis=0)
    ).all()
    assert np.isfinite(moved).all()


def test_mds_of_straight_distances():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(120, 2)) * (3.0, 1.0)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    X = flat @ turn
    for classical in (True, False):
        model = em.MDS(classical=classical).fit(X[:100])
        assert model.normalized_stress_ < 1e-6
        place = model.transform(X)
        gap = np.linalg.norm(place[:, None] - place, axis=2) - np.linalg.norm(flat[:, None] - flat, axis=2)
        assert np.abs(gap).max() < 1e-5


def test_mds_lowers_the_stress_and_places_rows_of_the_fit(digits):
    X = digits[0][:200]
    start, model = em.MDS(classical=True).fit(X), em.MDS().fit(X)
    theirs = sklearn.manifold.smacof(
        np.linalg.norm(X[:, None] - X, axis=2), n_init=1, init=start.embedding_, normalized_stress=False
    )
    assert model.stress_ < 0.5 * start.stress_
    assert model.stress_ <= theirs[1] * 1.01
    np.testing.assert_array_equal(model.transform(X), model.embedding_)
    near = np.linalg.norm(model.transform(X + 1e-6) - model.embedding_, axis=1)
    assert np.quantile(near, 0.9) < 0.05 * np.ptp(model.embedding_)
    np.testing.assert_allclose(start.transform(X), start.embedding_, atol=1e-8)


# ---------------------------------------------------------------------- files


def _steps() -> list:
    rng = np.random.default_rng(0)
    rows, places = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    ways = np.abs(rng.normal(size=66))
    return [
        MapNeighbors(rows, places, 4),
        MapGeodesic(rows, ways, places, np.zeros(2), 4),
        MapBarycenter(rows, places, 4),
        MapAverage(rows, places, np.ones(2), 4),
        MapDistances(rows, places, places, np.ones(12), 5),
    ]


@pytest.mark.parametrize("step", _steps(), ids=lambda s: s.word)
def test_damaged_files_are_refused(step):
    settings, arrays = step.spec()
    for name, array in arrays.items():
        for wrong in (array[:-1], np.full_like(array, np.nan), array.astype(np.int64), array.reshape(-1)[:1]):
            if name == "rows" and wrong.shape == array.shape and np.isfinite(wrong).all():
                continue
            with pytest.raises(ModelFileError):
                type(step).build(settings, {**arrays, name: wrong})
    if "neighbors" in settings:
        for number in (0, 13, 2.5, True, "4"):
            with pytest.raises(ModelFileError):
                type(step).build({**settings, "neighbors": number}, arrays)
    built = type(step).build(settings, arrays)
    with pytest.raises(ModelFileError, match="features"):
        built(np.zeros((2, 5)))
    assert built(np.zeros((0, 3))).shape == (0, 2)
