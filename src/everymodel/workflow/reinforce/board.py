"""The story of a run that learns a board game by playing against itself: matches against players that learnt
nothing, the file, the report."""

from __future__ import annotations

import itertools
import math
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everymodel import catalog
from everymodel.core.clock import Clock
from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.core.finding import Finding
from everymodel.core.seeds import derive
from everymodel.scoring.games.base import Rules
from everymodel.scoring.matches import Played, match, opponent, policy_player
from everymodel.workflow.evaluate.intervals import wilson
from everymodel.workflow.reinforce import choice, shown
from everymodel.workflow.reinforce.codes import say
from everymodel.workflow.reinforce.model import BoardModel
from everymodel.workflow.types import Evaluation, Listener, Metric, Progress, SearchResult

if TYPE_CHECKING:
    from everymodel.workflow.run import Run

GAMES = 100  # against each opponent
_TEST = 0.25, 90.0  # share of the budget that matches may take, and seconds at most
_SECONDS = 1.0  # for the file and the story
WORDS = {"random": "random moves", "perfect": "the perfect player"}


def opponents(rules: Rules) -> list[str]:
    """Who is played against, the headline first."""
    return ["perfect", "random"] if rules.word == "tic_tac_toe" else ["uct:200", "random"]


def named(word: str) -> str:
    """An opponent in words."""
    kind, _, count = word.partition(":")
    return f"UCT with {int(count):,} random games a move" if kind == "uct" else WORDS.get(word, word)


def play_board(
    game: str,
    models: list[str] | None,
    until: Any,
    options: dict[str, Any],
    clock: Clock,
    seed: int,
    out: Any,
    listener: Listener | None,
    timing: dict[str, float],
) -> Run:
    """A player that has learnt a game from its rules alone; see `story.reinforce` for the parameters."""
    from everymodel.workflow.reinforce.story import refused
    from everymodel.workflow.run import Run, _frame, _places, _save, _save_story, _stage
    from everymodel.workflow.wrap import wrap

    resume, trials = refused(options)
    if until not in (None, "auto"):
        raise ParameterError(f"until={until!r}: a game learnt by self-play has no return to reach. Give a budget.")
    with _stage("read", timing, listener):
        cards = _cards(game, models)
        folder, model_path = _places(out, game.replace(":", "_"), resume)
    budget = None
    if clock.limit is not None:
        closing = min(_TEST[0] * clock.limit, _TEST[1]) + min(_SECONDS, 0.1 * clock.limit)
        budget = max(clock.left() - closing, 0.3 * clock.limit)
    with _stage("learn", timing, listener):
        chosen = itertools.islice(iter(cards), trials)
        board = choice.try_all(
            chosen, game, None, compare=len(models or []) if len(models or []) > 1 else 0, seconds=budget, seed=seed,
            told=_watch(listener), score=lambda agent, s: _compared(agent, s),
            checkpoint=choice.checkpoints(folder, clock, resume), settings=_settings(game),
        )  # fmt: skip
        best = board[0]
        step = best.agent._step()
        findings = [say("while-learning", note=n) for n in getattr(getattr(best.agent, "history_", 0), "notes", [])]
    with _stage("evaluate", timing, listener):
        played, sample = _matches(step, clock, seed, listener)
        evaluation = evaluation_of(played, step.rules)
        if len(next(iter(played.values())).scores) < GAMES:
            counts = min(len(p.scores) for p in played.values())
            findings.append(say("few-games", count=counts, all=GAMES))
    with _stage("save", timing, listener):
        plain = wrap(best.agent, None)
        model = BoardModel(plain.schema, plain.pack, plain.manifest)
        _describe(model, evaluation, findings, best, seed, game)
        _save(model, folder, model_path, findings)  # type: ignore[arg-type]
        result = _result(model, board, best)
        told = _story(model, board, best, played, sample, result, evaluation, findings, seed, clock, timing,
                      model_path or folder / "model.em", game)  # fmt: skip
        _save_story(told, folder, findings)
        choice.forget(folder, best)
    return Run(model, _frame(result.leaderboard), findings, evaluation, told, folder, result)  # type: ignore[arg-type]


def _cards(game: str, models: list[str] | None) -> list[Any]:
    asked = [catalog.find(name, task="act") for name in models or []]
    for card in asked:
        if "game" not in card.inputs:
            raise ParameterError(f"{card.name} learns in environments; {game} is a game for two (self_play learns it).")
    every = [c for c in catalog.for_task("act") if "game" in c.inputs and c.priority is not None]
    able = [c for c in asked or sorted(every, key=lambda c: c.priority or 0) if catalog.available(c)]
    if not able:
        lacking = sorted({c.package or "" for c in [*asked, *every]})
        raise CapabilityError(f"No installed agent learns {game}: it needs the package {', '.join(lacking)}.")
    return able


def _settings(game: str) -> dict[str, Any]:
    """What the word of a game says of an agent's settings."""
    word, _, size = game.partition(":")
    return {"game": word, **({"size": int(size)} if size else {})}


def _compared(agent: Any, seed: int) -> dict[str, float]:
    """How one of several players is chosen."""
    rules = agent.rules_
    return match(rules, policy_player(agent._step()), opponent(rules, opponents(rules)[0], seed), 30).summary()


def _watch(listener: Listener | None) -> choice.Told | None:
    """What a player reports while it learns."""
    if listener is None:
        return None
    last = -math.inf

    def watch(title: str, live: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.2:
            return
        last = now
        parts = [f"{live.episodes:,} games", f"{live.steps:,} positions", f"{live.pace:,.0f} positions/s"]
        if live.look == live.look:
            parts.insert(0, f"worth of the first move {live.look:+.2f}")
        left = live.seconds_left if math.isfinite(live.seconds_left) else None
        listener(Progress("learn", ", ".join(parts), candidate=title, seconds_left=left))

    return watch


def _matches(step: Any, clock: Clock, seed: int, listener: Listener | None) -> tuple[dict[str, Played], Played]:
    """(opponent -> games), as many as the clock allows, and one game against itself."""
    rules, made = step.rules, {}
    began = time.perf_counter()
    own = policy_player(step, seed=derive(seed, "itself"))
    sample = match(rules, own, own, 1, begins=True)
    one = max(time.perf_counter() - began, 1e-3)
    names = opponents(rules)
    for i, word in enumerate(names):
        count = GAMES
        if clock.limit is not None:
            left = max(clock.left() - _SECONDS, 1.0) / (len(names) - i)
            # Games are played side by side, so that many cost less than as many times one.
            count = int(min(max(4 * left / one, 10), GAMES))
        player = policy_player(step, seed=derive(seed, "test", word))
        made[word] = match(rules, player, opponent(rules, word, derive(seed, "opponent", word)), count)
        if listener:
            listener(Progress("evaluate", f"{count} games against {named(word)}"))
    return made, sample


def evaluation_of(played: dict[str, Played], rules: Rules) -> Evaluation:
    """Matches as metrics, and one sentence."""
    metrics = []
    for word, games in played.items():
        said, n = games.summary(), len(games.scores)
        key = word.replace(":", "_")
        for name, title in (("won", "won"), ("lost", "lost")):
            low, high = wilson(said[name], n)
            metrics.append(Metric(f"{name}_{key}", said[name] / n, low, high, "higher" if name == "won" else "lower",
                                  f"Share of {n} games against {named(word)} that it {title}."))  # fmt: skip
        metrics.append(Metric(f"score_{key}", said["mean"], said["low"], said["high"], "higher",
                              f"Mean score against {named(word)}; at most {rules.worth:g}."))  # fmt: skip
    return Evaluation("act", "games", metrics, headline(played, rules), [], curves={})


def headline(played: dict[str, Played], rules: Rules) -> str:
    """One sentence."""
    parts = []
    for word, games in played.items():
        said = games.summary()
        drawn = f", {said['drawn']:.0f} drawn" if said["drawn"] else ""
        parts.append(f"{said['won']:.0f} of {len(games.scores)} games won against {named(word)}{drawn}, "
                     f"{said['lost']:.0f} lost")  # fmt: skip
    return f"{'; '.join(parts)}: {rules.word.replace('_', ' ')} from its rules alone."


def _describe(
    model: BoardModel, evaluation: Evaluation, findings: list[Finding], best: choice.Tried, seed: int, game: str
) -> None:
    import datetime
    import hashlib

    name = game.replace(":", "_")
    model.manifest |= {
        "name": name,
        "title": f"{name}: {best.card.title}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "headline": evaluation.headline,
        "findings": [f.to_dict() for f in findings],
        "metrics": [
            {"name": m.name, "value": m.value, "low": m.low, "high": m.high, "source": "games"}
            for m in evaluation.metrics
        ],
        "steps": int(getattr(best.agent, "positions_", 0)),
        "episodes": int(getattr(best.agent, "games_", 0)),
        "stopped": best.ended,
    }
    mark = hashlib.sha256(f"{model.step.rules.word} {model.step.rules.settings}".encode()).hexdigest()  # type: ignore[attr-defined]
    model.manifest["provenance"] |= {"data_fingerprint": mark, "seed": seed}


def _result(model: BoardModel, board: list[choice.Tried], best: choice.Tried) -> SearchResult:
    rows = [
        {
            "model": t.card.title,
            "card": t.card.name,
            "score": t.figures.get("mean"),
            "score_low": t.figures.get("low"),
            "score_high": t.figures.get("high"),
            "fit_seconds": round(t.seconds, 3),
            "weight": float(t is best),
            "status": t.failed or "ok",
            "steps": int(getattr(t.agent, "positions_", 0)) or None,
            "episodes": int(getattr(t.agent, "games_", 0)) or None,
            "ended_by": t.ended,
        }
        for t in board
    ]
    failures = [(t.card.title, t.failed) for t in board if t.failed]
    return SearchResult.of_one(model, rows, best.card.name, failures, getattr(best.agent, "interrupted_", False))


def _story(
    model: BoardModel,
    board: list[choice.Tried],
    best: choice.Tried,
    played: dict[str, Played],
    sample: Played,
    result: SearchResult,
    evaluation: Evaluation,
    findings: list[Finding],
    seed: int,
    clock: Clock,
    timing: dict[str, float],
    model_file: Path,
    game: str,
) -> dict[str, Any]:
    from everymodel.workflow.reinforce.story import told_of
    from everymodel.workflow.story import plain

    step: Any = model.step
    rules, count = step.rules, sum(len(p.scores) for p in played.values())
    note = f"Tested in {count} games that nothing was learnt from; each side began every other game."
    told = told_of(model, result, evaluation, findings, seed, clock, timing, model_file, game, note)
    told["title"] = f"{best.card.title}: {game.replace('_', ' ')}"
    told["split"] |= {"train": model.manifest["episodes"], "test": count}
    told["rows"] = model.manifest["steps"]
    file = shlex.quote(str(model_file))
    told["how_to"] = {
        "python": f'import everymodel as em\n\nplayer = em.load("{model_file}")\nplayer.act([])  # the first move\n'
        'player.evaluate(100, env="uct:1000")',
        "cli": f"everymodel play {file} --second",
        "rest": f"everymodel serve {file}\ncurl -s localhost:8000/v1/act -H 'content-type: application/json' "
        "-d '{\"moves\": []}'",
    }
    h, w = rules.board
    facts = [("the rules of", rules.word.replace("_", " ")), ("board", f"{h} x {w}"), ("actions", str(rules.actions))]
    facts += [(name, f"{value:g}") for name, value in rules.settings.items()]
    facts.append(("looks ahead", f"{step.simulations:,} positions before a move"))
    told["structure"] = plain(
        {
            "environment": game,
            "facts": facts,
            "goal": None,
            "matches": [{"opponent": named(k), **p.summary()} for k, p in played.items()],
            "opening": _opening(step),
            "game": _shown(rules, sample),
            "curves": [
                {"model": t.card.title, "chosen": t is best, **shown.curve(t.agent.curve_)}
                for t in board
                if t.agent is not None
            ],
            "steps": model.manifest["steps"],
            "episodes": model.manifest["episodes"],
            "stopped": best.ended,
            "summary": shown.summary(best),
            "settings": {
                k: v
                for k, v in (model.manifest["members"][0].get("parameters") or {}).items()
                if k in rules.settings or k not in ("size", "komi")
            },
            "titles": {},
            "test": {},
            "by_chance": {},
        }
    )
    return told


def _opening(step: Any) -> dict[str, Any]:
    """What it thinks of the first move."""
    found = step.look(step.rules.start(1))
    share = found.policy[0] / max(float(found.policy[0].sum()), 1e-12)
    names = [step.rules.name(a) for a in range(step.rules.actions)]
    return {"board": list(step.rules.board), "shares": share, "names": names, "value": float(found.value[0])}


def _shown(rules: Rules, sample: Played) -> dict[str, Any]:
    """One game against itself: its moves and its end."""
    moves = sample.moves[0]
    return {
        "moves": " ".join(rules.name(a) for a in moves),
        "text": rules.text(rules.after(moves)),
        "score": float(sample.scores[0]),
    }
