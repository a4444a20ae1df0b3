"""From where on a score is odd: a law for the upper tail of the scores of ordinary rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymodel.core.seeds import derive
from everymodel.scoring.tails import LEAST, pareto

FALSE_ALARMS = 0.001  # share of ordinary rows that may be called odd
START, END = 0.7, 0.93  # the scores in between shape the tail; those above may be odd and only count as "beyond"
FEWEST = 100  # rows below which there is no tail to fit
CELLS = 24  # into which these scores are counted
ROBUST = 3.5  # robust standard deviations, where there are too few rows (Iglewicz and Hoaglin 1993)
DRAWS = 200
ROUNDS = 8
EXCESS = 5  # times the false alarms above the threshold: there are odd rows


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

    What lies above the threshold is left out and the law fitted again, until nothing changes, because odd rows in the
    top 7 % still make these look more than they are.
    """
    scores = np.asarray(scores, dtype=np.float64)
    first = tail, drawn = _law(scores, seed)
    if not tail.scale or (scores > tail.threshold()).mean() <= EXCESS * FALSE_ALARMS:
        return first  # no more than a fit may miss: looking again would eat into the ordinary rows
    for _ in range(ROUNDS):
        ordinary = scores[scores <= tail.threshold()] if tail.scale else scores
        if len(ordinary) in (len(scores), tail.rows):
            break
        # Ordinary rows beyond the threshold are gone too: so many are put back, at the threshold.
        back = np.full(round(FALSE_ALARMS * len(ordinary)), tail.threshold())
        next_tail, next_drawn = _law(np.concatenate([ordinary, back]), seed)
        if not next_tail.scale or next_tail.threshold() >= tail.threshold():
            break
        tail, drawn = next_tail, next_drawn
        if (scores > tail.threshold()).mean() > 1.0 - END:  # the tail itself is being eaten up: it is long, not odd
            return first
    return tail, drawn


def _law(scores: np.ndarray, seed: int) -> tuple[Tail, list[float]]:
    """The law of the scores (n,), and thresholds of redrawn scores.

    Peaks over a threshold (Siffer et al. 2017): the top 30 % of scores follow a generalised Pareto law,
    whatever the scores are. The top 7 % only count as "beyond", so that odd rows do not bend the law that is to find
    them. Fitted by the likelihood of counts in cells.
    """
    points, shares = _quantiles(scores)
    start, end = np.quantile(scores, [START, END])
    above = scores[scores > start]
    inside = np.unique(np.quantile(above[above <= end], np.linspace(0.0, 1.0, CELLS + 1)[1:])) if len(above) else above
    if len(scores) < FEWEST or len(inside) < 4:
        return Tail(points, shares, rows=len(scores)), []
    edges = inside - start  # (cells,)
    counts = np.bincount(np.searchsorted(inside, above, side="left"), minlength=len(inside) + 1).astype(float)
    shapes = np.linspace(-0.5, 0.1, 31)  # scores are logarithms: no heavier than exponential, but for chance
    scales = float(np.mean(above[above <= end] - start)) * np.geomspace(0.3, 6.0, 61)
    beyond = np.stack([[pareto(edges, a, s) for s in scales] for a in shapes])  # (shapes, scales, cells)
    beyond = np.concatenate([np.ones((*beyond.shape[:2], 1)), beyond, np.zeros((*beyond.shape[:2], 1))], axis=2)
    logs = np.log(np.maximum(-np.diff(beyond, axis=2), 1e-300)).reshape(-1, len(counts))
    # The middle of a quarter of the rows says little on the shape: one near 0, as log-like scores have, is likelier.
    prior = np.repeat(-0.5 * (shapes / 0.15) ** 2, len(scales))
    share = len(above) / len(scores)

    def law(c: np.ndarray) -> tuple[float, float]:
        at = int(np.argmax(logs @ c + prior))
        return float(shapes[at // len(scales)]), float(scales[at % len(scales)])

    shape, scale = law(counts)
    tail = Tail(points, shares, float(start), share, shape, scale, len(scores))
    random = np.random.default_rng(derive(seed, "extremes"))
    redrawn = random.multinomial(len(above), counts / counts.sum(), size=DRAWS).astype(float)
    return tail, [_point(float(start), share, *law(c), FALSE_ALARMS) for c in redrawn]


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
