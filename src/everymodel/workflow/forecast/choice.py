"""Which models are tried, what they said from rolling origins, and what is chosen of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.clock import Clock
from everymodel.core.errors import EverymodelError, ParameterError
from everymodel.models._series import ahead
from everymodel.scoring.forecast import HISTORY
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.cells import Cells
from everymodel.scoring.steps.combine import Mean
from everymodel.scoring.steps.forecast import Past
from everymodel.workflow.forecast.backtest import Plan, Tried, mean_interval, smape, swelling, truth
from everymodel.workflow.types import Listener, Progress

METRICS = ("mase", "mae", "rmse", "smape")
NEAR = 1.25  # a family whose best has at most so much of the least loss takes part in the mean
LOCAL = (
    "seasonal_naive",
    "exponential_smoothing",
    "autoregression",
)  # learn from each history by itself when they are asked
HEAVY = 3.0  # seconds of a fit from which on a model is fitted at few origins


@dataclass
class Candidate:
    """A model and its settings, and what came of it."""

    card: Card
    settings: dict[str, Any]
    title: str
    said: np.ndarray | None = None  # (m, h)
    score: float = float("nan")
    seconds: float = 0.0  # of one fit
    reason: str = ""

    asked: bool = True  # whether it may answer; else it is there to be compared with

    def make(self, horizon: int, season: int, seed: int) -> Any:
        known = {p.name for p in self.card.parameters}
        given = {"horizon": horizon, "season": season, **self.settings}
        if "random_state" in known:
            given["random_state"] = seed
        return catalog.make(self.card, **given)


class _Stop:
    """Asked by fits that can end early."""

    def __init__(self, seconds: float):
        self.deadline = time.monotonic() + seconds

    def __call__(self) -> bool:
        return time.monotonic() > self.deadline


@dataclass
class Chosen:
    """What answers: the mean of one or more candidates, and how it did."""

    members: list[Candidate]
    tried: Tried
    apart: np.ndarray  # (m, h) what would have been said at each look by what all other looks choose
    baseline: np.ndarray  # (m, h) what seasonal-naive said
    candidates: list[Candidate]
    power: float  # of the level, with which errors grow
    stopped: str = "finished"
    history: list[dict[str, Any]] = field(default_factory=list)


def candidates(models: list[str] | None, positive: bool, trials: int | None) -> list[Candidate]:
    """Every forecaster with its presets, quick ones first; seasonal-naive always leads.

    Raises
    ------
    ParameterError
        where `models` names something else than forecasters.
    """
    cards = [c for c in catalog.cards() if c.kind == "forecaster" and "forecast" in c.tasks]
    wanted: set[str] = set()
    if models:
        wanted = {catalog.find(name).name for name in models}
        strange = wanted - {c.name for c in cards}
        if strange:
            raise ParameterError(
                f"{', '.join(sorted(strange))}: not for series. Expected some of {', '.join(c.name for c in cards)}."
            )
        cards = [c for c in cards if c.name in wanted or c.name == "seasonal_naive"]
    else:
        cards = [c for c in cards if c.priority is not None]
    made = []
    for card in sorted(cards, key=lambda c: (c.priority or 0, c.name)):
        for settings in card.presets:
            if settings.get("transform") == "none" and not positive:
                continue  # the same as without it
            words = ", ".join(f"{k} {v}" if not isinstance(v, bool) else k for k, v in settings.items())
            named = not models or card.name in wanted
            made.append(Candidate(card, settings, f"{card.title}{f' ({words})' if words else ''}", asked=named))
    # Every family once before the second preset of any.
    seen: dict[str, int] = {}
    order = []
    for c in made:
        seen[c.card.name] = seen.get(c.card.name, -1) + 1
        order.append((seen[c.card.name], c))
    made = [c for _, c in sorted(order, key=lambda pair: pair[0])]
    return made[: trials or None]


def choose(
    values: list[np.ndarray],
    plan: Plan,
    season: int,
    *,
    models: list[str] | None,
    metric: str,
    clock: Clock,
    trials: int | None,
    seed: int,
    listener: Listener | None,
) -> Chosen:
    """Try all that the clock allows on the plan's origins and choose one, or a mean of several.

    values : the series without what is kept for the test.
    """
    positive = all(y.min() > 0 for y in values)
    power = swelling(values, season)
    tried = truth(values, plan, season, power)
    all_of_them = candidates(models, positive, trials)
    stopped, history, best = "finished", [], np.inf
    spent = 0.0
    for number, candidate in enumerate(all_of_them):
        left = clock.left()
        if number and left < 0.05 * (clock.limit or 0):
            candidate.reason, stopped = "out of time", "budget"
            continue
        if not catalog.available(candidate.card):
            candidate.reason = f"needs the package {candidate.card.package}"
            continue
        if listener:
            shown = None if left == float("inf") else left
            listener(Progress("search", candidate=candidate.title, best=None if np.isinf(best) else best, done=number,
                              total=len(all_of_them), seconds_left=shown))  # fmt: skip
        began = time.monotonic()
        share = left if left == float("inf") else left / max(min(len(all_of_them) - number, 3), 1)
        try:
            candidate.said = _say(candidate, values, plan, season, seed, share)
        except (EverymodelError, ValueError, ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
            candidate.reason = str(error) or type(error).__name__
            continue
        except _Late:
            candidate.reason, stopped = "not finished in time", "budget"
            continue
        spent += time.monotonic() - began
        if not np.isfinite(candidate.said).all():
            candidate.said, candidate.reason = None, "its answers are not finite"
            continue
        candidate.score = float(losses(candidate.said, tried, metric).mean())
        if candidate.score < best:
            best = candidate.score
            history.append({"seconds": round(clock.elapsed(), 3), "best": best})
    good = sorted((c for c in all_of_them if c.said is not None), key=lambda c: c.score)
    if not good:
        raise EverymodelError(f"No model could answer. The first reason: {all_of_them[0].reason}")
    pool = [c for c in good if c.asked] or good
    members, said, apart = _together(pool, tried, metric)
    tried.said = said
    first = next((c for c in all_of_them if c.card.name == "seasonal_naive" and c.said is not None), good[0])
    assert first.said is not None
    return Chosen(members, tried, apart, first.said, all_of_them, power, stopped, history)


def losses(said: np.ndarray, tried: Tried, metric: str) -> np.ndarray:
    """(m,) losses of answers (m, h)."""
    error = tried.came - said
    if metric == "smape":
        return smape(said, tried.came).mean(axis=1)
    if metric == "mae":
        return np.abs(error).mean(axis=1)
    if metric == "rmse":
        return np.sqrt((error * error).mean(axis=1))
    return (np.abs(error) / tried.size[:, None]).mean(axis=1)


def _together(pool: list[Candidate], tried: Tried, metric: str) -> tuple[list[Candidate], np.ndarray, np.ndarray]:
    """The best of each family that comes near the best of all, whose mean answers; what the mean said (m, h); and what
    was said at each look by what the other looks alone choose.

    The errors of what was chosen are too small, as they had a say in the choice; those of the last are not.
    """
    said = np.stack([c.said for c in pool if c.said is not None])  # (c, m, h)
    lost = np.stack([losses(one, tried, metric) for one in said])  # (c, m)
    families = [c.card.name for c in pool]
    chosen = _near(lost.mean(axis=1), families)
    together, groups = said[chosen].mean(axis=0), tried.groups()
    apart = together.copy()
    names = np.unique(groups)
    for name in names if len(names) > 1 else ():
        out = groups == name
        apart[out] = said[_near(lost[:, ~out].mean(axis=1), families)][:, out].mean(axis=0)
    return [pool[i] for i in chosen], together, apart


def _near(scores: np.ndarray, families: list[str]) -> list[int]:
    """Numbers of the candidates with the least score of each family, where it is near the least of all; best first."""
    chosen: dict[str, int] = {}
    for i in np.argsort(scores, kind="stable"):
        if scores[i] <= NEAR * scores.min():
            chosen.setdefault(families[i], int(i))
    return list(chosen.values())


class _Late(Exception):
    """A model took longer than its share."""


def _say(
    candidate: Candidate, values: list[np.ndarray], plan: Plan, season: int, seed: int, seconds: float
) -> np.ndarray:
    """(m, h) answers at all pairs of the plan, in the order of `plan.pairs()`."""
    pairs = plan.pairs()
    out = np.full((len(pairs), plan.horizon), np.nan)
    stop = _Stop(min(seconds, 1e6))
    if candidate.card.name in LOCAL:
        began = time.monotonic()
        step = fit(candidate, values, plan.horizon, season, seed, stop).step_
        histories = [values[i][:o] for _, i, o in pairs]
        for low in range(0, len(pairs), 256):  # the clock is looked at now and then
            if low and stop():
                raise _Late
            out[low : low + 256] = step(histories[low : low + 256])
        candidate.seconds = time.monotonic() - began
        return out
    numbers = np.array([j for j, _, _ in pairs])
    todo = [[j] for j in range(plan.k)]
    at = 0
    while at < len(todo):
        group = todo[at]
        began = time.monotonic()
        # What is learnt for several origins at once ends at the earliest of them.
        ends = plan.origins[max(group)]
        learnt = [values[i][:o] for i, o in enumerate(ends) if o > 0]
        model = fit(candidate, learnt, plan.horizon, season, seed, stop)
        rows = np.flatnonzero(np.isin(numbers, group))
        histories = [values[pairs[r][1]][: pairs[r][2]] for r in rows]
        out[rows] = ahead(model.step_, histories, plan.horizon, plan.horizon)
        took = time.monotonic() - began
        candidate.seconds = max(candidate.seconds, took)
        if at + 1 < len(todo) and took * (len(todo) - at - 1) > min(seconds * 0.5, HEAVY * 4):
            rest = [j for g in todo[at + 1 :] for j in g]  # one fit for all earlier origins
            todo = [*todo[: at + 1], rest]
        if at + 1 < len(todo) and stop():
            raise _Late
        at += 1
    return out


def fit(
    candidate: Candidate,
    values: list[np.ndarray],
    horizon: int,
    season: int,
    seed: int,
    stop: Callable[[], bool] | None = None,
) -> Any:
    """The fitted model."""
    model = candidate.make(horizon, season, seed)
    hook = getattr(catalog.module(candidate.card), "fit", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hook(model, values, None, stop=stop, threads=1) if hook else model.fit(values)


def steps(members: list[Candidate], values: list[np.ndarray], horizon: int, season: int, seed: int) -> list[Step]:
    """A step of each member, learnt from the series."""
    return [catalog.module(c.card).pack(fit(c, values, horizon, season, seed)) for c in members]


def pack(made: list[Step], past: Past) -> Pack:
    """Cells of the history column to (n, horizon) answers; the past lies beside them."""
    nodes = [Node("cells", Cells(HISTORY, "sequence"))]
    names = [f"member {i + 1}" for i in range(len(made))]
    nodes += [Node(name, step, ("cells",)) for name, step in zip(names, made, strict=True)]
    if len(made) > 1:
        nodes.append(Node("mean", Mean(), tuple(names)))
    answer = nodes[-1].name
    return Pack([*nodes, Node("past", past)], answer)


def leaderboard(chosen: Chosen, metric: str, seed: int) -> list[dict[str, Any]]:
    """Best first; what answers is marked."""
    lines = []
    tried = chosen.tried
    if len(chosen.members) > 1:
        title = "Mean of " + ", ".join(c.title for c in chosen.members)
        lines.append(_line(title, "mean", tried.said, tried, metric, seed, sum(c.seconds for c in chosen.members), 1.0))
    for c in chosen.candidates:
        if c.said is not None:
            weight = 1.0 / len(chosen.members) if c in chosen.members else 0.0
            lines.append(_line(c.title, c.card.name, c.said, tried, metric, seed, c.seconds, weight))
    lines.sort(key=lambda line: line["score"])
    lines += [{"model": c.title, "card": c.card.name, "score": float("nan"), "fit_seconds": float("nan"), "weight": 0.0,
               "status": c.reason} for c in chosen.candidates if c.reason]  # fmt: skip
    return lines


def _line(
    title: str, card: str, said: np.ndarray, tried: Tried, metric: str, seed: int, seconds: float, weight: float
) -> dict[str, Any]:
    values = losses(said, tried, metric)
    low, high = mean_interval(values, tried.which, seed)
    more = {} if metric == "mase" else {"mase": float(losses(said, tried, "mase").mean())}
    return {
        "model": title,
        "card": card,
        "score": float(values.mean()),
        "score_low": low,
        "score_high": high,
        **more,
        **({"smape": float(smape(said, tried.came).mean())} if metric != "smape" else {}),
        "fit_seconds": round(seconds, 3),
        "weight": weight,
        "status": "ok",
    }
