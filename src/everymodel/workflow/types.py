"""Plain data that the stages of the workflow pass on. No behaviour, no decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.finding import Finding
from everymodel.core.schema import Schema
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Batch

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Table:
    """What reading gives: the rows as the source has them, and how they were found."""

    frame: pd.DataFrame
    source: str  # path, URL without its password, "<stdin>", "<DataFrame>"
    format: str  # csv tsv parquet arrow jsonl excel sql html pandas polars arrow-table
    details: dict[str, Any] = field(default_factory=dict)  # separator encoding decimal header compression ...
    findings: list[Finding] = field(default_factory=list)
    fingerprint: str = ""  # sha256 over column names and cells, the same for the same table


@dataclass
class Understanding:
    """What understanding gives: a schema with kinds and roles, the task, and everything noticed."""

    schema: Schema
    findings: list[Finding]
    rows: int  # rows that can be learned from (target present)
    keep: np.ndarray  # (n,) bool: rows of the frame with a usable target
    suspects: tuple[str, ...] = ()  # columns left out by the leak guard
    stats: dict[str, dict[str, Any]] = field(default_factory=dict)  # column -> distinct missing quantiles mean std top


@dataclass
class Split:
    """Row numbers into the usable rows. `test` is empty where test_size=0."""

    kind: str  # random stratified group time column none
    train: np.ndarray  # (n_train,) int
    test: np.ndarray  # (n_test,) int
    folds: list[tuple[np.ndarray, np.ndarray]]  # (fit rows, validation rows), numbers into `train`'s rows: 0..n_train-1
    note: str = ""  # in words, for the report


@dataclass
class Problem:
    """What the search sees: training rows only."""

    schema: Schema
    task: str  # regression binary multiclass multilabel
    batch: Batch  # training rows
    y: np.ndarray  # regression (n,) or (n, t) float64; classes (n,) int codes; multilabel (n, k) 0/1
    folds: list[tuple[np.ndarray, np.ndarray]]
    metric: str  # scikit-learn's word: roc_auc log_loss rmse accuracy f1 r2 ...
    seed: int = 0
    unlabelled: Batch | None = None  # rows without a target, for models that learn from such rows too


@dataclass
class Progress:
    """One event on the way, for progress bars and logs."""

    stage: str  # read understand split search refit evaluate save
    message: str = ""
    candidate: str = ""
    score: float | None = None
    best: float | None = None
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None


Listener = Callable[[Progress], None]


@dataclass
class SearchResult:
    """What the search gives back: a pack that answers, and how it was chosen."""

    pack: Pack
    leaderboard: list[dict[str, Any]]  # rows: model score score_low score_high fit_seconds row_ms weight status ...
    oof: np.ndarray  # (n, k) or (n,) out-of-fold answers of the final blend on the training rows; NaN where none
    oof_by_model: dict[str, np.ndarray]  # the same for "dummy", "simple" (linear/logistic) and "best_single"
    packs_by_model: dict[str, Pack]  # packs of the same three, fitted like the final one, to compare on the test rows
    members: list[dict[str, Any]]  # name card weight parameters of each model in the final blend
    failures: list[dict[str, Any]]  # model, reason
    stopped: str  # finished budget trials interrupted memory
    history: list[dict[str, Any]] = field(default_factory=list)  # seconds, best score so far
    findings: list[Finding] = field(default_factory=list)  # what the search has to say: too little time, a full disk
    gain: dict[str, Any] | None = None  # partly labelled target: what rows without a label were good for
    made: dict[str, Any] | None = None  # with augment: what made rows among those learnt from were good for

    @classmethod
    def of_one(
        cls,
        model: Any,
        leaderboard: list[dict[str, Any]],
        name: str,
        failures: list[tuple[str, str]],
        interrupted: bool,
    ) -> SearchResult:
        """The result where one fitted model, whose card is `name`, answers by itself; failures: (title, reason)."""
        return cls(
            pack=model.pack,
            leaderboard=leaderboard,
            oof=np.zeros(0),
            oof_by_model={},
            packs_by_model={},
            members=[{**m, "name": name} for m in model.manifest["members"]],
            failures=[{"model": title, "reason": reason} for title, reason in failures],
            stopped="interrupted" if interrupted else "finished",
        )


@dataclass
class Metric:
    """One figure with its interval; `better` is "higher" or "lower"."""

    name: str
    value: float
    low: float
    high: float
    better: str
    text: str = ""  # one sentence in words


@dataclass
class Evaluation:
    """What evaluation gives: every metric with its interval, tables and curves as plain data for the report."""

    task: str
    source: str  # "test" or "cross-validation"
    metrics: list[Metric]
    headline: str  # one sentence: better than guessing by ..., and not distinguishable from ...
    comparisons: list[dict[str, Any]]  # against the dummy, the best single and the simple model, with intervals
    curves: dict[str, Any] = field(default_factory=dict)  # roc pr calibration confusion residuals threshold ...
    segments: list[dict[str, Any]] = field(default_factory=list)
    fairness: list[dict[str, Any]] = field(default_factory=list)
