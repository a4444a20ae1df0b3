"""What rows without a label are good for: em.fit on a partly labelled target against em.fit on its labelled rows alone.

    python benchmarks/semi_supervised.py                        # digits with 20, 50 and 100 labels, five draws of them
    python benchmarks/semi_supervised.py --sets all             # ten sets with 50 labels: never far below labels alone
    python benchmarks/semi_supervised.py --sets all --folder F  # and parquet tables of F (adult, letter, ...)
    python benchmarks/semi_supervised.py --sets all --trials 3 --models logistic,svm,extra_trees  # on a busy machine
    python benchmarks/semi_supervised.py --graph 200000         # seconds and memory of the sparse graph

A third of the rows is the test part, labels are drawn from the rest (digits: as many of each class), all other cells of
the target are emptied. Figures are test accuracies. `spreading` is scikit-learn's LabelSpreading, 7 neighbours, on the
raw columns of digits.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets as sk
from sklearn.model_selection import train_test_split

TABLES = ("adult", "telco_churn", "letter", "vehicle")
ROWS = 2_000  # of a table, drawn at random


def bundled() -> dict[str, pd.DataFrame]:
    """Ten sets; the last column is the target."""
    made = {
        "digits": sk.load_digits(return_X_y=True),
        "wine": sk.load_wine(return_X_y=True),
        "breast cancer": sk.load_breast_cancer(return_X_y=True),
        "iris": sk.load_iris(return_X_y=True),
        "moons": sk.make_moons(1500, noise=0.15, random_state=0),
        "circles": sk.make_circles(1500, noise=0.1, factor=0.6, random_state=0),
        "blobs": sk.make_blobs(1500, n_features=5, centers=3, cluster_std=5.0, random_state=2),
        "wide": sk.make_classification(1500, 40, n_informative=5, n_redundant=5, random_state=3),
        "wrong labels": sk.make_classification(
            1500, 20, n_informative=5, n_redundant=2, flip_y=0.1, class_sep=0.7, random_state=1
        ),
    }
    X = np.random.default_rng(0).normal(size=(1500, 8))
    made["classes across groups"] = (X, (X[:, 0] * X[:, 1] > 0).astype(int))
    return {name: _frame(X, y) for name, (X, y) in made.items()}


def _frame(X: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    frame["label"] = pd.Series([f"class {v}" for v in y], dtype=object)
    return frame


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    about, found = json.loads((folder / "datasets.json").read_text()), {}
    for name in TABLES:
        if (folder / f"{name}.parquet").exists():
            frame = pd.read_parquet(folder / f"{name}.parquet").sample(frac=1, random_state=0).iloc[:ROWS]
            goal = frame.pop(about[name]["target"])
            found[name] = frame.assign(label=goal.astype(str).astype(object)).reset_index(drop=True)
    return found


def draw(y: np.ndarray, n: int, seed: int, even: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows with a label, rows without, test rows)."""
    rng = np.random.default_rng(seed)
    train, test = train_test_split(np.arange(len(y)), test_size=0.33, random_state=seed, stratify=y)
    classes = np.unique(y)
    each = n // len(classes) if even else 2
    first = np.concatenate([rng.choice(train[y[train] == c], each, replace=False) for c in classes])
    rest = np.setdiff1d(train, first)
    labelled = np.concatenate([first, rng.choice(rest, max(n - len(first), 0), replace=False)])
    return labelled, np.setdiff1d(train, labelled), test


def accuracy(frame: pd.DataFrame, y: np.ndarray, rows: np.ndarray, test: np.ndarray, limit: dict) -> tuple[float, bool]:
    """(share of test rows answered right, whether rows without a label had a part in it)."""
    import everymodel as em

    with tempfile.TemporaryDirectory() as out:
        run = em.fit(frame.iloc[rows], target="label", **limit, test_size=0, out=out, progress=False)
    told = run.model.predict(frame.iloc[test].drop(columns="label"))
    return float((np.asarray(told) == y[test]).mean()), bool(run.search.gain and run.search.gain["chosen"])


def compare(
    name: str, frame: pd.DataFrame, n: int, draws: int, budget: str, trials: int, models: list[str] | None, alone: bool
) -> float:
    """Print one line; the difference in points of accuracy."""
    y, found, took = frame["label"].to_numpy(), [], 0
    reference = []
    for seed in range(draws):
        labelled, loose, test = draw(y, n, seed, name == "digits")
        if len(loose) < 30 or len(labelled) > 0.8 * (len(labelled) + len(loose)):
            continue
        partly = frame.copy()
        partly.loc[loose, "label"] = None
        # Label spreading is two candidates more; with so many trials, both have the same others on any machine.
        limits: list[dict] = [{"trials": trials + 2}, {"trials": trials}] if trials else [{"budget": budget}] * 2
        if models:
            limits = [
                {"models": named, **limit} for named, limit in zip(([*models, "label_spreading"], models), limits)
            ]
        more, used = accuracy(partly, y, np.concatenate([labelled, loose]), test, limits[0])
        few, _ = accuracy(frame, y, labelled, test, limits[1]) if alone else (np.nan, False)
        found.append((few, more))
        took += used
        if name == "digits":
            reference.append(spreading(frame, y, labelled, loose, test))
    few, more = np.mean(found, axis=0)
    gap = 100 * (more - few)
    beside = f"   spreading {np.mean(reference):.3f}" if reference else ""
    beside_alone = f"alone {few:.3f}  points {gap:+5.1f}  " if alone else ""
    by_draw = " ".join(f"{m:.3f}" for _, m in found)
    print(
        f"{name:22} {n:4} labels  {beside_alone}with the others {more:.3f}  "
        f"used in {took} of {len(found)}{beside}   [{by_draw}]",
        flush=True,
    )
    return gap


def spreading(frame: pd.DataFrame, y: np.ndarray, labelled: np.ndarray, loose: np.ndarray, test: np.ndarray) -> float:
    from sklearn.semi_supervised import LabelSpreading

    X, codes = frame.drop(columns="label").to_numpy(float), np.unique(y, return_inverse=True)[1]
    rows = np.concatenate([labelled, loose])
    given = np.where(np.arange(len(rows)) < len(labelled), codes[rows], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LabelSpreading(kernel="knn", n_neighbors=7).fit(X[rows], given)
    return model.score(X[test], codes[test])


def large(n: int) -> None:
    """The graph of many rows: seconds of the processor, and the memory at its highest."""
    from everymodel.models.semi_supervised.label_spreading import LabelSpreading

    for p in (5, 20):
        X, y = sk.make_blobs(n, n_features=p, centers=10, cluster_std=3.0, random_state=0)
        few = np.where(np.random.default_rng(0).random(n) < 0.001, y, -1)
        began, cpu = time.perf_counter(), time.process_time()
        model = LabelSpreading().fit(X, few)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        right = float((model.transduction_ == y).mean())
        print(f"{n:,} rows x {p}: {cpu:.0f} s of the processor ({wall:.0f} s), peak {peak:.2f} GiB, right {right:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="digits", help="digits, all, or names")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--labels", type=int, nargs="+")
    parser.add_argument("--draws", type=int)
    parser.add_argument("--budget", default="30s")
    parser.add_argument("--trials", type=int, default=0, help="so many candidates beside the baselines, not seconds")
    parser.add_argument("--models", help="the others of the search, by name: with --trials the same on a busy machine")
    parser.add_argument("--skip-alone", action="store_true", help="do not fit on labelled rows alone")
    parser.add_argument("--graph", type=int)
    given = parser.parse_args()
    if given.graph:
        large(given.graph)
        return
    models = given.models.split(",") if given.models else None
    sets = {**bundled(), **(tables(given.folder) if given.folder else {})}
    wanted = list(sets) if given.sets == "all" else given.sets.split(",")
    numbers = given.labels or ([20, 50, 100] if wanted == ["digits"] else [50])
    gaps = []
    for name in wanted:
        for n in numbers:
            draws = given.draws or (5 if name == "digits" else 2)
            gaps.append(compare(name, sets[name], n, draws, given.budget, given.trials, models, not given.skip_alone))
    if not given.skip_alone:
        print(f"worst difference to labels alone: {np.nanmin(gaps):+.1f} points; mean {np.nanmean(gaps):+.1f}")


if __name__ == "__main__":
    main()
