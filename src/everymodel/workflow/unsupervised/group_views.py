"""What the report draws of groups: a map, silhouettes, the dendrogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.workflow.unsupervised.choice import sample

POINTS = 1500  # on the map
ROWS = 1000  # of silhouettes and the dendrogram: both cost the square of it
MERGES = 60


def map_of(X: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """Rows on the two axes along which they differ most: points [[x, y]], labels, share explained by each axis."""
    at = sample(len(X), POINTS, seed)
    Z = X[at] - X[at].mean(axis=0)
    _, sizes, axes = np.linalg.svd(Z, full_matrices=False)
    points = Z @ axes[:2].T
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
    total = float((sizes**2).sum()) or 1.0
    return {
        "points": np.round(points, 4).tolist(),
        "labels": labels[at].tolist(),
        "explained": (sizes[:2] ** 2 / total).tolist(),
    }


def silhouettes(X: np.ndarray, labels: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Per group the widths of its rows, in order, thinned to 300."""
    from sklearn.metrics import silhouette_samples

    at = np.flatnonzero(labels >= 0)
    at = at[sample(len(at), ROWS, seed)]
    kinds = np.unique(labels[at])
    if not 1 < len(kinds) < len(at):
        return []
    widths = silhouette_samples(X[at], labels[at])
    told = []
    for group in kinds:
        own = np.sort(widths[labels[at] == group])
        thin = own[np.linspace(0, len(own) - 1, min(len(own), 300)).astype(int)]
        told.append({"segment": int(group), "widths": np.round(thin, 4).tolist()})
    return told


def dendrogram(X: np.ndarray, seed: int) -> dict[str, Any]:
    """The last merges [a, b, height, size] of Ward's method (1963) on a sample; what lies below is one leaf each."""
    from scipy.cluster.hierarchy import linkage

    at = sample(len(X), ROWS, seed)
    if len(at) < 3:
        return {"merges": [], "leaves": []}
    tree = linkage(X[at], "ward")
    top = tree[-MERGES:]
    first = len(at) + len(tree) - len(top)  # number of the first node that is kept
    lower = sorted({int(node) for row in top for node in row[:2] if node < first})
    name = {node: i for i, node in enumerate(lower)}
    name.update({first + i: len(lower) + i for i in range(len(top))})
    merges = [[name[int(a)], name[int(b)], round(float(h), 5), int(size)] for a, b, h, size in top]
    sizes = [1 if node < len(at) else int(tree[node - len(at), 3]) for node in lower]
    return {"merges": merges, "leaves": sizes, "rows": len(at)}
