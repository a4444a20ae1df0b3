"""Oddities: how odd each row is, from where on it is called an anomaly, and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.finding import Finding
from everymodel.core.settings import Settings
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.tails import beyond
from everymodel.workflow.types import Listener, Metric, Progress
from everymodel.workflow.unsupervised import clumps, extremes, oddness
from everymodel.workflow.unsupervised.material import Fitted, Material, Matrix, Outcome
from everymodel.workflow.unsupervised.oddness import Detect, Plan
from everymodel.workflow.unsupervised.reasons import Reasons

LEARNT = 10_000  # rows that detectors learn from; all are scored
SHOWN = 50  # rows in the table of anomalies, if so many are odd; ten at least
EXPLAINED = 20
KEPT = 2.0  # seconds for packing and the report
POINTS = 2000  # rows on the map


@dataclass
class _Asked:
    """One detector that was asked, and what came of it."""

    plan: Plan
    answers_ask: bool  # a member of what answers, or a first opinion only
    fitted: Fitted | None = None
    reason: str = ""


@dataclass
class _Search:
    """What was found on the rows that detectors learn from."""

    material: Material
    asked: list[_Asked]
    fits: list[Fitted] = field(default_factory=list)
    crossed: np.ndarray | None = None  # (m,) scores by detectors that have not learnt from the row
    near: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # rows not in a crowd far away
    stopped: str = "finished"

    @property
    def good(self) -> list[_Asked]:
        return [a for a in self.asked if a.answers_ask and a.fitted is not None]


def discover(
    material: Material,
    *,
    models: list[str] | None = None,
    contamination: float | None = None,
    labels: np.ndarray | None = None,
    clock: Clock,
    trials: int | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> Outcome:
    """Score all rows, set the threshold, and say why rows are odd.

    Parameters
    ----------
    models : names of detectors that are blended; by default see `oddness`.
    contamination : expected share of odd rows; by default the threshold is found in the scores themselves.
    labels : (n,) codes of a column that the scores are compared with; its rarer value counts as odd. Nothing is learnt
        from it.
    trials : so many of the detectors that answer are fitted at most.
    """
    clock = Clock(clock.limit, clock.started, clock.kept + KEPT)
    findings: list[Finding] = []
    learnt, rows = _sample(material, seed, findings)
    found = _search(learnt, models, trials, clock, listener, seed, findings)
    pack, scores = oddness.blend(found.fits, learnt, found.near)
    ordinary = (scores if found.crossed is None else found.crossed)[found.near]
    if rows is not None:
        scores = _all(pack, material.batch)
    tail, drawn = extremes.fit(ordinary, seed)
    threshold, how, interval = _threshold(scores, ordinary, tail, drawn, contamination, findings)
    odd = scores > threshold
    share = beyond(tail.told(), scores)
    _notice(material, scores, odd, findings)
    order = np.lexsort((np.arange(len(scores)), -scores))
    top = order[: max(min(int(odd.sum()), SHOWN), min(10, len(order)))]
    told = _reasons(material, pack, scores, threshold, top[:EXPLAINED], clock, seed)
    metrics = _against(labels, scores, odd, seed, findings)
    spec, arrays = pack.spec()
    members = [
        {"model": a.plan.title, "card": a.plan.card, "weight": 1.0 / len(found.good), "parameters": a.plan.parameters}
        for a in found.good
    ]
    return Outcome(
        fitted=Fitted(spec, arrays, scores, None, {}, sum(f.seconds for f in found.fits), []),
        members=members,
        leaderboard=_leaderboard(found, labels if rows is None or labels is None else labels[rows]),
        metrics=metrics,
        headline=_headline(int(odd.sum()), len(scores), how, interval, metrics),
        metric=metrics[0].name if metrics else "",
        classes=("normal", "anomaly"),
        manifest={
            "threshold": threshold,
            "threshold_from": how,
            "tail": tail.told(),
            "odd": {"rows": int(odd.sum()), "low": interval[0], "high": interval[1]},
            **_background(material, pack, seed),
        },
        structure=_structure(material, scores, odd, threshold, how, interval, top, share, told),
        findings=findings,
        failures=[{"model": a.plan.title, "reason": a.reason} for a in found.asked if a.reason],
        stopped=found.stopped,
        tables={"anomalies": _table(top, scores, share, odd, told)},
    )


# ---------------------------------------------------------------------- fitting


def _sample(material: Material, seed: int, findings: list[Finding]) -> tuple[Material, np.ndarray | None]:
    """The rows that detectors learn from, and their numbers where they are not all."""
    if material.n <= LEARNT:
        return material, None
    rows = np.random.default_rng(seeds.derive(seed, "learnt")).choice(material.n, LEARNT, replace=False)
    rows.sort()
    findings.append(
        Finding(
            "anomalies-sampled",
            "info",
            f"What is ordinary was learnt from {LEARNT:,} of the {material.n:,} rows, drawn by chance; all rows were "
            "scored.",
            "Nothing to do: more rows would hardly move the threshold.",
        )
    )
    whole = material.balanced
    assert whole is not None
    part = Matrix(np.ascontiguousarray(whole.X[rows]), whole.nodes, whole.names, whole.origins)
    return Material(material.schema, material.batch.take(rows), material.seed, part), rows


def _search(
    material: Material,
    models: list[str] | None,
    trials: int | None,
    clock: Clock,
    listener: Listener | None,
    seed: int,
    findings: list[Finding],
) -> _Search:
    from everymodel.workflow.search.crew import Crew

    assert material.balanced is not None
    n, p = material.balanced.X.shape
    levels = any(c.kind in ("category", "boolean") for c in material.schema.features)
    opinions, plans = _plans(models, n, p, levels)
    asked = [_Asked(_titled(plan), False) for plan in opinions]
    asked += [_Asked(_titled(plan), True) for plan in plans[: trials or None]]
    found = _Search(material, asked)
    random = np.random.default_rng(seeds.derive(seed, "anomaly"))
    found.near = np.arange(n) if models else _near(material, seed, findings)
    crew = Crew(material, size=Settings.load().cores())
    try:
        crew.preload(list(dict.fromkeys((a.plan.card, "detector") for a in asked)))
        suspect = np.zeros(n)
        if opinions:
            first = [a for a in asked if not a.answers_ask]
            _run(crew, first, [_job(a.plan, seed, _fewer(a.plan, np.arange(n), random)) for a in first],
                 clock, 0.35, listener, asked)  # fmt: skip
            heard = [a.fitted.answers for a in first if a.fitted is not None]
            suspect = oddness.suspicion(heard) if heard else suspect
        last = [a for a in asked if a.answers_ask]
        own = bool(models)
        whole = [
            _job(a.plan, seed, _fewer(a.plan, oddness.kept(suspect, a.plan.left_out, found.near), random), own)
            for a in last
        ]
        started = time.monotonic()
        _run(crew, last, whole, clock, 0.8, listener, asked)
        found.fits = [a.fitted for a in found.good if a.fitted is not None]
        if found.fits and n >= 2 * extremes.FEWEST and clock.left() > 1.5 * (time.monotonic() - started) + 0.2:
            found.crossed = _crossed(crew, found, suspect, random, clock, seed, own)
    except KeyboardInterrupt:
        found.stopped = "interrupted"
    finally:
        crew.close(keep=found.stopped != "interrupted")
    if not found.fits:
        simple = _Asked(_titled(Plan("pca_reconstruction", {})), True)
        simple.fitted = _job(simple.plan, seed, None).run(material)
        told = "; ".join(f"{a.plan.title}: {a.reason or 'no time was left'}" for a in asked if a.answers_ask)
        findings.append(
            Finding("models-failed", "warning",
                    f"No detector came to an end ({told}); {simple.plan.title} answers instead.",
                    "Give a longer budget=, or name other models.")
        )  # fmt: skip
        asked.append(simple)
        found.fits = [simple.fitted]
    if any(a.reason == "no time was left" or a.reason == "out of time" for a in asked):
        found.stopped = "budget" if found.stopped == "finished" else found.stopped
    return found


def _near(material: Material, seed: int, findings: list[Finding]) -> np.ndarray:
    """Numbers of the rows that are not in a small crowd far away; those are odd, and nothing is learnt from them."""
    assert material.balanced is not None
    random = np.random.default_rng(seeds.derive(seed, "clumps"))
    far = clumps.far(material.balanced.X, ~oddness.levels(material, material.balanced), random)
    if far.any():
        findings.append(
            Finding(
                "anomalies-far-crowd",
                "info",
                f"{int(far.sum())} of {len(far):,} rows lie far from all others, some of them close together; what is "
                "ordinary was not learnt from them.",
                "Look whether they are errors, or a kind of rows of their own.",
            )
        )
    return np.flatnonzero(~far)


def _plans(models: list[str] | None, n: int, p: int, levels: bool) -> tuple[list[Plan], list[Plan]]:
    if not models:
        return oddness.first(n, p, levels), oddness.members(n, p, levels)
    cards = list({c.name: c for c in (catalog.find(name, task="anomaly", kind="detector") for name in models)}.values())
    for card in cards:
        catalog.load(card)  # says so where a package is missing
    return [], [Plan(card.name, {}) for card in cards]


def _titled(plan: Plan) -> Plan:
    title = catalog.find(plan.card, kind="detector").title
    told = [f"{plan.left_out:.0%} left out"] if plan.left_out else []
    clouds = plan.parameters.get("n_components")
    if clouds and plan.card == "gaussian_mixture":
        told.insert(0, f"{clouds} cloud{'s' * (clouds != 1)}")
    title = ", ".join([title, *told])
    return replace(plan, title=title)


def _fewer(plan: Plan, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The rows (m,) to learn from, or some of them where the detector compares all with each other."""
    most = catalog.find(plan.card, kind="detector").need("max_rows")
    if most and "n_neighbors" in plan.parameters:
        most = oddness.REFERENCE
    return rows if not most or len(rows) <= most else np.sort(random.choice(rows, most, replace=False))


def _job(plan: Plan, seed: int, rows: np.ndarray | None, own: bool = False) -> Detect:
    seed = seeds.derive(seed, plan.title)
    return Detect(plan.card, "detector", plan.parameters, seed=seed, rows=rows, own=own, blur=plan.blur)


def _run(
    crew: Any,
    asked: Sequence[_Asked],
    jobs: Sequence[Detect],
    clock: Clock,
    part: float,
    listener: Listener | None,
    everyone: Sequence[_Asked],
) -> None:
    """Fit all, in at most `part` of the time left."""
    left = clock.left()
    end = time.monotonic() + (max(left, 0.5) * part if np.isfinite(left) else 1e9)
    for i, answer in oddness.run_all(crew, jobs, end):
        if isinstance(answer, Fitted) and bool(np.isfinite(answer.answers).all()):
            asked[i].fitted = answer
        else:
            asked[i].reason = "its scores are not finite" if isinstance(answer, Fitted) else answer
        if listener:
            left = clock.left()
            done = sum(a.fitted is not None or bool(a.reason) for a in everyone)
            listener(
                Progress("search", candidate=asked[i].plan.title, done=done, total=len(everyone),
                         seconds_left=left if np.isfinite(left) else None)
            )  # fmt: skip


def _crossed(
    crew: Any, found: _Search, suspect: np.ndarray, random: np.random.Generator, clock: Clock, seed: int, own: bool
) -> np.ndarray | None:
    """Scores as new rows would get them: by detectors fitted on the half that the row is not in."""
    good, order = found.good, random.permutation(found.near)
    halves = [np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])]
    jobs = [
        _job(a.plan, seed, _fewer(a.plan, oddness.kept(suspect, a.plan.left_out, half), random), own)
        for half in halves
        for a in good
    ]
    left = clock.left()
    end = time.monotonic() + (left if np.isfinite(left) else 1e9)
    made: dict[int, Fitted] = {}
    for i, answer in oddness.run_all(crew, jobs, end):
        if not isinstance(answer, Fitted) or not np.isfinite(answer.answers).all():
            return None
        made[i] = answer
    fits = [[made[h * len(good) + i] for i in range(len(good))] for h in (0, 1)]
    return oddness.crossed(halves, fits, len(suspect))


def _all(pack: Pack, batch: Batch, size: int = 16384) -> np.ndarray:
    parts = [pack(batch.take(np.arange(i, min(i + size, batch.n)))) for i in range(0, batch.n, size)]
    return np.concatenate(parts)


# ---------------------------------------------------------------------- what was found


def _threshold(
    scores: np.ndarray,
    ordinary: np.ndarray,
    tail: extremes.Tail,
    drawn: list[float],
    contamination: float | None,
    findings: list[Finding],
) -> tuple[float, str, tuple[int | None, int | None]]:
    """The threshold, where it comes from, and an interval of the number of rows above it."""
    if contamination:
        threshold = extremes.exactly(scores, contamination)
        many, asked = int((scores > threshold).sum()), max(round(contamination * len(scores)), 1)
        if many != asked:
            findings.append(
                Finding(
                    "anomalies-tied",
                    "warning",
                    f"contamination={contamination:g} asks for {asked} odd rows, but rows with equal scores cannot be "
                    f"parted, so {many} are called odd.",
                    "Leave duplicates out, or give another contamination=.",
                )
            )
        return threshold, "contamination", (None, None)
    if not tail.scale:
        threshold = extremes.robust(ordinary)
        findings.append(
            Finding(
                "anomalies-few-rows",
                "info",
                f"{len(np.unique(ordinary))} different scores are too few to learn how far ordinary rows reach; rows "
                f"more than {extremes.ROBUST:g} robust standard deviations above the median are called odd.",
                "Look at the order of the scores rather than at the threshold, or give contamination=.",
            )
        )
        return threshold, "robust spread", (None, None)
    counts = [int((scores > t).sum()) for t in drawn]
    low, high = (int(v) for v in np.quantile(counts, [0.025, 0.975], method="inverted_cdf"))
    many = int((scores > tail.threshold()).sum())
    low, high = min(low, many), max(high, many)
    hidden = many >= extremes.MANY * len(scores)
    if hidden or not tail.fits:
        why = (
            "So many of them hide where ordinary rows end."
            if hidden
            else "The scores of the other rows do not fall off as those of one kind of rows do."
        )
        findings.append(
            Finding(
                "anomalies-share-uncertain",
                "warning",
                f"How many rows are odd is uncertain: {many:,} of {len(scores):,} are called so; {low:,} to {high:,} "
                f"are plausible. {why}",
                "Look at rows around the threshold, or give the share that you expect (contamination=).",
                data={"rows": many, "low": low, "high": high},
            )
        )
    return tail.threshold(), "extreme values", (low, high)


def _notice(material: Material, scores: np.ndarray, odd: np.ndarray, findings: list[Finding]) -> None:
    """What makes the scores doubtful."""
    assert material.balanced is not None
    X = material.balanced.X
    if float(np.ptp(scores)) == 0.0:
        findings.append(
            Finding("anomalies-all-alike", "warning", "All rows get the same score: none is odder than another.",
                    "Add columns in which rows differ.")
        )  # fmt: skip
        return
    if material.n <= 200_000:
        different = len(np.unique(np.ascontiguousarray(X).view(np.dtype((np.void, X.dtype.itemsize * X.shape[1])))))
        if different <= 0.5 * material.n:
            findings.append(
                Finding(
                    "anomalies-duplicates",
                    "warning",
                    f"Only {different:,} of the {material.n:,} rows are different. Rows that are repeated often look "
                    "ordinary, and all others odd.",
                    "Count repeated rows once if they are copies, not events.",
                )
            )
    if material.n < 50:
        findings.append(
            Finding("anomalies-very-few-rows", "warning",
                    f"{material.n} rows say little on what is ordinary.",
                    "Take the scores as an order in which to look at rows.")
        )  # fmt: skip
    rows = np.flatnonzero(odd)
    if 5 <= len(rows) <= 2000:
        spread = float(np.median(X[rows].std(axis=0)[X.std(axis=0) > 0] / X.std(axis=0)[X.std(axis=0) > 0]))
        if spread < 0.25:
            findings.append(
                Finding(
                    "anomalies-alike",
                    "info",
                    f"The {len(rows)} odd rows resemble each other: they may be a small group rather than accidents.",
                    "Look at some of them; task='cluster' may name the group.",
                )
            )


def _reasons(
    material: Material, pack: Pack, scores: np.ndarray, threshold: float, top: np.ndarray, clock: Clock, seed: int
) -> dict[int, list[dict[str, Any]]]:
    """Row number -> reasons, of as many rows as there is time for (one at least)."""
    asked = Reasons(material, lambda batch: _all(pack, batch), scores, threshold, seed)
    told: dict[int, list[dict[str, Any]]] = {}
    for row in top.tolist():
        told[row] = asked.of(row)
        if clock.over():
            break
    return told


def _against(
    labels: np.ndarray | None, scores: np.ndarray, odd: np.ndarray, seed: int, findings: list[Finding]
) -> list[Metric]:
    """How well the scores find the rows that labels call odd, with 95 % intervals."""
    truth = _truth(labels)
    if truth is None:
        if labels is not None:
            findings.append(
                Finding("labels-not-compared", "warning",
                        f"The column to compare with has {len(np.unique(labels))} values, expected two.",
                        "Give a column that says ordinary or odd; the rarer value counts as odd.")
            )  # fmt: skip
        return []
    from sklearn.metrics import average_precision_score, roc_auc_score

    k = int(truth.sum())

    def measure(y: np.ndarray, s: np.ndarray, flagged: np.ndarray) -> list[float]:
        m = int(y.sum())
        first = np.argsort(-s, kind="stable")[:m]
        hit = float(y[flagged].mean()) if flagged.any() else np.nan
        return [roc_auc_score(y, s), average_precision_score(y, s), float(y[first].mean()), hit,
                float(flagged[y == 1].mean())]  # fmt: skip

    values = measure(truth, scores, odd)
    random = np.random.default_rng(seeds.derive(seed, "against"))
    ones, rest = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    draws = []
    for _ in range(100 if len(truth) <= 20_000 else 20):
        at = np.concatenate([random.choice(ones, len(ones)), random.choice(rest, len(rest))])
        draws.append(measure(truth[at], scores[at], odd[at]))
    names = [
        ("roc_auc", "Chance that a row labelled odd scores above one that is not."),
        ("average_precision", f"Mean precision as rows are looked at from the oddest on; chance: {truth.mean():.3g}."),
        ("precision_at_k", f"Share of the {k} oddest rows that are labelled odd; {k} rows are."),
        ("precision", "Share of the rows called odd that are labelled odd."),
        ("recall", "Share of the rows labelled odd that are called odd."),
    ]
    out = []
    for i, (name, text) in enumerate(names):
        if np.isfinite(values[i]):
            drawn = np.array([d[i] for d in draws])
            drawn = drawn[np.isfinite(drawn)]
            low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
            out.append(Metric(name, float(values[i]), float(low), float(high), "higher", text))
    return out


def _truth(labels: np.ndarray | None) -> np.ndarray | None:
    """(n,) 1 for rows with the rarer of two labels."""
    if labels is None:
        return None
    values, counts = np.unique(labels, return_counts=True)
    if len(values) != 2:
        return None
    rarer = values[1] if counts[1] <= counts[0] else values[0]
    return (labels == rarer).astype(np.int64)


def _leaderboard(found: _Search, labels: np.ndarray | None) -> list[dict[str, Any]]:
    """One line per detector: does it answer, how far it agrees with what answers, and with the labels if there are."""
    truth = _truth(labels)
    whole = np.mean([oddness.standing(f.answers)(f.answers) for f in found.fits], axis=0)
    lines = []
    for a in sorted(found.asked, key=lambda a: not a.answers_ask):
        fit = a.fitted
        line: dict[str, Any] = {
            "model": a.plan.title,
            "card": a.plan.card,
            "agreement": _rank_correlation(fit.answers, whole) if fit else float("nan"),
            "fit_seconds": fit.seconds if fit else float("nan"),
            "weight": 1.0 / len(found.fits) if a.answers_ask and fit else 0.0,
            "status": ("ok" if a.answers_ask else "first opinion") if fit else "failed",
        }
        if truth is not None and 0 < truth.sum() < len(truth):
            from sklearn.metrics import roc_auc_score

            line["roc_auc"] = float(roc_auc_score(truth, fit.answers)) if fit else float("nan")
        lines.append(line)
    return lines


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import rankdata

    a, b = rankdata(a), rankdata(b)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _background(material: Material, pack: Pack, seed: int) -> dict[str, Any]:
    """Synthetic rows that the model finds ordinary, which explanations compare with; {} where there are none."""
    from everymodel.workflow.pack import background

    drawn = [background(material.batch, material.schema, seeds.derive(seed, "ordinary", i)) for i in range(8)]
    joined = {name: [v for one in drawn for v in one[name]] for name in drawn[0]}
    columns = {}
    for column in material.schema.features:
        values = joined[column.name]
        like = material.batch.columns[column.name]
        if like.dtype.kind == "f":
            columns[column.name] = np.array([np.nan if v is None else v for v in values], dtype=like.dtype)
        else:
            columns[column.name] = np.array(values, dtype=like.dtype)
    n = len(next(iter(joined.values())))
    calm = np.sort(np.argsort(pack(Batch(columns, n)), kind="stable")[: n // 8])
    return {"background": {name: [values[i] for i in calm] for name, values in joined.items()}}


def _headline(odd: int, n: int, how: str, interval: tuple[int | None, int | None], metrics: list[Metric]) -> str:
    verb = "is" if odd == 1 else "are"
    told = f"{odd:,} of {n:,} rows {verb} odd"
    if interval[0] is not None and interval[0] != interval[1]:
        told += f" ({interval[0]:,} to {interval[1]:,})"
    if how == "contamination":
        told += ", as many as asked for"
    elif how == "extreme values":
        told += f"; the threshold aims at {extremes.FALSE_ALARMS:.1%} of ordinary rows"
    if metrics:
        m = metrics[0]
        told += f"; ROC AUC {m.value:.3f} ({m.low:.3f} to {m.high:.3f}) against the labels, which it has not seen"
    return told + "."


def _structure(
    material: Material,
    scores: np.ndarray,
    odd: np.ndarray,
    threshold: float,
    how: str,
    interval: tuple[int | None, int | None],
    top: np.ndarray,
    share: np.ndarray,
    told: dict[int, list[dict[str, Any]]],
) -> dict[str, Any]:
    """What the report draws."""
    assert material.balanced is not None
    X = material.balanced.X
    high = float(max(scores.max(), threshold))
    counts, edges = np.histogram(scores, bins=60, range=(float(scores.min()), high + 1e-9))
    at = np.unique(np.concatenate([top, np.arange(len(X))[:: max(1, len(X) // POINTS)]]))
    some = X[:: max(1, len(X) // 20_000)]
    center = some.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(some.T)))
    axes = vectors[:, ::-1][:, :2]
    points = (X[at] - center) @ axes
    if points.shape[1] == 1:
        points = np.column_stack([points[:, 0], np.zeros(len(points))])
    total = float(values.sum()) or 1.0
    return {
        "threshold": threshold,
        "how": how,
        "odd": {"rows": int(odd.sum()), "low": interval[0], "high": interval[1]},
        "scores": {
            "quantiles": np.quantile(scores, np.linspace(0, 1, 201)).tolist(),
            "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
        },
        "top": [
            {"row": int(r), "score": float(scores[r]), "tail": float(share[r]), "reasons": told.get(int(r), [])}
            for r in top
        ],
        "map": {
            "points": points.tolist(),
            "labels": np.where(odd[at], "anomaly", "normal").tolist(),
            "explained": (values[::-1][:2] / total).tolist(),
        },
    }


def _table(
    top: np.ndarray, scores: np.ndarray, share: np.ndarray, odd: np.ndarray, told: dict[int, list[dict[str, Any]]]
) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "row": top,
            "score": scores[top],
            "tail": share[top],
            "odd": odd[top],
            "reasons": ["; ".join(one["text"] for one in told.get(int(r), [])) for r in top],
        }
    )
