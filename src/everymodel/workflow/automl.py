"""The search: baselines first, then candidates in the order in which they most likely help, then a blend of the best.

Every fit is a job for the crew: one candidate on one fold, in a process that can be killed. All that is decided here
is which job comes next, when to end, and who is in the blend; so a killed run, replayed from its ledger, decides the
same again.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.errors import DataError
from everymodel.core.finding import Finding
from everymodel.core.memory import free_memory
from everymodel.scoring.metrics import METRICS
from everymodel.workflow.search import plan, unlabelled
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.search.crew import warm_up as _warm_up
from everymodel.workflow.search.ensemble import Judge, greedy, mix
from everymodel.workflow.search.final import SURE_ROWS, Final
from everymodel.workflow.search.ledger import Ledger
from everymodel.workflow.search.measure import fingerprint_of, learning_curve, share_of
from everymodel.workflow.search.plain import ROWS as PLAIN_ROWS
from everymodel.workflow.search.plain import plain_member
from everymodel.workflow.search.plan import Candidate
from everymodel.workflow.train import Job, Member
from everymodel.workflow.types import Listener, Problem, Progress, SearchResult

BIG = 200_000  # rows above which candidates are compared on a sample
SAMPLE, SAMPLE_VALID = 60_000, 30_000
SLOT = 0.11  # share of all processor seconds that the first fold of one candidate may take
SHORT, FEW_FOLDS = 15.0, 3  # in a search of fewer seconds, small tables are judged on so many of their folds
REACH = 40_000  # cells a second that a short search may spend on the sample on which it compares


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
    options: dict[str, Any] | None = None,
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
    fingerprint, options : of the table, and how it was read and split; a resumed run must have the same.

    Raises
    ------
    ParameterError for unknown names or a folder of another run, DataError for one class or no usable column.
    """
    _check(problem)
    run = _Search(problem, models, clock or Clock(None), trials, folder, resume, listener, cores, prefer,
                  {"source": fingerprint, "options": options or {}})  # fmt: skip
    orderly = False
    try:
        result = run.go()
        orderly = result.stopped != "interrupted"
        return result
    finally:
        run.close(orderly)


def warm_up(models: list[str] | None = None) -> None:
    """Start the fitting process now, so that it loads its libraries while the table is being read."""
    wanted = [m.strip().lower() for m in models or []]
    cards = [c for c in catalog.cards() if catalog.available(c) and c.kind in ("classifier", "regressor")]
    if wanted:
        cards = [c for c in cards if c.name in wanted or c.class_name.lower() in wanted or c.name == plan.DUMMY]
    else:
        cards = [c for c in cards if c.priority is not None and c.priority <= 40 and not c.need("unlabelled")]
        cards = [c for c in cards if c.inputs == ("matrix",) and c.package != "torch"]  # which loads for seconds
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
        origin: dict[str, Any],
    ):
        self.problem, self.clock, self.trials = problem, clock, trials
        self.models, self.prefer, self.cores = models, prefer or "accurate", max(1, cores)
        self.listener = listener or (lambda event: None)
        self.n = problem.batch.n
        self.timed = clock.limit is not None
        self.forward = self._is_forward()
        self.started = clock.elapsed()
        self.total = (clock.limit or 0.0) - self.started  # seconds given to the search
        self.sample, self.sample_valid = self._sizes()
        # Tables too large for the time are searched on a sample, and the best then learn from more rows.
        self.big = self.timed and self.n > (BIG if self.total >= SHORT else 2 * self.sample)
        # Some models on the same three folds say more than one model on five. They are the first of the same folds, so
        # a run that goes on with more time loses nothing.
        small = len(problem.folds[0][1]) < SURE_ROWS and not self.big and not self.forward
        self.quick = self.timed and self.total < SHORT and small
        self.folds = self._make_folds()[: FEW_FOLDS if self.quick else None]
        self.k = len(self.folds)
        self.cards = plan.choose_cards(problem, models, prefer)
        if self.timed and not models and self.total < plan.SLOW_START:
            self.cards = [c for c in self.cards if c.package != "torch" or c.inputs != ("matrix",)]
        self.candidates: list[Candidate] = []
        self.pending: list[tuple[Candidate, int]] = []
        self.jobs: dict[int, tuple[Candidate, int, str]] = {}
        self.failures: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.planned = 0
        self.unaffordable: list[str] = []  # planned models that the time did not allow
        self.reserve = 0.0 if not self.timed else self._closing_time()
        if problem.unlabelled is not None:
            self.reserve += unlabelled.SHARE * max(self.total, 0.0)
        self.stopped = "finished"
        self.findings: list[Finding] = []
        self.first = Judge(problem.metric, problem.task, problem.y[self.folds[0][1]], problem.seed, 20, 6_000)
        self.final = Final(problem, self.folds, self.first, self.prefer, bool(models))
        self.standing: tuple[int, np.ndarray, list[Candidate]] = (-1, np.zeros(0), [])
        settings = {
            "models": models,
            "prefer": self.prefer,
            "metric": problem.metric,
            "seed": problem.seed,
            "data": fingerprint_of(problem),
            **origin,
        }
        self.ledger = Ledger(folder, settings, resume)
        self.memory = free_memory()
        self.crew = Crew(problem, self.cores, share_of(self.memory, self.cores))

    def _closing_time(self) -> float:
        """Seconds kept for choosing, joining and closing."""
        wide = max(len(self.problem.schema.classes), 1)
        return min(0.5 + 0.01 * self.total + 1e-6 * self.n * wide**0.5, 0.3 * self.total)

    def close(self, orderly: bool) -> None:
        self.crew.close(keep=orderly)
        self.ledger.close()
        self.ledger.release()

    # ---- rows ------------------------------------------------------------------------------------------------------

    def _is_forward(self) -> bool:
        """Folds that do not use all rows go forward in time: their models are fitted again on everything at the end."""
        fit, valid = self.problem.folds[0]
        return len(self.problem.folds) > 1 and len(fit) + len(valid) < self.n

    def _sizes(self) -> tuple[int, int]:
        """Rows that candidates are fitted and judged on where the table is too large for the time."""
        if not self.timed or self.total >= SHORT:
            return SAMPLE, SAMPLE_VALID
        reach = REACH * max(self.total, 0.0) / max(len(self.problem.batch.columns), 1)
        fit = int(np.clip(reach, 1_000, SAMPLE))
        return fit, max(fit // 2, 1_000)

    def _make_folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        folds = self.problem.folds
        if not self.big:
            return folds
        fit, valid = folds[-1] if self.forward else folds[0]
        rng = np.random.default_rng(seeds.derive(self.problem.seed, "sample"))
        if len(valid) > self.sample_valid:
            chosen = np.sort(rng.choice(len(valid), self.sample_valid, replace=False))
            if not self.forward:  # what is not validated on can be learnt from
                fit = np.sort(np.concatenate([fit, np.delete(valid, chosen)])) if not self._grouped() else fit
            valid = valid[chosen]
        return [(fit, valid)]

    def _grouped(self) -> bool:
        return any(c.role in ("group", "time") for c in self.problem.schema.columns)

    def _rows(self, candidate: Candidate, fold: int) -> tuple[np.ndarray, np.ndarray]:
        fit, valid = self.folds[fold]
        wanted = candidate.grown or self.sample
        if self.big and len(fit) > wanted:
            rng = np.random.default_rng(seeds.derive(self.problem.seed, "sample", fold))
            fit = np.sort(rng.choice(fit, wanted, replace=False))
        return fit, valid

    # ---- the run ---------------------------------------------------------------------------------------------------

    def go(self) -> SearchResult:
        base = plan.baselines(self.problem, self.models)
        self.queue = plan.portfolio(self.problem, self.cards, {c.key for c in base})
        kinds = [(c.card.name, c.card.kind) for c in base]
        self.planned = len(self.queue)
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
        return 1 if self.big and any(c.grown for c, *_ in self.jobs.values()) else self.cores

    def _slot(self) -> float:
        """Seconds that the first fold of a candidate may take."""
        return self.total * self.cores * SLOT * (1.5 if self.models else 0.7 if self.big else 1.0)

    def _job(self, candidate: Candidate, fit: np.ndarray, valid: np.ndarray, seed: int) -> Job:
        threads = self.cores if candidate.grown and self.timed else 1
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
        slot = self._slot()
        if candidate.members:
            slot = max((3.0 if candidate.short else 2.5) * candidate.fold_seconds, 0.02 * self.total, 1.0)
        if candidate.grown:
            slot = self.clock.left()
        tail = self._tail(candidate)
        stop_at = min(now + slot, last - tail)
        return stop_at, min(now + 2.0 * slot + 2.0 * tail + 1.0, last)

    def _tail(self, candidate: Candidate) -> float:
        """Seconds that a fit needs once it has ended: packing, answering, proving, and a margin."""
        same = [m.after for c in self.candidates if c.card is candidate.card for m in c.members.values()]
        after = 1.3 * max(same) if same else 0.2 * min(self._slot(), self._expected(candidate))
        return after + max(0.2, 0.015 * self.total) + 1e-6 * self.n

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
                if not candidate.failed and (fold not in candidate.members or candidate.grown):
                    if candidate.grown or self._affordable(candidate, 1):
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
        # One small fold says little, so where folds are small the first few are looked at on all of them at once.
        few = self.big or len(self.folds[0][1]) < SURE_ROWS
        families = min(3 if few else 6, len(self.queue) + tried)
        limit = self.trials if self.trials is not None else 10**9
        waiting = any(f == 0 and not c.members for c, f, _ in self.jobs.values())
        early = self.clock.elapsed() - self.started < self.total * (0.5 if waiting and not self.big else 0.35)
        while self.quick and self.queue and tried < min(families, limit):  # the first few on all folds or not at all
            candidate = self._new()
            if candidate is None or candidate.origin != "preset":
                break
            if self._affordable(candidate, self.k):
                self._admit(candidate, every_fold=True)
                return True
            self.unaffordable.append(candidate.name)
        if tried < families and tried < limit and early:  # every family has its turn before any is looked at closely
            candidate = self._new()
            if candidate is not None:
                self._admit(candidate, every_fold=unlabelled.learns(candidate))
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
            if candidate.origin != "preset":  # refining would propose the very same again
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
            if not candidate.graceful and expected > 1.5 * self._slot():
                return f"not tried: it would take about {expected:.0f} s for one fold"
        return ""

    def _expected(self, candidate: Candidate) -> float:
        """Seconds of one fold: measured where one is done, else by the card."""
        if candidate.members:
            return candidate.fold_seconds
        same = [c for c in self.candidates if c.card is candidate.card and c.members]
        if same:
            return float(np.mean([c.fold_seconds for c in same]))
        cost = candidate.card.cost
        rows, columns = len(self._rows(candidate, 0)[0]), max(len(self.problem.batch.columns), 1)
        if self.problem.unlabelled is not None and unlabelled.learns(candidate):
            rows += self.problem.unlabelled.n
        seconds = cost.get("scale", 1e-6) * rows ** cost.get("rows_power", 1) * columns ** cost.get("columns_power", 1)
        many = len(self.problem.schema.classes) if self.problem.task == "multiclass" and candidate.graceful else 1
        return 0.05 + seconds * many**0.5

    def _affordable(self, candidate: Candidate, folds: int, longer: float = 1.0) -> bool:
        """Whether so many more folds, each `longer` times the last, end before the time does, as far as is known."""
        if not self.timed or candidate.origin == "baseline":
            return True
        left = self.clock.left() - self.reserve - self._tail(candidate)
        if left < (0.2 * self._slot() if not candidate.members else 0.0):
            return False
        need = self._expected(candidate) * longer * -(-folds // self.cores)
        if candidate.graceful and not candidate.members:
            need = min(need, self._slot() * (-(-folds // self.cores) if self.quick else 1))
        # What can end early may be a little short of time.
        return need * (0.8 if candidate.graceful else 1.1) < left

    def _growth(self, candidate: Candidate) -> int:
        """Big tables: how many rows this candidate could learn from in the time left; 0 where it is not worth it."""
        rows = len(self.folds[0][0])
        if candidate.grown or rows <= self.sample or not candidate.graceful:
            return 0
        # With all cores a fit is not quite so many times faster, and more rows also deserve more trees.
        times = 0.8 * (self.clock.left() - self.reserve) * (0.6 * self.cores + 0.4) / candidate.fold_seconds
        times /= 2 if candidate.members[0].stopped else 1  # it had not learnt all it could from the sample either
        wanted = min(rows, int(self.sample * times))
        return wanted if wanted >= min(2 * self.sample, rows) else 0

    def _promote(self) -> bool:
        """More folds (or all rows) for candidates that the best blend so far would use."""
        weights, ranked = self._standing()
        order = np.argsort(-weights, kind="stable")
        for i in order:
            candidate = ranked[i]
            if weights[i] <= 0 or candidate.failed:
                continue
            if self.big:
                candidate.grown = candidate.grown or self._growth(candidate)
                if candidate.grown and 0 not in candidate.again:
                    candidate.again.add(0)
                    self._ask(candidate, 0)
                    return True
                continue
            missing = [f for f in range(self.k) if f not in candidate.asked]
            while missing and not self._affordable(candidate, len(missing), 2.5 if candidate.short else 1.0):
                missing.pop()  # some more models of a bag are better than none
            if not missing and candidate.short and self._affordable(candidate, 1):
                missing = [f for f in range(self.k) if f not in candidate.asked][: self.cores]
            if missing:
                for fold in missing:
                    self._ask(candidate, fold)
                return True
        return False

    def _standing(self) -> tuple[np.ndarray, list[Candidate]]:
        """(weights, candidates) of the best blend on the first fold's validation rows."""
        ready = [c for c in self.candidates if 0 in c.members and not c.failed]
        version = sum(len(c.members) for c in ready)
        if self.standing[0] != version:
            answers = [self.final.answers_on(c, 0) for c in ready]
            weights = greedy(self.first, answers, allowed=self.final.fits(ready), rounds=10) if ready else np.zeros(0)
            self.standing = (version, weights, ready)
        return self.standing[1], self.standing[2]

    # ---- what comes back -------------------------------------------------------------------------------------------

    def _record(self, candidate: Candidate, fold: int, status: str, value: Any, key: str = "") -> None:
        if status == "failed":
            if not candidate.members:
                candidate.failed = str(value)
            self.failures.append({"model": candidate.name, "reason": str(value), "fold": fold})
            if key and not _by_clock(value):
                self.ledger.put(key, candidate.name, status, value)
            return
        member: Member = value
        before = candidate.members.get(fold)
        candidate.members[fold] = member
        candidate.members = dict(sorted(candidate.members.items()))  # whichever fold ended first
        if key:
            self.ledger.put(key, candidate.name, status, member)
        if before is not None and self._loses(before, candidate) < self._loses(member, candidate):
            candidate.members[fold] = (
                before  # a fit on all rows that the clock cut short can be worse than the sample's
            )
        if fold == 0:
            candidate.loss = self.first.loss(self.final.answers_on(candidate, 0))
        if len(candidate.members) == self.k:
            losses = [self._fold_loss(candidate, f) for f in range(self.k)]
            candidate.mean_loss = float(np.mean(losses))
        if len(candidate.members) == self.k or fold == 0:
            self._announce(candidate)
        if self.forward and self.timed:  # the chosen are fitted again at the end, which takes its time too
            weights, ranked = self._standing()
            again = sum(self._refit_seconds(c) for c, w in zip(ranked, weights) if w > 0)
            self.reserve = min(self._closing_time() + 1.3 * again / self.cores + 0.3, 0.5 * self.total)
        # Small tables: one fold says little and the others cost little.
        share = 0.12 if len(self.folds[0][1]) < SURE_ROWS else 0.02
        small = member.seconds * (self.k - 1) < share * self.total * self.cores
        if self.timed and not self.big and candidate.origin != "baseline" and small and self._promising(candidate):
            for f in range(self.k):
                if f not in candidate.asked:
                    self._ask(candidate, f)

    def _fold_loss(self, candidate: Candidate, fold: int) -> float:
        if fold == 0 and np.isfinite(candidate.loss):
            return candidate.loss
        y = self.problem.y[self.folds[fold][1]]
        judge = Judge(self.problem.metric, self.problem.task, y, self.problem.seed, 0)
        return judge.loss(self.final.answers_on(candidate, fold))

    def _loses(self, member: Member, candidate: Candidate) -> float:
        return self.first.loss(self.final.member_answers(member, candidate))

    def _promising(self, candidate: Candidate) -> bool:
        """Not far behind on the first fold."""
        best = min((c.loss for c in self.candidates if np.isfinite(c.loss)), default=np.inf)
        dummy = self.candidates[0].loss
        return not np.isfinite(dummy) or candidate.loss <= best + 0.35 * max(dummy - best, 0)

    def _announce(self, candidate: Candidate | None = None) -> None:
        higher = METRICS[self.problem.metric].better == "higher" if self.problem.metric in METRICS else False

        def shown(loss: float) -> float | None:
            return None if not np.isfinite(loss) else 1 - loss if higher else loss

        mine = np.inf if candidate is None else candidate.loss
        if candidate is not None and np.isfinite(candidate.mean_loss):
            mine = candidate.mean_loss
        # Only what was validated on all folds may be called the best so far.
        best = min((c.mean_loss for c in self.candidates), default=np.inf)
        done = sum(bool(c.members) for c in self.candidates)
        now = round(self.clock.elapsed() - self.started, 3)
        if candidate is not None and np.isfinite(best):
            self.history.append({"seconds": now, "model": candidate.name, "score": shown(mine), "best": shown(best)})
        self.listener(
            Progress(
                "search",
                self._estimate() if candidate is None else "",
                candidate.name if candidate else "",
                shown(mine) if candidate else None,
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
        lost = [c.failed for c in self.candidates if c.failed]
        if not any(c.card.name != plan.DUMMY for c in ready) and lost and not any(_by_clock(reason) for reason in lost):
            raise DataError(f"No model could be fitted. {lost[0]}")  # not the clock, so the data is the matter
        if not any(c.card.name == plan.DUMMY for c in ready):  # its fit was lost with the rest
            ready = [self.final.dummy(), *ready]
        if not any(c.card.name != plan.DUMMY for c in ready):
            ready += self._plain()
        self._say_short(ready)
        tried, settled = ready, unlabelled.Settled(ready)
        if self.problem.unlabelled is not None and not hurry:
            last = max((self._refit_seconds(c) for c in ready if unlabelled.learns(c)), default=0.0)
            left = self.clock.left() - self._closing_time() - 1.5 * last
            end = time.monotonic() + left if self.timed else None
            settled = unlabelled.settle(self.final, self.problem, ready, self._job, self.crew, end)
        ready, gain = settled.ready, settled.gain
        final, rows = self.final.finalists(ready)
        judge = Judge(self.problem.metric, self.problem.task, self.problem.y[rows], self.problem.seed)
        answers = [self.final.oof(c)[rows] for c in final]
        losses = [judge.loss(a) for a in answers]
        judged = settled.weigh(final)  # what was found better than labels alone is what answers, weights and all
        weights = self.final.choose(judge, final, answers, losses) if judged is None else judged
        best = self.final.best_single(final, losses)
        if (self.forward or gain) and not hurry:  # of few labels, none can be spared
            self._refit([c for c, w in zip(final, weights) if w > 0 and (self.forward or unlabelled.learns(c))])
        pack = self.final.pack([(c, w) for c, w in zip(final, weights) if w > 0])
        oof = mix([self.final.oof(c) for c, w in zip(final, weights) if w > 0], [w for w in weights if w > 0])
        alone = oof if weights.max() == 1 else self.final.oof(best)
        if len(final) > 1:
            oof, alone = oof.copy(), alone if weights.max() == 1 else alone.copy()
            late = (lambda: self.clock.left() < 0.0) if self.timed else (lambda: False)
            oof[rows], single, whole = self.final.nested(rows, final, answers, losses, weights, late)
            if weights.max() == 1:
                alone = oof
            else:
                alone[rows] = single
            if not whole:
                self.findings.append(_UNNESTED)
        if judged is not None and settled.answers is not None:  # nor had these rows a say in what answers them
            alone = settled.answers if weights.max() == 1 else alone
            oof = settled.answers
        known = {"dummy": next((c for c in tried if c.card.name == plan.DUMMY), None),
                 "simple": next((c for c in tried if c.card.name == plan.SIMPLE[self.problem.task]), None),
                 "best_single": best}  # fmt: skip
        known = {k: c for k, c in known.items() if c is not None and c.members}
        if self.unaffordable:
            names = ", ".join(self.unaffordable[:3]) + (" ..." if len(self.unaffordable) > 3 else "")
            many = f"{len(self.unaffordable)} models" if len(self.unaffordable) > 1 else names
            self.failures.append({"model": many, "reason": f"not tried: the time was too short for them ({names})"})
        told = {c.key for c in tried}
        board = self.final.leaderboard(
            judge, rows, tried, final, weights, oof, [c for c in self.candidates if c.failed and c.key not in told]
        )
        members = [
            {"model": c.name, "card": c.card.name, "weight": round(float(w), 6), "parameters": c.parameters,
             "target": c.target, "models": len(c.members) if c.refitted is None else 1, **_training(c)}
            for c, w in zip(final, weights) if w > 0
        ]  # fmt: skip
        members.sort(key=lambda m: -m["weight"])
        self.ledger.finish({c.key for c, w in zip(final, weights) if w > 0})
        return SearchResult(
            pack,
            board,
            oof,
            {k: alone if c is best else self.final.oof(c) for k, c in known.items()},
            {k: self.final.pack([(c, 1.0)]) for k, c in known.items()},
            members,
            self.failures,
            self.stopped,
            self.history,
            self.findings + [_unkept(problem) for problem in self.ledger.problems],
            gain,
        )

    def _plain(self) -> list[Candidate]:
        """Nothing but the baseline ended in time: the plain linear model is fitted here, which takes no libraries."""
        found = [c for c in self.candidates if c.origin == "baseline" and c.card.name != plan.DUMMY]
        if not self.timed or not found or found[0].card.name not in plan.SIMPLE.values():
            return []
        problem = replace(self.problem, folds=self.folds)
        for fold in range(self.k):
            if fold and self.clock.left() <= 0:
                break
            member = plain_member(problem, fold)
            if member is not None:
                found[0].members[fold] = member
        if not found[0].members:
            return []
        found[0].failed, found[0].plain = "", True
        if 0 in found[0].members:
            found[0].loss = self.first.loss(self.final.answers_on(found[0], 0))
        return found[:1]

    def _say_short(self, ready: list[Candidate]) -> None:
        """A plain sentence where the time was too short for more than the baselines."""
        tried = sum(c.origin != "baseline" for c in ready)
        if not self.timed or self.stopped == "interrupted" or tried or (self.models and len(ready) > 1):
            return
        plain = next((c for c in ready if c.plain), None)
        got = f"only {_listed([c.name for c in ready])} could be fitted, none of the {self.planned} other candidates"
        if plain is not None:
            got += f" ({plain.name} learnt from at most {PLAIN_ROWS:,} rows and without texts)"
        self.findings.append(
            Finding(
                "little-time",
                "warning",
                f"The {self.total:.1f} s that were left for the search were too short: {got}.",
                "Give more time, such as a budget of 60s.",
                data={"seconds": round(self.total, 2), "fitted": len(ready), "planned": self.planned},
            )
        )

    def _refit_seconds(self, candidate: Candidate) -> float:
        last = max(candidate.members)
        return candidate.members[last].seconds * self.n / max(len(self.folds[last][0]), 1)

    def _refit(self, chosen: list[Candidate]) -> None:
        """On all rows, with the settings that the folds ended with: for folds that only saw the past."""
        everything = np.arange(self.n)
        waiting = sorted(chosen, key=lambda c: -self._refit_seconds(c))
        running: dict[int, Candidate] = {}
        while waiting or running:
            left = self.clock.left() - self._closing_time()
            while waiting and len(running) < self.cores:
                c = waiting.pop(0)
                if self.timed and 1.1 * self._refit_seconds(c) > left:
                    continue  # the last fold's model stands: it has seen all but the latest rows
                settings = {**c.parameters, **_average([m.refit for m in c.members.values()])}
                seed = seeds.derive(self.problem.seed, "refit")
                job = Job(
                    c.card.name, c.card.kind, settings, everything, everything[:0], seed, 1, c.target, early=False
                )
                end = time.monotonic() + left if self.timed else None
                running[self.crew.submit(job, end, end)] = c
            for number, (status, value) in self.crew.wait(max(left, 0.01) if self.timed else None):
                c = running.pop(number, None)
                if c is not None and status == "done":
                    c.refitted = value.pack()
            if self.timed and left <= 0:
                break
        for c in chosen:
            if c.refitted is None and self.forward:
                c.refitted = c.members[max(c.members)].pack()


# ---- small things --------------------------------------------------------------------------------------------------


_OF_THE_RUN = ("out of time", "in time", "out of memory", "not needed", "on request", "process", "signal")


def _by_clock(reason: str) -> bool:
    """Failures that say something about this run's clock and machine, not about the model."""
    return any(word in reason for word in _OF_THE_RUN)


_UNNESTED = Finding(
    "blend-not-nested",
    "info",
    "No time was left to judge the blend by weights chosen on other rows: its cross-validated score flatters a little.",
    "Give more time, or keep test rows aside.",
)


def _unkept(problem: str) -> Finding:
    return Finding("run-folder", "warning", f"{problem[:1].upper()}{problem[1:]}.", "Look at the run folder's disk.")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


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


__all__: list[str] = ["learning_curve", "search", "warm_up"]


def _training(candidate: Candidate) -> dict[str, Any]:
    """How the first fold's network learnt, for the report."""
    curve = next((m.curve for m in candidate.members.values() if len(m.curve) > 1), None)
    return {"training": curve} if curve else {}
