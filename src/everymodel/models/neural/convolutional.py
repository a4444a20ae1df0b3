"""Convolutional networks for images, signals and sounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models.neural._convolution import Convolutional
from everymodel.models.neural._hooks import fit, pack, refit_parameters
from everymodel.training.estimator import NetworkClassifier, NetworkRegressor

__all__ = ["ConvolutionalClassifier", "ConvolutionalRegressor", "fit", "pack", "refit_parameters"]

CARD = {
    "name": "convolutional",
    "title": "Convolutional network",
    "summary": "Small filters slide over the image, again and again over what filters before them found.",
    "choose": "Images, spectrograms and signals in which what matters may appear anywhere.",
    "avoid": "Columns without an order; a few dozen images; when the model must be read.",
    "gives": ["probabilities"],
    "needs": {"inputs": "image", "package": "torch"},
    "cost": {"scale": 0.05, "rows_power": 0.8, "columns_power": 0.3},
    "priority": 4,
    "references": [
        "LeCun et al. (1998), Gradient-based learning applied to document recognition. Proceedings of the IEEE 86.",
        "He et al. (2016), Deep residual learning for image recognition. CVPR.",
        "Jordan (2024), 94% on CIFAR-10 in 3.29 seconds on a single GPU. arXiv 2404.00498.",
    ],
    "advice": ["accurate", "images", "medium_data", "slow"],
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
        "stages": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 8,
            "tune": False,
            "text": "How often the sides are halved; none: until about three places are left.",
        },
        "activation": {
            "type": "choice",
            "default": "relu",
            "choices": ["relu", "silu", "gelu", "mish", "leaky_relu", "elu", "tanh"],
            "tune": False,
            "text": "The bend after each convolution.",
        },
        "dropout": {
            "high": 0.9,
            "text": "Share of the numbers before the last layer that are left out at random while learning.",
        },
        "dims": {
            "type": "int",
            "default": None,
            "low": 1,
            "high": 2,
            "tune": False,
            "text": "1 for signals, 2 for images; none: by the shape of the inputs.",
        },
        "sample_rate": {
            "type": "int",
            "default": None,
            "low": 100,
            "high": 1000000,
            "tune": False,
            "text": "Samples a second of sounds, which are then seen as spectrograms; none: no sounds.",
        },
        "augment": {
            "type": "choice",
            "default": "auto",
            "choices": ["auto", "none", "shift", "mirror"],
            "tune": False,
            "text": "Moved and mirrored copies; auto mirrors only where a check on the training rows allows it.",
        },
        "shift": {
            "type": "int",
            "default": None,
            "low": 0,
            "high": 1000,
            "tune": False,
            "text": "Most pixels or steps that an input is moved by; none: a fourteenth of each side for classes.",
        },
        "cutout": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 0.9,
            "text": "Side of a box that is hidden in each image, as a share of the image's sides.",
        },
        "mixup": {
            "type": "float",
            "default": 0.0,
            "low": 0.0,
            "high": 10.0,
            "tune": False,
            "text": "How strongly pairs of images are blended; 0 for not at all.",
        },
        "label_smoothing": {
            "type": "float",
            "default": 0.1,
            "low": 0.0,
            "high": 0.5,
            "tune": False,
            "text": "Share of each label that is spread over all classes; regressors have no use for it.",
        },
        "epochs": {"default": None, "text": "Passes over the rows; none: from 4 for many rows to 80 for few."},
        "batch_size": {
            "default": None,
            "high": 65536,
            "text": "Rows per step; none: from 16 for few rows to 256 for many.",
        },
        "learning_rate": {"default": 0.02, "low": 1e-05},
        "weight_decay": {"default": 0.01, "tune": False},
        "optimizer": {
            "default": "muon",
            "text": "How gradients become steps; others than muon want a learning rate of their own.",
        },
        "schedule": {"default": "triangle"},
        "patience": {"text": "Epochs without a better validation loss after which training ends."},
        "validation_fraction": {
            "default": 0.0,
            "text": "Share of the rows that choose the best epoch; 0 trains on all rows to the end.",
        },
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.convolutional:ConvolutionalClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{"label_smoothing": 0.0}, {"label_smoothing": 0.0, "dropout": 0.3, "depth": 3}],
            "tiny": [{"width": 4, "depth": 1, "epochs": 7, "random_state": 0}],
        },
        "regressor": {
            "class": "everymodel.models.neural.convolutional:ConvolutionalRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "waivers": {
                "check_methods_subset_invariance": "At times: float32 sums differ in the last digit by the rows beside."
            },
            "presets": [{"label_smoothing": 0.0}, {"label_smoothing": 0.0, "dropout": 0.3, "depth": 3}],
            "tiny": [{"width": 4, "depth": 1, "epochs": 7, "random_state": 0}],
        },
    },
}


class ConvolutionalClassifier(NetworkClassifier, Convolutional):
    """A residual convolutional network for classes (softmax) or for several labels at once (a sigmoid each).

    A first layer of fixed filters makes neighbouring pixels uncorrelated (whitening); stages of convolutions, each at
    half the size of the one before, follow; the largest number of each channel goes into the last, dense layer.
    Trained with Muon for the filters and AdamW for the rest, label smoothing, small shifts, and mirror images where a
    check on the training rows says that they mean the same (then also averaged in answers).

        z[i, j] = sum over u, v of x[i + u, j + v] W[u, v] + b,    a = max(0, z)

    Parameters
    ----------
    width, depth, stages, activation, dropout : the network; see the card.
    dims : 1 for signals (n, t) or (n, t, p), 2 for images (n, h, w) or (n, h, w, c); None: by the shape, where matrices
        are signals.
    sample_rate : of sounds, which are seen as logarithmic mel spectrograms.
    augment, shift, cutout, mixup, label_smoothing : against learning by heart.
    epochs, batch_size, learning_rate, weight_decay, optimizer, schedule, patience, validation_fraction : the training.
    budget : seconds, or text like "30s"; device : "auto", "cpu", "cuda"; checkpoint : file to go on from.

    Inputs may be arrays, or lists of paths, encoded bytes, Pillow images or arrays of different sizes (which are
    resized), or of sounds of different lengths.

    Attributes
    ----------
    net_ : torch.nn.Module; form_ : what inputs look like; mirrors_ : axes that are mirrored; findings_ : what was
    repaired; history_ : History; classes_ : (k,).

    Errors
    ------
    DataError for images that cannot be read, with their rows, and for inputs of another shape than at the fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((200, 8, 8)) * 0.3
    >>> y = rng.integers(0, 2, 200)
    >>> X[y == 1, 2:5, 3] += 1  # an upright stroke
    >>> model = ConvolutionalClassifier(width=8, epochs=10, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k) in the order of classes_."""
        answers = self._answers(X)
        return self.step().answered(answers)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.three_d_array = True
        return tags


class ConvolutionalRegressor(NetworkRegressor, Convolutional):
    """A residual convolutional network for numbers: see ConvolutionalClassifier for inputs and parameters.

    The target is standardised, the loss is squared error. Where in an image something is counts (the last map goes
    into the dense layer place by place), so images are not moved unless `shift` says so.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.zeros((200, 8, 8))
    >>> y = rng.integers(0, 8, 200)
    >>> X[np.arange(200), 3, y] = 1.0  # how far to the right the dot is
    >>> model = ConvolutionalRegressor(width=8, epochs=15, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _head = "flat"

    def predict(self, X: Any) -> np.ndarray:
        """Answers (n,), or (n, t) for a target of several columns."""
        answer = self._answers(X) * self.scale_ + self.offset_
        return answer if self.many_ else answer[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        return tags
