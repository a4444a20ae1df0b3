"""From where on a score is odd: a law for the upper tail of the scores of ordinary rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from everymodel.core.seeds import derive
from everymodel.scoring.tails import LEAST, pareto

FALSE_ALARMS = 0.001  # share of ordinary rows that may be called odd
# Quantiles of the scores: those in between shape the tail; those above may be odd and only count as "beyond". The first
# pair whose law fits is taken, so that a table without odd rows is judged by all of its rows.
SPANS = (
    (0.7, 1.0), (0.7, 0.995), (0.7, 0.99), (0.7, 0.98), (0.7, 0.96), (0.7, 0.93),
    (0.65, 0.9), (0.62, 0.87), (0.58, 0.84), (0.55, 0.8),
)  # fmt: skip
FITS = 0.05  # chance below which a law does not fit the counts,
EVEN, SURELY = 0.95, 0.15  # and that of spans that end below, where odd rows have shown
SINGLE = 0.01  # and below which so many rows so far out do not belong to it
FAR = (3e-3, 1e-3, 1e-4, 1e-5)  # shares of a law at whose points its rows are counted
SHAPES = ((0.985, -0.05, 0.0), (0.95, -0.05, -0.25), (0.0, 0.0, -0.2))  # by a span's end: heaviest and likeliest shape
FEWEST = 100  # rows below which there is no tail to fit
CELLS = 24  # into which these scores are counted
ROBUST = 3.5  # robust standard deviations, where there are too few rows (Iglewicz and Hoaglin 1993)
DRAWS = 200
ROUNDS = 8
EXCESS = 5  # times the false alarms above the threshold: there are odd rows
MOST = 0.22  # share of the rows beyond which the tail itself is being eaten up: it is long, not odd
MANY = 0.05  # share of odd rows from which on it is uncertain how many there are


@dataclass(frozen=True)
class Tail:
    """Scores of ordinary rows: quantiles, and above `start` a generalised Pareto law (`scale` 0: none)."""

    scores: np.ndarray  # (q,) ascending
    shares: np.ndarray  # (q,) beyond each
    start: float = 0.0
    share: float = 0.0
    shape: float = 0.0
    scale: float = 0.0
    rows: int = 1  # that it was learnt from
    fits: bool = True  # whether the counts below the law's end could be its own

    def threshold(self, rate: float = FALSE_ALARMS) -> float:
        """The score that a share `rate` of ordinary rows exceeds."""
        return _point(self.start, self.share, self.shape, self.scale, rate)

    def told(self) -> dict[str, Any]:
        """As `scoring.tails.beyond` reads it."""
        told: dict[str, Any] = {"scores": self.scores.tolist(), "shares": self.shares.tolist()}
        told["least"] = max(0.1 / max(self.rows, 1), LEAST)
        if self.scale:
            told.update(start=self.start, share=self.share, shape=self.shape, scale=self.scale)
        return told


def _point(start: float, share: float, shape: float, scale: float, rate: float) -> float:
    if rate >= share:
        return start
    r = share / rate
    return start + scale * (np.log(r) if abs(shape) < 1e-9 else (r**shape - 1.0) / shape)


def _quantiles(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = np.concatenate([np.linspace(1.0, 0.05, 96), np.linspace(0.045, 0.0, 10)])
    points = np.quantile(scores, 1.0 - share)
    new = np.concatenate([[True], np.diff(points) > 0])  # of tied scores the last, which fewest rows exceed
    last = np.concatenate([new[1:], [True]])
    shares = np.array([(scores > p).mean() for p in points[last]])
    return points[last], np.maximum(shares, LEAST)


def fit(scores: np.ndarray, seed: int = 0) -> tuple[Tail, list[float]]:
    """The law of the ordinary among the scores (n,), and thresholds of redrawn scores, from which an interval follows.

    Where more rows lie above the threshold than a fit may miss, they are left out and the law fitted again, until
    nothing changes: odd rows among those that shaped it made the others look more than they are. The interval then
    covers what all these rounds say.
    """
    scores = np.asarray(scores, dtype=np.float64)
    first = tail, drawn = _best(scores, seed)
    if not tail.scale or (scores > tail.threshold()).mean() <= EXCESS * FALSE_ALARMS:
        return first  # looking again would eat into the ordinary rows
    left, told = -1, list(drawn)
    for _ in range(ROUNDS):
        ordinary = scores[scores <= tail.threshold()]
        if len(ordinary) == left:
            break
        left = len(ordinary)
        # Ordinary rows beyond the threshold are gone too: so many are put back, at the threshold.
        back = np.full(round(FALSE_ALARMS * left), tail.threshold())
        next_tail, drawn = _best(np.concatenate([ordinary, back]), seed)
        if not next_tail.scale or next_tail.threshold() >= tail.threshold():
            break
        tail = next_tail
        told += drawn
        if (scores > tail.threshold()).mean() > MOST:
            return first
    return tail, told


def _best(scores: np.ndarray, seed: int) -> tuple[Tail, list[float]]:
    """The law over the widest span that fits the scores (n,), or that fits best, and thresholds of redrawn scores."""
    points, shares = _quantiles(scores)
    none = Tail(points, shares, rows=len(scores))
    if len(scores) < FEWEST:
        return none, []
    best: _Law | None = None
    for start, end in SPANS:
        found = _law(scores, start, end)
        if found is not None and (best is None or found.chance > best.chance):
            best = found
        if best is not None and best.chance > (FITS if end > EVEN else SURELY):
            break
    if best is None:
        return none, []
    tail = replace(none, start=best.start, share=best.share, shape=best.shape, scale=best.scale)
    return replace(tail, fits=best.chance > FITS), best.redrawn(np.random.default_rng(derive(seed, "extremes")))


@dataclass
class _Law:
    """A generalised Pareto law of the scores above `start`, and all that it was chosen among."""

    start: float
    share: float
    shape: float
    scale: float
    chance: float  # of counts as unlike the law's as these; 0 where rows lie where none should
    counts: np.ndarray  # (cells,)
    logs: np.ndarray  # (laws, cells) of the chance of each cell
    prior: np.ndarray  # (laws,)
    laws: np.ndarray  # (laws, 2) shape and scale

    def redrawn(self, random: np.random.Generator) -> list[float]:
        """Thresholds by laws of counts drawn anew."""
        n = int(self.counts.sum())
        drawn = random.multinomial(n, self.counts / n, size=DRAWS).astype(float)
        at = (drawn @ self.logs.T + self.prior).argmax(axis=1)
        return [_point(self.start, self.share, *self.laws[i].tolist(), FALSE_ALARMS) for i in at]


def _law(scores: np.ndarray, start: float, end: float) -> _Law | None:
    """The law of the scores (n,) between two quantiles; None where they have too few values.

    Peaks over a threshold (Siffer et al. 2017): the upper part of scores follows a generalised Pareto law, whatever the
    scores are. Those above `end` only count as "beyond", so that odd rows do not bend the law that is to find them.
    Fitted by the likelihood of counts in cells.
    """
    from scipy.stats import chi2, poisson

    n, whole = len(scores), end >= 1.0
    low, high = np.quantile(scores, [start, end])
    above = scores[scores > low]
    inner = above[above <= high]
    if not len(inner):
        return None
    parts = np.linspace(0.0, 1.0, CELLS + 1)
    if whole:  # finer where rows are few: there odd ones would be
        parts = 1.0 - np.geomspace(1.0, max(0.004, 3.0 / len(inner)), CELLS + 1)
    inside = np.unique(np.quantile(inner, parts[1:]))
    if len(inside) < 4:
        return None
    edges = inside - low  # (cells - 1,)
    counts = np.bincount(np.searchsorted(inside, above, side="left"), minlength=len(inside) + 1).astype(float)
    # Scores are logarithms: hardly heavier than exponential, and where they seem to be, odd rows make them so. Without
    # the top, shapes come out lower; how low in tables without odd rows is the prior (benchmarks/false_alarms.py).
    heaviest, known = (0.05, 0.0) if whole else next(prior for least, *prior in SHAPES if end > least)
    shapes = np.linspace(-0.5, heaviest, 28)
    scales = float(np.mean(inner - low)) * np.geomspace(0.3, 6.0, 45)
    beyond = np.stack([[pareto(edges, a, s) for s in scales] for a in shapes])  # (shapes, scales, cells - 1)
    beyond = np.concatenate([np.ones((*beyond.shape[:2], 1)), beyond, np.zeros((*beyond.shape[:2], 1))], axis=2)
    chances = np.maximum(-np.diff(beyond, axis=2), 1e-300).reshape(-1, len(counts))  # (laws, cells)
    logs, prior = np.log(chances), np.repeat(-0.5 * ((shapes - known) / 0.1) ** 2, len(scales))
    laws = np.stack(np.meshgrid(shapes, scales, indexing="ij"), axis=-1).reshape(-1, 2)
    best = int(np.argmax(logs @ counts + prior))
    shape, scale = laws[best].tolist()
    here = slice(None) if whole else slice(0, -1)  # what lies beyond the end is not the law's
    got, due = counts[here], (chances[best] * len(above))[here]
    off = 2.0 * float((got * np.log(np.maximum(got, 1e-9) / due) - got + due).sum())
    chance = float(chi2.sf(off, len(got) - 2))
    share = len(above) / n
    if whole:
        for rate in (r for r in FAR if r * n <= 50):
            many = int((scores > _point(float(low), share, shape, scale, rate)).sum())
            if many and poisson.sf(many - 1, rate * n) < SINGLE:
                chance = 0.0
    return _Law(float(low), share, shape, scale, chance, counts, logs, prior, laws)


def robust(scores: np.ndarray) -> float:
    """A threshold for few rows: the median and 3.5 times the spread of the upper half, as if it were Gaussian."""
    middle = float(np.median(scores))
    up = scores[scores > middle] - middle
    spread = 1.4826 * float(np.median(up)) if len(up) else 0.0
    return middle + ROBUST * spread


def exactly(scores: np.ndarray, share: float) -> float:
    """The threshold that a share of the rows (one at least) exceeds; equal scores stay together."""
    order = np.sort(scores)[::-1]
    k = int(np.clip(round(share * len(scores)), 1, len(scores) - 1))
    if order[k - 1] > order[k]:
        return float((order[k - 1] + order[k]) / 2.0)
    lower = order[order < order[k]]  # ties across the border: all of them, or none
    up = order[order > order[k]]
    many, few = len(order) - len(lower), len(up)
    if few and (k - few <= many - k or not len(lower)):
        return float((up[-1] + order[k]) / 2.0)
    return float((lower[0] + order[k]) / 2.0) if len(lower) else float(order[0])
