"""Detectors: their scores against scikit-learn's or plain arithmetic, packed, on new rows and on rows of the fit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import ModelFileError
from everymodel.scoring.steps import detect

NAMES = [c.name for c in catalog.cards() if "anomaly" in c.tasks]


@pytest.fixture(scope="module")
def rows():
    X = StandardScaler().fit_transform(load_breast_cancer().data)[:, :8]
    return X[:400], X[400:]


def made(name):
    card = catalog.find(name, kind="detector")
    return catalog.load(card)(**{**card.defaults(), **card.tiny[0]})


def packed(name, model):
    return catalog.module(catalog.find(name, kind="detector")).pack(model)


@pytest.mark.parametrize("name", NAMES)
def test_far_rows_are_odder_and_rows_alone_score_as_among_others(name, rows):
    learn, new = rows
    model = made(name).fit(learn)
    step = packed(name, model)
    scores = step(new)
    np.testing.assert_allclose(scores, -model.score_samples(new), rtol=1e-6, atol=1e-9)
    assert (step(new[:50] + 30.0) > np.quantile(scores, 0.5)).all()
    alone = np.concatenate([step(row[None]) for row in new[:20]])
    np.testing.assert_allclose(alone, scores[:20], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_contamination_is_the_share_of_training_rows_called_odd(name, rows):
    learn, _ = rows
    model = made(name)
    if "contamination" not in model.get_params():
        pytest.skip("has a parameter of its own for the share")
    model.set_params(contamination=0.1).fit(learn)
    odd = (model.predict(learn) == -1).mean()
    assert abs(odd - 0.1) < 0.03
    np.testing.assert_allclose(model.decision_function(learn), model.score_samples(learn) - model.offset_, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("isolation_forest", lambda X: IsolationForest(n_estimators=50, random_state=1).fit(X)),
        ("robust_covariance", lambda X: EllipticEnvelope(random_state=1).fit(X)),
        ("one_class_svm", lambda X: OneClassSVM(nu=0.2).fit(X)),
    ],
)
def test_models_fitted_by_scikit_learn_are_packed_exactly(name, peer, rows):
    learn, new = rows
    model = peer(learn)
    np.testing.assert_allclose(packed(name, model)(new), -model.score_samples(new), rtol=1e-9, atol=1e-12)


def test_the_local_outlier_factor_is_scikit_learns_on_both_kinds_of_rows(rows):
    learn, new = rows
    ours = em.LocalOutlierFactor(15).fit(learn)
    np.testing.assert_allclose(
        ours.score_samples(new), LocalOutlierFactor(n_neighbors=15, novelty=True).fit(learn).score_samples(new)
    )
    whole = LocalOutlierFactor(n_neighbors=15).fit(learn)
    np.testing.assert_allclose(ours.score_samples(learn), whole.negative_outlier_factor_)


def test_the_distance_to_neighbours_leaves_the_row_itself_out_once():
    X = np.array([[0.0], [0.0], [0.0], [1.0], [5.0]])
    model = em.NeighborDistance(n_neighbors=2).fit(X)
    assert (-model.score_samples(X)).tolist() == [0.0, 0.0, 0.0, 1.0, 4.5]
    assert (-model.score_samples([[2.0]])).tolist() == [1.5]
    largest = em.NeighborDistance(n_neighbors=2, how="largest").fit(X)
    assert (-largest.score_samples([[2.0], [5.0]])).tolist() == [2.0, 5.0]


def test_the_residual_is_what_components_cannot_rebuild():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    model = em.PCAReconstruction(variance=0.999).fit(flat)
    np.testing.assert_allclose(model.score_samples(flat), 0.0, atol=1e-9)
    off = flat[:5] + np.linalg.svd(flat - flat.mean(axis=0))[2][-1] * 3.0
    np.testing.assert_allclose(-model.score_samples(off), 9.0, rtol=1e-6)


def test_an_isolation_forest_of_equal_rows_is_finite():
    model = IsolationForest(n_estimators=10, random_state=0).fit(np.ones((30, 2)))
    assert np.isfinite(packed("isolation_forest", model)(np.array([[1.0, 1.0], [9.0, 9.0]]))).all()


@pytest.mark.parametrize(
    ("step", "settings", "arrays"),
    [
        (detect.Residual, {}, {"mean": np.zeros(3), "axes": np.zeros((2, 1))}),
        (detect.Mahalanobis, {}, {"location": np.zeros(2), "precision": np.full((2, 2), np.nan)}),
        (detect.NeighborDistance, {"k": 9}, {"rows": np.zeros((3, 2))}),
        (detect.NeighborDistance, {"k": 1, "how": "median"}, {"rows": np.zeros((3, 2))}),
        (
            detect.LocalOutlierFactor,
            {"k": 2},
            {"rows": np.zeros((3, 2)), "reach": np.zeros(2), "density": np.zeros(3)},
        ),
        (detect.Excess, {"center": float("nan"), "scale": 1.0}, {}),
        (detect.Excess, {"center": 0.0, "scale": -1.0}, {}),
        (detect.Excess, {"center": True, "scale": "1"}, {}),
    ],
)
def test_broken_arrays_in_a_file_are_refused(step, settings, arrays):
    with pytest.raises(ModelFileError):
        step.build(settings, arrays)


@pytest.mark.parametrize(
    "options", [{"n_neighbors": 0}, {"n_neighbors": 2.5}, {"how": "median"}, {"contamination": 0.7}]
)
def test_impossible_parameters_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        em.NeighborDistance(**options).fit(np.zeros((5, 2)))
