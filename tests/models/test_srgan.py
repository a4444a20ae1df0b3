"""Super-resolution: resizing as Pillow does it, tiles, learning, stages, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from everymodel import SRGAN
from everymodel.core.errors import CapabilityError, DataError, ModelFileError
from everymodel.models.generative._resolution import (
    _AIM,
    Detail,
    Patches,
    Vivid,
    enlarged,
    fine,
    halved,
    strengths,
)
from everymodel.scoring.steps.enhancing import FROM_YCC, TO_YCC, Enhancer, resized, signal_to_noise
from everymodel.testing.enhancing import tiny_pictures

torch.set_num_threads(1)


@pytest.mark.parametrize("size", [(10, 60), (53, 17), (96, 128)])
def test_cubic_resizing_is_that_of_pillow(size):
    image = load_sample_image("china.jpg")[:48, :64, 0]
    ours = np.clip(np.rint(resized(image.astype(float), *size)), 0, 255)
    theirs = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(ours - theirs).max() <= 1
    made = enlarged(torch.from_numpy(image[None, None].astype(np.float32)), 2)[0, 0].numpy()
    assert np.abs(made - resized(image.astype(float), 96, 128)).max() < 0.01


def test_colours_go_there_and_back():
    rgb = np.random.default_rng(0).random((5, 3))
    assert np.allclose(rgb @ TO_YCC.T @ FROM_YCC.T, rgb)
    assert np.allclose(np.ones(3) @ TO_YCC.T, [1, 0, 0], atol=1e-6)


def test_ratio_of_signal_to_noise():
    a = np.zeros((20, 20))
    assert np.isclose(signal_to_noise(a, a + 255.0 / 10), 20.0)
    b = a.copy()
    b[0] = 99
    assert signal_to_noise(a, b, 1) == np.inf


def test_patches_lie_on_one_another_and_come_again():
    pairs = [halved(x.mean(axis=2).astype(np.uint8), 2) for x in tiny_pictures()]
    small, large = map(list, zip(*pairs, strict=True))
    source = Patches(small, large, 2, 8, 6, 3)
    batches = list(source.epoch(1, 5))
    for a, b, which in batches:
        assert a.shape == (6, 1, 8, 8) and b.shape == (6, 1, 16, 16) and int(which.max()) < 4 * len(small)
        shrunk = torch.nn.functional.avg_pool2d(b, 2)
        assert float((shrunk - a).abs().mean()) < 0.03
    assert torch.equal(batches[2][0], next(iter(source.epoch(1, 5, start=2)))[0])


@pytest.fixture(scope="module")
def photos():
    china, flower = load_sample_image("china.jpg"), load_sample_image("flower.jpg")
    return [china[:200, :300], china[200:400, 200:500], flower[100:300, 100:400], china[:200, 300:600]]


def test_it_learns_more_than_enlarging_alone(photos, tmp_path):
    import everymodel as em

    settings = {"factor": 2, "width": 16, "blocks": 2, "patch": 16, "steps": 250, "batch_size": 8, "random_state": 0}
    model = SRGAN(**settings).fit(photos[:3])
    figures = model.evaluate(photos[3:])
    assert figures["psnr"] > figures["psnr_bicubic"] + 0.3
    assert figures["detail_bicubic"] < figures["detail"] < 0.4 < figures["detail_vivid"] < 1.5  # faithful smooths
    assert list(model.histories_) == ["faithful", "judge", "vivid"]
    small = photos[3][:40, :50]
    ends = [model.upscale(small, fidelity=f).astype(float) for f in (0.0, 0.5, 1.0)]
    assert np.abs(ends[0] - ends[2]).mean() > np.abs(ends[1] - ends[2]).mean() > 0
    em.wrap(model, photos).save(tmp_path / "sr.em")
    opened = em.load(tmp_path / "sr.em")
    Image.fromarray(small).save(tmp_path / "small.png")
    assert np.array_equal(opened.upscale(str(tmp_path / "small.png")), model.upscale(small))
    with pytest.raises(CapabilityError, match="upscale"):
        opened.sample(1)


def test_tiles_do_not_show():
    model = SRGAN(factor=2, adversarial=False, width=4, blocks=1, patch=8, steps=20, batch_size=2, random_state=0)
    step = model.fit(tiny_pictures()).step_
    image = np.random.default_rng(0).random((130, 210)).astype(np.float32)
    whole = step.network(np.pad(image, 30, mode="edge")[None, :, :, None])[0, 60:-60, 60:-60, 0]
    assert np.abs(step.detail(image, step.network) - whole).max() < 1e-5


def test_damaged_files_are_refused():
    model = SRGAN(factor=2, width=4, blocks=1, patch=8, steps=4, batch_size=2, random_state=0).fit(tiny_pictures())
    settings, arrays = model.step_.spec()
    for told, held in (
        ({**settings, "factor": 99}, arrays),
        ({**settings, "factor": "2"}, arrays),
        ({k: v for k, v in settings.items() if k != "network"}, arrays),
        (settings, dict(list(arrays.items())[1:])),
        (settings, {**arrays, "network:more": np.zeros(2)}),
        (settings, {k: np.full_like(a, np.nan) for k, a in arrays.items()}),
    ):
        with pytest.raises(ModelFileError):
            Enhancer.build(told, held)
    with pytest.raises(DataError, match="more than"):
        model.upscale(np.zeros((9000, 9000), np.uint8))


def test_strength_is_a_quantile_that_patches_agree_with_on_the_whole():
    torch.manual_seed(0)

    def new():
        return Vivid(Detail(2, 4, 1), torch.nn.Identity(), torch.nn.Identity(), (0.0, 0.5))

    real = 0.5 + 0.2 * torch.randn(4, 1, 48, 48)
    (first, mean), (second, _) = strengths(real, 2)
    assert first.shape == (4, 4, 7, 7) and second.shape == (4, 1, 7, 7)
    assert abs(float(first.mean()) - float(fine(real)) ** 0.5) < 0.01 and abs(float(mean.mean())) < 0.001
    dotted = 0.5 * real
    dotted[..., ::2, ::2] += 0.5  # a pattern on the grid is seen in its places
    apart = strengths(dotted, 2)[0][0].mean(dim=(0, 2, 3))
    assert float(apart.max() / apart.min()) > 1.5
    # What lacks costs ever more, too much ever less; both are bounded
    for factor, way in ((1.0, -1), (0.5, 1), (2.0, -1)):
        game, made = new(), 0.5 + factor * (real - 0.5)
        before = game.costs
        for i in range(400):
            game.done = i / 100
            loss = float(game._lack(made, real))
        assert torch.equal(torch.sign(game.costs - before), torch.full((2,), float(way)))
        assert (loss > 0) == (factor != 1) and float(game.costs.max()) <= 20 and float(game.costs.min()) >= 1 / 20
    # Detail of strength 1 or 3 that cannot be told apart: a share of the mean logarithm, and not the median, 3
    game, gain = new(), torch.tensor(1.0, requires_grad=True)
    pattern = 0.1 * torch.randn(1, 1, 48, 48).expand(4, 1, 48, 48)
    both = pattern * torch.tensor([1.0, 3.0, 3.0, 3.0])[:, None, None, None]
    adam, seen = torch.optim.Adam([gain], 0.02), []
    for i in range(800):
        game.done = i / 200
        loss = game._lack(gain * pattern, both)
        adam.zero_grad()
        loss.backward()
        adam.step()
        seen.append(gain.item())
    assert abs(np.mean(seen[-400:]) - (_AIM * 3**1.5) ** 0.5) < 0.2


def test_sides_that_are_odd_are_learnt_from():
    settings = {"factor": 3, "patch": 7, "width": 4, "blocks": 1, "steps": 4, "batch_size": 2, "random_state": 0}
    model = SRGAN(**settings).fit(tiny_pictures(3, side=33))  # patches of 21 pixels
    assert np.isfinite(list(model.evaluate(tiny_pictures(2, side=33)).values())).all()


def test_all_stages_keep_the_budget(photos):
    import time

    began = time.monotonic()
    model = SRGAN(factor=2, width=4, blocks=1, patch=8, batch_size=2, budget=3, random_state=0).fit(photos)
    assert time.monotonic() - began < 12 and all(h.steps > 0 for h in model.histories_.values())
