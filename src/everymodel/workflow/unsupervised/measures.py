"""How good groups, maps and components are, without a target; and how they agree with labels where there are some."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from everymodel.core.seeds import derive

SAMPLE = 2000  # rows among which silhouettes are measured: the cost grows with the square


def silhouette(X: np.ndarray, labels: np.ndarray, seed: int = 0, rows: int = SAMPLE) -> tuple[float, float, float]:
    """Mean silhouette width with its 95 % interval, from a sample of rows; noise (-1) is left out (Rousseeuw 1987)."""
    from sklearn.metrics import silhouette_samples

    at = np.flatnonzero(labels >= 0)
    if len(at) > rows:
        at = np.sort(np.random.default_rng(derive(seed, "silhouette")).choice(at, rows, replace=False))
    kinds = np.unique(labels[at])
    if not 1 < len(kinds) < len(at):
        return float("nan"), float("nan"), float("nan")
    widths = silhouette_samples(X[at], labels[at])
    mean, half = float(widths.mean()), 1.96 * float(widths.std()) / np.sqrt(len(widths))
    return mean, mean - half, mean + half


def calinski_harabasz(X: np.ndarray, labels: np.ndarray) -> float:
    """Between-group over within-group variance, each by its degrees of freedom (1974); noise is left out."""
    from sklearn.metrics import calinski_harabasz_score

    at = labels >= 0
    return float(calinski_harabasz_score(X[at], labels[at])) if _several(labels[at]) else float("nan")


def davies_bouldin(X: np.ndarray, labels: np.ndarray) -> float:
    """Mean over groups of the worst ratio of widths to distance (1979); lower is better; noise is left out."""
    from sklearn.metrics import davies_bouldin_score

    at = labels >= 0
    return float(davies_bouldin_score(X[at], labels[at])) if _several(labels[at]) else float("nan")


def _several(labels: np.ndarray) -> bool:
    return 1 < len(np.unique(labels)) < len(labels)


def agreement(truth: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Groups against labels that were given: ARI, AMI, homogeneity, completeness (noise counts as a group)."""
    from sklearn import metrics

    return {
        "ari": float(metrics.adjusted_rand_score(truth, labels)),
        "ami": float(metrics.adjusted_mutual_info_score(truth, labels)),
        "homogeneity": float(metrics.homogeneity_score(truth, labels)),
        "completeness": float(metrics.completeness_score(truth, labels)),
    }


def trust(X: np.ndarray, map_: np.ndarray, neighbors: int = 10, seed: int = 0, rows: int = 3000) -> float:
    """Trustworthiness of a map: 1 when neighbours on it are neighbours in the data (Venna and Kaski 2001)."""
    from sklearn.manifold import trustworthiness

    at = np.arange(len(X))
    if len(at) > rows:
        at = np.sort(np.random.default_rng(derive(seed, "trust")).choice(at, rows, replace=False))
    k = min(neighbors, (len(at) - 1) // 2)
    return float(trustworthiness(X[at], map_[at], n_neighbors=k)) if k >= 1 else float("nan")


def interval(function: Callable[..., float], *rows: np.ndarray, draws: int = 50, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval (Efron 1979) of `function(*rows)`, rows (n, ...) drawn together."""
    random = np.random.default_rng(derive(seed, "interval"))
    n, found = len(rows[0]), []
    for _ in range(draws):
        at = random.integers(0, n, n)
        value = function(*(r[at] for r in rows))
        if np.isfinite(value):
            found.append(value)
    if len(found) < 10:
        return float("nan"), float("nan")
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)
