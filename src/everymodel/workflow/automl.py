"""The search: baselines first, then candidates in the order in which they most likely help, then a blend of the best.

Every fit is a job for the crew: one candidate on one fold, in a process that can be killed. All that is decided here
is which job comes next, when to end, and who is in the blend; so a killed run, replayed from its ledger, decides the
same again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.errors import BudgetError, DataError
from everymodel.core.settings import Settings
from everymodel.scoring.graph import Node, Pack
from everymodel.workflow.search import plan
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.search.crew import warm_up as _warm_up
from everymodel.workflow.search.ensemble import Judge, calibration, greedy, join, mix
from everymodel.workflow.search.ledger import Ledger
from everymodel.workflow.search.plan import Candidate
from everymodel.workflow.train import Job, Member
from everymodel.workflow.types import Listener, Problem, Progress, SearchResult

MOST_MS = 3.6  # one row through the final pack, of the 5 ms that are promised
MOST_BYTES = 18_000_000
BIG = 200_000  # rows above which candidates are compared on a sample
SAMPLE, SAMPLE_VALID = 60_000, 30_000
SLOT = 0.11  # share of all processor seconds that the first fold of one candidate may take


def search(
    problem: Problem,
    *,
    models: list[str] | None = None,
    clock: Clock | None = None,
    trials: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    cores: int = 2,
    prefer: str | None = None,
    fingerprint: str = "",
) -> SearchResult:
    """Find the model, or the blend of models, that answers best by out-of-fold answers on the training rows.

    Parameters
    ----------
    problem : training rows only; the test part never comes here.
    models : names from the catalogue; None: all that suit.
    clock : the search returns before it runs out, with everything packed.
    trials : number of candidates after the baselines. Without a clock the result depends on nothing but the problem.
    folder : where finished fits are kept; with `resume` they are not fitted again.
    listener : called with Progress events.
    cores : fits at once, or threads of one fit where only one runs.
    prefer : "accurate" (default), "fast" (a light single model) or "simple" (one that can be read).

    Raises
    ------
    ParameterError for unknown names or a folder of another run, BudgetError when nothing could be fitted.
    """
    _check(problem)
    run = _Search(problem, models, clock or Clock(None), trials, folder, resume, listener, cores, prefer, fingerprint)
    try:
        return run.go()
    finally:
        run.close()


def warm_up(models: list[str] | None = None) -> None:
    """Start the fitting process now, so that it loads its libraries while the table is being read."""
    wanted = [m.strip().lower() for m in models or []]
    cards = [c for c in catalog.cards() if catalog.available(c) and c.kind in ("classifier", "regressor")]
    if wanted:
        cards = [c for c in cards if c.name in wanted or c.class_name.lower() in wanted or c.name == plan.DUMMY]
    else:
        cards = [c for c in cards if c.priority is not None and c.priority <= 40]
    _warm_up([(c.name, c.kind) for c in sorted(cards, key=lambda c: (c.priority or 0, c.name))])


def _check(problem: Problem) -> None:
    if problem.task in ("binary", "multiclass") and len(np.unique(problem.y)) < 2:
        raise DataError(
            "All rows to learn from have the same class, so there is nothing to tell apart. "
            "Check the target column, or give more rows."
        )
    if not problem.folds:
        raise DataError("There are no folds to validate on; at least 2 rows are needed.")


class _Search:
    """One search. Decisions are made in `_next`, from finished work and the clock alone."""

    def __init__(
        self,
        problem: Problem,
        models: list[str] | None,
        clock: Clock,
        trials: int | None,
        folder: str | os.PathLike[str] | None,
        resume: bool,
        listener: Listener | None,
        cores: int,
        prefer: str | None,
        fingerprint: str,
    ):
        self.problem, self.clock, self.trials = problem, clock, trials
        self.models, self.prefer, self.cores = models, prefer or "accurate", max(1, cores)
        self.listener = listener or (lambda event: None)
        self.n = problem.batch.n
        self.timed = clock.limit is not None
        self.big = self.timed and self.n > BIG
        self.forward = self._is_forward()
        self.folds = self._make_folds()
        self.k = len(self.folds)
        self.cards = plan.choose_cards(problem, models, prefer)
        self.candidates: list[Candidate] = []
        self.pending: list[tuple[Candidate, int]] = []
        self.jobs: dict[int, tuple[Candidate, int, str]] = {}
        self.failures: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.started = clock.elapsed()
        self.total = (clock.limit or 0.0) - self.started  # seconds given to the search
        self.reserve = 0.0 if not self.timed else self._closing_time()
        self.stopped = "finished"
        self.first = Judge(problem.metric, problem.task, problem.y[self.folds[0][1]], problem.seed, 20, 6_000)
        self.standing: tuple[int, np.ndarray, list[Candidate]] = (-1, np.zeros(0), [])
        settings = {
            "models": models,
            "prefer": self.prefer,
            "metric": problem.metric,
            "seed": problem.seed,
            "data": fingerprint_of(problem),
            "source": fingerprint,
        }
        self.ledger = Ledger(folder, settings, resume)
        self.memory = free_memory()
        self.crew = Crew(problem, self.cores, _share_of(self.memory, self.cores))

    def _closing_time(self) -> float:
        """Seconds kept for choosing, joining and closing."""
        wide = max(len(self.problem.schema.classes), 1)
        return min(0.5 + 0.01 * self.total + 1e-6 * self.n * wide**0.5, 0.3 * self.total)

    def close(self) -> None:
        self.crew.close()
        self.ledger.close()

    # ---- rows ------------------------------------------------------------------------------------------------------

    def _is_forward(self) -> bool:
        """Folds that do not use all rows go forward in time: their models are fitted again on everything at the end."""
        fit, valid = self.problem.folds[0]
        return len(self.problem.folds) > 1 and len(fit) + len(valid) < self.n

    def _make_folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        folds = self.problem.folds
        if not self.big:
            return folds
        fit, valid = folds[-1] if self.forward else folds[0]
        rng = np.random.default_rng(seeds.derive(self.problem.seed, "sample"))
        if len(valid) > SAMPLE_VALID:
            chosen = np.sort(rng.choice(len(valid), SAMPLE_VALID, replace=False))
            if not self.forward:  # what is not validated on can be learnt from
                fit = np.sort(np.concatenate([fit, np.delete(valid, chosen)])) if not self._grouped() else fit
            valid = valid[chosen]
        return [(fit, valid)]

    def _grouped(self) -> bool:
        return any(c.role in ("group", "time") for c in self.problem.schema.columns)

    def _rows(self, candidate: Candidate, fold: int) -> tuple[np.ndarray, np.ndarray]:
        fit, valid = self.folds[fold]
        if self.big and not candidate.full and len(fit) > SAMPLE:
            rng = np.random.default_rng(seeds.derive(self.problem.seed, "sample", fold))
            fit = np.sort(rng.choice(fit, SAMPLE, replace=False))
        return fit, valid

    # ---- the run ---------------------------------------------------------------------------------------------------

    def go(self) -> SearchResult:
        base = plan.baselines(self.problem, self.models)
        self.queue = plan.portfolio(self.problem, self.cards, {c.key for c in base})
        kinds = [(c.card.name, c.card.kind) for c in base]
        self.crew.preload(kinds)
        for candidate in base:
            self._admit(candidate, every_fold=True)
        self._announce()
        try:
            self._fill()
            seen = set(kinds)
            for candidate in self.queue:
                pair = (candidate.card.name, candidate.card.kind)
                if pair not in seen and (self.trials is None or len(seen) < self.trials + len(kinds)):
                    self.crew.preload([pair])
                    seen.add(pair)
                    if len(seen) <= 6:
                        self._fill()
            self._loop()
        except KeyboardInterrupt:
            self.stopped = "interrupted"
        try:
            return self._finish()
        except KeyboardInterrupt:
            self.stopped = "interrupted"
            return self._finish(hurry=True)

    def _loop(self) -> None:
        while True:
            self._fill()
            if not self.jobs:
                return
            left = self.clock.left() - self.reserve
            if left <= 0:
                self.stopped = "budget"
                return
            for number, (status, value) in self.crew.wait(None if left == float("inf") else left):
                candidate, fold, key = self.jobs.pop(number)
                self._record(candidate, fold, status, value, key)

    def _fill(self) -> None:
        """Hand out jobs while there is room; what the ledger knows is not fitted again."""
        while len(self.jobs) < self._width():
            item = self._next()
            if item is None:
                return
            candidate, fold = item
            fit, valid = self._rows(candidate, fold)
            job = self._job(candidate, fit, valid, seeds.derive(self.problem.seed, candidate.repeat, "fold", fold))
            key = f"{candidate.key}|{fold}|{len(fit)}"
            known = self.ledger.get(key)
            if known is not None:
                self._record(candidate, fold, *known, key="")
                continue
            stop_at, kill_at = self._deadlines(candidate, fold)
            self.jobs[self.crew.submit(job, stop_at, kill_at)] = (candidate, fold, key)

    def _width(self) -> int:
        """Fits at once: all cores, but big tables and full fits have the machine for themselves."""
        return 1 if self.big and any(c.full for c, *_ in self.jobs.values()) else self.cores

    def _job(self, candidate: Candidate, fit: np.ndarray, valid: np.ndarray, seed: int) -> Job:
        threads = self.cores if candidate.full and self.timed else 1
        return Job(
            candidate.card.name,
            candidate.card.kind,
            candidate.parameters,
            fit,
            valid,
            seed,
            threads,
            candidate.target,
        )

    def _deadlines(self, candidate: Candidate, fold: int) -> tuple[float | None, float | None]:
        """Moments (monotonic) at which a fit is asked to end and at which it is killed."""
        if not self.timed:
            return None, None
        now = time.monotonic()
        last = now + self.clock.left() - self.reserve
        slot = self.total * self.cores * SLOT * (1.5 if self.models else 1.0)
        if candidate.members:
            slot = max(1.5 * candidate.fold_seconds, 0.02 * self.total, 1.0)
        if candidate.full:
            slot = self.clock.left()
        # What comes after the fit (packing, answering, proving) counts too, and is never cut short on purpose.
        same = [m.after for c in self.candidates if c.card is candidate.card for m in c.members.values()]
        after = 1.3 * max(same) if same else 0.2 * slot
        stop_at = min(now + slot, last - after - 0.2 - 1e-6 * self.n)
        return stop_at, min(now + 2.0 * slot + 2.0 * after + 1.0, last)

    # ---- what comes next -------------------------------------------------------------------------------------------

    def _admit(self, candidate: Candidate, every_fold: bool) -> None:
        self.candidates.append(candidate)
        for fold in range(self.k if every_fold else 1):
            self._ask(candidate, fold)

    def _ask(self, candidate: Candidate, fold: int) -> None:
        candidate.asked.add(fold)
        self.pending.append((candidate, fold))

    def _next(self) -> tuple[Candidate, int] | None:
        while True:
            while self.pending:
                candidate, fold = self.pending.pop(0)
                if not candidate.failed and fold not in candidate.members:
                    if self._affordable(candidate, 1):
                        return candidate, fold
                    candidate.asked.discard(fold)
            if not (self._next_by_trials() if not self.timed else self._next_by_clock()):
                return None

    def _next_by_trials(self) -> bool:
        """One candidate at a time, all folds, so that the order of finishing cannot matter."""
        if self.jobs:
            return False
        tried = sum(c.origin != "baseline" for c in self.candidates)
        limit = self.trials if self.trials is not None else len(self.queue) + tried
        if tried >= limit:
            self.stopped = "trials" if self.trials is not None else "finished"
            return False
        candidate = self._new()
        if candidate is None:
            return False
        self._admit(candidate, every_fold=True)
        return True

    def _next_by_clock(self) -> bool:
        """Put work into `pending`; False when nothing is worth starting now."""
        if self.clock.left() <= self.reserve:
            return False
        tried = sum(c.origin != "baseline" for c in self.candidates)
        families = min(6, len(self.queue) + tried)
        limit = self.trials if self.trials is not None else 10**9
        waiting = any(f == 0 and not c.members for c, f, _ in self.jobs.values())
        early = self.clock.elapsed() - self.started < self.total * (0.6 if waiting else 0.35)
        if tried < families and tried < limit and early:  # every family has its turn before any is looked at closely
            candidate = self._new()
            if candidate is not None:
                self._admit(candidate, every_fold=False)
                return True
        if self._promote():
            return True
        while tried < limit:
            candidate = self._new()
            if candidate is None:
                return False
            if self._affordable(candidate, self.k):
                self._admit(candidate, every_fold=False)
                return True
            if candidate.origin == "tuned":
                return False
        return False

    def _new(self) -> Candidate | None:
        """The next candidate of the portfolio, then tuned ones and repeats of the best."""
        while self.queue:
            candidate = self.queue.pop(0)
            reason = self._unfit(candidate)
            if not reason:
                return candidate
            self.failures.append({"model": candidate.name, "reason": reason})
        return plan.refine(self.candidates, self.problem, self.k, self.cards)

    def _unfit(self, candidate: Candidate) -> str:
        """Why a candidate is not tried, in words; empty when it is."""
        card, fit = candidate.card, len(self._rows(candidate, 0)[0])
        most = card.need("max_rows")
        if most and fit > most and not self.models:
            return f"not tried: {fit:,} rows are more than the {most:,} that suit this model"
        if self.timed:
            expected = self._expected(candidate)
            if not candidate.graceful and expected > 1.5 * self.total * self.cores * SLOT:
                return f"not tried: it would take about {expected:.0f} s for one fold"
        return ""

    def _expected(self, candidate: Candidate) -> float:
        """Seconds of one fold: measured where one is done, else by the card."""
        if candidate.members:
            factor = 1.0
            if candidate.full:
                factor = len(self.folds[0][0]) / min(SAMPLE, len(self.folds[0][0])) / (0.7 * self.cores + 0.3)
            return candidate.fold_seconds * factor
        same = [c for c in self.candidates if c.card is candidate.card and c.members]
        if same:
            return float(np.mean([c.fold_seconds for c in same]))
        cost = candidate.card.cost
        rows, columns = len(self._rows(candidate, 0)[0]), max(len(self.problem.batch.columns), 1)
        seconds = cost.get("scale", 1e-6) * rows ** cost.get("rows_power", 1) * columns ** cost.get("columns_power", 1)
        many = len(self.problem.schema.classes) if self.problem.task == "multiclass" and candidate.graceful else 1
        return 0.05 + seconds * many**0.5

    def _affordable(self, candidate: Candidate, folds: int) -> bool:
        """Whether so many more folds end before the time does, as far as can be known."""
        if not self.timed or candidate.origin == "baseline":
            return True
        left = self.clock.left() - self.reserve
        rounds = -(-folds // self.cores) if not candidate.full else folds
        need = self._expected(candidate) * rounds
        if candidate.graceful and not candidate.members:
            need = min(need, self.total * self.cores * SLOT)
        return need * (0.7 if candidate.graceful else 1.1) < left

    def _promote(self) -> bool:
        """More folds (or all rows) for candidates that the best blend so far would use."""
        weights, ranked = self._standing()
        order = np.argsort(-weights, kind="stable")
        for i in order:
            candidate = ranked[i]
            if weights[i] <= 0 or candidate.failed:
                continue
            if self.big:
                if not candidate.full and 0 in candidate.members and len(self.folds[0][0]) > SAMPLE:
                    grown = replace(candidate, full=True, members=dict(candidate.members), asked={0})
                    if self._affordable(grown, 1):
                        candidate.full = True
                        known, candidate.members = candidate.members[0], {}
                        self.fallback = (candidate, known)
                        self._ask(candidate, 0)
                        return True
                continue
            missing = [f for f in range(self.k) if f not in candidate.asked]
            while missing and not self._affordable(candidate, len(missing)):
                missing.pop()  # some more models of a bag are better than none
            if missing:
                for fold in missing:
                    self._ask(candidate, fold)
                return True
        return False

    fallback: tuple[Candidate, Member] | None = None

    def _standing(self) -> tuple[np.ndarray, list[Candidate]]:
        """(weights, candidates) of the best blend on the first fold's validation rows."""
        ready = [c for c in self.candidates if 0 in c.members and not c.failed]
        version = sum(len(c.members) for c in ready)
        if self.standing[0] != version:
            answers = [self._answers_on(c, 0) for c in ready]
            weights = greedy(self.first, answers, allowed=self._fits(ready), rounds=10) if ready else np.zeros(0)
            self.standing = (version, weights, ready)
        return self.standing[1], self.standing[2]

    # ---- what comes back -------------------------------------------------------------------------------------------

    def _record(self, candidate: Candidate, fold: int, status: str, value: Any, key: str = "") -> None:
        if status == "failed":
            if self.fallback and self.fallback[0] is candidate:
                candidate.members[0] = self.fallback[1]  # the fit on the sample still stands
            elif not candidate.members:
                candidate.failed = str(value)
            self.failures.append({"model": candidate.name, "reason": str(value), "fold": fold})
            if key and not _by_clock(value):
                self.ledger.put(key, candidate.name, status, value)
            return
        member: Member = value
        candidate.members[fold] = member
        candidate.members = dict(sorted(candidate.members.items()))  # whichever fold ended first
        if key:
            self.ledger.put(key, candidate.name, status, member)
        if self.fallback and self.fallback[0] is candidate:
            self._keep_better(candidate, self.fallback[1])
        if fold == 0:
            candidate.loss = self.first.loss(self._answers_on(candidate, 0))
        if len(candidate.members) == self.k:
            losses = [self._fold_loss(candidate, f) for f in range(self.k)]
            candidate.mean_loss = float(np.mean(losses))
        if len(candidate.members) == self.k or fold == 0:
            self._announce(candidate)
        # Small tables: one fold says little and the others cost little.
        small = member.seconds * (self.k - 1) < 0.02 * self.total * self.cores
        if self.timed and not self.big and candidate.origin != "baseline" and small and self._promising(candidate):
            for f in range(self.k):
                if f not in candidate.asked:
                    self._ask(candidate, f)

    def _fold_loss(self, candidate: Candidate, fold: int) -> float:
        if fold == 0 and np.isfinite(candidate.loss):
            return candidate.loss
        y = self.problem.y[self.folds[fold][1]]
        judge = Judge(self.problem.metric, self.problem.task, y, self.problem.seed, 0)
        return judge.loss(self._answers_on(candidate, fold))

    def _keep_better(self, candidate: Candidate, sample: Member) -> None:
        self.fallback = None
        full = candidate.members[0]
        if self.first.loss(self._member_answers(sample, candidate)) < self.first.loss(
            self._member_answers(full, candidate)
        ):
            candidate.members[0] = sample

    def _promising(self, candidate: Candidate) -> bool:
        """Not far behind on the first fold."""
        best = min((c.loss for c in self.candidates if np.isfinite(c.loss)), default=np.inf)
        dummy = self.candidates[0].loss
        return not np.isfinite(dummy) or candidate.loss <= best + 0.35 * max(dummy - best, 0)

    def _member_answers(self, member: Member, candidate: Candidate, fold: int = 0) -> np.ndarray:
        if member.output != "scores":
            return member.answers
        step = candidate.after or calibration(member.answers, self.problem.y[self.folds[fold][1]], self.problem.task)
        return step(member.answers)

    def _answers_on(self, candidate: Candidate, fold: int) -> np.ndarray:
        return self._member_answers(candidate.members[fold], candidate, fold)

    def oof(self, candidate: Candidate) -> np.ndarray:
        """Out-of-fold answers on all training rows; NaN where no fold answered. Scores are calibrated first."""
        some = next(iter(candidate.members.values()))
        raw = np.full((self.n, *some.answers.shape[1:]), np.nan)
        for fold, member in candidate.members.items():
            raw[self.folds[fold][1]] = member.answers
        if some.output == "scores":
            known = np.isfinite(raw).reshape(self.n, -1).all(1)
            candidate.after = calibration(raw[known], self.problem.y[known], self.problem.task)
            whole = np.full((self.n, 2 if raw.ndim == 1 else raw.shape[1]), np.nan)
            whole[known] = candidate.after(raw[known])
            return whole
        return raw

    def _announce(self, candidate: Candidate | None = None) -> None:
        from everymodel.scoring.metrics import METRICS

        higher = METRICS[self.problem.metric].better == "higher" if self.problem.metric in METRICS else False

        def shown(loss: float) -> float | None:
            return None if not np.isfinite(loss) else 1 - loss if higher else loss

        best = min((c.loss for c in self.candidates), default=np.inf)
        done = sum(bool(c.members) for c in self.candidates)
        now = round(self.clock.elapsed() - self.started, 3)
        if candidate is not None and np.isfinite(best):
            self.history.append(
                {"seconds": now, "model": candidate.name, "score": shown(candidate.loss), "best": shown(best)}
            )
        self.listener(
            Progress(
                "search",
                self._estimate() if candidate is None else "",
                candidate.name if candidate else "",
                shown(candidate.loss) if candidate else None,
                shown(best),
                done,
                None if self.trials is None else self.trials + len(plan.baselines(self.problem, self.models)),
                self.clock.left() if self.timed else None,
            )
        )

    def _estimate(self) -> str:
        """Before anything is fitted: how long, how much memory."""
        columns = max(len(self.problem.batch.columns), 1)
        need = self.n * columns * 8 * (2 + 2 * self.cores) / 2**30
        had = "" if self.memory is None else f" of {self.memory / 2**30:.1f} GiB free"
        limit = f"{self.total:.0f} s" if self.timed else f"{self.trials or len(self.queue)} candidates"
        return f"{len(self.queue)} candidates planned within {limit}; about {need:.2f} GiB{had}"

    # ---- the end ---------------------------------------------------------------------------------------------------

    def _finish(self, hurry: bool = False) -> SearchResult:
        for number, (candidate, fold, _) in self.jobs.items():
            self.crew.kill(number)
            reason = "stopped on request" if self.stopped == "interrupted" else "not finished in time"
            self.failures.append({"model": candidate.name, "reason": reason, "fold": fold})
            if not candidate.members:
                candidate.failed = reason
        self.jobs.clear()
        ready = [c for c in self.candidates if c.members and not c.failed]
        if not ready:
            ready = [self._fallback_dummy()]
        final, rows = self._finalists(ready)
        judge = Judge(self.problem.metric, self.problem.task, self.problem.y[rows], self.problem.seed)
        answers = [self.oof(c)[rows] for c in final]
        losses = [judge.loss(a) for a in answers]
        weights = self._choose(judge, final, answers, losses)
        best = self._best_single(final, losses)
        if self.forward and not hurry:
            self._refit([c for c, w in zip(final, weights) if w > 0])
        pack = self._pack([(c, w) for c, w in zip(final, weights) if w > 0])
        oof = mix([self.oof(c) for c, w in zip(final, weights) if w > 0], [w for w in weights if w > 0])
        known = {"dummy": self.candidates[0] if self.candidates and self.candidates[0].members else None,
                 "simple": next((c for c in ready if c.card.name == plan.SIMPLE[self.problem.task]), None),
                 "best_single": best}  # fmt: skip
        known = {k: c for k, c in known.items() if c is not None and c.members}
        board = self._leaderboard(judge, rows, ready, final, weights, oof)
        members = [
            {"model": c.name, "card": c.card.name, "weight": round(float(w), 6), "parameters": c.parameters,
             "target": c.target, "models": len(c.members) if c.refitted is None else 1}
            for c, w in zip(final, weights) if w > 0
        ]  # fmt: skip
        members.sort(key=lambda m: -m["weight"])
        self.ledger.finish({c.key for c, w in zip(final, weights) if w > 0})
        return SearchResult(
            pack,
            board,
            oof,
            {k: self.oof(c) for k, c in known.items()},
            {k: self._pack([(c, 1.0)]) for k, c in known.items()},
            members,
            self.failures,
            self.stopped,
            self.history,
        )

    def _finalists(self, ready: list[Candidate]) -> tuple[list[Candidate], np.ndarray]:
        """(candidates, rows on which all of them have out-of-fold answers): those with nearly all folds, or, where a
        surely better one could not get that far, those with the first fold."""
        most = max(len(c.members) for c in ready)
        whole = [c for c in ready if len(c.members) >= max(1, 0.6 * most)]
        partial = [c for c in ready if 0 in c.members]
        chosen = whole
        if partial:
            leader = min(partial, key=lambda c: c.loss)
            rival = min((c for c in whole if 0 in c.members), key=lambda c: c.loss, default=None)
            if rival is None or (leader not in whole and self._surely(leader, rival)):
                chosen = partial
        known, kept = np.ones(self.n, bool), []
        for c in sorted(chosen, key=lambda c: (-len(c.members), c.loss)):
            both = known & np.isfinite(self.oof(c)).reshape(self.n, -1).all(1)
            if both.any():
                known, kept = both, [*kept, c]
        return kept, np.flatnonzero(known)

    def _surely(self, leader: Candidate, rival: Candidate) -> bool:
        gain, noise = self.first.gain(self._answers_on(leader, 0), self._answers_on(rival, 0))
        return gain > noise

    def _choose(
        self, judge: Judge, final: list[Candidate], answers: list[np.ndarray], losses: list[float]
    ) -> np.ndarray:
        """Weights of the final blend; a single model where a blend is not worth it."""
        usable = [i for i, c in enumerate(final) if c.card.name != plan.DUMMY] or [0]
        # The baseline itself wins where nothing is better (noise), but not over a model that was asked for.
        best = min(usable if self.models else range(len(final)), key=lambda i: losses[i])
        alone = np.zeros(len(final))
        alone[best] = 1.0
        if self.prefer in ("fast", "simple"):
            rank = {i: (final[i].row_ms if self.prefer == "fast" else _plainness(final[i])) for i in usable}
            near = [i for i in usable if self._near(judge, answers[best], answers[i])]
            pick = min(near or [best], key=lambda i: (rank[i], losses[i]))
            alone[:] = 0
            alone[pick] = 1.0
            return alone
        usable.sort(key=lambda i: losses[i])
        usable = [i for i in usable[:12] if np.isfinite(losses[i])] or [best]

        found = greedy(judge, [answers[i] for i in usable], allowed=self._fits([final[i] for i in usable]))
        weights = np.zeros(len(final))
        weights[usable] = found
        if (weights > 0).sum() > 1:
            blend = mix([answers[i] for i in usable], found)
            gain, noise = judge.gain(blend, answers[best])
            if gain <= 0.3 * noise:
                return alone
        return weights

    def _fits(self, among: list[Candidate]) -> Callable[[list[int]], bool]:
        """Whether candidates can answer together within the time and size of the final pack, with two models each."""

        def allowed(members: list[int]) -> bool:
            chosen = [among[i] for i in set(members)]
            ms, size = sum(self._least_ms(c) for c in chosen), sum(self._least_size(c) for c in chosen)
            return ms < MOST_MS and size < MOST_BYTES

        return allowed

    def _near(self, judge: Judge, best: np.ndarray, other: np.ndarray) -> bool:
        gain, noise = judge.gain(best, other)
        return gain <= max(noise, 1e-12)

    def _least_ms(self, c: Candidate) -> float:
        return c.row_ms / max(len(c.members), 1) * min(2, len(c.members))

    def _least_size(self, c: Candidate) -> float:
        return c.size / max(len(c.members), 1) * min(2, len(c.members))

    def _best_single(self, final: list[Candidate], losses: list[float]) -> Candidate:
        return final[int(np.argmin(losses))]

    def _pack(self, chosen: list[tuple[Candidate, float]]) -> Pack:
        """All fold models of the chosen candidates, as many of each as latency and size allow."""
        most = max(len(c.members) for c, _ in chosen)
        gives = "value" if self.problem.task == "regression" else "probabilities"
        for folds in range(most, 0, -1):
            used = [(c, w, list(c.members.values())[:folds]) for c, w in chosen]
            ms = sum(m.row_ms for c, _, part in used for m in part if c.refitted is None)
            size = sum(m.size for c, _, part in used for m in part if c.refitted is None)
            if (ms <= MOST_MS and size <= MOST_BYTES) or folds == 1:
                break
        parts = []
        for c, w, part in used:
            if c.refitted is not None:
                parts.append((c.refitted, c.after, w))
            else:
                parts += [(m.pack(), c.after, w / len(part)) for m in part]
        return join(parts, gives)

    def _refit(self, chosen: list[Candidate]) -> None:
        """On all rows, with the settings that the folds ended with: for folds that only saw the past."""
        everything = np.arange(self.n)
        for c in sorted(chosen, key=lambda c: c.fold_seconds):
            last = c.members[max(c.members)]
            need = 1.3 * last.seconds * self.n / max(len(self.folds[max(c.members)][0]), 1)
            if self.timed and need > self.clock.left() - 0.5 * self.reserve:
                c.refitted = last.pack()  # fitted on all but the latest rows
                continue
            settings = {**c.parameters, **_average([m.refit for m in c.members.values()])}
            job = Job(c.card.name, c.card.kind, settings, everything, everything[:0], seeds.derive(self.problem.seed, "refit"),
                      1, c.target, early=False)  # fmt: skip
            end = None if not self.timed else time.monotonic() + self.clock.left() - 0.4 * self.reserve
            self.jobs.clear()
            number = self.crew.submit(job, end, end)
            while number in self.crew.running:
                for done, (status, value) in self.crew.wait(1.0):
                    if done == number:
                        c.refitted = value.pack() if status == "done" else last.pack()
            if c.refitted is None:
                c.refitted = last.pack()

    def _fallback_dummy(self) -> Candidate:
        """When even the baseline was lost: what any row would be guessed without looking."""
        from everymodel.scoring.steps.constant import Constant, ConstantProbabilities

        y, task = self.problem.y, self.problem.task
        if task == "regression":
            value = np.asarray(y.mean(0), float)
            step: Any = Constant(value)
        elif task == "multilabel":
            value = np.asarray(y.mean(0), float)
            step = ConstantProbabilities(value)
        else:
            value = np.bincount(y.astype(int), minlength=max(len(self.problem.schema.classes), 2)) / len(y)
            step = ConstantProbabilities(value)
        spec, arrays = Pack([Node("m", step)]).spec()
        card = plan.baselines(self.problem, ["dummy"])[0].card
        made = Candidate("Dummy baseline", card, {}, origin="baseline")
        for fold, (_, valid) in enumerate(self.folds):
            answers = np.tile(value, (len(valid), *([1] * value.ndim)))
            made.members[fold] = Member(spec, arrays, step.output, answers, 0.0, 0.01, 8)
        self.failures.append({"model": "all", "reason": "no fit ended in time, so the baseline answers"})
        if not self.folds:
            raise BudgetError("Nothing could be fitted in the time given. Give a larger budget.")
        return made

    def _leaderboard(
        self,
        judge: Judge,
        rows: np.ndarray,
        ready: list[Candidate],
        final: list[Candidate],
        weights: np.ndarray,
        blend: np.ndarray,
    ) -> list[dict[str, Any]]:
        from everymodel.scoring.metrics import METRICS

        higher = METRICS[self.problem.metric].better == "higher"
        weight = {id(c): float(w) for c, w in zip(final, weights)}
        board = []

        def row(name: str, card: str, answers: np.ndarray | None, here: Judge, **more: Any) -> dict[str, Any]:
            loss, noise = (here.loss(answers), here.spread(answers)) if answers is not None else (np.inf, np.inf)
            low, high = loss - 1.645 * noise, loss + 1.645 * noise
            if higher:
                loss, low, high = 1 - loss, 1 - high, 1 - low
            known = bool(np.isfinite(loss) and np.isfinite(low))
            return {"model": name, "card": card, "score": float(loss) if known else None,
                    "score_low": float(low) if known else None, "score_high": float(high) if known else None, **more}  # fmt: skip

        for c in ready:
            whole = any(c is f for f in final)
            answers = self.oof(c)[rows] if whole else self._answers_on(c, 0) if 0 in c.members else None
            board.append(
                row(c.name, c.card.name, answers, judge if whole else self.first, fit_seconds=round(c.seconds, 3),
                    row_ms=round(c.row_ms, 4), size=c.size, weight=round(weight.get(id(c), 0.0), 4),
                    folds=len(c.members), parameters=c.parameters, target=c.target, origin=c.origin,
                    status="ok" if len(c.members) == self.k else f"{len(c.members)} of {self.k} folds")
            )  # fmt: skip
        if sum(w > 0 for w in weights) > 1:
            used = [c for c, w in zip(final, weights) if w > 0]
            board.append(
                row(f"Blend of {len(used)}", "blend", blend[rows], judge, fit_seconds=round(sum(c.seconds for c in used), 3),
                    row_ms=round(sum(c.row_ms for c in used), 4), size=sum(c.size for c in used), weight=1.0,
                    folds=self.k, parameters={}, target="", origin="blend", status="ok")
            )  # fmt: skip
        sign = -1 if higher else 1
        board.sort(key=lambda r: (r["score"] is None, sign * (r["score"] or 0), r["model"]))
        for c in self.candidates:
            if c.failed:
                board.append({"model": c.name, "card": c.card.name, "score": None, "score_low": None, "score_high": None,
                              "fit_seconds": None, "row_ms": None, "size": None, "weight": 0.0, "folds": 0,
                              "parameters": c.parameters, "target": c.target, "origin": c.origin,
                              "status": c.failed})  # fmt: skip
        return board


# ---- small things --------------------------------------------------------------------------------------------------


def _by_clock(reason: str) -> bool:
    """Failures that say something about this run's clock and machine, not about the model."""
    return any(word in reason for word in ("out of time", "out of memory", "not needed", "process", "signal"))


def _plainness(candidate: Candidate) -> tuple[int, int]:
    order = {"linear": 0, "bayes": 1, "tree": 2}
    return order.get(candidate.card.family, 3), candidate.size


def _average(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of the numbers (whole ones rounded), first of anything else."""
    made = {}
    for name in settings[0] if settings else {}:
        values = [s[name] for s in settings if name in s]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            mean = float(np.mean(values))
            made[name] = max(1, round(mean)) if all(isinstance(v, int) for v in values) else mean
        else:
            made[name] = values[0]
    return made


def fingerprint_of(problem: Problem) -> str:
    """SHA-256 of everything that the search learns from."""
    digest = hashlib.sha256(repr((problem.task, problem.schema.to_dict())).encode())
    for name, values in problem.batch.columns.items():
        digest.update(name.encode())
        if values.dtype.hasobject:
            digest.update("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))
        else:
            digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(problem.y).tobytes())
    for fit, valid in problem.folds:
        digest.update(np.ascontiguousarray(fit).tobytes() + b"|" + np.ascontiguousarray(valid).tobytes())
    return digest.hexdigest()


def free_memory() -> float | None:
    """Bytes that could still be had, as far as the system says."""
    try:
        text = Path("/proc/meminfo").read_text()
        return float(text.split("MemAvailable:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None


def _share_of(memory: float | None, cores: int) -> float | None:
    return None if memory is None else memory * Settings.load().memory_share / cores


def learning_curve(problem: Problem, result: SearchResult, *, clock: Clock | None = None) -> list[dict[str, float]]:
    """Validated score of the best single model on growing parts of the training rows.

    Rows: {"rows", "score", "train_score"} for about 6 sizes, fewer where the clock runs out.
    """
    from everymodel.scoring.metrics import score

    clock = clock or Clock(None)
    best = next(
        (r for r in result.leaderboard if r["card"] not in ("blend", plan.DUMMY) and r["score"] is not None), None
    )
    if best is None:
        return []
    fit, valid = problem.folds[0]
    rng = np.random.default_rng(seeds.derive(problem.seed, "learning curve"))
    order = rng.permutation(fit)
    sizes = sorted({int(s) for s in np.geomspace(min(50, len(fit)), len(fit), 6)})
    curve = []
    with Crew(problem, 1) as crew:
        crew.preload([(best["card"], plan.kind_of(problem.task))])
        for size in sizes:
            if clock.over():
                break
            job = Job(best["card"], plan.kind_of(problem.task), best["parameters"], np.sort(order[:size]), valid,
                      seeds.derive(problem.seed, "curve"), 1, best.get("target") or "plain")  # fmt: skip
            end = None if clock.limit is None else time.monotonic() + clock.left()
            crew.submit(job, end, end)
            for _, (status, member) in crew.wait(None if end is None else clock.left() + 0.5):
                if status == "done" and member.output != "scores":
                    rows = np.sort(order[: min(size, 5000)])
                    inside = member.pack()(problem.batch.take(rows))
                    curve.append(
                        {
                            "rows": size,
                            "score": score(problem.metric, problem.task, problem.y[valid], member.answers),
                            "train_score": score(problem.metric, problem.task, problem.y[rows], inside),
                        }
                    )
    return curve


__all__: list[str] = ["free_memory", "learning_curve", "search", "warm_up"]
_Callback = Callable[[Progress], None]
