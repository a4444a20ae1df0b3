"""Fitted estimators become models that are saved, loaded and asked like those of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

import everymodel as em
from everymodel.core.errors import DataError, ParameterError

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
