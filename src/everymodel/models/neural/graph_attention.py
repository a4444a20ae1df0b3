"""Graph attention networks (Velickovic et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from everymodel.models.neural._graph import GraphClassifier, GraphEstimator, GraphRegressor, fit, pack
from everymodel.training.blocks.graph import GraphAttention

__all__ = ["GraphAttentionClassifier", "GraphAttentionRegressor", "fit", "pack"]

CARD = {
    "name": "graph_attention",
    "title": "Graph attention network",
    "summary": "Each node sums itself and its neighbours by shares that are learnt from both.",
    "choose": "Graphs in which some neighbours matter more than others.",
    "avoid": "Very large graphs and quick answers: it takes several times as long as a graph convolution.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "package": "torch"},
    "cost": {"scale": 0.3, "rows_power": 0.3, "columns_power": 0.2},
    "references": ["Velickovic et al. (2018), Graph attention networks. ICLR."],
    "advice": ["graph"],
    "parameters": {
        "heads": {
            "type": "int",
            "default": 8,
            "low": 1,
            "high": 64,
            "text": "Ways of attending side by side in hidden layers.",
        },
        "dropout": {"default": 0.6, "text": "Share of numbers left out in each step."},
        "epochs": {"default": 200, "text": "Passes over the graph."},
        "batch_size": {
            "default": None,
            "text": "Nodes (or graphs) per step, with a sample of what they hear; none: the whole graph.",
        },
        "neighbors": {},
        "scaling": {},
        "activation": {
            "type": "choice",
            "default": "elu",
            "choices": ["relu", "elu", "tanh", "gelu", "silu", "leaky_relu", "identity"],
            "tune": False,
            "text": "The bend between layers.",
        },
        "pooling": {},
        "learning_rate": {"default": 0.005},
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
            "class": "everymodel.models.neural.graph_attention:GraphAttentionClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{}],
            "tiny": [
                {"hidden": [8], "heads": 2, "epochs": 30, "dropout": 0.0, "learning_rate": 0.1, "random_state": 0}
            ],
        },
        "regressor": {
            "class": "everymodel.models.neural.graph_attention:GraphAttentionRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "presets": [{}],
            "tiny": [
                {"hidden": [8], "heads": 2, "epochs": 30, "dropout": 0.0, "learning_rate": 0.1, "random_state": 0}
            ],
        },
    },
}


class _Attention(GraphEstimator):
    _how = "self"

    def __init__(
        self,
        hidden: Sequence[int] = (8,),
        heads: int = 8,
        activation: str = "elu",
        dropout: float = 0.6,
        scaling: str = "auto",
        pooling: str = "mean",
        neighbors: int | None = None,
        epochs: int = 200,
        batch_size: int | None = None,
        learning_rate: float = 0.005,
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
        self.heads = heads

    def _layer(self, inputs: int, outputs: int, last: bool) -> nn.Module:
        heads, merge = (1, "mean") if last else (int(self.heads), "concat")
        return GraphAttention(inputs, outputs, heads, merge, self.dropout)

    def _width(self, outputs: int) -> int:
        return outputs * int(self.heads)


class GraphAttentionClassifier(GraphClassifier, _Attention):
    """A graph attention network for classes: neighbours are summed by learnt shares, in several heads.

    Of nodes (fit a Graph and labels of some of its nodes), of whole graphs (fit a list of Graphs), or of rows of a
    table, which are nodes without edges.

    Parameters
    ----------
    hidden : neurons of each head of each hidden layer.
    heads : ways of attending side by side in hidden layers; the last layer has one.
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
    >>> graph = Graph([(0, 1), (1, 2), (3, 4), (4, 5)])
    >>> y = ["a", None, None, "b", None, None]
    >>> model = GraphAttentionClassifier(dropout=0.0, epochs=50, random_state=0).fit(graph, y)
    >>> model.predict([1, 4]).tolist()
    ['a', 'b']
    """


class GraphAttentionRegressor(GraphRegressor, _Attention):
    """The same for numbers; parameters as GraphAttentionClassifier."""
