"""Every generator keeps the contract; what is special to a family stands in a file of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everymodel import catalog, testing
from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring.likeness import copied, coverage, frechet, kernel_distance, nearest, neighborhoods
from everymodel.scoring.steps.generating import slerp
from everymodel.training.source import Endless

_CARDS = [card for card in catalog.cards() if card.kind == "generator" and catalog.available(card)]


@pytest.mark.parametrize(
    ("card", "i"), [pytest.param(c, i, id=f"{c.name}-{i}") for c in _CARDS for i in range(len(c.tiny))]
)
def test_contract(card, i):
    from everymodel.testing.generating import check_generator

    torch.set_num_threads(1)
    check_generator(card, catalog.tiny(card)[i])


def test_distances_know_equal_and_moved_sets():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(600, 4)), rng.normal(size=(600, 4))
    moved = b + np.array([1.0, 0, 0, 0])
    assert frechet(a, b) < 0.1 < 0.8 < frechet(a, moved) < 1.3  # the square of the way, 1
    assert abs(kernel_distance(a, b)) < 0.1 < kernel_distance(a, moved)
    few = neighborhoods(a, b)
    assert few["coverage"] > 0.9 and 0.85 < few["density"] < 1.15
    assert coverage(a, np.repeat(a[:1], 600, axis=0)) < 0.05  # a collapsed generator
    assert neighborhoods(a, a + 50)["precision"] == 0
    far, places = nearest(a[:5], a, 2)
    assert np.array_equal(places[:, 0], np.arange(5)) and (far[:, 0] < 1e-6).all() and (far[:, 1] > 0).all()
    assert copied(a[:200] + 1e-9, a[:300], b[:300]) > 0.95 and 0.4 < copied(rng.normal(size=(400, 4)), a, b) < 0.6
    with pytest.raises(DataError, match="expected"):
        frechet(a, a[:, :2])


def test_frechet_is_that_of_the_formula():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)), rng.normal(size=(60, 3)) + 1
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert np.isclose(frechet(a, b), wanted)


def test_the_arc_between_two_points():
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    way = slerp(a, b, 5)
    assert np.allclose(np.linalg.norm(way, axis=1), 1) and np.allclose(way[[0, -1]], [a, b])
    assert np.allclose(slerp(a, a, 3), a)


def test_an_endless_source_sees_every_row_equally_often_and_goes_on_where_it_was():
    source = Endless(torch.arange(10), batch=4, count=5)  # 20 rows an epoch: two orders
    seen = torch.cat([b[0] for b in source.epoch(0, 7)])
    assert torch.equal(torch.sort(seen).values, torch.arange(10).repeat_interleave(2))
    whole = [b[0] for e in range(3) for b in source.epoch(e, 7)]
    assert all(torch.equal(a, b[0]) for a, b in zip(whole[7:10], source.epoch(1, 7, start=2), strict=True))
    assert len(torch.unique(torch.cat(whole[:5])[:10])) == 10


def test_wrong_data_are_refused_in_one_sentence():
    from everymodel import VanillaGAN

    rng = np.random.default_rng(0)
    for wrong, told in (
        (rng.normal(size=(20, 0)), "expected rows"),
        (np.full((20, 2), np.inf), "infinite"),
        ([["a", "b"]] * 5, "no numbers"),
        (rng.normal(size=(1, 3)), "expected 2 or more"),
        (np.full((40, 8, 8), 7, np.uint8), "equal"),
        (rng.integers(0, 255, (40, 8, 8, 2)).astype(np.uint8), "channels"),
        (rng.integers(0, 255, (40, 2, 2)).astype(np.uint8), "sides"),
    ):
        with pytest.raises(DataError, match=told):
            VanillaGAN(steps=1).fit(wrong)
    with pytest.raises(ParameterError, match="steps"):
        VanillaGAN(steps=0).fit(rng.normal(size=(20, 2)))
    with pytest.raises(ParameterError, match="loss"):
        VanillaGAN(loss="nonsense", steps=1).fit(rng.normal(size=(20, 2)))


def test_images_of_all_sizes_and_modes_are_brought_together_and_others_refused(tmp_path):
    from PIL import Image

    from everymodel import DCGAN, VanillaGAN

    rng = np.random.default_rng(0)
    settings = {"width": 4, "steps": 2, "batch_size": 8, "random_state": 0}
    grey = [rng.integers(0, 255, (8 + i % 3, 8)).astype(np.uint8) for i in range(12)]
    modes = ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I", "F")
    colour = [Image.fromarray(rng.integers(0, 255, (9, 8, 3)).astype(np.uint8)).convert(mode) for mode in modes]
    model = VanillaGAN(**settings).fit(grey + colour)
    assert model.sample(2, seed=0).shape == (2, 9, 8, 3)  # their median size, in colour since some are
    notes = model.history_.notes
    assert any("sizes or colours" in n for n in notes) and any("21 images are few" in n for n in notes)
    plain = np.repeat(np.arange(0, 240, 6), 64).reshape(40, 8, 8).astype(np.uint8)  # each of one colour
    assert np.isfinite(DCGAN(**settings).fit(plain).sample(3, seed=0)).all()
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    colour[0].save(good), bad.write_bytes(b"no image")
    for wrong, told in (
        ([bad] * 4, "4 of 4 images cannot be read; the first, number 0: it is no image"),
        ([good, good, bad], "1 of 3 images cannot be read; the first, number 2"),
        ([good, good, tmp_path / "none.png"], "no such file"),
        ([good, good, grey[0], 7], "int"),
    ):
        with pytest.raises(DataError, match=told):
            DCGAN(**settings).fit(wrong)


def test_a_collapse_is_seen_said_and_gone_back_from():
    from everymodel.models.generative._adversarial import Adversarial, Critic, Latent, Maker
    from everymodel.training.loop import Plan, train
    from everymodel.training.source import Arrays

    torch.manual_seed(0)
    latent = Latent(2)
    maker = Maker(latent, torch.nn.Linear(2, 2))
    X = torch.randn(400, 2)
    with torch.no_grad():
        maker.body.weight.copy_(torch.eye(2)), maker.body.bias.zero_()

    class Spoilt(Adversarial):
        def after_step(self, step):  # from step 60 on the generator forgets its latent variable
            if step > 60:
                with torch.no_grad():
                    self.nets["generator"].body.weight.mul_(0.01)

    game = Spoilt(maker, Critic(torch.nn.Linear(2, 4), 4))
    source, held = Endless(X[:300], batch=16, count=20), Arrays(X[300:], batch=250, shuffle=False)
    history = train(game, source, Plan(epochs=60), valid=held)
    assert history.stopped == "trouble"
    assert [n.startswith("Collapse: coverage fell") for n in history.notes] == [True] * 4
    assert "ends with the best weights" in history.notes[-1]
    made = maker(*latent.draw(500), None).detach()
    assert coverage(X[300:].numpy(), made.numpy()) > 0.8  # the best weights answer


def test_images_are_made_as_bytes_and_words_of_few_come():
    from everymodel import VanillaGAN
    from everymodel.testing.generating import tiny_images

    X, _ = tiny_images(60, side=8)
    model = VanillaGAN(steps=40, width=16, random_state=0).fit(X)
    assert model.sample(3, seed=0).shape == (3, 8, 8, 1) and model.sample(3, seed=0).dtype == np.uint8
    assert any("few" in note for note in model.history_.notes)
    assert model.film_ and model.film_[0][1].shape[1:] == (8, 8, 1)
    way = model.interpolate(0, 5, steps=4)
    assert way.shape == (4, 8, 8, 1) and np.array_equal(
        way[0], model.step_.decode(model.step_.latents(1, np.random.default_rng(0)))[0]
    )


def test_cards_of_generators_are_of_their_kind():
    for card in _CARDS:
        testing.check_card(card)
        assert card.tasks[0] in ("generate", "enhance")
