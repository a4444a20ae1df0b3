"""Feed-forward networks for tables against pytabkit's RealMLP-TD-S and TabM: score, CPU seconds, ratio of seconds.

    python benchmarks/feed_forward.py --folder TABLES [--sets adult,bike] [--rows 3000] [--systems ours,RealMLP_TD_S]

TABLES holds `datasets.json` ({name: {file, task, target}}) and Parquet files whose column `__test__` marks the rows to
be judged by. All systems get the same rows, hold out a fifth of them themselves, and use one thread, each in turn in
this process. Scores are on the marked rows: accuracy and log loss, or RMSE. Needs pandas and, for the others, pytabkit.

    python benchmarks/feed_forward.py --mnist FOLDER

trains the plain network of tutorials (128 ReLU, Adam, 5 epochs) on the four files of MNIST.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch

from everymodel import FeedForwardClassifier, FeedForwardRegressor
from everymodel.scoring import metrics

TEST = 5000  # most rows that are judged


def table(folder: Path, name: str, rows: int, seed: int) -> tuple[Any, ...]:
    """(X, y, X of the test rows, y of the test rows, columns of levels, task)."""
    facts = json.loads((folder / "datasets.json").read_text())[name]
    frame = pd.read_parquet(folder / facts["file"])
    y, marked = frame.pop(facts["target"]), frame.pop("__test__").to_numpy().astype(bool)
    columns, levels = [], []
    for j, word in enumerate(frame.columns):
        numbers = pd.to_numeric(frame[word], errors="coerce")
        if frame[word].dtype.kind in "ifb" or (numbers.notna().mean() > 0.95 and numbers.nunique() > 20):
            columns.append(numbers.to_numpy(float))
        else:
            codes = pd.factorize(frame[word])[0].astype(float)
            columns.append(np.where(codes < 0, np.nan, codes))
            levels.append(j)
    X = np.column_stack(columns)
    y = y.to_numpy(float) if facts["task"] == "regression" else pd.factorize(y.astype(str), sort=True)[0]
    rng = np.random.default_rng(seed)
    fit, test = rng.permutation(np.flatnonzero(~marked))[:rows], rng.permutation(np.flatnonzero(marked))[:TEST]
    if facts["task"] != "regression":
        test = test[np.isin(y[test], np.unique(y[fit]))]
    return X[fit], y[fit], X[test], y[test], levels, facts["task"]


def ours(X: Any, y: Any, Xt: Any, levels: list[int], task: str, seed: int) -> tuple[Any, float]:
    cls = FeedForwardRegressor if task == "regression" else FeedForwardClassifier
    model = cls(categorical_features=levels or None, random_state=seed)
    began = time.process_time()
    model.fit(X, y)
    took = time.process_time() - began
    return (model.predict(Xt) if task == "regression" else model.predict_proba(Xt)), took


def theirs(kind: str, X: Any, y: Any, Xt: Any, levels: list[int], task: str, seed: int) -> tuple[Any, float]:
    import pytabkit

    middle = np.nanmedian(X, axis=0)

    def frame(A: np.ndarray) -> pd.DataFrame:
        made = {}
        for j in range(A.shape[1]):
            column = A[:, j]
            if j in levels:
                made[f"c{j}"] = pd.Categorical(np.where(np.isnan(column), -1, column).astype(int).astype(str))
            else:  # it takes no missing numbers
                made[f"c{j}"] = np.where(np.isnan(column), middle[j], column)
        return pd.DataFrame(made)

    cls = getattr(pytabkit, kind + ("_Regressor" if task == "regression" else "_Classifier"))
    model = cls(device="cpu", random_state=seed, n_threads=1, verbosity=0)
    began = time.process_time()
    model.fit(frame(X), y, cat_col_names=[f"c{j}" for j in levels])
    took = time.process_time() - began
    return (model.predict(frame(Xt)) if task == "regression" else model.predict_proba(frame(Xt))), took


def scores(task: str, y: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    if task == "regression":
        return {"rmse": metrics.score("rmse", task, y, answer)}
    figures = {"accuracy": float((answer.argmax(axis=1) == y).mean())}
    figures["log_loss"] = metrics.score("log_loss", task, y, np.asarray(answer, dtype=np.float64))
    if task == "binary":
        figures["roc_auc"] = metrics.score("roc_auc", task, y, np.asarray(answer, dtype=np.float64))
    return figures


def tables(folder: Path, names: list[str], systems: list[str], rows: int, seeds: int) -> None:
    print(f"| set | system | scores | CPU s | ours / theirs |\n|---|---|---|---|---|   ({rows} rows at most)")
    rng = np.random.default_rng(0)
    small = (rng.normal(size=(60, 2)), rng.normal(size=60), rng.normal(size=(4, 2)), [], "regression", 0)
    for system in systems:  # what a first fit loads is nobody's training
        (ours if system == "ours" else lambda *a, kind=system: theirs(kind, *a))(*small)  # type: ignore[operator]
    for name in names:
        for seed in range(seeds):
            X, y, Xt, yt, levels, task = table(folder, name, rows, seed)
            own = 0.0
            for system in systems:
                make = ours if system == "ours" else (lambda *a, kind=system: theirs(kind, *a))
                answer, took = make(X, y, Xt, levels, task, seed)
                own = took if system == "ours" else own
                told = " ".join(f"{k} {v:.4f}" for k, v in scores(task, yt, answer).items())
                ratio = f"{own / took:.2f}" if own and system != "ours" else ""
                print(f"| {name} | {system} | {told} | {took:.1f} | {ratio} |", flush=True)


def mnist(folder: Path) -> None:
    def read(part: str, kind: str) -> np.ndarray:
        path = next(p for p in sorted(folder.iterdir()) if part in p.name and kind in p.name)
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)

    X, y, Xt, yt = (read(part, kind) for part in ("train", "t10k") for kind in ("images", "labels"))
    began = time.process_time()
    model = FeedForwardClassifier(recipe="plain", hidden=(128,), epochs=5, random_state=0).fit(X, y)
    took = time.process_time() - began
    right = float((model.predict(Xt) == yt).mean())
    print(f"MNIST, plain, 5 epochs: accuracy {right:.4f}, {took:.1f} CPU s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--sets", default="adult,telco_churn,letter,vehicle,california,ames,bike")
    parser.add_argument("--systems", default="ours,RealMLP_TD_S")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if asked.mnist:
        mnist(asked.mnist)
    if asked.folder:
        tables(asked.folder, asked.sets.split(","), asked.systems.split(","), asked.rows, asked.seeds)


if __name__ == "__main__":
    main()
