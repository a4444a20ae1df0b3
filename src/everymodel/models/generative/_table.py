"""What all models of tables share: how a mixed table is read, what is learnt of its columns, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import DataError
from everymodel.core.schema import Column, Schema
from everymodel.core.seeds import derive
from everymodel.models.generative._table_fields import POOLED, numbers_field, words_field
from everymodel.scoring import cells, table
from everymodel.scoring.generator import STEPS, able, between
from everymodel.scoring.made_fields import Field
from everymodel.scoring.steps.base import Batch
from everymodel.scoring.steps.made_tables import TableSampler

if TYPE_CHECKING:
    import pandas as pd

BINS = 100  # classes of a column of numbers, at most
_WIDE = 8000  # classes of all columns of numbers together
LOOKS = 10  # at the validation figures of a fit, at least


@dataclass
class Form:
    """A table that was learnt from.

    fields : its columns for the step. labels, dtypes : as they came. words : cells by their text, of categories.
    u : (n, columns) the rows as uniform numbers. schema : by which other rows are read. notes : sentences.
    """

    fields: tuple[Field, ...]
    labels: list[Any]
    dtypes: list[Any]
    words: dict[str, dict[str, Any]]
    schema: Schema
    u: np.ndarray
    notes: list[str]

    def frame(self, made: dict[str, np.ndarray]) -> pd.DataFrame:
        """Made columns with the labels and dtypes of the table learnt from."""
        import pandas as pd

        columns = [self._column(f, made[f.name], dtype) for f, dtype in zip(self.fields, self.dtypes, strict=True)]
        out = pd.concat(columns, axis=1) if columns else pd.DataFrame()
        out.columns = pd.Index(self.labels)
        return out

    def _column(self, field: Field, values: np.ndarray, dtype: Any) -> pd.Series:
        import pandas as pd

        if field.kind in ("category", "identifier"):
            known = self.words.get(field.name, {})
            listed = [None if v is None else known.get(v, v) for v in values]
            return pd.Series(pd.Categorical(listed, dtype=dtype) if isinstance(dtype, pd.CategoricalDtype) else listed,
                             dtype=None if isinstance(dtype, pd.CategoricalDtype) else dtype)  # fmt: skip
        if field.kind == "date":
            made = pd.Series(values)
            if isinstance(dtype, pd.DatetimeTZDtype):
                return made.dt.tz_localize("UTC").astype(dtype)
            return made.astype(dtype)
        if pd.api.types.is_timedelta64_dtype(dtype):
            return pd.Series(pd.to_timedelta(values, unit="s")).astype(dtype)
        made = pd.Series(values)
        if field.kind == "boolean" and made.dtype == object and not pd.api.types.is_object_dtype(dtype):
            made = made.astype("boolean")
        return made.astype(dtype)


def to_frame(X: Any) -> pd.DataFrame:
    """A pandas frame of whatever came; DataError where it is no table."""
    import pandas as pd

    if isinstance(X, pd.DataFrame):
        frame = X
    elif hasattr(X, "to_pandas"):
        frame = X.to_pandas()
    elif isinstance(X, dict) or (isinstance(X, list) and X and isinstance(X[0], dict)):
        frame = pd.DataFrame(X)
    else:
        array = np.asarray(X)
        if array.ndim != 2:
            raise DataError(f"Data of shape {array.shape} came; expected a table: a frame, or rows (n, p).")
        frame = pd.DataFrame(array, columns=[f"column_{i + 1}" for i in range(array.shape[1])])
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError("The columns have names in several levels: give each one name.")
    if not frame.shape[1]:
        raise DataError("The table has no columns.")
    names = [str(c) for c in frame.columns]
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{names.count(twice[0])} columns are called {twice[0]!r}: give each a name of its own.")
    if "" in names:
        raise DataError(f"Column {names.index('') + 1} has no name: give it one.")
    return frame.reset_index(drop=True)


def with_target(X: Any, y: Any) -> pd.DataFrame:
    """The table with y as one more column, by its name or "target"."""
    frame = to_frame(X)
    if y is None:
        return frame
    import pandas as pd

    name = getattr(y, "name", None)
    name = "target" if name is None else name
    values = np.asarray(y) if not isinstance(y, pd.Series) else y.reset_index(drop=True)
    if values.ndim != 1 or len(values) != len(frame):
        raise DataError(f"y of shape {values.shape} came for {len(frame)} rows; expected a value for each.")
    if str(name) in map(str, frame.columns):
        raise DataError(f"There is a column {name!r} already: leave y out, or give it another name.")
    return frame.assign(**{str(name): values}) if isinstance(name, str) else frame.join(pd.Series(values, name=name))


def learn(
    X: Any, y: Any = None, *, seed: int = 0, least: int = 2, bins: int = BINS, order: Callable[..., Any] | None = None
) -> Form:
    """Read a table and learn its columns.

    Parameters
    ----------
    least : fewest rows. bins : classes of a column of numbers at most.
    order : called with (text cells (n,), words) of a category; gives the places of the words in the order wanted.

    Raises
    ------
    DataError
        for no table, two columns of one name, cells that are neither numbers, words nor dates, infinite numbers.
    """
    import pandas as pd

    frame = with_target(X, y)
    n = len(frame)
    if n < least:
        raise DataError(f"{n} row{'s' * (n != 1)} came; expected {least} or more.")
    notes: list[str] = []
    if n < 50:
        notes.append(f"{n} rows are few: what is made will be close to them.")
    read = {str(name): _plain(frame[name], str(name)) for name in frame.columns}
    numbers = sum(kind in ("number", "date") for kind, _ in read.values())
    most = int(np.clip(_WIDE // max(numbers, 1), 8, bins))
    fields: list[Field] = []
    columns: list[Column] = []
    words: dict[str, dict[str, Any]] = {}
    for label, (name, (kind, series)) in zip(frame.columns, read.items()):
        if kind == "category":
            texts = cells.as_text(series)
            counts = pd.Series(texts[texts != ""]).value_counts(sort=True)
            counts = counts.loc[sorted(counts.index, key=lambda w: (-counts[w], w))] if len(counts) < 5000 else counts
            filled = int(counts.sum())
            if filled >= 50 and len(counts) > 0.9 * filled:
                kind = "identifier"
                notes.append(f"{name!r} names rows ({len(counts)} words in {filled} cells): made rows get new names.")
            else:
                levels = list(map(str, counts.index))
                if len(levels) > POOLED:
                    notes.append(
                        f"{name!r} has {len(levels):,} words; beyond the {POOLED} most frequent they are drawn by how "
                        "often they come, whatever stands beside them."
                    )
                places = np.arange(len(levels)) if order is None else np.asarray(order(texts, levels))
                levels = [levels[i] for i in places]
                share = counts.to_numpy(dtype=np.float64)[places]
                firsts = dict(zip(reversed(texts.tolist()), reversed(series.tolist())))
                words[name] = {w: firsts[w] for w in levels}
                fields.append(words_field(name, levels, share, n - filled))
        if kind == "identifier":
            texts = cells.as_text(series)
            fields.append(words_field(name, [], np.array([float((texts != "").sum())]), int((texts == "").sum()), kind))
        elif kind != "category":
            fields.append(numbers_field(name, kind, series, most, _whole(frame[label])))
        f = fields[-1]
        columns.append(Column(name, "text") if kind == "identifier" else f.column())
    schema = Schema(tuple(columns), "generate", unseen="ignore")
    batch, _ = table.parse(schema, _frame_of(read, frame), unseen="ignore", bad="missing")
    rng = np.random.default_rng(derive(seed, "cells"))
    u = np.column_stack([f.uniforms(batch.columns[f.name], rng) for f in fields])
    u = np.where(np.isnan(u), 0.5, u)
    return Form(tuple(fields), list(frame.columns), list(frame.dtypes), words, schema, u, notes)


def batch_of(form: Form, X: Any) -> Batch:
    """Other rows with the same columns, as the steps read them."""
    frame = to_frame(X)
    read = {str(name): _plain(frame[name], str(name)) for name in frame.columns}
    return table.parse(form.schema, _frame_of(read, frame), unseen="ignore", bad="missing")[0]


def _frame_of(read: dict[str, tuple[str, Any]], frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: series for name, (_, series) in read.items()}, index=frame.index)


def _whole(series: Any) -> bool:
    import pandas as pd

    return pd.api.types.is_integer_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype)


def _plain(series: pd.Series, name: str) -> tuple[str, pd.Series]:
    """(kind, cells as the schema reads them)."""
    import pandas as pd

    is_ = pd.api.types
    dtype = series.dtype
    if is_.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return "boolean", series
    if is_.is_timedelta64_dtype(dtype):
        return "number", series.dt.total_seconds()
    if is_.is_datetime64_any_dtype(dtype):
        return "date", series
    if is_.is_complex_dtype(dtype):
        raise DataError(f"{name!r} holds complex numbers: split them into two columns.")
    if is_.is_numeric_dtype(dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise DataError(f"{name!r} holds {int(np.isinf(values).sum())} infinite numbers: leave these cells empty.")
        return "number", pd.Series(values, index=series.index)
    if is_.is_object_dtype(dtype):
        kind = is_.infer_dtype(series, skipna=True)
        if kind == "boolean":
            return "boolean", series
        if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
            return _plain(pd.to_numeric(series.where(series.notna(), np.nan)).astype(np.float64), name)
        if kind in ("datetime", "datetime64", "date"):
            return "date", pd.to_datetime(series)
        strange = next((c for c in series if isinstance(c, list | dict | set | tuple | np.ndarray | bytes)), None)
        if strange is not None:
            raise DataError(
                f"{name!r} holds cells such as {str(strange)[:40]!r} ({type(strange).__name__}); expected numbers, "
                "words or dates. Leave the column out."
            )
    return "category", series


class TableModel:
    """The verbs of models of tables: samples are frames like the one that was learnt from.

    Attributes
    ----------
    step_ : the numpy step that answers, here as in the model file.
    form_ : what was learnt of the columns. notes_ : what was done to the table, in sentences.
    """

    step_: TableSampler
    form_: Form

    def sample(
        self,
        n: int = 1,
        condition: Any = None,
        *,
        seed: int | None = None,
        truncation: float | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """`n` new rows with the columns, dtypes, words and gaps of the table that was learnt from.

        Parameters
        ----------
        condition : {column: value}, or {column: n values}: obeyed exactly.
        seed, truncation : see `everymodel.scoring.steps.generating.Sampler.sample`.
        """
        return self.form_.frame(self._step().sample(n, condition, seed=seed, truncation=truncation, **options))

    def interpolate(self, a: Any, b: Any, steps: int = STEPS) -> pd.DataFrame:
        """Rows on the way from a to b: seeds, latent variables, or rows where the model can encode."""
        return self.form_.frame(between(self._step(), a, b, steps, self._cells))

    def encode(self, X: Any) -> np.ndarray:
        """(n, d) latent variables of rows."""
        return able(self._step(), "encode")(self._cells(X))

    def decode(self, Z: Any) -> pd.DataFrame:
        """The likeliest rows for latent variables (n, d)."""
        return self.form_.frame(able(self._step(), "decode")(np.asarray(Z)))

    def reconstruct(self, X: Any) -> pd.DataFrame:
        """What is left of rows that are encoded and decoded again."""
        return self.decode(self.encode(X))

    def score_samples(self, X: Any) -> np.ndarray:
        """(n,) how likely each row is (higher: more usual), where the model can say that."""
        return able(self._step(), "score_samples")(self._cells(X))

    def evaluate(self, X: Any, y: Any = None, *, train: Any = None, target: str | None = None, seed: int = 0) -> dict:
        """How good made rows are, against rows that were not learnt from: see `_table_quality.quality`."""
        from everymodel.models.generative._table_quality import quality

        held = with_target(X, y)
        return quality(self, held, train=None if train is None else to_frame(train), target=target, seed=seed)

    def _cells(self, X: Any) -> Batch:
        self._step()
        return batch_of(self.form_, X)

    def _step(self) -> TableSampler:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "step_")
        return self.step_


def fit(
    model: Any, X: Any, y: Any = None, *, stop: Callable[[], bool] | None = None, threads: int | None = None
) -> Any:
    """Fit under a stop and on some threads, as the search asks."""
    model._stop, model._threads = stop, threads
    try:
        return model.fit(X, y)
    finally:
        del model._stop, model._threads
