"""Tags as spans: every way of writing them, and scores counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from everymodel.scoring.spans import SCHEMES, may_follow, scheme_of, span_scores, spans_of, tags_of

_SAME = {  # one sentence in four ways: a person of two words, two towns side by side, a firm of three words
    "IOB1": ["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG", "I-ORG", "I-ORG"],
    "IOB2": ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "B-ORG", "I-ORG", "I-ORG"],
    "IOBES": ["B-PER", "E-PER", "O", "S-LOC", "S-LOC", "B-ORG", "I-ORG", "E-ORG"],
    "BILOU": ["B-PER", "L-PER", "O", "U-LOC", "U-LOC", "B-ORG", "I-ORG", "L-ORG"],
}
_SPANS = [(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "LOC"), (5, 8, "ORG")]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_says_the_same(scheme):
    tags = _SAME[scheme]
    assert spans_of(tags) == _SPANS
    assert tags_of(_SPANS, len(tags), scheme) == tags
    assert scheme_of([tags]) == scheme


def test_there_and_back_for_random_spans():
    rng = np.random.default_rng(0)
    for _ in range(300):
        spans, at = [], 0
        while at < 12:
            wide = int(rng.integers(1, 4))
            if rng.random() < 0.6 and at + wide <= 12:
                spans.append((at, at + wide, str(rng.choice(["A", "B-C"]))))
                at += wide
            else:
                at += 1
        for scheme in SCHEMES:
            tags = tags_of(spans, 12, scheme)
            assert spans_of(tags) == spans, (scheme, spans, tags)
            if scheme == "IOBES":
                assert all(may_follow(a, b) for a, b in itertools.pairwise(["", *tags, ""]))


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["I-A", "I-B"], [(0, 1, "A"), (1, 2, "B")]),  # another type begins another span
        (["B-A", "B-A"], [(0, 1, "A"), (1, 2, "A")]),
        (["O", "E-A", "I-A"], [(1, 2, "A"), (2, 3, "A")]),  # an end that nothing began is a span of one word
        (["B-A", "O", "I-A"], [(0, 1, "A"), (2, 3, "A")]),
        (["S-A", "I-A"], [(0, 1, "A"), (1, 2, "A")]),
        ([], []),
        (["NN", "O"], []),
    ],
)
def test_odd_tags(tags, spans):
    assert spans_of(tags) == spans


def test_what_is_no_span():
    assert scheme_of([["DET", "NOUN"]]) is None
    assert scheme_of([["O", "O"]]) is None
    assert scheme_of([["O", "B-x"], ["DET"]]) is None


def test_impossible_neighbours():
    assert may_follow("B-A", "E-A") and may_follow("O", "S-A") and may_follow("E-A", "") and may_follow("", "B-A")
    for first, second in (("B-A", "O"), ("B-A", "E-B"), ("O", "I-A"), ("", "E-A"), ("I-A", ""), ("S-A", "E-A")):
        assert not may_follow(first, second), (first, second)


def test_scores_by_hand():
    true = [["B-A", "I-A", "O", "B-B"], ["B-B", "O"]]
    found = [["B-A", "O", "O", "B-B"], ["B-A", "O"]]  # one end wrong, one right, one of another type
    told = span_scores(true, found)
    assert told["precision"] == pytest.approx(1 / 3) and told["recall"] == pytest.approx(1 / 3)
    assert told["f1"] == pytest.approx(1 / 3)
    assert told["types"]["B"] == pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "count": 2})
    assert told["types"]["A"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 1}
    assert span_scores([["O"]], [["O"]])["f1"] == 0.0
    with pytest.raises(ValueError, match="2 tags and 1 came"):
        span_scores([["O", "O"]], [["O"]])
