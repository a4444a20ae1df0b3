"""A sequence through a recurrent network: inside of it in the open, back through time by torch, or said to end."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.schema import Column, Schema
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.layers import feed
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.recurrence import GATES, EachStep, PoolSteps, Ragged, Recurrent, SideBySide
from everymodel.scoring.layers.tokens import Signals
from everymodel.scoring.model import Model
from everymodel.scoring.neuron import loss_and_delta
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.cells import Cells
from everymodel.scoring.steps.network import Network
from everymodel.scoring.trace import Trace, _arrays, _owner, trace, traceable

H, D = 3, 2


def model_of(cell: str, pool: str) -> Model:
    rng = np.random.default_rng(4)

    def one_way(reverse: bool) -> Recurrent:
        g = GATES[cell] * H
        return Recurrent(cell, *(rng.normal(size=s) for s in ((D, g), (H, g), (g,), (g,))), reverse=reverse)

    score = feed.Dense(rng.normal(size=(4, 1))) if pool == "attention" else None
    between = EachStep(feed.Sequential([feed.Dense(rng.normal(size=(2 * H, 4))), feed.Activation("tanh")]))
    head = feed.Dense(rng.normal(size=(12 if pool == "all" else 4, 2)), rng.normal(size=2))
    body = feed.Sequential([SideBySide([one_way(False), one_way(True)]), between, PoolSteps(pool, 2, score), head])
    reader = Signals(np.zeros(D), np.ones(D))
    step = Network(Ragged(reader, body), gives="probabilities", link="softmax", precision="float64")
    columns = (Column("s", "sequence", shape=(6, D)), Column("y", "category", "target"))
    schema = Schema(columns, task="binary", classes=("no", "yes"))
    return Model(schema, Pack([Node("c", Cells("s", "sequence")), Node("p", step, ("c",))]), {})


def row() -> Batch:
    cells = np.empty(1, dtype=object)
    cells[0] = np.random.default_rng(5).normal(size=(6, D))
    return Batch({"s": cells}, 1)


@pytest.mark.parametrize(("cell", "pool"), [("lstm", "all"), ("gru", "attention"), ("rnn", "last"), ("lstm", "mean")])
def test_gradients_go_back_through_time(cell, pool):
    pytest.importorskip("torch")
    from everymodel.training.blocks.differentiated import gradients

    model, batch = model_of(cell, pool), row()
    made = trace(model, batch, 1, lr=1e-3, otherwise=gradients)
    assert not made.notes and made.loss is not None and made.after is not None and made.after < made.loss
    assert np.allclose(made.answer, np.ravel(model.answers(batch))) and np.allclose(made.output, made.answer)
    _, net, _ = traceable(model, batch)
    layers: list[Layer] = []
    net.root.run(net.x, lambda _, layer, x, y: layers.append(layer))
    told = {id(layer) for layer in layers}

    def loss() -> float:
        z = net.root(net.x)
        return float(loss_and_delta("cross_entropy", "softmax", z, feed.activate(z, "softmax"), np.eye(2)[[1]])[0][0])

    rng, seen = np.random.default_rng(0), 0
    for layer, part in zip(layers, made.parts, strict=True):
        for name, _ in _arrays(layer, told):
            short = {"weight": "W", "bias": "b"}[name] if isinstance(layer, feed.Dense) else name
            grad = part.values[f"grad_{short}"]
            owner, field = _owner(layer, name)
            array = getattr(owner, field)
            grad = grad.T if short == "W" else grad
            place = np.unravel_index(rng.integers(array.size), array.shape)
            kept, sides = array[place], []
            for h in (1e-6, -1e-6):
                array[place] = kept + h
                sides.append(loss())
            array[place] = kept
            assert grad[place] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7), name
            seen += 1
    assert seen >= 11


def test_without_torch_the_way_back_ends_where_it_must_and_that_is_said():
    made: Trace = trace(model_of("lstm", "last"), row(), 1)
    assert [note for note in made.notes if "Gradients end here" in note and "pool_steps" in note]
    assert "grad_W" in made.parts[-1].values and "delta" not in made.parts[0].values
    assert len(made.parts[0].values["a"]) == 6 * 2 * H  # every state of both directions
    assert made.cells == [("s", "sequence, 6 × 2")]
