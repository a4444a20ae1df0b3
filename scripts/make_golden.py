"""Write tests/golden: small model files of the present format, and the answers that every later version must give.

    python scripts/make_golden.py

Run it when the format number rises, or when a release adds steps; never rewrite the files of a released version: they
are the promise that every past file opens forever. Files are named v<format>-<model>.em.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from everymodel import catalog
from everymodel.scoring import container, probe, table
from everymodel.scoring.model import Model
from everymodel.workflow.train import Job, fit_member
from everymodel.workflow.types import Problem
from everymodel.workflow.understand import understand

FOLDER = Path(__file__).parent.parent / "tests" / "golden"
BINARY: dict[str, dict[str, Any]] = {
    "logistic": {},
    "lightgbm": {"n_estimators": 8, "num_leaves": 6},
    "gradient_boosting": {"max_iter": 6, "max_leaf_nodes": 6},
    "catboost": {"iterations": 8, "depth": 4},
    "random_forest": {"n_estimators": 4, "max_leaf_nodes": 9},
    "gaussian_nb": {},
    "svm": {},
    "nearest_neighbors": {},
    "label_spreading": {},
    "multilayer_perceptron": {"width": 8, "layers": 1, "members": 1},
}
REGRESSION: dict[str, dict[str, Any]] = {
    "ridge": {},
    "lightgbm": {"n_estimators": 8, "num_leaves": 70, "min_child_samples": 1},
    "gaussian_process": {},
}


FREE: dict[str, dict[str, dict[str, Any]]] = {
    "cluster": {
        "kmeans": {"n_clusters": 3},
        "agglomerative": {"n_clusters": 3, "linkage": "average"},
        "dbscan": {"min_samples": 4},
        "hdbscan": {"min_cluster_size": 6},
        "optics": {"min_samples": 4},
        "gaussian_mixture": {"n_components": 2},
    },
    "reduce": {"pca": {"n_components": 3}, "kernel_pca": {"n_components": 3}, "nmf": {"n_components": 3}},
    "embed": {
        "tsne": {},
        "isomap": {"n_components": 2},
        "locally_linear_embedding": {"n_components": 2},
        "multidimensional_scaling": {},
        "spectral_embedding": {"n_components": 2},
    },
    "anomaly": {
        "isolation_forest": {"n_estimators": 10},
        "local_outlier_factor": {"n_neighbors": 8},
        "neighbor_distance": {},
        "one_class_svm": {},
        "robust_covariance": {},
        "pca_reconstruction": {},
    },
}
KINDS = {"cluster": "clusterer", "reduce": "reducer", "embed": "reducer", "anomaly": "detector"}


def frame(rows: int = 80) -> pd.DataFrame:
    """Numbers with gaps, categories, a truth value, dates, text."""
    rng = np.random.default_rng(7)
    words = np.array(["red", "round", "old", "new", "fast", "überall"])
    made = pd.DataFrame(
        {
            "size": rng.normal(size=rows).round(3),
            "price": np.exp(rng.normal(3, 1, size=rows)).round(2),
            "rooms": rng.integers(1, 9, size=rows),
            "city": np.array(["Bonn", "Köln", "Ulm"])[rng.integers(3, size=rows)],
            "garden": rng.random(rows) < 0.5,
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, size=rows), unit="D"),
            "note": [" ".join(words[rng.integers(6, size=5)]) for _ in range(rows)],
        }
    )
    made.loc[rng.random(rows) < 0.1, "size"] = np.nan
    score = made["size"].fillna(0) + 0.3 * made["rooms"] + (made["city"] == "Köln") + 0.2 * rng.normal(size=rows)
    made["value"] = score.round(4)
    made["sells"] = np.where(score > score.median(), "yes", "no")
    return made


def make(name: str, task: str, parameters: dict[str, Any]) -> None:
    target, other = ("sells", "value") if task == "binary" else ("value", "sells")
    train = frame().drop(columns=other)
    schema = understand(train, target, task=task).schema
    batch, _ = table.parse(schema, train, unseen="ignore", bad="missing")
    y = table.parse_target(schema, train[target])
    kind = "classifier" if task == "binary" else "regressor"
    card = catalog.find(name, kind=kind)
    everything = np.arange(len(train))
    problem = Problem(schema, task, batch, y, [], "roc_auc")
    member = fit_member(problem, Job(card.name, kind, parameters, everything, everything[:0], seed=0))
    rows_inside = any(node.step.holds_rows for node in member.pack().nodes)
    told: dict[str, Any] = {
        "contains_training_rows": rows_inside,
        "name": name,
        "created": "2026-11-21",
        "everymodel": "0.1.0",
        "provenance": {"rows": len(train)},
    }
    write(Model(schema, member.pack(), told), name, task)


def make_free(name: str, task: str, parameters: dict[str, Any]) -> None:
    """A model without a target, as `fit` makes it of the same table."""
    from dataclasses import replace

    from everymodel.workflow.unsupervised.material import Fit, Material, prepare

    train = frame().drop(columns=["value", "sells"])
    schema = understand(train, None).schema
    batch, _ = table.parse(schema, train, unseen="ignore", bad="missing")
    material = Material(schema, batch, 0, prepare(schema, batch, 0))
    fitted = Fit(name, KINDS[task], parameters).run(material)
    pack = fitted.pack()
    classes: tuple[Any, ...] = ("normal", "anomaly") if task == "anomaly" else ()
    if task == "cluster":
        groups = int(fitted.labels.max()) + 1
        classes = (*range(groups), *([-1] if fitted.answers.shape[1] > groups else []))
    told = {
        "contains_training_rows": any(node.step.holds_rows for node in pack.nodes),
        "name": name,
        "created": "2026-11-21",
        "everymodel": "0.1.0",
        "provenance": {"rows": len(train)},
    }
    write(Model(replace(schema, task=task, classes=classes), pack, told), name, task)


def write(model: Model, name: str, task: str) -> None:
    """The file, and what it says to twelve rows."""
    schema = model.schema
    stem = FOLDER / f"v{container.FORMAT}-{name}-{task}"
    raw = model.to_bytes()
    rows = probe.rows(schema, 12, seed=99)
    answers = model.answers(model.read(rows, unseen="ignore")[0])
    container.write(stem.with_suffix(".em"), raw)
    text = json.dumps({"rows": rows, "answers": answers.tolist()}, separators=(",", ":"))
    stem.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(f"{stem.name}.em: {len(raw)} bytes")


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    failed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for task, models in (("binary", BINARY), ("regression", REGRESSION)):
            for name, parameters in models.items():
                try:
                    make(name, task, parameters)
                except Exception as error:  # a missing extra must not hide the others
                    failed += 1
                    print(f"{name} ({task}): {type(error).__name__}: {error}", file=sys.stderr)
        for task, models in FREE.items():
            for name, parameters in models.items():
                make_free(name, task, parameters)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
