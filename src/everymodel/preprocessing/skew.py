"""Make long tails short, so that sums, distances and networks are not ruled by a few rows."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.scoring.steps.prepare import LARGEST, Power, yeo_johnson


class Unskewer(TransformerMixin, BaseEstimator):
    """Apply the Yeo-Johnson transform to columns whose skewness exceeds `limit`, and leave the others alone.

    The power is the one of greatest likelihood on a grid; the unit of a column is the median of its absolute non-zero
    values, so that the transform does not depend on whether money is counted in cents.

    Parameters
    ----------
    limit : float
        Absolute skewness from which a column is transformed.
    sample : int
        Rows that the power is chosen on.

    Attributes
    ----------
    places_ : ndarray (m,) of int
        The transformed columns.
    power_, unit_, low_, high_ : ndarray (m,)
        See `everymodel.scoring.steps.prepare.Power`.

    References
    ----------
    I. Yeo, R. Johnson (2000), A new family of power transformations to improve normality or symmetry.
    """

    def __init__(self, limit: float = 1.5, sample: int = 10_000):
        self.limit = limit
        self.sample = sample

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: np.ndarray, y: np.ndarray | None = None) -> Unskewer:
        """Learn from X (n, p); NaN is allowed and stays."""
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        by_column = np.ascontiguousarray(X[:: max(1, -(-len(X) // self.sample))].T)
        lows, highs = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)  # NaN only where a column is all NaN
        found = []
        for j, values in enumerate(by_column):
            values = values[~np.isnan(values)]
            low, high = float(lows[j]), float(highs[j])
            if len(values) < 20 or not -LARGEST <= low < high <= LARGEST or abs(skewness(values)) <= self.limit:
                continue
            unit = float(np.median(np.abs(values[values != 0])))
            # Past what was seen the curve is a guess: one range of leeway on either side.
            span = high - low
            low, high = low - span, high + span
            # Two values only are no tail, and such a range is no measurement.
            if not max(-low, high) < 1e100 * unit or len(np.unique(values)) < 3:
                continue
            power = _best_power(values / unit)
            if abs(power - 1.0) > 0.1:
                found.append((j, power, unit, low, high))
        columns = np.array(found, dtype=np.float64).reshape(-1, 5)
        self.places_ = columns[:, 0].astype(np.int64)
        self.power_, self.unit_, self.low_, self.high_ = np.ascontiguousarray(columns[:, 1:].T)
        return self

    def step(self) -> Power | None:
        """None where no column is skewed."""
        check_is_fitted(self)
        return Power(self.places_, self.power_, self.unit_, self.low_, self.high_) if len(self.places_) else None

    def transform(self, X: np.ndarray) -> np.ndarray:
        """(n, p) -> (n, p)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        step = self.step()
        return X.copy() if step is None else step(X)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        from everymodel.preprocessing.impute import _names_in

        return np.array(_names_in(self, input_features), dtype=object)


def skewness(values: np.ndarray) -> float:
    """The third standardised moment of (n,); 0 where nothing varies."""
    size = np.abs(values).max()
    centred = values / size - np.mean(values / size) if size > 0 else values
    variance = np.mean(centred**2)
    return float(np.mean(centred**3) / variance**1.5) if variance > 1e-30 else 0.0


def _best_power(x: np.ndarray) -> float:
    """The power of greatest likelihood from 0, a logarithm, to 2, its mirror image.

    Stronger powers would turn a column of many zeros and few large amounts into yes and no.
    """
    slope = (np.sign(x) * np.log1p(np.abs(x))).mean()  # the log of the transform's slope is (power - 1) * this
    best, choice = -np.inf, 1.0
    # Quarters, less a billionth: at 0 and 2 themselves the formula would divide by zero.
    for power in np.arange(0.0, 2.01, 0.25) - 1e-9:
        with np.errstate(all="ignore"):
            variance = np.var(yeo_johnson(x[:, None], np.array([power])))
            likelihood = -0.5 * np.log(variance) + (power - 1.0) * slope
        if np.isfinite(likelihood) and likelihood > best:
            best, choice = likelihood, float(power)
    return choice
