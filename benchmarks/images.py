"""Convolutional networks on images: accuracy and CPU seconds, beside a plain residual network with the same time.

    OMP_NUM_THREADS=1 python benchmarks/images.py mnist --folder FOLDER [--epochs 3] [--seeds 1]
    OMP_NUM_THREADS=1 python benchmarks/images.py cifar --folder FOLDER [--epochs 2] [--width 12] [--plain]
    python benchmarks/images.py cifar --folder FOLDER --device cuda --width 64 --epochs 10 [--reference AIRBENCH.py]

mnist: the four IDX files (gzip). cifar: train_a.npz, train_b.npz and test.npz with JPEG scans (header, blob, offsets,
labels), so published figures for the lossless images do not compare: --reference runs another program, a file that
defines main(train_images, train_labels, test_images, test_labels) -> accuracy, on these same pixels.

Parameters of the network are those of `ConvolutionalClassifier`, but for the epochs and the width; the test part is
looked at once, at the end. The plain network (--plain) is written as tutorials do: ResNet-8 of 16 to 64 channels, SGD
with momentum, one-cycle, crops and flips, a loop over a DataLoader; it is given the CPU seconds that ours took.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np


def mnist(folder: Path):
    """(train images, labels, test images, labels)."""

    def part(name: str, skip: int) -> np.ndarray:
        return np.frombuffer(gzip.open(folder / name).read()[skip:], np.uint8)

    images = [part(f"{w}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for w in ("train", "t10k")]
    labels = [part(f"{w}-labels-idx1-ubyte.gz", 8) for w in ("train", "t10k")]
    return images[0], labels[0], images[1], labels[1]


def cifar(folder: Path):
    from PIL import Image

    def part(name: str):
        z = np.load(folder / name)
        head, blob, at = z["header"].tobytes(), z["blob"].tobytes(), z["offsets"]
        cells = [np.asarray(Image.open(io.BytesIO(head + blob[a:b]))) for a, b in itertools.pairwise(at)]
        return np.stack(cells), z["labels"]

    (a, ya), (b, yb), (test, yt) = (part(f"{w}.npz") for w in ("train_a", "train_b", "test"))
    return np.concatenate([a, b]), np.concatenate([ya, yb]), test, yt


def plain(X: np.ndarray, y: np.ndarray, Xt: np.ndarray, yt: np.ndarray, seconds: float) -> tuple[float, int]:
    """(accuracy, steps) of a hand-written loop over a DataLoader that ends after `seconds` of CPU time."""
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self, i: int, o: int, s: int):
            super().__init__()
            self.a, self.b = nn.Conv2d(i, o, 3, s, 1, bias=False), nn.Conv2d(o, o, 3, 1, 1, bias=False)
            self.na, self.nb = nn.BatchNorm2d(o), nn.BatchNorm2d(o)
            self.c = nn.Conv2d(i, o, 1, s) if s > 1 or i != o else nn.Identity()

        def forward(self, x):
            return F.relu(self.nb(self.b(F.relu(self.na(self.a(x))))) + self.c(x))

    def tensor(images: np.ndarray):
        images = images[..., None] if images.ndim == 3 else images
        return torch.tensor(images).permute(0, 3, 1, 2)

    net = nn.Sequential(
        *(nn.Conv2d(tensor(X[:1]).shape[1], 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(64, 10),
    )
    loader = DataLoader(TensorDataset(tensor(X), torch.tensor(y).long()), batch_size=128, shuffle=True, drop_last=True)
    side = X.shape[1]

    def learn(x, label) -> None:
        x = F.pad((x.float() - 120) / 64, (4, 4, 4, 4))
        i, j = torch.randint(0, 9, (2,)).tolist()
        x = x[:, :, i : i + side, j : j + side]
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x) if X.ndim == 4 else x
        loss = F.cross_entropy(net(x), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches = iter(loader)
    for _ in range(3):
        learn(*next(batches))  # warm-up, for the pace
    began = time.process_time()
    for _ in range(5):
        learn(*next(batches))
    total = max(int(seconds / ((time.process_time() - began) / 5)) - 8, 10)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=total)
    step = 0
    while step < total:
        for x, label in loader:
            learn(x, label)
            schedule.step()
            step += 1
            if step == total:
                break
    net.eval()
    with torch.no_grad():
        told = [net((tensor(Xt[i : i + 500]).float() - 120) / 64).argmax(1).numpy() for i in range(0, len(Xt), 500)]
    return float(np.mean(np.concatenate(told) == yt)), step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("mnist", "cifar"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--budget")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--reference", type=Path)
    given = parser.parse_args()
    import torch

    import everymodel as em

    torch.set_num_threads(1)
    X, y, Xt, yt = (mnist if given.data == "mnist" else cifar)(given.folder)
    print(f"{given.data}: {len(X):,} images of {X.shape[1:]}, {len(Xt):,} to test; torch {torch.__version__}")
    print(f"{'program':<34}{'seed':>5}{'accuracy':>10}{'CPU s':>8}{'wall s':>8}{'steps':>8}", flush=True)
    spent = 0.0
    for seed in range(given.seeds):
        options: dict[str, Any] = {"epochs": given.epochs, "width": given.width, "budget": given.budget}
        model = em.ConvolutionalClassifier(random_state=seed, device=given.device, **options)
        cpu, wall = time.process_time(), time.monotonic()
        model.fit(X, y)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        spent += cpu / given.seeds
        name = f"ConvolutionalClassifier, width {model.net_.views.body[3].out_channels}"
        line = f"{name:<34}{seed:>5}{model.score(Xt, yt):>10.4f}{cpu:>8.1f}{wall:>8.1f}{model.history_.steps:>8}"
        print(f"{line}  mirrors {model.mirrors_}", flush=True)
    if given.plain:
        wall, cpu = time.monotonic(), time.process_time()
        accuracy, steps = plain(X, y, Xt, yt, spent)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        print(f"{'plain ResNet-8, hand-written loop':<34}{0:>5}{accuracy:>10.4f}{cpu:>8.1f}{wall:>8.1f}{steps:>8}")
    if given.reference:
        spec = importlib.util.spec_from_file_location("reference", given.reference)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        wall = time.monotonic()
        accuracy = module.main(X, y, Xt, yt)
        print(f"{given.reference.name:<34}{0:>5}{accuracy:>10.4f}{'':>8}{time.monotonic() - wall:>8.1f}")


if __name__ == "__main__":
    main()
