"""What is special to the adversarial models: losses, networks for images of any size, classes, pyramids, resuming."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from everymodel import DCGAN, LAPGAN, ConditionalGAN, VanillaGAN
from everymodel.core.errors import DataError, ParameterError
from everymodel.models.generative import _strided
from everymodel.models.generative._adversarial import (
    LOSSES,
    Adversarial,
    Critic,
    Latent,
    Maker,
    critic_loss,
    generator_loss,
)
from everymodel.models.generative._gan import settle
from everymodel.models.generative._views import Seen
from everymodel.models.generative.lapgan import down, pyramid, up, whole
from everymodel.scoring.likeness import kernel_distance
from everymodel.testing.generating import tiny_images, tiny_rows

torch.set_num_threads(1)


def test_losses_are_those_of_the_papers():
    real, fake = torch.tensor([0.5, -1.0]), torch.tensor([0.25, 2.0])

    def s(t):
        return math.log1p(math.exp(t))

    assert math.isclose(float(critic_loss("relativistic", real, fake)), (s(-0.25) + s(3.0)) / 2, rel_tol=1e-6)
    assert math.isclose(float(generator_loss("relativistic", real, fake)), (s(0.25) + s(-3.0)) / 2, rel_tol=1e-6)
    wanted = (s(-0.5) + s(1.0) + s(0.25) + s(2.0)) / 2
    assert math.isclose(float(critic_loss("minimax", real, fake)), wanted, rel_tol=1e-6)
    assert math.isclose(float(generator_loss("non_saturating", real, fake)), (s(-0.25) + s(-2.0)) / 2, rel_tol=1e-6)
    assert math.isclose(float(generator_loss("minimax", real, fake)), -(s(0.25) + s(2.0)) / 2, rel_tol=1e-6)
    assert math.isclose(float(critic_loss("hinge", real, fake)), (0.5 + 2 + 1.25 + 3) / 2, rel_tol=1e-6)
    assert math.isclose(float(critic_loss("wasserstein", real, fake)), 1.125 + 0.25, rel_tol=1e-6)
    assert math.isclose(float(critic_loss("least_squares", real, fake)), (0.25 + 4 + 0.0625 + 4) / 4, rel_tol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_pulls_where_it_should(loss):
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    up, down = torch.autograd.grad(critic_loss(loss, real, fake), (real, fake))
    assert (up < 0).all() and (down >= 0).all() and (loss == "least_squares" or (down > 0).all())
    assert (torch.autograd.grad(generator_loss(loss, real.detach(), fake), fake)[0] < 0).all()


def test_samples_move_towards_the_data():
    rng = np.random.default_rng(0)
    X = np.abs(rng.normal(size=(600, 2))) * rng.choice([-1, 1], (600, 1)) + [5.0, 0.0]  # two opposite corners
    settings = {"latent": "normal", "width": 24, "batch_size": 64, "random_state": 0}
    before, after = (kernel_distance(X, VanillaGAN(**settings, steps=n).fit(X).sample(600, seed=0)) for n in (1, 1200))
    assert after < 0.3 * before


def test_a_wasserstein_critic_moves_five_times_as_often():
    maker = Maker(Latent(2), torch.nn.Linear(2, 2))
    game = Adversarial(maker, Critic(torch.nn.Linear(2, 3), 3), loss="wasserstein")
    assert game.penalty == 10
    moved = []
    for step in range(10):
        moved += [name for name, _ in game.step(game.nets, (torch.randn(4, 2),))]
        game.after_step(step + 1)
    assert moved.count("critic") == 10 and moved.count("generator") == 2


@pytest.mark.parametrize("part", [0.5, 1.0])
def test_penalties_are_squared_slopes_on_real_and_made_rows(part):
    critic = Critic(torch.nn.Identity(), 2)
    with torch.no_grad():
        critic.last.weight.copy_(torch.tensor([[3.0, 4.0]]))
    game = Adversarial(Maker(Latent(2), torch.nn.Linear(2, 2)), critic, penalty=0.5, part=part, end=0.1)
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    plain = critic_loss("relativistic", critic(real), critic(fake))
    for done, gamma in ((0.0, 0.5), (1.0, 0.05)):
        game.done = done
        assert math.isclose((game._critic(critic, real, fake, None) - plain).item(), gamma * 25, rel_tol=1e-4)


def test_components_that_are_made_too_seldom_come_more_often():
    torch.manual_seed(0)
    latent = Latent(1, 4, learn_shares=True)
    adam = torch.optim.Adam([latent.lean], 0.05)
    for _ in range(100):  # the critic likes what component 2 makes
        _, code = latent.draw(64)
        loss = generator_loss("relativistic", torch.zeros(64), (code == 2).float(), latent.weight(code))
        assert math.isclose(float(loss), float(F.softplus(-(code == 2).float()).mean()), rel_tol=1e-5)
        adam.zero_grad()
        loss.backward()
        adam.step()
    shares = latent.arrays()["code_shares"]
    assert shares[2] > 0.9 and math.isclose(shares.sum(), 1, rel_tol=1e-5)
    assert float((latent.draw(500)[1] == 2).float().mean()) > 0.85
    assert Latent(1, 4).weight(torch.zeros(3, dtype=torch.int64)) is None


@pytest.mark.parametrize("shape", [(28, 28, 1), (7, 9, 3), (33, 20, 1), (4, 4, 1), (64, 48, 3)])
def test_networks_of_images_fit_any_sides(shape):
    h, w, c = shape
    made = _strided.maker(5, shape, 4)(torch.randn(2, 5))
    assert made.shape == (2, c, h, w)
    body, count = _strided.critic(shape, 4)
    assert body(made).shape == (2, count) and Critic(body, count)(made).shape == (2,)


def test_signals_keep_their_size_at_the_start():
    torch.manual_seed(0)
    made = _strided.maker(64, (32, 32, 1), 32)(torch.randn(64, 64))
    body, _ = _strided.critic((32, 32, 1), 32)
    assert 0.3 < made.std().item() < 3 and 0.1 < body(torch.randn(64, 1, 32, 32)).std().item() < 3


def test_a_class_that_is_asked_for_is_made():
    X, y = tiny_rows(600)
    model = ConditionalGAN(width=32, steps=200, batch_size=64, random_state=0).fit(X, y)
    for label, place in (("left", -4), ("right", 4)):
        made = model.sample(200, condition=label, seed=1)
        assert np.mean(np.abs(made[:, 0] - place) < 2) > 0.9
    each = model.sample(4, condition=["left", "right", "left", "right"], seed=2)
    assert (np.sign(each[:, 0]) == [-1, 1, -1, 1]).all()
    free = model.sample(2000, seed=3)[:, 0]
    assert all(0.2 < np.mean(np.abs(free - place) < 2) < 0.47 for place in (-4, 0, 4))  # as often as in the data


def test_a_conditional_gan_of_images_goes_into_a_file(tmp_path):
    import everymodel as em

    X, y = tiny_images(120, side=8)
    model = ConditionalGAN(width=4, steps=20, latent_size=4, batch_size=16, random_state=0).fit(X, y)
    em.wrap(model, X).save(tmp_path / "bars.em")
    opened = em.load(tmp_path / "bars.em")
    assert np.array_equal(opened.sample(3, condition="lying", seed=1), model.sample(3, condition="lying", seed=1))
    with pytest.raises(DataError, match="one class"):
        ConditionalGAN(steps=1).fit(X, ["same"] * len(X))


def test_truncation_makes_samples_more_usual():
    X, _ = tiny_rows(400)
    model = VanillaGAN(latent="normal", width=16, steps=60, random_state=0).fit(X)
    spread = [model.sample(500, seed=0, truncation=t).std() for t in (0.2, None)]
    assert spread[0] < spread[1]


def test_a_pyramid_is_put_together_as_it_was():
    images = torch.rand(3, 2, 32, 16)
    coarse, details = pyramid(images, 2)
    assert coarse.shape == (3, 2, 8, 4) and [d.shape[-1] for d in details] == [8, 16]
    assert float((whole(coarse, details) - images).abs().max()) < 1e-6
    X, _ = tiny_images(40, side=12)
    assert LAPGAN(levels=3, width=4, steps=4, latent_size=4, random_state=0).fit(X).levels_ == 1
    odd = LAPGAN(width=4, steps=2, latent_size=4, random_state=0).fit(X[:, :11, :11])
    assert odd.levels_ == 0 and any("cannot be halved" in note for note in odd.history_.notes)
    assert odd.sample(2, seed=0).shape == (2, 11, 11, 1)
    wide, _ = tiny_images(30, side=48)
    whole_of = LAPGAN(width=2, steps=1, latent_size=4, random_state=0).fit(np.repeat(wide, 2, axis=2))  # 48 x 96
    assert whole_of.levels_ == 3  # to 6 x 12: no side above 16
    for wrong in ({"levels": 0}, {"levels": "two"}, {"reconstruction": -1.0}, {"reconstruction": float("nan")}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            LAPGAN(steps=1, **wrong).fit(X)


def test_detail_is_held_to_the_image_that_was_halved():
    X, _ = tiny_images(60, side=16)
    real = torch.from_numpy(X[:, None, :, :].reshape(60, 1, 16, 16).astype(np.float32) / 127.5 - 1)
    far = []
    for weight in (0.0, 100.0):
        model = LAPGAN(width=4, steps=60, latent_size=4, reconstruction=weight, random_state=0).fit(X)
        larger = up(down(real)).permute(0, 2, 3, 1).numpy()
        z = np.random.default_rng(0).standard_normal((60, 16, 16, 1)).astype(np.float32)
        made = larger + model.step_.finer[0](np.concatenate([larger, z], axis=3))
        far.append(float(np.square(made - real.permute(0, 2, 3, 1).numpy()).mean()))
    assert far[1] < 0.7 * far[0]


def test_views_move_and_hide_and_let_gradients_through():
    torch.manual_seed(0)
    x = torch.rand(6, 1, 16, 16, requires_grad=True)
    seen = Seen(0.25, 0.5)(x)
    assert seen.shape == x.shape and float((seen == 0).float().mean()) > 0.05
    seen.sum().backward()
    assert float(x.grad.abs().sum()) > 0
    assert Seen.by("auto", 20_000) is None and Seen.by("auto", 5_000) == Seen(0.125, 0.0)
    with pytest.raises(ParameterError, match="augment"):
        Seen.by("blur", 10)


def test_an_interrupted_fit_goes_on_to_the_same_weights(tmp_path):
    X, _ = tiny_images(80, side=8)
    settings = {"width": 4, "steps": 60, "latent_size": 4, "batch_size": 8, "random_state": 0}
    whole = DCGAN(**settings).fit(X)
    path = tmp_path / "run.ckpt"
    cut = DCGAN(**settings, checkpoint=str(path))
    asked = []
    cut._stop = lambda: bool(asked.append(1)) or len(asked) > 1  # looks at 10, 40, ... steps
    cut.fit(X)
    assert cut.history_.stopped == "stop" and path.exists() and cut.history_.steps < 60
    del cut._stop
    cut.fit(X)
    assert np.array_equal(cut.sample(5, seed=0), whole.sample(5, seed=0))
    assert all(torch.equal(a, b) for a, b in zip(cut.critic_.parameters(), whole.critic_.parameters(), strict=True))
    assert [at for at, _ in cut.film_] == [at for at, _ in whole.film_]


def test_files_of_generators_that_are_damaged_are_refused():
    from everymodel.core.errors import ModelFileError

    X, _ = tiny_images(40, side=8)
    for model in (LAPGAN(width=4, steps=2, latent_size=4, random_state=0), DCGAN(width=4, steps=2, latent_size=4)):
        step = model.fit(X).step_
        settings, arrays = step.spec()
        rng = np.random.default_rng(0)
        for _ in range(60):
            told, held = dict(settings), dict(arrays)
            key = rng.choice([*told, *held])
            if key in held:
                wrong = (np.zeros(0), np.full_like(held[key], np.nan), held[key][..., :-1], None)
                held[key] = wrong[rng.integers(4)]
                if held[key] is None or held[key].dtype.kind != "f":
                    del held[key]
            else:
                told[key] = [None, -1, "x", [1e9], {}][rng.integers(5)]
            try:
                made = type(step).build(told, held)
                made.sample(2, seed=0)
            except (ModelFileError, DataError):
                continue
            assert made.sample(2, seed=0).shape == (2, 8, 8, 1)


def test_normalisation_is_measured_with_the_weights_that_answer():
    X, y = tiny_images(80, side=8)
    model = ConditionalGAN(width=4, steps=30, latent_size=4, batch_size=16, random_state=0).fit(X, y)
    maker = model.generator_
    norm = next(m for m in maker.modules() if isinstance(m, torch.nn.BatchNorm2d))
    torch.manual_seed(0)
    with torch.no_grad():
        z, code = maker.latent.draw(4000)
        codes = torch.from_numpy(np.resize((y == "upright").astype(np.int64), 4000))
        before = maker.body[1](maker.body[0](maker.latent(z, code, codes)))
    mean, spread = before.mean(dim=(0, 2, 3)), before.std(dim=(0, 2, 3))
    assert float(((norm.running_mean - mean) / spread).abs().max()) < 0.06
    assert float((norm.running_var.sqrt() / spread - 1).abs().max()) < 0.06


def test_a_sentence_about_trouble_is_said_once():
    latent = Latent(2)
    maker = Maker(latent, torch.nn.Linear(2, 2))
    game = Adversarial(maker, Critic(torch.nn.Linear(2, 4), 4))
    game.told = "Collapse"
    with torch.no_grad():
        maker.body.bias.fill_(float("nan"))
        assert game.judge(game.nets, [(torch.randn(40, 2),)])["loss"] == float("inf")
    assert game.trouble() is None


def test_components_are_drawn_as_often_as_the_rows_near_them_and_as_wide():
    torch.manual_seed(0)
    latent = Latent(2, 3, code_size=2, learn_shares=True)
    body = torch.nn.Linear(4, 2)
    with torch.no_grad():
        latent.codes.copy_(torch.tensor([[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]]))
        body.weight.copy_(torch.cat([0.15 * torch.eye(2), torch.eye(2)], dim=1)), body.bias.zero_()
    rows = 0.3 * torch.randn(6000, 2)
    rows[:, 0] += torch.tensor([-4.0] * 600 + [0.0] * 1800 + [4.0] * 3600)
    settle(Maker(latent, torch.nn.Sequential(body)), rows, 0)
    assert np.allclose(latent.arrays()["code_shares"], [0.1, 0.3, 0.6], atol=1e-4)
    assert 0.24 < float(body.weight[0, 0].detach()) < 0.34  # the rows' own .3, from half of it
