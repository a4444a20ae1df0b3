"""Sounds as pictures: how much there is of each pitch at each time (logarithmic mel spectrogram), in numpy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError
from everymodel.scoring.layers.base import Layer, layer
from everymodel.scoring.steps.base import need

FLOOR = 80.0  # decibels below the loudest place of a sound that count as silence
_BLOCK = 1 << 21  # samples that are transformed at once


@layer("spectrogram")
class Spectrogram(Layer):
    """Samples -> (n, frames, bands, 1) from 0 (silence, 80 dB below the loudest place of the sound) to 1.

    Windows of `window` seconds (Hann) every `hop` seconds, their power spectrum by fast Fourier transform, summed in
    `bands` triangles that are equally wide on the mel scale, as decibels. Sounds that are shorter than `frames` get
    silence on both sides, of longer ones the loudest stretch is kept.

    Inputs: (n, samples), (n, samples, channels), or any sequence of sounds of their own lengths, each (samples,) or
    (samples, channels); channels are averaged, and what is no finite number counts as silence.

    References
    ----------
    Davis and Mermelstein (1980), Comparison of parametric representations for monosyllabic word recognition.
    """

    formula: ClassVar[str] = "a = 1 + 10/80 log10(mel · |FFT(window · x)|² / max)"

    rate: float = 8000.0
    frames: int = 64
    bands: int = 40
    window: float = 0.032
    hop: float = 0.016

    def check(self) -> None:
        for value in (self.rate, self.window, self.hop):
            need(isinstance(value, float | int) and not isinstance(value, bool) and value > 0, "a spectrogram is wrong")
        need(type(self.frames) is int and 0 < self.frames <= 1 << 16, "a spectrogram has a wrong number of frames")
        need(type(self.bands) is int and 0 < self.bands <= 1024, "a spectrogram has a wrong number of bands")
        need(self.rate <= 1e7 and 1 < self.size <= 1 << 16 and self.step > 0, "a spectrogram has a wrong window")

    @property
    def size(self) -> int:
        """Samples in a window."""
        return round(self.rate * self.window)

    @property
    def step(self) -> int:
        """Samples from one window to the next."""
        return max(1, round(self.rate * self.hop))

    def count(self, samples: int) -> int:
        """Windows that a sound of so many samples has by itself."""
        return 1 + max(0, -(-(samples - self.size) // self.step))

    def __call__(self, x: Any) -> np.ndarray:
        out = np.zeros((len(x), self.frames, self.bands, 1), dtype=np.float32)
        filters = mel_filters(self.rate, self.size, self.bands)
        for row, sound in enumerate(x):
            own = self._one(_mono(sound, row), filters)  # (its frames, bands)
            if len(own) > self.frames:
                loud = np.cumsum(np.concatenate([[0.0], own.sum(axis=1)]))
                low = int(np.argmax(loud[self.frames :] - loud[: -self.frames]))
                out[row, :, :, 0] = own[low : low + self.frames]
            else:
                low = (self.frames - len(own)) // 2
                out[row, low : low + len(own), :, 0] = own
        return out

    def _one(self, sound: np.ndarray, filters: np.ndarray) -> np.ndarray:
        count, size = self.count(len(sound)), self.size
        wide = np.zeros((count - 1) * self.step + size, dtype=np.float32)
        wide[: len(sound)] = sound[: len(wide)]
        hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(wide, size)[:: self.step]  # (count, size)
        block = max(1, _BLOCK // size)
        power = np.concatenate(
            [
                (np.abs(np.fft.rfft(windows[low : low + block] * hann, axis=1)) ** 2) @ filters
                for low in range(0, count, block)
            ]
        )  # (count, bands)
        top = power.max()
        if not top > 0:
            return np.zeros(power.shape, dtype=np.float32)
        told = 1.0 + (10.0 / FLOOR) * np.log10(np.maximum(power / top, 10.0 ** (-FLOOR / 10.0)))
        return told.astype(np.float32)


@lru_cache(maxsize=16)
def mel_filters(rate: float, size: int, bands: int) -> np.ndarray:
    """(size // 2 + 1, bands) triangles between centres that are equally far apart on the mel scale."""
    pitch = np.arange(size // 2 + 1) * (rate / size)  # Hz
    top = 2595.0 * np.log10(1.0 + 0.5 * rate / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, bands + 2) / 2595.0) - 1.0)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (pitch[:, None] - low) / (middle - low)
    fall = (high - pitch[:, None]) / (high - middle)
    made = np.maximum(0.0, np.minimum(rise, fall))
    # Low bands can be narrower than the spectrum's lines: they then take the nearest line.
    empty = np.flatnonzero(made.sum(axis=0) == 0)
    made[np.minimum(np.rint(middle[empty] * size / rate).astype(int), len(pitch) - 1), empty] = 1.0
    return made.astype(np.float32)


def _mono(sound: Any, row: int) -> np.ndarray:
    """Samples (T,) float32, finite."""
    try:
        made = np.asarray(sound, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"The sound in row {row} is no list of numbers.") from error
    if made.ndim == 2:
        made = made.mean(axis=1)
    if made.ndim != 1 or not len(made):
        raise DataError(
            f"The sound in row {row} has shape {np.shape(sound)}; expected (samples,) or (samples, channels)."
        )
    return made if np.isfinite(made).all() else np.nan_to_num(made, posinf=0.0, neginf=0.0)


def usual_frames(spectrogram: Spectrogram, sounds: Iterable[Any], share: float = 0.95, most: int = 256) -> int:
    """Frames within which most of the sounds lie."""
    counts = [spectrogram.count(len(sound)) for sound in sounds]
    return int(min(max(np.quantile(counts, share), 4), most)) if counts else 4


@layer("signals")
class Signals(Layer):
    """Signals of their own lengths, each (T, c), -> (n, length, c): cut, or continued by zeros; gaps become zeros."""

    formula: ClassVar[str] = "a = x, all of one length"

    length: int = 1
    width: int = 1

    def check(self) -> None:
        need(type(self.length) is int and 0 < self.length <= 1 << 24, "a layer has a wrong length")
        need(type(self.width) is int and 0 < self.width <= 1 << 14, "a layer has a wrong width")

    def __call__(self, x: Any) -> np.ndarray:
        out = np.zeros((len(x), self.length, self.width), dtype=np.float32)
        for row, signal in enumerate(x):
            own = np.asarray(signal, dtype=np.float32)
            own = own[:, None] if own.ndim == 1 else own
            if own.ndim != 2 or own.shape[1] != self.width:
                raise DataError(
                    f"The signal in row {row} has shape {np.shape(signal)}; expected (steps, {self.width})."
                )
            take = min(len(own), self.length)
            out[row, :take] = np.nan_to_num(own[:take], posinf=0.0, neginf=0.0)
        return out
