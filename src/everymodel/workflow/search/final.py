"""The end of a search: whose answers are joined, and what is told of everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from everymodel.core import seeds
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.metrics import METRICS
from everymodel.workflow.search import plan
from everymodel.workflow.search.ensemble import Judge, calibration, greedy, join, mix
from everymodel.workflow.search.plan import Candidate
from everymodel.workflow.train import Member
from everymodel.workflow.types import Problem

MOST_MS = 3.6  # one row through the final pack, of the 5 ms that are promised
MOST_BYTES = 18_000_000
TELLING_ROWS = 100  # below this, one fold does not even tell a model from the plain one
PARTS = 5  # in which rows of one fold are dealt to choose on some and judge on others
NESTED_ROWS = 5_000  # on which weights are chosen that only serve to judge the choosing
SURE_ROWS = 1_000  # validation rows from which on one fold tells models apart


class Final:
    """Out-of-fold answers of candidates, and the choice among them.

    Parameters
    ----------
    problem, folds : what was learnt from; `folds` are those that the search used.
    first : judge of the first fold's validation rows.
    prefer : "accurate", "fast" or "simple".
    named : whether the user named the models.
    """

    def __init__(
        self,
        problem: Problem,
        folds: list[tuple[np.ndarray, np.ndarray]],
        first: Judge,
        prefer: str,
        named: bool,
    ):
        self.problem, self.folds, self.first, self.prefer, self.named = problem, folds, first, prefer, named
        self.n, self.k = problem.batch.n, len(folds)

    def member_answers(self, member: Member, candidate: Candidate, fold: int = 0) -> np.ndarray:
        if member.output != "scores":
            return member.answers
        step = candidate.after or calibration(member.answers, self.problem.y[self.folds[fold][1]], self.problem.task)
        return step(member.answers)

    def answers_on(self, candidate: Candidate, fold: int) -> np.ndarray:
        return self.member_answers(candidate.members[fold], candidate, fold)

    def oof(self, candidate: Candidate) -> np.ndarray:
        """Out-of-fold answers on all training rows; NaN where no fold answered. Scores are calibrated first."""
        some = next(iter(candidate.members.values()))
        raw = np.full((self.n, *some.answers.shape[1:]), np.nan)
        for fold, member in candidate.members.items():
            raw[self.folds[fold][1]] = member.answers
        if some.output == "scores":
            known = np.isfinite(raw).reshape(self.n, -1).all(1)
            candidate.after = calibration(raw[known], self.problem.y[known], self.problem.task)
            whole = np.full((self.n, raw.shape[-1] if raw.ndim > 1 else 2), np.nan)
            whole[known] = candidate.after(raw[known])
            return whole
        return raw

    def finalists(self, ready: list[Candidate]) -> tuple[list[Candidate], np.ndarray]:
        """(candidates, rows on which all of them have out-of-fold answers): those with nearly all folds, or, where a
        surely better one could not get that far, those with the first fold."""
        most = max(len(c.members) for c in ready)
        chosen = [c for c in ready if len(c.members) >= max(1, 0.6 * most)]
        whole = [c for c in chosen if len(c.members) == most]
        if len(self.first.y) < SURE_ROWS and len(whole) < len(chosen):
            # Each fold that one of them lacks is lost to the comparison of all, which small tables cannot afford.
            shared, rows = self._shared(chosen)
            if len(shared) < len(chosen) or not self._surely_on(rows, chosen, whole):
                chosen = whole
        partial = [c for c in ready if 0 in c.members]
        if len(partial) > len(chosen):
            inside = [c for c in chosen if 0 in c.members]
            # One small fold may be an easy one: what shone on it alone is not preferred to what stood on all of them.
            plain = all(c.card.name == plan.DUMMY for c in inside) or (
                len(self.first.y) >= TELLING_ROWS and all(c.origin == "baseline" for c in inside)
            )
            guesses = all(c.card.name == plan.DUMMY for c in inside)  # guessing is beaten by whatever is better at all
            better = guesses and min(c.loss for c in partial) < min(c.loss for c in inside)
            if not inside or better or ((plain or len(self.first.y) >= SURE_ROWS) and self._surely(partial, inside)):
                chosen = partial
        return self._shared(chosen)

    def _shared(self, chosen: list[Candidate]) -> tuple[list[Candidate], np.ndarray]:
        """(candidates, rows that all of them have answered); who shares no row with the fuller ones is left out."""
        known, kept = np.ones(self.n, bool), []
        for c in sorted(chosen, key=lambda c: (-len(c.members), c.loss)):
            both = known & np.isfinite(self.oof(c)).reshape(self.n, -1).all(1)
            if both.any():
                known, kept = both, [*kept, c]
        return kept, np.flatnonzero(known)

    def _surely(self, more: list[Candidate], few: list[Candidate]) -> bool:
        """Whether a blend out of `more` answers the first fold better than one out of `few`, by more than noise."""
        return self._gains(self.first, [[self.answers_on(c, 0) for c in among] for among in (more, few)], more, few)

    def _surely_on(self, rows: np.ndarray, more: list[Candidate], few: list[Candidate]) -> bool:
        """The same on rows that all of them have answered."""
        judge = Judge(self.problem.metric, self.problem.task, self.problem.y[rows], self.problem.seed)
        return self._gains(judge, [[self.oof(c)[rows] for c in among] for among in (more, few)], more, few)

    def _gains(
        self, judge: Judge, answers: list[list[np.ndarray]], more: list[Candidate], few: list[Candidate]
    ) -> bool:
        blends = [
            mix(given, greedy(judge, given, allowed=self.fits(among), rounds=10))
            for given, among in zip(answers, (more, few))
        ]
        gain, noise = judge.gain(blends[0], blends[1])
        return gain > noise

    def choose(
        self, judge: Judge, final: list[Candidate], answers: list[np.ndarray], losses: list[float]
    ) -> np.ndarray:
        """Weights of the final blend; a single model where a blend is not worth it."""
        usable = [i for i, c in enumerate(final) if c.card.name != plan.DUMMY] or [0]
        # The baseline itself wins where nothing is better (noise), but not over a model that was asked for.
        best = min(usable if self.named else range(len(final)), key=lambda i: losses[i])
        alone = np.zeros(len(final))
        alone[best] = 1.0
        if self.prefer in ("fast", "simple"):
            rank = {i: (final[i].row_ms if self.prefer == "fast" else _plainness(final[i])) for i in usable}
            near = [i for i in usable if self._near(judge, answers[best], answers[i])]
            pick = min(near or [best], key=lambda i: (rank[i], losses[i]))
            alone[:] = 0
            alone[pick] = 1.0
            return alone
        usable.sort(key=lambda i: losses[i])
        usable = [i for i in usable[:12] if np.isfinite(losses[i])] or [best]

        found = greedy(judge, [answers[i] for i in usable], allowed=self.fits([final[i] for i in usable]))
        weights = np.zeros(len(final))
        weights[usable] = found
        if (weights > 0).sum() > 1:
            blend = mix([answers[i] for i in usable], found)
            gain, noise = judge.gain(blend, answers[best])
            if gain <= 0.3 * noise:
                return alone
        return weights

    def nested(
        self,
        rows: np.ndarray,
        final: list[Candidate],
        answers: list[np.ndarray],
        losses: list[float],
        weights: np.ndarray,
        late: Callable[[], bool],
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """What the blend, and the best single model, answer for `rows` when each fold's rows had no say in the choice.

        Weights are chosen on the other folds and answer the one left out; so a score of these answers is one of the
        whole way of choosing, not of weights on the rows that they were fitted to. Where all rows are of one fold, they
        are dealt into five parts. `late()` ends it early: the rest is answered by the final `weights`.

        Returns
        -------
        (answers of blends (len(rows), ...), answers of single models, whether all parts were done)
        """
        part = np.full(self.n, -1)
        for fold, (_, valid) in enumerate(self.folds):
            part[valid] = fold
        part = part[rows]
        if len(np.unique(part)) < 2:
            part = np.random.default_rng(seeds.derive(self.problem.seed, "nested")).permutation(len(rows)) % PARTS
        blend = mix(answers, weights)
        single = answers[int(np.argmin(losses))].copy()
        for one in np.unique(part):
            if late():
                return blend, single, False
            inside, others = np.flatnonzero(part == one), np.flatnonzero(part != one)
            if not len(others):
                continue
            judge = Judge(
                self.problem.metric, self.problem.task, self.problem.y[rows[others]], self.problem.seed, 20, NESTED_ROWS
            )
            given = [a[others] for a in answers]
            lost = [judge.loss(a) for a in given]
            chosen = self.choose(judge, final, given, lost)
            blend[inside] = mix([a[inside] for a in answers], chosen)
            single[inside] = answers[int(np.argmin(lost))][inside]
        return blend, single, True

    def fits(self, among: list[Candidate]) -> Callable[[list[int]], bool]:
        """Whether candidates can answer together within the time and size of the final pack, with two models each."""

        def allowed(members: list[int]) -> bool:
            chosen = [among[i] for i in set(members)]
            ms, size = sum(self._least_ms(c) for c in chosen), sum(self._least_size(c) for c in chosen)
            return ms < MOST_MS and size < MOST_BYTES

        return allowed

    def _near(self, judge: Judge, best: np.ndarray, other: np.ndarray) -> bool:
        gain, noise = judge.gain(best, other)
        return gain <= max(noise, 1e-12)

    def _least_ms(self, c: Candidate) -> float:
        return c.row_ms / max(len(c.members), 1) * min(2, len(c.members))

    def _least_size(self, c: Candidate) -> float:
        return c.size / max(len(c.members), 1) * min(2, len(c.members))

    def best_single(self, final: list[Candidate], losses: list[float]) -> Candidate:
        return final[int(np.argmin(losses))]

    def pack(self, chosen: list[tuple[Candidate, float]]) -> Pack:
        """All fold models of the chosen candidates, as many of each as latency and size allow."""
        most = max(len(c.members) for c, _ in chosen)
        gives = "value" if self.problem.task == "regression" else "probabilities"
        for folds in range(most, 0, -1):
            used = [(c, w, list(c.members.values())[:folds]) for c, w in chosen]
            ms = sum(m.row_ms for c, _, part in used for m in part if c.refitted is None)
            size = sum(m.size for c, _, part in used for m in part if c.refitted is None)
            if (ms <= MOST_MS and size <= MOST_BYTES) or folds == 1:
                break
        parts = []
        for c, w, part in used:
            if c.refitted is not None:
                parts.append((c.refitted, c.after, w))
            else:
                parts += [(m.pack(), c.after, w / len(part)) for m in part]
        return join(parts, gives)

    def dummy(self) -> Candidate:
        """When even the baseline was lost: what any row would be guessed without looking."""
        from everymodel.scoring.steps.constant import Constant, ConstantProbabilities

        y, task = self.problem.y, self.problem.task
        if task == "regression":
            value = np.asarray(y.mean(0), float)
            step: Any = Constant(value)
        elif task == "multilabel":
            value = np.asarray(y.mean(0), float)
            step = ConstantProbabilities(value)
        else:
            value = np.bincount(y.astype(int), minlength=max(len(self.problem.schema.classes), 2)) / len(y)
            step = ConstantProbabilities(value)
        spec, arrays = Pack([Node("m", step)]).spec()
        card = plan.baselines(self.problem, ["dummy"])[0].card
        made = Candidate("Dummy baseline", card, {}, origin="baseline")
        for fold, (_, valid) in enumerate(self.folds):
            answers = np.tile(value, (len(valid), *([1] * value.ndim)))
            made.members[fold] = Member(spec, arrays, step.output, answers, 0.0, 0.01, 8)
        return made

    def leaderboard(
        self,
        judge: Judge,
        rows: np.ndarray,
        ready: list[Candidate],
        final: list[Candidate],
        weights: np.ndarray,
        blend: np.ndarray,
        lost: list[Candidate],
    ) -> list[dict[str, Any]]:
        higher = METRICS[self.problem.metric].better == "higher"
        weight = {id(c): float(w) for c, w in zip(final, weights)}
        board = []

        def figures(answers: np.ndarray | None, here: Judge) -> dict[str, Any]:
            loss, noise = (here.loss(answers), here.spread(answers)) if answers is not None else (np.inf, np.inf)
            low, high = loss - 1.645 * noise, loss + 1.645 * noise
            if higher:
                loss, low, high = 1 - loss, 1 - high, 1 - low
            known = bool(np.isfinite(loss) and np.isfinite(low))
            words = ("score", "score_low", "score_high")
            return {w: float(v) if known else None for w, v in zip(words, (loss, low, high))}

        def costs(members: list[Candidate]) -> dict[str, Any]:
            return {
                "fit_seconds": round(sum(c.seconds for c in members), 3),
                "row_ms": round(sum(c.row_ms for c in members), 4),
                "size": sum(c.size for c in members),
            }

        def described(c: Candidate) -> dict[str, Any]:
            return {"folds": len(c.members), "parameters": c.parameters, "target": c.target, "origin": c.origin}

        for c in ready:
            whole = any(c is f for f in final) or len(c.members) == self.k
            answers = self.oof(c)[rows] if whole else self.answers_on(c, 0) if 0 in c.members else None
            status = "ok" if len(c.members) == self.k else f"{len(c.members)} of {self.k} folds"
            board.append(
                {"model": c.name, "card": c.card.name, **figures(answers, judge if whole else self.first)}
                | {**costs([c]), "weight": round(weight.get(id(c), 0.0), 4), **described(c), "status": status}
            )
        used = [c for c, w in zip(final, weights) if w > 0]
        if len(used) > 1:
            board.append(
                {"model": f"Blend of {len(used)}", "card": "blend", **figures(blend[rows], judge), **costs(used)}
                | {"weight": 1.0, "folds": self.k, "parameters": {}, "target": "", "origin": "blend", "status": "ok"}
            )
        sign = -1 if higher else 1

        def late(row: dict[str, Any]) -> bool:
            """A score on one fold is not to be compared with one on all of them; what answers in the end is."""
            return row["status"] != "ok" and not row["weight"]

        board.sort(key=lambda r: (r["score"] is None, late(r), sign * (r["score"] or 0), r["model"]))
        nothing = dict.fromkeys(("score", "score_low", "score_high", "fit_seconds", "row_ms", "size"))
        board += [
            {"model": c.name, "card": c.card.name, **nothing, "weight": 0.0, **described(c), "status": c.failed}
            for c in lost
        ]
        return board


def _plainness(candidate: Candidate) -> tuple[int, int]:
    order = {"linear": 0, "bayes": 1, "tree": 2}
    return order.get(candidate.card.family, 3), candidate.size
