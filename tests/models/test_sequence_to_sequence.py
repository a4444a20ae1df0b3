"""Sequence to sequence: the contract, what is learnt, torch against numpy, damaged files."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import ModelFileError, ParameterError
from everymodel.scoring.steps.translating import Translating, written
from everymodel.testing.writing import check_translator, tiny_pairs

torch = pytest.importorskip("torch")
_CARD = catalog.find("sequence_to_sequence")
_SMALL = {"hidden": 24, "embedding": 16, "min_count": 1, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 16,
          "device": "cpu"}  # fmt: skip


@pytest.mark.parametrize("i", range(len(_CARD.tiny)))
def test_contract(i):
    check_translator(_CARD, catalog.tiny(_CARD)[i])


@pytest.fixture(scope="module")
def model():
    X, y = tiny_pairs(200)
    return em.SequenceToSequence(**_SMALL, epochs=25, random_state=0).fit(X, y)


def test_it_learns_to_write_and_to_end(model):
    X, y = tiny_pairs(60, seed=9)
    right = np.mean([a == b for a, b in zip(model.predict(X), y, strict=True)])
    assert right > 0.9


def test_the_steps_of_torch_and_numpy_agree(model):
    """Teacher forcing in torch gives the scores that writing one by one gives in numpy."""
    writer, net = model.step_.writer, model.net_
    rng = np.random.default_rng(0)
    values, lengths = rng.normal(size=(3, 7, net.reader.width)).astype(np.float32), np.array([7, 4, 1])
    before = rng.integers(2, len(writer.table), (3, 5))
    with torch.no_grad():
        hidden = net.writer(*map(torch.from_numpy, (values, lengths, before)))
        wanted = net.writer.outputs(hidden).numpy()
    mask = np.arange(7) < lengths[:, None]
    mean = np.where(mask[..., None], values, 0).sum(axis=1) / lengths[:, None]
    state, keys, rows = writer.start(mean), writer.keys(values), np.arange(3)
    for u in range(5):
        state, scores, _ = writer._next(state, before[:, u], values, keys, mask, rows)
        assert np.allclose(scores, wanted[:, u], atol=1e-4)


def test_beams_write_sentences_at_least_as_likely_as_one_by_one(model):
    step = model.step_
    values, lengths = step.reader(["one two three four zero zero"])
    values, lengths = step.body((values[None], lengths))
    mask, keys = np.ones((1, values.shape[1]), dtype=bool), step.writer.keys(values)

    def worth(beams):
        writer = copy.copy(step.writer)
        writer.beams, writer.penalty = beams, 0.0
        ids = [i for i in writer((values, lengths))[0][0].tolist() if i]
        end, state, total = len(writer.table) - 1, writer.start(values.mean(axis=1)), 0.0
        for before, after in zip([end - 1, *ids], [*ids, end], strict=True):
            state, scores, _ = writer._next(state, np.array([before]), values, keys, mask, np.array([0]))
            scores[:, [0, end - 1]] = -np.inf
            total += scores[0, after] - np.log(np.exp(scores[0]).sum())
        return total

    assert worth(8) >= worth(1) - 1e-6


def test_unknown_words_are_copied_or_left_out():
    X, y = tiny_pairs(120)
    X, y = [*X, *[f"name{i}" for i in range(60)]], [*y, *[f"name{i}" for i in range(60)]]
    given = {**_SMALL, "min_count": 2}
    made = em.SequenceToSequence(**given, epochs=20, random_state=0).fit(X, y)
    assert made.predict(["nameless"]) == ["nameless"]
    made.copy_unknown = False
    assert "nameless" not in made._made()(["nameless"])[0]


def test_rows_of_numbers_write_their_word():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2))
    y = [("left" if a < 0 else "right") + " " + ("low" if b < 0 else "high") for a, b in X]
    made = em.SequenceToSequence(**_SMALL, epochs=20, random_state=0).fit(X[:120], y[:120])
    right = np.mean([a == b for a, b in zip(made.predict(X[120:]), y[120:], strict=True)])
    assert right > 0.8


def test_texts_are_put_together_as_people_write():
    assert written(["hello", ",", "world", "(", "again", ")", "!"], "words") == "hello, world (again)!"
    assert written(["▁he", "llo", "▁you"], "subwords") == "hello you"
    assert written(list("a b"), "characters") == "a b"


@pytest.mark.parametrize("wrong", [{"cell": "rnn"}, {"attention": "none"}, {"beams": 0}, {"hidden": 2.5}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        em.SequenceToSequence(**wrong).fit(*tiny_pairs(10))


def test_damaged_steps_are_refused(model):
    settings, arrays = model.step_.spec()
    assert Translating.build(settings, arrays)(["one"]) == model.predict(["one"])
    for name in arrays:
        with pytest.raises(ModelFileError):
            Translating.build(settings, {k: v for k, v in arrays.items() if k != name})
    for part in ("reader", "body", "writer", "tokens"):
        with pytest.raises(ModelFileError):
            Translating.build({k: v for k, v in settings.items() if k != part}, arrays)
    for change in ({"beams": 0}, {"beams": 10**9}, {"most": -1}, {"how": "guess"}, {"penalty": "much"}):
        hurt = copy.deepcopy(settings)
        hurt["writer"]["settings"].update(change)
        with pytest.raises(ModelFileError):
            Translating.build(hurt, arrays)
