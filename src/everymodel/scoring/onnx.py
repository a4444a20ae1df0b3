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
from everymodel.scoring.steps.trees import Oblivious, Trees

if TYPE_CHECKING:
    from everymodel.scoring.model import Model

TOLERANCE = 1e-5  # of the largest answer in a row
_MAX_NODES = 20_000_000


class FastTrees(Step):
    """A Trees or Oblivious step whose sums come from an ONNX Runtime session."""

    word = "fast_trees"  # never registered: a file cannot name it

    def __init__(self, step: Trees | Oblivious, threads: int):
        self.step = step
        self.output = step.output  # type: ignore[misc]
        self.session, self.x_type = _session(step, threads)

    def __call__(self, matrix: np.ndarray | Sparse) -> np.ndarray:
        step = self.step
        if isinstance(matrix, Sparse):
            matrix = matrix.toarray()
        x = np.ascontiguousarray(matrix, dtype=self.x_type)
        if isinstance(step, Oblivious) and step.nan_true is not None and step.nan_true.any():
            x = np.where(np.isnan(x) & (step.nan_true == 1), np.float32(np.inf), x)
        total = self.session.run(None, {"x": x})[0].astype(np.float64)  # (n, outputs)
        if isinstance(step, Oblivious):
            total *= step.scale
            if step.bias is not None:
                total += step.bias
        else:
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
        if isinstance(node.step, Trees | Oblivious) and _suits(node.step):
            nodes.append(Node(node.name, FastTrees(node.step, threads), node.inputs))
            changed += 1
        else:
            nodes.append(node)
    if not changed:
        raise CapabilityError("The fast engine runs trees with numeric splits; this model has none.")
    made = type(model)(model.schema, Pack(nodes, model.pack.answer), model.manifest)
    batch, _ = table.parse(model.schema, probe.rows(model.schema, 64, seed=3), unseen="ignore")
    expected, answers = model.answers(batch), made.answers(batch)
    size = np.maximum(np.abs(expected).max(axis=-1, keepdims=True) if expected.ndim > 1 else np.abs(expected), 1e-3)
    if bool((np.abs(answers - expected) > TOLERANCE * size).any()):
        raise CapabilityError(
            "The fast engine gives other answers to the probe rows than the model does; it is not used."
        )
    return made


def _suits(step: Trees | Oblivious) -> bool:
    if isinstance(step, Oblivious):
        return int(step.depths.max()) <= 12
    zero = step.missing is not None and bool((step.missing >= 4).any())
    return step.category is None and not zero and len(step.feature) <= _MAX_NODES


def _session(step: Trees | Oblivious, threads: int) -> tuple[Any, np.dtype]:
    onnx, runtime = require("onnx", "The fast engine"), require("onnxruntime", "The fast engine")
    from onnx import TensorProto, helper, numpy_helper

    fields, x_type = _oblivious(step) if isinstance(step, Oblivious) else _trees(step)
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
    return {
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
    }, x_type


def _oblivious(step: Oblivious) -> tuple[dict[str, Any], np.dtype]:
    """Symmetric trees as plain ones: node i of a level has children 2i (no) and 2i + 1 (yes)."""
    parts: dict[str, list[np.ndarray]] = {}

    def add(**arrays: np.ndarray) -> None:
        for key, value in arrays.items():
            parts.setdefault(key, []).append(value)

    k = step.outputs
    question = start = 0
    for t, depth in enumerate(step.depths.tolist()):
        inner, leaves = 2**depth - 1, 2**depth
        ids = np.arange(inner + leaves)
        level = np.floor(np.log2(ids[:inner] + 1)).astype(np.int64)
        asked = question + depth - 1 - level  # the highest bit is asked first
        feature, border = np.zeros(len(ids), np.int64), np.zeros(len(ids))
        feature[:inner], border[:inner] = step.feature[asked], step.border[asked]
        yes, no = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        yes[:inner], no[:inner] = 2 * ids[:inner] + 2, 2 * ids[:inner] + 1
        add(
            nodes_treeids=np.full(len(ids), t),
            nodes_nodeids=ids,
            nodes_featureids=feature,
            nodes_modes=np.where(ids < inner, "BRANCH_GT", "LEAF"),
            nodes_values=border,
            nodes_truenodeids=yes,
            nodes_falsenodeids=no,
            target_treeids=np.full(leaves * k, t),
            target_nodeids=np.repeat(ids[inner:], k),
            target_ids=np.tile(np.arange(k), leaves),
            target_weights=step.value[start : start + leaves].ravel(),
        )
        question += depth
        start += leaves
    return {key: np.concatenate(value) for key, value in parts.items()}, np.dtype(np.float32)
