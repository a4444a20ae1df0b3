"""The whole story of a run of agents: the environment, learning by doing, a test on fresh episodes, the file, the
report."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import math
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel import catalog, environments
from everymodel.core.clock import Clock
from everymodel.core.errors import ParameterError
from everymodel.core.finding import Finding
from everymodel.core.seeds import derive
from everymodel.environments import episodes as playing
from everymodel.environments.lanes import Lanes
from everymodel.scoring.spaces import Space
from everymodel.workflow.reinforce import choice, is_game, rules_of, shown
from everymodel.workflow.reinforce.codes import say
from everymodel.workflow.reinforce.model import AgentModel
from everymodel.workflow.reinforce.outcome import Chance, Outcome, episodes_in, outcome_of
from everymodel.workflow.types import Evaluation, Listener, Metric, Problem, Progress, SearchResult, Split, Table

if TYPE_CHECKING:
    from everymodel.workflow.run import Run

EPISODES = 100  # of the test
_TEST = 0.12, 20.0  # share of the budget that testing and the film may take, and seconds at most
_SECONDS = 0.6  # for the file and the story
_LATE = 0.4  # share of an agent's time that loading may take before it is said
_TELL = 0.2  # seconds between two reports of an agent that learns
# name: (title, better, in words)
FIGURES: dict[str, tuple[str, str, str]] = {
    "mean": ("Mean return", "higher", "Mean over fresh episodes by the best actions; 95 % interval by bootstrap."),
    "iqm": ("Mean of the middle half", "higher", "Mean of the returns without the lowest and highest quarter."),
    "std": ("Spread of returns", "lower", "Standard deviation over episodes."),
    "worst": ("Worst episode", "higher", "Return of the worst episode."),
    "best": ("Best episode", "higher", "Return of the best episode."),
    "length": ("Steps of an episode", "", "Mean length of an episode."),
}


@dataclass(frozen=True, eq=False)
class World:
    """What is known of an environment before anything is learnt in it."""

    name: str
    observation: Space
    action: Space
    limit: int | None
    threshold: float | None
    arrays: bool
    fields: np.ndarray | None = None  # (h, w) letters, where each state is a field of a map
    steps: np.ndarray | None = None  # (A, 2) rows and columns that an action leads on, there

    @classmethod
    def of(cls, lanes: Lanes) -> World:
        fields, after = getattr(lanes, "fields", None), getattr(lanes, "after", None)
        steps = None
        if fields is None or after is None or np.size(fields) != lanes.observation.n:
            fields = None
        else:  # after (S, A, outcomes)
            h, w = fields.shape
            here, there = np.divmod(np.arange(h * w), w), np.divmod(after, w)
            chance = np.broadcast_to(lanes.chance, after.shape)  # type: ignore[attr-defined]
            steps = np.stack(
                [(chance * (to - at[:, None, None])).sum(axis=2).mean(axis=0) for at, to in zip(here, there)], axis=1
            )
        return cls(lanes.name, lanes.observation, lanes.action, lanes.limit, lanes.threshold, playing.arrays(lanes),
                   fields, steps)  # fmt: skip

    def words(self) -> list[tuple[str, str]]:
        """Facts, each with its title."""
        steps = "none" if self.limit is None else f"{self.limit:,} steps"
        goal = "" if self.threshold is None else f"a mean return of {self.threshold:g}"
        where = "as arrays, many at once" if self.arrays else "one by one"
        told = [("shows", str(self.observation)), ("takes", _takes(self.action)), ("time limit", steps)]
        return (
            [*told, ("counts as solved from", goal), ("is stepped", where)] if goal else [*told, ("is stepped", where)]
        )


def _takes(space: Space) -> str:
    if space.discrete:
        return f"one of {space.n} actions"
    low, high = (float(side.reshape(-1)[0]) for side in space.bounds())
    bounds = f" from {low:g} to {high:g}" if space.bounded and len(space.low) == len(space.high) == 1 else ""
    return f"{space}{bounds}"


def look(env: Any) -> World:
    """What an environment, or a board game, is, for `em.look`."""
    if is_game(env):
        rules = rules_of(env)
        seen = Space(shape=(*rules.board, rules.planes), low=(None,), high=(None,))
        return World(env, seen, Space(rules.actions), rules.longest, None, True)
    lanes = environments.make(env, 1)
    try:
        return World.of(lanes)
    finally:
        if lanes is not env:
            lanes.close()


def advise(env: Any) -> list[dict[str, Any]]:
    """Agents for an environment, best first, for `em.advise`."""
    if is_game(env):
        card = catalog.find("self_play", task="act")
        return [{"model": card.name, "title": card.title, "suits": 1.0, "seconds": None, "reasons": [card.choose],
                 "warnings": []}]  # fmt: skip
    lanes = environments.make(env, 1)
    try:
        return choice.advice(lanes)
    finally:
        if lanes is not env:
            lanes.close()


def reinforce(
    env: Any,
    models: list[str] | None,
    until: float | str | None,
    options: dict[str, Any],
    clock: Clock,
    seed: int,
    out: Any,
    listener: Listener | None,
    timing: dict[str, float],
) -> Run:
    """An agent that learns by doing until its mean return is in the range asked for, or the time is over.

    Parameters
    ----------
    env : see `everymodel.environments.make`.
    models : agents by name; by default the one that suits best, and the next where that one stands still.
    until : mean return; "auto": the environment's own threshold where it has one; None: all of the time is used.
    options : those of `em.fit` that mean nothing here, which must not be given; and `resume`.

    Raises
    ------
    ParameterError, CapabilityError, EnvironmentFault
    """
    from everymodel.workflow.run import Run, _frame, _places, _save, _save_story, _stage
    from everymodel.workflow.wrap import wrap

    if is_game(env):
        from everymodel.workflow.reinforce.board import play_board

        return play_board(env, models, until, options, clock, seed, out, listener, timing)
    resume, trials = refused(options)
    with _stage("read", timing, listener):
        lanes = environments.make(env, 1)
        world = World.of(lanes)
        goal = world.threshold if until == "auto" else _number(until)
        folder, model_path = _places(out, _word(world.name), resume)
        findings = []
        if not world.arrays and world.limit == _usual_limit():
            findings.append(say("no-limit", limit=world.limit))
    saved, budget = _SECONDS, None
    if clock.limit is not None:
        closing = min(_TEST[0] * clock.limit, _TEST[1])
        # Where loading took the time (a busy machine), the agent has some all the same.
        budget = max(clock.left() - closing - min(saved, 0.1 * clock.limit), 0.3 * clock.limit)
    with _stage("learn", timing, listener):
        cards = itertools.islice(choice.agents(lanes, models), trials)
        board = choice.try_all(
            cards, env, goal, compare=len(models or []) if len(models or []) > 1 else 0, seconds=budget, seed=seed,
            told=_watch(listener, goal),
            checkpoint=choice.checkpoints(folder, clock, resume),
        )  # fmt: skip
        best = board[0]
        agent, step = best.agent, best.agent._step()
        findings += _of_learning(board, best, goal)
    with _stage("evaluate", timing, listener):
        test, chance = _test(step, env, world, agent, clock, seed)
        evaluation = evaluation_of(test, chance, goal, world.name)
        findings += _noticed(test, chance, goal, best)
        film = shown.film(step, env, test, derive(seed, "film"), clock.left() - 0.5)
        if isinstance(film, str):
            findings.append(say("no-film", why=film))
    with _stage("save", timing, listener):
        plain = wrap(agent, None)
        model = AgentModel(plain.schema, plain.pack, plain.manifest)
        _describe(model, world, evaluation, findings, best, goal, seed)
        _save(model, folder, model_path, findings)  # type: ignore[arg-type]
        if isinstance(film, shown.Film):
            shown.keep(film, folder / "film.gif", findings)
        result = _result(model, board, best)
        shows = shown.structure(
            world, board, best, test, chance, goal, film if isinstance(film, shown.Film) else None, model,
            _reasons(agent),
        )  # fmt: skip
        told = _story(world, model, best, test, shows, result, evaluation, findings, seed, clock, timing,
                      model_path or folder / "model.em", env)  # fmt: skip
        _save_story(told, folder, findings)
        choice.forget(folder, best)
    if lanes is not env:
        lanes.close()
    return Run(model, _frame(result.leaderboard), findings, evaluation, told, folder, result)  # type: ignore[arg-type]


def refused(options: dict[str, Any]) -> tuple[bool, int | None]:
    """(whether to resume, how many agents are tried at most); ParameterError for options that mean nothing here."""
    for name, value in options.items():
        if value not in (None, False) and name not in ("resume", "trials"):
            raise ParameterError(f"{name}={value!r} is not there for agents that learn by doing. Leave it out.")
    return bool(options.get("resume")), options.get("trials")


def _number(until: Any) -> float | None:
    if until is None:
        return None
    if isinstance(until, bool | str) or not math.isfinite(until):
        raise ParameterError(f'until={until!r} came; expected a mean return, such as 475, or "auto", or None.')
    return float(until)


def _usual_limit() -> int:
    from everymodel.environments.adapter import MOST

    return MOST


def _word(name: str) -> str:
    return Path(name).stem if name.endswith(".py") else name or "agent"


def _watch(listener: Listener | None, goal: float | None) -> choice.Told | None:
    """What an agent reports while it learns, in words."""
    if listener is None:
        return None
    last = -math.inf

    def watch(title: str, live: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _TELL:
            return
        last = now
        parts = []
        if live.mean == live.mean:
            parts.append(f"return {live.mean:.4g} (last {min(live.episodes, 100)})")
        if goal is not None:
            parts.append(f"asked for {goal:g}")
        pace = f"{live.pace / 1e6:.2g}M" if live.pace >= 1e6 else f"{live.pace:,.0f}"
        parts += [f"{live.episodes:,} episodes", f"{live.steps:,} steps", f"{pace} steps/s"]
        look = live.look if live.look == live.look else None
        left = live.seconds_left if math.isfinite(live.seconds_left) else None
        listener(Progress("learn", ", ".join(parts), candidate=title, best=look, seconds_left=left))

    return watch


def _test(step: Any, env: Any, world: World, agent: Any, clock: Clock, seed: int) -> tuple[Outcome, Outcome]:
    """(fresh episodes by the agent, as many by chance), as many as the clock allows: how many is known before."""
    left = max(0.55 * clock.left(), 1.0)
    lengths = [e[2] for e in agent.curve_.episodes[-100:]] or [world.limit or 1000]
    count, length = EPISODES, max(float(np.mean(lengths)), 1.0)
    if clock.limit is not None:
        # Looks have played such episodes: what a step costs is measured on one, by the clock.
        began = time.perf_counter()
        short = outcome_of(step, env, 1, seed=derive(seed, "pace"))
        pace = max(float(short.lengths.sum()), 1.0) / max(time.perf_counter() - began, 1e-4)
        length = max(length, float(short.lengths.mean()) if len(short.lengths) else length)
        # A hundred lanes of arrays cost about three times as much as one.
        count = episodes_in(left, pace * (30 if world.arrays else 0.8), length, EPISODES)
    ends = time.monotonic() + 3 * left + 2.0 if clock.limit is not None else math.inf
    test = outcome_of(step, env, count, seed=derive(seed, "test"), stop=lambda: time.monotonic() > ends)
    by_chance = max(min(count, EPISODES), 5)
    ends = time.monotonic() + left + 1.0 if clock.limit is not None else math.inf
    chance = outcome_of(Chance(world.action), env, by_chance, seed=derive(seed, "chance"),
                    stop=lambda: time.monotonic() > ends)  # fmt: skip
    return test, chance


def evaluation_of(test: Outcome, chance: Outcome | None, goal: float | None, name: str) -> Evaluation:
    """Returns as metrics, held against chance, and one sentence."""
    said = test.summary
    metrics = [
        Metric(key, said[key], said["low"] if key == "mean" else math.nan, said["high"] if key == "mean" else math.nan,
               better, text)
        for key, (_, better, text) in FIGURES.items()
        if key in said
    ]  # fmt: skip
    comparisons = []
    if chance is not None and len(chance.returns):
        comparisons = [{"name": "chance", **chance.summary}]
    curves = {"returns": test.returns, "lengths": test.lengths, "counts": test.counts}
    return Evaluation("act", "episodes", metrics, headline(test, chance, goal, name), comparisons, curves=curves)


def headline(test: Outcome, chance: Outcome | None, goal: float | None, name: str) -> str:
    """One sentence."""
    said, count = test.summary, len(test.returns)
    if not count:
        return f"No episode of {name} ended while it was tested, so there is no return."
    text = f"Mean return {said['mean']:.4g}"
    if math.isfinite(said["low"]):
        text += f" (95 % interval {said['low']:.4g} to {said['high']:.4g})"
    text += f" over {count:,} fresh episode{'s' if count > 1 else ''} of {name}"
    if goal is not None:
        if said["mean"] < goal:
            text += f"; {goal:g} was asked for"
        else:
            sure = math.isfinite(said["low"]) and said["low"] >= goal
            text += f", {'surely ' if sure else ''}in the range asked for ({goal:g} or more)"
    if chance is not None and len(chance.returns):
        text += f"; acting by chance returns {chance.summary['mean']:.4g}"
    return text + "."


def _of_learning(board: list[choice.Tried], best: choice.Tried, goal: float | None) -> list[Finding]:
    found = [
        say("gave-way", model=one.card.title, mean=one.last, until=goal, other=one.other)
        for one in board
        if one.other and goal is not None
    ]
    agent = best.agent
    if best.late > max(_LATE * best.seconds, 1.0) and best.ended != "until":
        found.append(say("late-start", late=best.late, whole=best.seconds))
    if not agent.curve_.episodes:
        found.append(say("no-episode-ended", steps=int(getattr(agent, "steps_", 0))))
    return [*found, *(say("while-learning", note=n) for n in getattr(getattr(agent, "history_", None), "notes", []))]


def _noticed(test: Outcome, chance: Outcome, goal: float | None, best: choice.Tried) -> list[Finding]:
    found: list[Finding] = []
    said, n = test.summary, len(test.returns)
    if n < test.asked:
        found.append(say("test-cut-short"))
    elif n < EPISODES:
        found.append(say("few-episodes", count=n, all=EPISODES))
    if not n:
        return found
    missed = goal is not None and said["mean"] < goal
    low = said["low"] if math.isfinite(said["low"]) else said["mean"]
    weak = len(chance.returns) > 0 and low <= chance.summary["mean"]
    if weak:
        found.append(say("no-better-than-chance", mean=said["mean"], chance=chance.summary["mean"]))
    elif goal is not None and missed:
        found.append(say("return-not-reached", mean=said["mean"], until=goal))
    if test.limit is not None and (test.lengths >= test.limit).all():
        found.append(say("always-cut", limit=test.limit))
    if missed or weak:
        found += [say("why-not", model=best.card.title, why=why) for why in _reasons(best.agent)]
    return found


def _reasons(agent: Any) -> list[str]:
    """What an agent says of itself, where it has something to say."""
    told = agent.diagnose() if hasattr(agent, "diagnose") else []
    return [str(t) for t in ([told] if isinstance(told, str) else told) if t]


def _describe(
    model: AgentModel,
    world: World,
    evaluation: Evaluation,
    findings: list[Finding],
    best: choice.Tried,
    goal: float | None,
    seed: int,
) -> None:
    """What the file says of itself."""
    name, agent = _word(world.name), best.agent
    model.manifest |= {
        "name": name,
        "title": f"{name}: {best.card.title}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "headline": evaluation.headline,
        "findings": [f.to_dict() for f in findings],
        "metrics": [
            {"name": m.name, "value": m.value, "low": _finite(m.low), "high": _finite(m.high), "source": "episodes"}
            for m in evaluation.metrics
            if math.isfinite(m.value)
        ],
        "environment": world.name,
        "until": goal,
        "steps": int(getattr(agent, "steps_", 0)),
        "episodes": len(agent.curve_.episodes),
        "stopped": best.ended,
    }
    model.manifest["provenance"] |= {"data_fingerprint": _fingerprint(world), "seed": seed}


def _fingerprint(world: World) -> str:
    """Equal for environments of the same name, spaces and limit."""
    told = f"{world.name} {world.observation.to_dict()} {world.action.to_dict()} {world.limit}"
    return hashlib.sha256(told.encode()).hexdigest()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _result(model: AgentModel, board: list[choice.Tried], best: choice.Tried) -> SearchResult:
    rows = []
    for t in board:
        by = t.figures
        curve = t.agent.curve_ if t.agent is not None else None
        rows.append(
            {
                "model": t.card.title,
                "card": t.card.name,
                "score": _finite(by.get("mean", t.last)),
                "score_low": _finite(by.get("low", math.nan)),
                "score_high": _finite(by.get("high", math.nan)),
                "fit_seconds": round(t.seconds, 3),
                "weight": float(t is best),
                "status": t.failed or "ok",
                "steps": int(getattr(t.agent, "steps_", 0)) or None,
                "episodes": len(curve.episodes) if curve is not None else None,
                "ended_by": t.ended,
            }
        )
    failures = [(t.card.title, t.failed) for t in board if t.failed]
    return SearchResult.of_one(model, rows, best.card.name, failures, getattr(best.agent, "interrupted_", False))


def _story(
    world: World,
    model: AgentModel,
    best: choice.Tried,
    test: Outcome,
    shows: dict[str, Any],
    result: SearchResult,
    evaluation: Evaluation,
    findings: list[Finding],
    seed: int,
    clock: Clock,
    timing: dict[str, float],
    model_file: Path,
    env: Any,
) -> dict[str, Any]:
    from everymodel.workflow.story import plain

    note = (
        f"Tested on {len(test.returns):,} episodes that nothing was learnt from and no choice has seen, by the best "
        "actions; by chance in as many."
    )
    told = told_of(model, result, evaluation, findings, seed, clock, timing, model_file, world.name, note)
    told["title"] = f"{best.card.title} in {_word(world.name)}"
    told["rows"] = int(getattr(best.agent, "steps_", 0))
    told["split"] |= {"train": len(best.agent.curve_.episodes), "test": len(test.returns)}
    told["how_to"] = _how_to(model_file, model, world, test, env)
    told["structure"] = plain(shows | {"titles": {k: t[0] for k, t in FIGURES.items()}})
    return told


def told_of(
    model: AgentModel,
    result: SearchResult,
    evaluation: Evaluation,
    findings: list[Finding],
    seed: int,
    clock: Clock,
    timing: dict[str, float],
    model_file: Path,
    place: str,
    note: str,
) -> dict[str, Any]:
    """What the story of every run holds; there are no rows, and what the agent did stands in "structure"."""
    import pandas as pd

    from everymodel.scoring.steps.base import Batch
    from everymodel.workflow.story import story

    empty, none = pd.DataFrame(), np.zeros(0, dtype=np.int64)
    source = Table(empty, place, "environment", {}, [], str(model.manifest["provenance"]["data_fingerprint"]))
    parts = Split("episodes", none, none, [], note)
    problem = Problem(model.schema, model.task, Batch({}, 0), np.zeros(0), [], "return", seed)
    told = story(source, findings, parts, problem, result, evaluation, {}, timing, clock.limit, model_file, empty,
                 False)  # fmt: skip
    return told | {"target": "", "columns": []}


def _how_to(path: Path, model: AgentModel, world: World, test: Outcome, env: Any) -> dict[str, str]:
    import json

    file, where = shlex.quote(str(path)), ""
    if isinstance(env, str | os.PathLike) and str(env) != world.name:
        where = f" --env {shlex.quote(str(env))}"
    seen = test.seen[len(test.seen) // 2] if len(test.seen) else world.observation.example(np.random.default_rng(0))
    shortened = int(seen) if world.observation.discrete else np.round(np.asarray(seen, dtype=float), 3).tolist()
    text = json.dumps(shortened)
    if len(text) > 300:
        text = "[...]"
    return {
        "python": f'import everymodel as em\n\nagent = em.load("{path}")\nagent.act({text})\n'
        "agent.evaluate(episodes=100)  # where it has learnt",
        "cli": f"everymodel play {file}{where} --episodes 3",
        "rest": f"everymodel serve {file}\ncurl -s localhost:8000/v1/act -H 'content-type: application/json' "
        f"-d '{{\"observation\": {text}}}'",
    }
