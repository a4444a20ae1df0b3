"""100,000 rows: the pack against scikit-learn's pipeline, and the trees alone against the library that grew them.

    OMP_NUM_THREADS=1 python benchmarks/batch_scoring.py             all on one thread
    OMP_NUM_THREADS=2 python benchmarks/batch_scoring.py --threads 2 the trees on two

All take turns in one process; median of 5. Goals: at least as fast as scikit-learn's pipeline for linear, and for trees
within 6 times of the source library; the `fast` engine at least as fast as the source library on as many threads.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from answer_models import MODELS, frame, median, ours, theirs

from everymodel.core.optional import installed
from everymodel.scoring import table

ROWS = 100_000


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    train, many = frame(20_000), frame(ROWS, seed=1).drop(columns="y")
    print(
        f"{'model':26} {'ours s':>8} {'sklearn s':>10} {'ratio':>7} | "
        f"{'trees s':>8} {'source s':>9} {'ratio':>6} | {'fast s':>7} {'ratio':>6}"
    )
    for title, card, parameters in MODELS:
        model, peer = ours(train, card, parameters), theirs(train, card, parameters)
        mine = median(lambda model=model: model.predict_proba(many), 3)
        other = median(lambda peer=peer: peer.predict_proba(many), 3)
        line = f"{title:26} {mine:8.3f} {other:10.3f} {mine / other:6.2f}x |"
        step = model.pack.nodes[-1].step
        if hasattr(step, "sums"):
            batch, _ = table.parse(model.schema, many, unseen="ignore")
            slices = [batch.take(np.arange(i, min(i + 8192, ROWS))) for i in range(0, ROWS, 8192)]
            prepared = [_prepared(model, part) for part in slices]
            matrix = np.concatenate(prepared)
            transformed = peer[:-1].transform(many)
            quick = _fast(model, threads) or step
            alone, source, fast = in_turn(
                lambda step=step, matrix=matrix: step(matrix),
                lambda peer=peer, transformed=transformed: _source(peer[-1], transformed, threads),
                lambda quick=quick, matrix=matrix: quick(matrix),
            )
            line += f" {alone:8.3f} {source:9.3f} {alone / source:5.2f}x | {fast:7.3f} {fast / source:5.2f}x"
        print(line)


def _prepared(model, batch):
    values = {"table": batch}
    for node in model.pack.nodes[:-1]:
        values[node.name] = node.step(*[values[name] for name in node.inputs])
    return values[model.pack.nodes[-1].inputs[0]]


def in_turn(*actions, times: int = 5) -> list[float]:
    """Median seconds of each action; all take turns, so that what else the machine does hits all alike."""
    took = []
    for _ in range(times + 1):
        took.append([])
        for action in actions:
            start = time.perf_counter()
            action()
            took[-1].append(time.perf_counter() - start)
    return np.median(took[1:], axis=0).tolist()


def _fast(model, threads):
    """The trees as the fast engine runs them; None where it is not installed."""
    if not installed("onnxruntime") or not installed("onnx"):
        return None
    return model.fast(threads).pack.nodes[-1].step


def _source(estimator, matrix, threads):
    if type(estimator).__module__.startswith("catboost"):
        return estimator.predict_proba(matrix, thread_count=threads)
    if type(estimator).__module__.startswith("lightgbm"):
        return estimator.predict_proba(matrix, num_threads=threads)
    if "n_jobs" in estimator.get_params():
        estimator.set_params(n_jobs=threads)
    return estimator.predict_proba(matrix)  # histogram boosting: OpenMP's threads


if __name__ == "__main__":
    main()
