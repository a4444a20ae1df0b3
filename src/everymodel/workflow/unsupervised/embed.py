"""Maps: two or three coordinates per row, in which neighbours stay neighbours."""

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
from everymodel.core.clock import Clock
from everymodel.core.finding import Finding
from everymodel.core.settings import Settings
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.components import Components
from everymodel.workflow.train import make
from everymodel.workflow.types import Listener, Metric, Progress
from everymodel.workflow.unsupervised import mapping
from everymodel.workflow.unsupervised.mapping import Quality
from everymodel.workflow.unsupervised.material import Fit, Fitted, Material, Outcome

KEPT = 2.0  # seconds for packing and the report
WIDE = 50  # columns beyond which maps are drawn from the main directions
SMALL = 2000  # rows up to which methods that compare all rows are tried without being asked
LEAST = 10  # rows below which there is no neighbourhood to keep
DEFAULTS = ("tsne", "isomap", "spectral_embedding")
HURRY = 8.0  # seconds below which there is no time to start a process: t-SNE runs here, and is asked to end
CLEARLY = 0.01  # of neighbourhoods that a map must keep more than PCA's, which is plain and whose far is far
POINTS = 5000  # rows that the report draws
DRAWN = {2: 20_000, 3: 3000}  # rows that a map is drawn from at most
SECONDS = {2: 4.5e-4, 3: 6e-3}  # a row that t-SNE draws
FEWER = 5000  # rows that a map is drawn from where the others could not all be placed otherwise
PLACED = 3e-5, 8e-9  # seconds to place a row, and per row of the map beside


@dataclass
class Drawing(Fit):
    """One map; runs in the fitting process."""

    order: np.ndarray | None = None  # (n,) rows as they get their places, as long as there is time; None: all

    def run(self, material: Material, stop: Callable[[], bool] | None = None) -> Fitted:
        """Draw, pack, place rows."""
        started = time.perf_counter()
        card = catalog.find(self.card, kind=self.kind)
        module = catalog.module(card)
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            matrix = material.matrix(card)
            nodes, X = list(matrix.nodes), matrix.X
            learn = X if self.rows is None else X[self.rows]
            directions = catalog.find("pca", kind="reducer")
            if card.family == "manifold" and X.shape[1] > WIDE and min(learn.shape) > WIDE:
                first = make(directions, {"n_components": WIDE}, seeds.derive(self.seed, "wide"), self.threads)
                step = catalog.module(directions).pack(first.fit(learn))
                nodes.append(Node("wide", step, (nodes[-1].name,)))
                learn = step(learn)
            wanted = self.parameters["n_components"]
            parameters = dict(self.parameters)
            if card.name == "pca":
                parameters["n_components"] = min(wanted, *learn.shape)
            model = make(card, parameters, seeds.derive(self.seed, "model", card.name), self.threads)
            if hasattr(module, "fit"):
                model = module.fit(model, learn, None, stop=stop, threads=self.threads)
            else:
                model.fit(learn)
            ended = time.perf_counter()
            step = module.pack(model)
            if isinstance(step, Components) and len(step.factor) < wanted:  # one column: the map is a line
                more = wanted - len(step.factor)
                axes = np.pad(step.axes, ((0, 0), (0, more)))
                step = Components(step.mean, axes, np.pad(step.factor, (0, more), constant_values=1.0))
            chain = [node.step for node in nodes[len(matrix.nodes) :]] + [step]
            nodes.append(Node("m", step, (nodes[-1].name,)))
            answers = _placed(chain, X, self.order, stop)
        if not np.isfinite(answers).all():
            raise FloatingPointError(f"{card.title} gave places that are not finite numbers")
        spec, arrays = Pack(nodes).spec()
        notes = {str(w.message).partition("\n")[0][:160] for w in caught if issubclass(w.category, UserWarning)}
        details = {"explained": _explained(model)} if card.name == "pca" else {}
        return Fitted(spec, arrays, answers, None, details, ended - started, sorted(notes))


def _placed(
    chain: list[Any], X: np.ndarray, order: np.ndarray | None, stop: Callable[[], bool] | None, size: int = 4096
) -> np.ndarray:
    """Places of all rows, or (q, d) of the first q of `order`: as many as there is time for."""
    rows = np.arange(len(X)) if order is None else order
    parts = []
    for start in range(0, len(rows), size):
        if order is not None and start >= mapping.ROWS and stop is not None and stop():
            break
        part = X[rows[start : start + size]]
        for step in chain:
            part = step(part)
        parts.append(part)
    return np.concatenate(parts)


def _explained(model: Any) -> list[float]:
    return [float(v) for v in model.explained_variance_ratio_]


@dataclass
class _Try:
    """One method that was asked."""

    card: Card
    rows: np.ndarray | None = None  # it draws these alone
    fitted: Fitted | None = None
    quality: Quality | None = None
    findings: list[Finding] = field(default_factory=list)  # of what its map leaves out
    reason: str = ""  # why it has failed

    @property
    def score(self) -> float:
        return self.quality.near if self.quality else float("nan")


@dataclass
class _Plan:
    """What is drawn, and what is placed."""

    seed: int
    d: int
    order: np.ndarray | None  # (n,) rows as they get their places, as long as there is time; None: all of them
    findings: list[Finding] = field(default_factory=list)


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
    """Draw a map of all rows.

    Principal components are always drawn, t-SNE where there is time for it, Isomap and spectral embedding where rows
    are few. The map that keeps neighbourhoods best answers; principal components where none is clearly better.

    Parameters
    ----------
    models : names of reducers that draw maps; the best of them answers.
    components : 2 or 3 coordinates; 2 by default.
    labels : (n,) codes to colour the map with; they are not learnt from.
    trials : so many of the methods are tried at most, beside PCA.

    Raises
    ------
    ParameterError
        where a model of `models` draws no maps.
    """
    clock = Clock(clock.limit, clock.started, clock.kept + KEPT)
    d = components or 2
    cards = [catalog.find(name, task="embed", kind="reducer") for name in models or []]
    for card in cards:
        catalog.load(card)  # says so where a package is missing
    order = None
    if material.n > mapping.ROWS:
        order = np.random.default_rng(seeds.derive(seed, "placed")).permutation(material.n)
    plan = _Plan(seed, d, order)
    base = _Try(catalog.find("pca", kind="reducer"))
    base.fitted = Drawing("pca", "reducer", {"n_components": d}, seed=seed).run(material)
    first = slice(None) if order is None else order[: mapping.ROWS]
    judge = mapping.Judge(material.balanced.X[first], seed)
    base.quality = judge(base.fitted.answers[first])
    tries = _tries(material, cards, plan, clock, trials)
    _say(listener, base, clock, 1, 1 + len(tries))
    stopped = _run(material, tries, plan, judge, clock, listener)
    good = [t for t in tries if t.quality is not None]
    best = max(good, key=lambda t: t.score, default=base)
    if (not cards or base.card in cards) and not base.score < best.score - CLEARLY:
        best = base
    if tries and not good:
        plan.findings.append(_failed(tries))
    return _outcome(material, best, [base, *tries], plan, labels, judge, stopped)


# ---------------------------------------------------------------------- which, from how many rows


def _tries(material: Material, cards: list[Card], plan: _Plan, clock: Clock, trials: int | None) -> list[_Try]:
    n = material.n
    named = [card for card in cards if card.name != "pca"]
    if cards and not named:
        return []
    if n < LEAST:
        if named:
            return [_Try(card) for card in named][: trials or None]
        plan.findings.append(
            Finding(
                "map-few-rows",
                "info",
                f"{n} rows are too few for a map of neighbourhoods; their principal components were drawn.",
                "Give at least 10 rows for t-SNE.",
            )
        )
        return []
    if not named:
        few = n <= SMALL and clock.left() > HURRY
        named = [catalog.find(name, kind="reducer") for name in DEFAULTS if name == "tsne" or few]
    named = named[: trials or None]
    if material.balanced.X.shape[1] == 1 and not cards:
        plan.findings.append(
            Finding(
                "map-one-column",
                "info",
                f"There is one column, {material.balanced.origins[0]!r}, and nothing beside it to draw.",
                "Give more columns; the column itself is the map.",
            )
        )
        return []
    tries = []
    for card in named:
        most = _affordable(card, n, plan.d, clock)
        if most == 0:
            plan.findings.append(
                Finding(
                    "map-not-tried",
                    "warning",
                    f"{card.title} was not tried: there is no time left for {n:,} rows.",
                    "Give a longer budget=.",
                )
            )
            continue
        t = _Try(card)
        if most < n:
            random = np.random.default_rng(seeds.derive(plan.seed, "drawn", card.name))
            t.rows = np.sort(random.choice(n, most, replace=False))
            t.findings.append(
                Finding(
                    "map-sampled",
                    "warning",
                    f"{card.title} drew its map from {most:,} of the {n:,} rows, picked at random; the others were "
                    f"placed on it.{_dear(card, most, plan.d)}",
                    "A group smaller than about one row in "
                    f"{max(n // most, 1) * 10:,} may be missing as a group of its own. PCA draws all rows.",
                )
            )
        tries.append(t)
    return tries


def _dear(card: Card, most: int, d: int) -> str:
    if card.name != "tsne" or d < 3:
        return ""
    times = SECONDS[3] / SECONDS[2]
    return (
        f" In three dimensions a row costs about {times:.0f} times as much as in two "
        f"(about {SECONDS[3] * most:.0f} s for these)."
    )


def _affordable(card: Card, n: int, d: int, clock: Clock) -> int:
    """Rows to draw in less than half of the time left; 0: none."""
    most = min(n, card.need("max_rows") or n)
    if card.name != "tsne":
        return most
    most, left = min(most, DRAWN[d]), clock.left()
    if not np.isfinite(left):
        return most
    if left < 0.5:
        return 0
    most = min(most, max(int(0.4 * left / SECONDS[d]), 500))
    able = 0.4 * left / (PLACED[0] + PLACED[1] * most)
    return most if n - most <= able else min(most, FEWER)  # rows are placed sooner on a smaller map


def _failed(tries: list[_Try]) -> Finding:
    told = "; ".join(f"{t.card.title}: {t.reason or 'no time was left'}" for t in tries) or "no time was left"
    return Finding(
        "models-failed",
        "warning",
        f"No map of neighbourhoods came to an end ({told}); principal components answer instead.",
        "Give a longer budget=, or name other models.",
    )


# ---------------------------------------------------------------------- drawing


def _run(
    material: Material, tries: list[_Try], plan: _Plan, judge: mapping.Judge, clock: Clock, listener: Listener | None
) -> str:
    if not tries:
        return "finished"
    if clock.left() < HURRY and [t.card.name for t in tries] == ["tsne"]:
        return _here(material, tries[0], plan, judge, clock, listener)
    from everymodel.workflow.search.crew import Crew

    stopped = "finished"
    crew = Crew(material, size=min(Settings.load().cores(), len(tries)))
    try:
        crew.preload([(t.card.name, t.card.kind) for t in tries])
        waiting, running = list(tries), {}
        left = min(clock.left(), 1e8)
        ask, end = time.monotonic() + 0.7 * left, time.monotonic() + max(0.9 * left, 0.3)
        while waiting or running:
            while waiting and len(running) < crew.size:
                t = waiting.pop(0)
                job = Drawing(
                    t.card.name,
                    "reducer",
                    {"n_components": plan.d},
                    seed=plan.seed,
                    rows=t.rows,
                    order=plan.order,
                )
                running[crew.submit(job, stop_at=ask, kill_at=end)] = t
            arrived = crew.wait(max(end - time.monotonic(), 0.0) + 1.0)
            for number, (status, answer) in arrived:
                t = running.pop(number, None)
                if t is None:
                    continue
                if status == "done":
                    t.fitted, t.quality = answer, judge(answer.answers[: mapping.ROWS])
                else:
                    t.reason = str(answer).partition("\n")[0][:300]
                _say(listener, t, clock, 1 + sum(bool(o.quality or o.reason) for o in tries), 1 + len(tries))
            if time.monotonic() >= end and (not arrived or waiting):
                stopped = "budget"
                for t in [*running.values(), *waiting]:
                    t.reason = t.reason or "no time was left"
                break
        if any("time" in t.reason for t in tries):
            stopped = "budget"
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        crew.close(keep=stopped != "interrupted")
    return stopped


def _drawing(t: _Try, plan: _Plan) -> Drawing:
    parameters = {"n_components": plan.d}
    return Drawing(t.card.name, "reducer", parameters, seed=plan.seed, rows=t.rows, order=plan.order)


def _here(
    material: Material, t: _Try, plan: _Plan, judge: mapping.Judge, clock: Clock, listener: Listener | None
) -> str:
    """Draw in this process, ending early where time does; the map as it is then is judged like any other."""
    end = time.monotonic() + 0.5 * clock.left()
    try:
        t.fitted = _drawing(t, plan).run(material, stop=lambda: time.monotonic() > end)
        t.quality = judge(t.fitted.answers[: mapping.ROWS])
    except KeyboardInterrupt:
        t.reason = "interrupted"
        return "interrupted"
    except Exception as error:  # a map that fails must not take the others with it
        t.reason = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
    _say(listener, t, clock, 2, 2)
    return "budget" if time.monotonic() > end else "finished"


def _say(listener: Listener | None, t: _Try, clock: Clock, done: int, total: int) -> None:
    if listener:
        left = clock.left()
        score = t.score if np.isfinite(t.score) else None
        known = left if np.isfinite(left) else None
        listener(Progress("search", candidate=t.card.title, score=score, done=done, total=total, seconds_left=known))


# ---------------------------------------------------------------------- what was found


def _outcome(
    material: Material,
    best: _Try,
    tries: list[_Try],
    plan: _Plan,
    labels: np.ndarray | None,
    judge: mapping.Judge,
    stopped: str,
) -> Outcome:
    import pandas as pd

    assert best.fitted is not None and best.quality is not None
    T, quality = best.fitted.answers, best.quality
    rows = np.arange(material.n)
    if plan.order is not None and best is not tries[0]:
        rows = plan.order[: len(T)]
        shown = judge.pairs(T[: mapping.ROWS])
        T, rows = T[np.argsort(rows)], np.sort(rows)
        if len(rows) < material.n:
            plan.findings.append(_left_out(len(rows), material.n))
    else:
        shown = judge.pairs(T if plan.order is None else T[plan.order[: mapping.ROWS]])
    plan.findings.extend(best.findings)
    told = mapping.told(material, T, rows, plan.seed)
    _find_notes(best, plan.findings)
    axes = ["x", "y", "z"][: plan.d]
    at = np.arange(len(T))
    if len(T) > POINTS:
        at = np.sort(np.random.default_rng(seeds.derive(plan.seed, "points")).choice(len(T), POINTS, replace=False))
    points: dict[str, Any] = {"points": T[at].tolist(), "names": axes, "colours": []}
    if labels is not None:
        codes = np.asarray(labels)
        points["labels"] = codes[rows[at]].tolist()
        kinds = [str(c) for c in range(int(codes.max()) + 1)]
        points["colours"].append(
            {"name": "given labels", "kind": "category", "values": points["labels"], "names": kinds}
        )
    for one in told[:3]:
        points["colours"].append(mapping.colour(material, one["column"], rows[at]))
    figures = [
        Metric("trustworthiness", *quality.trust, "higher", "1 when rows near on the map are near in the data."),
        Metric("continuity", *quality.continuity, "higher", "1 when rows near in the data are near on the map."),
        Metric("distance_correlation", *quality.far, "higher",
               "Rank correlation of distances on the map with those in the data, over pairs of rows."),
    ]  # fmt: skip
    structure: dict[str, Any] = {
        "map": points,
        "trust": quality.curve,
        "shepard": {"correlation": quality.far[0], "points": shown},
        "told": told,
        "method": best.card.title,
        "words": _words(quality, best.card),
    }
    if best.card.name == "pca":
        structure["explained"] = best.fitted.details["explained"]
    return Outcome(
        fitted=replace(best.fitted, details={}),
        members=[
            {
                "model": best.card.title,
                "card": best.card.name,
                "weight": 1.0,
                "parameters": {"n_components": plan.d},
            }
        ],
        leaderboard=[
            _line(t, t is best) for t in sorted(tries, key=lambda t: (t is not best, -np.nan_to_num(t.score)))
        ],
        metrics=[m for m in figures if np.isfinite(m.value)],
        headline=_headline(len(rows), material.n, best.card, quality, told),
        metric="trustworthiness",
        manifest={"columns": axes},
        structure=structure,
        findings=plan.findings,
        failures=[{"model": t.card.title, "reason": t.reason} for t in tries if t.reason],
        stopped=stopped,
        tables={"map": pd.DataFrame(T, columns=axes, index=rows)},
    )


def _left_out(placed: int, n: int) -> Finding:
    return Finding(
        "map-rows-left-out",
        "warning",
        f"The table `map` has {placed:,} of the {n:,} rows, picked at random: there was no time to place more.",
        "model.transform(rows) places any row; a longer budget= places more of them here.",
    )


def _line(t: _Try, best: bool) -> dict[str, Any]:
    q = t.quality
    nothing = float("nan")
    return {
        "model": t.card.title,
        "card": t.card.name,
        "score": t.score,
        "trustworthiness": q.trust[0] if q else nothing,
        "continuity": q.continuity[0] if q else nothing,
        "distance_correlation": q.far[0] if q else nothing,
        "fit_seconds": t.fitted.seconds if t.fitted else nothing,
        "rows": nothing if t.fitted is None else float(len(t.rows) if t.rows is not None else len(t.fitted.answers)),
        "weight": 1.0 if best else 0.0,
        "status": "ok" if t.fitted is not None else "failed",
    }


def _find_notes(best: _Try, findings: list[Finding]) -> None:
    assert best.fitted is not None
    findings.extend(
        Finding("map-note", "info", f"{best.card.title}: {note}", "Nothing to do if the map looks plausible.")
        for note in best.fitted.notes[:3]
    )
    q = best.quality
    if q is not None and np.isfinite(q.near) and q.near < 0.8:
        findings.append(
            Finding(
                "map-untrustworthy",
                "warning",
                f"The map keeps neighbourhoods badly (trustworthiness {q.trust[0]:.2f}, continuity "
                f"{q.continuity[0]:.2f}; chance is 0.5): the rows do not fit on so few coordinates.",
                "Do not read groups off it. task='cluster' looks for groups in all columns.",
            )
        )


def _words(quality: Quality, card: Card) -> str:
    if not np.isfinite(quality.trust[0]):
        return "There are too few rows to say how far to trust it."
    near = "Near is near" if quality.trust[0] >= 0.95 else "Near is mostly near" if quality.trust[0] >= 0.85 else (
        "Near on the map is often not near in the data"
    )  # fmt: skip
    if card.name in ("tsne", "umap"):
        return f"{near}; distances between far groups, their sizes and the space between them mean nothing here."
    if quality.far[0] >= 0.8:
        return f"{near}, and far is far."
    return f"{near}; distances between far rows mean little here."


def _headline(shown: int, n: int, card: Card, quality: Quality, told: list[dict[str, Any]]) -> str:
    which = f"{n:,} rows" if shown == n else f"{shown:,} of {n:,} rows"
    kept = f", trustworthiness {quality.trust[0]:.3f}" if np.isfinite(quality.trust[0]) else ""
    by = ""
    if told:
        names = " and ".join(repr(one["column"]) for one in told[:2])
        by = f" It is ordered most by {names}."
    name = card.title.partition("(")[2].rstrip(")") or card.title
    return f"A map of {which} by {name}{kept}. {_words(quality, card)}{by}"
