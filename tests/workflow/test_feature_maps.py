"""Feature maps: from a saved model, drawn; and where the network looked."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import everymodel as em
from everymodel.core.errors import CapabilityError, DataError
from everymodel.core.schema import Column, Schema
from everymodel.models.neural.convolutional import pack
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.images import as_png
from everymodel.scoring.steps.cells import Cells
from everymodel.workflow.evaluate.feature_maps import feature_maps, of_network
from everymodel.workflow.model import Model, load


def _strokes(n: int = 160):
    """Images with an upright or a level stroke somewhere; which, and where its middle is (n, 2)."""
    rng = np.random.default_rng(0)
    X, y, at = rng.integers(0, 60, (n, 16, 16)).astype(np.uint8), rng.integers(0, 2, n), rng.integers(3, 13, (n, 2))
    for image, level, (i, j) in zip(X, y, at, strict=True):
        turned, i, j = (image.T, j, i) if level else (image, i, j)
        turned[i - 3 : i + 4, j] = 250
    return X, y, at


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    X, y, at = _strokes()
    made = em.ConvolutionalClassifier(width=8, stages=2, epochs=10, augment="none", random_state=0).fit(X, y)
    schema = Schema(
        (
            Column("picture", "image", shape=(16, 16, 1)),
            Column("stroke", "category", "target", levels=("upright", "level")),
        ),
        "binary",
        ("upright", "level"),
    )
    network = Pack([Node("cells", Cells("picture")), Node("model", pack(made), ("cells",))])
    path = tmp_path_factory.mktemp("maps") / "strokes.em"
    Model(schema, network, {}).save(path)
    return load(path), X, at, path


def test_every_convolution_activation_and_pooling_is_there(saved):
    model, X, _, _ = saved
    made = model.layers(X[0])
    words = [maps.word for maps in made]
    assert words.count("convolution") == 5 and words.count("pool") == 2 and words.count("residual") == 2
    assert words.count("activation") == 5
    assert all(maps.values.ndim == 3 and np.isfinite(maps.values).all() for maps in made)
    pooled = next(maps for maps in made if maps.word == "pool")
    assert pooled.values.shape == (8, 8, 8) and pooled.title == "pooling 2×2 → 8×8, 8 channels"
    shares = model.predict_proba({"picture": [X[0]]})
    assert np.allclose(made.answer, np.asarray(shares)[0], atol=1e-6)


def test_the_heat_lies_on_the_stroke(saved):
    model, X, at, _ = saved
    away = []
    for image, middle in zip(X[:20], at[:20], strict=True):
        heat = model.layers(image).heat
        assert heat.shape == (16, 16) and heat.min() >= 0 and heat.max() <= 1.0 + 1e-6
        away.append(np.abs(np.array(np.unravel_index(heat.argmax(), heat.shape)) - middle).max())
    assert np.median(away) <= 4, away  # places of the last maps are four pixels wide


def test_it_can_look_for_another_class(saved):
    model, X, _, _ = saved
    own, other = model.layers(X[0], target="upright"), model.layers(X[0], target="level")
    assert own.target == 0 and other.target == 1 and not np.allclose(own.heat, other.heat)
    with pytest.raises(DataError, match="upright, level"):
        model.layers(X[0], target="left")


def test_it_is_drawn_from_files_and_bytes(saved, tmp_path):
    model, X, _, _ = saved
    raw = as_png(X[3][:, :, None])
    (tmp_path / "one.png").write_bytes(raw)
    for data in (raw, str(tmp_path / "one.png"), {"picture": [X[3]]}):
        assert np.allclose(model.layers(data).answer, model.layers(X[3]).answer)
    for name in ("maps.png", "maps.svg"):
        model.layers(X[3]).save(tmp_path / name, channels=3)
        assert (tmp_path / name).stat().st_size > 5000


def test_the_command(saved, tmp_path):
    from typer.testing import CliRunner

    from everymodel.interfaces.cli.app import app

    pytest.importorskip("PIL")
    _, X, _, path = saved
    picture = tmp_path / "one.png"
    picture.write_bytes(as_png(X[0][:, :, None]))
    told = CliRunner().invoke(app, ["layers", str(path), str(picture), "-o", str(tmp_path / "maps.svg")])
    assert told.exit_code == 0 and (tmp_path / "maps.svg").exists()
    told = CliRunner().invoke(app, ["layers", str(path), str(picture), "--json"])
    assert told.exit_code == 0 and '"convolution"' in told.output


def test_signals_and_regressors_have_maps_too():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40))
    made = em.ConvolutionalClassifier(width=4, epochs=1, random_state=0).fit(X, np.arange(30) % 2)
    maps = of_network(pack(made), X)
    assert maps.layers[0].values.shape == (1, 40, 1) and maps.heat is not None
    maps.figure(3)
    images = rng.random((30, 9, 9))
    made = em.ConvolutionalRegressor(width=4, epochs=1, random_state=0).fit(images, images[:, 2, 2])
    maps = of_network(made.step(), images)
    assert maps.answer.shape == (1,) and maps.heat.shape == (9, 9)
    maps.figure(3)


def test_models_without_a_convolution_say_so(saved):
    schema = Schema((Column("a", "number"), Column("b", "number", "target")), "regression")
    with pytest.raises(CapabilityError, match="no images"):
        feature_maps(Model(schema, saved[0].pack, {}), {"a": [1.0]})
