"""Make long tails short, so that sums, distances and networks are not ruled by a few rows."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from everymodel.preprocessing.impute import STRIPE
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
        for j in self._long_tailed(by_column, lows, highs):
            values = by_column[j]
            values = values[~np.isnan(values)]
            low, high = float(lows[j]), float(highs[j])
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

    def _long_tailed(self, by_column: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> list[int]:
        """Columns (p, n) of at least 20 values whose skewness is beyond the limit."""
        known = (~np.isnan(by_column)).sum(axis=1)
        usable = np.flatnonzero((known >= 20) & (lows >= -LARGEST) & (lows < highs) & (highs <= LARGEST))
        skew = np.zeros(len(by_column))
        whole = usable[known[usable] == by_column.shape[1]]
        for part in np.array_split(whole, max(1, -(-whole.size * by_column.shape[1] // STRIPE))):
            skew[part] = skewnesses(by_column[part])  # all at once: with thousands of columns, calls are what costs
        for j in usable[known[usable] < by_column.shape[1]]:
            values = by_column[j]
            skew[j] = skewness(values[~np.isnan(values)])
        return [int(j) for j in usable if abs(skew[j]) > self.limit]

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
    return float(skewnesses(values[None])[0])


def skewnesses(columns: np.ndarray) -> np.ndarray:
    """The third standardised moment of each row of (p, n) -> (p,); 0 where nothing varies."""
    size = np.abs(columns).max(axis=1, keepdims=True, initial=0.0)
    centred = columns / np.where(size > 0, size, 1.0)
    centred -= centred.mean(axis=1, keepdims=True)
    squares = centred**2
    variance = squares.mean(axis=1)
    varies = variance > 1e-30
    third = (squares * centred).mean(axis=1)
    return np.where(varies, third / np.where(varies, variance, 1.0) ** 1.5, 0.0)


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
