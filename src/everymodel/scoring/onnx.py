"""The optional fast engine for large batches: tree steps by whatever is quickest, where the last digits may differ.

Trees too large for the masks of the numpy engine (see walk.py) run in ONNX Runtime, on graphs made from the validated
arrays: nothing of it goes into a file, and a file never brings a graph of its own. ONNX Runtime gives its sums in
float32: answers agree to about seven digits (TOLERANCE). Symmetric trees are added in pairs, one lookup for two. Trees
with masks stay as they are: they are quicker than ONNX Runtime. Rows are shared out among threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import CapabilityError
from everymodel.core.optional import require
from everymodel.scoring import probe
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Sparse, Step
from everymodel.scoring.steps.combine import link
from everymodel.scoring.steps.trees import Oblivious, Trees

if TYPE_CHECKING:
    from everymodel.scoring.model import Model

TOLERANCE = 1e-5  # of the largest answer in a row
_PART = 4096  # nodes of trees that one operator holds: all rows pass through them while they are in the cache
_ROWS = 4096  # fewest rows that are worth a thread of their own
_PAIR_BLOCK = 1 << 17


class _Fast(Step):
    """A step of trees whose sums are made in another way."""

    word = "fast_trees"  # never registered: a file cannot name it

    def __init__(self, step: Trees | Oblivious, threads: int):
        self.step, self.threads = step, threads
        self.output = step.output  # type: ignore[misc]

    def __call__(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        step = self.step
        if isinstance(matrix, Sparse):
            matrix = matrix.toarray()
        raw = self.sums(matrix)
        if step.sigma != 1.0:
            raw = raw * step.sigma
        return link(raw, step.link, step.places, step.classes)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """Raw sums, (n,) for one output and (n, outputs) else."""
        raise NotImplementedError

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        raise CapabilityError("A fast model is not saved: save the model that it was made from.")


class SharedTrees(_Fast):
    """The numpy engine, which is exact, with the rows shared out among threads."""

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        return _share(self.step.sums, matrix, self.threads)


class PairedTrees(_Fast):
    """An Oblivious step of one output: neighbouring trees are one tree with the questions of both."""

    def __init__(self, step: Oblivious, threads: int):
        super().__init__(step, threads)
        depths = step.depths.tolist()
        self.features, self.borders = step.feature.tolist(), list(step.border)
        ends = np.cumsum(1 << step.depths.astype(np.int64))
        trees = [own[:, 0] for own in np.split(step.value, ends[:-1])]
        self.pairs = [tuple(depths[i : i + 2]) for i in range(0, len(depths), 2)]
        self.tables = [  # the first tree's leaf number stands in the high bits
            trees[i] if i + 1 == len(trees) else (trees[i][:, None] + trees[i + 1][None, :]).ravel()
            for i in range(0, len(trees), 2)
        ]
        self.nan_true = [] if step.nan_true is None else np.flatnonzero(step.nan_true).tolist()

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        total = _share(self._sums, matrix, self.threads) * self.step.scale  # type: ignore[union-attr]
        return total if self.step.bias is None else total + self.step.bias[0]  # type: ignore[union-attr]

    def _sums(self, x: np.ndarray) -> np.ndarray:
        blocks = [self._block(x[i : i + _PAIR_BLOCK]) for i in range(0, len(x), _PAIR_BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros(0)

    def _block(self, x: np.ndarray) -> np.ndarray:
        columns, n = x.T.astype(np.float32, order="C"), len(x)  # (features, n)
        for feature in self.nan_true:
            columns[feature, np.isnan(columns[feature])] = np.inf
        total, room, leaf = np.zeros(n), np.empty(n), np.empty(n, dtype=np.intp)
        first, second, both = np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, np.uint16)
        yes = np.empty(n, dtype=bool)
        stop = 0
        for pair, table in zip(self.pairs, self.tables):
            for depth, number in zip(pair, (first, second)):
                stop += depth
                if depth == 0:
                    number[:] = 0
                    continue
                top = stop - 1  # highest bit first: double and add
                np.greater(columns[self.features[top]], self.borders[top], out=number.view(bool))
                for question in range(top - 1, stop - depth - 1, -1):
                    np.greater(columns[self.features[question]], self.borders[question], out=yes)
                    np.add(number, number, out=number)
                    np.bitwise_or(number, yes.view(np.uint8), out=number)
            both[:] = first
            if len(pair) == 2:
                np.left_shift(both, pair[1], out=both)
                np.bitwise_or(both, second, out=both)
            leaf[:] = both
            table.take(leaf, out=room, mode="clip")
            total += room
        return total


class FastTrees(_Fast):
    """A Trees step whose sums come from an ONNX Runtime session."""

    def __init__(self, step: Trees, threads: int):
        super().__init__(step, threads)
        # Shares of two classes add up to one, so one column is enough: a quarter of the time less.
        self.shares = step.group is None and step.outputs == 2 and np.allclose(step.value.sum(axis=1), 1.0, 0, 1e-12)
        self.shares = bool(self.shares and step.base is None)
        self.session, self.x_type = _session(step, threads, self.shares)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        step: Any = self.step
        x = np.ascontiguousarray(matrix, dtype=self.x_type)
        total = self.session.run(None, {"x": x})[0].astype(np.float64)  # (n, outputs)
        if self.shares:
            total = np.column_stack([len(step.sizes) - total[:, 0], total[:, 0]])
        if step.base is not None:
            total += step.base
        if step.divide is not None:
            total /= step.divide
        return total[:, 0] if step.outputs == 1 else total


def _share(work: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, threads: int) -> np.ndarray:
    """`work(rows)`, in equal parts on as many threads as there are rows for. NumPy works without Python's lock."""
    parts = min(threads, len(rows) // _ROWS)
    if parts < 2:
        return work(rows)
    with ThreadPoolExecutor(parts) as pool:
        return np.concatenate(list(pool.map(work, np.array_split(rows, parts))))


def fast(model: Model, threads: int | None = 1) -> Model:
    """A copy of the model for large batches, see the module.

    Parameters
    ----------
    threads : processor cores that one call may use; None: all.

    Raises
    ------
    NotInstalledError
        without the extra "fast".
    CapabilityError
        when the model has no trees, or the answers to probe rows differ by more than TOLERANCE.
    """
    require("onnxruntime", "The fast engine")
    require("onnx", "The fast engine")
    threads = threads or os.cpu_count() or 1
    if not any(isinstance(node.step, Trees | Oblivious) for node in model.pack.nodes):
        raise CapabilityError("The fast engine runs trees; this model has none that it would make faster.")
    nodes = [Node(node.name, _faster(node.step, threads), node.inputs) for node in model.pack.nodes]
    made = type(model)(model.schema, Pack(nodes, model.pack.answer), model.manifest)
    batch = probe.batch(model.schema, 64, seed=3)
    expected, answers = model.answers(batch), made.answers(batch)
    size = np.maximum(np.abs(expected).max(axis=-1, keepdims=True) if expected.ndim > 1 else np.abs(expected), 1e-3)
    if bool((np.abs(answers - expected) > TOLERANCE * size).any()):
        raise CapabilityError(
            "The fast engine gives other answers to the probe rows than the model does; it is not used."
        )
    return made


def _faster(step: Step, threads: int) -> Step:
    """What is quickest, as measured by benchmarks/batch_scoring.py."""
    if isinstance(step, Oblivious) and step.outputs == 1 and int(step.depths.max()) <= 8:
        return PairedTrees(step, threads)
    if isinstance(step, Trees) and _suits(step):
        return FastTrees(step, threads)
    return SharedTrees(step, threads) if isinstance(step, Trees | Oblivious) and threads > 1 else step


def _suits(step: Trees) -> bool:
    """Whether ONNX Runtime can run the trees and is quicker: it has no sets of categories and no zero-as-missing."""
    if step.category is not None:
        return False
    if step.missing is not None and bool((step.missing >= 4).any()):
        return False
    return step._engine().masks is None


def _session(step: Trees, threads: int, shares: bool = False) -> tuple[Any, np.dtype]:
    """(session, dtype of its input). One operator for a few trees at a time, whose sums are added up.

    shares: only the second column of the leaves is summed.
    """
    onnx, runtime = require("onnx", "The fast engine"), require("onnxruntime", "The fast engine")
    from onnx import TensorProto, helper, numpy_helper

    fields, x_type = _trees(step, shares)
    outputs = 1 if shares else step.outputs
    sizes = step.sizes.astype(np.int64)
    part = np.cumsum(sizes) // _PART  # of each tree
    part = np.unique(part, return_inverse=True)[1]
    nodes = []
    for p in range(int(part.max()) + 1):
        mine = {}
        for name, values in fields.items():
            which = fields["nodes_treeids"] if name.startswith("nodes") else fields["target_treeids"]
            mine[name] = values[part[which] == p]
        values, weights = mine.pop("nodes_values"), mine.pop("target_weights")
        if x_type == np.float64:  # double needs the tensor form of these two attributes
            mine["nodes_values_as_tensor"] = numpy_helper.from_array(values.astype(np.float64))
            mine["target_weights_as_tensor"] = numpy_helper.from_array(weights.astype(np.float64))
        else:
            mine["nodes_values"] = values.astype(np.float32).tolist()
            mine["target_weights"] = weights.astype(np.float32).tolist()
        nodes.append(
            helper.make_node(
                "TreeEnsembleRegressor",
                ["x"],
                [f"y{p}"],
                domain="ai.onnx.ml",
                n_targets=outputs,
                aggregate_function="SUM",
                post_transform="NONE",
                **{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in mine.items()},
            )
        )
        nodes.append(helper.make_node("Add", [f"s{p - 1}", f"y{p}"], [f"s{p}"]) if p else _same("y0", "s0", helper))
    kind = TensorProto.DOUBLE if x_type == np.float64 else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("x", kind, [None, step.n_features])],
        [helper.make_tensor_value_info(f"s{int(part.max())}", TensorProto.FLOAT, [None, outputs])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    assert onnx is not None
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), x_type


def _same(source: str, name: str, helper: Any) -> Any:
    return helper.make_node("Identity", [source], [name])


def _trees(step: Trees, shares: bool) -> tuple[dict[str, np.ndarray], np.dtype]:
    """Attributes of the operator over all trees, and the dtype of its input."""
    feature = step.feature.astype(np.int64)
    nodes = len(feature)
    sizes = step.sizes.astype(np.int64)
    tree = np.repeat(np.arange(len(sizes)), sizes)
    number = np.arange(nodes) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    split = np.flatnonzero(feature >= 0)
    leaf = np.flatnonzero(feature < 0)
    strict = step.comparison == "<"
    x_type = np.dtype(step.x_type)
    threshold = step.threshold.astype(np.float64)
    if x_type == np.float32:  # the single value next to the threshold that keeps every comparison as it is
        single = threshold.astype(np.float32)
        if strict:
            single = np.where(single < threshold, np.nextafter(single, np.float32(np.inf)), single)
        else:
            single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
        threshold = single.astype(np.float64)
    left, right, values = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64), np.zeros(nodes)
    left[split] = number[split] + 1
    right[split] = number[split] + step.right.astype(np.int64)
    values[split] = threshold
    marks = np.zeros(len(split), dtype=np.int64) if step.missing is None else step.missing.astype(np.int64)
    at_zero = threshold > 0.0 if strict else threshold >= 0.0
    gone_left = np.zeros(nodes, dtype=np.int64)
    gone_left[split] = np.where(marks == 2, at_zero, marks == 1)
    word = "BRANCH_LT" if strict else "BRANCH_LEQ"
    modes = np.where(feature >= 0, word, "LEAF")
    value = step.value[:, 1:] if shares else step.value
    k = value.shape[1]
    target = np.tile(np.arange(k), len(leaf)) if step.group is None else step.group.astype(np.int64)[tree[leaf]]
    fields = {
        "nodes_treeids": tree,
        "nodes_nodeids": number,
        "nodes_featureids": np.maximum(feature, 0),
        "nodes_modes": modes,
        "nodes_values": values,
        "nodes_truenodeids": left,
        "nodes_falsenodeids": right,
        "nodes_missing_value_tracks_true": gone_left,
        "target_treeids": np.repeat(tree[leaf], k),
        "target_nodeids": np.repeat(number[leaf], k),
        "target_ids": target,
        "target_weights": value.ravel(),
    }
    return fields, x_type
