"""The variational autoencoder: likelihood of binarised digits, and oddities in tables.

    python benchmarks/autoencoder.py digits --folder MNIST [--seconds 300] [--seeds 0]
    OMP_NUM_THREADS=1 python benchmarks/autoencoder.py odd --folder ADBENCH [--seeds 0 1 2]
    OMP_NUM_THREADS=1 python benchmarks/autoencoder.py labels [--seeds 0 1 2] [--steps 2000]

digits: MNIST in black and white, drawn anew from the grey values; the importance-weighted bound with 500 draws on the
10,000 test images (drawn once), in nats; lower is better (plain bound beside it). --steps N on a busy machine.

odd: tables whose rows are normal or odd (files of rows X and labels y). Half of the normal rows are learnt from, all
others scored by the bound; area under the ROC curve beside the 5th nearest neighbour and the isolation forest.

labels: scikit-learn's digits, ten of each class with a label (drawn by the seed), all others without one; the share of
the others that the autoencoder's guess gets right, beside models of the hundred labels alone, whose settings are usual
ones.
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


def labels(asked: argparse.Namespace) -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    X, y = load_digits(return_X_y=True)
    images = (X.reshape(-1, 8, 8) / 16 * 255).astype(np.uint8)
    totals: dict[str, list[float]] = {}
    for seed in asked.seeds:
        rng = np.random.default_rng(seed)
        known = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:10] for c in range(10)])
        rest = np.setdiff1d(np.arange(len(y)), known)
        some = np.full(len(y), np.nan)
        some[known] = y[known]
        cpu = time.process_time()
        batch = 128
        epochs = max((asked.steps or 2_000) * batch // len(y), 1)
        vae = em.VAE(conditional=True, likelihood="gaussian", latent_size=10, width=256, epochs=epochs,
                     batch_size=batch, random_state=seed).fit(images, some)  # fmt: skip
        cpu = time.process_time() - cpu
        told = {"vae, all rows": float((vae.predict(images[rest]) == y[rest]).mean())}
        alone = {
            "logistic": LogisticRegression(max_iter=5000),
            "network": MLPClassifier((256, 256), max_iter=500, random_state=seed),
            "SVM": SVC(C=10.0),
            "nearest neighbour": KNeighborsClassifier(1),
        }
        for name, model in alone.items():
            told[name] = make_pipeline(StandardScaler(), model).fit(X[known], y[known]).score(X[rest], y[rest])
        for name, share in told.items():
            totals.setdefault(name, []).append(share)
        line = "  ".join(f"{n} {v:.4f}" for n, v in told.items())
        print(f"seed {seed}: {line}   {vae.history_.steps} steps, {cpu:.0f} s CPU", flush=True)
    print("mean:   " + "  ".join(f"{n} {np.mean(v):.4f}" for n, v in totals.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("digits", "odd", "labels"))
    parser.add_argument("--folder", type=Path, help="not for labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rows", type=int, default=10_000, help="digits: test images that are judged")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of the model")
    asked = parser.parse_args()
    {"digits": digits, "odd": odd, "labels": labels}[asked.what](asked)


if __name__ == "__main__":
    main()
