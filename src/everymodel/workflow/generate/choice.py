"""Which models suit what came, in which order; the fit of one; and which of several is best."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import CapabilityError, EverymodelError, ParameterError
from everymodel.core.seeds import derive
from everymodel.workflow.generate.material import Material, suited
from everymodel.workflow.stopping import interruptible, threads

# Which figure of an evaluation chooses among several models, by what they make: (name, whether higher is better).
HEADLINES = {
    "images": ("frechet", False),
    "rows": ("c2st", False),
    "table": ("c2st", False),
    "texts": ("nats_per_character", False),
    "pieces": ("nats_per_frame", False),
    "levels": ("coverage", True),
    "enhanced": ("psnr", True),
}
JUDGED = 20_000  # characters of texts
_SAMPLES = 50  # texts and pieces of music


@dataclass
class Tried:
    """A model that was fitted, or why it was not."""

    card: Card
    model: Any = None
    seconds: float = 0.0
    score: float | None = None
    failed: str = ""
    figures: dict[str, float] = field(default_factory=dict)


def named(models: list[str] | None, task: str = "generate") -> list[Card] | None:
    """The cards of models asked for by name; ParameterError for those that do not do the task."""
    if not models:
        return None
    return [catalog.find(name, task=task) for name in models]


def suitable(
    material: Material, asked: list[Card] | None, task: str = "generate", *, light: bool = False
) -> list[Card]:
    """Cards that take this material, best first; where samples can be asked for classes, those that learn them.

    Parameters
    ----------
    light : whether models that need no library of networks go first, because loading it would take the whole time.

    Raises
    ------
    ParameterError
        when a model that was asked for does not take it.
    CapabilityError
        when no model that is installed does.
    """
    if asked is not None:
        for card in asked:
            if suited(material, card.inputs).kind not in card.inputs:
                raise ParameterError(
                    f"{card.name} learns from {' or '.join(card.inputs)} data; what came is {material.words()}."
                )
            catalog.load(card)
            if wants_classes(card) and material.labels is None:
                raise ParameterError(
                    f"{card.name} learns what each sample is: name the column of classes with target= (--target)."
                )
        return asked
    every = [c for c in catalog.for_task(task) if material.kind in c.inputs]
    found = [c for c in every if catalog.available(c)]
    if material.kind == "matrix" and (light or material.labels is None or not found):  # models of tables take numbers
        found += [c for c in catalog.for_task(task) if "table" in c.inputs and catalog.available(c)]
    if light:
        found = [c for c in found if c.package != "torch"] or found
    if not found:
        missing = sorted({c.package or "" for c in every})
        hint = f" {', '.join(c.name for c in every)} need the package {missing[0]}." if missing else ""
        does = "enlarges images" if task == "enhance" else f"makes data like {material.words()}"
        raise CapabilityError(f"No installed model {does}.{hint}")
    able = [c for c in found if wants_classes(c) == (material.labels is not None)]
    order = able or [c for c in found if not wants_classes(c)]
    if not order:
        raise CapabilityError(f"The models of {material.kind} data need classes: name a column with target= (--target)")
    return sorted(order, key=lambda c: (c.priority is None, c.priority or 0, material.kind != c.inputs[0]))


def wants_classes(card: Card) -> bool:
    """Whether the model is fitted with y."""
    return bool(getattr(catalog.load(card), "conditional", False))


def fit(
    card: Card,
    material: Material,
    *,
    seconds: float | None,
    seed: int,
    settings: dict[str, Any],
    listener: Callable[[Any, Any], None] | None,
) -> Any:
    """A fitted estimator of the card, after at most `seconds`, or its usual number of steps where None is given.

    Ctrl-C ends the fit with the best so far; a second one ends the run.
    """
    known = set(inspect.signature(catalog.load(card).__init__).parameters)
    given = {"random_state": derive(seed, card.name) % 2**31, **settings}
    if seconds is not None and "budget" in known and "steps" not in settings:
        given["budget"] = max(seconds, 0.5)
    strange = [name for name in settings if name not in known]
    if strange:
        raise ParameterError(f"{strange[0]} is no setting of {card.name}: expected one of {', '.join(sorted(known))}.")
    model = catalog.make(card, **{k: v for k, v in given.items() if k in known})
    if listener is not None:
        model._listener = listener
    hook = getattr(catalog.module(card), "fit", None)
    material = suited(material, card.inputs)
    rows, labels = material.rows, material.labels if wants_classes(card) else None
    try:
        with interruptible(seconds) as stop:
            if hook is not None:
                hook(model, rows, labels, stop=stop, threads=threads())
            else:
                model.fit(rows, labels)
            model.interrupted_ = stop.asked
    finally:
        if listener is not None:
            del model._listener
    return model


def examined(
    card: Card,
    model: Any,
    held: Material,
    train: Material | None,
    *,
    seed: int,
    steps: int | None = None,
    n: int | None = None,
    budget: float | None = None,
) -> dict[str, float]:
    """What the model's own `evaluate` says of held-out data, given as much of this as it takes.

    Of texts a part is judged, because each of their characters is foretold by itself.
    """
    held = some(suited(held, card.inputs), seed)
    known = inspect.signature(model.evaluate).parameters
    offered: dict[str, Any] = {"seed": seed, "steps": steps, "target": held.target, "n": n, "budget": budget}
    if held.kind in ("text", "level", "music"):
        offered["n"] = n or (_SAMPLES if held.kind == "text" else _SAMPLES // 3)
    if train is not None:
        train = suited(train, card.inputs)
        offered |= {"train": train.rows, "train_labels": train.labels}
    given = {k: v for k, v in offered.items() if k in known and v is not None}
    rows = [held.rows] if held.labels is None or "y" not in known else [held.rows, held.labels]
    told = model.evaluate(*rows, **given)
    return {k: float(v) for k, v in told.items() if isinstance(v, int | float | np.number) and not isinstance(v, bool)}


def some(held: Material, seed: int) -> Material:
    """Texts of JUDGED characters at most; all else as it is."""
    if held.long:
        return held.take(np.arange(min(len(held), JUDGED)))
    if held.kind != "text" or (sum(map(len, held.rows)) <= JUDGED and len(held) <= JUDGED // 100):
        return held
    order = np.random.default_rng(derive(seed, "judged")).permutation(len(held))[: JUDGED // 100]
    total = np.cumsum([len(held.rows[i]) for i in order])
    return held.take(order[: max(int((total <= JUDGED).sum()), 1)])


def better(made: str, figures: dict[str, float]) -> float:
    """A number that is lower for better samples, to choose among models; infinite where it is not known."""
    name, higher = HEADLINES.get(made, ("frechet", False))
    value = figures.get(name, next((v for k, v in figures.items() if not k.endswith("_real")), math.inf))
    if name == "c2st":
        value = abs(value - 0.5)
    return -value if higher else value if math.isfinite(value) else math.inf


def try_all(
    cards: list[Card],
    train: Material,
    valid: Material | None,
    *,
    seconds: float | None,
    seed: int,
    settings: dict[str, Any],
    listener: Callable[[Any, Any], None] | None,
    announce: Callable[[str, int, int], None],
) -> list[Tried]:
    """Each card fitted in an equal share of the time; with several, each judged on `valid`, best first.

    Raises
    ------
    EverymodelError
        the last reason, when none could be fitted.
    """
    tried: list[Tried] = []
    last: EverymodelError | None = None
    ends = None if seconds is None else time.monotonic() + seconds
    for i, card in enumerate(cards):
        left = None if ends is None else max(ends - time.monotonic(), 0.5) / (len(cards) - i)
        one = Tried(card)
        tried.append(one)
        announce(card.title, i, len(cards))
        began = time.monotonic()
        try:
            one.model = fit(card, train, seconds=left, seed=seed, settings=settings, listener=listener)
            if valid is not None:
                one.figures = examined(card, one.model, valid, train, seed=seed, steps=100)
                one.score = better(one.model._step().makes, one.figures)
        except EverymodelError as error:
            one.failed, last = str(error), error
        one.seconds = time.monotonic() - began
        if one.model is not None and one.model.interrupted_:
            tried += [Tried(rest, failed="stopped on request") for rest in cards[i + 1 :]]
            break
    if all(one.model is None for one in tried) and last is not None:
        raise last
    return sorted(tried, key=lambda t: (t.model is None, t.score if t.score is not None else 0.0))
