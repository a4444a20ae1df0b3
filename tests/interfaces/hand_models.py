"""Small models built by hand, so that the interfaces are tested without a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymodel.core.schema import Column, Schema
from everymodel.scoring import Model
from everymodel.scoring.agent import Agent
from everymodel.scoring.games import build
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.layers.convolution import Flatten
from everymodel.scoring.layers.feed import Dense, Sequential
from everymodel.scoring.steps.linear import Linear, LinearProbabilities
from everymodel.scoring.steps.prepare import Impute, Join, Lookup, Numbers
from everymodel.scoring.steps.searching import SearchPolicy

COLUMNS = (
    Column("rooms", "number", low=1, high=9, integer=True, missing=0.1),
    Column("area", "number", low=20.5, high=310.25, thousands=","),
    Column("city", "category", levels=("Bonn", "Köln", "Aachen")),
    Column("garden", "boolean", levels=("no", "yes")),
    Column("built", "date", low=0.0, high=1.5e9, date_format="%d.%m.%Y"),
)
ROW = {"rooms": 3, "area": 80.5, "city": "Bonn", "garden": "yes", "built": "01.03.1990"}


def prepared() -> list[Node]:
    """(n, 5): rooms, area, garden, built, city."""
    return [
        Node("numbers", Numbers(("rooms", "area", "garden", "built"))),
        Node("cities", Lookup(("city",), np.array([0]), np.array([0.0, 0.0, 100.0, 200.0, 300.0]))),
        Node("all", Join(), ("numbers", "cities")),
        Node("full", Impute(np.array([4.0, 100.0, 0.0, 0.0, 0.0]), np.array([], dtype=np.int64)), ("all",)),
    ]


def schema(task: str, *targets: str, classes: tuple = (), unseen: str = "warn") -> Schema:
    kind = "number" if task == "regression" else "category"
    more = tuple(Column(name, kind, role="target") for name in targets)
    return Schema((*COLUMNS, *more), task=task, classes=classes, unseen=unseen)


def price_model(unseen: str = "warn") -> Model:
    """1000 rooms + 10 area + 500 garden + city."""
    nodes = [*prepared(), Node("value", Linear(np.array([1000.0, 10.0, 500.0, 0.0, 1.0]), np.array(0.0)), ("full",))]
    manifest = {
        "name": "price",
        "title": "Price of a house",
        "metric": "rmse",
        "headline": "Off by about 20,000, better than guessing.",
        "metrics": [{"name": "rmse", "value": 20000.0, "low": 18000.0, "high": 22000.0, "source": "test"}],
        "intervals": {"levels": [0.5, 0.9], "half_widths": [100.0, 400.0]},
        "members": [{"model": "ridge", "weight": 1.0}],
        "provenance": {"rows": 1000, "seed": 0},
    }
    return Model(schema("regression", "price", unseen=unseen), Pack(nodes), manifest)


def churn_model(classes: tuple = ("no", "yes")) -> Model:
    """Binary: probability of the second class rises with rooms."""
    coef = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    nodes = [*prepared(), Node("p", LinearProbabilities(coef, np.array(-3.5), link="sigmoid"), ("full",))]
    return Model(schema("binary", "churn", classes=classes), Pack(nodes), {"name": "churn", "metric": "roc_auc"})


def labels_model() -> Model:
    """Multilabel: two labels, each by itself."""
    coef = np.zeros((5, 2))
    coef[0] = (1.0, -1.0)
    nodes = [*prepared(), Node("p", LinearProbabilities(coef, np.array([-3.5, 3.5]), link="each"), ("full",))]
    return Model(schema("multilabel", "a", "b", classes=("a", "b")), Pack(nodes), {"name": "labels"})


def two_values_model() -> Model:
    """Regression with two targets."""
    coef = np.zeros((5, 2))
    coef[0] = (1.0, -1.0)
    nodes = [*prepared(), Node("v", Linear(coef, np.array([0.5, 2.0])), ("full",))]
    return Model(schema("regression", "height", "weight"), Pack(nodes), {"name": "height"})


def board_file(path: Path, game: str = "tic_tac_toe", **options: int) -> Path:
    """A player of a game whose network knows nothing: it plays by looking ahead alone."""
    rules = build(game, **options)
    size = rules.board[0] * rules.board[1] * rules.planes
    last = Dense(np.zeros((size, rules.actions + 1), np.float32), np.zeros(rules.actions + 1, np.float32))
    layers = Sequential([Flatten(), last])
    step = SearchPolicy(layers, game, dict(rules.settings), 48)
    schema = Schema((Column("seed", "number", low=0.0, high=1e9, integer=True),), "act")
    manifest = {"name": game, "title": game, "task": "act", "classes": [], "members": [], "environment": game,
                "provenance": {"rows": None, "versions": {}, "parent": None}}  # fmt: skip
    Agent(schema, Pack([Node("m", step, (TABLE,))]), manifest).save(path)
    return path
