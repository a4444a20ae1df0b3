from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.metrics import roc_auc_score

from everymodel.core.card import Card
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.preprocessing.categories import LevelColumns, TargetMeans
from everymodel.preprocessing.preparation import DENSE_LEVELS, NATIVE_LEVELS, Preparation
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Batch, Sparse

LEVELS = {"two": 2, "few": 5, "many": 120, "crowd": 600}
WORDS = ["red", "green", "blue", "fast", "slow", "cat", "dog", "house", "tree", "sun", "moon", "rain"]


def levels_of(size):
    return tuple(f"l{j}" for j in range(size))


SCHEMA = Schema(
    (
        Column("id", "identifier", role="ignored"),
        Column("plain", "number"),
        Column("gaps", "number"),
        Column("tail", "number"),
        Column("flat", "number"),
        Column("void", "number"),
        Column("flag", "boolean"),
        Column("when", "date"),
        *(Column(name, "category", levels=levels_of(size)) for name, size in LEVELS.items()),
        Column("single", "category", levels=("only",)),
        Column("words", "text"),
        Column("y", "number", role="target"),
    ),
    "binary",
    (0, 1),
)


def make(n, seed=0):
    rng = np.random.default_rng(seed)
    columns = {
        "plain": rng.normal(size=n),
        "gaps": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
        "tail": rng.lognormal(0, 2, n),
        "flat": np.full(n, 3.0),
        "void": np.full(n, np.nan),
        "flag": rng.integers(0, 2, n).astype(float),
        "when": np.where(rng.random(n) < 0.1, np.nan, rng.uniform(1e9, 1.6e9, n)),
        "single": np.zeros(n, dtype=np.int32),
    }
    for name, size in LEVELS.items():
        columns[name] = np.minimum(rng.zipf(1.5, n) - 1, size - 1).astype(np.int32)
    columns["few"][rng.random(n) < 0.1] = -1
    texts = np.empty(n, dtype=object)
    texts[:] = [" ".join(rng.choice(WORDS, rng.integers(0, 8))) for _ in range(n)]
    columns["words"] = texts
    y = (columns["plain"] + (columns["few"] == 1) + rng.normal(size=n) > 0).astype(np.int64)
    return Batch(columns, n), y


def full(matrix):
    return matrix.toarray() if issparse(matrix) or isinstance(matrix, Sparse) else matrix


ALL = [
    {"scaling": s, "missing": m, "categories": c, "sparse": p, "non_negative": z}
    for s, m, c, p, z in itertools.product(
        ("none", "standard", "range", "robust"),
        (False, True),
        ("onehot", "codes", "native"),
        (False, True),
        (False, True),
    )
    # NaN cannot be scaled in a sensible way by models that take it; no card asks for that.
    if not (m and (s != "none" or z)) and not (z and s != "range")
]


@pytest.mark.parametrize("words", ALL, ids=lambda w: "-".join(str(v) for v in w.values()))
def test_serving_repeats_training(words):
    batch, y = make(400)
    asked, _ = make(60, seed=1)
    asked.columns["few"][:5] = -2
    asked.columns["two"][:5] = -1
    asked.columns["crowd"][:5] = -2
    asked.columns["plain"][0] = np.inf
    asked.columns["plain"][1] = np.nan
    preparation = Preparation(SCHEMA, **words)
    X = preparation.fit_transform(batch, y)
    assert X.shape == (400, len(preparation.feature_names_)) == (400, len(preparation.origins_))
    assert len(set(preparation.feature_names_)) == X.shape[1]
    assert set(preparation.origins_) <= {c.name for c in SCHEMA.features} - {"void", "flat", "single"}
    assert issparse(X) == (words["sparse"] and words["categories"] != "native")
    expected = full(preparation.transform(asked))
    pack = Pack.build(*Pack(preparation.nodes("p.")).spec())
    np.testing.assert_array_equal(full(pack(asked)), expected)
    alone = np.vstack([full(pack(asked.take(np.array([i])))) for i in range(asked.n)])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-12)
    for matrix in (full(X), expected):
        if words["missing"]:
            assert not np.isinf(matrix).any() and np.isnan(matrix).any()
        else:
            assert np.isfinite(matrix).all()
        if words["non_negative"]:
            assert matrix.min() >= 0
    if words["categories"] == "native":
        names = [preparation.feature_names_[j] for j in preparation.native_]
        assert names == ["few", "many", *(["crowd"] if len(np.unique(batch.columns["crowd"])) <= NATIVE_LEVELS else [])]
        codes = full(X)[:, preparation.native_]
        assert (codes[~np.isnan(codes)] == np.floor(codes[~np.isnan(codes)])).all() and np.nanmin(codes) == 0
    else:
        assert preparation.native_ == []


def test_same_rows_same_result():
    batch, y = make(300)
    one, two = (Preparation(SCHEMA, categories="codes", scaling="robust", seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.fit_transform(batch, y), two.fit_transform(batch, y))
    assert one.key == two.key and hash(one.key)


def test_keys_differ_where_results_may_and_agree_where_not():
    numbers = Schema((Column("a", "number"), Column("b", "date")), "regression")
    assert Preparation(numbers, categories="codes").key == Preparation(numbers, categories="native", sparse=True).key
    assert Preparation(numbers).key != Preparation(numbers, scaling="standard").key
    assert Preparation(SCHEMA, categories="codes").key != Preparation(SCHEMA).key
    assert Preparation(SCHEMA, categories="codes").key != Preparation(SCHEMA, categories="codes", seed=1).key


def test_a_card_says_what_is_needed():
    card = Card("x", "X", "", "classifier", ("binary",), "a:B", "m", "f", needs={"scaling": "standard", "sparse": True})
    preparation = Preparation.for_card(card, SCHEMA)
    assert (preparation.scaling, preparation.sparse, preparation.categories) == ("standard", True, "onehot")
    with pytest.raises(ParameterError, match="expected one of"):
        Preparation(SCHEMA, scaling="huge")
    with pytest.raises(ParameterError, match="expected one of"):
        Preparation(SCHEMA, categories="hash")


@pytest.mark.parametrize(
    "columns",
    [
        {"flat": np.ones(5)},
        {"void": np.full(5, np.nan)},
        {"void": np.full(5, np.inf)},
        {"single": np.zeros(5, dtype=np.int32)},
        {"words": np.array([""] * 5, dtype=object)},
        {},
    ],
)
def test_nothing_to_learn_from_is_said(columns):
    schema = Schema(tuple(c for c in SCHEMA.columns if c.name in columns), "binary")
    with pytest.raises(DataError, match="nothing to learn from"):
        Preparation(schema).fit_transform(Batch(columns, 5), np.array([0, 1, 0, 1, 0]))


def test_one_row_to_learn_from_is_said():
    batch, y = make(1)
    with pytest.raises(DataError, match="nothing to learn from"):
        Preparation(SCHEMA).fit_transform(batch, y)


# ---------------------------------------------------------------------- leaks


def noise(n=2000, levels=500, seed=0):
    rng = np.random.default_rng(seed)
    schema = Schema((Column("c", "category", levels=levels_of(levels)),), "binary", (0, 1))
    return schema, Batch({"c": rng.integers(0, levels, n).astype(np.int32)}, n), rng.integers(0, 2, n)


def test_noise_does_not_look_good_on_training_rows():
    scores = []
    for seed in range(5):
        schema, batch, y = noise(seed=seed)
        preparation = Preparation(schema, categories="codes")
        X = preparation.fit_transform(batch, y)
        scores.append(roc_auc_score(y, X[:, preparation.feature_names_.index("c:mean")]))
    assert abs(np.mean(scores) - 0.5) < 0.03
    # The same noise does look good to whoever takes plain means: the test can fail.
    plain = np.bincount(batch.columns["c"], y) / np.maximum(np.bincount(batch.columns["c"]), 1)
    assert roc_auc_score(y, plain[batch.columns["c"]]) > 0.7


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "multilabel"])
def test_a_row_does_not_see_its_own_target(task):
    rng = np.random.default_rng(3)
    schema, batch, _ = noise(400, 30)
    targets = {
        "binary": rng.integers(0, 2, 400),
        "multiclass": rng.integers(0, 4, 400),
        "regression": rng.normal(size=400),
        "multilabel": rng.integers(0, 2, (400, 3)),
    }
    y = targets[task]
    y = y + (batch.columns["c"] % 2)[(...,) + (None,) * (y.ndim - 1)] if task == "regression" else y
    before = Preparation(schema, categories="codes", task=task).fit_transform(batch, y)
    for row in (0, 57, 399):
        other = y.copy()
        other[row] = (other[row] + 1) % 4 if task == "multiclass" else 1 - other[row]
        after = Preparation(schema, categories="codes", task=task).fit_transform(batch, other)
        np.testing.assert_array_equal(after[row], before[row])
    if task == "regression":
        assert (after != before).any()  # others do see it


def test_a_text_does_not_see_its_own_target():
    batch, y = make(300)
    schema = Schema((Column("words", "text"),), "binary", (0, 1))
    first = Preparation(schema)
    before = first.fit_transform(batch, y)
    other = y.copy()
    other[7] = 1 - other[7]
    after = Preparation(schema).fit_transform(batch, other)
    score = first.feature_names_.index("words:score")
    # The mean of the target that is taken off is one number for all rows of the other folds.
    assert abs(after[7, score] - before[7, score]) < 1e-12
    assert (after[:, score] != before[:, score]).any()


def test_signal_in_levels_is_found():
    rng = np.random.default_rng(5)
    schema, batch, _ = noise(4000, 400, seed=5)
    effect = rng.normal(size=400)
    y = effect[batch.columns["c"]] + rng.normal(size=4000)
    preparation = Preparation(schema, categories="codes", task="regression")
    X = preparation.fit_transform(batch, y)
    assert np.corrcoef(X[:, preparation.feature_names_.index("c:mean")], y)[0, 1] > 0.6
    served = preparation.transform(Batch({"c": np.arange(400, dtype=np.int32)}, 400))
    assert np.corrcoef(served[:, preparation.feature_names_.index("c:mean")], effect)[0, 1] > 0.9


# ---------------------------------------------------------------------- levels


def test_unseen_and_missing_levels():
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 40, 1000).astype(np.int32)
    y = rng.normal(size=1000) + (codes < 20)
    schema = Schema((Column("c", "category", levels=levels_of(50)),), "regression")
    odd = Batch({"c": np.array([-2, -1, 45], dtype=np.int32)}, 3)  # 45 is a level that no training row has
    mean = Preparation(schema, categories="codes")
    mean.fit_transform(Batch({"c": codes}, 1000), y)
    np.testing.assert_allclose(mean.transform(odd)[:, mean.feature_names_.index("c:mean")], y.mean())
    native = Preparation(schema, categories="native", missing=True)
    native.fit_transform(Batch({"c": codes}, 1000), y)
    assert np.isnan(native.transform(odd)).all()
    onehot = Preparation(schema)
    onehot.fit_transform(Batch({"c": codes}, 1000), y)
    assert (onehot.transform(odd) == 0).all()


def test_rare_levels_share_a_column_and_unseen_ones_join_them():
    codes = np.repeat(np.arange(12, dtype=np.int32), [300, 200, 100, *[1] * 9])
    learner = LevelColumns(["c"], [20], limit=2).fit(Batch({"c": codes}, len(codes)))
    assert learner.words_ == [("c", 0), ("c", 1), ("c", "rare")]
    asked = Batch({"c": np.array([0, 1, 2, 11, 19, -2, -1], dtype=np.int32)}, 7)
    assert learner.transform(asked).argmax(axis=1).tolist() == [0, 1, 2, 2, 2, 2, 0]
    assert learner.transform(asked)[-1].sum() == 0  # missing was never seen


def test_a_hundred_thousand_levels():
    rng = np.random.default_rng(7)
    size, n = 100_000, 150_000
    schema = Schema((Column("c", "category", levels=levels_of(size)),), "binary", (0, 1))
    codes = np.minimum(rng.zipf(1.2, n) - 1, size - 1).astype(np.int32)
    batch, y = Batch({"c": codes}, n), (rng.random(n) < 0.3 + 0.4 * (codes % 2)).astype(np.int64)
    widths = {}
    for categories in ("onehot", "codes", "native"):
        preparation = Preparation(schema, categories=categories)
        X = preparation.fit_transform(batch, y)
        widths[categories] = X.shape[1]
        assert roc_auc_score(y, X[:, preparation.feature_names_.index("c:mean")]) > 0.6
        assert preparation.native_ == []
    assert widths == {"onehot": DENSE_LEVELS + 3, "codes": 2, "native": 2}


def test_target_means_shrink_small_levels_more():
    rng = np.random.default_rng(8)
    codes = np.repeat(np.arange(30, dtype=np.int32), [2] * 15 + [200] * 15)
    y = rng.normal(size=len(codes)) + np.where(np.arange(30) % 2, 1.0, -1.0)[codes]
    learner = TargetMeans(["c"], [30]).fit(Batch({"c": codes}, len(codes)), y[:, None])
    plain = np.bincount(codes, y) / np.bincount(codes)
    kept = (learner.tables_[0][2:, 0] - y.mean()) / (plain - y.mean())
    assert (kept > 0).all() and (kept < 1).all() and kept[:15].max() < kept[15:].min()


def test_many_classes_keep_the_matrix_small():
    rng = np.random.default_rng(9)
    schema = Schema(tuple(Column(f"c{i}", "category", levels=levels_of(60)) for i in range(40)), "multiclass")
    batch = Batch({f"c{i}": rng.integers(0, 60, 500).astype(np.int32) for i in range(40)}, 500)
    X = Preparation(schema, categories="codes").fit_transform(batch, rng.integers(0, 80, 500))
    assert X.shape[1] <= 40 * 3


# ---------------------------------------------------------------------- size


def test_ten_thousand_columns():
    rng = np.random.default_rng(10)
    schema = Schema(tuple(Column(f"n{i}", "number") for i in range(10_000)), "regression")
    batch = Batch({f"n{i}": rng.normal(size=100) for i in range(10_000)}, 100)
    preparation = Preparation(schema, scaling="standard")
    X = preparation.fit_transform(batch, rng.normal(size=100))
    assert X.shape == (100, 10_000)
    np.testing.assert_allclose(X.std(axis=0), 1, atol=1e-9)


def test_mostly_empty_numbers_stay_sparse():
    rng = np.random.default_rng(11)
    values = np.where(rng.random((300, 400)) < 0.95, 0.0, rng.normal(5, 1, (300, 400)))
    schema = Schema(tuple(Column(f"n{i}", "number") for i in range(300)), "regression")
    batch = Batch({f"n{i}": values[i] for i in range(300)}, 400)
    preparation = Preparation(schema, sparse=True, scaling="standard")
    X = preparation.fit_transform(batch, rng.normal(size=400))
    assert issparse(X) and X.nnz < 0.1 * 400 * 300
    assert not issparse(Preparation(schema, scaling="standard").fit_transform(batch, rng.normal(size=400)))


@pytest.mark.parametrize("words", [{"scaling": "standard"}, {"sparse": True}, {"categories": "codes"}])
def test_stripes_make_no_difference(words, monkeypatch):
    batch, y = make(500)
    asked, _ = make(333, seed=2)
    whole = Preparation(SCHEMA, **words)
    X, expected = full(whole.fit_transform(batch, y)), full(whole.transform(asked))
    monkeypatch.setattr("everymodel.preprocessing.preparation.ROWS", 100)
    striped = Preparation(SCHEMA, **words)
    np.testing.assert_array_equal(full(striped.fit_transform(batch, y)), X)
    np.testing.assert_array_equal(full(striped.transform(asked)), expected)


def test_no_rows_asked():
    batch, y = make(200)
    for words in ({"scaling": "standard"}, {"sparse": True}, {"categories": "native", "missing": True}):
        preparation = Preparation(SCHEMA, **words)
        preparation.fit_transform(batch, y)
        out = preparation.transform(batch.take(np.array([], dtype=np.int64)))
        assert out.shape == (0, len(preparation.feature_names_))


def test_the_package_names_its_parts_without_loading_them():
    code = (
        "import sys, everymodel.preprocessing as p; assert not {'sklearn', 'scipy', 'pandas'} & set(sys.modules); "
        "[getattr(p, name) for name in dir(p)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_that_looks_at_nothing_gets_nothing():
    batch, y = make(50)
    preparation = Preparation(SCHEMA, categories="none")
    assert (preparation.fit_transform(batch, y) == np.zeros((50, 1))).all()
    assert Pack(preparation.nodes())(batch).shape == (50, 1)
    empty = Schema((Column("flat", "number"),), "regression")
    assert Preparation(empty, categories="none").fit_transform(Batch({"flat": np.ones(3)}, 3)).shape == (3, 1)


def test_days_between_dates():
    rng = np.random.default_rng(12)
    ordered = rng.uniform(1.5e9, 1.6e9, 200)
    took = rng.integers(1, 9, 200) * 86400.0
    schema = Schema((Column("ordered", "date"), Column("came", "date"), Column("same", "date")), "regression")
    batch = Batch({"ordered": ordered, "came": ordered + took, "same": ordered.copy()}, 200)
    batch.columns["came"][0] = np.nan
    preparation = Preparation(schema, missing=True)
    X = preparation.fit_transform(batch, took)
    spans = [name for name in preparation.feature_names_ if "since" in name]
    assert spans == ["came:since ordered", "same:since came"]  # what never varies is left out
    column = X[:, preparation.feature_names_.index("came:since ordered")]
    assert np.isnan(column[0])
    np.testing.assert_allclose(column[1:], took[1:] / 86400)
