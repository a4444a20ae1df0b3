"""The story of a run over the nodes of a graph: read, split, describe, try, choose, test once, pack."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.errors import BudgetError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.core.finding import Finding
from everymodel.scoring import table
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.metrics import METRICS, resolve
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.graph_nodes import GraphNodes
from everymodel.workflow.graphs import tables
from everymodel.workflow.graphs.candidates import Candidate, candidates, load, run
from everymodel.workflow.model import Model
from everymodel.workflow.types import Listener, Problem, Progress, SearchResult, Split, Table

if TYPE_CHECKING:
    from everymodel.workflow.run import Run

_END = 1.5  # seconds kept for the last fit, the test and the file, times what the best candidate takes


class _Stop:
    """Asked by fits now and then; `deadline` is for those that plan ahead."""

    def __init__(self, clock: Clock, share: float):
        import time

        left = clock.left() if clock.limit is not None else None
        self.deadline = None if left is None else time.monotonic() + max(left * share, 0.05)

    def __call__(self) -> bool:
        import time

        return self.deadline is not None and time.monotonic() > self.deadline


def fit_nodes(
    edges: Any,
    nodes: Any,
    target: Any,
    *,
    task: str | None,
    models: list[str] | None,
    clock: Clock,
    metric: str | None,
    split: str | None,
    test_size: float,
    seed: int,
    out: Any,
    keep_suspects: bool | list[str],
    listener: Listener | None,
    timing: dict[str, float],
    graph: str | None = None,
    trials: int | None = None,
) -> Run:
    """From a table of edges and one of nodes to a tested model of the nodes' column `target`.

    The model answers ids of nodes. Nodes without a label are part of the graph, and are answered in `run.tables`.
    With `graph`, a column of the nodes, the model answers whole graphs: see `sets.fit_graphs`.
    """
    if nodes is None:
        raise ParameterError(f"graph={graph!r} is a column of a table of nodes. Give it too: nodes=... (--nodes).")
    if graph is not None:
        from everymodel.workflow.graphs.sets import fit_graphs

        return fit_graphs(
            edges, nodes, target, graph, task=task, models=models, clock=clock, metric=metric, split=split,
            test_size=test_size, seed=seed, out=out, keep_suspects=keep_suspects, listener=listener, timing=timing,
            trials=trials,
        )  # fmt: skip
    from everymodel.workflow.run import Run, _frame, _places, _read, _split, _stage, _targets

    goal = tables.check_target(target)
    with _stage("read", timing, listener):
        source, beside = _read(edges), _read(nodes)
        frame = beside.frame
        _targets(frame, goal, beside.source)
        known = tables.connect(source.frame, frame, goal)
        folder, model_path = _places(out, goal, False)
    with _stage("split", timing, listener):
        parts, rows, first = _split(frame, [goal], task, None, None, split, test_size, seed)
        place = np.flatnonzero(first.keep)  # nodes of the rows that have a label
        train, test = place[parts.train], place[parts.test]
    with _stage("understand", timing, listener):
        steering = [split] if split else []
        x, told, suspects, reads = tables.described(known, frame, goal, train, keep_suspects, seed, steering)
        known.graph.features = x
        schema = tables.schema_of(known, goal, first.schema)
        metric = resolve(metric, schema.task).name
        y = np.full(len(frame), np.nan)
        y[place] = table.parse_target(first.schema, rows[goal])
        findings = [*source.findings, *beside.findings, *known.findings, *told, *_said(known, train, test, len(frame))]
    with _stage("search", timing, listener):
        tried = candidates(known.graph, schema.task, len(schema.classes), models)
        problem = Problem(
            schema, schema.task, Batch({known.column: train}, len(train)), y[train], parts.folds, metric, seed
        )
        result, answers, simple = _search(problem, tried, train, y, known.column, clock, listener)
        findings += result.findings
        last = result.pack.nodes[-1]
        if reads is not None and isinstance(last.step, GraphNodes):
            result.pack = Pack([replace(last, step=last.step.reading(*reads))])
    with _stage("evaluate", timing, listener):
        evaluation = _evaluate(problem, result, answers, test, y, simple)
        batch = problem.batch
        from everymodel.workflow.pack import assemble

        whole = Table(
            frame, source.source, source.format, source.details, [], f"{source.fingerprint}+{beside.fingerprint}"
        )
        model = assemble(
            result,
            schema,
            batch,
            y[train],
            name=goal,
            metric=metric,
            seed=seed,
            fingerprint=whole.fingerprint,
            findings=[],
            suspect=bool(suspects) and bool(keep_suspects),
        )
        model.manifest["graph"] = {
            "nodes": len(known.graph),
            "edges": known.graph.edges,
            "column": known.column,
            "ends": list(known.ends),
            "weight": known.weight,
        }
        _describe(model, evaluation, findings)
    with _stage("save", timing, listener):
        model.save(folder / "model.em")
        if model_path is not None:
            with atomic_write(model_path) as stream:
                stream.write((folder / "model.em").read_bytes())
        story = _story(
            whole, findings, parts, problem, result, evaluation, timing, clock, frame, model, folder, model_path
        )
    return Run(model, _frame(result.leaderboard), findings, evaluation, story, folder, result,
               tables={"nodes": _all(known, model, frame, goal, train, test, answers["chosen"])})  # fmt: skip


def _said(known: tables.Known, train: np.ndarray, test: np.ndarray, n: int) -> list[Finding]:
    """That test nodes lie in the graph, with their features and edges but without their labels; what has no label."""
    loose = n - len(train) - len(test)
    found = [
        Finding(
            "transductive",
            "info",
            f"Nodes were judged inside the graph: features and edges of the {len(test):,} test nodes were known when "
            "models were fitted, their labels were hidden from every choice.",
            "The score holds for nodes of this graph. Of the models only graph networks of nodes with features answer "
            "nodes that join later (predict with edges), which no score here measures.",
            data={"train": len(train), "test": len(test)},
        )
    ]
    if loose:
        text = (
            f"{loose:,} of {n:,} nodes have no label. They are part of the graph, and run.tables['nodes'] answers them."
        )
        found.append(Finding("unlabelled-nodes", "info", text, data={"count": loose}))
    return found


def _search(
    problem: Problem,
    tried: list[Candidate],
    train: np.ndarray,
    y: np.ndarray,
    column: str,
    clock: Clock,
    listener: Listener | None,
) -> tuple[SearchResult, dict[str, np.ndarray], str]:
    """Every candidate on every fold of the training nodes, the best once more on all of them.

    Gives the result, what the "chosen", the "dummy" and the best "simple" model answer for all nodes, and the name of
    the last.
    """
    from everymodel.workflow.search.ensemble import Judge

    seed, folds = problem.seed, problem.folds
    judge = Judge(problem.metric, problem.task, problem.y, seeds.derive(seed, "graphs"))
    stopped, interrupted = "finished", False
    for i, candidate in enumerate(tried):
        if interrupted:
            candidate.failed = "stopped on request"
            continue
        if listener:
            listener(Progress("search", candidate=candidate.name, done=i, total=len(tried)))
        try:
            if candidate.card not in ("dummy", "label_propagation"):
                load(candidate, problem.task)
            for fold, (fit, _) in enumerate(folds):
                slow = candidate.seconds / max(fold, 1)
                if i and clock.limit is not None and clock.left() < max((_END + 1) * slow, 0.15 * clock.limit):
                    candidate.failed, stopped = candidate.failed or "out of time", "budget"
                    break
                stop = _Stop(clock, 0.6 / (len(folds) - fold))  # a slow one leaves time for those after it
                if run(candidate, fold, train[fit], problem.y[fit], seed, stop) is None:
                    break
        except KeyboardInterrupt:
            candidate.failed, stopped, interrupted = "stopped on request", "interrupted", True
    whole = [c for c in tried if len(c.folds) == len(folds)]
    if not whole:
        raise BudgetError("No model of the nodes was ready in time. Give more time: budget=... (--budget).")
    oof = {c.name: _held_out(c, folds, train) for c in whole}
    losses = {name: judge.loss(answers) for name, answers in oof.items()}
    order = sorted(whole, key=lambda c: losses[c.name])
    best = order[0]
    simple = next((c for c in order if c.card in ("label_propagation", "logistic", "ridge")), None)
    packs: dict[str, Pack] = {}
    answers: dict[str, np.ndarray] = {}
    for key, candidate in (("chosen", best), ("dummy", tried[0]), ("simple", simple)):
        if candidate is None:
            continue
        step = run(candidate, -1, train, problem.y, seed, _Stop(clock, 0.8))
        if step is None:
            raise BudgetError(f"{candidate.name} could not be fitted on all training nodes: {candidate.failed}")
        answers[key] = candidate.folds[-1]
        packs[key] = Pack([Node("answer", replace(step, column=column), (TABLE,))])  # type: ignore[type-var]
    result = SearchResult(
        pack=packs["chosen"],
        leaderboard=_board(problem, tried, oof, judge, best),
        oof=oof[best.name],
        oof_by_model={},
        packs_by_model={k: p for k, p in packs.items() if k != "chosen"},
        members=[
            {"name": best.name, "model": best.name, "card": best.card, "weight": 1.0, "parameters": best.parameters}
        ],
        failures=[{"model": c.name, "reason": c.failed} for c in tried if c.failed],
        stopped=stopped,
    )
    return result, answers, simple.name[:1].lower() + simple.name[1:] if simple else ""


def _held_out(candidate: Candidate, folds: list[Any], train: np.ndarray) -> np.ndarray:
    """Answers for each training node by the fit that did not see its label."""
    first = candidate.folds[0]
    made = np.full((len(train), *first.shape[1:]), np.nan)
    for fold, (_, valid) in enumerate(folds):
        made[valid] = candidate.folds[fold][train[valid]]
    lost = ~np.isfinite(made.reshape(len(made), -1)).all(axis=1)
    if lost.any():  # rows that are in no validation part
        made[lost] = candidate.folds[0][train].mean(axis=0)
    return made


def _board(
    problem: Problem, tried: list[Candidate], oof: dict[str, np.ndarray], judge: Any, best: Candidate
) -> list[dict[str, Any]]:
    higher = METRICS[problem.metric].better == "higher"
    board = []
    for c in tried:
        row: dict[str, Any] = {"model": c.name, "card": c.card, "score": None, "score_low": None, "score_high": None}
        if c.name in oof:
            loss, noise = judge.loss(oof[c.name]), judge.spread(oof[c.name])
            low, high = loss - 1.645 * noise, loss + 1.645 * noise
            score = (1 - loss, 1 - high, 1 - low) if higher else (loss, low, high)
            row |= dict(zip(("score", "score_low", "score_high"), map(float, score), strict=True))
        row |= {"fit_seconds": round(c.seconds, 3), "row_ms": None, "size": None, "weight": float(c is best)}
        row |= {"folds": len(c.folds), "parameters": c.parameters, "origin": "graph", "status": c.failed or "ok"}
        board.append(row)
    sign = -1 if higher else 1
    return sorted(board, key=lambda r: (r["score"] is None, sign * (r["score"] or 0.0), r["model"]))


def _evaluate(
    problem: Problem,
    result: SearchResult,
    answers: dict[str, np.ndarray],
    test: np.ndarray,
    y: np.ndarray,
    simple: str,
) -> Any:
    from everymodel.workflow.evaluate import evaluate

    tested = len(test) > 0
    chosen = answers["chosen"][test] if tested else result.oof
    truth = y[test] if tested else problem.y
    if problem.task != "regression":
        truth = truth.astype(np.int64)
    # "simple" would be called logistic regression, which it need not be here.
    names = {"dummy": "dummy", "simple": simple}
    baselines = {names[k]: a[test] for k, a in answers.items() if k != "chosen"} if tested else {}
    return evaluate(
        problem.task,
        truth,
        chosen,
        classes=problem.schema.classes,
        metric=problem.metric,
        source="test" if tested else "cross-validation",
        baselines=baselines,
        seed=problem.seed,
    )


def _describe(model: Model, evaluation: Any, findings: list[Finding]) -> None:
    from everymodel.workflow.run import _describe as describe

    describe(model, evaluation, findings)


def _story(
    whole: Table,
    findings: list[Finding],
    parts: Split,
    problem: Problem,
    result: SearchResult,
    evaluation: Any,
    timing: dict[str, float],
    clock: Clock,
    frame: Any,
    model: Model,
    folder: Path,
    model_path: Path | None,
) -> dict[str, Any]:
    from everymodel.workflow.story import story

    slim = replace(problem, schema=replace(problem.schema, columns=tuple(
        replace(c, levels=c.levels[:20]) if c.role == "feature" else c for c in problem.schema.columns)))  # fmt: skip
    file = model_path or folder / "model.em"
    told = story(whole, findings, parts, slim, result, evaluation, {}, timing, clock.limit, file, frame, False)
    told["graph"] = model.manifest["graph"]
    with atomic_write(folder / "story.json") as stream:
        stream.write(json.dumps(told, allow_nan=False, indent=1).encode())
    return told


def _all(
    known: tables.Known,
    model: Model,
    frame: Any,
    target: str,
    train: np.ndarray,
    test: np.ndarray,
    answers: np.ndarray,
) -> Any:
    """Every node with its answer, and whether its label taught, tested, or is unknown."""
    import pandas as pd

    part = np.full(len(frame), "unknown", dtype=object)
    part[train], part[test] = "train", "test"
    made = pd.DataFrame({known.column: frame[known.column].to_numpy(), "part": part})
    made["prediction"] = model.decide(answers)
    if answers.ndim == 2:
        made["confidence"] = answers.max(axis=1)
    return made
