"""What can be read off a packed model itself: the weights of its linear members, and the tree where it is one tree."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.schema import Schema

DRAWN_DEPTH = 3
_LINEAR = ("linear", "linear_log", "linear_scores", "linear_probabilities")
_SAME = ("power", "scale", "clip")  # steps that change values, not columns


def feature_names(model: Any) -> dict[str, list[str] | None]:
    """For each node of the pack, the names of the columns of its matrix; None where they have no plain names."""
    known: dict[str, list[str] | None] = {"table": None}
    for node in model.pack.nodes:
        given = [known.get(name) for name in node.inputs]
        known[node.name] = _names(node.step, given, model.schema)
    return known


def _names(step: Any, given: list[list[str] | None], schema: Schema) -> list[str] | None:
    first = given[0] if given else None
    if step.word in ("numbers", "sparse_numbers"):
        return list(step.columns)
    if step.word in ("dates", "text_stats"):
        return [f"{column}: {part}" for column, part in zip(step.columns, step.parts)]
    if step.word == "lookup":
        return [f"{column} (encoded)" for column in step.columns]
    if step.word == "onehot":
        return _onehot(step, schema)
    if step.word == "text_terms":
        letters = [f"{step.column}: letters {i}" for i in range(len(step.keys))]
        return [*(f"{step.column}: {word}" for word in step.words), *letters]
    if step.word == "impute":
        return None if first is None else [*first, *(f"{first[int(i)]} is missing" for i in step.indicators)]
    if step.word in _SAME:
        return first
    if step.word == "columns":
        places = next((v for v in vars(step).values() if isinstance(v, np.ndarray)), None)
        return None if first is None or places is None else [first[int(i)] for i in places]
    if step.word == "join":
        return None if any(g is None for g in given) else [name for g in given if g is not None for name in g]
    return None


def _onehot(step: Any, schema: Schema) -> list[str] | None:
    names = [""] * int(step.width)
    for j, column in enumerate(step.columns):
        levels = schema.column(column).levels
        start = int(step.offsets[j])
        for code, label in enumerate(["(unseen)", "(missing)", *levels]):
            place = start + code
            if place < len(step.places) and 0 <= int(step.places[place]) < len(names):
                at = int(step.places[place])
                names[at] = f"{column} is {label}" if not names[at] else f"{column} is rare"
    return names


def coefficients(model: Any) -> list[dict[str, Any]]:
    """Weights of the linear members by feature; fold copies of one member are averaged.

    Returns
    -------
    list of {title, note, rows: [{name, value, spread}]}: one entry, or one per class. Empty where no member is linear
    or its features have no names.
    """
    names = feature_names(model)
    groups: dict[tuple[str, tuple[int, ...]], list[dict[str, np.ndarray]]] = {}
    for node in model.pack.nodes:
        coef = getattr(node.step, "coef", None)
        if node.step.word in _LINEAR and isinstance(coef, np.ndarray):
            own = names.get(node.inputs[0])
            if own is not None and len(own) == coef.shape[0]:
                groups.setdefault((node.step.word, coef.shape[1:]), []).append(dict(zip(own, coef)))
    made: list[dict[str, Any]] = []
    for (_, shape), fits in groups.items():
        # Folds may know different rare levels: each feature is averaged over the fits that have it.
        features = list(dict.fromkeys(name for fit in fits for name in fit))
        columns = [((), "")] if not shape else [((j,), _class(model, j)) for j in range(min(shape[0], 4))]
        for place, label in columns:
            rows = []
            for name in features:
                values = np.array(
                    [fit[name][place] if place else fit[name] for fit in fits if name in fit], dtype=float
                )
                rows.append({"name": name, "value": float(values.mean()), "spread": float(values.std())})
            made.append(
                {
                    "title": "Weights of the linear part" + (f" for {label}" if label else ""),
                    "note": "On prepared columns (filled, straightened, scaled), so that their sizes can be compared; "
                    "right raises the answer." + (f" Mean of {len(fits)} fits." if len(fits) > 1 else ""),
                    "rows": rows,
                }
            )
    for group in made:
        group["rows"] = sorted(group["rows"], key=lambda r: -abs(r["value"]))[:200]
    return made[:8]


def _class(model: Any, j: int) -> str:
    targets = [c.name for c in model.schema.columns if c.role == "target"]
    names = list(model.classes) or (targets if len(targets) > 1 else [])
    return f'"{names[j]}"' if j < len(names) else f"output {j + 1}"


def single_tree(model: Any) -> dict[str, Any]:
    """The model's own tree, in the form `plots.tree` draws, where the model is one tree; else empty.

    Deeper parts than three questions are cut, and said.
    """
    steps = [node for node in model.pack.nodes if node.step.word == "trees"]
    plain = ("trees", "blend", "clip", "place")
    strange = any(node.step.output != "matrix" and node.step.word not in plain for node in model.pack.nodes)
    if len(steps) != 1 or strange or len(steps[0].step.sizes) != 1:
        return {}
    step = steps[0].step
    names = feature_names(model).get(steps[0].inputs[0])
    if names is None or step.category is not None or len(names) != step.n_features:
        return {}
    nodes: list[dict[str, Any]] = []
    splits = np.cumsum(step.feature >= 0) - 1  # number of the split at each node
    leaves = np.cumsum(step.feature < 0) - 1
    cut = False

    def walk(i: int, depth: int) -> int:
        nonlocal cut
        node: dict[str, Any] = {"id": len(nodes), "rows": 0, "share": 0.0}
        nodes.append(node)
        if step.feature[i] < 0 or depth == DRAWN_DEPTH:
            if step.feature[i] < 0:
                node.update(_leaf(model, step, int(leaves[i])))
            else:
                cut = True
                node["answer"] = "(more questions)"
            return node["id"]
        s = int(splits[i])
        sign = "≤" if step.comparison == "<=" else "<"
        node["question"] = f"{names[int(step.feature[i])]} {sign} {step.threshold[s]:,.4g}"
        node["yes"] = walk(i + 1, depth + 1)
        node["no"] = walk(i + int(step.right[s]), depth + 1)
        return node["id"]

    walk(0, 0)
    return {"nodes": nodes, "exact": True, "cut": cut, "title": "The model is this tree", "depth": DRAWN_DEPTH}


def _leaf(model: Any, step: Any, leaf: int) -> dict[str, Any]:
    value = step.value[leaf]
    if model.task == "regression":
        start = 0.0 if step.base is None else float(step.base[0])
        return {"answer": (start + float(value.ravel()[0])) / (step.divide or 1.0)}
    shares = value.ravel()
    if len(shares) == len(model.classes) and shares.sum() > 0:
        best = int(np.argmax(shares))
        return {"answer": str(model.classes[best]), "sure": float(shares[best] / shares.sum())}
    return {"answer": f"{shares[0]:.4g}"}
