"""Feed-forward networks for tables: recipes, awkward tables, and the same answers without torch."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

import torch
from sklearn.datasets import load_diabetes, load_digits

from everymodel.core.errors import ModelFileError, ParameterError
from everymodel.models.neural import feed_forward
from everymodel.models.neural._tabular import Shape, TableNet, learn_front, seen
from everymodel.models.neural.feed_forward import FeedForwardClassifier, FeedForwardRegressor
from everymodel.scoring.layers import base
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks.feed import Thinned


def table(n: int = 120, seed: int = 0) -> np.ndarray:
    """Numbers with gaps, a heavy tail, a constant, a column of two and a column of thirty levels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    X[:, 1] = np.exp(4 * X[:, 1])
    X[::5, 2] = np.nan
    X[:, 3] = 7.0
    X[:, 4] = rng.integers(0, 2, n)
    X[:, 5] = rng.integers(0, 30, n)
    return X


SHAPES = [
    Shape(hidden=(8, 6), members=3, embedding="periodic", activation="mish"),
    Shape(hidden=(8,), members=1, embedding="piecewise", activation="selu"),
    Shape(hidden=(5, 5), members=2, embedding="none", dropout=0.5),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.embedding)
@pytest.mark.parametrize("nets", [1, 3])
def test_numpy_answers_like_torch(shape, nets):
    X = table(300)
    front = learn_front(X, [4, 5])
    Z = seen(front, X)
    torch.manual_seed(0)
    net = TableNet(front, Z, 2, shape, nets=nets).eval()
    with torch.no_grad():
        for p in net.parameters():  # heads start at zero
            p.add_(0.3 * torch.randn_like(p))
        net.train()(torch.as_tensor(Z))  # the running means of normalisation
        net.eval()
        told = net(torch.as_tensor(Z)).numpy()  # (f, n, k, 2)
    for i in range(nets):
        layers, arrays = base.write(net.layer(i))
        answer = base.read(layers, arrays)(Z)
        answer = answer if answer.ndim == 3 else answer[:, None]
        assert np.abs(answer - told[i]).max() < 1e-5 * np.abs(told).max()


@pytest.mark.parametrize("shape", SHAPES[:2], ids=lambda s: s.embedding)
def test_gradients_of_the_layers_agree_with_autograd(shape):
    X = table(300)
    front = learn_front(X, [4, 5])
    Z = seen(front, X)[:20]
    torch.manual_seed(0)
    net = TableNet(front, Z, 2, shape).eval().double()
    Z[:, : len(front.numbers)] += 0.0123  # off the edges of pieces, where a slope is anybody's choice
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn_like(p))
    x = torch.as_tensor(Z, dtype=torch.float64).requires_grad_()
    net(x).square().sum().backward()
    told, arrays = base.write(net.layer())
    root = base.read(told, {k: a.astype(np.float64) if a.dtype.kind == "f" else a for k, a in arrays.items()})
    y = root(Z.astype(np.float64))
    found: dict[str, np.ndarray] = {}
    dx = root.pull(Z.astype(np.float64), 2 * y, lambda path, layer, d, dx, g: found.update(g))
    m = front.kept
    assert np.allclose(dx[:, :m], x.grad.numpy()[:, :m], rtol=1e-7, atol=1e-9)
    if shape.embedding == "periodic":
        assert np.allclose(found["table"], net.levels.table.grad[0].numpy(), rtol=1e-7, atol=1e-9)
        assert np.allclose(found["frequency"], net.wave.frequency.grad[0, 0].numpy(), rtol=1e-7, atol=1e-9)


def test_damaged_layers_are_refused():
    X = table(300)
    front = learn_front(X, [4, 5])
    net = TableNet(front, seen(front, X), 2, SHAPES[0])
    told, arrays = Network(net.layer(), precision="float64").spec()
    whole, rest = base.write(front)

    def damaged(told, arrays, place, word, value):
        entry = next(e for e in entries(told) if e["layer"] == place)
        with pytest.raises(ModelFileError):
            base.read(told, {**arrays, entry["arrays"][word]: value})

    def entries(entry):
        yield entry
        for inside in entry.get("inside", {}).values():
            for part in inside if isinstance(inside, list) else [inside]:
                yield from entries(part)

    told = told["layers"]
    damaged(told, arrays, "periodic", "phase", np.zeros((2, 2), dtype=np.float32))
    damaged(told, arrays, "levels", "starts", np.array([10**6]))
    damaged(told, arrays, "levels", "table", np.full((31, 8), np.nan, dtype=np.float32))
    for word, value in (
        ("numbers", np.array([0, 99], dtype=np.int32)),
        ("numbers", np.array([0.5, 1.5])),
        ("scale", np.ones(1)),
        ("starts", np.array([0, 10**6], dtype=np.int32)),
        ("starts", np.array([-1, 30], dtype=np.int32)),
        ("hot_level", np.zeros(5)),
    ):
        damaged(whole, rest, "tabular", word, value)


def test_plain_network_of_tutorials_reads_digits():
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8)
    model = FeedForwardClassifier("plain", hidden=(128,), epochs=20, random_state=0, learning_rate=0.003).fit(
        images[:1200], y[:1200]
    )
    assert model.score(images[1200:], y[1200:]) > 0.91
    assert model.n_features_in_ == 64 and len(model.history_.epochs) == 20
    assert np.array_equal(model.predict(images[:5]), model.predict(X[:5]))
    step = feed_forward.pack(model)
    assert [layer.word for layer in step.layers.parts()] == ["tabular", "dense", "activation", "dense"]


def test_better_than_a_line_and_equal_seeds_give_equal_networks():
    X, _ = load_diabetes(return_X_y=True)
    wave = np.abs(X[:, 2] / X[:, 2].std()) * 3 + X[:, 8] / X[:, 8].std()
    a = FeedForwardRegressor(random_state=3, epochs=20, width=64).fit(X[:350], wave[:350])
    b = FeedForwardRegressor(random_state=3, epochs=20, width=64).fit(X[:350], wave[:350])
    assert np.array_equal(a.predict(X), b.predict(X))
    line = np.linalg.lstsq(np.c_[X[:350], np.ones(350)], wave[:350], rcond=None)[0]
    assert a.score(X[350:], wave[350:]) > 0
    assert np.mean((a.predict(X[350:]) - wave[350:]) ** 2) < np.mean(
        (np.c_[X[350:], np.ones(92)] @ line - wave[350:]) ** 2
    )


def test_levels_decide_where_numbers_say_nothing():
    """Thirty level codes in no order: an embedding sees them, unseen and missing ones get an answer too."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=30)
    X = np.column_stack([rng.normal(size=600), rng.integers(0, 30, 600).astype(float)])
    y = value[X[:, 1].astype(int)] > 0
    model = FeedForwardClassifier(categorical_features=[1], epochs=25, random_state=0).fit(X[:450], y[:450])
    assert model.score(X[450:], y[450:]) > 0.97
    strange = model.predict_proba([[0.0, 999.0], [0.0, np.nan], [np.nan, 3.0]])
    assert np.isfinite(strange).all() and np.allclose(strange[0], strange[1])


QUICK = {"epochs": 3, "hidden": (8,), "members": 2, "random_state": 0}


def test_levels_of_few_rows_count_as_not_seen():
    rng = np.random.default_rng(0)
    column = np.r_[np.repeat(np.arange(10.0), 8), np.arange(100.0, 140.0), np.nan]
    X = np.column_stack([rng.normal(size=len(column)), column])
    front = learn_front(X, [1])
    assert front.levels.tolist() == list(range(10))
    codes = seen(front, np.array([[0.0, 3.0], [0.0, 120.0], [0.0, 999.0], [0.0, np.nan]]))[:, -1]
    assert codes[0] == 3 and (codes[1:] == codes[1]).all()
    everyone_once = np.column_stack([X[:, 0], np.arange(len(X))])
    assert not len(learn_front(everyone_once, [1]).coded)  # a column of names says nothing


def test_patterns_leave_out_a_share_of_each_row():
    torch.manual_seed(0)
    thin = Thinned(64, 0.25)
    x = torch.ones(3, 500, 64)
    made = thin(x)
    assert set(made.unique().tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert abs(float((made == 0).float().mean()) - 0.25) < 0.01
    assert len(made.view(-1, 64).unique(dim=0)) > 700 and not torch.equal(thin(x), made)
    assert torch.equal(thin.eval()(x), x)


@pytest.mark.parametrize("recipe", ["table", "plain"])
def test_awkward_tables_are_answered(recipe):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 3
    for X in (
        np.ones((40, 2)),
        np.column_stack([np.full(40, np.nan), rng.normal(size=40)]),
        rng.normal(size=(40, 1)) * 1e30,
        rng.normal(size=(40, 2)) * 1e-300,
        np.where(rng.random((40, 3)) < 0.5, np.nan, rng.choice([-1.7e308, 0.0, 1.7e308], (40, 3))),
        rng.normal(size=(40, 10_000)).astype(np.float32),
    ):
        model = FeedForwardClassifier(recipe, **QUICK).fit(X, y)
        assert np.isfinite(model.predict_proba(X)).all()
    model = FeedForwardClassifier(recipe, **QUICK).fit(rng.normal(size=(60, 2)), np.arange(60) % 2)
    assert np.isfinite(model.predict_proba([[1e30, -1e300]])).all()
    with pytest.raises(ValueError, match="infinity"):
        model.predict([[np.inf, 0.0]])
    two = FeedForwardRegressor(recipe, **QUICK).fit([[0.0], [1.0]], [1.0, 2.0])
    assert np.isfinite(two.predict([[0.5]])).all()
    each = FeedForwardClassifier(recipe, **QUICK, validation_fraction=0.2).fit(np.eye(4), list("abcd"))
    assert each.predict_proba(np.eye(4)).shape == (4, 4)


def test_classes_that_only_validation_rows_have():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = (X[:, 0] > 0).astype(int)
    y[70:] = 2
    model = FeedForwardClassifier(**QUICK).train(X[:60], y[:60], valid=(X[60:], y[60:]))
    assert model.predict_proba(X).shape == (80, 2)
    assert feed_forward.pack(model, n_classes=3)(X).shape == (80, 3)
    assert all(np.isfinite(e["valid_loss"]) for e in model.history_.epochs)


def test_parameters_are_judged_in_words():
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2
    with pytest.raises(ParameterError, match="recipe"):
        FeedForwardClassifier(recipe="cake").fit(X, y)
    with pytest.raises(ParameterError, match="hidden"):
        FeedForwardClassifier(hidden=(0,)).fit(X, y)
    with pytest.raises(ParameterError, match="embeddings"):
        FeedForwardClassifier("plain", categorical_features=[0]).fit(X, y)
