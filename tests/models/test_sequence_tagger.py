"""The tagger of words: its contract, schemes, tables, probabilities of nothing forbidden."""

from __future__ import annotations

import pandas as pd
import pytest

pytest.importorskip("torch")

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, ModelFileError
from everymodel.scoring.spans import spans_of, tags_of
from everymodel.testing.tagging import check_tagger, tiny_sentences

_CARDS = [c for c in catalog.cards() if c.kind == "tagger" and catalog.available(c)]
_SMALL = {"hidden": 8, "embedding": 16, "characters": 8, "marks": 2, "epochs": 12, "dropout": 0.1, "device": "cpu"}


@pytest.fixture(scope="module")
def model():
    X, y = tiny_sentences()
    return em.SequenceTagger(**_SMALL, learning_rate=0.02, random_state=0).fit(X, y)


@pytest.mark.parametrize("card", _CARDS, ids=lambda c: c.name)
def test_contract(card):
    for tiny in catalog.tiny(card):
        check_tagger(card, tiny)


def test_there_is_a_tagger():
    assert "sequence_tagger" in {c.name for c in _CARDS}


def test_what_is_learnt_and_answered(model):
    assert model.scheme_ == "IOB2" and set(model.tags_) <= {"O", "B-PER", "E-PER", "S-PER", "S-LOC"}
    X, y = tiny_sentences(50, seed=2)
    told = model.evaluate(X, y)
    assert told["f1"] > 0.9 and told["types"]["PER"]["count"] == sum(k == "PER" for t in y for *_, k in spans_of(t))
    assert any("valid_f1" in entry for entry in model.history_.epochs)
    words = ["Ann", "saw", "the", "dog", "in", "Oslo", "."]
    assert model.predict([" ".join(words)]) == model.predict([words]) == [["B-PER", "O", "O", "O", "O", "B-LOC", "O"]]


@pytest.mark.parametrize("scheme", ["IOB1", "BILOU"])
def test_spans_are_answered_as_they_came(scheme):
    X, y = tiny_sentences(60)
    y = [tags_of(spans_of(tags), len(tags), scheme) for tags in y]
    found = em.SequenceTagger(**_SMALL, learning_rate=0.03, random_state=0).fit(X, y).predict(X)
    assert sum(a == b for a, b in zip(found, y)) > 50


def test_sentences_from_a_long_table(model):
    frame = pd.DataFrame({"id": [7, 7, 3, 7], "w": ["Ann", "left", "Rome", None], "t": ["B-PER", "O", "B-LOC", "O"]})
    X, y = em.SequenceTagger.sentences(frame, "id", "w", "t")
    assert X == [["Ann", "left", ""], ["Rome"]] and y == [["B-PER", "O", "O"], ["B-LOC"]]
    assert em.SequenceTagger.sentences({"id": [1], "w": ["x"]}, "id", "w", None) == ([["x"]], None)
    with pytest.raises(DataError, match="no column 'tag'"):
        em.SequenceTagger.sentences(frame, "id", "w")


def test_damaged_files(model):
    step = catalog.module(_CARDS[0]).pack(model)
    settings, arrays = step.spec()
    for change in ({"tags": ["O"]}, {"scheme": "XYZ"}, {"tags": [1] * len(settings["tags"])}, {"more": 1}):
        with pytest.raises(ModelFileError):
            type(step).build({**settings, **change}, arrays)
    with pytest.raises(ModelFileError):
        type(step).build(settings, {**arrays, "field:strange": arrays["reader:a0"]})
