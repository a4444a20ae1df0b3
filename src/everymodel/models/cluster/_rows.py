"""Plumbing: what rows and settings every method that is told a number of groups must have."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from everymodel.core.errors import DataError, ParameterError


def checked(model: Any, X: Any, n_clusters: Any = None, least: int = 1) -> np.ndarray:
    """X (n, p) as float64, or an error that says what is wrong with it or with the number of groups.

    Parameters
    ----------
    n_clusters : groups asked for; None where the method finds their number itself.
    least : rows that the method cannot do without.
    """
    if n_clusters is not None and (
        isinstance(n_clusters, bool) or not isinstance(n_clusters, int | np.integer) or n_clusters < 1
    ):
        raise ParameterError(f"n_clusters={n_clusters!r} is not possible: expected a whole number from 1 up.")
    X = validate_data(model, X, dtype=np.float64, ensure_min_samples=least)
    if n_clusters is not None and len(X) < n_clusters:
        raise DataError(
            f"n_samples={len(X)} rows cannot make n_clusters={n_clusters} groups: "
            f"ask for at most {len(X)}, or add rows."
        )
    return X


def distinct(X: np.ndarray, n_clusters: int) -> None:
    """DataError where the rows of X are fewer different ones than groups."""
    if n_clusters > 1 and not (X[0] != X).any():
        raise DataError(f"All {len(X)} rows are equal: there are no groups to find. Check the columns.")
    different = len(np.unique(X, axis=0))
    if different < n_clusters:
        raise DataError(
            f"There are only {different} different rows, too few for n_clusters={n_clusters} groups: "
            f"ask for at most {different}."
        )
