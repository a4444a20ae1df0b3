"""A fitted model: schema, pack and manifest. It answers rows of any form and gives back what came in."""

from __future__ import annotations

import datetime
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from everymodel.core.errors import CapabilityError, ModelFileError, PackError, ParameterError
from everymodel.core.schema import ACT_TASKS, MADE_TASKS, PIXEL_TASKS, SERIES_TASKS, STEP_TASKS, WRITTEN_TASKS, Schema
from everymodel.scoring import container, probe, table
from everymodel.scoring.graph import Pack
from everymodel.scoring.steps.base import Batch

_SLICE = 1 << 19  # cells answered at once


class Model:
    """Answers rows; made by `em.fit` or `load`. Holds no state per call, so threads may share it.

    A row gets the same answer, bit for bit, alone and among others. Steps that multiply wide matrices (kernels,
    neighbours, Gaussian processes, discriminants, networks) leave that to BLAS, which adds in another order for one row
    than for many: their answers agree to rounding.

    Attributes
    ----------
    schema : what rows must look like.
    pack : the steps that answer.
    manifest : what is known of the model: metrics, provenance, intervals, threshold, ...
    """

    def __init__(self, schema: Schema, pack: Pack, manifest: Mapping[str, Any] | None = None):
        self.schema = schema
        self.pack = pack
        self.manifest: dict[str, Any] = dict(manifest or {})

    # --- what it is ---

    @property
    def task(self) -> str:
        return self.schema.task or self.manifest.get("task") or "regression"

    @property
    def classes(self) -> tuple[Any, ...]:
        """Class labels in the order of the probability columns; for multilabel the label names."""
        return self.schema.classes

    @property
    def targets(self) -> list[str]:
        """Names of what is predicted."""
        if self.task == "multilabel":
            return [str(c) for c in self.classes]
        return [c.name for c in self.schema.columns if c.role == "target"] or ["prediction"]

    def card(self) -> dict[str, Any]:
        """All that is known of the model, as plain data."""
        told = {k: v for k, v in self.manifest.items() if k != "background"}
        told.update(task=self.task, classes=list(self.classes), schema=self.schema.to_dict())
        return container.clean(told)

    def __repr__(self) -> str:
        name = self.manifest.get("title") or self.manifest.get("name") or "model"
        return f"<everymodel.Model {name!r}: {self.task} of {', '.join(self.targets[:3])}>"

    # --- answers ---

    def read(
        self,
        data: Any,
        *,
        edges: Any = None,
        missing_columns: str = "error",
        unseen: str | None = None,
        files: bool = True,
    ) -> tuple[Batch, list[dict[str, Any]]]:
        """Rows by the schema, and notes on all that was repaired: see `scoring.table.parse`.

        edges : of nodes that the model's graph does not have, see `scoring.graphs.new_nodes`.
        """
        if edges is not None:
            from everymodel.scoring.graphs import new_nodes

            return new_nodes(self, data, edges, missing_columns=missing_columns, unseen=unseen, files=files)
        return table.parse(self.schema, data, missing_columns=missing_columns, unseen=unseen, files=files)

    def answers(self, batch: Batch) -> np.ndarray:
        """The raw answer: (n,) or (n, t) values, or (n, k) probabilities."""
        n = batch.n
        if not batch.columns:  # nodes of another graph
            return self.pack(batch)
        size = min(max(_SLICE // max(len(batch.columns), 1), 1024), 32768)  # rows
        if n <= size:
            return self.pack(batch)
        # Fresh memory costs more than the work on it, so many rows go through in slices that fit the caches.
        parts = [
            self.pack(Batch({k: v[i : i + size] for k, v in batch.columns.items()}, min(size, n - i)))
            for i in range(0, n, size)
        ]
        return np.concatenate(parts)

    def predict(
        self, data: Any, *, edges: Any = None, missing_columns: str = "error", unseen: str | None = None
    ) -> Any:
        """Predicted values or class labels, in the form in which the rows came.

        Parameters
        ----------
        data : frame (pandas, polars, Arrow), dict (one row, or columns), list of dicts, 2-D array.
        edges : models of a graph's nodes: a table of edges between the nodes in `data`, or to nodes of the model's own
            graph, by their ids. The rows then hold what is known of each node.
        missing_columns : "error", or "impute" to let missing columns count as empty.
        unseen : "warn", "error" or "ignore" categories that were never seen; default as chosen at fit.

        Returns
        -------
        A Series with the frame's index, one value for one dict, a list for a list of dicts, else an array. Several
        targets: a frame, a dict per row, or an array (n, t).

        Raises
        ------
        SchemaError
            when rows do not fit; its `fields` name the cells.
        """
        batch = self._batch(data, missing_columns, unseen, edges)
        return _like(data, self.decide(self.answers(batch)), self.targets)

    def decide(self, answers: np.ndarray) -> np.ndarray:
        """Values or labels (n,) or (n, t) from raw answers."""
        task = self.task
        if task == "regression":
            return answers
        if task in ("reduce", "embed"):
            raise CapabilityError(f"This model ({task}) gives new columns, not predictions. Use transform.")
        threshold = self.manifest.get("threshold")
        if task == "anomaly":
            return self._labels()[(answers > (0.0 if threshold is None else threshold)).astype(np.int64)]
        if task == "multilabel":
            limit = 0.5 if self.pack.output == "probabilities" else 0.0
            return (answers >= np.asarray(limit if threshold is None else threshold)).astype(np.int64)
        if answers.ndim == 1:  # binary scores
            codes = (answers > 0.0).astype(np.int64)
        elif len(self.classes) == 2 and answers.shape[1] == 2:
            codes = (answers[:, 1] > answers[:, 0] if threshold is None else answers[:, 1] >= threshold).astype(
                np.int64
            )
        else:
            codes = answers.argmax(axis=1)
        return self._labels()[codes]

    def details(self, answers: np.ndarray) -> dict[str, np.ndarray]:
        """What stands beside the decisions on raw answers, (n,) each, without a target.

        Groups: "name" and "confidence" (membership in the group decided for). Anomalies: "score" and, where the file
        knows it, "tail", the share of ordinary rows that are odder still. Components and coordinates: themselves.
        """
        if self.task == "cluster":
            names = {s["number"]: s["name"] for s in self.segments}
            best = answers.argmax(axis=1)
            told = [str(names.get(c, "no group")) for c in self.classes]
            return {"name": _array(tuple(told))[best], "confidence": answers[np.arange(len(best)), best]}
        if self.task == "anomaly":
            from everymodel.scoring.tails import beyond

            curve = self.manifest.get("tail")
            return {"score": answers, **({"tail": beyond(curve, answers)} if isinstance(curve, dict) else {})}
        if self.task in ("reduce", "embed"):
            return dict(zip(self.columns, answers.T, strict=True))
        return {}

    @property
    def segments(self) -> list[dict[str, Any]]:
        """The groups of a model made by task "cluster": number, name, sentence, rows, share, rule, ..."""
        return list(self.manifest.get("segments") or [])

    @property
    def columns(self) -> list[str]:
        """Names of the new columns of a model made by task "reduce" or "embed"; empty for others."""
        return [str(name) for name in self.manifest.get("columns") or []]

    def _labels(self) -> np.ndarray:
        labels = self.__dict__.get("_label_array")
        if labels is None:
            labels = _array(self.classes)
            self.__dict__["_label_array"] = labels
        return labels

    @property
    def predict_proba(self) -> Callable[..., Any]:
        """Probabilities of the classes, in the form in which the rows came; the arguments are those of `predict`.

        A frame gives a frame with the class labels as columns, a dict gives {label: probability}, a list a list of
        these, all else an array (n, k). Models without probabilities do not have this method.
        """
        if self.task == "regression" or self.pack.output != "probabilities":
            raise CapabilityError(
                f"This model ({self.task}) gives no probabilities. Use predict"
                + (", or predict_interval for a range." if self.task == "regression" else ".")
            )
        return self._predict_proba

    def _predict_proba(
        self, data: Any, *, edges: Any = None, missing_columns: str = "error", unseen: str | None = None
    ) -> Any:
        batch = self._batch(data, missing_columns, unseen, edges)
        return _like_frame(data, self.answers(batch), list(self.classes) or self.targets)

    @property
    def transform(self) -> Callable[..., Any]:
        """New columns for old ones (components, coordinates), in the form in which the rows came.

        The arguments are those of `predict`. Only models made by task "reduce" or "embed" have this method.
        """
        if self.pack.output != "matrix":
            raise CapabilityError(f"This model ({self.task}) has no transform. Use predict.")
        return self._transform

    def _transform(self, data: Any, *, missing_columns: str = "error", unseen: str | None = None) -> Any:
        answers = self.answers(self._batch(data, missing_columns, unseen))
        names = self.manifest.get("columns") or [f"component {i + 1}" for i in range(answers.shape[1])]
        return _like_frame(data, answers, names)

    @property
    def score_samples(self) -> Callable[..., Any]:
        """How normal each row is (lower is odder), in the form in which the rows came.

        The arguments are those of `predict`. Only models made by task "anomaly" have this method.
        """
        if self.task != "anomaly":
            raise CapabilityError(f"This model ({self.task}) has no score_samples. Use predict.")
        return self._score_samples

    def _score_samples(self, data: Any, *, missing_columns: str = "error", unseen: str | None = None) -> Any:
        return _like(data, -self.answers(self._batch(data, missing_columns, unseen)), ["score"])

    @property
    def predict_interval(self) -> Callable[..., Any]:
        """Ranges that hold the true value with probability `level` (regression, one target).

        predict_interval(data, level=0.9): split-conformal half widths from rows that the model was not fitted on, so
        the promise holds on average over rows like those seen. Gives "low" and "high" in the form that the rows had.
        """
        told = self.manifest.get("intervals")
        if self.task != "regression" or not told or not told.get("levels"):
            raise CapabilityError(
                f"This model ({self.task}) gives no intervals: they are made for regression by em.fit."
            )
        return self._predict_interval

    def _predict_interval(
        self, data: Any, level: float = 0.9, *, missing_columns: str = "error", unseen: str | None = None
    ) -> Any:
        low, high = self.interval(self.answers(self._batch(data, missing_columns, unseen)), level)
        return _like_frame(data, np.column_stack([low, high]), ["low", "high"])

    def interval(self, answers: np.ndarray, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (n,), around raw answers (n,) or (n, 1)."""
        half = self.half_width(level)
        if answers.ndim > 1 and answers.shape[1] > 1:
            raise CapabilityError("Intervals are given for one target; this model predicts several.")
        answers = answers.reshape(-1)
        return answers - half, answers + half

    def half_width(self, level: float) -> float:
        """Half the width of the interval of probability `level`, between the stored levels by straight lines."""
        told = self.manifest["intervals"]
        levels, widths = np.asarray(told["levels"], float), np.asarray(told["half_widths"], float)
        order = np.argsort(levels)
        levels, widths = levels[order], widths[order]
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level <= levels[-1]:
            raise ParameterError(
                f"level={level!r} is not possible: expected a share up to {levels[-1]:g}, such as 0.9."
            )
        return float(np.interp(level, np.concatenate([[0.0], levels]), np.concatenate([[0.0], widths])))

    def explain(
        self,
        data: Any,
        top: int | None = None,
        *,
        of: Any = None,
        missing_columns: str = "error",
        unseen: str | None = None,
    ) -> list[dict[str, Any]]:
        """Why each row got its answer, or that of the class, label or target `of`: see `scoring.explain.explain`."""
        from everymodel.scoring.explain import explain

        return explain(self, self._batch(data, missing_columns, unseen), of=of, top=top)

    def _batch(self, data: Any, missing_columns: str, unseen: str | None, edges: Any = None) -> Batch:
        if edges is None:
            batch, notes = table.parse(self.schema, data, missing_columns=missing_columns, unseen=unseen)
        else:
            batch, notes = self.read(data, edges=edges, missing_columns=missing_columns, unseen=unseen)
        if notes:
            first = notes[0]
            more = f" (and {len(notes) - 1} more such notes)" if len(notes) > 1 else ""
            warnings.warn(
                f"{first['field']}: {first['came']!r} {first['action']}{more}. "
                'Use model.read(data) to see all, or unseen="ignore" to silence this.',
                table.SchemaWarning,
                stacklevel=3,
            )
        return batch

    def fast(self, threads: int | None = 1) -> Model:
        """A copy for large batches of models with trees (extra "fast"); answers agree to float32. threads=None: all."""
        from everymodel.scoring.onnx import fast

        return fast(self, threads)

    # --- the file ---

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, all or nothing; an existing file stays whole if anything fails.

        Raises
        ------
        PackError
            when the file that would be written does not answer its probe rows as the model does.
        OSError
            when the disk is full or the folder cannot be written.
        """
        container.write(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The bytes of the model's file, proven to open and to answer alike."""
        from everymodel.core.version import __version__

        manifest = dict(self.manifest)
        manifest.setdefault("created", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        manifest.setdefault("everymodel", __version__)
        manifest.setdefault("contains_training_rows", False)
        manifest.update(task=self.task, classes=list(self.classes), schema=self.schema.to_dict())
        spec, arrays = self.pack.spec()
        raw = container.encode(manifest, spec, arrays, probe.make(self.schema, self.pack))
        try:
            open_bytes(raw)
        except ModelFileError as error:
            raise PackError(f"The model cannot be saved, because its file would not open again: {error}") from error
        return raw


def load(path: str | os.PathLike[str], engine: str = "numpy") -> Model:
    """Open a .em file. Nothing in it is executed.

    Parameters
    ----------
    engine : "numpy" (exact), or "onnx" for large batches of models with trees (extra "fast", see `Model.fast`).

    Raises
    ------
    ModelFileError
        for damaged, hostile or later files, and when the probe rows are answered differently here.
    """
    if engine not in ("numpy", "onnx"):
        raise ParameterError(f'engine={engine!r} is not possible: expected "numpy" or "onnx".')
    model = _open(container.read(path))
    return model.fast() if engine == "onnx" else model


def open_bytes(raw: bytes) -> Model:
    """`load` for the bytes of a file."""
    return _open(container.decode(raw))


def _open(contents: container.Contents) -> Model:
    manifest = contents.manifest
    told = manifest.get("schema")
    if not isinstance(told, dict):
        raise ModelFileError("The file has no schema.")
    schema = Schema.from_dict(told)
    try:
        pack = Pack.build(contents.spec, contents.arrays)
        probe.replay(schema, pack, contents.probe)
    except ModelFileError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        raise ModelFileError(f"The model in the file cannot be put together: {error!r}.") from error
    if schema.task in SERIES_TASKS:
        from everymodel.scoring.forecast import Forecaster

        made = Forecaster(schema, pack, manifest)
        made.told, made.past  # noqa: B018 - refused now rather than at the first answer
        return made
    if schema.task in (*STEP_TASKS, *WRITTEN_TASKS):
        from everymodel.scoring.words import WordsModel

        return WordsModel(schema, pack, manifest)
    if schema.task in PIXEL_TASKS:
        from everymodel.scoring.pixelwise import PixelwiseModel

        seen = PixelwiseModel(schema, pack, manifest)
        seen.check()
        return seen
    if schema.task in MADE_TASKS:
        from everymodel.scoring.generator import Generator

        made = Generator(schema, pack, manifest)
        made.step  # noqa: B018 - refused now rather than at the first sample
        return made
    if schema.task in ACT_TASKS:
        from everymodel.scoring.agent import Agent

        agent = Agent(schema, pack, manifest)
        agent.step  # noqa: B018 - refused now rather than at the first action
        return agent
    if any(node.step.word in ("graph_set_network", "graph_set_table") for node in pack.nodes):
        from everymodel.scoring.graph_sets import GraphSetModel

        whole = GraphSetModel(schema, pack, manifest)
        whole.check()
        return whole
    return Model(schema, pack, manifest)


# --- giving back what came in ----------------------------------------------------------------------------------------


def _array(labels: tuple[Any, ...]) -> np.ndarray:
    """Labels as an array of their own type: whole numbers stay numbers, mixed ones objects."""
    kinds = {type(label) for label in labels}
    if kinds <= {int} or kinds <= {float} or kinds <= {bool}:
        return np.array(labels)
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def _like(data: Any, values: np.ndarray, names: list[str]) -> Any:
    """(n,) or (n, t) values in the form of `data`."""
    if values.ndim == 2 and values.shape[1] > 1:
        return _like_frame(data, values, names)
    values = values.reshape(len(values))
    kind = table.form(data)
    if kind in ("row", "series"):
        return values[0].item() if isinstance(values[0], np.generic) else values[0]
    if kind == "rows":
        return values.tolist()
    if kind == "pandas":
        return sys.modules["pandas"].Series(values, index=data.index, name=names[0])
    if kind == "polars":
        return sys.modules["polars"].Series(names[0], values.tolist())
    if kind == "arrow":
        return sys.modules["pyarrow"].array(values.tolist())
    return values


def _like_frame(data: Any, values: np.ndarray, names: list[Any]) -> Any:
    """(n, k) values in the form of `data`, with a name for each column."""
    kind = table.form(data)
    if kind in ("row", "series"):
        return dict(zip(names, values[0].tolist(), strict=True))
    if kind == "rows":
        return [dict(zip(names, row, strict=True)) for row in values.tolist()]
    if kind == "pandas":
        return sys.modules["pandas"].DataFrame(values, index=data.index, columns=names)
    if kind in ("polars", "arrow"):
        columns = {str(name): values[:, i] for i, name in enumerate(names)}
        return sys.modules["polars"].DataFrame(columns) if kind == "polars" else sys.modules["pyarrow"].table(columns)
    return values


def to_json(value: Any) -> str:
    """JSON of an answer, as `card` and `explain` give it."""
    return json.dumps(container.clean(value))
