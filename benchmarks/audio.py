"""Spoken digits: accuracy and CPU seconds on the usual split (recordings 0-4 of each speaker and digit are the test).

    OMP_NUM_THREADS=1 python benchmarks/audio.py --folder FOLDER [--epochs 12]

FOLDER holds fsdd_a.npz.xz and fsdd_b.npz.xz: names "{digit}_{speaker}_{index}", audio (int16, end to end), lengths.
Rows: a network over spectrograms, and logistic regressions on the figures that classic models get of a sound and of any
sequence.
"""

from __future__ import annotations

import argparse
import io
import lzma
import time
from pathlib import Path
from typing import Any

import numpy as np


def load(folder: Path) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """(sounds, digits, whether a recording belongs to the test)."""
    names: list[str] = []
    sounds: list[np.ndarray] = []
    for part in "ab":
        z = np.load(io.BytesIO(lzma.decompress((folder / f"fsdd_{part}.npz.xz").read_bytes())))
        ends = np.cumsum(z["lengths"])
        names += [str(n) for n in z["names"]]
        sounds += np.split(z["audio"].astype(np.float32) / 32768, ends[:-1])
    digits = np.array([int(n.split("_")[0]) for n in names])
    return sounds, digits, np.array([int(n.split("_")[2]) < 5 for n in names])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from everymodel.scoring.steps.base import Batch
    from everymodel.scoring.steps.cells import SequenceFeatures
    from everymodel.scoring.steps.spectrogram import SoundFeatures

    sounds, y, test = load(given.folder)
    print(f"{len(sounds):,} recordings, {test.sum()} to test")
    print(f"{'model':<52}{'accuracy':>10}{'CPU s':>8}")

    def row(name: str, run: Any) -> None:
        began = time.process_time()
        accuracy = run()
        print(f"{name:<52}{accuracy:>10.4f}{time.process_time() - began:>8.1f}", flush=True)

    cells = np.empty(len(sounds), dtype=object)
    cells[:] = [sound[:, None] for sound in sounds]
    batch = Batch({"sound": cells}, len(cells))
    for step in (SequenceFeatures("sound"), SoundFeatures("sound")):

        def classic(step: Any = step) -> float:
            X = step(batch)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
            return model.fit(X[~test], y[~test]).score(X[test], y[test])

        row(f"logistic regression on {step.word}", classic)

    def network() -> float:
        import torch

        import everymodel as em

        torch.set_num_threads(1)
        model = em.ConvolutionalClassifier(sample_rate=8000, epochs=given.epochs, random_state=0)
        model.fit([s for s, t in zip(sounds, test) if not t], y[~test])
        return model.score([s for s, t in zip(sounds, test) if t], y[test])

    row(f"ConvolutionalClassifier, {given.epochs} epochs", network)


if __name__ == "__main__":
    main()
