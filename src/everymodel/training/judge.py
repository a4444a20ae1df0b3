"""Features in which made images are held against real ones, without anything downloaded.

    judge = Judge(images, labels, seed=0)       # a small network that learnt the classes of the training images
    judge.features(others), judge.classify(others), judge.record

Without classes the same network keeps its random weights, which follow from the seed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import DataError
from everymodel.core.seeds import derive
from everymodel.training.loop import Plan, train
from everymodel.training.objective import Losses, Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Endless

SIDE, FEATURES = 32, 64  # pixels to which larger images are brought; numbers of an image
_STEPS, _BATCH, _AT_ONCE = 400, 128, 512
_WIDTHS = (24, 48, 48)


class Judge:
    """A small convolutional network over bytes (n, h, w, c), trained to tell classes or left as it was drawn.

    Parameters
    ----------
    images : (n, h, w, c) bytes, real training images; features are centred and scaled by them.
    labels : (n,) their classes; None: random weights.
    steps : of training, 128 images each. seed : of weights and orders.
    budget : seconds after which it is done with fewer steps; its record tells how many.
    threads : of the CPU while it learns; None leaves them.

    Attributes
    ----------
    classes : (k,) sorted labels, None without.
    record : what it is: architecture, seed, steps, SHA-256 of the weights, so that figures can be compared later.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Any = None,
        *,
        steps: int = _STEPS,
        seed: int = 0,
        budget: float | None = None,
        threads: int | None = None,
    ):
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) < 2:
            raise DataError(f"Images of shape {images.shape} came; expected bytes (n, h, w, c), 2 or more.")
        self.classes = None
        codes = None
        if labels is not None:
            self.classes, codes = np.unique(np.asarray(labels), return_inverse=True)
            if len(codes) != len(images):
                raise DataError(f"{len(codes)} labels came for {len(images)} images; expected one for each.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "judge"))
            self.net = _network(images.shape[3], 0 if self.classes is None else len(self.classes))
        if codes is not None and len(self.classes) > 1:  # type: ignore[arg-type]
            adam = Optimizer("adam", 3e-3)
            plan = Plan(1, adam, "one_cycle", channels_last=True, budget=budget, seed=seed, threads=threads)
            source = Endless(_tensor(images), torch.from_numpy(codes.reshape(-1)), batch=_BATCH, count=max(steps, 1))
            steps = train(_Told(net=self.net), source, plan).steps
        self.net.eval()
        self.centre, self.spread = np.zeros(FEATURES), np.ones(FEATURES)
        few = images[:: max(len(images) // 5000, 1)]
        seen = self.features(few)
        spread = seen.std(axis=0)
        self.centre, self.spread = seen.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        self.record: dict[str, Any] = {
            "network": f"convolutions {_WIDTHS}, {FEATURES} features, on {SIDE} pixels at most",
            "trained_on": "random weights" if self.classes is None else f"{len(self.classes)} classes",
            "steps": 0 if self.classes is None else int(steps),
            "seed": int(seed),
            "sha256": self._hash(),
        }

    def features(self, images: np.ndarray) -> np.ndarray:
        """(n, 64) numbers of images (n, h, w, c), centred and scaled as those of the training images."""
        return (self._run(images, self.net[:-1]) - self.centre) / self.spread

    def classify(self, images: np.ndarray) -> np.ndarray:
        """(n,) the class of each image."""
        if self.classes is None:
            raise DataError("This judge knows no classes: give it labels.")
        return self.classes[self._run(images, self.net).argmax(axis=1)]

    def _run(self, images: np.ndarray, net: nn.Module) -> np.ndarray:
        images = np.asarray(images)
        with torch.no_grad():
            parts = [net(_tensor(images[i : i + _AT_ONCE])).numpy() for i in range(0, len(images), _AT_ONCE)]
        return np.concatenate(parts).astype(np.float64)

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for name, weights in self.net.state_dict().items():
            digest.update(name.encode() + np.ascontiguousarray(weights.numpy()).tobytes())
        return digest.hexdigest()


class _Told(Objective):
    """Cross-entropy of the classes."""

    def step(self, nets: Any, batch: Any) -> Losses:
        return {"net": F.cross_entropy(nets["net"](batch[0]), batch[1])}


class _Small(nn.Module):
    """Bytes (b, c, h, w) as -1 to 1, brought to at most SIDE pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float() / 127.5 - 1.0
        scale = SIDE / max(x.shape[-2:])
        if scale < 1:
            size = [max(round(s * scale), 1) for s in x.shape[-2:]]
            x = F.interpolate(x, size=size, mode="area")
        return x


def _network(channels: int, classes: int) -> nn.Sequential:
    """Images to FEATURES numbers; the last part, of classes, is separate."""
    a, b, c = _WIDTHS
    body: list[nn.Module] = [_Small()]
    for before, after, stride in ((channels, a, 2), (a, b, 2), (b, c, 1)):
        body += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.1)]
    body += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * c, FEATURES), nn.LeakyReLU(0.1)]
    return nn.Sequential(*body, nn.Linear(FEATURES, max(classes, 1)))


def _tensor(images: np.ndarray) -> torch.Tensor:
    """Bytes (n, c, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
