"""Convolutional layers in numpy against torch, by hand, by finite differences, and as damaged files."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.errors import DataError, ModelFileError, PackError
from everymodel.scoring.layers import base, convolution

torch = pytest.importorskip("torch")
nn = torch.nn

from everymodel.training.blocks import convolution as blocks  # noqa: E402
from everymodel.training.blocks import written  # noqa: E402

MAPS = {
    "plain": (lambda: nn.Conv2d(3, 5, 3, padding=1), (3, 9, 8)),
    "stride": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 9, 8)),
    "uneven": (lambda: nn.Conv2d(2, 4, (1, 5), stride=(1, 3), padding=(0, 2), bias=False), (2, 4, 17)),
    "groups": (lambda: nn.Conv2d(6, 4, 3, groups=2, padding=1), (6, 7, 7)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, dilation=2), (4, 9, 9)),
    "same": (lambda: nn.Conv2d(2, 3, 4, padding="same"), (2, 6, 7)),
    "signal": (lambda: nn.Conv1d(2, 3, 5, padding=4, dilation=2), (2, 20)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), (3, 5, 4)),
    "transposed more": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1), (3, 5, 4)),
    "transposed beyond": (lambda: nn.ConvTranspose1d(3, 2, 3, stride=3, output_padding=2), (3, 5)),
    "max": (lambda: nn.MaxPool2d(3, 2, padding=1), (3, 9, 8)),
    "max signal": (lambda: nn.MaxPool1d(2), (3, 9)),
    "average": (lambda: nn.AvgPool2d(3, 2, padding=1), (3, 9, 8)),
    "grid": (lambda: nn.AdaptiveAvgPool2d((2, 3)), (3, 9, 8)),
    "nearest": (lambda: nn.Upsample(scale_factor=2), (3, 4, 5)),
    "linear": (lambda: nn.Upsample(scale_factor=3, mode="bilinear"), (3, 4, 5)),
    "shuffle": (lambda: nn.PixelShuffle(2), (8, 4, 5)),
    "groups normalised": (lambda: nn.GroupNorm(2, 6), (6, 4, 5)),
    "padded": (lambda: blocks.Padded(nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=2)), 4, 2), (3, 6, 9)),
    "skip": (lambda: blocks.Skip(nn.Conv2d(3, 2, 3, padding=1)), (3, 6, 5)),
}


def _last(x):
    return np.ascontiguousarray(np.moveaxis(x.detach().numpy(), 1, -1)) if x.ndim > 2 else x.detach().numpy()


def _both(module, shape, n=4):
    torch.manual_seed(0)
    x = torch.randn(n, *shape)
    with torch.no_grad():
        return _last(x), _last(module.eval()(x))


@pytest.mark.parametrize("name", MAPS)
def test_numpy_agrees_with_torch(name):
    torch.manual_seed(1)
    make, shape = MAPS[name]
    module = make()
    x, expected = _both(module, shape)
    layer = base.read(*base.write(written(module)))  # through a file
    got = layer(x)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1)
    assert np.allclose(layer(x[:1]), got[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "stride", "groups", "depthwise", "signal", "max", "average", "grid"])
def test_backward_agrees_with_torch(name):
    torch.manual_seed(1)
    make, shape = MAPS[name]
    module = make().eval()
    x = torch.randn(3, *shape, requires_grad=True)
    y = module(x)
    slope = torch.randn_like(y)
    y.backward(slope)
    layer = written(module)
    dx, grads = layer.backward(_last(x), _last(y), _last(slope))
    assert np.allclose(dx, _last(x.grad), rtol=1e-4, atol=1e-5)
    if "weight" in grads:
        expected = np.moveaxis(module.weight.grad.numpy(), (0, 1), (-1, -2))
        assert np.allclose(grads["weight"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["max", "average", "flat"])
@pytest.mark.parametrize("axes", [1, 2])
def test_a_whole_network_agrees(head, axes):
    torch.manual_seed(2)
    sides = (20,) if axes == 1 else (13, 11)
    inputs = torch.randint(0, 255, (6, *sides, 3), dtype=torch.uint8)
    front = blocks.Pixels(np.full(3, 120.0), np.full(3, 60.0), sides, axes)
    filters = torch.randn(8, 3, *(3,) * axes)
    net = blocks.ConvNet(front, filters, sides, (6, 8), 4, head=head, mirrors=(1,), depth=3)
    for _ in range(3):
        net(inputs)  # moving means and variances
    for module in net.modules():
        if isinstance(module, blocks.Norm):
            nn.init.normal_(module.weight), nn.init.normal_(module.bias)
    with torch.no_grad():
        expected = net.eval()(inputs).numpy()
    layer = base.read(*base.write(written(net)))
    got = layer(inputs.numpy())
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    folded = [p for p in layer.body.layers if p.word == "affine"]
    assert len(folded) == 2, "normalisations right after a convolution are part of it; after a pooling they are not"


def test_whole_network_gradient_is_that_of_finite_differences():
    torch.manual_seed(3)
    front = blocks.Pixels(np.zeros(1), np.ones(1), (6, 6), 2)
    net = blocks.ConvNet(front, torch.randn(4, 1, 3, 3), (6, 6), (3,), 2, activation="tanh", head="average").double()
    layer = written(net.eval())
    for part in layer.layers:  # float64, else differences are noise
        for field in vars(part):
            if isinstance(getattr(part, field), np.ndarray):
                setattr(part, field, getattr(part, field).astype(np.float64))
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1))
    d = np.array([[1.0, -0.5]])
    dx = layer.pull(x, d)
    for place in [(0, 0, 0, 0), (0, 3, 2, 0), (0, 5, 5, 0)]:
        step = np.zeros_like(x)
        step[place] = 1e-6
        slope = ((layer(x + step) - layer(x - step)) * d).sum() / 2e-6
        assert dx[place] == pytest.approx(slope, rel=1e-4, abs=1e-8)


def test_large_images_are_done_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 3, 2, 4)).astype(np.float32)
    layer = convolution.Convolution(weight, None, (2, 1), (1, 1, 1, 1), (1, 2))
    layer.check()
    x = rng.normal(size=(3, 31, 17, 2)).astype(np.float32)
    whole = layer(x)
    monkeypatch.setattr(convolution, "MOST", 700)
    assert np.allclose(layer(x), whole, atol=1e-5)


def test_whitening_makes_patches_uncorrelated():
    torch.manual_seed(0)
    mixed = torch.randn(5000, 12) @ torch.randn(12, 12)
    filters = blocks.whitening(mixed.view(5000, 3, 2, 2), most=24, eps=1e-6)
    answers = (mixed - mixed.mean(0)) @ filters.flatten(1)[:12].T
    assert torch.allclose(answers.T @ answers / 5000, torch.eye(12), atol=1e-3)
    assert torch.equal(filters[:12], -filters[12:])


def test_a_batch_of_one_number_per_channel_trains():
    norm = blocks.Norm(3).train()
    assert torch.isfinite(norm(torch.randn(1, 3, 1, 1))).all()


def test_what_cannot_be_written_is_refused():
    for module in (
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(2, 2, 3, groups=2),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Upsample(size=(4, 4)),
    ):
        with pytest.raises(PackError):
            written(module)


def test_damaged_files_are_refused():
    told, arrays = base.write(written(nn.Conv2d(2, 3, 3, padding=1)))
    for key, value in {
        "stride": [0, 1], "padding": [-1, 0, 0, 0], "groups": 2, "dilation": "two", "strange": 1,
    }.items():  # fmt: skip
        broken = {**told, "settings": {**told["settings"], key: value}}
        with pytest.raises(ModelFileError):
            base.read(broken, arrays)
    with pytest.raises(ModelFileError):
        base.read(told, {**arrays, "a1": arrays["a1"][:2]})
    for word, settings in {
        "pool": {"kind": "median"}, "upsample": {"factors": [1000, 1]}, "shuffle": {"factor": 0},
        "unflatten": {"shape": [0, 3, 3]}, "grid_pool": {"sides": []}, "group_normalize": {"groups": -1},
        "global_pool": {"kind": 3},
    }.items():  # fmt: skip
        with pytest.raises(ModelFileError):
            base.read({"layer": word, "settings": settings}, {})


def test_a_wrong_input_is_said():
    layer = convolution.Pixels(np.ones(3, np.float32), np.zeros(3, np.float32), 2, (8, 8))
    with pytest.raises(DataError, match=r"\(8, 8, 3\)"):
        layer(np.zeros((1, 8, 9, 3), np.uint8))
    small = convolution.Convolution(np.ones((5, 5, 1, 1), np.float32))
    small.check()
    with pytest.raises(ModelFileError, match="smaller than"):
        small(np.zeros((1, 3, 9, 1), np.float32))
