"""Splits keep their promises: shares, rare classes, groups, time, and the user's own column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.workflow.split import split
from everymodel.workflow.types import Understanding


def understood(frame, task="binary", **roles):
    columns = []
    for name in frame.columns:
        role = {v: k for k, v in roles.items()}.get(name, "feature")
        columns.append(Column(str(name), "number", role="target" if name == "y" else role))
    return Understanding(Schema(tuple(columns), task), [], len(frame), np.ones(len(frame), bool))


def table(n=400, seed=0, **more):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.normal(size=n), "y": (rng.random(n) < 0.2).astype(int), **more})


def check_partition(parts, n):
    both = np.concatenate([parts.train, parts.test])
    assert len(np.unique(both)) == len(both)
    assert both.max() < n
    for fit, valid in parts.folds:
        assert len(fit) and len(valid)
        assert not set(fit) & set(valid)
        assert max(fit.max(), valid.max()) < len(parts.train)


def test_default_is_stratified_four_to_one():
    frame = table()
    parts = split(understood(frame), frame)
    check_partition(parts, 400)
    assert parts.kind == "stratified" and len(parts.test) == 80 and len(parts.train) == 320
    y = frame["y"].to_numpy()
    assert abs(y[parts.test].sum() - 0.2 * y.sum()) <= 1
    for _, valid in parts.folds:
        assert abs(y[parts.train][valid].mean() - y.mean()) < 0.03
    assert np.array_equal(np.sort(np.concatenate([v for _, v in parts.folds])), np.arange(320))


def test_seed_decides_and_repeats():
    frame = table()
    a, b, c = (split(understood(frame), frame, seed=s).test for s in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_a_class_of_one_row_is_learned_from_not_tested():
    frame = table()
    frame["y"] = ["a"] * 200 + ["b"] * 197 + ["c", "c", "d"]
    for seed in range(10):
        parts = split(understood(frame, "multiclass"), frame, seed=seed)
        assert 399 in parts.train
        assert {397, 398} & set(parts.train)  # a class of two never lies in the test part alone


def test_all_classes_of_one_row_still_split():
    frame = pd.DataFrame({"x": range(10), "y": list("abcdefghij")})
    parts = split(understood(frame, "multiclass"), frame)
    check_partition(parts, 10)
    assert len(parts.test) == 2


def test_no_test_part_says_that_the_score_is_cross_validated():
    frame = table()
    parts = split(understood(frame), frame, test_size=0)
    assert len(parts.test) == 0 and len(parts.train) == 400 and "cross-validated" in parts.note


def test_regression_tails_are_in_both_parts():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=200), "y": np.exp(3 * rng.normal(size=200))})
    parts = split(understood(frame, "regression"), frame)
    top = np.quantile(frame["y"], 0.9)
    assert 3 <= (frame["y"].to_numpy()[parts.test] >= top).sum() <= 5


def test_rows_without_a_target_are_not_counted():
    frame = table(100)
    known = understood(frame)
    known.keep[:40] = False
    parts = split(known, frame)
    assert len(parts.train) + len(parts.test) == 60 and max(parts.train.max(), parts.test.max()) < 60


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_groups_are_never_shared(share):
    rng = np.random.default_rng(0)
    frame = table(600, who=rng.integers(0, 40, 600).astype(object))
    frame.loc[:20, "who"] = None
    parts = split(understood(frame), frame, group="who", test_size=share)
    check_partition(parts, 600)
    who = frame["who"].to_numpy()
    assert not set(who[parts.train]) & set(who[parts.test]) - {None}
    for fit, valid in parts.folds:
        assert not set(who[parts.train][fit]) & set(who[parts.train][valid]) - {None}
    if share:
        assert abs(len(parts.test) / 600 - share) < 0.08


def test_one_big_group_is_refused_in_words():
    frame = table(50, who=["a"] * 50)
    with pytest.raises(DataError, match="different values"):
        split(understood(frame), frame, group="who")


def test_time_goes_forward_in_test_and_folds():
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 100, 500), unit="D")
    frame = table(500, day=days)
    parts = split(understood(frame, time="day"), frame)
    check_partition(parts, 500)
    day = frame["day"].to_numpy()
    assert day[parts.train].max() < day[parts.test].min()  # equal days stay together
    for fit, valid in parts.folds:
        assert day[parts.train][fit].max() < day[parts.train][valid].min()


def test_time_with_one_value_is_refused():
    frame = table(50, day=[3] * 50)
    with pytest.raises(DataError, match="same time"):
        split(understood(frame), frame, time="day")


def test_words_that_are_no_time_are_refused():
    frame = table(50, day=["soon"] * 50)
    with pytest.raises(ParameterError, match="no dates"):
        split(understood(frame), frame, time="day")


@pytest.mark.parametrize("panel", [False, True])
def test_group_and_time_keep_both(panel):
    rng = np.random.default_rng(1)
    who = rng.integers(0, 60, 1200)
    when = rng.random(1200) * 100 if panel else who + rng.random(1200) * 3
    frame = table(1200, who=who, when=when)
    parts = split(understood(frame), frame, group="who", time="when")
    check_partition(parts, 1200)
    assert not set(who[parts.train]) & set(who[parts.test])
    assert when[parts.train].max() <= when[parts.test].min()
    for fit, valid in parts.folds:
        assert not set(who[parts.train][fit]) & set(who[parts.train][valid])


def test_the_users_column():
    where = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    frame = table(100, part=where)
    parts = split(understood(frame), frame, column="part")
    assert np.array_equal(parts.test, np.arange(80, 100))
    assert len(parts.folds) == 1 and np.array_equal(parts.folds[0][1], np.arange(60, 80))

    frame["part"] = [False] * 70 + [True] * 30
    assert len(split(understood(frame), frame, column="part").test) == 30

    frame["part"] = [1, 2, 3, 4] * 25
    parts = split(understood(frame), frame, column="part")
    assert len(parts.folds) == 4 and len(parts.test) == 0

    frame["part"] = "test"
    with pytest.raises(DataError, match="nothing is left"):
        split(understood(frame), frame, column="part")


def test_impossible_wishes():
    frame = table(20)
    with pytest.raises(ParameterError, match="test_size"):
        split(understood(frame), frame, test_size=1)
    with pytest.raises(ParameterError, match="not a column"):
        split(understood(frame), frame, group="nobody")
    with pytest.raises(DataError, match="rows"):
        split(understood(frame.head(1)), frame.head(1))


def test_many_small_groups_are_quick_to_deal():
    frame = table(60_000, who=np.arange(60_000) // 2)
    parts = split(understood(frame), frame, group="who")
    who = frame["who"].to_numpy()
    assert not set(who[parts.train]) & set(who[parts.test])
    assert abs(len(parts.test) / 60_000 - 0.2) < 0.02


@pytest.mark.parametrize("formats", [["%d/%m/%Y"], ["%b %d, %Y"], ["%Y-%m-%d", "%d/%m/%Y", "%b %d, %Y"], ["%Y-%m"]])
def test_time_as_text_is_read_as_understanding_reads_it(formats):
    from everymodel.workflow.understand import understand

    frame = table(120)
    moments = pd.date_range("2010-01-31", periods=120, freq="ME")
    order = np.random.default_rng(0).permutation(120)
    frame["w"] = [moments[i].strftime(formats[i % len(formats)]) for i in order]
    parts = split(understand(frame, "y", time="w"), frame)
    assert sorted(order[parts.test]) == list(range(96, 120))
    frame.loc[:5, "w"] = "unknown"
    parts = split(understand(frame, "y", time="w"), frame)
    assert set(range(6)) <= set(parts.train) and "count as the earliest: 6" in parts.note


def test_words_for_nothing_are_no_group_and_it_is_said():
    frame = table(120, g=["N/A"] * 60 + [f" p{i % 10}" if i % 2 else f"p{i % 10} " for i in range(60)])
    parts = split(understood(frame, group="g"), frame)
    assert parts.train.min() < 60 and (parts.test < 60).any()  # the rows without a group are not one group
    groups = frame["g"].str.strip()[60:]
    inside = set(groups[[i for i in parts.test if i >= 60]])
    assert not inside & set(groups[[i for i in parts.train if i >= 60]])
    assert "group of their own each: 60" in parts.note


def test_rows_that_the_split_column_does_not_mark_are_named():
    frame = table(100, s=["train", "test", None, "maybe"] * 25)
    parts = split(understood(frame, split="s"), frame)
    assert len(parts.test) == 25 and "'maybe' are learned from" in parts.note and ": 25." in parts.note
