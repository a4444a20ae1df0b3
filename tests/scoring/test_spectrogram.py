"""Spectrograms in numpy: pitch, loudness, lengths, and what classic models are told of sounds."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.errors import DataError, ModelFileError
from everymodel.scoring.layers import base
from everymodel.scoring.layers.spectrogram import FLOOR, Spectrogram, mel_filters
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.spectrogram import SoundFeatures


def _tone(pitch: float, seconds: float = 0.5, rate: int = 8000) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def test_a_tone_lights_the_band_of_its_pitch():
    made = Spectrogram(frames=30)([_tone(400), _tone(1500)])[..., 0]  # (2, frames, bands)
    assert made.shape == (2, 30, 40)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)
    for row, pitch in enumerate((400, 1500)):
        band = made[row].mean(axis=0).argmax()
        assert edges[band] < pitch < edges[band + 2]


def test_power_is_that_of_the_fourier_transform():
    sound = np.random.default_rng(0).normal(size=256).astype(np.float32)
    layer = Spectrogram(frames=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    power = np.abs(np.fft.rfft(sound * hann)) ** 2 @ mel_filters(8000.0, 256, 40).astype(float)
    expected = 1 + 10 / FLOOR * np.log10(np.maximum(power / power.max(), 1e-8))
    assert np.allclose(layer([sound])[0, 0, :, 0], expected, atol=1e-5)


def test_loudness_does_not_matter_and_silence_is_zero():
    layer = Spectrogram(frames=20)
    tone = _tone(500, 0.3)
    assert np.allclose(layer([tone]), layer([tone * 1e-3]), atol=1e-4)
    assert (layer([np.zeros(3000)]) == 0).all()
    assert np.isfinite(layer([np.array([np.nan, np.inf, 1.0])])).all()


def test_short_sounds_lie_in_the_middle_and_long_ones_keep_their_loudest_stretch():
    layer = Spectrogram(frames=40)
    short = layer([_tone(500, 0.2)])[0, :, :, 0].max(axis=1)
    assert short[0] == short[-1] == 0 and short[18:22].min() > 0.9
    long = np.concatenate([np.zeros(16000), _tone(500, 0.4), np.zeros(16000)])
    assert layer([long])[0].max() == pytest.approx(1.0)


def test_channels_are_averaged_and_no_sound_is_said():
    layer = Spectrogram(frames=10)
    two = np.stack([_tone(300), np.zeros(4000, np.float32)], axis=1)
    assert np.allclose(layer([two]), layer([_tone(300) / 2]), atol=1e-5)
    for bad in ([[]], [["a"]], [np.zeros((2, 2, 2))]):
        with pytest.raises(DataError, match="row 0"):
            layer(bad)


def test_it_goes_into_a_file_and_damaged_ones_are_refused():
    told, arrays = base.write(Spectrogram(rate=16000.0, frames=12))
    again = base.read(told, arrays)
    assert np.array_equal(again([_tone(700)]), Spectrogram(rate=16000.0, frames=12)([_tone(700)]))
    for key, value in {"rate": -1.0, "frames": 0, "bands": 10**6, "hop": "x", "window": 1e9}.items():
        with pytest.raises(ModelFileError):
            base.read({**told, "settings": {**told["settings"], key: value}}, arrays)
    with pytest.raises(ModelFileError):
        base.read({"layer": "signals", "settings": {"length": 0}}, {})


def test_classic_models_hear_what_a_sound_is():
    cells = np.empty(4, dtype=object)
    cells[:] = [_tone(300, 0.2), _tone(300, 0.6) * 0.01, _tone(2000, 0.2), np.zeros(900, np.float32)]
    cells[1] = np.concatenate([np.zeros(4000, np.float32), cells[1]])[:, None]  # later, longer, softer
    step = SoundFeatures("sound")
    made = step(Batch({"sound": cells}, 4))
    assert made.shape == (4, len(step.names())) and np.isfinite(made).all()
    shape = made[:, 2:]
    assert np.linalg.norm(shape[0] - shape[1]) < 0.5 * np.linalg.norm(shape[0] - shape[2])
