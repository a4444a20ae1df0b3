"""A U-Net that says of every pixel what it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from everymodel.core.errors import DataError, TargetError
from everymodel.models.neural._hooks import fit
from everymodel.models.neural._pixelwise import Pixelwise, moved
from everymodel.scoring.pixelwise import masks, nearest, overlap_of_areas, shares
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.convolution import UNet
from everymodel.training.objective import Objective

__all__ = ["SegmentationNetwork", "fit", "pack"]

CARD = {
    "name": "segmentation",
    "title": "Segmentation network (U-Net)",
    "summary": "Says of every pixel of an image which class it belongs to.",
    "choose": "Outlines matter: cells under a microscope, roads from above, defects on a surface.",
    "avoid": "A label for the whole image is enough, or boxes around things are.",
    "gives": ["probabilities"],
    "needs": {"inputs": "image", "package": "torch"},
    "cost": {"scale": 0.5, "rows_power": 0.8, "columns_power": 0.5},
    "references": [
        "Ronneberger, Fischer and Brox (2015), U-Net: convolutional networks for biomedical images. MICCAI.",
        "Milletari, Navab and Ahmadi (2016), V-Net: fully convolutional neural networks for volumetric segmentation.",
    ],
    "advice": ["images", "slow"],
    "parameters": {
        "width": {
            "type": "int",
            "default": 16,
            "low": 1,
            "high": 512,
            "log": True,
            "tune": False,
            "text": "Channels at full size, doubled with each halving of the sides.",
        },
        "levels": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 6,
            "tune": False,
            "text": "How often the sides are halved; none: until about six places are left, at most four times.",
        },
        "augment": {
            "type": "choice",
            "default": "shift",
            "choices": ["none", "shift", "mirror"],
            "tune": False,
            "text": "Learn from moved copies too, or from moved and mirrored ones.",
        },
        "dice": {
            "type": "float",
            "default": 0.5,
            "low": 0.0,
            "high": 1.0,
            "tune": False,
            "text": "Share of the loss that is overlap of areas, in which small classes count like large ones.",
        },
        "epochs": {"default": None, "text": "Passes over the images; none: by their number, from 10 to 120."},
        "batch_size": {"default": None, "text": "Images per step; none: from 4 to 32."},
        "learning_rate": {"default": 0.02},
        "weight_decay": {"default": 0.01},
        "optimizer": {"default": "muon"},
        "schedule": {"default": "triangle"},
        "patience": {},
        "validation_fraction": {"default": 0.0, "text": "Share of the images that choose the best epoch."},
    },
    "classes": {
        "segmenter": {
            "class": "everymodel.models.neural.segmentation:SegmentationNetwork",
            "tasks": ["segment"],
            "tiny": [{"width": 8, "levels": 2, "epochs": 12, "random_state": 0}],
        },
    },
}


class SegmentationNetwork(Pixelwise):
    """A U-Net for masks: down to small maps that see much, up again to every pixel, each size handed across.

    Trained with Muon on cross-entropy and the overlap of areas (soft Dice).

    Parameters
    ----------
    width, levels : the network; augment, dice : the learning; the others as of all networks (see the card).

    Attributes
    ----------
    net_ : torch.nn.Module; classes_ : (k,) whole numbers of the masks; form_ : shape of the images; history_.

    Errors
    ------
    TargetError for masks that do not fit their images; DataError for images that cannot be read.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((40, 16, 16)).astype("float32") * 0.5
    >>> y = np.zeros((40, 16, 16), dtype=int)
    >>> y[:20, 4:9, 5:12] = 1
    >>> X[y == 1] += 0.6
    >>> model = SegmentationNetwork(width=8, epochs=15, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        width: int = 16,
        levels: int | None = None,
        augment: str = "shift",
        dice: float = 0.5,
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
        super().__init__(
            *(width, levels, augment, epochs, batch_size, learning_rate, weight_decay, optimizer, schedule, patience),
            *(validation_fraction, budget, device, checkpoint, random_state, verbose),
        )
        self.dice = dice

    def fit(self, X: Any, y: Any) -> SegmentationNetwork:
        """Learn from images X (n, h, w) or (n, h, w, c), or a list in any form, and masks y (n, h, w) of whole numbers.

        Pixels below zero in y have no label and are left out. Of a list, each mask has the size of its image.
        """
        return self.train(X, y)

    def train(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> SegmentationNetwork:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        x, sides = self._learnt(X)
        masks = self._masks(y, x, sides)
        self.classes_ = np.unique(masks[masks >= 0])
        if not len(self.classes_):
            raise TargetError("No pixel has a label: all masks are below zero.")
        self._seed()
        held = None
        if valid is not None and len(valid[0]):
            other, own = self._fitting(valid[0])
            held = other, self._codes(self._masks(valid[1], other, own))

        def augmented(batch: Any, generator: torch.Generator) -> Any:
            both = torch.cat([batch[0].float(), batch[1][..., None].float()], dim=-1)
            both, _, _ = moved(both, generator, max(min(x.shape[1:3]) // 14, 1), self.augment == "mirror")
            return both[..., :-1], both[..., -1].long()

        k = len(self.classes_)
        return self._learn(
            *(x, self._codes(masks), k, lambda net: _Areas(net, float(self.dice))),
            *(None if self.augment == "none" else augmented, held, stop, threads),
        )

    def _masks(self, y: Any, x: np.ndarray, sides: list[tuple[int, int]]) -> np.ndarray:
        """(n, h, w) whole numbers, in the size of the images."""
        if len(y) != len(x):
            raise TargetError(f"There are {len(x)} images and {len(y)} masks; give one for each image.")
        made = np.empty(x.shape[:3], dtype=np.int64)
        for row, mask in enumerate(y):
            mask = np.asarray(mask)
            wanted = sides[row]
            if mask.shape != tuple(wanted) or mask.dtype.kind not in "iub":
                raise TargetError(
                    f"The mask in row {row} has shape {mask.shape} of {mask.dtype}; its image has {tuple(wanted)}, "
                    "and masks hold whole numbers."
                )
            made[row] = nearest(mask, x.shape[1:3])
        return made

    def _codes(self, masks: np.ndarray) -> np.ndarray:
        place = np.clip(np.searchsorted(self.classes_, masks), 0, len(self.classes_) - 1)
        return np.where(self.classes_[place] == masks, place, -1)

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (n, h, w, k) of each pixel, in the order of classes_; of a list of images a list of these."""
        return self._like(X, shares(self.maps(X)))

    def predict(self, X: Any) -> Any:
        """Masks (n, h, w); of a list of images a list of masks, each in the size of its image."""
        return self._like(X, [self.classes_[mask] for mask in masks(self.maps(X))])

    def score(self, X: Any, y: Any) -> float:
        """Mean intersection over union of the classes that occur in y; pixels below zero do not count."""
        if len(y) != len(X):
            raise DataError(f"There are {len(X)} images and {len(y)} masks; give one each.")
        return overlap_of_areas(list(self.predict(X)), y)["iou"]


class _Areas(Objective):
    """Cross-entropy of pixels, and 1 - the overlap of areas."""

    falls = True

    def __init__(self, net: UNet, dice: float):
        super().__init__(net=net)
        self.dice = dice

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        out, y = nets["net"](batch[0]), batch[1]  # (b, k, h, w), (b, h, w)
        known = (y >= 0).float()
        cost = F.cross_entropy(out, y.clamp(min=0), reduction="none") * known
        loss = cost.sum() / known.sum().clamp(min=1)
        if self.dice:
            share = out.softmax(dim=1) * known[:, None]
            true = F.one_hot(y.clamp(min=0), out.shape[1]).movedim(-1, 1) * known[:, None]
            both, all_ = (share * true).sum(dim=(0, 2, 3)), (share + true).sum(dim=(0, 2, 3))
            here = (true.sum(dim=(0, 2, 3)) > 0).float()
            overlap = ((2 * both + 1) / (all_ + 1) * here).sum() / here.sum().clamp(min=1)
            loss = (1 - self.dice) * loss + self.dice * (1 - overlap)
        return {"net": loss}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: images to scores (h, w, k) of each pixel before the softmax."""
    return model.step()
