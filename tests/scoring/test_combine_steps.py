"""Blending, calibrating, undoing target changes, and graphs of steps."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from everymodel.core.errors import ModelFileError
from everymodel.scoring import steps
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import STEPS, Batch, Sparse
from everymodel.scoring.steps.combine import (
    Bands,
    Blend,
    Calibrate,
    Clip,
    Columns,
    Mean,
    Place,
    Stack,
    Transform,
    link,
)

RNG = np.random.default_rng(0)


def again(step):
    """The step after a trip through JSON and arrays."""
    settings, arrays = step.spec()
    return type(step).build(json.loads(json.dumps(settings)), arrays)


def test_blend_adds_in_order_and_leaves_its_inputs_alone():
    a, b = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))
    kept = a.copy(), b.copy()
    step = again(Blend(np.array([0.25, 0.75]), gives="probabilities"))
    assert step.output == "probabilities"
    assert np.array_equal(step(a, b), a * 0.25 + b * 0.75)
    assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])
    by_column = again(Blend(np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])))
    np.testing.assert_allclose(by_column(a, b), np.column_stack([a[:, 0], b[:, 1], (a[:, 2] + b[:, 2]) / 2]))
    assert np.array_equal(again(Mean())(a, b), (a + b) / 2)


def test_calibrate_binary_scores_and_probabilities():
    scores = np.array([-800.0, -1.0, 0.0, 2.0, 800.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = again(Calibrate(np.array([2.0]), np.array([0.5])))(scores)
    expected = 1 / (1 + np.exp(-np.clip(2 * scores + 0.5, -700, 700)))
    np.testing.assert_allclose(answer[:, 1], expected, atol=1e-15)
    np.testing.assert_allclose(answer.sum(axis=1), 1.0)
    p = np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0]])
    same = Calibrate(np.array([1.0]), np.array([0.0]), log=True)(p)
    np.testing.assert_allclose(same, p, atol=1e-12)
    np.testing.assert_allclose(Calibrate(np.array([1.0]), np.array([0.0]))(scores[:, None]).shape, (5, 2))


def test_calibrate_many_classes_and_many_labels():
    scores = RNG.normal(size=(6, 3))
    answer = again(Calibrate(np.array([1.0, 2.0, 0.5]), np.array([0.0, 0.1, -0.1])))(scores)
    z = np.exp(scores * [1.0, 2.0, 0.5] + [0.0, 0.1, -0.1])
    np.testing.assert_allclose(answer, z / z.sum(axis=1, keepdims=True))
    each = again(Calibrate(np.ones(3), np.zeros(3), each=True))(scores)
    np.testing.assert_allclose(each, 1 / (1 + np.exp(-scores)))
    p = np.array([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(Calibrate(np.ones(1), np.zeros(3), log=True)(p), p)
    np.testing.assert_allclose(Calibrate(np.ones(3), np.zeros(3), each=True, log=True)(p), p, atol=1e-12)


@pytest.mark.parametrize("kind", ["identity", "log1p", "log", "signed_log"])
def test_transform_undoes_what_training_did(kind):
    forward = {
        "identity": lambda y: y,
        "log1p": np.log1p,
        "log": np.log,
        "signed_log": lambda y: np.sign(y) * np.log1p(np.abs(y)),
    }[kind]
    y = np.abs(RNG.normal(size=50)) * 1000 + 1e-3
    if kind in ("identity", "signed_log"):
        y[::2] *= -1
    z = (forward(y) - 1.5) / 0.3
    np.testing.assert_allclose(again(Transform(kind, 1.5, 0.3))(z), y, rtol=1e-9)
    wide = np.column_stack([z, z])
    np.testing.assert_allclose(again(Transform(kind, np.full(2, 1.5), np.full(2, 0.3)))(wide)[:, 1], y, rtol=1e-9)
    assert np.isfinite(Transform(kind)(np.array([1e9, -1e9]))).all()


def test_small_steps():
    x = RNG.normal(size=(4, 3))
    assert np.array_equal(again(Columns(np.array([2, 0])))(x), x[:, [2, 0]])
    assert np.array_equal(again(Clip(low=0.0))(x), np.maximum(x, 0))
    assert again(Clip())(x) is x
    placed = again(Place(np.array([2, 0]), 4, fill=0.0))(x[:, :2])
    assert np.array_equal(placed[:, [2, 0]], x[:, :2]) and (placed[:, [1, 3]] == 0).all()
    assert np.array_equal(Stack()(x[:, 0], x), np.column_stack([x[:, 0], x]))
    sparse = Sparse(np.array([5.0]), np.array([1]), np.array([0, 0, 1, 1, 1]), (4, 2))
    assert np.array_equal(Stack()(sparse, x[:, 0]).toarray(), np.column_stack([sparse.toarray(), x[:, 0]]))
    np.testing.assert_allclose(
        again(Bands(np.array([0.0, 1.0]), np.array([1.0, 3.0])))(np.array([-1, 0.5, 9])), [1, 2, 3]
    )
    np.testing.assert_allclose(link(np.array([[1.0, 3.0]]), "normalize"), [[0.25, 0.75]])
    np.testing.assert_allclose(link(np.array([1.0]), "exp"), [np.e])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Blend(np.array([np.nan])),
        lambda: Blend(np.zeros((2, 2, 2))),
        lambda: Blend(np.ones(2), gives="code"),
        lambda: Calibrate(np.ones(2), np.ones(3)),
        lambda: Calibrate(np.array([np.inf]), np.ones(1)),
        lambda: Transform("eval"),
        lambda: Transform("log", offset=float("nan")),
        lambda: Transform("log", scale=np.array([np.inf])),
        lambda: Clip(low=float("inf")),
        lambda: Columns(np.array([-1])),
        lambda: Columns(np.array([0.5])),
        lambda: Place(np.array([0, 0]), 3),
        lambda: Place(np.array([0, 5]), 3),
        lambda: Place(np.array([0, 1]), 10**9),
        lambda: Bands(np.array([1.0, 0.0]), np.ones(2)),
        lambda: Bands(np.ones(2), np.ones(3)),
    ],
)
def test_damaged_settings_are_refused(wrong):
    with pytest.raises(ModelFileError):
        wrong().check()


# ---- graphs ----------------------------------------------------------------------------------------------------------


def chain(count):
    nodes, before = [Node("x0", Columns(np.array([0])), ("table",))], "x0"
    for i in range(1, count):
        nodes.append(Node(f"x{i}", Clip(), (before,)))
        before = f"x{i}"
    return nodes


def test_names_with_dots_keep_their_arrays():
    nodes = [Node("a.b", Columns(np.array([1, 0]))), Node("a", Columns(np.array([0])), ("a.b",))]
    spec, arrays = Pack(nodes).spec()
    assert set(arrays) == {"a.b.index", "a.index"}
    made = Pack.build(json.loads(json.dumps(spec)), arrays)
    assert np.array_equal(made(np.array([[1.0, 2.0]])), [[2.0]])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["nodes"].append(dict(s["nodes"][0])),
        lambda s: s["nodes"].reverse(),
        lambda s: s["nodes"][0].update(inputs=["x1"]),
        lambda s: s["nodes"][0].update(inputs=5),
        lambda s: s["nodes"][0].update(name="table"),
        lambda s: s["nodes"][0].update(name=7),
        lambda s: s["nodes"][0].update(step=["clip"]),
        lambda s: s["nodes"][0].update(settings=[1]),
        lambda s: s.update(nodes={}),
        lambda s: s.update(nodes=[5]),
        lambda s: s.update(answer="none"),
        lambda s: s.update(nodes=s["nodes"] * 9000),
        lambda s: s.pop("answer"),
    ],
)
def test_broken_graphs_are_refused(change):
    spec, arrays = Pack(chain(3)).spec()
    change(spec)
    with pytest.raises(ModelFileError):
        Pack.build(spec, arrays)


def test_arrays_of_no_node_are_refused():
    spec, arrays = Pack(chain(2)).spec()
    with pytest.raises(ModelFileError, match="unknown nodes"):
        Pack.build(spec, {**arrays, "other.index": np.array([0])})


def test_the_answer_may_stand_before_the_end():
    nodes = [*chain(2), Node("never", Place(np.array([0]), 2), ("x1",))]
    assert Pack(nodes, answer="x1")(np.array([[3.0]])) == [[3.0]]


def test_steps_have_words_of_their_own_and_none_names_python():
    assert all(word == made.word and word.replace("_", "").isalnum() for word, made in steps.load_all().items())
    assert "fast_trees" not in STEPS
    named = {module: set(words) for module, words in steps.MODULES.items()}
    found: dict[str, set[str]] = {}
    for word, made in STEPS.items():
        if made.__module__.startswith("everymodel."):
            found.setdefault(made.__module__.rpartition(".")[2], set()).add(word)
    assert named == found  # a step that is not listed would be saved, but never opened
    assert steps.find("os") is None and steps.find(["trees"]) is None and steps.find("linear") is STEPS["linear"]
    assert len(Batch({"a": np.zeros(3)}, 3).take(np.array([0, 2]))) == 2
