"""Packs of boosters and trees equal their libraries bit for bit, on real data, with missing cells and categories."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from everymodel import catalog


def _holes(X: np.ndarray, share: float = 0.1) -> np.ndarray:
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < share] = np.nan
    return X


def _with_levels(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Two columns of level codes more, one that helps and one of many levels."""
    rng = np.random.default_rng(1)
    useful = (np.digitize(y, np.quantile(y, np.linspace(0, 1, 9)[1:-1])) * 3) % 8
    useful = np.where(rng.random(len(y)) < 0.3, rng.integers(0, 8, len(y)), useful)
    X = np.column_stack([X, useful, rng.integers(0, 60, len(y))]).astype(float)
    X[rng.random(len(y)) < 0.1, -2] = np.nan
    return X, (X.shape[1] - 2, X.shape[1] - 1)


def _sums(name: str, model, X: np.ndarray) -> np.ndarray:
    """The library's own raw sums."""
    if name == "lightgbm":
        return model.predict(X, raw_score=True)
    if name == "catboost":
        return model.predict(X, prediction_type="RawFormulaVal")
    raw = model._raw_predict(X)
    return raw[:, 0] if raw.shape[1] == 1 else raw


_SETS = [("regressor", load_diabetes), ("classifier", load_breast_cancer), ("classifier", load_wine)]
_BOOSTERS = [n for n in ("lightgbm", "gradient_boosting", "catboost") if catalog.available(catalog.find(n))]


@pytest.mark.parametrize("name", _BOOSTERS)
@pytest.mark.parametrize(("kind", "load"), _SETS, ids=["regression", "binary", "multiclass"])
def test_booster_sums_equal_bit_for_bit(name, kind, load):
    X, y = load(return_X_y=True)
    X, native = _with_levels(_holes(X), y)
    card = catalog.find(name, kind=kind)
    module = catalog.module(card)
    rounds = next(p for p in ("n_estimators", "max_iter", "iterations") if p in card.defaults())
    model = catalog.make(card, **{rounds: 60}, random_state=3)
    fit, rest = np.arange(0, len(y), 2), np.arange(1, len(y), 2)
    module.fit(model, X[fit], y[fit], valid=(X[rest], y[rest]), native=native)
    asked = np.vstack([X, np.zeros_like(X[:1]), np.full_like(X[:1], 1e6), np.full_like(X[:1], np.nan), -X[:3]])
    asked[-8:, native[0]] = [99, 7, 0, 1, np.nan, 2, 3, 4]  # a level that was never seen, too
    step = module.pack(model)
    step = type(step).build(*step.spec())
    if name == "catboost":
        asked[:, list(native)] = np.abs(asked[:, list(native)])
    assert np.array_equal(step.sums(asked), _sums(name, model, asked))
    own = model.predict(asked) if kind == "regressor" else model.predict_proba(asked)
    assert np.abs(step(asked) - own).max() < 1e-15 * max(1.0, np.abs(own).max())
    assert np.array_equal(step(asked[5:6])[0], step(asked)[5])


@pytest.mark.parametrize("name", ["decision_tree", "random_forest", "extra_trees"])
@pytest.mark.parametrize(("kind", "load"), _SETS, ids=["regression", "binary", "multiclass"])
def test_trees_equal_bit_for_bit(name, kind, load):
    X, y = load(return_X_y=True)
    X = _holes(X)
    card = catalog.find(name, kind=kind)
    small = {} if name == "decision_tree" else {"n_estimators": 20}
    model = catalog.make(card, random_state=1, **small).fit(X[::2], y[::2])
    own = model.predict(X) if kind == "regressor" else model.predict_proba(X)
    assert np.array_equal(catalog.module(card).pack(model)(X), own)


def test_a_stopped_forest_equals_a_smaller_one():
    X, y = load_wine(return_X_y=True)
    card = catalog.find("random_forest", kind="classifier")
    module = catalog.module(card)
    asked = []
    model = catalog.make(card, random_state=0, n_estimators=500)
    module.fit(model, X, y, stop=lambda: bool(asked.append(1)) or len(asked) >= 2)
    made = module.refit_parameters(model)["n_estimators"]
    assert 10 <= made < 500
    whole = catalog.make(card, random_state=0, n_estimators=made).fit(X, y)
    assert np.array_equal(module.pack(model)(X), whole.predict_proba(X))


@pytest.mark.parametrize("name", _BOOSTERS)
def test_stopping_keeps_the_best_so_far(name):
    X, y = load_digits(n_class=4, return_X_y=True)
    card = catalog.find(name, kind="classifier")
    module = catalog.module(card)
    rounds = next(p for p in ("n_estimators", "max_iter", "iterations") if p in card.defaults())
    model = catalog.make(card, **{rounds: 5000, "learning_rate": 0.05})
    asked = []
    module.fit(model, X[::2], y[::2], valid=(X[1::2], y[1::2]), stop=lambda: bool(asked.append(1)) or len(asked) >= 3)
    refit = module.refit_parameters(model)[rounds]
    assert 1 <= refit <= 100
    assert (module.pack(model)(X).argmax(axis=1) == y).mean() > 0.6


def test_lightgbm_of_other_objectives():
    X, y = load_diabetes(return_X_y=True)
    card = catalog.find("lightgbm", kind="regressor")
    for objective in ("poisson", "gamma", "huber", "regression_l1"):
        model = catalog.make(card, objective=objective, n_estimators=20).fit(X, y)
        own = model.predict(X)
        assert np.abs(catalog.module(card).pack(model)(X) / own - 1).max() < 1e-14


def test_boosting_of_a_constant_target_packs():
    X = np.random.default_rng(0).normal(size=(60, 3))
    for name in _BOOSTERS:
        card = catalog.find(name, kind="regressor")
        model = catalog.make(card).fit(X, np.r_[np.full(59, 2.0), 2.001])
        assert np.allclose(catalog.module(card).pack(model)(X), model.predict(X), rtol=1e-12)


def test_neighbours_settle_ties_by_order():
    from sklearn.neighbors import KNeighborsClassifier as Plain

    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(300, 3)).astype(float)  # 27 different rows: nothing but ties
    y = rng.integers(0, 2, 300)
    card = catalog.find("nearest_neighbors", kind="classifier")
    model = catalog.make(card, n_neighbors=5, weights="uniform").fit(X, y)
    distance, number = model.kneighbors(X)
    assert (number[:, 0] <= np.arange(300)).all()  # the first of all equal rows, at distance 0
    for i in range(0, 300, 37):
        exact = np.abs(X - X[i]).astype(int)
        order = np.lexsort((np.arange(300), (exact**2).sum(axis=1)))
        assert number[i].tolist() == order[:5].tolist()
    theirs = Plain(n_neighbors=5, algorithm="brute").fit(X, y).kneighbors(X)[0]
    assert np.allclose(distance, theirs)


def test_polynomial_finds_a_curve_and_does_not_run_away():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X[:, 0] ** 2 - 2 * X[:, 1] * X[:, 2] + 0.01 * rng.normal(size=400)
    card = catalog.find("polynomial", kind="regressor")
    model = catalog.make(card).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.99
    far = model.predict(np.full((1, 3), 1e9))
    assert np.abs(far) < 50 * np.abs(y).max()
    few = catalog.make(card, degree=3, max_terms=7).fit(X, y)
    assert len(few.coef_) == 7


def test_network_learns_what_lines_cannot():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(1500, 2))
    y = (np.sin(4 * X[:, 0]) * X[:, 1] > 0).astype(int)
    card = catalog.find("multilayer_perceptron", kind="classifier")
    module = catalog.module(card)
    model = catalog.make(card, width=64, members=1, random_state=0)
    module.fit(model, X[:1000], y[:1000], valid=(X[1000:1200], y[1000:1200]))
    assert (model.predict(X[1200:]) == y[1200:]).mean() > 0.93
    again = catalog.make(card, width=64, members=1, random_state=0)
    module.fit(again, X[:1000], y[:1000], valid=(X[1000:1200], y[1000:1200]))
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))


def test_networks_of_several_labels_and_targets():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    Y = np.stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0], axis=1).astype(int)
    card = catalog.find("multilayer_perceptron", task="multilabel")
    model = catalog.make(card, width=32, random_state=0).fit(X, Y)
    assert catalog.module(card).pack(model)(X).shape == (300, 2)
    assert (model.predict(X) == Y).mean() > 0.95
    card = catalog.find("multilayer_perceptron", kind="regressor")
    model = catalog.make(card, width=32, random_state=0).fit(X, X[:, :2] * [1, 1000])
    assert catalog.module(card).pack(model)(X).shape == (300, 2)
    assert model.score(X, X[:, :2] * [1, 1000]) > 0.9


def test_gaussian_process_knows_where_it_is_unsure():
    X = np.linspace(0, 5, 40)[:, None]
    card = catalog.find("gaussian_process", kind="regressor")
    model = catalog.make(card, random_state=0).fit(X, np.sin(X[:, 0]))
    _, spread = model.predict([[2.5], [50.0]], return_std=True)
    assert spread[1] > 5 * spread[0]


def test_linear_discriminant_with_shrinkage():
    X, y = load_wine(return_X_y=True)
    card = catalog.find("discriminant")
    model = catalog.make(card).fit(X, y)
    assert np.abs(catalog.module(card).pack(model)(X) - model.predict_proba(X)).max() < 1e-12


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber", "hinge"])
def test_sgd_losses(loss):
    X, y = load_wine(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    card = catalog.find("sgd", kind="classifier")
    for some in (np.arange(len(y)), np.flatnonzero(y != 1)):
        model = catalog.make(card, loss=loss, random_state=0)
        catalog.module(card).fit(model, X[some], y[some], valid=(X[some], y[some]))
        step = catalog.module(card).pack(model, n_classes=3)
        answer = step(X)
        assert answer.shape == (len(y), 3)
        if step.output == "probabilities":
            own = model.predict_proba(X)
            assert np.abs(answer[:, np.unique(y[some])] - own).max() < 1e-12
        assert (answer[some].argmax(axis=1) == y[some]).mean() > 0.95


def test_sparse_rows_answer_like_dense_ones():
    from scipy import sparse

    from everymodel.scoring.steps.base import Sparse

    rng = np.random.default_rng(0)
    X = rng.random((120, 30)) * (rng.random((120, 30)) < 0.2)
    y = (X[:, :5].sum(axis=1) > 0.4).astype(int)
    csr = sparse.csr_matrix(X)
    ours = Sparse(csr.data, csr.indices, csr.indptr, csr.shape)
    for card in catalog.for_task("binary"):
        if not card.need("sparse") or not catalog.available(card):
            continue
        module = catalog.module(card)
        model = catalog.make(card)
        (module.fit if hasattr(module, "fit") else type(model).fit)(model, csr, y)
        step = module.pack(model)
        assert np.allclose(step(ours), step(X), rtol=1e-9, atol=1e-12), card.name
