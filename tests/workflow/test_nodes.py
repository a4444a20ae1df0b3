"""em.fit on a table of edges and one of nodes: from two files to a saved model that answers ids."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import everymodel as em
from everymodel.core.errors import (
    CapabilityError,
    DataError,
    ModelFileError,
    ParameterError,
    SchemaError,
    TargetError,
)
from everymodel.core.graph import Graph
from everymodel.workflow.graphs import candidates, tables
from everymodel.workflow.graphs.candidates import candidates as make

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def papers(n: int = 150, seed: int = 0):
    """Papers of three fields that cite their own field mostly; words and a year; some without a field."""
    rng = np.random.default_rng(seed)
    field = rng.integers(0, 3, n)
    a, b = rng.integers(0, n, (2, 12 * n))
    keep = (a != b) & ((field[a] == field[b]) | (rng.random(12 * n) < 0.06))
    edges = pd.DataFrame({"weight": 1.0, "cites": [f"p{i}" for i in a[keep]], "cited": [f"p{i}" for i in b[keep]]})
    words = rng.random((n, 6)) < 0.2 + 0.3 * (np.arange(6)[None] // 2 == field[:, None])
    nodes = pd.DataFrame(words.astype(int), columns=[f"word{i}" for i in range(6)])
    nodes.insert(0, "paper", [f"p{i}" for i in range(n)])
    nodes["year"] = rng.integers(1990, 2020, n)
    nodes["field"] = [None if i >= n - 20 else f"field {v}" for i, v in enumerate(field)]
    order = rng.permutation(n)
    return edges, nodes.iloc[order].reset_index(drop=True), field[order]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    edges, nodes, _ = papers(110)
    out, models = tmp_path_factory.mktemp("papers"), ["label_propagation", "logistic", "graph_convolution"]
    return em.fit(
        edges, nodes=nodes, target="field", models=models, metric="accuracy", out=out, progress=False, budget=100
    )


def test_all_kinds_of_models_are_compared_and_the_best_is_tested(run):
    board = run.leaderboard
    assert set(board["card"]) == {"dummy", "label_propagation", "logistic", "graph_convolution"}
    scored = board[board["score"].notna()]
    assert len(scored) == len(board) == 6 and scored["score"].is_monotonic_decreasing and scored["weight"].sum() == 1
    assert run.metrics["accuracy"] > 0.8 and run.story["split"]["test"] == 18
    told = {f.code for f in run.findings}
    assert {"transductive", "unlabelled-nodes", "repeated-edges"} <= told


def test_labels_of_test_nodes_are_seen_by_no_choice(run, tmp_path):
    """With other labels on the test nodes, the same model is chosen and says the same of every node."""
    edges, nodes, _ = papers(110)
    before = run.tables["nodes"]
    models = [run.search.members[0]["card"]]
    one = em.fit(edges, nodes=nodes, target="field", models=models, metric="accuracy", out=tmp_path / "a",
                 progress=False, budget=100, split=None)  # fmt: skip
    part = one.tables["nodes"]["part"]
    assert part.equals(before["part"])
    nodes["part"] = part.replace("unknown", "train")
    changed = nodes.copy()
    tested = (part == "test").to_numpy()
    changed.loc[tested, "field"] = np.roll(changed.loc[tested, "field"].to_numpy(), 1)
    answers = []
    for i, table in enumerate((nodes, changed)):
        again = em.fit(edges, nodes=table, target="field", models=["label_propagation", "logistic"], metric="accuracy",
                       out=tmp_path / str(i), progress=False, budget=100, split="part")  # fmt: skip
        answers.append(again)
    assert answers[0].search.members == answers[1].search.members
    assert answers[0].tables["nodes"]["prediction"].equals(answers[1].tables["nodes"]["prediction"])


def test_the_file_answers_ids_in_every_form(run):
    model = em.load(run.folder / "model.em")
    nodes = run.tables["nodes"]
    ids = nodes["paper"].tolist()
    assert model.predict(ids[:30]) == nodes["prediction"].tolist()[:30]
    assert model.predict({"paper": ids[4]}) == nodes["prediction"][4]
    assert model.predict(nodes[["paper"]]).tolist() == nodes["prediction"].tolist()
    shares = model.predict_proba([ids[0]])[0]
    assert abs(sum(shares.values()) - 1) < 1e-9
    with pytest.raises(SchemaError, match="nobody"):
        model.predict(["nobody"])
    table = papers(110)[1]
    assert model.evaluate(table[table["field"].notna()]).metrics[0].value > 0.8
    assert json.loads((run.folder / "story.json").read_text())["graph"]["column"] == "paper"


@pytest.mark.parametrize("word", ["graph_convolution", "graph_sage"])
def test_a_network_is_saved_with_its_graph_and_answers_alike(word, tmp_path):
    edges, nodes, field = papers(90)
    run = em.fit(
        edges, nodes=nodes, target="field", models=[word], out=tmp_path, progress=False, budget=100, test_size=0
    )
    model = em.load(tmp_path / "model.em")
    assert run.search.members[0]["card"] == word and model.manifest["contains_training_rows"]
    assert model.predict(nodes["paper"].tolist()) == run.tables["nodes"]["prediction"].tolist()
    unknown = (run.tables["nodes"]["part"] == "unknown").to_numpy()
    right = run.tables["nodes"]["prediction"][unknown] == [f"field {v}" for v in field[unknown]]
    assert unknown.sum() == 20 and right.mean() >= 0.75
    run.report(tmp_path / "report.html")


def test_numbers_of_nodes_are_learnt_too(tmp_path):
    edges, nodes, field = papers(90)
    nodes["cost"] = 10.0 * field + np.random.default_rng(0).normal(size=90)
    nodes = nodes.drop(columns="field")
    run = em.fit(edges, nodes=nodes, target="cost", models=["graph_convolution", "label_propagation", "ridge"],
                 out=tmp_path, progress=False, budget=100)  # fmt: skip
    assert run.story["task"] == "regression" and run.metrics["rmse"] < 8
    model = em.load(tmp_path / "model.em")
    assert np.allclose(model.predict(nodes["paper"].tolist()), run.tables["nodes"]["prediction"])


def test_nodes_without_anything_but_edges():
    edges, nodes, _ = papers(90)
    known = tables.connect(edges, nodes[["paper", "field"]], "field")
    x, told, left, _ = tables.described(known, nodes[["paper", "field"]], "field", np.arange(60), False, 0, [])
    assert x is None and not told and not left
    made = make(known.graph, "multiclass", 3, None)
    assert {"graph_convolution", "lightgbm"} <= {c.card for c in made}
    codes = nodes["field"].fillna("field 0").str[-1].astype(int).to_numpy()
    for candidate in made:
        if candidate.card != "graph_attention":
            step = candidates.run(candidate, 0, np.arange(60), codes[:60], 0, None)
            assert step is not None, candidate.failed
            assert np.allclose(candidate.folds[0].sum(axis=1), 1)


def test_columns_that_name_nodes_are_found_and_odd_tables_are_said():
    edges, nodes, _ = papers(60)
    numbered = nodes.assign(paper=nodes["paper"].str[1:].astype(int), row=np.arange(1000, 1060))
    as_numbers = pd.DataFrame(
        {c: edges[c].str[1:].astype(float) for c in ("cites", "cited")}
    )  # floats of whole numbers
    known = tables.connect(as_numbers, numbered, "field")
    assert known.column == "paper" and known.graph.edges > 100
    with pytest.raises(DataError, match="holds the ids"):
        tables.connect(edges, nodes.assign(paper=[f"x{i}" for i in range(60)]), "field")
    with pytest.raises(DataError, match="repeat one"):
        tables.connect(edges, pd.concat([nodes, nodes.iloc[:2]]), "field")
    with pytest.raises(DataError, match="two are needed"):
        tables.connect(edges[["cites"]], nodes, "field")
    odd = edges.assign(weight=[0.0, np.nan, *[2.0] * (len(edges) - 2)], note="x")
    codes = {f.code: f for f in tables.connect(odd, nodes, "field").findings}
    assert codes["edges-without-weight"].data["count"] == 2 and codes["edge-columns-unused"].columns == ("note",)


def test_what_cannot_be_asked_of_nodes_is_refused(tmp_path):
    edges, nodes, _ = papers(60)
    with pytest.raises(ParameterError, match="group"):
        em.fit(edges, nodes=nodes, target="field", group="year", out=tmp_path)
    with pytest.raises(ParameterError, match="not tried on graphs"):
        em.fit(edges, nodes=nodes, target="field", models=["svm"], out=tmp_path, progress=False)
    with pytest.raises(TargetError, match="one column"):
        em.fit(edges, nodes=nodes, target=["field", "year"], out=tmp_path, progress=False)
    with pytest.raises(TargetError, match="Did you mean 'field'"):
        em.fit(edges, nodes=nodes, target="feild", out=tmp_path, progress=False)


def test_labels_flow_and_end_where_no_edge_leads():
    graph = Graph([("a", "b"), ("b", "c"), ("d", "e")], nodes=list("abcdef"))
    answers, step = candidates._flow(graph, 2, np.array([0, 3]), np.array([0, 1]), 0, None)
    assert answers.argmax(axis=1)[:5].tolist() == [0, 0, 0, 1, 1] and np.allclose(answers[5], 0.5)
    assert np.allclose(step(np.array([5, -1]))[0], 0.5)
    values, _ = candidates._flow(graph, 0, np.array([0, 3]), np.array([2.0, 8.0]), 0, None)
    assert values[2] < 4 < 6 < values[4] and values[5] == 5


def test_from_the_command_line(tmp_path, monkeypatch):
    from everymodel.interfaces.cli.app import app

    edges, nodes, _ = papers(60)
    edges.to_csv(tmp_path / "edges.csv", index=False)
    nodes.to_csv(tmp_path / "nodes.csv", index=False)
    monkeypatch.chdir(tmp_path)
    words = [
        "fit",
        "edges.csv",
        "--nodes",
        "nodes.csv",
        "-t",
        "field",
        "-m",
        "label_propagation",
        "-o",
        "m.em",
        "--json",
    ]
    done = CliRunner().invoke(app, [*words, "--run-folder", "run"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["predict", "m.em", "nodes.csv", "-o", "out.csv"])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(tmp_path / "out.csv")) == 60


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network of nodes whose table has words, an unscaled number and gaps, in a file."""
    edges, nodes, _ = papers(90)
    nodes.loc[nodes.index[:5], "year"] = np.nan
    out = tmp_path_factory.mktemp("network")
    em.fit(edges, nodes=nodes, target="field", models=["graph_sage"], out=out, progress=False, budget=100)
    return out / "model.em"


def test_a_network_answers_nodes_of_another_graph(network):
    model = em.load(network)
    edges, nodes, _ = papers(90)
    nodes.loc[nodes.index[:5], "year"] = np.nan
    known = model.predict_proba(nodes[["paper"]])
    asked = nodes.drop(columns="field")
    for table in (asked, asked.to_dict("records"), asked.to_dict("list")):  # its own graph, as if it were new
        again = model.predict_proba(table, edges=edges)
        again = pd.DataFrame(again, columns=known.columns) if not isinstance(again, pd.DataFrame) else again
        assert np.allclose(again[known.columns], known, atol=1e-9)
    edges, nodes, field = papers(80, seed=5)
    nodes["paper"], edges[["cites", "cited"]] = "new-" + nodes["paper"], "new-" + edges[["cites", "cited"]]
    told = model.predict(nodes.drop(columns="field"), edges=edges)
    assert np.mean(told.to_numpy() == [f"field {v}" for v in field]) > 0.8
    alone = model.predict(nodes.drop(columns="field"), edges=[])
    assert np.mean(alone.to_numpy() == told.to_numpy()) < 1


def test_new_nodes_join_the_graph_of_the_file(network):
    model = em.load(network)
    edges, nodes, _ = papers(90)
    row = nodes.drop(columns="field").iloc[[7]]
    heard = edges[(edges["cites"] == row["paper"].iloc[0]) | (edges["cited"] == row["paper"].iloc[0])]
    same = model.predict_proba(row, edges=heard)  # it is there already, with these edges
    assert np.allclose(same, model.predict_proba(row[["paper"]]), atol=1e-9)
    twin = row.assign(paper="twin")  # hears the same nodes, so it gets the same answer but for what others hear
    pairs = [["twin", b if a == row["paper"].iloc[0] else a] for a, b in heard[["cites", "cited"]].to_numpy()]
    assert model.predict(twin, edges=pairs).iloc[0] == model.predict(row[["paper"]]).iloc[0]
    with pytest.warns(UserWarning, match="name a node that is not there"):
        model.predict(twin, edges=[*pairs, ["twin", "nobody"]])


def test_new_nodes_that_cannot_be_read_are_refused(network, run):
    model = em.load(network)
    edges, nodes, _ = papers(60)
    with pytest.raises(SchemaError, match="lack the column 'paper'"):
        model.predict(nodes.drop(columns="paper"), edges=edges)
    with pytest.raises(SchemaError, match="word0"):
        model.predict(nodes.drop(columns="word0"), edges=edges)
    with pytest.raises(DataError, match="one of its own"):
        model.predict(pd.concat([nodes, nodes]), edges=edges)
    with pytest.raises(DataError, match="pairs"):
        model.predict(nodes, edges=[["p1"]])
    with pytest.raises(DataError, match="two are needed"):
        model.predict(nodes, edges=edges[["cites"]])
    if run.search.members[0]["card"] != "graph_convolution":
        with pytest.raises(CapabilityError, match="its own graph alone"):
            run.model.predict(nodes, edges=edges)


def test_damaged_readers_of_new_nodes_are_refused(network):
    step = em.load(network).pack.nodes[-1].step
    settings, arrays = step.spec()
    assert type(step).build(*step.spec()).prepare is not None
    name = next(k for k in arrays if k.startswith("prepare:") and arrays[k].dtype.kind == "f" and arrays[k].size)
    for told, own in (
        ({**settings, "width": step.width + 1}, arrays),
        ({k: v for k, v in settings.items() if k != "asked"}, arrays),
        ({**settings, "prepare": {}}, arrays),
        ({**settings, "prepare": {**settings["prepare"], "nodes": []}}, arrays),
        (settings, {k: v for k, v in arrays.items() if k != name}),
        (settings, {**arrays, "prepare:9999:x": np.zeros(1)}),
        (settings, {**arrays, "prepare:x:x": np.zeros(1)}),
    ):
        with pytest.raises((ModelFileError, ValueError, KeyError, IndexError, TypeError)):
            type(step).build(told, own)


def test_new_nodes_from_the_command_line_and_over_rest(network, tmp_path):
    from everymodel.interfaces.cli.app import app
    from everymodel.interfaces.server.answer import Answerer, decode
    from everymodel.interfaces.server.openapi import document

    edges, nodes, _ = papers(60, seed=7)
    nodes = nodes.drop(columns="field")
    edges.to_csv(tmp_path / "edges.csv", index=False)
    nodes.to_csv(tmp_path / "nodes.csv", index=False)
    model = em.load(network)
    expected = model.predict(nodes, edges=edges).tolist()
    words = ["predict", network, tmp_path / "nodes.csv", "--edges", tmp_path / "edges.csv", "-o", tmp_path / "out.csv"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    assert pd.read_csv(tmp_path / "out.csv")["prediction"].tolist() == expected
    answerer = Answerer(model)
    body = {"rows": nodes.to_dict("records"), "edges": edges[["cites", "cited"]].to_numpy().tolist(), "proba": True}
    told = answerer(decode(json.dumps(body).encode(), 100)).body["predictions"]
    assert [one["prediction"] for one in told] == expected and set(told[0]["probabilities"]) == set(model.classes)
    with pytest.raises(CapabilityError, match="not explained"):
        answerer(decode(json.dumps({**body, "explain": True}).encode(), 100))
    made = document(model, 100, 10**6)["components"]["schemas"]
    assert "edges" in made["PredictRequest"]["properties"] and "word0" in made["Row"]["properties"]
    assert made["Row"]["required"] == ["paper"]
