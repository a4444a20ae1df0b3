"""The networks of the GANs: strided convolutions that make and judge images, dense layers for rows."""

from __future__ import annotations

import math

import torch
from torch import nn

import everymodel.training.blocks.convolution  # noqa: F401 - how convolutions are written down

_LEAST = 4  # side of the smallest maps, or a little more
FEW = 8  # columns in which rows that lie near one another are alike; in more the nearest is far
_OCTAVES = 7  # to waves of .1 spreads
_GAIN = math.sqrt(2 / (1 + 0.2**2))


def sides(side: int) -> list[int]:
    """Sides of the maps from the image down: each the half of the one before, rounded up."""
    found = [side]
    while found[-1] >= 2 * _LEAST - 1:
        found.append(-(-found[-1] // 2))
    return found


def levels(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """(height, width) of the maps from the image down, as many as both sides allow."""
    return list(zip(sides(shape[0]), sides(shape[1]), strict=False))


def widths(count: int, width: int) -> list[int]:
    """Channels of the maps below the image: `width` at the top, doubled at each level, at most 8 times."""
    return [width * min(2**i, 8) for i in range(count)]


def maker(
    inputs: int, shape: tuple[int, ...], width: int, top: int | None = None, normalised: bool = False
) -> nn.Sequential:
    """(b, inputs) -> images (b, c, h, w): the latent variable spread over the smallest maps, then doubled in size again
    and again by strided transposed convolutions; nothing dense between them. top : channels at the image's own size,
    where each costs most; None: `width`. normalised : by the batch, before each rectifier: such a net learns several
    times as fast in a game.
    """
    maps = levels(shape)
    channels = widths(len(maps) - 1, width) or [width]
    (h, w), deep = maps[-1], channels[-1]

    def after(channels: int) -> list[nn.Module]:
        return [*([nn.BatchNorm2d(channels)] if normalised else []), nn.LeakyReLU(0.2)]

    first = nn.Linear(inputs, deep * h * w, bias=not normalised)
    parts: list[nn.Module] = [first, nn.Unflatten(1, (deep, h, w)), *after(deep)]
    for i in range(len(maps) - 2, -1, -1):
        size = tuple(4 if big == 2 * small else 3 for big, small in zip(maps[i], maps[i + 1], strict=True))
        out = channels[i - 1] if i else top or width
        parts += [nn.ConvTranspose2d(channels[i], out, size, stride=2, padding=1, bias=not normalised), *after(out)]
    last = nn.Conv2d((top or width) if len(maps) > 1 else deep, shape[2], 3, padding=1)
    return started(nn.Sequential(*parts, last))


def critic(shape: tuple[int, ...], width: int, inputs: int | None = None) -> tuple[nn.Sequential, int]:
    """(images (b, c, h, w) -> features (b, m), m): strided convolutions, no pooling and no normalisation."""
    maps = levels(shape)
    channels = widths(len(maps) - 1, width)
    parts: list[nn.Module] = []
    before = inputs or shape[2]
    for i, deep in enumerate(channels):
        size = tuple(4 if big == 2 * small else 3 for big, small in zip(maps[i], maps[i + 1], strict=True))
        parts += [nn.Conv2d(before, deep, size, stride=2, padding=1), nn.LeakyReLU(0.2)]
        before = deep
    h, w = maps[-1]
    parts += [nn.Conv2d(before, before if channels else width, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten()]
    return started(nn.Sequential(*parts)), (before if channels else width) * h * w


def dense(inputs: int, width: int, depth: int, *last: nn.Module) -> nn.Sequential:
    """Dense layers with leaky rectifiers, and what comes last."""
    parts: list[nn.Module] = []
    for i in range(depth):
        parts += [nn.Linear(inputs if i == 0 else width, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts, *last)


class Waves(nn.Module):
    """(b, p) -> (b, p + 2 p k): standardised numbers, and sines and cosines of 1, 2, 4 ... times them.

    A plain network learns what is coarse first and sees narrow groups as slopes (Tancik et al. 2020); a critic with
    waves tells where in a group a row lies.
    """

    times: torch.Tensor

    def __init__(self, octaves: int):
        super().__init__()
        self.register_buffer("times", 2.0 ** torch.arange(octaves))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turned = x[:, :, None] * self.times  # (b, p, k)
        high = self.times.rsqrt()  # quick waves are small: what is coarse is learnt first all the same
        return torch.cat([x, (turned.sin() * high).flatten(1), (turned.cos() * high).flatten(1)], dim=1)


def dense_critic(inputs: int, width: int, depth: int) -> nn.Sequential:
    """(b, inputs) -> (b, width): dense layers, behind waves where the columns are few."""
    if inputs > FEW:
        return dense(inputs, width, depth)
    return nn.Sequential(Waves(_OCTAVES), dense(inputs * (1 + 2 * _OCTAVES), width, depth))


def started(net: nn.Sequential) -> nn.Sequential:
    """Weights by He's rule for leaky rectifiers, so that signals keep their size without normalisation."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            fan = module.weight.shape[0] * math.prod(module.kernel_size) / math.prod(module.stride)
        else:
            continue
        with torch.no_grad():
            module.weight.normal_(0.0, _GAIN / math.sqrt(fan))
            if module.bias is not None:
                module.bias.zero_()
    return net
