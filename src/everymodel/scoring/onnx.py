"""The optional fast engine: tree steps run by ONNX Runtime on graphs made from the validated arrays.

Nothing of it goes into a file. A graph is made in memory from a step that has passed its checks, so a file never brings
an ONNX graph of its own. ONNX Runtime gives its sums in float32: answers agree to about seven digits (TOLERANCE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import CapabilityError
from everymodel.core.optional import require
from everymodel.scoring import probe, table
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.steps.base import Sparse, Step
from everymodel.scoring.steps.combine import link
from everymodel.scoring.steps.trees import Trees

if TYPE_CHECKING:
    from everymodel.scoring.model import Model

TOLERANCE = 1e-5  # of the largest answer in a row
_MAX_NODES = 2047  # of one tree: beyond, the numpy engine is faster


class FastTrees(Step):
    """A Trees step whose sums come from an ONNX Runtime session."""

    word = "fast_trees"  # never registered: a file cannot name it

    def __init__(self, step: Trees, threads: int):
        self.step = step
        self.output = step.output  # type: ignore[misc]
        self.session, self.x_type = _session(step, threads)

    def __call__(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        step = self.step
        if isinstance(matrix, Sparse):
            matrix = matrix.toarray()
        x = np.ascontiguousarray(matrix, dtype=self.x_type)
        total = self.session.run(None, {"x": x})[0].astype(np.float64)  # (n, outputs)
        if step.base is not None:
            total += step.base
        if step.divide is not None:
            total /= step.divide
        raw = total[:, 0] if step.outputs == 1 else total
        if step.sigma != 1.0:
            raw = raw * step.sigma
        return link(raw, step.link, step.places, step.classes)

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        raise CapabilityError("A fast model is not saved: save the model that it was made from.")


def fast(model: Model, threads: int = 1) -> Model:
    """A copy of the model whose trees run in ONNX Runtime.

    Parameters
    ----------
    threads : processor cores that one call may use.

    Raises
    ------
    NotInstalledError
        without the extra "fast".
    CapabilityError
        when nothing in the model would become faster, or the answers to probe rows differ by more than TOLERANCE.
    """
    require("onnxruntime", "The fast engine")
    require("onnx", "The fast engine")
    nodes, changed = [], 0
    for node in model.pack.nodes:
        if isinstance(node.step, Trees) and _suits(node.step):
            nodes.append(Node(node.name, FastTrees(node.step, threads), node.inputs))
            changed += 1
        else:
            nodes.append(node)
    if not changed:
        raise CapabilityError(
            "The fast engine runs boosted trees with numeric splits; this model has none that it would make faster."
        )
    made = type(model)(model.schema, Pack(nodes, model.pack.answer), model.manifest)
    batch, _ = table.parse(model.schema, probe.rows(model.schema, 64, seed=3), unseen="ignore")
    expected, answers = model.answers(batch), made.answers(batch)
    size = np.maximum(np.abs(expected).max(axis=-1, keepdims=True) if expected.ndim > 1 else np.abs(expected), 1e-3)
    if bool((np.abs(answers - expected) > TOLERANCE * size).any()):
        raise CapabilityError(
            "The fast engine gives other answers to the probe rows than the model does; it is not used."
        )
    return made


def _suits(step: Trees) -> bool:
    """Whether ONNX Runtime can run the trees and is faster at it (measured by benchmarks/batch_scoring.py).

    It has no splits by sets of categories and no zero-as-missing. It is several times faster at boosted trees that are
    too large for the masks of the numpy engine, about as fast at smaller ones, and slower at symmetric trees and at the
    large trees of forests.
    """
    if step.category is not None:
        return False
    if step.missing is not None and bool((step.missing >= 4).any()):
        return False
    return int(step.sizes.max()) <= _MAX_NODES


def _session(step: Trees, threads: int) -> tuple[Any, np.dtype]:
    onnx, runtime = require("onnx", "The fast engine"), require("onnxruntime", "The fast engine")
    from onnx import TensorProto, helper, numpy_helper

    fields, x_type = _trees(step)
    values, weights = fields.pop("nodes_values"), fields.pop("target_weights")
    if x_type == np.float64:  # double needs the tensor form of these two attributes
        fields["nodes_values_as_tensor"] = numpy_helper.from_array(values.astype(np.float64))
        fields["target_weights_as_tensor"] = numpy_helper.from_array(weights.astype(np.float64))
    else:
        fields["nodes_values"] = values.astype(np.float32).tolist()
        fields["target_weights"] = weights.astype(np.float32).tolist()
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=step.outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        **{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in fields.items()},
    )
    kind = TensorProto.DOUBLE if x_type == np.float64 else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("x", kind, [None, step.n_features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, step.outputs])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    assert onnx is not None
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), x_type


def _trees(step: Trees) -> tuple[dict[str, Any], np.dtype]:
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
    k = step.value.shape[1]
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
        "target_weights": step.value.ravel(),
    }
    return fields, x_type
