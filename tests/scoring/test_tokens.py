"""Texts as tokens, without torch: words, characters, subwords, odd cells, damaged files."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.errors import ModelFileError
from everymodel.scoring.layers import base
from everymodel.scoring.layers.tokens import Signals, Tokens, TokenSums, TokenVectors, as_series, shape_of


def _again(layer):
    told, arrays = base.write(layer)
    return base.read(told, arrays)


def test_words():
    made = _again(Tokens("words", ("don't", "stop", "!", "0")))
    ids, lengths = made(["Don't stop!", "", None, float("nan"), "new 5", ["stop", "Stop", 3.5]])
    assert ids.tolist() == [2, 3, 4, 1, 1, 1, 1, 1, 3, 3, 1]
    assert lengths.tolist() == [3, 1, 1, 1, 2, 3]
    assert Tokens("words", ("0",), digits=True)(["5"])[0].tolist() == [2]
    assert Tokens("words", ("Stop",), lower=False)(["stop Stop"])[0].tolist() == [1, 2]


def test_characters_and_length():
    made = Tokens("characters", tuple("abc"), most=4)
    ids, lengths = made(["aBx", "abcabc"])
    assert ids.tolist() == [2, 3, 1, 2, 3, 4, 2] and lengths.tolist() == [3, 4]
    assert made.length("abcabc") == 6 and made.most == 4


def test_subwords_join_pairs_in_order():
    words = ("▁", "l", "o", "w", "e", "r", "lo", "low", "▁low", "er")
    merges = np.array([[1, 2], [6, 3], [0, 7], [4, 5]], dtype=np.int32)
    made = _again(Tokens("subwords", words, merges=merges))
    assert made.split("Lower low we") == ["▁low", "er", "▁low", "▁", "w", "e"]
    assert made.split("löw") == ["▁", "l", "ö", "w"]
    assert made(["löw"])[0].tolist() == [2, 3, 1, 5]


def test_subwords_are_learnt_by_the_package_and_read_without_it():
    pytest.importorskip("tokenizers")
    pytest.importorskip("torch")
    from everymodel.models.neural._sequences import learn_tokens

    texts = ["the lowest tower", "lower the flower", "slower than the rest"] * 5
    made = learn_tokens(texts, "subwords", vocabulary=60)
    split = made.split("the lowest flower")
    assert "".join(split).replace("▁", " ").strip() == "the lowest flower"
    assert len(split) < len("thelowestflower") and made(["the lowest"])[0].min() >= 2


def test_marks_of_words():
    assert shape_of("McDonald's") == ("XxXxxxxx'x", "XxXx'x")
    assert shape_of("1998") == ("0000", "0") and shape_of("") == ("", "")


def test_series():
    made = _again(Signals(np.array([1.0]), np.array([2.0]), gaps=True, most=3))
    values, lengths = made([[1, 2, 3, 4], np.array([[np.nan], [5.0]]), []])
    assert lengths.tolist() == [3, 2, 1]
    assert values.tolist() == [[0, 0], [2, 0], [4, 0], [0, 1], [8, 0], [0, 1]]
    with pytest.raises(ValueError, match="steps of 2 numbers"):
        as_series(np.zeros((3, 2)), 1)


@pytest.mark.parametrize(
    "damage",
    [
        {"how": "lines"},
        {"words": ("a", 3)},
        {"words": "ab"},
        {"most": 0},
        {"lower": 1},
        {"merges": np.array([[0, 9]])},
        {"merges": np.array([0.5, 1.0])},
    ],
)
def test_damaged_tokens(damage):
    layer = Tokens("words", ("a", "b"))
    for name, value in damage.items():
        setattr(layer, name, value)
    with pytest.raises(ModelFileError):
        _again(layer)


def test_damaged_tables():
    reader = Tokens("words", ("a", "b"))
    for layer in (
        TokenVectors(reader, np.zeros((3, 2), np.float32)),
        TokenVectors(reader, np.zeros((4, 2), np.int64)),
        TokenVectors(reader, np.zeros((4, 2), np.float32), sizes=(5, 3)),
        TokenVectors(reader, np.zeros((4, 2), np.float32), grams=np.zeros((0, 2), np.float32)),
        TokenSums(reader, np.zeros((4, 2), np.float32), np.zeros((5, 3), np.float32)),
        TokenSums(Signals(np.zeros(1), np.ones(1)), np.zeros((4, 2), np.float32)),
        Signals(np.zeros(2), np.ones(1)),
    ):
        with pytest.raises(ModelFileError):
            _again(layer)
