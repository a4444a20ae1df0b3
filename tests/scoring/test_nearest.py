"""The exact search for nearest rows: right, and the same for a row alone as among others, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.scoring.steps._nearest import Search


@pytest.mark.parametrize("columns", [1, 3, 5, 8, 9, 30])
@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_alone_or_among_others_the_same_rows_are_nearest(columns, decimals):
    rng = np.random.default_rng(columns)
    rows = rng.normal(size=(5000, columns))
    if decimals is not None:
        rows = np.round(rows, decimals)  # many rows at equal distances
    asked = np.concatenate([rows[:20], rng.normal(size=(60, columns))])
    search = Search(rows)
    distance, number = search.nearest(asked, 7)
    for i in range(0, len(asked), 5):
        alone = search.nearest(asked[i : i + 1], 7)
        np.testing.assert_array_equal(alone[0][0], distance[i])
        np.testing.assert_array_equal(alone[1][0], number[i])
    plain = np.sqrt(((asked[:, None] - rows) ** 2).sum(axis=2))
    order = np.argsort(plain, axis=1, kind="stable")[:, :7]
    np.testing.assert_allclose(distance, np.take_along_axis(plain, order, axis=1), rtol=1e-12)
    if decimals is None:
        np.testing.assert_array_equal(number, order)
