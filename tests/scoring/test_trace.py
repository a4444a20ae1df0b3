"""One row through a network: forward numbers are the answer, gradients are those of the loss, nothing is silent."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import table
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.layers import base, feed
from everymodel.scoring.model import Model
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.combine import Blend, Mean, Transform
from everymodel.scoring.steps.dense import Dense as DenseStep
from everymodel.scoring.steps.linear import Linear, LinearProbabilities
from everymodel.scoring.steps.network import Network
from everymodel.scoring.steps.prepare import Dates, Impute, Join, Numbers, OneHot, Scale
from everymodel.scoring.steps.trees import Trees
from everymodel.scoring.trace import Trace, targets, trace, traceable

INPUTS = 4
ROW = {"p": 0.5, "q": -1.25, "r": 2.0, "s": 0.75}


def model_of(*steps: Step, task: str = "regression", classes: tuple = (), blend: Step | None = None, wanted=("y",)):
    """A model whose matrix of four numbers goes into each of the steps (a tuple: one after the other)."""
    nodes, ends = [Node("n", Numbers(tuple(ROW)))], []
    for i, chain in enumerate(steps):
        last = "n"
        for j, step in enumerate(chain if isinstance(chain, tuple) else (chain,)):
            nodes.append(Node(f"m{i}.{j}", step, (last,)))
            last = f"m{i}.{j}"
        ends.append(last)
    if blend is not None:
        nodes.append(Node("answer", blend, tuple(ends)))
    columns = [Column(name, "number", low=-3.0, high=3.0) for name in ROW]
    columns += [Column(name, "number" if task == "regression" else "category", "target") for name in wanted]
    return Model(Schema(tuple(columns), task=task, classes=classes), Pack(nodes), {"name": "by hand"})


def traced(model: Model, y=None, **options) -> Trace:
    batch, _ = table.parse(model.schema, [ROW])
    return trace(model, batch, y, **options)


def arrays(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.normal(size=shape) for shape in shapes]


def plain(rng: np.random.Generator, outputs: int, kind: str = "tanh") -> list[base.Layer]:
    W, b, V, c = arrays(rng, (INPUTS, 5), (5,), (5, outputs), (outputs,))
    return [feed.Dense(W, b), feed.Activation(kind), feed.Dense(V, c)]


def networks() -> dict[str, tuple[Model, object]]:
    """name -> (model, target as the schema reads it)."""
    rng = np.random.default_rng(3)
    several = ("a", "b", "c")
    made: dict[str, tuple[Model, object]] = {}

    def network(layers: list[base.Layer], **settings) -> Network:
        return Network(feed.Sequential(layers), precision="float64", **settings)

    odds = {"gives": "probabilities"}
    made["softmax"] = (
        model_of(network(plain(rng, 3), link="softmax", **odds), task="multiclass", classes=several),
        2,
    )
    made["binary"] = (model_of(network(plain(rng, 1), link="binary", **odds), task="binary", classes=("n", "y")), 1)
    places = {"places": np.array([0, 2]), "classes": 3}
    made["two of three classes"] = (
        model_of(network(plain(rng, 2), link="softmax", **places, **odds), task="multiclass", classes=several),
        2,
    )
    made["labels"] = (
        model_of(network(plain(rng, 3), link="sigmoid", **odds), task="multilabel", classes=several, wanted=several),
        [1, 0, 1],
    )
    tail = feed.Affine(np.array([3.0]), np.array([10.0]))
    made["scaled target"] = (model_of(network([*plain(rng, 1, "selu"), tail])), 12.5)
    transform = Transform("log1p", 1.0, 0.5)
    made["transformed target"] = (model_of((network([*plain(rng, 1, "mish"), tail]), transform)), 40.0)
    made["two targets"] = (model_of(network(plain(rng, 2, "gelu")), wanted=("y", "z")), [1.0, -2.0])
    W, b, V, c, amount = arrays(rng, (3, INPUTS, 5), (3, 5), (3, 5, 2), (3, 2), (3, 5))
    side = [feed.Dense(W, b), feed.Activation("mish", amount=amount), feed.Dense(V, c), feed.Members("softmax")]
    made["members"] = (model_of(network(side, **odds), task="binary", classes=("n", "y")), 0)
    inner = feed.Sequential(
        [feed.Normalize(*arrays(rng, (5,), (5,))), feed.Dense(*arrays(rng, (5, 5), (5,))), feed.Activation("silu")]
    )
    short = feed.Residual(feed.Dense(*arrays(rng, (5, 2))), feed.Dense(*arrays(rng, (5, 2))))
    join = feed.Concat([feed.Columns(np.array([3, 1, 1])), feed.Dense(*arrays(rng, (4, 2), (2,)))])
    wide = [join, feed.Affine(*arrays(rng, (5,), (5,))), feed.Residual(inner), short]
    made["branches"] = (model_of(network(wide, link="softmax", **odds), task="binary", classes=("n", "y")), 1)
    sizes = (INPUTS + 2, 6, 3)
    count = sum(p * q for p, q in itertools.pairwise(sizes))
    dense = DenseStep(
        sizes=sizes,
        weights=rng.normal(size=2 * count),
        biases=rng.normal(size=2 * 9),
        members=2,
        link="softmax",
        gives="probabilities",
        low=np.full(INPUTS, -1.0),
        high=np.full(INPUTS, 1.5),
        column=np.array([0, 2], dtype=np.int32),
        start=np.array([0.0, 0.5]),
        width=np.array([1.0, 2.0]),
    )
    made["numpy-trained"] = (model_of(dense, task="multiclass", classes=several), 1)
    made["linear"] = (model_of(Linear(*arrays(rng, (4,), ()))), 3.0)
    logistic = LinearProbabilities(*arrays(rng, (4,), ()), link="sigmoid")
    made["logistic"] = (model_of(logistic, task="binary", classes=("n", "y")), 0)
    logistic = LinearProbabilities(*arrays(rng, (4, 3), (3,)), link="softmax")
    made["logistic of three"] = (model_of(logistic, task="multiclass", classes=several), 0)
    return made


CASES = networks()


@pytest.mark.parametrize("name", CASES)
def test_numbers_forward_are_the_answer(name):
    model, y = CASES[name]
    made = traced(model, y)
    weights = [n["weight"] for n in made.networks]
    answers = np.array([n["answer"] for n in made.networks])
    assert sum(weights) == pytest.approx(1.0)
    mean = np.average(answers, axis=0, weights=weights)
    if name == "two of three classes":
        assert np.allclose(made.answer, [mean[0], 0.0, mean[1]], atol=1e-12)
    else:
        assert np.allclose(made.answer[-len(mean) :], mean, atol=1e-12)
    batch, _ = table.parse(model.schema, [ROW])
    assert np.allclose(made.answer, np.ravel(model.answers(batch)))
    previous = made.x
    for part in made.parts:
        if "W" in part.values and name != "branches":
            assert np.array_equal(part.x, previous)
            assert np.allclose(part.values["z"], part.values["W"] @ part.x + part.values["b"], atol=1e-12)
        previous = part.values["a"]


def held(model: Model, member: int):
    batch, _ = table.parse(model.schema, [ROW])
    return traceable(model, batch, member)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_loss(name, monkeypatch):
    """Every array of the network, some elements each, by central differences of the loss that a trace tells."""
    model, y = CASES[name]
    member = 1 if name in ("members", "numpy-trained") else 0
    made = traced(model, y, member=member, lr=0.25)
    assert made.loss is not None and made.after is not None and len(made.parts) > 0
    node, net, which = held(model, member)
    layers: list[base.Layer] = []
    net.root.run(net.x, lambda _, layer, x, out: layers.append(layer))
    rng = np.random.default_rng(0)
    wanted = targets(model, net, node, np.array([y]))[0][0]

    def loss() -> float:
        from everymodel.scoring.neuron import default_loss, loss_and_delta

        out = net.root(net.x)
        z = (out[0, which] if net.members else out[0])[None]
        a = feed.activate(z, net.phi)
        return float(loss_and_delta(default_loss(net.phi), net.phi, z, a, wanted[None])[0][0])

    assert loss() == pytest.approx(made.loss, abs=1e-12)
    told = {k: v for part in made.parts for k, v in part.values.items() if k.startswith("grad_")}
    assert told, "no gradients"
    seen = 0
    grads = [(part, k) for part in made.parts for k in part.values if k.startswith("grad_")]
    owned = [
        (layer, f.name)
        for layer in layers
        for f in fields(layer)
        if isinstance(getattr(layer, f.name), np.ndarray) and getattr(layer, f.name).dtype.kind == "f"
    ]
    assert len(owned) == len(grads)
    for (layer, field), (part, key) in zip(owned, grads, strict=True):
        array, grad = getattr(layer, field), part.values[key]
        grad = grad.T if key == "grad_W" else grad
        one = array[which] if net.members else array
        assert one.shape == grad.shape
        for flat in rng.choice(one.size, min(one.size, 6), replace=False):
            place = np.unravel_index(flat, one.shape)
            kept, sides = one[place], []
            for h in (1e-6, -1e-6):
                one[place] = kept + h
                sides.append(loss())
            one[place] = kept
            assert grad[place] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-6), (part.title, key)
            seen += 1
        new = part.values[key.replace("grad", "new")]
        assert np.allclose(new, (one.T if key == "grad_W" else one) - 0.25 * part.values[key])
    assert seen > 4
    for (layer, field), (part, key) in zip(owned, grads, strict=True):
        new = part.values[key.replace("grad", "new")]
        one = getattr(layer, field)[which] if net.members else getattr(layer, field)
        one[...] = new.T if key == "grad_W" else new
    assert loss() == pytest.approx(made.after, abs=1e-9)


def test_deltas_flow_back_as_the_formula_says():
    model, y = CASES["softmax"]
    hidden, last = traced(model, y).parts
    assert np.allclose(last.values["delta"], last.values["a"] - np.eye(3)[2])
    back = last.values["W"].T @ last.values["delta"]
    assert np.allclose(hidden.values["delta"], back * (1 - hidden.values["a"] ** 2))
    assert np.allclose(hidden.values["grad_W"], np.outer(hidden.values["delta"], hidden.x))
    assert last.names == ["a", "b", "c"] and "W₊ᵀ δ₊" in hidden.formulas[2]


def test_the_target_is_seen_in_the_networks_unit():
    model, y = CASES["transformed target"]
    made = traced(model, y)
    assert made.wanted == pytest.approx([((np.log1p(40.0) - 1.0) / 0.5 - 10.0) / 3.0])
    assert any("transform" in note for note in made.notes) and any("spread" in note for note in made.notes)
    assert made.networks[0]["answer"] == pytest.approx(made.answer.tolist())
    lost = traced(model, -5.0)
    assert lost.loss is None and any("not defined" in note for note in lost.notes)


def test_without_a_target_there_are_no_gradients():
    made = traced(CASES["softmax"][0])
    assert made.loss is None and made.wanted is None
    assert set(made.parts[0].values) == {"z", "a", "W", "b"}
    known = traced(CASES["softmax"][0], 0, lr=None)
    assert known.after is None and "new_W" not in known.parts[0].values and "grad_W" in known.parts[0].values


def test_a_class_that_the_network_never_saw_is_said():
    made = traced(CASES["two of three classes"][0], 1)
    assert made.loss is None and any("never saw the class 'b'" in note for note in made.notes)
    assert made.outputs == ["a", "c"]


def test_a_step_that_is_too_long_is_said():
    model, y = CASES["linear"]
    assert any("too long" in note for note in traced(model, y, lr=50.0).notes)
    assert not any("too long" in note for note in traced(model, y, lr=1e-3).notes)


def test_networks_of_a_blend_are_told_apart():
    rng = np.random.default_rng(1)
    one, two = (Linear(*arrays(rng, (4,), ())) for _ in range(2))
    tree = Trees.of([{"left": [-1], "right": [-1], "feature": [-1], "threshold": [0.0], "value": [[1.0]]}], 4)
    model = model_of(one, tree, (two, Transform("identity", 2.0, 3.0)), blend=Blend(np.array([0.5, 0.2, 0.3])))
    made = traced(model, 1.0, member=1)
    assert [n["weight"] for n in made.networks] == [0.5, 0.3] and made.network == 1
    z = made.parts[0].values["z"]
    assert made.networks[1]["answer"] == pytest.approx((3 * z + 2).tolist())
    assert made.wanted == pytest.approx([(1.0 - 2.0) / 3.0])
    assert [n["weight"] for n in traced(model_of(one, two, blend=Mean()), 1.0).networks] == [0.5, 0.5]


class Wave(base.Layer):
    """A layer without a backward pass."""

    rate: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.sin(x * self.rate)


@pytest.fixture
def wave(monkeypatch):
    from everymodel.scoring import layers

    monkeypatch.setattr(base, "LAYERS", dict(base.LAYERS))
    made = base.layer("test_wave")(Wave)
    monkeypatch.setitem(layers._PLACES, "test_wave", "feed")
    return lambda p: made(np.linspace(0.5, 2.0, p))


def test_layers_without_a_closed_form_are_differentiated_or_said(wave):
    rng = np.random.default_rng(2)
    W, b, V = arrays(rng, (4, 3), (3,), (3, 1))
    chain = [feed.Dense(W, b), wave(3), feed.Dense(V)]
    model = model_of(Network(feed.Sequential(chain), precision="float64"))
    made = traced(model, 1.0)
    assert any("test_wave" in note and "central differences" in note for note in made.notes)
    z = made.parts[0].values["z"]
    slope = V[:, 0] * made.parts[2].values["delta"][0] * np.cos(z * np.linspace(0.5, 2.0, 3))
    assert np.allclose(made.parts[1].values["grad_rate"], slope * z, atol=1e-8)
    assert np.allclose(made.parts[0].values["delta"], slope * np.linspace(0.5, 2.0, 3), atol=1e-8)
    asked = []

    def otherwise(layer, x, d):
        asked.append(layer.word)
        return d * np.cos(x * layer.rate) * layer.rate, {"rate": (d * np.cos(x * layer.rate) * x)[0]}

    given = traced(model, 1.0, otherwise=otherwise)
    assert asked == ["test_wave"] and not any("central" in note for note in given.notes)
    assert np.allclose(given.parts[0].values["grad_W"], made.parts[0].values["grad_W"], atol=1e-8)


def test_too_many_numbers_for_differences_leave_the_rest_of_the_trace(wave):
    rng = np.random.default_rng(2)
    chain = [feed.Dense(*arrays(rng, (4, 2000), (2000,))), wave(2000), feed.Dense(*arrays(rng, (2000, 1)))]
    made = traced(model_of(Network(feed.Sequential(chain), precision="float64")), 1.0, lr=1e-5)
    assert any("Gradients end here" in note and "test_wave" in note for note in made.notes)
    assert "grad_W" in made.parts[2].values and "grad_W" not in made.parts[0].values
    assert "z" in made.parts[0].values and made.loss is not None and made.after < made.loss


def test_the_long_form_holds_every_number_once():
    model, y = CASES["softmax"]
    made = traced(model, y)
    long = made.columns()
    assert len({len(v) for v in long.values()}) == 1
    count = INPUTS + 5 * 3 + 3 * (20 + 5) + 3 * 3 + 3 * (15 + 3) + 2
    assert len(long["value"]) == count
    at = (long["layer"] == 2) & (long["quantity"] == "grad_W") & (long["neuron"] == 1) & (long["input"] == 3)
    assert long["value"][at].tolist() == [made.parts[1].values["grad_W"][1, 3]]
    assert long["name"][at].tolist() == ["b"]
    assert long["value"][long["quantity"] == "loss"].tolist() == [made.loss]
    assert long["name"][:INPUTS].tolist() == list(ROW)
    told = made.to_dict()
    assert told["parts"][0]["values"]["W"] == made.parts[0].values["W"].tolist()


def test_columns_of_the_preparation_are_named():
    schema = Schema(
        (
            Column("size", "number", missing=0.1),
            Column("city", "category", levels=("Bonn", "Köln")),
            Column("built", "date"),
            Column("y", "number", "target"),
        ),
        task="regression",
    )
    nodes = [
        Node("numbers", Numbers(("size",))),
        Node("dates", Dates(("built", "built"), ("year", "month"))),
        Node("full", Impute(np.array([7.0]), np.array([0])), ("numbers",)),
        Node("cities", OneHot(("city",), np.array([0]), np.array([0, 0, 1, 2]), 3)),
        Node("all", Join(), ("full", "dates", "cities")),
        Node("even", Scale(np.zeros(7), np.ones(7)), ("all",)),
        Node("value", Linear(np.arange(7.0), np.array(1.0)), ("even",)),
    ]
    model = Model(schema, Pack(nodes), {})
    batch, _ = table.parse(schema, [{"size": None, "city": "Köln", "built": "2020-03-01"}])
    made = trace(model, batch, 5.0)
    names = ["size", "size missing", "built year", "built month", "city = (unseen) or city = (missing)", "city = Bonn"]
    assert made.inputs == [*names, "city = Köln"]
    assert made.x.tolist() == [7.0, 1.0, 2020.0, 3.0, 0.0, 0.0, 1.0]
    assert [s["node"] for s in made.stages] == ["numbers", "dates", "full", "cities", "all", "even"]
    assert made.cells == [("size", None), ("city", "Köln"), ("built", "2020-03-01T00:00:00")]


def test_what_cannot_be_traced_is_said():
    tree = Trees.of([{"left": [-1], "right": [-1], "feature": [-1], "threshold": [0.0], "value": [[1.0]]}], 4)
    with pytest.raises(CapabilityError, match=r"answers by trees.*feed_forward"):
        traced(model_of(tree), 1.0)
    model, y = CASES["members"]
    with pytest.raises(ParameterError, match="networks 0 to 2"):
        traced(model, y, member=3)
    with pytest.raises(ParameterError, match="lr='x'"):
        traced(model, y, lr="x")
    batch, _ = table.parse(model.schema, [ROW, ROW])
    with pytest.raises(ParameterError, match="2 rows came"):
        trace(model, batch)
    with pytest.raises(CapabilityError, match="cluster"):
        traced(Model(Schema(model.schema.columns[:4], task="cluster", classes=(0, 1)), model.pack, {}))


@pytest.mark.parametrize("loss", ["softmax", "square", "sigmoid"])
def test_gradients_agree_with_autograd(loss):
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.nn import functional as F

    from everymodel.training.blocks import written

    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Linear(INPUTS, 7), nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 6), nn.LeakyReLU(0.1), nn.Linear(6, 3))
    ).double()
    settings = {"gives": "value"} if loss == "square" else {"gives": "probabilities", "link": loss}
    step = Network(written(net), precision="float64", **settings)
    words = ("a", "b", "c")
    task = {"softmax": "multiclass", "square": "regression", "sigmoid": "multilabel"}[loss]
    model = model_of(step, task=task, classes=() if loss == "square" else words, wanted=("y",) * (loss != "sigmoid"))
    y = {"softmax": 1, "square": [0.5, -1.0, 2.0], "sigmoid": [1.0, 0.0, 1.0]}[loss]
    made = traced(model, y)
    out = net(torch.tensor([list(ROW.values())], dtype=torch.float64))
    if loss == "softmax":
        value = F.cross_entropy(out, torch.tensor([1]))
    elif loss == "square":
        value = F.mse_loss(out, torch.tensor([y], dtype=torch.float64))
    else:
        value = F.binary_cross_entropy_with_logits(out, torch.tensor([y], dtype=torch.float64))
    value.backward()
    assert made.loss == pytest.approx(value.item(), abs=1e-12)
    grads = [part.values[f"grad_{name}"] for part in made.parts for name in part.parameters]
    assert len(grads) == 8
    for mine, theirs in zip(grads, net.parameters(), strict=True):
        assert np.allclose(mine, theirs.grad.numpy(), atol=1e-12)


def test_images_are_traced_through_convolutions():
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.nn import functional as F

    import everymodel.training.blocks.convolution  # noqa: F401 - so that convolutions can be written
    from everymodel.scoring.layers.convolution import Pixels, Views
    from everymodel.scoring.steps.base import Batch
    from everymodel.scoring.steps.cells import Cells
    from everymodel.training.blocks import written

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).double()
    layers = feed.Sequential([Pixels(np.array([1 / 255]), np.array([0.0])), written(net)])
    columns = (Column("picture", "image", shape=(8, 8, 1)), Column("y", "category", "target"))
    schema = Schema(columns, task="multiclass", classes=("a", "b", "c"))
    pixels = np.random.default_rng(0).integers(0, 255, (1, 8, 8, 1)).astype(np.uint8)

    def of(root):
        step = Network(root, gives="probabilities", link="softmax", precision="float64")
        model = Model(schema, Pack([Node("c", Cells("picture")), Node("p", step, ("c",))]), {})
        return trace(model, Batch({"picture": pixels}, 1), 1)

    made = of(layers)
    loss = F.cross_entropy(net(torch.tensor(pixels.transpose(0, 3, 1, 2) / 255)), torch.tensor([1]))
    loss.backward()
    assert made.loss == pytest.approx(loss.item(), abs=1e-12) and made.after < made.loss and not made.notes
    kernels = next(p for p in made.parts if "grad_weight" in p.values)
    assert np.abs(kernels.values["grad_weight"]).sum() == pytest.approx(net[0].weight.grad.abs().sum().item())
    assert np.allclose(made.parts[-1].values["grad_b"], net[4].bias.grad.numpy())
    assert made.cells == [("picture", "image, 8 × 8 × 1")] and len(made.x) == 64
    mirrored = of(feed.Sequential([Views(layers, (2,))]))
    assert any("mirror images" in note for note in mirrored.notes)
    last = mirrored.parts[-1]
    assert np.allclose(last.values["delta"], last.values["a"] - np.eye(3)[1])
    assert np.allclose(last.values["a"], mirrored.answer)
