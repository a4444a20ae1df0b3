"""The model as users hold it: the answer machine, plus what needs scikit-learn or pandas (evaluation, the report)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from everymodel import scoring
from everymodel.core.errors import TargetError
from everymodel.core.schema import (
    ACT_TASKS,
    FREE_TASKS,
    MADE_TASKS,
    PIXEL_TASKS,
    SERIES_TASKS,
    STEP_TASKS,
    WRITTEN_TASKS,
)

if TYPE_CHECKING:
    from everymodel.workflow.evaluate.feature_maps import FeatureMaps
    from everymodel.workflow.evaluate.trace_page import Trace
    from everymodel.workflow.types import Evaluation
    from everymodel.workflow.unsupervised.drift import Drift


class Model(scoring.Model):
    """A `scoring.Model` that can also evaluate itself on labelled rows."""

    def evaluate(self, data: Any, target: str | None = None, metric: str | None = None) -> Evaluation:
        """Every metric with its interval on labelled rows that the model has not seen.

        Parameters
        ----------
        data : anything `everymodel.read` takes; must hold the target column(s).
        target : name of the target column; by default the one the model was fitted with. A model without a target is
            held against this column: agreement of groups with labels, or whether the odd rows are the known ones.
        metric : headline metric; by default the one the model was chosen by.

        Raises
        ------
        TargetError
            When the target column is missing or holds labels that the model does not know.
        """
        from everymodel.scoring import table
        from everymodel.workflow.evaluate import evaluate
        from everymodel.workflow.read import read

        frame = read(data).frame
        if self.task in FREE_TASKS:
            from everymodel.workflow.unsupervised.against import against

            return against(self, frame, target)
        names = [target] if target else [c.name for c in self.schema.columns if c.role == "target"]
        missing = [n for n in names if n not in frame.columns]
        if missing:
            raise TargetError(
                f"To evaluate, the data must hold the target column {missing[0]!r}; "
                f"it has {', '.join(map(str, frame.columns[:20]))}."
            )
        values = frame[names[0]] if len(names) == 1 else frame[names]
        known = values.notna() if len(names) == 1 else values.notna().all(axis=1)
        frame, values = frame[known], values[known]
        if not len(frame):
            raise TargetError(f"No row has a value in the target column {names[0]!r}, so there is nothing to evaluate.")
        y = table.parse_target(self.schema, values)
        batch, _ = table.parse(self.schema, frame)
        return evaluate(
            self.task,
            y,
            self.answers(batch),
            classes=self.classes,
            metric=metric or self.manifest.get("metric"),
            source="data",
            baselines={},
            threshold=self.manifest.get("threshold"),
        )

    def trace(self, data: Any, y: Any = None, *, lr: float | None = 0.01, member: int = 0) -> Trace:
        """Every number of one row's way through a network: preparation, z, a, loss, delta, gradients, new weights.

        For feed-forward networks, and for linear and logistic models, which are networks of one layer.

        Parameters
        ----------
        data : one row: a dict, a Series, or a frame of one row.
        y : its target; by default taken from the target column(s) of `data`. Without one there is no loss.
        lr : length of the step of plain gradient descent whose new weights are shown; None for none.
        member : which network, where the model averages several; the trace lists them all.

        Returns
        -------
        A trace: print it, or take `frame()` (a long table), `html(path)` (a page), or its attributes.

        Raises
        ------
        CapabilityError
            for models that do not answer by weighted sums.
        """
        from everymodel.scoring import table
        from everymodel.scoring.trace import trace
        from everymodel.workflow.evaluate.trace_page import Trace

        batch, _ = table.parse(self.schema, data)
        names = [c.name for c in self.schema.columns if c.role == "target"]
        if y is None:
            y = _held(data, names)
        code = None
        if y is not None:
            one = [y] if len(names) <= 1 else {n: [y[n]] for n in names} if hasattr(y, "keys") else [list(y)]
            code = table.parse_target(self.schema, one)[0]
        made = Trace.of(trace(self, batch, code, lr=lr, member=member, otherwise=_differentiated))
        made.target = y
        return made

    def layers(self, data: Any, target: Any = None) -> FeatureMaps:
        """What each layer of a convolutional network makes of one image (or signal), and where it looked.

        Parameters
        ----------
        data : an image (a path, bytes, an array, a Pillow image), or one row as a dict or a frame.
        target : class that the heat map is about; by default the one that is answered.

        Returns
        -------
        Feature maps: `save(path)` or `figure()` draws them; iterate for each layer's path, title and values (h, w, c).

        Raises
        ------
        CapabilityError
            for models without a convolution.
        """
        from everymodel.workflow.evaluate.feature_maps import feature_maps

        return feature_maps(self, data, target)

    def drift(self, data: Any) -> Drift:
        """How groups have changed in new rows: shares, distances, centres, a new group; task "cluster" only.

        Raises
        ------
        CapabilityError
            for models of other tasks.
        """
        from everymodel.workflow.unsupervised.drift import drift

        return drift(self, data)


def _differentiated(layer: Any, x: Any, d: Any) -> Any:
    """Gradients of layers without a backward pass in numpy, by torch where that is installed."""
    from everymodel.core.optional import installed

    if not installed("torch"):
        raise NotImplementedError
    from everymodel.training.blocks.differentiated import gradients

    return gradients(layer, x, d)


def _held(data: Any, names: list[str]) -> Any:
    """The target of one row that holds it, else None: a value, or a dict of several."""
    if not names or not hasattr(data, "__getitem__") or not hasattr(data, "keys"):
        return None
    try:
        found = {n: data[n] for n in names}
    except (KeyError, IndexError):
        return None
    found = {n: v.iloc[0] if hasattr(v, "iloc") else v for n, v in found.items()}
    if any(v is None or v != v for v in found.values()):
        return None
    return found[names[0]] if len(names) == 1 else found


def load(path: str | os.PathLike[str]) -> Model:
    """Open a .em file. Nothing in it is executed; a damaged or hostile file raises ModelFileError."""
    plain = scoring.load(path)
    if plain.task in SERIES_TASKS:
        from everymodel.workflow.forecast.model import ForecastModel

        return ForecastModel(plain.schema, plain.pack, plain.manifest)  # type: ignore[return-value]
    if plain.task in MADE_TASKS:
        from everymodel.workflow.generate.model import GenerativeModel

        return GenerativeModel(plain.schema, plain.pack, plain.manifest)  # type: ignore[return-value]
    if plain.task in ACT_TASKS:
        from everymodel.workflow.reinforce.model import AgentModel

        return AgentModel.opened(plain)  # type: ignore[return-value]
    if plain.task in (*STEP_TASKS, *WRITTEN_TASKS, *PIXEL_TASKS):  # they evaluate themselves in numpy
        return plain  # type: ignore[return-value]
    if type(plain) is not scoring.Model:  # whole graphs
        from everymodel.workflow.graphs.model import GraphsModel

        return GraphsModel(plain.schema, plain.pack, plain.manifest)
    return Model(plain.schema, plain.pack, plain.manifest)
