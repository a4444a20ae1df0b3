"""The story of a run over whole graphs: read, split, describe, search, try networks, choose, test once, pack."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.errors import BudgetError, DataError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.core.finding import Finding
from everymodel.core.graph import Graph, Rows
from everymodel.core.schema import Column, Schema
from everymodel.core.settings import Settings
from everymodel.scoring import table
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.graph_sets import gathered
from everymodel.scoring.layers.graph import Signal
from everymodel.scoring.metrics import METRICS, resolve
from everymodel.scoring.steps.base import Batch, Sparse
from everymodel.scoring.steps.graph_sets import GraphSetTable, described, titles
from everymodel.workflow.graphs import tables
from everymodel.workflow.graphs.model import GraphsModel, labels_of
from everymodel.workflow.graphs.nodes import _describe, _Stop
from everymodel.workflow.types import Listener, Problem, Progress, SearchResult, Table

if TYPE_CHECKING:
    import pandas as pd

    from everymodel.workflow.run import Run

PAIRS = 8  # numbers of a node, up to which each two are also told side by side over edges
SHARE, END = 0.45, 0.12  # of the budget: for the search among classic models, and for what comes after all of it
_PLAIN = {"hidden": (64, 64), "dropout": 0.1, "epochs": 80, "learning_rate": 0.005, "weight_decay": 1e-4}
_NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("graph_sage", _PLAIN),
    ("graph_convolution", _PLAIN),
    ("graph_sage", {**_PLAIN, "pooling": "max"}),
    ("graph_attention", {**_PLAIN, "hidden": (16, 16), "heads": 4}),
)


@dataclass
class Sets:
    """Graphs, one after the other, and what is known of their nodes."""

    told: dict[str, Any]
    frame: pd.DataFrame  # nodes, each graph's together
    adjacency: Rows
    sizes: np.ndarray
    names: list[str]
    findings: list[Finding]
    schema: Schema | None = None  # of the nodes' columns
    nodes: tuple[Node, ...] = ()  # that turn them into numbers
    columns: tuple[str, ...] = ()  # what these numbers are called
    x: np.ndarray | None = None  # (n, p)

    @property
    def member(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def graphs(self) -> list[Graph]:
        """Each graph by itself; the last number of a node is the logarithm of its edges."""
        assert self.x is not None
        x = np.column_stack([self.x, np.log1p(np.diff(self.adjacency.starts))])
        row, column, value = self.adjacency.row, self.adjacency.columns, self.adjacency.values
        half = row < column
        row, column, value = row[half], column[half], value[half]
        first = np.cumsum(self.sizes) - self.sizes
        cuts = np.searchsorted(row, np.append(first, len(x)))
        made = []
        for i, (at, size) in enumerate(zip(first.tolist(), self.sizes.tolist(), strict=True)):
            some = slice(cuts[i], cuts[i + 1])
            pairs = (row[some] - at, column[some] - at)
            made.append(Graph(pairs, features=x[at : at + size], weights=value[some]))
        return made


def fit_graphs(
    edges: Any,
    nodes: Any,
    target: Any,
    graph: str,
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
    trials: int | None,
) -> Run:
    """From a table of edges and one of nodes, whose column `graph` says the graph of each, to a tested model of the
    graphs' label `target`. Graphs without a label are answered in `run.tables["graphs"]`.
    """
    from everymodel.workflow.pack import assemble
    from everymodel.workflow.run import Run, _frame, _places, _read, _split, _stage, _targets

    goal = tables.check_target(target)
    with _stage("read", timing, listener):
        source, beside = _read(edges), _read(nodes)
        _targets(beside.frame, goal, beside.source)
        known = together(source.frame, beside.frame, graph, goal)
        labels = labels_of(known.frame, graph, goal)
        folder, model_path = _places(out, goal, False)
        wanted = _chosen(models, "regressor" if task == "regression" else "classifier")
    with _stage("split", timing, listener):
        small = _small(known, graph, goal, labels, split)
        parts, rows, first = _split(small, [goal], task, None, None, split, test_size, seed)
        place = np.flatnonzero(first.keep)
        train, test = place[parts.train], place[parts.test]
    with _stage("understand", timing, listener):
        suspects = _understood(known, graph, goal, split, train, keep_suspects, seed)
        column = next(c for c in first.schema.columns if c.name == goal)
        y = np.full(len(small), np.nan)
        y[place] = table.parse_target(first.schema, rows[goal])
        metric = resolve(metric, first.schema.task).name
        described_, schema = _table_of(known, column, first.schema)
        findings = [*source.findings, *beside.findings, *known.findings]
        findings += [f for f in first.findings if f.code in ("target-missing", "single-member-classes")]
        own = Problem(schema, schema.task, described_.take(train), _coded(y[train], schema), parts.folds, metric, seed)
    with _stage("search", timing, listener):
        result, answers, simple = _search(known, described_, own, train, wanted, clock, listener, trials)
        findings += result.findings
    with _stage("evaluate", timing, listener):
        evaluation = _evaluate(own, result, answers, test, y, simple)
        asked = replace(schema, columns=(*(known.schema.features if known.schema else ()), column), unseen="warn")
        batch, _ = table.parse(asked, known.frame[np.isin(known.member, train)], unseen="ignore", bad="missing")
        fingerprint = f"{source.fingerprint}+{beside.fingerprint}"
        suspect = bool(suspects) and bool(keep_suspects)
        plain = assemble(result, asked, batch, own.y, name=goal, metric=metric, seed=seed, fingerprint=fingerprint,
                         findings=[], suspect=suspect)  # fmt: skip
        model = GraphsModel(plain.schema, plain.pack, plain.manifest)
        counts = {"graphs": len(small), "nodes": int(known.sizes.sum()), "edges": len(known.adjacency.columns) // 2}
        model.manifest["graphs"] = known.told | counts
        model.manifest["provenance"]["rows"] = len(train)
        _describe(model, evaluation, findings)
    with _stage("save", timing, listener):
        model.save(folder / "model.em")
        if model_path is not None:
            with atomic_write(model_path) as stream:
                stream.write((folder / "model.em").read_bytes())
        from everymodel.workflow.story import story

        whole = Table(beside.frame, beside.source, beside.format, beside.details, [], fingerprint)
        told = story(whole, findings, parts, own, result, evaluation, {}, timing, clock.limit,
                     model_path or folder / "model.em", small, suspect)  # fmt: skip
        told["graphs"] = model.manifest["graphs"]
        told["how_to"] = _how_to(model_path or folder / "model.em")
        with atomic_write(folder / "story.json") as stream:
            stream.write(json.dumps(told, allow_nan=False, indent=1).encode())
    return Run(model, _frame(result.leaderboard), findings, evaluation, told, folder, result,
               tables={"graphs": _all(small, graph, model, train, test, answers["chosen"])})  # fmt: skip


# --- the tables ------------------------------------------------------------------------------------------------------


def together(edges: pd.DataFrame, nodes: pd.DataFrame, graph: str, target: str) -> Sets:
    """Graphs from two tables: which columns name nodes, which nodes and edges belong to which graph.

    Raises
    ------
    ParameterError
        for a column `graph` that is not there; DataError where no column names nodes.
    """
    if graph not in nodes.columns:
        shown = ", ".join(map(str, nodes.columns[:12]))
        raise ParameterError(f"There is no column {graph!r} that says the graph of each node. The columns are {shown}.")
    if not len(nodes) or edges.shape[1] < 2:
        raise DataError(f"Tables of {len(nodes)} nodes and {edges.shape[1]} columns of edges came; give both.")
    within = graph in edges.columns
    column, ends = tables.ends_of(edges, nodes, (target, graph), graph if within else None)
    weight = next(
        (c for c in edges.columns if c not in (*ends, graph) and str(c).strip().lower() in tables.WEIGHTS), None
    )
    told = {"graph": graph, "node": column, "ends": list(map(str, ends)), "within": within, "directed": False}
    told["weight"] = None if weight is None else str(weight)
    order, adjacency, sizes, names, found = gathered(told, nodes, edges)
    spare = [str(c) for c in edges.columns if c not in (*ends, graph, weight)]
    if spare:
        text = f"Columns of edges are not read: {', '.join(spare[:8])}."
        advice = 'A column called "weight" would be.'
        found.append(Finding("edge-columns-unused", "info", text, advice, tuple(spare)))
    return Sets(told, nodes.iloc[order].reset_index(drop=True), adjacency, sizes, names, found)


def _small(known: Sets, graph: str, goal: str, labels: dict[str, Any], split: str | None) -> pd.DataFrame:
    """A row for each graph: its name, its label and its part."""
    import pandas as pd

    made = pd.DataFrame({graph: known.names})
    made[goal] = pd.Series([labels.get(name) for name in known.names], dtype=None if labels else object)
    if split is not None:
        if split not in known.frame.columns:
            raise ParameterError(f"There is no column {split!r} to split by in the table of nodes.")
        parts = labels_of(known.frame, graph, split)
        made[split] = [parts.get(name) for name in known.names]
    return made


def _understood(
    known: Sets, graph: str, goal: str, split: str | None, train: np.ndarray, keep_suspects: Any, seed: int
) -> tuple[str, ...]:
    """Numbers of nodes, by what the nodes of training graphs show; gives the columns that tell the target."""
    from everymodel.preprocessing.preparation import Preparation
    from everymodel.workflow.understand import understand

    known.x = np.zeros((int(known.sizes.sum()), 0))
    aside = {graph, goal, known.told["node"], split}
    rest = [c for c in known.frame.columns if c not in aside]
    if not rest:
        return ()
    taught = known.frame[np.isin(known.member, train)]
    guarded = understand(taught[[goal, *rest]], goal, keep_suspects=keep_suspects, need_features=False)
    left = () if keep_suspects is True else tuple(guarded.suspects)
    known.findings += [f for f in guarded.findings if set(f.columns) & set(guarded.suspects)]
    rest = [c for c in rest if c not in left]
    found = understand(taught[rest], None) if rest else None
    if found is None or not found.schema.features:
        return guarded.suspects
    known.findings += [f for f in found.findings if f.code != "duplicate-rows"]  # nodes may well be alike
    batch, _ = table.parse(found.schema, taught[rest], unseen="ignore", bad="missing")
    prepare = Preparation(found.schema, sparse=False, task="regression", seed=seed)
    try:
        prepare.fit_transform(batch)
    except DataError:
        return guarded.suspects  # nothing varies
    known.schema, known.nodes, known.columns = found.schema, tuple(prepare.nodes()), tuple(prepare.feature_names_)
    every, _ = table.parse(found.schema, known.frame[rest], unseen="ignore", bad="missing")
    x: Any = Pack(known.nodes)(every)
    known.x = x.toarray() if isinstance(x, Sparse) else np.asarray(x, dtype=np.float64)
    return guarded.suspects


def _table_of(known: Sets, goal: Column, first: Schema) -> tuple[Batch, Schema]:
    """A row of numbers for each graph, and its schema."""
    assert known.x is not None
    width = known.x.shape[1]
    if len(set(known.columns)) < width:
        known.columns = tuple(f"feature {i + 1}" for i in range(width))
    told = described(Signal(known.x, known.adjacency, known.sizes), _paired(width))
    names = titles(known.columns, _paired(width))
    columns = [
        Column(name, "number", low=float(v.min()), high=float(v.max()), integer=bool((v == np.floor(v)).all()))
        for name, v in zip(names, told.T, strict=True)
    ]
    taken = Batch(dict(zip(names, np.ascontiguousarray(told.T), strict=True)), len(told))
    if goal.name in names:
        goal = replace(goal, name=f"{goal.name} of the graph")
    return taken, replace(first, columns=(*columns, goal))


def _paired(width: int) -> bool:
    return 0 < width <= PAIRS


# --- the search ------------------------------------------------------------------------------------------------------


def _chosen(models: list[str] | None, kind: str) -> tuple[list[str] | None, list[tuple[str, dict[str, Any]]]]:
    """(classic models to try, None for all that suit; networks to try)."""
    words = {word for word, _ in _NETWORKS}
    there = [(word, more) for word, more in _NETWORKS if catalog.available(catalog.find(word, kind=kind))]
    if not models:
        return None, there
    named = [name if name in words else catalog.find(name, kind=kind).name for name in models]
    classic = [name for name, word in zip(models, named, strict=True) if word not in words]
    return classic, [(word, more) for word, more in there if word in named]


def _search(
    known: Sets,
    every: Batch,
    problem: Problem,
    train: np.ndarray,
    wanted: tuple[list[str] | None, list[tuple[str, dict[str, Any]]]],
    clock: Clock,
    listener: Listener | None,
    trials: int | None,
) -> tuple[SearchResult, dict[str, np.ndarray], str]:
    """The search among classic models of the graphs' numbers, then networks on the same folds; the best of both.

    Gives the result with a pack that takes graphs, what the "chosen", "dummy" and "simple" model say of all graphs,
    and the name of the last.
    """
    from everymodel.workflow.automl import search
    from everymodel.workflow.search.ensemble import Judge

    classic, networks = wanted
    limit = clock.limit
    only = classic is not None and not classic  # then the search gives what networks are compared with
    share = 0.25 if only else SHARE if networks else 1 - END
    result = search(
        problem,
        models=["ridge" if problem.task == "regression" else "logistic"] if only else classic,
        clock=Clock(None if limit is None else max(clock.left() * share, 0.05 * limit)),
        trials=1 if only else trials,
        listener=listener,
        cores=Settings.load().cores(),
    )
    judge = Judge(problem.metric, problem.task, problem.y, seeds.derive(problem.seed, "graphs"))
    answers = {key: pack(every) for key, pack in result.packs_by_model.items()}
    simple = "logistic regression" if problem.task != "regression" else "ridge regression"
    graphs = known.graphs() if networks and result.stopped != "interrupted" else []
    tried: list[tuple[float, str, dict[str, Any], np.ndarray]] = []
    for i, (word, parameters) in enumerate(networks if graphs else []):
        name = _title(word, parameters)
        if listener:
            listener(Progress("search", candidate=name, done=i, total=len(networks)))
        began = time.perf_counter()
        left = None if limit is None else clock.left() - END * limit
        if left is not None and left < 0.05 * limit:  # type: ignore[operator]
            result.failures.append({"model": name, "reason": "out of time"})
            continue
        try:
            oof = _held_out(word, parameters, graphs, problem, train, clock, len(networks) - i)
        except Exception as error:  # one network that cannot do it must not end the run
            result.failures.append({"model": name, "reason": f"{type(error).__name__}: {error}"[:300]})
            continue
        tried.append((judge.loss(oof), word, parameters, oof))
        result.leaderboard.append(_row(name, word, parameters, oof, judge, problem, time.perf_counter() - began))
    best = min(tried, key=lambda t: t[0], default=None)
    chain = (*known.nodes,)
    x = (chain[-1].name,) if chain else ()
    if best is not None and (only or best[0] < judge.loss(result.oof)):
        _, word, parameters, oof = best
        model = _fitted(word, parameters, [graphs[i] for i in train], problem, clock, 0.8, -1)
        k = len(problem.schema.classes) if problem.task != "regression" else None
        card = _card(word, problem)
        step = replace(catalog.module(card).pack(model, n_classes=k), degrees=True)
        pack = Pack([*chain, Node("answer", step, (TABLE, *x))])
        name = _title(word, parameters)
        members = [{"name": name, "model": name, "card": word, "weight": 1.0, "parameters": dict(parameters)}]
        for row in result.leaderboard:
            row["weight"] = float(row["model"] == name)
        result = replace(result, pack=pack, oof=oof, members=members)
        answers["chosen"] = _told(model, graphs)
    elif only:
        raise BudgetError("No model of the graphs was ready in time. Give more time: budget=... (--budget).")
    else:
        answers["chosen"] = result.pack(every)
        width = known.x.shape[1] if known.x is not None else 0
        whole = GraphSetTable(tuple(every.columns), width, _paired(width))
        inner = [
            Node(f"graph {n.name}", n.step, tuple("graphs" if i == TABLE else f"graph {i}" for i in n.inputs))
            for n in result.pack.nodes
        ]
        pack = Pack([*chain, Node("graphs", whole, (TABLE, *x)), *inner], f"graph {result.pack.answer}")
        result = replace(result, pack=pack)
    sign = -1 if METRICS[problem.metric].better == "higher" else 1
    result.leaderboard.sort(key=lambda r: (r["score"] is None, sign * (r["score"] or 0.0), r["model"]))
    return result, answers, simple


def _title(word: str, parameters: dict[str, Any]) -> str:
    pooling = parameters.get("pooling", "mean")
    return f"{catalog.find(word).title} of graphs" + ("" if pooling == "mean" else f", {pooling} of nodes")


def _card(word: str, problem: Problem) -> Any:
    return catalog.find(word, kind="regressor" if problem.task == "regression" else "classifier")


def _fitted(
    word: str, parameters: dict[str, Any], graphs: list[Graph], problem: Problem, clock: Clock, share: float, fold: int
) -> Any:
    rows = np.arange(len(graphs)) if fold < 0 else problem.folds[fold][0]
    seed = seeds.derive(problem.seed, "graphs", word, fold) % 2**31
    model = catalog.make(_card(word, problem), **parameters).set_params(random_state=seed, device="cpu")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return model.train([graphs[i] for i in rows], problem.y[rows], None, None, _Stop(clock, share), 1)


def _told(model: Any, graphs: list[Graph]) -> np.ndarray:
    made = model.predict_proba(graphs) if hasattr(model, "classes_") else model.predict(graphs)
    return np.asarray(made, dtype=np.float64)


def _held_out(
    word: str,
    parameters: dict[str, Any],
    graphs: list[Graph],
    problem: Problem,
    train: np.ndarray,
    clock: Clock,
    more: int,
) -> np.ndarray:
    """Answers for each training graph by a fit that did not see its label."""
    own = [graphs[i] for i in train]
    catalog.load(_card(word, problem))
    k = len(problem.schema.classes)
    made = np.full((len(own), k) if problem.task != "regression" else len(own), np.nan)
    for fold, (_, valid) in enumerate(problem.folds):
        share = 0.75 / (more * (len(problem.folds) - fold) + 1)  # of the time that is left; the rest is for the end
        model = _fitted(word, parameters, own, problem, clock, share, fold)
        some = _told(model, [own[i] for i in valid])
        if problem.task == "regression":
            made[valid] = some
        else:
            made[valid] = 0.0
            made[np.ix_(valid, np.asarray(model.classes_, dtype=int))] = some
    lost = ~np.isfinite(made.reshape(len(made), -1)).all(axis=1)
    if lost.any():  # rows that are in no validation part
        made[lost] = made[~lost].mean(axis=0)
    return made


def _row(
    name: str, word: str, parameters: dict[str, Any], oof: np.ndarray, judge: Any, problem: Problem, seconds: float
) -> dict[str, Any]:
    """A row of the leaderboard."""
    loss, noise = judge.loss(oof), judge.spread(oof)
    low, high = loss - 1.645 * noise, loss + 1.645 * noise
    score = (1 - loss, 1 - high, 1 - low) if METRICS[problem.metric].better == "higher" else (loss, low, high)
    row = {"model": name, "card": word, **dict(zip(("score", "score_low", "score_high"), map(float, score)))}
    row |= {"fit_seconds": round(seconds, 3), "row_ms": None, "size": None, "weight": 0.0}
    return row | {"folds": len(problem.folds), "parameters": dict(parameters), "origin": "graph", "status": "ok"}


# --- the end ---------------------------------------------------------------------------------------------------------


def _coded(y: np.ndarray, schema: Schema) -> np.ndarray:
    return y if schema.task == "regression" else y.astype(np.int64)


def _evaluate(
    problem: Problem, result: SearchResult, answers: dict[str, np.ndarray], test: np.ndarray, y: np.ndarray, simple: str
) -> Any:
    from everymodel.workflow.evaluate import evaluate

    tested = len(test) > 0
    names = {"dummy": "dummy", "simple": simple}
    return evaluate(
        problem.task,
        _coded(y[test], problem.schema) if tested else problem.y,
        answers["chosen"][test] if tested else result.oof,
        classes=problem.schema.classes,
        metric=problem.metric,
        source="test" if tested else "cross-validation",
        baselines={names[k]: a[test] for k, a in answers.items() if k in names} if tested else {},
        seed=problem.seed,
    )


def _all(
    small: pd.DataFrame, graph: str, model: Any, train: np.ndarray, test: np.ndarray, answers: np.ndarray
) -> pd.DataFrame:
    """Every graph with its answer, and whether its label taught, tested, or is unknown."""
    import pandas as pd

    part = np.full(len(small), "unknown", dtype=object)
    part[train], part[test] = "train", "test"
    made = pd.DataFrame({graph: small[graph].to_numpy(), "part": part, "prediction": model.decide(answers)})
    if answers.ndim == 2:
        made["confidence"] = answers.max(axis=1)
    return made


def _how_to(path: Any) -> dict[str, str]:
    return {
        "python": f'import everymodel as em\n\nmodel = em.load("{path}")\nmodel.predict(nodes, edges=edges)',
        "cli": f"everymodel predict {path} nodes.csv --edges edges.csv -o answers.csv",
        "rest": f'everymodel serve {path}    # {{"rows": [one for each node], "edges": [[id, id], ...]}}',
    }
