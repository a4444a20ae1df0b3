"""Sentences: the recurrent classifier on SST-2, TREC and others, every seed by itself, beside a linear model of
words and pairs of neighbours.

    python benchmarks/recurrent_text.py --folder FOLDER --part valid [--set hidden=64]    to choose settings by
    python benchmarks/recurrent_text.py --folder FOLDER [--sets sst2 trec]                to report

FOLDER holds stsa.binary.{train,dev,test}, TREC.{train,test}.all, ... (plain or .gz): a label, a blank, the text. A dev
part chooses the epoch. TREC has none: settings are compared on a tenth of the training rows, another one for each
seed, and for the report all rows teach in all epochs. With `--part valid` no test part is opened.
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
    "sst2": ("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test", 3),
    "sst5": ("stsa.fine.train", "stsa.fine.dev", "stsa.fine.test", 3),
    "trec": ("TREC.train.all", None, "TREC.test.all", 5),
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
    parser.add_argument("--part", choices=["valid", "test"], default="test")
    parser.add_argument("--sets", nargs="+", default=["sst2", "trec"], choices=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="none: 0 1 2, of TREC to 4")
    parser.add_argument(
        "--set", nargs="*", default=[], help="parameters as JSON, such as hidden=64 ema=0.99 pooling='\"max\"'"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    more = {name: json.loads(value) for name, _, value in (word.partition("=") for word in given.set)}
    print(f"accuracy on the {given.part} part; {more or 'settings as they come'}")
    for name in given.sets:
        train, dev, test, seeds = SETS[name]
        X, y = read(given.folder, train)
        found: dict[str, list[float]] = {}
        log_loss, spent, answering = [], [], []
        for seed in given.seeds or range(seeds):
            own, told, checked = X, y, read(given.folder, dev) if dev else None
            if given.part == "test":
                asked = read(given.folder, test)
            elif checked is not None:
                asked = checked
            else:
                order = np.random.default_rng(seed).permutation(len(X))
                aside, kept = order[: len(X) // 10], order[len(X) // 10 :]
                asked, own, told = ([X[i] for i in aside], y[aside]), [X[i] for i in kept], y[kept]
            kept = {} if dev else {"validation_fraction": 0.0}
            model = em.RecurrentClassifier(random_state=seed, device="cpu", **{**kept, **more})
            start = time.process_time()
            model.train(own, told, checked, threads=1)
            spent.append(time.process_time() - start)
            start = time.process_time()
            shares = model.predict_proba(asked[0])
            answering.append(1000 * (time.process_time() - start) / len(asked[0]))
            found.setdefault("recurrent", []).append(100 * (shares.argmax(axis=1) == asked[1]).mean())
            log_loss.append(-np.log(shares[np.arange(len(shares)), asked[1]] + 1e-12).mean())
            if not found.get("linear") or (not dev and given.part == "valid"):
                good = 100 * (linear(own, told, asked[0]) == asked[1]).mean()
                found.setdefault("linear", []).append(good)
        for model, values in found.items():
            each = " ".join(f"{value:.2f}" for value in values)
            print(f"{name:6} {model:9} mean {statistics.mean(values):6.2f}   seeds {each}")
        fit, answer = statistics.mean(spent), statistics.mean(answering)
        told = f"log loss {np.mean(log_loss):.4f}, fit {fit:.1f} CPU s, answer {answer:.2f} ms a text"
        print(f"{name:6} {'':9} {told}", flush=True)


if __name__ == "__main__":
    main()
