"""Made rows among those that a model learns from: whether that helps, by the same model with and without them.

Rows are made of the training part alone, in each fold of what that fold learns from, and the validation rows are real.
What helps clearly there answers; the test part only reports.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.finding import Finding
from everymodel.core.schema import FREE_TASKS, MADE_TASKS, SERIES_TASKS
from everymodel.core.settings import Settings
from everymodel.scoring.metrics import METRICS
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.search import plan
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.search.ensemble import Judge
from everymodel.workflow.train import Job, Member, fit_member
from everymodel.workflow.types import Listener, Problem, Progress, SearchResult

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 0.35  # of a run's budget, for trying it
MAKERS = ("smote", "table_diffusion")  # in this order, as time allows
CLEAR = {1: 1.96, 2: 2.24}  # standard errors of a gain that counts, by how many ways were tried (two-sided 5 %)
_LEAST = 20  # rows, below which nothing is made
_EVEN = 0.1  # share of rows by which classes may differ and count as equally frequent
_KINDS = ("number", "boolean", "category", "date")


@dataclass
class MadeJob(Job):
    """A fit that also learns from rows made of those that it may see."""

    maker: str = "smote"
    seconds: float | None = None  # for making the rows

    def run(self, problem: Problem, stop: Callable[[], bool] | None = None) -> Member:
        fit, valid = (self.fit, self.valid) if self.fold is None else problem.folds[self.fold]
        more, y = made_rows(problem, fit, self.maker, self.seed, self.seconds, stop)
        whole = replace(problem, batch=problem.batch.join(more), y=np.concatenate([problem.y, y]), folds=[])
        new = np.arange(problem.batch.n, whole.batch.n)
        given = {
            name: getattr(self, name) for name in ("card", "kind", "parameters", "seed", "threads", "target", "early")
        }
        return fit_member(whole, Job(fit=np.concatenate([fit, new]), valid=valid, **given), stop)


def made_rows(
    problem: Problem,
    rows: np.ndarray,
    maker: str,
    seed: int,
    seconds: float | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[Batch, np.ndarray]:
    """(new rows, their target), made of these `rows` of the problem; rarer classes come first.

    Classes: as many of each as bring it up to the most frequent one, at most as many as there are; half as many rows
    as there are where all are about as frequent, and for numbers.
    """
    import pandas as pd

    batch, y = problem.batch.take(rows), problem.y[rows]
    columns: dict[str, Any] = {}
    for column in problem.schema.features:
        values = batch.columns[column.name]
        if column.kind == "category":
            columns[column.name] = pd.Series([None if v < 0 else str(v) for v in values.tolist()], dtype=object)
        else:
            columns[column.name] = values
    target = "target"
    while target in columns:
        target += "_"
    classes = problem.task != "regression"
    label = pd.Series([str(int(v)) for v in y], dtype=object, name=target) if classes else pd.Series(y, name=target)
    model = _maker(maker, len(rows), seed, seconds)
    module = catalog.module(catalog.find(maker, kind="generator"))
    module.fit(model, pd.DataFrame(columns), label, stop=stop, threads=1)
    n = len(rows)
    condition, count = None, max(n // 2, 1)
    if classes:
        codes, counts = np.unique(y.astype(np.int64), return_counts=True)
        short = counts.max() - counts
        if short.sum() > _EVEN * n:
            wanted = np.floor(short * min(1.0, n / short.sum())).astype(np.int64)
            condition, count = {target: np.repeat(codes, wanted).astype(str).tolist()}, int(wanted.sum())
    made = model.sample(count, condition, seed=seeds.derive(seed, "made"))
    out = {}
    for column in problem.schema.features:
        values = made[column.name]
        if column.kind == "category":
            out[column.name] = np.array([-1 if v is None or v != v else int(v) for v in values], dtype=np.int32)
        else:
            out[column.name] = values.to_numpy(dtype=np.float64)
    told = made[target].astype(np.int64 if classes else np.float64).to_numpy()
    return Batch(out, count), told.astype(problem.y.dtype)


def _maker(name: str, n: int, seed: int, seconds: float | None) -> Any:
    seed = seeds.derive(seed, "maker") % 2**31
    given: dict[str, Any] = {"random_state": seed}
    if name == "table_diffusion":
        given |= {"width": 128, "depth": 2, "batch_size": 256, "steps": int(np.clip(20 * n / 256, 300, 3000))}
        given |= {"budget": seconds, "device": "cpu"}
    return catalog.load(catalog.find(name, kind="generator"))(**given)


def check(augment: bool, target: Any, task: str | None, other: bool) -> None:
    """ParameterError where rows were asked for that nothing could learn from; `other`: for graphs and series."""
    if augment and (other or target is None or task in (*FREE_TASKS, *SERIES_TASKS, *MADE_TASKS)):
        raise ParameterError(
            "augment=True makes rows to learn the target of a table from. Name a target, or leave augment out."
        )


def augment(
    problem: Problem, result: SearchResult, clock: Clock, kept: float = 0.0, listener: Listener | None = None
) -> SearchResult:
    """The search's result; with a model in it that also learnt from made rows where that helped clearly.

    Parameters
    ----------
    clock : of the run; `kept` seconds of it are left for what comes after.

    Returns
    -------
    `result` with `made` (what was tried, in figures and a sentence) and a finding.
    """
    why = _impossible(problem)
    best = None if why else _best(problem, result)
    if best is None:
        why = why or "no model of the search can be fitted again by itself"
        verdict = f"No rows were made to learn from: {why}."
        finding = Finding("augmentation-not-possible", "info", verdict, "Leave augment out.")
        return replace(result, made={"chosen": False, "verdict": verdict}, findings=[*result.findings, finding])
    if listener:
        listener(Progress("refit", "the best model again, with made rows", candidate=str(best["model"])))
    until = None if clock.limit is None else time.monotonic() + clock.left() - kept
    makers = [m for m in MAKERS if catalog.available(catalog.find(m, kind="generator"))]
    cores = Settings.load().cores()
    with Crew(problem, cores) as crew:
        crew.preload([(best["card"], plan.kind_of(problem.task)), *((m, "generator") for m in makers)])
        found = _fits(problem, best, makers, crew, until)
        told, answers = _decide(problem, result, best, makers, found)
        member = None
        if told["chosen"]:
            member = _final(problem, best, told["maker"], found, crew, until)
            if member is None:
                told |= {"chosen": False, "late": True}
    told["verdict"] = _verdict(told, problem)
    code = "augmentation-helped" if told["chosen"] else "no-gain-from-augmentation"
    advice = "" if told["chosen"] else "More real rows help more than made ones."
    figures = {k: v for k, v in told.items() if isinstance(v, int | float | bool)}
    findings = [*result.findings, Finding(code, "info", told["verdict"], advice, data=figures)]
    if member is None:
        return replace(result, made=told, findings=findings)
    return replace(_with(result, best, told, member, answers), made=told, findings=findings)


def _impossible(problem: Problem) -> str | None:
    if problem.task not in ("binary", "multiclass", "regression") or problem.y.ndim > 1:
        return f"for {problem.task} with several targets that is not there"
    odd = [c for c in problem.schema.features if c.kind not in _KINDS]
    if odd:
        return f"the column {odd[0].name!r} holds {odd[0].kind}s, which cannot be made with the rest of a row"
    if problem.batch.n < _LEAST:
        return f"{problem.batch.n} rows are too few"
    return None


def _best(problem: Problem, result: SearchResult) -> dict[str, Any] | None:
    """The best model by itself that reads rows and says probabilities of classes; fitted in all folds if any was."""
    able = []
    for row in result.leaderboard:
        if row["card"] in ("blend", plan.DUMMY) or row["score"] is None:
            continue
        card = catalog.find(row["card"], kind=plan.kind_of(problem.task))
        if "matrix" in card.inputs and (problem.task == "regression" or "probabilities" in card.gives):
            able.append(row)
    return next((row for row in able if row["status"] == "ok"), able[0] if able else None)


def _fits(
    problem: Problem, best: dict[str, Any], makers: list[str], crew: Crew, until: float | None
) -> dict[tuple[str, int], Member]:
    """{(maker or "", fold): member}: without made rows and with them, fold by fold, as long as there is time."""
    kind, folds = plan.kind_of(problem.task), problem.folds
    tasks = [(m, f) for group in (["", *makers[:1]], makers[1:]) for f in range(len(folds)) for m in group]
    expected = float(best.get("fit_seconds") or 1.0) / max(int(best.get("folds") or 1), 1)
    ratio = problem.batch.n / max(len(folds[0][0]), 1)
    share = None if until is None else _share(until - time.monotonic(), len(folds), crew.size)
    end = (
        None if until is None or share is None else until - share - 2.0 * expected * ratio - 0.3
    )  # the fit on all rows
    found: dict[tuple[str, int], Member] = {}
    running: dict[int, tuple[str, int]] = {}
    while tasks or running:
        now = time.monotonic()
        while tasks and len(running) < crew.size and (end is None or now + 1.5 * expected < end):
            maker, fold = tasks.pop(0)
            fit, valid = folds[fold]
            given = (best["card"], kind, best["parameters"], fit, valid, seeds.derive(problem.seed, "augment", fold), 1)
            target = best.get("target") or "plain"
            job = MadeJob(*given, target, maker=maker, seconds=share) if maker else Job(*given, target)
            running[crew.submit(job, end, end)] = (maker, fold)
        if not running:
            break
        for number, (status, value) in crew.wait(None if end is None else max(end + 0.5 - time.monotonic(), 0.01)):
            task = running.pop(number, None)
            if task is not None and status == "done" and value.output != "scores":
                found[task] = value
        if end is not None and time.monotonic() >= end:
            for number in running:
                crew.kill(number)
            break
    return found


def _share(left: float, folds: int, size: int) -> float:
    """Seconds in which a maker that takes long learns: once in each fold, and once from all rows."""
    return max(0.5 * left / (folds / size + 1), 0.5)


def _decide(
    problem: Problem,
    result: SearchResult,
    best: dict[str, Any],
    makers: list[str],
    found: dict[tuple[str, int], Member],
) -> tuple[dict[str, Any], np.ndarray | None]:
    """(what was tried and whether it helped, answers (n, ...) of the chosen; NaN where there are none)."""
    higher = METRICS[problem.metric].better == "higher"
    options, kept = [], {}
    for maker in makers:
        folds = [f for f in range(len(problem.folds)) if (maker, f) in found and ("", f) in found]
        if not folds:
            continue
        shape = (len(problem.y), *found["", folds[0]].answers.shape[1:])
        plain, more = np.full(shape, np.nan), np.full(shape, np.nan)
        for f in folds:
            plain[problem.folds[f][1]], more[problem.folds[f][1]] = found["", f].answers, found[maker, f].answers
        rows = np.flatnonzero(np.isfinite(more).reshape(len(more), -1).all(axis=1))
        judge = Judge(problem.metric, problem.task, problem.y[rows], problem.seed, 200)
        gain, noise = judge.gain(more[rows], plain[rows])
        losses = judge.loss(plain[rows]), judge.loss(more[rows])
        blended = np.asarray(result.oof)[rows]
        whole = judge.loss(blended) if np.isfinite(blended).all() else losses[0]
        before, after = (1 - losses[0], 1 - losses[1]) if higher else losses
        options.append(
            {"maker": maker, "title": catalog.find(maker, kind="generator").title, "folds": len(folds),
             "rows": len(rows), "without": float(before), "with": float(after), "difference": float(gain),
             "noise": float(noise), "behind": bool(losses[1] > whole + 1e-12)}
        )  # fmt: skip
        kept[maker] = more
    if not options:
        return {"chosen": False, "model": best["model"], "metric": problem.metric, "options": [], "late": True}, None
    wide = CLEAR.get(len(options), 2.5)
    for option in options:
        noise = option.pop("noise")
        option |= {"low": option["difference"] - wide * noise, "high": option["difference"] + wide * noise}
        option["clear"] = bool(option["low"] > 0)
    top = max(options, key=lambda o: (o["clear"], o["difference"]))
    told = {**top, "chosen": top["clear"] and not top["behind"], "model": best["model"], "metric": problem.metric}
    return told | {"options": options}, kept[top["maker"]]


def _final(
    problem: Problem,
    best: dict[str, Any],
    maker: str,
    found: dict[tuple[str, int], Member],
    crew: Crew,
    until: float | None,
) -> Member | None:
    """The model on all training rows and rows made of them; None where that could not be finished."""
    from everymodel.workflow.automl import _average

    refits = [m.refit for (name, _), m in found.items() if name == maker]
    settings = {**best["parameters"], **_average(refits)}
    rows = np.arange(problem.batch.n)
    seconds = None if until is None else max(0.6 * (until - time.monotonic()), 0.5)
    target, seed = best.get("target") or "plain", seeds.derive(problem.seed, "refit")
    given = (best["card"], plan.kind_of(problem.task), settings, rows, rows[:0], seed, 1, target)
    job = MadeJob(*given, early=False, maker=maker, seconds=seconds)
    number = crew.submit(job, until, until)
    while number in crew.running:
        left = None if until is None else until - time.monotonic()
        for done, (status, value) in crew.wait(None if left is None else max(left, 0.01) + 0.5):
            if done == number:
                return value if status == "done" and value.output != "scores" else None
        if left is not None and left <= 0:
            crew.kill(number)
            return None
    return None


def _with(
    result: SearchResult, best: dict[str, Any], told: dict[str, Any], member: Member, answers: np.ndarray | None
) -> SearchResult:
    """The result in which the model that learnt from made rows answers."""
    if answers is None:
        raise DataError("There are no answers of the model that learnt from made rows.")
    name = f"{best['model']} + made rows"
    row = {**best, "model": name, "score": told["with"], "score_low": None, "score_high": None, "weight": 1.0,
           "fit_seconds": round(member.seconds, 3), "row_ms": round(member.row_ms, 4), "size": member.size,
           "folds": told["folds"], "origin": "augment"}  # fmt: skip
    board = [row, *({**r, "weight": 0.0} for r in result.leaderboard)]
    entry = {"model": name, "card": best["card"], "weight": 1.0, "parameters": best["parameters"],
             "target": best.get("target") or "plain", "models": 1, "made_rows": told["maker"]}  # fmt: skip
    oof = np.full(np.asarray(result.oof).shape, np.nan)
    oof[...] = answers.reshape(oof.shape)
    return replace(result, pack=member.pack(), oof=oof, leaderboard=board, members=[entry])


def _verdict(told: dict[str, Any], problem: Problem) -> str:
    if not told["options"]:
        return "No time was left to try whether made rows help: the model learnt from real rows alone."
    word = problem.metric.replace("_", " ")
    by = f"by cross-validation on {told['rows']:,} real rows"
    figures = f"{word} {told['with']:.4g} instead of {told['without']:.4g}"
    span = f"{told['difference']:.2g}, {told['low']:.2g} to {told['high']:.2g}, {by}"
    how = f"rows made by {told['title']}"
    if told["chosen"]:
        return f"Learning from {how} as well helped {told['model']}: {figures} (a gain of {span})."
    if told["clear"] and told["behind"]:
        return f"Learning from {how} as well helped {told['model']} ({figures}), but what was found without is better."
    if told.get("late"):
        return f"Learning from {how} as well helped ({figures}), but no time was left for the fit on all rows."
    return f"Learning from {how} as well did not clearly help ({figures}: a difference of {span}): there is no gain."
