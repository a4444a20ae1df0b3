"""Names in sentences: the tagger on a corpus in CoNLL-2003's form, scored by exact spans, every seed by itself.

    python benchmarks/tagging.py --folder FOLDER --part valid [--set ema=0.99 layers=2]    to choose settings by
    python benchmarks/tagging.py --folder FOLDER [--seeds 0 1 2]                           to report

FOLDER holds eng.train, eng.testa (chooses the epoch) and eng.testb, plain or .gz. With `--part valid` the test part is
not opened. No vectors, lists of names or other texts are used: all is learnt from eng.train.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from pathlib import Path

import torch

import everymodel as em


def read(folder: Path, name: str) -> tuple[list[list[str]], list[list[str]]]:
    """(words, tags) of each sentence."""
    path = folder / name
    raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    text = raw.decode("utf-8")
    X, y = [], []
    for block in text.split("\n\n"):
        rows = [line.split() for line in block.splitlines() if line.strip() and not line.startswith("-DOCSTART-")]
        if rows:
            X.append([row[0] for row in rows])
            y.append([row[-1] for row in rows])
    return X, y


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=["valid", "test"], default="test")
    parser.add_argument("--sentences", type=int, default=None, help="of the training part")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", action="store_true", help="print every epoch")
    parser.add_argument("--set", nargs="*", default=[], help="parameters as JSON, such as hidden=64")
    given = parser.parse_args()
    torch.set_num_threads(1)
    more = {name: json.loads(value) for name, _, value in (word.partition("=") for word in given.set)}
    X, y = read(given.folder, "eng.train")
    X, y = X[: given.sentences], y[: given.sentences]
    parts = {"valid": read(given.folder, "eng.testa")}
    if given.part == "test":
        parts["test"] = read(given.folder, "eng.testb")
    print(f"{len(X)} sentences; {more or 'settings as they come'}")
    print(f"{'seed':>4} " + " ".join(f"{name + ' F1':>9}" for name in parts) + "  best epoch  fit CPU s  ms/sentence")
    found: dict[str, list[float]] = {name: [] for name in parts}
    for seed in given.seeds:
        model = em.SequenceTagger(random_state=seed, device="cpu", **more)
        start = time.process_time()
        model.train(X, y, parts["valid"], threads=1)
        spent = time.process_time() - start
        if given.epochs:
            for e in model.history_.epochs:
                print(f"     epoch {e['epoch']:3} loss {e['net']:8.4f} valid F1 {100 * e['valid_f1']:6.2f}")
        by = ""
        for name, (words, tags) in parts.items():
            start = time.process_time()
            told = model.evaluate(words, tags)
            pace = 1000 * (time.process_time() - start) / len(words)
            found[name].append(100 * told["f1"])
            by = ", ".join(f"{kind} {100 * own['f1']:.1f}" for kind, own in told["types"].items())
        line = " ".join(f"{values[-1]:9.2f}" for values in found.values())
        print(f"{seed:4} {line} {model.epochs_:11} {spent:10.0f} {pace:12.2f}  ({by})", flush=True)
    print("mean " + " ".join(f"{statistics.mean(values):9.2f}" for values in found.values()))


if __name__ == "__main__":
    main()
