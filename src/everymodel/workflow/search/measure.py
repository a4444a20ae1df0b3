"""What can be measured around a search: the data's fingerprint, its share of memory, a learning curve."""

from __future__ import annotations

import hashlib
import time

import numpy as np

from everymodel.core import seeds
from everymodel.core.clock import Clock
from everymodel.core.settings import Settings
from everymodel.workflow.search import plan
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.train import Job
from everymodel.workflow.types import Problem, SearchResult


def fingerprint_of(problem: Problem) -> str:
    """SHA-256 of everything that the search learns from."""
    digest = hashlib.sha256(repr((problem.task, problem.schema.to_dict())).encode())
    loose = problem.unlabelled.columns if problem.unlabelled is not None else {}
    for name, values in [*problem.batch.columns.items(), *loose.items()]:
        digest.update(name.encode())
        if values.dtype.hasobject:
            digest.update("\x1f".join(map(str, values)).encode("utf-8", "surrogatepass"))
        else:
            digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(problem.y).tobytes())
    for fit, valid in problem.folds:
        digest.update(np.ascontiguousarray(fit).tobytes() + b"|" + np.ascontiguousarray(valid).tobytes())
    return digest.hexdigest()


def share_of(memory: float | None, cores: int) -> float | None:
    return None if memory is None else memory * Settings.load().memory_share / cores


def learning_curve(problem: Problem, result: SearchResult, *, clock: Clock | None = None) -> list[dict[str, float]]:
    """Validated score of the best single model on growing parts of the training rows.

    Rows: {"rows", "score", "train_score"} for about 6 sizes, fewer where the clock runs out.
    """
    from everymodel.scoring.metrics import score

    clock = clock or Clock(None)
    best = next(
        (r for r in result.leaderboard if r["card"] not in ("blend", plan.DUMMY) and r["score"] is not None), None
    )
    if best is None:
        return []
    fit, valid = problem.folds[0]
    rng = np.random.default_rng(seeds.derive(problem.seed, "learning curve"))
    order = rng.permutation(fit)
    sizes = sorted({int(s) for s in np.geomspace(min(50, len(fit)), len(fit), 6)})
    curve = []
    with Crew(problem, 1) as crew:
        crew.preload([(best["card"], plan.kind_of(problem.task))])
        for size in sizes:
            if clock.over():
                break
            job = Job(best["card"], plan.kind_of(problem.task), best["parameters"], np.sort(order[:size]), valid,
                      seeds.derive(problem.seed, "curve"), 1, best.get("target") or "plain")  # fmt: skip
            end = None if clock.limit is None else time.monotonic() + clock.left()
            crew.submit(job, end, end)
            for _, (status, member) in crew.wait(None if end is None else clock.left() + 0.5):
                if status == "done" and member.output != "scores":
                    rows = np.sort(order[: min(size, 5000)])
                    inside = member.pack()(problem.batch.take(rows))
                    curve.append(
                        {
                            "rows": size,
                            "score": score(problem.metric, problem.task, problem.y[valid], member.answers),
                            "train_score": score(problem.metric, problem.task, problem.y[rows], inside),
                        }
                    )
    return curve
