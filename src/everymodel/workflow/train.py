"""Training one model on some rows: prepare, fit, pack, prove that the pack answers like its source.

The estimator never leaves this function. What comes back is the pack, its answers on rows that it was not fitted on,
and what it cost; so the search, the file and the server all speak of the same thing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.card import Card
from everymodel.core.errors import DataError, PackError
from everymodel.scoring.graph import Node, Pack
from everymodel.workflow.types import Problem

CHECKED_ROWS = 256  # rows on which pack and source are compared
_TOLERANCE = 1e-9
_TOLERANCE_SINGLE = 1e-6  # where the source itself answers in float32


@dataclass
class Job:
    """One fit: a model with settings on the rows `fit`, answering the rows `valid`."""

    card: str
    kind: str  # "classifier" or "regressor": with `card`, the catalogue's key
    parameters: dict[str, Any]
    fit: np.ndarray  # (n_fit,) row numbers
    valid: np.ndarray  # (n_valid,) row numbers; empty for a refit on all rows
    seed: int
    threads: int = 1
    target: str = "plain"  # regression: "plain" "standard" (zero mean, unit variance) "log" (of the shifted target)
    fold: int | None = None  # instead of `fit` and `valid`: the problem's fold of this number
    early: bool = True  # whether the model may stop by its score on `valid`

    def run(self, problem: Problem, stop: Callable[[], bool] | None = None) -> Member:
        return fit_member(problem, self, stop)


@dataclass
class Member:
    """What a fit gives: plain data, so that it can cross a pipe and lie in a ledger."""

    spec: dict[str, Any]  # Pack.spec()
    arrays: dict[str, np.ndarray]
    output: str  # "value" "probabilities" "scores"
    answers: np.ndarray  # (n_valid,) or (n_valid, k)
    seconds: float
    row_ms: float  # one row through this pack
    size: int  # bytes of arrays
    refit: dict[str, Any] = field(default_factory=dict)  # settings that a refit on all rows should use
    stopped: bool = False  # ended by the clock, not by itself
    after: float = 0.0  # of `seconds`, what packing, answering and proving took once the fit had ended
    notes: list[str] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)  # networks: epoch, loss and validation loss

    def pack(self) -> Pack:
        return Pack.build(self.spec, self.arrays)


@dataclass
class _Marks:
    """What is noted on the way."""

    ended: float = 0.0  # moment at which the last fit ended
    single: bool = False  # the source answers in float32
    curve: list[dict[str, float]] = field(default_factory=list)


def fit_member(problem: Problem, job: Job, stop: Callable[[], bool] | None = None) -> Member:
    """Fit, pack, verify, answer. Raises PackError when the pack differs from the fitted model.

    `stop` is asked now and then by models that can end early; they then keep their best so far.
    """
    started = time.perf_counter()
    marks = _Marks()
    if job.fold is not None:
        fit, valid = problem.folds[job.fold]
        job = replace(job, fit=fit, valid=valid, fold=None)
    card = catalog.find(job.card, kind=job.kind)
    labels = problem.y.shape[1] if problem.y.ndim == 2 else 0
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        from everymodel.preprocessing.preparation import Preparation

        y = problem.y[job.fit]
        if not np.isfinite(y).all():
            raise DataError("The target has missing or infinite values among the rows to learn from.")
        one = _one_task(problem.task) if labels else problem.task
        preparation = Preparation.for_card(card, problem.schema, problem.task, seed=seeds.derive(job.seed, "prepare"))
        batch = problem.batch.take(job.fit)
        loose = problem.unlabelled if card.need("unlabelled") else None
        if loose is None:
            X, more = preparation.fit_transform(batch, y), {}
        else:  # scales, levels and words are learnt from all rows; nothing in the matrix may then stem from labels
            whole = preparation.fit_transform(batch.join(loose), None)
            X, more = whole[: batch.n], {"unlabelled": whole[batch.n :]}
        rows = job.valid if len(job.valid) else job.fit[:CHECKED_ROWS]
        asked = problem.batch.take(rows)
        Xv = preparation.transform(asked)
        nodes = list(preparation.nodes("p"))
        width = X.shape[1] if X.ndim > 1 else 1  # cells: series or texts of any length
        limit = card.need("max_columns")
        if limit and width > limit:
            raise DataError(f"{card.title} takes at most {limit} prepared columns; here there are {width}.")
        native = tuple(getattr(preparation, "native_", ()))
        judged: np.ndarray | None = None
        yv = problem.y[rows]
        together = problem.task in card.tasks and (problem.task != "regression" or _many(card))
        if labels and not together:
            nodes, answers, refit, stopped = _one_by_one(
                problem, card, job, one, X, y, Xv, yv, nodes, native, stop, marks
            )
        else:
            task = problem.task
            model, answers, refit, stopped, step, inverse = _fit_one(
                problem, card, job, task, X, y, Xv, yv, native, stop, "", marks, more
            )
            if job.early and len(job.valid):
                judged = _held_out(model, catalog.module(card), Xv, problem, answers.shape, inverse)
            nodes.append(Node("m", step, (nodes[-1].name,)))
            for i, back in enumerate(inverse):
                nodes.append(Node(f"t{i}", back, (nodes[-1].name,)))
        pack = Pack(nodes)
        if not np.isfinite(answers).all():
            raise DataError(f"{card.title} gave answers that are not finite numbers.")
        _verify(pack, asked, answers, card, marks.single)
        row_ms = _row_ms(pack, asked)
    spec, arrays = pack.spec()
    seconds = time.perf_counter() - started
    return Member(
        spec,
        arrays,
        pack.output if pack.output != "matrix" else "value",
        (answers if judged is None else judged) if len(job.valid) else answers[:0],
        seconds,
        row_ms,
        int(sum(a.nbytes for a in arrays.values())),
        refit,
        stopped,
        seconds - (marks.ended - started if marks.ended else 0.0),
        sorted({str(w.message).partition("\n")[0][:160] for w in caught if _matters(w)}),
        marks.curve,
    )


def _one_task(task: str) -> str:
    return "binary" if task == "multilabel" else task


def _many(card: Card) -> bool:
    """Whether a regressor takes several targets at once (linear ones and forests of scikit-learn do)."""
    return "multioutput" in card.gives


def _matters(caught: Any) -> bool:
    return issubclass(caught.category, UserWarning) and "feature names" not in str(caught.message)


def make(card: Card, parameters: dict[str, Any], seed: int, threads: int) -> Any:
    """The unfitted estimator with its seed and threads set where it has such settings."""
    model = catalog.make(card, **parameters)
    has = model.get_params()
    extra: dict[str, Any] = {}
    for word in ("random_state", "random_seed"):
        if word in has and word not in parameters:
            extra[word] = seed % 2**31
            break
    for word in ("n_jobs", "thread_count"):
        if word in has:
            extra[word] = threads
            break
    return model.set_params(**extra) if extra else model


def _fit_one(
    problem: Problem,
    card: Card,
    job: Job,
    task: str,
    X: Any,
    y: np.ndarray,
    Xv: Any,
    yv: np.ndarray,
    native: tuple[int, ...],
    stop: Callable[[], bool] | None,
    part: str,
    marks: _Marks,
    more: dict[str, Any] | None = None,
) -> tuple[Any, np.ndarray, dict[str, Any], bool, Any, Any]:
    """(model, answers on Xv, refit settings, ended by the clock, step, steps that undo the target's change)."""
    model = make(card, job.parameters, seeds.derive(job.seed, "model", part), job.threads)
    module = catalog.module(card)
    forward, inverse = (None, []) if task != "regression" else target_transform(job.target, y)
    n_classes = max(len(problem.schema.classes), 2) if task in ("binary", "multiclass") else None
    if task == "binary":
        n_classes = 2
    if n_classes and len(np.unique(y)) < 2:
        raise DataError("Only one class is among the rows to learn from.")
    goal, check = (y, yv) if forward is None else (forward(y), forward(yv))
    ended = [False]

    def asked() -> bool:
        ended[0] = ended[0] or bool(stop is not None and stop())
        return ended[0]

    asked.deadline = getattr(stop, "deadline", None)
    if hasattr(module, "fit"):
        valid = (Xv, check) if job.early and len(job.valid) else None
        model = module.fit(model, X, goal, valid=valid, stop=asked, threads=job.threads, native=native, **(more or {}))
    else:
        model.fit(X, goal)
    marks.ended = time.perf_counter()
    marks.curve = _curve(model)
    step = module.pack(model, n_classes=n_classes) if n_classes else module.pack(model)
    answers = source_answers(model, Xv, step.output, n_classes)
    marks.single = marks.single or answers.dtype == np.float32
    answers = np.asarray(answers, float)
    for back in inverse:
        answers = back(answers)
    refit = dict(module.refit_parameters(model)) if hasattr(module, "refit_parameters") else {}
    return model, answers, refit, ended[0], step, inverse


def _curve(model: Any) -> list[dict[str, float]]:
    """How the loss of a network fell, at most 200 points; empty for models without epochs."""
    epochs = getattr(getattr(model, "history_", None), "epochs", None) or []
    step = max(1, -(-len(epochs) // 200))
    made = []
    for entry in [*epochs[:-1][::step], *epochs[-1:]]:
        losses = {"loss": entry.get("net"), "valid": entry.get("valid_loss")}
        known = {k: float(np.mean(v)) for k, v in losses.items() if v is not None and np.all(np.isfinite(v))}
        made.append({"epoch": float(entry["epoch"]), **known})
    return made


def _one_by_one(
    problem: Problem,
    card: Card,
    job: Job,
    task: str,
    X: Any,
    y: np.ndarray,
    Xv: Any,
    yv: np.ndarray,
    nodes: list[Node],
    native: tuple[int, ...],
    stop: Callable[[], bool] | None,
    marks: _Marks,
) -> tuple[list[Node], np.ndarray, dict[str, Any], bool]:
    """One model per label or per target, side by side."""
    from everymodel.scoring.steps.combine import Columns, Mean, Stack
    from everymodel.scoring.steps.constant import Constant, ConstantProbabilities

    matrix, names, columns, refits, stopped = nodes[-1].name, [], [], [], False
    for j in range(y.shape[1]):
        goal = y[:, j] if task == "regression" else y[:, j].astype(np.int64)
        if len(np.unique(goal)) < 2:  # a label that these rows do not show: say what they show
            share = float(goal.mean())
            step: Any = (
                Constant(np.array(share))
                if task == "regression"
                else ConstantProbabilities(np.array([1 - share, share]))
            )
            answers, refit, ended, inverse = step(np.zeros((Xv.shape[0], 1))), {}, False, []
        else:
            _, answers, refit, ended, step, inverse = _fit_one(
                problem, card, job, task, X, goal, Xv, yv[:, j], native, stop, str(j), marks
            )
            if step.output == "scores":
                raise DataError(f"{card.title} gives no probabilities, which several labels at once need.")
        nodes.append(Node(f"m{j}", step, (matrix,)))
        for i, back in enumerate(inverse):
            nodes.append(Node(f"t{j}_{i}", back, (nodes[-1].name,)))
        if answers.ndim == 2:  # the probability of "yes"
            nodes.append(Node(f"y{j}", Columns(np.array([1])), (nodes[-1].name,)))
        names.append(nodes[-1].name)
        columns.append(answers[:, -1] if answers.ndim == 2 else answers)
        refits.append(refit)
        stopped |= ended
    nodes.append(Node("stack", Stack(), tuple(names)))
    nodes.append(Node("m", Mean("probabilities" if task != "regression" else "value"), ("stack",)))
    refit = {k: refits[0][k] for k in (refits[0] if refits else {}) if all(k in r for r in refits)}
    return nodes, np.column_stack(columns), refit, stopped


def _held_out(
    model: Any, module: Any, Xv: Any, problem: Problem, shape: tuple[int, ...], inverse: list[Any]
) -> np.ndarray | None:
    """Answers for the validation rows by which the member is judged, where those rows also chose when to stop.

    A model file that stops early may define `held_out(model, X)`: answers of the model as the *other* rows would have
    stopped it. Without it the figure flatters (0.29 for a log loss of 0.35 was seen on 170 rows).
    """
    found = module.held_out(model, Xv) if hasattr(module, "held_out") else None
    if found is None:
        return None
    answers = np.asarray(found, float)
    if answers.ndim == 2 and answers.shape != shape and hasattr(model, "classes_"):
        answers = place(answers, model.classes_, shape[1], 0.0)
    for back in inverse:
        answers = back(answers)
    return answers if answers.shape == shape and np.isfinite(answers).all() else None


def source_answers(model: Any, X: Any, output: str, n_classes: int | None) -> np.ndarray:
    """What the estimator itself answers, classes placed by their codes."""
    if not n_classes:
        if output == "probabilities":  # several labels at once
            answers = model.predict_proba(X)
            if isinstance(answers, list):  # scikit-learn's forests: one (n, 2) per label
                return np.column_stack(
                    [
                        a[:, -1] if a.shape[1] == 2 else np.full(len(a), float(c[0]))
                        for a, c in zip(answers, model.classes_)
                    ]
                )
            return np.asarray(answers)
        return np.asarray(model.predict(X))
    if output == "probabilities":
        raw = np.asarray(model.predict_proba(X))
        fill = 0.0
    else:
        raw = np.asarray(model.decision_function(X))
        if raw.ndim == 1 and n_classes == 2:
            return raw
        if raw.ndim == 1:
            raw = np.column_stack([np.zeros(len(raw)), raw])
        fill = -30.0  # far below any class that was seen
    return place(raw, model.classes_, n_classes, fill)


def place(raw: np.ndarray, classes: Any, n_classes: int, fill: float) -> np.ndarray:
    """Columns of the classes that a model has seen, set at their codes among all classes."""
    codes = np.asarray(classes).astype(int)
    if len(codes) == n_classes:
        return raw
    placed = np.full((len(raw), n_classes), fill, dtype=raw.dtype)
    placed[:, codes] = raw
    return placed


def target_transform(word: str, y: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray] | None, list[Any]]:
    """(what the model learns as a function of y, the scoring steps that undo it); (None, []) for "plain"."""
    if word == "plain":
        return None, []
    from everymodel.preprocessing.target import TargetTransform

    change = TargetTransform("identity" if word == "standard" else "log").fit(y)
    return change.transform, list(change.steps())


def _verify(pack: Pack, batch: Any, answers: np.ndarray, card: Card, single: bool = False) -> None:
    """The pack must answer the first rows exactly as the source did."""
    few = batch.take(np.arange(min(CHECKED_ROWS, len(batch))))
    packed = np.asarray(pack(few), float)
    expected = answers[: len(few)]
    if packed.shape != expected.shape:
        raise PackError(f"{card.title}: the pack answers with shape {packed.shape}, its source with {expected.shape}.")
    gap = np.abs(packed - expected) / (1 + np.abs(expected))
    worst = float(gap.max(initial=0.0))
    if not worst <= max(_TOLERANCE_SINGLE if single else _TOLERANCE, pack.tolerance):
        raise PackError(
            f"{card.title}: the packed model's answers differ from its source by {worst:.3g} "
            f"(allowed: {_TOLERANCE:g}), so it is not used. Please report this with the data's shape."
        )


def _row_ms(pack: Pack, batch: Any) -> float:
    row = batch.take(np.array([0]))
    pack(row)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        pack(row)
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3
