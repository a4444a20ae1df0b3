"""Scikit-learn's face for networks: parameters that all of them share, a validation part, progress, history."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from everymodel.core.clock import seconds
from everymodel.core.seeds import derive
from everymodel.training.loop import History, Listener, Plan, Progress, train
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Source

# Parameters that cards of networks share; a card copies the entries that its class has.
SHARED = (
    *("epochs", "batch_size", "learning_rate", "weight_decay", "optimizer", "schedule", "patience"),
    *("validation_fraction", "budget", "device", "checkpoint", "random_state", "verbose"),
)


class NetworkEstimator(BaseEstimator):
    """What every trained-by-gradient model has. Subclasses store their parameters, build nets and call `_train`.

    Attributes
    ----------
    history_ : History, one entry per epoch (losses, validation figures, seconds), and notes.
    seed_ : int, the seed of this fit.
    """

    def _seed(self) -> int:
        """The seed of this fit; equal for equal random_state."""
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        return self.seed_

    def _train(
        self,
        objective: Objective,
        source: Source,
        *,
        valid: Source | None = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
        **plan: Any,
    ) -> History:
        """Run the loop with this estimator's parameters; `plan` wins over them. `stop.deadline` (monotonic) is kept."""
        budget = seconds(getattr(self, "budget", None))
        deadline = getattr(stop, "deadline", None)
        if deadline is not None:
            left = max(deadline - time.monotonic(), 0.01)
            budget = left if budget is None else min(budget, left)
        given: dict[str, Any] = {
            "budget": budget,
            "device": getattr(self, "device", "auto"),
            "seed": self.seed_,
            "threads": threads,
            "patience": getattr(self, "patience", None),
        }
        for name in ("epochs", "schedule"):
            if getattr(self, name, None) is not None:
                given[name] = getattr(self, name)
        if getattr(self, "checkpoint", None):
            given["checkpoint"] = Path(self.checkpoint)
        if "optimizers" not in plan:
            rate, decay = getattr(self, "learning_rate", 1e-3), getattr(self, "weight_decay", 0.0)
            given["optimizers"] = Optimizer(getattr(self, "optimizer", "adamw"), rate, decay)
        own = getattr(self, "_listener", None)  # of a run that watches this fit
        with shown(getattr(self, "verbose", 0) if own is None else 0, type(self).__name__) as listener:
            listener = listener if own is None else lambda progress: own(progress, objective)
            made = train(objective, source, Plan(**{**given, **plan}), valid=valid, listener=listener, stop=stop)
        self.history_ = made
        return made

    def _generator(self, *names: object) -> torch.Generator:
        """A generator for the part called `names`."""
        made = torch.Generator()
        made.manual_seed(derive(self.seed_, *names))
        return made

    @contextlib.contextmanager
    def _initial(self) -> Iterator[None]:
        """Weights made inside follow from the seed; the global random state is put back."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed_, "weights"))
            yield


class Classes:
    """Class labels as codes; for classifiers.

    Attributes
    ----------
    labels : (k,) sorted labels, or 0..k-1 for several labels at once.
    several : whether y is (n, k) of zeros and ones.
    """

    def __init__(self, y: Any):
        check_classification_targets(y)
        y = np.asarray(y)
        self.several = type_of_target(y) == "multilabel-indicator"
        self.labels = np.arange(y.shape[1]) if self.several else np.unique(column_or_1d(y, warn=True))

    def codes(self, y: Any) -> np.ndarray:
        """(n,) int64 codes, -1 for labels that were not learnt; (n, k) float32 for several labels."""
        y = np.asarray(y)
        if self.several:
            return y.astype(np.float32)
        y = np.ravel(y)
        place = np.clip(np.searchsorted(self.labels, y), 0, len(self.labels) - 1)
        return np.where(self.labels[place] == y, place, -1).astype(np.int64)


class NetworkClassifier(ClassifierMixin):
    """The classifier's side of a network: labels become codes, probabilities become labels.

    Attributes
    ----------
    classes_ : (k,) sorted labels. coding_ : Classes.
    """

    predict_proba: Callable[..., np.ndarray]

    @property
    def _loss(self) -> str:
        return "sigmoid" if self.coding_.several else "softmax"

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        if learn:
            self.coding_ = Classes(y)
            self.classes_ = self.coding_.labels
            self._outputs = len(self.classes_)
        return self.coding_.codes(y)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row (n,), or 0/1 for each label (n, k)."""
        shares = self.predict_proba(X)
        return (shares > 0.5).astype(int) if self.coding_.several else self.classes_[shares.argmax(axis=1)]


class NetworkRegressor(RegressorMixin):
    """The regressor's side of a network: targets of mean 0 and spread 1 are learnt.

    Attributes
    ----------
    offset_, scale_ : (t,) of the targets. many_ : whether a target of several columns came.
    """

    _loss = "square"

    def _targets(self, y: Any, learn: bool = True) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        if learn:
            self.many_ = y.ndim == 2
        y = y.reshape(len(y), -1)
        if learn:
            self.offset_, spread = y.mean(axis=0), y.std(axis=0)
            self.scale_ = np.where(spread > 1e-12 * (1 + np.abs(self.offset_)), spread, 1.0)
            self._outputs = y.shape[1]
        return ((y - self.offset_) / self.scale_).astype(np.float32)


def set_aside(n: int, share: float, generator: np.random.Generator, codes: np.ndarray | None = None) -> tuple[Any, Any]:
    """(training rows, validation rows) of n, by classes where `codes` (n,) are given; a row of each stays at least."""
    if codes is None or codes.ndim > 1:
        order = generator.permutation(n)
        cut = min(max(round(n * share), 1), n - 1)
        return np.sort(order[cut:]), np.sort(order[:cut])
    kept, aside = [], []
    for code in np.unique(codes):
        rows = generator.permutation(np.flatnonzero(codes == code))
        cut = int(len(rows) * share + generator.random())
        cut = min(cut, len(rows) - 1)
        aside.append(rows[:cut])
        kept.append(rows[cut:])
    if not any(map(len, aside)) and n > 1:  # few rows of many classes: one of the largest class goes
        largest = max(range(len(kept)), key=lambda i: len(kept[i]))
        aside[largest], kept[largest] = kept[largest][:1], kept[largest][1:]
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(aside))


@contextlib.contextmanager
def shown(verbose: int | bool, title: str) -> Iterator[Listener | None]:
    """A progress bar in the terminal (1), and a line for every epoch (2); gives the listener."""
    if not verbose:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TextColumn("epoch {task.fields[epoch]}")),
        *(TextColumn("loss {task.fields[loss]}"), TextColumn("{task.fields[pace]} rows/s"), TimeRemainingColumn()),
    )
    with Bar(*columns, console=Console(file=sys.stderr), transient=False) as bar:
        task = bar.add_task(title, total=1.0, epoch="1", loss="-", pace="-")
        lines = 0

        def listen(p: Progress) -> None:
            nonlocal lines
            lines = min(lines, len(p.history.epochs))  # a run that went back has fewer
            for entry in p.history.epochs[lines:] if verbose > 1 else ():
                bar.console.print("  ".join(f"{k} {v:.4g}" for k, v in entry.items() if isinstance(v, int | float)))
                lines += 1
            loss = "-" if p.loss != p.loss else f"{p.loss:.4g}"
            pace = f"{p.rows_per_second:,.0f}"
            bar.update(task, completed=p.done, epoch=f"{p.epoch}/{p.epochs}", loss=loss, pace=pace)

        yield listen
