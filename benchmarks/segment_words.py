"""Do names of groups mention what was planted, and do the rules recover the groups?

    python benchmarks/segment_words.py [--seeds 40]

Tables of 600 rows with 3 to 6 groups: each group has two traits of its own (a number, skewed or not, that is high or
low; a category that most of its rows share; a yes; a recent date; an empty cell), beside columns of noise and a column
that repeats a planted one. The names, sentences and rules are made from the planted groups, with one row in fifty in a
wrong one. Prints the share of planted traits that a name mentions (a repeated column counts for its original), the
share of names that mention them all, how often a name says something that was not planted, how often it says the same
thing twice, and F1 of the rules on rows that they were not made from.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from everymodel.workflow.understand import understand
from everymodel.workflow.unsupervised.material import Material
from everymodel.workflow.unsupervised.profile import describe

ROWS, NOISE = 600, 5
KINDS = ("high", "low", "skewed", "level", "yes", "recent", "missing")


def planted(seed: int) -> tuple[pd.DataFrame, np.ndarray, dict[int, set[str]], dict[str, str]]:
    """(table, groups, {group: planted columns}, {copy: original})."""
    random = np.random.default_rng(seed)
    groups = int(random.integers(3, 7))
    shares = random.dirichlet(np.full(groups, 8.0))
    y = random.choice(groups, ROWS, p=shares)
    y[:groups] = np.arange(groups)
    columns: dict[str, object] = {}
    wanted: dict[int, set[str]] = {g: set() for g in range(groups)}
    copies: dict[str, str] = {}
    for g in range(groups):
        for kind in random.choice(KINDS, 2, replace=False):
            name, at = f"{kind}_{g}", y == g
            wanted[g].add(name)
            base = random.normal(size=ROWS)
            if kind in ("high", "low"):
                columns[name] = 50 + 10 * (base + (3.0 if kind == "high" else -3.0) * at)
                if random.random() < 0.4:
                    copies[f"copy of {name}"] = name
                    columns[f"copy of {name}"] = 1.8 * np.asarray(columns[name]) + 32 + random.normal(size=ROWS)
            elif kind == "skewed":
                columns[name] = np.exp(base + 3.0 * at)
            elif kind == "level":
                others = random.choice([f"town {i}" for i in range(6)], ROWS)
                columns[name] = np.where(at & (random.random(ROWS) < 0.92), f"village {g}", others)
            elif kind == "yes":
                columns[name] = np.where(random.random(ROWS) < np.where(at, 0.93, 0.08), "yes", "no")
            elif kind == "recent":
                days = random.integers(0, 1000, ROWS) + np.where(at, 900, 0)
                columns[name] = pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")
            else:
                columns[name] = np.where(random.random(ROWS) < np.where(at, 0.92, 0.05), np.nan, 100 + base)
    for i in range(NOISE):
        columns[f"noise_{i}"] = random.normal(size=ROWS) if i % 2 else random.choice(list("abcd"), ROWS)
    names = list(columns)
    random.shuffle(names)
    return pd.DataFrame({n: columns[n] for n in names}), y, wanted, copies


def measure(seed: int) -> dict[str, float]:
    frame, y, wanted, copies = planted(seed)
    random = np.random.default_rng(seed + 10_000)
    labels = np.where(random.random(ROWS) < 0.02, random.integers(0, y.max() + 1, ROWS), y)
    found = understand(frame, None)
    from everymodel.scoring import table

    batch, _ = table.parse(found.schema, frame, unseen="ignore", bad="missing")
    said = describe(Material(found.schema, batch, seed), labels, np.eye(int(y.max()) + 1)[labels], seed).segments
    hits, whole, full, strange, twice, f1 = 0, 0, 0, 0, 0, []
    for g, columns in wanted.items():
        named = [copies.get(t["column"], t["column"]) for t in said[g]["traits"]]
        hits += len(columns & set(named))
        whole += len(columns)
        full += columns <= set(named)
        strange += any(n not in set().union(*wanted.values()) for n in named)
        twice += len(named) != len(set(named))
        f1.append(said[g]["rule"]["f1"])
    k = len(wanted)
    return {
        "traits": hits / whole,
        "names": full / k,
        "noise named": strange / k,
        "said twice": twice / k,
        "f1": float(np.mean(f1)),
        "f1 >= 0.9": float(np.mean(np.array(f1) >= 0.9)),
        "unique": float(len({s["name"] for s in said}) == k),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    started = time.process_time()
    results = pd.DataFrame([measure(seed) for seed in range(given.first, given.first + given.seeds)])
    print(results.mean().round(3).to_string())
    print(f"{(time.process_time() - started) / given.seeds:.2f} CPU s per table of {ROWS} rows")


if __name__ == "__main__":
    main()
