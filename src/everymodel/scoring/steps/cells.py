"""Columns that are no numbers: taken as they are by networks, or described in numbers for every other model."""

from __future__ import annotations

import itertools

import numpy as np

from everymodel.scoring.steps.base import Batch, Step, need, step

KINDS = ("image", "sequence", "text")
BINS = 8  # directions of edges
CELLS = 8  # most cells of an image per side
SIDE = 14  # most pixels of a thumbnail per side
POINTS = 24  # of a resampled sequence
BANDS = 8  # of its spectrum
LAGS = (1, 2, 3, 5, 8)


@step("cells")
class Cells(Step):
    """One column as it is: images (n, h, w, c) of bytes, or sequences and texts (n,) of objects."""

    column: str
    kind: str = "image"

    def check(self) -> None:
        need(isinstance(self.column, str) and self.kind in KINDS, "a step names no column")

    def __call__(self, batch: Batch) -> np.ndarray:
        return batch.columns[self.column]


@step("image_features")
class ImageFeatures(Step):
    """Images in numbers -> (n, p): a small thumbnail, edges by direction in a grid of cells (histograms of oriented
    gradients, Dalal and Triggs 2005, each cell normalised by its neighbourhood), and mean and spread of each channel.
    """

    column: str
    height: int
    width: int
    channels: int

    def check(self) -> None:
        need(isinstance(self.column, str), "a step names no column")
        for side in (self.height, self.width):
            need(isinstance(side, int) and 0 < side <= 16_384, "an image's sides are wrong")
        need(self.channels in (1, 3), "an image's channels are wrong")

    def names(self) -> list[str]:
        """A word for each column."""
        (h, w), (r, c) = self._thumbnail(), self._grid()
        thumb = [f"pixel {y},{x}" + (f" {k}" if self.channels > 1 else "") for y in range(h) for x in range(w)
                 for k in range(self.channels)]  # fmt: skip
        edges = [f"edges {y},{x} at {180 * b // BINS}°" for y in range(r) for x in range(c) for b in range(BINS)]
        tone = [f"{what} of channel {k}" for what in ("mean", "spread") for k in range(self.channels)]
        return [*thumb, *edges, *tone]

    def _thumbnail(self) -> tuple[int, int]:
        limit = SIDE if self.channels == 1 else SIDE // 2 + 1
        return min(self.height, limit), min(self.width, limit)

    def _grid(self) -> tuple[int, int]:
        return max(1, min(CELLS, self.height // 3)), max(1, min(CELLS, self.width // 3))

    def __call__(self, batch: Batch) -> np.ndarray:
        images = batch.columns[self.column]  # (n, h, w, c)
        parts = [self._described(images[i : i + 512]) for i in range(0, len(images), 512)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.names())))

    def _described(self, images: np.ndarray) -> np.ndarray:
        x = images.astype(np.float32) / np.float32(255.0)  # (n, h, w, c)
        thumb = _pooled(x, *self._thumbnail())
        grey = x.mean(axis=3)  # (n, h, w)
        dy, dx = np.zeros_like(grey), np.zeros_like(grey)
        dy[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
        dx[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
        size = np.hypot(dx, dy)
        place = np.mod(np.arctan2(dy, dx), np.pi) * np.float32(BINS / np.pi)  # [0, BINS)
        low = np.floor(place)
        part = place - low
        first = low.astype(np.int64) % BINS
        votes = np.zeros((*grey.shape, BINS), dtype=np.float32)
        np.put_along_axis(votes, first[..., None], (size * (1 - part))[..., None], axis=3)
        more = np.zeros_like(votes)
        np.put_along_axis(more, ((first + 1) % BINS)[..., None], (size * part)[..., None], axis=3)
        cells = _pooled(votes + more, *self._grid())  # (n, r, c, BINS)
        energy = np.pad((cells * cells).sum(axis=3), ((0, 0), (1, 1), (1, 1)), mode="edge")
        around = sum(energy[:, i : i + cells.shape[1], j : j + cells.shape[2]] for i in range(3) for j in range(3))
        cells = cells / np.sqrt(around + np.float32(1e-4))[..., None]
        tone = np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=1)
        flat = [part.reshape(len(x), -1) for part in (thumb, cells)]
        return np.concatenate([*flat, tone], axis=1).astype(np.float64)


def _pooled(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over a grid of about equal cells: (n, h, w, c) -> (n, rows, columns, c)."""
    h = (np.arange(rows + 1) * x.shape[1]) // rows
    w = (np.arange(columns + 1) * x.shape[2]) // columns
    total = np.add.reduceat(np.add.reduceat(x, h[:-1], axis=1), w[:-1], axis=2)
    area = np.outer(np.diff(h), np.diff(w)).astype(np.float32)
    return total / area[None, :, :, None]


@step("sequence_features")
class SequenceFeatures(Step):
    """Sequences in numbers -> (n, p): length; for each of the `width` signals level, spread, range, quartiles, trend,
    autocorrelation, how often the mean is crossed, the spectrum in bands, and the shape resampled to a few points.
    """

    column: str
    width: int = 1

    def check(self) -> None:
        need(isinstance(self.column, str) and isinstance(self.width, int) and self.width > 0, "a step names no column")

    def names(self) -> list[str]:
        """A word for each column."""
        words = ["mean", "spread", "lowest", "quarter", "median", "three quarters", "highest", "trend", "crossings"]
        words += [f"again after {lag}" for lag in LAGS] + [f"band {b + 1}" for b in range(BANDS)]
        words += [f"at {100 * i // (POINTS - 1)} %" for i in range(POINTS)]
        signals = [""] if self.width == 1 else [f" of signal {j + 1}" for j in range(self.width)]
        return ["length", *(word + signal for signal in signals for word in words)]

    def __call__(self, batch: Batch) -> np.ndarray:
        out = np.zeros((batch.n, len(self.names())))
        for row, cell in enumerate(batch.columns[self.column]):
            out[row, 0] = len(cell)
            own = [_signal(np.asarray(cell[:, j], dtype=np.float64)) for j in range(self.width)]
            out[row, 1:] = np.concatenate(own)
        return out


def _signal(x: np.ndarray) -> np.ndarray:
    """The figures of one signal (T,), gaps left out."""
    x = x[np.isfinite(x)]
    if not len(x):
        return np.zeros(9 + len(LAGS) + BANDS + POINTS)
    mean, spread = x.mean(), x.std()
    z = (x - mean) / spread if spread > 1e-12 else np.zeros_like(x)
    time = np.linspace(-1.0, 1.0, len(x))
    trend = (z * time).sum() / max((time * time).sum(), 1e-12)
    crossings = np.mean(z[1:] * z[:-1] < 0) if len(x) > 1 else 0.0
    again = [float(np.mean(z[lag:] * z[:-lag])) if len(x) > lag else 0.0 for lag in LAGS]
    power = np.abs(np.fft.rfft(z))[1:] ** 2
    edges = np.unique(np.geomspace(1, max(len(power), 2), BANDS + 1).round().astype(int))
    bands = np.zeros(BANDS)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        bands[i] = power[low - 1 : max(high - 1, low)].sum()
    bands = np.log1p(bands / max(len(x), 1))
    shape = np.interp(np.linspace(0, len(x) - 1, POINTS), np.arange(len(x)), x)
    levels = np.quantile(x, [0.0, 0.25, 0.5, 0.75, 1.0])
    return np.concatenate([[mean, spread], levels, [trend, crossings], again, bands, shape])
