"""Plumbing of graph networks: what comes in (a graph, several graphs, a table), training, answers in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import CapabilityError, DataError, ParameterError, TargetError
from everymodel.core.graph import Graph, dense, joined, labelled, mask_of, spread
from everymodel.models._place import codes_of
from everymodel.models.neural._graph_features import SCALINGS, prepared, turned
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Affine
from everymodel.scoring.layers.graph import Signal
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.network import Network
from everymodel.training.blocks.feed import role
from everymodel.training.blocks.graph import GraphNet, GraphPool, features
from everymodel.training.estimator import NetworkClassifier, NetworkEstimator, NetworkRegressor, set_aside
from everymodel.training.graphs import Edges, Graphs, Neighbors, field
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Source, Whole

_LOSSES = {"softmax": F.cross_entropy, "sigmoid": F.binary_cross_entropy_with_logits, "square": F.mse_loss}


class _Fit(Objective):
    def __init__(self, net: nn.Module, loss: str):
        super().__init__(net=net)
        self.loss = _LOSSES[loss]

    def step(self, nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        out = nets["net"](batch.x, batch.hops, batch.sizes)
        return {"net": self.loss(out if batch.rows is None else out[batch.rows], batch.y)}


class GraphEstimator(NetworkEstimator):
    """What graph networks share. Subclasses give `_layer(inputs, outputs, place)` and `_how`, the matrix of sums.

    Attributes
    ----------
    net_ : the torch module. network_ : the same in numpy, with what prepares the features. form_ : "graph", "graphs"
    or "table". graph_ : the graph that was learnt from. history_, seed_, n_features_in_.
    """

    _how = "symmetric"
    _decays: dict[str, float] = {}  # noqa: RUF012 - factors of the decay by role

    def __init__(
        self,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.6,
        scaling: str = "auto",
        pooling: str = "mean",
        neighbors: int | None = None,
        epochs: int = 100,
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
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.scaling = scaling
        self.pooling = pooling
        self.neighbors = neighbors
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, train_mask: Any = None) -> Any:
        """Learn from a Graph and labels of its nodes, from a list of Graphs and a label for each, or from a table.

        Parameters
        ----------
        X : Graph; list of Graph; or a matrix (n, p), whose rows are then nodes without edges.
        y : (n,) labels in the order of the nodes, or a dict from id to label. In a graph None, NaN, and for whole
            numbers -1 (where there are two classes besides it) mark nodes without a label.
        train_mask : (n,) bool, nodes of a graph whose labels may be used; all that have one by default.
        """
        return self.train(X, y, train_mask)

    def train(
        self,
        X: Any,
        y: Any,
        mask: Any = None,
        valid: Any = None,
        stop: Callable[[], bool] | None = None,
        threads: int | None = None,
    ) -> Any:
        """Like `fit`; keeps the best epoch on `valid`, a mask of nodes or (X, y), and ends once `stop()` is true."""
        if self.scaling not in SCALINGS:
            raise ParameterError(f"scaling={self.scaling!r} is unknown: expected one of {', '.join(SCALINGS)}.")
        self._seed()
        many = isinstance(X, list | tuple) and bool(X) and all(isinstance(g, Graph) for g in X)
        self.form_ = "graph" if isinstance(X, Graph) else "graphs" if many else "table"
        self.graph_, self._known = (X, None) if self.form_ == "graph" else (None, None)
        if many:
            return self._train_graphs(list(X), y, valid, stop, threads)
        if self.form_ == "graph":
            adjacency, x = X.adjacency, X.features
            rows, y = labelled(X, y, mask, isinstance(self, ClassifierMixin))
            checked = None
            if valid is not None:  # nodes that choose the epoch teach nothing
                held = np.zeros(len(X), bool)
                held[mask_of(valid, len(X), "valid")] = True
                checked = rows[held[rows]], y[held[rows]]
                rows, y = rows[~held[rows]], y[~held[rows]]
            if not len(rows):
                raise TargetError("No node has a label to learn from.")
            self.n_features_in_ = len(X) if x is None else x.shape[1]
        else:
            if mask is not None:
                raise ParameterError("train_mask is for a Graph; of a table, pass the rows that may be learnt from.")
            X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
            adjacency, x, rows, checked = Signal(X).adjacency, X, np.arange(len(X)), None
        goals = self._targets(y)
        own = Signal(self._ready(x, len(adjacency)), adjacency)
        if self.validation_fraction and valid is None and len(rows) > 1:
            generator = np.random.default_rng(self.seed_)
            codes = goals if goals.dtype == np.int64 else None
            kept, aside = set_aside(len(rows), self.validation_fraction, generator, codes)
            checked, rows, goals = (rows[aside], goals[aside]), rows[kept], goals[kept]
        elif checked is not None:
            checked = checked[0], self._targets(checked[1], learn=False)
        self._build(own.x.shape[1], None)
        layers, matrix = len(self.net_.layers), own.by(self._how)
        edges, inputs = Edges(matrix, self._how != "mean"), features(own.x)
        nodes, y = torch.as_tensor(rows), torch.as_tensor(goals)
        if self.batch_size is None:
            source: Source = Whole(field(edges, inputs, y, nodes, layers))
        else:
            most = [int(self.neighbors or 10)] * layers
            source = Neighbors(edges, inputs, y, nodes, most, self.batch_size)
        judged: Source | None = None
        if checked is not None and len(checked[0]):
            judged = Whole(field(edges, inputs, torch.as_tensor(checked[1]), torch.as_tensor(checked[0]), layers))
        elif valid is not None and self.form_ == "table":
            other = Signal(turned(np.asarray(valid[0], dtype=np.float64), self.before_))
            goals = torch.as_tensor(self._targets(valid[1], learn=False))
            side = Edges(other.by(self._how), self._how != "mean")
            judged = Whole(field(side, features(other.x), goals, torch.arange(len(other)), layers))
        return self._run(source, judged, stop, threads)

    def _train_graphs(self, graphs: list[Graph], y: Any, valid: Any, stop: Any, threads: Any) -> Any:
        y = np.asarray(y)
        if len(y) != len(graphs):
            raise TargetError(f"There are {len(graphs)} graphs and {len(y)} labels; give one for each graph.")
        _, x, _ = joined(graphs)
        if x is None:
            raise DataError("Graphs to be told apart need features of their nodes, such as the number of edges.")
        self.n_features_in_ = x.shape[1]
        goals = self._targets(y)
        x = dense(self._ready(x, len(x)))
        self._build(x.shape[1], self.pooling)
        chosen, aside = np.arange(len(graphs)), None
        if self.validation_fraction and valid is None and len(graphs) > 1:
            codes = goals if goals.dtype == np.int64 else None
            chosen, aside = set_aside(len(graphs), self.validation_fraction, np.random.default_rng(self.seed_), codes)
        source = self._graphs([graphs[i] for i in chosen], goals[chosen])
        judged = None if aside is None else self._graphs([graphs[i] for i in aside], goals[aside])
        if valid is not None:
            judged = self._graphs(list(valid[0]), self._targets(valid[1], learn=False))
        return self._run(source, judged, stop, threads)

    def _graphs(self, graphs: list[Graph], goals: np.ndarray) -> Graphs:
        adjacency, x, sizes = joined(graphs)
        x = dense(turned(x, self.before_))
        matrix = spread(adjacency, self._how)
        return Graphs(matrix, x, sizes, torch.as_tensor(goals), len(self.net_.layers), self.batch_size or 32)

    def _run(self, source: Source, judged: Source | None, stop: Any, threads: Any) -> Any:
        plan = Optimizer(self.optimizer, self.learning_rate, self.weight_decay, decays=self._decays)
        self._train(_Fit(self.net_, self._loss), source, valid=judged, stop=stop, threads=threads, optimizers=plan)
        self.net_.cpu()
        self.network_ = self.net_.layer(self.before_, self._after())
        return self

    def _ready(self, x: Any, n: int) -> Any:
        x, self.before_ = prepared(x, n, self.scaling)
        return x

    def _after(self) -> list[Layer]:
        return []

    # --- the network ---

    def _layer(self, inputs: int, outputs: int, last: bool) -> nn.Module:
        raise NotImplementedError

    def _width(self, outputs: int) -> int:
        """Numbers that a hidden layer of `outputs` gives."""
        return outputs

    def _build(self, inputs: int, pooling: str | None) -> None:
        hidden = [int(w) for w in self.hidden]
        if pooling is not None and not hidden:
            raise ParameterError("hidden=() leaves nothing to pool: graphs need one hidden layer at least.")
        with self._initial():
            layers, p = [], inputs
            for width in hidden:
                layers.append(self._layer(p, width, False))
                p = self._width(width)
            pool = head = None
            if pooling is None:
                layers.append(self._layer(p, self._outputs, True))
            else:
                pool, head = GraphPool(pooling, p), nn.Linear(p, self._outputs)
            for weight in layers[0].parameters():
                if weight.ndim > 1 and getattr(weight, "role", None) is None:
                    role(weight, "first")
            self.net_ = GraphNet(layers, self.activation, self.dropout, pool, head)

    # --- answers ---

    def _raw(self, X: Any) -> np.ndarray:
        """What the last layer says, (n, k), in float64."""
        check_is_fitted(self, "network_")
        if self.form_ == "table" and not isinstance(X, Graph):
            return self.network_(validate_data(self, X, dtype=np.float64, reset=False))
        if self.form_ == "graphs":
            graphs = [X] if isinstance(X, Graph) else list(X if X is not None else [])
            if not graphs or not all(isinstance(g, Graph) for g in graphs):
                raise DataError("This model was fitted on graphs, so it answers a list of Graphs.")
            adjacency, x, sizes = joined(graphs)
            return self.network_(Signal(self._checked(x), adjacency, sizes))
        if isinstance(X, Graph) and X is not self.graph_:
            return self.network_(Signal(self._checked(X.features), X.adjacency))
        if self._known is None:
            self._known = self.network_(Signal(self.graph_.features, self.graph_.adjacency))
        if X is None or isinstance(X, Graph):
            return self._known
        ids = np.asarray(X, dtype=None if isinstance(X, np.ndarray) else object)
        if ids.ndim > 1:
            raise DataError(
                "Ask for nodes by a list of ids, or give a Graph. For rows of features, make a Graph of them."
            )
        places = self.graph_.places(ids)
        if (places < 0).any():
            strange = ids[places < 0].tolist()
            raise DataError(
                f"{len(strange)} nodes are not in the graph that was learnt from, such as {strange[0]!r}. To judge new "
                "nodes, give a Graph with their edges and features: model.predict(graph)."
            )
        return self._known[places]

    def _checked(self, x: Any) -> Any:
        if x is None or (self.form_ == "graph" and self.graph_.features is None):
            raise CapabilityError("Without features of nodes only the nodes learnt from can be judged.")
        if x.shape[1] != self.n_features_in_:
            raise DataError(f"Nodes have {x.shape[1]} features, and {self.n_features_in_} were learnt from.")
        return x

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        return tags


class GraphClassifier(NetworkClassifier, GraphEstimator):
    """The classifier's side: classes_, predict, predict_proba."""

    def predict_proba(self, X: Any = None) -> np.ndarray:
        """Probabilities (n, k): of all nodes learnt from, of those with the ids X, or of a new Graph or table X."""
        raw = self._raw(X)
        return Network(self.network_, "probabilities", self._loss).answered(raw)

    def predict(self, X: Any = None) -> np.ndarray:
        """The most probable class of each (n,), or 0/1 for each label (n, k); X as in `predict_proba`."""
        raw = self._raw(X)
        return (raw > 0).astype(int) if self.coding_.several else self.classes_[raw.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class GraphRegressor(NetworkRegressor, GraphEstimator):
    """The regressor's side: a target of mean 0 and spread 1 is learnt."""

    def _ready(self, x: Any, n: int) -> Any:
        x, self.before_ = prepared(x, n, self.scaling)
        return x

    def _after(self) -> list[Layer]:
        return [Affine(self.scale_, self.offset_)]

    def predict(self, X: Any = None) -> np.ndarray:
        """Numbers (n,) or (n, t): of all nodes learnt from, of those with the ids X, or of a new Graph or table X."""
        raw = self._raw(X)
        return raw if self.many_ else raw[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def fit(
    model: Any,
    X: Any,
    y: Any,
    *,
    valid: Any = None,
    stop: Callable[[], bool] | None = None,
    threads: int = 1,
    native: Sequence[int] = (),
) -> Any:
    """Train; keep the best epoch on `valid`, end early when `stop` says so."""
    return model.train(X, y, None, valid, stop, threads)


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The fitted model as a scoring step; one fitted on a graph answers ids of nodes and holds the graph, one fitted on
    graphs answers graphs and holds none."""
    settings: dict[str, Any] = {"gives": "value"}
    if hasattr(model, "classes_"):
        settings = {"gives": "probabilities", "link": model._loss}
        if not model.coding_.several:
            codes, k = codes_of(model, n_classes)
            if len(codes) != k:
                settings |= {"places": codes.astype(np.int32), "classes": k}
    if model.form_ == "graphs":
        from everymodel.scoring.steps.graph_sets import GraphSetNetwork

        return GraphSetNetwork(model.network_, precision="float64", **settings)
    if model.form_ == "table":
        return Network(model.network_, precision="float64", **settings)
    from everymodel.scoring.steps.graph_nodes import GraphNodes

    return GraphNodes.of(model.network_, model.graph_.features, model.graph_.adjacency, **settings)
