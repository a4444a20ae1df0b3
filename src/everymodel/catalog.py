"""The catalogue: reads every card as text, answers questions about them, loads a class only when asked.

Models of this package are found by their files under `models/`; other packages add theirs through the entry-point
group `everymodel.models`, whose value names a package whose files carry cards.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from everymodel.core.card import Card, cards_from, read_literal
from everymodel.core.errors import NotInstalledError, ParameterError
from everymodel.core.optional import installed, pip_line

_MODELS = Path(__file__).parent / "models"


def _files(root: Path, package: str) -> list[tuple[Path, str, str]]:
    """(file, dotted module, family) of every model file below `root`; names that start with _ are plumbing."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            found.append((path, ".".join([package, *parts]), parts[0]))
    return found


@lru_cache(maxsize=1)
def cards() -> tuple[Card, ...]:
    """Every card, ours and those of installed plug-ins, sorted by family and name."""
    places = [(_MODELS, "everymodel.models")]
    for point in importlib.metadata.entry_points(group="everymodel.models"):
        spec = importlib.util.find_spec(point.value)
        if spec and spec.submodule_search_locations:
            places += [(Path(folder), point.value) for folder in spec.submodule_search_locations]
    found = []
    for root, package in places:
        for path, module, family in _files(root, package):
            literal = read_literal(path)
            if literal is not None:
                found += cards_from(literal, module, family)
    return tuple(sorted(found, key=lambda c: (c.family, c.name, c.kind)))


def available(card: Card) -> bool:
    """Whether the packages that the model needs are installed."""
    return card.package is None or installed(card.package)


def for_task(task: str) -> tuple[Card, ...]:
    return tuple(card for card in cards() if task in card.tasks)


def find(name: str, task: str | None = None, kind: str | None = None) -> Card:
    """The card called `name` (family word or class name), for a task or kind if one is given."""
    wanted = name.strip().lower().replace("-", "_")
    named = [c for c in cards() if wanted in (c.name, c.class_name.lower())]
    if not named:
        words = sorted({c.name for c in cards()})
        near = difflib.get_close_matches(wanted, words, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known models: {', '.join(words)}."
        raise ParameterError(f"No model is called {name!r}. {hint}")
    fitting = [c for c in named if (task is None or task in c.tasks) and (kind is None or c.kind == kind)]
    if not fitting:
        able = sorted({t for c in named for t in c.tasks})
        raise ParameterError(f"The model {name!r} cannot do {task or kind}; it does {', '.join(able)}.")
    return fitting[0]


def module(card: Card) -> ModuleType:
    """The model file that holds the card (it may define `pack`)."""
    return importlib.import_module(card.module)


def load(card: Card) -> type:
    """The class behind a card; NotInstalledError with the pip line where its package is absent."""
    if not available(card):
        line = pip_line(card.package or "")
        raise NotInstalledError(f"{card.title} needs the package {card.package}, which is not installed. Run: {line}")
    path, _, attribute = card.class_path.partition(":")
    return getattr(importlib.import_module(path), attribute)


def make(card: Card, **parameters: Any) -> Any:
    """An unfitted instance: the card's fixed arguments and defaults, then `parameters`, each checked."""
    declared = {p.name: p for p in card.parameters}
    for name, value in parameters.items():
        if name in declared:
            declared[name].check(value)
    return load(card)(**{**card.defaults(), **card.fixed, **parameters})


def tiny(card: Card) -> list[Any]:
    """Small instances for tests, from the card's own `tiny` arguments."""
    return [load(card)(**arguments) for arguments in card.tiny]


def public(name: str) -> Any:
    """The model class called `name`, for `everymodel.<name>`."""
    for card in cards():
        if card.class_name == name:
            return load(card)
    near = difflib.get_close_matches(name, [c.class_name for c in cards()], n=1, cutoff=0.6)
    raise AttributeError(f"everymodel has no name {name!r}." + (f" Did you mean {near[0]}?" if near else ""))
