"""The recurrent classifier and regressor: every form of X, odd cells, files, stopping."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from sklearn.base import clone

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, EverymodelError

_SMALL = {"hidden": 8, "epochs": 8, "learning_rate": 0.03, "device": "cpu", "random_state": 0}
_GOOD, _BAD = ("good", "fine", "lovely"), ("bad", "awful", "poor")


def _texts(n: int = 120, seed: int = 0):
    """Praise, unless "not" stands before it."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(n):
        good, turned = rng.random() < 0.5, rng.random() < 0.3
        word = str(rng.choice(_GOOD if good else _BAD))
        X.append(
            f"the {rng.choice(['film', 'food', 'room'])} was {'not ' if turned else ''}{word} {'x ' * rng.integers(4)}"
        )
        y.append("yes" if good != turned else "no")
    return X, np.array(y)


def _series(n: int = 90, seed: int = 0):
    """Whether a bump comes early or late; lengths differ, two signals, some values missing."""
    rng = np.random.default_rng(seed)
    X, y = [], rng.integers(0, 2, n)
    for late in y:
        steps = int(rng.integers(12, 20))
        x = rng.normal(size=(steps, 2)) * 0.2 + [5, -3]
        x[steps - 4 if late else 2, 0] += 3
        x[rng.random(x.shape) < 0.05] = np.nan
        X.append(x)
    return X, y


@pytest.fixture(scope="module")
def texts_model():
    return em.RecurrentClassifier(**{**_SMALL, "epochs": 16, "dropout": 0.2}).fit(*_texts(200))


def test_texts(texts_model):
    X, y = _texts(80, seed=1)
    assert (texts_model.predict(X) == y).mean() > 0.9
    shares = texts_model.predict_proba(X)
    assert shares.shape == (80, 2) and np.allclose(shares.sum(axis=1), 1)
    assert len(texts_model.history_.epochs) == 16
    for form in (np.array(X), np.array(X, dtype=object), pd.Series(X), pd.DataFrame({"t": X}), tuple(X)):
        assert np.array_equal(texts_model.predict_proba(form), shares)
    assert np.allclose(texts_model.predict_proba([x.split() for x in X]), shares)


def test_odd_texts_are_answered(texts_model):
    odd = ["", None, float("nan"), "🦊 \u0000 Ω", 3.5, "not good " * 3000, "  "]
    shares = texts_model.predict_proba(odd)
    assert np.isfinite(shares).all() and np.allclose(shares[0], shares[1]) and np.allclose(shares[0], shares[6])


def test_torch_and_numpy_agree(texts_model):
    import torch

    X, _ = _texts(40, seed=2)
    model = texts_model
    words = list(dict.fromkeys(w for x in X for w in model.reader_.split(x)))
    net = model.net_.eval()
    kinds, pairs = net.vectors.reader, net.wide
    assert kinds is model.reader_ and pairs is not None
    # The network knows kinds of words by number; those of the fit that stand in these texts are looked up again.
    known = {int(i): n for n, i in enumerate(net.vectors.ids.tolist())}
    assert all(model.reader_.number(w) in known for w in words)
    from everymodel.scoring.layers.tokens import pair_of

    for x, share in zip(X, model.predict_proba(X)):
        split = model.reader_.split(x)
        row = torch.tensor([[known[model.reader_.number(w)] for w in split]])
        two = torch.tensor([[*(pair_of(a, b, len(pairs.pairs)) for a, b in itertools.pairwise(split)), 0]])
        with torch.no_grad():
            out = net(row, torch.tensor([len(split)]), two).softmax(dim=1)[0].numpy()
        np.testing.assert_allclose(share, out, rtol=1e-4, atol=1e-6)


def test_the_packed_step_takes_raw_texts(texts_model):
    step = catalog.module(catalog.find("recurrent", kind="classifier")).pack(texts_model)
    again = type(step).build(*step.spec())
    X, _ = _texts(30, seed=3)
    cells = np.array(X, dtype=object)
    assert np.array_equal(again(cells), texts_model.predict_proba(X))
    assert np.allclose(again(cells[4:5]), again(cells)[4:5], rtol=1e-12)
    assert again(cells[:0]).shape == (0, 2)


def test_saved_and_loaded_by_itself(texts_model, tmp_path):
    X, _ = _texts(30, seed=3)
    em.wrap(texts_model, X, target="liked").save(tmp_path / "text.em")
    again = em.load(tmp_path / "text.em")
    assert list(again.predict({"text": X})) == list(texts_model.predict(X))


def test_equal_seeds_give_equal_models():
    X, y = _texts(60)
    model = em.RecurrentClassifier(**{**_SMALL, "epochs": 2, "dropout": 0.5})
    first, second = (clone(model).fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, clone(model).set_params(random_state=1).fit(X, y).predict_proba(X))


@pytest.mark.parametrize("more", [{"cell": "gru", "pooling": "attention"}, {"bptt": 5, "layers": 2}])
def test_series_of_any_length(more):
    X, y = _series()
    new, true = _series(60, seed=1)
    model = em.RecurrentClassifier(**{**_SMALL, "epochs": 25, **more}).fit(X, y)
    assert model.reader_.gaps
    assert (model.predict(new) == true).mean() > 0.85
    alone = np.concatenate([model.predict_proba([x]) for x in new])
    assert np.allclose(alone, model.predict_proba(new), atol=1e-9)


def test_other_forms_of_series():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 9))
    y = (X[:, 0] > 0).astype(int)
    flat = em.RecurrentClassifier(**_SMALL).fit(X, y)
    deep = em.RecurrentClassifier(**_SMALL).fit(X[:, :, None], y)
    rows = em.RecurrentClassifier(**_SMALL).fit([list(x) for x in X], y)
    assert np.allclose(flat.predict_proba(X), deep.predict_proba(X[:, :, None]))
    assert np.allclose(flat.predict_proba(X), rows.predict_proba(X))
    assert flat.n_features_in_ == 9
    with pytest.raises(ValueError, match="9 features"):
        flat.predict(X[:, :4])
    with pytest.raises(DataError, match="learnt from series"):
        flat.predict(["a text"])


def test_several_labels_and_numbers():
    X, _ = _texts(80)
    Y = np.array([[w in x for w in ("not", "film")] for x in X]).astype(int)
    model = em.RecurrentClassifier(**{**_SMALL, "epochs": 20, "dropout": 0.0}).fit(X, Y)
    assert model.predict(X).shape == Y.shape and (model.predict(X) == Y).mean() > 0.9
    counts = np.array([x.split().count("x") for x in X], dtype=float)
    number = em.RecurrentRegressor(**{**_SMALL, "epochs": 25, "dropout": 0.0}).fit(X, counts)
    assert number.score(X, counts) > 0.8
    both = em.RecurrentRegressor(**{**_SMALL, "epochs": 2}).fit(X, np.stack([counts, -counts], axis=1))
    assert both.predict(X[:3]).shape == (3, 2)


def test_long_rows_are_cut_and_that_is_said():
    X, y = _texts(40)
    X[0] = "long " * 50
    model = em.RecurrentClassifier(**{**_SMALL, "epochs": 1, "max_steps": 10, "validation_fraction": 0.0}).fit(X, y)
    assert any("1 of 40 rows are longer than max_steps=10" in note for note in model.history_.notes)
    far = np.zeros((3, 100_000))
    series = em.RecurrentClassifier(**{**_SMALL, "epochs": 1, "max_steps": 20}).fit(far, [0, 1, 0])
    assert any("3 of 3 rows" in note for note in series.history_.notes)
    assert series.predict(far).shape == (3,)


def test_stopped_early():
    X, y = _texts(40)
    card = catalog.find("recurrent", kind="classifier")
    model = em.RecurrentClassifier(**{**_SMALL, "epochs": 500})
    asked = []
    catalog.module(card).fit(
        model, X[:30], y[:30], valid=(X[30:], y[30:]), stop=lambda: bool(asked.append(1)) or len(asked) > 3
    )
    assert model.history_.stopped == "stop" and model.predict(X).shape == (40,)


@pytest.mark.parametrize(
    ("X", "y", "says"),
    [
        ("one text", ["a"], "single text"),
        (["a", "b"], ["x"], "2 rows and y has 1"),
        ([np.zeros((3, 2)), np.zeros((4, 1))], [0, 1], "same width"),
        ([np.array([1.0, np.inf]), np.array([2.0])], [0, 1], "infinity"),
        (np.zeros((2, 0, 1)), [0, 1], "nothing to learn"),
    ],
)
def test_what_cannot_be_learnt_is_said(X, y, says):
    with pytest.raises((EverymodelError, ValueError), match=says):
        em.RecurrentClassifier(**_SMALL).fit(X, y)
