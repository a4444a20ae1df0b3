"""The contract of taggers: a tag for every word, in the way that spans came, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import EverymodelError


def tiny_sentences(n: int = 80, seed: int = 0) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of a small grammar and their tags in IOB2: names of one or two words, towns, and other words."""
    rng = np.random.default_rng([seed, n])
    first, last, towns = ("Ann", "Bob", "Eve", "Max"), ("Lee", "Ray", "Fox"), ("Rome", "Oslo", "Lima")
    X, y = [], []
    for _ in range(n):
        name = [str(rng.choice(first))] + ([str(rng.choice(last))] if rng.random() < 0.5 else [])
        person = ["B-PER"] + ["I-PER"] * (len(name) - 1)
        middle = [str(rng.choice(("saw", "left", "met"))), "the", str(rng.choice(("dog", "road", "river")))]
        if rng.random() < 0.5:
            X.append([*name, *middle, "in", str(rng.choice(towns)), "."])
            y.append([*person, "O", "O", "O", "O", "B-LOC", "O"])
        else:
            X.append([*middle[1:], "of", *name, "!"])
            y.append(["O", "O", "O", *person, "O"])
    return X, y


def check_tagger(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself and learns; `predict` gives a list of as many tags for every sentence, in the scheme
    that came; equal seeds give equal answers; empty sentences, unknown words and odd characters are answered; the step
    that is packed answers alike, and survives the way into a file; sentences and tags that do not fit are refused.
    """
    from sklearn.base import clone

    where = card.class_name
    X, y = tiny_sentences()
    new, true = tiny_sentences(40, seed=1)
    source = clone(model)
    assert source.fit(X, y) is source, f"{where}: fit does not give the model"
    found = source.predict(new)
    assert [len(t) for t in found] == [len(s) for s in new], f"{where}: there is not a tag for every word"
    assert source.score(new, true) > 0.8, f"{where}: it does not learn a small grammar ({source.score(new, true):.2f})"
    assert {t for s in found for t in s} <= {t for s in y for t in s}, f"{where}: tags come in another scheme"
    assert clone(model).fit(X, y).predict(new) == found, f"{where}: equal seeds give different answers"
    odd = [[], ["Zoë", "\u0000", "", "🦊" * 50], ["Ann"] * 700, ["1", "2.5", "Rome"], *new]
    answers = source.predict(odd)
    assert [len(t) for t in answers] == [len(s) for s in odd], f"{where}: odd sentences are not answered"
    made = catalog.module(card).pack(source)
    step = type(made).build(*made.spec())
    assert made.output == "tags" and step(odd) == answers, f"{where}: the pack answers differently"
    assert step([new[0]]) == [found[0]], f"{where}: a sentence by itself is answered differently"
    plain = clone(model).fit([["a", "b"]] * 30, [["x", "y"]] * 30)
    assert plain.predict([["a", "b"]]) == [["x", "y"]], f"{where}: tags that are no spans are not learnt"
    for bad in ((X, y[:-1]), (X[:1], [y[0][:-1]]), ("Ann left", ["O", "O"]), (X, None), ([[]], [[]])):
        try:
            clone(model).fit(*bad)
        except EverymodelError:
            continue
        raise AssertionError(f"{where}: sentences and tags that do not fit are learnt from")
