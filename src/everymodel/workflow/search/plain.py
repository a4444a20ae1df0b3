"""The last resort of a search without time: the plain linear model, fitted here and now with numpy alone.

Loading scikit-learn can take longer than a very short budget lasts. Ridge has a closed form, and a logistic regression
is found by steps over a bound of its curvature, so both need no more than a few products of matrices: the optimum that
scikit-learn's classes seek with the same penalty, here on simply prepared columns and on few rows.
"""

from __future__ import annotations

import time

import numpy as np

from everymodel.core import seeds
from everymodel.core.schema import Column
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.linear import Linear, LinearProbabilities, linked
from everymodel.scoring.steps.prepare import Impute, Join, Numbers, OneHot, Scale
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem

ROWS, CELLS = 4_000, 1_000_000  # learnt from at most
NUMBERS, LEVELS = 300, 20  # number columns kept; one-hot columns of one category
STEPS = 200  # of the solver
PENALTY = 1.0  # alpha of the ridge, 1 / C of the logistic regression: the first presets of both cards


def plain_member(problem: Problem, fold: int) -> Member | None:
    """A ridge or logistic regression on some of the fold's rows, answering its validation rows.

    None where there is nothing that a straight line could be drawn through (text alone, one class).
    """
    started = time.perf_counter()
    fit, valid = problem.folds[fold]
    most = max(100, min(ROWS, CELLS // max(len(problem.schema.features), 1)))
    if len(fit) > most:
        rng = np.random.default_rng(seeds.derive(problem.seed, "plain", fold))
        fit = np.sort(rng.choice(fit, most, replace=False))
    batch, y = problem.batch.take(fit), problem.y[fit]
    if problem.task in ("binary", "multiclass"):
        k = max(len(problem.schema.classes), 2)
        goal = (y[:, None] == np.arange(k)).astype(float)  # (n, k)
    else:
        goal = np.asarray(y, float).reshape(len(y), -1)
    nodes = _preparation(problem.schema.features, batch, goal)
    if not nodes:
        return None
    X = Pack(nodes)(batch)  # (n, p)
    with np.errstate(all="ignore"):
        step = _value(X, goal, y.ndim) if problem.task == "regression" else _probabilities(X, goal, problem.task)
    pack = Pack([*nodes, Node("m", step, (nodes[-1].name,))])
    answers = np.asarray(pack(problem.batch.take(valid)), float)
    if not np.isfinite(answers).all():
        return None
    spec, arrays = pack.spec()
    row = problem.batch.take(valid[:1])
    asked = time.perf_counter()
    pack(row)
    now = time.perf_counter()
    size = int(sum(a.nbytes for a in arrays.values()))
    return Member(spec, arrays, pack.output, answers, now - started, 1000 * (now - asked), size)


def _preparation(features: tuple[Column, ...], batch: Batch, goal: np.ndarray) -> list[Node]:
    """Numbers filled by their mean and scaled, frequent levels as columns of 0 and 1; text is left out."""
    nodes: list[Node] = []
    names = tuple(c.name for c in features if c.kind in ("number", "boolean", "date"))
    if names:
        matrix = Numbers(names)(batch)
        with np.errstate(all="ignore"):
            known = np.isfinite(matrix)
            count = known.sum(0)
            mean = np.where(known, matrix, 0.0).sum(0) / np.maximum(count, 1)
            filled = np.where(known, matrix, mean)
            spread = filled.std(0)
            useful = np.isfinite(mean) & np.isfinite(spread) & (spread > 1e-9 * (np.abs(mean) + 1e-9))
            share = np.abs((filled - mean).T @ (goal - goal.mean(0))).max(1) / np.where(useful, spread, 1.0)
        share[~useful] = -1.0
        kept = np.sort(np.argsort(-share, kind="stable")[: min(NUMBERS, int(useful.sum()))])
        if len(kept):
            nodes = [
                Node("numbers", Numbers(tuple(names[i] for i in kept)), (TABLE,)),
                Node("filled", Impute(mean[kept], np.zeros(0, np.int64)), ("numbers",)),
                Node("scaled", Scale(mean[kept], 1.0 / spread[kept]), ("filled",)),
            ]
    hot, places, offsets, width, length = [], [], [], 0, 0
    for column in features:
        if column.kind != "category" or width > NUMBERS:
            continue
        counts = np.bincount(np.asarray(batch.columns[column.name]) + 2, minlength=len(column.levels) + 2)
        often = np.argsort(-counts, kind="stable")[:LEVELS]
        often = np.sort(often[(counts[often] > 0) & (counts[often] < batch.n)])
        if not len(often):
            continue
        place = np.full(len(counts), -1, np.int64)
        place[often] = width + np.arange(len(often))
        hot.append(column.name)
        offsets.append(length)
        places.append(place)
        width, length = width + len(often), length + len(place)
    if hot:
        nodes.append(Node("levels", OneHot(tuple(hot), np.array(offsets), np.concatenate(places), width), (TABLE,)))
        if len(nodes) > 1:
            nodes.append(Node("all", Join(), ("scaled", "levels")))
    return nodes


def _centred(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean (p,), centred columns, inverse of their penalised products (p, p))."""
    mean = X.mean(0)
    C = X - mean
    return mean, C, np.linalg.inv(C.T @ C + PENALTY * np.eye(X.shape[1]))


def _value(X: np.ndarray, goal: np.ndarray, dimensions: int) -> Linear:
    mean, C, inverse = _centred(X)
    coef = inverse @ (C.T @ (goal - goal.mean(0)))  # (p, t)
    intercept = goal.mean(0) - mean @ coef
    return Linear(coef, intercept) if dimensions > 1 else Linear(coef[:, 0].copy(), np.array(intercept[0]))


def _probabilities(X: np.ndarray, goal: np.ndarray, task: str) -> LinearProbabilities:
    """Climbs by the gradient over a bound of the curvature that holds everywhere, with Nesterov's momentum.

    The log-likelihood's curvature in a score is at most 1/4 (yes or no), and 1/2 among many classes (Boehning 1992).
    """
    link, bound = ("softmax", 2.0) if task == "multiclass" else ("each", 4.0)
    goal = goal[:, 1:] if task == "binary" else goal
    mean = X.mean(0)
    C = X - mean
    n, p = X.shape
    inverse = np.linalg.inv(C.T @ C / bound + PENALTY * np.eye(p))
    rate = np.clip(goal.mean(0), 0.5 / n, 1 - 0.5 / n)
    base = np.log(rate / (1 - rate)) if link == "each" else np.log(rate)
    here = np.vstack([np.zeros((p, goal.shape[1])), base])  # coefficients, and the intercept as the last row
    ahead, pace = here, 1.0
    for _ in range(STEPS):
        gap = goal - linked(C @ ahead[:p] + ahead[p], link)
        rise = C.T @ gap - PENALTY * ahead[:p]
        if np.abs(rise).max(initial=0.0) < 1e-4 * n**0.5 and np.abs(gap.mean(0)).max() < 1e-6:
            break
        then = ahead + np.vstack([inverse @ rise, bound * gap.mean(0)])
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead, here, pace = then + (pace - 1) / faster * (then - here), then, faster
    coef, intercept = np.ascontiguousarray(here[:p]), here[p] - mean @ here[:p]
    if task == "binary":
        return LinearProbabilities(coef[:, 0].copy(), np.array(intercept[0]), "sigmoid")
    return LinearProbabilities(coef, intercept, link)
