"""What an agent sees and what it may do: whole numbers below n, or boxes of real numbers, images among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ModelFileError

_MOST = 1 << 24  # numbers in one observation
_SIDE = 8  # points of the shortest side of an image


@dataclass(frozen=True)
class Space:
    """`n` choices 0 to n - 1, or, where n is 0, arrays of `shape` between `low` and `high`.

    low, high : one number for all, or one for each of the flattened numbers; infinite ones are None.
    image : whether the arrays are images of bytes: (h, w), (h, w, c), or stacks of frames, (c, h, w) and (t, h, w, c).
    """

    n: int = 0
    shape: tuple[int, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    image: bool = False

    @property
    def discrete(self) -> bool:
        return self.n > 0

    @property
    def width(self) -> int:
        """Numbers that a network is given for one: those of the array, or one for each choice."""
        return self.n if self.discrete else int(np.prod(self.shape, dtype=np.int64))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each `shape`, float64, with infinities where there is no bound."""
        told = []
        for side, missing in ((self.low, -np.inf), (self.high, np.inf)):
            values = np.array([missing if v is None else v for v in side], dtype=np.float64)
            told.append(np.broadcast_to(values if len(side) == 1 else values.reshape(self.shape), self.shape))
        return told[0], told[1]

    @property
    def bounded(self) -> bool:
        """Whether every number has both bounds."""
        return not self.discrete and None not in self.low and None not in self.high

    @property
    def form(self) -> tuple[int, int, int]:
        """(h, w, c) of an image."""
        if len(self.shape) == 4:
            t, h, w, c = self.shape
            return h, w, t * c
        h, w, c = (*self.shape, 1)[:3]
        return (w, c, h) if h < min(w, c) and len(self.shape) == 3 else (h, w, c)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """(m, h, w, c) of images (m, *shape), in the same kind of number."""
        if len(self.shape) > 2 and self.form != self.shape:
            rows = np.moveaxis(rows, 1, 3)  # frames are channels: the last of a place that they show
        return rows.reshape(len(rows), *self.form)

    def suits(self, other: Space, bounds: bool = False) -> bool:
        """Whether what is of one space is of the other: equal choices, or equal shapes; with `bounds` these too, but
        for roundings."""
        if (self.n, self.shape, self.image) != (other.n, other.shape, other.image):
            return False
        return self.discrete or not bounds or all(map(np.allclose, self.bounds(), other.bounds()))

    def batch(self, values: Any, what: str = "observation") -> tuple[np.ndarray, bool]:
        """(an array (m, *shape) or (m,) of whole numbers, whether one came rather than several).

        Raises
        ------
        DataError
            for another shape, numbers that are not finite, or choices or bytes that are not there.
        """
        try:
            with np.errstate(over="ignore"):  # too large for float32: infinite, and said below
                plain = self.discrete or (self.image and getattr(values, "dtype", None) == np.uint8)
                array = np.asarray(values, dtype=None if plain else np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"The {what} holds what is no number; expected {self}.") from error
        shape = () if self.discrete else self.shape
        one = array.ndim == len(shape)
        array = array[None] if one else array
        if array.shape[1:] != shape:
            raise DataError(f"An {what} of shape {array.shape[1:]} came; expected {self}.")
        if self.discrete:
            if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and (array == np.floor(array)).all()):
                raise DataError(f"The {what} is no whole number; expected {self}.")
            if ((array < 0) | (array >= self.n)).any():
                raise DataError(f"The {what} {array[(array < 0) | (array >= self.n)][0]} came; expected {self}.")
            return array.astype(np.int64), one
        if not np.isfinite(array).all():
            raise DataError(f"The {what} holds NaN or infinite numbers; expected {self}.")
        return (bytes_of(array, f"The {what}"), one) if self.image else (array, one)

    def example(self, rng: np.random.Generator) -> Any:
        """A made-up one inside the bounds; where there are none, near 0."""
        if self.discrete:
            return int(rng.integers(self.n))
        low, high = self.bounds()
        if self.image:
            return rng.integers(low.astype(np.int64), high.astype(np.int64) + 1).astype(np.uint8)
        low, high = np.maximum(low, -1.0 * (high >= -1)), np.minimum(high, 1.0)
        return (low + (np.maximum(high, low) - low) * rng.random(self.shape)).astype(np.float32)

    def __str__(self) -> str:
        if self.discrete:
            return f"a whole number from 0 to {self.n - 1}"
        if self.image:
            h, w, c = self.form
            return f"images of {h} x {w} points" + (f" in {c} channels" if c > 1 else "") + ", bytes"
        size = " x ".join(map(str, self.shape)) or "1"
        return f"{size} number{'s' if size != '1' else ''}"

    def to_dict(self) -> dict[str, Any]:
        if self.discrete:
            return {"n": self.n}
        told = {"shape": list(self.shape), "low": list(self.low), "high": list(self.high)}
        return {**told, "image": True} if self.image else told

    @classmethod
    def from_dict(cls, told: Any) -> Space:
        """The inverse of `to_dict`, with validation; ModelFileError for what is no space."""
        try:
            made = cls(**{k: v if k in ("n", "image") else tuple(v) for k, v in told.items()})
            size = made.width
            good = all(type(s) is int and s > 0 for s in made.shape) and type(made.n) is int and 0 < size <= _MOST
            for side in () if made.discrete else (made.low, made.high):
                good &= len(side) in (1, size) and all(v is None or isinstance(v, int | float) for v in side)
            good &= not (made.discrete and (made.shape or made.low or made.high))
            good &= made.discrete or bool(np.less_equal(*made.bounds()).all())
            if made.image is not False:
                low, high = made.bounds()
                good &= made.image is True and pictured(made.shape) and bool((low >= 0).all() and (high <= 255).all())
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError("The model file is damaged: a space of its agent is described wrongly.") from error
        if not good:
            raise ModelFileError("The model file is damaged: a space of its agent is described wrongly.")
        return made


def pictured(shape: tuple[int, ...]) -> bool:
    """Whether bytes of this shape are an image: two sides that are long enough, with or without channels and frames."""
    if len(shape) not in (2, 3, 4):
        return False
    return min(Space(shape=shape).form[:2]) >= _SIDE


def bytes_of(array: np.ndarray, what: str) -> np.ndarray:
    """The numbers as bytes; DataError where they are none."""
    if array.dtype == np.uint8:
        return array
    if not ((array >= 0) & (array <= 255) & (array == np.floor(array))).all():
        raise DataError(f"{what} holds what is no byte; expected whole numbers from 0 to 255.")
    return array.astype(np.uint8)


def box(low: Any, high: Any, shape: tuple[int, ...] | None = None, image: bool = False) -> Space:
    """The space of arrays between two bounds, each a number or an array. image : whether they are images of bytes."""
    shape = np.broadcast(low, high).shape if shape is None else tuple(shape)

    def side(values: Any) -> tuple[float | None, ...]:
        flat = np.broadcast_to(np.asarray(values, dtype=np.float64), shape).reshape(-1)
        told = tuple(float(v) if np.isfinite(v) and abs(v) < 1e30 else None for v in flat)
        return told[:1] if len(set(told)) == 1 else told

    return Space(0, shape, side(low), side(high), image)
