"""Linear discriminant analysis: one Gaussian cloud per class, all of the same shape."""

from __future__ import annotations

from typing import Any

from everymodel.models.linear._pack import softmax_step
from everymodel.scoring.steps.base import Step

CARD = {
    "name": "discriminant",
    "title": "Linear discriminant analysis",
    "summary": "Models each class as a Gaussian cloud of one common shape, which makes the boundaries straight.",
    "choose": "Few rows, roughly bell-shaped columns, several classes.",
    "avoid": "Heavily skewed or mostly categorical columns; boundaries that bend.",
    "gives": ["probabilities", "scores", "coefficients"],
    "needs": {"scaling": "standard", "max_columns": 2000},
    "cost": {"scale": 4e-9, "rows_power": 1.0, "columns_power": 2.0},
    "references": ["Fisher (1936), The use of multiple measurements in taxonomic problems. Ann. Eugenics 7(2)."],
    "advice": ["small_data", "multiclass", "interpretable"],
    "priority": 15,
    "classes": {
        "classifier": {
            "class": "sklearn.discriminant_analysis:LinearDiscriminantAnalysis",
            "tasks": ["binary", "multiclass"],
            "parameters": {
                "solver": {
                    "type": "choice",
                    "default": "lsqr",
                    "choices": ["lsqr", "eigen", "svd"],
                    "tune": False,
                    "text": "How the equations are solved; 'svd' knows no shrinkage.",
                },
                "shrinkage": {
                    "type": "choice",
                    "default": "auto",
                    "choices": [None, "auto"],
                    "text": "'auto' steadies the cloud's shape where rows are few (Ledoit and Wolf).",
                },
            },
            "presets": [{"shrinkage": "auto"}],
            "tiny": [{"solver": "svd"}],
        },
    },
}


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step."""
    return softmax_step(model, n_classes)
