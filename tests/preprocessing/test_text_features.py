from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from everymodel.core.schema import Column, Schema
from everymodel.preprocessing import text as module
from everymodel.preprocessing.preparation import Preparation, remember
from everymodel.preprocessing.text import TextCounts, TextVocabulary, read_key
from everymodel.scoring.steps.base import Batch

SCHEMA = Schema((Column("t", "text"),), "binary", (0, 1))


@pytest.fixture(autouse=True)
def clean():
    yield
    module.forget()


def column(cells):
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return Batch({"t": out}, len(out))


def reviews(n, seed=0):
    """Texts whose verdict is in one word, or, misspelt, in a part of one."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    good, bad = ["wonderful", "wonderfull", "wonderfuly"], ["dreadful", "dreadfull", "dreadfuly"]
    filler = load_breast_cancer().DESCR.lower().split()[:300]
    texts = []
    for label in y:
        words = list(rng.choice(filler, rng.integers(3, 15)))
        words.insert(int(rng.integers(len(words))), str(rng.choice(good if label else bad)))
        texts.append(" ".join(words))
    return column(texts), y


@pytest.mark.parametrize("sparse", [False, True])
def test_what_a_text_says_is_found(sparse):
    batch, y = reviews(400)
    asked, truth = reviews(200, seed=1)
    preparation = Preparation(SCHEMA, scaling="standard", sparse=sparse)
    model = LogisticRegression(max_iter=500).fit(preparation.fit_transform(batch, y), y)
    assert roc_auc_score(truth, model.predict_proba(preparation.transform(asked))[:, 1]) > 0.97


def test_noise_does_not_look_good_on_training_rows():
    batch, y = reviews(600)
    rng = np.random.default_rng(3)
    scores = []
    for _ in range(4):
        y = rng.permutation(y)
        preparation = Preparation(SCHEMA)
        X = preparation.fit_transform(batch, y)
        scores.append(roc_auc_score(y, X[:, preparation.feature_names_.index("t:score")]))
    assert abs(np.mean(scores) - 0.5) < 0.05


def test_names_say_what_a_column_is():
    learner = TextVocabulary("t").fit(column(["red fox", "red dog", "blue fox", "日本語", "日本"] * 3))
    names = learner.get_feature_names_out().tolist()
    assert "t:red" in names and "t:fox" in names
    assert "t~'fox'" in names and "t~' 日本'" in names
    assert len(names) == len(learner.weight_) == learner.step().keys.shape[0] + len(learner.step().words)


def test_keys_are_read_back_even_where_letters_share_bits():
    counts = TextCounts(column(["聡聡聡聡", "聡聡聡 x", "🙂🙂🙂🙂", "🙂🙂🙂🙂!"]).columns["t"])
    read = {read_key(int(key), counts.letters) for key in counts.keys}
    assert "聡聡聡" in read and "🙂🙂🙂🙂" in read


def test_counting_once_changes_nothing():
    batch, y = reviews(500)
    batch.columns["t"][10:40] = batch.columns["t"][0]  # repeated texts
    rng = np.random.default_rng(4)
    for sparse in (False, True):
        rows = rng.permutation(500)[:350]
        module.forget()
        plain = Preparation(SCHEMA, sparse=sparse)
        expected = plain.fit_transform(batch.take(rows), y[rows])
        remember(SCHEMA, batch)
        assert module._REMEMBERED
        quick = Preparation(SCHEMA, sparse=sparse)
        found = quick.fit_transform(batch.take(rows), y[rows])
        assert quick.feature_names_ == plain.feature_names_
        np.testing.assert_array_equal(found.toarray() if sparse else found, expected.toarray() if sparse else expected)


def test_what_was_counted_serves_no_other_text():
    remember(SCHEMA, reviews(300)[0])
    other, z = reviews(300, seed=9)
    found = Preparation(SCHEMA).fit_transform(other, z)
    module.forget()
    np.testing.assert_array_equal(found, Preparation(SCHEMA).fit_transform(other, z))


def test_training_rows_are_what_the_step_makes_of_them():
    batch, _ = reviews(200)
    learner = TextVocabulary("t", words=50, runs=40)
    trained = learner.fit_transform(batch)
    served = learner.step()(batch)
    np.testing.assert_array_equal(trained.toarray(), served.toarray())
    assert trained.shape == (200, 90)


def test_long_texts_are_read_by_words_alone():
    batch, _ = reviews(50)
    long = column([" ".join([cell] * 30) for cell in batch.columns["t"]])
    learner = TextVocabulary("t").fit(long)
    assert len(learner.keys_) == 0 and "wonderful" in learner.words_


@pytest.mark.parametrize("cells", [["", "", ""], ["same"] * 9, [str(i) * 9 for i in range(9)]])
def test_texts_without_common_terms(cells):
    learner = TextVocabulary("t")
    assert learner.fit_transform(column(cells)).shape == (len(cells), 0)
    assert learner.step() is None and learner.transform(column(["x"])).shape == (1, 0)
