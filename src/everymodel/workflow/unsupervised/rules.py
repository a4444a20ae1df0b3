"""Rules that recover which group a row is in: a few questions per group, and one small tree for all groups.

Rules are made from one part of the rows and measured on the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.seeds import derive
from everymodel.workflow.unsupervised import words
from everymodel.workflow.unsupervised.facets import Facet
from everymodel.workflow.unsupervised.material import Material

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier

DEPTH = 3
ENOUGH = 150  # rows from which on a third of them is kept for measuring
SHORTER = 0.02  # F1 that a question more must bring
LEVELS = 12  # of a category that may be asked for
LEAVES = 12
WIDEST = 300  # questions


@dataclass
class Question:
    """One column of the matrix that trees are grown on."""

    facet: Facet
    level: int = -1  # asked for, of a category
    missing: bool = False

    def said(self, cut: float, above: bool, value: str) -> str:
        name = words.spoken(self.facet.column)
        if self.missing:
            return f"{name} {'not given' if above else 'given'}"
        if self.facet.kind in ("number", "date"):
            return f"{name} {'above' if above else 'at most'} {value}"
        if self.facet.kind == "category":
            return f"{name} {'=' if above else '≠'} {words.short(self.facet.labels[self.level], 30)}"
        if self.facet.kind == "term":
            return f"{name} {'with' if above else 'without'} “{words.short(self.facet.term, 24)}”"
        return f"{name} {'yes' if above else 'no'}"


@dataclass
class Rules:
    """Per group text, precision, recall and F1; the shared tree as the report draws it."""

    of: list[dict[str, Any] | None]
    tree: dict[str, Any] | None = None
    agreement: float | None = None
    measured: str = ""
    text: list[str] = field(default_factory=list)


def rules(
    material: Material, found: list[Facet], labels: np.ndarray, rows: np.ndarray, groups: int, seed: int
) -> Rules:
    """Rules for the groups (m,) of the sampled rows; none where there is only one group or no column to ask for."""
    asked, X = _questions(found)
    if groups < 2 or not asked:
        return Rules([None] * groups)
    order = np.random.default_rng(derive(seed, "rules")).permutation(len(labels))
    cut = len(labels) * 2 // 3 if len(labels) >= ENOUGH else len(labels)
    fit, test = (order[:cut], order[cut:]) if cut < len(labels) else (order, order)
    measured = f"{len(test):,} rows that the rules were not made from" if cut < len(labels) else "the rows themselves"
    made = [_rule(asked, X, labels == g, fit, test, seed) for g in range(groups)]
    known = fit[labels[fit] >= 0]
    tree, agreement, text = None, None, []
    if 2 <= groups <= LEAVES and len(np.unique(labels[known])) > 1:
        tries = [
            _tree(X[known], labels[known], seed, max_depth=4, max_leaf_nodes=n)
            for n in range(groups, min(2 * groups, LEAVES) + 1)
        ]
        right = [float((t.predict(X[known]) == labels[known]).mean()) for t in tries]
        model = next(t for t, r in zip(tries, right) if r > max(right) - SHORTER)
        tree = _drawn(model, asked, X)
        held = test[labels[test] >= 0]
        agreement = float((model.predict(X[held]) == labels[held]).mean()) if len(held) else None
        text = [f"group {g}: {r['text']}" for g, r in enumerate(made) if r]
    return Rules(made, tree, agreement, measured, text)


def _questions(found: list[Facet]) -> tuple[list[Question], np.ndarray]:
    """(questions, matrix (m, questions) float32): middles for missing numbers, which have a question of their own."""
    asked: list[Question] = []
    columns: list[np.ndarray] = []
    for facet in found:
        gone = facet.codes < 0
        if facet.kind in ("number", "date"):
            known = facet.values[~gone]
            if not len(known):
                continue
            asked.append(Question(facet))
            columns.append(np.where(gone, np.median(known), facet.values))
        elif facet.kind == "category":
            common = np.argsort(-np.bincount(facet.codes[~gone], minlength=facet.steps), kind="stable")[:LEVELS]
            for level in (c for c in common if c < facet.steps - 1 or facet.steps == 1):
                asked.append(Question(facet, int(level)))
                columns.append(facet.codes == level)
        else:
            asked.append(Question(facet))
            columns.append(facet.codes == 1)
        if 0.01 < gone.mean() < 0.99 and facet.kind != "term":
            asked.append(Question(facet, missing=True))
            columns.append(gone)
    asked, columns = asked[:WIDEST], columns[:WIDEST]
    X = np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1) if columns else np.zeros((0, 0))
    # scikit-learn's trees compare float32; numbers beyond it would be infinite
    return asked, np.clip(X, -1e38, 1e38)


def _tree(X: np.ndarray, y: np.ndarray, seed: int, **limits: Any) -> DecisionTreeClassifier:
    from sklearn.tree import DecisionTreeClassifier

    least = max(1, min(20, len(y) // 200))
    return DecisionTreeClassifier(min_samples_leaf=least, random_state=derive(seed, "tree") % (2**31), **limits).fit(
        X, y
    )


def _rule(
    asked: list[Question], X: np.ndarray, is_in: np.ndarray, fit: np.ndarray, test: np.ndarray, seed: int
) -> dict[str, Any] | None:
    """The shortest rule of at most `DEPTH` questions deep that is nearly as good as the best."""
    best: tuple[float, DecisionTreeClassifier, list[int]] | None = None
    if not is_in[fit].any() or is_in[fit].all():
        return None
    for depth in range(1, DEPTH + 1):
        for weight in (None, "balanced"):
            model = _tree(X[fit], is_in[fit], seed, max_depth=depth, class_weight=weight)
            leaves, score = _leaves(model.apply(X[fit]), is_in[fit])
            if best is None or score > best[0] + SHORTER:
                best = score, model, leaves
    assert best is not None
    _, model, leaves = best
    said = np.isin(model.apply(X[test]), leaves)
    hits = float((said & is_in[test]).sum())
    precision = hits / said.sum() if said.any() else 0.0
    recall = hits / is_in[test].sum() if is_in[test].any() else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    ways = [_path(model, leaf, asked, X) for leaf in leaves]
    text = " or ".join(f"({way})" if len(ways) > 1 and " and " in way else way for way in ways)
    return {"text": text or "any row", "precision": float(precision), "recall": float(recall), "f1": float(f1)}


def _leaves(at: np.ndarray, is_in: np.ndarray) -> tuple[list[int], float]:
    """The leaves that together give the best F1, purest first, and that F1."""
    names, where = np.unique(at, return_inverse=True)
    inside = np.bincount(where, weights=is_in)
    whole = np.bincount(where)
    order = np.argsort(-inside / whole, kind="stable")
    hits, said = np.cumsum(inside[order]), np.cumsum(whole[order])
    f1 = 2 * hits / (said + is_in.sum())
    last = int(np.argmax(f1 > f1.max() - 0.005))
    return [int(names[i]) for i in order[: last + 1]], float(f1[last])


def _path(model: DecisionTreeClassifier, leaf: int, asked: list[Question], X: np.ndarray) -> str:
    """The questions on the way to a leaf; several about one number become one."""
    tree = model.tree_
    parent = {int(c): (i, c == tree.children_right[i]) for i in range(tree.node_count)
              for c in (tree.children_left[i], tree.children_right[i]) if c >= 0}  # fmt: skip
    bounds: dict[int, dict[bool, float]] = {}
    order: list[int] = []
    node = leaf
    while node in parent:
        node, above = parent[node]
        j, cut = int(tree.feature[node]), float(tree.threshold[node])
        if j not in bounds:
            bounds[j] = {}
            order.insert(0, j)
        kept = bounds[j].get(bool(above))  # the cut nearest to the leaf is the tightest
        bounds[j][bool(above)] = cut if kept is None else kept
    parts = []
    for j in order:
        ends = bounds[j]
        value = {above: _value(asked[j], X[:, j], cut) for above, cut in ends.items()}
        if len(ends) == 2 and asked[j].facet.kind in ("number", "date") and not asked[j].missing:
            parts.append(f"{words.spoken(asked[j].facet.column)} above {value[True]}, at most {value[False]}")
        else:
            parts += [asked[j].said(cut, above, value[above]) for above, cut in ends.items()]
    return " and ".join(parts)


def _value(question: Question, values: np.ndarray, cut: float) -> str:
    """The cut with as few digits as divide the rows alike."""
    if question.facet.kind == "date":
        span = float(np.ptp(values))
        return words.date(cut, span)
    below, above = values[values <= cut], values[values > cut]
    if not len(below) or not len(above):
        return words.figure(cut)
    low, high = float(below.max()), float(above.min())
    if question.facet.whole and low == round(low):
        return f"{low:,.0f}" if abs(low) >= 1e4 else f"{low:.0f}"
    for digits in range(2, 16):
        text = f"{cut:.{digits}g}"
        if low <= float(text) < high:
            plain = float(text)
            return (
                f"{plain:,.0f}" if abs(plain) >= 1e4 and plain == round(plain) else f"{plain:g}" if digits < 7 else text
            )
    return words.figure(cut)


def _drawn(model: DecisionTreeClassifier, asked: list[Question], X: np.ndarray) -> dict[str, Any]:
    """The tree as `plots.tree` takes it; "yes" is the left branch, at most the cut."""
    tree = model.tree_
    total = float(tree.weighted_n_node_samples[0])
    nodes: list[dict[str, Any]] = []
    for i in range(tree.node_count):
        share = float(tree.weighted_n_node_samples[i]) / total
        if tree.children_left[i] < 0:
            values = tree.value[i][0] / tree.value[i][0].sum()
            group = int(model.classes_[int(values.argmax())])
            nodes.append({"id": i, "answer": f"group {group}", "share": share, "sure": float(values.max())})
            continue
        question, cut = asked[int(tree.feature[i])], float(tree.threshold[i])
        ordered = question.facet.kind in ("number", "date") and not question.missing
        name = words.spoken(question.facet.column, 24)
        value = _value(question, X[:, int(tree.feature[i])], cut)
        asks = f"{name} ≤ {value}" if ordered else question.said(cut, True, value) + "?"
        yes, no = int(tree.children_left[i]), int(tree.children_right[i])
        nodes.append(
            {
                "id": i,
                "question": asks,
                "share": share,
                **({"yes": yes, "no": no} if ordered else {"yes": no, "no": yes}),
            }
        )
    return {"nodes": nodes}
