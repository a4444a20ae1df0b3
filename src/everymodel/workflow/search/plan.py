"""Which models are tried, in which order, with which settings: a pure function of the cards and the problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.errors import ParameterError
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Step
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem

DUMMY, SIMPLE = (
    "dummy",
    {"regression": "ridge", "binary": "logistic", "multiclass": "logistic", "multilabel": "logistic"},
)
# Families whose solvers expect a target of about unit size.
_UNIT_TARGET = ("neural", "kernel")
_ENSEMBLES = ("ensemble", "tree")
LOGGED = ("linear", "ensemble", "neural")  # families of which a variant on the logarithm of a skewed target is tried


@dataclass
class Candidate:
    """A model with settings. `members` holds what each fold gave."""

    name: str
    card: Card
    parameters: dict[str, Any]
    target: str = "plain"
    repeat: int = 0  # the same settings with another seed
    origin: str = "preset"  # baseline preset tuned repeat
    members: dict[int, Member] = field(default_factory=dict)
    full: bool = False  # big data: the member was fitted on all rows, not on the sample
    failed: str = ""
    after: Step | None = None  # calibration of scores
    asked: set[int] = field(default_factory=set)  # folds handed out
    loss: float = float("inf")
    refitted: Pack | None = None

    @property
    def key(self) -> str:
        """Says everything that decides what a fit gives, but for its rows."""
        import json

        return json.dumps([self.card.name, self.card.kind, self.parameters, self.target, self.repeat], sort_keys=True)

    @property
    def seconds(self) -> float:
        return sum(m.seconds for m in self.members.values())

    @property
    def fold_seconds(self) -> float:
        return self.seconds / max(len(self.members), 1)

    @property
    def row_ms(self) -> float:
        return sum(m.row_ms for m in self.members.values())

    @property
    def size(self) -> int:
        return sum(m.size for m in self.members.values())

    @property
    def graceful(self) -> bool:
        """Whether the model can be asked to end early."""
        return hasattr(catalog.module(self.card), "fit")


def kind_of(task: str) -> str:
    return "regressor" if task == "regression" else "classifier"


def able(card: Card, task: str) -> bool:
    """Whether the search can use a card: several labels or targets may be done one by one."""
    return task in card.tasks or (task == "multilabel" and "binary" in card.tasks)


def choose_cards(problem: Problem, models: list[str] | None, prefer: str | None) -> list[Card]:
    """Cards in the order in which they are tried; those asked for by name, or all with a priority."""
    task, kind = problem.task, kind_of(problem.task)
    if models:
        cards = []
        for name in models:
            card = catalog.find(name, kind=kind) if _named(name, kind) else catalog.find(name, task)
            if not able(card, task):
                raise ParameterError(f"The model {name!r} cannot do {task}; it does {', '.join(card.tasks)}.")
            catalog.load(card)  # NotInstalledError now, not after a minute
            if card not in cards:
                cards.append(card)
        return cards
    cards = [
        c
        for c in catalog.cards()
        if c.kind == kind and c.priority is not None and able(c, task) and c.name != DUMMY and catalog.available(c)
    ]
    if prefer == "simple":
        cards = [c for c in cards if c.family in ("linear", "tree") or "interpretable" in c.advice]
    if prefer == "fast":
        cards = [c for c in cards if c.family in ("linear", "tree", "ensemble") and "slow" not in c.advice]
    return sorted(cards, key=lambda c: (c.priority, c.name))


def _named(name: str, kind: str) -> bool:
    word = name.strip().lower().replace("-", "_")
    return any(c.kind == kind and word in (c.name, c.class_name.lower()) for c in catalog.cards())


def skewed(problem: Problem) -> bool:
    """A regression target whose logarithm may be easier to learn: above -1, with a long upper tail."""
    y = problem.y
    if problem.task != "regression" or y.ndim > 1 or y.min() < 0 or len(y) < 20:
        return False
    middle, top, bottom = np.quantile(y, [0.5, 0.95, 0.05])
    return bool(top - middle > 1.6 * (middle - bottom)) and bool(top > 1.5 * max(middle, 1e-12))


def target_word(card: Card, problem: Problem) -> str:
    return "standard" if problem.task == "regression" and card.family in _UNIT_TARGET else "plain"


def baselines(problem: Problem, models: list[str] | None) -> list[Candidate]:
    kind = kind_of(problem.task)
    made = [Candidate("Dummy baseline", catalog.find(DUMMY, kind=kind), {}, origin="baseline")]
    if not models:
        card = catalog.find(SIMPLE[problem.task], kind=kind)
        made.append(Candidate(card.title, card, dict(card.presets[0]) if card.presets else {}, origin="baseline"))
    return made


def portfolio(problem: Problem, cards: list[Card], taken: set[str]) -> list[Candidate]:
    """First the best preset of every family, then log-target variants of the strongest, then the other presets."""
    firsts, logs, others = [], [], []
    log = skewed(problem)
    for card in cards:
        for i, preset in enumerate(card.presets or ({},)):
            name = card.title if i == 0 else f"{card.title} {i + 1}"
            word = target_word(card, problem)
            candidate = Candidate(name, card, dict(preset), word)
            (firsts if i == 0 else others).append((i, candidate))
            if i == 0 and log and card.family in LOGGED and "poisson" not in card.name:
                logs.append((0, Candidate(f"{card.title} (log target)", card, dict(preset), "log")))
    others.sort(key=lambda item: item[0])  # all second presets before any third
    ordered = [c for _, c in firsts[:6] + logs[:4] + firsts[6:] + logs[4:] + others]
    return [c for c in ordered if c.key not in taken]
