"""Size of the .em file against joblib's compressed dump of scikit-learn's pipeline with the same estimator.

    OMP_NUM_THREADS=2 python benchmarks/file_size.py

Goal: at most half. joblib runs with compress=3 (zlib), its documentation's example.

Two are above it. A small linear model: of its 2.7 kB the zip's own headers take 0.55, the SHA-256 sums 0.2, the schema
(names, ranges, levels: nothing that joblib has) 0.5, the answers to probe rows 0.4, steps and numbers the rest.
CatBoost: its leaves are doubles whose lower six bytes are noise to any compressor; with 22,600 leaves that are not zero
these bytes alone are 136 kB, half of joblib's file, and the upper two bytes and the borders come on top.
"""

from __future__ import annotations

import io
import time
import warnings

import joblib
from answer_models import MODELS, frame, ours, theirs


def main() -> None:
    warnings.simplefilter("ignore")
    train = frame(20_000)
    print(f"{'model':26} {'.em kB':>9} {'joblib kB':>10} {'ratio':>7} {'save s':>7} {'load s':>7}")
    from everymodel.scoring.model import open_bytes

    for title, card, parameters in MODELS:
        model, peer = ours(train, card, parameters), theirs(train, card, parameters)
        start = time.perf_counter()
        raw = model.to_bytes()
        saved = time.perf_counter() - start
        start = time.perf_counter()
        open_bytes(raw)
        loaded = time.perf_counter() - start
        stream = io.BytesIO()
        joblib.dump(peer, stream, compress=3)
        other = len(stream.getvalue())
        print(
            f"{title:26} {len(raw) / 1e3:9.1f} {other / 1e3:10.1f} {len(raw) / other:6.2f}x {saved:7.2f} {loaded:7.2f}"
        )


if __name__ == "__main__":
    main()
