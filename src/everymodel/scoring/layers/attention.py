"""Windows of series as steps, attention, and decoders that write sequences, in numpy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.layers.recurrence import Padded


@layer("window_steps")
class WindowSteps(Layer):
    """Windows (b, T) as padded steps ((b, T, 1), lengths), all of one length."""

    formula: ClassVar[str] = "a_t = x_t"

    def __call__(self, x: np.ndarray) -> Padded:
        return x[:, :, None], np.full(len(x), x.shape[1], dtype=np.int64)
