"""Backward passes of layers, one by one: by central differences of sum(d * y), for inputs and every array."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from everymodel.scoring.layers import embeddings, feed
from everymodel.scoring.layers.base import Layer

RNG = np.random.default_rng(11)


def n(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


LAYERS: dict[str, tuple[Layer, np.ndarray]] = {
    "dense": (feed.Dense(n(4, 3), n(3)), n(5, 4)),
    "dense without bias": (feed.Dense(n(4, 3)), n(5, 4)),
    "dense of steps": (feed.Dense(n(4, 3), n(3)), n(5, 2, 4)),
    "dense of members, one input": (feed.Dense(n(2, 4, 3), n(2, 3)), n(5, 4)),
    "dense of members, own inputs": (feed.Dense(n(2, 4, 3), n(2, 3)), n(5, 2, 4)),
    "affine": (feed.Affine(n(4), n(4)), n(5, 4)),
    "affine of members": (feed.Affine(n(2, 4), n(2, 4)), n(5, 2, 4)),
    "affine, shift alone": (feed.Affine(None, n(4)), n(5, 4)),
    "affine by one number": (feed.Affine(n(1), n(1)), n(5, 4)),
    "normalize": (feed.Normalize(n(4), n(4)), n(5, 4)),
    "normalize of members": (feed.Normalize(), n(5, 2, 4)),
    "columns twice": (feed.Columns(np.array([2, 0, 2])), n(5, 4)),
    "columns of members": (feed.Columns(np.array([2, 0, 2])), n(5, 3, 4)),
    "members": (feed.Members("identity"), n(5, 3, 4)),
    "members softmax": (feed.Members("softmax"), n(5, 3, 4)),
    "members sigmoid": (feed.Members("sigmoid"), n(5, 3, 4)),
    "residual": (feed.Residual(feed.Dense(n(4, 4), n(4)), None), n(5, 4)),
    "concat": (feed.Concat([feed.Dense(n(4, 2)), feed.Columns(np.array([1]))]), n(5, 4)),
    "sequential": (feed.Sequential([feed.Dense(n(4, 3)), feed.Activation("mish"), feed.Dense(n(3, 2))]), n(5, 4)),
    "nothing": (feed.Sequential([]), n(5, 4)),
    "periodic": (embeddings.Periodic(n(4, 3), n(4, 3), n(4, 3, 2), n(4, 2)), n(5, 4)),
    "piecewise": (embeddings.Piecewise(np.array([0, 0, 3]), n(3), np.array([0.5, 1.0, 2.0])), n(5, 4)),
    "clip": (embeddings.Clip(np.full(4, -0.5), np.full(4, 0.7)), n(5, 4)),
}
for _kind in feed.ACTIVATIONS:
    LAYERS[_kind] = (feed.Activation(_kind), n(5, 4))
    if _kind != "softmax":
        LAYERS[f"parametric {_kind}"] = (feed.Activation(_kind, amount=n(4)), n(5, 4))
        LAYERS[f"parametric {_kind} of members"] = (feed.Activation(_kind, amount=n(2, 4)), n(5, 2, 4))
LAYERS["parametric, steps"] = (feed.Activation("tanh", amount=n(4)), n(5, 3, 4))


def held(layer: Layer) -> list[tuple[Layer, str]]:
    own = [(layer, f.name) for f in fields(layer)]  # type: ignore[arg-type]
    inside = [pair for part in layer.parts() for pair in held(part)]
    return [
        (o, f) for o, f in own if isinstance(getattr(o, f), np.ndarray) and getattr(o, f).dtype.kind == "f"
    ] + inside


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_the_layer(name):
    layer, x = LAYERS[name]
    x = x.copy()
    d = np.random.default_rng(1).normal(size=layer(x).shape)
    told: dict[tuple[int, str], np.ndarray] = {}

    def watch(path, part, slope, dx, gradients):
        told.update({(id(part), key): grad for key, grad in gradients.items()})

    dx = layer.pull(x, d, watch)

    def differences(array: np.ndarray) -> np.ndarray:
        slopes = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            kept, sides = array[place], []
            for h in (1e-6, -1e-6):
                array[place] = kept + h
                sides.append(float((d * layer(x)).sum()))
            array[place] = kept
            slopes[place] = (sides[0] - sides[1]) / 2e-6
        return slopes

    assert np.allclose(dx, differences(x), atol=1e-6)
    fixed = ("start", "width", "low", "high")  # places of bends are not learnt
    for part, key in held(layer):
        if key not in fixed:
            assert told[id(part), key].shape == getattr(part, key).shape
            assert np.allclose(told[id(part), key], differences(getattr(part, key)), atol=1e-6), key


def test_levels_give_gradients_to_the_rows_they_took():
    layer = embeddings.Levels(n(5, 2), np.array([0, 3]))
    x = np.array([[1.0, 0.0], [1.0, 1.0]])
    d = n(2, 4)
    _, grads = layer.backward(x, layer(x), d)
    assert np.allclose(grads["table"][1], d[0, :2] + d[1, :2]) and np.allclose(grads["table"][3], d[0, 2:])
    assert not grads["table"][[0, 2]].any()


def test_every_layer_inside_is_told_of_once_and_in_turn():
    layer, x = LAYERS["sequential"]
    paths = []
    layer.pull(x, np.ones((5, 2)), lambda path, *_: paths.append(path))
    assert paths == ["2", "1", "0"]
    join, x = LAYERS["concat"]
    told = {}
    join.pull(x, np.ones((5, 3)), lambda path, part, d, dx, grads: told.__setitem__(path, d.shape))
    assert told == {"0": (5, 2), "1": (5, 1)}
