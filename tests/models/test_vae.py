"""The autoencoder: its bounds in torch and in numpy, likelihoods, classes, scores, the hidden space."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from everymodel import VAE
from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError
from everymodel.models.generative._variational import Evidence
from everymodel.scoring.model import open_bytes
from everymodel.testing.generating import tiny_images, tiny_rows
from everymodel.workflow.wrap import wrap

torch.set_num_threads(1)


def small(**settings):
    return VAE(**{"latent_size": 2, "width": 16, "epochs": 30, "batch_size": 32, "random_state": 0, **settings})


def test_the_weighted_bound_is_the_true_likelihood_where_that_is_known():
    """A linear model with Gaussian noise has a normal marginal; the bound of many draws must come near it."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 1))
    X = z @ np.array([[1.0, -1.0]]) + rng.normal(0, 0.5, (3000, 2))
    model = VAE(latent_size=1, width=32, epochs=60, batch_size=64, random_state=0).fit(X[:2500])
    held = X[2500:]
    truth = np.cov(X[:2500], rowvar=False)
    gap = held - X[:2500].mean(axis=0)
    exact = -0.5 * (np.einsum("ni,ij,nj->n", gap, np.linalg.inv(truth), gap) + np.log(np.linalg.det(truth)))
    exact -= math.log(2 * math.pi)
    scale = np.log(X[:2500].std(axis=0)).sum()  # scores are of standardised data
    weighted = model.score_samples(held, draws=200, weighted=True) - scale
    plain = model.score_samples(held, draws=64) - scale
    assert abs(weighted.mean() - exact.mean()) < 0.08
    assert plain.mean() <= weighted.mean() + 0.01
    assert np.corrcoef(weighted, exact)[0, 1] > 0.97


def test_torch_and_numpy_say_the_same_bound():
    X, _ = tiny_rows(200)
    model = small().fit(X)
    objective = Evidence(model.coder_, "gaussian", (), {"beta": 1.0, "warm_up": 0.0, "free_bits": 0.0, "importance": 1})
    given = torch.from_numpy(model.step_.given(X))
    with torch.no_grad():
        bounds = torch.stack(
            [-objective.step(objective.nets, (given, torch.zeros(len(X), 0)))["net"] for _ in range(400)]
        )
    assert abs(float(bounds.mean()) - model.score_samples(X, draws=400).mean()) < 0.05


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli", "categorical"])
def test_likelihoods(kind):
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 500)
    X = (rng.random((500, 4)) < np.where(group[:, None] == 1, 0.9, 0.1)).astype(float)
    if kind == "categorical":
        X = X * 3 + 2  # levels 2 and 5
    if kind == "gaussian":
        X = X + rng.normal(0, 0.1, X.shape)
    model = small(likelihood=kind, epochs=40).fit(X)
    assert model.likelihood_ == kind
    made = model.sample(600, seed=0)
    if kind != "gaussian":
        assert set(np.unique(made)) <= set(np.unique(X))
    assert np.abs(made.mean(axis=0) - X.mean(axis=0)).max() < 0.3 * X.std()
    both = np.corrcoef(made, rowvar=False)[0, 1]
    assert both > 0.35, "columns that go together do not"  # 0.64 in the data
    usual, odd = X[group == 1][:1].copy(), X[group == 1][:1].copy()
    usual[:] = X.max(axis=0)
    odd[0, :2], odd[0, 2:] = X.max(), X.min()
    assert model.score_samples(usual)[0] > model.score_samples(odd)[0]


def test_black_and_white_images_and_grey_ones():
    X, _ = tiny_images(120, side=8)
    white = np.where(X > 128, 255, 0).astype(np.uint8)
    model = small(epochs=200, latent_size=4, width=64, learning_rate=3e-3).fit(white)
    assert model.likelihood_ == "bernoulli" and model.sample(2, seed=0).dtype == np.uint8
    drawn = model.sample(5, seed=0, noise=True)
    assert set(np.unique(drawn)) <= {0, 255}
    back = model.reconstruct(white[:40])
    assert np.abs(back.astype(float) - white[:40]).mean() < 0.8 * np.abs(white[:40] - white.mean(axis=0)).mean()
    assert model.encode(white[:3]).shape == (3, 4)
    way = model.interpolate(white[0], white[1], steps=5)
    assert way.shape == (5, 8, 8, 1) and np.array_equal(way[0], model.reconstruct(white[:1])[0])
    grey = np.linspace(60, 200, 120 * 64).reshape(120, 8, 8, 1).astype(np.uint8)
    assert small(epochs=2).fit(grey).likelihood_ == "gaussian"
    deep = small(architecture="convolutional", width=4, epochs=4).fit(grey)
    assert deep.sample(2, seed=0).shape == (2, 8, 8, 1) and deep.score_samples(grey[:4]).shape == (4,)


def test_a_class_that_is_asked_for():
    X, y = tiny_rows(400)
    model = small(conditional=True, epochs=60).fit(X, y)
    for label, place in (("left", -4), ("right", 4)):
        assert np.mean(np.abs(model.sample(100, condition=label, seed=0)[:, 0] - place) < 2) > 0.9
    right = model.score_samples(X[:50], condition=y[:50].tolist())
    wrong = model.score_samples(X[:50], condition=np.where(y[:50] == "left", "right", "left").tolist())
    assert right.mean() > wrong.mean() + 1
    with pytest.raises(DataError, match="class of each row"):
        model.score_samples(X)
    with pytest.raises(CapabilityError, match="no condition"):
        small(epochs=1).fit(X).score_samples(X, condition="left")


def test_free_bits_keep_hidden_numbers_in_use():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))  # nothing to compress: a plain bound gives the hidden numbers up
    given_up = small(latent_size=3, epochs=60, beta=4.0).fit(X)
    kept = small(latent_size=3, epochs=60, beta=4.0, free_bits=0.5).fit(X)
    assert given_up.history_.epochs[-1]["valid_active"] == 0 < kept.history_.epochs[-1]["valid_active"]


def test_a_mixture_prior_leaves_gaps_between_groups():
    X, _ = tiny_rows(600)
    fits = [small(epochs=60, prior=prior).fit(X) for prior in ("normal", "mixture")]
    off = [np.mean(np.min(np.abs(m.sample(800, seed=0)[:, :1] - [-4, 0, 4]), axis=1) > 1.2) for m in fits]
    assert off[1] < off[0]


def test_files_answer_alike_and_damaged_ones_are_refused(tmp_path):
    import everymodel as em

    X, y = tiny_rows(200)
    model = small(epochs=4, conditional=True, prior="mixture").fit(X, y)
    em.wrap(model, X).save(tmp_path / "rows.em")
    opened = em.load(tmp_path / "rows.em")
    labels = y[:5].tolist()
    assert np.array_equal(opened.score_samples(X[:5], condition=labels), model.score_samples(X[:5], condition=labels))
    settings, arrays = model.step_.spec()
    for name, wrong in (
        ("likelihood", "cauchy"),
        ("flat", 3),
        ("counts", [2]),
        ("head", None),
        ("noise", np.full(3, np.nan)),
        ("weights", -arrays["weights"]),
        ("means", arrays["means"][:, :1]),
    ):
        told, held = dict(settings), dict(arrays)
        (held if name in held else told)[name] = wrong
        if name == "counts":
            told["likelihood"] = "categorical"
        with pytest.raises(ModelFileError):
            type(model.step_).build(told, held)


def test_wrong_settings_and_data():
    X, _ = tiny_rows(50)
    with pytest.raises(ParameterError, match="likelihood"):
        VAE(likelihood="poisson").fit(X)
    with pytest.raises(DataError, match="from 0 to 1"):
        VAE(likelihood="bernoulli").fit(X)
    with pytest.raises(DataError, match="levels"):
        VAE(likelihood="categorical").fit(np.random.default_rng(0).normal(size=(300, 2)))
    with pytest.raises(ParameterError, match="for images"):
        VAE(architecture="convolutional").fit(X)
    with pytest.raises(DataError, match="NaN"):
        small(epochs=1).fit(X).score_samples([[1.0, np.nan, 2.0]])


def test_rows_without_a_class_are_learnt_from_and_their_classes_guessed():
    X, y = tiny_rows(300)
    few = np.where(np.arange(300) < 12, y, None)
    assert len(set(few[:12])) == 3
    model = VAE(conditional=True, latent_size=2, width=32, epochs=40, batch_size=32, random_state=0).fit(X, few)
    assert model.classes_.tolist() == ["left", "middle", "right"]
    assert (model.predict(X) == y).mean() > 0.97 and np.allclose(model.predict_proba(X[:5]).sum(axis=1), 1)
    made = model.sample(60, "left", seed=0)
    assert abs(np.median(made[:, 0]) + 4) < 0.5 and abs(np.median(made[:, 2]) - 10) < 1.5
    assert np.array_equal(
        open_bytes(wrap(model, X).to_bytes()).step.sample(4, "left", seed=1), model.sample(4, "left", seed=1)
    )
    full = VAE(conditional=True, latent_size=2, width=8, epochs=1, random_state=0).fit(X, y)
    with pytest.raises(CapabilityError, match="All rows had a class"):
        full.predict(X)


def test_numbers_beside_nan_stay_whole_and_no_class_at_all_is_said():
    X, _ = tiny_rows(60)
    y = np.where(np.arange(60) < 20, np.arange(60) % 2, np.nan)
    model = VAE(conditional=True, latent_size=2, width=8, epochs=1, importance=2, free_bits=0.1, random_state=0).fit(
        X, y
    )
    assert model.classes_.tolist() == [0, 1] and model.classes_.dtype.kind == "i"
    with pytest.raises(DataError, match="No row has a class"):
        VAE(conditional=True).fit(X, np.full(60, np.nan))
    with pytest.raises(DataError, match="one class"):
        VAE(conditional=True).fit(X, [None] * 59 + ["a"])
    with pytest.raises(DataError, match="a class for each"):
        VAE(conditional=True).fit(X, y[:30])
