"""A fitted estimator as a Model, so that it is saved, loaded, served and explained like those that `em.fit` finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import DataError, PackError, ParameterError
from everymodel.core.graph import Graph, dense, joined
from everymodel.core.schema import Column, Schema
from everymodel.scoring import table
from everymodel.scoring.agent import Agent
from everymodel.scoring.cells import as_text
from everymodel.scoring.generator import Generator
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.images import common_shape
from everymodel.scoring.layers.graph import Fill
from everymodel.scoring.pixelwise import PixelwiseModel
from everymodel.scoring.sequences import common_shape as common_steps
from everymodel.scoring.sequences import steps
from everymodel.scoring.steps.base import Batch, Step
from everymodel.scoring.steps.cells import Cells
from everymodel.scoring.steps.graph_nodes import GraphNodes
from everymodel.scoring.steps.graph_sets import GraphSetNetwork
from everymodel.scoring.steps.prepare import Impute, Numbers
from everymodel.scoring.words import WordsModel
from everymodel.workflow.model import Model
from everymodel.workflow.pack import background, versions

_SIDE = 64  # pixels on a side of the images that check a model of images of any size
_CHECKED = 256  # rows on which the file's answers and the estimator's are compared


def wrap(estimator: Any, X: Any, *, target: str = "target", name: str | None = None) -> Model:
    """A fitted model of the catalogue as a Model with `predict`, `save` and all the rest.

    Parameters
    ----------
    estimator : fitted instance of a class in the catalogue (ours, or scikit-learn's where the catalogue lists those).
    X : what it was fitted on, or some rows like it: a frame or array of numbers (n, p); images (n, h, w[, c]) or their
        paths; sequences; texts; for taggers and translators sentences. Names and ranges are taken from it; no row is
        kept. Graph networks of nodes are written with the graph that they were fitted on, whatever X is; those of
        whole graphs without any: X is a list of Graphs.
    target : what the answer is called.
    name : what the model is called; by default its title.

    Raises
    ------
    ParameterError
        for an estimator that the catalogue does not know; DataError for rows that it does not take; PackError when the
        packed model answers differently, in which case nothing is given back.

    Examples
    --------
    >>> import everymodel as em
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = em.wrap(em.LogisticRegression().fit(X, y), X, target="species")
    >>> int(model.predict(X.iloc[0].to_dict()))
    0
    """
    card = _card(estimator)
    step = catalog.module(card).pack(estimator)
    if step.output in ("tags", "texts"):
        return _words(estimator, X, step, card, name)  # type: ignore[return-value]
    if step.output == "actions":
        return _agent(estimator, step, card, name)  # type: ignore[return-value]
    if step.output == "samples":
        return _generator(estimator, X, step, card, name)  # type: ignore[return-value]
    if step.output == "maps":
        return _pixelwise(estimator, X, step, card, name)  # type: ignore[return-value]
    if isinstance(step, GraphSetNetwork):
        return _graphs(estimator, X, step, card, name, target)
    if isinstance(step, GraphNodes):
        return _nodes(estimator, step, card, name, target)
    columns, nodes, native = _inputs(card, X)
    task, classes = _task(card, estimator, step)
    kind = "number" if task == "regression" else "category"
    goal = () if card.kind in ("clusterer", "reducer", "detector") else (Column(target, kind, "target"),)
    schema = Schema((*columns, *goal), task, classes)
    pack = Pack([*nodes, Node("m", step, (nodes[-1].name,))])
    batch, _ = table.parse(schema, X if native is None else native)
    few = batch.take(np.arange(min(batch.n, _CHECKED)))
    _same(estimator, X, step, pack(few), card, pack.tolerance)
    manifest = _manifest(estimator, step, card, name, task, classes, batch.n)
    manifest |= {
        "background": background(batch, schema, 0),
    }
    if task in ("reduce", "embed"):
        manifest["columns"] = [f"component {i + 1}" for i in range(pack(few.take(np.arange(1))).shape[1])]
    return Model(schema, pack, manifest)


def _words(estimator: Any, X: Any, step: Step, card: Card, name: str | None) -> WordsModel:
    """A tagger or translator: sentences are texts, or lists of words."""
    sentences = list(X)
    task = "tag" if step.output == "tags" else "translate"
    classes = tuple(sorted(set(step.tags))) if task == "tag" else ()  # type: ignore[attr-defined]
    manifest = _manifest(estimator, step, card, name, task, classes, len(sentences))
    pack = Pack([Node("x", Cells("text", "text")), Node("m", step, ("x",))])
    model = WordsModel(Schema((Column("text", "text"),), task, classes), pack, manifest)
    few = sentences[:16]
    if [list(told) for told in model.predict(few)] != [list(told) for told in estimator.predict(few)]:
        raise PackError(f"{card.title}: the packed model answers differently from the estimator, so it is not used.")
    return model


def _generator(estimator: Any, X: Any, step: Any, card: Card, name: str | None) -> Generator:
    """What makes data: its schema says what the data look like."""
    if step.makes == "rows":
        columns, nodes, _ = _inputs(card, X)
    else:
        columns, nodes = step.columns(), []
        if columns and columns[0].kind in ("image", "text"):
            nodes = [Node("x", Cells(columns[0].name, columns[0].kind))]
    schema = Schema(tuple(columns) or (Column("seed", "number", low=0.0, high=1e9, integer=True),), card.tasks[0])
    rows = len(X) if hasattr(X, "__len__") else None  # a path of a file, or nothing where a checkpoint stays as it is
    manifest = _manifest(estimator, step, card, name, card.tasks[0], (), rows)
    manifest |= {
        "makes": step.makes,
        "conditions": [c.item() if isinstance(c, np.generic) else c for c in step.classes],
    }
    return Generator(schema, Pack([*nodes, Node("m", step, (nodes[-1].name if nodes else TABLE,))]), manifest)


def _agent(estimator: Any, step: Any, card: Card, name: str | None) -> Agent:
    """What acts: its spaces stand in the step, and where it has learnt in the manifest."""
    schema = Schema((Column("seed", "number", low=0.0, high=1e9, integer=True),), card.tasks[0])
    manifest = _manifest(estimator, step, card, name, card.tasks[0], (), None)
    manifest["environment"] = str(getattr(estimator, "environment_", ""))
    return Agent(schema, Pack([Node("m", step, (TABLE,))]), manifest)


def _pixelwise(estimator: Any, X: Any, step: Any, card: Card, name: str | None) -> PixelwiseModel:
    """What answers places of images: masks, or boxes around things."""
    task, classes = card.tasks[0], tuple(np.asarray(estimator.classes_).tolist())
    if task == "segment" and not 0 <= min(classes) <= max(classes) < 65_536:
        raise PackError(f"Masks hold {min(classes)} to {max(classes)}; files of masks hold whole numbers below 65,536.")
    manifest = _manifest(estimator, step, card, name, task, classes, len(X))
    if task == "locate":
        manifest["threshold"] = float(estimator.threshold)
    # Images of any size are answered: the shape in the schema is that of the images by which files are checked.
    sides = [min(side, _SIDE) for side in step.sides or estimator.form_.shape[:2]]
    schema = Schema((Column("image", "image", shape=(*sides, step.channels)),), task, classes)
    model = PixelwiseModel(schema, Pack([Node("x", Cells("image", "image")), Node("m", step, ("x",))]), manifest)
    model.check()
    batch, _ = model.read(list(X)[:16])
    told = estimator.maps(list(batch.columns["image"]))
    for (maps, _), (expected, _) in zip(model.answers(batch), told, strict=True):
        if not np.allclose(maps, expected, rtol=1e-3, atol=1e-3 * (1 + float(np.abs(expected).max()))):
            raise PackError(f"{card.title}: the packed model answers differently from the estimator; it is not used.")
    return model


def _nodes(estimator: Any, step: GraphNodes, card: Card, name: str | None, target: str) -> Model:
    """A graph network of nodes: it answers their ids, and new nodes by their features (feature_1, ...) and edges."""
    graph = estimator.graph_
    ids = tuple(as_text(graph.ids).tolist())
    if len(set(ids)) < len(ids) or "" in ids:
        raise DataError("Ids of nodes are empty, or alike when they are written as text. Name the nodes otherwise.")
    task, classes = _task(card, estimator, step)
    kind = "number" if task == "regression" else "category"
    schema = Schema((Column("node", "category", levels=ids), Column(target, kind, "target")), task, classes, "error")
    if graph.features is not None and not graph.directed:
        matrix = dense(graph.features)
        columns, nodes, _ = _inputs(card, matrix)
        columns = tuple(replace(c, name=f"feature_{i + 1}") for i, c in enumerate(columns))
        first = Node("x", Numbers(tuple(c.name for c in columns)), (TABLE,))
        step = step.reading(Schema(columns), Pack([first, *nodes[1:]]))
    pack = Pack([Node("m", replace(step, column="node"), (TABLE,))])
    answers = pack(Batch({"node": np.arange(len(graph))}, len(graph)))
    expected = estimator.predict_proba() if step.output == "probabilities" else estimator.predict()
    if not np.allclose(answers, expected, rtol=1e-6, atol=1e-6):
        raise PackError(f"{card.title}: the packed model answers differently from the estimator, so it is not used.")
    manifest = _manifest(estimator, step, card, name, task, classes, len(graph))
    manifest |= {
        "graph": {"nodes": len(graph), "edges": graph.edges, "column": "node"},
    }
    return Model(schema, pack, manifest)


def _graphs(estimator: Any, X: Any, step: GraphSetNetwork, card: Card, name: str | None, target: str) -> Model:
    """A network of whole graphs: it answers lists of Graphs, and tables of nodes (graph, node, feature_1, ...)."""
    from everymodel.workflow.graphs.model import GraphsModel

    graphs = list(X) if isinstance(X, list | tuple) else []
    if not graphs or not all(isinstance(g, Graph) for g in graphs):
        raise DataError("A network of whole graphs is wrapped with graphs like those it learnt from: a list of Graphs.")
    _, matrix, sizes = joined(graphs)
    if matrix is None or matrix.shape[1] != estimator.n_features_in_:
        raise DataError(f"The nodes of these graphs do not have the {estimator.n_features_in_} features learnt from.")
    columns, nodes, _ = _inputs(card, matrix)
    columns = tuple(replace(c, name=f"feature_{i + 1}") for i, c in enumerate(columns))
    filled = isinstance(step.layers.parts()[0], Fill)  # then the network fills gaps itself, with what it learnt
    nodes = [Node("x", Numbers(tuple(c.name for c in columns)), (TABLE,)), *([] if filled else nodes[1:])]
    task, classes = _task(card, estimator, step)
    goal = Column(target, "number" if task == "regression" else "category", "target")
    manifest = _manifest(estimator, step, card, name, task, classes, len(graphs))
    manifest["graphs"] = {"graph": "graph", "node": "node", "ends": [], "directed": graphs[0].directed}
    manifest["graphs"] |= {"nodes": int(sizes.sum()), "edges": sum(g.edges for g in graphs)}
    pack = Pack([*nodes, Node("m", step, (TABLE, nodes[-1].name))])
    model = GraphsModel(Schema((*columns, goal), task, classes), pack, manifest)
    few = graphs[:_CHECKED]
    answers = model.answers(model.read(few)[0])
    expected = estimator.predict_proba(few) if step.output == "probabilities" else estimator.predict(few)
    if not np.allclose(answers, expected, rtol=1e-6, atol=1e-6):
        raise PackError(f"{card.title}: the packed model answers differently from the estimator, so it is not used.")
    return model


def _card(estimator: Any) -> Card:
    for card in catalog.cards():
        if (
            card.class_name == type(estimator).__name__
            and catalog.available(card)
            and catalog.load(card) is type(estimator)
        ):
            return card
    raise ParameterError(
        f"A {type(estimator).__name__} is not in the catalogue (everymodel models lists it), so it cannot be written "
        "into a model file."
    )


def _manifest(
    estimator: Any, step: Step, card: Card, name: str | None, task: str, classes: tuple[Any, ...], rows: int | None
) -> dict[str, Any]:
    """What is known of any wrapped model."""
    return {
        "name": name or card.name,
        "title": name or card.title,
        "task": task,
        "classes": list(classes),
        "members": _members(card, estimator),
        "contains_training_rows": step.holds_rows,
        "provenance": {"rows": rows, "versions": versions(), "parent": None},
    }


def _members(card: Card, estimator: Any) -> list[dict[str, Any]]:
    given = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    plain = (int, float, str, bool, type(None))
    told = {p.name: given[p.name] for p in card.parameters if isinstance(given.get(p.name), plain)}
    return [{"model": card.title, "card": card.name, "weight": 1.0, "parameters": told}]


def _inputs(card: Card, X: Any) -> tuple[tuple[Column, ...], list[Node], Any]:
    """(columns of the schema, nodes that give the estimator's input, rows that the schema reads, None for X itself)."""
    inputs = _given(card, X)
    if inputs == "image":
        cells = list(X)
        shape, _ = common_shape(cells[:200], keep=16_384)
        return (Column("image", "image", shape=shape),), [Node("x", Cells("image", "image"))], {"image": cells}
    if inputs == "sequence":
        cells = [steps(cell) for cell in X]
        shape, low, high = common_steps(cells)
        column = Column("sequence", "sequence", shape=shape, low=low, high=high)
        return (column,), [Node("x", Cells("sequence", "sequence"))], {"sequence": cells}
    if inputs == "text":
        cells = X.iloc[:, 0].tolist() if hasattr(X, "columns") else list(X)
        texts = ["" if t is None or t != t else str(t) for t in cells]
        return (Column("text", "text"),), [Node("x", Cells("text", "text"))], {"text": texts}
    names = [str(c) for c in X.columns] if hasattr(X, "columns") else None
    try:
        matrix = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            "The rows hold cells that are no numbers. em.fit prepares such tables; an estimator alone takes numbers."
        ) from error
    if matrix.ndim != 2 or not len(matrix):
        raise DataError(f"Rows of shape {matrix.shape} came; expected (rows, columns), with one row or more.")
    names = names or [f"column_{i + 1}" for i in range(matrix.shape[1])]
    with np.errstate(all="ignore"):
        low, high = (f(np.where(np.isfinite(matrix), matrix, np.nan), axis=0) for f in (np.nanmin, np.nanmax))
        whole = (np.isfinite(matrix) & (matrix == np.floor(matrix))).all(axis=0)
    columns = tuple(
        Column(n, "number", low=float(a), high=float(b), integer=bool(w)) for n, a, b, w in zip(names, low, high, whole)
    )
    nodes = [Node("x", Numbers(tuple(names)), (TABLE,))]
    if not card.need("missing"):
        nodes.append(Node("filled", Impute(np.nanmedian(matrix, axis=0), np.zeros(0, dtype=np.int64)), ("x",)))
    return columns, nodes, dict(zip(names, matrix.T))


def _given(card: Card, X: Any) -> str:
    """Which of the inputs that the model takes these rows are."""
    if len(card.inputs) == 1:
        return card.inputs[0]
    if getattr(X, "ndim", 1) == 2 and "matrix" in card.inputs:
        return "matrix"
    first = X.iloc[0] if hasattr(X, "iloc") else X[0]
    return "text" if isinstance(first, str) and "text" in card.inputs else "sequence"


def _task(card: Card, estimator: Any, step: Step) -> tuple[str, tuple[Any, ...]]:
    classes = getattr(estimator, "classes_", None)
    if card.kind == "classifier":
        several = "multilabel" in card.tasks and getattr(getattr(estimator, "coding_", None), "several", False)
        several = several or bool(getattr(estimator, "multilabel_", False)) or isinstance(classes, list)
        if several:
            return "multilabel", tuple(range(len(classes)))  # type: ignore[arg-type]
        labels = tuple(np.asarray(classes).tolist())
        return ("binary" if len(labels) == 2 else "multiclass"), labels
    if card.kind == "clusterer":
        labels = np.asarray(estimator.labels_)
        return "cluster", (*range(int(labels.max()) + 1), *((-1,) if (labels < 0).any() else ()))
    if card.kind == "detector":
        return "anomaly", ("normal", "anomaly")
    if card.kind == "regressor":
        return "regression", ()
    task = next((t for t in ("reduce", "embed") if t in card.tasks), None)
    if task is None:
        raise ParameterError(f"A {card.kind} ({card.title}) cannot be wrapped: it has a way of its own to be saved.")
    return task, ()


def _same(estimator: Any, X: Any, step: Step, packed: np.ndarray, card: Card, tolerance: float) -> None:
    """Raise PackError unless the packed steps answer the first rows as the estimator does."""
    few = X.iloc[: len(packed)] if hasattr(X, "iloc") else X[: len(packed)]
    if card.kind == "reducer":
        expected = estimator.transform(few)
    elif card.kind == "detector":
        expected = -estimator.score_samples(few)
    elif card.kind == "clusterer":
        return  # rows of the fit may lie on a border; the contract suite compares these
    elif step.output == "probabilities":
        expected = estimator.predict_proba(few)
    else:
        expected = estimator.predict(few) if step.output == "value" else estimator.decision_function(few)
    expected = np.asarray(expected, dtype=np.float64)
    if expected.shape != packed.shape:
        raise PackError(f"{card.title}: the packed model answers {packed.shape}, the estimator {expected.shape}.")
    gap = float(np.max(np.abs(packed - expected) / (1 + np.abs(expected)), initial=0.0))
    if not gap <= max(1e-6, tolerance):
        raise PackError(f"{card.title}: the packed model differs from the estimator by {gap:.3g}, so it is not used.")
