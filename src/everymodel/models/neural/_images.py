"""Plumbing: images, signals and sounds in any form, read as one array; and whether mirror images mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.core.finding import Finding
from everymodel.scoring import images, sequences
from everymodel.scoring.layers.spectrogram import Signals

_ENOUGH = 0.85  # of what a linear model knows must be left in a mirror, else a mirrored image is another thing
_ROWS = 2000  # that the linear model is asked about


@dataclass(frozen=True)
class Form:
    """What inputs look like: shape (h, w, c) of images or (t, c) of signals, read from `cells` or from arrays."""

    shape: tuple[int, ...]
    cells: bool = False

    @property
    def axes(self) -> int:
        return len(self.shape) - 1


def is_cells(X: Any) -> bool:
    """Whether X is a list or column of paths, bytes, Pillow images, or arrays that differ in shape."""
    if isinstance(X, np.ndarray):
        return X.dtype.kind in "OSU" and X.ndim == 1
    if hasattr(X, "to_numpy") and getattr(X, "ndim", 0) == 1:
        return True
    if not isinstance(X, list | tuple) or not X:
        return False
    first = X[0]
    if isinstance(first, np.ndarray):
        signals = first.ndim == 1 or (first.ndim == 2 and first.shape[1] <= 8)  # later ones may be longer or shorter
        return signals or len({getattr(x, "shape", None) for x in X}) > 1 or X[0].dtype.kind == "O"
    if isinstance(first, list | tuple):
        return first != [] and not isinstance(first[0], list | tuple) and len({len(x) for x in X}) > 1
    return isinstance(first, str | bytes | bytearray) or hasattr(first, "getbands") or hasattr(first, "__fspath__")


def listed(X: Any) -> list[Any]:
    """Cells as a list."""
    return X.to_numpy().tolist() if hasattr(X, "to_numpy") else list(X)


def are_images(cells: Sequence[Any]) -> bool:
    """Whether cells look like images rather than like sequences of numbers."""
    some = cells[:20]
    return not any(sequences.is_sequence(c) and not images.is_image(c) for c in some)


def read_cells(cells: Sequence[Any], form: Form | None, axes: int) -> tuple[np.ndarray, Form, list[Finding]]:
    """All cells in one array (n, h, w, c) of bytes or (n, t, c) of float32; DataError names those that cannot be read.

    With `form` (from the fit) cells take its shape; without, a shape is chosen.
    """
    findings: list[Finding] = []
    if not len(cells):
        raise DataError("There is no image or signal to read: 0 came.")
    if axes == 1:
        return _signals(cells, form)
    if form is None:
        shape, mixed = images.common_shape(cells)
        form = Form(shape, True)
        if mixed:
            text = f"Images of different sizes were resized to {shape[0]} x {shape[1]} pixels."
            findings.append(Finding("images-resized", "info", text, "Crop them alike if shapes matter."))
    made, wrong = images.stack(cells, form.shape)
    if wrong:
        row, why = wrong[0]
        raise DataError(
            f"{len(wrong)} of {len(cells)} images cannot be read; the first is row {row}: {why}. "
            "Remove these rows, or put the files right."
        )
    return made, form, findings


def _signals(cells: Sequence[Any], form: Form | None) -> tuple[np.ndarray, Form, list[Finding]]:
    findings: list[Finding] = []
    width = None if form is None else form.shape[1]
    made = []
    for row, cell in enumerate(cells):
        try:
            made.append(sequences.steps(cell, width))
        except sequences.SequenceCellError as error:
            raise DataError(f"The signal in row {row} cannot be read: {error}.") from error
        width = made[-1].shape[1]
    lengths = [len(s) for s in made]
    if form is None:
        form = Form((max(int(np.quantile(lengths, 0.95)), 1), int(width or 1)), True)
        if len(set(lengths)) > 1:
            text = f"Signals have {min(lengths)} to {max(lengths)} steps; each begins or ends at step {form.shape[0]}."
            findings.append(Finding("lengths-differ", "info", text, "Shorter ones are continued by zeros."))
    return Signals(*form.shape)(made), form, findings


def as_array(X: Any, axes: int | None) -> tuple[np.ndarray, Form]:
    """Numbers (n, t), (n, t, c), (n, h, w) or (n, h, w, c) with the axis of channels, and their form."""
    X = np.asarray(X)
    if axes is None:
        axes = 1 if X.ndim == 2 else 2
    if X.ndim not in (axes + 1, axes + 2):
        wanted = "(n, steps) or (n, steps, signals)" if axes == 1 else "(n, height, width) or with channels"
        raise DataError(f"Inputs of shape {X.shape} came; expected {wanted}. dims=1 is for signals, dims=2 for images.")
    if X.ndim == axes + 1:
        X = X[..., None]
    if 0 in X.shape[1:]:
        raise DataError(f"Inputs of shape {X.shape[1:]} hold no number.")
    return (X if X.dtype == np.uint8 else X.astype(np.float32, copy=False)), Form(tuple(X.shape[1:]))


def fitting(X: np.ndarray, form: Form) -> np.ndarray:
    """X unless its shape is another one than at the fit."""
    if X.shape[1:] != form.shape:
        raise DataError(f"Inputs of shape {X.shape[1:]} came; the network was fitted on {form.shape}. Resize them.")
    return X


def mirrors_that_fit(x: np.ndarray, codes: np.ndarray, seed: int) -> tuple[int, ...]:
    """Axes along which images (n, h, w, c) may be mirrored without becoming another thing.

    A ridge regression on small copies of half of the rows is asked about the other half, as they are and mirrored: if
    most of what it knows above chance is left in the mirror, mirror images mean the same. It learns only from
    rows of the training, and no row that a score is taken from.

    codes (n,) int64 classes, or (n, t) float targets.
    """
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(x))[: 2 * _ROWS]
    if len(rows) < 40 or min(x.shape[1:3]) < 4:
        return ()
    small = np.stack([_small(image) for image in x[rows].astype(np.float32)])
    first, second = np.arange(len(rows)) < len(rows) // 2, np.arange(len(rows)) >= len(rows) // 2
    classes = codes.ndim == 1
    goal = np.eye(int(codes.max()) + 1, dtype=np.float64)[codes[rows]] if classes else codes[rows].astype(np.float64)

    def told(seen: np.ndarray) -> float:
        """What is known above chance of the second half."""
        answer = predict(seen)
        if classes:
            right = float(np.mean(answer.argmax(axis=1) == goal[second].argmax(axis=1)))
            chance = float(np.bincount(codes[rows][second]).max() / second.sum())
            return right - chance
        rest = goal[second] - goal[first].mean(axis=0)
        return 1.0 - float(((goal[second] - answer) ** 2).sum() / max((rest**2).sum(), 1e-12))

    flat = small[first].reshape(int(first.sum()), -1).astype(np.float64)
    centre, spread = flat.mean(axis=0), flat.std() + 1e-9
    flat, middle = (flat - centre) / spread, goal[first].mean(axis=0)
    gram = flat @ flat.T
    weights = flat.T @ np.linalg.solve(
        gram + 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram)), goal[first] - middle
    )

    def predict(seen: np.ndarray) -> np.ndarray:
        return (seen.reshape(len(seen), -1) - centre) / spread @ weights + middle

    own = small[second]
    known = told(own)
    doubt = 2.0 / np.sqrt(second.sum())  # below this the linear model knows nothing that could be lost
    if known < doubt:
        return ()
    return tuple(axis for axis in (2, 1) if told(np.flip(own, axis)) >= _ENOUGH * known)


def _small(image: np.ndarray, most: int = 12) -> np.ndarray:
    """(h, w, c) as at most 12 x 12 means."""
    for axis in (0, 1):
        side = image.shape[axis]
        if side > most:
            edges = (np.arange(most) * side) // most
            image = np.add.reduceat(image, edges, axis=axis)
            counts = np.diff([*edges, side]).reshape([-1 if i == axis else 1 for i in range(3)])
            image = image / counts
    return image
