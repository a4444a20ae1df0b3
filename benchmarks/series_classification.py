"""Accuracy and seconds of Hydra and MultiRocket on sets of the UCR archive, beside the means that were published.

python benchmarks/series_classification.py FOLDER [--resamples 5] [--sets GunPoint,...]: a folder with NAME_TRAIN.ts and
NAME_TEST.ts (or .ts.gz, or in a folder NAME). As in the archive's studies, resample 0 is the split that comes with the
set, and each of the others draws as many series of each class for training from both parts together.

The bars are means of MultiRocket over 30 resamples (Tan et al. 2022); those of other resamples differ by chance, which
the standard error shows. Seconds are of the processor, for fitting and for answering all other series.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

import everymodel as em

BARS = {"ACSF1": 0.834, "ArrowHead": 0.895, "GunPoint": 0.998, "ItalyPowerDemand": 0.965, "OSULeaf": 0.962}


def read(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Series (T, p) and their classes."""
    raw = path.read_bytes()
    lines = iter((gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines())
    while next(lines).strip().lower() != "@data":
        pass
    series, labels = [], []
    for line in lines:
        *signals, label = line.strip().split(":")
        rows = [[np.nan if v == "?" else float(v) for v in signal.split(",")] for signal in signals]
        series.append(np.array(rows).T)
        labels.append(label)
    return series, np.array(labels)


def find(folder: Path, name: str, part: str) -> Path:
    """The file of one part of a set."""
    return next(p for p in sorted(folder.rglob(f"{name}_{part}.ts*")) if p.suffix in (".ts", ".gz"))


def split(train: np.ndarray, every: np.ndarray, seed: int) -> np.ndarray:
    """Numbers of the rows to train on; `train` are the classes of the split that comes with the set."""
    if seed == 0:
        return np.arange(len(train))
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(train, return_counts=True)
    drawn = [rng.choice(np.flatnonzero(every == c), n, replace=False) for c, n in zip(classes, counts)]
    return np.sort(np.concatenate(drawn))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--resamples", type=int, default=5)
    asked.add_argument("--sets", default="")
    asked.add_argument("--groups", type=int, default=64, help="0: MultiRocket alone")
    options = asked.parse_args()
    names = options.sets.split(",") if options.sets else sorted(
        {p.name.split("_TRAIN.ts")[0] for p in options.folder.rglob("*_TRAIN.ts*")}
    )  # fmt: skip
    table = []
    for name in names:
        (series, train), (more, others) = (read(find(options.folder, name, part)) for part in ("TRAIN", "TEST"))
        series, every = series + more, np.concatenate([train, others])
        right, loss, spent = [], [], []
        for seed in range(options.resamples):
            known = split(train, every, seed)
            rest = np.setdiff1d(np.arange(len(every)), known)
            started = time.process_time()
            model = em.HydraMultiRocketClassifier(groups=options.groups, random_state=seed)
            model.fit([series[i] for i in known], every[known])
            fitted = time.process_time()
            answer = model.predict_proba([series[i] for i in rest])
            spent.append((fitted - started, time.process_time() - fitted))
            right.append(float((model.classes_[answer.argmax(axis=1)] == every[rest]).mean()))
            loss.append(log_loss(every[rest], answer, labels=model.classes_))
        line = {
            "set": name,
            "train": len(train),
            "test": len(others),
            "steps": int(np.median([len(s) for s in series])),
        }
        line |= {"signals": series[0].shape[1], "accuracy": np.mean(right), "error": np.std(right) / len(right) ** 0.5}
        line |= {"published": BARS.get(name, np.nan), "log_loss": np.mean(loss)}
        line |= dict(zip(("fit_s", "answer_s"), np.mean(spent, axis=0)))
        table.append(line)
        print(pd.DataFrame(table[-1:]).round(3).to_string(index=False, header=len(table) == 1), flush=True)


if __name__ == "__main__":
    main()
