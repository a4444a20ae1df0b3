from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from everymodel.core.errors import ModelFileError
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Batch, Sparse
from everymodel.scoring.steps.prepare import (
    DATE_PARTS,
    TEXT_LIMIT,
    TEXT_STATS,
    Dates,
    Impute,
    Join,
    Lookup,
    Numbers,
    OneHot,
    Power,
    Project,
    Scale,
    SparseNumbers,
    TextStats,
    TextTerms,
    beside,
    grams,
    thin,
    tokens,
)


def dense(matrix):
    return matrix.toarray() if isinstance(matrix, Sparse) else matrix


def row_by_row(step, batch):
    return np.vstack([dense(step(batch.take(np.array([i])))) for i in range(batch.n)])


def again(step):
    """Through the form in which it is kept in a file."""
    settings, arrays = step.spec()
    return type(step).build(settings, arrays)


def texts(*cells):
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return Batch({"t": column}, len(cells))


def test_numbers_turn_endless_into_missing():
    batch = Batch({"a": np.array([1.0, np.inf, np.nan]), "b": np.array([-np.inf, 0.0, 2.0])}, 3)
    expected = [[1.0, np.nan], [np.nan, 0.0], [np.nan, 2.0]]
    step = again(Numbers(("a", "b")))
    np.testing.assert_array_equal(step(batch), expected)
    np.testing.assert_array_equal(row_by_row(step, batch), expected)


def test_numbers_beyond_short_floats_are_held():
    batch = Batch({"a": np.array([1e308, -1e300, 3e38, 1.0])}, 4)
    out = Numbers(("a",))(batch)
    assert out.ravel().tolist() == [3e38, -3e38, 3e38, 1.0]
    assert np.isfinite(out.astype(np.float32)).all()


@pytest.mark.parametrize("n", [1, 2, 4096, 4097, 9000])
def test_numbers_in_stripes_are_the_columns(n):
    rng = np.random.default_rng(0)
    columns = {f"c{j}": rng.normal(size=n) for j in range(3)}
    matrix = Numbers(tuple(columns))(Batch(columns, n))
    assert matrix.shape == (n, 3) and matrix.flags.c_contiguous
    for j, values in enumerate(columns.values()):
        np.testing.assert_array_equal(matrix[:, j], values)


def test_dates_agree_with_the_calendar():
    rng = np.random.default_rng(1)
    moments = [dt.datetime(1970, 1, 1) + dt.timedelta(seconds=int(s)) for s in rng.integers(-6e10, 2.5e11, 3000)]
    moments += [
        dt.datetime(y, m, d) for y in (1900, 2000, 2023, 2024, 2100) for m, d in ((1, 1), (2, 28), (3, 1), (12, 31))
    ]
    moments += [dt.datetime(2000, 2, 29, 23, 59, 59), dt.datetime(1600, 2, 29), dt.datetime(1969, 12, 31, 23)]
    seconds = np.array([(m - dt.datetime(1970, 1, 1)).total_seconds() for m in moments])
    batch = Batch({"d": seconds}, len(seconds))
    words = ("year", "month", "day", "weekday", "yearday", "hour", "minute")
    step = again(Dates(("d",) * len(words), words))
    expected = [
        [m.year, m.month, m.day, m.weekday(), m.timetuple().tm_yday - 1, m.hour, m.minute] for m in moments
    ]  # fmt: skip
    np.testing.assert_array_equal(step(batch), expected)
    np.testing.assert_array_equal(row_by_row(step, batch.take(np.arange(0, len(seconds), 50))), expected[::50])


def test_dates_missing_absurd_and_alone():
    seconds = np.array([np.nan, np.inf, -np.inf, 1e300, 1.6e9, 1.6e9 + 0.25])
    batch = Batch({"d": seconds}, 6)
    step = Dates(("d",) * len(DATE_PARTS), DATE_PARTS)
    out = step(batch)
    assert np.isnan(out[:4]).all() and np.isfinite(out[4:]).all()
    np.testing.assert_allclose(row_by_row(step, batch), out, rtol=0, atol=1e-14)
    circle = out[4, [DATE_PARTS.index("month_sin"), DATE_PARTS.index("month_cos")]]
    assert abs((circle**2).sum() - 1) < 1e-12


def test_lookup_reads_each_stretch():
    step = again(Lookup(("c", "d", "c"), np.array([0, 4, 7]), np.array([9.0, 8, 0, 1, -9, -8, 5, 70, 80, 10, 20])))
    batch = Batch({"c": np.array([-2, -1, 0, 1], dtype=np.int32), "d": np.array([-2, -1, 0, 0], dtype=np.int32)}, 4)
    expected = [[9, -9, 70], [8, -8, 80], [0, 5, 10], [1, 5, 20]]
    np.testing.assert_array_equal(step(batch), expected)
    np.testing.assert_array_equal(row_by_row(step, batch), expected)


def test_lookup_does_not_read_past_its_table():
    step = Lookup(("c",), np.array([0]), np.array([1.0, 2.0, 3.0]))
    assert step(Batch({"c": np.array([50, 2_000_000_000], dtype=np.int32)}, 2)).ravel().tolist() == [3.0, 3.0]
    assert step(Batch({"c": np.array([50], dtype=np.int32)}, 1)).ravel().tolist() == [3.0]


@pytest.mark.parametrize("sparse", [False, True])
def test_onehot_puts_ones_where_it_should(sparse):
    # c: unseen -> rare (2), missing -> nowhere, two levels; d: unseen -> nowhere, missing -> 3, one level -> 4
    places = np.array([2, -1, 0, 1, -1, 3, 4])
    step = again(OneHot(("c", "d"), np.array([0, 4]), places, 5, sparse))
    batch = Batch({"c": np.array([-2, -1, 0, 1], dtype=np.int32), "d": np.array([-2, -1, 0, -2], dtype=np.int32)}, 4)
    expected = [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 0, 0]]
    assert isinstance(step(batch), Sparse) == sparse
    np.testing.assert_array_equal(dense(step(batch)), expected)
    np.testing.assert_array_equal(row_by_row(step, batch), expected)


def test_impute_and_its_indicators():
    step = again(Impute(np.array([7.0, 8.0]), np.array([1])))
    np.testing.assert_array_equal(step(np.array([[np.nan, np.nan], [1.0, 2.0]])), [[7.0, 8.0, 1.0], [1.0, 2.0, 0.0]])


def test_steps_leave_their_input_alone():
    matrix = np.array([[1.0, np.nan], [3.0, 4.0]])
    for step in (
        Impute(np.zeros(2), np.array([], dtype=np.int64)),
        Scale(np.ones(2), np.full(2, 2.0), "soft"),
        Power(np.array([0]), np.array([0.5]), np.ones(1), np.array([-9.0]), np.array([9.0])),
    ):
        before = matrix.copy()
        step(matrix)
        np.testing.assert_array_equal(matrix, before)


def test_power_is_yeo_johnson():
    pytest.importorskip("scipy")
    from scipy.stats import yeojohnson

    x = np.linspace(-5, 5, 41)
    for power in (-1.5, 1e-9, 0.5, 1.0, 2 - 1e-9, 3.0):
        step = again(Power(np.array([0]), np.array([power]), np.ones(1), np.array([-9.0]), np.array([9.0])))
        np.testing.assert_allclose(step(x[:, None])[:, 0], yeojohnson(x, round(power, 3)), rtol=1e-6)


def test_sparse_numbers_and_join_agree_with_dense():
    rng = np.random.default_rng(2)
    columns = {f"c{j}": np.where(rng.random(50) < 0.9, 0.0, rng.normal(size=50)) for j in range(6)}
    columns["c0"][3], columns["c1"][4] = np.nan, np.inf
    batch = Batch(columns, 50)
    step = again(SparseNumbers(tuple(columns), np.arange(1.0, 7.0)))
    expected = np.column_stack(list(columns.values())) * np.arange(1.0, 7.0)
    expected[~np.isfinite(expected)] = 0
    np.testing.assert_array_equal(dense(step(batch)), expected)
    np.testing.assert_array_equal(row_by_row(step, batch), expected)
    block = rng.integers(0, 2, (50, 3)) * 1.5
    joined = Join()(block, step(batch), thin(block))
    np.testing.assert_array_equal(joined.toarray(), np.hstack([block, expected, block]))
    np.testing.assert_array_equal(joined.toarray(), Sparse.hstack([block, step(batch), block]).toarray())
    assert (
        np.diff(joined.indices)[np.setdiff1d(np.arange(len(joined.indices) - 1), joined.indptr[1:-1] - 1)] > 0
    ).all()


def test_beside_with_empty_rows_and_blocks():
    empty = thin(np.zeros((3, 2)))
    full = thin(np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(
        beside([empty, full, empty]).toarray(),
        np.hstack([np.zeros((3, 2)), np.arange(6.0).reshape(3, 2), np.zeros((3, 2))]),
    )


def terms_of(*cells, pairs=True, words=("aa", "bb", "aa bb")):
    keys = np.unique(np.concatenate([key for *_, key in grams(list(cells))]))
    return TextTerms("t", words, pairs, keys, np.ones(len(words) + len(keys)))


def test_terms_count_words_and_runs():
    batch = texts("AA aa bb", "", "zz", "b")
    step = again(terms_of("aa bb"))
    out = step(batch)
    matrix = out.toarray()
    log2 = 1 + np.log(2)
    np.testing.assert_allclose(matrix[0, :3], np.array([log2, 1, 1]) / np.sqrt(log2**2 + 2))
    assert (matrix[1] == 0).all()
    assert (matrix[2, :3] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(matrix[0, 3:]), 1)
    np.testing.assert_allclose(row_by_row(step, batch), matrix, rtol=0, atol=1e-15)


def test_runs_do_not_cross_cells_nor_chunks(monkeypatch):
    cells = ["abc", "", "cab", "a", "bca" * 20, "", ""]
    step = terms_of(*cells)
    whole = step(texts(*cells)).toarray()
    monkeypatch.setattr("everymodel.scoring.steps.prepare._TEXT", 4)
    np.testing.assert_array_equal(step(texts(*cells)).toarray(), whole)
    assert {read for *_, key in grams(["ab", "ba"]) for read in key} == {
        read for cell in ("ab", "ba") for *_, key in grams([cell]) for read in key
    }


def test_text_of_any_kind_is_read():
    wild = ["\ud800 broken", "日本語テキスト", "İstanbul ﬁ", "🙂" * 50, "\x00\x01", "a" * 5_000_000, "ß" * 30]
    step = terms_of("aaaa b")
    out = dense(step(texts(*wild)))
    assert out.shape[0] == len(wild) and np.isfinite(out).all()
    stats = TextStats(("t",) * len(TEXT_STATS), TEXT_STATS)(texts(*wild))
    assert np.isfinite(stats).all() and stats[5, 0] == np.log1p(5_000_000)
    assert len(tokens("a " * 5_000_000, pairs=False)) == TEXT_LIMIT // 2


def test_text_stats():
    out = again(TextStats(("t",) * 5, TEXT_STATS))(texts("Ab 12!", ""))
    np.testing.assert_allclose(out[0], [np.log(7), np.log(3), 2 / 6, 1 / 6, 1 / 6])
    assert (out[1] == 0).all()


def test_project_is_a_product_whatever_the_stripe():
    rng = np.random.default_rng(4)
    matrix = np.where(rng.random((60, 40)) < 0.8, 0.0, rng.normal(size=(60, 40)))
    matrix[[0, 17, 59]] = 0
    axes = rng.normal(size=(40, 5)).astype(np.float32)
    step = again(Project(axes))
    np.testing.assert_allclose(step(thin(matrix)), matrix @ axes.astype(float), atol=1e-12)
    alone = np.vstack([step(thin(row[None])) for row in matrix])
    np.testing.assert_allclose(alone, step(thin(matrix)), rtol=0, atol=1e-14)
    assert step(thin(np.zeros((3, 40)))).tolist() == [[0.0] * 5] * 3


@pytest.mark.parametrize(
    "step",
    [
        Numbers(()),
        Numbers((1, 2)),
        SparseNumbers(("a",), np.array([np.inf])),
        Dates(("a",), ("year", "month")),
        Dates(("a",), ("__class__",)),
        Lookup(("a",), np.array([5]), np.zeros(3)),
        Lookup(("a",), np.array([-1]), np.zeros(3)),
        Lookup(("a", "b"), np.array([2, 0]), np.zeros(5)),
        Lookup(("a",), np.array([0.0]), np.zeros(3)),
        Lookup(("a",), np.array([0]), np.array([0.0, np.inf, 0.0])),
        OneHot(("a",), np.array([0]), np.array([0, 1, 7]), 3),
        OneHot(("a",), np.array([0]), np.array([0, 1, 2]), 2**27),
        Impute(np.array([np.nan]), np.array([0])),
        Impute(np.array([1.0]), np.array([1])),
        Power(np.array([0]), np.array([0.0]), np.ones(1), np.zeros(1), np.ones(1)),
        Power(np.array([0]), np.array([1.0]), np.zeros(1), np.zeros(1), np.ones(1)),
        Scale(np.zeros(2), np.ones(3)),
        Scale(np.zeros(2), np.ones(2), "exec"),
        Project(np.zeros((3, 2))),
        TextStats(("a",), ("length",)),
        TextTerms("t", ("a",), True, np.array([3, 2]), np.ones(3)),
        TextTerms("t", ("a",), True, np.array([1.0]), np.ones(2)),
        TextTerms("t", ("a", 1), True, np.array([1]), np.ones(3)),
        TextTerms("t", ("a",), True, np.array([1]), np.ones(5)),
        TextTerms("t", ("a",), True, np.array([1]), np.array([1.0, np.nan])),
    ],
)
def test_damaged_steps_are_refused(step):
    with pytest.raises(ModelFileError):
        again(step)


def test_a_graph_of_steps_is_kept_and_rebuilt():
    batch = Batch({"a": np.array([1.0, np.nan, 3.0]), "c": np.array([0, 1, -1], dtype=np.int32)}, 3)
    pack = Pack(
        [
            Node("n", Numbers(("a",))),
            Node("f", Impute(np.array([2.0]), np.array([0])), ("n",)),
            Node("c", OneHot(("c",), np.array([0]), np.array([-1, 2, 0, 1]), 3)),
            Node("all", Join(), ("f", "c")),
        ]
    )
    expected = [[1, 0, 1, 0, 0], [2, 1, 0, 1, 0], [3, 0, 0, 0, 1]]
    np.testing.assert_array_equal(Pack.build(*pack.spec())(batch), expected)
