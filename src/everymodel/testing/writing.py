"""The contract of models that write: a sequence for every row, in a file as in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import EverymodelError


def tiny_pairs(n: int = 60, seed: int = 0) -> tuple[list[str], list[str]]:
    """Numbers in words and the same in digits."""
    rng = np.random.default_rng([seed, n])
    words = ("zero", "one", "two", "three", "four")
    X, y = [], []
    for _ in range(n):
        digits = rng.integers(0, len(words), rng.integers(1, 5))
        X.append(" ".join(words[d] for d in digits))
        y.append(" ".join(map(str, digits)))
    return X, y


def check_translator(card: Card, model: Any) -> None:
    """Raises AssertionError with what is broken.

    Fitting gives the model itself; `predict` gives a text for every row, or a list where y were lists; equal seeds give
    equal answers; empty rows, unknown words and rows of numbers are answered; the step that is packed answers alike and
    survives the way into a file; rows and targets that do not fit are refused.
    """
    from sklearn.base import clone

    where = card.class_name
    X, y = tiny_pairs()
    source = clone(model)
    assert source.fit(X, y) is source, f"{where}: fit does not give the model"
    odd = [*X[:5], "", "nine hundred", "one " * 40, "ö∑ 🙂"]
    said = source.predict(odd)
    assert len(said) == len(odd) and all(isinstance(s, str) for s in said), f"{where}: not a text for every row"
    assert clone(model).fit(X, y).predict(odd) == said, f"{where}: equal seeds give different answers"
    made = catalog.module(card).pack(source)
    step = type(made).build(*made.spec())
    assert step(odd) == said, f"{where}: the pack answers differently"
    assert step(odd[2:3]) == said[2:3], f"{where}: a row by itself is answered differently"
    lists = clone(model).fit([x.split() for x in X], [t.split() for t in y]).predict([X[0].split()])
    assert isinstance(lists[0], list), f"{where}: lists of tokens do not give lists"
    numbers = np.random.default_rng(0).normal(size=(len(y), 3))
    assert len(clone(model).fit(numbers, y).predict(numbers[:4])) == 4, f"{where}: rows of numbers are not taken"
    for wrong in ((X, y[:3]), (X, [1.0] * len(X)), ([3.0] * len(X), y)):
        try:
            clone(model).fit(*wrong)
        except EverymodelError:
            continue
        raise AssertionError(f"{where}: rows and targets that do not fit are taken")
