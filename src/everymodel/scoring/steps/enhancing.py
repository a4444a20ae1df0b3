"""Larger images for small ones."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.generating import PROOF, Sampler

# Luminance and colour differences of ITU-R BT.601, full range, as in JPEG.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
FROM_YCC = np.linalg.inv(TO_YCC)
MOST = 16_000_000  # pixels of an enlarged image
_TILE, _RIM = 128, 16  # pixels of the small image at once, and around them


@lru_cache(maxsize=64)
def bicubic(source: int, target: int) -> np.ndarray:
    """(target, source) weights of cubic resizing (Keys 1981, a = -1/2); wider where it shrinks, so nothing aliases."""
    scale = max(source / target, 1.0)
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    x = np.abs(np.arange(source)[None, :] - centre[:, None]) / scale
    w = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0.0))
    return w / w.sum(axis=1, keepdims=True)


def resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """(..., h, w) -> (..., height, width) by `bicubic`."""
    rows, columns = bicubic(images.shape[-2], height), bicubic(images.shape[-1], width)
    return rows @ images @ columns.T


@step("enhancer", output="samples")
class Enhancer(Sampler):
    """large = bicubic(small) + network(small), on luminance in 0 to 1; colours are enlarged by bicubic alone.

    network : trained for the least error; vivid : trained further against a critic, of the same form, or None.
    factor : by which both sides grow.
    """

    network: Layer
    factor: int = 4
    vivid: Layer | None = None

    makes: ClassVar[str] = "enhanced"
    _layers: ClassVar[tuple[str, ...]] = ("network", "vivid")

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-4

    def blended(self, fidelity: float) -> Layer:
        """The network whose weights lie between the vivid one (0) and the faithful one (1)."""
        if not isinstance(fidelity, int | float) or not 0 <= fidelity <= 1:
            raise ParameterError(f"fidelity={fidelity!r} came; expected a number from 0 (vivid) to 1 (faithful).")
        if self.vivid is None or fidelity == 1:
            return self.network
        told, faithful = base.write(self.network)
        _, vivid = base.write(self.vivid)
        return base.read(
            told, {k: (fidelity * faithful[k] + (1 - fidelity) * vivid[k]).astype(np.float32) for k in faithful}
        )

    def upscale(self, images: Any, fidelity: float = 0.0) -> list[np.ndarray]:
        """Images (h, w, c) of bytes -> (factor h, factor w, c) of bytes.

        fidelity : 1 for the least error, 0 for the most detail, where the model learnt both.
        """
        network = self.blended(fidelity)
        return [np.rint(np.clip(self.raw(np.asarray(image), network), 0, 255)).astype(np.uint8) for image in images]

    def raw(self, image: np.ndarray, network: Layer) -> np.ndarray:
        """One enlarged image (H, W, c) in floats from 0 to 255, unclipped."""
        if image.ndim != 3 or image.shape[2] not in (1, 3):
            raise DataError(f"An image of shape {image.shape} came; expected (height, width, 1 or 3).")
        h, w, c = image.shape
        if h * w * self.factor**2 > MOST:
            raise DataError(f"{h} x {w} pixels would become more than {MOST:,}: cut the image into parts.")
        x = image.astype(np.float64) / 255.0
        parts = [x[:, :, 0]] if c == 1 else list(np.moveaxis(x @ TO_YCC.T, 2, 0))
        large = [resized(part, h * self.factor, w * self.factor) for part in parts]
        large[0] = large[0] + self.detail(parts[0].astype(np.float32), network)
        made = np.stack(large, axis=2)
        return 255.0 * (made if c == 1 else made @ FROM_YCC.T)

    def detail(self, luminance: np.ndarray, network: Layer) -> np.ndarray:
        """(H, W): what the network adds to the luminance (h, w); large images go in tiles that overlap."""
        h, w = luminance.shape
        f, made = self.factor, np.empty((h * self.factor, w * self.factor))
        wide = np.pad(luminance, _RIM, mode="edge")  # else what networks make of borders shows
        for top in range(0, h, _TILE):
            for left in range(0, w, _TILE):
                rows, columns = min(_TILE, h - top), min(_TILE, w - left)
                tile = wide[top : top + rows + 2 * _RIM, left : left + columns + 2 * _RIM]
                out = network(tile[None, :, :, None])[0, :, :, 0]
                inner = out[_RIM * f : (_RIM + rows) * f, _RIM * f : (_RIM + columns) * f]
                made[top * f : (top + rows) * f, left * f : (left + columns) * f] = inner
        return made

    def draw(self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any) -> Any:
        raise self.cannot("sample", "it makes a larger image for an image. Use upscale")

    def proof(self, seed: int) -> np.ndarray:
        image = np.random.default_rng(seed).integers(0, 256, (8, 8, 1)).astype(np.uint8)
        made = self.raw(image, self.blended(0.5)).reshape(-1)
        return made[:: max(len(made) // PROOF, 1)][:PROOF]

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings: dict[str, Any] = {"factor": self.factor}
        arrays: dict[str, np.ndarray] = {}
        for name in self._layers:
            if getattr(self, name) is not None:
                settings[name], own = base.write(getattr(self, name))
                arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings, used = dict(settings), set()
        for name in cls._layers:
            if name in settings:
                own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"{name}:")}
                used |= {f"{name}:{k}" for k in own}
                settings[name] = base.read(settings[name], own)
        need(used == set(arrays), "an enhancer has arrays that nothing uses")
        return super().build(settings, {})

    def check(self) -> None:
        need(isinstance(self.network, Layer), "an enhancer has no network")
        need(type(self.factor) is int and 2 <= self.factor <= 8, "an enhancer has a wrong factor")
        if self.vivid is not None:
            one, other = base.write(self.network), base.write(self.vivid)
            same = one[0] == other[0] and all(a.shape == other[1][k].shape for k, a in one[1].items())
            need(same, "the two networks of an enhancer differ in form")


def signal_to_noise(a: np.ndarray, b: np.ndarray, rim: int = 0) -> float:
    """Peak signal-to-noise ratio in dB of two images (h, w) from 0 to 255, without `rim` pixels of border."""
    a, b = (x[rim : x.shape[0] - rim, rim : x.shape[1] - rim].astype(np.float64) for x in (a, b))
    error = float(((a - b) ** 2).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255.0**2 / error))
