"""One layer in the open: the worked example, gradients by finite differences and autograd, shapes, words of errors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import everymodel as em
from everymodel.core.errors import ParameterError
from everymodel.scoring.layers.feed import ACTIVATIONS
from everymodel.scoring.neuron import FORMULAS, LOSS_FORMULAS, LOSSES, loss_formulas

X, W, B = [2, 3], [[0.5, -1.2], [0.8, 0.7]], [0.1, -0.3]
CASES = [
    (activation, loss)
    for activation in ACTIVATIONS
    for loss in LOSSES
    if loss != "cross_entropy" or activation in ("sigmoid", "softmax")
]


def drawn(activation: str, loss: str, n: int | None = None):
    rng = np.random.default_rng(7)
    shape = (3,) if n is None else (n, 3)
    target = rng.uniform(size=shape)
    if loss == "cross_entropy" and activation == "softmax":
        target /= target.sum(axis=-1, keepdims=True)
    x = rng.normal(size=(4,) if n is None else (n, 4))
    return x, rng.normal(size=(3, 4)), rng.normal(size=3), target


def test_worked_example():
    made = em.neuron(X, W, B, "sigmoid")
    assert np.allclose(made["z"], [-2.5, 3.4], atol=1e-12)
    assert np.allclose(made["a"], [0.075858, 0.967705], atol=5e-7)
    assert set(made) == {"z", "a", "loss", "delta", "grad_W", "grad_b", "new_W", "new_b", "grad_x"}
    assert all(made[name] is None for name in set(made) - {"z", "a"})


def test_worked_example_learns_by_the_formulas():
    made = em.neuron(X, W, B, "sigmoid", target=[0, 1], loss="mse", lr=0.5)
    a = np.array([1 / (1 + np.exp(2.5)), 1 / (1 + np.exp(-3.4))])
    assert made["loss"] == pytest.approx(((a - [0, 1]) ** 2).mean(), abs=1e-15)
    delta = 2 / 2 * (a - [0, 1]) * a * (1 - a)
    assert np.allclose(made["delta"], delta, atol=1e-15)
    assert np.allclose(made["grad_W"], np.outer(delta, X), atol=1e-15) and np.allclose(made["grad_b"], delta)
    assert np.allclose(made["new_W"], np.array(W) - 0.5 * np.outer(delta, X)) and made["new_W"].shape == (2, 2)
    after = em.neuron(X, made["new_W"], made["new_b"], "sigmoid", target=[0, 1], loss="mse")
    assert after["loss"] < made["loss"]


@pytest.mark.parametrize(("activation", "loss"), CASES)
@pytest.mark.parametrize("n", [None, 5])
def test_gradients_agree_with_finite_differences(activation, loss, n):
    x, w, b, target = drawn(activation, loss, n)
    made = em.neuron(x, w, b, activation, target=target, loss=loss)
    for name, at in (("grad_W", w), ("grad_b", b), ("grad_x", x)):
        slopes = np.empty(at.shape)
        for place in np.ndindex(at.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = at.copy()
                moved[place] += step
                given = {"grad_W": (x, moved, b), "grad_b": (x, w, moved), "grad_x": (moved, w, b)}[name]
                sides.append(em.neuron(*given, activation, target=target, loss=loss)["loss"])
            slopes[place] = (sides[0] - sides[1]) / 2e-6
        assert np.allclose(made[name], slopes, atol=1e-6), name
        assert made[name].shape == at.shape


@pytest.mark.parametrize(("activation", "loss"), CASES)
def test_numbers_agree_with_autograd(activation, loss):
    torch = pytest.importorskip("torch")
    from torch.nn import functional as F

    given = drawn(activation, loss, 5)
    x, w, b, target = (torch.tensor(v, requires_grad=i < 3) for i, v in enumerate(given))
    z = F.linear(x, w, b)
    phi = {"softmax": lambda v: v.softmax(-1), "identity": lambda v: v}.get(activation) or getattr(F, activation)
    a = phi(z)
    z.retain_grad()
    if loss == "mse":
        value = F.mse_loss(a, target)
    elif loss == "half_squared_error":
        value = 0.5 * ((a - target) ** 2).sum(-1).mean()
    elif activation == "sigmoid":
        value = F.binary_cross_entropy(a, target)
    else:
        value = F.cross_entropy(z, target)
    value.backward()
    made = em.neuron(*given[:3], activation, target=given[3], loss=loss)
    assert made["loss"] == pytest.approx(value.item(), abs=1e-12)
    for name, theirs in (("a", a), ("delta", z.grad), ("grad_W", w.grad), ("grad_b", b.grad), ("grad_x", x.grad)):
        assert np.allclose(made[name], theirs.detach().numpy(), atol=1e-12), name


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kinks_and_far_numbers_stay_finite(activation):
    for z in (0.0, 1e-300, 800.0, -800.0, 1e150, -1e150):
        made = em.neuron([1.0], [[z]], [0.0], activation, target=[0.5], loss="mse")
        assert all(np.isfinite(made[name]).all() for name in ("z", "a", "delta", "grad_W"))
    sure = em.neuron([1.0], [[900.0], [-900.0]], [0.0, 0.0], "softmax", target=1)
    assert sure["loss"] == 1800.0 and sure["delta"].tolist() == [1.0, -1.0]
    assert em.neuron([1.0], [[900.0]], [0.0], "sigmoid", target=[0.0])["loss"] == 900.0


def test_a_single_neuron_and_a_batch_keep_the_shapes_given():
    one = em.neuron(X, [0.5, -1.2], 0.1, "sigmoid", target=1, lr=0.1)
    assert one["z"] == pytest.approx(-2.5) and one["z"].shape == () and one["grad_b"].shape == ()
    assert one["grad_W"].shape == one["new_W"].shape == (2,)
    batch = em.neuron([X, [1, 0], [0, 1]], W, B, "softmax", target=[1, 0, 1])
    rows = [em.neuron(x, W, B, "softmax", target=t) for x, t in ((X, 1), ([1, 0], 0), ([0, 1], 1))]
    assert batch["z"].shape == (3, 2) and batch["grad_x"].shape == (3, 2)
    assert batch["loss"] == pytest.approx(np.mean([r["loss"] for r in rows]))
    assert np.allclose(batch["grad_W"], np.mean([r["grad_W"] for r in rows], axis=0))
    two = em.neuron([X, [1, 0]], W, B, "softmax", target=[1, 0])  # as many rows as classes
    assert two["loss"] == pytest.approx((rows[0]["loss"] + rows[1]["loss"]) / 2)
    assert em.neuron(X, W, B, "softmax", target=1)["loss"] == em.neuron(X, W, B, "softmax", target=[0, 1])["loss"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": [1, 2, 3]}, r"x has the shape \(3,\)"),
        ({"x": []}, "x has the shape"),
        ({"W": [[1, 2], [3]]}, "W cannot be read"),
        ({"W": [[[1.0]]]}, r"\(out, in\)"),
        ({"b": [1.0]}, "b has the shape"),
        ({"b": [np.nan, 0]}, "b holds numbers that are missing"),
        ({"x": ["two", 3]}, "x cannot be read"),
        ({"activation": "step"}, "expected one of identity"),
        ({"activation": "tanh", "loss": "cross_entropy"}, "sigmoid or softmax"),
        ({"loss": "hinge"}, "loss='hinge' is unknown"),
        ({"target": [1, 0, 1]}, "target has the shape"),
        ({"target": [2, 0]}, "shares from 0 to 1"),
        ({"activation": "softmax", "target": 2}, "0 to 1"),
        ({"activation": "softmax", "target": 0.5}, "number of a class"),
        ({"activation": "softmax", "target": [0.5, 0.6]}, "add up to 1"),
        ({"target": None, "lr": 0.1}, "without a target"),
        ({"target": None, "loss": "mse"}, "needs a target"),
        ({"lr": "fast"}, "lr='fast'"),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    given = {"x": X, "W": W, "b": B, "activation": "sigmoid", "target": [0, 1], **change}
    with pytest.raises(ParameterError, match=words):
        em.neuron(**given)


def test_formulas_stand_for_every_word():
    assert set(FORMULAS) == set(ACTIVATIONS)
    assert {loss_formulas(loss, activation) for activation, loss in CASES} == set(LOSS_FORMULAS.values())


def test_numpy_is_all_it_needs():
    code = (
        "import everymodel as em, sys; em.neuron([1], [[2]], [3], 'relu', target=[1]);"
        "assert not {'pandas', 'sklearn', 'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
