"""One row answered from the pack against scikit-learn's pipeline, and the first answer of a fresh process.

    OMP_NUM_THREADS=1 python benchmarks/answer_latency.py

Goals: a linear model within 0.1 ms, a 100-tree booster within 0.3 ms, the first answer within 0.3 s of process start.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from answer_models import MODELS, frame, median, ours, theirs

FIRST = """
import sys, json
from everymodel import scoring
print(scoring.load(sys.argv[1]).predict(json.loads(sys.argv[2])))
"""


def main() -> None:
    warnings.simplefilter("ignore")
    train = frame(4000)
    features = train.drop(columns="y")
    row = {k: (v if v == v else None) for k, v in features.iloc[0].to_dict().items()}
    one = features.iloc[:1]
    print(f"{'model':26} {'read':>8} {'pack':>8} {'predict':>8} {'sklearn':>9} {'ratio':>7} {'first answer':>13}")
    print(f"{'':26} {'us':>8} {'us':>8} {'us':>8} {'us':>9} {'':>7} {'s wall':>13}")
    for title, card, parameters in MODELS:
        model, peer = ours(train, card, parameters), theirs(train, card, parameters)
        batch, _ = model.read(row)
        read = median(lambda model=model: model.read(row), 500)
        pack = median(lambda model=model, batch=batch: model.answers(batch), 500)
        predict = median(lambda model=model: model.predict(row), 500)
        other = median(lambda peer=peer: peer.predict(one), 30)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.em"
            model.save(path)
            first = []
            for _ in range(5):
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", FIRST, str(path), json.dumps(row)], check=True, capture_output=True
                )
                first.append(time.perf_counter() - start)
        print(
            f"{title:26} {read * 1e6:8.0f} {pack * 1e6:8.0f} {predict * 1e6:8.0f} {other * 1e6:9.0f} "
            f"{other / predict:6.0f}x {sorted(first)[2]:13.2f}"
        )


if __name__ == "__main__":
    main()
