"""Label spreading, label propagation and self-training: few labels, many rows without one."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, ModelFileError, ParameterError
from everymodel.models.semi_supervised import _graph
from everymodel.scoring.steps.propagation import Propagation

GRAPHS = (em.LabelSpreading, em.LabelPropagation)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(y))
    train, test = rows[:1200], rows[1200:]
    few = np.full(len(y), -1)
    for c in range(10):
        few[rng.choice(train[y[train] == c], 5, replace=False)] = c
    return X[train], few[train], X[test], y[test]


@pytest.mark.parametrize("model", [em.LabelSpreading(metric="learnt"), em.LabelPropagation()])
def test_fifty_labels_and_the_rest_beat_fifty_labels(digits, model):
    X, few, new, truth = digits
    alone = LogisticRegression(max_iter=300).fit(X[few >= 0], few[few >= 0]).score(new, truth)
    score = model.fit(X, few).score(new, truth)
    assert score > alone + 0.05 and score > 0.92
    assert model.transduction_.shape == few.shape and model.reached_.all()
    assert np.allclose(model.label_distributions_.sum(axis=1), 1)


def test_self_training_learns_from_what_it_is_sure_of():
    X, y = make_blobs(600, centers=[[-2, 0], [2, 0]], cluster_std=1.0, random_state=0)
    few = np.full(600, -1)
    few[:20] = y[:20]
    model = em.SelfTrainingClassifier("gaussian_nb").fit(X, few)
    assert model.added_ > 300 and model.n_iter_ >= 1
    assert model.score(X, y) > 0.93
    other = em.SelfTrainingClassifier(em.ExtraTreesClassifier(30, random_state=0)).fit(X, few)
    step = catalog.module(catalog.find("self_training", kind="classifier")).pack(other)
    np.testing.assert_allclose(step(X), other.predict_proba(X), atol=1e-9)
    outside = em.SelfTrainingClassifier(_Outside()).fit(X, few)
    with pytest.raises(ParameterError, match="not a classifier of the catalogue"):
        catalog.module(catalog.find("self_training", kind="classifier")).pack(outside)


class _Outside(LogisticRegression):
    """An estimator that nobody has listed."""


@pytest.mark.parametrize("kind", GRAPHS)
def test_rows_that_no_label_reaches_are_said_and_not_the_first_class(kind):
    X, y = make_blobs([40, 40, 40], centers=[[0, 0], [30, 0], [36, 40]], cluster_std=0.5, random_state=0)
    few = np.full(120, -1)
    few[[np.flatnonzero(y == 0)[0], np.flatnonzero(y == 1)[0]]] = [0, 1]
    with pytest.warns(UserWarning, match="No label reaches 40 of 120 rows"):
        model = kind(5, metric="given").fit(X, few)
    assert (model.reached_ == (y < 2)).all()
    lost = model.label_distributions_[y == 2]
    assert (lost.argmax(axis=1) == 1).all(), "the nearest rows that a label reaches are of class 1"
    assert lost.max() <= 0.76, "and nobody is sure of it"
    assert (model.predict(X[y == 0]) == 0).all() and (model.predict(X[y == 1]) == 1).all()


@pytest.mark.parametrize("kind", GRAPHS)
def test_labels_may_be_words_and_their_absence_none_or_nan(kind):
    X, y = make_moons(300, noise=0.05, random_state=0)
    words = np.array(["up", "down"], dtype=object)[y]
    answers = []
    for gap in (None, float("nan"), -1):
        few = words.copy()
        few[np.arange(300) % 15 != 0] = gap
        model = kind(metric="scaled").fit(X, few)
        assert list(model.classes_) == ["down", "up"]
        answers.append(model.predict_proba(X))
        assert (model.predict(X) == words).mean() > 0.97
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


@pytest.mark.parametrize("model", [*(kind() for kind in GRAPHS), em.SelfTrainingClassifier()])
def test_without_any_label_there_is_nothing_to_learn(model):
    with pytest.raises(DataError, match="None of the 20 rows has a label"):
        model.fit(np.random.default_rng(0).normal(size=(20, 2)), np.full(20, -1))


@pytest.mark.parametrize("model", [*(kind() for kind in GRAPHS), em.SelfTrainingClassifier("gaussian_nb")])
def test_one_class_with_labels_is_all_there_is(model):
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.where(np.arange(40) < 5, 3, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (model.fit(X, y).predict(X) == 3).all()


@pytest.mark.parametrize("kind", GRAPHS)
def test_equal_rows_constant_columns_and_few_rows(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for X in (np.ones((30, 3)), np.repeat(np.arange(3.0)[:, None], 10, axis=0), np.array([[0.0], [1.0], [5.0]])):
            y = np.full(len(X), -1)
            y[0], y[-1] = 0, 1
            answer = kind(metric="learnt").fit(X, y).predict_proba(X)
            assert np.isfinite(answer).all() and np.allclose(answer.sum(axis=1), 1)
            kind(metric="even").fit(X, y)


@pytest.mark.parametrize(
    "wrong", [{"metric": "round"}, {"balance": 2}, {"n_neighbors": 0}], ids=["metric", "balance", "neighbours"]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        em.LabelSpreading(**wrong).fit(np.eye(4), [0, 1, -1, -1])


def test_spreading_and_held_out_labels_are_what_the_equations_say():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    W, model = _graph.graph(X, 5), em.LabelSpreading()
    Y = np.zeros((40, 2))
    Y[:6] = np.eye(2)[[0, 1, 0, 1, 0, 1]]
    labelled = Y.any(axis=1)
    D = np.diag(1 / np.sqrt(W.toarray().sum(axis=1)))
    exact = 0.1 * np.linalg.solve(np.eye(40) - 0.9 * D @ W.toarray() @ D, Y)
    np.testing.assert_allclose(model._spread(W, Y, labelled, 0.9), exact, atol=1e-6)
    parts = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]
    for out, F in zip(parts, model._without(W, Y, labelled, 0.9, parts)):
        less = Y.copy()
        less[out] = 0
        np.testing.assert_allclose(F, model._spread(W, less, labelled, 0.9), atol=1e-6)
    harmonic = em.LabelPropagation()._spread(W, Y, labelled, 1.0)
    np.testing.assert_array_equal(harmonic[labelled], Y[labelled])
    mean = (W @ harmonic) / np.asarray(W.sum(axis=1))
    free = ~labelled & _graph.reached(W, labelled)
    np.testing.assert_allclose(harmonic[free], mean[free], atol=1e-5)


def test_the_graph_is_sparse_symmetric_and_nearly_exact_on_many_rows(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 12)) + 3 * rng.normal(size=(6, 12))[rng.integers(0, 6, 3000)]
    exact = NearestNeighbors(n_neighbors=7).fit(X).kneighbors()[1]
    monkeypatch.setattr(_graph, "EXACT_CELLS", 0)
    distance, found = _graph.neighbors(X, 7, seed=0)
    hits = np.mean([len(set(a) & set(b)) for a, b in zip(exact, found)]) / 7
    assert hits > 0.9
    assert (np.diff(distance, axis=1) >= 0).all() and not (found == np.arange(3000)[:, None]).any()
    np.testing.assert_allclose(distance[5], np.linalg.norm(X[found[5]] - X[5], axis=1))
    W = _graph.graph(X, 7)
    assert sparse.issparse(W) and W.nnz <= 2 * 7 * 3000 and abs(W - W.T).max() == 0


@pytest.mark.parametrize("kind", GRAPHS)
def test_packs_answer_alike_after_the_file_and_say_that_they_hold_rows(digits, kind):
    X, few, new, _ = digits
    model = kind(metric="learnt").fit(X, few)
    card = catalog.find("label_spreading", kind="classifier")
    step = catalog.module(card).pack(model)
    settings, arrays = step.spec()
    again = Propagation.build(json.loads(json.dumps(settings)), arrays)
    assert again.holds_rows
    np.testing.assert_array_equal(again(new), model.predict_proba(new))
    np.testing.assert_allclose(np.vstack([again(row[None]) for row in new[:20]]), again(new[:20]), rtol=1e-12)
    for name, broken in {
        "answers": arrays["answers"] * 2,
        "rows": arrays["rows"][:-1],
        "axes": arrays["axes"][:, :-1],
        "middle": np.full_like(arrays["middle"], np.nan),
    }.items():
        with pytest.raises(ModelFileError):
            Propagation.build(settings, {**arrays, name: broken})
    with pytest.raises(ModelFileError):
        Propagation.build({**settings, "k": 0}, arrays)
