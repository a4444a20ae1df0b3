"""From the rows that the schema read to the matrix that a model takes, by the words of the model's card."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from everymodel.core.card import Card
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.preprocessing.categories import LevelColumns, TargetMeans, level_counts, lookup
from everymodel.preprocessing.dates import DateParts, DateSpans
from everymodel.preprocessing.impute import Imputer
from everymodel.preprocessing.scale import ColumnScaler
from everymodel.preprocessing.skew import Unskewer
from everymodel.preprocessing.text import TextProfile, TextScores, TextTopics, TextVocabulary
from everymodel.preprocessing.text import remember as remember_text
from everymodel.scoring.graph import TABLE, Node
from everymodel.scoring.steps.base import Batch, Sparse, Step
from everymodel.scoring.steps.cells import Cells, ImageFeatures, SequenceFeatures
from everymodel.scoring.steps.prepare import Blank, Join, Lookup, Numbers, OneHot, Project, SparseNumbers
from everymodel.scoring.steps.spectrogram import LONG, SoundFeatures

SCALINGS = ("none", "standard", "range", "robust")
CATEGORIES = ("onehot", "codes", "native", "none")
NATIVE_LEVELS = 250  # histogram boosters keep at most 255 bins for a column
DENSE_LEVELS, SPARSE_LEVELS = 50, 1000  # one-hot columns for one category
DENSE_TERMS, SPARSE_TERMS = 6000, 20_000  # words, and as many runs of characters, kept of one text column
SPARSE_NUMBERS = 200  # so many number columns that are mostly zero are kept sparse
TARGET_COLUMNS = 10  # means of the target for one category with many classes


ROWS = 2048  # rows prepared at once: what passes between steps stays in the processor's cache


class Preparation:
    """Learn how to turn batches into a feature matrix, and emit the steps that do it.

    Parameters
    ----------
    schema : Schema
        Its feature columns are read.
    scaling : {"none", "standard", "range", "robust"}
        Anything but "none" is for models that add things up: skewed columns are straightened (not for "range") and
        dates become cycles.
    missing : bool
        The model takes NaN itself, so numbers are not filled.
    categories : {"onehot", "codes", "native"}
        "onehot": a column per frequent level. "codes": the mean of the target (cross-fitted on training rows).
        "native": codes 0, 1, ... of levels, most frequent first, listed in `native_`. "none": for a model that looks
        at no column at all; the matrix is one column of zeros.
    sparse : bool
        A CSR matrix may be given, which happens where there is text or many levels. Not with "native": trees learn
        more from a text's main directions and its score than from thousands of terms.
    non_negative : bool
        Every number must be at least 0 (scaling is then "range").
    inputs : {"matrix", "image", "sequence", "text"}
        Anything but "matrix": the cells of the one column of that kind, as they are.
    task : {"regression", "binary", "multiclass", "multilabel"}, optional
        Default the schema's.
    seed : int

    Attributes
    ----------
    feature_names_, origins_ : list of str
        Of each matrix column: its name, and the table column it was made from.
    native_ : list of int
        Matrix columns that hold level codes.
    key : tuple
        Equal keys on equal training rows give equal results.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        scaling: str = "none",
        missing: bool = False,
        categories: str = "onehot",
        sparse: bool = False,
        non_negative: bool = False,
        inputs: str = "matrix",
        task: str | None = None,
        seed: int = 0,
    ):
        if scaling not in SCALINGS:
            raise ParameterError(f"scaling={scaling!r} is not known: expected one of {list(SCALINGS)}.")
        if categories not in CATEGORIES:
            raise ParameterError(f"categories={categories!r} is not known: expected one of {list(CATEGORIES)}.")
        self.schema = schema
        self.scaling = "range" if non_negative else scaling
        self.missing = missing
        self.categories = categories
        self.sparse = sparse and categories != "native"
        self.non_negative = non_negative
        self.inputs = inputs
        self.task = task or schema.task
        self.seed = seed

    @classmethod
    def for_card(cls, card: Card, schema: Schema, task: str | None = None, seed: int = 0) -> Preparation:
        """What the card says that the model needs."""
        words = {w: card.need(w) for w in ("scaling", "missing", "categories", "sparse", "non_negative")}
        inputs = card.reads([c.kind for c in schema.features]) or card.inputs[0]
        return cls(schema, task=task, seed=seed, inputs=inputs, **words)

    @property
    def key(self) -> tuple:
        kinds = {c.kind for c in self.schema.features}
        # Words that make no difference to these columns are left out, so that more models can share a matrix.
        if self.categories == "none":
            return ("none",)
        if self.inputs != "matrix":
            return (self.inputs,)
        categories = self.categories if "category" in kinds else "any"
        sparse = self.sparse and (bool(kinds & {"category", "text"}) or len(self._of("number")) >= SPARSE_NUMBERS)
        features = "\x1f".join(f"{c.name}\x1e{c.kind}\x1e{len(c.levels)}" for c in self.schema.features)
        digest = hashlib.sha256(features.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return (self.scaling, self.missing, categories, sparse, self.non_negative, self.task, self.seed, digest)

    # ------------------------------------------------------------------ learning

    def fit(self, batch: Batch, y: np.ndarray | None = None) -> Preparation:
        self.fit_transform(batch, y)
        return self

    def fit_transform(self, batch: Batch, y: np.ndarray | None = None) -> Any:
        """Learn from the training rows and return their matrix (n, p).

        Only here are target means cross-fitted; `transform` on the same rows gives other numbers in those columns.

        Parameters
        ----------
        batch : Batch of n training rows
        y : as in `Problem.y`: numbers (n,) or (n, t), codes (n,) or 0/1 (n, k)

        Returns
        -------
        ndarray (n, p) float64, or scipy.sparse.csr_matrix

        Raises
        ------
        DataError
            If no feature column varies in these rows.
        """
        self._nodes: list[Node] = []
        self._value: dict[str, Any] = {TABLE: batch}
        self._names: dict[str, list[tuple[str, str]]] = {}  # node -> (feature, origin) of its columns
        if self.categories == "none":
            self._nodes, self.native_ = [Node("blank", Blank())], []
            self.feature_names_, self.origins_ = ["nothing"], [""]
            return self.transform(batch)
        if self.inputs != "matrix":
            found = self._of(self.inputs)
            if len(found) != 1:
                raise DataError(
                    f"A model of {self.inputs} cells came to a table with {len(found)} such columns; expected one."
                )
            self._nodes, self.native_ = [Node("cells", Cells(found[0].name, self.inputs))], []
            self.feature_names_, self.origins_ = [found[0].name], [found[0].name]
            return self.transform(batch)
        targets, words = target_columns(y, self.task) if y is not None else (None, [])

        thin = self._numbers(batch)
        self._dates(batch)
        levels = self._categories(batch, targets, words)
        terms = self._text(batch, targets, words)
        self._arrays()
        native = [n.name for n in self._nodes if n.name == "native"]
        dense = self._join(
            "dense", [n.name for n in self._nodes if n.name in self._value and n.name not in {*thin, *native, *terms}]
        )
        if dense:
            dense = self._finish(dense, y)
        blocks = [dense] if dense else []
        if levels is not None:
            step = levels.step(sparse=bool(terms or thin) or (self.sparse and len(levels.words_) > 200))
            if step is not None:
                names = [(self._level_name(c, w), c) for c, w in levels.words_]
                later = None if step.sparse or batch.n <= ROWS else _Later(step, batch)
                blocks.append(self._add("levels", step, (TABLE,), names, later))
        last = self._join("all", [*blocks, *native, *thin, *terms])
        if not last:
            raise DataError(
                f"None of the {len(self.schema.features)} feature columns holds more than one value in the "
                f"{batch.n} training rows: there is nothing to learn from. Check the columns that were left out, or "
                "give more rows."
            )
        names = self._names[last]
        self.feature_names_ = [name for name, _ in names]
        self.origins_ = [origin for _, origin in names]
        self.native_ = [j for j, (name, origin) in enumerate(names) if name == origin and origin in self._native]
        matrix = self._value[last]
        if isinstance(matrix, _Later):
            matrix = _in_stripes([matrix], batch.n)
        del self._value, self._names, self._native
        return as_training_matrix(matrix)

    def _of(self, *kinds: str) -> list[Column]:
        return [c for c in self.schema.features if c.kind in kinds]

    def _add(self, name: str, step: Step, inputs: tuple[str, ...], names: list[tuple[str, str]], value: Any = None):
        """Append a node, with the value it has for the training rows (run here unless given)."""
        self._nodes.append(Node(name, step, inputs))
        self._value[name] = step(*[self._value[i] for i in inputs]) if value is None else value
        self._names[name] = names
        # Matrices that only fed this node are not needed again.
        for used in inputs:
            if used != TABLE:
                del self._value[used]
        return name

    def _join(self, name: str, inputs: list[str]) -> str:
        if len(inputs) < 2:
            return inputs[0] if inputs else ""
        blocks = [self._value[i] for i in inputs]
        value = _in_stripes(blocks, self._value[TABLE].n) if any(isinstance(b, _Later) for b in blocks) else None
        return self._add(name, Join(), tuple(inputs), [pair for i in inputs for pair in self._names[i]], value)

    def _numbers(self, batch: Batch) -> list[str]:
        """Add nodes for numbers, and return the one that stays sparse."""
        columns, empty = [], []
        for column in self._of("number", "boolean"):
            values = batch.columns[column.name]
            seen = values[np.isfinite(values)]
            # A column of one value and gaps still tells something by its gaps.
            if not len(seen) or (len(seen) == len(values) and seen.min() == seen.max()):
                continue
            mostly = np.count_nonzero(seen) < 0.2 * batch.n
            if self.sparse and not self.missing and mostly and not (self.non_negative and seen.min() < 0):
                empty.append(column.name)
            columns.append(column.name)
        if len(empty) < SPARSE_NUMBERS:
            empty = []
        columns = [name for name in columns if name not in set(empty)]
        if columns:
            self._add("numbers", Numbers(tuple(columns)), (TABLE,), [(name, name) for name in columns])
        if not empty:
            return []
        factor = np.ones(len(empty))
        if self.scaling != "none":
            for j, name in enumerate(empty):
                values = np.nan_to_num(batch.columns[name], nan=0.0, posinf=0.0, neginf=0.0)
                with np.errstate(over="ignore"):
                    spread = np.abs(values).max() if self.scaling == "range" else values.std()
                factor[j] = 1.0 / spread if 0 < spread < 1e300 else 1.0
        step = SparseNumbers(tuple(empty), factor)
        return [self._add("sparse_numbers", step, (TABLE,), [(name, name) for name in empty])]

    def _dates(self, batch: Batch) -> None:
        columns = [c.name for c in self._of("date")]
        parts = DateParts(columns, cycles=self.scaling != "none").fit(batch)
        step = parts.step()
        if step is not None:
            self._add("dates", step, (TABLE,), list(zip(parts.get_feature_names_out(), parts.columns_)))
        between = DateSpans(columns).fit(batch)
        spans = between.step()
        if spans is not None:
            names = list(zip(between.get_feature_names_out(), spans.columns))
            self._add("spans", spans, (TABLE,), names)

    def _categories(self, batch: Batch, targets: np.ndarray | None, words: list[str]) -> LevelColumns | None:
        """Add the lookup node, and return what is left for one-hot columns."""
        self._native: set[str] = set()
        plain: list[tuple[str, str, np.ndarray]] = []  # feature, column, table
        means: list[Column] = []
        hot: list[Column] = []
        for column in self._of("category"):
            name = column.name
            counts = level_counts(batch.columns[name], len(column.levels))
            seen = int((counts[2:] > 0).sum())
            groups = seen + (counts[1] > 0)
            if groups < 2:
                continue
            if groups == 2:
                plain.append((name, name, pair_table(counts, self.missing)))
            elif self.categories == "native" and seen <= NATIVE_LEVELS:
                self._native.add(name)
                plain.append((name, name, rank_table(counts, self.missing)))
            elif self.categories == "onehot" or (self.categories == "codes" and groups <= max(3, len(words))):
                hot.append(column)
                if groups > (SPARSE_LEVELS if self.sparse else DENSE_LEVELS):
                    means.append(column)
            else:
                means.append(column)
            if column in means:
                plain.append((f"{name}:frequency", name, frequency_table(counts)))
        if targets is None or targets.shape[1] == 0:
            means = []
        parts: list[Lookup] = []
        values: list[np.ndarray] = []
        names: list[tuple[str, str]] = []
        if self.scaling != "none" and self._native:
            # Codes are names, so they stay out of what is straightened and scaled.
            codes = [(name, table) for name, origin, table in plain if name in self._native]
            step = lookup([name for name, _ in codes], [table for _, table in codes])
            self._add("native", step, (TABLE,), [(name, name) for name, _ in codes])
            plain = [item for item in plain if item[0] not in self._native]
        if plain:
            parts.append(lookup([c for _, c, _ in plain], [t for _, _, t in plain]))
            values.append(parts[-1](batch))
            names += [(feature, origin) for feature, origin, _ in plain]
        if means and targets is not None:
            width = max(1, min(targets.shape[1], 100 // len(means)))
            learner = TargetMeans([c.name for c in means], [len(c.levels) for c in means], seed=self.seed)
            values.append(learner.fit_transform(batch, targets[:, :width]))
            parts.append(learner.step())
            names += [(f"{c.name}:mean{w}", c.name) for c in means for w in words[:width]]
        if parts:
            self._add("codes", _merge(parts), (TABLE,), names, np.concatenate(values, axis=1))
        if not hot:
            return None
        limit = SPARSE_LEVELS if self.sparse else DENSE_LEVELS
        return LevelColumns([c.name for c in hot], [len(c.levels) for c in hot], limit).fit(batch)

    def _arrays(self) -> None:
        """Add nodes that describe images and sequences in numbers."""
        for i, column in enumerate(self._of("image", "sequence")):
            steps: list[ImageFeatures | SequenceFeatures | SoundFeatures]
            if column.kind == "image":
                steps = [ImageFeatures(column.name, *column.shape)]
            else:
                steps = [SequenceFeatures(column.name, column.shape[1])]
                if column.shape[1] == 1 and column.shape[0] >= LONG:
                    steps.append(SoundFeatures(column.name))
            for step in steps:
                names = [(f"{column.name}: {word}", column.name) for word in step.names()]
                self._add(f"{step.word.partition('_')[0]}{i}", step, (TABLE,), names)

    def _text(self, batch: Batch, targets: np.ndarray | None, words: list[str]) -> list[str]:
        """Add nodes for text columns, and return those that stay sparse."""
        columns = [c.name for c in self._of("text")]
        profile = TextProfile(columns).fit(batch)
        step = profile.step()
        if step is not None:
            self._add("text", step, (TABLE,), list(zip(profile.get_feature_names_out(), profile.columns_)))
        sparse = []
        for i, name in enumerate(columns):
            size = SPARSE_TERMS if self.sparse else DENSE_TERMS
            learner = TextVocabulary(name, size, size, seed=self.seed)
            value = learner.fit_transform(batch)
            step = learner.step()
            if step is None:
                continue
            names = [(term, name) for term in learner.get_feature_names_out()] if self.sparse else []
            terms = self._add(f"terms{i}", step, (TABLE,), names, value)
            if self.sparse:
                sparse.append(terms)
                continue
            known = self._value[terms]
            topics = TextTopics(seed=self.seed).fit(known)
            axes, values = [topics.axes_], [topics.transform(known)]
            names = [(f"{name}:topic{j + 1}", name) for j in range(topics.axes_.shape[1])]
            if targets is not None:
                scores = TextScores(seed=self.seed)
                values.append(scores.fit_transform(known, targets))
                axes.append(scores.axes_)
                names += [(f"{name}:score{w}", name) for w in words]
            step = Project(np.ascontiguousarray(np.concatenate(axes, axis=1)))
            self._add(f"topics{i}", step, (terms,), names, np.concatenate(values, axis=1))
        return sparse

    def _level_name(self, column: str, word: int | str) -> str:
        return f"{column}={self.schema.column(column).levels[word]}" if isinstance(word, int) else f"{column}=({word})"

    def _finish(self, dense: str, y: np.ndarray | None) -> str:
        """Fill, straighten and scale the dense columns."""
        names = list(self._names[dense])
        if not self.missing:
            imputer = Imputer("median").fit(self._value[dense], y)
            names += [(f"{names[j][0]}:missing", names[j][1]) for j in imputer.indicators_]
            dense = self._add("filled", imputer.step(), (dense,), names)
        if self.scaling in ("standard", "robust"):
            step = Unskewer().fit(self._value[dense]).step()
            if step is not None:
                dense = self._add("straight", step, (dense,), names)
        if self.scaling != "none":
            dense = self._add("scaled", ColumnScaler(self.scaling).fit(self._value[dense]).step(), (dense,), names)
        return dense

    # ------------------------------------------------------------------ answering

    def transform(self, batch: Batch) -> Any:
        """Run the emitted steps on other rows -> (n, p), or the cells themselves where `inputs` says so."""
        if self.inputs != "matrix" and self.categories != "none":
            return self._run(batch)
        if batch.n <= ROWS:
            return as_training_matrix(self._run(batch))
        first = self._run(_rows(batch, 0, ROWS))
        starts = range(ROWS, batch.n, ROWS)
        if isinstance(first, Sparse):
            from scipy.sparse import vstack

            rest = (self._run(_rows(batch, start, start + ROWS)) for start in starts)
            return vstack([as_training_matrix(block) for block in (first, *rest)], format="csr")
        out = np.empty((batch.n, first.shape[1]))
        out[:ROWS] = first
        for start in starts:
            out[start : start + ROWS] = self._run(_rows(batch, start, start + ROWS))
        return out

    def _run(self, batch: Batch) -> Any:
        values: dict[str, Any] = {TABLE: batch}
        left = [i for node in self._nodes for i in node.inputs]
        for node in self._nodes:
            values[node.name] = node.step(*[values[i] for i in node.inputs])
            for used in node.inputs:
                left.remove(used)
                if used != TABLE and used not in left:
                    del values[used]
        return values[self._nodes[-1].name]

    def nodes(self, prefix: str = "") -> list[Node]:
        """The steps for the scoring graph; the last one is the feature matrix."""
        return [
            Node(prefix + n.name, n.step, tuple(i if i == TABLE else prefix + i for i in n.inputs)) for n in self._nodes
        ]


def remember(schema: Schema, batch: Batch) -> None:
    """Do once for all rows what every fit on some of them would do again: count the terms of text columns.

    For a process that fits many preparations on parts of one table, or is forked to. Results do not change.
    """
    for column in schema.features:
        if column.kind == "text":
            remember_text(column.name, batch.columns[column.name])


class _Later:
    """A dense block that is made stripe by stripe while it is joined, because it is large."""

    def __init__(self, step: OneHot, batch: Batch):
        self.step, self.batch = step, batch
        self.shape = (batch.n, step.width)

    def __getitem__(self, rows: slice) -> Any:
        return self.step(_rows(self.batch, rows.start, rows.stop))


def _rows(batch: Batch, start: int, stop: int) -> Batch:
    """Rows start to stop - 1, without a copy."""
    stop = min(stop, batch.n)
    return Batch({name: values[start:stop] for name, values in batch.columns.items()}, stop - start)


def _in_stripes(blocks: Sequence[Any], n: int) -> np.ndarray | None:
    """Dense blocks side by side -> (n, p); None where one is sparse and the join has to see to it."""
    if any(isinstance(block, Sparse) for block in blocks):
        return None
    out = np.empty((n, sum(block.shape[1] for block in blocks)))
    for start in range(0, n, ROWS):
        stop, place = min(start + ROWS, n), 0
        for block in blocks:
            out[start:stop, place : place + block.shape[1]] = block[start:stop]
            place += block.shape[1]
    return out


def as_training_matrix(matrix: np.ndarray | Sparse) -> Any:
    """What training libraries read: C-ordered float64, or a scipy CSR matrix."""
    if isinstance(matrix, Sparse):
        from scipy.sparse import csr_matrix

        return csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    return np.ascontiguousarray(matrix, dtype=np.float64)


def target_columns(y: np.ndarray, task: str | None) -> tuple[np.ndarray, list[str]]:
    """What means are taken of -> (n, w) and a word for each column; the most frequent classes come first."""
    y = np.asarray(y)
    if task == "multiclass":
        counts = np.bincount(y.astype(np.int64))
        chosen = np.argsort(-counts, kind="stable")[:TARGET_COLUMNS]
        chosen = chosen[counts[chosen] > 0]
        return (y[:, None] == chosen).astype(np.float64), [f"[{c}]" for c in chosen]
    if task == "binary":
        return (y[:, None] == 1).astype(np.float64), [""]
    wide = y.reshape(len(y), -1).astype(np.float64)
    if wide.shape[1] == 1:
        return wide, [""]
    return wide[:, :TARGET_COLUMNS], [f"[{j}]" for j in range(min(wide.shape[1], TARGET_COLUMNS))]


def pair_table(counts: np.ndarray, missing: bool) -> np.ndarray:
    """Two levels (or one and missing) to 0 and 1; anything else to the share of ones, or NaN where allowed."""
    known = np.flatnonzero(counts[1:] > 0) + 1
    table = np.full(len(counts), np.nan if missing else counts[known[1]] / counts[known].sum())
    table[known] = (0.0, 1.0)
    return table


def rank_table(counts: np.ndarray, missing: bool) -> np.ndarray:
    """Levels seen in training to 0, 1, ... by frequency; others to NaN where allowed, else missing has its own code."""
    order = np.argsort(-counts[2:], kind="stable")
    order = order[counts[2:][order] > 0]
    other = np.nan if missing else float(len(order)) if counts[1] > 0 else 0.0
    table = np.full(len(counts), other)
    table[order + 2] = np.arange(len(order))
    return table


def frequency_table(counts: np.ndarray) -> np.ndarray:
    """The logarithm of one more than how often a level was seen."""
    table = np.log1p(counts)
    table[0] = 0.0
    return table


def _merge(parts: Sequence[Lookup]) -> Lookup:
    starts = np.cumsum([0, *(len(p.table) for p in parts[:-1])])
    return Lookup(
        tuple(name for p in parts for name in p.columns),
        np.concatenate([p.offsets + start for p, start in zip(parts, starts)]),
        np.concatenate([p.table for p in parts]),
    )
