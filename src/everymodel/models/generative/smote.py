"""Rows between a row and its neighbour: the oldest way to make more of a rare class, and a hard baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state

from everymodel.core.seeds import derive
from everymodel.models.generative._table import Form, TableModel, fit, learn, with_target
from everymodel.models.generative._table_quality import evaluate
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.made_tables import NeighborTable

__all__ = ["CARD", "SMOTE", "evaluate", "fit", "pack"]

CARD = {
    "name": "smote",
    "title": "SMOTE",
    "summary": "Makes rows of a table between a row of the data and one of its neighbours of the same class.",
    "choose": "More rows of a rare class to learn from; a baseline that is hard to beat in usefulness.",
    "avoid": "Wherever rows must not be given away: made rows lie close to real ones, which the file holds.",
    "gives": ["samples"],
    "needs": {"inputs": "table"},
    "cost": {"scale": 1e-8, "rows_power": 2.0, "columns_power": 0.5},
    "references": ["Chawla, Bowyer, Hall and Kegelmeyer (2002), SMOTE: synthetic minority over-sampling technique."],
    "advice": ["basic"],
    "priority": 30,
    "parameters": {
        "neighbors": {"type": "int", "default": 5, "low": 1, "high": 1000, "text": "Neighbours to choose from."},
        "max_rows": {
            "type": "int",
            "default": 30000,
            "low": 2,
            "high": 10000000,
            "tune": False,
            "text": "Rows that are kept; of more, as many are drawn.",
        },
    },
    "tiny": [{"random_state": 0}, {"neighbors": 2, "max_rows": 100, "random_state": 1}],
    "presets": [{}],
    "classes": {"generator": {"class": "everymodel.models.generative.smote:SMOTE", "tasks": ["generate"]}},
}
_CLASSES = 50  # values of y, beyond which it is no class


class SMOTE(TableModel, BaseEstimator):
    """Synthetic minority over-sampling: x + w (x' - x) with w uniform in (0, 1), x' one of the k nearest rows to x.

    Neighbours are of the same class where `y` says classes. Words come from one of both rows; distances are those of
    standardised numbers, and a different word counts as the median of their spreads. Asked cells choose the rows from
    which to start, and are then put in. It learns nothing: made rows copy parts of real ones, which `evaluate` shows
    as `copied` far above 0.5.

    Parameters
    ----------
    neighbors : k. max_rows : rows that are kept. random_state : of the rows drawn.

    Attributes
    ----------
    step_, form_, notes_

    Raises
    ------
    DataError

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"x": np.r_[np.zeros(50), np.ones(6)] + np.linspace(0, 0.1, 56)})
    >>> model = SMOTE(random_state=0).fit(frame, pd.Series(["usual"] * 50 + ["rare"] * 6, name="kind"))
    >>> made = model.sample(20, {"kind": "rare"}, seed=0)
    >>> bool((made.x >= 1).all())
    True
    """

    def __init__(self, neighbors: int = 5, max_rows: int = 30_000, random_state: int | None = None):
        self.neighbors = neighbors
        self.max_rows = max_rows
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> SMOTE:
        """Keep a table X (a frame, or rows (n, p)) and who is near to whom; y (n,), one more column, tells classes."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        frame = with_target(X, y)
        notes = ["Made rows lie between rows of the data, and the model keeps these: do not share it as anonymous."]
        self.form_ = learn(frame, seed=seed)
        rows = np.column_stack([f.numbers(self.form_.u[:, i]) for i, f in enumerate(self.form_.fields)])
        if len(rows) > self.max_rows:
            rng = np.random.default_rng(derive(seed, "rows"))
            rows = rows[np.sort(rng.choice(len(rows), self.max_rows, replace=False))]
            notes.append(f"{self.max_rows:,} of {len(frame):,} rows are kept.")
        groups = np.zeros(len(rows), dtype=np.int64)
        if y is not None:
            found = np.unique(rows[:, -1], return_inverse=True)[1].ravel()
            groups = found if found.max() < _CLASSES else groups
        points = _points(self.form_, rows)
        count = max(1, min(self.neighbors, len(rows) - 1))
        near = np.repeat(np.arange(len(rows))[:, None], count, axis=1)
        lonely = 0
        for group in np.unique(groups):
            own = np.flatnonzero(groups == group)
            k = min(count, len(own) - 1)
            if k < 1:
                lonely += 1
                continue
            found = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(points[own])
            places = found.kneighbors(points[own], return_distance=False)
            near[own] = own[_others(places, k)][:, np.arange(count) % k]
        if lonely:
            notes.append(f"{lonely} classes have one row only: it is given back as it is.")
        self.notes_ = [*self.form_.notes, *notes]
        self.step_ = NeighborTable(form=self.form_.fields, rows=rows, neighbors=near)
        return self


def _others(places: np.ndarray, k: int) -> np.ndarray:
    """(n, k) neighbours without the row itself, which need not be the first among equals."""
    own = places == np.arange(len(places))[:, None]
    own[~own.any(axis=1), -1] = True
    return places[~own].reshape(len(places), k)


def _points(form: Form, rows: np.ndarray) -> np.ndarray:
    """(n, d) float32 for distances."""
    parts, spreads = [], []
    for i, f in enumerate(form.fields):
        x = rows[:, i]
        if f.kind in ("number", "date") and f.filled:
            seen = x[~np.isnan(x)]
            middle, spread = (seen.mean(), seen.std()) if len(seen) else (0.0, 0.0)
            spreads += [1.0] if spread > 0 else []
            parts.append((np.where(np.isnan(x), middle, x) - middle)[:, None] / (spread if spread > 0 else 1.0))
    apart = np.median(spreads) if spreads else 1.0
    for i, f in enumerate(form.fields):
        if f.kind in ("category", "boolean") and 1 < len(f.code) <= 1000:
            places = np.where(np.isnan(rows[:, i]), len(f.code) - 1, rows[:, i]).astype(np.int64)
            parts.append(np.eye(len(f.code))[places] * apart / np.sqrt(2))
    return np.concatenate(parts, axis=1).astype(np.float32) if parts else np.zeros((len(rows), 1), dtype=np.float32)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that makes rows."""
    return model._step()
