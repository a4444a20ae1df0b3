"""GraphSAGE networks (Hamilton, Ying and Leskovec 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from everymodel.core.errors import ParameterError
from everymodel.models.neural._graph import GraphClassifier, GraphEstimator, GraphRegressor, fit, pack
from everymodel.training.blocks.graph import GraphSAGE

__all__ = ["GraphSAGEClassifier", "GraphSAGERegressor", "fit", "pack"]

CARD = {
    "name": "graph_sage",
    "title": "GraphSAGE",
    "summary": "Each node joins its own numbers with the mean or the largest of its neighbours.",
    "choose": "Large graphs (it learns from samples of neighbours), new nodes later, edges between unlike nodes.",
    "avoid": "Few labels on nodes that resemble their neighbours: a graph convolution has fewer weights to learn.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "package": "torch"},
    "cost": {"scale": 0.06, "rows_power": 0.3, "columns_power": 0.2},
    "references": ["Hamilton, Ying and Leskovec (2017), Inductive representation learning on large graphs. NeurIPS."],
    "advice": ["graph"],
    "parameters": {
        "combine": {
            "type": "choice",
            "default": "mean",
            "choices": ["mean", "max"],
            "text": "Neighbours by their mean, or by the largest of what a layer makes of them.",
        },
        "dropout": {"default": 0.5, "text": "Share of numbers left out in each step."},
        "epochs": {"default": 200, "text": "Passes over the graph."},
        "batch_size": {
            "default": None,
            "text": "Nodes (or graphs) per step, with a sample of what they hear; none: the whole graph.",
        },
        "neighbors": {},
        "scaling": {},
        "activation": {
            "type": "choice",
            "default": "relu",
            "choices": ["relu", "elu", "tanh", "gelu", "silu", "leaky_relu", "identity"],
            "tune": False,
            "text": "The bend between layers.",
        },
        "pooling": {},
        "learning_rate": {"default": 0.01},
        "weight_decay": {"default": 0.0005},
        "optimizer": {"default": "adam"},
        "schedule": {},
        "patience": {},
        "validation_fraction": {
            "default": 0.0,
            "text": "Share of labelled nodes that choose the best epoch and teach nothing.",
        },
        "device": {},
    },
    "classes": {
        "classifier": {
            "class": "everymodel.models.neural.graph_sage:GraphSAGEClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{}],
            "tiny": [{"hidden": [16], "epochs": 30, "dropout": 0.0, "learning_rate": 0.1, "random_state": 0}],
        },
        "regressor": {
            "class": "everymodel.models.neural.graph_sage:GraphSAGERegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "presets": [{}],
            "tiny": [{"hidden": [16], "epochs": 30, "dropout": 0.0, "learning_rate": 0.1, "random_state": 0}],
        },
    },
}


class _SAGE(GraphEstimator):
    _how = "mean"

    def __init__(
        self,
        hidden: Sequence[int] = (32,),
        combine: str = "mean",
        activation: str = "relu",
        dropout: float = 0.5,
        scaling: str = "auto",
        pooling: str = "mean",
        neighbors: int | None = None,
        epochs: int = 200,
        batch_size: int | None = None,
        learning_rate: float = 0.01,
        weight_decay: float = 5e-4,
        optimizer: str = "adam",
        schedule: str = "constant",
        patience: int | None = None,
        validation_fraction: float = 0.0,
        budget: Any = None,
        device: str = "auto",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        super().__init__(
            *(hidden, activation, dropout, scaling, pooling, neighbors, epochs, batch_size, learning_rate),
            *(weight_decay, optimizer, schedule, patience, validation_fraction, budget, device, checkpoint),
            *(random_state, verbose),
        )
        self.combine = combine

    def _layer(self, inputs: int, outputs: int, last: bool) -> nn.Module:
        if self.combine not in ("mean", "max"):
            raise ParameterError(f"combine={self.combine!r} is unknown: expected mean or max.")
        return GraphSAGE(inputs, outputs, self.combine)


class GraphSAGEClassifier(GraphClassifier, _SAGE):
    """A GraphSAGE network for classes: a node's own numbers, and its neighbours' combined, each with own weights.

    Of nodes (fit a Graph and labels of some of its nodes), of whole graphs (fit a list of Graphs), or of rows of a
    table, which are nodes without edges.

    Parameters
    ----------
    combine : "mean" of the neighbours, weighted by their edges, or "max" of relu(x W + b).
    batch_size, neighbors : nodes per step and neighbours drawn of each; without them the whole graph is one step.
    Others as in GraphConvolutionClassifier; see the card.

    Attributes
    ----------
    classes_, net_, network_, history_, graph_, n_features_in_

    Raises
    ------
    DataError, TargetError, ParameterError

    Examples
    --------
    >>> from everymodel.core.graph import Graph
    >>> graph = Graph([(0, 1), (1, 2), (3, 4), (4, 5)], features=[[1.0]] * 3 + [[2.0]] * 3)
    >>> y = ["a", None, None, "b", None, None]
    >>> model = GraphSAGEClassifier(dropout=0.0, epochs=50, random_state=0).fit(graph, y)
    >>> model.predict([1, 4]).tolist()
    ['a', 'b']
    """


class GraphSAGERegressor(GraphRegressor, _SAGE):
    """The same for numbers; parameters as GraphSAGEClassifier."""
