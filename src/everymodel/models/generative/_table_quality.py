"""How good a synthetic table is: like the real one, as good to learn from, and not made of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.core.seeds import derive
from everymodel.models.generative._table import Form, batch_of, to_frame
from everymodel.scoring.likeness import copied, nearest
from everymodel.scoring.made_fields import Field
from everymodel.scoring.steps.made_tables import TableSampler

if TYPE_CHECKING:
    import pandas as pd

MOST = 50_000  # rows that are compared
_NEAR = 5000  # rows whose neighbours are looked for
_PAIRS = 2000  # pairs of columns
_TENTHS = 10  # ranges of a column of numbers, beside words


def quality(
    model: Any,
    held: pd.DataFrame,
    *,
    train: pd.DataFrame | None = None,
    target: str | None = None,
    made: pd.DataFrame | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Figures of a fitted model of tables, on rows `held` that it has not learnt from.

    Parameters
    ----------
    train : rows that it has learnt from; without them nothing is said of utility beside real rows, nor of privacy.
    target : a column to be predicted from the others. made : rows of the model; by default as many as `train`.

    Returns
    -------
    shapes : mean over columns of 1 - the largest gap between the distributions (Kolmogorov-Smirnov for numbers, total
        variation for words). pairs : mean over pairs of columns of 1 - |difference of correlations| / 2 for numbers, 1
        - total variation of both together else. c2st : ROC AUC of a gradient booster that tells held from made rows;
        0.5 is best. utility : what a booster that learnt from made rows reaches on held ones (ROC AUC for classes, R2
        for numbers), utility_f1 : its macro F1 for classes.
    With `train` : shapes_real, pairs_real, utility_real, utility_f1_real : the same figures for the rows learnt from.
        copied : share of made rows that are nearer to a row learnt from than to a held one; 0.5 where nothing was
        learnt by heart. membership : ROC AUC of telling rows learnt from by their distance to the nearest made row;
        0.5 is best. equal, equal_real : share of made, and of held rows, that are equal to a row learnt from.
    """
    held = to_frame(held)
    form: Form = model.form_
    if len(held) < 2:
        raise DataError(f"{len(held)} rows came to judge by; expected 2 or more.")
    if made is None:
        made = model.sample(min(len(held) if train is None else len(train), MOST), seed=derive(seed, "made"))
    if target is not None and target not in {f.name for f in form.fields}:
        raise ParameterError(f"There is no column {target!r} to predict: expected one of those that were learnt.")
    real, fake = _Cells(form, held), _Cells(form, made)
    told = {"shapes": _shapes(real, fake), "pairs": _pairs(real, fake, seed), "c2st": _told_apart(real, fake, seed)}
    if target is not None:
        told |= _useful(fake, real, target, seed)
    if train is None:
        return told
    own = _Cells(form, train.iloc[: len(train)])
    told |= {"shapes_real": _shapes(real, own), "pairs_real": _pairs(real, own, seed)}
    if target is not None:
        told |= {f"{k}_real": v for k, v in _useful(own, real, target, seed).items()}
    return told | privacy(form, made, train, held, seed=seed)


def evaluate(step: TableSampler, rows: Any, *, seed: int = 0, **given: Any) -> dict[str, float]:
    """`quality` of a step, as a model file holds it, on rows that it has not learnt from."""
    return quality(_Opened(step), to_frame(rows), seed=seed, **given)


class _Opened:
    """A step with what `quality` asks of a fitted model."""

    def __init__(self, step: TableSampler):
        names = [f.name for f in step.form]
        columns = (Column(f.name, "text") if f.kind == "identifier" else f.column() for f in step.form)
        schema = Schema(tuple(columns), "generate", unseen="ignore")
        self.step, self.form_ = step, Form(step.form, [*names], [], {}, schema, np.zeros((0, len(names))), [])

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.step.sample(n, seed=seed))


def privacy(form: Form, made: Any, train: Any, held: Any, *, seed: int = 0) -> dict[str, float]:
    """copied, membership, equal and equal_real; see `quality`."""
    own, real, fake = (_Cells(form, rows).take(_NEAR, derive(seed, name))
                       for name, rows in (("own", train), ("held", held), ("fake", made)))  # fmt: skip
    n = min(len(own), len(real))
    a, b, made_points = own.points()[:n], real.points()[:n], fake.points()
    near_own, near_real = (nearest(x, made_points)[0][:, 0] for x in (a, b))
    whole = _Cells(form, train).keys()
    return {
        "copied": copied(made_points, a, b),
        "membership": _area(-near_own, -near_real),
        "equal": float(np.isin(fake.keys(), whole).mean()),
        "equal_real": float(np.isin(real.keys(), whole).mean()),
    }


class _Cells:
    """Rows as numbers (n, columns; NaN where missing) and classes (n, columns)."""

    def __init__(self, form: Form, frame: Any):
        batch = batch_of(form, frame)
        self.fields: list[tuple[int, Field]] = [
            (i, f) for i, f in enumerate(form.fields) if f.kind != "identifier" and f.filled
        ]
        self.values: list[np.ndarray] = []
        self.codes: list[np.ndarray] = []
        self.u: list[np.ndarray] = []
        for _, f in self.fields:
            x = np.asarray(batch.columns[f.name], dtype=np.float64)
            self.values.append(np.where(x < 0, np.nan, x) if f.kind == "category" else x)
            u = f.uniforms(batch.columns[f.name])
            self.u.append(u)
            self.codes.append(f.pieces(np.nan_to_num(u, nan=1 - 1e-9)) if f.discrete and f.kind != "number"
                              else np.where(np.isnan(x), _TENTHS, np.minimum(u / f.top * _TENTHS, _TENTHS - 1e-9)
                                            .astype(np.float64)).astype(np.int64))  # fmt: skip

    def __len__(self) -> int:
        return len(self.values[0]) if self.values else 0

    def take(self, most: int, seed: int) -> _Cells:
        if len(self) <= most:
            return self
        rows = np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False))
        made = object.__new__(_Cells)
        made.fields = self.fields
        made.values, made.codes, made.u = ([x[rows] for x in part] for part in (self.values, self.codes, self.u))
        return made

    def points(self) -> np.ndarray:
        """(n, d) for distances: numbers by their place among all, words as ones 1 / sqrt 2 apart each."""
        parts = []
        for (_, f), x, u in zip(self.fields, self.values, self.u, strict=True):
            if f.kind in ("number", "date"):
                parts += [np.where(np.isnan(x), 0.5, u / f.top)[:, None]]
                parts += [np.isnan(x)[:, None].astype(float)] if f.missing else []
            else:
                k = len(f.code)
                piece = f.pieces(np.nan_to_num(u, nan=1 - 1e-9))
                parts.append(np.eye(k)[piece] / np.sqrt(2) if k <= 1000 else (piece / k)[:, None])
        return np.concatenate(parts, axis=1)

    def keys(self) -> np.ndarray:
        """(n,) one number for each different row, the same from table to table."""
        import pandas as pd

        table = pd.DataFrame(dict(enumerate(self.values)))
        return pd.util.hash_pandas_object(table, index=False).to_numpy()

    def features(self, without: str | None = None) -> tuple[np.ndarray, list[int]]:
        """((n, p) numbers with NaN, places of words) for a booster."""
        kept = [j for j, (_, f) in enumerate(self.fields) if f.name != without]
        words = [k for k, j in enumerate(kept) if self.fields[j][1].kind == "category"]
        return np.column_stack([self.values[j] for j in kept]), words


def _shapes(real: _Cells, fake: _Cells) -> float:
    scores = []
    for j, (_, f) in enumerate(real.fields):
        a, b = real.values[j], fake.values[j]
        gap = abs(float(np.isnan(a).mean() - np.isnan(b).mean()))
        if f.kind in ("number", "date"):
            a, b = np.sort(a[~np.isnan(a)]), np.sort(b[~np.isnan(b)])
            if len(a) and len(b):
                at = np.concatenate([a, b])
                low = np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)
                gap = max(gap, float(np.abs(low).max()))
        else:
            gap = _apart(real.codes[j], fake.codes[j])
        scores.append(1.0 - gap)
    return float(np.mean(scores)) if scores else float("nan")


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation between the shares of whole numbers."""
    kinds, which = np.unique(np.concatenate([a, b]), return_inverse=True)
    p = np.bincount(which[: len(a)], minlength=len(kinds)) / len(a)
    q = np.bincount(which[len(a) :], minlength=len(kinds)) / len(b)
    return float(0.5 * np.abs(p - q).sum())


def _pairs(real: _Cells, fake: _Cells, seed: int) -> float:
    m = len(real.fields)
    pairs = [(i, j) for i in range(m) for j in range(i)]
    if len(pairs) > _PAIRS:
        rows = np.random.default_rng(derive(seed, "pairs")).choice(len(pairs), _PAIRS, replace=False)
        pairs = [pairs[i] for i in rows]
    scores = []
    for i, j in pairs:
        if all(real.fields[k][1].kind in ("number", "date") for k in (i, j)):
            a, b = (_tie(cells.values[i], cells.values[j]) for cells in (real, fake))
            if a is not None:
                scores.append(1.0 - abs(a - (0.0 if b is None else b)) / 2)
            continue
        wide = 1 + max(int(real.codes[j].max()), int(fake.codes[j].max()))
        scores.append(1.0 - _apart(*(cells.codes[i] * wide + cells.codes[j] for cells in (real, fake))))
    return float(np.mean(scores)) if scores else float("nan")


def _tie(x: np.ndarray, y: np.ndarray) -> float | None:
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < 3 or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
        return None
    return float(np.corrcoef(x[both], y[both])[0, 1])


def _booster(classes: bool, seed: int) -> Any:
    import lightgbm

    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    return kind(n_estimators=150, learning_rate=0.08, num_leaves=20, random_state=seed % 2**31, n_jobs=1, verbose=-1)


def _told_apart(real: _Cells, fake: _Cells, seed: int) -> float:
    n = min(len(real), len(fake), 10_000)
    a, b = real.take(n, derive(seed, "real")), fake.take(n, derive(seed, "fake"))
    (A, words), (B, _) = a.features(), b.features()
    X, y = np.concatenate([A[:n], B[:n]]), np.repeat([0, 1], n)
    order = np.random.default_rng(derive(seed, "halves")).permutation(2 * n)
    areas = []
    for rows in (order[:n], order[n:]):
        rest = np.setdiff1d(order, rows)
        if len(set(y[rest])) < 2 or len(set(y[rows])) < 2:
            return 0.5
        told = _booster(True, seed).fit(X[rest], y[rest], categorical_feature=words).predict_proba(X[rows])[:, 1]
        areas.append(_area(told[y[rows] == 1], told[y[rows] == 0]))
    return float(np.mean(areas))


def _area(high: np.ndarray, low: np.ndarray) -> float:
    """P(a number of `high` is above one of `low`), ties half."""
    low = np.sort(low)
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))


def _useful(learnt: _Cells, held: _Cells, target: str, seed: int) -> dict[str, float]:
    from sklearn.metrics import f1_score, r2_score, roc_auc_score

    place = next((j for j, (_, f) in enumerate(held.fields) if f.name == target), None)
    if place is None:
        raise ParameterError(f"{target!r} names rows or holds nothing, so it cannot be predicted.")
    field = held.fields[place][1]
    X, words = learnt.features(target)
    Z, _ = held.features(target)
    y, z = learnt.values[place], held.values[place]
    X, y, Z, z = X[~np.isnan(y)], y[~np.isnan(y)], Z[~np.isnan(z)], z[~np.isnan(z)]
    if field.kind in ("number", "date"):
        if len(y) < 2:
            return {"utility": 0.0}
        return {"utility": float(r2_score(z, _booster(False, seed).fit(X, y, categorical_feature=words).predict(Z)))}
    if len(np.unique(y)) < 2 or len(np.unique(z)) < 2:
        return {
            "utility": 0.5,
            "utility_f1": float(f1_score(z, np.full(len(z), y[0] if len(y) else 0), average="macro")),
        }
    model = _booster(True, seed).fit(X, y.astype(np.int64), categorical_feature=words)
    told = model.predict_proba(Z)
    areas = []
    kinds = np.unique(z)
    for kind in kinds if len(kinds) > 2 else kinds[-1:]:
        places = np.flatnonzero(model.classes_ == kind)
        areas.append(roc_auc_score(z == kind, told[:, places[0]]) if len(places) else 0.5)
    sure = model.classes_[told.argmax(axis=1)]
    return {"utility": float(np.mean(areas)), "utility_f1": float(f1_score(z, sure, average="macro"))}
