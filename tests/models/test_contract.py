"""Every model keeps the contract of everymodel.testing; adding a model file is enough to be tested here."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import everymodel.models
from everymodel import catalog, testing
from everymodel.core.card import read_literal

_CARDS = [card for card in catalog.cards() if card.module.startswith("everymodel.models")]
_READY = [card for card in _CARDS if catalog.available(card)]
_TABULAR = [card for card in _READY if card.kind in testing.TABULAR]


def _name(card) -> str:
    return f"{card.name}-{card.kind}"


_INSTANCES = [pytest.param(card, i, id=f"{_name(card)}-{i}") for card in _TABULAR for i in range(len(card.tiny))]


# What scikit-learn asks of a class is asked of the first tiny instance; of the others what parameters can break. That
# they learn is seen by the answers of their packs below.
_OF_PARAMETERS = {
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_transformer_general",
}


def _failing(card, i: int, only: set[str] | None = None) -> dict[str, str]:
    return {check: repr(error)[:300] for check, error in testing.failures(catalog.tiny(card)[i], only)}


def test_every_model_file_has_a_card():
    root = Path(inspect.getfile(everymodel.models)).parent
    for path in root.rglob("*.py"):
        if not path.name.startswith("_"):
            assert read_literal(path), f"{path} has no CARD; plumbing files start with an underscore"
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, f"{path} is longer than 400 lines"


def test_names_are_unique():
    seen = [(card.name, card.kind) for card in _CARDS]
    assert len(set(seen)) == len(seen)
    classes = [card.class_name for card in _CARDS]
    assert len(set(classes)) == len(classes), "em.<ClassName> must mean one class"


@pytest.mark.parametrize("card", _READY, ids=_name)
def test_card_is_complete_and_true(card):
    testing.check_card(card)


@pytest.mark.parametrize("card", _TABULAR, ids=_name)
def test_estimator_checks(card):
    """Nothing but what is waived fails, and every waived check still fails for one of the instances."""
    failing = _failing(card, 0)
    for i in range(1, len(card.tiny)):
        failing |= _failing(card, i, {*card.waivers, *_OF_PARAMETERS})
    assert not {check: why for check, why in failing.items() if check not in card.waivers}
    sure = {check for check, why in card.waivers.items() if not why.startswith("At times: ")}
    assert sure <= set(failing), "these checks pass now: take their waivers off the card"


@pytest.mark.parametrize(("card", "i"), _INSTANCES)
def test_pack_answers_like_the_model(card, i):
    for task in card.tasks:
        testing.check_pack(card, catalog.tiny(card)[i], task)


@pytest.mark.parametrize("card", _TABULAR, ids=_name)
def test_presets_fit_and_can_be_stopped(card):
    """The strongest settings run, look at `stop`, and still answer."""
    task = card.tasks[0]
    X, y = testing.tiny_data(task, needs={**testing.NEEDS, **card.needs})
    hook = getattr(catalog.module(card), "fit", None)
    model = catalog.make(card, **card.presets[0])
    if hook is None:
        model.fit(X, y)
    else:
        asked = []
        hook(model, X[:120], y[:120], valid=(X[120:], y[120:]), stop=lambda: bool(asked.append(1)) or len(asked) > 2)
        if card.name not in ("categorical_nb",):  # fitted in one stroke
            assert asked, "the fit never asked whether to stop"
    answer = catalog.module(card).pack(model)(X)
    assert len(answer) == len(X)
    refit = getattr(catalog.module(card), "refit_parameters", None)
    if refit:
        catalog.make(card, **{**card.presets[0], **refit(model)})


def test_a_broken_pack_is_noticed():
    card = catalog.find("ridge", kind="regressor")
    model = catalog.tiny(card)[0]

    class Lying(type(model)):
        def predict(self, X):
            return super().predict(X) + 1e-6

    with pytest.raises(AssertionError, match="off by"):
        testing.check_pack(card, Lying(**model.get_params()), "regression")


def test_a_failing_check_is_noticed():
    card = catalog.find("ridge", kind="regressor")

    class Forgetful(catalog.load(card)):
        def fit(self, X, y):
            X[:] = 0  # writes into the user's data
            return super().fit(X, y)

    with pytest.raises(AssertionError, match="fails"):
        testing.check_estimator(Forgetful(), card.waivers)


def test_steps_made_of_training_rows_say_so():
    """What the file's manifest says of training rows rests on this: nearest neighbours and kernels hold them."""
    holding = {"nearest_neighbors", "svm", "gaussian_process"}
    for card in _READY:
        if card.name not in {*holding, "ridge", "logistic", "random_forest"}:
            continue
        X, y = testing.tiny_data(card.tasks[0], needs={**testing.NEEDS, **card.needs})
        step = catalog.module(card).pack(testing.fitted(card, catalog.tiny(card)[0], X, y))
        assert step.holds_rows == (card.name in holding), card.name
