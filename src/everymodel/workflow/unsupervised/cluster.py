"""Groups: how many, are they real, and what are they."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.core.clock import Clock
from everymodel.workflow.types import Listener, Metric, Progress
from everymodel.workflow.unsupervised import measures
from everymodel.workflow.unsupervised.material import Fit, Material, Outcome
from everymodel.workflow.unsupervised.profile import describe

MOST = 10  # groups tried


def discover(
    material: Material,
    *,
    models: list[str] | None = None,
    clusters: int | None = None,
    labels: np.ndarray | None = None,
    clock: Clock,
    trials: int | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> Outcome:
    """Try methods and numbers of groups, choose, and say what the groups are.

    Parameters
    ----------
    models : names of clusterers; all that suit by default.
    clusters : number of groups, if it is known.
    labels : (n,) codes to compare the groups with; they are not learnt from.
    """
    X = material.matrix(_card("kmeans")).X
    tried = []
    for k in [clusters] if clusters else range(2, min(MOST, material.n - 1) + 1):
        if tried and clock.left() < 1.0:
            break
        fitted = Fit("kmeans", "clusterer", {"n_clusters": k}, seed=seed).run(material)
        found = fitted.answers.argmax(axis=1)
        width, low, high = measures.silhouette(X, found, seed)
        tried.append((width, k, fitted, found, low, high))
        if listener:
            listener(Progress("search", candidate=f"K-means {k}", score=width, seconds_left=clock.left()))
    width, k, fitted, found, low, high = max(tried, key=lambda t: t[0])
    metrics = [
        Metric(
            "silhouette", width, low, high, "higher", "How much closer rows are to their own group than to the next."
        ),
        Metric("calinski_harabasz", measures.calinski_harabasz(X, found), np.nan, np.nan, "higher"),
        Metric("davies_bouldin", measures.davies_bouldin(X, found), np.nan, np.nan, "lower"),
    ]
    if labels is not None:
        metrics += [Metric(name, v, np.nan, np.nan, "higher") for name, v in measures.agreement(labels, found).items()]
    told = describe(material, found, fitted.answers, seed)
    return Outcome(
        fitted,
        [{"model": "K-means", "card": "kmeans", "weight": 1.0, "parameters": {"n_clusters": k}}],
        [
            {
                "model": "K-means",
                "card": "kmeans",
                "clusters": t[1],
                "score": t[0],
                "status": "ok",
                "fit_seconds": t[2].seconds,
            }
            for t in sorted(tried, key=lambda t: -t[0])
        ],
        metrics,
        f"{k} groups (silhouette {width:.2f}).",
        "silhouette",
        tuple(range(k)),
        {"segments": told.segments},
        told.structure,
        tables={"segments": told.table},
    )


def _card(name: str) -> Any:
    from everymodel import catalog

    return catalog.find(name)
