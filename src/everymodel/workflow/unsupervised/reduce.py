"""Few columns in the place of many: components, how many are real, what they hold, and what they mean."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core import seeds
from everymodel.core.card import Card
from everymodel.core.clock import Clock
from everymodel.core.errors import ParameterError
from everymodel.core.finding import Finding
from everymodel.core.settings import Settings
from everymodel.workflow.types import Listener, Metric, Progress
from everymodel.workflow.unsupervised import loadings as words
from everymodel.workflow.unsupervised import measures
from everymodel.workflow.unsupervised.material import Fitted, Material, Matrix, Outcome
from everymodel.workflow.unsupervised.reduction import (
    HeldOut,
    Reduction,
    Spectrum,
    halves,
    plan,
    ratio,
    spectrum,
    target,
    topics_above_chance,
)

SHARE = 0.9  # of the variance that is enough
TOPICS = 12  # found in texts without being asked: more are not read
PARTS = 20  # that counts are made of: where there are more, nobody reads them, and PCA is quicker
LOOKED = 10_000  # rows from which loadings are computed
POINTS = 2000  # rows on the map
KEPT = 2.0  # seconds for packing and the report
DEFAULTS = {"numbers": ["pca"], "counts": ["nmf", "pca"], "text": ["nmf", "truncated_svd"]}
BASELINE = {"numbers": "pca", "counts": "pca", "text": "truncated_svd"}
WORSE = 1.25  # a reconstruction error so many times another's is worth less easily read parts


@dataclass
class _Try:
    """One model that was asked."""

    card: Card
    parameters: dict[str, Any]
    rows: np.ndarray | None = None  # it is fitted on these alone
    judged: dict[str, Any] | None = None  # what HeldOut gave
    fitted: Fitted | None = None
    reason: str = ""  # why it has failed

    @property
    def error(self) -> tuple[float, float, float]:
        """Reconstruction error on held-out rows, with its interval."""
        nothing = (float("nan"),) * 3
        return ratio(self.judged["errors"], self.judged["totals"]) if self.judged else nothing


def discover(
    material: Material,
    *,
    models: list[str] | None = None,
    components: int | None = None,
    labels: np.ndarray | None = None,
    clock: Clock,
    trials: int | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> Outcome:
    """Find components and say in words what they are made of.

    Parameters
    ----------
    models : names of reducers; by default PCA for numbers, parts that add up (NMF) for counts and texts.
    components : how many; by default those above chance (Horn 1965), or fewer where they hold 90 % of the variance.
    labels : (n,) codes that colour the map; they are not learnt from.
    trials : so many of the models are tried at most.

    Raises
    ------
    ParameterError
        where a model of `models` reduces nothing, or needs a second set of columns.
    """
    clock = Clock(clock.limit, clock.started, clock.kept + KEPT)
    kind = plan(material)
    cards = _cards(models, kind)
    count = _Count(material, kind, components, seed, clock)
    if kind == "counts" and not models and count.number > PARTS:
        kind, cards = "numbers", _cards(None, "numbers")
    cards = cards[: trials or None]
    findings = count.findings
    tries = [_try(material, card, count.number, findings) for card in cards]
    parts = halves(material.n, seed)
    stopped = _run(material, tries, parts, kind, clock, seed, listener, bool(models))
    good = [t for t in tries if t.fitted is not None]
    if not good:
        base = _try(material, catalog.find(BASELINE[kind], kind="reducer"), count.number, findings)
        findings.append(_failed(tries, base.card))
        _fit_here(material, base, kind, seed)
        tries.append(base)
        good = [base]
    best = good[0]
    assert best.fitted is not None
    return _outcome(material, best, tries, count, kind, labels, findings, stopped, seed)


# ---------------------------------------------------------------------- which, how many


def _cards(models: list[str] | None, kind: str) -> list[Card]:
    cards = [catalog.find(name, task="reduce", kind="reducer") for name in models or DEFAULTS[kind]]
    for card in cards:
        if card.name == "partial_least_squares":
            raise ParameterError(
                f"{card.class_name} pairs two sets of columns, and a run without a target has one. Use "
                f"em.{card.class_name}(n_components).fit(X, Y), or task='regression' with models=['PLSRegression']."
            )
        catalog.load(card)  # says so where a package is missing
    return list({card.name: card for card in cards}.values())


class _Count:
    """How many components, why, and what chance would explain."""

    def __init__(self, material: Material, kind: str, asked: int | None, seed: int, clock: Clock):
        self.findings: list[Finding] = []
        self.asked = asked
        self.matrix: Matrix = target(material, kind)  # what loadings and shares are about
        X = self.matrix.X
        if kind == "text":
            self.above, self.shares, self.chance = topics_above_chance(X, seed, most=max(asked or 0, TOPICS))
            self.rows, self.enough, self.rank = X.shape[0], None, None
            most = min(X.shape) - 1
            self.number = min(asked or min(self.above, TOPICS), max(most, 1))
            self.why = f"{self.above} topics are above chance" if self.above < TOPICS else ""
            return
        found: Spectrum = spectrum(X, self.matrix.origins, seed, clock)
        self.shares, self.chance, self.rows, self.rank = found.shares, found.chance, found.rows, found.rank
        self.above, self.enough = found.above, found.holding(SHARE)
        columns = len(set(self.matrix.origins))
        self.number, self.why = self._choose(columns, len(found.shares))
        if found.rows < min(material.n, 5000):
            self.findings.append(
                Finding(
                    "components-sampled",
                    "info",
                    f"What chance would explain was found from {found.rows} of the {material.n} rows.",
                    "Nothing to do: with fewer rows chance explains more, so fewer components may be kept.",
                )
            )
        if self.rank is not None and asked and asked > self.rank >= 1:
            self.number = self.rank
            self.findings.append(
                Finding(
                    "components-beyond-rank",
                    "warning",
                    f"{asked} components were asked for, but the rows differ in {self.rank} directions only: "
                    f"{self.rank} hold all there is.",
                    f"Ask for {self.rank} or fewer, or give more rows or columns.",
                )
            )
        if material.n <= X.shape[1]:
            self.findings.append(
                Finding(
                    "components-few-rows",
                    "warning",
                    f"There are {material.n} rows for {X.shape[1]} prepared columns: other rows would give other "
                    "components.",
                    "Trust the first components most, and see how often each is found again.",
                )
            )

    def _choose(self, columns: int, most: int) -> tuple[int, str]:
        if self.asked:
            return min(self.asked, most), f"{self.asked} were asked for"
        if columns == 1:
            return 1, "there is one column"
        if self.above == 0:
            self.findings.append(
                Finding(
                    "no-components",
                    "warning",
                    f"The {columns} columns are not related more than chance would have it: no component stands for "
                    "several of them.",
                    "Keep the columns as they are; reducing them loses what they say.",
                )
            )
            number = self.enough or most
            return number, f"so many are needed for {SHARE:.0%} of the variance; none of them is above chance"
        if self.enough is not None and self.enough <= self.above:
            return self.enough, f"they hold {SHARE:.0%} of the variance"
        return self.above, "the others are not above chance"


def _try(material: Material, card: Card, number: int, findings: list[Finding]) -> _Try:
    rows = None
    limit = card.need("max_rows")
    if limit and material.n > limit:
        rows = np.random.default_rng(seeds.derive(material.seed, "rows", card.name)).choice(
            material.n, limit, replace=False
        )
        findings.append(
            Finding(
                "components-sampled",
                "warning",
                f"{card.title} compares all rows with each other, so it was fitted on {limit} of the {material.n} "
                "rows; the others were placed by what it learnt.",
                "PCA uses all rows.",
            )
        )
        rows = np.sort(rows)
    return _Try(card, {"n_components": number}, rows)


def _failed(tries: list[_Try], base: Card) -> Finding:
    told = "; ".join(f"{t.card.title}: {t.reason or 'no time was left'}" for t in tries)
    return Finding(
        "models-failed", "warning", f"No model that was tried came to an end ({told}); {base.title} answers instead.",
        "Give a longer budget=, or name other models.",
    )  # fmt: skip


# ---------------------------------------------------------------------- fitting


def _run(
    material: Material,
    tries: list[_Try],
    parts: tuple[np.ndarray, np.ndarray] | None,
    kind: str,
    clock: Clock,
    seed: int,
    listener: Listener | None,
    named: bool,
) -> str:
    """Fit and judge what there is time for, the best first in `tries` afterwards; why it ended."""
    started = time.perf_counter()
    if len(tries) == 1 and tries[0].card.name == BASELINE[kind]:
        only = tries[0]
        _fit_here(material, only, kind, seed)
        _say(listener, only, clock, 1, 1)
        # Judging repeats the fit and the preparation on most of the rows.
        if parts is not None and clock.left() > 2.0 * (time.perf_counter() - started):
            only.judged = _held_out(only, parts, kind, seed).run(material)
        return "finished"
    from everymodel.workflow.search.crew import Crew

    stopped = "finished"
    crew = Crew(material, size=Settings.load().cores())
    try:
        crew.preload([(t.card.name, t.card.kind) for t in tries])
        if parts is not None and len(tries) > 1:
            end = time.monotonic() + max(clock.left(), 0.5) * 0.5
            for t, answer in _jobs(crew, [(t, _held_out(t, parts, kind, seed)) for t in tries], end):
                t.judged, t.reason = (answer, "") if isinstance(answer, dict) else (None, str(answer))
                _say(listener, t, clock, sum(t.judged is not None for t in tries), len(tries))
        _rank(tries, kind, named)
        for t in tries:
            if t.reason and parts is not None and len(tries) > 1:
                continue
            end = time.monotonic() + max(clock.left(), 0.5)
            for _, answer in _jobs(crew, [(t, _reduction(t, kind, seed))], end):
                t.fitted, t.reason = (answer, "") if isinstance(answer, Fitted) else (None, str(answer))
            if t.fitted is not None:
                break
            stopped = "budget" if clock.over() else stopped
        best = next((t for t in tries if t.fitted is not None), None)
        if best is not None:
            tries.remove(best)
            tries.insert(0, best)
            if parts is not None and best.judged is None and clock.left() > 1.0:
                end = time.monotonic() + clock.left()
                for _, answer in _jobs(crew, [(best, _held_out(best, parts, kind, seed))], end):
                    best.judged = answer if isinstance(answer, dict) else None
                _say(listener, best, clock, 1, 1)
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        crew.close(keep=stopped != "interrupted")
    return stopped


def _jobs(crew: Any, jobs: list[tuple[_Try, Any]], end: float) -> Any:
    """(try, result or reason) of each job as it ends, at the moment `end` at the latest."""
    waiting = list(jobs)
    running: dict[int, _Try] = {}
    while waiting or running:
        while waiting and len(running) < crew.size:
            t, job = waiting.pop(0)
            running[crew.submit(job, stop_at=end, kill_at=end)] = t
        left = end - time.monotonic()
        arrived = crew.wait(max(left, 0.0) + 1.0)
        for number, (status, answer) in arrived:
            if number in running:
                yield running.pop(number), answer if status == "done" else str(answer)
        if not arrived and time.monotonic() >= end:
            for t in [*running.values(), *(t for t, _ in waiting)]:
                yield t, "no time was left"
            return


def _rank(tries: list[_Try], kind: str, named: bool) -> None:
    """The best first: least reconstruction error; where nobody has named models, parts that are plainer to read are
    worth an error of up to `WORSE` times the least."""

    def key(t: _Try) -> float:
        error = t.error[0]
        if not np.isfinite(error):
            return np.inf
        return error / (WORSE if not named and t.card.name == DEFAULTS[kind][0] else 1.0)

    tries.sort(key=key)


def _reduction(t: _Try, kind: str, seed: int) -> Reduction:
    details = ("explained_variance_ratio_",)
    return Reduction(t.card.name, "reducer", t.parameters, seed=seed, rows=t.rows, details=details, plan=kind)


def _held_out(t: _Try, parts: tuple[np.ndarray, np.ndarray], kind: str, seed: int) -> HeldOut:
    learn, rebuild = parts
    parameters = dict(t.parameters)
    if "n_components" in parameters:
        parameters["n_components"] = max(1, min(parameters["n_components"], len(learn) - 1))
    return HeldOut(t.card.name, "reducer", parameters, seed=seed, plan=kind, learn=learn, rebuild=rebuild)


def _fit_here(material: Material, t: _Try, kind: str, seed: int) -> None:
    t.fitted = _reduction(t, kind, seed).run(material)


def _say(listener: Listener | None, t: _Try, clock: Clock, done: int, total: int) -> None:
    if listener:
        error = t.error[0]
        left = clock.left()
        listener(
            Progress(
                "search",
                candidate=t.card.title,
                score=error if np.isfinite(error) else None,
                done=done,
                total=total,
                seconds_left=left if np.isfinite(left) else None,
            )
        )


# ---------------------------------------------------------------------- what was found


def _outcome(
    material: Material,
    best: _Try,
    tries: list[_Try],
    count: _Count,
    kind: str,
    labels: np.ndarray | None,
    findings: list[Finding],
    stopped: str,
    seed: int,
) -> Outcome:
    import pandas as pd

    fitted = best.fitted
    assert fitted is not None
    T = fitted.answers
    d = T.shape[1]
    rows = np.arange(material.n)
    if material.n > LOOKED:
        rows = np.sort(np.random.default_rng(seeds.derive(seed, "looked")).choice(material.n, LOOKED, replace=False))
    X = count.matrix.X[rows]
    sparse = not isinstance(X, np.ndarray)
    t = T[rows]
    error, low, high = best.error
    held: dict[str, float] = {}
    tables: dict[str, Any] = {}
    circle: list[dict[str, Any]] = []
    total = float("nan")
    if sparse:
        told = _topics(count.matrix, X, t)
    else:
        names = words.labels(material, count.matrix)
        correlation = words.correlations(X, t)  # (p, d)
        told = _components(count.matrix, names, correlation, X, t, findings)
        held = words.held(X, t, count.matrix.origins)
        total = sum(one["explained"] for one in told)
        circle = _circle(names, correlation)
        tables["loadings"] = words.table(correlation, count.matrix, names)
    again = _found_again(best, seed)
    for i, one in enumerate(told):
        one["again"] = again[i] if again else None
    columns = _column_names(told, sparse)
    tables["components"] = pd.DataFrame(
        {
            "component": columns,
            "explained": [one["explained"] for one in told],
            "chance": [float(count.chance[i]) if i < len(count.chance) else np.nan for i in range(d)],
            "found again": [one["again"] for one in told],
            "made of": [one["name"] for one in told],
        }
    )
    if sparse:
        tables["loadings"] = pd.DataFrame(
            [{"component": columns[i], **part} for i, one in enumerate(told) for part in one["parts"]]
        )
    _find_weak(held, told, findings, len(set(count.matrix.origins)))
    space = X if not sparse else None
    metrics = [
        Metric("reconstruction_error", error, low, high, "lower",
               "Share of the variance of rows not learnt from that is lost when they are rebuilt from components."),
        Metric("explained_variance", total, np.nan, np.nan, "higher",
               "Share of the variance of all rows that the components hold."),
    ]  # fmt: skip
    if space is not None and d < space.shape[1]:
        trust = measures.trust(space, t, seed=seed)
        metrics.append(
            Metric("trustworthiness", trust, np.nan, np.nan, "higher",
                   "1 when rows that are near by their components are near in the table.")
        )  # fmt: skip
    metrics = [m for m in metrics if np.isfinite(m.value)]
    title = best.card.title
    return Outcome(
        fitted=replace(fitted, details={}),
        members=[{"model": title, "card": best.card.name, "weight": 1.0, "parameters": best.parameters}],
        leaderboard=[_line(one, one is best) for one in sorted(tries, key=lambda one: one is not best)],
        metrics=metrics,
        headline=_headline(count, kind, d, total, error, len(set(count.matrix.origins)), best.card, told),
        metric="reconstruction_error",
        manifest={
            "columns": columns,
            "components": [
                {"name": columns[i], "made_of": one["name"], "sentence": one["sentence"], "explained": one["explained"]}
                for i, one in enumerate(told)
            ],
        },
        structure=_structure(count, told, t, rows, labels, error, low, high, held, circle, d),
        findings=findings,
        failures=[{"model": one.card.title, "reason": one.reason} for one in tries if one.reason],
        stopped=stopped,
        tables=tables,
    )


def _line(t: _Try, best: bool) -> dict[str, Any]:
    error, low, high = t.error
    ended = t.fitted is not None or t.judged is not None
    seconds = t.fitted.seconds if t.fitted else t.judged["seconds"] if t.judged else float("nan")
    return {
        "model": t.card.title,
        "card": t.card.name,
        "components": t.parameters.get("n_components"),
        "score": error,
        "score_low": low,
        "score_high": high,
        "fit_seconds": seconds,
        "weight": 1.0 if best else 0.0,
        "status": "ok" if ended else "failed",
    }


def _components(
    matrix_: Matrix, names: list[str], correlation: np.ndarray, X: np.ndarray, t: np.ndarray, findings: list[Finding]
) -> list[dict[str, Any]]:
    """What each component (n, d) of a dense table (n, p) is; correlation (p, d)."""
    explained = words.shares(X, t)
    told = []
    for i in range(t.shape[1]):
        name, sentence, order = words.told(correlation[:, i], names)
        column, share = words.of_one_column(X, t[:, i], matrix_.origins)
        told.append(
            {
                "component": i + 1,
                "name": name,
                "sentence": f"Component {i + 1} ({explained[i]:.0%} of the variance): {sentence}.",
                "explained": float(explained[i]),
                "parts": [{"feature": names[j], "value": float(correlation[j, i])} for j in order[:12]],
                "one_column": column if share >= 0.8 else None,
            }
        )
    alone = [one for one in told if one["one_column"]]
    if alone and len(set(matrix_.origins)) > 2:
        listed = ", ".join(f"component {one['component']} ({one['one_column']!r})" for one in alone[:5])
        findings.append(
            Finding(
                "component-of-one-column",
                "info",
                f"Little more than one column is in {listed}" + (" and others." if len(alone) > 5 else "."),
                "Such a component stands for that column alone; the column itself says the same and is plainer.",
                tuple(dict.fromkeys(one["one_column"] for one in alone)),
            )
        )
    return told


def _circle(names: list[str], correlation: np.ndarray, most: int = 40) -> list[dict[str, Any]]:
    """Correlations with the first two components, of the columns that these hold best."""
    if correlation.shape[1] < 2:
        return []
    order = np.argsort(-np.square(correlation[:, :2]).sum(axis=1), kind="stable")[:most]
    return [{"feature": names[j], "x": float(correlation[j, 0]), "y": float(correlation[j, 1])} for j in order]


def _topics(found: Matrix, X: Any, t: np.ndarray) -> list[dict[str, Any]]:
    """What each topic of a table of texts is: its words, and the share of rows that are mostly about it."""
    from everymodel.workflow.unsupervised.reduction import decoder

    axes = decoder(t, X)  # (d, v)
    several = len(set(found.origins)) > 1
    whole = float(X.multiply(X).sum()) or 1.0
    R = np.linalg.qr(t)[1]
    part = R @ axes  # the lengths of what each topic adds to those before it
    explained = np.einsum("ij,ij->i", part, part) / whole
    size = np.abs(t) * np.linalg.norm(axes, axis=1)
    main = np.bincount(size.argmax(axis=1)[size.max(axis=1) > 0], minlength=t.shape[1]) / max(len(t), 1)
    told = []
    for i, axis in enumerate(axes):
        order = np.argsort(-axis, kind="stable")[:12]
        first = [j for j in order if axis[j] > 0][:5]
        name = ", ".join(found.names[j] for j in first) or "no words"
        if several and first:
            name += f" (in {words.listed(list(dict.fromkeys(found.origins[j] for j in first)))})"
        top = float(axis[order[0]]) if len(order) else 1.0
        told.append(
            {
                "component": i + 1,
                "name": name,
                "sentence": f"Topic {i + 1} (foremost in {main[i]:.0%} of the rows): {name}.",
                "explained": float(explained[i]),
                "rows": float(main[i]),
                "parts": [
                    {"feature": found.names[j], "value": float(axis[j] / top)} for j in order if axis[j] > 0
                ],
            }
        )  # fmt: skip
    return told


def _column_names(told: list[dict[str, Any]], sparse: bool) -> list[str]:
    if not sparse:
        return [f"component {one['component']}" for one in told]
    return [f"topic {one['component']}: " + ", ".join(part["feature"] for part in one["parts"][:3]) for one in told]


def _found_again(best: _Try, seed: int) -> list[float] | None:
    """How alike (0 to 1) each component and the nearest of those learnt from 80 % of the rows are, on the others."""
    assert best.fitted is not None
    parts = halves(len(best.fitted.answers), seed)
    if best.judged is None or parts is None:
        return None
    full = best.fitted.answers[parts[1]]
    return np.abs(words.correlations(full, best.judged["scores"])).max(axis=1).tolist()


def _find_weak(held: dict[str, float], told: list[dict[str, Any]], findings: list[Finding], columns: int) -> None:
    """Columns that no component holds, and components that other rows would not give again."""
    lost = sorted((c for c, share in held.items() if share < 0.1), key=lambda c: held[c])
    if lost and columns > 1:
        listed = ", ".join(repr(c) for c in lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        findings.append(
            Finding(
                "columns-not-held",
                "warning",
                f"No component holds {listed}: less than 10 % of what {'it says' if len(lost) == 1 else 'each says'} "
                "is left.",
                "Keep these columns beside the components, or ask for more components.",
                tuple(lost),
                {"held": {c: held[c] for c in lost[:50]}},
            )
        )
    shaky = [one for one in told if one["again"] is not None and one["again"] < 0.8]
    if shaky:
        listed = ", ".join(f"{one['component']} ({one['again']:.2f})" for one in shaky[:8])
        findings.append(
            Finding(
                "components-unstable",
                "info",
                f"Learnt from 80 % of the rows, {len(shaky)} of {len(told)} components come out differently: {listed} "
                "(correlation with the nearest one found again).",
                "Do not read much into what these are made of; together they still hold what they hold.",
            )
        )


def _headline(
    count: _Count, kind: str, d: int, total: float, error: float, columns: int, card: Card, told: list[dict[str, Any]]
) -> str:
    if kind == "text" and not np.isfinite(total):
        held = f" hold{'s' * (d == 1)} {1.0 - error:.0%} of what new rows say" if np.isfinite(error) else ""
        return f"{d} topic{'s' * (d != 1)}{held}; the first is about {told[0]['name']}."
    if columns == 1 and d == 1:
        return f"There is one column, {count.matrix.origins[0]!r}: nothing to reduce."
    one = d == 1
    held = f"{d} component{'s' * (not one)} stand{'s' * one} for {columns} columns and hold{'s' * one} {total:.0%} of"
    held += " their variance"
    if np.isfinite(error):
        held += f" ({max(1.0 - error, 0.0):.0%} on rows not learnt from)"
    if count.above == 0 and not count.asked:
        return f"The {columns} columns are hardly related: {held[0].lower()}{held[1:]}, no more than by chance."
    return f"{held}." if count.asked else f"{held}; {count.why}."


def _structure(
    count: _Count,
    told: list[dict[str, Any]],
    t: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray | None,
    error: float,
    low: float,
    high: float,
    held: dict[str, float],
    circle: list[dict[str, Any]],
    d: int,
) -> dict[str, Any]:
    """What the report draws."""
    shown = max(min(len(count.shares), 40), min(d, len(count.shares)))
    at = np.arange(len(t))[:: max(1, -(-len(t) // POINTS))]
    two = t[:, :2] if t.shape[1] > 1 else np.column_stack([t[:, 0], np.zeros(len(t))])
    points: dict[str, Any] = {
        "points": two[at].tolist(),
        "explained": [one["explained"] for one in told[:2]],
        "names": [one["name"] for one in told[:2]],
    }
    if labels is not None:
        points["labels"] = np.asarray(labels)[rows[at]].tolist()
    structure = {
        "explained": count.shares[:shown].tolist(),
        "chance": count.chance[:shown].tolist(),
        "kept": d,
        "above_chance": count.above,
        "enough": count.enough,
        "why": count.why,
        "rows_looked_at": count.rows,
        "loadings": told,
        "map": points,
        "reconstruction": {"error": error, "low": low, "high": high},
        "held": held,
    }
    if circle:
        structure["circle"] = circle
    return structure
