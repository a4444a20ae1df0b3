"""Fitted estimators become models that are saved, loaded and asked like those of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

import everymodel as em
from everymodel.core.errors import CapabilityError, DataError, ParameterError

X, Y = load_iris(return_X_y=True, as_frame=True)
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]


def again(model, tmp_path):
    path = tmp_path / "m.em"
    model.save(path)
    return em.load(path)


def test_a_classifier_keeps_its_labels_and_names(tmp_path):
    fitted = em.LogisticRegression(max_iter=500).fit(X, WORDS)
    model = again(em.wrap(fitted, X, target="species"), tmp_path)
    assert (model.predict(X).to_numpy() == fitted.predict(X)).all()
    assert model.targets == ["species"] and model.schema.features[0].name == X.columns[0]
    assert model.predict(X.iloc[0].to_dict()) == "setosa"
    assert list(model.predict_proba(X.iloc[:2]).columns) == sorted(set(WORDS))


def test_regressors_clusterers_reducers_and_detectors(tmp_path):
    data = load_breast_cancer().data
    forest = em.RandomForestRegressor(n_estimators=5, random_state=0).fit(data[:, 1:], data[:, 0])
    model = again(em.wrap(forest, data[:, 1:]), tmp_path)
    assert np.allclose(model.predict(data[:, 1:]), forest.predict(data[:, 1:]))
    groups = em.KMeans(n_clusters=3, random_state=0).fit(X.to_numpy())
    model = again(em.wrap(groups, X.to_numpy()), tmp_path)
    assert np.mean(model.predict(X.to_numpy()) == groups.labels_) > 0.99
    parts = em.PCA(n_components=2).fit(X)
    assert np.allclose(again(em.wrap(parts, X), tmp_path).transform(X), parts.transform(X.to_numpy()))
    trees = em.IsolationForest(random_state=0).fit(X.to_numpy())
    model = again(em.wrap(trees, X.to_numpy()), tmp_path)
    assert np.allclose(model.score_samples(X.to_numpy()), trees.score_samples(X.to_numpy()))


def test_missing_cells_are_filled_with_what_was_usual():
    fitted = em.LogisticRegression(max_iter=500).fit(X, Y)
    model = em.wrap(fitted, X)
    gap = X.iloc[:1].copy()
    gap.iloc[0, 0] = np.nan
    full = X.iloc[:1].copy()
    full.iloc[0, 0] = X.iloc[:, 0].median()
    assert np.allclose(model.predict_proba(gap), model.predict_proba(full))


def test_what_cannot_be_wrapped_is_told():
    from sklearn.linear_model import TweedieRegressor

    with pytest.raises(ParameterError, match="not in the catalogue"):
        em.wrap(TweedieRegressor().fit(X, Y), X)
    fitted = em.LogisticRegression(max_iter=500).fit(X, Y)
    with pytest.raises(DataError, match="no numbers"):
        em.wrap(fitted, pd.DataFrame({"a": ["x", "y"]}))


def test_taggers_and_translators_become_files(tmp_path):
    sentences = [["Ada", "saw", "Rome"], ["Bob", "left"], ["Rome", "saw", "Bob", "leave"]] * 8
    tags = [["B-PER", "O", "B-LOC"], ["B-PER", "O"], ["B-LOC", "O", "B-PER", "O"]] * 8
    tagger = em.SequenceTagger(hidden=8, epochs=15, random_state=0).fit(sentences, tags)
    model = again(em.wrap(tagger, sentences), tmp_path)
    assert model.predict(sentences) == tagger.predict(sentences)
    assert model.predict("Ada saw Rome") == model.predict({"text": "Ada saw Rome"}) == tagger.predict([sentences[0]])[0]
    told = model.evaluate(sentences, tags)
    assert 0 <= told["f1"] <= 1 and told["accuracy"] > 0.5
    with pytest.raises(DataError, match="words and"):
        model.evaluate(sentences[:1], [["O"]])
    pairs = [("eins zwei", "one two"), ("zwei drei", "two three"), ("drei eins", "three one")] * 8
    writer = em.SequenceToSequence(hidden=8, epochs=3, random_state=0).fit(*map(list, zip(*pairs)))
    model = again(em.wrap(writer, [a for a, _ in pairs]), tmp_path)
    assert model.predict(["eins drei"]) == list(writer.predict(["eins drei"]))


def test_a_tagger_is_served(tmp_path):
    from everymodel.interfaces.server.answer import Answerer, decode

    sentences, tags = [["Ada", "left"], ["Rome", "fell"]] * 6, [["B-PER", "O"], ["B-LOC", "O"]] * 6
    model = again(
        em.wrap(em.SequenceTagger(hidden=4, epochs=2, random_state=0).fit(sentences, tags), sentences), tmp_path
    )
    body = Answerer(model)(decode(b'{"row": {"text": "Ada left"}}', 10)).body
    assert len(body["prediction"]) == 2 and set(body["prediction"]) <= {"B-PER", "B-LOC", "O"}


def test_a_graph_network_takes_its_graph_with_it_and_answers_others(tmp_path):
    from everymodel.core.graph import Graph

    random_ = np.random.default_rng(0)
    field = random_.integers(0, 2, 40)
    pairs = [(int(a), int(b)) for a, b in random_.integers(0, 40, (160, 2)) if a != b and field[a] == field[b]]
    features = field[:, None] + random_.normal(size=(40, 3))
    words = np.array(["left", "right"])[field]
    fitted = em.GraphSAGEClassifier(epochs=10, random_state=0).fit(Graph(pairs, features=features), words)
    model = again(em.wrap(fitted, None), tmp_path)
    assert model.predict([{"node": 3}, {"node": 7}]) == fitted.predict([3, 7]).tolist()
    other = Graph(pairs[:30], features=features[::-1])
    table = pd.DataFrame(features[::-1], columns=[f"feature_{i + 1}" for i in range(3)])
    table.insert(0, "node", [f"new {i}" for i in range(40)])
    edges = [[f"new {a}", f"new {b}"] for a, b in pairs[:30]]
    assert np.allclose(model.predict_proba(table, edges=edges), fitted.predict_proba(other), atol=1e-6)
    plain = em.GraphConvolutionRegressor(epochs=3, random_state=0).fit(Graph(pairs, nodes=range(40)), field * 1.0)
    model = again(em.wrap(plain, None), tmp_path)
    assert np.allclose(model.predict([1, 2]), plain.predict([1, 2]))
    with pytest.raises(CapabilityError, match="its own graph alone"):
        model.predict(table, edges=edges)
