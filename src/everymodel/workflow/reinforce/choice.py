"""Which agents suit an environment, in which order; the fit of one; and which of several is best."""

from __future__ import annotations

import inspect
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.clock import Clock
from everymodel.core.errors import CapabilityError, EverymodelError, ParameterError
from everymodel.core.seeds import derive
from everymodel.environments.lanes import EnvironmentFault, Lanes
from everymodel.workflow.reinforce.outcome import outcome_of
from everymodel.workflow.stopping import Stop, interruptible, threads

FEW = 10_000  # states that a table of values is a good memory for
_CHOOSING = 30  # episodes by which one of several agents is chosen
_KEPT = 120.0  # seconds from which on a run can be resumed
_STILL = 0.25  # share of the time without gain after which an agent gives way to the next
_GAIN = 0.05  # of the way from its first return to the one that is asked for, which counts as a gain

Told = Callable[[str, Any], None]  # (title of the agent, what it says of where it is)


@dataclass
class Tried:
    """An agent that learnt, or why it did not."""

    card: Card
    agent: Any = None
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)  # that it was chosen by: mean, low, high
    failed: str = ""
    other: str = ""  # the agent that it gave way to
    late: float = 0.0  # seconds until it took its first steps
    ended: str = ""  # why it ended: "until", "budget", "stop", "steps", "still"

    @property
    def reached(self) -> bool:
        return self.agent is not None and getattr(self.agent, "stopped_", "") == "until"

    @property
    def last(self) -> float:
        """Mean return of the best look; nan where there was none."""
        looks = [] if self.agent is None else self.agent.curve_.looks
        return max((mean for _, mean in looks), default=math.nan)


def agents(lanes: Lanes, models: list[str] | None) -> Iterator[Card]:
    """Cards of agents that take this environment, best first: those that were named, or all that suit.

    Raises
    ------
    ParameterError
        when an agent that was named does not take it.
    CapabilityError
        when no agent that is installed does.
    """
    if models:
        for card in [catalog.find(name, task="act") for name in models]:
            why = _against(card, lanes)
            if why:
                raise ParameterError(f"{card.name} {why}; {lanes.name} shows {lanes.observation} and takes "
                                     f"{lanes.action}.")  # fmt: skip
            yield card
        return
    every = [c for c in catalog.for_task("act") if "environment" in c.inputs and c.priority is not None]
    # Those that need no package are looked at first: where a table of values will do, no torch is loaded.
    order = sorted(every, key=lambda c: (c.package is not None, c.priority or 0))
    none = True
    for card in order:
        if catalog.available(card) and not _against(card, lanes) and not _beyond(card, lanes):
            none = False
            yield card
    if none:
        lacking = sorted({c.package or "" for c in every if not catalog.available(c)})
        hint = f" Others need the package {lacking[0]}." if lacking else ""
        raise CapabilityError(
            f"No installed agent takes {lanes.name}, which shows {lanes.observation} and takes {lanes.action}.{hint}"
        )


def advice(lanes: Lanes) -> list[dict[str, Any]]:
    """Agents for an environment, the one that `em.fit` takes first, with reasons; in the form of `em.advise`."""
    cards = list(agents(lanes, None))
    return [
        {"model": c.name, "title": c.title, "suits": 1.0 - i / (len(cards) + 1), "seconds": None,
         "reasons": [f"Choose it for: {c.choose[:1].lower()}{c.choose[1:]}"] if c.choose else [],
         "warnings": [f"Not for: {c.avoid[:1].lower()}{c.avoid[1:]}"] if c.avoid else []}
        for i, c in enumerate(cards)
    ]  # fmt: skip


def _against(card: Card, lanes: Lanes) -> str:
    """Why an agent does not take an environment; empty where it does."""
    made = catalog.load(card)
    kinds = getattr(made, "kinds", ())
    if ("discrete" if lanes.action.discrete else "continuous") not in kinds:
        return f"takes {' or '.join(kinds)} actions"
    if getattr(made, "counted", False) and not lanes.observation.discrete:
        return "needs states that can be counted"
    return ""


def _beyond(card: Card, lanes: Lanes) -> bool:
    """Whether a table of values would be too large to be filled."""
    return getattr(catalog.load(card), "counted", False) and lanes.observation.n * lanes.action.n > FEW * 10


class Patience(Stop):
    """A stop that also ends an agent which gets no better while another one waits for its turn."""

    def __init__(self, seconds: float | None, until: float | None, other: Callable[[], bool] = lambda: False):
        super().__init__(seconds)
        self.until, self.still, self.other = until, False, other
        self.made, self.began = time.monotonic(), math.nan  # and when its first report came
        self.first, self.best, self.gained = math.nan, -math.inf, math.nan

    def told(self, live: Any) -> None:
        """What the agent reaches now."""
        now = time.monotonic()
        if self.began != self.began:  # what is loaded before takes its time, too
            self.began = self.gained = now
        values = [v for v in (live.mean, live.look) if v == v]
        if self.deadline is None or self.until is None or not values:
            return
        value = max(values)
        if self.first != self.first:
            self.first = self.best = value
        if value > self.best + _GAIN * abs(self.until - self.first):
            self.best, self.gained = value, now
        span = self.deadline - self.began
        half = now - self.began > 0.5 * span
        self.still = half and now - self.gained > _STILL * span and self.other()

    def __call__(self) -> bool:
        return self.still or super().__call__()


def fit(
    card: Card,
    env: Any,
    until: float | None,
    stop: Patience,
    *,
    seed: int,
    checkpoint: str | None = None,
    told: Told | None = None,
    settings: dict[str, Any] | None = None,
) -> Any:
    """An agent of the card that learnt until its mean return is `until`, or until it is stopped, or its usual steps.

    Ctrl-C ends it with the best so far; a second one ends the run.
    """
    known = inspect.signature(catalog.load(card).__init__).parameters
    given = {"random_state": derive(seed, card.name) % 2**31, "checkpoint": checkpoint, **(settings or {})}
    model = catalog.make(card, **{k: v for k, v in given.items() if k in known and v is not None})

    def listen(live: Any, *ignored: Any) -> None:
        stop.told(live)
        if told is not None:
            told(card.title, live)

    with interruptible(None, stop):
        catalog.module(card).fit(model, env, until, stop=stop, threads=threads(), listener=listen)
        model.interrupted_ = stop.asked
    return model


def try_all(
    cards: Iterator[Card],
    env: Any,
    until: float | None,
    *,
    compare: int,
    seconds: float | None,
    seed: int,
    told: Told | None,
    checkpoint: Callable[[Card], str] | None = None,
    score: Callable[[Any, int], dict[str, float]] | None = None,
    settings: dict[str, Any] | None = None,
) -> list[Tried]:
    """Agents that learnt, best first.

    Parameters
    ----------
    compare : this many get an equal share of the time each; with 0 the first gets all of it, and the next what is left
        where the first one stood still below `until`.
    settings : of the agents that have these.
    score : (agent, seed) -> its figures, of which "mean" chooses; by default returns of episodes.

    Raises
    ------
    EverymodelError
        the last reason, when none has learnt; EnvironmentFault at once.
    """
    tried: list[Tried] = []
    last: EverymodelError | None = None
    waiting, began = _Waiting(cards), time.monotonic()
    waiting.another()  # loads what the first one needs, which counts, but not for all of the time
    ends = None if seconds is None else max(began + seconds, time.monotonic() + 0.4 * seconds)
    while waiting.another():
        card = waiting.pop()
        left = None if ends is None else max(ends - time.monotonic(), 0.3)
        if compare and left is not None:
            left /= max(compare - len(tried), 1)
        one = Tried(card)
        tried.append(one)
        stop = Patience(left, until, waiting.another if not compare else lambda: False)
        began = time.monotonic()
        try:
            one.agent = fit(
                card, env, until, stop, seed=seed, told=told, settings=settings,
                checkpoint=checkpoint(card) if checkpoint else None,
            )  # fmt: skip
        except EnvironmentFault:
            raise
        except EverymodelError as error:
            one.failed, last = str(error), error
        one.seconds = time.monotonic() - began
        one.late = stop.began - stop.made if stop.began == stop.began else one.seconds
        one.ended = str(getattr(one.agent, "stopped_", ""))
        if one.ended == "stop" and not stop.asked:
            one.ended = "still" if stop.still else "budget"
        if stop.asked:
            break
        if len(tried) > 1 and tried[-2].ended == "still":
            tried[-2].other = card.title
        done = one.agent is not None and (one.reached or until is None)
        short = seconds is not None and ends is not None and ends - time.monotonic() < 0.1 * (seconds - tried[0].late)
        if not compare and (done or short):
            break
    able = [t for t in tried if t.agent is not None]
    if not able and last is not None:
        raise last
    if len(able) > 1:
        for one in able:
            chosen = derive(seed, "choose")
            one.figures = score(one.agent, chosen) if score else outcome_of(
                one.agent._step(), env, _CHOOSING, seed=chosen).summary  # fmt: skip
    return sorted(tried, key=_order)


class _Waiting:
    """The cards that come next; each is looked at, which loads what it needs, only when it is asked for."""

    def __init__(self, cards: Iterator[Card]):
        self.cards = cards
        self.next: Card | None = None

    def another(self) -> bool:
        if self.next is None:
            self.next = next(self.cards, None)
        return self.next is not None

    def pop(self) -> Card:
        made, self.next = self.next, None
        assert made is not None
        return made


def _order(one: Tried) -> tuple[bool, float]:
    return one.agent is None, -one.figures.get("mean", 0.0)


def checkpoints(folder: Path, clock: Clock, resume: bool) -> Callable[[Card], str] | None:
    """Where agents keep what a later run goes on from; None for short runs, which begin anew as quickly."""
    place = folder / "learning"
    if not resume:  # what another run has left in this folder is not gone on from
        shutil.rmtree(place, ignore_errors=True)
        if clock.limit is not None and clock.limit < _KEPT:
            return None
    place.mkdir(exist_ok=True)
    return lambda card: str(place / f"{card.name}.ckpt")


def forget(folder: Path, best: Tried) -> None:
    """Remove what only a resumed run needs, where there is nothing left to resume."""
    if best.ended in ("until", "steps"):
        shutil.rmtree(folder / "learning", ignore_errors=True)
