"""Recurrent forecaster: reads a window of a series and says quantiles of all next steps at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from everymodel.core.errors import ParameterError
from everymodel.core.seeds import derive
from everymodel.models._series import SeriesForecaster, learning_rows, read, usual_length, whole
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.forecast import Lagged
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks.attention import WindowReader
from everymodel.training.estimator import NetworkEstimator
from everymodel.training.objective import Losses, Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays

CARD = {
    "name": "recurrent_forecaster",
    "title": "Recurrent forecaster",
    "summary": "Reads a window of a series step by step and says what comes next as quantiles, learnt from all series.",
    "choose": "Many series of a kind, or one long one, whose moves depend on the order of what came before.",
    "avoid": "A single series of less than a hundred values; there smoothing is better and quicker.",
    "gives": ["intervals"],
    "needs": {"package": "torch", "inputs": "sequence"},
    "cost": {"scale": 0.002, "rows_power": 1.0, "columns_power": 0.5},
    "references": [
        "Wen, Torkkola, Narayanaswamy and Madeka (2017), A multi-horizon quantile recurrent forecaster.",
        "Lai, Chang, Yang and Liu (2018), Modeling long- and short-term temporal patterns with deep neural networks.",
    ],
    "advice": ["series", "slow", "big_data"],
    "priority": 4,
    "parameters": {
        "horizon": {},
        "season": {},
        "length": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 10000,
            "text": "Values in a window; by default two seasons and more, as far as the series are long enough.",
        },
        "cell": {
            "type": "choice",
            "default": "gru",
            "choices": ["gru", "lstm", "rnn"],
            "text": "What carries memory from step to step.",
        },
        "hidden": {"type": "int", "default": 32, "low": 1, "high": 4096, "log": True, "text": "Numbers of memory."},
        "layers": {"type": "int", "default": 1, "low": 1, "high": 8, "text": "Recurrent layers, one above the other."},
        "dropout": {"default": 0.1},
        "transform": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "none", "log"],
            "text": "Learn from logarithms; auto does where all values are above zero.",
        },
        "epochs": {"default": None, "text": "Passes over the windows; none: as many as make about 600 steps."},
        "batch_size": {"default": 64},
        "learning_rate": {"default": 0.003},
        "weight_decay": {"default": 0.01},
        "optimizer": {},
        "schedule": {"default": "one_cycle"},
        "patience": {},
        "validation_fraction": {
            "default": 0.0,
            "text": "Share of the windows, the last ones, that choose the best epoch.",
        },
        "device": {},
    },
    "tiny": [
        {"horizon": 4, "hidden": 8, "epochs": 4, "random_state": 0},
        {
            "horizon": 3,
            "cell": "lstm",
            "hidden": 4,
            "layers": 2,
            "epochs": 2,
            "validation_fraction": 0.2,
            "patience": 2,
            "random_state": 1,
        },
    ],
    "presets": [{}],
    "classes": {
        "forecaster": {
            "class": "everymodel.models.neural.recurrent_forecaster:RecurrentForecaster",
            "tasks": ["forecast"],
        }
    },
}
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
_STEPS = 600  # of the optimiser, where epochs are not given


class _Pinball(Objective):
    """Mean quantile loss of all steps ahead."""

    falls = True

    def __init__(self, net: torch.nn.Module, quantiles: torch.Tensor):
        super().__init__(net=net)
        self.nets.register_buffer("quantiles", quantiles, persistent=False)

    def step(self, nets: Any, batch: Any) -> Losses:
        x, z = batch  # (b, L), (b, h)
        q = nets.quantiles
        said = nets["net"](x).view(*z.shape, len(q))
        d = z[..., None] - said
        return {"net": torch.maximum(q * d, (q - 1) * d).mean() * 2}


class RecurrentForecaster(SeriesForecaster, NetworkEstimator):
    """A recurrent network over windows of all series, all steps ahead at once, quantiles by pinball loss.

        z = W window + V h_L,   h_t = cell(window_t, h_{t-1})

    Windows are centred and divided by their spread, so that one network serves series of any size. W starts at the
    seasonal-naive forecast, and the network learns what to change of it.

    Parameters
    ----------
    horizon : steps ahead, all said at once. season: steps of a season; None to find it out.
    length : values in a window. cell : "gru", "lstm" or "rnn". hidden, layers, dropout : of the network.
    transform : "auto", "none" or "log".
    epochs, batch_size, learning_rate, weight_decay, optimizer, schedule, patience, validation_fraction, budget, device,
    checkpoint, random_state, verbose : as for all networks; validation windows are the last ones of each series.

    Attributes
    ----------
    net_, history_, season_, series_, step_, length_, log_

    Raises
    ------
    DataError, ParameterError

    Examples
    --------
    >>> wave = np.sin(np.arange(120) * np.pi / 6) + 3
    >>> model = RecurrentForecaster(horizon=3, season=12, epochs=20, random_state=0).fit(wave[:117])
    >>> bool(np.abs(model.predict() - wave[117:]).max() < 0.3)
    True
    """

    def __init__(
        self,
        horizon: int = 12,
        season: int | None = None,
        length: int | None = None,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 1,
        dropout: float = 0.1,
        transform: str = "auto",
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 0.003,
        weight_decay: float = 0.01,
        optimizer: str = "adamw",
        schedule: str = "one_cycle",
        patience: int | None = None,
        validation_fraction: float = 0.0,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: Any = None,
        verbose: int | bool = 0,
    ):
        self.horizon = horizon
        self.season = season
        self.length = length
        self.cell = cell
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        self.transform = transform
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

    def _check(self) -> None:
        super()._check()
        for name, words in (("cell", ("gru", "lstm", "rnn")), ("transform", ("auto", "none", "log"))):
            if getattr(self, name) not in words:
                raise ParameterError(f"{name}={getattr(self, name)!r} is not possible: expected {', '.join(words)}.")
        for name in ("hidden", "layers", "batch_size"):
            whole(name, getattr(self, name))
        if self.length is not None:
            whole("length", self.length)
        if not 0 <= self.validation_fraction < 1:
            raise ParameterError(
                f"validation_fraction={self.validation_fraction!r} is not possible: expected a share from 0 to below 1."
            )

    def _learn(
        self, cells: list[np.ndarray], stop: Callable[[], bool] | None = None, threads: int | None = None
    ) -> None:
        seed = self._seed()
        self.log_ = self.transform == "log" or (self.transform == "auto" and all(y.min() > 0 for y in cells))
        horizon = int(self.horizon)
        self.length_ = self.length or usual_length(cells, horizon, self.season_)
        aside = [0 if not self.validation_fraction else min(
            max(1, round((len(y) - self.length_) * self.validation_fraction)), max(len(y) - horizon - 4, 0)
        ) for y in cells]  # fmt: skip
        learnt = [y[: len(y) - a] for y, a in zip(cells, aside, strict=True)]
        x, z = learning_rows(learnt, self.length_, horizon, self.log_, derive(seed, "windows"))
        valid = None
        if any(aside):
            # Windows whose answers reach into the last part; what they hold of the first part is known anyway.
            late = [y[-(self.length_ + horizon + a - 1) :] for y, a in zip(cells, aside, strict=True) if a]
            vx, vz = learning_rows(late, self.length_, horizon, self.log_, derive(seed, "late windows"))
            valid = Arrays(_tensor(vx), _tensor(vz), batch=512, shuffle=False)
        cycle = self.season_ if self.season_ <= self.length_ else 1
        start = torch.zeros(self.length_, horizon, len(QUANTILES))
        ahead = np.arange(horizon)
        start[self.length_ - cycle + ahead % cycle, ahead] = 1.0
        with self._initial():
            net = WindowReader(self.cell, self.length_, horizon * len(QUANTILES), int(self.hidden), int(self.layers),
                               float(self.dropout), start.flatten(1))  # fmt: skip
        source = Arrays(_tensor(x), _tensor(z), batch=int(self.batch_size))
        epochs = self.epochs or int(np.clip(_STEPS // source.steps(), 5, 300))
        rate, decay = self.learning_rate, self.weight_decay
        self._train(
            _Pinball(net, torch.tensor(QUANTILES)),
            source,
            valid=valid,
            stop=stop,
            threads=threads,
            epochs=epochs,
            clip=1.0,
            optimizers=Optimizer(self.optimizer, rate, decay),
        )
        self.net_ = net.cpu().eval()

    def _step(self) -> Step:
        inner = Network(self.net_.layer(), precision="float64", squeeze=False)
        quantiles = np.array(QUANTILES)
        return Lagged(inner, self.length_, int(self.horizon), self.season_, self.log_, "direct", quantiles)

    def predict_quantiles(self, history: Any = None) -> dict[float, np.ndarray]:
        """The next values at each quantile learnt: {0.1: (horizon,), ...}, or (n, horizon) after several series."""
        single, cells = (self.single_, self.series_) if history is None else read(history)
        step = self.step_
        assert isinstance(step, Lagged)
        spread = step.spread(cells)  # (n, h, q)
        return {q: spread[0, :, i] if single else spread[:, :, i] for i, q in enumerate(QUANTILES)}


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def fit(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    valid: Any = None,
    stop: Callable[[], bool] | None = None,
    threads: int | None = None,
    native: Any = (),
) -> Any:
    """Learn from series; end early when `stop` says so."""
    learn = model._learn
    model._learn = lambda cells: learn(cells, stop, threads)
    try:
        return model.fit(X)
    finally:
        del model._learn


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step: cells (T, 1) to (n, horizon)."""
    return model.step_
