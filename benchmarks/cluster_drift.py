"""Is drift of groups found, and only where there is some; and how long 100,000 rows take.

    python benchmarks/cluster_drift.py --draws 100

A model of five overlapping groups is fitted to 5,000 rows. New rows, 2,000 at a time, come from the same population
(false alarms), from one in which one group has 10 points more and another 10 less, and from one with 3 %
of a new group.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import everymodel as em


def rows(random: np.random.Generator, centers: np.ndarray, shares: np.ndarray, n: int) -> pd.DataFrame:
    kind = random.choice(len(shares), n, p=shares)
    X = centers[kind] + 1.5 * random.standard_normal((n, centers.shape[1]))
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(centers.shape[1])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=100)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    centers = np.random.default_rng(8).uniform(-6, 6, (5, 6))
    shares = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    with tempfile.TemporaryDirectory() as folder:
        run = em.fit(
            rows(random, centers, shares, 5000),
            task="cluster",
            models=["kmeans"],
            budget="60s",
            out=Path(folder) / "run",
            progress=False,
        )
    print(run.headline)
    shifted = shares + np.array([-0.1, 0, 0, 0.1, 0])
    corner = np.vstack([centers, np.full(6, 7.0) * np.sign(-centers.mean(axis=0))])
    cases = {
        "same population": (centers, shares),
        "share moved by 10 points": (centers, shifted),
        "new group of 3 %": (corner, np.append(0.97 * shares, 0.03)),
    }
    for name, (places, parts) in cases.items():
        alarms = [run.model.drift(rows(random, places, parts, 2000)).drifted for _ in range(args.draws)]
        print(f"{name:26s} drift said in {np.mean(alarms):6.1%} of {args.draws}")
    many = rows(random, centers, shares, 100_000)
    wall, started = time.perf_counter(), time.process_time()
    drifted = run.model.drift(many).drifted
    print(
        f"100,000 rows: drift {drifted}, {time.process_time() - started:.2f} CPU s, {time.perf_counter() - wall:.2f} s"
    )


if __name__ == "__main__":
    main()
