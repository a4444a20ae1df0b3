"""What is tried on the nodes of a graph: labels that flow, classic models of features, graph networks."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.errors import ParameterError
from everymodel.core.graph import Graph, dense, spread
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.graph_nodes import NodeAnswers

FLOW, ROUNDS = 0.9, 50  # of labels over edges: what is kept of the neighbours', and how often
MOST_CELLS = 60_000_000  # of a matrix for classic models
_NETWORKS = {
    "graph_convolution": ({}, {"dropout": 0.2, "weight_decay": 5e-5}),
    "graph_sage": ({},),
    "graph_attention": ({},),
}
# The quick ones first, and graph networks before what is slow on wide tables.
_ORDER = (
    *("dummy", "label_propagation", "graph_convolution", "ridge", "logistic", "graph_sage", "graph_attention"),
    "lightgbm",
)
_ATTENTION_EDGES = 200_000  # beyond which attention is tried only when it is asked for


@dataclass
class Candidate:
    """One model of the nodes. `fit(rows, y, seed, stop)` gives answers for all n nodes and a step that knows them."""

    name: str
    card: str
    fit: Callable[[np.ndarray, np.ndarray, int, Any], tuple[np.ndarray, Step]]
    parameters: dict[str, Any] = field(default_factory=dict)
    folds: dict[int, np.ndarray] = field(default_factory=dict)  # answers (n, ...) by fold
    seconds: float = 0.0
    failed: str = ""


def candidates(graph: Graph, task: str, classes: int, models: list[str] | None) -> list[Candidate]:
    """Candidates, the quick ones first.

    Raises
    ------
    ParameterError
        for a model that is not tried on graphs.
    """
    kind = "regressor" if task == "regression" else "classifier"
    k = 0 if task == "regression" else max(classes, 2)
    made = [Candidate("Guessing", "dummy", lambda *a: _guess(graph, k, *a))]
    made.append(Candidate("Labels that flow over edges", "label_propagation", lambda *a: _flow(graph, k, *a)))
    tables: list[tuple[str, Any]] = []
    if graph.features is not None:
        tables.append(("features", dense(graph.features)))
    if np.prod((len(graph), 3 * (1 if graph.features is None else graph.features.shape[1]) + 1)) <= MOST_CELLS:
        tables.append(("features and neighbours", _heard(graph)))
    for word in ("logistic" if k else "ridge", *_NETWORKS, "lightgbm"):
        card = catalog.find(word, kind=kind)
        if not catalog.available(card):
            continue
        if word not in _NETWORKS:
            for title, matrix in tables:
                name = f"{card.title} of {title if graph.features is not None else 'numbers of edges'}"
                made.append(Candidate(name, word, _classic(card, matrix, k)))
        elif word != "graph_attention" or graph.edges <= _ATTENTION_EDGES or models:
            for i, parameters in enumerate(_NETWORKS[word]):
                name = card.title if i == 0 else f"{card.title} ({i + 1})"
                made.append(Candidate(name, word, _network(card, parameters, graph, k), dict(parameters)))
    made.sort(key=lambda c: _ORDER.index(c.card))
    if not models:
        return made
    known = {c.card for c in made}
    wanted = {name if name in known else catalog.find(name, kind=kind).name for name in models}
    if wanted - known:
        raise ParameterError(
            f"{sorted(wanted - known)[0]!r} is not tried on graphs (or not installed): expected some of "
            f"{', '.join(sorted(known))}."
        )
    return [c for c in made if c.card in {*wanted, "dummy"}]


def load(candidate: Candidate, task: str) -> None:
    """Import what the candidate needs, so that its first fit is not charged for it."""
    catalog.load(catalog.find(candidate.card, kind="regressor" if task == "regression" else "classifier"))


def run(candidate: Candidate, key: int, rows: np.ndarray, y: np.ndarray, seed: int, stop: Any) -> Step | None:
    """Fit on these nodes; the answers are kept under `key`. None where it failed, with the reason in `failed`."""
    began = time.perf_counter()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answers, step = candidate.fit(rows, y, seeds.derive(seed, candidate.name, key), stop)
        if not np.isfinite(answers).all():
            raise ValueError("answers are not finite numbers")
    except Exception as error:  # one candidate that cannot do it must not end the run
        candidate.failed = f"{type(error).__name__}: {error}"[:300]
        return None
    candidate.seconds += time.perf_counter() - began
    candidate.folds[key] = answers
    return step


def _answers(table: np.ndarray, k: int) -> tuple[np.ndarray, Step]:
    """Answers of all nodes as a step that looks them up; a node that is not there gets the mean of all."""
    rows = np.concatenate([table, table.mean(axis=0, keepdims=True)])
    return table, NodeAnswers(rows, "probabilities" if k else "value")


def _prior(y: np.ndarray, k: int) -> np.ndarray:
    return np.bincount(y.astype(int), minlength=k) / len(y) if k else np.array(y.mean())


def _guess(graph: Graph, k: int, rows: np.ndarray, y: np.ndarray, seed: int, stop: Any) -> tuple[np.ndarray, Step]:
    return _answers(np.repeat(_prior(y, k)[None], len(graph), axis=0), k)


def _flow(graph: Graph, k: int, rows: np.ndarray, y: np.ndarray, seed: int, stop: Any) -> tuple[np.ndarray, Step]:
    """Labels spread over edges and return to where they come from (Zhou et al. 2004); what reaches a node is weighed
    against the shares of all labels, which alone answer where nothing arrives."""
    n, prior = len(graph), _prior(y, k)
    start = np.zeros((n, k or 2))
    if k:
        start[rows, y.astype(int)] = 1.0
    else:
        start[rows, 0], start[rows, 1] = y - prior, 1.0  # sums and weights of the mean
    matrix, flow = spread(graph.adjacency, "symmetric"), start
    for _ in range(ROUNDS):
        flow = FLOW * matrix.dot(flow) + (1 - FLOW) * start
        if stop is not None and stop():
            break
    if not k:
        weight = flow[:, 1] + 1e-4
        return _answers(prior + flow[:, 0] / weight, 0)
    flow = flow + 1e-4 * prior
    return _answers(flow / flow.sum(axis=1, keepdims=True), k)


def _heard(graph: Graph) -> np.ndarray:
    """Features, their means over one and two edges, and how many edges a node has (its logarithm)."""
    degree = np.log1p(graph.degrees())[:, None]
    degree = (degree - degree.mean()) / max(float(degree.std()), 1e-9)
    if graph.features is None:
        matrix = spread(graph.adjacency, "mean")
        return np.hstack([degree, matrix.dot(degree), matrix.dot(matrix.dot(degree))])
    own = dense(graph.features)
    matrix = spread(graph.adjacency, "symmetric")
    one = matrix.dot(own)
    return np.hstack([own, one, matrix.dot(one), degree])


def _classic(card: Any, matrix: np.ndarray, k: int) -> Callable[..., tuple[np.ndarray, Step]]:
    def fit(rows: np.ndarray, y: np.ndarray, seed: int, stop: Any) -> tuple[np.ndarray, Step]:
        from everymodel.workflow.train import make, source_answers

        X = matrix[rows]
        vary = np.flatnonzero(np.ptp(X, axis=0) > 1e-12)  # words that no labelled node has tell nothing
        X, whole = X[:, vary], matrix[:, vary]
        model = make(card, dict(card.presets[0]), seed, 1)
        module = catalog.module(card)
        goal = y.astype(np.int64) if k else y
        if hasattr(module, "fit"):
            model = module.fit(model, X, goal, valid=None, stop=stop or (lambda: False), threads=1, native=())
        else:
            model.fit(X, goal)
        return _answers(np.asarray(source_answers(model, whole, "probabilities" if k else "value", k), float), k)

    return fit


def _network(card: Any, parameters: dict[str, Any], graph: Graph, k: int) -> Callable[..., tuple[np.ndarray, Step]]:
    def fit(rows: np.ndarray, y: np.ndarray, seed: int, stop: Any) -> tuple[np.ndarray, Step]:
        model = catalog.make(card, **parameters).set_params(random_state=seed % 2**31, device="cpu")
        labels = np.full(len(graph), np.nan)
        labels[rows] = y
        mask = np.zeros(len(graph), bool)
        mask[rows] = True
        model.train(graph, labels, mask, None, stop, 1)
        step = catalog.module(card).pack(model, n_classes=k) if k else catalog.module(card).pack(model)
        return step(np.arange(len(graph))), step

    return fit
