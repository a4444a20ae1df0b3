"""What every task without a target starts from: rows as a matrix in which each column of the table weighs the same."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.card import Card
from everymodel.core.schema import Schema
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.train import make

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Matrix:
    """Prepared rows and the steps that prepare others alike."""

    X: Any  # (n, p) float64
    nodes: list[Node]
    names: list[str]  # (p,) of each column of X
    origins: list[str]  # (p,) the table's column behind it


@dataclass
class Material:
    """What the fitting process is sent, once.

    `balanced` is the matrix for models that measure distances: every number is centred and scaled, and all matrix
    columns that stem from one column of the table share a variance of 1 between them, so that a category with ten
    levels, or a date with six parts, counts as one column (cf. FAMD, Pages 2004).
    """

    schema: Schema
    batch: Batch
    seed: int = 0
    balanced: Matrix | None = None
    folds: list[Any] = field(default_factory=list)  # the fitting process asks; there are none

    @property
    def n(self) -> int:
        return self.batch.n

    def matrix(self, card: Card) -> Matrix:
        """Rows as the card wants them."""
        scaling = card.need("scaling")
        if scaling == "standard" and card.need("categories") == "onehot" and not card.need("missing"):
            if self.balanced is None:
                self.balanced = prepare(self.schema, self.batch, self.seed)
            return self.balanced
        words = {w: card.need(w) for w in ("missing", "categories", "non_negative")}
        return prepare(self.schema, self.batch, self.seed, scaling=scaling, balance=False, **words)


def prepare(
    schema: Schema, batch: Batch, seed: int, *, scaling: str = "standard", balance: bool = True, **words: Any
) -> Matrix:
    """The matrix of all rows; see `Material`."""
    from everymodel.preprocessing.preparation import Preparation
    from everymodel.scoring.steps.prepare import Scale

    learner = Preparation(schema, scaling=scaling, task=None, seed=seeds.derive(seed, "prepare"), **words)
    X = learner.fit_transform(batch)
    nodes, names, origins = learner.nodes("p"), list(learner.feature_names_), list(learner.origins_)
    if balance:
        center, spread = X.mean(axis=0), X.std(axis=0)
        weight = spread**2
        for j, name in enumerate(names):
            if name.endswith(":missing"):  # a mark that is seldom set must not take half of its column's weight
                share = float((X[:, j] > (X[:, j].min() + X[:, j].max()) / 2).mean())
                weight[j] = min(weight[j], 2.0 * share * (1.0 - share))
        total = dict.fromkeys(origins, 0.0)
        for origin, w in zip(origins, weight):
            total[origin] += float(w)
        factor = np.array(
            [
                np.sqrt(w / total[o]) / s if total[o] > 1e-12 and s > 1e-9 else 1.0
                for o, w, s in zip(origins, weight, spread)
            ]
        )
        step = Scale(center, factor)
        nodes.append(Node("balanced", step, (nodes[-1].name,)))
        X = step(X)
    return Matrix(np.ascontiguousarray(X), nodes, names, origins)


@dataclass
class Fit:
    """One fit of a clusterer, reducer or detector on all rows, or on `rows`; runs in the fitting process."""

    card: str
    kind: str
    parameters: dict[str, Any]
    seed: int = 0
    rows: np.ndarray | None = None  # (m,) row numbers to fit on
    threads: int = 1
    details: tuple[str, ...] = ()  # fitted attributes to bring back, such as "explained_variance_ratio_"
    fit: np.ndarray | None = None  # not used here; the crew looks at them
    valid: np.ndarray | None = None

    def run(self, material: Material, stop: Callable[[], bool] | None = None) -> Fitted:
        """Fit, pack, prove that the pack answers like the model, answer all rows."""
        started = time.perf_counter()
        card = catalog.find(self.card, kind=self.kind)
        module = catalog.module(card)
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            matrix = material.matrix(card)
            X = matrix.X if self.rows is None else matrix.X[self.rows]
            model = make(card, self.parameters, seeds.derive(self.seed, "model", card.name), self.threads)
            if hasattr(module, "fit"):
                model = module.fit(model, X, None, stop=stop, threads=self.threads)
            else:
                model.fit(X)
            ended = time.perf_counter()
            step = module.pack(model)
            nodes = [*matrix.nodes, Node("m", step, (matrix.nodes[-1].name,))]
            answers = in_slices(step, matrix.X)
        spec, arrays = Pack(nodes).spec()
        return Fitted(
            spec,
            arrays,
            answers,
            np.asarray(model.labels_) if hasattr(model, "labels_") else None,
            {name: getattr(model, name) for name in self.details if hasattr(model, name)},
            ended - started,
            sorted({str(w.message).partition("\n")[0][:160] for w in caught if issubclass(w.category, UserWarning)}),
        )


@dataclass
class Fitted:
    """What a fit gives: plain data."""

    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]
    answers: np.ndarray  # of all rows: memberships (n, k), coordinates (n, d) or scores (n,)
    labels: np.ndarray | None  # (rows fitted on,) of a clusterer
    details: dict[str, Any]
    seconds: float
    notes: list[str]

    def pack(self) -> Pack:
        return Pack.build(self.spec, self.arrays)


@dataclass
class Outcome:
    """What a task's `discover` gives back."""

    fitted: Fitted
    members: list[dict[str, Any]]  # model, card, parameters, weight: what answers
    leaderboard: list[dict[str, Any]]
    metrics: list[Any]  # workflow.types.Metric
    headline: str
    metric: str
    classes: tuple[Any, ...] = ()  # of what predict gives: group numbers, or normal and anomaly
    manifest: dict[str, Any] = field(default_factory=dict)  # joins the model's manifest: segments, threshold, ...
    structure: dict[str, Any] = field(default_factory=dict)  # joins the story: what the report draws
    findings: list[Any] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = "finished"
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # what Run shows in Python: segments, loadings, ...


def in_slices(step: Any, X: np.ndarray, size: int = 8192) -> np.ndarray:
    """A step's answers for many rows, a slice at a time."""
    if len(X) <= size:
        return step(X)
    return np.concatenate([step(X[i : i + size]) for i in range(0, len(X), size)])
