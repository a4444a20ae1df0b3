"""Oddities: how odd each row is, from where on it is called an anomaly, and why."""

from __future__ import annotations

import numpy as np

from everymodel.core.clock import Clock
from everymodel.workflow.types import Listener, Metric
from everymodel.workflow.unsupervised.material import Fit, Material, Outcome


def discover(
    material: Material,
    *,
    models: list[str] | None = None,
    contamination: float | None = None,
    labels: np.ndarray | None = None,
    clock: Clock,
    trials: int | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> Outcome:
    """Score all rows and set the threshold.

    Parameters
    ----------
    contamination : expected share of odd rows; by default the threshold is found in the scores themselves.
    labels : (n,) 0/1, 1 for rows known to be odd: to compare the scores with, not to learn from.
    """
    share = contamination or 0.02
    fitted = Fit("pca_reconstruction", "detector", {}, seed=seed).run(material)
    scores = fitted.answers
    threshold = float(np.quantile(scores, 1.0 - share))
    metrics = []
    if labels is not None and len(np.unique(labels)) == 2:
        from sklearn.metrics import roc_auc_score

        metrics.append(Metric("roc_auc", float(roc_auc_score(labels, scores)), np.nan, np.nan, "higher"))
    odd = int((scores > threshold).sum())
    return Outcome(
        fitted,
        [{"model": "PCA reconstruction error", "card": "pca_reconstruction", "weight": 1.0, "parameters": {}}],
        [
            {
                "model": "PCA reconstruction error",
                "card": "pca_reconstruction",
                "status": "ok",
                "fit_seconds": fitted.seconds,
            }
        ],
        metrics,
        f"{odd} of {material.n} rows are odd.",
        "roc_auc" if metrics else "",
        ("normal", "anomaly"),
        {"threshold": threshold},
        {"threshold": threshold, "scores": np.quantile(scores, np.linspace(0, 1, 201)).tolist()},
    )
