"""Maps: two or three coordinates per row, in which neighbours stay neighbours."""

from __future__ import annotations

import numpy as np

from everymodel.core.clock import Clock
from everymodel.workflow.types import Listener, Metric
from everymodel.workflow.unsupervised import measures
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
    """Draw a map of all rows.

    Parameters
    ----------
    components : 2 or 3 coordinates; 2 by default.
    labels : (n,) codes to colour the map with; they are not learnt from.
    """
    fitted = Fit("pca", "reducer", {"n_components": components or 2}, seed=seed).run(material)
    X = material.balanced.X
    value = measures.trust(X, fitted.answers, seed=seed)
    return Outcome(
        fitted,
        [{"model": "Principal component analysis", "card": "pca", "weight": 1.0, "parameters": {}}],
        [
            {
                "model": "Principal component analysis",
                "card": "pca",
                "score": value,
                "status": "ok",
                "fit_seconds": fitted.seconds,
            }
        ],
        [Metric("trustworthiness", value, np.nan, np.nan, "higher")],
        f"A map of {material.n} rows, trustworthiness {value:.3f}.",
        "trustworthiness",
        (),
        {"columns": ["x", "y", "z"][: fitted.answers.shape[1]]},
        {"points": fitted.answers[:2000].tolist()},
    )
