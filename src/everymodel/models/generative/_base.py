"""What all models that make data share: how data are read, and the verbs, answered by the step that a file holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from everymodel.core.clock import seconds
from everymodel.core.errors import DataError, ParameterError
from everymodel.scoring import images as cells_of_images
from everymodel.scoring.generator import STEPS, able, between
from everymodel.scoring.steps.generating import Sampler
from everymodel.training.estimator import Classes, NetworkEstimator

EPOCH = 200  # steps between two looks at the validation figures
ENDLESS = 10**9  # steps of a run that its budget ends
FEW = 100  # images below which it is said that they are few
_SIDES = (4, 1024)  # of images


@dataclass
class Data:
    """Rows or images as a network takes them, and the way back.

    values : (n, p), or images (n, c, h, w) in -1 to 1. shape : (h, w, c) of images, else ().
    shift, spread, low, high, whole : (p,) of rows or (1,) of images, as in `LatentGenerator`.
    notes : what was done to the data, in sentences.
    """

    values: torch.Tensor
    shape: tuple[int, ...]
    shift: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray | None
    notes: list[str]

    @property
    def flat(self) -> torch.Tensor:
        """(n, p): images pixel by pixel with the channels last."""
        v = self.values
        return v.permute(0, 2, 3, 1).reshape(len(v), -1) if self.shape else v

    def units(self) -> dict[str, Any]:
        """What `LatentGenerator` needs to say samples in the units of the data."""
        names = ("shift", "spread", "low", "high", "whole")
        return {name: getattr(self, name) for name in names} | {"shape": self.shape}


def read(X: Any, *, least: int = 2, only: str | None = None) -> Data:
    """Rows (a frame or an array of numbers) or images (arrays, paths, Pillow images), checked and brought to scale.

    Parameters
    ----------
    only : "image" or "matrix", where a model takes no other.
    """
    if _pictures(X) if only is None else only == "image":
        return _images(X, least)
    try:
        x = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            "The rows hold cells that are no numbers. For tables with words there is TableDiffusion."
        ) from error
    if x.ndim != 2 or not x.shape[1]:
        raise DataError(f"Data of shape {x.shape} came; expected rows (n, p), or images (n, h, w) or (n, h, w, c).")
    if len(x) < least:
        raise DataError(f"{len(x)} rows came; expected {least} or more.")
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).any(axis=1).sum())
        raise DataError(f"{bad} rows hold NaN or infinite numbers: fill them or drop these rows.")
    shift, spread = x.mean(axis=0), x.std(axis=0)
    spread[x.min(axis=0) == x.max(axis=0)] = 0.0  # and not what rounding leaves
    if not spread.any():
        raise DataError("All rows are equal, so there is nothing to learn: give rows that differ.")
    spread = np.where(spread > 0, spread, 1.0)
    values = torch.from_numpy(((x - shift) / spread).astype(np.float32))
    whole = (x == np.floor(x)).all(axis=0)
    return Data(values, (), shift, spread, x.min(axis=0), x.max(axis=0), whole.astype(np.int64), [])


def _pictures(X: Any) -> bool:
    if hasattr(X, "ndim") and not hasattr(X, "columns"):
        return X.ndim >= 3 or (X.ndim == 1 and len(X) > 0 and _picture(X[0]))
    return isinstance(X, list | tuple) and len(X) > 0 and _picture(X[0])


def _picture(cell: Any) -> bool:
    return cells_of_images.is_path(cell) or cells_of_images.is_image(cell)


def _images(X: Any, least: int) -> Data:
    cells = X if isinstance(X, np.ndarray) and X.dtype != object else list(X)
    if len(cells) < least:
        raise DataError(f"{len(cells)} images came; expected {least} or more.")
    notes: list[str] = []
    if isinstance(cells, np.ndarray) and cells.dtype == np.uint8 and cells.ndim in (3, 4):
        made = cells[..., None] if cells.ndim == 3 else cells
        if made.shape[-1] not in (1, 3):
            raise DataError(f"Images of {made.shape[-1]} channels came; expected 1 (grey) or 3 (colours).")
        shape = tuple(made.shape[1:])
    else:
        shape, mixed = cells_of_images.common_shape(cells, longest=None, keep=_SIDES[1])
        made, bad = cells_of_images.stack(cells, shape)
        if bad:
            raise DataError(
                f"{len(bad)} of {len(cells)} images cannot be read; the first, number {bad[0][0]}: {bad[0][1]}."
            )
        if mixed:
            notes.append(f"Images of different sizes or colours came: all were brought to {shape}.")
    if min(shape[:2]) < _SIDES[0] or max(shape[:2]) > _SIDES[1]:
        raise DataError(
            f"Images of {shape[0]} x {shape[1]} pixels came; expected sides from {_SIDES[0]} to {_SIDES[1]}."
        )
    if (made == made[:1]).all():
        raise DataError("All images are equal, so there is nothing to learn: give images that differ.")
    if len(made) < FEW:
        notes.append(f"{len(made)} images are few: what is made will be close to them. A hundred and more are better.")
    values = torch.tensor(np.ascontiguousarray(made.transpose(0, 3, 1, 2)), dtype=torch.float32).div_(127.5).sub_(1.0)
    one = np.full(1, 127.5)
    return Data(values, shape, one, one, np.zeros(1), np.full(1, 255.0), None, notes)


class Generative(NetworkEstimator):
    """Base of the estimators that make data. Subclasses build `step_` at the end of `fit`; the verbs are its own.

    Attributes
    ----------
    step_ : the numpy step that answers, here as in the model file.
    history_ : losses and validation figures; its notes tell of what was put right.
    film_ : list of (step, samples) during the fit, from the same draws, where the model keeps one.
    """

    def sample(
        self,
        n: int = 1,
        condition: Any = None,
        *,
        seed: int | None = None,
        truncation: float | None = None,
        **options: Any,
    ) -> Any:
        """`n` new samples; see `everymodel.scoring.steps.generating.Sampler.sample`."""
        return self._step().sample(n, condition, seed=seed, truncation=truncation, **options)

    def interpolate(self, a: Any, b: Any, steps: int = STEPS, *, condition: Any = None) -> Any:
        """Samples on the way from a to b: seeds (of a class), latent variables, or data where the model can encode."""
        return between(self._step(), a, b, steps, self._cells, condition)

    def encode(self, X: Any, **given: Any) -> np.ndarray:
        """(n, d) latent variables of data; condition=... says their classes where the model learnt with classes."""
        return able(self._step(), "encode")(self._cells(X), **given)

    def decode(self, Z: Any) -> Any:
        """Samples for latent variables (n, d)."""
        return able(self._step(), "decode")(np.asarray(Z))

    def reconstruct(self, X: Any, **given: Any) -> Any:
        """What is left of data that is encoded and decoded again."""
        return self.decode(self.encode(X, **given))

    def evaluate(
        self,
        X: Any,
        y: Any = None,
        *,
        train: Any = None,
        train_labels: Any = None,
        n: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        budget: float | None = None,
    ) -> dict[str, float]:
        """How near samples come to rows or images that the fit has not seen.

        Parameters
        ----------
        X, y : held-out data, and their classes where samples are asked for classes.
        train, train_labels : what the model was fitted on; with it copies are found, and real data are compared with
            real data in the same number.
        n : samples; by default as many as are held out, 2,000 at most.
        steps, budget : of training the network that images are compared by: by default 100 to 400, and seconds that
            it, and those that learn from samples, may take.

        Returns
        -------
        frechet, kernel, precision, recall, density, coverage, c2st, copied, agreement, cas; a name with "_real" at its
        end is what real data reach. See `_evaluate.examine`; what it saw stays in `examined_`.

        Raises
        ------
        DataError
            when fewer than 20 rows are held out.
        """
        from everymodel.models.generative._evaluate import examine

        told = None if train is None else self._cells(train)
        labels = None if train is None else train_labels
        self.examined_ = examine(
            self._step(), self._cells(X), y, train=told, train_labels=labels, n=n, seed=seed, steps=steps,
            budget=budget,
        )  # fmt: skip
        return self.examined_.figures

    def _cells(self, X: Any) -> Any:
        """Data as the step takes them."""
        if self._step().makes == "images":
            shape = self._step().columns()[0].shape
            made, bad = cells_of_images.stack([X] if _picture(X) else list(X), shape)
            if bad:
                raise DataError(f"Image {bad[0][0]} cannot be read: {bad[0][1]}.")
            return made
        return np.atleast_2d(np.asarray(X, dtype=np.float64))

    def _step(self) -> Sampler:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "step_")
        return self.step_

    def _length(self, default: int, steps: int | None = None, *, endless: bool = True, looks: int = 1) -> int:
        """Epochs of `epoch_` steps: as many as asked for, endless where only a budget is given, else `default`.

        Parameters
        ----------
        endless : False for models that have learnt enough after `default` steps, whatever the budget.
        looks : at the validation figures, at least, where there are 20 steps between two of them.
        """
        steps = getattr(self, "steps", None) if steps is None else steps
        if steps is not None and steps < 1:
            raise ParameterError(f"steps={steps!r} came; it must be 1 or more.")
        if steps is None:
            steps = ENDLESS if endless and seconds(getattr(self, "budget", None)) is not None else default
        epochs = max(math.ceil(steps / EPOCH), min(looks, steps // 20))
        self.epoch_ = math.ceil(steps / epochs)
        return epochs


def labels_of(y: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(classes (c,), codes (n,)) of y for n rows."""
    if y is None:
        raise DataError("This model learns what each row is, so it needs y: fit(X, y).")
    coding = Classes(y)
    codes = coding.codes(y)
    if coding.several or len(codes) != n:
        raise DataError(f"y of shape {np.shape(y)} came for {n} rows; expected a class for each.")
    if len(coding.labels) < 2:
        raise DataError(f"All rows are of one class ({coding.labels[0]!r}): use a model that needs no y.")
    return coding.labels, codes


def labelled(y: Any, n: int) -> tuple[Any, np.ndarray]:
    """(the classes that are known, which of n rows have one (n,) bool); None and NaN are none."""
    if y is None:
        return None, np.ones(n, dtype=bool)  # said by `labels_of`
    if np.shape(y) != (n,):
        raise DataError(f"y of shape {np.shape(y)} came for {n} rows; expected a class for each.")
    cells = np.array([v if v == v else None for v in list(y)], dtype=object)
    known = np.array([v is not None for v in cells])
    if known.all():
        return y, known
    if not known.any():
        raise DataError("No row has a class: give y for some of them, or leave conditional=True out.")
    found = cells[known].tolist()
    whole = all(isinstance(v, float) and v.is_integer() for v in found)  # numbers beside NaN
    return np.array([int(v) for v in found] if whole else found), known


def fit(
    model: Any, X: Any, y: Any = None, *, stop: Callable[[], bool] | None = None, threads: int | None = None
) -> Any:
    """Fit under a stop and on some threads, as the search asks; a generator file imports this as its own `fit`."""
    model._stop, model._threads = stop, threads
    try:
        return model.fit(X, y)
    finally:
        del model._stop, model._threads
