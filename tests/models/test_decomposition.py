"""Reducers: the right directions, exact weights, and files that answer alike."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.cross_decomposition
import sklearn.decomposition
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from sklearn.datasets import load_breast_cancer, load_digits, load_linnerud
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import ModelFileError
from everymodel.scoring.steps.base import Sparse
from everymodel.scoring.steps.components import Components, KernelComponents, NonnegativeParts


@pytest.fixture(scope="module")
def digits():
    return load_digits().data / 16.0


def step_of(name: str, model, kind: str = "reducer"):
    made = catalog.module(catalog.find(name, kind=kind)).pack(model)
    return type(made).build(*made.spec())


# ---------------------------------------------------------------------- principal components


@pytest.mark.parametrize(
    ("shape", "count", "solver"),
    [((500, 20), 5, "covariance"), ((40, 300), 10, "products"), ((40, 300), 40, "svd"), ((2, 5), 1, "products")],
)
def test_pca_is_exact_in_every_shape(shape, count, solver):
    rng = np.random.default_rng(0)
    X = 100.0 + rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    ours, theirs = em.PCA(count).fit(X), sklearn.decomposition.PCA(count, svd_solver="full").fit(X)
    assert ours.solver_ == solver
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=1e-12)
    there = theirs.explained_variance_ > 1e-12  # what does not vary may point anywhere
    np.testing.assert_allclose(ours.components_[there], theirs.components_[there], atol=1e-9)
    np.testing.assert_allclose(ours.components_ @ ours.components_.T, np.eye(count), atol=1e-12)
    np.testing.assert_allclose(ours.noise_variance_, theirs.noise_variance_, atol=1e-9)


def test_pca_keeps_its_digits_far_from_zero():
    """Means of a million and spreads of one: squares that are not centred would lose ten digits."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 4)) @ rng.normal(size=(4, 4))
    near, far = em.PCA(2).fit(X), em.PCA(2).fit(X + 1e6)
    np.testing.assert_allclose(far.explained_variance_, near.explained_variance_, rtol=1e-8)


def test_pca_of_a_very_large_table_is_as_good_as_exact(monkeypatch):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 2000)) + rng.normal(size=(300, 2000))
    exact = em.PCA(5).fit(X)
    monkeypatch.setattr("everymodel.models.decomposition.pca.EXACT", 1e6)
    found = em.PCA(5, random_state=0).fit(X)
    assert (exact.solver_, found.solver_) == ("products", "randomized")
    np.testing.assert_allclose(found.explained_variance_, exact.explained_variance_, rtol=1e-6)


def test_pca_counts_a_share_and_rebuilds_rows(digits):
    most = em.PCA(0.9).fit(digits)
    assert most.explained_variance_ratio_.sum() >= 0.9 > most.explained_variance_ratio_[:-1].sum()
    white = em.PCA(10, whiten=True).fit(digits)
    np.testing.assert_allclose(white.transform(digits).std(axis=0, ddof=1), 1.0, rtol=1e-9)
    back = em.PCA(10).fit(digits).inverse_transform(em.PCA(10).fit_transform(digits))
    np.testing.assert_allclose(white.inverse_transform(white.transform(digits)), back, atol=1e-9)
    everything = em.PCA().fit(digits[:30])
    np.testing.assert_allclose(everything.inverse_transform(everything.transform(digits[:30])), digits[:30], atol=1e-9)


@pytest.mark.parametrize("count", [0, 65, 1.5, "many", True])
def test_pca_refuses_counts_that_make_no_sense(digits, count):
    with pytest.raises((ValueError, TypeError), match=r"n_components|supported"):
        em.PCA(count).fit(digits)


def test_pca_of_rows_that_are_all_equal():
    model = em.PCA(2, whiten=True).fit(np.ones((5, 3)))
    assert (model.explained_variance_ratio_ == 0).all()
    np.testing.assert_array_equal(model.transform(np.ones((2, 3))), 0.0)


# ---------------------------------------------------------------------- parts that add up


def test_weights_are_the_exact_solution():
    """Against Lawson and Hanson's algorithm, with parts that are nearly the same and parts of zeros among them."""
    rng = np.random.default_rng(3)
    parts = rng.random((7, 30)) * (rng.random((7, 30)) < 0.4)
    parts[5] = parts[4] + 1e-3 * rng.random(30)
    parts[6] = 0.0
    X = np.abs(rng.normal(size=(200, 30)))
    weights = NonnegativeParts(parts)(X)
    best = np.array([nnls(parts.T, x)[1] for x in X])
    assert (weights >= 0).all()
    assert (weights[:, 6] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(X - weights @ parts, axis=1), best, rtol=1e-7)


def test_a_row_gets_its_weights_whatever_is_beside_it(digits):
    step = step_of("nmf", em.NMF(12, random_state=0, max_iter=50).fit(digits))
    together = step(digits[:40])
    for i in (0, 17, 39):
        np.testing.assert_array_equal(step(digits[i : i + 1]), together[i : i + 1])
    assert step(digits[:0]).shape == (0, 12)


def test_nmf_is_as_good_as_scikit_learns(digits):
    """Its weights are the best for its parts, and the error is that of 300 rounds of coordinate descent or less."""
    for count in (5, 20):
        ours = em.NMF(count, random_state=0).fit(digits)
        theirs = sklearn.decomposition.NMF(count, random_state=0, max_iter=300).fit(digits)
        assert ours.reconstruction_err_ <= theirs.reconstruction_err_ * 1.001
        weights = ours.transform(digits)
        rebuilt = ours.inverse_transform(weights)
        assert ours.reconstruction_err_ == pytest.approx(np.linalg.norm(digits - rebuilt), rel=1e-9)
        size = np.linalg.norm(weights, axis=0) * np.linalg.norm(ours.components_, axis=1)
        assert size[0] > 1.2 * size[-1]  # the parts that carry most come first


def test_nmf_finds_planted_parts():
    rng = np.random.default_rng(0)
    parts = np.kron(np.eye(4), np.ones(5)) * rng.uniform(0.5, 1.5, 20)
    X = rng.gamma(0.5, 1.0, size=(300, 4)) @ parts
    model = em.NMF(4, random_state=0, max_iter=3000, tol=1e-9).fit(X)
    assert model.reconstruction_err_ < 1e-3 * np.linalg.norm(X)
    found = model.components_ / model.components_.max(axis=1, keepdims=True)
    alike = (found @ parts.T) / np.linalg.norm(found, axis=1)[:, None] / np.linalg.norm(parts, axis=1)
    assert alike.max(axis=1).min() > 0.999


def test_nmf_of_sparse_rows_is_that_of_dense_ones(digits):
    dense = em.NMF(5, random_state=0).fit(digits[:300])
    thin = em.NMF(5, random_state=0).fit(csr_matrix(digits[:300]))
    np.testing.assert_allclose(thin.components_, dense.components_, atol=1e-9)
    assert thin.reconstruction_err_ == pytest.approx(dense.reconstruction_err_, rel=1e-6)
    random = em.NMF(70, init="random", random_state=0, max_iter=20).fit(digits[:30])  # more parts than rows and columns
    assert random.components_.shape == (70, 64)
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        dense.transform(-digits[:2])


def test_a_pull_towards_zero_makes_zeros(digits):
    free = em.NMF(8, random_state=0).fit_transform(digits[:400])
    pulled = em.NMF(8, random_state=0, alpha=0.02, l1_ratio=1.0).fit_transform(digits[:400])
    assert (pulled == 0).mean() > (free == 0).mean() + 0.1


# ---------------------------------------------------------------------- partial least squares


@pytest.mark.parametrize("count", [1, 3, 8])
def test_pls_regression_is_scikit_learns(count):
    X, y = load_linnerud(return_X_y=True)
    X = np.column_stack([X, X**2, np.sqrt(X)])
    for target, near in ((y[:, 0], 1e-9), (y, 2e-4)):  # theirs ends at a tolerance where targets are several
        ours = em.PLSRegression(count).fit(X, target)
        theirs = sklearn.cross_decomposition.PLSRegression(count, tol=1e-15, max_iter=10_000).fit(X, target)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=near)
        np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=10 * near)


def test_pls_canonical_is_scikit_learns():
    X, y = load_linnerud(return_X_y=True)
    ours = em.PLSCanonical(3).fit(X, y)
    theirs = sklearn.cross_decomposition.PLSCanonical(3, algorithm="svd").fit(X, y)
    for mine, other in zip(ours.transform(X, y), theirs.transform(X, y)):
        np.testing.assert_allclose(np.abs(mine), np.abs(other), atol=1e-8)
    mixed = ours.transform(X, y)
    pairs = [np.corrcoef(mixed[0][:, i], mixed[1][:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(ours.correlations_, pairs, atol=1e-9)


def test_pls_with_every_component_is_least_squares_even_where_columns_repeat():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(80, 6))
    y = X @ rng.normal(size=6) + 0.1 * rng.normal(size=80)
    doubled = np.column_stack([X, X[:, :3], np.ones(80)])
    with pytest.warns(UserWarning, match="only 6 could be made"):
        model = em.PLSRegression(10).fit(doubled, y)
    plain = np.column_stack([X, np.ones(80)])
    np.testing.assert_allclose(model.predict(doubled), plain @ np.linalg.lstsq(plain, y, rcond=None)[0], atol=1e-9)


def test_pls_of_a_constant_target_says_the_constant():
    with pytest.warns(UserWarning, match="only 0"):
        model = em.PLSRegression(2).fit(np.random.default_rng(0).normal(size=(20, 3)), np.full(20, 7.0))
    np.testing.assert_allclose(model.predict(np.eye(3)), 7.0)


def test_pls_is_worth_it_where_columns_outnumber_rows():
    rng = np.random.default_rng(5)
    hidden = rng.normal(size=(60, 3))
    X = hidden @ rng.normal(size=(3, 400)) + 0.5 * rng.normal(size=(60, 400))
    y = hidden @ [1.0, -2.0, 0.5]
    model = make_pipeline(StandardScaler(), em.PLSRegression(3))
    assert cross_val_score(model, X, y, cv=5).mean() > 0.95


def test_pls_is_fitted_saved_and_loaded_by_name(tmp_path):
    frame = load_breast_cancer(as_frame=True).data
    run = em.fit(
        frame, target="mean radius", models=["PLSRegression"], trials=2, out=tmp_path / "run", progress=False,
        keep_suspects=True,
    )  # fmt: skip
    assert run.leaderboard.loc[run.leaderboard.card == "partial_least_squares", "status"].eq("ok").any()
    np.testing.assert_array_equal(em.load(run.folder / "model.em").predict(frame), run.model.predict(frame))


# ---------------------------------------------------------------------- others


def test_kernel_components_hold_rows_and_say_so(digits):
    for kernel in ("rbf", "poly", "cosine", "sigmoid", "linear"):
        model = sklearn.decomposition.KernelPCA(4, kernel=kernel, random_state=0).fit(digits[:150])
        step = step_of("kernel_pca", model)
        assert step.holds_rows
        expected = model.transform(digits[150:300])
        np.testing.assert_allclose(step(digits[150:300]), expected, atol=1e-9 * np.abs(expected).max())
    assert not Components.holds_rows


def test_components_of_sparse_rows_are_those_of_dense_ones(digits):
    rows = csr_matrix(digits[:50])
    sparse = Sparse(rows.data, rows.indices.astype(np.int64), rows.indptr.astype(np.int64), rows.shape)
    for model, name in (
        (sklearn.decomposition.TruncatedSVD(3, random_state=0), "truncated_svd"),
        (em.PCA(3), "pca"),
        (em.NMF(3, random_state=0), "nmf"),
    ):
        step = step_of(name, model.fit(digits))
        np.testing.assert_allclose(step(sparse), step(digits[:50]), atol=1e-9)


@pytest.mark.parametrize(
    "step",
    [
        Components(np.zeros(3), np.zeros((2, 2)), np.ones(2)),
        Components(np.zeros(2), np.full((2, 2), np.nan), np.ones(2)),
        Components(np.zeros(2), np.zeros((2, 2)), np.ones(3)),
        Components(np.zeros(2, dtype=np.int64), np.zeros((2, 2)), np.ones(2)),
        KernelComponents(np.zeros((3, 2)), np.zeros((2, 1)), np.zeros(1)),
        KernelComponents(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(2)),
        KernelComponents(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(1), kernel="laplacian"),
        KernelComponents(np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(1), gamma="wide"),
        KernelComponents(np.zeros((0, 2)), np.zeros((0, 1)), np.zeros(1)),
        NonnegativeParts(np.array([[1.0, -1.0]])),
        NonnegativeParts(np.zeros(3)),
        NonnegativeParts(np.ones((2, 3)), l1=-1.0),
        NonnegativeParts(np.ones((2, 3)), l2="much"),
    ],
)
def test_damaged_steps_are_refused(step):
    with pytest.raises(ModelFileError):
        step.check()


def test_rows_of_another_width_are_refused():
    for step in (
        Components(np.zeros(3), np.ones((3, 1)), np.ones(1)),
        KernelComponents(np.zeros((4, 3)), np.zeros((4, 1)), np.zeros(1)),
        NonnegativeParts(np.ones((2, 3))),
    ):
        with pytest.raises(ModelFileError, match="3 features"):
            step(np.zeros((1, 4)))
