"""Plumbing of convolutional networks: what comes in, how large the network is, the fit, the answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d, validate_data
from torch.nn import functional as F

from everymodel.core.clock import seconds
from everymodel.core.errors import ParameterError
from everymodel.core.finding import Finding
from everymodel.models.neural import _images
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Affine, Sequential
from everymodel.scoring.layers.spectrogram import Signals, Spectrogram, usual_frames
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks import written
from everymodel.training.blocks.convolution import ConvNet, Pixels, whitening
from everymodel.training.device import choose
from everymodel.training.estimator import NetworkEstimator, set_aside
from everymodel.training.images import Augment, Judged
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays

WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)
AUGMENTS = ("auto", "none", "shift", "mirror")
_PASSES = 6  # that a network should get within its budget
_SPEED = {"cpu": 2e10, "cuda": 2e13, "mps": 1e12}  # additions and products a second, roughly


class Convolutional(NetworkEstimator):
    """What classifier and regressor share. Subclasses give `_targets`, `_loss` and the head."""

    _head = "auto"

    def __init__(
        self,
        width: int | None = None,
        depth: int = 2,
        stages: int | None = None,
        activation: str = "relu",
        dropout: float = 0.0,
        dims: int | None = None,
        sample_rate: int | None = None,
        augment: str = "auto",
        shift: int | None = None,
        cutout: float = 0.0,
        mixup: float = 0.0,
        label_smoothing: float = 0.1,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.02,
        weight_decay: float = 0.01,
        optimizer: str = "muon",
        schedule: str = "triangle",
        patience: int | None = None,
        validation_fraction: float = 0.0,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.width = width
        self.depth = depth
        self.stages = stages
        self.activation = activation
        self.dropout = dropout
        self.dims = dims
        self.sample_rate = sample_rate
        self.augment = augment
        self.shift = shift
        self.cutout = cutout
        self.mixup = mixup
        self.label_smoothing = label_smoothing
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from images, signals or sounds X (see the class for their forms) and y."""
        return self.train(X, y)

    def train(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> Any:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        if self.augment not in AUGMENTS:
            raise ParameterError(f"augment={self.augment!r} is unknown: expected one of {', '.join(AUGMENTS)}.")
        self.findings_: list[Finding] = []
        x, y = self._read(X, y)
        self._seed()
        Y = self._targets(y)
        if np.isnan(Y).any():
            raise ValueError("Input y contains NaN. Leave out rows without a target.")
        rows, aside = np.arange(len(x)), np.zeros(0, dtype=np.int64)
        if valid is None and self.validation_fraction and len(x) > 1:
            codes = Y if Y.dtype == np.int64 else None
            rows, aside = set_aside(len(x), self.validation_fraction, np.random.default_rng(self.seed_), codes)
        own, goals = x[rows], Y[rows]  # copies, also where they are all: the source may be read-only
        held: tuple[np.ndarray, np.ndarray] | None = None
        if valid is not None and len(valid[0]):
            held = self._inputs(valid[0]), self._targets(valid[1], learn=False)
        elif len(aside):
            held = x[aside], Y[aside]
        batch = self.batch_size or min(max(2 ** round(math.log2(max(len(own) / 24, 1))), 16), 256)
        epochs = self.epochs or min(max(math.ceil(40 * math.sqrt(1500 / len(own))), 4), 80)
        self.mirrors_ = self._mirrors(own, goals)
        with self._initial():
            self.net_ = self._net(own, threads)
        source = Arrays(
            torch.as_tensor(own),
            torch.as_tensor(goals),
            batch=batch,
            drop_last=len(own) > batch,
            augment=self._augment(own),
        )
        checked = None if held is None else Arrays(*(torch.as_tensor(part) for part in held), batch=512)
        self._train(
            Judged(self.net_, self._loss, 0.0 if self._loss == "square" else self.label_smoothing),
            source,
            valid=checked,
            stop=stop,
            threads=threads,
            epochs=epochs,
            optimizers=Optimizer(
                self.optimizer, self.learning_rate, self.weight_decay, aside=0.1, factors={"last": 1.0, "bias": 1.0}
            ),
            clip=None if self.optimizer == "muon" else 5.0,
            channels_last=self.form_.axes == 2,
            precision="auto",
            compile="auto",
        )
        self.net_.cpu()
        self.history_.notes += [finding.message for finding in self.findings_]
        best = self.history_.best_epoch
        self.epochs_ = int(best) if isinstance(best, int) and best else max(len(self.history_.epochs), 1)
        self._step = None
        return self

    # --- what comes in ---

    _dims: int | None = None

    @property
    def _axes(self) -> int | None:
        return self._dims or self.dims

    @property
    def _rate(self) -> int | None:
        return self.sample_rate

    def _read(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Inputs as one array, and y; the form is learnt."""
        self.sound_ = None
        if _images.is_cells(X):
            cells = _images.listed(X)
            y = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
            check_consistent_length(cells, y)
            y = column_or_1d(y, warn=True) if y.ndim == 1 else y
            axes = self._axes or (2 if not self._rate and _images.are_images(cells) else 1)
            if self._rate:
                return self._hear(cells), y
            x, self.form_, self.findings_ = _images.read_cells(cells, None, axes)
            self.n_features_in_ = int(np.prod(self.form_.shape))
            return x, y
        X, y = validate_data(self, X, y, dtype=None, allow_nd=True, multi_output=True)
        if X.dtype.kind not in "uifb":
            X = X.astype(np.float64)
        self.n_features_in_ = int(np.prod(X.shape[1:]))
        if self._rate:
            return self._hear(X), y
        x, self.form_ = _images.as_array(X, self._axes)
        return x, y

    def _hear(self, X: Any) -> np.ndarray:
        """Sounds as spectrograms (n, frames, bands, 1)."""
        self.sound_ = Spectrogram(rate=float(self._rate or 0), frames=1)
        self.sound_.frames = usual_frames(self.sound_, X)
        self.sound_.check()
        x = self.sound_(X)
        self.form_ = _images.Form(x.shape[1:], True)
        self.n_features_in_ = int(np.prod(np.shape(X)[1:])) if isinstance(X, np.ndarray) and X.ndim > 1 else 1
        return x

    def _inputs(self, X: Any) -> np.ndarray:
        """X in the form that was learnt."""
        if _images.is_cells(X):
            cells = _images.listed(X)
            if self.sound_ is not None:
                return self.sound_(cells)
            return _images.read_cells(cells, self.form_, self.form_.axes)[0]
        if np.asarray(X).ndim == 2:
            X = validate_data(self, X, dtype=None, reset=False)
        else:
            X = check_array(X, dtype=None, allow_nd=True)
        if self.sound_ is not None:
            return self.sound_(X)
        return _images.fitting(_images.as_array(X, self.form_.axes)[0], self.form_)

    # --- the network ---

    def _mirrors(self, x: np.ndarray, goals: np.ndarray) -> tuple[int, ...]:
        if self.augment == "mirror":
            return (2,) if self.form_.axes == 2 else (1,)
        if self.augment != "auto" or self.form_.axes == 1 or self.sound_ is not None:
            return ()
        return _images.mirrors_that_fit(x, goals, self.seed_)

    def _augment(self, x: np.ndarray) -> Augment | None:
        sides = self.form_.shape[:-1]
        shift = [0] * len(sides)
        if self.shift is not None:
            shift = [int(self.shift)] * len(sides)
        elif self.augment != "none" and self._loss != "square":
            shift = [round(side / 14) for side in sides]
        fill = torch.as_tensor(x[:2000].reshape(-1, x.shape[-1]).mean(axis=0, dtype=np.float64))
        made = Augment(len(sides), tuple(shift), self.mirrors_, self.cutout, self.mixup, fill)
        return made if any(shift) or self.mirrors_ or self.cutout or self.mixup else None

    def _net(self, x: np.ndarray, threads: int | None) -> ConvNet:
        *sides, channels = self.form_.shape
        axes = len(sides)
        part = x[np.random.default_rng(self.seed_).permutation(len(x))[:2000]]
        flat = part.reshape(-1, channels).astype(np.float64)
        spread = flat.std(axis=0)
        spread = np.where(spread > 1e-6 * (1 + np.abs(flat.mean(axis=0))), spread, 1.0)
        front = Pixels(flat.mean(axis=0), spread, tuple(sides), axes)
        size = (3 if channels == 1 else 2) if axes == 2 else 9
        seen = front(torch.as_tensor(part))  # (m, c, sides...)
        seen = F.pad(seen, (size // 2,) * (2 * axes))
        if axes == 2:
            patches = F.unfold(seen[:400], size).transpose(1, 2).reshape(-1, channels, size, size)
        else:
            patches = seen.unfold(2, size, 1).transpose(1, 2).reshape(-1, channels, size)
        filters = whitening(patches[:: len(patches) // 100_000 + 1], most=min(2 * channels * size**axes, 64))
        factor = 2 if axes == 2 or max(sides) < 128 else 4
        shrink = 1
        while max(sides) // shrink > (48 if axes == 2 else 1024):
            shrink *= 2
        stages = self.stages or min(max(round(math.log(max(*sides, 4) / shrink / 3, factor)), 1), 4)
        width = self.width or self._sized(sides, len(filters), stages, factor, shrink, len(x), threads)
        widths = tuple(width * 2 ** min(i, 3) for i in range(stages))
        last = max(side // shrink // factor**stages for side in sides)
        head = self._head if self._head != "auto" else ("max" if last <= 4 else "average")
        return ConvNet(
            front,
            filters,
            tuple(sides),
            widths,
            self._outputs,
            depth=int(self.depth),
            size=3 if axes == 2 else 7,
            factor=factor,
            head=head,
            activation=self.activation,
            dropout=self.dropout,
            shrink=shrink,
            mirrors=self.mirrors_,
        )

    def _sized(
        self, sides: list[int], first: int, stages: int, factor: int, shrink: int, rows: int, threads: int | None
    ) -> int:
        """The width: usual for these inputs, or less where the budget is short and the rows are many."""
        axes, where = len(sides), choose(self.device).type
        usual = 64 if where == "cuda" else 32 if axes == 1 or self.form_.shape[-1] > 1 or max(sides) <= 12 else 16
        limit = seconds(self.budget)
        if limit is None:
            return usual
        size = 3**2 if axes == 2 else 7

        def cost(width: int) -> float:
            places, inputs, total = math.prod(s / shrink for s in sides), first, 0.0
            for i in range(stages):
                own = width * 2 ** min(i, 3)
                total += places * size * inputs * own
                places /= factor**axes
                total += (self.depth - 1) * places * size * own * own
                inputs = own
            return 6 * total * rows * _PASSES / (_SPEED[where] * (threads or 1))

        return max([w for w in WIDTHS if w <= usual and cost(w) <= limit], default=WIDTHS[0])

    # --- answers ---

    def step(self, places: np.ndarray | None = None, classes: int | None = None) -> Network:
        """The fitted network as a scoring step; see Network for `places` and `classes`."""
        parts: list[Layer] = [] if self.sound_ is None else [self.sound_]
        if self.form_.cells and self.form_.axes == 1:
            parts.append(Signals(*self.form_.shape))
        body = written(self.net_)
        parts += body.layers if isinstance(body, Sequential) else [body]
        if self._loss == "square":
            parts.append(Affine(self.scale_.astype(np.float32), self.offset_.astype(np.float32)))
            return Network(Sequential(parts), gives="value", squeeze=not self.many_)
        return Network(Sequential(parts), gives="probabilities", link=self._loss, places=places, classes=classes)

    def _answers(self, X: Any) -> np.ndarray:
        """What the packed network says, computed by torch."""
        check_is_fitted(self, "net_")
        x = self._inputs(X)
        net = self.net_.eval()
        size = max(1, min(512, (1 << 22) // max(int(np.prod(x.shape[1:])), 1)))
        with torch.no_grad():
            parts = [
                net(torch.tensor(np.ascontiguousarray(x[low : low + size]))).numpy() for low in range(0, len(x), size)
            ]
        return np.concatenate(parts).astype(np.float64)

    def layers(self, X: Any) -> list[tuple[str, Layer, np.ndarray]]:
        """(path, layer, output) of each layer for inputs X, in numpy: convolutions, activations, poolings, ..."""
        check_is_fitted(self, "net_")
        seen: list[tuple[str, Layer, np.ndarray]] = []
        step = self.step()
        start = 1 if self.sound_ is not None or (self.form_.cells and self.form_.axes == 1) else 0
        root = step.root()
        assert isinstance(root, Sequential)
        Sequential(root.layers[start:]).run(self._inputs(X), lambda path, layer, x, y: seen.append((path, layer, y)))
        return seen
