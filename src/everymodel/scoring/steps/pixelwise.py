"""What a network says of every place of an image: masks and things are made of it (scoring.pixelwise)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.scoring.images import fit_to
from everymodel.scoring.steps.base import need, step
from everymodel.scoring.steps.network import Network

Places = tuple[np.ndarray, tuple[int, int]]
PIXELS = 1 << 17  # answered at once; a network keeps some hundred numbers for each
MOST = 1 << 22  # pixels of one image that is not resized


@step("pixelwise", output="maps")
class Pixelwise(Network):
    """Images (n, h, w, c), or (n,) objects (h, w, c) -> for each (maps (h', w', k), its (height, width)).

    channels : that the network takes; grey and colour become each other.
    stride : by which maps are smaller than what the network sees.
    sides : (height, width) that images are resized to; None: each is answered in its own size.
    """

    channels: int = 1
    stride: int = 1
    sides: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", "maps")

    def __call__(self, x: Any) -> list[Places]:
        return answered(list(x), self.channels, self.sides, self.root())

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = super().spec()
        own = {"channels": self.channels, "stride": self.stride}
        return settings | own | ({} if self.sides is None else {"sides": list(self.sides)}), arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Pixelwise:
        settings = dict(settings)
        own: dict[str, Any] = {k: settings.pop(k) for k in ("channels", "stride", "sides") if k in settings}
        if isinstance(own.get("sides"), list):
            own["sides"] = tuple(own["sides"])
        plain = Network.build(settings, arrays)
        made = cls(**{f.name: getattr(plain, f.name) for f in fields(plain)}, **own)  # type: ignore[arg-type]
        made.check()
        return made

    def check(self) -> None:
        Network.check(self)
        need(self.gives == "value" and self.places is None, "a network of places is described wrongly")
        need(self.channels in (1, 3) and type(self.stride) is int and 0 < self.stride <= 64, "images are told wrongly")
        if self.sides is not None:
            whole = isinstance(self.sides, tuple) and all(type(s) is int and 0 < s <= 16_384 for s in self.sides)
            need(whole and len(self.sides) == 2 and np.prod(self.sides) <= MOST, "the size of images is told wrongly")


def answered(
    images: Sequence[np.ndarray],
    channels: int,
    sides: tuple[int, int] | None,
    network: Callable[[np.ndarray], np.ndarray],
) -> list[Places]:
    """(maps, (height, width)) of each image (h, w, c), by `network` (n, h, w, c) -> (n, h', w', k); alike ones at once.

    Raises
    ------
    DataError
        for an image with more than MOST pixels that is not resized.
    """
    told: list[tuple[int, int]] = []
    alike: dict[tuple[Any, ...], list[int]] = {}
    seen: list[np.ndarray] = []
    for row, image in enumerate(images):
        h, w = image.shape[:2]
        told.append((h, w))
        if sides is None and h * w > MOST:
            raise DataError(
                f"The image in row {row} has {h} x {w} pixels; at most {MOST:,} are answered at once. Cut it in parts."
            )
        wanted = (*(sides or (h, w)), channels)
        seen.append(image if image.shape == wanted else fit_to(image, wanted))
        alike.setdefault((wanted, seen[-1].dtype), []).append(row)
    made: list[Any] = [None] * len(seen)
    for (shape, _), rows in alike.items():
        size = max(1, PIXELS // (shape[0] * shape[1]))
        for low in range(0, len(rows), size):
            part = rows[low : low + size]
            maps = network(np.stack([seen[row] for row in part]))
            need(maps.ndim == 4 and len(maps) == len(part), "the network does not answer places")
            for row, own in zip(part, maps, strict=True):
                made[row] = (own, told[row])
    return made
