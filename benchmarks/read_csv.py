"""Seconds to read a CSV file into a frame, against the libraries that read fastest.

    python benchmarks/read_csv.py [--size 1000] [--rounds 3]

The file is made here: whole and decimal numbers, words, dates and missing cells, SIZE million bytes. Readers run in
turn in one process, in another order in each round, after one round that does not count (else the first one pays for
memory that the machine hands out for the first time); medians count. `everymodel` includes the findings and the
fingerprint of the table; "-> frame" readers end with a pandas frame as everymodel does, the others with their own
table. "pandas -> frame" is pandas' own C parser, which reads large files in parallel since 3.1. CPU seconds (of all
threads) are shown beside, as they say more than wall seconds on a busy machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def make(path: Path, megabytes: float) -> None:
    """Write about `megabytes` million bytes of CSV."""
    rng = np.random.default_rng(0)
    n = 20_000
    words = np.array(["north", "south", "east", "west", "centre", ""])
    block = "\n".join(
        f"{i},{a:.6f},{b:.3f},{c},{w},{d},{e},2024-{m:02d}-{day:02d},{'' if g < 0.1 else round(g, 5)},item {k}"
        for i, a, b, c, w, d, e, m, day, g, k in zip(
            range(n),
            rng.normal(size=n),
            rng.gamma(2.0, 100.0, n),
            rng.integers(0, 1000, n),
            words[rng.integers(0, 6, n)],
            rng.integers(0, 2, n),
            rng.integers(-(10**9), 10**9, n),
            rng.integers(1, 13, n),
            rng.integers(1, 29, n),
            rng.random(n),
            rng.integers(0, 5000, n),
        )
    )
    with path.open("w") as stream:
        stream.write("row,a,b,c,place,flag,e,day,g,item\n")
        written = 0
        while written < megabytes * 1e6:
            stream.write(block + "\n")
            written += len(block) + 1


def readers(path: str) -> dict[str, Callable[[], Any]]:
    """Name -> reader."""
    import pandas as pd
    import polars
    import pyarrow.csv

    from everymodel.workflow.read import read

    return {
        "everymodel": lambda: read(path),
        "pyarrow table": lambda: pyarrow.csv.read_csv(path),
        "pyarrow -> frame": lambda: pyarrow.csv.read_csv(path).to_pandas(),
        "polars table": lambda: polars.read_csv(path),
        "polars -> frame": lambda: polars.read_csv(path).to_pandas(),
        "pandas -> frame": lambda: pd.read_csv(path),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1000.0, help="million bytes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        make(path, options.size)
        found: dict[str, list[float]] = {}
        work: dict[str, list[float]] = {}
        small = Path(folder) / "small.csv"
        make(small, 1.0)
        for reader in readers(str(small)).values():  # imports and first calls do not count
            reader()
        path.read_bytes()  # nor does the disk
        everyone = list(readers(str(path)).items())
        rng = np.random.default_rng(0)
        for turn in range(options.rounds + 1):
            for place in rng.permutation(len(everyone)):
                name, reader = everyone[place]
                started, worked = time.perf_counter(), time.process_time()
                table = reader()
                if turn:
                    found.setdefault(name, []).append(time.perf_counter() - started)
                    work.setdefault(name, []).append(time.process_time() - worked)
                del table
    wall = {name: statistics.median(values) for name, values in found.items()}
    cpu = {name: statistics.median(values) for name, values in work.items()}
    best_wall = min(value for name, value in wall.items() if name != "everymodel")
    best_cpu = min(value for name, value in cpu.items() if name != "everymodel")
    print(f"{options.size:.0f} MB, {options.rounds} rounds; x = times the best other")
    for name in sorted(wall, key=wall.__getitem__):
        print(
            f"{name:18} {wall[name]:7.2f} s wall {wall[name] / best_wall:5.2f} x   "
            f"{cpu[name]:7.2f} s CPU {cpu[name] / best_cpu:5.2f} x"
        )


if __name__ == "__main__":
    main()
