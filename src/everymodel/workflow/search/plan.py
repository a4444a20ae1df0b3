"""Which models are tried, in which order, with which settings: a pure function of the cards and the problem."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.card import Card
from everymodel.core.errors import ParameterError
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Step
from everymodel.workflow import tune
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem

DUMMY, SIMPLE = (
    "dummy",
    {"regression": "ridge", "binary": "logistic", "multiclass": "logistic", "multilabel": "logistic"},
)
# Families whose solvers expect a target of about unit size.
_UNIT_TARGET = ("neural", "kernel")
SLOW_START = 15.0  # seconds below which a search does without torch, whose import takes its share of them
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
    grown: int = 0  # big data: the number of rows beyond the sample that it was also fitted on
    failed: str = ""
    after: Step | None = None  # calibration of scores
    asked: set[int] = field(default_factory=set)  # folds handed out
    again: set[int] = field(default_factory=set)  # folds handed out a second time, with more rows
    loss: float = float("inf")  # on the first fold
    mean_loss: float = float("inf")  # over all folds, once they are done
    refitted: Pack | None = None
    plain: bool = False  # fitted by the parent itself because nothing else ended in time

    @property
    def key(self) -> str:
        """Says everything that decides what a fit gives, but for its rows."""
        return json.dumps([self.card.name, self.card.kind, self.parameters, self.target, self.repeat], sort_keys=True)

    @property
    def seconds(self) -> float:
        return sum(m.seconds for m in self.members.values())

    @property
    def fold_seconds(self) -> float:
        return self.seconds / max(len(self.members), 1)

    @property
    def short(self) -> bool:
        """Whether the clock ended its fits before they had learnt what they could: a few long fits beat many short."""
        return self.graceful and sum(m.stopped for m in self.members.values()) * 2 > len(self.members)

    @property
    def row_ms(self) -> float:
        return sum(m.row_ms for m in self.members.values())

    @property
    def size(self) -> int:
        return sum(m.size for m in self.members.values())

    @property
    def graceful(self) -> bool:
        """Whether the model can be asked to end early."""
        return _has_fit(self.card.module)


@cache
def _has_fit(module: str) -> bool:
    """Whether a model file defines `fit`; read as text, because importing it here would cost the first second."""
    spec = importlib.util.find_spec(module)
    return bool(spec and spec.origin and "\ndef fit(" in Path(spec.origin).read_text(encoding="utf-8"))


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
            kinds = [c.kind for c in problem.schema.features]
            if card.reads(kinds) is None:
                has = ", ".join(f"{kinds.count(word)} of {word}" for word in card.inputs)
                raise ParameterError(
                    f"The model {name!r} learns from one column of {' or '.join(card.inputs)} cells, and the table has "
                    f"{has}. Choose other models (everymodel models)."
                )
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
        if reads(c, problem)
        if problem.unlabelled is not None or not c.need("unlabelled")
    ]
    if prefer == "simple":
        cards = [c for c in cards if c.family in ("linear", "tree") or "interpretable" in c.advice]
    if prefer == "fast":
        cards = [c for c in cards if c.family in ("linear", "tree", "ensemble") and "slow" not in c.advice]
    # Boosters and networks most likely help; plain models come cheap but are seldom the best of a table.
    return sorted(cards, key=lambda c: (*_turn(c, problem), c.name))


def reads(card: Card, problem: Problem) -> bool:
    """Whether the model is to be tried on such a table: its kind of cells must be there, or it takes any matrix."""
    word = card.reads([c.kind for c in problem.schema.features])
    return word is not None and (word != "matrix" or card.inputs == ("matrix",))


def _turn(card: Card, problem: Problem) -> tuple[bool, float]:
    """When a card has its turn: by its priority, but plain models last; kernels early where rows are few and most
    columns are numbers, for there they are often the best."""
    priority = float(card.priority or 0)
    kinds = [c.kind for c in problem.schema.features]
    if card.reads(kinds) in ("image", "sequence"):  # made for such cells: the first to be compared with
        return False, priority - 100.0
    numbers = sum(k in ("number", "boolean", "date") for k in kinds) >= 0.7 * len(kinds)
    most = card.need("max_rows") or 0
    if card.family == "kernel" and numbers and 5_000 < most <= 50_000 and len(problem.y) <= most:
        priority = 32.0
    # What learns from rows without a label is quick, and the first to be compared with all else.
    return priority < 20 and not card.need("unlabelled"), priority


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
            early = i == 0 or card.need("unlabelled")  # how rows are best compared, few labels have to tell
            (firsts if early else others).append((i, candidate))
            if i == 0 and log and card.family in LOGGED and "poisson" not in card.name:
                logs.append((0, Candidate(f"{card.title} (log target)", card, dict(preset), "log")))
    others.sort(key=lambda item: item[0])  # all second presets before any third
    ordered = [c for _, c in firsts[:3] + logs[:3] + firsts[3:] + logs[3:] + others]
    return [c for c in ordered if c.key not in taken]


def merits(candidates: list[Candidate], folds: int) -> list[tuple[Candidate, float]]:
    """(candidate, loss) best first: those finished on all folds, or, while there are none, by the first fold."""
    alive = [c for c in candidates if c.members and not c.failed and c.card.name != DUMMY]
    whole = [(c, c.mean_loss) for c in alive if len(c.members) == folds and np.isfinite(c.mean_loss)]
    rated = whole or [(c, c.loss) for c in alive if np.isfinite(c.loss)]
    return sorted(rated, key=lambda item: (item[1], item[0].key))


# Whose turn it is, by rank of the family: the best is looked at most.
_TURNS = (0, 1, 0, 2, 0, 1)


def refine(candidates: list[Candidate], problem: Problem, folds: int, allowed: list[Card]) -> Candidate | None:
    """One more candidate near what has worked: tuned settings of the best families, or the best once more with
    another seed. A pure function of the results so far."""
    rated = [(c, loss) for c, loss in merits(candidates, folds) if any(c.card is a for a in allowed)]
    if not rated:
        return None
    best = rated[0][1]
    dummy = next((c.mean_loss for c in candidates if c.card.name == DUMMY and c.members), np.inf)
    within = best + 0.3 * max(dummy - best, 0) if np.isfinite(dummy) else np.inf
    leaders: list[Candidate] = []
    for c, loss in rated:
        if loss <= within and not any(c.card is leader.card for leader in leaders):
            leaders.append(c)
    leaders = leaders[:3]
    made = sum(c.origin in ("tuned", "repeat") for c in candidates)
    taken = {c.key for c in candidates}
    for turn in range(made, made + 12):
        leader = leaders[_TURNS[turn % len(_TURNS)] % len(leaders)]
        if turn % 3 == 2 and leader.card.family in ("neural", "ensemble"):
            again = max(c.repeat for c in candidates if c.card is leader.card and c.parameters == leader.parameters) + 1
            repeat = replace_candidate(leader, f"{leader.name} (seed {again + 1})", leader.parameters, again, "repeat")
            if repeat.key not in taken and again <= 4:
                return repeat
            continue
        history = [(c.parameters, loss) for c, loss in rated if c.card is leader.card and c.target == leader.target]
        seed = seeds.derive(problem.seed, "tune", leader.card.name, leader.target, turn)
        settings = tune.propose(leader.card, history, seed)
        if settings is None:
            continue
        count = 1 + sum(c.origin == "tuned" and c.card is leader.card for c in candidates)
        found = replace_candidate(leader, f"{leader.card.title} tuned {count}", settings, 0, "tuned")
        if found.key not in taken:
            return found
    return None


def replace_candidate(c: Candidate, name: str, parameters: dict[str, Any], repeat: int, origin: str) -> Candidate:
    return Candidate(name, c.card, dict(parameters), c.target, repeat, origin)
