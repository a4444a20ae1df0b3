"""100,000 rows: the pack against scikit-learn's pipeline, and the trees alone against the library that grew them.

    OMP_NUM_THREADS=1 python benchmarks/batch_scoring.py

Both sides use one thread, in turn, in one process; median of 3. Goals: at least as fast as scikit-learn's pipeline for
linear, and for trees within 6 times of the source library. `fast` is the optional ONNX engine.
"""

from __future__ import annotations

import warnings

import numpy as np
from answer_models import MODELS, frame, median, ours, theirs

from everymodel.core.errors import CapabilityError
from everymodel.core.optional import installed
from everymodel.scoring import table

ROWS = 100_000


def main() -> None:
    warnings.simplefilter("ignore")
    train, many = frame(20_000), frame(ROWS, seed=1).drop(columns="y")
    print(
        f"{'model':26} {'ours s':>8} {'sklearn s':>10} {'ratio':>7} | "
        f"{'trees s':>8} {'source s':>9} {'ratio':>6} {'fast s':>7}"
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
            alone = median(lambda step=step, matrix=matrix: step(matrix), 3)
            source = median(lambda peer=peer, transformed=transformed: _source(peer[-1], transformed), 3)
            line += f" {alone:8.3f} {source:9.3f} {alone / source:5.2f}x"
            if installed("onnxruntime") and hasattr(model, "fast"):
                try:
                    quick = model.fast().pack.nodes[-1].step
                except CapabilityError:  # it would not be faster, or cannot run them
                    print(line)
                    continue
                line += f" {median(lambda quick=quick, matrix=matrix: quick(matrix), 3):7.3f}"
        print(line)


def _prepared(model, batch):
    values = {"table": batch}
    for node in model.pack.nodes[:-1]:
        values[node.name] = node.step(*[values[name] for name in node.inputs])
    return values[model.pack.nodes[-1].inputs[0]]


def _source(estimator, matrix):
    if type(estimator).__module__.startswith("catboost"):
        return estimator.predict_proba(matrix, thread_count=1)
    if type(estimator).__module__.startswith("lightgbm"):
        return estimator.predict_proba(matrix, num_threads=1)
    return estimator.predict_proba(matrix)


if __name__ == "__main__":
    main()
