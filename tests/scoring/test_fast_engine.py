"""The ONNX engine answers like the numpy one, to float32, and refuses what it cannot run."""

from __future__ import annotations

import model_parts
import numpy as np
import pytest
from test_trees import grow, make_rows

from everymodel import scoring
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.scoring.steps.trees import Trees

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
    with pytest.raises(CapabilityError, match="not saved"):
        quick.save(tmp_path / "quick.em")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("x_type", ["float64", "float32"])
@pytest.mark.parametrize("marks", [(0,), (0, 1), (2,)])
@pytest.mark.parametrize("w", [1, 3])
def test_every_kind_of_split(strict, x_type, marks, w):
    from everymodel.scoring.onnx import FastTrees

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
    np.testing.assert_allclose(FastTrees(step, 1)(x), step(x), rtol=1e-5, atol=1e-6)


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
