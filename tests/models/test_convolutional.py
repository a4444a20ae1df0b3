"""Convolutional networks: digits, forms of input, mirrors, sounds, bad input, answers in numpy."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

pytest.importorskip("torch")

import everymodel as em
from everymodel.core.errors import DataError, ParameterError
from everymodel.models.neural._images import mirrors_that_fit
from everymodel.models.neural.convolutional import pack
from everymodel.scoring.images import as_png


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    images = np.rint(data.images * 15.9).astype(np.uint8)
    return train_test_split(images, data.target, test_size=0.25, stratify=data.target, random_state=0)


@pytest.fixture(scope="module")
def model(digits):
    X, _, y, _ = digits
    return em.ConvolutionalClassifier(epochs=20, random_state=0).fit(X, y)


def _strokes(n: int = 120, side: int = 10, seed: int = 0):
    """Images (n, side, side) of bytes with an upright or a level stroke, and which."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 80, (n, side, side)).astype(np.uint8), rng.integers(0, 2, n)
    for image, level in zip(X, y, strict=True):
        i, j = rng.integers(0, side - 4, 2)
        (image.T if level else image)[i : i + 5, j] = 255
    return X, np.array(["upright", "level"])[y]


def test_digits(model, digits):
    _, X, _, y = digits
    assert model.score(X, y) >= 0.985
    assert model.mirrors_ == (), "a mirrored digit is no digit"


def test_the_pack_answers_alike_in_numpy(model, digits):
    X = digits[1]
    step = pack(model)
    step = type(step).build(*step.spec())
    shares = model.predict_proba(X)
    assert np.abs(step(X) - shares).max() < 1e-4
    assert np.abs(step(X[:1, :, :, None]) - shares[:1]).max() < 1e-4
    wide = pack(model, n_classes=12)(X[:5])
    assert wide.shape == (5, 12) and (wide[:, 10:] == 0).all()


def test_equal_seeds_give_equal_networks():
    X, y = _strokes()
    first, second, other = (
        em.ConvolutionalClassifier(width=8, epochs=2, random_state=seed).fit(X, y).predict_proba(X)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_every_form_of_image_is_read(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    X, y = _strokes()
    model = em.ConvolutionalClassifier(width=8, epochs=6, random_state=0).fit(list(X), y)
    expected = model.predict_proba(X[:4])
    png = [as_png(image[:, :, None]) for image in X[:4]]
    paths = []
    for row, raw in enumerate(png):
        paths.append(tmp_path / f"{row}.png")
        paths[-1].write_bytes(raw)
    for cells in (
        png,
        paths,
        [str(p) for p in paths],
        [pillow.open(io.BytesIO(raw)) for raw in png],
        ["data:image/png;base64," + base64.b64encode(raw).decode() for raw in png],
        np.array(paths, dtype=object),
    ):
        assert np.allclose(model.predict_proba(cells), expected, atol=1e-6)


def test_mixed_sizes_and_colours_are_brought_together():
    pillow = pytest.importorskip("PIL.Image")
    X, y = _strokes(40)
    cells: list = [pillow.fromarray(image).resize((10 + row % 3, 10 + row % 5)) for row, image in enumerate(X)]
    cells[0] = cells[0].convert("RGBA")
    cells[1] = cells[1].convert("P")
    cells[2] = pillow.fromarray(X[2].astype(np.uint16) * 257)  # 16 bits
    model = em.ConvolutionalClassifier(width=8, epochs=2, random_state=0).fit(cells, y)
    assert [f.code for f in model.findings_] == ["images-resized"]
    assert any("different sizes" in note for note in model.history_.notes)
    assert len(model.predict(cells)) == 40


def test_images_that_cannot_be_read_are_named():
    X, y = _strokes(20)
    cells = [as_png(image[:, :, None]) for image in X]
    cells[7] = cells[7][:40]
    with pytest.raises(DataError, match=r"1 of 20 .* row 7"):
        em.ConvolutionalClassifier(width=8, epochs=1).fit(cells, y)
    model = em.ConvolutionalClassifier(width=8, epochs=1, random_state=0).fit(X, y)
    with pytest.raises(DataError, match=r"\(10, 9, 1\)"):
        model.predict(X[:, :, :9])
    with pytest.raises(DataError, match="row 0"):
        model.predict(["/no/such/file.png"])


@pytest.mark.parametrize("shape", [(6, 1, 1), (2, 9, 9), (5, 40, 3, 2), (3, 1, 30), (4, 60, 60, 3)])
def test_odd_shapes_and_few_rows(shape):
    X = np.random.default_rng(0).random(shape)
    y = np.arange(shape[0]) % 2
    model = em.ConvolutionalClassifier(width=4, epochs=2, random_state=0).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.abs(pack(model)(X) - model.predict_proba(X)).max() < 1e-4


def test_one_class_and_constant_images():
    X = np.zeros((12, 8, 8), dtype=np.uint8)
    model = em.ConvolutionalClassifier(width=4, epochs=2, random_state=0).fit(X, ["only"] * 12)
    assert set(model.predict(X)) == {"only"}


def test_a_regressor_knows_where_a_dot_is():
    rng = np.random.default_rng(0)
    X = rng.random((160, 12, 12)) * 0.2
    y = rng.integers(0, 12, (160, 2)).astype(float)
    X[np.arange(160), y[:, 0].astype(int), y[:, 1].astype(int)] = 1.0
    model = em.ConvolutionalRegressor(width=8, epochs=25, random_state=0).fit(X[:120], y[:120])
    assert model.score(X[120:], y[120:]) > 0.8
    assert np.abs(model.step()(X) - model.predict(X)).max() < 1e-3


def test_mirrors_are_used_where_they_mean_the_same():
    rng = np.random.default_rng(0)
    n, half = 400, rng.integers(0, 2, 400)
    symmetric = rng.random((n, 10, 10, 1)).astype(np.float32) * 0.5
    symmetric[half == 1, :5] += 0.4  # bright above: left-right does not matter, upside down does
    assert mirrors_that_fit(symmetric, half, 0) == (2,)
    assert mirrors_that_fit(symmetric.swapaxes(1, 2), half, 0) == (1,)
    assert mirrors_that_fit(rng.random((n, 10, 10, 1)), half, 0) == (), "who knows nothing cannot tell"
    flat = symmetric[..., 0]
    model = em.ConvolutionalClassifier(width=4, epochs=1, random_state=0).fit(flat, half)
    assert model.mirrors_ == (2,)
    assert np.allclose(model.predict_proba(flat), model.predict_proba(flat[:, :, ::-1]), atol=1e-5)
    assert np.abs(pack(model)(flat) - model.predict_proba(flat)).max() < 1e-4


def test_augmentation_settings_run():
    X, y = _strokes(60)
    for more in ({"cutout": 0.4}, {"mixup": 0.3}, {"augment": "mirror"}, {"augment": "none"}, {"dropout": 0.5}):
        model = em.ConvolutionalClassifier(width=4, epochs=1, random_state=0, **more).fit(X, y)
        assert np.isfinite(model.predict_proba(X)).all()
    with pytest.raises(ParameterError, match="augment"):
        em.ConvolutionalClassifier(augment="twirl").fit(X, y)


def test_the_network_gets_smaller_where_time_is_short():
    X = np.random.default_rng(0).integers(0, 255, (400, 32, 32, 3)).astype(np.uint8)
    y = np.arange(400) % 2
    short = em.ConvolutionalClassifier(budget=1.0, random_state=0).fit(X, y)
    assert short.net_.views.body[3].out_channels < 32


def _tones(n: int, seed: int):
    """Sounds of 0.2 to 0.4 seconds at 8 kHz that rise or fall in pitch, and which."""
    rng = np.random.default_rng(seed)
    X, y = [], rng.integers(0, 2, n)
    for rises in y:
        time = np.arange(rng.integers(1600, 3200)) / 8000
        low, high = rng.uniform(200, 500), rng.uniform(900, 2000)
        pitch = np.linspace(*((low, high) if rises else (high, low)), len(time))
        sound = np.sin(2 * np.pi * np.cumsum(pitch) / 8000) * rng.uniform(0.01, 1)
        X.append((sound + 0.003 * rng.normal(size=len(time))).astype(np.float32))
    return X, np.where(y, "rises", "falls")


def test_sounds_of_different_lengths():
    X, y = _tones(80, 0)
    new, true = _tones(40, 1)
    model = em.ConvolutionalClassifier(width=8, sample_rate=8000, epochs=10, random_state=0).fit(X, y)
    assert model.score(new, true) > 0.9
    assert np.abs(pack(model)(new) - model.predict_proba(new)).max() < 1e-4


def test_signals_of_different_lengths():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    X = []
    for up in y:
        signal = rng.normal(size=(rng.integers(30, 50), 2)) * 0.3
        at = rng.integers(0, 20)
        signal[at : at + 8, 0] += np.linspace(0, 4, 8)[:: 1 if up else -1]
        X.append(signal)
    model = em.SignalConvolutionClassifier(width=8, epochs=12, random_state=0).fit(X[:80], y[:80])
    assert model.rate_ is None and model.score(X[80:], y[80:]) > 0.85
    assert np.abs(pack(model)(X) - model.predict_proba(X)).max() < 1e-4
    with pytest.raises(DataError, match="row 0"):
        model.predict([np.zeros((10, 3)), np.zeros((11, 3))])
