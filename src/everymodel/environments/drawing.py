"""Pictures of environments by Pillow: drawn at double size and brought down, so that edges are smooth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymodel.core.errors import CapabilityError

Color = tuple[int, int, int]
WHITE, GREY, DARK, BLUE, WARM, GREEN, RED, ICE, WATER, SAND = (
    *((255, 255, 255), (200, 204, 210), (44, 52, 64), (48, 99, 142), (214, 128, 60)),
    *((60, 146, 96), (190, 66, 66), (226, 238, 245), (36, 70, 104), (240, 232, 214)),
)
_FINE = 2


class Canvas:
    """A picture of `width` by `height` points, counted from the upper left."""

    def __init__(self, width: int, height: int, color: Color = WHITE):
        try:
            from PIL import Image, ImageDraw
        except ImportError as error:
            raise CapabilityError("Pictures need the package pillow: pip install pillow") from error
        self.size = (width, height)
        self.image = Image.new("RGB", (width * _FINE, height * _FINE), color)
        self.pen = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[tuple[float, float]], color: Color, width: float = 1) -> None:
        """Through points, with round ends."""
        fine = [(x * _FINE, y * _FINE) for x, y in points]
        self.pen.line(fine, color, round(width * _FINE), "curve")
        if width > 2:
            for x, y in (points[0], points[-1]):
                self.disc(x, y, width / 2, color)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        sides = (x - radius, y - radius, x + radius, y + radius)
        self.pen.ellipse([v * _FINE for v in sides], color)

    def box(self, left: float, top: float, right: float, bottom: float, color: Color, round_by: float = 0) -> None:
        self.pen.rounded_rectangle([v * _FINE for v in (left, top, right, bottom)], round_by * _FINE, color)

    def polygon(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        self.pen.polygon([(x * _FINE, y * _FINE) for x, y in points], color)

    def array(self) -> np.ndarray:
        """(height, width, 3) bytes."""
        from PIL import Image

        return np.asarray(self.image.resize(self.size, Image.Resampling.BOX))
