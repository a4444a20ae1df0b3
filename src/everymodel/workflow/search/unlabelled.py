"""What rows without a label were good for: models that learnt from them against those that did not.

Both are judged on labelled rows alone, by answers of models that had not seen these labels. Few labels make one
division into folds a matter of luck, so both are fitted again on others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core import seeds
from everymodel.scoring.metrics import METRICS
from everymodel.workflow.search import plan
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.search.ensemble import Judge, mix
from everymodel.workflow.search.final import Final
from everymodel.workflow.search.plan import Candidate
from everymodel.workflow.split import stratified_folds
from everymodel.workflow.train import Job, Member
from everymodel.workflow.types import Problem

SHARE = 0.2  # of a search's seconds, kept for fitting again
REPEATS, FEW, SOME = 2, 200, 1_000  # divisions into folds beyond the first, with fewer labels than FEW; else 1, or none
# Standard errors by which what learnt from other rows too must be better, on average over two figures: one side of a
# test at 5 %. It answers without the others only if it is also right that much more often.
CLEAR = 1.645
FOLDS = 5


def learns(candidate: Candidate) -> bool:
    """Whether the model learns from rows without a label."""
    return bool(candidate.card.need("unlabelled"))


@dataclass
class _Side:
    """One of both: candidates with weights, and what they answer for labelled rows they had not learnt from."""

    chosen: list[tuple[Candidate, float]]
    rounds: list[np.ndarray]  # (n, ...) answers of each division into folds; NaN where there are none


@dataclass
class Settled:
    """Who may answer, and what rows without a label were good for."""

    ready: list[Candidate]
    gain: dict[str, Any] | None = None
    weights: dict[int, float] | None = None  # by id of a candidate: what was found better; None: still to be chosen
    answers: np.ndarray | None = None  # (n, k) of that, for labelled rows that it had not learnt from

    def weigh(self, candidates: list[Candidate]) -> np.ndarray | None:
        """Weights (len(candidates),) that were judged, where all that have one are there."""
        if self.weights is None or not set(self.weights) <= {id(c) for c in candidates}:
            return None
        return np.array([self.weights.get(id(c), 0.0) for c in candidates])


def settle(
    final: Final,
    problem: Problem,
    ready: list[Candidate],
    job: Callable[[Candidate, np.ndarray, np.ndarray, int], Job],
    crew: Crew,
    until: float | None,
) -> Settled:
    """Which of both kinds may answer, and what rows without a label were good for.

    Parameters
    ----------
    ready : fitted candidates of both kinds.
    job : makes a fit of a candidate: (candidate, rows to fit, rows to answer, seed).
    until : moment (monotonic) at which fitting again ends; None: when it is done.
    """
    loose = [c for c in ready if learns(c)]
    usual = [c for c in ready if not learns(c)]
    if not loose or all(c.card.name == plan.DUMMY for c in usual):
        return Settled(ready)
    sides = [_side(final, problem, usual, True), _side(final, problem, loose, False)]
    for repeat in range(_repeats(problem)):
        if not _again(problem, sides, repeat, job, crew, until):
            break
    whole = all(np.isfinite(side.rounds[0]).all() for side in sides)
    if len(sides[0].rounds) > 1 and not whole:
        for side in sides:  # not every fold was done; the next division was
            del side.rounds[0]
    best, gain = _decide(problem, sides[0].rounds, sides[1].rounds)
    gain |= {"metric": problem.metric, "model": sides[1].chosen[0][0].name, "repeats": len(sides[0].rounds)}
    gain["verdict"] = _verdict(gain, problem)
    if not gain["chosen"]:
        return Settled(usual, gain)
    used = sides if best == "both" else sides[1:]
    weights = {id(c): w / len(used) for side in used for c, w in side.chosen}
    first = np.mean([side.rounds[0] for side in used], axis=0) if whole else None
    return Settled([c for side in used for c, _ in side.chosen], gain, weights, first)


def _side(final: Final, problem: Problem, candidates: list[Candidate], blend: bool) -> _Side:
    """What would answer if there were no others, with honest answers: weights chosen without a row do answer it."""
    chosen, rows = final.finalists(candidates)
    judge = Judge(problem.metric, problem.task, problem.y[rows], problem.seed)
    answers = [final.oof(c)[rows] for c in chosen]
    losses = [judge.loss(a) for a in answers]
    weights = final.choose(judge, chosen, answers, losses)
    if not blend:
        weights = np.eye(len(chosen))[int(np.argmin(losses))]
    whole = np.full((len(problem.y), *answers[0].shape[1:]), np.nan)
    if len(chosen) > 1:
        joint, single, _ = final.nested(rows, chosen, answers, losses, weights, lambda: False)
        whole[rows] = joint if blend else single
    else:
        whole[rows] = answers[0]
    return _Side([(c, float(w)) for c, w in zip(chosen, weights) if w > 0], [whole])


def _repeats(problem: Problem) -> int:
    """How often both are fitted again on other folds; not where folds follow groups or time."""
    plain = len(problem.folds) > 1 and sum(len(valid) for _, valid in problem.folds) == len(problem.y)
    if not plain or any(c.role in ("group", "time", "split") for c in problem.schema.columns):
        return 0
    return REPEATS if len(problem.y) < FEW else 1 if len(problem.y) < SOME else 0


def _again(
    problem: Problem,
    sides: list[_Side],
    repeat: int,
    job: Callable[[Candidate, np.ndarray, np.ndarray, int], Job],
    crew: Crew,
    until: float | None,
) -> bool:
    """Fit all that is chosen on another division into folds; False where that could not be finished."""
    folds = stratified_folds(problem.y.astype(np.int64), FOLDS, seeds.derive(problem.seed, "again", repeat))
    tasks = [(c, fold) for side in sides for c, _ in side.chosen for fold in range(len(folds))]
    if until is not None:
        expected = sum(c.fold_seconds for c, _ in tasks) / crew.size
        if time.monotonic() + 1.2 * expected > until:
            return False
    found: dict[tuple[int, int], Member] = {}
    waiting, running = list(tasks), {}
    while waiting or running:
        while waiting and len(running) < crew.size:
            c, fold = waiting.pop(0)
            fit, valid = folds[fold]
            seed = seeds.derive(problem.seed, "again", repeat, fold)
            running[crew.submit(job(c, fit, valid, seed), until, until)] = (c, fold)
        for number, (status, value) in crew.wait(None if until is None else max(until - time.monotonic(), 0.01)):
            c, fold = running.pop(number, (None, 0))
            if c is not None and status == "done":
                found[id(c), fold] = value
            elif c is not None:
                waiting = []
        if until is not None and time.monotonic() >= until:
            for number in running:
                crew.kill(number)
            break
    if len(found) < len(tasks):
        return False
    for side in sides:
        parts = []
        for c, _ in side.chosen:
            whole = np.full(side.rounds[0].shape, np.nan)
            for fold, (_, valid) in enumerate(folds):
                member = found[id(c), fold]
                whole[valid] = c.after(member.answers) if member.output == "scores" and c.after else member.answers
            parts.append(whole)
        side.rounds.append(mix(parts, [w for _, w in side.chosen]))
    return True


def _decide(problem: Problem, few: list[np.ndarray], more: list[np.ndarray]) -> tuple[str, dict[str, Any]]:
    """("alone" or "both", its gain over `few`, with "chosen"): whether `more`, or the mean of both, is better.

    Where most answers are right already, few labels say little of the rest: a mean of both then loses little.
    """
    options = {"alone": more, "both": [(a + b) / 2 for a, b in zip(few, more)]}
    compared = {name: _compare(problem, few, rounds) for name, rounds in options.items()}
    clear = {name: found.pop("clear") for name, found in compared.items()}
    clear["alone"] = clear["alone"] and compared["alone"]["sure"][2] >= CLEAR
    best = max(compared, key=lambda name: compared[name]["difference"])  # the better try, where none is clear
    best = next((name for name in options if clear[name]), best)
    return best, compared[best] | {"chosen": clear[best], "mean": clear[best] and best == "both"}


def _compare(problem: Problem, few: list[np.ndarray], more: list[np.ndarray]) -> dict[str, Any]:
    """How much better `more` answers than `few`, with its interval, and whether that is clear.

    Clear is what shows in the metric, in the squared error of the probabilities and in the share of right answers; for
    few labels can favour anything in one of them.
    """
    gains = np.zeros((len(few), 2))
    losses, squares, rights = np.zeros((len(few), 2)), [], []
    known = np.isfinite(few[0]).all(axis=1) & np.isfinite(more[0]).all(axis=1)
    y = problem.y[known].astype(np.int64)
    judge = Judge(problem.metric, problem.task, problem.y[known], problem.seed, 200)
    for i, (a, b) in enumerate(zip(few, more)):
        a, b = a[known], b[known]
        gains[i] = judge.gain(b, a)
        losses[i] = judge.loss(a), judge.loss(b)
        hot = np.eye(a.shape[1])[y]
        squares.append(((a - hot) ** 2).sum(axis=1) - ((b - hot) ** 2).sum(axis=1))
        rights.append((b.argmax(axis=1) == y).astype(float) - (a.argmax(axis=1) == y))
    square, right = np.mean(squares, axis=0), np.mean(rights, axis=0)  # (n,)
    gain, noise = gains.mean(axis=0)
    sure = [gain / max(noise, 1e-12), _sure(square), _sure(right)]  # standard errors; a figure near 1 has none left
    clear = min(sure[:2]) > 1 and sum(sure[:2]) > 2 * CLEAR and right.mean() > 0
    before, after = losses.mean(axis=0)
    if METRICS[problem.metric].better == "higher":
        before, after = 1 - before, 1 - after
    return {
        "labelled_only": float(before),
        "with_unlabelled": float(after),
        "difference": float(gain),
        "low": float(gain - 1.96 * noise),
        "high": float(gain + 1.96 * noise),
        "right": float(right.mean()),
        "sure": [float(s) for s in sure],
        "clear": bool(clear),
    }


def _sure(values: np.ndarray) -> float:
    """The mean of values (n,) in its standard errors."""
    return float(values.mean() / max(values.std() / max(len(values), 1) ** 0.5, 1e-12))


def _verdict(gain: dict[str, Any], problem: Problem) -> str:
    count = problem.unlabelled.n if problem.unlabelled is not None else 0
    by = f"by cross-validation on the {len(problem.y):,} labelled rows"
    word = problem.metric.replace("_", " ")
    figures = f"{word} {gain['with_unlabelled']:.3g} instead of {gain['labelled_only']:.3g}"
    word = "gain" if gain["chosen"] else "difference"
    between = f"a {word} of {gain['difference']:.3g}, {gain['low']:.3g} to {gain['high']:.3g}, {by}"
    if gain["chosen"]:
        how = ", in a mean with what labelled rows alone teach" if gain["mean"] else ""
        return f"Learning from {count:,} rows without a label as well helped{how}: {figures} ({between})."
    return (
        f"Learning from {count:,} rows without a label as well did not clearly help ({figures}: {between}), so "
        "the model was learnt from labelled rows alone."
    )
