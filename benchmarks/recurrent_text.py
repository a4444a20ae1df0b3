"""Sentences: the recurrent classifier on SST-2, TREC and others, beside a linear model of words and pairs of words.

    python benchmarks/recurrent_text.py --folder FOLDER [--sets sst2 trec] [--seeds 3]

FOLDER holds stsa.binary.{train,dev,test}, TREC.{train,test}.all, ... (plain or .gz): a label, a blank, the text. Where
there is a dev part, it chooses the epoch; else all rows teach in all epochs. The test part is read once per fit.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import everymodel as em

SETS = {
    "sst2": ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"),
    "sst5": ("stsa.fine.train", "stsa.fine.dev", "stsa.fine.test"),
    "trec": ("TREC.train.all", None, "TREC.test.all"),
}


def read(folder: Path, name: str) -> tuple[list[str], np.ndarray]:
    """(texts, labels)"""
    path = folder / name
    raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    rows = [line.partition(" ") for line in raw.decode("latin-1").split("\n") if line.strip()]
    return [text for _, _, text in rows], np.array([int(label) for label, _, _ in rows])


def linear(train: list[str], y: np.ndarray, test: list[str]) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=10, max_iter=1000)).fit(train, y).predict(test)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["sst2", "trec"], choices=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--set", nargs="*", default=[], help="parameters as JSON, such as hidden=64 ema=0.99 pooling='\"max\"'"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    more = {name: json.loads(value) for name, _, value in (word.partition("=") for word in given.set)}
    print(f"{'set':6} {'model':22} {'test accuracy':>16} {'fit CPU s':>10} {'answer ms/text':>15}")
    for name in given.sets:
        train, dev, test = SETS[name]
        X, y = read(given.folder, train)
        T, t = read(given.folder, test)
        start = time.process_time()
        accuracy = (linear(X, y, T) == t).mean()
        print(f"{name:6} {'words and pairs, linear':22} {100 * accuracy:16.2f} {time.process_time() - start:10.1f}")
        found, spent, answering = [], [], []
        for seed in range(given.seeds):
            kept = {} if dev else {"validation_fraction": 0.0}
            model = em.RecurrentClassifier(random_state=seed, device="cpu", **{**kept, **more})
            start = time.process_time()
            model.train(X, y, read(given.folder, dev) if dev else None, threads=1)
            spent.append(time.process_time() - start)
            start = time.process_time()
            found.append(100 * (model.predict(T) == t).mean())
            answering.append(1000 * (time.process_time() - start) / len(T))
        mean = f"{statistics.mean(found):.2f} ± {statistics.pstdev(found):.2f}"
        print(f"{name:6} {'recurrent':22} {mean:>16} {statistics.mean(spent):10.1f} {statistics.mean(answering):15.2f}")


if __name__ == "__main__":
    main()
