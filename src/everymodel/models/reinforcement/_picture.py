"""How agents see images: convolutions before the first dense layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from everymodel.scoring.spaces import Space
from everymodel.training.blocks.convolution import Pixels

_LARGE, _SMALL = 36, 8  # shorter sides from which on, and up to which, windows are wide, and no more are needed


class Picture(nn.Sequential):
    """Bytes (b, h, w, c) over their largest, then strided convolutions until the shorter side is short: (b, width).

    The first window is 8 points wide and moves by 4 where images are large (Mnih et al. 2015); all others are 3 wide
    and move by 2.

    Parameters
    ----------
    filters : of the first convolution; the others have twice as many.
    """

    def __init__(self, sees: Space, filters: int):
        h, w, inputs = sees.form
        top = max(float(sees.bounds()[1].max()), 1.0)
        layers: list[nn.Module] = [Pixels(np.zeros(inputs), np.full(inputs, top), (h, w))]
        while len(layers) == 1 or min(h, w) > _SMALL:
            large = len(layers) == 1 and min(h, w) >= _LARGE
            size, stride, around = (8, 4, 0) if large else (3, 2, 1)
            outputs = filters if len(layers) == 1 else 2 * filters
            made = nn.Conv2d(inputs, outputs, size, stride, around)
            nn.init.orthogonal_(made.weight, 2**0.5)
            assert made.bias is not None
            nn.init.zeros_(made.bias)
            layers += [made, nn.ReLU()]
            h, w, inputs = (h + 2 * around - size) // stride + 1, (w + 2 * around - size) // stride + 1, outputs
        super().__init__(*layers, nn.Flatten())
        self.width = h * w * inputs

    def follow(self, *ignored: Any) -> None:
        """The scale of bytes is known: it follows nothing that is seen."""
