"""Plumbing of networks that answer places of images: what comes in, the fit of a U-Net, maps in torch and numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from everymodel.core.errors import DataError, PackError
from everymodel.core.finding import Finding
from everymodel.models.neural import _images
from everymodel.scoring import images
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.pixelwise import Pixelwise as _Step
from everymodel.scoring.steps.pixelwise import Places, answered
from everymodel.training.blocks import written
from everymodel.training.blocks.convolution import Pixels, UNet
from everymodel.training.estimator import NetworkEstimator, set_aside
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays

_KEPT = 512  # pixels on the longer side of images of one size, up to which a list of them is not resized


class Pixelwise(NetworkEstimator):
    """What segmentation and detection share.

    A network sees images in one size where those of its fit differed, else each in its own. One that learnt from
    numbers between 0 and 1 understands bytes too.
    """

    _stride = 1

    def __init__(
        self,
        width: int = 16,
        levels: int | None = None,
        augment: str = "shift",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.02,
        weight_decay: float = 0.01,
        optimizer: str = "muon",
        schedule: str = "triangle",
        patience: int | None = None,
        validation_fraction: float = 0.0,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.width = width
        self.levels = levels
        self.augment = augment
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    # --- what comes in ---

    def _learnt(self, X: Any) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Images (n, h, w, c) of one size to learn from, and the (height, width) of each before; the form is kept."""
        self.findings_: list[Finding] = []
        self.sides_: tuple[int, int] | None = None
        self.unit_: float | None = 1.0
        if not _images.is_cells(X):
            x, self.form_ = _images.as_array(X, 2)
            _finite(x)
            if x.dtype != np.uint8:
                low, high = float(x.min(initial=0)), float(x.max(initial=0))
                bytes_ = low >= 0 and high <= 255 and bool((x[:100] == np.rint(x[:100])).all())
                self.unit_ = 1 / 255 if low >= 0 and high <= 1 else 1.0 if bytes_ else None
            self.n_features_in_ = int(np.prod(self.form_.shape))
            return x, [x.shape[1:3]] * len(x)
        own = self._cells(X)
        shape, mixed = images.common_shape(own, keep=_KEPT)
        self.form_ = _images.Form(shape, True)
        if any(image.shape[:2] != shape[:2] for image in own):
            self.sides_ = shape[:2]
            how = "of different sizes " if mixed else ""
            text = f"Images {how}were resized to {shape[0]} x {shape[1]} pixels; so are those that are answered."
            self.findings_.append(Finding("images-resized", "info", text, "Crop them alike if small things matter."))
        self.n_features_in_ = int(np.prod(shape))
        return np.stack([images.fit_to(image, shape) for image in own]), [image.shape[:2] for image in own]

    def _cells(self, X: Any) -> list[np.ndarray]:
        """The images (h, w, c) of bytes in a list of any form."""
        made = []
        for row, cell in enumerate(_images.listed(X)):
            try:
                made.append(images.pixels(cell))
            except images.ImageCellError as error:
                raise DataError(
                    f"The image in row {row} cannot be read: {error}. Remove it, or put it right."
                ) from error
        return made

    def _seen(self, X: Any) -> list[np.ndarray]:
        """Images (h, w, c) in the numbers that the network knows."""
        check_is_fitted(self, "net_")
        if _images.is_cells(X):
            own = self._cells(X)
            own = [images.fit_to(image, (*image.shape[:2], self.form_.shape[-1])) for image in own]
        else:
            x, _ = _images.as_array(X, 2)
            _finite(x)
            if x.shape[-1] != self.form_.shape[-1]:
                raise DataError(f"Images with {x.shape[-1]} channels came; the network knows {self.form_.shape[-1]}.")
            own = list(x) if self.sides_ is None else [images.pixels(image) for image in x]
        if not own:
            raise DataError("There is no image to answer: 0 came.")
        return own

    def _fitting(self, X: Any) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Images to be judged by, in one size, and the (height, width) of each before."""
        if not _images.is_cells(X):
            x, _ = _images.as_array(X, 2)
            return x, [x.shape[1:3]] * len(x)
        own = self._cells(X)
        return np.stack([images.fit_to(i, self.form_.shape) for i in own]), [i.shape[:2] for i in own]

    @staticmethod
    def _like(X: Any, made: list[np.ndarray]) -> Any:
        """A list for a list of images, an array for an array."""
        return made if _images.is_cells(X) else np.stack(made)

    # --- the fit ---

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

    # --- answers ---

    def maps(self, X: Any) -> list[Places]:
        """(maps (h', w', outputs), (height, width)) of each image, by torch; the packed step says the same in numpy."""
        seen = self._seen(X)
        net = self.net_.eval()

        def run(x: np.ndarray) -> np.ndarray:
            if x.dtype == np.uint8 and self.unit_ not in (1.0, None):
                x = x.astype(np.float32) * np.float32(self.unit_)
            with torch.no_grad():
                return net(torch.tensor(np.ascontiguousarray(x))).movedim(1, -1).numpy()

        return answered(seen, self.form_.shape[-1], self.sides_, run)

    def step(self) -> Step:
        """The fitted network as a scoring step: images of bytes -> maps; see `scoring.steps.pixelwise`."""
        check_is_fitted(self, "net_")
        if self.unit_ is None:
            raise PackError(
                "The network learnt from numbers that no image file holds, so it cannot be written down: fit it on "
                "bytes (0 to 255) or on numbers from 0 to 1."
            )
        root = written(self.net_)
        front = root.layers[0]  # type: ignore[attr-defined]
        front.scale = front.scale * np.float32(self.unit_)
        return _Step(root, squeeze=False, channels=self.form_.shape[-1], stride=self._stride, sides=self.sides_)


def _finite(x: np.ndarray) -> None:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataError("The images hold missing or infinite numbers. Replace them.")


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
