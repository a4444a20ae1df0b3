"""The training loop against loops written by hand and other packages: CPU seconds of an epoch, in one run.

    python benchmarks/training_engine.py --folder DATA     # DATA holds mnist/train-images-idx3-ubyte.gz, ...-labels-...
    python benchmarks/training_engine.py                   # random pixels instead: the same work, no losses to look at
    python benchmarks/training_engine.py --only folds      # five folds as one network, beside one fold

Every program trains the same network from the same weights on resident tensors, float32, one thread. "hand, fused" is
the yardstick: a loop as short as one can write it, with index_select and a fused optimiser, and no figure but the sum
of the losses. Its losses must equal ours. skorch, Lightning and Keras are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import itertools
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.seeds import derive
from everymodel.training.blocks.feed import MemberLinear
from everymodel.training.folds import Members, folds
from everymodel.training.loop import Plan, train
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Source, Whole

BATCH, RATE = 128, 1e-3


def mnist(folder: Path | None, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (rows, 784) in [0, 1] and digits (rows,)."""
    if folder is None:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(rows, 784, generator=generator), torch.randint(0, 10, (rows,), generator=generator)
    places = [folder / "mnist" / f"train-{word}-ubyte.gz" for word in ("images-idx3", "labels-idx1")]
    raw = [gzip.decompress(place.read_bytes()) for place in places]
    X = np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 784)[:rows]
    return torch.from_numpy(X / np.float32(255)), torch.from_numpy(
        np.frombuffer(raw[1], np.uint8, offset=8)[:rows].astype("i8")
    )


class Lstm(nn.Module):
    """Reads an image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(28, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(X.view(-1, 28, 28))[0][:, -1])


class Image(nn.Module):
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return X.view(-1, 1, 28, 28)


class Graph(nn.Module):
    """Two layers of weighted means over neighbours; the size of the Cora citations."""

    def __init__(self) -> None:
        super().__init__()
        n, edges = 2708, 10556
        generator = torch.Generator().manual_seed(0)
        ends = torch.cat([torch.randint(0, n, (2, edges), generator=generator), torch.arange(n).expand(2, n)], dim=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "beta state"
            told = torch.sparse_coo_tensor(ends, torch.full((edges + n,), 0.2), (n, n)).coalesce().to_sparse_csr()
        self.links = told
        self.first, self.second = nn.Linear(1433, 16), nn.Linear(16, 7)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.links @ self.second(F.dropout(torch.relu(self.links @ self.first(X)), 0.5, self.training))


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "dense":
        return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    if kind == "small dense":
        return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))
    if kind == "convolutions":
        layers = [Image(), nn.Conv2d(1, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(400, 10))
    return Lstm() if kind == "lstm" else Graph()


class Fit(Objective):
    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": F.cross_entropy(nets["net"](batch[0]), batch[1])}


class FitGraph(Objective):
    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": F.cross_entropy(nets["net"](batch[0])[:140], batch[1])}


# Each program gives the losses of its epochs.


def ours(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int) -> list[float]:
    objective = (FitGraph if kind == "graph" else Fit)(net=network(kind))
    source: Source = Whole((X, y)) if kind == "graph" else Arrays(X, y, batch=BATCH)
    history = train(objective, source, Plan(epochs=epochs, optimizers=Optimizer("adam", RATE)))
    return [e["net"] for e in history.epochs]


def hand(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int, fused: bool = True) -> list[float]:
    net = network(kind)
    optimizer = torch.optim.Adam(net.parameters(), RATE, fused=fused or None)
    torch.manual_seed(derive(0, "training"))
    losses = []
    for epoch in range(epochs):
        generator = torch.Generator()
        generator.manual_seed(derive(0, "epoch", epoch))
        if kind == "graph":
            loss = F.cross_entropy(net(X)[:140], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            continue
        order = torch.randperm(len(X), generator=generator)
        total = torch.zeros(())
        for low in range(0, len(X), BATCH):
            rows = order[low : low + BATCH]
            Xb, yb = (X.index_select(0, rows), y.index_select(0, rows)) if fused else (X[rows], y[rows])
            loss = F.cross_entropy(net(Xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        losses.append(total.item() / len(X))
    return losses


def plain(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int) -> list[float]:
    return hand(kind, X, y, epochs, fused=False)


def loader(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int) -> list[float]:
    net = network(kind)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), BATCH, shuffle=True)
    losses = []
    for _ in range(epochs):
        total = torch.zeros(())
        for Xb, yb in batches:
            loss = F.cross_entropy(net(Xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(yb)
        losses.append(total.item() / len(X))
    return losses


def skorch(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int) -> list[float]:
    from skorch import NeuralNetClassifier  # pyright: ignore

    options: dict[str, Any] = {"optimizer": torch.optim.Adam, "lr": RATE, "batch_size": BATCH, "train_split": None}
    net = NeuralNetClassifier(
        network(kind),
        criterion=nn.CrossEntropyLoss,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        verbose=0,
        **options,
    )
    net.fit(X.numpy(), y.numpy())
    return [e["train_loss"] for e in net.history]


def lightning(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int) -> list[float]:
    import logging

    import lightning as L  # pyright: ignore

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    losses: list[float] = []

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.total = network(kind), torch.zeros(())

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.total += loss.detach() * len(batch[1])
            return loss

        def on_train_epoch_end(self) -> None:
            losses.append(self.total.item() / len(X))
            self.total = torch.zeros(())

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), RATE)

    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), BATCH, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", barebones=True)
        trainer.fit(Module(), batches)
    return losses


def keras(kind: str, X: torch.Tensor, y: torch.Tensor, epochs: int) -> list[float]:
    import keras as K  # pyright: ignore

    layers = {
        "dense": [K.layers.Dense(128, activation="relu"), K.layers.Dense(10)],
        "small dense": [K.layers.Dense(32, activation="relu"), K.layers.Dense(10)],
        "convolutions": [
            K.layers.Reshape((28, 28, 1)),
            K.layers.Conv2D(8, 5, 2, activation="relu"),
            K.layers.Conv2D(16, 3, 2, activation="relu"),
            K.layers.Flatten(),
            K.layers.Dense(10),
        ],
        "lstm": [K.layers.Reshape((28, 28)), K.layers.LSTM(64), K.layers.Dense(10)],
    }
    model = K.Sequential([K.Input((X.shape[1],)), *layers[kind]])
    model.compile(K.optimizers.Adam(RATE), K.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model.fit(X.numpy(), y.numpy(), batch_size=BATCH, epochs=epochs, verbose=0).history["loss"]


PROGRAMS: dict[str, tuple[Callable[..., list[float]], str | None]] = {
    "everymodel": (ours, None),
    "hand, fused": (hand, None),
    "hand": (plain, None),
    "DataLoader": (loader, None),
    "skorch": (skorch, "skorch"),
    "Lightning": (lightning, "lightning"),
    "Keras on torch": (keras, "keras"),
}


def member_net(k: int, sizes: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [MemberLinear(k, a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def plain_net(sizes: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def five_folds(X: torch.Tensor, y: torch.Tensor, repeats: int, counts: list[int]) -> None:
    """Wall seconds of a cross-validation with five folds, all as one network, beside one fold as a plain network."""
    print("| network | threads | one fold, ms an epoch | five folds as one, ms | ratio |\n|---|---|---|---|---|")
    for name, sizes, batch in (
        ("784-128-10", (784, 128, 10), 128),
        ("16-64-64-10", (16, 64, 64, 10), 128),
        ("16-32-10", (16, 32, 10), 64),
    ):
        Xs = X if sizes[0] == 784 else X[:, 300:316].contiguous()
        fit, held = folds(len(Xs), 5, torch.Generator().manual_seed(0))
        for threads in counts:
            plan = Plan(epochs=2, optimizers=Optimizer("adam", RATE), threads=threads)
            best = [np.inf, np.inf]
            for _ in range(repeats):
                one, one_held = Arrays(Xs[fit[0]], y[fit[0]], batch=batch), Arrays(Xs[held[0]], y[held[0]], batch=batch)
                every = Arrays(Xs, y, batch=batch, members=5, rows=fit)
                every_held = Arrays(Xs, y, batch=batch, members=5, rows=held)
                net = member_net(5, sizes)
                began = time.perf_counter()
                train(Fit(net=plain_net(sizes)), one, plan, valid=one_held)
                middle = time.perf_counter()
                train(Members(net, 5, per_row), every, plan, valid=every_held)
                best = [min(best[0], middle - began), min(best[1], time.perf_counter() - middle)]
            told = [f"{500 * seconds:.1f}" for seconds in best]
            print(f"| {name} | {threads} | {told[0]} | {told[1]} | {best[1] / best[0]:.2f} |", flush=True)


def per_row(answers: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(answers, y, reduction="none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="holds mnist/")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=5, help="best of so many, in turns")
    parser.add_argument("--only", nargs="*", default=["dense", "small dense", "convolutions", "lstm", "graph"])
    parser.add_argument("--programs", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--threads", type=int, nargs="*", default=[1], help="of the folds (set OMP_NUM_THREADS too)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels, digits = mnist(options.folder, options.rows)
    if options.only == ["folds"]:
        return five_folds(pixels, digits, options.repeats, options.threads)
    print(f"torch {torch.__version__}, one thread, batch {BATCH}, Adam; best of {options.repeats}\n")
    print("| network | program | ms per epoch (CPU) | of hand, fused | loss at the end |\n|---|---|---|---|---|")
    for kind in options.only:
        X, y, epochs = pixels, digits, 2
        if kind == "small dense":
            X = pixels[:, 300:316].contiguous()
        elif kind in ("lstm", "convolutions"):
            X, y = pixels[: len(pixels) // 5], digits[: len(digits) // 5]
        elif kind == "graph":
            generator = torch.Generator().manual_seed(0)
            X, y, epochs = torch.rand(2708, 1433, generator=generator), torch.randint(0, 7, (140,)), 60
        best: dict[str, float] = {}
        losses: dict[str, list[float]] = {}
        names = [
            name
            for name in options.programs
            if (PROGRAMS[name][1] is None or importlib.util.find_spec(str(PROGRAMS[name][1])))
            and (kind != "graph" or PROGRAMS[name][0] in (ours, hand, plain))
        ]
        for _ in range(options.repeats):
            for name in names:
                began = time.process_time()
                losses[name] = PROGRAMS[name][0](kind, X, y, epochs)
                took = (time.process_time() - began) / epochs
                best[name] = min(best.get(name, np.inf), took)
        if "hand, fused" in names and "everymodel" in names:
            np.testing.assert_allclose(losses["everymodel"], losses["hand, fused"], rtol=1e-5)
        for name in names:
            share = best[name] / best.get("hand, fused", np.nan)
            print(f"| {kind} | {name} | {1000 * best[name]:.1f} | {share:.2f} | {losses[name][-1]:.4f} |", flush=True)


if __name__ == "__main__":
    main()
