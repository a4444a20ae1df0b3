"""A model without a target held against labels: do groups agree with them, are the odd rows those that are known?"""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, TargetError
from everymodel.scoring import cells
from everymodel.workflow.types import Evaluation, Metric
from everymodel.workflow.unsupervised import measures

ROWS = 5_000  # drawn for intervals
_ODD = ("1", "true", "yes", "anomaly", "odd", "outlier", "fraud", "-1")
_TEXT = {
    "ari": "Adjusted Rand index: 1 is the same, 0 is chance.",
    "ami": "Adjusted mutual information: 1 all, 0 chance.",
    "homogeneity": "1 when each group holds one label only.",
    "completeness": "1 when each label lies in one group only.",
}


def against(model: Any, frame: Any, target: str | None) -> Evaluation:
    """Every measure of agreement with its interval.

    Parameters
    ----------
    model : of task "cluster" or "anomaly".
    frame : pandas table that holds the model's columns and the column `target`.

    Raises
    ------
    CapabilityError
        for maps and components, which say nothing that a label could agree with.
    TargetError
        when the column is not named, is not there, or has too few labels.
    """
    if model.task not in ("cluster", "anomaly"):
        raise CapabilityError(
            f"This model ({model.task}) answers with new columns, which no label can be held against."
        )
    if target is None:
        raise TargetError("This model has no target. Name the column to compare with: target= (--target).")
    if target not in frame.columns:
        raise TargetError(f"There is no column {target!r}; the data has {', '.join(map(str, frame.columns[:20]))}.")
    frame = frame[frame[target].notna()]
    names, truth = np.unique(cells.as_text(frame[target]).astype(str), return_inverse=True)
    if len(names) < 2:
        raise TargetError(f"The column {target!r} holds fewer than two labels, so there is nothing to compare with.")
    batch, _ = model.read(frame)
    answers = model.answers(batch)
    some = np.arange(len(truth))
    if len(some) > ROWS:
        some = np.sort(np.random.default_rng(0).choice(some, ROWS, replace=False))
    if model.task == "cluster":
        return _groups(truth, answers.argmax(axis=1), some, target)
    return _odd(model, names, truth, answers, some, target)


def _groups(truth: np.ndarray, found: np.ndarray, some: np.ndarray, target: str) -> Evaluation:
    metrics = []
    for name, value in measures.agreement(truth, found).items():
        low, high = measures.interval(lambda a, b, name=name: measures.agreement(a, b)[name], truth[some], found[some])
        metrics.append(Metric(name, value, low, high, "higher", _TEXT.get(name, "")))
    first = metrics[0].value
    word = "agree closely" if first >= 0.8 else "agree in part" if first >= 0.3 else "hardly agree"
    headline = f"Groups and {target!r} {word} (adjusted Rand index {first:.2f})."
    return Evaluation("cluster", "data", metrics, headline, [])


def _odd(
    model: Any, names: np.ndarray, truth: np.ndarray, scores: np.ndarray, some: np.ndarray, target: str
) -> Evaluation:
    from sklearn.metrics import average_precision_score, roc_auc_score

    if len(names) != 2:
        raise TargetError(f"The column {target!r} holds {len(names)} labels; expected two, usual and odd.")
    words = [str(n).lower() for n in names]
    odd = next((words.index(w) for w in _ODD if w in words), int(np.bincount(truth).argmin()))
    y, said = truth == odd, model.decide(scores) == model.classes[1]

    def precision(y: np.ndarray, said: np.ndarray) -> float:
        return float(y[said].mean()) if said.any() else float("nan")

    def recall(y: np.ndarray, said: np.ndarray) -> float:
        return float(said[y].mean()) if y.any() else float("nan")

    def area(function: Any) -> Any:
        return lambda y, s: float(function(y, s)) if y.any() and not y.all() else float("nan")

    metrics = []
    for name, function, given, text in (
        ("roc_auc", area(roc_auc_score), scores, "Chance that an odd row scores higher than a usual one."),
        ("average_precision", area(average_precision_score), scores, "Mean precision as more rows are looked at."),
        ("precision", precision, said, "Of the rows called anomalies, how many are odd."),
        ("recall", recall, said, "Of the odd rows, how many are called anomalies."),
    ):
        low, high = measures.interval(function, y[some], given[some])
        metrics.append(Metric(name, function(y, given), low, high, "higher", text))
    headline = (
        f"Of {int(y.sum()):,} rows that {target!r} calls {names[odd]!r}, {metrics[3].value:.0%} are called anomalies; "
        f"ROC AUC {metrics[0].value:.3f}."
    )
    return Evaluation("anomaly", "data", metrics, headline, [])
