"""Whole graphs: from tables of nodes and edges, or lists of Graphs, to models that answer each; files, CLI, REST."""

from __future__ import annotations

import itertools
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
    PackError,
    ParameterError,
    SchemaError,
    TargetError,
)
from everymodel.core.graph import Graph, joined
from everymodel.scoring.graph_sets import gathered
from everymodel.scoring.layers.graph import Signal
from everymodel.scoring.model import Model, open_bytes
from everymodel.scoring.steps.graph_sets import GraphSetTable, described, signal_of, titles
from everymodel.workflow.graphs.sets import together
from everymodel.workflow.wrap import wrap

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def shapes(count: int = 60, seed: int = 0, within: bool = False):
    """Trees, and the same with an edge that closes a ring; rows and edges in any order; kinds of nodes and a number."""
    rng = np.random.default_rng(seed)
    nodes, edges = [], []
    for k in range(count):
        n = int(rng.integers(5, 11))
        pairs = [(i, i - 1 if i < 4 else int(rng.integers(0, i))) for i in range(1, n)] + [(3, 0)] * (k % 2)
        edges += [(f"g{k}", a, b) if within else (f"{k}.{a}", f"{k}.{b}") for a, b in pairs]
        for i in range(n):
            shape = "ring" if k % 2 else "tree"
            nodes.append((f"g{k}", i if within else f"{k}.{i}", rng.choice(["C", "N"]), round(rng.normal(), 2), shape))
    made = pd.DataFrame(edges, columns=["graph", "from", "to"] if within else ["from", "to"])
    table = pd.DataFrame(nodes, columns=["graph", "node", "kind", "charge", "shape"])
    return made.sample(frac=1, random_state=seed), table.sample(frac=1, random_state=seed).reset_index(drop=True)


def plain_graphs(count: int = 40, seed: int = 0):
    rng = np.random.default_rng(seed)
    made = []
    for k in range(count):
        n = int(rng.integers(4, 10))
        pairs = [(i, int(rng.integers(0, i))) for i in range(1, n)]
        pairs = [(i, (i + 1) % n) for i in range(n)] if k % 2 else pairs
        degree = np.bincount(np.ravel(pairs), minlength=n)
        made.append(Graph(pairs, features=np.column_stack([degree, rng.normal(size=n)])))
    return made, np.array(["tree", "ring"] * (count // 2))


# --- graphs in numbers -----------------------------------------------------------------------------------------------


def test_graphs_in_numbers_agree_with_counts_by_hand():
    rng = np.random.default_rng(1)
    made = []
    for _ in range(25):
        n = int(rng.integers(1, 12))
        pairs = [(i, j) for i in range(n) for j in range(i) if rng.random() < rng.uniform(0, 0.8)]
        made.append(Graph(pairs, nodes=list(range(n)), features=rng.normal(size=(n, 2))))
    adjacency, x, sizes = joined(made)
    told = described(Signal(x, adjacency, sizes), True)
    names = titles(["a", "b"], True)
    assert told.shape == (25, len(names)) and len(set(names)) == len(names)
    for graph, row in zip(made, told, strict=True):
        here, n = dict(zip(names, row, strict=True)), len(graph)
        full = graph.adjacency.toarray() > 0
        reach = np.linalg.matrix_power(full + np.eye(n), n) > 0
        parts = len({tuple(r) for r in reach})
        corners = sum(full[a, b] and full[b, c] and full[a, c] for a, b, c in itertools.combinations(range(n), 3))
        assert (here["nodes"], here["edges"], here["parts"], here["triangles"]) == (n, full.sum() / 2, parts, corners)
        assert here["rings"] == full.sum() / 2 - n + parts
        assert here["share of nodes with 1 edges"] == pytest.approx((full.sum(axis=1) == 1).mean())
        beside = (graph.features.T @ full @ graph.features) / max(full.sum(), 1)
        assert here["a beside b"] == pytest.approx((beside[0, 1] + beside[1, 0]) / 2)
        assert np.allclose(described(Signal(graph.features, graph.adjacency), True)[0], row)
    star = Graph([(0, i) for i in range(1, 3000)])
    assert described(Signal(np.zeros((3000, 0)), star.adjacency))[0, 5] == 0


def test_damaged_steps_of_graphs_are_refused():
    good = GraphSetTable(titles(["a"], False), 1)
    settings, arrays = good.spec()
    assert GraphSetTable.build(settings, arrays).columns == good.columns  # type: ignore[attr-defined]
    few = settings["columns"][:-1]
    for wrong in ({"width": -1}, {"width": 2}, {"columns": few}, {"columns": [*few, few[0]]}, {"columns": "x"},
                  {"pairs": 1}, {"strange": 1}):  # fmt: skip
        with pytest.raises(ModelFileError):
            GraphSetTable.build({**settings, **wrong}, arrays)
    with pytest.raises(ModelFileError, match="do not fit"):
        good(model_of_plain()[0].read(plain_graphs(4)[0])[0], np.zeros((1, 3)))


# --- one network, wrapped --------------------------------------------------------------------------------------------


def model_of_plain(cls: str = "GraphConvolutionClassifier", **more: object):
    graphs, y = plain_graphs()
    goal = y if cls.endswith("Classifier") else (y == "ring") * 3.0
    estimator = getattr(em, cls)(hidden=(16,), epochs=12, dropout=0.0, random_state=0, **more).fit(graphs, goal)
    return wrap(estimator, graphs, target="shape"), estimator


@pytest.mark.parametrize("cls", ["GraphConvolutionClassifier", "GraphSAGEClassifier", "GraphAttentionClassifier"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_network_of_graphs_is_a_file(cls, pooling, tmp_path):
    made, estimator = model_of_plain(cls, pooling=pooling)
    new, truth = plain_graphs(20, seed=5)
    made.save(tmp_path / "m.em")
    model = em.load(tmp_path / "m.em")
    assert np.allclose([list(p.values()) for p in model.predict_proba(new)], estimator.predict_proba(new), atol=1e-9)
    assert model.predict(new) == estimator.predict(new).tolist() and model.predict(new[3]) == model.predict(new)[3]
    assert not model.manifest["contains_training_rows"]
    if cls == "GraphConvolutionClassifier" and pooling == "mean":
        rows = [
            {"graph": f"g{k}", "node": f"{k}.{i}", "feature_1": a, "feature_2": b}
            for k, g in enumerate(new)
            for i, (a, b) in enumerate(g.features.tolist())
        ]
        pairs = [
            [f"{k}.{a}", f"{k}.{b}"] for k, g in enumerate(new) for a, b in zip(g.adjacency.row, g.adjacency.columns)
        ]
        assert model.predict(rows, edges=pairs) == model.predict(new)
        table = pd.DataFrame(rows).sample(frac=1, random_state=1)
        told = model.predict(table, edges=pairs)
        assert [told[f"g{k}"] for k in range(20)] == model.predict(new) and told.index.name == "graph"
        assert model.predict(table.to_dict("list"), edges=pairs).tolist() == told.tolist()
        labelled = table.assign(shape=[truth[int(g[1:])] for g in table["graph"]])
        assert model.evaluate(labelled, edges=pairs).metrics[0].value > 0.8


def test_numbers_and_gaps_of_graphs():
    model, estimator = model_of_plain("GraphSAGERegressor")
    new, _ = plain_graphs(6, seed=3)
    assert np.allclose(model.predict(new), estimator.predict(new))
    graphs, y = plain_graphs()
    for g in graphs[:5]:
        g.features[0, 1] = np.nan
    gaps = em.GraphSAGEClassifier(hidden=(8,), epochs=3, random_state=0).fit(graphs, y)
    assert np.allclose(wrap(gaps, graphs).answers(wrap(gaps, graphs).read(graphs)[0]), gaps.predict_proba(graphs))
    with pytest.raises(DataError, match="a list of Graphs"):
        wrap(gaps, np.zeros((3, 2)))


# --- from tables to a tested model -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classic(tmp_path_factory):
    edges, nodes = shapes()
    out = tmp_path_factory.mktemp("classic")
    nodes.loc[nodes["graph"].isin(["g58", "g59"]), "shape"] = None
    return em.fit(edges, nodes=nodes, graph="graph", target="shape", models=["logistic"], trials=1, out=out,
                  progress=False)  # fmt: skip


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    edges, nodes = shapes(within=True)
    out = tmp_path_factory.mktemp("network")
    return em.fit(edges, nodes=nodes, graph="graph", target="shape", models=["graph_convolution"], trials=1,
                  out=out, progress=False)  # fmt: skip


@pytest.mark.parametrize("name", ["classic", "network"])
def test_whole_graphs_are_learnt_split_and_answered(name, request):
    run = request.getfixturevalue(name)
    edges, nodes = shapes(within=name == "network")
    table = run.tables["graphs"].set_index("graph")
    assert (table["part"].value_counts()[["train", "test"]] == ([46, 12] if name == "classic" else [48, 12])).all()
    assert run.metrics["roc_auc"] > 0.9 and run.story["graphs"]["within"] == (name == "network")
    assert run.leaderboard["weight"].sum() == pytest.approx(1)
    model = em.load(run.folder / "model.em")
    told = model.predict(nodes.drop(columns="shape"), edges=edges)
    assert told.to_dict() == table["prediction"].to_dict()
    if name == "classic":
        assert (table["part"] == "unknown").sum() == 2 and table.loc["g59", "prediction"] == "ring"
    edges, nodes = shapes(30, seed=7, within=name == "network")
    assert model.evaluate(nodes, edges=edges).metrics[0].value > 0.9
    run.report(run.folder / "report.html")


def test_answers_of_a_graph_do_not_depend_on_those_beside_it(classic, network):
    for run, within in ((classic, False), (network, True)):
        edges, nodes = shapes(12, seed=4, within=within)
        together_ = run.model.predict_proba(nodes, edges=edges)
        for name in ("g0", "g5"):
            own = nodes[nodes["graph"] == name]
            some = edges[edges["graph"] == name] if within else edges[edges["from"].isin(own["node"])]
            alone = run.model.predict_proba(own.iloc[::-1], edges=some)
            assert np.allclose(alone.loc[name], together_.loc[name], atol=1e-12)


def test_labels_of_test_graphs_are_seen_by_no_choice(classic, tmp_path):
    edges, nodes = shapes()
    part = classic.tables["graphs"].set_index("graph")["part"].replace("unknown", "train")
    nodes["part"] = nodes["graph"].map(part)
    other = nodes.copy()
    tested = other["part"] == "test"
    other.loc[tested, "shape"] = other.loc[tested, "shape"].map({"ring": "tree", "tree": "ring"})
    answers = []
    for i, table in enumerate((nodes, other)):
        run = em.fit(edges, nodes=table, graph="graph", target="shape", models=["logistic"], trials=1,
                     split="part", out=tmp_path / str(i), progress=False)  # fmt: skip
        answers.append(run.tables["graphs"]["confidence"].to_numpy())
    assert np.allclose(*answers)


def test_graphs_of_edges_alone(tmp_path):
    edges, nodes = shapes(40)
    run = em.fit(edges, nodes=nodes[["graph", "node", "shape"]], graph="graph", target="shape", models=["logistic"],
                 trials=1, out=tmp_path, progress=False)  # fmt: skip
    edges, nodes = shapes(10, seed=2)
    assert run.model.predict(nodes, edges=edges)["g1"] == "ring"


def test_odd_tables_of_graphs_are_said(classic):
    edges, nodes = shapes(20)
    pairs = [*edges.to_numpy().tolist(), ["0.0", "1.0"], ["0.0", "nobody"]]
    known = together(pd.DataFrame(pairs, columns=["from", "to"]), nodes, "graph", "shape")
    assert {"edges-between-graphs", "edges-to-missing-nodes"} <= {f.code for f in known.findings}
    assert (known.told["node"], known.told["ends"]) == ("node", ["from", "to"]) and known.sizes.sum() == len(nodes)
    with pytest.warns(UserWarning, match="lead from one graph to another"):
        classic.model.predict(nodes, edges=pairs[:-1])
    with pytest.raises(CapabilityError, match="give their edges too"):
        classic.model.predict(nodes)
    with pytest.raises(SchemaError, match="'graph'"):
        classic.model.predict(nodes.drop(columns="graph"), edges=edges)
    with pytest.raises(DataError, match="one of its own"):
        classic.model.predict(pd.concat([nodes, nodes.assign(graph="g99")]), edges=edges)
    with pytest.raises(DataError, match="no graph"):
        classic.model.predict(nodes.assign(graph=None), edges=edges)
    with pytest.raises(DataError, match="no numbers"):
        classic.model.predict(plain_graphs(2)[0])
    with pytest.raises(CapabilityError, match="not explained"):
        classic.model.explain(nodes)
    with pytest.raises(TargetError, match="different values"):
        wrong = nodes.copy()
        wrong.loc[wrong.index[0], "shape"] = "else"
        em.fit(edges, nodes=wrong, graph="graph", target="shape", progress=False)
    with pytest.raises(ParameterError, match="says the graph of each node"):
        em.fit(edges, nodes=nodes, graph="molecule", target="shape", progress=False)
    with pytest.raises(ParameterError, match="nodes="):
        em.fit(edges, graph="graph", target="shape", progress=False)
    edges, nodes = shapes(4, within=True)
    told = {"graph": "graph", "node": "node", "ends": ["from", "to"], "within": True}
    with pytest.raises(DataError, match="need the column 'graph'"):
        gathered(told, nodes, edges[["from", "to"]])


def test_a_file_that_does_not_say_how_graphs_look_is_refused(classic):
    model = classic.model
    for told in (None, {}, {"graph": "graph", "node": 3}):
        with pytest.raises((ModelFileError, PackError)):
            open_bytes(Model(model.schema, model.pack, {**model.manifest, "graphs": told}).to_bytes())


def test_rows_by_which_files_are_checked_hear_each_other():
    batch = model_of_plain()[0].read(plain_graphs(3)[0])[0]
    plain = type("Plain", (), {"n": 2})()
    assert signal_of(batch, np.zeros((batch.n, 1))).adjacency is batch.adjacency  # type: ignore[attr-defined]
    pairs = signal_of(plain, np.array([[1.0], [2.0]]))  # type: ignore[arg-type]
    assert pairs.adjacency.columns.tolist() == [1, 0, 3, 2] and pairs.x.ravel().tolist() == [1, 1, 2, 2]


def test_graphs_on_the_command_line_and_over_rest(classic, tmp_path):
    from everymodel.interfaces.cli.app import app
    from everymodel.interfaces.server.answer import Answerer, decode
    from everymodel.interfaces.server.openapi import document

    edges, nodes = shapes(14, seed=6)
    edges.to_csv(tmp_path / "edges.csv", index=False)
    nodes.to_csv(tmp_path / "nodes.csv", index=False)
    file = classic.folder / "model.em"
    expected = classic.model.predict(nodes, edges=edges)

    def run(*words: object, fails: str = "") -> str:
        done = CliRunner().invoke(app, list(map(str, words)))
        assert bool(done.exit_code) == bool(fails) and fails in done.output, done.output
        return done.output

    both = [file, tmp_path / "nodes.csv", "--edges", tmp_path / "edges.csv"]
    run("predict", *both, "--proba", "-o", tmp_path / "out.csv")
    made = pd.read_csv(tmp_path / "out.csv").set_index("graph")
    assert made["prediction"].to_dict() == expected.to_dict() and "probability_ring" in made
    assert json.loads(run("evaluate", *both, "--json"))["source"] == "data"
    run("predict", *both[:2], fails="edges")
    run("predict", *both, "--with-data", fails="one answer for each graph")
    run("explain", file, tmp_path / "nodes.csv", "--row", "0", fails="not explained")
    answerer = Answerer(classic.model)
    rows = nodes.drop(columns="shape").to_dict("records")
    body = {"rows": rows, "edges": edges.to_numpy().tolist(), "proba": True}
    told = answerer(decode(json.dumps(body).encode(), 1000)).body["predictions"]
    assert {one["graph"]: one["prediction"] for one in told} == expected.to_dict()
    for wrong, words in (({"edges": None}, "edges"), ({"explain": True}, "not explained")):
        with pytest.raises(CapabilityError, match=words):
            answerer(decode(json.dumps({**body, **wrong}).encode(), 1000))
    told = document(classic.model, 100, 10**6)
    assert {"graph", "node", "kind", "charge"} == set(told["components"]["schemas"]["Row"]["required"])
    example = next(iter(told["paths"]["/v1/predict"]["post"]["requestBody"]["content"].values()))["examples"]["many"]
    assert len(answerer(decode(json.dumps(example["value"]).encode(), 9)).body["predictions"]) == 1
