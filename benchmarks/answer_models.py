"""Models for the answer benchmarks: the same estimator fitted by us (as a pack) and in scikit-learn's own pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from everymodel import catalog
from everymodel.scoring import table
from everymodel.scoring.graph import Pack
from everymodel.scoring.model import Model
from everymodel.workflow.train import Job, fit_member
from everymodel.workflow.types import Problem
from everymodel.workflow.understand import understand

NUMBERS = [f"number_{i}" for i in range(9)]
LEVELS = [f"level_{i}" for i in range(3)]


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """12 feature columns (9 numbers with 5 % gaps, 3 categories) and a binary target."""
    rng = np.random.default_rng(seed)
    data: dict[str, Any] = {name: rng.normal(size=rows).round(4) for name in NUMBERS}
    for i, name in enumerate(LEVELS):
        data[name] = np.array([f"v{k}" for k in range(4 + 4 * i)])[rng.integers(4 + 4 * i, size=rows)]
    made = pd.DataFrame(data)
    z = made[NUMBERS[0]] * made[NUMBERS[1]] + np.sin(2 * made[NUMBERS[2]]) + (made[LEVELS[0]] == "v1")
    made["y"] = np.where(z + rng.normal(size=rows) > 0.4, "yes", "no")
    for name in NUMBERS:
        made.loc[rng.random(rows) < 0.05, name] = np.nan
    return made


def ours(train: pd.DataFrame, card: str, parameters: dict[str, Any]) -> Model:
    """Our pack of the model on the table."""
    schema = understand(train, "y").schema
    batch, _ = table.parse(schema, train, unseen="ignore", bad="missing")
    y = table.parse_target(schema, train["y"])
    rows = np.arange(len(train))
    problem = Problem(schema, schema.task or "binary", batch, y, [], "roc_auc")
    job = Job(card, "classifier", parameters, rows, rows[:0], seed=0)
    return Model(schema, fit_pack(problem, job))


def fit_pack(problem: Problem, job: Job) -> Pack:
    return fit_member(problem, job).pack()


def theirs(train: pd.DataFrame, card: str, parameters: dict[str, Any]) -> Any:
    """scikit-learn's pipeline with the same estimator."""
    found = catalog.find(card, kind="classifier")
    model = clone(catalog.load(found)(**{**found.fixed, **parameters}))
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            ("levels", OneHotEncoder(handle_unknown="ignore", sparse_output=False), LEVELS),
        ]
    ).set_output(transform="default")
    return make_pipeline(columns, model).fit(train.drop(columns="y"), train["y"])


def median(action: Callable[[], Any], times: int) -> float:
    """Median seconds of an action after one warm-up."""
    action()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        took.append(time.perf_counter() - start)
    return float(np.median(took))


MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("logistic regression", "logistic", {}),
    ("LightGBM, 100 trees", "lightgbm", {"n_estimators": 100, "num_leaves": 31}),
    ("LightGBM, 127 leaves", "lightgbm", {"n_estimators": 100, "num_leaves": 127}),
    ("histogram boosting, 100", "gradient_boosting", {"max_iter": 100}),
    ("CatBoost, 500 trees", "catboost", {"iterations": 500, "depth": 6}),
    ("random forest, 100 trees", "random_forest", {"n_estimators": 100, "min_samples_leaf": 3}),
]
