"""Shapes of the learning rate over a run: from progress in [0, 1] to a factor of the top rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from everymodel.core.errors import ParameterError

Shape = Callable[[float], float]


def constant(p: float) -> float:
    return 1.0


def linear(p: float) -> float:
    """Falls straight to zero."""
    return 1.0 - p


def cosine(p: float) -> float:
    """Falls along half a cosine (Loshchilov and Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * p))


def one_cycle(p: float, rise: float = 0.25) -> float:
    """Rises straight for a quarter, then falls along half a cosine (Smith and Topin 2018)."""
    return max(p / rise, 1e-3) if p < rise else cosine((p - rise) / (1 - rise))


def triangle(p: float, rise: float = 0.2) -> float:
    """Rises straight for a fifth, then falls straight to zero."""
    return max(p / rise, 1e-3) if p < rise else (1 - p) / (1 - rise)


def warm_cosine(p: float) -> float:
    """Two hundredths of warm-up, then half a cosine."""
    return max(p / 0.02, 1e-3) if p < 0.02 else cosine((p - 0.02) / 0.98)


def coslog4(p: float) -> float:
    """Four cosine cycles that grow longer, in the logarithm of time (Holzmüller et al. 2024)."""
    return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * p)))


def flat_cosine(p: float) -> float:
    """Constant for half of the run, then half a cosine."""
    return 1.0 if p < 0.5 else cosine(2 * p - 1)


SHAPES: dict[str, Shape] = {
    f.__name__: f for f in (constant, linear, cosine, one_cycle, triangle, warm_cosine, coslog4, flat_cosine)
}


def shape(word: str | Shape) -> Shape:
    """The schedule called `word`; functions pass."""
    if callable(word):
        return word
    if word not in SHAPES:
        raise ParameterError(f"schedule={word!r} is unknown: expected one of {', '.join(SHAPES)}.")
    return SHAPES[word]
