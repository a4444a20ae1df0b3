"""The catalogue is read as text, finds what is meant, and says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import NotInstalledError, ParameterError

CLASSIC = {
    "linear_regression": "LinearRegression",
    "polynomial": "PolynomialRegression",
    "ridge": "Ridge",
    "lasso": "Lasso",
    "elastic_net": "ElasticNet",
    "huber": "HuberRegressor",
    "sgd": "SGDClassifier",
    "logistic": "LogisticRegression",
    "nearest_neighbors": "KNeighborsClassifier",
    "gaussian_nb": "GaussianNB",
    "bernoulli_nb": "BernoulliNB",
    "multinomial_nb": "MultinomialNB",
    "complement_nb": "ComplementNB",
    "categorical_nb": "CategoricalNB",
    "decision_tree": "DecisionTreeClassifier",
    "random_forest": "RandomForestClassifier",
    "extra_trees": "ExtraTreesClassifier",
    "linear_svm": "LinearSVC",
    "svm": "SVC",
    "gradient_boosting": "HistGradientBoostingClassifier",
    "lightgbm": "LGBMClassifier",
    "catboost": "CatBoostClassifier",
    "xgboost": "XGBClassifier",
    "gaussian_process": "GaussianProcessRegressor",
    "discriminant": "LinearDiscriminantAnalysis",
    "quadratic_discriminant": "QuadraticDiscriminantAnalysis",
    "dummy": "DummyClassifier",
    "multilayer_perceptron": "MultilayerPerceptronClassifier",
}


def test_every_classic_model_is_there():
    names = {card.name for card in catalog.cards()}
    assert set(CLASSIC) <= names
    for name, cls in CLASSIC.items():
        assert cls in {card.class_name for card in catalog.cards() if card.name == name}


@pytest.mark.parametrize("name", ["Ridge", "Lasso", "LogisticRegression", "HistGradientBoostingClassifier", "SVR"])
def test_classes_are_public_names(name):
    assert getattr(em, name).__name__ == name
    assert name in dir(em)


def test_listing_loads_no_library():
    code = (
        "import sys, json; from everymodel import catalog; n = len(catalog.cards());"
        "print(json.dumps([n, sorted({'sklearn', 'pandas', 'lightgbm', 'scipy', 'torch'} & set(sys.modules))]))"
    )
    count, loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    assert count >= 44 and loaded == []


def test_every_task_has_models_and_an_order():
    for task in ("regression", "binary", "multiclass", "multilabel"):
        cards = catalog.for_task(task)
        assert len(cards) >= 4
        assert min((c.priority for c in cards if c.priority is not None), default=None) is not None
    assert min(catalog.for_task("binary"), key=lambda c: 99 if c.priority is None else c.priority).name == "dummy"


def test_finding():
    assert catalog.find("Random-Forest", task="regression").kind == "regressor"
    assert catalog.find("lgbmclassifier").name == "lightgbm"
    with pytest.raises(ParameterError, match="Did you mean ridge"):
        catalog.find("rigde")
    with pytest.raises(ParameterError, match="cannot do regression"):
        catalog.find("logistic", task="regression")
    with pytest.raises(AttributeError, match="Did you mean Lasso"):
        em.Laso  # noqa: B018


def test_making_checks_parameters():
    card = catalog.find("ridge", kind="regressor")
    assert catalog.make(card, alpha=2).alpha == 2
    for wrong in (-1, "much", None, True):
        with pytest.raises(ParameterError, match="alpha"):
            catalog.make(card, alpha=wrong)


def test_an_absent_package_names_the_line_that_installs_it(monkeypatch):
    card = catalog.find("xgboost", kind="regressor")
    monkeypatch.setattr(catalog, "installed", lambda package: False)
    with pytest.raises(NotInstalledError, match="pip install --no-deps xgboost"):
        catalog.make(card)


def test_the_pip_line_of_each_package_brings_it() -> None:
    import tomllib
    from pathlib import Path

    from everymodel.core.optional import EXTRA_OF, pip_line

    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for package in [*EXTRA_OF, *(card.package for card in catalog.cards() if card.package)]:
        line = pip_line(package)
        if "everymodel[" in line:
            extra = line.partition("[")[2].partition("]")[0]
            assert any(entry.startswith(package) for entry in extras[extra]), line
        else:
            assert package in line
