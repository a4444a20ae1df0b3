"""A network that finds things in images: where their centres are, and how large they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from everymodel.core.errors import DataError, TargetError
from everymodel.models.neural._hooks import fit
from everymodel.models.neural._pixelwise import Pixelwise, moved
from everymodel.scoring.pixelwise import average_precision, things
from everymodel.scoring.steps.base import Step
from everymodel.training.blocks.convolution import UNet
from everymodel.training.objective import Objective

__all__ = ["DetectionNetwork", "fit", "pack"]

CARD = {
    "name": "detection",
    "title": "Detection network (centre points)",
    "summary": "Finds things in an image: a box, a label and a score for each.",
    "choose": "How many there are, and where: parts on a belt, birds in the sky, digits on a meter.",
    "avoid": "Outlines are wanted, or a label for the whole image is enough.",
    "gives": ["scores"],
    "needs": {"inputs": "image", "package": "torch"},
    "cost": {"scale": 0.5, "rows_power": 0.8, "columns_power": 0.5},
    "references": [
        "Zhou, Wang and Krähenbühl (2019), Objects as points. arXiv 1904.07850.",
        "Lin et al. (2017), Focal loss for dense object detection. ICCV.",
    ],
    "advice": ["images", "slow"],
    "parameters": {
        "width": {
            "type": "int",
            "default": 24,
            "low": 1,
            "high": 512,
            "log": True,
            "tune": False,
            "text": "Channels at half size, doubled with each further halving of the sides.",
        },
        "levels": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 6,
            "tune": False,
            "text": "How often the sides are halved beyond that; none: by the size of the images.",
        },
        "augment": {
            "type": "choice",
            "default": "shift",
            "choices": ["none", "shift", "mirror"],
            "tune": False,
            "text": "Learn from moved copies too, or from moved and mirrored ones.",
        },
        "threshold": {
            "type": "float",
            "default": 0.3,
            "low": 0.0,
            "high": 1.0,
            "tune": False,
            "text": "Score above which a thing counts as found.",
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
        "locator": {
            "class": "everymodel.models.neural.detection:DetectionNetwork",
            "tasks": ["locate"],
            "tiny": [{"width": 12, "levels": 2, "epochs": 24, "batch_size": 8, "random_state": 0}],
        },
    },
}
_PRIOR = 0.02  # chance of a centre before anything is learnt


class DetectionNetwork(Pixelwise):
    """Finds things as points: a U-Net at half size answers, for each place, whether the centre of a thing of each class
    lies there, how large it is, and where in the cell its centre is.

    Centres are the peaks of the heat maps (no neighbour is higher), so nothing found twice has to be thrown away. The
    loss is a focal one for the heat maps, with a soft hill around each centre, and absolute differences for the rest.

    Parameters
    ----------
    width, levels : the network; augment : the learning; threshold : score above which a thing counts as found.
    The others are as of all networks (see the card).

    Attributes
    ----------
    net_ : torch.nn.Module; classes_ : (k,) labels; form_ : shape of the images; history_; findings_.

    Errors
    ------
    TargetError for boxes that are empty or lie outside of their image; DataError for images that cannot be read.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((60, 16, 16)).astype("float32") * 0.3
    >>> y = []
    >>> for image in X:
    ...     left, top = rng.integers(0, 10, 2)
    ...     image[top : top + 6, left : left + 6] += 0.7
    ...     y.append({"boxes": [[left, top, left + 6, top + 6]], "labels": ["square"]})
    >>> model = DetectionNetwork(width=16, levels=1, epochs=30, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.8)
    True
    """

    _stride = 2

    def __init__(
        self,
        width: int = 24,
        levels: int | None = None,
        augment: str = "shift",
        threshold: float = 0.3,
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
        self.threshold = threshold

    def fit(self, X: Any, y: Any) -> DetectionNetwork:
        """Learn from images X (n, h, w) or (n, h, w, c), or a list in any form, and the things in each.

        y : for each image {"boxes": (m, 4) of left, top, right, bottom in pixels, "labels": (m,)}; m may be 0.
        """
        return self.train(X, y)

    def train(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> DetectionNetwork:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        x, sides = self._learnt(X)
        true = self._things(y, x, sides)
        labels = [label for _, own in true for label in own]
        if not labels:
            raise TargetError("There is nothing to find: no image has a box.")
        self.classes_ = np.unique(np.asarray(labels))
        self._seed()
        held = None
        if valid is not None and len(valid[0]):
            other, own = self._fitting(valid[0])
            held = other, self._table(self._things(valid[1], other, own))
        mirror, reach = self.augment == "mirror", max(min(x.shape[1:3]) // 14, 1)

        def augmented(batch: Any, generator: torch.Generator) -> Any:
            seen, moves, turned = moved(batch[0], generator, reach, mirror)
            boxes = batch[1].clone()  # (b, m, 5): code or -1, then left, top, right, bottom
            wide = seen.shape[2]
            boxes[..., 1::2] -= moves[:, 1, None, None]
            boxes[..., 2::2] -= moves[:, 0, None, None]
            other = torch.stack([boxes[..., 0], wide - boxes[..., 3], boxes[..., 2], wide - boxes[..., 1],
                                 boxes[..., 4]], dim=-1)  # fmt: skip
            return seen, torch.where(turned[:, None, None], other, boxes)

        k = len(self.classes_)
        return self._learn(
            *(x, self._table(true), k + 4, lambda net: _Points(net, k, self._stride)),
            *(None if self.augment == "none" else augmented, held, stop, threads),
        )

    def _start(self, net: UNet) -> None:
        with torch.no_grad():
            net.last.bias.zero_()
            net.last.bias[: len(self.classes_)] = float(np.log(_PRIOR / (1 - _PRIOR)))

    def _things(self, y: Any, x: np.ndarray, sides: list[tuple[int, int]]) -> list[tuple[np.ndarray, Sequence[Any]]]:
        """(boxes (m, 4) in pixels of the resized image, labels) of each image."""
        if y is None or len(y) != len(x):
            raise TargetError(
                f"There are {len(x)} images and {0 if y is None else len(y)} entries of y; give one each."
            )
        made = []
        for row, told in enumerate(y):
            try:
                boxes, labels = np.asarray(told["boxes"], dtype=np.float64).reshape(-1, 4), list(told["labels"])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise TargetError(f'y[{row}] must be {{"boxes": (m, 4) numbers, "labels": m labels}}.') from error
            h, w = sides[row]
            empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1) if len(boxes) else np.zeros(0, bool)
            middle = (boxes[:, :2] + boxes[:, 2:]) / 2
            outside = ((middle < 0) | (middle >= (w, h))).any(axis=1)
            if len(boxes) != len(labels) or not np.isfinite(boxes).all() or (empty | outside).any():
                raise TargetError(
                    f"y[{row}] has {len(boxes)} boxes, {len(labels)} labels, {int(empty.sum())} empty boxes and "
                    f"{int(outside.sum())} outside of the image ({h} x {w}); boxes are left, top, right, bottom."
                )
            scale = np.array([x.shape[2] / w, x.shape[1] / h] * 2)
            made.append((boxes * scale, labels))
        return made

    def _table(self, true: list[tuple[np.ndarray, Sequence[Any]]]) -> np.ndarray:
        """(n, most, 5) float32: code of the label (-1 where there is no thing), left, top, right, bottom."""
        most = max(1, *(len(labels) for _, labels in true))
        made = np.full((len(true), most, 5), -1.0, dtype=np.float32)
        for row, (boxes, labels) in enumerate(true):
            if len(labels):
                own = np.asarray(labels)
                place = np.clip(np.searchsorted(self.classes_, own), 0, len(self.classes_) - 1)
                made[row, : len(own), 0] = np.where(self.classes_[place] == own, place, -1)
                made[row, : len(own), 1:] = boxes
        return made

    def predict(self, X: Any) -> list[dict[str, np.ndarray]]:
        """For each image {"boxes": (m, 4), "labels": (m,), "scores": (m,)}, best first, of scores above `threshold`."""
        return self._found(X, self.threshold)

    def _found(self, X: Any, threshold: float) -> list[dict[str, np.ndarray]]:
        found = things(self.maps(X), self._stride, threshold, self.sides_)
        return [{"boxes": boxes, "labels": self.classes_[codes], "scores": scores} for boxes, codes, scores in found]

    def score(self, X: Any, y: Any, overlap: float = 0.5) -> float:
        """Mean average precision: a thing is found where its box overlaps by `overlap` (intersection over union)."""
        if len(y) != len(X):
            raise DataError(f"There are {len(X)} images and {len(y)} entries of y; give one each.")
        return average_precision(self._found(X, 0.01), y, overlap)


class _Points(Objective):
    """Focal loss of the heat maps; absolute differences of log sizes and of places in the cell, at the centres."""

    falls = True

    def __init__(self, net: UNet, classes: int, stride: int):
        super().__init__(net=net)
        self.classes, self.stride = classes, stride

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        out, things = nets["net"](batch[0]), batch[1]  # (b, k + 4, h, w), (b, m, 5)
        k, (h, w) = self.classes, out.shape[2:]
        size = (things[..., 3:] - things[..., 1:3]).clamp(min=1e-3) / self.stride  # (b, m, 2) wide, high
        centre = (things[..., 1:3] + things[..., 3:]) / 2 / self.stride
        cell = centre.floor()
        inside = (cell >= 0).all(dim=-1) & (cell[..., 0] < w) & (cell[..., 1] < h) & (things[..., 0] >= 0)
        row, thing = inside.nonzero(as_tuple=True)
        code, size, centre, cell = things[row, thing, 0].long(), size[row, thing], centre[row, thing], cell[row, thing]
        # A hill around each centre: being one place off costs little.
        wide = (size / 6).clamp(min=0.5)
        down = (torch.arange(h, device=out.device) - cell[:, 1:]) / wide[:, 1:]  # (t, h)
        across = (torch.arange(w, device=out.device) - cell[:, :1]) / wide[:, :1]
        hills = torch.exp(-0.5 * (down.square()[:, :, None] + across.square()[:, None, :]))  # (t, h, w)
        goal = torch.zeros(len(out) * k, h, w, device=out.device)
        place = (row * k + code)[:, None, None].expand(-1, h, w)
        goal = goal.scatter_reduce(0, place, hills.to(goal.dtype), "amax").view(len(out), k, h, w)
        logits = out[:, :k].float()
        near = goal.ge(0.9999).float()
        p = torch.sigmoid(logits)
        hit = -near * (1 - p).square() * F.logsigmoid(logits)
        miss = -(1 - near) * (1 - goal).pow(4) * p.square() * F.logsigmoid(-logits)
        count = max(len(row), 1)
        loss = (hit + miss).sum() / count
        if len(row):
            at = out[row, k:, cell[:, 1].long(), cell[:, 0].long()].float()  # (t, 4)
            loss = loss + (at[:, :2] - size.log()).abs().sum() / count
            loss = loss + (torch.sigmoid(at[:, 2:]) - (centre - cell)).abs().sum() / count
        return {"net": loss}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: images to maps (h / 2, w / 2, k + 4); see `scoring.pixelwise.peaks`."""
    return model.step()
