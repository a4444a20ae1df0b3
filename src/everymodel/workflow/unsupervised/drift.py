"""Have the groups drifted: do new rows fall into them as the rows of the fit did?

The model file keeps numbers about each group, never a row: its share, its centre and spread by column, and quantiles of
the distances of its rows from the centre.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, DataError
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Batch
from everymodel.workflow.unsupervised.material import Fitted, Material

FEWEST = 5  # rows below which a group's centre says too much about single rows
WIDEST = 500  # columns up to which centres are kept: they are text in the file
FAR = 0.99  # quantile of the distances beyond which a row is far from its group
LEVEL = 0.05  # chance of any false alarm, over all tests together
STEPS = 201
SLICE = 8192


@dataclass
class Shift:
    """One thing that may have changed: `effect` is a difference of shares or distributions, or in spreads."""

    what: str  # shares, distances, moved, far, noise
    group: int | None
    p: float  # after correction for the number of tests
    effect: float
    changed: bool
    sentence: str


@dataclass
class Drift:
    """What has changed. `drifted` where any test says so; false alarms come in at most 5 % of stable data."""

    drifted: bool
    rows: int
    shares: list[dict[str, Any]]  # group, before, now
    psi: float  # population stability index of the shares; by habit 0.1 is some, 0.25 much
    shifts: list[Shift] = field(default_factory=list)

    def __str__(self) -> str:
        told = [s.sentence for s in self.shifts if s.changed]
        return "\n".join(told) if told else f"No drift in {self.rows} rows."

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def reference(material: Material, fitted: Fitted, labels: np.ndarray) -> dict[str, Any]:
    """What the model file keeps of its groups, to compare new rows with; plain data.

    Parameters
    ----------
    labels : (n,) group of each row of the fit, -1 for noise.
    """
    pack = fitted.pack()
    if len(pack.nodes) < 2 or not set(labels.tolist()) - {-1}:
        return {}
    X = _matrix(pack, material.batch)
    groups = []
    for g in range(int(labels.max()) + 1):
        own = X[labels == g]
        told: dict[str, Any] = {"rows": len(own)}
        if len(own) >= FEWEST and X.shape[1] <= WIDEST:
            center = own.mean(axis=0)
            far = np.linalg.norm(own - center, axis=1)
            told["center"] = _short(center)
            told["spread"] = _short(own.std(axis=0))
            told["distances"] = _short(np.quantile(far, np.linspace(0, 1, STEPS)))
        groups.append(told)
    return {"rows": len(labels), "noise": int((labels < 0).sum()), "each": groups}


def drift(model: Any, data: Any, *, level: float = LEVEL) -> Drift:
    """Compare new rows with the groups of a model.

    Four kinds of tests, corrected together (Bonferroni): shares of the groups (G-test on the two tables of counts),
    distances from the centre within each group (Kolmogorov-Smirnov), each group's centre (z-test by column), and the
    share of rows far from every group, which a new group raises. Differences too small to matter do not count.

    Parameters
    ----------
    model : a model of task "cluster".
    data : rows as for `predict`; a few hundred or more.
    level : chance of a false alarm.

    Raises
    ------
    CapabilityError
        for a model of another task, or a file that keeps no figures of its groups.
    DataError
        for fewer than 20 rows.
    """
    known = model.manifest.get("groups")
    if model.task != "cluster" or not known:
        raise CapabilityError(
            f"This model ({model.task}) keeps no figures of groups, so drift of groups cannot be told; "
            "it needs a model that em.fit(data, task='cluster') made."
        )
    batch, _ = model.read(data, unseen="ignore")
    if batch.n < 20:
        raise DataError(f"Drift cannot be told from {batch.n} rows; at least 20 are needed.")
    return _compare(known, *_placed(model.pack, batch), level)


def _placed(pack: Pack, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (n, p) that the groups live in, and memberships (n, k)."""
    X = _matrix(pack, batch)
    last = next(node for node in pack.nodes if node.name == pack.answer)
    return X, np.concatenate([last.step(X[i : i + SLICE]) for i in range(0, len(X), SLICE)])


def _matrix(pack: Pack, batch: Batch) -> np.ndarray:
    last = next(node for node in pack.nodes if node.name == pack.answer)
    before = Pack([node for node in pack.nodes if node.name != pack.answer], last.inputs[0])
    parts = []
    for i in range(0, batch.n, SLICE):
        part = Batch({k: v[i : i + SLICE] for k, v in batch.columns.items()}, min(SLICE, batch.n - i))
        parts.append(np.asarray(before(part), dtype=np.float64))
    return np.concatenate(parts)


def _compare(known: dict[str, Any], X: np.ndarray, memberships: np.ndarray, level: float) -> Drift:
    from scipy import stats

    n, m = len(X), int(known["rows"])
    each = known["each"]
    k = len(each)
    now = np.bincount(memberships.argmax(axis=1), minlength=memberships.shape[1])
    noise_now, now = int(now[k:].sum()), now[:k]
    before = np.array([g["rows"] for g in each])
    labels = memberships.argmax(axis=1)
    tests: list[Shift] = []

    table = np.array([before, now])[:, (before + now) > 0]
    shares = now / n - before / m
    if table.shape[1] > 1:
        p = float(stats.chi2_contingency(table, lambda_="log-likelihood", correction=False).pvalue)
        most = int(np.abs(shares).argmax())
        word = f"Group {most} holds {now[most] / n:.1%} of the rows; it held {before[most] / m:.1%}."
        tests.append(Shift("shares", most, p, float(np.abs(shares).max()), bool(np.abs(shares).max() >= 0.01), word))
    if known["noise"] or noise_now:
        p = _more(noise_now, n, known["noise"], m, stats)
        gap = noise_now / n - known["noise"] / m
        word = f"{noise_now / n:.1%} of the rows belong to no group; it was {known['noise'] / m:.1%}."
        tests.append(Shift("noise", None, p, gap, gap >= 0.005, word))

    far_now = far_before = seen_now = seen_before = 0
    for g, told in enumerate(each):
        own = X[labels == g]
        if "center" not in told or len(own) < 5:
            continue
        center, spread = np.array(told["center"]), np.array(told["spread"])
        gaps = np.sort(np.linalg.norm(own - center, axis=1))
        steps = np.array(told["distances"])
        limit = float(np.interp(FAR, np.linspace(0, 1, len(steps)), steps))
        far_now, seen_now = far_now + int((gaps > limit).sum()), seen_now + len(own)
        far_before, seen_before = far_before + round((1 - FAR) * told["rows"]), seen_before + told["rows"]
        apart = _apart(gaps, steps)
        effective = len(own) * told["rows"] / (len(own) + told["rows"])
        p = float(stats.kstwobign.sf(np.sqrt(effective) * max(apart - 1.0 / len(steps), 0.0)))
        word = f"Rows of group {g} lie otherwise about its centre than they did (KS distance {apart:.2f})."
        tests.append(Shift("distances", g, p, apart, apart >= 0.1, word))
        noise = np.sqrt((spread**2 + 1e-12) / told["rows"] + (own.var(axis=0) + 1e-12) / len(own))
        moved = own.mean(axis=0) - center
        z = np.abs(moved) / noise
        p = min(1.0, 2 * float(stats.t.sf(z.max(), min(len(own), told["rows"]) - 1)) * len(z))
        size = float(np.linalg.norm(moved) / max(np.linalg.norm(spread), 1e-12))
        word = f"The centre of group {g} has moved by {size:.2f} of the group's spread."
        tests.append(Shift("moved", g, p, size, size >= 0.1, word))
    if seen_now:
        p = _more(far_now, seen_now, far_before, seen_before, stats)
        gap = far_now / seen_now - far_before / seen_before
        word = (
            f"{far_now / seen_now:.1%} of the rows lie far from every group (it was {far_before / seen_before:.1%}): "
        )
        tests.append(Shift("far", None, p, gap, gap >= 0.005, word + "a new group may have appeared."))

    for test in tests:
        test.p = min(1.0, test.p * len(tests))
        test.changed = bool(test.changed and test.p < level)
    smooth = np.maximum(np.array([before / m, now / n]), 1e-4)
    psi = float(((smooth[1] - smooth[0]) * np.log(smooth[1] / smooth[0])).sum())
    told = [{"group": g, "before": float(before[g] / m), "now": float(now[g] / n)} for g in range(k)]
    return Drift(any(t.changed for t in tests), n, told, psi, sorted(tests, key=lambda t: t.p))


def _more(now: int, n: int, before: int, m: int, stats: Any) -> float:
    """Chance that a share is this much higher by accident: one-sided Fisher test, its normal form for many rows."""
    if min(now, before) < 20 and max(n, m) < 5000:
        return float(stats.fisher_exact([[now, n - now], [before, m - before]], alternative="greater").pvalue)
    pooled = (now + before + 1) / (n + m + 2)
    return float(stats.norm.sf((now / n - before / m) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))))


def _apart(gaps: np.ndarray, steps: np.ndarray) -> float:
    """Largest difference of the distributions of sorted values (n,) and of ascending quantiles (q,)."""
    expected = np.interp(gaps, steps, np.linspace(0, 1, len(steps)))
    n = len(gaps)
    return float(max((np.arange(1, n + 1) / n - expected).max(), (expected - np.arange(n) / n).max()))


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
