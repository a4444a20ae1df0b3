"""Graph networks: the mathematics, graphs as people have them, new graphs, whole graphs, files."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel import catalog
from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError, TargetError
from everymodel.core.graph import Graph, Rows, spread
from everymodel.scoring.layers import base
from everymodel.scoring.layers.graph import Signal

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

NAMES = ("graph_convolution", "graph_attention", "graph_sage")


def made(name: str, kind: str = "classifier", **parameters):
    model = catalog.load(catalog.find(name, kind=kind))
    return model(**{"random_state": 0, "device": "cpu", **parameters})


def karate():
    """Zachary's karate club (1977): edges, and the side that each of 34 members took."""
    text = (
        "1,2 1,3 1,4 1,5 1,6 1,7 1,8 1,9 1,11 1,12 1,13 1,14 1,18 1,20 1,22 1,32 2,3 2,4 2,8 2,14 2,18 2,20 2,22 2,31 "
        "3,4 3,8 3,9 3,10 3,14 3,28 3,29 3,33 4,8 4,13 4,14 5,7 5,11 6,7 6,11 6,17 7,17 9,31 9,33 9,34 10,34 14,34 "
        "15,33 15,34 16,33 16,34 19,33 19,34 20,34 21,33 21,34 23,33 23,34 24,26 24,28 24,30 24,33 24,34 25,26 25,28 "
        "25,32 26,32 27,30 27,34 28,34 29,32 29,34 30,33 30,34 31,33 31,34 32,33 32,34 33,34"
    )
    edges = [tuple(int(v) - 1 for v in pair.split(",")) for pair in text.split()]
    first = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21}
    return edges, np.array(["Hi" if i in first else "Officer" for i in range(34)])


def blocks(n: int = 60, seed: int = 0):
    """Two groups with more edges inside than between, and features that tell a little."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    chance = np.where(y[:, None] == y[None], 0.3, 0.03)
    a, b = np.nonzero(np.triu(rng.random((n, n)) < chance, 1))
    return np.column_stack([a, b]), rng.normal(size=(n, 5)) + 0.7 * y[:, None], y


# --- graphs as people have them ---


def test_every_oddity_is_counted_and_put_right():
    edges = [("a", "b"), ("b", "a"), ("a", "b"), ("c", "c"), ("a", "zz"), (None, "b"), ("b", "c")]
    graph = Graph(edges, nodes=["a", "b", "c", "alone"])
    found = {f.code: f.data["count"] for f in graph.findings}
    assert found == {"edges-to-missing-nodes": 2, "self-loops": 1, "repeated-edges": 2, "isolated-nodes": 1}
    assert graph.edges == 2
    assert graph.adjacency.toarray()[:3, :3].tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_directions_weights_and_ids_of_any_kind():
    graph = Graph([(10, 7), (10, 7), (7, 3)], directed=True, weights=[1.0, 2.0, 0.5])
    assert graph.ids.tolist() == [3, 7, 10] and graph.edges == 2
    assert graph.adjacency.toarray().tolist() == [[0, 0.5, 0], [0, 0, 3.0], [0, 0, 0]]
    mixed = Graph([("x", 1), (1, (2, 3))])
    assert mixed.places(["x", (2, 3), "nobody"]).tolist() == [0, 2, -1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([],), "no nodes"),
        (([(1, 2, 3)],), "pairs"),
        ((["ab"],), "pairs"),
        (([(1, 2)], [1, 2, 2]), "more than once"),
        (([(1, 2)], [1, None]), "no id"),
        (([(0, 1)], None, [[1.0]] * 2 + [[np.inf]]), "infinite"),
        (([(0, 1)], [0, 1], [[1.0]] * 3), "features for 3 nodes"),
        (([(0, 1)], None, [["red"], ["blue"]]), "numbers"),
        (([([1], 2)], [1, 2]), "kind that names nothing"),
        ((np.zeros((4, 3)),), "expected \\(m, 2\\)"),
    ],
)
def test_what_is_no_graph_is_said(arguments, words):
    with pytest.raises(DataError, match=words):
        Graph(*arguments)


def test_symmetric_sums_are_those_of_the_paper():
    edges, _, _ = blocks()
    graph = Graph(edges, nodes=np.arange(60))
    A = graph.adjacency.toarray() + np.eye(60)
    D = np.diag(A.sum(axis=1) ** -0.5)
    assert np.allclose(spread(graph.adjacency, "symmetric").toarray(), D @ A @ D)
    assert np.allclose(spread(graph.adjacency, "mean").toarray().sum(axis=1), np.diff(graph.adjacency.starts) > 0)


def test_products_of_compressed_rows():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(7, 5)) * (rng.random((7, 5)) < 0.4)
    dense[2] = dense[6] = 0
    row, column = np.nonzero(dense)
    rows = Rows.of(row, column, dense[row, column], dense.shape)
    other = rng.normal(size=(5, 3))
    assert np.allclose(rows.dot(other), dense @ other)
    assert np.allclose(rows.transposed()[0].toarray(), dense.T)
    assert np.allclose(rows.take(np.array([6, 0, 0])).toarray(), dense[[6, 0, 0]])


# --- networks ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [{}, {"hidden": (6, 4)}, {"hidden": ()}])
def test_numpy_answers_as_torch_does(name, more):
    from everymodel.training.blocks.graph import Hop, Matrix, features

    edges, X, y = blocks()
    graph = Graph(edges, nodes=np.arange(60), features=X)
    settings = {"combine": "max"} if name == "graph_sage" and more else {}
    model = made(name, epochs=3, scaling="none", **more, **settings).fit(graph, y)
    hop = Hop(Matrix.of(spread(graph.adjacency, model._how)), 60)
    model.net_.eval()
    with torch.no_grad():
        expected = model.net_(features(X), [hop] * len(model.net_.layers)).numpy()
    assert np.allclose(model._raw(None), expected, rtol=1e-5, atol=1e-5)


def test_a_convolution_is_the_formula():
    edges, X, y = blocks()
    graph = Graph(edges, nodes=np.arange(60), features=X)
    model = made("graph_convolution", hidden=(4,), epochs=2, scaling="none").fit(graph, y)
    S = spread(graph.adjacency, "symmetric").toarray()
    (W1, b1), (W2, b2) = [(p.weight.detach().numpy(), p.bias.detach().numpy()) for p in model.net_.layers]
    expected = S @ np.maximum(S @ X @ W1 + b1, 0) @ W2 + b2
    assert np.allclose(model._raw(None), expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_labelled_nodes_hear_is_computed_and_it_is_enough(name):
    """The part that is cut out gives the same numbers as the whole graph."""
    from everymodel.training.blocks.graph import Hop, Matrix, features
    from everymodel.training.graphs import Edges, field

    edges, X, y = blocks()
    graph = Graph(edges, nodes=np.arange(60), features=X)
    model = made(name, epochs=1, hidden=(5, 3)).fit(graph, y)
    matrix = spread(graph.adjacency, model._how)
    rows = torch.tensor([3, 50, 7])
    part = field(Edges(matrix, model._how != "mean"), features(X), torch.zeros(3), rows, 3)
    model.net_.eval()
    with torch.no_grad():
        whole = model.net_(features(X), [Hop(Matrix.of(matrix), 60)] * 3)[rows]
        assert torch.allclose(model.net_(part.x, part.hops), whole, atol=1e-5)


def test_a_sample_of_neighbours_is_right_in_the_mean_and_never_too_large():
    from everymodel.training.graphs import Edges

    edges, X, _ = blocks()
    graph = Graph(edges, nodes=np.arange(60), features=X)
    for how in ("symmetric", "mean"):
        matrix = spread(graph.adjacency, how)
        source, generator = Edges(matrix, how != "mean"), torch.Generator().manual_seed(0)
        rows, total = torch.tensor([5, 0, 33]), 0
        for _ in range(300):
            hop, speakers = source.hop(rows, 3, generator)
            assert int(hop.matrix.starts.diff().max()) <= 3 + (how != "mean") and speakers[:3].equal(rows)
            total = total + hop.matrix.times(torch.as_tensor(X[speakers], dtype=torch.float32))
        assert np.allclose(total.numpy() / 300, matrix.dot(X)[rows.numpy()], atol=0.25)
        assert (source.local == -1).all()


@pytest.mark.parametrize("name", NAMES)
def test_batches_of_sampled_neighbours_learn(name):
    edges, X, y = blocks(200, seed=1)
    graph = Graph(edges, nodes=np.arange(200), features=X)
    mask = np.arange(200) < 100
    model = made(name, batch_size=32, neighbors=5, epochs=15, dropout=0.2).fit(graph, y, mask)
    assert np.mean(model.predict()[100:] == y[100:]) > 0.85
    again = made(name, batch_size=32, neighbors=5, epochs=15, dropout=0.2).fit(graph, y, mask)
    assert np.array_equal(model.predict_proba(), again.predict_proba())


def test_karate_club_from_two_labels_a_side():
    edges, sides = karate()
    graph = Graph(edges)
    known = {0: "Hi", 7: "Hi", 33: "Officer", 28: "Officer"}
    rest = [i for i in range(34) if i not in known]
    right = [
        np.mean(made("graph_convolution", random_state=s).fit(graph, known).predict(rest) == sides[rest])
        for s in range(2)
    ]
    assert np.mean(right) >= 0.9


def test_unlabelled_nodes_are_told_by_none_nan_or_minus_one():
    edges, X, y = blocks()
    graph = Graph(edges, nodes=np.arange(60), features=X)
    told = np.where(np.arange(60) < 40, y, -1)
    words = np.array([None if v < 0 else f"c{v}" for v in told], dtype=object)
    floats = np.where(told < 0, np.nan, told.astype(float))
    answers = [
        made("graph_convolution", epochs=5).fit(graph, labels).predict_proba() for labels in (told, words, floats)
    ]
    assert np.array_equal(answers[0], answers[1]) and np.array_equal(answers[0], answers[2])
    assert made("graph_convolution", epochs=1).fit(graph, np.where(y == 0, -1, 1)).classes_.tolist() == [-1, 1]
    with pytest.raises(TargetError, match="No node has a label"):
        made("graph_convolution").fit(graph, np.full(60, None))
    with pytest.raises(TargetError, match="labels for 60 nodes"):
        made("graph_convolution").fit(graph, [0, 1, 0])
    with pytest.raises(TargetError, match="not in the graph"):
        made("graph_convolution").fit(graph, {1000: 0, 3: 1})
    with pytest.raises(DataError, match="train_mask"):
        made("graph_convolution").fit(graph, y, train_mask=[1, 2])


@pytest.mark.parametrize("name", NAMES)
def test_a_new_graph_is_answered_with_the_same_weights(name):
    edges, X, y = blocks(120)
    model = made(name, dropout=0.1, epochs=60).fit(Graph(edges, nodes=np.arange(120), features=X), y)
    other, X2, y2 = blocks(120, seed=5)
    assert np.mean(model.predict(Graph(other, nodes=np.arange(120), features=X2)) == y2) > 0.85
    with pytest.raises(DataError, match="4 features"):
        model.predict(Graph(other, features=X2[:, :4], nodes=np.arange(120)))
    with pytest.raises(DataError, match="not in the graph"):
        model.predict([3, 999])


def test_without_features_new_nodes_are_refused_and_known_ones_answered():
    edges, sides = karate()
    model = made("graph_convolution", epochs=20).fit(Graph(edges), sides)
    assert model.predict([0, 33]).tolist() == ["Hi", "Officer"]
    with pytest.raises(CapabilityError, match="Without features"):
        model.predict(Graph([(0, 1)]))


def test_missing_features_isolated_nodes_and_sparse_features():
    sparse = pytest.importorskip("scipy.sparse")
    edges, X, y = blocks()
    X[4, 2] = X[9, 0] = np.nan
    graph = Graph(edges, nodes=np.arange(62), features=np.vstack([X, np.zeros((2, 5))]))
    assert any(f.code == "isolated-nodes" for f in graph.findings)
    labels = [*y.tolist(), None, None]
    model = made("graph_sage", epochs=10).fit(graph, labels)
    assert np.isfinite(model.predict_proba()).all()
    counts = np.random.default_rng(0).poisson(0.1, (60, 40)).astype(float) + np.eye(40)[y * 7]
    one = made("graph_convolution", epochs=10, scaling="rows").fit(Graph(edges, np.arange(60), counts), y)
    two = made("graph_convolution", epochs=10, scaling="rows").fit(
        Graph(edges, np.arange(60), sparse.csr_matrix(counts)), y
    )
    assert np.allclose(one.predict_proba(), two.predict_proba(), atol=0.1)  # dropout falls on other cells
    assert isinstance(two.graph_.features, Rows)


def test_numbers_are_learnt_too():
    edges, X, y = blocks(120)
    graph = Graph(edges, nodes=np.arange(120), features=X)
    goal = 50 + 10 * y
    mask = np.arange(120) < 80
    model = made("graph_convolution", "regressor", dropout=0.0, epochs=80).fit(graph, goal, mask)
    assert np.abs(model.predict()[80:] - goal[80:]).mean() < 3
    missing = np.where(mask, goal.astype(float), np.nan)
    again = made("graph_convolution", "regressor", dropout=0.0, epochs=80).fit(graph, missing)
    assert np.array_equal(again.predict(), model.predict())


def test_validation_nodes_choose_the_epoch_and_teach_nothing():
    edges, X, y = blocks(120)
    graph = Graph(edges, nodes=np.arange(120), features=X)
    valid = np.zeros(120, bool)
    valid[80:] = True
    one = made("graph_convolution", epochs=40, learning_rate=0.2)
    one.train(graph, y, None, valid)
    assert 1 <= one.history_.best_epoch <= 40
    wrong = y.copy()
    wrong[:80] = y[:80]
    other = made("graph_convolution", epochs=one.history_.best_epoch, learning_rate=0.2).fit(graph, wrong, ~valid)
    assert np.allclose(one.predict_proba(), other.predict_proba(), atol=1e-5)
    part = made("graph_convolution", epochs=30, validation_fraction=0.3, patience=5).fit(graph, y)
    assert "valid_loss" in part.history_.epochs[0]


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_whole_graphs_are_told_apart_by_every_pool(pooling):
    rng = np.random.default_rng(0)

    def ring_or_star(star: bool, n: int) -> Graph:
        edges = [(0, i) for i in range(1, n)] if star else [(i, (i + 1) % n) for i in range(n)]
        graph = Graph(edges, nodes=np.arange(n))
        graph.features = np.column_stack([graph.degrees(), rng.normal(size=n)]).astype(float)
        return graph

    stars = rng.random(80) < 0.5
    graphs = [ring_or_star(s, int(rng.integers(4, 9))) for s in stars]
    y = np.where(stars, "star", "ring")
    model = made("graph_convolution", pooling=pooling, dropout=0.0, epochs=40).fit(graphs[:60], y[:60])
    assert np.mean(model.predict(graphs[60:]) == y[60:]) > 0.9
    one = model.predict_proba(graphs[60:61])
    assert np.allclose(one, model.predict_proba(graphs[60:])[:1], atol=1e-9)  # graphs do not hear each other
    step = catalog.module(catalog.find("graph_convolution", kind="classifier")).pack(model)
    g = graphs[60]
    assert np.allclose(step(Signal(g.features, g.adjacency)), one, atol=1e-12)
    with pytest.raises(DataError, match="list of Graphs"):
        model.predict(np.zeros((3, 2)))


def test_one_class_is_answered():
    edges, X, _ = blocks()
    model = made("graph_convolution", epochs=2).fit(Graph(edges, np.arange(60), X), ["only"] * 60)
    assert set(model.predict()) == {"only"}


def test_settings_that_cannot_be_are_refused():
    edges, X, y = blocks()
    graph = Graph(edges, np.arange(60), X)
    with pytest.raises(ParameterError, match="scaling"):
        made("graph_convolution", scaling="huge").fit(graph, y)
    with pytest.raises(ParameterError, match="combine"):
        made("graph_sage", combine="sum").fit(graph, y)
    with pytest.raises(ParameterError, match="train_mask"):
        made("graph_sage").fit(X, y, train_mask=y > 0)


def test_a_million_edges_are_a_graph_soon():
    rng = np.random.default_rng(0)
    graph = Graph(rng.integers(0, 50_000, (1_000_000, 2)), nodes=np.arange(50_000))
    assert 990_000 < graph.edges <= 1_000_000 and len(graph.findings) >= 2


# --- files ---


def packed(name: str, **more):
    edges, X, y = blocks()
    model = made(name, epochs=3, **more).fit(Graph(edges, np.arange(60), X), y)
    return model, catalog.module(catalog.find(name, kind="classifier")).pack(model, n_classes=3)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_holds_the_graph_and_answers_nodes_by_number(name):
    model, step = packed(name)
    assert step.holds_rows
    again = type(step).build(*step.spec())
    at = np.array([0, 59, 7, -1, -2, 10**6])
    answers = again(at)
    assert np.allclose(answers[:3, :2], model.predict_proba()[at[:3]], atol=1e-12) and (answers[:, 2] == 0).all()
    assert np.allclose(answers[3], answers[5]) and np.isfinite(answers).all()  # one that is not there


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused(name):
    _, step = packed(name)
    settings, arrays = step.spec()
    rng = np.random.default_rng(0)
    for key, array in arrays.items():
        if array.dtype.kind == "f":
            with pytest.raises(ModelFileError):
                type(step).build(settings, {**arrays, key: np.full_like(array, np.nan)})
        if key.startswith("edges") or array.ndim > 1:
            with pytest.raises(ModelFileError):
                type(step).build(settings, {**arrays, key: array[:-1]})(np.arange(3))
    for key, value in (("edges_columns", 10**6), ("edges_columns", -1), ("edges_starts", -5)):
        wrong = arrays[key].copy()
        wrong[rng.integers(1, len(wrong) - 1)] = value
        with pytest.raises(ModelFileError):
            type(step).build(settings, {**arrays, key: wrong})
    for more in ({"nodes": 0}, {"nodes": 61}, {"nodes": "many"}, {"column": 3}, {"strange": 1}):
        with pytest.raises(ModelFileError):
            type(step).build({**settings, **more}, arrays)


def test_layers_in_a_file_that_do_not_fit_are_refused():
    model, _ = packed("graph_attention")
    told, arrays = base.write(model.network_)
    for key, array in arrays.items():
        if array.ndim == 3:
            with pytest.raises(ModelFileError):
                base.read(told, {**arrays, key: array[:, :, :-1]})
