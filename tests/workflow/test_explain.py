"""Explanations: they find what matters, add up, agree with the shap package and keep to the clock."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from everymodel.core.schema import Column, Schema
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.evaluate import explain
from everymodel.workflow.evaluate.explanations import OTHERS, as_shap, shapley
from everymodel.workflow.evaluate.inside import coefficients, single_tree


class Formula:
    """A model whose answers are known."""

    def __init__(self, columns, function, task="regression", classes=(), metric="rmse"):
        self.schema, self.task, self.classes = Schema(tuple(columns), task, tuple(classes)), task, tuple(classes)
        self.function, self.manifest = function, {"metric": metric}

    def answers(self, batch):
        return self.function(batch.columns)


COLUMNS = (
    Column("noise", "number"),
    Column("size", "number"),
    Column("town", "category", levels=("Oslo", "Rome", "Bern")),
    Column("new", "boolean", levels=("no", "yes")),
    Column("note", "text"),
    Column("seen", "date"),
)


def _batch(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return Batch(
        {
            "noise": rng.normal(size=n),
            "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "town": rng.integers(-2, 3, n).astype(np.int32),
            "new": rng.integers(2, size=n).astype(float),
            "note": np.array(["good", "bad", ""], dtype=object)[rng.integers(3, size=n)],
            "seen": rng.uniform(0, 1.6e9, n),
        },
        n,
    )


def _value(columns):
    return (
        5.0 * np.nan_to_num(columns["size"])
        + np.array([0.0, 3.0, -3.0])[np.clip(columns["town"], 0, 2)]
        + 1.0 * columns["new"]
        + 2.0 * (columns["note"] == "good")
    )


@pytest.fixture(scope="module")
def told():
    batch = _batch()
    model = Formula(COLUMNS, _value)
    y = _value(batch.columns) + np.random.default_rng(1).normal(size=batch.n)
    return explain(model, batch, y, seed=0, seconds=3.0)


def test_importance_ranks_what_matters(told):
    ranked = [row["column"] for row in told["importance"]]
    assert ranked[:2] == ["size", "town"] and set(ranked[-2:]) == {"noise", "seen"}
    by = {row["column"]: row for row in told["importance"]}
    assert by["size"]["low"] > 0 and by["noise"]["value"] == 0
    assert all(row["low"] <= row["value"] <= row["high"] for row in told["importance"])


def test_effects_have_the_shape_of_the_formula(told):
    by = {item["column"]: item for item in told["dependence"]}
    size = by["size"]
    slope = np.polyfit(size["grid"], size["outputs"][0]["mean"], 1)[0]
    assert slope == pytest.approx(5.0, rel=0.01)
    town = dict(zip(by["town"]["grid"], by["town"]["outputs"][0]["mean"]))
    assert town["Rome"] - town["Bern"] == pytest.approx(6.0)
    assert by["new"]["grid"] == ["no", "yes"]
    assert by["seen"]["grid"][0][:2] in ("19", "20") if "seen" in by else True
    assert "note" not in by  # free text has no axis


def test_contributions_add_up_and_name_cells(told):
    for example in told["examples"]:
        total = example["base"] + sum(p["value"] for p in example["contributions"]) + example["rest"]
        assert total == pytest.approx(example["answer"], abs=1e-9)
    cells = {p["column"]: p["cell"] for p in told["examples"][0]["contributions"]}
    assert cells["town"] in ("Oslo", "Rome", "Bern", "(missing)", "(unseen)")
    assert told["summary"][0]["column"] == "size"
    json.dumps(told, allow_nan=False)


def test_shapley_values_of_an_additive_model_are_exact():
    batch = _batch(200)
    model = Formula(COLUMNS, _value)
    players = [c.name for c in COLUMNS]
    one = Batch({k: v[:1] for k, v in batch.columns.items()}, 1)  # a single background row: no sampling left
    values, base = shapley(
        model, batch, np.array([5, 6]), players, one, np.array([-1, -1]), np.random.default_rng(0), 1
    )
    expected = 5.0 * (np.nan_to_num(batch.columns["size"][[5, 6]]) - np.nan_to_num(batch.columns["size"][0]))
    assert values[:, 1] == pytest.approx(expected)
    assert values[:, 0] == pytest.approx([0, 0]) and values[:, -1] == pytest.approx([0, 0])
    assert base + values.sum(axis=1) == pytest.approx(_value(batch.columns)[[5, 6]])


def test_shapley_values_agree_with_the_shap_package():
    pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    batch = Batch({"a": rng.normal(size=80), "b": rng.normal(size=80), "c": rng.normal(size=80)}, 80)
    columns = tuple(Column(n, "number") for n in "abc")
    model = Formula(columns, lambda c: c["a"] * c["b"] + 2 * c["c"])
    theirs = as_shap(model, batch, rows=80, background=80)
    ours, _ = shapley(model, batch, np.arange(80), list("abc"), batch, np.full(80, -1), rng, 320)
    assert np.abs(ours[:, :3] - theirs.values).max() < 0.35  # sampling noise of 800 paths
    assert np.corrcoef(ours[:, :3].ravel(), theirs.values.ravel())[0, 1] > 0.99


def test_classes_and_surrogate():
    rng = np.random.default_rng(0)
    n = 500
    batch = Batch({"x": rng.normal(size=n), "z": rng.normal(size=n)}, n)

    def shares(columns):
        score = np.column_stack([columns["x"] < -0.5, np.abs(columns["x"]) <= 0.5, columns["x"] > 0.5]) * 0.85 + 0.05
        return score / score.sum(axis=1, keepdims=True)

    model = Formula(
        (Column("x", "number"), Column("z", "number")), shares, "multiclass", ("low", "mid", "high"), "log_loss"
    )
    y = shares(batch.columns).argmax(axis=1)
    told = explain(model, batch, y, seconds=2)
    assert told["importance"][0]["column"] == "x"
    tree = told["surrogate"]
    assert tree["fidelity"] > 0.97 and {n["answer"] for n in tree["nodes"] if "question" not in n} == {
        "low",
        "mid",
        "high",
    }
    ids = {node["id"] for node in tree["nodes"]}
    assert all(node[side] in ids for node in tree["nodes"] if "question" in node for side in ("yes", "no"))
    assert told["examples"][0]["output"] in ("low", "mid", "high")


def test_wide_tables_keep_to_the_clock_and_say_what_was_tested():
    rng = np.random.default_rng(0)
    p, n = 3000, 200
    names = [f"c{j}" for j in range(p)]
    batch = Batch({name: rng.normal(size=n) for name in names}, n)

    def slow(columns):
        time.sleep(0.01)
        return 3 * columns["c7"] + columns["c1234"]

    model = Formula([Column(name, "number") for name in names], slow)
    started = time.monotonic()
    told = explain(model, batch, slow(batch.columns), seconds=1.5)
    assert time.monotonic() - started < 6
    assert told["columns"] == p and 3 <= told["columns_tested"] < p
    assert [row["column"] for row in told["importance"][:2]] == ["c7", "c1234"]
    assert (
        any(part["column"] == OTHERS for part in told["examples"][0]["contributions"])
        or told["examples"][0]["rest"] == 0
    )


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_very_few_rows_are_no_trap(n):
    model = Formula(COLUMNS, _value)
    batch = _batch(max(n, 1)).take(np.arange(n))
    told = explain(model, batch, _value(batch.columns), seconds=0.5)
    json.dumps(told, allow_nan=False)


def test_weights_of_a_linear_pack_carry_feature_names():
    pytest.importorskip("everymodel.scoring.steps.prepare")
    from everymodel.scoring.steps.linear import Linear
    from everymodel.scoring.steps.prepare import Impute, Numbers, Scale

    model = Formula((Column("a", "number"), Column("b", "number")), lambda c: c["a"])
    model.pack = Pack(
        [
            Node("n", Numbers(("a", "b"))),
            Node("i", Impute(np.zeros(2), np.array([1])), ("n",)),
            Node("s", Scale(np.zeros(3), np.ones(3)), ("i",)),
            Node("m", Linear(np.array([1.0, -4.0, 2.0]), np.array(0.0)), ("s",)),
        ]
    )
    (group,) = coefficients(model)
    assert [(r["name"], r["value"]) for r in group["rows"]] == [("b", -4.0), ("b is missing", 2.0), ("a", 1.0)]
    assert single_tree(model) == {}


def test_a_single_tree_is_drawn_as_it_is():
    from sklearn.tree import DecisionTreeRegressor

    from everymodel.scoring.steps.prepare import Numbers
    from everymodel.scoring.steps.trees import Trees

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    fitted = DecisionTreeRegressor(max_depth=2).fit(x, 3 * (x[:, 0] > 0) + (x[:, 1] > 0)).tree_
    nodes = {"left": fitted.children_left, "right": fitted.children_right, "feature": fitted.feature,
             "threshold": fitted.threshold, "value": fitted.value[:, 0, 0]}  # fmt: skip
    model = Formula((Column("a", "number"), Column("b", "number")), lambda c: c["a"])
    model.pack = Pack([Node("n", Numbers(("a", "b"))), Node("t", Trees.of([nodes], 2), ("n",))])
    drawn = single_tree(model)
    assert drawn["exact"] and not drawn["cut"]
    by = {node["id"]: node for node in drawn["nodes"]}
    assert by[0]["question"].startswith("a ≤")
    leaves = sorted(round(node["answer"], 6) for node in drawn["nodes"] if "question" not in node)
    assert leaves == [0, 1, 3, 4]
    yes_side = by[by[0]["yes"]]
    assert {by[yes_side["yes"]]["answer"], by[yes_side["no"]]["answer"]} == {0.0, 1.0}


def test_several_targets_each_have_their_own_pictures_and_names():
    columns = [Column("a", "number"), Column("b", "number"), Column("c", "number")]
    columns += [Column("price", "number", role="target"), Column("weight", "number", role="target")]
    model = Formula(columns, lambda c: np.column_stack([1000 * c["a"], c["b"]]))
    rng = np.random.default_rng(0)
    batch = Batch({k: rng.normal(size=300) for k in "abc"}, 300)
    told = explain(model, batch, model.answers(batch) + rng.normal(size=(300, 2)), seconds=3)
    assert told["outputs"] == 2 and told["importance"][0]["column"] == "a"
    assert {(d["column"], d["target"]) for d in told["dependence"]} >= {("a", "price"), ("a", "weight")}
    flat = next(d for d in told["dependence"] if (d["column"], d["target"]) == ("a", "weight"))
    assert np.ptp(flat["outputs"][0]["mean"]) < 1e-9
    assert [e["output"] for e in told["examples"]] == ["price", "weight"]
    lead = {e["output"]: e["contributions"][0]["column"] for e in told["examples"]}
    assert lead == {"price": "a", "weight": "b"}
    assert json.dumps(told, allow_nan=False)


def test_several_labels_are_explained_by_name():
    columns = [Column("a", "number"), Column("b", "number")]
    logit = lambda c: 1 / (1 + np.exp(-3 * np.column_stack([c["a"], c["b"]])))  # noqa: E731
    model = Formula(columns, logit, "multilabel", ("hot", "wet"), "roc_auc")
    rng = np.random.default_rng(0)
    batch = Batch({k: rng.normal(size=300) for k in "ab"}, 300)
    y = (model.answers(batch) > rng.random((300, 2))).astype(int)
    told = explain(model, batch, y, seconds=3)
    assert {r["column"] for r in told["importance"] if r["low"] > 0.05} == {"a", "b"}
    assert {e["output"] for e in told["examples"]} <= {"hot", "wet"}
    sure = next(e for e in told["examples"] if e["why"] == "the surest yes")
    assert sure["truth"] in ("yes", "no") and sure["answer"] > 0.95
    assert {"hot": "a", "wet": "b"}[sure["output"]] == sure["contributions"][0]["column"]


def test_a_few_columns_among_thousands_are_found():
    names = [f"g{i}" for i in range(3000)]
    model = Formula([Column(n, "number") for n in names], lambda c: c["g77"] * c["g1234"] + c["g2999"] ** 2)
    rng = np.random.default_rng(0)
    batch = Batch({n: rng.normal(size=80) for n in names}, 80)  # products and squares: no line shows them
    told = explain(model, batch, model.answers(batch), seconds=4)
    assert {r["column"] for r in told["importance"][:3]} == {"g77", "g1234", "g2999"}


def test_a_constant_model_ranks_nothing():
    model = Formula([Column("a", "number")], lambda c: np.ones(len(c["a"])))
    told = explain(model, Batch({"a": np.arange(50.0)}, 50), np.arange(50.0))
    assert told["constant"] and "importance" not in told
