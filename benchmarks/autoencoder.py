"""The variational autoencoder: likelihood of binarised digits, and oddities in tables.

    python benchmarks/autoencoder.py digits --folder MNIST [--seconds 300] [--seeds 0]
    OMP_NUM_THREADS=1 python benchmarks/autoencoder.py odd --folder ADBENCH [--seeds 0 1 2]

digits: MNIST in black and white, drawn anew from the grey values; the importance-weighted bound with 500 draws on the
10,000 test images (drawn once), in nats; lower is better (plain bound beside it). --steps N on a busy machine.

odd: tables whose rows are normal or odd (files of rows X and labels y). Half of the normal rows are learnt from, all
others scored by the bound; area under the ROC curve beside the 5th nearest neighbour and the isolation forest.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import numpy as np

import everymodel as em


def digits(asked: argparse.Namespace) -> None:
    def part(name: str) -> np.ndarray:
        return np.frombuffer(gzip.open(asked.folder / name).read()[16:], np.uint8).reshape(-1, 28, 28)

    train, test = part("train-images-idx3-ubyte.gz"), part("t10k-images-idx3-ubyte.gz")
    held = (np.random.default_rng(0).random(test.shape) * 255 < test).astype(np.uint8) * 255
    for seed in asked.seeds:
        wall, cpu = time.monotonic(), time.process_time()
        given = {"epochs": max(asked.steps * 128 // len(train), 1)} if asked.steps else {"budget": asked.seconds}
        extra = dict(pair.split("=") for pair in asked.set)
        made = {k: float(v) if "." in v or "e-" in v else int(v) if v.isdigit() else v for k, v in extra.items()}
        model = em.VAE(**given, **made, random_state=seed).fit(train)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        rows = held[: asked.rows]
        plain = -model.score_samples(rows[:, :, :, None]).mean()
        weighted = -model.score_samples(rows[:, :, :, None], draws=500, weighted=True).mean()
        active = model.history_.epochs[-1].get("valid_active")
        use = f"{active} of {model.step_.size} hidden numbers in use"
        took = f"{model.history_.steps} steps, {wall:.0f} s wall, {cpu:.0f} s CPU"
        print(f"seed {seed}: {weighted:.2f} nats (500 draws), bound {plain:.2f}, {use}; {took}", flush=True)


def odd(asked: argparse.Namespace) -> None:
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    totals: dict[str, list[float]] = {"vae": [], "5th neighbour": [], "isolation forest": []}
    began = time.process_time()
    for path in sorted(asked.folder.glob("*.npz")):
        held = np.load(path)
        X, y = held["X"].astype(float), held["y"].astype(int)
        told: dict[str, list[float]] = {name: [] for name in totals}
        for seed in asked.seeds:
            rng = np.random.default_rng(seed)
            rows = rng.permutation(len(X))[:10_000]
            a, b = X[rows], y[rows]
            normal = np.flatnonzero(b == 0)
            learn = rng.permutation(normal)[: len(normal) // 2]
            rest = np.setdiff1d(np.arange(len(b)), learn)
            scale = StandardScaler().fit(a[learn])
            train, test = scale.transform(a[learn]), scale.transform(a[rest])
            vae = em.VAE(random_state=seed).fit(train)
            near = NearestNeighbors(n_neighbors=5).fit(train)
            scores = {
                "vae": -vae.score_samples(test),
                "5th neighbour": near.kneighbors(test)[0][:, 4],
                "isolation forest": -IsolationForest(random_state=seed).fit(train).score_samples(test),
            }
            for name, score in scores.items():
                told[name].append(roc_auc_score(b[rest], score))
        print(f"{path.stem:<24}" + "  ".join(f"{n} {np.mean(v):.4f}" for n, v in told.items()), flush=True)
        for name, values in told.items():
            totals[name].append(float(np.mean(values)))
    print(f"{'mean':<24}" + "  ".join(f"{n} {np.mean(v):.4f}" for n, v in totals.items()),
          f"   {time.process_time() - began:.0f} s CPU in all")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("digits", "odd"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rows", type=int, default=10_000, help="digits: test images that are judged")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of the model")
    asked = parser.parse_args()
    (digits if asked.what == "digits" else odd)(asked)


if __name__ == "__main__":
    main()
