"""Graph convolutional networks (Kipf and Welling 2017)."""

from __future__ import annotations

from torch import nn

from everymodel.models.neural._graph import GraphClassifier, GraphEstimator, GraphRegressor, fit, pack
from everymodel.training.blocks.graph import GraphConvolution

__all__ = ["GraphConvolutionClassifier", "GraphConvolutionRegressor", "fit", "pack"]

CARD = {
    "name": "graph_convolution",
    "title": "Graph convolutional network",
    "summary": "Each node's numbers become a weighted mean of its own and its neighbours', layer by layer.",
    "choose": "Nodes of a graph whose neighbours tend to be alike (papers that cite, people who know each other).",
    "avoid": "A table without edges, where it is no more than a small feed-forward network.",
    "gives": ["probabilities"],
    "needs": {"scaling": "standard", "package": "torch"},
    "cost": {"scale": 0.05, "rows_power": 0.3, "columns_power": 0.2},
    "references": ["Kipf and Welling (2017), Semi-supervised classification with graph convolutional networks. ICLR."],
    "advice": ["graph"],
    "parameters": {
        "dropout": {"default": 0.6, "text": "Share of numbers left out in each step."},
        "epochs": {"default": 100, "text": "Passes over the graph."},
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
            "class": "everymodel.models.neural.graph_convolution:GraphConvolutionClassifier",
            "tasks": ["binary", "multiclass", "multilabel"],
            "presets": [{}],
            "tiny": [{"hidden": [16], "epochs": 30, "dropout": 0.0, "learning_rate": 0.1, "random_state": 0}],
        },
        "regressor": {
            "class": "everymodel.models.neural.graph_convolution:GraphConvolutionRegressor",
            "tasks": ["regression"],
            "gives": ["multioutput"],
            "presets": [{}],
            "tiny": [{"hidden": [16], "epochs": 30, "dropout": 0.0, "learning_rate": 0.1, "random_state": 0}],
        },
    },
}


class _Convolution(GraphEstimator):
    _how = "symmetric"
    _decays = {"matrix": 0.0}  # noqa: RUF012 - as in the paper, only the first layer's weights are pulled

    def _layer(self, inputs: int, outputs: int, last: bool) -> nn.Module:
        return GraphConvolution(inputs, outputs)


class GraphConvolutionClassifier(GraphClassifier, _Convolution):
    """A graph convolutional network for classes: H' = s(D^-1/2 (A + I) D^-1/2 H W).

    Of nodes (fit a Graph and labels of some of its nodes), of whole graphs (fit a list of Graphs), or of rows of a
    table, which are nodes without edges. The defaults are the paper's
    recipe with a wider hidden layer, more dropout and half the epochs.

    Parameters
    ----------
    hidden : neurons of each hidden layer; a network of L layers sees as many edges far (hidden layers and one more).
    activation, dropout, learning_rate, weight_decay, optimizer, schedule, epochs : see the card.
    scaling : "auto": counts (sparse, none below zero) as shares of their row, else columns to mean 0 and spread 1.
    pooling : "mean", "max" or "attention", where whole graphs are judged.
    batch_size, neighbors : for graphs beyond memory: nodes per step, and how many neighbours of each are drawn.
    patience, validation_fraction : the best epoch on labelled nodes set aside.
    budget : seconds or text such as "30s". device, checkpoint, random_state, verbose : as for all networks.

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
    >>> model = GraphConvolutionClassifier(epochs=50, random_state=0).fit(graph, ["a", None, None, "b", None, None])
    >>> model.predict([1, 4]).tolist()
    ['a', 'b']
    """


class GraphConvolutionRegressor(GraphRegressor, _Convolution):
    """A graph convolutional network for numbers; parameters as GraphConvolutionClassifier.

    Examples
    --------
    >>> from everymodel.core.graph import Graph
    >>> graph = Graph([(0, 1), (1, 2), (3, 4), (4, 5)])
    >>> y = [0.0, None, 0.0, 9.0, None, 9.0]
    >>> model = GraphConvolutionRegressor(dropout=0.0, random_state=0).fit(graph, y)
    >>> bool(model.predict([1])[0] < 3 < 6 < model.predict([4])[0])
    True
    """
