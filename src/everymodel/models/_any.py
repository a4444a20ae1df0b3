"""Plumbing: a model around any other one finds that one's file, which knows how to fit and to pack it.

Models stand below the catalogue and do not import it. What is around another model has to ask it all the same, by name
and only once it is run; this is the one place that does.
"""

from __future__ import annotations

import importlib
from typing import Any

from everymodel.core.card import Card
from everymodel.core.errors import ParameterError


def _catalog() -> Any:
    return importlib.import_module("everymodel.catalog")


def card_of(model: Any, kind: str) -> Card:
    """The card of a model's class; ParameterError where the catalogue has none."""
    catalog = _catalog()
    for card in catalog.cards():
        if card.kind == kind and card.class_name == type(model).__name__ and isinstance(model, catalog.load(card)):
            return card
    raise ParameterError(
        f"{type(model).__name__} is not a {kind} of the catalogue, so it cannot be packed. "
        f"Use one of {', '.join(sorted(c.class_name for c in catalog.cards() if c.kind == kind))}."
    )


def named(name: str, kind: str, seed: Any = None) -> Any:
    """An unfitted model of this name with its strongest settings, and its seed where it takes one."""
    catalog = _catalog()
    card = catalog.find(name, kind=kind)
    model = catalog.make(card, **(card.presets[0] if card.presets else {}))
    has = model.get_params()
    seeds = {word: seed for word in ("random_state", "random_seed") if word in has and seed is not None}
    return model.set_params(**seeds) if seeds else model


def module_of(model: Any, kind: str) -> Any:
    """The model file that holds the card of a model's class."""
    return _catalog().module(card_of(model, kind))
