"""Choosing and joining members: greedy selection on out-of-fold answers, calibration, and one graph for all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np

from everymodel.core import seeds
from everymodel.scoring import metrics
from everymodel.scoring.graph import TABLE, Node, Pack
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.combine import Blend, Calibrate

ROUNDS = 20
SMALL = 500  # validation rows below which weights shrink towards equal ones
SCORED_ROWS = 20_000  # enough to tell blends apart; more only costs time
RESAMPLED_ROWS = 4_000  # a bootstrap of part of the rows, scaled, is as good and much quicker


class Judge:
    """Losses (lower is better) of answers on fixed rows, with bootstrap resamples for how sure they are."""

    def __init__(self, metric: str, task: str, y: np.ndarray, seed: int, resamples: int = 30, most: int = SCORED_ROWS):
        self.metric, self.task, self.seed = metric, task, seed
        rng = np.random.default_rng(seeds.derive(seed, "judge"))
        n = len(y)
        self.rows = np.sort(rng.choice(n, most, replace=False)) if n > most else np.arange(n)
        self.y = y[self.rows]
        m = min(RESAMPLED_ROWS, len(self.rows))
        self.scale = (m / n) ** 0.5 if n else 1.0
        self.samples = [rng.integers(0, len(self.rows), m) for _ in range(resamples)]

    def loss(self, answers: np.ndarray) -> float:
        """Loss of answers (n, ...) for all rows that the judge was made for."""
        return self.of(answers[self.rows])

    def of(self, answers: np.ndarray, sample: np.ndarray | None = None) -> float:
        """The same for answers already cut to the judge's rows."""
        value = metrics.loss(self.metric, self.task, self.y, answers, sample)
        return float("inf") if np.isnan(value) else value

    def spread(self, answers: np.ndarray) -> float:
        """Standard error of the loss."""
        cut = answers[self.rows]
        values = np.array([self.of(cut, s) for s in self.samples])
        return float(values[np.isfinite(values)].std()) * self.scale if np.isfinite(values).any() else float("inf")

    def gain(self, better: np.ndarray, worse: np.ndarray) -> tuple[float, float]:
        """(how much less `better` loses than `worse`, its standard error), on the same resamples."""
        a, b = better[self.rows], worse[self.rows]
        gaps = np.array([self.of(b, s) - self.of(a, s) for s in self.samples])
        gaps = gaps[np.isfinite(gaps)]
        whole = self.of(b) - self.of(a)
        return (whole, float(gaps.std()) * self.scale) if len(gaps) and np.isfinite(whole) else (0.0, float("inf"))


def greedy(
    judge: Judge,
    answers: Sequence[np.ndarray],
    *,
    allowed: Callable[[list[int]], bool] = lambda members: True,
    most: int = 5,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """Weights (len(answers),) by repeated addition of whichever member helps most (Caruana et al. 2004).

    `allowed(members)` says whether a set of members may stand together (latency, size); `most` limits their number.
    """
    cut = [a[judge.rows] for a in answers]
    singles = [judge.of(c) if allowed([i]) else float("inf") for i, c in enumerate(cut)]
    counts = np.zeros(len(cut), int)
    first = int(np.argmin(singles))
    counts[first] = 1
    if not np.isfinite(singles[first]):  # nothing fits the limits: the best by its loss alone
        counts[:] = 0
        counts[int(np.argmin([judge.of(c) for c in cut]))] = 1
        return counts.astype(float)
    total, best, kept = cut[first].astype(float), singles[first], counts.copy()
    for size in range(2, rounds + 1):
        members = np.flatnonzero(counts).tolist()
        losses = np.full(len(cut), np.inf)
        for i, c in enumerate(cut):
            if np.isfinite(singles[i]) and (counts[i] or (len(members) < most and allowed([*members, i]))):
                losses[i] = judge.of((total + c) / size)
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        total = total + cut[chosen]
        if losses[chosen] < best * (1 - 1e-6):
            best, kept = losses[chosen], counts.copy()
        elif size - kept.sum() >= 4:
            break
    weights = kept / kept.sum()
    if len(judge.rows) < SMALL and (weights > 0).sum() > 1:
        weights = 0.5 * weights + 0.5 * (weights > 0) / (weights > 0).sum()
    few = (weights > 0) & (weights < 0.04)  # costs an answer's time and gives nothing
    weights = np.where(few, 0.0, weights)
    return weights / weights.sum()


def mix(answers: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted mean over the members that have an answer for a row; NaN where none of them has."""
    chosen = [(a, float(w)) for a, w in zip(answers, weights) if w > 0]
    if not chosen:
        raise ValueError("no member has weight")
    total, mass = np.zeros_like(chosen[0][0], dtype=float), np.zeros(len(chosen[0][0]))
    for a, w in chosen:
        known = np.isfinite(a).reshape(len(a), -1).all(1)
        total[known] += w * a[known]
        mass[known] += w
    mass = np.where(mass > 0, mass, np.nan)
    return total / mass.reshape(-1, *([1] * (total.ndim - 1)))


def calibration(scores: np.ndarray, y: np.ndarray, task: str) -> Calibrate:
    """Scores (n,) or (n, k) to probabilities, learnt on out-of-fold scores (Platt 1999 and its multinomial form)."""
    from scipy.optimize import minimize

    n = len(y)
    if scores.ndim == 1:
        # Platt's targets: not quite 0 and 1, so that separable scores do not drive the slope to infinity
        positive = float((y == 1).sum())
        goal = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (n - positive + 2))
        unit = float(np.std(scores)) or 1.0

        def binary(p: np.ndarray) -> tuple[float, np.ndarray]:
            z = p[0] * scores / unit + p[1]
            slope = 1 / (1 + np.exp(-z)) - goal
            return float((np.logaddexp(0, z) - goal * z).mean()), np.array(
                [(slope * scores / unit).mean(), slope.mean()]
            )

        found = minimize(binary, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B").x
        return Calibrate(np.array([found[0] / unit]), np.array([found[1]]))
    k = scores.shape[1]
    unit = float(np.std(scores)) or 1.0
    hot = np.zeros((n, k))
    hot[np.arange(n), y.astype(int)] = 1.0

    def many(p: np.ndarray) -> tuple[float, np.ndarray]:
        z = p[0] * scores / unit + p[1:]
        z = z - z.max(1, keepdims=True)
        logs = z - np.log(np.exp(z).sum(1, keepdims=True))
        gap = (np.exp(logs) - hot) / n
        pull = 1e-3 * p[1:]
        return float(-(logs * hot).sum() / n + 0.5 * (pull * p[1:]).sum()), np.concatenate(
            [[(gap * scores / unit).sum()], gap.sum(0) + pull]
        )

    found = minimize(many, np.concatenate([[1.0], np.zeros(k)]), jac=True, method="L-BFGS-B").x
    return Calibrate(np.array([found[0] / unit]), found[1:].copy())


def join(parts: Sequence[tuple[Pack, Step | None, float]], gives: str) -> Pack:
    """One graph that answers the weighted sum of packs: (pack, step after it or None, weight).

    Equal nodes (the same preparation learnt on the same rows) are kept once.
    """
    nodes: list[Node] = []
    seen: dict[str, str] = {}
    ends: list[str] = []
    for pack, after, _ in parts:
        names = {TABLE: TABLE}
        for node in pack.nodes:
            names[node.name] = _place(node.step, tuple(names[i] for i in node.inputs), nodes, seen)
        end = names[pack.answer]
        ends.append(end if after is None else _place(after, (end,), nodes, seen))
    if len(parts) == 1:
        return Pack(nodes, ends[0])
    weights = np.array([w for *_, w in parts], float)
    merged = {e: float(weights[[i for i, x in enumerate(ends) if x == e]].sum()) for e in dict.fromkeys(ends)}
    nodes.append(Node("answer", Blend(np.array(list(merged.values())), gives), tuple(merged)))
    return Pack(nodes, "answer")


def _place(step: Step, inputs: tuple[str, ...], nodes: list[Node], seen: dict[str, str]) -> str:
    settings, arrays = step.spec()
    digest = hashlib.sha256(json.dumps([step.word, settings, inputs], sort_keys=True, default=str).encode())
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        if a.dtype.hasobject:
            digest.update(repr(a.tolist()).encode())
        else:
            digest.update(f"{name}{a.dtype}{a.shape}".encode() + a.tobytes())
    key = digest.hexdigest()
    if key not in seen:
        seen[key] = f"n{len(nodes)}"
        nodes.append(Node(seen[key], step, inputs))
    return seen[key]
