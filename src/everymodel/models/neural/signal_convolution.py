"""Convolutional networks for columns of signals and sounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models.neural._hooks import fit, pack, refit_parameters
from everymodel.models.neural._images import is_cells, listed
from everymodel.models.neural.convolutional import ConvolutionalClassifier, ConvolutionalRegressor

__all__ = ["SignalConvolutionClassifier", "SignalConvolutionRegressor", "fit", "pack", "refit_parameters"]

CARD = {
    "name": "signal_convolution",
    "title": "Convolutional network for signals and sounds",
    "summary": "Small filters slide along a signal, or over the spectrogram of a sound.",
    "choose": "Sounds, speech commands, machines that hum; long signals in which patterns may appear anywhere.",
    "avoid": "Short series with few examples, where Hydra and MultiRocket are as good in seconds.",
    "gives": ["probabilities"],
    "needs": {"inputs": "sequence", "package": "torch"},
    "cost": {"scale": 0.05, "rows_power": 0.8, "columns_power": 0.3},
    "priority": 6,
    "references": [
        "Wang, Yan and Oates (2017), Time series classification from scratch with deep neural networks. IJCNN.",
        "Hershey et al. (2017), CNN architectures for large-scale audio classification. ICASSP.",
    ],
    "advice": ["series", "accurate", "medium_data", "slow"],
    "parameters": {
        "width": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 1024,
            "log": True,
            "tune": False,
            "text": "Channels of the first stage, doubled with each stage; none: by the inputs and the budget.",
        },
        "depth": {
            "type": "int",
            "default": 2,
            "low": 1,
            "high": 8,
            "text": "Convolutions of each stage; all but the first of a stage are residual.",
        },
        "dropout": {
            "high": 0.9,
            "text": "Share of the numbers before the last layer that are left out at random while learning.",
        },
        "label_smoothing": {
            "type": "float",
            "default": 0.1,
            "low": 0.0,
            "high": 0.5,
            "tune": False,
            "text": "Share of each label that is spread over all classes; regressors have no use for it.",
        },
        "sample_rate": {
            "type": "int",
            "default": None,
            "low": 100,
            "high": 1000000,
            "tune": False,
            "text": "Samples a second of sounds; none: single signals of 1,000 steps or more count as sounds of 8,000.",
        },
        "epochs": {"default": None, "text": "Passes over the rows; none: from 4 for many rows to 80 for few."},
        "batch_size": {"default": None, "text": "Rows per step; none: from 16 for few rows to 256 for many."},
        "learning_rate": {"default": 0.02},
        "validation_fraction": {"default": 0.0, "text": "Share of the rows that choose the best epoch."},
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.signal_convolution:SignalConvolutionClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{"label_smoothing": 0.0}],
            "tiny": [{"width": 4, "depth": 1, "epochs": 7, "random_state": 0}],
        },
        "regressor": {
            "class": "everymodel.models.neural.signal_convolution:SignalConvolutionRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "waivers": {
                "check_methods_subset_invariance": "At times: float32 sums differ in the last digit by the rows beside."
            },
            "tiny": [{"width": 4, "depth": 1, "epochs": 7, "random_state": 0}],
        },
    },
}
LONG = 1000  # steps from which a single signal counts as a sound
_RATE = 8000  # of sounds whose rate is not known: windows of 256 samples


def _heard(model: Any, X: Any) -> None:
    """Take long single signals as sounds."""
    cells = listed(X) if is_cells(X) else None
    if cells is None:
        shape = np.asarray(X).shape
        usual, width = (shape[1] if len(shape) > 1 else 0), (shape[2] if len(shape) > 2 else 1)
    else:
        usual = float(np.median([len(c) for c in cells])) if cells else 0
        width = max((1 if np.ndim(c) < 2 else np.shape(c)[1] for c in cells[:20]), default=1)
    model.rate_ = model.sample_rate or (_RATE if usual >= LONG and width == 1 else None)


class SignalConvolutionClassifier(ConvolutionalClassifier):
    """ConvolutionalClassifier for signals (T,) or (T, p) of any lengths; long single ones are taken as sounds.

    Parameters
    ----------
    sample_rate : of sounds; None: single signals of 1,000 steps or more are seen as spectrograms with windows of 256
        samples, all others as they are. The other parameters are those of ConvolutionalClassifier.

    Attributes
    ----------
    rate_ : samples a second, None where inputs are no sounds; and those of ConvolutionalClassifier.

    Examples
    --------
    >>> time = np.arange(2000) / 8000
    >>> X = [np.sin(2 * np.pi * pitch * time[: 1500 + 5 * k]) for k in range(30) for pitch in (300, 700)]
    >>> y = ["low", "high"] * 30
    >>> model = SignalConvolutionClassifier(width=8, epochs=10, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _dims = 1

    def train(self, X: Any, y: Any, valid: Any = None, stop: Any = None, threads: int | None = None) -> Any:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        _heard(self, X)
        return super().train(X, y, valid, stop, threads)

    @property
    def _rate(self) -> int | None:
        return self.rate_


class SignalConvolutionRegressor(ConvolutionalRegressor):
    """ConvolutionalRegressor for signals and sounds; see SignalConvolutionClassifier."""

    _dims = 1

    def train(self, X: Any, y: Any, valid: Any = None, stop: Any = None, threads: int | None = None) -> Any:
        """Like `fit`; keeps the best epoch on `valid` = (X, y), and ends early once `stop()` is true."""
        _heard(self, X)
        return super().train(X, y, valid, stop, threads)

    @property
    def _rate(self) -> int | None:
        return self.rate_
