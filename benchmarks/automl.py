"""The search beside its peers: runs a harness folder's data sets and prints a table of scores and ranks.

    python benchmarks/automl.py HARNESS                       # everymodel, 60 s a set, then the table
    python benchmarks/automl.py HARNESS --systems everymodel,catboost,hgb,flaml --seeds 0,1
    python benchmarks/automl.py HARNESS --table               # only the table, from what has been run

HARNESS is a folder with `run.py` (a JSON line per run in a results file), `data/datasets.json` and `systems/`; its own
README says how peers are installed. Everything runs one after the other, on the rows that the harness keeps from fit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PROMISES = {"overrun_s": 3.0, "row_ms": 5.0, "model_mb": 20.0}
HIGHER = {"roc_auc"}


def run(harness: Path, system: str, dataset: str, budget: float, seed: int, results: Path, python: str | None) -> None:
    """One run of one system on one set, unless the results have it."""
    command = [
        sys.executable,
        str(harness / "run.py"),
        "--system",
        system,
        "--dataset",
        dataset,
        "--budget",
        str(budget),
    ]
    command += ["--seed", str(seed), "--results", str(results), "--skip-done"]
    if python:
        command += ["--python", python]
    subprocess.run(command, check=True, cwd=harness, env=dict(os.environ, PYTHONWARNINGS="ignore"))


def read(results: Path, budget: float) -> dict[tuple[str, str], dict[str, float]]:
    """(system, dataset) -> medians over seeds of what was measured."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for line in results.read_text().splitlines() if results.exists() else []:
        entry = json.loads(line)
        if entry.get("score") is not None and entry["budget"] == budget:
            found.setdefault((entry["system"], entry["dataset"]), []).append(entry)
    words = ("score", "fit_s", "overrun_s", "row_ms", "model_mb", "peak_mb", "other_cores")
    return {k: {w: float(np.median([e.get(w) or 0.0 for e in v])) for w in words} for k, v in found.items()}


def ranks(scores: dict[str, float], higher: bool) -> dict[str, float]:
    """1 is best; equal scores share their places."""
    ordered = sorted(scores.values(), reverse=higher)
    return {s: float(np.mean([i + 1 for i, o in enumerate(ordered) if o == v])) for s, v in scores.items()}


def table(harness: Path, results: Path, budget: float, systems: list[str]) -> str:
    """Markdown: scores per set, then average ranks over the sets that all systems have, then our promises."""
    meta = json.loads((harness / "data" / "datasets.json").read_text())
    known = read(results, budget)
    shown = [s for s in systems if any(s == k for k, _ in known)]
    lines = ["| data set | metric | " + " | ".join(shown) + " |", "|---" * (len(shown) + 2) + "|"]
    places: dict[str, list[float]] = {s: [] for s in shown}
    for name, facts in meta.items():
        scores = {s: known[s, name]["score"] for s in shown if (s, name) in known}
        if not scores:
            continue
        higher = facts["metric"] in HIGHER
        best = max(scores.values()) if higher else min(scores.values())
        cells = [f"**{v:.5g}**" if (v := scores.get(s)) == best else "" if v is None else f"{v:.5g}" for s in shown]
        lines.append(f"| {name} | {facts['metric']} | " + " | ".join(cells) + " |")
        if len(scores) == len(shown):
            for s, place in ranks(scores, higher).items():
                places[s].append(place)
    common = len(next(iter(places.values()), []))
    mean = [f"{np.mean(places[s]):.2f}" if places[s] else "" for s in shown]
    lines.append(f"| average rank | {common} sets | " + " | ".join(mean) + " |")
    for word, most in PROMISES.items():
        worst = [max((known[s, d][word] for d in meta if (s, d) in known), default=0.0) for s in shown]
        lines.append(f"| worst {word} | promise < {most:g} | " + " | ".join(f"{w:.3g}" for w in worst) + " |")
    busy = max((v["other_cores"] for (s, _), v in known.items() if s in shown), default=0.0)
    lines.append(f"\nBusiest moment: {busy:.2f} cores used by others (a quiet machine shows about 0).")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path)
    parser.add_argument("--systems", default="everymodel", help="comma list of those to run")
    parser.add_argument("--against", default="catboost,hgb,flaml,autogluon:medium_quality", help="also in the table")
    parser.add_argument("--datasets", default="all", help="comma list, or all")
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--results", type=Path, help="results file (default: the harness's own)")
    parser.add_argument("--python", help="interpreter for the systems that are run (default: this one for everymodel)")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    harness = given.harness.resolve()
    results = (given.results or harness / "results.jsonl").resolve()
    meta = json.loads((harness / "data" / "datasets.json").read_text())
    systems = given.systems.split(",")
    names = list(meta) if given.datasets == "all" else given.datasets.split(",")
    if not given.table:
        for name in names:
            for system in systems:
                ours = system.partition(":")[0] == "everymodel"
                for seed in map(int, given.seeds.split(",")):
                    python = given.python or (sys.executable if ours else None)
                    run(harness, system, name, given.budget, seed, results, python)
    print(table(harness, results, given.budget, list(dict.fromkeys([*systems, *given.against.split(",")]))))


if __name__ == "__main__":
    main()
