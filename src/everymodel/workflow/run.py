"""The whole story: read, split, understand, search, evaluate, pack, report. The only file that calls all stages.

The test part is set aside before anything looks at it: columns, ranges, categories, leaks and models are learnt from
the training part alone, and `evaluate` is the first and only reader of the rest.
"""

from __future__ import annotations

import datetime
import inspect
import json
import os
import re
import tempfile
import time as clocks
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.clock import Clock, seconds
from everymodel.core.errors import DataError, ParameterError, TargetError
from everymodel.core.files import atomic_write
from everymodel.core.finding import Finding
from everymodel.core.schema import ACT_TASKS, FREE_TASKS, MADE_TASKS, SERIES_TASKS, TASKS
from everymodel.core.settings import Settings
from everymodel.scoring import table
from everymodel.scoring.metrics import resolve
from everymodel.workflow import augment as augmented
from everymodel.workflow import partly
from everymodel.workflow.automl import search, warm_up
from everymodel.workflow.model import Model
from everymodel.workflow.reinforce import acts_in
from everymodel.workflow.story import plain, story
from everymodel.workflow.types import Evaluation, Listener, Problem, Progress, SearchResult, Split, Table, Understanding

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_BUDGET = 60.0
_CURVE_SHARE = 0.15  # of the budget, for a learning curve that was asked for


class Figure(float):
    """A metric's value that remembers its confidence interval."""

    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> Figure:
        made = super().__new__(cls, value)
        made.low, made.high = low, high
        return made

    def __repr__(self) -> str:
        return f"{float(self):.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass
class Run:
    """What `fit` gives back. `model` answers, `leaderboard` shows what was tried, `report` writes it all down."""

    model: Model
    leaderboard: pd.DataFrame
    findings: list[Finding]
    evaluation: Evaluation
    story: dict[str, Any]
    folder: Path
    search: SearchResult = field(repr=False)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)  # without a target: segments, ...

    @property
    def metrics(self) -> dict[str, Figure]:
        """Metric name to value with `.low` and `.high`, from rows that no choice has seen (see `story["split"]`)."""
        return {m.name: Figure(m.value, m.low, m.high) for m in self.evaluation.metrics}

    @property
    def headline(self) -> str:
        return self.story["headline"]

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page and return its path."""
        from everymodel.workflow.evaluate import report

        report(self.story, path)
        return Path(path)

    def _repr_html_(self) -> str:
        import html

        return f"<p><b>{html.escape(self.headline)}</b></p>{self.leaderboard.head(10).to_html(index=False)}"

    def __str__(self) -> str:
        return f"{self.headline}\n\n{self.leaderboard.head(10).to_string(index=False)}\n\nRun folder: {self.folder}"


def fit(
    data: Any,
    target: str | list[str] | None = None,
    task: str | None = None,
    models: list[str] | str | None = None,
    budget: str | float | Clock | None = None,
    trials: int | None = None,
    metric: str | None = None,
    group: str | None = None,
    time: str | None = None,
    test_size: float = 0.2,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    keep_suspects: bool | list[str] = False,
    resume: bool = False,
    unseen: str = "warn",
    segments: list[str] | str | None = None,
    fairness: str | None = None,
    costs: dict[str, float] | None = None,
    prefer: str | None = None,
    learning_curve: bool = False,
    progress: bool | Listener | None = None,
    verbose: bool = False,
    clusters: int | None = None,
    contamination: float | None = None,
    components: int | None = None,
    horizon: int | None = None,
    nodes: Any = None,
    graph: str | None = None,
    augment: bool = False,
    until: float | str | None = "auto",
) -> Run:
    """From a table, or an environment, to a chosen, honestly tested model.

    Parameters
    ----------
    data : path, database URL, DataFrame (pandas, polars), Arrow table, dict, list of dicts, or "-" (standard input).
        Or where to act: an id of Gymnasium ("CartPole-v1"), a Python file that registers one, an environment's class,
        a board game that is learnt by self-play ("tic_tac_toe", "connect_four", "go:5").
    target : column to predict; a list of 0/1 columns for multilabel. Without one, groups are looked for.
    task : "regression", "binary", "multiclass" or "multilabel"; found out when not given. Without learning from a
        target: "cluster" (groups), "anomaly" (odd rows), "reduce" (few columns for many), "embed" (a map); a `target`
        then is only compared with what was found. "generate": more data like these (images, rows, tables, texts, music;
        a `target` is what samples can be asked for). "enhance": larger images for small ones. "act": an agent that
        learns by doing in an environment.
    models : names of the models to try (`everymodel models` lists them); all that suit by default.
    budget : wall time for the whole call, such as 60, "60s" or "5m", or a Clock that already runs. Default "60s" unless
        `trials` is given.
    trials : limit by number of candidates instead: the same seed then gives the same result on any machine.
    metric : what to optimise, in scikit-learn's words. Default: rmse, roc_auc (binary), log_loss (multiclass).
    group : column whose values must not be shared by training and test rows (patients, customers).
    time : column to split by: the last rows are the test, folds go forward.
    test_size : share of rows that only the final evaluation reads; 0 trains on all rows and reports cross-validation.
    seed : the one seed.
    out : run folder, or a file name ending in .em for the model (the run folder then lies in ./everymodel_runs).
    split : column that says train or test (or a fold name) for each row.
    keep_suspects : keep columns that seem to give the target away (True or their names); the score is marked suspect.
    resume : go on with the run in `out`; finished candidates are not fitted again.
    unseen : policy for categories that were never seen: "warn", "error" or "ignore".
    segments, fairness : columns to evaluate by.
    costs : binary: {"false_positive": 1, "false_negative": 5} chooses the threshold on out-of-fold answers.
    prefer : "accurate" (default), "fast" or "simple".
    learning_curve : also fit the best model on growing parts of the training rows.
    progress : True, False, or a function that takes `Progress` events. Default: shown in a terminal.
    clusters : number of groups ("cluster"); found out by default.
    contamination : expected share of odd rows ("anomaly"); found out by default.
    components : number of new columns ("reduce"), or of coordinates, 2 or 3 ("embed").
    horizon : steps to forecast ("forecast": series in even steps along `time`, named by `group` where there are
        several; chosen by itself where a table holds nothing else).
    nodes : `data` is a table of edges (two columns of ids), and this a table of its nodes (a column of ids, `target`,
        and what else is known of each); nodes without a label are answered too, in `run.tables["nodes"]`.
    graph : with `nodes`: its column that says the graph of each; whole graphs are then learnt and answered.
    augment : also try whether rows made of the training part (rarer classes first) help the best model; it learns from
        them where they clearly do (`run.story["augmentation"]`).
    until : agents: the mean return with which they have learnt enough; "auto": the environment's own threshold, where
        it has one; None: all of the time is used.

    Raises
    ------
    ReadError, TargetError, DataError, ParameterError, BudgetError : each says what came, what was expected, what to do.
    """
    clock = budget if isinstance(budget, Clock) else Clock(seconds(budget))
    if clock.limit is None and trials is None:
        clock.limit = DEFAULT_BUDGET
    limit = clock.limit
    _check_options(task, metric, test_size, trials, prefer, unseen)
    listener = _listener(progress)
    timing: dict[str, float] = {}
    options = {"clusters": clusters, "contamination": contamination, "components": components}
    wanted = [models] if isinstance(models, str) else models
    acts = task in ACT_TASKS or (task is None and acts_in(data))
    if until != "auto" and not acts:
        raise ParameterError(f"until={until!r} is for agents in an environment. Leave it out.")
    augmented.check(augment, target, task, nodes is not None or horizon is not None or acts)
    if nodes is not None or graph is not None or task in MADE_TASKS or acts:
        options |= {"group": group, "time": time, "segments": segments, "fairness": fairness, "costs": costs}
        options |= {"trials": trials, "prefer": prefer, "resume": resume, "learning_curve": learning_curve}
        if task in MADE_TASKS or acts:
            from everymodel.workflow.generate.story import generate
            from everymodel.workflow.reinforce.story import reinforce

            options |= {"metric": metric, "split": split, "horizon": horizon, "nodes": nodes, "graph": graph}
            if acts:
                options |= {"target": target}
                return reinforce(data, wanted, until, options, clock, seed, out, listener, timing)
            assert task is not None
            return generate(task, data, target, wanted, options, clock, seed, test_size, out, listener, timing)
        for name, value in options.items():
            if value not in (None, False) and not (graph and name == "trials"):
                raise ParameterError(f"{name}={value!r} is not there for nodes of a graph (nodes=...). Leave it out.")
        from everymodel.workflow.graphs.nodes import fit_nodes

        return fit_nodes(
            data, nodes, target, task=task, models=wanted, clock=clock, metric=metric, split=split, graph=graph,
            test_size=test_size, seed=seed, out=out, keep_suspects=keep_suspects, listener=listener, timing=timing,
            trials=trials,
        )  # fmt: skip
    if task in FREE_TASKS or (target is None and task is None):
        return _discover(data, target, task or "cluster", models, options, clock, trials, seed, unseen, out, resume,
                         listener, timing)  # fmt: skip
    for name, value in options.items():
        if value is not None:
            raise ParameterError(f"{name}={value!r} is for runs without a target (task={', '.join(FREE_TASKS)}).")
    warm_up(wanted)  # the fitting process starts while the table is read

    with _stage("read", timing, listener):
        source = _read(data)
        frame = source.frame
        targets = _targets(frame, target, source.source)
        columns = [segments] if isinstance(segments, str) else list(segments or [])
        _columns_to_judge_by(frame, [*columns, *([fairness] if fairness else [])])
        folder, model_path = _places(out, targets[0], resume)
    asked = horizon is not None or task in SERIES_TASKS
    if asked or (time is not None and not (task or models or metric or split)):
        from everymodel.workflow.forecast.story import consider, forecast

        series = consider(source, targets, task, time, group, asked)
        if series is not None:
            return forecast(
                source, series, horizon=horizon, models=wanted, metric=metric, clock=clock, trials=trials, seed=seed,
                folder=folder, model_path=model_path, listener=listener, timing=timing,
            )  # fmt: skip

    with _stage("split", timing, listener):
        parts, rows, first = _split(frame, targets, task, group, time, split, test_size, seed)
    train = rows.iloc[parts.train]
    loose, unlabelled = partly.loose_rows(first, frame, targets, seed)

    began = clocks.perf_counter(), clocks.process_time()
    with _stage("understand", timing, listener):
        understanding = _understand(train, target, task, group, time, split, unseen, keep_suspects, loose)
        keep = understanding.keep[: len(train)]
        schema, findings = understanding.schema, [*source.findings, *understanding.findings]
        if loose is not None:
            findings = partly.said(findings, targets[0], len(rows), unlabelled, len(loose))
        told = {f.code for f in findings}  # rows that were left out before the split
        left = ("target-missing", "single-member-classes")
        findings += [f for f in first.findings if f.code in left and f.code not in told]
        if not keep.all():
            train, parts = train[keep], _without(parts, keep)
        batch, notes = table.parse(schema, train, unseen="ignore", bad="missing")
        from everymodel.workflow.understand import cell_findings

        findings += cell_findings([n for n in notes if schema.column(n["field"]).shape], batch.n)
        beside = None if loose is None else table.parse(schema, loose, unseen="ignore", bad="missing")[0]
        y = _labels(schema, train, targets)
        metric = resolve(metric, schema.task).name
        if costs and schema.task != "binary":
            raise ParameterError(f"costs choose the threshold of a binary task; this one is {schema.task}.")
    problem = Problem(schema, schema.task, batch, y, parts.folds, metric, seed, beside)
    slow = _slowness(clocks.perf_counter() - began[0], clocks.process_time() - began[1])

    with _stage("search", timing, listener):
        given = {"target": targets, "task": task, "group": group, "time": time, "test_size": test_size, "split": split,
                 "keep_suspects": keep_suspects, "unseen": unseen}  # fmt: skip
        later = (_CURVE_SHARE * learning_curve + augmented.SHARE * augment) * (limit or 0.0)
        result = _search(problem, models, clock, trials, folder, resume, listener, prefer, source.fingerprint, given,
                         slow, later)  # fmt: skip
        if augment:
            closing = _closing_seconds(clock.limit, slow, len(schema.columns))
            result = augmented.augment(problem, result, clock, closing, listener)
        findings += [*result.findings, *partly.verdict(result.gain, targets[0])]

    from everymodel.workflow.pack import assemble

    with _stage("evaluate", timing, listener):
        suspect = bool(understanding.suspects) and bool(keep_suspects)
        name = targets[0] if len(targets) == 1 else "_".join(targets)[:60]
        model = assemble(result, schema, batch, y, name=name, metric=metric, seed=seed, suspect=suspect,
                         fingerprint=source.fingerprint, findings=[f.to_dict() for f in findings])  # fmt: skip
        choice = _choose_threshold(model, y, result, costs)
        evaluation, seen, more = _evaluate(
            model, result, rows, parts, targets, y, metric, group, segments, fairness, costs, seed
        )
        findings += more
        evaluation.headline = " ".join(
            filter(None, (evaluation.headline, partly.sentence(result.gain), partly.sentence(result.made)))
        )
        if choice:
            evaluation.curves["threshold_choice"] = choice
        _describe(model, evaluation, findings)
        hurried = result.stopped == "interrupted"
        explanations = {} if hurried else _explain(model, seen, clock, limit, seed)
        if learning_curve and not hurried:
            evaluation.curves["learning"] = _learning_curve(problem, result, clock)

    with _stage("save", timing, listener):
        _save(model, folder, model_path, findings)
        told = story(
            source,
            findings,
            parts,
            problem,
            result,
            evaluation,
            explanations,
            timing,
            limit,
            model_path or folder / "model.em",
            frame,
            suspect,
        )
        if result.gain:
            structure = {"gain": result.gain, "labelled": len(rows), "unlabelled": unlabelled}
            told["structure"] = plain(structure)
        if result.made:
            told["augmentation"] = plain(result.made)
        _save_story(told, folder, findings)
    return Run(model, _frame(result.leaderboard), findings, evaluation, told, folder, result)


def look(data: Any, target: str | list[str] | None = None, **options: Any) -> Understanding:
    """Read a table and say what is in it: kinds of columns, findings, leaks (`everymodel look`).

    Of an environment: its spaces, time limit and threshold.
    """
    if acts_in(data):
        from everymodel.workflow.reinforce.story import look as world

        return world(data)  # type: ignore[return-value]
    source = _read_by(data, options)
    if target is not None:
        _targets(source.frame, target, source.source)
    from everymodel.workflow.understand import understand

    found = understand(source.frame, target, **options)
    found.findings[:0] = source.findings
    return found


def advise(data: Any, target: str | list[str] | None = None, **options: Any) -> list[dict[str, Any]]:
    """Models for this table, most suitable first, with reasons, warnings and expected seconds (`everymodel advise`).

    Without a target, for `task` "cluster" (the default), "anomaly", "reduce" or "embed".
    """
    from dataclasses import replace

    from everymodel.workflow.advise import advise as rank

    if acts_in(data):
        from everymodel.workflow.reinforce.story import advise as agents

        return agents(data)
    source = _read_by(data, options)
    from everymodel.workflow.understand import understand

    free = options.get("task") in FREE_TASKS or (target is None and options.get("task") is None)
    if target is None and not free:
        raise TargetError(
            f"Advice for task={options['task']!r} needs to know what is to be predicted: pass target= (--target)."
        )
    if target is not None:
        _targets(source.frame, target, source.source)
    if not free:
        return rank(understand(source.frame, target, **options), source.frame)
    task = options.pop("task", None) or "cluster"
    found = understand(source.frame, None, ignore=[target] if isinstance(target, str) else target or (), **options)
    found.schema = replace(found.schema, task=task)
    return rank(found, source.frame)


# ---- the stages, each in a few lines -------------------------------------------------------------------------------


def _discover(
    data: Any,
    target: str | list[str] | None,
    task: str,
    models: list[str] | str | None,
    options: dict[str, Any],
    clock: Clock,
    trials: int | None,
    seed: int,
    unseen: str,
    out: str | os.PathLike[str] | None,
    resume: bool,
    listener: Listener | None,
    timing: dict[str, float],
) -> Run:
    """A run without a target; `target`, if given, is only compared with what is found."""
    from everymodel.workflow.unsupervised.discovery import discover, warm_up

    warm_up(task, [models] if isinstance(models, str) else models)  # while the table is read

    with _stage("read", timing, listener):
        source = _read(data)
        names = _targets(source.frame, target or list(source.frame.columns[:1]), source.source)
        if target is not None and len(names) > 1:
            raise ParameterError(f"task={task!r} compares its answer with one column at most; {len(names)} were named.")
        folder, model_path = _places(out, task, resume)
    return discover(
        source,
        task,
        labels=names[0] if target is not None else None,
        models=[models] if isinstance(models, str) else models,
        options=options,
        clock=clock,
        trials=trials,
        seed=seed,
        unseen=unseen,
        folder=folder,
        model_path=model_path,
        listener=listener,
        timing=timing,
    )


def _read(data: Any) -> Table:
    from everymodel.workflow.read import read

    return data if isinstance(data, Table) else read(data)


def _read_by(data: Any, options: dict[str, Any]) -> Table:
    """The table; options for reading are taken out of `options`, and those that nobody knows are refused."""
    from everymodel.workflow.read import OPTIONS, read
    from everymodel.workflow.understand import understand

    known = [*OPTIONS, *list(inspect.signature(understand).parameters)[2:]]
    strange = [name for name in options if name not in known]
    if strange:
        raise ParameterError(f"{strange[0]}= is not an option here: expected one of {', '.join(known)}.")
    return read(data, **{name: options.pop(name) for name in OPTIONS if name in options})


def _check_options(
    task: str | None, metric: str | None, test_size: float, trials: int | None, prefer: str | None, unseen: str
) -> None:
    def must(good: bool, name: str, came: Any, expected: str) -> None:
        if not good:
            raise ParameterError(f"{name}={came!r} is not possible: expected {expected}.")

    tasks = (*TASKS, *FREE_TASKS, *SERIES_TASKS, *MADE_TASKS, *ACT_TASKS)
    must(task is None or task in tasks, "task", task, f"one of {', '.join(tasks)}")
    if metric is not None and task in TASKS:
        resolve(metric, task)
    number = isinstance(test_size, int | float) and not isinstance(test_size, bool)
    must(number and 0 <= test_size < 1, "test_size", test_size, "a share from 0 to below 1, such as 0.2")
    must(trials is None or (isinstance(trials, int) and trials > 0), "trials", trials, "a whole number above 0")
    must(prefer in (None, "accurate", "fast", "simple"), "prefer", prefer, "accurate, fast or simple")
    must(unseen in ("warn", "error", "ignore"), "unseen", unseen, "warn, error or ignore")


def _targets(frame: pd.DataFrame, target: str | list[str] | None, source: str) -> list[str]:
    import difflib

    names = [str(c) for c in frame.columns]
    if not len(frame):
        raise DataError(f"{source} has {len(names)} columns but no rows, so there is nothing to learn from. Give rows.")
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    if target is None:
        raise TargetError(f"Name the column to predict: target=NAME (--target NAME). Those of {source} are {shown}.")
    wanted = list(map(str, target)) if isinstance(target, list | tuple) else [str(target)]
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise TargetError(f"There is no column {name!r} in {source}. {hint}Its columns are {shown}.")
    return wanted


def _columns_to_judge_by(frame: pd.DataFrame, names: list[str]) -> None:
    """A misspelt column is said before the search."""
    for name in names:
        if name not in frame.columns:
            shown = ", ".join(map(str, frame.columns[:12]))
            raise ParameterError(f"There is no column {name!r} to evaluate by. The columns are {shown}.")


def _places(out: str | os.PathLike[str] | None, target: str, resume: bool) -> tuple[Path, Path | None]:
    """(run folder, model file or None), made and proven writable before any work starts."""
    model_path = Path(out) if out is not None and str(out).endswith(".em") else None
    if model_path is not None and not model_path.parent.is_dir():
        raise ParameterError(f"out={str(out)!r}: the folder {model_path.parent} does not exist. Make it first.")
    if out is not None and model_path is None:
        folder = Path(out)
    else:
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        word = re.sub(r"[^A-Za-z0-9_-]+", "_", target)[:40] or "run"
        folder = Path(Settings.load().runs_folder) / f"{stamp}-{word}"
        for again in range(2, 1000):  # another run may have begun in the same second
            if not folder.exists():
                break
            folder = folder.with_name(f"{stamp}-{word}-{again}")
    if resume and not folder.is_dir():
        raise ParameterError(f"resume: there is no run folder {folder}. Name it with out=FOLDER (--resume FOLDER).")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in {folder, model_path.parent if model_path else folder}:
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        raise ParameterError(
            f"Cannot write to {error.filename or folder}: {error.strerror}. Choose another place with out=."
        ) from error
    return folder, model_path


def _split(
    frame: pd.DataFrame,
    targets: list[str],
    task: str | None,
    group: str | None,
    time: str | None,
    column: str | None,
    test_size: float,
    seed: int,
) -> tuple[Split, pd.DataFrame, Understanding]:
    """Splits on the target and the columns that steer the split, without looking at any other; rows with a target; and
    what is known of the target."""
    from everymodel.workflow.split import split
    from everymodel.workflow.understand import understand

    steering = [c for c in (group, time, column) if c is not None]
    for name in steering:
        if name not in frame.columns:
            raise ParameterError(
                f"There is no column {name!r} to split by. The columns are {', '.join(map(str, frame.columns[:12]))}."
            )
    narrow = frame[list(dict.fromkeys([*targets, *steering]))]
    wanted = targets if len(targets) > 1 else targets[0]
    first = understand(narrow, wanted, task=task, group=group, time=time, split=column, need_features=False)
    rows = frame[first.keep]
    parts = split(first, frame, test_size=test_size, seed=seed, group=group, time=time, column=column)
    return parts, rows, first


def _understand(
    train: pd.DataFrame,
    target: str | list[str] | None,
    task: str | None,
    group: str | None,
    time: str | None,
    split: str | None,
    unseen: str,
    keep_suspects: bool | list[str],
    loose: pd.DataFrame | None = None,
) -> Understanding:
    """Columns and the target of the training rows; what is in columns is also looked up in rows without a target."""
    from dataclasses import replace

    from everymodel.workflow.understand import understand

    if loose is not None:
        import pandas as pd

        train = pd.concat([train, loose])
    found = understand(train, target, task=task, group=group, time=time, split=split, keep_suspects=keep_suspects)
    found.schema = replace(found.schema, unseen=unseen)
    return found


def _without(parts: Split, keep: np.ndarray) -> Split:
    """The split when only the training rows in `keep` (n_train,) bool remain; folds are renumbered."""
    from dataclasses import replace

    place = np.cumsum(keep) - 1
    folds = [(place[a[keep[a]]], place[b[keep[b]]]) for a, b in parts.folds]
    return replace(parts, train=parts.train[keep], folds=folds)


def _labels(schema: Any, frame: pd.DataFrame, targets: list[str]) -> np.ndarray:
    return table.parse_target(schema, frame[targets[0]] if len(targets) == 1 else frame[targets])


def _search(
    problem: Problem,
    models: list[str] | str | None,
    clock: Clock,
    trials: int | None,
    folder: Path,
    resume: bool,
    listener: Listener | None,
    prefer: str | None,
    fingerprint: str,
    given: dict[str, Any],
    slow: float,
    later: float,
) -> SearchResult:
    kept = _closing_seconds(clock.limit, slow, len(problem.schema.columns)) + later
    inner = Clock(None if clock.limit is None else max(clock.left() - kept, 0.3 * clock.limit))
    return search(
        problem,
        models=[models] if isinstance(models, str) else models,
        clock=inner,
        trials=trials,
        folder=folder,
        resume=resume,
        listener=listener,
        cores=Settings.load().cores(),
        prefer=prefer,
        fingerprint=fingerprint,
        options=given,
    )


def _closing_seconds(limit: float | None, slow: float, columns: int) -> float:
    """What the evaluation, the explanations and the file are given of the clock."""
    if limit is None:
        return 0.0
    own = slow * (min(0.02 * limit, 20.0) + min(2.5, 0.05 * limit)) + _explain_seconds(limit)
    # Each column costs its part of a millisecond to read back, to try out and to write.
    return own + min(slow * 0.0003 * columns, 0.2 * limit)


def _choose_threshold(
    model: Model, y: np.ndarray, result: SearchResult, costs: dict[str, float] | None
) -> dict[str, Any] | None:
    """With costs given, the binary decision threshold is chosen on out-of-fold answers, never on the test rows."""
    if not costs:
        return None
    from everymodel.workflow.evaluate import threshold_choice

    answers = result.oof[:, 1] if result.oof.ndim == 2 else result.oof
    known = np.isfinite(answers)
    choice = threshold_choice(y[known], answers[known], costs)
    model.manifest["threshold"] = float(choice["threshold"])
    model.manifest["costs"] = dict(costs)
    return choice


def _evaluate(
    model: Model,
    result: SearchResult,
    rows: pd.DataFrame,
    parts: Split,
    targets: list[str],
    y: np.ndarray,
    metric: str,
    group: str | None,
    segments: list[str] | str | None,
    fairness: str | None,
    costs: dict[str, float] | None,
    seed: int,
) -> tuple[Evaluation, tuple[Any, np.ndarray], list[Finding]]:
    """The one reading of the test part. Without one, out-of-fold answers on the training rows take its place."""
    from everymodel.workflow.evaluate import evaluate
    from everymodel.workflow.understand import shared_rows

    findings: list[Finding] = []
    if len(parts.test):
        frame = rows.iloc[parts.test]
        y = _labels(model.schema, frame, targets)
        batch, _ = table.parse(model.schema, frame, unseen="ignore", bad="missing")
        answers, baselines = model.answers(batch), {k: p(batch) for k, p in result.packs_by_model.items()}
        shared = shared_rows(rows, model.schema, parts.train, parts.test)
        findings += [shared] if shared else []
        source = "test"
    else:
        known = np.isfinite(result.oof).reshape(len(y), -1).all(axis=1)
        frame = rows.iloc[parts.train][known]
        batch, _ = table.parse(model.schema, frame, unseen="ignore", bad="missing")
        answers, y = result.oof[known], y[known]
        baselines = {k: v[known] for k, v in result.oof_by_model.items()}
        source = "cross-validation"
    columns = [segments] if isinstance(segments, str) else segments or []
    evaluation = evaluate(
        model.task,
        y,
        answers,
        classes=model.classes or (targets if len(targets) > 1 else ()),
        metric=metric,
        source=source,
        baselines=baselines,
        segments={name: frame[name].to_numpy() for name in columns} or None,
        fairness={fairness: frame[fairness].to_numpy()} if fairness else None,
        costs=costs,
        threshold=model.manifest.get("threshold"),
        groups=frame[group].to_numpy() if group else None,
        seed=seed,
    )
    return evaluation, (batch, y), findings


def _describe(model: Model, evaluation: Evaluation, findings: list[Finding]) -> None:
    model.manifest["metrics"] = [
        {"name": m.name, "value": m.value, "low": m.low, "high": m.high, "source": evaluation.source}
        for m in evaluation.metrics
    ]
    model.manifest["headline"] = evaluation.headline
    model.manifest["findings"] = [f.to_dict() for f in findings]


def _slowness(wall: float, cpu: float) -> float:
    """How many times longer than it should our own work takes, because others use the machine too: 1 to 2.5."""
    return float(np.clip(wall / max(cpu, 1e-3), 1.0, 2.5)) if wall > 0.1 else 1.0


def _explain_seconds(limit: float | None) -> float:
    return 8.0 if limit is None else min(8.0, 0.05 * limit)


def _explain(
    model: Model, seen: tuple[Any, np.ndarray], clock: Clock, limit: float | None, seed: int
) -> dict[str, Any]:
    from everymodel.workflow.evaluate import explain

    allowed = min(_explain_seconds(limit), clock.left() - 0.3)
    if allowed < 0.2:
        return {}
    batch, y = seen
    if len(y) > 20_000:
        rows = np.sort(np.random.default_rng(seed).choice(len(y), 20_000, replace=False))
        batch, y = batch.take(rows), y[rows]
    return explain(model, batch, y, seed=seed, seconds=allowed)


def _save(model: Model, folder: Path, model_path: Path | None, findings: list[Finding]) -> None:
    """The model in the run folder and where it was asked for. A full disk must not cost the model: the run is returned,
    and a finding says what could not be written."""
    import shutil

    path = folder / "model.em"
    try:
        try:
            model.save(path)
        except OSError:  # finished fits are only kept for a resume: the model needs their room more
            shutil.rmtree(folder / "search" / "fits", ignore_errors=True)
            model.save(path)
    except OSError as error:
        findings.append(_unsaved("the model", path, error))
        if model_path is not None:
            model.save(model_path)
        return
    if model_path is not None:
        with atomic_write(model_path) as stream:
            stream.write(path.read_bytes())


def _save_story(told: dict[str, Any], folder: Path, findings: list[Finding]) -> None:
    """What the report is drawn from, in the run folder; a finding where there is no room for it."""
    try:
        with atomic_write(folder / "story.json") as stream:
            stream.write(json.dumps(told, allow_nan=False, indent=1).encode())
    except OSError as error:
        findings.append(_unsaved("the story of the run", folder / "story.json", error))


def _unsaved(what: str, path: Path, error: OSError) -> Finding:
    return Finding(
        "not-saved",
        "error",
        f"{what[:1].upper()}{what[1:]} could not be written to {path}: {error.strerror or error}.",
        "Make room on that disk, then write it again: run.model.save(PATH), run.report(PATH).",
        data={"file": path.name},
    )


def _learning_curve(problem: Problem, result: SearchResult, clock: Clock) -> list[dict[str, float]]:
    """Cross-validated score of the best single model on growing parts of the training rows."""
    from everymodel.workflow.automl import learning_curve

    return learning_curve(problem, result, clock=clock)


# ---- small things --------------------------------------------------------------------------------------------------


@contextmanager
def _stage(name: str, timing: dict[str, float], listener: Listener | None) -> Iterator[None]:
    if listener:
        listener(Progress(name))
    started = clocks.perf_counter()
    yield
    timing[name] = round(clocks.perf_counter() - started, 3)


def _listener(progress: bool | Listener | None) -> Listener | None:
    if callable(progress):
        return progress
    from everymodel.workflow.progress import terminal_listener

    return terminal_listener(progress)


def _frame(leaderboard: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(leaderboard)
