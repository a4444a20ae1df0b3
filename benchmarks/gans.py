"""Adversarial models: groups that are found, classes that are obeyed, images, beside the tutorials' GAN.

    OMP_NUM_THREADS=1 python benchmarks/gans.py grid [--seeds 0 1 2 3 4] [--seconds 60]
    python benchmarks/gans.py stacked|conditional|images|pyramid --folder MNIST [--seeds 0] [--seconds 600]

grid: 25 normal groups on a square lattice (spread .05, 2 apart), 100,000 rows. For 8 draws of 2,500 samples: groups
with one sample within 3 spreads (modes) and with 20 (strict), the share of such samples (quality; a perfect sampler has
98.9), the divergence of counts from uniform (KL, nats; a perfect sampler has .0048), spread of residuals over the true.
The tutorial's GAN: non-saturating loss, rectifiers, Adam 2e-4 (.5, .999), no average, the same sizes and CPU time.

stacked: three MNIST digits as red, green and blue, so 1,000 kinds; 26,000 samples are read by a digit classifier.
conditional: share of samples that a classifier (trained on the training part) reads as asked (agreement), and accuracy
on the test part of a classifier trained on 60,000 samples alone (learnt). images, pyramid: Frechet distance and
coverage in that classifier's features against the test part, beside those of training images and of the tutorial's
DCGAN (batch normalisation, Adam 2e-4 (.5, .999)) after the same CPU time. The folder holds the four IDX files (gzip).

--validate judges against training images that are held out instead of the test part, and is for choices.
--steps N instead of --seconds on a busy machine (for pyramid one of --models at a time, with steps
for equal CPU time). Every seed is shown; no seed is chosen.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import everymodel as em
from everymodel.scoring.likeness import frechet, neighborhoods

CENTRES = np.array([(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)], dtype=float)
SPREAD = 0.05
JUDGED = 10_000


def clock() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def since(began: tuple[float, float]) -> str:
    return f"{time.monotonic() - began[0]:.0f} s wall {time.process_time() - began[1]:.0f} s CPU"


# --- 25 groups ---


def grid_figures(draw) -> np.ndarray:
    """(modes, strict, quality %, KL, spread), means of 8 draws."""
    told = []
    for seed in range(8):
        x = draw(2500, seed)
        gaps = np.linalg.norm(x[:, None] - CENTRES, axis=2)
        nearest, far = gaps.argmin(axis=1), gaps.min(axis=1)
        good = far < 3 * SPREAD
        counts = np.bincount(nearest[good], minlength=25)
        share = np.bincount(nearest, minlength=25) / len(x)
        share = share[share > 0]
        rest = (x - CENTRES[nearest])[far < 4 * SPREAD]
        kl = float((share * np.log(share * 25)).sum())
        told.append([(counts > 0).sum(), (counts >= 20).sum(), 100 * good.mean(), kl, rest.std() / SPREAD])
    return np.mean(told, axis=0)


def grid(asked: argparse.Namespace) -> None:
    print(f"{'model':<12}{'seed':>5}{'steps':>8}{'modes':>7}{'strict':>8}{'quality':>9}{'KL':>8}{'spread':>8}   time")
    for seed in asked.seeds:
        rng = np.random.default_rng(seed)
        X = CENTRES[rng.integers(25, size=100_000)] + rng.normal(0, SPREAD, (100_000, 2))
        began = clock()
        model = em.VanillaGAN(**length(asked), random_state=seed).fit(X)
        took, steps, asked.cpu = since(began), model.history_.steps, time.process_time() - began[1]
        line(seed, "everymodel", steps, grid_figures(lambda n, s, own=model: own.sample(n, seed=s)), took)
        for note in model.history_.notes:
            print(f"             {note}")
        if asked.plain:
            began = clock()
            net, steps = tutorial_grid(X, seed, asked)
            took = since(began)

            def draw(n: int, s: int, net: nn.Module = net) -> np.ndarray:
                with torch.no_grad():
                    return net(torch.randn(n, 2, generator=torch.Generator().manual_seed(s))).double().numpy()

            line(seed, "tutorial", steps, grid_figures(draw), took)


def line(seed: int, name: str, steps: int, figures: np.ndarray, took: str) -> None:
    modes, strict, quality, kl, spread = figures
    print(
        f"{name:<12}{seed:>5}{steps:>8}{modes:>7.1f}{strict:>8.1f}{quality:>9.1f}{kl:>8.4f}{spread:>8.2f}   {took}",
        flush=True,
    )


def tutorial_grid(X: np.ndarray, seed: int, asked: argparse.Namespace) -> tuple[nn.Module, int]:
    torch.manual_seed(seed)

    def net(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs))

    maker, critic = net(2, 2), net(2, 1)
    return plain_game(maker, critic, torch.from_numpy(X).float(), 256, 2, asked)


def plain_game(maker: Any, critic: Any, rows: torch.Tensor, batch: int, size: int, asked: Any) -> tuple[nn.Module, int]:
    """The tutorials' loop for the CPU seconds of our fit: non-saturating loss, Adam 2e-4 (.5, .999)."""
    first = torch.optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.999), fused=True)
    second = torch.optim.Adam(maker.parameters(), 2e-4, betas=(0.5, 0.999), fused=True)
    began, steps = time.process_time(), 0
    while time.process_time() - began < asked.cpu:
        real = rows[torch.randint(len(rows), (batch,))]
        fake = maker(torch.randn(batch, size))
        loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
        first.zero_grad()
        loss.backward()
        first.step()
        second.zero_grad()
        F.softplus(-critic(fake)).mean().backward()
        second.step()
        steps += 1
    return maker.eval(), steps


# --- digits ---


def mnist(folder: Path, validate: bool = False) -> tuple[np.ndarray, ...]:
    def part(name: str, skip: int) -> np.ndarray:
        return np.frombuffer(gzip.open(folder / name).read()[skip:], np.uint8)

    images = [part(f"{w}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) for w in ("train", "t10k")]
    labels = [part(f"{w}-labels-idx1-ubyte.gz", 8) for w in ("train", "t10k")]
    if validate:
        return images[0][:-JUDGED], labels[0][:-JUDGED], images[0][-JUDGED:], labels[0][-JUDGED:]
    return images[0], labels[0], images[1], labels[1]


class Reader(nn.Module):
    """A classifier of digits whose last hidden layer (64) is what images are compared in."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU()),
        )
        self.last = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x))

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(features (n, 64), digits (n,)) of bytes (n, 28, 28)."""
        features, digits = [], []
        with torch.no_grad():
            for low in range(0, len(images), 1000):
                x = (
                    torch.from_numpy(np.ascontiguousarray(images[low : low + 1000])).reshape(-1, 1, 28, 28).float()
                    / 255
                )
                f = self.body(x)
                features.append(f.double().numpy())
                digits.append(self.last(f).argmax(dim=1).numpy())
        return np.concatenate(features), np.concatenate(digits)


def reader(X: np.ndarray, y: np.ndarray, epochs: int = 3, seed: int = 0) -> Reader:
    torch.manual_seed(seed)
    net = Reader()
    steps = epochs * (len(X) // 128)
    adam = torch.optim.Adam(net.parameters(), 3e-3, fused=True)
    slower = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps + 1)
    images, labels = (
        torch.from_numpy(np.ascontiguousarray(X)).reshape(-1, 1, 28, 28),
        torch.from_numpy(y.astype(np.int64)),
    )
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for low in range(0, len(X) - 127, 128):
            rows = order[low : low + 128]
            loss = F.cross_entropy(net(images[rows].float() / 255), labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            slower.step()
    return net.eval()


def kinds(net: Reader, colours: np.ndarray) -> str:
    """Kinds among 1,000 and KL from uniform of images (n, 28, 28, 3)."""
    places = sum(net.read(colours[..., c])[1] * 10**c for c in range(3))
    share = np.bincount(places, minlength=1000) / len(places)
    kept = share[share > 0]
    return f"{len(kept)} of 1000 kinds, KL {(kept * np.log(kept * 1000)).sum():.3f}"


def stacked(asked: argparse.Namespace) -> None:
    X, y, _, _ = mnist(asked.folder, asked.validate)
    net = reader(X, y)
    for seed in asked.seeds:
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, len(X), (50_000, 3))
        data = np.moveaxis(X[rows], 1, 3)  # (n, 28, 28, 3)
        began = clock()
        model = em.DCGAN(latent=asked.latent or "groups", **length(asked), random_state=seed).fit(data)
        took = since(began)
        made = model.sample(26_000, seed=seed)
        real = kinds(net, data[:26_000])
        print(f"seed {seed}: {kinds(net, made)}; {model.history_.steps} steps, {took}; real: {real}",
              *model.history_.notes, flush=True)  # fmt: skip


def conditional(asked: argparse.Namespace) -> None:
    X, y, test, truth = mnist(asked.folder, asked.validate)
    net = reader(X, y)
    print(f"classifier: {(net.read(test)[1] == truth).mean():.4f} on the test part")
    for seed in asked.seeds:
        began = clock()
        model = em.ConditionalGAN(**length(asked), random_state=seed).fit(X, y)
        took = since(began)
        labels = np.arange(60_000) % 10
        made = model.sample(60_000, condition=labels, seed=seed)
        agreement = (net.read(made)[1] == labels).mean()
        learnt = (reader(made[..., 0], labels).read(test)[1] == truth).mean()
        print(f"seed {seed}: agreement {agreement:.4f}, learnt {learnt:.4f}, {distances(net, X, test, made)}; "
              f"{model.history_.steps} steps, {took}", *model.history_.notes, flush=True)  # fmt: skip
        sheet(made[:100], asked, f"conditional-{seed}")


def distances(net: Reader, X: np.ndarray, test: np.ndarray, made: np.ndarray) -> str:
    n = min(JUDGED, len(made), len(test))
    a, b, c = net.read(test[:n])[0], net.read(made[:n])[0], net.read(X[:n])[0]
    near = neighborhoods(a, b)
    few = ", ".join(f"{k} {v:.3f}" for k, v in near.items())
    return f"Frechet {frechet(a, b):.2f} (real {frechet(a, c):.2f}), {few}"


def images(asked: argparse.Namespace, pyramid: bool = False) -> None:
    X, y, test, _ = mnist(asked.folder, asked.validate)
    if pyramid:
        X, test = (np.pad(x, ((0, 0), (2, 2), (2, 2))) for x in (X, test))
    inner = slice(2, 30) if pyramid else slice(None)
    net = reader(X[:, inner, inner], y)

    def told(made: np.ndarray) -> str:
        made = made.reshape(len(made), *X.shape[1:])
        return distances(net, X[:, inner, inner], test[:, inner, inner], made[:, inner, inner])

    for seed in asked.seeds:
        models = [getattr(em, name) for name in asked.models] if pyramid else [em.DCGAN]
        for kind in models:
            began = clock()
            model = kind(**length(asked), random_state=seed).fit(X)
            took, asked.cpu = since(began), time.process_time() - began[1]
            made = model.sample(JUDGED, seed=seed)
            print(f"{kind.__name__} seed {seed}: {told(made)}; {model.history_.steps} steps, {took}",
                  *model.history_.notes, flush=True)  # fmt: skip
            sheet(made[:100], asked, f"{kind.__name__.lower()}-{seed}")
        if asked.plain and not pyramid:
            began = clock()
            net2, steps = tutorial_images(X, seed, asked)
            took = since(began)
            with torch.no_grad():
                noise = torch.randn(JUDGED, 100, generator=torch.Generator().manual_seed(seed))
                made = torch.cat([net2(z) for z in noise.split(500)]).numpy()
            made = np.rint(made[:, 0] * 127.5 + 127.5).astype(np.uint8)
            print(f"tutorial seed {seed}: {told(made)}; {steps} steps, {took}", flush=True)
            sheet(made[:100, ..., None], asked, f"tutorial-{seed}")


def tutorial_images(X: np.ndarray, seed: int, asked: argparse.Namespace) -> tuple[nn.Module, int]:
    """The DCGAN that tutorials show, at our number of channels."""
    torch.manual_seed(seed)
    maker = nn.Sequential(
        *(nn.Linear(100, 64 * 49), nn.Unflatten(1, (64, 7, 7)), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh()),
    )
    critic = nn.Sequential(
        *(nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
        *(nn.Flatten(), nn.Linear(64 * 49, 1)),
    )
    for module in [*maker.modules(), *critic.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
    rows = torch.from_numpy(X[:, None].astype(np.float32)) / 127.5 - 1
    return plain_game(maker, critic, rows, 64, 100, asked)


def sheet(made: np.ndarray, asked: argparse.Namespace, name: str) -> None:
    """100 samples as one PNG in the folder --out."""
    if asked.out is None:
        return
    from PIL import Image

    h, w, c = made.shape[1:]
    whole = made.reshape(10, 10, h, w, c).transpose(0, 2, 1, 3, 4).reshape(10 * h, 10 * w, c)
    Image.fromarray(whole[..., 0] if c == 1 else whole).resize((20 * w, 20 * h)).save(asked.out / f"{name}.png")


def length(asked: argparse.Namespace) -> dict[str, Any]:
    extra = dict(pair.split("=") for pair in asked.set)
    made = {k: float(v) if "." in v or "e" in v else int(v) if v.isdigit() else v for k, v in extra.items()}
    return {**made, **({"steps": asked.steps} if asked.steps else {"budget": asked.seconds})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("grid", "stacked", "conditional", "images", "pyramid"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--latent")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of our model")
    parser.add_argument("--models", nargs="+", default=["LAPGAN", "DCGAN"], help="of pyramid")
    parser.add_argument("--no-plain", dest="plain", action="store_false", help="without the tutorial's GAN")
    parser.add_argument("--validate", action="store_true", help="judge against held-out training images")
    parser.add_argument("--out", type=Path, help="folder for sheets of samples")
    asked = parser.parse_args()
    asked.seconds = asked.seconds or (60.0 if asked.what == "grid" else 600.0)
    if asked.what == "pyramid":
        images(asked, pyramid=True)
    else:
        {"grid": grid, "stacked": stacked, "conditional": conditional, "images": images}[asked.what](asked)


if __name__ == "__main__":
    main()
