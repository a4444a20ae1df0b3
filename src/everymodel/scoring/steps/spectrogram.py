"""Sounds described in numbers, for models that read columns: what a spectrogram shows, in a few hundred figures."""

from __future__ import annotations

import itertools

import numpy as np

from everymodel.scoring.layers.spectrogram import Spectrogram
from everymodel.scoring.steps.base import Batch, Step, need, step

LONG = 1000  # steps from which a signal is looked at as a sound, too
PARTS = 10  # stretches of a sound
SHAPES = 13  # cosines that describe the spectrum of a stretch
_SILENT = 0.35  # of the 80 decibels: a frame whose loudest band lies below that is silence


@step("sound_features")
class SoundFeatures(Step):
    """A column of sounds in numbers -> (n, p): how long they are heard; mean and spread of each pitch band; and the
    spectrum of ten stretches of the part that is heard, each as thirteen cosines (mel cepstrum).

    rate : samples a second; where it is not known, windows are those of 8,000.

    References
    ----------
    Davis and Mermelstein (1980), Comparison of parametric representations for monosyllabic word recognition.
    """

    column: str
    rate: float = 8000.0
    bands: int = 40

    def check(self) -> None:
        need(isinstance(self.column, str), "a step names no column")
        self._spectrogram(1).check()

    def _spectrogram(self, frames: int) -> Spectrogram:
        return Spectrogram(rate=self.rate, frames=frames, bands=self.bands)

    def names(self) -> list[str]:
        """A word for each column."""
        bands = [f"{what} of band {b + 1}" for what in ("mean", "spread") for b in range(self.bands)]
        shapes = [f"cosine {c} of part {p + 1} of {PARTS}" for p in range(PARTS) for c in range(SHAPES)]
        return ["length", "heard", *bands, *shapes]

    def __call__(self, batch: Batch) -> np.ndarray:
        sounds = batch.columns[self.column]
        out = np.zeros((len(sounds), len(self.names())))
        waves = np.cos(np.pi / self.bands * np.outer(np.arange(self.bands) + 0.5, np.arange(SHAPES)))  # (bands, SHAPES)
        for row, sound in enumerate(sounds):
            frames = self._spectrogram(1).count(len(sound))
            seen = self._spectrogram(frames)([sound])[0, :, :, 0].astype(np.float64)  # (frames, bands)
            heard = np.flatnonzero(seen.max(axis=1) > _SILENT)
            own = seen[heard[0] : heard[-1] + 1] if len(heard) else seen
            edges = (np.arange(PARTS + 1) * len(own)) // PARTS
            shapes = own @ waves / self.bands  # (frames, SHAPES)
            parts = [shapes[low : max(high, low + 1)].mean(axis=0) for low, high in itertools.pairwise(edges)]
            figures = [[len(sound), len(heard)], own.mean(axis=0), own.std(axis=0), *parts]
            out[row] = np.concatenate(figures)
        return out
