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
    "multilayer_perceptron": {"width": 8, "layers": 1, "members": 1},
}
REGRESSION: dict[str, dict[str, Any]] = {
    "ridge": {},
    "lightgbm": {"n_estimators": 8, "num_leaves": 70, "min_child_samples": 1},
    "gaussian_process": {},
}


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
    rows_inside = name in ("svm", "nearest_neighbors", "gaussian_process")
    told: dict[str, Any] = {
        "contains_training_rows": rows_inside,
        "name": name,
        "created": "2026-11-21",
        "everymodel": "0.1.0",
        "provenance": {"rows": len(train)},
    }
    model = Model(schema, member.pack(), told)
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
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
