"""A small tree that imitates a model, to be read by people; how well it imitates is part of the answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.seeds import derive
from everymodel.scoring.metrics import labels
from everymodel.scoring.steps.base import Batch

DEPTH = 3
LEVELS = 8  # of a category that may be asked for


def surrogate(model: Any, batch: Batch, *, seed: int = 0) -> dict[str, Any]:
    """A tree of depth 3 over the raw columns, fitted on half of the rows to the model's answers, judged on the rest.

    Returns
    -------
    dict with `nodes` (list of {id, rows, share, and either question, yes, no or answer}), `fidelity` (share of rows
    where the tree and the model say the same class; R² for numbers), `measure`, `rows`. Empty when there are too few
    rows or nothing to ask.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    answers = np.asarray(model.answers(batch), dtype=np.float64)
    names, questions, matrix = _questions(model, batch)
    if batch.n < 40 or not names or (model.task != "regression" and model.task not in ("binary", "multiclass")):
        return {}
    numbers = model.task == "regression"
    if numbers:
        if answers.ndim == 2 and answers.shape[1] > 1:
            return {}  # one tree for several targets would be no sketch of any
        target = answers.reshape(len(answers))
    elif model.task == "binary":
        positive = answers[:, -1] if answers.ndim == 2 else answers
        target = labels("binary", positive, model.manifest.get("threshold") or 0.5)
    else:
        target = answers.argmax(axis=1)
    if len(np.unique(target)) < 2:
        return {}
    order = np.random.default_rng(derive(seed, "surrogate")).permutation(batch.n)
    fit, test = order[: batch.n // 2], order[batch.n // 2 :]
    if len(np.unique(target[fit])) < 2:
        return {}
    kind = DecisionTreeRegressor if numbers else DecisionTreeClassifier
    tree = kind(max_depth=DEPTH, min_samples_leaf=max(5, len(fit) // 100), random_state=0).fit(matrix[fit], target[fit])
    said = tree.predict(matrix[test])
    if numbers:
        spread = float(((target[test] - target[test].mean()) ** 2).sum())
        fidelity = 1 - float(((target[test] - said) ** 2).sum()) / spread if spread > 0 else 1.0
    else:
        fidelity = float((said == target[test]).mean())
        # A tree that agrees no more often than always saying the same would only mislead.
        constant = float((target[test] == np.bincount(target[fit]).argmax()).mean())
        if fidelity < constant + 0.2 * (1 - constant):
            return {}
    return {
        "nodes": _nodes(tree, questions, model, numbers),
        "fidelity": fidelity,
        "measure": "R²" if numbers else "agreement",
        "rows": batch.n,
        "depth": DEPTH,
    }


def _questions(model: Any, batch: Batch) -> tuple[list[str], list[tuple[str, Any]], np.ndarray]:
    """Columns a tree can ask about: numbers as they are, categories one question per frequent level."""
    names, questions, columns = [], [], []
    for column in model.schema.features[:500]:
        values = batch.columns[column.name]
        if column.kind in ("number", "date", "boolean"):
            known = values[np.isfinite(values)]
            if len(known) == 0:
                continue
            names.append(column.name)
            questions.append((column.kind, column))
            columns.append(np.where(np.isfinite(values), values, np.median(known)))
        elif column.kind == "category":
            codes, counts = np.unique(values[values >= 0], return_counts=True)
            for code in codes[np.argsort(-counts, kind="stable")][:LEVELS]:
                names.append(column.name)
                questions.append(("level", (column, int(code))))
                columns.append((values == code).astype(np.float64))
    return names, questions, np.column_stack(columns) if columns else np.zeros((batch.n, 0))


def _nodes(tree: Any, questions: list[tuple[str, Any]], model: Any, numbers: bool) -> list[dict[str, Any]]:
    inner, made = tree.tree_, []
    for i in range(inner.node_count):
        node: dict[str, Any] = {
            "id": i,
            "rows": int(inner.n_node_samples[i]),
            "share": float(inner.n_node_samples[i] / inner.n_node_samples[0]),
        }
        if numbers:
            node["answer"] = float(inner.value[i].ravel()[0])
        else:
            shares = inner.value[i].ravel()
            code = int(tree.classes_[int(np.argmax(shares))])
            node["answer"] = str(model.classes[code]) if code < len(model.classes) else str(code)
            node["sure"] = float(shares.max() / shares.sum())
        left = int(inner.children_left[i])
        if left >= 0:
            text, flipped = _ask(questions[inner.feature[i]], float(inner.threshold[i]))
            right = int(inner.children_right[i])
            node["question"] = text
            node["yes"], node["no"] = (right, left) if flipped else (left, right)
        made.append(node)
    return _pruned(made)


def _pruned(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without questions whose two answers are the same class; ids stay, so links stay right."""
    by_id = {node["id"]: node for node in nodes}
    for node in reversed(nodes):  # children come after their parents
        if "question" not in node:
            continue
        yes, no = by_id[node["yes"]], by_id[node["no"]]
        if "question" not in yes and "question" not in no and yes["answer"] == no["answer"]:
            for key in ("question", "yes", "no"):
                del node[key]
            del by_id[yes["id"]], by_id[no["id"]]
    return list(by_id.values())


def _ask(question: tuple[str, Any], threshold: float) -> tuple[str, bool]:
    """(text, whether "yes" is the right branch)."""
    kind, what = question
    if kind == "level":
        column, code = what
        return f"{column.name} is {column.levels[code][:30]}", True
    if kind == "boolean":
        word = what.levels[1] if len(what.levels) == 2 else "yes"
        return f"{what.name} is {word}", True
    if kind == "date":
        from everymodel.workflow.evaluate.explanations import _date

        return f"{what.name} up to {_date(threshold)}", False
    shown = f"{np.floor(threshold):,.0f}" if what.integer else f"{threshold:,.4g}"
    return f"{what.name} ≤ {shown}", False
