"""Every metric of supervised learning in numpy: the one scorer that the search, the evaluation and a server share.

Words are scikit-learn's and so are the values (the tests compare). Shapes, for n rows, k classes, t outputs:

    task          y                          answers
    regression    (n,) or (n, t) float       the same shape
    binary        (n,) codes 0 / 1           (n,) probability of code 1, or (n, 2)
    multiclass    (n,) codes 0 .. k-1        (n, k) probabilities
    multilabel    (n, k) of 0 / 1            (n, k) probabilities, each by itself

Metrics that need labels take the most probable class (multiclass) or compare with `threshold` (binary, multilabel).
In binary tasks precision, recall, F1 and average precision speak of code 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from everymodel.core.errors import ParameterError

CLASSES = ("binary", "multiclass")
HUBER_DELTA = 1.35  # where a residual stops counting squared, in robust standard deviations of the target
PINBALL_LEVEL = 0.5
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class MetricInfo:
    """What is known of a metric. `needs`: "labels" "probabilities" or "values"; `best` is its perfect value."""

    name: str
    title: str
    better: str  # "higher" or "lower"
    tasks: tuple[str, ...]
    needs: str
    text: str
    best: float
    worst: float | None = None  # its limit, where it has one; used to clip intervals


def _info(name: str, title: str, better: str, tasks: tuple[str, ...], needs: str, text: str, low: float | None = 0.0):
    best = 1.0 if better == "higher" else 0.0
    return MetricInfo(name, title, better, tasks, needs, text, best, low if better == "higher" else None)


_ALL = (*CLASSES, "multilabel")
_R = ("regression",)
METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        _info("roc_auc", "ROC AUC", "higher", _ALL, "probabilities",
              "chance that a row of the class is ranked above a row that is not of it"),
        _info("average_precision", "PR AUC (average precision)", "higher", _ALL, "probabilities",
              "precision averaged over all recall levels; tells more than ROC AUC when a class is rare"),
        _info("log_loss", "Log loss", "lower", _ALL, "probabilities",
              "how surprised the model was by the truth; punishes confident mistakes"),
        _info("brier", "Brier score", "lower", _ALL, "probabilities", "mean squared error of the probabilities"),
        _info("calibration_error", "Calibration error", "lower", _ALL, "probabilities",
              "how far stated probabilities are from observed shares, on average"),
        _info("accuracy", "Accuracy", "higher", _ALL, "labels", "share of rows answered right"),
        _info("balanced_accuracy", "Balanced accuracy", "higher", CLASSES, "labels", "recall averaged over classes"),
        _info("precision", "Precision", "higher", _ALL, "labels",
              "share of the predicted positives that are right (averaged over classes when there are several)"),
        _info("recall", "Recall", "higher", _ALL, "labels",
              "share of the actual positives that are found (averaged over classes when there are several)"),
        _info("f1", "F1", "higher", _ALL, "labels",
              "harmonic mean of precision and recall (averaged over classes when there are several)"),
        _info("f1_macro", "F1 (macro)", "higher", _ALL, "labels",
              "F1 of each class, averaged; rare classes count in full"),
        _info("f1_micro", "F1 (micro)", "higher", _ALL, "labels", "F1 over all decisions together"),
        _info("f1_weighted", "F1 (weighted)", "higher", _ALL, "labels", "F1 of each class, weighted by its rows"),
        _info("matthews_corrcoef", "Matthews correlation", "higher", CLASSES, "labels",
              "correlation of answer and truth; 0 is guessing", -1.0),
        _info("hamming_loss", "Hamming loss", "lower", ("multilabel",), "labels", "share of wrong label decisions"),
        _info("rmse", "RMSE", "lower", _R, "values", "typical error, large errors count more; in units of the target"),
        _info("mae", "MAE", "lower", _R, "values", "mean absolute error, in units of the target"),
        _info("median_absolute_error", "Median absolute error", "lower", _R, "values",
              "half of the errors are smaller than this, in units of the target"),
        _info("mse", "MSE", "lower", _R, "values", "mean squared error"),
        _info("huber", "Huber loss", "lower", _R, "values", "squared for small errors, linear for outliers"),
        _info("pinball", "Pinball loss (median)", "lower", _R, "values", "loss of the predicted median"),
        _info("mape", "MAPE", "lower", _R, "values", "mean absolute error as a share of the true value"),
        _info("rmsle", "RMSLE", "lower", _R, "values", "RMSE of log(1 + value); needs values above -1"),
        _info("r2", "R²", "higher", _R, "values", "share of the target's variance that is explained", None),
    )
}  # fmt: skip

ALIASES = {
    "auc": "roc_auc", "roc_auc_ovr": "roc_auc", "pr_auc": "average_precision", "logloss": "log_loss",
    "neg_log_loss": "log_loss", "cross_entropy": "log_loss", "brier_score": "brier", "brier_score_loss": "brier",
    "neg_brier_score": "brier", "ece": "calibration_error", "mcc": "matthews_corrcoef", "f1_score": "f1",
    "precision_macro": "precision", "recall_macro": "recall", "bacc": "balanced_accuracy",
    "root_mean_squared_error": "rmse", "neg_root_mean_squared_error": "rmse", "mean_absolute_error": "mae",
    "neg_mean_absolute_error": "mae", "mean_squared_error": "mse", "neg_mean_squared_error": "mse",
    "neg_median_absolute_error": "median_absolute_error", "medae": "median_absolute_error",
    "mean_absolute_percentage_error": "mape", "neg_mean_absolute_percentage_error": "mape", "r2_score": "r2",
    "root_mean_squared_log_error": "rmsle", "hamming": "hamming_loss", "median_ae": "median_absolute_error",
}  # fmt: skip

_DEFAULT = {"regression": "rmse", "binary": "roc_auc", "multiclass": "log_loss", "multilabel": "f1_macro"}


def default_metric(task: str) -> str:
    """The metric used when the user names none."""
    try:
        return _DEFAULT[task]
    except KeyError:
        raise ParameterError(f"There is no task {task!r}; expected one of {', '.join(_DEFAULT)}.") from None


def metrics_for(task: str) -> tuple[MetricInfo, ...]:
    """All metrics that make sense for a task, in the order in which they are shown."""
    return tuple(info for info in METRICS.values() if task in info.tasks)


def resolve(metric: str | None, task: str) -> MetricInfo:
    """The metric a user means by a word (scikit-learn's names and common short ones), checked against the task.

    Raises
    ------
    ParameterError
        No metric has that name, or it does not fit the task.
    """
    word = (metric or default_metric(task)).strip().lower().replace("-", "_").replace(" ", "_")
    word = ALIASES.get(word, word)
    able = [info.name for info in metrics_for(task)]
    if word not in METRICS:
        import difflib

        near = difflib.get_close_matches(word, [*METRICS, *ALIASES], n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"For {task}: {', '.join(able)}."
        raise ParameterError(f"No metric is called {metric!r}. {hint}")
    if task not in METRICS[word].tasks:
        raise ParameterError(f"The metric {metric!r} does not fit a {task} task. Choose from {', '.join(able)}.")
    return METRICS[word]


def score(
    metric: str,
    task: str,
    y: np.ndarray,
    answers: np.ndarray,
    sample: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
) -> float:
    """One metric over all rows, or over the rows `sample` (row numbers or a mask). NaN where an answer is not finite.

    Parameters
    ----------
    metric, task : str
        See `METRICS`; aliases are understood.
    y, answers : array
        As drawn at the top of this module.
    sample : (m,) int or (n,) bool, optional
        Rows to score, repeats allowed.
    threshold : float
        For labels of binary and multilabel tasks.

    Raises
    ------
    ParameterError
        Unknown metric, or shapes that do not fit.
    """
    info = resolve(metric, task)
    y, answers = align(task, y, answers)
    if sample is not None:
        y, answers = y[sample], answers[sample]
    if len(y) == 0:
        return float("nan")
    if not np.isfinite(answers).all():
        return float("nan")
    return _compute(info.name, task, y, answers, threshold)


def loss(metric: str, task: str, y: np.ndarray, answers: np.ndarray, sample: np.ndarray | None = None) -> float:
    """The same as `score` in a form where lower is better and 0 is perfect (1 - score where higher is better)."""
    value = score(metric, task, y, answers, sample)
    return 1.0 - value if resolve(metric, task).better == "higher" else value


def align(task: str, y: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check shapes; give y and answers in one form: binary answers become (n,), codes become int, values float."""
    y, answers = np.asarray(y), np.asarray(answers, dtype=np.float64)
    if len(y) != len(answers):
        raise ParameterError(f"There are {len(y)} true values but {len(answers)} answers; both need one per row.")
    if task == "regression":
        y = np.asarray(y, dtype=np.float64)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if answers.ndim == 2 and answers.shape[1] == 1:
            answers = answers[:, 0]
        fits = y.shape == answers.shape
    elif task == "binary":
        y = np.asarray(y, dtype=np.int64).reshape(len(y))
        if answers.ndim == 2 and answers.shape[1] == 2:
            answers = answers[:, 1]
        elif answers.ndim == 2 and answers.shape[1] == 1:
            answers = answers[:, 0]
        fits = answers.ndim == 1
    elif task == "multiclass":
        y = np.asarray(y, dtype=np.int64).reshape(len(y))
        fits = answers.ndim == 2 and (len(y) == 0 or y.max() < answers.shape[1])
    elif task == "multilabel":
        y = np.asarray(y, dtype=np.int64)
        fits = y.ndim == 2 and answers.shape == y.shape
    else:
        raise ParameterError(f"There is no task {task!r}; expected one of {', '.join(_DEFAULT)}.")
    if not fits:
        raise ParameterError(
            f"For a {task} task, answers of shape {answers.shape} do not fit truth of shape {y.shape}."
        )
    return y, answers


def labels(task: str, answers: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Decisions from aligned probabilities: codes (n,), or 0 / 1 (n, k) for multilabel."""
    if task == "multiclass":
        return answers.argmax(axis=1)
    # At 0.5 exactly the first class wins, as argmax over two columns would have it; elsewhere >= is what users expect.
    return (answers > threshold if threshold == 0.5 else answers >= threshold).astype(np.int64)


# -- regression ---------------------------------------------------------------------------------------------------


def huber_delta(y: np.ndarray) -> float:
    """The width of the quadratic zone for this target: 1.35 robust standard deviations (1 for a constant one)."""
    spread = float(np.median(np.abs(y - np.median(y)))) * 1.4826
    return HUBER_DELTA * (spread or float(np.std(y)) or 1.0)


def row_losses(name: str, y: np.ndarray, answers: np.ndarray, delta: float = 1.0) -> np.ndarray:
    """What each row adds to a regression metric that is a mean of rows (or the root of one): (n,)."""
    error = answers - y
    if name in ("mse", "rmse"):
        return error * error
    if name == "mae":
        return np.abs(error)
    if name == "huber":
        size = np.abs(error)
        return np.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))
    if name == "mape":
        return np.abs(error) / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    if name == "pinball":
        return np.maximum(-PINBALL_LEVEL * error, (1 - PINBALL_LEVEL) * error)
    if name == "rmsle":
        if y.min() <= -1:
            return np.full(len(y), np.nan)
        return (np.log1p(np.maximum(answers, -1 + 1e-12)) - np.log1p(y)) ** 2
    raise ParameterError(f"{name!r} is not a mean over rows.")


def _regression(name: str, y: np.ndarray, answers: np.ndarray) -> float:
    if name == "median_absolute_error":
        return float(np.median(np.abs(answers - y)))
    if name == "r2":
        total = float(np.sum((y - y.mean()) ** 2))
        rest = float(np.sum((answers - y) ** 2))
        if total == 0:  # scikit-learn's convention
            return 1.0 if rest == 0 else 0.0
        return 1.0 - rest / total
    delta = huber_delta(y) if name == "huber" else 1.0
    mean = float(np.mean(row_losses(name, y, answers, delta)))
    return float(np.sqrt(mean)) if name in ("rmse", "rmsle") else mean


# -- ranks --------------------------------------------------------------------------------------------------------


def auc(positive: np.ndarray, values: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN when one class is absent.

    positive (n,) bool, values (n,).
    """
    high, low = values[positive], np.sort(values[~positive])
    if len(high) == 0 or len(low) == 0:
        return float("nan")
    below = np.searchsorted(low, high, "left").sum(dtype=np.float64)
    not_above = np.searchsorted(low, high, "right").sum(dtype=np.float64)
    return float((below + not_above) / (2.0 * len(high) * len(low)))


def average_precision(positive: np.ndarray, values: np.ndarray) -> float:
    """Sum over thresholds of (recall step) x precision; NaN when there is no positive row."""
    total = int(positive.sum())
    if total == 0:
        return float("nan")
    order = np.argsort(-values, kind="stable")
    ranked, sorted_values = positive[order], values[order]
    last = np.append(np.flatnonzero(np.diff(sorted_values)), len(values) - 1)  # ends of ties
    hits = np.cumsum(ranked)[last]
    gained = np.diff(hits, prepend=0)
    return float(np.sum(gained / total * (hits / (last + 1.0))))


def _over_classes(
    function: Callable[[np.ndarray, np.ndarray], float], task: str, y: np.ndarray, answers: np.ndarray
) -> float:
    """Macro average, one class against the rest; classes without rows (or without others) are left out."""
    if task == "binary":
        return function(y == 1, answers)
    parts = []
    for code in range(answers.shape[1]):
        positive = (y[:, code] if task == "multilabel" else y) == (1 if task == "multilabel" else code)
        parts.append(function(positive, answers[:, code]))
    known = [part for part in parts if part == part]
    return float(np.mean(known)) if known else float("nan")


# -- probabilities ------------------------------------------------------------------------------------------------


def truth_probability(task: str, y: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The probability given to what was true: (n,), or (n, k) for multilabel; clipped away from 0."""
    eps = np.finfo(np.float64).eps
    if task == "multiclass":
        total = answers.sum(axis=1)
        chosen = answers[np.arange(len(y)), y] / np.where(total > 0, total, 1.0)
    else:
        chosen = np.where(y == 1, answers, 1.0 - answers)
    return np.clip(chosen, eps, 1.0 if task == "multiclass" else 1 - eps)


def row_log_loss(task: str, y: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(n,) minus log of the probability of the truth (multilabel: mean over labels)."""
    each = -np.log(truth_probability(task, y, answers))
    return each.mean(axis=1) if each.ndim == 2 else each


def row_brier(task: str, y: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(n,) squared errors of the probabilities: one column for binary, summed over classes, mean over labels."""
    if task == "binary":
        return (answers - y) ** 2
    if task == "multilabel":
        return ((answers - y) ** 2).mean(axis=1)
    true = answers[np.arange(len(y)), y]
    return (answers**2).sum(axis=1) - 2 * true + 1.0


def calibration_pairs(task: str, y: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(stated probability, whether it came true), flat: code 1 for binary, the chosen class for multiclass."""
    if task == "binary":
        return answers, (y == 1).astype(np.float64)
    if task == "multilabel":
        return answers.ravel(), y.ravel().astype(np.float64)
    chosen = answers.argmax(axis=1)
    return answers[np.arange(len(y)), chosen], (chosen == y).astype(np.float64)


def calibration_bins(stated: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Bin number of each row, bins of about equal counts in which equal probabilities stay together: (n,) int."""
    edges = np.unique(np.quantile(stated, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, stated, "right")


def _calibration_error(task: str, y: np.ndarray, answers: np.ndarray) -> float:
    stated, came = calibration_pairs(task, y, answers)
    bins = calibration_bins(stated)
    gap = np.bincount(bins, stated) - np.bincount(bins, came)
    return float(np.abs(gap).sum() / len(stated))


# -- decisions ----------------------------------------------------------------------------------------------------


def confusion(y: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """(k, k) counts: row = truth, column = answer."""
    return np.bincount(y * k + chosen, minlength=k * k).reshape(k, k)


def counts(task: str, y: np.ndarray, chosen: np.ndarray, k: int) -> np.ndarray:
    """Hits, false alarms and misses of each class or label: (3, k)."""
    if task == "multilabel":
        hit = ((y == 1) & (chosen == 1)).sum(axis=0)
        return np.array([hit, (chosen == 1).sum(axis=0) - hit, (y == 1).sum(axis=0) - hit], dtype=np.float64)
    hit = np.bincount(y[y == chosen], minlength=k)
    return np.array([hit, np.bincount(chosen, minlength=k) - hit, np.bincount(y, minlength=k) - hit], dtype=np.float64)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def from_counts(name: str, task: str, hit: np.ndarray, alarm: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """Any metric of decisions from counts whose last axis is the class (leading axes: resamples).

    Classes that nowhere occur are left out of averages.
    """
    if name == "f1_micro":
        return _share(2 * hit.sum(-1), 2 * hit.sum(-1) + alarm.sum(-1) + miss.sum(-1))
    true, answered = hit + miss, hit + alarm  # (..., k)
    n = true.sum(-1)
    if name == "accuracy":
        return _share(hit.sum(-1), n)
    if name == "balanced_accuracy":
        return _share(_share(hit, true).sum(-1), (true > 0).sum(-1))
    if name == "matthews_corrcoef":
        joint = hit.sum(-1) * n - (true * answered).sum(-1)
        spread = (n * n - (answered**2).sum(-1)) * (n * n - (true**2).sum(-1))
        return _share(joint, np.sqrt(np.maximum(spread, 0)))
    each = per_class(name, hit, alarm, miss)  # (..., k)
    if task == "binary" and name in ("precision", "recall", "f1"):
        return each[..., 1]
    weight = true if name == "f1_weighted" else ((hit + alarm + miss) > 0).astype(np.float64)
    if task == "multilabel" and name != "f1_weighted":
        weight = np.ones_like(each)  # scikit-learn counts every label column
    return _share((each * weight).sum(-1), weight.sum(-1))


def per_class(name: str, hit: np.ndarray, alarm: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """Precision, recall or F1 of each class, 0 where undefined: the shape of `hit`."""
    if name == "precision":
        return _share(hit, hit + alarm)
    if name == "recall":
        return _share(hit, hit + miss)
    return _share(2 * hit, 2 * hit + alarm + miss)


def _decisions(name: str, task: str, y: np.ndarray, chosen: np.ndarray, k: int) -> float:
    if task == "multilabel":
        if name == "accuracy":
            return float((y == chosen).all(axis=1).mean())
        if name == "hamming_loss":
            return float((y != chosen).mean())
    return float(from_counts(name, task, *counts(task, y, chosen, k)))


def _compute(name: str, task: str, y: np.ndarray, answers: np.ndarray, threshold: float) -> float:
    """One metric of aligned, finite arrays."""
    if task == "regression":
        if y.ndim == 2:  # several targets: the plain mean, as scikit-learn has it
            return float(np.mean([_regression(name, y[:, j], answers[:, j]) for j in range(y.shape[1])]))
        return _regression(name, y, answers)
    if name == "roc_auc":
        return _over_classes(auc, task, y, answers)
    if name == "average_precision":
        return _over_classes(average_precision, task, y, answers)
    if name == "log_loss":
        return float(row_log_loss(task, y, answers).mean())
    if name == "brier":
        return float(row_brier(task, y, answers).mean())
    if name == "calibration_error":
        return _calibration_error(task, y, answers)
    k = 2 if task == "binary" else answers.shape[1]
    return _decisions(name, task, y, labels(task, answers, threshold), k)
