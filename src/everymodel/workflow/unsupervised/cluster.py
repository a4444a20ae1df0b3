"""Groups: how many, by which method, are they real, and what are they."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.clock import Clock
from everymodel.core.errors import DataError, EverymodelError
from everymodel.core.finding import Finding
from everymodel.core.settings import Settings
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.types import Listener, Metric, Progress
from everymodel.workflow.unsupervised import drift, group_views, measures
from everymodel.workflow.unsupervised.choice import ROWS as MANY_ROWS
from everymodel.workflow.unsupervised.choice import Choice, Choose, sample
from everymodel.workflow.unsupervised.material import Fit, Fitted, Material, Outcome
from everymodel.workflow.unsupervised.profile import describe
from everymodel.workflow.unsupervised.stability import DRAWS, ROWS, Resample, Stability, named

ORDER = ("kmeans", "gaussian_mixture", "agglomerative", "hdbscan", "spectral", "dbscan", "fuzzy_c_means")
SHORT, FEW = 15.0, 500  # seconds below which the number of groups is looked for among so few rows
HERE = 3e7  # rows times columns times groups up to which K-means takes less time than sending it away
QUICK = 4000  # rows of methods whose cost grows with the square, unless they are asked for by name
SPECTRAL = 1500
MANY = 2.5  # times more round groups than gaps show: then the gaps are asked whether they are found again more often
SURER = 0.1  # by so much
CLOSE = 0.03  # difference of scores that says nothing: the simpler method, which comes first in ORDER, then answers
NOISE = 0.03  # share of rows that belong to no group, by density, from which on methods are asked for them
RELIABLE = 0.75  # share of resamples in which a group should be found again


@dataclass
class Try:
    """One method with its parameters, and what came of it."""

    card: Card
    parameters: dict[str, Any]
    rows: np.ndarray | None = None  # fitted on these alone
    fitted: Fitted | None = None
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # (n,)
    stability: Stability | None = None
    agreement: float = float("nan")  # with the groups that the density shows
    shaped: float = float("nan")  # agreement with the groups that empty space shows
    silhouette: tuple[float, float, float] = (float("nan"),) * 3
    status: str = "out of time"

    @property
    def groups(self) -> int:
        return int(self.labels.max(initial=-1)) + 1

    @property
    def score(self) -> float:
        """Agreement with the density's groups and with itself on other rows, half each; what is unknown is left out."""
        known = [v for v in (self.agreement, self.stability.mean if self.stability else np.nan) if np.isfinite(v)]
        return float(np.mean(known)) if known else -1.0


def discover(
    material: Material,
    *,
    models: list[str] | None = None,
    clusters: int | None = None,
    labels: np.ndarray | None = None,
    clock: Clock,
    trials: int | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> Outcome:
    """Find out how many groups there are, try methods, choose one, and say what the groups are.

    Parameters
    ----------
    models : names of clusterers; all that suit by default.
    clusters : number of groups, if it is known.
    labels : (n,) codes to compare the groups with; they are not learnt from.
    trials : so many methods are tried at most.

    Raises
    ------
    DataError
        where no method could form the groups that were asked for.
    """
    search = _Search(material, models, clusters, clock, trials, listener, seed)
    search.run()
    return search.outcome(labels)


class _Search:
    def __init__(
        self,
        material: Material,
        models: list[str] | None,
        clusters: int | None,
        clock: Clock,
        trials: int | None,
        listener: Listener | None,
        seed: int,
    ):
        self.material, self.clusters, self.clock, self.trials = material, clusters, clock, trials
        self.listener, self.seed = listener, seed
        self.cards = [catalog.find(name, task="cluster", kind="clusterer") for name in models or ORDER]
        self.named = bool(models)
        self.findings: list[Finding] = []
        self.tries: list[Try] = []
        self.stopped = "finished"
        X = self.X = material.matrix(catalog.find("kmeans", kind="clusterer")).X
        self.rows = sample(len(X), 2000, seed)
        # What remains is for describing the groups and writing; it grows with the table.
        kept = min(1.5 + 2e-7 * X.size, 0.3 * clock.limit) if clock.limit else 0.0
        self.begun = time.monotonic()  # reading a large table may have taken much of the budget
        self.end = self.begun + max(clock.left() - kept, 0.5) if clock.limit else None
        self.choice = Choice(clusters or 1, 1, 1, 0.0, 0.0, self.rows, np.zeros(len(self.rows), int))
        self.choice.complete = False
        self.different = len(np.unique(X[self.rows], axis=0)) if len(X) <= 2000 else len(X)

    def run(self) -> None:
        """Choose a number, fit every method, refit each on resamples; a Ctrl-C ends it with the best so far."""
        crew = Crew(self.material, size=Settings.load().cores())
        clean = True
        try:
            crew.preload([(card.name, card.kind) for card in self.cards])
            self._number()
            self.tries = self._plan()
            self._fit(crew)
            self._resample(crew)
        except KeyboardInterrupt:
            self.stopped, clean = "interrupted", False
        finally:
            crew.close(keep=clean)
        if not any(t.fitted for t in self.tries):
            self._fallback()

    # ------------------------------------------------------------------ the three parts

    def _number(self) -> None:
        # Here and not in the fitting process, which meanwhile loads its libraries: nothing in it runs for long unasked.
        until = self._moment(0.4)
        few = self.clock.limit is not None and self.clock.left() < SHORT

        def stop() -> bool:
            return until is not None and time.monotonic() > until

        try:
            self.choice = Choose(self.seed, most_rows=FEW if few else MANY_ROWS).run(self.material, stop)
            self.rows = self.choice.rows
            if not self.choice.complete:
                self._unsure("out of time")
        except (ValueError, ArithmeticError, MemoryError) as error:
            self._unsure(str(error))

    def _unsure(self, why: str) -> None:
        self.choice.complete = False
        if not self.clusters:
            self.choice.groups = min(max(self.choice.groups, 3), max(self.different, 1))
            self.choice.labels = np.zeros(len(self.choice.rows), int)
            self.findings.append(
                Finding(
                    "number-of-groups-unknown",
                    "warning",
                    f"The number of groups could not be found ({why}); {self.choice.groups} are shown.",
                    "Give more time (budget=), or the number (clusters=).",
                )
            )

    def _plan(self) -> list[Try]:
        k = self.clusters or self.choice.groups
        if self.choice.groups == 1 and not self.clusters and not self.named:
            return [Try(catalog.find("kmeans", kind="clusterer"), {"n_clusters": 1})]
        planned = []
        for card in self.cards:
            names = {q.name for q in card.parameters}
            count = next((w for w in ("n_clusters", "n_components") if w in names), None)
            if self.clusters and count is None and not self.named:
                continue  # these find a number of their own
            rows = self._sampled(card)
            if rows is None and not self.named and card.name == "spectral" and len(self.X) > SPECTRAL:
                rows = sample(len(self.X), SPECTRAL, self.seed)
            parameters = {count: k} if count else {}
            planned.append(Try(card, parameters, rows))
            low, high = self.choice.low, self.choice.high
            if card.name == "kmeans" and not self.clusters and self.choice.groups > 1:
                planned += [Try(card, {count: other}) for other in range(max(low, 2), min(high, 20) + 1) if other != k]
            if count and self._differs() and not self.clusters and card.name in ("agglomerative", "spectral", "kmeans"):
                single = {"linkage": "single"} if card.name == "agglomerative" else {}
                if single and len(self.X) > QUICK:
                    rows = sample(len(self.X), QUICK, self.seed)  # unlike Ward's, this tree holds all pairs
                planned.append(Try(card, {count: int(self.choice.shaped.max()) + 1, **single}, rows))
        return planned[: self.trials or None]

    def _differs(self) -> bool:
        """Whether empty space shows far fewer groups than round ones need."""
        shaped = self.choice.shaped
        return shaped is not None and self.choice.groups >= MANY * (int(shaped.max()) + 1)

    def _background(self) -> bool:
        """Whether the density shows groups on a background of rows that belong to none."""
        return float((self.choice.labels < 0).mean()) > NOISE

    def _sampled(self, card: Card) -> np.ndarray | None:
        """Rows to fit on where the table has more than the method can take; it is said where it was asked for."""
        limit = card.need("max_rows")
        if not limit:
            return None
        most = int(limit) if self.named else min(int(limit), QUICK)
        if len(self.X) <= most:
            return None
        if self.named:
            self.findings.append(
                Finding(
                    "groups-sampled",
                    "warning",
                    f"{card.title} takes at most {most} rows, as its cost grows with their square; it was fitted on as "
                    f"many of the {len(self.X)}, drawn at random, and all rows were then assigned to its groups.",
                    "For all rows use K-means or a Gaussian mixture.",
                    data={"rows": most, "of": len(self.X)},
                )
            )
        return sample(len(self.X), most, self.seed)

    def _fit(self, crew: Crew) -> None:
        jobs = {}
        for i, t in enumerate(self.tries):
            job = Fit(t.card.name, "clusterer", t.parameters, seed=self.seed, rows=t.rows)
            if i == 0 and t.card.name == "kmeans" and self.X.size * max(t.parameters.values()) <= HERE:
                # At once and here, so that there is an answer while the fitting process still loads its libraries.
                try:
                    self._fitted(t, ("done", job.run(self.material)))
                except (EverymodelError, ValueError) as error:
                    t.status = str(error)
                continue
            end = self._moment(0.5)
            if end is not None and time.monotonic() >= end:
                break
            jobs[crew.submit(job, end, self._moment(0.6))] = t
            for number, outcome in self._collect(crew, jobs, self._moment(0.65), room=crew.size):
                self._fitted(jobs[number], outcome)
        for number, outcome in self._collect(crew, jobs, self._moment(0.65)):
            self._fitted(jobs[number], outcome)

    def _fitted(self, t: Try, outcome: tuple[str, Any]) -> None:
        word, value = outcome
        if word != "done":
            t.status = "out of time" if value == "not needed any more" else str(value)
            return
        self._take(t, value)
        if self.listener:
            best = max(self.tries, key=lambda t: t.score)
            left = self.clock.left()
            self.listener(
                Progress("search", f"{t.groups} groups", t.card.title, t.score, best.score, self._done(),
                         len(self.tries), left if np.isfinite(left) else None)
            )  # fmt: skip

    def _done(self) -> int:
        return sum(t.fitted is not None for t in self.tries)

    def _take(self, t: Try, fitted: Fitted) -> None:
        from sklearn.metrics import adjusted_rand_score

        count = fitted.labels.max(initial=-1) + 1 if fitted.labels is not None else fitted.answers.shape[1]
        t.fitted, t.labels, t.status = fitted, named(fitted.answers, int(count)), "ok"
        if t.fitted.answers.shape[1] == 0 or t.groups == 0:
            t.fitted, t.status = None, "every row is noise"
            return
        here = t.labels[self.rows]
        t.silhouette = measures.silhouette(self.X[self.rows], here, self.seed)
        if self.choice.shaped is not None:
            inside = self.choice.shaped >= 0
            t.shaped = float(adjusted_rand_score(self.choice.shaped[inside], here[inside]))
        seen = self.choice.labels >= 0
        if self._background():
            seen[:] = True  # a method should tell groups and background apart
        if (
            self.choice.complete
            and self.choice.groups > 1
            and not (self.clusters and self.clusters != self.choice.groups)
            and seen.any()
        ):
            t.agreement = float(adjusted_rand_score(self.choice.labels[seen], here[seen]))

    def _resample(self, crew: Crew) -> None:
        at = sample(len(self.X), ROWS, self.seed)
        jobs = {}
        worth = sorted((t for t in self.tries if t.fitted and t.groups > 1), key=lambda t: -t.score)
        for t in worth:
            end = self._moment(0.8)
            if end is not None and time.monotonic() >= end:
                break
            seconds = (t.fitted.seconds if t.fitted else 0.0) * min(1.0, ROWS / len(self.X))
            draws = DRAWS if seconds < 0.5 else 5
            job = Resample(t.card.name, t.parameters, at, t.labels[at], self.seed, draws)
            jobs[crew.submit(job, self._moment(0.85), self._moment(0.95))] = t
            for number, (word, value) in self._collect(crew, jobs, self._moment(0.97), room=crew.size):
                jobs[number].stability = value if word == "done" else None
        for number, (word, value) in self._collect(crew, jobs, self._moment(0.97)):
            jobs[number].stability = value if word == "done" else None
        if self.end is not None and any(t.stability is None for t in worth):
            self.stopped = "budget"

    def _fallback(self) -> None:
        """Nothing came of it: k-means here and now, on few rows."""
        reasons = {t.card.title: t.status for t in self.tries}
        k = min(self.clusters or self.choice.groups, len(self.X))
        t = Try(catalog.find("kmeans", kind="clusterer"), {"n_clusters": k}, self.rows if k <= len(self.rows) else None)
        try:
            self._take(t, Fit("kmeans", "clusterer", t.parameters, seed=self.seed, rows=t.rows).run(self.material))
        except (EverymodelError, ValueError) as error:
            why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            raise DataError(f"No method formed {k} groups ({why or error}). Ask for fewer groups.") from error
        if reasons and self.stopped != "interrupted":
            self.findings.append(
                Finding(
                    "models-failed",
                    "warning",
                    "No method that was tried gave groups ("
                    + "; ".join(f"{n}: {r}" for n, r in reasons.items())
                    + "); K-means answers instead.",
                    "Give more time (budget=), or other parameters to the method itself.",
                )
            )
        self.tries.append(t)

    # ------------------------------------------------------------------ waiting

    def _moment(self, share: float) -> float | None:
        """The moment at which this share of the time for searching is over."""
        if self.end is None:
            return None
        return self.begun + share * (self.end - self.begun)

    def _collect(
        self, crew: Crew, jobs: dict[int, Any], until: float | None, room: int = 1
    ) -> list[tuple[int, tuple[str, Any]]]:
        """Outcomes until fewer than `room` jobs run, or the moment `until`."""
        done: list[tuple[int, tuple[str, Any]]] = []
        while len(crew.running) >= room and crew.running:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                for number in list(crew.running):
                    crew.kill(number)
                done += [d for d in crew.wait(0.05) if d[0] in jobs]
                break
            done += [d for d in crew.wait(left if left is not None else 1.0) if d[0] in jobs]
        return done

    # ------------------------------------------------------------------ what is told

    def best(self) -> Try:
        """The method with the best score, or a simpler one that is as good."""
        able = [t for t in self.tries if t.fitted]
        if self.clusters:
            right = [t for t in able if t.groups == self.clusters]
            able = right or able
        plausible = [t for t in able if self.choice.low <= t.groups <= self.choice.high]
        within = (plausible if self.choice.complete and not self.clusters else []) or able
        if self.choice.complete and not self.clusters and self._background():
            apart = [t for t in within if t.groups == self.choice.groups and (t.labels < 0).any()]
            within = [t for t in apart if t.stability is None or t.stability.mean >= RELIABLE] or within
        top = max(t.score for t in within)
        best = next(t for t in within if t.score >= top - CLOSE)
        if self._differs() and not self.clusters and best.stability is not None:
            for t in sorted((t for t in able if t.shaped >= 0.9), key=lambda t: -t.shaped):
                if t.stability is not None and t.stability.mean > best.stability.mean + SURER:
                    return t
        return best

    def outcome(self, truth: np.ndarray | None) -> Outcome:
        best = self.best()
        assert best.fitted is not None
        found, answers = best.labels, best.fitted.answers
        k = best.groups
        noise = answers.shape[1] > k
        described = describe(self.material, found, answers, self.seed)
        segments = described.segments
        if best.stability is not None:
            for segment, share in zip(segments, best.stability.found):
                segment["stability"] = float(share)
        self._warn(best, segments)
        stability = best.stability
        structure = {
            **described.structure,
            "map": group_views.map_of(self.X, found, self.seed),
            "silhouettes": group_views.silhouettes(self.X, found, self.seed),
            "choice": self.choice.curve,
            "votes": self.choice.votes,
            "stability": self._stabilities(),
            "dendrogram": group_views.dendrogram(self.X, self.seed),
            "interval": dict(zip(("low", "high"), self._interval(best) or (None, None))),
            "evidence": {"value": self.choice.evidence, "needed": self.choice.needed},
        }
        metrics = self._metrics(best, truth)
        if truth is not None:
            structure["agreement"] = measures.agreement(truth, found)
        groups_file = drift.reference(self.material, best.fitted, found)
        board = [self._line(t) for t in sorted(self.tries, key=lambda t: (t is not best, -t.score))]
        return Outcome(
            best.fitted,
            [{"model": best.card.title, "card": best.card.name, "weight": 1.0, "parameters": best.parameters}],
            board,
            metrics,
            self._headline(best, stability),
            "silhouette" if k > 1 else "",
            (*range(k), -1) if noise else tuple(range(k)),
            {"segments": segments, **({"groups": groups_file} if groups_file else {})},
            structure,
            self.findings,
            [{"model": t.card.title, "reason": t.status} for t in self.tries if not t.fitted],
            self.stopped,
            {"segments": described.table},
        )

    def _headline(self, best: Try, stability: Stability | None) -> str:
        k = best.groups
        if k == 1 and (self.clusters or self.choice.complete):
            return "No groups: the rows are one crowd without gaps." if not self.clusters else "1 group, as asked for."
        words = f"{k} groups" if k > 1 else "1 group"
        told, other = self._interval(best), ""
        if told is None:
            words += "" if self.clusters else " (how many there are is not known)"
        elif told[0] <= k <= told[1]:
            words += f" ({told[0]} to {told[1]} are plausible)" if told[0] < told[1] and not self.clusters else ""
        else:
            one = (
                "no groups at all" if told[1] == 1 else f"{told[0]} to {told[1]}" if told[0] < told[1] else f"{told[0]}"
            )
            other = f"; the rows themselves speak for {one}"
        words += f" by {best.card.title}, silhouette {best.silhouette[0]:.2f}"
        if stability is not None and np.isfinite(stability.mean):
            words += f", agreement on resamples {stability.mean:.2f}"
        words += other
        away = float((best.labels < 0).mean())
        return words + (f"; {away:.0%} of the rows belong to none." if away >= 0.005 else ".")

    def _interval(self, best: Try) -> tuple[int, int] | None:
        """The plausible numbers of groups; None where the search for them was not over."""
        if not self.choice.complete:
            return None
        k = best.groups
        if self._differs() and not self.clusters and best.shaped >= 0.9 and k == int(self.choice.shaped.max()) + 1:
            return k, k  # the choice's numbers are those of round pieces
        return self.choice.low, self.choice.high

    def _warn(self, best: Try, segments: list[dict[str, Any]]) -> None:
        if not self.choice.complete:
            pass  # whether there are any is not known, and has been said
        elif best.groups == 1 and self.clusters is None and not self.named:
            self.findings.append(
                Finding(
                    "no-structure",
                    "info",
                    "No groups were found: no gap between the rows is deeper than chance makes in one crowd.",
                    "Do not force a number; a map (task='embed') or components (task='reduce') may say more.",
                    data={"evidence": self.choice.evidence, "needed": self.choice.needed},
                )
            )
        elif self.choice.groups == 1 and best.groups > 1:
            self.findings.append(
                Finding(
                    "no-structure",
                    "warning",
                    f"The {best.groups} groups are parts of one crowd: no gap between them is deeper than chance.",
                    "Use them as a convenient division, not as kinds that exist.",
                    data={"evidence": self.choice.evidence, "needed": self.choice.needed},
                )
            )
        shaky = [s for s in segments if s.get("stability", 1.0) < RELIABLE]
        for s in shaky[:5]:
            self.findings.append(
                Finding(
                    "unstable-group",
                    "warning",
                    f"Group {s['number']} ({s['name']}) is found again in {s['stability']:.0%} of resamples: "
                    "do not rely on it.",
                    "Ask for fewer groups, or add columns that tell this one apart.",
                    data={"group": s["number"], "found": s["stability"]},
                )
            )
        if best.rows is not None and not self.named:
            self.findings.append(
                Finding(
                    "groups-sampled",
                    "info",
                    f"{best.card.title} was fitted on {len(best.rows)} of {len(self.X)} rows, drawn at random; "
                    "all rows were then assigned to its groups.",
                    data={"rows": len(best.rows), "of": len(self.X)},
                )
            )

    def _stabilities(self) -> list[dict[str, Any]]:
        told = []
        for t in self.tries:
            if t.card.name == "kmeans" and t.stability is not None:
                low, high = t.stability.interval()
                told.append({"clusters": t.groups, "ari": t.stability.mean, "low": low, "high": high})
        return sorted(told, key=lambda s: s["clusters"])

    def _metrics(self, best: Try, truth: np.ndarray | None) -> list[Metric]:
        nan = float("nan")
        metrics = []
        here, X = best.labels[self.rows], self.X[self.rows]
        if best.groups > 1:
            text = "How much closer rows are to their own group than to the next."
            metrics.append(Metric("silhouette", *best.silhouette, "higher", text))
            for name, better in (("calinski_harabasz", "higher"), ("davies_bouldin", "lower")):
                function = getattr(measures, name)
                low, high = measures.interval(function, X, here, seed=self.seed)
                metrics.append(Metric(name, function(X, here), low, high, better))
            gap = next((c for c in self.choice.curve if c["clusters"] == best.groups), None)
            if gap:
                half = 1.96 * gap["gap_error"]
                metrics.append(Metric("gap", gap["gap"], gap["gap"] - half, gap["gap"] + half, "higher"))
            if best.stability is not None:
                metrics.append(Metric("stability", best.stability.mean, *best.stability.interval(), "higher"))
        if truth is not None:
            at = sample(len(truth), 5000, self.seed)
            for name, value in measures.agreement(truth, best.labels).items():
                low, high = measures.interval(
                    lambda t, f, name=name: measures.agreement(t, f)[name], truth[at], best.labels[at], seed=self.seed,
                    draws=30,
                )  # fmt: skip
                metrics.append(Metric(name, value, low, high, "higher"))
        return metrics or [Metric("silhouette", nan, nan, nan, "higher")][:0]

    def _line(self, t: Try) -> dict[str, Any]:
        line: dict[str, Any] = {"model": t.card.title, "card": t.card.name, "status": t.status}
        line["parameters"] = t.parameters
        if not t.fitted:
            return {**line, "clusters": None, "score": None}
        here = t.labels[self.rows]
        return {
            **line,
            "clusters": t.groups,
            "score": t.score if t.score >= 0 else None,
            "agreement": _or_none(t.agreement),
            "stability": _or_none(t.stability.mean if t.stability else float("nan")),
            "silhouette": _or_none(t.silhouette[0]),
            "calinski_harabasz": _or_none(measures.calinski_harabasz(self.X[self.rows], here)),
            "davies_bouldin": _or_none(measures.davies_bouldin(self.X[self.rows], here)),
            "noise_share": float((t.labels < 0).mean()),
            "fit_seconds": t.fitted.seconds,
        }


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
