"""How long the command line and the package take to start: processor and wall seconds, median of several runs.

python benchmarks/startup.py [--runs 7] [--model FILE.em]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = "pass"
CASES = {
    "python itself": ["-c", BARE],
    "import everymodel": ["-c", "import everymodel"],
    "list the catalogue (catalog.cards())": ["-c", "from everymodel import catalog; assert catalog.cards()"],
    "everymodel --help": ["-m", "everymodel", "--help"],
    "everymodel models": ["-m", "everymodel", "models"],
    "import everymodel.scoring (numpy)": ["-c", "import everymodel.scoring"],
}
PEERS = {
    "import pandas": ["-c", "import pandas"],
    "import sklearn.pipeline": ["-c", "import sklearn.pipeline"],
}


def measure(words: list[str]) -> tuple[float, float]:
    """(processor seconds, wall seconds) of one fresh process."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - started, os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", help="a model file; by default a small one is fitted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or fitted(Path(folder))
        first = (
            "from everymodel import scoring; from everymodel.scoring import probe; "
            f"m = scoring.load({str(path)!r}); m.predict({{c.name: None for c in m.schema.features}})"
        )
        cases = {**CASES, "first answer of a saved model": ["-c", first], **PEERS}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(options.runs):  # in turn, so that a busy moment hits all alike
            for name, words in cases.items():
                taken[name].append(measure(words))
    print(f"{'':40} {'CPU s':>8} {'wall s':>8}   median of {options.runs}")
    for name, runs in taken.items():
        cpu, wall = (statistics.median(values) for values in zip(*runs))
        print(f"{name:40} {cpu:8.3f} {wall:8.3f}")


def fitted(folder: Path) -> Path:
    from sklearn.datasets import load_breast_cancer

    import everymodel as em

    table = load_breast_cancer(as_frame=True).frame
    run = em.fit(table, target="target", models=["logistic"], trials=1, out=folder / "run", progress=False)
    run.model.save(folder / "model.em")
    return folder / "model.em"


if __name__ == "__main__":
    main()
