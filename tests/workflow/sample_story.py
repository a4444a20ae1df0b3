"""Realistic stories without a search: scikit-learn models on bundled or made data, evaluated and explained for real.

Run as a script to look at the report: python tests/workflow/sample_story.py FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_multilabel_classification
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.multiclass import OneVsRestClassifier

from everymodel.core.schema import Column, Schema
from everymodel.scoring.metrics import default_metric
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.evaluate import evaluate, explain, threshold_choice

FINDINGS = [
    {"code": "leak_copy", "severity": "error", "message": "The column discharge_code gives the target away.",
     "advice": "It was left out. Keep it with keep_suspects if it is known before the outcome.",
     "columns": ["discharge_code"], "data": {}},
    {"code": "missing_values", "severity": "warning", "message": "3 columns have missing values, up to 12 % of rows.",
     "advice": "They are filled with the median and marked by an indicator.",
     "columns": ["mean area", "texture error", "worst symmetry"], "data": {}},
    {"code": "duplicate_rows", "severity": "info", "message": "4 rows occur twice.", "advice": "Nothing to do.",
     "columns": [], "data": {"rows": 4}},
]  # fmt: skip


class Plain:
    """A model for `explain`: an estimator behind the Batch interface."""

    def __init__(self, estimator: Any, schema: Schema, task: str, metric: str):
        self.estimator, self.schema, self.task = estimator, schema, task
        self.classes, self.manifest = schema.classes, {"metric": metric}

    def answers(self, batch: Batch) -> np.ndarray:
        matrix = np.column_stack([batch.columns[c.name] for c in self.schema.features])
        if self.task == "regression":
            return self.estimator.predict(matrix)
        return np.asarray(self.estimator.predict_proba(matrix))


def _data(task: str) -> tuple[np.ndarray, np.ndarray, list[str], list[Any]]:
    if task == "multilabel":
        x, y = make_multilabel_classification(500, 12, n_classes=4, random_state=0)
        return x, y, [f"word {j}" for j in range(12)], ["sport", "politics", "money", "travel"]
    loaded = {"regression": load_diabetes, "binary": load_breast_cancer, "multiclass": load_wine}[task]()
    labels = [] if task == "regression" else [str(n) for n in loaded.target_names]
    return loaded.data, loaded.target, list(loaded.feature_names), labels


def make(task: str, *, seconds: float = 2.0, suspect: bool = False) -> dict[str, Any]:
    """The story of one task, as `em.fit` would write it."""
    x, y, names, classes = _data(task)
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[len(y) // 4 :], order[: len(y) // 4]
    if task == "regression":
        ours: Any = RandomForestRegressor(30, min_samples_leaf=3, random_state=0)
        simple: Any = Ridge(0.1)
    else:
        ours, simple = RandomForestClassifier(30, random_state=0), LogisticRegression(max_iter=5000, C=0.05)
        if task == "multilabel":
            ours, simple = (OneVsRestClassifier(m) for m in (ours, simple))
    best = ExtraTreesClassifier(30, random_state=0) if task in ("binary", "multiclass") else simple

    def answer(model: Any) -> np.ndarray:
        model.fit(x[train], y[train])
        return model.predict(x[test]) if task == "regression" else np.asarray(model.predict_proba(x[test]))

    share = y[train].mean(axis=0) if task in ("regression", "multilabel") else np.bincount(y[train]) / len(train)
    dummy = np.full(len(test), share) if task == "regression" else np.tile(share, (len(test), 1))
    segment = np.where(x[test][:, 0] > np.median(x[:, 0]), "clinic A", "clinic B")
    metric = default_metric(task)
    costs = {"false_positive": 1, "false_negative": 5} if task == "binary" else None
    threshold = None
    if costs:
        oof = cross_val_predict(ours, x[train], y[train], cv=3, method="predict_proba")
        choice = threshold_choice(y[train], oof, costs)
        threshold = choice["threshold"]
    evaluation = evaluate(
        task, y[test], answer(ours), classes=classes, metric=metric, source="test", costs=costs, threshold=threshold,
        baselines={"dummy": dummy, "simple": answer(simple), "best_single": answer(best)},
        segments={"clinic": segment, names[1]: x[test][:, 1]}, fairness={"clinic": segment}, seed=0,
    )  # fmt: skip
    if costs:
        evaluation.curves["threshold_choice"] = choice
    evaluation.curves["learning"] = [
        {"rows": int(len(train) * s), "score": v, "low": v - w, "high": v + w}
        for s, v, w in ((0.1, 0.90, 0.04), (0.25, 0.94, 0.02), (0.5, 0.962, 0.012), (1.0, 0.975, 0.008))
    ]
    columns = tuple(
        Column(n, "number", low=float(x[:, j].min()), high=float(x[:, j].max()), missing=0.12 if j == 3 else 0.0)
        for j, n in enumerate(names)
    )
    schema = Schema((*columns, Column("outcome", "category" if classes else "number", "target")), task, tuple(classes))
    batch = Batch({n: x[test][:, j] for j, n in enumerate(names)}, len(test))
    told = explain(Plain(ours, schema, task, metric), batch, y[test], seed=0, seconds=seconds)
    rows = [
        ("Random forest", 0.62),
        ("Extra trees", 0.38),
        ("LightGBM", 0),
        ("Logistic regression", 0),
        ("Guessing", 0),
    ]
    value = evaluation.metrics[0].value
    return {
        "title": "outcome from clinic_visits.csv", "created": "2026-11-21T08:41:00+00:00", "version": "0.1.0",
        "source": {"path": "data/clinic_visits.csv", "format": "csv", "fingerprint": "9f2c" * 16,
                   "details": {"separator": ";", "encoding": "utf-8", "decimal": ",", "header": True}},
        "rows": len(y), "columns": [c.to_dict() for c in schema.columns], "findings": FINDINGS, "task": task,
        "target": "outcome", "classes": list(classes), "metric": metric, "seed": 0, "budget": 60.0,
        "split": {"kind": "stratified", "train": len(train), "test": len(test), "folds": 5,
                  "note": "80/20 at random, the same share of each class in both parts."},
        "leaderboard": [
            {"model": m, "card": m.lower().replace(" ", "_"), "score": value * (1 - 0.01 * i), "weight": w,
             "score_low": value * (1 - 0.01 * i) * 0.985, "score_high": value * (1 - 0.01 * i) * 1.012,
             "fit_seconds": 0.3 + 1.7 * i, "row_ms": 0.12 * (i + 1), "size": 12_000 * (i + 1), "status": "done",
             "parameters": {"n_estimators": 300, "max_depth": None}} for i, (m, w) in enumerate(rows)],
        "members": [{"model": m, "card": m.lower(), "weight": w, "parameters": {"n_estimators": 300}}
                    for m, w in rows[:2]],
        "failures": [{"model": "Gaussian process", "reason": "More than 2,000 rows: not tried."}], "stopped": "budget",
        "evaluation": asdict(evaluation), "explanations": told,
        "history": [{"seconds": s, "best": value * f} for s, f in ((2, 0.93), (6, 0.97), (15, 0.985), (40, 1.0))],
        "timing": {"read": 0.1, "split": 0.02, "understand": 0.2, "search": 51.8, "evaluate": 1.9, "save": 0.2},
        "model_file": "everymodel_runs/20261121-0841-outcome/model.em",
        "how_to": {"python": 'import everymodel as em\n\nmodel = em.load("model.em")\nmodel.predict(new_rows)',
                   "cli": "everymodel predict model.em new_rows.csv -o answers.csv",
                   "rest": "everymodel serve model.em\ncurl -s localhost:8000/v1/predict "
                           """-H 'content-type: application/json' -d '{"row": {"mean radius": 14.1}}'"""},
        "headline": evaluation.headline, "suspect": suspect,
    }  # fmt: skip


if __name__ == "__main__":
    from everymodel.workflow.evaluate import report

    folder = Path(sys.argv[1])
    for task in ("binary", "regression", "multiclass", "multilabel"):
        told = make(task, seconds=3.0, suspect=task == "multiclass")
        report(json.loads(json.dumps(told)), folder / f"{task}.html")
        print(task, (folder / f"{task}.html").stat().st_size, told["headline"])
