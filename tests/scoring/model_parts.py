"""Small models made by hand for the tests of files and answers."""

from __future__ import annotations

import numpy as np

from everymodel.core.schema import Column, Schema
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.model import Model
from everymodel.scoring.steps.base import Batch, Step, need, step
from everymodel.scoring.steps.combine import Blend, Calibrate
from everymodel.scoring.steps.trees import Oblivious, Trees


@step("test_matrix")
class Matrix(Step):
    """Number columns and codes side by side; stands in for preparation."""

    columns: tuple[str, ...]

    def __call__(self, batch: Batch) -> np.ndarray:
        return np.column_stack([batch.columns[name].astype(np.float64) for name in self.columns])

    def check(self) -> None:
        need(all(isinstance(c, str) for c in self.columns), "column names are not text")


def tree(rng: np.random.Generator, leaves: int, w: int = 1) -> dict:
    left, right, feature, threshold = [-1], [-1], [-1], [0.0]
    ends = [0]
    while len(ends) < leaves:
        node = ends.pop(int(rng.integers(len(ends))))
        feature[node], threshold[node] = int(rng.integers(2)), float(rng.normal())
        left[node], right[node] = len(left), len(left) + 1
        for _ in range(2):
            ends.append(len(left))
            left.append(-1), right.append(-1), feature.append(-1), threshold.append(0.0)
    value = rng.normal(size=(len(left), w))
    return {"left": left, "right": right, "feature": feature, "threshold": threshold, "value": value}


FEATURES = (
    Column("size", "number", low=-2.0, high=2.0),
    Column("city", "category", levels=("Bonn", "Köln")),
    Column("built", "date", low=0.0, high=1e9, missing=0.1),
    Column("note", "text"),
)


def regression(seed: int = 0, trees: int = 5) -> Model:
    rng = np.random.default_rng(seed)
    schema = Schema((*FEATURES, Column("price", "number", "target")), task="regression")
    forest = Trees.of([tree(rng, 9) for _ in range(trees)], 2)
    cat = Oblivious(
        depths=np.array([2, 3]),
        feature=np.array([0, 1, 0, 1, 0]),
        border=rng.normal(size=5).astype(np.float32),
        value=rng.normal(size=(12, 1)),
        n_features=2,
        bias=np.array([0.5]),
    )
    nodes = [
        Node("matrix", Matrix(("size", "city"))),
        Node("forest", forest, ("matrix",)),
        Node("cat", cat, ("matrix",)),
        Node("answer", Blend(np.array([0.4, 0.6])), ("forest", "cat")),
    ]
    manifest = {"name": "price", "intervals": {"levels": [0.5, 0.9], "half_widths": [1.0, 2.0]}}
    return Model(schema, Pack(nodes), manifest)


def binary(classes: tuple = ("no", "yes"), threshold: float | None = None) -> Model:
    rng = np.random.default_rng(1)
    schema = Schema((*FEATURES, Column("y", "category", "target")), task="binary", classes=classes)
    nodes = [
        Node("matrix", Matrix(("size", "city"))),
        Node("forest", Trees.of([tree(rng, 9) for _ in range(5)], 2, gives="scores"), ("matrix",)),
        Node("answer", Calibrate(np.array([1.2]), np.array([-0.1])), ("forest",)),
    ]
    return Model(schema, Pack(nodes), {} if threshold is None else {"threshold": threshold})


def multiclass(classes: tuple = (1, 2, 3)) -> Model:
    rng = np.random.default_rng(2)
    schema = Schema((*FEATURES, Column("y", "number", "target")), task="multiclass", classes=classes)
    forest = Trees.of(
        [tree(rng, 9) for _ in range(6)],
        2,
        outputs=3,
        groups=[0, 1, 2, 0, 1, 2],
        link="softmax",
        gives="probabilities",
    )
    return Model(schema, Pack([Node("matrix", Matrix(("size", "city"))), Node("answer", forest, ("matrix",))]))


def multilabel() -> Model:
    rng = np.random.default_rng(3)
    tags = Column("tags", "text", "target")
    note = {"multilabel": {"column": "tags", "separator": "|"}}
    schema = Schema((*FEATURES, tags), task="multilabel", classes=("red", "round", "old"), note=note)
    forest = Trees.of([tree(rng, 9, w=3) for _ in range(4)], 2, outputs=3, link="sigmoid", gives="probabilities")
    return Model(schema, Pack([Node("matrix", Matrix(("size", "city"))), Node("answer", forest, ("matrix",))]))


def two_targets() -> Model:
    rng = np.random.default_rng(4)
    schema = Schema((*FEATURES, Column("u", "number", "target"), Column("v", "number", "target")), task="regression")
    forest = Trees.of([tree(rng, 9, w=2) for _ in range(4)], 2, outputs=2)
    return Model(schema, Pack([Node("matrix", Matrix(("size", "city"))), Node("answer", forest, ("matrix",))]))


def rows(n: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "size": float(rng.normal()) if rng.random() > 0.1 else None,
            "city": ["Bonn", "Köln", None][int(rng.integers(3))],
            "built": "2001-02-03",
            "note": "quiet",
        }
        for _ in range(n)
    ]
