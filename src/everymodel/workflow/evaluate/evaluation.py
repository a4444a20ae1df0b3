"""The one look at the test rows: every metric with its interval, comparisons, curves, segments and fairness gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.core.seeds import derive
from everymodel.scoring import metrics as m
from everymodel.workflow.evaluate import words
from everymodel.workflow.evaluate.curves import curves
from everymodel.workflow.evaluate.intervals import Resamples, difference, interval
from everymodel.workflow.evaluate.segments import by_segment, fairness_gaps
from everymodel.workflow.evaluate.thresholds import cost_metric
from everymodel.workflow.types import Evaluation, Metric


def evaluate(
    task: str,
    y: np.ndarray,
    answers: np.ndarray,
    *,
    classes: Sequence[Any] = (),
    metric: str | None = None,
    source: str = "test",
    baselines: Mapping[str, np.ndarray] | None = None,
    segments: Mapping[str, Any] | None = None,
    fairness: Mapping[str, Any] | None = None,
    costs: Mapping[str, float] | None = None,
    threshold: float | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Evaluation:
    """Judge answers against the truth.

    Parameters
    ----------
    task : {"regression", "binary", "multiclass", "multilabel"}
    y, answers : array
        Truth and answers as drawn in `everymodel.scoring.metrics`. Rows whose answer is NaN (out-of-fold answers may
        have some) are left out and counted in `curves["rows"]`.
    classes : sequence
        Labels in the order of codes (multilabel: names of the labels; several targets: their names).
    metric : str, optional
        The metric that was searched for; None takes the task's default.
    source : {"test", "cross-validation", "data"}
        Where the answers come from; cross-validation is said in the headline.
    baselines : dict of name -> answers on the same rows
        "dummy" is called guessing, "simple" and "best" have names too; any other key is used as it is.
    segments, fairness : dict of column name -> (n,) values, optional
        Columns by which to look at parts of the rows; numbers are cut at their quartiles.
    costs : {"false_positive": c, "false_negative": d}, optional
        Binary only; adds the mean cost per row at `threshold`.
    threshold : float, optional
        For decisions, chosen elsewhere (`choose_threshold`), never on these rows; None is 0.5.
    groups : (n,) array, optional
        Rows of one group stay together when intervals are drawn.

    Raises
    ------
    DataError
        No row with an answer.
    ParameterError
        Unknown metric, or shapes that do not fit.
    """
    chosen = m.resolve(metric, task)
    threshold = 0.5 if threshold is None else threshold
    y, answers = m.align(task, y, answers)
    finite = np.isfinite(answers.reshape(len(answers), -1)).all(axis=1)
    if not finite.any():
        raise DataError("There is no row with an answer to evaluate: the test part is empty or no fold was answered.")
    total, y, answers = len(y), y[finite], answers[finite]
    parts = {
        name: {key: np.asarray(values)[finite] for key, values in (given or {}).items()}
        for name, given in (("segments", segments), ("fairness", fairness))
    }
    groups = None if groups is None else np.asarray(groups)[finite]
    resamples = Resamples(len(y), derive(seed, "evaluate", "bootstrap"), groups)

    found: dict[str, Metric] = {}
    for info in sorted(m.metrics_for(task), key=lambda i: i.name != chosen.name):  # the chosen one first
        value, low, high = interval(info.name, task, y, answers, resamples, threshold)
        if math.isfinite(value):
            found[info.name] = Metric(info.name, value, low, high, info.better, _text(info.text, task))
    if costs and task == "binary":
        found["cost"] = cost_metric(y, answers, costs, threshold, resamples)

    label = str(classes[1]) if task == "binary" and len(classes) == 2 else ""
    comparisons = _compare(task, y, answers, baselines or {}, finite, chosen.name, resamples, threshold)
    made = curves(task, y, answers, classes, threshold, resamples, seed=derive(seed, "evaluate", "curves"))
    made["rows"] = {"evaluated": len(y), "without_answer": total - len(y)}
    return Evaluation(
        task=task,
        source=source,
        metrics=list(found.values()),
        headline=words.headline(task, chosen.name, found, comparisons, source, label),
        comparisons=comparisons,
        curves=made,
        segments=by_segment(task, chosen.name, y, answers, parts["segments"], threshold, seed),
        fairness=fairness_gaps(task, y, answers, parts["fairness"], classes, threshold, seed),
    )


def _text(text: str, task: str) -> str:
    return text.replace(
        " (averaged over classes when there are several)", "" if task == "binary" else ", class by class"
    )


def _compare(
    task: str,
    y: np.ndarray,
    answers: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    finite: np.ndarray,
    metric: str,
    resamples: Resamples,
    threshold: float,
) -> list[dict[str, Any]]:
    """Paired comparisons on the chosen metric and on the one the headline speaks of."""
    rows = []
    for key, given in baselines.items():
        _, theirs = m.align(task, y, np.asarray(given, dtype=np.float64)[finite])
        both = np.isfinite(theirs.reshape(len(theirs), -1)).all(axis=1)
        if not both.any():
            continue
        own = resamples
        if not both.all():
            own = Resamples(int(both.sum()), 1)
        y_, a_, b_ = y[both], answers[both], theirs[both]
        for name in dict.fromkeys((metric, words.headline_metric(metric, task))):
            gain, low, high = difference(name, task, y_, a_, b_, own, threshold)
            if np.array_equal(a_, b_):
                verdict = "identical"
            elif not math.isfinite(low) or low <= 0 <= high:
                verdict = "not distinguishable"
            else:
                verdict = "better" if low > 0 else "worse"
            rows.append(
                {
                    "against": key,
                    "name": words.baseline_name(key, task),
                    "metric": name,
                    "title": m.METRICS[name].title,
                    "ours": m.score(name, task, y_, a_, threshold=threshold),
                    "theirs": m.score(name, task, y_, b_, threshold=threshold),
                    "gain": gain,
                    "low": low,
                    "high": high,
                    "verdict": verdict,
                    "rows": len(y_),
                }
            )
    return rows
