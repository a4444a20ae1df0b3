"""The fast engine answers like the exact one, to float32, and leaves alone what it would not make faster."""

from __future__ import annotations

import model_parts
import numpy as np
import pytest
from test_trees import grow, make_rows

from everymodel import scoring
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.scoring import onnx
from everymodel.scoring.steps.trees import Oblivious, Trees

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.mark.parametrize("make", [model_parts.regression, model_parts.binary, model_parts.multiclass])
def test_answers_agree(make, tmp_path):
    model = make()
    model.save(tmp_path / "m.em")
    quick = scoring.load(tmp_path / "m.em", engine="onnx")
    batch, _ = model.read(model_parts.rows(500))
    np.testing.assert_allclose(quick.answers(batch), model.answers(batch), rtol=1e-5, atol=1e-6)
    assert quick.pack.output == model.pack.output
    assert load(tmp_path, quick).predict(model_parts.rows(5)) == model.predict(model_parts.rows(5))


def load(folder, model):
    """What a fast model leaves exact can be saved; what it changed cannot."""
    if any(isinstance(node.step, onnx._Fast) for node in model.pack.nodes):
        with pytest.raises(CapabilityError, match="not saved"):
            model.save(folder / "quick.em")
        return model
    model.save(folder / "quick.em")
    return scoring.load(folder / "quick.em")


def forest(w: int, trees: int = 7, leaves: int = 1500, **settings) -> Trees:
    rng = np.random.default_rng(8)
    made = [grow(rng, leaves, 4, (), rng.normal(size=3000), dict.fromkeys(range(4), (0, 1)), w) for _ in range(trees)]
    for tree in made:  # shares, as the leaves of forests are
        values = np.abs(np.asarray(tree["value"], float).reshape(-1, w))
        tree["value"] = values / values.sum(axis=1, keepdims=True)
    return Trees.of(made, 4, outputs=w, divide=trees, gives="probabilities", x_type="float32", **settings)


@pytest.mark.parametrize("w", [2, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_forests_of_large_trees(w, threads):
    step = forest(w)
    assert onnx._suits(step)
    quick = onnx._faster(step, threads)
    assert isinstance(quick, onnx.FastTrees) and quick.shares == (w == 2)
    x = make_rows(np.random.default_rng(3), 3000, 4, (), np.array([0.1, 0.5]))
    np.testing.assert_allclose(quick(x), step(x), rtol=1e-5, atol=1e-6)
    unequal = forest(2)
    unequal.value[5] *= 2.0  # not shares of one: both columns are needed
    quick = onnx._faster(unequal, 1)
    assert not quick.shares
    np.testing.assert_allclose(quick(x), unequal(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("depths", [(6, 6, 6), (0, 3, 8, 8), (2,), (1, 0)])
@pytest.mark.parametrize("nan", [False, True])
def test_symmetric_trees_in_pairs(depths, nan):
    rng = np.random.default_rng(4)
    step = Oblivious(
        depths=np.array(depths),
        feature=rng.integers(0, 3, size=sum(depths)),
        border=rng.normal(size=sum(depths)).astype(np.float32),
        value=rng.normal(size=(sum(2**d for d in depths), 1)),
        n_features=3,
        scale=0.7,
        bias=np.array([0.25]),
        nan_true=np.array([1, 0, 1], dtype=np.int8) if nan else None,
        link="sigmoid",
        gives="probabilities",
    )
    quick = onnx._faster(step, 2)
    assert isinstance(quick, onnx.PairedTrees)
    for n in (1, 7, 20_000):
        x = make_rows(rng, n, 3, (), step.border.astype(float))
        np.testing.assert_allclose(quick(x), step(x), rtol=1e-12, atol=1e-12)
    assert quick(x[:0]).shape == (0, 2)


def test_threads_share_rows_and_change_nothing():
    rng = np.random.default_rng(6)
    step = Trees.of([grow(rng, 20, 4, (), rng.normal(size=9), dict.fromkeys(range(4), (0,))) for _ in range(9)], 4)
    assert onnx._faster(step, 1) is step  # the masks of the numpy engine are quicker than ONNX Runtime
    shared = onnx._faster(step, 3)
    assert isinstance(shared, onnx.SharedTrees)
    for n in (0, 1, 5000, 30_001):
        x = rng.normal(size=(n, 4))
        assert np.array_equal(shared(x), step(x))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("x_type", ["float64", "float32"])
@pytest.mark.parametrize("marks", [(0,), (0, 1), (2,)])
@pytest.mark.parametrize("w", [1, 3])
def test_every_kind_of_split(strict, x_type, marks, w):
    rng = np.random.default_rng(5)
    cuts = np.append(rng.normal(size=9), [0.0, 0.1])  # float64 thresholds, also for float32 features
    trees = [grow(rng, 20, 5, (), cuts, {f: marks for f in range(5)}, w) for _ in range(6)]  # noqa: C420
    groups = [t % 2 for t in range(6)] if w == 1 else None
    step = Trees.of(
        trees,
        5,
        outputs=2 if w == 1 else 3,
        groups=groups,
        base=[0.5] * (2 if w == 1 else 3),
        divide=6,
        x_type=x_type,
        comparison="<" if strict else "<=",
    )
    x = make_rows(rng, 800, 5, (), cuts)
    np.testing.assert_allclose(onnx.FastTrees(step, 1)(x), step(x), rtol=1e-5, atol=1e-6)


def test_what_it_cannot_run(tmp_path):
    from everymodel.scoring.graph import Node, Pack
    from everymodel.scoring.model import Model

    schema = model_parts.regression().schema
    nodes = [Node("matrix", model_parts.Matrix(("size",)))]
    with pytest.raises(CapabilityError, match="trees"):
        Model(schema, Pack(nodes)).fast()
    model_parts.regression().save(tmp_path / "m.em")
    with pytest.raises(ParameterError):
        scoring.load(tmp_path / "m.em", engine="gpu")
