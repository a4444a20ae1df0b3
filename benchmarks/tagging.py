"""Names in sentences: the tagger on a corpus in CoNLL-2003's form, scored by exact spans on the test part.

    python benchmarks/tagging.py --folder FOLDER [--epochs 15] [--sentences 14041]

FOLDER holds eng.train, eng.testa (chooses the epoch) and eng.testb (read once), plain or .gz.
"""

from __future__ import annotations

import argparse
import gzip
import json
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
    parser.add_argument("--sentences", type=int, default=None, help="of the training part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="parameters as JSON, such as hidden=64")
    given = parser.parse_args()
    torch.set_num_threads(1)
    more = {}
    for name, _, value in (word.partition("=") for word in given.set):
        more[name] = json.loads(value)
    X, y = read(given.folder, "eng.train")
    X, y = X[: given.sentences], y[: given.sentences]
    valid, test = read(given.folder, "eng.testa"), read(given.folder, "eng.testb")
    model = em.SequenceTagger(random_state=given.seed, device="cpu", **more)

    start = time.process_time()
    model.train(X, y, valid, threads=1)
    spent = time.process_time() - start
    for entry in model.history_.epochs:
        told = f"loss {entry['net']:8.4f} dev F1 {100 * entry['valid_f1']:6.2f}"
        print(f"epoch {entry['epoch']:3} {told} {entry['seconds']:6.1f} s")
    for name, (words, tags) in {"testa": valid, "testb": test}.items():
        start = time.process_time()
        told = model.evaluate(words, tags)
        pace = 1000 * (time.process_time() - start) / len(words)
        by = ", ".join(f"{kind} {100 * own['f1']:.1f}" for kind, own in told["types"].items())
        print(
            f"{name}: F1 {100 * told['f1']:.2f} ({by}); accuracy {100 * told['accuracy']:.2f}; {pace:.2f} ms a sentence"
        )
    print(f"{len(X)} sentences, {spent:.0f} CPU s, {len(X) * len(model.history_.epochs) / spent:.0f} sentences/s")


if __name__ == "__main__":
    main()
