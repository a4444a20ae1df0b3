"""`Model.trace` and what it looks like; the loss landscape."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import everymodel as em
from everymodel.core.errors import CapabilityError, DataError, ParameterError, TargetError
from everymodel.core.schema import Column, Schema
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.layers import feed
from everymodel.scoring.steps.linear import Linear
from everymodel.scoring.steps.network import Network
from everymodel.scoring.steps.prepare import Numbers, Scale
from everymodel.workflow.evaluate import landscape as landscapes
from everymodel.workflow.evaluate.trace_page import Trace, blocks, number, view

EVIL = "<script>alert(1)</script> & [bold]x[/bold]\x1b[31m"


def by_hand(hidden: int = 3, classes: tuple = ("no", "yes"), names: tuple = ("a", "b")) -> em.Model:
    """Two inputs, `hidden` tanh neurons, softmax over the classes."""
    rng = np.random.default_rng(5)
    W, V = rng.normal(size=(2, hidden)), rng.normal(size=(hidden, len(classes)))
    chain = [feed.Dense(W, np.ones(hidden)), feed.Activation("tanh"), feed.Dense(V, np.zeros(len(classes)))]
    net = Network(feed.Sequential(chain), gives="probabilities", link="softmax", precision="float64")
    scale = Scale(np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    nodes = [Node("n", Numbers(names)), Node("s", scale, ("n",)), Node("p", net, ("s",))]
    columns = [Column(name, "number", low=-1.0, high=1.0) for name in names]
    columns.append(Column("y", "category", "target"))
    task = "binary" if len(classes) == 2 else "multiclass"
    return em.Model(Schema(tuple(columns), task=task, classes=classes), Pack(nodes), {"title": "a network by hand"})


ROW = {"a": 0.25, "b": -1.0}


class Page(HTMLParser):
    """Collects tags and visible text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def test_a_row_is_traced_from_dict_frame_and_file(tmp_path):
    model = by_hand()
    model.save(tmp_path / "net.em")
    again = em.load(tmp_path / "net.em")
    one = model.trace(ROW, "yes")
    for other in (
        again.trace({**ROW, "y": "yes"}),
        again.trace(pd.DataFrame([{**ROW, "y": "yes"}])),
        again.trace(pd.Series({**ROW, "y": "yes"})),
    ):
        assert isinstance(other, Trace) and other.loss == pytest.approx(one.loss, abs=1e-12)
    assert one.target == "yes" and one.decision == model.predict(ROW)
    assert one.loss == pytest.approx(-np.log(model.predict_proba(ROW)["yes"]), abs=1e-12)
    assert model.trace(ROW).loss is None and model.trace({**ROW, "y": None}).loss is None


def test_what_does_not_fit_is_said():
    model = by_hand()
    with pytest.raises(TargetError, match="maybe"):
        model.trace(ROW, "maybe")
    with pytest.raises(ParameterError, match="2 rows came"):
        model.trace(pd.DataFrame([ROW, ROW]))
    with pytest.raises(ParameterError, match="networks 0 to 0"):
        model.trace(ROW, "yes", member=1)


def test_two_targets_come_as_a_dict_a_list_or_columns():
    coef = np.array([[1.0, 2.0], [3.0, -1.0]])
    columns = (*(Column(n, "number") for n in "ab"), *(Column(n, "number", "target") for n in ("t", "u")))
    nodes = [Node("n", Numbers(("a", "b"))), Node("v", Linear(coef, np.array([0.5, 0.0])), ("n",))]
    model = em.Model(Schema(columns, task="regression"), Pack(nodes))
    made = model.trace({**ROW, "t": 1.0, "u": 2.0})
    assert made.wanted == pytest.approx([1.0, 2.0])
    assert made.loss == pytest.approx(np.mean((np.array([0.25 - 3 + 0.5, 0.5 + 1.0]) - [1, 2]) ** 2))
    for y in ({"t": 1.0, "u": 2.0}, [1.0, 2.0]):
        assert model.trace(ROW, y).loss == made.loss
    assert "t" in str(made) and made.parts[0].names == ["t", "u"]


def test_the_frame_can_be_asked():
    frame = by_hand().trace(ROW, "yes").frame()
    assert frame.columns.tolist() == ["layer", "neuron", "name", "input", "quantity", "value"]
    wide = frame[(frame.layer == 2) & frame.quantity.isin(["a", "delta"])].pivot(
        index="name", columns="quantity", values="value"
    )
    assert wide.loc["yes", "delta"] == pytest.approx(wide.loc["yes", "a"] - 1)
    assert wide.loc["no", "delta"] == pytest.approx(wide.loc["no", "a"])


def test_text_says_formulas_numbers_and_how_much_is_left_out():
    text = by_hand(hidden=40).trace(ROW, "yes", lr=0.1).text(neurons=5)
    for words in ("z = W x + b", "tanh(z)", "δ = a - t", "new W = W - 0.1 ∂L/∂W", "and 35 more neurons"):
        assert words in text
    assert "(35 more terms)" in text  # of the sums of the second layer
    assert "centred and scaled = x" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    small = by_hand().trace(ROW, "yes").text()
    assert "more neurons" not in small
    x = 2.0 * (0.25 - 1.0)
    assert number(x) in small


def test_words_from_data_are_never_markup():
    model = by_hand(classes=(EVIL, "b", "c"), names=(EVIL, "b"))
    made = model.trace({EVIL: 0.5, "b": 1.0}, EVIL)
    text = made.text()
    assert "\x1b" not in text and "[bold]" in text
    page = made.html()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_page_is_one_file_with_every_part(tmp_path):
    made = by_hand(hidden=60).trace(ROW, "yes", lr=0.5)
    text = made.html(tmp_path / "row.html")
    assert (tmp_path / "row.html").read_text(encoding="utf-8") == text
    page = Page(text)
    assert not {"script", "iframe", "link", "img"} & set(page.tags)
    assert not [v for k, v in page.attributes if k in ("src", "href") and not str(v).startswith("#")]
    words = " ".join(page.words)
    for expected in ("z = W x + b", "L = -Σ t ln a", "and 36 more neurons", "Layer by layer"):
        assert expected in words
    ids = [v for k, v in page.attributes if k == "id"]
    assert {v[1:] for k, v in page.attributes if k == "href"} <= set(ids) and len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in text
    told = view(made)
    assert len(told["layers"][0]["rows"]) == 24 and told["layers"][0]["more"] == 36
    assert len(told["drawing"]["nodes"]) == 2 + 9 + 2 and told["drawing"]["lines"]
    assert view(by_hand().trace(ROW))["loss"] is None
    assert "Backward (with a target)" in by_hand().trace(ROW).html()


def test_numbers_can_be_done_again_by_hand():
    made = by_hand().trace(ROW, "yes")
    told = view(made)["layers"][0]["sums"][0]
    left, right = told.split(" = ")[1], told.split(" = ")[2].split(" → ")[0]
    found = eval_sum(left)
    assert found == pytest.approx(float(right), abs=1e-4)


def eval_sum(text: str) -> float:
    """a · b + c · (-d) - e · f + g, without eval."""
    total = 0.0
    for sign, term in re.findall(r"(^|[+-] )([^+]+?)(?= [+-] |$)", text):
        value = np.prod([float(v.strip("() ")) for v in term.split("·")])
        total += -value if sign.startswith("-") else value
    return float(total)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-9, -123456789.0, 0.1 + 0.2, float("nan")])
def test_numbers_keep_six_digits(value):
    told = number(value)
    assert told == "-" if value != value else float(told) == pytest.approx(value, rel=1e-5)


def test_blocks_are_drawn_for_any_width():
    made = by_hand(hidden=40).trace(ROW, "yes")
    assert blocks(made, 1) and "39 more neurons" in made.text(width=40, neurons=1)


# --- landscape -------------------------------------------------------------------------------------------------------


def rows(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    return frame.assign(y=np.where(frame.a > 0, "yes", "no"))


def test_the_middle_of_the_landscape_is_the_model():
    model, data = by_hand(), rows()
    made = landscapes.surface(model, data, steps=5, distance=0.5)
    shares = model.predict_proba(data)
    loss = -np.log(np.where(data.y == "yes", shares["yes"], shares["no"])).mean()
    assert made.centre == pytest.approx(loss, rel=1e-5)
    assert made.loss.shape == (5, 5) and made.rows == 60 and made.moved == 2 and made.still == 2
    assert made.ticks.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert model.predict_proba(data).equals(shares)  # the model is as before
    again = landscapes.surface(model, data, steps=5, distance=0.5)
    assert np.array_equal(made.loss, again.loss)
    other = landscapes.surface(model, data, steps=5, distance=0.5, seed=1)
    assert not np.allclose(made.loss[0], other.loss[0]) and other.centre == pytest.approx(made.centre, rel=1e-6)
    assert landscapes.surface(model, data, steps=4, rows=10).rows == 10


def test_directions_are_as_long_as_each_neurons_weights():
    root = feed.Sequential([feed.Dense(np.array([[3.0, 0.0], [4.0, 0.5]])), feed.Activation("relu")])
    net = landscapes.Net(root, "identity", np.ones((1, 2)), ["a", "b"])
    moved, still = landscapes._moved(net, np.random.default_rng(0))
    assert still == 0 and len(moved) == 1
    for direction in moved[0][3:]:
        assert np.sqrt((direction**2).sum(axis=0)) == pytest.approx([5.0, 0.5], rel=1e-5)


def test_landscape_is_drawn_even_where_the_loss_is_flat_or_infinite(tmp_path):
    flat = landscapes.Surface(np.linspace(-1, 1, 5), np.full((5, 5), 0.3), "mse", 10, 1, 0)
    wild = landscapes.Surface(np.linspace(-1, 1, 5), np.full((5, 5), np.nan), "mse", 10, 1, 0)
    wild.loss[2, 2], wild.loss[0, 0] = 1.0, np.inf
    for made in (flat, wild):
        figure = landscapes.draw(made)
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / "x.png", dpi=40)
    assert isinstance(landscapes.landscape(by_hand(), rows(), steps=3), Figure)


def test_landscape_says_what_it_lacks():
    model = by_hand()
    with pytest.raises(DataError, match="no column 'y'"):
        landscapes.surface(model, rows()[["a", "b"]])
    with pytest.raises(DataError, match="No row has a target"):
        landscapes.surface(model, rows().assign(y=None))
    for wrong in ({"steps": 2}, {"distance": 0}, {"rows": 0}, {"member": 9}):
        with pytest.raises(ParameterError):
            landscapes.surface(model, rows(), **wrong)
    with pytest.raises(CapabilityError, match="no landscape"):
        landscapes.surface(object(), [[1.0]], [1])


def test_networks_of_the_catalogue_have_traces_and_landscapes():
    X, y = load_digits(return_X_y=True)
    own = em.MultilayerPerceptronClassifier(width=16, epochs=3, members=2, random_state=0).fit(X, y)
    made = landscapes.surface(own, X, y, steps=3, rows=100, member=1)
    assert made.loss.min() >= 0 and made.centre < made.loss[0, 0]
    X, y = load_diabetes(return_X_y=True)
    own = em.MultilayerPerceptronRegressor(width=16, epochs=3, members=1, random_state=0).fit(X, y)
    assert landscapes.surface(own, X, y, steps=3, rows=100).centre < 1.5  # in units of the target's spread
    with pytest.raises(DataError, match="as many"):
        landscapes.surface(own, X, y[:5])
    with pytest.raises(CapabilityError, match="no landscape"):
        landscapes.surface(em.DecisionTreeRegressor(max_depth=2).fit(X, y), X, y)


def test_a_fitted_model_is_traced_to_its_answer():
    data = load_breast_cancer(as_frame=True).frame
    run = em.fit(data.iloc[:200], target="target", models=["logistic"], trials=1, seed=0)
    made = run.model.trace(data.iloc[[300]], lr=1e-4)
    answers = np.array([n["answer"] for n in made.networks])
    weights = [n["weight"] for n in made.networks]
    assert None not in weights and len(weights) > 1
    assert np.allclose(np.average(answers, axis=0, weights=weights), made.answer[1:], atol=1e-9)
    assert made.after <= made.loss and str(made.target) in str(made)
    assert made.inputs == data.columns[:-1].tolist() and "mean radius" in str(made.html())


def test_networks_made_with_torch_are_traced():
    pytest.importorskip("torch")
    from everymodel.models.neural import feed_forward

    X, y = load_digits(return_X_y=True)
    net = em.FeedForwardClassifier(hidden=(12,), epochs=2, random_state=0).fit(X[:300], y[:300])
    names = tuple(f"p{i}" for i in range(64))
    columns = (*(Column(n, "number", low=0.0, high=16.0) for n in names), Column("y", "category", "target"))
    nodes = [Node("n", Numbers(names)), Node("p", feed_forward.pack(net), ("n",))]
    model = em.Model(Schema(columns, task="multiclass", classes=tuple(range(10))), Pack(nodes))
    made = model.trace(dict(zip(names, X[0].tolist())), int(y[0]), lr=1e-3)
    assert np.allclose(made.answer, net.predict_proba(X[:1])[0], atol=1e-6)
    assert not any("Gradients" in note for note in made.notes), made.notes
    assert all(f"grad_{name}" in part.values for part in made.parts for name in part.parameters if name in ("W", "b"))
    assert made.after < made.loss
    assert landscapes.surface(net, X[:100], y[:100], steps=3).rows == 100
