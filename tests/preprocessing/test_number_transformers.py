from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from everymodel.preprocessing.impute import Imputer, informative
from everymodel.preprocessing.scale import ColumnScaler
from everymodel.preprocessing.skew import Unskewer, skewness


@parametrize_with_checks(
    [
        Imputer(),
        Imputer("most_frequent", "all"),
        ColumnScaler(),
        ColumnScaler("range"),
        ColumnScaler("robust"),
        Unskewer(),
    ]
)
def test_keeps_the_contract_of_a_transformer(estimator, check):
    check(estimator)


def test_imputer_fills_with_the_median_of_what_is_there():
    X = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [9.0, np.nan]])
    imputer = Imputer(indicators="all").fit(X)
    out = imputer.transform(X)
    assert out[:, 0].tolist() == [1.0, 2.0, 2.0, 9.0]
    assert out[:, 1].tolist() == [0.0] * 4  # nothing is known of the column
    assert out[:, 2].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert imputer.get_feature_names_out(["a", "b"]).tolist() == ["a", "b", "a:missing"]


def test_indicator_only_where_gaps_tell_of_the_target():
    rng = np.random.default_rng(0)
    n = 600
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, 2))
    X[(rng.random(n) < 0.5) & (y == 1), 0] = np.nan
    X[rng.random(n) < 0.3, 1] = np.nan
    assert Imputer().fit(X, y).indicators_.tolist() == [0]
    assert Imputer().fit(X).indicators_.tolist() == [0, 1]


def test_informative_with_few_gaps_or_a_constant_target_says_no():
    lost = np.zeros((100, 1), dtype=bool)
    lost[:3] = True
    assert not informative(lost, np.r_[np.ones(3), np.zeros(97)]).any()
    lost[:50] = True
    assert not informative(lost, np.ones(100)).any()


@pytest.mark.parametrize("kind", ["standard", "range", "robust"])
def test_scaler_survives_constants_and_huge_numbers(kind):
    X = np.array([[5.0, 1e308, 1e-300, 0.1], [5.0, -1e308, 2e-300, 0.1], [5.0, 0.0, 3e-300, 0.1]])
    out = ColumnScaler(kind).fit(X).transform(X)
    assert np.isfinite(out).all()
    assert (out[:, 0] == 0).all() and (out[:, 3] == 0).all()
    assert out[0, 1] > out[2, 1] > out[1, 1]


def test_scaler_kinds_do_what_they_say():
    rng = np.random.default_rng(1)
    X = rng.normal(7, 3, size=(500, 1))
    standard = ColumnScaler("standard").fit(X).transform(X)
    assert abs(standard.mean()) < 1e-12 and abs(standard.std() - 1) < 1e-12
    ranged = ColumnScaler("range").fit(X)
    assert ranged.transform(np.array([[-1e9], [1e9]])).ravel().tolist() == [0.0, 1.0]
    soft = ColumnScaler("robust").fit(X)
    assert np.abs(soft.transform(np.array([[-1e9], [1e9]]))).max() <= 3.0
    with pytest.raises(ValueError, match="expected one of"):
        ColumnScaler("huge").fit(X)


def test_unskewer_takes_skewed_columns_only_and_whatever_the_unit():
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=800), rng.lognormal(0, 1.5, 800), -rng.lognormal(0, 1.5, 800)])
    unskewer = Unskewer().fit(X)
    assert unskewer.places_.tolist() == [1, 2]
    out = unskewer.transform(X)
    assert (out[:, 0] == X[:, 0]).all()
    for j in (1, 2):
        assert abs(skewness(out[:, j])) < 0.3 * abs(skewness(X[:, j]))
        assert (np.diff(out[np.argsort(X[:, j]), j]) >= 0).all()  # order is kept
    cents = Unskewer().fit(X * 1e-6).transform(X * 1e-6)
    np.testing.assert_allclose(cents[:, 1], out[:, 1], rtol=1e-9)


def test_unskewer_keeps_gaps_and_stays_finite_far_outside():
    rng = np.random.default_rng(3)
    X = rng.lognormal(0, 2, (300, 1))
    X[::7] = np.nan
    unskewer = Unskewer().fit(X)
    assert len(unskewer.places_) == 1
    assert (np.isnan(unskewer.transform(X)) == np.isnan(X)).all()
    assert np.isfinite(unskewer.transform(np.array([[1e300], [-1e300]]))).all()
