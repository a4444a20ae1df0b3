"""What an agent sees and what it may do: whole numbers below n, or boxes of real numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ModelFileError

_MOST = 1 << 24  # numbers in one observation


@dataclass(frozen=True)
class Space:
    """`n` choices 0 to n - 1, or, where n is 0, arrays of `shape` between `low` and `high`.

    low, high : one number for all, or one for each of the flattened numbers; infinite ones are None.
    """

    n: int = 0
    shape: tuple[int, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()

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

    def suits(self, other: Space, bounds: bool = False) -> bool:
        """Whether what is of one space is of the other: equal choices, or equal shapes; with `bounds` these too, but
        for roundings."""
        if (self.n, self.shape) != (other.n, other.shape):
            return False
        return self.discrete or not bounds or all(map(np.allclose, self.bounds(), other.bounds()))

    def batch(self, values: Any, what: str = "observation") -> tuple[np.ndarray, bool]:
        """(an array (m, *shape) or (m,) of whole numbers, whether one came rather than several).

        Raises
        ------
        DataError
            for another shape, numbers that are not finite, or choices that are not there.
        """
        try:
            with np.errstate(over="ignore"):  # too large for float32: infinite, and said below
                array = np.asarray(values, dtype=None if self.discrete else np.float32)
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
        return array, one

    def example(self, rng: np.random.Generator) -> Any:
        """A made-up one inside the bounds; where there are none, near 0."""
        if self.discrete:
            return int(rng.integers(self.n))
        low, high = self.bounds()
        low, high = np.maximum(low, -1.0 * (high >= -1)), np.minimum(high, 1.0)
        return (low + (np.maximum(high, low) - low) * rng.random(self.shape)).astype(np.float32)

    def __str__(self) -> str:
        if self.discrete:
            return f"a whole number from 0 to {self.n - 1}"
        size = " x ".join(map(str, self.shape)) or "1"
        return f"{size} number{'s' if size != '1' else ''}"

    def to_dict(self) -> dict[str, Any]:
        if self.discrete:
            return {"n": self.n}
        return {"shape": list(self.shape), "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_dict(cls, told: Any) -> Space:
        """The inverse of `to_dict`, with validation; ModelFileError for what is no space."""
        try:
            made = cls(**{k: v if k == "n" else tuple(v) for k, v in told.items()})
            size = made.width
            good = all(type(s) is int and s > 0 for s in made.shape) and type(made.n) is int and 0 < size <= _MOST
            for side in () if made.discrete else (made.low, made.high):
                good &= len(side) in (1, size) and all(v is None or isinstance(v, int | float) for v in side)
            good &= not (made.discrete and (made.shape or made.low or made.high))
            good &= made.discrete or bool(np.less_equal(*made.bounds()).all())
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError("The model file is damaged: a space of its agent is described wrongly.") from error
        if not good:
            raise ModelFileError("The model file is damaged: a space of its agent is described wrongly.")
        return made


def box(low: Any, high: Any, shape: tuple[int, ...] | None = None) -> Space:
    """The space of arrays between two bounds, each a number or an array."""
    shape = np.broadcast(low, high).shape if shape is None else tuple(shape)

    def side(values: Any) -> tuple[float | None, ...]:
        flat = np.broadcast_to(np.asarray(values, dtype=np.float64), shape).reshape(-1)
        told = tuple(float(v) if np.isfinite(v) and abs(v) < 1e30 else None for v in flat)
        return told[:1] if len(set(told)) == 1 else told

    return Space(0, shape, side(low), side(high))
