"""The contract that every model keeps, for ours and for those of other packages.

    from everymodel import catalog, testing
    for card in catalog.cards():
        testing.check_model(card)

Needs scikit-learn and the packages of the models that are checked; imported by nothing else in everymodel.
"""

from __future__ import annotations

import inspect
import unittest
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import KINDS, NEEDS, Card
from everymodel.core.errors import ParameterError
from everymodel.core.schema import (
    ACT_TASKS,
    FREE_TASKS,
    MADE_TASKS,
    PIXEL_TASKS,
    SERIES_TASKS,
    STEP_TASKS,
    TASKS,
    WRITTEN_TASKS,
)

# In everything that is read by people these words would be noise.
_WRITTEN = ("title", "summary", "choose", "avoid")
# Kinds that take rows of a table, and so keep scikit-learn's contract; others have a check of their own.
TABULAR = ("classifier", "regressor", "clusterer", "reducer", "detector")


def check_model(card: Card) -> None:
    """Run the whole contract on one card; raises AssertionError with what is broken.

    The card itself, scikit-learn's estimator checks on every tiny instance (waivers must still fail), and that the pack
    answers like the model it was made from.
    """
    check_card(card)
    for model in catalog.tiny(card):
        if card.kind == "forecaster":
            from everymodel.testing.series import check_forecaster

            check_forecaster(card, model)
        if card.kind == "translator":
            from everymodel.testing.writing import check_translator

            check_translator(card, model)
        if card.kind == "tagger":
            from everymodel.testing.tagging import check_tagger

            check_tagger(card, model)
        if card.kind in ("segmenter", "locator"):
            from everymodel.testing.pixelwise import check_pixelwise

            check_pixelwise(card, model)
        if card.kind == "generator":
            from everymodel.testing.generating import check_generator

            check_generator(card, model)
        if card.kind == "agent":
            from everymodel.testing.acting import check_agent

            check_agent(card, model)
        if card.kind not in TABULAR:
            continue
        check_estimator(model, card.waivers)
        for task in card.tasks:
            check_pack(card, model, task)


def check_card(card: Card) -> None:
    """The card is complete, and agrees with the class that it names."""
    where = f"card {card.name} ({card.kind})"
    assert card.kind in KINDS, f"{where}: unknown kind"
    known = (*TASKS, *FREE_TASKS, *SERIES_TASKS, *STEP_TASKS, *PIXEL_TASKS, *WRITTEN_TASKS, *MADE_TASKS, *ACT_TASKS)
    assert card.tasks and set(card.tasks) <= set(known), f"{where}: tasks are {card.tasks}, expected some of {known}"
    assert card.module.rpartition(".")[2] == card.name, f"{where}: the file must be called {card.name}.py"
    for word in _WRITTEN:
        text = getattr(card, word)
        sentence = word == "title" or text.endswith(".")
        assert text and text[0].isupper() and sentence, f"{where}: no {word}"
    assert card.references, f"{where}: no reference"
    assert card.advice, f"{where}: no words for the advisor"
    assert set(card.needs) <= set(NEEDS), f"{where}: unknown needs {set(card.needs) - set(NEEDS)}"
    assert {"scale", "rows_power", "columns_power"} <= set(card.cost), f"{where}: the cost is incomplete"
    cls = catalog.load(card)
    accepted = inspect.signature(cls.__init__).parameters
    free = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    declared = {p.name: p for p in card.parameters}
    for name, parameter in declared.items():
        assert free or name in accepted, f"{where}: {cls.__name__} has no parameter {name}"
        assert parameter.text.endswith("."), f"{where}: {name} has no sentence"
        parameter.check(parameter.default)
        if parameter.type in ("int", "float"):
            assert parameter.low is not None and parameter.high is not None, f"{where}: {name} has no range"
            assert not parameter.log or parameter.low > 0, f"{where}: {name} is logarithmic and can be 0"
    assert card.presets and card.tiny, f"{where}: no presets or no tiny instances"
    for preset in card.presets:
        for name, value in preset.items():
            assert name in declared, f"{where}: a preset sets {name}, which is not declared"
            declared[name].check(value)
        catalog.make(card, **preset)
    for name in {**card.fixed, **{k: v for tiny in card.tiny for k, v in tiny.items()}}:
        assert free or name in accepted, f"{where}: {cls.__name__} has no parameter {name}"
    for parameter in card.parameters:
        if parameter.type == "choice":
            continue
        try:
            parameter.check("nonsense")
        except ParameterError:
            continue
        raise AssertionError(f"{where}: {parameter.name} lets nonsense pass")
    assert hasattr(catalog.module(card), "pack"), f"{where}: the file has no pack"


def check_estimator(model: Any, waivers: dict[str, str] | None = None) -> None:
    """Scikit-learn's estimator checks; those in `waivers` (name -> reason) must still fail.

    A waiver holds for one instance or more: it is for `stale_waivers` to say that it fails for none.
    """
    broken = {name: error for name, error in failures(model) if name not in (waivers or {})}
    first = next(iter(broken.values()), None)
    assert not broken, f"{type(model).__name__} fails {sorted(broken)}. The first: {first!r}"


def stale_waivers(card: Card) -> list[str]:
    """Waivers that no tiny instance needs any more: take them off the card.

    Reasons that begin with "At times: " are of checks that fail on some machines only; they are not looked at.
    """
    failing: set[str] = set()
    for model in catalog.tiny(card):
        failing |= {name for name, _ in failures(model)}
    return sorted({name for name, why in card.waivers.items() if not why.startswith("At times: ")} - failing)


def failures(model: Any, only: Collection[str] | None = None) -> Iterator[tuple[str, Exception]]:
    """(name, error) of every check of scikit-learn that the model fails; with `only`, of those named in it."""
    from sklearn.utils.estimator_checks import estimator_checks_generator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator, check in estimator_checks_generator(model, mark=None):
            function = getattr(check, "func", check)
            if only is not None and function.__name__ not in only:
                continue
            try:
                check(estimator)
            except unittest.SkipTest:
                continue
            except Exception as error:
                yield function.__name__, error


def tiny_data(task: str, *, needs: dict[str, Any] | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X (160, 6) and y for a task of `core.schema.TASKS`, prepared as `needs` (a card's) asks.

    Four number columns, one of them with repeated values, and two columns of level codes. Tasks without a target get
    three round groups; y are then their numbers, for judging alone.
    """
    rng = np.random.default_rng([seed, 160])
    X = rng.normal(size=(160, 6))
    if task in FREE_TASKS:
        groups = rng.integers(0, 3, 160)
        X += 4.0 * rng.normal(size=(3, 6))[groups]
        if (needs or {}).get("non_negative"):
            X = (X - X.min(axis=0)) / np.ptp(X, axis=0)
        return X, groups
    X[:, 3] = np.round(X[:, 3])
    X[:, 4] = rng.integers(0, 5, 160)
    X[:, 5] = rng.integers(0, 12, 160)
    signal = X[:, 0] + np.isin(X[:, 4], (1, 3)) - 0.5 * X[:, 1] * X[:, 2] + 0.2 * rng.normal(size=160)
    needs = needs or {}
    rows = X
    if needs.get("inputs") == "image":
        X = _drawn(X)
    elif needs.get("missing"):
        X[rng.random(X.shape) < 0.08] = np.nan
    elif needs.get("scaling") == "standard":
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    if needs.get("non_negative"):
        low = np.nanmin(X, axis=0)
        X = (X - low) / (np.nanmax(X, axis=0) - low)
    if task == "regression":
        return X, np.exp(signal / 2)  # above zero, as models of counts want it
    if task == "binary":
        return X, (signal > 0.3).astype(np.int64)
    if task == "multiclass":
        return X, np.digitize(signal, (-0.3, 0.8)).astype(np.int64)
    rows = X if X.ndim == 2 else rows
    return X, np.stack([signal > 0, rows[:, 0] > 0.5, np.nan_to_num(rows[:, 1]) < 0], axis=1).astype(np.int64)


def _drawn(X: np.ndarray) -> np.ndarray:
    """Rows (n, 6) as images (n, 8, 8, 1) of bytes: each number is the brightness of a spot of its own."""
    images = np.full((len(X), 8, 8, 1), 128.0)
    for j, (y, x) in enumerate([(0, 0), (0, 3), (0, 6), (4, 0), (4, 3), (4, 6)]):
        images[:, y : y + 3, x : x + 2, 0] += np.clip(X[:, j] - X[:, j].mean(), -2, 2)[:, None, None] * 60
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def fitted(card: Card, model: Any, X: Any, y: np.ndarray, **more: Any) -> Any:
    """A fitted copy, through the model file's own `fit` where it has one."""
    from sklearn.base import clone

    hook = getattr(catalog.module(card), "fit", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hook(clone(model), X, y, **more) if hook else clone(model).fit(X, y)


def own_answer(model: Any, output: str, X: Any) -> np.ndarray:
    """What the fitted model itself says, in the form of a pack's answer."""
    if output == "value":
        return np.asarray(model.predict(X))
    if output == "scores":
        return np.asarray(model.decision_function(X))
    answer = model.predict_proba(X)
    if isinstance(answer, list):  # scikit-learn's way with several labels: the column of label 1 of each
        return np.column_stack([a[:, 1] if a.shape[1] == 2 else np.zeros(len(a)) for a in answer])
    return np.asarray(answer)


def check_free_pack(card: Card, model: Any, task: str) -> None:
    """For models without a target: the pack gives what `predict`, `transform` or `score_samples` give, on any row.

    Clusterers: columns of groups 0, 1, ..., then one of noise where `labels_` holds -1; rows of the fit keep their
    label. Reducers: what `transform` gives. Detectors: minus `score_samples`, so that higher is odder.
    """
    from sklearn.utils import get_tags

    X, groups = tiny_data(task, needs={**NEEDS, **card.needs})
    second = groups if get_tags(model).target_tags.required else None  # a reducer of two sets of columns
    new, _ = tiny_data(task, needs={**NEEDS, **card.needs}, seed=1)
    where = f"{card.class_name} ({task})"
    source = fitted(card, model, X, second)
    made = catalog.module(card).pack(source)
    step = type(made).build(*made.spec())
    rows = np.concatenate([X, new])
    got = step(rows)
    assert np.isfinite(got).all(), f"{where}: the pack's answers are not finite"
    if card.kind == "clusterer":
        labels = np.asarray(source.labels_)
        groups = labels.max() + 1
        assert got.shape[1] in (groups, groups + 1), f"{where}: {got.shape[1]} columns for {groups} groups"
        assert np.allclose(got.sum(axis=1), 1) and (got >= 0).all(), f"{where}: memberships do not sum to 1"
        told = got.argmax(axis=1)
        told[told == groups] = -1
        assert np.mean(told[: len(X)] == labels) >= 0.99, f"{where}: rows of the fit change their group"
        assert (told == np.asarray(source.predict(rows))).all(), f"{where}: the pack does not answer as predict"
    else:
        expected = source.transform(rows) if card.kind == "reducer" else -source.score_samples(rows)
        assert got.shape == expected.shape, f"{where}: the pack answers {got.shape}, the model {expected.shape}"
        allowed = 1e-6 if expected.dtype == np.float32 else 1e-9
        gap = np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-300)
        assert gap <= allowed, f"{where}: the pack is off by {gap:.3g} of the largest answer"
    for i in (0, len(X)):
        one = step(rows[i : i + 1])
        assert np.allclose(one, got[i : i + 1], rtol=1e-9, atol=1e-12), f"{where}: a row by itself differs"


def check_pack(card: Card, model: Any, task: str) -> None:
    """The pack answers as the model does, survives the way into a file and back, and places classes never seen."""
    if task in FREE_TASKS:
        return check_free_pack(card, model, task)
    X, y = tiny_data(task, needs={**NEEDS, **card.needs})
    new, _ = tiny_data(task, needs={**NEEDS, **card.needs}, seed=1)
    if X.dtype.kind == "f":
        X, new = X.astype(np.float64), new.astype(np.float64)
    where = f"{card.class_name} ({task})"
    source = fitted(card, model, X, y)
    pack = catalog.module(card).pack
    made = pack(source)
    assert made.output in ("value", "probabilities", "scores"), f"{where}: the pack gives {made.output}"
    step = type(made).build(*made.spec())
    rows = np.concatenate([X, new])
    expected, got = own_answer(source, made.output, rows), step(rows)
    assert got.shape == expected.shape, f"{where}: the pack answers {got.shape}, the model {expected.shape}"
    # A source that rounds its answers to float32 cannot be met more closely than that.
    allowed = max(1e-6 if expected.dtype == np.float32 else 1e-9, step.tolerance)
    gap = np.abs(got - expected) / (1 + np.abs(expected))
    assert np.isfinite(got).all() and gap.max() <= allowed, f"{where}: the pack is off by {gap.max():.3g}"
    one, loose = step(rows[:1]), max(1e-12, step.tolerance)
    assert np.allclose(one, got[:1], rtol=loose, atol=loose), f"{where}: a row by itself is answered differently"
    if task == "regression" or task == "multilabel":
        return
    if task == "multiclass":  # a fold in which class 1 does not occur, of three or of five
        keep = y != 1
        part = fitted(card, model, X[keep], y[keep])
        for k in (3, 5):
            answer = pack(part, n_classes=k)(new)
            assert answer.shape == (len(new), k), f"{where}: with {k} classes the pack answers {answer.shape}"
            absent = [c for c in range(k) if c not in (0, 2)]
            if made.output == "probabilities":
                assert (answer[:, absent] == 0).all(), f"{where}: a class never seen has a chance"
                assert np.allclose(answer.sum(axis=1), 1), f"{where}: probabilities do not sum to 1"
            seen = own_answer(part, made.output, new)
            wins = seen.argmax(axis=1) if seen.ndim == 2 else (seen > 0).astype(int)
            clear = np.ones(len(new), bool) if seen.ndim == 1 else np.ptp(seen, axis=1) > 1e-9
            assert (answer.argmax(axis=1) == np.array([0, 2])[wins])[clear].all(), f"{where}: classes are misplaced"
