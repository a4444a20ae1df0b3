"""What a step is: frozen arrays and settings, and a call that turns inputs into an output with numpy alone.

A step is a dataclass. Fields that hold numpy arrays go into the file as tensors, all others as JSON. `check` validates
structure (shapes, offsets, finite values) because a file may come from anyone; it must raise ModelFileError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from everymodel.core.errors import ModelFileError

# Filled by @step as modules are imported; a file reaches it through steps.find alone.
STEPS: dict[str, type[Step]] = {}

S = TypeVar("S")


class Step:
    """Base of all steps. `output` says what comes out:

    "matrix" (n, p) features · "value" (n,) or (n, t) regression · "probabilities" (n, k) rows summing to 1
    (multilabel: each column a probability by itself) · "scores" (n,) or (n, k) uncalibrated decision values.
    """

    word: ClassVar[str]
    output: ClassVar[str] = "matrix"
    tolerance: ClassVar[float] = 0.0  # of answers from machine to machine, where they are computed in short floats
    holds_rows: ClassVar[bool] = False  # rows of the training data are among its arrays; the file then says so

    def __call__(self, *inputs: Any) -> Any:
        raise NotImplementedError

    def check(self) -> None:
        """Raise ModelFileError unless the arrays fit together."""

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(JSON settings, arrays)."""
        settings: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray | np.generic):
                arrays[f.name] = np.asarray(value)
            elif value is not None:
                settings[f.name] = list(value) if isinstance(value, tuple) else value
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        """The inverse of `spec`, with validation."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        strange = (set(settings) | set(arrays)) - known
        if strange:
            raise ModelFileError(f"Step {cls.word!r} does not know {sorted(strange)}: the file is damaged or newer.")
        try:
            made = cls(**settings, **arrays)
        except TypeError as error:
            raise ModelFileError(f"Step {cls.word!r} is incomplete in the file: {error}.") from error
        made.check()
        return made


def step(word: str, output: str = "matrix"):
    """Class decorator: makes a frozen dataclass and registers it under `word`, the id written to files forever."""

    def register(cls: type[S]) -> type[S]:
        made = dataclass(frozen=True, eq=False, repr=False)(cls)
        made.word = word  # type: ignore[attr-defined]
        made.output = output  # type: ignore[attr-defined]
        if word in STEPS:
            raise RuntimeError(f"two steps are called {word!r}")
        STEPS[word] = made  # type: ignore[assignment]
        return made

    return register


def need(condition: bool, message: str) -> None:
    """For `check`: raise ModelFileError(message) unless the condition holds."""
    if not condition:
        raise ModelFileError(f"The model file is damaged: {message}.")


class Sparse:
    """A matrix in compressed rows (CSR), as little of it as answering needs.

    data (nnz,) float64, indices (nnz,) column numbers, indptr (n + 1,), shape (n, p).
    """

    __slots__ = ("data", "indices", "indptr", "shape")

    def __init__(self, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]):
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, shape

    def __len__(self) -> int:
        return self.shape[0]

    def dot(self, dense: np.ndarray) -> np.ndarray:
        """This (n, p) times dense (p,) or (p, k) -> (n,) or (n, k)."""
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))  # (nnz,)
        if dense.ndim == 1:
            return np.bincount(rows, self.data * dense[self.indices], minlength=self.shape[0])
        parts = [np.bincount(rows, self.data * d[self.indices], minlength=self.shape[0]) for d in dense.T]
        return np.column_stack(parts)  # (n, k)

    def toarray(self) -> np.ndarray:
        dense = np.zeros(self.shape)
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        np.add.at(dense, (rows, self.indices), self.data)
        return dense

    @staticmethod
    def hstack(blocks: Sequence[np.ndarray | Sparse]) -> Sparse:
        """Side by side; dense blocks lose their zeros."""
        n = blocks[0].shape[0]
        rows, columns, data, start = [], [], [], 0
        for block in blocks:
            if isinstance(block, Sparse):
                rows.append(np.repeat(np.arange(n), np.diff(block.indptr)))
                columns.append(block.indices + start)
                data.append(block.data)
            else:
                r, c = np.nonzero(block)
                rows.append(r)
                columns.append(c + start)
                data.append(block[r, c])
            start += block.shape[1]
        row, column, value = np.concatenate(rows), np.concatenate(columns), np.concatenate(data)
        order = np.lexsort((column, row))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
        return Sparse(value[order], column[order], indptr, (n, start))


_NARROW = 32  # columns


def dot(matrix: np.ndarray | Sparse, dense: np.ndarray) -> np.ndarray:
    """matrix (n, p) times dense (p,) or (p, k) -> (n,) or (n, k).

    A row's answer must not depend on the rows beside it, and BLAS sums in another order for one row than for many: so
    up to `_NARROW` columns are summed row by row. Wider products (kernels, networks) need BLAS; they agree to rounding.
    """
    if isinstance(matrix, Sparse):
        return matrix.dot(dense)
    if dense.ndim > 1 and dense.shape[1] > _NARROW:
        return matrix @ dense
    matrix = np.ascontiguousarray(matrix)
    if dense.ndim == 1:
        return np.einsum("ij,j->i", matrix, np.ascontiguousarray(dense))
    out = np.empty((len(matrix), dense.shape[1]))
    for i, column in enumerate(np.ascontiguousarray(dense.T)):
        np.einsum("ij,j->i", matrix, column, out=out[:, i])
    return out


class Batch:
    """Rows of a table after the schema has read them: one array per feature column, all of length `n`.

    number, boolean (0/1), date (seconds since 1970, UTC): float64, NaN = missing.
    category: int32 codes into the column's levels, -1 = missing, -2 = unseen level.
    text: object array of str, "" = missing.
    """

    __slots__ = ("columns", "n")

    def __init__(self, columns: dict[str, np.ndarray], n: int):
        self.columns, self.n = columns, n

    def __len__(self) -> int:
        return self.n

    def take(self, rows: np.ndarray) -> Batch:
        return Batch({name: values[rows] for name, values in self.columns.items()}, len(rows))

    def join(self, other: Batch) -> Batch:
        """These rows and then those of `other`, which has the same columns."""
        columns = {name: np.concatenate([values, other.columns[name]]) for name, values in self.columns.items()}
        return Batch(columns, self.n + other.n)
