"""Plumbing of networks that answer places of images: what comes in, the fit of a U-Net, maps in torch and numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from everymodel.core.errors import DataError
from everymodel.core.finding import Finding
from everymodel.models.neural import _images
from everymodel.scoring import images
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks import written
from everymodel.training.blocks.convolution import Pixels, UNet
from everymodel.training.estimator import NetworkEstimator, set_aside
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays


class Pixelwise(NetworkEstimator):
    """What segmentation and detection share. Images of one fit have one size; answers are for images of any size."""

    _stride = 1

    def _images(self, X: Any, learn: bool = False) -> np.ndarray:
        """Images (n, h, w, c) of one size; lists of different sizes are resized when learning."""
        if learn:
            self.findings_: list[Finding] = []
        if _images.is_cells(X):
            cells = _images.listed(X)
            form = None if learn else self.form_
            x, form, found = _images.read_cells(cells, form, 2)
            self.findings_ += found if learn else []
        else:
            x, form = _images.as_array(X, 2)
            if x.dtype.kind == "f" and not np.isfinite(x).all():
                raise DataError("The images hold missing or infinite numbers. Replace them.")
            if not learn and x.shape[-1] != self.form_.shape[-1]:
                raise DataError(f"Images with {x.shape[-1]} channels came; the network knows {self.form_.shape[-1]}.")
        if learn:
            self.form_ = form
            self.n_features_in_ = int(np.prod(form.shape))
        return x

    def _sides(self, X: Any) -> list[tuple[int, int]] | None:
        """(height, width) of each image before it was resized; None where none was."""
        if not _images.is_cells(X):
            return None
        return [images.pixels(cell).shape[:2] for cell in _images.listed(X)]

    def _learn(
        self,
        x: np.ndarray,
        goals: np.ndarray,
        outputs: int,
        objective: Callable[[UNet], Objective],
        augment: Any,
        valid: tuple[np.ndarray, np.ndarray] | None,
        stop: Callable[[], bool] | None,
        threads: int | None,
    ) -> Any:
        rows = np.arange(len(x))
        if valid is None and self.validation_fraction and len(x) > 1:
            rows, aside = set_aside(len(x), self.validation_fraction, np.random.default_rng(self.seed_))
            valid = x[aside], goals[aside]
        flat = x[rows][:500].reshape(-1, x.shape[-1]).astype(np.float64)
        spread = flat.std(axis=0)
        spread = np.where(spread > 1e-6 * (1 + np.abs(flat.mean(axis=0))), spread, 1.0)
        levels = self.levels or min(max(round(math.log2(min(x.shape[1:3]) / self._stride / 6)), 1), 4)
        widths = tuple(self.width * 2 ** min(i, 3) for i in range(levels + 1))
        with self._initial():
            front = Pixels(flat.mean(axis=0), spread, None)
            self.net_ = UNet(front, x.shape[-1], widths, outputs, stride=self._stride)
            self._start(self.net_)
        batch = self.batch_size or min(max(2 ** round(math.log2(max(len(rows) / 16, 1))), 4), 32)
        source = Arrays(
            torch.tensor(x[rows]),
            torch.tensor(goals[rows]),
            batch=batch,
            drop_last=len(rows) > batch,
            augment=augment,
        )
        checked = None if valid is None else Arrays(*(torch.tensor(part) for part in valid), batch=batch)
        self._train(
            *(objective(self.net_), source),
            valid=checked,
            stop=stop,
            threads=threads,
            epochs=self.epochs or min(max(math.ceil(1200 * batch / len(rows) / 4), 10), 120),
            optimizers=Optimizer(self.optimizer, self.learning_rate, self.weight_decay, aside=0.1),
            clip=None if self.optimizer == "muon" else 5.0,
            channels_last=True,
            precision="auto",
        )
        self.net_.cpu()
        self.history_.notes += [finding.message for finding in self.findings_]
        return self

    def _start(self, net: UNet) -> None:
        """Where the last layer begins."""

    def _maps(self, x: np.ndarray) -> np.ndarray:
        """(n, h', w', outputs) of the network, by torch; the packed step says the same in numpy."""
        check_is_fitted(self, "net_")
        net, size = self.net_.eval(), max(1, (1 << 20) // int(np.prod(x.shape[1:3])))
        with torch.no_grad():
            parts = [
                net(torch.tensor(np.ascontiguousarray(x[i : i + size]))).movedim(1, -1).numpy()
                for i in range(0, len(x), size)
            ]
        return np.concatenate(parts)

    def step(self) -> Network:
        """The fitted network as a scoring step: images (n, h, w, c) -> maps (n, h', w', outputs)."""
        check_is_fitted(self, "net_")
        return Network(written(self.net_), gives="value", squeeze=False)


def moved(x: torch.Tensor, generator: torch.Generator, reach: int, mirror: bool) -> tuple[torch.Tensor, Any, Any]:
    """A batch (b, h, w, c) moved by up to `reach` and mirrored; the moves (b, 2) down and right; who is mirrored.

    Places beyond the edge continue it.
    """
    b, h, w = x.shape[:3]
    device = x.device
    moves = torch.randint(-reach, reach + 1, (b, 2), generator=generator, device=device)
    turned = torch.rand(b, generator=generator, device=device) < (0.5 if mirror else 0.0)
    rows = (torch.arange(h, device=device) + moves[:, :1]).clamp(0, h - 1)
    columns = (torch.arange(w, device=device) + moves[:, 1:]).clamp(0, w - 1)
    columns = torch.where(turned[:, None], columns.flip(1), columns)
    x = x[torch.arange(b, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return x, moves, turned
