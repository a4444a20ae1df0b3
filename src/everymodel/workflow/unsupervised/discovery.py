"""The whole story without a target: read, understand, find, evaluate, pack, report."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.clock import Clock
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.finding import Finding
from everymodel.scoring import cells, table
from everymodel.workflow.model import Model
from everymodel.workflow.types import Evaluation, Listener, Problem, SearchResult, Split, Table
from everymodel.workflow.unsupervised.material import Material, Outcome, prepare

if TYPE_CHECKING:
    from everymodel.workflow.run import Run

# What may be asked for, beside what every task takes.
OPTIONS = {"cluster": ("clusters",), "anomaly": ("contamination",), "reduce": ("components",), "embed": ("components",)}

KINDS = {"cluster": "clusterer", "anomaly": "detector", "reduce": "reducer", "embed": "reducer"}


def warm_up(task: str, models: list[str] | None) -> None:
    """Start the fitting process now, so that it loads its libraries while the table is being read."""
    from everymodel import catalog
    from everymodel.workflow.search import crew

    wanted = [m.strip().lower() for m in models or []]
    cards = [c for c in catalog.cards() if c.kind == KINDS[task] and task in c.tasks and catalog.available(c)]
    cards = [c for c in cards if (c.name in wanted or c.class_name.lower() in wanted if wanted else c.priority)]
    crew.warm_up([(c.name, c.kind) for c in sorted(cards, key=lambda c: (c.priority or 0, c.name))])


def discover(
    source: Table,
    task: str,
    *,
    labels: str | None,
    models: list[str] | None,
    options: dict[str, Any],
    clock: Clock,
    trials: int | None,
    seed: int,
    unseen: str,
    folder: Path,
    model_path: Path | None,
    listener: Listener | None,
    timing: dict[str, float],
) -> Run:
    """Find groups, oddities, components or a map in a table that has been read.

    Parameters
    ----------
    task : one of `core.schema.FREE_TASKS`.
    labels : a column that is compared with what is found, and never learnt from.
    options : `clusters`, `contamination` or `components`.
    """
    from everymodel.workflow.run import Run, _frame, _save, _save_story, _stage

    with _stage("understand", timing, listener):
        material, schema, findings, truth = _understand(source, task, labels, unseen, seed)
        _check(task, options, material)
    with _stage("search", timing, listener):
        stage = import_module(f"everymodel.workflow.unsupervised.{task}")
        wanted = {k: v for k, v in options.items() if k in OPTIONS[task]}
        outcome: Outcome = stage.discover(
            material,
            models=models,
            labels=None if truth is None else truth[0],
            clock=clock,
            trials=trials,
            listener=listener,
            seed=seed,
            **wanted,
        )
        findings = sorted([*findings, *outcome.findings], key=lambda f: ("error", "warning", "info").index(f.severity))
    if truth is not None:
        _name_colours(outcome.structure.get("map"), task, labels or "", truth[1])
    if "map" in outcome.tables:  # rows by the names that the table gives them
        outcome.tables["map"].index = source.frame.index[outcome.tables["map"].index]
    with _stage("save", timing, listener):
        schema = replace(schema, task=task, classes=outcome.classes)
        result = _result(outcome)
        model = _model(result, outcome, schema, material, source, findings, task, seed)
        _save(model, folder, model_path, findings)
        evaluation = Evaluation(task, "all rows", outcome.metrics, outcome.headline, [])
        told = _story(source, findings, material, schema, result, outcome, evaluation, labels, timing, clock, seed,
                      model_path or folder / "model.em")  # fmt: skip
        _save_story(told, folder, findings)
    return Run(model, _frame(outcome.leaderboard), findings, evaluation, told, folder, result, tables=outcome.tables)


def _understand(
    source: Table, task: str, labels: str | None, unseen: str, seed: int
) -> tuple[Material, Any, list[Finding], tuple[np.ndarray, list[str]] | None]:
    from everymodel.workflow.understand import understand

    found = understand(source.frame, None, ignore=[labels] if labels else ())
    schema = replace(found.schema, unseen=unseen)
    if not schema.features:
        out = "; ".join(f"{c.name!r}: {c.reason or c.role}" for c in schema.columns)
        raise DataError(f"No column is left to find anything in ({out}). Add columns that describe the rows.")
    batch, _ = table.parse(schema, source.frame, unseen="ignore", bad="missing")
    if batch.n < 4:
        raise DataError(f"The table has {batch.n} rows; to find anything without a target at least 4 are needed.")
    material = Material(schema, batch, seed)
    material.balanced = prepare(schema, batch, seed)
    truth = None
    if labels:
        words = cells.as_text(source.frame[labels])
        names, codes = np.unique(words.astype(str), return_inverse=True)
        truth = codes, names.tolist()
    return material, schema, [*source.findings, *found.findings], truth


def _check(task: str, options: dict[str, Any], material: Material) -> None:
    """Every option must belong to the task and make sense for the rows."""

    def whole(value: Any) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)

    for name, value in options.items():
        if value is None:
            continue
        if name not in OPTIONS[task]:
            fits = ", ".join(t for t, names in OPTIONS.items() if name in names)
            raise ParameterError(f"{name}={value!r} is not for task={task!r}, but for {fits}.")
        if name == "clusters" and not (whole(value) and 1 <= value <= material.n):
            raise ParameterError(
                f"clusters={value!r} is not possible: expected a whole number from 1 to {material.n} (rows)."
            )
        if name == "components":
            most = 3 if task == "embed" else min(material.n, material.balanced.X.shape[1])
            least = 2 if task == "embed" else 1
            if not (whole(value) and least <= value <= most):
                raise ParameterError(f"components={value!r} is not possible here: expected from {least} to {most}.")
        if name == "contamination" and not (isinstance(value, int | float) and 0 < value <= 0.5):
            raise ParameterError(
                f"contamination={value!r} is not possible: expected a share of odd rows above 0, at most 0.5."
            )


def _name_colours(map_: dict[str, Any] | None, task: str, column: str, names: list[str]) -> None:
    """The stages know labels as codes; the map tells the column's own words."""
    for colour in (map_ or {}).get("colours", []):
        if colour["name"] == "given labels":
            colour.update(name=column, names=names)
    if map_ and task == "reduce" and map_.get("labels"):  # in maps of groups and of anomalies labels are these
        map_["labels"] = [names[code] for code in map_["labels"]]


def _result(outcome: Outcome) -> SearchResult:
    return SearchResult(
        pack=outcome.fitted.pack(),
        leaderboard=outcome.leaderboard,
        oof=np.zeros(0),
        oof_by_model={},
        packs_by_model={},
        members=outcome.members,
        failures=outcome.failures,
        stopped=outcome.stopped,
    )


def _model(
    result: SearchResult,
    outcome: Outcome,
    schema: Any,
    material: Material,
    source: Table,
    findings: list[Finding],
    task: str,
    seed: int,
) -> Model:
    from everymodel.workflow.pack import assemble

    model = assemble(
        result,
        schema,
        material.batch,
        np.zeros(material.n),
        name={"cluster": "groups", "anomaly": "anomalies", "reduce": "components", "embed": "map"}[task],
        metric=outcome.metric,
        seed=seed,
        fingerprint=source.fingerprint,
        findings=[f.to_dict() for f in findings],
        suspect=False,
    )
    model.manifest.update(outcome.manifest)
    model.manifest["headline"] = outcome.headline
    model.manifest["metrics"] = [
        {"name": m.name, "value": m.value, "low": m.low, "high": m.high, "source": "all rows"} for m in outcome.metrics
    ]
    return model


def _story(
    source: Table,
    findings: list[Finding],
    material: Material,
    schema: Any,
    result: SearchResult,
    outcome: Outcome,
    evaluation: Evaluation,
    labels: str | None,
    timing: dict[str, float],
    clock: Clock,
    seed: int,
    model_file: Path,
) -> dict[str, Any]:
    from everymodel.workflow.story import plain, story

    rows = np.arange(material.n)
    parts = Split("none", rows, rows[:0], [], "There is no target, so no rows were set aside.")
    problem = Problem(schema, schema.task, material.batch, np.zeros(0), [], outcome.metric, seed)
    told = story(
        source, findings, parts, problem, result, evaluation, {}, timing, clock.limit, model_file, source.frame, False
    )
    name = Path(source.source).name or source.source
    what = {"cluster": "Groups", "anomaly": "Anomalies", "reduce": "Components", "embed": "A map"}[schema.task]
    told["title"] = f"{what} in {name}" if not name.startswith("<") else what
    told["labels"] = labels
    told["structure"] = plain(outcome.structure)
    return told
