"""Plumbing: what rows and settings every method that is told a number of groups must have."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from everymodel.core.errors import DataError, ParameterError


def checked(model: Any, X: Any, *, told: bool = True, least: int = 1) -> np.ndarray:
    """X (n, p) as float64, or an error that says what is wrong with it or with the number of groups.

    Parameters
    ----------
    told : whether the method is told the number of groups, `model.n_clusters`.
    least : rows that the method cannot do without.
    """
    k = model.n_clusters if told else 1
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError(f"n_clusters={k!r} is not possible: expected a whole number from 1 up.")
    X = validate_data(model, X, dtype=np.float64, ensure_min_samples=least)
    if float(np.abs(X).max(initial=0)) > 1e150:
        raise DataError("The rows hold numbers above 1e150, too large to be squared: scale the columns first.")
    if len(X) < k:
        raise DataError(
            f"n_samples={len(X)} rows cannot make n_clusters={k} groups: ask for at most {len(X)}, or add rows."
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
