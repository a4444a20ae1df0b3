"""A model of whole graphs as users hold it: the answer machine, plus its evaluation."""

from __future__ import annotations

from typing import Any

from everymodel.core.errors import CapabilityError, TargetError
from everymodel.scoring import cells, table
from everymodel.scoring.graph_sets import GraphSet, GraphSetModel
from everymodel.workflow.model import Model
from everymodel.workflow.types import Evaluation


class GraphsModel(GraphSetModel, Model):
    """A `scoring.graph_sets.GraphSetModel` that can also evaluate itself on labelled graphs."""

    def evaluate(  # type: ignore[override]
        self, data: Any, target: str | None = None, metric: str | None = None, *, edges: Any = None
    ) -> Evaluation:
        """Every metric with its interval, on labelled graphs that the model has not seen.

        Parameters
        ----------
        data : anything `everymodel.read` takes: a row for each node, with its graph and the graph's label.
        target : name of the column of labels; by default the one the model was fitted with.
        metric : headline metric; by default the one the model was chosen by.
        edges : anything `everymodel.read` takes, or pairs of ids.
        """
        from everymodel.workflow.evaluate import evaluate
        from everymodel.workflow.read import read

        frame = read(data).frame
        if not (edges is None or isinstance(edges, list)):
            edges = read(edges).frame
        name = target or self.targets[0]
        if name not in frame.columns:
            raise TargetError(f"To evaluate, the nodes must hold {name!r}, the label of their graph.")
        labels = labels_of(frame, self.told["graph"], name)
        known = cells.as_text(frame[self.told["graph"]])
        there = [word in labels for word in known.tolist()]
        batch, _ = self.read(frame[there], edges=edges)
        assert isinstance(batch, GraphSet)
        y = table.parse_target(self.schema, [labels[word] for word in batch.names])
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

    def trace(self, *args: Any, **ignored: Any) -> Any:
        raise CapabilityError("Answers about whole graphs are not traced.")

    layers = drift = trace


def labels_of(frame: Any, graph: str, target: str) -> dict[str, Any]:
    """The label of each graph that has one, in the order in which graphs first come.

    Raises
    ------
    TargetError
        where nodes of one graph have different labels, or no graph has one.
    """
    known = frame[target].notna().to_numpy()
    words = cells.as_text(frame[graph])[known]
    labels: dict[str, Any] = {}
    for word, label in zip(words.tolist(), frame[target][known].tolist(), strict=True):
        if word and labels.setdefault(word, label) != label:
            raise TargetError(
                f"Nodes of the graph {word!r} have different values in {target!r}, such as {labels[word]!r} and "
                f"{label!r}. A whole graph has one; to predict nodes, leave graph= (--graph) out."
            )
    if not labels:
        raise TargetError(f"No graph has a value in the target column {target!r}.")
    return labels
