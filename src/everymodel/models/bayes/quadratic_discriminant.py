"""Quadratic discriminant analysis: one Gaussian cloud per class, each of its own shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.models._place import codes_of, place
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.discriminant import QuadraticDiscriminant
from everymodel.scoring.steps.linear import NEVER

CARD = {
    "name": "quadratic_discriminant",
    "title": "Quadratic discriminant analysis",
    "summary": "Models each class as a Gaussian cloud of its own shape, which makes the boundaries curved.",
    "choose": "A few bell-shaped columns and many more rows than columns; classes of different spread.",
    "avoid": "Many or categorical columns: each class must fill its whole cloud with rows.",
    "gives": ["probabilities", "scores"],
    "needs": {"scaling": "standard", "max_columns": 500},
    "cost": {"scale": 8e-9, "rows_power": 1.0, "columns_power": 2.0},
    "references": ["Smith (1946), Some examples of discrimination. Ann. Eugenics 13(1)."],
    "advice": ["small_data", "few_columns", "curved"],
    "priority": 61,
    "classes": {
        "classifier": {
            "class": "sklearn.discriminant_analysis:QuadraticDiscriminantAnalysis",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "reg_param": {
                    "type": "float",
                    "default": 0.1,
                    "low": 0.0,
                    "high": 1.0,
                    "text": "How far the clouds are rounded towards spheres.",
                },
            },
            "presets": [{"reg_param": 0.1}, {"reg_param": 0.5}],
            "tiny": [{"reg_param": 0.1}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    codes, k = codes_of(model, n_classes)
    p = np.asarray(model.means_).shape[1]
    axes, ranks = [], np.zeros(k, dtype=np.int32)
    offset = np.full(k, NEVER)
    by_code = sorted(zip(codes.tolist(), model.rotations_, model.scalings_, model.priors_), key=lambda entry: entry[0])
    for code, rotation, scaling, prior in by_code:
        axes.append(np.asarray(rotation) * np.asarray(scaling) ** -0.5)  # (p, rank)
        ranks[code] = axes[-1].shape[1]
        offset[code] = np.log(prior) - 0.5 * np.log(scaling).sum()
    mean = place(np.asarray(model.means_, dtype=np.float64), codes, k, 0.0, axis=0)
    return QuadraticDiscriminant(mean, np.concatenate([np.empty((p, 0)), *axes], axis=1), ranks, offset)
