"""Plumbing: rows that maps keep."""

from __future__ import annotations

import numpy as np

from everymodel.core.errors import DataError


def bounded(X: np.ndarray) -> np.ndarray:
    """X, or an error where its squares would overflow."""
    if float(np.abs(X).max(initial=0.0)) > 1e150:
        raise DataError("The rows hold numbers above 1e150, too large to be squared: scale the columns first.")
    return X
